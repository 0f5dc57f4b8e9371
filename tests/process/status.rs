//! `natter status`, and what is in the log: access lines by ACCESS_LOG, and the priorities of the journal.

use super::support::TestDir;
use super::support::net::{Http, at};
use super::support::process::Launch;
use super::{stdout_of, until};
use std::process::Output;

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
