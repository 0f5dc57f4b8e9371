//! The storage contract as one table: what may be asked of storage and what it answers.
//!
//! A command travels complete, with its own time and its own ids: storage reads no clock and draws no randomness.
//! Invariant: one command, one answer; a write's events are facts only when its transaction is on disk.

#![warn(missing_docs)]

use crate::base::time::{UnixMs, UnixS};
use std::sync::Arc;

use super::admin::{
    Act, Administer, AuditPage, CheckAdmin, FindResetLink, GroupMemberPage, GroupPage, ListAudit,
    ListGroupMembers, ListGroups, ListStorage, Usage, UseResetLink,
};
use super::backup::{BackUp, DatabaseCopy};
use super::bot::{
    AddBot, Bot, BotPage, BotToken, CreateBotToken, ListBotTokens, ListBots, LiveToken, MadeToken,
    RevokeBotToken,
};
use super::certificate::{CertificateRows, KeepCertificate};
use super::code::{IssueResetCode, IssueVerifyCode, ResetPassword, VerifyMember};
use super::conversation::{
    Chats, Conversation, ConversationPage, CreateConversation, CreatedConversation, GetConversation,
    GroupMember, ListChats, ListConversations, ListMembers, MarkRead, Marked, MemberPage, PutMember,
    RemoveMember, UpdateConversation,
};
use super::duty::{Duty, HoldDuty, RemoveNode};
use super::event::{Events, LogPage, PruneLog, ReadLog};
use super::export::{ExportAccount, ExportPage};
use super::hook::{FindHook, Hook, HookState, ListHooks, MoveHook, SetHook};
use super::id::{MemberId, ProfileId, SessionId, UploadId};
use super::invite::{
    CreateInvite, FindInvite, FoundInvite, Invite, InvitePage, ListInvites, RevokeInvite, UseInvite,
};
use super::mail::{
    DigestPage, FetchMail, FindDigests, MailFailed, MailFate, MailPage, MailSent, PlaceSession, SetDigest,
    WriteDigests,
};
use super::member::{
    Account, AccountPage, AddMember, Credential, DeleteAccount, EraseMessages, Erased, FindAccount,
    FindCredential, FindMember, FindSecret, ListAccounts, Member, SetActive, SetAdmin, SignUp, StoredSecret,
};
use super::message::{
    DeleteMessage, EditMessage, ForwardMessage, FoundMessages, GetMessage, LegacyHistory, ListMessages,
    Message, MessagePage, OpenLegacySocket, PinMessage, PostMessage, Posted, React, SearchMessages,
};
use super::metrics::{CountTotals, Totals};
use super::preferences::ClearConversation;
use super::presence::{FindListeners, FindPeers, MarkOffline, Peers};
use super::profile::{
    BlockPage, ChangedBlock, FindProfile, FoundProfiles, ListBlocks, ListProfiles, Profile, ReleaseNickNames,
    SearchProfiles, SetBlock, UpdateProfile,
};
use super::push::{
    FindPush, ForgetSubscription, MovePushCursor, PostedPage, Push, PushSubscription, ReadPosted,
    SetPushLevel, Subscribe, Unsubscribe,
};
use super::report::{ListReports, MadeReport, MakeReport, ReportPage};
use super::retention::{EraseOld, FindOld, OldPage};
use super::second_factor::ChangeFactor;
use super::session::{
    ChangePassword, EndSession, ListSessions, OpenSession, Opened, RecordLastSeen, RefreshSession, Refreshed,
    RevokeSessions, SessionPage,
};
use super::upload::{
    AdmitUpload, DeleteUpload, FilePage, FindKept, FindOrphans, FindUpload, ForgetFiles, KeptFile,
    ListErasedFiles, ListFiles, PublishUpload, PublishedUpload, StoredFile, UpdateUpload, Upload,
};

/// As many members of a new group cost as much as one post: each is a row in two indexes.
const MEMBERS_A_POST: usize = 16;
/// A write that costs as much as this many posts is committed by itself.
const HEAVY: u32 = 8;
/// A profile update of which peers are notified: with 10,000 of them it takes the writer 10 ms, and one per second leaves it 99 % of
/// its time.
const TOLD: u32 = 20;
const _: () = assert!(TOLD >= HEAVY);

