//! What storage tests and benches share: a database in its own folder, people, and commands with times and ids.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::PathBuf;

pub use crate::seed::Seeded;
use natter::base::crypto::Entropy;
use natter::base::id::Id;
use natter::base::secret::Secret;
use natter::base::time::UnixMs;
use natter::model::event::Event;
use natter::model::id::{MemberId, ProfileId, SessionId};
use natter::model::mail::{Content, Language, NewMail};
use natter::model::member::{NewAccount, SignUp};
use natter::model::message::{Destination, Message, PostMessage, Posted, PostedMessage};
use natter::model::operation::{Answer, Lane, Operation, Read, Refusal, Start, Write};
use natter::model::session::{NewSession, OpenSession};
use natter::store::{Committed, OpenFault, Reader, Store, StoreOptions};

/// The time at which the tests begin: 2026-11-22.
pub const NOW_MS: UnixMs = UnixMs(1_795_352_634_120);
pub const ACCESS_S: u64 = 900;
pub const REFRESH_S: u64 = 2_592_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Person {
    pub member: MemberId,
    pub profile: ProfileId,
    pub session: SessionId,
    pub refresh_uuid: Id,
}

/// An open database with a writer and a reader.
pub struct Kit {
    pub options: StoreOptions,
    pub seed: Seeded,
    pub now_ms: UnixMs,
    pub start: Start,
    store: Option<Store>,
    reader: Option<Reader>,
}

/// A fresh database file in its own folder.
pub fn options(name: &str) -> StoreOptions {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("store-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a folder for the test");
    StoreOptions::new(dir.join("natter.db"))
}

pub fn open(options: &StoreOptions) -> Result<(Store, Start), OpenFault> {
    Store::open(options, &mut Seeded(7), NOW_MS)
}

impl Kit {
    pub fn new(name: &str) -> Kit {
        Kit::with(options(name))
    }

    pub fn with(options: StoreOptions) -> Kit {
        let (store, start) = Store::open(&options, &mut Seeded(1), NOW_MS).expect("the store opens");
        let reader = Reader::open(&options).expect("a reader opens");
        Kit { options, seed: Seeded(2), now_ms: NOW_MS, start, store: Some(store), reader: Some(reader) }
    }

