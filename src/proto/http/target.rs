//! The request target (RFC 9112 §3.2), and the host of an authority.
//!
//! Owns the form of a target (one of four), its path and its query, raw and decoded; leaves the meaning of a path to the
//! router. Invariant: a [`Target`] has only characters of RFC 3986, and every percent escape is well formed.

use std::fmt;
use std::net::Ipv6Addr;

use super::head::{HeadError, Method};
use crate::base::percent;
use crate::limits::TARGET_MAX;

/// Segments of a path: no route is half as deep. Above it: the path names nothing, 404 `not_found`.
const SEGMENTS_MAX: usize = 16;
/// Parameters of a query: no route takes half as many. Above it: the query is malformed.
const QUERY_PAIRS_MAX: usize = 32;
/// What follows it in a path is a secret.
const SECRET_PREFIX: &str = "/hooks/";

/// A target as it was sent. It has at most [`TARGET_MAX`] bytes, so that each offset fits two bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    text: Box<str>,
    form: Form,
    authority_start: u16,
    /// Also the end of the authority.
    path_start: u16,
    /// The offset of the `?`, or the end.
    path_end: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `/path?query`
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `*`, only for OPTIONS
    Asterisk,
    /// `host:port`, only for CONNECT
    Authority,
}

/// The query is not `application/x-www-form-urlencoded` UTF-8, has a key twice, or has too many pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadQuery;

impl Target {
    /// Reads the target of a request with this method.
    ///
    /// ```
    /// use natter::proto::http::head::Method;
    /// use natter::proto::http::target::Target;
    ///
    /// let target = Target::parse("/api/v1/search?q=caf%C3%A9", Method::Get).expect("a good target");
    /// assert_eq!(target.segments().expect("UTF-8"), ["api", "v1", "search"]);
    /// assert_eq!(target.query_pairs().ok().expect("pairs"), [("q".to_owned(), "café".to_owned())]);
    /// assert!(Target::parse("/a b", Method::Get).is_err());
    /// ```
    pub fn parse(text: &str, method: Method) -> Result<Target, HeadError> {
        let bytes = text.as_bytes();
        if bytes.len() > TARGET_MAX {
            return Err(HeadError::TargetTooLong);
        }
        if method == Method::Connect {
            // RFC 9110 §9.3.6: the port is required here.
            let port = text.rsplit_once(':').is_some_and(|(_, port)| is_digits(port));
            normal_host(text).filter(|_| port).ok_or(HeadError::Bad("CONNECT without host and port"))?;
            return Ok(Target::new(text, Form::Authority, 0, bytes.len(), bytes.len()));
        }
        if bytes == b"*" {
            return match method {
                Method::Options => Ok(Target::new(text, Form::Asterisk, 0, 0, 1)),
                _ => Err(HeadError::Bad("asterisk target without OPTIONS")),
            };
        }
        let (form, authority_start) = match bytes.first() {
            Some(b'/') => (Form::Origin, 0),
            _ => (Form::Absolute, scheme_end(bytes).ok_or(HeadError::Bad("target of no known form"))?),
        };
        let path_start = match form {
            Form::Absolute => find(bytes, authority_start, b"/?#"),
            _ => 0,
        };
        let path_end = find(bytes, path_start, b"?#");
        let query = bytes.get(path_end + 1..).unwrap_or_default();
        if bytes.get(path_end) == Some(&b'#') || !is_uri(&bytes[path_start..path_end], b"/") {
            return Err(HeadError::Bad("character or escape in the path"));
        }
        if !is_uri(query, b"/?") {
            return Err(HeadError::Bad("character or escape in the query"));
        }
        if form == Form::Absolute {
            // An empty host and userinfo make an http URI invalid (RFC 9110 §4.2.1, §4.2.4).
            normal_host(&text[authority_start..path_start])
                .ok_or(HeadError::Bad("authority of the target"))?;
            // RFC 9112 §3.2.4: the form that a proxy would have forwarded as `*`.
            if method == Method::Options && path_start == bytes.len() {
                return Ok(Target::new(text, Form::Asterisk, authority_start, path_start, path_end));
            }
        }
        Ok(Target::new(text, form, authority_start, path_start, path_end))
    }

    fn new(text: &str, form: Form, authority_start: usize, path_start: usize, path_end: usize) -> Target {
        // TARGET_MAX was checked: every offset fits.
        let short = |at: usize| at as u16;
        Target {
            text: text.into(),
            form,
            authority_start: short(authority_start),
            path_start: short(path_start),
            path_end: short(path_end),
        }
    }

