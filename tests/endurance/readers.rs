//! Readers that keep a history of their own: by long poll, server-sent events and WebSocket, each from its cursor on.
//!
//! A reader leaves a server after a while and resumes at the next one. Owns the three ways to read. Leaves the judgement to `people`.
//! Invariant: a reader remembers a cursor only together with what came before it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use natter::base::json::{self, Value};

use super::people::{ANSWER_MAX, Client, PAUSE, Pulse};
use super::support::http::{Person, Response, text_at};
use super::support::net::{Received, Ws};

/// Pages, and events of a stream, that a reader takes of one server before it resumes at the next one.
const PAGES: u64 = 7;
const EVENTS: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Poll,
    Events,
    Socket,
}

/// What a reader saw.
pub struct Seen {
    pub kind: Kind,
    /// The bodies, in their order.
    pub bodies: Vec<String>,
    pub faults: Vec<String>,
    /// How often it resumed.
    pub returns: u64,
    epoch: String,
    last_seq: u64,
    quiet_since: Instant,
}

impl Seen {
    fn cursor(&self) -> String {
        format!("{}:{}", self.epoch, self.last_seq)
    }

    fn take(&mut self, event: &Value<'_>) {
        let name = text_at(event, "event");
        if ["hello", "caught_up", "heartbeat", "typing", "presence", "expiring"].contains(&name.as_str()) {
            return;
        }
        if name == "reset" {
            self.faults.push(format!("a reset at {}", self.cursor()));
            return;
        }
        let seq: u64 = text_at(event, "seq").parse().expect("a number");
        if seq <= self.last_seq {
            self.faults.push(format!("event {seq} after {}", self.last_seq));
        }
        self.last_seq = seq;
        if name == "message.posted" {
            self.quiet_since = Instant::now();
            self.bodies.push(text_at(event, "data.body"));
        }
    }

    /// Nothing has come for a while since the writers stopped.
    fn is_over(&self, stop: &AtomicBool, pulse: &Pulse) -> bool {
        stop.load(Ordering::Relaxed)
            && self.quiet_since.elapsed() > 2 * ANSWER_MAX
            && pulse.answered.load(Ordering::Relaxed) > 0
    }
}

pub fn read(
    kind: Kind,
    mut client: Client,
    reader: &Person,
    cursor: &str,
    stop: &AtomicBool,
    pulse: &Pulse,
) -> Seen {
    let (epoch, seq) = cursor.split_once(':').expect("a cursor");
    let mut seen = Seen {
        kind,
        bodies: Vec::new(),
        faults: Vec::new(),
        returns: 0,
        epoch: epoch.to_owned(),
        last_seq: seq.parse().expect("a number"),
        quiet_since: Instant::now(),
    };
    // A fault that repeats itself tells nothing more.
    while !seen.is_over(stop, pulse) && seen.faults.is_empty() {
        seen.returns += 1;
        match kind {
            Kind::Poll => pages(&mut client, reader, &mut seen),
            Kind::Events => drop(events(&client, reader, &mut seen)),
            Kind::Socket => drop(socket(&client, reader, &mut seen, stop)),
        }
        client.hop();
        std::thread::sleep(PAUSE);
    }
    seen
}

fn pages(client: &mut Client, reader: &Person, seen: &mut Seen) {
    for _ in 0..PAGES {
        let path = format!("/api/v1/events?wait=1&cursor={}", seen.cursor());
        let Some(page) = client.ask(reader, "GET", &path, None) else { return };
        if page.status != 200 {
            seen.faults.push(format!("{} at {path}: {}", page.status, page.text()));
            return;
        }
        list_of(&page).iter().for_each(|event| seen.take(event));
        let cursor = page.at("cursor");
        let (epoch, seq) = cursor.split_once(':').expect("a cursor");
        (seen.epoch, seen.last_seq) = (epoch.to_owned(), seq.parse().expect("a number"));
    }
}

/// A stream of server-sent events, by HTTP/1.0 so that it has no chunks.
fn events(client: &Client, reader: &Person, seen: &mut Seen) -> std::io::Result<()> {
    let stream = TcpStream::connect_timeout(&client.address(), ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let head = format!(
        "GET /api/v1/events HTTP/1.0\r\nHost: test\r\nAccept: text/event-stream\r\nLast-Event-ID: {}\r\n\
         Authorization: Bearer {}\r\n\r\n",
        seen.cursor(),
        reader.access
    );
    (&stream).write_all(head.as_bytes())?;
    let mut lines = BufReader::new(stream).lines();
    let status = lines.next().transpose()?.unwrap_or_default();
    if !status.contains(" 200 ") {
        return Ok(()); // it can't serve now
    }
    let (mut count, mut event) = (0, None);
    // An event counts when its empty line has come.
    for line in lines {
        let line = line?;
        if let Some(data) = line.strip_prefix("data: ") {
            event = Some(data.to_owned());
        } else if line.is_empty()
            && let Some(data) = event.take()
        {
            seen.take(&json::parse(data.as_bytes()).expect("JSON"));
            count += 1;
            if count >= EVENTS {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn socket(client: &Client, reader: &Person, seen: &mut Seen, stop: &AtomicBool) -> std::io::Result<()> {
    let target = format!("/api/v1/ws?cursor={}", seen.cursor());
    let opened = Ws::open_within(client.address(), &target, &reader.access, ANSWER_MAX)?;
    let Ok(mut ws) = opened else { return Ok(()) };
    for _ in 0..EVENTS {
        let Received::Text(text) = ws.receive()? else { return Ok(()) };
        seen.take(&json::parse(text.as_bytes()).expect("JSON"));
        if stop.load(Ordering::Relaxed) && seen.quiet_since.elapsed() > 2 * ANSWER_MAX {
            return Ok(());
        }
    }
    Ok(())
}

/// What a page lists, of which each is read by itself: to look for it in the page each time takes minutes for a campaign.
pub fn list_of(page: &Response) -> Vec<Value<'_>> {
    let Value::Object(members) = page.json() else { panic!("{}", page.text()) };
    let Some(Value::List(list)) = members.get("data") else { panic!("{}", page.text()) };
    list.clone()
}
