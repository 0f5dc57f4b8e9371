//! The log of a mirror that is a node of a cluster: its writes as sealed entries, and between them entries that must change nothing.
//!
//! Owns the positions, the numbers and the chain. Leaves the choice of the writes and of their batches to `mirror`.
//! Invariant: the store's place is that of the last entry, whatever the borders of its transactions are.

use natter::base::crypto::Entropy;
use natter::base::seal::{Chain, SealKey};
use natter::base::time::UnixMs;
use natter::model::entry::{Entry, EntryBody, LEVEL, Life, NodeName};
use natter::model::operation::{Outcome, Write};
use natter::store::{AppliedEntry, Delivered, Ignored, Place, Store};

use super::random::Rng;
use crate::support::{START_MS, Seeded};

const LOG: &str = "simulated";
/// Writes of one entry.
const ENTRY_WRITES_MAX: usize = 8;
/// How many of a thousand entries are followed by one that must change nothing.
const IGNORED: usize = 200;
/// How many of a thousand restarts are those of the author, too.
const LIVES: usize = 500;
/// Late enough to change no time of what was seen: a natter alone knows no time of a log.
const LATE: UnixMs = UnixMs(1 << 48);

pub struct Entries {
    node: NodeName,
    key: SealKey,
    life: Life,
    n: u64,
    place: Place,
    /// An entry of the last life that is over.
    over: Option<Entry>,
}

/// The time of an entry that changes no time of this write.
fn time_of(write: &mut Write) -> UnixMs {
    match write {
        // The duty is held by the time of the log, which stands still for a natter alone.
        Write::HoldDuty(_) | Write::KeepCertificate(_) => UnixMs(0),
        write => write.time_mut().map_or(LATE, |at| *at),
    }
}

impl Entries {
    /// The first entries of a log, applied by this empty store.
    pub fn begin(store: &mut Store) -> Entries {
        assert_eq!((store.place(), store.enter(LOG)), (Ok(None), Ok(true)));
        let node = NodeName::parse("mirror").expect("a name");
        let life = store.next_life(&node, &mut Seeded(1), START_MS).expect("a life");
        let place = Place { log: LOG.to_owned(), position: 0, chain: Chain::START, level: LEVEL };
        let key = SealKey::new(&[7; 32]);
        let mut log = Entries { node, key, life, n: 0, place, over: None };
        let genesis = log.entry(EntryBody::Genesis { epoch: "simulated".to_owned(), level: LEVEL });
        let genesis = log.deliver(&genesis, LATE);
        let hello = log.next(EntryBody::hello());
        // The first may change the schema, so it is alone.
        for mut delivered in [vec![genesis], vec![log.deliver(&hello, LATE)]] {
            let applied = store.apply(&mut delivered).entries;
            assert!(matches!(applied[..], [AppliedEntry::Begun]), "{applied:?}");
        }
        log
    }

    fn entry(&self, body: EntryBody) -> Entry {
        Entry { node: self.node.clone(), life: self.life, n: self.n, body }
    }

    fn next(&mut self, body: EntryBody) -> Entry {
        self.n += 1;
        self.entry(body)
    }

    /// The entry at the next position, as another node reads it.
    fn deliver(&mut self, entry: &Entry, time: UnixMs) -> Delivered {
        let sealed = entry.seal(&self.key);
        let entry = Entry::open(&self.key, &sealed).expect("its own seal");
        self.place.position += 1;
        self.place.chain = self.place.chain.next(self.place.position, &sealed);
        Delivered { position: self.place.position, time, chain: self.place.chain, entry }
    }

    fn apply(&self, store: &mut Store, delivered: &mut Vec<Delivered>) -> Vec<AppliedEntry> {
        let applied = store.apply(delivered);
        assert_eq!(applied.fault, None, "the mirror has no faults");
        assert!(delivered.is_empty(), "all entries are applied");
        assert_eq!(store.place(), Ok(Some(self.place.clone())));
        applied.entries
    }

