//! The server of each attack, and its data.
//!
//! A database with people, groups and 150,000 messages is made once, and each attack gets a new server on a copy of it. Owns
//! the seeding and the processes; the attacks are in `attacks`.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use natter::base::id::Id;

use super::support::TestDir;
use super::support::http::Person;
use super::support::net::Http;
use super::support::process::{Launch, Natter};
use super::wire::{Client, request};

/// The text of each message: each letter of [`LETTERS`] begins one of its words.
const TEXT: &str =
    "a hundred bytes of text more or less as people write them when it is something to say today";
/// Sixteen words of one letter; every message has a match for each.
pub const LETTERS: &str = "a+h+b+o+t+m+l+p+w+i+s+a+h+b+o+t";
const MESSAGES: usize = 150_000;
const WRITERS: usize = 32;
/// The number of groups of the account with the counter streams.
const GROUPS: usize = 1_200;
/// Members of one large group, without its creator.
pub const CROWD: usize = 999;
/// How long the server may take to complete its background work.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// The people in the database, with tokens that do not expire during the bench.
pub struct Cast {
    pub bystander: Person,
    /// The receiver of the bystander's messages.
    pub friend: Person,
    /// The sender of all messages, who can find all of them.
    pub writer: Person,
    /// Member of many groups.
    pub grouped: Person,
    /// The creator of these groups, who posts in them.
    pub maker: Person,
    pub crowd: Vec<Person>,
    pub groups: Vec<String>,
    /// Of bystander and friend.
    pub conversation: String,
}

pub struct Stage {
    template: TestDir,
    pub cast: Cast,
    pub ipv6: bool,
    /// Of clients that resume no session, as a new one.
    #[cfg(feature = "tls")]
    tls: std::sync::Arc<rustls::ClientConfig>,
}

/// One server on a copy of the template. It ends with its value.
pub struct Running {
    natter: Natter,
    _dir: TestDir,
}

/// What attackers and bystanders know about the server.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    stage: &'a Stage,
    port: u16,
    is_secure: bool,
}

impl Stage {
    pub fn build() -> Stage {
        let template = TestDir::new();
        let env = [("RATE_LIMIT", "off"), ("ARGON2", "1024,1,1"), ("ACCESS_TTL", "86400")];
        let natter =
            Launch::bare(template.path()).with(&env).with(&[("LOG_LEVEL", "info,natter::access=warn")]);
        let natter = natter.start();
        let cast = seed(natter.address);
        natter.wait_until_idle(SETTLE_MAX);
        natter.stop();
        Stage {
            template,
            cast,
            ipv6: std::env::var_os("FAIRNESS_IPV6").is_some(),
            #[cfg(feature = "tls")]
            tls: {
                let mut config = rustls::ClientConfig::clone(&super::support::tls::config());
                config.resumption = rustls::client::Resumption::disabled();
                config.into()
            },
        }
    }

    /// A server with its default settings and `env`, alone on the first core.
    pub fn open(&self, env: &[(&str, &str)]) -> (Running, Scene<'_>) {
        let dir = TestDir::new();
        copy(self.template.path(), dir.path());
        let host = if self.ipv6 { "::" } else { "0.0.0.0" };
        let launch = Launch::bare(dir.path()).with(&[("HOST", host), ("TRUSTED_PROXIES", "127.0.0.1")]);
        let natter = launch.with(env).start();
        let pid = natter.pid().to_string();
        // With one core this has no effect.
        let _ = Command::new("taskset").args(["-a", "-p", "-c", "0", &pid]).output();
        let port = natter.address.port();
        let is_secure = env.iter().any(|(name, _)| *name == "TLS_CERT");
        (Running { natter, _dir: dir }, Scene { stage: self, port, is_secure })
    }
}

