//! Tests of an operating system's quota that is used up (EDQUOT): it is a full disk, and not a disk that fails.
//!
//! The quota is `shim/quota.c`, compiled here and loaded into the real binary with LD_PRELOAD: few kernels have a file system
//! that a test could mount with a quota.

use std::fs::{self, File};

use super::shims::shim;
use super::support::TestDir;
use super::support::net::Http;
use super::support::process::Launch;
use super::{client_id, post_to, until};

#[test]
fn a_quota_that_is_used_up_is_a_full_disk() {
    let dir = TestDir::new();
    let Some(library) = shim(dir.path(), "quota") else {
        println!("SKIPPED: the quota needs a C compiler and Linux");
        return;
    };
    let (data, used_up) = (dir.path().join("data"), dir.path().join("used-up"));
    let env = [("LD_PRELOAD", &library), ("QUOTA_FOLDER", &data), ("QUOTA_USED_UP", &used_up)];
    let env = env.map(|(name, path)| (name, path.to_str().expect("a path")));
    let launch = Launch::new(dir.path()).with(&env);
    let mut natter = launch.start();
    let (ann, bob) = {
        let mut http = Http::connect(natter.address);
        (http.sign_up("ann"), http.sign_up("bob"))
    };
    let text = "word ".repeat(700);
    let mut answered = Vec::new();
    let mut post = |address| {
        let id = client_id();
        let body = post_to(&bob.profile, &id, &text);
        let posted = Http::connect(address).ask_as(&ann, "POST", "/api/v1/messages", Some(&body));
        let posted = posted.expect("a response");
        match posted.status {
            201 => answered.push(id),
            status => assert_eq!((status, posted.code()), (507, "storage_full".into()), "{}", posted.text()),
        }
        posted.status == 201
    };
    let ready = |address| Http::connect(address).ask("GET", "/readyz", &[], None).expect("a response");
    let reads = |address| {
        let list = Http::connect(address).ask_as(&bob, "GET", "/api/v1/conversations", None);
        assert_eq!(list.expect("a response").status, 200);
    };
    // A failed sync has files of its own: with them all content would have to be copied, which a quota does not allow.
    let nothing_failed = |address| {
        let metrics = Http::connect(address).ask("GET", "/metrics", &[], None).expect("a response");
        let no_failed_sync = r#"natter_background_errors_total{kind="sync"} 0"#;
        assert!(metrics.text().contains(no_failed_sync), "{}", metrics.text());
        for name in ["natter.db.suspect", "natter.db.replacement"] {
            assert!(!data.join(name).exists(), "{name}");
        }
    };
    let is_full = |address| {
        let unready = ready(address);
        (unready.status, unready.at("detail")) == (503, "the disk is full".into())
    };
    // These are in the WAL alone: the next checkpoint makes the database grow.
    for _ in 0..40 {
        assert!(post(natter.address));
    }
    File::create(&used_up).expect("the quota");
    until("the WAL meets the quota", || !post(natter.address));
    until("it says that the disk is full", || is_full(natter.address));
    reads(natter.address);
    let upload = super::uploads::upload(natter.address, &ann, "x.txt", text.as_bytes());
    assert_eq!((upload.status, upload.code()), (507, "storage_full".into()), "{}", upload.text());
    nothing_failed(natter.address);
    natter.wait_for_line("the disk is full (Disk quota exceeded");

    natter.kill();
    natter = launch.start();
    until("the checkpoint of the start meets the quota", || is_full(natter.address));
    assert!(!post(natter.address));
    reads(natter.address);
    nothing_failed(natter.address);
    fs::remove_file(&used_up).expect("a larger quota");
    until("it is ready again", || ready(natter.address).status == 200);
    assert!(post(natter.address));
    natter.stop();

    // A start after an orderly end needs the reserve for its `-shm` file.
    File::create(&used_up).expect("the quota");
    natter = launch.start();
    reads(natter.address);
    until("the rest of the reserve is used", || !post(natter.address));
    nothing_failed(natter.address);
    fs::remove_file(&used_up).expect("a larger quota");
    until("it is ready again", || ready(natter.address).status == 200);
    natter.stop();
    fs::remove_file(data.join("reserve")).expect("no reserve");
    File::create(&used_up).expect("the quota");
    let errors = launch.run(&["serve"]);
    let errors = String::from_utf8_lossy(&errors.stderr).into_owned();
    assert!(errors.contains("because its disk is full (Disk quota exceeded"), "{errors}");
    fs::remove_file(&used_up).expect("a larger quota");

    natter = launch.start();
    let mut http = Http::connect(natter.address);
    for id in &answered {
        let body = post_to(&bob.profile, id, &text);
        let again = http.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).expect("a response");
        assert_eq!(again.at("duplicate"), "true", "{}", again.text());
    }
    natter.stop();
}
