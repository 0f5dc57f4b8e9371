//! The documents of the API: they match the schema table, with examples of recorded requests and answers. Every route, op and
//! event has an entry, and every property a description.
//!
//! `SCHEMA_UPDATE=1 cargo test documents` writes them. The `Observer` checks all other requests, responses and frames of the
//! tests against them.

use std::collections::BTreeSet;

use natter::base::json::{self, Value};
use natter::server::request::routes::{Access, BodyKind, ROUTES};
use natter::server::schema::examples::Examples;
use natter::server::schema::{asyncapi, openapi, operations, pretty, reference, typescript};

use super::tour::tour;
use crate::support::asked::Asked;
use crate::support::contract::{By, CHECKED, Contract, REMARKS, check, find};

#[test]
fn the_documents_are_written_from_the_table() {
    let recording = tour();
    let shown: BTreeSet<&str> =
        recording.exchanges.iter().map(|exchange| exchange.operation.as_str()).collect();
    let rows = operations::all();
    let missing: Vec<_> =
        rows.iter().map(|row| row.operation_id()).filter(|id| !shown.contains(id)).collect();
    assert!(missing.is_empty(), "without an example: {missing:?}");
    let examples = Examples::new(&recording);
    let files = [
        ("openapi.json", pretty::write(&openapi::document(&examples))),
        ("asyncapi.json", pretty::write(&asyncapi::document(&examples))),
        ("reference.md", reference::page(&examples)),
        (
            "types.d.ts",
            typescript::declarations(&openapi::document(&examples), &asyncapi::document(&examples)),
        ),
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
        // The documents describe the public API only; the control socket is between the commands and their server.
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
        let takes_files = matches!(route.body, BodyKind::Upload | BodyKind::Preview | BodyKind::Form(_));
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
    there.extend(["typing", "focus", "auth"].map(str::to_owned));
    assert_eq!(of("op."), there);
    let mut facts: BTreeSet<String> =
        natter::model::event::NAMES.iter().map(|name| (*name).to_owned()).collect();
    let words = ["hello", "caught_up", "reset", "heartbeat", "expiring", "typing", "presence"];
    facts.extend(words.map(str::to_owned));
    assert_eq!(of("event."), facts);
}

/// Calls `visit` with every value of a document and its JSON pointer.
fn walk(value: &Value<'_>, pointer: &str, visit: &mut impl FnMut(&str, &Value<'_>)) {
    visit(pointer, value);
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(name, value)| walk(value, &format!("{pointer}/{name}"), visit));
        }
        Value::List(list) => {
            list.iter().enumerate().for_each(|(i, value)| walk(value, &format!("{pointer}/{i}"), visit));
        }
        _ => {}
    }
}

#[test]
fn everything_is_described_and_every_reference_has_a_target() {
    let contract = Contract::of_this_build();
    for document in [&contract.openapi, &contract.asyncapi] {
        walk(document, "", &mut |pointer, value| {
            // An example is not a schema.
            if pointer.contains("/example") {
                return;
            }
            if let Some(path) = value.get("$ref").and_then(Value::as_str) {
                assert!(find(document, &path[2..]).is_some(), "{pointer}: {path}");
            }
            for (name, property) in
                value.get("properties").and_then(Value::as_object).into_iter().flat_map(|all| all.iter())
            {
                // A property that is called `properties` is not a list of properties: its members have no description.
                let text = property.get("description").and_then(Value::as_str);
                assert!(text.is_some_and(|text| text.len() > 3), "{pointer}/{name} has no description");
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
                let text = response.get("description").and_then(Value::as_str).unwrap_or_default();
                assert!(text.len() > 2 && text != "Done", "{method} {path} {status}");
            }
        }
    }
}

/// Calls `visit` with each schema of a document, also of nested ones, and its JSON pointer.
fn schemas(value: &Value<'_>, pointer: &str, visit: &mut impl FnMut(&str, &Value<'_>)) {
    let members = value.as_object().into_iter().flat_map(|object| object.iter());
    for (name, inside) in members {
        let pointer = format!("{pointer}/{name}");
        match name.as_ref() {
            "example" | "examples" | "x-natter-example" => {}
            "schema" | "payload" | "x-natter-line" => schema(inside, &pointer, visit),
            "schemas" => {
                let all = inside.as_object().expect("the named types");
                all.iter().for_each(|(name, named)| schema(named, &format!("{pointer}/{name}"), visit));
            }
            _ => schemas(inside, &pointer, visit),
        }
    }
    for (number, inside) in value.as_list().unwrap_or_default().iter().enumerate() {
        schemas(inside, &format!("{pointer}/{number}"), visit);
    }
}

