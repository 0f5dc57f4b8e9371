//! What the streams say: the ops of a WebSocket, the events, the answers, and the lines of the older form.
//!
//! An op is the row of HTTP that has its name; only `typing`, `focus` and `auth` are no rows. Owns everything else that goes over a stream.
//! Invariant: each name of `model::event::NAMES` has exactly one row.

use super::operations;
use super::shape::*;
use super::types::{cursor, message_text, role, time};
use crate::auth::token::TOKEN_BYTES_MAX;
use crate::limits::PAIR_HISTORY_MAX;
use crate::server::request::routes::Route;

/// A message of the document, named with its prefix: `op.`, `event.` or none.
pub struct Message {
    pub name: String,
    pub title: String,
    pub summary: String,
    pub payload: Schema,
}

/// Characters of an op's `id`, of which at most 1,024 bytes are written, quotes included.
const OP_ID_MAX: usize = 1_022;

/// What closes a stream, and why.
pub const CLOSE_CODES: &[(&str, &str)] = &[
    ("1000", "the client closed"),
    ("1001", "the server stops; the reason is {\"retry_after_ms\":N}"),
    ("1002", "a frame that breaks RFC 6455"),
    ("1003", "a binary frame"),
    ("1007", "a text that is not UTF-8"),
    ("1009", "a message over WS_MESSAGE_MAX"),
    ("1013", "refused, try again"),
    ("4401", "the session is over"),
    ("4408", "the reader is too slow; resume by cursor"),
    ("4429", "too many refused frames"),
];

fn op(name: &str, summary: &str, fields: Vec<Field>) -> Message {
    let mut all = vec![
        may("id", number_or_text(OP_ID_MAX), "Returned as `re`; without it only a refusal gets an answer."),
        must("op", constant(name), "Its name."),
    ];
    all.extend(fields);
    Message {
        name: format!("op.{name}"),
        title: format!("op {name}"),
        summary: summary.to_owned(),
        payload: object(&all),
    }
}

/// The ops: the rows of HTTP that are ops, whose parameters of path, query and body are members of the frame.
#[rustfmt::skip]
pub fn ops() -> Vec<Message> {
    let rows = operations::all();
    let mut all: Vec<Message> = rows.iter().filter(|row| row.route().op).map(|row| {
        let mut fields = row.path_fields();
        fields.extend(row.query.iter().cloned());
        let mut message = op(row.route().name, row.summary, fields);
        if let Some((_, body)) = row.body.first() {
            message.payload = joined(&message.payload, body);
        }
        message
    }).collect();
    all.push(op("typing", "Shows the other members that I am typing; expires after 6 s. A start and an end are writes for the rates", vec![
        must("conversation", id(), "Where."),
        may("active", flag(), "False says that one stopped."),
    ]));
    all.push(op("focus", "Says what I show: there is no notification of it; ends with the socket", vec![
        must("conversation", or_null(id()), "Which conversation; null for none."),
    ]));
    all.push(op("auth", "Continues with a newer access token of the same session", vec![
        must("access", text().length(1, TOKEN_BYTES_MAX), "The newer token."),
    ]));
    all
}

/// One object with the properties of both.
fn joined(first: &Schema, second: &Schema) -> Schema {
    let members = |schema: &Schema, keyword| match schema.keyword(keyword) {
        Some(crate::base::json::Value::Object(object)) => object.iter().cloned().collect(),
        _ => Vec::new(),
    };
    let names = |schema: &Schema| match schema.keyword("required") {
        Some(crate::base::json::Value::List(list)) => list.clone(),
        _ => Vec::new(),
    };
    let properties = [members(first, "properties"), members(second, "properties")].concat();
    any_object().joined(record(properties), [names(first), names(second)].concat())
}

/// The route that an op is, if it is one.
pub fn route_of(op: &str) -> Option<&'static Route> {
    crate::server::request::routes::ROUTES.iter().find(|route| route.op && route.name == op)
}

