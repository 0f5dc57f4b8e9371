//! Reports: a member tells the admins of the server about a message or a person.
//!
//! Owns the bounds of a report. Leaves to storage who may read the message, and the erasure.
//! Invariant: a report keeps its copy of the message until it is closed, at most [`REPORT_KEPT_MS`].

#![warn(missing_docs)]

use super::id::{MemberId, MessageId, ProfileId, ReportId};
use crate::base::time::UnixMs;

/// Milliseconds that a report is kept: 30 days. A report that is not closed by then is erased.
pub const REPORT_KEPT_MS: u64 = 2_592_000_000;
/// Characters of a reason. Above: 422 `invalid_reason`.
pub const REASON_MAX: usize = 1_000;
/// Open reports of one member. Above: `QuotaExceeded`.
pub const REPORTS_OF_MEMBER_MAX: u64 = 20;
/// Open reports of a server, so that no crowd of accounts fills the disk. Above: `QuotaExceeded`.
pub const REPORTS_MAX: u64 = 10_000;
/// Reports erased in one step because their time is over.
pub const REPORTS_ERASED_STEP: u32 = 100;

/// What is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// A message that the reporter can read.
    Message(MessageId),
    /// A person.
    Person(ProfileId),
}

/// Reports a message or a person. The same of the same reporter again is the report that is there. `NotFound` for a message that the
/// reporter can't read and for a profile that is not there, `Invalid` for oneself, a deleted message and a system message.
#[derive(Clone, Debug)]
pub struct MakeReport {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The profile of the reporter.
    pub reporter: ProfileId,
    /// Names the report, if it is a new one.
    pub id: ReportId,
    /// What.
    pub what: Reported,
    /// Why, for people.
    pub reason: String,
}

/// The answer to [`MakeReport`].
#[derive(Clone, Copy, Debug)]
pub struct MadeReport {
    /// Names the report.
    pub id: ReportId,
    /// It was made before.
    pub duplicate: bool,
}

/// The open reports, the oldest first. `NotAllowed` unless the operator or an admin of the server asks.
#[derive(Clone, Copy, Debug)]
pub struct ListReports {
    /// `None` for the operator.
    pub by: Option<MemberId>,
    /// When it was asked, Unix ms: reports whose time is over are not shown.
    pub at: UnixMs,
    /// The page begins after this; `None`: at the beginning.
    pub after: Option<u64>,
    /// The most items of the page.
    pub limit: u32,
}

/// A page of [`ListReports`].
#[derive(Clone, Debug)]
pub struct ReportPage {
    /// The reports.
    pub reports: Vec<Report>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u64>,
}

/// A report as admins see it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Names it.
    pub id: ReportId,
    /// When it was made.
    pub at: UnixMs,
    /// Who made it; `None` if the account was deleted.
    pub reporter: Option<ReportedPerson>,
    /// The person, or the sender of the message.
    pub person: ReportedPerson,
    /// What was reported, if it is a message.
    pub message: Option<ReportedMessage>,
    /// Why.
    pub reason: String,
}

/// A person in a report.
#[derive(Clone, Debug)]
pub struct ReportedPerson {
    /// The profile.
    pub profile: ProfileId,
    /// `None` if the account was deleted.
    pub member: Option<MemberId>,
    /// Empty if the account was deleted.
    pub nick_name: String,
    /// Empty if the account was deleted.
    pub display_name: String,
    /// Whether it may sign in.
    pub active: bool,
}

/// The copy of a message.
#[derive(Clone, Debug)]
pub struct ReportedMessage {
    /// The message.
    pub id: MessageId,
    /// Its text when it was reported.
    pub body: String,
    /// The names of its files when it was reported.
    pub files: Vec<String>,
    /// When it was posted.
    pub posted_at: UnixMs,
    /// Its text now, which may have been edited since; `None` once it is deleted.
    pub now: Option<String>,
}
