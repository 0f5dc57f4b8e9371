//! Checks outcomes: applies the rules of `protocol.md` to what is committed, predicts each outcome and compares it.
//!
//! Owns what a command does. Does not know how the store does it.

use std::collections::BTreeSet;

use natter::base::id::Id;
use natter::base::time::UnixMs;
use natter::model::conversation::{CreateConversation, History, PutMember, RemoveMember, UpdateConversation};
use natter::model::event::{Event, Fact, Role};
use natter::model::id::{ClientId, ConversationId, MessageId, ProfileId, SessionId, UploadId};
use natter::model::message::{
    DeleteMessage, Destination, EditMessage, ForwardMessage, PinMessage, PostMessage, Posted, PostedMessage,
    React,
};
use natter::model::operation::{Answer, Lane, Outcome, Refusal, Write};
use natter::model::preferences::ClearConversation;
use natter::model::profile::{Profile, UpdateProfile};
use natter::model::session::{NewSession, RefreshSession};
use natter::store::Fault;

use super::history::{Conversation, Message, Own, System, Version};
use super::reference::{Logged, Model, Name, Session, What, pair};
use super::sabotage;

/// Maximum of different emoji on one message (`protocol.md`, message.react).
const EMOJI_MAX: usize = 20;
/// Pinned messages of a conversation (`protocol.md`, message.pin).
const PINNED_MAX: usize = 100;

/// The sender of a post. The clients write no draft without one.
fn sender(post: &PostMessage) -> ProfileId {
    post.draft.sender.expect("a sender")
}

/// The key of a post: a repeat has the same.
fn key_of(post: &PostMessage) -> (ProfileId, ClientId) {
    (sender(post), post.draft.client_id)
}

impl Model {
    /// Applies a batch and its outcomes. `failed`: why the transaction did not reach the disk, if it did not.
    pub fn committed(
        &mut self,
        commands: &[(Lane, Write)],
        outcomes: &[Outcome],
        failed: Option<Fault>,
        sabotaged: bool,
    ) {
        if let Some(fault) = failed {
            let refusal = if fault == Fault::Full { Refusal::StorageFull } else { Refusal::Unavailable };
            for ((_, command), outcome) in commands.iter().zip(outcomes) {
                assert_eq!(outcome.result.as_ref().err(), Some(&refusal), "{}", command.name());
                assert!(outcome.events.is_empty(), "an event of a failed transaction");
            }
            return;
        }
        let mut closed = BTreeSet::new();
        for ((lane, command), outcome) in commands.iter().zip(outcomes) {
            if closed.contains(lane) {
                assert_eq!(
                    outcome.result.as_ref().err(),
                    Some(&Refusal::Unavailable),
                    "{} overtook a failed command of its lane",
                    command.name()
                );
                continue;
            }
            self.apply(*lane, command, outcome, sabotaged);
            if outcome.result.as_ref().is_err_and(|refusal| refusal.is_fault()) {
                closed.insert(*lane);
            }
        }
    }

