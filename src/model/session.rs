//! Sessions: one login of a member on one device, its pair of tokens, and what ends it.
//!
//! Invariant: only the session's row decides which refresh token is the current one.

use serde::Serialize;

use super::id::{MemberId, ProfileId, SessionId};
use super::mail::NewMail;
use super::member::Account;
use super::push::PushSubscription;
use super::second_factor::UsedFactor;
use crate::base::id::Id;
use crate::base::secret::Secret;
use crate::base::time::{UnixMs, UnixS};

/// A new session. Times are Unix milliseconds, expiries Unix seconds.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The id.
    pub id: SessionId,
    /// The id of the access token.
    pub access_uuid: Id,
    /// The id of the refresh token.
    pub refresh_uuid: Id,
    /// The client's `unique_id`, stored for the list of sessions; empty is `None`.
    pub unique_id: Option<String>,
    /// The `User-Agent`, cut to 512 characters.
    pub user_agent: String,
    /// The IP address, as text.
    pub address: String,
    /// When the access token expires, Unix s.
    pub access_expire: UnixS,
    /// When the refresh token expires, Unix s.
    pub refresh_expire: UnixS,
}

/// Opens a session for a member whose password was right. `Unauthorized` if the member was deleted or is disabled.
#[derive(Clone, Debug)]
pub struct OpenSession {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The member that signs in.
    pub member: MemberId,
    /// The new session.
    pub session: NewSession,
    /// The hash with which the password was compared: `Unauthorized` if another one was set since.
    pub hash: Secret,
    /// A new PHC string, if the hash parameters have changed.
    pub rehash: Option<Secret>,
    /// Sent if this device is new.
    pub mail: NewMail,
    /// The code that was presented: `CodeWrong` if the member has a second factor and this is none, or one that was used.
    pub used: Option<UsedFactor>,
    /// Sent if a recovery code was used.
    pub used_mail: Option<NewMail>,
}

/// A session that is stored.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The member and the profile.
    pub account: Account,
    /// The claims of the tokens.
    pub pair: TokenPair,
}

/// The claims of both tokens. The same pair always signs to the same bytes, so that a lost answer to a refresh can be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenPair {
    /// The session.
    pub session: SessionId,
    /// The member.
    pub member: MemberId,
    /// The profile.
    pub profile: ProfileId,
    /// The id of the access token.
    pub access_uuid: Id,
    /// The id of the refresh token.
    pub refresh_uuid: Id,
    /// SHA-256 of the device id, `None` for a session without one.
    pub device: Option<[u8; 32]>,
    /// Unix seconds.
    pub issued: UnixS,
    /// When the access token expires, Unix s.
    pub access_expire: UnixS,
    /// When the refresh token expires, Unix s.
    pub refresh_expire: UnixS,
}

/// Exchanges a refresh token ([`protocol`](crate::protocol), session.refresh): the current one rotates; the one before it
/// returns the same pair again within 60 s of the rotation, as long as its successor was not presented; any other of this
/// session revokes the session. `Unauthorized` in every case without a new pair.
#[derive(Clone, Debug)]
pub struct RefreshSession {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The session.
    pub session: SessionId,
    /// The id of the presented token.
    pub refresh_uuid: Id,
    /// SHA-256 of the device id in the request.
    pub device: Option<[u8; 32]>,
    /// The id of the next access token.
    pub next_access_uuid: Id,
    /// The id of the next refresh token.
    pub next_refresh_uuid: Id,
    /// When the next access token expires, Unix s.
    pub access_expire: UnixS,
    /// When the next refresh token expires, Unix s.
    pub refresh_expire: UnixS,
}

/// The answer to [`RefreshSession`].
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// The claims of the next tokens.
    pub pair: TokenPair,
}

/// Ends a session (logout): its tokens become invalid. If it has ended before, nothing changes.
#[derive(Clone, Debug)]
pub struct EndSession {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The session.
    pub session: SessionId,
}

/// The sessions of a member that have not ended, newest first, a page at a time.
#[derive(Clone, Debug)]
pub struct ListSessions {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The member.
    pub member: MemberId,
    /// The session that asks, shown as `current`.
    pub current: SessionId,
    /// The page begins after this; `None`: at the beginning.
    pub after: Option<u64>,
    /// The most items of the page.
    pub limit: u32,
}

/// A page of [`ListSessions`].
#[derive(Clone, Debug)]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<SessionView>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u64>,
}

/// A session as its member sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SessionView {
    /// The id.
    pub id: SessionId,
    /// The client's device id.
    pub unique_id: Option<String>,
    /// The `User-Agent`, cut to 512 characters.
    pub user_agent: String,
    /// The IP address, as text.
    pub address: String,
    /// The place of that address, if it is known.
    pub place: Option<String>,
    /// When it was opened.
    pub created_at: UnixMs,
    /// When it was last used.
    pub last_seen_at: UnixMs,
    /// Whether it is the one that asks.
    pub current: bool,
    /// Its subscription to notifications.
    pub push: Option<PushSubscription>,
}

/// Which sessions of a member a revocation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionSelector {
    /// This one.
    One(SessionId),
    /// All except this one.
    AllBut(SessionId),
}

/// Ends sessions of one member: their tokens become invalid. `NotFound` if the named one is not the member's.
#[derive(Clone, Copy, Debug)]
pub struct RevokeSessions {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The member.
    pub member: MemberId,
    /// Which ones.
    pub which: SessionSelector,
}

/// Sets a new password; every other session of the member ends. `Unauthorized` if the old hash is no longer the member's,
/// because another change came first.
#[derive(Clone, Debug)]
pub struct ChangePassword {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The member.
    pub member: MemberId,
    /// The session that does not end.
    pub session: SessionId,
    /// The PHC string with which the old password was compared.
    pub old_hash: Secret,
    /// A PHC string.
    pub hash: Secret,
    /// The mail that goes with it.
    pub mail: NewMail,
}

/// Stores when sessions were last seen (Unix ms). A session that has ended in the meantime is skipped.
#[derive(Clone, Debug)]
pub struct RecordLastSeen {
    /// Each session and its time.
    pub seen: Vec<(SessionId, UnixMs)>,
}

/// The token pair on the wire ([`protocol`](crate::protocol), `token`).
#[derive(Clone, Debug, Serialize)]
pub struct Token {
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
    /// The id of the access token.
    pub token_uuid: Id,
    /// The id of the refresh token.
    pub refresh_uuid: Id,
    /// When the access token expires, Unix s.
    pub token_expire: UnixS,
    /// When the refresh token expires, Unix s.
    pub refresh_expire: UnixS,
}