fn schema(value: &Value<'_>, pointer: &str, visit: &mut impl FnMut(&str, &Value<'_>)) {
    visit(pointer, value);
    for (name, property) in
        value.get("properties").and_then(Value::as_object).into_iter().flat_map(|all| all.iter())
    {
        schema(property, &format!("{pointer}/{name}"), visit);
    }
    for keyword in ["items", "additionalProperties"] {
        value
            .get(keyword)
            .into_iter()
            .for_each(|inside| schema(inside, &format!("{pointer}/{keyword}"), visit));
    }
    for choice in value.get("oneOf").or(value.get("anyOf")).and_then(Value::as_list).unwrap_or_default() {
        schema(choice, pointer, visit);
    }
}

/// Schemas that cannot be more exact: the data of the op that is answered, the data of the named event, and ignored members.
const ANYTHING: &[&str] =
    &["answer/payload/ok", "Event/data", "pair.post/payload/sender", "pair.post/payload/receiver"];

/// The constraint that a schema lacks: the type, or a bound of the length, size or number.
fn missing_keyword(schema: &Value<'_>) -> Option<&'static str> {
    let has = |names: &[&str]| names.iter().any(|name| schema.get(name).is_some());
    if has(&["$ref", "oneOf", "anyOf", "enum", "const"]) {
        return None;
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("string") if !has(&["maxLength", "pattern", "format"]) => Some("a maximum length"),
        Some("integer") if !has(&["minimum", "maximum", "format"]) => Some("a range"),
        Some("array") if !has(&["maxItems"]) => Some("a maximum number of items"),
        Some("object") if !has(&["properties", "additionalProperties"]) => Some("its members"),
        Some("string" | "integer" | "array" | "object" | "number" | "boolean" | "null") => None,
        _ => Some("a type"),
    }
}

#[test]
fn every_schema_has_known_keywords_and_every_property_a_type_and_a_bound() {
    let contract = Contract::of_this_build();
    let mut faults = Vec::new();
    for document in [&contract.openapi, &contract.asyncapi] {
        schemas(document, "", &mut |pointer, schema| {
            let keywords = schema.as_object().expect("a schema is an object");
            let unknown = |name: &str| !CHECKED.contains(&name) && !REMARKS.contains(&name);
            let unknown = keywords.iter().filter(|(name, _)| unknown(name));
            faults.extend(unknown.map(|(name, _)| format!("{pointer}: {name} is not checked by the tests")));
            for (name, property) in
                schema.get("properties").and_then(Value::as_object).into_iter().flat_map(|all| all.iter())
            {
                let pointer = format!("{pointer}/{name}");
                let missing_keyword =
                    missing_keyword(property).filter(|_| !ANYTHING.iter().any(|end| pointer.ends_with(end)));
                faults.extend(missing_keyword.map(|what| format!("{pointer} does not say {what}")));
            }
            let items = schema.get("items").and_then(missing_keyword);
            faults.extend(items.map(|what| format!("{pointer}: an item does not say {what}")));
        });
        walk(document, "", &mut |pointer, value| {
            let (Some(_), Some(schema)) = (value.get("in"), value.get("schema")) else { return };
            faults.extend(missing_keyword(schema).map(|what| format!("{pointer} does not say {what}")));
        });
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_operation_and_every_message_has_an_example_that_is_as_described() {
    let contract = Contract::of_this_build();
    let mut faults = Vec::new();
    let mut hold = |document, schema: &Value<'_>, example: &Value<'_>, pointer: &str| {
        if let Err(fault) = check(document, schema, example, By::Client, "") {
            faults.push(format!("{pointer}: {fault}"));
        }
    };
    walk(&contract.openapi, "", &mut |pointer, value| {
        if let (Some(schema), Some(example)) = (value.get("schema"), value.get("example")) {
            hold(&contract.openapi, schema, example, pointer);
        }
    });
    let messages =
        find(&contract.asyncapi, "components/messages").and_then(Value::as_object).expect("messages");
    for (name, message) in messages.iter() {
        let payload = message.get("payload").expect("a payload");
        let examples = message.get("examples").and_then(Value::as_list).unwrap_or_default();
        let example = examples.first().and_then(|example| example.get("payload"));
        match example {
            Some(example) => hold(&contract.asyncapi, payload, example, name),
            None => panic!("{name} has no example: the tour has to provoke it"),
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    let paths = contract.openapi.get("paths").and_then(Value::as_object).expect("paths");
    for (path, methods) in paths.iter() {
        for (method, operation) in methods.as_object().expect("methods").iter() {
            let line = operation.get("x-natter-example").and_then(Value::as_str).unwrap_or_default();
            assert!(line.starts_with(&method.to_uppercase()), "{method} {path} has no example");
            for parameter in operation.get("parameters").and_then(Value::as_list).unwrap_or_default() {
                let is_required = parameter.get("required") == Some(&Value::Bool(true));
                assert!(!is_required || parameter.get("example").is_some(), "{method} {path} {parameter:?}");
            }
            if let Some(body) =
                operation.get("requestBody").and_then(|body| find(body, "content/application/json"))
            {
                assert!(body.get("example").is_some(), "{method} {path}: the body has no example");
            }
        }
    }
}

#[test]
fn the_contract_check_accepts_right_values_and_refuses_wrong_ones() {
    use crate::support::contract::matches;
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
    assert!(!refused(object, r#"{"a":1,"b":2}"#, By::Client), "a client may send unknown members");
}

/// Checks a request against the contract, as if the server had accepted it.
fn asked(head: &str, body: &str) -> Result<(), String> {
    let contract = Contract::of_this_build();
    let mut asked = Asked::read(&head.replace('\n', "\r\n")).expect("a head");
    asked.body = body.replace('\n', "\r\n").into_bytes();
    let (template, operation) = contract.operation(&asked.method, asked.path()).expect("an operation");
    asked.check(contract, template, operation)
}

#[test]
fn parameters_of_a_path_a_query_and_a_form_are_checked() {
    let id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let get = |target: String| asked(&format!("GET {target} HTTP/1.1\nHost: a"), "");
    let form = |fields: &str| {
        let head = "PUT /api/v1/profile HTTP/1.1\nHost: a\nContent-Type: multipart/form-data; boundary=b";
        asked(head, &format!("--b\nContent-Disposition: form-data; {fields}\n--b--\n"))
    };
    for right in [
        get(format!("/api/v1/messages/{}", id.to_lowercase())),
        get(format!("/api/v1/conversations/{id}/messages?before=7&limit=99999999999999999999")),
        get("/api/v1/events?cursor=now&wait=30".to_owned()),
        get("/api/v1/search?q=caf%C3%A9+au+lait&unknown=1".to_owned()),
        form("name=\"is_private\"\n\ntrue"),
        form("name=\"profile_image\"; filename=\"a.png\"\n\n\u{1}"),
    ] {
        assert_eq!(right, Ok(()));
    }
    for wrong in [
        get("/api/v1/messages/nobody".to_owned()),
        get(format!("/api/v1/conversations/{id}/messages?before=-7")),
        get(format!("/api/v1/conversations/{id}/messages?limit=0")),
        get("/api/v1/events?wait=31".to_owned()),
        get("/api/v1/search".to_owned()),
        get("/api/v1/ann.l?source=hearsay".to_owned()),
        form("name=\"is_private\"\n\nmaybe"),
        form("name=\"nick_name\"\n\nx"),
        asked(&format!("PUT /api/v1/messages/{id} HTTP/1.1\nHost: a\nContent-Type: application/json"), "{}"),
        asked("POST /api/v1/messages HTTP/1.1\nHost: a", ""),
    ] {
        assert!(wrong.is_err());
    }
}
