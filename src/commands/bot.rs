//! `natter bot …` and `natter member add --bot`: sends requests about bots to the server of DATA_DIR, or to a server in this process if
//! none runs.
//!
//! Owns the translation from the command line to requests. The server's handlers own what a command does.

use std::process::ExitCode;

use super::control::{Control, Needs};
use super::output::{Failure, Output, body, done, good, number, pages, segment, text};
use super::{DataFolder, for_server};
use crate::base::id::Id;
use crate::base::json::Value;
use crate::cli::{BotCommand, EXIT_NOT_FOUND};
use crate::config::Config;

/// The name of the token that a new bot gets.
const FIRST_TOKEN: &str = "first";

pub fn run(folder: &DataFolder, command: &BotCommand, output: Output) -> ExitCode {
    for_server(folder, |config| {
        let mut control = Control::reach(config, Needs::Database)?;
        let result = act(&mut control, config, command, output);
        control.close().map_err(Failure::from).and(result)
    })
}

fn act(control: &mut Control, config: &Config, command: &BotCommand, output: Output) -> Result<(), Failure> {
    match command {
        BotCommand::List => pages(control, ("/admin/bots", ""), "bot", |bot| output.show(bot, line)),
        BotCommand::Tokens { bot } => {
            let path = format!("/admin/bots/{}/tokens", find(control, bot)?);
            pages(control, (&path, ""), "bot", |token| {
                output.show(token, |token| {
                    let (id, used) = (text(token, "id"), text(token, "last_used_at"));
                    format!("{id} {used} {} {}", text(token, "conversation"), text(token, "name"))
                })
            })
        }
        BotCommand::Token { bot, name } => {
            let bot = find(control, bot)?;
            make_token(control, &bot, &[("name", name)], ("token", "bot"), output)
        }
        BotCommand::Hook { bot, conversation, name } => {
            control.check_links(config)?;
            let members = [("name", name.as_str()), ("conversation", segment(conversation)?)];
            let bot = find(control, bot)?;
            make_token(control, &bot, &members, ("url", "conversation of this bot"), output)
        }
        BotCommand::Url { bot, url: Some(url) } => {
            let path = format!("/admin/bots/{}/hook", find(control, bot)?);
            let answer = control.ask("PUT", &path, &body(&[("url", url)]))?;
            let value = good(&answer, "bot")?;
            output.show(value.get("data").unwrap_or(&Value::Null), |hook| text(hook, "secret").to_owned())
        }
        BotCommand::Url { bot, url: None } => {
            let path = format!("/admin/bots/{}/hook", find(control, bot)?);
            let answer = control.ask("GET", &path, "")?;
            let value = good(&answer, "address: this bot has no outgoing hook")?;
            output.show(value.get("data").unwrap_or(&Value::Null), |state| {
                let (seq, failures) = (number(state, "seq"), number(state, "failures"));
                format!("{} {seq} {failures} {}", text(state, "url"), text(state, "error"))
            })
        }
        BotCommand::RemoveUrl { bot } => {
            let path = format!("/admin/bots/{}/hook", find(control, bot)?);
            done(&control.ask("DELETE", &path, "")?, "bot")
        }
        BotCommand::Revoke { bot, id } => {
            let id = segment(id)?;
            let path = format!("/admin/bots/{}/tokens/{id}", find(control, bot)?);
            done(&control.ask("DELETE", &path, "")?, "token of this bot")
        }
    }
}

/// `natter member add --bot NAME`: prints the bot, and its first token.
pub fn add(control: &mut Control, name: &str, output: Output) -> Result<(), Failure> {
    let answer = control.ask("POST", "/admin/bots", &body(&[("display_name", name)]))?;
    let value = good(&answer, "bot")?;
    let bot = value.get("data").unwrap_or(&Value::Null);
    output.show(bot, line)?;
    let id = bot.get("profile").map_or("-", |profile| text(profile, "id"));
    make_token(control, id, &[("name", FIRST_TOKEN)], ("token", "bot"), output)
}

/// Prints what is shown once: that member of the answer. A 404 says that there is no such thing as `what`.
fn make_token(
    control: &mut Control,
    bot: &str,
    members: &[(&str, &str)],
    (shown, what): (&str, &str),
    output: Output,
) -> Result<(), Failure> {
    let answer = control.ask("POST", &format!("/admin/bots/{bot}/tokens"), &body(members))?;
    let value = good(&answer, what)?;
    output.show(value.get("data").unwrap_or(&Value::Null), |made| text(made, shown).to_owned())
}

/// The id of the profile of a bot that is named by it, or by its nick name.
fn find(control: &mut Control, bot: &str) -> Result<String, Failure> {
    let id = <Id>::parse(bot).map(|id| id.to_string());
    let mut found = None;
    pages(control, ("/admin/bots", ""), "bot", |one| {
        let profile = one.get("profile").unwrap_or(&Value::Null);
        let is_named = text(profile, "nick_name").eq_ignore_ascii_case(bot);
        if is_named || id.as_deref() == Some(text(profile, "id")) {
            found = Some(text(profile, "id").to_owned());
        }
        Ok(())
    })?;
    found.ok_or_else(|| Failure { exit: EXIT_NOT_FOUND, problem: "there is no such bot".to_owned() })
}

/// `id nick-name flag display name`.
fn line(bot: &Value<'_>) -> String {
    let profile = bot.get("profile").unwrap_or(&Value::Null);
    let is_active = matches!(bot.get("active"), Some(Value::Bool(true)));
    let active = if is_active { "active" } else { "disabled" };
    format!(
        "{} {} {active} {}",
        text(profile, "id"),
        text(profile, "nick_name"),
        text(profile, "display_name")
    )
}
