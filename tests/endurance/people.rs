//! People who post to one group and read it through all addresses, and the judgement of what they saw.
//!
//! A writer repeats a post with the same client id, at the next address, until it is answered, and now and then one that is answered. Owns
//! the threads of the writers and the judgement. Leaves the readers to `readers`. Invariant: a writer has one post under way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use natter::base::id::Id;

use super::readers::{Kind, Seen, list_of, read};
use super::support::http::{Person, Response, text_at};
use super::support::net::{Http, Received, Ws, at};

/// A server that does not answer for this long is left for the next one.
pub const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Between two tries, so that servers without a log are not flooded.
pub const PAUSE: Duration = Duration::from_millis(20);
/// How long posts are waited for before the run gives up.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Of so many answered posts one is repeated: its answer must be that of the first time.
const REPEATED: u64 = 16;

/// A post that was answered: its number, and the position in the conversation.
type Answered = (u64, u64);

/// How many posts are answered, and the longest time without an answer.
pub struct Pulse {
    began: Instant,
    pub answered: AtomicU64,
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

/// How much each of them does.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    pub writers: usize,
    /// Between two posts of a writer.
    pub rest: Duration,
}

pub struct Crowd {
    stop: Arc<AtomicBool>,
    pulse: Arc<Pulse>,
    writers: Vec<JoinHandle<Written>>,
    readers: Vec<JoinHandle<Seen>>,
    reader: Person,
    conversation: String,
}

/// What a writer was told.
#[derive(Default)]
struct Written {
    answered: Vec<Answered>,
    /// Repeated posts whose second answer was another one.
    differing: usize,
    /// What it was told and must not be. It stopped then.
    fault: Option<String>,
}

/// What everybody was told.
pub struct Told {
    writers: Vec<Written>,
    readers: Vec<Seen>,
    reader: Person,
    conversation: String,
}

/// The counts of a judgement; each but the first must be zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub answered: usize,
    pub lost: usize,
    pub twice: usize,
    pub out_of_order: usize,
    /// Answered posts that a reader did not get.
    pub gaps: usize,
    /// Other things that readers were told and must not be.
    pub faults: usize,
}

impl Tally {
    pub fn is_clean(&self) -> bool {
        self.answered > 0 && Tally { answered: 0, ..*self } == Tally::default()
    }
}

/// One client: a connection to one of the servers, and which.
pub struct Client {
    pub addresses: Vec<SocketAddr>,
    pub at: usize,
    http: Option<Http>,
}

impl Client {
    pub fn new(addresses: &[SocketAddr], at: usize) -> Client {
        Client { addresses: addresses.to_vec(), at: at % addresses.len(), http: None }
    }

    pub fn address(&self) -> SocketAddr {
        self.addresses[self.at]
    }

    pub fn hop(&mut self) {
        (self.at, self.http) = ((self.at + 1) % self.addresses.len(), None);
    }

    /// `None` if this server does not answer; the next one is asked next.
    pub fn ask(&mut self, who: &Person, method: &str, path: &str, body: Option<&str>) -> Option<Response> {
        if self.http.is_none() {
            self.http = Http::try_connect_within(self.address(), ANSWER_MAX).ok();
        }
        let answer = self.http.as_mut().and_then(|http| {
            http.stream.set_read_timeout(Some(ANSWER_MAX)).ok()?;
            http.ask_as(who, method, path, body).ok()
        });
        // Gateway-like answers too: this server cannot write now.
        if answer.as_ref().is_none_or(|answer| answer.status >= 500 || answer.status == 429) {
            self.hop();
            std::thread::sleep(PAUSE);
            return None;
        }
        answer
    }
}

