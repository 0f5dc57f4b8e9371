//! account.export: all data of the member, none of others, as fast as it is read, complete or visibly incomplete.

use std::time::Duration;

use natter::base::json;
use natter::proto::http::body::BodyDecoder;
use natter::proto::http::head::Framing;
use natter::server::contract::ConnId;

use natter::limits::SENDER_SCAN;

use crate::support::World;
use crate::support::http::{Person, request, text_at};

const EXPORT: &str = "/api/v1/user/export";

fn begin(world: &mut World, person: &Person, stalled: bool) -> ConnId {
    let conn = world.connect();
    world.peers.get_mut(&conn).expect("a peer").stalled = stalled;
    let bearer = format!("Bearer {}", person.access);
    world.send(conn, &request("GET", EXPORT, &[("Authorization", &bearer)], None));
    conn
}

/// The lines that arrived, and whether the body ended properly.
fn lines(bytes: &[u8]) -> (Vec<String>, bool) {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    assert!(head.starts_with("http/1.1 200 ") && head.contains("transfer-encoding: chunked"), "{head}");
    assert!(head.contains("content-type: application/x-ndjson") && head.contains("no-store"), "{head}");
    let (mut at, mut out, mut done) = (end, Vec::new(), false);
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    while at < bytes.len() && !done {
        let piece = decoder.decode(&bytes[at..]).expect("good chunks");
        at += piece.consumed;
        out.extend_from_slice(piece.data);
        done = piece.done;
    }
    let text = String::from_utf8(out).expect("UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "complete lines");
    (text.lines().map(str::to_owned).collect(), done)
}

fn post(world: &mut World, from: &Person, to: &Person, n: u32, text: &str) -> String {
    let body =
        format!(r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69{n:05}","body":"{text}"}}"#, to.profile);
    let posted = world.ask_as(from, "POST", "/api/v1/messages", Some(&body));
    assert_eq!(posted.status, 201, "{}", posted.text());
    posted.at("data.id")
}

/// One value of a JSON line.
fn at(line: &str, path: &str) -> String {
    text_at(&json::parse(line.as_bytes()).expect("a line of JSON"), path)
}

/// The export of a member, as lines of JSON.
pub fn exported(world: &mut World, person: &Person) -> String {
    let conn = begin(world, person, false);
    lines(&world.take(conn)).0.join("\n")
}

#[test]
fn an_account_has_two_exports_at_once() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    // More than one page, so that a peer that does not read keeps it open.
    for n in 1..=60 {
        post(&mut world, &ann, &bob, n, &"x".repeat(3_000));
    }
    let (first, second) = (begin(&mut world, &ann, true), begin(&mut world, &ann, true));
    world.trace.clear();
    let refused = world.ask_as(&ann, "GET", EXPORT, None);
    assert_eq!((refused.status, refused.code()), (429, "rate_limited".into()));
    assert!(world.trace.is_empty(), "it reads nothing: {:?}", world.trace);
    assert_eq!(refused.field("Retry-After"), Some("1"));
    let others = begin(&mut world, &bob, false);
    assert!(lines(&world.take(others)).1, "each account has its own limit");
    world.reset(first);
    for _ in 0..3 {
        let complete = begin(&mut world, &ann, false);
        assert!(lines(&world.take(complete)).1, "one that has ended does not count");
    }
    world.reset(second);
}

#[test]
fn an_export_has_all_data_of_the_member_and_none_of_others() {
    let mut world = World::new();
    let (ann, bob, carl) = (world.sign_up("ann"), world.sign_up("bob"), world.sign_up("carl"));
    post(&mut world, &ann, &bob, 1, "from ann");
    let other = post(&mut world, &bob, &ann, 2, "from bob");
    post(&mut world, &bob, &carl, 3, "a secret of others");
    let path = format!("/api/v1/messages/{other}/reactions/%F0%9F%91%8D");
    assert_eq!(world.ask_as(&ann, "PUT", &path, None).status, 200);
    let path = format!("/api/v1/blocks/{}", carl.profile);
    assert_eq!(world.ask_as(&ann, "PUT", &path, None).status, 204);
    assert_eq!(crate::api::uploads::raw(&mut world, &ann, "notes.txt", b"kept").status, 201);
    let conn = begin(&mut world, &ann, false);
    let (lines, done) = lines(&world.take(conn));
    assert!(done && world.is_closed(conn));
    let kinds: Vec<String> = lines.iter().map(|line| at(line, "kind")).collect();
    assert_eq!(
        kinds,
        ["member", "profile", "session", "block", "upload", "conversation", "message", "reaction"]
    );
    assert_eq!(at(&lines[0], "data.email"), "ann@example.org");
    assert_eq!((at(&lines[1], "data.id"), at(&lines[1], "data.presence")), (ann.profile, "true".into()));
    assert_eq!(at(&lines[2], "data.address"), "127.0.0.1");
    assert_eq!((at(&lines[3], "data.profile"), at(&lines[5], "data.peer")), (carl.profile, bob.profile));
    assert_eq!(at(&lines[4], "data.name"), "notes.txt");
    assert!(at(&lines[4], "data.url").starts_with("/uploads/"), "{}", lines[4]);
    assert_eq!(at(&lines[6], "data.body"), "from ann");
    assert_eq!((at(&lines[7], "data.message"), at(&lines[7], "data.emoji")), (other, "👍".into()));
    let all = lines.join("\n");
    for secret in ["from bob", "a secret of others", "argon2", "refresh"] {
        assert!(!all.contains(secret), "{secret}");
    }
    let anonymous = world.ask("GET", EXPORT, &[], None);
    assert_eq!((anonymous.status, anonymous.code()), (401, "unauthorized_access".into()));
}

/// Exports that follow each other would otherwise use a reader all the time, and most of a core.
#[test]
fn an_export_pauses_by_the_time_that_a_page_took() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    for n in 0..300 {
        post(&mut world, &ann, &bob, n, &"word ".repeat(700));
    }
    let ms = Duration::from_millis;
    world.pass(ms(1)); // the first turn of what is periodic, which reads too
    world.holds = true;
    let conn = begin(&mut world, &ann, false);
    let mut pauses = Vec::new();
    for took in [ms(0), ms(40), ms(600)] {
        world.pass(took);
        world.release(1);
        let paused = (0..100).find(|_| {
            let asked = !world.asked.is_empty();
            if !asked {
                world.pass(ms(20));
            }
            asked
        });
        pauses.push(20 * paused.expect("the next page is asked for"));
    }
    assert_eq!(pauses, [0, 120, 1_000], "three times, but at most a second");
    world.holds = false;
    world.release(1);
    assert!(lines(&world.take(conn)).1);
}

