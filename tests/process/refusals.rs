//! Tests that `natter check` refuses what `natter serve` refuses: with the same words and the same exit status, and without a change.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use super::support::TestDir;
use super::support::process::Launch;
use super::{stderr_of, stdout_of};

/// A start that must fail, and a check before it, for this reason.
#[track_caller]
fn check(launch: &Launch, code: i32, reason: &str) {
    let output = launch.run(&["check"]);
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(text.contains(reason), "check: {reason:?} is missing in {text}");
    assert_eq!(output.status.code(), Some(code), "check: {text}");
    assert!(output.stdout.is_empty(), "check: {:?}", output.stdout);
    let mut natter = launch.spawn(Stdio::piped());
    let status = natter.wait();
    let text = natter.log().join("\n");
    assert!(text.contains(reason), "serve: {reason:?} is missing in {text}");
    assert_eq!(status.code(), Some(code), "serve: {text}");
}

#[test]
fn a_file_that_a_variable_names_and_that_cannot_be_used() {
    let dir = TestDir::new();
    fs::write(dir.path().join("junk"), "neither a key nor a picture").expect("a file");
    #[cfg(feature = "tls")]
    {
        super::support::tls::install("p256", dir.path());
        let rsa = Path::new(super::support::tls::FOLDER).join("rsa.key.pem");
        fs::copy(rsa, dir.path().join("rsa.key.pem")).expect("a copy");
    }
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("DEFAULT_PROFILE_PIC", "junk")],
            "DEFAULT_PROFILE_PIC: junk is not a JPEG, PNG, GIF or WebP file",
        ),
        #[cfg(feature = "tls")]
        (&[("TLS_CA_FILE", "junk")], "TLS_CA_FILE: holds no certificate that can be read"),
        #[cfg(feature = "tls")]
        (
            &[("TLS_CERT", "tls.pem"), ("TLS_KEY", "rsa.key.pem")],
            "TLS_KEY: the key is not that of the first certificate",
        ),
        #[cfg(feature = "tls")]
        (&[("TLS_CERT", "tls.pem"), ("TLS_KEY", "junk")], "TLS_KEY: "),
        #[cfg(feature = "tls")]
        (&[("TLS_CERT", "junk"), ("TLS_KEY", "tls.key.pem")], "TLS_CERT: the file holds no certificate"),
        #[cfg(feature = "geoip")]
        (&[("GEOIP_DB", "junk")], "GEOIP_DB: can't be used"),
    ];
    for (env, reason) in cases {
        check(&Launch::new(dir.path()).with(env), 2, reason);
    }
    // All at once, and nothing is made.
    let all: Vec<(&str, &str)> = cases.iter().flat_map(|(env, _)| env.iter().copied()).collect();
    let output = Launch::new(dir.path()).with(&all).run(&["check"]);
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    for name in ["DEFAULT_PROFILE_PIC: "]
        .into_iter()
        .chain(if cfg!(feature = "tls") { &["TLS_CA_FILE: ", "TLS_CERT: "][..] } else { &[] }.iter().copied())
    {
        assert!(text.contains(name), "{name} is missing in {text}");
    }
    assert!(!dir.path().join("data").exists());
}

#[test]
fn a_folder_that_cannot_be_used() {
    let dir = TestDir::new();
    let data = dir.path().join("data");
    let launch = Launch::new(dir.path());
    fs::write(&data, "a file where the folder should be").expect("a file");
    check(&launch, 1, "cannot use as a folder data: ");
    fs::remove_file(&data).expect("removed");
    let long = "x".repeat(120);
    check(&launch.clone().with(&[("DATA_DIR", &long)]), 1, "choose a shorter DATA_DIR");
    // What a killed restore has left.
    fs::create_dir_all(data.join("restoring")).expect("a folder");
    check(&launch, 1, "a restore was interrupted in data");
    fs::remove_dir(data.join("restoring")).expect("removed");
    // The lock is opened without following a link; a check says no more than whether it may be written.
    fs::remove_file(data.join("lock")).expect("of the server that was refused");
    symlink("/nowhere/at/all", data.join("lock")).expect("a link");
    let mut natter = launch.spawn(Stdio::piped());
    assert_eq!(natter.wait().code(), Some(1));
    assert!(!launch.run(&["check"]).status.success());
    fs::remove_file(data.join("lock")).expect("removed");
    stdout_of(&launch.run(&["check"]));
}

