//! One HTTP request, from its head to its response.
//!
//! Owns the use of the HTTP parser, access, rates, routing, the step loop of handlers and the bytes of the response. It imports
//! neither streams nor uploads: `dispatch` decides what takes a connection over.

pub(crate) mod admit;
pub(crate) mod bots;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod conformance;
pub(crate) mod cors;
pub(crate) mod delays;
pub(crate) mod exchange;
pub(crate) mod hashing;
pub(crate) mod http;
pub(crate) mod metrics;
pub(crate) mod overview;
pub(crate) mod rate_limit;
pub(crate) mod reads;
pub(crate) mod receiving;
pub(crate) mod report;
pub(crate) mod respond;
pub(crate) mod router;
pub mod routes;
pub(crate) mod steps;
pub(crate) mod upload_head;
pub(crate) mod verified;

use crate::base::time::Now;
use crate::model::attempts::Attempts;
use crate::model::tickets::Tickets;

/// What the requests of all connections share: what each client may still do, and what waits or is held for it.
///
/// Invariant: each part is bounded by itself, and counts by account or address prefix, not by connection.
pub(crate) struct Requests {
    pub rates: rate_limit::RateLimiter,
    pub attempts: Attempts,
    pub tickets: Tickets,
    pub verified: verified::Verified,
    pub bots: bots::Bots,
    pub reads: reads::Reads,
    pub hashing: hashing::Hashing,
    pub delays: delays::Delays,
    pub receiving: receiving::Receiving,
}

impl Requests {
    /// At most so many `hashes` at once. `is_shared`: other nodes count failed attempts, too.
    pub fn new(hashes: usize, is_shared: bool, now: Now) -> Requests {
        Requests {
            rates: rate_limit::RateLimiter::default(),
            attempts: if is_shared { Attempts::shared() } else { Attempts::default() },
            tickets: Tickets::new(now),
            verified: verified::Verified::default(),
            bots: bots::Bots::default(),
            reads: reads::Reads::default(),
            hashing: hashing::Hashing::new(hashes),
            delays: delays::Delays::default(),
            receiving: receiving::Receiving::default(),
        }
    }
}
