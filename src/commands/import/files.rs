//! The files of an export, in the order in which they are read.
//!
//! Owns which files of a folder belong to it. Leaves their lines to the parent.
//! Invariant: a folder is read in the order of its names, so that the same export is always read alike.

use std::fs;
use std::path::PathBuf;

use crate::commands::restoring::text;

/// The files, and those of folders by name.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in fs::read_dir(path).map_err(text(path))? {
            let entry = entry.map_err(text(path))?.path();
            let is_json =
                entry.extension().is_some_and(|end| ["json", "jsonl", "ndjson"].iter().any(|it| end == *it));
            if is_json && entry.is_file() {
                inside.push(entry);
            }
        }
        if inside.is_empty() {
            return Err(format!(
                "{} holds no file whose name ends with .json, .jsonl or .ndjson",
                path.display()
            ));
        }
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}
