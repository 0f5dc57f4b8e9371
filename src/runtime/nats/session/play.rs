//! The server of the log that the tests of the session play by hand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::*;
use crate::base::time::UnixMs;
use crate::proto::nats::jetstream::read_server;
use crate::proto::nats::{Event, Options};

const INFO: &str = "INFO {\"server_name\":\"a\",\"version\":\"2.15.3\",\"max_payload\":1048576,\"headers\":true}\r\nPONG\r\n";

/// A session, and the server that a test plays.
pub(super) struct Play {
    pub(super) session: Session,
    pub(super) conn: Connection,
    pub(super) now: Instant,
    pub(super) whispered: Arc<Mutex<Vec<Vec<u8>>>>,
    /// What was asked and not answered: subject, reply, body.
    pub(super) asked: VecDeque<(String, String, String)>,
    pub(super) events: Vec<LogEvent>,
}

/// A stream as its leader describes it.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) created: &'static str,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) silent_ms: u64,
    pub(super) replicas: u64,
}

pub(super) fn stream(first: u64, last: u64) -> Stream {
    Stream { created: "2026-11-30T02:07:15Z", first, last, silent_ms: 10, replicas: 3 }
}

impl Stream {
    pub(super) fn json(&self) -> String {
        let Stream { created, first, last, silent_ms, replicas } = self;
        let silent = silent_ms * 1_000_000;
        format!(
            r#"{{"config":{{"name":"NATTER_c","subjects":["natter.c.log"],"retention":"limits","storage":"file","discard":"old","num_replicas":{replicas},"max_age":1000000000,"max_bytes":1000,"deny_delete":true,"deny_purge":true}},"created":"{created}","state":{{"first_seq":{first},"last_seq":{last}}},"cluster":{{"leader":"a","replicas":[{{"name":"b","active":{silent}}},{{"name":"c","active":{silent}}}]}}}}"#
        )
    }
}

pub(super) fn facts(syncs: bool) -> Vec<ServerFacts> {
    let fact = |name| {
        let text = format!(
            r#"{{"data":{{"server_name":"{name}","version":"2.12.3","jetstream":{{"config":{{"sync_always":{syncs},"sync_interval":1000000000}}}}}}}}"#
        );
        read_server(text.as_bytes()).expect("facts")
    };
    ["a", "b", "c"].map(fact).to_vec()
}

pub(super) fn found(syncs: bool) -> Found {
    Found { facts: facts(syncs), fault: None }
}

impl Play {
    /// Connected, with the stream asked for.
    pub(super) fn new(position: u64) -> Play {
        Play::following(position, None)
    }

    /// The same for a node whose database follows a log.
    pub(super) fn following(position: u64, follows: Option<String>) -> Play {
        let now = Instant::now();
        let setup = Setup {
            stream: StreamConfig {
                name: "NATTER_c".to_owned(),
                subject: "natter.c.log".to_owned(),
                replicas: 3,
                max_age: Duration::from_secs(1),
                max_bytes: 1_000,
            },
            whispers: "natter.c.w".to_owned(),
            inbox: "_INBOX.x".to_owned(),
            creates: false,
            replaces: false,
            surveys: false,
            is_unsafe: false,
            unasked: "nobody knows why",
            probe: Some(Arc::from(*b"probe")),
            follows,
            entry_bytes_max: 524_288,
        };
        let whispered: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let theirs = Arc::clone(&whispered);
        let on_whisper: OnWhisper = Box::new(move |message| theirs.lock().expect("a lock").push(message));
        let mut play = Play {
            session: Session::new(setup, on_whisper, now),
            conn: Connection::new(Options::default()),
            now,
            whispered,
            asked: VecDeque::new(),
            events: Vec::new(),
        };
        play.session.read_after(None, position, now);
        play.connect();
        play
    }

