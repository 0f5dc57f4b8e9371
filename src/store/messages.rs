//! Messages: posted, listed, shown.
//!
//! A message is found by its `seq`, which is its rowid and the low half of its id. A post updates two indexes:
//! (conversation, n) and (client_high, client_low, sender).
//! Invariant: `n` is dense in its conversation, and a `client_id` of a sender belongs to one message, permanently.

use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

use super::batch::{Batch, Written};
use super::cache::{Cache, PairStatus, Slot};
use super::conversations::{self, NewDirect};
use super::fault::Stop;
use super::mentions::{self, Mentions};
use super::page::{Budget, message_bytes};
use super::profiles::{self, Names};
use super::value::{halves, id, int, joined, number, number_or_null, or_damaged};
use super::{changes, metadata, uploads};
use crate::base::id::Id;
use crate::base::time::UnixMs;
use crate::model::event::{Event, Events, Fact};
use crate::model::id::{ClientId, ConversationId, MessageId, ProfileId};
use crate::model::message::{
    Destination, GetMessage, LegacyHistory, ListMessages, Message, MessagePage, OpenLegacySocket, PagePoint,
    PostMessage, Posted, PostedMessage, PostedStub,
};
use crate::model::operation::{Answer, Refusal};
use crate::model::upload::Attachment;

/// Messages searched for the newest one with a text. If none of them has one, the conversation counts as without text.
const TEXT_SEARCH_MAX: u32 = 1_000;

/// The greatest time an id can hold: 48 bits, the year 10889.
const ID_MS_MAX: u64 = (1 << 48) - 1;

/// The columns [`from_row`] reads, and the rest of the statement.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT m.seq, m.id_high, m.n, m.sender, m.client_high, m.reply_to, \
             (SELECT r.id_high FROM messages r WHERE r.seq = m.reply_to), \
             m.rev, m.edited_at, m.deleted_at, m.body, m.has_files, m.client_low FROM messages m ",
            $rest
        )
    };
}

fn from_row(
    conn: &Connection,
    names: &mut Names,
    conversation: ConversationId,
    row: &Row<'_>,
) -> rusqlite::Result<Message> {
    let seq = number(row, 0)?;
    // One row that is damaged on the disk must not hide the rows around it: its readable fields are shown.
    let mut damaged = false;
    let damage = &mut damaged;
    let id = joined(or_damaged(row.get(1), damage)?, int(seq));
    let rev = or_damaged(number_or_null(row, 7), damage)?;
    let reply_to = match or_damaged(number_or_null(row, 5), damage)? {
        Some(seq) => or_damaged(row.get::<_, Option<i64>>(6), damage)?.map(|high| joined(high, int(seq))),
        None => None,
    };
    let deleted_at = or_damaged(number_or_null(row, 9), damage)?.map(UnixMs);
    let has_files = row.get_ref(11)? != ValueRef::Null;
    let body: Option<String> = or_damaged(row.get(10), damage)?;
    // Every message was posted with a text or with files.
    *damage |= body.is_none() && deleted_at.is_none() && !has_files;
    let mentions = mentions::of(conn, names, seq, body.as_deref())?;
    Ok(Message {
        id,
        client_id: joined(or_damaged(row.get(4), damage)?, or_damaged(row.get(12), damage)?),
        conversation,
        n: or_damaged(number(row, 2), damage)?,
        seq,
        rev: rev.unwrap_or(seq),
        sender: match or_damaged(row.get::<_, Option<i64>>(3), damage)? {
            Some(sender) => names.of(conn, sender)?,
            None => None,
        },
        body,
        attachments: if has_files { uploads::attachments(conn, seq)? } else { Vec::new() },
        reply_to,
        // A message without a change has no reactions: no lookup for nearly all messages.
        reactions: if rev.is_some() { changes::reactions(conn, names, seq)? } else { Vec::new() },
        mentions,
        created_at: id.unix_ms(),
        edited_at: or_damaged(number_or_null(row, 8), damage)?.map(UnixMs),
        deleted_at,
        damaged,
    })
}

/// The message of a `seq`, as it is now.
pub fn of_seq(
    conn: &Connection,
    names: &mut Names,
    conversation: ConversationId,
    seq: u64,
) -> rusqlite::Result<Option<Message>> {
    conn.prepare_cached(select!("WHERE m.seq = ?1"))?
        .query_row([int(seq)], |row| from_row(conn, names, conversation, row))
        .optional()
}