    pub fn memory(&self) -> usize {
        self.text.len()
    }

    /// The path as it was sent; empty only for CONNECT, and `*` for the asterisk form.
    pub fn path(&self) -> &str {
        match (self.form, &self.text[self.path_start.into()..self.path_end.into()]) {
            (Form::Asterisk, _) => "*",
            (Form::Absolute, "") => "/",
            (_, path) => path,
        }
    }

    /// The text after the `?`, as it was sent.
    pub fn query(&self) -> Option<&str> {
        self.text.get(usize::from(self.path_end) + 1..)
    }

    /// The authority of an absolute target or of CONNECT. It takes precedence over Host (RFC 9112 §3.2.2).
    pub fn authority(&self) -> Option<&str> {
        let authority = &self.text[self.authority_start.into()..self.path_start.into()];
        Some(authority).filter(|authority| !authority.is_empty())
    }

    /// `OPTIONS *`: a request about the server and not about one path.
    pub fn is_asterisk(&self) -> bool {
        self.form == Form::Asterisk
    }

    /// The segments of the path, percent-decoded: none for `/`, and an empty last one after a trailing slash. `None` if no
    /// route can match: a segment is not UTF-8, is `.` or `..`, or has a separator or NUL after decoding; there are more
    /// than [`SEGMENTS_MAX`]; or there is no path.
    pub fn segments(&self) -> Option<Vec<String>> {
        let path = self.path().strip_prefix('/')?;
        if path.is_empty() {
            return Some(Vec::new());
        }
        let mut segments = Vec::with_capacity(4);
        for raw in path.split('/') {
            let segment = percent::decode(raw)?;
            let unsafe_name = segment == "." || segment == ".." || segment.contains(['/', '\\', '\0']);
            if unsafe_name || segments.len() == SEGMENTS_MAX {
                return None;
            }
            segments.push(segment);
        }
        Some(segments)
    }

    /// The pairs of the query in the order in which they were sent, decoded as `application/x-www-form-urlencoded`: `+` is
    /// a space, and a key without `=` has an empty value.
    pub fn query_pairs(&self) -> Result<Vec<(String, String)>, BadQuery> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in self.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = percent::form_decode(key).ok_or(BadQuery)?;
            let value = percent::form_decode(value).ok_or(BadQuery)?;
            if pairs.len() == QUERY_PAIRS_MAX || pairs.iter().any(|(known, _)| *known == key) {
                return Err(BadQuery);
            }
            pairs.push((key, value));
        }
        Ok(pairs)
    }

    /// The readable pairs of a malformed query: the credentials of a request are checked before its query. If a key occurs
    /// twice, the first one is used.
    pub fn readable_pairs(&self) -> Vec<(String, String)> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in self.query().unwrap_or_default().split('&').take(QUERY_PAIRS_MAX) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(key), Some(value)) = (percent::form_decode(key), percent::form_decode(value)) else {
                continue;
            };
            if !pairs.iter().any(|(known, _)| *known == key) {
                pairs.push((key, value));
            }
        }
        pairs
    }

    /// The target for a log: the path without a secret in it, and only those keys of the query that look like names. A ticket, an access
    /// token and
    /// a signature are values; a token in the position of a key is too long for a name or has other characters.
    pub fn redacted(&self) -> String {
        const KEY_MAX: usize = 24;
        let secret = self.path().starts_with(SECRET_PREFIX);
        let mut text = String::from(if secret { SECRET_PREFIX } else { self.path() });
        let pairs = self.query().map(|query| query.split('&').filter(|pair| !pair.is_empty()));
        for (at, pair) in pairs.into_iter().flatten().take(QUERY_PAIRS_MAX).enumerate() {
            text.push(if at == 0 { '?' } else { '&' });
            let key = pair.split('=').next().unwrap_or_default();
            let is_name = key.len() <= KEY_MAX && key.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
            text.push_str(if is_name { key } else { "*" });
            text.push_str("=*");
        }
        text
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

/// Checks `uri-host [ ":" port ]` (RFC 9110 §7.2, RFC 3986 §3.2.2) and returns it in lower case, without an empty port. An
/// empty host is refused: no http URI has one (RFC 9110 §4.2.1).
pub(super) fn normal_host(text: &str) -> Option<String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            // IPvFuture is not accepted: no such address exists.
            address.parse::<Ipv6Addr>().ok()?;
            (&text[..address.len() + 2], rest)
        }
        None => {
            let at = text.find(':').unwrap_or(text.len());
            let (host, rest) = text.split_at(at);
            if host.is_empty() || !is_uri(host.as_bytes(), b"") || host.contains('@') {
                return None;
            }
            (host, rest)
        }
    };
    let port = match port.strip_prefix(':') {
        Some("") => "",
        Some(digits) if is_digits(digits) && digits.parse::<u16>().is_ok() => port,
        Some(_) => return None,
        None if port.is_empty() => "",
        None => return None,
    };
    let mut normal = String::with_capacity(host.len() + port.len());
    normal.push_str(host);
    normal.push_str(port);
    normal.make_ascii_lowercase();
    Some(normal)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Where the authority of an http or https URI begins; an origin server has no other scheme.
