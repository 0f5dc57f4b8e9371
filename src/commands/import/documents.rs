//! The documents of the predecessor, as `mongoexport` writes them: one JSON object a line.
//!
//! Owns their fields, and the forms that a value has in MongoDB's Extended JSON. Does not know which documents belong together.
//! Invariant: what is read here is well-formed as a sign-up or a post would be; what is not is a problem with its reason.

use crate::auth::rules;
use crate::base::id::Id;
use crate::base::json::{self, Object, Value};
use crate::base::time::{UnixMs, parse_rfc3339_ms, rfc3339};
use crate::limits::DISPLAY_NAME_MAX;
use crate::model::params::{Params, written_name, written_text};

/// An integer time above this is in milliseconds, below it in seconds: 3 March 1973, and the year 5138.
const SECONDS_MAX: i64 = 100_000_000_000;

/// What every line must keep to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Characters of a message.
    pub message_max: usize,
    /// No document is from a later time.
    pub made_by: UnixMs,
}

/// What a line holds.
pub enum Document {
    Member(Member),
    Profile(Profile),
    Message(Message),
    /// A message without text.
    Blank,
    /// Of another collection, such as sessions and codes.
    Other,
}

pub struct Member {
    pub names: Names,
    pub email: String,
    pub verified: bool,
    pub active: bool,
    pub created_at: UnixMs,
}

pub struct Profile {
    pub names: Names,
    /// As another document names it.
    pub member: Option<String>,
    pub display_name: Option<String>,
    pub nick_name: Option<String>,
    pub is_private: bool,
}

pub struct Message {
    pub id: u128,
    /// As other documents name them: profiles, or their members.
    pub sender: String,
    pub receiver: String,
    pub text: String,
    pub is_read: bool,
    pub created_at: UnixMs,
}

/// By what a document is named: its `id`, and its `_id`.
pub struct Names {
    pub id: u128,
    pub texts: Vec<String>,
}

/// What editors and PowerShell put before the first line of a file in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a line is no JSON.
fn not_json(line: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(line) else {
        return "is not UTF-8: export it, or save the file, in UTF-8".to_owned();
    };
    match json::repeated_member(text) {
        _ if text.starts_with('[') => "is a JSON array: export without --jsonArray".to_owned(),
        Some(name) => format!("has the member {name:?} twice"),
        None => "is no JSON object".to_owned(),
    }
}

/// Reads a line.
pub fn read(line: &[u8], rules: Rules) -> Result<Document, String> {
    let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii();
    let value = json::parse(line).map_err(|_| not_json(line))?;
    let object = value.as_object().ok_or("is no JSON object: export without --jsonArray")?;
    let has = |name| object.get(name).is_some();
    if has("message") && has("sender") && has("receiver") {
        message(object, rules)
    } else if has("email") && (has("password") || has("verified") || has("active")) {
        member(object, rules).map(Document::Member)
    } else if has("nick_name") || has("display_name") {
        profile(object).map(Document::Profile)
    } else {
        Ok(Document::Other)
    }
}

fn member(object: &Object<'_>, rules: Rules) -> Result<Member, String> {
    let names = names(object)?;
    let params = Params::new(&[], &[], Some(object));
    let email = rules::email(&params).map_err(|_| "its email is no e-mail address in ASCII")?;
    let created_at = created_at(object, names.id, rules)?;
    // Neither field was enforced: one that is missing says nothing.
    let (verified, active) = (flag(object, "verified", false)?, flag(object, "active", true)?);
    Ok(Member { names, email, verified, active, created_at })
}

fn profile(object: &Object<'_>) -> Result<Profile, String> {
    let text = |name| object.get(name).and_then(Value::as_str);
    let nick_name = text("nick_name").map(str::to_ascii_lowercase).filter(|nick| rules::good_nick_name(nick));
    let display_name = text("display_name").filter(|name| written_name(name, DISPLAY_NAME_MAX));
    Ok(Profile {
        names: names(object)?,
        member: reference(object, &["member", "member_id"]),
        display_name: display_name.map(str::to_owned),
        nick_name,
        is_private: flag(object, "is_private", false)?,
    })
}

fn message(object: &Object<'_>, rules: Rules) -> Result<Document, String> {
    let id = names(object)?.id;
    let text = object.get("message").and_then(Value::as_str).ok_or("its message is no text")?;
    if text.trim().is_empty() {
        return Ok(Document::Blank);
    }
    let message_max = rules.message_max;
    if !written_text(text, message_max) {
        return Err(format!("its message has more than MESSAGE_MAX={message_max} characters, or a NUL"));
    }
    Ok(Document::Message(Message {
        id,
        sender: reference(object, &["sender"]).ok_or("its sender is no id")?,
        receiver: reference(object, &["receiver"]).ok_or("its receiver is no id")?,
        text: text.to_owned(),
        is_read: flag(object, "is_read", false)?,
        created_at: created_at(object, id, rules)?,
    }))
}

