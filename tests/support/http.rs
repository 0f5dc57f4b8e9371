//! Writes requests and reads responses for tests.

use natter::base::json::{self, Value};
use natter::server::contract::{ConnId, ListenerKind};

use super::World;

/// A parsed response.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text body")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value<'_> {
        json::parse(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// A text at a path of member names, as `data.token.access`; numbers name list items.
    pub fn at(&self, path: &str) -> String {
        text_at(&self.json(), path)
    }

    pub fn code(&self) -> String {
        self.at("code")
    }
}

pub fn text_at(value: &Value<'_>, path: &str) -> String {
    let mut value = value.clone();
    for part in path.split('.') {
        value = match (&value, part.parse::<usize>()) {
            (Value::List(list), Ok(index)) => list.get(index).cloned().unwrap_or(Value::Null),
            (Value::Object(object), _) => object.get(part).cloned().unwrap_or(Value::Null),
            _ => Value::Null,
        };
    }
    match &value {
        Value::Str(text) => text.to_string(),
        other => json::to_string(other),
    }
}

/// The value of one series in the text of `/metrics`: its name, with its labels if it has some.
pub fn series(text: &str, series: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series} in {text}"))
}

/// Takes the complete responses from the front of `bytes`; an incomplete one stays.
pub fn responses(bytes: &mut Vec<u8>, is_head: bool) -> Vec<Response> {
    std::iter::from_fn(|| next_response(bytes, is_head)).collect()
}

/// Takes one complete response from the front of `bytes`.
pub fn next_response(bytes: &mut Vec<u8>, is_head: bool) -> Option<Response> {
    let (response, len) = response(bytes, is_head)?;
    bytes.drain(..len);
    Some(response)
}

fn response(bytes: &[u8], is_head: bool) -> Option<(Response, usize)> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end - 4]).expect("an ASCII head");
    let mut lines = head.split("\r\n");
    let status_line = lines.next().expect("a status line");
    assert!(status_line.starts_with("HTTP/1.1 "), "{status_line}");
    let status: u16 = status_line[9..12].parse().expect("a status");
    let fields: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").expect("a field"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let length = fields
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.parse().expect("a length"));
    let length = if is_head { 0 } else { length };
    let body = bytes.get(end..end + length)?.to_vec();
    Some((Response { status, fields, body }, end + length))
}

/// A request as bytes.
pub fn request(method: &str, path: &str, fields: &[(&str, &str)], body: Option<&str>) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = body {
        text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body.unwrap_or_default());
    text.into_bytes()
}

/// The bytes of a text in base32 without padding (RFC 4648 §6).
pub fn base32_bytes(text: &str) -> Vec<u8> {
    let digit = |byte: u8| b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|digit| *digit == byte);
    let part = |part: &[u8]| {
        let add = |bits: u64, byte: &u8| bits << 5 | digit(*byte).expect("a digit") as u64;
        part.iter().fold(0, add).to_be_bytes()[3..].to_vec()
    };
    text.as_bytes().chunks_exact(8).flat_map(part).collect()
}

/// A signed-up member.
#[derive(Clone, Debug)]
pub struct Person {
    pub profile: String,
    pub member: String,
    pub access: String,
    pub refresh: String,
}

impl Person {
    /// From the response to a sign-up or a sign-in.
    pub fn from_response(response: &Response) -> Person {
        Person {
            profile: response.at("data.profile.id"),
            member: response.at("data.member.id"),
            access: response.at("data.token.access"),
            refresh: response.at("data.token.refresh"),
        }
    }
}

impl World {
    /// Sends one request on a new connection.
    pub fn ask(&mut self, method: &str, path: &str, fields: &[(&str, &str)], body: Option<&str>) -> Response {
        let conn = self.connect();
        let response = self.ask_on(conn, method, path, fields, body);
        self.reset(conn);
        response
    }

    pub fn ask_on(
        &mut self,
        conn: ConnId,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Option<&str>,
    ) -> Response {
        self.send(conn, &request(method, path, fields, body));
        let mut bytes = self.take(conn);
        let mut all = responses(&mut bytes, method == "HEAD");
        assert_eq!((all.len(), bytes.len()), (1, 0), "one whole response: {all:?} {bytes:?}");
        all.remove(0)
    }

    /// The same with the bearer token of a member.
    pub fn ask_as(&mut self, person: &Person, method: &str, path: &str, body: Option<&str>) -> Response {
        let bearer = format!("Bearer {}", person.access);
        self.ask(method, path, &[("Authorization", &bearer)], body)
    }

    /// The same through the control socket.
    pub fn ask_operator(&mut self, method: &str, path: &str, body: Option<&str>) -> Response {
        let conn = self.connect_through("127.0.0.1", ListenerKind::Control);
        let response = self.ask_on(conn, method, path, &[], body);
        self.reset(conn);
        response
    }

    /// The value of one series of `/metrics`.
    pub fn metric(&mut self, name: &str) -> u64 {
        series(self.ask("GET", "/metrics", &[], None).text(), name)
    }

    /// Another session of a member who signed up.
    pub fn sign_in(&mut self, name: &str) -> Person {
        let body = format!(r#"{{"email":"{name}@example.org","password":"correct horse {name}'s"}}"#);
        let response = self.ask("POST", "/api/v1/user/sign-in", &[], Some(&body));
        assert_eq!(response.status, 200, "{}", response.text());
        Person::from_response(&response)
    }

    pub fn sign_up(&mut self, name: &str) -> Person {
        let body = format!(
            r#"{{"display_name":"{name}","email":"{name}@example.org","password":"correct horse {name}'s"}}"#
        );
        let response = self.ask("POST", "/api/v1/user/sign-up", &[], Some(&body));
        assert_eq!(response.status, 201, "{}", response.text());
        Person::from_response(&response)
    }
}
