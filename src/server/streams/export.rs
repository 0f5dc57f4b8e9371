//! account.export: an answer that is read from storage page by page, as fast as the peer takes it and no faster.
//!
//! After each page it pauses, by the time that the page took: exports that follow each other for ever would otherwise use all of a
//! reader and most of a core. An export counts from its request on, so that one too many reads nothing.
//!
//! Invariant: at most one page and the unsent rest of the one before are in memory; an export that could not be finished ends
//! without its last chunk, so that no client takes it for complete.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::limits::{PROGRESS_BYTES, PROGRESS_WINDOW, REPLAY_LOW_BYTES};
use crate::model::export::{ExportAccount, ExportCursor, ExportPage};
use crate::model::handler::Actor;
use crate::model::id::MemberId;
use crate::model::operation::{Answer, Operation, Refusal};
use crate::model::problem::{Code, Problem};
use crate::proto::http::head::{Method, Version};
use crate::proto::http::response;
use crate::server::calls::{Caller, Next};
use crate::server::close_reason::CloseReason;
use crate::server::conn::{Conn, Phase};
use crate::server::contract::{ConnId, Ticket};
use crate::server::core::Core;
use crate::server::request::exchange::Exchange;
use crate::server::request::http;
use crate::server::request::respond;
use crate::server::streams::kinds::StreamKind;

/// Exports of one member at once. Above: 429.
const EXPORTS_PER_ACCOUNT: usize = 2;
/// Exports at once in all. Above: 503.
const EXPORTS_MAX: usize = 64;
/// After how many milliseconds a refused client may try again.
const RETRY_MS: u64 = 1_000;
/// The pause after a page, as a multiple of the time that its read took, and its maximum: on a busy server an export leaves even
/// more to others.
const PAUSE_TIMES: u32 = 3;
const PAUSE_MAX: Duration = Duration::from_secs(1);
const _: () = assert!(PAUSE_MAX.as_millis() < PROGRESS_WINDOW.as_millis());

pub struct Export {
    actor: Actor,
    /// HTTP/1.1 frames a body of unknown length in chunks; HTTP/1.0 ends it by closing.
    chunked: bool,
    /// The next page is not asked for before.
    resume_at: Instant,
    state: State,
}

enum State {
    /// For the peer to take most of the last page; then the next is read.
    Sending(ExportCursor),
    /// For the end of the pause.
    Pausing(ExportCursor),
    Reading {
        ticket: Ticket,
        asked_at: Instant,
    },
}

const HEAD_FIELDS: [(&str, &str); 4] = [
    ("Content-Type", "application/x-ndjson"),
    ("Content-Disposition", "attachment; filename=\"natter-export.ndjson\""),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
];

/// Exports in progress, of each member and in all.
#[derive(Default)]
pub struct Exports(BTreeMap<MemberId, usize>);

impl Exports {
    /// A member's request is one more.
    pub fn begin(&mut self, member: MemberId) -> Result<(), Problem> {
        if self.0.get(&member).is_some_and(|count| *count >= EXPORTS_PER_ACCOUNT) {
            return Err(Problem::rate_limited(RETRY_MS));
        }
        if self.0.values().sum::<usize>() >= EXPORTS_MAX {
            return Err(Code::Busy.into());
        }
        *self.0.entry(member).or_default() += 1;
        Ok(())
    }

    pub fn ended(&mut self, member: MemberId) {
        let Some(count) = self.0.get_mut(&member) else { return };
        *count -= 1;
        if *count == 0 {
            self.0.remove(&member);
        }
    }
}

/// The first page was read: sends the head and the page.
pub fn open(core: &mut Core, conn: &mut Conn, exchange: Box<Exchange>, actor: Actor, first: ExportPage) {
    respond::begin_stream(core, conn, &exchange, &HEAD_FIELDS);
    if exchange.head.method == Method::Head {
        return http::linger(core, conn, CloseReason::Finished);
    }
    let chunked = exchange.head.version != Version::Http10;
    conn.inbox = Vec::new();
    conn.progress = 0;
    conn.deadline = Some(core.now.instant + PROGRESS_WINDOW);
    let resume_at = core.now.instant;
    page(core, conn, actor, chunked, resume_at, first);
}

