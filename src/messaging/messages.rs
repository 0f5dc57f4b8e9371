//! The handlers of message.post and message.list.
//!
//! Owns what a well-formed message is. Membership, blocks, numbering and the look-up of `client_id` happen in the
//! message's own transaction.
//! Invariant: the sender is the actor, whatever the request says.

use std::sync::Arc;

use crate::limits::ATTACHMENTS_MAX;
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::message::{
    Destination, ForwardMessage, ListMessages, Message, PagePoint, PostMessage, Posted, PostedMessage,
};
use crate::model::params::written_text;
use crate::model::problem::Problem;
use crate::model::settings::SignUrls;
use crate::model::upload::Quota;

/// POST /messages, op `message.post`.
pub fn post(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let params = &request.params;
    let client_id = params.required_id("client_id")?;
    let destination = match (params.id("conversation")?, params.id("to")?) {
        (Some(conversation), None) => Destination::Conversation(conversation),
        (None, Some(to)) if to != actor.profile => Destination::To(to),
        // No receiver, two receivers, or the sender itself.
        _ => return Err(Problem::invalid("to")),
    };
    if let Some(message) = params.id("forward")? {
        if ["body", "attachments", "reply_to"].iter().any(|name| params.has(name)) {
            return Err(Problem::invalid("forward"));
        }
        let post = post_of(ctx, actor, destination, Message { client_id, ..Message::default() });
        let uploads = std::array::from_fn(|_| ctx.id());
        let limits = &ctx.settings.limits;
        let quota = Quota { bytes: limits.upload_quota, files: limits.upload_files_max };
        return Ok(Step::store(ForwardMessage { post, message, uploads, quota }, posted));
    }
    let attachments = params.ids("attachments", ATTACHMENTS_MAX)?;
    if (1..attachments.len()).any(|i| attachments[..i].contains(&attachments[i])) {
        return Err(Problem::invalid("attachments"));
    }
    let body = match params.text("body")? {
        // An empty text next to attachments is no text; without attachments it would be an empty message.
        None | Some("") if !attachments.is_empty() => None,
        None => return Err(Problem::invalid("body")),
        Some(text) => {
            if !good_body(text, ctx.settings.limits.message_max, !attachments.is_empty()) {
                return Err(Problem::invalid("body"));
            }
            Some(text.to_owned())
        }
    };
    let reply_to = params.id("reply_to")?;
    let draft = Message { client_id, body, reply_to, ..Message::default() };
    let post = PostMessage { attachments: attachments.into(), ..post_of(ctx, actor, destination, draft) };
    Ok(Step::store(post, posted))
}

/// A message without attachments, with its sender, its time and its random parts.
pub(super) fn post_of(
    ctx: &mut Ctx<'_>,
    actor: Actor,
    destination: Destination,
    draft: Message,
) -> PostMessage {
    let mut random = [0; 2];
    ctx.entropy.fill(&mut random);
    PostMessage {
        draft: Arc::new(Message { sender: Some(actor.profile), created_at: ctx.now.unix_ms, ..draft }),
        destination,
        attachments: Box::default(),
        conversation_if_new: match destination {
            Destination::To(_) => ctx.id(),
            // A post to a named conversation never creates it.
            Destination::Conversation(conversation) => conversation,
        },
        random: u16::from_be_bytes(random),
    }
}

/// A text may be invisible only if attachments come with it. It is stored as sent.
pub(super) fn good_body(text: &str, chars_max: usize, with_attachments: bool) -> bool {
    written_text(text, chars_max)
        || with_attachments && !text.contains('\0') && text.chars().nth(chars_max).is_none()
}

