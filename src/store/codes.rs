//! Codes: made, judged, used up. Owns how often one may be made and tried; it never sees a code, only its HMAC.
//!
//! ```text
//! none ──make──► live ──right──► used up        a new one replaces any of them, at most once a minute and five
//!                 └──five wrong, or five minutes──► dead      times an hour; sooner, the old one stays as it is
//! ```
//! Invariant: an address that nobody has goes through the same statements as one that somebody has, on a row of its
//! own kind, and both end in a commit that reaches the disk.

use rusqlite::{Connection, OptionalExtension};

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::{accounts, metadata, outbox, sessions};
use crate::limits::{CODE_INTERVAL_MS, CODES_AN_HOUR};
use crate::model::code::{IssueResetCode, IssueVerifyCode, NewCode, Purpose, ResetPassword, VerifyMember};
use crate::model::event::Events;
use crate::model::mail::Content;
use crate::model::operation::{Answer, Refusal};

/// Milliseconds a code is good for. Beyond: 400 `code_wrong`.
const CODE_LIFE_MS: u64 = 300_000;
/// Wrong tries of one code: with [`CODES_AN_HOUR`], 25 guesses an hour at a million. Beyond: the code is dead.
const CODE_TRIES_MAX: u32 = 5;
/// Rows for reset codes of addresses that nobody has: they only have to cost what a member's row costs. Beyond: two
/// addresses share a row, and the newer one takes it.
const CODE_NOBODY_ROWS: i64 = 4_096;

const HOUR_MS: u64 = 3_600_000;

/// Whose row it is.
#[derive(Clone, Copy)]
struct CodeKey {
    subject: i64,
    purpose: i64,
    holder: [u8; 16],
}

struct Row {
    tag: Vec<u8>,
    tries: u32,
    /// Newest first.
    made: Vec<u64>,
}

/// `codes.purpose`: numbers that stand in databases.
fn purpose_number(purpose: Purpose) -> i64 {
    match purpose {
        Purpose::Verify => 1,
        Purpose::Reset => 2,
    }
}

/// A member's first code, in the transaction of its sign-up.
pub fn first(conn: &Connection, member: i64, code: &NewCode, at: u64) -> rusqlite::Result<()> {
    let place = CodeKey { subject: member, purpose: purpose_number(Purpose::Verify), holder: code.holder };
    make(conn, place, None, code, Some(member), at)
}

pub fn issue_verify(batch: &mut Batch<'_>, issue: IssueVerifyCode) -> Result<Written, Stop> {
    let conn = batch.conn;
    let member = accounts::key(conn, issue.member)?.ok_or(Refusal::Unauthorized)?;
    let purpose = purpose_number(Purpose::Verify);
    let place = CodeKey { subject: member, purpose, holder: issue.code.holder };
    let row = find(conn, place)?;
    if !too_soon(row.as_ref(), issue.at) {
        make(conn, place, row, &issue.code, Some(member), issue.at)?;
    }
    Written::quietly(Answer::IssueVerifyCode(()))
}

pub fn issue_reset(batch: &mut Batch<'_>, issue: IssueResetCode) -> Result<Written, Stop> {
    let conn = batch.conn;
    let member = active_member(conn, &issue.email)?;
    let place = reset_place(member, issue.code.holder);
    let row = find(conn, place)?;
    if too_soon(row.as_ref(), issue.at) {
        // Who is told to wait must not be told sooner: a commit without a change would not wait for the disk.
        metadata::touch(conn)?;
    } else {
        make(conn, place, row, &issue.code, member, issue.at)?;
    }
    Written::quietly(Answer::IssueResetCode(()))
}

pub fn verify(batch: &mut Batch<'_>, verify: VerifyMember) -> Result<Written, Stop> {
    let conn = batch.conn;
    let member = accounts::key(conn, verify.member)?.ok_or(Refusal::Unauthorized)?;
    let place = CodeKey { subject: member, purpose: purpose_number(Purpose::Verify), holder: verify.holder };
    if !is_right(conn, place, &verify.tag, verify.at)? {
        return wrong();
    }
    use_up(conn, place)?;
    conn.prepare_cached("UPDATE members SET verified = 1 WHERE key = ?1")?.execute([member])?;
    Written::quietly(Answer::VerifyMember(()))
}

pub fn reset(batch: &mut Batch<'_>, reset: ResetPassword) -> Result<Written, Stop> {
    let conn = batch.conn;
    let member = active_member(conn, &reset.email)?;
    let place = reset_place(member, reset.holder);
    let right = is_right(conn, place, &reset.tag, reset.at)?;
    let Some(member) = member.filter(|_| right) else { return wrong() };
    let hash = reset.hash.ok_or(Refusal::Invalid("password"))?;
    use_up(conn, place)?;
    conn.prepare_cached("UPDATE members SET hash = ?2 WHERE key = ?1")?.execute((member, hash))?;
    outbox::put(conn, Some(member), &reset.mail, reset.at)?;
    let events = sessions::revoke_others(batch, member, None, reset.at)?;
    Ok(Written { result: Ok(Answer::ResetPassword(())), events: events.into() })
}

