//! Deadlines by key.
//!
//! Owns their order; leaves the clock to the caller. Invariant: a key has at most one deadline, and the earliest comes first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

pub struct Timers<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K: Copy + Ord> Default for Timers<K> {
    fn default() -> Self {
        Timers { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Copy + Ord> Timers<K> {
    pub fn new() -> Timers<K> {
        Timers::default()
    }

    /// Sets, moves or (with `None`) clears the deadline of `key`.
    pub fn set(&mut self, key: K, at: Option<Instant>) {
        let old = match at {
            Some(at) => self.by_key.insert(key, at),
            None => self.by_key.remove(&key),
        };
        if old == at {
            return;
        }
        if let Some(old) = old {
            self.by_time.remove(&(old, key));
        }
        if let Some(at) = at {
            self.by_time.insert((at, key));
        }
    }

    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes one key whose deadline is not after `now`.
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.set(key, None);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_moved_deadline_fires_once_at_its_new_time() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut timers = Timers::new();
        timers.set('a', Some(at(1)));
        timers.set('b', Some(at(2)));
        timers.set('a', Some(at(3)));
        timers.set('c', Some(at(1)));
        timers.set('c', None);
        assert_eq!(timers.next(), Some(at(2)));
        assert_eq!((timers.pop(at(1)), timers.pop(at(2)), timers.pop(at(2))), (None, Some('b'), None));
        assert_eq!((timers.pop(at(9)), timers.pop(at(9)), timers.next()), (Some('a'), None, None));
    }
}
