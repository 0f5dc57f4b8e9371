//! Random inputs of every kind in any order, from a seed.
//!
//! Inputs are bytes that are nearly right, answers to no command, refusals, and jumps of the clock. Invariant: nothing
//! panics, no queue grows without bound, and nothing is left at the end.
//!
//! `FUZZ_SEED=… cargo test --test suite fuzz` plays one seed again.

use std::time::Duration;

use crate::support::http::Person;
use crate::support::{Peer, Seeded, Watch, World, limits, settings};
use natter::base::crypto::Entropy;
use natter::base::id::Id;
use natter::base::slab::Key;
use natter::in_memory::StorageCommand;
use natter::model::job::{Delivery, Done};
use natter::model::metrics::ErrorKind;
use natter::model::operation::{Outcome, Refusal};
use natter::model::push::Pushed;
use natter::model::readiness::{Readiness, WalHeld};
use natter::server::contract::{ConnId, Input, ListenerKind};

const SEEDS: u64 = 40;
const STEPS: u64 = 400;

const REFUSALS: [Refusal; 12] = [
    Refusal::NotFound,
    Refusal::NotAllowed,
    Refusal::Unauthorized,
    Refusal::EmailTaken,
    Refusal::InUse,
    Refusal::CodeWrong,
    Refusal::Invalid("to"),
    Refusal::QuotaExceeded,
    Refusal::Busy,
    Refusal::Unavailable,
    Refusal::StorageFull,
    Refusal::Internal,
];

struct Play {
    world: World,
    dice: Dice,
    conns: Vec<ConnId>,
    corpus: Vec<Vec<u8>>,
}

struct Dice(Seeded);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_be_bytes(bytes) % below.max(1)
    }

    fn index(&mut self, len: usize) -> usize {
        self.roll(len as u64) as usize
    }

    /// Bytes that are nearly right, or noise.
    fn bytes(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = corpus[self.index(corpus.len())].clone();
        for _ in 0..[0, 0, 0, 1, 2, 8][self.index(6)] {
            let at = self.index(bytes.len() + 1);
            match self.roll(6) {
                0 if at < bytes.len() => bytes[at] = self.roll(256) as u8,
                1 => bytes.truncate(at),
                2 => drop(bytes.drain(at..(at + 9).min(bytes.len()))),
                3 => {
                    let other = corpus[self.index(corpus.len())].clone();
                    bytes.splice(at..at, other);
                }
                4 => {
                    let noise: Vec<u8> = (0..self.roll(20)).map(|_| self.roll(256) as u8).collect();
                    bytes.splice(at..at, noise);
                }
                _ => drop(bytes.splice(at..at, *b"\r\n\r\n")),
            }
        }
        bytes
    }
}

impl Play {
    fn new(seed: u64) -> Play {
        let dice = Dice(Seeded(seed));
        let limits = natter::limits::Limits {
            rate_limit: seed.is_multiple_of(4),
            connections_max: 20,
            send_queue_max: 20_000,
            ..limits()
        };
        let mut world = World::with(settings(limits));
        // The fuzzer accepts connections twice, and reports bytes as sent that no socket took.
        world.watch = Watch::Nothing;
        let (ann, bob) = (world.sign_up("ann"), world.sign_up("bob"));
        Play { world, dice, conns: Vec::new(), corpus: corpus(&ann, &bob) }
    }