/// A refusal that keeps what was written: the try counts.
fn wrong() -> Result<Written, Stop> {
    Ok(Written { result: Err(Refusal::CodeWrong), events: Events::None })
}

/// A disabled member has no way back in by a code.
fn active_member(conn: &Connection, email: &str) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT key FROM members WHERE email = ?1 AND active = 1")?
        .query_row([email], |row| row.get(0))
        .optional()
}

fn reset_place(member: Option<i64>, holder: [u8; 16]) -> CodeKey {
    let nobody = i64::from(u16::from_be_bytes([holder[0], holder[1]])) % CODE_NOBODY_ROWS;
    CodeKey { subject: member.unwrap_or(-1 - nobody), purpose: purpose_number(Purpose::Reset), holder }
}

/// The row of this holder; another holder's in the same place is none.
fn find(conn: &Connection, place: CodeKey) -> rusqlite::Result<Option<Row>> {
    let row = conn
        .prepare_cached("SELECT tag, tries, made, holder FROM codes WHERE subject = ?1 AND purpose = ?2")?
        .query_row((place.subject, place.purpose), |row| {
            let made: Vec<u8> = row.get(2)?;
            let times = made.chunks_exact(8).map(|eight| {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(eight);
                u64::from_be_bytes(bytes)
            });
            let found = Row { tag: row.get(0)?, tries: row.get(1)?, made: times.collect() };
            Ok((found, row.get::<_, [u8; 16]>(3)?))
        })
        .optional()?;
    Ok(row.filter(|(_, holder)| *holder == place.holder).map(|(row, _)| row))
}

/// Whether `then` lies less than `ms` before `at`. A clock that was set back makes nobody wait for it to catch up.
fn within(then: u64, at: u64, ms: u64) -> bool {
    at.checked_sub(then).is_some_and(|ago| ago < ms)
}

fn too_soon(row: Option<&Row>, at: u64) -> bool {
    let Some(row) = row else { return false };
    let in_an_hour = row.made.iter().filter(|made| within(**made, at, HOUR_MS)).count();
    row.made.first().is_some_and(|made| within(*made, at, CODE_INTERVAL_MS)) || in_an_hour >= CODES_AN_HOUR
}

/// Writes a code in place of the one before it, and its mail in place of one that was not sent yet.
fn make(
    conn: &Connection,
    place: CodeKey,
    row: Option<Row>,
    code: &NewCode,
    member: Option<i64>,
    at: u64,
) -> rusqlite::Result<()> {
    let earlier = row.map(|row| row.made).unwrap_or_default();
    let made: Vec<u8> =
        [at].into_iter().chain(earlier).take(CODES_AN_HOUR).flat_map(u64::to_be_bytes).collect();
    conn.prepare_cached(
        "INSERT OR REPLACE INTO codes (subject, purpose, holder, tag, tries, made) VALUES (?1, ?2, ?3, ?4, 0, ?5)",
    )?
    .execute((place.subject, place.purpose, place.holder, code.tag, made))?;
    debug_assert!(matches!(code.mail.content, Content::VerifyCode(_) | Content::ResetCode(_)));
    outbox::replace(conn, member, &code.mail, at)
}

/// Whether this is the code, alive. A wrong one counts as a try.
fn is_right(conn: &Connection, place: CodeKey, tag: &[u8; 32], at: u64) -> rusqlite::Result<bool> {
    let Some(row) = find(conn, place)? else { return Ok(false) };
    let alive = row.made.first().is_some_and(|made| made.abs_diff(at) < CODE_LIFE_MS);
    if !alive || row.tries >= CODE_TRIES_MAX || row.tag.is_empty() {
        return Ok(false);
    }
    // Both are HMACs under a key nobody outside has: how far they agree tells a guesser nothing.
    if row.tag == tag {
        return Ok(true);
    }
    conn.prepare_cached("UPDATE codes SET tries = tries + 1 WHERE subject = ?1 AND purpose = ?2")?
        .execute((place.subject, place.purpose))?;
    Ok(false)
}

/// As if each were used up.
pub fn void_all(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("UPDATE codes SET tag = x''", [])?;
    Ok(())
}

/// The row stays: it remembers when codes were made.
fn use_up(conn: &Connection, place: CodeKey) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE codes SET tag = x'' WHERE subject = ?1 AND purpose = ?2")?
        .execute((place.subject, place.purpose))?;
    Ok(())
}
