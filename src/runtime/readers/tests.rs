//! The readers' threads around a store that waits to be interrupted.

use std::collections::BTreeMap;

use mio::Poll;

use super::*;
use crate::base::slab::Key;
use crate::runtime::testing::{self, LASTS, PATIENCE, Store, read};

/// What the loop would be.
struct Desk {
    _poll: Poll,
    inbox: Arc<Inbox>,
    readers: Readers,
    threads: Vec<Thread>,
    troubles: Vec<ErrorKind>,
}

impl Desk {
    fn new(count: usize) -> Desk {
        let (poll, inbox) = testing::inbox();
        let background = Background::new(Arc::clone(&inbox));
        let mut threads = Vec::new();
        let stores = (0..count).map(|_| Store::default()).collect();
        let readers = Readers::start("reader", stores, &inbox, &background, &mut threads).expect("threads");
        Desk { _poll: poll, inbox, readers, threads, troubles: Vec::new() }
    }

    fn submit(&mut self, flow: u64, ticket: u64, n: u64) {
        let refused = self.readers.submit(Flow::of_number(flow), Key::from_u64(ticket), Box::new(read(n)));
        assert_eq!(refused, None);
        self.readers.push_staged();
    }

    /// `count` answers by ticket; meanwhile time is what `now` says.
    fn answers(&mut self, count: usize, now: impl Fn() -> Instant) -> BTreeMap<u64, Result<(), Refusal>> {
        let (mut answers, mut completions) = (BTreeMap::new(), Vec::new());
        let end = Instant::now() + PATIENCE;
        while answers.len() < count {
            assert!(Instant::now() < end, "{} answers", answers.len());
            self.readers.watch(now());
            self.troubles.extend(self.inbox.take(&mut completions).into_keys());
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
            state.seats.iter().any(|seat| seat.running.is_some_and(|at| at.ticket == Key::from_u64(ticket)))
        });
    }

    fn close(mut self) {
        self.readers.close();
        self.threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    }
}

#[test]
fn reads_are_answered_each_and_a_panic_is_one_refusal() {
    let mut desk = Desk::new(2);
    for n in 0..100 {
        desk.submit(n % 3, n, n);
    }
    for (n, result) in desk.answers(100, Instant::now) {
        assert_eq!(result, if n == 13 { Err(Refusal::Internal) } else { Ok(()) }, "{n}");
    }
    assert_eq!(desk.troubles, [ErrorKind::Read]);
    desk.close();
}

#[test]
fn a_read_that_nobody_waits_for_is_dropped_or_interrupted() {
    let mut desk = Desk::new(1);
    desk.submit(1, 1, LASTS);
    desk.runs(1);
    desk.submit(1, 2, 2);
    desk.submit(2, 3, 3);
    assert!(desk.readers.cancel(Key::from_u64(2)), "it waited");
    assert!(!desk.readers.cancel(Key::from_u64(1)), "it ran, and answers by itself");
    let answers = desk.answers(2, Instant::now);
    assert_eq!(answers, [(1, Err(Refusal::Busy)), (3, Ok(()))].into());
    assert_eq!(desk.troubles, [], "no fault of the database");
    assert!(!desk.readers.cancel(Key::from_u64(3)), "it is over");
    desk.close();
}

#[test]
fn a_read_ends_with_its_budget() {
    let mut desk = Desk::new(1);
    assert_eq!(desk.readers.next_deadline(), None);
    desk.submit(1, 1, LASTS);
    desk.runs(1);
    desk.submit(2, 2, 2);
    let before = Instant::now();
    desk.readers.watch(before + READ_BUDGET / 2);
    assert!(desk.readers.next_deadline().is_some(), "it is watched");
    let later = before + READ_BUDGET * 2;
    assert_eq!(desk.answers(2, || later), [(1, Err(Refusal::Busy)), (2, Ok(()))].into());
    desk.readers.watch(later + WATCH_EVERY);
    assert_eq!(desk.readers.next_deadline(), None, "nothing runs: the loop may sleep");
    desk.close();
}

#[test]
fn a_close_interrupts_what_runs() {
    let mut desk = Desk::new(1);
    desk.submit(1, 1, LASTS);
    desk.runs(1);
    desk.submit(1, 2, 2);
    desk.close();
}
