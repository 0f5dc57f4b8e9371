//! The log of a cluster in NATS JetStream, and the carrier of ephemeral messages: one thread with one socket.
//!
//! [`NatsLog`] is the writer's side. The thread owns the sockets (`thread`, `link`); `session` decides what is said and what is believed,
//! `flight` when an entry is lost, `audit` asks the servers what they are. Knows no entry.
//! Invariant: what waits in either direction has a bound. An entry above it is lost, which the writer hears; a message to other nodes is
//! dropped; and of the log no more is read until the writer has taken what came.

mod audit;
mod flight;
mod link;
mod session;
mod thread;

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::Waker;

pub use super::log::{DELIVERED_BYTES_MAX, Log, LogEvent, LogState, Wake};
use super::queue::lock;
use crate::proto::nats::jetstream::StreamConfig;
use crate::proto::nats::{Credentials, Servers, is_token};
use crate::work::Trust;

/// Entries that wait to be sent: more than the writer has under way, so that all can be sent again.
const APPENDS_MAX: usize = 64;
/// Messages to other nodes that wait to be sent. Above: dropped.
const WHISPERS_MAX: usize = 256;

/// Where the log is and what it must be.
#[derive(Clone)]
pub struct NatsOptions {
    pub servers: Servers,
    pub credentials: Credentials,
    /// A user of the system account, who may ask all servers what they are. Without one the first user asks, whose account then
    /// needs an import of that service.
    pub system: Option<Credentials>,
    /// URLs of the monitoring ports of the servers, which are asked instead of the system account.
    pub monitors: Vec<String>,
    pub trust: Trust,
    /// The name of the cluster, a token: the stream and the subjects are named after it.
    pub cluster: String,
    /// Our name for the operator of the servers.
    pub node: String,
    /// A token that no other process has or had: replies go to subjects that contain it.
    pub process: String,
    pub replicas: u8,
    pub max_age: Duration,
    pub max_bytes: u64,
    /// An entry that changes nothing, however often and wherever the log stores it; it shows whether a log has forgotten its tail. Whoever
    /// reads needs one.
    pub probe: Option<Arc<[u8]>>,
    /// The identity of the log that the database of this node follows, if it follows one.
    pub follows: Option<String>,
    /// Bytes of the longest entry.
    pub entry_bytes_max: usize,
    /// Makes the stream if there is none.
    pub creates: bool,
    /// Deletes the stream that is found, and makes another one. Only with `creates`.
    pub replaces: bool,
    /// Records for [`NatsLog::survey`] what is seen of the servers: a command wants to know it.
    pub surveys: bool,
    /// Demands nothing of the servers and of the stream: for trying.
    pub is_unsafe: bool,
}

impl NatsOptions {
    fn stream(&self) -> StreamConfig {
        StreamConfig {
            name: ["NATTER_", &self.cluster].concat(),
            subject: ["natter.", &self.cluster, ".log"].concat(),
            replicas: self.replicas,
            max_age: self.max_age,
            max_bytes: self.max_bytes,
        }
    }
}

/// Receives the ephemeral messages of other nodes, on the thread of the log. It must not wait.
pub type OnWhisper = Box<dyn FnMut(Vec<u8>) + Send>;

/// The writer's side. Dropping it ends the thread.
pub struct NatsLog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// The way of ephemeral messages to all other nodes.
#[derive(Clone)]
pub struct Whispers(Arc<Shared>);

struct Shared {
    exchange: Mutex<Exchange>,
    waker: Waker,
}

/// What was last seen of the log and of its servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSurvey {
    /// There is no such stream.
    pub is_missing: bool,
    /// Those that hold the log.
    pub servers: Vec<SurveyedServer>,
    /// Why the log cannot be used, in full; empty while it can.
    pub reason: String,
    /// No time repairs that: a server refuses this user, or its certificate is refused.
    pub is_lasting: bool,
}

/// A server that holds the log, as its leader knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurveyedServer {
    pub name: String,
    pub is_leader: bool,
    /// The leader has heard of it lately.
    pub is_reached: bool,
    /// As it has said itself; `None` if it was not asked or did not answer.
    pub version: Option<String>,
    pub syncs: Option<bool>,
}

