//! Command lines that are read, and those that are refused with a sentence.

use super::*;

#[track_caller]
fn check(arguments: &str, expect: Invocation) {
    let expect = Arguments { invocation: expect, data_dir: None, json: false };
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
    check("import members.json b", Invocation::Import { files: vec!["members.json".into(), "b".into()] });
    check("secret reset", Invocation::ResetSecret);
    check("manual", Invocation::Manual);
    for shell in SHELLS {
        check(&format!("completions {shell}"), Invocation::Completions(shell));
    }
    check("cluster init", Invocation::Cluster(ClusterCommand::Init));
    check("cluster join a.tar", Invocation::Cluster(ClusterCommand::Join { file: "a.tar".into() }));
    check("cluster leave", Invocation::Cluster(ClusterCommand::Leave { new_epoch: false }));
    check("cluster leave --new-epoch", Invocation::Cluster(ClusterCommand::Leave { new_epoch: true }));
    check("cluster remove c", Invocation::Cluster(ClusterCommand::Remove { node: "c".to_owned() }));
    check("cluster status --json", Invocation::Cluster(ClusterCommand::Status { json: true }));
    let rebuild = |replace, new_epoch, seen: &[(&str, u64)]| {
        let seen = seen.iter().map(|(node, position)| ((*node).to_owned(), *position)).collect();
        Invocation::Cluster(ClusterCommand::Rebuild(Rebuild { replace, new_epoch, seen }))
    };
    let skip = |position, confirm| Invocation::Cluster(ClusterCommand::Skip { position, confirm });
    check("cluster skip 1200", skip(1_200, false));
    check("cluster skip --confirm 1200", skip(1_200, true));
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
        let expect = Arguments { invocation: expect, data_dir: Some("/a".into()), json: false };
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
    check_refused(&["import"], "import needs a FILE", "natter import");
    check_refused(&["backup", ""], "the last argument is empty", "natter backup");
    check_refused(&["restore", "a", "b"], "unexpected argument \"b\"", "natter restore");
    check_refused(&["backup", "--all"], "unknown option \"--all\"", "natter backup");
    check_refused(&["member"], "member needs a command, such as list or add", "natter member");
    check_refused(&["member", "add"], "member add needs an EMAIL, or --bot NAME", "natter member");
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
    let bot = || "disk".to_owned();
    check("member add --bot disk", Invocation::Member(MemberCommand::AddBot { name: bot() }));
    check("bot list", Invocation::Bot(BotCommand::List));
    check("bot tokens disk", Invocation::Bot(BotCommand::Tokens { bot: bot() }));
    check("bot token disk ci", Invocation::Bot(BotCommand::Token { bot: bot(), name: "ci".into() }));
    let hook = BotCommand::Hook { bot: bot(), conversation: "01J".into(), name: "ci".into() };
    check("bot hook disk 01J ci", Invocation::Bot(hook));
    check("bot revoke disk 01K", Invocation::Bot(BotCommand::Revoke { bot: bot(), id: "01K".into() }));
    check("bot url disk", Invocation::Bot(BotCommand::Url { bot: bot(), url: None }));
    check("bot url disk off", Invocation::Bot(BotCommand::RemoveUrl { bot: bot() }));
    let url = Some("https://b.example/".into());
    check("bot url disk https://b.example/", Invocation::Bot(BotCommand::Url { bot: bot(), url }));
    check_refused(&["bot"], "bot needs list, tokens, token, hook, revoke or url", "natter bot");
    let other = "bot token has other arguments: see `natter bot --help`";
    check_refused(&["bot", "token", "disk"], other, "natter bot");
    check_refused(&["bot", "x"], "unknown command \"x\" of bot", "natter bot");
    check_refused(&["bot", "list", "--bot", "x"], "--bot belongs to member add", "natter bot");
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
    let uses = "--uses needs a number from 1 to 1000";
    check_refused(&["invite", "--uses"], uses, "natter invite");
    for number in ["+5", "0", "1001", "99999999999999999999", "many"] {
        check_refused(&["invite", "--uses", number], uses, "natter invite");
    }
    let time = "--expires needs a time from 1h to 365d, such as 12h or 30d";
    for text in ["7", "\u{e9}d", "0h", "0d", "366d", "8761h", "1m"] {
        check_refused(&["invite", "--expires", text], time, "natter invite");
    }
    check(
        "invite --uses 1000 --expires 365d",
        Invocation::Invite(InviteCommand::Create { uses: Some(1_000), expires_s: Some(31_536_000) }),
    );
    check(
        "invite --uses 1 --expires 1h",
        Invocation::Invite(InviteCommand::Create { uses: Some(1), expires_s: Some(3_600) }),
    );
    check_refused(&["invite", "revoke"], "invite revoke needs an ID", "natter invite");
    check_refused(&["invite", "list", "--uses", "2"], "--uses belongs to invite", "natter invite");
    check_refused(&["check", "--expires", "2d"], "--expires belongs to invite", "natter check");
    check_refused(&["invite", "ann"], "unexpected argument \"ann\"", "natter invite");
    check_refused(&["--create"], "--create belongs to member add", "natter");
    check_refused(&["backup", "x", "--end-sessions"], "--end-sessions belongs to restore", "natter backup");
    check_refused(&["check", "--data"], "--data needs a DIR", "natter check");
    check_refused(&["--data", "", "check"], "--data needs a DIR", "natter");
    check_refused(&["--data", "a", "--data", "b"], "--data is given twice", "natter");
    let needs = "cluster needs init, join, leave, rebuild, remove, skip or status";
    check_refused(&["cluster"], needs, "natter cluster");
    check_refused(&["cluster", "join"], "cluster join needs a FILE", "natter cluster");
    check_refused(&["cluster", "init", "x"], "unexpected argument \"x\"", "natter cluster");
    for entry in [
        &["cluster", "skip"][..],
        &["cluster", "skip", "-7"],
        &["cluster", "skip", "x"],
        &["cluster", "skip", "0"],
    ] {
        let problem = if entry.last() == Some(&"-7") {
            "unknown option \"-7\""
        } else {
            "cluster skip needs the number of an ENTRY, from 1 on"
        };
        check_refused(entry, problem, "natter cluster");
    }
    check_refused(&["cluster", "init", "--confirm"], "--confirm belongs to cluster skip", "natter cluster");
    check_refused(
        &["cluster", "init", "--json"],
        "--json belongs to commands that print what the server answers",
        "natter cluster",
    );
    for seen in ["b", "b=", "b=+1", "=1"] {
        let problem = "--seen needs NODE=ENTRY, such as b=1200";
        check_refused(&["cluster", "rebuild", "--seen", seen], problem, "natter cluster");
    }
    check_refused(&["check", "--seen", "b=1"], "--seen belongs to cluster rebuild", "natter check");
    check_refused(&["--create=yes"], "unexpected argument for option '--create': \"yes\"", "natter");
    check_refused(&["secret"], "secret needs reset", "natter secret");
    check_refused(&["completions"], "completions needs bash, zsh or fish", "natter completions");
    let shells = "completions are for bash, zsh and fish";
    check_refused(&["completions", "tcsh"], shells, "natter completions");
    check_refused(&["manual", "serve"], "unexpected argument \"serve\"", "natter manual");
    check_refused(&["secret", "show"], "unknown command \"show\" of secret", "natter secret");
    check_refused(&["secret", "reset", "now"], "unexpected argument \"now\"", "natter secret");
}

