//! `natter invite …`: sends a request about invites to the server of DATA_DIR, or to a server in this process if none runs.
//!
//! Owns the translation from the command line to requests. The server's handlers own what a command does.

use std::process::ExitCode;

use super::control::{Control, Needs};
use super::member::{body, good, pages};
use super::{DataFolder, with_config};
use crate::base::json::{self, Value};
use crate::cli::InviteCommand;

pub fn run(folder: &DataFolder, command: &InviteCommand) -> ExitCode {
    with_config(folder, |config| {
        let mut control = Control::reach(config, Needs::Database)?;
        let result = act(&mut control, command);
        control.close().and(result)
    })
}

fn act(control: &mut Control, command: &InviteCommand) -> Result<(), String> {
    match command {
        InviteCommand::Create { uses, expires_s } => {
            let number = |name, value: &Option<u64>| match value {
                Some(value) => format!("\"{name}\":{value}"),
                None => format!("\"{name}\":null"),
            };
            let body = format!("{{{},{}}}", number("uses", uses), number("expires_s", expires_s));
            let answer = control.ask("POST", "/admin/invites", &body)?;
            print(text(good(&answer, "invite")?.get("data").unwrap_or(&Value::Null), "url"))
        }
        InviteCommand::List => pages(control, "/admin/invites", "invite", |invite| {
            let number = |name| invite.get(name).map_or_else(String::new, json::to_string);
            print(&format!(
                "{} {}/{} {}",
                text(invite, "id"),
                number("uses"),
                number("uses_max"),
                text(invite, "expires_at")
            ))
        }),
        InviteCommand::Revoke { id } => {
            let answer = control.ask("POST", "/admin/invites/revoke", &body(&[("invite", id)]))?;
            // 204 has no JSON.
            if answer.status == 204 { Ok(()) } else { good(&answer, "invite").map(|_| ()) }
        }
    }
}

fn text<'a>(value: &'a Value<'_>, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("-")
}

fn print(line: &str) -> Result<(), String> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{line}").map_err(|error| format!("can't write to stdout: {error}"))
}
