//! What a row of the schema table is, and which problem codes follow from its row of `ROUTES`.
//!
//! The rows themselves are in `accounts`, `chats` and `site`. Invariant: each route of the public listener has exactly one row.

use std::collections::BTreeSet;

use super::shape::*;
use crate::limits::PAGE_MAX;
use crate::model::handler::Handler;
use crate::model::params::PAGE_DEFAULT;
use crate::model::problem::Code;
use crate::proto::http::head::Method;
use crate::server::request::bots;
use crate::server::request::routes::{Access, Action, BodyKind, ROUTES, RateClass, Route};

/// A part of the API, for those who look for something in it.
pub const TAGS: &[(&str, &str)] = &[
    ("Accounts", "Sign up, sign in, passwords, codes by mail, sessions, tickets, export and deletion."),
    ("Notifications", "Web Push: messages that reach a device whose client is closed."),
    ("Profiles", "What others see of a member, how one is found, and whom one blocks."),
    ("Moderation", "Reports, and what only the admins of the server may do."),
    ("Invites", "Links by which people join a group, or sign up."),
    ("Bots", "Programs that take part, and the hooks by which others post."),
    ("Messages", "Post, read, change, react, search. Each is also an op of the WebSocket."),
    ("Conversations", "Lists, groups and their members, read marks. Each is also an op of the WebSocket."),
    ("Uploads", "Files: sent once, shown in messages and profiles, read by a signed address."),
    ("Streams", "What happens, as it happens: WebSocket, server-sent events, long poll."),
    ("Server", "The web client, these documents, and what an operator watches."),
];

pub struct Operation {
    pub method: Method,
    pub path: &'static str,
    /// Unlike the route's name where two routes have one name.
    pub id: Option<&'static str>,
    pub tag: &'static str,
    pub summary: &'static str,
    pub says: &'static str,
    /// In the query, in addition to those of the path.
    pub query: Vec<Field>,
    pub headers: Vec<Field>,
    /// By media type.
    pub body: Vec<(&'static str, Schema)>,
    pub answers: Vec<Answer>,
    /// Besides those that follow from the route.
    pub codes: Vec<Code>,
    /// Fields that may be 422, in addition to those of the path.
    pub invalid: Vec<&'static str>,
}

pub struct Answer {
    pub status: u16,
    pub says: &'static str,
    /// By media type; of [`LINES`] the schema of one line.
    pub content: Vec<(&'static str, Schema)>,
    /// Fields that it always has, in addition to [`EVERY`]'s.
    pub headers: &'static [Header],
}

/// A field of a response, and what it says.
pub type Header = (&'static str, &'static str);

/// What each response has.
pub const EVERY: &[Header] =
    &[("X-Request-Id", "The request's own, if it is 1 to 64 of `[A-Za-z0-9._-]`, else a new one.")];

pub const JSON: &str = "application/json";
/// Bytes of any type.
pub const BYTES: &str = "application/octet-stream";
/// One JSON object on each line.
pub const LINES: &str = "application/x-ndjson";

/// What each problem of a status has, in addition to [`EVERY`]'s.
pub fn headers_of(status: u16) -> &'static [Header] {
    match status {
        401 => &[("WWW-Authenticate", "Always `Bearer`.")],
        426 => &[("Sec-WebSocket-Version", "Always 13.")],
        429 => &[("Retry-After", "Seconds after which the request is worth repeating.")],
        _ => &[],
    }
}

pub fn row(method: Method, path: &'static str, tag: &'static str, summary: &'static str) -> Operation {
    Operation {
        method,
        path,
        id: None,
        tag,
        summary,
        says: "",
        query: Vec::new(),
        headers: Vec::new(),
        body: Vec::new(),
        answers: Vec::new(),
        codes: Vec::new(),
        invalid: Vec::new(),
    }
}

impl Operation {
    pub fn named(self, id: &'static str) -> Operation {
        Operation { id: Some(id), ..self }
    }

