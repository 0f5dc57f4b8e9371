//! Where a request comes from: the address, the device, the language.
//!
//! Invariant: an address in a header counts only when a trusted proxy sent it.

use std::net::IpAddr;

use crate::base::network::Networks;
use crate::model::handler::Client;
use crate::model::settings::Settings;
use crate::proto::http::head::{Head, Headers};
use crate::proto::http::language::{Language, language};

/// Characters kept of a `User-Agent`; the rest is cut.
pub(crate) const USER_AGENT_MAX: usize = 512;

pub fn of(settings: &Settings, peer: IpAddr, head: &Head) -> Client {
    Client {
        address: address(&settings.trusted_proxies, peer, &head.headers),
        user_agent: printable(head.headers.get("user-agent").unwrap_or_default()),
        unique_id: head.headers.get("uniqueid").filter(|id| is_device_id(id)).map(str::to_owned),
        language: language_of(&head.headers),
    }
}

pub fn language_of(headers: &Headers) -> Language {
    language(headers.get("accept-language"))
}

/// 1–128 visible ASCII characters. Anything else names no device, so it matches no bound session.
fn is_device_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| (0x21..0x7f).contains(&b))
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(USER_AGENT_MAX).collect()
}

/// Follows the hops from the peer outwards: each trusted hop names the one before it; the first that is not trusted is the
/// client.
fn address(trusted: &Networks, peer: IpAddr, headers: &Headers) -> IpAddr {
    if !trusted.contains(peer) {
        return peer;
    }
    // A proxy that writes one of the two headers forwards the other one unread, so only one may be used: the older one, which
    // every proxy knows.
    let named: Vec<Option<IpAddr>> = if headers.get("x-forwarded-for").is_some() {
        headers.get_all("x-forwarded-for").flat_map(|value| value.split(',')).map(hop).collect()
    } else {
        headers.get_all("forwarded").flat_map(|value| value.split(',')).map(forwarded_for).collect()
    };
    let mut client = peer;
    for hop in named.into_iter().rev() {
        let Some(hop) = hop else { return client };
        client = hop;
        if !trusted.contains(hop) {
            return client;
        }
    }
    client
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`.
fn hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split(']').next()?.parse().ok().map(|ip: IpAddr| ip.to_canonical());
    }
    let bare = match text.matches(':').count() {
        1 => text.split(':').next()?,
        _ => text,
    };
    bare.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

/// The `for` parameter of one element of `Forwarded` (RFC 7239 §4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| hop(value.trim().trim_matches('"')))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::network::Network;
    use crate::proto::http::head::HeadReader;

    fn check(trusted: &[&str], fields: &str, expect: &str) {
        let trusted =
            Networks::new(trusted.iter().map(|net| Network::parse(net).expect("network")).collect());
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let (head, _) = HeadReader::new().read(text.as_bytes(), 16_384).expect("head").expect("whole");
        let peer = "10.0.0.1".parse().expect("peer");
        assert_eq!(address(&trusted, peer, &head.headers).to_string(), expect, "{fields}");
    }

    #[test]
    fn only_trusted_proxies_speak_for_others() {
        let proxy: &[&str] = &["10.0.0.0/8"];
        check(&[], "X-Forwarded-For: 192.0.2.7\r\n", "10.0.0.1");
        check(proxy, "X-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7");
        check(proxy, "X-Forwarded-For: 1.1.1.1, 192.0.2.7, 10.2.2.2\r\n", "192.0.2.7");
        check(proxy, "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7");
        check(proxy, "X-Forwarded-For: nonsense\r\n", "10.0.0.1");
        check(proxy, "X-Forwarded-For: 1.1.1.1, nonsense, 10.2.2.2\r\n", "10.2.2.2");
        check(proxy, "Forwarded: for=\"[2001:db8::1]:80\";proto=https\r\n", "2001:db8::1");
        check(proxy, "Forwarded: for=1.1.1.1\r\nX-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7");
        check(proxy, "", "10.0.0.1");
    }
}
