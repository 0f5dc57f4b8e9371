//! The native socket: ops and responses, events, replay, order.

use super::{at, client_id, frame, kinds, post, ready};
use crate::support::World;
use natter::model::operation::Refusal;

#[test]
fn an_op_is_answered_with_its_id() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let conn = ready(&mut world, &ann);
    let to = &bob.profile;
    let cid = client_id(0);
    for (say, expect) in [
        (r#"{"id":7,"op":"conversation.list"}"#.to_owned(), vec!["7 ok"]),
        (r#"{"id":"seven","op":"conversation.list"}"#.to_owned(), vec!["seven ok"]),
        (r#"{"id":-1.5,"op":"conversation.list"}"#.to_owned(), vec!["-1.5 ok"]),
        (
            r#"{"id":18446744073709551615,"op":"conversation.list"}"#.to_owned(),
            vec!["18446744073709551615 ok"],
        ),
        (r#"{"id":"","op":"conversation.list"}"#.to_owned(), vec![" ok"]),
        // Numbers of any size in fields that the server ignores.
        (r#"{"id":1,"op":"conversation.list","x":[1e400,-1E-400]}"#.to_owned(), vec!["1 ok"]),
        (format!(r#"{{"id":1,"op":"conversation.list","x":{}}}"#, "9".repeat(9_000)), vec!["1 ok"]),
        (r#"{"id":1,"op":"conversation.list","limit":18446744073709551616}"#.to_owned(), vec!["1 ok"]),
        (r#"{"op":"conversation.list"}"#.to_owned(), vec![]),
        (r#"{"id":null,"op":"conversation.list"}"#.to_owned(), vec![]),
        (format!(r#"{{"op":"message.post","to":"{to}","client_id":"{cid}","body":"quiet"}}"#), vec![]),
        (format!(r#"{{"op":"message.post","to":"{to}","client_id":"{cid}"}}"#), vec!["null invalid_body"]),
        (r#"{"id":8,"op":"nonsense"}"#.to_owned(), vec!["8 unknown_op"]),
        (r#"{"id":8,"op":"account.me"}"#.to_owned(), vec!["8 unknown_op"]),
        (r#"{"id":8,"op":"event.list"}"#.to_owned(), vec!["8 unknown_op"]),
        (r#"{"id":8,"op":5}"#.to_owned(), vec!["8 unknown_op"]),
        (r#"{"id":8}"#.to_owned(), vec!["8 unknown_op"]),
        ("{}".to_owned(), vec!["null unknown_op"]),
        ("{".to_owned(), vec!["null error_parsing_data"]),
        (String::new(), vec!["null error_parsing_data"]),
        ("null".to_owned(), vec!["null error_parsing_data"]),
        (r#"[{"id":1}]"#.to_owned(), vec!["null error_parsing_data"]),
        (r#"{"id":1,"id":2,"op":"conversation.list"}"#.to_owned(), vec!["null error_parsing_data"]),
        (r#"{"id":true,"op":"conversation.list"}"#.to_owned(), vec!["null invalid_id"]),
        (r#"{"id":9,"op":"message.list","conversation":"x"}"#.to_owned(), vec!["9 invalid_conversation"]),
        (
            r#"{"id":9,"op":"message.list","conversation":"01ARZ3NDEKTSV4RRFFQ69G5FAV"}"#.to_owned(),
            vec!["9 not_found"],
        ),
        (r#"{"id":9,"op":"conversation.list","limit":0}"#.to_owned(), vec!["9 invalid_limit"]),
    ] {
        world.say(conn, &say);
        let texts = world.texts(conn);
        assert_eq!(kinds(&texts), expect, "{say}");
        assert!(!world.is_closed(conn), "{say}");
    }
    world.say(conn, r#"{"id":1,"op":"conversation.list"}"#);
    let texts = world.texts(conn);
    assert_eq!(
        (at(&texts[0], "next"), at(&texts[0], "ok.0.last_message.body")),
        ("null".into(), "quiet".into())
    );
    world.say(conn, r#"{"id":1,"op":"nonsense"}"#);
    let texts = world.texts(conn);
    assert_eq!((at(&texts[0], "error.retry"), at(&texts[0], "error.field")), ("false".into(), "null".into()));
}

#[test]
fn an_id_comes_back_exactly_as_sent() {
    let mut world = World::new();
    let ann = world.sign_up("ann");
    let conn = ready(&mut world, &ann);
    let digits = "7".repeat(400);
    let longest = format!("\"{}\"", "x".repeat(1_022));
    for id in
        ["0", "-0", "0.10", "1e400", "-1E+5", &digits, r#""a\u0041\/\"é""#, r#""\ud83d\udc4d👍""#, &longest]
    {
        for (op, expect) in [("conversation.list", "\"ok\""), ("nonsense", "\"error\"")] {
            world.say(conn, &format!(r#"{{"op":"{op}","x":{{"id":1}},"id": {id} }}"#));
            let texts = world.texts(conn);
            assert!(texts[0].starts_with(&format!("{{\"re\":{id},{expect}:")), "{id}: {}", texts[0]);
        }
    }
    let long = format!("\"{}\"", "x".repeat(1_023));
    for id in ["{}", "[]", "false", &long] {
        world.say(conn, &format!(r#"{{"id":{id},"op":"conversation.list"}}"#));
        assert_eq!(kinds(&world.texts(conn)), ["null invalid_id"], "{id}");
    }
}

#[test]
fn ops_are_the_same_however_their_bytes_are_split() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let mut bytes = frame(0x81, post(1, &bob, "hi").as_bytes());
    bytes.extend(frame(0x89, b"p"));
    let text = post(1, &bob, "hi");
    let (one, two) = text.as_bytes().split_at(20);
    bytes.extend([frame(0x01, one), frame(0x89, b"between"), frame(0x80, two)].concat());
    let conn = ready(&mut world, &ann);
    world.send(conn, &bytes);
    let first = world.texts(conn);
    assert_eq!(kinds(&first), ["1 ok", "1 ok"]);
    assert_eq!((at(&first[1], "duplicate"), at(&first[1], "ok")), ("true".into(), at(&first[0], "ok")));
    for split in 0..bytes.len() {
        let conn = ready(&mut world, &ann);
        world.send(conn, &bytes[..split]);
        world.send(conn, &bytes[split..]);
        assert_eq!(world.texts(conn), [first[1].clone(), first[1].clone()], "split at {split}");
        world.reset(conn);
    }
    for byte in &bytes {
        world.send(conn, &[*byte]);
    }
    assert_eq!(world.texts(conn).len(), 2);
}

#[test]
fn events_reach_the_others_and_the_caller_gets_its_answer() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let (phone, laptop) = (ready(&mut world, &ann), ready(&mut world, &ann));
    let other = ready(&mut world, &bob);
    world.say(phone, &post(1, &bob, "one"));
    let answer = world.texts(phone);
    assert_eq!(kinds(&answer), ["1 ok"]);
    for conn in [laptop, other] {
        let texts = world.texts(conn);
        assert_eq!(kinds(&texts), ["message.posted"]);
        assert_eq!(at(&texts[0], "data"), at(&answer[0], "ok"));
        assert_eq!(at(&texts[0], "seq"), at(&answer[0], "ok.seq"));
    }
    // A post over HTTP is delivered to all sockets of both.
    let body = format!(r#"{{"to":"{}","client_id":"{}","body":"two"}}"#, ann.profile, client_id(2));
    assert_eq!(world.ask_as(&bob, "POST", "/api/v1/messages", Some(&body)).status, 201);
    for conn in [phone, laptop, other] {
        assert_eq!(kinds(&world.texts(conn)), ["message.posted"]);
    }
    // A repeat causes no event.
    world.say(phone, &post(1, &bob, "one"));
    let again = world.texts(phone);
    assert_eq!(
        (at(&again[0], "duplicate"), at(&again[0], "ok.id")),
        ("true".into(), at(&answer[0], "ok.id"))
    );
    assert!(world.texts(laptop).is_empty() && world.texts(other).is_empty());
    // A read mark is delivered to the member's own devices and to the peer.
    let conversation = at(&answer[0], "ok.conversation");
    let read = format!(r#"{{"id":3,"op":"conversation.read","conversation":"{conversation}","n":2}}"#);
    world.say(phone, &read);
    assert_eq!(kinds(&world.texts(phone)), ["3 ok"]);
    for conn in [laptop, other] {
        let texts = world.texts(conn);
        assert_eq!(
            (kinds(&texts), at(&texts[0], "data.read_n")),
            (vec!["conversation.read".into()], "2".into())
        );
    }
}

#[test]
fn missed_events_come_in_order_then_live_ones() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let sender = ready(&mut world, &bob);
    let first = world.open_socket(&ann, "/api/v1/ws");
    let hello = world.texts(first).remove(0);
    let epoch = at(&hello, "epoch");
    let start = at(&hello, "seq");
    world.reset(first);
    for number in 0..500 {
        world.say(sender, &post(number, &ann, &format!("m{number}")));
    }
    let answers = world.texts(sender);
    assert_eq!(answers.len(), 500);
    // The page in flight does not contain what is committed meanwhile. Those events are held: none is lost or sent
    // twice.
    world.holds = true;
    let conn = world.open_socket(&ann, &format!("/api/v1/ws?cursor={epoch}:{start}"));
    let mut texts = world.texts(conn);
    for number in 500..520 {
        world.say(sender, &post(number, &ann, "live"));
        // First the page of the log as it is now, then the post of this round.
        let command = world.asked.pop_front();
        world.release(9);
        world.asked.extend(command);
        texts.extend(world.texts(conn));
        if number % 7 == 0 {
            world.release(1);
            texts.extend(world.texts(conn));
        }
    }
    world.holds = false;
    world.release(99);
    texts.extend(world.texts(conn));
    let kinds = kinds(&texts);
    assert_eq!((kinds[0].as_str(), kinds.iter().filter(|kind| *kind == "caught_up").count()), ("hello", 1));
    let posted: Vec<&String> = texts.iter().filter(|text| at(text, "event") == "message.posted").collect();
    let seqs: Vec<u64> = posted.iter().map(|text| at(text, "seq").parse().expect("a number")).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "strictly rising: {seqs:?}");
    assert_eq!(seqs.len(), 520);
    let caught_up = texts.iter().position(|text| at(text, "event") == "caught_up").expect("there");
    assert!(caught_up > 500, "all missed events come before");
}

#[test]
fn a_cursor_of_another_log_is_answered_with_a_reset() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let sender = ready(&mut world, &bob);
    world.say(sender, &post(1, &ann, "hi"));
    let head = at(&world.texts(sender)[0], "ok.seq");
    let conn = world.open_socket(&ann, "/api/v1/ws");
    let epoch = at(&world.texts(conn)[0], "epoch");
    for cursor in ["zz:0".to_owned(), format!("{epoch}:999999"), format!("{epoch}:18446744073709551615")] {
        let conn = world.open_socket(&ann, &format!("/api/v1/ws?cursor={cursor}"));
        let texts = world.texts(conn);
        assert_eq!(kinds(&texts), ["hello", "reset", "caught_up"], "{cursor}");
        assert_eq!(
            (at(&texts[1], "reason"), at(&texts[1], "seq"), at(&texts[2], "seq")),
            ("epoch".into(), head.clone(), head.clone())
        );
        world.say(sender, &post(1, &ann, "hi"));
        world.reset(conn);
    }
    for (cursor, expect) in [(format!("{epoch}:0"), 3), (format!("{epoch}:{head}"), 2)] {
        let conn = world.open_socket(&ann, &format!("/api/v1/ws?cursor={cursor}"));
        assert_eq!(world.texts(conn).len(), expect, "{cursor}");
    }
}

#[test]
fn writes_are_answered_in_order_whichever_finishes_first() {
    let mut world = World::new();
    let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
    let conn = ready(&mut world, &ann);
    world.holds = true;
    world.say(conn, &post(1, &bob, "one"));
    world.say(conn, r#"{"id":2,"op":"message.post","body":"no receiver"}"#);
    world.say(conn, r#"{"id":3,"op":"conversation.list"}"#);
    world.say(conn, &post(4, &bob, "two"));
    assert_eq!(world.texts(conn), [""; 0]);
    // The read is answered by itself; the refused post waits for the post before it.
    let first = world.asked.pop_front().expect("the post");
    world.release(1);
    assert_eq!(kinds(&world.texts(conn)), ["3 ok"]);
    world.asked.push_front(first);
    world.holds = false;
    world.release(9);
    assert_eq!(kinds(&world.texts(conn)), ["1 ok", "2 invalid_client_id", "4 ok"]);
}

#[test]
fn a_refused_write_refuses_all_after_it_and_closes_1013() {
    for refusal in [Refusal::Busy, Refusal::Unavailable, Refusal::StorageFull, Refusal::Internal] {
        let mut world = World::new();
        let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
        let conn = ready(&mut world, &ann);
        world.holds = true;
        for id in 1..=3 {
            world.say(conn, &post(id, &bob, "x"));
        }
        // The second is refused at once, before the first has its response: both are answered in order.
        let first = world.asked.pop_front().expect("a post");
        world.refuse(refusal);
        assert!(!world.is_closed(conn));
        world.say(conn, &post(4, &bob, "behind"));
        assert_eq!(world.asked.len(), 1, "no further frame is taken");
        world.asked.push_front(first);
        world.release(1);
        world.refuse(Refusal::Unavailable);
        let frames = world.frames(conn);
        let texts: Vec<String> = frames
            .iter()
            .filter_map(|frame| match frame {
                super::Frame::Text(text) => Some(text.clone()),
                _ => None,
            })
            .collect();
        let code = natter::model::problem::Problem::from(refusal).code_text();
        assert_eq!(kinds(&texts), ["1 ok".to_owned(), format!("2 {code}"), "3 unavailable".to_owned()]);
        assert!(matches!(frames.last(), Some(super::Frame::Close(1_013, _))), "{frames:?}");
        // A refused read has no effect on others.
        world.holds = false;
        world.release(99);
        let conn = ready(&mut world, &ann);
        world.holds = true;
        world.say(conn, r#"{"id":1,"op":"conversation.list"}"#);
        world.refuse(refusal);
        assert!(!world.is_closed(conn));
        assert_eq!(kinds(&world.texts(conn)), [format!("1 {code}")]);
    }
}
