//! The handshake: refusals, which are plain HTTP, and the content of the 101.

use super::{at, frame, kinds};
use crate::support::World;
use crate::support::http::{Response, responses};
use crate::support::socket::Frame;
use natter::server::contract::Input;

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const REST: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";

/// Sends a request in every split and returns the head of its response.
fn ask(world: &mut World, input: &str) -> Response {
    let mut first: Option<(u16, String)> = None;
    let mut last = None;
    let splits = [0, 1].into_iter().chain((2..input.len()).step_by(7));
    for split in splits {
        let conn = world.connect();
        world.send(conn, &input.as_bytes()[..split]);
        world.send(conn, &input.as_bytes()[split..]);
        let response = responses(&mut world.take(conn), false).remove(0);
        let seen = (response.status, String::from_utf8_lossy(&response.body).into_owned());
        assert_eq!(first.get_or_insert(seen.clone()), &seen, "split at {split}");
        world.reset(conn);
        last = Some(response);
    }
    last.expect("a response")
}

#[test]
fn a_refused_upgrade_is_plain_http() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let auth = format!("Authorization: Bearer {}\r\n", ann.access);
    let get = |path: &str, fields: &str| format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
    let all = |fields: &str| get("/api/v1/ws", &format!("{auth}{fields}"));
    let swap = |from: &str, to: &str| all(&format!("{REST}{KEY}").replace(from, to));
    for (input, status, code) in [
        // No token, or one of another member.
        (get("/api/v1/ws", &format!("{REST}{KEY}")), 401, "unauthorized_access"),
        (get("/api/v1/ws?access=x", &format!("{REST}{KEY}")), 401, "unauthorized_access"),
        (get("/api/v1/ws?ticket=x", &format!("{REST}{KEY}")), 401, "unauthorized_access"),
        (
            get("/api/v1/ws", &format!("Authorization: Bearer {}\r\n{REST}{KEY}", ann.refresh)),
            401,
            "unauthorized_access",
        ),
        // No upgrade, or not to WebSocket.
        (all(""), 426, "upgrade_required"),
        (all(KEY), 426, "upgrade_required"),
        (swap("Connection: Upgrade\r\n", "Connection: keep-alive\r\n"), 426, "upgrade_required"),
        (swap("Upgrade: websocket\r\n", "Upgrade: h2c\r\n"), 426, "upgrade_required"),
        (swap("Version: 13", "Version: 8"), 426, "upgrade_required"),
        (swap("Sec-WebSocket-Version: 13\r\n", ""), 426, "upgrade_required"),
        (all(&format!("{REST}{KEY}")).replace("HTTP/1.1", "HTTP/1.0"), 426, "upgrade_required"),
        // A key that is not valid.
        (swap(KEY, ""), 400, "bad_request"),
        (swap("dGhlIHNhbXBsZSBub25jZQ==", "short"), 400, "bad_request"),
        (swap(KEY, &format!("{KEY}{KEY}")), 400, "bad_request"),
        // A body would take the position of the first frame.
        (swap(KEY, &format!("{KEY}Content-Length: 2\r\n")) + "{}", 400, "bad_request"),
        // The params of the route itself.
        (get("/api/v1/ws?cursor=nonsense", &format!("{auth}{REST}{KEY}")), 400, "error_parsing_data"),
        (get("/api/v1/ws?cursor=", &format!("{auth}{REST}{KEY}")), 400, "error_parsing_data"),
        (get("/api/v1/ws?cursor=a:1&cursor=a:1", &format!("{auth}{REST}{KEY}")), 400, "error_parsing_data"),
        (
            get(&format!("/api/v1/ws?cursor=%ff&access={}", ann.access), &format!("{REST}{KEY}")),
            400,
            "error_parsing_data",
        ),
        (get("/api/v1/ws?cursor=%ff&access=nonsense", &format!("{REST}{KEY}")), 401, "unauthorized_access"),
        (all(&format!("{REST}{KEY}")).replace("GET", "POST"), 405, "method_not_allowed"),
    ] {
        let response = ask(&mut world, &input);
        assert_eq!((response.status, response.code().as_str()), (status, code), "{input}");
        assert_eq!(response.field("Content-Type"), Some("application/problem+json"));
        if status == 426 {
            assert_eq!(response.field("Upgrade"), Some("websocket"));
            assert_eq!(response.field("Sec-WebSocket-Version"), Some("13"));
        }
    }
    assert_eq!(world.server.load(), (0, 0, 0));
}

/// After it come the frames of a client that did not wait: none of them is a request, whatever its bytes are.
#[test]
fn nothing_after_a_refused_upgrade_is_served() {
    let mut world = World::new();
    let following = "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n";
    for path in ["/api/v1/ws", "/nowhere", "/healthz"] {
        let input = format!("GET {path} HTTP/1.1\r\nHost: test\r\n{REST}{KEY}\r\n{following}{following}");
        let conn = world.connect();
        world.send(conn, input.as_bytes());
        let all = responses(&mut world.take(conn), false);
        assert_eq!((all.len(), all[0].field("Connection")), (1, Some("close")), "{path}");
        assert!(world.is_closed(conn));
        world.reset(conn);
    }
}

