//! The name of a file: made safe as a path segment, a header field and a file name on a client's disk.
//!
//! Invariant: a cleaned name has 1 to 255 bytes, is not `.`, `..` or `preview`, and cleaning it again changes nothing.

use crate::model::upload::PREVIEW;

/// Bytes of a file's name. A longer name is cut before its extension.
pub(crate) const FILE_NAME_MAX: usize = 255;

/// The name of a file that was sent without one.
const NAMELESS: &str = "file";
/// A longer extension is not kept when a name is cut.
const EXTENSION_MAX: usize = 16;

/// Replaces control characters, separators and marks that change the direction of text (with them `photo.exe.jpg` can
/// be displayed in another order) by `_`. A name that is too long is cut before its extension.
pub fn clean(name: &str) -> String {
    let mut cleaned: String = name.chars().map(|c| if is_unsafe(c) { '_' } else { c }).collect();
    if cleaned.len() > FILE_NAME_MAX {
        let extension = cleaned.rfind('.').map_or(cleaned.len(), |dot| {
            if cleaned.len() - dot <= EXTENSION_MAX { dot } else { cleaned.len() }
        });
        let extension = cleaned.split_off(extension);
        while cleaned.len() > FILE_NAME_MAX - extension.len() {
            cleaned.pop();
        }
        cleaned.push_str(&extension);
    }
    // A path can't have the first three as a segment, and the last one names every preview.
    if ["", ".", "..", PREVIEW].contains(&&*cleaned) { NAMELESS.to_owned() } else { cleaned }
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '/' | '\\' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cleaned_name_is_safe_and_cleaning_it_again_changes_nothing() {
        let long = format!("{}.jpeg", "é".repeat(200));
        let rows = [
            ("a b.png", "a b.png"),
            ("صورة.jpg", "صورة.jpg"),
            ("", "file"),
            (".", "file"),
            ("..", "file"),
            ("preview", "file"),
            ("preview.png", "preview.png"),
            ("...", "..."),
            ("../../etc/passwd", ".._.._etc_passwd"),
            ("C:\\fakepath\\x.gif", "C:_fakepath_x.gif"),
            ("a\0b\r\nc\u{7f}\u{85}", "a_b__c__"),
            ("photo\u{202e}gpj.exe", "photo_gpj.exe"),
            ("a%2f\"b", "a%2f\"b"),
            (&long, &format!("{}.jpeg", "é".repeat(125))),
        ];
        for (name, expect) in rows {
            assert_eq!(clean(name), expect, "{name:?}");
        }
        for name in [&*"x".repeat(300), &format!("a.{}", "y".repeat(300)), &long, &"\u{1f44b}".repeat(90)] {
            let cleaned = clean(name);
            assert!((250..=FILE_NAME_MAX).contains(&cleaned.len()), "{}", cleaned.len());
            assert_eq!(clean(&cleaned), cleaned);
        }
        assert_eq!(clean(&"x".repeat(255)).len(), 255);
    }
}
