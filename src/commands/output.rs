//! What commands that ask a server print, and how they fail.
//!
//! Owns the exit status of a refusal, and the two forms of what is printed: a line for a person, or an object of JSON on each line.
//! Invariant: every status of an answer has one exit status, the one that `natter help` documents.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use super::control::{Control, Reply};
use crate::base::id::Id;
use crate::base::json::{self, Value};
use crate::cli::{EXIT_NOT_FOUND, EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_UNREAD, EXIT_USAGE};

/// As `println`, which panics if the reader of stdout is gone.
macro_rules! say {
    ($($argument:tt)*) => { $crate::commands::output::say_line(format_args!($($argument)*)) };
}
/// As `eprintln`, which panics if the reader of stderr is gone.
macro_rules! note {
    ($($argument:tt)*) => { $crate::commands::output::note_line(format_args!($($argument)*)) };
}
pub(crate) use {note, say};

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    pub exit: u8,
    pub problem: String,
}

impl Failure {
    /// The reader of stdout is gone, as after `| head`: the command ends as quietly as one that SIGPIPE ends.
    fn unread() -> Failure {
        Failure { exit: EXIT_UNREAD, problem: String::new() }
    }

    /// Says why, and gives the exit status.
    pub fn end(&self) -> ExitCode {
        if !self.problem.is_empty() {
            note!("natter: {}", self.problem);
        }
        ExitCode::from(self.exit)
    }

    pub fn usage(problem: String) -> Failure {
        Failure { exit: EXIT_USAGE, problem }
    }

    pub fn unreachable(problem: String) -> Failure {
        Failure { exit: EXIT_UNREACHABLE, problem }
    }
}

/// A fault that has no exit status of its own.
impl From<String> for Failure {
    fn from(problem: String) -> Failure {
        Failure { exit: 1, problem }
    }
}

impl From<Failure> for String {
    fn from(failure: Failure) -> String {
        failure.problem
    }
}

/// The form of what is printed.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub json: bool,
}

impl Output {
    /// Prints what the server has answered, or this line of it.
    pub fn show(self, value: &Value<'_>, line: impl Fn(&Value<'_>) -> String) -> Result<(), Failure> {
        print(&(if self.json { json::to_string(value) } else { line(value) } + "\n"))
    }
}

/// Writes a text to stdout.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::unread(),
        _ => format!("can't write to stdout: {error}").into(),
    })
}

/// Prints a line of a command that has done its work: if it can't be printed, the process ends here.
pub fn say_line(line: fmt::Arguments<'_>) {
    if let Err(failure) = print(&format!("{line}\n")) {
        _ = failure.end();
        std::process::exit(i32::from(failure.exit));
    }
}

/// Prints a line to stderr. If nobody reads it, there is nobody to tell.
pub fn note_line(line: fmt::Arguments<'_>) {
    _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

pub fn body(members: &[(&str, &str)]) -> String {
    let text =
        |(name, value): &(&str, &str)| format!("{}:{}", json::to_string(*name), json::to_string(*value));
    format!("{{{}}}", members.iter().map(text).collect::<Vec<_>>().join(","))
}

/// A text of an answer, or a dash.
pub fn text<'a>(value: &'a Value<'_>, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("-")
}

/// A number of an answer.
pub fn number(value: &Value<'_>, name: &str) -> String {
    value.get(name).map_or_else(String::new, json::to_string)
}

/// Shows a list page by page, so that neither side holds more than one page. A list with a body is asked for by POST.
pub fn pages(
    control: &mut Control,
    (list, body): (&str, &str),
    what: &str,
    mut show: impl FnMut(&Value<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let method = if body.is_empty() { "GET" } else { "POST" };
    let mut path = format!("{list}?limit=100");
    loop {
        let answer = control.ask(method, &path, body)?;
        let value = good(&answer, what)?;
        value.get("data").and_then(Value::as_list).unwrap_or_default().iter().try_for_each(&mut show)?;
        match value.get("next").and_then(Value::as_str) {
            Some(next) => path = format!("{list}?limit=100&next={next}"),
            None => return Ok(()),
        }
    }
}

/// The JSON of a success, or the problem in words.
pub fn good<'a>(answer: &'a Reply, what: &str) -> Result<Value<'a>, Failure> {
    let value = json::parse(&answer.body)
        .map_err(|_| format!("the server answered {} without JSON: is it natter?", answer.status))?;
    let (exit, problem) = match answer.status {
        200..300 => return Ok(value),
        404 => (EXIT_NOT_FOUND, format!("there is no such {what}")),
        status => {
            let exit = if status >= 500 { EXIT_UNREACHABLE } else { EXIT_REFUSED };
            (exit, format!("{} ({})", text(&value, "title"), text(&value, "code")))
        }
    };
    Err(Failure { exit, problem })
}

/// As [`good`], of an answer that says no more than that it is done: 204 has no JSON.
pub fn done(answer: &Reply, what: &str) -> Result<(), Failure> {
    if answer.status == 204 { Ok(()) } else { good(answer, what).map(|_| ()) }
}

/// An id of the command line, which goes into a path or a body: one that is none is a fault of the command line everywhere.
pub fn segment(id: &str) -> Result<&str, Failure> {
    match <Id>::parse(id) {
        Some(_) => Ok(id),
        None => Err(Failure::usage(format!("{id:?} is no id"))),
    }
}
