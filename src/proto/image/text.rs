//! Checks that a stream of bytes is UTF-8.
//!
//! Invariant: it holds at most the three bytes of an incomplete character.

/// A byte sequence that is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUtf8;

#[derive(Clone, Debug, Default)]
pub struct Utf8Stream {
    partial: [u8; 4],
    have: usize,
}

impl Utf8Stream {
    pub fn new() -> Utf8Stream {
        Utf8Stream::default()
    }

    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), NotUtf8> {
        while self.have > 0
            && let Some((&byte, rest)) = bytes.split_first()
        {
            // An incomplete character has at most three bytes; the fourth completes it or is an error.
            self.partial[self.have] = byte;
            self.have += 1;
            bytes = rest;
            match std::str::from_utf8(&self.partial[..self.have]) {
                Ok(_) => self.have = 0,
                Err(error) if error.error_len().is_some() => return Err(NotUtf8),
                Err(_) => {}
            }
        }
        if let Err(error) = std::str::from_utf8(bytes) {
            if error.error_len().is_some() {
                return Err(NotUtf8);
            }
            let tail = &bytes[error.valid_up_to()..];
            self.partial[..tail.len()].copy_from_slice(tail);
            self.have = tail.len();
        }
        Ok(())
    }

    pub fn finish(&self) -> Result<(), NotUtf8> {
        if self.have == 0 { Ok(()) } else { Err(NotUtf8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run<'a>(mut pieces: impl Iterator<Item = &'a [u8]>) -> Result<(), NotUtf8> {
        let mut stream = Utf8Stream::new();
        pieces.try_for_each(|piece| stream.push(piece))?;
        stream.finish()
    }

    proptest! {
        #[test]
        fn the_stream_agrees_with_std(
            pieces in prop::collection::vec(prop_oneof![
                any::<char>().prop_map(|c| c.to_string().into_bytes()),
                prop::collection::vec(any::<u8>(), 0..3),
            ], 0..12),
        ) {
            let bytes = pieces.concat();
            let expect = std::str::from_utf8(&bytes).map(|_| ()).map_err(|_| NotUtf8);
            prop_assert_eq!(run(bytes.chunks(1)), expect);
            for at in 0..=bytes.len() {
                let (a, b) = bytes.split_at(at);
                prop_assert_eq!(run([a, b].into_iter()), expect);
            }
        }
    }
}
