//! Checks what arrives over plain HTTP: event streams, pages of the log, the legacy values, and search results.
//!
//! Owns their assertions against the model. The events themselves are checked in `event_checker`.

use natter::base::json::{self, Value};
use natter::model::id::{ConversationId, ProfileId};
use natter::server::contract::ConnId;

use super::Run;
use super::codec::{self, Block, at, id_at, number_at, text_at};
use super::device::{Form, Poll, Start};
use super::reference::{Chat, holds};
use crate::support::http::{Response, responses};

/// A search, and the seq up to which it must see all messages.
pub struct Search {
    pub words: &'static [&'static str],
    pub conversation: Option<ConversationId>,
    pub limit: usize,
    pub below: Option<u64>,
    pub floor: u64,
    pub exact: bool,
}

impl Run {
    // ---- event streams ------------------------------------------------------------------------------

    /// Reads the head of an event stream. Returns whether its body follows.
    pub fn begun(&mut self, d: usize) -> bool {
        let stream = self.devices[d].stream.as_mut().expect("a stream");
        let Some(end) = stream.inbox.windows(4).position(|window| window == b"\r\n\r\n") else {
            return false;
        };
        if !stream.inbox.starts_with(b"HTTP/1.1 200 ") {
            return self.upgraded(d);
        }
        let head: Vec<u8> = stream.inbox.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("an ASCII head").to_ascii_lowercase();
        for field in
            ["content-type: text/event-stream", "transfer-encoding: chunked", "cache-control: no-store"]
        {
            assert!(head.contains(field), "{field} in {head}");
        }
        assert!(!stream.proof.over, "an event stream opened for a session that was over");
        stream.upgraded = true;
        stream.live = stream.form == Form::Events && stream.cursor.is_some();
        self.stats.event_streams += 1;
        true
    }

    /// Reads the complete blocks of an event stream.
    pub fn body(&mut self, d: usize, conn: ConnId) {
        while let Some(stream) = self.devices[d].stream.as_mut().filter(|stream| stream.conn == conn) {
            if let Some(block) = codec::take_block(&mut stream.text) {
                let form = stream.form;
                match form {
                    Form::Events => self.event_block(d, conn, block),
                    _ => self.value(d, form, block),
                }
                continue;
            }
            let Some(chunk) = codec::take_chunk(&mut stream.inbox) else { return };
            if chunk.is_empty() {
                assert!(stream.text.is_empty(), "an incomplete event");
                return self.body_ended(d, conn);
            }
            stream.text.extend(chunk);
        }
    }

    /// The server ended the body cleanly: it needs a reason.
    fn body_ended(&mut self, d: usize, conn: ConnId) {
        let proof = self.devices[d].stream.as_ref().expect("a stream").proof.clone();
        let expired = proof.exp <= self.runtime.now.unix_s().0 || self.clock_was_set;
        if expired || self.model.is_ended(proof.session) {
            self.unauthorized(d, conn, &proof);
        } else {
            let excused = self.runtime.link(conn).draining || self.runtime.faults > 0 || self.plan.sabotage;
            assert!(excused, "an event stream ended for no reason: {proof:?}");
        }
        self.receive_end(conn);
    }

    fn event_block(&mut self, d: usize, conn: ConnId, block: Block) {
        let Some(id) = &block.id else {
            // A comment keeps the connection alive.
            assert!(block.event.is_none() && block.data.is_none(), "an event without an id: {block:?}");
            return;
        };
        let (epoch, seq) = id.split_once(':').expect("epoch:seq");
        let seq: u64 = seq.parse().expect("a seq");
        assert_eq!(epoch, self.runtime.epoch_of(conn));
        let device = &mut self.devices[d];
        let stream = device.stream.as_mut().expect("a stream");
        let Some(data) = &block.data else {
            assert!(
                stream.cursor.is_none() && !stream.live && block.event.is_none(),
                "a cursor in the middle"
            );
            assert!(stream.floor <= seq && seq <= self.model.head, "a stream begins at {seq}");
            (stream.live, stream.last) = (true, seq);
            device.begin_at(seq);
            device.cursor = Some((epoch.to_owned(), seq));
            return;
        };
        let event = json::parse(data.as_bytes()).expect("JSON");
        assert_eq!(text_at(&event, "event"), block.event, "the name of {id}");
        assert_eq!(number_at(&event, "seq"), Some(seq), "the seq of {id}");
        self.event(d, &event);
    }

