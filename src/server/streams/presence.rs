//! Presence and typing: sent to the profiles that may know, and never stored.
//!
//! Devices are open WebSockets and event streams; the short pause before a change is announced hides a reconnect. In a cluster a
//! profile is online while any node says that it has a device there (`nodes`). Each node announces that to its own streams. That
//! a profile went offline is stored, by the node on duty, and each node announces it because of that write.
//! Invariant: what was announced of a profile is taken back when it is no longer true, or when its peer may no longer know it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use serde::Serialize;

use crate::base::json;
use crate::base::send_queue::SendQueue;
use crate::base::time::UnixMs;
use crate::base::timers::Timers;
use crate::model::id::{ConversationId, ProfileId};
use crate::model::operation::{Answer, Operation, Refusal};
use crate::model::presence::{FindListeners, FindPeers, MarkOffline, Peers};
use crate::model::profile::{ChangedBlock, SetBlock};
use crate::model::whisper::{self, WHISPER_IDS_MAX, Whisper};
use crate::proto::websocket;
use crate::server::calls::{AskedTyping, Caller, Next};
use crate::server::conn::{Conns, Phase};
use crate::server::contract::ConnId;
use crate::server::core::Core;
use crate::server::streams::ephemeral;
use crate::server::streams::kinds::StreamKind;
use crate::server::streams::websocket::push_text;
use crate::server::turn::Broadcast;

/// Between a change of presence and its event: a reconnect within it is no change (`protocol.md`: within 10 s).
const PRESENCE_DELAY: Duration = Duration::from_secs(3);
/// In a cluster: how long another node is waited for that stores who went offline, and the time to the next try after a fault.
const LEFT_AGAIN: Duration = Duration::from_secs(10);
/// Questions to storage at a time about who is online, in a cluster.
const ASKED_MAX: usize = 64;
/// Typing that continues is not announced again before this.
const TYPING_AGAIN: Duration = Duration::from_secs(3);
/// Typing expires when it is not renewed (`protocol.md`, typing).
const TYPING_LAPSE: Duration = Duration::from_secs(6);

#[derive(Default)]
pub struct Presence {
    /// Profiles that were announced to their peers as online.
    announced: BTreeSet<ProfileId>,
    /// In a cluster: those of them that are offline, which another node is to store.
    left: BTreeSet<ProfileId>,
    /// Questions to storage that are not answered.
    asked: usize,
    /// Profiles whose presence may have changed, and when to check.
    due: Timers<ProfileId>,
    /// How many blocks were set.
    blocks: u32,
}

#[derive(Serialize)]
struct Ephemeral<T> {
    event: &'static str,
    data: T,
}

#[derive(Serialize)]
struct Online {
    profile: ProfileId,
    online: bool,
    last_seen_at: Option<UnixMs>,
}

#[derive(Serialize)]
struct Typing {
    conversation: ConversationId,
    profile: ProfileId,
    active: bool,
}

impl Presence {
    /// `in_cluster`: while too many questions are asked, an answer is waited for.
    pub fn next_deadline(&self, in_cluster: bool) -> Option<Instant> {
        self.due.next().filter(|_| self.has_room(in_cluster))
    }

    /// Alone each device that comes or leaves causes one question. A node that hears of another one may have many at once.
    fn has_room(&self, in_cluster: bool) -> bool {
        !in_cluster || self.asked < ASKED_MAX
    }

    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    pub fn is_announced(&self, profile: ProfileId) -> bool {
        self.announced.contains(&profile)
    }
}

/// A device came or left, or a profile may have hidden itself: its presence is checked after a pause.
pub fn changed(core: &mut Core, profile: ProfileId) {
    core.streams.presence.due.set(profile, Some(core.now.instant + PRESENCE_DELAY));
}

/// The first device came to this node, or the last one left it.
pub fn device_changed(core: &mut Core, profile: ProfileId) {
    changed(core, profile);
    let now = core.now.instant;
    core.streams.nodes.iter_mut().for_each(|nodes| nodes.changed(profile, now));
}

/// Checks the profiles whose time has come.
pub fn tick(core: &mut Core) {
    let in_cluster = core.is_in_cluster();
    while core.streams.presence.has_room(in_cluster)
        && let Some(profile) = core.streams.presence.due.pop(core.now.instant)
    {
        let online = core.streams.is_online(profile);
        if online {
            core.streams.presence.asked += 1;
            core.streams.presence.left.remove(&profile);
            let next = Next::Presence { profile, online };
            core.ask_store(Caller::Server, FindPeers { profile }.into_command(), next);
        } else if core.streams.presence.is_announced(profile) {
            mark_offline(core, profile);
        }
    }
}

