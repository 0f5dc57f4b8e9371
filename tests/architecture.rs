//! The architecture as a test: which part may import which, which file may name which dependency, and what each may use.
//!
//! Owns the tables. It reads the sources, so that a violation is reported where it is made. Test code is exempt: an item
//! under `#[cfg(test)]`, and a file declared by one, is not read.
//! Invariant: a path is checked by what it resolves to, so a group, an alias or a `super::super` hides nothing.

#[path = "architecture/map.rs"]
mod map;
#[path = "architecture/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::{Source, sources};

/// From the lowest layer up: a part of `src`, and what it may import in addition to itself. Each row may name only rows
/// before it, so imports go strictly downward. The handlers of layer 3 import neither each other, nor storage, nor work.
const LAYERS: &[(&str, &[&str])] = &[
    // Layer 0.
    ("limits", &[]),
    ("base", &["limits"]),
    // Layer 1.
    ("proto", &["limits", "base"]),
    // Layer 2.
    ("model", &["limits", "base", "proto"]),
    // Layer 3: handlers.
    ("auth", &["limits", "base", "proto", "model"]),
    ("messaging", &["limits", "base", "proto", "model"]),
    ("uploads", &["limits", "base", "proto", "model"]),
    ("site", &["limits", "base", "proto", "model"]),
    // Layer 3: the other sides of the two queues.
    ("store", &["limits", "base", "model"]),
    ("work", &["limits", "base", "proto", "model"]),
    // Layer 4.
    ("server", &["limits", "base", "proto", "model", "auth", "messaging", "uploads", "site"]),
    // Layer 5.
    ("runtime", &["limits", "base", "proto", "model", "store", "work", "server"]),
    // The components of a process.
    ("logging", &["limits", "base"]),
    ("config", &["limits", "base", "proto", "model", "logging"]),
    ("cli", &["limits", "base", "config"]),
    (
        "commands",
        &[
            "limits", "base", "proto", "model", "store", "work", "auth", "server", "runtime", "logging",
            "config", "cli",
        ],
    ),
    ("main", &["cli", "commands"]),
];

/// What every part of `server` may import: a connection, the shared state, the contract with the runtime. `conn` and
/// `core` hold the state of the folders, so they name its types, and nothing else of a folder.
const SERVER_BASE: &[&str] =
    &["calls", "clock", "close_reason", "conn", "contract", "core", "crowd", "ended", "turn"];

/// Above them, from the lowest up: a file or folder of `server`, and what it may import in addition to [`SERVER_BASE`] and
/// itself. Each row may name only rows before it. Only `dispatch` knows all kinds of connections.
const SERVER: &[(&str, &[&str])] = &[
    ("request", &[]),
    ("streams", &["request"]),
    ("uploads", &["request"]),
    ("background", &["request"]),
    ("dispatch", &["request", "streams", "uploads", "background"]),
    ("whispers", &["request", "streams"]),
    ("publish", &["streams"]),
    ("reactions", &["streams", "background"]),
    // Parts of the value itself, which they name: see [`SERVER_ITSELF`].
    ("admission", &["request", "streams", "dispatch"]),
    ("answers", &["request", "streams", "background", "dispatch", "publish", "reactions"]),
    // The API documents, written from the table of routes.
    ("schema", &["request"]),
];

/// The files that hold methods of `server::Server`, in addition to `server/mod.rs`.
const SERVER_ITSELF: &[&str] = &["admission", "answers"];

/// One home per dependency: the files or folders of `src` that may name it.
const HOMES: &[(&str, &[&str])] = &[
    ("mio", &["runtime/"]),
    ("tungstenite", &["proto/websocket/"]),
    ("httparse", &["proto/http/"]),
    ("rusqlite", &["store/"]),
    ("ring", &["base/crypto"]),
    ("serde_json", &["base/json.rs"]),
    ("log", &[""]),
    ("simple_logger", &["logging.rs"]),
    ("serde", &[""]),
    ("argon2", &["work/password.rs"]),
    ("data_encoding", &["base/"]),
    ("time", &["base/time.rs"]),
    ("lexopt", &["cli.rs"]),
    ("libc", &["base/no_follow.rs", "runtime/"]),
    ("memchr", &["base/", "proto/"]),
    ("miniz_oxide", &["site/"]),
    ("unicode_normalization", &["base/"]),
    ("unicode_segmentation", &["base/"]),
    ("rustls", &["proto/tls"]),
    ("webpki_roots", &["proto/tls.rs"]),
    ("rcgen", &["proto/acme/certificate.rs"]),
    ("maxminddb", &["work/geolocation.rs"]),
    ("unicode_normalization", &["base/"]),
    ("unicode_segmentation", &["base/"]),
];

