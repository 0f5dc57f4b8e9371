//! The load of a bench: many clients on one thread.
//!
//! They write as real clients do (masked frames, ULIDs, one JSON object per post), and read only the beginning of an answer, so
//! that the bench measures the server.
//! Two loads: each sender keeps a number of posts unanswered (closed loop), or posts are due at a fixed rate whatever the
//! server does (open loop), timed until their answers or until they are delivered.
//! Invariant: a post counts when its answer is read, and every post is answered before a measurement ends.

#![allow(dead_code, reason = "each bench uses one of the loads")]

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::{Events, Poll, Token};
use natter::base::id::Id;

use super::bare::BODY;
use super::line::{Buffers, Line, Target, frame};
use super::support::http::Person;
use super::support::net::{Http, PATIENCE};

pub struct People {
    poll: Poll,
    peers: Vec<Peer>,
    buffers: Buffers,
    random: u64,
    /// How many of the peers receive each post.
    receivers: u64,
    /// How many of the peers, the first ones, post at a fixed rate.
    talkers: usize,
}

struct Peer {
    line: Line,
    /// A post of this client; its client_id is written at `id_at`.
    post: Vec<u8>,
    id_at: usize,
    /// To be written.
    out: Vec<u8>,
    /// Read, and not yet a complete frame.
    inbox: Vec<u8>,
    /// When each unanswered post was sent, in order: answers come in order too.
    sent: VecDeque<Instant>,
    /// When each post to this client that it has not received was due, in order.
    awaited: VecDeque<Instant>,
    received: u64,
    /// Posts that were answered by an error.
    refused: u64,
}

/// What an open-loop load saw.
pub struct Paced {
    /// From the time a post was due to its answer, so that a server that stops for a moment is charged for all posts that
    /// were due then.
    pub times: Vec<Duration>,
    /// The same until the receiver has it, where half of the clients only receive.
    pub deliveries: Vec<Duration>,
    pub refused: u64,
}

impl People {
    /// `count` clients, an even number, in pairs, each with a native WebSocket.
    pub fn arrive(address: SocketAddr, count: usize) -> People {
        People::in_pairs(Target { address, is_secure: false }, address, count)
    }

