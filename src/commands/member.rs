//! `natter member …`: sends an admin request to the server of DATA_DIR, or to a server in this process if none runs.
//!
//! Owns the translation from the command line to requests. The server's handlers own what a command does.

use std::io::{BufRead, Read};
use std::process::ExitCode;

use super::control::{Control, Needs, Reply};
use super::{DataFolder, bot, with_config};
use crate::base::json::{self, Value};
use crate::cli::MemberCommand;

/// Bytes of the line with a password on stdin: 128 characters of four bytes and a line end. Above it, the line is cut
/// and refused as too long.
const PASSWORD_LINE_MAX: u64 = 1_024;

pub fn run(folder: &DataFolder, command: &MemberCommand) -> ExitCode {
    with_config(folder, |config| {
        let needs = match command {
            MemberCommand::Add { create: true, .. } => Needs::MayCreate,
            MemberCommand::Add { .. } => Needs::PasswordSecret,
            _ => Needs::Database,
        };
        // Read before a server is created, so that a missing password does not leave a server without a member.
        let password = match command {
            MemberCommand::Add { .. } => password()?,
            _ => String::new(),
        };
        let mut control = Control::reach(config, needs)?;
        let result = act(&mut control, command, &password);
        control.close().and(result)
    })
}

fn act(control: &mut Control, command: &MemberCommand, password: &str) -> Result<(), String> {
    match command {
        MemberCommand::List => pages(control, "/admin/members", "member", print),
        MemberCommand::Add { email, .. } => {
            let body = body(&[("email", email), ("password", password)]);
            show(control.ask("POST", "/admin/members", &body)?)
        }
        MemberCommand::AddBot { name } => bot::add(control, name),
        MemberCommand::Change { verb, who } => {
            show(control.ask("POST", &format!("/admin/members/{verb}"), &body(&[("who", who)]))?)
        }
    }
}

pub fn body(members: &[(&str, &str)]) -> String {
    let text =
        |(name, value): &(&str, &str)| format!("{}:{}", json::to_string(*name), json::to_string(*value));
    format!("{{{}}}", members.iter().map(text).collect::<Vec<_>>().join(","))
}

/// Shows a list page by page, so that neither side holds more than one page.
pub fn pages(
    control: &mut Control,
    list: &str,
    what: &str,
    mut show: impl FnMut(&Value<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let mut path = format!("{list}?limit=100");
    loop {
        let answer = control.ask("GET", &path, "")?;
        let value = good(&answer, what)?;
        value.get("data").and_then(Value::as_list).unwrap_or_default().iter().try_for_each(&mut show)?;
        match value.get("next").and_then(Value::as_str) {
            Some(next) => path = format!("{list}?limit=100&next={next}"),
            None => return Ok(()),
        }
    }
}

fn show(answer: Reply) -> Result<(), String> {
    print(good(&answer, "member")?.get("data").unwrap_or(&Value::Null))
}

/// `id e-mail flags`.
fn print(member: &Value<'_>) -> Result<(), String> {
    use std::io::Write;
    let text = |name| member.get(name).and_then(Value::as_str).unwrap_or("-");
    let is = |name| matches!(member.get(name), Some(Value::Bool(true)));
    let verified = if is("verified") { "verified" } else { "unverified" };
    let active = if is("active") { "active" } else { "disabled" };
    let admin = if is("admin") { ",admin" } else { "" };
    let bot = if is("bot") { ",bot" } else { "" };
    let second = if is("second_factor") { ",second-factor" } else { "" };
    writeln!(std::io::stdout(), "{} {} {active},{verified}{admin}{bot}{second}", text("id"), text("email"))
        .map_err(|error| format!("can't write to stdout: {error}"))
}

/// The JSON of a success, or the problem in words.
pub fn good<'a>(answer: &'a Reply, what: &str) -> Result<Value<'a>, String> {
    let value = json::parse(&answer.body)
        .map_err(|_| format!("the server answered {} without JSON: is it natter?", answer.status))?;
    if (200..300).contains(&answer.status) {
        return Ok(value);
    }
    let text = |name| value.get(name).and_then(Value::as_str).unwrap_or("-");
    Err(match answer.status {
        404 => format!("there is no such {what}"),
        _ => format!("{} ({})", text("title"), text("code")),
    })
}

/// The first line of stdin.
fn password() -> Result<String, String> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .take(PASSWORD_LINE_MAX)
        .read_line(&mut line)
        .map_err(|error| format!("no password on stdin: {error}"))?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    match password.is_empty() {
        true => Err("no password on stdin".to_owned()),
        false => Ok(password.to_owned()),
    }
}
