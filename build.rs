//! Puts the web client and the API documents into the binary, as a table of Rust in `OUT_DIR/client.rs`.
//!
//! The table has the files of `src/site/client`, the modules joined into scripts as `bundle.rs` says; the page of `/docs`, which is `protocol.md`, the README's tour and `reference.md` as
//! HTML; and the two documents for machines without their white space. Each is stored as gzip alone, with a strong entity tag.
//!
//! Owns gzip and the hash of tags and version; changes what a file says only where it names others, whose paths get the
//! client's version, and leaves out comments.
//! Invariant: the same files make the same table, wherever and whenever it is built.

#[path = "src/site/bundle.rs"]
mod bundle;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

const CLIENT: &str = "src/site/client";
/// The files that name others.
const INDEX: &str = "index.html";
const MANIFEST: &str = "manifest.webmanifest";
/// The modules that run, in the page and in its worker; the others are joined with them.
const ENTRY: &str = "app.js";
const WORKER: &str = "worker.js";
const PROTOCOL: &str = "src/site/protocol.md";
const REFERENCE: &str = "src/site/reference.md";
const README: &str = "README.md";
const DOCS_CSS: &str = "src/site/docs.css";
/// The name in the table, and the file.
const DOCUMENTS: [(&str, &str); 2] = [("OPENAPI", "openapi.json"), ("ASYNCAPI", "asyncapi.json")];
/// Options of the linker for a smaller binary. Packed relative relocations (DT_RELR: binutils 2.38 or LLD 15, and glibc 2.36) take two bits of
/// the file for most pointers instead of 24 bytes. LLD keeps one of the functions that have the same code, such as those of a generic type
/// for two types of the same form; no code here compares the addresses of functions.
const SMALLER: [&str; 2] = ["-Wl,-z,pack-relative-relocs", "-Wl,--icf=all"];
const TOUR: &str = "## A two-minute tour";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/site/bundle.rs");
    println!("cargo::rerun-if-changed={CLIENT}");
    for file in [PROTOCOL, REFERENCE, README, DOCS_CSS] {
        println!("cargo::rerun-if-changed={file}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names OUT_DIR"));
    let mut files = Vec::new();
    gather(Path::new(CLIENT), "", &mut files);
    let languages = languages(&files);
    let mut files = join_modules(files);
    let version = version(&files);
    let versioned = format!("/client/{version}/");
    let mut rows = String::new();
    for (path, bytes) in &mut files {
        if [INDEX, MANIFEST, WORKER].contains(&path.as_str()) {
            let text = std::str::from_utf8(bytes).expect("a text is UTF-8");
            let quotes = ['"', '\''].map(|quote| (format!("{quote}/client/"), format!("{quote}{versioned}")));
            let text = quotes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
            *bytes = text.replace("name=\"languages\" content=\"\"", &languages).into_bytes();
        } else if path.ends_with(".css") {
            *bytes = without_comments(bytes);
        }
        writeln!(rows, "    {},", row(&out, path, bytes)).expect("a String takes text");
    }
    let count = files.len();
    let mut table =
        format!("const VERSION: &str = \"{version}\";\n\nstatic FILES: [File; {count}] = [\n{rows}];\n");
    let css = fs::read_to_string(DOCS_CSS).expect("the style of /docs");
    let text = |path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let readme = text(README);
    let tour = readme
        .split_once(TOUR)
        .and_then(|(_, rest)| rest.split("\n## ").next())
        .expect("the README has a tour");
    let page = docs(&format!("{}\n{TOUR}{tour}\n{}", text(PROTOCOL), text(REFERENCE)), &css);
    writeln!(table, "\nstatic DOCS: File = {};", row(&out, "docs.html", page.as_bytes()))
        .expect("a String takes text");
    for (name, file) in DOCUMENTS {
        let path = format!("src/site/{file}");
        println!("cargo::rerun-if-changed={path}");
        let bytes = without_white_space(&fs::read(&path).expect("a document"));
        writeln!(table, "\nstatic {name}: File = {};", row(&out, file, &bytes)).expect("a String takes text");
    }
    fs::write(out.join("client.rs"), table).expect("OUT_DIR can be written");
    for option in SMALLER.into_iter().filter(|option| links_with(&out, option)) {
        println!("cargo::rustc-link-arg-bins={option}");
    }
}

