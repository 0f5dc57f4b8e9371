//! An encrypted channel between two nodes of a cluster, over one connection.
//!
//! Owns the keys of a connection and its frames. Leaves the socket to `work`, and what a frame says to `proto::copies`.
//!
//! ```text
//! each side first:  version: 1 byte | life: 16 | number: 8        in clear
//! then frames:      length: 4, big-endian | AES-256-GCM of the text | tag: 16
//! ```
//!
//! A direction has a key of its own: HMAC-SHA-256, under the key of the cluster, of a label and both first messages. A node never repeats
//! the life and number of its first message. So what was recorded of one connection opens on no other, without a clock: one of the two
//! first messages is another. The nonce is the number of the frame, so that no frame can be left out, repeated or moved.
//! Invariant: what [`Channel::open`] returns was sealed by a node with the same key, for this connection, as its next frame.

use std::fmt;

use super::crypto::aes_256_gcm::{AeadKey, TAG_BYTES};
use super::seal::{SealKey, nonce};

/// The version of the form above.
const VERSION: u8 = 1;
const LIFE_BYTES: usize = 16;
const NUMBER_BYTES: usize = 8;
/// Bytes of the first message of each side.
pub const HELLO_BYTES: usize = 1 + LIFE_BYTES + NUMBER_BYTES;
/// Bytes of the longest text of a frame.
pub const FRAME_TEXT_MAX: usize = 65_536;
/// Bytes before each sealed text.
pub const LENGTH_BYTES: usize = 4;

/// The first message of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello([u8; HELLO_BYTES]);

impl Hello {
    /// `life` is of one process, which uses each number once.
    pub fn new(life: u128, number: u64) -> Hello {
        let mut bytes = [VERSION; HELLO_BYTES];
        bytes[1..=LIFE_BYTES].copy_from_slice(&life.to_be_bytes());
        bytes[1 + LIFE_BYTES..].copy_from_slice(&number.to_be_bytes());
        Hello(bytes)
    }

    /// `None` for another version.
    pub fn parse(bytes: [u8; HELLO_BYTES]) -> Option<Hello> {
        (bytes[0] == VERSION).then_some(Hello(bytes))
    }

    pub fn to_bytes(self) -> [u8; HELLO_BYTES] {
        self.0
    }
}

/// One of the two directions.
struct Direction {
    key: AeadKey,
    /// Frames so far.
    frames: u64,
}

impl Direction {
    fn new(key: &SealKey, label: &[u8], asker: &Hello, answerer: &Hello) -> Direction {
        Direction { key: key.derive(&[label, &[0], &asker.0, &answerer.0]), frames: 0 }
    }

    fn next(&mut self) -> [u8; 12] {
        self.frames += 1;
        nonce(self.frames)
    }
}

/// The keys of one connection, as one side has them.
pub struct Channel {
    outgoing: Direction,
    incoming: Direction,
}

impl Channel {
    /// Of the side that connected.
    pub fn of_asker(key: &SealKey, own: &Hello, other: &Hello) -> Channel {
        let [asks, answers] = directions(key, own, other);
        Channel { outgoing: asks, incoming: answers }
    }

    /// Of the side that accepted.
    pub fn of_answerer(key: &SealKey, own: &Hello, other: &Hello) -> Channel {
        let [asks, answers] = directions(key, other, own);
        Channel { outgoing: answers, incoming: asks }
    }

    /// The next frame, with a text of at most [`FRAME_TEXT_MAX`] bytes.
    pub fn seal(&mut self, text: &[u8]) -> Vec<u8> {
        assert!(text.len() <= FRAME_TEXT_MAX, "a text fits into a frame");
        let sealed = u32::try_from(text.len() + TAG_BYTES).expect("a frame is small");
        let mut frame = Vec::with_capacity(LENGTH_BYTES + text.len() + TAG_BYTES);
        frame.extend_from_slice(&sealed.to_be_bytes());
        frame.extend_from_slice(text);
        let nonce = self.outgoing.next();
        self.outgoing.key.seal(nonce, &mut frame, LENGTH_BYTES);
        frame
    }

    /// Takes the next frame from the front of what came: its text. `Ok(None)` while it is not complete.
    pub fn take(&mut self, received: &mut Vec<u8>) -> Result<Option<Vec<u8>>, BadFrame> {
        let length = frame_len(received).map_err(|BadLength| BadFrame::Length)?;
        let Some(length) = length.filter(|length| received.len() >= *length) else { return Ok(None) };
        let text = self.open(&received[..length]);
        received.drain(..length);
        text.map(Some).ok_or(BadFrame::Text)
    }

    /// The text of the next frame, whose bytes are complete. `None` if it is anything else.
    fn open(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let nonce = self.incoming.next();
        self.incoming.key.open(nonce, frame, LENGTH_BYTES)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Channel(..)")
    }
}

fn directions(key: &SealKey, asker: &Hello, answerer: &Hello) -> [Direction; 2] {
    [&b"natter copy asks"[..], b"natter copy answers"]
        .map(|label| Direction::new(key, label, asker, answerer))
}

/// Bytes of the frame that begins with `bytes`: `Ok(None)` before its length is known, `Err` if no frame has that length.
fn frame_len(bytes: &[u8]) -> Result<Option<usize>, BadLength> {
    let Some(length) = bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let sealed = u32::from_be_bytes(*length) as usize;
    let allowed = TAG_BYTES..=FRAME_TEXT_MAX + TAG_BYTES;
    if allowed.contains(&sealed) { Ok(Some(LENGTH_BYTES + sealed)) } else { Err(BadLength) }
}

/// No frame has this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BadLength;

