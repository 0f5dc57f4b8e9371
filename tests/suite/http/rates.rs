//! Rates and connections: which requests count together, the content of a refusal, and what is never counted.

use std::time::Duration;

use crate::support::http::{Person, Response, request, responses};
use crate::support::{World, limits, settings};
use natter::base::network::{Network, Networks};
use natter::limits::{Limits, Rate};
use natter::model::settings::Settings;
use natter::server::contract::{ConnId, ListenerKind};

fn rated() -> World {
    World::with(settings(Limits { rate_limit: true, ..limits() }))
}

/// Sends requests until one is refused; returns how many passed, and the refusal.
fn exhaust(world: &mut World, mut ask: impl FnMut(&mut World) -> Response) -> (usize, Response) {
    for passed in 0..1_000 {
        let response = ask(world);
        if response.status == 429 {
            return (passed, response);
        }
    }
    panic!("never refused");
}

fn ask_from(world: &mut World, peer: &str, method: &str, path: &str, fields: &[(&str, &str)]) -> Response {
    let conn = world.connect_from(peer);
    let body = (method == "POST").then_some("{}");
    let response = world.ask_on(conn, method, path, fields, body);
    world.reset(conn);
    response
}

#[test]
fn a_burst_passes_then_429_says_when_to_come_back() {
    let mut world = rated();
    let health = |world: &mut World| ask_from(world, "192.0.2.1", "GET", "/healthz", &[]);
    let first = health(&mut world);
    assert_eq!(first.field("RateLimit-Policy"), Some("\"address\";q=100;w=2"));
    assert_eq!(first.field("RateLimit"), Some("\"address\";r=99;t=1"));
    let (passed, refused) = exhaust(&mut world, health);
    assert_eq!(
        (passed, refused.code().as_str(), refused.field("Retry-After")),
        (99, "rate_limited", Some("1"))
    );
    assert_eq!((refused.at("retry"), refused.at("retry_after_ms")), ("true".into(), "20".into()));
    assert_eq!(refused.field("RateLimit"), Some("\"address\";r=0;t=2"));
    world.pass(Duration::from_millis(20));
    assert_eq!((health(&mut world).status, health(&mut world).status), (200, 429));
    world.pass(Duration::from_secs(2));
    assert_eq!(exhaust(&mut world, health).0, 100);
}

/// A client that asks again as soon as it is refused would keep the server busy with refusals.
#[test]
fn a_flood_of_refused_requests_is_answered_slowly() {
    let mut world = World::with(settings(Limits { rate_limit: true, connections_max: 8, ..limits() }));
    let ask = request("POST", "/api/v1/user/sign-in", &[], Some("{}"));
    let statuses = |world: &mut World, conn| -> Vec<u16> {
        responses(&mut world.take(conn), false).iter().map(|response| response.status).collect()
    };
    let conn = world.connect_from("192.0.2.1");
    world.send(conn, &ask.repeat(40));
    let first = statuses(&mut world, conn);
    assert_eq!(
        first,
        [[422; 10].as_slice(), &[429; 20]].concat(),
        "a burst, then a burst of prompt refusals"
    );
    // Of all connections of the network, each waits with the next one, and in all a quarter of CONNECTIONS_MAX may.
    let [second, third] = [2, 3].map(|last| world.connect_from(&format!("192.0.2.{last}")));
    let flood = |world: &mut World, conn| {
        world.send(conn, &ask.repeat(400));
        statuses(world, conn).len()
    };
    assert!(flood(&mut world, second) < 400);
    assert_eq!(flood(&mut world, third), 400, "beyond the bound each is prompt");
    assert_eq!(ask_from(&mut world, "198.51.100.1", "POST", "/api/v1/user/sign-in", &[]).status, 422);
    world.pass(Duration::from_millis(499));
    assert_eq!((statuses(&mut world, conn), statuses(&mut world, second)), (vec![], vec![]));
    world.pass(Duration::from_millis(1));
    assert!(!statuses(&mut world, conn).is_empty() && statuses(&mut world, second)[0] != 200);
    // One that hangs up leaves its place, and a drain answers at once.
    world.reset(second);
    assert!(flood(&mut world, third) < 400);
    world.input(natter::server::contract::Input::Drain);
    assert!(!statuses(&mut world, third).is_empty() && world.is_closed(third));
}

