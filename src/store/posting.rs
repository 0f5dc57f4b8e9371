//! A post: who may post where, and the row of a new message.
//!
//! A post updates two indexes: (conversation, n) and (client_high, client_low, sender). Leaves the reading of a message to
//! `messages`.
//! Invariant: `n` is dense in its conversation, and a `client_id` of a sender belongs to one message, permanently.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use super::batch::{Batch, Log, Written};
use super::cache::{Cache, PairStatus, Slot};
use super::conversations::{self, NewDirect};
use super::fault::Stop;
use super::mentions::{self, Mentions};
use super::profiles::{self, Names};
use super::value::{halves, id, int, joined, number};
use super::{attachments, messages};
use crate::base::id::Id;
use crate::base::time::UnixMs;
use crate::model::event::{Event, Events, Fact};
use crate::model::id::{ClientId, MessageId, ProfileId};
use crate::model::message::{
    Destination, ForwardMessage, GetMessage, PostMessage, Posted, PostedMessage, PostedStub,
};
use crate::model::operation::{Answer, Refusal};
use crate::model::params::written_text;
use crate::model::upload::Attachment;

/// The greatest time an id can hold: 48 bits, the year 10889.
pub const ID_MS_MAX: u64 = (1 << 48) - 1;

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
        found => batch.in_savepoint(|batch| store(batch, found, post, shown))?,
    };
    // The `client_id` was looked up in this transaction, and only this thread writes.
    Ok(written.ok_or(rusqlite::Error::QueryReturnedNoRows)?)
}

/// A post with the content of another message. Its text mentions nobody: who wrote it did not address these members.
pub fn forward(batch: &mut Batch<'_>, forward: ForwardMessage) -> Result<Written, Stop> {
    let ForwardMessage { mut post, message, uploads, quota } = forward;
    let sender = post.draft.sender.ok_or(Refusal::Unauthorized)?;
    let sender_key = profiles::key(batch.conn, sender)?.ok_or(Refusal::Unauthorized)?;
    if let Some(written) = original(batch.conn, sender_key, post.draft.client_id)? {
        return Ok(as_forwarded(written));
    }
    let (found, _) = find_destination(batch, (sender_key, sender), &post)?;
    let refused = || Stop::from(Refusal::Invalid("forward"));
    let source = match messages::get(batch.conn, GetMessage { viewer: sender, message }) {
        Err(Stop::Refused(Refusal::NotFound)) => return Err(refused()),
        source => source?,
    };
    // Its files may be gone, with the account that uploaded them.
    let has_text = source.body.as_deref().is_some_and(|text| written_text(text, usize::MAX));
    let is_empty = !has_text && source.attachments.is_empty();
    if source.system.is_some() || source.damaged || is_empty {
        return Err(refused());
    }
    let draft = post.draft_mut();
    (draft.body, draft.forwarded) = (source.body, true);
    let written = batch.in_savepoint(|batch| {
        let at = post.draft.created_at;
        let files = match source.attachments.is_empty() {
            true => Files::new(),
            false => attachments::share(batch.conn, source.seq, (sender_key, &uploads), quota, at)?,
        };
        store(batch, found, post, Shown { files, mentions: Mentions::new() })
    })?;
    Ok(as_forwarded(written.ok_or(rusqlite::Error::QueryReturnedNoRows)?))
}

/// The same answer, of the row that asked.
fn as_forwarded(mut written: Written) -> Written {
    written.result = written.result.map(|answer| match answer {
        Answer::PostMessage(posted) => Answer::ForwardMessage(posted),
        answer => answer,
    });
    written
}

/// Stores a message and what it shows, in a conversation that is made for it if there is none.
fn store(
    batch: &mut Batch<'_>,
    found: Found,
    post: PostMessage,
    shown: Shown,
) -> Result<Option<Written>, Stop> {
    let (slot, member) = match found {
        Found::Conversation(slot, member) => (slot, member),
        Found::NoConversationYet(new) => {
            let sender = new.sides[0].1;
            let slot = conversations::make_direct(batch, new)?;
            (slot, batch.cache.get(slot).member(sender).ok_or(Refusal::Internal)?)
        }
    };
    // Before the insert of the message, which changes the cache: the savepoint does not restore the cache.
    let (seq, conversation) = (batch.log.head + 1, batch.cache.get(slot));
    let place = (seq, conversation.key, conversation.last_n + 1);
    attachments::attach(batch.conn, place, &shown.files)?;
    mentions::insert(batch.conn, place, &shown.mentions)?;
    Ok(insert(batch, slot, member, post, shown)?)
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
        must_be_seen(batch, slot, member, reply_to)?;
    }
    Ok((Found::Conversation(slot, member), files))
}

