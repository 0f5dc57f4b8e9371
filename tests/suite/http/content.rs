//! The content of requests and responses: bodies, types, methods, expectations, languages, request ids.

use super::Then::{Closes, Keeps};
use super::{check, play};
use crate::support::World;
use crate::support::http::{Person, request, responses};
use natter::model::operation::Refusal;

const ULID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

/// A request of a member, with a JSON body.
fn ask(person: &Person, method: &str, path: &str, body: &str) -> String {
    let (access, len) = (&person.access, body.len());
    format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {access}\r\nContent-Type: application/json\r\n\
         Content-Length: {len}\r\n\r\n{body}"
    )
}

/// The read route with this head and body, which gives 404 if all of it is well-formed.
fn read(person: &Person, fields: &str, body: &str) -> String {
    let access = &person.access;
    format!(
        "POST /api/v1/conversations/{ULID}/read HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {access}\r\n{fields}\r\n{body}"
    )
}

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn json_bodies_are_bounded() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let max = 65_536;
    let body = |len: usize| format!("{{\"n\":1}}{}", " ".repeat(len - 7));
    let complete = |len: usize| read(&ann, &format!("{JSON}Content-Length: {len}\r\n"), &body(len));
    check(&mut world, complete(max - 1), 404, "not_found", Keeps);
    check(&mut world, complete(max), 404, "not_found", Keeps);
    check(&mut world, complete(max + 1), 413, "too_large", Keeps);
    let chunked = |len: usize| {
        read(
            &ann,
            &format!("{JSON}Transfer-Encoding: chunked\r\n"),
            &format!("{len:x}\r\n{}\r\n0\r\n\r\n", body(len)),
        )
    };
    check(&mut world, chunked(max), 404, "not_found", Keeps);
    check(&mut world, chunked(max + 1), 413, "too_large", Keeps);
    // A route that ignores the body reads as much, and no more.
    let get = |len: usize| {
        format!("GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: {len}\r\n\r\n{}", "x".repeat(len))
    };
    check(&mut world, get(max), 200, "", Keeps);
    check(&mut world, get(max + 1), 413, "too_large", Keeps);
}

#[test]
fn routes_that_take_json_refuse_other_types() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let body = r#"{"n":1}"#;
    let length = "Content-Length: 7\r\n";
    for fields in [
        JSON,
        "Content-Type: Application/JSON; charset=\"UTF-8\"\r\n",
        "Content-Type: application/vnd.natter+json\r\n",
        "Content-Type: application/json\r\nContent-Encoding: identity\r\n",
    ] {
        check(&mut world, read(&ann, &format!("{fields}{length}"), body), 404, "not_found", Keeps);
    }
    for fields in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
        "Content-Type: application/jsonp\r\n",
        "Content-Type: json\r\n",
        "Content-Type: application/json; charset=utf-16\r\n",
        "Content-Type: application/json\r\nContent-Type: text/plain\r\n",
        "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
    ] {
        check(&mut world, read(&ann, &format!("{fields}{length}"), body), 415, "not_supported_type", Keeps);
        let chunked = format!("{fields}Transfer-Encoding: chunked\r\n");
        check(
            &mut world,
            read(&ann, &chunked, "7\r\n{\"n\":1}\r\n0\r\n\r\n"),
            415,
            "not_supported_type",
            Keeps,
        );
    }
    // No body equals `{}` and needs no type.
    for (fields, body) in [
        ("", ""),
        ("Content-Length: 0\r\n", ""),
        ("Content-Type: text/plain\r\nContent-Length: 0\r\n", ""),
        ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Content-Type: application/json\r\nContent-Length: 2\r\n", "{}"),
    ] {
        check(&mut world, read(&ann, fields, body), 422, "invalid_n", Keeps);
    }
}

