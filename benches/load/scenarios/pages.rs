//! Reads over WebSockets: `history`, `search`, and what idle clients ask for once.
//!
//! Leaves the preparation of messages to `talk`. Invariant: each page is judged: a full page of history, and only matches in a search.

use std::io;
use std::time::{Duration, Instant};

use super::super::conn::Conn;
use super::super::ledger::marks;
use super::super::place::{Member, Place};
use super::super::post::{Random, word};
use super::super::scenario::{Check, Prepared, Request, Scenario};
use super::talk::{self, Filled};

/// Messages of a page.
const PAGE: u64 = 50;
/// The longest time until the search index has everything.
const INDEX_MAX: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    History,
    Search,
    List,
}

pub struct Pages {
    what: What,
    /// By connection: a conversation of its member, and its newest position.
    conversations: Vec<(String, u64)>,
    /// By connection: the word of each search under way, by its number.
    words: Vec<String>,
    random: Random,
    /// Pages, and those that were not as they must be.
    seen: u64,
    wrong: u64,
}

pub fn history(place: &mut Place, clients: usize, messages: u64) -> io::Result<Prepared> {
    let filled = talk::filled(place, clients, messages)?;
    if filled.iter().any(|(_, _, newest)| *newest < PAGE) {
        return Err(io::Error::other(format!("history needs {PAGE} messages of each pair: set --messages")));
    }
    prepared(place, filled, What::History)
}

pub fn search(place: &mut Place, clients: usize, messages: u64) -> io::Result<Prepared> {
    let filled = talk::filled(place, clients, messages)?;
    wait_for_the_index(place, &filled[0].0.access)?;
    prepared(place, filled, What::Search)
}

/// Members who only have a socket.
pub fn idle(place: &Place, members: Vec<Member>) -> io::Result<Prepared> {
    let people = members.into_iter().map(|member| (member, String::new(), 0)).collect();
    prepared(place, people, What::List)
}

fn prepared(place: &Place, people: Vec<Filled>, what: What) -> io::Result<Prepared> {
    let open = people.iter().map(|(member, ..)| Conn::socket(&place.target, &member.access, None));
    let conns = open.collect::<io::Result<Vec<Conn>>>()?;
    let askers = conns.len();
    let conversations = people.into_iter().map(|(_, id, newest)| (id, newest)).collect();
    let words = vec![String::new(); askers];
    let scenario = Box::new(Pages { what, conversations, words, random: Random(5), seen: 0, wrong: 0 });
    Ok(Prepared { scenario, conns, askers, is_socket: true })
}

/// A search says that it may lack messages while the index is behind.
fn wait_for_the_index(place: &Place, access: &str) -> io::Result<()> {
    let (mut http, give_up) = (place.http(), Instant::now() + INDEX_MAX);
    let word = String::from_utf8_lossy(&word(0)).into_owned();
    loop {
        let page = http.ask("GET", &format!("/api/v1/search?q={word}&limit=1"), access, "")?.good()?;
        if page.at("/complete") != "false" {
            return Ok(());
        }
        if Instant::now() > give_up {
            return Err(io::Error::other(format!(
                "the search index is behind for {} s",
                INDEX_MAX.as_secs()
            )));
        }
        std::thread::sleep(Duration::from_millis(50)); // between two looks
    }
}

impl Scenario for Pages {
    fn kinds(&self) -> &'static [&'static str] {
        match self.what {
            What::History => &["page"],
            What::Search => &["search"],
            What::List => &["list"],
        }
    }

    fn ask(&mut self, conn: usize, number: u64, _: Instant, out: &mut Vec<u8>) -> Request {
        let text = match self.what {
            What::History => {
                let (conversation, newest) = &self.conversations[conn];
                let after = self.random.next() % (newest - PAGE + 1);
                format!(
                    "{{\"id\":{number},\"op\":\"message.list\",\"conversation\":\"{conversation}\",\
                     \"after\":{after},\"limit\":{PAGE}}}"
                )
            }
            What::Search => {
                // One word under way for each client, so that each answer can be judged.
                if self.words[conn].is_empty() {
                    self.words[conn] = String::from_utf8_lossy(&word(self.random.next())).into_owned();
                }
                format!("{{\"id\":{number},\"op\":\"message.search\",\"q\":\"{}\"}}", self.words[conn])
            }
            What::List => format!("{{\"id\":{number},\"op\":\"conversation.list\",\"limit\":20}}"),
        };
        out.extend(text.bytes());
        Request { kind: 0, tag: 0 }
    }

    fn answered(&mut self, conn: usize, _: &Request, is_good: bool, body: &[u8]) -> bool {
        let found = marks(body).count();
        let is_right = match self.what {
            // The page that has the hellos may have two marks less.
            What::History => found + 2 >= PAGE as usize,
            What::Search => {
                let word = std::mem::take(&mut self.words[conn]);
                // Empty if several of this client were under way.
                word.is_empty() || memchr::memmem::find_iter(body, word.as_bytes()).count() >= found
            }
            What::List => true,
        };
        self.seen += 1;
        self.wrong += u64::from(is_good && !is_right);
        is_right
    }

    fn verify(&mut self, _: u64) -> Vec<Check> {
        let what = match self.what {
            What::History => "pages of history, each of them full",
            What::Search => "searches, each with matches only",
            What::List => "lists of conversations",
        };
        vec![Check::new(self.wrong == 0, format!("{} {what}: {} wrong", self.seen, self.wrong))]
    }
}
