//! The names that a text addresses with `@`, such as `@ann`.
//!
//! Owns what counts as such a name, and what is an e-mail address, a URL or code instead. Leaves to storage whose name it is.
//! Invariant: one pass over the text after its code was found, and at most as many names as the caller asks for.

use std::ops::Range;

use unicode_normalization::char::is_combining_mark;

use super::words::is_unspaced;
use crate::limits::NICK_NAME_MAX;

/// Bytes of the shortest name: that of the shortest nick name, and `all`.
pub const NAME_MIN: usize = 3;
/// Spaces before a fence; more make it a part of the text (CommonMark §4.5).
const FENCE_INDENT_MAX: usize = 3;
/// The fewest backticks of a fence.
const FENCE_MIN: usize = 3;

/// The different names of a text, in lower case and in the order of their first use; at most `names_max`.
///
/// A name is the complete run of `[A-Za-z0-9_.]` after the `@`, without dots and underscores at its end, so that `@bobby` is never
/// `@bob`. There is none in an e-mail address (`a@b.c`: a letter, a digit or a mark belongs to the same word before the `@`), in a
/// URL, in code between backticks, and before a letter that no name has (`@bobé`). Scripts that write no spaces between words may
/// stand on both sides of it (`请@bob看`), and one Arabic or Hebrew letter, a prefix such as "and", before it (`و@bob`).
pub fn names(text: &str, names_max: usize) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    if !text.contains('@') {
        return names;
    }
    let mut code = code(text).into_iter().peekable();
    let mut before = Before::default();
    for (at, c) in text.char_indices() {
        while code.next_if(|code| code.end <= at).is_some() {}
        if code.peek().is_some_and(|code| code.start <= at) {
            before = Before::default();
            continue;
        }
        if c == '@' && before.ends_here() {
            let name = name(&text[at + 1..]);
            if let Some(name) = name.filter(|name| !names.contains(name)) {
                if names.len() == names_max {
                    break;
                }
                names.push(name);
            }
        }
        before.take(c);
    }
    names
}

/// What of the current word precedes a character.
#[derive(Default)]
struct Before {
    /// Letters and digits of the run that would be the first part of an e-mail address.
    letters: u32,
    /// The run is one letter that may be a prefix of the next word.
    is_prefix: bool,
    /// Of the `://` that makes the rest of a word a URL.
    scheme: u8,
}

impl Before {
    /// Whether a name may begin after this.
    fn ends_here(&self) -> bool {
        (self.letters == 0 || self.letters == 1 && self.is_prefix) && self.scheme < 3
    }

    fn take(&mut self, c: char) {
        self.scheme = match (self.scheme, c) {
            (3, c) if !c.is_whitespace() => 3,
            (0, ':') => 1,
            (1, '/') => 2,
            (2, '/') => 3,
            _ => 0,
        };
        if is_word(c) {
            // Hebrew and Arabic write "and", "to" and "in" as one letter of the next word.
            self.is_prefix = self.letters == 0 && matches!(c, '\u{5d0}'..='\u{5ea}' | '\u{620}'..='\u{64a}');
            self.letters += 1;
        } else if c == '@' {
            // Also the part after an `@` is no first part of another name.
            (self.letters, self.is_prefix) = (1, false);
        } else if !is_combining_mark(c) && !is_address_mark(c) {
            (self.letters, self.is_prefix) = (0, false);
        } else if is_address_mark(c) {
            self.is_prefix = false;
        }
    }
}

/// A letter or digit of a script with spaces between words.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() && !is_unspaced(c)
}

/// What RFC 5321 §4.1.2 allows before the `@` besides letters and digits.
fn is_address_mark(c: char) -> bool {
    "!#$%&'*+-/=?^_`{|}~.".contains(c)
}

/// The name at the beginning of a text, if it is one.
fn name(text: &str) -> Option<String> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')).unwrap_or(text.len());
    if text[end..].chars().next().is_some_and(|c| is_word(c) || is_combining_mark(c) || c == '@') {
        return None;
    }
    let name = text[..end].trim_end_matches(['.', '_']);
    (NAME_MIN..=NICK_NAME_MAX).contains(&name.len()).then(|| name.to_ascii_lowercase())
}

// ---- code ----------------------------------------------------------------------------------------

/// The parts of a text that are code, in their order: fenced lines (CommonMark §4.5), and between them spans (§6.1).
fn code(text: &str) -> Vec<Range<usize>> {
    let mut code = Vec::new();
    if !text.contains('`') {
        return code;
    }
    let (mut open, mut plain, mut at) = (None::<(usize, usize)>, 0, 0);
    for line in text.split_inclusive('\n') {
        let next = at + line.len();
        match (open, fence(line)) {
            (None, Some((length, _))) => {
                spans(text, plain..at, &mut code);
                open = Some((at, length));
            }
            (Some((start, opened)), Some((length, true))) if length >= opened => {
                code.push(start..next);
                (open, plain) = (None, next);
            }
            _ => {}
        }
        at = next;
    }
    match open {
        // A fence that is not closed reaches to the end.
        Some((start, _)) => code.push(start..text.len()),
        None => spans(text, plain..text.len(), &mut code),
    }
    code
}

