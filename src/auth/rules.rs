//! The syntax of an account's values: e-mail, name, password, device id, nick name.
//!
//! Owns what is well-formed. Leaves to storage whether an address or a nick name is taken.
//! Invariant: a value that passes here is not checked again anywhere.

use super::common_passwords;
use crate::base::crypto::Entropy;
use crate::base::secret::Secret;
use crate::base::text::{PASSWORD_FORM_SHRINKS_MAX, password_form, trim_blanks};
use crate::limits::{DISPLAY_NAME_MAX, NICK_NAME_MAX};
use crate::model::params::{Params, written_name, written_text};
use crate::model::problem::Problem;
use crate::model::profile::RESERVED_NICK_NAMES;

/// Bytes of an e-mail address (RFC 5321 §4.5.3.1.3, without the angle brackets). Above: 422 `invalid_email`.
pub(crate) const EMAIL_BYTES_MAX: usize = 254;
/// The fewest characters of a password: shorter ones are guessed cheaply. Below: 422 `invalid_password`.
pub(crate) const PASSWORD_MIN: usize = 8;
/// The most characters of a password: enough for any phrase. Above: 422 `invalid_password`.
pub(crate) const PASSWORD_MAX: usize = 128;
/// Bytes of a device id. Above: 422 `invalid_unique_id`.
pub(crate) const UNIQUE_ID_MAX: usize = 128;
/// Characters of a nick name, from and to. Any other length: 422 `invalid_nickname`.
pub(crate) const NICK_NAME_MIN: usize = 3;

/// The request's e-mail, in lower case. Blanks around it are removed: phone keyboards add one after a word that they
/// completed.
pub fn email(params: &Params<'_>) -> Result<String, Problem> {
    let text = trim_blanks(params.required_text("email")?);
    if good_email(text) { Ok(text.to_ascii_lowercase()) } else { Err(Problem::invalid("email")) }
}

/// A mailbox of RFC 5321 §4.1.2 without its rare forms: no quoted local part, no address literal, ASCII only. A domain
/// of one label is valid, for mail inside one organisation. Dots may follow each other or end the local part, against
/// §4.1.2: large providers have assigned such addresses, and their holders have no other. The mail quotes them.
fn good_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let atom = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= EMAIL_BYTES_MAX
        && (1..=64).contains(&local.len())
        && !local.starts_with('.')
        && local.bytes().all(|b| b == b'.' || atom(b))
        && domain.split('.').all(label)
}

pub fn display_name(params: &Params<'_>) -> Result<String, Problem> {
    let text = params.required_text("display_name")?;
    if written_name(text, DISPLAY_NAME_MAX) {
        Ok(text.to_owned())
    } else {
        Err(Problem::invalid("display_name"))
    }
}

/// Whether `password` may protect the account of this address and name.
pub fn good_password(password: &str, email: &str, display_name: &str) -> bool {
    if !may_fit(password) {
        return false;
    }
    let password = &*password_form(password);
    let lower = password.to_lowercase();
    let local = email.split('@').next().unwrap_or_default();
    written_text(password, PASSWORD_MAX)
        && password.chars().count() >= PASSWORD_MIN
        && lower != email
        && lower != local
        && lower != password_form(&display_name.to_lowercase())
        && !common_passwords::contains(&lower)
}

/// A password that is to be compared with a stored hash. One that breaks the rules is treated as a wrong one, so that a
/// client does not learn by which rules an old password was made: it becomes the empty text, which no account has.
pub fn presented_password(params: &Params<'_>) -> Result<Secret, Problem> {
    let password = params.required_text("password")?;
    let fits = may_fit(password) && password_form(password).chars().nth(PASSWORD_MAX).is_none();
    Ok(Secret::new(if fits { password } else { "" }.to_owned()))
}

/// Whether the compared form of a password can have a valid length. Checked first, so that no long text is normalised.
fn may_fit(password: &str) -> bool {
    password.chars().nth(PASSWORD_MAX * PASSWORD_FORM_SHRINKS_MAX).is_none()
}

