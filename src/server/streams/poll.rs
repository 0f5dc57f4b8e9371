//! The log as JSON: a page of it, at once or after a wait.
//!
//! It subscribes first and reads then, as the other streams do, for one answer.
//! Invariant: no event that is committed between two requests is missed: the next one continues at the cursor of the answer.

use std::time::{Duration, Instant};

use crate::base::json;
use crate::model::event::{Fact, LogPage, ReadLog, encode_event};
use crate::model::handler::{Actor, Body, Cursor, PollStart, Reply};
use crate::model::id::SessionId;
use crate::model::operation::{Answer, Operation, Refusal};
use crate::model::problem::{Code, Problem};
use crate::model::settings::SignUrls;
use crate::server::calls::{Caller, Next};
use crate::server::clock::instant_of;
use crate::server::conn::{Conn, Phase};
use crate::server::contract::{ConnId, Ticket};
use crate::server::core::Core;
use crate::server::request::exchange::Exchange;
use crate::server::request::respond;
use crate::server::streams::hub::{self, Subscription};
use crate::server::streams::kinds::StreamKind;
use crate::server::streams::replay::{AHEAD_LOOK, AHEAD_MAX};

pub struct Poll {
    exchange: Box<Exchange>,
    actor: Actor,
    /// The `seq` after which the page begins; `None`: the page begins with the oldest event that is kept.
    after: Option<u64>,
    limit: u32,
    until: Instant,
    reading: Option<Ticket>,
    /// An event came since the last read.
    stale: bool,
    /// In a cluster: the cursor is of a node that is further than this one, which has until then to come so far.
    ahead_until: Option<Instant>,
}

impl Poll {
    pub fn session(&self) -> SessionId {
        self.actor.session
    }

    pub fn deliver(&mut self) -> bool {
        self.stale = true;
        true
    }
}

pub fn open(
    core: &mut Core,
    conn: &mut Conn,
    exchange: Box<Exchange>,
    actor: Actor,
    start: PollStart,
    limit: u32,
    wait: Duration,
) {
    let after = match start {
        PollStart::Oldest => None,
        PollStart::Now => Some(core.head),
        // A cursor that is ahead of the head known here may not be ahead of the log.
        PollStart::Cursor(cursor) if *cursor.epoch == *core.epoch => Some(cursor.seq),
        PollStart::Cursor(_) => {
            let problem = Problem::reset(cursor_text(core, core.head));
            return respond::refuse(core, conn, exchange, &problem);
        }
    };
    hub::subscribe(core, conn, Subscription { profile: actor.profile, device: false });
    // The wait ends with the token.
    let until = (core.now.instant + wait).min(instant_of(core.now, actor.expires));
    let poll = Poll { exchange, actor, after, limit, until, reading: None, stale: true, ahead_until: None };
    conn.deadline = Some(until);
    conn.phase = Phase::Stream(StreamKind::Poll(Box::new(poll)));
    advance(core, conn);
}

fn cursor_text(core: &Core, seq: u64) -> String {
    Cursor { epoch: core.epoch.as_ref().into(), seq }.to_string()
}

/// Reads the log when there may be something new in it.
pub fn advance(core: &mut Core, conn: &mut Conn) {
    let id = conn.id;
    let Phase::Stream(StreamKind::Poll(poll)) = &mut conn.phase else { return };
    if poll.stale && poll.reading.is_none() {
        poll.stale = false;
        poll.reading = Some(read(core, id, poll));
    }
}

fn read(core: &mut Core, conn: ConnId, poll: &Poll) -> Ticket {
    let read = ReadLog {
        profile: poll.actor.profile,
        after: poll.after.unwrap_or(0),
        from_oldest: poll.after.is_none(),
        limit: poll.limit,
    };
    core.ask_store(Caller::Stream(conn), read.into_command(), Next::Stream)
}

