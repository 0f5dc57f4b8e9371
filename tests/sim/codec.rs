//! The client's codec: writes requests and masked frames, reads the server's frames, chunks and event blocks.
//!
//! Invariant: an incomplete message stays in its buffer, so that bytes may come one by one.

use natter::base::crypto::base64url_decode;
use natter::base::id::Id;
use natter::base::json::{self, Value};

use super::random::Rng;

pub fn request(method: &str, target: &str, fields: &[(&str, &str)], body: Option<&str>) -> Vec<u8> {
    crate::support::http::request(method, target, fields, body)
}

/// The fields of an upgrade to a WebSocket.
pub const UPGRADE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A client's frame: masked, unfragmented.
pub fn frame(rng: &mut Rng, opcode: u8, payload: &[u8]) -> Vec<u8> {
    part(rng, 0x80 | opcode, payload)
}

/// A text message, sometimes in fragments.
pub fn text(rng: &mut Rng, payload: &str) -> Vec<u8> {
    let bytes = payload.as_bytes();
    if !rng.chance(100) || bytes.len() < 2 {
        return frame(rng, TEXT, bytes);
    }
    let cut = rng.between(0, bytes.len());
    let mut out = part(rng, TEXT, &bytes[..cut]);
    if rng.chance(300) {
        out.extend(frame(rng, PING, b"between fragments"));
    }
    out.extend(part(rng, 0x80, &bytes[cut..]));
    out
}

fn part(rng: &mut Rng, first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = (rng.next() as u32).to_be_bytes();
    let mut out = vec![first];
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    out
}

/// Takes one complete frame of the server from the front of `bytes`: opcode and payload.
pub fn take_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(first & 0x70, 0, "a reserved bit is set");
    assert_eq!(second & 0x80, 0, "the server masks nothing");
    assert_ne!(first & 0x80, 0, "the server sends unfragmented frames");
    let (len, head) = match second {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize, 10),
        len => (usize::from(len), 2),
    };
    let payload = bytes.get(head..head + len)?.to_vec();
    bytes.drain(..head + len);
    Some((first & 0x0f, payload))
}

/// Takes one complete chunk of a chunked body from the front of `bytes`; the last one is empty.
pub fn take_chunk(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = bytes.windows(2).position(|window| window == b"\r\n")?;
    let size = std::str::from_utf8(&bytes[..end]).expect("a size in ASCII");
    let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("the size of a chunk: {size:?}"));
    let data = bytes.get(end + 2..end + 2 + size)?.to_vec();
    assert_eq!(bytes.get(end + 2 + size..end + 4 + size)?, b"\r\n", "the end of a chunk");
    bytes.drain(..end + 4 + size);
    Some(data)
}

/// Whether the response at the front of `bytes` has a complete head and a chunked body.
pub fn is_chunked(bytes: &[u8]) -> bool {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let chunked = b"\r\ntransfer-encoding: chunked";
    end.is_some_and(|end| {
        bytes[..end].to_ascii_lowercase().windows(chunked.len()).any(|part| part == chunked)
    })
}

/// Takes one complete chunked response from the front of `bytes`: its body.
pub fn take_chunked(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    // Bytes may come one by one: the chunks are read once, with the last one.
    if !bytes.windows(7).any(|window| window == b"\r\n0\r\n\r\n") {
        return None;
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (mut rest, mut body) = (bytes[end + 4..].to_vec(), Vec::new());
    loop {
        let chunk = take_chunk(&mut rest)?;
        if chunk.is_empty() {
            *bytes = rest;
            return Some(body);
        }
        body.extend(chunk);
    }
}

/// The fields of one block of an event stream.
#[derive(Debug, Default)]
pub struct Block {
    pub id: Option<String>,
    pub event: Option<String>,
    pub data: Option<String>,
}

/// Takes one complete block from the front of an event stream.
pub fn take_block(bytes: &mut Vec<u8>) -> Option<Block> {
    let end = bytes.windows(2).position(|window| window == b"\n\n")?;
    let text: Vec<u8> = bytes.drain(..end + 2).take(end).collect();
    let text = String::from_utf8(text).expect("an event stream is UTF-8");
    let mut block = Block::default();
    for line in text.split('\n') {
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("a line without a name: {line:?}"));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        let field = match name {
            "id" => &mut block.id,
            "event" => &mut block.event,
            "data" => &mut block.data,
            "" => continue,
            _ => panic!("an unknown line: {line:?}"),
        };
        assert!(field.replace(value).is_none(), "{name} twice in {text:?}");
    }
    Some(block)
}

/// The value at a path of member names.
pub fn at<'v, 'a>(value: &'v Value<'a>, path: &str) -> Option<&'v Value<'a>> {
    path.split('.').try_fold(value, |value, name| value.get(name))
}

/// An id of the kind that the caller compares it with.
pub fn id_at<K>(value: &Value<'_>, path: &str) -> Option<Id<K>> {
    Id::parse(&text_at(value, path)?)
}

pub fn text_at(value: &Value<'_>, path: &str) -> Option<String> {
    at(value, path).and_then(Value::as_str).map(str::to_owned)
}

pub fn number_at(value: &Value<'_>, path: &str) -> Option<u64> {
    at(value, path).and_then(Value::as_i64).and_then(|number| u64::try_from(number).ok())
}

/// The claims that a client may read in its own access token: the session, the expiry (Unix s), the epoch.
pub fn claims(access: &str) -> (String, u64, String) {
    let payload = access.split('.').nth(1).expect("a token has three parts");
    let bytes = base64url_decode(payload).expect("base64url");
    let value = json::parse(&bytes).expect("claims are JSON");
    let text = |name| text_at(&value, name).expect("a claim");
    (text("sid"), number_at(&value, "exp").expect("exp"), text("epoch"))
}
