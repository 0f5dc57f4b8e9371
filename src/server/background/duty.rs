//! The duty of a cluster: whether this node does the work that one node does for all, such as mails, notifications and erasures.
//!
//! Every node asks for it by a write, which the log decides: [`model::duty`](crate::model::duty). Owns when this node asks, and for how
//! long it may rely on the answer. Leaves to `tasks` which work needs it.
//!
//! ```text
//! Waiting ──the hold of the other one is over: ask──► held by another ──► Waiting
//!    ▲                                     └────────► Held ──ask again each 5 s──► Held
//!    └── 15 s after it was asked for, if nothing is answered; or another one has it ──┘
//! ```
//! Invariant: a node relies on it no longer than from the moment before it asked, by either clock: a process that was stopped for a while
//! does not begin anything before it knows what happened meanwhile. Alone a server is always on duty, and asks nobody.

use std::time::{Duration, Instant};

use crate::base::time::{Now, UnixMs};
use crate::model::duty::{self, DUTY_MS, HoldDuty};
use crate::model::node::NodeName;
use crate::model::operation::{Answer, Operation, Refusal};
use crate::model::profile::ReleaseNickNames;
use crate::model::settings::ClusterSettings;
use crate::server::background::digest;
use crate::server::background::hooks;
use crate::server::background::push;
use crate::server::background::tasks;
use crate::server::calls::{Caller, Next, Task};
use crate::server::clock::soonest;
use crate::server::core::Core;

/// Between two requests of the node that has it: two of three may be late.
const RENEW_EVERY: Duration = Duration::from_millis(DUTY_MS / 3);
/// The wait after a request was not answered, and the least one otherwise.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What this node knows of the duty.
#[derive(Default)]
pub struct Duty {
    /// `None` if this server is alone.
    shared: Option<Shared>,
}

struct Shared {
    node: NodeName,
    ask_at: Instant,
    /// When the request in flight was made.
    asked_at: Option<Now>,
    /// Until when this node has it.
    until: Option<Now>,
    /// Who had it last, as far as this node knows, and until when.
    holder: Option<NodeName>,
    /// What is wrong with the clock of this machine, by which the work would be done too early or too late.
    clock_fault: Option<String>,
    held_until: UnixMs,
    /// Whether the holders of reserved nick names are to get others: once for each time that this node gets the duty.
    releases: bool,
}

/// The duty is asked for each 5 s: a node that knows of no hold that lasted until then is behind, or nobody writes.
const CURRENT_MS: u64 = 60_000;

impl Duty {
    pub fn new(cluster: Option<&ClusterSettings>, now: Instant) -> Duty {
        let shared = cluster.map(|cluster| Shared {
            node: cluster.node.clone(),
            ask_at: now,
            asked_at: None,
            until: None,
            holder: None,
            clock_fault: None,
            held_until: UnixMs(0),
            releases: false,
        });
        Duty { shared }
    }

    /// Whether this node has it.
    pub fn is_held(&self, now: Now) -> bool {
        self.shared.as_ref().is_none_or(|shared| {
            shared.until.is_some_and(|until| now.instant < until.instant && now.unix_ms < until.unix_ms)
        })
    }

    /// Whether this node has applied an entry of the last minute, as its clock shows. A clock that is off shows nothing.
    pub fn is_current(&self, now: Now) -> bool {
        self.shared.as_ref().is_some_and(|shared| {
            shared.clock_fault.is_none() && shared.held_until.after(CURRENT_MS) > now.unix_ms
        })
    }

    /// Who had it last, as far as this node knows.
    pub fn holder(&self) -> Option<&NodeName> {
        self.shared.as_ref()?.holder.as_ref()
    }

    /// What `/readyz` says of it.
    pub fn warnings(&self) -> Vec<String> {
        let warning =
            |fault: &String| format!("{fault}. Until then this node sends no mails and notifications");
        self.shared.iter().filter_map(|shared| shared.clock_fault.as_ref()).map(warning).collect()
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        let shared = self.shared.as_ref()?;
        let ask_at = Some(shared.ask_at).filter(|_| shared.asked_at.is_none());
        soonest([ask_at, shared.until.map(|until| until.instant)])
    }
}

