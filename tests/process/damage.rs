//! Tests of bit rot: a stored text that cannot be read hides only itself, in every answer and stream that shows it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use natter::base::json::{self, Value};
use rusqlite::Connection;

use super::support::TestDir;
use super::support::http::Person;
use super::support::net::{Http, PATIENCE, Ws, at};
use super::support::process::Launch;
use super::{client_id, post_to, stdout_of, until};

fn get(http: &mut Http, person: &Person, path: &str) -> String {
    let response = http.ask_as(person, "GET", path, None).expect("a response");
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    response.text().to_owned()
}

/// The complete export, with its chunks as they arrived.
fn export(address: SocketAddr, person: &Person) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let head = format!(
        "GET /api/v1/user/export HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        person.access
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("\r\n0\r\n\r\n"), "{text}");
    text
}

/// `body` and `damaged` of each message of an answer, oldest first.
fn texts(answer: &str) -> Vec<(Option<String>, bool)> {
    let value = json::parse(answer.as_bytes()).expect("JSON");
    let list = value.get("data").and_then(Value::as_list).expect("a list").to_vec();
    list.iter()
        .map(|message| {
            let damaged = matches!(message.get("damaged"), Some(Value::Bool(true)));
            assert!(!damaged || matches!(message.get("deleted_at"), Some(Value::Null)), "{answer}");
            (message.get("body").and_then(Value::as_str).map(str::to_owned), damaged)
        })
        .collect()
}

