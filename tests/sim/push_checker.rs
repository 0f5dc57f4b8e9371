//! Checks notifications: who has a subscription, what each look-up finds, and that no unread message goes without one.
//!
//! Owns the subscriptions, and what was given to the push services and became of it. A notification names its session by the
//! secret of its subscription; no session expires in a run. Invariant: a crash changes nothing here but what devices show.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included};

use natter::base::id::Id;
use natter::base::json;
use natter::model::id::{ConversationId, MemberId, ProfileId, SessionId};
use natter::model::operation::{Answer, Outcome, Read, Refusal};
use natter::model::push::{
    FindPush, ForgetSubscription, Notification, PostedPage, Push, PushLevel, Pushed, SetPushLevel, Subscribe,
    Unsubscribe,
};

use super::Run;
use super::answer_checker::check;
use super::codec::{id_at, number_at};
use super::history::Message;
use super::reference::Model;

/// Tries of one notification, after which it is given up.
const TRIES_MAX: u32 = 6;

#[derive(Debug)]
struct Subscription {
    endpoint: String,
    level: PushLevel,
    /// Only later messages are pushed.
    since: u64,
    /// It shows notifications since then.
    on_since: u64,
}

impl Subscription {
    fn is_on(&self) -> bool {
        self.level != PushLevel::Off
    }
}

#[derive(Default)]
pub struct Pushes {
    subscriptions: BTreeMap<SessionId, Subscription>,
    /// When a conversation was last muted or not any more.
    heard_since: BTreeMap<(ProfileId, ConversationId), u64>,
    /// Until when a device may have shown a conversation, as far as the server knew.
    shown_until: BTreeMap<(ProfileId, ConversationId), u64>,
    /// Up to which `n` the push service has taken notifications, or refused them.
    settled: BTreeMap<(SessionId, ConversationId), u64>,
    failures: BTreeMap<(SessionId, ConversationId), u32>,
    /// How many were accepted.
    pub accepted: u64,
}

/// What a notification says: for which session it is, about which conversation, and its newest `n`.
fn read(notification: &Notification) -> (SessionId, ConversationId, u64) {
    let text = json::parse(notification.text.expose()).expect("JSON");
    let session = Id::from_u128(u128::from_be_bytes(notification.recipient.auth));
    (session, id_at(&text, "conversation").expect("a conversation"), number_at(&text, "n").expect("n"))
}

impl Model {
    // ---- subscriptions ------------------------------------------------------------------------------

    pub(super) fn subscribe(&mut self, subscribe: &Subscribe, outcome: &Outcome) {
        let session = subscribe.session;
        if self.is_ended(session) {
            return check(outcome, Err(Refusal::Unauthorized), 0, "push.subscribe");
        }
        check(outcome, Ok(()), 0, "push.subscribe");
        let profile = self.profile_of[&subscribe.member];
        let endpoint = subscribe.endpoint.expose().clone();
        let sessions = &self.sessions;
        self.pushes
            .subscriptions
            .retain(|other, known| known.endpoint != endpoint || sessions[other].profile != profile);
        let (since, level) = (self.head, subscribe.level);
        let made = Subscription { endpoint, level, since, on_since: since };
        self.pushes.subscriptions.insert(session, made);
    }

    pub(super) fn set_push_level(&mut self, set: &SetPushLevel, outcome: &Outcome) {
        let (own, head) = (self.is_own(set.member, set.session), self.head);
        let Some(known) = self.pushes.subscriptions.get_mut(&set.session).filter(|_| own) else {
            return check(outcome, Err(Refusal::NotFound), 0, "push.level");
        };
        check(outcome, Ok(()), 0, "push.level");
        if !known.is_on() {
            known.on_since = head;
        }
        known.level = set.level;
    }

    pub(super) fn unsubscribe(&mut self, unsubscribe: &Unsubscribe, outcome: &Outcome) {
        let own = self.is_own(unsubscribe.member, unsubscribe.session);
        check(outcome, if own { Ok(()) } else { Err(Refusal::NotFound) }, 0, "push.unsubscribe");
        if own {
            self.pushes.subscriptions.remove(&unsubscribe.session);
        }
    }

    fn is_own(&self, member: MemberId, session: SessionId) -> bool {
        let profile = self.profile_of[&member];
        self.sessions.get(&session).is_some_and(|session| session.profile == profile && !session.ended)
    }

    pub(super) fn forget_subscription(&mut self, gone: &ForgetSubscription) {
        let subscriptions = &mut self.pushes.subscriptions;
        if subscriptions.get(&gone.session).is_some_and(|known| known.endpoint == *gone.endpoint.expose()) {
            subscriptions.remove(&gone.session);
        }
    }

