//! Collects a few bytes of a stream, for any split.
//!
//! Owns a buffer of fixed size on the stack; leaves the meaning of the bytes to each format.

/// A buffer of `N` bytes on the stack.
pub(super) struct Gather<const N: usize> {
    bytes: [u8; N],
    have: usize,
}

impl<const N: usize> Gather<N> {
    pub(super) fn new() -> Gather<N> {
        Gather { bytes: [0; N], have: 0 }
    }

    /// Moves bytes from the front of `input` until there are `want` (at most `N`); returns true when there are.
    pub(super) fn fill(&mut self, want: usize, input: &mut &[u8]) -> bool {
        assert!(want <= N);
        let take = want.saturating_sub(self.have).min(input.len());
        let (front, rest) = input.split_at(take);
        self.bytes[self.have..self.have + take].copy_from_slice(front);
        self.have += take;
        *input = rest;
        self.have >= want
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.have]
    }

    /// Takes the bytes, and empties the buffer.
    pub(super) fn take(&mut self) -> [u8; N] {
        self.have = 0;
        std::mem::replace(&mut self.bytes, [0; N])
    }
}

/// Splits at most `left` bytes off the front of `input`, and counts them.
pub(super) fn run_off<'a>(input: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    let (front, rest) = input.split_at(take);
    *input = rest;
    *left -= take as u64;
    front
}
