//! The model of invites: who may make, revoke and use one, and who is in a group by it.
//!
//! Invariant: a code is never used more often than its invite says, and it lets nobody into a group twice.

use std::collections::{BTreeMap, BTreeSet};

use natter::base::time::UnixMs;
use natter::model::id::{ConversationId, InviteId, MemberId, ProfileId};
use natter::model::invite::{CreateInvite, InviteHash, RevokeInvite, UseInvite};
use natter::model::member::SignUp;
use natter::model::operation::{Answer, Lane, Outcome, Refusal};

use super::answer_checker::check;
use super::reference::{Model, What};

#[derive(Debug)]
struct Invited {
    hash: InviteHash,
    conversation: ConversationId,
    maker: ProfileId,
    uses: u64,
    uses_max: u64,
    expires_at: UnixMs,
}

#[derive(Default)]
pub struct Invites {
    /// How often one was used.
    pub taken: u64,
    open: BTreeMap<InviteId, Invited>,
    /// Whom an admin removed from a group, and no admin has added since then and seen leave.
    removed: BTreeSet<(ConversationId, ProfileId)>,
}

impl Invites {
    /// Those that a profile made.
    pub fn of(&self, maker: ProfileId) -> BTreeSet<InviteId> {
        self.open.iter().filter(|(_, invite)| invite.maker == maker).map(|(id, _)| *id).collect()
    }

    /// A membership ended; `removed`: an admin ended it.
    pub fn left(&mut self, conversation: ConversationId, profile: ProfileId, removed: bool) {
        if removed {
            self.removed.insert((conversation, profile));
        } else {
            self.removed.remove(&(conversation, profile));
        }
        self.no_admin(conversation, profile);
    }

    /// A profile is no admin of a group any more.
    pub fn no_admin(&mut self, conversation: ConversationId, profile: ProfileId) {
        self.open.retain(|_, invite| (invite.conversation, invite.maker) != (conversation, profile));
    }
}

impl Model {
    fn may_invite(&self, by: Option<MemberId>, conversation: ConversationId) -> Result<ProfileId, Refusal> {
        let maker = self.profile_of[&by.expect("a member")];
        if self.is_gone(maker) {
            return Err(Refusal::Unauthorized);
        }
        let group = self.in_group(maker, conversation)?;
        if group.admins.contains(&maker) { Ok(maker) } else { Err(Refusal::NotAllowed) }
    }

    pub(super) fn create_invite(&mut self, create: &CreateInvite, outcome: &Outcome) {
        let conversation = create.conversation.expect("the clients invite to groups");
        let maker = self.may_invite(create.by, conversation);
        check(outcome, maker.map(|_| ()), 0, "invite.create");
        let Ok(maker) = maker else { return };
        // The store keeps none of this maker that can't be used.
        self.invites.open.retain(|_, invite| {
            invite.maker != maker || invite.uses < invite.uses_max && invite.expires_at > create.at
        });
        let (hash, uses_max, expires_at) = (create.hash, create.uses_max, create.expires_at);
        let invite = Invited { hash, conversation, maker, uses: 0, uses_max, expires_at };
        assert!(self.invites.open.insert(create.id, invite).is_none(), "an id twice");
    }

    pub(super) fn revoke_invite(&mut self, revoke: &RevokeInvite, outcome: &Outcome) {
        let known = self.invites.open.get(&revoke.invite);
        let expect = match known.map(|invite| self.may_invite(revoke.by, invite.conversation)) {
            Some(Ok(_)) => Ok(()),
            Some(Err(Refusal::Unauthorized)) => Err(Refusal::Unauthorized),
            Some(Err(_)) | None => Err(Refusal::NotFound),
        };
        check(outcome, expect, 0, "invite.revoke");
        if expect.is_ok() {
            self.invites.open.remove(&revoke.invite);
        }
    }

    /// What the invite of a sign-up permits, if one was presented.
    pub(super) fn invite_of(&self, sign_up: &SignUp) -> Option<Result<Option<InviteId>, Refusal>> {
        let (at, profile) = (sign_up.account.at, sign_up.account.profile);
        sign_up.invite.map(|invite| self.lets_in(&UseInvite { at, profile, invite }))
    }

    /// The group that a profile joins by a code, or why it does not; `None` if it is in the group.
    fn lets_in(&self, used: &UseInvite) -> Result<Option<InviteId>, Refusal> {
        if self.is_gone(used.profile) {
            return Err(Refusal::Unauthorized);
        }
        let invalid = Refusal::Invalid("invite");
        let is_open = |invite: &Invited| {
            invite.hash == used.invite.hash && invite.uses < invite.uses_max && invite.expires_at > used.at
        };
        let (id, invite) = self.invites.open.iter().find(|(_, invite)| is_open(invite)).ok_or(invalid)?;
        if self.conversations[&invite.conversation].has(used.profile) {
            return Ok(None);
        }
        let is_out = self.invites.removed.contains(&(invite.conversation, used.profile));
        if is_out || self.is_blocked(invite.maker, used.profile) { Err(invalid) } else { Ok(Some(*id)) }
    }

    pub(super) fn use_invite(&mut self, lane: Lane, used: &UseInvite, outcome: &Outcome) {
        let expect = self.lets_in(used);
        let joins = matches!(expect, Ok(Some(_)));
        check(outcome, expect.map(|_| ()), 2 * usize::from(joins), "invite.use");
        if let Ok(Answer::UseInvite(conversation)) = &outcome.result {
            let conversation = conversation.as_ref().as_ref().expect("the group");
            assert!(joins || self.conversations[&conversation.id].has(used.profile), "the wrong group");
        }
        if let Ok(Some(id)) = expect {
            self.joined(lane, id, used.profile, outcome, used.at);
        }
    }

    pub(super) fn joined(
        &mut self,
        lane: Lane,
        id: InviteId,
        profile: ProfileId,
        outcome: &Outcome,
        at: UnixMs,
    ) {
        let [event, told] = &*outcome.events else {
            panic!("the events of one who joins: {:?}", outcome.events)
        };
        let invite = self.invites.open.get_mut(&id).expect("an open invite");
        (invite.uses, self.invites.taken) = (invite.uses + 1, self.invites.taken + 1);
        assert!(invite.uses <= invite.uses_max, "a code was used too often");
        let conversation = invite.conversation;
        let group = self.conversation(conversation);
        assert!(!group.has(profile), "in the group twice");
        group.join(profile, event.seq);
        // Earlier messages count as read.
        let last_n = group.messages.len() as u64;
        group.mark(profile, event.seq, last_n);
        let audience = group.members();
        let what = What::Added { conversation, profile, admin: false };
        self.record(lane, event, what, audience);
        self.told(told, conversation, profile, "joined", &[], at);
    }
}
