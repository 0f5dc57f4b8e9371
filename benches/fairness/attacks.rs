//! The attacks of one account or one address prefix, each within the limits of the server.
//!
//! A new attack is a function and a row of [`ATTACKS`]. Invariant: an attack ends soon after its [`Stop`] is set, and also ends
//! by itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::scene::{CROWD, LETTERS, Scene, post, to_conversation};
use super::wire::{Client, request};

pub struct Attack {
    pub name: &'static str,
    pub what: &'static str,
    /// Settings of the server in addition to the defaults, for the same attack on a smaller scale.
    pub env: &'static [(&'static str, &'static str)],
    pub needs_ipv6: bool,
    /// The time from its start until it has its full effect.
    pub lead: Duration,
    pub run: fn(&Scene<'_>, &Stop),
}

const fn attack(name: &'static str, what: &'static str, run: fn(&Scene<'_>, &Stop)) -> Attack {
    Attack { name, what, env: &[], needs_ipv6: false, lead: Duration::from_secs(2), run }
}

#[rustfmt::skip]
pub const ATTACKS: &[Attack] = &[
    attack("search", "one account searches for 16 one-letter words, 64 connections, 8 a second", search),
    attack("search-hang-up", "one account asks for 100 searches and hangs up, then 40 more a second", search_hang_up),
    attack("counters", "400 chat-counter streams of one account with 1,200 groups, in which 15 posts a second appear", counters),
    attack("exports", "60 exports of one account at once, again and again", exports),
    attack("groups", "one account makes groups of 1,000 members, 20 a second", groups),
    attack("passwords", "256 /64s of one /56 guess passwords", passwords),
    attack("passwords-ipv4", "250 addresses of one /24 guess passwords", passwords_ipv4),
    attack("sign-ups", "256 /64s of one /56 make accounts", sign_ups),
    Attack { needs_ipv6: true, lead: Duration::from_secs(4), ..attack("idle", "ten addresses of one /60 hold idle connections, and open them again", idle) },
    Attack { lead: Duration::from_secs(4), ..attack("idle-ipv4", "ten addresses of one /24 hold idle connections, and open them again", idle_ipv4) },
    Attack { lead: Duration::from_secs(4), ..attack("idle-everywhere", "11,000 idle connections of as many networks, and opened again", idle_everywhere) },
    Attack { lead: Duration::from_secs(9), env: &[("CONNECTIONS_MAX", "400"), ("CONNECTIONS_PER_ADDRESS", "100")],
        ..attack("proxied", "one account and one address behind a proxy hold all the streams they get (CONNECTIONS_MAX=400)", proxied) },
    attack("connects", "one address connects and leaves as fast as it can", connects),
    #[cfg(feature = "tls")]
    Attack { env: HTTPS, ..attack("handshakes", "250 addresses of one /24 begin TLS handshakes as fast as they can, and leave when they are answered", handshakes) },
    Attack { lead: Duration::from_secs(4), ..attack("slow-bodies", "6,000 sign-in bodies of 64 KiB that stay a byte short", slow_bodies) },
    Attack { lead: Duration::from_secs(4), ..attack("slow-heads", "6,000 heads of 15 KiB that never end", slow_heads) },
];

/// A server with https, to which the bystander connects by TLS too.
#[cfg(feature = "tls")]
const HTTPS: &[(&str, &str)] = &[
    ("TLS_CERT", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/p256.pem")),
    ("TLS_KEY", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/p256.key.pem")),
];

/// The signal that ends an attack.
#[derive(Default)]
pub struct Stop(AtomicBool);

impl Stop {
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sleeps, at most until the end.
    fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_set() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20).min(time));
        }
    }
}

/// The address of attackers with one address.
const ATTACKER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 66, 0, 1));
/// The trusted proxy.
const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Runs `count` attackers at the same time.
fn each(count: usize, one: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        for number in 0..count {
            let one = &one;
            let thread = std::thread::Builder::new().stack_size(262_144);
            thread.spawn_scoped(scope, move || one(number)).expect("a thread");
        }
    });
}

/// Repeats a request on a connection, and opens a new connection when it ends.
fn again(
    scene: &Scene<'_>,
    stop: &Stop,
    source: IpAddr,
    every: Duration,
    mut bytes: impl FnMut(u64) -> Vec<u8>,
) {
    let mut client: Option<Client> = None;
    for number in 0.. {
        if stop.is_set() {
            return;
        }
        let began = Instant::now();
        if client.is_none() {
            client = scene.connect(source).ok();
        }
        if client.as_mut().is_none_or(|client| client.ask(&bytes(number)).is_err()) {
            client = None;
            stop.sleep(Duration::from_millis(10));
        }
        stop.sleep(every.saturating_sub(began.elapsed()));
    }
}

