//! Typing and presence: delivered to the members who may see them, and to no others.

use std::time::Duration;

use crate::support::http::Person;
use crate::support::{World, limits, settings};
use natter::limits::{Limits, Rate};
use natter::server::contract::ConnId;

/// Two members who have a conversation, each with an open socket.
struct Two {
    world: World,
    ann: Person,
    bob: Person,
    conversation: String,
}

fn two() -> Two {
    two_in(World::new())
}

fn two_in(mut world: World) -> Two {
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let body = format!(r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","body":"hi"}}"#, bob.profile);
    let posted = world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body));
    let conversation = posted.at("data.conversation");
    Two { world, ann, bob, conversation }
}

impl Two {
    fn socket(&mut self, who: &Person) -> ConnId {
        let conn = self.world.open_socket(who, "/api/v1/ws");
        self.world.texts(conn);
        conn
    }

    fn received(&mut self, conn: ConnId, event: &str) -> Vec<String> {
        let named = format!("\"event\":\"{event}\"");
        self.world.texts(conn).into_iter().filter(|text| text.contains(&named)).collect()
    }

    fn type_in(&mut self, conn: ConnId, active: bool) {
        let text =
            format!(r#"{{"id":1,"op":"typing","conversation":"{}","active":{active}}}"#, self.conversation);
        self.world.say(conn, &text);
    }
}

#[test]
fn a_device_that_falls_silent_types_no_more() {
    let limits = Limits { heartbeat: Duration::from_secs(2), ..limits() };
    let mut t = two_in(World::with(settings(limits)));
    let (ann, bob) = (t.ann.clone(), t.bob.clone());
    let (a, b) = (t.socket(&ann), t.socket(&bob));
    t.type_in(a, true);
    assert_eq!(t.received(b, "typing").len(), 1);
    t.world.pass(Duration::from_secs(3));
    t.type_in(b, false);
    t.world.pass(Duration::from_millis(2_500));
    assert!(t.world.is_closed(a) && !t.world.is_closed(b));
    let ended = t.received(b, "typing");
    assert!(ended.len() == 1 && ended[0].contains("\"active\":false"), "{ended:?}");
}

#[test]
fn typing_is_delivered_once_and_expires() {
    let mut t = two();
    let (ann, bob) = (t.ann.clone(), t.bob.clone());
    let eve = t.world.sign_up("eve");
    let [a, a2, b, e] = [&ann, &ann, &bob, &eve].map(|who| t.socket(who));
    t.type_in(a, true);
    let expect = format!(
        r#"{{"event":"typing","data":{{"conversation":"{}","profile":"{}","active":true}}}}"#,
        t.conversation, ann.profile
    );
    assert_eq!(t.received(b, "typing"), [expect]);
    assert_eq!(t.world.texts(a), [r#"{"re":1,"ok":null}"#]);
    // A repeat at once causes no event, but a later one does; then silence ends it.
    t.type_in(a, true);
    assert!(t.received(b, "typing").is_empty());
    t.world.pass(Duration::from_secs(4));
    t.type_in(a, true);
    assert_eq!(t.received(b, "typing").len(), 1);
    t.world.pass(Duration::from_secs(7));
    let lapsed = t.received(b, "typing");
    assert!(lapsed.len() == 1 && lapsed[0].contains("\"active\":false"), "{lapsed:?}");
    // A `false` ends it too, and so does leaving.
    t.type_in(a, true);
    t.type_in(a, false);
    assert_eq!(t.received(b, "typing").len(), 2);
    t.type_in(a, true);
    t.world.reset(a);
    assert!(t.received(b, "typing").last().is_some_and(|text| text.contains("\"active\":false")));
    assert!(t.received(a2, "typing").is_empty() && t.received(e, "typing").is_empty());
    // The conversation of other members does not exist for her.
    t.type_in(e, true);
    assert!(t.world.texts(e).iter().any(|text| text.contains("\"not_found\"")));
    t.world.say(b, r#"{"id":2,"op":"typing"}"#);
    assert!(t.world.texts(b).iter().any(|text| text.contains("invalid_conversation")));
}

#[test]
fn presence_reaches_direct_peers_and_counts_devices() {
    let mut t = two();
    let (ann, bob) = (t.ann.clone(), t.bob.clone());
    let eve = t.world.sign_up("eve");
    let (b, e) = (t.socket(&bob), t.socket(&eve));
    t.world.pass(Duration::from_secs(4));
    let a = t.world.open_socket(&ann, "/api/v1/ws");
    // A member who connects gets the presence of its peers.
    let greeting = t.received(a, "presence");
    assert!(
        greeting.len() == 1 && greeting[0].contains(&bob.profile) && greeting[0].contains("\"online\":true")
    );
    t.world.pass(Duration::from_secs(4));
    let online = t.received(b, "presence");
    assert!(online.len() == 1 && online[0].contains(&ann.profile) && online[0].contains("\"online\":true"));
    // A second device and a quick reconnect cause no event.
    let a2 = t.socket(&ann);
    t.world.reset(a);
    t.world.pass(Duration::from_secs(4));
    t.world.reset(a2);
    let a3 = t.socket(&ann);
    t.world.pass(Duration::from_secs(4));
    assert!(t.received(b, "presence").is_empty());
    t.world.reset(a3);
    t.world.pass(Duration::from_secs(4));
    let offline = t.received(b, "presence");
    assert!(offline.len() == 1 && offline[0].contains("\"online\":false"), "{offline:?}");
    assert!(offline[0].contains("\"last_seen_at\":\"2026-11-22T"), "{offline:?}");
    assert!(t.received(e, "presence").is_empty(), "strangers get no event");
    t.world.reset(b);
    t.world.reset(e);
    t.world.pass(Duration::from_secs(4));
    assert_eq!(t.world.server.load(), (0, 0, 0));
}

/// WebSockets and event streams count as devices; long polls do not.
#[test]
fn a_long_poll_does_not_count_as_a_device_but_an_event_stream_does() {
    let mut t = two();
    let (ann, bob) = (t.ann.clone(), t.bob.clone());
    let b = t.socket(&bob);
    t.world.pass(Duration::from_secs(4));
    let poll = t.world.connect();
    let auth = format!("Authorization: Bearer {}\r\n", ann.access);
    let path = "GET /api/v1/events?cursor=now&wait=30 HTTP/1.1\r\nHost: chat\r\n";
    t.world.send(poll, format!("{path}{auth}\r\n").as_bytes());
    t.world.pass(Duration::from_secs(9));
    assert!(t.received(b, "presence").is_empty(), "a poll is not a device");
    assert!(t.world.take(poll).is_empty() && !t.world.is_closed(poll), "it waits");
    let stream = t.world.connect();
    let path = "GET /api/v1/events HTTP/1.1\r\nHost: chat\r\nAccept: text/event-stream\r\n";
    t.world.send(stream, format!("{path}{auth}\r\n").as_bytes());
    t.world.pass(Duration::from_secs(4));
    let online = t.received(b, "presence");
    assert!(online.len() == 1 && online[0].contains("\"online\":true"), "{online:?}");
    // The poll is still open when the stream is closed.
    t.world.reset(stream);
    t.world.pass(Duration::from_secs(4));
    let offline = t.received(b, "presence");
    assert!(offline.len() == 1 && offline[0].contains("\"online\":false"), "{offline:?}");
}

/// The last device of an account is disconnected with the account.
#[test]
fn a_deleted_account_does_not_stay_online() {
    let mut t = two();
    let (ann, bob) = (t.ann.clone(), t.bob.clone());
    let (_a, b) = (t.socket(&ann), t.socket(&bob));
    t.world.pass(Duration::from_secs(4));
    assert_eq!(t.received(b, "presence").len(), 1);
    let body = r#"{"password":"correct horse ann's"}"#;
    assert_eq!(t.world.ask_as(&ann, "POST", "/api/v1/user/delete", Some(body)).status, 204);
    t.world.pass(Duration::from_secs(9));
    let offline = t.received(b, "presence");
    let expect = format!(
        r#"{{"event":"presence","data":{{"profile":"{}","online":false,"last_seen_at":null}}}}"#,
        ann.profile
    );
    assert_eq!(offline, [expect]);
}

#[test]
fn a_block_hides_presence_and_its_end_shows_it_again() {
    let mut t = two();
    let (ann, bob) = (t.ann.clone(), t.bob.clone());
    let eve = t.world.sign_up("eve");
    let (a, b, e) = (t.socket(&ann), t.socket(&bob), t.socket(&eve));
    t.world.pass(Duration::from_secs(4));
    assert_eq!([a, b, e].map(|conn| t.received(conn, "presence").len()), [1, 1, 0]);
    let check_presence = |t: &mut Two, expect: &str| {
        for (conn, peer) in [(a, &bob), (b, &ann)] {
            let received = t.received(conn, "presence");
            assert!(received.len() == 1 && received[0].contains(&peer.profile), "{received:?}");
            assert!(received[0].contains(expect), "{received:?}");
        }
    };
    let path = |other: &Person| format!("/api/v1/blocks/{}", other.profile);
    assert_eq!(t.world.ask_as(&ann, "PUT", &path(&bob), None).status, 204);
    check_presence(&mut t, "\"online\":false,\"last_seen_at\":null");
    // A repeated block causes no event, and others receive no event of a block.
    assert_eq!(t.world.ask_as(&ann, "PUT", &path(&bob), None).status, 204);
    assert_eq!(t.world.ask_as(&eve, "PUT", &path(&bob), None).status, 204);
    for conn in [a, b, e] {
        assert!(t.received(conn, "presence").is_empty());
    }
    assert_eq!(t.world.ask_as(&ann, "DELETE", &path(&bob), None).status, 204);
    check_presence(&mut t, "\"online\":true");
}

/// A start or an end of typing goes to as many streams as a post, so it has the rate of posts. Typing that continues does not.
#[test]
fn typing_that_is_told_to_others_is_a_write() {
    let rate_writes = Rate { per_second: 1, burst: 4 };
    let mut t = two_in(World::with(settings(Limits { rate_limit: true, rate_writes, ..limits() })));
    let (ann, bob) = (t.ann.clone(), t.bob.clone());
    let (a, b) = (t.socket(&ann), t.socket(&bob));
    t.world.pass(Duration::from_secs(10));
    t.received(b, "");
    for _ in 0..20 {
        t.type_in(a, true);
    }
    assert_eq!((t.received(b, "typing").len(), t.world.unread(a)), (1, 0));
    for n in 0..20 {
        t.type_in(a, n % 2 == 1);
    }
    assert_eq!(t.received(b, "typing").len(), 3, "the burst");
    assert!(t.world.unread(a) > 0, "the others wait");
    t.world.pass(Duration::from_secs(1));
    assert_eq!(t.received(b, "typing").len(), 1);
    // Nothing else of this member is refused meanwhile, but its writes are.
    assert_eq!(t.world.ask_as(&ann, "GET", "/api/v1/conversations", None).status, 200);
    let path = format!("/api/v1/conversations/{}/read", t.conversation);
    assert_eq!(t.world.ask_as(&ann, "POST", &path, Some(r#"{"n":1}"#)).status, 429);
    assert_eq!(t.world.ask_as(&bob, "POST", &path, Some(r#"{"n":1}"#)).status, 200);
}

#[test]
fn after_a_block_typing_is_not_delivered() {
    for in_flight in [false, true] {
        let mut t = two();
        let (ann, bob) = (t.ann.clone(), t.bob.clone());
        let (a, b) = (t.socket(&ann), t.socket(&bob));
        if in_flight {
            // The audience was read before the block; the event is delivered after it.
            t.world.holds = true;
            t.type_in(a, true);
            let looked = t.world.look();
            t.world.holds = false;
            let path = format!("/api/v1/blocks/{}", ann.profile);
            assert_eq!(t.world.ask_as(&bob, "PUT", &path, None).status, 204);
            t.world.deliver(looked);
        } else {
            t.type_in(a, true);
            assert_eq!(t.received(b, "typing").len(), 1);
            let path = format!("/api/v1/blocks/{}", ann.profile);
            assert_eq!(t.world.ask_as(&bob, "PUT", &path, None).status, 204);
        }
        t.world.pass(Duration::from_secs(4));
        for conn in [a, b] {
            t.type_in(conn, true);
            t.type_in(conn, false);
        }
        t.world.pass(Duration::from_secs(20));
        assert!(t.received(b, "typing").is_empty(), "{in_flight}");
        assert!(t.received(a, "typing").is_empty(), "neither does the one who blocked: {in_flight}");
        assert_eq!(t.world.server.load().1, 0, "every op is answered");
    }
}

#[test]
fn a_first_message_shows_each_that_the_other_is_online() {
    let mut world = World::new();
    let (ann, bob, eve) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("eve"));
    let mut t = Two { world, ann: ann.clone(), bob: bob.clone(), conversation: String::new() };
    let (a, b, e) = (t.socket(&ann), t.socket(&bob), t.socket(&eve));
    t.world.pass(Duration::from_secs(4));
    for conn in [a, b, e] {
        assert!(t.received(conn, "presence").is_empty(), "strangers get no event");
    }
    let say = |world: &mut World, id: u8| {
        let body = format!(
            r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5F{id:02}","body":"hi"}}"#,
            bob.profile
        );
        assert_eq!(world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).status, 201);
    };
    say(&mut t.world, 1);
    for (conn, peer) in [(a, &bob), (b, &ann)] {
        let events = t.received(conn, "presence");
        assert!(events.len() == 1 && events[0].contains(&peer.profile), "{events:?}");
        assert!(events[0].contains("\"online\":true"), "{events:?}");
    }
    say(&mut t.world, 2);
    for conn in [a, b, e] {
        assert!(t.received(conn, "presence").is_empty(), "once, and only to the two");
    }
}
