//! What commands that ask a server print, and how they fail.
//!
//! Owns the exit status of a refusal, and the two forms of what is printed: a line for a person, or an object of JSON on each line.
//! Invariant: every status of an answer has one exit status, the one that `natter help` documents.

use std::io::Write;

use super::control::{Control, Reply};
use crate::base::json::{self, Value};
use crate::cli::{EXIT_NOT_FOUND, EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_USAGE};

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    pub exit: u8,
    pub problem: String,
}

impl Failure {
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
        print(&if self.json { json::to_string(value) } else { line(value) })
    }
}

/// Prints one line.
pub fn print(line: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{line}").map_err(|error| format!("can't write to stdout: {error}").into())
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
