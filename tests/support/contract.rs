//! The two documents as a judge of what a test sees: every request, response, event and frame is as they say, or the test fails.
//!
//! Owns the part of JSON Schema that the documents use. Invariant: a keyword, format or pattern that it does not know is an
//! error, so that a document cannot say what nobody checks.

use std::sync::OnceLock;

use natter::base::json::{self, Object, Value};

pub struct Contract {
    pub openapi: Value<'static>,
    pub asyncapi: Value<'static>,
    paths: Vec<Path>,
}

struct Path {
    segments: Vec<String>,
    text: String,
}

/// Who made a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Members that the document does not name are promised to be ignored.
    Client,
    /// Members that the document does not name are a mistake.
    Server,
}

impl Contract {
    /// The documents of this build, parsed once a process.
    pub fn of_this_build() -> &'static Contract {
        static CONTRACT: OnceLock<Contract> = OnceLock::new();
        CONTRACT.get_or_init(|| {
            let parse = |text| json::parse(text).expect("a document is JSON");
            Contract::new(
                parse(include_bytes!("../../src/site/openapi.json")),
                parse(include_bytes!("../../src/site/asyncapi.json")),
            )
        })
    }

    pub fn new(openapi: Value<'static>, asyncapi: Value<'static>) -> Contract {
        let paths = openapi.get("paths").and_then(Value::as_object).expect("paths");
        let mut paths: Vec<Path> = paths
            .iter()
            .map(|(path, _)| Path {
                segments: path.split('/').map(str::to_owned).collect(),
                text: path.to_string(),
            })
            .collect();
        // A fixed segment wins over a parameter.
        paths.sort_by_key(|path| path.text.matches('{').count());
        Contract { openapi, asyncapi, paths }
    }

    /// The operation of a request, by the path it was sent to, and that path as the document writes it.
    pub fn operation(&self, method: &str, path: &str) -> Option<(&str, &Value<'static>)> {
        let segments: Vec<&str> = path.split('/').collect();
        let method = if method == "HEAD" { "get".to_owned() } else { method.to_lowercase() };
        let paths = self.openapi.get("paths")?;
        let fits = |known: &&Path| match known.text.as_str() {
            "/client/{path}" => path.len() > "/client/".len() && path.starts_with("/client/"),
            _ => {
                known.segments.len() == segments.len()
                    && known.segments.iter().zip(&segments).all(|(known, segment)| {
                        known.starts_with('{') && !segment.is_empty() || known == segment
                    })
            }
        };
        let template = &self.paths.iter().find(fits)?.text;
        Some((template, paths.get(template)?.get(&method)?))
    }

    /// The operation with this name in the route table: an op of the WebSocket.
    pub fn named(&self, name: &str) -> Option<&Value<'static>> {
        let paths = self.openapi.get("paths")?.as_object()?;
        let all = paths.iter().flat_map(|(_, methods)| methods.as_object().expect("methods").iter());
        all.map(|(_, operation)| operation)
            .find(|it| it.get("x-natter-name").and_then(Value::as_str) == Some(name))
    }

    /// The payload of a message of the streams.
    pub fn payload(&self, message: &str) -> Option<&Value<'static>> {
        self.asyncapi.get("components")?.get("messages")?.get(message)?.get("payload")
    }

    /// What a description of an operation's response gives for a media type, with a reference followed.
    pub fn medium<'a>(&'a self, response: &'a Value<'static>, media: &str) -> Option<&'a Value<'static>> {
        let content = self.part(response, "content")?;
        content.get(media).or(content.get("*/*"))
    }

    /// A member of a response, with a reference followed.
    pub fn part<'a>(&'a self, response: &'a Value<'static>, name: &str) -> Option<&'a Value<'static>> {
        let response = match response.get("$ref").and_then(Value::as_str) {
            Some(path) => find(&self.openapi, &path[2..])?,
            None => response,
        };
        response.get(name)
    }
}

pub fn find<'a, 'v>(document: &'a Value<'v>, path: &str) -> Option<&'a Value<'v>> {
    path.split('/').try_fold(document, |value, part| value.get(part))
}