/// The number of backticks of a fence, and whether it may close one: nothing follows them.
fn fence(line: &str) -> Option<(usize, bool)> {
    let rest = line.trim_start_matches(' ');
    let info = rest.trim_start_matches('`');
    let (indent, length) = (line.len() - rest.len(), rest.len() - info.len());
    (indent <= FENCE_INDENT_MAX && length >= FENCE_MIN && !info.contains('`'))
        .then(|| (length, info.trim().is_empty()))
}

/// Adds the spans: from a run of backticks to the next run of as many. A run without such a next one is text, and as many lengths
/// of runs as can do so need more characters than a message has: the search is short.
fn spans(text: &str, part: Range<usize>, code: &mut Vec<Range<usize>>) {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (offset, _) in text[part.clone()].match_indices('`') {
        let at = part.start + offset;
        match runs.last_mut() {
            Some(run) if run.end == at => run.end += 1,
            _ => runs.push(at..at + 1),
        }
    }
    let mut index = 0;
    while let Some(run) = runs.get(index) {
        let closing = runs[index + 1..].iter().position(|other| other.len() == run.len());
        index += match closing {
            Some(offset) => {
                code.push(run.start..runs[index + 1 + offset].end);
                offset + 2
            }
            None => 1,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_a_name() {
        let rows: &[(&str, &[&str])] = &[
            ("@bob", &["bob"]),
            ("hi @Bob, and @ann.", &["bob", "ann"]),
            ("@bob @BOB @bob", &["bob"]),
            ("@ada.lovelace: @a_b_c!", &["ada.lovelace", "a_b_c"]),
            ("(@bob) \"@ann\" ،@cat", &["bob", "ann", "cat"]),
            ("*@bob* _@ann_ **@cat**", &["bob", "ann", "cat"]),
            ("@bob... @ann_", &["bob", "ann"]),
            ("@bob's @ann-like", &["bob", "ann"]),
            ("@all", &["all"]),
            // A longer name is another one.
            ("@bobby @bob_2", &["bobby", "bob_2"]),
            ("@bob.ann", &["bob.ann"]),
            // No name has so few or so many characters.
            ("@ab @", &[]),
            ("@abcdefghijklmnopqrstuvwxy", &["abcdefghijklmnopqrstuvwxy"]),
            ("@abcdefghijklmnopqrstuvwxyz", &[]),
            // E-mail addresses, also with marks and of other scripts.
            ("a@bob.example", &[]),
            ("a.b+c@bob a_@bob a-@bob", &[]),
            ("é@bob josé@bob мир@bob e\u{301}@bob", &[]),
            ("محمد@bob", &[]),
            ("@bob@example.org", &[]),
            ("@@bob bob@@ann", &[]),
            ("1@bob", &[]),
            // URLs.
            ("https://x.org/@bob", &[]),
            ("https://x.org/(@bob", &[]),
            ("ftp://u:@bob", &[]),
            ("https://x.org/a @bob", &["bob"]),
            ("see:@bob ://", &["bob"]),
            // Letters that no name has.
            ("@bobé @bobe\u{301} @bobмир", &[]),
            ("@bo\u{200b}b", &[]),
            // No spaces between words, and prefixes of one letter.
            ("请@bob看 @ann你好", &["bob", "ann"]),
            ("و@bob ל@ann", &["bob", "ann"]),
            ("وا@bob و.@ann", &[]),
            // Code.
            ("`@bob` @ann", &["ann"]),
            ("`` `@bob` `` @ann `", &["ann"]),
            ("`@bob", &["bob"]),
            ("``@bob`", &["bob"]),
            ("a\n```\n@bob\n```\n@ann", &["ann"]),
            ("```rust\n@bob\n``\n@cat", &[]),
            ("````\n```\n@bob\n````\n@ann", &["ann"]),
            ("    ```\n@bob", &["bob"]),
            ("```a`b\n@bob", &["bob"]),
            ("`a`@bob", &["bob"]),
        ];
        for (text, expected) in rows {
            assert_eq!(names(text, 64), *expected, "{text:?}");
        }
    }

    #[test]
    fn so_many_names_and_no_more() {
        let text: String = (100..200).map(|n| format!("@n{n} @n100 ")).collect();
        assert_eq!(names(&text, 64).len(), 64);
        assert_eq!(names(&text, 100).len(), 100);
        assert_eq!(names(&text, 101).len(), 100);
        assert!(names(&text, 0).is_empty());
    }

    proptest! {
        #[test]
        fn each_name_is_in_the_text_and_any_text_is_read(text in "[@`a-c./:_ \n\u{301}é你و]{0,60}") {
            for name in names(&text, 8) {
                let written = format!("@{name}");
                prop_assert!(text.to_ascii_lowercase().contains(&written));
            }
        }
    }
}