#[test]
fn bad_json_is_400_and_a_bad_value_in_it_is_422() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let path = format!("/api/v1/conversations/{ULID}/read");
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    for body in [
        "{",
        "{\"n\":1",
        "[]",
        "null",
        "1",
        "\"n\"",
        "{\"n\":1}{}",
        "{\"n\":1}x",
        "{'n':1}",
        "{\"n\":01}",
        "{\"n\":1,}",
        "{\"n\":1,\"n\":1}",
        "{\"n\":1,\"a\":{\"b\":1,\"\\u0062\":2}}",
        "{\"n\":NaN}",
        "\u{feff}{\"n\":1}",
        "{\"n\":\"\\ud800\"}",
        " ",
        &deep,
    ] {
        check(&mut world, ask(&ann, "POST", &path, body), 400, "error_parsing_data", Keeps);
    }
    let mut bytes = ask(&ann, "POST", &path, "{\"a\":\"__\",\"n\":1}").into_bytes();
    let at = bytes.windows(2).position(|w| w == b"__").expect("there");
    bytes[at..at + 2].copy_from_slice(&[0xc3, 0x28]);
    check(&mut world, bytes, 400, "error_parsing_data", Keeps);
    for body in [
        "{\"n\":-1}",
        "{\"n\":1.5}",
        "{\"n\":\"1\"}",
        "{\"n\":true}",
        "{\"n\":[1]}",
        "{\"n\":1e3}",
        "{\"n\":-99999999999999999999}",
        "{\"n\":null}",
        "{}",
    ] {
        let response = check(&mut world, ask(&ann, "POST", &path, body), 422, "invalid_n", Keeps);
        assert_eq!(response.at("field"), "n");
    }
    // A number above storage's range is read as the greatest one, so the look-up finds no such conversation.
    check(&mut world, ask(&ann, "POST", &path, "{\"n\":99999999999999999999}"), 404, "not_found", Keeps);
    // Unknown fields are ignored; ids are accepted in either case, and a malformed id in a path is a 404.
    check(&mut world, ask(&ann, "POST", &path, "{\"n\":1,\"x\":[{}]}"), 404, "not_found", Keeps);
    check(&mut world, ask(&ann, "POST", &path.to_lowercase(), "{\"n\":1}"), 404, "not_found", Keeps);
    check(
        &mut world,
        ask(&ann, "POST", "/api/v1/conversations/nonsense/read", "{}"),
        404,
        "not_found",
        Keeps,
    );
    for query in ["limit=0", "limit=x", "limit=-1", "limit=%2B5", "limit="] {
        let path = format!("/api/v1/conversations?{query}");
        check(&mut world, ask(&ann, "GET", &path, ""), 422, "invalid_limit", Keeps);
    }
    for query in ["limit=5&limit=5", "a=%ff", "next=nonsense"] {
        let path = format!("/api/v1/conversations?{query}");
        check(&mut world, ask(&ann, "GET", &path, ""), 400, "error_parsing_data", Keeps);
    }
    check(&mut world, ask(&ann, "GET", "/api/v1/conversations?limit=100000&unknown=1", ""), 200, "", Keeps);
}

#[test]
fn head_is_get_without_its_body() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    for path in [
        "/",
        "/healthz",
        "/readyz",
        "/api/v1/user/me",
        "/api/v1/conversations",
        "/nowhere",
        "/api/v1/user/logout",
    ] {
        let fields = format!("Host: h\r\nAuthorization: Bearer {}\r\n", ann.access);
        let get = format!("GET {path} HTTP/1.1\r\n{fields}\r\n");
        let head = format!("HEAD {path} HTTP/1.1\r\n{fields}\r\n");
        let get = play(&mut world, &[get.as_bytes()]).0.remove(0);
        let head = check(&mut world, head, get.status, "", Keeps);
        assert_eq!(head.field("Content-Length"), Some(get.body.len().to_string().as_str()), "{path}");
        assert_eq!(head.field("Content-Type"), get.field("Content-Type"));
    }
    // A stream of events would never end, so HEAD gets its head alone.
    let events = format!(
        "HEAD /api/v1/events HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\nAuthorization: Bearer {}\r\n\r\n",
        ann.access
    );
    let (all, then) = play(&mut world, &[events.as_bytes()]);
    assert_eq!((all.len(), all[0].status, then), (1, 200, Closes));
}