/// Reads until the end of the connection or of the attack.
fn drain(client: &mut Client, stop: &Stop) {
    let mut piece = [0; 65_536];
    if client.stream.set_read_timeout(Some(Duration::from_millis(100))).is_err() {
        return;
    }
    while !stop.is_set() {
        match client.stream.read(&mut piece) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

fn search(scene: &Scene<'_>, stop: &Stop) {
    let path = format!("/api/v1/search?limit=200&q={LETTERS}");
    let bytes = request("GET", &path, Some(&scene.cast().writer.access), "", None);
    each(64, |number| {
        stop.sleep(Duration::from_millis(125 * number as u64));
        again(scene, stop, ATTACKER, Duration::from_secs(8), |_| bytes.clone());
    });
}

fn search_hang_up(scene: &Scene<'_>, stop: &Stop) {
    let path = format!("/api/v1/search?limit=200&q={LETTERS}");
    let bytes = request("GET", &path, Some(&scene.cast().writer.access), "", None);
    for number in 0.. {
        if stop.is_set() {
            return;
        }
        if let Ok(mut client) = scene.connect(ATTACKER) {
            // The request is sent, and the connection is closed.
            let _ = client.send(&bytes);
        }
        if number >= 100 {
            stop.sleep(Duration::from_millis(25));
        }
    }
}

fn counters(scene: &Scene<'_>, stop: &Stop) {
    let (watcher, maker) = (&scene.cast().grouped.access, &scene.cast().maker.access);
    let bytes = request("GET", "/api/v1/chat-counter", Some(watcher), "Accept: text/event-stream\r\n", None);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let groups = &scene.cast().groups;
            again(scene, stop, ATTACKER, Duration::from_millis(66), |number| {
                let to = to_conversation(&groups[number as usize % groups.len()]);
                request("POST", "/api/v1/messages", Some(maker), "", Some(&post(&to, "news", number << 20)))
            });
        });
        let mut streams = Vec::new();
        let mut piece = [0; 16_384];
        while !stop.is_set() {
            if streams.len() < 400
                && let Ok(mut client) = scene.connect(ATTACKER)
                && client.send(&bytes).is_ok()
                && client.stream.set_nonblocking(true).is_ok()
            {
                streams.push(client);
            }
            let gone = |client: &mut Client| matches!(client.stream.read(&mut piece), Ok(0));
            let count = streams.len();
            streams.extract_if(.., gone).for_each(drop);
            // At the rate of an account.
            stop.sleep(Duration::from_millis(if count < 100 { 1 } else { 20 }));
        }
    });
}

fn exports(scene: &Scene<'_>, stop: &Stop) {
    let bytes = request("GET", "/api/v1/user/export", Some(&scene.cast().writer.access), "", None);
    each(60, |_| {
        while !stop.is_set() {
            if let Ok(mut client) = scene.connect(ATTACKER)
                && client.send(&bytes).is_ok()
            {
                drain(&mut client, stop);
            }
            stop.sleep(Duration::from_millis(100));
        }
    });
}

fn groups(scene: &Scene<'_>, stop: &Stop) {
    let maker = &scene.cast().maker;
    let members: Vec<String> =
        scene.cast().crowd.iter().take(CROWD).map(|person| format!("\"{}\"", person.profile)).collect();
    let body = format!(r#"{{"title":"everybody","members":[{}]}}"#, members.join(","));
    let bytes = request("POST", "/api/v1/conversations", Some(&maker.access), "", Some(&body));
    each(4, |_| again(scene, stop, ATTACKER, Duration::from_millis(200), |_| bytes.clone()));
}

fn guess(number: usize, at: u64) -> String {
    format!(r#"{{"email":"nobody{number}.{at}@example.org","password":"guess number {at}"}}"#)
}

/// The field that a proxy adds.
fn forwarded(address: IpAddr) -> String {
    format!("X-Forwarded-For: {address}\r\n")
}

/// The /64 of this number in one /56.
fn neighbour(number: usize) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 7, number as u16, 0, 0, 0, 1).into()
}

fn passwords(scene: &Scene<'_>, stop: &Stop) {
    each(256, |number| {
        let field = forwarded(neighbour(number));
        again(scene, stop, PROXY, Duration::ZERO, |at| {
            request("POST", "/api/v1/user/sign-in", None, &field, Some(&guess(number, at)))
        });
    });
}

fn passwords_ipv4(scene: &Scene<'_>, stop: &Stop) {
    each(250, |number| {
        let source = IpAddr::from([127, 77, 0, number as u8 + 1]);
        again(scene, stop, source, Duration::ZERO, |at| {
            request("POST", "/api/v1/user/sign-in", None, "", Some(&guess(number, at)))
        });
    });
}

