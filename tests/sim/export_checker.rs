//! Checks the export of an account against the model.
//!
//! Owns which lines it holds. The messages and profiles in it are checked by the model as everywhere.

use std::collections::BTreeSet;

use natter::base::id::Id;
use natter::base::json::{self, Value};
use natter::model::id::{OfInvite, OfSession};
use natter::server::contract::ConnId;

use super::Run;
use super::codec::{at, text_at};
use super::device::Ask;

/// In the order of their lines.
const KINDS: [&str; 9] =
    ["member", "profile", "session", "block", "invite", "upload", "conversation", "message", "reaction"];

fn id_at<K>(data: &Value<'_>, name: &str) -> Id<K> {
    text_at(data, name).and_then(|text| Id::parse(&text)).unwrap_or_else(|| panic!("{name} in {data:?}"))
}

impl Run {
    /// A complete export came.
    pub fn exported(&mut self, d: usize, conn: ConnId, body: &[u8]) {
        let http = self.devices[d].https.iter_mut().find(|http| http.conn == conn).expect("a connection");
        let Some((Ask::Export { exact }, _)) = http.asks.pop_front() else {
            panic!("nobody asked for an export")
        };
        self.stats.exports += 1;
        let me = self.profile(d).expect("a profile");
        let mut last_kind = 0;
        let (mut sessions, mut blocks, mut conversations) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut invites = BTreeSet::new();
        let (mut messages, mut reactions, mut uploads) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for line in body.split_inclusive(|byte| *byte == b'\n') {
            let line = json::parse(line.strip_suffix(b"\n").expect("complete lines")).expect("JSON");
            let (kind, data) = (text_at(&line, "kind").expect("kind"), at(&line, "data").expect("data"));
            let index = KINDS.iter().position(|known| **known == kind).expect("a known kind");
            assert!(index >= last_kind, "{kind} after {}", KINDS[last_kind]);
            last_kind = index;
            let fresh = match kind.as_str() {
                "member" => {
                    let email = &self.people[self.devices[d].person].email;
                    assert_eq!(text_at(data, "email").as_ref(), Some(email));
                    true
                }
                "profile" => {
                    assert_eq!(id_at(data, "id"), me);
                    self.model.check_profile(data, if exact { self.model.head } else { 0 });
                    true
                }
                "session" => {
                    let id = id_at::<OfSession>(data, "id");
                    if exact {
                        assert_eq!(text_at(data, "place"), self.model.place(id), "the place of {id}");
                    }
                    sessions.insert(id)
                }
                "block" => blocks.insert(id_at(data, "profile")),
                "invite" => {
                    assert_eq!(id_at(data, "maker"), me, "an export shows an invite of another maker");
                    invites.insert(id_at::<OfInvite>(data, "id"))
                }
                "conversation" => conversations.insert(id_at(data, "id")),
                "message" => {
                    let (seq, rev) = self.model.check_message(data);
                    let stored = self.model.message(seq).expect("it is there");
                    assert_eq!(stored.sender, me, "an export shows another member's message");
                    assert!(!exact || rev == stored.now().rev, "an old version of {seq}");
                    messages.insert(seq)
                }
                "reaction" => {
                    let emoji = text_at(data, "emoji").expect("emoji");
                    reactions.insert((id_at(data, "message"), emoji))
                }
                "upload" => uploads.insert(self.model.check_upload(data)),
                kind => panic!("a line of kind {kind}"),
            };
            assert!(fresh, "{kind} twice: {data:?}");
        }
        if !exact {
            return;
        }
        let mine = self.model.of(me).map(|(id, _)| id).collect();
        assert_eq!(conversations, mine, "the conversations of an export");
        assert_eq!(invites, self.model.invites.of(me), "the invites of an export");
        assert_eq!(uploads, self.model.uploads_of(me), "the uploads of an export");
        assert_eq!(blocks, self.model.blocked_by(me), "the blocks of an export");
        let all = || self.model.conversations.values().flat_map(|conversation| &conversation.messages);
        let sent = all().filter(|message| message.sender == me).map(|message| message.seq).collect();
        assert_eq!(messages, sent, "the messages of an export");
        let mut reacted = BTreeSet::new();
        for message in all() {
            for (emoji, _) in message.now().reactions.iter().filter(|(_, who)| who.contains(&me)) {
                reacted.insert((message.id, emoji.clone()));
            }
        }
        assert_eq!(reactions, reacted, "the reactions of an export");
    }
}
