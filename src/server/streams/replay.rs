//! Catching up without a gap: the log after a cursor, then live events.
//!
//! A stream subscribes first and holds live events. It reads the log after the cursor, page by page and no faster than the
//! peer reads, then sends the held events with a greater seq, then is live.
//! Invariant: what is sent has strictly rising seq, and no event between the cursor and the head is missing.
//!
//! ```text
//! CatchingUp ──(page, page, …)──→ held events ──→ caught_up ──→ Live
//!   │  ▲ └── held too much: dropped, and read from the log instead
//!   ▼  │
//! Ahead ──(this node of a cluster has not come so far in time)──→ closed
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::base::json;
use crate::base::send_queue::SendQueue;
use crate::limits::{HELD_BYTES_MAX, Limits, REPLAY_LOW_BYTES};
use crate::model::event::{LogPage, ReadLog, encode_event};
use crate::model::handler::{Actor, Cursor};
use crate::model::id::{ProfileId, SessionId};
use crate::model::operation::{Answer, Operation, Refusal};
use crate::model::settings::SignUrls;
use crate::proto::sse;
use crate::server::calls::{Caller, Next};
use crate::server::contract::{ConnId, Ticket};
use crate::server::core::Core;
use crate::server::streams::publication::Publication;
use crate::server::streams::sse::SseWire;
use crate::server::streams::websocket::push_text;

/// Events of one page of a replay.
const REPLAY_PAGE: u32 = 200;
/// How long a node of a cluster has to come as far as a cursor of another node.
pub const AHEAD_MAX: Duration = Duration::from_secs(2);
/// Between two looks whether it has.
pub const AHEAD_LOOK: Duration = Duration::from_millis(50);

pub struct Replay {
    wire: Wire,
    /// The greatest seq sent.
    last: u64,
    state: State,
    /// It has caught up, and the snapshot of presence was not yet asked for.
    arrived: bool,
}

/// How events are sent: as frames after a `hello`, or as server-sent events with their cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    WebSocket,
    Sse(SseWire),
}

enum State {
    /// The response head is sent, `hello` is not.
    New(Option<Cursor>),
    CatchingUp {
        reading: Option<Ticket>,
        held: VecDeque<(u64, Arc<[u8]>)>,
        held_bytes: usize,
        /// Some were dropped: the log has them.
        dropped: bool,
    },
    /// In a cluster: the cursor is of a node that is further than this one, which looks from time to time whether it has come so far.
    Ahead {
        until: Instant,
        look_at: Instant,
    },
    Live,
}

impl State {
    fn catching_up() -> State {
        State::CatchingUp { reading: None, held: VecDeque::new(), held_bytes: 0, dropped: false }
    }
}

impl Replay {
    /// Of a native WebSocket.
    pub fn new(cursor: Option<Cursor>) -> Replay {
        Replay { wire: Wire::WebSocket, last: 0, state: State::New(cursor), arrived: false }
    }

    /// Of a stream of server-sent events.
    pub fn events(cursor: Option<Cursor>, wire: SseWire) -> Replay {
        Replay { wire: Wire::Sse(wire), last: 0, state: State::New(cursor), arrived: false }
    }

    pub fn is_live(&self) -> bool {
        matches!(self.state, State::Live)
    }

    /// Once, after it has caught up.
    pub fn take_arrival(&mut self) -> bool {
        std::mem::take(&mut self.arrived)
    }

    /// The `seq` of a heartbeat: every event up to it was sent.
    pub fn high_water(&self, head: u64) -> u64 {
        self.last.max(head)
    }