    /// As [`People::arrive`], by any kind of connection; `plain` is where the server takes plain requests.
    pub fn in_pairs(target: Target, plain: SocketAddr, count: usize) -> People {
        let mut http = Http::connect(plain);
        let persons: Vec<Person> = (0..count).map(|i| http.sign_up(&format!("person{i}"))).collect();
        let to = |index: usize| format!(r#""to":"{}""#, persons[index ^ 1].profile);
        People::enter(target, &persons, to, 1)
    }

    /// A group of `count` members, each with a native WebSocket. Only the first one posts, and all others receive it.
    pub fn in_a_group(target: Target, plain: SocketAddr, count: usize) -> People {
        let mut http = Http::connect(plain);
        let persons: Vec<Person> = (0..count).map(|i| http.sign_up(&format!("member{i}"))).collect();
        let members: Vec<String> =
            persons[1..].iter().map(|person| format!("\"{}\"", person.profile)).collect();
        let body = format!(r#"{{"title":"everybody","members":[{}]}}"#, members.join(","));
        let made =
            http.ask_as(&persons[0], "POST", "/api/v1/conversations", Some(&body)).expect("a response");
        assert_eq!(made.status, 201, "{}", made.text());
        let to = format!(r#""conversation":"{}""#, made.at("data.id"));
        People::enter(target, &persons, |_| to.clone(), count as u64 - 1)
    }

    /// The first half of these persons, each with a partner in the second half, who only receives.
    pub fn one_way(address: SocketAddr, persons: &[Person]) -> People {
        let half = persons.len() / 2;
        let to = |index: usize| format!(r#""to":"{}""#, persons[(index + half) % persons.len()].profile);
        let people = People::enter(Target { address, is_secure: false }, persons, to, 1);
        People { talkers: half, ..people }
    }

    /// `count` persons at each of two nodes of a cluster: those of the first post to those of the second.
    pub fn across(from: SocketAddr, to: SocketAddr, count: usize) -> People {
        let sign_up = |address: SocketAddr, name: &str| -> Vec<Person> {
            let mut http = Http::connect(address);
            (0..count).map(|index| http.sign_up(&format!("{name}{index}"))).collect()
        };
        // The second ones first: the node that is asked for their sockets has made them itself.
        let receivers = sign_up(to, "receiver");
        let persons = [sign_up(from, "sender"), receivers].concat();
        let at = |index: usize| Target { address: if index < count { from } else { to }, is_secure: false };
        let to = |index: usize| format!(r#""to":"{}""#, persons[(index + count) % persons.len()].profile);
        let people = People::enter_at(at, &persons, to, 1);
        People { talkers: count, ..people }
    }

    fn enter(target: Target, persons: &[Person], to: impl Fn(usize) -> String, receivers: u64) -> People {
        People::enter_at(|_| target, persons, to, receivers)
    }

    fn enter_at(
        target: impl Fn(usize) -> Target,
        persons: &[Person],
        to: impl Fn(usize) -> String,
        receivers: u64,
    ) -> People {
        let poll = Poll::new().expect("a poll");
        let peers = persons.iter().enumerate().map(|(index, person)| {
            let (mut line, inbox) = Line::open(target(index), &person.access);
            line.register(poll.registry(), Token(index));
            let head = format!(r#"{{"id":{index},"op":"message.post",{},"client_id":""#, to(index));
            let post = format!(r#"{head}{}","body":"{BODY}"}}"#, <Id>::from_u128(0)).into_bytes();
            let (id_at, out, sent) = (head.len(), Vec::new(), VecDeque::new());
            Peer { line, post, id_at, out, inbox, sent, awaited: VecDeque::new(), received: 0, refused: 0 }
        });
        let peers: Vec<Peer> = peers.collect();
        let talkers = peers.len();
        People { poll, peers, buffers: Buffers::new(), random: 7, receivers, talkers }
    }

    /// Messages that were received so far.
    pub fn received(&self) -> u64 {
        self.peers.iter().map(|peer| peer.received).sum()
    }

    /// The first `senders` post to their partners for `time`, each with `window` unanswered posts. Returns the time of each
    /// answer that came before the end.
    pub fn exchange(&mut self, senders: usize, window: usize, time: Duration) -> Vec<Duration> {
        let mut times = Vec::new();
        let began = Instant::now();
        let (until, give_up) = (began + time, began + time + PATIENCE);
        let received_before = self.received();
        let mut posted = 0;
        for index in 0..senders {
            for _ in 0..window {
                posted += 1;
                self.post(index, began);
            }
            self.peers[index].flush();
        }
        let mut events = Events::with_capacity(1_024);
        let mut unanswered = posted;
        // Wait for every answer and every delivery.
        while unanswered > 0 || self.received() < received_before + posted * self.receivers {
            assert!(Instant::now() < give_up, "{unanswered} posts are not answered");
            self.poll.poll(&mut events, Some(Duration::from_millis(100))).expect("a poll");
            for event in &events {
                let index = event.token().0;
                let answered = self.peers[index].read(&mut self.buffers);
                let now = Instant::now();
                for _ in 0..answered {
                    let sent = self.peers[index].sent.pop_front().expect("an answer to a post");
                    unanswered -= 1;
                    if now < until {
                        times.push(now - sent);
                        posted += 1;
                        unanswered += 1;
                        self.post(index, now);
                    }
                }
                self.peers[index].flush();
            }
        }
        assert_eq!(self.refused(), 0, "posts were refused");
        times
    }

    /// The talkers post to their partners in turn for `time`, together `rate` posts a second, whether earlier ones are
    /// answered or not. Returns when all are answered and their receivers have them.
    pub fn talk_at(&mut self, rate: u32, time: Duration) -> Paced {
        let (mut times, mut deliveries) = (Vec::new(), Vec::new());
        let refused_before = self.refused();
        let interval = Duration::from_secs(1) / rate;
        let (began, posts) = (Instant::now(), (time.as_secs_f64() * f64::from(rate)) as u32);
        let give_up = began + time + PATIENCE;
        let (mut posted, mut answered, mut awaited) = (0, 0, 0);
        let mut events = Events::with_capacity(1_024);
        while answered < posts || deliveries.len() < awaited {
            let now = Instant::now();
            assert!(
                now < give_up,
                "{answered} of {posts} posts are answered, {} delivered",
                deliveries.len()
            );
            while posted < posts && began + interval * posted <= now {
                let (index, due) = (posted as usize % self.talkers, began + interval * posted);
                self.post(index, due);
                self.peers[index].flush();
                // None of them listens if all post.
                if let Some(receiver) = self.peers.get_mut(index + self.talkers) {
                    receiver.awaited.push_back(due);
                    awaited += 1;
                }
                posted += 1;
            }
            let next = if posted < posts { began + interval * posted } else { give_up };
            let wait = next.saturating_duration_since(Instant::now()).min(Duration::from_millis(100));
            self.poll.poll(&mut events, Some(wait)).expect("a poll");
            for event in &events {
                let peer = &mut self.peers[event.token().0];
                let before = peer.received;
                let count = peer.read(&mut self.buffers);
                let now = Instant::now();
                // A sender receives its own posts too, which nobody times.
                let new = ((peer.received - before) as usize).min(peer.awaited.len());
                deliveries.extend(peer.awaited.drain(..new).map(|due| now.saturating_duration_since(due)));
                times.extend(peer.sent.drain(..count).map(|due| now.saturating_duration_since(due)));
                answered += u32::try_from(count).expect("no more than posted");
                peer.flush();
            }
        }
        Paced { times, deliveries, refused: self.refused() - refused_before }
    }

    fn refused(&self) -> u64 {
        self.peers.iter().map(|peer| peer.refused).sum()
    }

    fn post(&mut self, index: usize, now: Instant) {
        let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let client_id = <Id>::from_u128(ms << 80 | u128::from(self.random) << 16);
        let Peer { post, id_at, out, sent, .. } = &mut self.peers[index];
        post[*id_at..][..26].copy_from_slice(&client_id.text());
        let len = u16::try_from(post.len()).expect("a short text").to_be_bytes();
        let mask = (self.random as u32).to_be_bytes();
        out.extend_from_slice(&[0x81, 0x80 | 126, len[0], len[1]]);
        out.extend_from_slice(&mask);
        let start = out.len();
        out.extend_from_slice(post);
        for word in out[start..].chunks_mut(mask.len()) {
            word.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        }
        sent.push_back(now);
    }
}

impl Peer {
    fn flush(&mut self) {
        self.line.write(&mut self.out);
    }

    /// Reads the available bytes; returns the number of answers in them.
    fn read(&mut self, buffers: &mut Buffers) -> usize {
        let mut answers = 0;
        loop {
            let (bytes, has_more) = match self.line.read(buffers) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return answers,
                Err(error) => panic!("a read: {error}"),
            };
            if self.inbox.is_empty() {
                let taken = self.take(bytes, &mut answers);
                self.inbox.extend_from_slice(&bytes[taken..]);
            } else {
                let mut inbox = std::mem::take(&mut self.inbox);
                inbox.extend_from_slice(bytes);
                let taken = self.take(&inbox, &mut answers);
                inbox.drain(..taken);
                self.inbox = inbox;
            }
            if !has_more {
                return answers; // more would be another event
            }
        }
    }

    /// Counts all complete frames; returns their length in bytes.
    fn take(&mut self, bytes: &[u8], answers: &mut usize) -> usize {
        let mut at = 0;
        while let Some((start, end)) = frame(&bytes[at..]) {
            let (head, payload) = (bytes[at], &bytes[at + start..at + end]);
            match head {
                0x81 if payload.starts_with(b"{\"re\":") => {
                    let rest = payload.iter().position(|byte| *byte == b',').map(|comma| &payload[comma..]);
                    self.refused += u64::from(!rest.is_some_and(|rest| rest.starts_with(b",\"ok\":")));
                    *answers += 1;
                }
                0x81 if payload.starts_with(b"{\"event\":\"message.posted\"") => self.received += 1,
                0x89 => {
                    let mut pong = vec![0x8a, 0x80 | payload.len() as u8, 0, 0, 0, 0];
                    pong.extend_from_slice(payload);
                    self.out.extend(pong);
                }
                _ => {}
            }
            at += end;
        }
        at
    }
}
