//! The queue from the loop to its threads: the consumers sleep on it, and the loop's side counts its items.
//!
//! Does not know what its items are.
//! Invariant: the number of items that were offered and not returned never exceeds the producer's limit. A thread is woken
//! only if it sleeps: the work of a complete turn costs one lock and one wake (a wake per command would cost more than its
//! commit).

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::model::measures::{Measure, Measures};

/// Locks a mutex also after a panic under its lock: its value is consistent at every point that could panic.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The result of a take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Items,
    /// The time limit came before an item.
    Nothing,
    /// The queue is empty, and no item will follow.
    Closed,
}

pub struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    /// Where it is measured how long its oldest item waits.
    measured: Option<(Arc<Measures>, Measure)>,
}

struct State<T> {
    items: VecDeque<T>,
    /// When the oldest item came, if that is measured.
    since: Option<Instant>,
    sleepers: usize,
    closed: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let state = State { items: VecDeque::new(), since: None, sleepers: 0, closed: false };
        Queue { state: Mutex::new(state), filled: Condvar::new(), measured: None }
    }
}

impl<T> Queue<T> {
    /// Moves at most `most` items to the end of `out`, oldest first. Sleeps until there is one, or until `until`.
    pub fn take(&self, out: &mut VecDeque<T>, most: usize, until: Option<Instant>) -> Taken {
        let mut state = lock(&self.state);
        loop {
            if !state.items.is_empty() {
                if out.is_empty() && state.items.len() <= most {
                    // Swaps the two lists, so that no item is moved.
                    std::mem::swap(out, &mut state.items);
                } else {
                    let count = most.min(state.items.len());
                    out.extend(state.items.drain(..count));
                }
                if let (Some((measures, measure)), Some(since)) = (&self.measured, state.since) {
                    measures.took(*measure, since.elapsed());
                    // What is left came no earlier.
                    state.since = (!state.items.is_empty()).then_some(since);
                }
                return Taken::Items;
            }
            if state.closed {
                return Taken::Closed;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Taken::Nothing;
            }
            state.sleepers += 1;
            state = match left {
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.sleepers -= 1;
        }
    }

    pub fn append(&self, items: &mut VecDeque<T>) {
        let mut state = lock(&self.state);
        let wakes = items.len().min(state.sleepers);
        if state.items.is_empty() {
            std::mem::swap(&mut state.items, items);
            state.since = self.measured.as_ref().map(|_| Instant::now());
        } else {
            state.items.append(items);
        }
        drop(state);
        (0..wakes).for_each(|_| self.filled.notify_one());
    }

    /// No item will follow. Queued items are still delivered.
    fn close(&self) {
        lock(&self.state).closed = true;
        self.filled.notify_all();
    }

    /// No item will follow, and queued items are dropped.
    fn abandon(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.items.clear();
        drop(state);
        self.filled.notify_all();
    }
}

/// The loop's side of a queue.
pub struct Producer<T> {
    queue: Arc<Queue<T>>,
    staged: VecDeque<T>,
    in_flight: usize,
    in_flight_max: usize,
}

impl<T> Producer<T> {
    pub fn new(in_flight_max: usize) -> Producer<T> {
        Producer { queue: Arc::default(), staged: VecDeque::new(), in_flight: 0, in_flight_max }
    }

    /// As [`Producer::new`], and it is measured how long the oldest item waits for a consumer.
    pub fn measured(in_flight_max: usize, measures: &Arc<Measures>, measure: Measure) -> Producer<T> {
        let queue = Queue { measured: Some((Arc::clone(measures), measure)), ..Queue::default() };
        Producer { queue: Arc::new(queue), staged: VecDeque::new(), in_flight: 0, in_flight_max }
    }

    /// The consumers' side.
    pub fn queue(&self) -> Arc<Queue<T>> {
        Arc::clone(&self.queue)
    }

    /// Items that were offered and not returned.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub fn is_full(&self) -> bool {
        self.in_flight >= self.in_flight_max
    }

