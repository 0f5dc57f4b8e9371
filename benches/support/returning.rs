//! The clients of a node that dies: they come back at the other nodes, each from its cursor.
//!
//! Threads of blocking clients, without the pauses of real ones, so that the bench measures the nodes. Invariant: a client is back when it
//! has `caught_up` and each post, also those of the time when its node was dead.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use natter::base::id::Id;

use super::load::conn::frame;
use super::support::http::Person;
use super::support::net::{Http, PATIENCE, at};

const THREADS: usize = 8;
/// Posts that are answered while the clients come back.
const POSTS: usize = 10;
const PIECE: usize = 16_384;

pub struct Returning {
    threads: Vec<JoinHandle<Instant>>,
    is_dead: Arc<AtomicBool>,
    poster: Person,
    alive: SocketAddr,
    conversation: String,
}

struct Client {
    stream: TcpStream,
    person: Person,
    cursor: String,
    /// Read, and not yet a complete frame.
    inbox: Vec<u8>,
}

impl Returning {
    /// `count` members of a group, each with a socket at the first node. They will come back at the other two.
    pub fn enter([first, others @ ..]: [SocketAddr; 3], count: usize) -> Returning {
        let mut http = Http::connect(first);
        let persons: Vec<Person> = (0..count).map(|index| http.sign_up(&format!("guest{index}"))).collect();
        let members: Vec<String> =
            persons[1..].iter().map(|person| format!("\"{}\"", person.profile)).collect();
        let body = format!(r#"{{"title":"guests","members":[{}]}}"#, members.join(","));
        let made =
            http.ask_as(&persons[0], "POST", "/api/v1/conversations", Some(&body)).expect("a response");
        assert_eq!(made.status, 201, "{}", made.text());
        let is_dead = Arc::new(AtomicBool::new(false));
        let threads = persons.chunks(count.div_ceil(THREADS)).map(|persons| {
            let clients: Vec<Client> = persons.iter().map(|person| Client::open(first, person)).collect();
            let is_dead = Arc::clone(&is_dead);
            std::thread::spawn(move || come_back(clients, others, &is_dead))
        });
        Returning {
            threads: threads.collect(),
            is_dead,
            poster: persons[0].clone(),
            alive: others[0],
            conversation: made.at("data.id"),
        }
    }

    /// `kill` ends the first node. Returns how long after that the last client is back.
    pub fn measure(self, kill: impl FnOnce()) -> Duration {
        let began = Instant::now();
        kill();
        self.is_dead.store(true, Ordering::Release);
        let mut http = Http::connect(self.alive);
        for number in 0..POSTS {
            let id = <Id>::from_u128(1 << 100 | number as u128);
            let body =
                format!(r#"{{"conversation":"{}","client_id":"{id}","body":"post"}}"#, self.conversation);
            let answer =
                http.ask_as(&self.poster, "POST", "/api/v1/messages", Some(&body)).expect("a response");
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
        let ends = self.threads.into_iter().map(|thread| thread.join().expect("a thread of clients"));
        ends.max().expect("threads").duration_since(began)
    }
}

/// Waits for the death of the node, then brings all back. Returns when that is done.
fn come_back(mut clients: Vec<Client>, others: [SocketAddr; 2], is_dead: &AtomicBool) -> Instant {
    while !is_dead.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(1)); // between two looks
    }
    let mut missing = vec![POSTS; clients.len()];
    for (index, client) in clients.iter_mut().enumerate() {
        // What its node had sent before is read first, up to the end.
        missing[index] -= client.read_to_end();
        let back =
            Client::open_after(others[index % 2], &client.person, Some(&client.cursor), &mut missing[index]);
        *client = back;
    }
    for (client, missing) in clients.iter_mut().zip(&mut missing) {
        while *missing > 0 {
            let mut piece = [0; PIECE];
            let count = client.stream.read(&mut piece).expect("a post");
            assert!(count > 0, "the socket of a client that is back ended");
            client.inbox.extend_from_slice(&piece[..count]);
            *missing -= client.take_posts();
        }
    }
    Instant::now()
}

impl Client {
    fn open(address: SocketAddr, person: &Person) -> Client {
        Client::open_after(address, person, None, &mut 0)
    }

    /// Counts the posts that come before `caught_up` as not missing any more.
    fn open_after(address: SocketAddr, person: &Person, cursor: Option<&str>, missing: &mut usize) -> Client {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let (inbox, texts) = enter(&mut stream, &person.access, cursor);
        let posts = texts.iter().filter(|text| is_post(text.as_bytes())).count();
        if cursor.is_some() {
            *missing = missing.checked_sub(posts).expect("no post comes twice");
        }
        let (hello, last) = (texts.first().expect("hello"), texts.last().expect("caught_up"));
        let cursor = format!("{}:{}", at(hello, "epoch"), at(last, "seq"));
        let mut client = Client { stream, person: person.clone(), cursor, inbox };
        *missing -= client.take_posts();
        client
    }

    /// Returns how many posts its node had sent; the cursor is behind them.
    fn read_to_end(&mut self) -> usize {
        let mut piece = [0; PIECE];
        // A reset is an end, too.
        while let Ok(count @ 1..) = self.stream.read(&mut piece) {
            self.inbox.extend_from_slice(&piece[..count]);
        }
        self.take_posts()
    }

    /// Returns how many posts have come completely.
    fn take_posts(&mut self) -> usize {
        let mut posts = 0;
        while let Some((start, end)) = frame(&self.inbox) {
            let text = String::from_utf8_lossy(&self.inbox[start..end]).into_owned();
            self.inbox.drain(..end);
            // Ephemeral events have none.
            if let Ok(seq) = at(&text, "seq").parse::<u64>() {
                let (epoch, _) = self.cursor.split_once(':').expect("a cursor");
                self.cursor = format!("{epoch}:{seq}");
            }
            posts += usize::from(is_post(text.as_bytes()));
        }
        posts
    }
}

fn is_post(text: &[u8]) -> bool {
    text.starts_with(b"{\"event\":\"message.posted\"")
}

/// The upgrade, and all frames up to `caught_up`. Returns what came after that, and these frames' texts.
fn enter(stream: &mut (impl Read + Write), access: &str, cursor: Option<&str>) -> (Vec<u8>, Vec<String>) {
    let query = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
    let request = format!(
        "GET /api/v1/ws{query} HTTP/1.1\r\nHost: natter\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {access}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let (mut bytes, mut piece, mut texts) = (Vec::new(), [0; 4_096], Vec::new());
    let mut more = |bytes: &mut Vec<u8>| {
        let count = stream.read(&mut piece).expect("an answer");
        assert!(count > 0, "{}", String::from_utf8_lossy(bytes));
        bytes.extend_from_slice(&piece[..count]);
    };
    let head = loop {
        match bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            Some(at) => break at + 4,
            None => more(&mut bytes),
        }
    };
    assert!(bytes.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&bytes));
    bytes.drain(..head);
    loop {
        let Some((start, end)) = frame(&bytes) else {
            more(&mut bytes);
            continue;
        };
        let text = String::from_utf8_lossy(&bytes[start..end]).into_owned();
        bytes.drain(..end);
        let is_last = text.starts_with("{\"event\":\"caught_up\"");
        texts.push(text);
        if is_last {
            return (bytes, texts);
        }
    }
}
