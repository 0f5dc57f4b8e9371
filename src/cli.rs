//! The command line: reads the arguments.
//!
//! Owns argv only: runs no command, and reads no file and no environment. Leaves the texts of the help to `help`.
//! Invariant: an argument that is not understood is refused, never ignored.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use lexopt::Arg;

use crate::limits::{INVITE_S_MAX, INVITE_S_MIN, INVITE_USES_MAX};

pub use self::command::{
    BotCommand, ClusterCommand, GroupCommand, InviteCommand, Invocation, MEMBER_VERBS, MemberCommand, Rebuild,
};
pub use self::completions::{SHELLS, completions};
pub use self::help::{Topic, help};
pub use self::manual::manual;

use self::command::SECOND_FACTOR_OFF;

mod command;
mod completions;
mod help;
mod manual;

/// Exit status of a command line or a configuration that was not understood.
pub const EXIT_USAGE: u8 = 2;
/// What was named does not exist.
pub const EXIT_NOT_FOUND: u8 = 3;
/// A rule refuses it: asked again, it is refused again.
pub const EXIT_REFUSED: u8 = 4;
/// The server can't be reached, or can't do it now: asked again later, it may succeed.
pub const EXIT_UNREACHABLE: u8 = 5;
/// Nobody reads what is printed: what a shell says of a program that SIGPIPE has ended.
pub const EXIT_UNREAD: u8 = 141;

/// A command line that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    pub invocation: Invocation,
    /// `--data DIR`: takes precedence over DATA_DIR.
    pub data_dir: Option<PathBuf>,
    /// `--json`, of a command that prints what a server has answered.
    pub json: bool,
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
            _ => Ok(Arguments { invocation: Invocation::Help(topic), data_dir: None, json: false }),
        };
    }
    if options.version && words.is_empty() {
        return Ok(Arguments { invocation: Invocation::Version, data_dir: None, json: false });
    }
    if options.version {
        return refuse("--version takes no command".to_owned());
    }
    let invocation = invocation(&words, &mut options).map_err(|problem| UsageError { problem, topic })?;
    let json = prints_answers(&invocation) && std::mem::take(&mut options.json);
    // An option that the command does not know is an error; it is not ignored.
    match options {
        Options { create: true, .. } => refuse("--create belongs to member add".to_owned()),
        Options { nick_name: true, .. } => refuse("--nick-name belongs to member rename".to_owned()),
        Options { bot: Some(_), .. } => refuse("--bot belongs to member add".to_owned()),
        Options { verify: true, .. } => refuse("--verify belongs to backup".to_owned()),
        Options { end_sessions: true, .. } => refuse("--end-sessions belongs to restore".to_owned()),
        Options { uses: Some(_), .. } => refuse("--uses belongs to invite".to_owned()),
        Options { expires_s: Some(_), .. } => refuse("--expires belongs to invite".to_owned()),
        Options { json: true, .. } => {
            refuse("--json belongs to commands that print what the server answers".to_owned())
        }
        Options { confirm: true, .. } => refuse("--confirm belongs to cluster skip".to_owned()),
        Options { replace: true, .. } => refuse("--replace belongs to cluster rebuild".to_owned()),
        Options { new_epoch: true, .. } => {
            refuse("--new-epoch belongs to cluster leave and rebuild".to_owned())
        }
        Options { seen, .. } if !seen.is_empty() => refuse("--seen belongs to cluster rebuild".to_owned()),
        Options { data_dir, .. } => Ok(Arguments { invocation, data_dir, json }),
    }
}

/// Whether `--json` says how the answer of a server is printed.
fn prints_answers(invocation: &Invocation) -> bool {
    use Invocation::{Audit, Bot, DeleteMessage, Group, Invite, Member};
    matches!(invocation, Member(_) | Group(_) | DeleteMessage { .. } | Audit | Invite(_) | Bot(_))
}

