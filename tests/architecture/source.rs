//! Reads the sources of the server and finds the paths that each file names, resolved.
//!
//! Owns a lexer for as much Rust as that needs. Owns no rule.
//! Invariant: comments, strings and `#[cfg(test)]` items name nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// One file of `src`.
pub struct Source {
    /// Relative to `src`, as `proto/http/head.rs`.
    pub path: String,
    pub text: String,
    /// Declared under `#[cfg(test)]`.
    pub is_test: bool,
    /// Lines outside of `#[cfg(test)]` items.
    pub code_lines: usize,
    /// Every path in the code, resolved to `crate::…` or to the name of a crate.
    pub paths: Vec<NamedPath>,
    /// Every identifier of the code.
    pub words: BTreeSet<String>,
}

impl Source {
    /// The part of the architecture: the first folder, or the file itself.
    pub fn part(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }
}

pub struct NamedPath {
    pub line: usize,
    segments: Vec<String>,
}

impl NamedPath {
    pub fn segments(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    pub fn text(&self) -> String {
        self.segments.join("::")
    }

    /// Whether this names `prefix` or something in it; a glob names all of it.
    pub fn is_within(&self, prefix: &str) -> bool {
        let prefix: Vec<&str> = prefix.split("::").collect();
        let same = self.segments.iter().zip(&prefix).all(|(own, other)| own == other || own == "*");
        let reaches = self.segments.len() >= prefix.len() || self.segments.last().is_some_and(|s| s == "*");
        same && reaches
    }
}

/// All of `src`, in the order of its paths; read once for all tests.
pub fn sources() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(read_all);
    &SOURCES
}

fn read_all() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    let mut tests = BTreeSet::new();
    let mut all: Vec<Source> = files.iter().map(|file| read(&root, file, &mut tests)).collect();
    for source in &mut all {
        let module = module_of(&source.path);
        source.is_test = tests.iter().any(|test: &Vec<String>| module.starts_with(test));
    }
    assert!(all.len() > 50, "found only {} files in {}", all.len(), root.display());
    all
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

