//! Reads hosts, URLs and origins in the configuration, and writes them in normal form.
//!
//! Not for input from a peer: `proto` reads request targets and `Origin` headers.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::values::{Problem, list, number, word};
use crate::model::settings::Origins;

/// An address or a name, as in `HOST` and in URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Address(IpAddr),
    /// Lower-case ASCII labels.
    Name(String),
}

/// As in a URL: an IPv6 address has brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Address(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
            Host::Address(IpAddr::V4(v4)) => write!(f, "{v4}"),
            Host::Name(name) => f.write_str(name),
        }
    }
}

impl Host {
    pub fn is_loopback(&self) -> bool {
        match self {
            Host::Address(address) => address.to_canonical().is_loopback(),
            Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

/// `http` or `https`, without credentials, query and fragment. `Display` writes it back in normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub https: bool,
    pub host: Host,
    /// `None` for the default port of the scheme (80, 443).
    pub port: Option<u16>,
    /// Empty or `/…`, without a `/` at its end.
    pub path: String,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)
    }
}

/// An IP address (IPv6 with or without brackets) or a name of RFC 1123 labels. `_` is allowed, since names of containers have
/// it. A name whose last label is a number is refused as a mistyped address.
pub fn host(text: &str) -> Result<Host, Problem> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(bare) = bare {
        let address =
            bare.parse::<Ipv6Addr>().map_err(|_| "has brackets around a text that is not an IPv6 address")?;
        return Ok(Host::Address(address.into()));
    }
    if let Ok(address) = text.parse() {
        return Ok(Host::Address(address));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_number = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    match text.len() <= 253 && text.split('.').all(label) && !last_is_number {
        true => Ok(Host::Name(text.to_ascii_lowercase())),
        false => Err("is neither an IP address nor a host name".into()),
    }
}

/// Reads `scheme://host[:port]`; the last value is the text after it.
pub(super) fn authority(text: &str) -> Result<(String, Host, Option<u16>, &str), Problem> {
    let (scheme, rest) = text.split_once("://").ok_or("does not begin with a scheme and ://")?;
    let scheme = scheme.to_ascii_lowercase();
    let ends = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(ends);
    if authority.contains('@') {
        return Err("has credentials in it".into());
    }
    let port_at = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
    let (name, port) = match port_at {
        Some(at) => (&authority[..at], Some(&authority[at + 1..])),
        None => (authority, None),
    };
    if name.contains(':') && !name.starts_with('[') {
        return Err("has an IPv6 address without brackets, or two ports".into());
    }
    let host = host(name).map_err(|problem| format!("has a host that {problem}"))?;
    let port = match port {
        None => None,
        Some(digits) => {
            let n = number(digits, 1, 65_535).map_err(|problem| format!("has a port that {problem}"))?;
            u16::try_from(n).ok()
        }
    };
    let own = match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    Ok((scheme, host, port.filter(|port| Some(*port) != own), tail))
}

pub fn url(text: &str) -> Result<Url, Problem> {
    let (scheme, host, port, tail) = authority(text)?;
    let https =
        word(&scheme, &[("http", false), ("https", true)]).map_err(|_| "is neither http nor https")?;
    if tail.contains(['?', '#']) {
        return Err("has a query or a fragment".into());
    }
    if !tail.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("has characters that are not allowed in a URL".into());
    }
    Ok(Url { https, host, port, path: tail.trim_end_matches('/').to_owned() })
}

/// A URL without a path: natter's routes begin at the root.
pub fn site(text: &str) -> Result<Url, Problem> {
    let url = url(text)?;
    match url.path.is_empty() {
        true => Ok(url),
        false => Err("has a path".into()),
    }
}

/// `*`, `none`, or origins as a browser writes them (RFC 6454 §6.2). Schemes of app shells are accepted too.
pub fn origins(text: &str) -> Result<Origins, Problem> {
    let entries = list(text)?;
    match entries.as_slice() {
        ["*"] => return Ok(Origins::Any),
        [one] if one.eq_ignore_ascii_case("none") => return Ok(Origins::Listed(Vec::new())),
        _ => {}
    }
    let mut origins = Vec::with_capacity(entries.len());
    for entry in entries {
        if entry == "*" {
            return Err("mixes * with other origins".into());
        }
        let (scheme, host, port, tail) = authority(entry)?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        if !is_scheme {
            return Err("has an invalid scheme".into());
        }
        if !tail.is_empty() {
            return Err("has text after host and port: an origin has no path, not even a /".into());
        }
        origins.push(match port {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        });
    }
    origins.sort_unstable();
    origins.dedup();
    Ok(Origins::Listed(origins))
}

