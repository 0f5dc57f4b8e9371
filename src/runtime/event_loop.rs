//! The event loop: one thread whose turns all have the same order of steps.
//!
//! Owns the order and the lists of work to do. Does not know the meaning of the work: the machine decides, the loop
//! performs.
//!
//! ```text
//! poll → clock → signals → accepts → admissions → reads → push staged → completions → tick → (effects → push staged → flush)* → close
//! ```
//! Invariant: the work is proportional to the events, never to the number of open sockets. A socket whose bytes the machine
//! does not want, or that accepts no bytes, is in no list and costs nothing until an event or a `Flush` names it.

mod effects;
mod inputs;
mod secure;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::{Events, Poll, Token};

use super::arrivals::Arrivals;
use super::background::Background;
use super::disk::Disk;
use super::handshakes::Handshakes;
use super::inbox::{Completion, Inbox};
use super::kernel;
use super::listener::{Listener, SocketPath};
use super::notify::Notify;
#[cfg(feature = "cluster")]
use super::peers::Peers;
use super::ready::Ready;
use super::socket::Sockets;
use super::storage::Storage;
use super::threads::Thread;
use super::workers::Workers;
use super::{Asked, Machine, OnReload, ServeFault, Stops};
use crate::base::time::{Now, UnixMs};
use crate::limits::READ_BUFFER;
use crate::model::measures::Measure;
use crate::model::metrics::ErrorKind;
use crate::proto::tls::server::Acceptor;
use crate::server::contract::{ConnId, Input};

/// Events of one poll. The kernel keeps the rest for the next turn.
const EVENTS_MAX: usize = 1_024;
/// Time between two checks of the ending threads, so that a second signal is noticed meanwhile.
const JOIN_CHECK: Duration = Duration::from_millis(5);
/// Time limit for threads that may be interrupted at any point at the end: those that wait for mail servers, resolvers,
/// file systems. After that the process ends without them, as in a crash. The writer is always waited for.
const JOIN_MAX: Duration = Duration::from_secs(1);

pub const WAKER: Token = Token(usize::MAX);
pub const SIGNALS: Token = Token(usize::MAX - 1);
/// Tokens of listeners count down from here; tokens of sockets count up from 0.
const LISTENERS: usize = usize::MAX - 2;

/// Closed sockets after which free memory is returned to the system, and the delay after the first of them: most waves are
/// over by then.
const TRIM_CLOSED_MIN: usize = 256;
const TRIM_AFTER: Duration = Duration::from_secs(1);
/// After the start the same is done, when the other threads have started, too.
const TRIM_STARTED_AFTER: Duration = Duration::from_millis(100);
/// And when no socket had an event for this time: what was in use since then is code and memory that an idle server does not need.
const TRIM_QUIET_AFTER: Duration = Duration::from_secs(5);

/// If a sleep ends this late or later, the process did not run meanwhile. A shorter delay is a busy machine.
const STANDSTILL: Duration = Duration::from_secs(1);

pub fn listener_token(index: usize) -> Token {
    Token(LISTENERS - index)
}

/// The components of a loop.
pub struct Parts<M, S> {
    pub poll: Poll,
    pub machine: M,
    pub signals: S,
    pub listeners: Vec<Listener>,
    pub storage: Storage,
    pub workers: Workers,
    pub disk: Disk,
    /// For a listener of TLS: what its connections are accepted with, and their handshakes.
    pub acceptor: Option<Acceptor>,
    pub handshakes: Option<Handshakes>,
    pub inbox: Arc<Inbox>,
    pub background: Background,
    pub notify: Option<Notify>,
    pub log_dropped: Arc<AtomicU64>,
    pub on_reload: Option<OnReload>,
    /// The other nodes of the cluster.
    #[cfg(feature = "cluster")]
    pub peers: Option<Peers>,
    pub drain_max: Duration,
}

