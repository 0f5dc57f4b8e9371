//! People who post to one group and read it through all nodes, and the judgement of what they saw.
//!
//! A writer repeats a post with the same client id, at the next node, until it is answered. A reader asks for the events after its cursor,
//! each time at another node after a while. Owns the threads. Invariant: a writer has one post under way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use natter::base::id::Id;
use natter::base::json::Value;

use super::stage::Stage;
use crate::support::http::{Person, Response, text_at};
use crate::support::net::Http;
use crate::verdict;

/// A node that does not answer for this long is left for the next one.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Between two tries, so that nodes without a log are not flooded.
const PAUSE: Duration = Duration::from_millis(20);
/// Pages that a reader takes of one node.
const PAGES: usize = 7;
/// How long the story waits for posts before it gives up.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A post that was answered: its number, and the position in the conversation.
type Answered = (u64, u64);

/// How many posts are answered, and the longest time without an answer.
struct Pulse {
    began: Instant,
    answered: AtomicU64,
    last_ms: AtomicU64,
    silence_ms: AtomicU64,
}

impl Pulse {
    fn new() -> Pulse {
        let zero = AtomicU64::default;
        Pulse { began: Instant::now(), answered: zero(), last_ms: zero(), silence_ms: zero() }
    }

    fn answered(&self) {
        let now = self.began.elapsed().as_millis() as u64;
        let silence = now.saturating_sub(self.last_ms.swap(now, Ordering::Relaxed));
        self.silence_ms.fetch_max(silence, Ordering::Relaxed);
        self.answered.fetch_add(1, Ordering::Relaxed);
    }
}

pub struct Crowd {
    stop: Arc<AtomicBool>,
    pulse: Arc<Pulse>,
    writers: Vec<JoinHandle<Vec<Answered>>>,
    readers: Vec<JoinHandle<Seen>>,
    reader: Person,
    conversation: String,
}

/// What a reader saw.
#[derive(Default)]
struct Seen {
    /// The bodies, in their order.
    bodies: Vec<String>,
    last_seq: u64,
    faults: Vec<String>,
    reads: u64,
}

/// What everybody was told.
pub struct Told {
    writers: Vec<Vec<Answered>>,
    readers: Vec<Seen>,
    reader: Person,
    conversation: String,
}

/// One client: a connection to one of the nodes, and which.
struct Client {
    addresses: [SocketAddr; 3],
    at: usize,
    http: Option<Http>,
}

impl Client {
    fn new(addresses: [SocketAddr; 3], at: usize) -> Client {
        Client { addresses, at: at % 3, http: None }
    }

    fn hop(&mut self) {
        (self.at, self.http) = ((self.at + 1) % 3, None);
    }

    /// `None` if this node does not answer; the next one is asked next.
    fn ask(&mut self, who: &Person, method: &str, path: &str, body: Option<&str>) -> Option<Response> {
        if self.http.is_none() {
            self.http = Http::try_connect_within(self.addresses[self.at], ANSWER_MAX).ok();
        }
        let answer = self.http.as_mut().and_then(|http| {
            http.stream.set_read_timeout(Some(ANSWER_MAX)).ok()?;
            http.ask_as(who, method, path, body).ok()
        });
        // Gateway-like answers too: this node cannot write now.
        if answer.as_ref().is_none_or(|answer| answer.status >= 500 || answer.status == 429) {
            self.hop();
            std::thread::sleep(PAUSE);
            return None;
        }
        answer
    }
}

