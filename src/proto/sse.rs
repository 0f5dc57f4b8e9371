//! Writes server-sent events (WHATWG HTML §9.2).
//!
//! Owns the lines of one event; leaves the meaning of an event to the server. Invariant: no value can end a line and forge
//! another one.

/// Fields in the head of a stream. `no-store` prevents caching; `X-Accel-Buffering` prevents proxies from buffering events.
pub const HEAD_FIELDS: [(&str, &str); 3] =
    [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store"), ("X-Accel-Buffering", "no")];

/// Appends one event. The line of an empty `id` or `event` is left out (an empty `id:` would make the client forget its
/// cursor); line breaks and NUL are removed from both. Each line of `data` becomes a line of the event, and the client joins
/// them with LF.
///
/// ```
/// let mut out = Vec::new();
/// natter::proto::sse::event(&mut out, "k3:7", "message.posted", b"{}");
/// assert_eq!(out, b"id: k3:7\nevent: message.posted\ndata: {}\n\n");
/// ```
pub fn event(out: &mut Vec<u8>, id: &str, event: &str, data: &[u8]) {
    out.reserve(id.len() + event.len() + data.len() + "id: \nevent: \ndata: \n\n".len());
    field(out, b"id: ", id);
    field(out, b"event: ", event);
    let mut rest = data;
    loop {
        let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&rest[..end]);
        out.push(b'\n');
        rest = match &rest[end..] {
            [] => break,
            [b'\r', b'\n', following @ ..] | [_, following @ ..] => following,
        };
    }
    out.push(b'\n');
}

/// Appends an empty comment: it keeps the connection alive, and the client ignores it.
pub fn comment(out: &mut Vec<u8>) {
    out.extend_from_slice(b":\n\n");
}

/// Appends the time that a client waits before it connects again.
pub fn retry(out: &mut Vec<u8>, ms: u64) {
    out.extend_from_slice(format!("retry: {ms}\n\n").as_bytes());
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &str) {
    if !value.is_empty() {
        out.extend_from_slice(name);
        out.extend(value.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_forge_a_line() {
        let check = |id, name, data: &str, expect: &str| {
            let mut out = b":\n\n".to_vec();
            event(&mut out, id, name, data.as_bytes());
            assert_eq!(String::from_utf8_lossy(&out[3..]), expect);
        };
        check("k3:7", "message.posted", "{}", "id: k3:7\nevent: message.posted\ndata: {}\n\n");
        check("", "", "x", "data: x\n\n");
        check("1", "", "", "id: 1\ndata: \n\n");
        check("1\n\nid: 2", "a\rb\0", "x", "id: 1id: 2\nevent: ab\ndata: x\n\n");
        check("", "", "a\nb\r\nc\rd", "data: a\ndata: b\ndata: c\ndata: d\n\n");
        check("", "", "a\n\nevent: forged", "data: a\ndata: \ndata: event: forged\n\n");
        check("", "", "a\n", "data: a\ndata: \n\n");
        check("", "", "\n\r", "data: \ndata: \ndata: \n\n");
        check("", "", " مرحبا\u{2028}", "data:  مرحبا\u{2028}\n\n");
    }

    #[test]
    fn a_comment_and_a_retry_are_not_events() {
        let mut out = Vec::new();
        comment(&mut out);
        retry(&mut out, 2_500);
        assert_eq!(out, b":\n\nretry: 2500\n\n");
    }
}
