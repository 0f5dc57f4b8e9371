//! Checks of the client's source that need no browser: size and isolation.
//!
//! They check that no file loads anything from another origin, and that no text of a member can become code or markup.

use std::collections::BTreeSet;

use super::*;
use crate::base::crypto::{base64, sha256};

const ENTRY: &str = "app.js";

/// What a first visit loads, compressed, in the language that needs the most. More would make it slow over a slow line.
const FIRST_BYTES_MAX: usize = 110_000;
/// Every emoji with its names in the languages.
const EMOJI_BYTES_MAX: usize = 45_000;
/// With what the worker fetches afterwards: itself, and the icons.
const INSTALLED_BYTES_MAX: usize = 126_000;

fn is_icon(file: &File) -> bool {
    file.path.ends_with(".png")
}

/// Loaded when it is first used, or one language of several.
fn is_part(file: &File) -> bool {
    [".js", ".txt"].iter().any(|end| file.path.ends_with(end)) && ![ENTRY, WORKER].contains(&file.path)
}

fn text(file: &'static File) -> &'static str {
    std::str::from_utf8(file.plain()).expect("every file of the client but the icons is text")
}

fn texts() -> impl Iterator<Item = &'static File> {
    FILES.iter().filter(|file| !is_icon(file))
}

fn file(path: &str) -> &'static File {
    FILES.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("no {path}"))
}

fn scripts() -> impl Iterator<Item = &'static File> {
    FILES.iter().filter(|file| file.path.ends_with(".js"))
}

/// The texts between each `open` and the next `close`.
fn between<'a>(text: &'a str, open: &str, close: char) -> Vec<&'a str> {
    text.split(open).skip(1).filter_map(|rest| rest.split(close).next()).collect()
}

#[test]
fn the_client_is_small() {
    let bytes = |is_counted: &dyn Fn(&File) -> bool| -> usize {
        FILES.iter().filter(|file| is_counted(file)).map(|file| file.gzip.len()).sum()
    };
    let languages = FILES.iter().filter(|file| file.path.starts_with(bundle::LANGUAGES));
    let language = languages.map(|file| file.gzip.len()).max().expect("a language");
    let first = language + bytes(&|file| file.path != WORKER && !is_icon(file) && !is_part(file));
    let installed = language + bytes(&|file| !is_part(file));
    println!("first {first} bytes with gzip, {FIRST_BYTES_MAX} allowed; installed {installed}");
    let emoji = file("emoji.txt").gzip.len();
    assert!(emoji <= EMOJI_BYTES_MAX, "{emoji} bytes of emoji with gzip");
    assert!(
        first <= FIRST_BYTES_MAX && installed <= INSTALLED_BYTES_MAX,
        "{first} {installed} bytes with gzip"
    );
}

#[test]
fn every_copy_is_its_file_and_every_tag_its_digest() {
    let mut tags = BTreeSet::new();
    for file in &FILES {
        // FNV-1a.
        let hash = file.plain().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        assert_eq!(file.plain_tag, format!("\"{hash:016x}\""), "{}", file.path);
        assert_eq!(file.gzip_tag, format!("\"{hash:016x}-gzip\""), "{}", file.path);
        assert!(tags.insert(file.plain_tag), "{}: the same file twice", file.path);
        // RFC 1952: magic, deflate, no flags; at the end a checksum and the length.
        let (head, rest) = file.gzip.split_at(10);
        assert_eq!(head[..4], [0x1f, 0x8b, 8, 0], "{}", file.path);
        let (_, length) = rest.split_at(rest.len() - 4);
        assert_eq!(length, (file.plain().len() as u32).to_le_bytes(), "{}", file.path);
    }
}

#[test]
fn the_page_has_no_inline_script_and_no_markup_is_made_of_text() {
    let index = text(file(INDEX));
    for tag in between(index, "<script", '>') {
        assert!(tag.contains(" src=\""), "an inline script: {tag}");
    }
    assert!(index.matches("<script").count() == 1 && index.contains("></script>"));
    for word in ["<style", "style=\"", "javascript:", "onclick=", "onload=", "onerror="] {
        assert!(!index.contains(word), "{word} in {INDEX}");
    }
    // Each of these turns a text into code or markup; members write texts.
    let words = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "createContextualFragment",
        "parseFromString",
        "setHTMLUnsafe",
        "document.write",
        "srcdoc",
        "eval(",
        "new Function",
        "javascript:",
        "setAttribute('style",
        "setAttribute('on",
    ];
    for file in scripts() {
        for word in words {
            assert!(!text(file).contains(word), "{word} in {}", file.path);
        }
    }
}

#[test]
fn nothing_is_loaded_from_another_origin() {
    for file in texts() {
        for scheme in ["http://", "https://", "ws://", "wss://", "url(//", "\"//", "'//"] {
            for (at, _) in text(file).match_indices(scheme) {
                let rest = &text(file)[at..];
                // The name of a namespace is never loaded.
                assert!(rest.starts_with("http://www.w3.org/2000/svg"), "{}: {:.60}", file.path, rest);
            }
        }
        assert!(!text(file).contains("@import"), "{}", file.path);
    }
}