impl Crowd {
    /// They sign up at different nodes, and one makes the group. Two readers.
    pub fn begin(stage: &Stage, writers: usize) -> Crowd {
        let people: Vec<Person> = (0..=writers)
            .map(|index| Http::connect(stage.address(index % 3)).sign_up(&format!("person{index}")))
            .collect();
        let (reader, writing) = people.split_first().expect("people");
        let members: Vec<String> = writing.iter().map(|person| format!("\"{}\"", person.profile)).collect();
        let body = format!(r#"{{"title":"group","members":[{}]}}"#, members.join(","));
        let made = Http::connect(stage.address(0))
            .ask_as(reader, "POST", "/api/v1/conversations", Some(&body))
            .expect("a response");
        assert_eq!(made.status, 201, "{}", made.text());
        let conversation = made.at("data.id");
        let (stop, pulse) = (Arc::new(AtomicBool::new(false)), Arc::new(Pulse::new()));
        let addresses = stage.addresses();
        let write = |(index, person): (usize, &Person)| {
            let (stop, pulse) = (Arc::clone(&stop), Arc::clone(&pulse));
            let (person, conversation) = (person.clone(), conversation.clone());
            std::thread::spawn(move || {
                write(Client::new(addresses, index), index, &person, &conversation, &stop, &pulse)
            })
        };
        let read = |index: usize| {
            let (stop, pulse, reader) = (Arc::clone(&stop), Arc::clone(&pulse), reader.clone());
            std::thread::spawn(move || read(Client::new(addresses, index), &reader, &stop, &pulse))
        };
        Crowd {
            readers: (0..2).map(read).collect(),
            writers: writing.iter().enumerate().map(write).collect(),
            stop,
            pulse,
            reader: reader.clone(),
            conversation,
        }
    }

    pub fn answered(&self) -> u64 {
        self.pulse.answered.load(Ordering::Relaxed)
    }

    /// The longest time between two answers since the last call.
    pub fn take_silence(&self) -> Duration {
        Duration::from_millis(self.pulse.silence_ms.swap(0, Ordering::Relaxed))
    }

    /// Waits until so many posts are answered. Returns how long that took.
    pub fn wait_for(&self, stage: &mut Stage, count: u64) -> Duration {
        let began = Instant::now();
        while self.answered() < count {
            if began.elapsed() > WAIT_MAX {
                stage.report();
                panic!("{} posts are answered, not {count}", self.answered());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        began.elapsed()
    }

    /// They go on for a while.
    pub fn rest(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// The writers stop; the readers read on until they have seen all.
    pub fn end(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        let writers = self.writers.into_iter().map(|thread| thread.join().expect("a writer")).collect();
        // The readers stop at the number of answered posts, which is final now.
        let readers = self.readers.into_iter().map(|thread| thread.join().expect("a reader")).collect();
        Told { writers, readers, reader: self.reader, conversation: self.conversation }
    }
}

fn write(
    mut client: Client,
    index: usize,
    person: &Person,
    conversation: &str,
    stop: &AtomicBool,
    pulse: &Pulse,
) -> Vec<Answered> {
    let mut all = Vec::new();
    for number in 1.. {
        let id = <Id>::from_u128(1 << 100 | (index as u128) << 40 | u128::from(number));
        let body =
            format!(r#"{{"conversation":"{conversation}","client_id":"{id}","body":"{index} {number}"}}"#);
        loop {
            let Some(answer) = client.ask(person, "POST", "/api/v1/messages", Some(&body)) else { continue };
            assert!([200, 201].contains(&answer.status), "{}", answer.text());
            all.push((number, answer.at("data.n").parse().expect("a number")));
            pulse.answered();
            break;
        }
        if stop.load(Ordering::Relaxed) {
            return all;
        }
    }
    all
}

fn read(mut client: Client, reader: &Person, stop: &AtomicBool, pulse: &Pulse) -> Seen {
    let mut seen = Seen::default();
    let mut path = "/api/v1/events?cursor=now".to_owned();
    let mut quiet_since = Instant::now();
    for page in 1.. {
        let Some(answer) = client.ask(reader, "GET", &path, None) else { continue };
        seen.reads += 1;
        if answer.status != 200 {
            seen.faults.push(format!("{} at {path}: {}", answer.status, answer.text()));
            return seen;
        }
        let before = seen.bodies.len();
        take_page(&answer, &mut seen);
        path = format!("/api/v1/events?wait=1&cursor={}", answer.at("cursor"));
        if seen.bodies.len() > before {
            quiet_since = Instant::now();
        }
        // Posts from before the first page are not seen, so the end is a silence after the last post.
        let is_over = stop.load(Ordering::Relaxed) && quiet_since.elapsed() > ANSWER_MAX;
        if is_over && pulse.answered.load(Ordering::Relaxed) > 0 {
            return seen;
        }
        if page % PAGES == 0 {
            client.hop();
        }
    }
    seen
}

fn take_page(answer: &Response, seen: &mut Seen) {
    for event in list_of(answer) {
        let seq: u64 = text_at(&event, "seq").parse().expect("a number");
        if seq <= seen.last_seq {
            seen.faults.push(format!("event {seq} after {}", seen.last_seq));
        }
        seen.last_seq = seq;
        if text_at(&event, "event") == "message.posted" {
            seen.bodies.push(text_at(&event, "data.body"));
        }
    }
}

/// What a page lists, of which each is read by itself: to look for it in the page each time takes minutes for a campaign.
fn list_of(page: &Response) -> Vec<Value<'_>> {
    let Value::Object(members) = page.json() else { panic!("{}", page.text()) };
    let Some(Value::List(list)) = members.get("data") else { panic!("{}", page.text()) };
    list.clone()
}

impl Told {
    /// Compares what was answered with what each node has, and with what the readers saw.
    pub fn judge(&self, stage: &Stage) -> bool {
        let answered: usize = self.writers.iter().map(Vec::len).sum();
        let mut held = true;
        for index in 0..3 {
            let history = self.history(stage, index);
            let (lost, twice, misplaced) = self.compare(&history);
            held &= verdict(
                lost + twice + misplaced == 0,
                format_args!(
                    "node {index}: of {answered} answered posts {lost} lost, {twice} twice, {misplaced} out of order"
                ),
            );
        }
        for (index, seen) in self.readers.iter().enumerate() {
            let once: BTreeSet<&String> = seen.bodies.iter().collect();
            let ordered = in_order(seen.bodies.iter().map(String::as_str));
            held &= verdict(
                seen.faults.is_empty()
                    && once.len() == seen.bodies.len()
                    && ordered
                    && !seen.bodies.is_empty(),
                format_args!(
                    "reader {index}: {} posts in {} pages of all nodes, each once and in order {:?}",
                    seen.bodies.len(),
                    seen.reads,
                    seen.faults
                ),
            );
        }
        held
    }

    /// All bodies of the conversation at a node, by position.
    fn history(&self, stage: &Stage, index: usize) -> BTreeMap<u64, String> {
        let mut http = Http::connect(stage.address(index));
        let mut all = BTreeMap::new();
        let mut path = format!("/api/v1/conversations/{}/messages?limit=100&after=0", self.conversation);
        loop {
            let page = http.ask_as(&self.reader, "GET", &path, None).expect("a response");
            assert_eq!(page.status, 200, "{}", page.text());
            let mut last = None;
            for post in list_of(&page) {
                let n: u64 = text_at(&post, "n").parse().expect("a number");
                all.insert(n, text_at(&post, "body"));
                last = last.max(Some(n));
            }
            let Some(last) = last else { return all };
            path = format!("/api/v1/conversations/{}/messages?limit=100&after={last}", self.conversation);
        }
    }

    /// How many answered posts are missing, there twice, or not where their answer said.
    fn compare(&self, history: &BTreeMap<u64, String>) -> (usize, usize, usize) {
        let mut places: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (n, body) in history {
            places.entry(body).or_default().push(*n);
        }
        let (mut lost, mut twice, mut misplaced) = (0, 0, 0);
        for (index, writer) in self.writers.iter().enumerate() {
            for (number, n) in writer {
                match places.get(format!("{index} {number}").as_str()).map(Vec::as_slice) {
                    None => lost += 1,
                    Some([at]) => misplaced += usize::from(at != n),
                    Some(_) => twice += 1,
                }
            }
            misplaced += usize::from(!writer.is_sorted_by_key(|(_, n)| *n));
        }
        (lost, twice, misplaced)
    }
}

/// Whether the posts of each writer come in their order.
fn in_order<'a>(bodies: impl Iterator<Item = &'a str>) -> bool {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for body in bodies {
        let Some((writer, number)) = body.split_once(' ') else { continue };
        let number: u64 = number.parse().expect("a number");
        if last.insert(writer, number).is_some_and(|before| before >= number) {
            return false;
        }
    }
    true
}
