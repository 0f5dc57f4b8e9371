//! The client's modules that need no browser: their own tests in Node, and the form of every module.
//!
//! Without a Node of version 20.6 or later the first test says so and passes; with `NATTER_REQUIRE_NODE=1` it fails.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const COLUMNS_MAX: usize = 120;
/// The first that can be told which files are modules.
const NODE_MIN: (u32, u32) = (20, 6);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a folder with one of these endings.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path, endings));
        } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Whether there is a Node that can run the tests.
fn has_node() -> bool {
    let Ok(output) = Command::new("node").arg("--version").output() else { return false };
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.trim().trim_start_matches('v').split('.').map_while(|part| part.parse().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= NODE_MIN
}

#[test]
fn the_tests_of_the_modules_pass_in_node() {
    if !has_node() {
        let required = std::env::var_os("NATTER_REQUIRE_NODE").is_some_and(|value| value == "1");
        assert!(!required, "NATTER_REQUIRE_NODE=1, and no Node of version 20.6 or later was found");
        // Written past the capture of the test's output: a skipped test must not look like one that ran.
        let word = "client: SKIPPED, no Node of version 20.6 or later was found\n";
        std::io::stderr().write_all(word.as_bytes()).expect("stderr");
        return;
    }
    let tests = files(&root().join("tests/client"), &[".test.mjs"]);
    assert!(tests.len() > 3, "{tests:?}");
    let output = Command::new("node")
        .args(["--import", "./tests/client/modules.mjs", "--test"])
        .args(&tests)
        .current_dir(root())
        .env_remove("NODE_OPTIONS")
        .output()
        .expect("node starts");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{errors}");
    println!("{said}");
}

#[test]
fn a_module_has_a_check_of_its_types_and_no_line_over_120_columns() {
    let modules = files(&root().join("src/site/client"), &[".js"]);
    assert!(modules.len() > 40, "{} modules", modules.len());
    for path in &modules {
        let text = std::fs::read_to_string(path).expect("a module");
        assert!(text.starts_with("// @ts-check\n"), "{}: no // @ts-check", path.display());
        for (at, line) in text.lines().enumerate() {
            assert!(line.chars().count() <= COLUMNS_MAX, "{}:{}: {line}", path.display(), at + 1);
        }
    }
}