/// A path of the table with values for its parameters.
fn concrete(path: &str) -> String {
    let fill = |part| match part {
        "{nick_name}" => "somebody",
        part if part.starts_with('{') => ULID,
        part => part,
    };
    path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

#[test]
fn every_path_lists_its_methods() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    // The public listener has no admin routes: tests/suite/api/admin.rs.
    let public = |route: &&natter::server::request::routes::Route| {
        route.access != natter::server::request::routes::Access::Control
    };
    let routes = natter::server::request::routes::ROUTES.iter().filter(public);
    let mut paths: Vec<&str> = routes.map(|route| route.path).collect();
    paths.dedup();
    for path in paths {
        let mut methods: Vec<&str> = vec!["OPTIONS"];
        for route in natter::server::request::routes::ROUTES.iter().filter(|route| route.path == path) {
            methods.push(route.method.as_str());
            if route.method.as_str() == "GET" {
                methods.push("HEAD");
            }
        }
        methods.sort_unstable();
        methods.dedup();
        let allow = methods.join(", ");
        let concrete = concrete(path);
        let send = |world: &mut World, method: &str| {
            let bearer = format!("Bearer {}", ann.access);
            let fields = [("Authorization", bearer.as_str())];
            world.ask(method, &concrete, &fields, None)
        };
        let options = send(&mut world, "OPTIONS");
        assert_eq!((options.status, options.field("Allow")), (204, Some(allow.as_str())), "{concrete}");
        assert_eq!((options.field("Content-Length"), options.field("Content-Type")), (None, None));
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "TRACE"] {
            if !methods.contains(&method) {
                let response = send(&mut world, method);
                assert_eq!(
                    (response.status, response.code().as_str()),
                    (405, "method_not_allowed"),
                    "{concrete}"
                );
                assert_eq!(response.field("Allow"), Some(allow.as_str()), "{method} {concrete}");
            }
        }
    }
    let star = check(&mut world, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 204, "", Keeps);
    assert_eq!(star.field("Allow"), Some("DELETE, GET, HEAD, OPTIONS, POST, PUT"));
    check(&mut world, "OPTIONS /nowhere HTTP/1.1\r\nHost: h\r\n\r\n", 404, "not_found", Keeps);
    check(&mut world, "CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", 405, "method_not_allowed", Keeps);
}

#[test]
fn no_request_is_authorized_without_a_token() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    for route in natter::server::request::routes::ROUTES {
        use natter::server::request::routes::Access;
        let path = concrete(route.path);
        let bearer = [
            "Bearer nonsense".to_owned(),
            "Basic YTpi".to_owned(),
            "Bearer".to_owned(),
            format!("Bearer {}", ann.refresh),
            format!("Bearer {}x", ann.access),
            ann.access.clone(),
        ];
        if matches!(route.access, Access::Public | Access::Control | Access::Hook) {
            continue;
        }
        let anonymous = world.ask(route.method.as_str(), &path, &[], None);
        assert_eq!(
            (anonymous.status, anonymous.code().as_str()),
            (401, "unauthorized_access"),
            "{}",
            route.name
        );
        assert_eq!(anonymous.field("WWW-Authenticate"), Some("Bearer"));
        for bearer in &bearer {
            let response = world.ask(route.method.as_str(), &path, &[("Authorization", bearer)], None);
            assert_eq!(response.status, 401, "{} {bearer}", route.name);
        }
    }
    let good = format!("Bearer {}", ann.access);
    let twice = [("Authorization", good.as_str()), ("Authorization", good.as_str())];
    assert_eq!(world.ask("GET", "/api/v1/user/me", &twice, None).status, 401);
    let lower = format!("bearer {}", ann.access);
    assert_eq!(world.ask("GET", "/api/v1/user/me", &[("Authorization", &lower)], None).status, 200);
    // Only WebSocket routes accept a token in the URL.
    let path = format!("/api/v1/user/me?access={}", ann.access);
    assert_eq!(world.ask("GET", &path, &[], None).status, 401);
}

