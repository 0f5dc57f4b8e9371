//! The events of one profile after a cursor: a merge of the sources that have them, in the order of `seq`.
//!
//! Owns which sources a profile has, and which event is next. The rows are [`event_log`](super)'s.
//! Invariant: a source without new events costs nothing, and a damaged row hides no later one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use super::{
    CONVERSATION_CREATED, CONVERSATION_UPDATED, MEMBER_ADDED, MEMBER_REMOVED, MESSAGE_DELETED,
    MESSAGE_EDITED, MESSAGE_PINNED, MESSAGE_REACTED, PREFERENCES_CHANGED, PROFILE_UPDATED,
    PROFILE_UPDATED_FOR_ONESELF, SESSION_ENDED, read_member_subject,
};
use crate::base::id::Id;
use crate::base::time::UnixS;
use crate::model::conversation::ConversationType;
use crate::model::event::{EndedSession, Fact, LogPage, Membership, ReadLog, ReadMark};
use crate::model::id::{ConversationId, ProfileId};
use crate::model::operation::Refusal;
use crate::store::conversations::kind;
use crate::store::fault::Stop;
use crate::store::page::{Budget, fact_bytes};
use crate::store::profiles::{self, Names};
use crate::store::value::{id, int, is_damage, number};
use crate::store::{groups, messages, metadata};

/// A source of events. Its next event has its `seq` in the heap.
enum Source {
    /// The messages of a conversation; the next is `n`.
    Messages { key: i64, conversation: ConversationId, n: u64, last_n: u64 },
    /// A read mark: one event.
    Read { conversation: ConversationId, profile: ProfileId, read_n: u64 },
    /// All other events of a conversation. The profile sees no message before `first_n`.
    Changes { key: i64, conversation: ConversationId, first_n: u64 },
    /// The changes of a direct peer's profile.
    Peer { key: i64 },
    /// The profile's own rows of `log`.
    Own,
}

struct Merge<'a> {
    conn: &'a Connection,
    profile: i64,
    sources: Vec<Source>,
    /// The next `seq` of each source that has one.
    next: BinaryHeap<Reverse<(u64, usize)>>,
}

pub fn read(conn: &Connection, read: ReadLog) -> Result<LogPage, Stop> {
    let profile = profiles::key(conn, read.profile)?.ok_or(Refusal::Unauthorized)?;
    let head = metadata::head(conn)?;
    if read.after > head {
        return Ok(LogPage::Ahead { head });
    }
    let pruned = metadata::pruned(conn)?;
    let after = if read.from_oldest { read.after.max(pruned) } else { read.after };
    if after < pruned {
        return Ok(LogPage::Pruned { head });
    }
    let mut merge = Merge { conn, profile, sources: Vec::new(), next: BinaryHeap::new() };
    if after < head {
        merge.gather(read.profile, after)?;
    }
    let (mut budget, mut names, mut events) = (Budget::new(read.limit), Names::default(), Vec::new());
    let mut through = after;
    while let Some(Reverse((seq, source))) = merge.next.pop() {
        let fact = (!budget.is_spent()).then(|| merge.render(&mut names, source, seq));
        let fact = match fact {
            None => None,
            // The row of this event is damaged on the disk. The events after it are not.
            Some(Err(error)) if is_damage(&error) => {
                log::warn!("storage: an event of the log can't be read and is left out of a replay: {error}");
                merge.advance(source, seq)?;
                continue;
            }
            Some(fact) => match fact? {
                Some(fact) => Some(fact),
                // A change of a message that the profile does not see. It counts, so that a page of them has an end too.
                None => {
                    budget.take(0);
                    through = seq;
                    merge.advance(source, seq)?;
                    continue;
                }
            },
        };
        match fact.filter(|fact| budget.take(fact_bytes(fact))) {
            Some(fact) => {
                events.push((seq, fact));
                through = seq;
            }
            None => return Ok(LogPage::Events { events, through, complete: false }),
        }
        merge.advance(source, seq)?;
    }
    Ok(LogPage::Events { events, through: head, complete: true })
}