/// The device id a session is to be bound to; empty equals absent.
pub fn unique_id(params: &Params<'_>) -> Result<Option<String>, Problem> {
    match params.text("unique_id")? {
        None | Some("") => Ok(None),
        Some(text) if text.len() <= UNIQUE_ID_MAX && text.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Some(text.to_owned()))
        }
        Some(_) => Err(Problem::invalid("unique_id")),
    }
}

/// 3–25 of `[a-z0-9_.]`, no leading digit, no leading, trailing or double `.` or `_`, and not the name of a fixed path.
pub fn good_nick_name(text: &str) -> bool {
    let mark = |b: u8| b == b'.' || b == b'_';
    let bytes = text.as_bytes();
    (NICK_NAME_MIN..=NICK_NAME_MAX).contains(&bytes.len())
        && bytes.iter().all(|&b| b.is_ascii_lowercase() || b.is_ascii_digit() || mark(b))
        && !bytes[0].is_ascii_digit()
        && !mark(bytes[0])
        && !mark(bytes[bytes.len() - 1])
        && !bytes.windows(2).any(|pair| mark(pair[0]) && mark(pair[1]))
        && RESERVED_NICK_NAMES.binary_search(&text).is_err()
}

/// How many letters a generated nick name takes from the display name: it still fits with the most digits.
const NICK_NAME_BASE_MAX: usize = 16;

/// How many random digits each candidate ends in. With ten thousand people of one name most of the first candidates are
/// taken, but not the last one: nine random digits collide too rarely to matter.
const NICK_NAME_DIGITS: [u32; 5] = [4, 4, 6, 6, 9];

/// Nick names for a new profile, the best first: the display name's letters and random digits.
pub fn nick_names(display_name: &str, entropy: &mut dyn Entropy) -> Vec<String> {
    let base = nick_name_base(display_name);
    NICK_NAME_DIGITS
        .iter()
        .map(|&digits| {
            let number = entropy.below(10u64.pow(digits));
            format!("{base}{number:0width$}", width = digits as usize)
        })
        .collect()
}