#[test]
fn an_expectation_is_met_once_and_a_refusal_closes() {
    let mut world = World::new();
    let head = |expect: &str, path: &str, fields: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nExpect: {expect}\r\n{fields}\r\n"
        )
    };
    let refresh = "/api/v1/user/refresh";
    // The client waits: it gets a 100, then the response.
    let conn = world.connect();
    world.send(conn, head("100-continue", refresh, "Content-Length: 13\r\n").as_bytes());
    assert_eq!(world.take(conn), b"HTTP/1.1 100 Continue\r\n\r\n");
    world.send(conn, br#"{"refresh":1}"#);
    let all = responses(&mut world.take(conn), false);
    assert_eq!((all.len(), all[0].code().as_str()), (1, "invalid_refresh"));
    assert!(!world.is_closed(conn));
    // The client does not wait: it gets no 100.
    let input = format!("{}{{\"refresh\":1}}", head("100-Continue", refresh, "Content-Length: 13\r\n"));
    let (all, then) = play(&mut world, &[input.as_bytes()]);
    assert_eq!((all.len(), all[0].status, then), (1, 422, Keeps));
    let chunked = format!(
        "{}d\r\n{{\"refresh\":1}}\r\n0\r\n\r\n",
        head("100-continue", refresh, "Transfer-Encoding: chunked\r\n")
    );
    let (all, then) = play(&mut world, &[chunked.as_bytes(), chunked.as_bytes()]);
    assert_eq!((all.len(), all[1].status, then), (2, 422, Keeps));
    // There is no body to continue with.
    check(&mut world, head("100-continue", refresh, ""), 401, "unauthorized_access", Keeps);
    check(
        &mut world,
        head("100-continue", refresh, "Content-Length: 0\r\n"),
        401,
        "unauthorized_access",
        Keeps,
    );
    // Refused: the server does not know whether the body comes, so the connection can't continue.
    let length = "Content-Length: 13\r\n";
    check(&mut world, head("100-continue", "/api/v1/messages", length), 401, "unauthorized_access", Closes);
    check(&mut world, head("100-continue", "/nowhere", length), 404, "not_found", Closes);
    check(&mut world, head("100-continue", refresh, "Content-Length: 65537\r\n"), 413, "too_large", Closes);
    check(&mut world, head("200-ok", refresh, length), 417, "expectation_failed", Closes);
    check(&mut world, head("100-continue, x", refresh, length), 417, "expectation_failed", Closes);
    check(&mut world, head("200-ok", refresh, ""), 417, "expectation_failed", Keeps);
    // HTTP/1.0 has no expectations.
    let old = "POST /api/v1/user/refresh HTTP/1.0\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"refresh\":1}";
    check(&mut world, old, 422, "invalid_refresh", Closes);
}

#[test]
fn a_request_id_is_the_client_s_or_a_new_one() {
    let mut world = World::new();
    for id in ["a", "A.b_c-9", &"x".repeat(64)] {
        assert_eq!(
            world.ask("GET", "/healthz", &[("X-Request-Id", id)], None).field("X-Request-Id"),
            Some(id)
        );
        assert_eq!(
            world.ask("GET", "/nowhere", &[("X-Request-Id", id)], None).field("X-Request-Id"),
            Some(id)
        );
    }
    for id in ["", "a b", "a/b", "é", &"x".repeat(65)] {
        let response = world.ask("GET", "/healthz", &[("X-Request-Id", id)], None);
        let own = response.field("X-Request-Id").expect("an id");
        assert!(own != id && own.len() == 16, "{id}: {own}");
    }
}