/// Has it stored that a profile went offline. In a cluster the node on duty does; if none has done it in time, each node does.
fn mark_offline(core: &mut Core, profile: ProfileId) {
    let stores = core.has_duty() || core.streams.presence.left.contains(&profile);
    if core.is_in_cluster() && (!stores || core.is_draining()) {
        core.streams.presence.left.insert(profile);
        core.streams.presence.due.set(profile, Some(core.now.instant + LEFT_AGAIN));
        return;
    }
    core.streams.presence.asked += 1;
    let mark = MarkOffline { profile, at: core.now.unix_ms };
    core.ask_store(Caller::Server, mark.into_command(), Next::Presence { profile, online: false });
}

/// Storage has answered which profiles may know whether this one is online. What follows from its going offline follows from the
/// fact: see [`on_offline`].
pub fn answered(core: &mut Core, profile: ProfileId, online: bool, result: Result<Answer, Refusal>) {
    core.streams.presence.asked -= 1;
    match result {
        Ok(Answer::FindPeers(peers)) => on_online(core, *peers),
        Ok(Answer::MarkOffline(_)) => {}
        Err(refusal) if core.is_in_cluster() && refusal.is_fault() && !online => {
            core.streams.presence.due.set(profile, Some(core.now.instant + LEFT_AGAIN));
        }
        // A deleted member has no peers; after a fault the next change is checked again.
        Ok(_) | Err(_) => {
            core.streams.presence.announced.remove(&profile);
            core.streams.presence.left.remove(&profile);
        }
    }
}

/// A profile has a device. If it hides that, what was announced is taken back.
fn on_online(core: &mut Core, peers: Peers) {
    let Peers { profile, hidden, peers, .. } = peers;
    let announced = &mut core.streams.presence.announced;
    let told = if hidden { announced.remove(&profile) } else { announced.insert(profile) };
    if told && !peers.is_empty() {
        let frame = websocket::text_frame(&online_event(profile, !hidden, None));
        core.turn.broadcasts.push_back(Broadcast { profiles: peers.into(), frame });
    }
}

/// It is stored that a profile went offline.
pub fn on_offline(core: &mut Core, peers: &Peers) {
    let profile = peers.profile;
    // The node that stored it may not have heard of a device here.
    if core.is_in_cluster() && core.streams.is_online(profile) {
        return changed(core, profile);
    }
    core.streams.presence.left.remove(&profile);
    if core.streams.presence.announced.remove(&profile) && !peers.peers.is_empty() {
        let last_seen_at = peers.last_seen_at.filter(|_| !peers.hidden);
        let frame = websocket::text_frame(&online_event(profile, false, last_seen_at));
        core.turn.broadcasts.push_back(Broadcast { profiles: peers.peers.as_slice().into(), frame });
    }
}

fn online_event(profile: ProfileId, online: bool, last_seen_at: Option<UnixMs>) -> Vec<u8> {
    json::to_vec(&Ephemeral { event: "presence", data: Online { profile, online, last_seen_at } })
}

/// Has a stream that has caught up receive which of its peers are online.
pub fn send_snapshot(core: &mut Core, conn: ConnId, profile: ProfileId) {
    core.ask_store(Caller::Stream(conn), FindPeers { profile }.into_command(), Next::Greeting);
}

/// These profiles became peers, or are peers again: each of their live streams gets a new snapshot.
pub fn on_new_peers(core: &mut Core, conns: &mut Conns, profiles: &[ProfileId]) {
    for profile in profiles {
        for id in core.streams.hub.of(*profile).to_vec() {
            if conns.get_mut(id).is_some_and(|conn| ephemeral::is_live(conn)) {
                send_snapshot(core, id, *profile);
            }
        }
    }
}

