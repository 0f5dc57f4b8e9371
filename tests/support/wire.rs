//! The pieces of a byte stream that the observer takes apart: chunks of a body, frames of a WebSocket.
//!
//! Invariant: an incomplete piece is `None`, and takes no byte.

/// The size line and the data of one chunk; what no size line is has no length.
pub enum Chunk<'a> {
    Incomplete,
    Malformed,
    Is { data: &'a [u8], len: usize },
}

/// The first chunk of a chunked body; the last one is empty.
pub fn chunk(bytes: &[u8]) -> Chunk<'_> {
    let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") else { return Chunk::Incomplete };
    let size = std::str::from_utf8(&bytes[..end]).ok();
    let size = size.filter(|size| !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let Some(size) = size.and_then(|size| usize::from_str_radix(size, 16).ok()) else {
        return Chunk::Malformed;
    };
    let Some(whole) = size.checked_add(end + 4) else { return Chunk::Malformed };
    match bytes.get(..whole) {
        Some(bytes) if bytes.ends_with(b"\r\n") => Chunk::Is { data: &bytes[end + 2..whole - 2], len: whole },
        Some(_) => Chunk::Malformed,
        None => Chunk::Incomplete,
    }
}

/// One frame: its first byte, its payload without the mask, its length.
pub struct Frame {
    pub first: u8,
    pub payload: Vec<u8>,
    pub len: usize,
}

impl Frame {
    pub fn is_control(&self) -> bool {
        self.first & 0x08 != 0
    }

    pub fn is_last(&self) -> bool {
        self.first & 0x80 != 0
    }
}

/// The first frame, masked or not.
pub fn frame(bytes: &[u8]) -> Option<Frame> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (len, head) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
        len => (usize::from(len), 2),
    };
    let is_masked = second & 0x80 != 0;
    let mask = if is_masked { bytes.get(head..head + 4)?.try_into().ok()? } else { [0; 4] };
    let head = if is_masked { head + 4 } else { head };
    let payload = bytes.get(head..head.checked_add(len)?)?;
    let clear = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Some(Frame { first, payload: clear, len: head + len })
}