impl Write {
    /// The cost of a write in posts, by the time that it takes the writer.
    pub fn weight(&self) -> u32 {
        match self {
            Write::CreateConversation(create) => {
                1 + u32::try_from(create.members.len() / MEMBERS_A_POST).unwrap_or(u32::MAX - 1)
            }
            // The writer reads every direct peer, each of whom gets the event. A change of `presence` alone is for oneself.
            Write::UpdateProfile(update) if update.is_told_to_peers() => TOLD,
            // Steps of bounded work, and events to all peers.
            Write::DeleteAccount(_) | Write::EraseMessages(_) | Write::EraseOld(_) | Write::PruneLog(_) => {
                HEAVY
            }
            Write::Administer(row) => match row.act {
                // Told to all peers, and to all members of a group.
                Act::Rename(_) | Act::DeleteGroup(_) => TOLD,
                _ => 1,
            },
            // Also a reaction, which reads all others of its message: 1,000 of them take as long as a post, and no account adds
            // more than `REACTIONS_MAX` to a message.
            _ => 1,
        }
    }

    /// Whether posts would wait for this write longer than for many others together.
    pub fn is_heavy(&self) -> bool {
        self.weight() >= HEAVY
    }
}

/// One row of the contract.
pub trait Operation: Sized {
    /// What storage answers.
    type Answer;
    /// The question as a command.
    fn into_command(self) -> Command;
    /// The answer of this row; `None` only if the store has answered another row's question, which is a bug that the caller turns
    /// into `general_error`.
    fn from_answer(answer: Answer) -> Option<Self::Answer>;
}

