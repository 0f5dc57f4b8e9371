//! The URL of another server, and the request for it (RFC 9112 §3).
//!
//! Owns what of a URL is accepted. Leaves the response to the module above, and the request of a push to `proto::push`.
//! Invariant: no part of a URL, a segment or a token can begin another line of the head.

use crate::limits::TARGET_MAX;

/// The scheme and the authority of an `http` or `https` URL, without a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    pub tls: bool,
    /// As in a certificate or for a resolver: no port, no brackets.
    pub host: String,
    pub port: u16,
}

/// The URL of a service: `https://host[:port][/path]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub authority: Authority,
    /// Of a service: without a slash at its end. Of a resource: with its query, and never empty.
    path: String,
}

/// What is asked of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    Get,
    /// The head of the response alone.
    Head,
    Post {
        content_type: &'static str,
        body: &'a [u8],
    },
}

/// The text is not an `http` or `https` URL, or it has a user, a query or a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEndpoint;

/// The path segment or the token has a character that cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRequest;

impl Authority {
    /// Splits a URL into its authority and what follows it, which is not checked.
    pub fn split(url: &str) -> Result<(Authority, &str), BadEndpoint> {
        let (scheme, rest) = url.split_once("://").ok_or(BadEndpoint)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(BadEndpoint),
        };
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(literal) => {
                let (host, port) = literal.split_once(']').ok_or(BadEndpoint)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| BadEndpoint)?;
                (host, port)
            }
            None => {
                let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
                let is_host_byte = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
                if host.is_empty() || !host.bytes().all(is_host_byte) {
                    return Err(BadEndpoint);
                }
                (host, port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() && tls => 443,
            None if port.is_empty() => 80,
            // Digits only: the number parser would also accept a sign.
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| BadEndpoint)?
            }
            _ => return Err(BadEndpoint),
        };
        if port == 0 {
            return Err(BadEndpoint);
        }
        Ok((Authority { tls, host: host.to_owned(), port }, rest))
    }

    /// `host[:port]`, as the header Host has it and as an origin does: the port of the scheme is left out.
    pub fn host_and_port(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let default = if self.tls { 443 } else { 80 };
        if self.port == default { host } else { format!("{host}:{}", self.port) }
    }
}

impl Endpoint {
    pub fn parse(url: &str) -> Result<Endpoint, BadEndpoint> {
        let (authority, path) = Authority::split(url)?;
        if path.len() > TARGET_MAX || !path.bytes().all(is_path_byte) {
            return Err(BadEndpoint);
        }
        Ok(Endpoint { authority, path: path.trim_end_matches('/').to_owned() })
    }

    /// Reads the URL of one resource, which may have a query and is asked for as it is.
    pub fn resource(url: &str) -> Result<Endpoint, BadEndpoint> {
        let (authority, path) = Authority::split(url)?;
        if path.len() > TARGET_MAX || !path.bytes().all(|b| is_path_byte(b) || b == b'?') {
            return Err(BadEndpoint);
        }
        let root = if path.starts_with('/') { "" } else { "/" };
        Ok(Endpoint { authority, path: format!("{root}{path}") })
    }

    /// The bytes of a request for a resource.
    pub fn request(&self, ask: Ask<'_>) -> Vec<u8> {
        let method = match ask {
            Ask::Get => "GET",
            Ask::Head => "HEAD",
            Ask::Post { .. } => "POST",
        };
        let mut head = format!(
            "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: natter\r\nConnection: close\r\n",
            self.path,
            self.authority.host_and_port()
        );
        let mut content: &[u8] = &[];
        if let Ask::Post { content_type, body } = ask {
            head.push_str(&format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len()));
            content = body;
        }
        head.push_str("\r\n");
        [head.as_bytes(), content].concat()
    }

    /// The bytes of `GET {path}/{segment}`; `bearer` is a token for the Authorization header.
    pub fn get(&self, segment: &str, bearer: Option<&str>) -> Result<Vec<u8>, BadRequest> {
        let segment_ok = !segment.is_empty() && segment.bytes().all(|b| is_path_byte(b) && b != b'/');
        // A token68 (RFC 9110 §11.2): no white space and no line end, so that it cannot begin another header.
        let token_ok = |token: &str| {
            !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b))
        };
        if !segment_ok || !bearer.is_none_or(token_ok) {
            return Err(BadRequest);
        }
        let host = self.authority.host_and_port();
        let mut head = format!("GET {}/{segment} HTTP/1.1\r\nHost: {host}\r\n", self.path);
        if let Some(token) = bearer {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        head.push_str("Accept: application/json\r\nUser-Agent: natter\r\nConnection: close\r\n\r\n");
        Ok(head.into_bytes())
    }
}

