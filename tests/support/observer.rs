//! One connection as somebody on the wire sees it: reads the bytes of both sides, and holds each request, response, event and
//! frame against the documents.
//!
//! Owns as much of HTTP and WebSocket as well-behaved peers speak. Where a peer breaks the rules, which many tests do, it looks
//! no further at that connection. Invariant: what it judges, it judges whole.

use std::collections::{BTreeMap, VecDeque};

use natter::base::json::{self, Value};
use natter::server::schema::examples::Exchange;
use natter::server::schema::operations::ALWAYS;

use super::contract::{By, Contract, check};

pub struct Observer {
    contract: &'static Contract,
    up: Vec<u8>,
    down: Vec<u8>,
    phase: Phase,
    /// Requests that are not answered, the oldest first.
    asked: VecDeque<Asked>,
    /// Bytes of the newest request's body that are to come.
    body_left: usize,
    /// What was judged, where a test wants it.
    pub exchanges: Option<Vec<Exchange>>,
}

#[derive(Debug)]
struct Asked {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    is_whole: bool,
}

enum Phase {
    Http,
    /// Server-sent events: what came of a block.
    Events {
        text: Vec<u8>,
        is_log: bool,
    },
    Socket(Socket),
    Pair,
    /// Looks no further.
    Blind,
}

#[derive(Default)]
struct Socket {
    /// Ops that wait for an answer, by their `id` as it was written.
    ops: BTreeMap<String, Vec<(String, Vec<u8>)>>,
    /// Parts of a message that is not whole.
    parts: Vec<u8>,
}

/// A body beyond this is no JSON that anybody judges.
const BODY_KEPT: usize = 1 << 20;

impl Default for Observer {
    fn default() -> Observer {
        Observer {
            contract: Contract::of_this_build(),
            up: Vec::new(),
            down: Vec::new(),
            phase: Phase::Http,
            asked: VecDeque::new(),
            body_left: 0,
            exchanges: None,
        }
    }
}

impl Observer {
    /// One that judges nothing: of a door that the documents do not describe.
    pub fn blind() -> Observer {
        Observer { phase: Phase::Blind, ..Observer::default() }
    }

    /// One that judges by another pair of documents, and keeps what it judged.
    pub fn recording(contract: &'static Contract) -> Observer {
        Observer { contract, exchanges: Some(Vec::new()), ..Observer::default() }
    }

