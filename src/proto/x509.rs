//! Reads some facts of a certificate: when it is valid, whether it names its servers, and what its authority calls it (RFC 5280 §4.1).
//!
//! Owns no check of a signature, a chain or a name: rustls does those. Invariant: any bytes give an answer or `None`.

use crate::base::time::{UnixS, utc};

/// Tags of DER (X.690 §8.1.2).
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]` and `[3]` of a certificate: its version, its extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `[0]` of an authority key identifier: the identifier of the key.
const KEY_IDENTIFIER: u8 = 0x80;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// The extension subjectAltName, 2.5.29.17, as the content of an object identifier.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// The extension authorityKeyIdentifier, 2.5.29.35.
const AUTHORITY_KEY: &[u8] = &[0x55, 0x1d, 0x23];

/// What this server asks of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Valid from here.
    pub not_before: UnixS,
    /// Valid until here.
    pub not_after: UnixS,
    /// It says for which names it is, as every certificate of a public authority does.
    pub has_names: bool,
    /// The number that its authority gave it, as it is encoded.
    pub serial: Vec<u8>,
    /// Names the key that signed it (§4.2.1.1).
    pub issuer_key: Option<Vec<u8>>,
}

/// Reads a certificate in DER.
///
/// ```
/// use natter::proto::x509::facts;
///
/// let pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/p256.pem"));
/// let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
/// let der = data_encoding::BASE64.decode(base64.as_bytes()).expect("base64");
///
/// let facts = facts(&der).expect("a certificate");
/// assert!(facts.has_names && facts.not_before < facts.not_after);
/// assert_eq!(natter::proto::x509::facts(b"other bytes"), None);
/// ```
pub fn facts(der: &[u8]) -> Option<Facts> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if let Some((_, after)) = element(rest, VERSION) {
        rest = after;
    }
    let (serial, rest) = element(rest, INTEGER)?;
    let (_, rest) = element(rest, SEQUENCE)?; // the algorithm of the signature
    let (_, rest) = element(rest, SEQUENCE)?; // the issuer
    let (validity, mut rest) = element(rest, SEQUENCE)?;
    let (not_before, validity) = time(validity)?;
    let (not_after, _) = time(validity)?;
    let (mut has_names, mut issuer_key) = (false, None);
    while let Some((tag, content, after)) = next(rest) {
        let mut extensions =
            element(content, SEQUENCE).filter(|_| tag == EXTENSIONS).map_or(&[][..], |it| it.0);
        while let Some((extension, others)) = element(extensions, SEQUENCE) {
            extensions = others;
            let Some((kind, value)) = element(extension, OBJECT_IDENTIFIER) else { continue };
            has_names |= kind == SUBJECT_ALT_NAME;
            if kind == AUTHORITY_KEY {
                issuer_key = key_identifier(value);
            }
        }
        rest = after;
    }
    let serial = serial.to_vec();
    Some(Facts { not_before, not_after, has_names, serial, issuer_key })
}

/// Of the value of an authority key identifier, with the flag before it that says whether it is critical.
fn key_identifier(value: &[u8]) -> Option<Vec<u8>> {
    let value = element(value, BOOLEAN).map_or(value, |(_, rest)| rest);
    let (octets, _) = element(value, OCTET_STRING)?;
    let (identifier, _) = element(octets, SEQUENCE)?;
    element(identifier, KEY_IDENTIFIER).map(|(key, _)| key.to_vec())
}

/// The content of the first element, if it has this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    next(bytes).filter(|(found, ..)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// Tag, content and rest of the first element.
fn next(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, bytes) = bytes.split_first()?;
    let (&first, bytes) = bytes.split_first()?;
    let (len, bytes) = match first {
        0..=0x7f => (usize::from(first), bytes),
        // More than three bytes of a length are more than a certificate has.
        0x81..=0x83 => {
            let (digits, bytes) = bytes.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), bytes)
        }
        _ => return None,
    };
    let (content, rest) = bytes.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// A time with a `Z` (RFC 5280 §4.1.2.5): the year has two digits until 2049, and four after it.
