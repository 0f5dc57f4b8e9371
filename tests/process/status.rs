//! `natter status`, and what is in the log: access lines by ACCESS_LOG, and the priorities of the journal.

use super::refusals::without_root;
use super::support::TestDir;
use super::support::net::{Http, at};
use super::support::process::{Launch, Signal};
use super::{stdout_of, until};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn status_is_one_screen_and_tells_when_no_server_runs() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    let output = launch.run(&["status"]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(3), &b""[..]));
    assert!(said(&output).contains("there is no natter server in"), "{output:?}");

    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    http.sign_up("ann");
    until("the sizes are measured", || {
        let metrics = http.ask("GET", "/metrics", &[], None).expect("a response");
        metrics.text().contains("\nprocess_resident_memory_bytes ")
    });
    let text = stdout_of(&launch.run(&["status"]));
    for part in [
        concat!("natter       ", env!("CARGO_PKG_VERSION"), " in /"),
        "messages     are taken\n",
        "streams      none over ",
        "posts        0 a second now, 0 since the start\n",
        "a password hash takes ",
        "files        database ",
        " MiB; ",
        "errors       none\n",
        "backup       none by itself: BACKUP_EVERY is not set\n",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(text.lines().count() <= 24, "one screen: {text}");

    let json = stdout_of(&launch.run(&["status", "--json"]));
    assert_eq!((at(&json, "version"), at(&json, "ready")), (env!("CARGO_PKG_VERSION").into(), "true".into()));
    assert_eq!((at(&json, "reason"), at(&json, "last_backup_s")), ("null".into(), "null".into()));
    let number = |path: &str| at(&json, path).parse::<u64>().unwrap_or_else(|_| panic!("{path} in {json}"));
    assert!(number("memory_bytes") > 1_000_000 && number("database_bytes") > 0 && number("open_files") > 3);
    assert!(number("latencies.password_hash_p99_us") >= number("latencies.password_hash_p50_us"));
    natter.stop();

    // The control socket needs no token.
    let guarded = launch.clone().with(&[("METRICS_TOKEN", "0123456789abcdef0123456789abcdef")]);
    let natter = guarded.start();
    assert_eq!(
        Http::connect(natter.address).ask("GET", "/metrics", &[], None).expect("a response").status,
        401
    );
    assert!(stdout_of(&guarded.run(&["status"])).contains("are taken"));
    natter.stop();

    let output = launch.run(&["status", "--json"]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(3), &b""[..]));
    assert!(said(&output).contains("no natter runs in /"), "{output:?}");
}

#[test]
fn access_lines_are_all_none_or_a_sample() {
    for (setting, expect) in [("all", 20), ("off", 0), ("1/10", 2)] {
        let dir = TestDir::new();
        let natter = Launch::new(dir.path()).with(&[("ACCESS_LOG", setting)]).start();
        let mut http = Http::connect(natter.address);
        (0..20).for_each(|_| drop(http.ask("GET", "/healthz", &[], None).expect("a response")));
        let log = natter.stop();
        let lines = log.iter().filter(|line| line.contains("[natter::access]")).count();
        assert_eq!(lines, expect, "{setting}: {log:#?}");
    }
}

#[test]
fn lines_for_the_journal_begin_with_their_priority() {
    // As the service manager does it: the variable names the device and the inode of stderr.
    let script = r#"JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$0" "$@""#;
    for (wrapper, is_journal) in [(&["sh", "-c", script][..], true), (&[][..], false)] {
        let dir = TestDir::new();
        let log = Launch::new(dir.path()).with(&[("PATH", "/usr/bin:/bin")]).by(wrapper).start().stop();
        assert!(!log.is_empty());
        let begins = log.iter().all(|line| line.starts_with("<6>2") || line.starts_with("<4>2"));
        assert_eq!(begins, is_journal, "{log:#?}");
    }
}