    pub fn says(self, says: &'static str) -> Operation {
        Operation { says, ..self }
    }

    pub fn query(self, query: Vec<Field>) -> Operation {
        Operation { query, ..self }
    }

    pub fn json(mut self, fields: &[Field]) -> Operation {
        self.body.push((JSON, object(fields)));
        self
    }

    pub fn body(mut self, media: &'static str, schema: Schema) -> Operation {
        self.body.push((media, schema));
        self
    }

    pub fn answer(
        mut self,
        status: u16,
        says: &'static str,
        content: Vec<(&'static str, Schema)>,
    ) -> Operation {
        self.answers.push(Answer { status, says, content, headers: &[] });
        self
    }

    /// The answer that was added last always has these fields.
    pub fn with(mut self, headers: &'static [Header]) -> Operation {
        self.answers.last_mut().expect("an answer").headers = headers;
        self
    }

    /// `{"data":…}`.
    pub fn gives(self, status: u16, says: &'static str, data: Schema, data_says: &str) -> Operation {
        self.answer(status, says, vec![(JSON, object(&[must("data", data, data_says)]))])
    }

    /// `{"data":null}`.
    pub fn done(self, says: &'static str) -> Operation {
        self.gives(200, says, null(), "Always null.")
    }

    pub fn no_content(self, says: &'static str) -> Operation {
        self.answer(204, says, Vec::new())
    }

    /// A page of a list, with the members next to `data`.
    pub fn pages(self, says: &'static str, of: Schema, beside: Vec<Field>) -> Operation {
        let mut fields = vec![
            must("data", list(of).items_max(PAGE_MAX as usize), "One page."),
            must(
                "next",
                or_null(text().length(1, 512)),
                "Passed as `?next=` for the next page; null on the last page.",
            ),
        ];
        fields.extend(beside);
        self.answer(200, says, vec![(JSON, object(&fields))])
    }

    pub fn codes(mut self, codes: &[Code]) -> Operation {
        self.codes.extend(codes);
        self
    }

    pub fn invalid(mut self, fields: &[&'static str]) -> Operation {
        self.invalid.extend(fields);
        self
    }

    pub fn route(&self) -> &'static Route {
        let is_it = |route: &&Route| route.method == self.method && route.path == self.path;
        let found = ROUTES.iter().find(is_it);
        found.unwrap_or_else(|| panic!("{} {} is no route", self.method.as_str(), self.path))
    }

    pub fn operation_id(&self) -> &'static str {
        self.id.unwrap_or(self.route().name)
    }

    /// The parameters of the path.
    pub fn path_fields(&self) -> Vec<Field> {
        let braced = self.path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        braced.map(path_field).collect()
    }

    /// A request without a body is refused.
    pub fn needs_body(&self) -> bool {
        self.body.first().is_some_and(|(_, schema)| schema.keyword("required").is_some())
    }

    /// Every code it may be answered with, in addition to those of any request (`ALWAYS`).
    pub fn problems(&self) -> BTreeSet<(u16, String)> {
        let route = self.route();
        let mut codes = vec![Code::RateLimited];
        if !matches!(route.access, Access::Public | Access::Hook) {
            codes.push(Code::UnauthorizedAccess);
        }
        if route.access == Access::Admin {
            codes.push(Code::NotAllowed);
        }
        if route.access == Access::Bearer && bots::is_for_people(route) {
            codes.push(Code::NotAllowed);
        }
        if !matches!(route.access, Access::Public | Access::Hook) && !route.path.starts_with("/api/v1/user/")
        {
            codes.push(Code::NotVerified);
        }
        if route.access == Access::Socket {
            codes.extend([Code::OriginNotAllowed, Code::UpgradeRequired]);
        }
        if !matches!(route.action, Action::Handle(Handler::Public(_))) || route.rate != RateClass::Read {
            codes.extend([Code::Unavailable, Code::Busy]);
        }
        if route.rate != RateClass::Read {
            codes.push(Code::StorageFull);
        }
        let json = [Code::ErrorParsingData, Code::TooLarge, Code::NotSupportedType];
        match route.body {
            BodyKind::Json => codes.extend(json),
            BodyKind::Form(_) => {
                codes.extend(json);
                codes.push(Code::QuotaExceeded);
            }
            BodyKind::Upload | BodyKind::Preview => {
                codes.extend(json);
                codes.extend([Code::QuotaExceeded, Code::LengthRequired]);
            }
            _ => {}
        }
        if self.path.contains('{') {
            codes.push(Code::NotFound);
        }
        if self.query.iter().any(|field| matches!(field.name, "next" | "cursor")) {
            codes.push(Code::ErrorParsingData);
        }
        let mut all: BTreeSet<_> = codes.iter().map(|code| (code.status(), code.text().to_owned())).collect();
        all.extend(self.own_problems());
        all
    }

