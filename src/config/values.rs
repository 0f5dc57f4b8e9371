//! The grammar of single values: text in; a value, or a phrase about the problem, out.
//!
//! The phrase follows the quoted value in a sentence ("is not a number"). Knows no variable and no other value; `config`
//! checks combinations.

use std::time::Duration;

use log::LevelFilter;

use super::url::{Host, host};
use crate::base::network::{Network, Networks};
use crate::limits::{CONFIG_LIST_MAX, Rate};

/// What is wrong with a value, as a phrase that never repeats the value.
pub type Problem = String;

/// The sender of a mail: `natter@example.org` or `Our chat <natter@example.org>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// Without control characters; empty if none was given. Not yet encoded for a header.
    pub name: String,
    pub address: String,
}

/// Costs of Argon2id (RFC 9106): memory in KiB, passes, lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2 {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

impl Argon2 {
    /// The five equivalent choices of OWASP (47104,1 … 7168,5) all reach this many KiB × passes.
    pub fn is_weak(self) -> bool {
        u64::from(self.memory_kib) * u64::from(self.passes) < 35_840
    }
}

/// `LOG_LEVEL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    /// For all other modules, if it was given.
    pub default: Option<LevelFilter>,
    pub modules: Vec<(String, LevelFilter)>,
}

/// Digits only: `str::parse` would also accept `+5`.
pub fn number(text: &str, min: u64, max: u64) -> Result<u64, Problem> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("is not a whole number".into());
    }
    text.parse().ok().filter(|n| (min..=max).contains(n)).ok_or_else(|| "is out of range".into())
}

/// Of how many requests one is logged: 0 for none.
pub fn access_log(text: &str) -> Result<u32, Problem> {
    let sample = || text.strip_prefix("1/").and_then(|many| number(many, 1, 1_000_000).ok());
    match text {
        "all" => Ok(1),
        "off" => Ok(0),
        _ => sample()
            .map(|many| many as u32)
            .ok_or_else(|| "is not all, off, or one of so many such as 1/100".to_owned()),
    }
}

/// The longest time of [`time()`], in minutes: a year.
const MINUTES_MAX: u64 = 366 * 1_440;

/// Minutes, hours or days.
pub fn time(text: &str) -> Result<Duration, Problem> {
    let wrong = || "is not a number of minutes, hours or days, such as 30m, 6h or 1d".to_owned();
    let (digits, minutes) = match text.char_indices().last() {
        Some((at, 'm')) => (&text[..at], 1),
        Some((at, 'h')) => (&text[..at], 60),
        Some((at, 'd')) => (&text[..at], 1_440),
        _ => return Err(wrong()),
    };
    let count = number(digits, 1, MINUTES_MAX / minutes).map_err(|_| wrong())?;
    Ok(Duration::from_secs(count * minutes * 60))
}

pub fn switch(text: &str) -> Result<bool, Problem> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err("is neither on nor off".into()),
    }
}

/// One of `words`, case-insensitively.
pub fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Problem> {
    let found = words.iter().find(|(word, _)| text.eq_ignore_ascii_case(word));
    found.map(|(_, value)| *value).ok_or_else(|| "is not one of the words".into())
}

/// The entries between commas, trimmed, at most [`CONFIG_LIST_MAX`], none of them empty.
pub(super) fn list(text: &str) -> Result<Vec<&str>, Problem> {
    let entries: Vec<&str> = text.split(',').map(str::trim).take(CONFIG_LIST_MAX + 1).collect();
    if entries.len() > CONFIG_LIST_MAX {
        return Err(format!("has more than {CONFIG_LIST_MAX} entries"));
    }
    if entries.iter().any(|entry| entry.is_empty()) {
        return Err("has an empty entry".into());
    }
    Ok(entries)
}

/// `5/10`: five a second, and ten at once.
pub fn rate(text: &str) -> Result<Rate, Problem> {
    let (per_second, burst) = text.split_once('/').ok_or("is not two numbers separated by a /")?;
    let part = |text: &str| {
        let n = number(text.trim(), 1, RATE_PART_MAX)?;
        u32::try_from(n).map_err(|_| "is out of range".to_owned())
    };
    Ok(Rate { per_second: part(per_second)?, burst: part(burst)? })
}

