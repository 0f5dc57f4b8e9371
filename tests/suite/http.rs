//! HTTP/1.1 as `protocol.md` promises it, bytes in and bytes out, against the complete server.
//!
//! Each case of a table is played at once, split at every byte, byte by byte, and pipelined twice: the result is the
//! same.

mod clock;
mod close_reasons;
mod content;
mod cors;
mod framing;
mod metrics;
mod order;
mod rates;

use crate::support::World;
use crate::support::http::{Response, responses};

/// What happens to the connection afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Keeps,
    Closes,
}

/// Sends the pieces one after the other on a new connection; returns the responses, and whether the server closed it.
pub fn play(world: &mut World, pieces: &[&[u8]]) -> (Vec<Response>, Then) {
    let conn = world.connect();
    for piece in pieces {
        if !world.is_closed(conn) {
            world.send(conn, piece);
        }
    }
    let mut bytes = world.take(conn);
    let is_head = pieces.concat().starts_with(b"HEAD ");
    let all = responses(&mut bytes, is_head);
    assert!(bytes.is_empty(), "half a response: {:?}", String::from_utf8_lossy(&bytes));
    let then = if world.is_closed(conn) { Then::Closes } else { Then::Keeps };
    world.reset(conn);
    (all, then)
}

/// A response without its random parts.
fn without_random_parts(mut response: Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    response.fields.retain(|(name, _)| name != "X-Request-Id");
    (response.status, response.fields, response.body)
}

/// Plays one request in every way and returns its one response.
pub fn check(world: &mut World, input: impl AsRef<[u8]>, status: u16, code: &str, then: Then) -> Response {
    let input = input.as_ref();
    let name = String::from_utf8_lossy(&input[..input.len().min(300)]).into_owned();
    let (mut complete, ended) = play(world, &[input]);
    assert_eq!(complete.len(), 1, "{name:?}: {complete:?}");
    let response = complete.remove(0);
    let is_head = input.starts_with(b"HEAD ");
    let found = if response.status >= 400 && !is_head { response.code() } else { String::new() };
    assert_eq!((response.status, found.as_str(), ended), (status, code, then), "{name:?}");
    assert_eq!(response.field("Connection") == Some("close"), then == Then::Closes, "{name:?}");
    assert_basics(&response, &name);

    let expect = (vec![without_random_parts(response.clone())], then);
    let same = |world: &mut World, pieces: &[&[u8]], how: &str| {
        let (all, ended) = play(world, pieces);
        let all: Vec<_> = all.into_iter().map(without_random_parts).collect();
        assert_eq!((all, ended), expect, "{name:?} {how}");
    };
    let step = match input.len() {
        0..400 => 1,
        400..20_000 => 997,
        _ => 9_973,
    };
    for at in (1..input.len()).step_by(step) {
        same(world, &[&input[..at], &input[at..]], &format!("split at {at}"));
    }
    if input.len() < 2_000 {
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        same(world, &bytes, "byte by byte");
    }
    let (twice, ended) = play(world, &[&[input, input].concat()]);
    let count = if then == Then::Keeps { 2 } else { 1 };
    let twice: Vec<_> = twice.into_iter().map(without_random_parts).collect();
    assert_eq!((twice, ended), (vec![without_random_parts(response.clone()); count], then), "{name:?} twice");
    response
}

/// Checks the header fields that every response has.
fn assert_basics(response: &Response, name: &str) {
    let one = |field: &str| {
        let mut all = response.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(field));
        let value = all.next().unwrap_or_else(|| panic!("{name:?} has no {field}")).1.clone();
        assert!(all.next().is_none(), "{name:?} has two {field}");
        value
    };
    assert_eq!(one("Date"), "Sun, 22 Nov 2026 13:03:54 GMT");
    let id = one("X-Request-Id");
    assert!(
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    );
    if response.status >= 400 {
        assert_eq!(one("Content-Type"), "application/problem+json", "{name:?}");
        assert_eq!(one("Content-Language"), "en", "{name:?}");
        assert_eq!(response.field("WWW-Authenticate").is_some(), response.status == 401, "{name:?}");
        assert_eq!(response.field("Allow").is_some(), response.status == 405, "{name:?}");
    }
    if response.status >= 400 && !response.body.is_empty() {
        assert_eq!(response.at("status"), response.status.to_string());
        assert_eq!(response.at("type"), "about:blank");
        assert_eq!(response.at("retry") == "true", response.field("Retry-After").is_some(), "{name:?}");
    }
}
