//! Writes the table as the reference part of `/docs`, in Markdown.
//!
//! Each operation and each event has its parameters, answers, problems and an example.

use std::fmt::Write as _;

use super::events::{self, Message};
use super::examples::Examples;
use super::operations::{self, Operation, TAGS};
use super::shape::Field;
use super::types;
use crate::base::json::{self, Value};

pub fn page(examples: &Examples<'_>) -> String {
    let mut out = String::from(
        "## Reference\n\nEvery operation, type and event, written from the table that the server's documents for machines are \
         written from. An operation lists the problems of its own. Any request may be answered with 429 `rate_limited`, and with \
         503 `unavailable` and `busy`; one that needs a token with 401 `unauthorized_access`, and outside of `/user` with 403 \
         `not_verified`; one that is for people only with 403 `not_allowed` to a bot; a write with 507 `storage_full`; one with a body with 400 `error_parsing_data`, 413 `too_large` and 415 \
         `not_supported_type`; one that names something in its path with 404 `not_found`; a WebSocket with 403 \
         `origin_not_allowed` and 426 `upgrade_required`; a file with 413 `quota_exceeded`.\n",
    );
    let rows = operations::all();
    for (tag, says) in TAGS {
        write(&mut out, format_args!("\n### Reference: {tag}\n\n{says}\n"));
        rows.iter().filter(|row| row.tag == *tag).for_each(|row| operation(&mut out, row, examples));
    }
    out.push_str("\n### Reference: types\n");
    for (name, schema) in types::all() {
        write(&mut out, format_args!("\n#### {name}\n\n{}\n", said(&schema.value())));
        properties(&mut out, &schema.value());
    }
    out.push_str("\n### Reference: ops that HTTP does not have\n");
    let own = |message: &&Message| {
        message.name.strip_prefix("op.").is_some_and(|op| events::route_of(op).is_none())
    };
    events::ops().iter().filter(own).for_each(|row| message(&mut out, row, examples));
    out.push_str("\n### Reference: events\n");
    events::kept().iter().chain(&events::passing()).for_each(|row| message(&mut out, row, examples));
    out.push_str("\n### Reference: answers on a WebSocket, and legacy streams\n");
    events::answers()
        .iter()
        .chain(&events::lines())
        .chain(&events::values())
        .for_each(|row| message(&mut out, row, examples));
    out
}

fn write(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes text");
}

fn operation(out: &mut String, row: &Operation, examples: &Examples<'_>) {
    let (id, path) = (row.operation_id(), row.path.replace("...}", "}"));
    let op = if row.route().op { " (also an op)" } else { "" };
    write(out, format_args!("\n#### {id}\n\n`{} {path}`{op}: {}.", row.method.as_str(), row.summary));
    write(out, format_args!("{}{}\n", if row.says.is_empty() { "" } else { " " }, row.says));
    let path_fields = row.path_fields();
    let fields: Vec<&Field> = path_fields.iter().chain(&row.query).chain(&row.headers).collect();
    if !fields.is_empty() {
        out.push_str("\n| parameter | | |\n|---|---|---|\n");
        for field in fields {
            line(out, field.name, field.required, &field.schema.value());
        }
    }
    for (media, schema) in &row.body {
        write(out, format_args!("\nBody, `{media}`:\n"));
        properties(out, &schema.value());
    }
    out.push('\n');
    for answer in &row.answers {
        let shape = answer.content.first().map_or(String::new(), |(media, schema)| match *media {
            operations::JSON => format!(" `{}`", plain(&schema.value())),
            media => format!(" `{media}`"),
        });
        write(out, format_args!("- {}:{shape} {}\n", answer.status, answer.says));
    }
    let mut last = 0;
    for (status, code) in row.own_problems() {
        let head = if status == last {
            ", ".to_owned()
        } else if last == 0 {
            format!("- {status} ")
        } else {
            format!("; {status} ")
        };
        write(out, format_args!("{head}`{code}`"));
        last = status;
    }
    out.push('\n');
    let Some((line, status)) = examples.line(id) else { return };
    let shown = |value: Option<Value<'_>>| {
        value.map_or(String::new(), |value| format!("{}\n", json::to_string(&value)))
    };
    let request = shown(examples.request(id));
    let response = shown(examples.response(id).map(|(_, value)| value));
    write(out, format_args!("\n```text\n{line}\n{request}→ {status}\n{response}```\n"));
}

