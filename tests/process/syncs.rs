//! Tests of a disk whose sync fails and loses the bytes to write: no answered write is lost at a later power cut.
//!
//! The disk is `shim/forgetful_disk.c`, compiled here and loaded into the real binary with LD_PRELOAD.

use std::fs;
use std::path::Path;

use super::shims::shim;
use super::support::TestDir;
use super::support::net::Http;
use super::support::process::Launch;
use super::{client_id, post_to, until};

/// Fails one sync of `file` while posts are sent; `erases` also deletes a message, which makes natter sync the database.
fn play(file: &str, erases: bool) {
    let dir = TestDir::new();
    let Some(library) = shim(dir.path(), "forgetful_disk") else {
        println!("SKIPPED: the disk that forgets needs a C compiler and Linux");
        return;
    };
    let (durable, fail) = (dir.path().join("durable"), dir.path().join("fail"));
    fs::create_dir(&durable).expect("a folder");
    let text = |path: &Path| path.to_str().expect("a path").to_owned();
    let plain = Launch::new(dir.path());
    let launch = plain.clone().with(&[
        ("LD_PRELOAD", &text(&library)),
        ("FORGETFUL_DURABLE", &text(&durable)),
        ("FORGETFUL_FAIL", &text(&fail)),
    ]);
    let mut natter = launch.start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let (mut answered, mut refused) = (Vec::new(), 0);
    let post = |answered: &mut Vec<String>| {
        let mut http = Http::connect(natter.address);
        let id = client_id();
        let posted = http.ask_as(&ann, "POST", "/api/v1/messages", Some(&post_to(&bob.profile, &id, &id)));
        let posted = posted.expect("a response");
        if posted.status == 201 {
            answered.push(id);
        }
        (posted.status, posted.at("data.id"))
    };
    for _ in 0..20 {
        assert_eq!(post(&mut answered).0, 201);
    }
    let (_, doomed) = post(&mut answered);
    answered.pop();
    fs::write(&fail, file).expect("the fault");
    if erases {
        let deleted = http.ask_as(&ann, "DELETE", &format!("/api/v1/messages/{doomed}"), None);
        assert_eq!(deleted.expect("a response").status, 204);
    } else {
        refused += usize::from(post(&mut answered).0 != 201);
        assert_eq!(refused, 1, "its sync failed");
    }
    until("the sync failed", || !fail.exists());
    // Every answer from here on must last.
    let before = answered.len();
    until("posts are answered again", || {
        post(&mut answered);
        answered.len() >= before + 20
    });
    let sync = r#"natter_background_errors_total{kind="sync"} 1"#;
    let metrics = Http::connect(natter.address).ask("GET", "/metrics", &[], None).expect("a response");
    assert!(metrics.text().contains(sync), "{}", metrics.text());
    // An orderly stop ends with another checkpoint, which truncates the log.
    if erases {
        natter.stop();
    } else {
        natter.kill();
    }
    // The power cut: the content of the page cache is lost.
    for name in ["natter.db", "natter.db-wal", "natter.db-shm"] {
        let path = dir.path().join("data").join(name);
        if path.exists() {
            fs::remove_file(&path).expect("gone");
        }
        let kept = durable.join(name);
        if kept.exists() {
            fs::copy(kept, path).expect("what the disk has");
        }
    }
    let natter = plain.start();
    let mut http = Http::connect(natter.address);
    let lost = answered
        .iter()
        .filter(|id| {
            let again = http.ask_as(&ann, "POST", "/api/v1/messages", Some(&post_to(&bob.profile, id, id)));
            again.expect("a response").at("duplicate") != "true"
        })
        .count();
    assert_eq!(lost, 0, "of {} answered posts", answered.len());
    natter.stop();
}

#[test]
fn a_failed_sync_of_the_log_loses_nothing_that_is_answered() {
    play("natter.db-wal", false);
}

/// A deletion is followed by a checkpoint.
#[test]
fn a_failed_sync_of_the_database_loses_nothing_that_is_answered() {
    play("natter.db", true);
}