/// A program that runs another one without the right of root to write everywhere; `None` if that is not installed.
pub(super) fn without_root(launch: &Launch, probe: &Path) -> Option<Launch> {
    if fs::write(probe.join("probe"), "").is_err() {
        return Some(launch.clone());
    }
    fs::remove_file(probe.join("probe")).expect("removed");
    let launch = launch.clone().by(&["setpriv", "--bounding-set=-dac_override,-dac_read_search"]);
    let is_there = std::process::Command::new("setpriv").arg("--version").output().is_ok();
    is_there.then_some(launch)
}

#[test]
fn a_folder_that_may_not_be_written() {
    let dir = TestDir::new();
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).expect("a folder");
    fs::set_permissions(&closed, Permissions::from_mode(0o500)).expect("a mode");
    let Some(launch) = without_root(&Launch::new(dir.path()), &closed) else {
        println!("SKIPPED: setpriv is not installed, and root may write everywhere");
        return;
    };
    for folder in ["closed", "closed/new/data"] {
        check(&launch.clone().with(&[("DATA_DIR", folder)]), 1, "cannot write to closed: ");
    }
    check(&launch.clone().with(&[("UPLOADS", "closed")]), 1, "cannot write to closed: ");
    // The server starts without its backups, and says so.
    let launch = launch.with(&[("BACKUP_DIR", "closed/backups"), ("BACKUP_EVERY", "1d")]);
    let output = launch.run(&["check"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let expect = "BACKUP_DIR: cannot write to closed: ";
    assert!(text.contains(expect), "{text}");
    let log = launch.start().stop().join("\n");
    assert!(log.contains(expect), "{log}");
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).expect("a mode");
}

#[test]
fn a_key_that_cannot_be_used() {
    let dir = TestDir::new();
    let data = dir.path().join("data");
    let launch = Launch::new(dir.path());
    launch.start().stop();
    let good = |name: &str| fs::read(data.join(name)).expect("a key");
    let (access, push) = (good("access_secret"), good("push_key"));
    for (name, before, bad, reason) in [
        ("access_secret", &access, "short", "data/access_secret: the secret is too short"),
        ("push_key", &push, "short", "data/push_key: the secret is too short"),
        ("push_key", &push, "a text of more than thirty-two characters", "data/push_key is not a key"),
    ] {
        fs::write(data.join(name), bad).expect("written");
        check(&launch, 1, reason);
        assert_eq!(fs::read(data.join(name)).expect("a file"), bad.as_bytes(), "{name}");
        fs::write(data.join(name), before).expect("written");
    }
    #[cfg(feature = "acme")]
    {
        let launch = launch.clone().with(&[("TLS_DOMAIN", "chat.example.org"), ("HTTP_PORT", "0")]);
        fs::create_dir_all(data.join("acme")).expect("a folder");
        fs::write(data.join("acme/account.pem"), "junk").expect("a file");
        check(&launch, 2, "TLS_DOMAIN: data/acme/account.pem holds no key");
    }
    #[cfg(feature = "cluster")]
    {
        let env =
            [("CLUSTER_NODE", "a"), ("CLUSTER_SERVERS", "nats://127.0.0.1:1"), ("CLUSTER_UNSAFE", "on")];
        let launch = launch.clone().with(&env);
        check(&launch, 1, "has no key of a cluster");
        fs::write(data.join("cluster_key"), "a text of more than thirty-two characters").expect("written");
        check(&launch, 1, "cluster_key is not a key");
        fs::remove_file(data.join("refresh_secret")).expect("removed");
        check(&launch, 1, "REFRESH_SECRET is neither set nor in");
    }
}

