//! Writes a mail of plain text as bytes (RFC 5322, RFC 2045, RFC 2047).
//!
//! Invariant: no subject and no name can begin or end a header: control characters are removed, and everything except plain
//! ASCII is encoded.

use crate::base::crypto::base64;
use crate::base::time::{UnixMs, mail_date};

/// Characters of a subject or a name in a mail's head. A longer one is cut.
const MAIL_HEADER_TEXT_MAX: usize = 512;
/// Bytes of a mail line (RFC 5322 §2.1.1). A longer one is wrapped.
const MAIL_LINE_MAX: usize = 998;

/// An e-mail address as a command and a header name it: ASCII, a local part of at most 64 bytes, `@`, and a domain; 254
/// bytes in all (RFC 5321 §4.5.3.1.3 less the brackets). The local part is a dot-atom (RFC 5322 §3.2.3), or is quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAddress;

/// An address, and the display name before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    pub name: String,
    pub address: Address,
}

/// A mail before it is bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub from: Mailbox,
    pub to: Mailbox,
    pub subject: String,
    /// With any line ends. Control characters except TAB are left out.
    pub body: String,
    pub date_ms: UnixMs,
    /// Without angle brackets, as `01J…@host`. It is the same for every attempt to send one mail.
    pub message_id: String,
}

/// What the transport can carry: it decides how a body with characters outside ASCII is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    EightBit,
    SevenBit,
}

impl Address {
    pub fn parse(text: &str) -> Result<Address, BadAddress> {
        let (local, domain) = text.rsplit_once('@').ok_or(BadAddress)?;
        // RFC 5321 §4.1.2 does not allow these dots, but such addresses exist. They are written with quotes.
        let good_local = (1..=64).contains(&local.len())
            && !local.starts_with('.')
            && local.bytes().all(|byte| byte == b'.' || is_atom_byte(byte));
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let good = text.len() <= 254 && good_local && domain.split('.').all(label);
        if !good {
            return Err(BadAddress);
        }
        let is_dot_atom = local.split('.').all(|atom| !atom.is_empty());
        Ok(Address(if is_dot_atom { text.to_owned() } else { format!("\"{local}\"@{domain}") }))
    }