/// What only some parts may use, and which parts. `store` and `work` are blocking code on their own threads. Everything
/// else below `runtime` receives its time, its randomness and its bytes, so that one seed gives one run.
const REACHES: &[(&str, &[&str], &[&str])] = &[
    (
        "a socket",
        &[
            "std::net::TcpListener",
            "std::net::TcpStream",
            "std::net::UdpSocket",
            "std::net::ToSocketAddrs",
            "std::os::unix::net",
        ],
        &["work/", "runtime/", "commands/"],
    ),
    ("a thread", &["std::thread", "thread_local"], &["runtime/", "commands/", "logging/", "logging.rs"]),
    ("the monotonic clock", &["std::time::Instant::now"], &["work/", "runtime/", "commands/"]),
    (
        "the calendar clock",
        &["std::time::SystemTime", "std::time::UNIX_EPOCH"],
        &["runtime/", "commands/", "logging.rs"],
    ),
    (
        "the randomness of the system",
        &[
            "crate::base::crypto::SystemEntropy",
            "ring::rand",
            "std::hash::RandomState",
            "std::collections::hash_map",
        ],
        &["base/crypto", "commands/"],
    ),
    // Their order differs from run to run, and an order always shows: in events, answers, evictions.
    ("a map of random order", &["std::collections::HashMap", "std::collections::HashSet"], &[]),
    ("the file system", &["std::fs"], &["store/", "work/", "runtime/", "config/", "commands/", "logging.rs"]),
    (
        "the environment",
        &["std::env"],
        &["config/", "cli.rs", "commands/", "main.rs", "runtime/activation.rs"],
    ),
    ("another process", &["std::process::Command"], &[]),
];

/// Any part may pass on a file that it received. Only the named parts may open one.
const A_HANDLE: &str = "std::fs::File";

/// Lines of a file without its tests. Above this, a file surely has a second reason to change.
const CODE_LINES_MAX: usize = 600;

