//! The reference model: what must be stored and delivered, by the promises of `protocol.md` alone.
//!
//! It receives each batch after its transaction, predicts every outcome, and knows for every profile which events it must
//! receive. Does not read the server or the store.
//! Invariant: nothing is ever undone. A crash or a restart leaves the model unchanged: what was committed stays.

use std::collections::{BTreeMap, BTreeSet};

use natter::base::id::Id;
use natter::base::json::Value;
use natter::base::time::{UnixMs, UnixS};
use natter::model::id::{ClientId, ConversationId, MemberId, MessageId, ProfileId, SessionId, UploadId};
use natter::model::operation::Lane;

use super::codec::{at, id_at, number_at, text_at};
use super::deletion_checker::Deletions;
use super::history::{Conversation, Message, System, Version};
use super::invite_checker::Invites;
use super::mail_checker::Mails;
use super::push_checker::Pushes;
use super::upload_checker::Uploads;

/// The content of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Posted {
        conversation: ConversationId,
        n: u64,
    },
    Read {
        conversation: ConversationId,
        profile: ProfileId,
        read_n: u64,
    },
    Ended {
        session: SessionId,
    },
    /// A message is identified by its seq.
    Edited {
        message: u64,
    },
    Deleted {
        message: u64,
    },
    Reacted {
        message: u64,
    },
    Pinned {
        message: u64,
    },
    Created {
        conversation: ConversationId,
    },
    Updated {
        conversation: ConversationId,
    },
    /// A member changed what it has set for itself.
    Preferences {
        conversation: ConversationId,
    },
    Added {
        conversation: ConversationId,
        profile: ProfileId,
        admin: bool,
    },
    Removed {
        conversation: ConversationId,
        profile: ProfileId,
        admin: bool,
    },
    /// A profile's name, nick name or visibility changed.
    Renamed {
        profile: ProfileId,
    },
    /// An event that the model has no rule for.
    Other {
        name: &'static str,
    },
}

#[derive(Clone, Debug)]
pub struct Logged {
    pub what: What,
    pub audience: BTreeSet<ProfileId>,
    /// The connection whose command caused it: it receives the answer instead.
    pub lane: Lane,
}

#[derive(Debug)]
pub struct Session {
    pub(super) profile: ProfileId,
    /// All refresh tokens it ever had; the last is the current one.
    pub(super) refresh: Vec<Id>,
    pub(super) rotated_at: UnixMs,
    pub(super) refresh_expire: UnixS,
    pub(super) access_until: UnixS,
    pub(super) place: Option<String>,
    pub(super) ended: bool,
}

#[derive(Default)]
pub struct Model {
    pub head: u64,
    pub(super) newest_id: MessageId,
    pub(super) emails: BTreeSet<String>,
    pub profiles: BTreeSet<ProfileId>,
    /// What others see of each profile, since which seq.
    pub(super) names: BTreeMap<ProfileId, Vec<(u64, Name)>>,
    /// By member.
    pub(super) profile_of: BTreeMap<MemberId, ProfileId>,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    pub conversations: BTreeMap<ConversationId, Conversation>,
    pub(super) directs: BTreeMap<(ProfileId, ProfileId), ConversationId>,
    /// Groups by their creator and client_id.
    pub(super) created: BTreeMap<(ProfileId, ClientId), ConversationId>,
    /// Current blocks, and the pairs that ever had one.
    pub(super) blocks: BTreeSet<(ProfileId, ProfileId)>,
    pub(super) ever_blocked: BTreeSet<(ProfileId, ProfileId)>,
    pub(super) posts: BTreeMap<(ProfileId, ClientId), u64>,
    /// Posts that were permanently refused: the sender is no longer a member, or is blocked.
    pub refused: BTreeSet<(ProfileId, ClientId)>,
    /// (conversation, n) of each message, by seq.
    pub(super) messages: BTreeMap<u64, (ConversationId, u64)>,
    pub log: BTreeMap<u64, Logged>,
    pub pushes: Pushes,
    pub(super) mails: Mails,
    pub(super) uploads: Uploads,
    pub(super) deletions: Deletions,
    pub(super) invites: Invites,
}

/// What others see of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub display_name: String,
    pub nick_name: String,
    pub is_private: bool,
}

