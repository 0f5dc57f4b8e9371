//! Tests of `natter import`: an export of the predecessor becomes a server in which people go on.

use std::fs;
use std::path::Path;

use super::support::TestDir;
use super::support::http::Person;
use super::support::net::{Http, at};
use super::support::process::Launch;
use super::{stderr_of, stdout_of, until};

const MEMBERS: &str = r#"{"_id":{"$oid":"603cb5c01122334455667701"},"id":"01EZPQ4Z00000000000000000A","email":"Ada@Example.org","password":"old","verified":true,"active":true,"created_at":{"$date":"2021-03-01T09:00:00Z"}}
{"_id":"01EZPQ4Z00000000000000000B","email":"bob@example.org","password":"old","verified":false,"active":true,"created_at":{"$date":"2021-03-01T09:01:00Z"}}

{"_id":"01EZPQ4Z00000000000000000C","email":"eve@example.org","password":"old","verified":true,"active":false,"created_at":{"$date":"2021-03-01T09:02:00Z"}}
{"_id":"01EZPQ4Z00000000000000000D","email":"dan@example.org","password":"old","verified":true,"active":true}
"#;

const PROFILES: &str = r#"{"_id":"01EZPQ4Z0000000000000000AA","member":"01EZPQ4Z00000000000000000A","display_name":"Ada","nick_name":"ada.l","is_private":false,"profile_image":"x.jpg"}
{"_id":"01EZPQ4Z0000000000000000BB","member":"01EZPQ4Z00000000000000000B","display_name":"Bob","nick_name":"B","is_private":true}
{"_id":"01EZPQ4Z0000000000000000CC","member":"01EZPQ4Z00000000000000000C","display_name":"Eve","nick_name":"eve_1","is_private":false}
{"_id":"01EZPQ4Z0000000000000000ZZ","member":"01EZPQ4Z00000000000000000Z","display_name":"Gone","nick_name":"gone","is_private":false}
"#;

/// Not in the order of their times.
const MESSAGES: &str = r#"{"_id":"01EZPQ4Z000000000000000003","sender":"01EZPQ4Z0000000000000000AA","receiver":"01EZPQ4Z0000000000000000BB","message":"third","is_read":false,"created_at":{"$date":"2021-03-01T10:00:03Z"}}
{"_id":"01EZPQ4Z000000000000000001","sender":"01EZPQ4Z0000000000000000AA","receiver":"01EZPQ4Z0000000000000000BB","message":"first\nof \"all\"","is_read":true,"created_at":{"$date":"2021-03-01T10:00:01Z"}}
{"_id":"01EZPQ4Z000000000000000002","sender":"01EZPQ4Z0000000000000000BB","receiver":"01EZPQ4Z0000000000000000AA","message":"second","is_read":true,"created_at":{"$date":"2021-03-01T10:00:02Z"}}
{"_id":"01EZPQ4Z000000000000000004","sender":"01EZPQ4Z0000000000000000CC","receiver":"01EZPQ4Z0000000000000000AA","message":"hello","is_read":false,"created_at":{"$date":"2021-03-01T10:00:04Z"}}
{"_id":"01EZPQ4Z000000000000000005","sender":"01EZPQ4Z0000000000000000CC","receiver":"01EZPQ4Z0000000000000000ZZ","message":"lost","is_read":false,"created_at":{"$date":"2021-03-01T10:00:05Z"}}
{"_id":"01EZPQ4Z000000000000000006","sender":"01EZPQ4Z0000000000000000CC","receiver":"01EZPQ4Z0000000000000000CC","message":"note","is_read":false}
{"_id":"01EZPQ4Z000000000000000007","sender":"01EZPQ4Z0000000000000000CC","receiver":"01EZPQ4Z0000000000000000AA","message":" ","is_read":false}
"#;