    /// With its session.
    pub(super) fn end_subscription(&mut self, session: SessionId) {
        self.pushes.subscriptions.remove(&session);
    }

    /// A conversation was muted or not any more.
    pub(super) fn mute_changed(&mut self, profile: ProfileId, conversation: ConversationId) {
        self.pushes.heard_since.insert((profile, conversation), self.head);
    }

    fn is_muted(&self, profile: ProfileId, conversation: ConversationId) -> bool {
        self.conversations[&conversation].own(profile, u64::MAX).muted
    }

    // ---- what devices show --------------------------------------------------------------------------

    /// A device says that it shows a conversation. Until when the server believes it is known only at the end of its process.
    pub fn shows(&mut self, profile: ProfileId, conversation: ConversationId) {
        self.pushes.shown_until.insert((profile, conversation), u64::MAX);
    }

    /// The process has ended: a new one knows of no device.
    pub fn shows_nothing(&mut self) {
        let head = self.head;
        self.pushes.shown_until.values_mut().for_each(|until| *until = head.min(*until));
    }

    // ---- look-ups -----------------------------------------------------------------------------------

    /// A reader has answered, from the database as it is now.
    pub fn check_push_read(&self, asked: &Read, result: &Result<Answer, Refusal>) {
        match (asked, result) {
            (Read::FindPush(find), Ok(Answer::FindPush(found))) => {
                self.check_found(find, found.as_ref().as_ref())
            }
            (Read::ReadPosted(asked), Ok(Answer::ReadPosted(page))) => {
                if asked.after.is_none() {
                    self.all_is_pushed(page.after);
                }
                self.check_posted(page);
            }
            (Read::FindPush(_) | Read::ReadPosted(_), other) => panic!("{asked:?}: {other:?}"),
            _ => {}
        }
    }

    /// A look-up finds what is unread, and exactly the devices that are to show it.
    fn check_found(&self, find: &FindPush, found: Option<&Push>) {
        let FindPush { profile, conversation, .. } = *find;
        let expect = self.devices_for(profile, conversation);
        let devices: BTreeSet<(SessionId, &str, PushLevel)> = found
            .iter()
            .flat_map(|push| &push.devices)
            .map(|device| (device.session, device.endpoint.expose().as_str(), device.level))
            .collect();
        assert_eq!(devices, expect, "the devices of {profile} for {conversation}");
        if let Some(push) = found {
            let known = &self.conversations[&conversation];
            let shown = &push.conversation;
            assert_eq!(
                (shown.unread, shown.last_n),
                (known.unread(profile, self.head), known.messages.len() as u64),
                "what a notification counts"
            );
            let newest = self.shown_by_push(profile, conversation).expect("an unread message");
            assert_eq!(push.newest.seq, newest.seq, "the message that a notification shows");
            let name = &self.name(newest.sender, self.head).display_name;
            let expect = Some(name).filter(|_| !self.is_gone(newest.sender));
            assert_eq!(push.sender.as_ref(), expect, "the sender");
        }
    }

    fn devices_for(
        &self,
        profile: ProfileId,
        conversation: ConversationId,
    ) -> BTreeSet<(SessionId, &str, PushLevel)> {
        let newest = self.shown_by_push(profile, conversation).map_or(0, |message| message.seq);
        self.subscriptions_of(profile)
            .filter(|(_, subscription)| subscription.is_on() && subscription.since < newest)
            .map(|(session, subscription)| (session, subscription.endpoint.as_str(), subscription.level))
            .collect()
    }

    /// What a notification is about: the newest message, or where it is muted the newest unread one that mentions the profile.
    fn shown_by_push(&self, profile: ProfileId, conversation: ConversationId) -> Option<&Message> {
        let known = self.conversations.get(&conversation).filter(|known| known.has(profile))?;
        if known.unread(profile, self.head) == 0 {
            return None;
        }
        if !self.is_muted(profile, conversation) {
            return known.messages.iter().rev().find(|message| !message.is_system());
        }
        let read_n = known.read_n(profile, self.head);
        let unread = known.messages.iter().rev().take_while(|message| message.n > read_n);
        unread.into_iter().find(|message| message.now().does_mention(profile))
    }

    fn subscriptions_of(&self, profile: ProfileId) -> impl Iterator<Item = (SessionId, &Subscription)> {
        let own = move |(id, _): &(&SessionId, &Subscription)| self.sessions[*id].profile == profile;
        self.pushes.subscriptions.iter().filter(own).map(|(id, subscription)| (*id, subscription))
    }