#[test]
fn commands_of_moderation_are_read() {
    let member = |command| Invocation::Member(command);
    let who = || "ann".to_owned();
    check("member password ann", member(MemberCommand::Password { who: who() }));
    check("member sessions ann", member(MemberCommand::Sessions { who: who() }));
    check("member revoke ann", member(MemberCommand::Revoke { who: who(), session: None }));
    let session = Some("01J".to_owned());
    check("member revoke ann 01J", member(MemberCommand::Revoke { who: who(), session }));
    for nick_name in [false, true] {
        let option = if nick_name { " --nick-name" } else { "" };
        let rename = MemberCommand::Rename { who: who(), name: "ann.lee".to_owned(), nick_name };
        check(&format!("member rename ann ann.lee{option}"), member(rename));
    }
    let group = || "01J".to_owned();
    check("group list", Invocation::Group(GroupCommand::List));
    check("group members 01J", Invocation::Group(GroupCommand::Members { group: group() }));
    check("group delete 01J", Invocation::Group(GroupCommand::Delete { group: group() }));
    check("message delete 01J", Invocation::DeleteMessage { message: group() });
    check("audit", Invocation::Audit);
    check("help", Invocation::Help(Topic::Natter));
    check("help group", Invocation::Help(command("group")));
    for line in
        ["audit --json", "--json member list", "group list --json", "invite --json", "bot list --json"]
    {
        assert_eq!(parse(line.split(' ')).map(|read| read.json), Ok(true), "{line}");
    }
    check_refused(&["help", "nonsense"], "unknown command \"nonsense\"", "natter");
    check_refused(&["group"], "group needs list, members or delete", "natter group");
    check_refused(&["group", "delete"], "group delete needs an ID", "natter group");
    check_refused(&["group", "delete", ""], "the last argument is empty", "natter group");
    check_refused(&["message", "delete"], "message delete needs an ID", "natter message");
    check_refused(&["message", "edit", "x"], "unknown command \"edit\" of message", "natter message");
    check_refused(&["member", "rename", "ann"], "member rename needs WHO and a NAME", "natter member");
    check_refused(&["member", "password", "a", "b"], "unexpected argument \"b\"", "natter member");
    check_refused(
        &["member", "list", "--nick-name"],
        "--nick-name belongs to member rename",
        "natter member",
    );
    let json = "--json belongs to commands that print what the server answers";
    check_refused(&["check", "--json"], json, "natter check");
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