/// An answer to each connection of a flood would cost all others more than the flood itself.
#[test]
fn a_flood_of_refused_connections_is_closed_without_an_answer() {
    let limits = Limits { rate_limit: true, connections_per_address: 2, ..limits() };
    let mut world = World::with(settings(limits));
    let answered = |world: &mut World, peer: &str| {
        let conn = world.connect_from(peer);
        assert!(world.is_closed(conn));
        !world.take(conn).is_empty()
    };
    for _ in 0..2 {
        world.connect_from("192.0.2.1");
        world.connect_from("198.51.100.1");
    }
    let count = (0..100).filter(|_| answered(&mut world, "192.0.2.1")).count();
    assert_eq!(count, 20, "a burst");
    world.pass(Duration::from_secs(1));
    let count = (0..100).filter(|_| answered(&mut world, "192.0.2.1")).count();
    assert_eq!(count, 10, "and what a second has refilled");
    assert!(answered(&mut world, "198.51.100.1"));
}

/// A rate counts an address over all its connections. The predecessor counted by address and port: a new connection was
/// a new budget.
#[test]
fn addresses_are_counted_not_connections() {
    let mut world = rated();
    let health = |peer: &'static str| move |world: &mut World| ask_from(world, peer, "GET", "/healthz", &[]);
    assert_eq!(exhaust(&mut world, health("192.0.2.1")).0, 100);
    assert_eq!(exhaust(&mut world, health("192.0.2.2")).0, 100);
    assert_eq!(exhaust(&mut world, health("::ffff:192.0.2.2")).0, 0, "the same address");
    assert_eq!(exhaust(&mut world, health("2001:db8::1")).0, 100);
    assert_eq!(exhaust(&mut world, health("2001:db8::ffff:1")).0, 0, "a /64 counts as one subscriber");
    assert_eq!(exhaust(&mut world, health("2001:db8:0:1::1")).0, 100);
}

#[test]
fn each_class_of_routes_has_its_budget() {
    let mut world = rated();
    let sign_in = |world: &mut World| ask_from(world, "192.0.2.1", "POST", "/api/v1/user/sign-in", &[]);
    let (passed, refused) = exhaust(&mut world, sign_in);
    assert_eq!((passed, refused.field("RateLimit-Policy")), (10, Some("\"credentials\";q=10;w=2")));
    assert_eq!(ask_from(&mut world, "192.0.2.1", "GET", "/healthz", &[]).status, 200);
    let ann = world.sign_up("ann");
    let bearer = format!("Bearer {}", ann.access);
    let auth = [("Authorization", bearer.as_str())];
    let me = |world: &mut World| ask_from(world, "192.0.2.9", "GET", "/api/v1/user/me", &auth);
    assert_eq!(me(&mut world).field("RateLimit-Policy"), Some("\"account\";q=100;w=2"));
    let (passed, refused) =
        exhaust(&mut world, |world| ask_from(world, "192.0.2.9", "POST", "/api/v1/messages", &auth));
    assert_eq!((passed, refused.field("RateLimit-Policy")), (60, Some("\"writes\";q=60;w=3")));
    let (passed, refused) = exhaust(&mut world, me);
    assert_eq!((passed, refused.field("RateLimit-Policy")), (100 - 1 - 61, Some("\"account\";q=100;w=2")));
    let (passed, _) =
        exhaust(&mut world, |world| ask_from(world, "198.51.100.1", "GET", "/api/v1/user/me", &auth));
    assert_eq!(passed, 0, "an account is counted once for all addresses");
}

