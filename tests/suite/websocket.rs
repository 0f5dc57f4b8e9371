//! Both kinds of WebSocket as `protocol.md` promises them, bytes in and bytes out, against the complete server.

mod bounds;
mod clock;
mod native;
mod open;
mod pair;

use crate::support::World;
use crate::support::http::{Person, text_at};
use crate::support::socket::Frame;
use natter::server::contract::ConnId;

/// A different `client_id` for each number.
pub fn client_id(number: usize) -> String {
    format!("01ARZ3NDEKTSV4RRFF{number:08}")
}

/// The frame of a post op.
pub fn post(id: usize, to: &Person, body: &str) -> String {
    let client_id = client_id(id);
    format!(
        r#"{{"id":{id},"op":"message.post","to":"{}","client_id":"{client_id}","body":"{body}"}}"#,
        to.profile
    )
}

/// A value at a path of a JSON text.
pub fn at(text: &str, path: &str) -> String {
    text_at(&natter::base::json::parse(text.as_bytes()).unwrap_or_else(|_| panic!("not JSON: {text}")), path)
}

/// The kind of each text: its event, or `re` and its error's code, or `re ok`.
pub fn kinds(texts: &[String]) -> Vec<String> {
    let kind = |text: &String| match (at(text, "event"), at(text, "error.code"), at(text, "re")) {
        (event, ..) if event != "null" => event,
        (_, code, re) if code != "null" => format!("{re} {code}"),
        (_, _, re) => format!("{re} ok"),
    };
    texts.iter().map(kind).collect()
}

/// A native socket after its first frames.
pub fn ready(world: &mut World, person: &Person) -> ConnId {
    let conn = world.open_socket(person, "/api/v1/ws");
    assert_eq!(kinds(&world.texts(conn)), ["hello", "caught_up"]);
    conn
}

/// One masked frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | len as u8),
        len @ 126..65_536 => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0xff);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The close frame that the socket got; checks that nothing came after it.
pub fn closed(world: &mut World, conn: ConnId) -> Option<(u16, String)> {
    let frames = world.frames(conn);
    let position = frames.iter().position(|frame| matches!(frame, Frame::Close(..)))?;
    assert_eq!(position + 1, frames.len(), "nothing follows a close");
    match frames.into_iter().last() {
        Some(Frame::Close(code, reason)) => Some((code, reason)),
        _ => None,
    }
}
