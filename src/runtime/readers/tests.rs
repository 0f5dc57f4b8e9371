//! The readers' threads with a store that waits to be interrupted.

use std::collections::BTreeMap;

use mio::Poll;

use super::*;
use crate::base::slab::Key;
use crate::runtime::testing::{self, LASTS, PATIENCE, Store, read};

/// The test's stand-in for the loop.
struct Fixture {
    _poll: Poll,
    inbox: Arc<Inbox>,
    readers: Readers,
    threads: Vec<Thread>,
    errors: Vec<ErrorKind>,
}

impl Fixture {
    fn new(count: usize) -> Fixture {
        let (poll, inbox) = testing::inbox();
        let background = Background::new(Arc::clone(&inbox));
        let mut threads = Vec::new();
        let stores = (0..count).map(|_| Store::default()).collect();
        let readers = Readers::start("reader", Measure::WaitRead, stores, &inbox, &background, &mut threads)
            .expect("threads");
        Fixture { _poll: poll, inbox, readers, threads, errors: Vec::new() }
    }

    fn submit(&mut self, flow: u64, ticket: u64, n: u64) {
        let refused = self.readers.submit(Flow::of_number(flow), Key::from_u64(ticket), Box::new(read(n)));
        assert_eq!(refused, None);
        self.readers.push_staged();
    }

    /// `count` answers by ticket. `now` gives the time.
    fn answers(&mut self, count: usize, now: impl Fn() -> Instant) -> BTreeMap<u64, Result<(), Refusal>> {
        let (mut answers, mut completions) = (BTreeMap::new(), Vec::new());
        let end = Instant::now() + PATIENCE;
        while answers.len() < count {
            assert!(Instant::now() < end, "{} answers", answers.len());
            self.readers.watch(now());
            self.errors.extend(self.inbox.take(&mut completions).into_keys());
            for completion in completions.drain(..) {
                let Completion::Read(ticket, result) = completion else { panic!("not a reader's") };
                answers.insert(ticket.to_u64(), result.map(drop));
            }
            std::thread::yield_now();
        }
        answers
    }

    fn runs(&self, ticket: u64) {
        testing::until("it runs", || {
            let state = lock(&self.readers.shared.state);
            state.slots.iter().any(|slot| slot.running.is_some_and(|at| at.ticket == Key::from_u64(ticket)))
        });
    }

    fn close(mut self) {
        self.readers.close();
        self.threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    }
}

#[test]
fn each_read_is_answered_and_a_panic_is_one_refusal() {
    let mut fixture = Fixture::new(2);
    for n in 0..100 {
        fixture.submit(n % 3, n, n);
    }
    for (n, result) in fixture.answers(100, Instant::now) {
        assert_eq!(result, if n == 13 { Err(Refusal::Internal) } else { Ok(()) }, "{n}");
    }
    assert_eq!(fixture.errors, [ErrorKind::Read]);
    fixture.close();
}

#[test]
fn a_read_without_a_waiting_client_is_dropped_or_interrupted() {
    let mut fixture = Fixture::new(1);
    fixture.submit(1, 1, LASTS);
    fixture.runs(1);
    fixture.submit(1, 2, 2);
    fixture.submit(2, 3, 3);
    assert!(fixture.readers.cancel(Key::from_u64(2)), "it waited");
    assert!(!fixture.readers.cancel(Key::from_u64(1)), "it ran, and answers by itself");
    let answers = fixture.answers(2, Instant::now);
    assert_eq!(answers, [(1, Err(Refusal::Busy)), (3, Ok(()))].into());
    assert_eq!(fixture.errors, [], "no fault of the database");
    assert!(!fixture.readers.cancel(Key::from_u64(3)), "it is over");
    fixture.close();
}

#[test]
fn a_read_ends_with_its_budget() {
    let mut fixture = Fixture::new(1);
    assert_eq!(fixture.readers.next_deadline(), None);
    fixture.submit(1, 1, LASTS);
    fixture.runs(1);
    fixture.submit(2, 2, 2);
    let before = Instant::now();
    fixture.readers.watch(before + READ_BUDGET / 2);
    assert!(fixture.readers.next_deadline().is_some(), "it is watched");
    let later = before + READ_BUDGET * 2;
    assert_eq!(fixture.answers(2, || later), [(1, Err(Refusal::Busy)), (2, Ok(()))].into());
    fixture.readers.watch(later + WATCH_EVERY);
    assert_eq!(fixture.readers.next_deadline(), None, "nothing runs: the loop may sleep");
    fixture.close();
}

#[test]
fn a_close_interrupts_a_running_read() {
    let mut fixture = Fixture::new(1);
    fixture.submit(1, 1, LASTS);
    fixture.runs(1);
    fixture.submit(1, 2, 2);
    fixture.close();
}
