//! A block of the search index: the terms of some consecutive messages of one conversation, as bytes.
//!
//! Owns the format. Does not know where a block is stored.
//!
//! ```text
//! count · seqs (the first in full, then differences) · terms in order: shared · len · rest · len of positions · positions
//! ```
//! Numbers are LEB128. A term shares a prefix with the term before it. Its positions are the indexes of the block's
//! messages that contain it: the first in full, then differences.
//!
//! Blocks are made, joined and changed in one pass from terms in order to terms in order: a map of all terms took four times as long.
//! Invariant: bytes from outside never panic: invalid bytes are [`Damaged`].

use crate::base::words::{self, Query};

/// The bytes are not a valid block.
#[derive(Debug, PartialEq, Eq)]
pub struct Damaged;

/// A block of these messages. `None`: the message has no text any more.
pub fn encode<T: AsRef<str>>(messages: &[(u64, Option<T>)]) -> Vec<u8> {
    // The terms one after another, and for each where it ends begins the next one.
    let (mut text, mut found) = (String::new(), Vec::new());
    for (position, (_, body)) in (0..).zip(messages) {
        words::terms(body.as_ref().map_or("", AsRef::as_ref), |term| {
            let start = text.len();
            text.push_str(term);
            found.push((start, text.len(), position));
        });
    }
    let term = |&(start, end, _): &(usize, usize, u32)| &text.as_bytes()[start..end];
    found.sort_unstable_by(|a, b| term(a).cmp(term(b)).then(a.2.cmp(&b.2)));
    found.dedup_by(|a, b| a.2 == b.2 && term(a) == term(b));
    let mut out = Output::new(messages.iter().map(|(seq, _)| *seq), messages.len());
    let mut positions = Vec::new();
    for same in found.chunk_by(|a, b| term(a) == term(b)) {
        positions.clear();
        positions.extend(same.iter().map(|(_, _, position)| *position));
        out.add(term(&same[0]), &positions);
    }
    out.bytes
}

/// One block of blocks that follow each other.
pub fn join(blocks: &[Vec<u8>]) -> Result<Vec<u8>, Damaged> {
    let (mut seqs, mut sources): (Vec<u64>, Vec<Source<'_>>) = (Vec::new(), Vec::with_capacity(blocks.len()));
    for block in blocks {
        let source = Source::new(View::new(block)?, seqs.len() as u32, None)?;
        if seqs.last() > source.view.seqs.first() && !source.view.seqs.is_empty() {
            return Err(Damaged);
        }
        seqs.extend_from_slice(&source.view.seqs);
        sources.push(source);
    }
    merge(&seqs, sources)
}

/// The block with another text of one message. `None`: the message is not in this block.
pub fn replace(bytes: &[u8], seq: u64, body: Option<&str>) -> Result<Option<Vec<u8>>, Damaged> {
    let view = View::new(bytes)?;
    let Ok(position) = view.seqs.binary_search(&seq) else { return Ok(None) };
    let (seqs, position, of_message) = (view.seqs.clone(), position as u32, encode(&[(seq, body)]));
    let kept = Source::new(view, 0, Some(position))?;
    let new = Source::new(View::new(&of_message)?, position, None)?;
    merge(&seqs, vec![kept, new]).map(Some)
}

/// The seqs of the first and the last message. `None`: it has none.
pub fn ends(bytes: &[u8]) -> Result<Option<(u64, u64)>, Damaged> {
    let view = View::new(bytes)?;
    Ok(view.seqs.first().copied().zip(view.seqs.last().copied()))
}

/// Messages of a block that may match, the oldest first: each term of the query is a prefix of one of their terms.
pub fn candidates(bytes: &[u8], query: &Query) -> Result<Vec<u64>, Damaged> {
    let mut view = View::new(bytes)?;
    let terms = query.terms();
    let mut found = vec![vec![false; view.seqs.len()]; terms.len()];
    let mut positions = Vec::new();
    while view.advance()? {
        positions.clear();
        for (term, found) in terms.iter().zip(&mut found) {
            if !view.term.starts_with(term.as_bytes()) {
                continue;
            }
            if positions.is_empty() {
                view.positions(&mut positions)?;
            }
            positions.iter().for_each(|position| found[*position as usize] = true);
        }
    }
    let all = |(position, seq): (usize, &u64)| found.iter().all(|found| found[position]).then_some(*seq);
    Ok(view.seqs.iter().enumerate().filter_map(all).collect())
}

/// A block that is being written: its seqs, then its terms in order.
struct Output {
    bytes: Vec<u8>,
    /// The term before.
    term: Vec<u8>,
    /// The positions of a term, before their length is known.
    positions: Vec<u8>,
}

impl Output {
    fn new(seqs: impl Iterator<Item = u64>, count: usize) -> Output {
        let mut bytes = Vec::with_capacity(4_096);
        write(&mut bytes, count as u64);
        rising(&mut bytes, seqs);
        Output { bytes, term: Vec::new(), positions: Vec::new() }
    }

    fn add(&mut self, term: &[u8], positions: &[u32]) {
        let shared = self.term.iter().zip(term).take_while(|(a, b)| a == b).count();
        write(&mut self.bytes, shared as u64);
        write(&mut self.bytes, (term.len() - shared) as u64);
        self.bytes.extend_from_slice(&term[shared..]);
        self.positions.clear();
        rising(&mut self.positions, positions.iter().map(|position| u64::from(*position)));
        write(&mut self.bytes, self.positions.len() as u64);
        self.bytes.extend_from_slice(&self.positions);
        self.term.truncate(shared);
        self.term.extend_from_slice(&term[shared..]);
    }
}

/// A block whose terms become those of another one.
struct Source<'a> {
    view: View<'a>,
    /// Where its messages begin in the other one.
    offset: u32,
    /// The position of a message whose terms are left out.
    except: Option<u32>,
    has_term: bool,
}

