//! The event log over server-sent events and long poll, and the predecessor's two streams of values.

use std::time::Duration;

use crate::support::World;
use crate::support::http::{Person, Response, request, responses};
use natter::limits::Limits;
use natter::model::readiness::{Readiness, WalHeld};
use natter::proto::http::body::BodyDecoder;
use natter::proto::http::head::Framing;
use natter::server::contract::{ConnId, Input};

/// Opens a stream and returns its connection; the head of the response is already taken.
fn open(world: &mut World, person: &Person, path: &str, fields: &[(&str, &str)]) -> ConnId {
    open_from(world, "127.0.0.1", person, path, fields)
}

fn open_from(world: &mut World, peer: &str, person: &Person, path: &str, fields: &[(&str, &str)]) -> ConnId {
    let bearer = format!("Bearer {}", person.access);
    let mut all = vec![("Authorization", bearer.as_str()), ("Accept", "text/event-stream")];
    all.extend_from_slice(fields);
    let conn = world.connect_from(peer);
    world.send(conn, &request("GET", path, &all, None));
    let bytes = world.take(conn);
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("Content-Type: text/event-stream") && head.contains("chunked"), "{head}");
    world.peers.get_mut(&conn).expect("a peer").received = bytes[end..].to_vec();
    conn
}

/// The text that arrived, without its chunk framing, and whether the body has ended.
fn text(world: &mut World, conn: ConnId) -> (String, bool) {
    let bytes = world.take(conn);
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    let (mut at, mut out, mut done) = (0, Vec::new(), false);
    while at < bytes.len() && !done {
        let piece = decoder.decode(&bytes[at..]).expect("good chunks");
        at += piece.consumed;
        out.extend_from_slice(piece.data);
        done = piece.done;
    }
    (String::from_utf8(out).expect("text"), done)
}

fn post(world: &mut World, from: &Person, to: &Person, text: &str, key: u8) -> String {
    let client_id = format!("01ARZ3NDEKTSV4RRFFQ69G5F{key:02}");
    let body = format!(r#"{{"to":"{}","client_id":"{client_id}","body":"{text}"}}"#, to.profile);
    let response = world.ask_as(from, "POST", "/api/v1/messages", Some(&body));
    assert_eq!(response.status, 201, "{}", response.text());
    response.at("data.conversation")
}

#[test]
fn events_come_live_and_resume_after_the_last_one() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let conn = open(&mut world, &bob, "/api/v1/events", &[]);
    let (first, _) = text(&mut world, conn);
    assert!(first.starts_with("id: ") && first.ends_with(":0\n\n"), "{first:?}");
    post(&mut world, &ann, &bob, "one", 1);
    let (event, done) = text(&mut world, conn);
    assert!(
        !done && event.contains("event: message.posted\n") && event.contains("\"body\":\"one\""),
        "{event}"
    );
    let id = event.strip_prefix("id: ").and_then(|rest| rest.split('\n').next()).expect("an id").to_owned();
    world.reset(conn);

    post(&mut world, &ann, &bob, "two", 2);
    post(&mut world, &ann, &bob, "three", 3);
    let conn = open(&mut world, &bob, "/api/v1/events?cursor=nonsense:0", &[("Last-Event-ID", &id)]);
    let (missed, _) = text(&mut world, conn);
    let bodies: Vec<&str> =
        missed.split("\"body\":\"").skip(1).map(|rest| rest.split('"').next().unwrap_or("")).collect();
    assert_eq!(bodies, ["two", "three"]);
    world.pass(Duration::from_secs(16));
    assert_eq!(text(&mut world, conn), (":\n\n".to_owned(), false));

    // Another epoch: a reset whose id is the head, then live events.
    let conn = open(&mut world, &bob, "/api/v1/events?cursor=other:1", &[]);
    let (reset, _) = text(&mut world, conn);
    assert!(reset.contains("event: reset\n") && reset.contains("\"reason\":\"epoch\""), "{reset}");
    post(&mut world, &ann, &bob, "four", 4);
    assert!(text(&mut world, conn).0.contains("four"));
}

