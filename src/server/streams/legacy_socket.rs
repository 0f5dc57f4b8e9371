//! A legacy socket: between two people, with arrays of plain chat lines as frames.
//!
//! Invariant: all sockets of the pair show what is on disk, and nothing else; what an open socket shows is marked read.

use crate::base::json;
use crate::base::send_queue::SendQueue;
use crate::limits::{HELD_BYTES_MAX, PAIR_HISTORY_MAX};
use crate::messaging::streams;
use crate::model::conversation::MarkRead;
use crate::model::event::Fact;
use crate::model::handler::{Actor, Body, Step};
use crate::model::id::{ConversationId, ProfileId};
use crate::model::measures::Measure;
use crate::model::message::{LegacyHistory, OpenLegacySocket};
use crate::model::operation::{Answer, Operation, Refusal};
use crate::model::problem::{Code, Problem};
use crate::proto::http::language::Language;
use crate::server::calls::{Caller, Next};
use crate::server::contract::{ConnId, Ticket};
use crate::server::core::Core;
use crate::server::request::admit;
use crate::server::request::rate_limit::Bucket;
use crate::server::request::steps;
use crate::server::streams::ops::Response;
use crate::server::streams::publication::Publication;
use crate::server::streams::websocket::{self, SocketStream, push_text};

pub struct LegacySocket {
    receiver: ProfileId,
    conversation: Option<ConversationId>,
    state: State,
    /// The newest `n` of the other side that was shown, and the newest that storage has marked as read.
    shown_n: u64,
    marked_n: u64,
    marking: Option<Ticket>,
}

enum State {
    /// Nothing is sent yet. The history is what the handler read.
    New(LegacyHistory),
    /// The history waits until it is marked as read, or is being read again, since an event came after the first reading. Live
    /// lines wait.
    Waiting {
        ticket: Ticket,
        /// What is shown once it is marked.
        history: Option<LegacyHistory>,
        held: Vec<(u64, Vec<u8>)>,
        held_bytes: usize,
        /// Some were dropped: the history is read once more.
        dropped: bool,
    },
    /// The greatest seq shown.
    Open { last: u64 },
}

impl LegacySocket {
    pub fn new(receiver: ProfileId, pair: LegacyHistory) -> LegacySocket {
        let conversation = pair.conversation;
        LegacySocket {
            receiver,
            conversation,
            state: State::New(pair),
            shown_n: 0,
            marked_n: 0,
            marking: None,
        }
    }