/// The uploads a post shows. All belong to the sender.
fn files(batch: &Batch<'_>, sender_key: i64, post: &PostMessage) -> Result<Files, Stop> {
    if post.attachments.is_empty() {
        return Ok(Vec::new());
    }
    let found = attachments::of_owner(batch.conn, sender_key, &post.attachments)?;
    Ok(found.ok_or(Refusal::Invalid("attachments"))?)
}

/// A reply must be to a message of the same conversation that the sender sees.
fn must_be_seen(batch: &Batch<'_>, slot: Slot, member: usize, message: MessageId) -> Result<(), Stop> {
    let conversation = batch.cache.get(slot);
    let (seq, first_n) = (int(message.seq()), int(conversation.members[member].first_n));
    let exists = batch
        .conn
        .prepare_cached(
            "SELECT 1 FROM messages WHERE seq = ?1 AND id_high = ?2 AND conversation = ?3 AND n >= ?4",
        )?
        .exists((seq, message.high() as i64, conversation.key, first_n))?;
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
    let id = next_id(batch.log, post.draft.created_at, post.random);
    let created_at = id.unix_ms();
    let n = conversation.last_n + 1;
    let draft = &post.draft;
    let (key, sender) = (conversation.key, conversation.members[member].profile_key);
    let (row, (id_high, _), position, (high, low)) = (int(seq), halves(id), int(n), halves(draft.client_id));
    let flags = (i64::from(!shown.files.is_empty()) * messages::HAS_FILES)
        | (i64::from(draft.forwarded) * messages::IS_FORWARDED);
    let stored = if draft.reply_to.is_none() && flags == 0 {
        let statement = match &mut batch.insert {
            Some(statement) => statement,
            none => none.insert(batch.conn.prepare_cached(insert!("", ""))?),
        };
        statement.execute((row, id_high, key, position, sender, high, low, &draft.body))?
    } else {
        let (reply_to, flags) = (draft.reply_to.map(|id| int(id.seq())), (flags != 0).then_some(flags));
        batch.conn.prepare_cached(insert!(", reply_to, flags", ", ?9, ?10"))?.execute((
            row,
            id_high,
            key,
            position,
            sender,
            high,
            low,
            &draft.body,
            reply_to,
            flags,
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

/// The id of the message at the next `seq`. Ids increase with `seq`, also within a millisecond and while the clock shows an
/// earlier time than the newest message: if the high half would be smaller than the last one, the last one is used, and the `seq`
/// in the low half decides.
pub fn next_id(log: &Log, at: UnixMs, random: u16) -> MessageId {
    let drawn = MessageId::of(at.min(UnixMs(ID_MS_MAX)), random, log.head + 1);
    Id::from_halves(drawn.high().max(log.newest_id_high), log.head + 1)
}

/// The message that this sender posted under this `client_id` before, as it is now.
fn original(conn: &Connection, sender_key: i64, client_id: ClientId) -> rusqlite::Result<Option<Written>> {
    let (client_high, client_low) = halves(client_id);
    let found = conn
        .prepare_cached(
            "SELECT m.seq, m.id_high, m.n, c.id, EXISTS (SELECT 1 FROM memberships s \
             WHERE s.profile = m.sender AND s.conversation = m.conversation AND s.first_n <= m.n) \
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
        let message = messages::of_seq(conn, &mut Names::default(), conversation, stub.seq)?;
        PostedMessage::Complete(Arc::new(message.ok_or(rusqlite::Error::QueryReturnedNoRows)?))
    } else {
        PostedMessage::Left(Box::new(stub))
    };
    Ok(Some(Written {
        result: Ok(Answer::PostMessage(Posted { message, duplicate: true })),
        events: Events::None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_never_decrease() {
        let newest = |at: u64| MessageId::of(UnixMs(at), 0, 0).high();
        for (newest_at, draft, expect) in
            [(5_000, 3_600_000, 3_600_000), (5_000, 4_000, 5_000), (5_000, u64::MAX, ID_MS_MAX)]
        {
            let newest_id_high = newest(newest_at);
            let log = Log { head: 7, newest_id_high, head_is_bare: false, time: None, level: 1 };
            let id = next_id(&log, UnixMs(draft), 0);
            assert_eq!((id.unix_ms(), id.seq()), (UnixMs(expect), 8), "{newest_at}, {draft}");
            assert!(id.high() >= log.newest_id_high);
        }
    }
}
