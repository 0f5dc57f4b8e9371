//! Reads the replies of a mail server (RFC 5321 §4.2): a code and lines, from a stream, within a bound.

use crate::limits::SMTP_REPLY_MAX;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    /// The text of each line, without control characters.
    pub(super) lines: Vec<String>,
}

/// The bytes are not an SMTP reply, or the reply is longer than SMTP_REPLY_MAX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoReply;

#[derive(Default)]
pub(super) struct Replies {
    buffered: Vec<u8>,
    /// Where the first line without an end begins.
    searched: usize,
    /// Bytes were lost: later bytes cannot be trusted.
    overflown: bool,
}

impl Replies {
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        let room = SMTP_REPLY_MAX - self.buffered.len();
        self.overflown |= bytes.len() > room;
        self.buffered.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Drops the bytes that arrived before a command was sent.
    pub(super) fn clear(&mut self) {
        *self = Replies::default();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffered.is_empty()
    }

    /// The next complete reply, if it has arrived.
    pub(super) fn next(&mut self) -> Result<Option<Reply>, NoReply> {
        if self.overflown {
            return Err(NoReply);
        }
        while let Some(at) = memchr::memchr(b'\n', &self.buffered[self.searched..]) {
            let line = self.searched..self.searched + at + 1;
            self.searched = line.end;
            if parse_line(&self.buffered[line])?.last {
                let rest = self.buffered.split_off(self.searched);
                let complete = std::mem::replace(&mut self.buffered, rest);
                self.searched = 0;
                return parse(&complete).map(Some);
            }
        }
        Ok(None)
    }
}

struct Line<'a> {
    code: u16,
    last: bool,
    text: &'a [u8],
}

/// Three digits, then a hyphen if more lines follow. A bare LF is accepted: here it is harmless.
fn parse_line(line: &[u8]) -> Result<Line<'_>, NoReply> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some((&[a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'], rest)) = line.split_first_chunk() else {
        return Err(NoReply);
    };
    let digit = |byte: u8| u16::from(byte - b'0');
    let code = digit(a) * 100 + digit(b) * 10 + digit(c);
    match rest {
        [] => Ok(Line { code, last: true, text: b"" }),
        [b' ', text @ ..] => Ok(Line { code, last: true, text }),
        [b'-', text @ ..] => Ok(Line { code, last: false, text }),
        _ => Err(NoReply),
    }
}

fn parse(complete: &[u8]) -> Result<Reply, NoReply> {
    let mut reply = Reply { code: 0, lines: Vec::new() };
    for line in complete.split_inclusive(|&byte| byte == b'\n') {
        let line = parse_line(line)?;
        if reply.lines.is_empty() {
            reply.code = line.code;
        }
        if reply.code != line.code {
            return Err(NoReply);
        }
        let text = String::from_utf8_lossy(line.text);
        reply.lines.push(text.chars().filter(|c| !c.is_control()).collect());
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Reply>, NoReply> {
        let (mut replies, mut got) = (Replies::default(), Vec::new());
        for piece in pieces {
            replies.receive(piece);
            while let Some(reply) = replies.next()? {
                got.push(reply);
            }
        }
        Ok(got)
    }

    fn check(text: &[u8], expect: Result<&[(u16, &[&str])], NoReply>) {
        let got = run([text].into_iter());
        let own = |&(code, lines): &(u16, &[&str])| Reply {
            code,
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
        };
        assert_eq!(got, expect.map(|replies| replies.iter().map(own).collect()));
        assert_eq!(run(text.chunks(1)), got);
        for at in 0..=text.len() {
            let (a, b) = text.split_at(at);
            assert_eq!(run([a, b].into_iter()), got, "split at {at}");
        }
    }

    #[test]
    fn replies_of_one_line_and_of_several() {
        check(b"220 hi\r\n", Ok(&[(220, &["hi"])]));
        check(b"250\n", Ok(&[(250, &[""])]));
        check(
            b"250-a\r\n250-\r\n250 b\x1b[0m\r\n354 go\r\n",
            Ok(&[(250, &["a", "", "b[0m"]), (354, &["go"])]),
        );
        check(b"250-a\r\n250-b", Ok(&[]));
        check(b"250-a\r\n251 b\r\n", Err(NoReply));
        for bad in ["\r\n", "25\r\n", "2500 x\r\n", "250_x\r\n", "199 x\r\n", "HTTP/1.1 400\r\n", "+OK\r\n"] {
            check(bad.as_bytes(), Err(NoReply));
        }
    }

    #[test]
    fn a_reply_is_bounded() {
        let line = "250-".to_owned() + &"x".repeat(SMTP_REPLY_MAX / 2 - 6) + "\r\n";
        let last = "250 ".to_owned() + &"x".repeat(SMTP_REPLY_MAX / 2 - 6) + "\r\n";
        assert_eq!(run([line.as_bytes(), last.as_bytes()].into_iter()).map(|got| got.len()), Ok(1));
        let last = last.replace("\r\n", "x\r\n");
        assert_eq!(run([line.as_bytes(), last.as_bytes()].into_iter()), Err(NoReply));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_the_same_at_once_and_split(bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), Just(b'2'), Just(b'5'), Just(b'0'), Just(b'-'), Just(b'\n')], 0..40)) {
            prop_assert_eq!(run(bytes.chunks(1)), run([&bytes[..]].into_iter()));
        }
    }
}