fn event(name: &'static str, summary: &str, fields: Vec<Field>) -> Message {
    let mut all = vec![must("event", constant(name), "Its name.")];
    all.extend(fields);
    Message {
        name: format!("event.{name}"),
        title: format!("event {name}"),
        summary: summary.to_owned(),
        payload: object(&all),
    }
}

fn seq() -> Field {
    must("seq", count(), "Its position in the total order of the server: the cursor is `<epoch>:<seq>`.")
}

/// What is kept in the log, and comes again with a replay.
#[rustfmt::skip]
pub fn kept() -> Vec<Message> {
    let kept = |name, summary, data: Schema, says| event(name, summary, vec![seq(), must("data", data, says)]);
    let message = |name, summary| kept(name, summary, named("Message"), "The message as it is now.");
    let brief = |name, summary| kept(name, summary, named("ConversationBrief"), "The conversation as it is now.");
    let member = |name, summary| kept(name, summary, object(&[
        must("conversation", id(), "The group."),
        must("profile", id(), "Who."),
        must("role", role(), "As what."),
    ]), "Who, where.");
    vec![
        message("message.posted", "A message was posted; a replay may bring it already changed"),
        message("message.edited", "A message has another text"),
        message("message.deleted", "A message is a tombstone"),
        message("message.reacted", "A message has other reactions"),
        message("message.pinned", "A message was pinned, or is no longer pinned"),
        kept("conversation.read", "Somebody has read on: oneself on another device, or the other one of two", object(&[
            must("conversation", id(), "Where."),
            must("profile", id(), "Who."),
            must("read_n", count(), "All up to this `n`."),
        ]), "How far."),
        brief("conversation.created", "A group that one is in was made"),
        brief("conversation.updated", "A conversation has another title or image, its old messages were erased, or the other of two was deleted"),
        member("member.added", "Somebody is a member now, or has another role"),
        member("member.removed", "Somebody is no member any more"),
        kept("profile.updated", "A profile was changed: one's own, or that of somebody one writes with", named("Profile"), "The profile as it is now."),
        kept("session.ended", "A session of one's own is over", object(&[must("session", id(), "Which.")]), "Which."),
    ]
}

/// Frames that are sent once and never repeated.
#[rustfmt::skip]
pub fn passing() -> Vec<Message> {
    vec![
        event("hello", "The first frame", vec![
            must("profile", id(), "One's own."),
            must("session", id(), "The one the token is of."),
            must("epoch", text().pattern("^[a-z0-9]{1,32}$"), "The first half of every cursor."),
            must("seq", count(), "The head of the log; no cursor."),
            must("heartbeat_ms", count(), "How often the server pings."),
            must("limits", object(&[
                must("message_max", count(), "Characters of a message."),
                must("ws_message_max", count(), "Bytes of a frame."),
                must("attachments_max", count(), "Files of a message."),
                must("in_flight_max", count(), "Ops under way at once; then the socket is not read."),
                must("upload_max", count(), "Bytes of a file."),
                must("send_queue_max", count(), "Bytes that may wait for a slow reader; above: 4408."),
                must("members_max", count(), "Members of a group."),
            ]), "What the operator allows."),
        ]),
        event("caught_up", "All that was missed has come; from here on it is live", vec![seq()]),
        event("reset", "Instead of a replay that is not possible: the client fetches its lists again", vec![
            must("reason", word(&["epoch", "pruned"]), "A cursor of another epoch or ahead of the log, or one older than what is kept."),
            seq(),
        ]),
        event("heartbeat", "The greatest `seq` so far", vec![seq()]),
        event("expiring", "The access token has 60 s left: send `auth`", vec![]),
        event("typing", "Somebody types, or stopped", vec![must("data", object(&[
            must("conversation", id(), "Where."),
            must("profile", id(), "Who."),
            must("active", flag(), "Whether they still do."),
        ]), "Who, where.")]),
        event("presence", "Somebody came or went", vec![must("data", object(&[
            must("profile", id(), "Who."),
            must("online", flag(), "Whether a device of theirs is connected."),
            must("last_seen_at", or_null(time()), "When the last one went."),
        ]), "Who.")]),
    ]
}