fn scheme_end(bytes: &[u8]) -> Option<usize> {
    ["http://", "https://"].iter().find_map(|scheme| {
        let start = bytes.get(..scheme.len())?;
        start.eq_ignore_ascii_case(scheme.as_bytes()).then_some(scheme.len())
    })
}

/// The first of `any` at or after `from`, or the end.
fn find(bytes: &[u8], from: usize, any: &[u8]) -> usize {
    bytes[from..].iter().position(|b| any.contains(b)).map_or(bytes.len(), |at| from + at)
}

/// Only `pchar` (RFC 3986 §3.3) and `extra`, with every `%` followed by two hex digits.
fn is_uri(bytes: &[u8], extra: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some((&b, after)) = rest.split_first() {
        rest = match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => after,
            b'-' | b'.' | b'_' | b'~' | b':' | b'@' => after,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => after,
            b'%' if after.len() >= 2 && after[..2].iter().all(u8::is_ascii_hexdigit) => &after[2..],
            _ if extra.contains(&b) => after,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(text: &str) -> Target {
        let method = if text == "*" { Method::Options } else { Method::Get };
        Target::parse(text, method).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    #[test]
    fn each_form_has_its_path_query_and_authority() {
        let check = |method, text: &str, path: &str, query: Option<&str>, authority: Option<&str>| {
            let target = Target::parse(text, method).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            assert_eq!(
                (target.path(), target.query(), target.authority()),
                (path, query, authority),
                "{text}"
            );
            assert_eq!(target.is_asterisk(), path == "*", "{text}");
        };
        check(Method::Get, "/", "/", None, None);
        check(Method::Get, "/a/b?", "/a/b", Some(""), None);
        check(Method::Get, "/a;v=1/@:b?x=/?y", "/a;v=1/@:b", Some("x=/?y"), None);
        check(Method::Get, "//a", "//a", None, None);
        check(Method::Get, "http://h:80/a?b", "/a", Some("b"), Some("h:80"));
        check(Method::Get, "HTTPS://[::1]", "/", None, Some("[::1]"));
        check(Method::Get, "http://h?b", "/", Some("b"), Some("h"));
        check(Method::Options, "*", "*", None, None);
        check(Method::Options, "http://h", "*", None, Some("h"));
        check(Method::Options, "http://h/", "/", None, Some("h"));
        check(Method::Connect, "h:443", "", None, Some("h:443"));
    }

    #[test]
    fn malformed_targets_are_refused() {
        for text in [
            "",
            "a",
            "*",
            "?a",
            "/a#b",
            "/a?b#c",
            "/a\"",
            "/<a>",
            "/a\\b",
            "/a^",
            "/{a}",
            "/a|b",
            "/a`",
            "/é",
            "/%",
            "/%4",
            "/%zz",
            "/a?%",
            "/a?[b]",
            "/a b",
            "ftp://h/",
            "http:///a",
            "http://u@h/",
            "http://h:x/",
            "http://h#a",
            "mailto:a",
            "h:443",
            "http://",
            "//\u{7f}",
            "/\t",
        ] {
            assert!(matches!(Target::parse(text, Method::Get), Err(HeadError::Bad(_))), "{text}");
        }
        for text in ["*", "/", "h", "h:", "h:x", "http://h/", ":1", "u@h:1"] {
            assert!(matches!(Target::parse(text, Method::Connect), Err(HeadError::Bad(_))), "{text}");
        }
        let longest = format!("/{}", "a".repeat(TARGET_MAX - 1));
        assert!(Target::parse(&longest, Method::Get).is_ok());
        assert_eq!(Target::parse(&format!("{longest}a"), Method::Get), Err(HeadError::TargetTooLong));
    }

    #[test]
    fn segments_are_decoded_or_match_no_route() {
        let check = |text: &str, expect: Option<&[&str]>| {
            let segments = target(text).segments();
            let seen = segments.as_ref().map(|all| all.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(seen.as_deref(), expect, "{text}");
        };
        check("/", Some(&[]));
        check("/a", Some(&["a"]));
        check("/a/", Some(&["a", ""]));
        check("//", Some(&["", ""]));
        check("/a+b/%F0%9F%91%8D/%25", Some(&["a+b", "👍", "%"]));
        check("http://h/a", Some(&["a"]));
        check("/...", Some(&["..."]));
        for text in ["/.", "/a/..", "/%2e%2E/a", "/a%2Fb", "/a%5cb", "/%00", "/%ff", "/%C0%AF", "*"] {
            check(text, None);
        }
        assert!(target(&"/a".repeat(SEGMENTS_MAX)).segments().is_some());
        check(&"/a".repeat(SEGMENTS_MAX + 1), None);
    }

    #[test]
    fn query_pairs_are_unique_bounded_and_utf_8() {
        let check = |text: &str, expect: Result<&[(&str, &str)], BadQuery>| {
            let seen = target(text).query_pairs();
            let expect = expect.map(|all| all.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect());
            assert_eq!(seen, expect, "{text}");
        };
        check("/", Ok(&[]));
        check("/?", Ok(&[]));
        check("/?a=1&&b=x+y%2B&c", Ok(&[("a", "1"), ("b", "x y+"), ("c", "")]));
        check("/?ids=a,b&q==", Ok(&[("ids", "a,b"), ("q", "=")]));
        check("/?q=%D8%B3", Ok(&[("q", "س")]));
        check("/?a=1&a=1", Err(BadQuery));
        check("/?a=1&%61=2", Err(BadQuery));
        check("/?a=%ff", Err(BadQuery));
        let many = |count: usize| {
            let pairs: Vec<String> = (0..count).map(|i| format!("k{i}=")).collect();
            target(&format!("/?{}", pairs.join("&"))).query_pairs()
        };
        assert_eq!(many(QUERY_PAIRS_MAX).map(|pairs| pairs.len()), Ok(QUERY_PAIRS_MAX));
        assert_eq!(many(QUERY_PAIRS_MAX + 1), Err(BadQuery));
    }

    #[test]
    fn a_log_shows_no_value_of_a_query() {
        let check = |text: &str, expect: &str| {
            assert_eq!(target(text).redacted(), expect);
            assert_eq!(format!("{:?}", target(text)), expect);
        };
        check("/a", "/a");
        check("/a?", "/a");
        check(
            "/ws?access=eyJh.x.y&ticket=t&cursor=k3:1&sig=s&flag",
            "/ws?access=*&ticket=*&cursor=*&sig=*&flag=*",
        );
        check("/hooks/nh_secret?a=b", "/hooks/?a=*");
        check("/ws?eyJhbGciOiJIUzI1NiJ9.e30.abc", "/ws?*=*");
        check("/ws?acc%65ss=secret", "/ws?*=*");
        check("http://h/a?ticket=t", "/a?ticket=*");
    }

    #[test]
    fn a_host_follows_its_grammar() {
        for (text, expect) in [
            ("natter.example", "natter.example"),
            ("Natter.Example:8080", "natter.example:8080"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[2001:DB8::1]:443", "[2001:db8::1]:443"),
            ("[::1]", "[::1]"),
            ("h:", "h"),
            ("a_b-c~d%41", "a_b-c~d%41"),
        ] {
            assert_eq!(normal_host(text).as_deref(), Some(expect), "{text}");
        }
        for text in [
            "",
            ":80",
            "a b",
            "a/b",
            "u@h",
            "h:x",
            "h:+1",
            "h:65536",
            "h:1:2",
            "::1",
            "[::1",
            "[::1]x",
            "[g::]",
            "[]",
            "[127.0.0.1]",
            "h%4",
            "a, b",
            "h\u{fffd}",
            "h\"",
            "a#b",
            "a?b",
            "[v1.a]",
            "[fe80::1%25eth0]",
        ] {
            assert_eq!(normal_host(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_target_panics(text in prop_oneof![any::<String>(), "[/a?%&=.+#@:*\\[\\]0-9a-fé]{0,12}", "http://[a:@0-9%]{0,4}[/?&=%a]{0,6}"]) {
            for method in [Method::Get, Method::Options, Method::Connect] {
                if let Ok(target) = Target::parse(&text, method) {
                    let _ = (target.segments(), target.query_pairs());
                    prop_assert!(target.redacted().is_ascii() && text.is_ascii());
                    prop_assert!(target.path().len() <= text.len().max(1));
                    prop_assert!(target.authority().is_none_or(|authority| normal_host(authority).is_some()));
                }
            }
        }
    }
}
