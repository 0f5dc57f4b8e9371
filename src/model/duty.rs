//! The duty of a cluster: which of its nodes does what must happen once, such as mails, notifications and erasures.
//!
//! A node asks for it again and again, and does the work only while it holds it. Time is that of the log, so that all nodes know who
//! holds it, whatever their clocks show.
//! Invariant: no two nodes hold it at one time of the log.

use super::node::NodeName;
use crate::base::time::UnixMs;

/// Milliseconds that the duty lasts from the entry that asks for it: three times the interval in which its holder asks again.
pub const DUTY_MS: u64 = 15_000;

/// Gives the duty to a node if no other one holds it at the time of this entry. The answer is who holds it then.
#[derive(Clone, Debug)]
pub struct HoldDuty {
    /// The node that asks.
    pub node: NodeName,
}

/// Who holds the duty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duty {
    /// The node.
    pub node: NodeName,
    /// Until when, if it does not ask again: Unix ms of the log.
    pub until: UnixMs,
}