fn posted(ctx: &mut Ctx<'_>, posted: Posted) -> Result<Step, Problem> {
    let status = if posted.duplicate { 200 } else { 201 };
    let reply = match posted.message {
        PostedMessage::Complete(mut message) => {
            let data = match ctx.last_published {
                Some((rev, json)) if rev == message.rev => json.to_vec(),
                _ => {
                    message.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
                    let mut data = Vec::with_capacity(512);
                    message.write(&mut data);
                    data
                }
            };
            Reply::json(status, data)
        }
        PostedMessage::Left(stub) => Reply::data(status, &*stub),
    };
    if posted.duplicate { reply.beside("duplicate", &true).step() } else { reply.step() }
}

/// GET /conversations/{conversation}/messages, op `message.list`.
pub fn list(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let params = &request.params;
    let conversation = params.required_id("conversation")?;
    let asked = match (params.number("before")?, params.number("after")?) {
        (None, None) => PagePoint::Newest,
        (Some(n), None) => PagePoint::Before(n),
        (None, Some(n)) => PagePoint::After(n),
        (Some(_), Some(_)) => return Err(Problem::invalid("before")),
    };
    let limit = params.limit()?;
    // `next` holds the position and the direction; the point at which the client began is returned unchanged.
    let at = params.next(read_next)?.unwrap_or(asked);
    let pinned = params.flag("pinned")?.unwrap_or_default();
    let question = ListMessages { viewer: actor.profile, conversation, at, pinned, limit };
    Ok(Step::store(question, |ctx, mut page| {
        page.messages.sign_urls(&ctx.settings.urls, ctx.now.unix_s());
        Reply::messages(&page.messages, page.next.and_then(write_next)).step()
    }))
}

/// `b<n>` or `a<n>`: older or newer than n.
fn write_next(point: PagePoint) -> Option<String> {
    match point {
        PagePoint::Before(n) => Some(format!("b{n}")),
        PagePoint::After(n) => Some(format!("a{n}")),
        // A page is never continued at the newest: that would be the first page again.
        PagePoint::Newest => None,
    }
}