/// See the modules `inputs` (accepts, admissions, reads, completions) and `effects` (all later steps).
pub struct EventLoop<M, S> {
    parts: Parts<M, S>,
    sockets: Sockets,
    /// Accepted, and not yet given to the machine.
    arrivals: Arrivals,
    control_open: usize,
    buffer: Box<[u8]>,
    /// Decrypted bytes of one read; empty between two.
    plain: Vec<u8>,
    /// Sockets with something to read that the machine wants; each once (`Socket::listed`).
    ready: Ready,
    /// Sockets to flush; each once (`Socket::dirty`).
    dirty: Vec<ConnId>,
    /// Sockets to drop at the end of the turn.
    closing: Vec<ConnId>,
    /// Requests that no queue had room for, to be answered in the next round.
    refused: Vec<Input<'static>>,
    /// Empty between two turns; its memory is reused.
    completions: Vec<Completion>,
    /// Sockets closed since memory was last returned, and the time of the next return.
    closed: usize,
    trim_at: Option<Instant>,
    /// When it is done because the sockets are quiet; `None` if it was.
    quiet_at: Option<Instant>,
    signalled: bool,
    /// Dropped lines of the log that the machine was informed of.
    log_dropped: u64,
    /// The rounds of a turn ended with work left to do.
    has_rounds_left: bool,
    phase: Phase,
    /// Removed when the loop is over: until then nothing waits for the file system.
    socket_path: Option<SocketPath>,
}

enum Phase {
    Serving,
    Draining(Drain),
}

/// The time that the work in progress has left. Time in which the process did not run does not count.
struct Drain {
    until: Instant,
    /// The end of the last turn.
    seen: Instant,
}

impl Drain {
    /// When the next turn ends at the latest, if the process runs.
    fn wake(&self) -> Instant {
        self.until.min(self.seen + STANDSTILL)
    }

    /// Whether the work in progress has no time left at the end of a turn.
    fn is_over(&mut self, now: Instant) -> bool {
        let late = now.saturating_duration_since(self.seen + STANDSTILL);
        if late > STANDSTILL {
            self.until += late;
        }
        self.seen = now;
        now >= self.until
    }
}

impl<M: Machine, S: Stops> EventLoop<M, S> {
    pub fn new(parts: Parts<M, S>) -> EventLoop<M, S> {
        EventLoop {
            parts,
            sockets: Sockets::default(),
            arrivals: Arrivals::default(),
            control_open: 0,
            buffer: vec![0; READ_BUFFER].into(),
            plain: Vec::new(),
            ready: Ready::default(),
            dirty: Vec::new(),
            closing: Vec::new(),
            refused: Vec::new(),
            completions: Vec::new(),
            closed: 0,
            trim_at: None,
            quiet_at: None,
            signalled: false,
            log_dropped: 0,
            has_rounds_left: false,
            phase: Phase::Serving,
            socket_path: None,
        }
    }