impl Scene<'_> {
    pub fn cast(&self) -> &Cast {
        &self.stage.cast
    }

    /// A connection that can take a request: over TLS after its handshake.
    pub fn connect(&self, source: IpAddr) -> std::io::Result<Client> {
        #[cfg(feature = "tls")]
        if self.is_secure {
            return Client::connect_secure(source, self.port, &self.stage.tls);
        }
        assert!(!self.is_secure, "this build is without the feature tls");
        Client::connect(source, self.port)
    }

    /// A connection without a handshake.
    #[cfg(feature = "tls")]
    pub fn connect_raw(&self, source: IpAddr) -> std::io::Result<Client> {
        Client::connect(source, self.port)
    }

    /// The first message of a client, which asks for a complete handshake. It may be sent any number of times.
    #[cfg(feature = "tls")]
    pub fn client_hello(&self) -> Vec<u8> {
        let mut hello = Vec::new();
        let mut conn = super::support::tls::client(&self.stage.tls);
        conn.write_tls(&mut hello).expect("a Vec takes all");
        hello
    }
}

impl Running {
    /// Resident memory in MiB: now, and the maximum.
    pub fn memory(&self) -> (u64, u64) {
        let mib = |name| self.natter.memory_kib(name).unwrap_or(0) / 1_024;
        (mib("VmRSS"), mib("VmHWM"))
    }
}

/// A post with a client_id of this time.
pub fn post(to: &str, body: &str, random: u64) -> String {
    let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let client_id = <Id>::from_u128(ms << 80 | u128::from(random.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    format!(r#"{{{to},"client_id":"{client_id}","body":"{body}"}}"#)
}

pub fn to_profile(profile: &str) -> String {
    format!(r#""to":"{profile}""#)
}

pub fn to_conversation(conversation: &str) -> String {
    format!(r#""conversation":"{conversation}""#)
}

fn seed(address: SocketAddr) -> Cast {
    let mut http = Http::connect(address);
    let [bystander, friend, writer, grouped, maker] =
        ["bystander", "friend", "writer", "grouped", "maker"].map(|name| http.sign_up(name));
    let crowd: Vec<Person> = (0..CROWD).map(|number| http.sign_up(&format!("crowd{number}"))).collect();
    let mut conversation = String::new();
    for number in 0..100 {
        let body = post(&to_profile(&friend.profile), TEXT, number);
        let posted = http.ask_as(&bystander, "POST", "/api/v1/messages", Some(&body)).expect("a response");
        conversation = posted.at("data.conversation");
    }
    let groups = (0..GROUPS).map(|number| {
        let body = format!(r#"{{"title":"group {number}","members":["{}"]}}"#, grouped.profile);
        let made = http.ask_as(&maker, "POST", "/api/v1/conversations", Some(&body)).expect("a response");
        assert_eq!(made.status, 201, "{}", made.text());
        made.at("data.id")
    });
    let groups = groups.collect();
    std::thread::scope(|scope| {
        for (number, reader) in crowd.iter().take(WRITERS).enumerate() {
            let writer = &writer;
            scope.spawn(move || write(address, writer, reader, number as u64));
        }
    });
    Cast { bystander, friend, writer, grouped, maker, crowd, groups, conversation }
}

/// One thread's share of the messages.
fn write(address: SocketAddr, writer: &Person, reader: &Person, number: u64) {
    let mut client = Client::connect(IpAddr::from([127, 0, 0, 2]), address.port()).expect("a connection");
    for at in 0..(MESSAGES / WRITERS) as u64 {
        let body = post(&to_profile(&reader.profile), TEXT, number << 32 | at);
        let post = request("POST", "/api/v1/messages", Some(&writer.access), "", Some(&body));
        let posted = client.ask(&post).expect("a response");
        assert_eq!(posted.status, 201, "{}", posted.text());
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (from, to): (PathBuf, PathBuf) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            copy(&from, &to);
        } else if kind.is_file() {
            fs::copy(&from, &to).expect("copied");
        }
    }
}