/// A rate above a million per second limits nothing: use `RATE_LIMIT=off` instead.
const RATE_PART_MAX: u64 = 1_000_000;

/// Memory is at least 1 MiB: with less, a hash protects nothing. The maxima are 1 GiB, 64 passes and 16 lanes: with more,
/// one sign-in could occupy a worker for a minute.
pub fn argon2(text: &str) -> Result<Argon2, Problem> {
    let [memory, passes, lanes] =
        list(text)?.try_into().map_err(|_| "is not three numbers separated by commas".to_owned())?;
    let part = |name: &str, text: &str, min, max| {
        let n = number(text, min, max).map_err(|problem| format!("has a {name} that {problem}"))?;
        u32::try_from(n).map_err(|_| format!("has a {name} that is out of range"))
    };
    Ok(Argon2 {
        memory_kib: part("memory", memory, 1_024, 1_048_576)?,
        passes: part("number of passes", passes, 1, 64)?,
        lanes: part("number of lanes", lanes, 1, 16)?,
    })
}

pub fn networks(text: &str) -> Result<Networks, Problem> {
    let entries = list(text)?;
    let one = |entry: &str| match entries.len() {
        1 => Network::parse(entry),
        _ => Network::parse(entry).map_err(|problem| format!("has an entry {entry:?} that {problem}")),
    };
    Ok(Networks::new(entries.iter().map(|entry| one(entry)).collect::<Result<_, _>>()?))
}

/// ASCII, one `@`, at most 254 bytes, and no character that could end a header or an SMTP argument.
pub fn mailbox(text: &str) -> Result<Mailbox, Problem> {
    let (name, address) = match text.strip_suffix('>').and_then(|rest| rest.split_once('<')) {
        Some((name, address)) => (name.trim().trim_matches('"'), address),
        None => ("", text),
    };
    if name.contains(|c: char| c.is_control() || "<>\"".contains(c)) || name.len() > 128 {
        return Err("has a name that a mail header cannot show".into());
    }
    let (local, domain) = address.split_once('@').ok_or("is not an e-mail address")?;
    let local_is_plain = !local.is_empty()
        && local.len() <= 64
        && local.bytes().all(|b| b.is_ascii_graphic() && !b"<>()[],;:\\\"@".contains(&b));
    match local_is_plain && address.len() <= 254 && matches!(host(domain), Ok(Host::Name(_))) {
        true => Ok(Mailbox { name: name.to_owned(), address: address.to_owned() }),
        false => Err("is not an e-mail address".into()),
    }
}

