//! Tests of `natter member` and `natter invite`: the same output and the same effects with and without a running server.

use std::process::Output;
use std::time::{SystemTime, UNIX_EPOCH};

use natter::base::time::UnixS;
use natter::base::totp;

use super::support::TestDir;
use super::support::http::base32_bytes;
use super::support::net::Http;
use super::support::process::Launch;
use super::{failed_with, stderr_of, stdout_of};

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
    assert!(failed_with(4, &add(&launch, "ann@example.org")).contains("email_taken"));
    assert!(stderr_of(&launch.run(&["member", "add", "bob@example.org"])).contains("no password on stdin"));
    assert!(
        failed_with(3, &launch.run(&["member", "disable", "nobody@example.org"])).contains("no such member")
    );

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
    let promoted = stdout_of(&launch.run(&["member", "promote", "bob@example.org"]));
    assert_eq!(rows(&promoted), [("bob@example.org".into(), "active,verified,admin".into())]);
    stdout_of(&launch.run(&["member", "delete", "bob@example.org"]));
    // The public listener has no such path.
    assert_eq!(http.ask("GET", "/admin/members", &[], None).expect("a response").status, 404);
    natter.stop();
    stdout_of(&launch.run(&["member", "promote", "ann@example.org"]));
    stdout_of(&launch.run(&["member", "demote", "ann@example.org"]));
    assert_eq!(
        rows(&stdout_of(&launch.run(&["member", "list"]))),
        [("ann@example.org".into(), "active,verified".into())]
    );
}