/// What answers an op.
#[rustfmt::skip]
pub fn answers() -> Vec<Message> {
    let re = || must("re", or_null(number_or_text(OP_ID_MAX)), "The op's `id`, exactly as it was sent.");
    let message = |name: &str, title: &str, summary: &str, payload| Message {
        name: name.to_owned(), title: title.to_owned(), summary: summary.to_owned(), payload,
    };
    vec![
        message("answer", "the response to an op", "What HTTP answers with 2xx", object(&[
            re(),
            must("ok", anything(), "HTTP's `data`; null where HTTP gives 204."),
            may("duplicate", always(true), "This `client_id` was used before."),
            may("next", or_null(text().length(1, 512)), "Goes on; null on the last page."),
            may("cursor", or_null(cursor()), "As in `conversation.list`."),
            may("unread_total", count(), "As in `conversation.list`."),
            may("archived_total", count(), "As in `conversation.list`."),
            may("complete", always(false), "As in `message.search`."),
        ])),
        message("error", "the refusal of an op", "What HTTP answers with 4xx and 5xx", object(&[
            re(),
            must("error", object(&[
                must("code", text().pattern("^[a-z_]+$"), "Never changes for an error."),
                must("title", text().length(1, 256), "In the language that the upgrade asked for."),
                must("field", or_null(text().length(1, 64)), "The member that is wrong."),
                must("retry", flag(), "The same op may succeed later."),
                must("retry_after_ms", or_null(count()), "When it is worth repeating."),
            ]), "Why."),
        ])),
    ]
}

/// The older form's.
#[rustfmt::skip]
pub fn lines() -> Vec<Message> {
    let message = |name: &str, title: &str, summary: &str, payload| Message {
        name: name.to_owned(), title: title.to_owned(), summary: summary.to_owned(), payload,
    };
    vec![
        message("pair.lines", "messages", "First the history, then single messages", list(object(&[
            must("id", id(), "The message's."),
            must("chat_id", text().length(53, 53), "`sender-receiver`, of the socket's own side."),
            must("sender", or_null(id()), "Null once the account is deleted."),
            must("receiver", id(), "The other one."),
            must("message", message_text(), "Its text."),
            must("created_at", time(), "When it was stored."),
        ])).items_max(PAIR_HISTORY_MAX as usize)),
        message("pair.post", "a message to the other member", "A message to the other one", object(&[
            must("message", message_text(), "Its text: at most `limits.message_max` characters."),
            may("client_id", id(), "One's own name for it: a repeated one is stored once."),
            may("sender", anything(), "Ignored: the address says it."),
            may("receiver", anything(), "Ignored: the address says it."),
        ])),
        message("pair.error", "a refusal", "A line that was not taken", object(&[
            must("error", object(&[
                must("code", text().pattern("^[a-z_]+$"), "Never changes for an error."),
                must("title", text().length(1, 256), "In the language that the upgrade asked for."),
                must("field", or_null(text().length(1, 64)), "The member that is wrong."),
                must("retry", flag(), "The same line may be taken later."),
                must("retry_after_ms", or_null(count()), "When it is worth repeating."),
            ]), "Why."),
        ])),
    ]
}

/// The values of the older event streams.
#[rustfmt::skip]
pub fn values() -> Vec<Message> {
    let message = |name: &str, title: &str, summary: &str, payload| Message {
        name: name.to_owned(), title: title.to_owned(), summary: summary.to_owned(), payload,
    };
    vec![
        message("chats", "all chats", "The direct conversations, the newest first", list(object(&[
            must("id", id(), "The conversation's."),
            must("sender", id(), "One's own profile."),
            must("receiver", list(named("Profile")).items_max(1), "The other one; empty once the account is deleted."),
            must("message", message_text(), "The last text."),
            must("is_read", flag(), "Whether one has read it."),
            must("created_at", time(), "When it was stored."),
        ]))),
        message("counter", "the unread conversations", "How many conversations have unread messages", count()),
    ]
}
