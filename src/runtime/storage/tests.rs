//! The threads of storage, with a store that fails on demand.

use std::sync::{Mutex, mpsc};

use mio::Poll;

use super::writer_thread::WRITE_BATCH_MAX;
use super::*;
use crate::base::id::Id;
use crate::base::slab::Key;
use crate::model::conversation::MarkRead;
use crate::model::member::EraseMessages;
use crate::model::metrics::ErrorKind;
use crate::model::operation::Outcome;
use crate::model::readiness::Readiness;
use crate::runtime::inbox::Completion;
use crate::runtime::queue::lock;
use crate::runtime::testing::{self, Idle, PATIENCE, Plan, Store, heavy, write};
use crate::store::Fault;

/// The test's stand-in for the loop.
struct Fixture {
    _poll: Poll,
    inbox: Arc<Inbox>,
    storage: Storage,
    plan: Arc<Mutex<Plan>>,
    gate: Option<mpsc::Sender<()>>,
    readiness: Vec<Readiness>,
    fatal: Option<String>,
    errors: Vec<ErrorKind>,
}

impl Fixture {
    fn new(plan: Plan, gated: bool) -> Fixture {
        let (poll, inbox) = testing::inbox();
        let plan = Arc::new(Mutex::new(plan));
        let (sender, receiver) = mpsc::channel();
        let fake = |gate| Store { plan: Arc::clone(&plan), gate, ..Store::default() };
        let writer = fake(gated.then_some(receiver));
        let background = Background::new(Arc::clone(&inbox));
        let storage = Storage::start(
            writer,
            Writes::alone(),
            vec![fake(None), fake(None)],
            fake(None),
            Idle,
            &inbox,
            &background,
        )
        .expect("threads");
        let (readiness, fatal, errors) = (Vec::new(), None, Vec::new());
        Fixture { _poll: poll, inbox, storage, plan, gate: gated.then_some(sender), readiness, fatal, errors }
    }

    fn submit(&mut self, lane: u64, n: u64) -> Result<(), Refusal> {
        self.storage.submit(Key::from_u64(n), Lane(lane), write(n))
    }

    /// The next `count` answers, or fewer if the process must stop: the number of each write, and its result.
    fn answers(&mut self, count: usize) -> Vec<(u64, Result<(), Refusal>)> {
        self.storage.push_staged();
        let (mut answers, mut completions) = (Vec::new(), Vec::new());
        let end = Instant::now() + PATIENCE;
        while answers.len() < count && self.fatal.is_none() {
            assert!(Instant::now() < end, "{} answers", answers.len());
            let errors = self.inbox.take(&mut completions);
            self.errors.extend(errors.into_keys());
            for completion in completions.drain(..) {
                match completion {
                    Completion::Committed(tickets, outcomes) => {
                        self.storage.written(tickets.len());
                        let result = |outcome: Outcome| outcome.result.map(drop);
                        answers
                            .extend(tickets.iter().map(|t| t.to_u64()).zip(outcomes.into_iter().map(result)));
                    }
                    Completion::Storage(readiness) => self.readiness.push(readiness),
                    Completion::Fatal(reason) => self.fatal = Some(reason),
                    _ => panic!("not storage's"),
                }
            }
            std::thread::yield_now();
        }
        answers
    }

    fn close(mut self) -> Arc<Mutex<Plan>> {
        drop(self.gate.take());
        self.inbox.close();
        self.storage.close().into_iter().for_each(|thread| thread.join().expect("no panic"));
        self.plan
    }
}

#[test]
fn writes_are_committed_in_order_in_batches_that_grow_while_one_syncs() {
    let mut fixture = Fixture::new(Plan::default(), true);
    fixture.submit(1, 0).expect("room");
    fixture.storage.push_staged();
    // These wait while the first commit waits, if the writer already has it.
    for n in 1..=2_500 {
        fixture.submit(n % 7, n).expect("room");
    }
    fixture.storage.push_staged();
    let gate = fixture.gate.clone().expect("gated");
    let batches_max = 2 + 2_500_usize.div_ceil(WRITE_BATCH_MAX);
    (0..batches_max).for_each(|_| gate.send(()).expect("the writer waits"));
    let answers = fixture.answers(2_501);
    assert!(answers.iter().zip(0..).all(|((n, result), at)| *n == at && result.is_ok()));
    let plan = fixture.close();
    let plan = lock(&plan);
    assert!(plan.batches.iter().all(|batch| batch.len() <= WRITE_BATCH_MAX));
    assert!(plan.batches.len() <= batches_max && plan.closed, "{} batches", plan.batches.len());
    assert!(plan.batches.concat().into_iter().eq(0..=2_500));
}

