//! Recent failed attempts, counted by key: wrong passwords of an account, answers `email_taken` to a network.
//!
//! Owns the counts; leaves to the handlers what follows from a count, and to the server to tell the other nodes of a cluster. The
//! counts are in memory and end with the process. The key of an account is an HMAC, so that no e-mail can be read back.
//! Invariant: each table has at most [`ATTEMPT_KEYS_MAX`] keys.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::base::network::Prefix;
use crate::base::time::Now;
use crate::limits::{EMAIL_TAKEN_WINDOW, SIGN_IN_WINDOW};

/// Failed sign-ins of one account within [`SIGN_IN_WINDOW`]. Then: 429 for devices that are not known.
const SIGN_IN_FAILURES_MAX: usize = 10;
/// Answers `email_taken` to one subscriber within [`EMAIL_TAKEN_WINDOW`]. Then: 429 for its sign-ups.
const EMAIL_TAKEN_MAX: usize = 10;
/// How many times as many a prefix around a subscriber's gets, by [`Prefix::width`].
const WIDER: [usize; 3] = [1, 4, 16];
/// Accounts (or addresses) whose failures are counted at once, up to 250 bytes each. Above: the one with the fewest failures
/// is forgotten, so that a flood of names cannot remove the count of a name under attack.
const ATTEMPT_KEYS_MAX: usize = 10_000;
/// Wrong passwords in account.password and account.delete within [`SIGN_IN_WINDOW`]: a stolen access token must not be
/// a way to guess. Then: 429 for that member.
const PASSWORD_FAILURES_MAX: usize = 10;

/// The counts of a server.
#[derive(Debug)]
pub struct Attempts {
    sign_in: Failures<AttemptKey>,
    password: Failures<AttemptKey>,
    email_taken: NetworkFailures,
    /// In a cluster: what the other nodes are to count, too.
    news: Option<Vec<AttemptEnd>>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// A password of an account, known or unknown.
    SignIn(AttemptKey),
    /// A password in a request with an access token, by member.
    Password(AttemptKey),
    /// The answer `email_taken`, by network.
    EmailTaken(IpAddr),
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// It is one failure more.
    Failed(Attempt),
    /// The failures before it do not count any more.
    Succeeded(Attempt),
}

impl Default for Attempts {
    fn default() -> Self {
        Attempts {
            sign_in: Failures::new(SIGN_IN_FAILURES_MAX, SIGN_IN_WINDOW),
            password: Failures::new(PASSWORD_FAILURES_MAX, SIGN_IN_WINDOW),
            email_taken: NetworkFailures::new(EMAIL_TAKEN_MAX, EMAIL_TAKEN_WINDOW),
            news: None,
        }
    }
}

impl Attempts {
    /// Of one of several nodes, each of which counts the failures of all.
    pub fn shared() -> Attempts {
        Attempts { news: Some(Vec::new()), ..Attempts::default() }
    }

    /// How long until this may be tried again; `None` if it may be now.
    pub fn blocked(&self, attempt: Attempt, now: Now) -> Option<Duration> {
        match attempt {
            Attempt::SignIn(key) => self.sign_in.blocked(&key, now),
            Attempt::Password(key) => self.password.blocked(&key, now),
            Attempt::EmailTaken(address) => self.email_taken.blocked(address, now),
        }
    }

    /// Records a failure.
    pub fn failed(&mut self, attempt: Attempt, now: Now) {
        self.tell(AttemptEnd::Failed(attempt));
        self.count(AttemptEnd::Failed(attempt), now);
    }

    /// Forgets the failures. Those of a network stay until their window is over.
    pub fn succeeded(&mut self, attempt: Attempt) {
        if self.forget(attempt) {
            self.tell(AttemptEnd::Succeeded(attempt));
        }
    }

    /// Another node has seen this.
    pub fn count(&mut self, ended: AttemptEnd, now: Now) {
        match ended {
            AttemptEnd::Failed(Attempt::SignIn(key)) => self.sign_in.failed(key, now),
            AttemptEnd::Failed(Attempt::Password(key)) => self.password.failed(key, now),
            AttemptEnd::Failed(Attempt::EmailTaken(address)) => self.email_taken.failed(address, now),
            AttemptEnd::Succeeded(attempt) => {
                self.forget(attempt);
            }
        }
    }

    /// What the other nodes are to count, too. The server asks after each handler, each of which reports one or two.
    pub fn take_news(&mut self) -> Vec<AttemptEnd> {
        self.news.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn tell(&mut self, ended: AttemptEnd) {
        if let Some(news) = &mut self.news {
            news.push(ended);
        }
    }

    /// Returns whether there were any.
    fn forget(&mut self, attempt: Attempt) -> bool {
        match attempt {
            Attempt::SignIn(key) => self.sign_in.succeeded(&key),
            Attempt::Password(key) => self.password.succeeded(&key),
            Attempt::EmailTaken(_) => false,
        }
    }
}

/// An HMAC of what is counted.
pub type AttemptKey = [u8; 32];

/// Failures within a window that slides with the clock.
#[derive(Debug)]
struct Failures<K> {
    max: usize,
    window: Duration,
    keys_max: usize,
    /// The newest `max` failures of each key, oldest first.
    by_key: BTreeMap<K, Vec<Instant>>,
}

impl<K: Ord + Copy> Failures<K> {
    /// Counts up to `max` failures of a key within `window`.
    fn new(max: usize, window: Duration) -> Failures<K> {
        Failures { max, window, keys_max: ATTEMPT_KEYS_MAX, by_key: BTreeMap::new() }
    }

