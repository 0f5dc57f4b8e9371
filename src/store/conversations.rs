//! Conversations as their members see them: found, listed, marked as read.
//!
//! There is no counter of unread messages: a sender's own message moves its `read_n`, so everything after `read_n` comes
//! from other members or is a system message, and unread = last_n - read_n, minus the rows of `tombstones` among them: deleted
//! messages and system messages.
//! Invariant: two profiles have at most one direct conversation (the schema's UNIQUE (low, high)).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rusqlite::{Connection, OptionalExtension};

use super::batch::{Batch, Written};
use super::cache::{self, PairStatus, Slot};
use super::fault::Stop;
use super::page::{Budget, chat_bytes, conversation_bytes};
use super::profiles::{self, Names};
use super::value::{id, int, number, number_or_null, text_or_null};
use super::{changes, groups, mentions, messages, metadata, preferences, uploads};
use crate::base::time::UnixMs;
use crate::model::conversation::{
    Chat, Chats, Conversation, ConversationCursor, ConversationPage, ConversationType, GetConversation,
    ListChats, ListConversations, MarkRead, Marked, UnreadMentions,
};
use crate::model::event::{Audience, Event, Fact, ReadMark};
use crate::model::id::{ConversationId, ProfileId};
use crate::model::operation::{Answer, Refusal};
use crate::model::preferences::Preferences;

pub fn kind(column: i64) -> ConversationType {
    match column {
        0 => ConversationType::Direct,
        _ => ConversationType::Group,
    }
}

// ---- for the writer ------------------------------------------------------------------------------

/// The id of the direct conversation of two profiles.
pub fn direct_between(conn: &Connection, a: i64, b: i64) -> rusqlite::Result<Option<ConversationId>> {
    conn.prepare_cached("SELECT id FROM conversations WHERE low = ?1 AND high = ?2")?
        .query_row((a.min(b), a.max(b)), |row| id(row, 0))
        .optional()
}

/// A conversation in the cache, loaded from its rows if it is not there yet.
pub fn load(batch: &mut Batch<'_>, conversation: ConversationId) -> rusqlite::Result<Option<Slot>> {
    if let Some(slot) = batch.cache.by_id(conversation) {
        return Ok(Some(slot));
    }
    let conn = batch.conn;
    let found = conn
        .prepare_cached(
            "SELECT key, kind, last_n, last_seq, activity, low, high FROM conversations WHERE id = ?1",
        )?
        .query_row([conversation.to_bytes()], |row| {
            let mut loaded = cache::Conversation::new(row.get(0)?, conversation, kind(row.get(1)?));
            loaded.last_n = number(row, 2)?;
            loaded.last_seq = number(row, 3)?;
            loaded.activity = number(row, 4)?;
            Ok((loaded, row.get::<_, Option<i64>>(5)?.zip(row.get::<_, Option<i64>>(6)?)))
        })
        .optional()?;
    let Some((mut loaded, pair)) = found else { return Ok(None) };
    let mut gone = false;
    let members = conn
        .prepare_cached(
            "SELECT m.key, p.id, p.key, m.read_n, m.read_seq, p.member IS NULL, m.first_n, m.marked_unread \
             FROM memberships m JOIN profiles p ON p.key = m.profile WHERE m.conversation = ?1",
        )?
        .query_map([loaded.key], |row| {
            if row.get(5)? {
                // A deleted profile neither receives nor sends messages, even if some were in progress when it was deleted.
                gone = true;
                return Ok(None);
            }
            let mut membership = cache::Membership::new(
                row.get(0)?,
                id(row, 1)?,
                row.get(2)?,
                number(row, 3)?,
                number(row, 4)?,
            );
            (membership.first_n, membership.marked_unread) = (number(row, 6)?, row.get(7)?);
            Ok(Some(membership))
        })?
        .filter_map(Result::transpose)
        .collect::<rusqlite::Result<Vec<_>>>()?;
    if let Some((low, high)) = pair {
        (loaded.pair_status, loaded.receipts) = relation(conn, low, high, gone)?;
    }
    Ok(Some(batch.cache.add(loaded.with_members(members))))
}

