//! `natter group …`, `natter message …` and `natter audit`: send requests to the server of DATA_DIR, or to a server in this process if none
//! runs.
//!
//! Owns the translation from the command line to requests. The server's handlers own what a command does.

use std::process::ExitCode;

use super::control::{Control, Needs};
use super::output::{Failure, Output, done, number, pages, segment, text};
use super::{DataFolder, for_server};
use crate::cli::GroupCommand;

/// `natter group …`.
pub fn group(folder: &DataFolder, command: &GroupCommand, output: Output) -> ExitCode {
    with_control(folder, |control| match command {
        GroupCommand::List => pages(control, ("/admin/groups", ""), "group", |group| {
            output.show(group, |group| {
                let (members, last_n) = (number(group, "members"), number(group, "last_n"));
                format!("{} {members} {last_n} {}", text(group, "id"), text(group, "title"))
            })
        }),
        GroupCommand::Members { group } => {
            let path = format!("/admin/groups/{}/members", segment(group)?);
            pages(control, (&path, ""), "group", |member| {
                output.show(member, |member| {
                    let (profile, role) = (text(member, "profile"), text(member, "role"));
                    let (nick_name, display_name) = (text(member, "nick_name"), text(member, "display_name"));
                    format!("{profile} {nick_name} {role} {display_name}")
                })
            })
        }
        GroupCommand::Delete { group } => {
            let path = format!("/admin/groups/{}", segment(group)?);
            done(&control.ask("DELETE", &path, "")?, "group")
        }
    })
}

/// `natter message delete ID`.
pub fn delete_message(folder: &DataFolder, message: &str) -> ExitCode {
    with_control(folder, |control| {
        let path = format!("/admin/messages/{}", segment(message)?);
        done(&control.ask("DELETE", &path, "")?, "message")
    })
}

/// `natter audit`: the newest first.
pub fn audit(folder: &DataFolder, output: Output) -> ExitCode {
    with_control(folder, |control| {
        pages(control, ("/admin/audit", ""), "act", |act| {
            output.show(act, |act| {
                let named = |name, id| match text(act, name) {
                    "-" => text(act, id).to_owned(),
                    name => name.to_owned(),
                };
                let who = match text(act, "who") {
                    "-" => "operator".to_owned(),
                    _ => named("who_name", "who"),
                };
                let (at, what, whom) = (text(act, "at"), text(act, "act"), named("whom_name", "whom"));
                format!("{at} {who} {what} {whom} {}", text(act, "detail")).trim_end().to_owned()
            })
        })
    })
}

fn with_control(folder: &DataFolder, act: impl FnOnce(&mut Control) -> Result<(), Failure>) -> ExitCode {
    for_server(folder, |config| {
        let mut control = Control::reach(config, Needs::Database)?;
        let result = act(&mut control);
        control.close().map_err(Failure::from).and(result)
    })
}
