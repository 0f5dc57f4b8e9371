//! Tests of the backups that an admin asks for in the client, with the real binary.
//!
//! Each is a file that can be restored, kept as those of BACKUP_EVERY are, and never leaves the server by the request.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::support::TestDir;
use super::support::http::Person;
use super::support::net::Http;
use super::support::process::Launch;
use super::{stdout_of, until};

fn ask(http: &mut Http, admin: &Person) -> u16 {
    http.ask_as(admin, "POST", "/api/v1/admin/backup", None).expect("a response").status
}

/// What admin.server says of backups when none is made any more.
fn ended(http: &mut Http, admin: &Person, member: &str) -> String {
    let path = "/api/v1/admin/server";
    let mut shown = http.ask_as(admin, "GET", path, None).expect("a response");
    until("it ends", || {
        shown = http.ask_as(admin, "GET", path, None).expect("a response");
        shown.at("data.backup.running") == "false"
    });
    shown.at(&format!("data.backup.{member}"))
}

fn archives(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

#[test]
fn an_admin_asks_for_backups_which_are_verified_kept_and_restored() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path()).with(&[("BACKUP_KEEP", "2"), ("DISK_FREE_MIN", "0")]);
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    stdout_of(&launch.run(&["member", "promote", "ann@example.org"]));
    assert_eq!(ask(&mut http, &bob), 403);
    let folder = dir.path().join("data/backups");
    assert!(!folder.exists());
    // Also several in one second have a name each, and the oldest is removed.
    let mut seen = Vec::new();
    for _ in 0..3 {
        assert_eq!(ask(&mut http, &ann), 202);
        assert_eq!(ended(&mut http, &ann, "failed"), "null");
        seen.push(archives(&folder).last().expect("a file").clone());
    }
    assert_eq!(archives(&folder), seen[1..]);
    let newest = folder.join(&seen[2]);
    let file = newest.metadata().expect("a file");
    assert_eq!(file.permissions().mode() & 0o7777, 0o600);
    assert_eq!(ended(&mut http, &ann, "last.bytes"), file.len().to_string());
    assert_eq!(http.metric("natter_backup_running"), 0);
    assert!(http.metric("natter_backup_last_success_timestamp_seconds") > 1_700_000_000);
    // Each is one act of the admin, and none of the operator.
    let acts = stdout_of(&launch.run(&["audit"]));
    let by_ann = |line: &&str| line.contains(" backup") && !line.contains(" operator ");
    assert_eq!(acts.lines().filter(by_ann).count(), 3, "{acts}");
    assert_eq!(acts.lines().count(), 4, "{acts}");
    natter.stop();
    let verified = stdout_of(&launch.run(&["backup", "--verify", &newest.to_string_lossy()]));
    assert!(verified.contains("a good backup"), "{verified}");

    // The newest is known after a restart, which removes what a stop has left. Where none can be made, the reason is shown and the others
    // stay.
    let stale = folder.join("natter.tar.natter-part-4194999");
    let leave = || fs::write(&stale, "what a killed backup has left may be all the room").expect("written");
    leave();
    let natter = launch.clone().with(&[("DISK_FREE_MIN", "1125899906842624")]).start();
    assert!(!stale.exists());
    leave();
    let mut http = Http::connect(natter.address);
    // As its name and its file say.
    let before = ended(&mut http, &ann, "last.at");
    let stamp: String = before.split('.').next().unwrap_or_default().replace(['-', ':'], "");
    assert_eq!(seen[2], format!("natter-{stamp}Z-asked.tar"));
    assert_eq!(ended(&mut http, &ann, "last.bytes"), file.len().to_string());
    assert_eq!(ask(&mut http, &ann), 202);
    let why = ended(&mut http, &ann, "failed.text");
    assert!(why.starts_with("no backup is made"), "{why}");
    assert!(!stale.exists());
    assert_eq!((ended(&mut http, &ann, "last.at"), archives(&folder)), (before, seen[1..].to_vec()));
    natter.stop();

    let other = TestDir::new();
    fs::rename(&newest, other.path().join("all.tar")).expect("moved");
    let launch = Launch::new(other.path());
    stdout_of(&launch.run(&["restore", "all.tar"]));
    // The log of acts is in the backup, and the restore is its newest act.
    let acts = stdout_of(&launch.run(&["audit"]));
    let acts: Vec<&str> = acts.lines().filter_map(|act| act.split_once(' ')).map(|(_, act)| act).collect();
    assert_eq!(acts[0], "operator restore -", "{acts:?}");
    assert!(
        acts[1].contains(" backup") && acts.last().is_some_and(|act| act.contains("member.promote")),
        "{acts:?}"
    );
    let members = stdout_of(&launch.run(&["member", "list"]));
    assert!(members.contains("ann@example.org") && members.contains("bob@example.org"), "{members}");
}