/// A stopped server takes connections, and never answers.
#[test]
fn a_command_does_not_wait_for_a_server_that_does_not_answer() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    let natter = launch.start();
    natter.signal(Signal::Stop);
    let commands = [
        &["status"][..],
        &["status", "--json"],
        &["member", "list"],
        &["audit"],
        &["invite"],
        &["backup", "all.tar"],
    ];
    let (begun, launch) = (Instant::now(), &launch);
    std::thread::scope(|scope| {
        for command in commands {
            scope.spawn(move || {
                let output = launch.run(command);
                let text = said(&output);
                assert_eq!(
                    (output.status.code(), &*output.stdout),
                    (Some(5), &b""[..]),
                    "{command:?}: {text}"
                );
                assert!(
                    text.contains("has not answered in time: it is stopped, or too busy"),
                    "{command:?}: {text}"
                );
            });
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(!dir.path().join("all.tar").exists());
    natter.signal(Signal::Continue);
    assert!(stdout_of(&launch.run(&["status"])).contains("are taken"));
    natter.stop();
}

#[test]
fn of_a_folder_that_may_not_be_read_nothing_is_said() {
    let dir = TestDir::new();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    let mode = |mode| std::fs::set_permissions(&data, Permissions::from_mode(mode)).expect("a mode");
    mode(0);
    let Some(launch) = without_root(&Launch::new(dir.path()), &data) else {
        println!("SKIPPED: setpriv is not installed, and root may read everything");
        return;
    };
    let output = launch.run(&["status"]);
    let text = said(&output);
    assert!(text.contains("data can't be read by this user: Permission denied"), "{text}");
    assert!(!text.contains("no natter"), "{text}");
    assert_eq!((output.status.code(), &*output.stdout), (Some(5), &b""[..]));
    mode(0o700);
    assert_eq!(launch.run(&["status"]).status.code(), Some(3));
}

#[test]
fn the_members_of_the_first_minute_are_counted() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    let natter = launch.start();
    Http::connect(natter.address).sign_up("ann");
    until("the account is counted", || stdout_of(&launch.run(&["status"])).contains("members      1, "));
    natter.stop();
}

/// As after `| head`: the reader of stdout, or of stderr, is gone.
#[test]
fn a_command_that_nobody_reads_ends_quietly() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    let natter = launch.start();
    Http::connect(natter.address).sign_up("ann");
    stdout_of(&launch.run(&["invite"]));
    stdout_of(&launch.run(&["backup", "all.tar"]));
    let unread = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        writer
    };
    let command = |arguments: &[&str]| {
        let mut command = Command::new(&launch.binary);
        command.args(arguments).env_clear().envs(&launch.env).current_dir(&launch.folder);
        command
    };
    let mut commands = vec![
        vec!["audit"],
        vec!["audit", "--json"],
        vec!["member", "list"],
        vec!["status"],
        vec!["status", "--json"],
        vec!["invite"],
        vec!["invite", "list"],
        vec!["check"],
        vec!["help"],
        vec!["help", "member"],
        vec!["manual"],
        vec!["--version"],
        vec!["completions", "bash"],
        vec!["backup", "--verify", "all.tar"],
        vec!["backup", "more.tar"],
    ];
    commands.push(vec!["group", "list"]);
    for arguments in commands {
        let output = command(&arguments).stdout(unread()).stderr(Stdio::piped()).spawn().expect("the binary");
        let output = output.wait_with_output().expect("its end");
        // An empty list has nothing to print.
        let expect = if arguments == ["group", "list"] { 0 } else { 141 };
        // The settings of the test have a warning of their own.
        let said: Vec<String> =
            said(&output).lines().filter(|line| !line.contains("ARGON2")).map(str::to_owned).collect();
        assert_eq!((output.status.code(), said), (Some(expect), Vec::new()), "{arguments:?}");
    }
    // A sentence that nobody reads is no fault of its own.
    for (arguments, expect) in [(&["member", "disable", "nobody@example.org"][..], 3), (&["nonsense"], 2)] {
        let status = command(arguments).stderr(unread()).stdout(Stdio::null()).status().expect("the binary");
        assert_eq!(status.code(), Some(expect), "{arguments:?}");
    }
    natter.stop();
}
