//! Writes the table as an OpenAPI 3.1 document.

use std::collections::BTreeMap;

use super::examples::Examples;
use super::operations::{self, ALWAYS, Answer, EVERY, Header, JSON, LINES, Operation, TAGS, headers_of};
use super::shape::*;
use super::types;
use crate::base::json::{Object, Value};
use crate::model::problem::Code;
use crate::proto::http::language::Language;
use crate::server::request::routes::Access;

const DESCRIPTION: &str = "Success is `{\"data\":…}`; lists add `next`. Errors are application/problem+json with a stable `code`. Every response has Date and X-Request-Id. Unknown members of a request are ignored. A request without a body is read as `{}`.";

pub fn document(examples: &Examples<'_>) -> Value<'static> {
    let mut paths: Vec<(String, Vec<(String, Value<'static>)>)> = Vec::new();
    for row in operations::all() {
        let path = row.path.replace("...}", "}");
        let method = row.method.as_str().to_lowercase();
        let operation = operation(&row, examples);
        match paths.iter_mut().find(|(known, _)| *known == path) {
            Some((_, methods)) => methods.push((method, operation)),
            None => paths.push((path, vec![(method, operation)])),
        }
    }
    record([
        ("openapi", string("3.1.0")),
        ("info", info()),
        (
            "servers",
            Value::List(vec![record([("url", string("/")), ("description", string("This server"))])]),
        ),
        (
            "tags",
            Value::List(
                TAGS.iter()
                    .map(|(name, says)| record([("name", string(name)), ("description", string(says))]))
                    .collect(),
            ),
        ),
        ("paths", record(paths.into_iter().map(|(path, methods)| (path, record(methods))))),
        (
            "components",
            record([
                ("schemas", record(types::all().into_iter().map(|(name, schema)| (name, schema.value())))),
                ("responses", responses()),
                ("securitySchemes", security_schemes()),
            ]),
        ),
    ])
}

fn info() -> Value<'static> {
    let always: Vec<_> = ALWAYS.iter().map(|code| format!("{} `{}`", code.status(), code.text())).collect();
    let description = format!("{DESCRIPTION} Any request may be answered with {}.", always.join(", "));
    record([
        ("title", string("natter")),
        ("version", string("1")),
        ("summary", string("A self-hosted real-time chat server")),
        ("description", string(&description)),
        ("license", record([("name", string("MIT")), ("identifier", string("MIT"))])),
    ])
}

fn operation(row: &Operation, examples: &Examples<'_>) -> Value<'static> {
    let id = row.operation_id();
    let mut members = vec![
        ("operationId", string(id)),
        ("x-natter-name", string(row.route().name)),
        ("tags", Value::List(vec![string(row.tag)])),
        ("summary", string(row.summary)),
    ];
    if !row.says.is_empty() {
        members.push(("description", string(row.says)));
    }
    if let Some((line, status)) = examples.line(id) {
        members.push(("x-natter-example", string(&format!("{line} → {status}"))));
    }
    let parameters = parameters(row, examples);
    if !parameters.is_empty() {
        members.push(("parameters", Value::List(parameters)));
    }
    if !row.body.is_empty() {
        let content = row.body.iter().map(|(media, schema)| {
            (*media, medium(schema, (*media == JSON).then(|| examples.request(id)).flatten()))
        });
        let body = [
            ("required", Value::Bool(row.needs_body() || row.body[0].0 != JSON)),
            ("content", record(content)),
        ];
        members.push(("requestBody", record(body)));
    }
    let mut responses: Vec<(String, Value<'static>)> = row
        .answers
        .iter()
        .map(|answer| (answer.status.to_string(), response(answer, examples.response(id))))
        .collect();
    let mut problems: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    let is_answer = |status| row.answers.iter().any(|answer| answer.status == status);
    for (status, code) in row.problems().into_iter().filter(|(status, _)| !is_answer(*status)) {
        problems.entry(status).or_default().push(format!("`{code}`"));
    }
    responses.extend(problems.into_iter().map(|(status, codes)| {
        (
            status.to_string(),
            record([
                ("$ref", string(&format!("#/components/responses/E{status}"))),
                ("description", string(&codes.join(", "))),
            ]),
        )
    }));
    members.push(("responses", record(responses)));
    members.push(("security", security(row)));
    record(members)
}

fn medium(schema: &Schema, example: Option<Value<'static>>) -> Value<'static> {
    let mut members = vec![("schema", schema.value())];
    members.extend(example.map(|example| ("example", example)));
    record(members)
}

fn response(answer: &Answer, example: Option<(u16, Value<'static>)>) -> Value<'static> {
    let mut members = vec![("description", string(answer.says)), ("headers", headers(answer.headers))];
    if !answer.content.is_empty() {
        let content = answer.content.iter().map(|(media, schema)| {
            if *media == LINES {
                return (*media, record([("schema", text().value()), ("x-natter-line", schema.value())]));
            }
            let example = example.clone().filter(|(status, _)| *status == answer.status && *media == JSON);
            (*media, medium(schema, example.map(|(_, value)| value)))
        });
        members.push(("content", record(content)));
    }
    record(members)
}

/// Fields that a response always has.
fn headers(all: &[Header]) -> Value<'static> {
    record(EVERY.iter().chain(all).map(|(name, says)| {
        let members = [
            ("description", string(says)),
            ("required", Value::Bool(true)),
            ("schema", text().length(1, HEADER_MAX).value()),
        ];
        (*name, record(members))
    }))
}

/// Bytes of a field's value: far more than any has.
const HEADER_MAX: usize = 1_024;

fn parameters(row: &Operation, examples: &Examples<'_>) -> Vec<Value<'static>> {
    let path_fields = row.path_fields();
    let parts = [("path", &path_fields), ("query", &row.query), ("header", &row.headers)];
    let mut all = Vec::new();
    for (location, fields) in parts {
        for field in fields {
            let mut members = vec![("name", string(field.name)), ("in", string(location))];
            if field.required {
                members.push(("required", Value::Bool(true)));
            }
            // The description goes to the parameter.
            let mut schema = Object::default();
            if let Value::Object(keywords) = field.schema.value() {
                for (keyword, value) in keywords.iter() {
                    match keyword.as_ref() {
                        "description" => members.push(("description", value.clone())),
                        _ => schema.push(keyword.clone(), value.clone()),
                    }
                }
            }
            members.push(("schema", Value::Object(schema)));
            let example = examples.parameter(row.operation_id(), field.name);
            members.extend(example.map(|example| ("example", example)));
            all.push(record(members));
        }
    }
    all
}

/// Nothing, or one of these.
fn security(row: &Operation) -> Value<'static> {
    let schemes: &[&str] = match row.route().access {
        Access::Public | Access::Control if row.path == "/metrics" => &["", "metrics"],
        Access::Public | Access::Control => &[],
        Access::Bearer | Access::Admin => &["bearer"],
        Access::Socket => &["bearer", "access", "ticket"],
        Access::Events => &["bearer", "ticket"],
        Access::Signed => &["bearer", "signature"],
        // The token in the path.
        Access::Hook => &[],
    };
    let one = |name: &&str| match *name {
        "" => record::<&str>([]),
        name => record([(name.to_owned(), Value::List(Vec::new()))]),
    };
    Value::List(schemes.iter().map(one).collect())
}

/// One response for each status of a problem.
fn responses() -> Value<'static> {
    let mut titles: BTreeMap<u16, &'static str> = BTreeMap::new();
    for code in Code::ALL {
        titles.entry(code.status()).or_insert(code.title(Language::En));
    }
    let used: std::collections::BTreeSet<u16> =
        operations::all().iter().flat_map(Operation::problems).map(|(status, _)| status).collect();
    titles.retain(|status, _| used.contains(status));
    record(titles.into_iter().map(|(status, title)| {
        let content = record([("application/problem+json", medium(&named("Problem"), None))]);
        let members =
            [("description", string(title)), ("headers", headers(headers_of(status))), ("content", content)];
        (format!("E{status}"), record(members))
    }))
}

fn security_schemes() -> Value<'static> {
    let key = |name, says| {
        record([
            ("type", string("apiKey")),
            ("in", string("query")),
            ("name", string(name)),
            ("description", string(says)),
        ])
    };
    record([
        (
            "bearer",
            record([
                ("type", string("http")),
                ("scheme", string("bearer")),
                ("bearerFormat", string("JWT")),
                (
                    "description",
                    string("A session opened with a unique_id also sends it in the header UniqueId."),
                ),
            ]),
        ),
        ("access", key("access", "An access token, for a client that can't set headers.")),
        ("ticket", key("ticket", "What `ticket.create` gave.")),
        ("signature", key("sig", "Of a file's `url`, with `expires`.")),
        (
            "metrics",
            record([
                ("type", string("http")),
                ("scheme", string("bearer")),
                ("description", string("METRICS_TOKEN, if the operator has set one.")),
            ]),
        ),
    ])
}
