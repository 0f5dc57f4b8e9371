//! The other nodes of a cluster: who has a device on each, and what these devices show.
//!
//! Each node tells the others all of its own within [`FULL_EVERY`], span by span, and what changes at once. So what a lost whisper
//! has left wrong is right again soon, and one that has just started asks for all. Owns what is known and what is to be told. Leaves
//! to `presence` who is announced because of it.
//! Invariant: nothing here is true for longer than [`SILENT_AFTER`] after its node was last heard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::model::id::{ConversationId, ProfileId};
use crate::model::node::{NodeName, NodeState};
use crate::model::whisper::{About, Here, WHISPER_IDS_MAX, Whisper};
use crate::server::clock::soonest;
use crate::server::core::Core;
use crate::server::streams::presence;

/// Within this time a node tells all of its own.
const FULL_EVERY: Duration = Duration::from_secs(10);
/// Between two spans at most, so that a round keeps its time also when many devices come after its begin.
const SPAN_EVERY_MAX: Duration = Duration::from_millis(2_500);
/// Between two spans for a node that has just started.
const ASKED_EVERY: Duration = Duration::from_millis(20);
/// A node that was not heard for this long has nobody online. With the pause before a change is announced, its people are offline
/// within 30 s of its death.
const SILENT_AFTER: Duration = Duration::from_secs(25);
/// Between a change and its whisper: changes within it are one whisper.
const TOLD_AFTER: Duration = Duration::from_millis(100);
/// Other nodes. Above: further ones are not heard.
const NODES_MAX: usize = 31;
/// Profiles with a device on one other node, 16 bytes each, and conversations that are shown there. Above: the rest counts as offline.
const ONLINE_MAX: usize = 1_048_576;
/// Conversations that one person shows on one node, of which the others hear.
const SHOWN_MAX: usize = 32;

const FIRST: ProfileId = ProfileId::from_u128(0);
const LAST: ProfileId = ProfileId::from_u128(u128::MAX);

/// What a node knows of the others, and what these are to know of it.
pub struct Nodes {
    own: NodeName,
    others: BTreeMap<NodeName, Other>,
    /// Profiles of which the others do not know the newest, and when they are told.
    changed: BTreeSet<ProfileId>,
    tell_at: Option<Instant>,
    /// The next span begins with this profile.
    span_from: ProfileId,
    span_at: Instant,
    /// Rounds that are told at once, for a node that has just started.
    asked: u8,
    /// The others were asked for all of theirs.
    has_asked: bool,
}

struct Other {
    heard_at: Instant,
    /// What it says of itself, and when it did.
    state: Option<(NodeState, Instant)>,
    online: BTreeSet<ProfileId>,
    shown: BTreeSet<(ProfileId, ConversationId)>,
}

impl Nodes {
    pub fn new(own: NodeName, now: Instant) -> Nodes {
        Nodes {
            own,
            others: BTreeMap::new(),
            changed: BTreeSet::new(),
            tell_at: None,
            span_from: FIRST,
            span_at: now,
            asked: 0,
            has_asked: false,
        }
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        let silent = self.others.values().map(|other| other.heard_at + SILENT_AFTER).min();
        soonest([self.tell_at, Some(self.span_at), silent])
    }

    /// The other nodes that are heard, and what each says of itself, and when it did.
    pub fn states(&self) -> impl Iterator<Item = (&NodeName, Option<&(NodeState, Instant)>)> {
        self.others.iter().map(|(node, other)| (node, other.state.as_ref()))
    }

    /// How many other nodes are heard.
    pub fn heard(&self) -> usize {
        self.others.len()
    }

    pub fn has_device(&self, profile: ProfileId) -> bool {
        self.others.values().any(|other| other.online.contains(&profile))
    }

    pub fn is_shown(&self, profile: ProfileId, conversation: ConversationId) -> bool {
        self.others.values().any(|other| other.shown.contains(&(profile, conversation)))
    }