#[test]
fn no_write_overtakes_a_fault_in_its_lane_until_the_lane_is_reset() {
    let mut fixture = Fixture::new(Plan { faulty: [2].into(), ..Plan::default() }, false);
    for (lane, n, expect) in [
        (1, 1, Ok(())),
        (1, 2, Err(Refusal::Unavailable)),
        (1, 3, Err(Refusal::Unavailable)), // the fault was in an earlier batch
        (2, 4, Ok(())),
        (1, 5, Err(Refusal::Unavailable)),
    ] {
        fixture.submit(lane, n).expect("room");
        assert_eq!(fixture.answers(1), [(n, expect)]);
    }
    fixture.storage.reset_lane(Lane(1));
    fixture.submit(1, 6).expect("room");
    assert_eq!(fixture.answers(1), [(6, Ok(()))]);
    let plan = fixture.close();
    assert_eq!(lock(&plan).batches.concat(), [1, 4, 6]);
}

/// Posts wait for at most one heavy write, and a write that follows a heavy one in its lane does not overtake it.
#[test]
fn a_heavy_write_is_committed_by_itself_and_in_the_order_of_its_lane() {
    let mut fixture = Fixture::new(Plan::default(), true);
    // The other writes come while the writer is at its first commit.
    fixture.submit(9, 0).expect("room");
    fixture.storage.push_staged();
    for (lane, write) in [
        (1, write(1)),
        (1, heavy(2)),
        (2, heavy(3)),
        (1, write(4)),
        (3, write(5)),
        (2, write(6)),
        (3, write(7)),
    ] {
        let Write::MarkRead(MarkRead { n, .. }) = write else {
            let Write::EraseMessages(EraseMessages { at }) = write else { panic!("{write:?}") };
            fixture.storage.submit(Key::from_u64(at.0), Lane(lane), write).expect("room");
            continue;
        };
        fixture.storage.submit(Key::from_u64(n), Lane(lane), write).expect("room");
    }
    fixture.storage.push_staged();
    let gate = fixture.gate.clone().expect("gated");
    (0..8).for_each(|_| gate.send(()).expect("the writer waits"));
    assert!(fixture.answers(8).iter().all(|(_, result)| result.is_ok()));
    let plan = fixture.close();
    let batches: Vec<Vec<u64>> = lock(&plan).batches.clone();
    let all = batches.concat();
    let index = |n: u64| all.iter().position(|other| *other == n).expect("committed");
    assert!(index(1) < index(2) && index(2) < index(4) && index(3) < index(6), "{batches:?}");
    assert!(index(5) < index(2) && index(7) < index(2), "{batches:?}");
    let heavies = |batch: &Vec<u64>| batch.iter().filter(|n| [2, 3].contains(*n)).count();
    assert!(batches.iter().all(|batch| heavies(batch) <= 1), "{batches:?}");
}

#[test]
fn a_full_queue_refuses_and_closes_the_lane() {
    let mut fixture = Fixture::new(Plan::default(), true);
    let most = WRITES_IN_FLIGHT_MAX as u64;
    (0..most).for_each(|n| fixture.submit(1, n).expect("room"));
    assert_eq!(fixture.submit(1, most), Err(Refusal::Busy));
    assert_eq!(fixture.submit(2, most), Err(Refusal::Busy));
    let gate = fixture.gate.clone().expect("gated");
    (0..=most).for_each(|_| gate.send(()).expect("the writer waits"));
    assert_eq!(fixture.answers(WRITES_IN_FLIGHT_MAX).len(), WRITES_IN_FLIGHT_MAX);
    // There is room again, but no write may overtake the refused one.
    assert_eq!(fixture.submit(1, most + 1), Err(Refusal::Unavailable));
    fixture.submit(3, most + 2).expect("another lane");
    fixture.storage.reset_lane(Lane(1));
    fixture.submit(1, most + 3).expect("open again");
    assert_eq!(fixture.answers(2), [(most + 2, Ok(())), (most + 3, Ok(()))]);
    fixture.close();
}

