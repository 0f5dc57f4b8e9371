//! What is said on a stream, held against the documents: events, answers and refusals of ops, values, lines of the legacy socket.
//!
//! An op is judged once it is answered, a line once it is seen among the messages: a test may send any other on purpose.

use std::collections::{BTreeMap, VecDeque};

use natter::base::json::{self, Value};
use natter::model::problem::Code;
use natter::server::schema::examples::{Frame as Shown, Recording};
use natter::server::schema::operations::ALWAYS;

use super::contract::{By, Contract, check};
use super::wire::Frame;

pub struct Judge {
    pub contract: &'static Contract,
    /// What was judged, where a test wants it.
    pub recording: Option<Recording>,
    /// How many exchanges, events and frames it has held against the documents.
    pub judged: usize,
}

impl Judge {
    pub fn new(contract: &'static Contract) -> Judge {
        Judge { contract, recording: None, judged: 0 }
    }

    fn message(&mut self, message: &str, text: &str, by: By) {
        self.judged += 1;
        let contract = self.contract;
        let value = json::parse(text.as_bytes()).unwrap_or_else(|_| panic!("not JSON: {text}"));
        let payload =
            contract.payload(message).unwrap_or_else(|| panic!("{message} is not described: {text}"));
        if let Err(problem) = check(&contract.asyncapi, payload, &value, by, "") {
            panic!("the document does not say so: {message}: {problem}\n{text}");
        }
        if let Some(recording) = &mut self.recording {
            recording.frames.push(Shown { message: message.to_owned(), text: text.as_bytes().to_vec() });
        }
    }

    pub fn event(&mut self, text: &str) {
        let name = event_of(text);
        self.message(&format!("event.{name}"), text, By::Server);
    }

    /// One block of server-sent events; of the log, unless it is of a stream of one kind of value.
    pub fn block(&mut self, block: &str, message: Option<&'static str>) {
        let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let Some(data) = line("data") else { return };
        if let Some(message) = message {
            return self.message(message, data, By::Server);
        }
        self.event(data);
        assert_eq!(line("event"), Some(&*event_of(data)), "{block}");
        let id = line("id").unwrap_or_else(|| panic!("an event of the log without its cursor: {block}"));
        let contract = self.contract;
        let cursor = super::contract::find(&contract.asyncapi, "components/schemas/Cursor").expect("a type");
        let id = Value::Str(id.into());
        check(&contract.asyncapi, cursor, &id, By::Server, "id")
            .unwrap_or_else(|problem| panic!("{problem}\n{block}"));
    }

    /// `ok` is HTTP's `data`.
    fn ok(&self, op: &str, ok: &Value<'_>) -> Result<(), String> {
        let contract = self.contract;
        let Some(operation) = contract.named(op) else { return Ok(()) };
        let responses = operation.get("responses").expect("responses");
        let success = ["200", "201"].iter().filter_map(|status| responses.get(status)).next();
        let schema =
            success.and_then(|response| contract.medium(response, "application/json")?.get("schema"));
        match schema.and_then(|schema| schema.get("properties")).and_then(|all| all.get("data")) {
            Some(schema) => check(&contract.openapi, schema, ok, By::Server, op),
            None if *ok == Value::Null => Ok(()),
            None => Err(format!("{op}: {} where HTTP has no content", json::to_string(ok))),
        }
    }

    /// An op is refused with the codes of its HTTP operation.
    fn refusal(&self, op: &str, code: &str) -> Result<(), String> {
        let contract = self.contract;
        let Some(operation) = contract.named(op).filter(|_| contract.payload(&format!("op.{op}")).is_some())
        else {
            return Ok(());
        };
        let responses = operation.get("responses").and_then(Value::as_object).expect("responses");
        let says = |response: &Value<'_>| {
            response
                .get("description")
                .and_then(Value::as_str)
                .is_some_and(|text| text.contains(&format!("`{code}`")))
        };
        // What HTTP has in its path is a member of the frame: malformed, it is not 404.
        let members = operation.get("parameters").and_then(Value::as_list).unwrap_or_default();
        let in_path = members.iter().filter(|it| it.get("in").and_then(Value::as_str) == Some("path"));
        let mut in_path = in_path.filter_map(|it| it.get("name").and_then(Value::as_str));
        let is_member = code.strip_prefix("invalid_").is_some_and(|name| in_path.any(|it| it == name));
        let is_general = ALWAYS.iter().any(|it| it.text() == code);
        // What follows a refused write on its socket is refused with it, reads included.
        let follows = code == Code::StorageFull.text();
        match is_member || is_general || follows || responses.iter().any(|(_, response)| says(response)) {
            true => Ok(()),
            false => Err(format!("{op} is not refused with {code}")),
        }
    }
}

