//! A block of the search index: the terms of some consecutive messages of one conversation, as bytes.
//!
//! Owns the format. Does not know where a block is stored.
//!
//! ```text
//! count · seqs (the first in full, then differences) · terms in order: shared · len · rest · len of positions · positions
//! ```
//! Numbers are LEB128. A term shares a prefix with the term before it. Its positions are the indexes of the block's
//! messages that contain it: the first in full, then differences.
//! Invariant: bytes from outside never panic: invalid bytes are [`Damaged`].

use std::collections::BTreeMap;

use crate::base::words::{self, Query};

/// The bytes are not a valid block.
#[derive(Debug, PartialEq, Eq)]
pub struct Damaged;

/// A decoded block, which can be extended, joined or changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Block {
    seqs: Vec<u64>,
    /// Each term's positions, in increasing order.
    terms: BTreeMap<String, Vec<u32>>,
}

impl Block {
    /// Adds a message after all others. `None`: the message has no text any more.
    pub fn push(&mut self, seq: u64, body: Option<&str>) {
        self.seqs.push(seq);
        self.add(self.seqs.len() as u32 - 1, body);
    }

    fn add(&mut self, position: u32, body: Option<&str>) {
        let Some(body) = body else { return };
        words::terms(body, |term| {
            let positions = match self.terms.get_mut(term) {
                Some(positions) => positions,
                None => self.terms.entry(term.to_owned()).or_default(),
            };
            if let Err(at) = positions.binary_search(&position) {
                positions.insert(at, position);
            }
        });
    }

    /// Adds a block whose messages follow those of this one.
    pub fn append(&mut self, next: Block) {
        let offset = self.seqs.len() as u32;
        self.seqs.extend(next.seqs);
        for (term, positions) in next.terms {
            self.terms
                .entry(term)
                .or_default()
                .extend(positions.into_iter().map(|position| offset + position));
        }
    }

    /// Replaces the text of one message. Returns `false` if the message is not in this block.
    pub fn replace(&mut self, seq: u64, body: Option<&str>) -> bool {
        let Ok(position) = self.seqs.binary_search(&seq) else { return false };
        let position = position as u32;
        self.terms.retain(|_, positions| {
            positions.retain(|each| *each != position);
            !positions.is_empty()
        });
        self.add(position, body);
        true
    }

    pub fn first(&self) -> Option<u64> {
        self.seqs.first().copied()
    }

    pub fn last(&self) -> Option<u64> {
        self.seqs.last().copied()
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4_096);
        write(&mut out, self.seqs.len() as u64);
        rising(&mut out, self.seqs.iter().copied());
        let (mut before, mut positions_out): (&str, Vec<u8>) = ("", Vec::new());
        for (term, positions) in &self.terms {
            let shared = before.bytes().zip(term.bytes()).take_while(|(a, b)| a == b).count();
            write(&mut out, shared as u64);
            write(&mut out, (term.len() - shared) as u64);
            out.extend_from_slice(&term.as_bytes()[shared..]);
            positions_out.clear();
            rising(&mut positions_out, positions.iter().map(|position| u64::from(*position)));
            write(&mut out, positions_out.len() as u64);
            out.extend_from_slice(&positions_out);
            before = term;
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Block, Damaged> {
        let mut view = View::new(bytes)?;
        let mut terms = BTreeMap::new();
        while let Some(positions) = view.next_term()? {
            let term = std::str::from_utf8(&view.term).map_err(|_| Damaged)?;
            terms.insert(term.to_owned(), positions);
        }
        Ok(Block { seqs: view.seqs, terms })
    }
}

/// Messages of a block that may match, the oldest first: each term of the query is a prefix of one of their terms.
pub fn candidates(bytes: &[u8], query: &Query) -> Result<Vec<u64>, Damaged> {
    let mut view = View::new(bytes)?;
    let terms = query.terms();
    let mut found = vec![vec![false; view.seqs.len()]; terms.len()];
    while view.advance()? {
        let mut positions = None;
        for (term, found) in terms.iter().zip(&mut found) {
            if !view.term.starts_with(term.as_bytes()) {
                continue;
            }
            if positions.is_none() {
                positions = Some(view.positions()?);
            }
            positions.iter().flatten().for_each(|position| found[*position as usize] = true);
        }
    }
    let all = |(position, seq): (usize, &u64)| found.iter().all(|found| found[position]).then_some(*seq);
    Ok(view.seqs.iter().enumerate().filter_map(all).collect())
}

/// A block that is read term by term.
struct View<'a> {
    seqs: Vec<u64>,
    rest: &'a [u8],
    /// The current term, and its positions as bytes.
    term: Vec<u8>,
    positions: &'a [u8],
}