    /// Sends `hello`, then begins the replay, or sends a reset or `caught_up` at once.
    pub fn begin(&mut self, core: &mut Core, send: &mut SendQueue, conn: ConnId, actor: Actor) {
        let State::New(cursor) = std::mem::replace(&mut self.state, State::Live) else { return };
        if self.wire == Wire::WebSocket {
            push_text(send, &hello(core, actor));
        }
        match cursor {
            None => {
                if let Wire::Sse(wire) = self.wire {
                    // An id without data reaches no listener, and gives a client that loses the connection before the
                    // first event a cursor to resume by.
                    wire.push(send, format!("id: {}:{}\n\n", core.epoch, core.head).into_bytes());
                }
                self.catch_up(send, core.head);
            }
            Some(cursor) if *cursor.epoch != *core.epoch => self.reset(core, send, "epoch", core.head),
            // The log decides whether the cursor is ahead of it: a reader may have shown the peer an event that is committed
            // and not yet known here.
            Some(cursor) => {
                self.last = cursor.seq;
                self.state = State::catching_up();
                self.go_on(core, send, conn, actor);
            }
        }
    }

    /// When to look whether this node has come as far as the cursor.
    pub fn look_at(&self) -> Option<Instant> {
        match self.state {
            State::Ahead { look_at, .. } => Some(look_at),
            _ => None,
        }
    }

    /// Looks whether this node has come as far as the cursor. An error if it has not in time; the cursor is still good.
    pub fn look(&mut self, core: &Core) -> Result<(), Refusal> {
        let State::Ahead { until, look_at } = &mut self.state else { return Ok(()) };
        let now = core.now.instant;
        if core.head >= self.last {
            self.state = State::catching_up();
        } else if now >= *until {
            return Err(Refusal::Unavailable);
        } else {
            *look_at = (*until).min(now + AHEAD_LOOK);
        }
        Ok(())
    }

    /// Reads the next page when the peer has taken most of the last one.
    pub fn go_on(&mut self, core: &mut Core, send: &SendQueue, conn: ConnId, actor: Actor) {
        let State::CatchingUp { reading: reading @ None, .. } = &mut self.state else { return };
        if send.memory() >= REPLAY_LOW_BYTES {
            return;
        }
        let read =
            ReadLog { profile: actor.profile, after: self.last, from_oldest: false, limit: REPLAY_PAGE };
        *reading = Some(core.ask_store(Caller::Stream(conn), read.into_command(), Next::Stream));
    }

    /// A live event of the audience: sent, or held while the replay runs.
    pub fn deliver(&mut self, send: &mut SendQueue, publication: &mut Publication) -> bool {
        let seq = publication.event.seq;
        match &mut self.state {
            // Once this node has come so far, the log has what came meanwhile.
            State::New(_) | State::Ahead { .. } => false,
            State::Live => {
                if seq <= self.last {
                    return false;
                }
                self.last = seq;
                push_live(self.wire, send, publication);
                true
            }
            State::CatchingUp { held, held_bytes, dropped, .. } => {
                let frame = match self.wire {
                    Wire::WebSocket => publication.frame(),
                    Wire::Sse(wire) => publication.sse(wire),
                };
                *held_bytes += frame.len();
                held.push_back((seq, frame));
                if *held_bytes > HELD_BYTES_MAX {
                    held.clear();
                    *held_bytes = 0;
                    *dropped = true;
                }
                false
            }
        }
    }

