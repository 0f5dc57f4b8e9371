//! Reads the text of a `.env` file.
//!
//! Owns its grammar. It interpolates no variable, runs no command and reads nothing else: `pa$x` stays `pa$x` (the common crate
//! turns it into `pa`, which silently changes a password).
//! Invariant: a problem names the number of the line and never a value, since the value may be a secret.
//!
//! ```text
//! line     = blank | comment | ["export" blank+] name blank* "=" blank* value blank* [comment]
//! value    = 'as written' | "with \n \r \t \\ \" \$" | bare text, up to a blank followed by #, or to the end
//! ```

/// One assignment, in the order of the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub value: String,
    /// Counted from 1.
    pub line: usize,
}

/// A line that is not an assignment.
#[derive(Debug, PartialEq, Eq)]
pub struct BadLine {
    pub line: usize,
    pub problem: &'static str,
}

/// All assignments and all bad lines, so that a file with three mistakes reports all three at once.
pub fn parse(text: &str) -> (Vec<Entry>, Vec<BadLine>) {
    let (mut entries, mut bad) = (Vec::new(), Vec::new());
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, content) in text.split('\n').enumerate() {
        let line = index + 1;
        let content = content.strip_suffix('\r').unwrap_or(content);
        match assignment(content) {
            Ok(Some((name, value))) => entries.push(Entry { name: name.to_owned(), value, line }),
            Ok(None) => {}
            Err(problem) => bad.push(BadLine { line, problem }),
        }
    }
    (entries, bad)
}

fn assignment(line: &str) -> Result<Option<(&str, String)>, &'static str> {
    let line = line.trim_start_matches(BLANK);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if line.contains(|c: char| c.is_control() && c != '\t') {
        return Err("has a control character");
    }
    let (left, right) = line.split_once('=').ok_or("is not NAME=value")?;
    let left = left.trim_end_matches(BLANK);
    let name = match left.strip_prefix("export") {
        Some(rest) if rest.starts_with(BLANK) => rest.trim_start_matches(BLANK),
        _ => left,
    };
    if !is_name(name) {
        return Err("has a name that is not made of letters, digits and _");
    }
    // The blanks before a bare value are kept until its comment is found: `A= # why` is an empty value and `A=#x` is `#x`, as
    // in a shell.
    let value = match right.trim_start_matches(BLANK).as_bytes().first() {
        Some(b'\'') => single_quoted(right.trim_start_matches(BLANK))?,
        Some(b'"') => double_quoted(right.trim_start_matches(BLANK))?,
        _ => bare(right).to_owned(),
    };
    Ok(Some((name, value)))
}

const BLANK: [char; 2] = [' ', '\t'];

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn bare(text: &str) -> &str {
    let comment = text
        .char_indices()
        .find(|&(at, c)| c == '#' && text[..at].ends_with(BLANK))
        .map_or(text.len(), |(at, _)| at);
    text[..comment].trim_matches(BLANK)
}

fn single_quoted(text: &str) -> Result<String, &'static str> {
    let (value, rest) = text[1..].split_once('\'').ok_or("opens a ' that the line does not close")?;
    ends(rest)?;
    Ok(value.to_owned())
}

