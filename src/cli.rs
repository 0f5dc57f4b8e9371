//! The command line: reads the arguments.
//!
//! Owns argv only: runs no command, and reads no file and no environment. Leaves the texts of the help to `help`.
//! Invariant: an argument that is not understood is refused, never ignored.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use lexopt::Arg;

pub use self::help::{Topic, help};

mod help;

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
    Backup {
        file: PathBuf,
    },
    Restore {
        file: PathBuf,
        /// End all sessions of the backup.
        end_sessions: bool,
    },
    Member(MemberCommand),
    Invite(InviteCommand),
    /// Make a new PASSWORD_SECRET after the old one was lost.
    ResetSecret,
    Cluster(ClusterCommand),
    /// Print [`help()`] of this topic.
    Help(Topic),
    /// Print [`version`].
    Version,
}

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
        let problem = match parser.next() {
            Ok(None) => break,
            Ok(Some(Arg::Long("data"))) => match folder(parser.value(), options.data_dir.take()) {
                Ok(folder) => {
                    options.data_dir = Some(folder);
                    continue;
                }
                Err(problem) => problem,
            },
            Ok(Some(Arg::Long("seen"))) => match parser.value().ok().as_deref().and_then(seen) {
                Some(node) => {
                    options.seen.push(node);
                    continue;
                }
                None => "--seen needs NODE=ENTRY, such as b=1200".to_owned(),
            },
            Ok(Some(Arg::Long(name @ ("uses" | "expires")))) => {
                let name = name.to_owned();
                match parser
                    .value()
                    .ok()
                    .as_deref()
                    .and_then(OsStr::to_str)
                    .and_then(|text| amount(&name, text))
                {
                    Some(amount) if name == "uses" => options.uses = Some(amount),
                    Some(amount) => options.expires_s = Some(amount),
                    None => {
                        let problem = format!("--{name} needs {}", AMOUNTS[usize::from(name == "expires")]);
                        return Err(UsageError { problem, topic: topic(&words) });
                    }
                }
                continue;
            }
            Ok(Some(argument)) => match read(argument, &mut words, &mut options) {
                Ok(()) => continue,
                Err(problem) => problem,
            },
            Err(error) => error.to_string(),
        };
        return Err(UsageError { problem, topic: topic(&words) });
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
        Options { end_sessions: true, .. } => refuse("--end-sessions belongs to restore".to_owned()),
        Options { uses: Some(_), .. } => refuse("--uses belongs to invite".to_owned()),
        Options { expires_s: Some(_), .. } => refuse("--expires belongs to invite".to_owned()),
        Options { json: true, .. } => refuse("--json belongs to cluster status".to_owned()),
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
    end_sessions: bool,
    uses: Option<u64>,
    expires_s: Option<u64>,
    json: bool,
    replace: bool,
    new_epoch: bool,
    seen: Vec<(String, u64)>,
    data_dir: Option<PathBuf>,
}

/// Reads one argument. A switch may be repeated: this changes nothing.
fn read(argument: Arg<'_>, words: &mut Vec<OsString>, options: &mut Options) -> Result<(), String> {
    match argument {
        Arg::Value(word) => words.push(word),
        Arg::Short('h') | Arg::Long("help") => options.help = true,
        Arg::Short('V') | Arg::Long("version") => options.version = true,
        Arg::Long("create") => options.create = true,
        Arg::Long("end-sessions") => options.end_sessions = true,
        Arg::Long("json") => options.json = true,
        Arg::Long("replace") => options.replace = true,
        Arg::Long("new-epoch") => options.new_epoch = true,
        Arg::Short(letter) => return Err(format!("unknown option \"-{letter}\"")),
        Arg::Long(name) => return Err(format!("unknown option {:?}", format!("--{name}"))),
    }
    Ok(())
}

/// What `--uses` and `--expires` need.
const AMOUNTS: [&str; 2] = ["a number", "a time, such as 12h or 30d"];

/// The number after `--uses`, or the seconds of the time after `--expires`. The server knows their limits.
fn amount(name: &str, text: &str) -> Option<u64> {
    let (digits, unit) = match (name, text.strip_suffix('d'), text.strip_suffix('h')) {
        ("uses", ..) => (text, 1),
        (_, Some(days), _) => (days, 86_400),
        (_, _, Some(hours)) => (hours, 3_600),
        _ => return None,
    };
    // Rust's `parse` accepts a sign.
    let digits = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse::<u32>().ok().map(|number| u64::from(number) * unit)
}

