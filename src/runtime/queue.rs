//! The way from the loop to its threads: a queue the consumers sleep on, and the loop's end of it, which counts.
//! Refuses to know what travels. Invariant: what is offered and not yet returned never exceeds the feed's bound, and a
//! thread is woken only if it sleeps: a whole turn's work costs one lock and one wake (a wake for each command would
//! cost more than the commit of it).

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A lock whatever happened under it before: the values here are whole at every point a panic could come from.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a consumer found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Items,
    /// The time came before the work.
    Nothing,
    /// There is nothing left and nothing will come.
    Closed,
}

pub struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    sleepers: usize,
    closed: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let state = State { items: VecDeque::new(), sleepers: 0, closed: false };
        Queue { state: Mutex::new(state), filled: Condvar::new() }
    }
}

impl<T> Queue<T> {
    /// Moves at most `most` items to the end of `out`, oldest first; sleeps until there is one, or until `until`.
    pub fn take(&self, out: &mut VecDeque<T>, most: usize, until: Option<Instant>) -> Taken {
        let mut state = lock(&self.state);
        loop {
            if !state.items.is_empty() {
                if out.is_empty() && state.items.len() <= most {
                    // The two lists change places, and no item is moved at all.
                    std::mem::swap(out, &mut state.items);
                } else {
                    let count = most.min(state.items.len());
                    out.extend(state.items.drain(..count));
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

    fn append(&self, items: &mut VecDeque<T>) {
        let mut state = lock(&self.state);
        let wakes = items.len().min(state.sleepers);
        if state.items.is_empty() {
            std::mem::swap(&mut state.items, items);
        } else {
            state.items.append(items);
        }
        drop(state);
        (0..wakes).for_each(|_| self.filled.notify_one());
    }

    /// Nothing more will come; what is queued is still handed out.
    fn close(&self) {
        lock(&self.state).closed = true;
        self.filled.notify_all();
    }

    /// Nothing more will come, and what is queued is dropped.
    fn abandon(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.items.clear();
        drop(state);
        self.filled.notify_all();
    }
}

/// The loop's end of a queue.
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

    /// The consumers' end.
    pub fn queue(&self) -> Arc<Queue<T>> {
        Arc::clone(&self.queue)
    }

    pub fn is_full(&self) -> bool {
        self.in_flight >= self.in_flight_max
    }

    /// Stages one item; `false`, and nothing staged, when the bound is reached.
    #[must_use]
    pub fn offer(&mut self, item: T) -> bool {
        if self.is_full() {
            return false;
        }
        self.in_flight += 1;
        self.staged.push_back(item);
        true
    }

    /// Stages one item nobody answers, behind all staged before; bounded by what caused it.
    pub fn force(&mut self, item: T) {
        self.staged.push_back(item);
    }

    /// `count` offered items were answered.
    pub fn returned(&mut self, count: usize) {
        debug_assert!(count <= self.in_flight);
        self.in_flight = self.in_flight.saturating_sub(count);
    }

    /// Gives everything staged to the consumers.
    pub fn push_staged(&mut self) {
        if !self.staged.is_empty() {
            self.queue.append(&mut self.staged);
        }
    }

    /// Hands over what is staged and says that it was the last; the consumers finish all of it.
    pub fn close(&mut self) {
        self.push_staged();
        self.queue.close();
    }

    /// Ends the queue; the consumers finish only what they hold.
    pub fn abandon(&mut self) {
        self.queue.abandon();
    }
}

/// Without its feed nobody could fill the queue: the consumers finish and end.
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
    fn a_feed_refuses_at_its_bound_until_something_returns() {
        let mut feed = Producer::new(2);
        assert!(feed.offer(1) && feed.offer(2) && !feed.offer(3));
        feed.force(4);
        feed.returned(1);
        assert!(feed.offer(5) && !feed.offer(6));
        feed.push_staged();
        let mut out = VecDeque::new();
        assert_eq!(feed.queue().take(&mut out, 3, None), Taken::Items);
        assert_eq!(out, [1, 2, 4], "in the order they came, at most three");
    }

    #[test]
    fn a_closed_queue_hands_out_what_it_holds_and_an_abandoned_one_does_not() {
        for (abandon, expect) in [(false, Taken::Items), (true, Taken::Closed)] {
            let mut feed = Producer::new(8);
            assert!(feed.offer('a'));
            feed.push_staged();
            if abandon {
                feed.abandon()
            } else {
                feed.close()
            }
            let mut out = VecDeque::new();
            assert_eq!(feed.queue().take(&mut out, 8, None), expect);
            assert_eq!(feed.queue().take(&mut out, 8, None), Taken::Closed);
        }
    }

    #[test]
    fn a_sleeper_wakes_for_work_for_its_time_and_for_the_end() {
        let mut feed = Producer::new(8);
        let queue = feed.queue();
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
        assert!(feed.offer(7));
        feed.push_staged();
        feed.close();
        assert_eq!(sleeper.join().expect("it ends"), (vec![7], true));
    }
}