#[test]
fn a_fault_and_its_end_are_reported_once_and_a_corrupt_database_stops_the_process() {
    let mut fixture = Fixture::new(Plan::default(), false);
    lock(&fixture.plan).broken = Some(Fault::Full);
    for n in [1, 2] {
        fixture.submit(n, n).expect("room");
        assert_eq!(fixture.answers(1), [(n, Err(Refusal::StorageFull))]);
    }
    lock(&fixture.plan).broken = None;
    fixture.submit(3, 3).expect("room");
    assert_eq!(fixture.answers(1), [(3, Ok(()))]);
    assert_eq!(fixture.readiness, [Readiness::unready(Fault::Full.reason()), Readiness::default()]);
    assert_eq!(fixture.errors.first(), Some(&ErrorKind::DiskFull));

    lock(&fixture.plan).broken = Some(Fault::Corrupt);
    fixture.submit(4, 4).expect("room");
    assert_eq!(fixture.answers(1), [(4, Err(Refusal::Unavailable))], "answered before the end");
    fixture.answers(1);
    assert_eq!(fixture.fatal.as_deref(), Some(Fault::Corrupt.reason()));
    let plan = fixture.close();
    assert!(!lock(&plan).closed, "no checkpoint over a corrupt database");
}

/// Also without traffic: maintenance ends a fault, and the loop receives the new readiness.
#[test]
fn a_change_of_readiness_is_reported_without_traffic() {
    let mut fixture = Fixture::new(Plan::default(), false);
    lock(&fixture.plan).broken = Some(Fault::Io);
    fixture.submit(1, 1).expect("room");
    assert_eq!(fixture.answers(1), [(1, Err(Refusal::Unavailable))]);
    lock(&fixture.plan).broken = None;
    let end = Instant::now() + PATIENCE;
    let mut completions = Vec::new();
    while fixture.readiness.len() < 2 {
        assert!(Instant::now() < end, "{:?}", fixture.readiness);
        fixture.inbox.take(&mut completions);
        fixture.readiness.extend(completions.drain(..).filter_map(|completion| match completion {
            Completion::Storage(readiness) => Some(readiness),
            _ => None,
        }));
        std::thread::yield_now();
    }
    assert_eq!(fixture.readiness, [Readiness::unready(Fault::Io.reason()), Readiness::default()]);
    fixture.close();
}

/// A backup delays no write: writes that come meanwhile are committed between its steps. A second backup is refused.
#[test]
fn a_backup_is_answered_at_its_end_and_one_at_a_time() {
    let mut fixture = Fixture::new(Plan::default(), false);
    let back_up = |fixture: &mut Fixture, n: u64| {
        fixture.storage.back_up(Key::from_u64(n), BackUp { id: Id::from_u128(n.into()) }).expect("room");
    };
    back_up(&mut fixture, 1);
    back_up(&mut fixture, 2);
    fixture.submit(3, 3).expect("room");
    let mut answers = fixture.answers(3);
    answers.sort_by_key(|(number, _)| *number);
    assert_eq!(answers, [(1, Ok(())), (2, Err(Refusal::Busy)), (3, Ok(()))]);
    back_up(&mut fixture, 4);
    assert_eq!(fixture.answers(1), [(4, Ok(()))], "the first is over");
    fixture.close();
}

/// The end of the process waits for writes, but not for a copy, which can be made again.
#[test]
fn a_drain_cancels_a_backup() {
    let mut fixture = Fixture::new(Plan::default(), false);
    fixture.storage.back_up(Key::from_u64(1), BackUp { id: Id::from_u128(1) }).expect("room");
    fixture.storage.drain();
    fixture.submit(2, 2).expect("room");
    let mut answers = fixture.answers(2);
    answers.sort_by_key(|(number, _)| *number);
    assert_eq!(answers, [(1, Err(Refusal::Unavailable)), (2, Ok(()))]);
    fixture.close();
}