/// Whether the two profiles of a direct conversation may write to each other, and whether they see each other's read marks.
fn relation(conn: &Connection, a: i64, b: i64, gone: bool) -> rusqlite::Result<(PairStatus, bool)> {
    let pair_status = match (profiles::blocked(conn, a, b)?, gone) {
        (true, _) => PairStatus::Blocked,
        (false, true) => PairStatus::PeerGone,
        (false, false) => PairStatus::Open,
    };
    Ok((pair_status, profiles::receipts(conn, a, b)?))
}

/// Reloads the cached status of the conversation of two profiles: one blocked or unblocked the other.
pub fn renew_pair(batch: &mut Batch<'_>, a: ProfileId, b: ProfileId) -> rusqlite::Result<()> {
    match batch.cache.by_pair(a, b) {
        Some(slot) => renew(batch, slot),
        None => Ok(()),
    }
}

/// As [`renew_pair`], for every direct conversation of a profile that became hidden or visible.
pub fn renew_all(batch: &mut Batch<'_>, profile: ProfileId) -> rusqlite::Result<()> {
    for slot in batch.cache.pairs_of(profile) {
        renew(batch, slot)?;
    }
    Ok(())
}

fn renew(batch: &mut Batch<'_>, slot: Slot) -> rusqlite::Result<()> {
    let [a, b] = batch.cache.get(slot).members.as_slice() else { return Ok(()) };
    // Both exist: a conversation with a deleted peer was loaded without that peer.
    let (pair_status, receipts) = relation(batch.conn, a.profile_key, b.profile_key, false)?;
    batch.cache.set_pair_status(slot, pair_status, receipts);
    Ok(())
}

/// A direct conversation that its first message is about to create.
pub struct NewDirect {
    pub id: ConversationId,
    /// The key and the id of both.
    pub sides: [(i64, ProfileId); 2],
}

/// Inserts the rows of a direct conversation. Its first message follows in the same transaction.
pub fn make_direct(batch: &mut Batch<'_>, new: NewDirect) -> rusqlite::Result<Slot> {
    let conn = batch.conn;
    let [a, b] = new.sides;
    let key = conn
        .prepare_cached(
            "INSERT INTO conversations (id, kind, low, high, members_count, last_n, last_seq, activity) \
             VALUES (?1, 0, ?2, ?3, 2, 0, 0, 0)",
        )?
        .insert((new.id.to_bytes(), a.0.min(b.0), a.0.max(b.0)))?;
    let mut insert = conn.prepare_cached(
        "INSERT INTO memberships (profile, conversation, joined_seq, read_n, read_seq) VALUES (?1, ?2, ?3, 0, 0)",
    )?;
    // Events before this one are not delivered to the new members.
    let joined_seq = int(batch.log.head);
    let mut members = Vec::with_capacity(2);
    for (profile_key, profile) in new.sides {
        let membership = insert.insert((profile_key, key, joined_seq))?;
        members.push(cache::Membership::new(membership, profile, profile_key, 0, 0));
    }
    let mut made = cache::Conversation::new(key, new.id, ConversationType::Direct);
    made.receipts = profiles::receipts(conn, a.0, b.0)?;
    Ok(batch.cache.add(made.with_members(members)))
}

pub fn mark_read(batch: &mut Batch<'_>, mark: MarkRead) -> Result<Written, Stop> {
    let slot = load(batch, mark.conversation)?.ok_or(Refusal::NotFound)?;
    let conversation = batch.cache.get(slot);
    let member = conversation.member(mark.reader).ok_or(Refusal::NotFound)?;
    let (last_n, before) = (conversation.last_n, conversation.members[member].read_n);
    let read_n = mark.n.min(last_n);
    let (key, profile_key) = (conversation.key, conversation.members[member].profile_key);
    let kind = conversation.kind;
    let mut events = Vec::new();
    if conversation.members[member].marked_unread {
        events.push(preferences::unmark(batch, (slot, member), mark.at)?);
    }
    let conversation = batch.cache.get(slot);
    if read_n <= before {
        let marked = marked(batch.conn, (kind, key, profile_key), before, last_n)?;
        return Ok(Written { result: Ok(Answer::MarkRead(Box::new(marked))), events: events.into() });
    }
    let seen_by_peer = conversation.kind == ConversationType::Direct && conversation.receipts;
    let audience = if seen_by_peer { conversation.everyone() } else { Audience::one(mark.reader) };
    let seq = batch.next_bare_seq();
    let membership = batch.cache.change_member(slot, member);
    membership.read_n = read_n;
    membership.read_seq = seq;
    if seen_by_peer {
        batch.cache.change(slot).last_seq = seq;
    }
    let mark = ReadMark { conversation: mark.conversation, profile: mark.reader, read_n };
    let fact = Fact::ConversationRead(Box::new(mark));
    let marked = marked(batch.conn, (kind, key, profile_key), read_n, last_n)?;
    events.push(Event { seq, audience, fact });
    Ok(Written { result: Ok(Answer::MarkRead(Box::new(marked))), events: events.into() })
}

