//! Posts and their deliveries: `relay` in pairs, `fanout` to a group, and `push` to people whose devices are notified.
//!
//! Owns the three arrangements of people. Invariant: each connection has one member, and each asker posts to one conversation.

use std::io;
use std::time::{Duration, Instant};

use super::super::conn::Conn;
use super::super::engine::{Bounds, Engine, Pace};
use super::super::histogram::Histogram;
use super::super::ledger::Ledger;
use super::super::line::Target;
use super::super::place::{Member, Place};
use super::super::post::{Post, Random, client_id};
use super::super::rooms::{self, Room};
use super::super::scenario::{Check, Prepared, Request, Scenario};

/// How messages are prepared: unanswered posts of each client, and the longest time.
const FILL_WINDOW: usize = 16;
const FILL_TIME_MAX: Duration = Duration::from_secs(120);

pub struct Talk {
    target: Target,
    /// By connection, of those that post.
    posts: Vec<Post>,
    ledger: Ledger,
    rooms: Vec<Room>,
    random: Random,
}

/// Members in pairs, each of whom posts to the other.
pub fn relay(place: &mut Place, clients: usize) -> io::Result<Prepared> {
    let members = place.members(clients.next_multiple_of(2))?;
    let (scenario, conns) = pairs(place, &members, members.len(), |index| index ^ 1)?;
    Ok(prepared(scenario, conns))
}

/// A member with a conversation, and its newest position.
pub type Filled = (Member, String, u64);

/// Members in pairs with `messages` messages in their conversations.
pub fn filled(place: &mut Place, clients: usize, messages: u64) -> io::Result<Vec<Filled>> {
    let members = place.members(clients.next_multiple_of(2))?;
    let (scenario, conns) = pairs(place, &members, members.len(), |index| index ^ 1)?;
    let ids: Vec<String> = scenario.rooms.iter().map(|room| room.id.clone()).collect();
    let mut engine = Engine::new(prepared(scenario, conns))?;
    let step = engine.run(Pace::Closed(FILL_WINDOW), Bounds { time: FILL_TIME_MAX, count: messages })?;
    if step.answered() < messages || step.refusals() > 0 {
        return Err(io::Error::other(format!(
            "{} of {messages} messages could be prepared: {:?}",
            step.answered(),
            step.refused
        )));
    }
    let mut http = place.http();
    let filled = members.into_iter().enumerate().map(|(index, member)| {
        let id = ids[index / 2].clone();
        let newest = rooms::newest(&mut http, &id, &member.access)?;
        Ok((member, id, newest))
    });
    filled.collect()
}

/// The first half of these post to the second half, who only receive.
#[cfg(feature = "tls")]
pub fn one_way(place: &Place, members: &[Member]) -> io::Result<Prepared> {
    let half = members.len() / 2;
    let (scenario, conns) = pairs(place, members, half, |index| (index + half) % (2 * half))?;
    Ok(prepared(scenario, conns))
}

/// `count` people at each of two nodes of a cluster: those of the first post to those of the second.
#[allow(dead_code, reason = "the bench of a cluster measures it")]
pub fn across(from: &mut Place, to: &mut Place, count: usize) -> io::Result<Prepared> {
    // The second ones first: the node that is asked for their sockets has made them itself.
    let receivers = to.members(count)?;
    let members = [from.members(count)?, receivers].concat();
    let (scenario, mut conns) = pairs(from, &members, count, |index| (index + count) % (2 * count))?;
    for (conn, member) in conns.iter_mut().zip(&members).skip(count) {
        *conn = Conn::socket(&to.target, &member.access, None)?;
    }
    Ok(prepared(scenario, conns))
}

/// A group of which the first member posts, and all others receive it.
pub fn fanout(place: &mut Place, count: usize) -> io::Result<Prepared> {
    let members = place.members(count.max(2))?;
    let group = place.group(&members)?;
    let mut ledger = Ledger::default();
    let sender = ledger.add_sender(1..members.len());
    let rooms = vec![Room::new(&mut place.http(), &group, &members[0].access, vec![sender])?];
    let (scenario, conns) = seated(place, &members, vec![Post::new(&group, sender)], ledger, rooms)?;
    Ok(prepared(scenario, conns))
}

fn pairs(
    place: &Place,
    members: &[Member],
    askers: usize,
    partner: impl Fn(usize) -> usize,
) -> io::Result<(Talk, Vec<Conn>)> {
    let (mut http, mut random) = (place.http(), Random(1));
    let (mut ledger, mut posts, mut rooms) = (Ledger::default(), Vec::new(), Vec::<Room>::new());
    for (index, member) in members.iter().enumerate().take(askers) {
        let other = partner(index);
        // The first message makes the conversation; a later one of the other member finds it.
        let body = format!(
            r#"{{"to":"{}","client_id":"{}","body":"hello"}}"#,
            members[other].profile,
            client_id(&mut random)
        );
        let made = http.ask("POST", "/api/v1/messages", &member.access, &body)?.good()?;
        let conversation = made.at("/data/conversation");
        posts.push(Post::new(&conversation, ledger.add_sender(std::iter::once(other))));
        match rooms.iter_mut().find(|room| room.id == conversation) {
            // The hello of the second one is counted in the base again.
            Some(room) => {
                let senders = [room.senders.as_slice(), &[index as u32]].concat();
                *room = Room::new(&mut http, &conversation, &member.access, senders)?;
            }
            None => rooms.push(Room::new(&mut http, &conversation, &member.access, vec![index as u32])?),
        }
    }
    seated(place, members, posts, ledger, rooms)
}

fn seated(
    place: &Place,
    members: &[Member],
    posts: Vec<Post>,
    ledger: Ledger,
    rooms: Vec<Room>,
) -> io::Result<(Talk, Vec<Conn>)> {
    let open = |member: &Member| Conn::socket(&place.target, &member.access, None);
    let conns = members.iter().map(open).collect::<io::Result<Vec<Conn>>>()?;
    Ok((Talk { target: place.target.clone(), posts, ledger, rooms, random: Random(2) }, conns))
}

fn prepared(scenario: Talk, conns: Vec<Conn>) -> Prepared {
    let askers = scenario.posts.len();
    Prepared { scenario: Box::new(scenario), conns, askers, is_socket: true }
}

impl Scenario for Talk {
    fn kinds(&self) -> &'static [&'static str] {
        &["post"]
    }

    fn ask(&mut self, conn: usize, number: u64, due: Instant, out: &mut Vec<u8>) -> Request {
        let mark = self.ledger.post(conn as u32, due);
        self.posts[conn].write(number, mark, &mut self.random, out);
        Request { kind: 0, tag: mark as u32 }
    }

    /// The answers to the posts of one connection come in their order.
    fn answered(&mut self, conn: usize, request: &Request, is_good: bool, _: &[u8]) -> bool {
        self.ledger.answer(conn as u32, is_good) as u32 == request.tag
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
