//! `natter bot …` and `natter member add --bot`: sends requests about bots to the server of DATA_DIR, or to a server in this process if
//! none runs.
//!
//! Owns the translation from the command line to requests. The server's handlers own what a command does.

use std::process::ExitCode;

use super::control::{Control, Needs};
use super::member::{body, good, pages};
use super::{DataFolder, with_config};
use crate::base::id::Id;
use crate::base::json::{self, Value};
use crate::cli::BotCommand;

/// The name of the token that a new bot gets.
const FIRST_TOKEN: &str = "first";

pub fn run(folder: &DataFolder, command: &BotCommand) -> ExitCode {
    with_config(folder, |config| {
        let mut control = Control::reach(config, Needs::Database)?;
        let result = act(&mut control, command);
        control.close().and(result)
    })
}

fn act(control: &mut Control, command: &BotCommand) -> Result<(), String> {
    match command {
        BotCommand::List => pages(control, "/admin/bots", "bot", |bot| print(&line(bot))),
        BotCommand::Tokens { bot } => {
            let path = format!("/admin/bots/{}/tokens", find(control, bot)?);
            pages(control, &path, "bot", |token| {
                let hook = text(token, "conversation");
                print(&format!(
                    "{} {} {hook} {}",
                    text(token, "id"),
                    text(token, "last_used_at"),
                    text(token, "name")
                ))
            })
        }
        BotCommand::Token { bot, name } => {
            let bot = find(control, bot)?;
            make_token(control, &bot, &[("name", name)], "token")
        }
        BotCommand::Hook { bot, conversation, name } => {
            let bot = find(control, bot)?;
            make_token(control, &bot, &[("name", name), ("conversation", conversation)], "url")
        }
        BotCommand::Url { bot, url: Some(url) } => {
            let path = format!("/admin/bots/{}/hook", find(control, bot)?);
            let answer = control.ask("PUT", &path, &body(&[("url", url)]))?;
            print(text(good(&answer, "bot")?.get("data").unwrap_or(&Value::Null), "secret"))
        }
        BotCommand::Url { bot, url: None } => {
            let path = format!("/admin/bots/{}/hook", find(control, bot)?);
            let answer = control.ask("GET", &path, "")?;
            let value = good(&answer, "address")?;
            let state = value.get("data").unwrap_or(&Value::Null);
            let number = |name| state.get(name).map_or_else(String::new, json::to_string);
            let (seq, failures) = (number("seq"), number("failures"));
            print(&format!("{} {seq} {failures} {}", text(state, "url"), text(state, "error")))
        }
        BotCommand::RemoveUrl { bot } => {
            let path = format!("/admin/bots/{}/hook", find(control, bot)?);
            let answer = control.ask("DELETE", &path, "")?;
            if answer.status == 204 { Ok(()) } else { good(&answer, "bot").map(|_| ()) }
        }
        BotCommand::Revoke { bot, id } => {
            let path = format!("/admin/bots/{}/tokens/{id}", find(control, bot)?);
            let answer = control.ask("DELETE", &path, "")?;
            // 204 has no JSON.
            if answer.status == 204 { Ok(()) } else { good(&answer, "token").map(|_| ()) }
        }
    }
}

/// `natter member add --bot NAME`: prints the bot, and its first token.
pub fn add(control: &mut Control, name: &str) -> Result<(), String> {
    let answer = control.ask("POST", "/admin/bots", &body(&[("display_name", name)]))?;
    let value = good(&answer, "bot")?;
    let bot = value.get("data").unwrap_or(&Value::Null);
    print(&line(bot))?;
    let id = bot.get("profile").map_or("-", |profile| text(profile, "id"));
    make_token(control, id, &[("name", FIRST_TOKEN)], "token")
}

/// Prints what is shown once.
fn make_token(control: &mut Control, bot: &str, members: &[(&str, &str)], shown: &str) -> Result<(), String> {
    let answer = control.ask("POST", &format!("/admin/bots/{bot}/tokens"), &body(members))?;
    print(text(good(&answer, "bot")?.get("data").unwrap_or(&Value::Null), shown))
}

/// The id of the profile of a bot that is named by it, or by its nick name.
fn find(control: &mut Control, bot: &str) -> Result<String, String> {
    if <Id>::parse(bot).is_some() {
        return Ok(bot.to_owned());
    }
    let mut found = None;
    pages(control, "/admin/bots", "bot", |one| {
        let profile = one.get("profile").unwrap_or(&Value::Null);
        if text(profile, "nick_name").eq_ignore_ascii_case(bot) {
            found = Some(text(profile, "id").to_owned());
        }
        Ok(())
    })?;
    found.ok_or_else(|| "there is no such bot".to_owned())
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

fn text<'a>(value: &'a Value<'_>, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("-")
}

fn print(line: &str) -> Result<(), String> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{line}").map_err(|error| format!("can't write to stdout: {error}"))
}
