//! The handlers that open the event log over HTTP and the predecessor's two streams of values.
//!
//! Owns which client asks for what, from which cursor. The server owns what happens on an open stream.

use std::time::Duration;

use crate::model::handler::{Actor, Ctx, Cursor, PollStart, Request, Step, Stream, ValueForm};
use crate::model::problem::{Code, Problem};
use crate::proto::http::language::weight_of;

/// The longest wait that a poll of the log may ask for. Above: 422.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(30);

/// GET /events: server-sent events for a client whose Accept names them, JSON for any other.
pub fn list(_: &mut Ctx<'_>, actor: Actor, request: &Request<'_>) -> Result<Step, Problem> {
    let accept = request.header("accept");
    let events = weight_of(accept, "text/event-stream");
    if events > 0 && events >= weight_of(accept, "application/json") {
        // The id that the browser remembers wins over the cursor in the URL.
        let text = match request.header("last-event-id").filter(|id| !id.is_empty()) {
            Some(id) => Some(id),
            None => request.params.text("cursor")?,
        };
        let cursor = text.map(parse).transpose()?;
        return Stream::Events { actor, cursor }.step();
    }
    let start = match request.params.text("cursor")? {
        None => PollStart::Oldest,
        Some("now") => PollStart::Now,
        Some(text) => PollStart::Cursor(parse(text)?),
    };
    let limit = request.params.limit()?;
    let wait = request.params.number("wait")?.unwrap_or(0);
    if wait > WAIT_MAX.as_secs() {
        return Err(Problem::invalid("wait"));
    }
    Stream::Poll { actor, start, limit, wait: Duration::from_secs(wait) }.step()
}

fn parse(text: &str) -> Result<Cursor, Problem> {
    Cursor::parse(text).ok_or(Problem::new(Code::ErrorParsingData))
}

/// GET /chat-list.
pub fn chat_list(_: &mut Ctx<'_>, actor: Actor, _: &Request<'_>) -> Result<Step, Problem> {
    Stream::Value { actor, form: ValueForm::ChatList }.step()
}

/// GET /chat-counter.
pub fn chat_counter(_: &mut Ctx<'_>, actor: Actor, _: &Request<'_>) -> Result<Step, Problem> {
    Stream::Value { actor, form: ValueForm::ChatCounter }.step()
}