impl<'a> Source<'a> {
    fn new(mut view: View<'a>, offset: u32, except: Option<u32>) -> Result<Source<'a>, Damaged> {
        let has_term = view.advance()?;
        Ok(Source { view, offset, except, has_term })
    }
}

fn merge(seqs: &[u64], mut sources: Vec<Source<'_>>) -> Result<Vec<u8>, Damaged> {
    let mut out = Output::new(seqs.iter().copied(), seqs.len());
    let (mut term, mut positions): (Vec<u8>, Vec<u32>) = (Vec::new(), Vec::new());
    while let Some(least) = sources.iter().filter(|it| it.has_term).map(|it| &it.view.term).min() {
        term.clone_from(least);
        positions.clear();
        for source in sources.iter_mut().filter(|it| it.has_term && it.view.term == term) {
            let from = positions.len();
            source.view.positions(&mut positions)?;
            if let Some(except) = source.except {
                positions.retain(|position| *position != except);
            }
            positions[from..].iter_mut().for_each(|position| *position += source.offset);
            source.has_term = source.view.advance()?;
        }
        // Only a replaced text comes after later messages.
        positions.sort_unstable();
        if !positions.is_empty() {
            out.add(&term, &positions);
        }
    }
    Ok(out.bytes)
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

    /// Appends the positions of the current term.
    fn positions(&self, into: &mut Vec<u32>) -> Result<(), Damaged> {
        let (mut rest, mut last) = (self.positions, None);
        while !rest.is_empty() {
            let step = read(&mut rest)?;
            let position = last.map_or(Some(step), |last: u64| last.checked_add(step)).ok_or(Damaged)?;
            if position >= self.seqs.len() as u64 {
                return Err(Damaged);
            }
            into.push(position as u32);
            last = Some(position);
        }
        Ok(())
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

    fn of(texts: &[(u64, &str)]) -> Vec<u8> {
        let messages: Vec<_> = texts.iter().map(|(seq, text)| (*seq, Some(*text))).collect();
        encode(&messages)
    }

    fn find(block: &[u8], query: &str) -> Vec<u64> {
        candidates(block, &Query::new(query, 16)).expect("a block")
    }

    #[test]
    fn words_are_found_by_their_beginnings() {
        let block = of(&[(3, "noon and night"), (9, "afternoon"), (300, "no night, 图书馆"), (301, "")]);
        assert_eq!(ends(&block), Ok(Some((3, 301))));
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
        let block = of(&[(1, "secret plan"), (2, "another plan")]);
        assert_eq!(replace(&block, 3, Some("nowhere")), Ok(None));
        let block = replace(&block, 1, Some("public")).expect("a block").expect("its message");
        assert_eq!(
            (find(&block, "secret"), find(&block, "public"), find(&block, "plan")),
            (vec![], vec![1], vec![2])
        );
        assert!(!block.windows(6).any(|window| window == b"secret"));
        let block = replace(&block, 1, None).expect("a block").expect("its message");
        assert_eq!(block, encode(&[(1, None), (2, Some("another plan"))]));
    }

    proptest! {
        #[test]
        fn joined_and_replaced_blocks_equal_one_block_of_all_messages(
            texts in prop::collection::vec("[a-d é#图书]{0,20}", 0..40),
            cuts in any::<[prop::sample::Index; 2]>(),
            other in "[a-d é#图书]{0,20}",
            changed in any::<prop::sample::Index>(),
        ) {
            let mut all: Vec<(u64, Option<&str>)> =
                (0_u64..).zip(&texts).map(|(at, text)| (7 * at + 200, Some(text.as_str()))).collect();
            let mut cuts = cuts.map(|cut| cut.index(all.len() + 1));
            cuts.sort_unstable();
            let parts = [&all[..cuts[0]], &all[cuts[0]..cuts[1]], &all[cuts[1]..]].map(encode);
            prop_assert_eq!(join(&parts), Ok(encode(&all)));
            if !all.is_empty() {
                let (before, at) = (encode(&all), changed.index(all.len()));
                all[at].1 = Some(&other);
                prop_assert_eq!(replace(&before, all[at].0, Some(&other)), Ok(Some(encode(&all))));
            }
        }

        #[test]
        fn any_bytes_are_a_block_or_damaged(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let found = candidates(&bytes, &Query::new("a b", 16));
            if let Ok(joined) = join(std::slice::from_ref(&bytes)) {
                prop_assert_eq!(ends(&joined), ends(&bytes));
                prop_assert_eq!(candidates(&joined, &Query::new("a b", 16)), found);
            }
            let _ = join(&[bytes.clone(), bytes.clone()]);
            let _ = replace(&bytes, 1, Some("a"));
        }
    }
}
