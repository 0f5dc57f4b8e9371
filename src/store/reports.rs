//! Reports of messages and people, and their copies.
//!
//! Invariant: a row is deleted when the report is closed, or [`REPORT_KEPT_MS`] after it was made, whatever became of the message.

use rusqlite::{Connection, OptionalExtension};

use super::batch::{Batch, Written};
use super::fault::Stop;
use super::value::{id, int, number, text};
use super::{admin, audit, messages, profiles};
use crate::base::id::Id;
use crate::base::time::UnixMs;
use crate::model::event::Events;
use crate::model::id::{MemberId, MessageId, ReportId};
use crate::model::message::GetMessage;
use crate::model::operation::{Answer, Refusal};
use crate::model::profile::ListProfiles;
use crate::model::report::{
    ListReports, MadeReport, MakeReport, REPORT_KEPT_MS, REPORTS_ERASED_STEP, REPORTS_MAX,
    REPORTS_OF_MEMBER_MAX, Report, ReportPage, Reported, ReportedMessage, ReportedPerson,
};

/// What is kept of what is reported.
struct Copy {
    person: i64,
    body: String,
    files: String,
    posted_at: UnixMs,
}

pub fn make(batch: &mut Batch<'_>, make: &MakeReport) -> Result<Written, Stop> {
    let conn = batch.conn;
    let reporter = profiles::key(conn, make.reporter)?.ok_or(Refusal::Unauthorized)?;
    let message = match make.what {
        Reported::Message(message) => Some(message),
        Reported::Person(_) => None,
    };
    let copy = copy(conn, make)?;
    if copy.person == reporter {
        return Err(Refusal::Invalid(if message.is_some() { "message" } else { "profile" }).into());
    }
    let before = conn
        .prepare_cached("SELECT id FROM reports WHERE reporter = ?1 AND person = ?2 AND message IS ?3")?
        .query_row((reporter, copy.person, message.map(Id::to_bytes)), |row| id(row, 0))
        .optional()?;
    if let Some(id) = before {
        return Written::quietly(Answer::MakeReport(Box::new(MadeReport { id, duplicate: true })));
    }
    let of_member = conn
        .prepare_cached("SELECT count(*) FROM reports WHERE reporter = ?1")?
        .query_row([reporter], |row| number(row, 0))?;
    let all = conn.prepare_cached("SELECT count(*) FROM reports")?.query_row([], |row| number(row, 0))?;
    if of_member >= REPORTS_OF_MEMBER_MAX || all >= REPORTS_MAX {
        return Err(Refusal::QuotaExceeded.into());
    }
    conn.prepare_cached(
        "INSERT INTO reports (id, at, reporter, person, message, body, files, posted_at, reason) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute((
        make.id.to_bytes(),
        int(make.at),
        reporter,
        copy.person,
        message.map(Id::to_bytes),
        copy.body,
        copy.files,
        int(copy.posted_at),
        &make.reason,
    ))?;
    Written::quietly(Answer::MakeReport(Box::new(MadeReport { id: make.id, duplicate: false })))
}

fn copy(conn: &Connection, make: &MakeReport) -> Result<Copy, Stop> {
    let message = match make.what {
        Reported::Person(profile) => {
            // As everywhere: an id that is known shows nothing of a private profile.
            let visible = ListProfiles { viewer: make.reporter, ids: vec![profile] };
            if profiles::list(conn, &visible)?.is_empty() {
                return Err(Refusal::NotFound.into());
            }
            let person = profiles::key(conn, profile)?.ok_or(Refusal::NotFound)?;
            return Ok(Copy { person, body: String::new(), files: String::new(), posted_at: UnixMs(0) });
        }
        Reported::Message(message) => messages::get(conn, GetMessage { viewer: make.reporter, message })?,
    };
    if message.deleted_at.is_some() || message.system.is_some() {
        return Err(Refusal::Invalid("message").into());
    }
    // Also of a deleted account: its profile stays, without a name.
    let person = conn
        .prepare_cached("SELECT sender FROM messages WHERE seq = ?1")?
        .query_row([int(message.seq)], |row| row.get(0))?;
    // The name of a file is one line.
    let files: Vec<String> = message.attachments.into_iter().map(|file| file.name).collect();
    Ok(Copy {
        person,
        body: message.body.unwrap_or_default(),
        files: files.join("\n"),
        posted_at: message.created_at,
    })
}