/// With a server and without one, as text and as JSON, and with an exit status that says why it failed.
#[test]
fn people_groups_and_messages_are_moderated_with_a_server_and_without() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    stdout_of(&launch.run_with(&["member", "add", "--create", "ann@example.org"], "correct horse 9\n"));
    stdout_of(&launch.run_with(&["member", "add", "bob@example.org"], "correct horse 9\n"));
    let exit = |arguments: &[&str]| launch.run(arguments).status.code();
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    let mut sign_in = |email: &str, password: &str| {
        let body = format!(r#"{{"email":"{email}","password":"{password}"}}"#);
        http.ask("POST", "/api/v1/user/sign-in", &[], Some(&body)).expect("a response")
    };
    let ann = sign_in("ann@example.org", "correct horse 9");
    let bearer = format!("Bearer {}", ann.at("data.token.access"));
    let bob = sign_in("bob@example.org", "correct horse 9").at("data.profile.id");
    let mut http = Http::connect(natter.address);
    let mut ask = |path: &str, body: &str| {
        let answer = http.ask("POST", path, &[("Authorization", &bearer)], Some(body)).expect("a response");
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.at("data.id")
    };
    let group = ask("/api/v1/conversations", &format!(r#"{{"title":"Tea","members":["{bob}"]}}"#));
    let posted = |n: u32| {
        format!(r#"{{"conversation":"{group}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5FA{n}","body":"secret"}}"#)
    };
    let (first, second) = (ask("/api/v1/messages", &posted(1)), ask("/api/v1/messages", &posted(2)));
    stdout_of(&launch.run(&["message", "delete", &first]));
    let groups = stdout_of(&launch.run(&["group", "list"]));
    assert!(groups.starts_with(&format!("{group} 2 ")) && groups.ends_with(" Tea\n"), "{groups}");
    let members = stdout_of(&launch.run(&["group", "members", &group, "--json"]));
    assert!(members.lines().all(|line| line.starts_with(r#"{"profile":""#)), "{members}");
    assert_eq!(members.lines().count(), 2);
    let sessions = stdout_of(&launch.run(&["member", "sessions", "ann@example.org"]));
    assert_eq!(sessions.lines().count(), 1);
    assert_eq!(exit(&["member", "revoke", "ann@example.org", &sessions[..26]]), Some(0));
    assert_eq!(stdout_of(&launch.run(&["member", "sessions", "ann@example.org"])), "");
    stdout_of(&launch.run(&["member", "rename", "bob@example.org", "robert.b", "--nick-name"]));
    stdout_of(&launch.run(&["member", "rename", "robert.b", "Robert B."]));
    natter.stop();

    // Directly on the database.
    let changed = launch.run_with(&["member", "password", "robert.b"], "the best horse\n");
    assert!(stdout_of(&changed).contains(" bob@example.org "));
    stdout_of(&launch.run(&["member", "verify", "robert.b"]));
    stdout_of(&launch.run(&["message", "delete", &second]));
    stdout_of(&launch.run(&["group", "delete", &group]));
    assert_eq!(stdout_of(&launch.run(&["group", "list"])), "");
    let log = stdout_of(&launch.run(&["audit"]));
    let acts: Vec<&str> = log.lines().rev().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(
        acts,
        [
            "member.add",
            "member.add",
            "message.delete",
            "member.revoke",
            "member.rename",
            "member.rename",
            "member.password",
            "member.verify",
            "message.delete",
            "group.delete"
        ]
    );
    assert!(log.lines().all(|line| line.split(' ').nth(1) == Some("operator")), "{log}");
    let rows = stdout_of(&launch.run(&["--json", "audit"]));
    assert!(rows.starts_with(r#"{"at":""#) && !rows.contains("example.org"), "{rows}");
    // What README and `natter --help` say of the exit status.
    assert_eq!(exit(&["member", "verify"]), Some(2));
    assert_eq!(exit(&["group", "delete", "tea"]), Some(2));
    for missing in [
        &["group", "delete", &group][..],
        &["message", "delete", "01ARZ3NDEKTSV4RRFFQ69G5FAV"],
        &["member", "disable", "nobody@example.org"],
        &["member", "sessions", "nobody"],
    ] {
        assert_eq!(exit(missing), Some(3), "{missing:?}");
    }
    assert_eq!(exit(&["member", "rename", "robert.b", "ann", "--nick-name"]), Some(0));
    assert_eq!(exit(&["member", "rename", "ann", "1", "--nick-name"]), Some(4), "no nick name");
    let natter = launch.start();
    let socket = dir.path().join("data").join("control.sock");
    std::fs::rename(&socket, socket.with_extension("away")).expect("no socket");
    assert_eq!(exit(&["member", "list"]), Some(5));
    natter.stop();
}

/// The code is in the link, in a body and in nothing that the server writes.
#[test]
fn an_invite_is_printed_once_and_is_in_no_log() {
    let dir = TestDir::new();
    let env = [("SIGN_UP", "invite"), ("LOG_LEVEL", "debug"), ("PUBLIC_URL", "https://chat.example.org")];
    let launch = Launch::new(dir.path()).with(&env);
    stdout_of(&launch.run_with(&["member", "add", "--create", "ann@example.org"], "correct horse 9\n"));
    // Directly on the database, then through the control socket.
    let first = stdout_of(&launch.run(&["invite"]));
    let natter = launch.start();
    let second = stdout_of(&launch.run(&["invite", "--uses", "2", "--expires", "30d"]));
    let mut http = Http::connect(natter.address);
    let mut codes = Vec::new();
    for (link, name) in [(&first, "bob"), (&second, "cy")] {
        let code = link.trim_end().strip_prefix("https://chat.example.org/#/i/").expect("a link").to_owned();
        let check = format!(r#"{{"invite":"{code}"}}"#);
        let shown = http.ask("POST", "/api/v1/invites/check", &[], Some(&check)).expect("a response");
        assert_eq!((shown.status, shown.at("data.sign_up")), (200, "true".into()));
        let body = format!(
            r#"{{"display_name":"{name}","email":"{name}@example.org","password":"correct horse 9","invite":"{code}"}}"#
        );
        let made = http.ask("POST", "/api/v1/user/sign-up", &[], Some(&body)).expect("a response");
        assert_eq!(made.status, 201, "{}", made.text());
        codes.push(code);
    }
    let list = stdout_of(&launch.run(&["invite", "list"]));
    let [line] = list.lines().collect::<Vec<_>>()[..] else { panic!("{list}") };
    assert_eq!(line.split(' ').nth(1), Some("1/2"), "{line}");
    assert!(!list.contains(&codes[1]));
    stdout_of(&launch.run(&["invite", "revoke", &line[..26]]));
    assert!(
        failed_with(3, &launch.run(&["invite", "revoke", &line[..26]])).contains("there is no such invite")
    );
    assert!(failed_with(2, &launch.run(&["invite", "--uses", "1001"])).contains("from 1 to 1000"));
    let metrics = http.ask("GET", "/metrics", &[], None).expect("a response");
    let log = natter.stop().join("\n");
    for code in &codes {
        assert!(!log.contains(code) && !metrics.text().contains(code), "{log}");
        for file in ["natter.db", "natter.db-wal"] {
            let bytes = std::fs::read(dir.path().join("data").join(file)).unwrap_or_default();
            assert!(!bytes.windows(code.len()).any(|window| window == code.as_bytes()), "{file}");
        }
    }
    let closed = launch.with(&[("SIGN_UP", "closed")]);
    assert!(failed_with(4, &closed.run(&["invite"])).contains("sign_up_closed"));
}

/// Who has lost the app is helped by the operator, while the server runs and without it. No file has the secret.
#[test]
fn the_operator_turns_a_second_factor_off() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path()).with(&[("LOG_LEVEL", "debug")]);
    stdout_of(&launch.run_with(&["member", "add", "--create", "ann@example.org"], "correct horse 9\n"));
    let sign_in = |http: &mut Http| {
        let body = r#"{"email":"ann@example.org","password":"correct horse 9"}"#;
        http.ask("POST", "/api/v1/user/sign-in", &[], Some(body)).expect("a response")
    };
    let off = ["member", "second-factor", "off", "ann@example.org"];
    for runs in [true, false] {
        let natter = launch.start();
        let mut http = Http::connect(natter.address);
        let bearer = format!("Bearer {}", sign_in(&mut http).at("data.token.access"));
        let mut ask = |method: &str, body: Option<&str>| {
            let fields = [("Authorization", bearer.as_str())];
            http.ask(method, "/api/v1/user/second-factor", &fields, body).expect("a response")
        };
        let begun = ask("POST", None);
        let (text, setup) = (begun.at("data.secret"), begun.at("data.setup"));
        let secret = base32_bytes(&text);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let code = totp::shown(&secret, UnixS(now));
        let body = format!(r#"{{"password":"correct horse 9","code":"{code}","setup":"{setup}"}}"#);
        let on = ask("PUT", Some(&body));
        assert_eq!(on.status, 200, "{}", on.text());
        let recovery = on.at("data.recovery_codes.0");
        let refused = sign_in(&mut http);
        assert_eq!((refused.status, refused.code()), (401, "second_factor_required".into()));
        let list = stdout_of(&launch.run(&["member", "list"]));
        assert!(list.trim_end().ends_with("active,verified,second-factor"), "{list}");
        let log = if runs {
            stdout_of(&launch.run(&off));
            assert_eq!(sign_in(&mut http).status, 200);
            natter.stop()
        } else {
            let log = natter.stop();
            stdout_of(&launch.run(&off));
            log
        };
        let list = stdout_of(&launch.run(&["member", "list"]));
        assert!(list.trim_end().ends_with("active,verified"), "{list}");
        assert_eq!(stdout_of(&launch.run(&off)), list, "again");
        let log = log.join("\n");
        for hidden in [text.as_bytes(), &secret, recovery.as_bytes()] {
            assert!(!log.as_bytes().windows(hidden.len()).any(|window| window == hidden), "{log}");
            for file in ["natter.db", "natter.db-wal"] {
                let bytes = std::fs::read(dir.path().join("data").join(file)).unwrap_or_default();
                assert!(!bytes.windows(hidden.len()).any(|window| window == hidden), "{file}");
            }
        }
    }
}