/// Whether the linker and the C library of this machine know an option of [`SMALLER`]. A program is linked and run to find out; where
/// that fails, the binary is linked without the option. musl is left out: its static programs relocate themselves, in old versions without
/// packed relocations.
fn links_with(out: &Path, option: &str) -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|it| it == value);
    let is_native = env::var_os("HOST") == env::var_os("TARGET");
    let is_glibc = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if !(is_native && is_glibc && is("PROFILE", "release")) {
        return false;
    }
    let (source, program) = (out.join("linked.rs"), out.join("linked"));
    fs::write(&source, "fn main() {}\n").expect("OUT_DIR can be written");
    let mut link = Command::new(env::var_os("RUSTC").expect("cargo names RUSTC"));
    // An older linker only warns of a `-z` that it does not know.
    for argument in [option, "-Wl,--fatal-warnings"] {
        link.arg("-C").arg(format!("link-arg={argument}"));
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        link.arg("-C").arg(format!("linker={linker}"));
    }
    link.arg("--crate-name=linked").arg("-o").arg(&program).arg(&source);
    let succeeds = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    succeeds(&mut link) && succeeds(&mut Command::new(&program))
}

/// A style without its comments and the white space around its punctuation, which no browser reads and every visitor
/// would load. A comment has its lines to itself.
fn without_comments(style: &[u8]) -> Vec<u8> {
    let style = std::str::from_utf8(style).expect("a style is UTF-8");
    let (mut out, mut inside) = (String::with_capacity(style.len()), false);
    for line in style.lines().map(str::trim) {
        inside |= line.starts_with("/*");
        if !inside && !line.is_empty() {
            let mut quoted = line.split('"').skip(1).step_by(2);
            assert!(
                !quoted.any(|text| text.contains(['{', '}', ';', ':', ','])),
                "a text with punctuation: {line}"
            );
            let pairs = [("; ", ";"), (" {", "{"), ("{ ", "{"), (";}", "}"), (": ", ":"), (", ", ",")];
            out.push_str(&pairs.iter().fold(line.to_owned(), |line, (from, to)| line.replace(from, to)));
            if !line.ends_with([';', '{', '}', ',']) {
                out.push('\n');
            }
        }
        inside &= !line.ends_with("*/");
    }
    out.into_bytes()
}

/// The modules among the files, joined into scripts with the names of their first modules.
fn join_modules(files: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let (scripts, mut rest): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|(path, _)| path.ends_with(".js"));
    let text = |bytes| String::from_utf8(bytes).expect("a module is UTF-8");
    let modules = scripts.into_iter().map(|(path, bytes)| (path, text(bytes))).collect();
    let scripts = bundle::bundle(&modules, ENTRY, Some(WORKER));
    rest.extend(scripts.into_iter().map(|(path, script)| (path, script.into_bytes())));
    rest.sort();
    rest
}