    fn apply(&mut self, lane: Lane, write: &Write, outcome: &Outcome, sabotaged: bool) {
        let head = self.head;
        for event in &outcome.events {
            assert!(event.seq > self.head, "seq {} after {}", event.seq, self.head);
            self.head = event.seq;
        }
        if self.is_of_nobody(write, outcome) {
            match write {
                Write::PostMessage(post) => drop(self.refused.insert(key_of(post))),
                Write::ForwardMessage(forward) => drop(self.refused.insert(key_of(&forward.post))),
                _ => {}
            }
            return;
        }
        match write {
            Write::DeleteAccount(delete) => self.account_deleted(lane, delete, outcome),
            Write::EraseMessages(_) => self.messages_erased(lane, outcome),
            Write::EraseOld(erase) => self.old_erased(lane, erase, outcome, head),
            Write::PostMessage(post) => self.post(lane, post, outcome, sabotaged),
            Write::ForwardMessage(forward) => self.forward(lane, forward, outcome, sabotaged),
            Write::PinMessage(pin) => self.pin(lane, pin, outcome),
            Write::EditMessage(edit) => self.edit(lane, edit, outcome),
            Write::DeleteMessage(delete) => self.delete(lane, delete, outcome),
            Write::React(react) => self.react(lane, react, outcome),
            Write::MarkRead(mark) => self.mark_read(lane, mark.reader, mark.conversation, mark.n, outcome),
            Write::CreateConversation(create) => self.create(lane, create, outcome),
            Write::UpdateConversation(update) => self.update(lane, update, outcome),
            Write::ClearConversation(clear) => self.clear(lane, clear, outcome),
            Write::PutMember(put) => self.put_member(lane, put, outcome),
            Write::CreateInvite(create) => self.create_invite(create, outcome),
            Write::RevokeInvite(revoke) => self.revoke_invite(revoke, outcome),
            Write::UseInvite(used) => self.use_invite(lane, used, outcome),
            Write::RemoveMember(remove) => self.remove_member(lane, remove, outcome),
            Write::SetBlock(block) => {
                let is_gone = self.is_gone(block.other);
                check(outcome, if is_gone { Err(Refusal::NotFound) } else { Ok(()) }, 0, "a block");
                if is_gone {
                    return;
                }
                let key = (block.blocker, block.other);
                if block.blocked {
                    self.blocks.insert(key);
                    self.ever_blocked.insert(pair(block.blocker, block.other));
                } else {
                    self.blocks.remove(&key);
                }
            }
            Write::UpdateProfile(update) => self.rename(lane, update, outcome),
            Write::SignUp(sign_up) => match &outcome.result {
                Err(Refusal::Invalid("invite")) => {
                    assert_eq!(self.invite_of(sign_up), Some(Err(Refusal::Invalid("invite"))));
                }
                Ok(answer) => {
                    let invite = self.invite_of(sign_up);
                    let Answer::SignUp(opened) = answer else { panic!("sign-up: {answer:?}") };
                    let name = name_of(&opened.account.profile);
                    assert!(!self.is_nick_taken(&name.nick_name), "{name:?} is taken");
                    self.names.insert(sign_up.account.profile, vec![(0, name)]);
                    assert!(
                        self.emails.insert(sign_up.account.email.expose().clone()),
                        "an e-mail address taken twice"
                    );
                    self.profiles.insert(sign_up.account.profile);
                    let member = sign_up.account.member;
                    self.profile_of.insert(member, sign_up.account.profile);
                    self.mails.emails.insert(member, sign_up.account.email.expose().clone());
                    self.device_is_new(member, &sign_up.session);
                    if let Some(code) = &sign_up.code {
                        self.code_issued(Some(member), code, sign_up.account.at);
                    }
                    self.open_session(sign_up.account.profile, &sign_up.session);
                    match invite {
                        Some(Ok(Some(id))) => {
                            self.joined(lane, id, sign_up.account.profile, outcome, sign_up.account.at)
                        }
                        None => check(outcome, Ok(()), 0, "a sign-up"),
                        other => panic!("a sign-up with {other:?}"),
                    }
                }
                Err(Refusal::EmailTaken) => {
                    assert!(self.emails.contains(sign_up.account.email.expose()), "a free address")
                }
                Err(refusal) => panic!("sign-up: {refusal:?}"),
            },
            Write::OpenSession(open) => {
                assert!(outcome.result.is_ok(), "sign-in: {:?}", outcome.result);
                let profile = self.profile_of[&open.member];
                self.open_session(profile, &open.session);
                if self.device_is_new(open.member, &open.session) {
                    self.mail_written(Some(open.member), &open.mail, open.at);
                }
            }
            Write::RefreshSession(refresh) => self.refresh(lane, refresh, outcome),
            Write::EndSession(end) => {
                let existed = self.sessions.get(&end.session).is_some_and(|session| !session.ended);
                check(outcome, Ok(()), usize::from(existed), "a logout");
                if existed {
                    self.end_session(lane, end.session, &outcome.events[0]);
                }
            }
            Write::Subscribe(subscribe) => self.subscribe(subscribe, outcome),
            Write::SetPushLevel(set) => self.set_push_level(set, outcome),
            Write::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe, outcome),
            Write::ForgetSubscription(gone) => {
                check(outcome, Ok(()), 0, "the end of a subscription");
                self.forget_subscription(gone);
            }
            Write::MovePushCursor(moved) => {
                check(outcome, Ok(()), 0, "the cursor of notifications");
                self.all_is_pushed(moved.through);
            }
            Write::IssueVerifyCode(issue) => {
                check(outcome, Ok(()), 0, "verify.renew");
                self.code_issued(Some(issue.member), &issue.code, issue.at);
            }
            Write::IssueResetCode(issue) => {
                check(outcome, Ok(()), 0, "reset.code");
                let member = self.mails.member(issue.email.expose());
                self.code_issued(member, &issue.code, issue.at);
            }
            Write::PublishUpload(publish) => self.upload_published(publish, outcome),
            Write::UpdateUpload(update) => self.upload_updated(update, outcome),
            Write::DeleteUpload(delete) => self.upload_deleted(delete, outcome),
            Write::ForgetFiles(forget) => self.files_forgotten(forget, outcome),
            Write::SetDigest(set) => self.digest_set(set, outcome),
            Write::WriteDigests(write) => self.digests_written(write, outcome),
            Write::MailSent(sent) => self.mail_sent(sent, outcome),
            Write::MailFailed(failed) => self.mail_failed(failed, outcome),
            Write::PlaceSession(found) => self.placed(found, outcome),
            // The server's own commands, last seen for example. Their events are accepted as they are.
            _ => {
                for event in &outcome.events {
                    let audience = event.audience.profiles.iter().copied().collect();
                    self.record(lane, event, What::Other { name: event.fact.name() }, audience);
                }
            }
        }
    }

    pub(super) fn record(&mut self, lane: Lane, event: &Event, what: What, audience: BTreeSet<ProfileId>) {
        let receivers: BTreeSet<ProfileId> = event.audience.profiles.iter().copied().collect();
        assert_eq!(receivers, audience, "the audience of {what:?}");
        assert_eq!(
            receivers.len(),
            event.audience.profiles.len(),
            "a profile is twice in the audience of {what:?}"
        );
        self.log.insert(event.seq, Logged { what, audience, lane });
    }

    pub(super) fn conversation(&mut self, id: ConversationId) -> &mut Conversation {
        self.conversations.get_mut(&id).expect("it is there")
    }

    // ---- profiles -----------------------------------------------------------------------------------

    fn is_nick_taken(&self, nick_name: &str) -> bool {
        self.profiles.iter().any(|profile| self.name(*profile, u64::MAX).nick_name == nick_name)
    }

    fn rename(&mut self, lane: Lane, update: &UpdateProfile, outcome: &Outcome) {
        let before = self.name(update.profile, u64::MAX).clone();
        let mut after = before.clone();
        let display_name = update.display_name.as_ref().map_or(&before.display_name, |name| &name.text);
        after.display_name.clone_from(display_name);
        after.nick_name.clone_from(update.nick_name.as_ref().unwrap_or(&before.nick_name));
        after.is_private = update.is_private.unwrap_or(before.is_private);
        let taken = after.nick_name != before.nick_name && self.is_nick_taken(&after.nick_name);
        let expect = if taken { Err(Refusal::NicknameTaken) } else { Ok(()) };
        let fresh = !taken && after != before;
        check(outcome, expect, usize::from(fresh), "profile.update");
        if let Ok(Answer::UpdateProfile(profile)) = &outcome.result {
            assert_eq!(name_of(profile), after, "the answer of profile.update");
        }
        if fresh {
            let event = &outcome.events[0];
            let what = What::Renamed { profile: update.profile };
            self.record(lane, event, what, self.who_sees(update.profile));
            self.names.get_mut(&update.profile).expect("a profile").push((event.seq, after));
        }
    }

    // ---- messages -----------------------------------------------------------------------------------

    fn post(&mut self, lane: Lane, post: &PostMessage, outcome: &Outcome, sabotaged: bool) {
        let may = self.may_post(post);
        let version = Version {
            body: Some(post.draft.body.clone().expect("the clients write texts")),
            reply_to: post.draft.reply_to,
            attachments: post.attachments.to_vec(),
            ..Version::default()
        };
        self.post_of(lane, post, (may, version), outcome, sabotaged);
    }

    fn forward(&mut self, lane: Lane, forward: &ForwardMessage, outcome: &Outcome, sabotaged: bool) {
        let ForwardMessage { post, message, uploads, .. } = forward;
        let me = sender(post);
        let may = self.may_post(post).and_then(|()| {
            let source = self.target(me, *message).ok();
            let good = source.is_some_and(|source| !source.is_deleted() && !source.is_system());
            if good { Ok(()) } else { Err(Refusal::Invalid("forward")) }
        });
        let mut version = Version { forwarded: true, ..Version::default() };
        if let (Ok(()), None) = (may, self.posts.get(&key_of(post))) {
            let source = self.message(message.seq()).expect("it is there").now().clone();
            // Of a deleted account the files are gone.
            let exists = |upload: &UploadId| self.upload_exists(*upload);
            let sources: Vec<UploadId> = source.attachments.into_iter().filter(exists).collect();
            (version.body, version.attachments) = (source.body, uploads[..sources.len()].to_vec());
            if outcome.result.is_ok() {
                self.uploads_shared((me, post.draft.created_at), &sources, uploads);
            }
        }
        self.post_of(lane, post, (may, version), outcome, sabotaged);
    }

    /// Checks a post, with whether it may be stored, and what its message then is.
    fn post_of(
        &mut self,
        lane: Lane,
        post: &PostMessage,
        (may, version): (Result<(), Refusal>, Version),
        outcome: &Outcome,
        sabotaged: bool,
    ) {
        let body = version.body.clone().unwrap_or_default();
        let expect: Result<Option<u64>, Refusal> = match self.posts.get(&key_of(post)) {
            Some(seq) => Ok(Some(*seq)),
            None => may.map(|()| None),
        };
        let result: Result<&Posted, Refusal> = match &outcome.result {
            Ok(Answer::PostMessage(posted) | Answer::ForwardMessage(posted)) => Ok(posted),
            Ok(other) => panic!("message.post: {other:?}"),
            Err(refusal) => Err(*refusal),
        };
        match (result, expect) {
            (Ok(posted), Ok(Some(seq))) => {
                assert!(posted.duplicate, "{} was stored twice", post.draft.client_id);
                assert!(outcome.events.is_empty(), "an event of a repeated post");
                let known = self.message(seq).expect("it is there");
                let conversation = &self.conversations[&known.conversation];
                let stays = conversation.has(sender(post)) && conversation.first_n(sender(post)) <= known.n;
                match &posted.message {
                    PostedMessage::Complete(message) => {
                        assert!(stays, "a message shown to one who has left");
                        assert_eq!((message.id, message.n, message.seq), (known.id, known.n, known.seq));
                        assert_eq!(message.body, known.now().body, "the original's text");
                    }
                    PostedMessage::Left(stub) => {
                        assert!(!stays, "a stub for a member");
                        assert_eq!((stub.id, stub.n, stub.seq), (known.id, known.n, known.seq));
                    }
                }
            }
            (Ok(posted), Ok(None)) => {
                let PostedMessage::Complete(message) = &posted.message else {
                    panic!("a stub of a fresh post")
                };
                assert!(!posted.duplicate, "{} was never stored", post.draft.client_id);
                let fails = [sabotage::STATEMENT, sabotage::COMMIT].iter().any(|tag| body.starts_with(tag));
                assert!(!(sabotaged && fails), "a failed post was answered");
                let [event] = &*outcome.events else { panic!("a post has one event") };
                let Fact::MessagePosted(posted_message) = &event.fact else { panic!("{:?}", event.fact) };
                assert_eq!(
                    (posted_message.id, posted_message.seq, posted_message.n),
                    (message.id, event.seq, message.n)
                );
                self.stored(lane, post, event, (message.id, message.conversation), version);
                let stored = self.message(event.seq).expect("it is there");
                assert_eq!((message.n, message.seq, message.id.seq()), (stored.n, event.seq, event.seq));
                let created_at = (message.created_at, message.id.unix_ms());
                assert_eq!(created_at, (stored.created_at, stored.created_at), "created_at");
            }
            (Err(refusal), Err(expected)) if refusal == expected => {
                self.refused.insert(key_of(post));
            }
            (Err(Refusal::Internal), Ok(None)) if sabotaged && body.starts_with(sabotage::STATEMENT) => {}
            (result, expect) => panic!("message.post: {result:?}, expected {expect:?}"),
        }
        assert!(outcome.result.is_ok() || outcome.events.is_empty(), "an event of a refused post");
    }

    /// A new message: it gets the next `n` of its conversation, and a time that never decreases.
    fn stored(
        &mut self,
        lane: Lane,
        post: &PostMessage,
        event: &Event,
        (id, found): (MessageId, ConversationId),
        version: Version,
    ) {
        let conversation_id = self.conversation_of_post(post, found, event.seq);
        let created_at = post.draft.created_at.max(self.newest_id.unix_ms());
        assert!(id > self.newest_id, "an id decreases while seq increases");
        self.newest_id = id;
        let mentions = match &version.body {
            Some(body) if !version.forwarded => self.mentions(conversation_id, sender(post), body),
            _ => BTreeSet::new(),
        };
        let conversation = self.conversation(conversation_id);
        let n = conversation.messages.len() as u64 + 1;
        let version = Version { rev: event.seq, mentions, ..version };
        conversation.messages.push(Message {
            id,
            client_id: post.draft.client_id,
            conversation: conversation_id,
            n,
            seq: event.seq,
            sender: sender(post),
            created_at,
            lane,
            versions: vec![version],
        });
        conversation.mark(sender(post), event.seq, n);
        let audience = conversation.members();
        self.posts.insert(key_of(post), event.seq);
        self.messages.insert(event.seq, (conversation_id, n));
        self.record(lane, event, What::Posted { conversation: conversation_id, n }, audience);
    }

    fn may_post(&self, post: &PostMessage) -> Result<(), Refusal> {
        let conversation = match post.destination {
            Destination::To(peer) => {
                if !self.profiles.contains(&peer) || self.is_blocked(sender(post), peer) {
                    return Err(Refusal::NotFound);
                }
                self.direct(sender(post), peer)
            }
            Destination::Conversation(id) => {
                self.open_to(sender(post), id)?;
                Some(id)
            }
        };
        let exists = |reply: MessageId| {
            let message = self.message(reply.seq()).filter(|message| message.id == reply);
            let sees = |id| message.is_some_and(|message| self.sees(sender(post), id, message));
            message.is_some_and(|message| Some(message.conversation) == conversation)
                && conversation.is_some_and(sees)
        };
        if !self.may_attach(sender(post), &post.attachments) {
            return Err(Refusal::Invalid("attachments"));
        }
        match post.draft.reply_to {
            Some(reply) if !exists(reply) => Err(Refusal::Invalid("reply_to")),
            _ => Ok(()),
        }
    }

    /// Whether a member may post and change messages there: not in a direct conversation with a block.
    fn open_to(&self, actor: ProfileId, id: ConversationId) -> Result<(), Refusal> {
        let conversation = self.conversations.get(&id).filter(|conversation| conversation.has(actor));
        let conversation = conversation.ok_or(Refusal::NotFound)?;
        let blocked = |other: &ProfileId| *other != actor && self.is_blocked(actor, *other);
        if !conversation.is_group && conversation.joined.iter().any(blocked) {
            return Err(Refusal::NotAllowed);
        }
        Ok(())
    }

    /// The conversation of a post, created if it is the first message between two profiles.
    fn conversation_of_post(
        &mut self,
        post: &PostMessage,
        found: ConversationId,
        seq: u64,
    ) -> ConversationId {
        let id = match post.destination {
            Destination::Conversation(id) => id,
            Destination::To(peer) => *self.directs.entry(pair(sender(post), peer)).or_insert_with(|| {
                let mut conversation = Conversation::new(false, seq);
                conversation.join(sender(post), seq);
                conversation.join(peer, seq);
                self.conversations.insert(found, conversation);
                found
            }),
        };
        assert_eq!(found, id, "the conversation of a post");
        id
    }

    /// A message that its actor may see.
    fn target(&self, actor: ProfileId, id: MessageId) -> Result<&Message, Refusal> {
        let message = self.message(id.seq()).filter(|message| message.id == id).ok_or(Refusal::NotFound)?;
        let conversation = &self.conversations[&message.conversation];
        let may = conversation.has(actor) && self.sees(actor, message.conversation, message);
        if may { Ok(message) } else { Err(Refusal::NotFound) }
    }

    fn sees(&self, profile: ProfileId, conversation: ConversationId, message: &Message) -> bool {
        self.conversations[&conversation].first_n(profile) <= message.n
    }

    /// Applies a change of a message: its next version, and its audience.
    pub(super) fn changed(
        &mut self,
        lane: Lane,
        event: &Event,
        seq: u64,
        what: What,
        change: impl FnOnce(&mut Version),
    ) {
        let (conversation_id, n) = self.messages[&seq];
        let conversation = self.conversation(conversation_id);
        change(conversation.messages[n as usize - 1].change(event.seq));
        let audience = conversation.who_see(n);
        self.record(lane, event, what, audience);
    }

    fn edit(&mut self, lane: Lane, edit: &EditMessage, outcome: &Outcome) {
        let seq = edit.message.seq();
        let expect = self.target(edit.actor, edit.message).and_then(|message| {
            let is_own = message.sender == edit.actor && !message.now().forwarded;
            if !is_own || message.is_deleted() || message.is_system() {
                return Err(Refusal::NotAllowed);
            }
            self.open_to(edit.actor, message.conversation)
        });
        check(outcome, expect, usize::from(expect.is_ok()), "message.edit");
        if expect.is_ok() {
            let mentions = self.mentions(self.messages[&seq].0, edit.actor, &edit.body);
            self.changed(lane, &outcome.events[0], seq, What::Edited { message: seq }, |version| {
                version.body = Some(edit.body.clone());
                version.mentions = mentions;
                version.edited = true;
            });
        }
    }

    fn delete(&mut self, lane: Lane, delete: &DeleteMessage, outcome: &Outcome) {
        let seq = delete.message.seq();
        let expect = self.target(delete.actor, delete.message).and_then(|message| {
            let conversation = &self.conversations[&message.conversation];
            let may = message.sender == delete.actor || conversation.admins.contains(&delete.actor);
            if may && !message.is_system() { Ok(message.is_deleted()) } else { Err(Refusal::NotAllowed) }
        });
        let fresh = expect == Ok(false);
        check(outcome, expect.map(|_| ()), usize::from(fresh), "message.delete");
        if fresh {
            self.tombstone(lane, &outcome.events[0], seq);
        }
    }

    /// A message loses its content, and keeps its `n`.
    pub(super) fn tombstone(&mut self, lane: Lane, event: &Event, seq: u64) {
        let mut detached = Vec::new();
        self.changed(lane, event, seq, What::Deleted { message: seq }, |version| detached = version.erase());
        detached.into_iter().for_each(|upload| self.erase_unless_shown(upload));
    }

    /// The same without an event of its own.
    pub(super) fn erased_silently(&mut self, seq: u64, rev: u64) {
        let (id, n) = self.messages[&seq];
        let version = self.conversation(id).messages[n as usize - 1].change(rev);
        version.silent = true;
        let detached = version.erase();
        detached.into_iter().for_each(|upload| self.erase_unless_shown(upload));
    }

    fn pin(&mut self, lane: Lane, pin: &PinMessage, outcome: &Outcome) {
        let seq = pin.message.seq();
        // Whether it changes anything.
        let expect = self.target(pin.actor, pin.message).and_then(|message| {
            let conversation = &self.conversations[&message.conversation];
            let may = !conversation.is_group || conversation.admins.contains(&pin.actor);
            if !may || message.is_deleted() || message.is_system() {
                return Err(Refusal::NotAllowed);
            }
            self.open_to(pin.actor, message.conversation)?;
            let is_fresh = message.now().pinned != pin.on;
            let pinned = conversation.messages.iter().filter(|message| message.now().pinned).count();
            if is_fresh && pin.on && pinned >= PINNED_MAX {
                return Err(Refusal::Invalid("pinned"));
            }
            Ok(is_fresh)
        });
        let fresh = expect == Ok(true);
        check(outcome, expect.map(|_| ()), usize::from(fresh), "message.pin");
        if fresh {
            self.changed(lane, &outcome.events[0], seq, What::Pinned { message: seq }, |version| {
                version.pinned = pin.on;
            });
        }
    }

    fn react(&mut self, lane: Lane, react: &React, outcome: &Outcome) {
        let seq = react.message.seq();
        // Sent with and without U+FE0F, compared without, shown with it.
        assert!(!react.emoji.contains('\u{fe0f}'));
        let emoji_shown =
            if react.emoji == "\u{2764}" { "\u{2764}\u{fe0f}".to_owned() } else { react.emoji.clone() };
        // Whether the reaction changes anything.
        let expect = self.target(react.actor, react.message).and_then(|message| {
            if message.is_deleted() || message.is_system() {
                return Err(Refusal::NotAllowed);
            }
            self.open_to(react.actor, message.conversation)?;
            let reactions = &message.now().reactions;
            let others = reactions.iter().filter(|(emoji, _)| *emoji != emoji_shown).count();
            if react.on && others >= EMOJI_MAX {
                return Err(Refusal::Invalid("emoji"));
            }
            let is_set =
                reactions.iter().any(|(emoji, who)| *emoji == emoji_shown && who.contains(&react.actor));
            Ok(is_set != react.on)
        });
        let fresh = expect == Ok(true);
        check(outcome, expect.map(|_| ()), usize::from(fresh), "message.react");
        if !fresh {
            return;
        }
        self.changed(lane, &outcome.events[0], seq, What::Reacted { message: seq }, |version| {
            let index = version.reactions.iter().position(|(emoji, _)| *emoji == emoji_shown);
            match (index, react.on) {
                (Some(index), true) => version.reactions[index].1.push(react.actor),
                (None, true) => version.reactions.push((emoji_shown.clone(), vec![react.actor])),
                (Some(index), false) => {
                    version.reactions[index].1.retain(|who| *who != react.actor);
                    if version.reactions[index].1.is_empty() {
                        version.reactions.remove(index);
                    }
                }
                (None, false) => unreachable!("it would not be fresh"),
            }
        });
    }

    fn mark_read(&mut self, lane: Lane, reader: ProfileId, id: ConversationId, n: u64, outcome: &Outcome) {
        let conversation = self.conversations.get(&id).filter(|conversation| conversation.has(reader));
        let Some(conversation) = conversation else {
            return check(outcome, Err(Refusal::NotFound), 0, "conversation.read");
        };
        let before = conversation.read_n(reader, u64::MAX);
        let read_n = n.min(conversation.messages.len() as u64).max(before);
        let unread = conversation.unread_after(reader, read_n, u64::MAX);
        let was_marked = conversation.own(reader, u64::MAX).marked;
        let events = usize::from(was_marked) + usize::from(read_n > before);
        check(outcome, Ok(()), events, "conversation.read");
        let Ok(Answer::MarkRead(marked)) = &outcome.result else { panic!("{:?}", outcome.result) };
        assert_eq!((marked.read_n, marked.unread), (read_n, unread), "a read mark's answer");
        let mentions = conversation.unread_mentions(reader, read_n, u64::MAX);
        assert_eq!((marked.mentions.count, marked.mentions.first), mentions, "mentions after a read mark");
        let mut events = outcome.events.iter();
        if was_marked {
            let event = events.next().expect("an event");
            self.set_own(lane, event, (reader, id), |own| own.marked = false);
        }
        if let Some(event) = events.next() {
            self.moved(lane, event, (reader, id), read_n);
        }
    }

    /// A read mark has moved.
    fn moved(&mut self, lane: Lane, event: &Event, (reader, id): (ProfileId, ConversationId), read_n: u64) {
        let conversation = &self.conversations[&id];
        // The peer of a direct conversation sees it; in a group only the reader's own devices do.
        let hidden = conversation.joined.iter().any(|other| {
            *other != reader && (self.is_blocked(reader, *other) || self.hides_reads(reader, *other))
        });
        let seen = !conversation.is_group && !hidden;
        let audience = if seen { conversation.members() } else { BTreeSet::from([reader]) };
        self.conversation(id).mark(reader, event.seq, read_n);
        self.record(lane, event, What::Read { conversation: id, profile: reader, read_n }, audience);
    }

    // ---- for oneself --------------------------------------------------------------------------------

    /// A member changes what it has set: only its own devices receive the event.
    fn set_own(
        &mut self,
        lane: Lane,
        event: &Event,
        (actor, id): (ProfileId, ConversationId),
        change: impl FnOnce(&mut Own),
    ) {
        let conversation = self.conversation(id);
        let before = conversation.own(actor, u64::MAX);
        let mut own = before.clone();
        change(&mut own);
        let is_heard_anew = own.muted != before.muted;
        conversation.set_own(actor, event.seq, own);
        self.record(lane, event, What::Preferences { conversation: id }, BTreeSet::from([actor]));
        if is_heard_anew {
            self.mute_changed(actor, id);
        }
    }

    fn prefer(&mut self, lane: Lane, update: &UpdateConversation, outcome: &Outcome) {
        let (actor, id, change) = (update.actor, update.conversation, &update.own);
        let is_member = self.conversations.get(&id).is_some_and(|known| known.has(actor));
        let expect = if is_member { Ok(()) } else { Err(Refusal::NotFound) };
        check(outcome, expect, usize::from(is_member), "conversation.update");
        if !is_member {
            return;
        }
        let last_n = self.conversations[&id].messages.len() as u64;
        self.set_own(lane, &outcome.events[0], (actor, id), |own| {
            own.muted = change.muted.unwrap_or(own.muted);
            own.marked = change.marked_unread.unwrap_or(own.marked);
            own.pinned = change.archived != Some(true) && change.pinned.unwrap_or(own.pinned);
            own.archived = match (change.archived, change.pinned) {
                (Some(true), _) => Some(last_n),
                (Some(false), _) | (_, Some(true)) => None,
                _ => own.archived,
            };
        });
        let Ok(Answer::UpdateConversation(shown)) = &outcome.result else { panic!("{:?}", outcome.result) };
        self.check_preferences(actor, shown);
    }

    /// An answer shows what the member has set.
    fn check_preferences(&self, viewer: ProfileId, shown: &natter::model::conversation::Conversation) {
        let own = &shown.own;
        assert_eq!(
            [own.muted, own.pinned, own.archived, own.marked_unread, own.hidden],
            self.conversations[&shown.id].preferences(viewer, u64::MAX),
            "what {viewer} has set of {}",
            shown.id
        );
    }

    fn clear(&mut self, lane: Lane, clear: &ClearConversation, outcome: &Outcome) {
        let (actor, id) = (clear.actor, clear.conversation);
        let known = self.conversations.get(&id).filter(|known| known.has(actor));
        let Some(known) = known else {
            return check(outcome, Err(Refusal::NotFound), 0, "conversation.clear");
        };
        let last_n = known.messages.len() as u64;
        let is_moved = known.read_n(actor, u64::MAX) < last_n;
        check(outcome, Ok(()), 1 + usize::from(is_moved), "conversation.clear");
        let mut events = outcome.events.iter();
        if is_moved {
            let event = events.next().expect("an event");
            self.moved(lane, event, (actor, id), last_n);
        }
        let event = events.next().expect("an event");
        self.conversation(id).clear(actor, event.seq);
        self.set_own(lane, event, (actor, id), |own| {
            own.marked = false;
            own.hidden = clear.hide.then_some(last_n);
            own.pinned &= !clear.hide;
            own.archived = own.archived.filter(|_| !clear.hide);
        });
        let Ok(Answer::ClearConversation(shown)) = &outcome.result else { panic!("{:?}", outcome.result) };
        assert_eq!((shown.first_n, shown.unread), (Some(last_n + 1), 0), "a cleared conversation");
        assert!(shown.last_message.is_none() && shown.own.hidden == clear.hide, "{shown:?}");
        self.check_preferences(actor, shown);
    }

    // ---- groups -------------------------------------------------------------------------------------

    fn create(&mut self, lane: Lane, create: &CreateConversation, outcome: &Outcome) {
        let key = create.client_id.map(|client_id| (create.creator, client_id));
        if let Some(made) = key.and_then(|key| self.created.get(&key)).copied() {
            let stays = self.conversations[&made].has(create.creator);
            let expect = if stays { Ok(()) } else { Err(Refusal::NotFound) };
            check(outcome, expect, 0, "a repeated conversation.create");
            if let Ok(Answer::CreateConversation(again)) = &outcome.result {
                assert!(again.duplicate && again.conversation.id == made, "another group");
            }
            return;
        }
        let mut members = vec![create.creator];
        for profile in &create.members {
            if !members.contains(profile) {
                members.push(*profile);
            }
        }
        let unknown = |profile: &ProfileId| {
            !self.profiles.contains(profile)
                || *profile != create.creator && self.is_blocked(create.creator, *profile)
        };
        let expect = if members.iter().any(unknown) { Err(Refusal::NotFound) } else { Ok(()) };
        check(outcome, expect, 2 * usize::from(expect.is_ok()), "conversation.create");
        if expect.is_err() {
            return;
        }
        let event = &outcome.events[0];
        let mut made = Conversation::new(true, event.seq);
        members.iter().for_each(|profile| made.join(*profile, event.seq));
        made.admins.insert(create.creator);
        made.titles.push((event.seq, create.title.clone()));
        let audience = made.members();
        self.conversations.insert(create.id, made);
        self.created.extend(key.map(|key| (key, create.id)));
        self.record(lane, event, What::Created { conversation: create.id }, audience);
        self.told(&outcome.events[1], create.id, create.creator, "created", &members[1..], create.at);
    }

    /// A group of which the actor is a member. `NotAllowed` for a direct conversation.
    pub(super) fn in_group(&self, actor: ProfileId, id: ConversationId) -> Result<&Conversation, Refusal> {
        let conversation = self.conversations.get(&id).filter(|conversation| conversation.has(actor));
        let conversation = conversation.ok_or(Refusal::NotFound)?;
        if conversation.is_group { Ok(conversation) } else { Err(Refusal::NotAllowed) }
    }

    fn update(&mut self, lane: Lane, update: &UpdateConversation, outcome: &Outcome) {
        if update.history.is_some() || update.messages_kept.is_some() {
            let may = self.in_group(update.actor, update.conversation).and_then(|group| {
                if group.admins.contains(&update.actor) { Ok(()) } else { Err(Refusal::NotAllowed) }
            });
            check(outcome, may, usize::from(may.is_ok()), "conversation.update");
            if may.is_ok() {
                let group = self.conversation(update.conversation);
                group.hides = update.history.map_or(group.hides, |history| history == History::Joined);
                if let Some(days) = update.messages_kept {
                    group.kept_days = days.map(u64::from);
                }
                let audience = group.members();
                let what = What::Updated { conversation: update.conversation };
                self.record(lane, &outcome.events[0], what, audience);
            }
            return;
        }
        let Some(title) = update.title.clone() else { return self.prefer(lane, update, outcome) };
        let expect = self.in_group(update.actor, update.conversation).and_then(|group| {
            if group.admins.contains(&update.actor) { Ok(()) } else { Err(Refusal::NotAllowed) }
        });
        let known = self.conversations.get(&update.conversation).and_then(|group| group.title(u64::MAX));
        let is_renamed = known != Some(&title);
        let events = if expect.is_ok() { 1 + usize::from(is_renamed) } else { 0 };
        check(outcome, expect, events, "conversation.update");
        if expect.is_ok() {
            let event = &outcome.events[0];
            let group = self.conversation(update.conversation);
            group.titles.push((event.seq, title.clone()));
            let audience = group.members();
            self.record(lane, event, What::Updated { conversation: update.conversation }, audience);
            if is_renamed {
                let system = System { kind: "renamed", profiles: Vec::new(), title: Some(title) };
                let (id, by) = (update.conversation, update.actor);
                self.told_as(&outcome.events[1], id, by, system, update.at);
            }
        }
    }

    fn put_member(&mut self, lane: Lane, put: &PutMember, outcome: &Outcome) {
        let admin = put.role == Role::Admin;
        // Whether the command changes anything.
        let expect = self.in_group(put.actor, put.conversation).and_then(|group| {
            if !group.admins.contains(&put.actor) {
                return Err(Refusal::NotAllowed);
            }
            if !self.profiles.contains(&put.profile) {
                return Err(Refusal::NotFound);
            }
            if !group.has(put.profile) {
                let blocked = self.is_blocked(put.actor, put.profile);
                return if blocked { Err(Refusal::NotFound) } else { Ok(true) };
            }
            let is_admin = group.admins.contains(&put.profile);
            if is_admin && !admin && group.admins.len() == 1 {
                return Err(Refusal::NotAllowed);
            }
            Ok(is_admin != admin)
        });
        let fresh = expect == Ok(true);
        check(outcome, expect.map(|_| ()), 2 * usize::from(fresh), "member.add");
        if !fresh {
            return;
        }
        let event = &outcome.events[0];
        let group = self.conversation(put.conversation);
        let mut kind = if admin { "promoted" } else { "demoted" };
        if !group.has(put.profile) {
            kind = "added";
            group.join(put.profile, event.seq);
            // Earlier messages count as read.
            let last_n = group.messages.len() as u64;
            group.mark(put.profile, event.seq, last_n);
        }
        if admin {
            group.admins.insert(put.profile);
        } else {
            group.admins.remove(&put.profile);
            self.invites.no_admin(put.conversation, put.profile);
        }
        let audience = self.conversation(put.conversation).members();
        let what = What::Added { conversation: put.conversation, profile: put.profile, admin };
        self.record(lane, event, what, audience);
        self.told(&outcome.events[1], put.conversation, put.actor, kind, &[put.profile], put.at);
    }

    fn remove_member(&mut self, lane: Lane, remove: &RemoveMember, outcome: &Outcome) {
        let id = remove.conversation;
        let expect = self.in_group(remove.actor, id).and_then(|group| {
            if remove.actor != remove.profile && !group.admins.contains(&remove.actor) {
                return Err(Refusal::NotAllowed);
            }
            if group.has(remove.profile) { Ok(()) } else { Err(Refusal::NotFound) }
        });
        let count = match outcome.events.len() {
            _ if expect.is_err() => 0,
            // When the last admin leaves, the eldest member is promoted.
            4 => 4,
            _ => 2,
        };
        check(outcome, expect, count, "member.remove");
        if expect.is_ok() {
            let events: Vec<&Event> = outcome.events.iter().collect();
            self.left(lane, (remove.actor, remove.profile), id, &events, remove.at);
            self.invites.left(id, remove.profile, remove.actor != remove.profile);
        }
    }

    /// A profile left a group, or another one removed it: the event and its message, and those of the next admin if there is one.
    pub(super) fn left(
        &mut self,
        lane: Lane,
        (by, profile): (ProfileId, ProfileId),
        id: ConversationId,
        events: &[&Event],
        at: UnixMs,
    ) {
        let group = self.conversation(id);
        let (audience, was_admin) = (group.members(), group.admins.contains(&profile));
        group.leave(profile, events[0].seq);
        let is_orphaned = group.admins.is_empty() && !group.joined.is_empty();
        assert_eq!(events.len(), if is_orphaned { 4 } else { 2 }, "the next admin of {id}");
        self.invites.left(id, profile, false);
        let what = What::Removed { conversation: id, profile, admin: was_admin };
        self.record(lane, events[0], what, audience);
        if by == profile {
            self.told(events[1], id, by, "left", &[], at);
        } else {
            self.told(events[1], id, by, "removed", &[profile], at);
        }
        if let [_, _, promotion, told] = events {
            let group = self.conversation(id);
            let eldest = group.joined[0];
            group.admins.insert(eldest);
            let audience = group.members();
            let what = What::Added { conversation: id, profile: eldest, admin: true };
            self.record(lane, promotion, what, audience);
            self.told(told, id, eldest, "promoted", &[eldest], at);
        }
    }

    /// Each change of a group has exactly one message, right after the event of the change, for the members of then.
    pub(super) fn told(
        &mut self,
        event: &Event,
        id: ConversationId,
        by: ProfileId,
        kind: &'static str,
        profiles: &[ProfileId],
        at: UnixMs,
    ) {
        self.told_as(event, id, by, System { kind, profiles: profiles.to_vec(), title: None }, at);
    }

    fn told_as(&mut self, event: &Event, id: ConversationId, by: ProfileId, system: System, at: UnixMs) {
        let Fact::MessagePosted(message) = &event.fact else { panic!("no system message: {event:?}") };
        assert!(message.id > self.newest_id, "an id decreases while seq increases");
        let created_at = at.max(self.newest_id.unix_ms());
        self.newest_id = message.id;
        let group = self.conversation(id);
        let n = group.messages.len() as u64 + 1;
        assert_eq!((message.seq, message.n), (event.seq, n), "the place of a system message");
        let version = Version { rev: event.seq, system: Some(system), ..Version::default() };
        group.messages.push(Message {
            id: message.id,
            client_id: Id::from_u128(message.id.to_u128()),
            conversation: id,
            n,
            seq: event.seq,
            sender: by,
            created_at,
            // The connection that made the change gets it too.
            lane: Lane(u64::MAX),
            versions: vec![version],
        });
        let audience = group.members();
        self.messages.insert(event.seq, (id, n));
        self.record(Lane(u64::MAX), event, What::Posted { conversation: id, n }, audience);
    }

    // ---- sessions -----------------------------------------------------------------------------------

    fn open_session(&mut self, profile: ProfileId, session: &NewSession) {
        let opened = Session {
            profile,
            refresh: vec![session.refresh_uuid],
            rotated_at: UnixMs(0),
            refresh_expire: session.refresh_expire,
            access_until: session.access_expire,
            place: None,
            ended: false,
        };
        assert!(self.sessions.insert(session.id, opened).is_none(), "a session id twice");
    }

    fn refresh(&mut self, lane: Lane, refresh: &RefreshSession, outcome: &Outcome) {
        let answer = match &outcome.result {
            Ok(Answer::RefreshSession(refreshed)) => Some(refreshed.pair.refresh_uuid),
            Err(Refusal::Unauthorized) => None,
            other => panic!("refresh: {other:?}"),
        };
        let Some(session) = self.sessions.get_mut(&refresh.session).filter(|session| !session.ended) else {
            assert_eq!(answer, None, "an ended session was continued");
            return;
        };
        if session.refresh_expire <= refresh.at.s() {
            assert_eq!(answer, None, "an expired refresh token was exchanged");
            return;
        }
        let index = session.refresh.iter().position(|uuid| *uuid == refresh.refresh_uuid);
        let age = index.map(|index| session.refresh.len() - 1 - index);
        match age {
            Some(0) => {
                assert_eq!(answer, Some(refresh.next_refresh_uuid), "a rotation");
                session.refresh.push(refresh.next_refresh_uuid);
                session.rotated_at = refresh.at;
                session.refresh_expire = refresh.refresh_expire;
                session.access_until = session.access_until.max(refresh.access_expire);
            }
            Some(1) if refresh.at.since(session.rotated_at) <= 60_000 => {
                assert_eq!(answer, session.refresh.last().copied(), "the same pair again");
            }
            _ => {
                assert_eq!(answer, None, "a reused refresh token");
                assert_eq!(outcome.events.len(), 1, "the end of a stolen session is an event");
                self.end_session(lane, refresh.session, &outcome.events[0]);
                return;
            }
        }
        assert!(outcome.events.is_empty(), "an event of a refresh");
    }

    pub(super) fn end_session(&mut self, lane: Lane, id: SessionId, event: &Event) {
        let session = self.sessions.get_mut(&id).expect("it is there");
        session.ended = true;
        let audience = BTreeSet::from([session.profile]);
        self.end_subscription(id);
        self.record(lane, event, What::Ended { session: id }, audience);
    }
}

/// Compares an outcome with the prediction: the same refusal or none, and the number of events.
pub fn check(outcome: &Outcome, expect: Result<(), Refusal>, events: usize, what: &str) {
    let result = outcome.result.as_ref().map(|_| ()).map_err(|refusal| *refusal);
    assert_eq!(result, expect, "{what}");
    assert_eq!(outcome.events.len(), events, "events of {what}");
}

fn name_of(profile: &Profile) -> Name {
    Name {
        display_name: profile.display_name.clone(),
        nick_name: profile.nick_name.clone(),
        is_private: profile.is_private,
    }
}
