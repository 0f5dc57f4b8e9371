//! Messages: what one is, and what storage may be asked about them.
//!
//! `n` is its position in its conversation, `seq` its position in the log, `rev` the `seq` of its last change.
//! Invariant: of two versions of a message, the one with the greater `rev` is newer.

use std::sync::Arc;

use serde::Serialize;

use super::id::{ClientId, ConversationId, MessageId, ProfileId, UploadId};
use super::system_message::SystemMessage;
use super::upload::{Attachment, Quota};
use crate::base::id::ID_LEN;
use crate::base::json::{self, push_key, push_plain, push_plain_or_null, push_text};
use crate::base::secret::Secret;
use crate::base::time::{UnixMs, rfc3339_digits};
use crate::limits::ATTACHMENTS_MAX;

/// A message, as every member of its conversation sees it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Message {
    /// The id.
    pub id: MessageId,
    /// The client's own id.
    pub client_id: ClientId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The position in the conversation.
    pub n: u64,
    /// The position in the log.
    pub seq: u64,
    /// The `seq` of its last change.
    pub rev: u64,
    /// The profile; `None` after its account was deleted.
    pub sender: Option<ProfileId>,
    /// `None` for a tombstone, a system message and a message of attachments only.
    pub body: Option<String>,
    /// The files it shows.
    pub attachments: Vec<Attachment>,
    /// The message it answers, of the same conversation.
    pub reply_to: Option<MessageId>,
    /// The reactions, by emoji.
    pub reactions: Vec<Reaction>,
    /// Whom its text addresses with `@`, in a group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<Mention>,
    /// Whether its content is that of another message. Whose it was is told to nobody.
    #[serde(skip_serializing_if = "is_false")]
    pub forwarded: bool,
    /// Whether it is pinned in its conversation.
    #[serde(skip_serializing_if = "is_false")]
    pub pinned: bool,
    /// The change that a system message tells; its fields are next to the others.
    #[serde(flatten)]
    pub system: Option<Box<SystemMessage>>,
    /// When it was posted; never before that of an older message.
    pub created_at: UnixMs,
    /// When its text was last changed.
    pub edited_at: Option<UnixMs>,
    /// When it became a tombstone.
    pub deleted_at: Option<UnixMs>,
    /// The disk lost a part of it: its text is `None`, and it is not a tombstone.
    #[serde(skip_serializing_if = "is_false")]
    pub damaged: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The beginning of a message, and where its three ids are in it.
const HEAD: &[u8] = b"{\"id\":\"--------------------------\",\"client_id\":\"--------------------------\",\
\"conversation\":\"--------------------------\",\"n\":";
const HEAD_IDS: [usize; 3] = [7, 48, 92];

impl Message {
    /// Appends its JSON, the same bytes as [`Serialize`] makes (a test compares them). Every post is encoded as an answer and as an
    /// event, and with serde that is a third of the loop's work.
    pub fn write(&self, out: &mut Vec<u8>) {
        let head = out.len();
        out.extend_from_slice(HEAD);
        let ids = [self.id.text(), self.client_id.text(), self.conversation.text()];
        for (text, at) in ids.iter().zip(HEAD_IDS) {
            out[head + at..][..ID_LEN].copy_from_slice(text);
        }
        json::write(out, &self.n);
        push_key!(out, "seq");
        json::write(out, &self.seq);
        push_key!(out, "rev");
        json::write(out, &self.rev);
        push_key!(out, "sender");
        push_plain_or_null(out, self.sender.map(|id| id.text()).as_ref().map(<[u8; ID_LEN]>::as_slice));
        push_key!(out, "body");
        match &self.body {
            Some(body) => push_text(out, body),
            None => out.extend_from_slice(b"null"),
        }
        if self.attachments.is_empty() && self.reply_to.is_none() && self.reactions.is_empty() {
            out.extend_from_slice(b",\"attachments\":[],\"reply_to\":null,\"reactions\":[]");
        } else {
            push_key!(out, "attachments");
            json::write(out, &self.attachments);
            push_key!(out, "reply_to");
            push_plain_or_null(out, self.reply_to.map(|id| id.text()).as_ref().map(<[u8; ID_LEN]>::as_slice));
            push_key!(out, "reactions");
            json::write(out, &self.reactions);
        }
        if !self.mentions.is_empty() {
            push_key!(out, "mentions");
            json::write(out, &self.mentions);
        }
        for (flag, member) in
            [(self.forwarded, &b",\"forwarded\":true"[..]), (self.pinned, b",\"pinned\":true")]
        {
            if flag {
                out.extend_from_slice(member);
            }
        }
        if let Some(system) = &self.system {
            // Its braces are left out: its fields are those of the message.
            let brace = out.len();
            json::write(out, system);
            out[brace] = b',';
            out.pop();
        }
        push_key!(out, "created_at");
        push_plain(out, &rfc3339_digits(self.created_at));
        if self.edited_at.is_none() && self.deleted_at.is_none() {
            out.extend_from_slice(b",\"edited_at\":null,\"deleted_at\":null");
        } else {
            push_key!(out, "edited_at");
            json::write(out, &self.edited_at);
            push_key!(out, "deleted_at");
            json::write(out, &self.deleted_at);
        }
        if self.damaged {
            out.extend_from_slice(b",\"damaged\":true");
        }
        out.push(b'}');
    }
}

