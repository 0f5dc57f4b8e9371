//! The command line: reads the arguments.
//!
//! Owns argv only: runs no command, and reads no file and no environment. Leaves the texts of the help to `help`.
//! Invariant: an argument that is not understood is refused, never ignored.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use lexopt::Arg;

pub use self::completions::{SHELLS, completions};
pub use self::help::{Topic, help};
pub use self::manual::manual;

mod completions;
mod help;
mod manual;

/// Exit status of a command line that was not understood.
pub const EXIT_USAGE: u8 = 2;

/// A command line that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    pub invocation: Invocation,
    /// `--data DIR`: takes precedence over DATA_DIR.
    pub data_dir: Option<PathBuf>,
}

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
    /// Print [`help()`] of this topic.
    Help(Topic),
    /// Print [`completions()`] of one of [`SHELLS`].
    Completions(&'static str),
    /// Print [`manual()`].
    Manual,
    /// Print [`version`].
    Version,
}

/// What `member second-factor off` is in the place of a verb.
const SECOND_FACTOR_OFF: &str = "second-factor-off";

/// What a command can do to one member; each is also the last segment of a path of the control socket.
pub const MEMBER_VERBS: [&str; 5] = ["disable", "enable", "promote", "demote", "delete"];

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

/// The command line is wrong. `Display` is the text for stderr, without a line break at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError {
    problem: String,
    topic: Topic,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = match self.topic {
            Topic::Natter => "natter",
            Topic::Command(command) => &format!("natter {}", command.name),
        };
        write!(f, "natter: {}\nTry `{command} --help`.", self.problem)
    }
}

impl std::error::Error for UsageError {}

/// Reads the arguments after the program's name.
pub fn parse<I>(arguments: I) -> Result<Arguments, UsageError>
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut words, mut options) = (Vec::new(), Options::default());
    loop {
        let read = match parser.next() {
            Ok(None) => break,
            Ok(Some(Arg::Long(name))) if WITH_VALUE.contains(&name) => {
                let name = name.to_owned();
                options.set(&name, parser.value().ok())
            }
            Ok(Some(argument)) => read(argument, &mut words, &mut options),
            Err(error) => Err(error.to_string()),
        };
        if let Err(problem) = read {
            return Err(UsageError { problem, topic: topic(&words) });
        }
    }
    let topic = topic(&words);
    let refuse = |problem: String| Err(UsageError { problem, topic });
    if options.help {
        // `natter nonsense --help` is an error too.
        return match (topic, words.first()) {
            (Topic::Natter, Some(word)) => refuse(format!("unknown command {word:?}")),
            _ => Ok(Arguments { invocation: Invocation::Help(topic), data_dir: None }),
        };
    }
    if options.version && words.is_empty() {
        return Ok(Arguments { invocation: Invocation::Version, data_dir: None });
    }
    if options.version {
        return refuse("--version takes no command".to_owned());
    }
    let invocation = invocation(&words, &mut options).map_err(|problem| UsageError { problem, topic })?;
    // An option that the command does not know is an error; it is not ignored.
    match options {
        Options { create: true, .. } => refuse("--create belongs to member add".to_owned()),
        Options { bot: Some(_), .. } => refuse("--bot belongs to member add".to_owned()),
        Options { verify: true, .. } => refuse("--verify belongs to backup".to_owned()),
        Options { end_sessions: true, .. } => refuse("--end-sessions belongs to restore".to_owned()),
        Options { uses: Some(_), .. } => refuse("--uses belongs to invite".to_owned()),
        Options { expires_s: Some(_), .. } => refuse("--expires belongs to invite".to_owned()),
        Options { json: true, .. } => refuse("--json belongs to status and cluster status".to_owned()),
        Options { confirm: true, .. } => refuse("--confirm belongs to cluster skip".to_owned()),
        Options { replace: true, .. } => refuse("--replace belongs to cluster rebuild".to_owned()),
        Options { new_epoch: true, .. } => {
            refuse("--new-epoch belongs to cluster leave and rebuild".to_owned())
        }
        Options { seen, .. } if !seen.is_empty() => refuse("--seen belongs to cluster rebuild".to_owned()),
        Options { data_dir, .. } => Ok(Arguments { invocation, data_dir }),
    }
}