    /// Reading behind this position, in a stream that ends there.
    pub(super) fn reading(position: u64) -> Play {
        let mut play = Play::new(position);
        play.session.audited(found(true), play.now);
        play.answer("STREAM.INFO", &stream(1, position).json());
        play.answer("CONSUMER.CREATE", r#"{"name":"x"}"#);
        assert!(matches!(play.take()[..], [LogEvent::Up(_)]));
        play
    }

    pub(super) fn connect(&mut self) {
        self.conn = Connection::new(Options::default());
        self.receive(INFO);
    }

    pub(super) fn receive(&mut self, bytes: &str) {
        self.conn.receive(bytes.as_bytes());
        while let Some(event) = self.conn.poll() {
            match event {
                Event::Ready => self.session.connected(&mut self.conn, self.now),
                Event::Message(message) => self.session.message(&mut self.conn, message, self.now),
                event => panic!("{event:?}"),
            }
        }
        self.turn();
    }

    pub(super) fn turn(&mut self) {
        self.session.tick(&mut self.conn, self.now);
        self.session.take_events(&mut self.events);
        let out = String::from_utf8_lossy(self.conn.outgoing()).into_owned();
        self.conn.sent(self.conn.outgoing().len());
        let mut lines = out.split("\r\n");
        while let Some(line) = lines.next() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["PUB", subject, reply, _] => {
                    let body = lines.next().unwrap_or_default();
                    self.asked.push_back((subject.to_owned(), reply.to_owned(), body.to_owned()));
                }
                ["PUB", subject, _] => {
                    let body = lines.next().unwrap_or_default();
                    self.asked.push_back((subject.to_owned(), String::new(), body.to_owned()));
                }
                _ => {}
            }
        }
    }

    pub(super) fn pass(&mut self, ms: u64) {
        // In small steps, as the thread would.
        for _ in 0..ms.div_ceil(10) {
            self.now += Duration::from_millis(10);
            self.turn();
        }
    }

    /// The last request whose subject contains this; all before it stay unanswered.
    #[track_caller]
    pub(super) fn find(&mut self, part: &str) -> (String, String) {
        let at = self.asked.iter().rposition(|(subject, ..)| subject.contains(part));
        let at = at.unwrap_or_else(|| panic!("nobody asked {part}: {:?}", self.asked));
        let (_, reply, body) = self.asked.drain(..=at).next_back().expect("it is there");
        (reply, body)
    }

    #[track_caller]
    pub(super) fn answer(&mut self, part: &str, json: &str) {
        let (reply, _) = self.find(part);
        self.receive(&format!("MSG {reply} 1 {}\r\n{json}\r\n", json.len()));
    }

    #[track_caller]
    pub(super) fn answer_status(&mut self, part: &str, status: &str) {
        let (reply, _) = self.find(part);
        let headers = format!("NATS/1.0 {status}\r\n\r\n");
        self.receive(&format!("HMSG {reply} 1 {0} {0}\r\n{headers}\r\n", headers.len()));
    }

    /// The current consumer delivers this entry.
    pub(super) fn deliver(&mut self, position: u64) {
        let sid = CONSUMERS + self.session.consumers;
        self.receive(&format!(
            "MSG natter.c.log {sid} $JS.ACK.NATTER_c.x.1.{position}.1.5000000.0 1\r\nx\r\n"
        ));
    }

    pub(super) fn control(&mut self, reply: &str, headers: &str) {
        let sid = CONSUMERS + self.session.consumers;
        let headers = format!("NATS/1.0 100 x\r\n{headers}\r\n");
        self.receive(&format!("HMSG d {sid} {reply} {0} {0}\r\n{headers}\r\n", headers.len()));
    }

    pub(super) fn take(&mut self) -> Vec<LogEvent> {
        std::mem::take(&mut self.events)
    }

    pub(super) fn positions(&mut self) -> Vec<u64> {
        let position = |event| match event {
            LogEvent::Delivered { position, time, sealed } => {
                assert_eq!((time, &*sealed), (UnixMs(5), &b"x"[..]));
                position
            }
            event => panic!("{event:?}"),
        };
        self.take().into_iter().map(position).collect()
    }
}