    /// The client sent this.
    pub fn sent(&mut self, bytes: &[u8]) {
        match self.phase {
            Phase::Blind | Phase::Events { .. } => return,
            Phase::Http | Phase::Socket(_) | Phase::Pair => self.up.extend_from_slice(bytes),
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
                Phase::Socket(_) | Phase::Pair => self.server_frame(),
                Phase::Blind => false,
            };
            if !went_on {
                break;
            }
        }
    }

    fn look_no_further(&mut self) -> bool {
        *self = Observer { exchanges: self.exchanges.take(), contract: self.contract, ..Observer::blind() };
        false
    }

    fn next_request(&mut self) -> bool {
        if self.body_left > 0 {
            let count = self.body_left.min(self.up.len());
            let piece: Vec<u8> = self.up.drain(..count).collect();
            self.body_left -= count;
            if let Some(asked) = self.asked.back_mut() {
                if asked.body.len() < BODY_KEPT {
                    asked.body.extend(piece);
                }
                asked.is_whole = self.body_left == 0;
            }
            return count > 0 && self.body_left == 0;
        }
        let Some(end) = self.up.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
        let head: Vec<u8> = self.up.drain(..end + 4).take(end).collect();
        let Some(asked) = String::from_utf8(head).ok().and_then(|head| Asked::read(&head)) else {
            return self.look_no_further();
        };
        let lengths: Vec<&str> = asked.all("content-length").collect();
        let chunked = asked.all("transfer-encoding").next().is_some();
        self.body_left = match (lengths.as_slice(), chunked) {
            ([], false) => 0,
            ([length], false) => match length.parse() {
                Ok(length) => length,
                Err(_) => return self.look_no_further(),
            },
            _ => return self.look_no_further(),
        };
        self.asked.push_back(Asked { is_whole: self.body_left == 0, ..asked });
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
                    Chunk::Not => return false,
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
        self.judge(&asked, status, &media, &body);
        if status == 101 {
            let path = asked.path();
            self.phase = match path {
                "/api/v1/ws" => Phase::Socket(Socket::default()),
                path if path.starts_with("/api/v1/ws/") => Phase::Pair,
                _ => return self.look_no_further(),
            };
            self.client_frames();
        } else if is_events {
            self.phase = Phase::Events { text: Vec::new(), is_log: asked.path() == "/api/v1/events" };
        } else if !asked.is_whole {
            return self.look_no_further();
        }
        true
    }

    fn judge(&mut self, asked: &Asked, status: u16, media: &str, body: &[u8]) {
        let contract = self.contract;
        let blame = |problem: String| -> ! {
            let (request, response) = (String::from_utf8_lossy(&asked.body), String::from_utf8_lossy(body));
            let head = |text: &str| text.chars().take(2_000).collect::<String>();
            panic!(
                "the document does not say so: {} {} {status}: {problem}\n{}\n{}",
                asked.method,
                asked.target,
                head(&request),
                head(&response)
            );
        };
        let Some(operation) = contract.operation(&asked.method, asked.path()) else { return };
        let id = operation.get("operationId").and_then(Value::as_str).expect("an id");
        let code = (status >= 400).then(|| json::parse(body).ok()).flatten();
        let code = code.as_ref().and_then(|body| body.get("code")).and_then(Value::as_str);
        let is_general =
            ALWAYS.iter().any(|it| it.status() == status && code.is_none_or(|code| code == it.text()));
        let described = operation.get("responses").and_then(|responses| responses.get(&status.to_string()));
        let Some(described) = described else {
            if !is_general {
                blame(format!("no such status ({code:?})"));
            }
            return;
        };
        // What has a schema of its own says by it which code it has.
        if let Some(code) = code.filter(|_| described.get("$ref").is_some()) {
            let codes = described.get("description").and_then(Value::as_str).unwrap_or_default();
            if !codes.contains(&format!("`{code}`")) && !is_general {
                blame(format!("{code} is none of {codes}"));
            }
        }
        let bare = media.split(';').next().unwrap_or_default();
        if asked.method != "HEAD" && !body.is_empty() {
            let Some(schema) = contract.schema(described, bare) else {
                blame(format!("no schema for {media}"))
            };
            if matches!(bare, "application/json" | "application/problem+json") {
                let Ok(value) = json::parse(body) else { blame("not JSON".to_owned()) };
                if let Err(problem) = check(&contract.openapi, schema, &value, By::Server, "") {
                    blame(problem);
                }
            }
        }
        if status >= 300 || !asked.is_whole {
            return;
        }
        if let Err(problem) = asked.check(contract, operation) {
            blame(format!("taken, and not as described: {problem}"));
        }
        if let Some(exchanges) = &mut self.exchanges {
            exchanges.push(Exchange {
                operation: id.to_owned(),
                request: asked.body.clone(),
                status,
                response: body.to_vec(),
            });
        }
    }

    /// One chunk of an event stream.
    fn next_chunk(&mut self) -> bool {
        let Phase::Events { text, is_log } = &mut self.phase else { return false };
        let Chunk::Is { data, len } = chunk(&self.down) else { return false };
        text.extend_from_slice(data);
        let is_last = data.is_empty();
        self.down.drain(..len);
        while let Some(end) = text.windows(2).position(|window| window == b"\n\n") {
            let block: Vec<u8> = text.drain(..end + 2).collect();
            let block = String::from_utf8(block).expect("an event stream is UTF-8");
            let data = block.lines().find_map(|line| line.strip_prefix("data: "));
            if let (true, Some(data)) = (*is_log, data) {
                judge_event(data);
            }
        }
        if is_last { self.look_no_further() } else { true }
    }

    fn client_frames(&mut self) {
        while let Some((first, payload, len)) = client_frame(&self.up) {
            self.up.drain(..len);
            let Phase::Socket(socket) = &mut self.phase else { continue };
            if first & 0x0f > 1 {
                continue;
            }
            socket.parts.extend_from_slice(&payload);
            if first & 0x80 == 0 {
                continue;
            }
            let text = std::mem::take(&mut socket.parts);
            let Ok(value) = json::parse(&text) else { continue };
            let (Some(op), Some(id)) = (value.get("op").and_then(Value::as_str), value.get("id")) else {
                continue;
            };
            let entry = (op.to_owned(), text.clone());
            socket.ops.entry(json::to_string(id)).or_default().push(entry);
        }
    }

    fn server_frame(&mut self) -> bool {
        let (Some(&first), Some(&second)) = (self.down.first(), self.down.get(1)) else { return false };
        let (len, head) = match second & 0x7f {
            126 => (self.down.get(2..4).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]]))), 4),
            127 => {
                (self.down.get(2..10).map(|b| u64::from_be_bytes(b.try_into().expect("eight")) as usize), 10)
            }
            len => (Some(usize::from(len)), 2),
        };
        let Some(len) = len else { return false };
        let Some(payload) = self.down.get(head..head + len).map(<[u8]>::to_vec) else { return false };
        self.down.drain(..head + len);
        if first & 0x0f == 1 {
            let text = String::from_utf8(payload).expect("a text frame is UTF-8");
            match &mut self.phase {
                Phase::Socket(socket) => socket.judge(&text),
                Phase::Pair => judge_pair(&text),
                _ => {}
            }
        }
        true
    }
}

fn judge_message(message: &str, text: &str, by: By) {
    let contract = Contract::of_this_build();
    let value = json::parse(text.as_bytes()).unwrap_or_else(|_| panic!("not JSON: {text}"));
    let payload = contract.payload(message).unwrap_or_else(|| panic!("{message} is not described: {text}"));
    if let Err(problem) = check(&contract.asyncapi, payload, &value, by, "") {
        panic!("the document does not say so: {message}: {problem}\n{text}");
    }
}

