//! Bots and their tokens.
//!
//! A token is a row of `sessions` that no refresh token continues, so that it ends as sessions do: when it is revoked, and when its
//! member is disabled or deleted.
//! Invariant: a token is in the table as long as the server accepts it. Its end is an event, as that of a session.

use rusqlite::{Connection, OptionalExtension, Row};

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::profiles;
use super::value::{id, int, number, text};
use super::{accounts, audit, sessions};
use crate::base::time::UnixMs;
use crate::model::bot::{
    AddBot, BOT_TOKENS_MAX, BOTS_MAX, Bot, BotPage, BotToken, CreateBotToken, ListBotTokens, ListBots,
    LiveToken, MadeToken, RevokeBotToken, TOKEN_EXPIRE,
};
use crate::model::id::{ConversationId, MemberId, ProfileId};
use crate::model::operation::{Answer, Refusal};
use crate::model::session::{RevokeSessions, SessionSelector};

/// The keys and the id of a bot.
pub struct Found {
    pub member: i64,
    pub member_id: MemberId,
    pub profile: i64,
    pub active: bool,
}

pub fn find(conn: &Connection, bot: ProfileId) -> Result<Found, Stop> {
    let found = conn
        .prepare_cached(
            "SELECT m.key, m.id, p.key, m.active FROM profiles p JOIN members m ON m.key = p.member \
             WHERE p.id = ?1 AND m.bot",
        )?
        .query_row([bot.to_bytes()], |row| {
            Ok(Found {
                member: row.get(0)?,
                member_id: id(row, 1)?,
                profile: row.get(2)?,
                active: row.get(3)?,
            })
        })
        .optional()?;
    Ok(found.ok_or(Refusal::NotFound)?)
}

// ---- for the writer ------------------------------------------------------------------------------

pub fn add(batch: &mut Batch<'_>, add: &AddBot) -> Result<Written, Stop> {
    let conn = batch.conn;
    audit::check(conn, add.by)?;
    let count =
        conn.prepare_cached("SELECT count(*) FROM members WHERE bot")?.query_row([], |row| number(row, 0))?;
    if count >= BOTS_MAX {
        return Err(Refusal::QuotaExceeded.into());
    }
    let key = accounts::insert(conn, &add.account, true)?;
    conn.prepare_cached("UPDATE members SET bot = 1 WHERE key = ?1")?.execute([key])?;
    let bot = conn.prepare_cached(SELECT_ONE)?.query_row([key], bot_from_row)?;
    audit::record(conn, (add.account.at, add.by), "bot.create", Some(add.account.member), "")?;
    Written::quietly(Answer::AddBot(Box::new(bot)))
}

pub fn create_token(batch: &mut Batch<'_>, create: &CreateBotToken) -> Result<Written, Stop> {
    let conn = batch.conn;
    audit::check(conn, create.by)?;
    let bot = find(conn, create.bot)?;
    if !bot.active {
        return Err(Refusal::NotAllowed.into());
    }
    let conversation: Option<i64> = match create.conversation {
        None => None,
        Some(conversation) => Some(
            conn.prepare_cached(
                "SELECT c.key FROM conversations c JOIN memberships s ON s.conversation = c.key \
                 WHERE c.id = ?1 AND s.profile = ?2",
            )?
            .query_row((conversation.to_bytes(), bot.profile), |row| row.get(0))
            .optional()?
            .ok_or(Refusal::Invalid("conversation"))?,
        ),
    };
    let count = conn
        .prepare_cached("SELECT count(*) FROM sessions WHERE member = ?1")?
        .query_row([bot.member], |row| number(row, 0))?;
    if count >= BOT_TOKENS_MAX {
        return Err(Refusal::QuotaExceeded.into());
    }
    // No access token is ever signed for it, so that nothing of it has to be remembered once it has ended.
    let session = conn
        .prepare_cached(
            "INSERT INTO sessions (id, member, access_uuid, refresh_uuid, user_agent, address, issued, \
             access_expire, refresh_expire, access_until, created_at, last_seen_at) \
             VALUES (?1, ?2, ?1, ?1, ?3, '', ?4, ?4, ?5, ?4, ?6, ?6)",
        )?
        .insert((
            create.id.to_bytes(),
            bot.member,
            &create.name,
            int(create.at.s()),
            int(TOKEN_EXPIRE),
            int(create.at),
        ))?;
    conn.prepare_cached("INSERT INTO bot_tokens (session, hash, conversation) VALUES (?1, ?2, ?3)")?
        .execute((session, create.hash, conversation))?;
    let (id, conversation) = (create.id, create.conversation);
    let name = create.name.clone();
    let act = if conversation.is_some() { "bot.hook.create" } else { "bot.token.create" };
    audit::record(conn, (create.at, create.by), act, Some(bot.member_id), &id.to_string())?;
    let made = MadeToken {
        token: BotToken { id, name, conversation, created_at: create.at, last_used_at: None },
        live: LiveToken {
            hash: create.hash,
            session: id,
            member: bot.member_id,
            profile: create.bot,
            conversation,
        },
    };
    Written::quietly(Answer::CreateBotToken(Box::new(made)))
}

