//! How a device follows the log over plain HTTP: by server-sent events, and page after page.
//!
//! Owns what these two say beside the events, and the checks of it. Leaves the events and refused streams to `client`.
//! Invariant: between two cursors that a device was given, on whatever node, each event of its person came once and in order.

use std::time::Duration;

use natter::base::json::{self, Value};
use natter::model::operation::Lane;

use super::client::{Device, EPOCH, Known, Then};
use crate::sim::codec::{self, Block, at, number_at, text_at};
use crate::support::http::{Response, next_response};

/// No connection has this lane.
const NOBODY: Lane = Lane(u64::MAX);

/// A page of the log, as it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    pub limit: usize,
    /// In seconds.
    pub wait: u64,
    /// When it is asked for.
    pub at: Duration,
}

impl Device {
    // ---- pages --------------------------------------------------------------------------------------

    /// A page is asked for, and nothing else can come on its connection until then.
    pub fn wants_page(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(|stream| stream.form == super::client::Form::Pages && stream.page.is_none())
    }

    /// Asks for the page after the cursor, or after now. `known` is how far the node is.
    pub fn next_page(&mut self, known: u64, page: Page) -> Vec<u8> {
        let token = self.token.as_ref().expect("a token");
        let cursor = match self.cursor {
            Some(seq) => format!("{EPOCH}:{seq}"),
            None => "now".to_owned(),
        };
        // The end of the wait begins the device.
        let wait = if self.cursor.is_some() { page.wait } else { 0 };
        let target = format!("/api/v1/events?cursor={cursor}&limit={}&wait={wait}", page.limit);
        let bearer = format!("Bearer {}", token.access);
        let stream = self.stream.as_mut().expect("a stream");
        stream.session = token.session;
        stream.is_ahead = self.cursor > Some(known);
        stream.page = Some(Page { wait, ..page });
        codec::request("GET", &target, &[("Authorization", &bearer)], None)
    }

    pub(super) fn receive_page(&mut self, known: &Known<'_>) -> Then {
        let stream = self.stream.as_mut().expect("a stream");
        let Some(response) = next_response(&mut stream.inbox, false) else { return Then::On };
        let Some(page) = stream.page.take() else {
            assert!([408, 503].contains(&response.status), "unasked: {response:?}");
            return Then::Closes;
        };
        let is_closing = response.field("connection") == Some("close");
        stream.is_closing |= is_closing;
        if response.status != 200 {
            assert_ne!(response.status, 410, "a false reset: {response:?}");
            if response.status == 503 {
                assert!(response.field("retry-after").is_some(), "503 without Retry-After: {response:?}");
                let is_excused = stream.is_ahead || known.is_draining || known.disk_fails;
                assert!(is_excused, "a page after {} was refused: {response:?}", stream.last);
            }
            self.not_opened(known, &response);
            return Then::Closes;
        }
        self.page(known, page, &response);
        self.counts.sent_away += u64::from(is_closing && known.is_draining);
        if is_closing { Then::Closes } else { Then::On }
    }

    fn page(&mut self, known: &Known<'_>, page: Page, response: &Response) {
        let (value, me) = (response.json(), self.me());
        let through = text_at(&value, "cursor").map(|cursor| seq_of(&cursor)).expect("a cursor");
        assert!(through <= known.record.head, "a cursor that is not in the log");
        let rows = at(&value, "data").and_then(Value::as_list).expect("a list");
        assert!(rows.len() <= page.limit, "more events than asked for");
        let first = rows.first().and_then(|row| number_at(row, "seq"));
        let mut last = match self.cursor {
            Some(seq) => seq,
            None => {
                self.known.clear();
                *self.since.insert(first.map_or(through, |first| first - 1))
            }
        };
        for row in rows {
            let seq = number_at(row, "seq").expect("a seq");
            let missed = known.record.due((last, seq), me, NOBODY, false);
            assert!(seq > last && missed.is_empty(), "seq {seq} came after {last}, but not {missed:?}");
            self.logged(known, row, NOBODY);
            last = seq;
        }
        assert!(last <= through, "the cursor {through} is before seq {last}");
        let missed = known.record.due((last, through + 1), me, NOBODY, false);
        assert!(missed.is_empty(), "the cursor {through} came after {last}, but not {missed:?}");
        let stream = self.stream.as_mut().expect("a stream");
        let has_waited = known.time >= page.at + Duration::from_secs(page.wait);
        let is_over = known.record.ended.contains_key(&stream.session);
        assert!(
            !rows.is_empty() || has_waited || known.is_draining || is_over,
            "nothing, before {page:?} was over"
        );
        (stream.last, stream.is_live, stream.is_open) = (through, true, true);
        self.cursor = Some(through);
        self.counts.pages += 1;
    }

    // ---- server-sent events -------------------------------------------------------------------------

    pub(super) fn receive_blocks(&mut self, known: &Known<'_>) -> Then {
        if !self.stream.as_ref().expect("a stream").is_open {
            if let Some(then) = self.begin(known, b"HTTP/1.1 200 ") {
                return then;
            }
            let stream = self.stream.as_mut().expect("a stream");
            stream.is_live = !stream.begins;
        }
        loop {
            let stream = self.stream.as_mut().expect("a stream");
            if let Some(block) = codec::take_block(&mut stream.text) {
                self.block(known, &block);
                continue;
            }
            let Some(chunk) = codec::take_chunk(&mut stream.inbox) else { return Then::On };
            if chunk.is_empty() {
                assert!(stream.text.is_empty(), "an incomplete event");
                self.events_ended(known);
                return Then::Closes;
            }
            stream.text.extend(chunk);
        }
    }

    fn block(&mut self, known: &Known<'_>, block: &Block) {
        let Some(id) = &block.id else {
            // A comment keeps the connection alive.
            return assert!(
                block.event.is_none() && block.data.is_none(),
                "an event without an id: {block:?}"
            );
        };
        let seq = seq_of(id);
        let Some(data) = &block.data else {
            let stream = self.stream.as_mut().expect("a stream");
            assert!(
                stream.begins && !stream.is_live && block.event.is_none(),
                "a cursor in the middle: {block:?}"
            );
            assert!(seq <= known.record.head, "a stream begins at {seq}");
            (stream.is_live, stream.last) = (true, seq);
            (self.since, self.cursor) = (Some(seq), Some(seq));
            return self.known.clear();
        };
        let event = json::parse(data.as_bytes()).expect("JSON");
        assert_eq!(text_at(&event, "event"), block.event, "the name of {id}");
        assert_eq!(number_at(&event, "seq"), Some(seq), "the seq of {id}");
        self.counts.blocks += 1;
        self.event(known, &event);
    }

    /// The node ended the stream: it needs a reason.
    fn events_ended(&mut self, known: &Known<'_>) {
        let is_ahead = self.stream.as_ref().expect("a stream").is_ahead;
        let session = self.told();
        if known.record.ended.contains_key(&session) {
            self.unauthorized(known, session);
        } else if known.is_draining {
            self.counts.sent_away += 1;
        } else {
            assert!(is_ahead || known.disk_fails, "an event stream ended for no reason");
            self.counts.ahead += 1;
        }
    }
}

fn seq_of(cursor: &str) -> u64 {
    let (epoch, seq) = cursor.split_once(':').expect("epoch:seq");
    assert_eq!(epoch, EPOCH, "the epoch of a cursor");
    seq.parse().expect("a seq")
}