    /// Stages one item. Returns `false` and stages nothing if the limit is reached.
    #[must_use]
    pub fn offer(&mut self, item: T) -> bool {
        if self.is_full() {
            return false;
        }
        self.in_flight += 1;
        self.staged.push_back(item);
        true
    }

    /// Stages one item that is not answered, after all staged before. Its cause limits the number of such items.
    pub fn force(&mut self, item: T) {
        self.staged.push_back(item);
    }

    /// `count` offered items were answered.
    pub fn returned(&mut self, count: usize) {
        debug_assert!(count <= self.in_flight);
        self.in_flight = self.in_flight.saturating_sub(count);
    }

    /// Passes all staged items to the consumers.
    pub fn push_staged(&mut self) {
        if !self.staged.is_empty() {
            self.queue.append(&mut self.staged);
        }
    }

    /// Passes the staged items on as the last ones. The consumers finish all of them.
    pub fn close(&mut self) {
        self.push_staged();
        self.queue.close();
    }

    /// Ends the queue. The consumers finish only the items they already took.
    pub fn abandon(&mut self) {
        self.queue.abandon();
    }
}

/// Without a producer no item can follow: the consumers finish and end.
impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_producer_refuses_at_its_limit_until_an_item_is_returned() {
        let mut producer = Producer::new(2);
        assert!(producer.offer(1) && producer.offer(2) && !producer.offer(3));
        producer.force(4);
        producer.returned(1);
        assert!(producer.offer(5) && !producer.offer(6));
        producer.push_staged();
        let mut out = VecDeque::new();
        assert_eq!(producer.queue().take(&mut out, 3, None), Taken::Items);
        assert_eq!(out, [1, 2, 4], "in the order they came, at most three");
    }

    #[test]
    fn a_closed_queue_delivers_its_items_and_an_abandoned_one_does_not() {
        for (abandon, expect) in [(false, Taken::Items), (true, Taken::Closed)] {
            let mut producer = Producer::new(8);
            assert!(producer.offer('a'));
            producer.push_staged();
            if abandon {
                producer.abandon()
            } else {
                producer.close()
            }
            let mut out = VecDeque::new();
            assert_eq!(producer.queue().take(&mut out, 8, None), expect);
            assert_eq!(producer.queue().take(&mut out, 8, None), Taken::Closed);
        }
    }

    #[test]
    fn a_sleeper_wakes_for_work_at_its_time_limit_and_at_the_end() {
        let mut producer = Producer::new(8);
        let queue = producer.queue();
        assert_eq!(queue.take(&mut VecDeque::new(), 8, Some(Instant::now())), Taken::Nothing);
        let sleeper = std::thread::spawn(move || {
            let mut out = VecDeque::new();
            let far = Instant::now() + Duration::from_secs(30);
            let mut seen = Vec::new();
            while queue.take(&mut out, 8, Some(far)) == Taken::Items {
                seen.extend(out.drain(..));
            }
            (seen, Instant::now() < far)
        });
        assert!(producer.offer(7));
        producer.push_staged();
        producer.close();
        assert_eq!(sleeper.join().expect("it ends"), (vec![7], true));
    }

    #[test]
    fn a_measured_queue_tells_how_long_its_oldest_item_waited() {
        let measures = Arc::default();
        let mut producer = Producer::measured(8, &measures, Measure::WaitWrite);
        let waits = || measures.observed(Measure::WaitWrite);
        assert!(producer.offer('a') && producer.offer('b') && producer.offer('c'));
        producer.push_staged();
        let (queue, before) = (producer.queue(), Instant::now());
        while before.elapsed() < Duration::from_millis(2) {
            std::thread::yield_now();
        }
        let mut out = VecDeque::new();
        assert_eq!((queue.take(&mut out, 2, None), waits().count()), (Taken::Items, 1));
        // The one that is left came as early.
        assert_eq!((queue.take(&mut out, 2, None), waits().count()), (Taken::Items, 2));
        assert!(waits().sum >= 4_000, "{:?}", waits());
        assert_eq!((queue.take(&mut out, 2, Some(before)), waits().count()), (Taken::Nothing, 2));
    }
}
