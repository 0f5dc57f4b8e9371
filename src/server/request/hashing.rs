//! Passwords that wait for a hash, and which is next: guesses from one network never delay another's sign-in.
//!
//! Owns the queue before the worker threads; handlers decide what is hashed and what follows from it.
//!
//! ```text
//! known devices ──┐ in turn      accounts ── in turn ──→ oldest first
//! all others ─────┘              /48s and /24s ── in turn ──→ /56s ── in turn ──→ /64s and addresses ──→ oldest first
//! ```
//!
//! The workers get no more jobs than they can begin, since they do them in the order in which they got them. A device is known
//! when it had a session of the same member: a client that only names an existing account waits as all others do, since a
//! shorter wait would show that the account exists.
//!
//! Invariant: both queues are bounded in all, by account and by prefix; when one is full, the account or network with the most
//! jobs in it gives way.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use crate::base::network::Prefix;
use crate::base::turns::{Turns, prefixes};
use crate::limits::{PASSWORD_JOBS_MAX, PASSWORD_THREADS};
use crate::model::id::MemberId;
use crate::model::job::Job;
use crate::server::contract::Ticket;

/// Jobs that wait: so many of known devices and so many of all others, each about a second of work. Above: `busy`.
const WAITING_MAX: usize = 64;
/// Of them from one prefix, by [`Prefix::width`]. Above: `busy`.
const OF_PREFIX_MAX: [usize; 3] = [8, 16, 32];
/// Of them of one account, whose devices may ask from many networks. Above: `busy`.
const OF_ACCOUNT_MAX: usize = 8;

/// Where a job comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A session of this member, or a device that had one.
    Account(MemberId),
    /// The control socket.
    Operator,
    Address(IpAddr),
}

/// What is served in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Share {
    Operator,
    Account(MemberId),
    Network(Prefix),
}

impl Share {
    fn jobs_max(self) -> usize {
        match self {
            Share::Operator | Share::Account(_) => OF_ACCOUNT_MAX,
            Share::Network(prefix) => OF_PREFIX_MAX[prefix.width()],
        }
    }
}

#[derive(Debug)]
pub struct Hashing {
    /// Jobs that the workers have at most: one for each thread. One more would save a thread the time of a turn of the loop, and cost
    /// each sign-in the time of one more hash.
    under_way_max: usize,
    known: Line,
    others: Line,
    /// Which of the two queues is next when jobs wait in both.
    known_next: bool,
    under_way: usize,
    /// Refused and not answered yet; empty between two inputs.
    refused: VecDeque<Ticket>,
}

const _: () = assert!(PASSWORD_THREADS <= PASSWORD_JOBS_MAX);

/// With the time at which it came.
type Waiting = (Ticket, Job, Instant);

/// One queue, served in turn by account or prefix.
#[derive(Debug, Default)]
struct Line(Turns<Share, Waiting>);

impl Hashing {
    pub fn new(under_way_max: usize) -> Hashing {
        let (known, others) = (Line::default(), Line::default());
        Hashing { under_way_max, known, others, known_next: false, under_way: 0, refused: VecDeque::new() }
    }

    /// Adds a job. If there is no room, another one is refused for it, or it is refused itself.
    pub fn ask(&mut self, asker: Asker, ticket: Ticket, job: Job, now: Instant) {
        let (line, path) = match asker {
            Asker::Account(member) => (&mut self.known, vec![Share::Account(member)]),
            Asker::Operator => (&mut self.known, vec![Share::Operator]),
            Asker::Address(address) => {
                (&mut self.others, prefixes(address).into_iter().map(Share::Network).collect())
            }
        };
        self.refused.extend(line.push(&path, (ticket, job, now)));
    }

    /// A job that was refused and has no answer yet.
    pub fn take_refused(&mut self) -> Option<Ticket> {
        self.refused.pop_front()
    }

    /// Removes a job that no client waits for any more; `false` if it does not wait here.
    pub fn forget(&mut self, ticket: Ticket) -> bool {
        let is_it = |(waiting, ..): &Waiting| *waiting == ticket;
        self.known.0.remove(&[], is_it).or_else(|| self.others.0.remove(&[], is_it)).is_some()
    }

    /// The next job for the workers, while they can begin one, and when it came.
    pub fn start_next(&mut self) -> Option<Waiting> {
        if self.under_way >= self.under_way_max {
            return None;
        }
        let (first, second) = if self.known_next {
            (&mut self.known, &mut self.others)
        } else {
            (&mut self.others, &mut self.known)
        };
        let next = first.0.pop().or_else(|| second.0.pop())?;
        self.known_next = !self.known_next;
        self.under_way += 1;
        Some(next)
    }

    /// A worker has done a job.
    pub fn done(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }
}

