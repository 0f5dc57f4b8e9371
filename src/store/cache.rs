//! The writer's cache of recently used conversations, so that a post reads no rows.
//!
//! Owns the state of a conversation as it will be after the batch. It is written to its rows once per batch.
//! Invariant: the cache equals the database plus the open transaction. If that fails, the complete cache is dropped.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::Connection;

use super::value::int;
use crate::model::conversation::ConversationType;
use crate::model::event::Audience;
use crate::model::id::{ConversationId, ProfileId};

/// Memberships in the writer's cache of conversations (about 100 bytes each). Above it, the cache is emptied after the
/// batch and loaded again from the database.
const CACHED_MEMBERSHIPS_MAX: usize = 65_536;

/// Whether the two members of a direct conversation may write to each other. A group is always open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairStatus {
    Open,
    /// One blocked the other.
    Blocked,
    /// The peer's account is deleted.
    PeerGone,
}

#[derive(Debug)]
pub struct Conversation {
    pub key: i64,
    pub id: ConversationId,
    pub kind: ConversationType,
    pub last_n: u64,
    pub last_seq: u64,
    pub activity: u64,
    pub pair_status: PairStatus,
    /// Whether the two of a direct conversation see each other's read marks.
    pub receipts: bool,
    /// By profile id.
    pub members: Vec<Membership>,
    /// The ids of `members`, shared by all events.
    pub audience: Arc<[ProfileId]>,
    changed: bool,
}

#[derive(Debug)]
pub struct Membership {
    pub key: i64,
    pub profile: ProfileId,
    pub profile_key: i64,
    pub read_n: u64,
    pub read_seq: u64,
    /// The member sees no message before this one.
    pub first_n: u64,
    /// The member marked the conversation as unread.
    pub marked_unread: bool,
    changed: bool,
}

impl Membership {
    pub fn new(key: i64, profile: ProfileId, profile_key: i64, read_n: u64, read_seq: u64) -> Membership {
        Membership {
            key,
            profile,
            profile_key,
            read_n,
            read_seq,
            first_n: 0,
            marked_unread: false,
            changed: false,
        }
    }
}

impl Conversation {
    /// A conversation as read from its row, without its members yet.
    pub fn new(key: i64, id: ConversationId, kind: ConversationType) -> Conversation {
        Conversation {
            key,
            id,
            kind,
            last_n: 0,
            last_seq: 0,
            activity: 0,
            pair_status: PairStatus::Open,
            receipts: kind == ConversationType::Direct,
            members: Vec::new(),
            audience: Arc::new([]),
            changed: false,
        }
    }

    /// Adds the members, sorted for the binary search.
    pub fn with_members(mut self, mut members: Vec<Membership>) -> Conversation {
        members.sort_unstable_by_key(|member| member.profile);
        self.audience = members.iter().map(|member| member.profile).collect();
        self.members = members;
        self
    }

    pub fn member(&self, profile: ProfileId) -> Option<usize> {
        self.members.binary_search_by_key(&profile, |member| member.profile).ok()
    }

    /// The members who see the message at this position, as the audience of its changes.
    pub fn who_see(&self, n: u64) -> Audience {
        if self.members.iter().all(|member| member.first_n <= n) {
            return self.everyone();
        }
        let who = self.members.iter().filter(|member| member.first_n <= n);
        Audience { profiles: who.map(|member| member.profile).collect(), direct: false }
    }

    /// All members, as the audience of an event.
    pub fn everyone(&self) -> Audience {
        Audience { profiles: Arc::clone(&self.audience), direct: self.kind == ConversationType::Direct }
    }
}

/// The index of a conversation in the cache, valid until the end of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(usize);

#[derive(Debug, Default)]
pub struct Cache {
    slots: Vec<Conversation>,
    by_id: BTreeMap<ConversationId, usize>,
    /// The smaller id first.
    by_pair: BTreeMap<(ProfileId, ProfileId), usize>,
    changed: Vec<usize>,
    changed_members: Vec<(usize, usize)>,
    memberships: usize,
}