    pub fn run(mut self) -> Result<(), ServeFault> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        self.notify("READY=1");
        self.trim_at = Some(Instant::now() + TRIM_STARTED_AFTER);
        let ended = loop {
            match self.turn(&mut events) {
                Ok(false) => {}
                Ok(true) => break Ok(()),
                Err(fault) => break Err(fault),
            }
        };
        match ended {
            Err(ServeFault::Forced) => Err(ServeFault::Forced),
            ended => self.finish(&mut events).and(ended),
        }
    }

    /// Runs one turn. Returns `true` after the last one.
    fn turn(&mut self, events: &mut Events) -> Result<bool, ServeFault> {
        self.poll(events)?;
        let now = clock();
        let began = now.instant;
        if events.iter().any(|event| event.token() != WAKER) {
            self.quiet_at = Some(began + TRIM_QUIET_AFTER);
        }
        self.record(events);
        self.take_signals(now)?;
        self.count_dropped_lines(now);
        self.accept(now);
        self.admit(now);
        self.read(now);
        self.push_staged();
        // Submitted work may be complete already: with the old clock its access line would show no duration.
        let now = clock();
        self.complete(now)?;
        self.tick(now);
        self.trim(now.instant);
        self.run_rounds(now);
        self.close();
        self.parts.inbox.measures.took_here(Measure::LoopTurn, began.elapsed());
        let Phase::Draining(drain) = &mut self.phase else { return Ok(false) };
        let is_over = drain.is_over(now.instant);
        if self.parts.machine.is_drained() {
            return Ok(true);
        }
        if is_over {
            log::warn!("{} connections were not finished in time", self.sockets.len());
        }
        Ok(is_over)
    }

    fn poll(&mut self, events: &mut Events) -> Result<(), ServeFault> {
        let timeout = if self.has_work() { Some(Duration::ZERO) } else { self.sleep() };
        match self.parts.poll.poll(events, timeout) {
            Ok(()) => Ok(()),
            // Without events, the next turn polls again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            Err(error) => Err(ServeFault::System { what: "poll failed", error }),
        }
    }

    fn has_work(&self) -> bool {
        let has_arrivals = !self.arrivals.is_empty() && self.parts.machine.is_accepting();
        has_arrivals || self.has_rounds_left || !self.ready.is_empty() || !self.dirty.is_empty()
    }

    /// The time until the first deadline; `None` if there is none.
    fn sleep(&self) -> Option<Duration> {
        let machine = self.parts.machine.next_deadline();
        let own = [
            self.parts.background.next_deadline(),
            self.parts.storage.next_deadline(),
            self.trim_at,
            self.quiet_at,
        ];
        let mut first = machine.into_iter().chain(own.into_iter().flatten()).min();
        let now = Instant::now();
        if let Phase::Draining(drain) = &self.phase {
            let wake = drain.wake();
            first = Some(first.map_or(wake, |first| first.min(wake)));
        }
        for listener in &self.parts.listeners {
            if self.may_accept(listener) {
                let at = if listener.is_ready(now) { Some(now) } else { listener.retry() };
                first = first.into_iter().chain(at).min();
            }
        }
        first.map(|at| at.saturating_duration_since(now))
    }

    /// Records the kernel's events. Nothing is read or written yet.
    fn record(&mut self, events: &Events) {
        for event in events {
            let token = event.token();
            if token == WAKER {
                continue; // every turn reads the inbox
            }
            if token == SIGNALS {
                self.signalled = true;
                continue;
            }
            if let Some(listener) =
                LISTENERS.checked_sub(token.0).filter(|&at| at < self.parts.listeners.len())
            {
                self.parts.listeners[listener].record();
                continue;
            }
            let Some((conn, socket)) = self.sockets.of_token(token) else { continue };
            let (readable, unblocked) = socket.record(event);
            if readable && !std::mem::replace(&mut socket.listed, true) {
                self.ready.push(conn, socket.networks(), self.parts.machine.is_of_member(conn));
            }
            if unblocked && !std::mem::replace(&mut socket.dirty, true) {
                self.dirty.push(conn);
            }
        }
    }

    fn take_signals(&mut self, now: Now) -> Result<(), ServeFault> {
        if !std::mem::take(&mut self.signalled) {
            return Ok(());
        }
        let Asked { stops, reload } = self.parts.signals.drain();
        if reload {
            self.reload(now);
        }
        for _ in 0..stops {
            match self.phase {
                Phase::Serving => {
                    log::info!(
                        "stopping: finishing work in progress, for at most {:?}",
                        self.parts.drain_max
                    );
                    self.notify("STOPPING=1");
                    let until = now.instant + self.parts.drain_max;
                    self.phase = Phase::Draining(Drain { until, seen: now.instant });
                    // The kernel refuses new connections, which is better than leaving them waiting.
                    self.socket_path = self.parts.listeners.drain(..).find_map(Listener::stop);
                    self.arrivals = Arrivals::default();
                    self.parts.machine.handle(now, Input::Drain);
                    self.parts.storage.drain();
                }
                Phase::Draining(_) => return Err(ServeFault::Forced),
            }
        }
        Ok(())
    }

    /// The machine reloads what is its own; the rest may wait for a file, so a thread does it.
    fn reload(&mut self, now: Now) {
        log::info!("reloading");
        self.parts.machine.handle(now, Input::Reload);
        if let Some(OnReload(run)) = self.parts.on_reload.clone()
            && let Err(error) = std::thread::Builder::new().name("reload".to_owned()).spawn(move || run())
        {
            self.parts.background.report(ErrorKind::Worker, format_args!("no thread to reload: {error}"));
        }
    }

    /// Before the reads: a request for the metrics in this turn must see the lines dropped until now.
    fn count_dropped_lines(&mut self, now: Now) {
        let dropped = self.parts.log_dropped.load(Ordering::Relaxed);
        if dropped != self.log_dropped {
            self.log_dropped = dropped;
            self.parts.machine.handle(now, Input::LogDropped(dropped));
        }
    }

    fn tick(&mut self, now: Now) {
        if self.parts.machine.next_deadline().is_some_and(|at| at <= now.instant) {
            self.parts.machine.handle(now, Input::Tick);
        }
        if self.parts.background.next_deadline().is_some_and(|at| at <= now.instant) {
            self.parts.background.flush(Some(now.instant));
        }
        self.parts.storage.tick(now.instant);
    }

    /// After the start, after a wave of closed connections and in a quiet time, returns memory to the system, in a thread
    /// because it may take long.
    fn trim(&mut self, now: Instant) {
        let is_due = self.trim_at.take_if(|at| *at <= now).is_some();
        let is_quiet = self.quiet_at.take_if(|at| *at <= now).is_some();
        if is_due || is_quiet {
            self.closed = 0;
            if let Err(error) =
                std::thread::Builder::new().name("trim".to_owned()).spawn(kernel::return_memory)
            {
                self.parts
                    .background
                    .report(ErrorKind::Worker, format_args!("no thread to release memory: {error}"));
            }
        }
    }

    fn notify(&self, state: &str) {
        self.parts.notify.iter().for_each(|notify| notify.send(state));
    }

    /// Closes everything and joins the threads. The writer finishes its queue and checkpoints.
    fn finish(self, events: &mut Events) -> Result<(), ServeFault> {
        let Parts {
            mut poll,
            mut signals,
            mut storage,
            mut workers,
            mut disk,
            mut handshakes,
            inbox,
            background,
            ..
        } = self.parts;
        drop(self.sockets);
        inbox.close();
        let mut others: Vec<Thread> = workers.close();
        others.extend(disk.close());
        others.extend(handshakes.iter_mut().flat_map(Handshakes::close));
        let storage = storage.close();
        let is_running = |thread: &Thread| !thread.is_finished();
        let until = Instant::now() + JOIN_MAX;
        // A second signal ends this too: a checkpoint on a slow disk takes long.
        while storage.iter().any(is_running) || others.iter().any(is_running) && Instant::now() < until {
            match poll.poll(events, Some(JOIN_CHECK)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(ServeFault::System { what: "poll failed", error });
                }
                _ => {}
            }
            if signals.drain().stops > 0 {
                return Err(ServeFault::Forced);
            }
        }
        let left = others.extract_if(.., |thread| is_running(thread)).count();
        if left > 0 {
            log::info!(
                "{left} threads still wait for other systems: their unfinished work is done after the next start"
            );
        }
        let panicked = storage.into_iter().chain(others).filter_map(|thread| thread.join().err()).count();
        background.flush(None);
        if panicked > 0 {
            return Err(ServeFault::Lost("a thread panicked while it ended".to_owned()));
        }
        Ok(())
    }
}

/// Reads both clocks once. A clock before 1970 reads as 1970.
pub(super) fn clock() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { instant: Instant::now(), unix_ms: UnixMs(u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)) }
}

#[cfg(all(test, feature = "tls"))]
mod secure_tests;
#[cfg(test)]
mod tests;
