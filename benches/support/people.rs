//! Many people on one thread: the load of a bench. They write as real clients do (masked frames, ULIDs, one JSON object a
//! post) and read no more of an answer than whose it is, so that the server is what is measured.
//! Invariant: a post counts when its answer is read, and every post is answered before a talk is over.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use natter::base::id::Id;

use super::bare::BODY;
use super::support::http::Person;
use super::support::net::{Http, PATIENCE, Ws};

pub struct People {
    poll: Poll,
    peers: Vec<Peer>,
    buffer: Vec<u8>,
    random: u64,
}

struct Peer {
    stream: TcpStream,
    partner: String,
    /// To be written.
    out: Vec<u8>,
    /// Read, and not yet a whole frame.
    inbox: Vec<u8>,
    /// When each post under way was sent, in order: answers come in order too.
    sent: VecDeque<Instant>,
    heard: u64,
}

impl People {
    /// `count` people, an even number, in pairs, each on a native WebSocket.
    pub fn arrive(address: SocketAddr, count: usize) -> People {
        let mut http = Http::connect(address);
        let persons: Vec<Person> = (0..count).map(|i| http.sign_up(&format!("person{i}"))).collect();
        let poll = Poll::new().expect("a poll");
        let peers = persons.iter().enumerate().map(|(index, person)| {
            let (mut ws, _) = Ws::native(address, &person.access, None).expect("a socket");
            ws.until("event", "caught_up");
            let stream = ws.stream().try_clone().expect("a second handle");
            stream.set_nonblocking(true).expect("a flag");
            let mut stream = TcpStream::from_std(stream);
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(index), both).expect("registered");
            let partner = persons[index ^ 1].profile.clone();
            Peer { stream, partner, out: Vec::new(), inbox: Vec::new(), sent: VecDeque::new(), heard: 0 }
        });
        let peers = peers.collect();
        People { poll, peers, buffer: vec![0; 65_536], random: 7 }
    }

    /// The first `senders` talk to their partners for `time`, each with `window` posts under way: the time each answer
    /// took, of those that came in time.
    pub fn talk(&mut self, senders: usize, window: usize, time: Duration) -> Vec<Duration> {
        let mut times = Vec::new();
        let began = Instant::now();
        let (until, give_up) = (began + time, began + time + PATIENCE);
        let heard_before: u64 = self.peers.iter().map(|peer| peer.heard).sum();
        let mut posted = 0;
        for index in 0..senders {
            for _ in 0..window {
                posted += 1;
                self.post(index, began);
            }
            self.peers[index].flush();
        }
        let mut events = Events::with_capacity(1_024);
        let mut under_way = posted;
        // Every answer, and every delivery.
        while under_way > 0 || self.peers.iter().map(|peer| peer.heard).sum::<u64>() < heard_before + posted {
            assert!(Instant::now() < give_up, "{under_way} posts are not answered");
            self.poll.poll(&mut events, Some(Duration::from_millis(100))).expect("a poll");
            for event in &events {
                let index = event.token().0;
                let answered = self.peers[index].read(&mut self.buffer);
                let now = Instant::now();
                for _ in 0..answered {
                    let sent = self.peers[index].sent.pop_front().expect("an answer to a post");
                    under_way -= 1;
                    if now < until {
                        times.push(now - sent);
                        posted += 1;
                        under_way += 1;
                        self.post(index, now);
                    }
                }
                self.peers[index].flush();
            }
        }
        times
    }

    fn post(&mut self, index: usize, now: Instant) {
        let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let client_id = Id(ms << 80 | u128::from(self.random) << 16);
        let peer = &mut self.peers[index];
        let text = format!(
            r#"{{"id":{index},"op":"message.post","to":"{}","client_id":"{client_id}","body":"{BODY}"}}"#,
            peer.partner
        );
        let len = u16::try_from(text.len()).expect("a short text").to_be_bytes();
        let mask = (self.random as u32).to_be_bytes();
        peer.out.extend_from_slice(&[0x81, 0x80 | 126, len[0], len[1]]);
        peer.out.extend_from_slice(&mask);
        peer.out.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        peer.sent.push_back(now);
    }
}

impl Peer {
    fn flush(&mut self) {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return, // an event will tell
                Err(error) => panic!("a write: {error}"),
            }
        }
    }

    /// Reads what is there; how many answers it held.
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        let mut answers = 0;
        loop {
            match self.stream.read(buffer) {
                Ok(0) => panic!("the server closed a socket"),
                Ok(count) => self.inbox.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("a read: {error}"),
            }
        }
        let mut at = 0;
        while let Some((start, end)) = frame(&self.inbox[at..]) {
            let (head, payload) = (self.inbox[at], &self.inbox[at + start..at + end]);
            match head {
                0x81 if payload.starts_with(b"{\"re\":") => {
                    let is_ok = payload[6..].splitn(2, |byte| *byte == b',').nth(1);
                    assert!(is_ok.is_some_and(|rest| rest.starts_with(b"\"ok\":")), "a refusal");
                    answers += 1;
                }
                0x81 if payload.starts_with(b"{\"event\":\"message.posted\"") => self.heard += 1,
                0x89 => {
                    let mut pong = vec![0x8a, 0x80 | payload.len() as u8, 0, 0, 0, 0];
                    pong.extend_from_slice(payload);
                    self.out.extend(pong);
                }
                _ => {}
            }
            at += end;
        }
        self.inbox.drain(..at);
        answers
    }
}

/// Where the payload of the first frame begins and ends, if it is whole.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (start, len) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        len => (2, usize::from(len)),
    };
    (bytes.len() >= start + len).then_some((start, start + len))
}
