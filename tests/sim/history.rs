//! The stored content with its history: each message in each version, each conversation with its members at each time.
//!
//! Invariant: asked for a seq, it answers with the state at that seq.

use std::collections::{BTreeMap, BTreeSet};

use natter::base::time::UnixMs;
use natter::model::id::{ClientId, ConversationId, MessageId, ProfileId, UploadId};
use natter::model::operation::Lane;

/// A message from one `rev` to the next.
#[derive(Clone, Debug, Default)]
pub struct Version {
    pub rev: u64,
    /// `None` for a tombstone.
    pub body: Option<String>,
    pub edited: bool,
    pub reply_to: Option<MessageId>,
    pub attachments: Vec<UploadId>,
    /// In the order the emoji were first used.
    pub reactions: Vec<(String, Vec<ProfileId>)>,
    /// `all`, and the ids of profiles.
    pub mentions: BTreeSet<String>,
    pub forwarded: bool,
    pub pinned: bool,
    /// Of a system message.
    pub system: Option<System>,
    /// Retention has erased it: no event shows its `rev`.
    pub silent: bool,
}

/// What a system message tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    pub kind: &'static str,
    pub profiles: Vec<ProfileId>,
    pub title: Option<String>,
}

impl Version {
    pub fn does_mention(&self, profile: ProfileId) -> bool {
        self.mentions.contains("all") || self.mentions.contains(&profile.to_string())
    }
}

#[derive(Clone, Debug)]
pub struct Message {
    pub id: MessageId,
    pub client_id: ClientId,
    pub conversation: ConversationId,
    pub n: u64,
    pub seq: u64,
    pub sender: ProfileId,
    pub created_at: UnixMs,
    /// The connection through which it was stored.
    pub lane: Lane,
    pub versions: Vec<Version>,
}

impl Message {
    pub fn now(&self) -> &Version {
        self.versions.last().expect("a first version")
    }

    /// The version at a seq, which is not before the message's own.
    pub fn version(&self, seq: u64) -> &Version {
        let count = self.versions.partition_point(|version| version.rev <= seq);
        &self.versions[count.max(1) - 1]
    }

    pub fn is_deleted(&self) -> bool {
        self.now().body.is_none() && !self.is_system()
    }

    pub fn is_system(&self) -> bool {
        self.now().system.is_some()
    }

    /// Adds the next version, for the caller to change.
    pub fn change(&mut self, rev: u64) -> &mut Version {
        let next = Version { rev, silent: false, ..self.now().clone() };
        self.versions.push(next);
        self.versions.last_mut().expect("it was pushed")
    }
}

/// What a member has set of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    pub muted: bool,
    pub pinned: bool,
    pub marked: bool,
    /// How many messages there were when it was archived or hidden.
    pub archived: Option<u64>,
    pub hidden: Option<u64>,
}

impl Version {
    /// Becomes that of a tombstone. Returns the files that it showed.
    pub fn erase(&mut self) -> Vec<UploadId> {
        (self.body, self.system) = (None, None);
        (self.forwarded, self.pinned) = (false, false);
        self.reply_to = None;
        self.mentions.clear();
        self.reactions.clear();
        std::mem::take(&mut self.attachments)
    }
}

#[derive(Debug, Default)]
pub struct Conversation {
    pub is_group: bool,
    /// Days that its messages are kept, if the group has a time of its own, and the last message that was too old.
    pub kept_days: Option<u64>,
    pub erased_n: u64,
    /// From the seq of each joining to the seq of the removal.
    spans: BTreeMap<ProfileId, Vec<(u64, u64)>>,
    pub admins: BTreeSet<ProfileId>,
    /// Whether newcomers see only what is said after they joined, and the first message that a member sees, since which seq.
    pub hides: bool,
    first_n: BTreeMap<ProfileId, Vec<(u64, u64)>>,
    /// What each member has set for itself, since which seq.
    own: BTreeMap<ProfileId, Vec<(u64, Own)>>,
    /// Its current members, the eldest first.
    pub joined: Vec<ProfileId>,
    pub made: u64,
    pub titles: Vec<(u64, String)>,
    /// Each message is at index n - 1.
    pub messages: Vec<Message>,
    /// The read marks of each member, with the seq of each.
    reads: BTreeMap<ProfileId, Vec<(u64, u64)>>,
}

impl Conversation {
    /// Created at a seq, without members yet.
    pub fn new(is_group: bool, made: u64) -> Conversation {
        Conversation { is_group, made, ..Conversation::default() }
    }

    pub fn members(&self) -> BTreeSet<ProfileId> {
        self.joined.iter().copied().collect()
    }

    /// The first message that a member sees now.
    pub fn first_n(&self, profile: ProfileId) -> u64 {
        self.first_n_since(profile, u64::MAX)[0]
    }

    /// As [`Self::first_n`], at a seq and at any time after it: the member may have cleared it, or left and come back.
    pub fn first_n_since(&self, profile: ProfileId, seq: u64) -> Vec<u64> {
        let all = self.first_n.get(&profile).map_or(&[][..], Vec::as_slice);
        let begin = all.partition_point(|(since, _)| *since <= seq).saturating_sub(1);
        let seen: Vec<u64> = all[begin..].iter().map(|(_, n)| *n).collect();
        if seen.is_empty() { vec![1] } else { seen }
    }

    /// A member sees only what is said from now on.
    pub fn clear(&mut self, profile: ProfileId, seq: u64) {
        let first_n = self.messages.len() as u64 + 1;
        self.first_n.entry(profile).or_default().push((seq, first_n));
    }

