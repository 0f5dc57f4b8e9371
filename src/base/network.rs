//! Sets of IP addresses, for TRUSTED_PROXIES, and the nested prefixes that count the requests of an address.
//!
//! Owns their text form and whether an address belongs to a set; makes no system call. Invariant: an IPv4 address and its
//! IPv6-mapped form (`::ffff:a.b.c.d`, which a dual-stack socket reports) are one address everywhere.

use std::net::IpAddr;

/// A set of networks. No address belongs to an empty set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

/// The addresses whose first `prefix` bits equal those of `address`. The other bits of `address` are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Networks {
    pub fn new(networks: Vec<Network>) -> Networks {
        Networks(networks)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }
}

impl Network {
    /// Reads `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7` or `::1`. The error is a phrase that follows the value in a sentence.
    pub fn parse(text: &str) -> Result<Network, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| "is not an IP address or network".to_owned())?;
        let width = width(address);
        let prefix = match prefix {
            None => width,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|prefix| *prefix <= width)
                .ok_or_else(|| format!("has a prefix that is not 0 to {width}"))?,
            Some(_) => return Err(format!("has a prefix that is not 0 to {width}")),
        };
        let network = Network { address: masked(address, prefix), prefix };
        if network.address != address {
            // `10.0.0.7/8` may mean one proxy or sixteen million, so it is an error: trust is not guessed.
            return Err(format!(
                "has bits set after its prefix; the network is {}/{prefix}",
                network.address
            ));
        }
        Ok(network.canonical())
    }

    fn contains(&self, address: IpAddr) -> bool {
        width(address) == width(self.address) && masked(address, self.prefix) == self.address
    }

    /// A network inside `::ffff:0:0/96` becomes the IPv4 network that it maps.
    fn canonical(self) -> Network {
        match self.address.to_canonical() {
            address @ IpAddr::V4(_) if self.address.is_ipv6() && self.prefix >= 96 => {
                Network { address, prefix: self.prefix - 96 }
            }
            _ => self,
        }
    }
}

/// A prefix that is counted as one: that of a subscriber, or a larger one around it. A larger network has many prefixes of
/// subscribers, so in addition to the bound of one there is a greater bound for the prefixes around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    bits: u128,
    /// 0 to 128: an IPv4 address is counted in its mapped form.
    len: u8,
}

impl Prefix {
    /// The prefixes of an address, innermost first: /64, /56 and /48 for IPv6 (the usual sizes for one subscriber, a home and a
    /// site, RFC 6177); the address and the /24 for IPv4.
    pub fn around(address: IpAddr) -> impl DoubleEndedIterator<Item = Prefix> {
        let (bits, lens): (u128, &'static [u8]) = match address.to_canonical() {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped().to_bits(), &[128, 120]),
            IpAddr::V6(v6) => (v6.to_bits(), &[64, 56, 48]),
        };
        lens.iter()
            .map(move |&len| Prefix { bits: bits & !(u128::MAX.checked_shr(len.into()).unwrap_or(0)), len })
    }

    /// The prefix of the subscriber.
    pub fn innermost(address: IpAddr) -> Prefix {
        Prefix::around(address).next().unwrap_or(Prefix { bits: 0, len: 0 })
    }

    /// The largest prefix around an address.
    pub fn outermost(address: IpAddr) -> Prefix {
        Prefix::around(address).next_back().unwrap_or(Prefix { bits: 0, len: 0 })
    }

    /// The networks with which a connection takes turns, the outermost first: the /16 and the /24 for IPv4, the /32 (what a
    /// registry gives one operator) and the /48 for IPv6. Thousands of networks of one operator are one share.
    pub fn networks(address: IpAddr) -> [Prefix; 2] {
        let (bits, len): (u128, u8) = match address.to_canonical() {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped().to_bits(), 112),
            IpAddr::V6(v6) => (v6.to_bits(), 32),
        };
        [Prefix { bits: bits & !(u128::MAX >> len), len }, Prefix::outermost(address)]
    }

    /// Its size class: 0 for that of a subscriber, 1 for a /56, 2 for a /48 or the /24 of IPv4.
    pub fn width(self) -> usize {
        match self.len {
            56 => 1,
            48 | 120 => 2,
            _ => 0,
        }
    }
}