/// Asks for it when the time has come, and notices that it is over.
pub fn tick(core: &mut Core) {
    let now = core.now;
    let is_held = core.background.duty.is_held(now);
    let is_draining = core.is_draining();
    let Some(shared) = &mut core.background.duty.shared else { return };
    let is_over = !is_held && shared.until.take().is_some();
    let asks = shared.asked_at.is_none() && shared.ask_at <= now.instant;
    if asks {
        shared.ask_at = now.instant + RENEW_EVERY;
    }
    let releases = is_held && !is_draining && std::mem::take(&mut shared.releases);
    // Who stops lets another one have it, and so does who does not know the time.
    if asks && !is_draining && shared.clock_fault.is_none() {
        shared.asked_at = Some(now);
        let hold = HoldDuty { node: shared.node.clone() };
        core.ask_store(Caller::Server, hold.into_command(), Next::Task(Task::HoldDuty));
    }
    if is_over {
        lost(core);
    }
    if releases {
        let release = ReleaseNickNames::new(now.unix_ms, &mut *core.entropy);
        core.ask_store(Caller::Server, release.into_command(), Next::Task(Task::ReleaseNickNames));
    }
}

/// If the log did not take it, it is asked for again.
pub fn released(core: &mut Core, result: &Result<Answer, Refusal>) {
    if let (Some(shared), Err(_)) = (&mut core.background.duty.shared, result) {
        shared.releases = true;
    }
}

/// How far the clock of this machine is ahead of the log's.
pub fn clock_compared(core: &mut Core, ahead_ms: i64) {
    let Some(shared) = &mut core.background.duty.shared else { return };
    let fault = duty::clock_fault(ahead_ms);
    match (&shared.clock_fault, &fault) {
        (None, Some(fault)) => log::warn!(target: "natter::cluster", "{fault}"),
        (Some(_), None) => {
            log::info!(target: "natter::cluster", "the clock of this machine is that of the log again")
        }
        _ => {}
    }
    shared.clock_fault = fault;
    if shared.clock_fault.is_some() && shared.until.take().is_some() {
        lost(core);
    }
}

/// A node has it, as every node knows now. That this one has it is decided in [`answered`], which knows when it was asked for.
pub fn on_held(core: &mut Core, held: &duty::Duty) {
    let now = core.now;
    let Some(shared) = &mut core.background.duty.shared else { return };
    (shared.holder, shared.held_until) = (Some(held.node.clone()), held.until);
    if held.node == shared.node {
        return;
    }
    let left = Duration::from_millis(held.until.since(now.unix_ms));
    shared.ask_at = now.instant + left.clamp(ASK_AGAIN, Duration::from_millis(DUTY_MS));
    if shared.until.take().is_some() {
        lost(core);
    }
}

/// The request of this node is decided, or could not be written.
pub fn answered(core: &mut Core, result: Result<Answer, Refusal>) {
    let now = core.now;
    let Some(shared) = &mut core.background.duty.shared else { return };
    let Some(asked_at) = shared.asked_at.take() else { return };
    match result {
        Ok(Answer::HoldDuty(held)) if held.node == shared.node && shared.clock_fault.is_none() => {
            shared.ask_at = asked_at.instant + RENEW_EVERY;
            let is_new = shared.until.replace(asked_at.later(Duration::from_millis(DUTY_MS))).is_none();
            if is_new {
                shared.releases = true;
                gained(core);
            }
        }
        // Another node has it: see `on_held`.
        Ok(_) => {}
        Err(_) => shared.ask_at = now.instant + ASK_AGAIN,
    }
}

/// The work goes on where the rows say that it ended on the node that had the duty before.
fn gained(core: &mut Core) {
    log::info!(target: "natter::cluster", "this node sends the mails and notifications of the cluster now");
    push::begin(core);
    hooks::begin_anew(core);
    digest::begin(core);
    tasks::wake_shared(core);
}

/// This node has it no more: another one has it or will have it. What is under way here is finished: of a mail or a notification there
/// may be one more.
fn lost(core: &mut Core) {
    let Some(shared) = &core.background.duty.shared else { return };
    match shared.holder.as_ref().filter(|holder| **holder != shared.node) {
        Some(holder) => {
            log::info!(target: "natter::cluster", "{holder} sends the mails and notifications of the cluster now");
        }
        None => log::info!(
            target: "natter::cluster",
            "this node sends no mails and notifications of the cluster until it is given this duty again"
        ),
    }
    push::stop(core);
    hooks::begin_anew(core);
}