impl Name {
    fn shown(data: &Value<'_>) -> Name {
        Name {
            display_name: text_at(data, "display_name").expect("display_name"),
            nick_name: text_at(data, "nick_name").expect("nick_name"),
            is_private: at(data, "is_private") == Some(&Value::Bool(true)),
        }
    }
}

/// A row of the legacy chat list.
#[derive(Debug, PartialEq, Eq)]
pub struct Chat {
    pub id: ConversationId,
    pub receiver: Option<ProfileId>,
    pub message: String,
    pub is_read: bool,
    pub created_at: String,
}

/// Whether a text has a word that begins with each of these, ignoring case and accents.
pub fn holds(version: &Version, words: &[&str]) -> bool {
    let Some(body) = &version.body else { return false };
    let plain: String = body.to_lowercase().replace('é', "e").replace('ü', "u");
    let own: Vec<&str> =
        plain.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.iter().all(|word| own.iter().any(|own| own.starts_with(word)))
}

pub fn pair(a: ProfileId, b: ProfileId) -> (ProfileId, ProfileId) {
    (a.min(b), a.max(b))
}

impl Model {
    // ---- queries -----------------------------------------------------------------------------------

    pub fn message(&self, seq: u64) -> Option<&Message> {
        let (conversation, n) = self.messages.get(&seq)?;
        self.conversations[conversation].messages.get(*n as usize - 1)
    }

    /// The message that a sender stored under a `client_id`.
    pub fn posted(&self, sender: ProfileId, client_id: ClientId) -> Option<&Message> {
        self.message(*self.posts.get(&(sender, client_id))?)
    }

    pub fn direct(&self, a: ProfileId, b: ProfileId) -> Option<ConversationId> {
        self.directs.get(&pair(a, b)).copied()
    }

    /// Whom a text mentions: in a group, its members by their nick names, but nobody with a block in between; all by an admin. The
    /// texts of the workload have names as words of their own.
    pub(super) fn mentions(&self, id: ConversationId, sender: ProfileId, body: &str) -> BTreeSet<String> {
        let conversation = &self.conversations[&id];
        if !conversation.is_group {
            return BTreeSet::new();
        }
        let words: Vec<&str> = body.split_whitespace().filter_map(|word| word.strip_prefix('@')).collect();
        let named = |profile: &&ProfileId| {
            let name = &self.name(**profile, u64::MAX).nick_name;
            words.contains(&name.as_str()) && !self.is_blocked(sender, **profile)
        };
        let mut mentions: BTreeSet<String> =
            conversation.joined.iter().filter(named).map(ProfileId::to_string).collect();
        if conversation.admins.contains(&sender) && words.contains(&"all") {
            mentions.insert("all".to_owned());
        }
        mentions
    }

    /// The conversations of a profile.
    pub fn of(&self, profile: ProfileId) -> impl Iterator<Item = (ConversationId, &Conversation)> {
        let mine = move |(_, conversation): &(&ConversationId, &Conversation)| conversation.has(profile);
        self.conversations.iter().filter(mine).map(|(id, conversation)| (*id, conversation))
    }

    pub fn is_ended(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_none_or(|session| session.ended)
    }

    pub fn place(&self, session: SessionId) -> Option<String> {
        self.sessions[&session].place.clone()
    }

    pub fn refresh_expired(&self, session: SessionId, unix_s: UnixS) -> bool {
        self.sessions.get(&session).is_none_or(|session| session.refresh_expire <= unix_s)
    }

    /// Ended sessions whose last access token is still valid, and for how many seconds.
    pub fn ended(&self, unix_s: UnixS) -> Vec<(SessionId, u64)> {
        let lives = |session: &&Session| session.ended && session.access_until > unix_s;
        let rest = |(id, session): (&SessionId, &Session)| (*id, session.access_until.0 - unix_s.0);
        self.sessions.iter().filter(|(_, session)| lives(session)).map(rest).collect()
    }

    pub fn blocked_by(&self, blocker: ProfileId) -> BTreeSet<ProfileId> {
        self.blocks.iter().filter(|(by, _)| *by == blocker).map(|(_, other)| *other).collect()
    }

    pub fn is_blocked(&self, a: ProfileId, b: ProfileId) -> bool {
        self.blocks.contains(&(a, b)) || self.blocks.contains(&(b, a))
    }