impl Merge<'_> {
    fn add(&mut self, seq: u64, source: Source) {
        self.next.push(Reverse((seq, self.sources.len())));
        self.sources.push(source);
    }

    /// Adds every source with an event after `after`.
    fn gather(&mut self, reader: ProfileId, after: u64) -> rusqlite::Result<()> {
        let conn = self.conn;
        let mut statement = conn.prepare_cached(
            "SELECT c.key, c.id, c.kind, c.last_n, c.activity, m.joined_seq, m.read_n, m.read_seq, c.last_seq, \
             m.first_n \
             FROM memberships m JOIN conversations c ON c.key = m.conversation \
             WHERE m.profile = ?1 AND max(c.last_seq, m.read_seq) > ?2",
        )?;
        let mut rows = statement.query((self.profile, int(after)))?;
        while let Some(row) = rows.next()? {
            let (key, conversation) = (row.get(0)?, id(row, 1)?);
            let read_seq = number(row, 7)?;
            if read_seq > after {
                let read_n = number(row, 6)?;
                self.add(read_seq, Source::Read { conversation, profile: reader, read_n });
            }
            let start = after.max(number(row, 5)?);
            if number(row, 4)? > start {
                let last_n = number(row, 3)?;
                let first_n = number(row, 9)?;
                // What the profile has cleared is not shown.
                let next = match first_message_after(conn, key, last_n, start)? {
                    Some((n, _)) if n < first_n && first_n <= last_n => {
                        Some((first_n, seq_of(conn, key, first_n)?))
                    }
                    next => next.filter(|(n, _)| *n >= first_n),
                };
                if let Some((n, seq)) = next {
                    self.add(seq, Source::Messages { key, conversation, n, last_n });
                }
            }
            if number(row, 8)? > start
                && let Some(seq) = next_change(conn, key, start)?
            {
                self.add(seq, Source::Changes { key, conversation, first_n: number(row, 9)? });
            }
            if kind(row.get(2)?) == ConversationType::Direct && number(row, 8)? > after {
                self.gather_peer_read(key, conversation, after)?;
            }
        }
        self.gather_peers(after)?;
        if let Some(seq) = self.next_own(after)? {
            self.add(seq, Source::Own);
        }
        Ok(())
    }

    /// Adds the direct peers whose profiles changed, except across a block. Usually none has changed, which one index
    /// lookup shows.
    fn gather_peers(&mut self, after: u64) -> rusqlite::Result<()> {
        let newest: Option<i64> = self
            .conn
            .prepare_cached("SELECT max(updated_seq) FROM profiles")?
            .query_row([], |row| row.get(0))?;
        if newest.unwrap_or_default() <= int(after) {
            return Ok(());
        }
        let mut statement = self.conn.prepare_cached(
            "SELECT p.key, m.joined_seq FROM memberships m \
             JOIN conversations c ON c.key = m.conversation AND c.kind = 0 \
             JOIN profiles p ON p.key = iif(c.low = m.profile, c.high, c.low) \
             WHERE m.profile = ?1 AND p.updated_seq > ?2 AND p.member IS NOT NULL AND NOT EXISTS \
             (SELECT 1 FROM blocks WHERE (blocker = ?1 AND blocked = p.key) OR (blocker = p.key AND blocked = ?1))",
        )?;
        let mut rows = statement.query((self.profile, int(after)))?;
        while let Some(row) = rows.next()? {
            let key = row.get(0)?;
            if let Some(seq) = next_update(self.conn, key, after.max(number(row, 1)?))? {
                self.add(seq, Source::Peer { key });
            }
        }
        Ok(())
    }

    /// Adds the peer's read mark in a direct conversation, if the profile may see it.
    fn gather_peer_read(
        &mut self,
        key: i64,
        conversation: ConversationId,
        after: u64,
    ) -> rusqlite::Result<()> {
        let peer = self
            .conn
            .prepare_cached(
                "SELECT p.key, p.id, m.read_n, m.read_seq FROM memberships m JOIN profiles p ON p.key = m.profile \
                 WHERE m.conversation = ?1 AND m.profile <> ?2 AND m.read_seq > ?3 AND p.member IS NOT NULL",
            )?
            .query_row((key, self.profile, int(after)), |row| {
                Ok((row.get::<_, i64>(0)?, id(row, 1)?, number(row, 2)?, number(row, 3)?))
            })
            .optional()?;
        if let Some((peer, profile, read_n, seq)) = peer
            && profiles::receipts(self.conn, self.profile, peer)?
        {
            self.add(seq, Source::Read { conversation, profile, read_n });
        }
        Ok(())
    }

    fn next_own(&self, after: u64) -> rusqlite::Result<Option<u64>> {
        self.conn
            .prepare_cached("SELECT seq FROM log WHERE profile = ?1 AND seq > ?2 ORDER BY seq LIMIT 1")?
            .query_row((self.profile, int(after)), |row| number(row, 0))
            .optional()
    }

    /// `None` for a change of a message that the profile does not see, or of a conversation that it has left.
    fn render(&self, names: &mut Names, source: usize, seq: u64) -> rusqlite::Result<Option<Fact>> {
        Ok(Some(match self.sources[source] {
            Source::Messages { conversation, .. } => {
                let message = messages::of_seq(self.conn, names, conversation, seq)?;
                Fact::MessagePosted(Arc::new(message.ok_or(rusqlite::Error::QueryReturnedNoRows)?))
            }
            Source::Read { conversation, profile, read_n } => {
                Fact::ConversationRead(Box::new(ReadMark { conversation, profile, read_n }))
            }
            Source::Changes { key, conversation, first_n } => {
                let fact = self.render_change(names, key, conversation, seq)?;
                let changed = fact.message();
                return Ok((changed.is_none_or(|message| message.n >= first_n)).then_some(fact));
            }
            Source::Peer { key } => {
                let profile = profiles::for_others(self.conn, key)?;
                Fact::ProfileUpdated(Box::new(profile.ok_or(rusqlite::Error::QueryReturnedNoRows)?))
            }
            Source::Own => return self.render_own(seq),
        }))
    }

    fn render_change(
        &self,
        names: &mut Names,
        key: i64,
        conversation: ConversationId,
        seq: u64,
    ) -> rusqlite::Result<Fact> {
        let (kind, subject) = self
            .conn
            .prepare_cached("SELECT kind, subject FROM log WHERE seq = ?1")?
            .query_row([int(seq)], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<Vec<u8>>>(1)?)))?;
        let subject = subject.unwrap_or_default();
        let lost = || rusqlite::Error::IntegralValueOutOfRange(0, kind);
        let member = || {
            let (profile, role) = read_member_subject(&subject).ok_or_else(lost)?;
            Ok(Box::new(Membership { conversation, profile, role }))
        };
        match kind {
            MESSAGE_EDITED | MESSAGE_DELETED | MESSAGE_REACTED | MESSAGE_PINNED => {
                let id = Id::from_bytes(subject.as_slice().try_into().map_err(|_| lost())?);
                let message = messages::of_seq(self.conn, names, conversation, id.seq())?;
                let message = Arc::new(message.ok_or(rusqlite::Error::QueryReturnedNoRows)?);
                Ok(match kind {
                    MESSAGE_EDITED => Fact::MessageEdited(message),
                    MESSAGE_DELETED => Fact::MessageDeleted(message),
                    MESSAGE_PINNED => Fact::MessagePinned(message),
                    _ => Fact::MessageReacted(message),
                })
            }
            CONVERSATION_CREATED => Ok(Fact::ConversationCreated(Box::new(groups::brief(self.conn, key)?))),
            CONVERSATION_UPDATED => Ok(Fact::ConversationUpdated(Box::new(groups::brief(self.conn, key)?))),
            MEMBER_ADDED => member().map(Fact::MemberAdded),
            MEMBER_REMOVED => member().map(Fact::MemberRemoved),
            _ => Err(lost()),
        }
    }

    fn render_own(&self, seq: u64) -> rusqlite::Result<Option<Fact>> {
        let sql = "SELECT l.kind, l.subject, c.id FROM log l LEFT JOIN conversations c ON c.key = l.conversation \
                   WHERE l.seq = ?1";
        self.conn.prepare_cached(sql)?.query_row([int(seq)], |row| {
            Ok(Some(match row.get(0)? {
                // A past event: the lifetime of its last access token does not matter to a stream that opened later.
                SESSION_ENDED => {
                    Fact::SessionEnded(Box::new(EndedSession { session: id(row, 1)?, until: UnixS(0) }))
                }
                MEMBER_REMOVED => {
                    let subject: Vec<u8> = row.get(1)?;
                    let (profile, role) = read_member_subject(&subject)
                        .ok_or(rusqlite::Error::IntegralValueOutOfRange(1, MEMBER_REMOVED))?;
                    let conversation = id(row, 2)?;
                    Fact::MemberRemoved(Box::new(Membership { conversation, profile, role }))
                }
                PREFERENCES_CHANGED => return self.render_preferences(id(row, 1)?),
                PROFILE_UPDATED | PROFILE_UPDATED_FOR_ONESELF => {
                    let profile = profiles::for_others(self.conn, self.profile)?;
                    Fact::ProfileUpdated(Box::new(profile.ok_or(rusqlite::Error::QueryReturnedNoRows)?))
                }
                kind => return Err(rusqlite::Error::IntegralValueOutOfRange(0, kind)),
            }))
        })
    }

    fn render_preferences(&self, conversation: ConversationId) -> rusqlite::Result<Option<Fact>> {
        let key = self
            .conn
            .prepare_cached(
                "SELECT c.key FROM conversations c JOIN memberships m ON m.conversation = c.key \
                 WHERE c.id = ?1 AND m.profile = ?2",
            )?
            .query_row((conversation.to_bytes(), self.profile), |row| row.get(0))
            .optional()?;
        let Some(key) = key else { return Ok(None) };
        let mut brief = groups::brief(self.conn, key)?;
        brief.own = true;
        Ok(Some(Fact::ConversationUpdated(Box::new(brief))))
    }

    /// Moves a source to its next event, if it has one.
    fn advance(&mut self, source: usize, seq: u64) -> rusqlite::Result<()> {
        let next = match &mut self.sources[source] {
            Source::Messages { key, n, last_n, .. } if *n < *last_n => {
                *n += 1;
                Some(seq_of(self.conn, *key, *n)?)
            }
            Source::Messages { .. } | Source::Read { .. } => None,
            Source::Changes { key, .. } => next_change(self.conn, *key, seq)?,
            Source::Peer { key } => next_update(self.conn, *key, seq)?,
            Source::Own => self.next_own(seq)?,
        };
        if let Some(next) = next {
            self.next.push(Reverse((next, source)));
        }
        Ok(())
    }
}