fn double_quoted(text: &str) -> Result<String, &'static str> {
    let mut value = String::new();
    let mut chars = text[1..].chars();
    loop {
        match chars.next().ok_or("opens a \" that the line does not close")? {
            '"' => break,
            '\\' => match chars.next().ok_or("opens a \" that the line does not close")? {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                c @ ('\\' | '"' | '$') => value.push(c),
                c => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
    ends(chars.as_str())?;
    Ok(value)
}

/// Only a comment may follow a closing quote: `"a"b` is a mistake, and a guess would change a secret.
fn ends(rest: &str) -> Result<(), &'static str> {
    let comment = rest.trim_start_matches(BLANK);
    match comment.is_empty() || (comment.starts_with('#') && comment.len() < rest.len()) {
        true => Ok(()),
        false => Err("continues after its closing quote"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[(&str, &str)]) {
        let (entries, bad) = parse(text);
        let seen: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.value.as_str())).collect();
        assert_eq!(seen, expect, "{text:?}");
        assert_eq!(bad, [], "{text:?}");
    }

    #[track_caller]
    fn check_bad(text: &str, line: usize, problem: &str) {
        let (entries, bad) = parse(text);
        assert_eq!(entries, [], "{text:?}");
        assert_eq!(bad.len(), 1, "{text:?}");
        assert_eq!(bad[0].line, line, "{text:?}");
        assert!(bad[0].problem.contains(problem), "{text:?}: {}", bad[0].problem);
    }

    #[test]
    fn values_are_kept_as_written() {
        check("", &[]);
        check("A=b", &[("A", "b")]);
        check("A=b\nC=d\n", &[("A", "b"), ("C", "d")]);
        check("A=b\r\nC=d\r\n", &[("A", "b"), ("C", "d")]);
        check("\u{feff}A=b", &[("A", "b")]);
        check("P=pa$x", &[("P", "pa$x")]);
        check("P=\"pa$x\"", &[("P", "pa$x")]);
        check("P=${HOME}`id`", &[("P", "${HOME}`id`")]);
        check("P=a=b==", &[("P", "a=b==")]);
        check("P=", &[("P", "")]);
        check("P=''", &[("P", "")]);
        check("P=a b  c", &[("P", "a b  c")]);
        check("P=سلام", &[("P", "سلام")]);
        check("A=1\nA=2", &[("A", "1"), ("A", "2")]);
    }

    #[test]
    fn names_and_blanks() {
        check("  A = b  ", &[("A", "b")]);
        check("\tA\t=\tb\t", &[("A", "b")]);
        check("export A=b", &[("A", "b")]);
        check("export\tA=b", &[("A", "b")]);
        check("export=b", &[("export", "b")]);
        check("export =b", &[("export", "b")]);
        check("exported=b", &[("exported", "b")]);
        check("_a1=b", &[("_a1", "b")]);
    }

    #[test]
    fn a_hash_opens_a_comment_only_after_a_blank() {
        check("# A=b\n  # c\n\n \nD=e", &[("D", "e")]);
        check("A=b # c", &[("A", "b")]);
        check("A=b\t#c", &[("A", "b")]);
        check("A=b#c", &[("A", "b#c")]);
        check("A=#c", &[("A", "#c")]);
        check("A= # c", &[("A", "")]);
        check("A='b # c' # d", &[("A", "b # c")]);
        check("A=\"b # c\" # d", &[("A", "b # c")]);
    }

    #[test]
    fn quotes() {
        check(r"A='a\nb'", &[("A", r"a\nb")]);
        check(r#"A="a\nb\t\\\"\$\x""#, &[("A", "a\nb\t\\\"$\\x")]);
        check("A=' b '", &[("A", " b ")]);
        check("A=it's", &[("A", "it's")]);
        check(r"A=a\b", &[("A", r"a\b")]);
    }

    #[test]
    fn bad_lines_show_their_number_and_not_their_value() {
        check_bad("A", 1, "NAME=value");
        check_bad("\n\nhunter2", 3, "NAME=value");
        check_bad("=b", 1, "name");
        check_bad("1A=b", 1, "name");
        check_bad("A-B=c", 1, "name");
        check_bad("A B=c", 1, "name");
        check_bad("A='b", 1, "does not close");
        check_bad("A=\"b", 1, "does not close");
        check_bad("A=\"b\\", 1, "does not close");
        check_bad("A='b'c", 1, "closing quote");
        check_bad("A=\"b\"#c", 1, "closing quote");
        check_bad("A=b\0", 1, "control");
        check_bad("A=b\rC=d", 1, "control");
        let (entries, bad) = parse("A\nB=1\n'");
        assert_eq!((entries.len(), bad.len()), (1, 2));
    }
}