#[test]
fn an_event_stream_ends_with_its_token_and_with_its_session() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let conn = open(&mut world, &ann, "/api/v1/events", &[]);
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/user/logout", None).status, 200);
    assert!(text(&mut world, conn).1 && world.is_closed(conn));

    let bob = world.sign_up("bob");
    let conn = open(&mut world, &bob, "/api/v1/events", &[]);
    world.pass(Duration::from_secs(901));
    assert!(text(&mut world, conn).1 && world.is_closed(conn));
    world.pass(Duration::from_secs(20));
    assert_eq!(world.server.load(), (0, 0, 0));
}

/// Opens streams whose peers never read.
fn readers_that_never_read(world: &mut World, peer: &str, person: &Person) -> Vec<ConnId> {
    let mut all = Vec::new();
    for _ in 0..40 {
        let conn = open_from(world, peer, person, "/api/v1/events", &[]);
        world.peers.get_mut(&conn).expect("a peer").stalled = true;
        all.push(conn);
    }
    all
}

fn post_many(world: &mut World, from: &Person, to: &Person, count: usize, body: &str) {
    for at in 0..count {
        let client_id = <natter::base::id::Id>::from_u128(1 << 100 | at as u128);
        let body = format!(r#"{{"to":"{}","client_id":"{client_id}","body":"{body}"}}"#, to.profile);
        assert_eq!(world.ask_as(from, "POST", "/api/v1/messages", Some(&body)).status, 201);
    }
}

#[test]
fn a_large_event_is_in_memory_once_however_many_streams_wait_for_it() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let stalled = readers_that_never_read(&mut world, "192.0.2.1", &bob);
    post_many(&mut world, &ann, &bob, 20, &"x".repeat(4_000));
    let held = world.metric("natter_send_queues_bytes");
    // The text of each event once, and a reference per stream; without sharing it would be 3 MiB.
    assert!((80_000..200_000).contains(&held), "{held}");
    for conn in stalled {
        world.unstall(conn);
        let (text, _) = text(&mut world, conn);
        assert_eq!(text.matches("event: message.posted").count(), 20, "each stream gets its own copy");
    }
    assert_eq!(world.metric("natter_send_queues_bytes"), 0);
}

#[test]
fn the_queues_of_one_address_have_a_bound_together() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let mut stalled = readers_that_never_read(&mut world, "192.0.2.1", &bob);
    let elsewhere = readers_that_never_read(&mut world, "192.0.2.2", &bob).remove(0);
    let reading = open_from(&mut world, "192.0.2.1", &bob, "/api/v1/events", &[]);
    // Events that are small enough to be copied, until one stream must be closed.
    let mut posts = 0;
    while stalled.iter().all(|conn| !world.peers[conn].closed) {
        let client_id = <natter::base::id::Id>::from_u128(1 << 100 | posts);
        let body = "x".repeat(400);
        let body = format!(r#"{{"to":"{}","client_id":"{client_id}","body":"{body}"}}"#, bob.profile);
        assert_eq!(world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).status, 201);
        world.pass(Duration::from_millis(50));
        posts += 1;
        assert!(posts < 3_000, "a bound that is never reached");
    }
    stalled.retain(|conn| !world.peers[conn].closed);
    assert!(stalled.len() >= 38, "no more than necessary are closed: {}", stalled.len());
    assert!(!world.is_closed(reading) && !world.is_closed(elsewhere));
    let held: usize = stalled.iter().map(|conn| world.server.send_queue(*conn).expect("open").memory()).sum();
    assert!(held <= natter::limits::MemoryShares::default().queues_of_address, "{held}");
    assert_eq!(text(&mut world, reading).0.matches("event: message.posted").count() as u128, posts);
    assert!(world.metric("natter_streams_cut_total") > 0);
}

