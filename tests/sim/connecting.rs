//! How devices open and lose their streams: sockets, event streams, pages of the log.
//!
//! Owns the choice of the form and the cursor. Does not check what is received.

use std::time::Duration;

use natter::model::id::ProfileId;
use natter::server::contract::ConnId;

use super::Run;
use super::codec;
use super::device::{Carried, Form, Poll, Start, Stream};

impl Run {
    pub fn open_stream(&mut self, d: usize) {
        let idle = |stream: &Stream| stream.form == Form::Poll && stream.poll.is_none() && !stream.closing;
        if self.devices[d].stream.as_ref().is_some_and(idle) && self.rng.chance(850) {
            return self.poll(d);
        }
        if self.devices[d].stream.is_some() {
            // A device opens a new stream because it assumes that the old one is dead.
            if self.rng.chance(300) {
                self.lose_stream(d);
            }
            return;
        }
        let others: Vec<ProfileId> = self.people.iter().filter_map(|person| person.profile).collect();
        let me = self.profile(d);
        let peer = self.rng.pick(&others).copied().filter(|peer| Some(*peer) != me);
        match peer {
            Some(peer) if self.rng.chance(self.plan.legacy_sockets) => self.open(d, Form::Legacy(peer), None),
            _ => {
                let cursor = match self.rng.below(10) {
                    0 => None,
                    1 => {
                        // It fetched everything before this cursor, and continues from there.
                        let cursor = self.devices[d].list_cursor.clone();
                        if let Some((_, seq)) = &cursor {
                            self.devices[d].begin_at(*seq);
                            self.devices[d].cursor = cursor.clone();
                        }
                        cursor
                    }
                    _ => self.devices[d].cursor.clone(),
                };
                let form = match self.rng.below(1_000) {
                    chance if chance >= self.plan.http_streams => Form::Native,
                    chance => {
                        let forms =
                            [Form::Events, Form::Events, Form::Poll, Form::Poll, Form::Counter, Form::Chats];
                        forms[chance % 6]
                    }
                };
                self.open(d, form, cursor);
            }
        }
    }

    /// Requests the next page of the log, after the end of the last one.
    pub fn poll(&mut self, d: usize) {
        let cursor = self.devices[d].cursor.clone().filter(|_| !self.rng.chance(20));
        let start = match cursor {
            Some((epoch, seq)) => Start::Cursor(epoch, seq),
            None => [Start::Oldest, Start::Now][self.rng.below(2)].clone(),
        };
        let cursor = match &start {
            Start::Oldest => String::new(),
            Start::Now => "cursor=now&".to_owned(),
            Start::Cursor(epoch, seq) => format!("cursor={epoch}:{seq}&"),
        };
        let limit = [1, 3, 200][self.rng.below(3)];
        let wait = [0, 0, 1, 30][self.rng.below(4)];
        let Some(token) = self.devices[d].token.clone() else { return };
        let bearer = format!("Bearer {}", token.access);
        let mut fields = vec![("Authorization", bearer.as_str()), ("Accept", "*/*")];
        let device = self.devices[d].unique_id.clone();
        fields.extend(device.as_deref().map(|id| ("UniqueId", id)));
        let path = format!("/api/v1/events?{cursor}limit={limit}&wait={wait}");
        let proof = self.proof(&token);
        let (floor, asked) = (self.runtime.published, self.runtime.now.instant);
        let stream = self.devices[d].stream.as_mut().expect("a stream");
        let wait = Duration::from_secs(wait);
        (stream.proof, stream.poll) = (proof, Some(Poll { start, limit, wait, asked, floor }));
        let conn = stream.conn;
        self.trace(|| format!("device {d} on {:x}: GET {path}", conn.0));
        let bytes = codec::request("GET", &path, &fields, None);
        self.runtime.link(conn).up.extend(bytes);
    }

