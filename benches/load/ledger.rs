//! What was posted, and who must receive it: the judge of a load.
//!
//! Each post carries the number of its sender and its own number, so that every receiver and every stored page can be held against what
//! was answered. Owns these numbers. Leaves the wire to the scenarios.
//! Invariant: a post is forgotten only when it is answered and each of its receivers has it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use super::histogram::Histogram;

/// The mark in a body, before the numbers.
const MARK: &[u8] = b"\"body\":\"#";
/// The digits of a sender and of a number, with a space between them.
pub const SENDER_DIGITS: usize = 5;
pub const NUMBER_DIGITS: usize = 10;
/// Posts that overtook others and are remembered for each load.
const SKIPPED_MAX: usize = 10_000;

#[derive(Default)]
pub struct Ledger {
    senders: Vec<Sender>,
    /// By connection: the senders that it receives, in order, and the next number of each.
    expected: Vec<Vec<(u32, u64)>>,
    /// Connection, sender and number of what a later post of the same sender has overtaken.
    skipped: BTreeSet<(usize, u32, u64)>,
    pub faults: Faults,
    pub delivered: u64,
    /// Receipts that are still to come.
    missing: u64,
}

/// What must not happen, and how often it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub twice: u64,
    pub out_of_order: u64,
    /// Received by somebody who is no member.
    pub astray: u64,
}

struct Sender {
    /// How many connections receive its posts.
    audience: u32,
    /// The number of the first post in `open`.
    first: u64,
    open: VecDeque<Open>,
    /// The next post to be answered: writes are answered in order.
    unanswered: u64,
    answered: u64,
    /// Posts that were refused; they may be stored nowhere.
    refused: BTreeSet<u64>,
}

struct Open {
    due: Instant,
    /// Receipts to come.
    left: u32,
    is_answered: bool,
}

impl Ledger {
    /// A sender whose posts the connections `receivers` get.
    pub fn add_sender(&mut self, receivers: impl Iterator<Item = usize>) -> u32 {
        let sender = self.senders.len() as u32;
        let mut audience = 0;
        for conn in receivers {
            if self.expected.len() <= conn {
                self.expected.resize_with(conn + 1, Vec::new);
            }
            self.expected[conn].push((sender, 0));
            audience += 1;
        }
        self.senders.push(Sender {
            audience,
            first: 0,
            open: VecDeque::new(),
            unanswered: 0,
            answered: 0,
            refused: BTreeSet::new(),
        });
        sender
    }

    /// Returns the number of the post.
    pub fn post(&mut self, sender: u32, due: Instant) -> u64 {
        let it = &mut self.senders[sender as usize];
        it.open.push_back(Open { due, left: it.audience, is_answered: false });
        self.missing += u64::from(it.audience);
        it.first + it.open.len() as u64 - 1
    }

    /// The next post of a sender is answered or refused. Returns its number.
    pub fn answer(&mut self, sender: u32, is_good: bool) -> u64 {
        let it = &mut self.senders[sender as usize];
        let number = it.unanswered;
        it.unanswered += 1;
        it.answered += u64::from(is_good);
        let Some(open) = it.open.get_mut((number - it.first) as usize) else { return number };
        open.is_answered = true;
        if !is_good {
            self.missing -= u64::from(std::mem::take(&mut open.left));
            it.refused.insert(number);
        }
        it.forget();
        number
    }

    /// A connection has received an event. A message of this load is a delivery.
    pub fn hear(&mut self, conn: usize, event: &[u8], now: Instant, deliveries: &mut Histogram) {
        if event.starts_with(b"{\"event\":\"message.posted\"")
            && let Some(due) = self.receive(conn, event)
        {
            deliveries.record(now.saturating_duration_since(due));
        }
    }

