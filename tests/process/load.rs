//! Tests of the load tool: a stop of the server shows, every scenario verifies what it measures, and each fault on the wire is noticed.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::load::conn::frame;
use super::load::engine::{Bounds, Engine, Pace, Step};
use super::load::ledger::{Faults, Ledger};
use super::load::options::Options;
use super::load::place::Place;
use super::load::report::Report;
use super::load::scenarios::{self, ALL, Name};
use super::support::TestDir;
use super::support::process::Launch;

fn options(words: &str) -> Options {
    let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    Options { is_quiet: true, ..Options::parse(&words).expect("options") }
}

/// A step during which the server is stopped for half a second.
fn with_a_stop(pace: Pace) -> Step {
    let mut place = Place::start(None, &[]).expect("a server");
    let prepared = scenarios::prepare(&mut place, &options("relay --clients 4")).expect("people");
    let mut engine = Engine::new(prepared).expect("sockets");
    let pid = place.natter().expect("a server").pid();
    let stop = format!("sleep 0.5; kill -STOP {pid}; sleep 0.5; kill -CONT {pid}");
    let mut stopper = Command::new("sh").args(["-c", &stop]).stdin(Stdio::null()).spawn().expect("a shell");
    let step = engine.run(pace, Bounds { time: Duration::from_millis(1_500), count: u64::MAX });
    assert!(stopper.wait().expect("a shell").success());
    let checks = engine.scenario().verify(0);
    assert!(checks.iter().all(|check| check.is_kept), "{checks:?}");
    place.end(false);
    step.expect("a step")
}

/// Of 400 posts a second, 100 are due in the first quarter of a second of the stop, so each of these waits for longer than a quarter.
#[test]
fn a_stop_of_the_server_is_charged_to_every_request_that_was_due() {
    let step = with_a_stop(Pace::Open(400.0));
    let latency = &step.kinds[0].latency;
    assert_eq!((step.sent, latency.count(), step.unanswered), (600, 600, 0));
    assert!(latency.max_ms() >= 450.0, "{} ms", latency.max_ms());
    let slow = latency.at_least(Duration::from_millis(240));
    assert!(slow >= 90, "{slow} requests");
    // A closed loop waits with the server: each client has one slow request, however long the stop is.
    let step = with_a_stop(Pace::Closed(1));
    assert!(step.kinds[0].latency.max_ms() >= 450.0);
}

fn run(words: &str) -> Report {
    let options = options(words);
    let report = super::load::run(&options).unwrap_or_else(|error| panic!("{words}: {error}"));
    assert!(report.is_good() && !report.checks.is_empty(), "{words}: {:?}", report.checks);
    let answered: u64 = report.steps.iter().map(Step::answered).sum();
    assert!(answered > 0, "{words}");
    report
}

#[test]
fn every_scenario_keeps_what_it_verifies() {
    for (name, text, ..) in ALL {
        match name {
            Name::Push => continue, // the next test: it waits for notifications
            Name::Storm => run("storm --clients 20 --missed 3"),
            Name::History | Name::Search => {
                run(&format!("{text} --clients 4 --messages 400 --window 1 --seconds 0.3"))
            }
            Name::Upload | Name::Download => {
                run(&format!("{text} --clients 2 --size 100000 --window 1 --seconds 0.3"))
            }
            _ => run(&format!("{text} --clients 6 --window 2 --seconds 0.3")),
        };
    }
}

#[cfg(feature = "tls")]
#[test]
fn devices_are_notified_of_what_a_load_posts() {
    run("push --clients 4 --devices 1 --window 1 --seconds 0.3");
}

/// The server is one that the user names, the certificate one of an authority that the user names.
#[cfg(feature = "tls")]
#[test]
fn a_named_server_is_loaded_over_https() {
    use super::support::tls;
    let dir = TestDir::new();
    let natter = tls::secure(Launch::new(dir.path())).start();
    let authority = format!("{}/authority.pem", tls::FOLDER);
    let url = format!("https://{}", natter.address);
    let words = format!("relay --url {url} --ca {authority} --clients 4 --window 2 --seconds 0.3");
    let report = run(&words);
    // The accounts of the load are deleted.
    assert!(report.facts.iter().all(|(name, _)| !name.contains("accounts")), "{:?}", report.facts);
    assert!(super::load::run(&options(&words.replace(&authority, "/dev/null"))).is_err());
    natter.stop();
}