fn export(folder: &Path) {
    fs::create_dir(folder).expect("a folder");
    for (name, text) in [
        ("members.json", MEMBERS),
        ("profiles.jsonl", PROFILES),
        ("chats.ndjson", MESSAGES),
        ("codes.json", "{\"_id\":\"01EZPQ4Z000000000000000008\",\"code\":\"01EZPQ\"}\n"),
        ("notes.txt", "no export"),
    ] {
        fs::write(folder.join(name), text).expect("a file");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .filter(|name| !["lock", "uploads"].contains(&name.as_str()))
        .collect();
    names.sort();
    names
}

#[test]
fn people_of_the_predecessor_go_on() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    export(&dir.path().join("export"));
    let text = stdout_of(&launch.run(&["import", "export"]));
    assert!(text.contains("imported 4 members and 4 messages in 2 conversations"), "{text}");
    for left_out in [
        "left out: 1 documents that are no member",
        "left out: 1 messages without text",
        "left out: 1 profiles whose member is not in the export",
        "left out: 1 messages of people to themselves",
        "left out: 1 messages whose sender or receiver is not in the export, the first at export/chats.ndjson:5",
    ] {
        assert!(text.contains(left_out), "{left_out}: {text}");
    }
    let data = dir.path().join("data");
    assert_eq!(names(&data), ["access_secret", "natter.db", "password_secret", "refresh_secret"]);
    // Nothing is brought into a server that is there.
    assert!(stderr_of(&launch.run(&["import", "export"])).contains("DATA_DIR is not empty"));
    stdout_of(&launch.run(&["check"]));
    let members = stdout_of(&launch.run(&["member", "list"]));
    for member in [
        "01EZPQ4Z00000000000000000A ada@example.org active,verified",
        "01EZPQ4Z00000000000000000B bob@example.org active,unverified",
        "01EZPQ4Z00000000000000000C eve@example.org disabled,verified",
        "01EZPQ4Z00000000000000000D dan@example.org active,verified",
    ] {
        assert!(members.lines().any(|line| line == member), "{member}: {members}");
    }

    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    let ada = reset(&mut http, &data, "ada");
    let bob = reset(&mut http, &data, "bob");
    let me = http.ask_as(&ada, "GET", "/api/v1/user/me", None).expect("a response");
    assert_eq!(at(me.text(), "data.profile.id"), "01EZPQ4Z0000000000000000AA");
    assert_eq!(at(me.text(), "data.profile.nick_name"), "ada.l");
    assert_eq!(at(me.text(), "data.member.created_at"), "2021-03-01T09:00:00.000Z");
    let me = http.ask_as(&bob, "GET", "/api/v1/user/me", None).expect("a response");
    assert!(me.text().contains(r#""is_private":true"#), "{}", me.text());
    // "B" is too short for a nick name: another one is made.
    assert!(at(me.text(), "data.profile.nick_name").starts_with("bob"), "{}", me.text());

    let list = http.ask_as(&bob, "GET", "/api/v1/conversations", None).expect("a response");
    let conversation = at(list.text(), "data.0.id");
    assert_eq!(
        (at(list.text(), "data.0.unread"), at(list.text(), "data.0.last_n")),
        ("1".into(), "3".into())
    );
    let path = format!("/api/v1/conversations/{conversation}/messages");
    let page = http.ask_as(&ada, "GET", &path, None).expect("a response");
    for (index, body, time) in [(0, "first\nof \"all\"", 1), (1, "second", 2), (2, "third", 3)] {
        let field = |name: &str| at(page.text(), &format!("data.{index}.{name}"));
        assert_eq!((field("body"), field("n")), (body.to_owned(), (index + 1).to_string()));
        assert_eq!(field("created_at"), format!("2021-03-01T10:00:0{time}.000Z"));
        assert_eq!(field("client_id"), format!("01EZPQ4Z00000000000000000{time}"));
    }
    // Ada has read what Bob wrote, and not what Eve wrote.
    let list = http.ask_as(&ada, "GET", "/api/v1/conversations", None).expect("a response");
    assert_eq!(
        (at(list.text(), "data.0.unread"), at(list.text(), "data.1.unread")),
        ("1".into(), "0".into())
    );
    natter.stop();
}

/// A new password by a code, as the person who has forgotten the old one.
fn reset(http: &mut Http, data: &Path, name: &str) -> Person {
    let body = format!(r#"{{"email":"{name}@example.org"}}"#);
    let asked = http.ask("POST", "/api/v1/user/reset/code", &[], Some(&body)).expect("a response");
    assert_eq!(asked.status, 201, "{}", asked.text());
    let code = || {
        let mails = fs::read_to_string(data.join("mail.mbox")).unwrap_or_default();
        let (_, mail) = mails.rsplit_once(&format!("To: <{name}@example.org>"))?;
        let is_code = |line: &&str| line.len() == 6 && line.bytes().all(|byte| byte.is_ascii_digit());
        mail.lines().find(is_code).map(str::to_owned)
    };
    until("the code is mailed", || code().is_some());
    let body = format!(
        r#"{{"email":"{name}@example.org","code":"{}","password":"correct horse {name}'s"}}"#,
        code().expect("a code")
    );
    let done = http.ask("POST", "/api/v1/user/reset/password", &[], Some(&body)).expect("a response");
    assert_eq!(done.status, 200, "{}", done.text());
    http.sign_in(name)
}

#[test]
fn a_wrong_export_is_named_by_its_lines_and_changes_nothing() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    let data = dir.path().join("data");
    let folder = dir.path().join("export");
    export(&folder);
    let refused = |expect: &[&str]| {
        let text = stderr_of(&launch.run(&[
            "import",
            "export/members.json",
            "export/profiles.jsonl",
            "export/chats.ndjson",
        ]));
        expect.iter().for_each(|part| assert!(text.contains(part), "{part}: {text}"));
        assert!(!data.exists());
    };
    let members = folder.join("members.json");
    fs::write(&members, format!("{MEMBERS}[\n{{\"_id\":7,\"email\":\"x@y\",\"active\":true}}\n"))
        .expect("a file");
    refused(&[
        "nothing is imported",
        "members.json:6: is a JSON array",
        "members.json:7: its id and _id are neither",
    ]);
    let strange = format!(
        "\u{feff}{MEMBERS}{}\n{}\n",
        r#"{"_id":"01EZPQ4Z00000000000000000Y","email":"x@y","email":"z@y","active":true}"#,
        r#"{"_id":"01EZPQ4Z00000000000000000Z","email":"x@y","active":true,"created_at":{"$date":"9999-01-01T00:00:00Z"}}"#,
    ) + concat!(
        r#"{"_id":"01EZPQ4Z00000000000000000W","email":"w@y","active":true,"created_at":{"$date":1,"$date":2}}"#,
        "\n",
    );
    fs::write(&members, strange).expect("a file");
    refused(&[
        "members.json:6: has the member \"email\" twice",
        "members.json:7: its created_at is in the future: 9999-01-01",
        "members.json:8: has the member \"$date\" twice",
    ]);
    fs::write(&members, MEMBERS.replace("bob@", "ADA@")).expect("a file");
    refused(&["members.json:2 and export/members.json:1 have one e-mail address"]);
    fs::write(&members, MEMBERS.replace("0000B\"", "0000C\"")).expect("a file");
    refused(&["have one id"]);
    fs::write(&members, "{\"_id\":\"x\"}\n").expect("a file");
    refused(&["the export has no member"]);
    fs::write(&members, MEMBERS).expect("a file");
    let messages = folder.join("chats.ndjson");
    // Two of Ada's messages.
    fs::write(&messages, MESSAGES.replace("00003\",", "00001\",")).expect("a file");
    refused(&["chats.ndjson:1: an earlier message of this sender has the same id"]);
    fs::write(&messages, MESSAGES).expect("a file");
    // A folder with something in it stays as it is.
    fs::create_dir_all(&data).expect("a folder");
    fs::write(data.join("own.txt"), "mine").expect("a file");
    assert!(stderr_of(&launch.run(&["import", "export"])).contains("DATA_DIR is not empty"));
    assert_eq!(names(&data), ["own.txt"]);
    fs::remove_file(data.join("own.txt")).expect("removed");
    assert!(stderr_of(&launch.run(&["import", "nothing.json"])).contains("nothing.json: "));
    // What was refused can be repaired, and tried again, also with what an editor has put before it.
    fs::write(&members, format!("\u{feff}{MEMBERS}")).expect("a file");
    stdout_of(&launch.run(&["import", "export"]));
}
