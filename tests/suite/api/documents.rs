//! The documents say what the server does: they are written from the schema table, with examples of what was really asked and
//! answered; no route, op or event is without its entry, no property without its description.
//!
//! `SCHEMA_UPDATE=1 cargo test documents` writes them. That every other request, response and frame of the tests is as they say
//! is the `Observer`'s to judge.

use std::collections::BTreeSet;

use natter::base::json::{self, Value};
use natter::server::request::routes::{Access, BodyKind, ROUTES};
use natter::server::schema::examples::{Examples, Exchange};
use natter::server::schema::{asyncapi, openapi, operations, pretty, reference};

use crate::support::contract::{Contract, find};
use crate::support::http::{Person, next_response, request};
use crate::support::{Watch, World, pictures};

/// Text that lives as long as the process: the documents borrow from it.
fn parsed(text: String) -> Value<'static> {
    json::parse_text(text.leak()).expect("a document is JSON")
}

/// Every operation, asked once as somebody would who has the whole API before them.
fn tour() -> Vec<Exchange> {
    let bare = openapi::document(&Examples::new(&[]));
    let contract = Contract::new(parsed(pretty::write(&bare)), parsed(pretty::write(&asyncapi::document())));
    let mut world = World::new();
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
    ] {
        assert_eq!(world.ask(method, path, &[], None).status, 200, "{path}");
    }
    let mut ask = |method: &str, path: &str, body: Option<&str>| {
        let response = world.ask_as(&ann, method, path, body);
        assert!((200..300).contains(&response.status), "{method} {path} {}", response.text());
        response
    };
    ask("GET", "/api/v1/user/me", None);
    ask("GET", "/api/v1/user/sessions", None);
    ask("POST", "/api/v1/user/ticket", Some(r#"{"for":"events"}"#));
    ask("GET", "/api/v1/profile", None);
    ask("PUT", "/api/v1/profile", Some(r#"{"display_name":"Ann","nick_name":"ann.l"}"#));
    ask("GET", "/api/v1/ann.l?source=qr_code", None);
    ask("GET", &format!("/api/v1/profile/{}", bob.profile), None);
    ask("GET", "/api/v1/profiles?query=bo", None);
    let to_bob =
        format!(r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","body":"hello, Bob"}}"#, bob.profile);
    let posted = ask("POST", "/api/v1/messages", Some(&to_bob));
    let message = format!("/api/v1/messages/{}", posted.at("data.id"));
    ask("GET", &message, None);
    ask("PUT", &message, Some(r#"{"body":"hello, Bob!"}"#));
    ask("PUT", &format!("{message}/reactions/%F0%9F%91%8D"), None);
    ask("DELETE", &format!("{message}/reactions/%F0%9F%91%8D"), None);
    ask("GET", "/api/v1/search?q=hello", None);
    let direct = format!("/api/v1/conversations/{}", posted.at("data.conversation"));
    ask("GET", &format!("{direct}/messages?limit=20"), None);
    ask("POST", &format!("{direct}/read"), Some(r#"{"n":1}"#));
    ask("GET", "/api/v1/conversations", None);
    let group = format!(r#"{{"title":"Tea","members":["{}"]}}"#, bob.profile);
    let group = ask("POST", "/api/v1/conversations", Some(&group)).at("data.id");
    let group = format!("/api/v1/conversations/{group}");
    ask("GET", &group, None);
    ask("PUT", &group, Some(r#"{"title":"Tea time"}"#));
    ask("GET", &format!("{group}/members"), None);
    ask("PUT", &format!("{group}/members/{}", bob.profile), Some(r#"{"role":"admin"}"#));
    ask("DELETE", &format!("{group}/members/{}", bob.profile), None);
    ask("GET", "/api/v1/events?limit=1", None);
    ask("PUT", &format!("/api/v1/blocks/{}", bob.profile), None);
    ask("GET", "/api/v1/blocks", None);
    ask("DELETE", &format!("/api/v1/blocks/{}", bob.profile), None);
    ask("DELETE", &message, None);
    let uploaded = files(&mut world, &ann);
    assert_eq!(world.ask("GET", &uploaded.0, &[], None).status, 200);
    assert_eq!(world.ask_as(&ann, "DELETE", &format!("/api/v1/uploads/{}", uploaded.1), None).status, 204);
    streams(&mut world, &ann, &bob);
    codes(&mut world, &ann);
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
    world.exchanges()
}

/// The signed address of a picture, and its id.
fn files(world: &mut World, person: &Person) -> (String, String) {
    let picture = pictures::portrait();
    let (length, bearer) = (picture.len().to_string(), format!("Bearer {}", person.access));
    let fields = [("Authorization", &*bearer), ("X-Filename", "tea.jpg"), ("Content-Length", &*length)];
    let conn = world.connect();
    let head = request("POST", "/api/v1/uploads", &fields, None);
    world.send(conn, &[head, picture].concat());
    let mut bytes = world.take(conn);
    let response = next_response(&mut bytes, false).expect("a response");
    assert_eq!(response.status, 201, "{}", response.text());
    (response.at("data.url"), response.at("data.id"))
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
    use super::codes::code_of;
    let ask = |world: &mut World, path: &str, body: Option<&str>| {
        let response = world.ask_as(ann, "POST", path, body);
        assert!((200..300).contains(&response.status), "{path} {}", response.text());
    };
    let minute = std::time::Duration::from_secs(61);
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

#[test]
fn the_documents_are_written_from_the_table() {
    let exchanges = tour();
    let shown: BTreeSet<&str> = exchanges.iter().map(|exchange| exchange.operation.as_str()).collect();
    let rows = operations::all();
    let missing: Vec<_> =
        rows.iter().map(|row| row.operation_id()).filter(|id| !shown.contains(id)).collect();
    assert!(missing.is_empty(), "not asked: {missing:?}");
    let examples = Examples::new(&exchanges);
    let files = [
        ("openapi.json", pretty::write(&openapi::document(&examples))),
        ("asyncapi.json", pretty::write(&asyncapi::document())),
        ("reference.md", reference::page(&examples)),
    ];
    for (name, expect) in files {
        let path = format!("{}/src/site/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("SCHEMA_UPDATE").is_some() {
            std::fs::write(&path, expect).expect("written");
        } else {
            let is = std::fs::read_to_string(&path).expect("a document");
            let differs = is.lines().zip(expect.lines()).find(|(is, expect)| is != expect);
            assert!(is == expect, "{name} differs ({differs:?}): SCHEMA_UPDATE=1 writes it");
        }
    }
}

fn keys(value: Option<&Value<'_>>) -> BTreeSet<String> {
    let object = value.and_then(Value::as_object);
    object.map(|object| object.iter().map(|(key, _)| key.to_string()).collect()).unwrap_or_default()
}

#[test]
fn every_route_has_one_row_and_no_row_is_without_one() {
    let rows: Vec<_> = operations::all().iter().map(|row| (row.path, row.method.as_str())).collect();
    let there: Vec<_> = ROUTES
        .iter()
        .filter(|route| !route.name.starts_with("conformance"))
        // The document describes the public door; the control socket is between the commands and their server.
        .filter(|route| route.access != Access::Control)
        .map(|route| (route.path, route.method.as_str()))
        .collect();
    let (described, routes): (BTreeSet<_>, BTreeSet<_>) =
        (rows.iter().copied().collect(), there.iter().copied().collect());
    assert_eq!(described, routes);
    assert_eq!((rows.len(), there.len()), (described.len(), routes.len()), "a row twice");
    let ids: Vec<_> = operations::all().iter().map(|row| row.operation_id()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id twice");
    for row in operations::all() {
        let route = row.route();
        let takes_files = matches!(route.body, BodyKind::Upload | BodyKind::Form(_));
        let has_form = row.body.iter().any(|(media, _)| *media == "multipart/form-data");
        assert_eq!(takes_files, has_form, "{}", route.name);
        assert!(
            row.body.is_empty() || route.body != BodyKind::None,
            "{}: a body that is not read",
            route.name
        );
    }
}

#[test]
fn every_op_and_every_event_is_described_and_nothing_else() {
    let asyncapi = &Contract::of_this_build().asyncapi;
    let messages = keys(asyncapi.get("components").and_then(|components| components.get("messages")));
    let of = |prefix: &str| -> BTreeSet<String> {
        messages.iter().filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect()
    };
    let mut there: BTreeSet<String> =
        ROUTES.iter().filter(|route| route.op).map(|route| route.name.to_owned()).collect();
    there.extend(["typing".to_owned(), "auth".to_owned()]);
    assert_eq!(of("op."), there);
    let mut facts: BTreeSet<String> =
        natter::model::event::NAMES.iter().map(|name| (*name).to_owned()).collect();
    let words = ["hello", "caught_up", "reset", "heartbeat", "expiring", "typing", "presence"];
    facts.extend(words.map(str::to_owned));
    assert_eq!(of("event."), facts);
}

/// Calls `visit` with every object of a document and its place.
fn walk(value: &Value<'_>, place: &str, visit: &mut impl FnMut(&str, &Value<'_>)) {
    visit(place, value);
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(name, value)| walk(value, &format!("{place}/{name}"), visit));
        }
        Value::List(list) => {
            list.iter().enumerate().for_each(|(i, value)| walk(value, &format!("{place}/{i}"), visit));
        }
        _ => {}
    }
}

#[test]
fn everything_is_described_and_every_reference_leads_somewhere() {
    let contract = Contract::of_this_build();
    for document in [&contract.openapi, &contract.asyncapi] {
        walk(document, "", &mut |place, value| {
            // An example is no schema.
            if place.contains("/example") {
                return;
            }
            if let Some(path) = value.get("$ref").and_then(Value::as_str) {
                assert!(find(document, &path[2..]).is_some(), "{place}: {path}");
            }
            for (name, property) in
                value.get("properties").and_then(Value::as_object).into_iter().flat_map(|all| all.iter())
            {
                // A property of this name is no list of properties.
                let says = property.get("description").and_then(Value::as_str);
                assert!(says.is_some_and(|text| text.len() > 3), "{place}/{name} has no description");
            }
        });
    }
    let paths = contract.openapi.get("paths").and_then(Value::as_object).expect("paths");
    for (path, methods) in paths.iter() {
        for (method, operation) in methods.as_object().expect("methods").iter() {
            let text = |name: &str| operation.get(name).and_then(Value::as_str).unwrap_or_default().len();
            assert!(text("summary") > 4, "{method} {path}");
            assert_eq!(
                operation.get("tags").and_then(Value::as_list).map(<[_]>::len),
                Some(1),
                "{method} {path}"
            );
            for (status, response) in
                operation.get("responses").and_then(Value::as_object).expect("responses").iter()
            {
                let says = response.get("description").and_then(Value::as_str).unwrap_or_default();
                assert!(says.len() > 2 && says != "Done", "{method} {path} {status}");
            }
        }
    }
}

#[test]
fn the_judge_knows_right_from_wrong() {
    use crate::support::contract::{By, check, matches};
    let contract = Contract::of_this_build();
    let id = r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$";
    for (pattern, text, fits) in [
        (id, "01ARZ3NDEKTSV4RRFFQ69G5FAV", true),
        (id, "81ARZ3NDEKTSV4RRFFQ69G5FAV", false),
        (id, "01ARZ3NDEKTSV4RRFFQ69G5FA", false),
        (id, "01ARZ3NDEKTSV4RRFFQ69G5FAVX", false),
        (id, "01ARZ3NDEKTSV4RRFFQ69G5FAU", false),
        (r"^[a-z0-9]{1,32}:\d+$", "k3:1200", true),
        (r"^[a-z0-9]{1,32}:\d+$", "k3:", false),
        (r"^[A-Za-z0-9._]+$", "ann.l_", true),
        (r"^[A-Za-z0-9._]+$", "", false),
    ] {
        assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
    }
    let refused = |schema: &str, value: &str, by| {
        let (schema, value) =
            (json::parse_text(schema).expect("JSON"), json::parse_text(value).expect("JSON"));
        check(&contract.openapi, &schema, &value, by, "").is_err()
    };
    let object = r#"{"type":"object","properties":{"a":{"type":"integer","minimum":1}},"required":["a"]}"#;
    assert!(!refused(object, r#"{"a":1}"#, By::Server));
    for (schema, value) in [
        (object, "{}"),
        (object, r#"{"a":0}"#),
        (object, r#"{"a":"1"}"#),
        (object, r#"{"a":1,"b":2}"#),
        (object, "[]"),
        (r#"{"type":"string","maxLength":2}"#, r#""abc""#),
        (r#"{"type":"array","items":{"type":"string"}}"#, "[1]"),
        (r#"{"enum":["a"]}"#, r#""b""#),
        (r#"{"const":true}"#, "false"),
        (r#"{"multipleOf":2}"#, "4"),
        (r#"{"type":"string","format":"hostname"}"#, r#""a""#),
        (r##"{"$ref":"#/components/schemas/Id"}"##, r#""x""#),
        (r#"{"oneOf":[{"type":"string"},{"type":"string"}]}"#, r#""a""#),
    ] {
        assert!(refused(schema, value, By::Server), "{schema} {value}");
    }
    assert!(!refused(object, r#"{"a":1,"b":2}"#, By::Client), "a client may say more");
}
