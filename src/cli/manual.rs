//! The manual page, made from the tables of the help and of the configuration.
//!
//! Owns the form of the page: roff with the `man` macros. The texts are those of `help` and `config`.
//! Invariant: no text is read as a command of roff: each line of text that could be one begins with `\&`.

use std::fmt::Write as _;

use super::help::{COMMANDS, ENVIRONMENT, FOR_ALL, STATUS};
use crate::config;

const DESCRIPTION: &str = "natter is a self-hosted real-time chat server: HTTP, WebSocket and server-sent events, an \
    SQLite database and the web client in one program. Without a command it runs the server.";

const FILES: [(&str, &str); 3] = [
    (".env", "Variables, read from the working directory; real variables win."),
    ("/etc/default/natter", "Where a package was installed: the same file, for the service."),
    (
        "/var/lib/natter",
        "Where a package was installed: the working directory of the service, with DATA_DIR in it.",
    ),
];

/// The page of section 1, for `man`.
pub fn manual() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut out = format!(
        ".TH NATTER 1 \"\" \"natter {version}\" \"natter\"\n.SH NAME\nnatter \\- a self\\-hosted real\\-time chat server\n\
         .SH SYNOPSIS\n.B natter\n[\\fICOMMAND\\fR] [\\fB\\-\\-data\\fR \\fIDIR\\fR]\n.SH DESCRIPTION\n"
    );
    text(&mut out, DESCRIPTION);
    out.push_str(".SH COMMANDS\n");
    for command in &COMMANDS {
        let mut usage = String::new();
        for word in command.arguments.split_whitespace() {
            let _ = write!(usage, " {word}");
        }
        let _ = writeln!(out, ".SS natter {}", escaped(&format!("{}{usage}", command.name)));
        text(&mut out, &format!("{}.", command.summary));
        // The details are in columns.
        out.push_str(".PP\n.nf\n");
        command.details.lines().for_each(|line| text(&mut out, line));
        out.push_str(".fi\n");
    }
    out.push_str(".SH OPTIONS\n");
    for (option, value, meaning) in FOR_ALL {
        item(&mut out, format!("{option} {value}").trim_end(), &format!("{meaning}."));
    }
    out.push_str(".SH ENVIRONMENT\n");
    ENVIRONMENT.lines().for_each(|line| text(&mut out, line));
    for (heading, variables) in &config::SECTIONS {
        let _ = writeln!(out, ".SS {}", escaped(heading));
        for variable in *variables {
            let default = match variable.default {
                "" => variable.name.to_owned(),
                default => format!("{}={default}", variable.name),
            };
            let meaning = format!("{} Accepts {}.", variable.meaning, variable.accepts).replace('`', "");
            item(&mut out, &default, &meaning);
        }
    }
    for (heading, items) in [("FILES", &FILES[..]), ("EXIT STATUS", &STATUS)] {
        let _ = writeln!(out, ".SH {heading}");
        items.iter().for_each(|(name, meaning)| item(&mut out, name, meaning));
    }
    out
}

/// A paragraph with a bold name before it. Writing to a `String` can't fail.
fn item(out: &mut String, name: &str, meaning: &str) {
    let _ = writeln!(out, ".TP\n.B {}", escaped(name));
    text(out, meaning);
}

/// A line of text; an empty one is a blank line.
fn text(out: &mut String, line: &str) {
    match line {
        "" => out.push_str(".sp"),
        line => {
            if line.starts_with(['.', '\'', ' ']) {
                out.push_str("\\&");
            }
            out.push_str(&escaped(line));
        }
    }
    out.push('\n');
}

/// A hyphen of roff is not the character that an option begins with.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('"', "\\(dq")
}

#[cfg(test)]
mod tests {
    use super::super::completions::options;
    use super::*;

    #[test]
    fn the_manual_has_each_command_option_and_variable() {
        let page = manual();
        for command in &COMMANDS {
            assert!(page.contains(&format!(".SS natter {}", command.name)), "{}", command.name);
            for option in options(command) {
                assert!(page.contains(&escaped(&format!("--{option}"))), "{}: {option}", command.name);
            }
        }
        for variable in config::variables() {
            assert!(page.contains(&format!(".B {}", variable.name)), "{}", variable.name);
        }
        let macros = [".TH", ".SH", ".SS", ".TP", ".B", ".PP", ".nf", ".fi", ".sp"];
        for line in page.lines() {
            let is_macro = macros.contains(&line.split(' ').next().expect("a part"));
            assert!(is_macro || !line.starts_with(['.', '\'']), "{line}");
            assert!(!line.is_empty() && line.trim_end() == line, "{line:?}");
        }
    }
}
