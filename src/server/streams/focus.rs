//! What the devices of a person show at the moment: an ephemeral statement of each WebSocket, which no one else sees.
//!
//! Invariant: a stream shows at most one conversation, and none once it has ended.

use std::collections::BTreeMap;

use crate::model::id::{ConversationId, ProfileId};

/// How many streams of a profile show a conversation. At most one entry for each stream.
#[derive(Default)]
pub struct Focus(BTreeMap<(ProfileId, ConversationId), usize>);

impl Focus {
    /// A stream of the profile shows `to` instead of `from`.
    pub fn change(&mut self, profile: ProfileId, from: Option<ConversationId>, to: Option<ConversationId>) {
        if let Some(conversation) = to {
            *self.0.entry((profile, conversation)).or_default() += 1;
        }
        if let Some(conversation) = from
            && let Some(count) = self.0.get_mut(&(profile, conversation))
        {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&(profile, conversation));
            }
        }
    }

    /// How many conversations are shown, each counted for each profile.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The conversations that streams of the profile show.
    pub fn shown(&self, profile: ProfileId) -> impl Iterator<Item = ConversationId> {
        let first = (profile, ConversationId::from_u128(0));
        self.0
            .range(first..)
            .map(|(shown, _)| *shown)
            .take_while(move |shown| shown.0 == profile)
            .map(|shown| shown.1)
    }

    pub fn is_shown(&self, profile: ProfileId, conversation: ConversationId) -> bool {
        self.0.contains_key(&(profile, conversation))
    }
}