/// The message at position `n` of a conversation.
pub fn at(
    conn: &Connection,
    names: &mut Names,
    (key, conversation): (i64, ConversationId),
    n: u64,
) -> rusqlite::Result<Option<Message>> {
    conn.prepare_cached(select!("WHERE m.conversation = ?1 AND m.n = ?2"))?
        .query_row((key, int(n)), |row| from_row(conn, names, conversation, row))
        .optional()
}

// ---- posting -------------------------------------------------------------------------------------

pub fn post(batch: &mut Batch<'_>, post: PostMessage) -> Result<Written, Stop> {
    let (sender, client_id) = (post.draft.sender.ok_or(Refusal::Unauthorized)?, post.draft.client_id);
    // Nearly every post goes to a recently used conversation, and reads no rows.
    if post.draft.reply_to.is_none()
        && post.attachments.is_empty()
        && let Some((slot, member)) = known(batch.cache, sender, post.destination)
        && !mentions::may_mention(batch.cache.get(slot), post.draft.body.as_deref())
    {
        let sender_key = batch.cache.get(slot).members[member].profile_key;
        return match insert(batch, slot, member, post, Shown::default())? {
            Some(written) => Ok(written),
            None => {
                let original = original(batch.conn, sender_key, client_id)?;
                Ok(original.ok_or(rusqlite::Error::QueryReturnedNoRows)?)
            }
        };
    }
    let sender_key = profiles::key(batch.conn, sender)?.ok_or(Refusal::Unauthorized)?;
    if let Some(written) = original(batch.conn, sender_key, client_id)? {
        return Ok(written);
    }
    let (found, files) = find_destination(batch, (sender_key, sender), &post)?;
    let mentions = match &found {
        Found::Conversation(slot, _) => {
            mentions::resolve(batch, *slot, sender_key, post.draft.body.as_deref())?
        }
        Found::NoConversationYet(_) => Mentions::new(),
    };
    let shown = Shown { files, mentions };
    let written = match found {
        Found::Conversation(slot, member) if shown.is_empty() => insert(batch, slot, member, post, shown)?,
        found => batch.in_savepoint(|batch| {
            let (slot, member) = match found {
                Found::Conversation(slot, member) => (slot, member),
                Found::NoConversationYet(new) => {
                    let slot = conversations::make_direct(batch, new)?;
                    (slot, batch.cache.get(slot).member(sender).ok_or(Refusal::Internal)?)
                }
            };
            // Before the insert of the message, which changes the cache: the savepoint does not restore the cache.
            let (seq, conversation) = (batch.log.head + 1, batch.cache.get(slot));
            uploads::attach(batch.conn, seq, &shown.files)?;
            let place = (seq, conversation.key, conversation.last_n + 1);
            mentions::insert(batch.conn, place, &shown.mentions)?;
            Ok(insert(batch, slot, member, post, shown)?)
        })?,
    };
    // The `client_id` was looked up in this transaction, and only this thread writes.
    Ok(written.ok_or(rusqlite::Error::QueryReturnedNoRows)?)
}

/// The destination of a post, if the cache has it and the post is allowed.
fn known(cache: &Cache, sender: ProfileId, destination: Destination) -> Option<(Slot, usize)> {
    let (slot, may) = match destination {
        Destination::Conversation(id) => {
            let slot = cache.by_id(id)?;
            (slot, cache.get(slot).pair_status != PairStatus::Blocked)
        }
        Destination::To(profile) => {
            let slot = cache.by_pair(sender, profile)?;
            (slot, cache.get(slot).pair_status == PairStatus::Open)
        }
    };
    may.then_some((slot, cache.get(slot).member(sender)?))
}

enum Found {
    /// A conversation, and the sender's index among its members.
    Conversation(Slot, usize),
    NoConversationYet(NewDirect),
}

/// The files a message is about to show: the keys of its uploads, and how they are shown.
type Files = Vec<(i64, Attachment)>;

/// What a message is about to show besides its text.
#[derive(Default)]
struct Shown {
    files: Files,
    mentions: Mentions,
}

impl Shown {
    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.mentions.is_empty()
    }
}

