//! The way of a line to stderr: a bounded queue and one thread that writes. A reader of stderr that stands still (a container's
//! log pipe, a terminal after Ctrl-S, journald on a full disk) stops this thread and nobody else.
//!
//! Owns the bound, the thread and the count of what was dropped; leaves the form of a line to `logging`.
//! Invariant: [`LogQueue::push`] never waits for a reader, and each line is written once, in order, or counted as dropped.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of lines that wait, some 10,000 usual ones. Beyond: dropped and counted.
const QUEUE_BYTES_MAX: usize = 1_048_576;
/// What a line costs beside its bytes, so that the bound of bytes bounds the number of lines too.
const LINE_COST: usize = 64;
/// Between two tries on a stderr that somebody else made non-blocking.
const RETRY: Duration = Duration::from_millis(10);

pub struct LogQueue {
    state: Mutex<State>,
    filled: Condvar,
    emptied: Condvar,
    /// Lines dropped since the start.
    dropped: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    lines: VecDeque<String>,
    /// The cost of all lines that wait or are being written.
    cost: usize,
    /// Lines dropped that no line has told of yet.
    dropped: u64,
    /// The last write failed: what was dropped is told of with the next line, not at once.
    failing: bool,
    /// The thread waits for a line.
    sleeping: bool,
}

impl State {
    fn is_idle(&self) -> bool {
        self.cost == 0 && (self.dropped == 0 || self.failing)
    }
}

impl LogQueue {
    /// Starts the thread. `told` makes the line that says how many lines were dropped.
    pub fn start(
        sink: impl Write + Send + 'static,
        told: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Arc<LogQueue>> {
        let queue = Arc::new(LogQueue {
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            dropped: Arc::default(),
        });
        let lines = Arc::clone(&queue);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || lines.write_for_ever(sink, told))?;
        Ok(queue)
    }

    /// Queues one line; where the queue is full it is dropped and counted.
    pub fn push(&self, line: String) {
        let cost = line.len() + LINE_COST;
        let mut state = self.lock();
        if state.cost + cost > QUEUE_BYTES_MAX {
            state.dropped += 1;
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.cost += cost;
        state.lines.push_back(line);
        // A wake is a system call, and most lines find the thread awake.
        if std::mem::take(&mut state.sleeping) {
            drop(state);
            self.filled.notify_one();
        }
    }

    /// Whether every line that was queued is written, and what was dropped is told.
    pub fn is_idle(&self) -> bool {
        self.lock().is_idle()
    }

    /// Waits until every line is written, at most so long.
    pub fn flush(&self, at_most: Duration) {
        drop(self.emptied.wait_timeout_while(self.lock(), at_most, |state| !state.is_idle()));
    }

    /// Lines dropped since the start.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }

    /// The state is whole at every point a panic could come from.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_for_ever(&self, mut sink: impl Write, told: impl Fn(u64) -> String) {
        let mut lines = VecDeque::new();
        loop {
            let dropped = self.take(&mut lines);
            for line in lines.drain(..) {
                let cost = line.len() + LINE_COST;
                let written = write_line(&mut sink, line);
                if !written {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                }
                self.settle(|state| {
                    state.cost -= cost;
                    state.dropped += u64::from(!written);
                    state.failing = !written;
                });
            }
            // They were dropped after the lines that were just written.
            if dropped > 0 {
                let written = write_line(&mut sink, told(dropped));
                self.settle(|state| {
                    state.dropped -= if written { dropped } else { 0 };
                    state.failing = !written;
                });
            }
        }
    }

    /// Moves what waits into the empty `lines`; sleeps until there is something to write. Answers how many were dropped after
    /// them.
    fn take(&self, lines: &mut VecDeque<String>) -> u64 {
        let mut state = self.lock();
        while state.is_idle() {
            state.sleeping = true;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.sleeping = false;
        }
        std::mem::swap(lines, &mut state.lines);
        state.dropped
    }

    fn settle(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        if state.is_idle() {
            drop(state);
            self.emptied.notify_all();
        }
    }
}

/// One `write` a line, so that lines of other processes on the same pipe do not fall into it. `false` when it was not taken
/// whole: there is nobody left to tell then.
fn write_line(sink: &mut impl Write, mut line: String) -> bool {
    line.push('\n');
    let mut bytes = line.as_bytes();
    while !bytes.is_empty() {
        match sink.write(bytes) {
            Ok(0) => return false,
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A stderr whose reader takes a line when the test says so.
    struct Gate {
        opened: Receiver<io::Result<()>>,
        lines: Sender<String>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // A test that is over lets the rest through.
            self.opened.recv().unwrap_or(Ok(()))?;
            let _ = self.lines.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (Arc<LogQueue>, Sender<io::Result<()>>, Receiver<String>) {
        let (open, opened) = channel();
        let (lines, written) = channel();
        let told = |dropped| format!("{dropped} lines were dropped");
        (LogQueue::start(Gate { opened, lines }, told).expect("a thread"), open, written)
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_and_nobody_waits() {
        let (queue, open, written) = gated();
        let line = "x".repeat(1_024 - LINE_COST);
        // Nothing is read meanwhile: that this ends is the point.
        (0..2_000).for_each(|_| queue.push(line.clone()));
        assert_eq!(queue.dropped().load(Ordering::Relaxed), 2_000 - 1_024);
        assert!(!queue.is_idle());
        queue.flush(Duration::from_millis(1)); // ends too
        drop(open);
        for _ in 0..1_024 {
            assert_eq!(written.recv_timeout(PATIENCE).expect("a line").len(), line.len() + 1);
        }
        assert_eq!(written.recv_timeout(PATIENCE).expect("a line"), "976 lines were dropped\n");
        queue.flush(PATIENCE);
        assert!(queue.is_idle());
    }

    #[test]
    fn what_stderr_refuses_is_counted_and_told_when_it_takes_lines_again() {
        let (queue, open, written) = gated();
        let results = [
            Err(ErrorKind::StorageFull.into()),
            Err(ErrorKind::Interrupted.into()),
            Err(ErrorKind::WouldBlock.into()),
        ];
        results.into_iter().for_each(|result| open.send(result).expect("a gate"));
        queue.push("lost".to_owned());
        queue.push("kept".to_owned());
        drop(open);
        for expect in ["kept\n", "1 lines were dropped\n"] {
            assert_eq!(written.recv_timeout(PATIENCE).expect("a line"), expect);
        }
        assert_eq!(queue.dropped().load(Ordering::Relaxed), 1);
    }
}
