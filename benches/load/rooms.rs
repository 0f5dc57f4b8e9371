//! The conversations that a load posts to, and the judgement of what is stored in them.
//!
//! Leaves deliveries to `ledger`. Invariant: of each conversation the number of stored messages is compared, and of the newest ones of all
//! conversations together [`READ_MAX`] are read back.

use std::io;

use super::http::Http;
use super::ledger::{Faults, Ledger, marks};
use super::line::Target;
use super::scenario::Check;

/// Messages that are read back.
const READ_MAX: usize = 200_000;
/// Messages of a page.
const PAGE: usize = 200;

pub struct Room {
    pub id: String,
    /// The access token of a member.
    pub access: String,
    pub senders: Vec<u32>,
    /// Its newest position before the load.
    base: u64,
}

impl Room {
    pub fn new(http: &mut Http, id: &str, access: &str, senders: Vec<u32>) -> io::Result<Room> {
        let base = newest(http, id, access)?;
        Ok(Room { id: id.to_owned(), access: access.to_owned(), senders, base })
    }
}

/// The newest position of a conversation.
pub fn newest(http: &mut Http, id: &str, access: &str) -> io::Result<u64> {
    let answer = http.ask("GET", &format!("/api/v1/conversations/{id}"), access, "")?.good()?;
    answer.at("/data/last_n").parse().map_err(io::Error::other)
}

/// Every answered post was delivered once and in order, and is stored once.
pub fn verify(target: &Target, rooms: &[Room], ledger: &Ledger) -> Vec<Check> {
    let Faults { twice, out_of_order, astray } = ledger.faults;
    let (lost, answered) =
        (ledger.lost(), rooms.iter().flat_map(|room| &room.senders).map(|it| ledger.answered(*it)).sum());
    let delivered = Check::new(
        lost + twice + out_of_order + astray == 0,
        format!(
            "{answered} answered posts, {} deliveries: {lost} lost, {twice} twice, {out_of_order} out of order, \
             {astray} to others",
            ledger.delivered
        ),
    );
    let stored = stored(target, rooms, ledger, answered)
        .unwrap_or_else(|error| Check::new(false, format!("the stored messages could not be read: {error}")));
    vec![delivered, stored]
}

fn stored(target: &Target, rooms: &[Room], ledger: &Ledger, answered: u64) -> io::Result<Check> {
    let mut http = Http::new(target);
    let (mut stored, mut read, mut faults) = (0, 0, 0);
    let share = (READ_MAX / rooms.len().max(1)).max(PAGE);
    for room in rooms {
        stored += newest(&mut http, &room.id, &room.access)? - room.base;
        let (found, is_complete) = read_back(&mut http, room, share)?;
        read += found.len();
        faults += ledger.judge_stored(&room.senders, &found, is_complete);
    }
    // A post whose answer did not come may be stored or not.
    let is_exact = (answered..=answered + ledger.unknown()).contains(&stored);
    Ok(Check::new(
        is_exact && faults == 0,
        format!(
            "{stored} stored for {answered} answered; the newest {read} read back: {faults} lost, twice or out of order"
        ),
    ))
}

/// The newest messages of the load, newest first, and whether these are all.
fn read_back(http: &mut Http, room: &Room, most: usize) -> io::Result<(Vec<(u32, u64)>, bool)> {
    let (mut found, mut before) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/conversations/{}/messages?limit={PAGE}{before}", room.id);
        let page = http.ask("GET", &path, &room.access, "")?.good()?;
        let first: u64 = match page.at("/data/0/n").parse() {
            Ok(first) => first,
            Err(_) => return Ok((found, true)), // an empty page
        };
        let mut marks: Vec<(u32, u64)> = marks(&page.body).collect();
        marks.reverse();
        found.extend(marks);
        if first <= room.base + 1 {
            return Ok((found, true));
        }
        if found.len() >= most {
            return Ok((found, false));
        }
        before = format!("&before={first}");
    }
}