    /// Those that do not follow from the route: what the row itself says.
    pub fn own_problems(&self) -> BTreeSet<(u16, String)> {
        let mut all: BTreeSet<_> =
            self.codes.iter().map(|code| (code.status(), code.text().to_owned())).collect();
        let limited = self.query.iter().any(|field| field.name == "limit").then_some("limit");
        all.extend(self.invalid.iter().copied().chain(limited).map(|field| (422, invalid(field))));
        all
    }
}

fn invalid(field: &'static str) -> String {
    crate::model::problem::Problem::invalid(field).code_text()
}

/// What any request may be answered with, for reasons that have nothing to do with what it asks.
pub const ALWAYS: &[Code] = &[
    Code::BadRequest,
    Code::HttpsRequired,
    Code::MethodNotAllowed,
    Code::RequestTimeout,
    Code::TooLarge,
    Code::TargetTooLong,
    Code::ExpectationFailed,
    Code::HeadTooLarge,
    Code::GeneralError,
    Code::NotImplemented,
    Code::Unavailable,
    Code::Busy,
    Code::VersionNotSupported,
];

fn path_field(name: &'static str) -> Field {
    match name {
        "session" => must(name, id(), "A session of one's own, or what names a token of a bot."),
        "profile" => must(name, id(), "A profile."),
        "message" => must(name, id(), "A message of a conversation of one's own."),
        "conversation" => must(name, id(), "A conversation of one's own."),
        "upload" => must(name, id(), "The file."),
        "token" => must(name, text().length(1, 1_024), "Of an incoming hook; any other text is 404."),
        "invite" => must(name, id(), "An invite that one can list."),
        "report" => must(name, id(), "A report."),
        "sender" => must(name, id(), "My profile."),
        "receiver" => must(name, id(), "The profile of the other member."),
        "emoji" => {
            must(name, super::types::emoji(), "Exactly one emoji of 1 to 64 bytes, compared without U+FE0F.")
        }
        "name" => must(
            name,
            text().length(1, crate::uploads::FILE_NAME_MAX),
            "The file's name, as its `url` has it.",
        ),
        "nick_name" => {
            must(name, text().length(1, 256), "In any case; anything that is no nick name is 404.")
        }
        "path..." => {
            must("path", text().length(1, 1_024), "From the client's root, with or without its version.")
        }
        _ => panic!("{name}: what is it?"),
    }
}

/// `limit` and `next` of a list.
pub fn paging() -> Vec<Field> {
    vec![limit(), may("next", text().length(1, 512), "Opaque continuation.")]
}

pub fn limit() -> Field {
    let schema = count_from(1).or_else(number(PAGE_DEFAULT as usize));
    may("limit", schema, "At most 200; more is clamped.")
}

/// Every row, in the order of the documents.
pub fn all() -> Vec<Operation> {
    let mut all = super::site::operations();
    all.extend(super::accounts::operations());
    all.extend(super::admin::operations());
    all.extend(super::invites::operations());
    all.extend(super::bots::operations());
    all.extend(super::chats::operations());
    all.extend(super::chats::uploads());
    all.extend(super::chats::streams());
    all
}
