//! Single WebSocket frames (RFC 6455 §5.2): encodes outgoing ones, and checks the heads of incoming ones.
//!
//! An outgoing frame is encoded once for all receivers. An incoming head is checked before its payload arrives. Leaves
//! messages to tungstenite: unmasking, fragments and UTF-8. Invariant: tungstenite's parser reads each head, so two parsers
//! cannot disagree.

use std::io::Cursor;
use std::sync::Arc;

use tungstenite::Error;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

use crate::base::send_queue::{Segment, SendQueue};

/// Bytes of a close reason: what a control frame has room for after the code (RFC 6455 §5.5). A longer one is cut.
const CLOSE_REASON_MAX: usize = 123;

/// Close codes of RFC 6455 §7.4.1 that natter sends.
pub const PROTOCOL_ERROR: u16 = 1002;
pub const INVALID_UTF8: u16 = 1007;
pub const TOO_BIG: u16 = 1009;
pub const INTERNAL_ERROR: u16 = 1011;

/// Appends one text frame. `payload` is UTF-8, since the server made it.
pub fn encode_text(out: &mut Vec<u8>, payload: &[u8]) {
    encode(out, OpCode::Data(Data::Text), payload);
}

/// Appends one binary frame. The chat uses only text frames; the conformance echo needs this.
pub fn binary(out: &mut Vec<u8>, payload: &[u8]) {
    encode(out, OpCode::Data(Data::Binary), payload);
}

/// One text frame for any number of receivers: encoded once, queued by reference.
///
/// ```
/// use natter::proto::websocket::text_frame;
///
/// // Unmasked and complete: 0x81, then the length.
/// assert_eq!(*text_frame(b"Hello"), *b"\x81\x05Hello");
/// ```
pub fn text_frame(payload: &[u8]) -> Arc<[u8]> {
    let mut out = Vec::with_capacity(HEAD_MAX + payload.len());
    encode_text(&mut out, payload);
    out.into()
}

/// Queues one text frame for one receiver.
pub fn push_text(send: &mut SendQueue, payload: &[u8]) {
    push_parts(send, &[payload]);
}

/// Like [`push_text`], for a text in parts.
pub fn push_parts(send: &mut SendQueue, parts: &[&[u8]]) {
    let (head, len) = head(OpCode::Data(Data::Text), parts.iter().map(|part| part.len()).sum());
    send.push_parts(&head[..len], parts);
}

/// Like [`push_parts`], for a text whose last part is queued without a copy if it is long.
pub fn push_parts_and(send: &mut SendQueue, parts: &[&[u8]], last: Vec<u8>) {
    let len = parts.iter().map(|part| part.len()).sum::<usize>() + last.len();
    let (head, head_len) = head(OpCode::Data(Data::Text), len);
    send.push_parts(&head[..head_len], parts);
    send.push(Segment::Owned(last));
}

/// Queues an empty ping. The caller sends none after a close frame ([`super::WebSocket::is_closing`]).
pub fn ping(out: &mut SendQueue) {
    const PING: [u8; 2] = [0x89, 0];
    out.push_bytes(&PING);
}

/// Bytes of the longest frame head (RFC 6455 §5.2): 2, a length of 8, a mask of 4.
pub(super) const HEAD_MAX: usize = 14;

/// Appends one unmasked, complete frame of the server.
fn encode(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    let (head, len) = head(opcode, payload.len());
    out.reserve(len + payload.len());
    out.extend_from_slice(&head[..len]);
    out.extend_from_slice(payload);
}