    /// As written in an envelope and in a header: a local part that is not a dot-atom is quoted (RFC 5321 §4.1.2, RFC 5322
    /// §3.4.1).
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Mailbox {
    /// `Name <address>`, `"Name" <address>`, `<address>` or the bare address.
    pub fn parse(text: &str) -> Result<Mailbox, BadAddress> {
        let text = text.trim();
        let Some(inner) = text.strip_suffix('>') else {
            return Ok(Mailbox { name: String::new(), address: Address::parse(text)? });
        };
        let (name, address) = inner.rsplit_once('<').ok_or(BadAddress)?;
        let name = name.trim();
        let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
        Ok(Mailbox { name: name.to_owned(), address: Address::parse(address)? })
    }
}

fn is_atom_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

/// The complete mail: lines end with CRLF, and no line is longer than RFC 5322 allows.
pub fn compose(mail: &Mail, transport: Transport) -> Vec<u8> {
    let lines = body_lines(&mail.body);
    let (encoding, body) = match transport {
        _ if lines.is_ascii() => ("7bit", lines),
        Transport::EightBit => ("8bit", lines),
        Transport::SevenBit => ("base64", base64_lines(&body_text(&mail.body))),
    };
    let mut out = String::with_capacity(512 + body.len());
    put_mailbox(&mut out, "From", &mail.from);
    put_mailbox(&mut out, "To", &mail.to);
    put_text(&mut out, "Subject", &mail.subject);
    out.push_str(&format!("Date: {}\r\n", mail_date(mail.date_ms)));
    let is_id_byte = |c: &char| c.is_ascii_alphanumeric() || "@.-_+".contains(*c);
    let id: String = mail.message_id.chars().filter(is_id_byte).take(MAIL_HEADER_TEXT_MAX).collect();
    out.push_str(&format!("Message-ID: <{id}>\r\n"));
    // Prevents automatic replies (RFC 3834 §5).
    out.push_str("Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n");
    out.push_str("Content-Type: text/plain; charset=utf-8\r\n");
    out.push_str(&format!("Content-Transfer-Encoding: {encoding}\r\n\r\n"));
    out.push_str(&body);
    out.into_bytes()
}

/// The mail as an entry of an mbox file (RFC 4155, with the reversible quoting of `>From`), to append to the file. Any mail
/// program can read it.
pub fn mbox_entry(mail: &Mail) -> Vec<u8> {
    // Converts `Sun, 22 Nov 2026 13:03:54 +0000` to the order of asctime.
    let date = mail_date(mail.date_ms);
    let pieces: Vec<&str> = date.split([',', ' ']).filter(|piece| !piece.is_empty()).collect();
    let asctime = match pieces[..] {
        [weekday, day, month, year, time, ..] => {
            format!("{weekday} {month} {:>2} {time} {year}", day.trim_start_matches('0'))
        }
        _ => date.clone(),
    };
    let mut out = format!("From {} {asctime}\n", mail.from.address.0).into_bytes();
    for line in compose(mail, Transport::EightBit).split_inclusive(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        let quoted =
            line.iter().position(|&byte| byte != b'>').is_some_and(|at| line[at..].starts_with(b"From "));
        if quoted {
            out.push(b'>');
        }
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
    out
}

/// The body in lines of any length that end with CRLF.
fn body_text(body: &str) -> String {
    let body = body.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(body.len() + 64);
    for line in body.strip_suffix('\n').unwrap_or(&body).split('\n') {
        out.extend(line.chars().filter(|&c| c == '\t' || !c.is_control()));
        out.push_str("\r\n");
    }
    out
}

/// [`body_text`] in lines of at most MAIL_LINE_MAX bytes, broken after a space if there is one.
fn body_lines(body: &str) -> String {
    let text = body_text(body);
    let mut out = String::with_capacity(text.len() + 64);
    for mut line in text.split_terminator("\r\n") {
        while line.len() > MAIL_LINE_MAX {
            let hard = (0..=MAIL_LINE_MAX).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
            let cut = line[..hard].rfind(' ').map_or(hard, |space| space + 1);
            let (front, rest) = line.split_at(cut);
            out.push_str(front);
            out.push_str("\r\n");
            line = rest;
        }
        out.push_str(line);
        out.push_str("\r\n");
    }
    out
}

fn base64_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3 / 2);
    for line in text.as_bytes().chunks(57) {
        out.push_str(&base64(line));
        out.push_str("\r\n");
    }
    out
}

/// The longest line of a header with encoded words (RFC 2047 §2). natter uses it for every line of a header.
const HEADER_LINE_MAX: usize = 76;
/// An encoded word without its text.
const WORD_FRAME: usize = "=?utf-8?B?".len() + "?=".len();

fn put_text(out: &mut String, name: &str, text: &str) {
    let text = clean(text);
    out.push_str(name);
    out.push_str(": ");
    let plain = is_plain(&text) && name.len() + 2 + text.len() <= HEADER_LINE_MAX;
    if plain {
        out.push_str(&text);
    } else {
        put_words(out, name.len() + 2, &text);
    }
    out.push_str("\r\n");
}

fn put_mailbox(out: &mut String, name: &str, mailbox: &Mailbox) {
    let shown = clean(&mailbox.name);
    out.push_str(name);
    out.push_str(": ");
    if !shown.is_empty() {
        let quoted = format!("\"{}\"", shown.replace('\\', "\\\\").replace('"', "\\\""));
        if is_plain(&shown) && name.len() + 2 + quoted.len() <= HEADER_LINE_MAX {
            out.push_str(&quoted);
        } else {
            put_words(out, name.len() + 2, &shown);
        }
        // The address gets its own line, so that no line is too long.
        out.push_str("\r\n ");
    }
    out.push_str(&format!("<{}>\r\n", mailbox.address.0));
}

/// One line of printable text.
fn clean(text: &str) -> String {
    let printable: String = text.chars().filter(|c| !c.is_control()).take(MAIL_HEADER_TEXT_MAX).collect();
    printable.trim().to_owned()
}

/// Whether a text needs no encoding and cannot be read as an encoded word.
fn is_plain(text: &str) -> bool {
    text.is_ascii() && !text.contains("=?")
}