#[test]
fn a_curve_is_a_table_a_file_and_a_picture() {
    let dir = TestDir::new();
    let report = run("relay --clients 2 --rate 50,100 --seconds 0.3");
    report.write(dir.path()).expect("written");
    let text = std::fs::read_to_string(dir.path().join("relay.json")).expect("a file");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json.pointer("/steps/1/offered_per_second"), Some(&serde_json::json!(100.0)));
    assert_eq!(json.pointer("/steps/1/answered"), Some(&serde_json::json!(30)));
    assert_eq!(json.pointer("/steps/1/kinds/post/latency/count"), Some(&serde_json::json!(30)));
    let picture = std::fs::read_to_string(dir.path().join("relay.svg")).expect("a picture");
    assert_eq!(picture.matches("<polyline").count(), 3);
    assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
}

/// What happens to one frame that the server sends.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Lost,
    Twice,
    /// It comes after the next frame of its kind.
    Late,
}

/// The frames of which one meets a fault, by their beginning and a part: deliveries of the load, and answers.
const DELIVERY: [&str; 2] = ["{\"event\":\"message.posted\"", "\"body\":\"#"];
const ANSWER: [&str; 2] = ["{\"re\":", "\"ok\":"];

/// A forwarder between the tool and a server, which damages one frame: the one that follows `healthy` others of its kind.
struct Wire {
    kind: [&'static str; 2],
    fault: Fault,
    healthy: u64,
    seen: AtomicU64,
}

impl Wire {
    fn start(self, server: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let wire = Arc::new(self);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, wire) = (client.expect("a connection"), Arc::clone(&wire));
                std::thread::spawn(move || wire.forward(client, server));
            }
        });
        address
    }

    fn forward(&self, mut client: TcpStream, server: SocketAddr) {
        let mut server = TcpStream::connect(server).expect("the server");
        [&client, &server].iter().for_each(|socket| socket.set_nodelay(true).expect("a setting"));
        let mut first = vec![0; 65_536];
        let count = client.read(&mut first).unwrap_or(0);
        // A tool that has gone needs nothing more.
        let _ = server.write_all(&first[..count]);
        let (mut from, mut to) =
            (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _ = std::io::copy(&mut client, &mut server);
                let _ = server.shutdown(Shutdown::Write);
            });
            if first.starts_with(b"GET /api/v1/ws") {
                self.frames(&mut from, &mut to);
            } else {
                let _ = std::io::copy(&mut from, &mut to);
            }
            let _ = to.shutdown(Shutdown::Both);
        });
    }

    /// What the server sends on a WebSocket, frame by frame.
    fn frames(&self, from: &mut TcpStream, to: &mut TcpStream) {
        let (mut bytes, mut is_open, mut late) = (Vec::new(), false, Vec::new());
        let mut buffer = vec![0; 65_536];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..count]);
            let mut out = Vec::new();
            if !is_open {
                let Some(at) = memchr::memmem::find(&bytes, b"\r\n\r\n") else { continue };
                out.extend(bytes.drain(..at + 4));
                is_open = true;
            }
            while let Some((start, end)) = frame(&bytes) {
                let frame: Vec<u8> = bytes.drain(..end).collect();
                self.pass(&frame, start, &mut late, &mut out);
            }
            if to.write_all(&out).is_err() {
                return;
            }
        }
    }

    fn pass(&self, frame: &[u8], start: usize, late: &mut Vec<u8>, out: &mut Vec<u8>) {
        let payload = &frame[start..];
        let is_one = payload.starts_with(self.kind[0].as_bytes())
            && memchr::memmem::find(payload, self.kind[1].as_bytes()).is_some();
        if is_one && self.seen.fetch_add(1, Ordering::Relaxed) == self.healthy {
            match self.fault {
                Fault::Lost => {}
                Fault::Twice => out.extend(frame.repeat(2)),
                Fault::Late => late.extend(frame),
            }
            return;
        }
        out.extend(frame);
        if is_one {
            out.append(late);
        }
    }
}

/// One frame of many is lost, comes twice or too late: the run says so and fails.
#[test]
fn every_fault_on_the_wire_is_noticed() {
    /// Requests before the measured step, and in it; the fault is in the middle of the step.
    const COUNT: u64 = 40;
    let dir = TestDir::new();
    let natter = Launch::new(dir.path()).start();
    for (kind, fault, expect) in [
        (DELIVERY, Fault::Lost, ": 1 lost, 0 twice, 0 out of order"),
        (DELIVERY, Fault::Twice, ": 0 lost, 1 twice, 0 out of order"),
        (DELIVERY, Fault::Late, ": 0 lost, 0 twice, 1 out of order"),
        (ANSWER, Fault::Lost, "1 requests without an answer"),
        (ANSWER, Fault::Twice, "1 of 2 connections are open"),
        (ANSWER, Fault::Late, ", 2 answers that were wrong"),
    ] {
        let wire = Wire { kind, fault, healthy: COUNT + COUNT / 2, seen: AtomicU64::new(0) };
        let address = wire.start(natter.address);
        let words = format!("relay --url http://{address} --clients 2 --window 4 --count {COUNT}");
        let options = Options { patience: Duration::from_secs(1), ..options(&words) };
        let report = super::load::run(&options).expect("a report");
        let broken: Vec<&str> =
            report.checks.iter().filter(|check| !check.is_kept).map(|check| check.what.as_str()).collect();
        assert!(broken.iter().any(|what| what.contains(expect)), "{kind:?} {fault:?}: {:?}", report.checks);
        assert!(!report.is_good());
    }
    natter.stop();
}

