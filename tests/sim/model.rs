//! The shadow model: what must be on disk, by the promises of API.md alone. It is told each batch when its transaction is
//! done, predicts every outcome, and knows for every profile which events it must hear. Owns the truth of a run; refuses to
//! look into the server or the store.
//!
//! Invariant: nothing is ever taken back. A crash or a restart leaves the model as it is: what was committed stays.

use std::collections::{BTreeMap, BTreeSet};

use natter::base::id::Id;
use natter::base::json::Value;
use natter::model::event::{Event, Fact};
use natter::model::message::{Destination, PostMessage, PostedMessage};
use natter::model::operation::{Answer, Command, Lane, Outcome, Refusal};
use natter::model::session::{NewSession, RefreshSession};

use super::sabotage;
use super::wire::{at, number_at, text_at};

#[derive(Clone, Debug)]
pub struct Message {
    pub id: Id,
    pub client_id: Id,
    pub conversation: Id,
    pub n: u64,
    pub seq: u64,
    pub sender: Id,
    pub body: String,
    pub reply_to: Option<Id>,
    pub created_at: u64,
    /// The connection it was stored through.
    pub lane: Lane,
}

#[derive(Debug, Default)]
pub struct Conversation {
    pub members: BTreeSet<Id>,
    /// At place n - 1.
    pub messages: Vec<Message>,
    /// What each member has read, and since which seq.
    reads: BTreeMap<Id, Vec<(u64, u64)>>,
}

impl Conversation {
    pub fn last_n(&self, seq: u64) -> u64 {
        self.messages.partition_point(|message| message.seq <= seq) as u64
    }

    /// The read mark of a member as it stood at a seq.
    pub fn read_n(&self, profile: Id, seq: u64) -> u64 {
        let marks = self.reads.get(&profile).map_or(&[][..], Vec::as_slice);
        marks.iter().rev().find(|(since, _)| *since <= seq).map_or(0, |(_, n)| *n)
    }

    /// Messages behind the mark that are not one's own.
    pub fn unread(&self, profile: Id, seq: u64) -> u64 {
        let read_n = self.read_n(profile, seq) as usize;
        let last_n = self.last_n(seq) as usize;
        let behind = &self.messages[read_n.min(last_n)..last_n];
        behind.iter().filter(|message| message.sender != profile).count() as u64
    }

    fn mark(&mut self, profile: Id, seq: u64, n: u64) {
        self.reads.entry(profile).or_default().push((seq, n));
    }
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Posted {
        conversation: Id,
        n: u64,
    },
    Read {
        conversation: Id,
        profile: Id,
        read_n: u64,
    },
    Ended {
        session: Id,
    },
    /// Nothing the model has a rule for.
    Other {
        name: &'static str,
    },
}

#[derive(Clone, Debug)]
pub struct Logged {
    pub what: What,
    pub audience: BTreeSet<Id>,
    /// The connection whose command caused it: it gets the answer instead.
    pub lane: Lane,
}

#[derive(Debug)]
struct Session {
    profile: Id,
    /// All refresh tokens it ever had; the last is the current one.
    refresh: Vec<Id>,
    rotated_at: u64,
    refresh_expire: u64,
    access_until: u64,
    ended: bool,
}

#[derive(Default)]
pub struct Model {
    pub head: u64,
    newest_ms: u64,
    emails: BTreeSet<String>,
    pub profiles: BTreeSet<Id>,
    /// By member.
    profile_of: BTreeMap<Id, Id>,
    sessions: BTreeMap<Id, Session>,
    pub conversations: BTreeMap<Id, Conversation>,
    directs: BTreeMap<(Id, Id), Id>,
    posts: BTreeMap<(Id, Id), u64>,
    /// (conversation, n) of each message, by seq.
    messages: BTreeMap<u64, (Id, u64)>,
    pub log: BTreeMap<u64, Logged>,
}

fn pair(a: Id, b: Id) -> (Id, Id) {
    (a.min(b), a.max(b))
}