fn find_destination(
    batch: &mut Batch<'_>,
    (sender_key, sender): (i64, ProfileId),
    post: &PostMessage,
) -> Result<(Found, Files), Stop> {
    let id = match post.destination {
        Destination::Conversation(id) => id,
        Destination::To(peer) => {
            let peer_key = profiles::key(batch.conn, peer)?.ok_or(Refusal::NotFound)?;
            if peer_key == sender_key || profiles::blocked(batch.conn, sender_key, peer_key)? {
                return Err(Refusal::NotFound.into());
            }
            match conversations::direct_between(batch.conn, sender_key, peer_key)? {
                Some(id) => id,
                None => {
                    let files = files(batch, sender_key, post)?;
                    if post.draft.reply_to.is_some() {
                        return Err(Refusal::Invalid("reply_to").into());
                    }
                    let sides = [(sender_key, sender), (peer_key, peer)];
                    let new = NewDirect { id: post.conversation_if_new, sides };
                    return Ok((Found::NoConversationYet(new), files));
                }
            }
        }
    };
    let slot = conversations::load(batch, id)?.ok_or(Refusal::NotFound)?;
    let conversation = batch.cache.get(slot);
    let member = conversation.member(sender).ok_or(Refusal::NotFound)?;
    if conversation.pair_status == PairStatus::Blocked {
        return Err(Refusal::NotAllowed.into());
    }
    let files = files(batch, sender_key, post)?;
    if let Some(reply_to) = post.draft.reply_to {
        must_be_in(batch, slot, reply_to)?;
    }
    Ok((Found::Conversation(slot, member), files))
}

/// The uploads a post shows. All belong to the sender.
fn files(batch: &Batch<'_>, sender_key: i64, post: &PostMessage) -> Result<Files, Stop> {
    if post.attachments.is_empty() {
        return Ok(Vec::new());
    }
    let found = uploads::of_owner(batch.conn, sender_key, &post.attachments)?;
    Ok(found.ok_or(Refusal::Invalid("attachments"))?)
}

/// A reply must be to a message of the same conversation.
fn must_be_in(batch: &Batch<'_>, slot: Slot, message: MessageId) -> Result<(), Stop> {
    let exists = batch
        .conn
        .prepare_cached("SELECT 1 FROM messages WHERE seq = ?1 AND id_high = ?2 AND conversation = ?3")?
        .exists((int(message.seq()), message.high() as i64, batch.cache.get(slot).key))?;
    match exists {
        true => Ok(()),
        false => Err(Refusal::Invalid("reply_to").into()),
    }
}

/// The insert of a post. Nearly every post is a plain text, which binds none of the columns that it leaves NULL.
macro_rules! insert {
    ($columns:literal, $values:literal) => {
        concat!(
            "INSERT INTO messages (seq, id_high, conversation, n, sender, client_high, client_low, body",
            $columns,
            ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8",
            $values,
            ") ON CONFLICT (client_high, client_low, sender) DO NOTHING"
        )
    };
}

/// Stores the message at the next position. `None`: this sender has posted this `client_id` before, and nothing changed.
fn insert(
    batch: &mut Batch<'_>,
    slot: Slot,
    member: usize,
    mut post: PostMessage,
    shown: Shown,
) -> rusqlite::Result<Option<Written>> {
    let conversation = batch.cache.get(slot);
    let seq = batch.log.head + 1;
    // Ids increase with `seq`, also within a millisecond and while the clock shows an earlier time than the newest message:
    // if the high half would be smaller than the last one, the last one is used, and the `seq` in the low half decides.
    let drawn = MessageId::of(post.draft.created_at.min(UnixMs(ID_MS_MAX)), post.random, seq);
    let id = Id::from_halves(drawn.high().max(batch.log.newest_id_high), seq);
    let created_at = id.unix_ms();
    let n = conversation.last_n + 1;
    let draft = &post.draft;
    let (key, sender) = (conversation.key, conversation.members[member].profile_key);
    let (row, (id_high, _), position, (high, low)) = (int(seq), halves(id), int(n), halves(draft.client_id));
    let stored = if draft.reply_to.is_none() && shown.files.is_empty() {
        let statement = match &mut batch.insert {
            Some(statement) => statement,
            none => none.insert(batch.conn.prepare_cached(insert!("", ""))?),
        };
        statement.execute((row, id_high, key, position, sender, high, low, &draft.body))?
    } else {
        let (reply_to, has_files) =
            (draft.reply_to.map(|id| int(id.seq())), (!shown.files.is_empty()).then_some(1));
        batch.conn.prepare_cached(insert!(", reply_to, has_files", ", ?9, ?10"))?.execute((
            row,
            id_high,
            key,
            position,
            sender,
            high,
            low,
            &draft.body,
            reply_to,
            has_files,
        ))?
    };
    if stored == 0 {
        return Ok(None);
    }
    let message = post.draft_mut();
    message.id = id;
    message.conversation = conversation.id;
    (message.n, message.seq, message.rev) = (n, seq, seq);
    message.attachments = shown.files.into_iter().map(|(_, file)| file).collect();
    message.mentions = shown.mentions.into_iter().map(|(_, who)| who).collect();
    message.created_at = created_at;
    let message = post.draft;
    let event =
        Event { seq, audience: conversation.everyone(), fact: Fact::MessagePosted(Arc::clone(&message)) };
    batch.log.newest_id_high = id.high();
    batch.next_seq();
    let conversation = batch.cache.change(slot);
    conversation.last_n = n;
    conversation.last_seq = seq;
    conversation.activity = seq;
    batch.cache.change_member(slot, member).read_n = n;
    Ok(Some(Written {
        result: Ok(Answer::PostMessage(Posted {
            message: PostedMessage::Complete(message),
            duplicate: false,
        })),
        events: event.into(),
    }))
}