#[test]
fn failures_count_against_their_address_and_not_against_good_tokens() {
    let mut world = rated();
    let ann = world.sign_up("ann");
    let bearer = format!("Bearer {}", ann.access);
    let peer = "192.0.2.1";
    let bad =
        |world: &mut World| ask_from(world, peer, "GET", "/api/v1/user/me", &[("Authorization", "Bearer x")]);
    let (passed, refused) = exhaust(&mut world, bad);
    assert_eq!((passed, refused.field("WWW-Authenticate")), (100, None));
    assert_eq!(ask_from(&mut world, peer, "GET", "/healthz", &[]).status, 429);
    assert_eq!(
        ask_from(&mut world, peer, "GET", "/api/v1/user/me", &[("Authorization", &bearer)]).status,
        200
    );
    // 404 and 405 are decided before the rate, and cost as much.
    assert_eq!(ask_from(&mut world, peer, "GET", "/nowhere", &[]).status, 404);
    let peer = "192.0.2.2";
    for at in 0..50 {
        let lost = ask_from(&mut world, peer, "GET", "/nowhere", &[]);
        assert_eq!(
            lost.field("RateLimit"),
            Some(format!("\"address\";r={};t={}", 99 - 2 * at, (2 * at + 50) / 50).as_str())
        );
        assert_eq!(ask_from(&mut world, peer, "DELETE", "/healthz", &[]).status, 405);
    }
    assert_eq!(ask_from(&mut world, peer, "GET", "/healthz", &[]).status, 429);
    // Heads that can't be parsed cost as much, too.
    let peer = "192.0.2.3";
    for _ in 0..100 {
        let conn = world.connect_from(peer);
        world.send(conn, b"nonsense\r\n\r\n");
        assert_eq!(responses(&mut world.take(conn), false)[0].status, 400);
        world.reset(conn);
    }
    assert_eq!(ask_from(&mut world, peer, "GET", "/healthz", &[]).status, 429);
}

#[test]
fn preflights_are_free() {
    let mut world = rated();
    let fields = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "POST")];
    for _ in 0..300 {
        let response = ask_from(&mut world, "192.0.2.1", "OPTIONS", "/api/v1/messages", &fields);
        assert_eq!((response.status, response.field("RateLimit")), (204, None));
    }
    let plain = |world: &mut World| ask_from(world, "192.0.2.1", "OPTIONS", "/api/v1/messages", &[]);
    assert_eq!(exhaust(&mut world, plain).0, 100, "any other OPTIONS is a request");
}

#[test]
fn only_a_trusted_proxy_speaks_for_others() {
    let trusted_proxies = Networks::new(vec![Network::parse("10.0.0.0/8").expect("a network")]);
    let limits = Limits { rate_limit: true, connections_per_address: 2, ..limits() };
    let mut world = World::with(Settings { trusted_proxies, ..settings(limits) });
    let via = |peer: &'static str, name: &'static str, value: &'static str| {
        move |world: &mut World| ask_from(world, peer, "GET", "/healthz", &[(name, value)])
    };
    assert_eq!(exhaust(&mut world, via("10.0.0.1", "X-Forwarded-For", "192.0.2.1")).0, 100);
    assert_eq!(exhaust(&mut world, via("10.0.0.2", "Forwarded", "for=192.0.2.1;proto=https")).0, 0);
    assert_eq!(exhaust(&mut world, via("10.0.0.1", "X-Forwarded-For", "198.51.100.9, 192.0.2.2")).0, 100);
    assert_eq!(exhaust(&mut world, via("192.0.2.3", "X-Forwarded-For", "192.0.2.4")).0, 100);
    assert_eq!(
        exhaust(&mut world, via("192.0.2.3", "X-Forwarded-For", "192.0.2.5")).0,
        0,
        "it is not trusted"
    );
    // Its connections carry requests of many people.
    let open = |world: &mut World, peer: &str| {
        let conns = [(); 3].map(|()| world.connect_from(peer));
        conns.iter().filter(|conn| !world.is_closed(**conn)).count()
    };
    assert_eq!((open(&mut world, "10.0.0.1"), open(&mut world, "203.0.113.1")), (3, 2));
}

/// The one response on a connection that the server ends.
fn refusal(world: &mut World, conn: ConnId) -> (u16, String, Option<String>) {
    assert!(world.is_closed(conn));
    let response = responses(&mut world.take(conn), false).remove(0);
    (response.status, response.code(), response.field("Retry-After").map(str::to_owned))
}

