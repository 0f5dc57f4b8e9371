//! Which of several faults is reported, and the order of responses: precedence, pipelining, early responses, drains.

use super::Then::{Closes, Keeps};
use super::{check, play};
use crate::support::World;
use crate::support::http::{request, responses};
use natter::model::operation::Refusal;
use natter::server::contract::Input;

const ULID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

#[test]
fn the_first_fault_in_the_contract_s_order_is_answered() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let bearer = format!("Authorization: Bearer {}\r\n", ann.access);
    let huge = "x".repeat(65_537);
    let ask = |line: &str, fields: &str, body: &str| {
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        format!("{line} HTTP/1.1\r\nHost: h\r\n{fields}{length}\r\n{body}")
    };
    let (json, text) = ("Content-Type: application/json\r\n", "Content-Type: text/plain\r\n");
    let read = format!("POST /api/v1/conversations/{ULID}/read");
    let mut case = |input: String, status, code| {
        let then = if code == "bad_request" { Closes } else { Keeps };
        check(&mut world, input, status, code, then);
    };
    // Framing comes first.
    case(ask("BREW /nowhere", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", ""), 400, "bad_request");
    // The path and the method come before the token.
    case(ask("POST /api/v1/no/where", text, &huge), 404, "not_found");
    case(ask("DELETE /api/v1/messages", text, &huge), 405, "method_not_allowed");
    // The token comes before the body, its size, its type and its content.
    case(ask("POST /api/v1/messages", text, &huge), 401, "unauthorized_access");
    case(ask("POST /api/v1/messages", text, "{"), 401, "unauthorized_access");
    case(ask("POST /api/v1/messages?a=1&a=2", json, "{"), 401, "unauthorized_access");
    // Then size, type, content and meaning, and last the stored state.
    case(ask(&read, &format!("{bearer}{text}"), &huge), 413, "too_large");
    case(ask(&read, &format!("{bearer}{text}"), "{"), 415, "not_supported_type");
    case(ask(&format!("{read}?a=1&a=2"), &format!("{bearer}{text}"), "{}"), 415, "not_supported_type");
    case(
        ask(&format!("{read}?a=1&a=2"), &format!("{bearer}{json}"), "{\"n\":-1}"),
        400,
        "error_parsing_data",
    );
    case(ask(&read, &format!("{bearer}{json}"), "{\"n\":-1"), 400, "error_parsing_data");
    case(ask(&read, &format!("{bearer}{json}"), "{\"n\":-1}"), 422, "invalid_n");
    case(ask(&read, &format!("{bearer}{json}"), "{\"n\":1}"), 404, "not_found");
}

#[test]
fn pipelined_responses_keep_the_order_of_their_requests() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let bearer = format!("Bearer {}", ann.access);
    let auth = [("Authorization", bearer.as_str())];
    let sign_up = r#"{"display_name":"bob","email":"bob@example.org","password":"correct horse bob"}"#;
    let input = [
        request("GET", "/api/v1/user/me", &auth, None),
        request("GET", "/healthz", &[], None),
        request("POST", "/api/v1/user/sign-up", &[], Some(sign_up)),
        request("GET", "/nowhere", &[], None),
        request("GET", "/api/v1/conversations", &auth, None),
        request("GET", "/healthz", &[("Connection", "close")], None),
        request("GET", "/healthz", &[], None),
    ]
    .concat();
    let statuses = |all: &[super::Response]| all.iter().map(|response| response.status).collect::<Vec<_>>();
    let (all, then) = play(&mut world, &[&input]);
    assert_eq!((statuses(&all), then), (vec![200, 200, 201, 404, 200, 200], Closes), "nothing after a close");
    // While a question is in flight, no request after it is parsed, and no more is read.
    world.holds = true;
    let conn = world.connect();
    world.send(conn, &input);
    world.send(conn, b"GET ");
    assert_eq!((world.take(conn), world.asked.len(), world.unread(conn)), (Vec::new(), 1, 4));
    world.release(1);
    assert_eq!(statuses(&responses(&mut world.take(conn), false)), [200, 200]);
    world.holds = false;
    world.release(9);
    assert_eq!(statuses(&responses(&mut world.take(conn), false)), [409, 404, 200, 200]);
}