/// The message that this sender posted under this `client_id` before, as it is now.
fn original(conn: &Connection, sender_key: i64, client_id: ClientId) -> rusqlite::Result<Option<Written>> {
    let (client_high, client_low) = halves(client_id);
    let found = conn
        .prepare_cached(
            "SELECT m.seq, m.id_high, m.n, c.id, EXISTS (SELECT 1 FROM memberships s \
             WHERE s.profile = m.sender AND s.conversation = m.conversation) \
             FROM messages m JOIN conversations c ON c.key = m.conversation \
             WHERE m.client_high = ?1 AND m.client_low = ?2 AND m.sender = ?3",
        )?
        .query_row((client_high, client_low, sender_key), |row| {
            let seq = number(row, 0)?;
            let stub = PostedStub { id: joined(row.get(1)?, int(seq)), client_id, n: number(row, 2)?, seq };
            Ok((stub, id(row, 3)?, row.get::<_, bool>(4)?))
        })
        .optional()?;
    let Some((stub, conversation, stayed)) = found else { return Ok(None) };
    let message = if stayed {
        let message = of_seq(conn, &mut Names::default(), conversation, stub.seq)?;
        PostedMessage::Complete(Arc::new(message.ok_or(rusqlite::Error::QueryReturnedNoRows)?))
    } else {
        PostedMessage::Left(Box::new(stub))
    };
    Ok(Some(Written {
        result: Ok(Answer::PostMessage(Posted { message, duplicate: true })),
        events: Events::None,
    }))
}

// ---- reading -------------------------------------------------------------------------------------

pub fn list(conn: &Connection, list: ListMessages) -> Result<MessagePage, Stop> {
    let readable = conversations::readable(conn, list.viewer, list.conversation)?;
    let conversation = readable.ok_or(Refusal::NotFound)?;
    let ids = (conversation.key, list.conversation);
    Ok(match list.at {
        PagePoint::After(n) => {
            let messages = page(
                conn,
                select!("WHERE m.conversation = ?1 AND m.n > ?2 ORDER BY m.n LIMIT ?3"),
                ids,
                n,
                list.limit,
            )?;
            let last = messages.last().map_or(u64::MAX, |message| message.n);
            let next = (last < conversation.last_n).then_some(PagePoint::After(last));
            MessagePage { messages, next }
        }
        PagePoint::Newest => before(conn, ids, conversation.last_n + 1, list.limit)?,
        PagePoint::Before(n) => before(conn, ids, n, list.limit)?,
    })
}

fn before(
    conn: &Connection,
    ids: (i64, ConversationId),
    n: u64,
    limit: u32,
) -> rusqlite::Result<MessagePage> {
    let mut messages = page(
        conn,
        select!("WHERE m.conversation = ?1 AND m.n < ?2 ORDER BY m.n DESC LIMIT ?3"),
        ids,
        n,
        limit,
    )?;
    messages.reverse();
    let first = messages.first().map_or(0, |message| message.n);
    Ok(MessagePage { messages, next: (first > 1).then_some(PagePoint::Before(first)) })
}

