//! One connection under load: its requests under way, and what comes back.
//!
//! Owns the framing of both wires, WebSocket and HTTP/1.1. Leaves bytes to `line` and their meaning to the scenario. It reads only the
//! beginning of an answer, so that the tool measures the server.
//! Invariant: an answer belongs to the request with its number; those of HTTP come in order.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::Instant;

use mio::{Registry, Token};

use super::http::{self, Head};
use super::line::{Buffers, Line, Target};

/// The number of the first request. All numbers have ten digits, so that a request can be a template.
pub const FIRST: u64 = 1_000_000_000;
/// A longer body of HTTP is counted and not kept.
const BODY_KEPT: u64 = 65_536;
/// A text frame, and the mark of a masked one.
const TEXT: u8 = 0x81;
const MASKED: u8 = 0x80;
/// A length of at least this is written in two bytes more; the shortest form is the only valid one.
const LONG: usize = 126;

/// A request that is not answered.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// When it had to be sent: latency is measured from here.
    pub due: Instant,
    /// When it was sent.
    pub sent: Instant,
    pub kind: usize,
    /// What the scenario knows it by.
    pub tag: u32,
}

/// What a connection has received.
pub enum Input<'a> {
    /// The answer to a request, whether it is of success, and its body or frame as far as it is kept.
    Answer(Pending, bool, &'a [u8]),
    /// An event of a WebSocket.
    Event(&'a [u8]),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    /// The upgrade is not answered.
    Opening,
    Socket,
    Http,
    /// Bytes of a body of HTTP that are not kept, and whether its answer is of success.
    Body(u64, bool),
}

pub struct Conn {
    line: Line,
    wire: Wire,
    /// To be written, from `written` on.
    out: Vec<u8>,
    written: usize,
    /// Read, and not yet complete.
    inbox: Vec<u8>,
    /// By their numbers, the first of which is `first`.
    pending: VecDeque<Option<Pending>>,
    first: u64,
    waiting: usize,
    /// Bytes of bodies that were not kept.
    pub discarded: u64,
    pub is_open: bool,
}

impl Conn {
    /// A native WebSocket, from a cursor or from now on. It is usable when its event `caught_up` has come.
    pub fn socket(target: &Target, access: &str, cursor: Option<&str>) -> io::Result<Conn> {
        let query = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let path = format!("/api/v1/ws{query}");
        let out = http::request(target, "GET", &path, access, upgrade, b"");
        Ok(Conn { out, ..Conn::new(Line::connect(target)?, Wire::Opening) })
    }

    /// A connection for requests of HTTP.
    pub fn http(target: &Target) -> io::Result<Conn> {
        Ok(Conn::new(Line::connect(target)?, Wire::Http))
    }

    fn new(line: Line, wire: Wire) -> Conn {
        Conn {
            line,
            wire,
            out: Vec::new(),
            written: 0,
            inbox: Vec::new(),
            pending: VecDeque::new(),
            first: FIRST,
            waiting: 0,
            discarded: 0,
            is_open: true,
        }
    }

    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.line.register(registry, token)
    }

    /// How many requests are not answered.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Its requests will not be answered. Returns how many there were.
    pub fn give_up(&mut self) -> usize {
        self.first += self.pending.len() as u64;
        self.pending.clear();
        std::mem::take(&mut self.waiting)
    }

    /// The number of the next request.
    pub fn next_number(&self) -> u64 {
        self.first + self.pending.len() as u64
    }

    /// Appends a request as it is; `flush` writes it.
    pub fn send(&mut self, request: &[u8], pending: Pending) {
        self.out.extend_from_slice(request);
        self.pending.push_back(Some(pending));
        self.waiting += 1;
    }

    /// Appends a request as a masked text frame.
    pub fn say(&mut self, text: &[u8], mask: u32, pending: Pending) {
        let len = u16::try_from(text.len()).expect("a request of a WebSocket is short");
        let mask = mask.to_be_bytes();
        if text.len() < LONG {
            self.out.extend_from_slice(&[TEXT, MASKED | len as u8]);
        } else {
            self.out.extend_from_slice(&[TEXT, MASKED | LONG as u8]);
            self.out.extend_from_slice(&len.to_be_bytes());
        }
        self.out.extend_from_slice(&mask);
        let start = self.out.len();
        self.out.extend_from_slice(text);
        for word in self.out[start..].chunks_mut(mask.len()) {
            word.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        }
        self.pending.push_back(Some(pending));
        self.waiting += 1;
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.written += self.line.write(&self.out[self.written..])?;
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        Ok(())
    }

    /// Reads what is there, and gives it to `take` in its order.
    pub fn read(&mut self, buffers: &mut Buffers, take: &mut dyn FnMut(Input<'_>)) -> io::Result<()> {
        loop {
            let (bytes, has_more) = match self.line.read(buffers) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let mut state = Reading {
                wire: &mut self.wire,
                out: &mut self.out,
                pending: &mut self.pending,
                first: &mut self.first,
                waiting: &mut self.waiting,
                discarded: &mut self.discarded,
            };
            if self.inbox.is_empty() {
                let taken = state.take(bytes, take)?;
                self.inbox.extend_from_slice(&bytes[taken..]);
            } else {
                self.inbox.extend_from_slice(bytes);
                let taken = state.take(&self.inbox, take)?;
                self.inbox.drain(..taken);
            }
            if !has_more {
                return Ok(()); // more would be another event
            }
        }
    }
}

/// The parts of a connection that input changes, apart from the input.
struct Reading<'a> {
    wire: &'a mut Wire,
    out: &'a mut Vec<u8>,
    pending: &'a mut VecDeque<Option<Pending>>,
    first: &'a mut u64,
    waiting: &'a mut usize,
    discarded: &'a mut u64,
}