    pub fn open(&mut self, d: usize, form: Form, cursor: Option<(String, u64)>) {
        let Some(token) = self.devices[d].token.clone() else { return };
        let conn = self.runtime.connect(&mut self.rng, self.devices[d].address);
        self.owners.insert(conn, d);
        let mut target = match form {
            Form::Native => "/api/v1/ws?".to_owned(),
            Form::Legacy(peer) => format!("/api/v1/ws/{}/{peer}?", self.profile(d).expect("a profile")),
            Form::Events | Form::Poll => "/api/v1/events?".to_owned(),
            Form::Counter => "/api/v1/chat-counter?".to_owned(),
            Form::Chats => "/api/v1/chat-list?".to_owned(),
        };
        let cursor_text = cursor.as_ref().map(|(epoch, seq)| format!("{epoch}:{seq}"));
        // An EventSource's `Last-Event-ID` takes precedence over the cursor in its URL.
        let by_header = form == Form::Events && self.rng.chance(500);
        match &cursor_text {
            Some(_) if by_header => target.push_str("cursor=elsewhere:7"),
            Some(cursor_text) => target.push_str(&format!("cursor={cursor_text}")),
            None => {}
        }
        let bearer = format!("Bearer {}", token.access);
        let mut fields = if form.is_socket() { codec::UPGRADE.to_vec() } else { Vec::new() };
        fields.push(("Authorization", &bearer));
        if !form.is_socket() {
            fields.push(("Accept", "text/event-stream"));
        }
        fields.extend(
            cursor_text.as_deref().filter(|_| by_header).map(|cursor_text| ("Last-Event-ID", cursor_text)),
        );
        let device = self.devices[d].unique_id.clone();
        fields.extend(device.as_deref().map(|id| ("UniqueId", id)));
        self.trace(|| format!("device {d} opens {:x}: {target} {cursor_text:?}", conn.0));
        if form != Form::Poll {
            let bytes = codec::request("GET", &target, &fields, None);
            self.runtime.link(conn).up.extend(bytes);
        }
        let proof = self.proof(&token);
        let last = cursor.as_ref().map_or(0, |(_, seq)| *seq);
        self.devices[d].stream = Some(Stream {
            conn,
            form,
            inbox: Vec::new(),
            proof,
            upgraded: false,
            cursor,
            hello: false,
            last,
            live: false,
            resetting: false,
            shown: None,
            showing: None,
            text: Vec::new(),
            value: None,
            poll: None,
            floor: self.runtime.published,
            asks: Default::default(),
            writes: Default::default(),
            next_id: 0,
            carried: Carried::default(),
            refused: false,
            closing: false,
        });
        if form == Form::Poll {
            self.poll(d);
        }
    }

    fn lose_stream(&mut self, d: usize) {
        let Some(stream) = &mut self.devices[d].stream else { return };
        let conn = stream.conn;
        match self.rng.below(4) {
            0 if stream.form.is_socket() && stream.upgraded && !stream.closing => {
                stream.closing = true;
                let frame = codec::frame(&mut self.rng, codec::CLOSE, &1_000_u16.to_be_bytes());
                self.runtime.link(conn).up.extend(frame);
            }
            1 => {
                let link = self.runtime.link(conn);
                link.up_ended = true;
                link.client_open = false;
                self.devices[d].lost(conn);
            }
            _ => self.cut(conn),
        }
    }

    pub fn lose_a_connection(&mut self, d: usize) {
        let https: Vec<ConnId> = self.devices[d].https.iter().map(|http| http.conn).collect();
        match self.rng.pick(&https).copied() {
            Some(conn) if self.rng.chance(500) => {
                if self.rng.chance(300) {
                    // It has sent all its requests and waits for the answers.
                    self.runtime.link(conn).up_ended = true;
                    let http = self.devices[d].https.iter_mut().find(|http| http.conn == conn);
                    http.expect("a connection").closing = true;
                } else {
                    self.cut(conn);
                }
            }
            _ => self.lose_stream(d),
        }
    }

    /// The network breaks: the client notices at once, the server a little later.
    pub fn cut(&mut self, conn: ConnId) {
        self.runtime.link(conn).cut(&mut self.rng);
        self.lost(conn);
    }

    pub fn lost(&mut self, conn: ConnId) {
        if let Some(d) = self.owners.remove(&conn) {
            self.trace(|| format!("device {d} loses {:x}", conn.0));
            self.devices[d].lost(conn);
        }
    }
}
