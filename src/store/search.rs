//! Search: which messages hold which words. Owns the index and how far it has come; the texts stand in `messages`.
//! New messages are indexed behind their commit, a slice at a time, so that no post waits for it; what changes or goes is
//! taken out in the transaction that changes it.
//! Invariant: what a search shows is read from `messages`, so an index that lags shows less, never what is gone.

use rusqlite::Connection;

use super::conversations;
use super::fault::Stop;
use super::messages;
use super::page::{Budget, message_bytes};
use super::profiles::{self, Names};
use super::value::{id, int, number};
use crate::base::fold;
use crate::limits::{SEARCH_CONVERSATIONS_MAX, SEARCH_WORDS_MAX};
use crate::model::message::{FoundMessages, SearchMessages};
use crate::model::operation::Refusal;

/// Up to which seq messages are indexed.
fn through(conn: &Connection) -> rusqlite::Result<u64> {
    conn.prepare_cached("SELECT through FROM search_state")?.query_row([], |row| number(row, 0))
}

fn add(conn: &Connection, seq: i64, conversation: i64, body: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT INTO search (rowid, body, scope) VALUES (?1, ?2, ?3)")?.execute((
        seq,
        fold::fold(body),
        scope(conversation),
    ))?;
    Ok(())
}

/// A conversation as a word of the index: one that no text can hold, since it stands in a column of its own.
fn scope(conversation: i64) -> String {
    format!("c{conversation}")
}

/// Indexes at most `limit` messages behind the last one; answers whether more of them wait. Inside of a transaction.
pub fn index_more(conn: &Connection, limit: u32) -> rusqlite::Result<bool> {
    let before = through(conn)?;
    let mut last = before;
    let mut seen = 0;
    {
        let mut statement = conn.prepare_cached(
            "SELECT seq, conversation, body FROM messages WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?;
        let mut rows = statement.query((int(before), limit))?;
        while let Some(row) = rows.next()? {
            seen += 1;
            last = number(row, 0)?;
            if let Some(body) = row.get_ref(2)?.as_str_or_null()? {
                add(conn, int(last), row.get(1)?, body)?;
            }
        }
    }
    if last > before {
        conn.prepare_cached("UPDATE search_state SET through = ?1")?.execute([int(last)])?;
    }
    Ok(seen == limit)
}

/// Whether a message stands behind the index.
pub fn lags(conn: &Connection) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM messages WHERE seq > (SELECT through FROM search_state) LIMIT 1")?
        .exists([])
}

/// A message has another text, or none any more.
pub fn replace(conn: &Connection, seq: u64, conversation: i64, body: Option<&str>) -> rusqlite::Result<()> {
    if seq > through(conn)? {
        // It is not indexed yet, and will be as it stands then.
        return Ok(());
    }
    conn.prepare_cached("DELETE FROM search WHERE rowid = ?1")?.execute([int(seq)])?;
    match body {
        Some(body) => add(conn, int(seq), conversation, body),
        None => Ok(()),
    }
}

/// Messages of the searcher's conversations that hold every word, as beginnings of theirs; newest first.
pub fn search(conn: &Connection, search: SearchMessages) -> Result<FoundMessages, Stop> {
    let viewer = profiles::key(conn, search.viewer)?.ok_or(Refusal::Unauthorized)?;
    let conversation = match search.conversation {
        Some(conversation) => {
            let readable = conversations::readable(conn, search.viewer, conversation)?;
            Some(readable.ok_or(Refusal::NotFound)?.key)
        }
        None => None,
    };
    let words = fold::words(&search.query, SEARCH_WORDS_MAX);
    let mut found = FoundMessages { messages: Vec::new(), next: None };
    if words.is_empty() {
        return Ok(found);
    }
    let Some(question) = question(conn, viewer, conversation, &words)? else { return Ok(found) };
    let (mut names, mut budget) = (Names::default(), Budget::new(search.limit));
    let mut statement = conn.prepare_cached(
        "SELECT m.seq, c.id FROM search s JOIN messages m ON m.seq = s.rowid \
         JOIN memberships ms ON ms.conversation = m.conversation AND ms.profile = ?2 \
         JOIN conversations c ON c.key = m.conversation \
         WHERE search MATCH ?1 AND s.rowid < ?3 AND m.deleted_at IS NULL AND (?4 IS NULL OR m.conversation = ?4) \
         ORDER BY s.rowid DESC LIMIT ?5",
    )?;
    let before = int(search.before.unwrap_or(u64::MAX));
    let mut rows = statement.query((question, viewer, before, conversation, search.limit + 1))?;
    while let Some(row) = rows.next()? {
        let (seq, conversation) = (number(row, 0)?, id(row, 1)?);
        let message = messages::of_seq(conn, &mut names, conversation, seq)?;
        let message = message.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        if !budget.take(message_bytes(&message)) {
            found.next = found.messages.last().map(|message| message.seq);
            break;
        }
        found.messages.push(message);
    }
    Ok(found)
}

/// The words as FTS5 asks: nothing of them can be an operator, since each is letters and digits in quotes.
fn question(
    conn: &Connection,
    viewer: i64,
    conversation: Option<i64>,
    words: &[String],
) -> rusqlite::Result<Option<String>> {
    let body: Vec<String> = words.iter().map(|word| format!("\"{word}\"*")).collect();
    let body = format!("body:({})", body.join(" AND "));
    let scopes: Vec<i64> = match conversation {
        Some(conversation) => vec![conversation],
        None => conn
            .prepare_cached("SELECT conversation FROM memberships WHERE profile = ?1 LIMIT ?2")?
            .query_map((viewer, SEARCH_CONVERSATIONS_MAX + 1), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?,
    };
    Ok(match scopes.len() {
        0 => None,
        // A long list costs more than it saves: the memberships are joined in any case.
        len if len > SEARCH_CONVERSATIONS_MAX as usize => Some(body),
        _ => {
            let scopes: Vec<String> = scopes.into_iter().map(scope).collect();
            Some(format!("scope:({}) AND {body}", scopes.join(" OR ")))
        }
    })
}
