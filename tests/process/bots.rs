//! Bots and hooks by the real binary: its commands, and where a token is not written.

use super::support::TestDir;
use super::support::http::Person;
use super::support::net::{Http, Ws};
use super::support::process::Launch;
use super::{client_id, failed_with, stdout_of};

/// The id, the nick name and the token that a new bot has.
fn add(launch: &Launch, name: &str) -> (String, String, String) {
    let printed = stdout_of(&launch.run(&["member", "add", "--bot", name]));
    let [line, token] = printed.lines().collect::<Vec<_>>()[..] else { panic!("{printed}") };
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!((words[0].len(), words[2], words[3..].join(" ").as_str()), (26, "active", name));
    (words[0].to_owned(), words[1].to_owned(), token.to_owned())
}

#[test]
fn a_token_is_printed_once_and_is_in_no_log() {
    let dir = TestDir::new();
    let launch =
        Launch::new(dir.path()).with(&[("LOG_LEVEL", "trace"), ("PUBLIC_URL", "https://chat.example.org")]);
    stdout_of(&launch.run_with(&["member", "add", "--create", "ann@example.org"], "correct horse 9\n"));
    // Directly on the database, then through the control socket.
    let (id, nick_name, first) = add(&launch, "Disk watch");
    let natter = launch.start();
    let members = stdout_of(&launch.run(&["member", "list"]));
    assert_eq!(members.lines().last().map(|line| &line[26..]), Some(" - active,verified,bot"), "{members}");
    let second = stdout_of(&launch.run(&["bot", "token", &nick_name, "ci"])).trim_end().to_owned();
    let mut http = Http::connect(natter.address);
    let ann = http.sign_up("bob");
    let group = format!(r#"{{"title":"Tea","members":["{id}"]}}"#);
    let group = http.ask_as(&ann, "POST", "/api/v1/conversations", Some(&group)).expect("a response");
    let group = group.at("data.id");
    let printed = stdout_of(&launch.run(&["bot", "hook", &nick_name, &group, "disk"]));
    let path = printed.trim_end().strip_prefix("https://chat.example.org").expect("an address").to_owned();
    let hook = path.strip_prefix("/hooks/").expect("a path").to_owned();
    for token in [&first, &second] {
        let body = format!(r#"{{"conversation":"{group}","client_id":"{}","body":"hi"}}"#, client_id());
        let bot = Person { access: token.clone(), ..ann.clone() };
        let posted = http.ask_as(&bot, "POST", "/api/v1/messages", Some(&body)).expect("a response");
        assert_eq!(posted.status, 201, "{}", posted.text());
        Ws::native(natter.address, token, None).expect("a socket");
    }
    for (method, path, status) in [
        ("POST", path.clone(), 201),
        ("GET", path.clone(), 405),
        ("POST", format!("{path}/more"), 404),
        ("POST", format!("{path}?a={hook}"), 201),
        ("POST", format!("/hooks/{first}"), 404),
        ("POST", format!("/nowhere/{hook}"), 404),
    ] {
        let response = http.ask(method, &path, &[], Some(r#"{"body":"disk full"}"#)).expect("a response");
        assert_eq!(response.status, status, "{path}");
    }
    // A head that is no head.
    let mut bad = Http::connect(natter.address);
    bad.send(format!("POST {path} HTTP/1.1\r\nbroken {hook}\r\n\r\n").as_bytes()).expect("sent");
    assert_eq!(bad.response(false).expect("a response").map(|response| response.status), Some(400));
    let tokens = stdout_of(&launch.run(&["bot", "tokens", &id]));
    let names: Vec<&str> = tokens.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(names, ["first", "ci", "disk"]);
    let last = tokens.lines().last().expect("a line");
    assert_eq!(last.split(' ').nth(2), Some(group.as_str()), "{last}");
    stdout_of(&launch.run(&["bot", "revoke", &nick_name, &last[..26]]));
    assert!(
        failed_with(3, &launch.run(&["bot", "revoke", &id, &last[..26]])).contains("there is no such token")
    );
    assert!(failed_with(3, &launch.run(&["bot", "tokens", "nobody"])).contains("there is no such bot"));
    let gone = http.ask("POST", &path, &[], Some(r#"{"body":"disk full"}"#)).expect("a response");
    assert_eq!(gone.status, 404);
    let metrics = http.ask("GET", "/metrics", &[], None).expect("a response");
    let log = natter.stop().join("\n");
    assert!(log.contains("hook.post"), "the calls are in the log: {log}");
    for token in [&first, &second, &hook] {
        assert!(!log.contains(token) && !metrics.text().contains(token), "{log}");
        for file in ["natter.db", "natter.db-wal"] {
            let bytes = std::fs::read(dir.path().join("data").join(file)).unwrap_or_default();
            assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()), "{file}");
        }
    }
    let list = stdout_of(&launch.run(&["bot", "list"]));
    assert_eq!(list.trim_end(), format!("{id} {nick_name} active Disk watch"));
}
