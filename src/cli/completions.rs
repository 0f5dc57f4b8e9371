//! Completions of the command line for shells, made from the table of the help.
//!
//! Owns the three scripts, and how the words and options of a command are read out of its usage; the table is that of `help`.
//! Invariant: each script offers every command, each word that a command begins with, and every option that `cli` reads.

use std::fmt::Write as _;

use super::WITH_VALUE;
use super::help::{COMMANDS, Command, FOR_ALL};

/// The shells of [`completions`].
pub const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// What the shells say of `help`.
const HELP: &str = "Print the help of a command";

/// The script for one of [`SHELLS`].
pub fn completions(shell: &str) -> String {
    match shell {
        "bash" => bash(),
        "zsh" => zsh(),
        _ => fish(),
    }
}

/// The alternatives of a command's usage.
fn alternatives(command: &Command) -> impl Iterator<Item = &'static str> {
    let mut depth = 0;
    command.arguments.split(move |c: char| {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        c == '|' && depth == 0
    })
}

/// Whether it stands for itself, and not for a value or an option.
fn is_word(token: &&str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
    token.bytes().all(is_letter) && !token.starts_with('-')
}

/// The words that follow the command's name, such as `list`: those with which the alternatives of its usage begin.
fn words(command: &Command) -> Vec<&'static str> {
    let mut words: Vec<&str> = alternatives(command)
        .filter_map(|alternative| alternative.split_whitespace().next())
        .filter(is_word)
        .collect();
    words.dedup();
    words
}

/// The words that follow one of [`words`], such as `off` after `second-factor`.
fn nested(command: &Command) -> impl Iterator<Item = (&'static str, &'static str)> {
    alternatives(command).filter_map(|alternative| {
        let mut tokens = alternative.split_whitespace();
        tokens.next().filter(is_word).zip(tokens.next().filter(is_word))
    })
}

/// What `natter help` is followed by. It is in no table, since it is about the others.
fn names() -> String {
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    names.join(" ")
}

/// The options of the command, without their `--`: those of its usage, and those that a line of its details explains.
pub(super) fn options(command: &Command) -> Vec<&'static str> {
    let explained = command
        .details
        .lines()
        .filter_map(|line| line.split_whitespace().next().filter(|word| word.starts_with("--")));
    let mut options = Vec::new();
    for token in command.arguments.split_whitespace().chain(explained) {
        let name =
            token.trim_start_matches('[').strip_prefix("--").map(|name| name.trim_end_matches([']', '|']));
        if let Some(name) = name.filter(|name| !options.contains(name)) {
            options.push(name);
        }
    }
    options
}

fn takes_file(command: &Command) -> bool {
    command.arguments.contains("FILE") || command.arguments.contains("DIR")
}

fn has_value(option: &str) -> bool {
    WITH_VALUE.contains(&option)
}

/// The long options that every command takes.
fn for_all() -> impl Iterator<Item = (&'static str, &'static str)> {
    FOR_ALL.iter().filter_map(|(option, _, meaning)| Some((option.split_once("--")?.1, *meaning)))
}

fn long<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!(" --{name}")).collect()
}