pub fn answered(core: &mut Core, conn: &mut Conn, ticket: Ticket, result: Result<Answer, Refusal>) {
    let Phase::Stream(StreamKind::Poll(poll)) = &mut conn.phase else { return };
    if poll.reading != Some(ticket) {
        return;
    }
    poll.reading = None;
    let page = match result {
        Ok(answer) => match ReadLog::from_answer(answer) {
            Some(page) => page,
            None => return finish(core, conn, Err(Problem::new(Code::GeneralError))),
        },
        Err(refusal) => return finish(core, conn, Err(refusal.into())),
    };
    match page {
        LogPage::Ahead { .. } if core.is_in_cluster() => {
            let now = core.now.instant;
            poll.ahead_until.get_or_insert(now + AHEAD_MAX);
            conn.deadline = Some(now + AHEAD_LOOK);
        }
        LogPage::Pruned { head } | LogPage::Ahead { head } => {
            let problem = Problem::reset(cursor_text(core, head));
            finish(core, conn, Err(problem));
        }
        LogPage::Events { events, through, complete } => {
            poll.after = Some(through);
            // Changes that this member does not see fill a page too: then there is more to read now.
            poll.stale |= !complete;
            if events.is_empty() && core.now.instant < poll.until && !core.is_draining() {
                return advance(core, conn);
            }
            let reply = page_reply(core, events, through);
            finish(core, conn, Ok(reply));
        }
    }
}

fn page_reply(core: &Core, events: Vec<(u64, Fact)>, through: u64) -> Reply {
    let mut data = vec![b'['];
    for (seq, mut fact) in events {
        if data.len() > 1 {
            data.push(b',');
        }
        fact.sign_urls(&core.settings.urls, core.now.unix_s());
        data.extend_from_slice(&encode_event(seq, &fact));
    }
    data.push(b']');
    let mut beside = b",\"cursor\":".to_vec();
    json::write(&mut beside, &cursor_text(core, through));
    Reply { status: 200, headers: Vec::new(), body: Body::Data { data, beside } }
}

/// The wait is over, or the server is about to stop: answers without an event.
pub fn timed_out(core: &mut Core, conn: &mut Conn) {
    let Phase::Stream(StreamKind::Poll(poll)) = &mut conn.phase else { return };
    let now = core.now.instant;
    if let Some(ahead_until) = poll.ahead_until
        && !core.is_draining()
    {
        if poll.after.is_none_or(|after| after <= core.head) {
            (poll.ahead_until, poll.stale) = (None, true);
            conn.deadline = Some(poll.until);
            return advance(core, conn);
        }
        if now < ahead_until {
            conn.deadline = Some(ahead_until.min(now + AHEAD_LOOK));
            return;
        }
    }
    if poll.ahead_until.is_some() {
        return finish(core, conn, Err(Refusal::Unavailable.into()));
    }
    if poll.reading.is_some() {
        // A page is being read; it is the answer, whatever it holds.
        poll.until = core.now.instant;
        return;
    }
    let through = poll.after.unwrap_or(0);
    let reply = page_reply(core, Vec::new(), through);
    finish(core, conn, Ok(reply));
}

/// The calendar clock was set, and the token may be over by it.
pub fn clock_was_set(core: &mut Core, conn: &mut Conn) {
    if matches!(&conn.phase, Phase::Stream(StreamKind::Poll(poll)) if poll.actor.expires <= core.now.unix_s())
    {
        refuse(core, conn);
    }
}

/// The session is over.
pub fn refuse(core: &mut Core, conn: &mut Conn) {
    finish(core, conn, Err(Problem::new(Code::UnauthorizedAccess)));
}

fn finish(core: &mut Core, conn: &mut Conn, result: Result<Reply, Problem>) {
    let Phase::Stream(StreamKind::Poll(poll)) = conn.take_phase() else { return };
    hub::unsubscribe(core, conn);
    match result {
        Ok(reply) => respond::reply(core, conn, poll.exchange, reply),
        Err(problem) => respond::refuse(core, conn, poll.exchange, &problem),
    }
}
