//! The entries of this node itself: from the writes that are asked for to their outcomes.
//!
//! ```text
//! submit → waiting → batch → entry, appended → applied → Committed
//!             └────────┴─ older than ASKED_MAX: refused, never performed
//!                              └─ older than ASKED_MAX: refused, and performed all the same: Happened
//! ```
//! A lane is judged before its write is in an entry: afterwards the write is performed by all nodes. Entries are sent again, from the
//! first one that is not applied on, whenever one may be lost or came too early (go-back-N); the bytes stay the same.
//! Invariant: an entry is kept from its first append until it is applied, and its number is used for these bytes alone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Log, Outputs};
use crate::base::seal::SealKey;
use crate::model::entry::{ENTRY_BYTES_MAX, Entry, EntryBody, EntryDraft, Life, NodeName, Pushed};
use crate::model::operation::{Lane, Outcome, Refusal, Write};
use crate::runtime::lanes::Batches;
use crate::server::contract::Ticket;
use crate::store::{AppliedEntry, Ignored};

/// Entries that are appended and not applied. Above: writes wait, and the next entry is longer.
const WINDOW: usize = 4;
/// Writes of one entry.
const ENTRY_WRITES_MAX: usize = 512;
/// How long an asker waits for its outcome. After that: `Refusal::Unavailable`.
pub(super) const ASKED_MAX: Duration = Duration::from_secs(10);
/// Without progress for this long, entries are sent again.
const SEND_AGAIN: Duration = Duration::from_secs(2);
/// Between two times that entries are sent again.
const SEND_AGAIN_MIN: Duration = Duration::from_millis(100);

/// Who waits for an outcome, and since when.
#[derive(Clone, Copy)]
struct Asker {
    ticket: Ticket,
    since: Instant,
}

impl Asker {
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= ASKED_MAX
    }
}

enum Asked {
    Write(Asker, Lane, Write),
    Reset(Lane),
}

/// An entry that is appended and not applied.
struct Proposal {
    n: u64,
    sealed: Arc<[u8]>,
    /// `None` once it was refused.
    askers: Vec<(Option<Asker>, Lane)>,
    /// Since when the oldest of them waits.
    oldest: Option<Instant>,
}

impl Proposal {
    fn new(n: u64, sealed: Vec<u8>, askers: Vec<(Option<Asker>, Lane)>) -> Proposal {
        let mut proposal = Proposal { n, sealed: sealed.into(), askers, oldest: None };
        proposal.find_oldest();
        proposal
    }

    fn find_oldest(&mut self) {
        self.oldest = self.askers.iter().filter_map(|(asker, _)| Some(asker.as_ref()?.since)).min();
    }
}

pub(super) struct Own {
    node: NodeName,
    life: Option<Life>,
    /// Its Hello is applied.
    has_begun: bool,
    /// The number of its last entry.
    n: u64,
    waiting: VecDeque<Asked>,
    batches: Batches<Asker>,
    /// What goes into the next entries: lanes are judged.
    forming: VecDeque<(Asker, Lane, Write)>,
    /// The level to raise the cluster to, by the next entry.
    raise: Option<u32>,
    under_way: VecDeque<Proposal>,
    /// When the first of them was sent or got to be the first.
    progress_at: Option<Instant>,
    sent_again_at: Option<Instant>,
    /// When all of them are sent again.
    go_back_at: Option<Instant>,
}

/// What the store made of an entry of this node that no node under its name should have written.
pub(super) type Fenced = &'static str;

impl Own {
    pub fn new(node: NodeName) -> Own {
        Own {
            node,
            life: None,
            has_begun: false,
            n: 0,
            waiting: VecDeque::new(),
            batches: Batches::default(),
            forming: VecDeque::new(),
            raise: None,
            under_way: VecDeque::new(),
            progress_at: None,
            sent_again_at: None,
            go_back_at: None,
        }
    }

    pub fn has_life(&self) -> bool {
        self.life.is_some()
    }

    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// How many entries it has appended.
    pub fn appended(&self) -> u64 {
        self.n
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
            && self.forming.is_empty()
            && self.under_way.is_empty()
            && !self.batches.has_deferred()
    }

    /// Whether an entry can be made.
    pub fn can_form(&self) -> bool {
        let has_any = !self.waiting.is_empty()
            || !self.forming.is_empty()
            || self.batches.has_deferred()
            || self.raise.is_some();
        self.has_life() && has_any && self.under_way.len() < WINDOW
    }

    pub fn submit(&mut self, now: Instant, ticket: Ticket, lane: Lane, write: Write) {
        self.waiting.push_back(Asked::Write(Asker { ticket, since: now }, lane, write));
    }

    pub fn reset_lane(&mut self, lane: Lane) {
        self.waiting.push_back(Asked::Reset(lane));
    }