    /// How long until this key may try again; `None` when it may now.
    fn blocked(&self, key: &K, now: Now) -> Option<Duration> {
        let times = self.by_key.get(key)?;
        // With `max` failures recorded, the oldest of them decides.
        let oldest = *times.first().filter(|_| times.len() >= self.max)?;
        let left = (oldest + self.window).saturating_duration_since(now.instant);
        (!left.is_zero()).then_some(left)
    }

    /// Records a failure.
    fn failed(&mut self, key: K, now: Now) {
        if !self.by_key.contains_key(&key) && self.by_key.len() >= self.keys_max {
            self.make_room(now);
        }
        let times = self.by_key.entry(key).or_default();
        if times.len() >= self.max {
            times.remove(0);
        }
        times.push(now.instant);
    }

    /// Forgets the failures of a key. Returns whether there were any.
    fn succeeded(&mut self, key: &K) -> bool {
        self.by_key.remove(key).is_some()
    }

    /// Forgets the keys outside of the window, or else the key with the fewest failures, the oldest of those first. It scans all
    /// keys, which costs little compared with the password hash of each failure.
    fn make_room(&mut self, now: Now) {
        let window = self.window;
        self.by_key.retain(|_, times| times.last().is_some_and(|last| *last + window > now.instant));
        if self.by_key.len() < self.keys_max {
            return;
        }
        let weakest =
            self.by_key.iter().min_by_key(|(_, times)| (times.len(), times.last().copied())).map(|(k, _)| *k);
        if let Some(weakest) = weakest {
            self.by_key.remove(&weakest);
        }
    }
}

/// Failures of an address, counted for the subscriber and for each prefix around it: a client that rents 256 neighbouring
/// prefixes gets no more than the widest one.
#[derive(Debug)]
struct NetworkFailures {
    by_width: [Failures<Prefix>; 3],
}

impl NetworkFailures {
    fn new(max: usize, window: Duration) -> NetworkFailures {
        // A key of a wider prefix may take more memory, so there are fewer of them.
        let of = |times: usize| Failures {
            keys_max: ATTEMPT_KEYS_MAX / times,
            ..Failures::new(max * times, window)
        };
        NetworkFailures { by_width: WIDER.map(of) }
    }

    /// How long until this address may try again; `None` if it may now.
    fn blocked(&self, address: IpAddr, now: Now) -> Option<Duration> {
        Prefix::around(address).filter_map(|prefix| self.by_width[prefix.width()].blocked(&prefix, now)).max()
    }

    /// Records a failure of this address.
    fn failed(&mut self, address: IpAddr, now: Now) {
        Prefix::around(address).for_each(|prefix| self.by_width[prefix.width()].failed(prefix, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::UnixMs;

    fn now() -> Now {
        Now { instant: Instant::now(), unix_ms: UnixMs(0) }
    }

    fn after(now: Now, s: u64) -> Now {
        now.later(Duration::from_secs(s))
    }

    #[test]
    fn the_last_failure_blocks_until_the_first_leaves_the_window() {
        let (start, key) = (now(), [1; 32]);
        let mut failures = Failures::new(3, Duration::from_secs(100));
        failures.failed(key, start);
        failures.failed(key, after(start, 10));
        assert_eq!(failures.blocked(&key, after(start, 10)), None);
        failures.failed(key, after(start, 20));
        assert_eq!(failures.blocked(&key, after(start, 20)), Some(Duration::from_secs(80)));
        assert_eq!(failures.blocked(&[2; 32], after(start, 20)), None);
        assert!(failures.blocked(&key, after(start, 99)).is_some());
        assert_eq!(failures.blocked(&key, after(start, 100)), None);
        // The window slides: one more failure, and the second one decides.
        failures.failed(key, after(start, 100));
        assert_eq!(failures.blocked(&key, after(start, 100)), Some(Duration::from_secs(10)));
        failures.succeeded(&key);
        assert_eq!(failures.blocked(&key, after(start, 100)), None);
    }

    #[test]
    fn a_flood_of_names_neither_grows_the_memory_nor_frees_the_attacked() {
        let (start, attacked) = (now(), [255; 32]);
        let mut failures = Failures { keys_max: 4, ..Failures::new(2, Duration::from_secs(100)) };
        failures.failed(attacked, start);
        failures.failed(attacked, start);
        for i in 0..50u8 {
            failures.failed([i; 32], after(start, u64::from(i)));
            assert!(failures.by_key.len() <= 4);
        }
        assert!(failures.blocked(&attacked, after(start, 50)).is_some());
        // Once its window is over it makes room like the rest.
        failures.failed([70; 32], after(start, 120));
        assert!(!failures.by_key.contains_key(&attacked));
    }

    #[test]
    fn failures_of_an_address_count_for_each_prefix_around_it() {
        let start = now();
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let mut failures = NetworkFailures::new(2, Duration::from_secs(100));
        let mut passed = |count: usize, of: &dyn Fn(usize) -> String| {
            let free = |at: &usize| {
                let from = address(&of(*at));
                let free = failures.blocked(from, start).is_none();
                if free {
                    failures.failed(from, start);
                }
                free
            };
            (0..count).filter(free).count()
        };
        assert_eq!(passed(9, &|at| format!("2001:db8::{at}")), 2, "a /64");
        assert_eq!(passed(99, &|at| format!("2001:db8:0:{:x}::1", 1 + at)), 6, "8 of a /56");
        assert_eq!(passed(999, &|at| format!("2001:db8:0:{:x}::1", 0x100 + at)), 24, "32 of a /48");
        assert_eq!(passed(9, &|_| "2001:db8:1::1".to_owned()), 2, "elsewhere");
        assert_eq!(passed(9, &|_| "192.0.2.1".to_owned()), 2);
        assert_eq!(passed(99, &|at| format!("192.0.2.{}", 2 + at)), 30, "32 of a /24");
    }
}