/// Queues a page; after the last one the body ends. A page without lines sends nothing, since an empty chunk would end the
/// body: the next is asked for at once. Each page begins after the one before, so there is a last one.
fn page(core: &mut Core, conn: &mut Conn, actor: Actor, chunked: bool, resume_at: Instant, page: ExportPage) {
    let mut out = Vec::with_capacity(page.lines.len() + 32);
    if chunked {
        response::chunk(&mut out, &page.lines);
    } else {
        out.extend_from_slice(&page.lines);
    }
    if chunked && page.next.is_none() {
        response::last_chunk(&mut out);
    }
    if !out.is_empty() {
        conn.send.push_bytes(&out);
    }
    match page.next {
        None => {
            core.end_export(conn);
            http::linger(core, conn, CloseReason::Finished);
        }
        Some(cursor) => {
            let state = State::Sending(cursor);
            conn.phase =
                Phase::Stream(StreamKind::Export(Box::new(Export { actor, chunked, resume_at, state })));
            advance(core, conn);
        }
    }
}

/// Reads the next page when the peer has taken most of the last one and the pause is over.
pub fn advance(core: &mut Core, conn: &mut Conn) {
    let id: ConnId = conn.id;
    let low = conn.send.memory() < REPLAY_LOW_BYTES;
    let Phase::Stream(StreamKind::Export(export)) = &mut conn.phase else { return };
    let State::Sending(cursor) = &export.state else { return };
    if core.ended.has(export.actor.session) {
        // The session ended, so it gets no more.
        conn.phase = Phase::Closed(CloseReason::SessionOver);
        return;
    }
    if !low {
        return;
    }
    let asked_at = core.now.instant;
    if export.resume_at > asked_at {
        conn.deadline = Some(export.resume_at);
        export.state = State::Pausing(cursor.clone());
        return;
    }
    let Actor { member, profile, .. } = export.actor;
    let (urls, unix_s) = (core.settings.urls.clone(), core.now.unix_s());
    let read = ExportAccount { member, profile, cursor: cursor.clone(), urls, unix_s };
    let ticket = core.ask_store(Caller::Stream(id), read.into_command(), Next::Stream);
    export.state = State::Reading { ticket, asked_at };
}

pub fn answered(core: &mut Core, conn: &mut Conn, ticket: Ticket, result: Result<Answer, Refusal>) {
    let Phase::Stream(StreamKind::Export(export)) = &conn.phase else { return };
    let State::Reading { ticket: awaited, asked_at } = export.state else { return };
    if awaited != ticket {
        return;
    }
    let (actor, chunked) = (export.actor, export.chunked);
    let now = core.now.instant;
    let pause = (now.saturating_duration_since(asked_at) * PAUSE_TIMES).min(PAUSE_MAX);
    match result.ok().and_then(ExportAccount::from_answer) {
        Some(next) => page(core, conn, actor, chunked, now + pause, next),
        // A fault, which storage has logged, or the member was deleted: the body ends without its last chunk.
        None => conn.phase = Phase::Closed(CloseReason::Unavailable),
    }
}

/// Ends a pause, or closes the connection of a peer that takes less than 1 KiB/s.
pub fn timed_out(core: &mut Core, conn: &mut Conn) {
    let Phase::Stream(StreamKind::Export(export)) = &mut conn.phase else { return };
    if let State::Pausing(cursor) = &export.state {
        // The peer had taken most of the page, so its time begins again.
        export.state = State::Sending(cursor.clone());
    } else if conn.progress < PROGRESS_BYTES && !conn.send.is_empty() {
        conn.phase = Phase::Closed(CloseReason::SlowReader);
        return;
    }
    conn.progress = 0;
    conn.deadline = Some(core.now.instant + PROGRESS_WINDOW);
    advance(core, conn);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;

    #[test]
    fn exports_are_bounded_by_member_and_in_all() {
        let mut exports = Exports::default();
        let code = |exports: &mut Exports, member| {
            exports.begin(Id::from_u128(member)).err().map(|problem| problem.code)
        };
        let members = (EXPORTS_MAX / EXPORTS_PER_ACCOUNT) as u128;
        for member in 1..=members {
            (0..EXPORTS_PER_ACCOUNT).for_each(|_| assert_eq!(code(&mut exports, member), None));
            assert_eq!(code(&mut exports, member), Some(Code::RateLimited));
        }
        assert_eq!(code(&mut exports, members + 1), Some(Code::Busy));
        exports.ended(Id::from_u128(1));
        assert_eq!(code(&mut exports, members + 1), None, "there is room again");
        assert_eq!(code(&mut exports, 1), Some(Code::Busy));
        (1..=members + 1)
            .for_each(|member| (0..EXPORTS_PER_ACCOUNT).for_each(|_| exports.ended(Id::from_u128(member))));
        assert!(exports.0.is_empty());
    }
}