fn event_of(text: &str) -> String {
    let value = json::parse(text.as_bytes()).unwrap_or_else(|_| panic!("not JSON: {text}"));
    value.get("event").and_then(Value::as_str).unwrap_or_else(|| panic!("no event: {text}")).to_owned()
}

/// Puts the parts of a message together: `Some` once it is whole.
#[derive(Default)]
struct Parts(Vec<u8>);

impl Parts {
    fn add(&mut self, frame: &Frame) -> Option<Vec<u8>> {
        if frame.is_control() || frame.first & 0x0f == 2 {
            return None;
        }
        self.0.extend_from_slice(&frame.payload);
        frame.is_last().then(|| std::mem::take(&mut self.0))
    }
}

/// The native socket.
#[derive(Default)]
pub struct Socket {
    /// Ops that wait for an answer, by their `id` as it was written.
    ops: BTreeMap<String, Vec<(String, Vec<u8>)>>,
    parts: Parts,
}

impl Socket {
    pub fn sent(&mut self, frame: &Frame) {
        let Some(text) = self.parts.add(frame) else { return };
        let Ok(value) = json::parse(&text) else { return };
        let Some(id) = value.get("id") else { return };
        let op = value.get("op").and_then(Value::as_str).unwrap_or_default();
        let entry = (op.to_owned(), text.clone());
        self.ops.entry(json::to_string(id)).or_default().push(entry);
    }

    pub fn judge(&mut self, judge: &mut Judge, text: &str) {
        let value = json::parse(text.as_bytes()).unwrap_or_else(|_| panic!("not JSON: {text}"));
        let Some(re) = value.get("re") else { return judge.event(text) };
        let error = value.get("error").map(|error| {
            judge.message("error", text, By::Server);
            error.get("code").and_then(Value::as_str).unwrap_or_default()
        });
        // The refusal of an op without an id.
        if *re == Value::Null && error.is_some() {
            return;
        }
        if error.is_none() {
            judge.message("answer", text, By::Server);
        }
        let ops = self.ops.get_mut(&json::to_string(re)).filter(|ops| !ops.is_empty());
        let Some(ops) = ops else { panic!("an answer to nothing: {text}") };
        // Which of several ops with one id it answers cannot be told: one of them must be answered like this.
        let faults: Vec<Result<(), String>> = ops
            .iter()
            .map(|(op, _)| match error {
                Some(code) => judge.refusal(op, code),
                None => judge.ok(op, value.get("ok").expect("judged")),
            })
            .collect();
        let Some(place) = faults.iter().position(Result::is_ok) else {
            panic!("the document does not say so: {faults:?}\n{text}");
        };
        let (op, frame) = ops.remove(place);
        if error.is_none() {
            judge.message(&format!("op.{op}"), std::str::from_utf8(&frame).expect("UTF-8"), By::Client);
        }
    }
}

/// The legacy socket.
pub struct Pair {
    /// Whose side it is.
    sender: String,
    /// Lines that were not seen among the messages yet.
    lines: VecDeque<Vec<u8>>,
    parts: Parts,
}

impl Pair {
    /// Of a path `/api/v1/ws/{sender}/{receiver}`.
    pub fn of(path: &str) -> Pair {
        let sender = path.split('/').nth(4).expect("a sender").to_uppercase();
        Pair { sender, lines: VecDeque::new(), parts: Parts::default() }
    }

    pub fn sent(&mut self, frame: &Frame) {
        self.lines.extend(self.parts.add(frame));
    }

    pub fn judge(&mut self, judge: &mut Judge, text: &str) {
        if !text.starts_with('[') {
            return judge.message("pair.error", text, By::Server);
        }
        judge.message("pair.lines", text, By::Server);
        let value = json::parse(text.as_bytes()).expect("judged");
        for shown in value.as_list().unwrap_or_default() {
            if shown.get("sender").and_then(Value::as_str) != Some(&self.sender) {
                continue;
            }
            let is_it = |line: &Vec<u8>| {
                json::parse(line).is_ok_and(|line| line.get("message") == shown.get("message"))
            };
            let place = self.lines.iter().position(is_it);
            if let Some(line) = place.and_then(|place| self.lines.remove(place)) {
                judge.message("pair.post", std::str::from_utf8(&line).expect("UTF-8"), By::Client);
            }
        }
    }
}
