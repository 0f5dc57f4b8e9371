//! One connection as somebody on the wire sees it: reads the bytes of both sides, and holds each request, response, event, frame and
//! line against the documents.
//!
//! Owns as much of HTTP and WebSocket as well-behaved peers speak. Where a peer breaks the rules, which many tests do, it looks
//! no further at that connection. What is said on a stream is `streams`' to judge. Invariant: what it judges, it judges whole.

use std::collections::VecDeque;

use natter::base::json::{self, Value};
use natter::server::schema::examples::{Exchange, Recording};
use natter::server::schema::operations::ALWAYS;

use super::asked::Asked;
use super::contract::{By, Contract, check};
use super::streams::{Judge, Pair, Socket};
use super::wire::{Chunk, chunk, frame};

pub struct Observer {
    judge: Judge,
    up: Vec<u8>,
    down: Vec<u8>,
    phase: Phase,
    /// Requests that are not answered, the oldest first.
    asked: VecDeque<Asked>,
    /// What of the newest request's body is to come.
    body: Body,
}

enum Body {
    Whole,
    Bytes(usize),
    Chunks,
}

enum Phase {
    Http,
    /// Server-sent events: what came of a block, and the name of the message that a block without one is.
    Events {
        text: Vec<u8>,
        message: Option<&'static str>,
    },
    Socket(Socket),
    Pair(Pair),
    /// Looks no further.
    Blind,
}

/// A body beyond this is larger than any that a test has taken.
const BODY_MAX: usize = 16 << 20;

impl Default for Observer {
    fn default() -> Observer {
        Observer::by(Judge::new(Contract::of_this_build()))
    }
}

impl Observer {
    fn by(judge: Judge) -> Observer {
        Observer {
            judge,
            up: Vec::new(),
            down: Vec::new(),
            phase: Phase::Http,
            asked: VecDeque::new(),
            body: Body::Whole,
        }
    }

    /// One that judges nothing: of a door that the documents do not describe.
    pub fn blind() -> Observer {
        Observer { phase: Phase::Blind, ..Observer::default() }
    }

    /// One that judges by another pair of documents, and keeps what it judged.
    pub fn recording(contract: &'static Contract) -> Observer {
        Observer::by(Judge { recording: Some(Recording::default()), ..Judge::new(contract) })
    }

    /// How many exchanges, events and frames it has held against the documents.
    pub fn judged(&self) -> usize {
        self.judge.judged
    }

    pub fn take_recording(&mut self) -> Option<Recording> {
        self.judge.recording.take()
    }

    /// The client sent this.
    pub fn sent(&mut self, bytes: &[u8]) {
        match self.phase {
            Phase::Blind | Phase::Events { .. } => return,
            Phase::Http | Phase::Socket(_) | Phase::Pair(_) => self.up.extend_from_slice(bytes),
        }
        match self.phase {
            Phase::Http => while self.next_request() {},
            _ => self.client_frames(),
        }
    }

    /// The server sent this.
    pub fn received(&mut self, bytes: &[u8]) {
        if matches!(self.phase, Phase::Blind) {
            return;
        }
        self.down.extend_from_slice(bytes);
        loop {
            let went_on = match self.phase {
                Phase::Http => self.next_response(),
                Phase::Events { .. } => self.next_chunk(),
                Phase::Socket(_) | Phase::Pair(_) => self.server_frame(),
                Phase::Blind => false,
            };
            if !went_on {
                break;
            }
        }
    }

    fn look_no_further(&mut self) -> bool {
        (self.phase, self.up, self.down) = (Phase::Blind, Vec::new(), Vec::new());
        self.asked.clear();
        false
    }

    fn next_request(&mut self) -> bool {
        match self.body {
            Body::Whole => self.next_head(),
            Body::Bytes(left) => {
                let count = left.min(self.up.len());
                let piece: Vec<u8> = self.up.drain(..count).collect();
                self.body = if left == count { Body::Whole } else { Body::Bytes(left - count) };
                self.take_body(&piece, left == count) && count > 0 && left == count
            }
            Body::Chunks => {
                let (piece, len) = match chunk(&self.up) {
                    Chunk::Is { data, len } => (data.to_vec(), len),
                    Chunk::Incomplete => return false,
                    // An extension or a trailer, or what no chunk is.
                    Chunk::Malformed => return self.look_no_further(),
                };
                self.up.drain(..len);
                if piece.is_empty() {
                    self.body = Body::Whole;
                }
                self.take_body(&piece, piece.is_empty())
            }
        }
    }

    fn take_body(&mut self, piece: &[u8], is_whole: bool) -> bool {
        // Its request may have been answered before its body was read.
        let Some(asked) = self.asked.back_mut() else { return self.look_no_further() };
        asked.body.extend_from_slice(piece);
        asked.is_whole = is_whole;
        asked.body.len() <= BODY_MAX || self.look_no_further()
    }