fn message(out: &mut String, row: &Message, examples: &Examples<'_>) {
    write(out, format_args!("\n#### {}\n\n{}.\n", row.title, row.summary));
    properties(out, &row.payload.value());
    if let Some(frame) = examples.frame(&row.name) {
        write(out, format_args!("\n```json\n{}\n```\n", json::to_string(&frame)));
    }
}

/// The properties of an object as a table, those of objects inside of it too.
fn properties(out: &mut String, schema: &Value<'_>) {
    let schema = schema.get("items").unwrap_or(schema);
    if schema.get("properties").is_some() {
        out.push_str("\n| member | | |\n|---|---|---|\n");
        nested(out, "", schema);
    }
}

fn nested(out: &mut String, prefix: &str, schema: &Value<'_>) {
    let required = schema.get("required").and_then(Value::as_list).unwrap_or_default();
    for (name, property) in
        schema.get("properties").and_then(Value::as_object).into_iter().flat_map(|object| object.iter())
    {
        let is_required = required.iter().any(|word| word.as_str() == Some(name));
        line(out, &format!("{prefix}{name}"), is_required, property);
        nested(out, &format!("{prefix}{name}."), property);
    }
}

fn line(out: &mut String, name: &str, required: bool, schema: &Value<'_>) {
    let mark = if required { "" } else { "?" };
    write(out, format_args!("| `{name}{mark}` | {} | {} |\n", short(schema), said(schema)));
}

fn said(schema: &Value<'_>) -> String {
    schema.get("description").and_then(Value::as_str).unwrap_or_default().replace('|', "\\|")
}

fn choices<'a, 'v>(schema: &'a Value<'v>) -> Option<&'a [Value<'v>]> {
    schema.get("oneOf").or(schema.get("anyOf")).and_then(Value::as_list)
}

/// What a value is, in a few words.
fn short(schema: &Value<'_>) -> String {
    if let Some(path) = schema.get("$ref").and_then(Value::as_str) {
        let name = path.trim_start_matches(super::shape::NAMED);
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(choices) = choices(schema) {
        return choices.iter().map(short).collect::<Vec<_>>().join(" or ");
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_list) {
        return words
            .iter()
            .map(|word| format!("`{}`", json::to_string(word)))
            .collect::<Vec<_>>()
            .join(", ");
    }
    if let Some(word) = schema.get("const") {
        return format!("`{}`", json::to_string(word));
    }
    let number = |keyword: &str| schema.get(keyword).and_then(Value::as_i64);
    let range = match (number("minLength").or(number("minimum")), number("maxLength").or(number("maximum"))) {
        (Some(min), Some(max)) if min == max => format!(" of {min}"),
        (Some(min), Some(max)) => format!(" of {min} to {max}"),
        (Some(min), None) if min > 0 => format!(" from {min}"),
        _ => String::new(),
    };
    let default = schema
        .get("default")
        .map_or(String::new(), |value| format!(", {} if absent", json::to_string(value)));
    match schema.get("type").and_then(Value::as_str) {
        Some("array") => {
            let most = number("maxItems").map_or(String::new(), |max| format!(", at most {max}"));
            format!("list of {}{most}", schema.get("items").map_or(String::new(), short))
        }
        Some(kind) => format!("{kind}{range}{default}"),
        None => "anything".to_owned(),
    }
}

/// The shape of an answer on one line: names only.
fn plain(schema: &Value<'_>) -> String {
    if let Some(path) = schema.get("$ref").and_then(Value::as_str) {
        return path.trim_start_matches(super::shape::NAMED).to_owned();
    }
    if let Some(items) = schema.get("items") {
        return format!("[{}]", plain(items));
    }
    if let Some(choices) = choices(schema) {
        return choices.iter().map(plain).collect::<Vec<_>>().join(" or ");
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let each: Vec<_> =
            properties.iter().map(|(name, value)| format!("{name}: {}", plain(value))).collect();
        return format!("{{{}}}", each.join(", "));
    }
    match schema.get("const") {
        Some(word) => json::to_string(word),
        None => schema.get("type").and_then(Value::as_str).unwrap_or("anything").to_owned(),
    }
}
