//! The bystander: an honest client during an attack.
//!
//! It reads, posts, signs in from other addresses and opens new connections, each in one thread at a steady rate, far below
//! every limit. Owns the measurements.
//! Invariant: a request that is refused or not answered in time counts as one that took [`PATIENCE`].

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::scene::{Scene, post, to_profile};
use super::wire::{Client, PATIENCE, request};

pub const KINDS: [&str; 4] = ["reads", "posts", "sign-ins", "connections"];

/// The measurement of one kind of request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub p50: f64,
    pub p99: f64,
    pub failed: usize,
}

/// Measures for `time`: one [`Seen`] for each of [`KINDS`].
pub fn watch(scene: &Scene<'_>, time: Duration, round: u8) -> [Seen; 4] {
    let until = Instant::now() + time;
    std::thread::scope(|scope| {
        let reads = scope.spawn(move || reads(scene, until));
        let posts = scope.spawn(move || posts(scene, until));
        let sign_ins = scope.spawn(move || sign_ins(scene, until, round));
        let connections = scope.spawn(move || connections(scene, until, round));
        [reads, posts, sign_ins, connections].map(|watch| watch.join().expect("a watch"))
    })
}

/// Repeats one request at a steady rate; `one` returns whether the response was the expected one.
fn repeat(until: Instant, every: Duration, mut one: impl FnMut(u64) -> bool) -> Seen {
    let (mut times, mut failed) = (Vec::new(), 0);
    let mut next = Instant::now();
    for number in 0.. {
        let now = Instant::now();
        if now >= until {
            break;
        }
        std::thread::sleep(next.saturating_duration_since(now));
        next = (next + every).max(Instant::now());
        let began = Instant::now();
        let good = one(number);
        failed += usize::from(!good);
        times.push(if good { began.elapsed() } else { PATIENCE });
    }
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part).ceil() as usize].as_secs_f64() * 1e3;
    if times.is_empty() { Seen::default() } else { Seen { p50: at(0.5), p99: at(0.99), failed } }
}

/// A request on a kept connection, which is opened again if it was lost.
fn kept(scene: &Scene<'_>, client: &mut Option<Client>, source: IpAddr, bytes: &[u8], status: u16) -> bool {
    if client.is_none() {
        *client = scene.connect(source).ok();
    }
    let good =
        client.as_mut().and_then(|client| client.ask(bytes).ok()).is_some_and(|it| it.status == status);
    if !good {
        *client = None;
    }
    good
}

fn reads(scene: &Scene<'_>, until: Instant) -> Seen {
    let me = &scene.cast().bystander;
    let page = format!("/api/v1/conversations/{}/messages", scene.cast().conversation);
    let requests =
        [page.as_str(), "/api/v1/conversations"].map(|path| request("GET", path, Some(&me.access), "", None));
    let mut client = None;
    let source = IpAddr::from([127, 100, 0, 1]);
    repeat(until, Duration::from_millis(30), |number| {
        kept(scene, &mut client, source, &requests[number as usize % 2], 200)
    })
}

fn posts(scene: &Scene<'_>, until: Instant) -> Seen {
    let (me, friend) = (&scene.cast().bystander, &scene.cast().friend);
    let mut client = None;
    let source = IpAddr::from([127, 100, 1, 1]);
    repeat(until, Duration::from_millis(80), |number| {
        let body = post(&to_profile(&friend.profile), "how are you", number << 40 | u64::from(u32::MAX));
        let bytes = request("POST", "/api/v1/messages", Some(&me.access), "", Some(&body));
        kept(scene, &mut client, source, &bytes, 201)
    })
}

/// From an address that never signed in before.
fn sign_ins(scene: &Scene<'_>, until: Instant, round: u8) -> Seen {
    let body = r#"{"email":"bystander@example.org","password":"correct horse bystander's"}"#;
    let bytes = request("POST", "/api/v1/user/sign-in", None, "", Some(body));
    repeat(until, Duration::from_millis(250), |number| {
        let source = IpAddr::from([127, 110 + round, number as u8, 1]);
        let asked = scene.connect(source).and_then(|mut client| client.ask(&bytes));
        asked.is_ok_and(|response| response.status == 200)
    })
}

fn connections(scene: &Scene<'_>, until: Instant, round: u8) -> Seen {
    let bytes = request("GET", "/healthz", None, "", None);
    repeat(until, Duration::from_millis(40), |number| {
        let source = IpAddr::from([127, 130 + round, number as u8, 1]);
        let asked = scene.connect(source).and_then(|mut client| client.ask(&bytes));
        asked.is_ok_and(|response| response.status == 200)
    })
}
