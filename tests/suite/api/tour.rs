//! Calls every operation, and receives every message of the streams, at least once.
//!
//! The recording becomes the examples of the documents. Invariant: it is the same in each run.

use std::time::Duration;

use natter::base::crypto::base64url;
use natter::base::json::{self, Value};
use natter::base::totp;
use natter::server::contract::{ConnId, ListenerKind};
use natter::server::schema::examples::{Examples, Recording};
use natter::server::schema::{asyncapi, openapi, pretty};

use super::codes::code_of;
use crate::support::contract::Contract;
use crate::support::http::{Person, Response, base32_bytes, next_response, request, text_at};
use crate::support::{Watch, World, pictures};

/// Text that lives as long as the process: the documents borrow from it.
fn parsed(text: String) -> Value<'static> {
    json::parse_text(text.leak()).expect("a document is JSON")
}

pub fn tour() -> Recording {
    let nothing = Recording::default();
    let nothing = Examples::new(&nothing);
    let bare = openapi::document(&nothing);
    let contract =
        Contract::new(parsed(pretty::write(&bare)), parsed(pretty::write(&asyncapi::document(&nothing))));
    let mut settings = crate::support::settings(crate::support::limits());
    settings.directory = true;
    let mut world = World::with(settings);
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    world.watch = Watch::Records(Box::leak(Box::new(contract)));
    world.sign_up("eve");
    world.sign_in("ann");
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/client/app.js"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/asyncapi.json"),
        ("GET", "/api/v1/user/sign-up"),
    ] {
        assert_eq!(world.ask(method, path, &[], None).status, 200, "{path}");
    }
    let mut ask = |method: &str, path: &str, body: Option<&str>| {
        let response = world.ask_as(&ann, method, path, body);
        assert!((200..300).contains(&response.status), "{method} {path} {}", response.text());
        response
    };
    ask("GET", "/api/v1/user/me", None);
    ask("PUT", "/api/v1/user/me", Some(r#"{"digest":true}"#));
    ask("GET", "/api/v1/push", None);
    let subscription = format!(
        r#"{{"endpoint":"https://push.example/ann","p256dh":"{}","auth":"{}","level":"text"}}"#,
        base64url(&[4; 65]),
        base64url(&[7; 16])
    );
    ask("PUT", "/api/v1/push", Some(&subscription));
    let sessions = ask("GET", "/api/v1/user/sessions", None);
    let subscribed =
        (0..2).find(|n| sessions.at(&format!("data.{n}.push")) != "null").expect("the current one");
    let subscribed = format!("/api/v1/push/{}", sessions.at(&format!("data.{subscribed}.id")));
    ask("PUT", &subscribed, Some(r#"{"level":"who"}"#));
    ask("DELETE", &subscribed, None);
    ask("POST", "/api/v1/user/ticket", Some(r#"{"for":"events"}"#));
    ask("GET", "/api/v1/profile", None);
    ask("PUT", "/api/v1/profile", Some(r#"{"display_name":"Ann","nick_name":"ann.l"}"#));
    ask("GET", "/api/v1/ann.l?source=qr_code", None);
    ask("GET", &format!("/api/v1/profile/{}", bob.profile), None);
    ask("GET", "/api/v1/profiles?query=bo", None);
    ask("GET", "/api/v1/directory?limit=20", None);
    let to_bob =
        format!(r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","body":"hello, Bob"}}"#, bob.profile);
    let posted = ask("POST", "/api/v1/messages", Some(&to_bob));
    let message = format!("/api/v1/messages/{}", posted.at("data.id"));
    ask("GET", &message, None);
    ask("PUT", &message, Some(r#"{"body":"hello, Bob!"}"#));
    ask("PUT", &format!("{message}/reactions/%F0%9F%91%8D"), None);
    ask("DELETE", &format!("{message}/reactions/%F0%9F%91%8D"), None);
    ask("PUT", &format!("{message}/pin"), None);
    ask("DELETE", &format!("{message}/pin"), None);
    ask("GET", "/api/v1/search?q=hello", None);
    let direct = format!("/api/v1/conversations/{}", posted.at("data.conversation"));
    ask("GET", &format!("{direct}/messages?limit=20"), None);
    ask("GET", &format!("{direct}/files?kind=file"), None);
    ask("POST", &format!("{direct}/read"), Some(r#"{"n":1}"#));
    ask("GET", "/api/v1/conversations", None);
    let group = format!(r#"{{"title":"Tea","members":["{}"]}}"#, bob.profile);
    let group = ask("POST", "/api/v1/conversations", Some(&group)).at("data.id");
    let group = format!("/api/v1/conversations/{group}");
    ask("GET", &group, None);
    ask("PUT", &group, Some(r#"{"title":"Tea time"}"#));
    ask("PUT", &group, Some(r#"{"muted":true,"muted_until":"2099-01-01T00:00:00Z","pinned":true}"#));
    ask("GET", &format!("{group}/members"), None);
    ask("PUT", &format!("{group}/members/{}", bob.profile), Some(r#"{"role":"admin"}"#));
    ask("DELETE", &format!("{group}/members/{}", bob.profile), None);
    let invited = format!(r#"{{"conversation":"{}","uses":5}}"#, group.rsplit('/').next().expect("an id"));
    let invited = ask("POST", "/api/v1/invites", Some(&invited));
    ask("GET", &format!("/api/v1/invites?conversation={}", invited.at("data.conversation")), None);
    let code = format!(r#"{{"invite":"{}"}}"#, invited.at("data.code"));
    ask("POST", "/api/v1/invites/check", Some(&code));
    ask("POST", "/api/v1/invites/use", Some(&code));
    ask("DELETE", &format!("/api/v1/invites/{}", invited.at("data.id")), None);
    ask("GET", "/api/v1/events?limit=1", None);
    ask("PUT", &format!("/api/v1/blocks/{}", bob.profile), None);
    ask("GET", "/api/v1/blocks", None);
    ask("DELETE", &format!("/api/v1/blocks/{}", bob.profile), None);
    ask(
        "POST",
        &format!("/api/v1/profile/{}/report", bob.profile),
        Some(r#"{"reason":"He calls me at night."}"#),
    );
    ask("POST", &format!("/api/v1/profile/{}/report", bob.profile), None);
    let by_bob =
        format!(r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAW","body":"buy now"}}"#, ann.profile);
    let spam = world.ask_as(&bob, "POST", "/api/v1/messages", Some(&by_bob)).at("data.id");
    moderation(&mut world, &ann, &spam);
    let mut ask = |method: &str, path: &str, body: Option<&str>| {
        let response = world.ask_as(&ann, method, path, body);
        assert!((200..300).contains(&response.status), "{method} {path} {}", response.text());
        response
    };
    ask("DELETE", &message, None);
    ask("POST", &format!("{direct}/clear"), Some(r#"{"hide":true}"#));
    bots(&mut world, &ann, group.rsplit('/').next().expect("an id"));
    let uploaded = files(&mut world, &ann);
    assert_eq!(world.ask("GET", &uploaded.0, &[], None).status, 200);
    assert_eq!(world.ask_as(&ann, "DELETE", &format!("/api/v1/uploads/{}", uploaded.1), None).status, 204);
    streams(&mut world, &ann, &bob);
    codes(&mut world, &ann);
    second_factor(&mut world, &ann);
    let bearer = format!("Bearer {}", ann.access);
    let conn = world.connect();
    world.send(conn, &request("GET", "/api/v1/user/export", &[("Authorization", &bearer)], None));
    let session = world.ask_as(&ann, "GET", "/api/v1/user/sessions", None);
    let sessions = session.json();
    let sessions = sessions.get("data").and_then(Value::as_list).expect("sessions");
    let other = sessions.iter().find(|it| it.get("current") == Some(&Value::Bool(false)));
    let other = other.and_then(|it| it.get("id")).and_then(Value::as_str).expect("another").to_owned();
    for (method, path, body) in [
        ("DELETE", format!("/api/v1/user/sessions/{other}"), None),
        ("DELETE", "/api/v1/user/sessions".to_owned(), None),
        (
            "PUT",
            "/api/v1/user/password".to_owned(),
            Some(
                r#"{"password":"correct horse ann's","new_password":"the best horse","confirm_password":"the best horse"}"#,
            ),
        ),
        ("POST", "/api/v1/user/logout".to_owned(), None),
    ] {
        let response = world.ask_as(&ann, method, &path, body);
        assert!((200..300).contains(&response.status), "{method} {path} {}", response.text());
    }
    let refreshed =
        world.ask("POST", "/api/v1/user/refresh", &[], Some(&format!(r#"{{"refresh":"{}"}}"#, bob.refresh)));
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    let deletion = r#"{"password":"correct horse bob's","messages":"keep"}"#;
    assert_eq!(world.ask_as(&bob, "DELETE", "/api/v1/user/me", Some(deletion)).status, 204);
    let eve = world.sign_in("eve");
    let deletion = r#"{"password":"correct horse eve's","messages":"erase"}"#;
    assert_eq!(world.ask_as(&eve, "POST", "/api/v1/user/delete", Some(deletion)).status, 204);
    sockets(&mut world);
    world.recording()
}

/// A second factor, from its secret to its end.
fn second_factor(world: &mut World, who: &Person) {
    let path = "/api/v1/user/second-factor";
    let password = r#""password":"correct horse ann's""#;
    let now = world.now.unix_s();
    let mut ask = |method: &str, path: &str, body: &str| {
        let response = world.ask_as(who, method, path, Some(body));
        assert_eq!(response.status, 200, "{method} {path} {}", response.text());
        response
    };
    let begun = ask("POST", path, "{}");
    let code = |at| totp::shown(&base32_bytes(&begun.at("data.secret")), at);
    let setup = begun.at("data.setup");
    ask("PUT", path, &format!(r#"{{{password},"code":"{}","setup":"{setup}"}}"#, code(now)));
    let renewed = ask(
        "POST",
        &format!("{path}/recovery"),
        &format!(r#"{{{password},"code":"{}"}}"#, code(now.after(30))),
    );
    ask("DELETE", path, &format!(r#"{{{password},"code":"{}"}}"#, renewed.at("data.recovery_codes.0")));
}

/// A message is reported, and what an admin of the server does then.
fn moderation(world: &mut World, admin: &Person, spam: &str) {
    let operator = world.connect_through("127.0.0.1", ListenerKind::Control);
    let who = format!(r#"{{"who":"{}"}}"#, admin.member);
    assert_eq!(world.ask_on(operator, "POST", "/admin/members/promote", &[], Some(&who)).status, 200);
    let mut ask = |method: &str, path: &str, body: Option<&str>| {
        let response = world.ask_as(admin, method, path, body);
        assert!((200..300).contains(&response.status), "{method} {path} {}", response.text());
        response
    };
    ask("POST", &format!("/api/v1/messages/{spam}/report"), Some(r#"{"reason":"This is spam."}"#));
    let reports = ask("GET", "/api/v1/admin/reports", None);
    let message =
        (0..2).find(|n| reports.at(&format!("data.{n}.message")) != "null").expect("one of a message");
    ask("DELETE", &format!("/api/v1/admin/messages/{spam}"), None);
    ask("DELETE", &format!("/api/v1/admin/reports/{}", reports.at(&format!("data.{message}.id"))), None);
    let made = r#"{"email":"zoe@example.org","password":"correct horse 9"}"#;
    let zoe = ask("POST", "/api/v1/admin/members", Some(made)).at("data.id");
    let whom = format!(r#"{{"who":"{zoe}"}}"#);
    ask("GET", "/api/v1/admin/members?search=zoe", None);
    ask("POST", "/api/v1/admin/members/verify", Some(&whom));
    ask("POST", "/api/v1/admin/members/rename", Some(&format!(r#"{{"who":"{zoe}","display_name":"Zoe"}}"#)));
    ask("POST", "/api/v1/admin/members/revoke", Some(&whom));
    let link = ask("POST", "/api/v1/admin/members/reset-link", Some(&whom)).at("data.url");
    let code = link.rsplit('/').next().expect("a code");
    let used = format!(r#"{{"link":"{code}","password":"the best horse"}}"#);
    ask("POST", "/api/v1/user/reset/link", Some(&used));
    ask("POST", "/api/v1/admin/members/disable", Some(&whom));
    ask("POST", "/api/v1/admin/members/enable", Some(&whom));
    ask("POST", "/api/v1/admin/members/delete", Some(&whom));
    ask("GET", "/api/v1/admin/storage", None);
    ask("POST", "/api/v1/admin/backup", None);
    ask("GET", "/api/v1/admin/server", None);
    ask("GET", "/api/v1/admin/audit?limit=20", None);
}

/// A bot, and a hook by which another program posts to a group, made by an admin of the server.
fn bots(world: &mut World, admin: &Person, group: &str) {
    let mut ask = |method: &str, path: &str, body: Option<&str>| {
        let response = world.ask_as(admin, method, path, body);
        assert!((200..300).contains(&response.status), "{method} {path} {}", response.text());
        response
    };
    let bot = ask("POST", "/api/v1/bots", Some(r#"{"display_name":"Alerts"}"#)).at("data.profile.id");
    ask("GET", "/api/v1/bots", None);
    ask("PUT", &format!("/api/v1/conversations/{group}/members/{bot}"), None);
    let tokens = format!("/api/v1/bots/{bot}/tokens");
    let hook = format!(r#"{{"name":"monitoring","conversation":"{group}"}}"#);
    let made = ask("POST", &tokens, Some(&hook));
    let call = format!("/hooks/{}", made.at("data.token"));
    ask("POST", &call, Some(r#"{"body":"The disk of db1 is full."}"#));
    ask("GET", &tokens, None);
    ask("DELETE", &format!("{tokens}/{}", made.at("data.id")), None);
    let outgoing = format!("/api/v1/bots/{bot}/hook");
    ask("PUT", &outgoing, Some(r#"{"url":"https://bot.example.org/natter"}"#));
    ask("GET", &outgoing, None);
    ask("DELETE", &outgoing, None);
}

/// The signed address of a picture, and its id.
fn files(world: &mut World, person: &Person) -> (String, String) {
    let sent = send_file(world, person, "POST", "/api/v1/uploads", &pictures::portrait());
    assert_eq!(sent.status, 201, "{}", sent.text());
    let path = format!("/api/v1/uploads/{}", sent.at("data.id"));
    let previewed = send_file(world, person, "PUT", &format!("{path}/preview"), &pictures::picture(1));
    assert_eq!(previewed.status, 200, "{}", previewed.text());
    let described = world.ask_as(person, "PUT", &path, Some(r#"{"alt":"a cup of tea"}"#));
    assert_eq!(described.status, 200, "{}", described.text());
    (sent.at("data.url"), sent.at("data.id"))
}

fn send_file(world: &mut World, person: &Person, method: &str, path: &str, file: &[u8]) -> Response {
    let (length, bearer) = (file.len().to_string(), format!("Bearer {}", person.access));
    let fields = [("Authorization", &*bearer), ("X-Filename", "tea.jpg"), ("Content-Length", &*length)];
    let conn = world.connect();
    world.send(conn, &[&request(method, path, &fields, None)[..], file].concat());
    let mut bytes = world.take(conn);
    next_response(&mut bytes, false).expect("a response")
}

fn streams(world: &mut World, ann: &Person, bob: &Person) {
    let bearer = format!("Bearer {}", ann.access);
    for path in ["/api/v1/chat-list", "/api/v1/chat-counter"] {
        let conn = world.connect();
        world.send(conn, &request("GET", path, &[("Authorization", &bearer)], None));
        assert!(world.take(conn).starts_with(b"HTTP/1.1 200 "), "{path}");
    }
    world.open_socket(ann, "/api/v1/ws");
    world.open_socket(ann, &format!("/api/v1/ws/{}/{}", ann.profile, bob.profile));
}

fn codes(world: &mut World, ann: &Person) {
    let ask = |world: &mut World, path: &str, body: Option<&str>| {
        let response = world.ask_as(ann, "POST", path, body);
        assert!((200..300).contains(&response.status), "{path} {}", response.text());
    };
    let minute = Duration::from_secs(61);
    ask(world, "/api/v1/user/verify/code", None);
    world.pass(minute);
    ask(world, "/api/v1/user/verify/renew", None);
    let code = code_of(world, "ann");
    ask(world, "/api/v1/user/verify/check", Some(&format!(r#"{{"code":"{code}"}}"#)));
    for path in ["/api/v1/user/reset/password", "/api/v1/user/verify/reset/password"] {
        world.pass(minute);
        ask(world, "/api/v1/user/reset/code", Some(r#"{"email":"eve@example.org"}"#));
        let code = code_of(world, "eve");
        let body =
            format!(r#"{{"email":"eve@example.org","code":"{code}","password":"correct horse eve's"}}"#);
        ask(world, path, Some(&body));
    }
}

/// One op on a socket, and the text at a path of its answer.
fn op(world: &mut World, conn: ConnId, frame: &str, path: &str) -> String {
    world.say(conn, frame);
    let texts = world.texts(conn);
    let answer = texts.iter().rev().find(|text| text.contains("\"re\":1,\"ok\":"));
    let answer = answer.unwrap_or_else(|| panic!("{frame}: {texts:?}"));
    text_at(&json::parse_text(answer).expect("JSON"), path)
}

/// Every op, and the events that another member and another device receive.
fn sockets(world: &mut World) {
    let (fred, gina) = (world.sign_up("fred"), world.sign_up("gina"));
    let gina_tablet = world.sign_in("gina");
    let (mine, hers) = (world.open_socket(&fred, "/api/v1/ws"), world.open_socket(&gina, "/api/v1/ws"));
    let tablet = world.open_socket(&gina_tablet, "/api/v1/ws");
    let group =
        format!(r#"{{"id":1,"op":"conversation.create","title":"Tea","members":["{}"]}}"#, gina.profile);
    let group = op(world, mine, &group, "ok.id");
    let post = format!(
        r#"{{"id":1,"op":"message.post","conversation":"{group}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAW","body":"tea?"}}"#
    );
    let message = op(world, mine, &post, "ok.id");
    for frame in [
        format!(r#"{{"id":1,"op":"message.get","message":"{message}"}}"#),
        format!(r#"{{"id":1,"op":"message.list","conversation":"{group}","limit":20}}"#),
        format!(r#"{{"id":1,"op":"file.list","conversation":"{group}","kind":"media"}}"#),
        format!(r#"{{"id":1,"op":"message.edit","message":"{message}","body":"tea at five?"}}"#),
        format!(r#"{{"id":1,"op":"message.react","message":"{message}","emoji":"👍"}}"#),
        format!(r#"{{"id":1,"op":"message.unreact","message":"{message}","emoji":"👍"}}"#),
        format!(r#"{{"id":1,"op":"message.pin","message":"{message}"}}"#),
        format!(r#"{{"id":1,"op":"message.unpin","message":"{message}"}}"#),
        r#"{"id":1,"op":"message.search","q":"tea"}"#.to_owned(),
        r#"{"id":1,"op":"conversation.list","limit":20}"#.to_owned(),
        format!(r#"{{"id":1,"op":"conversation.get","conversation":"{group}"}}"#),
        format!(r#"{{"id":1,"op":"conversation.update","conversation":"{group}","title":"Tea time"}}"#),
        format!(r#"{{"id":1,"op":"conversation.read","conversation":"{group}","n":1}}"#),
        format!(r#"{{"id":1,"op":"member.list","conversation":"{group}"}}"#),
        format!(
            r#"{{"id":1,"op":"member.add","conversation":"{group}","profile":"{}","role":"admin"}}"#,
            gina.profile
        ),
        format!(r#"{{"id":1,"op":"focus","conversation":"{group}"}}"#),
        format!(r#"{{"id":1,"op":"typing","conversation":"{group}","active":true}}"#),
        format!(r#"{{"id":1,"op":"message.delete","message":"{message}"}}"#),
        format!(r#"{{"id":1,"op":"conversation.clear","conversation":"{group}","hide":true}}"#),
        format!(r#"{{"id":1,"op":"member.remove","conversation":"{group}","profile":"{}"}}"#, gina.profile),
    ] {
        op(world, mine, &frame, "ok");
    }
    world.say(mine, r#"{"id":1,"op":"message.get","message":"nobody's"}"#);
    lines(world, &fred, &gina, hers);
    world.ask_as(&gina, "DELETE", "/api/v1/user/sessions", None);
    // The server closes sockets that do not answer its pings.
    world.pass(Duration::from_secs(31));
    let _ = (world.texts(hers), world.texts(tablet));
    let gina = world.sign_in("gina");
    world.open_socket(&gina, "/api/v1/ws?cursor=another:7");
    world.pass(Duration::from_secs(835));
    let late = world.open_socket(&gina, "/api/v1/ws");
    world.pass(Duration::from_secs(10));
    world.say(late, &format!(r#"{{"id":1,"op":"auth","access":"{}"}}"#, gina.access));
}

/// The legacy socket, the events that the peer of a direct conversation receives, and the read event on the reader's other
/// device.
fn lines(world: &mut World, fred: &Person, gina: &Person, hers: ConnId) {
    let pair = world.open_socket(fred, &format!("/api/v1/ws/{}/{}", fred.profile, gina.profile));
    world.say(pair, r#"{"message":"hello, Gina","client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAX"}"#);
    world.say(pair, r#"{"message":""}"#);
    world.ask_as(fred, "PUT", "/api/v1/profile", Some(r#"{"display_name":"Fred"}"#));
    let list = world.ask_as(gina, "GET", "/api/v1/conversations", None);
    let direct = list.at("data.0.id");
    op(world, hers, &format!(r#"{{"id":1,"op":"conversation.read","conversation":"{direct}","n":1}}"#), "ok");
    world.reset(pair);
    world.pass(Duration::from_secs(4));
}
