//! Tests of `natter member`: the same output and the same effects with and without a running server.

use std::process::Output;

use super::support::TestDir;
use super::support::net::Http;
use super::support::process::Launch;
use super::{stderr_of, stdout_of};

fn add(launch: &Launch, email: &str) -> Output {
    launch.run_with(&["member", "add", email], "correct horse 9\nmore\n")
}

/// `id e-mail flags` of each line.
fn rows(listing: &str) -> Vec<(String, String)> {
    let row = |line: &str| {
        let mut words = line.split(' ');
        assert_eq!(words.next().map(str::len), Some(26), "{line}");
        let rest: Vec<&str> = words.collect();
        (rest[0].to_owned(), rest[1].to_owned())
    };
    listing.lines().map(row).collect()
}

#[test]
fn members_are_managed_with_a_server_and_without() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    // Directly on the database: no server holds the lock.
    let first = launch.run_with(&["member", "add", "--create", "Ann@Example.org"], "correct horse 9\n");
    assert_eq!(rows(&stdout_of(&first)), [("ann@example.org".into(), "active,verified".into())]);
    assert!(stderr_of(&add(&launch, "ann@example.org")).contains("email_taken"));
    assert!(stderr_of(&launch.run(&["member", "add", "bob@example.org"])).contains("no password on stdin"));
    assert!(stderr_of(&launch.run(&["member", "disable", "nobody@example.org"])).contains("no such member"));

    // Through the control socket.
    let natter = launch.clone().with(&[("SIGN_UP", "closed")]).start();
    let mut http = Http::connect(natter.address);
    let body = r#"{"email":"ann@example.org","password":"correct horse 9"}"#;
    let sign_in = |http: &mut Http| {
        http.ask("POST", "/api/v1/user/sign-in", &[], Some(body)).expect("a response").status
    };
    assert_eq!(sign_in(&mut http), 200);
    assert_eq!(rows(&stdout_of(&add(&launch, "bob@example.org"))).len(), 1);
    stdout_of(&launch.run(&["member", "disable", "ann@example.org"]));
    assert_eq!(sign_in(&mut http), 401);
    let listing = stdout_of(&launch.run(&["member", "list"]));
    assert_eq!(
        rows(&listing),
        [
            ("ann@example.org".into(), "disabled,verified".into()),
            ("bob@example.org".into(), "active,verified".into())
        ]
    );
    stdout_of(&launch.run(&["member", "enable", &listing[..26]]));
    assert_eq!(sign_in(&mut http), 200);
    stdout_of(&launch.run(&["member", "delete", "bob@example.org"]));
    // The public listener has no such path.
    assert_eq!(http.ask("GET", "/admin/members", &[], None).expect("a response").status, 404);
    natter.stop();
    assert_eq!(
        rows(&stdout_of(&launch.run(&["member", "list"]))),
        [("ann@example.org".into(), "active,verified".into())]
    );
}