/// A good upgrade is a 101 and nothing else. The predecessor answered an invalid token on the upgrade with an empty
/// 200.
#[test]
fn a_good_upgrade_is_101_and_only_that() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    for (path, fields) in [
        ("/api/v1/ws".to_owned(), format!("Authorization: Bearer {}\r\n", ann.access)),
        (format!("/api/v1/ws?access={}", ann.access), String::new()),
    ] {
        let input = format!(
            "GET {path} HTTP/1.1\r\nHost: test\r\n{fields}{REST}{KEY}Sec-WebSocket-Protocol: chat, natter.v1\r\n\r\n"
        );
        let response = ask(&mut world, &input);
        assert_eq!(response.status, 101);
        assert_eq!(response.field("Connection"), Some("Upgrade"));
        assert_eq!(response.field("Upgrade"), Some("websocket"));
        assert_eq!(response.field("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(response.field("Sec-WebSocket-Protocol"), Some("natter.v1"));
        assert_eq!(
            (response.field("Sec-WebSocket-Extensions"), response.field("Content-Length")),
            (None, None)
        );
        let other = ask(
            &mut world,
            &input.replace("chat, natter.v1", "chat").replace(
                "Upgrade: websocket\r\n",
                "Upgrade: WebSocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
            ),
        );
        assert_eq!(
            (other.status, other.field("Sec-WebSocket-Protocol"), other.field("Sec-WebSocket-Extensions")),
            (101, None, None)
        );
    }
    assert_eq!(world.server.load(), (0, 0, 0));
}

#[test]
fn frames_may_follow_the_head_at_once() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let head = format!(
        "GET /api/v1/ws HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\n{REST}{KEY}\r\n",
        ann.access
    );
    let head_len = head.len();
    let mut input = head.into_bytes();
    input.extend(frame(0x81, br#"{"id":1,"op":"conversation.list"}"#));
    input.extend(frame(0x89, b"ping"));
    input.extend(frame(0x88, &1_000u16.to_be_bytes()));
    for split in [0, 1, 100].into_iter().chain(head_len - 5..input.len()) {
        let conn = world.connect();
        world.send(conn, &input[..split]);
        world.send(conn, &input[split..]);
        let mut bytes = world.take(conn);
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        bytes.drain(..end);
        world.peers.get_mut(&conn).expect("a peer").received = bytes;
        let frames = world.frames(conn);
        // The response to the op, unless the peer closed before it was ready.
        let [Frame::Text(hello), Frame::Text(_), between @ .., Frame::Close(1_000, _)] = &frames[..] else {
            panic!("split at {split}: {frames:?}");
        };
        assert_eq!((at(hello, "event").as_str(), between.contains(&Frame::Pong)), ("hello", true));
        assert!(between.len() <= 2, "split at {split}: {frames:?}");
        assert!(world.is_closed(conn));
        world.end(conn);
    }
    assert_eq!(world.server.load(), (0, 0, 0));
}

#[test]
fn hello_has_the_profile_and_the_cursor() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let conn = world.open_socket(&ann, "/api/v1/ws");
    let texts = world.texts(conn);
    assert_eq!(kinds(&texts), ["hello", "caught_up"]);
    assert_eq!(
        (at(&texts[0], "profile"), at(&texts[0], "heartbeat_ms")),
        (ann.profile.clone(), "30000".into())
    );
    assert_eq!(at(&texts[0], "limits.message_max"), "4000");
    assert_eq!(at(&texts[0], "seq"), at(&texts[1], "seq"));
    assert!(at(&texts[0], "session").len() == 26 && !at(&texts[0], "epoch").is_empty());
}

/// A stream whose socket broke, was silent or was cut off must be removed from the subscribers.
#[test]
fn every_ended_stream_is_removed() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let open = |world: &mut World| world.open_socket(&ann, "/api/v1/ws");
    let broken = open(&mut world);
    world.reset(broken);
    let shut = open(&mut world);
    world.end(shut);
    let closing = open(&mut world);
    world.send(closing, &frame(0x88, &1_000u16.to_be_bytes()));
    world.end(closing);
    let wrong = open(&mut world);
    world.send(wrong, &[0xff; 20]);
    world.end(wrong);
    assert_eq!(world.server.load(), (0, 0, 0));
    let silent = open(&mut world);
    world.pass(std::time::Duration::from_secs(80));
    assert!(world.peers[&silent].closed);
    assert_eq!(world.server.load(), (0, 0, 0));
    // Half a head before, half a head after.
    let conn = world.connect();
    world.send(conn, b"GET /api/v1/ws HTTP/1.1\r\n");
    world.input(Input::Failed { conn });
    assert_eq!(world.server.load(), (0, 0, 0));
}
