//! The web client as a browser gets it: addresses, compressed copies, conditional requests, and the content policy.

use crate::support::World;
use crate::support::http::Response;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     media-src 'self' blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'";

fn get(world: &mut World, path: &str, fields: &[(&str, &str)]) -> Response {
    world.ask("GET", path, fields, None)
}

fn field(response: &Response, name: &str) -> String {
    response.field(name).unwrap_or("-").to_owned()
}

/// The addresses that the page names.
fn links(page: &Response) -> Vec<String> {
    page.text().split('"').filter(|part| part.starts_with("/client/")).map(str::to_owned).collect()
}

#[test]
fn the_page_and_all_files_it_names_are_served() {
    let mut world = World::new();
    let page = get(&mut world, "/", &[]);
    assert_eq!((page.status, &*field(&page, "Content-Type")), (200, "text/html; charset=utf-8"));
    assert_eq!(field(&page, "Cache-Control"), "no-cache");
    let links = links(&page);
    let endings: Vec<_> = links.iter().filter_map(|link| link.rsplit('.').next()).collect();
    assert_eq!(
        endings,
        ["svg", "png", "webmanifest", "css", "js"],
        "icons, the manifest, a style, and one script of all modules"
    );
    for link in &links {
        let file = get(&mut world, link, &[]);
        assert_eq!(file.status, 200, "{link}");
        assert_eq!(field(&file, "Cache-Control"), "public, max-age=31536000, immutable", "{link}");
        let expect = match link.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("txt") => "text/plain; charset=utf-8",
            Some("png") => "image/png",
            Some("webmanifest") => "application/manifest+json",
            other => panic!("{other:?}"),
        };
        assert_eq!(field(&file, "Content-Type"), expect, "{link}");
        // Without a version: the same file, to be revalidated each time.
        let (_, path) = link["/client/".len()..].split_once('/').expect("a version");
        let plain = get(&mut world, &format!("/client/{path}"), &[]);
        assert_eq!((plain.status, &plain.body), (200, &file.body), "{path}");
        assert_eq!(field(&plain, "Cache-Control"), "no-cache", "{path}");
    }
}

/// The worker answers for the page at `/`, and a browser asks for another version at its one address.
#[test]
fn the_worker_has_its_scope_and_its_address() {
    let mut world = World::new();
    let worker = get(&mut world, "/client/worker.js", &[]);
    for (name, expect) in [
        ("Content-Type", "text/javascript; charset=utf-8"),
        ("Cache-Control", "no-cache"),
        ("Service-Worker-Allowed", "/"),
        ("Content-Security-Policy", POLICY),
    ] {
        assert_eq!(field(&worker, name), expect, "{name}");
    }
    let tag = field(&worker, "ETag");
    let same = get(&mut world, "/client/worker.js", &[("If-None-Match", &tag)]);
    assert_eq!((same.status, field(&same, "Service-Worker-Allowed")), (304, "/".into()));
    for path in ["/", "/client/app.js"] {
        assert_eq!(field(&get(&mut world, path, &[]), "Service-Worker-Allowed"), "-", "{path}");
    }
    let text = worker.text();
    let files: Vec<&str> = text.split('\'').filter(|part| part.starts_with("/client/")).collect();
    assert!(files.len() > 5, "{files:?}");
    for path in files {
        let file = get(&mut world, path, &[]);
        assert_eq!(file.status, 200, "{path}");
        assert_eq!(field(&file, "Cache-Control"), "public, max-age=31536000, immutable", "{path}");
    }
}

#[test]
fn every_file_has_the_policy() {
    let mut world = World::new();
    let page = get(&mut world, "/", &[]);
    for path in ["/".to_owned(), "/client/app.js".to_owned(), links(&page).remove(0)] {
        let file = get(&mut world, &path, &[]);
        for (name, expect) in [
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Vary", "Accept-Encoding"),
        ] {
            assert_eq!(field(&file, name), expect, "{path}: {name}");
        }
    }
}