/// The node and the number after `--seen`.
fn seen(value: &OsStr) -> Option<(String, u64)> {
    let (node, position) = value.to_str()?.split_once('=')?;
    let digits = Some(position).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let name = Some(node).filter(|node| !node.is_empty()).map(str::to_owned);
    name.zip(digits.parse().ok())
}

/// The folder after `--data`.
fn folder(value: Result<OsString, lexopt::Error>, earlier: Option<PathBuf>) -> Result<PathBuf, String> {
    match value {
        Ok(folder) if folder.to_str().is_some_and(|text| text.trim().is_empty()) => {
            Err("--data needs a DIR".to_owned())
        }
        Ok(_) if earlier.is_some() => Err("--data is given twice".to_owned()),
        Ok(folder) => Ok(PathBuf::from(folder)),
        Err(_) => Err("--data needs a DIR".to_owned()),
    }
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
            None => return Err(format!("argument {word:?} is not UTF-8")),
        }
    }
    let own = |text: &str| text.to_owned();
    let member = |command| Ok(Invocation::Member(command));
    let cluster = |command| Ok(Invocation::Cluster(command));
    match texts.as_slice() {
        [] | ["serve"] => Ok(Invocation::Serve),
        ["check"] => Ok(Invocation::Check),
        ["secret", "reset"] => Ok(Invocation::ResetSecret),
        ["backup" | "restore" | "member" | "invite" | "cluster", .., ""] => {
            Err("the last argument is empty".to_owned())
        }
        ["backup", _] => Ok(Invocation::Backup { file: PathBuf::from(&words[1]) }),
        ["restore", _] => Ok(Invocation::Restore {
            file: PathBuf::from(&words[1]),
            end_sessions: std::mem::take(&mut options.end_sessions),
        }),
        [command @ ("backup" | "restore")] => Err(format!("{command} needs a FILE")),
        ["member", "list"] => member(MemberCommand::List),
        ["member", "add", email] => {
            member(MemberCommand::Add { email: own(email), create: std::mem::take(&mut options.create) })
        }
        ["member"] => Err("member needs list, add, disable, enable, promote, demote or delete".to_owned()),
        ["member", "add"] => Err("member add needs an EMAIL".to_owned()),
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
        ["cluster", "status"] => cluster(ClusterCommand::Status { json: std::mem::take(&mut options.json) }),
        ["cluster"] => Err("cluster needs init, join, leave, rebuild or status".to_owned()),
        ["cluster", "init" | "join" | "leave" | "rebuild" | "status", .., last] => {
            Err(format!("unexpected argument {last:?}"))
        }
        ["cluster", command] => Err(format!("unknown command {command:?} of cluster")),
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
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &str, expect: Invocation) {
        let expect = Arguments { invocation: expect, data_dir: None };
        assert_eq!(parse(arguments.split_whitespace()), Ok(expect), "{arguments}");
    }

    #[track_caller]
    fn restore(file: &str, end_sessions: bool) -> Invocation {
        Invocation::Restore { file: file.into(), end_sessions }
    }

    #[track_caller]
    fn check_refused(arguments: &[&str], problem: &str, hint: &str) {
        let error = parse(arguments).expect_err("refused").to_string();
        assert_eq!(error, format!("natter: {problem}\nTry `{hint} --help`."), "{arguments:?}");
    }

    fn command(name: &str) -> Topic {
        topic(&[name.into()])
    }

    #[test]
    fn every_command_is_read() {
        check("", Invocation::Serve);
        check("serve", Invocation::Serve);
        check("check", Invocation::Check);
        check("backup a.tar", Invocation::Backup { file: "a.tar".into() });
        check("restore -- -a", restore("-a", false));
        check("restore a.tar --end-sessions", restore("a.tar", true));
        check("--end-sessions restore a.tar", restore("a.tar", true));
        check("secret reset", Invocation::ResetSecret);
        check("cluster init", Invocation::Cluster(ClusterCommand::Init));
        check("cluster join a.tar", Invocation::Cluster(ClusterCommand::Join { file: "a.tar".into() }));
        check("cluster leave", Invocation::Cluster(ClusterCommand::Leave { new_epoch: false }));
        check("cluster leave --new-epoch", Invocation::Cluster(ClusterCommand::Leave { new_epoch: true }));
        check("cluster status --json", Invocation::Cluster(ClusterCommand::Status { json: true }));
        let rebuild = |replace, new_epoch, seen: &[(&str, u64)]| {
            let seen = seen.iter().map(|(node, position)| ((*node).to_owned(), *position)).collect();
            Invocation::Cluster(ClusterCommand::Rebuild(Rebuild { replace, new_epoch, seen }))
        };
        check("cluster rebuild", rebuild(false, false, &[]));
        check("cluster rebuild --replace --new-epoch", rebuild(true, true, &[]));
        check("cluster rebuild --seen b=7 --seen=c=0", rebuild(false, false, &[("b", 7), ("c", 0)]));
        check("member list", Invocation::Member(MemberCommand::List));
        for (arguments, create) in [("member add a@b", false), ("member add --create a@b", true)] {
            let email = "a@b".into();
            check(arguments, Invocation::Member(MemberCommand::Add { email, create }));
        }
        check(
            "member disable a@b",
            Invocation::Member(MemberCommand::Change { verb: "disable", who: "a@b".into() }),
        );
        for verb in MEMBER_VERBS {
            check(
                &format!("member {verb} ann.lee"),
                Invocation::Member(MemberCommand::Change { verb, who: "ann.lee".into() }),
            );
        }
        check(
            "member enable 01J",
            Invocation::Member(MemberCommand::Change { verb: "enable", who: "01J".into() }),
        );
        check(
            "member delete -- -x@y",
            Invocation::Member(MemberCommand::Change { verb: "delete", who: "-x@y".into() }),
        );
        for version in ["-V", "--version"] {
            check(version, Invocation::Version);
        }
        for help in ["-h", "--help"] {
            check(help, Invocation::Help(Topic::Natter));
            check(&format!("member {help}"), Invocation::Help(command("member")));
            check(&format!("{help} backup"), Invocation::Help(command("backup")));
            check(&format!("member add {help}"), Invocation::Help(command("member")));
        }
        assert_ne!(command("member"), Topic::Natter);
        for (arguments, expect) in [
            ("--data /a", Invocation::Serve),
            ("serve --data=/a", Invocation::Serve),
            ("check --data /a", Invocation::Check),
            ("member --data /a list", Invocation::Member(MemberCommand::List)),
            ("backup x --data /a", Invocation::Backup { file: "x".into() }),
            ("--data /a restore x", restore("x", false)),
        ] {
            let expect = Arguments { invocation: expect, data_dir: Some("/a".into()) };
            assert_eq!(parse(arguments.split(' ')), Ok(expect), "{arguments}");
        }
    }

    #[test]
    fn wrong_arguments_are_refused() {
        check_refused(&["nonsense"], "unknown command \"nonsense\"", "natter");
        check_refused(&["nonsense", "--help"], "unknown command \"nonsense\"", "natter");
        check_refused(&[""], "unknown command \"\"", "natter");
        check_refused(&["Serve"], "unknown command \"Serve\"", "natter");
        check_refused(&["serve", "now"], "unexpected argument \"now\"", "natter serve");
        check_refused(&["--port", "1"], "unknown option \"--port\"", "natter");
        check_refused(&["-p1"], "unknown option \"-p\"", "natter");
        check_refused(&["--help=x"], "unexpected argument for option '--help': \"x\"", "natter");
        check_refused(&["serve", "--version"], "--version takes no command", "natter serve");
        check_refused(&["backup"], "backup needs a FILE", "natter backup");
        check_refused(&["backup", ""], "the last argument is empty", "natter backup");
        check_refused(&["restore", "a", "b"], "unexpected argument \"b\"", "natter restore");
        check_refused(&["backup", "--all"], "unknown option \"--all\"", "natter backup");
        check_refused(
            &["member"],
            "member needs list, add, disable, enable, promote, demote or delete",
            "natter member",
        );
        check_refused(&["member", "add"], "member add needs an EMAIL", "natter member");
        check_refused(
            &["member", "delete"],
            "member delete needs an EMAIL, an ID or a nick name",
            "natter member",
        );
        check_refused(&["member", "delete", ""], "the last argument is empty", "natter member");
        check_refused(&["member", "ban", "x"], "unknown command \"ban\" of member", "natter member");
        check_refused(&["member", "promote", "x", "y"], "unexpected argument \"y\"", "natter member");
        check_refused(&["member", "list", "x"], "unexpected argument \"x\"", "natter member");
        check_refused(&["member", "add", "x", "y"], "unexpected argument \"y\"", "natter member");
        check_refused(&["member", "list", "--create"], "--create belongs to member add", "natter member");
        check("invite", Invocation::Invite(InviteCommand::Create { uses: None, expires_s: None }));
        check(
            "invite --uses 5 --expires=30d",
            Invocation::Invite(InviteCommand::Create { uses: Some(5), expires_s: Some(2_592_000) }),
        );
        check(
            "--expires 12h invite",
            Invocation::Invite(InviteCommand::Create { uses: None, expires_s: Some(43_200) }),
        );
        check("invite list", Invocation::Invite(InviteCommand::List));
        check("invite revoke 01J", Invocation::Invite(InviteCommand::Revoke { id: "01J".into() }));
        check_refused(&["invite", "--uses", "+5"], "--uses needs a number", "natter invite");
        check_refused(&["invite", "--uses"], "--uses needs a number", "natter invite");
        check_refused(
            &["invite", "--expires", "7"],
            "--expires needs a time, such as 12h or 30d",
            "natter invite",
        );
        check_refused(
            &["invite", "--expires", "\u{e9}d"],
            "--expires needs a time, such as 12h or 30d",
            "natter invite",
        );
        check_refused(&["invite", "revoke"], "invite revoke needs an ID", "natter invite");
        check_refused(&["invite", "list", "--uses", "2"], "--uses belongs to invite", "natter invite");
        check_refused(&["check", "--expires", "2d"], "--expires belongs to invite", "natter check");
        check_refused(&["invite", "ann"], "unexpected argument \"ann\"", "natter invite");
        check_refused(&["--create"], "--create belongs to member add", "natter");
        check_refused(
            &["backup", "x", "--end-sessions"],
            "--end-sessions belongs to restore",
            "natter backup",
        );
        check_refused(&["check", "--data"], "--data needs a DIR", "natter check");
        check_refused(&["--data", "", "check"], "--data needs a DIR", "natter");
        check_refused(&["--data", "a", "--data", "b"], "--data is given twice", "natter");
        check_refused(&["cluster"], "cluster needs init, join, leave, rebuild or status", "natter cluster");
        check_refused(&["cluster", "join"], "cluster join needs a FILE", "natter cluster");
        check_refused(&["cluster", "init", "x"], "unexpected argument \"x\"", "natter cluster");
        check_refused(&["cluster", "init", "--json"], "--json belongs to cluster status", "natter cluster");
        for seen in ["b", "b=", "b=+1", "=1"] {
            let problem = "--seen needs NODE=ENTRY, such as b=1200";
            check_refused(&["cluster", "rebuild", "--seen", seen], problem, "natter cluster");
        }
        check_refused(&["check", "--seen", "b=1"], "--seen belongs to cluster rebuild", "natter check");
        check_refused(&["--create=yes"], "unexpected argument for option '--create': \"yes\"", "natter");
        check_refused(&["secret"], "secret needs reset", "natter secret");
        check_refused(&["secret", "show"], "unknown command \"show\" of secret", "natter secret");
        check_refused(&["secret", "reset", "now"], "unexpected argument \"now\"", "natter secret");
    }

    #[cfg(unix)]
    #[test]
    fn only_files_may_be_bytes() {
        use std::os::unix::ffi::OsStringExt;
        let bytes = || OsString::from_vec(vec![b'a', 0xff]);
        let expect = Invocation::Backup { file: bytes().into() };
        assert_eq!(parse(["backup".into(), bytes()]).map(|read| read.invocation), Ok(expect));
        for arguments in
            [vec![bytes()], vec!["member".into(), "add".into(), bytes()], vec!["serve".into(), bytes()]]
        {
            let error = parse(arguments).expect_err("refused").to_string();
            assert!(error.contains("is not UTF-8"), "{error}");
        }
    }
}