#[test]
fn a_peer_that_shuts_its_side_gets_all_responses() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let bearer = format!("Bearer {}", ann.access);
    let one = request("GET", "/api/v1/user/me", &[("Authorization", &bearer)], None);
    for holds in [false, true] {
        world.holds = holds;
        let conn = world.connect();
        world.send(conn, &one.repeat(3));
        world.end(conn);
        world.holds = false;
        world.release(3);
        assert_eq!(responses(&mut world.take(conn), false).len(), 3);
        assert!(world.peers[&conn].closed);
    }
    // An incomplete request gets no response, but the requests before it do.
    for half in [&one[..20], &request("POST", "/api/v1/user/refresh", &[], Some("{}"))[..90]] {
        let conn = world.connect();
        world.peers.get_mut(&conn).expect("a peer").stalled = true;
        world.send(conn, &[&one, half].concat());
        world.end(conn);
        world.unstall(conn);
        assert_eq!(responses(&mut world.take(conn), false).len(), 1);
        assert!(world.peers[&conn].closed);
    }
    assert_eq!(world.server.load(), (0, 0, 0));
}

#[test]
fn responses_wait_for_a_slow_reader_in_bounded_memory() {
    let mut world = World::new();
    let conn = world.connect();
    world.peers.get_mut(&conn).expect("a peer").stalled = true;
    let one = request("GET", "/", &[], None);
    let count = 3_000;
    world.send(conn, &one.repeat(count));
    let queued = world.server.send_queue(conn).expect("open").memory();
    assert!(queued < 3 * natter::limits::PIPELINE_BYTES_MAX, "{queued} bytes are waiting");
    world.unstall(conn);
    assert_eq!(responses(&mut world.take(conn), false).len(), count);
}

#[test]
fn an_early_response_leaves_the_connection_usable() {
    let mut world = World::new();
    let next = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
    let head = "POST /api/v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n";
    let conn = world.connect();
    world.send(conn, head.as_bytes());
    assert_eq!(responses(&mut world.take(conn), false)[0].status, 401, "answered without a byte of the body");
    for _ in 0..30 {
        world.send(conn, &[b'x'; 10_000]);
        assert!(!world.is_closed(conn));
    }
    world.send(conn, next.as_bytes());
    assert_eq!(responses(&mut world.take(conn), false)[0].status, 200);
    // For an orderly end this much is read and dropped, and no more: 10 MiB of an upload and 1 MiB.
    let max = 10_485_760 + 1_048_576;
    for (length, then) in [(max, Keeps), (max + 1, Closes)] {
        let head = format!("POST /api/v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
        let conn = world.connect();
        world.send(conn, head.as_bytes());
        let all = responses(&mut world.take(conn), false);
        assert_eq!(all[0].field("Connection") == Some("close"), then == Closes);
        let megabyte = vec![b'x'; 1_048_576];
        let mut left = length;
        while left > 0 && !world.peers[&conn].closed {
            let piece = left.min(megabyte.len());
            world.send(conn, &megabyte[..piece]);
            left -= piece;
        }
        assert!(left <= 1, "the body was read");
        world.send(conn, next.as_bytes());
        assert_eq!(responses(&mut world.take(conn), false).len(), usize::from(then == Keeps), "{length}");
    }
}

#[test]
fn after_a_close_the_peer_may_still_be_sending() {
    let mut world = World::new();
    let conn = world.connect();
    world.send(conn, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(responses(&mut world.take(conn), false)[0].status, 400);
    assert!(
        world.peers[&conn].write_shut && !world.peers[&conn].closed,
        "a reset would discard the response"
    );
    world.send(conn, &[b'x'; 100_000]);
    assert_eq!((world.take(conn), world.unread(conn)), (Vec::new(), 0), "read and dropped");
    world.end(conn);
    assert!(world.peers[&conn].closed);
}

/// A post that may be repeated must not be overtaken by a later one.
#[test]
fn a_refusal_worth_a_retry_ends_the_connection() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let bearer = format!("Bearer {}", ann.access);
    let body = format!(r#"{{"to":"{}","client_id":"{ULID}","body":"hi"}}"#, bob.profile);
    let post = request("POST", "/api/v1/messages", &[("Authorization", &bearer)], Some(&body));
    for (refusal, status, code) in [
        (Refusal::Busy, 503, "busy"),
        (Refusal::Unavailable, 503, "unavailable"),
        (Refusal::StorageFull, 507, "storage_full"),
        (Refusal::Internal, 500, "general_error"),
    ] {
        world.holds = true;
        let conn = world.connect();
        world.send(conn, &post.repeat(2));
        world.refuse(refusal);
        world.release(9);
        let all = responses(&mut world.take(conn), false);
        assert_eq!((all.len(), all[0].status, all[0].code().as_str()), (1, status, code));
        assert_eq!(all[0].field("Connection"), Some("close"));
        assert_eq!(all[0].at("retry"), (status != 500).to_string());
        world.holds = false;
    }
    // Nothing was stored, and the post can be repeated.
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).status, 201);
}