impl Model {
    // ---- what was committed -------------------------------------------------------------------------

    /// A batch and its outcomes. `failed`: the transaction did not reach the disk.
    pub fn committed(
        &mut self,
        commands: &[(Lane, Command)],
        outcomes: &[Outcome],
        failed: bool,
        sabotaged: bool,
    ) {
        if failed {
            for ((_, command), outcome) in commands.iter().zip(outcomes) {
                assert_eq!(outcome.result.as_ref().err(), Some(&Refusal::Unavailable), "{}", command.name());
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
                    "{} overtook what failed in its lane",
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

    fn apply(&mut self, lane: Lane, command: &Command, outcome: &Outcome, sabotaged: bool) {
        let events = &outcome.events;
        for event in events {
            assert!(event.seq > self.head, "seq {} after {}", event.seq, self.head);
            self.head = event.seq;
        }
        match command {
            Command::PostMessage(post) => self.post(lane, post, outcome, sabotaged),
            Command::MarkRead(mark) => {
                let expect = self.mark_read(mark.reader, mark.conversation, mark.n);
                match (&outcome.result, expect) {
                    (Ok(Answer::MarkRead(marked)), Some((read_n, unread, moved))) => {
                        assert_eq!((marked.read_n, marked.unread), (read_n, unread), "a read mark's answer");
                        assert_eq!(events.len(), usize::from(moved), "events of a read mark");
                        if let [event] = events.as_slice() {
                            let conversation =
                                self.conversations.get_mut(&mark.conversation).expect("it is there");
                            conversation.mark(mark.reader, event.seq, read_n);
                            let what =
                                What::Read { conversation: mark.conversation, profile: mark.reader, read_n };
                            let audience = conversation.members.clone();
                            self.record(lane, event, what, audience);
                        }
                    }
                    (Err(Refusal::NotFound), None) => {}
                    (result, expect) => panic!("conversation.read: {result:?}, expected {expect:?}"),
                }
            }
            Command::SignUp(sign_up) => match &outcome.result {
                Ok(_) => {
                    assert!(self.emails.insert(sign_up.email.clone()), "an e-mail address taken twice");
                    self.profiles.insert(sign_up.profile);
                    self.profile_of.insert(sign_up.member, sign_up.profile);
                    self.open_session(sign_up.profile, &sign_up.session);
                }
                Err(Refusal::EmailTaken) => assert!(self.emails.contains(&sign_up.email), "a free address"),
                Err(refusal) => panic!("sign-up: {refusal:?}"),
            },
            Command::OpenSession(open) => {
                assert!(outcome.result.is_ok(), "sign-in: {:?}", outcome.result);
                let profile = self.profile_of[&open.member];
                self.open_session(profile, &open.session);
            }
            Command::RefreshSession(refresh) => self.refresh(lane, refresh, outcome),
            Command::EndSession(end) => {
                assert!(outcome.result.is_ok(), "logout: {:?}", outcome.result);
                let stood = self.sessions.get(&end.session).is_some_and(|session| !session.ended);
                assert_eq!(events.len(), usize::from(stood), "events of a logout");
                if stood {
                    self.end_session(lane, end.session, &events[0]);
                }
            }
            // What the server does on its own: mail, last seen. Its events are taken as they are.
            _ => {
                for event in events {
                    let audience = event.audience.profiles.iter().copied().collect();
                    self.record(lane, event, What::Other { name: event.fact.name() }, audience);
                }
            }
        }
    }

    fn record(&mut self, lane: Lane, event: &Event, what: What, audience: BTreeSet<Id>) {
        let told: BTreeSet<Id> = event.audience.profiles.iter().copied().collect();
        assert_eq!(told, audience, "the audience of {what:?}");
        self.log.insert(event.seq, Logged { what, audience, lane });
    }

    fn post(&mut self, lane: Lane, post: &PostMessage, outcome: &Outcome, sabotaged: bool) {
        let body = post.body.clone().expect("the clients write texts");
        let expect: Result<Option<u64>, Refusal> = match self.posts.get(&(post.sender, post.client_id)) {
            Some(seq) => Ok(Some(*seq)),
            None => self.may_post(post).map(|()| None),
        };
        match (&outcome.result, expect) {
            (Ok(Answer::PostMessage(posted)), Ok(original)) => {
                let PostedMessage::Whole(message) = &posted.message else { panic!("a stub") };
                assert_eq!(posted.duplicate, original.is_some(), "duplicate, for {}", post.client_id);
                assert_eq!(outcome.events.len(), usize::from(original.is_none()), "events of a post");
                if let Some(seq) = original {
                    let known = self.message(seq).expect("it is there");
                    assert_eq!((message.id, message.n, message.seq), (known.id, known.n, known.seq));
                    assert_eq!(message.body.as_deref(), Some(known.body.as_str()), "the original's text");
                    return;
                }
                assert!(
                    !(sabotaged && body.starts_with(sabotage::STATEMENT)),
                    "a failed statement was answered"
                );
                assert!(!(sabotaged && body.starts_with(sabotage::COMMIT)), "a failed commit was answered");
                let id = self.place_of(post, message.conversation);
                let conversation = self.conversations.get_mut(&id).expect("it is there");
                let event = &outcome.events[0];
                let Fact::MessagePosted(told) = &event.fact else { panic!("{:?}", event.fact) };
                assert_eq!((told.id, told.seq, told.n), (message.id, event.seq, message.n));
                let n = conversation.messages.len() as u64 + 1;
                let created_at = post.at.max(self.newest_ms);
                let stored = Message {
                    id: message.id,
                    client_id: post.client_id,
                    conversation: id,
                    n,
                    seq: event.seq,
                    sender: post.sender,
                    body,
                    reply_to: post.reply_to,
                    created_at,
                    lane,
                };
                assert_eq!((message.n, message.seq, message.id.seq()), (n, event.seq, event.seq));
                assert_eq!((message.created_at.0, message.id.unix_ms()), (created_at, created_at));
                self.newest_ms = created_at;
                conversation.messages.push(stored);
                conversation.mark(post.sender, event.seq, n);
                self.posts.insert((post.sender, post.client_id), event.seq);
                self.messages.insert(event.seq, (id, n));
                let audience = conversation.members.clone();
                self.record(lane, event, What::Posted { conversation: id, n }, audience);
            }
            (Err(refusal), Err(expected)) if *refusal == expected => {}
            (Err(Refusal::Internal), Ok(None)) if sabotaged && body.starts_with(sabotage::STATEMENT) => {}
            (result, expect) => panic!("message.post: {result:?}, expected {expect:?}"),
        }
        assert!(outcome.result.is_ok() || outcome.events.is_empty(), "an event of a refused post");
    }

    fn may_post(&self, post: &PostMessage) -> Result<(), Refusal> {
        let conversation = match post.destination {
            Destination::To(peer) => {
                if !self.profiles.contains(&peer) {
                    return Err(Refusal::NotFound);
                }
                self.directs.get(&pair(post.sender, peer)).copied()
            }
            Destination::Conversation(id) => {
                let members = self.conversations.get(&id).map(|conversation| &conversation.members);
                if members.is_none_or(|members| !members.contains(&post.sender)) {
                    return Err(Refusal::NotFound);
                }
                Some(id)
            }
        };
        let stands = |reply: Id| {
            let place = self.messages.get(&reply.seq()).copied();
            let whole = self.message(reply.seq()).is_some_and(|message| message.id == reply);
            whole && place.map(|(id, _)| id) == conversation
        };
        match post.reply_to {
            Some(reply) if !stands(reply) => Err(Refusal::Invalid("reply_to")),
            _ => Ok(()),
        }
    }

    /// The conversation of a post, made where it is the first message of two.
    fn place_of(&mut self, post: &PostMessage, found: Id) -> Id {
        let id = match post.destination {
            Destination::Conversation(id) => id,
            Destination::To(peer) => {
                let id = *self.directs.entry(pair(post.sender, peer)).or_insert(found);
                let conversation = self.conversations.entry(id).or_default();
                conversation.members.extend([post.sender, peer]);
                id
            }
        };
        assert_eq!(found, id, "the conversation of a post");
        id
    }

    /// The mark as it will stand, what is unread then, and whether it moves. `None`: not a member.
    fn mark_read(&self, reader: Id, conversation: Id, n: u64) -> Option<(u64, u64, bool)> {
        let conversation = self.conversations.get(&conversation)?;
        if !conversation.members.contains(&reader) {
            return None;
        }
        let before = conversation.read_n(reader, u64::MAX);
        let read_n = n.min(conversation.messages.len() as u64).max(before);
        let behind = &conversation.messages[read_n as usize..];
        let unread = behind.iter().filter(|message| message.sender != reader).count() as u64;
        Some((read_n, unread, read_n > before))
    }

    fn open_session(&mut self, profile: Id, session: &NewSession) {
        let opened = Session {
            profile,
            refresh: vec![session.refresh_uuid],
            rotated_at: 0,
            refresh_expire: session.refresh_expire,
            access_until: session.access_expire,
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
            assert_eq!(answer, None, "a session that had ended went on");
            return;
        };
        if session.refresh_expire <= refresh.at / 1_000 {
            assert_eq!(answer, None, "an expired refresh token was exchanged");
            return;
        }
        let place = session.refresh.iter().position(|uuid| *uuid == refresh.refresh_uuid);
        let behind = place.map(|place| session.refresh.len() - 1 - place);
        match behind {
            Some(0) => {
                assert_eq!(answer, Some(refresh.next_refresh_uuid), "a rotation");
                session.refresh.push(refresh.next_refresh_uuid);
                session.rotated_at = refresh.at;
                session.refresh_expire = refresh.refresh_expire;
                session.access_until = session.access_until.max(refresh.access_expire);
            }
            Some(1) if refresh.at.saturating_sub(session.rotated_at) <= 60_000 => {
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

    fn end_session(&mut self, lane: Lane, id: Id, event: &Event) {
        let session = self.sessions.get_mut(&id).expect("it is there");
        session.ended = true;
        let audience = BTreeSet::from([session.profile]);
        self.record(lane, event, What::Ended { session: id }, audience);
    }

    // ---- what may be asked of the truth -------------------------------------------------------------

    pub fn message(&self, seq: u64) -> Option<&Message> {
        let (conversation, n) = self.messages.get(&seq)?;
        self.conversations[conversation].messages.get(*n as usize - 1)
    }

    /// What a sender stored under a `client_id`.
    pub fn posted(&self, sender: Id, client_id: Id) -> Option<&Message> {
        self.message(*self.posts.get(&(sender, client_id))?)
    }

    pub fn direct(&self, a: Id, b: Id) -> Option<Id> {
        self.directs.get(&pair(a, b)).copied()
    }

    /// Conversations of a profile.
    pub fn of(&self, profile: Id) -> impl Iterator<Item = (Id, &Conversation)> {
        let mine = move |(_, conversation): &(&Id, &Conversation)| conversation.members.contains(&profile);
        self.conversations.iter().filter(mine).map(|(id, conversation)| (*id, conversation))
    }

    pub fn is_ended(&self, session: Id) -> bool {
        self.sessions.get(&session).is_none_or(|session| session.ended)
    }

    pub fn refresh_expired(&self, session: Id, unix_s: u64) -> bool {
        self.sessions.get(&session).is_none_or(|session| session.refresh_expire <= unix_s)
    }

    /// Ended sessions whose last access token lives, and for how many seconds.
    pub fn ended(&self, unix_s: u64) -> Vec<(Id, u64)> {
        let lives = |session: &&Session| session.ended && session.access_until > unix_s;
        let rest = |(id, session): (&Id, &Session)| (*id, session.access_until - unix_s);
        self.sessions.iter().filter(|(_, session)| lives(session)).map(rest).collect()
    }

    /// Whether an event has a newer one of the same kind, place and person, which a replay shows instead.
    pub fn is_superseded(&self, seq: u64) -> bool {
        let What::Read { conversation, profile, .. } = &self.log[&seq].what else { return false };
        self.log.range(seq + 1..).any(|(_, later)| {
            matches!(&later.what, What::Read { conversation: c, profile: p, .. } if c == conversation && p == profile)
        })
    }

    /// The events between two places of the log, neither included, that this profile must hear on this connection.
    pub fn due(&self, after: u64, before: u64, profile: Id, lane: Lane) -> Vec<u64> {
        if after + 1 >= before {
            return Vec::new();
        }
        let mine = |logged: &Logged| logged.audience.contains(&profile) && logged.lane != lane;
        let range = self.log.range(after + 1..before);
        range.filter(|(_, logged)| mine(logged)).map(|(seq, _)| *seq).collect()
    }

    // ---- what was seen ------------------------------------------------------------------------------

    /// A message as a client was shown it is the one that was stored. Answers its seq.
    pub fn check_message(&self, shown: &Value<'_>) -> u64 {
        let seq = number_at(shown, "seq").expect("seq");
        let message = self.message(seq).unwrap_or_else(|| panic!("a message that is not on disk: seq {seq}"));
        let id = |name: &str| text_at(shown, name).and_then(|text| Id::parse(&text));
        assert_eq!(id("id"), Some(message.id), "id of seq {seq}");
        assert_eq!(id("client_id"), Some(message.client_id), "client_id of seq {seq}");
        assert_eq!(id("conversation"), Some(message.conversation), "conversation of seq {seq}");
        assert_eq!(id("sender"), Some(message.sender), "sender of seq {seq}");
        assert_eq!(id("reply_to"), message.reply_to, "reply_to of seq {seq}");
        assert_eq!(number_at(shown, "n"), Some(message.n), "n of seq {seq}");
        assert_eq!(number_at(shown, "rev"), Some(seq), "rev of seq {seq}");
        assert_eq!(text_at(shown, "body").as_ref(), Some(&message.body), "body of seq {seq}");
        let created_at = natter::base::time::rfc3339(message.created_at);
        assert_eq!(text_at(shown, "created_at"), Some(created_at), "created_at of seq {seq}");
        seq
    }

    /// An event as a stream was told it is the one of its seq; a replay renders what stands there now.
    pub fn check_event(&self, event: &Value<'_>, live: bool) -> u64 {
        let seq = number_at(event, "seq").expect("seq");
        let name = text_at(event, "event").expect("event");
        let data = at(event, "data").expect("data");
        let logged = self.log.get(&seq).unwrap_or_else(|| panic!("{name} of seq {seq} is not on disk"));
        let id = |name: &str| text_at(data, name).and_then(|text| Id::parse(&text));
        match (&logged.what, name.as_str()) {
            (What::Posted { .. }, "message.posted") => {
                assert_eq!(self.check_message(data), seq, "the message of an event");
            }
            (What::Read { conversation, profile, read_n }, "conversation.read") => {
                assert_eq!(id("conversation"), Some(*conversation));
                assert_eq!(id("profile"), Some(*profile));
                // Own posts move the mark without an event.
                let now = self.conversations[conversation].read_n(*profile, self.head);
                let told = number_at(data, "read_n").expect("read_n");
                assert!(
                    told == *read_n || !live && *read_n <= told && told <= now,
                    "read_n {told} of seq {seq}"
                );
            }
            (What::Ended { session }, "session.ended") => assert_eq!(id("session"), Some(*session)),
            (What::Other { name: known }, name) => assert_eq!(*known, name),
            (what, name) => panic!("seq {seq} is {what:?}, but was told as {name}"),
        }
        seq
    }
}