/// Why something is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFrame {
    /// No frame has this length.
    Length,
    /// It is not sealed with this key for this place, or it was changed on the way.
    Text,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: u128 = 1;
    const ANSWERER: u128 = 2;

    fn pair(key: &SealKey, asker: Hello, answerer: Hello) -> (Channel, Channel) {
        (Channel::of_asker(key, &asker, &answerer), Channel::of_answerer(key, &answerer, &asker))
    }

    fn key() -> SealKey {
        SealKey::new(&[7; 32])
    }

    #[test]
    fn both_sides_read_what_the_other_one_says() {
        let (mut a, mut b) = pair(&key(), Hello::new(ASKER, 1), Hello::new(ANSWERER, 1));
        for text in [&b""[..], b"text", &[9; FRAME_TEXT_MAX]] {
            let frame = a.seal(text);
            assert_eq!(frame_len(&frame), Ok(Some(frame.len())));
            assert_eq!(b.open(&frame).as_deref(), Some(text));
            let frame = b.seal(text);
            assert_eq!(a.open(&frame).as_deref(), Some(text));
            assert!(text.is_empty() || !frame.windows(text.len()).any(|part| part == text), "in clear");
        }
    }

    #[test]
    fn a_frame_opens_once_in_its_place_in_its_direction_and_on_its_connection() {
        let (mut a, mut b) = pair(&key(), Hello::new(ASKER, 1), Hello::new(ANSWERER, 1));
        let first = a.seal(b"first");
        let second = a.seal(b"second");
        assert_eq!(b.open(&second), None, "the first one is missing");
        let (mut a, mut b) = pair(&key(), Hello::new(ASKER, 1), Hello::new(ANSWERER, 1));
        assert!(b.open(&first).is_some());
        assert_eq!(b.open(&first), None, "again");
        assert_eq!(a.open(&first), None, "back to its author");
        for (other, what) in [
            (pair(&key(), Hello::new(ASKER, 1), Hello::new(ANSWERER, 2)), "recorded of another connection"),
            (pair(&key(), Hello::new(ASKER, 2), Hello::new(ANSWERER, 1)), "to a node that connects again"),
            (pair(&key(), Hello::new(3, 1), Hello::new(ANSWERER, 1)), "of another process"),
            (pair(&SealKey::new(&[8; 32]), Hello::new(ASKER, 1), Hello::new(ANSWERER, 1)), "another key"),
        ] {
            let mut answerer = other.1;
            assert_eq!(answerer.open(&first), None, "{what}");
        }
    }

    #[test]
    fn a_changed_frame_does_not_open() {
        let pair = || pair(&key(), Hello::new(ASKER, 1), Hello::new(ANSWERER, 1));
        let frame = pair().0.seal(b"text");
        for bit in 0..frame.len() * 8 {
            let mut changed = frame.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(pair().1.open(&changed), None, "{bit}");
        }
        (0..frame.len()).for_each(|end| assert_eq!(pair().1.open(&frame[..end]), None, "{end}"));
    }

    /// The texts of what came in these pieces, and what ended it.
    fn run<'a>(
        mut channel: Channel,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> (Vec<Vec<u8>>, Option<BadFrame>) {
        let (mut texts, mut received) = (Vec::new(), Vec::new());
        for piece in pieces {
            received.extend_from_slice(piece);
            loop {
                match channel.take(&mut received) {
                    Ok(Some(text)) => texts.push(text),
                    Ok(None) => break,
                    Err(bad) => return (texts, Some(bad)),
                }
            }
        }
        (texts, None)
    }

    #[test]
    fn frames_are_read_the_same_at_once_in_bytes_and_split_at_every_byte() {
        let pair = || pair(&key(), Hello::new(ASKER, 1), Hello::new(ANSWERER, 1));
        let texts = [&b""[..], b"x", b"a longer text"];
        let mut asker = pair().0;
        let good: Vec<u8> = texts.iter().flat_map(|text| asker.seal(text)).collect();
        let first = LENGTH_BYTES + TAG_BYTES;
        let long = [&good[..first], &[0, 1, 0, 17]].concat();
        let mut changed = good.clone();
        changed[first + LENGTH_BYTES] ^= 1;
        for (bytes, count, end) in [
            (&good, 3, None),
            (&good[..good.len() - 1].to_vec(), 2, None),
            (&long, 1, Some(BadFrame::Length)),
            (&changed, 1, Some(BadFrame::Text)),
        ] {
            let expect = (texts[..count].iter().map(|text| text.to_vec()).collect(), end);
            assert_eq!(run(pair().1, [&bytes[..]].into_iter()), expect);
            assert_eq!(run(pair().1, bytes.chunks(1)), expect);
            for at in 0..=bytes.len() {
                assert_eq!(run(pair().1, [&bytes[..at], &bytes[at..]].into_iter()), expect, "{at}");
            }
        }
    }

    #[test]
    fn a_length_is_that_of_a_frame() {
        for (bytes, expect) in [
            (&[][..], Ok(None)),
            (&[0, 0, 0], Ok(None)),
            (&[0, 0, 0, 15], Err(BadLength)),
            (&[0, 0, 0, 16], Ok(Some(20))),
            (&[0, 1, 0, 16, 9], Ok(Some(65_556))),
            (&[0, 1, 0, 17], Err(BadLength)),
            (&[255; 8], Err(BadLength)),
        ] {
            assert_eq!(frame_len(bytes), expect, "{bytes:?}");
        }
    }

    #[test]
    fn a_hello_of_another_version_is_none() {
        let hello = Hello::new(u128::MAX, 5);
        assert_eq!(Hello::parse(hello.to_bytes()), Some(hello));
        let mut other = hello.to_bytes();
        other[0] = 2;
        assert_eq!(Hello::parse(other), None);
    }
}
