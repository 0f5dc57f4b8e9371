//! The server side of a WebSocket (RFC 6455), sans-IO: bytes in, messages out.
//!
//! Pongs and close frames go to the send queue of the stream. tungstenite unmasks, joins fragments and checks UTF-8 and
//! close codes, over a pipe in memory. It has no timer and no socket, and closes by itself only after a protocol error.
//!
//! Invariant: tungstenite gets only complete frames, one at a time, so it is always at a frame boundary. Its context (which
//! cannot be shrunk) exists only from the first byte of a message to its last: between messages a WebSocket owns no memory
//! except its own value.
//!
//! ```text
//! Open ── close() ──→ Closing ── the peer's close ──→ Ended
//!   └──── the peer's close, or a protocol error ───────↗
//! ```

mod frame;
mod handshake;

use std::io::{self, Read, Write};
use std::mem;
use std::ops::Deref;

use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Bytes, Error, Message, Utf8Bytes};

use crate::base::send_queue::SendQueue;

use frame::Piece;
pub use frame::{
    INTERNAL_ERROR, INVALID_UTF8, PROTOCOL_ERROR, TOO_BIG, binary, ping, push_parts, push_parts_and,
    push_text, text_frame,
};
pub use handshake::{Accept, PROTOCOL, UpgradeError, VERSION, accept_key, check_upgrade, is_wanted};

/// Bytes the WebSocket decoder reads at once: allocated (and zeroed) when a message begins, given back when
/// none is open. Longer frames get a buffer of their own length, so this bounds the cost of small ones only.
const WS_READ_BUFFER: usize = 1_024;
/// Bytes the WebSocket decoder may hold to send: one pong or one answer to a close, at most 127, which leave
/// at once. Above it: the decoder reports a full buffer, and the stream fails with 1011.
const WS_WRITE_BUFFER_MAX: usize = 256;
/// Bytes waiting in a send queue from which on only the newest ping is answered, when the queue has drained
/// (RFC 6455 §5.5.3 allows it): a flood of pings by a peer that does not read costs one pong.
const PONG_QUEUE_MAX: usize = 65_536;

/// What the peer sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    Text(Text),
    Binary(Binary),
    /// The pong is queued, or will be queued when the queue has drained.
    Ping,
    Pong,
    /// The peer closes, or answers our close; the answer, if one is needed, is queued. The code is that of the peer, 1002
    /// for a code that is not allowed (§7.4), `None` if there is none. Nothing comes after it.
    Close {
        code: Option<u16>,
    },
    /// The peer violated the protocol (1002), sent text that is not UTF-8 (1007) or a message that is too long (1009); 1011
    /// is an error of the server. The close frame is queued. Nothing comes after it: flush, shut down the write side, and
    /// discard the remaining input (§7.1.7).
    Failed {
        code: u16,
    },
}

/// A text message: a `str` in the buffer in which it arrived. Borrow from it and drop it: while it exists, it keeps the
/// complete buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Text(Utf8Bytes);

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_str()
    }
}

/// A binary message in the buffer in which it arrived, like [`Text`].
#[derive(Debug, PartialEq, Eq)]
pub struct Binary(Bytes);

impl Deref for Binary {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Our close frame is queued. It waits only for the close frame of the peer and drops all other input.
    Closing,
    /// No more input is read.
    Ended,
}

