//! What the entries of the log did, as the first node made it of them: every other node must make the same of it.
//!
//! Owns the events with their audiences, and the messages in the order of the log. Leaves to `client` what a stream
//! must show of it.
//! Invariant: a position is judged once by each node that applies it, and no message of a conversation is missing
//! before a later one.

use std::collections::{BTreeMap, BTreeSet};

use natter::model::event::{Event, Fact};
use natter::model::id::{ClientId, ConversationId, ProfileId, SessionId};
use natter::model::operation::Lane;
use natter::store::{AppliedEntry, Delivered};

/// An event, and who must receive it.
pub struct Logged {
    pub name: &'static str,
    pub audience: BTreeSet<ProfileId>,
    /// The connection that caused it, which receives the answer instead.
    pub lane: Option<Lane>,
    /// Of a read mark: a replay shows the newest of these only.
    mark: Option<(ConversationId, ProfileId)>,
    /// Of a message.
    pub client_id: Option<ClientId>,
}

/// A message as it was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    pub seq: u64,
    pub n: u64,
}

#[derive(Default)]
pub struct Record {
    /// What the entry at each position did.
    entries: BTreeMap<u64, String>,
    pub log: BTreeMap<u64, Logged>,
    posts: BTreeMap<(ProfileId, ClientId), Posted>,
    last_n: BTreeMap<ConversationId, u64>,
    /// The pairs with a direct conversation, each in both orders.
    directs: BTreeSet<(ProfileId, ProfileId)>,
    /// At which seq each session ended.
    pub ended: BTreeMap<SessionId, u64>,
    /// The seq of the newest event.
    pub head: u64,
    /// Nodes are compared by their rows alone: for a test that plants a fault.
    pub is_blind: bool,
    /// Entries that count on no node, and messages.
    pub ignored: u64,
    /// How often the level was raised.
    pub raised: u64,
}

impl Record {
    /// A node has applied an entry.
    pub fn applied(&mut self, node: &str, delivered: &Delivered, applied: &AppliedEntry) {
        let text = format!("{:?}: {applied:?}", delivered.entry.body);
        if let Some(known) = self.entries.get(&delivered.position) {
            let position = delivered.position;
            assert!(
                *known == text || self.is_blind,
                "node {node} made of entry {position}\n{text}\nand another one\n{known}"
            );
            return;
        }
        assert_eq!(delivered.position, self.position() + 1, "node {node} has left out an entry");
        self.entries.insert(delivered.position, text);
        match applied {
            AppliedEntry::Performed(outcomes) => {
                outcomes.iter().flat_map(|outcome| &outcome.events).for_each(|event| self.happened(event));
            }
            AppliedEntry::Ignored(_) => self.ignored += 1,
            AppliedEntry::Raised(_) => self.raised += 1,
            AppliedEntry::Begun => {}
        }
    }

    fn happened(&mut self, event: &Event) {
        assert!(event.seq > self.head, "seq {} after {}", event.seq, self.head);
        self.head = event.seq;
        let (mut mark, mut client_id) = (None, None);
        match &event.fact {
            Fact::MessagePosted(message) => {
                client_id = Some(message.client_id);
                let last_n = self.last_n.entry(message.conversation).or_default();
                *last_n += 1;
                assert_eq!(message.n, *last_n, "the positions of {} are not dense", message.conversation);
                if let Some(sender) = message.sender {
                    let posted = Posted { seq: event.seq, n: message.n };
                    let before = self.posts.insert((sender, message.client_id), posted);
                    assert_eq!(before, None, "{} was stored twice", message.client_id);
                }
            }
            Fact::ConversationRead(read) => mark = Some((read.conversation, read.profile)),
            Fact::SessionEnded(ended) => drop(self.ended.insert(ended.session, event.seq)),
            _ => {}
        }
        if event.audience.direct
            && let [one, other] = event.audience.profiles[..]
        {
            self.directs.extend([(one, other), (other, one)]);
        }
        let audience = event.audience.profiles.iter().copied().collect();
        let logged = Logged { name: event.fact.name(), audience, lane: None, mark, client_id };
        self.log.insert(event.seq, logged);
    }

    /// The connection of this lane caused these events.
    pub fn caused<'a>(&mut self, lane: Lane, events: impl IntoIterator<Item = &'a Event>) {
        for event in events {
            let logged = self.log.get_mut(&event.seq).expect("an outcome follows its commit");
            logged.lane = Some(lane);
        }
    }

    /// The last entry that a node has performed.
    pub fn position(&self) -> u64 {
        self.entries.keys().next_back().copied().unwrap_or(0)
    }

    /// Whether one may know of the other whether they are online.
    pub fn are_peers(&self, one: ProfileId, other: ProfileId) -> bool {
        self.directs.contains(&(one, other))
    }

    pub fn posted(&self, sender: ProfileId, client_id: ClientId) -> Option<Posted> {
        self.posts.get(&(sender, client_id)).copied()
    }

    pub fn messages(&self) -> impl Iterator<Item = (&ClientId, &Posted)> {
        self.posts.iter().map(|((_, client_id), posted)| (client_id, posted))
    }

    /// The events between two seqs, both excluded, that a stream of this profile must show before the second one.
    pub fn due(
        &self,
        (after, before): (u64, u64),
        profile: ProfileId,
        lane: Lane,
        is_live: bool,
    ) -> Vec<u64> {
        if after + 1 >= before {
            return Vec::new();
        }
        let is_due = |(seq, logged): &(&u64, &Logged)| {
            logged.audience.contains(&profile)
                && logged.lane != Some(lane)
                && (is_live || !self.is_superseded(**seq, logged))
        };
        self.log.range(after + 1..before).filter(is_due).map(|(seq, _)| *seq).collect()
    }

    fn is_superseded(&self, seq: u64, logged: &Logged) -> bool {
        logged.mark.is_some() && self.log.range(seq + 1..).any(|(_, later)| later.mark == logged.mark)
    }
}
