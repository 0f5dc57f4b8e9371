//! Writes the table as an AsyncAPI 3.0 document.

use super::events::{self, CLOSE_CODES, Message};
use super::examples::Examples;
use super::shape::*;
use super::types;
use crate::base::json::Value;

/// The types that a stream's messages name.
const TYPES: &[&str] =
    &["Id", "Time", "Cursor", "Profile", "Attachment", "Reaction", "Message", "ConversationBrief"];

pub fn document(examples: &Examples<'_>) -> Value<'static> {
    let (ops, kept, passing) = (events::ops(), events::kept(), events::passing());
    let (answers, lines, values) = (events::answers(), events::lines(), events::values());
    let names =
        |messages: &[Message]| messages.iter().map(|message| message.name.clone()).collect::<Vec<_>>();
    let sent = [names(&kept), names(&passing), names(&answers)].concat();
    let log = [names(&kept), vec!["event.reset".to_owned()]].concat();
    let socket = [names(&ops), sent.clone()].concat();
    let all = ops.iter().chain(&kept).chain(&passing).chain(&answers).chain(&lines).chain(&values);
    record([
        ("asyncapi", string("3.0.0")),
        (
            "info",
            record([
                ("title", string("natter")),
                ("version", string("1")),
                (
                    "description",
                    string(
                        "The streams of natter. Events reach a connection in strictly rising seq; the calling connection gets the answer instead of the events that its op caused.",
                    ),
                ),
                (
                    "license",
                    record([("name", string("MIT")), ("url", string("https://opensource.org/license/mit"))]),
                ),
                ("x-close-codes", record(CLOSE_CODES.iter().map(|(code, says)| (*code, string(says))))),
            ]),
        ),
        ("defaultContentType", string("application/json")),
        (
            "channels",
            record([
                (
                    "socket",
                    channel(
                        "/api/v1/ws",
                        "The native WebSocket",
                        "Text frames with one JSON object each. `cursor` resumes; subprotocol natter.v1.",
                        None,
                        &socket,
                    ),
                ),
                (
                    "pair",
                    channel(
                        "/api/v1/ws/{sender}/{receiver}",
                        "The legacy WebSocket between two members",
                        "The predecessor's form: lines of text between two members.",
                        Some(record([
                            ("sender", record([("description", string("My profile."))])),
                            (
                                "receiver",
                                record([("description", string("The profile of the other member."))]),
                            ),
                        ])),
                        &names(&lines),
                    ),
                ),
                (
                    "events",
                    channel(
                        "/api/v1/events",
                        "The event log as server-sent events",
                        "id = cursor, event = name, data = the object. Last-Event-ID resumes.",
                        None,
                        &log,
                    ),
                ),
                (
                    "chats",
                    channel(
                        "/api/v1/chat-list",
                        "The legacy list of chats as server-sent events",
                        "The value at once, and then whenever it has changed, at most 4 times a second.",
                        None,
                        &["chats".to_owned()],
                    ),
                ),
                (
                    "counter",
                    channel(
                        "/api/v1/chat-counter",
                        "The legacy counter as server-sent events",
                        "The value at once, and then whenever it has changed, at most 4 times a second.",
                        None,
                        &["counter".to_owned()],
                    ),
                ),
            ]),
        ),
        (
            "operations",
            record([
                ("sendOps", operation("receive", "socket", "The client sends operations", &names(&ops))),
                ("receiveEvents", operation("send", "socket", "The server sends events and answers", &sent)),
                (
                    "sendLines",
                    operation(
                        "receive",
                        "pair",
                        "The client writes to the other one",
                        &["pair.post".to_owned()],
                    ),
                ),
                (
                    "receiveLines",
                    operation(
                        "send",
                        "pair",
                        "What the two write",
                        &["pair.lines".to_owned(), "pair.error".to_owned()],
                    ),
                ),
                ("receiveLog", operation("send", "events", "The events from a cursor on", &log)),
                ("receiveChats", operation("send", "chats", "All chats", &["chats".to_owned()])),
                (
                    "receiveCounter",
                    operation("send", "counter", "How many are unread", &["counter".to_owned()]),
                ),
            ]),
        ),
        (
            "components",
            record([
                ("messages", record(all.map(|message| (message.name.clone(), written(message, examples))))),
                (
                    "schemas",
                    record(
                        types::all()
                            .into_iter()
                            .filter(|(name, _)| TYPES.contains(name))
                            .map(|(name, schema)| (name, schema.value())),
                    ),
                ),
            ]),
        ),
    ])
}

fn reference(path: String) -> Value<'static> {
    record([("$ref", string(&path))])
}

fn channel(
    address: &str,
    title: &str,
    says: &str,
    parameters: Option<Value<'static>>,
    messages: &[String],
) -> Value<'static> {
    let mut members =
        vec![("address", string(address)), ("title", string(title)), ("description", string(says))];
    members.extend(parameters.map(|parameters| ("parameters", parameters)));
    let messages =
        messages.iter().map(|name| (name.clone(), reference(format!("#/components/messages/{name}"))));
    members.push(("messages", record(messages)));
    record(members)
}

fn operation(action: &str, channel: &str, summary: &str, messages: &[String]) -> Value<'static> {
    let each = messages.iter().map(|name| reference(format!("#/channels/{channel}/messages/{name}")));
    record([
        ("action", string(action)),
        ("channel", reference(format!("#/channels/{channel}"))),
        ("summary", string(summary)),
        ("messages", Value::List(each.collect())),
    ])
}

fn written(message: &Message, examples: &Examples<'_>) -> Value<'static> {
    let name = message
        .name
        .split_once('.')
        .filter(|(kind, _)| *kind != "pair")
        .map_or(&*message.name, |(_, name)| name);
    let mut members = vec![
        ("name", string(name)),
        ("title", string(&message.title)),
        ("summary", string(&message.summary)),
        ("payload", message.payload.value()),
    ];
    if let Some(example) = examples.frame(&message.name) {
        members.push(("examples", Value::List(vec![record([("payload", example)])])));
    }
    record(members)
}
