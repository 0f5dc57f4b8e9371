//! `storm`: all clients come back at one moment, each from its cursor, after they missed messages.
//!
//! A server of our own is killed and started again in between; of a named server only the connections end. Owns the reconnecting, which the
//! engine does not know. Invariant: a client is back when it has `caught_up` and every message that it missed, once and in order.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::super::conn::{Conn, Input};
use super::super::engine::{Kind, Pace, Step};
use super::super::histogram::Histogram;
use super::super::ledger::Ledger;
use super::super::line::Buffers;
use super::super::place::{Member, Place};
use super::super::post::{Random, client_id};
use super::super::rooms::{self, Room};
use super::super::scenario::Check;

/// Members of one group, so that a named server with its usual limits takes it.
const GROUP: usize = 500;
/// The longest time until all are back.
const RETURN_MAX: Duration = Duration::from_secs(120);
/// A client that was refused tries again after this.
const RETRY: Duration = Duration::from_millis(20);
const EVENTS: usize = 1_024;

struct Client {
    member: Member,
    epoch: String,
    seq: u64,
    conn: Option<Conn>,
    /// When it tries again.
    again: Option<Instant>,
    is_back: bool,
}

/// What came of it.
pub struct Outcome {
    pub step: Step,
    /// How long the server was away.
    pub away: Option<Duration>,
    pub retries: u64,
    pub checks: Vec<Check>,
}

pub fn run(place: &mut Place, count: usize, missed: u64) -> io::Result<Outcome> {
    let members = place.members(count.max(2))?;
    let (mut ledger, mut http, mut random) = (Ledger::default(), place.http(), Random(11));
    let mut rooms = Vec::new();
    for (number, people) in members.chunks(GROUP).enumerate() {
        let first = number * GROUP;
        // In a replay a sender has its own posts, too.
        let sender = ledger.add_sender(first..first + people.len());
        let id = place.group(people)?;
        rooms.push(Room::new(&mut http, &id, &people[0].access, vec![sender])?);
    }
    let new = |member: Member| Client {
        member,
        epoch: String::new(),
        seq: 0,
        conn: None,
        again: None,
        is_back: false,
    };
    let mut clients: Vec<Client> = members.into_iter().map(new).collect();
    let (_, _) = come(place, &mut clients, &mut ledger)?;
    clients.iter_mut().for_each(|client| (client.conn, client.is_back) = (None, false));
    for room in &rooms {
        for _ in 0..missed {
            let mark = ledger.post(room.senders[0], Instant::now());
            let body = format!(
                r##"{{"conversation":"{}","client_id":"{}","body":"#{:05} {mark:010} missed"}}"##,
                room.id,
                client_id(&mut random),
                room.senders[0],
            );
            http.ask("POST", "/api/v1/messages", &room.access, &body)?.good()?;
            ledger.answer(room.senders[0], true);
        }
    }
    let away = place.crash();
    let cpu = place.cpu_time();
    let (latency, retries) = come(place, &mut clients, &mut ledger)?;
    let step = Step {
        pace: Pace::Closed(1),
        time: Duration::from_secs_f64(latency.max_ms() / 1e3),
        sent: clients.len() as u64,
        in_time: latency.count(),
        kinds: vec![Kind { name: "return", service: latency.clone(), latency }],
        deliveries: Histogram::default(),
        late: Histogram::default(),
        refused: BTreeMap::new(),
        wrong: 0,
        unanswered: clients.iter().filter(|client| !client.is_back).count() as u64,
        is_overrun: false,
        server_cpu: place.cpu_time().zip(cpu).map(|(after, before)| after.saturating_sub(before)),
        client_cpu: Duration::ZERO,
    };
    let checks = rooms::verify(&place.target, &rooms, &ledger);
    Ok(Outcome { step, away, retries, checks })
}

/// All clients connect at one moment. Returns how long each took to catch up, and how many tries failed.
fn come(place: &Place, clients: &mut [Client], ledger: &mut Ledger) -> io::Result<(Histogram, u64)> {
    let mut poll = Poll::new()?;
    let (mut buffers, mut events) = (Buffers::new(), Events::with_capacity(EVENTS));
    let (mut latency, mut retries, began) = (Histogram::default(), 0, Instant::now());
    let mut waiting = clients.len();
    clients.iter_mut().for_each(|client| client.again = Some(began));
    while waiting > 0 && began.elapsed() < RETURN_MAX {
        for (index, client) in clients.iter_mut().enumerate() {
            if client.again.is_some_and(|at| Instant::now() >= at) {
                client.connect(place, &poll, index)?;
            }
        }
        match poll.poll(&mut events, Some(RETRY)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            let index = event.token().0;
            let client = &mut clients[index];
            match client.read(&mut buffers, index, ledger) {
                Ok(false) => {}
                Ok(true) => {
                    waiting -= 1;
                    latency.record(began.elapsed());
                }
                Err(_) if client.is_back => {
                    return Err(io::Error::other("a socket that had caught up ended"));
                }
                Err(_) => {
                    retries += 1;
                    (client.conn, client.again) = (None, Some(Instant::now() + RETRY));
                }
            }
        }
    }
    Ok((latency, retries))
}

impl Client {
    fn connect(&mut self, place: &Place, poll: &Poll, index: usize) -> io::Result<()> {
        let cursor = (!self.epoch.is_empty()).then(|| format!("{}:{}", self.epoch, self.seq));
        let mut conn = Conn::socket(&place.target, &self.member.access, cursor.as_deref())?;
        conn.register(poll.registry(), Token(index))?;
        (self.conn, self.again) = (Some(conn), None);
        Ok(())
    }

    /// Returns whether it is back now.
    fn read(&mut self, buffers: &mut Buffers, index: usize, ledger: &mut Ledger) -> io::Result<bool> {
        let Some(conn) = &mut self.conn else { return Ok(false) };
        let (epoch, seq, mut is_back, mut reset) = (&mut self.epoch, &mut self.seq, false, false);
        conn.read(buffers, &mut |input| {
            let Input::Event(event) = input else { return };
            if event.starts_with(b"{\"event\":\"hello\"") {
                *epoch = text(event, b"\"epoch\":\"").to_owned();
                return;
            }
            ledger.receive(index, event);
            // Ephemeral events have none.
            if let Ok(new) = digits(text(event, b"\"seq\":")).parse::<u64>() {
                *seq = new.max(*seq);
            }
            is_back |= event.starts_with(b"{\"event\":\"caught_up\"");
            reset |= event.starts_with(b"{\"event\":\"reset\"");
        })?;
        conn.flush()?;
        assert!(!reset, "the server knows the cursor no more");
        let is_new = is_back && !self.is_back;
        self.is_back |= is_back;
        Ok(is_new)
    }
}

/// What follows `name`, up to a quote.
fn text<'a>(event: &'a [u8], name: &[u8]) -> &'a str {
    let rest = memchr::memmem::find(event, name).map_or(&[][..], |at| &event[at + name.len()..]);
    let end = rest.iter().position(|byte| *byte == b'"').unwrap_or(rest.len());
    std::str::from_utf8(&rest[..end]).unwrap_or_default()
}

fn digits(text: &str) -> &str {
    &text[..text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len())]
}
