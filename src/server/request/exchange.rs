//! A request in progress: what is known of it between its head and its answer, and what may take its connection over.
//!
//! Plain data; `admit` fills it, `steps` runs its handler, `respond` ends it.

use std::time::Instant;

use crate::model::handler::{Actor, Client, Stream};
use crate::proto::http::body::BodyDecoder;
use crate::proto::http::head::Head;
use crate::proto::websocket::Accept;
use crate::server::close_reason::CloseReason;
use crate::server::request::rate_limit::Verdict;
use crate::server::request::routes::Route;

pub struct ReadBody {
    pub exchange: Box<Exchange>,
    pub decoder: BodyDecoder,
    /// Empty if the row takes no body: then the bytes are only counted.
    pub body: Vec<u8>,
    pub received: usize,
}

/// One request between its head and its answer.
pub struct Exchange {
    pub head: Head,
    /// `None` if no row of the table was found.
    pub route: Option<&'static Route>,
    pub path: Vec<(&'static str, String)>,
    pub query: Vec<(String, String)>,
    pub client: Client,
    pub actor: Option<Actor>,
    pub request_id: String,
    pub started: Instant,
    pub rate: Option<Verdict>,
    /// Further fields that the refusal or the preflight needs.
    pub fields: Vec<(&'static str, std::borrow::Cow<'static, str>)>,
    /// The query is malformed or names a key twice: 400, after the checks that come before the content.
    pub bad_query: bool,
    /// The body was not read: it is drained after the answer.
    pub unread: Option<BodyDecoder>,
    /// The client asked with `Expect: 100-continue` before it sends the body, and was refused: the body may come or not.
    pub body_unasked: bool,
    /// The connection closes after this answer, even if the client asked for keep-alive.
    pub close: bool,
    /// Why, if it closes.
    pub close_reason: CloseReason,
    pub upgrade: Option<Accept>,
}

/// What takes a connection over from its request. Code in `request` names it; only `dispatch` calls the code that does it.
pub enum Handover {
    /// The body becomes a file: next, the row's check decides whether it may come.
    Upload,
    /// The body may come, and `room` bytes of its owner's quota are left for it and the others in progress.
    Body { room: u64 },
    /// The answer is a stream, or becomes one.
    Stream(Box<Stream>),
}