impl Reading<'_> {
    /// Takes everything that is complete; returns its length.
    fn take(&mut self, bytes: &[u8], take: &mut dyn FnMut(Input<'_>)) -> io::Result<usize> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let taken = match *self.wire {
                Wire::Opening => self.upgraded(rest)?,
                Wire::Socket => self.frame(rest, take)?,
                Wire::Http => self.response(rest, take)?,
                Wire::Body(left, is_good) => self.body(rest, left, is_good, take),
            };
            match taken {
                Some(len) => at += len,
                None => return Ok(at),
            }
        }
    }

    fn upgraded(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let Some(Head { status, len, .. }) = http::head(bytes)? else { return Ok(None) };
        if status != 101 {
            return Err(io::Error::other(format!("the upgrade is refused with {status}")));
        }
        *self.wire = Wire::Socket;
        Ok(Some(len))
    }

    fn frame(&mut self, bytes: &[u8], take: &mut dyn FnMut(Input<'_>)) -> io::Result<Option<usize>> {
        let Some((start, end)) = frame(bytes) else { return Ok(None) };
        let payload = &bytes[start..end];
        match bytes[0] {
            0x81 if payload.starts_with(b"{\"re\":") => {
                let (number, rest) = number(&payload[6..]);
                let pending = self.answered(number).ok_or_else(|| {
                    io::Error::other(format!("no such request: {}", String::from_utf8_lossy(payload)))
                })?;
                take(Input::Answer(pending, rest.starts_with(b",\"ok\":"), payload));
            }
            0x81 => take(Input::Event(payload)),
            0x88 => {
                let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                return Err(io::Error::other(format!("the server closes the socket with {code}")));
            }
            0x89 => {
                self.out.extend_from_slice(&[0x8a, 0x80 | payload.len() as u8, 0, 0, 0, 0]);
                self.out.extend_from_slice(payload);
            }
            _ => {}
        }
        Ok(Some(end))
    }

    fn response(&mut self, bytes: &[u8], take: &mut dyn FnMut(Input<'_>)) -> io::Result<Option<usize>> {
        let Some(Head { status, len, body }) = http::head(bytes)? else { return Ok(None) };
        let is_good = (200..300).contains(&status);
        if body > BODY_KEPT {
            *self.wire = Wire::Body(body, is_good);
            return Ok(Some(len));
        }
        let end = len + body as usize;
        if bytes.len() < end {
            return Ok(None);
        }
        let pending =
            self.answered(*self.first).ok_or_else(|| io::Error::other("a response to no request"))?;
        take(Input::Answer(pending, is_good, &bytes[len..end]));
        Ok(Some(end))
    }

    fn body(
        &mut self,
        bytes: &[u8],
        left: u64,
        is_good: bool,
        take: &mut dyn FnMut(Input<'_>),
    ) -> Option<usize> {
        let count = left.min(bytes.len() as u64);
        *self.discarded += count;
        *self.wire = Wire::Body(left - count, is_good);
        if left == count {
            *self.wire = Wire::Http;
            let pending = self.answered(*self.first)?;
            take(Input::Answer(pending, is_good, b""));
        }
        (count > 0).then_some(count as usize)
    }

    fn answered(&mut self, number: u64) -> Option<Pending> {
        let at = usize::try_from(number.checked_sub(*self.first)?).ok()?;
        let pending = self.pending.get_mut(at)?.take()?;
        *self.waiting -= 1;
        while let Some(None) = self.pending.front() {
            self.pending.pop_front();
            *self.first += 1;
        }
        Some(pending)
    }
}

/// Where the payload of the first frame begins and ends, if the frame is complete.
pub fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (start, len) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        len => (2, usize::from(len)),
    };
    (bytes.len() >= start + len).then_some((start, start + len))
}

/// The decimal number at the beginning, and what follows.
pub fn number(bytes: &[u8]) -> (u64, &[u8]) {
    let digits = bytes.iter().take(19).take_while(|byte| byte.is_ascii_digit()).count();
    let value = bytes[..digits].iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
    (value, &bytes[digits..])
}
