//! Checks a backup: a copy that was made while the server works holds what the model says, and begins a new history.
//!
//! Owns what is compared. Leaves it to the runtime to make the copy and to open it.

use natter::base::time::UnixMs;
use natter::model::conversation::ListConversations;
use natter::model::id::{ConversationId, MessageId, ProfileId};
use natter::model::message::{ListMessages, PagePoint};
use natter::model::operation::{Answer, Read, Start};
use natter::store::Reader;

use super::reference::Model;

/// More than any run has.
const LIMIT: u32 = 1_000;

impl Model {
    /// Each person reads all of a copy.
    pub fn check_copy(&self, start: &Start, reader: &mut Reader) {
        assert_eq!(start.head, self.head, "the head of a copy");
        for viewer in &self.profiles {
            let list = ListConversations {
                at: UnixMs(0),
                viewer: *viewer,
                after: None,
                archived: None,
                limit: LIMIT,
            };
            let Ok(Answer::ListConversations(page)) = reader.read(list.into()) else { panic!("no list") };
            let mut found: Vec<(ConversationId, u64, u64)> =
                page.conversations.iter().map(|one| (one.id, one.last_n, one.unread)).collect();
            found.sort_unstable();
            let known: Vec<(ConversationId, u64, u64)> = self
                .of(*viewer)
                .filter(|(_, one)| !one.preferences(*viewer, self.head)[4])
                .map(|(id, one)| (id, one.messages.len() as u64, one.unread(*viewer, self.head)))
                .collect();
            assert_eq!(found, known, "the conversations of a copy");
            known.iter().for_each(|(conversation, ..)| self.check_copied(*viewer, *conversation, reader));
        }
    }

    fn check_copied(&self, viewer: ProfileId, conversation: ConversationId, reader: &mut Reader) {
        let list =
            ListMessages { viewer, conversation, at: PagePoint::After(0), pinned: false, limit: LIMIT };
        let Ok(Answer::ListMessages(page)) = reader.read(Read::from(list)) else { panic!("no page") };
        let found: Vec<(MessageId, u64, Option<String>)> =
            page.messages.into_iter().map(|message| (message.id, message.rev, message.body)).collect();
        let known = self.conversations[&conversation].messages.iter();
        let hidden = self.conversations[&conversation].first_n(viewer) as usize - 1;
        let known: Vec<(MessageId, u64, Option<String>)> = known
            .skip(hidden)
            .map(|message| (message.id, message.now().rev, message.now().body.clone()))
            .collect();
        assert_eq!(found, known, "the messages of {conversation} in a copy");
    }
}
