//! Why a connection ended, as `natter_connections_closed_total` counts it.

use std::time::Duration;

use crate::support::World;
use crate::support::http::{Person, request};
use natter::server::contract::{ConnId, Input};

/// Brings a connection to its end.
type End = fn(&mut World, &Person, ConnId);

fn stream(world: &mut World, person: &Person, conn: ConnId) {
    let token = format!("Bearer {}", person.access);
    let fields = [("Authorization", &*token), ("Accept", "text/event-stream")];
    world.send(conn, &request("GET", "/api/v1/events", &fields, None));
}

fn pass(world: &mut World, seconds: u64) {
    world.pass(Duration::from_secs(seconds));
}

const ROWS: [(&str, End); 8] = [
    ("answered", |world, _, conn| {
        world.send(conn, &request("GET", "/healthz", &[("Connection", "close")], None));
        world.end(conn);
    }),
    ("peer_left", |world, _, conn| {
        world.send(conn, &request("GET", "/healthz", &[], None));
        world.end(conn);
    }),
    ("peer_left", |world, person, conn| {
        stream(world, person, conn);
        world.end(conn);
    }),
    ("socket_failed", |world, _, conn| world.input(Input::Failed { conn })),
    ("protocol_error", |world, _, conn| {
        world.send(conn, b"no request\r\n\r\n");
        world.end(conn);
    }),
    ("request_timeout", |world, _, conn| {
        world.send(conn, b"GET /heal");
        pass(world, 10);
        world.end(conn);
    }),
    ("idle", |world, _, conn| {
        world.send(conn, &request("GET", "/healthz", &[], None));
        pass(world, 75);
    }),
    ("session_over", |world, person, conn| {
        stream(world, person, conn);
        let body = format!(r#"{{"refresh":"{}"}}"#, person.refresh);
        assert_eq!(world.ask_as(person, "POST", "/api/v1/user/logout", Some(&body)).status, 200);
        world.end(conn);
    }),
];

fn closed(world: &mut World) -> Vec<(String, u64)> {
    let response = world.ask("GET", "/metrics", &[], None);
    let text = response.text();
    let rows = text.lines().filter_map(|line| {
        let (reason, count) =
            line.strip_prefix("natter_connections_closed_total{reason=\"")?.split_once("\"} ")?;
        Some((reason.to_owned(), count.parse().expect("a count")))
    });
    rows.collect()
}

#[test]
fn each_end_is_counted_under_its_reason() {
    for (reason, end) in ROWS {
        let mut world = World::new();
        let ann = world.sign_up("ann");
        let conn = world.connect();
        let before = closed(&mut world);
        end(&mut world, &ann, conn);
        assert!(world.is_closed(conn), "{reason}");
        let after = closed(&mut world);
        let mine = |rows: &[(String, u64)]| rows.iter().find(|(name, _)| name == reason).expect("a row").1;
        assert!(mine(&after) > mine(&before), "{reason}: {before:?} {after:?}");
        assert!(after.iter().all(|(name, count)| name != "internal" || *count == 0), "{after:?}");
    }
}
