//! `natter invite …`: sends a request about invites to the server of DATA_DIR, or to a server in this process if none runs.
//!
//! Owns the translation from the command line to requests. The server's handlers own what a command does.

use std::process::ExitCode;

use super::control::{Control, Needs};
use super::output::{Failure, Output, body, done, good, note, number, pages, segment, text};
use super::{DataFolder, for_server};
use crate::base::json::Value;
use crate::cli::InviteCommand;
use crate::config::{Config, url};

pub fn run(folder: &DataFolder, command: &InviteCommand, output: Output) -> ExitCode {
    for_server(folder, |config| {
        let mut control = Control::reach(config, Needs::Database)?;
        let result = act(&mut control, config, command, output);
        control.close().map_err(Failure::from).and(result)
    })
}

fn act(
    control: &mut Control,
    config: &Config,
    command: &InviteCommand,
    output: Output,
) -> Result<(), Failure> {
    match command {
        InviteCommand::Create { uses, expires_s } => {
            control.check_links(config)?;
            let number = |name, value: &Option<u64>| match value {
                Some(value) => format!("\"{name}\":{value}"),
                None => format!("\"{name}\":null"),
            };
            let body = format!("{{{},{}}}", number("uses", uses), number("expires_s", expires_s));
            let answer = control.ask("POST", "/admin/invites", &body)?;
            let value = good(&answer, "invite")?;
            let invite = value.get("data").unwrap_or(&Value::Null);
            output.show(invite, |invite| text(invite, "url").to_owned())?;
            // What the server that made the link takes for its own address, which the variables of this command need not say.
            if leads_here_only(text(invite, "url")) {
                note!(
                    "natter: only this host can open the link: set PUBLIC_URL of the server to the URL that people use"
                );
            }
            Ok(())
        }
        InviteCommand::List => pages(control, ("/admin/invites", ""), "invite", |invite| {
            output.show(invite, |invite| {
                let (uses, uses_max) = (number(invite, "uses"), number(invite, "uses_max"));
                format!("{} {uses}/{uses_max} {}", text(invite, "id"), text(invite, "expires_at"))
            })
        }),
        InviteCommand::Revoke { id } => {
            let body = body(&[("invite", segment(id)?)]);
            done(&control.ask("POST", "/admin/invites/revoke", &body)?, "invite")
        }
    }
}

fn leads_here_only(link: &str) -> bool {
    let site = link.split_once("/#").map_or(link, |(site, _)| site);
    url::url(site).is_ok_and(|url| url.host.is_loopback())
}
