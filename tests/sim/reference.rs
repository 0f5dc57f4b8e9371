//! The shadow model: what must be on disk, by the promises of `protocol.md` alone. It is told each batch when its transaction is
//! done, predicts every outcome, and knows for every profile which events it must hear. Owns the truth of a run; refuses to
//! look into the server or the store.
//!
//! Invariant: nothing is ever taken back. A crash or a restart leaves the model as it is: what was committed stays.

use std::collections::{BTreeMap, BTreeSet};

use natter::base::id::Id;
use natter::base::json::Value;
use natter::model::operation::Lane;

use super::codec::{at, number_at, text_at};
use super::history::{Conversation, Message, Version};

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
    /// A message is named by its seq.
    Edited {
        message: u64,
    },
    Deleted {
        message: u64,
    },
    Reacted {
        message: u64,
    },
    Created {
        conversation: Id,
    },
    Updated {
        conversation: Id,
    },
    Added {
        conversation: Id,
        profile: Id,
        admin: bool,
    },
    Removed {
        conversation: Id,
        profile: Id,
        admin: bool,
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
pub struct Session {
    pub(super) profile: Id,
    /// All refresh tokens it ever had; the last is the current one.
    pub(super) refresh: Vec<Id>,
    pub(super) rotated_at: u64,
    pub(super) refresh_expire: u64,
    pub(super) access_until: u64,
    pub(super) ended: bool,
}

#[derive(Default)]
pub struct Model {
    pub head: u64,
    pub(super) newest_id: Id,
    pub(super) emails: BTreeSet<String>,
    pub profiles: BTreeSet<Id>,
    /// By member.
    pub(super) profile_of: BTreeMap<Id, Id>,
    pub(super) sessions: BTreeMap<Id, Session>,
    pub conversations: BTreeMap<Id, Conversation>,
    pub(super) directs: BTreeMap<(Id, Id), Id>,
    /// Groups by their creator and client_id.
    pub(super) makings: BTreeMap<(Id, Id), Id>,
    /// Who blocks whom now, and which pairs ever did.
    pub(super) blocks: BTreeSet<(Id, Id)>,
    pub(super) ever_blocked: BTreeSet<(Id, Id)>,
    pub(super) posts: BTreeMap<(Id, Id), u64>,
    /// Posts that were refused for good: not of a member any more, or blocked.
    pub refused: BTreeSet<(Id, Id)>,
    /// (conversation, n) of each message, by seq.
    pub(super) messages: BTreeMap<u64, (Id, u64)>,
    pub log: BTreeMap<u64, Logged>,
}

/// A row of the legacy chat list.
#[derive(Debug, PartialEq, Eq)]
pub struct Chat {
    pub id: Id,
    pub receiver: Option<Id>,
    pub message: String,
    pub is_read: bool,
    pub created_at: String,
}

/// Whether a text has a word beginning with each of these, whatever their case and accents.
pub fn holds(version: &Version, words: &[&str]) -> bool {
    let Some(body) = &version.body else { return false };
    let plain: String = body.to_lowercase().replace('é', "e").replace('ü', "u");
    let said: Vec<&str> =
        plain.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.iter().all(|word| said.iter().any(|said| said.starts_with(word)))
}

pub fn pair(a: Id, b: Id) -> (Id, Id) {
    (a.min(b), a.max(b))
}

impl Model {
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

    /// Conversations a profile is in.
    pub fn of(&self, profile: Id) -> impl Iterator<Item = (Id, &Conversation)> {
        let mine = move |(_, conversation): &(&Id, &Conversation)| conversation.has(profile);
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

    pub fn is_blocked(&self, a: Id, b: Id) -> bool {
        self.blocks.contains(&(a, b)) || self.blocks.contains(&(b, a))
    }

    /// Whether a replay may leave an event out for this profile: one of the same kind, place and person is newer; or of
    /// a conversation that was left later, nothing is shown but one's own removal; or the two blocked each other.
    pub fn is_excused(&self, seq: u64, profile: Id) -> bool {
        let what = &self.log[&seq].what;
        if let What::Read { conversation, profile: reader, .. } = what {
            let newer = self.log.range(seq + 1..).any(|(_, later)| {
                matches!(&later.what, What::Read { conversation: c, profile: p, .. } if c == conversation && p == reader)
            });
            if newer || self.ever_blocked.contains(&pair(profile, *reader)) {
                return true;
            }
        }
        let place = self.conversation_of(what).map(|id| &self.conversations[&id]);
        place.is_some_and(|conversation| conversation.was_left_after(profile, seq))
    }

    fn conversation_of(&self, what: &What) -> Option<Id> {
        match what {
            What::Posted { conversation, .. }
            | What::Read { conversation, .. }
            | What::Created { conversation }
            | What::Updated { conversation }
            | What::Added { conversation, .. }
            | What::Removed { conversation, .. } => Some(*conversation),
            What::Edited { message } | What::Deleted { message } | What::Reacted { message } => {
                self.message(*message).map(|message| message.conversation)
            }
            What::Ended { .. } | What::Other { .. } => None,
        }
    }

    /// Whether a stream of this profile may be told of an event: it is of the audience; in a replay also where a block was
    /// lifted since.
    pub fn may_hear(&self, seq: u64, profile: Id, live: bool) -> bool {
        let logged = &self.log[&seq];
        let lifted = match &logged.what {
            What::Read { conversation, profile: reader, .. } => {
                self.conversations[conversation].has(profile)
                    && !self.conversations[conversation].is_group
                    && self.ever_blocked.contains(&pair(profile, *reader))
            }
            _ => false,
        };
        logged.audience.contains(&profile) || !live && lifted
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

    /// Whoever may know that a member of a conversation types there; `None` for one who is not in it.
    pub fn listeners(&self, typist: Id, conversation: Id) -> Option<BTreeSet<Id>> {
        let conversation =
            self.conversations.get(&conversation).filter(|conversation| conversation.has(typist))?;
        let may = |other: &Id| *other != typist && !self.is_blocked(typist, *other);
        Some(conversation.joined.iter().copied().filter(may).collect())
    }

    /// Conversations with something unread, as they stood at a seq.
    pub fn counter(&self, profile: Id, seq: u64) -> u64 {
        let unread = |conversation: &&Conversation| {
            conversation.had(profile, seq) && conversation.unread(profile, seq) > 0
        };
        self.conversations.values().filter(unread).count() as u64
    }

    /// The direct conversations of a profile as the legacy route lists them, at a seq.
    pub fn chats(&self, profile: Id, seq: u64) -> Vec<Chat> {
        let mine = |(_, conversation): &(&Id, &Conversation)| {
            !conversation.is_group && conversation.had(profile, seq) && conversation.last_n(seq) > 0
        };
        let mut all: Vec<(&Id, &Conversation)> = self.conversations.iter().filter(mine).collect();
        all.sort_unstable_by_key(|(_, conversation)| std::cmp::Reverse(conversation.activity(seq)));
        let chat = |(id, conversation): (&Id, &Conversation)| {
            let said = &conversation.messages[..conversation.last_n(seq) as usize];
            let text = |message: &&Message| message.version(seq).body.is_some();
            let newest = said.iter().rev().find(text).or(said.last()).expect("a first message");
            Chat {
                id: *id,
                receiver: conversation.joined.iter().copied().find(|other| *other != profile),
                message: newest.version(seq).body.clone().unwrap_or_default(),
                is_read: conversation.unread(profile, seq) == 0,
                created_at: natter::base::time::rfc3339(newest.created_at),
            }
        };
        all.into_iter().map(chat).collect()
    }

    /// Messages of a profile's conversations that hold a word beginning with each of these; the newest first.
    pub fn found(&self, profile: Id, conversation: Option<Id>, words: &[&str]) -> Vec<u64> {
        let here = |(id, _): &(Id, &Conversation)| conversation.is_none_or(|wanted| wanted == *id);
        let all = self.of(profile).filter(here).flat_map(|(_, place)| &place.messages);
        let mut found: Vec<u64> = all.filter(|m| holds(m.now(), words)).map(|m| m.seq).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        found
    }

    // ---- what was seen ------------------------------------------------------------------------------

    /// A message as a client was shown it is one that is on disk, whole, in one of its versions. Answers its seq and the
    /// rev of that version.
    pub fn check_message(&self, shown: &Value<'_>) -> (u64, u64) {
        let seq = number_at(shown, "seq").expect("seq");
        let message = self.message(seq).unwrap_or_else(|| panic!("a message that is not on disk: seq {seq}"));
        let id = |name: &str| text_at(shown, name).and_then(|text| Id::parse(&text));
        assert_eq!(id("id"), Some(message.id), "id of seq {seq}");
        assert_eq!(id("client_id"), Some(message.client_id), "client_id of seq {seq}");
        assert_eq!(id("conversation"), Some(message.conversation), "conversation of seq {seq}");
        assert_eq!(id("sender"), Some(message.sender), "sender of seq {seq}");
        assert_eq!(number_at(shown, "n"), Some(message.n), "n of seq {seq}");
        let created_at = natter::base::time::rfc3339(message.created_at);
        assert_eq!(text_at(shown, "created_at"), Some(created_at), "created_at of seq {seq}");
        let rev = number_at(shown, "rev").expect("rev");
        let version: &Version = message.version(rev);
        assert_eq!(version.rev, rev, "seq {seq} never had this rev");
        assert_eq!(text_at(shown, "body"), version.body, "body of seq {seq} at rev {rev}");
        assert_eq!(id("reply_to"), version.reply_to, "reply_to of seq {seq} at rev {rev}");
        let stands = |name: &str| at(shown, name).is_some_and(|value| *value != Value::Null);
        assert_eq!(stands("edited_at"), version.edited, "edited_at of seq {seq} at rev {rev}");
        assert_eq!(stands("deleted_at"), version.body.is_none(), "deleted_at of seq {seq} at rev {rev}");
        let reactions = at(shown, "reactions").and_then(Value::as_list).expect("reactions");
        let told: Vec<(String, Vec<Id>)> = reactions
            .iter()
            .map(|reaction| {
                let who = at(reaction, "profiles").and_then(Value::as_list).expect("profiles");
                let who: Vec<Id> = who.iter().filter_map(|id| Id::parse(id.as_str()?)).collect();
                assert_eq!(number_at(reaction, "count"), Some(who.len() as u64), "count of a reaction");
                (text_at(reaction, "emoji").expect("emoji"), who)
            })
            .collect();
        assert_eq!(told, version.reactions, "reactions of seq {seq} at rev {rev}");
        (seq, rev)
    }

    /// An event as a stream was told it is the one of its seq; a replay renders what stands there now.
    pub fn check_event(&self, event: &Value<'_>, live: bool) -> u64 {
        let seq = number_at(event, "seq").expect("seq");
        let name = text_at(event, "event").expect("event");
        let data = at(event, "data").expect("data");
        let logged = self.log.get(&seq).unwrap_or_else(|| panic!("{name} of seq {seq} is not on disk"));
        let id = |name: &str| text_at(data, name).and_then(|text| Id::parse(&text));
        let message = |expected: u64| {
            let (told, rev) = self.check_message(data);
            assert_eq!(told, expected, "the message of {name} {seq}");
            assert!(if live { rev == seq } else { rev >= seq }, "{name} {seq} shows rev {rev}");
        };
        let brief = |conversation: &Id| {
            let truth = &self.conversations[conversation];
            assert_eq!(id("id"), Some(*conversation), "the conversation of {name} {seq}");
            let (title, count) = (text_at(data, "title"), number_at(data, "members_count"));
            let as_of =
                |at: u64| title.as_deref() == truth.title(at) && count == Some(truth.members_count(at));
            let stood = if live { as_of(seq) } else { (seq..=self.head).any(as_of) };
            assert!(stood, "{name} {seq}: {data:?}");
        };
        match (&logged.what, name.as_str()) {
            (What::Posted { .. }, "message.posted") => message(seq),
            (What::Edited { message: of }, "message.edited")
            | (What::Deleted { message: of }, "message.deleted")
            | (What::Reacted { message: of }, "message.reacted") => message(*of),
            (What::Created { conversation }, "conversation.created")
            | (What::Updated { conversation }, "conversation.updated") => brief(conversation),
            (What::Added { conversation, profile, admin }, "member.added")
            | (What::Removed { conversation, profile, admin }, "member.removed") => {
                assert_eq!((id("conversation"), id("profile")), (Some(*conversation), Some(*profile)));
                let role = if *admin { "admin" } else { "member" };
                assert_eq!(text_at(data, "role").as_deref(), Some(role), "the role of {name} {seq}");
            }
            (What::Read { conversation, profile, read_n }, "conversation.read") => {
                assert_eq!((id("conversation"), id("profile")), (Some(*conversation), Some(*profile)));
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