#[test]
fn imports_go_strictly_downward() {
    let mut known = BTreeSet::new();
    for (part, below) in LAYERS {
        for name in *below {
            assert!(
                known.contains(name),
                "the table itself: `{part}` may import `{name}`, which is not below it"
            );
        }
        known.insert(*part);
    }
    let mut faults = Vec::new();
    for source in code() {
        let part = source.part();
        // lib.rs names every part, and has no code.
        if part == "lib" {
            continue;
        }
        let Some((_, below)) = LAYERS.iter().find(|(name, _)| *name == part) else {
            faults.push(format!("{}: `{part}` has no row in LAYERS", source.path));
            continue;
        };
        for path in &source.paths {
            let ["crate", to, ..] = path.segments()[..] else { continue };
            if to != part && !below.contains(&to) {
                faults.push(format!("{}:{}: `{part}` may not know `{to}`", source.path, path.line));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn imports_inside_the_server_go_one_way() {
    let mut known = BTreeSet::new();
    for (part, below) in SERVER {
        for name in *below {
            assert!(
                known.contains(name),
                "the table itself: `{part}` may import `{name}`, which is not below it"
            );
        }
        known.insert(*part);
    }
    let mut faults = Vec::new();
    for source in code() {
        let Some(inside) = source.path.strip_prefix("server/") else { continue };
        let part = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        // The server as a value is made of all its parts.
        if part == "mod" {
            continue;
        }
        let row = SERVER.iter().find(|(name, _)| *name == part);
        let is_base = SERVER_BASE.contains(&part);
        if row.is_none() && !is_base {
            faults.push(format!("{}: `{part}` is in no table", source.path));
        }
        for path in &source.paths {
            let segments = path.segments();
            let ["crate", "server", to, ..] = segments[..] else { continue };
            // Of a file of the folder, or the folder's own.
            let is_type = |name: &&str| name.starts_with(|first: char| first.is_ascii_uppercase());
            let names_a_type = segments.iter().skip(3).take(2).any(is_type);
            let allowed = to == part
                || SERVER_BASE.contains(&to)
                || to == "Server" && SERVER_ITSELF.contains(&part)
                || row.is_some_and(|(_, below)| below.contains(&to))
                || is_base && names_a_type;
            if !allowed {
                faults.push(format!(
                    "{}:{}: `{part}` may not know `{}`",
                    source.path,
                    path.line,
                    path.text()
                ));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_dependency_has_one_home() {
    let manifest = include_str!("../Cargo.toml");
    let declared: BTreeSet<String> = section(manifest, "[dependencies]")
        .filter_map(|line| Some(line.split_once('=')?.0.trim().replace('-', "_")))
        .collect();
    let mut faults = Vec::new();
    for name in &declared {
        if !HOMES.iter().any(|(home, _)| home == name) {
            faults.push(format!("Cargo.toml: `{name}` has no home"));
        }
    }
    for (name, _) in HOMES {
        if !declared.contains(*name) {
            faults.push(format!("HOMES: `{name}` is no dependency"));
        }
    }
    for source in code() {
        for path in &source.paths {
            let name = path.segments()[0];
            let Some((_, homes)) = HOMES.iter().find(|(home, _)| *home == name) else { continue };
            if !homes.iter().any(|home| source.path.starts_with(home)) {
                faults.push(format!("{}:{}: `{name}` lives in {homes:?}", source.path, path.line));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn nothing_below_the_runtime_uses_the_system() {
    let mut faults = Vec::new();
    for source in code() {
        for path in &source.paths {
            for (what, names, homes) in REACHES {
                let named = names.iter().any(|name| path.is_within(name)) && path.text() != A_HANDLE;
                if named && !homes.iter().any(|home| source.path.starts_with(home)) {
                    faults.push(format!("{}:{}: {what}: `{}`", source.path, path.line, path.text()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_file_says_what_it_owns() {
    let silent: Vec<&str> = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| &*source.path)
        .collect();
    assert!(silent.is_empty(), "no `//!` at the top of {silent:#?}");
}

/// The manifest denies `unsafe`. A file that allows it contains kernel calls that std lacks.
#[test]
fn unsafe_code_has_one_home() {
    const HOME: &str = "runtime/";
    let faults: Vec<&str> = code()
        .filter(|source| source.words.contains("unsafe_code") && !source.path.starts_with(HOME))
        .map(|source| &*source.path)
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(include_str!("../Cargo.toml").contains("unsafe_code = \"deny\""));
}

/// `cargo test --test architecture -- --nocapture` shows the report.
#[test]
fn files_stay_small() {
    let mut by_length: Vec<(usize, &str)> = code().map(|source| (source.code_lines, &*source.path)).collect();
    by_length.sort_unstable_by(|a, b| b.cmp(a));
    let total: usize = by_length.iter().map(|(lines, _)| lines).sum();
    println!("{total} lines in {} files without tests; the longest:", by_length.len());
    for (lines, path) in by_length.iter().take(12) {
        println!("{lines:>5}  {path}");
    }
    let mut by_part: BTreeMap<&str, usize> = BTreeMap::new();
    for (lines, path) in &by_length {
        *by_part.entry(path.split('/').next().unwrap_or(path)).or_default() += lines;
    }
    for (part, lines) in by_part {
        println!("{lines:>5}  {part}");
    }
    let (lines, path) = &by_length[0];
    assert!(*lines <= CODE_LINES_MAX, "{path} has {lines} lines: which is its second reason to change?");
}

/// The sources that are part of the server.
fn code() -> impl Iterator<Item = &'static Source> {
    sources().iter().filter(|source| !source.is_test)
}

/// The lines of one section of a manifest.
fn section<'a>(manifest: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    manifest.lines().skip_while(move |line| *line != name).skip(1).take_while(|line| !line.starts_with('['))
}