fn marked(
    conn: &Connection,
    (kind, conversation, profile): (ConversationType, i64, i64),
    read_n: u64,
    last_n: u64,
) -> rusqlite::Result<Marked> {
    let unread = unread(conn, conversation, read_n, last_n)?;
    let mentions = unread_mentions(conn, (kind, conversation, profile), read_n, unread)?;
    Ok(Marked { read_n, unread, mentions })
}

// ---- for the readers -----------------------------------------------------------------------------

/// What a member needs to know of a conversation before reading it.
pub struct Readable {
    pub key: i64,
    pub last_n: u64,
    /// The member sees no message before this one: every read of a message asks for it.
    pub first_n: u64,
}

/// `None` unless `viewer` is a member.
pub fn readable(
    conn: &Connection,
    viewer: ProfileId,
    conversation: ConversationId,
) -> rusqlite::Result<Option<Readable>> {
    conn.prepare_cached(
        "SELECT c.key, c.last_n, m.first_n FROM conversations c JOIN profiles p ON p.id = ?2 \
         JOIN memberships m ON m.profile = p.key AND m.conversation = c.key WHERE c.id = ?1",
    )?
    .query_row((conversation.to_bytes(), viewer.to_bytes()), |row| {
        Ok(Readable { key: row.get(0)?, last_n: number(row, 1)?, first_n: number(row, 2)? })
    })
    .optional()
}

/// A conversation of a viewer, before its details are read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Marks {
    key: i64,
    read_n: u64,
    last_n: u64,
}

/// One in the list, ordered by its place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    place: ConversationCursor,
    marks: Marks,
}

/// All conversations of a viewer in one pass: the counts over all of them, and the `limit + 1` with the newest activity
/// that `wanted` accepts, newest first. The pass costs about 2 µs per conversation. In exchange, a post writes one row of
/// its conversation and none of its readers.
struct Overview {
    newest: Vec<Entry>,
    unread_total: u64,
    unread_conversations: u64,
    archived_total: u64,
}

/// All conversations of a viewer but the hidden ones. `wanted` says the place of one, or that it is not listed.
fn overview(
    conn: &Connection,
    (viewer, at): (i64, UnixMs),
    limit: u32,
    wanted: impl Fn(ConversationType, u64, &Preferences) -> Option<ConversationCursor>,
) -> rusqlite::Result<Overview> {
    let mut all =
        Overview { newest: Vec::new(), unread_total: 0, unread_conversations: 0, archived_total: 0 };
    let mut newest: BinaryHeap<Reverse<Entry>> = BinaryHeap::new();
    let mut statement = conn.prepare_cached(concat!(
        "SELECT c.activity, c.key, m.read_n, c.last_n, c.kind, ",
        preferences::columns!(),
        " FROM memberships m JOIN conversations c ON c.key = m.conversation WHERE m.profile = ?1",
    ))?;
    let mut rows = statement.query([viewer])?;
    while let Some(row) = rows.next()? {
        let (key, read_n, last_n) = (row.get(1)?, number(row, 2)?, number(row, 3)?);
        let own = preferences::read(conn, row, 5, (key, last_n), at)?;
        if own.hidden {
            continue;
        }
        let unread = unread(conn, key, read_n, last_n)?;
        all.unread_total += unread;
        all.unread_conversations += u64::from(unread > 0);
        all.archived_total += u64::from(own.archived);
        if let Some(place) = wanted(kind(row.get(4)?), number(row, 0)?, &own) {
            newest.push(Reverse(Entry { place, marks: Marks { key, read_n, last_n } }));
            if newest.len() > limit as usize + 1 {
                newest.pop();
            }
        }
    }
    all.newest = newest.into_sorted_vec().into_iter().map(|Reverse(entry)| entry).collect();
    Ok(all)
}