    /// A value must be one that was true since the last one was sent, and different from that one.
    fn value(&mut self, d: usize, form: Form, block: Block) {
        let Some(data) = block.data else {
            assert!(block.id.is_none() && block.event.is_none(), "{block:?}");
            return;
        };
        let me = self.profile(d).expect("a profile");
        let stream = self.devices[d].stream.as_mut().expect("a stream");
        assert_ne!(stream.value.as_ref(), Some(&data), "a value that did not change");
        let shown = json::parse(data.as_bytes()).expect("JSON");
        let since = stream.last.max(stream.floor);
        let held_at = (since..=self.model.head).find(|seq| self.is_value(me, form, &shown, *seq));
        assert!(held_at.is_some(), "{form:?} since {since}: {data}");
        self.stats.values += 1;
        let stream = self.devices[d].stream.as_mut().expect("a stream");
        (stream.last, stream.value, stream.live) = (held_at.unwrap_or(since), Some(data), true);
    }

    pub fn is_value(&self, me: ProfileId, form: Form, shown: &Value<'_>, seq: u64) -> bool {
        if form == Form::Counter {
            return shown.as_i64() == Some(self.model.counter(me, seq) as i64);
        }
        let rows = shown.as_list().expect("a list");
        let chat = |row: &Value<'_>| {
            assert_eq!(id_at(row, "sender"), Some(me), "the sender of a chat is oneself");
            let receivers = at(row, "receiver").and_then(Value::as_list).expect("receivers");
            let receiver = receivers.first().and_then(|receiver| id_at(receiver, "id"));
            let receiver = receiver.filter(|receiver| !self.model.is_gone(*receiver));
            Chat {
                id: id_at(row, "id").expect("an id"),
                receiver,
                message: text_at(row, "message").expect("a text"),
                is_read: at(row, "is_read") == Some(&Value::Bool(true)),
                created_at: text_at(row, "created_at").expect("a time"),
            }
        };
        rows.iter().map(chat).collect::<Vec<Chat>>() == self.model.chats(me, seq)
    }

    // ---- pages of the log ---------------------------------------------------------------------------

    pub fn polled(&mut self, d: usize, conn: ConnId) {
        let stream = self.devices[d].stream.as_mut().expect("a stream");
        for response in responses(&mut stream.inbox, false) {
            let Some(stream) = self.devices[d].stream.as_mut().filter(|stream| stream.conn == conn) else {
                return;
            };
            let closes =
                response.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
            let Some(poll) = stream.poll.take() else {
                let code = response.code();
                assert!(["request_timeout", "unavailable"].contains(&code.as_str()), "unasked: {response:?}");
                continue;
            };
            stream.closing |= closes;
            let proof = stream.proof.clone();
            self.stats.polls += 1;
            match response.status {
                200 => {
                    assert!(!proof.over, "a page of the log for a session that was over");
                    self.log_page(d, conn, &poll, &response);
                }
                410 => self.log_reset(d, conn, &poll, &response),
                _ => {
                    let refused = super::event_checker::refused(&response.json());
                    if refused.code == "unauthorized_access" {
                        self.unauthorized(d, conn, &proof);
                    } else {
                        self.must_be_a_fault(conn, &refused, "a page of the log");
                    }
                }
            }
        }
    }

    /// All events after the cursor, in order, up to the new one.
    fn log_page(&mut self, d: usize, conn: ConnId, poll: &Poll, response: &Response) {
        let me = self.profile(d).expect("a profile");
        let value = response.json();
        let (epoch, through) = self.cursor_of(conn, &value);
        assert!(through <= self.model.head, "a cursor ahead of the log");
        let rows = at(&value, "data").and_then(Value::as_list).expect("a list");
        assert!(rows.len() <= poll.limit, "more events than asked for");
        let first = rows.first().and_then(|row| number_at(row, "seq"));
        let mut last = match &poll.start {
            Start::Oldest => 0,
            Start::Now => first.map_or(through, |first| first - 1),
            Start::Cursor(_, seq) => *seq,
        };
        assert!(rows.len() == poll.limit || through >= last, "a cursor that goes back");
        if !matches!(poll.start, Start::Cursor(..)) {
            self.devices[d].begin_at(last);
        }
        for row in rows {
            let seq = self.model.check_event(row, false);
            assert!(seq > last, "seq {seq} after {last}");
            self.nothing_missed(me, last, seq);
            assert!(self.model.may_receive(seq, me, false), "seq {seq} is not for {me}");
            self.not_after_the_end(d, seq);
            if text_at(row, "event").as_deref() == Some("message.posted") {
                self.devices[d].knows(seq, true);
            }
            last = seq;
        }
        self.stats.events += rows.len() as u64;
        assert!(last <= through, "the cursor {through} is before seq {last}");
        self.nothing_missed(me, last, through + 1);
        let expired = self.clock_was_set
            || self.devices[d]
                .stream
                .as_ref()
                .is_some_and(|stream| stream.proof.exp <= self.runtime.now.unix_s().0);
        let waited = self.runtime.now.instant >= poll.asked + poll.wait;
        let gave_up = waited || expired || self.runtime.link(conn).draining;
        assert!(!rows.is_empty() || gave_up, "an empty page before the {:?} were over", poll.wait);
        assert!(!rows.is_empty() || through >= poll.floor, "nothing new, but the log had moved on");
        let device = &mut self.devices[d];
        device.cursor = Some((epoch, through));
        let stream = device.stream.as_mut().expect("a stream");
        stream.last = through;
        // A device that waits for events polls again at once; one that received all of them polls later.
        if !stream.closing
            && !self.runtime.calm
            && (!rows.is_empty() || !poll.wait.is_zero())
            && self.rng.chance(800)
        {
            self.poll(d);
        }
    }

    fn log_reset(&mut self, d: usize, conn: ConnId, poll: &Poll, response: &Response) {
        assert_eq!(response.code(), "cursor_reset");
        let (epoch, head) = self.cursor_of(conn, &response.json());
        let Start::Cursor(theirs, seq) = &poll.start else { panic!("a reset without a cursor") };
        assert!(*theirs != epoch || *seq > self.model.head, "a reset of {theirs}:{seq}");
        assert!(poll.floor <= head && head <= self.model.head, "a reset to {head}");
        self.stats.resets += 1;
        let device = &mut self.devices[d];
        device.begin_at(head);
        device.cursor = Some((epoch, head));
        device.stream.as_mut().expect("a stream").last = head;
    }

    fn cursor_of(&self, conn: ConnId, value: &Value<'_>) -> (String, u64) {
        let cursor = text_at(value, "cursor").expect("a cursor");
        let (epoch, seq) = cursor.split_once(':').expect("epoch:seq");
        assert_eq!(epoch, self.runtime.epoch_of(conn));
        (epoch.to_owned(), seq.parse().expect("a seq"))
    }

    fn nothing_missed(&self, me: ProfileId, after: u64, before: u64) {
        let due = self.model.due(after, before, me, natter::model::operation::Lane(u64::MAX));
        let missed: Vec<u64> = due.into_iter().filter(|seq| !self.model.is_excused(*seq, me)).collect();
        assert!(missed.is_empty(), "between {after} and {before} {missed:?} is missing");
    }

    /// No stream receives an event that was committed after the server learned that its session ended.
    pub fn not_after_the_end(&self, d: usize, seq: u64) {
        let session = self.devices[d].stream.as_ref().expect("a stream").proof.session;
        let end = self.runtime.over_at.get(&session);
        assert!(
            end.is_none_or(|end| seq <= *end),
            "seq {seq} reached a stream of a session that was over at {end:?}"
        );
    }

    // ---- search -------------------------------------------------------------------------------------

    pub fn found(&mut self, d: usize, search: &Search, rows: &Value<'_>, envelope: &Value<'_>) {
        let me = self.profile(d).expect("a profile");
        let rows = rows.as_list().expect("a list");
        assert!(rows.len() <= search.limit, "more than asked for");
        let mut seqs = Vec::new();
        for row in rows {
            let (seq, rev) = self.model.check_message(row);
            let message = self.model.message(seq).expect("it is there");
            let known = &self.model.conversations[&message.conversation];
            let was_in = (search.floor..=self.model.head).any(|seq| known.had(me, seq));
            assert!(was_in, "a search shows {seq} of a conversation that {me} was not in");
            let sees = known.first_n_since(me, search.floor).iter().any(|first| *first <= message.n);
            assert!(sees, "a search shows {seq}, from before {me} joined");
            assert!(
                search.conversation.is_none_or(|wanted| wanted == message.conversation),
                "another conversation"
            );
            assert!(rev >= message.version(search.floor).rev, "a search shows {seq} by its old text");
            let version = message.version(rev);
            assert!(version.body.is_some(), "a search shows the erased {seq}");
            assert!(holds(version, search.words), "{seq} does not contain {:?}", search.words);
            seqs.push(seq);
        }
        assert!(seqs.windows(2).all(|pair| pair[0] > pair[1]), "newest first: {seqs:?}");
        let next = text_at(envelope, "next");
        let below = search.below.unwrap_or(u64::MAX);
        assert!(seqs.first().is_none_or(|first| *first < below), "a page continues after the last one");
        self.stats.found += seqs.len() as u64;
        if search.exact {
            let all = self.model.found(me, search.conversation, search.words);
            let all: Vec<u64> = all.into_iter().filter(|seq| *seq < below).collect();
            assert!(all.starts_with(&seqs), "{:?}: {seqs:?} of {all:?}", search.words);
            assert_eq!(next.is_some(), seqs.len() < all.len(), "`next` after {seqs:?} of {all:?}");
            assert!(!seqs.is_empty() || all.is_empty(), "nothing of {all:?}");
        }
    }
}