#[test]
fn links_that_only_this_host_can_open_are_reported() {
    const NOTE: &str = "PUBLIC_URL: is not set: the links in invites and mails lead to http";
    let dir = TestDir::new();
    let any = Launch::new(dir.path()).with(&[("HOST", "0.0.0.0")]);
    let natter = any.start();
    let output = any.run(&["check"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains(NOTE), "{output:?}");
    let output = any.run(&["invite"]);
    let text = String::from_utf8_lossy(&output.stderr);
    // The tests over TLS give the server a certificate.
    assert!(stdout_of(&output).contains("://localhost"), "{output:?}");
    assert!(text.contains("only this host can open the link: set PUBLIC_URL"), "{text}");
    assert!(natter.stop().iter().any(|line| line.contains(NOTE)));
    for env in [[("HOST", "127.0.0.1")], [("PUBLIC_URL", "https://chat.example.org")]] {
        let launch = any.clone().with(&env);
        let output = launch.run(&["check"]);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("PUBLIC_URL"), "{output:?}");
    }
    let named = any.with(&[("PUBLIC_URL", "https://chat.example.org")]);
    let output = named.run(&["invite"]);
    assert!(stdout_of(&output).starts_with("https://chat.example.org/#/i/"), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("this host"), "{output:?}");
}

#[test]
fn a_link_of_a_server_without_a_port_is_made_by_the_running_one_only() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path()).with(&[("HOST", "0.0.0.0"), ("PORT", "0")]);
    let natter = launch.start();
    let link = stdout_of(&launch.run(&["invite"]));
    // Over TLS the address of `natter` is that of the forwarder.
    let is_of_server = link.starts_with("https://localhost:") && !link.contains(":0/")
        || link.starts_with(&format!("http://localhost:{}/#/i/", natter.address.port()));
    assert!(is_of_server, "{link}");
    natter.stop();
    let refused = super::failed_with(2, &launch.run(&["invite"]));
    assert!(refused.contains("no server runs, and PORT=0 says nothing of the address"), "{refused}");
    assert_eq!(stdout_of(&launch.run(&["invite", "list"])).lines().count(), 1, "none was made");
    let hook = launch.run(&["bot", "hook", "rob", "01ARZ3NDEKTSV4RRFFQ69G5FA1", "disk"]);
    assert!(super::failed_with(2, &hook).contains("no server runs, and PORT=0"), "{hook:?}");
    let named = launch.with(&[("PUBLIC_URL", "https://chat.example.org")]);
    assert!(stdout_of(&named.run(&["invite"])).starts_with("https://chat.example.org/#/i/"));
}

#[test]
fn an_id_that_is_none_is_a_fault_of_the_command_line() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    launch.start().stop();
    for arguments in [
        &["member", "revoke", "ann@example.org", "x!"][..],
        &["invite", "revoke", "x!"],
        &["bot", "revoke", "rob", "x!"],
        &["bot", "hook", "rob", "x!", "disk", "--data", "data"],
        &["group", "members", "x!"],
        &["group", "delete", "x!"],
        &["message", "delete", "x!"],
    ] {
        let launch = launch.clone().with(&[("PORT", "1")]);
        let text = super::failed_with(2, &launch.run(arguments));
        assert!(text.contains(r#""x!" is no id"#), "{arguments:?}: {text}");
    }
}

#[test]
fn a_command_of_a_cluster_without_one_is_a_fault_of_the_configuration() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    let commands = [&["init"][..], &["join", "a.tar"], &["status"], &["rebuild"], &["skip", "1"]];
    for command in commands {
        let output = launch.run(&[&["cluster"], command].concat());
        if cfg!(feature = "cluster") {
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(text.contains("CLUSTER_NODE: is not set"), "{command:?}: {text}");
            assert_eq!(output.status.code(), Some(2), "{command:?}: {text}");
        } else {
            assert!(stderr_of(&output).contains("without the feature cluster"));
        }
    }
}