#[cfg(test)]
mod tests {
    use super::super::values::tests::check;
    use super::*;
    use crate::limits::CONFIG_LIST_MAX;

    #[test]
    fn hosts() {
        let shown = |text: &str| host(text).map(|host| host.to_string());
        check(shown, "127.0.0.1", Ok(r#""127.0.0.1""#));
        check(shown, "::1", Ok(r#""[::1]""#));
        check(shown, "[::1]", Ok(r#""[::1]""#));
        check(shown, "Chat.Example.ORG", Ok(r#""chat.example.org""#));
        check(shown, "my_host-1", Ok(r#""my_host-1""#));
        for bad in
            ["", ".", "a..b", "-a", "a-", "a b", "127.0.0.256", "1.2.3", "a:80", "http://a", "ü.example"]
        {
            check(shown, bad, Err("neither"));
        }
        check(shown, &"a".repeat(63), Ok(&format!("{:?}", "a".repeat(63))));
        check(shown, &"a".repeat(64), Err("neither"));
        check(shown, "[127.0.0.1]", Err("brackets"));
        let loopback = |text: &str| host(text).expect(text).is_loopback();
        assert!(loopback("127.9.9.9") && loopback("::ffff:127.0.0.1") && loopback("LOCALHOST"));
        assert!(!loopback("0.0.0.0") && !loopback("localhost.example"));
    }

    #[test]
    fn urls() {
        let shown = |text: &str| url(text).map(|url| url.to_string());
        check(shown, "https://Chat.example/", Ok(r#""https://chat.example""#));
        check(shown, "HTTP://[::1]:8080", Ok(r#""http://[::1]:8080""#));
        check(shown, "https://a:443/x/y/", Ok(r#""https://a/x/y""#));
        check(shown, "http://a:443", Ok(r#""http://a:443""#));
        check(shown, "chat.example", Err("://"));
        check(shown, "ftp://a", Err("neither http nor https"));
        check(shown, "https://u:p@a", Err("credentials"));
        check(shown, "https://a?b", Err("query"));
        check(shown, "https://a/#b", Err("query"));
        check(shown, "https://a/ b", Err("characters"));
        check(shown, "https://", Err("host"));
        check(shown, "https://::1", Err("brackets"));
        check(shown, "https://a:1:2", Err("two ports"));
        check(shown, "https://a:", Err("port"));
        check(shown, "https://a:0", Err("port"));
        check(shown, "https://a:65536", Err("port"));
        let shown = |text: &str| site(text).map(|url| url.to_string());
        check(shown, "https://a/", Ok(r#""https://a""#));
        check(shown, "https://a/chat", Err("has a path"));
    }

    #[test]
    fn allowed_origins() {
        check(origins, "*", Ok("Any"));
        check(origins, "none", Ok("Listed([])"));
        check(
            origins,
            "https://B.example, https://a.example:443,http://a.example:8080,capacitor://localhost,https://b.example",
            Ok(
                r#"Listed(["capacitor://localhost", "http://a.example:8080", "https://a.example", "https://b.example"])"#,
            ),
        );
        check(origins, "*,https://a", Err("mixes *"));
        check(origins, "https://a,*", Err("mixes *"));
        check(origins, "https://a/", Err("no path"));
        check(origins, "https://*.a", Err("host"));
        check(origins, "a.example", Err("://"));
        check(origins, "null", Err("://"));
        check(origins, "https://a,,https://b", Err("empty entry"));
        check(origins, "1x://a", Err("scheme"));
        check(origins, &vec!["https://a"; CONFIG_LIST_MAX].join(","), Ok(r#"Listed(["https://a"])"#));
        check(origins, &vec!["https://a"; CONFIG_LIST_MAX + 1].join(","), Err("more than"));
    }
}