/// The options, from any position in the arguments. A command removes those that it uses.
#[derive(Default)]
struct Options {
    help: bool,
    version: bool,
    create: bool,
    bot: Option<String>,
    end_sessions: bool,
    verify: bool,
    uses: Option<u64>,
    expires_s: Option<u64>,
    json: bool,
    confirm: bool,
    replace: bool,
    new_epoch: bool,
    seen: Vec<(String, u64)>,
    data_dir: Option<PathBuf>,
}

/// The options that a value follows.
const WITH_VALUE: [&str; 5] = ["data", "bot", "uses", "expires", "seen"];

impl Options {
    /// Keeps the value of one of [`WITH_VALUE`]; `None` if the command line ends before it.
    fn set(&mut self, name: &str, value: Option<OsString>) -> Result<(), String> {
        let text = value.as_deref().and_then(OsStr::to_str);
        match name {
            "data" => {
                let folder =
                    value.filter(|folder| !folder.to_str().is_some_and(|text| text.trim().is_empty()));
                let folder = folder.ok_or("--data needs a DIR")?;
                if self.data_dir.replace(folder.into()).is_some() {
                    return Err("--data is given twice".to_owned());
                }
            }
            "bot" => self.bot = Some(text.ok_or("--bot needs a NAME")?.to_owned()),
            "uses" => self.uses = Some(text.and_then(number).ok_or("--uses needs a number")?),
            "expires" => {
                let seconds = text.and_then(seconds).ok_or("--expires needs a time, such as 12h or 30d")?;
                self.expires_s = Some(seconds);
            }
            _ => {
                let node = text.and_then(seen).ok_or("--seen needs NODE=ENTRY, such as b=1200")?;
                self.seen.push(node);
            }
        }
        Ok(())
    }
}

/// Reads one argument. A switch may be repeated: this changes nothing.
fn read(argument: Arg<'_>, words: &mut Vec<OsString>, options: &mut Options) -> Result<(), String> {
    match argument {
        Arg::Value(word) => words.push(word),
        Arg::Short('h') | Arg::Long("help") => options.help = true,
        Arg::Short('V') | Arg::Long("version") => options.version = true,
        Arg::Long("create") => options.create = true,
        Arg::Long("end-sessions") => options.end_sessions = true,
        Arg::Long("verify") => options.verify = true,
        Arg::Long("json") => options.json = true,
        Arg::Long("confirm") => options.confirm = true,
        Arg::Long("replace") => options.replace = true,
        Arg::Long("new-epoch") => options.new_epoch = true,
        Arg::Short(letter) => return Err(format!("unknown option \"-{letter}\"")),
        Arg::Long(name) => return Err(format!("unknown option {:?}", format!("--{name}"))),
    }
    Ok(())
}

/// The number after `--uses`, and before the unit of a time. The server knows the limits.
fn number(digits: &str) -> Option<u64> {
    // Rust's `parse` accepts a sign.
    let digits = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse::<u32>().ok().map(u64::from)
}

/// The seconds of the time after `--expires`.
fn seconds(text: &str) -> Option<u64> {
    let (digits, unit) = match (text.strip_suffix('d'), text.strip_suffix('h')) {
        (Some(days), _) => (days, 86_400),
        (_, Some(hours)) => (hours, 3_600),
        _ => return None,
    };
    number(digits).map(|number| number * unit)
}

/// The node and the position after `--seen`.
fn seen(text: &str) -> Option<(String, u64)> {
    let (node, at) = text.split_once('=')?;
    let name = Some(node).filter(|node| !node.is_empty()).map(str::to_owned);
    name.zip(position(at))
}