/// `info`, or `warn,natter::store=debug,rustls=error`: a level for all modules, and levels for single modules.
pub fn log_levels(text: &str) -> Result<Levels, Problem> {
    let level = |text: &str| text.parse::<LevelFilter>().map_err(|_| "has an unknown level".to_owned());
    let (mut default, mut modules) = (None, Vec::new());
    for entry in list(text)? {
        match entry.split_once('=') {
            None if default.is_some() => return Err("has two levels for all modules".into()),
            None => default = Some(level(entry)?),
            Some((module, of)) => {
                let module = module.trim();
                if module.is_empty()
                    || !module.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:".contains(&b))
                {
                    return Err("has an invalid name of a module".into());
                }
                modules.push((module.to_owned(), level(of.trim())?));
            }
        }
    }
    Ok(Levels { default, modules })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::fmt;

    #[track_caller]
    pub fn check<T: fmt::Debug>(
        parse: impl Fn(&str) -> Result<T, Problem>,
        text: &str,
        expect: Result<&str, &str>,
    ) {
        match (parse(text), expect) {
            (Ok(seen), Ok(expect)) => assert_eq!(format!("{seen:?}"), expect, "{text:?}"),
            (Err(seen), Err(expect)) => assert!(seen.contains(expect), "{text:?}: {seen:?}"),
            (seen, expect) => panic!("{text:?}: {seen:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn numbers_switches_rates() {
        let n = |text: &str| number(text, 1, 10);
        check(n, "1", Ok("1"));
        check(n, "010", Ok("10"));
        for bad in ["", "+5", "-5", "5.0", "5 ", "0x5", "5s", "٥"] {
            check(n, bad, Err("not a whole number"));
        }
        for bad in ["0", "11", "99999999999999999999999"] {
            check(n, bad, Err("out of range"));
        }
        check(switch, "ON", Ok("true"));
        check(switch, "no", Ok("false"));
        check(switch, "maybe", Err("neither"));
        check(rate, "5/10", Ok("Rate { per_second: 5, burst: 10 }"));
        check(rate, "5 / 10", Ok("Rate { per_second: 5, burst: 10 }"));
        check(rate, "5", Err("two numbers"));
        check(rate, "0/10", Err("out of range"));
        check(rate, "5/0", Err("out of range"));
        check(rate, "5/10/2", Err("whole number"));
        check(rate, "5/1000001", Err("out of range"));
        check(rate, "0.5/1", Err("whole number"));
    }

    #[test]
    fn argon2_costs() {
        check(argon2, "7168,5,1", Ok("Argon2 { memory_kib: 7168, passes: 5, lanes: 1 }"));
        check(argon2, "1024, 1, 16", Ok("Argon2 { memory_kib: 1024, passes: 1, lanes: 16 }"));
        check(argon2, "1023,1,1", Err("memory that is out of range"));
        check(argon2, "1024,0,1", Err("passes that is out of range"));
        check(argon2, "1024,1,17", Err("lanes that is out of range"));
        check(argon2, "1024,1", Err("three numbers"));
        check(argon2, "1024,1,1,1", Err("three numbers"));
        check(argon2, "m=1024,t=1,p=1", Err("not a whole number"));
        let weak = |m, t| Argon2 { memory_kib: m, passes: t, lanes: 1 }.is_weak();
        assert_eq!((weak(7_168, 5), weak(7_168, 4), weak(19_456, 2)), (false, true, false));
    }

    #[test]
    fn proxy_lists() {
        let inside = |text: &str| networks(text).map(|set| set.contains([10, 1, 2, 3].into()));
        check(inside, "127.0.0.1, 10.0.0.0/8", Ok("true"));
        check(inside, "127.0.0.1", Ok("false"));
        check(inside, "10.0.0.0/8,nginx", Err(r#"entry "nginx" that is not an IP"#));
        check(inside, "10.0.0.0/8,", Err("empty entry"));
    }

    #[test]
    fn mailboxes() {
        check(mailbox, "a@b.example", Ok(r#"Mailbox { name: "", address: "a@b.example" }"#));
        check(mailbox, "My chat <a+c@b>", Ok(r#"Mailbox { name: "My chat", address: "a+c@b" }"#));
        check(mailbox, "\"My, chat\" <a@b>", Ok(r#"Mailbox { name: "My, chat", address: "a@b" }"#));
        check(mailbox, "<a@b>", Ok(r#"Mailbox { name: "", address: "a@b" }"#));
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            "a b@c",
            "a@b c",
            "a@b>",
            "x <a@b",
            "a\r\nBcc:c@d",
            "ü@b",
            "a@1.2.3.4",
        ] {
            check(mailbox, bad, Err("e-mail address"));
        }
        check(mailbox, "x\r\ny <a@b>", Err("header"));
        check(mailbox, "a <b <c@d>", Err("e-mail address"));
        check(mailbox, &format!("{}@b", "a".repeat(65)), Err("e-mail address"));
    }

    #[test]
    fn levels() {
        check(log_levels, "info", Ok("Levels { default: Some(Info), modules: [] }"));
        check(
            log_levels,
            "WARN, natter::store=debug,rustls=off",
            Ok(r#"Levels { default: Some(Warn), modules: [("natter::store", Debug), ("rustls", Off)] }"#),
        );
        check(log_levels, "store=trace", Ok(r#"Levels { default: None, modules: [("store", Trace)] }"#));
        check(log_levels, "loud", Err("level"));
        check(log_levels, "store=loud", Err("level"));
        check(log_levels, "info,debug", Err("two levels"));
        check(log_levels, "=debug", Err("module"));
        check(log_levels, "a b=debug", Err("module"));
        check(log_levels, "info,", Err("empty entry"));
    }
}
