//! Reads of many flows against the queue's promises. The tests control the time.

use super::*;
use crate::base::slab::Key;

const MS: Duration = Duration::from_millis(1);

fn flow(n: u64) -> Flow {
    Flow::of_number(n)
}

fn ticket(n: u64) -> Ticket {
    Key::from_u64(n)
}

fn offer(queue: &mut ReadQueue<u64>, of: u64, n: u64) {
    assert_eq!(queue.offer(flow(of), ticket(n), n), None);
}

/// Runs one read at a time, each of `took`. Returns the numbers in the order in which they ran.
fn drain(queue: &mut ReadQueue<u64>, took: impl Fn(u64) -> Duration) -> Vec<u64> {
    let mut order = Vec::new();
    while let Some((flow, _, n)) = queue.start() {
        order.push(n);
        queue.finished(flow, took(n));
    }
    order
}

#[test]
fn flows_take_turns_and_a_flow_keeps_its_order() {
    let mut queue = ReadQueue::default();
    for n in 0..4 {
        offer(&mut queue, 1, n);
    }
    offer(&mut queue, 2, 10);
    offer(&mut queue, 2, 11);
    offer(&mut queue, 3, 20);
    assert_eq!(drain(&mut queue, |_| MS), [0, 10, 20, 1, 11, 2, 3]);
    assert!(queue.is_empty() && queue.flows.is_empty() && queue.idle.is_empty());
}

#[test]
fn the_time_that_reads_take_is_shared_not_their_number() {
    let mut queue = ReadQueue::default();
    for n in 0..10 {
        offer(&mut queue, 1, n);
        offer(&mut queue, 2, 100 + n);
    }
    // A read of flow 1 takes as long as five of flow 2.
    let order = drain(&mut queue, |n| if n < 100 { 5 * MS } else { MS });
    let cheap_before_the_third = order.iter().take_while(|n| **n != 2).filter(|n| **n >= 100).count();
    assert_eq!(cheap_before_the_third, 10, "{order:?}");
}

#[test]
fn a_flow_that_read_nothing_recently_is_next_however_much_others_have_queued() {
    let mut queue = ReadQueue::default();
    for heavy in 1..=60 {
        for n in 0..20 {
            offer(&mut queue, heavy, heavy * 100 + n);
        }
    }
    for _ in 0..200 {
        let (flow, ..) = queue.start().expect("a read");
        queue.finished(flow, 10 * MS);
    }
    let (running, ..) = queue.start().expect("a read");
    offer(&mut queue, 99, 7);
    queue.finished(running, 10 * MS);
    // Some waiting flows have used as little as the new one is charged; none has used less.
    let before = std::iter::from_fn(|| {
        let (flow, _, n) = queue.start()?;
        queue.finished(flow, 10 * MS);
        Some(n)
    });
    let position = before.take(60).position(|n| n == 7);
    assert!(position.is_some(), "within one round of the others");
}

#[test]
fn a_flow_runs_one_read_at_once_and_leaves_the_other_reader_to_others() {
    let mut queue = ReadQueue::default();
    offer(&mut queue, 1, 1);
    offer(&mut queue, 1, 2);
    let (first, _, n) = queue.start().expect("a read");
    assert_eq!(n, 1);
    assert!(queue.start().is_none() && queue.startable() == 0);
    offer(&mut queue, 2, 3);
    assert_eq!((queue.startable(), queue.start().map(|(_, _, n)| n)), (1, Some(3)));
    queue.finished(first, MS);
    assert_eq!(queue.start().map(|(_, _, n)| n), Some(2));
    assert_eq!(queue.len(), 2);
}

#[test]
fn a_cancelled_read_never_starts() {
    let mut queue = ReadQueue::default();
    for n in 0..5 {
        offer(&mut queue, 1, n);
    }
    offer(&mut queue, 2, 9);
    assert_eq!(queue.cancel(ticket(9)), Some(9));
    assert_eq!(queue.cancel(ticket(9)), None);
    assert_eq!(queue.cancel(ticket(0)), Some(0));
    let (flow, started, _) = queue.start().expect("a read");
    assert_eq!(queue.cancel(started), None, "it runs");
    assert_eq!(queue.cancel(ticket(3)), Some(3));
    queue.finished(flow, MS);
    assert_eq!(drain(&mut queue, |_| MS), [2, 4]);
    assert!(queue.lengths.is_empty() && queue.flow_of.is_empty() && queue.ready.is_empty());
}

#[test]
fn a_flow_has_a_bound_and_the_longest_loses_a_read_when_the_queue_is_full() {
    let mut queue = ReadQueue::default();
    let mut n = 0;
    for of in 0.. {
        if queue.len() == READS_IN_FLIGHT_MAX {
            break;
        }
        for _ in 0..READS_PER_FLOW_MAX.min(READS_IN_FLIGHT_MAX - queue.len()) {
            n += 1;
            offer(&mut queue, of, n);
        }
        if queue.len() < READS_IN_FLIGHT_MAX {
            assert_eq!(queue.offer(flow(of), ticket(u64::MAX), 0), Some(ticket(u64::MAX)), "its bound");
        }
    }
    let refused = queue.offer(flow(9_999), ticket(77), 77).expect("another flow's newest");
    assert_ne!(refused, ticket(77), "a flow without reads is admitted");
    assert_eq!((queue.len(), queue.cancel(refused)), (READS_IN_FLIGHT_MAX, None));
}

#[test]
fn idle_flows_are_forgotten() {
    let mut queue = ReadQueue::default();
    offer(&mut queue, 0, 0);
    let (long, ..) = queue.start().expect("a read that lasts");
    for n in 1..20_000 {
        offer(&mut queue, n, n);
        let (flow, ..) = queue.start().expect("a read");
        queue.finished(flow, MS);
        assert!(queue.flows.len() <= IDLE_MAX + 2);
    }
    queue.finished(long, MS);
    assert!(queue.flows.is_empty());
}