/// Changes that a newcomer does not see fill pages of the log too. A poll reads on behind them, and does not wait.
#[test]
fn a_poll_does_not_wait_at_changes_that_the_member_does_not_see() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let group = world.ask_as(&ann, "POST", "/api/v1/conversations", Some(r#"{"title":"tea","members":[]}"#));
    let path = format!("/api/v1/conversations/{}", group.at("data.id"));
    let said = |key: u8, body: &str| {
        format!(
            r#"{{"conversation":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5F{key:02}","body":"{body}"}}"#,
            group.at("data.id")
        )
    };
    let old: Vec<String> = (1..=4)
        .map(|key| world.ask_as(&ann, "POST", "/api/v1/messages", Some(&said(key, "before"))).at("data.id"))
        .collect();
    assert_eq!(world.ask_as(&ann, "PUT", &path, Some(r#"{"history":"joined"}"#)).status, 200);
    let member = format!("{path}/members/{}", bob.profile);
    assert_eq!(world.ask_as(&ann, "PUT", &member, Some("{}")).status, 200);
    let cursor = world.ask_as(&bob, "GET", "/api/v1/events?cursor=now", None).at("cursor");
    for id in &old {
        let edited =
            world.ask_as(&ann, "PUT", &format!("/api/v1/messages/{id}"), Some(r#"{"body":"later"}"#));
        assert_eq!(edited.status, 200);
    }
    let bearer = format!("Bearer {}", bob.access);
    let wait = format!("/api/v1/events?cursor={cursor}&limit=1&wait=20");
    let wait = request("GET", &wait, &[("Authorization", &bearer)], None);
    let conn = world.connect();
    world.send(conn, &wait);
    assert!(world.take(conn).is_empty(), "nothing that Bob sees yet");
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/messages", Some(&said(9, "hello"))).status, 201);
    let answer = responses(&mut world.take(conn), false).remove(0);
    assert_eq!((answer.status, answer.at("data.0.data.body")), (200, "hello".into()));

    // The same if it was said before the poll begins.
    world.send(conn, &wait);
    let answer = responses(&mut world.take(conn), false).remove(0);
    assert_eq!((answer.status, answer.at("data.0.data.body")), (200, "hello".into()));
}

/// Deadlines are monotonic instants, but tokens expire by the calendar: a clock that was set a day ahead ends them all.
#[test]
fn a_clock_set_ahead_ends_streams_and_polls_of_expired_tokens() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let events = open(&mut world, &ann, "/api/v1/events", &[]);
    let bearer = format!("Bearer {}", bob.access);
    let poll = world.connect();
    let wait = request("GET", "/api/v1/events?cursor=now&wait=30", &[("Authorization", &bearer)], None);
    world.send(poll, &wait);
    text(&mut world, events);
    world.now.unix_ms.0 += 86_400_000;
    assert_eq!(world.ask("GET", "/healthz", &[], None).status, 200);
    assert_eq!(text(&mut world, events), (String::new(), true));
    assert_eq!(responses(&mut world.take(poll), false)[0].status, 401);
}

#[test]
fn a_poll_answers_at_once_after_a_wait_or_with_a_reset() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let now = world.ask_as(&bob, "GET", "/api/v1/events?cursor=now", None);
    assert_eq!((now.status, now.at("data")), (200, "[]".into()));
    let cursor = now.at("cursor");

    post(&mut world, &ann, &bob, "one", 1);
    post(&mut world, &ann, &bob, "two", 2);
    let page = world.ask_as(&bob, "GET", &format!("/api/v1/events?cursor={cursor}&limit=1"), None);
    assert_eq!(
        (page.at("data.0.event"), page.at("data.0.data.body")),
        ("message.posted".into(), "one".into())
    );
    assert_eq!(page.at("data.1"), "null");
    let page = world.ask_as(&bob, "GET", &format!("/api/v1/events?cursor={}", page.at("cursor")), None);
    assert_eq!((page.at("data.0.data.body"), page.at("data.1")), ("two".into(), "null".into()));
    let all = world.ask_as(&bob, "GET", "/api/v1/events", None);
    assert_eq!((all.at("data.0.data.body"), all.at("data.1.data.body")), ("one".into(), "two".into()));

    // A wait ends with the first event, or with an empty page.
    let bearer = format!("Bearer {}", bob.access);
    let wait = request(
        "GET",
        &format!("/api/v1/events?cursor={}&wait=20", page.at("cursor")),
        &[("Authorization", &bearer)],
        None,
    );
    let conn = world.connect();
    world.send(conn, &wait);
    assert!(world.take(conn).is_empty());
    post(&mut world, &ann, &bob, "three", 3);
    let mut bytes = world.take(conn);
    let answer = responses(&mut bytes, false).remove(0);
    assert_eq!((answer.status, answer.at("data.0.data.body")), (200, "three".into()));
    let again = request(
        "GET",
        &format!("/api/v1/events?cursor={}&wait=20", answer.at("cursor")),
        &[("Authorization", &bearer)],
        None,
    );
    world.send(conn, &again);
    world.pass(Duration::from_secs(21));
    let mut bytes = world.take(conn);
    let empty = responses(&mut bytes, false).remove(0);
    assert_eq!((empty.status, empty.at("data"), empty.at("cursor")), (200, "[]".into(), answer.at("cursor")));

    let reset = world.ask_as(&bob, "GET", "/api/v1/events?cursor=other:1", None);
    assert_eq!(
        (reset.status, reset.code(), reset.at("cursor")),
        (410, "cursor_reset".into(), answer.at("cursor"))
    );
    for (query, status, code) in [
        ("cursor=nonsense", 400, "error_parsing_data"),
        ("wait=31", 422, "invalid_wait"),
        ("wait=-1", 422, "invalid_wait"),
        ("limit=0", 422, "invalid_limit"),
    ] {
        let refused = world.ask_as(&bob, "GET", &format!("/api/v1/events?{query}"), None);
        assert_eq!((refused.status, refused.code().as_str()), (status, code), "{query}");
    }
    assert_eq!(world.ask("GET", "/api/v1/events", &[], None).status, 401);
    world.reset(conn);
    assert_eq!(world.server.load(), (0, 0, 0));
}

#[test]
fn a_poll_waits_no_longer_than_its_token_and_its_session_live() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let wait = |world: &mut World, person: &Person| {
        let bearer = format!("Bearer {}", person.access);
        let conn = world.connect();
        let path = "/api/v1/events?cursor=now&wait=30";
        world.send(conn, &request("GET", path, &[("Authorization", &bearer)], None));
        assert!(world.take(conn).is_empty(), "it waits");
        conn
    };
    let conn = wait(&mut world, &ann);
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/user/logout", None).status, 200);
    let refused = responses(&mut world.take(conn), false).remove(0);
    assert_eq!((refused.status, refused.code()), (401, "unauthorized_access".into()));

    world.pass(Duration::from_secs(890));
    let conn = wait(&mut world, &bob);
    world.pass(Duration::from_secs(9));
    assert!(world.take(conn).is_empty());
    world.pass(Duration::from_secs(2));
    let answer = responses(&mut world.take(conn), false).remove(0);
    assert_eq!((answer.status, answer.at("data")), (200, "[]".into()));
}

/// Values are sent at once and then on change. The predecessor polled its database twice a second for every client and
/// sent the complete list each time.
#[test]
fn values_are_sent_at_once_and_then_only_on_change() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let counter = open(&mut world, &bob, "/api/v1/chat-counter", &[]);
    let list = open(&mut world, &bob, "/api/v1/chat-list", &[]);
    assert_eq!(text(&mut world, counter).0, "data: 0\n\n");
    assert_eq!(text(&mut world, list).0, "data: []\n\n");

    for key in 1..=9 {
        post(&mut world, &ann, &bob, "hi", key);
    }
    // At most four per second: the burst is one value, after the pause.
    assert_eq!(text(&mut world, counter).0, "");
    world.pass(Duration::from_millis(300));
    assert_eq!(text(&mut world, counter).0, "data: 1\n\n");
    let (chats, _) = text(&mut world, list);
    assert_eq!(chats.matches("data: ").count(), 1, "{chats}");
    for part in
        ["\"message\":\"hi\"", "\"is_read\":false", &format!("\"sender\":\"{}\"", bob.profile), &ann.profile]
    {
        assert!(chats.contains(part), "{part} in {chats}");
    }
    // A quiet minute has four comments and no query to storage.
    world.trace.clear();
    world.pass(Duration::from_secs(60));
    assert_eq!(text(&mut world, counter).0, ":\n\n".repeat(4));
    assert!(!world.trace.contains(&"ListChats"), "{:?}", world.trace);
}

/// Without sharing, four hundred streams of one account would read its chats sixteen hundred times a second.
#[test]
fn values_are_read_once_for_all_streams_of_an_account() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let conns: Vec<_> = (0..20).map(|_| open(&mut world, &bob, "/api/v1/chat-counter", &[])).collect();
    let list = open(&mut world, &bob, "/api/v1/chat-list", &[]);
    let other = open(&mut world, &ann, "/api/v1/chat-counter", &[]);
    world.pass(Duration::from_secs(1));
    for conn in conns.iter().chain([&other]) {
        assert_eq!(text(&mut world, *conn).0, "data: 0\n\n");
    }
    text(&mut world, list);
    world.trace.clear();
    post(&mut world, &ann, &bob, "hi", 1);
    world.pass(Duration::from_secs(1));
    for conn in &conns {
        assert_eq!(text(&mut world, *conn).0, "data: 1\n\n");
    }
    assert!(text(&mut world, list).0.contains("\"message\":\"hi\""));
    assert_eq!(text(&mut world, other).0, "", "nothing new for its own account");
    let reads = world.trace.iter().filter(|name| **name == "ListChats").count();
    assert!((2..=3).contains(&reads), "one or two for bob, one for ann: {reads}");

    assert_eq!(world.server.load().1, 0);
}

#[test]
fn the_streams_of_an_account_are_bounded() {
    let limits = Limits { rate_limit: true, streams_per_account: 2, ..crate::support::limits() };
    let mut world = World::with(crate::support::settings(limits));
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let first = open(&mut world, &ann, "/api/v1/events", &[]);
    let socket = world.open_socket(&ann, "/api/v1/ws");
    for path in ["/api/v1/events", "/api/v1/chat-list", "/api/v1/events?wait=5"] {
        let refused = world.ask_as(&ann, "GET", path, None);
        assert_eq!((refused.status, refused.code()), (429, "rate_limited".into()), "{path}");
        assert_eq!(refused.field("Retry-After"), Some("1"));
    }
    open(&mut world, &bob, "/api/v1/events", &[]);
    world.reset(first);
    open(&mut world, &ann, "/api/v1/chat-counter", &[]);
    world.reset(socket);
    assert_eq!(world.ask_as(&ann, "GET", "/api/v1/events", None).status, 200);
}

/// A client whose cursor is older than the kept events gets a reset, not an incomplete sequence.
#[test]
fn old_events_are_pruned_and_old_cursors_get_a_reset() {
    let mut settings = crate::support::settings(crate::support::limits());
    settings.events_kept = Some(Duration::from_secs(86_400));
    let mut world = World::with(settings);
    let (ann, mut bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let start = world.ask_as(&bob, "GET", "/api/v1/events?cursor=now", None).at("cursor");
    post(&mut world, &ann, &bob, "old", 1);
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/user/logout", None).status, 200);
    world.pass(Duration::from_secs(2 * 86_400));

    let sign_in = |world: &mut World, name: &str| {
        let body = format!(r#"{{"email":"{name}@example.org","password":"correct horse {name}'s"}}"#);
        let response = world.ask("POST", "/api/v1/user/sign-in", &[], Some(&body));
        assert_eq!(response.status, 200, "{}", response.text());
        response.at("data.token.access")
    };
    bob.access = sign_in(&mut world, "bob");
    let ann = Person { access: sign_in(&mut world, "ann"), ..ann };
    post(&mut world, &ann, &bob, "new", 2);
    let reset = world.ask_as(&bob, "GET", &format!("/api/v1/events?cursor={start}"), None);
    assert_eq!((reset.status, reset.code()), (410, "cursor_reset".into()), "{}", reset.text());
    let kept = world.ask_as(&bob, "GET", "/api/v1/events", None);
    assert_eq!((kept.at("data.0.data.body"), kept.at("data.1")), ("new".into(), "null".into()));
    // The messages are still stored.
    let list = world.ask_as(&bob, "GET", "/api/v1/conversations", None);
    let path = format!("/api/v1/conversations/{}/messages", list.at("data.0.id"));
    assert_eq!(world.ask_as(&bob, "GET", &path, None).at("data.0.body"), "old");

    // A WebSocket gets a reset, then live events.
    let cursor = format!("/api/v1/ws?cursor={start}");
    let socket = world.open_socket(&bob, &cursor);
    let texts = world.texts(socket);
    assert!(texts[1].contains("\"event\":\"reset\",\"reason\":\"pruned\""), "{texts:?}");
    assert!(texts[2].contains("caught_up"), "{texts:?}");
}

/// A long absence is replayed page by page, no faster than the peer reads, and in the memory of a few pages.
#[test]
fn a_hundred_thousand_missed_events_cost_no_memory() {
    use natter::base::id::Id;
    use natter::limits::{PAGE_BYTES_MAX, REPLAY_LOW_BYTES};
    use natter::model::message::{Destination, Message, PostMessage};
    use natter::model::operation::Lane;

    const MISSED: u128 = 100_000;
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let [sender, to] = [&ann, &bob].map(|person| Id::parse(&person.profile).expect("an id"));
    let cursor = world.ask_as(&bob, "GET", "/api/v1/events?cursor=now", None).at("cursor");
    for batch in 0..MISSED / 1_000 {
        let draft = |key: u128| Message {
            client_id: Id::from_u128(batch * 1_000 + key + 1),
            sender: Some(sender),
            body: Some("what was said while you were away".to_owned()),
            created_at: crate::support::START_MS,
            ..Message::default()
        };
        let post = |key: u128| PostMessage {
            draft: draft(key).into(),
            destination: Destination::To(to),
            attachments: [].into(),
            conversation_if_new: Id::from_u128(77),
            random: 0,
        };
        let mut commands = (0..1_000).map(|key| (Lane(0), post(key).into())).collect();
        let committed = world.store.commit(&mut commands);
        assert!(committed.fault.is_none() && committed.outcomes.iter().all(|each| each.result.is_ok()));
    }
    // A page has more bytes on the wire than the budget counts, but less than twice as many.
    let bound = REPLAY_LOW_BYTES + 2 * PAGE_BYTES_MAX;
    // The server was not notified of these commits: a new server begins at the end of the log, as after a restart.
    let mut world = world.restart();
    let conn = world.open_socket(&bob, &format!("/api/v1/ws?cursor={cursor}"));
    let (mut received, mut last) = (0u128, 0u64);
    for text in world.texts(conn) {
        if let Some(rest) = text.strip_prefix("{\"event\":\"message.posted\",\"seq\":") {
            let seq: u64 = rest.split(',').next().and_then(|seq| seq.parse().ok()).expect("a seq");
            assert!(seq > last);
            (last, received) = (seq, received + 1);
        }
    }
    let most = world.peers[&conn].most_queued;
    assert!(most <= bound, "{most} bytes waited");
    assert_eq!(received, MISSED);
}

/// After a start the WAL may contain transactions that the last process could not sync.
#[test]
fn until_the_wal_is_proven_writes_and_streams_are_refused_and_no_answer_has_a_cursor() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let conversation = post(&mut world, &ann, &bob, "before", 1);
    let (mut world, shell) = world.crash_and_hold();
    let ready = world.ask("GET", "/readyz", &[], None);
    assert_eq!((ready.status, ready.code()), (503, "unavailable".into()));
    assert_eq!(ready.at("detail"), "another process holds the write-ahead log");
    let held = Some(WalHeld { pid: Some(7) });
    for (unready, status, warnings) in
        [(None, 200, "data.warnings.0"), (Some("the disk is full"), 503, "warnings.0")]
    {
        world.input(Input::Storage(Readiness { unready, unproven: true, wal_held: held }));
        let ready = world.ask("GET", "/readyz", &[], None);
        assert_eq!(ready.status, status);
        assert!(ready.at(warnings).contains("pid 7"), "{}", ready.text());
    }
    world.tell_readiness();
    assert_eq!(world.ask("GET", "/healthz", &[], None).status, 200);
    // Reads are answered.
    let list = world.ask_as(&ann, "GET", "/api/v1/conversations", None);
    assert_eq!(
        (list.status, list.at("cursor"), list.at("data.0.id")),
        (200, "null".into(), conversation.clone())
    );
    assert_eq!(list.at("data.0.last_message.body"), "before");
    let history = format!("/api/v1/conversations/{conversation}/messages");
    let page = world.ask_as(&bob, "GET", &history, None);
    assert_eq!((page.status, page.at("data.0.body")), (200, "before".into()));
    assert_eq!(world.ask_as(&bob, "GET", "/api/v1/user/me", None).status, 200);
    // Writes are refused.
    let (to_bob, read) = (
        format!(r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5F02","body":"no"}}"#, bob.profile),
        format!("/api/v1/conversations/{conversation}/read"),
    );
    let group = r#"{"title":"no","client_id":"01ARZ3NDEKTSV4RRFFQ69G5F03","members":[]}"#;
    for (path, body) in [
        ("/api/v1/messages", to_bob.as_str()),
        (read.as_str(), r#"{"n":1}"#),
        ("/api/v1/conversations", group),
        ("/api/v1/user/logout", ""),
    ] {
        let refused = world.ask_as(&ann, "POST", path, Some(body));
        assert_eq!(
            (refused.status, refused.code()),
            (503, "unavailable".into()),
            "{path}: {}",
            refused.text()
        );
        assert_eq!(
            (refused.at("retry"), refused.field("retry-after").is_some()),
            ("true".into(), true),
            "{path}"
        );
    }
    // Streams are refused: event streams, pages of events, sockets.
    let bearer = format!("Bearer {}", bob.access);
    let refused = |response: Response| (response.status, response.code(), response.at("retry"));
    let unavailable = (503, "unavailable".to_owned(), "true".to_owned());
    for (path, accept) in [
        ("/api/v1/events", "text/event-stream"),
        ("/api/v1/events?cursor=now", "application/json"),
        ("/api/v1/events?cursor=now&wait=5", "application/json"),
    ] {
        let response = world.ask("GET", path, &[("Authorization", &bearer), ("Accept", accept)], None);
        assert_eq!(refused(response), unavailable, "{path}");
    }
    let pair = format!("/api/v1/ws/{}/{}", bob.profile, ann.profile);
    for path in ["/api/v1/ws", "/api/v1/ws?cursor=other:1", &pair] {
        match world.upgrade(path, &[("Authorization", &bearer)]) {
            Ok(_) => panic!("{path} is a stream"),
            Err(response) => assert_eq!(refused(response), unavailable, "{path}"),
        }
    }
    // The other process ends, and the next maintenance proves the WAL.
    drop(shell);
    world.pass(Duration::from_secs(2));
    world.maintain(world.now.instant);
    world.tell_readiness();
    assert_eq!(world.ask("GET", "/readyz", &[], None).status, 200);
    assert_ne!(world.ask_as(&ann, "GET", "/api/v1/conversations", None).at("cursor"), "null");
    let conn = world.open_socket(&bob, "/api/v1/ws");
    world.take(conn);
    let events = open(&mut world, &bob, "/api/v1/events", &[]);
    world.take(events);
    post(&mut world, &ann, &bob, "after", 4);
    assert!(text(&mut world, events).0.contains("after"));
    assert!(!world.take(conn).is_empty());
}
