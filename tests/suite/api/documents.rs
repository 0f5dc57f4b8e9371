//! The two API documents describe what the server does.
//!
//! Each route, op and event has an entry, each entry has a route, op or event, and real responses match their schemas.

use std::collections::BTreeSet;

use natter::base::json::{self, Value};
use natter::proto::http::head::Method;
use natter::server::request::routes::{Access, ROUTES};

use crate::support::World;

fn document(world: &mut World, path: &str) -> Vec<u8> {
    let response = world.ask("GET", path, &[], None);
    assert_eq!((response.status, response.field("content-type")), (200, Some("application/json")));
    response.body
}

fn keys(value: Option<&Value<'_>>) -> BTreeSet<String> {
    let object = value.and_then(Value::as_object);
    object.map(|object| object.iter().map(|(key, _)| key.to_string()).collect()).unwrap_or_default()
}

#[test]
fn the_described_routes_are_those_of_the_server() {
    let mut world = World::new();
    let bytes = document(&mut world, "/openapi.json");
    let openapi = json::parse(&bytes).expect("JSON");
    let mut described = BTreeSet::new();
    let paths = openapi.get("paths").and_then(Value::as_object).expect("paths");
    let mut operation_ids = BTreeSet::new();
    for (path, methods) in paths.iter() {
        for (method, operation) in methods.as_object().expect("methods").iter() {
            let name = operation.get("x-natter-name").and_then(Value::as_str).expect("a name");
            described.insert((path.to_string(), method.to_uppercase(), name.to_owned()));
            let id = operation.get("operationId").and_then(Value::as_str).expect("an id");
            assert!(operation_ids.insert(id.to_owned()), "{id} twice");
        }
    }
    let there: BTreeSet<_> = ROUTES
        .iter()
        .filter(|route| !route.name.starts_with("conformance"))
        // The document describes the public listener. The control socket is between the commands and their server.
        .filter(|route| route.access != Access::Control)
        .map(|route| {
            let path = route.path.replace("...}", "}");
            (path, route.method.as_str().to_owned(), route.name.to_owned())
        })
        .collect();
    let undescribed: Vec<_> = there.difference(&described).collect();
    let not_there: Vec<_> = described.difference(&there).collect();
    assert!(
        undescribed.is_empty() && not_there.is_empty(),
        "undescribed {undescribed:?}, not there {not_there:?}"
    );
    assert!(ROUTES.iter().all(|route| route.method != Method::Unknown));
}

#[test]
fn the_described_ops_and_events_are_those_of_the_server() {
    let mut world = World::new();
    let bytes = document(&mut world, "/asyncapi.json");
    let asyncapi = json::parse(&bytes).expect("JSON");
    let messages = keys(asyncapi.get("components").and_then(|components| components.get("messages")));
    let ops: BTreeSet<String> =
        messages.iter().filter_map(|name| name.strip_prefix("op.")).map(str::to_owned).collect();
    let mut there: BTreeSet<String> =
        ROUTES.iter().filter(|route| route.op).map(|route| route.name.to_owned()).collect();
    there.extend(["typing".to_owned(), "auth".to_owned()]);
    assert_eq!(ops, there);

    let events: BTreeSet<String> =
        messages.iter().filter_map(|name| name.strip_prefix("event.")).map(str::to_owned).collect();
    let mut facts: BTreeSet<String> =
        natter::model::event::NAMES.iter().map(|name| (*name).to_owned()).collect();
    let words = ["hello", "caught_up", "reset", "heartbeat", "expiring", "typing", "presence"];
    facts.extend(words.map(str::to_owned));
    assert_eq!(events, facts);
    // Each reference has a target.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    for reference in text.split("\"$ref\": \"#/").skip(1) {
        let path = reference.split('"').next().expect("a path");
        assert!(find(&asyncapi, path).is_some(), "{path}");
    }
}

fn find<'a>(document: &'a Value<'a>, path: &str) -> Option<&'a Value<'a>> {
    path.split('/').try_fold(document, |value, part| value.get(part))
}

/// Whether a value matches a schema, in the part of JSON Schema that these documents use.
fn check(document: &Value<'_>, schema: &Value<'_>, value: &Value<'_>, at: &str) -> Result<(), String> {
    if let Some(path) = schema.get("$ref").and_then(Value::as_str) {
        let schema = find(document, &path[2..]).ok_or_else(|| format!("{path} leads nowhere"))?;
        return check(document, schema, value, at);
    }
    if let Some(choices) = schema.get("oneOf").and_then(Value::as_list) {
        let fits = choices.iter().any(|choice| check(document, choice, value, at).is_ok());
        return if fits { Ok(()) } else { Err(format!("{at}: none of the choices")) };
    }
    if let Some(choices) = schema.get("enum").and_then(Value::as_list) {
        return if choices.contains(value) { Ok(()) } else { Err(format!("{at}: none of the words")) };
    }
    if let Some(constant) = schema.get("const") {
        return if constant == value { Ok(()) } else { Err(format!("{at}: another word")) };
    }
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or("anything");
    match (kind, value) {
        ("object", Value::Object(object)) => {
            let properties = schema.get("properties");
            for required in schema.get("required").and_then(Value::as_list).unwrap_or_default() {
                let name = required.as_str().unwrap_or_default();
                object.get(name).ok_or_else(|| format!("{at}.{name} is missing"))?;
            }
            for (name, value) in object.iter() {
                // A field that a document does not name is not promised, so a test of it fails.
                let Some(schema) = properties.and_then(|properties| properties.get(name)) else {
                    if properties.is_some() {
                        return Err(format!("{at}.{name} is not described"));
                    }
                    continue;
                };
                check(document, schema, value, &format!("{at}.{name}"))?;
            }
            Ok(())
        }
        ("array", Value::List(list)) => {
            let items = schema.get("items").ok_or_else(|| format!("{at}: items of what?"))?;
            list.iter()
                .enumerate()
                .try_for_each(|(i, value)| check(document, items, value, &format!("{at}.{i}")))
        }
        ("string", Value::Str(_))
        | ("integer", Value::Int(_))
        | ("number", Value::Int(_) | Value::Number(_))
        | ("boolean", Value::Bool(_))
        | ("null", Value::Null)
        | ("anything", _) => Ok(()),
        _ => Err(format!("{at}: {} is no {kind}", json::to_string(value))),
    }
}