/// Whether an address is one host on the public internet: not this host, not a private network, not a test range.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            // RFC 6890 and its successors, in the order of the addresses.
            !(a == 0
                || v4.is_private()
                || (a == 100 && (64..128).contains(&b))
                || v4.is_loopback()
                || v4.is_link_local()
                || (a == 192 && b == 0 && c == 0)
                || v4.is_documentation()
                || (a == 198 && (b == 18 || b == 19))
                || a >= 224)
        }
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            // Global unicast is 2000::/3. It contains the documentation ranges and ranges that are not addresses of hosts.
            a & 0xe000 == 0x2000
                && !(a == 0x2001 && b == 0x0db8)
                && !(a == 0x2001 && b < 0x0200)
                && a != 0x3fff
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: &str, address: &str, expect: bool) {
        let networks = Networks::new(vec![Network::parse(network).expect(network)]);
        let seen = networks.contains(address.parse().expect(address));
        assert_eq!(seen, expect, "{address} in {network}");
    }

    #[track_caller]
    fn check_bad(network: &str, problem: &str) {
        let seen = Network::parse(network).expect_err(network);
        assert!(seen.contains(problem), "{network}: {seen}");
    }

    #[test]
    fn membership() {
        check("10.0.0.0/8", "10.255.255.255", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        check("10.0.0.0/8", "::ffff:10.1.2.3", true);
        check("10.0.0.0/8", "::10.1.2.3", false);
        check("192.0.2.7", "192.0.2.7", true);
        check("192.0.2.7", "192.0.2.6", false);
        check("192.0.2.6/31", "192.0.2.7", true);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("::/0", "2001:db8::1", true);
        check("::/0", "203.0.113.9", false);
        check("2001:db8::/32", "2001:db8:ffff::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        check("::1", "::1", true);
        check("::ffff:10.0.0.0/104", "10.9.9.9", true);
        check("::ffff:192.0.2.7", "192.0.2.7", true);
        check("::ffff:0:0/96", "203.0.113.9", true);
        assert!(!Networks::default().contains("127.0.0.1".parse().expect("an address")));
    }

    #[test]
    fn an_address_is_counted_by_its_nested_prefixes() {
        let around = |text: &str| Prefix::around(text.parse().expect("an address")).collect::<Vec<_>>();
        let same =
            |a: &str, b: &str| around(a).iter().zip(around(b)).map(|(a, b)| *a == b).collect::<Vec<_>>();
        assert_eq!(same("2001:db8::1", "2001:db8::ffff:0:0:1"), [true; 3]);
        assert_eq!(same("2001:db8:0:1::1", "2001:db8:0:ff::1"), [false, true, true]);
        assert_eq!(same("2001:db8:0:1::1", "2001:db8:0:100::1"), [false, false, true]);
        assert_eq!(same("2001:db8::1", "2001:db8:1::1"), [false; 3]);
        assert_eq!(same("192.0.2.1", "::ffff:192.0.2.1"), [true; 2]);
        assert_eq!(same("192.0.2.1", "192.0.2.255"), [false, true]);
        assert_eq!(same("192.0.2.1", "192.0.3.1"), [false; 2]);
        let widths = |text: &str| around(text).into_iter().map(Prefix::width).collect::<Vec<_>>();
        assert_eq!((widths("::1"), widths("10.0.0.1")), (vec![0, 1, 2], vec![0, 2]));
    }

    #[test]
    fn an_address_takes_turns_with_its_networks() {
        let networks = |text: &str| Prefix::networks(text.parse().expect("an address"));
        let same = |a: &str, b: &str| [0, 1].map(|at| networks(a)[at] == networks(b)[at]);
        assert_eq!(same("192.0.2.1", "::ffff:192.0.2.9"), [true, true]);
        assert_eq!(same("192.0.2.1", "192.0.3.1"), [true, false]);
        assert_eq!(same("192.0.2.1", "192.1.2.1"), [false, false]);
        assert_eq!(same("2001:db8::1", "2001:db8:0:ffff::1"), [true, true]);
        assert_eq!(same("2001:db8::1", "2001:db8:1::1"), [true, false]);
        assert_eq!(same("2001:db8::1", "2001:db9::1"), [false, false]);
    }

    #[test]
    fn refused_texts() {
        check_bad("", "not an IP address");
        check_bad("proxy", "not an IP address");
        check_bad("10.0.0.0/8/8", "prefix");
        check_bad("10.0.0.0/33", "0 to 32");
        check_bad("::/129", "0 to 128");
        check_bad("10.0.0.0/+8", "0 to 32");
        check_bad("10.0.0.0/", "0 to 32");
        check_bad("010.0.0.0/8", "not an IP address");
        check_bad("10.0.0.7/8", "the network is 10.0.0.0/8");
        check_bad("2001:db8::1/32", "the network is 2001:db8::/32");
    }
}