impl Line {
    /// Adds a job. Returns the one that is refused for it, or its own ticket if it is refused itself.
    fn push(&mut self, path: &[Share], waiting: Waiting) -> Option<Ticket> {
        if self.0.is_full(path, Share::jobs_max) {
            return Some(waiting.0);
        }
        let mut refused = None;
        if self.0.len() >= WAITING_MAX {
            let (most, longest) = self.0.longest()?;
            // One with as many jobs as the longest one has no claim against it.
            if self.0.len_of(path[0]) >= longest || most == path[0] {
                return Some(waiting.0);
            }
            refused = self.0.drop_newest().map(|(ticket, ..)| ticket);
        }
        self.0.push(path, waiting);
        refused
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::id::Id;
    use crate::base::secret::Secret;
    use crate::base::slab::Key;

    struct Stage {
        hashing: Hashing,
        names: BTreeMap<Ticket, String>,
    }

    impl Stage {
        fn new() -> Stage {
            Stage { hashing: Hashing::new(PASSWORD_THREADS), names: BTreeMap::new() }
        }

        /// The address, or the number of an account, of the one that is refused for it.
        fn ask(&mut self, address: &str) -> Option<String> {
            let ticket = Key::from_u64(self.names.len() as u64);
            self.names.insert(ticket, address.to_owned());
            let job = Job::HashPassword { password: Secret::new(String::new()), salt: [0; 16] };
            let asker = match address.parse() {
                Ok(number) => Asker::Account(Id::from_u128(number)),
                Err(_) => Asker::Address(address.parse().expect("an address")),
            };
            self.hashing.ask(asker, ticket, job, Instant::now());
            self.hashing.take_refused().map(|refused| self.names[&refused].clone())
        }

        /// The addresses of all that wait, as they are served.
        fn serve(&mut self) -> Vec<String> {
            std::iter::from_fn(|| {
                let (ticket, ..) = self.hashing.start_next()?;
                self.hashing.done();
                Some(self.names[&ticket].clone())
            })
            .collect()
        }
    }

    #[test]
    fn workers_get_no_more_than_they_can_begin() {
        let mut stage = Stage::new();
        (0..5).for_each(|_| drop(stage.ask("192.0.2.1")));
        let given = std::iter::from_fn(|| stage.hashing.start_next()).count();
        assert_eq!(given, PASSWORD_THREADS);
        stage.hashing.done();
        assert!(stage.hashing.start_next().is_some() && stage.hashing.start_next().is_none());
    }

    #[test]
    fn in_a_full_queue_the_prefix_with_the_most_jobs_gives_way_to_a_new_one() {
        let mut stage = Stage::new();
        // 256 /64s of one /56 have together as many jobs as one /56 may.
        let refused = (0..256).filter(|i| stage.ask(&format!("2001:db8:0:{i:x}::1")).is_some()).count();
        assert_eq!(refused, 256 - 16);
        assert_eq!((0..20).filter(|_| stage.ask("192.0.2.1").is_some()).count(), 12, "of one address");
        assert_eq!((0..99).filter(|i| stage.ask(&format!("198.51.100.{i}")).is_some()).count(), 67);
        for i in 0..8 {
            assert_eq!(stage.ask(&format!("10.0.{i}.1")), None);
        }
        assert_eq!(stage.hashing.others.0.len(), WAITING_MAX);
        // It is full, and each new prefix replaces the newest job of the busiest network.
        assert!(stage.ask("203.0.113.1").is_some_and(|gone| gone.starts_with("198.51.100.")));
        assert!(stage.ask("198.51.100.200").is_some_and(|gone| gone == "198.51.100.200"));
        assert_eq!(stage.hashing.others.0.len(), WAITING_MAX);
        let served = stage.serve();
        assert_eq!(served.len(), WAITING_MAX);
        assert!(served[..12].contains(&"203.0.113.1".to_owned()), "in the first round of turns");
    }

    #[test]
    fn a_forgotten_job_makes_room() {
        let mut stage = Stage::new();
        for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2", "198.51.100.1"] {
            stage.ask(address);
        }
        assert!(stage.hashing.forget(Key::from_u64(0)) && stage.hashing.forget(Key::from_u64(3)));
        assert!(!stage.hashing.forget(Key::from_u64(3)) && !stage.hashing.forget(Key::from_u64(9)));
        assert_eq!(stage.hashing.others.0.len(), 2);
        assert_eq!(stage.serve(), ["192.0.2.1", "192.0.2.2"]);
        assert!(stage.hashing.others.0.is_empty());
    }

    #[test]
    fn known_devices_have_a_queue_of_their_own() {
        let mut stage = Stage::new();
        (0..200).for_each(|i| drop(stage.ask(&format!("10.0.{i}.1"))));
        (0..3).for_each(|_| assert_eq!(stage.ask("7"), None));
        let served = stage.serve();
        let known = served.iter().enumerate().filter(|(_, address)| *address == "7");
        assert_eq!(known.map(|(at, _)| at).collect::<Vec<_>>(), [1, 3, 5]);
    }

    #[test]
    fn one_account_never_fills_the_queue_of_known_devices() {
        let mut stage = Stage::new();
        assert_eq!((0..99).filter(|_| stage.ask("7").is_some()).count(), 99 - OF_ACCOUNT_MAX);
        assert_eq!(stage.ask("8"), None);
        assert_eq!(stage.serve()[..3], ["7", "8", "7"]);
        // In a full queue the account with the most jobs gives way.
        (0..OF_ACCOUNT_MAX).for_each(|_| assert_eq!(stage.ask("7"), None));
        (0..WAITING_MAX - OF_ACCOUNT_MAX)
            .for_each(|at| assert_eq!(stage.ask(&format!("{}", 100 + at)), None));
        assert_eq!(stage.ask("8").as_deref(), Some("7"));
        assert_eq!(stage.hashing.known.0.len(), WAITING_MAX);
    }
}