#[test]
fn a_shutdown_finishes_the_requests_in_flight() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let bearer = format!("Bearer {}", ann.access);
    let me = request("GET", "/api/v1/user/me", &[("Authorization", &bearer)], None);
    let (idle, half, waiting) = (world.connect(), world.connect(), world.connect());
    let probe = world.connect();
    world.send(probe, b"GET /readyz HTTP/1.1\r\n");
    world.send(idle, &me);
    world.take(idle);
    world.send(half, &me[..30]);
    world.holds = true;
    world.send(waiting, &me);
    world.input(Input::Drain);
    assert!(world.is_closed(idle) && !world.is_closed(half) && !world.is_closed(waiting));
    assert!(!world.server.is_accepting());
    world.holds = false;
    world.release(1);
    let all = responses(&mut world.take(waiting), false);
    assert_eq!((all[0].status, all[0].field("Connection")), (200, Some("close")));
    world.send(half, &me[30..]);
    let all = responses(&mut world.take(half), false);
    assert_eq!(
        (all[0].status, all[0].code().as_str(), all[0].field("Connection")),
        (503, "unavailable", Some("close"))
    );
    world.send(probe, b"Host: h\r\nAccept-Language: ar\r\n\r\n");
    let ready = responses(&mut world.take(probe), false).remove(0);
    assert_eq!((ready.status, ready.at("detail").as_str()), (503, "shutting down"));
    assert_eq!((ready.field("Content-Language"), ready.at("title").is_ascii()), (Some("ar"), false));
    for conn in [idle, half, waiting, probe] {
        world.end(conn);
    }
    world.release(9);
    assert!(world.server.is_drained());
    let late = world.connect();
    assert!(world.peers[&late].closed);
}

#[test]
fn no_credential_is_taken_from_a_query() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let secret = "password=correct%20horse";
    for (method, target, body, field) in [
        ("POST", format!("/api/v1/user/sign-in?email=ann@example.org&{secret}"), None, "password"),
        ("POST", format!("/api/v1/user/sign-in?{secret}"), Some("{}"), "password"),
        ("POST", format!("/api/v1/user/refresh?refresh={}", ann.refresh), None, "refresh"),
        ("DELETE", format!("/api/v1/user/me?{secret}"), None, "password"),
        ("PUT", "/api/v1/user/password?new_password=x".to_owned(), Some("{}"), "new_password"),
    ] {
        let answer = match body {
            Some(_) | None if target.contains("sign-in") || target.contains("refresh") => {
                world.ask(method, &target, &[], body)
            }
            body => world.ask_as(&ann, method, &target, body),
        };
        let expect = (422, format!("invalid_{field}"), field.to_owned());
        assert_eq!((answer.status, answer.at("code"), answer.at("field")), expect, "{target}");
    }
}

#[test]
fn a_read_for_a_closed_connection_is_cancelled() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let bearer = format!("Bearer {}", ann.access);
    world.holds = true;
    let (gone, stays) = (world.connect(), world.connect());
    for conn in [gone, stays] {
        world.send(conn, &request("GET", "/api/v1/conversations", &[("Authorization", &bearer)], None));
    }
    assert_eq!(world.asked.len(), 2);
    world.reset(gone);
    assert_eq!(world.asked.len(), 1, "the read of the closed connection is cancelled");
    world.release(1);
    assert_eq!(responses(&mut world.take(stays), false)[0].status, 200);
    assert_eq!(world.server.load().1, 0, "no call is left");
}
