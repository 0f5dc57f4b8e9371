//! A client: what one device of a person knows, has open and waits for.
//!
//! Owns the state. Its actions are in `workload`, the checks of what it receives in `event_checker`.
//! Invariant: a draft is dropped only when its post was answered; until then it is sent again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use natter::model::id::{ClientId, ConversationId, MessageId, ProfileId, SessionId, UploadId};
use natter::server::contract::ConnId;

pub struct Person {
    pub name: String,
    pub email: String,
    pub password: String,
    /// Known after the first sign-up.
    pub profile: Option<ProfileId>,
    /// The account exists, as far as its devices know.
    pub signed_up: bool,
}

#[derive(Clone, Debug)]
pub struct Token {
    pub access: String,
    pub refresh: String,
    pub session: SessionId,
    /// Unix seconds.
    pub exp: u64,
    /// The epoch it was made in: a token of another epoch is refused.
    pub epoch: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    Profile(ProfileId),
    Conversation(ConversationId),
}

#[derive(Clone, Debug)]
pub struct Draft {
    pub client_id: ClientId,
    pub to: To,
    pub body: String,
    pub reply_to: Option<MessageId>,
    pub attachments: Vec<UploadId>,
    /// The message that is posted in place of the text.
    pub forward: Option<MessageId>,
    pub answered: bool,
    /// It was permanently refused: the sender left its conversation, or is blocked.
    pub given_up: bool,
    /// The connection it was last written to, while that is open.
    pub carrier: Option<ConnId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    Newest,
    Before(u64),
    After(u64),
}

/// A request of a device, with what the check of its answer needs.
#[derive(Clone, Debug)]
pub enum Ask {
    SignUp,
    SignIn,
    Refresh,
    Logout,
    /// `floor`: as of `List`.
    Me {
        floor: u64,
    },
    Rename,
    /// Makes an invite to a group.
    Invite,
    /// Subscribes a session to notifications.
    Push,
    /// A code by mail.
    Code,
    /// A file.
    Upload,
    /// Describes a file of any person, gives it a preview, or deletes it.
    ChangeUpload,
    /// The end of the account.
    DeleteAccount,
    /// The bytes of a file of any person.
    Download(Download),
    /// Changes or ends a subscription, also one that is not there.
    PushChange,
    /// Says what a device shows.
    Focus {
        shown: Option<ConversationId>,
    },
    /// `exact`: nothing changes until it is complete.
    Export {
        exact: bool,
    },
    /// `index`: the index of this post on its connection.
    Post {
        client_id: ClientId,
        index: usize,
    },
    Read {
        conversation: ConversationId,
    },
    /// `floor`: the greatest seq whose outcome was known when this was sent; a read must see it. `below`: whether the last one of
    /// the page before is pinned, and its activity.
    List {
        below: Option<(bool, u64)>,
        archived: Option<bool>,
        floor: u64,
    },
    Messages {
        conversation: ConversationId,
        point: Point,
        limit: u64,
        floor: u64,
    },
    /// The files of a conversation before a position, while nothing changes.
    Files {
        conversation: ConversationId,
        before: u64,
        limit: usize,
    },
    /// A change of a message or a group, which the rules may refuse.
    Change,
    /// `below`: the seq below which the search continues; `exact`: the index has caught up and no device writes.
    Search {
        words: &'static [&'static str],
        conversation: Option<ConversationId>,
        limit: usize,
        below: Option<u64>,
        floor: u64,
        exact: bool,
    },
    Typing {
        conversation: ConversationId,
    },
    /// A stream authenticates with the newer token of its session.
    Auth {
        proof: Proof,
    },
    /// A request that must fail with this code.
    Wrong {
        code: &'static str,
    },
}

impl Ask {
    pub fn is_write(&self) -> bool {
        matches!(self, Ask::Post { .. } | Ask::Read { .. } | Ask::Change)
    }
}

/// A file that is asked for, and what was true at that time.
#[derive(Clone, Copy, Debug)]
pub struct Download {
    pub upload: UploadId,
    pub is_preview: bool,
    pub exists: bool,
    pub may_read: bool,
    pub floor: u64,
}

/// The token that a request was sent with.
#[derive(Clone, Debug)]
pub struct Proof {
    pub session: SessionId,
    pub exp: u64,
    pub epoch: String,
    /// The server knew of the session's end before a byte of this was written.
    pub over: bool,
}

/// The posts that one connection carried, in the order they were written.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    pub posts: Vec<ClientId>,
    /// The indexes of refused posts: a later index may hold the same post again.
    pub refusals: BTreeSet<usize>,
    /// The first post that was refused with `retry:true`: no later post may be stored through this connection.
    pub refused: Option<usize>,
}

