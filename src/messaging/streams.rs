//! The opening of the two kinds of WebSocket, and the texts of the legacy socket.
//!
//! Owns who may open a socket and the shape of the legacy socket's JSON. The server owns what happens on an open
//! socket.
//! Invariant: ids in a legacy frame decide nothing; both sides of a socket come from its URL and its token.

use std::borrow::Cow;

use serde::Serialize;

use super::messages;
use crate::base::id::Id;
use crate::base::json::{self, Value};
use crate::base::send_queue::Segment;
use crate::base::time::UnixMs;
use crate::limits::PAIR_HISTORY_MAX;
use crate::model::handler::{Actor, Ctx, Cursor, Reply, Request, Step, Stream};
use crate::model::id::{MessageId, ProfileId};
use crate::model::message::{Destination, Message, OpenLegacySocket, Posted, PostedMessage};
use crate::model::problem::{Code, Problem};

/// GET /api/v1/ws: from the given cursor, or from now.
pub fn open_socket(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let cursor = match request.params.text("cursor")? {
        None => None,
        Some(text) => Some(Cursor::parse(text).ok_or(Problem::new(Code::ErrorParsingData))?),
    };
    Stream::WebSocket { actor, cursor }.step()
}

/// GET /api/v1/ws/{sender}/{receiver}, the legacy socket: the history is read before the socket opens, so that an
/// unknown receiver is a plain 404.
pub fn open_legacy_socket(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let sender = request.params.required_id("sender")?;
    let receiver = request.params.required_id("receiver")?;
    if sender != actor.profile {
        return Err(Code::NotAllowed.into());
    }
    if receiver == sender {
        return Err(Problem::invalid("receiver"));
    }
    let question = OpenLegacySocket { sender, receiver, limit: PAIR_HISTORY_MAX };
    // The stream marks what it shows as read. A mark from here would be an event that the history does not contain.
    Ok(Step::store(question, move |_, pair| Stream::LegacySocket { actor, receiver, pair }.step()))
}

/// One message as the predecessor showed it.
#[derive(Serialize)]
struct PairRow<'a> {
    id: MessageId,
    chat_id: &'a str,
    sender: Option<ProfileId>,
    receiver: ProfileId,
    message: &'a str,
    created_at: UnixMs,
}

/// `[{…},…]`: what a legacy socket between `own` and `peer` sends, as its history and, one at a time, live. Tombstones
/// and messages without a text are left out. `chat_id` is of the socket's own side, so each side has its own encoding.
pub fn encode_pair<'a>(
    own: ProfileId,
    peer: ProfileId,
    messages: impl IntoIterator<Item = &'a Message>,
) -> Vec<u8> {
    let chat_id = format!("{own}-{peer}");
    let rows: Vec<PairRow<'_>> = messages
        .into_iter()
        .filter_map(|message| {
            Some(PairRow {
                id: message.id,
                chat_id: &chat_id,
                sender: message.sender,
                receiver: if message.sender == Some(own) { peer } else { own },
                message: message.body.as_deref()?,
                created_at: message.created_at,
            })
        })
        .collect();
    json::to_vec(&rows)
}