impl<'a> View<'a> {
    fn new(bytes: &'a [u8]) -> Result<View<'a>, Damaged> {
        let mut rest = bytes;
        let count = read(&mut rest)? as usize;
        // Each seq takes at least one byte: a damaged count allocates no memory.
        if count > rest.len() {
            return Err(Damaged);
        }
        let mut seqs: Vec<u64> = Vec::with_capacity(count);
        for _ in 0..count {
            let step = read(&mut rest)?;
            let seq = seqs.last().map_or(Some(step), |last| last.checked_add(step)).ok_or(Damaged)?;
            seqs.push(seq);
        }
        Ok(View { seqs, rest, term: Vec::new(), positions: &[] })
    }

    /// Moves to the next term. Returns `false` after the last one.
    fn advance(&mut self) -> Result<bool, Damaged> {
        if self.rest.is_empty() {
            return Ok(false);
        }
        let shared = read(&mut self.rest)? as usize;
        if shared > self.term.len() {
            return Err(Damaged);
        }
        let own = take(&mut self.rest)?;
        self.term.truncate(shared);
        self.term.extend_from_slice(own);
        self.positions = take(&mut self.rest)?;
        Ok(true)
    }

    fn next_term(&mut self) -> Result<Option<Vec<u32>>, Damaged> {
        if self.advance()? { self.positions().map(Some) } else { Ok(None) }
    }

    fn positions(&self) -> Result<Vec<u32>, Damaged> {
        let (mut rest, mut last, mut positions) =
            (self.positions, None, Vec::with_capacity(self.positions.len()));
        while !rest.is_empty() {
            let step = read(&mut rest)?;
            let position = last.map_or(Some(step), |last: u64| last.checked_add(step)).ok_or(Damaged)?;
            if position >= self.seqs.len() as u64 {
                return Err(Damaged);
            }
            positions.push(position as u32);
            last = Some(position);
        }
        Ok(positions)
    }
}

fn rising(out: &mut Vec<u8>, numbers: impl Iterator<Item = u64>) {
    let mut last = 0;
    for number in numbers {
        write(out, number - last);
        last = number;
    }
}

fn write(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read(rest: &mut &[u8]) -> Result<u64, Damaged> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(Damaged)?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Damaged)
}

fn take<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Damaged> {
    let len = usize::try_from(read(rest)?).map_err(|_| Damaged)?;
    let (taken, after) = rest.split_at_checked(len).ok_or(Damaged)?;
    *rest = after;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(texts: &[(u64, &str)]) -> Block {
        let mut block = Block::default();
        texts.iter().for_each(|(seq, text)| block.push(*seq, Some(text)));
        block
    }

    fn find(block: &Block, query: &str) -> Vec<u64> {
        candidates(&block.encode(), &Query::new(query, 16)).expect("a block")
    }

    #[test]
    fn words_are_found_by_their_beginnings() {
        let block = of(&[(3, "noon and night"), (9, "afternoon"), (300, "no night, 图书馆"), (301, "")]);
        for (query, expect) in [
            ("no", vec![3, 300]),
            ("noon", vec![3]),
            ("ni no", vec![3, 300]),
            ("after", vec![9]),
            ("absent", vec![]),
            ("书馆", vec![300]),
            ("馆", vec![300]),
            ("图馆", vec![]),
        ] {
            assert_eq!(find(&block, query), expect, "{query}");
        }
    }

    #[test]
    fn a_replaced_text_leaves_no_terms() {
        let mut block = of(&[(1, "secret plan"), (2, "another plan")]);
        assert!(block.replace(1, Some("public")) && !block.replace(3, Some("nowhere")));
        assert_eq!(
            (find(&block, "secret"), find(&block, "public"), find(&block, "plan")),
            (vec![], vec![1], vec![2])
        );
        assert!(!block.encode().windows(6).any(|window| window == b"secret"));
        assert!(block.replace(1, None));
        assert_eq!(block, {
            let mut same = Block::default();
            same.push(1, None);
            same.push(2, Some("another plan"));
            same
        });
    }

    proptest! {
        #[test]
        fn joined_blocks_equal_one_block_of_all_messages(
            texts in prop::collection::vec("[a-d é#图书]{0,20}", 0..40),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut all = Block::default();
            let mut parts = [Block::default(), Block::default()];
            let cut = cut.index(texts.len() + 1);
            for (at, text) in texts.iter().enumerate() {
                let seq = 7 * at as u64 + 200;
                all.push(seq, Some(text));
                parts[usize::from(at >= cut)].push(seq, Some(text));
            }
            let [mut first, second] = parts;
            first.append(second);
            prop_assert_eq!(&first, &all);
            prop_assert_eq!(Block::decode(&all.encode()), Ok(all));
        }

        #[test]
        fn any_bytes_are_a_block_or_damaged(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(block) = Block::decode(&bytes) {
                prop_assert!(candidates(&bytes, &Query::new("a b", 16)).is_ok() || block.last().is_none());
            }
            let _ = candidates(&bytes, &Query::new("a", 16));
        }
    }
}
