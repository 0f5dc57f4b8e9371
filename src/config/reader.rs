//! Reads variables, real ones before those of `.env`.
//!
//! Owns their faults and warnings, and what a secret must be. Leaves the table of variables to `fields`, the grammar of values to `values`.
//! Invariant: a fault never shows the value of a secret.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::Read;

use super::dotenv;
use super::fields::{range, variable, variables};
use super::values::{self, Problem};
use crate::base::secret::Secret;
use crate::limits::CONFIG_FILE_BYTES_MAX;

/// Characters of a wrong value that its fault repeats. A longer one is cut with `…`.
const CONFIG_SHOWN_CHARS_MAX: usize = 80;
/// Bytes a secret must have: the output of the SHA-256 it keys (RFC 7518 §3.2). Below: a fault.
const SECRET_BYTES_MIN: usize = 32;

/// A value that stops the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The variable, the line in `.env` or the file with the fault.
    pub source: String,
    pub problem: String,
    /// Empty if the problem needs no addition.
    pub accepts: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.problem)?;
        match self.accepts.is_empty() {
            true => Ok(()),
            false => write!(f, "; it accepts {}", self.accepts),
        }
    }
}

/// Something that the operator should know and that does not stop the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub source: String,
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.message)
    }
}

/// Reads variables, real ones before those of `.env`, and collects their faults.
pub(super) struct Reader<'a> {
    env: &'a dyn Fn(&str) -> Option<OsString>,
    dotenv: BTreeMap<String, String>,
    faults: Vec<Fault>,
    warnings: Vec<Warning>,
    /// How many of the warnings are about `.env` itself. They come first.
    of_dotenv: usize,
}

impl<'a> Reader<'a> {
    pub fn new(env: &'a dyn Fn(&str) -> Option<OsString>, dotenv_text: Option<&str>) -> Reader<'a> {
        let mut reader =
            Reader { env, dotenv: BTreeMap::new(), faults: Vec::new(), warnings: Vec::new(), of_dotenv: 0 };
        let (entries, bad) = dotenv::parse(dotenv_text.unwrap_or_default());
        for bad in bad {
            reader.faults.push(Fault {
                source: format!(".env line {}", bad.line),
                problem: format!("the line {}", bad.problem),
                accepts: "NAME=value, with quotes if the value begins or ends with a blank".into(),
            });
        }
        for entry in entries {
            if !is_known(&entry.name) {
                // Only for `.env`: the real environment has the variables of other programs.
                let line = entry.line;
                reader.warn(&entry.name, format!("is unknown to natter and ignored (.env line {line})"));
            } else if reader.dotenv.insert(entry.name.clone(), entry.value).is_some() {
                let line = entry.line;
                reader.warn(&entry.name, format!("is set twice in .env; line {line} counts"));
            }
        }
        reader.of_dotenv = reader.warnings.len();
        reader
    }

    pub fn fault(&mut self, name: &str, problem: impl Into<String>) {
        let accepts = variables().find(|v| v.name == name).map(|v| v.accepts.to_string()).unwrap_or_default();
        self.faults.push(Fault { source: name.to_owned(), problem: problem.into(), accepts });
    }

    pub fn warn(&mut self, name: &str, message: impl Into<String>) {
        self.warnings.push(Warning { source: name.to_owned(), message: message.into() });
    }

    /// The value as text. A blank value means unset. So `NAME=` in the real environment (what compose files make of a
    /// missing variable) overrides a value of `.env` with the default.
    fn raw(&mut self, name: &str) -> Option<String> {
        let value = match (self.env)(name) {
            Some(value) => match value.into_string() {
                Ok(value) => value,
                Err(_) => {
                    self.fault(name, "the value is not UTF-8");
                    return None;
                }
            },
            None => self.dotenv.get(name)?.clone(),
        };
        (!value.trim().is_empty()).then_some(value)
    }

    pub fn is_set(&self, name: &str) -> bool {
        match (self.env)(name) {
            Some(value) => value.to_str().is_none_or(|value| !value.trim().is_empty()),
            None => self.dotenv.get(name).is_some_and(|value| !value.trim().is_empty()),
        }
    }

    /// A variable without a default: `None` if it is unset or wrong.
    pub fn optional<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, Problem>) -> Option<T> {
        debug_assert!(!variable(name).is_secret());
        let value = self.raw(name)?;
        match parse(value.trim()) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.fault(name, format!("{} {problem}", shown(value.trim())));
                None
            }
        }
    }

    /// A variable with a default. The default also replaces a wrong value, so that every other variable is checked before
    /// the start fails.
    pub fn value<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, Problem>) -> T {
        self.optional(name, &parse).unwrap_or_else(|| {
            parse(variable(name).default).unwrap_or_else(|problem| panic!("default of {name} {problem}"))
        })
    }

    /// The text of a variable, or of its default.
    pub fn text(&mut self, name: &str) -> String {
        self.raw(name).map_or_else(|| variable(name).default.to_owned(), |text| text.trim().to_owned())
    }

    pub fn number(&mut self, name: &str) -> u64 {
        self.value(name, |text| values::number(text, range(name).0, range(name).1))
    }

    pub fn optional_number(&mut self, name: &str) -> Option<u64> {
        self.optional(name, |text| values::number(text, range(name).0, range(name).1))
    }

    pub fn size(&mut self, name: &str) -> usize {
        // A test checks that the range of every size fits 32 bits.
        self.number(name) as usize
    }

    /// A secret from `NAME` or from the file that `NAME_FILE` names.
    pub fn secret(&mut self, name: &str, rule: SecretRule) -> Option<Secret> {
        let file_name = format!("{name}_FILE");
        let (direct, path) = (self.raw(name), self.raw(&file_name));
        let value = match (direct, path) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                self.fault(name, format!("is set, and {file_name} too: unset one of them"));
                return None;
            }
            (Some(value), None) => value,
            (None, Some(path)) => match read_text(path.trim()) {
                Ok(text) => text,
                Err(problem) => {
                    // The path is not shown: it may be a secret that was pasted into the wrong variable.
                    self.fault(&file_name, format!("the file it names {problem}"));
                    return None;
                }
            },
        };
        match rule.problem(name, &value) {
            None => Some(Secret::new(value)),
            Some(problem) => {
                self.fault(name, problem);
                None
            }
        }
    }

    /// Returns `value`, unless there is a fault. Faults come in the order of the table, and after them the warnings about
    /// `.env`: an unknown name there may be a misspelled variable that is missing.
    pub fn finish<T>(self, value: T) -> Result<(T, Vec<Warning>), Vec<Fault>> {
        let Reader { mut faults, mut warnings, of_dotenv, .. } = self;
        if faults.is_empty() {
            return Ok((value, warnings));
        }
        faults.sort_by_key(|fault| {
            let name = fault.source.strip_suffix("_FILE").unwrap_or(&fault.source);
            variables().position(|variable| variable.name == name)
        });
        warnings.truncate(of_dotenv);
        let odd = |Warning { source, message }| Fault { source, problem: message, accepts: String::new() };
        faults.extend(warnings.into_iter().map(odd));
        Err(faults)
    }
}