/// A frame of a legacy socket, `{sender?,receiver?,message,client_id?}`: a post from the socket's own side to its peer.
///
/// All sockets of the two profiles, this one included, get the message as a live event, so the reply is empty (204) and
/// nothing is sent. Only a repeated `client_id`, which causes no event, is answered on this socket, with the original.
pub fn pair_frame(
    ctx: &mut Ctx<'_>,
    actor: Actor,
    receiver: ProfileId,
    text: &[u8],
) -> Result<Step, Problem> {
    let frame = json::parse(text).map_err(|_| Problem::new(Code::ErrorParsingData))?;
    // `null`, a list or a number is valid JSON but no frame. The predecessor's process crashed on it.
    let frame = frame.as_object().ok_or(Problem::new(Code::ErrorParsingData))?;
    let body = match frame.get("message") {
        Some(Value::Str(text)) if messages::good_body(text, ctx.settings.limits.message_max, false) => text,
        _ => return Err(Problem::invalid("message")),
    };
    let client_id = match frame.get("client_id") {
        None | Some(Value::Null) => ctx.id(),
        Some(value) => value.as_str().and_then(Id::parse).ok_or(Problem::invalid("client_id"))?,
    };
    let body = Some(Cow::clone(body).into_owned());
    let draft = Message { client_id, body, ..Message::default() };
    let post = messages::post_of(ctx, actor, Destination::To(receiver), draft);
    Ok(Step::store(post, move |_, posted| match posted {
        Posted { duplicate: true, message: PostedMessage::Complete(message) } => {
            let bytes = encode_pair(actor.profile, receiver, [&*message]);
            Reply::raw(200, "application/json", Segment::Owned(bytes)).step()
        }
        _ => Reply::no_content().step(),
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::handler::{Body, Handler};
    use crate::model::message::LegacyHistory;
    use crate::model::operation::{Answer, Command, Read, Refusal, Write};
    use crate::model::testing::{Played, Stage, UNIX_MS, problem, reply};

    const OPEN: Handler = Handler::Member(open_socket);
    const OPEN_PAIR: Handler = Handler::Member(open_legacy_socket);
    const OWN: ProfileId = ProfileId::from_u128(12);
    const PEER: ProfileId = ProfileId::from_u128(30);

    fn message(n: u64, sender: Option<ProfileId>, body: Option<&str>) -> Message {
        Message {
            id: Id::from_u128(100 + u128::from(n)),
            client_id: Id::from_u128(7),
            conversation: Id::from_u128(20),
            n,
            seq: n,
            rev: n,
            sender,
            body: body.map(str::to_owned),
            attachments: Vec::new(),
            reply_to: None,
            reactions: Vec::new(),
            mentions: Vec::new(),
            forwarded: false,
            pinned: false,
            system: None,
            created_at: UNIX_MS,
            edited_at: None,
            deleted_at: None,
            damaged: false,
        }
    }

    fn path(sender: ProfileId, receiver: ProfileId) -> [(&'static str, String); 2] {
        [("sender", sender.to_string()), ("receiver", receiver.to_string())]
    }

    fn stream(step: Played) -> Stream {
        match step {
            Ok(Step::Stream(stream)) => *stream,
            _ => panic!("expected a stream"),
        }
    }

    #[test]
    fn a_socket_opens_at_its_cursor() {
        let opened = |query: &str| {
            let stream = stream(Stage::new().ask_at(OPEN, &[], query, ""));
            let Stream::WebSocket { actor, cursor } = stream else { panic!("{stream:?}") };
            assert_eq!(actor.profile, OWN);
            cursor.map(|cursor| cursor.to_string())
        };
        assert_eq!(opened(""), None);
        assert_eq!(opened("cursor=k3:12").as_deref(), Some("k3:12"));
        for bad in ["", "12", "k3:", "k3:-1", "K3:1", "now"] {
            let step = Stage::new().ask_at(OPEN, &[], &format!("cursor={bad}"), "");
            assert_eq!(problem(step), (400, "error_parsing_data".to_owned()), "{bad}");
        }
    }

    fn opened_pair(step: Played) -> (ProfileId, LegacyHistory) {
        let stream = stream(step);
        let Stream::LegacySocket { actor, receiver, pair } = stream else { panic!("{stream:?}") };
        assert_eq!(actor.profile, OWN);
        (receiver, pair)
    }

    #[test]
    fn a_legacy_socket_opens_with_its_history() {
        let mut stage = Stage::new();
        let step = stage.ask_at(OPEN_PAIR, &path(OWN, PEER), "", "");
        let step = stage.answer(step, |command| {
            let Command::Read(Read::OpenLegacySocket(open)) = command else { panic!("{command:?}") };
            assert_eq!((open.sender, open.receiver, open.limit), (OWN, PEER, 100));
            let messages = vec![message(1, Some(PEER), Some("hi"))];
            Answer::OpenLegacySocket(Box::new(LegacyHistory {
                conversation: Some(Id::from_u128(20)),
                last_n: 3,
                as_of: 9,
                messages,
            }))
        });
        let (receiver, pair) = opened_pair(step);
        assert_eq!((receiver, pair.as_of, pair.messages.len()), (PEER, 9, 1));

        // Two profiles that never wrote to each other have no conversation yet.
        let step = stage.ask_at(OPEN_PAIR, &path(OWN, PEER), "", "");
        let step = stage.answer(step, |_| {
            Answer::OpenLegacySocket(Box::new(LegacyHistory {
                conversation: None,
                last_n: 0,
                as_of: 9,
                messages: Vec::new(),
            }))
        });
        assert_eq!(opened_pair(step).1.conversation, None);
    }

    /// The sender of the URL must be the one of the token. In the predecessor both came from the URL alone: any token
    /// read and wrote anyone's chat.
    #[test]
    fn a_legacy_socket_is_opened_by_its_sender_only() {
        let check = |sender: ProfileId, receiver: ProfileId, expect: (u16, &str)| {
            let step = Stage::new().ask_at(OPEN_PAIR, &path(sender, receiver), "", "");
            let (status, code) = problem(step);
            assert_eq!((status, code.as_str()), expect);
        };
        check(PEER, OWN, (403, "not_allowed"));
        check(PEER, Id::from_u128(31), (403, "not_allowed"));
        check(PEER, PEER, (403, "not_allowed"));
        check(OWN, OWN, (422, "invalid_receiver"));
        let mut stage = Stage::new();
        let step = stage.ask_at(OPEN_PAIR, &path(OWN, PEER), "", "");
        assert_eq!(problem(stage.refuse(step, Refusal::NotFound)), (404, "not_found".to_owned()));
    }

    #[test]
    fn the_history_has_the_predecessor_s_shape() {
        let messages = [
            message(1, Some(OWN), Some("hi \"you\"")),
            message(2, None, None),
            message(3, Some(PEER), Some("yes?")),
            message(4, Some(OWN), None),
            message(5, None, Some("from someone who left")),
        ];
        let row = |n: u128, sender: String, receiver: ProfileId, text: &str| {
            format!(
                r#"{{"id":"{}","chat_id":"{OWN}-{PEER}","sender":{sender},"receiver":"{receiver}","message":{text},"created_at":"2026-11-22T13:03:54.120Z"}}"#,
                <Id>::from_u128(100 + n)
            )
        };
        let expect = format!(
            "[{},{},{}]",
            row(1, format!("\"{OWN}\""), PEER, r#""hi \"you\"""#),
            row(3, format!("\"{PEER}\""), OWN, r#""yes?""#),
            row(5, "null".to_owned(), OWN, r#""from someone who left""#)
        );
        assert_eq!(String::from_utf8_lossy(&encode_pair(OWN, PEER, &messages)), expect);
        assert_eq!(encode_pair(OWN, PEER, []), b"[]");
        // The other side's socket has the other side's chat_id.
        let theirs = encode_pair(PEER, OWN, &messages[..1]);
        let theirs = String::from_utf8_lossy(&theirs);
        assert!(
            theirs.contains(&format!(r#""chat_id":"{PEER}-{OWN}","sender":"{OWN}","receiver":"{PEER}""#))
        );
    }

    fn frame(stage: &mut Stage, text: &[u8]) -> Played {
        let actor = stage.actor;
        stage.act(|ctx| pair_frame(ctx, actor, PEER, text))
    }

    /// Ids in a frame are ignored. In the predecessor sender and receiver came from the JSON: anyone could write as
    /// anyone.
    #[test]
    fn a_frame_s_ids_decide_nothing() {
        let mut stage = Stage::new();
        let text = format!(
            r#"{{"sender":"{0}","receiver":"{0}","message":"hi","client_id":"{1}","id":5}}"#,
            <Id>::from_u128(99),
            <Id>::from_u128(7)
        );
        let step = frame(&mut stage, text.as_bytes());
        let step = stage.answer(step, |command| {
            let Command::Write(Write::PostMessage(post)) = command else { panic!("{command:?}") };
            let draft = &post.draft;
            assert_eq!((draft.sender, post.destination), (Some(OWN), Destination::To(PEER)));
            let (said, at) = (draft.body.as_deref(), draft.created_at);
            assert_eq!((draft.client_id, said, at), (Id::from_u128(7), Some("hi"), UNIX_MS));
            let message = PostedMessage::Complete(Arc::new(message(1, Some(OWN), Some("hi"))));
            Answer::PostMessage(Posted { message, duplicate: false })
        });
        assert!(
            matches!(reply(step).body, Body::Empty),
            "the event is delivered to all sockets, this one too"
        );
    }

    #[test]
    fn a_frame_without_client_id_gets_a_fresh_one_and_a_repeat_its_original() {
        let mut stage = Stage::new();
        let mut ids = Vec::new();
        for _ in 0..2 {
            let step = frame(&mut stage, br#"{"message":"hi","client_id":null}"#);
            stage
                .answer(step, |command| {
                    let Command::Write(Write::PostMessage(post)) = command else { panic!("{command:?}") };
                    ids.push(post.draft.client_id);
                    let message = PostedMessage::Complete(Arc::new(message(1, Some(OWN), Some("hi"))));
                    Answer::PostMessage(Posted { message, duplicate: false })
                })
                .map(|_| ())
                .expect("an answer");
        }
        assert_ne!(ids[0], ids[1]);
        let step = frame(
            &mut stage,
            format!(r#"{{"message":"hi","client_id":"{}"}}"#, <Id>::from_u128(7)).as_bytes(),
        );
        let original = message(1, Some(OWN), Some("hi"));
        let shared = PostedMessage::Complete(Arc::new(original.clone()));
        let step = stage.answer(step, |_| Answer::PostMessage(Posted { message: shared, duplicate: true }));
        let Body::Raw { bytes: Segment::Owned(bytes), .. } = reply(step).body else {
            panic!("expected bytes")
        };
        assert_eq!(bytes, encode_pair(OWN, PEER, [&original]));
    }

    /// A frame of any shape is an error and does not end the connection. In the predecessor the message `null`
    /// panicked, and ids of the wrong form panicked and leaked the socket.
    #[test]
    fn a_bad_frame_is_an_error_and_no_panic() {
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(4_001));
        let rows: [(&[u8], (u16, &str)); 14] = [
            (b"", (400, "error_parsing_data")),
            (b"null", (400, "error_parsing_data")),
            (b"[]", (400, "error_parsing_data")),
            (b"\"hi\"", (400, "error_parsing_data")),
            (b"{\"message\":\"a\",\"message\":\"b\"}", (400, "error_parsing_data")),
            (b"{\"message\":\"\xff\"}", (400, "error_parsing_data")),
            (b"{}", (422, "invalid_message")),
            (b"{\"message\":null}", (422, "invalid_message")),
            (b"{\"message\":\" \"}", (422, "invalid_message")),
            (b"{\"message\":\"a\\u0000\"}", (422, "invalid_message")),
            (b"{\"message\":{}}", (422, "invalid_message")),
            (long.as_bytes(), (422, "invalid_message")),
            (b"{\"message\":\"hi\",\"client_id\":\"x\"}", (422, "invalid_client_id")),
            (b"{\"message\":\"hi\",\"client_id\":7}", (422, "invalid_client_id")),
        ];
        for (text, expect) in rows {
            let (status, code) = problem(frame(&mut Stage::new(), text));
            assert_eq!((status, code.as_str()), expect, "{}", String::from_utf8_lossy(text));
        }
    }
}
