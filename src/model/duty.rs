//! The duty of a cluster: which of its nodes does what must happen once, such as mails, notifications and erasures; and that a node is
//! gone for good.
//!
//! A node asks for it again and again, and does the work only while it holds it. Time is that of the log, so that all nodes know who
//! holds it, whatever their clocks show.
//! Invariant: no two nodes hold it at one time of the log.

use super::node::NodeName;
use crate::base::time::UnixMs;

/// Milliseconds that the duty lasts from the entry that asks for it: three times the interval in which its holder asks again.
pub const DUTY_MS: u64 = 15_000;

/// A node whose clock is this far from the log's neither joins nor asks for the duty.
pub const CLOCK_OFF_MS_MAX: u64 = 2_000;

/// What is wrong with a clock that is so far ahead of the log's, or behind if it is negative. `None` if it is close enough.
pub fn clock_fault(ahead_ms: i64) -> Option<String> {
    let off_ms = ahead_ms.unsigned_abs();
    let direction = if ahead_ms < 0 { "behind" } else { "ahead of" };
    (off_ms > CLOCK_OFF_MS_MAX).then(|| {
        format!(
            "the clock of this machine is {} s {direction} that of the log: synchronize the clocks of all machines, for example by NTP",
            off_ms / 1_000
        )
    })
}

/// Gives the duty to a node if no other one holds it at the time of this entry. The answer is who holds it then.
#[derive(Clone, Debug)]
pub struct HoldDuty {
    /// The node that asks.
    pub node: NodeName,
}

/// A node is gone for good: the level of the cluster does not wait for it. The answer is whether there was such a node. It is a node again
/// once it says Hello.
#[derive(Clone, Debug)]
pub struct RemoveNode {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The node.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_seconds_are_close_enough() {
        for (ahead_ms, expect) in [
            (0, None),
            (2_000, None),
            (-2_000, None),
            (2_001, Some("2 s ahead of")),
            (-3_600_000, Some("3600 s behind")),
            (i64::MIN, Some("behind")),
        ] {
            let fault = clock_fault(ahead_ms);
            assert_eq!(fault.is_some(), expect.is_some(), "{ahead_ms}");
            assert!(fault.is_none_or(|fault| fault.contains(expect.unwrap_or_default())), "{ahead_ms}");
        }
    }
}