#[test]
fn connections_are_bounded_by_nested_prefixes() {
    let mut world = World::with(settings(Limits { connections_per_address: 4, ..limits() }));
    let mut open = |peer: &str| {
        let conn = world.connect_from(peer);
        let welcome = !world.is_closed(conn);
        if !welcome {
            assert_eq!(refusal(&mut world, conn), (429, "rate_limited".into(), Some("1".into())), "{peer}");
        }
        welcome
    };
    let mut count = |total: usize, peer: fn(usize) -> String| (0..total).filter(|i| open(&peer(*i))).count();
    assert_eq!(count(10, |_| "192.0.2.1".into()), 4);
    assert_eq!(count(100, |i| format!("192.0.2.{}", 2 + i)), 12, "16 of a /24");
    assert_eq!(count(10, |_| "2001:db8::1".into()), 4);
    assert_eq!(count(100, |i| format!("2001:db8:0:{:x}::1", 1 + i)), 4, "8 of a /56");
    assert_eq!(count(100, |i| format!("2001:db8:0:{:x}00::1", 1 + i)), 8, "16 of a /48");
    assert_eq!(count(3, |_| "2001:db8:1::1".into()), 3, "elsewhere");
}

#[test]
fn the_connection_idle_for_longest_is_closed_first() {
    let mut world = World::with(settings(Limits { connections_max: 5, ..limits() }));
    let ann = world.sign_up("ann");
    let second = Duration::from_secs(1);
    let bearer = format!("Bearer {}", ann.access);
    let ask = |world: &mut World, conn, fields: &[(&str, &str)]| {
        let path = if fields.is_empty() { "/healthz" } else { "/api/v1/user/me" };
        assert_eq!(world.ask_on(conn, "GET", path, fields, None).status, 200);
        world.pass(second);
    };
    let come = |world: &mut World, peer: &str| {
        let conn = world.connect_from(peer);
        world.pass(second);
        conn
    };
    let member = come(&mut world, "192.0.2.1");
    ask(&mut world, member, &[("Authorization", &bearer)]);
    let silent = come(&mut world, "192.0.2.2");
    // A head or a body that never ends counts as idle too, however fast it comes.
    let head = come(&mut world, "192.0.2.3");
    let body = come(&mut world, "192.0.2.4");
    world.send(body, b"POST /api/v1/user/refresh HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{");
    let useful = come(&mut world, "192.0.2.5");
    ask(&mut world, useful, &[]);
    world.send(head, b"GET / HT");
    world.send(body, b"1");
    let mut newcomers = Vec::new();
    for victim in [silent, head, body, useful] {
        assert!(!world.peers[&victim].closed);
        newcomers.push(come(&mut world, "203.0.113.1"));
        assert!(world.peers[&victim].closed);
    }
    assert!(!world.is_closed(member) && newcomers.iter().all(|conn| !world.is_closed(*conn)));
    // Then an idle connection with an account; never a stream.
    for conn in newcomers {
        ask(&mut world, conn, &[("Authorization", &bearer)]);
    }
    let events = come(&mut world, "192.0.2.6");
    assert!(world.peers[&member].closed);
    let fields = [("Authorization", bearer.as_str()), ("Accept", "text/event-stream")];
    world.send(events, &request("GET", "/api/v1/events", &fields, None));
    world.pass(second);
    assert!(!world.is_closed(events));
}

#[test]
fn above_the_limit_of_connections_there_is_a_prompt_503() {
    let mut world = World::with(settings(Limits { connections_max: 3, ..limits() }));
    let ann = world.sign_up("ann");
    let bearer = format!("Bearer {}", ann.access);
    let fields = [("Authorization", bearer.as_str()), ("Accept", "text/event-stream")];
    let streams = [(); 3].map(|()| {
        let conn = world.connect();
        world.send(conn, &request("GET", "/api/v1/events", &fields, None));
        conn
    });
    for _ in 0..1_000 {
        let conn = world.connect_from("203.0.113.1");
        assert_eq!(refusal(&mut world, conn), (503, "busy".into(), Some("1".into())));
        assert!(world.server.is_accepting());
    }
    assert!(world.server.load().0 <= 3 + 256, "connections that get the 503 are bounded, too");
    world.pass(Duration::from_secs(2));
    assert_eq!(world.server.load().0, 3);
    world.reset(streams[0]);
    let conn = world.connect_from("203.0.113.1");
    assert_eq!(
        world.ask_on(conn, "GET", "/healthz", &[], None).status,
        200,
        "a closed stream frees a connection"
    );
    // The control socket has its own limit.
    let control = world.connect_through("127.0.0.1", ListenerKind::Control);
    assert_eq!(world.ask_on(control, "GET", "/healthz", &[], None).status, 200);
}