/// Writing to a `String` can't fail, here and below.
fn bash() -> String {
    let with_value: Vec<String> = WITH_VALUE.iter().map(|name| format!("--{name}")).collect();
    let with_value = with_value.join("|");
    let names = names();
    let all = long(for_all().map(|(name, _)| name));
    let mut cases = format!("    help) first=\" {names}\" ;;\n");
    let mut thirds = String::new();
    for command in &COMMANDS {
        let options = long(options(command).into_iter());
        let words: String = words(command).iter().map(|word| format!(" {word}")).collect();
        let files = if takes_file(command) { " files=1" } else { "" };
        let _ = writeln!(cases, "    {}) words=\"{options}\" first=\"{words}\"{files} ;;", command.name);
        for (word, next) in nested(command) {
            let _ = writeln!(thirds, "    '{} {word} ') words=\"$words {next}\" ;;", command.name);
        }
    }
    format!(
        "# Completions of natter for bash: the output of `natter completions bash`.\n\
         _natter() {{\n    \
         local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command= second= third= i\n    \
         local words= first= files=\n    \
         for ((i = 1; i < COMP_CWORD; i++)); do\n        \
         case ${{COMP_WORDS[i]}} in\n        \
         {with_value}) ((i++)) ;;\n        \
         -*) ;;\n        \
         *) if [ -z \"$command\" ]; then command=${{COMP_WORDS[i]}}\n           \
         elif [ -z \"$second\" ]; then second=${{COMP_WORDS[i]}}; else third=1; fi ;;\n        \
         esac\n    \
         done\n    \
         COMPREPLY=()\n    \
         case $before in\n    \
         --data) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$word\"); return ;;\n    \
         {with_value}) return ;;\n    \
         esac\n    \
         case $command in\n    \
         '') words=\" {names} help\" ;;\n\
         {cases}    \
         esac\n    \
         [ -n \"$second\" ] || words=\"$words$first\"\n    \
         case \"$command $second $third\" in\n\
         {thirds}    \
         esac\n    \
         mapfile -t COMPREPLY < <(compgen -W \"$words{all}\" -- \"$word\")\n    \
         if [ -n \"$files\" ]; then\n        \
         compopt -o filenames\n        \
         mapfile -t -O ${{#COMPREPLY[@]}} COMPREPLY < <(compgen -f -- \"$word\")\n    \
         fi\n\
         }}\n\
         complete -F _natter natter\n"
    )
}

/// A text within single quotes, which the shells read alike.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn zsh() -> String {
    let mut commands = format!("        {}\n", quoted(&format!("help:{HELP}")));
    let mut cases = format!("        help) _arguments $all '1: :({})' ;;\n", names());
    for command in &COMMANDS {
        let summary = command.summary.replace(':', "\\:");
        let _ = writeln!(commands, "        {}", quoted(&format!("{}:{summary}", command.name)));
        let mut specs = String::new();
        for option in options(command) {
            let value = if has_value(option) { ":value:" } else { "" };
            let _ = write!(specs, " '*--{option}{value}'");
        }
        let words = words(command);
        if !words.is_empty() {
            let _ = write!(specs, " '1: :({})'", words.join(" "));
        }
        for (word, next) in nested(command) {
            let _ = write!(specs, " '2: :{{[[ $line[1] = {word} ]] && compadd {next}}}'");
        }
        if takes_file(command) {
            specs.push_str(" '*:file:_files'");
        }
        let _ = writeln!(cases, "        {}) _arguments $all{specs} ;;", command.name);
    }
    let mut all = String::new();
    for (name, meaning) in for_all() {
        let value = if name == "data" { ":folder:_files -/" } else { "" };
        let _ = write!(all, " {}", quoted(&format!("--{name}[{meaning}]{value}")));
    }
    format!(
        "#compdef natter\n# Completions of natter for zsh: the output of `natter completions zsh`.\n\
         _natter() {{\n    \
         local curcontext=\"$curcontext\" state state_descr\n    \
         local -a commands all line\n    \
         typeset -A opt_args\n    \
         all=({all} )\n    \
         commands=(\n{commands}    )\n    \
         _arguments -C $all '1: :->command' '*::: :->rest'\n    \
         case $state in\n    \
         command) _describe command commands ;;\n    \
         rest)\n        \
         words=($line[1] \"${{words[@]}}\")\n        \
         (( CURRENT += 1 ))\n        \
         case $line[1] in\n\
         {cases}        \
         esac ;;\n    \
         esac\n\
         }}\n\
         if [ \"$funcstack[1]\" = _natter ]; then _natter \"$@\"; else compdef _natter natter; fi\n"
    )
}