/// The id stays what it was, since clients of the predecessor have it: a ULID, or else the 96 bits of an ObjectId.
fn names(object: &Object<'_>) -> Result<Names, String> {
    let texts: Vec<String> = ["id", "_id"].iter().filter_map(|name| reference(object, &[name])).collect();
    let ulid = texts.iter().find_map(|text| <Id>::parse(text));
    let id = ulid.or_else(|| texts.iter().find_map(|text| object_id(text)));
    let id = id.ok_or("its id and _id are neither a ULID nor an ObjectId")?;
    Ok(Names { id: u128::from_be_bytes(id.to_bytes()), texts })
}

/// 24 hexadecimal digits, of which the first eight are the seconds.
fn object_id(text: &str) -> Option<Id> {
    let is_hex = text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let seconds = u64::from_str_radix(text.get(..8).filter(|_| is_hex)?, 16).ok()?;
    Some(Id::from_halves((seconds * 1_000) << 16, u64::from_str_radix(&text[8..], 16).ok()?))
}

/// The first of these members that is an id: a text, or `{"$oid":…}`. ULIDs are compared in upper case.
fn reference(object: &Object<'_>, members: &[&str]) -> Option<String> {
    let value = members.iter().find_map(|member| object.get(member))?;
    let text = wrapped(value, &["$oid"]).unwrap_or(value).as_str().filter(|text| !text.is_empty())?;
    Some(text.to_ascii_uppercase())
}

/// The value in an object of Extended JSON, whose one member has one of these names.
fn wrapped<'a, 'b>(value: &'a Value<'b>, names: &[&str]) -> Option<&'a Value<'b>> {
    let mut members = value.as_object()?.iter();
    match (members.next(), members.next()) {
        (Some((name, value)), None) if names.contains(&name.as_ref()) => Some(value),
        _ => None,
    }
}

fn flag(object: &Object<'_>, member: &str, otherwise: bool) -> Result<bool, String> {
    match object.get(member) {
        None | Some(Value::Null) => Ok(otherwise),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(format!("its {member} is neither true nor false")),
    }
}

/// A text, `{"$date":…}` or a number; else the time within the id.
fn created_at(object: &Object<'_>, id: u128, rules: Rules) -> Result<UnixMs, String> {
    let (at, of) = match written_at(object)? {
        Some(at) => (at, "its created_at"),
        None => (<Id>::from_u128(id).unix_ms(), "the time in its id"),
    };
    // Ids and clients put what comes later behind it for as long.
    if at > rules.made_by {
        return Err(format!("{of} is in the future: {}", rfc3339(at)));
    }
    Ok(at)
}