pub fn get(conn: &Connection, get: GetMessage) -> Result<Message, Stop> {
    let conversation = conversation_of(conn, get.message)?.ok_or(Refusal::NotFound)?;
    conversations::readable(conn, get.viewer, conversation)?.ok_or(Refusal::NotFound)?;
    let message = of_seq(conn, &mut Names::default(), conversation, get.message.seq())?;
    Ok(message.ok_or(Refusal::NotFound)?)
}

/// The conversation of a message. The id is compared completely.
pub fn conversation_of(conn: &Connection, message: MessageId) -> rusqlite::Result<Option<ConversationId>> {
    conn.prepare_cached(
        "SELECT c.id FROM messages m JOIN conversations c ON c.key = m.conversation \
         WHERE m.seq = ?1 AND m.id_high = ?2",
    )?
    .query_row((message.seq() as i64, message.high() as i64), |row| id(row, 0))
    .optional()
}

/// Messages in the order of `sql`, until the page is full.
fn page(
    conn: &Connection,
    sql: &str,
    (key, conversation): (i64, ConversationId),
    n: u64,
    limit: u32,
) -> rusqlite::Result<Vec<Message>> {
    let (mut names, mut budget, mut messages) = (Names::default(), Budget::new(limit), Vec::new());
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query((key, int(n), limit))?;
    while let Some(row) = rows.next()? {
        let message = from_row(conn, &mut names, conversation, row)?;
        if !budget.take(message_bytes(&message)) {
            break;
        }
        messages.push(message);
    }
    Ok(messages)
}

pub fn open_legacy_socket(conn: &Connection, open: OpenLegacySocket) -> Result<LegacyHistory, Stop> {
    let sender = profiles::key(conn, open.sender)?.ok_or(Refusal::Unauthorized)?;
    let receiver = profiles::key(conn, open.receiver)?.ok_or(Refusal::NotFound)?;
    if sender == receiver || profiles::blocked(conn, sender, receiver)? {
        return Err(Refusal::NotFound.into());
    }
    let as_of = metadata::head(conn)?;
    let Some(id) = conversations::direct_between(conn, sender, receiver)? else {
        return Ok(LegacyHistory { conversation: None, last_n: 0, as_of, messages: Vec::new() });
    };
    let conversation = conversations::readable(conn, open.sender, id)?.ok_or(Refusal::NotFound)?;
    // Tombstones and messages with attachments only have no text. A long run of them is not searched to its end.
    let mut messages = page(
        conn,
        select!(
            "WHERE m.conversation = ?1 AND m.n > ?2 AND m.body IS NOT NULL AND m.deleted_at IS NULL \
             ORDER BY m.n DESC LIMIT ?3"
        ),
        (conversation.key, id),
        conversation.last_n.saturating_sub(u64::from(TEXT_SEARCH_MAX)),
        open.limit,
    )?;
    messages.reverse();
    Ok(LegacyHistory { conversation: Some(id), last_n: conversation.last_n, as_of, messages })
}

/// The newest text of a conversation and its time. If no message has one, the last message's time with an empty text.
pub fn newest_text(conn: &Connection, key: i64, last_n: u64) -> rusqlite::Result<Option<(String, UnixMs)>> {
    let time = |row: &Row<'_>| {
        Ok::<_, rusqlite::Error>(UnixMs((or_damaged(row.get::<_, i64>(0), &mut false)? as u64) >> 16))
    };
    let text = conn
        .prepare_cached(
            "SELECT id_high, body FROM messages WHERE conversation = ?1 AND n > ?2 AND body IS NOT NULL \
             AND deleted_at IS NULL ORDER BY n DESC LIMIT 1",
        )?
        .query_row((key, int(last_n.saturating_sub(u64::from(TEXT_SEARCH_MAX)))), |row| {
            Ok((or_damaged(row.get(1), &mut false)?, time(row)?))
        })
        .optional()?;
    if text.is_some() {
        return Ok(text);
    }
    conn.prepare_cached("SELECT id_high FROM messages WHERE conversation = ?1 AND n = ?2")?
        .query_row((key, int(last_n)), |row| Ok((String::new(), time(row)?)))
        .optional()
}
