//! The log of a cluster, as a command reaches it: its state, its entries, what its nodes say, and the first entry of a new one.
//!
//! Owns the time limits. Leaves to the commands what follows.
//! Invariant: a visit changes nothing, unless it was opened to make a log or an entry is appended.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::options;
use crate::base::crypto::{Entropy, SystemEntropy};
use crate::base::seal::{Chain, SealKey};
use crate::base::time::UnixMs;
use crate::commands::prepare::trust;
use crate::commands::serve::clock;
use crate::config::Config;
use crate::config::cluster::Cluster;
use crate::model::entry::{Entry, EntryBody};
use crate::model::node::{NodeName, NodeState};
use crate::runtime::nats::{Log, LogEvent, LogState, LogSurvey, NatsLog, NatsOptions};
use crate::runtime::peers::overhear;
use crate::store::Place;

/// How long a command waits for the log.
pub(super) const REACH_MAX: Duration = Duration::from_secs(10);
/// How long a command listens to the nodes, each of which says something every second.
pub(super) const LISTEN: Duration = Duration::from_millis(2_300);
/// How long a new log may take: its servers may have begun at the same time.
const MAKE_MAX: Duration = Duration::from_secs(60);
/// Wakes that wait; one more says nothing new.
const WAKES_MAX: usize = 1;
/// Nodes whose states are kept. Further ones are not heard.
const NODES_MAX: usize = 64;

/// What may be done to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Look,
    /// The stream is made if there is none.
    Make,
    /// The stream is deleted if there is one, and another one is made.
    Replace,
}

pub(super) struct Visit {
    log: NatsLog,
    woken: Receiver<()>,
    events: VecDeque<LogEvent>,
    states: Arc<Mutex<Vec<(NodeName, NodeState)>>>,
}

impl Visit {
    /// Connects. With a key, what the nodes say of themselves is kept.
    pub(super) fn open(
        config: &Config,
        cluster: &Cluster,
        key: Option<SealKey>,
        purpose: Purpose,
    ) -> Result<Visit, String> {
        let options = NatsOptions {
            creates: purpose != Purpose::Look,
            replaces: purpose == Purpose::Replace,
            surveys: true,
            ..options(cluster, &trust(config)?, key.as_ref(), &mut SystemEntropy::new())?
        };
        let (sender, woken) = sync_channel(WAKES_MAX);
        let states: Arc<Mutex<Vec<(NodeName, NodeState)>>> = Arc::default();
        let theirs = Arc::clone(&states);
        let on_whisper = Box::new(move |sealed: Vec<u8>| {
            let Some((node, state)) = key.as_ref().and_then(|key| overhear(key, &sealed)) else { return };
            let mut states = lock(&theirs);
            match states.binary_search_by(|(other, _)| other.cmp(&node)) {
                Ok(at) => states[at].1 = state,
                Err(at) if states.len() < NODES_MAX => states.insert(at, (node, state)),
                Err(_) => {}
            }
        });
        let log = NatsLog::start(options, Arc::new(move || wake_up(&sender)), on_whisper)
            .map_err(|error| format!("no thread for the log of the cluster: {error}"))?;
        Ok(Visit { log, woken, events: VecDeque::new(), states })
    }