    fn next_head(&mut self) -> bool {
        let Some(end) = self.up.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
        let head: Vec<u8> = self.up.drain(..end + 4).take(end).collect();
        let Some(mut asked) = String::from_utf8(head).ok().and_then(|head| Asked::read(&head)) else {
            return self.look_no_further();
        };
        let lengths: Vec<&str> = asked.all("content-length").collect();
        let codings: Vec<&str> = asked.all("transfer-encoding").collect();
        self.body = match (lengths.as_slice(), codings.as_slice()) {
            ([], []) => Body::Whole,
            ([length], []) => match length.parse() {
                Ok(0) => Body::Whole,
                Ok(length) => Body::Bytes(length),
                Err(_) => return self.look_no_further(),
            },
            ([], ["chunked"]) => Body::Chunks,
            _ => return self.look_no_further(),
        };
        asked.is_whole = matches!(self.body, Body::Whole);
        self.asked.push_back(asked);
        true
    }

    fn next_response(&mut self) -> bool {
        let Some(end) = self.down.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
        let head = String::from_utf8(self.down[..end].to_vec()).expect("the head of a response is UTF-8");
        let (status, fields) = head.split_once("\r\n").unwrap_or((&head, ""));
        let status: u16 = status.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
        let field = |name: &str| {
            let mut all = fields.split("\r\n").filter_map(|line| line.split_once(": "));
            all.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        if status == 100 {
            self.down.drain(..end + 4);
            return true;
        }
        let is_head = self.asked.front().is_some_and(|asked| asked.method == "HEAD");
        let media = field("content-type").unwrap_or_default();
        let chunked = field("transfer-encoding").is_some();
        let length = field("content-length").map(|length| length.parse::<usize>().expect("a length"));
        let mut body = Vec::new();
        let mut taken = end + 4;
        let is_events = media.starts_with("text/event-stream") && !is_head;
        let has_body = !matches!(status, 101 | 204 | 304) && !is_head && !is_events;
        if chunked && has_body {
            loop {
                match chunk(&self.down[taken..]) {
                    Chunk::Incomplete => return false,
                    Chunk::Malformed => panic!("a chunk that is none, after {head}"),
                    Chunk::Is { data: [], len } => {
                        taken += len;
                        break;
                    }
                    Chunk::Is { data, len } => {
                        body.extend_from_slice(data);
                        taken += len;
                    }
                }
            }
        } else if has_body {
            let Some(length) = length else { return self.look_no_further() };
            let Some(bytes) = self.down.get(taken..taken + length) else { return false };
            body.extend_from_slice(bytes);
            taken += length;
        }
        self.down.drain(..taken);
        // Without a request it is what a connection is told that did not get to ask: a time limit, a full house.
        let Some(asked) = self.asked.pop_front() else {
            assert!(status >= 400, "{status} to no request");
            return self.look_no_further();
        };
        self.judge_exchange(&asked, status, &field, &body);
        if status == 101 {
            let path = asked.path();
            self.phase = match path {
                "/api/v1/ws" => Phase::Socket(Socket::default()),
                path if path.starts_with("/api/v1/ws/") => Phase::Pair(Pair::of(path)),
                _ => return self.look_no_further(),
            };
            self.client_frames();
        } else if is_events {
            let message = match asked.path() {
                "/api/v1/chat-list" => Some("chats"),
                "/api/v1/chat-counter" => Some("counter"),
                _ => None,
            };
            self.phase = Phase::Events { text: Vec::new(), message };
        } else if !asked.is_whole {
            return self.look_no_further();
        }
        true
    }

    fn judge_exchange(
        &mut self,
        asked: &Asked,
        status: u16,
        field: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
    ) {
        let contract = self.judge.contract;
        let Some((template, operation)) = contract.operation(&asked.method, asked.path()) else { return };
        self.judge.judged += 1;
        let judged = judge_response(contract, operation, asked, status, field, body).and_then(|()| {
            match status < 300 && asked.is_whole {
                true => asked
                    .check(contract, template, operation)
                    .map_err(|problem| format!("taken, and not as described: {problem}")),
                false => Ok(()),
            }
        });
        if let Err(problem) = judged {
            let (request, response) = (String::from_utf8_lossy(&asked.body), String::from_utf8_lossy(body));
            let head = |text: &str| text.chars().take(2_000).collect::<String>();
            panic!(
                "the document does not say so: {} {} {status}: {problem}\n{}\n{}",
                asked.method,
                asked.target,
                head(&request),
                head(&response)
            );
        }
        let is_log = status == 200 && asked.path() == "/api/v1/events";
        if let Some(page) = json::parse(body).ok().filter(|_| is_log) {
            let events = page.get("data").and_then(Value::as_list).unwrap_or_default();
            events.iter().for_each(|event| self.judge.event(&json::to_string(event)));
        }
        if let Some(recording) = self.judge.recording.as_mut().filter(|_| status < 300 && asked.is_whole) {
            let id = operation.get("operationId").and_then(Value::as_str).expect("an id");
            recording.exchanges.push(Exchange {
                operation: id.to_owned(),
                method: asked.method.clone(),
                target: asked.target.clone(),
                parameters: asked.parameters(template, operation),
                request: asked.body.clone(),
                status,
                response: body.to_vec(),
            });
        }
    }

    /// One chunk of an event stream.
    fn next_chunk(&mut self) -> bool {
        let Phase::Events { text, message } = &mut self.phase else { return false };
        let Chunk::Is { data, len } = chunk(&self.down) else { return false };
        text.extend_from_slice(data);
        let is_last = data.is_empty();
        self.down.drain(..len);
        while let Some(end) = text.windows(2).position(|window| window == b"\n\n") {
            let block: Vec<u8> = text.drain(..end + 2).collect();
            let block = String::from_utf8(block).expect("an event stream is UTF-8");
            self.judge.block(&block, *message);
        }
        if is_last { self.look_no_further() } else { true }
    }

    fn client_frames(&mut self) {
        while let Some(frame) = frame(&self.up) {
            self.up.drain(..frame.len);
            match &mut self.phase {
                Phase::Socket(socket) => socket.sent(&frame),
                Phase::Pair(pair) => pair.sent(&frame),
                _ => {}
            }
        }
    }

    fn server_frame(&mut self) -> bool {
        let Some(frame) = frame(&self.down) else { return false };
        self.down.drain(..frame.len);
        if frame.first & 0x0f == 1 {
            let text = String::from_utf8(frame.payload).expect("a text frame is UTF-8");
            match &mut self.phase {
                Phase::Socket(socket) => socket.judge(&mut self.judge, &text),
                Phase::Pair(pair) => pair.judge(&mut self.judge, &text),
                _ => {}
            }
        }
        true
    }
}

/// Whether a response is one that the document gives the operation.
fn judge_response(
    contract: &Contract,
    operation: &Value<'static>,
    asked: &Asked,
    status: u16,
    field: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
) -> Result<(), String> {
    // The plain port of a server with a certificate answers every request so, and is in no row of the table.
    if status == 308 && field("location").is_some_and(|location| location.starts_with("https://")) {
        return Ok(());
    }
    let code = (status >= 400).then(|| json::parse(body).ok()).flatten();
    let code = code.as_ref().and_then(|body| body.get("code")).and_then(Value::as_str);
    let is_general =
        ALWAYS.iter().any(|it| it.status() == status && code.is_none_or(|code| code == it.text()));
    let described = operation.get("responses").and_then(|responses| responses.get(&status.to_string()));
    let Some(described) = described else {
        return if is_general { Ok(()) } else { Err(format!("no such status ({code:?})")) };
    };
    // What has a schema of its own says by it which code it has.
    if let Some(code) = code.filter(|_| described.get("$ref").is_some()) {
        let codes = described.get("description").and_then(Value::as_str).unwrap_or_default();
        if !codes.contains(&format!("`{code}`")) && !is_general {
            return Err(format!("{code} is none of {codes}"));
        }
    }
    let headers = contract.part(described, "headers").and_then(Value::as_object);
    for (name, _) in headers.into_iter().flat_map(|all| all.iter()) {
        field(name).ok_or_else(|| format!("no {name}"))?;
    }
    if asked.method == "HEAD" || body.is_empty() {
        return Ok(());
    }
    let media = field("content-type").unwrap_or_default();
    let bare = media.split(';').next().unwrap_or_default();
    let medium = contract.medium(described, bare).ok_or_else(|| format!("no schema for {media}"))?;
    let schema = medium.get("schema").ok_or_else(|| format!("no schema for {media}"))?;
    match bare {
        "application/json" | "application/problem+json" => {
            let value = json::parse(body).map_err(|_| "not JSON".to_owned())?;
            check(&contract.openapi, schema, &value, By::Server, "")
        }
        "application/x-ndjson" => {
            let line = medium.get("x-natter-line").ok_or("no schema for a line")?;
            let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            lines.enumerate().try_for_each(|(number, text)| {
                let value = json::parse(text).map_err(|_| format!("line {number} is not JSON"))?;
                check(&contract.openapi, line, &value, By::Server, &format!("line {number}"))
            })
        }
        _ => Ok(()),
    }
}