fn time(bytes: &[u8]) -> Option<(UnixS, &[u8])> {
    let (tag, content, rest) = next(bytes)?;
    let digits = content.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| digits.iter().fold(0_u32, |n, digit| n * 10 + u32::from(digit - b'0'));
    let (year, digits) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(&digits[..2]);
            (if year < 50 { 2_000 + year } else { 1_900 + year }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let part = |at: usize| number(&digits[at..at + 2]) as u8;
    Some((utc(year, [part(0), part(2), part(4), part(6), part(8)])?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields before the validity, then the two times, then what follows.
    fn certificate(times: &[&[u8]], rest: &[u8]) -> Vec<u8> {
        let mut tbs = wrap(VERSION, &wrap(INTEGER, &[2]));
        tbs.extend(wrap(INTEGER, &[9; 20]));
        tbs.extend(wrap(SEQUENCE, b"algorithm"));
        tbs.extend(wrap(SEQUENCE, &[0; 200]));
        tbs.extend(wrap(SEQUENCE, &times.concat()));
        tbs.extend(wrap(SEQUENCE, b"subject"));
        tbs.extend(rest);
        wrap(SEQUENCE, &wrap(SEQUENCE, &tbs))
    }

    fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
        let len = content.len();
        let head =
            if len < 128 { vec![tag, len as u8] } else { vec![tag, 0x82, (len >> 8) as u8, len as u8] };
        [head, content.to_vec()].concat()
    }

    #[test]
    fn times_of_both_forms() {
        let (utc, long) = (wrap(UTC_TIME, b"200229235959Z"), wrap(GENERALIZED_TIME, b"21200101000000Z"));
        let name = wrap(SEQUENCE, &wrap(OBJECT_IDENTIFIER, SUBJECT_ALT_NAME));
        let key = wrap(OCTET_STRING, &wrap(SEQUENCE, &wrap(KEY_IDENTIFIER, &[7; 20])));
        let issuer = wrap(SEQUENCE, &[wrap(OBJECT_IDENTIFIER, AUTHORITY_KEY), key].concat());
        let names = wrap(EXTENSIONS, &wrap(SEQUENCE, &[issuer, name].concat()));
        let facts = |der: &[u8]| super::facts(der);
        let expect = Facts {
            not_before: UnixS(1_583_020_799),
            not_after: UnixS(4_733_510_400),
            has_names: true,
            serial: vec![9; 20],
            issuer_key: Some(vec![7; 20]),
        };
        assert_eq!(facts(&certificate(&[&utc, &long], &names)), Some(expect.clone()));
        let bare = Facts { has_names: false, issuer_key: None, ..expect };
        assert_eq!(facts(&certificate(&[&utc, &long], b"")), Some(bare));
        let before = wrap(UTC_TIME, b"991231235959Z");
        assert_eq!(
            facts(&certificate(&[&before, &long], b"")).map(|it| it.not_before),
            Some(UnixS(946_684_799))
        );
        for bad in ["2002292359Z", "200230235959Z", "200229245959Z", "200229235959", "2002292359-1Z"] {
            assert_eq!(facts(&certificate(&[&wrap(UTC_TIME, bad.as_bytes()), &long], b"")), None, "{bad}");
        }
    }

    #[test]
    fn any_bytes_give_an_answer() {
        let key = wrap(OCTET_STRING, &wrap(SEQUENCE, &wrap(KEY_IDENTIFIER, &[7; 20])));
        let issuer = wrap(SEQUENCE, &[wrap(OBJECT_IDENTIFIER, AUTHORITY_KEY), key].concat());
        let extensions = wrap(EXTENSIONS, &wrap(SEQUENCE, &issuer));
        let times = [wrap(UTC_TIME, b"200101000000Z"), wrap(UTC_TIME, b"300101000000Z")];
        let whole = certificate(&[&times[0], &times[1]], &extensions);
        for end in 0..whole.len() {
            assert_eq!(facts(&whole[..end]), None);
        }
        for at in 0..whole.len() {
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = whole.clone();
                changed[at] = byte;
                let _ = facts(&changed);
            }
        }
    }
}