    /// A connection has received an event. Returns when the post was due, if it is one of this load.
    pub fn receive(&mut self, conn: usize, event: &[u8]) -> Option<Instant> {
        let (sender, number) = mark(event)?;
        let expected = self.expected.get_mut(conn).map_or(&mut [][..], Vec::as_mut_slice);
        let Ok(at) = expected.binary_search_by_key(&sender, |(sender, _)| *sender) else {
            self.faults.astray += 1;
            return None;
        };
        let next = &mut expected[at].1;
        if number < *next {
            match self.skipped.remove(&(conn, sender, number)) {
                true => self.faults.out_of_order += 1,
                false => {
                    self.faults.twice += 1;
                    return None;
                }
            }
        } else {
            let room = SKIPPED_MAX.saturating_sub(self.skipped.len());
            self.skipped.extend((*next..number).take(room).map(|number| (conn, sender, number)));
            *next = number + 1;
        }
        let it = &mut self.senders[sender as usize];
        let open = it.open.get_mut(usize::try_from(number.checked_sub(it.first)?).ok()?)?;
        open.left = open.left.checked_sub(1)?;
        self.missing -= 1;
        self.delivered += 1;
        let due = open.due;
        it.forget();
        Some(due)
    }

    /// Whether every post has reached everybody.
    pub fn is_settled(&self) -> bool {
        self.missing == 0
    }

    pub fn answered(&self, sender: u32) -> u64 {
        self.senders[sender as usize].answered
    }

    /// Receipts of answered posts that did not come.
    pub fn lost(&self) -> u64 {
        let open = self.senders.iter().flat_map(|sender| &sender.open);
        open.filter(|open| open.is_answered).map(|open| u64::from(open.left)).sum()
    }

    /// Posts without any answer: whether they are stored is not known.
    pub fn unknown(&self) -> u64 {
        self.senders.iter().map(|it| it.first + it.open.len() as u64 - it.unanswered).sum()
    }

    /// Compares the stored messages of these senders, from the newest back, with what was answered. Returns how many faults it found.
    pub fn judge_stored(&self, senders: &[u32], newest_first: &[(u32, u64)], is_complete: bool) -> u64 {
        let mut next: BTreeMap<u32, u64> =
            senders.iter().map(|sender| (*sender, self.senders[*sender as usize].unanswered)).collect();
        let mut faults = 0;
        for (sender, number) in newest_first {
            let Some(next) = next.get_mut(sender) else {
                faults += 1;
                continue;
            };
            let it = &self.senders[*sender as usize];
            // One without an answer may be stored.
            if *number >= it.unanswered {
                continue;
            }
            // Not before one that was posted later: it is stored twice, or out of order.
            if *number >= *next {
                faults += 1;
                continue;
            }
            faults += it.answered_between(*number + 1, *next);
            *next = *number;
        }
        if is_complete {
            let absent = |(sender, next): (u32, u64)| self.senders[sender as usize].answered_between(0, next);
            faults += next.into_iter().map(absent).sum::<u64>();
        }
        faults
    }
}

impl Sender {
    /// How many answered posts have a number from `from` on, and below `to`.
    fn answered_between(&self, from: u64, to: u64) -> u64 {
        to.saturating_sub(from) - self.refused.range(from..to.max(from)).count() as u64
    }

    fn forget(&mut self) {
        while self.open.front().is_some_and(|open| open.is_answered && open.left == 0) {
            self.open.pop_front();
            self.first += 1;
        }
    }
}

/// The sender and number in the first body of a text.
pub fn mark(text: &[u8]) -> Option<(u32, u64)> {
    marks(text).next()
}

/// The same of all bodies, in order.
pub fn marks(text: &[u8]) -> impl Iterator<Item = (u32, u64)> {
    memchr::memmem::find_iter(text, MARK).filter_map(|at| {
        let rest = &text[at + MARK.len()..];
        let (sender, rest) = super::conn::number(rest);
        let (number, _) = super::conn::number(rest.strip_prefix(b" ")?);
        Some((u32::try_from(sender).ok()?, number))
    })
}