/// A sync of the server takes so long, and no post is answered before one.
#[test]
fn a_slow_disk_is_one_whose_syncs_are_slow() {
    if super::shims::shim(TestDir::new().path(), "slow_disk").is_none() {
        println!("SKIPPED: a slow disk needs a C compiler and Linux");
        return;
    }
    let report = run("relay --clients 2 --window 1 --seconds 0.5 --slow-disk 20");
    let latency = &report.steps[0].kinds[0].latency;
    assert!(latency.count() > 0 && latency.quantile_ms(0.0) >= 19.0, "{} ms", latency.quantile_ms(0.0));
}

#[test]
fn the_ledger_finds_each_fault() {
    let event =
        |sender: u32, number: u64| format!(r##"{{"data":{{"body":"#{sender:05} {number:010} x"}}}}"##);
    let now = std::time::Instant::now();
    let check = |received: &[(usize, u32, u64)], expect: (u64, u64, u64, u64)| {
        let mut ledger = Ledger::default();
        let sender = ledger.add_sender([1, 2].into_iter());
        for _ in 0..3 {
            ledger.post(sender, now);
            ledger.answer(sender, true);
        }
        for (conn, sender, number) in received {
            ledger.receive(*conn, event(*sender, *number).as_bytes());
        }
        let Faults { twice, out_of_order, astray } = ledger.faults;
        assert_eq!((ledger.lost(), twice, out_of_order, astray), expect, "{received:?}");
        assert_eq!(ledger.is_settled(), expect.0 == 0);
    };
    let all = |conn: usize| [(conn, 0, 0), (conn, 0, 1), (conn, 0, 2)];
    check(&[all(1), all(2)].concat(), (0, 0, 0, 0));
    check(&[all(1).as_slice(), &all(2)[..2]].concat(), (1, 0, 0, 0));
    check(&[all(1).as_slice(), &all(2), &[(2, 0, 1)]].concat(), (0, 1, 0, 0));
    check(&[all(1).as_slice(), &[(2, 0, 1), (2, 0, 0), (2, 0, 2)]].concat(), (0, 0, 1, 0));
    check(&[all(1).as_slice(), &all(2), &[(3, 0, 1)]].concat(), (0, 0, 0, 1));
}

#[test]
fn the_ledger_judges_what_is_stored() {
    let now = std::time::Instant::now();
    let mut ledger = Ledger::default();
    let sender = ledger.add_sender(std::iter::empty());
    for number in 0..5 {
        ledger.post(sender, now);
        ledger.answer(sender, number != 1);
    }
    ledger.post(sender, now); // without an answer: stored or not
    let check = |numbers: &[u64], is_complete: bool, faults: u64| {
        let stored: Vec<(u32, u64)> = numbers.iter().map(|number| (sender, *number)).collect();
        assert_eq!(ledger.judge_stored(&[sender], &stored, is_complete), faults, "{numbers:?}");
    };
    check(&[4, 3, 2, 0], true, 0);
    check(&[5, 4, 3, 2, 0], true, 0);
    check(&[4, 3], false, 0);
    check(&[4, 3], true, 2); // 2 and 0 are lost
    check(&[3, 2, 0], true, 1); // the newest is lost
    check(&[4, 2, 0], true, 1);
    check(&[4, 3, 3, 2, 0], true, 1); // twice
    check(&[4, 2, 3, 0], true, 2); // 3 is missed where it must be, and comes where it must not be
    check(&[], true, 4);
}

#[test]
fn options_have_bounds() {
    for wrong in [
        "relay --clients 0",
        "relay --rate 0",
        "relay --window 4 --rate 5",
        "push --url https://x",
        "relay --url https://x --bare",
        "nothing",
        "relay --seconds 3601",
        "relay --clients",
        "relay --url https://x --slow-disk 20",
        "relay --slow-disk 0",
    ] {
        let words: Vec<String> = wrong.split(' ').map(str::to_owned).collect();
        assert!(Options::parse(&words).is_err(), "{wrong}");
    }
}