/// All connections of a proxy have one address, and few are idle: so their streams and requests are counted instead.
#[test]
fn behind_a_trusted_proxy_streams_and_requests_are_counted_by_address_and_account() {
    let trusted_proxies = Networks::new(vec![Network::parse("10.0.0.1").expect("a network")]);
    let limits = Limits { connections_per_address: 4, connections_max: 24, ..limits() };
    let mut world = World::with(Settings { trusted_proxies, ..settings(limits) });
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let open = |world: &mut World, person: &Person, address: &str| {
        let conn = world.connect_from("10.0.0.1");
        let bearer = format!("Bearer {}", person.access);
        let accept = ("Accept", "text/event-stream");
        let fields = [("Authorization", bearer.as_str()), accept, ("X-Forwarded-For", address)];
        world.send(conn, &request("GET", "/api/v1/events", &fields, None));
        let head = String::from_utf8_lossy(&world.take(conn)).into_owned();
        (conn, head[9..12].parse::<u16>().expect("a status"))
    };
    let mut conns = Vec::new();
    for (person, address, status) in [
        (&ann, "192.0.2.1", 200),
        (&ann, "192.0.2.1", 200),
        (&bob, "192.0.2.1", 200),
        (&bob, "192.0.2.1", 200),
        // Four of this address.
        (&bob, "192.0.2.1", 429),
        (&ann, "198.51.100.1", 200),
        (&ann, "198.51.100.2", 200),
        // Four of this account.
        (&ann, "198.51.100.3", 429),
        (&bob, "203.0.113.1", 200),
    ] {
        let (conn, seen) = open(&mut world, person, address);
        assert_eq!(seen, status, "{address}");
        assert_eq!(world.is_closed(conn), status == 429, "a refused one is closed");
        conns.push(conn);
    }
    world.reset(conns[0]);
    assert_eq!(open(&mut world, &bob, "192.0.2.1").1, 200, "a closed stream no longer counts");
    // Idle connections of a proxy belong to no client, so no client's requests are lost.
    let fields = [("X-Forwarded-For", "192.0.2.77")];
    for _ in 0..2 {
        let conn = world.connect_from("10.0.0.1");
        for _ in 0..10 {
            assert_eq!(world.ask_on(conn, "GET", "/healthz", &fields, None).status, 200);
        }
    }
    let idle: Vec<ConnId> = std::iter::from_fn(|| {
        let conn = world.connect_from("10.0.0.1");
        (!world.is_closed(conn)).then_some(conn)
    })
    .take(20)
    .collect();
    assert!(!idle.is_empty() && idle.iter().all(|conn| !world.peers[conn].closed));
    let conn = world.connect_from("203.0.113.9");
    assert_eq!(refusal(&mut world, conn).0, 503);
}

/// A proxy may keep an idle connection for each of its clients, and the server never evicts these.
#[test]
fn idle_connections_of_a_trusted_proxy_leave_connections_for_others() {
    let trusted_proxies = Networks::new(vec![Network::parse("10.0.0.1").expect("a network")]);
    let limits = Limits { connections_max: 8, ..limits() };
    let mut world = World::with(Settings { trusted_proxies, ..settings(limits) });
    let fields = [("X-Forwarded-For", "192.0.2.77")];
    for number in 0..40 {
        let conn = world.connect_from("10.0.0.1");
        let response = world.ask_on(conn, "GET", "/api/v1/user/me", &fields, None);
        let closes = number >= 4;
        assert_eq!((response.status, response.field("Connection")), (401, closes.then_some("close")));
        assert_eq!(world.is_closed(conn), closes, "{number}");
        if closes {
            // As a proxy does when it has the answer.
            world.reset(conn);
        }
    }
    let conn = world.connect_from("203.0.113.9");
    assert_eq!(world.ask_on(conn, "GET", "/healthz", &[], None).status, 200);
}

