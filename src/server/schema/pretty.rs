//! Writes a document so that its changes are easy to read: an object that fits on one line is one line.

use crate::base::json::{self, Value};

const LINE_MAX: usize = 132;

pub fn write(value: &Value<'_>) -> String {
    let mut out = String::new();
    push(&mut out, value, 0, 0);
    out.push('\n');
    out
}

/// `taken` is how many characters are already on the line.
fn push(out: &mut String, value: &Value<'_>, depth: usize, taken: usize) {
    let line = json::to_string(value);
    let parts: Vec<(String, &Value<'_>)> = match value {
        Value::Object(object) => {
            object.iter().map(|(key, value)| (format!("{}: ", json::to_string(key)), value)).collect()
        }
        Value::List(list) => list.iter().map(|value| (String::new(), value)).collect(),
        _ => Vec::new(),
    };
    if taken + line.chars().count() < LINE_MAX || parts.is_empty() {
        return out.push_str(&line);
    }
    let (open, close) = if matches!(value, Value::List(_)) { ('[', ']') } else { ('{', '}') };
    out.push(open);
    for (index, (key, value)) in parts.iter().enumerate() {
        out.push_str(if index == 0 { "\n" } else { ",\n" });
        out.push_str(&" ".repeat(depth + 1));
        out.push_str(key);
        push(out, value, depth + 1, depth + 1 + key.chars().count());
    }
    out.push('\n');
    out.push_str(&" ".repeat(depth));
    out.push(close);
}
