//! One request as the observer read it, and whether it is as the document says: its path, query, headers, JSON or form.
//!
//! Only requests that were taken are held against the document: a test may send any other on purpose.

use natter::base::json::{self, Object, Value};
use natter::base::percent;

use super::contract::{By, Contract, check};

#[derive(Debug)]
pub struct Asked {
    pub method: String,
    pub target: String,
    fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// All of its body was sent.
    pub is_whole: bool,
}

impl Asked {
    /// From its head without the empty line; `None` for what no well-behaved client sends.
    pub fn read(head: &str) -> Option<Asked> {
        let mut lines = head.split("\r\n");
        let mut parts = lines.next()?.split(' ');
        let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
        let fields = lines
            .map(|line| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
            .collect::<Option<Vec<_>>>()?;
        (version.starts_with("HTTP/1.") && parts.next().is_none()).then(|| Asked {
            method: method.to_owned(),
            target: target.to_owned(),
            fields,
            body: Vec::new(),
            is_whole: true,
        })
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let is_it = move |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.fields.iter().filter(is_it).map(|(_, value)| value.as_str())
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    fn query(&self) -> Vec<(String, String)> {
        let pairs = self.target.split_once('?').map_or("", |(_, query)| query).split('&');
        let text = |part: &str| percent::decode(&part.replace('+', " "));
        let pairs =
            pairs.filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
    }

    /// The parameters that it was sent with, in the order of the document.
    pub fn parameters(&self, template: &str, operation: &Value<'_>) -> Vec<(String, Value<'static>)> {
        let query = self.query();
        let all = operation.get("parameters").and_then(Value::as_list).unwrap_or_default();
        let sent = all.iter().filter_map(|parameter| {
            let schema = parameter.get("schema")?;
            let value = typed(schema, &self.parameter(template, parameter, &query)?);
            Some((parameter.get("name")?.as_str()?.to_owned(), value))
        });
        sent.collect()
    }

    fn parameter(&self, template: &str, parameter: &Value<'_>, query: &[(String, String)]) -> Option<String> {
        let text = |name| parameter.get(name).and_then(Value::as_str).unwrap_or_default();
        let name = text("name");
        match text("in") {
            "path" => in_path(template, self.path(), name),
            "query" => query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()),
            "header" => self.all(name).next().map(str::to_owned),
            place => panic!("a parameter in {place}"),
        }
    }

    /// Whether a request that was taken is as described. `template` is its path in the document.
    pub fn check(&self, contract: &Contract, template: &str, operation: &Value<'_>) -> Result<(), String> {
        let query = self.query();
        for parameter in operation.get("parameters").and_then(Value::as_list).unwrap_or_default() {
            let text = |name| parameter.get(name).and_then(Value::as_str).unwrap_or_default();
            let at = format!("{} {}", text("in"), text("name"));
            let sent = self.parameter(template, parameter, &query);
            let schema = parameter.get("schema").ok_or_else(|| format!("{at} has no schema"))?;
            match (sent, parameter.get("required")) {
                (Some(sent), _) => check(&contract.openapi, schema, &typed(schema, &sent), By::Client, &at)?,
                (None, Some(Value::Bool(true))) => return Err(format!("{at} is missing")),
                (None, _) => {}
            }
        }
        self.check_body(contract, operation, &query)
    }

    fn check_body(
        &self,
        contract: &Contract,
        operation: &Value<'_>,
        query: &[(String, String)],
    ) -> Result<(), String> {
        let Some(described) = operation.get("requestBody") else { return Ok(()) };
        let content = described.get("content").ok_or("a body without content")?;
        let schema = |media: &str| content.get(media).and_then(|medium| medium.get("schema"));
        let media = self.all("content-type").next().unwrap_or_default();
        let bare = media.split(';').next().unwrap_or_default().trim().to_lowercase();
        if self.body.is_empty() || bare.ends_with("json") && schema("application/json").is_some() {
            let Some(schema) = schema("application/json") else {
                return if self.body.is_empty() { Err("a body is required".to_owned()) } else { Ok(()) };
            };
            let empty: &[u8] = b"{}";
            let body = if self.body.is_empty() { empty } else { &self.body };
            let value = json::parse(body).map_err(|_| "not JSON".to_owned())?;
            let Value::Object(mut members) = value else { return Err("no object".to_owned()) };
            // A member that the body leaves out may be in the query.
            for (name, value) in query
                .iter()
                .filter(|(name, _)| schema.get("properties").is_some_and(|all| all.get(name).is_some()))
            {
                let property = schema.get("properties").and_then(|all| all.get(name)).expect("filtered");
                if members.get(name).is_none() {
                    members.push(name.clone(), typed(property, value));
                }
            }
            return check(&contract.openapi, schema, &Value::Object(members), By::Client, "");
        }
        if let Some(schema) = schema("multipart/form-data").filter(|_| bare == "multipart/form-data") {
            let form = self.form(media, schema).ok_or("no form")?;
            return check(&contract.openapi, schema, &Value::Object(form), By::Client, "");
        }
        // A raw body has any type.
        match content.get("application/octet-stream") {
            Some(_) => Ok(()),
            None => Err(format!("no schema for {media:?}")),
        }
    }

    /// The fields of a form; the content of a file is as good as none.
    fn form(&self, media: &str, schema: &Value<'_>) -> Option<Object<'static>> {
        let boundary = media.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?;
        let delimiter = format!("\r\n--{}", boundary.trim_matches('"'));
        let body = [b"\r\n", self.body.as_slice()].concat();
        let mut form = Object::default();
        let mut rest = body.as_slice();
        loop {
            rest = &rest[find(rest, delimiter.as_bytes())? + delimiter.len()..];
            if rest.starts_with(b"--") {
                return Some(form);
            }
            let end = find(rest, delimiter.as_bytes())?;
            let part = &rest[..end];
            let head = find(part, b"\r\n\r\n")?;
            let text = std::str::from_utf8(&part[..head]).ok()?;
            let (_, name) = text.split_once("; name=").or(text.split_once(";name="))?;
            let name = match name.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next()?,
                None => name.split([';', '\r']).next()?,
            };
            let is_file = text.contains("filename");
            let property = schema.get("properties").and_then(|all| all.get(name));
            let content = if is_file { "" } else { std::str::from_utf8(&part[head + 4..]).ok()? };
            let is_binary =
                property.and_then(|it| it.get("format")).and_then(Value::as_str) == Some("binary");
            let value = match property {
                Some(property) if !is_file && !is_binary => typed(property, content),
                _ => Value::Str(content.to_owned().into()),
            };
            form.push(name.to_owned(), value);
        }
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// What stands in a path where its template has a parameter; one that is the last may have more than one segment.
fn in_path(template: &str, path: &str, name: &str) -> Option<String> {
    let (before, after) = template.split_once(&format!("{{{name}}}"))?;
    let segments = before.matches('/').count();
    let rest = path.splitn(segments + 1, '/').last()?;
    let text = match after {
        "" => rest,
        _ => rest.split('/').next()?,
    };
    percent::decode(text)
}

/// The value that a text of a path, a query or a form is, by the type it should have.
fn typed(schema: &Value<'_>, text: &str) -> Value<'static> {
    match schema.get("type").and_then(Value::as_str) {
        Some("integer") => match text.parse() {
            Ok(number) => Value::Int(number),
            // Any number beyond 63 bits is as good as the greatest.
            Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Value::Int(i64::MAX)
            }
            Err(_) => Value::Str(text.to_owned().into()),
        },
        Some("boolean") if matches!(text, "true" | "false") => Value::Bool(text == "true"),
        Some("array") => {
            let items = text.split(',').map(|item| Value::Str(item.to_owned().into()));
            Value::List(items.collect())
        }
        _ => Value::Str(text.to_owned().into()),
    }
}