/// Bytes of a message of a usual length as JSON.
const USUAL_BYTES: usize = 480;

/// The JSON array of these messages, as [`Message::write`] writes each.
pub fn write_all(messages: &[Message]) -> Vec<u8> {
    let mut out = Vec::with_capacity(messages.len() * USUAL_BYTES + 2);
    out.push(b'[');
    for (index, message) in messages.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        message.write(&mut out);
    }
    out.push(b']');
    out
}

/// One emoji under a message.
#[derive(Clone, Debug, Serialize)]
pub struct Reaction {
    /// Fully qualified.
    pub emoji: String,
    /// How many profiles reacted with it.
    pub count: u64,
    /// The first 50.
    pub profiles: Vec<ProfileId>,
}

/// Whom a text addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mention {
    /// All members: `@all` of an admin. On the wire `"all"`.
    All,
    /// This member.
    Profile(ProfileId),
}

impl Serialize for Mention {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Mention::All => serializer.serialize_str(ALL),
            Mention::Profile(profile) => profile.serialize(serializer),
        }
    }
}

/// The name that means all members of a group. No nick name: it is a reserved one.
pub const ALL: &str = "all";

/// Where a post goes: to a conversation, or to a profile; the first message makes the direct conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// This conversation.
    Conversation(ConversationId),
    /// The direct conversation with this profile.
    To(ProfileId),
}

/// Stores a message. A repeated `client_id` of the sender returns the original, whatever else the post says. `NotFound` for a
/// conversation of which the sender is no member, and for a profile that does not exist or with a block in between;
/// `NotAllowed` for a block in an existing conversation; `Invalid` for `reply_to` and `attachments`.
#[derive(Clone, Debug)]
pub struct PostMessage {
    /// The message as the handler knows it: `sender`, `client_id`, `body`, `reply_to`, and in `created_at` the time of the post.
    /// Storage fills in the other fields of the same allocation: `id`, `conversation`, `n`, `seq`, `rev`, `attachments`, and a
    /// `created_at` that is not before that of the newest message.
    ///
    /// So a post is moved a dozen times as little more than a pointer, and the thread that allocates it also frees it: memory
    /// that one thread allocates and another frees makes both wait for the allocator, a tenth of the loop's time with a thousand
    /// posts in flight. A draft has one owner; with a second one it would be copied.
    pub draft: Arc<Message>,
    /// Where it goes.
    pub destination: Destination,
    /// The ids of the uploads it shows. Storage adds how they are shown.
    pub attachments: Box<[UploadId]>,
    /// The id of the direct conversation, if this message is its first.
    pub conversation_if_new: ConversationId,
    /// The 16 random bits of the message's id.
    pub random: u16,
}

impl PostMessage {
    /// The draft, to be filled in.
    pub fn draft_mut(&mut self) -> &mut Message {
        Arc::make_mut(&mut self.draft)
    }
}

/// Stores a message with the content of another one. As [`PostMessage`], whose `body` and `attachments` are empty. `Invalid` unless the
/// sender sees the other message, it is not deleted and no system message; `QuotaExceeded` if its files do not fit.
#[derive(Clone, Debug)]
pub struct ForwardMessage {
    /// The new message.
    pub post: PostMessage,
    /// The message whose content it gets.
    pub message: MessageId,
    /// The ids of the uploads that its files become, and after them those of the files of their previews.
    pub uploads: [UploadId; 2 * ATTACHMENTS_MAX],
    /// How much the sender may keep.
    pub quota: Quota,
}