impl Crowd {
    /// They sign up at different servers, and one makes the group. Two readers of each kind.
    pub fn begin(addresses: &[SocketAddr], habits: Habits) -> Crowd {
        let people: Vec<Person> = (0..=habits.writers)
            .map(|index| Http::connect(addresses[index % addresses.len()]).sign_up(&format!("person{index}")))
            .collect();
        let (reader, writing) = people.split_first().expect("people");
        let members: Vec<String> = writing.iter().map(|person| format!("\"{}\"", person.profile)).collect();
        let body = format!(r#"{{"title":"group","members":[{}]}}"#, members.join(","));
        let mut http = Http::connect(addresses[0]);
        let made = http.ask_as(reader, "POST", "/api/v1/conversations", Some(&body)).expect("a response");
        assert_eq!(made.status, 201, "{}", made.text());
        let conversation = made.at("data.id");
        // All readers see all posts, because they begin before the first one.
        let now = http.ask_as(reader, "GET", "/api/v1/events?cursor=now", None).expect("a response");
        let cursor = now.at("cursor");
        let (stop, pulse) = (Arc::new(AtomicBool::new(false)), Arc::new(Pulse::new()));
        let read = |index: usize| {
            let (stop, pulse, reader) = (Arc::clone(&stop), Arc::clone(&pulse), reader.clone());
            let (client, cursor) = (Client::new(addresses, index), cursor.clone());
            let kind = [Kind::Poll, Kind::Events, Kind::Socket][index % 3];
            std::thread::spawn(move || read(kind, client, &reader, &cursor, &stop, &pulse))
        };
        let write = |(index, person): (usize, &Person)| {
            let (stop, pulse) = (Arc::clone(&stop), Arc::clone(&pulse));
            let (person, conversation) = (person.clone(), conversation.clone());
            let writer = Writer { client: Client::new(addresses, index), index, person, conversation };
            std::thread::spawn(move || writer.write(habits.rest, &stop, &pulse))
        };
        Crowd {
            readers: (0..6).map(read).collect(),
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

    /// Waits until so many posts are answered. Returns how long that took; `None` if it never came.
    pub fn wait_for(&self, count: u64) -> Option<Duration> {
        let began = Instant::now();
        while self.answered() < count {
            if began.elapsed() > WAIT_MAX || self.writers.iter().all(JoinHandle::is_finished) {
                println!("{} posts are answered, not {count}", self.answered());
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Some(began.elapsed())
    }

    /// They go on for a while.
    pub fn rest(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// The writers stop; the readers read on until nothing comes any more.
    pub fn end(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        let writers = self.writers.into_iter().map(|thread| thread.join().expect("a writer")).collect();
        let readers = self.readers.into_iter().map(|thread| thread.join().expect("a reader")).collect();
        Told { writers, readers, reader: self.reader, conversation: self.conversation }
    }
}

struct Writer {
    client: Client,
    index: usize,
    person: Person,
    conversation: String,
}

impl Writer {
    /// The even ones post over HTTP, the others over a WebSocket.
    fn write(mut self, rest: Duration, stop: &AtomicBool, pulse: &Pulse) -> Written {
        let (mut written, mut socket) = (Written::default(), None);
        for number in 1.. {
            for is_repeated in [false, true] {
                if is_repeated && number % REPEATED != 0 {
                    continue;
                }
                let n = loop {
                    let posted = match self.index % 2 {
                        0 => self.post(number),
                        _ => self.say(number, &mut socket),
                    };
                    match posted {
                        Ok(Some(n)) => break n,
                        // Whether an unanswered post is stored is not known, and not judged.
                        Ok(None) if stop.load(Ordering::Relaxed) => return written,
                        Ok(None) => {}
                        Err(fault) => return Written { fault: Some(fault), ..written },
                    }
                };
                if is_repeated {
                    written.differing += usize::from(written.answered.last() != Some(&(number, n)));
                } else {
                    written.answered.push((number, n));
                    pulse.answered();
                }
            }
            if stop.load(Ordering::Relaxed) {
                return written;
            }
            if !rest.is_zero() {
                std::thread::sleep(rest);
            }
        }
        written
    }

    fn body(&self, number: u64) -> String {
        let (index, conversation) = (self.index, &self.conversation);
        let id = <Id>::from_u128(1 << 100 | (index as u128) << 40 | u128::from(number));
        format!(
            r#"{{"id":{number},"op":"message.post","conversation":"{conversation}","client_id":"{id}","body":"{index} {number}"}}"#
        )
    }

    /// The position of the message, if it is answered; an error if it is refused for good.
    fn post(&mut self, number: u64) -> Result<Option<u64>, String> {
        let body = self.body(number);
        let Some(answer) = self.client.ask(&self.person, "POST", "/api/v1/messages", Some(&body)) else {
            return Ok(None);
        };
        match answer.status {
            200 | 201 => Ok(Some(answer.at("data.n").parse().expect("a number"))),
            status => Err(format!("{status}: {}", answer.text())),
        }
    }

    /// The same over a WebSocket, which is opened again when it ends.
    fn say(&mut self, number: u64, socket: &mut Option<Ws>) -> Result<Option<u64>, String> {
        let said = match self.try_say(number, socket) {
            Some(text) if text.contains("\"error\":") && at(&text, "error.retry") != "true" => {
                return Err(text);
            }
            Some(text) => at(&text, "ok.n").parse().ok(),
            None => None,
        };
        if said.is_none() {
            *socket = None;
            self.client.hop();
            std::thread::sleep(PAUSE);
        }
        Ok(said)
    }

    /// The answer, if there is one.
    fn try_say(&mut self, number: u64, socket: &mut Option<Ws>) -> Option<String> {
        let ws = match socket {
            Some(ws) => ws,
            none => {
                let address = self.client.address();
                let opened = Ws::open_within(address, "/api/v1/ws", &self.person.access, ANSWER_MAX);
                none.insert(opened.ok()?.ok()?)
            }
        };
        ws.send(&self.body(number)).ok()?;
        loop {
            let Ok(Received::Text(text)) = ws.receive() else { return None };
            // Not an event, and not the answer to a try before.
            if text.starts_with("{\"re\":") && at(&text, "re") == number.to_string() {
                return Some(text);
            }
        }
    }
}

impl Told {
    /// Compares what was answered with what each server has, and with what the readers saw.
    pub fn judge(&self, addresses: &[SocketAddr]) -> Tally {
        let answered: usize = self.writers.iter().map(|writer| writer.answered.len()).sum();
        let mut tally = Tally { answered, ..Tally::default() };
        // A second answer that differs is a second message.
        tally.twice += self.writers.iter().map(|writer| writer.differing).sum::<usize>();
        for fault in self.writers.iter().filter_map(|writer| writer.fault.as_ref()) {
            tally.faults += 1;
            println!("  a writer was told {fault}");
        }
        for (index, address) in addresses.iter().enumerate() {
            let before = tally;
            self.compare(&self.history(*address), &mut tally);
            if before != tally {
                println!("  server {index} has not what was answered: {tally:?}");
            }
        }
        for (index, seen) in self.readers.iter().enumerate() {
            let before = tally;
            self.judge_reader(seen, &mut tally);
            if before != tally {
                println!("  reader {index} ({:?}): {tally:?} {:?}", seen.kind, seen.faults);
            }
        }
        tally
    }

    fn judge_reader(&self, seen: &Seen, tally: &mut Tally) {
        let once: BTreeSet<&str> = seen.bodies.iter().map(String::as_str).collect();
        tally.twice += seen.bodies.len() - once.len();
        tally.out_of_order += usize::from(!in_order(seen.bodies.iter().map(String::as_str)));
        tally.faults += seen.faults.len();
        for (index, writer) in self.writers.iter().enumerate() {
            let gets = |number: u64| once.contains(format!("{index} {number}").as_str());
            tally.gaps += writer.answered.iter().filter(|(number, _)| !gets(*number)).count();
        }
    }

    /// How the readers came, and how often they returned.
    pub fn returns(&self) -> BTreeMap<Kind, u64> {
        let mut returns = BTreeMap::new();
        for seen in &self.readers {
            *returns.entry(seen.kind).or_default() += seen.returns;
        }
        returns
    }

    /// All bodies of the conversation at a server, by position.
    fn history(&self, address: SocketAddr) -> BTreeMap<u64, String> {
        let mut http = Http::connect(address);
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

    /// Counts the answered posts that are missing, there twice, or not where their answer said.
    fn compare(&self, history: &BTreeMap<u64, String>, tally: &mut Tally) {
        let mut places: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (n, body) in history {
            places.entry(body).or_default().push(*n);
        }
        for (index, writer) in self.writers.iter().enumerate() {
            for (number, n) in &writer.answered {
                match places.get(format!("{index} {number}").as_str()).map(Vec::as_slice) {
                    None => tally.lost += 1,
                    Some([at]) => tally.out_of_order += usize::from(at != n),
                    Some(_) => tally.twice += 1,
                }
            }
            tally.out_of_order += usize::from(!writer.answered.is_sorted_by_key(|(_, n)| *n));
        }
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