fn written_at(object: &Object<'_>) -> Result<Option<UnixMs>, String> {
    let Some(mut value) = object.get("created_at").filter(|value| **value != Value::Null) else {
        return Ok(None);
    };
    // `{"$date":{"$numberLong":…}}` at most. One that says more than one time says none.
    for _ in 0..2 {
        value = wrapped(value, &["$date", "$numberLong", "$numberInt"]).unwrap_or(value);
    }
    let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
    let at = match number {
        Some(seconds) if (0..SECONDS_MAX).contains(&seconds) => {
            u64::try_from(seconds * 1_000).ok().map(UnixMs)
        }
        Some(unix_ms) => u64::try_from(unix_ms).ok().map(UnixMs),
        None => value.as_str().and_then(parse_rfc3339_ms),
    };
    at.map(Some).ok_or_else(|| "its created_at is no time since 1970".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026.
    const RULES: Rules = Rules { message_max: 10, made_by: UnixMs(1_798_000_000_000) };

    fn problem(line: &str) -> String {
        read(line.as_bytes(), RULES).err().unwrap_or_else(|| panic!("{line}"))
    }

    #[test]
    fn the_forms_of_a_member() {
        let check = |line: &str, id: u128, created_at: u64| {
            let Ok(Document::Member(member)) = read(line.as_bytes(), RULES) else { panic!("{line}") };
            assert_eq!(
                (member.names.id, member.created_at, &*member.email),
                (id, UnixMs(created_at), "a@b"),
                "{line}"
            );
        };
        let oid = (0x5f00_0000_u128 * 1_000) << 80 | 0x1122_3344_5566_7788;
        let with_oid =
            r#"{"_id":{"$oid":"5f0000001122334455667788"},"email":"A@b","verified":true,"created_at":"#;
        for (value, at) in [
            (r#"{"$date":"2021-03-01T10:00:00.250Z"}"#, 1_614_592_800_250),
            (r#"{"$date":{"$numberLong":"1614592800250"}}"#, 1_614_592_800_250),
            (r#"{"$numberLong":"1614592800"}"#, 1_614_592_800_000),
            (r#""2021-03-01T10:00:00Z""#, 1_614_592_800_000),
            ("1614592800", 1_614_592_800_000),
            ("null", 0x5f00_0000 * 1_000),
        ] {
            check(&format!("{with_oid}{value}}}"), oid, at);
        }
        let ulid = "01EZPQ4Z00000000000000000A";
        let id = u128::from_be_bytes(<Id>::parse(ulid).expect("a ULID").to_bytes());
        let at = <Id>::from_u128(id).unix_ms().0;
        check(&format!(r#"{{"id":"{}","email":"a@b","password":"x"}}"#, ulid.to_lowercase()), id, at);
        check(&format!(r#"{{"_id":"x","id":"{ulid}","email":"a@b","active":null}}"#), id, at);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, expect) in [
            ("[{}]", "--jsonArray"),
            ("[", "--jsonArray"),
            ("{", "no JSON object"),
            (r#"{"email":"a@b","active":true}"#, "neither a ULID nor an ObjectId"),
            (r#"{"_id":"01EZPQ4Z00000000000000000A","email":"ä@b","active":true}"#, "e-mail"),
            (r#"{"_id":"01EZPQ4Z00000000000000000A","email":"a@b","active":1}"#, "active"),
            (
                r#"{"_id":"01EZPQ4Z00000000000000000A","email":"a@b","active":true,"created_at":-1}"#,
                "created_at is no time since 1970",
            ),
            (
                r#"{"_id":"01EZPQ4Z00000000000000000A","email":"a@b","active":true,"created_at":{"$date":"9999-12-31T23:59:59Z"}}"#,
                "its created_at is in the future: 9999-12-31T23:59:59.000Z",
            ),
            (
                r#"{"_id":"01EZPQ4Z00000000000000000A","email":"a@b","active":true,"created_at":{"$date":"1969-12-31T23:59:59Z"}}"#,
                "created_at is no time since 1970",
            ),
            (
                r#"{"_id":"01EZPQ4Z00000000000000000A","email":"a@b","active":true,"created_at":1798000000001}"#,
                "in the future",
            ),
            (
                r#"{"_id":"7ZZZZZZZZZ000000000000000A","email":"a@b","active":true}"#,
                "the time in its id is in the future",
            ),
            (r#"{"_id":"x","email":"a@b","email":"c@d","active":true}"#, r#"has the member "email" twice"#),
            // Also within.
            (
                r#"{"_id":"01EZPQ4Z00000000000000000A","email":"a@b","active":true,"created_at":{"$date":1,"$date":2}}"#,
                r#"has the member "$date" twice"#,
            ),
            (
                r#"{"_id":{"$oid":"5f0000001122334455667788","$oid":"5f0000001122334455667789"},"email":"a@b","active":true}"#,
                r#"has the member "$oid" twice"#,
            ),
            (
                r#"{"_id":"01EZPQ4Z00000000000000000A","email":"a@b","active":true,"created_at":{"$date":1,"$numberLong":"2"}}"#,
                "created_at is no time since 1970",
            ),
            (
                r#"{"_id":{"$oid":"5f0000001122334455667788","of":"x"},"email":"a@b","active":true}"#,
                "neither a ULID nor an ObjectId",
            ),
            (
                r#"{"_id":"01EZPQ4Z00000000000000000A","sender":"a","receiver":"b","message":"12345678901"}"#,
                "MESSAGE_MAX=10",
            ),
            (r#"{"_id":"01EZPQ4Z00000000000000000A","sender":7,"receiver":"b","message":"1"}"#, "sender"),
        ] {
            assert!(problem(line).contains(expect), "{line}: {}", problem(line));
        }
        assert!(read(b"\xff\xfe{\0", RULES).is_err_and(|problem| problem.contains("is not UTF-8")));
        let marked = b"\xef\xbb\xbf {\"_id\":\"x\",\"code\":\"1\"}";
        assert!(matches!(read(marked, RULES), Ok(Document::Other)));
        assert!(matches!(read(br#"{"_id":"x","code":"1"}"#, RULES), Ok(Document::Other)));
    }
}