/// The answer to [`PostMessage`] and [`ForwardMessage`].
#[derive(Clone, Debug)]
pub struct Posted {
    /// The message.
    pub message: PostedMessage,
    /// Whether this sender used this `client_id` before; then `message` is the original.
    pub duplicate: bool,
}

/// What the sender gets of a message.
#[derive(Clone, Debug)]
pub enum PostedMessage {
    /// The complete message.
    Complete(Arc<Message>),
    /// For a sender who has left the conversation: only the ids of the original.
    Left(Box<PostedStub>),
}

/// The ids of a message in a conversation that its sender has left.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PostedStub {
    /// The id.
    pub id: MessageId,
    /// The client's own id.
    pub client_id: ClientId,
    /// The position in the conversation.
    pub n: u64,
    /// The position in the log.
    pub seq: u64,
}

/// One message. `NotFound` unless `viewer` is a member of its conversation.
#[derive(Clone, Debug)]
pub struct GetMessage {
    /// The profile that asks.
    pub viewer: ProfileId,
    /// The message.
    pub message: MessageId,
}

/// Changes the text. `NotAllowed` unless `actor` is the sender, for a deleted message, and between two with a block.
#[derive(Clone, Debug)]
pub struct EditMessage {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The profile that asks.
    pub actor: ProfileId,
    /// The message.
    pub message: MessageId,
    /// The new text.
    pub body: String,
}

/// Deletes a message: body, reactions and attachments are erased; `n` stays. `NotAllowed` unless `actor` is the sender or an
/// admin of the group. A second deletion succeeds and changes nothing.
#[derive(Clone, Debug)]
pub struct DeleteMessage {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The profile that asks.
    pub actor: ProfileId,
    /// The message.
    pub message: MessageId,
}

/// Adds or removes one reaction of `actor`. `Invalid("emoji")` above 20 different ones on a message, and for a text that is no
/// emoji and no existing reaction.
#[derive(Clone, Debug)]
pub struct React {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The profile that asks.
    pub actor: ProfileId,
    /// The message.
    pub message: MessageId,
    /// The emoji without U+FE0F.
    pub emoji: String,
    /// Whether to add it.
    pub on: bool,
}

/// Pins a message in its conversation, or takes that back. `NotAllowed` unless `actor` is one of the two of a direct conversation
/// without a block, or an admin of the group; and for a deleted message. `Invalid("pinned")` above [`PINNED_MAX`]. A second one
/// changes nothing.
#[derive(Clone, Debug)]
pub struct PinMessage {
    /// When it was asked, Unix ms.
    pub at: UnixMs,
    /// The profile that asks.
    pub actor: ProfileId,
    /// The message.
    pub message: MessageId,
    /// Whether it is pinned from now on.
    pub on: bool,
}

/// Pinned messages of a conversation. Above: 422 `invalid_pinned`.
pub const PINNED_MAX: u64 = 100;

/// Searches one conversation, or all of the viewer's.
#[derive(Clone, Debug)]
pub struct SearchMessages {
    /// The profile that asks.
    pub viewer: ProfileId,
    /// Any text.
    pub query: Secret,
    /// Only in this conversation.
    pub conversation: Option<ConversationId>,
    /// Only messages with a smaller `seq`.
    pub before: Option<u64>,
    /// The most items of the page.
    pub limit: u32,
}

/// The answer to [`SearchMessages`], newest first.
#[derive(Clone, Debug)]
pub struct FoundMessages {
    /// What was found.
    pub messages: Vec<Message>,
    /// Messages with a smaller `seq` were not searched; there may be one even if this page is empty.
    pub next: Option<u64>,
    /// `false`: older messages were left out, since the index is being built.
    pub complete: bool,
}

/// A page of a conversation, in the order of `n`. `NotFound` unless `viewer` is a member.
#[derive(Clone, Debug)]
pub struct ListMessages {
    /// The profile that asks.
    pub viewer: ProfileId,
    /// The conversation.
    pub conversation: ConversationId,
    /// Where the page begins.
    pub at: PagePoint,
    /// Only the pinned ones.
    pub pinned: bool,
    /// The most items of the page.
    pub limit: u32,
}