fn pair(a: ProfileId, b: ProfileId) -> (ProfileId, ProfileId) {
    (a.min(b), a.max(b))
}

impl Cache {
    pub fn by_id(&self, id: ConversationId) -> Option<Slot> {
        self.by_id.get(&id).copied().map(Slot)
    }

    pub fn by_pair(&self, a: ProfileId, b: ProfileId) -> Option<Slot> {
        self.by_pair.get(&pair(a, b)).copied().map(Slot)
    }

    pub fn get(&self, slot: Slot) -> &Conversation {
        &self.slots[slot.0]
    }

    pub fn add(&mut self, conversation: Conversation) -> Slot {
        let slot = self.slots.len();
        self.by_id.insert(conversation.id, slot);
        if let (ConversationType::Direct, [a, b]) = (conversation.kind, conversation.members.as_slice()) {
            self.by_pair.insert(pair(a.profile, b.profile), slot);
        }
        self.memberships += conversation.members.len();
        self.slots.push(conversation);
        Slot(slot)
    }

    /// The direct conversations of a profile that are in the cache.
    pub fn pairs_of(&self, profile: ProfileId) -> Vec<Slot> {
        let of = |(pair, slot): (&(ProfileId, ProfileId), &usize)| {
            (pair.0 == profile || pair.1 == profile).then_some(Slot(*slot))
        };
        self.by_pair.iter().filter_map(of).collect()
    }

    /// Sets the status of a direct conversation. It has no column of its own, so no row has to be written.
    pub fn set_pair_status(&mut self, slot: Slot, pair_status: PairStatus, receipts: bool) {
        let conversation = &mut self.slots[slot.0];
        (conversation.pair_status, conversation.receipts) = (pair_status, receipts);
    }

    /// For a change to the conversation's own row.
    pub fn change(&mut self, slot: Slot) -> &mut Conversation {
        let conversation = &mut self.slots[slot.0];
        if !conversation.changed {
            conversation.changed = true;
            self.changed.push(slot.0);
        }
        conversation
    }

    /// For what an operation has itself written to a member's row.
    pub fn member(&mut self, slot: Slot, member: usize) -> &mut Membership {
        &mut self.slots[slot.0].members[member]
    }

    /// For a change to a member's row.
    pub fn change_member(&mut self, slot: Slot, member: usize) -> &mut Membership {
        let membership = &mut self.slots[slot.0].members[member];
        if !membership.changed {
            membership.changed = true;
            self.changed_members.push((slot.0, member));
        }
        membership
    }

    /// Writes every changed row, once.
    pub fn write(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        if !self.changed.is_empty() {
            let mut update = conn.prepare_cached(
                "UPDATE conversations SET last_n = ?2, last_seq = ?3, activity = ?4 WHERE key = ?1",
            )?;
            for slot in self.changed.drain(..) {
                let row = &mut self.slots[slot];
                row.changed = false;
                update.execute((row.key, int(row.last_n), int(row.last_seq), int(row.activity)))?;
            }
        }
        if !self.changed_members.is_empty() {
            let mut update =
                conn.prepare_cached("UPDATE memberships SET read_n = ?2, read_seq = ?3 WHERE key = ?1")?;
            for (slot, member) in self.changed_members.drain(..) {
                let row = &mut self.slots[slot].members[member];
                row.changed = false;
                update.execute((row.key, int(row.read_n), int(row.read_seq)))?;
            }
        }
        Ok(())
    }

    /// After a batch: empties a cache that is too large. The busy conversations are loaded again soon.
    pub fn trim(&mut self) {
        if self.memberships > CACHED_MEMBERSHIPS_MAX {
            self.clear();
        }
    }

    /// Drops everything, including unwritten changes.
    pub fn clear(&mut self) {
        *self = Cache::default();
    }
}