    /// What a member has set for itself, at a seq.
    pub fn own(&self, profile: ProfileId, seq: u64) -> Own {
        let all = self.own.get(&profile).map_or(&[][..], Vec::as_slice);
        all.iter().rev().find(|(since, _)| *since <= seq).map_or_else(Own::default, |(_, own)| own.clone())
    }

    pub fn set_own(&mut self, profile: ProfileId, seq: u64, own: Own) {
        self.own.entry(profile).or_default().push((seq, own));
    }

    /// What a member's list shows of that: muted, pinned, archived, marked as unread, hidden.
    pub fn preferences(&self, profile: ProfileId, seq: u64) -> [bool; 5] {
        let own = self.own(profile, seq);
        let is_quiet = |since: Option<u64>| {
            let later =
                |since: u64| &self.messages[since as usize..(self.last_n(seq) as usize).max(since as usize)];
            since.map(|since| later(since).iter().all(|message| message.version(seq).body.is_none()))
        };
        let archived = is_quiet(own.archived).is_some_and(|quiet| quiet || own.muted);
        [own.muted, own.pinned, archived, own.marked, is_quiet(own.hidden).unwrap_or_default()]
    }

    /// The members who see a message.
    pub fn who_see(&self, n: u64) -> BTreeSet<ProfileId> {
        self.joined.iter().copied().filter(|profile| self.first_n(*profile) <= n).collect()
    }

    pub fn has(&self, profile: ProfileId) -> bool {
        self.joined.contains(&profile)
    }

    pub fn had(&self, profile: ProfileId, seq: u64) -> bool {
        let spans = self.spans.get(&profile).map_or(&[][..], Vec::as_slice);
        spans.iter().any(|(from, until)| *from <= seq && seq < *until)
    }

    /// Whether a profile has ever left it.
    pub fn was_left_by(&self, profile: ProfileId) -> bool {
        self.was_left_after(profile, 0)
    }

    pub fn was_left_after(&self, profile: ProfileId, seq: u64) -> bool {
        let spans = self.spans.get(&profile).map_or(&[][..], Vec::as_slice);
        spans.iter().any(|(_, until)| *until != u64::MAX && *until > seq)
    }

    pub fn members_count(&self, seq: u64) -> u64 {
        self.spans.keys().filter(|profile| self.had(**profile, seq)).count() as u64
    }

    pub fn title(&self, seq: u64) -> Option<&str> {
        self.titles.iter().rev().find(|(since, _)| *since <= seq).map(|(_, title)| title.as_str())
    }

    pub fn last_n(&self, seq: u64) -> u64 {
        self.messages.partition_point(|message| message.seq <= seq) as u64
    }

    pub fn activity(&self, seq: u64) -> u64 {
        let last_n = self.last_n(seq) as usize;
        last_n.checked_sub(1).map_or(self.made, |index| self.messages[index].seq)
    }

    /// The read mark of a member at a seq.
    pub fn read_n(&self, profile: ProfileId, seq: u64) -> u64 {
        let marks = self.reads.get(&profile).map_or(&[][..], Vec::as_slice);
        marks.iter().rev().find(|(since, _)| *since <= seq).map_or(0, |(_, n)| *n)
    }

    /// Messages after the mark that are neither the profile's own, nor deleted, nor system messages.
    pub fn unread(&self, profile: ProfileId, seq: u64) -> u64 {
        self.unread_after(profile, self.read_n(profile, seq), seq)
    }

    pub fn unread_after(&self, profile: ProfileId, read_n: u64, seq: u64) -> u64 {
        let last_n = self.last_n(seq) as usize;
        let later = &self.messages[(read_n as usize).min(last_n)..last_n];
        let counts = |message: &&Message| message.sender != profile && message.version(seq).body.is_some();
        later.iter().filter(counts).count() as u64
    }

    /// How many messages after a mark mention the profile, up to 100, and the first of them.
    pub fn unread_mentions(&self, profile: ProfileId, read_n: u64, seq: u64) -> (Option<u64>, Option<u64>) {
        let last_n = self.last_n(seq) as usize;
        let later = &self.messages[(read_n as usize).min(last_n)..last_n];
        let own = |message: &&Message| message.version(seq).does_mention(profile);
        let count = later.iter().filter(own).count() as u64;
        ((count > 0).then_some(count.min(100)), later.iter().find(own).map(|message| message.n))
    }

    pub fn mark(&mut self, profile: ProfileId, seq: u64, n: u64) {
        self.reads.entry(profile).or_default().push((seq, n));
    }

    pub fn join(&mut self, profile: ProfileId, seq: u64) {
        let first_n = if self.hides { self.messages.len() as u64 + 1 } else { 1 };
        self.first_n.entry(profile).or_default().push((seq, first_n));
        self.set_own(profile, seq, Own::default());
        self.joined.push(profile);
        self.spans.entry(profile).or_default().push((seq, u64::MAX));
    }

    /// Its account was deleted: the conversation of two stays as it was for the other one.
    pub fn lose(&mut self, profile: ProfileId) {
        self.joined.retain(|member| *member != profile);
    }

    pub fn leave(&mut self, profile: ProfileId, seq: u64) {
        self.joined.retain(|member| *member != profile);
        self.admins.remove(&profile);
        let span = self.spans.get_mut(&profile).and_then(|spans| spans.last_mut()).expect("a member");
        span.1 = seq;
    }
}