/// An entry of the log.
fn position(digits: &str) -> Option<u64> {
    Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// The command that the words name; the error is the problem as text.
fn invocation(words: &[OsString], options: &mut Options) -> Result<Invocation, String> {
    let mut texts = Vec::with_capacity(words.len());
    for word in words {
        match word.to_str() {
            Some(text) => texts.push(text),
            // The name of a file may have any bytes; it is taken from `words` below.
            None if texts.len() == 1 && ["backup", "restore"].contains(&texts[0]) => texts.push("FILE"),
            None if texts == ["cluster", "join"] => texts.push("FILE"),
            None if texts.first() == Some(&"import") => texts.push("FILE"),
            None => return Err(format!("argument {word:?} is not UTF-8")),
        }
    }
    let own = |text: &str| text.to_owned();
    let member = |command| Ok(Invocation::Member(command));
    let bot = |command| Ok(Invocation::Bot(command));
    let cluster = |command| Ok(Invocation::Cluster(command));
    match texts.as_slice() {
        [] | ["serve"] => Ok(Invocation::Serve),
        ["check"] => Ok(Invocation::Check),
        ["status"] => Ok(Invocation::Status { json: std::mem::take(&mut options.json) }),
        ["secret", "reset"] => Ok(Invocation::ResetSecret),
        ["backup" | "restore" | "import" | "member" | "invite" | "bot" | "cluster", .., ""] => {
            Err("the last argument is empty".to_owned())
        }
        ["backup", _] if std::mem::take(&mut options.verify) => {
            Ok(Invocation::VerifyBackup { file: PathBuf::from(&words[1]) })
        }
        ["backup", _] => Ok(Invocation::Backup { file: PathBuf::from(&words[1]) }),
        ["restore", _] => Ok(Invocation::Restore {
            file: PathBuf::from(&words[1]),
            end_sessions: std::mem::take(&mut options.end_sessions),
        }),
        ["import", _, ..] => Ok(Invocation::Import { files: words[1..].iter().map(PathBuf::from).collect() }),
        [command @ ("backup" | "restore" | "import")] => Err(format!("{command} needs a FILE")),
        ["member", "list"] => member(MemberCommand::List),
        ["member", "add"] if options.bot.is_some() => {
            member(MemberCommand::AddBot { name: options.bot.take().unwrap_or_default() })
        }
        ["member", "add", email] => {
            member(MemberCommand::Add { email: own(email), create: std::mem::take(&mut options.create) })
        }
        ["member"] => {
            Err("member needs list, add, disable, enable, promote, demote, second-factor or delete"
                .to_owned())
        }
        ["member", "add"] => Err("member add needs an EMAIL, or --bot NAME".to_owned()),
        ["member", "second-factor", "off", who] => {
            member(MemberCommand::Change { verb: SECOND_FACTOR_OFF, who: own(who) })
        }
        ["member", "second-factor", ..] => {
            Err("member second-factor needs off, and an EMAIL, an ID or a nick name".to_owned())
        }
        ["member", command, rest @ ..] if !["list", "add"].contains(command) => {
            let verb = MEMBER_VERBS.iter().find(|verb| *verb == command);
            match (verb, rest) {
                (None, _) => Err(format!("unknown command {command:?} of member")),
                (Some(verb), [who]) => member(MemberCommand::Change { verb, who: own(who) }),
                (Some(verb), []) => Err(format!("member {verb} needs an EMAIL, an ID or a nick name")),
                (Some(_), [.., last]) => Err(format!("unexpected argument {last:?}")),
            }
        }
        ["invite"] => {
            let (uses, expires_s) = (options.uses.take(), options.expires_s.take());
            Ok(Invocation::Invite(InviteCommand::Create { uses, expires_s }))
        }
        ["invite", "list"] => Ok(Invocation::Invite(InviteCommand::List)),
        ["invite", "revoke", id] => Ok(Invocation::Invite(InviteCommand::Revoke { id: own(id) })),
        ["invite", "revoke"] => Err("invite revoke needs an ID".to_owned()),
        ["bot", "list"] => bot(BotCommand::List),
        ["bot", "tokens", name] => bot(BotCommand::Tokens { bot: own(name) }),
        ["bot", "token", name, token] => bot(BotCommand::Token { bot: own(name), name: own(token) }),
        ["bot", "hook", name, conversation, hook] => {
            bot(BotCommand::Hook { bot: own(name), conversation: own(conversation), name: own(hook) })
        }
        ["bot", "revoke", name, id] => bot(BotCommand::Revoke { bot: own(name), id: own(id) }),
        ["bot", "url", name] => bot(BotCommand::Url { bot: own(name), url: None }),
        ["bot", "url", name, "off"] => bot(BotCommand::RemoveUrl { bot: own(name) }),
        ["bot", "url", name, url] => bot(BotCommand::Url { bot: own(name), url: Some(own(url)) }),
        ["bot"] => Err("bot needs list, tokens, token, hook, revoke or url".to_owned()),
        ["bot", command @ ("list" | "tokens" | "token" | "hook" | "revoke" | "url"), ..] => {
            Err(format!("bot {command} has other arguments: see `natter bot --help`"))
        }
        ["bot", command, ..] => Err(format!("unknown command {command:?} of bot")),
        ["cluster", "init"] => cluster(ClusterCommand::Init),
        ["cluster", "join", _] => cluster(ClusterCommand::Join { file: PathBuf::from(&words[2]) }),
        ["cluster", "join"] => Err("cluster join needs a FILE".to_owned()),
        ["cluster", "leave"] => {
            cluster(ClusterCommand::Leave { new_epoch: std::mem::take(&mut options.new_epoch) })
        }
        ["cluster", "rebuild"] => cluster(ClusterCommand::Rebuild(Rebuild {
            replace: std::mem::take(&mut options.replace),
            new_epoch: std::mem::take(&mut options.new_epoch),
            seen: std::mem::take(&mut options.seen),
        })),
        ["cluster", "skip", entry] => cluster(ClusterCommand::Skip {
            position: position(entry).ok_or("cluster skip needs the number of an ENTRY")?,
            confirm: std::mem::take(&mut options.confirm),
        }),
        ["cluster", "status"] => cluster(ClusterCommand::Status { json: std::mem::take(&mut options.json) }),
        ["cluster", "remove", node] => cluster(ClusterCommand::Remove { node: own(node) }),
        ["cluster", "remove"] => Err("cluster remove needs a NODE".to_owned()),
        ["cluster"] => Err("cluster needs init, join, leave, rebuild, remove, skip or status".to_owned()),
        ["cluster", "skip"] => Err("cluster skip needs the number of an ENTRY".to_owned()),
        ["cluster", "init" | "join" | "leave" | "rebuild" | "remove" | "skip" | "status", .., last] => {
            Err(format!("unexpected argument {last:?}"))
        }
        ["cluster", command] => Err(format!("unknown command {command:?} of cluster")),
        ["manual"] => Ok(Invocation::Manual),
        ["completions", shell] => {
            let shell = SHELLS.into_iter().find(|known| known == shell);
            shell
                .map(Invocation::Completions)
                .ok_or_else(|| "completions are for bash, zsh and fish".to_owned())
        }
        ["completions"] => Err("completions needs bash, zsh or fish".to_owned()),
        ["secret"] => Err("secret needs reset".to_owned()),
        ["secret", command] => Err(format!("unknown command {command:?} of secret")),
        [first, .., last] if help::command(first).is_some() => Err(format!("unexpected argument {last:?}")),
        [first, ..] => Err(format!("unknown command {first:?}")),
    }
}

fn topic(words: &[OsString]) -> Topic {
    let command = words.first().and_then(|word| help::command(word.to_str()?));
    command.map_or(Topic::Natter, Topic::Command)
}

/// `natter 0.1.0`, without a line break at its end.
pub fn version() -> String {
    format!("natter {}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests;
