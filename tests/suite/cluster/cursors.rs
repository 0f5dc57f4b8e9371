//! A cursor of one node on another one, which may not have come so far.

use std::time::Duration;

use super::post;
use crate::support::cluster::Cluster;
use crate::support::http::{Person, next_response, request};
use natter::server::contract::ConnId;

/// A cluster of two, whose second node is behind; and a cursor of the first.
struct Behind {
    cluster: Cluster,
    ann: Person,
    bob: Person,
    cursor: String,
}

fn behind() -> Behind {
    let mut cluster = Cluster::new(2);
    let (ann, bob) = (cluster[0].sign_up("ann"), cluster[0].sign_up("bob"));
    cluster.settle();
    // It writes nothing of its own, which would have it come as far.
    cluster.pass(Duration::from_secs(6));
    cluster.behind.insert(1);
    post(&mut cluster, 0, &ann, &bob, 1);
    post(&mut cluster, 0, &ann, &bob, 2);
    let cursor = cluster[0].ask_as(&bob, "GET", "/api/v1/events?cursor=now", None).at("cursor");
    post(&mut cluster, 0, &ann, &bob, 3);
    Behind { cluster, ann, bob, cursor }
}

fn begin(cluster: &mut Cluster, who: &Person, path: &str, accept: &str) -> ConnId {
    let bearer = format!("Bearer {}", who.access);
    let conn = cluster[1].connect();
    cluster[1].send(conn, &request("GET", path, &[("Authorization", &bearer), ("Accept", accept)], None));
    conn
}

const SOON: Duration = Duration::from_millis(100);

#[test]
fn a_socket_waits_until_the_node_has_come_as_far() {
    let Behind { mut cluster, bob, cursor, .. } = behind();
    let conn = cluster[1].open_socket(&bob, &format!("/api/v1/ws?cursor={cursor}"));
    cluster.pass(Duration::from_millis(1_500));
    let texts = cluster[1].texts(conn);
    assert!(texts.len() == 1 && texts[0].contains("\"hello\""), "{texts:?}");
    cluster.behind.clear();
    cluster.pass(SOON);
    let texts = cluster[1].texts(conn);
    assert!(
        texts.len() == 2 && texts[0].contains("message.posted") && texts[0].contains("\"n\":3"),
        "{texts:?}"
    );
    assert!(texts[1].contains("caught_up"), "{texts:?}");
}

/// An entry of others in between is not enough; and what comes while it waits comes once.
#[test]
fn a_socket_that_waits_gets_each_event_once() {
    let Behind { mut cluster, ann, bob, cursor } = behind();
    let conn = cluster[1].open_socket(&bob, &format!("/api/v1/ws?cursor={cursor}"));
    cluster[1].texts(conn);
    assert!(cluster[1].catch_up(1));
    cluster.pass(SOON);
    assert!(cluster[1].texts(conn).is_empty());
    cluster.behind.clear();
    cluster.settle();
    post(&mut cluster, 1, &ann, &bob, 4);
    cluster.pass(SOON);
    let texts = cluster[1].texts(conn);
    let posted: Vec<&String> = texts.iter().filter(|text| text.contains("message.posted")).collect();
    assert!(posted.len() == 2 && posted[0].contains("\"n\":3") && posted[1].contains("\"n\":4"), "{texts:?}");
    assert!(texts.iter().all(|text| !text.contains("reset")));
}

#[test]
fn a_socket_is_closed_with_1013_after_two_seconds_and_never_reset() {
    let Behind { mut cluster, bob, cursor, .. } = behind();
    let conn = cluster[1].open_socket(&bob, &format!("/api/v1/ws?cursor={cursor}"));
    cluster[1].texts(conn);
    cluster.pass(Duration::from_millis(1_900));
    assert!(!cluster[1].is_closed(conn) && cluster[1].frames(conn).is_empty());
    cluster.pass(Duration::from_millis(200));
    assert_eq!(cluster[1].close_code(conn), Some(1013));
}

#[test]
fn a_long_poll_waits_and_is_unavailable_after_two_seconds() {
    let Behind { mut cluster, bob, cursor, .. } = behind();
    let path = format!("/api/v1/events?cursor={cursor}&wait=20");
    let (first, second) = (begin(&mut cluster, &bob, &path, "*/*"), begin(&mut cluster, &bob, &path, "*/*"));
    cluster.pass(Duration::from_millis(1_900));
    assert!(cluster[1].take(first).is_empty());
    cluster.pass(Duration::from_millis(200));
    for conn in [first, second] {
        let mut bytes = cluster[1].take(conn);
        let refused = next_response(&mut bytes, false).expect("a response");
        assert_eq!(
            (refused.status, refused.code(), refused.field("Retry-After")),
            (503, "unavailable".into(), Some("1"))
        );
    }
    let conn = begin(&mut cluster, &bob, &path, "*/*");
    cluster.pass(SOON);
    cluster.behind.clear();
    cluster.pass(SOON);
    let mut bytes = cluster[1].take(conn);
    let page = next_response(&mut bytes, false).expect("a response");
    assert_eq!((page.status, page.at("data.0.data.n"), page.at("data.1")), (200, "3".into(), "null".into()));
}

/// A browser's EventSource gives up at a 503, and connects again when its stream ends.
#[test]
fn an_event_stream_waits_and_ends_after_two_seconds() {
    let Behind { mut cluster, bob, cursor, .. } = behind();
    let path = format!("/api/v1/events?cursor={cursor}");
    let conn = begin(&mut cluster, &bob, &path, "text/event-stream");
    assert!(cluster[1].take(conn).starts_with(b"HTTP/1.1 200 "));
    cluster.pass(Duration::from_millis(2_100));
    assert_eq!(cluster[1].take(conn), b"0\r\n\r\n");
    assert!(cluster[1].is_closed(conn));
    let conn = begin(&mut cluster, &bob, &path, "text/event-stream");
    cluster[1].take(conn);
    cluster.behind.clear();
    cluster.pass(SOON);
    let text = String::from_utf8(cluster[1].take(conn)).expect("UTF-8");
    assert!(text.contains("event: message.posted") && !text.contains("reset"), "{text}");
}

/// It is of another log.
#[test]
fn a_cursor_of_another_epoch_is_reset_at_once() {
    let Behind { mut cluster, bob, .. } = behind();
    let conn = cluster[1].open_socket(&bob, "/api/v1/ws?cursor=other:1");
    let texts = cluster[1].texts(conn);
    assert!(texts.iter().any(|text| text.contains("\"reset\"")), "{texts:?}");
}