/// `pchar` and `/` (RFC 3986 §3.3). A percent sign is accepted without a check.
pub(crate) fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_and_requests() {
        for (url, expect) in [
            ("https://ipinfo.io", Some((true, "ipinfo.io", 443, ""))),
            ("HTTP://127.0.0.1:8080/a/b/", Some((false, "127.0.0.1", 8080, "/a/b"))),
            ("https://[::1]:8443/x", Some((true, "::1", 8443, "/x"))),
            ("ftp://x", None),
            ("ipinfo.io", None),
            ("https://", None),
            ("https://a:", None),
            ("https://a:+1", None),
            ("https://a:0", None),
            ("https://a:70000", None),
            ("https://u@a", None),
            ("https://a/?q", None),
            ("https://a/#f", None),
            ("https://a\r\nX: y/", None),
            ("https://[::1/", None),
            ("https://[x]/", None),
            ("https://a/b c", None),
        ] {
            let got = Endpoint::parse(url).ok();
            let seen = got.as_ref().map(|e| {
                let Authority { tls, host, port } = &e.authority;
                (*tls, host.as_str(), *port, e.path.as_str())
            });
            assert_eq!(seen, expect, "{url}");
        }
        let text = |url: &str, segment: &str, bearer: Option<&str>| {
            let bytes = Endpoint::parse(url).expect("an endpoint").get(segment, bearer).ok();
            bytes.map(|bytes| String::from_utf8(bytes).expect("ASCII"))
        };
        assert_eq!(
            text("http://[::1]:81/v1/", "2001:db8::1", Some("t0ken==")).as_deref(),
            Some(
                "GET /v1/2001:db8::1 HTTP/1.1\r\nHost: [::1]:81\r\nAuthorization: Bearer t0ken==\r\n\
                 Accept: application/json\r\nUser-Agent: natter\r\nConnection: close\r\n\r\n"
            )
        );
        let plain = text("https://ipinfo.io", "8.8.8.8", None).expect("a request");
        assert!(plain.starts_with("GET /8.8.8.8 HTTP/1.1\r\nHost: ipinfo.io\r\nAccept: "));
        for (segment, bearer) in
            [("", None), ("a b", None), ("a/b", None), ("a\r\nX: y", None), ("a?b", None)]
                .into_iter()
                .chain([("a", Some("")), ("a", Some("x y")), ("a", Some("x\r\nX: y")), ("a", Some("\u{e9}"))])
        {
            assert_eq!(text("https://a", segment, bearer), None, "{segment:?} {bearer:?}");
        }
    }

    #[test]
    fn resources_are_asked_for_as_they_are() {
        let text = |url: &str, ask: Ask<'_>| {
            let resource = Endpoint::resource(url).expect("a URL");
            String::from_utf8(resource.request(ask)).expect("ASCII")
        };
        let end = "User-Agent: natter\r\nConnection: close\r\n\r\n";
        assert_eq!(text("https://a", Ask::Get), format!("GET / HTTP/1.1\r\nHost: a\r\n{end}"));
        assert_eq!(
            text("https://[::1]:14000/x/?y=z/", Ask::Head),
            format!("HEAD /x/?y=z/ HTTP/1.1\r\nHost: [::1]:14000\r\n{end}")
        );
        let post = Ask::Post { content_type: "application/jose+json", body: b"{}" };
        assert_eq!(
            text("https://a?b", post),
            "POST /?b HTTP/1.1\r\nHost: a\r\nUser-Agent: natter\r\nConnection: close\r\n\
             Content-Type: application/jose+json\r\nContent-Length: 2\r\n\r\n{}"
        );
        for bad in ["https://a/b c", "https://a/#b", "ftp://a", "https://u@a/", "https://a/\r\nX: y", "/a"] {
            assert_eq!(Endpoint::resource(bad), Err(BadEndpoint), "{bad}");
        }
    }
}