/// The paths of this version that a file names in quotes.
fn named(path: &str) -> BTreeSet<String> {
    let text = text(file(path));
    let versioned = format!("/client/{VERSION}/");
    let quoted = ['"', '\''].map(|quote| between(text, &format!("{quote}{versioned}"), quote));
    quoted.concat().into_iter().map(str::to_owned).collect()
}

#[test]
fn page_manifest_and_worker_name_every_file_and_each_name_exists() {
    let index = text(file(INDEX));
    for link in between(index, "href=\"", '"').into_iter().chain(between(index, "src=\"", '"')) {
        assert!(link.starts_with(&format!("/client/{VERSION}/")), "without a version: {link}");
    }
    let files: BTreeSet<String> = FILES.iter().map(|file| file.path.to_owned()).collect();
    let (page, manifest, worker) = (named(INDEX), named("manifest.webmanifest"), named(WORKER));
    // What a page or an installed client shows without the server, the worker has.
    assert!(page.is_subset(&worker) && manifest.is_subset(&worker), "{page:?} {manifest:?} {worker:?}");
    let addressed = BTreeSet::from([INDEX, WORKER].map(str::to_owned));
    // What is loaded later is next to the script that loads it.
    let calls = ["import('./", "new URL('./"];
    let later = scripts().flat_map(|file| calls.map(|call| between(text(file), call, '\'')).concat());
    let later = later.map(str::to_owned);
    let listed = between(index, "<meta name=\"languages\" content=\"", '"')[0].split(", ");
    let languages = listed.map(|entry| format!("lang/{}.js", entry.split(' ').next().expect("a code")));
    let parts: BTreeSet<String> = later.chain(languages).collect();
    assert!(FILES.iter().filter(|file| is_part(file)).all(|file| parts.contains(file.path)), "{parts:?}");
    let named: BTreeSet<String> = worker.into_iter().chain(addressed).chain(parts).collect();
    assert_eq!(named, files);
}

#[test]
fn every_icon_has_the_size_that_the_manifest_says() {
    let manifest = text(file("manifest.webmanifest"));
    for file in FILES.iter().filter(|file| is_icon(file)) {
        let png = file.plain();
        let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n") && side(16) == side(20), "{}", file.path);
        if let Some((_, rest)) = manifest.split_once(&format!("/{}\"", file.path)) {
            assert!(rest.starts_with(&format!(", \"sizes\": \"{0}x{0}\"", side(16))), "{}", file.path);
        }
    }
    let is_maskable = manifest.contains("\"purpose\": \"maskable\"");
    assert!(is_maskable && ["192x192", "512x512"].iter().all(|size| manifest.contains(size)));
}

#[test]
fn the_page_of_the_protocol_runs_nothing_and_loads_nothing() {
    let page = text(&DOCS);
    for word in ["<script", "<link", "<img", "src=", "@import", "url(", "style=", "javascript:", "onclick"] {
        assert!(!page.contains(word), "{word} in /docs");
    }
    let style = between(page, "<style>", '<')[0];
    let digest = base64(&sha256(style.as_bytes()));
    assert!(
        documents::POLICY.contains(&format!("style-src 'sha256-{digest}';")),
        "the policy permits the page's own style"
    );
    for anchor in between(page, "href=\"#", '"') {
        assert!(page.contains(&format!("id=\"{anchor}\"")), "#{anchor}");
    }
    // Each heading and each row of a table of the source is in the page.
    let lines = || include_str!("protocol.md").lines().chain(include_str!("reference.md").lines());
    // The third source is the README's tour, which is one part.
    let headings = lines().filter(|line| line.starts_with("## ")).count() + 1;
    let parts = lines().filter(|line| line.starts_with("### Reference: ")).count();
    assert_eq!(page.matches("<h2 id=").count(), headings);
    assert_eq!(page.matches("<li><a href=\"#").count(), headings + parts);
    let rows = lines().filter(|line| line.starts_with('|') && !line.starts_with("|---")).count();
    assert_eq!(page.matches("<tr>").count(), rows);
    assert!(!page.contains("|--") && !page.contains("<p>|"), "a row outside of a table");
    assert!(page.contains("client_id is a ULID of her own"), "the tour");
}

/// The contract and the server have the same list of reserved names.
#[test]
fn the_protocol_names_what_is_reserved() {
    let markdown = include_str!("protocol.md");
    let (_, list) = markdown.split_once("no nick names: ").expect("the list");
    let named: Vec<&str> =
        between(list.split("\n- ").next().unwrap_or_default(), "`", '`').into_iter().step_by(2).collect();
    assert_eq!(named, crate::model::profile::RESERVED_NICK_NAMES);
}
