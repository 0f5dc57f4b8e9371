//! Codes for verification and password reset: made, checked, used up.
//!
//! Owns how often one may be made and tried. It never sees a code, only its HMAC.
//!
//! ```text
//! none ──make──► live ──right──► used up        a new one replaces any of them, at most once a minute and five
//!                 └──five wrong, or five minutes──► dead      times an hour; sooner, the old one stays as it is
//! ```
//! Invariant: an address without an account goes through the same statements as one with an account, on a row of its own
//! kind, and both end in a commit that reaches the disk.

use rusqlite::{Connection, OptionalExtension};

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::{accounts, metadata, outbox, sessions};
use crate::base::time::UnixMs;
use crate::limits::{CODE_INTERVAL_MS, CODES_AN_HOUR};
use crate::model::code::{IssueResetCode, IssueVerifyCode, NewCode, Purpose, ResetPassword, VerifyMember};
use crate::model::event::Events;
use crate::model::mail::Content;
use crate::model::operation::{Answer, Refusal};

/// Milliseconds a code is valid. After that: 400 `code_wrong`.
pub const CODE_LIFE_MS: u64 = 300_000;
/// Wrong tries of one code: with [`CODES_AN_HOUR`], 25 guesses an hour among a million. After that the code is dead.
pub const CODE_TRIES_MAX: u32 = 5;
/// Rows for reset codes of addresses without an account: they only have to cost as much as a member's row. Above it, two
/// addresses share a row, and the newer one takes it.
pub const UNKNOWN_ADDRESS_ROWS: i64 = 4_096;

const HOUR_MS: u64 = 3_600_000;

/// The key of a row, and the holder it must belong to.
#[derive(Clone, Copy)]
struct CodeKey {
    subject: i64,
    purpose: i64,
    holder: [u8; 16],
}

struct Row {
    tag: Vec<u8>,
    tries: u32,
    /// The times of recent codes, newest first.
    made: Vec<UnixMs>,
}

/// The values of `codes.purpose` are stored in databases: never change them.
fn purpose_number(purpose: Purpose) -> i64 {
    match purpose {
        Purpose::Verify => 1,
        Purpose::Reset => 2,
    }
}

/// A member's first code, in the transaction of its sign-up.
pub fn first(conn: &Connection, member: i64, code: &NewCode, at: UnixMs) -> rusqlite::Result<()> {
    let key = CodeKey { subject: member, purpose: purpose_number(Purpose::Verify), holder: code.holder };
    make(conn, key, None, code, Some(member), at)
}

pub fn issue_verify(batch: &mut Batch<'_>, issue: IssueVerifyCode) -> Result<Written, Stop> {
    let conn = batch.conn;
    let member = accounts::key(conn, issue.member)?.ok_or(Refusal::Unauthorized)?;
    let purpose = purpose_number(Purpose::Verify);
    let key = CodeKey { subject: member, purpose, holder: issue.code.holder };
    let row = find(conn, key)?;
    if !too_soon(row.as_ref(), issue.at) {
        make(conn, key, row, &issue.code, Some(member), issue.at)?;
    }
    Written::quietly(Answer::IssueVerifyCode(()))
}

pub fn issue_reset(batch: &mut Batch<'_>, issue: IssueResetCode) -> Result<Written, Stop> {
    let conn = batch.conn;
    let member = active_member(conn, issue.email.expose())?;
    let key = reset_key(member, issue.code.holder);
    let row = find(conn, key)?;
    if too_soon(row.as_ref(), issue.at) {
        // A refusal must not be faster than an issued code: a commit without a change would not wait for the disk.
        metadata::touch(conn)?;
    } else {
        make(conn, key, row, &issue.code, member, issue.at)?;
    }
    Written::quietly(Answer::IssueResetCode(()))
}

pub fn verify(batch: &mut Batch<'_>, verify: VerifyMember) -> Result<Written, Stop> {
    let conn = batch.conn;
    let member = accounts::key(conn, verify.member)?.ok_or(Refusal::Unauthorized)?;
    let key = CodeKey { subject: member, purpose: purpose_number(Purpose::Verify), holder: verify.holder };
    if !is_right(conn, key, verify.tag.expose(), verify.at)? {
        return wrong();
    }
    use_up(conn, key)?;
    conn.prepare_cached("UPDATE members SET verified = 1 WHERE key = ?1")?.execute([member])?;
    Written::quietly(Answer::VerifyMember(()))
}

pub fn reset(batch: &mut Batch<'_>, reset: ResetPassword) -> Result<Written, Stop> {
    let conn = batch.conn;
    let member = active_member(conn, reset.email.expose())?;
    let key = reset_key(member, reset.holder);
    let right = is_right(conn, key, reset.tag.expose(), reset.at)?;
    let Some(member) = member.filter(|_| right) else { return wrong() };
    let hash = reset.hash.ok_or(Refusal::Invalid("password"))?;
    use_up(conn, key)?;
    conn.prepare_cached("UPDATE members SET hash = ?2 WHERE key = ?1")?.execute((member, hash))?;
    outbox::put(conn, Some(member), &reset.mail, reset.at)?;
    let events = sessions::revoke_others(batch, member, None, reset.at)?;
    Ok(Written { result: Ok(Answer::ResetPassword(())), events: events.into() })
}

