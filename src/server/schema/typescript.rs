//! Writes the types of both documents for the web client's type check, as TypeScript declarations.
//!
//! Owns the translation of the schema words that the table uses; an unknown word is a panic of the test that writes the file.
//! Invariant: the client's types change only with the table, so that a field that the server does not send is a type error.

use crate::base::json::Value;

const HEAD: &str = "// The types of the API, written from the schema table by SCHEMA_UPDATE=1 cargo test documents. Do not edit.\n";

/// The named types of `openapi`, then its requests, then the frames of `asyncapi`.
pub fn declarations(openapi: &Value<'_>, asyncapi: &Value<'_>) -> String {
    let mut out = HEAD.to_owned();
    for (name, schema) in members(openapi, &["components", "schemas"]) {
        out.push_str(&format!("\nexport type {name} = {};\n", type_of(schema, 0)));
    }
    out.push_str(&routes(openapi));
    let messages: Vec<_> = members(asyncapi, &["components", "messages"])
        .map(|(name, message)| (name, message.get("payload").expect("a payload")))
        .collect();
    for (title, prefix) in [("Ops", "op."), ("Events", "event.")] {
        out.push_str(&format!("\nexport interface {title} {{\n"));
        for (name, payload) in &messages {
            if let Some(name) = name.strip_prefix(prefix) {
                out.push_str(&format!("  '{name}': {};\n", type_of(payload, 1)));
            }
        }
        out.push_str("}\n");
    }
    for (title, name) in [("AnswerFrame", "answer"), ("ErrorFrame", "error")] {
        let (_, payload) = messages.iter().find(|(is, _)| is == name).expect("a frame");
        out.push_str(&format!("\nexport type {title} = {};\n", type_of(payload, 0)));
    }
    out.push_str("\nexport type EventFrame = Events[keyof Events];\n");
    out
}

/// The paths that a client calls begin with this, and the types leave it out.
const BASE: &str = "/api/v1";

/// `Routes`: what each request takes (in its path, query or JSON body) and what it is answered with. `RouteOf`: the request of
/// each op of the WebSocket, which has the same parameters and the same data.
fn routes(openapi: &Value<'_>) -> String {
    let (mut routes, mut names) = (String::new(), String::new());
    for (path, methods) in members(openapi, &["paths"]) {
        let Some(path) = path.strip_prefix(BASE) else { continue };
        for (method, operation) in methods.as_object().expect("methods").iter() {
            let route = format!("{} {path}", method.to_uppercase());
            let params = params_of(operation);
            let answer = answer_of(operation);
            routes
                .push_str(&format!("  '{route}': {{\n    params: {params};\n    answer: {answer};\n  }};\n"));
            let text = |key: &str| operation.get(key).and_then(Value::as_str).expect("a name");
            if text("operationId") == text("x-natter-name") {
                names.push_str(&format!("  '{}': '{route}';\n", text("x-natter-name")));
            }
        }
    }
    format!("\nexport interface Routes {{\n{routes}}}\n\nexport interface RouteOf {{\n{names}}}\n")
}

fn params_of(operation: &Value<'_>) -> String {
    let mut lines = String::new();
    let parameters = operation.get("parameters").and_then(Value::as_list).unwrap_or_default();
    for parameter in parameters.iter().filter(|it| it.get("in").and_then(Value::as_str) != Some("header")) {
        let name = parameter.get("name").and_then(Value::as_str).expect("a name");
        let is_required = parameter.get("required") == Some(&Value::Bool(true));
        let schema = parameter.get("schema").expect("a schema");
        lines.push_str(&property(name, is_required, schema, 2));
    }
    let body = operation.get("requestBody").and_then(|body| body.get("content"));
    if let Some(body) = body.and_then(|content| content.get("application/json")) {
        lines.push_str(&properties(body.get("schema").expect("a schema"), 2));
    }
    if lines.is_empty() { "{}".to_owned() } else { format!("{{\n{lines}    }}") }
}

/// The JSON of its successes; null without a body.
fn answer_of(operation: &Value<'_>) -> String {
    let responses = operation.get("responses").and_then(Value::as_object).expect("responses");
    let successes = responses.iter().filter(|(status, _)| status.starts_with(['1', '2']));
    let mut answers: Vec<String> = Vec::new();
    for (_, success) in successes {
        let answer = match success.get("content").map(|content| content.get("application/json")) {
            None => "{ data: null }".to_owned(),
            Some(Some(medium)) => type_of(medium.get("schema").expect("a schema"), 2),
            Some(None) => "unknown".to_owned(),
        };
        if !answers.contains(&answer) {
            answers.push(answer);
        }
    }
    answers.join(" | ")
}

fn members<'a, 'b>(
    document: &'a Value<'b>,
    path: &[&str],
) -> impl Iterator<Item = (String, &'a Value<'b>)> + use<'a, 'b> {
    let found = path.iter().fold(document, |at, key| at.get(key).expect("a member"));
    found.as_object().expect("an object").iter().map(|(key, value)| (key.to_string(), value))
}

fn type_of(schema: &Value<'_>, depth: usize) -> String {
    let text = |key: &str| schema.get(key).and_then(Value::as_str);
    if let Some(name) = text("$ref") {
        return name.rsplit('/').next().expect("a name").to_owned();
    }
    if let Some(value) = schema.get("const") {
        return literal(value);
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_list) {
        return words.iter().map(literal).collect::<Vec<_>>().join(" | ");
    }
    if let Some(choices) = schema.get("oneOf").or(schema.get("anyOf")).and_then(Value::as_list) {
        return choices.iter().map(|choice| type_of(choice, depth)).collect::<Vec<_>>().join(" | ");
    }
    match text("type") {
        None => "unknown".to_owned(),
        Some("array") => format!("Array<{}>", type_of(schema.get("items").expect("items"), depth)),
        Some("object") => object(schema, depth),
        Some("integer" | "number") => "number".to_owned(),
        Some(name @ ("string" | "boolean" | "null")) => name.to_owned(),
        Some(name) => panic!("no type of TypeScript for {name}"),
    }
}

fn object(schema: &Value<'_>, depth: usize) -> String {
    if schema.get("properties").is_none() {
        return "Record<string, unknown>".to_owned();
    }
    format!("{{\n{}{}}}", properties(schema, depth), "  ".repeat(depth))
}

/// One line for each property of an object at this depth.
fn properties(schema: &Value<'_>, depth: usize) -> String {
    let required = schema.get("required").and_then(Value::as_list).unwrap_or_default();
    let all = schema.get("properties").and_then(Value::as_object);
    let all = all.into_iter().flat_map(|all| all.iter());
    all.map(|(name, schema)| {
        let is_required = required.iter().any(|key| key.as_str() == Some(name));
        property(name, is_required, schema, depth)
    })
    .collect()
}

fn property(name: &str, is_required: bool, schema: &Value<'_>, depth: usize) -> String {
    let (indent, mark) = ("  ".repeat(depth + 1), if is_required { "" } else { "?" });
    format!("{indent}{name}{mark}: {};\n", type_of(schema, depth + 1))
}

fn literal(value: &Value<'_>) -> String {
    match value {
        Value::Str(text) => format!("'{text}'"),
        Value::Bool(flag) => flag.to_string(),
        other => panic!("no literal type for {other:?}"),
    }
}