    /// The next event, or `None` if none comes until then, or if no time helps.
    fn next(&mut self, until: Instant) -> Option<LogEvent> {
        loop {
            let mut events = Vec::new();
            self.log.take(&mut events);
            self.events.extend(events);
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.log.survey().is_lasting {
                return None;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.woken.recv_timeout(left).is_err() {
                return None;
            }
        }
    }

    /// The state of the log, or why it cannot be used.
    pub(super) fn reach(&mut self) -> Result<LogState, String> {
        let (until, mut reason) = (Instant::now() + REACH_MAX, "no server answers".to_owned());
        while let Some(event) = self.next(until) {
            match event {
                LogEvent::Up(state) => return Ok(state),
                LogEvent::Broken(message) => return Err(message),
                LogEvent::Down(why) => why.clone_into(&mut reason),
                LogEvent::Lost | LogEvent::Refused(_) | LogEvent::Clock(_) | LogEvent::Delivered { .. } => {}
            }
            if self.log.survey().is_missing {
                break;
            }
        }
        let survey = self.log.survey();
        Err(if survey.reason.is_empty() { reason } else { survey.reason })
    }

    pub(super) fn survey(&self) -> LogSurvey {
        self.log.survey()
    }

    /// What the nodes that run say of themselves, in the order of their names, after listening for long enough to hear each.
    pub(super) fn listen(&mut self) -> Vec<(NodeName, NodeState)> {
        let until = Instant::now() + LISTEN;
        // What the log delivers meanwhile is of no use.
        while self.next(until).is_some() {}
        lock(&self.states).clone()
    }

    /// A command that ends a log, or makes another one, needs that no node writes meanwhile.
    pub(super) fn refuse_running_nodes(&mut self) -> Result<(), String> {
        let running: Vec<String> = self.listen().iter().map(|(node, _)| node.to_string()).collect();
        if running.is_empty() {
            return Ok(());
        }
        Err(format!("natter runs on {}: stop it there first", running.join(", ")))
    }

    /// The entry at a position that the log has, and when it was taken.
    pub(super) fn read_at(&mut self, position: u64) -> Result<(UnixMs, Arc<[u8]>), String> {
        let until = Instant::now() + REACH_MAX;
        self.log.read_after(position - 1);
        while let Some(event) = self.next(until) {
            match event {
                LogEvent::Delivered { position: at, time, sealed } if at == position => {
                    return Ok((time, sealed));
                }
                LogEvent::Broken(message) => return Err(message),
                _ => {}
            }
        }
        Err(format!("the log has not delivered entry {position} in {} s", REACH_MAX.as_secs()))
    }

    /// Appends an entry behind `position`, and returns whether the entry there is this one, or one that `accepts` it in its place. The
    /// log was reached, and ends there or one entry later.
    pub(super) fn append_at(
        &mut self,
        position: u64,
        sealed: &Arc<[u8]>,
        key: &SealKey,
        accepts: impl Fn(&Entry) -> bool,
    ) -> Result<bool, String> {
        let until = Instant::now() + REACH_MAX;
        self.log.read_after(position);
        self.log.append(sealed);
        while let Some(event) = self.next(until) {
            match event {
                LogEvent::Up(_) | LogEvent::Lost | LogEvent::Refused(_) => self.log.append(sealed),
                LogEvent::Down(_) | LogEvent::Clock(_) => {}
                LogEvent::Broken(message) => return Err(message),
                LogEvent::Delivered { position: at, sealed: found, .. } if at == position + 1 => {
                    return Ok(
                        found == *sealed || Entry::open(key, &found).is_ok_and(|entry| accepts(&entry))
                    );
                }
                LogEvent::Delivered { .. } => {}
            }
        }
        Err(not_appended(&self.log.survey()))
    }

    /// Appends an entry behind all that the log has; it may come twice.
    pub(super) fn append(&mut self, head: u64, sealed: &Arc<[u8]>) -> Result<(), String> {
        let until = Instant::now() + REACH_MAX;
        self.log.read_after(head);
        self.log.append(sealed);
        while let Some(event) = self.next(until) {
            match event {
                LogEvent::Up(_) | LogEvent::Lost | LogEvent::Refused(_) => self.log.append(sealed),
                LogEvent::Broken(message) => return Err(message),
                LogEvent::Delivered { sealed: found, .. } if found == *sealed => return Ok(()),
                LogEvent::Down(_) | LogEvent::Clock(_) | LogEvent::Delivered { .. } => {}
            }
        }
        Err(not_appended(&self.log.survey()))
    }

    /// Makes the log with its first entry. Returns the place behind it. The entry is sent again until the log has it, so its bytes are
    /// always the same. `level` is in force from there on. A log that an earlier command has begun with the same meaning, and that has no
    /// other entry, is taken.
    pub(super) fn make(
        &mut self,
        cluster: &Cluster,
        key: &SealKey,
        body: EntryBody,
        level: u32,
    ) -> Result<Place, String> {
        let entropy: &mut dyn Entropy = &mut SystemEntropy::new();
        let life = entropy.id(clock().unix_ms);
        let first = Entry { node: cluster.node.clone(), life, n: 1, body };
        let sealed: Arc<[u8]> = first.seal(key).into();
        let until = Instant::now() + MAKE_MAX;
        self.log.read_after(0);
        let (mut identity, mut reason) = (LogState { identity: String::new(), first: 1, head: 0 }, "");
        while let Some(event) = self.next(until) {
            match event {
                LogEvent::Up(state) => {
                    identity = state;
                    self.log.append(&sealed);
                }
                LogEvent::Lost => self.log.append(&sealed),
                LogEvent::Down(why) => reason = why,
                LogEvent::Refused(why) => {
                    reason = why;
                    self.log.append(&sealed);
                }
                LogEvent::Clock(_) => {}
                LogEvent::Broken(message) => return Err(message),
                LogEvent::Delivered { position: 1, sealed: found, .. }
                    if found == sealed || identity.head == 1 && is_same(key, &found, &first) =>
                {
                    let chain = Chain::START.next(1, &found);
                    return Ok(Place { log: identity.identity, position: 1, chain, level });
                }
                LogEvent::Delivered { .. } => {
                    return Err(
                        "the log of this cluster exists, and has entries: it was left as it was".to_owned()
                    );
                }
            }
        }
        // In full, if the servers have said more.
        let survey = self.log.survey();
        let reason = if survey.reason.is_empty() { reason } else { &survey.reason };
        Err(match survey.is_lasting {
            true => format!(
                "the log can't be made: {reason}. Look at CLUSTER_SERVERS, the passwords and TLS_CA_FILE"
            ),
            false => format!("the log could not be made in {} s: {reason}", MAKE_MAX.as_secs()),
        })
    }
}

fn not_appended(survey: &LogSurvey) -> String {
    format!(
        "the log has not taken an entry in {} s: {}. Try again; nothing was changed here",
        REACH_MAX.as_secs(),
        survey.reason
    )
}

/// Whether an entry of an earlier command says that this node's rows go on under the same epoch.
fn is_same(key: &SealKey, found: &[u8], first: &Entry) -> bool {
    let Ok(found) = Entry::open(key, found) else { return false };
    match (&found.body, &first.body) {
        (EntryBody::Continued { epoch: found_epoch }, EntryBody::Continued { epoch }) => {
            found.node == first.node && found_epoch == epoch
        }
        _ => false,
    }
}

/// The thread of the log may have panicked, which is an event of the log; what it heard before counts.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake_up(sender: &SyncSender<()>) {
    match sender.try_send(()) {
        // One wake is under way, or nobody waits any more.
        Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
    }
}