    /// Whether a replay may leave an event out for this profile: because a newer one of the same kind, conversation and
    /// profile exists; or because the profile left the conversation later, so that it is shown only its own removal, or cleared
    /// it; or because the two blocked each other.
    pub fn is_excused(&self, seq: u64, profile: ProfileId) -> bool {
        let what = &self.log[&seq].what;
        if let What::Read { conversation, profile: reader, .. } = what {
            if self.is_gone(*reader) {
                return true;
            }
            let newer = self.log.range(seq + 1..).any(|(_, later)| {
                matches!(&later.what, What::Read { conversation: c, profile: p, .. } if c == conversation && p == reader)
            });
            let hid =
                self.ever_blocked.contains(&pair(profile, *reader)) || self.ever_hid_reads(profile, *reader);
            if newer || hid {
                return true;
            }
        }
        // A replay shows a peer's newest change only.
        if let What::Renamed { profile: renamed } = what
            && *renamed != profile
        {
            let newer = self
                .log
                .range(seq + 1..)
                .any(|(_, later)| matches!(&later.what, What::Renamed { profile } if profile == renamed));
            let hid = self.ever_blocked.contains(&pair(profile, *renamed)) || self.is_gone(*renamed);
            return newer || hid;
        }
        let Some(conversation) = self.conversation_of(what).map(|id| &self.conversations[&id]) else {
            return false;
        };
        let n = match what {
            What::Posted { n, .. } => Some(*n),
            What::Edited { message }
            | What::Deleted { message }
            | What::Reacted { message }
            | What::Pinned { message } => self.message(*message).map(|message| message.n),
            _ => None,
        };
        let is_cleared = n.is_some_and(|n| n < conversation.first_n(profile));
        is_cleared || conversation.was_left_after(profile, seq)
    }

    fn conversation_of(&self, what: &What) -> Option<ConversationId> {
        match what {
            What::Posted { conversation, .. }
            | What::Read { conversation, .. }
            | What::Created { conversation }
            | What::Updated { conversation }
            | What::Preferences { conversation }
            | What::Added { conversation, .. }
            | What::Removed { conversation, .. } => Some(*conversation),
            What::Edited { message }
            | What::Deleted { message }
            | What::Reacted { message }
            | What::Pinned { message } => self.message(*message).map(|message| message.conversation),
            What::Ended { .. } | What::Renamed { .. } | What::Other { .. } => None,
        }
    }

    /// Whether a stream of this profile may receive an event: the profile is in its audience, or, in a replay, a block was
    /// removed, a direct conversation begun or a profile made public since.
    pub fn may_receive(&self, seq: u64, profile: ProfileId, live: bool) -> bool {
        let logged = &self.log[&seq];
        let lifted = match &logged.what {
            What::Read { conversation, profile: reader, .. } => {
                self.conversations[conversation].has(profile)
                    && !self.conversations[conversation].is_group
                    && (self.ever_blocked.contains(&pair(profile, *reader))
                        || self.ever_hid_reads(profile, *reader))
            }
            What::Renamed { profile: renamed } => {
                self.direct(profile, *renamed).is_some() && !self.is_blocked(profile, *renamed)
            }
            _ => false,
        };
        logged.audience.contains(&profile) || !live && lifted
    }

    /// The events between two seqs, both excluded, that this profile must receive on this connection.
    pub fn due(&self, after: u64, before: u64, profile: ProfileId, lane: Lane) -> Vec<u64> {
        if after + 1 >= before {
            return Vec::new();
        }
        let mine = |logged: &Logged| logged.audience.contains(&profile) && logged.lane != lane;
        let range = self.log.range(after + 1..before);
        range.filter(|(_, logged)| mine(logged)).map(|(seq, _)| *seq).collect()
    }

    /// The profiles that may see that a member types in a conversation. `None` if the typist is not a member.
    pub fn listeners(&self, typist: ProfileId, conversation: ConversationId) -> Option<BTreeSet<ProfileId>> {
        let conversation =
            self.conversations.get(&conversation).filter(|conversation| conversation.has(typist))?;
        let may = |other: &ProfileId| *other != typist && !self.is_blocked(typist, *other);
        Some(conversation.joined.iter().copied().filter(may).collect())
    }

    /// The number of conversations with unread messages at a seq.
    pub fn counter(&self, profile: ProfileId, seq: u64) -> u64 {
        let unread = |conversation: &&Conversation| {
            conversation.had(profile, seq) && conversation.unread(profile, seq) > 0
        };
        self.conversations.values().filter(unread).count() as u64
    }