/// `server/conn.rs` is the module server::conn, and so is `server/conn/mod.rs`.
fn module_of(path: &str) -> Vec<String> {
    let mut module: Vec<String> = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

fn read(root: &Path, file: &Path, tests: &mut BTreeSet<Vec<String>>) -> Source {
    let text = std::fs::read_to_string(file).expect("a readable file");
    let path = file.strip_prefix(root).expect("a file of src").to_string_lossy().replace('\\', "/");
    let module = module_of(&path);
    let (tokens, test_lines, test_files) = without_tests(lex(&text));
    for name in test_files {
        tests.insert(module.iter().cloned().chain([name]).collect());
    }
    let words = tokens.iter().filter_map(Token::word).map(str::to_owned).collect();
    let paths = paths(&tokens, &module);
    let code_lines = text.lines().count() - test_lines;
    Source { path, text, is_test: false, code_lines, paths, words }
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Word(String),
    /// `::`
    Sep,
    Mark(char),
}

#[derive(Clone, Debug)]
struct Token {
    line: usize,
    kind: Kind,
}

impl Token {
    fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    fn is(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }
}

fn lex(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut tokens, mut i, mut line) = (Vec::new(), 0, 1);
    while i < chars.len() {
        let start = i;
        let c = chars[i];
        if c.is_alphabetic() || c == '_' {
            while at(i).is_alphanumeric() || at(i) == '_' {
                i += 1;
            }
            let word: String = chars[start..i].iter().collect();
            let is_prefix = ["r", "b", "br", "c", "cr"].contains(&word.as_str());
            if is_prefix
                && (at(i) == '"'
                    || (word.contains('r') && at(i) == '#' && at(i + 1) != '_' && !at(i + 1).is_alphabetic()))
            {
                i = if word.contains('r') { raw_string(&chars, i) } else { string(&chars, i) };
            } else if word == "b" && at(i) == '\'' {
                i = character(&chars, i);
            } else {
                tokens.push(Token { line, kind: Kind::Word(word) });
            }
        } else if c == '/' && at(i + 1) == '/' {
            while i < chars.len() && chars[i] != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            loop {
                match (at(i), at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
                if depth == 0 || i >= chars.len() {
                    break;
                }
            }
        } else if c == '"' {
            i = string(&chars, i);
        } else if c == '\'' {
            // A lifetime is a quote and a word without a closing quote.
            if at(i + 1) != '\\' && at(i + 2) != '\'' { i += 1 } else { i = character(&chars, i) }
        } else if c == ':' && at(i + 1) == ':' {
            tokens.push(Token { line, kind: Kind::Sep });
            i += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push(Token { line, kind: Kind::Mark(c) });
            }
            i += 1;
        }
        line += chars[start..i.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn string(chars: &[char], mut i: usize) -> usize {
    i += 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn character(chars: &[char], mut i: usize) -> usize {
    i += 1;
    while i < chars.len() && chars[i] != '\'' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn raw_string(chars: &[char], mut i: usize) -> usize {
    let start = i;
    while chars[i] == '#' {
        i += 1;
    }
    let hashes = i - start;
    i += 1;
    while i < chars.len() {
        if chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return i + 1 + hashes;
        }
        i += 1;
    }
    i
}

/// The tokens outside of items under `#[cfg(test)]`, the number of lines of these items, and the files they declare.
fn without_tests(tokens: Vec<Token>) -> (Vec<Token>, usize, Vec<String>) {
    let (mut kept, mut lines, mut files) = (Vec::new(), 0, Vec::new());
    let mut i = 0;
    while i < tokens.len() {
        if !is_cfg_test(&tokens[i..]) {
            kept.push(tokens[i].clone());
            i += 1;
            continue;
        }
        let first = tokens[i].line;
        // The attribute has 7 tokens; the item ends with its first `;` or with its block.
        let (mut depth, start) = (0_i32, i + 7);
        i = start;
        while let Some(token) = tokens.get(i) {
            match token.kind {
                Kind::Mark('{' | '(' | '[') => depth += 1,
                Kind::Mark('}' | ')' | ']') => depth -= 1,
                _ => {}
            }
            i += 1;
            let ends = token.is(';') || token.is('}');
            if depth == 0 && ends {
                break;
            }
        }
        lines += tokens[i - 1].line - first + 1;
        let item: Vec<&str> = tokens[start..i].iter().filter_map(Token::word).collect();
        if let (Some(position), true) = (item.iter().position(|word| *word == "mod"), tokens[i - 1].is(';')) {
            files.push(item[position + 1].to_owned());
        }
    }
    (kept, lines, files)
}

fn is_cfg_test(tokens: &[Token]) -> bool {
    let text: Vec<String> = tokens
        .iter()
        .take(7)
        .map(|token| match &token.kind {
            Kind::Word(word) => word.clone(),
            Kind::Sep => "::".to_owned(),
            Kind::Mark(mark) => mark.to_string(),
        })
        .collect();
    text.concat() == "#[cfg(test)]"
}

/// All paths, imports and others, resolved relative to `module`.
fn paths(tokens: &[Token], module: &[String]) -> Vec<NamedPath> {
    let mut found = Vec::new();
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut rest = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let is_use = tokens[i].word() == Some("use") && !tokens.get(i + 1).is_some_and(|token| token.is('<'));
        if is_use {
            let mut leaves = Vec::new();
            i = use_tree(tokens, i + 1, &[], &mut leaves);
            for (line, segments, name) in leaves {
                let segments = resolve(segments, module);
                names.insert(name, segments.clone());
                found.push(NamedPath { line, segments });
            }
        } else {
            rest.push(tokens[i].clone());
            i += 1;
        }
    }
    let mut i = 0;
    while i < rest.len() {
        let begins = rest[i].word().is_some() && !(i > 0 && rest[i - 1].kind == Kind::Sep);
        // `thread_local!` is a path of one segment.
        let is_macro = rest.get(i + 1).is_some_and(|token| token.is('!'));
        let continues = rest.get(i + 1).is_some_and(|token| token.kind == Kind::Sep);
        if !begins || !(continues || is_macro) {
            i += 1;
            continue;
        }
        let line = rest[i].line;
        let mut segments = vec![rest[i].word().unwrap_or_default().to_owned()];
        i += 1;
        while let (Some(Kind::Sep), Some(word)) =
            (rest.get(i).map(|token| &token.kind), rest.get(i + 1).and_then(Token::word))
        {
            segments.push(word.to_owned());
            i += 2;
        }
        let segments = match names.get(&segments[0]) {
            Some(imported) => imported.iter().cloned().chain(segments.into_iter().skip(1)).collect(),
            None => resolve(segments, module),
        };
        found.push(NamedPath { line, segments });
    }
    found
}

type Leaf = (usize, Vec<String>, String);

/// Reads one tree of a `use` into its leaves: the path and the name of each. Returns the index after its end.
fn use_tree(tokens: &[Token], mut i: usize, before: &[String], leaves: &mut Vec<Leaf>) -> usize {
    let mut path = before.to_vec();
    let line = tokens[i].line;
    loop {
        match &tokens[i].kind {
            Kind::Sep => i += 1,
            Kind::Mark('{') => {
                i += 1;
                while !tokens[i].is('}') {
                    i = use_tree(tokens, i, &path, leaves);
                    if tokens[i].is(',') {
                        i += 1;
                    }
                }
                return i + 1;
            }
            Kind::Word(word) if word == "as" => {
                let name = tokens[i + 1].word().unwrap_or_default().to_owned();
                leaves.push((line, path, name));
                return i + 2;
            }
            Kind::Word(word) => {
                // `{self, …}` names the path before the braces.
                if word != "self" || path.is_empty() {
                    path.push(word.clone());
                }
                i += 1;
            }
            Kind::Mark('*') => {
                path.push("*".to_owned());
                i += 1;
            }
            Kind::Mark(_) => {
                let name = path.last().cloned().unwrap_or_default();
                leaves.push((line, path, name));
                return i;
            }
        }
    }
}

/// `super::x` and `self::x` as `crate::…`; `natter::x` of the binary is the crate too.
fn resolve(segments: Vec<String>, module: &[String]) -> Vec<String> {
    let mut at = module.to_vec();
    let mut rest = segments.into_iter().peekable();
    match rest.peek().map(String::as_str) {
        Some("crate" | "natter") => {
            at.clear();
            rest.next();
        }
        Some("self" | "super") => {}
        _ => return rest.collect(),
    }
    while let Some(step) = rest.next_if(|segment| segment == "self" || segment == "super") {
        if step == "super" {
            at.pop();
        }
    }
    std::iter::once("crate".to_owned()).chain(at).chain(rest).collect()
}

#[test]
fn paths_are_found_wherever_they_hide() {
    let text = r##"
        use std::{collections::{self as c, BTreeMap}, time::Instant as Moment};
        use super::super::store::Reader;
        // use mio::Poll;
        fn f<'a>(x: &'a str) -> char { Moment::now(); c::HashMap::new(); let _ = ("mio::Poll", r#"mio::"Poll"#, 'm', '\''); crate::base::x() }
        #[cfg(test)]
        mod tests { use mio::Poll; fn g() { libc::f(); } }
        #[cfg(test)]
        mod samples;
        #[cfg(feature = "tls")]
        use rustls::Stream;
    "##;
    let (tokens, lines, files) = without_tests(lex(text));
    let module = ["server".to_owned(), "conn".to_owned()];
    let found: Vec<String> = paths(&tokens, &module).iter().map(NamedPath::text).collect();
    assert_eq!(
        found,
        [
            "std::collections",
            "std::collections::BTreeMap",
            "std::time::Instant",
            "crate::store::Reader",
            "rustls::Stream",
            "std::time::Instant::now",
            "std::collections::HashMap::new",
            "crate::base::x",
        ]
    );
    assert_eq!((lines, files), (4, vec!["samples".to_owned()]));
    let glob = NamedPath { line: 1, segments: ["std", "collections", "*"].map(str::to_owned).to_vec() };
    assert!(glob.is_within("std::collections::HashMap") && !glob.is_within("std::time::Instant"));
    let short = NamedPath { line: 1, segments: ["std", "collections"].map(str::to_owned).to_vec() };
    assert!(!short.is_within("std::collections::HashMap"));
}