#[test]
fn one_damaged_text_hides_nothing_else() {
    let dir = TestDir::new();
    let launch = Launch::new(dir.path());
    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    let (ann, bob) = (http.sign_up("ann"), http.sign_up("bob"));
    let bearer = format!("Bearer {}", ann.access);
    let fields = [("Authorization", bearer.as_str()), ("X-Filename", "note.txt")];
    let upload =
        http.ask("POST", "/api/v1/uploads", &fields, Some("bytes")).expect("a response").at("data.id");
    let mut conversation = String::new();
    let mut ids = Vec::new();
    for text in ["first apple", "second apple", "third apple"] {
        let body = post_to(&bob.profile, &client_id(), text);
        let posted = http.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).expect("a response");
        conversation = posted.at("data.conversation");
        ids.push(posted.at("data.id"));
    }
    let body = format!(
        r#"{{"to":"{}","client_id":"{}","body":"with a file","attachments":["{upload}"]}}"#,
        bob.profile,
        client_id()
    );
    let posted = http.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).expect("a response");
    assert_eq!(posted.status, 201, "{}", posted.text());
    let reaction = format!("/api/v1/messages/{}/reactions/%F0%9F%91%8D", ids[0]);
    assert_eq!(http.ask_as(&bob, "PUT", &reaction, None).expect("a response").status, 200);
    let group = format!(r#"{{"title":"a group","members":["{}"]}}"#, bob.profile);
    assert_eq!(
        http.ask_as(&ann, "POST", "/api/v1/conversations", Some(&group)).expect("a response").status,
        201
    );
    until("the messages are found", || {
        texts(&get(&mut Http::connect(natter.address), &bob, "/api/v1/search?q=apple")).len() == 3
    });
    natter.stop();

    // A bit of each text changes, so that it is not UTF-8.
    let damage = |sql: &str, rows: usize| {
        let conn = Connection::open(dir.path().join("data/natter.db")).expect("a database");
        assert_eq!(conn.execute(sql, []).expect(sql), rows, "{sql}");
    };
    damage("UPDATE messages SET body = CAST(x'ff6170706c65' AS TEXT) WHERE body = 'second apple'", 1);
    damage("UPDATE profiles SET display_name = CAST(x'42ff' AS TEXT) WHERE nick_name LIKE 'bob%'", 1);
    damage("UPDATE sessions SET user_agent = CAST(x'ff' AS TEXT), address = CAST(x'31ff' AS TEXT)", 2);
    damage("UPDATE uploads SET name = CAST(x'6eff' AS TEXT)", 1);
    damage("UPDATE files SET mime = CAST(x'746578742f706c61696eff' AS TEXT)", 1);
    damage("UPDATE conversations SET title = CAST(x'67ff' AS TEXT) WHERE title IS NOT NULL", 1);
    damage("UPDATE reactions SET emoji = CAST(x'f09f91' AS TEXT)", 1);
    // And one with a wrong type.
    damage("UPDATE messages SET body = NULL WHERE body = 'third apple'", 1);

    let natter = launch.start();
    let mut http = Http::connect(natter.address);
    let some = |text: &str| (Some(text.to_owned()), false);
    let path = format!("/api/v1/conversations/{conversation}/messages");
    let expect = [some("first apple"), (None, true), (None, true), some("with a file")];
    let page = get(&mut http, &bob, &path);
    assert_eq!(texts(&page), expect);
    assert!(page.contains(r#""name":"n�""#), "{page}");
    let single = get(&mut http, &bob, &format!("/api/v1/messages/{}", ids[1]));
    assert!(single.contains(r#""body":null"#) && single.contains(r#""damaged":true"#), "{single}");
    let list = get(&mut http, &ann, "/api/v1/conversations");
    assert!(list.contains(r#""title":"g�""#) && list.contains(r#""display_name":"B�""#), "{list}");
    assert!(get(&mut http, &ann, "/api/v1/user/sessions").contains(r#""user_agent":"�""#));
    for path in ["/api/v1/user/me", "/api/v1/profile", "/api/v1/profiles?query=b"] {
        get(&mut http, &bob, path);
    }
    assert!(export(natter.address, &bob).contains(r#""emoji":""#));
    let export = export(natter.address, &ann);
    assert!(export.contains("first apple") && export.contains(r#""damaged":true"#), "{export}");
    // The attachment can be read at its URL.
    let url = at(&page, "data.3.attachments.0.url");
    let bytes =
        http.ask("GET", url.strip_prefix(&format!("http://{}", natter.address)).unwrap_or(&url), &[], None);
    assert_eq!(bytes.expect("a response").body, b"bytes");
    // A message that was indexed before may be found, and is shown as it is now; the others are found too.
    let found = texts(&get(&mut http, &bob, "/api/v1/search?q=apple"));
    assert!(found.contains(&some("first apple")), "{found:?}");

    // Events: a replay, as JSON and on a WebSocket.
    let events = get(&mut http, &bob, "/api/v1/events");
    // The fifth tells that the group was made.
    assert_eq!(events.matches(r#""event":"message.posted""#).count(), 5, "{events}");
    assert_eq!(events.matches(r#""damaged":true"#).count(), 2, "{events}");
    let cursor = at(&events, "cursor");
    let oldest = format!("{}:0", cursor.split(':').next().expect("an epoch"));
    let (mut ws, _) = Ws::native(natter.address, &bob.access, Some(&oldest)).expect("a socket");
    let mut received = Vec::new();
    while at(received.last().map_or("{}", String::as_str), "event") != "caught_up" {
        received.push(ws.text());
    }
    assert_eq!(received.iter().filter(|text| text.contains(r#""damaged":true"#)).count(), 2, "{received:#?}");
    // The legacy socket leaves damaged texts out and shows the others.
    let legacy = format!("/api/v1/ws/{}/{}?access={}", bob.profile, ann.profile, bob.access);
    let Ok(mut ws) = Ws::open(natter.address, &legacy, &bob.access).expect("a connection") else {
        panic!("no upgrade")
    };
    let opening = ws.text();
    assert!(opening.contains("first apple") && opening.contains("with a file"), "{opening}");
    drop(ws);

    // A damaged message can be deleted, and edited by its sender.
    let edit = format!("/api/v1/messages/{}", ids[1]);
    let edited = http.ask_as(&ann, "PUT", &edit, Some(r#"{"body":"second pear"}"#)).expect("a response");
    assert_eq!((edited.status, edited.at("data.body")), (200, "second pear".into()));
    assert!(!edited.text().contains("damaged"));
    let gone = format!("/api/v1/messages/{}", ids[2]);
    assert_eq!(http.ask_as(&ann, "DELETE", &gone, None).expect("a response").status, 204);
    let expect = [some("first apple"), some("second pear"), (None, false), some("with a file")];
    assert_eq!(texts(&get(&mut http, &bob, &path)), expect);
    natter.stop();
    assert!(stdout_of(&launch.run(&["member", "list"])).contains("ann@example.org"));
}