fn read_next(text: &str) -> Option<PagePoint> {
    if let Some(n) = text.strip_prefix('b') {
        return super::read_number(n).map(PagePoint::Before);
    }
    super::read_number(text.strip_prefix('a')?).map(PagePoint::After)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::id::Id;
    use crate::model::handler::Handler;
    use crate::model::id::UploadId;
    use crate::model::message::{MessagePage, PostedStub};
    use crate::model::operation::{Answer, Command, Read, Refusal, Write};
    use crate::model::testing::{Stage, UNIX_MS, problem, text};
    use crate::model::upload::Attachment;

    const POST: Handler = Handler::Member(post);
    const LIST: Handler = Handler::Member(list);

    fn message(n: u64) -> Message {
        Message {
            id: Id::from_u128(100 + u128::from(n)),
            client_id: Id::from_u128(7),
            conversation: Id::from_u128(20),
            n,
            seq: n,
            rev: n,
            sender: Some(Id::from_u128(12)),
            body: Some("hi".to_owned()),
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

    /// A post as JSON, with a good `to` and `client_id`, and `rest`.
    fn body(rest: &str) -> String {
        format!(r#"{{"to":"{}","client_id":"{}"{rest}}}"#, <Id>::from_u128(30), <Id>::from_u128(7))
    }

    fn asked(stage: &mut Stage, body: &str) -> PostMessage {
        let mut asked = None;
        let step = stage.ask(POST, body);
        let step = stage.answer(step, |command| {
            let Command::Write(Write::PostMessage(post)) = command else { panic!("{command:?}") };
            asked = Some(post);
            let message = PostedMessage::Complete(Arc::new(message(1)));
            Answer::PostMessage(Posted { message, duplicate: false })
        });
        assert_eq!(text(step).0, 201);
        asked.expect("a question")
    }

    #[test]
    fn a_post_reaches_storage_complete() {
        let mut stage = Stage::new();
        let attachments: Vec<UploadId> = (40..50).map(Id::from_u128).collect();
        let list = crate::base::json::to_string(&attachments);
        let rest =
            format!(r#","body":" as  sent\n","attachments":{list},"reply_to":"{}""#, <Id>::from_u128(60));
        let post = asked(&mut stage, &body(&rest));
        let draft = &post.draft;
        assert_eq!((draft.created_at, draft.sender), (UNIX_MS, Some(Id::from_u128(12))));
        assert_eq!((draft.client_id, draft.body.as_deref()), (Id::from_u128(7), Some(" as  sent\n")));
        assert_eq!(
            (post.destination, draft.reply_to),
            (Destination::To(Id::from_u128(30)), Some(Id::from_u128(60)))
        );
        assert_eq!(&*post.attachments, attachments);
        assert_eq!(post.conversation_if_new.unix_ms(), UNIX_MS);
        let again = asked(&mut stage, &body(r#","body":"x""#));
        assert_ne!(
            (post.random, post.conversation_if_new),
            (again.random, again.conversation_if_new),
            "drawn again each time"
        );
        let named = format!(
            r#"{{"conversation":"{}","client_id":"{}","body":"x"}}"#,
            <Id>::from_u128(20),
            <Id>::from_u128(7)
        );
        assert_eq!(asked(&mut stage, &named).destination, Destination::Conversation(Id::from_u128(20)));
    }

    /// The sender is the one who is signed in. The predecessor took the sender from the JSON: anyone could write as
    /// anyone.
    #[test]
    fn the_sender_is_the_actor() {
        let mut stage = Stage::new();
        let rest = format!(r#","body":"x","sender":"{0}","profile":"{0}""#, <Id>::from_u128(99));
        assert_eq!(asked(&mut stage, &body(&rest)).draft.sender, Some(stage.actor.profile));
    }

    #[test]
    fn what_a_message_may_be() {
        let limit = 4_000;
        let good = |rest: &str, expect: Option<&str>| {
            assert_eq!(asked(&mut Stage::new(), &body(rest)).draft.body.as_deref(), expect, "{rest}");
        };
        let bad = |rest: &str, code: &str| {
            assert_eq!(problem(Stage::new().ask(POST, &body(rest))), (422, code.to_owned()), "{rest}");
        };
        let attached = format!(r#","attachments":["{}"]"#, <Id>::from_u128(40));
        let text = |text: &str| format!(r#","body":"{text}""#);
        let (longest, long) = ("é".repeat(limit), "é".repeat(limit + 1));
        good(&text("x"), Some("x"));
        good(&text(&longest), Some(&longest));
        good(&attached, None);
        good(&format!(r#"{attached},"body":"""#), None);
        good(&format!(r#"{attached},"body":null"#), None);
        good(&format!(r#"{attached},"body":" ""#), Some(" "));
        good(&text("null"), Some("null"));
        bad("", "invalid_body");
        bad(r#","body":null"#, "invalid_body");
        bad(r#","body":"""#, "invalid_body");
        bad(&text(" \\n\\u00a0"), "invalid_body");
        bad(&text("a\\u0000b"), "invalid_body");
        bad(&text(&long), "invalid_body");
        bad(r#","body":7"#, "invalid_body");
        bad(r#","body":{"a":1}"#, "invalid_body");
        bad(&format!(r#"{attached},"body":"\u0000""#), "invalid_body");
        bad(&format!(r#"{attached},"body":"{long}""#), "invalid_body");
        bad(r#","body":"x","attachments":["x"]"#, "invalid_attachments");
        bad(r#","body":"x","attachments":"""#, "invalid_attachments");
        bad(&format!(r#","attachments":["{0}","{0}"]"#, <Id>::from_u128(40)), "invalid_attachments");
        let eleven = crate::base::json::to_string(&(0..11).map(<Id>::from_u128).collect::<Vec<_>>());
        bad(&format!(r#","attachments":{eleven}"#), "invalid_attachments");
        bad(r#","body":"x","reply_to":"x""#, "invalid_reply_to");
    }

    #[test]
    fn where_a_message_may_go() {
        let check = |body: String, code: &str| {
            assert_eq!(problem(Stage::new().ask(POST, &body)), (422, code.to_owned()), "{body}");
        };
        let (to, own, client) = (<Id>::from_u128(30), <Id>::from_u128(12), <Id>::from_u128(7));
        check(format!(r#"{{"client_id":"{client}","body":"x"}}"#), "invalid_to");
        check(
            format!(r#"{{"client_id":"{client}","body":"x","to":"{to}","conversation":"{to}"}}"#),
            "invalid_to",
        );
        check(format!(r#"{{"client_id":"{client}","body":"x","to":"{own}"}}"#), "invalid_to");
        check(format!(r#"{{"client_id":"{client}","body":"x","to":"nobody"}}"#), "invalid_to");
        check(format!(r#"{{"client_id":"{client}","body":"x","to":5}}"#), "invalid_to");
        check(format!(r#"{{"client_id":"{client}","body":"x","conversation":"x"}}"#), "invalid_conversation");
        check(format!(r#"{{"to":"{to}","body":"x"}}"#), "invalid_client_id");
        check(format!(r#"{{"to":"{to}","body":"x","client_id":null}}"#), "invalid_client_id");
        check(format!(r#"{{"to":"{to}","body":"x","client_id":"x"}}"#), "invalid_client_id");
        check(format!(r#"{{"to":"{to}","body":"x","client_id":7}}"#), "invalid_client_id");
        check("{}".to_owned(), "invalid_client_id");
    }

    #[test]
    fn a_repeat_answers_the_original() {
        let answer = |message: PostedMessage, duplicate: bool| {
            let mut stage = Stage::new();
            let step = stage.ask(POST, &body(r#","body":"x""#));
            text(stage.answer(step, |_| Answer::PostMessage(Posted { message, duplicate })))
        };
        let whole = crate::base::json::to_string(&message(1));
        let posted = PostedMessage::Complete(Arc::new(message(1)));
        assert_eq!(answer(posted.clone(), false), (201, format!(r#"{{"data":{whole}}}"#)));
        assert_eq!(answer(posted, true), (200, format!(r#"{{"data":{whole},"duplicate":true}}"#)));
        let stub = PostedStub { id: Id::from_u128(101), client_id: Id::from_u128(7), n: 1, seq: 1 };
        let expect = format!(
            r#"{{"data":{{"id":"{}","client_id":"{}","n":1,"seq":1}},"duplicate":true}}"#,
            <Id>::from_u128(101),
            <Id>::from_u128(7)
        );
        assert_eq!(answer(PostedMessage::Left(Box::new(stub)), true), (200, expect));
    }

    #[test]
    fn an_answer_s_attachments_have_signed_urls() {
        let mut shown = message(1);
        shown.attachments.push(Attachment {
            id: Id::from_u128(40),
            name: "a.png".to_owned(),
            mime: "image/png".to_owned(),
            size: 1,
            width: Some(1),
            height: Some(1),
            alt: None,
            duration_ms: None,
            url: String::new(),
            preview: None,
        });
        let page = MessagePage { messages: vec![shown.clone()], next: None };
        let mut stage = Stage::new();
        let step = stage.ask(POST, &body(r#","body":"x""#));
        let message = PostedMessage::Complete(Arc::new(shown));
        let step = stage.answer(step, |_| Answer::PostMessage(Posted { message, duplicate: false }));
        assert!(text(step).1.contains(r#""url":"/uploads/"#));
        let step = stage.ask_at(LIST, &[("conversation", <Id>::from_u128(20).to_string())], "", "");
        let step = stage.answer(step, |_| Answer::ListMessages(Box::new(page)));
        assert!(text(step).1.contains(r#""url":"/uploads/"#));
    }

    #[test]
    fn storage_s_refusals_reach_the_poster() {
        for (refusal, expect) in [
            (Refusal::NotFound, (404, "not_found")),
            (Refusal::NotAllowed, (403, "not_allowed")),
            (Refusal::Invalid("reply_to"), (422, "invalid_reply_to")),
            (Refusal::Busy, (503, "busy")),
            (Refusal::Unavailable, (503, "unavailable")),
            (Refusal::StorageFull, (507, "storage_full")),
        ] {
            let mut stage = Stage::new();
            let step = stage.ask(POST, &body(r#","body":"x""#));
            let (status, code) = problem(stage.refuse(step, refusal));
            assert_eq!((status, code.as_str()), expect);
        }
    }

    #[test]
    fn where_a_page_begins() {
        let asked = |query: &str| {
            let mut point = None;
            let mut stage = Stage::new();
            let step = stage.ask_at(LIST, &[("conversation", <Id>::from_u128(20).to_string())], query, "");
            let page = stage.answer(step, |command| {
                let Command::Read(Read::ListMessages(list)) = command else { panic!("{command:?}") };
                assert_eq!((list.viewer, list.conversation), (Id::from_u128(12), Id::from_u128(20)));
                point = Some((list.at, list.limit));
                Answer::ListMessages(Box::new(MessagePage { messages: Vec::new(), next: Some(list.at) }))
            });
            (point.expect("a question"), text(page).1)
        };
        let rows = [
            ("", PagePoint::Newest, 50, "null"),
            ("before=9", PagePoint::Before(9), 50, "\"b9\""),
            ("after=0&limit=3", PagePoint::After(0), 3, "\"a0\""),
            ("limit=999", PagePoint::Newest, 200, "null"),
            ("after=1&next=a7", PagePoint::After(7), 50, "\"a7\""),
            ("next=b7&limit=1", PagePoint::Before(7), 1, "\"b7\""),
        ];
        for (query, at, limit, next) in rows {
            let expect = format!(r#"{{"data":[],"next":{next}}}"#);
            assert_eq!(asked(query), ((at, limit), expect), "{query}");
        }
    }

    #[test]
    fn a_page_with_bad_params_is_refused() {
        let check = |query: &str, status: u16, code: &str| {
            let path = [("conversation", <Id>::from_u128(20).to_string())];
            let step = Stage::new().ask_at(LIST, &path, query, "");
            assert_eq!(problem(step), (status, code.to_owned()), "{query}");
        };
        check("before=1&after=2", 422, "invalid_before");
        check("before=x", 422, "invalid_before");
        check("after=-1", 422, "invalid_after");
        check("limit=0", 422, "invalid_limit");
        check("limit=x", 422, "invalid_limit");
        for next in ["x", "b", "a", "b+1", "b-1", "c1", "b1x", "b99999999999999999999", "1"] {
            check(&format!("next={next}"), 400, "error_parsing_data");
        }
        // In a WebSocket op the conversation is a param like the others.
        assert_eq!(problem(Stage::new().ask(LIST, "{}")), (422, "invalid_conversation".to_owned()));
    }

    #[test]
    fn a_list_asked_over_a_web_socket_is_the_same() {
        let mut stage = Stage::new();
        let body = format!(r#"{{"conversation":"{}","before":9,"limit":2}}"#, <Id>::from_u128(20));
        let step = stage.ask(LIST, &body);
        let step = stage.answer(step, |command| {
            let Command::Read(Read::ListMessages(list)) = command else { panic!("{command:?}") };
            assert_eq!((list.at, list.limit), (PagePoint::Before(9), 2));
            let page =
                MessagePage { messages: vec![message(7), message(8)], next: Some(PagePoint::Before(7)) };
            Answer::ListMessages(Box::new(page))
        });
        let rows = crate::base::json::to_string(&[message(7), message(8)][..]);
        assert_eq!(text(step), (200, format!(r#"{{"data":{rows},"next":"b7"}}"#)));
        let step = stage.ask(LIST, &body);
        assert_eq!(problem(stage.refuse(step, Refusal::NotFound)), (404, "not_found".to_owned()));
    }
}