pub struct Http {
    pub conn: ConnId,
    pub inbox: Vec<u8>,
    pub asks: VecDeque<(Ask, Option<Proof>)>,
    pub carried: Carried,
    /// The server announced that it closes: nothing more is written.
    pub closing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Native,
    Legacy(ProfileId),
    /// The log as server-sent events.
    Events,
    /// The log as JSON, a page at a time, sometimes after a wait.
    Poll,
    /// A legacy stream of one value.
    Counter,
    Chats,
}

impl Form {
    pub fn is_socket(self) -> bool {
        matches!(self, Form::Native | Form::Legacy(_))
    }
}

/// Where a requested page of the log begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    Oldest,
    Now,
    Cursor(String, u64),
}

/// A requested page of the log.
#[derive(Clone, Debug)]
pub struct Poll {
    pub start: Start,
    pub limit: usize,
    pub wait: Duration,
    pub asked: Instant,
    pub floor: u64,
}

pub struct Stream {
    pub conn: ConnId,
    pub form: Form,
    pub inbox: Vec<u8>,
    pub proof: Proof,
    pub upgraded: bool,
    /// Native: the cursor it was opened with.
    pub cursor: Option<(String, u64)>,
    pub hello: bool,
    /// Native: every event up to this seq was received.
    pub last: u64,
    /// After `caught_up`, or after the history of a legacy socket.
    pub live: bool,
    pub resetting: bool,
    /// Legacy socket: the `n` of the last message shown.
    pub shown: Option<u64>,
    /// Native: the conversation that the server knows to be shown.
    pub showing: Option<ConversationId>,
    /// An event stream: its body without the chunks.
    pub text: Vec<u8>,
    /// A value stream: the last value.
    pub value: Option<String>,
    pub poll: Option<Poll>,
    pub floor: u64,
    pub asks: BTreeMap<u64, Ask>,
    /// Writes in the order they were sent.
    pub writes: VecDeque<u64>,
    pub next_id: u64,
    pub carried: Carried,
    /// Legacy socket: a post was refused with retry; the refusal does not say which.
    pub refused: bool,
    /// One side has sent a close frame.
    pub closing: bool,
}

pub struct Device {
    pub person: usize,
    pub address: u8,
    pub unique_id: Option<String>,
    pub token: Option<Token>,
    /// A token was requested on this connection.
    pub signing: Option<ConnId>,
    pub https: Vec<Http>,
    pub stream: Option<Stream>,
    pub drafts: Vec<Draft>,
    /// Where a new stream continues.
    pub cursor: Option<(String, u64)>,
    /// The cursor of the last list: everything before it was fetched.
    pub list_cursor: Option<(String, u64)>,
    /// Every message since this seq must be known.
    pub since: Option<u64>,
    /// Known messages by their seq, and whether an event delivered them.
    pub known: BTreeMap<u64, bool>,
    /// The posts of each closed connection.
    pub over: Vec<(ConnId, Carried)>,
}

impl Device {
    pub fn new(person: usize, address: u8, unique_id: Option<String>) -> Device {
        Device {
            person,
            address,
            unique_id,
            token: None,
            signing: None,
            https: Vec::new(),
            stream: None,
            drafts: Vec::new(),
            cursor: None,
            list_cursor: None,
            since: None,
            known: BTreeMap::new(),
            over: Vec::new(),
        }
    }

    pub fn live_native(&self) -> bool {
        self.live_log() && self.stream.as_ref().is_some_and(|stream| stream.form == Form::Native)
    }

    /// Receives events as they happen.
    pub fn live_log(&self) -> bool {
        let log = |stream: &Stream| matches!(stream.form, Form::Native | Form::Events);
        self.stream.as_ref().is_some_and(|stream| log(stream) && stream.live && !stream.closing)
    }

    /// A connection was closed: what was in flight is uncertain, and is sent again.
    pub fn lost(&mut self, conn: ConnId) {
        if let Some(index) = self.https.iter().position(|http| http.conn == conn) {
            let http = self.https.remove(index);
            self.over.push((conn, http.carried));
        }
        if let Some(stream) = self.stream.take_if(|stream| stream.conn == conn) {
            self.over.push((conn, stream.carried));
        }
        for draft in &mut self.drafts {
            draft.carrier.take_if(|carrier| *carrier == conn);
        }
        self.signing.take_if(|signing| *signing == conn);
    }

    /// Drops what streams have delivered: a new start at this seq.
    pub fn begin_at(&mut self, seq: u64) {
        self.since = Some(seq);
        self.known.clear();
    }

    pub fn knows(&mut self, seq: u64, by_event: bool) {
        let delivered = self.known.entry(seq).or_insert(false);
        assert!(!(*delivered && by_event), "message {seq} was delivered twice");
        *delivered |= by_event;
    }
}
