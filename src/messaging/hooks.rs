//! The handler of incoming hooks: what another program sends becomes a message of the hook's bot.
//!
//! Owns which text a body gives. Leaves the look-up of the token to the server, which has put the conversation next to it, and the text
//! of well-known bodies to [`hook_lines`].
//! Invariant: a call posts to the conversation of its hook and to no other, as the bot of its hook.

use serde::Serialize;

use super::hook_lines;
use super::messages::{good_body, post_of};
use crate::base::crypto::HmacKey;
use crate::base::json::{self, Object, Value};
use crate::base::percent;
use crate::limits::ATTACHMENTS_MAX;
use crate::model::handler::{Actor, Ctx, Reply, Request, Step};
use crate::model::id::{ClientId, MessageId, UploadId};
use crate::model::message::{Destination, Message, PostMessage, PostedMessage};
use crate::model::params::Params;
use crate::model::problem::{Code, Problem};
use crate::proto::http::mime::ContentType;

/// What a call says.
#[derive(Default)]
struct Said {
    body: Option<String>,
    attachments: Vec<UploadId>,
    reply_to: Option<MessageId>,
}

/// POST /hooks/{token}.
pub fn post(ctx: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    #[derive(Serialize)]
    struct Made {
        id: MessageId,
        n: u64,
        seq: u64,
    }
    let conversation = request.params.required_id("conversation")?;
    let client_id = match request.header("idempotency-key").or(request.header("x-github-delivery")) {
        Some(key) => client_id(request.params.required_text("token")?, key),
        None => ctx.id(),
    };
    let Said { body, attachments, reply_to } = said(request)?;
    let chars_max = ctx.settings.limits.message_max;
    let body = body.filter(|body| !body.is_empty()).map(|body| cut(body, chars_max));
    let is_good = match &body {
        Some(body) => good_body(body, chars_max, !attachments.is_empty()),
        None => !attachments.is_empty(),
    };
    if !is_good {
        return Err(Problem::invalid("body"));
    }
    let draft = Message { client_id, body, reply_to, ..Message::default() };
    let post = post_of(ctx, actor, Destination::Conversation(conversation), draft);
    let post = PostMessage { attachments: attachments.into(), ..post };
    Ok(Step::store(post, |_, posted| {
        let (id, n, seq) = match &posted.message {
            PostedMessage::Complete(message) => (message.id, message.n, message.seq),
            PostedMessage::Left(stub) => (stub.id, stub.n, stub.seq),
        };
        let made = Made { id, n, seq };
        if posted.duplicate {
            Reply::ok(&made).beside("duplicate", &true).step()
        } else {
            Reply::created(&made).step()
        }
    }))
}

/// The same for each call with this key, so that the look-up of a post finds a repeated one. Only who has the token can make it.
fn client_id(token: &str, key: &str) -> ClientId {
    let tag = HmacKey::new(token.as_bytes()).sign(key.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&tag[..16]);
    ClientId::from_bytes(bytes)
}

fn said(request: &Request<'_>) -> Result<Said, Problem> {
    let parsing = || Problem::new(Code::ErrorParsingData);
    let media = request.header("content-type").and_then(ContentType::parse);
    let event = request.header("x-github-event");
    if media.as_ref().is_some_and(ContentType::is_json) {
        let value = json::parse(request.body).map_err(|_| parsing())?;
        return said_in_json(value.as_object().ok_or_else(parsing)?, event);
    }
    let text = std::str::from_utf8(request.body).map_err(|_| parsing())?;
    if let Some(event) = event {
        // GitHub's form has the JSON in one field.
        let payload = percent::form_value(text, "payload").ok_or_else(parsing)?;
        let value = json::parse_text(&payload).map_err(|_| parsing())?;
        return said_in_json(value.as_object().ok_or_else(parsing)?, Some(event));
    }
    Ok(Said { body: Some(text.trim_end_matches(['\r', '\n']).to_owned()), ..Said::default() })
}

fn said_in_json(object: &Object<'_>, event: Option<&str>) -> Result<Said, Problem> {
    if let Some(event) = event {
        return Ok(Said { body: Some(hook_lines::github(event, object)), ..Said::default() });
    }
    if hook_lines::is_alerts(object) {
        return Ok(Said { body: Some(hook_lines::alerts(object)), ..Said::default() });
    }
    let params = Params::new(&[], &[], Some(object));
    let attachments = params.ids("attachments", ATTACHMENTS_MAX)?;
    if (1..attachments.len()).any(|i| attachments[..i].contains(&attachments[i])) {
        return Err(Problem::invalid("attachments"));
    }
    // Other chat servers have the text in `text`.
    let name = if object.get("body").is_some_and(|body| *body != Value::Null) { "body" } else { "text" };
    let body = params.text(name).map_err(|_| Problem::invalid("body"))?.map(str::to_owned);
    Ok(Said { body, attachments, reply_to: params.id("reply_to")? })
}

/// A text that is too long ends with `…`: what a program says is better cut than lost.
fn cut(text: String, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text,
        Some(_) => {
            let end = text.char_indices().nth(chars_max - 1).map_or(0, |(end, _)| end);
            format!("{}…", &text[..end])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut() {
        for (text, expect) in [("abc", "abc"), ("abcd", "ab…"), ("éééé", "éé…"), ("", "")] {
            assert_eq!(cut(text.to_owned(), 3), expect);
        }
        assert_eq!(cut("ab".to_owned(), 1), "…");
    }

    #[test]
    fn a_key_is_one_post_of_its_hook() {
        let id = client_id("nh_a", "1");
        assert_eq!(id, client_id("nh_a", "1"));
        assert!(id != client_id("nh_a", "2") && id != client_id("nh_b", "1"));
    }
}