/// One client of a proxy sends heads and never the bodies: each refused connection is closed soon.
#[test]
fn a_refused_body_that_never_ends_does_not_keep_a_connection_of_a_proxy() {
    let trusted_proxies = Networks::new(vec![Network::parse("10.0.0.1").expect("a network")]);
    let mut world = World::with(Settings { trusted_proxies, ..settings(limits()) });
    let [of_proxy, direct] = ["10.0.0.1", "192.0.2.1"].map(|peer| {
        let conn = world.connect_from(peer);
        world.send(conn, b"POST /api/v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\n{");
        assert!(world.take(conn).starts_with(b"HTTP/1.1 401 "));
        conn
    });
    world.pass(Duration::from_secs(2));
    assert!(world.peers[&of_proxy].closed && !world.peers[&direct].closed);
}

/// One account in many networks: idle connections are evicted first, then incomplete requests, the oldest first.
#[test]
fn an_incomplete_request_of_an_account_is_evicted_last() {
    let mut world = World::with(settings(Limits { connections_max: 3, ..limits() }));
    let ann = world.sign_up("ann");
    let bearer = format!("Bearer {}", ann.access);
    let mut come = |number: usize, incomplete: &[u8]| {
        let conn = world.connect_from(&format!("198.51.{number}.1"));
        let asked = world.ask_on(conn, "GET", "/api/v1/user/me", &[("Authorization", &bearer)], None);
        assert_eq!(asked.status, 200);
        world.send(conn, incomplete);
        world.pass(Duration::from_secs(1));
        conn
    };
    let body = format!(
        "POST /api/v1/messages HTTP/1.1\r\nHost: h\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\n\
         Content-Length: 99\r\n\r\n{{"
    );
    let victims = [come(2, body.as_bytes()), come(3, b"GET / HT")];
    let idle = come(1, b"");
    let order = [idle, victims[0], victims[1]];
    for (number, victim) in order.iter().enumerate() {
        assert!(!world.peers[victim].closed);
        let newcomer = world.connect_from("203.0.113.1");
        assert!(world.peers[victim].closed, "{number}");
        let fields = [("Authorization", bearer.as_str()), ("Accept", "text/event-stream")];
        world.send(newcomer, &request("GET", "/api/v1/events", &fields, None));
        world.pass(Duration::from_secs(1));
        assert!(!world.is_closed(newcomer));
    }
}

#[test]
fn without_rates_nothing_is_counted() {
    let mut world = World::new();
    for _ in 0..300 {
        let response = ask_from(&mut world, "192.0.2.1", "GET", "/healthz", &[]);
        assert_eq!((response.status, response.field("RateLimit")), (200, None));
    }
}

/// A 429 for a post refuses the posts after it.
#[test]
fn a_rate_limited_post_ends_its_connection() {
    let rate_writes = Rate { per_second: 1, burst: 2 };
    let mut world = World::with(settings(Limits { rate_limit: true, rate_writes, ..limits() }));
    let ann = world.sign_up("ann");
    let bearer = format!("Bearer {}", ann.access);
    let post = request("POST", "/api/v1/messages", &[("Authorization", &bearer)], Some("{}"));
    let conn = world.connect();
    world.send(conn, &post.repeat(5));
    let all = responses(&mut world.take(conn), false);
    let statuses: Vec<u16> = all.iter().map(|response| response.status).collect();
    assert_eq!((statuses, world.is_closed(conn)), (vec![422, 422, 429], true));
}