/// One profile blocked another, or no longer does: its typing is not sent to the other any more, and what two peers know of
/// each other's presence is taken back, or sent again.
pub fn on_block_changed(core: &mut Core, conns: &mut Conns, changed: ChangedBlock) {
    let ChangedBlock { block: SetBlock { blocker, other, blocked }, peers } = changed;
    if !blocked {
        if peers {
            on_new_peers(core, conns, &[blocker, other]);
        }
        return;
    }
    core.streams.presence.blocks = core.streams.presence.blocks.wrapping_add(1);
    for (hearer, gone) in [(blocker, other), (other, blocker)] {
        for &id in core.streams.hub.of(gone) {
            if let Some(Phase::Stream(StreamKind::WebSocket(stream))) =
                conns.get_mut(id).map(|conn| &mut conn.phase)
                && let Some(typing_state) = &mut stream.typing_state
            {
                typing_state.listeners =
                    typing_state.listeners.iter().copied().filter(|id| *id != hearer).collect();
            }
        }
        if peers && core.streams.presence.is_announced(gone) {
            let frame = websocket::text_frame(&online_event(gone, false, None));
            core.turn.broadcasts.push_back(Broadcast { profiles: [hearer].into(), frame });
        }
    }
}

pub fn on_snapshot(core: &Core, send: &mut SendQueue, result: Result<Answer, Refusal>) {
    let Some(Peers { hidden: false, peers, .. }) = result.ok().and_then(FindPeers::from_answer) else {
        return;
    };
    for peer in peers.into_iter().filter(|peer| core.streams.presence.is_announced(*peer)) {
        push_text(send, &online_event(peer, true, None));
    }
}

/// What one stream types at the moment.
#[derive(Debug)]
pub struct TypingState {
    conversation: ConversationId,
    listeners: Arc<[ProfileId]>,
    /// Not announced again before this.
    again_at: Instant,
    expires_at: Instant,
}

impl TypingState {
    pub fn is_in(&self, conversation: ConversationId) -> bool {
        self.conversation == conversation
    }

    pub fn expires_at(&self) -> Instant {
        self.expires_at
    }

    /// Whether typing in this conversation causes no new event yet.
    pub fn is_fresh(&self, conversation: ConversationId, now: Instant) -> bool {
        self.conversation == conversation && now < self.again_at
    }

    /// Continues typing in the same conversation; `true` when no new event is due, so that no read is needed.
    pub fn refresh(&mut self, conversation: ConversationId, now: Instant) -> bool {
        if !self.is_fresh(conversation, now) {
            return false;
        }
        self.expires_at = now + TYPING_LAPSE;
        true
    }
}

/// Asks which profiles may know that this one types in that conversation.
pub fn ask_listeners(
    core: &mut Core,
    caller: Caller,
    viewer: ProfileId,
    conversation: ConversationId,
    active: bool,
) {
    let asked = AskedTyping { conversation, active, blocks: core.streams.presence.blocks };
    let find = FindListeners { viewer, conversation };
    core.ask_store(caller, find.into_command(), Next::Typing(asked));
}

/// Sends the event; returns what the stream keeps while it types.
pub fn typing(
    core: &mut Core,
    profile: ProfileId,
    conversation: ConversationId,
    active: bool,
    listeners: Arc<[ProfileId]>,
) -> Option<TypingState> {
    if let Some(nodes) = &core.streams.nodes {
        let elsewhere: Vec<ProfileId> =
            listeners.iter().copied().filter(|listener| nodes.has_device(*listener)).collect();
        for part in elsewhere.chunks(WHISPER_IDS_MAX) {
            let listeners = part.to_vec();
            core.whisper(&Whisper::Typing(whisper::Typing { profile, conversation, active, listeners }));
        }
    }
    send_typing(core, profile, conversation, active, Arc::clone(&listeners));
    let now = core.now.instant;
    active.then(|| TypingState {
        conversation,
        listeners,
        again_at: now + TYPING_AGAIN,
        expires_at: now + TYPING_LAPSE,
    })
}

/// Sends it to the streams of this node.
fn send_typing(
    core: &mut Core,
    profile: ProfileId,
    conversation: ConversationId,
    active: bool,
    listeners: Arc<[ProfileId]>,
) {
    let typing = Ephemeral { event: "typing", data: Typing { conversation, profile, active } };
    let frame = websocket::text_frame(&json::to_vec(&typing));
    core.turn.broadcasts.push_back(Broadcast { profiles: listeners, frame });
}

/// Someone types on another node.
pub fn typing_elsewhere(core: &mut Core, typing: whisper::Typing) {
    let whisper::Typing { profile, conversation, active, listeners } = typing;
    send_typing(core, profile, conversation, active, listeners.into());
}

/// Typing ends: after a pause, or with its stream.
pub fn stopped(core: &mut Core, profile: ProfileId, typing_state: TypingState) {
    typing(core, profile, typing_state.conversation, false, typing_state.listeners);
}