/// The server side of one WebSocket.
///
/// ```
/// use natter::base::send_queue::SendQueue;
/// use natter::proto::websocket::{Incoming, WebSocket};
///
/// let (mut socket, mut out) = (WebSocket::new(65_536), SendQueue::new());
/// // A masked text frame of a client: "hi" under the mask 1, 2, 3, 4.
/// socket.feed(&[0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]);
/// let Some(Incoming::Text(text)) = socket.next(&mut out) else { panic!("a text") };
/// assert_eq!(&*text, "hi");
/// // An unmasked one is a protocol error: the close frame is queued.
/// socket.feed(&[0x81, 0x02, b'h', b'i']);
/// assert_eq!(socket.next(&mut out), Some(Incoming::Failed { code: 1002 }));
/// assert_eq!(out.take_bytes()[..4], [0x88, 0x02, 0x03, 0xea]);
/// ```
#[derive(Debug)]
pub struct WebSocket {
    state: State,
    /// Received and not yet passed to tungstenite, from `start` on.
    input: Vec<u8>,
    start: usize,
    /// `next` has consumed all it could from `input`: the rest is the beginning of a head or of a control frame.
    starved: bool,
    /// The frame whose payload is being passed on.
    frame: Option<frame::Incoming>,
    /// Bytes of a fragmented message so far.
    open: Option<usize>,
    /// Exists while it has a part of a message, and while there is input.
    context: Option<Box<WebSocketContext>>,
    /// Payload bytes of the incomplete message that the context has.
    held: u32,
    /// The newest pong that was not queued because the queue was too long.
    pong: Vec<u8>,
    message_max: usize,
}

impl WebSocket {
    /// A message may have up to `message_max` bytes.
    pub fn new(message_max: usize) -> WebSocket {
        WebSocket {
            state: State::Open,
            input: Vec::new(),
            start: 0,
            starved: true,
            frame: None,
            open: None,
            context: None,
            held: 0,
            pong: Vec::new(),
            message_max,
        }
    }