    /// A connection that is open, was open, or never existed.
    fn conn(&mut self) -> ConnId {
        match self.dice.roll(20) {
            0 => ConnId(self.dice.roll(40)),
            1 => ConnId(2 << 32 | self.dice.roll(40)),
            _ if self.conns.is_empty() => ConnId(1 << 32 | self.dice.roll(40)),
            _ => self.conns[self.dice.index(self.conns.len())],
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.world.handle(input);
    }

    fn step(&mut self) {
        match self.dice.roll(24) {
            0..=1 => {
                let peer = ["127.0.0.1", "192.0.2.1", "2001:db8::1"][self.dice.index(3)];
                let conn = self.world.connect_from(peer);
                self.conns.push(conn);
            }
            2 => {
                let conn = self.conn();
                let listener_kind =
                    if self.dice.roll(2) == 0 { ListenerKind::Public } else { ListenerKind::Control };
                self.input(Input::Accepted {
                    conn,
                    peer: std::net::Ipv4Addr::LOCALHOST.into(),
                    listener_kind,
                });
                self.world.peers.entry(conn).or_insert_with(Peer::unwatched);
            }
            3..=10 => {
                let (conn, bytes) = (self.conn(), self.dice.bytes(&self.corpus));
                for piece in bytes.chunks(1 + self.dice.index(400)) {
                    self.input(Input::Received { conn, bytes: piece });
                }
            }
            11 => {
                let (conn, bytes) = (self.conn(), self.dice.roll(100_000));
                self.input(Input::Sent { conn, bytes });
            }
            12 => {
                let conn = self.conn();
                self.input(Input::Ended { conn });
            }
            13 => {
                let conn = self.conn();
                self.input(Input::Failed { conn });
            }
            14..=16 => self.world.release(1),
            17 => {
                let Some(command) = self.world.asked.pop_front() else { return };
                let result = Err(REFUSALS[self.dice.index(REFUSALS.len())]);
                self.input(Input::Answered { ticket: command.ticket(), outcome: Outcome::quiet(result) });
            }
            18 => {
                // The answer to another command.
                let Some(command) = self.world.asked.pop_front() else { return };
                let other = self.dice.index(self.world.asked.len());
                let result = match self.world.asked.get(other).cloned() {
                    Some(StorageCommand::Read(_, read)) => self.world.reader.read(*read),
                    _ => Err(Refusal::Unavailable),
                };
                self.input(Input::Answered { ticket: command.ticket(), outcome: Outcome::quiet(result) });
            }
            19 => {
                let ticket = Key::from_u64(self.dice.roll(1 << 34));
                let result = Err(Refusal::NotFound);
                self.input(Input::Answered { ticket, outcome: Outcome::quiet(result) });
                let pushed = Done::Pushed(Pushed::Later(None));
                let dones = [Done::Busy, Done::Failed, Done::Place(None), Done::Mail(Delivery::Sent), pushed];
                for done in dones {
                    let ticket = Key::from_u64(1 << 32 | self.dice.roll(40));
                    self.input(Input::Finished { ticket, done });
                }
            }
            20 => {
                let upload = Id::from_u128(self.dice.roll(9).into());
                let bytes = self.dice.index(1_000_000);
                let sha256 = (self.dice.roll(2) == 0).then_some([7; 32]);
                self.input(Input::Appended { upload, bytes, sha256 });
                let full = self.dice.roll(2) == 0;
                self.input(Input::DiskFailed { upload, full });
            }
            21 => {
                let readiness = Readiness {
                    unready: (self.dice.roll(2) == 0).then_some("the disk is full"),
                    unproven: self.dice.roll(4) == 0,
                    wal_held: (self.dice.roll(4) == 0).then_some(WalHeld { pid: Some(7) }),
                };
                self.input(Input::Storage(readiness));
                let kind = ErrorKind::ALL[self.dice.index(ErrorKind::ALL.len())];
                // A panic is what this test looks for.
                if kind != ErrorKind::Panic {
                    let count = 1 + self.dice.roll(3);
                    self.input(Input::BackgroundErrors { kind, count, text: "it failed\n".to_owned() });
                }
            }
            22 => {
                let conn = self.conn();
                if let Some(peer) = self.world.peers.get_mut(&conn) {
                    peer.stalled = !peer.stalled;
                }
            }
            _ => {
                let most = [10, 1_000, 40_000, 1_000_000][self.dice.index(4)];
                let time = Duration::from_millis(self.dice.roll(most));
                self.world.now = self.world.now.later(time);
                // A wall clock may be set back.
                self.world.now.unix_ms.0 -= self.dice.roll(2) * self.dice.roll(5_000);
                self.input(Input::Tick);
            }
        }
        if self.dice.roll(3) > 0 {
            self.world.perform();
        }
    }

    /// All peers leave, every command is answered, and nothing is left.
    fn end(mut self, seed: u64) {
        self.world.perform();
        let conns: Vec<ConnId> = self.world.peers.keys().copied().collect();
        for conn in &conns {
            assert!(self.world.server.send_queue(*conn).is_none_or(|queue| queue.memory() < 2_000_000));
            self.input(Input::Failed { conn: *conn });
        }
        self.world.holds = false;
        self.world.release(10_000);
        assert_eq!(self.world.server.load(), (0, 0, 0), "seed {seed}");
        // By now all rate budgets are full again.
        self.world.pass(Duration::from_secs(10));
        let metrics = self.world.ask("GET", "/metrics", &[], None);
        assert!(
            metrics.text().contains("natter_background_errors_total{kind=\"panic\"} 0\n"),
            "seed {seed}: a handler panicked"
        );
        self.input(Input::Drain);
        self.world.perform();
        self.world.pass(Duration::from_secs(30));
        assert!(self.world.server.is_drained(), "seed {seed}");
    }
}

/// The bytes that honest peers send, to be mutated.
fn corpus(ann: &Person, bob: &Person) -> Vec<Vec<u8>> {
    let auth = format!("Authorization: Bearer {}\r\n", ann.access);
    let up = format!(
        "{auth}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    let post = format!(r#"{{"to":"{}","client_id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","body":"hi"}}"#, bob.profile);
    let get =
        |path: &str, fields: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n").into_bytes();
    let send = |path: &str, fields: &str, body: &str| {
        let len = body.len();
        let json = "Content-Type: application/json\r\n";
        format!("POST {path} HTTP/1.1\r\nHost: h\r\n{fields}{json}Content-Length: {len}\r\n\r\n{body}")
            .into_bytes()
    };
    let text = |text: &str| {
        let mut frame = vec![0x81];
        match text.len() {
            len @ 0..126 => frame.push(0x80 | len as u8),
            len => frame.extend([0xfe, (len >> 8) as u8, len as u8]),
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        frame
    };
    let sign_in = r#"{"email":"ann@example.org","password":"correct horse ann's"}"#;
    let chunked = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n";
    let mut ops = vec![
        text(r#"{"id":1,"op":"conversation.list"}"#),
        text(&format!(r#"{{"id":2,"op":"message.post",{}"#, &post[1..])),
        text(&format!(r#"{{"op":"auth","access":"{}"}}"#, ann.access)),
        text(r#"{"message":"hi"}"#),
        text("null"),
    ];
    let mut all = vec![
        get("/", ""),
        get("/metrics", ""),
        get("/readyz", "Connection: close\r\n"),
        get("/api/v1/user/me", &auth),
        get("/api/v1/conversations?limit=3", &auth),
        get("/api/v1/events?wait=5", &auth),
        get("/api/v1/events", &format!("{auth}Accept: text/event-stream\r\n")),
        get("/api/v1/chat-list", &auth),
        get("/api/v1/ws", &up),
        get("/api/v1/ws?cursor=a:0", &up),
        get(&format!("/api/v1/ws/{}/{}", ann.profile, bob.profile), &up),
        send("/api/v1/messages", &auth, &post),
        send("/api/v1/user/sign-in", "", sign_in),
        send("/api/v1/user/ticket", &auth, "{}"),
        [get("/api/v1/messages", &format!("{auth}{chunked}")), b"2\r\n{}\r\n0\r\n\r\n".to_vec()].concat(),
        vec![0x89, 0x80, 0, 0, 0, 0],
        vec![0x88, 0x82, 0, 0, 0, 0, 3, 0xe8],
        vec![0x82, 0x80, 0, 0, 0, 0],
        vec![0x01, 0x81, 0, 0, 0, 0, b'{'],
    ];
    all.push([get("/api/v1/ws", &up), ops.concat()].concat());
    all.append(&mut ops);
    all
}

#[test]
fn any_input_in_any_order_leaves_a_server_that_serves() {
    let one = std::env::var("FUZZ_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in one.map_or(0..SEEDS, |seed: u64| seed..seed + 1) {
        let mut play = Play::new(seed);
        play.world.holds = !seed.is_multiple_of(3);
        for step in 0..STEPS {
            let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play.step()));
            assert!(played.is_ok(), "seed {seed}, step {step}");
        }
        play.end(seed);
    }
}

/// What a NATS server says, and what JetStream answers in it.
#[cfg(feature = "cluster")]
fn nats_corpus() -> Vec<Vec<u8>> {
    let info = r#"{"config":{"name":"L","subjects":["l"],"num_replicas":3},"created":"2026-11-30T02:07:15.2Z","state":{"first_seq":1,"last_seq":9},"cluster":{"leader":"a","replicas":[{"name":"b","active":5}]},"ts":"2026-11-30T02:07:16Z"}"#;
    let message = |payload: &str| format!("MSG _INBOX.a.r.i1 1 {}\r\n{payload}\r\n", payload.len());
    [
        "INFO {\"server_name\":\"a\",\"version\":\"2.15.3\",\"max_payload\":1048576,\"headers\":true}\r\n"
            .to_owned(),
        "PONG\r\n".to_owned(),
        "PING\r\n".to_owned(),
        "+OK\r\n".to_owned(),
        "-ERR 'Permissions Violation for Publish to \"x\"'\r\n".to_owned(),
        "MSG natter.c.log 17 $JS.ACK.L.x.1.8.1.5000000.0 3\r\nabc\r\n".to_owned(),
        "HMSG _INBOX.a.r.d2 1 30 33\r\nNATS/1.0\r\nNats-Sequence: 2\r\n\r\nabc\r\n".to_owned(),
        "HMSG _INBOX.a.r.a3 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n".to_owned(),
        message(info),
        message(r#"{"stream":"L","seq":9}"#),
        message(r#"{"error":{"code":503,"err_code":10008,"description":"unavailable"}}"#),
        message(r#"{"message":{"seq":2,"time":"2026-11-30T02:07:15.2Z","data":"YWJj"}}"#),
        message(
            r#"{"data":{"server_name":"a","version":"2.15.3","jetstream":{"config":{"sync_always":true}}}}"#,
        ),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// What a connection makes of these pieces, and of the payloads as replies of JetStream.
#[cfg(feature = "cluster")]
fn nats_events<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    use natter::proto::nats::{Connection, Event, Options, jetstream};
    let (mut conn, mut events) = (Connection::new(Options::default()), Vec::new());
    for piece in pieces {
        conn.receive(piece);
        while let Some(event) = conn.poll() {
            events.push(format!("{event:?}"));
            if let Event::Message(message) = event {
                let payload = &message.payload;
                let place = message.reply.as_deref().and_then(jetstream::Place::of);
                let read = (jetstream::read_stream(payload), jetstream::read_server(payload));
                let stored = (jetstream::read_message(payload), jetstream::read_ack(payload));
                events.push(format!("{place:?} {read:?} {stored:?} {:?}", jetstream::read_direct(message)));
            }
        }
        conn.sent(conn.outgoing().len());
    }
    assert!(conn.outgoing().is_empty());
    events
}

#[cfg(feature = "cluster")]
#[test]
fn any_bytes_of_a_nats_server_mean_the_same_in_any_pieces() {
    let corpus = nats_corpus();
    let (mut messages, mut failures) = (0, 0);
    for seed in 0..2_000 {
        let mut dice = Dice(Seeded(seed));
        let mut bytes = [corpus[0].clone(), corpus[1].clone()].concat();
        for _ in 0..dice.roll(12) {
            bytes.append(&mut dice.bytes(&corpus));
        }
        let whole = nats_events([&bytes[..]].into_iter());
        let each = 1 + dice.index(40);
        assert_eq!(nats_events(bytes.chunks(each)), whole, "seed {seed}, pieces of {each}");
        assert_eq!(nats_events(bytes.chunks(1)), whole, "seed {seed}");
        let count = |name: &str| whole.iter().filter(|event| event.starts_with(name)).count();
        (messages, failures) = (messages + count("Message"), failures + count("Failed"));
    }
    assert!(messages > 1_000 && failures > 100, "{messages} messages, {failures} failures");
}