    /// A life begins with its Hello, the first of its entries. It says the highest level that this process knows.
    pub fn begin(&mut self, life: Life, level: u32, key: &SealKey) {
        (self.life, self.n) = (Some(life), 1);
        let hello = Entry { node: self.node.clone(), life, n: 1, body: EntryBody::Hello { level } };
        self.under_way.push_back(Proposal::new(1, hello.seal(key), Vec::new()));
        self.progress_at = None;
    }

    /// The next entry raises the cluster to this level. If that is under way already, the second one changes nothing.
    pub fn raise(&mut self, level: u32) {
        self.raise = Some(level);
    }

    /// Entries may be lost: they are sent again, soon.
    pub fn go_back(&mut self, now: Instant) {
        let earliest = self.sent_again_at.map_or(now, |at| now.max(at + SEND_AGAIN_MIN));
        self.go_back_at.get_or_insert(earliest);
    }

    /// When something is due. While the log is down only askers wait for it.
    pub fn next_deadline(&self, is_up: bool) -> Option<Instant> {
        let refused = self.oldest().map(|since| since + ASKED_MAX);
        let sent = self.progress_at.map(|at| at + SEND_AGAIN).filter(|_| !self.under_way.is_empty());
        let sent = [sent, self.go_back_at].into_iter().flatten().min().filter(|_| is_up);
        [refused, sent].into_iter().flatten().min()
    }

    /// Since when the oldest asker waits. A heavy write waits longer than others that were asked for later.
    fn oldest(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().find_map(|asked| match asked {
            Asked::Write(asker, ..) => Some(asker.since),
            Asked::Reset(_) => None,
        });
        let deferred = self.batches.deferred().map(|asker| asker.since);
        let forming = self.forming.iter().map(|(asker, ..)| asker.since);
        let under_way = self.under_way.iter().filter_map(|each| each.oldest);
        waiting.into_iter().chain(deferred).chain(forming).chain(under_way).min()
    }

    // ---- refusals -----------------------------------------------------------------------------------

    /// Refuses those who have waited for too long. What is not in an entry yet is never performed.
    pub fn refuse_old(&mut self, now: Instant, outputs: &mut Outputs) {
        if self.oldest().is_none_or(|since| now < since + ASKED_MAX) {
            return;
        }
        self.refuse_if(outputs, |asker| asker.is_old(now));
    }

    /// The process ends.
    pub fn refuse_all(&mut self, outputs: &mut Outputs) {
        self.refuse_if(outputs, |_| true);
    }

    fn refuse_if(&mut self, outputs: &mut Outputs, is_over: impl Fn(&Asker) -> bool) {
        // In the order in which they were asked, so that no later one is answered before.
        for proposal in &mut self.under_way {
            for (asker, lane) in &mut proposal.askers {
                if let Some(asker) = asker.take_if(|asker| is_over(asker)) {
                    self.batches.close(*lane);
                    refuse(outputs, asker, Refusal::Unavailable);
                }
            }
            proposal.find_oldest();
        }
        let mut kept = VecDeque::new();
        for (asker, lane, write) in self.forming.drain(..) {
            if is_over(&asker) || self.batches.is_closed(lane) {
                self.batches.close(lane);
                refuse(outputs, asker, Refusal::Unavailable);
            } else {
                kept.push_back((asker, lane, write));
            }
        }
        self.forming = kept;
        for asker in self.batches.refuse_deferred(&is_over) {
            refuse(outputs, asker, Refusal::Unavailable);
        }
        while let Some(next) = self.waiting.pop_front() {
            match next {
                Asked::Write(asker, lane, _) if is_over(&asker) => {
                    self.batches.close(lane);
                    refuse(outputs, asker, Refusal::Unavailable);
                }
                Asked::Reset(lane) => self.batches.reset(lane),
                next => {
                    self.waiting.push_front(next);
                    break;
                }
            }
        }
    }

    // ---- sending ------------------------------------------------------------------------------------

    /// Sends again what may be lost, and appends entries of what waits, as far as the window allows.
    pub fn send(
        &mut self,
        now: Instant,
        key: &SealKey,
        level: u32,
        log: &mut dyn Log,
        outputs: &mut Outputs,
    ) {
        let is_new = self.progress_at.is_none();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_new || is_due(self.go_back_at) || is_due(self.progress_at.map(|at| at + SEND_AGAIN)) {
            self.under_way.iter().for_each(|each| log.append(&each.sealed));
            (self.go_back_at, self.sent_again_at, self.progress_at) = (None, Some(now), Some(now));
        }
        let Some(life) = self.life else { return };
        while self.under_way.len() < WINDOW {
            let proposal = if let Some(level) = self.raise.take() {
                self.n += 1;
                let body = EntryBody::Level { level };
                let raise = Entry { node: self.node.clone(), life, n: self.n, body };
                Some(Proposal::new(self.n, raise.seal(key), Vec::new()))
            } else {
                if self.forming.is_empty() {
                    self.judge(outputs);
                }
                if self.forming.is_empty() {
                    break;
                }
                self.form(life, key, level, outputs)
            };
            let Some(proposal) = proposal else { continue };
            if self.under_way.is_empty() {
                self.progress_at = Some(now);
            }
            log.append(&proposal.sealed);
            self.under_way.push_back(proposal);
        }
    }