pub fn list(conn: &Connection, list: ListConversations) -> Result<ConversationPage, Stop> {
    let viewer = profiles::key(conn, list.viewer)?.ok_or(Refusal::Unauthorized)?;
    let all = overview(conn, (viewer, list.at), list.limit, |_, activity, own| {
        let place = ConversationCursor { pinned: own.pinned, activity };
        let is_listed = list.archived.is_none_or(|archived| archived == own.archived);
        (is_listed && list.after.is_none_or(|after| place < after)).then_some(place)
    })?;
    let (mut budget, mut names) = (Budget::new(list.limit), Names::default());
    let mut page = ConversationPage {
        conversations: Vec::new(),
        next: None,
        as_of: metadata::head(conn)?,
        unread_total: all.unread_total,
        archived_total: all.archived_total,
    };
    let mut last = None;
    for entry in all.newest {
        let full = budget.is_spent();
        let shown = if full { None } else { Some(show(conn, &mut names, (viewer, list.at), entry.marks)?) };
        match shown.filter(|shown| budget.take(conversation_bytes(shown))) {
            Some(shown) => page.conversations.push(shown),
            None => {
                page.next = last;
                break;
            }
        }
        last = Some(entry.place);
    }
    Ok(page)
}

/// As [`get`], within a batch: the cache may hold newer values than the rows.
pub fn get_in(batch: &mut Batch<'_>, asked: GetConversation) -> Result<Conversation, Stop> {
    batch.cache.write(batch.conn)?;
    get(batch.conn, asked)
}

pub fn get(conn: &Connection, get: GetConversation) -> Result<Conversation, Stop> {
    let viewer = profiles::key(conn, get.viewer)?.ok_or(Refusal::Unauthorized)?;
    let marks = conn
        .prepare_cached(
            "SELECT c.key, m.read_n, c.last_n FROM memberships m \
             JOIN conversations c ON c.key = m.conversation WHERE m.profile = ?1 AND c.id = ?2",
        )?
        .query_row((viewer, get.conversation.to_bytes()), |row| {
            Ok(Marks { key: row.get(0)?, read_n: number(row, 1)?, last_n: number(row, 2)? })
        })
        .optional()?
        .ok_or(Refusal::NotFound)?;
    Ok(show(conn, &mut Names::default(), (viewer, get.at), marks)?)
}

/// How many messages after `read_n` are unread. Tombstones do not count.
pub fn unread(conn: &Connection, conversation: i64, read_n: u64, last_n: u64) -> rusqlite::Result<u64> {
    let later = last_n.saturating_sub(read_n);
    if later == 0 {
        return Ok(0);
    }
    Ok(later - changes::deleted_after(conn, conversation, read_n)?.min(later))
}

/// Only for a group with unread messages: others have no mentions that are unread.
fn unread_mentions(
    conn: &Connection,
    (kind, conversation, profile): (ConversationType, i64, i64),
    read_n: u64,
    unread: u64,
) -> rusqlite::Result<UnreadMentions> {
    if kind == ConversationType::Direct || unread == 0 {
        return Ok(UnreadMentions::default());
    }
    mentions::unread(conn, profile, conversation, read_n)
}