    pub fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("the store is open")
    }

    /// Drops the store without closing it, as a crash does. The WAL stays.
    pub fn crash(&mut self) {
        // A connection that is dropped would checkpoint and remove the WAL; a crash does neither.
        std::mem::forget(self.store.take());
        self.reader = None;
    }

    /// For a test that closed the store and damaged its file.
    pub fn forget_store(&mut self) {
        self.store = None;
        self.reader = None;
    }

    pub fn close(&mut self) {
        self.reader = None;
        self.store.take().expect("the store is open").close().expect("the store closes");
    }

    pub fn reopen(&mut self) {
        let (store, start) =
            Store::open(&self.options, &mut Seeded(9), self.now_ms).expect("the store opens");
        self.store = Some(store);
        self.reader = Some(Reader::open(&self.options).expect("a reader opens"));
        self.start = start;
    }

    pub fn id<K>(&mut self) -> Id<K> {
        (&mut self.seed as &mut dyn Entropy).id(self.now_ms)
    }

    /// Runs SQL over another connection to the same file, for what no operation does. The writer's caches don't see it:
    /// close or crash before, reopen after.
    pub fn sql(&self, sql: &str) {
        let conn = rusqlite::Connection::open(&self.options.path).expect("a second connection");
        conn.execute_batch(sql).expect("the statement of the test");
    }

    pub fn sql_number(&self, sql: &str) -> i64 {
        let conn = rusqlite::Connection::open(&self.options.path).expect("a second connection");
        conn.query_row(sql, [], |row| row.get(0)).expect("the question of the test")
    }

    pub fn commit(&mut self, commands: Vec<(u64, Write)>) -> Committed {
        let mut batch: Vec<_> = commands.into_iter().map(|(lane, command)| (Lane(lane), command)).collect();
        let count = batch.len();
        let committed = self.store().commit(&mut batch);
        assert!(batch.is_empty(), "a batch is used up");
        assert_eq!(committed.outcomes.len(), count, "one outcome a command");
        committed
    }

    /// One write, alone in its batch.
    pub fn write<O: Operation + Into<Write>>(
        &mut self,
        operation: O,
    ) -> (Result<O::Answer, Refusal>, Vec<Event>) {
        let mut committed = self.commit(vec![(1, operation.into())]);
        assert_eq!(committed.fault, None);
        let outcome = committed.outcomes.remove(0);
        let result = outcome.result.map(|answer| O::from_answer(answer).expect("its own row's answer"));
        (result, outcome.events.to_vec())
    }

    pub fn read<O: Operation + Into<Read>>(&mut self, operation: O) -> Result<O::Answer, Refusal> {
        let reader = self.reader.as_mut().expect("the reader is open");
        reader.read(operation.into()).map(|answer| O::from_answer(answer).expect("its own row's answer"))
    }

    pub fn new_session(&mut self, unique_id: Option<&str>) -> NewSession {
        let unix_s = self.now_ms.s();
        NewSession {
            id: self.id(),
            access_uuid: self.id(),
            refresh_uuid: self.id(),
            unique_id: unique_id.map(str::to_owned),
            user_agent: "test".to_owned(),
            address: "127.0.0.1".to_owned(),
            access_expire: unix_s.after(ACCESS_S),
            refresh_expire: unix_s.after(REFRESH_S),
        }
    }

    /// A sign-in of a person whose hash is the one of [`Kit::sign_up_command`], from a device with this name.
    pub fn sign_in_command(&mut self, name: &str, member: MemberId, unique_id: &str) -> OpenSession {
        OpenSession {
            at: self.now_ms,
            member,
            session: self.new_session(Some(unique_id)),
            hash: Secret::new(format!("$argon2id${name}")),
            rehash: None,
            mail: NewMail::new(self.id(), Language::En, Content::PasswordChanged),
            used: None,
            used_mail: None,
        }
    }

    pub fn sign_up_command(&mut self, name: &str) -> SignUp {
        SignUp {
            account: NewAccount {
                at: self.now_ms,
                member: self.id(),
                profile: self.id(),
                email: Secret::new(format!("{name}@example.org")),
                hash: Secret::new(format!("$argon2id${name}")),
                display_name: name.to_uppercase().into(),
                nick_names: vec![name.to_owned()],
            },
            session: self.new_session(None),
            code: None,
            invite: None,
        }
    }

    pub fn person(&mut self, name: &str) -> Person {
        let command = self.sign_up_command(name);
        let person = Person {
            member: command.account.member,
            profile: command.account.profile,
            session: command.session.id,
            refresh_uuid: command.session.refresh_uuid,
        };
        self.write(command).0.expect("a sign-up");
        person
    }

    /// A post of a text with a new client_id.
    pub fn post(&mut self, sender: ProfileId, destination: Destination, body: &str) -> PostMessage {
        let draft = Message {
            client_id: self.id(),
            sender: Some(sender),
            body: Some(body.to_owned()),
            created_at: self.now_ms,
            ..Message::default()
        };
        PostMessage {
            draft: draft.into(),
            destination,
            attachments: [].into(),
            conversation_if_new: self.id(),
            random: 0x5a5a,
        }
    }

    /// Posts, and returns the message.
    pub fn say(&mut self, sender: ProfileId, destination: Destination, body: &str) -> Message {
        let post = self.post(sender, destination, body);
        let posted = self.write(post).0.expect("a post");
        assert!(!posted.duplicate);
        complete(posted)
    }
}

impl Drop for Kit {
    fn drop(&mut self) {
        self.reader = None;
        self.store = None;
        if !std::thread::panicking()
            && let Some(dir) = self.options.path.parent()
        {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

pub fn complete(posted: Posted) -> Message {
    match posted.message {
        PostedMessage::Complete(message) => (*message).clone(),
        PostedMessage::Left(stub) => panic!("only a stub: {stub:?}"),
    }
}

/// The answer of a post in a batch.
pub fn posted(result: &Result<Answer, Refusal>) -> Option<(u64, u64, bool)> {
    match result {
        Ok(Answer::PostMessage(Posted { message: PostedMessage::Complete(message), duplicate })) => {
            Some((message.n, message.seq, *duplicate))
        }
        _ => None,
    }
}