    /// Takes the next batch of what waits: its lanes are open.
    fn judge(&mut self, outputs: &mut Outputs) {
        let mut count = 0;
        while count < ENTRY_WRITES_MAX
            && let Some(next) = self.waiting.pop_front()
        {
            match next {
                Asked::Reset(lane) => self.batches.reset(lane),
                Asked::Write(asker, lane, write) => {
                    count += 1;
                    if let Some(asker) = self.batches.push(asker, lane, write) {
                        refuse(outputs, asker, Refusal::Unavailable);
                    }
                }
            }
        }
        self.forming.extend(self.batches.take());
        if self.forming.is_empty() {
            for asker in self.batches.take_deferred() {
                refuse(outputs, asker, Refusal::Unavailable);
            }
            self.forming.extend(self.batches.take());
        }
    }

    /// An entry of what was judged, up to its greatest length, in the form of this level.
    fn form(&mut self, life: Life, key: &SealKey, level: u32, outputs: &mut Outputs) -> Option<Proposal> {
        let n = self.n + 1;
        let mut draft = EntryDraft::new(self.node.clone(), life, n, level);
        let mut askers = Vec::new();
        while let Some((asker, lane, write)) = self.forming.pop_front() {
            // A write before it may have closed it.
            if self.batches.is_closed(lane) {
                refuse(outputs, asker, Refusal::Unavailable);
                continue;
            }
            match draft.push(&write) {
                Pushed::Added => askers.push((Some(asker), lane)),
                Pushed::Full => {
                    self.forming.push_front((asker, lane, write));
                    break;
                }
                Pushed::TooLarge => {
                    log::error!(
                        "cluster: {} has more than {ENTRY_BYTES_MAX} bytes, which no entry has",
                        write.name()
                    );
                    self.batches.close(lane);
                    refuse(outputs, asker, Refusal::Internal);
                }
            }
        }
        if askers.is_empty() {
            return None;
        }
        self.n = n;
        Some(Proposal::new(n, draft.seal(key), askers))
    }

    // ---- outcomes -----------------------------------------------------------------------------------

    /// An entry under the name of this node was applied or ignored. `Err` if another process writes under this name.
    pub fn applied(
        &mut self,
        now: Instant,
        (life, n): (Life, u64),
        applied: AppliedEntry,
        outputs: &mut Outputs,
    ) -> Result<(), Fenced> {
        let is_mine = self.life == Some(life);
        match applied {
            AppliedEntry::Begun if is_mine => {
                self.has_begun = true;
                self.next(now, n)?;
            }
            // A smaller one is of an earlier process, whose Hello was on its way.
            AppliedEntry::Begun if self.life.is_some_and(|mine| mine < life) => {
                return Err("a later life has begun");
            }
            AppliedEntry::Performed(outcomes) if is_mine => {
                let proposal = self.next(now, n)?;
                for ((asker, _), outcome) in proposal.askers.into_iter().zip(outcomes) {
                    match asker {
                        Some(asker) => outputs.committed(asker.ticket, outcome),
                        None => outputs.happened(vec![outcome]),
                    }
                }
            }
            AppliedEntry::Raised(_) if is_mine => {
                self.next(now, n)?;
            }
            AppliedEntry::Performed(outcomes) => outputs.happened(outcomes),
            // Its Hello came too late: a greater life had begun.
            AppliedEntry::Ignored(Ignored::OtherLife) if is_mine && (n == 1 || self.has_begun) => {
                return Err("a later life began before this one");
            }
            AppliedEntry::Ignored(Ignored::OtherLife | Ignored::Early) if is_mine => self.go_back(now),
            // Of an earlier life, or a second time.
            AppliedEntry::Begun | AppliedEntry::Raised(_) | AppliedEntry::Ignored(_) => {}
        }
        Ok(())
    }

    fn next(&mut self, now: Instant, n: u64) -> Result<Proposal, Fenced> {
        self.progress_at = Some(now);
        if self.under_way.front().is_none_or(|first| first.n != n) {
            return Err("it is not the next entry of this process");
        }
        self.under_way.pop_front().ok_or("this process has written none")
    }
}

fn refuse(outputs: &mut Outputs, asker: Asker, refusal: Refusal) {
    outputs.committed(asker.ticket, Outcome::quiet(Err(refusal)));
}