fn show(
    conn: &Connection,
    names: &mut Names,
    (viewer, at): (i64, UnixMs),
    marks: Marks,
) -> rusqlite::Result<Conversation> {
    let (mut shown, peer) = conn
        .prepare_cached(concat!(
            "SELECT c.id, c.kind, c.title, c.members_count, c.low, c.high, m.first_n, m.role, c.image, \
             c.history, c.messages_kept, c.erased_n, ",
            preferences::columns!(),
            " FROM conversations c \
             JOIN memberships m ON m.conversation = c.key WHERE c.key = ?1 AND m.profile = ?2",
        ))?
        .query_row([marks.key, viewer], |row| {
            let kind = kind(row.get(1)?);
            let role = groups::role(row.get(7)?);
            let shown = Conversation {
                id: id(row, 0)?,
                kind,
                title: text_or_null(row, 2)?,
                image: uploads::image(conn, row.get(8)?)?,
                members_count: number(row, 3)?,
                peer: None,
                last_message: None,
                unread: 0,
                read_n: marks.read_n,
                last_n: marks.last_n,
                own: preferences::read(conn, row, 12, (marks.key, marks.last_n), at)?,
                peer_read_n: None,
                role: (kind == ConversationType::Group).then_some(role),
                history: groups::history(kind, row.get(9)?),
                messages_kept: number_or_null(row, 10)?,
                erased_n: Some(number(row, 11)?).filter(|n| *n > 0),
                first_n: Some(number(row, 6)?).filter(|first| *first > 1),
                mentions: UnreadMentions::default(),
            };
            Ok((shown, other(viewer, row.get(4)?, row.get(5)?)))
        })?;
    if let Some(peer) = peer {
        shown.peer = profiles::for_others(conn, peer)?;
        if shown.peer.is_some() && profiles::receipts(conn, viewer, peer)? {
            shown.peer_read_n = read_by(conn, marks.key, peer)?;
        }
    }
    shown.unread = unread(conn, marks.key, marks.read_n, marks.last_n)?;
    shown.mentions = unread_mentions(conn, (shown.kind, marks.key, viewer), marks.read_n, shown.unread)?;
    // Whoever joined later sees it too: their joining is a message of its own. Whoever has cleared the conversation does not.
    if shown.first_n.is_none_or(|first_n| first_n <= marks.last_n) {
        shown.last_message = messages::at(conn, names, (marks.key, shown.id), marks.last_n)?;
    }
    Ok(shown)
}

fn read_by(conn: &Connection, conversation: i64, profile: i64) -> rusqlite::Result<Option<u64>> {
    conn.prepare_cached("SELECT read_n FROM memberships WHERE conversation = ?1 AND profile = ?2")?
        .query_row([conversation, profile], |row| number(row, 0))
        .optional()
}

/// The other profile of a pair.
pub fn other(viewer: i64, low: Option<i64>, high: Option<i64>) -> Option<i64> {
    low.filter(|low| *low != viewer).or(high.filter(|high| *high != viewer))
}

pub fn list_chats(conn: &Connection, list: ListChats) -> Result<Chats, Stop> {
    let viewer = profiles::key(conn, list.viewer)?.ok_or(Refusal::Unauthorized)?;
    let all = overview(conn, (viewer, list.at), list.limit, |kind, activity, _| {
        (kind == ConversationType::Direct).then_some(ConversationCursor { pinned: false, activity })
    })?;
    let mut budget = Budget::new(list.limit);
    let mut chats = Vec::new();
    for Entry { marks, .. } in all.newest.into_iter().take(list.limit as usize) {
        let (id, peer, first_n) = conn
            .prepare_cached(
                "SELECT c.id, c.low, c.high, m.first_n FROM conversations c \
                 JOIN memberships m ON m.conversation = c.key WHERE c.key = ?1 AND m.profile = ?2",
            )?
            .query_row([marks.key, viewer], |row| {
                Ok((id(row, 0)?, other(viewer, row.get(1)?, row.get(2)?), number(row, 3)?))
            })?;
        let receiver = match peer {
            Some(peer) => profiles::for_others(conn, peer)?.into_iter().collect(),
            None => Vec::new(),
        };
        // A direct conversation has at least one message: its first one created it.
        let newest = messages::newest_text(conn, marks.key, (first_n, marks.last_n))?;
        let (message, created_at) = newest.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        if !budget.take(chat_bytes(&message, &receiver)) {
            break;
        }
        let is_read = unread(conn, marks.key, marks.read_n, marks.last_n)? == 0;
        chats.push(Chat { id, sender: list.viewer, receiver, message, is_read, created_at });
    }
    Ok(Chats { chats, unread_conversations: all.unread_conversations, as_of: metadata::head(conn)? })
}
