//! A session: one signed-in device, its token pair and when it ended.

use serde::Serialize;

use super::id::{MemberId, ProfileId, SessionId};
use super::mail::NewMail;
use super::member::Account;
use super::message::Time;
use crate::base::id::Id;
use crate::base::secret::Secret;

/// What a session's row needs at sign-in. Times are Unix milliseconds, expiries Unix seconds.
#[derive(Clone, Debug)]
pub struct NewSession {
    pub id: SessionId,
    pub access_uuid: Id,
    pub refresh_uuid: Id,
    /// The client's `unique_id`, kept for the session list; empty is `None`.
    pub unique_id: Option<String>,
    pub user_agent: String,
    pub address: String,
    pub access_expire: u64,
    pub refresh_expire: u64,
}

/// A session for a member whose password was right. `Unauthorized` when the member is gone or disabled.
#[derive(Clone, Debug)]
pub struct OpenSession {
    pub at: u64,
    pub member: MemberId,
    pub session: NewSession,
    /// What the password was compared with: `Unauthorized` if another one was set since.
    pub hash: Secret,
    /// A new PHC string where the hash parameters changed.
    pub rehash: Option<Secret>,
    /// Sent if this device is new.
    pub mail: NewMail,
}

/// A session that stands in the database.
#[derive(Clone, Debug)]
pub struct Opened {
    pub account: Account,
    pub pair: TokenPair,
}

/// The claims both tokens are made of. The same pair always signs to the same bytes, so that a lost answer
/// to a refresh can be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenPair {
    pub session: SessionId,
    pub member: MemberId,
    pub profile: ProfileId,
    pub access_uuid: Id,
    pub refresh_uuid: Id,
    /// SHA-256 of the device id, `None` for a session without one.
    pub device: Option<[u8; 32]>,
    /// Unix seconds.
    pub issued: u64,
    pub access_expire: u64,
    pub refresh_expire: u64,
}

/// The exchange of a refresh token ([`protocol`](crate::protocol), session.refresh):
/// the current one rotates; its predecessor returns the same pair again within 60 s of the rotation while
/// the successor was not presented; any other of this session revokes it. `Unauthorized` in every bad case.
#[derive(Clone, Debug)]
pub struct RefreshSession {
    pub at: u64,
    pub session: SessionId,
    pub refresh_uuid: Id,
    /// What the request said of its device, hashed.
    pub device: Option<[u8; 32]>,
    pub next_access_uuid: Id,
    pub next_refresh_uuid: Id,
    pub access_expire: u64,
    pub refresh_expire: u64,
}

#[derive(Clone, Debug)]
pub struct Refreshed {
    pub pair: TokenPair,
}

/// Logout: the session ends, its tokens die. Ending an ended session is done already.
#[derive(Clone, Debug)]
pub struct EndSession {
    pub at: u64,
    pub session: SessionId,
}

/// The sessions of a member that stand, newest first, a page at a time.
#[derive(Clone, Debug)]
pub struct ListSessions {
    pub at: u64,
    pub member: MemberId,
    /// The asker's, shown as `current`.
    pub current: SessionId,
    /// Continue behind this place.
    pub after: Option<u64>,
    pub limit: u32,
}

#[derive(Clone, Debug)]
pub struct SessionPage {
    pub sessions: Vec<SessionView>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u64>,
}

/// A session as its member sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SessionView {
    pub id: SessionId,
    pub unique_id: Option<String>,
    pub user_agent: String,
    pub address: String,
    /// Where that address is, as far as it is known.
    pub place: Option<String>,
    pub created_at: Time,
    pub last_seen_at: Time,
    pub current: bool,
}

/// Which of a member's sessions a revocation means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionSelector {
    One(SessionId),
    AllBut(SessionId),
}

/// Ends sessions of one member: their tokens die. `NotFound` when the one named is not the member's.
#[derive(Clone, Copy, Debug)]
pub struct RevokeSessions {
    pub at: u64,
    pub member: MemberId,
    pub which: SessionSelector,
}

/// A new password; every other session of the member ends. `Unauthorized` when the old hash is no longer the
/// member's: another change came first.
#[derive(Clone, Debug)]
pub struct ChangePassword {
    pub at: u64,
    pub member: MemberId,
    /// The session that stays.
    pub session: SessionId,
    /// The PHC string the old password was compared with.
    pub old_hash: Secret,
    /// A PHC string.
    pub hash: Secret,
    pub mail: NewMail,
}

/// When sessions were last seen (Unix ms), collected since the last write. Ended sessions are skipped.
#[derive(Clone, Debug)]
pub struct RecordLastSeen {
    pub seen: Vec<(SessionId, u64)>,
}

/// The token pair on the wire ([`protocol`](crate::protocol), `token`).
#[derive(Clone, Debug, Serialize)]
pub struct Token {
    pub access: String,
    pub refresh: String,
    pub token_uuid: Id,
    pub refresh_uuid: Id,
    pub token_expire: u64,
    pub refresh_expire: u64,
}
