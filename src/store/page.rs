//! The limits of a page: the number of items, and the bytes they take as JSON.
//!
//! Invariant: a page has at least one item if there is one, so that paging always makes progress.

use crate::base::json;
use crate::limits::PAGE_BYTES_MAX;
use crate::model::conversation::Conversation;
use crate::model::event::Fact;
use crate::model::message::Message;
use crate::model::profile::Profile;
use crate::model::upload::Attachment;

/// Bytes of the keys, ids, times and punctuation of the objects of [`protocol`](crate::protocol), rounded up.
const MESSAGE_BYTES: usize = 400;
const ATTACHMENT_BYTES: usize = 600;
const REACTION_BYTES: usize = 64;
const ID_BYTES: usize = 29;
const CONVERSATION_BYTES: usize = 300;
const PROFILE_BYTES: usize = 400;
const EVENT_BYTES: usize = 96;

/// The remaining budget of one page.
pub struct Budget {
    items: usize,
    bytes: usize,
    first: bool,
}

impl Budget {
    pub fn new(items: u32) -> Budget {
        Budget { items: items as usize, bytes: PAGE_BYTES_MAX, first: true }
    }

    /// Whether the page's item limit is reached.
    pub fn is_spent(&self) -> bool {
        self.items == 0
    }

    /// Counts an item if it fits on the page. Returns whether it does.
    pub fn take(&mut self, bytes: usize) -> bool {
        if self.items == 0 || (bytes > self.bytes && !self.first) {
            return false;
        }
        self.items -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        self.first = false;
        true
    }
}

/// Bytes of a text between its quotes: JSON writes a control character as up to six bytes.
fn text_bytes(text: &str) -> usize {
    if json::is_plain(text) {
        return text.len();
    }
    let escapes = text.bytes().map(|byte| match byte {
        b'"' | b'\\' => 1,
        0..0x20 => 5,
        _ => 0,
    });
    text.len() + escapes.sum::<usize>()
}

pub fn attachment_bytes(file: &Attachment) -> usize {
    ATTACHMENT_BYTES + 4 * file.name.len() + file.alt.as_deref().map_or(0, text_bytes)
}

pub fn message_bytes(message: &Message) -> usize {
    let attachments = message.attachments.iter().map(attachment_bytes);
    let reactions = message
        .reactions
        .iter()
        .map(|each| REACTION_BYTES + each.emoji.len() + ID_BYTES * each.profiles.len());
    MESSAGE_BYTES
        + message.body.as_deref().map_or(0, text_bytes)
        + ID_BYTES * message.mentions.len()
        + message.system.as_deref().map_or(0, |system| {
            ID_BYTES * (1 + system.profiles.len()) + system.title.as_deref().map_or(0, text_bytes)
        })
        + attachments.sum::<usize>()
        + reactions.sum::<usize>()
}

pub fn profile_bytes(profile: &Profile) -> usize {
    PROFILE_BYTES + text_bytes(&profile.display_name)
}

pub fn conversation_bytes(conversation: &Conversation) -> usize {
    CONVERSATION_BYTES
        + conversation.title.as_deref().map_or(0, text_bytes)
        + conversation.peer.as_ref().map_or(0, profile_bytes)
        + conversation.last_message.as_ref().map_or(0, message_bytes)
}

pub fn chat_bytes(text: &str, receiver: &[Profile]) -> usize {
    CONVERSATION_BYTES + text_bytes(text) + receiver.iter().map(profile_bytes).sum::<usize>()
}

pub fn fact_bytes(fact: &Fact) -> usize {
    EVENT_BYTES
        + match fact {
            Fact::MessagePosted(message)
            | Fact::MessageEdited(message)
            | Fact::MessageDeleted(message)
            | Fact::MessageReacted(message)
            | Fact::MessagePinned(message) => message_bytes(message),
            Fact::ConversationCreated(brief) | Fact::ConversationUpdated(brief) => {
                CONVERSATION_BYTES + brief.title.as_deref().map_or(0, text_bytes)
            }
            Fact::ProfileUpdated(profile) => profile_bytes(profile),
            Fact::ConversationRead(_)
            | Fact::MemberAdded(_)
            | Fact::MemberRemoved(_)
            | Fact::SessionEnded(_) => 3 * ID_BYTES,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_at_its_items_or_its_bytes_but_has_one() {
        // Items, bytes of each offered, how many are taken.
        let rows: &[(u32, &[usize], usize)] = &[
            (0, &[1], 0),
            (2, &[1, 1, 1], 2),
            (9, &[PAGE_BYTES_MAX + 1, 1], 1),
            (9, &[PAGE_BYTES_MAX - 1, 1, 1], 2),
            (9, &[PAGE_BYTES_MAX, 1], 1),
            (9, &[1, PAGE_BYTES_MAX], 1),
        ];
        for (items, offered, taken) in rows {
            let mut budget = Budget::new(*items);
            assert_eq!(
                offered.iter().take_while(|bytes| budget.take(**bytes)).count(),
                *taken,
                "{offered:?}"
            );
        }
    }

    #[test]
    fn the_budget_of_a_text_covers_its_json() {
        for text in ["plain", "\"\\", "\n\u{1}\u{1f}", "é\u{7f}", "\u{2028}"] {
            let written = json::to_vec(text).len() - 2;
            assert!(text_bytes(text) >= written, "{text:?}");
        }
    }
}
