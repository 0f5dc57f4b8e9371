//! Properties of text: the form in which a password is compared, and whether a text is visible.
//!
//! Owns the tables of Unicode properties that these need and that no dependency has. Leaves to each field which texts it
//! accepts and how long they may be. Invariant: nothing here depends on a language or a locale.

use std::borrow::Cow;

use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// If [`password_form`] of a text has `n` characters, the text has at most `n` times this many: no character of Unicode has a
/// longer canonical decomposition, and each space is one character.
pub const PASSWORD_FORM_SHRINKS_MAX: usize = 4;

/// The form in which a password is compared and hashed: the OpaqueString profile of RFC 8265 §4.2. Spaces outside ASCII become
/// the ASCII space, then comes Normalization Form C; case and width stay. The function is idempotent.
///
/// One device sends `é` as one character, another as `e` and an accent: both must be the same password.
pub fn password_form(password: &str) -> Cow<'_, str> {
    if password.is_ascii() {
        return Cow::Borrowed(password);
    }
    if !password.contains(is_other_space) && is_nfc_quick(password.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(password);
    }
    Cow::Owned(password.chars().map(|c| if is_other_space(c) { ' ' } else { c }).nfc().collect())
}

/// General_Category Space_Separator (Zs) without U+0020, from UnicodeData.txt 17.0.
fn is_other_space(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// Whether a text is visible: at least one character is not a space, not a control, not a mark without a letter, and not a
/// character that fonts draw as nothing.
pub fn shows_something(text: &str) -> bool {
    text.chars().any(|c| c.is_ascii_graphic() || (!c.is_ascii() && is_drawn(c)))
}

fn is_drawn(c: char) -> bool {
    !(c.is_whitespace()
        || c.is_control()
        || is_default_ignorable(c)
        || is_blank(c)
        // A mark is visible only on a letter.
        || is_combining_mark(c))
}

/// Default_Ignorable_Code_Point of DerivedCoreProperties.txt 17.0, with unassigned code points: characters that fonts draw as
/// nothing. Joiners, variation selectors, tags, bidi controls, the soft hyphen and the Hangul fillers are among them.
pub fn is_default_ignorable(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Characters that are drawn as nothing although no property says so: the interlinear annotation characters, the empty Braille
/// pattern, the null note head of music, and the format controls of Egyptian hieroglyphs.
fn is_blank(c: char) -> bool {
    matches!(c, '\u{2800}' | '\u{fff9}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}' | '\u{1d159}')
}

/// Whether a text stays on one line and does not change the text around it: it has no control, no line or paragraph separator,
/// and no character of Bidi_Control (PropList.txt 17.0), which could reverse the words after a name.
pub fn is_one_line(text: &str) -> bool {
    !text.chars().any(|c| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}')
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

/// Removes invisible characters at both ends, which a keyboard or a copied page may add.
pub fn trim_blanks(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || is_default_ignorable(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_one_form() {
        for (sent, form) in [
            ("", ""),
            ("plain  ASCII ", "plain  ASCII "),
            ("Pa\u{308}sswo\u{308}rd", "P\u{e4}ssw\u{f6}rd"),
            ("P\u{e4}ssw\u{f6}rd", "P\u{e4}ssw\u{f6}rd"),
            ("a\u{a0}b\u{3000}c\u{2003}d", "a b c d"),
            // Canonical only: width, ligatures and case stay.
            ("\u{ff21}\u{fb01}\u{131}", "\u{ff21}\u{fb01}\u{131}"),
            ("\u{1100}\u{1161}\u{11a8}", "\u{ac01}"),
            ("\u{212b}", "\u{c5}"),
            ("q\u{323}\u{307}", "q\u{323}\u{307}"),
            ("q\u{307}\u{323}", "q\u{323}\u{307}"),
        ] {
            assert_eq!(password_form(sent), form, "{sent:?}");
            assert_eq!(password_form(form), form, "{form:?} twice");
        }
    }

    #[test]
    fn no_character_decomposes_into_more() {
        let longest = ('\0'..=char::MAX).map(|c| std::iter::once(c).nfd().count()).max();
        assert_eq!(longest, Some(PASSWORD_FORM_SHRINKS_MAX));
    }

    #[test]
    fn what_shows_nothing() {
        for text in [
            "",
            " \t\n",
            "\u{a0}\u{3000}",
            "\u{200b}\u{200b}",
            "\u{200c}",
            "\u{200d}",
            "\u{2060}",
            "\u{3164}",
            "\u{ffa0}",
            "\u{115f}\u{1160}",
            "\u{2800}",
            "\u{200e}",
            "\u{200f}",
            "\u{ad}",
            "\u{feff}",
            "\u{180e}",
            "\u{e0020}\u{e007f}",
            "\u{2062}",
            "\u{fe0f}",
            "\u{e0100}",
            "\u{301}",
            "\u{301}\u{20dd}\u{93e}",
            "\u{34f}",
            "\u{202e}",
            "\u{7}\u{85}",
            "\u{1d159}",
            "\u{16fe4}",
            "\u{fff9}",
            "\u{17b4}",
            "\u{2028}",
        ] {
            assert!(!shows_something(text), "{text:?}");
        }
        for text in [
            "a",
            ".",
            "\u{e9}",
            "e\u{301}",
            "\u{5d0}",
            "\u{200b}a",
            "\u{1f44d}",
            "\u{2764}\u{fe0f}",
            "\u{600}",
            "\u{915}\u{93e}",
            "\u{2801}",
            "\u{3131}",
            "\u{ac00}",
            "\u{4e00}",
            "\u{b7}",
            "\u{e01}\u{e34}",
        ] {
            assert!(shows_something(text), "{text:?}");
        }
    }

    #[test]
    fn names_stay_on_their_line() {
        for text in [
            "a\nb",
            "a\rb",
            "a\u{b}b",
            "a\u{85}b",
            "a\u{2028}b",
            "a\tb",
            "a\u{1b}[31m",
            "\u{202e}nimda",
            "\u{2067}x",
            "a\u{200f}",
            "\u{61c}a",
        ] {
            assert!(!is_one_line(text), "{text:?}");
        }
        for text in [
            "a b",
            "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
            "\u{1f468}\u{200d}\u{1f469}",
            "a\u{a0}b",
        ] {
            assert!(is_one_line(text), "{text:?}");
        }
    }

    #[test]
    fn blanks_at_the_ends() {
        for sent in
            ["a@b", " a@b ", "a@b\n", "\u{feff}a@b\u{200b}", "\u{a0}\ta@b\u{3000}", "\u{2068}a@b\u{2069}"]
        {
            assert_eq!(trim_blanks(sent), "a@b", "{sent:?}");
        }
        assert_eq!(trim_blanks(" \u{200b} "), "");
    }
}