/// What a secret must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecretRule {
    /// The operator of this server chooses it: at least 32 bytes.
    Key,
    /// Like `Key`, and sent in a header.
    HeaderKey,
    /// Another service chooses it, and it is sent in a header.
    HeaderText,
    /// Another service chooses it.
    Text,
}

impl SecretRule {
    pub fn problem(self, name: &str, value: &str) -> Option<&'static str> {
        let is_key = matches!(self, SecretRule::Key | SecretRule::HeaderKey);
        let is_header = matches!(self, SecretRule::HeaderKey | SecretRule::HeaderText);
        if value.trim().is_empty() {
            return Some("the secret is empty");
        }
        // Also for a secret of another service: this value was copied from an example.
        if value.eq_ignore_ascii_case(name) {
            return Some("the secret is its own name, which anyone can guess");
        }
        if is_key && value.len() < SECRET_BYTES_MIN {
            return Some("the secret is too short");
        }
        if value.contains(|c: char| c.is_control()) {
            return Some("the secret has a control character");
        }
        (is_header && !value.bytes().all(|b| b.is_ascii_graphic()))
            .then_some("the secret has a blank or a character outside ASCII")
    }
}

fn is_known(name: &str) -> bool {
    let secret = name.strip_suffix("_FILE").unwrap_or_default();
    variables().any(|v| v.name == name || (v.is_secret() && v.name == secret))
}

/// The value in quotes, escaped and cut. A value that may contain a password is not repeated.
fn shown(value: &str) -> String {
    if value.contains("://") && value.contains('@') {
        return "the value (not shown: it may hold a password)".to_owned();
    }
    let cut: String = value.chars().take(CONFIG_SHOWN_CHARS_MAX).collect();
    format!("{cut:?}{}", if cut.len() < value.len() { "…" } else { "" })
}

/// The text of a small file without the line break at its end, which editors and `echo` add.
pub(super) fn read_text(path: &str) -> Result<String, Problem> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(CONFIG_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > CONFIG_FILE_BYTES_MAX {
        return Err(format!("has more than {CONFIG_FILE_BYTES_MAX} bytes"));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
    let end = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text).len());
    text.truncate(end.unwrap_or(text.len()));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_by_rule() {
        use SecretRule::{HeaderKey, HeaderText, Key, Text};
        let problem = |rule: SecretRule, value: &str| rule.problem("ACCESS_SECRET", value).unwrap_or("none");
        let long = "a b c d e f g h i j k l m n o p.";
        assert_eq!(long.len(), SECRET_BYTES_MIN);
        for (rule, value, expect) in [
            (Key, long, "none"),
            (Key, &long[1..], "too short"),
            (Key, "ACCESS_SECRET", "own name"),
            (Key, "access_secret", "own name"),
            (Key, "0123456789012345678901234567890\n", "control"),
            (HeaderKey, long, "blank"),
            (HeaderKey, "01234567890123456789012345678901", "none"),
            (HeaderText, "x", "none"),
            (HeaderText, "ACCESS_SECRET", "own name"),
            (Text, "ACCESS_SECRET", "own name"),
            (HeaderText, "ü", "outside ASCII"),
            (Text, "ü x", "none"),
            (Text, " ", "empty"),
            (Text, "x\r\ny", "control"),
        ] {
            assert!(problem(rule, value).contains(expect), "{rule:?} {value:?}: {}", problem(rule, value));
        }
    }

    #[test]
    fn a_value_is_shown_cut_and_without_passwords() {
        assert_eq!(shown("a\"b\n"), r#""a\"b\n""#);
        assert!(!shown("https://me:hunter2@host").contains("hunter2"));
        let long = "ü".repeat(CONFIG_SHOWN_CHARS_MAX + 1);
        assert_eq!(shown(&long).chars().count(), CONFIG_SHOWN_CHARS_MAX + 3);
    }
}