fn fish() -> String {
    let mut out = String::from(
        "# Completions of natter for fish: the output of `natter completions fish`.\ncomplete -c natter -f\n",
    );
    for (name, meaning) in for_all() {
        let value = if name == "data" { " -x -a '(__fish_complete_directories)'" } else { "" };
        let _ = writeln!(out, "complete -c natter -l {name}{value} -d {}", quoted(meaning));
    }
    let names = names();
    let _ = writeln!(out, "complete -c natter -n __fish_use_subcommand -a help -d '{HELP}'");
    let _ = writeln!(
        out,
        "complete -c natter -n '__fish_seen_subcommand_from help; and not __fish_seen_subcommand_from {names}' -a '{names}'"
    );
    for command in &COMMANDS {
        let (name, summary) = (command.name, quoted(command.summary));
        let _ = writeln!(out, "complete -c natter -n __fish_use_subcommand -a {name} -d {summary}");
        let begin = format!("complete -c natter -n '__fish_seen_subcommand_from {name}'");
        let words = words(command);
        if !words.is_empty() {
            let words = words.join(" ");
            let _ = writeln!(
                out,
                "complete -c natter -n '__fish_seen_subcommand_from {name}; and not __fish_seen_subcommand_from {words}' \
                 -a '{words}'"
            );
        }
        for (word, next) in nested(command) {
            let _ = writeln!(
                out,
                "complete -c natter -n '__fish_seen_subcommand_from {name}; and __fish_seen_subcommand_from {word}; \
                 and not __fish_seen_subcommand_from {next}' -a {next}"
            );
        }
        for option in options(command) {
            let value = if has_value(option) { " -x" } else { "" };
            let _ = writeln!(out, "{begin} -l {option}{value}");
        }
        if takes_file(command) {
            let _ = writeln!(out, "{begin} -F");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(name: &str) -> &'static Command {
        COMMANDS.iter().find(|command| command.name == name).expect("a command")
    }

    #[test]
    fn words_and_options_are_read_out_of_the_usage() {
        assert_eq!(words(command("invite")), ["list", "revoke"]);
        assert_eq!(options(command("invite")), ["uses", "expires"]);
        assert_eq!(words(command("secret")), ["reset"]);
        assert_eq!(nested(command("member")).collect::<Vec<_>>(), [("second-factor", "off")]);
        assert_eq!(nested(command("group")).count(), 0);
        assert_eq!(words(command("completions")), SHELLS);
        assert!(words(command("bot")).contains(&"url") && !words(command("bot")).contains(&"off"));
        assert!(words(command("member")).contains(&"add") && options(command("member")).contains(&"bot"));
        assert!(options(command("cluster")).contains(&"seen") && options(command("serve")).is_empty());
    }

    #[test]
    fn every_command_and_option_is_offered() {
        // Each option that `read` knows, and each that has a value.
        let source = include_str!("../cli.rs");
        let mut known: Vec<&str> = source
            .split("Arg::Long(\"")
            .skip(1)
            .map(|rest| rest.split_once('"').expect("a literal ends").0)
            .collect();
        known.extend(WITH_VALUE);
        assert!(known.len() > 10, "{known:?}");
        let pages = SHELLS.map(completions);
        for (page, shell) in pages.iter().zip(SHELLS) {
            let offers = |option: &str| {
                let long = if shell == "fish" { format!("-l {option}") } else { format!("--{option}") };
                page.split([' ', '\n', '\'', '"', '*', '[', ':', '|']).any(|word| word == long)
                    || page.lines().any(|line| line.contains(&format!(" {long} ")) || line.ends_with(&long))
            };
            for option in &known {
                assert!(offers(option), "{shell}: --{option}");
            }
            assert!(!offers("nonsense"));
            for command in &COMMANDS {
                let nested = nested(command).map(|(_, next)| next);
                for word in words(command).into_iter().chain(nested).chain([command.name, "help"]) {
                    let is_there =
                        page.split(|c: char| !c.is_ascii_lowercase() && c != '-').any(|part| part == word);
                    assert!(is_there, "{shell}: {} {word}", command.name);
                }
            }
        }
    }
}
