//! The outbox: mails written in the transaction of their cause, handed out when due, erased once they are sent or given up.
//!
//! Owns when a failed mail is tried again.
//! Invariant: a row is deleted only when its mail is sent, given up or replaced by a newer code, or with its member.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

use super::batch::{Batch, Written};
use super::digests;
use super::fault::Stop;
use super::value::{id, int, is_damage, number, text, text_or_null};
use crate::base::secret::Secret;
use crate::base::time::UnixMs;
use crate::model::id::MailId;
use crate::model::mail::{
    Content, Digest, DueMail, FactorNews, FetchMail, Language, MailFailed, MailFate, MailPage, MailSent,
    NewDevice, NewMail, PlaceSession, Recipient, SealedCode,
};
use crate::model::operation::Answer;

/// Milliseconds before a failed mail is tried a second time; four times as long before each further try.
pub const MAIL_RETRY_FIRST_MS: u64 = 15_000;
/// Maximum milliseconds between two tries.
pub const MAIL_RETRY_MAX_MS: u64 = 3_600_000;
/// Milliseconds a mail is tried for. After that it is erased and counted as given up.
pub const MAIL_GIVE_UP_MS: u64 = 86_400_000;

/// The values of `outbox.kind` are stored in databases: never change them.
const VERIFY_CODE: i64 = 1;
const RESET_CODE: i64 = 2;
const NEW_DEVICE: i64 = 3;
const PASSWORD_CHANGED: i64 = 4;
const NICK_NAME_CHANGED: i64 = 5;
const DIGEST: i64 = 6;
const FACTOR_ON: i64 = 7;
const FACTOR_OFF: i64 = 8;
const FACTOR_RENEWED: i64 = 9;
const RECOVERY_CODE_USED: i64 = 10;

fn kind(content: &Content) -> i64 {
    match content {
        Content::VerifyCode(_) => VERIFY_CODE,
        Content::ResetCode(_) => RESET_CODE,
        Content::NewDevice(_) => NEW_DEVICE,
        Content::PasswordChanged => PASSWORD_CHANGED,
        Content::NickNameChanged(_) => NICK_NAME_CHANGED,
        Content::Digest(_) => DIGEST,
        Content::SecondFactor(FactorNews::On) => FACTOR_ON,
        Content::SecondFactor(FactorNews::Off) => FACTOR_OFF,
        Content::SecondFactor(FactorNews::Renewed) => FACTOR_RENEWED,
        Content::SecondFactor(FactorNews::CodeUsed) => RECOVERY_CODE_USED,
    }
}

/// Writes a mail, in the transaction of its cause. A mail without a member has no recipient.
pub fn put(conn: &Connection, member: Option<i64>, mail: &NewMail, at: UnixMs) -> rusqlite::Result<()> {
    let sealed = match &mail.content {
        Content::VerifyCode(code) | Content::ResetCode(code) => Some(code.number()),
        Content::NewDevice(_)
        | Content::PasswordChanged
        | Content::NickNameChanged(_)
        | Content::Digest(_)
        | Content::SecondFactor(_) => None,
    };
    let device = match &mail.content {
        Content::NewDevice(device) => Some(device),
        _ => None,
    };
    conn.prepare_cached(
        "INSERT INTO outbox (id, member, kind, language, written_at, due_at, tries, sealed_code, session, address, \
         user_agent, place) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute((
        mail.id.to_bytes(),
        member,
        kind(&mail.content),
        mail.language.as_str(),
        int(at),
        int(at.after(mail.hold_ms)),
        sealed,
        device.map(|device| device.session.to_bytes()),
        device.map(|device| &device.address),
        device.map(|device| &device.user_agent),
        device.and_then(|device| device.place.as_ref()),
    ))?;
    Ok(())
}

/// As [`put`], and deletes this member's waiting mails of this kind: their codes are dead.
pub fn replace(conn: &Connection, member: Option<i64>, mail: &NewMail, at: UnixMs) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM outbox WHERE member = ?1 AND kind = ?2")?
        .execute((member.unwrap_or(-1), kind(&mail.content)))?;
    put(conn, member, mail, at)
}

/// Deletes every mail that contains a code.
pub fn forget_codes(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM outbox WHERE sealed_code IS NOT NULL", [])?;
    Ok(())
}

pub fn fetch(conn: &Connection, fetch: FetchMail) -> Result<MailPage, Stop> {
    let mails = conn
        .prepare_cached(
            "SELECT o.id, o.kind, o.language, o.written_at, o.sealed_code, o.session, o.address, o.user_agent, \
             o.place, m.id, m.email, p.nick_name, iif(d.is_on, p.key, NULL) \
             FROM outbox o LEFT JOIN members m ON m.key = o.member \
             LEFT JOIN profiles p ON p.member = m.key LEFT JOIN digests d ON d.member = m.key \
             WHERE o.due_at <= ?1 ORDER BY o.due_at LIMIT ?2",
        )?
        .query_map((int(fetch.at), fetch.limit), |row| from_row(conn, row, fetch.at))?
        .filter(|mail| match mail {
            Err(error) if is_damage(error) => {
                log::warn!("storage: a mail can't be read and is left out: {error}");
                false
            }
            _ => true,
        })
        .collect::<rusqlite::Result<Vec<DueMail>>>()?;
    let next_due_at = conn
        .prepare_cached("SELECT due_at FROM outbox ORDER BY due_at LIMIT 1 OFFSET ?1")?
        .query_row([int(mails.len() as u64)], |row| number(row, 0).map(UnixMs))
        .optional()?;
    Ok(MailPage { mails, next_due_at })
}