/// An error discloses nothing internal. The predecessor showed the texts of its database, its parsers and its mailer.
/// Here an error has its code and that code's title, and nothing of the request, of storage or of the machine.
#[test]
fn an_error_shows_its_code_and_title_and_nothing_else() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let bearer = format!("Bearer {}", ann.access);
    let auth = [("Authorization", bearer.as_str())];
    let expect = |status: u16, code: &str, title: &str, field: &str| {
        format!(
            r#"{{"type":"about:blank","status":{status},"code":"{code}","title":"{title}","field":{field},"retry":false,"retry_after_ms":null}}"#
        )
    };
    // A fault of storage, in a read and in a write.
    for (method, path, body) in [
        ("GET", "/api/v1/conversations", None),
        ("PUT", "/api/v1/profile", Some(r#"{"display_name":"x"}"#)),
        ("POST", "/api/v1/user/reset/code", Some(r#"{"email":"ann@example.org"}"#)),
    ] {
        world.holds = true;
        let conn = world.connect();
        world.send(conn, &request(method, path, &auth, body));
        world.refuse(Refusal::Internal);
        world.holds = false;
        let answer = responses(&mut world.take(conn), false).remove(0);
        let title = "Something went wrong here.";
        assert_eq!(answer.text(), expect(500, "general_error", title, "null"), "{method} {path}");
        assert_eq!(answer.field("Content-Type"), Some("application/problem+json"));
        world.reset(conn);
    }
    let unread = expect(400, "error_parsing_data", "The data sent could not be read.", "null");
    for body in [r#"{"display_name":"x" SELECT}"#, "'; DROP TABLE members; --", "[1]", "{\"a\":1e999999}x"] {
        let answer = world.ask("PUT", "/api/v1/profile", &auth, Some(body));
        assert_eq!(answer.text(), unread, "{body}");
    }
    let nothing = expect(404, "not_found", "This does not exist, or you may not see it.", "null");
    for path in ["/api/v1/profile/../../etc/passwd", "/api/v1/'%20OR%201=1", "/uploads/x/natter.db"] {
        assert_eq!(world.ask("GET", path, &auth, None).text(), nothing, "{path}");
    }
}

#[test]
fn a_title_follows_the_language_and_a_code_does_not() {
    let mut world = World::new();
    for (accept, language) in [
        ("ar", "ar"),
        ("ar-EG, en;q=0.5", "ar"),
        ("en;q=0.1, ar;q=0.2", "ar"),
        ("fr", "en"),
        ("*", "en"),
        ("en, ar", "en"),
        ("nonsense;;;q=", "en"),
    ] {
        let response = world.ask("GET", "/nowhere", &[("Accept-Language", accept)], None);
        assert_eq!(
            (response.code().as_str(), response.field("Content-Language")),
            ("not_found", Some(language)),
            "{accept}"
        );
        assert_eq!(response.at("title").is_ascii(), language == "en", "{accept}");
    }
}

#[cfg(not(feature = "conformance"))]
#[test]
fn a_default_build_has_no_conformance_routes() {
    let mut world = World::new();
    for (method, path) in
        [("POST", "/__echo"), ("GET", "/__echo"), ("GET", "/__files/a.txt"), ("HEAD", "/__files/a.txt")]
    {
        assert_eq!(world.ask(method, path, &[], None).status, 404, "{method} {path}");
    }
    assert!(world.upgrade("/__echo", &[]).is_err_and(|refusal| refusal.status == 404));
}

#[cfg(feature = "conformance")]
#[test]
fn the_conformance_build_echoes() {
    use crate::support::socket::Frame;
    let mut world = World::new();
    let body = "x".repeat(300_000);
    let complete =
        format!("POST /__echo HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(check(&mut world, complete, 200, "", Keeps).text(), body);
    let chunked = "POST /__echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(check(&mut world, chunked, 200, "", Keeps).text(), "abcde");
    assert_eq!(check(&mut world, "POST /__echo HTTP/1.1\r\nHost: h\r\n\r\n", 200, "", Keeps).body, b"");
    let over = "POST /__echo HTTP/1.1\r\nHost: h\r\nContent-Length: 104857601\r\n\r\n";
    let (all, _) = play(&mut world, &[over.as_bytes()]);
    assert_eq!(all[0].status, 413);
    check(&mut world, "GET /__echo HTTP/1.1\r\nHost: h\r\n\r\n", 426, "upgrade_required", Keeps);
    let conn = world.upgrade("/__echo", &[]).expect("a socket");
    world.say(conn, "text");
    world.send(conn, &[0x82, 0x83, 0, 0, 0, 0, 1, 2, 3]);
    assert_eq!(world.frames(conn), [Frame::Text("text".to_owned()), Frame::Binary(vec![1, 2, 3])]);
    // More than the requests of strangers may hold.
    let body = "x".repeat(7_000_000);
    let complete =
        format!("POST /__echo HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let conns = [(); 3].map(|()| world.connect());
    conns.iter().for_each(|conn| world.send(*conn, &complete.as_bytes()[..complete.len() - 1]));
    for conn in conns {
        world.send(conn, b"x");
        assert_eq!(responses(&mut world.take(conn), false)[0].text(), body);
    }
}

#[cfg(feature = "conformance")]
#[test]
fn the_conformance_build_serves_the_files_of_its_folder_as_uploads_are() {
    let mut world = World::new();
    let folder = world.dir.path().join("conformance");
    std::fs::create_dir_all(folder.join("folder")).expect("a folder");
    std::fs::write(folder.join("a.html"), "0123456789").expect("a file");
    std::fs::write(folder.join("empty"), "").expect("a file");
    std::fs::write(world.dir.path().join("outside"), "secret").expect("a file");
    let mut ask = |method: &str, path: &str, fields: &[(&str, &str)]| world.ask(method, path, fields, None);
    let complete = ask("GET", "/__files/a.html", &[]);
    assert_eq!((complete.status, complete.text()), (200, "0123456789"));
    for (name, value) in [
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", "10"),
        ("Accept-Ranges", "bytes"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "sandbox; default-src 'none'"),
    ] {
        assert_eq!(complete.field(name), Some(value));
    }
    let (etag, modified) = (
        complete.field("ETag").expect("a tag").to_owned(),
        complete.field("Last-Modified").expect("a date").to_owned(),
    );

    let head = ask("HEAD", "/__files/a.html", &[]);
    assert_eq!((head.status, head.field("Content-Length"), head.body.len()), (200, Some("10"), 0));
    assert_eq!(ask("GET", "/__files/empty", &[]).field("Content-Length"), Some("0"));

    let old = "Sunday, 06-Nov-94 08:49:37 GMT";
    for (name, value, status) in [
        ("If-None-Match", etag.as_str(), 304),
        ("If-None-Match", "\"other\"", 200),
        ("If-Modified-Since", &modified, 304),
        ("If-Modified-Since", old, 200),
        ("If-Unmodified-Since", old, 412),
        ("If-Match", &etag, 200),
        ("If-Match", "\"other\"", 412),
    ] {
        let response = ask("GET", "/__files/a.html", &[(name, value)]);
        assert_eq!(response.status, status, "{name}: {value}");
        assert_eq!(response.field("ETag").is_some(), status != 412, "{name}: {value}");
        assert!(status != 304 || response.body.is_empty());
    }
    let mut part = |range: &str, fields: &[(&str, &str)]| {
        let fields: Vec<_> = [("Range", range)].into_iter().chain(fields.iter().copied()).collect();
        let response = ask("GET", "/__files/a.html", &fields);
        let content_range = response.field("Content-Range").unwrap_or_default().to_owned();
        (
            response.status,
            content_range,
            if response.status == 416 { String::new() } else { response.text().to_owned() },
        )
    };
    let answer =
        |status, content_range: &str, text: &str| (status, content_range.to_owned(), text.to_owned());
    assert_eq!(part("bytes=2-4", &[]), answer(206, "bytes 2-4/10", "234"));
    assert_eq!(part("bytes=-3", &[]), answer(206, "bytes 7-9/10", "789"));
    assert_eq!(part("bytes=8-", &[("If-Range", &etag)]), answer(206, "bytes 8-9/10", "89"));
    assert_eq!(part("bytes=8-", &[("If-Range", "\"other\"")]), answer(200, "", "0123456789"));
    assert_eq!(part("bytes=0-1,4-5", &[]), answer(200, "", "0123456789"));
    assert_eq!(part("bytes=10-", &[]), answer(416, "bytes */10", ""));

    for path in [
        "/__files",
        "/__files/",
        "/__files/none",
        "/__files/folder",
        "/__files/..",
        "/__files/%2e%2e",
        "/__files/..%2Foutside",
        "/__files/../outside",
        "/__files/%2Fetc%2Fpasswd",
        "/__files/a.html%00",
    ] {
        assert_eq!(ask("GET", path, &[]).status, 404, "{path}");
    }
    assert_eq!(ask("POST", "/__files/a.html", &[]).status, 405);

    // Replaced by a file of the same size within the same second: it still counts as another file.
    let own = world.dir.path().join("conformance");
    std::fs::write(own.join("new"), "abcdefghij").expect("a file");
    std::fs::rename(own.join("new"), own.join("a.html")).expect("replaced");
    let again = world.ask("GET", "/__files/a.html", &[("If-None-Match", &etag)], None);
    assert_eq!((again.status, again.text()), (200, "abcdefghij"));
}