/// One page at a time, and the next only after the peer took the last.
#[test]
fn a_long_export_uses_the_memory_of_one_page() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let words = "word ".repeat(700);
    for n in 0..400 {
        post(&mut world, &ann, &bob, n, &words);
    }
    let conn = begin(&mut world, &ann, true);
    let (mut bytes, mut most) = (Vec::new(), 0);
    for _ in 0..100 {
        most = most.max(world.server.send_queue(conn).map_or(0, |queue| queue.memory()));
        world.unstall(conn);
        world.peers.get_mut(&conn).expect("a peer").stalled = true;
        bytes.extend(world.take(conn));
        if world.is_closed(conn) {
            break;
        }
    }
    world.unstall(conn);
    bytes.extend(world.take(conn));
    let (lines, done) = lines(&bytes);
    assert!(done);
    assert_eq!(lines.iter().filter(|line| at(line, "kind") == "message").count(), 400);
    assert!(bytes.len() > 1_400_000 && most < 600_000, "{} bytes, {most} at once", bytes.len());
}

/// A page without messages of the member sends nothing: an empty chunk would end the body.
#[test]
fn pages_without_a_line_neither_end_an_export_nor_stall_it() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    post(&mut world, &ann, &bob, 1, "before");
    let of_bob = 4 * SENDER_SCAN;
    rusqlite::Connection::open(world.dir.path().join("natter.db"))
        .expect("the database")
        .execute_batch(&format!(
            "WITH RECURSIVE i (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < {of_bob}) \
             INSERT INTO messages (seq, id_high, conversation, n, sender, client_high, client_low, body) \
             SELECT 1000 + x, 65536000, 1, 1 + x, 2, x, x, 'of bob' FROM i; \
             UPDATE conversations SET last_n = 1 + {of_bob}, last_seq = 1000 + {of_bob}"
        ))
        .expect("a long talk");
    let mut world = world.restart();
    post(&mut world, &ann, &bob, 2, "after");
    for stalled in [false, true] {
        let conn = begin(&mut world, &ann, stalled);
        world.unstall(conn);
        let (lines, done) = lines(&world.take(conn));
        assert!(done && world.is_closed(conn));
        let own = lines.iter().filter(|line| at(line, "kind") == "message");
        assert_eq!(own.map(|line| at(line, "data.body")).collect::<Vec<_>>(), ["before", "after"]);
    }
    // The same without chunks.
    let conn = world.connect();
    let head = format!("GET {EXPORT} HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", ann.access);
    world.send(conn, head.as_bytes());
    let answer = String::from_utf8(world.take(conn)).expect("UTF-8");
    assert!(world.is_closed(conn) && answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("before") && answer.contains("after") && answer.ends_with("}\n"), "{answer}");
}