#[test]
fn a_compressed_copy_is_sent_to_clients_that_accept_it() {
    let mut world = World::new();
    // The page itself has too little text to halve.
    for (path, at_least) in [("/", 1), ("/client/app.js", 2), ("/client/style.css", 2)] {
        let plain = get(&mut world, path, &[]);
        let packed = get(&mut world, path, &[("Accept-Encoding", "br, gzip;q=0.8")]);
        assert_eq!((plain.status, packed.status), (200, 200));
        assert_eq!(
            (field(&plain, "Content-Encoding"), field(&packed, "Content-Encoding")),
            ("-".into(), "gzip".into())
        );
        assert_eq!(packed.body[..2], [0x1f, 0x8b], "{path}");
        assert!(packed.body.len() * at_least < plain.body.len(), "{path}");
        assert_ne!(field(&plain, "ETag"), field(&packed, "ETag"), "two forms, two strong tags");
        for refused in ["gzip;q=0", "br", "identity, gzip;q=0.5", ""] {
            let answer = get(&mut world, path, &[("Accept-Encoding", refused)]);
            assert_eq!(
                (field(&answer, "Content-Encoding"), answer.body.len()),
                ("-".into(), plain.body.len()),
                "{refused}"
            );
        }
    }
}

#[test]
fn what_a_browser_has_is_not_sent_again() {
    let mut world = World::new();
    for coding in ["identity", "gzip"] {
        let accept = ("Accept-Encoding", coding);
        let complete = get(&mut world, "/", &[accept]);
        let tag = field(&complete, "ETag");
        let hash = tag.trim_matches('"').trim_end_matches("-gzip");
        assert!(tag.starts_with('"') && hash.len() == 16, "a strong tag: {tag}");
        for known in [tag.clone(), format!("\"other\", {tag}"), format!("W/{tag}"), "*".to_owned()] {
            let same = get(&mut world, "/", &[accept, ("If-None-Match", &known)]);
            assert_eq!((same.status, same.body.len()), (304, 0), "{known}");
            assert_eq!(
                (field(&same, "ETag"), field(&same, "Cache-Control")),
                (tag.clone(), "no-cache".into())
            );
            assert_eq!(
                (field(&same, "Vary"), field(&same, "Content-Length")),
                ("Accept-Encoding".into(), "-".into())
            );
        }
        let other = get(&mut world, "/", &[accept, ("If-None-Match", "\"other\"")]);
        assert_eq!((other.status, other.body == complete.body), (200, true));
        // The tag of the other form does not prove that the browser has this one.
        let wrong = if coding == "gzip" { format!("\"{hash}\"") } else { format!("\"{hash}-gzip\"") };
        assert_eq!(get(&mut world, "/", &[accept, ("If-None-Match", &wrong)]).status, 200, "{wrong}");
        let head = world.ask("HEAD", "/", &[accept], None);
        assert_eq!((head.status, field(&head, "ETag"), head.body.len()), (200, tag.clone(), 0));
        assert_eq!(field(&head, "Content-Length"), complete.body.len().to_string());
        assert_eq!(world.ask("HEAD", "/", &[accept, ("If-None-Match", &tag)], None).status, 304);
    }
}

#[test]
fn no_other_path_is_served() {
    let mut world = World::new();
    for path in [
        "/client",
        "/client/",
        "/client/nothing.js",
        "/client/0123456789abcdef/app.js", // of another build: never answered with this build's file
        "/client/ui",
        "/client/ui/",
        "/client/app.js/",
        "/client/APP.JS",
        "/client/ui%2fkit.js",
        "/client/../Cargo.toml",
        "/client/%2e%2e/Cargo.toml",
    ] {
        let answer = get(&mut world, path, &[]);
        assert_eq!((answer.status, answer.code()), (404, "not_found".into()), "{path}");
    }
    let posted = world.ask("POST", "/client/app.js", &[], None);
    assert_eq!((posted.status, field(&posted, "Allow")), (405, "GET, HEAD, OPTIONS".into()));
}
