//! A message and what may be asked of messages.
//! `n` is its dense place in its conversation, `seq` its place in the server's one total order, `rev` the seq of
//! its last change: a client keeps the greater.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::id::{ClientId, ConversationId, MessageId, ProfileId, UploadId};
use super::upload::Attachment;
use crate::base::id::ID_LEN;
use crate::base::json::{self, push_key, push_plain, push_plain_or_null, push_text};
use crate::base::secret::Secret;
use crate::base::time::{rfc3339, rfc3339_digits};

/// Unix milliseconds; RFC 3339 on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(self.0))
    }
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Message {
    pub id: MessageId,
    pub client_id: ClientId,
    pub conversation: ConversationId,
    pub n: u64,
    pub seq: u64,
    pub rev: u64,
    /// A profile; `None` once its account is deleted.
    pub sender: Option<ProfileId>,
    /// `None` for a tombstone and for a message of attachments only.
    pub body: Option<String>,
    pub attachments: Vec<Attachment>,
    pub reply_to: Option<MessageId>,
    pub reactions: Vec<Reaction>,
    pub created_at: Time,
    pub edited_at: Option<Time>,
    pub deleted_at: Option<Time>,
    /// Something of it can't be read any more: its text is `None`, and it is no tombstone.
    #[serde(skip_serializing_if = "is_false")]
    pub damaged: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Message {
    /// Appends its JSON, the bytes [`Serialize`] gives it (a test holds them equal): every post is written as an answer and
    /// as an event, and by way of serde that is a third of the loop's work.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":");
        push_plain(out, &self.id.text());
        push_key!(out, "client_id");
        push_plain(out, &self.client_id.text());
        push_key!(out, "conversation");
        push_plain(out, &self.conversation.text());
        push_key!(out, "n");
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
        push_key!(out, "attachments");
        json::write(out, &self.attachments);
        push_key!(out, "reply_to");
        push_plain_or_null(out, self.reply_to.map(|id| id.text()).as_ref().map(<[u8; ID_LEN]>::as_slice));
        push_key!(out, "reactions");
        json::write(out, &self.reactions);
        push_key!(out, "created_at");
        push_plain(out, &rfc3339_digits(self.created_at.0));
        push_key!(out, "edited_at");
        json::write(out, &self.edited_at);
        push_key!(out, "deleted_at");
        json::write(out, &self.deleted_at);
        if self.damaged {
            out.extend_from_slice(b",\"damaged\":true");
        }
        out.push(b'}');
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Reaction {
    /// Fully qualified.
    pub emoji: String,
    pub count: u64,
    /// The first 50.
    pub profiles: Vec<ProfileId>,
}

/// Where a post goes: to a conversation, or to a profile, whose direct conversation the first message makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    Conversation(ConversationId),
    To(ProfileId),
}

/// The `client_id` is looked up before anything else is judged: a repeat answers the original.
#[derive(Clone, Debug)]
pub struct PostMessage {
    /// The message as far as its asker knows it: sender, client_id, body, reply_to, and in `created_at` the time it is asked
    /// at. Storage completes it in place, and hands out this very paper: id, conversation, n, seq, rev, attachments, and a
    /// `created_at` that is not before the newest message's. What is left a message has only later.
    ///
    /// So a post is moved a dozen times as little more than a pointer, and who brings the memory also gives it back: made by
    /// one thread and freed by another it has both wait for the allocator, a tenth of the loop's time with a thousand posts
    /// under way. Nobody else holds a draft; one that somebody does is copied.
    pub draft: Arc<Message>,
    pub destination: Destination,
    /// The uploads it shows, by name: what is shown of them only storage knows.
    pub attachments: Box<[UploadId]>,
    /// The id of the direct conversation, should this message be its first.
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

#[derive(Clone, Debug)]
pub struct Posted {
    pub message: PostedMessage,
    /// This sender posted this `client_id` before; `message` is the original.
    pub duplicate: bool,
}

#[derive(Clone, Debug)]
pub enum PostedMessage {
    Complete(Arc<Message>),
    /// All that one who has left the conversation gets of the original.
    Left(Box<PostedStub>),
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct PostedStub {
    pub id: MessageId,
    pub client_id: ClientId,
    pub n: u64,
    pub seq: u64,
}

/// `NotFound` unless `viewer` is a member of its conversation.
#[derive(Clone, Debug)]
pub struct GetMessage {
    pub viewer: ProfileId,
    pub message: MessageId,
}

/// By its sender; `NotAllowed` for anyone else, for a deleted message and between two of whom one blocked the other.
#[derive(Clone, Debug)]
pub struct EditMessage {
    pub at: u64,
    pub actor: ProfileId,
    pub message: MessageId,
    pub body: String,
}

/// By its sender or an admin of its group. Body, reactions and attachments are erased; `n` stays. Deleting what is deleted
/// is done already.
#[derive(Clone, Debug)]
pub struct DeleteMessage {
    pub at: u64,
    pub actor: ProfileId,
    pub message: MessageId,
}

/// Adds (`on`) or takes back one's reaction. `Invalid("emoji")` beyond 20 different ones on a message, and for what is no
/// emoji and was no reaction of before either.
#[derive(Clone, Debug)]
pub struct React {
    pub at: u64,
    pub actor: ProfileId,
    pub message: MessageId,
    /// In its bare form.
    pub emoji: String,
    pub on: bool,
}

/// In the messages of one conversation, or of all of the viewer's.
#[derive(Clone, Debug)]
pub struct SearchMessages {
    pub viewer: ProfileId,
    pub query: Secret,
    pub conversation: Option<ConversationId>,
    /// A seq, exclusive.
    pub before: Option<u64>,
    pub limit: u32,
}

/// Newest first.
#[derive(Clone, Debug)]
pub struct FoundMessages {
    pub messages: Vec<Message>,
    /// Messages below this seq were not looked at; there may be one even where this page is empty.
    pub next: Option<u64>,
    /// `false`: older messages were passed over, since the index is being made anew.
    pub complete: bool,
}

/// A page in `n` order. `NotFound` unless `viewer` is a member.
#[derive(Clone, Debug)]
pub struct ListMessages {
    pub viewer: ProfileId,
    pub conversation: ConversationId,
    pub at: PagePoint,
    pub limit: u32,
}

/// Which end of the history a page hangs on; the number is an `n`, exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagePoint {
    Newest,
    Before(u64),
    After(u64),
}

#[derive(Clone, Debug)]
pub struct MessagePage {
    pub messages: Vec<Message>,
    /// Where the next page in the same direction hangs; `None` at the end.
    pub next: Option<PagePoint>,
}

/// What a Go-form socket needs on open: `NotFound` when there is no such receiver (or one is blocked).
#[derive(Clone, Debug)]
pub struct OpenLegacySocket {
    pub sender: ProfileId,
    pub receiver: ProfileId,
    /// At most this many newest messages with text, oldest first, within 256 KiB.
    pub limit: u32,
}

#[derive(Clone, Debug)]
pub struct LegacyHistory {
    /// `None` before the first message.
    pub conversation: Option<ConversationId>,
    pub last_n: u64,
    /// The log's head these messages were read at: live events up to it are in the list.
    pub as_of: u64,
    pub messages: Vec<Message>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::id::Id;

    fn id<K: std::fmt::Debug>() -> impl Strategy<Value = Id<K>> {
        any::<u128>().prop_map(Id::from_u128)
    }

    fn time() -> impl Strategy<Value = Time> {
        (0..253_402_300_799_999u64).prop_map(Time)
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
        ) {
            let file = Attachment {
                id: Id::from_u128(n.into()),
                name: "a \"name\".png".to_owned(),
                mime: "image/png".into(),
                size: n,
                width: Some(3),
                height: None,
                url: "/u?x=1".to_owned(),
            };
            let message = Message {
                id, client_id, conversation, n, seq, rev, sender, body,
                attachments: with_file.then_some(file).into_iter().collect(),
                reply_to, reactions, created_at, edited_at, deleted_at, damaged: n % 2 == 1,
            };
            let mut written = Vec::new();
            message.write(&mut written);
            prop_assert_eq!(String::from_utf8(written), String::from_utf8(json::to_vec(&message)));
        }
    }
}
