//! Writes the types of both documents for the web client's type check, as TypeScript declarations.
//!
//! Owns the translation of the schema words that the table uses; an unknown word is a panic of the test that writes the file.
//! Invariant: the client's types change only with the table, so that a field that the server does not send is a type error.

use crate::base::json::Value;

const HEAD: &str = "// The types of the API, written from the schema table by SCHEMA_UPDATE=1 cargo test documents. Do not edit.\n";

/// The named types of `openapi`, then the frames of `asyncapi`.
pub fn declarations(openapi: &Value<'_>, asyncapi: &Value<'_>) -> String {
    let mut out = HEAD.to_owned();
    for (name, schema) in members(openapi, &["components", "schemas"]) {
        out.push_str(&format!("\nexport type {name} = {};\n", type_of(schema, 0)));
    }
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
    if let Some(choices) = schema.get("oneOf").and_then(Value::as_list) {
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
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return "Record<string, unknown>".to_owned();
    };
    let required = schema.get("required").and_then(Value::as_list).unwrap_or_default();
    let (indent, end) = ("  ".repeat(depth + 1), "  ".repeat(depth));
    let mut out = "{\n".to_owned();
    for (name, property) in properties.iter() {
        let must = required.iter().any(|key| key.as_str() == Some(name));
        let mark = if must { "" } else { "?" };
        out.push_str(&format!("{indent}{name}{mark}: {};\n", type_of(property, depth + 1)));
    }
    out + &end + "}"
}

fn literal(value: &Value<'_>) -> String {
    match value {
        Value::Str(text) => format!("'{text}'"),
        Value::Bool(flag) => flag.to_string(),
        other => panic!("no literal type for {other:?}"),
    }
}