    pub fn receiver(&self) -> ProfileId {
        self.receiver
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Has the history marked and shown, if it is still the newest; else reads it again after the subscription.
    pub fn begin(&mut self, core: &mut Core, send: &mut SendQueue, conn: ConnId, actor: Actor) {
        match std::mem::replace(&mut self.state, State::Open { last: 0 }) {
            State::New(pair) if pair.as_of >= core.head => {
                self.mark_and_show(core, send, conn, actor, pair, Vec::new());
            }
            _ => self.read(core, conn, actor),
        }
    }

    /// A client that has the history finds the conversation read.
    fn mark_and_show(
        &mut self,
        core: &mut Core,
        send: &mut SendQueue,
        conn: ConnId,
        actor: Actor,
        pair: LegacyHistory,
        held: Vec<(u64, Vec<u8>)>,
    ) {
        let Some(conversation) = pair.conversation.filter(|_| pair.last_n > self.marked_n) else {
            self.show(send, actor.profile, pair, held);
            return self.mark_read(core, conn, actor);
        };
        self.marked_n = pair.last_n;
        let ticket = mark(core, conn, actor, conversation, pair.last_n);
        let held_bytes = held.iter().map(|(_, line)| line.len()).sum();
        self.state = State::Waiting { ticket, history: Some(pair), held, held_bytes, dropped: false };
    }

    fn read(&mut self, core: &mut Core, conn: ConnId, actor: Actor) {
        let read =
            OpenLegacySocket { sender: actor.profile, receiver: self.receiver, limit: PAIR_HISTORY_MAX };
        let ticket = core.ask_store(Caller::Stream(conn), read.into_command(), Next::Stream);
        self.state =
            State::Waiting { ticket, history: None, held: Vec::new(), held_bytes: 0, dropped: false };
    }

    fn show(&mut self, send: &mut SendQueue, me: ProfileId, pair: LegacyHistory, held: Vec<(u64, Vec<u8>)>) {
        push_text(send, &streams::encode_pair(me, self.receiver, &pair.messages));
        // A history that was read before the first message does not know the conversation of a held line.
        self.conversation = pair.conversation.or(self.conversation);
        self.shown_n = self.shown_n.max(pair.last_n);
        let mut last = pair.as_of;
        for (seq, line) in held {
            if seq > last {
                push_text(send, &line);
                last = seq;
            }
        }
        self.state = State::Open { last };
    }

    /// A new message of this pair, from either side and any device.
    pub fn deliver(&mut self, send: &mut SendQueue, me: ProfileId, publication: &mut Publication) -> bool {
        let event = &publication.event;
        let Fact::MessagePosted(message) = &event.fact else { return false };
        let audience = &event.audience;
        // Who has deleted their account is no member any more, and the conversation goes on.
        let is_known = self.conversation == Some(message.conversation);
        if !audience.direct || !is_known && !audience.profiles.contains(&self.receiver) {
            return false;
        }
        self.conversation = Some(message.conversation);
        if message.sender != Some(me) {
            self.shown_n = self.shown_n.max(message.n);
        }
        // The legacy form has no line without text.
        if message.body.is_none() {
            return true;
        }
        let line = streams::encode_pair(me, self.receiver, [&**message]);
        match &mut self.state {
            State::New(_) => false,
            State::Waiting { held, held_bytes, dropped, .. } => {
                *held_bytes += line.len();
                held.push((event.seq, line));
                if *held_bytes > HELD_BYTES_MAX {
                    held.clear();
                    *held_bytes = 0;
                    *dropped = true;
                }
                true
            }
            State::Open { last } => {
                if event.seq <= *last {
                    return false;
                }
                *last = event.seq;
                push_text(send, &line);
                true
            }
        }
    }

    /// Has storage mark what was shown as read; one write at a time, the newest wins.
    pub fn mark_read(&mut self, core: &mut Core, conn: ConnId, actor: Actor) {
        let Some(conversation) = self.conversation else { return };
        if self.shown_n <= self.marked_n || self.marking.is_some() || !self.is_open() {
            return;
        }
        self.marked_n = self.shown_n;
        self.marking = Some(mark(core, conn, actor, conversation, self.shown_n));
    }

    pub fn answered(
        &mut self,
        core: &mut Core,
        send: &mut SendQueue,
        conn: ConnId,
        actor: Actor,
        ticket: Ticket,
        result: Result<Answer, Refusal>,
    ) -> Result<(), Refusal> {
        if self.marking == Some(ticket) {
            self.marking = None;
            result?;
            self.mark_read(core, conn, actor);
            return Ok(());
        }
        match &mut self.state {
            State::Waiting { ticket: awaited, history, held, dropped, .. } if *awaited == ticket => {
                let answer = result?;
                let (history, held) = (history.take(), std::mem::take(held));
                match history {
                    _ if *dropped => self.read(core, conn, actor),
                    Some(pair) => {
                        self.show(send, actor.profile, pair, held);
                        self.mark_read(core, conn, actor);
                    }
                    None => {
                        let pair = OpenLegacySocket::from_answer(answer).ok_or(Refusal::Internal)?;
                        self.mark_and_show(core, send, conn, actor, pair, held);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn mark(core: &mut Core, conn: ConnId, actor: Actor, conversation: ConversationId, n: u64) -> Ticket {
    let mark = MarkRead { at: core.now.unix_ms, reader: actor.profile, conversation, n };
    core.ask_store(Caller::Stream(conn), mark.into_command(), Next::Stream)
}

/// One text frame of the client: a message to the other side.
pub fn text(core: &mut Core, stream: &mut SocketStream, send: &mut SendQueue, conn: ConnId, text: &str) {
    let websocket::Protocol::Legacy(pair) = &stream.protocol else { return };
    let (actor, receiver) = (stream.actor, pair.receiver());
    if let Some(after) =
        admit::take(core, Bucket::Writes(actor.member)).and_then(|verdict| verdict.retry_after)
    {
        return stream.ops.pause(core.now.instant, after, text);
    }
    let number = stream.ops.begin(None, true, Measure::RequestPost, core.now.instant);
    let outcome = steps::guard(core, |ctx| streams::pair_frame(ctx, actor, receiver, text.as_bytes()));
    step(core, stream, send, conn, number, outcome);
}

/// A post has come to a step: a new message is shown by its event, a repeated one by its answer.
pub fn step(
    core: &mut Core,
    stream: &mut SocketStream,
    send: &mut SendQueue,
    conn: ConnId,
    number: u64,
    step: Result<Step, Problem>,
) {
    if stream.ws.is_closing() {
        return;
    }
    match step {
        Ok(Step::Reply(reply)) => {
            let line = match reply.body {
                Body::Raw { bytes, .. } => bytes.bytes().map(<[u8]>::to_vec).unwrap_or_default(),
                Body::Data { .. } | Body::Empty => Vec::new(),
            };
            stream.ops.finish(core, send, number, Response::Line(line));
        }
        Ok(Step::Stream(_) | Step::Receive { .. }) => {}
        Ok(step) => {
            steps::ask(core, Caller::Op { conn, op: number }, step);
        }
        Err(problem) => {
            websocket::count_refused(stream, core.now.instant);
            let language = stream.client.language;
            core.metrics.refused(problem.code);
            stream.ops.finish(core, send, number, Response::Line(error(&problem, language)));
            if problem.retry() || problem.code == Code::GeneralError {
                stream.ops.refuse_rest();
            }
        }
    }
}

/// `{"error":{code,title,retry}}`.
fn error(problem: &Problem, language: Language) -> Vec<u8> {
    let mut out = b"{\"error\":".to_vec();
    json::write(&mut out, &problem.on_stream(language));
    out.push(b'}');
    out
}