/// The ASCII letters and digits of a name, with each run of other characters as one `_`; `user` if that leaves nothing.
fn nick_name_base(display_name: &str) -> String {
    let mut base = String::with_capacity(NICK_NAME_BASE_MAX);
    for c in display_name.chars() {
        if base.len() == NICK_NAME_BASE_MAX {
            break;
        }
        match c.to_ascii_lowercase() {
            c if c.is_ascii_lowercase() => base.push(c),
            c if c.is_ascii_digit() && !base.is_empty() => base.push(c),
            _ if !base.is_empty() && !base.ends_with('_') => base.push('_'),
            _ => {}
        }
    }
    let base = base.trim_end_matches('_');
    if base.is_empty() { "user".to_owned() } else { base.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json;
    use crate::base::testing::Seeded;

    fn with<T>(body: &str, read: impl FnOnce(&Params<'_>) -> T) -> T {
        let value = json::parse(body.as_bytes()).expect("a test's JSON");
        read(&Params::new(&[], &[], value.as_object()))
    }

    fn text(text: &str) -> String {
        json::to_string(text)
    }

    #[test]
    fn e_mails() {
        let check = |email: &str, expect: Option<&str>| {
            let got = with(&format!(r#"{{"email":{}}}"#, text(email)), super::email);
            assert_eq!(got, expect.map(str::to_owned).ok_or(Problem::invalid("email")), "{email:?}");
        };
        // 64 letters before the @, labels of 63 after it.
        let (local, label) = ("l".repeat(64), "d".repeat(63));
        let longest = format!("{local}@{label}.{label}.{}", "d".repeat(61));
        assert_eq!(longest.len(), 254);
        check("ada@example.org", Some("ada@example.org"));
        check("Ada.Lovelace+Chat@Example.ORG", Some("ada.lovelace+chat@example.org"));
        check("ab@x", Some("ab@x"));
        check("o'neil_!#$%&*/=?^`{|}~-@a-b.c1", Some("o'neil_!#$%&*/=?^`{|}~-@a-b.c1"));
        check(&longest, Some(&longest));
        check(&format!(" {longest}\n"), Some(&longest));
        check(&format!("{longest}d"), None);
        check(" Ada@Example.org", Some("ada@example.org"));
        check("ada@example.org \u{200b}", Some("ada@example.org"));
        check("a..b@docomo.example", Some("a..b@docomo.example"));
        check("a.-.@ezweb.example", Some("a.-.@ezweb.example"));
        check("a@b.international", Some("a@b.international"));
        check("a@xn--bcher-kva.example", Some("a@xn--bcher-kva.example"));
        check(&format!("{local}l@x.org"), None);
        check(&format!("a@{label}d.org"), None);
        for bad in [
            "",
            "a",
            "@",
            "a@",
            "@b.org",
            "a@b@c.org",
            "a b@c.org",
            " ",
            "a@b..org",
            "a@.org",
            "a@b.org.",
            ".a@b.org",
            "..@b.org",
            "a@-b.org",
            "a@b-.org",
            "é@b.org",
            "a@é.org",
            "\"a b\"@c.org",
            "a@[127.0.0.1]",
            "a@b.org\r\nBcc: c@d.org",
            "a@b.org\0",
            "a,b@c.org",
            "<a@b.org>",
        ] {
            check(bad, None);
        }
        for body in ["{}", r#"{"email":null}"#, r#"{"email":5}"#, r#"{"email":["a@b.org"]}"#] {
            assert_eq!(with(body, super::email), Err(Problem::invalid("email")), "{body}");
        }
    }

    #[test]
    fn display_names() {
        let check = |name: &str, good: bool| {
            let got = with(&format!(r#"{{"display_name":{}}}"#, text(name)), super::display_name);
            let expect = if good { Ok(name.to_owned()) } else { Err(Problem::invalid("display_name")) };
            assert_eq!(got, expect, "{name:?}");
        };
        check("A", true);
        check(" Ada ", true);
        check(&"é".repeat(64), true);
        check(&"é".repeat(65), false);
        check("", false);
        check(" \t", false);
        check("a\0b", false);
        assert!(with("{}", super::display_name).is_err());
    }

    /// A password must satisfy the rules. The predecessor's pattern could never match and its result was ignored: "a"
    /// was a password.
    #[test]
    fn the_password_rules_are_enforced() {
        let check = |password: &str, good: bool| {
            assert_eq!(
                good_password(password, "ada.lovelace@example.org", "Countess Ada"),
                good,
                "{password:?}"
            );
        };
        check("a", false);
        check("", false);
        check("7 signs", false);
        check("8 signs!", true);
        check("ééééééé", false);
        check("éééééééé", true);
        check(&"x1".repeat(64), true);
        check(&format!("{}x", "x1".repeat(64)), false);
        check(&"é".repeat(128), true);
        check("          ", false);
        check("with\0nul-inside", false);
        check("ada.lovelace@example.org", false);
        check("Ada.Lovelace@Example.org", false);
        check("ADA.lovelace", false);
        check("countess ada", false);
        check("countess ada!", true);
        check("PassWord123", false);
        check("12345678", false);
        check("correct horse battery staple", true);
        // The length is counted in the compared form: seven letters with combining accents are seven.
        check(&"e\u{301}".repeat(7), false);
        check(&"e\u{301}".repeat(128), true);
        check(&"e\u{301}".repeat(129), false);
        check(&"\u{390}".repeat(128), true);
        check("countess\u{a0}ada", false);
        check(&"\u{200b}".repeat(8), false);
    }

    #[test]
    fn presented_passwords_are_checked_in_one_form() {
        let check = |sent: &str, kept: bool| {
            let got = with(&format!(r#"{{"password":{}}}"#, text(sent)), super::presented_password);
            assert_eq!(
                got.map(|secret| secret.expose().clone()),
                Ok(if kept { sent } else { "" }.to_owned()),
                "{sent:?}"
            );
        };
        check("a", true);
        check(&"x".repeat(128), true);
        check(&"x".repeat(129), false);
        check(&"e\u{301}".repeat(128), true);
        check(&"e\u{301}".repeat(129), false);
        check(&"\u{3b9}\u{308}\u{301}".repeat(128), true);
        check(&"\u{301}".repeat(60_000), false);
    }

    #[test]
    fn device_ids() {
        let check = |id: &str, expect: Result<Option<&str>, ()>| {
            let got = with(&format!(r#"{{"unique_id":{}}}"#, text(id)), super::unique_id);
            let expect = expect.map(|id| id.map(str::to_owned)).map_err(|()| Problem::invalid("unique_id"));
            assert_eq!(got, expect, "{id:?}");
        };
        let longest = "~".repeat(128);
        check("", Ok(None));
        check("!", Ok(Some("!")));
        check(&longest, Ok(Some(&longest)));
        check(&"x".repeat(129), Err(()));
        check("a b", Err(()));
        check("é", Err(()));
        check("a\u{7f}", Err(()));
        assert_eq!(with("{}", super::unique_id), Ok(None));
        assert_eq!(with(r#"{"unique_id":null}"#, super::unique_id), Ok(None));
        assert_eq!(with(r#"{"unique_id":7}"#, super::unique_id), Err(Problem::invalid("unique_id")));
    }

    #[test]
    fn nick_name_syntax() {
        assert!(
            RESERVED_NICK_NAMES.windows(2).all(|pair| pair[0] < pair[1]),
            "the look-up needs a sorted list"
        );
        let longest = "a".repeat(25);
        for good in ["abc", "a1_b.c", "ada.lovelace", "a_b_c", longest.as_str()] {
            assert!(good_nick_name(good), "{good}");
        }
        let long = "a".repeat(26);
        for bad in [
            "", "ab", &long, "1abc", "_abc", ".abc", "abc_", "abc.", "a__b", "a..b", "a._b", "Abc", "a b",
            "é12", "a-b", "a/b", "messages", "user", "events", "healthz", "docs", "all", "reports", "a\0b",
        ] {
            assert!(!good_nick_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_generated_nick_name_is_valid() {
        let check = |name: &str, base: &str| {
            let names = nick_names(name, &mut Seeded(3));
            for (nick, digits) in names.iter().zip(NICK_NAME_DIGITS) {
                assert!(good_nick_name(nick), "{nick}");
                let (front, back) = nick.split_at(nick.len() - digits as usize);
                assert_eq!(front, base, "{name:?}");
                assert!(back.bytes().all(|b| b.is_ascii_digit()), "{nick}");
            }
            assert_eq!(names.len(), NICK_NAME_DIGITS.len());
        };
        check("Ada Lovelace", "ada_lovelace");
        check("  -- Ada -- ", "ada");
        check("3rd Eye 2", "rd_eye_2");
        check("آدا", "user");
        check("Zoë", "zo");
        check("a", "a");
        check("42", "user");
        check("user", "user");
        check("An extraordinarily long name of many words", "an_extraordinari");
        check("Fifteen letters x", "fifteen_letters");
    }

    /// A generated nick name ends in random digits. The predecessor made the suffix from the time: two sign-ups at once
    /// always collided, and a local part of 54 letters panicked.
    #[test]
    fn nick_names_of_two_sign_ups_at_once_differ() {
        let mut entropy = Seeded(5);
        let first = nick_names("ab", &mut entropy);
        let second = nick_names("ab", &mut entropy);
        assert!(first.iter().all(|nick| !second.contains(nick)));
        assert!(nick_names(&"x".repeat(54), &mut entropy).iter().all(|nick| good_nick_name(nick)));
    }
}