    /// Delivers these writes in some entries and transactions.
    pub fn perform(&mut self, store: &mut Store, rng: &mut Rng, writes: Vec<Write>) -> Vec<Outcome> {
        let (mut delivered, mut expected, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
        let mut writes = writes.into_iter().peekable();
        while writes.peek().is_some() {
            let count = rng.between(1, ENTRY_WRITES_MAX);
            let time = writes.peek_mut().map_or(LATE, time_of);
            let mut some = Vec::new();
            while some.len() < count
                && writes.peek_mut().is_some_and(|write| time_of(write) == time)
                && let Some(write) = writes.next()
            {
                some.push(write);
            }
            let entry = self.next(EntryBody::Writes(some));
            delivered.push(self.deliver(&entry, time));
            expected.push(None);
            if rng.chance(IGNORED) {
                let (other, why) = self.without_effect(rng, entry);
                delivered.push(self.deliver(&other, LATE));
                expected.push(Some(why));
            }
            if rng.chance(500) || writes.peek().is_none() {
                let applied = self.apply(store, &mut delivered);
                assert_eq!(applied.len(), expected.len(), "one result for each entry");
                for (applied, expected) in applied.into_iter().zip(expected.drain(..)) {
                    match (applied, expected) {
                        (AppliedEntry::Performed(more), None) => outcomes.extend(more),
                        (AppliedEntry::Ignored(why), Some(expected)) => assert_eq!(why, expected),
                        (applied, expected) => panic!("{applied:?} instead of {expected:?}"),
                    }
                }
            }
        }
        outcomes
    }

    /// An entry with real writes that no node may perform.
    fn without_effect(&self, rng: &mut Rng, last: Entry) -> (Entry, Ignored) {
        match rng.between(0, 4) {
            0 => (Entry { n: last.n + 2, ..last }, Ignored::Early),
            1 => (Entry { life: Life::from_u128(last.life.to_u128() + 1), ..last }, Ignored::OtherLife),
            2 => (self.entry(EntryBody::Genesis { epoch: "other".to_owned(), level: 1 }), Ignored::Misplaced),
            3 => match &self.over {
                // Late enough that its number would be the next one.
                Some(over) => (Entry { n: last.n + 1, ..over.clone() }, Ignored::OtherLife),
                None => (last, Ignored::Repeated),
            },
            _ => (last, Ignored::Repeated),
        }
    }

    /// The store was opened again: it is where it was. The author may have been, too, and then its last life is over for ever.
    pub fn restarted(&mut self, store: &mut Store, rng: &mut Rng) {
        assert_eq!(store.place(), Ok(Some(self.place.clone())), "a restart loses no place");
        if !rng.chance(LIVES) {
            return;
        }
        let mut entropy = Seeded(rng.next());
        // Its clock may have been set back.
        let now = UnixMs(START_MS.0 - (&mut entropy as &mut dyn Entropy).below(10_000));
        self.over = Some(self.entry(EntryBody::Writes(Vec::new())));
        let hello_of_before = Entry { n: 1, ..self.entry(EntryBody::hello()) };
        let life = store.next_life(&self.node, &mut entropy, now).expect("a life");
        assert!(life > self.life, "a life is later than the one before");
        (self.life, self.n) = (life, 0);
        let hello = self.next(EntryBody::hello());
        let mut delivered = vec![
            self.deliver(&hello, LATE),
            self.deliver(&hello_of_before, LATE),
            self.deliver(&hello, LATE),
        ];
        let applied = self.apply(store, &mut delivered);
        assert!(
            matches!(
                applied[..],
                [
                    AppliedEntry::Begun,
                    AppliedEntry::Ignored(Ignored::OtherLife),
                    AppliedEntry::Ignored(Ignored::Repeated)
                ]
            ),
            "{applied:?}"
        );
    }
}