fn judge_event(text: &str) {
    let value = json::parse(text.as_bytes()).unwrap_or_else(|_| panic!("not JSON: {text}"));
    let name = value.get("event").and_then(Value::as_str).unwrap_or_else(|| panic!("no event: {text}"));
    judge_message(&format!("event.{name}"), text, By::Server);
}

fn judge_pair(text: &str) {
    judge_message(if text.starts_with('[') { "pair.lines" } else { "pair.error" }, text, By::Server);
}

impl Socket {
    fn judge(&mut self, text: &str) {
        let value = json::parse(text.as_bytes()).unwrap_or_else(|_| panic!("not JSON: {text}"));
        let Some(re) = value.get("re") else { return judge_event(text) };
        let waiting = self.ops.get_mut(&json::to_string(re));
        if value.get("error").is_some() {
            judge_message("error", text, By::Server);
            // Which of several ops with one id it refuses cannot be told: the oldest is as good as any.
            if let Some(ops) = waiting.filter(|ops| !ops.is_empty()) {
                ops.remove(0);
            }
            return;
        }
        judge_message("answer", text, By::Server);
        let Some(ops) = waiting else { panic!("an answer to nothing: {text}") };
        let ok = value.get("ok").expect("judged");
        let faults: Vec<Result<(), String>> = ops.iter().map(|(op, _)| judge_ok(op, ok)).collect();
        let Some(place) = faults.iter().position(Result::is_ok) else {
            panic!("the document does not say so: {faults:?}\n{text}");
        };
        let (op, frame) = ops.remove(place);
        judge_message(&format!("op.{op}"), std::str::from_utf8(&frame).expect("UTF-8"), By::Client);
    }
}

/// `ok` is HTTP's `data`.
fn judge_ok(op: &str, ok: &Value<'_>) -> Result<(), String> {
    let contract = Contract::of_this_build();
    let Some(operation) = contract.named(op) else { return Ok(()) };
    let responses = operation.get("responses").expect("responses");
    let success = ["200", "201"].iter().filter_map(|status| responses.get(status)).next();
    let schema = success.and_then(|response| contract.schema(response, "application/json"));
    match schema.and_then(|schema| schema.get("properties")).and_then(|all| all.get("data")) {
        Some(schema) => check(&contract.openapi, schema, ok, By::Server, op),
        None if *ok == Value::Null => Ok(()),
        None => Err(format!("{op}: {} where HTTP has no content", json::to_string(ok))),
    }
}

impl Asked {
    fn read(head: &str) -> Option<Asked> {
        let mut lines = head.split("\r\n");
        let mut parts = lines.next()?.split(' ');
        let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
        let fields = lines
            .map(|line| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
            .collect::<Option<Vec<_>>>()?;
        (version.starts_with("HTTP/1.") && parts.next().is_none()).then(|| Asked {
            method: method.to_owned(),
            target: target.to_owned(),
            fields,
            body: Vec::new(),
            is_whole: true,
        })
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let is_it = move |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.fields.iter().filter(is_it).map(|(_, value)| value.as_str())
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Whether a request that was taken is as described.
    fn check(&self, contract: &Contract, operation: &Value<'_>) -> Result<(), String> {
        let Some(body) = operation.get("requestBody") else { return Ok(()) };
        if self.body.is_empty() {
            return match body.get("required") {
                Some(Value::Bool(true)) if !self.target.contains('?') => Err("a body is required".to_owned()),
                _ => Ok(()),
            };
        }
        let media = self.all("content-type").next().unwrap_or_default();
        if !media.starts_with("application/json") {
            return Ok(());
        }
        let schema = body.get("content").and_then(|content| content.get("application/json")?.get("schema"));
        let Some(schema) = schema else { return Ok(()) };
        let value = json::parse(&self.body).map_err(|_| "not JSON".to_owned())?;
        check(&contract.openapi, schema, &value, By::Client, "")
    }
}

enum Chunk<'a> {
    Not,
    Is { data: &'a [u8], len: usize },
}

/// The first chunk of a chunked body; the last one is empty.
fn chunk(bytes: &[u8]) -> Chunk<'_> {
    let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") else { return Chunk::Not };
    let size = std::str::from_utf8(&bytes[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
    let size = size.expect("the size of a chunk");
    match bytes.get(end + 2..end + 2 + size) {
        Some(data) if bytes.len() >= end + 4 + size => Chunk::Is { data, len: end + 4 + size },
        _ => Chunk::Not,
    }
}

/// The first frame of a client: its first byte, its payload without the mask, its length.
fn client_frame(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (len, head) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
        len => (usize::from(len), 2),
    };
    let mask = if second & 0x80 == 0 { [0; 4] } else { bytes.get(head..head + 4)?.try_into().ok()? };
    let head = head + if second & 0x80 == 0 { 0 } else { 4 };
    let payload = bytes.get(head..head.checked_add(len)?)?;
    let clear = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Some((first, clear, head + len))
}
