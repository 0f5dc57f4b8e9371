//! Tests of a full disk: writes are refused with the reason, reads are served, and writes continue when there is space again.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use super::support::TestDir;
use super::support::net::Http;
use super::support::process::Launch;
use super::{client_id, post_to, until};

/// A small file system, which is unmounted when the value is dropped.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    /// `None` if this process may not mount one.
    pub fn mount(folder: PathBuf, options: &str) -> Option<SmallDisk> {
        fs::create_dir_all(&folder).expect("a folder");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "natter-test"]).arg(&folder).output();
        mount.is_ok_and(|output| output.status.success()).then(|| SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, since a server that a failed test leaves running has open files here.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The value of one series in `/metrics`.
fn metric(http: &mut Http, series: &str) -> u64 {
    let metrics = http.ask("GET", "/metrics", &[], None).expect("a response");
    let text = metrics.text();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series} in {text}"))
}

#[test]
fn readiness_follows_the_disk() {
    let dir = TestDir::new();
    let Some(disk) = SmallDisk::mount(dir.path().join("small"), "size=4m,mode=700") else {
        println!(
            "SKIPPED: a small disk can be mounted only by root; the report of a fault is tested in runtime/storage"
        );
        return;
    };
    let mut natter = Launch::new(dir.path()).with(&[("DATA_DIR", "small")]).start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let disk_full = r#"natter_background_errors_total{kind="disk_full"}"#;
    let ready = http.ask("GET", "/readyz", &[], None).expect("a response");
    assert_eq!(
        (ready.status, ready.at("data.status"), ready.at("data.reason")),
        (200, "ready".into(), "null".into())
    );
    assert_eq!((metric(&mut http, "natter_storage_ready"), metric(&mut http, disk_full)), (1, 0));

    let filler = disk.0.join("filler");
    let mut file = File::create(&filler).expect("a file");
    while file.write_all(&[b'x'; 4_096]).is_ok() {}
    drop(file); // else its removal would free no space
    // The WAL may still have free space: posts fill it.
    let mut last = 0;
    let (refused, id) = loop {
        let id = client_id();
        let body = post_to(&bob.profile, &id, &"word ".repeat(700));
        let posted = http.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).expect("a response");
        if posted.status != 201 {
            break (posted, id);
        }
        last += 1;
        assert!(last < 2_000, "4 MiB have no space for more posts");
    };
    assert_eq!(
        (refused.status, refused.code(), refused.at("retry")),
        (507, "storage_full".into(), "true".into())
    );
    // No later post may overtake the refused one, so its connection is closed.
    let mut http = Http::connect(natter.address);
    let unready = http.ask("GET", "/readyz", &[], None).expect("a response");
    assert_eq!(
        (unready.status, unready.code(), unready.at("detail")),
        (503, "unavailable".into(), "the disk is full".into()),
        "{}",
        unready.text()
    );
    assert_eq!((unready.at("retry"), unready.field("retry-after")), ("true".into(), Some("1")));
    assert_ne!(unready.at("errors.disk_full"), "null");
    assert_eq!(metric(&mut http, "natter_storage_ready"), 0);
    let counted = metric(&mut http, disk_full);
    assert!(counted > 0);
    // The event loop runs, and reads need no space.
    assert_eq!(http.ask("GET", "/healthz", &[], None).expect("a response").status, 200);
    let list = http.ask_as(&bob, "GET", "/api/v1/conversations", None).expect("a response");
    assert_eq!(list.status, 200);
    let body = post_to(&bob.profile, &client_id(), "still not");
    let again = http.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).expect("a response");
    assert_eq!(again.code(), "storage_full");
    let mut http = Http::connect(natter.address);
    assert!(metric(&mut http, disk_full) > counted, "each refusal counts");

    // Space again, and no client writes: the server becomes ready by itself.
    fs::remove_file(&filler).expect("freed");
    until("it is ready again", || http.ask("GET", "/readyz", &[], None).expect("a response").status == 200);
    assert_eq!(metric(&mut http, "natter_storage_ready"), 1);
    let body = post_to(&bob.profile, &id, &"word ".repeat(700));
    let posted = http.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).expect("a response");
    assert_eq!(
        (posted.status, posted.at("data.n")),
        (201, (last + 1).to_string()),
        "no gap: {}",
        posted.text()
    );
    let logged = |natter: &mut super::support::process::Natter, what: &str| {
        natter.log().iter().filter(|line| line.contains(what)).count()
    };
    natter.wait_for_line("works again after: the disk is full");
    assert_eq!(logged(&mut natter, " failed: the disk is full"), 1, "logged once, not at every post");
    natter.stop();
}

/// A server that was stopped starts on a full disk, and serves its data.
#[test]
fn a_start_on_a_full_disk_serves_reads() {
    let dir = TestDir::new();
    let Some(disk) = SmallDisk::mount(dir.path().join("small"), "size=8m,mode=700") else {
        println!("SKIPPED: a small disk can be mounted only by root");
        return;
    };
    let launch = Launch::new(dir.path()).with(&[("DATA_DIR", "small")]);
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let post = |http: &mut Http| {
        let body = post_to(&bob.profile, &client_id(), &"word ".repeat(700));
        http.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).expect("a response")
    };
    let conversation = post(&mut http).at("data.conversation");
    let reserve = disk.0.join("reserve");
    let reserve_bytes = reserve.metadata().expect("a reserve").len();
    let mut natter = Some(natter);
    for how in ["stopped", "killed"] {
        match natter.take() {
            Some(natter) if how == "stopped" => drop(natter.stop()),
            Some(mut natter) => natter.kill(),
            None => {}
        }
        let filler = disk.0.join("filler");
        let mut file = File::create(&filler).expect("a file");
        while file.write_all(&[b'x'; 4_096]).is_ok() {}
        drop(file); // else its removal would free no space
        let started = launch.start();
        let mut http = Http::connect(started.address);
        let path = format!("/api/v1/conversations/{conversation}/messages");
        let read = |http: &mut Http| http.ask_as(&bob, "GET", &path, None).expect("a response").status;
        assert_eq!(read(&mut http), 200, "{how}");
        // The reserve leaves little space: a few posts at most.
        let mut refused = post(&mut http);
        for _ in 0..400 {
            if refused.status != 201 {
                break;
            }
            refused = post(&mut http);
        }
        assert_eq!(
            (refused.status, refused.code()),
            (507, "storage_full".into()),
            "{how}: {}",
            refused.text()
        );
        // A checkpoint frees the space of the WAL, and a probe is smaller than a post: both fit for some time.
        until("it says that the disk is full", || {
            let mut http = Http::connect(started.address);
            assert!([201, 507].contains(&post(&mut http).status), "{how}");
            let unready =
                Http::connect(started.address).ask("GET", "/readyz", &[], None).expect("a response");
            (unready.status, unready.at("detail")) == (503, "the disk is full".into())
        });
        let mut http = Http::connect(started.address);
        assert_eq!(read(&mut http), 200, "{how}");
        // Space again: posts succeed without a restart, and the reserve is made again.
        fs::remove_file(&filler).expect("freed");
        until("it is ready again", || {
            http.ask("GET", "/readyz", &[], None).expect("a response").status == 200
        });
        assert_eq!(post(&mut http).status, 201, "{how}");
        until("the reserve has its full size", || {
            reserve.metadata().is_ok_and(|file| file.len() == reserve_bytes)
        });
        natter = Some(started);
    }
    natter.into_iter().for_each(|natter| drop(natter.stop()));
}