fn from_row(conn: &Connection, row: &Row<'_>, at: UnixMs) -> rusqlite::Result<DueMail> {
    let sealed = || row.get(4).map(SealedCode::from_number);
    let content = match row.get(1)? {
        VERIFY_CODE => Content::VerifyCode(sealed()?),
        RESET_CODE => Content::ResetCode(sealed()?),
        NEW_DEVICE => Content::NewDevice(Box::new(NewDevice {
            session: id(row, 5)?,
            address: text(row, 6)?,
            user_agent: text(row, 7)?,
            place: text_or_null(row, 8)?,
        })),
        PASSWORD_CHANGED => Content::PasswordChanged,
        NICK_NAME_CHANGED => Content::NickNameChanged(row.get::<_, Option<String>>(11)?.unwrap_or_default()),
        DIGEST => Content::Digest(match row.get::<_, Option<i64>>(12)? {
            Some(profile) => digests::of(conn, profile, at)?,
            // It was turned off while the mail waited, as below.
            None => Digest::default(),
        }),
        FACTOR_ON => Content::SecondFactor(FactorNews::On),
        FACTOR_OFF => Content::SecondFactor(FactorNews::Off),
        FACTOR_RENEWED => Content::SecondFactor(FactorNews::Renewed),
        RECOVERY_CODE_USED => Content::SecondFactor(FactorNews::CodeUsed),
        kind => return Err(rusqlite::Error::IntegralValueOutOfRange(1, kind)),
    };
    // It was read while the mail waited to be tried again.
    let is_void = matches!(&content, Content::Digest(digest) if digest.total == 0);
    let language = text(row, 2)?;
    let to = match row.get_ref(9)? {
        ValueRef::Null => None,
        _ if is_void => None,
        _ => Some(Recipient { member: id(row, 9)?, email: Secret::new(text(row, 10)?) }),
    };
    Ok(DueMail {
        id: id(row, 0)?,
        to,
        language: Language::of_stored(&language),
        written_at: UnixMs(number(row, 3)?),
        content,
    })
}

pub fn sent(batch: &mut Batch<'_>, sent: MailSent) -> Result<Written, Stop> {
    erase(batch.conn, sent.id)?;
    Written::quietly(Answer::MailSent(()))
}

pub fn failed(batch: &mut Batch<'_>, failed: MailFailed) -> Result<Written, Stop> {
    let conn = batch.conn;
    let row = conn
        .prepare_cached("SELECT written_at, tries FROM outbox WHERE id = ?1")?
        .query_row([failed.id.to_bytes()], |row| Ok((UnixMs(number(row, 0)?), number(row, 1)?)))
        .optional()?;
    let Some((written_at, tries)) = row else { return Written::quietly(Answer::MailFailed(MailFate::Gone)) };
    let due_at = failed.at.after(delay_ms(tries));
    if failed.permanent || due_at.since(written_at) > MAIL_GIVE_UP_MS {
        erase(conn, failed.id)?;
        return Written::quietly(Answer::MailFailed(MailFate::GivenUp));
    }
    conn.prepare_cached("UPDATE outbox SET tries = tries + 1, due_at = ?2 WHERE id = ?1")?
        .execute((failed.id.to_bytes(), int(due_at)))?;
    Written::quietly(Answer::MailFailed(MailFate::Again { due_at }))
}

/// Milliseconds before the next try: four times as long each time, up to an hour.
fn delay_ms(tries: u64) -> u64 {
    let doublings = u32::try_from(tries.saturating_mul(2)).unwrap_or(u32::MAX);
    1u64.checked_shl(doublings)
        .and_then(|factor| MAIL_RETRY_FIRST_MS.checked_mul(factor))
        .map_or(MAIL_RETRY_MAX_MS, |delay| delay.min(MAIL_RETRY_MAX_MS))
}

fn erase(conn: &Connection, mail: MailId) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM outbox WHERE id = ?1")?.execute([mail.to_bytes()])?;
    Ok(())
}

/// Stores the place of a session in its row, or that it is unknown, and makes the mail that waited for it due.
pub fn place_session(batch: &mut Batch<'_>, found: PlaceSession) -> Result<Written, Stop> {
    let (conn, session) = (batch.conn, found.session.to_bytes());
    conn.prepare_cached("UPDATE sessions SET place = ?2 WHERE id = ?1")?.execute((session, &found.place))?;
    conn.prepare_cached(
        "UPDATE outbox SET place = ?2, due_at = min(due_at, ?3) WHERE session = ?1 AND tries = 0",
    )?
    .execute((session, &found.place, int(found.at)))?;
    Written::quietly(Answer::PlaceSession(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_between_two_tries_grows_to_an_hour() {
        let delays: Vec<u64> = (0..7).map(|tries| delay_ms(tries) / 1_000).collect();
        assert_eq!(delays, [15, 60, 240, 960, 3_600, 3_600, 3_600]);
        assert_eq!((delay_ms(64), delay_ms(u64::MAX)), (MAIL_RETRY_MAX_MS, MAIL_RETRY_MAX_MS));
    }
}
