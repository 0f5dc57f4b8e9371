//! HTTP/1.1 as the load tool needs it: a request as bytes, the head of a response, and a blocking client for the preparations.
//!
//! Leaves sockets to `line`. Invariant: a response without `Content-Length` is an error, since natter sends none with a body.

use std::io::{self, Read, Write};

use super::line::{Stream, Target};

/// Bytes of one read.
const READ: usize = 65_536;
/// A head of more bytes is an error.
const HEAD_MAX: usize = 65_536;

/// A request. `fields` are complete lines.
pub fn request(
    target: &Target,
    method: &str,
    path: &str,
    access: &str,
    fields: &str,
    body: &[u8],
) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", target.host);
    if !access.is_empty() {
        text.push_str(&format!("Authorization: Bearer {access}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str(fields);
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    pub len: usize,
    pub body: u64,
}

/// `None` if it is not complete.
pub fn head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > HEAD_MAX {
            Err(io::Error::other("a head without an end"))
        } else {
            Ok(None)
        };
    };
    let text = std::str::from_utf8(&bytes[..end]).map_err(io::Error::other)?;
    let status = text.get(9..12).and_then(|status| status.parse().ok());
    let status: u16 = status.ok_or_else(|| io::Error::other(format!("no response: {text}")))?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let is_bare = status < 200 || status == 204 || status == 304;
    let body = length.or(is_bare.then_some(0));
    let body = body.ok_or_else(|| io::Error::other(format!("a response without a length: {text}")))?;
    Ok(Some(Head { status, len: end + 4, body: if is_bare { 0 } else { body } }))
}

pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Response {
    /// The text or number at a JSON pointer, such as `/data/token/access`; empty if there is none.
    pub fn at(&self, pointer: &str) -> String {
        let value: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        match value.as_ref().and_then(|value| value.pointer(pointer)) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        }
    }

    /// The same response if its status is one of success.
    pub fn good(self) -> io::Result<Response> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        Err(io::Error::other(format!("{}: {}", self.status, String::from_utf8_lossy(&self.body))))
    }
}

/// One connection, kept alive. It connects when it is first used, and again after an error.
pub struct Http {
    target: Target,
    stream: Option<Stream>,
    received: Vec<u8>,
}

impl Http {
    pub fn new(target: &Target) -> Http {
        Http { target: target.clone(), stream: None, received: Vec::new() }
    }

    /// One request with a JSON body, one response.
    pub fn ask(&mut self, method: &str, path: &str, access: &str, body: &str) -> io::Result<Response> {
        let fields = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        self.send(&request(&self.target, method, path, access, fields, body.as_bytes()))
    }

    pub fn send(&mut self, request: &[u8]) -> io::Result<Response> {
        let result = self.exchange(request);
        if result.is_err() {
            (self.stream, self.received) = (None, Vec::new());
        }
        result
    }

    fn exchange(&mut self, request: &[u8]) -> io::Result<Response> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(Stream::connect(&self.target)?),
        };
        stream.write_all(request)?;
        stream.flush()?;
        let mut buffer = vec![0; READ];
        loop {
            if let Some(head) = head(&self.received)? {
                let end = head.len + usize::try_from(head.body).map_err(io::Error::other)?;
                if self.received.len() >= end {
                    let body = self.received[head.len..end].to_vec();
                    self.received.drain(..end);
                    return Ok(Response { status: head.status, body });
                }
            }
            match stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