/// The next change of a profile that its peers receive. The kind is a literal, because SQLite does not use a partial index
/// for a parameter.
fn next_update(conn: &Connection, profile: i64, after: u64) -> rusqlite::Result<Option<u64>> {
    conn.prepare_cached(
        "SELECT seq FROM log WHERE profile = ?1 AND kind = 9 AND seq > ?2 ORDER BY seq LIMIT 1",
    )?
    .query_row((profile, int(after)), |row| number(row, 0))
    .optional()
}

/// The next event of a conversation that is not a message.
fn next_change(conn: &Connection, conversation: i64, after: u64) -> rusqlite::Result<Option<u64>> {
    conn.prepare_cached("SELECT seq FROM log WHERE conversation = ?1 AND seq > ?2 ORDER BY seq LIMIT 1")?
        .query_row((conversation, int(after)), |row| number(row, 0))
        .optional()
}

/// The `seq` at a position of a conversation: one index lookup, because the index holds the rowid.
fn seq_of(conn: &Connection, conversation: i64, n: u64) -> rusqlite::Result<u64> {
    conn.prepare_cached("SELECT seq FROM messages WHERE conversation = ?1 AND n = ?2")?
        .query_row((conversation, int(n)), |row| number(row, 0))
}

/// The first message with a `seq` greater than `after`. `n` and `seq` increase together, so a binary search finds it. The
/// search begins at the end, because most readers missed few messages.
fn first_message_after(
    conn: &Connection,
    conversation: i64,
    last_n: u64,
    after: u64,
) -> rusqlite::Result<Option<(u64, u64)>> {
    if last_n == 0 {
        return Ok(None);
    }
    let mut first = (last_n, seq_of(conn, conversation, last_n)?);
    if first.1 <= after {
        return Ok(None);
    }
    let mut step = 1;
    // No message up to `known` is after the cursor.
    let mut known = loop {
        let n = first.0.saturating_sub(step);
        if n == 0 {
            break 0;
        }
        let seq = seq_of(conn, conversation, n)?;
        if seq <= after {
            break n;
        }
        first = (n, seq);
        step *= 2;
    };
    while known + 1 < first.0 {
        let n = known.midpoint(first.0);
        let seq = seq_of(conn, conversation, n)?;
        if seq > after {
            first = (n, seq);
        } else {
            known = n;
        }
    }
    Ok(Some(first))
}