/// A refusal that keeps what was written: the try counts.
fn wrong() -> Result<Written, Stop> {
    Ok(Written { result: Err(Refusal::CodeWrong), events: Events::None })
}

/// The key of an active member. A disabled member can't return with a code.
fn active_member(conn: &Connection, email: &str) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT key FROM members WHERE email = ?1 AND active = 1")?
        .query_row([email], |row| row.get(0))
        .optional()
}

fn reset_key(member: Option<i64>, holder: [u8; 16]) -> CodeKey {
    let row = i64::from(u16::from_be_bytes([holder[0], holder[1]])) % UNKNOWN_ADDRESS_ROWS;
    CodeKey { subject: member.unwrap_or(-1 - row), purpose: purpose_number(Purpose::Reset), holder }
}

/// The row of this holder. A row of another holder under the same key does not count.
fn find(conn: &Connection, key: CodeKey) -> rusqlite::Result<Option<Row>> {
    let row = conn
        .prepare_cached("SELECT tag, tries, made, holder FROM codes WHERE subject = ?1 AND purpose = ?2")?
        .query_row((key.subject, key.purpose), |row| {
            let made: Vec<u8> = row.get(2)?;
            let times = made.chunks_exact(8).map(|eight| {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(eight);
                UnixMs(u64::from_be_bytes(bytes))
            });
            let found = Row { tag: row.get(0)?, tries: row.get(1)?, made: times.collect() };
            Ok((found, row.get::<_, [u8; 16]>(3)?))
        })
        .optional()?;
    Ok(row.filter(|(_, holder)| *holder == key.holder).map(|(row, _)| row))
}

/// Whether `then` is less than `ms` before `at`. After a clock was set back, no one has to wait for it to catch up.
fn within(then: UnixMs, at: UnixMs, ms: u64) -> bool {
    at.0.checked_sub(then.0).is_some_and(|ago| ago < ms)
}

fn too_soon(row: Option<&Row>, at: UnixMs) -> bool {
    let Some(row) = row else { return false };
    let in_an_hour = row.made.iter().filter(|made| within(**made, at, HOUR_MS)).count();
    row.made.first().is_some_and(|made| within(*made, at, CODE_INTERVAL_MS)) || in_an_hour >= CODES_AN_HOUR
}

/// Writes a code that replaces the previous one, and its mail, which replaces one that was not sent yet.
fn make(
    conn: &Connection,
    key: CodeKey,
    row: Option<Row>,
    code: &NewCode,
    member: Option<i64>,
    at: UnixMs,
) -> rusqlite::Result<()> {
    let earlier = row.map(|row| row.made).unwrap_or_default();
    let made: Vec<u8> =
        [at].into_iter().chain(earlier).take(CODES_AN_HOUR).flat_map(|at| at.0.to_be_bytes()).collect();
    conn.prepare_cached(
        "INSERT OR REPLACE INTO codes (subject, purpose, holder, tag, tries, made) VALUES (?1, ?2, ?3, ?4, 0, ?5)",
    )?
    .execute((key.subject, key.purpose, key.holder, code.tag, made))?;
    debug_assert!(matches!(code.mail.content, Content::VerifyCode(_) | Content::ResetCode(_)));
    outbox::replace(conn, member, &code.mail, at)
}

/// Whether this is the code, and still valid. A wrong one counts as a try.
fn is_right(conn: &Connection, key: CodeKey, tag: &[u8; 32], at: UnixMs) -> rusqlite::Result<bool> {
    let Some(row) = find(conn, key)? else { return Ok(false) };
    let alive = row.made.first().is_some_and(|made| made.0.abs_diff(at.0) < CODE_LIFE_MS);
    if !alive || row.tries >= CODE_TRIES_MAX || row.tag.is_empty() {
        return Ok(false);
    }
    // Both are HMACs under a secret key: an attacker learns nothing from their common prefix, so the comparison need not
    // be constant-time.
    if row.tag == tag {
        return Ok(true);
    }
    conn.prepare_cached("UPDATE codes SET tries = tries + 1 WHERE subject = ?1 AND purpose = ?2")?
        .execute((key.subject, key.purpose))?;
    Ok(false)
}

/// Makes all codes void, as if each were used up.
pub fn void_all(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("UPDATE codes SET tag = x''", [])?;
    Ok(())
}

/// The row stays, because it records when codes were made.
fn use_up(conn: &Connection, key: CodeKey) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE codes SET tag = x'' WHERE subject = ?1 AND purpose = ?2")?
        .execute((key.subject, key.purpose))?;
    Ok(())
}
