//! CORS as a browser sees it, for any origin and for listed ones.

use crate::support::http::Response;
use crate::support::{World, limits, settings};
use natter::model::settings::{Origins, Settings};

fn listed() -> World {
    let origins =
        Origins::Listed(vec!["https://chat.example".to_owned(), "http://localhost:3000".to_owned()]);
    World::with(Settings { origins, ..settings(limits()) })
}

fn preflight(world: &mut World, path: &str, origin: &str) -> Response {
    let fields = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "PUT"),
        ("Access-Control-Request-Headers", "authorization, uniqueid"),
    ];
    world.ask("OPTIONS", path, &fields, None)
}

fn cors(response: &Response) -> [Option<&str>; 3] {
    ["Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Vary"]
        .map(|name| response.field(name))
}

const EXPOSED: &str =
    "Retry-After, RateLimit, RateLimit-Policy, X-Request-Id, ETag, Content-Range, Content-Disposition";

/// Credentials go to listed origins only. The predecessor reflected any origin with credentials, and browsers could not
/// send UniqueId.
#[test]
fn any_origin_is_allowed_without_credentials() {
    let mut world = World::new();
    let origin = "https://any.example";
    for path in ["/healthz", "/nowhere", "/api/v1/user/me"] {
        let response = world.ask("GET", path, &[("Origin", origin)], None);
        assert_eq!(cors(&response), [Some("*"), None, None], "{path}");
        assert_eq!(response.field("Access-Control-Expose-Headers"), Some(EXPOSED));
    }
    let response = preflight(&mut world, "/api/v1/user/me", origin);
    assert_eq!((response.status, cors(&response)), (204, [Some("*"), None, None]));
    assert_eq!(response.field("Access-Control-Allow-Methods"), Some("GET, POST, PUT, DELETE"));
    assert_eq!(
        response.field("Access-Control-Allow-Headers"),
        Some(
            "Content-Type, Accept, Authorization, UniqueId, Range, If-Range, If-None-Match, Last-Event-ID, X-Filename, \
             X-Request-Id"
        )
    );
    assert_eq!(response.field("Access-Control-Max-Age"), Some("5000"));
    assert_eq!(cors(&world.ask("GET", "/healthz", &[], None)), [None, None, None]);
    let plain = world.ask("OPTIONS", "/healthz", &[("Origin", origin)], None);
    assert_eq!((plain.status, plain.field("Access-Control-Allow-Methods")), (204, None), "no preflight");
    assert_eq!(preflight(&mut world, "/nowhere", origin).status, 404);
}

/// A page in a browser on the server's machine could read them otherwise.
#[test]
fn no_page_reads_the_metrics() {
    let mut world = World::new();
    let origin = "https://any.example";
    assert_eq!(world.ask("GET", "/metrics", &[], None).status, 200);
    let page = world.ask("GET", "/metrics", &[("Origin", origin)], None);
    assert_eq!((page.status, page.at("code"), cors(&page)), (403, "origin_not_allowed".into(), [None; 3]));
    let asked = preflight(&mut world, "/metrics", origin);
    assert_eq!((cors(&asked), asked.field("Access-Control-Allow-Methods")), ([None; 3], None));
    assert_eq!(cors(&world.ask("POST", "/metrics", &[("Origin", origin)], None)), [None; 3]);
    let mut listed = listed();
    let page = listed.ask("GET", "/metrics", &[("Origin", "https://chat.example")], None);
    assert_eq!((page.status, cors(&page)), (403, [None; 3]));
}

#[test]
fn listed_origins_are_echoed_with_credentials() {
    let mut world = listed();
    for origin in ["https://chat.example", "http://localhost:3000"] {
        let response = world.ask("GET", "/nowhere", &[("Origin", origin)], None);
        assert_eq!(cors(&response), [Some(origin), Some("true"), Some("Origin")]);
        let response = preflight(&mut world, "/healthz", origin);
        assert_eq!(cors(&response), [Some(origin), Some("true"), Some("Origin")]);
        assert_eq!(response.field("Access-Control-Max-Age"), Some("5000"));
    }
    for origin in [
        "https://other.example",
        "http://chat.example",
        "https://chat.example.org",
        "https://chat.example:444",
        "null",
    ] {
        let response = world.ask("GET", "/healthz", &[("Origin", origin)], None);
        assert_eq!((response.status, cors(&response)), (200, [None, None, Some("Origin")]), "{origin}");
        let response = preflight(&mut world, "/healthz", origin);
        assert_eq!((response.status, cors(&response)), (204, [None, None, Some("Origin")]), "{origin}");
        assert_eq!(response.field("Access-Control-Allow-Methods"), None);
    }
    assert_eq!(
        cors(&world.ask("GET", "/healthz", &[], None)),
        [None, None, Some("Origin")],
        "caches must know"
    );
}

/// Browsers send no preflight before they open a WebSocket, so the server must check the origin.
#[test]
fn an_upgrade_from_another_origin_is_403() {
    let mut world = listed();
    let ann = world.sign_up("ann");
    let bearer = format!("Bearer {}", ann.access);
    let mut open = |origin: Option<&str>| {
        let mut fields = vec![("Authorization", bearer.as_str())];
        fields.extend(origin.map(|origin| ("Origin", origin)));
        world.upgrade("/api/v1/ws", &fields).err()
    };
    for origin in [
        None,
        Some("https://chat.example"),
        Some("http://test"),
        Some("https://test"),
        Some("http://127.0.0.1:8080"),
    ] {
        assert!(open(origin).is_none(), "{origin:?}");
    }
    for origin in ["https://other.example", "null", "", "http://test:81", "test"] {
        let refusal = open(Some(origin)).expect("a refusal");
        assert_eq!((refusal.status, refusal.code().as_str()), (403, "origin_not_allowed"), "{origin}");
    }
    assert!(
        World::new()
            .upgrade("/api/v1/ws", &[("Origin", "https://other.example")])
            .is_err_and(|r| r.status == 401)
    );
}