macro_rules! operations {
    (
        $($(#[$doc:meta])* $kind:ident { $($name:ident $arrow:tt $answer:ty;)* })*
        + $copy:ident -> $copied:ty;
    ) => {
        /// What storage may be asked, by the thread that does it.
        #[derive(Clone, Debug)]
        pub enum Command {
            $($(#[$doc])* $kind($kind),)*
            /// For the writer thread, which does other work between the steps of a copy.
            $copy($copy),
        }

        impl Command {
            /// The row's name, for logs and metrics.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Command::$kind(asked) => asked.name(),)*
                    Command::$copy(_) => stringify!($copy),
                }
            }
        }

        $($(#[$doc])*
        #[derive(Clone, Debug)]
        pub enum $kind {
            $(
                #[doc = concat!("[`", stringify!($name), "`], answered with `", stringify!($answer), "`.")]
                $name(operations!(@asked $arrow $name))
            ),*
        }

        impl $kind {
            /// The names of all rows.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// The row's name, for logs and metrics.
            pub fn name(&self) -> &'static str {
                match self { $($kind::$name(_) => stringify!($name)),* }
            }
        })*

        /// What storage answers, row by row.
        #[derive(Debug)]
        pub enum Answer {
            $($(
                #[doc = concat!("Of [`", stringify!($name), "`].")]
                $name(operations!(@answered $arrow $answer)),
            )*)*
            #[doc = concat!("Of [`", stringify!($copy), "`].")]
            $copy($copied),
        }

        $($(
            impl From<$name> for $kind {
                fn from(asked: $name) -> $kind { $kind::$name(operations!(@ask $arrow asked)) }
            }

            operations!(@row $name $arrow $answer, asked => Command::$kind(asked.into()));
        )*)*
        operations!(@row $copy -> $copied, asked => Command::$copy(asked));
    };
    (@row $name:ident $arrow:tt $answer:ty, $asked:ident => $command:expr) => {
        impl Operation for $name {
            type Answer = $answer;
            fn into_command(self) -> Command {
                let $asked = self;
                $command
            }
            fn from_answer(answer: Answer) -> Option<$answer> {
                match answer {
                    Answer::$name(answer) => Some(operations!(@open $arrow answer)),
                    _ => None,
                }
            }
        }
    };
    (@asked -> $asked:ty) => { $asked };
    (@asked $boxed:tt $asked:ty) => { Box<$asked> };
    (@ask -> $value:expr) => { $value };
    (@ask $boxed:tt $value:expr) => { Box::new($value) };
    (@answered => $answered:ty) => { Box<$answered> };
    (@answered $in_place:tt $answered:ty) => { $answered };
    (@open => $value:expr) => { *$value };
    (@open $in_place:tt $value:expr) => { $value };
}

// A post is moved from list to list a dozen times, and every list is as wide as the widest row. So a row that is rarer than a
// post is boxed where it is wide: `>>` the question (more than 64 bytes), `=>` the answer (more than 24) and the question with
// it; `->` neither.

operations! {
    /// For a reader: answered from one snapshot; changes nothing.
    Read {
        // Accounts and sessions.
        FindCredential => Option<Credential>;
        FindAccount => Account;
        ListSessions => SessionPage;
        FindSecret => StoredSecret;
        ExportAccount => ExportPage;
        // An operator's.
        ListAccounts => AccountPage;
        FindMember => Member;
        CheckAdmin -> ();
        ListAudit => AuditPage;
        ListReports => ReportPage;
        ListStorage -> Vec<Usage>;
        ListGroups => GroupPage;
        ListGroupMembers => GroupMemberPage;
        FindResetLink => Option<StoredSecret>;
        // Profiles and blocks.
        FindProfile => Profile;
        ListProfiles -> Vec<Profile>;
        SearchProfiles => FoundProfiles;
        ListBlocks => BlockPage;
        // Mail.
        FetchMail => MailPage;
        FindDigests => DigestPage;
        // Retention.
        FindOld => OldPage;
        // Conversations and messages.
        ListMessages => MessagePage;
        ListFiles => FilePage;
        ListConversations => ConversationPage;
        GetMessage => Message;
        SearchMessages => FoundMessages;
        GetConversation => Conversation;
        ListMembers => MemberPage;
        OpenLegacySocket => LegacyHistory;
        ListChats => Chats;
        // Invites.
        FindInvite => FoundInvite;
        ListInvites => InvitePage;
        // Bots.
        ListBots => BotPage;
        ListBotTokens -> Vec<BotToken>;
        FindHook => HookState;
        ListHooks -> Vec<Hook>;
        // Presence.
        FindListeners -> Vec<ProfileId>;
        FindPeers => Peers;
        // Notifications.
        ReadPosted => PostedPage;
        FindPush => Option<Push>;
        // Uploads.
        AdmitUpload -> u64;
        FindUpload => StoredFile;
        ListErasedFiles -> Vec<UploadId>;
        FindOrphans -> Option<Vec<UploadId>>;
        FindKept -> Vec<KeptFile>;
        // The log.
        ReadLog => LogPage;
        // Reports.
        CountTotals => Totals;
    }
    /// For the one writer: a part of a transaction.
    Write {
        // Accounts and sessions.
        SignUp => Opened;
        OpenSession => Opened;
        RefreshSession => Refreshed;
        EndSession -> ();
        RevokeSessions -> ();
        ChangePassword >> ();
        RecordLastSeen -> ();
        DeleteAccount >> ();
        EraseMessages -> Erased;
        EraseOld -> bool;
        // An operator's.
        AddMember => Member;
        SetActive => Member;
        SetAdmin => Member;
        // By the member or an operator.
        ChangeFactor => Member;
        Administer => Option<Member>;
        UseResetLink >> ();
        MakeReport => MadeReport;
        // Profiles and blocks.
        UpdateProfile => Profile;
        ReleaseNickNames -> u64;
        SetBlock => Option<ChangedBlock>;
        // Codes and mail.
        IssueVerifyCode >> ();
        IssueResetCode >> ();
        VerifyMember >> ();
        ResetPassword >> ();
        MailSent -> ();
        MailFailed -> MailFate;
        PlaceSession -> ();
        SetDigest -> ();
        WriteDigests -> ();
        // Conversations and messages.
        PostMessage -> Posted;
        ForwardMessage >> Posted;
        EditMessage -> Arc<Message>;
        DeleteMessage -> ();
        React >> Arc<Message>;
        PinMessage -> Arc<Message>;
        MarkRead -> Box<Marked>;
        CreateConversation => CreatedConversation;
        UpdateConversation => Conversation;
        ClearConversation -> Box<Conversation>;
        PutMember => GroupMember;
        RemoveMember -> ();
        // Invites.
        CreateInvite => Invite;
        RevokeInvite >> ();
        UseInvite => Option<Conversation>;
        // Bots.
        AddBot => Bot;
        CreateBotToken => MadeToken;
        RevokeBotToken >> ();
        SetHook => Option<HookState>;
        MoveHook >> ();
        // Presence.
        MarkOffline => Peers;
        // Notifications.
        Subscribe >> PushSubscription;
        SetPushLevel -> PushSubscription;
        Unsubscribe -> ();
        ForgetSubscription -> ();
        MovePushCursor -> ();
        // Uploads.
        PublishUpload => PublishedUpload;
        UpdateUpload => Upload;
        DeleteUpload -> ();
        ForgetFiles -> ();
        // The log.
        PruneLog -> bool;
        // The nodes of a cluster.
        HoldDuty -> Duty;
        KeepCertificate -> CertificateRows;
        RemoveNode >> bool;
    }
    + BackUp -> DatabaseCopy;
}

/// Why storage did not do a command. The last four are faults of the system and worth a retry; the others are rules of the
/// contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not exist, or the asker may not read it.
    NotFound,
    /// The asker may read it but not change it; or a block in an existing conversation.
    NotAllowed,
    /// A refresh token, session or member that is no longer valid.
    Unauthorized,
    /// Another member has this e-mail address.
    EmailTaken,
    /// Another profile has this nick name.
    NicknameTaken,
    /// Something refers to it, so it cannot be deleted.
    InUse,
    /// The code is wrong or has expired.
    CodeWrong,
    /// 422 `invalid_<field>`, for a rule that only storage can check.
    Invalid(&'static str),
    /// The quota of the member is used up.
    QuotaExceeded,
    /// A queue was full; nothing was done.
    Busy,
    /// The transaction did not reach the disk, or the lane is closed after a fault.
    Unavailable,
    /// The disk is full.
    StorageFull,
    /// A bug of natter; logged where it happened.
    Internal,
}

impl Refusal {
    /// Whether it is a fault of the system: the same command may succeed later, and no write after it in its lane may overtake
    /// it.
    pub fn is_fault(self) -> bool {
        matches!(self, Refusal::Busy | Refusal::Unavailable | Refusal::StorageFull | Refusal::Internal)
    }
}

/// The writes of one connection: after a fault the rest of the lane is refused, so that posts keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane(pub u64);

/// Reads that share one turn in the queue of the readers (fair queueing calls them a flow): those of one member, of an address
/// prefix, or of the server itself. Two flows whose numbers are equal by chance share one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow(u64);

impl Flow {
    /// The reads of the server itself.
    pub const SERVER: Flow = Flow(0);

    /// The flow of a member.
    pub fn of_account(member: MemberId) -> Flow {
        // The random half of an id distinguishes members.
        Flow(member.low() | 1 << 63)
    }

    /// The flow of an address prefix, or of anything else with a number of less than 62 bits.
    pub fn of_number(number: u64) -> Flow {
        Flow(number & (u64::MAX >> 2) | 1 << 62)
    }
}

/// The outcome of one command. `events` is empty unless the transaction is on disk.
#[derive(Debug)]
pub struct Outcome {
    /// The answer.
    pub result: Result<Answer, Refusal>,
    /// What the command caused, in the order of `seq`.
    pub events: Events,
}

impl Outcome {
    /// An outcome without events.
    pub fn quiet(result: Result<Answer, Refusal>) -> Outcome {
        Outcome { result, events: Events::None }
    }
}

/// What the store has found when it opened, before the server listens.
#[derive(Clone, Debug)]
pub struct Start {
    /// 1–32 of `[a-z0-9]`; changes when a backup is restored.
    pub epoch: String,
    /// The greatest `seq` on disk; 0 for an empty log.
    pub head: u64,
    /// Sessions that ended while an access token of theirs is not expired: the id, and the `exp` of that token (Unix s).
    pub ended: Vec<(SessionId, UnixS)>,
    /// The newest stored time, Unix ms: a clock that is earlier is worth a warning.
    pub newest_ms: UnixMs,
    /// Whether anyone has a subscription to notifications.
    pub is_subscribed: bool,
    /// What the nodes of a cluster share of the certificate of https.
    pub certificate: CertificateRows,
    /// The tokens of bots that can be used.
    pub bot_tokens: Vec<LiveToken>,
    /// Whether a bot has an outgoing hook.
    pub has_hooks: bool,
    /// What the database can do at the start.
    pub readiness: super::readiness::Readiness,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Event;
    use crate::model::handler::Step;

    #[test]
    fn the_weight_of_a_write_is_the_time_that_others_wait_for_it() {
        let weight = |update: UpdateProfile| Write::from(update).weight();
        assert_eq!(weight(UpdateProfile { presence: Some(false), ..UpdateProfile::default() }), 1);
        let name = Some("Ann".to_owned().into());
        let renamed = Write::from(UpdateProfile { display_name: name, ..UpdateProfile::default() });
        assert!(renamed.is_heavy());
        assert_eq!(weight(UpdateProfile { image: Some(None), ..UpdateProfile::default() }), renamed.weight());
    }

    /// See the table. A post is in about eight lists on its way there and back (step, effect, stage, batch; outcome, completion,
    /// input, event), and is copied at each: a type larger than a cache line or two makes every post cost more.
    #[test]
    fn the_types_that_carry_a_post_are_small() {
        let (step, command, write) = (size_of::<Step>(), size_of::<Command>(), size_of::<Write>());
        assert!(step <= 112 && command <= 80 && write == command, "{step}, {command}, {write}");
        let (answer, event, outcome) = (size_of::<Answer>(), size_of::<Event>(), size_of::<Outcome>());
        assert!(answer <= 32 && event <= 48 && outcome <= 80, "{answer}, {event}, {outcome}");
        assert_eq!(size_of::<Result<Answer, Refusal>>(), answer);
    }
}