/// The options, from any position in the arguments. A command removes those that it uses.
#[derive(Default)]
struct Options {
    help: bool,
    version: bool,
    create: bool,
    nick_name: bool,
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
            "uses" => {
                let uses = text.and_then(number).filter(|uses| (1..=INVITE_USES_MAX).contains(uses));
                self.uses =
                    Some(uses.ok_or_else(|| format!("--uses needs a number from 1 to {INVITE_USES_MAX}"))?);
            }
            "expires" => {
                let life = text.and_then(seconds).filter(|s| (INVITE_S_MIN..=INVITE_S_MAX).contains(s));
                let days = INVITE_S_MAX / 86_400;
                self.expires_s = Some(life.ok_or_else(|| {
                    format!("--expires needs a time from 1h to {days}d, such as 12h or 30d")
                })?);
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
        Arg::Long("nick-name") => options.nick_name = true,
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

/// The number after `--uses`, and before the unit of a time.
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

/// An entry of the log, or 0, which is before all of them.
fn position(digits: &str) -> Option<u64> {
    Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// The entry after `cluster skip`.
fn entry(digits: &str) -> Result<u64, String> {
    let entry = position(digits).filter(|entry| *entry > 0);
    entry.ok_or_else(|| "cluster skip needs the number of an ENTRY, from 1 on".to_owned())
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
    let group = |command| Ok(Invocation::Group(command));
    let bot = |command| Ok(Invocation::Bot(command));
    let cluster = |command| Ok(Invocation::Cluster(command));
    match texts.as_slice() {
        [] | ["serve"] => Ok(Invocation::Serve),
        ["check"] => Ok(Invocation::Check),
        ["status"] => Ok(Invocation::Status { json: std::mem::take(&mut options.json) }),
        ["secret", "reset"] => Ok(Invocation::ResetSecret),
        ["help"] => Ok(Invocation::Help(Topic::Natter)),
        ["help", name] => match help::command(name) {
            Some(command) => Ok(Invocation::Help(Topic::Command(command))),
            None => Err(format!("unknown command {name:?}")),
        },
        ["help", .., last] => Err(format!("unexpected argument {last:?}")),
        [
            "backup" | "restore" | "import" | "member" | "group" | "message" | "invite" | "bot" | "cluster",
            ..,
            "",
        ] => Err("the last argument is empty".to_owned()),
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
        ["member", "password", who] => member(MemberCommand::Password { who: own(who) }),
        ["member", "rename", who, name] => {
            let nick_name = std::mem::take(&mut options.nick_name);
            member(MemberCommand::Rename { who: own(who), name: own(name), nick_name })
        }
        ["member", "sessions", who] => member(MemberCommand::Sessions { who: own(who) }),
        ["member", "revoke", who] => member(MemberCommand::Revoke { who: own(who), session: None }),
        ["member", "revoke", who, session] => {
            member(MemberCommand::Revoke { who: own(who), session: Some(own(session)) })
        }
        ["member"] => Err("member needs a command, such as list or add".to_owned()),
        ["member", command @ ("password" | "sessions" | "revoke")] => {
            Err(format!("member {command} needs an EMAIL, an ID or a nick name"))
        }
        ["member", "rename", ..] => Err("member rename needs WHO and a NAME".to_owned()),
        ["member", "password" | "sessions" | "revoke", .., last] => {
            Err(format!("unexpected argument {last:?}"))
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
        ["group", "list"] => group(GroupCommand::List),
        ["group", "members", id] => group(GroupCommand::Members { group: own(id) }),
        ["group", "delete", id] => group(GroupCommand::Delete { group: own(id) }),
        ["group"] => Err("group needs list, members or delete".to_owned()),
        ["group", command @ ("members" | "delete")] => Err(format!("group {command} needs an ID")),
        ["group", "list" | "members" | "delete", .., last] => Err(format!("unexpected argument {last:?}")),
        ["group", command, ..] => Err(format!("unknown command {command:?} of group")),
        ["message", "delete", id] => Ok(Invocation::DeleteMessage { message: own(id) }),
        ["message"] => Err("message needs delete".to_owned()),
        ["message", "delete"] => Err("message delete needs an ID".to_owned()),
        ["message", "delete", .., last] => Err(format!("unexpected argument {last:?}")),
        ["message", command, ..] => Err(format!("unknown command {command:?} of message")),
        ["audit"] => Ok(Invocation::Audit),
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
        ["cluster", "skip", digits] => cluster(ClusterCommand::Skip {
            position: entry(digits)?,
            confirm: std::mem::take(&mut options.confirm),
        }),
        ["cluster", "status"] => cluster(ClusterCommand::Status { json: std::mem::take(&mut options.json) }),
        ["cluster", "remove", node] => cluster(ClusterCommand::Remove { node: own(node) }),
        ["cluster", "remove"] => Err("cluster remove needs a NODE".to_owned()),
        ["cluster"] => Err("cluster needs init, join, leave, rebuild, remove, skip or status".to_owned()),
        ["cluster", "skip"] => Err("cluster skip needs the number of an ENTRY, from 1 on".to_owned()),
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
