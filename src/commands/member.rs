//! `natter member …`: sends an admin request to the server of DATA_DIR, or to a server in this process if none runs.
//!
//! Owns the translation from the command line to requests. The server's handlers own what a command does.

use std::io::{BufRead, Read, Write};
use std::process::ExitCode;

use super::control::{Control, Needs};
use super::output::{Failure, Output, body, good, note, pages, segment, text};
use super::{DataFolder, bot, for_server};
use crate::base::json::Value;
use crate::cli::MemberCommand;
use crate::runtime::Unseen;

/// Bytes of the line with a password on stdin: 128 characters of four bytes and a line end. Above it, the line is cut
/// and refused as too long.
const PASSWORD_LINE_MAX: u64 = 1_024;

pub fn run(folder: &DataFolder, command: &MemberCommand, output: Output) -> ExitCode {
    for_server(folder, |config| {
        let needs = match command {
            MemberCommand::Add { create: true, .. } => Needs::MayCreate,
            MemberCommand::Add { .. } | MemberCommand::Password { .. } => Needs::PasswordSecret,
            _ => Needs::Database,
        };
        // Read before a server is created, so that a missing password does not leave a server without a member.
        let password = match command {
            MemberCommand::Add { .. } | MemberCommand::Password { .. } => password()?,
            _ => String::new(),
        };
        let mut control = Control::reach(config, needs)?;
        let result = act(&mut control, command, &password, output);
        control.close().map_err(Failure::from).and(result)
    })
}

fn act(
    control: &mut Control,
    command: &MemberCommand,
    password: &str,
    output: Output,
) -> Result<(), Failure> {
    let mut change = |verb: &str, members: &[(&str, &str)]| {
        let answer = control.ask("POST", &format!("/admin/members/{verb}"), &body(members))?;
        output.show(good(&answer, "member")?.get("data").unwrap_or(&Value::Null), line)
    };
    match command {
        MemberCommand::List => {
            pages(control, ("/admin/members", ""), "member", |member| output.show(member, line))
        }
        MemberCommand::Add { email, .. } => {
            let answer =
                control.ask("POST", "/admin/members", &body(&[("email", email), ("password", password)]))?;
            output.show(good(&answer, "member")?.get("data").unwrap_or(&Value::Null), line)
        }
        MemberCommand::AddBot { name } => bot::add(control, name, output),
        MemberCommand::Change { verb, who } => change(verb, &[("who", who)]),
        MemberCommand::Password { who } => change("password", &[("who", who), ("password", password)]),
        MemberCommand::Rename { who, name, nick_name: false } => {
            change("rename", &[("who", who), ("display_name", name)])
        }
        MemberCommand::Rename { who, name, nick_name: true } => {
            change("rename", &[("who", who), ("nick_name", name)])
        }
        MemberCommand::Sessions { who } => {
            let whom = body(&[("who", who)]);
            pages(control, ("/admin/members/sessions", &whom), "member", |session| {
                output.show(session, session_line)
            })
        }
        MemberCommand::Revoke { who, session: None } => change("revoke", &[("who", who)]),
        MemberCommand::Revoke { who, session: Some(session) } => {
            let members = [("who", who.as_str()), ("session", segment(session)?)];
            let answer = control.ask("POST", "/admin/members/revoke", &body(&members))?;
            if answer.status == 404 {
                // The server says no more than that one of the two is unknown.
                good(
                    &control.ask("POST", "/admin/members/sessions?limit=1", &body(&members[..1]))?,
                    "member",
                )?;
            }
            output.show(good(&answer, "session of this member")?.get("data").unwrap_or(&Value::Null), line)
        }
    }
}

/// `id e-mail flags`.
fn line(member: &Value<'_>) -> String {
    let is = |name| matches!(member.get(name), Some(Value::Bool(true)));
    let verified = if is("verified") { "verified" } else { "unverified" };
    let active = if is("active") { "active" } else { "disabled" };
    let admin = if is("admin") { ",admin" } else { "" };
    let bot = if is("bot") { ",bot" } else { "" };
    let second = if is("second_factor") { ",second-factor" } else { "" };
    format!("{} {} {active},{verified}{admin}{bot}{second}", text(member, "id"), text(member, "email"))
}

/// `id last-use address user agent`.
fn session_line(session: &Value<'_>) -> String {
    format!(
        "{} {} {} {}",
        text(session, "id"),
        text(session, "last_seen_at"),
        text(session, "address"),
        text(session, "user_agent")
    )
}

/// The first line of stdin. At a terminal it is asked for, and not shown.
fn password() -> Result<String, String> {
    let mut line = String::new();
    let unseen = Unseen::stdin();
    if unseen.is_some() {
        // Where it can't be shown, it is awaited all the same.
        _ = std::io::stderr().write_all(b"Password: ");
    }
    let read = std::io::stdin().lock().take(PASSWORD_LINE_MAX).read_line(&mut line);
    if unseen.is_some() {
        note!("");
    }
    drop(unseen);
    read.map_err(|error| format!("no password on stdin: {error}"))?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    match password.is_empty() {
        true => Err("no password on stdin".to_owned()),
        false => Ok(password.to_owned()),
    }
}
