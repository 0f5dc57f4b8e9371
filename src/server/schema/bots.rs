//! The rows of the schema table for bots and hooks.

use super::operations::{BYTES, JSON, Operation, paging, row};
use super::shape::*;
use super::types::{display_name, message_text, time};
use crate::limits::{ATTACHMENTS_MAX, HOOK_BODY_MAX};
use crate::model::bot::TOKEN_NAME_MAX;
use crate::model::problem::Code;
use crate::proto::http::head::Method::{Delete, Get, Post, Put};
use crate::proto::push::request::ENDPOINT_BYTES_MAX;

#[rustfmt::skip]
pub fn operations() -> Vec<Operation> {
    let tag = "Bots";
    let mut made = bot_token_fields();
    made.extend([
        must("token", text().length(25, 25), "Only here: the server keeps its hash."),
        may("url", super::types::url(), "Of an incoming hook: the address to post to, with the token in it."),
    ]);
    let mut set = hook_fields();
    set.push(must("secret", text().length(50, 50), "Only here: the key of the signatures, as the libraries of Standard Webhooks take it."));
    vec![
        row(Post, "/api/v1/bots", tag, "Makes a bot, by the admins of the server")
            .says("A member without a password. It is in no conversation until somebody adds it to one. A server has at most 1,000.")
            .json(&[must("display_name", display_name(), "Its nick name is made from it.")])
            .gives(201, "Made.", named("Bot"), "The bot.")
            .codes(&[Code::NicknameTaken, Code::QuotaExceeded])
            .invalid(&["display_name"]),
        row(Get, "/api/v1/bots", tag, "The bots, for the admins of the server")
            .query(paging())
            .pages("The oldest first.", named("Bot"), vec![]),
        row(Post, "/api/v1/bots/{profile}/tokens", tag, "Makes a token of a bot, by the admins of the server")
            .says("With `conversation` it is an incoming hook: who has its address can post there and do nothing else. A bot has at most 20 tokens.")
            .json(&[
                must("name", text().length(1, TOKEN_NAME_MAX), "For people: what it is used for."),
                may("conversation", id(), "A conversation that the bot is in."),
            ])
            .gives(201, "Made.", object(&made), "The token.")
            .codes(&[Code::QuotaExceeded])
            .invalid(&["name", "conversation"]),
        row(Get, "/api/v1/bots/{profile}/tokens", tag, "The tokens of a bot, for the admins of the server")
            .pages("The oldest first, all on one page.", named("BotToken"), vec![]),
        row(Delete, "/api/v1/bots/{profile}/tokens/{session}", tag, "Revokes a token, by the admins of the server")
            .no_content("It permits nothing any more, and the streams that it opened end."),
        row(Put, "/api/v1/bots/{profile}/hook", tag, "Sets the outgoing hook of a bot, by the admins of the server")
            .says("Its address gets each event of the bot from now on, in order, signed as Standard Webhooks says. It replaces a former one.")
            .json(&[must("url", text().length(1, ENDPOINT_BYTES_MAX), "https, and of a public address, unless the operator allows others.")])
            .gives(200, "Set.", object(&set), "The hook.")
            .invalid(&["url"]),
        row(Get, "/api/v1/bots/{profile}/hook", tag, "The state of the outgoing hook of a bot, for the admins of the server")
            .gives(200, "It.", named("HookState"), "The hook."),
        row(Delete, "/api/v1/bots/{profile}/hook", tag, "Removes the outgoing hook of a bot, by the admins of the server")
            .no_content("It is called no more."),
        Operation {
            headers: vec![
                may("Idempotency-Key", text().length(1, 1_024), "A call with the same key posts nothing again. Else `X-GitHub-Delivery` is the key."),
                may("X-GitHub-Event", text().length(1, 1_024), "The body is one of GitHub's."),
            ],
            ..row(Post, "/hooks/{token}", tag, "Posts a message to the conversation of an incoming hook")
        }
            .says("JSON by its Content-Type: a message, or a body as Alertmanager or GitHub sends it, which becomes a readable line. \
                   A form with the header `X-GitHub-Event` is its field `payload`. Any other body is the text of the message.")
            .body(JSON, object(&[
                may("body", or_null(message_text()), "The text; what is too long is cut."),
                may("text", or_null(message_text()), "The same, if there is no `body`."),
                may("attachments", list(id()).items_max(ATTACHMENTS_MAX), "Files that the bot has uploaded."),
                may("reply_to", id(), "The message that it answers."),
                may("alerts", list(alert()).items_max(HOOK_BODY_MAX / 2), "Of Alertmanager."),
            ]))
            .body("application/x-www-form-urlencoded", text())
            // A text/plain is taken as well; generators of clients know it only in answers.
            .body(BYTES, bytes())
            .gives(201, "Posted.", posted(), "Where the message is.")
            .answer(200, "It was posted before.", vec![(JSON, object(&[
                must("data", posted(), "Where the message is."),
                must("duplicate", always(true), "A call with the same key has posted it."),
            ]))])
            .codes(&[Code::NotAllowed, Code::ErrorParsingData, Code::TooLarge])
            .invalid(&["body", "attachments", "reply_to", "mentions"]),
    ]
}

/// The parts of an alert that its line shows.
#[rustfmt::skip]
fn alert() -> Schema {
    let texts = || map(text().length(0, HOOK_BODY_MAX));
    object(&[
        may("status", text().length(0, HOOK_BODY_MAX), "`firing` or `resolved`."),
        may("labels", texts(), "With `alertname`, `instance` and `severity`."),
        may("annotations", texts(), "With `summary` or `description`."),
    ])
}

fn posted() -> Schema {
    object(&[
        must("id", id(), "The message."),
        must("n", count_from(1), "Its position in the conversation."),
        must("seq", count_from(1), "Its position in the log."),
    ])
}

/// The types that have a name.
#[rustfmt::skip]
pub fn types() -> Vec<(&'static str, Schema)> {
    vec![
        ("Bot", object(&[
            must("profile", named("Profile"), "What others see of it."),
            must("active", flag(), "Whether its tokens can be used."),
        ]).says("A bot, as those who manage it see it.")),
        ("HookState", object(&hook_fields()).says("An outgoing hook, as those who manage it see it.")),
        ("BotToken", object(&bot_token_fields()).says("A token of a bot; without the token itself.")),
    ]
}

#[rustfmt::skip]
fn bot_token_fields() -> Vec<Field> {
    vec![
        must("id", id(), "For `bot.token.revoke`."),
        must("name", text().length(1, TOKEN_NAME_MAX), "What it is used for."),
        must("conversation", or_null(id()), "Where an incoming hook posts; null for a bearer token."),
        must("created_at", time(), "When it was made."),
        must("last_used_at", or_null(time()), "When it was last used, to about a minute."),
    ]
}

#[rustfmt::skip]
fn hook_fields() -> Vec<Field> {
    vec![
        must("id", id(), "The first part of each `webhook-id`."),
        must("url", text().length(1, ENDPOINT_BYTES_MAX), "Where it is called."),
        must("seq", count().format("int64"), "All events up to this one were accepted."),
        must("failures", count(), "Calls that failed since one was accepted."),
        must("error", or_null(text().length(1, 1_024)), "Why the last one failed; null if it was accepted."),
        must("retry_at", or_null(time()), "When the next try is made, if the last one failed."),
        must("created_at", time(), "When it was set."),
    ]
}