/// Appends encoded words (RFC 2047), each of complete characters, folded; `used` bytes of the first line are occupied.
fn put_words(out: &mut String, used: usize, text: &str) {
    let mut room = HEADER_LINE_MAX - used;
    let mut rest = text;
    while !rest.is_empty() {
        let bytes = (room - WORD_FRAME) / 4 * 3;
        let cut = (0..=bytes.min(rest.len())).rev().find(|&at| rest.is_char_boundary(at)).unwrap_or(0);
        let (front, tail) = rest.split_at(cut);
        out.push_str("=?utf-8?B?");
        out.push_str(&base64(front.as_bytes()));
        out.push_str("?=");
        rest = tail;
        if !rest.is_empty() {
            out.push_str("\r\n ");
        }
        room = HEADER_LINE_MAX - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mail(subject: &str, body: &str) -> Mail {
        Mail {
            from: Mailbox::parse("natter <chat@example.org>").expect("a mailbox"),
            to: Mailbox::parse("ada@example.net").expect("a mailbox"),
            subject: subject.to_owned(),
            body: body.to_owned(),
            date_ms: UnixMs(1_795_352_634_120),
            message_id: "01JD@example.org".to_owned(),
        }
    }

    fn text(mail: &Mail, transport: Transport) -> String {
        String::from_utf8(compose(mail, transport)).expect("UTF-8")
    }

    /// Decodes encoded words as a mail program does.
    fn decode(header: &str) -> String {
        let words =
            header.split("\r\n ").map(|word| word.trim_start_matches("=?utf-8?B?").trim_end_matches("?="));
        let bytes = words.flat_map(|word| {
            let url = word.replace('+', "-").replace('/', "_");
            crate::base::crypto::base64url_decode(url.trim_end_matches('=')).expect("base64")
        });
        String::from_utf8(bytes.collect()).expect("UTF-8")
    }

    #[test]
    fn a_mail_byte_for_byte() {
        assert_eq!(
            text(&mail("Your code", "Hello\nit is 123456"), Transport::SevenBit),
            "From: \"natter\"\r\n <chat@example.org>\r\nTo: <ada@example.net>\r\nSubject: Your code\r\n\
             Date: Sun, 22 Nov 2026 13:03:54 +0000\r\nMessage-ID: <01JD@example.org>\r\n\
             Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
             Hello\r\nit is 123456\r\n"
        );
    }

    #[test]
    fn bodies() {
        let arabic = "\u{0631}\u{0645}\u{0632}";
        let body_of = |mail: &Mail, transport| {
            let bytes = text(mail, transport);
            let (head, body) = bytes.split_once("\r\n\r\n").expect("a head");
            (head.rsplit_once(": ").expect("an encoding").1.to_owned(), body.to_owned())
        };
        let check = |body: &str, transport, encoding: &str, expect: &str| {
            let got = body_of(&mail("s", body), transport);
            assert_eq!(got, (encoding.to_owned(), expect.to_owned()));
        };
        check("a\rb\r\nc\n\nd", Transport::EightBit, "7bit", "a\r\nb\r\nc\r\n\r\nd\r\n");
        check("\0a\x1b\tb\x7f", Transport::EightBit, "7bit", "a\tb\r\n");
        check("", Transport::EightBit, "7bit", "\r\n");
        check(arabic, Transport::EightBit, "8bit", &format!("{arabic}\r\n"));
        check(arabic, Transport::SevenBit, "base64", "2LHZhdiyDQo=\r\n");
        let full = "x".repeat(MAIL_LINE_MAX);
        check(&full, Transport::EightBit, "7bit", &format!("{full}\r\n"));
        check(&format!("{full}y"), Transport::EightBit, "7bit", &format!("{full}\r\ny\r\n"));
        let words = "word ".repeat(199) + "longer";
        check(&words, Transport::EightBit, "7bit", &format!("{}\r\nlonger\r\n", "word ".repeat(199)));
    }

    #[test]
    fn a_subject_outside_ascii_is_encoded_and_folded() {
        let long = "\u{0631}\u{0645}\u{0632} \u{1f44b}".repeat(20);
        for subject in [long.as_str(), "=?utf-8?B?eA==?=", &"x".repeat(80), "caf\u{e9}"] {
            let bytes = text(&mail(subject, "b"), Transport::SevenBit);
            let (_, rest) = bytes.split_once("Subject: ").expect("a subject");
            let (header, _) = rest.split_once("\r\nDate: ").expect("a date");
            assert_eq!(decode(header), subject);
            assert!(bytes.is_ascii() && bytes.lines().all(|line| line.len() <= HEADER_LINE_MAX), "{bytes}");
        }
    }

    #[test]
    fn nothing_injects_a_header() {
        let mut evil = mail("x\r\nBcc: all@example.org\r\n\r\nbody\0", "b");
        evil.from.name = "a\"\r\nBcc: x <y@z>\\".to_owned();
        evil.to.name = "\u{85}\u{2028}\r\n.\r\nQUIT".to_owned();
        evil.message_id = "a>\r\nBcc: <b@c".to_owned();
        let bytes = text(&evil, Transport::EightBit);
        let (head, body) = bytes.split_once("\r\n\r\n").expect("a head");
        assert_eq!(body, "b\r\n");
        assert_eq!(head.matches("\r\n").count(), 10, "{head}");
        assert!(
            !head.contains("\r\nBcc") && head.contains("From: \"a\\\"Bcc: x <y@z>\\\\\"\r\n <chat@"),
            "{head}"
        );
        assert!(head.contains("Message-ID: <aBccb@c>\r\n"));
    }

    #[test]
    fn mailboxes() {
        let long_local = "a".repeat(64);
        let longest = format!("{long_local}@{}.{}.{}", "b".repeat(63), "c".repeat(63), "d".repeat(61));
        for (text, expect) in [
            ("a@b", Some(("", "a@b"))),
            (" a.b+c@example.org ", Some(("", "a.b+c@example.org"))),
            ("<a@b>", Some(("", "a@b"))),
            ("Natter Chat <a@b.c>", Some(("Natter Chat", "a@b.c"))),
            ("\"N, C\" <a@b.c>", Some(("N, C", "a@b.c"))),
            (&longest, Some(("", longest.as_str()))),
            (&format!("{longest}d"), None),
            (&format!("a{long_local}@b"), None),
            ("", None),
            ("a", None),
            ("@b", None),
            ("a@", None),
            ("a@b@c", None),
            ("a..b@c", Some(("", "\"a..b\"@c"))),
            ("N <a.@c>", Some(("N", "\"a.\"@c"))),
            (".a@c", None),
            ("a@-b", None),
            ("a@b..c", None),
            ("a@b.", None),
            ("a b@c", None),
            ("a@b c", None),
            ("a\r\n@b", None),
            ("a@b>\r\nRCPT TO:<c@d", None),
            ("\u{e9}@b", None),
            ("x <a@b", None),
            ("x a@b>", None),
            ("x <a@b> y", None),
        ] {
            let got = Mailbox::parse(text);
            let seen = got.as_ref().ok().map(|mailbox| (mailbox.name.as_str(), mailbox.address.as_str()));
            assert_eq!(seen, expect, "{text:?}");
        }
    }

    #[test]
    fn an_mbox_entry_byte_for_byte() {
        let mut mail = mail("s", "From here\n>From there\nFromage\n> From\n>>From x");
        mail.date_ms = UnixMs(1_793_538_234_120);
        let entry = String::from_utf8(mbox_entry(&mail)).expect("UTF-8");
        assert!(
            entry.starts_with("From chat@example.org Sun Nov  1 13:03:54 2026\nFrom: \"natter\"\n <chat@"),
            "{entry}"
        );
        assert!(entry.ends_with("\n\n>From here\n>>From there\nFromage\n> From\n>>>From x\n\n"), "{entry}");
        assert!(!entry.contains('\r'));
    }

    proptest! {
        #[test]
        fn every_mail_is_well_formed(name in any::<String>(), subject in any::<String>(), body in any::<String>(), id in any::<String>()) {
            let mut mail = mail(&subject, &body);
            mail.from.name = name;
            mail.message_id = id;
            for transport in [Transport::EightBit, Transport::SevenBit] {
                let bytes = compose(&mail, transport);
                let bytes = std::str::from_utf8(&bytes).expect("UTF-8");
                let (head, _) = bytes.split_once("\r\n\r\n").expect("a head");
                prop_assert!(head.is_ascii());
                prop_assert!(bytes.ends_with("\r\n") && !bytes.replace("\r\n", "").contains(['\r', '\n', '\0']));
                prop_assert!(bytes.lines().all(|line| line.len() <= MAIL_LINE_MAX));
                let names: Vec<&str> = head.split("\r\n").filter(|line| !line.starts_with(' '))
                    .filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect();
                prop_assert_eq!(names, ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted",
                    "MIME-Version", "Content-Type", "Content-Transfer-Encoding"]);
            }
        }
    }
}