/// Keywords that say nothing of the value, or that are checked with its members.
pub const REMARKS: &[&str] =
    &["description", "default", "required", "properties", "additionalProperties", "items"];

/// Keywords that [`check`] holds a value against.
pub const CHECKED: &[&str] = &[
    "$ref",
    "oneOf",
    "anyOf",
    "enum",
    "const",
    "type",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "maxItems",
    "pattern",
    "format",
];

/// Whether a value is as a schema says.
pub fn check(
    document: &Value<'_>,
    schema: &Value<'_>,
    value: &Value<'_>,
    by: By,
    at: &str,
) -> Result<(), String> {
    let keywords = schema.as_object().ok_or_else(|| format!("{at}: the schema is no object"))?;
    for (keyword, operand) in keywords.iter() {
        match keyword.as_ref() {
            "$ref" => {
                let path = operand.as_str().unwrap_or_default();
                let named = find(document, &path[2..]).ok_or_else(|| format!("{path} leads nowhere"))?;
                check(document, named, value, by, at)?;
            }
            "oneOf" | "anyOf" => {
                let choices = operand.as_list().unwrap_or_default();
                let faults: Vec<String> = choices
                    .iter()
                    .filter_map(|choice| check(document, choice, value, by, at).err())
                    .collect();
                let fits = choices.len() - faults.len();
                if fits == 0 || fits > 1 && keyword == "oneOf" {
                    return Err(format!("{at}: not one of the choices: {faults:?}"));
                }
            }
            "enum" if !operand.as_list().unwrap_or_default().contains(value) => {
                return Err(format!("{at}: none of the words: {}", json::to_string(value)));
            }
            "const" if operand != value => return Err(format!("{at}: not {}", json::to_string(operand))),
            "enum" | "const" => {}
            "type" => check_type(operand.as_str().unwrap_or_default(), value, by, at)?,
            "minLength" | "maxLength" | "minimum" | "maximum" | "maxItems" => {
                check_bound(keyword, operand, value, at)?
            }
            "pattern" => {
                let pattern = operand.as_str().unwrap_or_default();
                let fits = |text: &str| matches(pattern, text);
                if let Some(text) = value.as_str() {
                    // Ids are taken in either case.
                    if !fits(text) && (by == By::Server || !fits(&text.to_uppercase())) {
                        return Err(format!("{at}: {text:?} does not match {pattern}"));
                    }
                }
            }
            "format" => check_format(operand.as_str().unwrap_or_default(), value, at)?,
            other if REMARKS.contains(&other) => {}
            other => return Err(format!("{at}: the keyword {other} is not known to this judge")),
        }
    }
    match value {
        Value::Object(object) => check_members(document, keywords, object, by, at),
        Value::List(list) => match keywords.get("items") {
            Some(items) => (list.iter().enumerate())
                .try_for_each(|(place, item)| check(document, items, item, by, &format!("{at}.{place}"))),
            None if keywords.get("type").and_then(Value::as_str) == Some("array") => {
                Err(format!("{at}: items of what?"))
            }
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

fn check_type(kind: &str, value: &Value<'_>, by: By, at: &str) -> Result<(), String> {
    match (kind, value) {
        ("object", Value::Object(_))
        | ("array", Value::List(_))
        | ("string", Value::Str(_))
        | ("integer", Value::Int(_))
        | ("number", Value::Int(_) | Value::Number(_))
        | ("boolean", Value::Bool(_))
        | ("null", Value::Null) => Ok(()),
        // Beyond 63 bits a number of a request is clamped.
        ("integer", Value::Number(text))
            if by == By::Client && text.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            Ok(())
        }
        _ => Err(format!("{at}: {} is no {kind}", json::to_string(value))),
    }
}

fn check_bound(keyword: &str, operand: &Value<'_>, value: &Value<'_>, at: &str) -> Result<(), String> {
    let bound = operand.as_i64().ok_or_else(|| format!("{at}: {keyword} is no number"))?;
    let measured = match (keyword, value) {
        ("minLength" | "maxLength", Value::Str(text)) => text.chars().count() as i64,
        ("minimum" | "maximum", Value::Int(number)) => *number,
        ("maxItems", Value::List(list)) => list.len() as i64,
        _ => return Ok(()),
    };
    let fits = if keyword.starts_with("min") { measured >= bound } else { measured <= bound };
    if fits { Ok(()) } else { Err(format!("{at}: {measured} is beyond {keyword} {bound}")) }
}

fn check_format(format: &str, value: &Value<'_>, at: &str) -> Result<(), String> {
    let Some(text) = value.as_str() else { return Ok(()) };
    let fits = match format {
        // A pattern says the rest.
        "date-time" => text.ends_with('Z'),
        "email" => text.contains('@'),
        "uri-reference" => text.bytes().all(|byte| byte.is_ascii_graphic()),
        "binary" | "password" | "int64" => true,
        other => return Err(format!("{at}: the format {other} is not known to this judge")),
    };
    if fits { Ok(()) } else { Err(format!("{at}: {text:?} is no {format}")) }
}

fn check_members(
    document: &Value<'_>,
    keywords: &Object<'_>,
    object: &Object<'_>,
    by: By,
    at: &str,
) -> Result<(), String> {
    let properties = keywords.get("properties");
    for required in keywords.get("required").and_then(Value::as_list).unwrap_or_default() {
        let name = required.as_str().unwrap_or_default();
        object.get(name).ok_or_else(|| format!("{at}.{name} is missing"))?;
    }
    for (name, value) in object.iter() {
        let place = format!("{at}.{name}");
        match (properties.and_then(|all| all.get(name)), keywords.get("additionalProperties")) {
            // In a request null is as good as nothing.
            (Some(_), _) if by == By::Client && *value == Value::Null => {}
            (Some(schema), _) | (None, Some(schema)) => check(document, schema, value, by, &place)?,
            (None, None) if properties.is_some() && by == By::Server => {
                return Err(format!("{place} is not described"));
            }
            (None, None) => {}
        }
    }
    Ok(())
}

/// A regular expression as the documents use it: between `^` and `$` a row of characters, escapes and classes, each with `+`,
/// `{n}` or `{m,n}` behind it. Greedy without a way back, which none of them needs.
pub fn matches(pattern: &str, text: &str) -> bool {
    let inner = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$'));
    let mut rest = inner.unwrap_or_else(|| panic!("{pattern}: not anchored")).chars().peekable();
    let mut text = text.chars().peekable();
    while let Some(first) = rest.next() {
        let class: Vec<(char, char)> = match first {
            '\\' => match rest.next() {
                Some('d') => vec![('0', '9')],
                Some(other) => vec![(other, other)],
                None => panic!("{pattern}: an escape of nothing"),
            },
            '[' => {
                let inside: Vec<char> = rest.by_ref().take_while(|&c| c != ']').collect();
                let mut class = Vec::new();
                let mut at = 0;
                while at < inside.len() {
                    let is_range = inside.get(at + 1) == Some(&'-') && at + 2 < inside.len();
                    class.push((inside[at], inside[if is_range { at + 2 } else { at }]));
                    at += if is_range { 3 } else { 1 };
                }
                class
            }
            '(' | ')' | '|' | '*' | '?' | '.' => panic!("{pattern}: {first} is not known to this judge"),
            plain => vec![(plain, plain)],
        };
        let (min, max) = match rest.peek() {
            Some('+') => (1, usize::MAX),
            Some('{') => {
                let digits: String = rest.by_ref().skip(1).take_while(|&c| c != '}').collect();
                let (min, max) = digits.split_once(',').unwrap_or((&digits, &digits));
                (min.parse().expect("a number"), max.parse().expect("a number"))
            }
            _ => (1, 1),
        };
        if rest.peek() == Some(&'+') {
            rest.next();
        }
        let mut count = 0;
        while count < max
            && text.next_if(|c| class.iter().any(|(from, to)| (from..=to).contains(&c))).is_some()
        {
            count += 1;
        }
        if count < min {
            return false;
        }
    }
    text.next().is_none()
}
