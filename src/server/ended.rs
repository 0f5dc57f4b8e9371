//! Sessions that ended while an access token of theirs may still live: no such token is accepted.
//!
//! Owns how long each must be known. Bounded by the sessions of an access token's life.
//! Invariant: it is known as long as its last token may be accepted, by either clock: if the calendar clock was a day ahead
//! for a minute, no token becomes good again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::base::time::{Now, UnixS};
use crate::model::id::SessionId;

#[derive(Default)]
pub struct EndedSessions(BTreeMap<SessionId, Ended>);

struct Ended {
    /// The `exp` of its last token.
    until: UnixS,
    kept_until: Instant,
}

impl EndedSessions {
    /// From now on no token of this session is accepted; `until` is the `exp` of the last one, which lives at most `access_ttl`.
    pub fn add(&mut self, session: SessionId, until: UnixS, access_ttl: Duration, now: Instant) {
        self.0.insert(session, Ended { until, kept_until: now + access_ttl });
    }

    pub fn has(&self, session: SessionId) -> bool {
        self.0.contains_key(&session)
    }

    /// Forgets those whose last token has expired.
    pub fn prune(&mut self, now: Now) {
        let (unix_s, instant) = (now.unix_s(), now.instant);
        self.0.retain(|_, ended| ended.until >= unix_s || ended.kept_until > instant);
    }
}
