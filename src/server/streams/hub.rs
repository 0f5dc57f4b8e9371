//! The open streams of each profile, and which of them are devices.
//!
//! Owns the subscriptions, not the streams.
//! Invariant: a stream is listed under its one profile from its opening to its close.

use std::collections::BTreeMap;

use crate::model::id::ProfileId;
use crate::server::conn::{Conn, Phase};
use crate::server::contract::ConnId;
use crate::server::core::Core;
use crate::server::streams::kinds::StreamKind;
use crate::server::streams::presence;

/// What one connection subscribes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub profile: ProfileId,
    /// Whether it shows that the person is online: a WebSocket or an event stream does, a long poll does not.
    pub device: bool,
}

#[derive(Default)]
struct Listeners {
    conns: Vec<ConnId>,
    devices: usize,
}

#[derive(Default)]
pub struct Hub {
    streams: BTreeMap<ProfileId, Listeners>,
}

impl Hub {
    pub fn subscribe(&mut self, conn: ConnId, subscription: Subscription) {
        let listeners = self.streams.entry(subscription.profile).or_default();
        listeners.conns.push(conn);
        listeners.devices += usize::from(subscription.device);
    }

    /// `subscription` is that of [`Hub::subscribe`].
    pub fn unsubscribe(&mut self, conn: ConnId, subscription: Subscription) {
        if let Some(listeners) = self.streams.get_mut(&subscription.profile) {
            listeners.conns.retain(|other| *other != conn);
            listeners.devices -= usize::from(subscription.device);
            if listeners.conns.is_empty() {
                self.streams.remove(&subscription.profile);
            }
        }
    }

    /// The streams of a profile in the order they were opened.
    pub fn of(&self, profile: ProfileId) -> &[ConnId] {
        self.streams.get(&profile).map_or(&[], |listeners| &listeners.conns)
    }

    pub fn has_device(&self, profile: ProfileId) -> bool {
        self.streams.get(&profile).is_some_and(|listeners| listeners.devices > 0)
    }

    /// The profiles with at least one stream, from this one on.
    pub fn from(&self, first: ProfileId) -> impl Iterator<Item = ProfileId> {
        self.streams.range(first..).map(|(profile, _)| *profile)
    }

    /// Profiles with at least one stream.
    pub fn profiles(&self) -> usize {
        self.streams.len()
    }
}

/// From now on this connection receives the events of its profile.
pub fn subscribe(core: &mut Core, conn: &mut Conn, subscription: Subscription) {
    unsubscribe(core, conn);
    conn.subscription = Some(subscription);
    if subscription.device && !core.streams.hub.has_device(subscription.profile) {
        presence::device_changed(core, subscription.profile);
    }
    core.streams.hub.subscribe(conn.id, subscription);
}

/// Ends its subscription, what it showed and what it was typing.
pub fn unsubscribe(core: &mut Core, conn: &mut Conn) {
    let Some(subscription) = conn.subscription.take() else { return };
    let Subscription { profile, device } = subscription;
    core.streams.hub.unsubscribe(conn.id, subscription);
    if device && !core.streams.hub.has_device(profile) {
        presence::device_changed(core, profile);
    }
    if let Phase::Stream(StreamKind::WebSocket(stream)) = &mut conn.phase {
        let focus = stream.focus.take();
        core.streams.show(profile, focus, None, core.now.instant);
        if let Some(typing_state) = stream.typing_state.take() {
            presence::stopped(core, profile, *typing_state);
        }
    }
}