/// Erases a report, as an act of an admin.
pub fn close(conn: &Connection, asked: (UnixMs, Option<MemberId>), report: ReportId) -> Result<Events, Stop> {
    let deleted = conn.prepare_cached("DELETE FROM reports WHERE id = ?1")?.execute([report.to_bytes()])?;
    if deleted == 0 {
        return Err(Refusal::NotFound.into());
    }
    audit::record(conn, asked, "report.close", Some(report), "")?;
    Ok(Events::None)
}

/// Erases reports whose time is over, a bounded number at once. Returns whether there may be more.
pub fn erase_old(conn: &Connection, at: UnixMs) -> rusqlite::Result<bool> {
    let before = int(UnixMs(at.0.saturating_sub(REPORT_KEPT_MS)));
    let erased = conn
        .prepare_cached(
            "DELETE FROM reports WHERE key IN (SELECT key FROM reports WHERE at <= ?1 ORDER BY at, key LIMIT ?2)",
        )?
        .execute((before, REPORTS_ERASED_STEP))?;
    Ok(erased >= REPORTS_ERASED_STEP as usize)
}

// ---- for the readers -----------------------------------------------------------------------------

pub fn list(conn: &Connection, list: ListReports) -> Result<ReportPage, Stop> {
    audit::check(conn, list.by)?;
    let oldest = int(UnixMs(list.at.0.saturating_sub(REPORT_KEPT_MS)));
    let mut reports = conn
        .prepare_cached(
            "SELECT id, at, reporter, person, message, body, files, posted_at, reason, key FROM reports \
             WHERE key > ?1 AND at > ?2 ORDER BY key LIMIT ?3",
        )?
        .query_map((int(list.after.unwrap_or(0)), oldest, list.limit + 1), |row| {
            let message = row.get::<_, Option<[u8; 16]>>(4)?.map(MessageId::from_bytes);
            let files = text(row, 6)?;
            let message = match message {
                None => None,
                Some(message) => Some(ReportedMessage {
                    id: message,
                    body: text(row, 5)?,
                    files: files.lines().map(str::to_owned).collect(),
                    posted_at: UnixMs(number(row, 7)?),
                    now: text_now(conn, message)?,
                }),
            };
            let reporter = person(conn, row.get(2)?)?;
            let report = Report {
                id: id(row, 0)?,
                at: UnixMs(number(row, 1)?),
                reporter: Some(reporter).filter(|reporter| reporter.member.is_some()),
                person: person(conn, row.get(3)?)?,
                message,
                reason: text(row, 8)?,
            };
            Ok((report, number(row, 9)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let next = admin::next(&mut reports, list.limit);
    Ok(ReportPage { reports: reports.into_iter().map(|(report, _)| report).collect(), next })
}

/// The text that the message has now; `None` once it is deleted.
fn text_now(conn: &Connection, message: MessageId) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT ifnull(body, '') FROM messages WHERE seq = ?1 AND deleted_at IS NULL")?
        .query_row([int(message.seq())], |row| text(row, 0))
        .optional()
}

fn person(conn: &Connection, key: i64) -> rusqlite::Result<ReportedPerson> {
    conn.prepare_cached(
        "SELECT p.id, m.id, ifnull(p.nick_name, ''), p.display_name, ifnull(m.active, 0) FROM profiles p \
         LEFT JOIN members m ON m.key = p.member WHERE p.key = ?1",
    )?
    .query_row([key], |row| {
        Ok(ReportedPerson {
            profile: id(row, 0)?,
            member: row.get::<_, Option<[u8; 16]>>(1)?.map(MemberId::from_bytes),
            nick_name: text(row, 2)?,
            display_name: text(row, 3)?,
            active: row.get(4)?,
        })
    })
}