/// The attributes of the page's element that lists the languages: the code and the own name of each file.
fn languages(files: &[(String, Vec<u8>)]) -> String {
    let mut list: Vec<String> = files
        .iter()
        .filter_map(|(path, bytes)| {
            let code =
                path.strip_prefix(bundle::LANGUAGES)?.strip_suffix(".js").expect("a language is a script");
            let text = std::str::from_utf8(bytes).expect("a language is UTF-8");
            let name =
                text.lines().find_map(|line| line.strip_prefix("export const name = '")?.strip_suffix("';"));
            let name = name.unwrap_or_else(|| panic!("{path}: no name"));
            assert!(code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{path}: no language tag");
            assert!(!name.contains(['"', '&', '<', ',', '\\']), "{path}: {name}");
            Some(format!("{code} {name}"))
        })
        .collect();
    list.sort();
    format!("name=\"languages\" content=\"{}\"", list.join(", "))
}

/// JSON without the white space between its tokens.
fn without_white_space(json: &[u8]) -> Vec<u8> {
    let (mut out, mut in_string, mut is_escaped) = (Vec::with_capacity(json.len()), false, false);
    for &byte in json {
        if in_string || !byte.is_ascii_whitespace() {
            out.push(byte);
        }
        in_string ^= byte == b'"' && !is_escaped;
        is_escaped = in_string && byte == b'\\' && !is_escaped;
    }
    out
}

/// A file's compressed form in `out`, and the row that includes it.
fn row(out: &Path, path: &str, bytes: &[u8]) -> String {
    let name = path.replace('/', "~");
    fs::write(out.join(format!("{name}.gz")), gzip(bytes)).expect("OUT_DIR can be written");
    let tag = format!("{:016x}", hash(bytes));
    format!(
        "File {{ path: \"{path}\", mime: \"{}\", plain: OnceLock::new(), \
         gzip: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}.gz\")), plain_tag: \"\\\"{tag}\\\"\", \
         gzip_tag: \"\\\"{tag}-gzip\\\"\" }}",
        mime(path)
    )
}

/// The protocol as one page: a list of its parts, then its text, with its style inside of it.
fn docs(markdown: &str, css: &str) -> String {
    let mut events: Vec<Event> = Parser::new_ext(markdown, Options::ENABLE_TABLES).collect();
    let mut parts = String::new();
    for at in 0..events.len() {
        let Event::Start(Tag::Heading { level, .. }) = events[at] else { continue };
        let title: String = events[at + 1..]
            .iter()
            .take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))))
            .filter_map(|event| if let Event::Text(text) = event { Some(&**text) } else { None })
            .collect();
        let anchor = title.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        if level == HeadingLevel::H2 || title.starts_with("Reference: ") {
            parts.push_str(&format!("<li><a href=\"#{anchor}\">{title}</a></li>\n"));
        }
        if let Event::Start(Tag::Heading { id, .. }) = &mut events[at] {
            *id = Some(anchor.into());
        }
    }
    let mut text = String::new();
    html::push_html(&mut text, events.into_iter());
    // HTML lets a page omit these: a cell, a row and an item end where the next one begins.
    for end in ["</td>", "</th>", "</tr>", "</li>"] {
        text = text.replace(end, "");
    }
    let (heading, rest) = text.split_once("</h1>").expect("the page has a title");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>The protocol of natter</title>\n\
         <style>{css}</style>\n<main>\n{heading}</h1>\n<nav aria-label=\"Parts\"><ul>\n{parts}</ul></nav>\n\
         {rest}</main>\n</html>\n"
    )
}

/// Every file below `folder`: its path from the client's root, with `/`, and its bytes.
fn gather(folder: &Path, prefix: &str, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).expect("the client's folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        let path = format!("{prefix}{name}");
        // Temporary files of an editor are no part of the client.
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        if entry.file_type().expect("a file type").is_dir() {
            gather(&entry.path(), &format!("{path}/"), files);
        } else {
            files.push((path, fs::read(entry.path()).expect("a readable file")));
        }
    }
}

fn mime(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("webmanifest") => "application/manifest+json",
        Some("png") => "image/png",
        Some("txt") => "text/plain; charset=utf-8",
        _ => panic!("{path}: which Content-Type has it?"),
    }
}

/// One name for all files together: if one of them changes, all get new addresses, so that no browser runs modules of two
/// builds together.
fn version(files: &[(String, Vec<u8>)]) -> String {
    let mut all = Vec::new();
    for (path, bytes) in files {
        for part in [path.as_bytes(), bytes] {
            all.extend_from_slice(&(part.len() as u64).to_le_bytes());
            all.extend_from_slice(part);
        }
    }
    format!("{:016x}", hash(&all))
}

/// RFC 1952: without a name and a time, so that the bytes depend on the content alone.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    const SLOWEST: u8 = 10;
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff];
    out.extend_from_slice(&miniz_oxide::deflate::compress_to_vec(bytes, SLOWEST));
    out.extend_from_slice(&crc32(bytes).to_le_bytes());
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

/// FNV-1a, 64 bits: names bytes that no attacker chooses. Unlike the standard library's hashes it never changes.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
