//! The bounded queue of log lines, and the one thread that writes them to stderr.
//!
//! A reader of stderr that stops reading (the log pipe of a container, a terminal after Ctrl-S, journald on a full
//! disk) blocks this thread and no other. Owns the bound, the thread and the count of dropped lines. Leaves the format
//! of a line to `logging`.
//! Invariant: [`LogQueue::push`] never waits for a reader, and each line is written once, in order, or counted as
//! dropped.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of queued lines, about 5,000 lines of requests. More lines are dropped and counted.
const QUEUE_BYTES_MAX: usize = 1_048_576;
/// Bytes that each line counts in addition to its text, so that the bound of bytes also bounds the number of lines.
const LINE_COST: usize = 64;
/// How long the thread waits after it wakes, so that further lines come. Without it, each line of a busy server wakes the thread, which on
/// one core interrupts the event loop each time: 20,000 times in 5 s under a flood of requests.
const GATHER: Duration = Duration::from_millis(1);
/// The time between two attempts if another process made stderr non-blocking.
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
    /// The cost of all lines that are queued or being written.
    cost: usize,
    /// Dropped lines that no log line has reported yet.
    dropped: u64,
    /// The last write failed: dropped lines are reported with the next line, not at once.
    failing: bool,
    /// Whether the thread waits for a line.
    sleeping: bool,
}

impl State {
    fn is_idle(&self) -> bool {
        self.cost == 0 && (self.dropped == 0 || self.failing)
    }
}

impl LogQueue {
    /// Starts the thread. `report` formats the line with the number of dropped lines.
    pub fn start(
        sink: impl Write + Send + 'static,
        report: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Arc<LogQueue>> {
        let queue = Arc::new(LogQueue {
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            dropped: Arc::default(),
        });
        let lines = Arc::clone(&queue);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || lines.write_until_closed(sink, report))?;
        Ok(queue)
    }

    /// Queues one line. If the queue is full, the line is dropped and counted.
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
        // To wake the thread takes a system call, and the thread is usually awake.
        if std::mem::take(&mut state.sleeping) {
            drop(state);
            self.filled.notify_one();
        }
    }

    /// Whether every queued line is written and every dropped line is reported.
    pub fn is_idle(&self) -> bool {
        self.lock().is_idle()
    }

    /// Waits until every line is written, at most this long.
    pub fn flush(&self, at_most: Duration) {
        drop(self.emptied.wait_timeout_while(self.lock(), at_most, |state| !state.is_idle()));
    }

    /// Lines dropped since the start.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }

    /// The state is consistent wherever a panic can happen, so a poisoned lock is used.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_until_closed(&self, mut sink: impl Write, report: impl Fn(u64) -> String) {
        let mut lines = VecDeque::new();
        loop {
            let dropped = self.take(&mut lines);
            for line in lines.drain(..) {
                let cost = line.len() + LINE_COST;
                let written = write_line(&mut sink, line);
                if !written {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                }
                self.update(|state| {
                    state.cost -= cost;
                    state.dropped += u64::from(!written);
                    state.failing = !written;
                });
            }
            // They were dropped after the lines that were just written.
            if dropped > 0 {
                let written = write_line(&mut sink, report(dropped));
                self.update(|state| {
                    state.dropped -= if written { dropped } else { 0 };
                    state.failing = !written;
                });
            }
        }
    }

    /// Moves the queued lines into the empty `lines`; waits until there is a line. Returns how many lines were dropped
    /// after them.
    fn take(&self, lines: &mut VecDeque<String>) -> u64 {
        let mut state = self.lock();
        if state.is_idle() {
            state.sleeping = true;
            state = self
                .filled
                .wait_while(state, |state| state.is_idle())
                .unwrap_or_else(PoisonError::into_inner);
            state.sleeping = false;
            drop(state);
            std::thread::sleep(GATHER);
            state = self.lock();
        }
        std::mem::swap(lines, &mut state.lines);
        state.dropped
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        if state.is_idle() {
            drop(state);
            self.emptied.notify_all();
        }
    }
}

/// One `write` per line, so that lines of other processes on the same pipe do not split it. `false` if it was not
/// written completely: then stderr has no reader, and the error cannot be reported.
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

    /// A stderr whose reader takes a line when the test allows it.
    struct Gate {
        opened: Receiver<io::Result<()>>,
        lines: Sender<String>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // At the end of a test the remaining lines are written.
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
        let report = |dropped| format!("{dropped} lines were dropped");
        (LogQueue::start(Gate { opened, lines }, report).expect("a thread"), open, written)
    }

    #[test]
    fn a_reader_that_stops_reading_costs_lines_and_blocks_no_thread() {
        let (queue, open, written) = gated();
        let line = "x".repeat(1_024 - LINE_COST);
        // No line is read meanwhile: the test is that this loop ends.
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
    fn lines_that_stderr_refuses_are_counted_and_reported_later() {
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
