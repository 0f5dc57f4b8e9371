//! The map in `src/lib.rs`: every file and function that the way of one message names exists, and the glossary is short.
//!
//! Owns how the text of the map is read. Invariant: a function is looked up in the file that is named with it, so a move or
//! a rename of either fails here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Words of the wire between backticks, which look like functions.
const WIRE_WORDS: &[&str] = &[
    "attachments",
    "auth",
    "busy",
    "caught_up",
    "client_id",
    "conversation",
    "error",
    "focus",
    "n",
    "op",
    "re",
    "reply_to",
    "reset",
    "retry",
    "seq",
    "storage_full",
    "to",
    "typing",
    "unavailable",
    "work",
];

/// Terms of the glossary: more than a reader learns in one sitting is a second language.
const TERMS_MAX: usize = 40;

/// The lines of one section of the map, without the comment signs.
fn section(title: &str) -> Vec<String> {
    let map =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).expect("src/lib.rs");
    let heading = format!("# {title}");
    let lines: Vec<String> = map
        .lines()
        .map(|line| line.strip_prefix("//!").unwrap_or("# end of the map").trim().to_owned())
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("# "))
        .collect();
    assert!(!lines.is_empty(), "src/lib.rs has no section {heading:?}");
    lines
}

/// The parts of a text that are between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_file_and_function_of_the_map_exists() {
    let mut files = BTreeMap::new();
    let mut functions = 0;
    let mut faults = Vec::new();
    // A row of the table is one line; a paragraph is several.
    let text = section("The way of one message").join("\n").replace("|\n", "|\n\n");
    for part in text.split("\n\n") {
        for word in quoted(part) {
            let is_function = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            if word.ends_with(".rs") {
                let root = if word.starts_with("tests/") { "" } else { "src" };
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(root).join(word);
                match fs::read_to_string(path) {
                    Ok(source) => drop(files.insert(word.to_owned(), source)),
                    Err(error) => faults.push(format!("{word}: {error}")),
                }
            } else if is_function && !WIRE_WORDS.contains(&word) {
                functions += 1;
                let defines = |file: &str| {
                    let source = files.get(file).map_or("", String::as_str);
                    source.contains(&format!("fn {word}(")) || source.contains(&format!("fn {word}<"))
                };
                // A row names its own file first, and perhaps another one after it.
                let named: Vec<&str> = quoted(part).filter(|word| word.ends_with(".rs")).collect();
                if !named.iter().any(|file| defines(file)) {
                    faults.push(format!("`{word}` is no function of {named:?}"));
                }
            }
        }
    }
    assert!(
        files.len() > 15 && functions > 30,
        "{} files, {functions} functions: is it the map?",
        files.len()
    );
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn the_glossary_is_short_and_names_each_word_once() {
    let rows = section("Words");
    let rows = rows.iter().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()).skip(1);
    let mut terms: Vec<&str> = rows.flat_map(|row| row.split(", ")).collect();
    assert!(terms.len() > 20 && terms.len() <= TERMS_MAX, "{} terms", terms.len());
    terms.sort_unstable();
    let count = terms.len();
    terms.dedup();
    assert_eq!(terms.len(), count, "a word has one meaning");
}