#[test]
fn responses_are_as_described() {
    let mut world = World::new();
    let bytes = document(&mut world, "/openapi.json");
    let openapi = json::parse(&bytes).expect("JSON");
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let to_bob =
        format!(r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","body":"hi"}}"#, bob.profile);
    let posted = world.ask_as(&ann, "POST", "/api/v1/messages", Some(&to_bob));
    let (message, conversation) = (posted.at("data.id"), posted.at("data.conversation"));
    let group = format!(r#"{{"title":"tea","members":["{}"]}}"#, bob.profile);
    let made = world.ask_as(&ann, "POST", "/api/v1/conversations", Some(&group)).at("data.id");
    let sign_in = r#"{"email":"ann@example.org","password":"correct horse ann's"}"#;
    let sign_up = r#"{"email":"eve@example.org","password":"correct horse eve's","display_name":"eve"}"#;
    let refresh = format!(r#"{{"refresh":"{}"}}"#, bob.refresh);
    // Method, path of the document, values of its parameters, body.
    type Row<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>, Option<&'a str>);
    let in_group = ("conversation", made.as_str());
    let in_direct = ("conversation", conversation.as_str());
    let rows: Vec<Row<'_>> = vec![
        ("post", "/api/v1/user/sign-up", vec![], Some(sign_up)),
        ("post", "/api/v1/user/sign-up", vec![], Some("{}")),
        ("post", "/api/v1/user/sign-in", vec![], Some(sign_in)),
        ("post", "/api/v1/user/sign-in", vec![], Some(r#"{"email":"a@b.c","password":"wrong wrong"}"#)),
        ("post", "/api/v1/user/refresh", vec![], Some(&refresh)),
        ("get", "/api/v1/user/me", vec![], None),
        ("get", "/api/v1/user/sessions", vec![], None),
        ("post", "/api/v1/user/ticket", vec![], None),
        ("post", "/api/v1/user/ticket", vec![], Some(r#"{"for":"tea"}"#)),
        ("get", "/api/v1/profile", vec![], None),
        ("put", "/api/v1/profile", vec![], Some(r#"{"display_name":"Ann"}"#)),
        ("get", "/api/v1/profile/{profile}", vec![("profile", &bob.profile)], None),
        ("get", "/api/v1/profiles", vec![], None),
        ("get", "/api/v1/blocks", vec![], None),
        ("post", "/api/v1/messages", vec![], Some(&to_bob)),
        ("post", "/api/v1/messages", vec![], Some("[]")),
        ("get", "/api/v1/messages/{message}", vec![("message", &message)], None),
        ("put", "/api/v1/messages/{message}", vec![("message", &message)], Some(r#"{"body":"ho"}"#)),
        (
            "put",
            "/api/v1/messages/{message}/reactions/{emoji}",
            vec![("message", &message), ("emoji", "%F0%9F%91%8D")],
            None,
        ),
        ("get", "/api/v1/conversations", vec![], None),
        ("get", "/api/v1/conversations/{conversation}", vec![in_group], None),
        ("put", "/api/v1/conversations/{conversation}", vec![in_group], Some(r#"{"muted":true}"#)),
        ("put", "/api/v1/conversations/{conversation}", vec![in_direct], Some(r#"{"title":"x"}"#)),
        ("get", "/api/v1/conversations/{conversation}/messages", vec![in_direct], None),
        ("get", "/api/v1/conversations/{conversation}/members", vec![in_group], None),
        ("post", "/api/v1/conversations/{conversation}/read", vec![in_direct], Some(r#"{"n":1}"#)),
        ("get", "/api/v1/events", vec![], None),
        ("get", "/healthz", vec![], None),
        ("get", "/readyz", vec![], None),
    ];
    for (method, path, params, body) in rows {
        let place = params
            .iter()
            .fold(path.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value));
        let response = world.ask_as(&ann, &method.to_uppercase(), &place, body);
        let operation =
            openapi.get("paths").and_then(|paths| paths.get(path)).and_then(|path| path.get(method));
        let responses = operation.and_then(|operation| operation.get("responses")).expect("responses");
        let mut described = responses.get(&response.status.to_string());
        if let Some(path) = described.and_then(|response| response.get("$ref")).and_then(Value::as_str) {
            described = find(&openapi, &path[2..]);
        }
        let described =
            described.unwrap_or_else(|| panic!("{method} {path}: {} is not described", response.status));
        let media = if response.status < 400 { "application/json" } else { "application/problem+json" };
        assert_eq!(response.field("content-type"), Some(media), "{method} {path}");
        let schema =
            described.get("content").and_then(|content| content.get(media)).and_then(|it| it.get("schema"));
        let schema = schema.unwrap_or_else(|| panic!("{method} {path}: no schema for {}", response.status));
        if let Err(problem) = check(&openapi, schema, &response.json(), "") {
            panic!("{method} {path} {}: {problem}\n{}", response.status, response.text());
        }
    }
}
