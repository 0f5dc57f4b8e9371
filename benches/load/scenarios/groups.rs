//! `groups`: what people do in groups of realistic sizes: they read, type, look at lists and histories, and post.
//!
//! Owns the mix. Invariant: a post of the mix is judged as those of `relay` are.

use std::io;
use std::time::Instant;

use super::super::conn::Conn;
use super::super::histogram::Histogram;
use super::super::ledger::Ledger;
use super::super::line::Target;
use super::super::place::Place;
use super::super::post::{Post, Random};
use super::super::rooms::{self, Room};
use super::super::scenario::{Check, Prepared, Request, Scenario};

/// Sizes of groups, and how many of each there are for a hundred people: most are small, a few have nearly everybody.
const SIZES: [(usize, usize); 5] = [(3, 20), (6, 12), (15, 6), (40, 2), (100, 1)];
/// Kinds of requests, and how many of a hundred are of each.
const MIX: [(&str, usize); 7] = [
    ("post", 15),
    ("read", 25),
    ("typing", 30),
    ("focus", 10),
    ("conversations", 5),
    ("history", 10),
    ("members", 5),
];
const KINDS: [&str; 7] = [MIX[0].0, MIX[1].0, MIX[2].0, MIX[3].0, MIX[4].0, MIX[5].0, MIX[6].0];

struct Seat {
    room: usize,
    sender: u32,
    post: Post,
}

pub struct Groups {
    target: Target,
    /// By connection: the groups of its member.
    seats: Vec<Vec<Seat>>,
    ledger: Ledger,
    rooms: Vec<Room>,
    /// By room: answered posts, for read marks.
    newest: Vec<u64>,
    random: Random,
}

pub fn prepare(place: &mut Place, clients: usize) -> io::Result<Prepared> {
    let members = place.members(clients.max(SIZES[0].0))?;
    let count = members.len();
    let (mut random, mut ledger, mut http) = (Random(3), Ledger::default(), place.http());
    let mut seats: Vec<Vec<Seat>> = (0..count).map(|_| Vec::new()).collect();
    let mut rooms = Vec::new();
    for (size, of_hundred) in SIZES {
        for _ in 0..(of_hundred * count).div_ceil(100) {
            let mut people: Vec<usize> = (0..count).collect();
            for at in 0..size.min(count) {
                let other = at + random.below(count - at);
                people.swap(at, other);
            }
            people.truncate(size.min(count));
            add_group(place, &members, &people, (&mut ledger, &mut seats, &mut rooms), &mut http)?;
        }
    }
    // Everybody is in one group at least.
    for index in 0..count {
        if seats[index].is_empty() {
            let people = [index, (index + 1) % count];
            add_group(place, &members, &people, (&mut ledger, &mut seats, &mut rooms), &mut http)?;
        }
    }
    let open = members.iter().map(|member| Conn::socket(&place.target, &member.access, None));
    let conns = open.collect::<io::Result<Vec<Conn>>>()?;
    let newest = vec![0; rooms.len()];
    let target = place.target.clone();
    let scenario = Box::new(Groups { target, seats, ledger, rooms, newest, random });
    Ok(Prepared { scenario, conns, askers: count, is_socket: true })
}

fn add_group(
    place: &Place,
    members: &[super::super::place::Member],
    people: &[usize],
    (ledger, seats, rooms): (&mut Ledger, &mut [Vec<Seat>], &mut Vec<Room>),
    http: &mut super::super::http::Http,
) -> io::Result<()> {
    let chosen: Vec<_> = people.iter().map(|index| members[*index].clone()).collect();
    let id = place.group(&chosen)?;
    let mut senders = Vec::new();
    for index in people {
        let sender = ledger.add_sender(people.iter().copied().filter(|other| other != index));
        seats[*index].push(Seat { room: rooms.len(), sender, post: Post::new(&id, sender) });
        senders.push(sender);
    }
    rooms.push(Room::new(http, &id, &chosen[0].access, senders)?);
    Ok(())
}

impl Scenario for Groups {
    fn kinds(&self) -> &'static [&'static str] {
        &KINDS
    }

    fn ask(&mut self, conn: usize, number: u64, due: Instant, out: &mut Vec<u8>) -> Request {
        let drawn = self.random.below(100);
        let mut below = 0;
        let kind = MIX.iter().position(|(_, share)| {
            below += share;
            drawn < below
        });
        let kind = kind.unwrap_or(0);
        let at = self.random.below(self.seats[conn].len());
        let seat = &mut self.seats[conn][at];
        let id = &self.rooms[seat.room].id;
        let op = |op: &str, rest: &str| {
            format!("{{\"id\":{number},\"op\":\"{op}\",\"conversation\":\"{id}\"{rest}}}").into_bytes()
        };
        match MIX[kind].0 {
            "post" => {
                let mark = self.ledger.post(seat.sender, due);
                seat.post.write(number, mark, &mut self.random, out);
                return Request { kind, tag: seat.sender };
            }
            "read" => {
                let n = self.newest[seat.room] + 1;
                out.extend(op("conversation.read", &format!(",\"n\":{n}")));
            }
            "typing" => {
                let active = self.random.next().is_multiple_of(2);
                out.extend(op("typing", &format!(",\"active\":{active}")));
            }
            "focus" => out.extend(op("focus", "")),
            "conversations" => {
                out.extend(format!("{{\"id\":{number},\"op\":\"conversation.list\",\"limit\":20}}").bytes());
            }
            "history" => out.extend(op("message.list", ",\"limit\":50")),
            _ => out.extend(op("member.list", ",\"limit\":50")),
        }
        Request { kind, tag: seat.room as u32 }
    }

    fn answered(&mut self, _: usize, request: &Request, is_good: bool, _: &[u8]) -> bool {
        if request.kind == 0 {
            self.ledger.answer(request.tag, is_good);
            let room = self.rooms.iter().position(|room| room.senders.binary_search(&request.tag).is_ok());
            if let Some(room) = room {
                self.newest[room] += u64::from(is_good);
            }
        }
        true
    }

    fn heard(&mut self, conn: usize, event: &[u8], now: Instant, deliveries: &mut Histogram) {
        self.ledger.hear(conn, event, now, deliveries);
    }

    fn is_settled(&self) -> bool {
        self.ledger.is_settled()
    }

    fn verify(&mut self, _: u64) -> Vec<Check> {
        rooms::verify(&self.target, &self.rooms, &self.ledger)
    }
}