fn sign_ups(scene: &Scene<'_>, stop: &Stop) {
    each(256, |number| {
        let field = forwarded(neighbour(number));
        again(scene, stop, PROXY, Duration::ZERO, |at| {
            let email = format!("new{number}.{at}.{}@example.org", std::process::id());
            let body =
                format!(r#"{{"display_name":"New","email":"{email}","password":"battery staple {at}"}}"#);
            request("POST", "/api/v1/user/sign-up", None, &field, Some(&body))
        });
    });
}

/// Holds `count` connections that send nothing after `first`, then `more` every second. A connection that ends is opened again.
fn hold(
    scene: &Scene<'_>,
    stop: &Stop,
    count: usize,
    more: &[u8],
    source: impl Fn(usize) -> IpAddr,
    first: impl Fn(usize) -> Vec<u8>,
) {
    let open = |number: usize| {
        let mut client = scene.connect(source(number)).ok()?;
        client.send(&first(number)).ok()?;
        client.stream.set_nonblocking(true).ok()?;
        Some(client)
    };
    let mut kept: Vec<Option<Client>> = Vec::new();
    let mut piece = [0; 4_096];
    while !stop.is_set() {
        while kept.len() < count && !stop.is_set() {
            kept.push(open(kept.len()));
        }
        assert!(kept.iter().any(Option::is_some), "an attack that never gets in shows nothing");
        let began = Instant::now();
        for (number, client) in kept.iter_mut().enumerate() {
            if number % 64 == 0 && stop.is_set() {
                return;
            }
            let lives = client.as_mut().is_some_and(|client| {
                let waits = |error: &std::io::Error| error.kind() == ErrorKind::WouldBlock;
                let open = client.stream.read(&mut piece).err().is_some_and(|error| waits(&error));
                open && (more.is_empty() || client.stream.write_all(more).is_ok())
            });
            if !lives {
                *client = open(number);
            }
        }
        stop.sleep(Duration::from_secs(1).saturating_sub(began.elapsed()));
    }
}

fn idle(scene: &Scene<'_>, stop: &Stop) {
    let source =
        |number: usize| Ipv6Addr::new(0x2001, 0xdb8, 7, 0x10 + (number % 10) as u16, 0, 0, 0, 1).into();
    hold(scene, stop, 10_240, b"", source, |_| Vec::new());
}

fn idle_ipv4(scene: &Scene<'_>, stop: &Stop) {
    let source = |number: usize| IpAddr::from([127, 78, 0, 1 + (number % 10) as u8]);
    hold(scene, stop, 10_240, b"", source, |_| Vec::new());
}

fn idle_everywhere(scene: &Scene<'_>, stop: &Stop) {
    let source = |number: usize| IpAddr::from([127, 180 + (number >> 8 & 63) as u8, number as u8, 1]);
    hold(scene, stop, 11_000, b"", source, |_| Vec::new());
}

fn proxied(scene: &Scene<'_>, stop: &Stop) {
    let field = format!("{}Accept: text/event-stream\r\n", forwarded(neighbour(1)));
    let bytes = request("GET", "/api/v1/events", Some(&scene.cast().grouped.access), &field, None);
    let mut streams = Vec::new();
    let mut piece = [0; 4_096];
    while !stop.is_set() {
        if streams.len() < 600
            && let Ok(mut client) = scene.connect(PROXY)
            && client.send(&bytes).is_ok()
            && client.stream.set_nonblocking(true).is_ok()
        {
            streams.push(client);
        }
        streams.extract_if(.., |client| matches!(client.stream.read(&mut piece), Ok(0))).for_each(drop);
        stop.sleep(Duration::from_millis(if streams.len() < 100 { 1 } else { 20 }));
    }
}

fn connects(scene: &Scene<'_>, stop: &Stop) {
    each(4, |_| {
        while !stop.is_set() {
            drop(scene.connect(ATTACKER));
        }
    });
}

/// The same first message again and again, so that the server alone pays for a key exchange and a signature.
#[cfg(feature = "tls")]
fn handshakes(scene: &Scene<'_>, stop: &Stop) {
    let hello = scene.client_hello();
    each(250, |number| {
        let source = IpAddr::from([127, 82, 0, number as u8 + 1]);
        while !stop.is_set() {
            let answered = scene.connect_raw(source).and_then(|mut client| {
                client.send(&hello)?;
                client.stream.read(&mut [0; 4_096])
            });
            if answered.is_err() {
                stop.sleep(Duration::from_millis(10));
            }
        }
    });
}

fn slow_bodies(scene: &Scene<'_>, stop: &Stop) {
    // Eight per network: each network is within its rate.
    let first = |number: usize| {
        let address = Ipv6Addr::new(0x2001, 0xdb8, 0x100 + (number / 8) as u16, 0, 0, 0, 0, 1).into();
        let body = format!("{{\"email\":\"{}", "x".repeat(65_400));
        let complete = request("POST", "/api/v1/user/sign-in", None, &forwarded(address), Some(&body));
        let mut bytes = complete;
        bytes.truncate(bytes.len() - 1);
        bytes
    };
    hold(scene, stop, 6_000, b"", |_| PROXY, first);
}

fn slow_heads(scene: &Scene<'_>, stop: &Stop) {
    let source = |number: usize| IpAddr::from([127, 80, (number % 60) as u8, 1]);
    let head = format!("GET / HTTP/1.1\r\nHost: natter\r\nX: {}", "x".repeat(15_000));
    hold(scene, stop, 6_000, b"y", source, |_| head.clone().into_bytes());
}