    /// Keeps `bytes` for [`WebSocket::next`]. The caller bounds them: it reads the socket only while
    /// [`WebSocket::has_input`] is false, and then at most a head or a control frame (139 bytes) is kept.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.state == State::Ended || bytes.is_empty() {
            return;
        }
        self.input.drain(..mem::take(&mut self.start));
        self.input.extend_from_slice(bytes);
        self.starved = false;
    }

    /// Whether [`WebSocket::next`] may continue without new bytes: true if the caller stopped before it returned `None`.
    pub fn has_input(&self) -> bool {
        !self.starved
    }

    /// Bytes that it keeps of messages that are not complete, or not parsed.
    pub fn memory(&self) -> usize {
        self.input.capacity() + self.held as usize
    }

    /// Whether our close frame is queued or sent: nothing may be queued after it.
    pub fn is_closing(&self) -> bool {
        self.state != State::Open
    }

    /// Queues a close frame, once; the reason is cut to 123 bytes. `next` then waits only for the close frame of the peer.
    pub fn close(&mut self, out: &mut SendQueue, code: u16, reason: &str) {
        if self.state == State::Open {
            out.push_bytes(&frame::close(code, reason));
            self.state = State::Closing;
            self.pong = Vec::new();
        }
    }

    /// The next input of the peer. Call it until `None`, or stop earlier: input that is not parsed is kept.
    pub fn next(&mut self, out: &mut SendQueue) -> Option<Incoming> {
        self.release_pong(out);
        loop {
            let piece = match self.next_piece() {
                Ok(Some(piece)) => piece,
                Ok(None) => {
                    self.starve();
                    return None;
                }
                Err(code) => return Some(self.fail(out, code)),
            };
            let message = match self.hand_over(&piece) {
                Ok(message) => message,
                // The piece is consumed, and the message continues.
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Some(self.fail(out, frame::close_code(&error))),
            };
            let incoming = match message {
                Message::Close(close) => {
                    let answer = self.answer();
                    if self.state == State::Open {
                        out.push_bytes(&answer);
                    }
                    self.end();
                    return Some(Incoming::Close { code: close.map(|close| close.code.into()) });
                }
                Message::Ping(_) => {
                    let answer = self.answer();
                    if self.state == State::Open {
                        self.pong = answer;
                        self.release_pong(out);
                    }
                    Incoming::Ping
                }
                Message::Text(text) => {
                    self.held = 0;
                    Incoming::Text(Text(text))
                }
                Message::Binary(bytes) => {
                    self.held = 0;
                    Incoming::Binary(Binary(bytes))
                }
                Message::Pong(_) => Incoming::Pong,
                // tungstenite documents that it never returns this.
                Message::Frame(_) => return Some(self.fail(out, INTERNAL_ERROR)),
            };
            if self.state == State::Open {
                return Some(incoming);
            }
        }
    }

    /// The next piece of input for tungstenite, or the close code if the input is not allowed.
    fn next_piece(&mut self) -> Result<Option<Piece>, u16> {
        let unread = &self.input[self.start..];
        if self.frame.is_none() {
            match frame::Incoming::begin(unread, &mut self.open, self.message_max)? {
                None => return Ok(None),
                Some((frame, head_len)) => {
                    self.frame = Some(frame);
                    self.start += head_len;
                }
            }
        }
        let available = self.input.len() - self.start;
        Ok(self.frame.as_mut().and_then(|frame| frame.cut(available)))
    }

    /// Lets tungstenite read `piece` and no byte after it.
    fn hand_over(&mut self, piece: &Piece) -> Result<Message, Error> {
        let end = self.start + piece.len;
        let mut pipe = Pipe { head: piece.head(), body: &self.input[self.start..end], written: Vec::new() };
        self.start = end;
        self.held = self.held.saturating_add(u32::try_from(piece.len).unwrap_or(u32::MAX));
        self.frame.take_if(|frame| frame.left == 0);
        let message_max = self.message_max;
        self.context.get_or_insert_with(|| Box::new(new_context(message_max))).read(&mut pipe)
    }

    /// The pong or the close frame with which tungstenite answers the last input.
    fn answer(&mut self) -> Vec<u8> {
        let mut pipe = Pipe { head: &[], body: &[], written: Vec::new() };
        if let Some(context) = &mut self.context {
            // After a close it writes, and reports the end of the connection as an error, which the state has already.
            let _done = context.flush(&mut pipe);
        }
        pipe.written
    }

    /// RFC 6455 §5.5.3: of several pings only the newest needs an answer. While the peer reads, every ping is answered.
    fn release_pong(&mut self, out: &mut SendQueue) {
        if !self.pong.is_empty() && out.memory() < PONG_QUEUE_MAX {
            out.push_bytes(&mem::take(&mut self.pong));
        }
    }

    /// More input is needed: frees all memory that the rest does not need.
    fn starve(&mut self) {
        self.starved = true;
        if self.start > 0 {
            self.input = self.input[self.start..].to_vec();
            self.start = 0;
        }
        if self.frame.is_none() && self.open.is_none() {
            self.context = None;
            self.held = 0;
        }
    }

    fn fail(&mut self, out: &mut SendQueue, code: u16) -> Incoming {
        self.close(out, code, "");
        self.end();
        Incoming::Failed { code }
    }

    fn end(&mut self) {
        *self = WebSocket { state: State::Ended, ..WebSocket::new(self.message_max) };
    }
}

/// Sets all limits of tungstenite: its defaults are for programs with few connections.
fn new_context(message_max: usize) -> WebSocketContext {
    let config = WebSocketConfig::default()
        .read_buffer_size(WS_READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WS_WRITE_BUFFER_MAX)
        .max_message_size(Some(message_max))
        .max_frame_size(Some(message_max));
    WebSocketContext::new(Role::Server, Some(config))
}

/// The stream for tungstenite: one piece of one frame to read, and a buffer for the bytes that it writes.
struct Pipe<'a> {
    head: &'a [u8],
    body: &'a [u8],
    written: Vec<u8>,
}

impl Read for Pipe<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // `Ok(0)` would mean the end of the connection.
        match self.head.read(buf)? {
            0 if self.body.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            from_head => Ok(from_head + self.body.read(&mut buf[from_head..])?),
        }
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.written.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
