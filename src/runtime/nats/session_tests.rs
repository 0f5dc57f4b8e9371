//! The session against a server that a test plays by hand: see `play`.

use super::play::{Play, Stream, found, stream};
use super::*;
use crate::base::time::UnixMs;
use crate::runtime::log::LogClock;

/// An entry as both kinds of requests answer it.
fn stored(position: u64) -> String {
    format!(r#"{{"message":{{"seq":{position},"data":"eA==","time":"1970-01-01T00:00:00.005Z"}}}}"#)
}

#[track_caller]
fn broken(events: &[LogEvent]) -> &str {
    match events {
        [LogEvent::Broken(message)] => message,
        events => panic!("{events:?}"),
    }
}

#[test]
fn each_look_at_the_stream_tells_the_clock_of_its_leader() {
    let mut play = Play::reading(7);
    let asked_at = play.now + Duration::from_secs(1);
    for ms in [500, 500, 300] {
        play.control("r", "");
        play.pass(ms);
    }
    let json = stream(1, 7).json().replacen('{', r#"{"ts":"1970-01-01T00:01:00.5Z","#, 1);
    play.answer("STREAM.INFO", &json);
    let clock = LogClock { asked_at, heard_at: play.now, time: UnixMs(60_500) };
    assert_eq!(play.take(), [LogEvent::Clock(clock)]);
}

#[test]
fn a_node_reads_on_behind_its_position() {
    let mut play = Play::new(7);
    play.answer("STREAM.INFO", &stream(3, 9).json());
    assert_eq!(play.take(), [], "the servers must be asked first");
    assert!(play.session.take_wants_audit() && !play.session.take_wants_audit());
    play.session.audited(found(true), play.now);
    play.turn();
    play.answer("STREAM.INFO", &stream(3, 9).json());
    let identity = "NATTER_c of 2026-11-30T02:07:15Z".to_owned();
    assert_eq!(play.take(), [LogEvent::Up(LogState { identity, first: 3, head: 9 })]);
    let (reply, body) = play.find("CONSUMER.CREATE");
    assert!(body.contains(r#""opt_start_seq":8,"#), "{body}");
    // A delivery may overtake the answer.
    play.deliver(8);
    play.receive(&format!("MSG {reply} 1 12\r\n{{\"name\":\"x\"}}\r\n"));
    play.deliver(8);
    play.deliver(7);
    play.deliver(9);
    assert_eq!(play.positions(), [8, 9], "each once");
    play.receive("MSG natter.c.w 2 2\r\nhi\r\n");
    assert_eq!(*play.whispered.lock().expect("a lock"), [b"hi"]);
    play.session.read_after(Some(&mut play.conn), 5, play.now);
    play.turn();
    play.answer("STREAM.INFO", &stream(3, 9).json());
    assert!(play.find("CONSUMER.CREATE").1.contains(r#""opt_start_seq":6,"#));
}

#[test]
fn entries_are_asked_for_while_the_consumer_is_silent() {
    let mut play = Play::reading(7);
    let began = play.now;
    play.session.append(&mut play.conn, b"x", play.now);
    play.turn();
    play.answer("natter.c.log", r#"{"stream":"NATTER_c","seq":9}"#);
    play.pass(280);
    assert!(!play.asked.iter().any(|(subject, ..)| subject.contains("DIRECT.GET")), "it may come");
    play.pass(20);
    for position in [8, 9] {
        let (reply, body) = play.find("DIRECT.GET");
        assert_eq!(body, format!(r#"{{"seq":{position}}}"#));
        let headers = format!(
            "NATS/1.0\r\nNats-Sequence: {position}\r\nNats-Time-Stamp: 1970-01-01T00:00:00.005Z\r\n\r\n"
        );
        play.receive(&format!("HMSG {reply} 1 {} {}\r\n{headers}x\r\n", headers.len(), headers.len() + 1));
    }
    assert_eq!(play.positions(), [8, 9]);
    assert!(play.now < began + QUIET_MAX && play.asked.is_empty(), "before a consumer is made anew");
    // It was not dead.
    play.deliver(8);
    play.deliver(9);
    play.deliver(10);
    assert_eq!(play.positions(), [10]);
}

#[test]
fn a_jump_makes_the_consumer_anew_then_entries_are_asked_for_one_by_one() {
    let mut play = Play::reading(7);
    for jump in 0..JUMPS_MAX {
        play.deliver(10);
        play.deliver(11);
        assert_eq!(play.take(), [], "jump {jump}");
        play.answer("STREAM.INFO", &stream(1, 11).json());
        assert!(play.find("CONSUMER.CREATE").1.contains(r#""opt_start_seq":8,"#));
    }
    play.deliver(10);
    for position in [8, 9] {
        let (reply, body) = play.find("STREAM.MSG.GET");
        assert_eq!(body, format!(r#"{{"seq":{position}}}"#));
        let json = stored(position);
        play.receive(&format!("MSG {reply} 1 {}\r\n{json}\r\n", json.len()));
    }
    assert_eq!(play.positions(), [8, 9]);
    play.answer("STREAM.INFO", &stream(1, 11).json());
    assert!(play.find("CONSUMER.CREATE").1.contains(r#""opt_start_seq":10,"#));
}

#[test]
fn an_entry_that_is_missing_twice_stops_the_node_if_the_leader_is_one() {
    let missing = r#"{"error":{"code":404,"err_code":10037,"description":"no message found"}}"#;
    for is_led in [true, false] {
        let mut play = Play::reading(7);
        for _ in 0..=JUMPS_MAX {
            play.deliver(10);
            if play.session.step != Step::Fetching {
                play.answer("STREAM.INFO", &stream(1, 11).json());
            }
        }
        play.answer("STREAM.MSG.GET", missing);
        play.answer("STREAM.INFO", &stream(1, 11).json());
        play.answer("STREAM.MSG.GET", missing);
        let silent_ms = if is_led { 10 } else { 3_000 };
        play.answer("STREAM.INFO", &Stream { silent_ms, ..stream(1, 11) }.json());
        if is_led {
            assert!(broken(&play.take()).contains("the log has lost entry 8, although it ends at 11"));
            play.deliver(8);
            play.pass(5_000);
            assert_eq!((play.take(), play.session.deadline()), (vec![], None), "nothing follows");
        } else {
            assert!(matches!(play.take()[..], [LogEvent::Down(_)]));
        }
    }
}

#[test]
fn nothing_is_believed_of_a_leader_that_hears_no_majority() {
    let mut play = Play::new(7);
    play.session.audited(found(true), play.now);
    play.answer("STREAM.INFO", &Stream { silent_ms: 2_501, ..stream(1, 3) }.json());
    assert!(matches!(play.take()[..], [LogEvent::Down(_)]));
    play.pass(100);
    play.answer("STREAM.INFO", &stream(1, 7).json());
    assert!(matches!(play.take()[..], [LogEvent::Up(_)]));
}

/// A node that has read entry 8, whose leader ends at 7, when it has asked by the entry that changes nothing.
fn ahead() -> Play {
    let mut play = Play::reading(7);
    play.deliver(8);
    assert_eq!(play.positions(), [8]);
    let began = play.now;
    play.asked.clear();
    while !play.asked.iter().any(|(subject, ..)| subject == "natter.c.log") {
        assert!(play.now < began + Duration::from_millis(1_400), "nothing is asked");
        // The server of the consumer is ahead of the leader.
        play.control("r", "Nats-Last-Stream: 8\r\n");
        play.pass(20);
        if play.asked.iter().any(|(subject, ..)| subject.contains("STREAM.INFO")) {
            play.answer("STREAM.INFO", &stream(1, 7).json());
        }
    }
    assert!(play.now >= began + PROBE_AFTER, "the leader is just about to store it");
    assert!(!play.events.iter().any(|event| matches!(event, LogEvent::Broken(_))));
    play
}

#[test]
fn an_entry_that_is_stored_where_another_was_read_proves_a_forgotten_tail() {
    let mut play = ahead();
    let (reply, body) = play.find("natter.c.log");
    assert_eq!(body, "probe");
    play.asked.push_back(("natter.c.log".to_owned(), reply, body));
    play.answer("natter.c.log", r#"{"stream":"NATTER_c","seq":8}"#);
    let broken = play.take().pop();
    assert!(matches!(&broken, Some(LogEvent::Broken(why)) if why.contains("forgotten")), "{broken:?}");
    assert!(play.session.is_stopped());
}

#[test]
fn a_leader_may_be_behind_for_as_long_as_it_likes() {
    let mut play = ahead();
    let mut probes = 0;
    for _ in 0..200 {
        play.control("r", "Nats-Last-Stream: 8\r\n");
        play.pass(100);
        probes += play.asked.iter().filter(|(subject, ..)| subject == "natter.c.log").count();
        let is_asked = play.asked.iter().any(|(subject, ..)| subject.contains("STREAM.INFO"));
        if is_asked {
            play.answer("STREAM.INFO", &stream(1, 7).json());
        } else {
            play.asked.clear();
        }
        if play.session.take_leave().is_some() {
            play.session.disconnected("another server is asked");
            play.connect();
        }
    }
    assert!((5..=11).contains(&probes), "{probes}");
    assert!(play.take().iter().all(|event| matches!(event, LogEvent::Down(_))), "it waits");
    // It has stored the tail, and behind it the entries that asked.
    play.pass(200);
    play.answer("STREAM.INFO", &stream(1, 10).json());
    assert!(matches!(play.take()[..], [LogEvent::Up(_)]));
}

#[test]
fn a_late_acknowledgement_behind_what_was_read_is_no_fault() {
    let mut play = ahead();
    play.answer("natter.c.log", r#"{"stream":"NATTER_c","seq":9}"#);
    assert!(!play.session.is_stopped());
    assert!(!play.take().iter().any(|event| matches!(event, LogEvent::Broken(_))));
}

#[test]
fn nothing_is_written_to_a_log_that_the_node_does_not_follow() {
    let mut play = Play::following(7, Some("NATTER_c of 2020-01-01T00:00:00Z".to_owned()));
    play.session.audited(found(true), play.now);
    play.answer("STREAM.INFO", &stream(1, 2).json());
    let identity = "NATTER_c of 2026-11-30T02:07:15Z".to_owned();
    let up = LogState { identity, first: 1, head: 2 };
    assert!(play.take().contains(&LogEvent::Up(up)), "the writer refuses it");
    for _ in 0..20 {
        play.pass(100);
    }
    assert!(!play.asked.iter().any(|(subject, ..)| subject == "natter.c.log"), "{:?}", play.asked);
}

#[test]
fn another_stream_of_the_same_name_is_told() {
    let mut play = Play::reading(7);
    for _ in 0..3 {
        play.pass(400);
        play.control("r", "");
    }
    let made_anew = Stream { created: "2027-01-01T00:00:00Z", ..stream(1, 2) };
    play.answer("STREAM.INFO", &made_anew.json());
    let identity = "NATTER_c of 2027-01-01T00:00:00Z".to_owned();
    assert_eq!(play.take(), [LogEvent::Up(LogState { identity, first: 1, head: 2 })]);
}

#[test]
fn a_fault_stops_the_start_and_is_waited_for_later() {
    let mut play = Play::new(0);
    for _ in 0..AUDITS_MAX {
        play.session.audited(found(false), play.now);
        play.turn();
        play.answer("STREAM.INFO", &Stream { replicas: 1, ..stream(0, 0) }.json());
    }
    let events = play.take();
    let message = broken(&events[1..]);
    assert!(message.contains("the stream NATTER_c has fewer than 3 replicas"), "{message}");
    assert!(message.contains("the server b syncs every 1s"), "{message}");

    let mut play = Play::reading(7);
    play.session.audited(found(false), play.now);
    play.turn();
    play.answer("STREAM.INFO", &stream(1, 7).json());
    assert_eq!(play.take(), [LogEvent::Down("the log is not safe")]);
    play.session.append(&mut play.conn, b"x", play.now);
    play.turn();
    assert!(!play.asked.iter().any(|(subject, ..)| subject == "natter.c.log"), "nothing is appended");
    play.session.audited(found(true), play.now);
    play.turn();
    play.answer("STREAM.INFO", &stream(1, 7).json());
    assert!(matches!(play.take()[..], [LogEvent::Up(_)]));
}

#[test]
fn servers_that_cannot_be_asked_are_refused() {
    let mut play = Play::new(0);
    for _ in 0..AUDITS_MAX {
        play.session.audited(Found::failed("nobody may ask".to_owned()), play.now);
        play.turn();
        play.answer("STREAM.INFO", &stream(0, 0).json());
    }
    let events = play.take();
    assert!(broken(&events[1..]).contains("nobody may ask"));
}

#[test]
fn while_no_consumer_can_be_made_entries_are_asked_for() {
    let mut play = Play::reading(7);
    play.pass(800);
    // No heartbeat: the server of the consumer is gone, and the leader of all of JetStream with it.
    play.answer("STREAM.INFO", &stream(1, 8).json());
    let (reply, body) = play.find("DIRECT.GET");
    assert_eq!(body, r#"{"seq":8}"#);
    let headers = "NATS/1.0\r\nNats-Sequence: 8\r\nNats-Time-Stamp: 1970-01-01T00:00:00.005Z\r\n\r\n";
    play.receive(&format!("HMSG {reply} 1 {} {}\r\n{headers}x\r\n", headers.len(), headers.len() + 1));
    assert_eq!(play.positions(), [8]);
    // An entry of this node is known by its acknowledgement. A replica that has it not yet is asked again.
    play.session.append(&mut play.conn, b"x", play.now);
    play.turn();
    play.answer("natter.c.log", r#"{"stream":"NATTER_c","seq":9}"#);
    play.answer_status("DIRECT.GET", "404 Message Not Found");
    assert!(!play.asked.iter().any(|(subject, ..)| subject.contains("DIRECT.GET")), "after a pause");
    play.pass(10);
    assert_eq!(play.find("DIRECT.GET").1, r#"{"seq":9}"#);
}

#[test]
fn a_consumer_is_answered_and_missed() {
    let mut play = Play::reading(7);
    play.control("$JS.FC.x", "");
    assert_eq!(play.asked.pop_back().expect("an answer").0, "$JS.FC.x");
    for _ in 0..4 {
        play.pass(600);
        play.control("r", "Nats-Last-Stream: 7\r\n");
    }
    assert!(play.asked.iter().all(|(subject, ..)| !subject.contains("CONSUMER")), "it lives");
    play.asked.clear();
    // It says that it has delivered what has not come.
    play.control("r", "Nats-Last-Stream: 8\r\n");
    play.answer("STREAM.INFO", &stream(1, 8).json());
    play.find("CONSUMER.CREATE");
    let mut play = Play::reading(7);
    let sid = CONSUMERS + play.session.consumers;
    let headers = "NATS/1.0 409 Consumer Deleted\r\n\r\n";
    play.receive(&format!("HMSG d {sid} {0} {0}\r\n{headers}\r\n", headers.len()));
    assert_eq!(play.asked.len(), 1);
    play.find("STREAM.INFO");
}

#[test]
fn losses_are_told_and_a_silent_server_is_left() {
    let mut play = Play::reading(7);
    let append = |play: &mut Play| {
        play.session.append(&mut play.conn, b"x", play.now);
        play.turn();
    };
    append(&mut play);
    play.answer_status("natter.c.log", "503");
    assert_eq!(play.take(), [LogEvent::Lost]);
    append(&mut play);
    play.answer("natter.c.log", r#"{"error":{"code":503,"err_code":10047,"description":"no room"}}"#);
    assert!(matches!(play.take()[..], [LogEvent::Refused(why)] if why.contains("full")));
    append(&mut play);
    play.answer("natter.c.log", r#"{"stream":"NATTER_c","seq":8}"#);
    assert_eq!(play.take(), []);
    for _ in 0..2 {
        append(&mut play);
        for _ in 0..4 {
            play.control("r", "");
            play.pass(500);
            if play.asked.iter().any(|(subject, ..)| subject.contains("STREAM.INFO")) {
                play.answer("STREAM.INFO", &stream(1, 7).json());
            }
        }
    }
    assert!(play.session.take_leave().is_some());
    assert!(play.take().contains(&LogEvent::Lost));
    // A position that was read is stored anew.
    let mut play = Play::reading(7);
    append(&mut play);
    play.answer("natter.c.log", r#"{"stream":"NATTER_c","seq":7}"#);
    assert!(broken(&play.take()).contains("the log stored an entry at 7"));
}

#[test]
fn a_stream_that_does_not_exist_is_made_only_by_a_node_that_has_read_none() {
    let missing = r#"{"error":{"code":404,"err_code":10059,"description":"stream not found"}}"#;
    for (position, creates, expect) in [(0, true, true), (0, false, false), (7, true, false)] {
        let mut play = Play::new(position);
        play.session.setup.creates = creates;
        play.answer("STREAM.INFO", missing);
        let is_made = play.asked.iter().any(|(subject, ..)| subject.contains("STREAM.CREATE"));
        assert_eq!(is_made, expect, "{position} {creates}");
        assert_eq!(play.take().len(), usize::from(!expect));
    }
}

#[test]
fn a_session_without_a_leader_tries_the_next_server() {
    let mut play = Play::new(7);
    play.pass(500 * u64::from(FAILURES_MAX) + 100 * u64::from(FAILURES_MAX));
    assert!(play.session.take_leave().is_some());
    assert!(matches!(play.take()[..], [LogEvent::Down(_)]), "it is told once");
}