    /// The direct conversations of a profile as the legacy chat list shows them, at a seq.
    pub fn chats(&self, profile: ProfileId, seq: u64) -> Vec<Chat> {
        let mine = |(_, conversation): &(&ConversationId, &Conversation)| {
            !conversation.is_group
                && conversation.had(profile, seq)
                && conversation.last_n(seq) > 0
                && !conversation.preferences(profile, seq)[4]
        };
        let mut all: Vec<(&ConversationId, &Conversation)> = self.conversations.iter().filter(mine).collect();
        all.sort_unstable_by_key(|(_, conversation)| std::cmp::Reverse(conversation.activity(seq)));
        let chat = |(id, conversation): (&ConversationId, &Conversation)| {
            let messages = &conversation.messages[..conversation.last_n(seq) as usize];
            let first_n = conversation.first_n_since(profile, seq)[0];
            let text = |message: &&Message| message.version(seq).body.is_some() && message.n >= first_n;
            let found = messages.iter().rev().find(text);
            let newest = found.or(messages.last()).expect("a first message");
            Chat {
                id: *id,
                receiver: conversation.joined.iter().copied().find(|other| *other != profile),
                message: found.and_then(|newest| newest.version(seq).body.clone()).unwrap_or_default(),
                is_read: conversation.unread(profile, seq) == 0,
                created_at: natter::base::time::rfc3339(newest.created_at),
            }
        };
        all.into_iter().map(chat).collect()
    }

    /// Messages of a profile's conversations that have a word beginning with each of these; the newest first.
    pub fn found(
        &self,
        profile: ProfileId,
        conversation: Option<ConversationId>,
        words: &[&str],
    ) -> Vec<u64> {
        let here =
            |(id, _): &(ConversationId, &Conversation)| conversation.is_none_or(|wanted| wanted == *id);
        let all = self.of(profile).filter(here).flat_map(|(_, conversation)| {
            let hidden = conversation.first_n(profile) as usize - 1;
            conversation.messages.iter().skip(hidden)
        });
        let mut found: Vec<u64> = all.filter(|m| holds(m.now(), words)).map(|m| m.seq).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        found
    }

    /// The profiles that receive a change of this one: itself, and its direct peers except across a block.
    pub(super) fn who_sees(&self, profile: ProfileId) -> BTreeSet<ProfileId> {
        let peers = self.directs.keys().filter_map(|(low, high)| match () {
            () if *low == profile => Some(*high),
            () if *high == profile => Some(*low),
            () => None,
        });
        let sees = |peer: &ProfileId| !self.is_gone(*peer) && !self.is_blocked(profile, *peer);
        peers.filter(sees).chain([profile]).collect()
    }

    /// Whether two profiles do not see each other's read marks, because one of them is private.
    pub(super) fn hides_reads(&self, a: ProfileId, b: ProfileId) -> bool {
        [a, b].iter().any(|profile| self.name(*profile, u64::MAX).is_private)
    }

    fn ever_hid_reads(&self, a: ProfileId, b: ProfileId) -> bool {
        [a, b].iter().any(|profile| self.names[profile].iter().any(|(_, name)| name.is_private))
    }

    pub(super) fn name(&self, profile: ProfileId, seq: u64) -> &Name {
        let names = &self.names[&profile];
        let count = names.partition_point(|(since, _)| *since <= seq);
        &names[count.max(1) - 1].1
    }

    // ---- checks of received values -----------------------------------------------------------------

