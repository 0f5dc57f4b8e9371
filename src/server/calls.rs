//! Calls: what the server waits for, found again by a generational ticket.
//!
//! Invariant: a call whose connection has closed is an orphan, never dangling: its outcome still finds its events
//! and its continuation, and only the answer is dropped.

use crate::model::handler::Then;
use crate::model::id::{ConversationId, HookId, MailId, ProfileId, SessionId};
use crate::model::job::Done;
use crate::model::operation::{Answer, Refusal};
use crate::server::contract::ConnId;

/// One question to storage or a worker that is not answered yet.
pub struct Call {
    pub caller: Caller,
    pub next: Next,
}

impl Call {
    /// Whether the process may end before the answer: a mail stays in the outbox, the place of a session stays unknown, and
    /// a notification or an event of a hook that was not sent is after the stored cursor, so that the next start sends it. A backup that
    /// was begun leaves a part that the next one removes.
    pub fn may_be_given_up(&self) -> bool {
        matches!(
            self.next,
            Next::Task(
                Task::SendMail(_)
                    | Task::FindPlace(_)
                    | Task::Push(_)
                    | Task::CallHook(_)
                    | Task::MakeBackup
                    | Task::Run(Periodic::Certificate)
            )
        )
    }
}

/// What gets the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The request an HTTP connection waits for.
    Request(ConnId),
    /// An op of a stream, by its number on that stream.
    Op { conn: ConnId, op: u64 },
    /// The stream itself: a page of the log, a history, a read mark.
    Stream(ConnId),
    /// A periodic task whose run is a chain of handler steps.
    Task(Periodic),
    /// The server itself: no client waits for the answer.
    Server,
}

impl Caller {
    pub fn conn(self) -> ConnId {
        match self {
            Caller::Request(conn) | Caller::Stream(conn) | Caller::Op { conn, .. } => conn,
            Caller::Task(_) | Caller::Server => ConnId::NOBODY,
        }
    }
}

/// What happens with the outcome.
pub enum Next {
    Store(Then<Result<Answer, Refusal>>),
    Work(Then<Done>),
    /// For a password hash, which waits in [`hashing`](crate::server::request::hashing) first.
    Hash(Then<Done>),
    /// The stream takes the answer as it is.
    Stream,
    /// Which profiles may know whether this one is online.
    Presence {
        profile: ProfileId,
        online: bool,
    },
    /// The chats of a profile, for the streams that show them.
    Chats(ProfileId),
    /// Which peers of a stream that is up to date are online.
    Greeting,
    /// Which profiles may know that a stream types.
    Typing(AskedTyping),
    Task(Task),
}

/// The question which profiles may know that a stream types.
#[derive(Clone, Copy, Debug)]
pub struct AskedTyping {
    pub conversation: ConversationId,
    pub active: bool,
    /// How many blocks there were when it was asked: the answer may not know of one that was set since.
    pub blocks: u32,
}

/// What a background task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// The run in flight of a periodic task.
    Run(Periodic),
    SendMail(MailId),
    /// The outcome of a mail is being written.
    RecordMail(MailId),
    FindPlace(SessionId),
    PlaceSession,
    /// What is to be pushed is being read.
    FindPush(u64),
    /// A notification is on its way.
    Push(u64),
    /// All notifications up to this `seq` are sent, and that is being written.
    MovePushCursor(u64),
    ForgetSubscription,
    /// The next event of an outgoing hook is being read.
    ReadHook(HookId),
    /// An outgoing hook is being called.
    CallHook(HookId),
    /// How far an outgoing hook has come is being written.
    MoveHook,
    /// A backup that an admin has asked for is being made.
    MakeBackup,
    /// Which node does the work of all is being decided.
    HoldDuty,
    /// The holders of nick names that are reserved now get others.
    ReleaseNickNames,
    /// What this node has changed of the certificate is being written.
    KeepCertificate,
}

/// What the server does again and again; `background::tasks` has a row for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Periodic {
    /// Fetches the mails that are due.
    Mail,
    /// Finds who is to get a mail about what is unread.
    Digest,
    /// Writes when sessions were last seen.
    LastSeen,
    /// Erases messages of deleted accounts.
    Erase,
    /// Erases messages and uploads that are older than they are kept.
    Retain,
    /// Forgets events that are older than the operator keeps them.
    PruneLog,
    /// Removes the files of deleted uploads.
    RemoveFiles,
    /// Reads the log for messages that are to be pushed.
    Push,
    /// Reads the log for events of outgoing hooks.
    Hooks,
    /// Forgets expired state in memory.
    Expire,
    /// Counts members and uploads for reports.
    Totals,
    /// Reads the certificate again if its files changed, or goes on with the order of the next one.
    Certificate,
}