    /// A page of the log has each member who has not read a message of it and has a device.
    fn check_posted(&self, page: &PostedPage) {
        let found: BTreeSet<(ProfileId, ConversationId)> = page.unread.iter().copied().collect();
        assert_eq!(found.len(), page.unread.len(), "a pair twice");
        for (profile, id) in &found {
            let shown = self.shown_by_push(*profile, *id);
            if self.is_muted(*profile, *id) {
                let is_new = shown.is_some_and(|message| message.seq > page.after);
                assert!(is_new, "{id} is muted, and has no new mention of {profile}");
            }
        }
        for (seq, (id, n)) in self.messages.range((Excluded(page.after), Included(page.through))) {
            let conversation = &self.conversations[id];
            for profile in &conversation.joined {
                let read_n = conversation.read_n(*profile, self.head);
                let wants = read_n < conversation.messages.len() as u64
                    && !conversation.messages[*n as usize - 1].is_system()
                    && (!self.is_muted(*profile, *id)
                        || *n > read_n
                            && conversation.messages[*n as usize - 1].now().does_mention(*profile))
                    && self.subscriptions_of(*profile).any(|(_, one)| one.is_on());
                let has = found.contains(&(*profile, *id));
                assert!(has || !wants, "{profile} does not get seq {seq} of {id}");
                assert!(page.is_subscribed || !wants, "nobody is subscribed");
            }
        }
    }

    // ---- what was pushed ----------------------------------------------------------------------------

    /// A worker gets a notification. `over`: the sessions whose end the server knows.
    pub fn check_push(&self, notification: &Notification, over: &BTreeSet<SessionId>) {
        let (session, conversation, n) = read(notification);
        let known = &self.conversations[&conversation];
        let profile = self.sessions[&session].profile;
        assert!(!over.contains(&session), "a notification for a session that is over");
        let was_in = known.has(profile) || known.was_left_by(profile);
        assert!(was_in && n <= known.messages.len() as u64, "n {n} of {conversation}");
    }

    /// A push service has answered, or has not.
    pub fn pushed(&mut self, notification: &Notification, pushed: Pushed) {
        let (session, conversation, n) = read(notification);
        let key = (session, conversation);
        let gives_up = match pushed {
            Pushed::Accepted | Pushed::Refused | Pushed::Gone => true,
            Pushed::Later(_) => {
                let failures = self.pushes.failures.entry(key).or_default();
                *failures += 1;
                *failures >= TRIES_MAX
            }
        };
        self.pushes.accepted += u64::from(pushed == Pushed::Accepted);
        if gives_up {
            let settled = self.pushes.settled.entry(key).or_default();
            *settled = n.max(*settled);
        }
    }

    /// Each message up to a seq that a member has not read was pushed to each device that is to show it.
    pub fn all_is_pushed(&self, through: u64) {
        if let Some((session, message)) = self.owed(through) {
            let Message { conversation, seq, n, .. } = message;
            panic!("session {session} never got seq {seq}, n {n} of {conversation}, by {through}");
        }
    }

    /// A message that is to be pushed to a device and was not.
    pub fn owed(&self, through: u64) -> Option<(SessionId, &Message)> {
        let pushes = &self.pushes;
        for (id, subscription) in &pushes.subscriptions {
            let profile = self.sessions[id].profile;
            if !subscription.is_on() {
                continue;
            }
            for (conversation, known) in self.of(profile) {
                let key = (profile, conversation);
                let is_muted = self.is_muted(profile, conversation);
                let of = |known: &BTreeMap<_, u64>| known.get(&key).copied().unwrap_or_default();
                let since = subscription.on_since.max(of(&pushes.heard_since)).max(of(&pushes.shown_until));
                let read_n = known.read_n(profile, self.head);
                let owed = known.messages.iter().rev().find(|message| {
                    let is_new = message.seq > since && message.seq <= through && message.n > read_n;
                    // An edit pushes nothing, so that it had to mention the profile at any time that the pusher read it.
                    let is_heard = !is_muted || message.versions.iter().all(|all| all.does_mention(profile));
                    is_new
                        && is_heard
                        && message.sender != profile
                        && !message.is_deleted()
                        && !message.is_system()
                });
                let settled = pushes.settled.get(&(*id, conversation)).copied().unwrap_or_default();
                if let Some(message) = owed.filter(|message| message.n > settled) {
                    return Some((*id, message));
                }
            }
        }
        None
    }
}

impl Run {
    /// What an idle stream shows is not looked up.
    pub fn shown_is_not_pushed(&mut self) {
        for (profile, conversation) in std::mem::take(&mut self.runtime.looked_up) {
            for device in &self.devices {
                let Some(stream) = device.stream.as_ref().filter(|stream| !stream.closing) else { continue };
                let shows = self.people[device.person].profile == Some(profile)
                    && stream.showing == Some(conversation);
                let link = &self.runtime.links[&stream.conn];
                assert!(!(shows && link.is_quiet()), "{conversation} is shown, and pushed");
            }
        }
    }
}
