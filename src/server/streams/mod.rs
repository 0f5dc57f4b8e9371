//! What a connection becomes when it is no longer request and response: WebSocket, server-sent events, long poll, export.
//!
//! Owns the delivery of events: the hub, the replay after a cursor, presence and other ephemeral events.

pub mod backlog;
pub(crate) mod echo;
pub(crate) mod ephemeral;
pub(crate) mod export;
pub(crate) mod focus;
pub(crate) mod hub;
pub(crate) mod kinds;
pub(crate) mod legacy_socket;
pub(crate) mod nodes;
pub(crate) mod ops;
pub(crate) mod poll;
pub(crate) mod presence;
pub(crate) mod publication;
pub(crate) mod replay;
pub(crate) mod sse;
pub(crate) mod values;
pub(crate) mod websocket;

use std::time::Instant;

use crate::limits::MemoryShares;
use crate::model::id::{ConversationId, ProfileId};
use crate::model::settings::ClusterSettings;

/// Who is connected and what is on its way to them.
///
/// Invariant: nothing here is stored; a client that connects again gets all of it anew.
pub(crate) struct Streams {
    pub hub: hub::Hub,
    pub presence: presence::Presence,
    pub focus: focus::Focus,
    pub values: values::Values,
    pub exports: export::Exports,
    pub backlog: backlog::Backlog,
    /// `None` if this server is alone.
    pub nodes: Option<Box<nodes::Nodes>>,
}

impl Streams {
    pub fn new(memory: &MemoryShares, cluster: Option<&ClusterSettings>, now: Instant) -> Streams {
        let nodes = cluster.map(|cluster| Box::new(nodes::Nodes::new(cluster.node.clone(), now)));
        Streams {
            hub: hub::Hub::default(),
            presence: presence::Presence::default(),
            focus: focus::Focus::default(),
            values: values::Values::default(),
            exports: export::Exports::default(),
            backlog: backlog::Backlog::new(memory),
            nodes,
        }
    }

    /// Whether the profile has a device on any node.
    pub fn is_online(&self, profile: ProfileId) -> bool {
        self.hub.has_device(profile) || self.nodes.as_ref().is_some_and(|nodes| nodes.has_device(profile))
    }

    /// Whether a device of the profile shows the conversation, on any node.
    pub fn is_shown(&self, profile: ProfileId, conversation: ConversationId) -> bool {
        let elsewhere = || self.nodes.as_ref().is_some_and(|nodes| nodes.is_shown(profile, conversation));
        self.focus.is_shown(profile, conversation) || elsewhere()
    }

    /// A stream of the profile shows `to` instead of `from`.
    pub fn show(
        &mut self,
        profile: ProfileId,
        from: Option<ConversationId>,
        to: Option<ConversationId>,
        now: Instant,
    ) {
        self.focus.change(profile, from, to);
        if from != to
            && let Some(nodes) = &mut self.nodes
        {
            nodes.changed(profile, now);
        }
    }
}