    /// A page of the log was read. An error is a fault: the stream closes, and the client's cursor is still good.
    pub fn answered(
        &mut self,
        core: &mut Core,
        send: &mut SendQueue,
        ticket: Ticket,
        result: Result<Answer, Refusal>,
    ) -> Result<(), Refusal> {
        let State::CatchingUp { reading, held, held_bytes, dropped } = &mut self.state else { return Ok(()) };
        if *reading != Some(ticket) {
            return Ok(());
        }
        *reading = None;
        match ReadLog::from_answer(result?).ok_or(Refusal::Internal)? {
            LogPage::Pruned { head } => self.reset(core, send, "pruned", head.max(core.head)),
            LogPage::Ahead { .. } if core.is_in_cluster() => {
                let now = core.now.instant;
                self.state = State::Ahead { until: now + AHEAD_MAX, look_at: now + AHEAD_LOOK };
            }
            LogPage::Ahead { head } => self.reset(core, send, "epoch", head.max(core.head)),
            LogPage::Events { events, through, complete } => {
                for (seq, mut fact) in events {
                    if seq > self.last {
                        fact.sign_urls(&core.settings.urls, core.now.unix_s());
                        let event = encode_event(seq, &fact);
                        match self.wire {
                            Wire::WebSocket => push_text(send, &event),
                            Wire::Sse(wire) => {
                                wire.push(send, sse_event(&core.epoch, seq, fact.name(), &event));
                            }
                        }
                        self.last = seq;
                    }
                }
                self.last = self.last.max(through);
                if !complete {
                    return Ok(());
                }
                if std::mem::take(dropped) {
                    // The dropped events are in the log; those held since then may begin after a gap.
                    held.clear();
                    *held_bytes = 0;
                    return Ok(());
                }
                for (seq, frame) in std::mem::take(held) {
                    if seq > self.last {
                        // Other streams may have sent it long ago, so this queue may be the last one that holds it.
                        send.push_shared(frame, 1);
                        self.last = seq;
                    }
                }
                let head = self.last.max(core.head);
                self.catch_up(send, head);
            }
        }
        Ok(())
    }

    fn reset(&mut self, core: &Core, send: &mut SendQueue, reason: &str, head: u64) {
        let event = format!(r#"{{"event":"reset","reason":"{reason}","seq":{head}}}"#);
        match self.wire {
            Wire::WebSocket => push_text(send, event.as_bytes()),
            Wire::Sse(wire) => wire.push(send, sse_event(&core.epoch, head, "reset", event.as_bytes())),
        }
        self.catch_up(send, head);
    }

    fn catch_up(&mut self, send: &mut SendQueue, head: u64) {
        if self.wire == Wire::WebSocket {
            push_text(send, format!(r#"{{"event":"caught_up","seq":{head}}}"#).as_bytes());
        }
        self.last = head;
        self.state = State::Live;
        self.arrived = true;
    }
}

fn push_live(wire: Wire, send: &mut SendQueue, publication: &mut Publication) {
    match wire {
        Wire::WebSocket => publication.push_frame(send),
        Wire::Sse(wire) => send.push_shared(publication.sse(wire), publication.sharers),
    }
}

/// One event whose id is its cursor.
pub fn sse_event(epoch: &str, seq: u64, name: &str, event: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(event.len() + 96);
    sse::event(&mut out, &format!("{epoch}:{seq}"), name, event);
    out
}

#[derive(Serialize)]
struct Hello<'a> {
    event: &'static str,
    profile: ProfileId,
    session: SessionId,
    epoch: &'a str,
    seq: u64,
    heartbeat_ms: u64,
    limits: HelloLimits,
}

/// The bounds that a client should know in advance.
#[derive(Serialize)]
struct HelloLimits {
    message_max: usize,
    ws_message_max: usize,
    attachments_max: usize,
    in_flight_max: usize,
    upload_max: u64,
    send_queue_max: usize,
    members_max: usize,
}

fn hello(core: &Core, actor: Actor) -> Vec<u8> {
    let Limits { message_max, ws_message_max, upload_max, send_queue_max, members_max, heartbeat, .. } =
        core.settings.limits;
    json::to_vec(&Hello {
        event: "hello",
        profile: actor.profile,
        session: actor.session,
        epoch: &core.epoch,
        seq: core.head,
        heartbeat_ms: heartbeat.as_millis() as u64,
        limits: HelloLimits {
            message_max,
            ws_message_max,
            attachments_max: crate::limits::ATTACHMENTS_MAX,
            in_flight_max: crate::limits::IN_FLIGHT_MAX,
            upload_max,
            send_queue_max,
            members_max,
        },
    })
}