    /// Checks that a message shown to a client is stored, complete, in one of its versions. Returns its seq and the rev of
    /// that version.
    pub fn check_message(&self, shown: &Value<'_>) -> (u64, u64) {
        let seq = number_at(shown, "seq").expect("seq");
        let message = self.message(seq).unwrap_or_else(|| panic!("a message that is not on disk: seq {seq}"));
        assert_eq!(id_at(shown, "id"), Some(message.id), "id of seq {seq}");
        assert_eq!(id_at(shown, "client_id"), Some(message.client_id), "client_id of seq {seq}");
        assert_eq!(id_at(shown, "conversation"), Some(message.conversation), "conversation of seq {seq}");
        let sender = id_at(shown, "sender");
        let hides = |profile: ProfileId| self.is_gone(profile);
        assert!(
            sender == Some(message.sender) || sender.is_none() && hides(message.sender),
            "sender of seq {seq}: {sender:?}"
        );
        assert_eq!(number_at(shown, "n"), Some(message.n), "n of seq {seq}");
        let created_at = natter::base::time::rfc3339(message.created_at);
        assert_eq!(text_at(shown, "created_at"), Some(created_at), "created_at of seq {seq}");
        let rev = number_at(shown, "rev").expect("rev");
        let version: &Version = message.version(rev);
        assert_eq!(version.rev, rev, "seq {seq} never had this rev");
        assert_eq!(text_at(shown, "body"), version.body, "body of seq {seq} at rev {rev}");
        assert_eq!(id_at(shown, "reply_to"), version.reply_to, "reply_to of seq {seq} at rev {rev}");
        let attached = at(shown, "attachments").and_then(Value::as_list).expect("attachments");
        let attached: Vec<UploadId> = attached.iter().map(|file| self.check_attachment(file)).collect();
        let is_erased = attached.is_empty() && hides(message.sender);
        assert!(is_erased || attached == version.attachments, "attachments of seq {seq} at rev {rev}");
        let mentions = at(shown, "mentions").and_then(Value::as_list).unwrap_or_default();
        let mentions: Vec<String> =
            mentions.iter().map(|who| who.as_str().expect("a mention").to_owned()).collect();
        let set: BTreeSet<String> = mentions.iter().cloned().collect();
        let is_gone = |who: &&String| Id::parse(who).is_some_and(hides);
        let left_out: Vec<&String> = version.mentions.difference(&set).filter(|who| !is_gone(who)).collect();
        assert!(
            set.is_subset(&version.mentions) && set.len() == mentions.len() && left_out.is_empty(),
            "mentions of seq {seq} at rev {rev}: {mentions:?}"
        );
        let is_set = |name: &str| at(shown, name).is_some_and(|value| *value != Value::Null);
        let flags = (is_set("forwarded"), is_set("pinned"));
        assert_eq!(flags, (version.forwarded, version.pinned), "flags of seq {seq} at rev {rev}");
        assert_eq!(is_set("edited_at"), version.edited, "edited_at of seq {seq} at rev {rev}");
        let is_deleted = version.body.is_none() && version.system.is_none();
        assert_eq!(is_set("deleted_at"), is_deleted, "deleted_at of seq {seq} at rev {rev}");
        self.check_system(shown, version.system.as_ref(), seq);
        let reactions = at(shown, "reactions").and_then(Value::as_list).expect("reactions");
        let shown: Vec<(String, u64, Vec<ProfileId>)> = reactions
            .iter()
            .map(|reaction| {
                let who = at(reaction, "profiles").and_then(Value::as_list).expect("profiles");
                let who: Vec<ProfileId> = who.iter().filter_map(|id| Id::parse(id.as_str()?)).collect();
                let who = who.into_iter().filter(|profile| !hides(*profile)).collect();
                let count = number_at(reaction, "count").expect("count");
                (text_at(reaction, "emoji").expect("emoji"), count, who)
            })
            .collect();
        let known = |(emoji, who): &(String, Vec<ProfileId>)| {
            let named = who.iter().copied().filter(|profile| !hides(*profile)).collect();
            (emoji.clone(), who.len() as u64, named)
        };
        let known: Vec<(String, u64, Vec<ProfileId>)> = version.reactions.iter().map(known).collect();
        assert_eq!(shown, known, "reactions of seq {seq} at rev {rev}");
        (seq, rev)
    }

    /// A system message is shown with what it tells, and no other message has any of it. A deleted account is counted and not named.
    fn check_system(&self, shown: &Value<'_>, system: Option<&System>, seq: u64) {
        let profiles = at(shown, "profiles").and_then(Value::as_list).unwrap_or_default();
        let profiles: Vec<ProfileId> = profiles.iter().filter_map(|id| Id::parse(id.as_str()?)).collect();
        let count = number_at(shown, "profiles_count");
        let shown = (text_at(shown, "kind"), count, text_at(shown, "title"));
        let Some(System { kind, profiles: about, title }) = system.cloned() else {
            return assert_eq!(
                (shown, &*profiles),
                ((None, None, None), &[][..]),
                "seq {seq} is no system message"
            );
        };
        let expect = (Some(kind.to_owned()), Some(about.len() as u64), title);
        assert_eq!(shown, expect, "the system message of seq {seq}");
        let named: Vec<ProfileId> =
            about.into_iter().filter(|id| profiles.contains(id) || !self.is_gone(*id)).collect();
        assert_eq!(profiles, named, "whom seq {seq} is about");
    }

