//! Bots: members without a password, their tokens, and the hooks by which other programs post.
//!
//! Owns the form of a token: 128 random bits after a prefix that says what it is for. Leaves what a bot may do to the handlers, which
//! are those of all members.
//! Invariant: the server keeps the hash of a token, never the token.

#![warn(missing_docs)]

use serde::Serialize;

use super::id::{ConversationId, MemberId, ProfileId, SessionId};
use super::member::NewAccount;
use super::profile::Profile;
use crate::base::crypto::sha256;
use crate::base::time::{UnixMs, UnixS};

/// What the token of a bot begins with, so that scanners of source code find it.
pub const BOT_PREFIX: &str = "nb_";
/// What the token of an incoming hook begins with.
pub const HOOK_PREFIX: &str = "nh_";
/// Until when a token can be used, unless it is revoked: the end of the year 9999.
pub const TOKEN_EXPIRE: UnixS = UnixS(253_402_300_799);

/// Bots of a server. Above: `QuotaExceeded`.
pub const BOTS_MAX: u64 = 1_000;
/// Tokens of a bot, those of its incoming hooks included. Above: `QuotaExceeded`.
pub const BOT_TOKENS_MAX: u64 = 20;
/// Characters of the name of a token. Above: 422 `invalid_name`.
pub const TOKEN_NAME_MAX: usize = 64;

/// SHA-256 of a token.
pub type TokenHash = [u8; 32];

/// The hash by which a token is known.
pub fn token_hash(token: &str) -> TokenHash {
    sha256(token.as_bytes())
}

/// A token that can be used, as the server knows it in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveToken {
    /// SHA-256 of the token.
    pub hash: TokenHash,
    /// Names the token; it ends with this session.
    pub session: SessionId,
    /// The bot.
    pub member: MemberId,
    /// Its profile.
    pub profile: ProfileId,
    /// Where the token of an incoming hook posts; `None` for a bearer token.
    pub conversation: Option<ConversationId>,
}

/// Makes a bot. `NotAllowed` unless the operator or an admin of the server asks, `QuotaExceeded` above [`BOTS_MAX`].
#[derive(Clone, Debug)]
pub struct AddBot {
    /// `None` for the operator.
    pub by: Option<MemberId>,
    /// Its account, without a hash that any password has.
    pub account: NewAccount,
}

/// Makes a token of a bot; refused as [`AddBot`] is. `NotFound` if there is no such bot, `NotAllowed` for one that is disabled, and
/// `Invalid("conversation")` unless the bot is in it. `QuotaExceeded` above [`BOT_TOKENS_MAX`].
#[derive(Clone, Debug)]
pub struct CreateBotToken {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// `None` for the operator.
    pub by: Option<MemberId>,
    /// The bot.
    pub bot: ProfileId,
    /// Names the token.
    pub id: SessionId,
    /// SHA-256 of the token.
    pub hash: TokenHash,
    /// For people.
    pub name: String,
    /// Where an incoming hook posts; `None` for a bearer token.
    pub conversation: Option<ConversationId>,
}

/// The answer to [`CreateBotToken`].
#[derive(Clone, Debug)]
pub struct MadeToken {
    /// As those who manage it see it.
    pub token: BotToken,
    /// As the server uses it.
    pub live: LiveToken,
}

/// Ends a token of a bot and the streams that it opened; refused as [`AddBot`] is. `NotFound` if the bot has no such token.
#[derive(Clone, Copy, Debug)]
pub struct RevokeBotToken {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// `None` for the operator.
    pub by: Option<MemberId>,
    /// The bot.
    pub bot: ProfileId,
    /// Names the token.
    pub token: SessionId,
}

/// The bots, the oldest first; refused as [`AddBot`] is.
#[derive(Clone, Copy, Debug)]
pub struct ListBots {
    /// `None` for the operator.
    pub by: Option<MemberId>,
    /// The page begins after this; `None`: at the beginning.
    pub after: Option<u64>,
    /// The most items of the page.
    pub limit: u32,
}

/// A page of [`ListBots`].
#[derive(Clone, Debug)]
pub struct BotPage {
    /// The bots.
    pub bots: Vec<Bot>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u64>,
}

/// A bot as those who manage it see it.
#[derive(Clone, Debug, Serialize)]
pub struct Bot {
    /// As other members see it.
    pub profile: Profile,
    /// Whether its tokens can be used.
    pub active: bool,
}

/// All tokens of a bot, the oldest first; refused as [`AddBot`] is. `NotFound` if there is no such bot.
#[derive(Clone, Copy, Debug)]
pub struct ListBotTokens {
    /// `None` for the operator.
    pub by: Option<MemberId>,
    /// The bot.
    pub bot: ProfileId,
}

/// A token as those who manage it see it.
#[derive(Clone, Debug, Serialize)]
pub struct BotToken {
    /// Names it.
    pub id: SessionId,
    /// For people.
    pub name: String,
    /// Where an incoming hook posts; `None` for a bearer token.
    pub conversation: Option<ConversationId>,
    /// When it was made.
    pub created_at: UnixMs,
    /// When it was last used, to about a minute.
    pub last_used_at: Option<UnixMs>,
}