pub fn revoke_token(batch: &mut Batch<'_>, revoke: RevokeBotToken) -> Result<Written, Stop> {
    audit::check(batch.conn, revoke.by)?;
    let member = find(batch.conn, revoke.bot)?.member_id;
    let which = SessionSelector::One(revoke.token);
    let ended = sessions::revoke_some(batch, RevokeSessions { at: revoke.at, member, which })?;
    let token = revoke.token.to_string();
    audit::record(batch.conn, (revoke.at, revoke.by), "bot.token.revoke", Some(member), &token)?;
    Ok(Written { result: ended.result.map(|_| Answer::RevokeBotToken(())), events: ended.events })
}

// ---- for the readers -----------------------------------------------------------------------------

/// Every token, for a start.
pub fn live_tokens(conn: &Connection) -> rusqlite::Result<Vec<LiveToken>> {
    conn.prepare_cached(
        "SELECT t.hash, s.id, m.id, p.id, c.id FROM bot_tokens t JOIN sessions s ON s.key = t.session \
         JOIN members m ON m.key = s.member JOIN profiles p ON p.member = m.key \
         LEFT JOIN conversations c ON c.key = t.conversation",
    )?
    .query_map([], |row| {
        Ok(LiveToken {
            hash: row.get(0)?,
            session: id(row, 1)?,
            member: id(row, 2)?,
            profile: id(row, 3)?,
            conversation: conversation(row, 4)?,
        })
    })?
    .collect()
}

fn conversation(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<ConversationId>> {
    Ok(row.get::<_, Option<[u8; 16]>>(index)?.map(ConversationId::from_bytes))
}

/// The columns that [`bot_from_row`] reads, and the rest of the statement.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, m.id, p.display_name, p.nick_name, p.is_private, p.presence, p.created_at, \
             i.id, i.name, m.bot, m.active, m.key FROM members m JOIN profiles p ON p.member = m.key \
             LEFT JOIN uploads i ON i.key = p.image ",
            $rest
        )
    };
}

const SELECT_ONE: &str = select!("WHERE m.key = ?1");

fn bot_from_row(row: &Row<'_>) -> rusqlite::Result<Bot> {
    Ok(Bot { profile: profiles::from_row(row)?.for_others(), active: row.get(10)? })
}

pub fn list(conn: &Connection, list: ListBots) -> Result<BotPage, Stop> {
    audit::check(conn, list.by)?;
    let mut bots = conn
        .prepare_cached(select!("WHERE m.bot AND m.key > ?1 ORDER BY m.key LIMIT ?2"))?
        .query_map((int(list.after.unwrap_or(0)), list.limit + 1), |row| {
            Ok((bot_from_row(row)?, number(row, 11)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    // One row more than fits shows whether there is a next page.
    let more = bots.len() > list.limit as usize;
    bots.truncate(list.limit as usize);
    let next = bots.last().filter(|_| more).map(|(_, key)| *key);
    Ok(BotPage { bots: bots.into_iter().map(|(bot, _)| bot).collect(), next })
}

pub fn list_tokens(conn: &Connection, list: ListBotTokens) -> Result<Vec<BotToken>, Stop> {
    audit::check(conn, list.by)?;
    let bot = find(conn, list.bot)?;
    let tokens = conn
        .prepare_cached(
            "SELECT s.id, s.user_agent, c.id, s.created_at, s.last_seen_at FROM sessions s \
             JOIN bot_tokens t ON t.session = s.key LEFT JOIN conversations c ON c.key = t.conversation \
             WHERE s.member = ?1 ORDER BY s.key",
        )?
        .query_map([bot.member], |row| {
            let (created_at, last_used_at) = (UnixMs(number(row, 3)?), UnixMs(number(row, 4)?));
            Ok(BotToken {
                id: id(row, 0)?,
                name: text(row, 1)?,
                conversation: conversation(row, 2)?,
                created_at,
                last_used_at: Some(last_used_at).filter(|used| *used > created_at),
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(tokens)
}
