//! Web Push: which devices get notifications, and what is to be pushed to them.
//!
//! A subscription belongs to a session and ends with it. Owns the text of a notification; leaves its encryption to `proto::push`.
//! Invariant: a notification holds no more than the level of its device asks for.

use std::time::Duration;

use serde::Serialize;

use super::conversation::{Conversation, ConversationType};
use super::id::{ConversationId, MemberId, MessageId, ProfileId, SessionId};
use super::message::{Mention, Message};
use crate::base::json;
use crate::base::secret::Secret;
use crate::base::time::{UnixMs, UnixS};
pub use crate::proto::push::encryption::Recipient;
use crate::proto::push::encryption::TEXT_BYTES_MAX;

/// Characters of a message in a notification, which shows a few lines. The rest is cut.
const BODY_CHARS_MAX: usize = 300;
/// Characters of a name or a title in a notification. The rest is cut.
const NAME_CHARS_MAX: usize = 100;
/// JSON writes a character in at most six bytes (`\u0001`).
const ESCAPED_BYTES_MAX: usize = 6;
/// Bytes of the names of members, ids and numbers.
const FRAME_BYTES_MAX: usize = 512;

const _: () = assert!(
    (BODY_CHARS_MAX + 2 * NAME_CHARS_MAX) * ESCAPED_BYTES_MAX + FRAME_BYTES_MAX <= TEXT_BYTES_MAX,
    "each notification fits into one push message"
);

/// What a device shows of a new message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PushLevel {
    /// Nothing: the subscription is kept.
    Off,
    /// From whom it is, and in which conversation.
    Who,
    /// Its text, too.
    Text,
}

impl PushLevel {
    /// Every level, by its text on the wire.
    pub const ALL: [(&'static str, PushLevel); 3] =
        [("off", PushLevel::Off), ("who", PushLevel::Who), ("text", PushLevel::Text)];

    /// The level of a text on the wire.
    pub fn parse(text: &str) -> Option<PushLevel> {
        PushLevel::ALL.iter().find(|(name, _)| *name == text).map(|(_, level)| *level)
    }
}

/// Subscribes a session, or replaces its subscription. `Unauthorized` if the session has ended, `QuotaExceeded` if the member has as
/// many as it may.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// When it was asked.
    pub at: UnixMs,
    /// The member.
    pub member: MemberId,
    /// The session that asks.
    pub session: SessionId,
    /// The address at the push service: who knows it and the keys can push to the device.
    pub endpoint: Secret,
    /// The keys of the browser.
    pub recipient: Recipient,
    /// What it shows.
    pub level: PushLevel,
}

/// Changes what a device of a member shows. `NotFound` unless the session is the member's and has a subscription.
#[derive(Clone, Debug)]
pub struct SetPushLevel {
    /// The member.
    pub member: MemberId,
    /// The session whose device it is.
    pub session: SessionId,
    /// What it shows.
    pub level: PushLevel,
}

/// Ends the subscription of a session. `NotFound` unless the session is the member's; one without a subscription stays as it is.
#[derive(Clone, Debug)]
pub struct Unsubscribe {
    /// The member.
    pub member: MemberId,
    /// The session whose device it is.
    pub session: SessionId,
}

/// Removes a subscription that does not exist any more at its push service, unless the session has a new one.
#[derive(Clone, Debug)]
pub struct ForgetSubscription {
    /// The session.
    pub session: SessionId,
    /// The address that is gone.
    pub endpoint: Secret,
}

/// A subscription as its member sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PushSubscription {
    /// What it shows.
    pub level: PushLevel,
    /// When it was made.
    pub created_at: UnixMs,
}

/// The conversations with new posts after a position of the log, for the members that have them unread and want notifications.
#[derive(Clone, Copy, Debug)]
pub struct ReadPosted {
    /// When it was asked.
    pub at: UnixMs,
    /// The position; `None` for the one that is stored.
    pub after: Option<u64>,
}

/// The answer to [`ReadPosted`].
#[derive(Clone, Debug)]
pub struct PostedPage {
    /// Where the page begins.
    pub after: u64,
    /// All posts up to this `seq` are in the page.
    pub through: u64,
    /// Who has a subscription and has not read which conversation, and has not muted it or is mentioned in it.
    pub unread: Vec<(ProfileId, ConversationId)>,
    /// Whether anyone has a subscription.
    pub is_subscribed: bool,
    /// Whether the page was full, so that there are more posts.
    pub is_full: bool,
}