/// What is on its way between the two threads.
#[derive(Default)]
struct Exchange {
    appends: VecDeque<Arc<[u8]>>,
    /// An entry was dropped, because too many waited.
    has_dropped: bool,
    whispers: VecDeque<Vec<u8>>,
    /// The writer reads on after this position.
    read_after: Option<u64>,
    events: Vec<LogEvent>,
    /// Bytes of the entries in `events`.
    delivered_bytes: usize,
    survey: LogSurvey,
    is_closed: bool,
}

impl NatsLog {
    /// Starts the thread, which connects. Entries are delivered once [`Log::read_after`] was called. Every outcome is an event.
    pub fn start(options: NatsOptions, wake: Wake, on_whisper: OnWhisper) -> io::Result<NatsLog> {
        // They are parts of subjects and of JSON.
        assert!(is_token(&options.cluster) && is_token(&options.process));
        let poll = mio::Poll::new()?;
        let waker = Waker::new(poll.registry(), thread::WAKER)?;
        let shared = Arc::new(Shared { exchange: Mutex::default(), waker });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("cluster".to_owned()).spawn(move || {
            let run = AssertUnwindSafe(|| thread::run(&options, poll, &theirs, &wake, on_whisper));
            let reason = match catch_unwind(run) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    format!("the thread of the cluster's log can't wait for its sockets: {error}")
                }
                Err(_) => "the thread of the cluster's log panicked".to_owned(),
            };
            lock(&theirs.exchange).events.push(LogEvent::Broken(reason));
            wake();
        })?;
        Ok(NatsLog { shared, thread: Some(thread) })
    }

    pub fn whispers(&self) -> Whispers {
        Whispers(Arc::clone(&self.shared))
    }

    /// What was last seen of the log and of its servers, with [`NatsOptions::surveys`].
    pub fn survey(&self) -> LogSurvey {
        lock(&self.shared.exchange).survey.clone()
    }
}

impl Log for NatsLog {
    fn read_after(&mut self, position: u64) {
        let mut exchange = lock(&self.shared.exchange);
        exchange.read_after = Some(position);
        exchange.drop_delivered();
        drop(exchange);
        self.shared.wake();
    }

    fn append(&mut self, sealed: &Arc<[u8]>) {
        let mut exchange = lock(&self.shared.exchange);
        if exchange.appends.len() < APPENDS_MAX {
            exchange.appends.push_back(Arc::clone(sealed));
        } else {
            exchange.has_dropped = true;
        }
        drop(exchange);
        self.shared.wake();
    }

    fn take(&mut self, out: &mut Vec<LogEvent>) {
        let mut exchange = lock(&self.shared.exchange);
        out.append(&mut exchange.events);
        let was_full = exchange.is_full();
        exchange.delivered_bytes = 0;
        drop(exchange);
        if was_full {
            self.shared.wake();
        }
    }
}

impl Whispers {
    /// Sends a message to all other nodes, if the log is up. It may be lost.
    pub fn send(&self, message: Vec<u8>) {
        let mut exchange = lock(&self.0.exchange);
        if exchange.whispers.len() < WHISPERS_MAX {
            exchange.whispers.push_back(message);
            drop(exchange);
            self.0.wake();
        }
    }
}

impl Exchange {
    /// The writer has not taken what came: no more is read.
    fn is_full(&self) -> bool {
        self.delivered_bytes >= DELIVERED_BYTES_MAX
    }

    fn drop_delivered(&mut self) {
        self.events.retain(|event| !matches!(event, LogEvent::Delivered { .. }));
        self.delivered_bytes = 0;
    }
}

impl Drop for NatsLog {
    fn drop(&mut self) {
        lock(&self.shared.exchange).is_closed = true;
        self.shared.wake();
        // A panic of the thread was reported as an event.
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::debug!(target: "natter::cluster", "the thread of the log had panicked");
        }
    }
}

impl Shared {
    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!(target: "natter::cluster", "the thread of the log can't be woken: {error}");
        }
    }
}