/// Messages in a group that the member left or was removed from are exported; a member who came back has each once.
#[test]
fn an_export_has_the_messages_in_groups_that_were_left() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let mut expect = Vec::new();
    for (round, how) in ["stays", "leaves", "removed", "rejoins"].into_iter().enumerate() {
        let body = format!(r#"{{"title":"{how}","members":["{}"]}}"#, ann.profile);
        let group = world.ask_as(&bob, "POST", "/api/v1/conversations", Some(&body)).at("data.id");
        let mut say = |world: &mut World, n: usize, text: String| {
            let body = format!(
                r#"{{"conversation":"{group}","client_id":"01ARZ3NDEKTSV4RRFFQ69{:05}","body":"{text}"}}"#,
                2 * round + n
            );
            assert_eq!(world.ask_as(&ann, "POST", "/api/v1/messages", Some(&body)).status, 201);
            expect.push(text);
        };
        say(&mut world, 0, format!("one who {how}"));
        let member = format!("/api/v1/conversations/{group}/members/{}", ann.profile);
        let by = if how == "removed" { &bob } else { &ann };
        if how != "stays" {
            assert_eq!(world.ask_as(by, "DELETE", &member, None).status, 204);
        }
        if how == "rejoins" {
            assert_eq!(world.ask_as(&bob, "PUT", &member, Some(r#"{"role":"member"}"#)).status, 200);
            say(&mut world, 1, "back again".to_owned());
        }
    }
    let conn = begin(&mut world, &ann, false);
    let (lines, done) = lines(&world.take(conn));
    assert!(done);
    let own: Vec<_> = lines.iter().filter(|line| at(line, "kind") == "message").collect();
    let (told, texts): (Vec<_>, Vec<_>) = own.into_iter().partition(|line| at(line, "data.kind") != "null");
    assert_eq!(texts.into_iter().map(|line| at(line, "data.body")).collect::<Vec<_>>(), expect);
    assert_eq!(told.into_iter().map(|line| at(line, "data.kind")).collect::<Vec<_>>(), ["left", "left"]);
}

#[test]
fn an_interrupted_export_does_not_look_complete() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let words = "word ".repeat(700);
    for n in 0..300 {
        post(&mut world, &ann, &bob, n, &words);
    }
    let conn = begin(&mut world, &ann, true);
    assert_eq!(world.ask_as(&ann, "POST", "/api/v1/user/logout", None).status, 200);
    world.unstall(conn);
    let (some, done) = lines(&world.take(conn));
    assert!(!done && some.len() < 300 && world.is_closed(conn));

    // A peer that reads nothing is not waited for.
    let conn = begin(&mut world, &bob, true);
    world.pass(std::time::Duration::from_secs(25));
    assert!(world.is_closed(conn));
}
