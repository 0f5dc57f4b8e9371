//! Who listens: the open streams of each profile. Owns the subscriptions, not the streams.
//! Invariant: a stream is listed under its one profile from its opening to its close.

use std::collections::BTreeMap;

use super::contract::ConnId;
use crate::base::id::Id;

#[derive(Default)]
pub struct Hub {
    streams: BTreeMap<Id, Vec<ConnId>>,
}

impl Hub {
    pub fn subscribe(&mut self, profile: Id, conn: ConnId) {
        self.streams.entry(profile).or_default().push(conn);
    }

    pub fn unsubscribe(&mut self, profile: Id, conn: ConnId) {
        if let Some(conns) = self.streams.get_mut(&profile) {
            conns.retain(|other| *other != conn);
            if conns.is_empty() {
                self.streams.remove(&profile);
            }
        }
    }

    /// The streams of a profile in the order they were opened.
    pub fn of(&self, profile: Id) -> &[ConnId] {
        self.streams.get(&profile).map_or(&[], Vec::as_slice)
    }

    /// Profiles with at least one stream.
    pub fn profiles(&self) -> usize {
        self.streams.len()
    }
}