    /// A device of the profile came to this node or left it, or shows something else. Without another node nobody is told.
    pub fn changed(&mut self, profile: ProfileId, now: Instant) {
        if !self.others.is_empty() {
            self.changed.insert(profile);
            self.tell_at.get_or_insert(now + TOLD_AFTER);
        }
    }

    /// A node that has just started asks.
    fn is_asked(&mut self, now: Instant) {
        // A round under way is finished, so that nodes that ask again and again do not keep it from its end.
        self.asked = 2;
        self.span_at = self.span_at.min(now + ASKED_EVERY);
    }
}

/// Does what is due: tells the others, and forgets who was not heard.
pub fn tick(core: &mut Core) {
    let now = core.now.instant;
    let Some(nodes) = &mut core.streams.nodes else { return };
    let is_silent = |other: &Other| other.heard_at + SILENT_AFTER <= now;
    let silent = nodes.others.iter().filter(|(_, other)| is_silent(other)).map(|(node, _)| node.clone());
    let silent: Vec<NodeName> = silent.collect();
    let gone: Vec<(NodeName, Other)> =
        silent.into_iter().filter_map(|node| nodes.others.remove_entry(&node)).collect();
    let tell = nodes.tell_at.take_if(|at| *at <= now).map(|_| std::mem::take(&mut nodes.changed));
    let is_due = nodes.span_at <= now;
    for (node, other) in gone {
        log::warn!(target: "natter::cluster", node:%; "node {node} was not heard for {SILENT_AFTER:?}");
        other.online.into_iter().for_each(|profile| checked(core, profile));
    }
    if let Some(changed) = tell {
        tell_changes(core, &changed);
    }
    if is_due {
        tell_span(core);
    }
}

/// Who leaves a node that stops comes back on another one, within [`SILENT_AFTER`]: the others are not told that they left.
fn tell_changes(core: &mut Core, changed: &BTreeSet<ProfileId>) {
    if core.is_draining() {
        return;
    }
    let mut rest = changed.iter().copied().peekable();
    while rest.peek().is_some() {
        let mut here = Here { about: About::These(Vec::new()), online: Vec::new(), shown: Vec::new() };
        let mut about = Vec::new();
        while about.len() + here.shown.len() + SHOWN_MAX < WHISPER_IDS_MAX
            && let Some(profile) = rest.next()
        {
            about.push(profile);
            add(core, &mut here, profile);
        }
        here.about = About::These(about);
        core.whisper(&Whisper::Here(here));
    }
}

/// Tells the next span. A round has as many as it takes, evenly over [`FULL_EVERY`].
fn tell_span(core: &mut Core) {
    let now = core.now.instant;
    let ids = core.streams.hub.profiles() + core.streams.focus.len();
    // A span takes more than half of what a whisper takes, also where a profile is left to the next one.
    let spans = u32::try_from(ids / (WHISPER_IDS_MAX / 2)).unwrap_or(u32::MAX - 1) + 1;
    let Some(nodes) = &mut core.streams.nodes else { return };
    let asks = !std::mem::replace(&mut nodes.has_asked, true);
    let from = nodes.span_from;
    let mut here = Here { about: About::These(Vec::new()), online: Vec::new(), shown: Vec::new() };
    let mut next = None;
    for (visited, profile) in core.streams.hub.from(from).enumerate() {
        if visited >= WHISPER_IDS_MAX || here.online.len() + here.shown.len() + SHOWN_MAX >= WHISPER_IDS_MAX {
            next = Some(profile);
            break;
        }
        add(core, &mut here, profile);
    }
    let Some(nodes) = &mut core.streams.nodes else { return };
    // The span ends just before the profile with which the next one begins.
    let through = next.map_or(LAST, |next| ProfileId::from_u128(next.to_u128() - 1));
    nodes.span_from = next.unwrap_or(FIRST);
    if next.is_none() {
        nodes.asked = nodes.asked.saturating_sub(1);
    }
    nodes.span_at =
        now + if nodes.asked > 0 { ASKED_EVERY } else { (FULL_EVERY / spans).min(SPAN_EVERY_MAX) };
    here.about = About::Span((from, through));
    if core.is_draining() {
        return;
    }
    if asks {
        core.whisper(&Whisper::Ask);
    }
    core.whisper(&Whisper::Here(here));
}