/// Where a page begins; the number is an `n`, exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagePoint {
    /// The newest messages.
    Newest,
    /// Those with a smaller `n`.
    Before(u64),
    /// Those with a greater `n`.
    After(u64),
}

/// A page of [`ListMessages`].
#[derive(Clone, Debug)]
pub struct MessagePage {
    /// In the order of `n`.
    pub messages: Vec<Message>,
    /// Where the next page in the same direction begins; `None` at the end.
    pub next: Option<PagePoint>,
}

/// What a legacy socket needs when it opens. `NotFound` if there is no such receiver, or a block in between.
#[derive(Clone, Debug)]
pub struct OpenLegacySocket {
    /// The profile that sends.
    pub sender: ProfileId,
    /// The profile that receives.
    pub receiver: ProfileId,
    /// At most this many newest messages with text, oldest first, within 256 KiB.
    pub limit: u32,
}

/// The answer to [`OpenLegacySocket`].
#[derive(Clone, Debug)]
pub struct LegacyHistory {
    /// `None` before the first message.
    pub conversation: Option<ConversationId>,
    /// The `n` of the newest message.
    pub last_n: u64,
    /// The head of the log when these messages were read: events up to it are in the list.
    pub as_of: u64,
    /// Oldest first.
    pub messages: Vec<Message>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::id::Id;
    use crate::model::system_message::SystemKind;

    fn id<K: std::fmt::Debug>() -> impl Strategy<Value = Id<K>> {
        any::<u128>().prop_map(Id::from_u128)
    }

    fn time() -> impl Strategy<Value = UnixMs> {
        (0..253_402_300_799_999u64).prop_map(UnixMs)
    }

    fn reaction() -> impl Strategy<Value = Reaction> {
        ("\\PC{1,4}", any::<u64>(), prop::collection::vec(id(), 0..3))
            .prop_map(|(emoji, count, profiles)| Reaction { emoji, count, profiles })
    }

    proptest! {
        #[test]
        fn by_hand_and_by_serde_are_the_same_bytes(
            (id, client_id, conversation) in (id(), id(), id()),
            (n, seq, rev) in any::<(u64, u64, u64)>(),
            sender in prop::option::of(id()),
            // Everything a text can hold: quotes, backslashes, controls, all planes.
            body in prop::option::of(".*|[\\x00-\\x7f]{0,40}"),
            reply_to in prop::option::of(id()),
            reactions in prop::collection::vec(reaction(), 0..3),
            created_at in time(),
            (edited_at, deleted_at) in (prop::option::of(time()), prop::option::of(time())),
            with_file in any::<bool>(),
            mentions in prop::collection::vec(prop::option::of(id()), 0..3),
            title in prop::option::of(prop::option::of("\\PC*")),
            (forwarded, pinned) in any::<(bool, bool)>(),
        ) {
            let file = Attachment {
                id: Id::from_u128(n.into()),
                name: "a \"name\".png".to_owned(),
                mime: "image/png".into(),
                size: n,
                width: Some(3),
                height: None,
                alt: Some("a \"picture\"".to_owned()),
                duration_ms: None,
                url: "/u?x=1".to_owned(),
                preview: Some("/u?x=2".to_owned()),
            };
            let message = Message {
                id, client_id, conversation, n, seq, rev, sender, body,
                attachments: with_file.then_some(file).into_iter().collect(),
                reply_to, reactions, mentions: mentions.into_iter().map(|who| who.map_or(Mention::All, Mention::Profile)).collect(),
                forwarded, pinned,
                system: title.map(|title| {
                    Box::new(SystemMessage { kind: SystemKind::Renamed, profiles: vec![Id::from_u128(n.into())], count: n, title })
                }),
                created_at, edited_at, deleted_at, damaged: n % 2 == 1,
            };
            let mut written = Vec::new();
            message.write(&mut written);
            prop_assert_eq!(String::from_utf8(written), String::from_utf8(json::to_vec(&message)));
            for count in 0..3 {
                let page = vec![message.clone(); count];
                prop_assert_eq!(String::from_utf8(write_all(&page)), String::from_utf8(json::to_vec(&page)));
            }
        }
    }
}