    /// Checks that a profile shown to a client had this name at `since` or later.
    pub fn check_profile(&self, shown: &Value<'_>, since: u64) {
        let id = id_at(shown, "id").expect("id");
        let name = Name::shown(shown);
        let held = (since..=self.head).any(|seq| *self.name(id, seq) == name);
        assert!(held, "{id} was never {name:?} since seq {since}: {:?}", self.names[&id]);
    }

    /// Checks an event of a stream against the log. A replay shows the current content.
    pub fn check_event(&self, event: &Value<'_>, live: bool) -> u64 {
        let seq = number_at(event, "seq").expect("seq");
        let name = text_at(event, "event").expect("event");
        let data = at(event, "data").expect("data");
        let logged = self.log.get(&seq).unwrap_or_else(|| panic!("{name} of seq {seq} is not on disk"));
        let message = |expected: u64| {
            let (shown, rev) = self.check_message(data);
            assert_eq!(shown, expected, "the message of {name} {seq}");
            assert!(if live { rev == seq } else { rev >= seq }, "{name} {seq} shows rev {rev}");
        };
        let brief = |conversation: &ConversationId| {
            let known = &self.conversations[conversation];
            assert_eq!(id_at(data, "id"), Some(*conversation), "the conversation of {name} {seq}");
            let (title, count) = (text_at(data, "title"), number_at(data, "members_count"));
            let as_of =
                |at: u64| title.as_deref() == known.title(at) && count == Some(known.members_count(at));
            let held = if live { as_of(seq) } else { (seq..=self.head).any(as_of) };
            assert!(held, "{name} {seq}: {data:?}");
            assert!(number_at(data, "erased_n").unwrap_or(0) <= known.erased_n, "{name} {seq}: {data:?}");
        };
        match (&logged.what, name.as_str()) {
            (What::Posted { .. }, "message.posted") => message(seq),
            (What::Edited { message: of }, "message.edited")
            | (What::Deleted { message: of }, "message.deleted")
            | (What::Reacted { message: of }, "message.reacted")
            | (What::Pinned { message: of }, "message.pinned") => message(*of),
            (What::Created { conversation }, "conversation.created") => brief(conversation),
            (What::Updated { conversation } | What::Preferences { conversation }, "conversation.updated") => {
                let is_own = matches!(logged.what, What::Preferences { .. });
                assert_eq!(at(data, "own").is_some(), is_own, "{name} {seq}: {data:?}");
                brief(conversation);
            }
            (What::Added { conversation, profile, admin }, "member.added")
            | (What::Removed { conversation, profile, admin }, "member.removed") => {
                assert_eq!(
                    (id_at(data, "conversation"), id_at(data, "profile")),
                    (Some(*conversation), Some(*profile))
                );
                let role = if *admin { "admin" } else { "member" };
                assert_eq!(text_at(data, "role").as_deref(), Some(role), "the role of {name} {seq}");
            }
            (What::Read { conversation, profile, read_n }, "conversation.read") => {
                assert_eq!(
                    (id_at(data, "conversation"), id_at(data, "profile")),
                    (Some(*conversation), Some(*profile))
                );
                // Own posts move the mark without an event.
                let now = self.conversations[conversation].read_n(*profile, self.head);
                let shown = number_at(data, "read_n").expect("read_n");
                assert!(
                    shown == *read_n || !live && *read_n <= shown && shown <= now,
                    "read_n {shown} of seq {seq}"
                );
            }
            (What::Renamed { profile }, "profile.updated") => {
                assert_eq!(id_at(data, "id"), Some(*profile), "the profile of {name} {seq}");
                if live {
                    assert_eq!(Name::shown(data), *self.name(*profile, seq), "{name} {seq}");
                } else {
                    self.check_profile(data, seq);
                }
            }
            (What::Ended { session }, "session.ended") => assert_eq!(id_at(data, "session"), Some(*session)),
            (What::Other { name: known }, name) => assert_eq!(*known, name),
            (what, name) => panic!("seq {seq} is {what:?}, but arrived as {name}"),
        }
        seq
    }
}