/// A signed-out client may not use the account's budget or send a body: it is refused after the head.
#[test]
fn a_signed_out_client_is_unauthorized_at_once() {
    let mut world = rated();
    let ann = world.sign_up("ann");
    let body = Some(r#"{"for":"events"}"#);
    let ticket = world.ask_as(&ann, "POST", "/api/v1/user/ticket", body).at("data.ticket");
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/user/logout", None).status, 200);
    let bearer = format!("Authorization: Bearer {}", ann.access);
    for head in [
        // The body has not arrived, and the server does not wait for it.
        format!("POST /api/v1/messages HTTP/1.1\r\nHost: test\r\n{bearer}\r\nContent-Length: 9\r\n\r\n"),
        format!("GET /api/v1/events HTTP/1.1\r\nHost: test\r\n{bearer}\r\n\r\n"),
        format!("GET /api/v1/events?ticket={ticket} HTTP/1.1\r\nHost: test\r\n\r\n"),
    ] {
        let conn = world.connect();
        world.send(conn, head.as_bytes());
        let refused = responses(&mut world.take(conn), false).remove(0);
        assert_eq!((refused.status, refused.code()), (401, "unauthorized_access".into()), "{head}");
        let policy = refused.field("RateLimit-Policy").expect("a policy");
        assert!(policy.starts_with("\"address\""), "{policy}: {head}");
    }
}

/// An account that made group after group delayed the posts of all others.
#[test]
fn a_large_group_costs_several_writes_and_groups_are_limited_per_hour() {
    let mut world = rated();
    let mut join = |n: usize| {
        world.pass(Duration::from_secs(1));
        world.sign_up(&format!("person{n}"))
    };
    let people: Vec<Person> = (0..41).map(&mut join).collect();
    let ann = &people[0];
    let group = |world: &mut World, members: &[Person]| {
        let members: Vec<String> = members.iter().map(|person| format!("\"{}\"", person.profile)).collect();
        let body = format!(r#"{{"title":"tea","members":[{}]}}"#, members.join(","));
        world.ask_as(ann, "POST", "/api/v1/conversations", Some(&body))
    };
    let left = |answer: &Response| {
        let field = answer.field("RateLimit").expect("a rate").to_owned();
        field
            .split("r=")
            .nth(1)
            .and_then(|rest| rest.split(';').next()?.parse::<u32>().ok())
            .expect("a number")
    };
    let first = group(&mut world, &people[1..2]);
    let large = group(&mut world, &people[1..41]);
    let third = group(&mut world, &people[1..2]);
    assert_eq!([first.status, large.status, third.status], [201; 3], "{}", third.text());
    assert_eq!((left(&first) - left(&large), left(&large) - left(&third)), (1, 3), "40 members cost 2 more");
    let mut made = 3;
    let refused = loop {
        world.pass(Duration::from_secs(1));
        let answer = group(&mut world, &people[1..2]);
        match answer.status {
            201 => made += 1,
            _ => break answer,
        }
        assert!(made <= 200);
    };
    assert_eq!((refused.status, refused.code()), (429, "rate_limited".to_owned()));
    // 120 at once, and what the hour refilled meanwhile.
    assert!((120..=126).contains(&made), "{made}");
    let after: u64 = refused.field("Retry-After").and_then(|text| text.parse().ok()).expect("a time");
    world.pass(Duration::from_secs(after));
    assert_eq!(group(&mut world, &people[1..2]).status, 201);
}

/// A network that sends many large bodies and never ends them: they are refused, the largest first, and no body of
/// another network.
#[test]
fn bodies_without_an_account_share_one_pool() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let complete = request("POST", "/api/v1/user/refresh", &[], Some(&"x".repeat(65_000)));
    let honest = world.connect_from("192.0.2.1");
    let small = request("POST", "/api/v1/user/refresh", &[], Some(r#"{"refresh":"nonsense"}"#));
    world.send(honest, &small[..small.len() - 1]);
    // An account's bytes are in another pool.
    let bearer = format!("Bearer {}", ann.access);
    let fields = [("Authorization", bearer.as_str())];
    let post = request("POST", "/api/v1/messages", &fields, Some(&format!("{:65000}", "{}")));
    let member = world.connect_from("198.51.100.1");
    world.send(member, &post[..post.len() - 1]);
    let slow: Vec<ConnId> = (0..1_000)
        .map(|number| {
            let conn = world.connect_from(&format!("198.51.{}.1", 100 + number % 4));
            world.send(conn, &complete[..complete.len() - 1]);
            conn
        })
        .collect();
    let (refused, held): (Vec<ConnId>, Vec<ConnId>) =
        slow.into_iter().partition(|conn| world.is_closed(*conn));
    let bytes = held.len() * 65_000;
    assert!(bytes <= 16_777_216 && bytes > 8_388_608, "{} hold {bytes}", held.len());
    for conn in refused {
        assert_eq!(refusal(&mut world, conn), (503, "busy".into(), Some("1".into())));
    }
    world.send(honest, b"}");
    assert_eq!(responses(&mut world.take(honest), false)[0].status, 401);
    world.send(member, b" ");
    assert_eq!(responses(&mut world.take(member), false)[0].status, 422);
    for conn in held {
        world.reset(conn);
    }
}
