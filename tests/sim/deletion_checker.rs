//! Checks account.delete: what ends with an account, and that its messages stay without a sender or become tombstones.
//!
//! Owns which profiles are deleted. Invariant: a deleted account changes nothing, and no later answer names it.

use std::collections::{BTreeMap, BTreeSet};

use natter::model::event::Fact;
use natter::model::id::{ConversationId, ProfileId, SessionId};
use natter::model::member::{DeleteAccount, Erased, Leftovers};
use natter::model::operation::{Answer, Lane, Outcome, Refusal, Write};

use super::answer_checker::check;
use super::history::Message;
use super::reference::{Model, What};

#[derive(Default)]
pub struct Deletions {
    /// The deleted profiles, and the head of the log after each deletion.
    gone: BTreeMap<ProfileId, u64>,
    /// Those of them whose messages are to be erased.
    erasing: BTreeSet<ProfileId>,
}

/// On whose behalf a write is.
fn actor(write: &Write) -> Option<ProfileId> {
    match write {
        Write::PostMessage(post) => post.draft.sender,
        Write::ForwardMessage(forward) => forward.post.draft.sender,
        Write::PinMessage(pin) => Some(pin.actor),
        Write::EditMessage(edit) => Some(edit.actor),
        Write::DeleteMessage(delete) => Some(delete.actor),
        Write::React(react) => Some(react.actor),
        Write::MarkRead(mark) => Some(mark.reader),
        Write::CreateConversation(create) => Some(create.creator),
        Write::UpdateConversation(update) => Some(update.actor),
        Write::PutMember(put) => Some(put.actor),
        Write::RemoveMember(remove) => Some(remove.actor),
        Write::SetBlock(block) => Some(block.blocker),
        Write::UpdateProfile(update) => Some(update.profile),
        Write::PublishUpload(publish) => Some(publish.owner),
        Write::UpdateUpload(update) => Some(update.actor),
        Write::DeleteUpload(delete) => Some(delete.actor),
        _ => None,
    }
}

impl Model {
    pub fn is_gone(&self, profile: ProfileId) -> bool {
        self.deletions.gone.contains_key(&profile)
    }

    /// Whether a profile was deleted at a seq, as a client may know.
    pub fn was_gone(&self, profile: ProfileId, seq: u64) -> bool {
        self.deletions.gone.get(&profile).is_some_and(|since| *since <= seq)
    }

    /// Whether this write is one of a deleted account, which changes nothing.
    pub(super) fn is_of_nobody(&self, write: &Write, outcome: &Outcome) -> bool {
        let is_member_gone =
            |member| self.profile_of.get(member).is_some_and(|profile| self.is_gone(*profile));
        let is_gone = match write {
            Write::OpenSession(open) => is_member_gone(&open.member),
            Write::IssueVerifyCode(issue) => is_member_gone(&issue.member),
            Write::SetDigest(set) => is_member_gone(&set.member),
            write => actor(write).is_some_and(|actor| self.is_gone(actor)),
        };
        if is_gone {
            assert!(outcome.events.is_empty(), "an event of a deleted account: {}", write.name());
            let is_change = !matches!(write, Write::IssueVerifyCode(_));
            assert!(outcome.result.is_err() || !is_change, "{} of a deleted account", write.name());
        }
        is_gone
    }

    pub(super) fn account_deleted(&mut self, lane: Lane, delete: &DeleteAccount, outcome: &Outcome) {
        let profile = self.profile_of[&delete.member];
        if self.is_gone(profile) {
            return check(outcome, Err(Refusal::Unauthorized), 0, "account.delete");
        }
        assert!(outcome.result.is_ok(), "account.delete: {:?}", outcome.result);
        let own = self.sessions.iter().filter(|(_, session)| session.profile == profile && !session.ended);
        let mut sessions: BTreeSet<SessionId> = own.map(|(id, _)| *id).collect();
        let of = self.of(profile).map(|(id, conversation)| (id, conversation.is_group));
        let (mut groups, mut directs) = (BTreeSet::new(), BTreeMap::new());
        for (id, is_group) in of.collect::<Vec<(ConversationId, bool)>>() {
            let peer = self.conversations[&id].joined.iter().copied().find(|other| *other != profile);
            match peer {
                _ if is_group => drop(groups.insert(id)),
                Some(peer) => drop(directs.insert(id, peer)),
                None => {}
            }
            if !is_group {
                self.conversation(id).lose(profile);
            }
        }
        let mut events = outcome.events.iter().peekable();
        while let Some(event) = events.next() {
            match &event.fact {
                Fact::SessionEnded(ended) => {
                    assert!(sessions.remove(&ended.session), "a session ends twice");
                    self.end_session(lane, ended.session, event);
                }
                Fact::MemberRemoved(removed) => {
                    assert!(groups.remove(&removed.conversation), "a group is left twice");
                    let mut left = vec![event];
                    left.extend(events.next());
                    if let Some(promotion) = events.next_if(|next| matches!(&next.fact, Fact::MemberAdded(_)))
                    {
                        left.push(promotion);
                        left.extend(events.next());
                    }
                    self.left(lane, (profile, profile), removed.conversation, &left, delete.at);
                }
                Fact::ConversationUpdated(brief) => {
                    let peer = directs.remove(&brief.id).expect("a direct conversation, once");
                    let what = What::Updated { conversation: brief.id };
                    self.record(lane, event, what, BTreeSet::from([peer]));
                }
                fact => panic!("account.delete: {fact:?}"),
            }
        }
        assert!(sessions.is_empty() && groups.is_empty() && directs.is_empty(), "what ends with an account");
        self.blocks.retain(|(by, other)| *by != profile && *other != profile);
        self.profiles.remove(&profile);
        self.emails.remove(&self.mails.emails[&delete.member]);
        self.mails_erased(delete.member);
        self.uploads_erased(profile);
        self.deletions.gone.insert(profile, self.head);
        if delete.leftovers == Leftovers::Erase {
            self.deletions.erasing.insert(profile);
        }
    }

    /// A step of the erasure of messages.
    pub(super) fn messages_erased(&mut self, lane: Lane, outcome: &Outcome) {
        let Ok(Answer::EraseMessages(erased)) = outcome.result else { panic!("{:?}", outcome.result) };
        for event in &outcome.events {
            let Fact::MessageDeleted(message) = &event.fact else { panic!("{:?}", event.fact) };
            let known = self.message(message.seq).expect("a message");
            let (sender, is_deleted) = (known.sender, known.is_deleted());
            assert!(self.deletions.erasing.contains(&sender) && !is_deleted, "{} is erased", message.seq);
            self.tombstone(lane, event, message.seq);
        }
        assert!(erased == Erased::Some || self.to_erase().is_none(), "not all is erased");
    }

    /// A message that was deleted with its account and still has its text.
    pub fn to_erase(&self) -> Option<u64> {
        let mut all = self.conversations.values().flat_map(|conversation| &conversation.messages);
        // Of a system message only the title is erased.
        let is_left = |message: &&Message| {
            let has_content = message.now().system.as_ref().is_none_or(|system| system.title.is_some());
            self.deletions.erasing.contains(&message.sender) && !message.is_deleted() && has_content
        };
        all.find(is_left).map(|message| message.seq)
    }

    /// How many accounts were deleted.
    pub fn deletions(&self) -> u64 {
        self.deletions.gone.len() as u64
    }
}