/// The head of an unmasked, complete frame, and its length. Two are made for each post, and tungstenite's writer takes five times as
/// long, since it writes each field for itself.
fn head(opcode: OpCode, payload: usize) -> ([u8; HEAD_MAX], usize) {
    let mut head = [0; HEAD_MAX];
    head[0] = 0x80 | u8::from(opcode);
    let len = match payload {
        0..=125 => {
            head[1] = payload as u8;
            2
        }
        126..=0xffff => {
            head[1] = 126;
            head[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
            4
        }
        _ => {
            head[1] = 127;
            head[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
            10
        }
    };
    (head, len)
}

/// A close frame. The reason is cut to the length of a control frame, never inside a character.
pub(super) fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut end = reason.len().min(CLOSE_REASON_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let frame = CloseFrame { code: CloseCode::from(code), reason: reason[..end].into() };
    let mut out = Vec::new();
    Frame::close(Some(frame)).format(&mut out).expect("a Vec takes every byte");
    out
}

/// The close code for an error of tungstenite (RFC 6455 §7.4.1). The last row is an error of the server.
pub(super) fn close_code(error: &Error) -> u16 {
    match error {
        Error::Protocol(_) => PROTOCOL_ERROR,
        Error::Utf8(_) => INVALID_UTF8,
        Error::Capacity(_) => TOO_BIG,
        _ => INTERNAL_ERROR,
    }
}

/// A frame of the peer: its head, and how much of its payload has not arrived yet.
#[derive(Debug)]
pub(super) struct Incoming {
    header: FrameHeader,
    pub left: usize,
}

/// A piece of the payload as a separate frame: `head` comes before the next `len` payload bytes.
pub(super) struct Piece {
    head: [u8; HEAD_MAX],
    head_len: usize,
    pub len: usize,
}

impl Piece {
    pub fn head(&self) -> &[u8] {
        &self.head[..self.head_len]
    }
}

impl Incoming {
    /// Reads a head and returns its length; `None` if `bytes` end inside it, a close code if the frame is not allowed.
    /// `open` counts the bytes of the fragmented message that this frame may continue, and is updated for this frame. A
    /// message may have `message_max` bytes.
    ///
    /// tungstenite checks this too, but it finds a wrong mask, reserved bits and the length of a control frame only after
    /// the payload has arrived, and it does not check the shortest-length rule.
    pub fn begin(
        bytes: &[u8],
        open: &mut Option<usize>,
        message_max: usize,
    ) -> Result<Option<(Incoming, usize)>, u16> {
        let mut cursor = Cursor::new(bytes);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|error| close_code(&error))?;
        let Some((header, len)) = parsed else { return Ok(None) };
        let head_len = cursor.position() as usize;
        // §5.1: a client masks every frame. §5.2: reserved bits are for extensions, and there are none; a length
        // uses the fewest bytes, and the first bit of eight bytes is 0.
        let legal = header.mask.is_some()
            && !(header.rsv1 || header.rsv2 || header.rsv3)
            && head_len == header.len(len)
            && len >> 63 == 0;
        if !legal {
            return Err(PROTOCOL_ERROR);
        }
        let data = match header.opcode {
            // §5.5: control frames are short and not fragmented.
            OpCode::Control(_) if len > 125 || !header.is_final => return Err(PROTOCOL_ERROR),
            OpCode::Control(_) => return Ok(Some((Incoming { header, left: len as usize }, head_len))),
            OpCode::Data(data) => data,
        };
        let before = if data == Data::Continue { open.unwrap_or(0) } else { 0 };
        let total = usize::try_from(len).ok().and_then(|len| before.checked_add(len));
        let Some(total) = total.filter(|total| *total <= message_max) else { return Err(TOO_BIG) };
        *open = (!header.is_final).then_some(total);
        Ok(Some((Incoming { header, left: total - before }, head_len)))
    }

    /// Takes a piece of the payload, of which `available` bytes have arrived; `None` if there is nothing to take.
    ///
    /// A data frame of which only a part has arrived is passed on as fragments (§5.4 allows this for an intermediary). So
    /// bad UTF-8 fails as soon as it arrives, and memory grows with the received bytes, not with the length in a head.
    pub fn cut(&mut self, available: usize) -> Option<Piece> {
        let is_complete = available >= self.left;
        if !is_complete && (available == 0 || matches!(self.header.opcode, OpCode::Control(_))) {
            return None;
        }
        let len = self.left.min(available);
        let header = FrameHeader { is_final: self.header.is_final && is_complete, ..self.header.clone() };
        let mut piece = Piece { head: [0; HEAD_MAX], head_len: header.len(len as u64), len };
        header.format(len as u64, &mut &mut piece.head[..]).expect("the longest head has room");
        self.left -= len;
        self.header.opcode = match self.header.opcode {
            OpCode::Data(_) => OpCode::Data(Data::Continue),
            control => control,
        };
        // The mask continues where this piece ends (§5.3: byte i is masked by byte i mod 4).
        if let Some(mask) = &mut self.header.mask {
            mask.rotate_left(len % 4);
        }
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outgoing_frames_are_complete_unmasked_and_of_the_shortest_length() {
        let check = |len: usize, head: &[u8]| {
            let payload = vec![b'x'; len];
            let mut text = b"before".to_vec();
            encode_text(&mut text, &payload);
            assert_eq!(text, [b"before", head, &payload].concat(), "{len} bytes");
            assert_eq!(text[6..], *text_frame(&payload));
            let mut other = Vec::new();
            binary(&mut other, &payload);
            assert_eq!((other[0], &other[1..]), (0x82, &text[7..]));
        };
        check(0, &[0x81, 0]);
        check(125, &[0x81, 125]);
        check(126, &[0x81, 126, 0, 126]);
        check(65_535, &[0x81, 126, 255, 255]);
        check(65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        let mut out = SendQueue::new();
        ping(&mut out);
        assert_eq!(out.take_bytes(), [0x89, 0]);
    }

    #[test]
    fn a_close_reason_is_cut_between_characters() {
        let check = |reason: &str, kept: usize| {
            let frame = close(4_401, reason);
            assert_eq!(frame[..4], [0x88, kept as u8 + 2, 0x11, 0x31]);
            assert_eq!(&frame[4..], &reason.as_bytes()[..kept]);
        };
        check("", 0);
        check(&"x".repeat(123), 123);
        check(&"x".repeat(124), 123);
        check(&"é".repeat(62), 122);
        check(&format!("x{}", "é".repeat(62)), 123);
        check(&"🦀".repeat(31), 120);
    }

    #[test]
    fn a_head_is_checked_before_its_payload() {
        let check = |bytes: &[u8], expect: Result<Option<usize>, u16>| {
            for end in 0..bytes.len() {
                let part = Incoming::begin(&bytes[..end], &mut None, 1_000);
                assert!(matches!(part, Ok(None)), "{bytes:x?} up to {end}: {part:?}");
            }
            let at_once = Incoming::begin(bytes, &mut None, 1_000).map(|found| {
                found.map(|(frame, head_len)| {
                    assert_eq!(head_len, bytes.len());
                    frame.left
                })
            });
            assert_eq!(at_once, expect, "{bytes:x?}");
        };
        check(&[0x81, 0x80, 1, 2, 3, 4], Ok(Some(0)));
        check(&[0x01, 0xfd, 1, 2, 3, 4], Ok(Some(125)));
        check(&[0x82, 0xfe, 0, 126, 1, 2, 3, 4], Ok(Some(126)));
        check(&[0x82, 0xfe, 3, 232, 1, 2, 3, 4], Ok(Some(1_000)));
        check(&[0x82, 0xfe, 3, 233, 1, 2, 3, 4], Err(TOO_BIG));
        check(&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4], Err(TOO_BIG));
        check(&[0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4], Err(TOO_BIG));
        check(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], Err(PROTOCOL_ERROR));
        check(&[0x81, 0xfe, 0, 125, 1, 2, 3, 4], Err(PROTOCOL_ERROR)); // 125 in two bytes
        check(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 200, 1, 2, 3, 4], Err(PROTOCOL_ERROR)); // 200 in eight
        check(&[0x81, 0x05], Err(PROTOCOL_ERROR)); // not masked
        check(&[0xc1, 0x80, 1, 2, 3, 4], Err(PROTOCOL_ERROR)); // RSV1
        check(&[0xa1, 0x80, 1, 2, 3, 4], Err(PROTOCOL_ERROR)); // RSV2
        check(&[0x91, 0x80, 1, 2, 3, 4], Err(PROTOCOL_ERROR)); // RSV3
        check(&[0x89, 0xfd, 1, 2, 3, 4], Ok(Some(125)));
        check(&[0x89, 0xfe, 0, 126, 1, 2, 3, 4], Err(PROTOCOL_ERROR)); // a long ping
        check(&[0x08, 0x80, 1, 2, 3, 4], Err(PROTOCOL_ERROR)); // half a close
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            check(&[0x80 | opcode, 0x80, 1, 2, 3, 4], Err(PROTOCOL_ERROR));
        }
    }

    #[test]
    fn fragments_count_together() {
        let mut open = None;
        let mut begin = |fin: bool, opcode: u8, len: u8| {
            let bytes = [opcode | if fin { 0x80 } else { 0 }, 0x80 | len, 0, 0, 0, 0];
            Incoming::begin(&bytes, &mut open, 200).map(|found| found.map(|(frame, _)| frame.left))
        };
        assert_eq!(begin(false, 1, 100), Ok(Some(100)));
        assert_eq!(begin(true, 9, 125), Ok(Some(125)), "a ping between fragments does not count");
        assert_eq!(begin(true, 0, 101), Err(TOO_BIG));
        assert_eq!(begin(true, 0, 100), Ok(Some(100)));
        assert_eq!(begin(true, 1, 125), Ok(Some(125)), "the next message counts from 0");
    }
}