/// Adds what is so of a profile on this node.
fn add(core: &Core, here: &mut Here, profile: ProfileId) {
    if core.streams.hub.has_device(profile) {
        here.online.push(profile);
        let shown = core.streams.focus.shown(profile).take(SHOWN_MAX);
        here.shown.extend(shown.map(|conversation| (profile, conversation)));
    }
}

/// Another node was heard. Returns whether it is one that this node listens to.
pub fn heard(core: &mut Core, node: &NodeName) -> bool {
    let now = core.now.instant;
    let Some(nodes) = &mut core.streams.nodes else { return false };
    if *node == nodes.own {
        return false;
    }
    if let Some(other) = nodes.others.get_mut(node) {
        other.heard_at = now;
        return true;
    }
    if nodes.others.len() >= NODES_MAX {
        return false;
    }
    log::info!(target: "natter::cluster", node:%; "node {node} is heard");
    let other = Other { heard_at: now, state: None, online: BTreeSet::new(), shown: BTreeSet::new() };
    nodes.others.insert(node.clone(), other);
    true
}

/// Another node tells how far it is.
pub fn state_came(core: &mut Core, node: &NodeName, state: NodeState) {
    let now = core.now.instant;
    if heard(core, node)
        && let Some(other) = core.streams.nodes.as_mut().and_then(|nodes| nodes.others.get_mut(node))
    {
        other.state = Some((state, now));
    }
}

/// Another node asks for all that is so on this one.
pub fn asked(core: &mut Core) {
    let now = core.now.instant;
    core.streams.nodes.iter_mut().for_each(|nodes| nodes.is_asked(now));
}

/// Another node has told what is so on it.
pub fn told(core: &mut Core, node: &NodeName, here: Here) {
    let Some(nodes) = &mut core.streams.nodes else { return };
    let Some(other) = nodes.others.get_mut(node) else { return };
    let Here { about, online, shown } = here;
    let (is_about, mut was): (Box<dyn Fn(ProfileId) -> bool>, BTreeSet<ProfileId>) = match about {
        About::Span((from, through)) if from <= through => {
            let was = other.online.range(from..=through).copied().collect();
            (Box::new(move |profile| (from..=through).contains(&profile)), was)
        }
        About::Span(_) => return,
        About::These(profiles) => {
            let about: BTreeSet<ProfileId> = profiles.into_iter().collect();
            let was = about.intersection(&other.online).copied().collect();
            (Box::new(move |profile| about.contains(&profile)), was)
        }
    };
    for profile in &was {
        let first = (*profile, ConversationId::from_u128(0));
        let of_profile = other.shown.range(first..).take_while(|shown| shown.0 == *profile).copied();
        for shown in of_profile.collect::<Vec<_>>() {
            other.shown.remove(&shown);
        }
    }
    let mut moved = Vec::new();
    for profile in online.into_iter().filter(|profile| is_about(*profile)) {
        if !was.remove(&profile) && other.online.len() < ONLINE_MAX && other.online.insert(profile) {
            moved.push(profile);
        }
    }
    for profile in was {
        other.online.remove(&profile);
        moved.push(profile);
    }
    for (profile, conversation) in shown {
        if other.online.contains(&profile) && is_about(profile) && other.shown.len() < ONLINE_MAX {
            other.shown.insert((profile, conversation));
        }
    }
    moved.into_iter().for_each(|profile| checked(core, profile));
}

/// A device of the profile came to another node, or left it. If it has one elsewhere, nothing follows.
fn checked(core: &mut Core, profile: ProfileId) {
    let before = core.streams.presence.is_announced(profile);
    if core.streams.is_online(profile) != before {
        presence::changed(core, profile);
    }
}