/// Stores up to where all notifications were sent.
#[derive(Clone, Copy, Debug)]
pub struct MovePushCursor {
    /// The `seq`.
    pub through: u64,
}

/// What is to be pushed to the devices of a profile about a conversation, as it is now. `None` if it has read it, or
/// muted it and is not mentioned in it.
#[derive(Clone, Copy, Debug)]
pub struct FindPush {
    /// When it is asked.
    pub at: UnixMs,
    /// Whose devices.
    pub profile: ProfileId,
    /// Which conversation.
    pub conversation: ConversationId,
}

/// The answer to [`FindPush`].
#[derive(Clone, Debug)]
pub struct Push {
    /// Whose devices.
    pub profile: ProfileId,
    /// The conversation as the profile sees it.
    pub conversation: Conversation,
    /// Its newest message; of a muted conversation the newest one that mentions the profile.
    pub newest: Message,
    /// The name of that message's sender; `None` once its account is deleted.
    pub sender: Option<String>,
    /// The devices, none of which is off.
    pub devices: Vec<PushDevice>,
}

/// A device with a subscription.
#[derive(Clone, Debug)]
pub struct PushDevice {
    /// Its session.
    pub session: SessionId,
    /// The address at the push service.
    pub endpoint: Secret,
    /// The keys of the browser.
    pub recipient: Recipient,
    /// What it shows.
    pub level: PushLevel,
}

/// One message for one device, to be encrypted and sent.
#[derive(Clone, Debug)]
pub struct Notification {
    /// The address at the push service.
    pub endpoint: Secret,
    /// The keys of the browser.
    pub recipient: Recipient,
    /// The text of [`Push::text`].
    pub text: Secret<Vec<u8>>,
    /// A later message of this topic replaces one that is not delivered yet.
    pub topic: String,
    /// Sixteen random bytes.
    pub salt: [u8; 16],
    /// The time for its signature.
    pub unix_s: UnixS,
}

/// What became of a [`Notification`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The push service took it.
    Accepted,
    /// The subscription does not exist any more.
    Gone,
    /// To be tried again, not before this time if the push service named one.
    Later(Option<Duration>),
    /// Refused: it is not tried again.
    Refused,
}

#[derive(Serialize)]
struct Text<'a> {
    /// One notification for each tag is shown: that of the conversation.
    tag: ConversationId,
    conversation: ConversationId,
    #[serde(rename = "type")]
    kind: ConversationType,
    title: Option<&'a str>,
    sender: Option<&'a str>,
    unread: u64,
    n: u64,
    mention: bool,
    #[serde(flatten)]
    message: Option<TextOfMessage<'a>>,
}

#[derive(Serialize)]
struct TextOfMessage<'a> {
    message: MessageId,
    body: Option<&'a str>,
    attachments: usize,
}

impl Push {
    /// The JSON that a device of this level gets.
    pub fn text(&self, level: PushLevel) -> Vec<u8> {
        let Push { profile, conversation, newest, sender, .. } = self;
        let shown = Some(newest).filter(|_| level == PushLevel::Text);
        let mention = |who: &Mention| *who == Mention::All || *who == Mention::Profile(*profile);
        json::to_vec(&Text {
            tag: conversation.id,
            conversation: conversation.id,
            kind: conversation.kind,
            title: conversation.title.as_deref().map(|title| cut(title, NAME_CHARS_MAX)),
            sender: sender.as_deref().map(|sender| cut(sender, NAME_CHARS_MAX)),
            unread: conversation.unread,
            n: newest.n,
            mention: newest.mentions.iter().any(mention),
            message: shown.map(|message| TextOfMessage {
                message: message.id,
                body: message.body.as_deref().map(|body| cut(body, BODY_CHARS_MAX)),
                attachments: message.attachments.len(),
            }),
        })
    }
}

/// At most this many characters of a text.
fn cut(text: &str, chars_max: usize) -> &str {
    text.char_indices().nth(chars_max).map_or(text, |(end, _)| &text[..end])
}
