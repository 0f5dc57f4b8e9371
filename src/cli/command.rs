//! What a command line asks for, once it is understood.
//!
//! Owns the forms of the commands. Leaves to the parent how they are read.
//! Invariant: a name, an address or an id is as it was typed: the server checks it.

use std::path::PathBuf;

use super::Topic;

/// The command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    Serve,
    Check,
    /// To stdout if `file` is `-`.
    Backup {
        file: PathBuf,
    },
    /// Whether a backup is good.
    VerifyBackup {
        file: PathBuf,
    },
    Restore {
        file: PathBuf,
        /// End all sessions of the backup.
        end_sessions: bool,
    },
    /// The predecessor's data, from these files and folders.
    Import {
        files: Vec<PathBuf>,
    },
    Member(MemberCommand),
    Group(GroupCommand),
    DeleteMessage {
        /// An id, not yet checked.
        message: String,
    },
    /// Print what admins did.
    Audit,
    Invite(InviteCommand),
    Bot(BotCommand),
    /// Make a new PASSWORD_SECRET after the old one was lost.
    ResetSecret,
    Cluster(ClusterCommand),
    /// How the server is that runs.
    Status {
        /// For a program.
        json: bool,
    },
    /// Print [`help()`](super::help()) of this topic.
    Help(Topic),
    /// Print [`completions()`](super::completions()) of one of [`SHELLS`](super::SHELLS).
    Completions(&'static str),
    /// Print [`manual()`](super::manual()).
    Manual,
    /// Print [`version`](super::version).
    Version,
}

/// What `member second-factor off` is in the place of a verb.
pub(super) const SECOND_FACTOR_OFF: &str = "second-factor-off";

/// What a command can do to one member; each is also the last segment of a path of the control socket.
pub const MEMBER_VERBS: [&str; 6] = ["disable", "enable", "promote", "demote", "verify", "delete"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberCommand {
    List,
    /// The password comes from stdin.
    Add {
        email: String,
        /// Create the server in a DATA_DIR that has none.
        create: bool,
    },
    AddBot {
        name: String,
    },
    /// `verb` is one of [`MEMBER_VERBS`]; `who` is an e-mail address, an id or a nick name, not yet checked.
    Change {
        verb: &'static str,
        who: String,
    },
    /// The password comes from stdin.
    Password {
        who: String,
    },
    Rename {
        who: String,
        name: String,
        /// The nick name, and not the name that is shown.
        nick_name: bool,
    },
    Sessions {
        who: String,
    },
    Revoke {
        who: String,
        /// An id, not yet checked; `None` for all.
        session: Option<String>,
    },
}

/// `group` is an id, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupCommand {
    List,
    Members { group: String },
    Delete { group: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InviteCommand {
    /// Prints the link. The server has defaults.
    Create {
        uses: Option<u64>,
        expires_s: Option<u64>,
    },
    List,
    /// An id, not yet checked.
    Revoke {
        id: String,
    },
}

/// `bot` is the nick name of a bot or the id of its profile, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BotCommand {
    List,
    Tokens {
        bot: String,
    },
    /// Prints a new bearer token.
    Token {
        bot: String,
        name: String,
    },
    /// Prints the address of a new incoming hook.
    Hook {
        bot: String,
        conversation: String,
        name: String,
    },
    Revoke {
        bot: String,
        id: String,
    },
    /// Sets the outgoing hook and prints the key of its signatures, or prints its state.
    Url {
        bot: String,
        url: Option<String>,
    },
    RemoveUrl {
        bot: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterCommand {
    /// Makes the keys and the log of a new cluster.
    Init,
    /// Begins a node with a backup of another one.
    Join {
        file: PathBuf,
    },
    /// Goes back to a natter alone.
    Leave {
        /// Also if another node may have answered more: clients load everything again.
        new_epoch: bool,
    },
    Rebuild(Rebuild),
    /// Goes past an entry that cannot be applied.
    Skip {
        position: u64,
        confirm: bool,
    },
    /// The level no longer waits for a node.
    Remove {
        /// Not yet checked.
        node: String,
    },
    Status {
        /// For a program.
        json: bool,
    },
}

/// How a new log is made after the old one was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuild {
    /// The log that is there is deleted.
    pub replace: bool,
    /// Also if another node may have answered more: clients load everything again.
    pub new_epoch: bool,
    /// Nodes, and how far each is; the names are not yet checked.
    pub seen: Vec<(String, u64)>,
}
