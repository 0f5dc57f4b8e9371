//! How a command reaches the server: through the control socket, or as a server in this process.
//!
//! While a server runs, the request goes to `DATA_DIR/control.sock`. Otherwise this process runs the same [`Server`],
//! in memory: without a socket, a thread or a loop. So there is one set of handlers and one writer: the process that holds the
//! lock.
//! Invariant: a command that can neither reach the server nor take its lock changes nothing.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::output::Failure;
use super::serve::{clock, password_options, settings, store_options};
use super::{keys, no_server};
use crate::base::crypto::SystemEntropy;
use crate::base::send_queue::SendQueue;
use crate::config::Config;
use crate::model::job::{Done, Job};
use crate::proto::http::client::ResponseReader;
use crate::runtime::data_dir::{DataDir, DataDirFault, control_socket};
use crate::runtime::free_bytes;
use crate::runtime::in_memory::{Environment, InMemory};
use crate::server::Server;
use crate::server::contract::{ConnId, Input, ListenerKind};
use crate::store::{self, Reader, Store, StoreOptions};
use crate::work::password::PasswordHasher;

/// Bytes of an answer of the control socket. Above it, the answer is cut and refused as invalid.
const CONTROL_ANSWER_MAX: u64 = 131_072;
/// How long a server may take to say that it runs. A stopped one takes connections too, and never answers.
const ALIVE_WAIT: Duration = Duration::from_secs(5);
/// How long a server that runs may take for an act, such as the deletion of a large group.
const ACT_WAIT: Duration = Duration::from_secs(30);

/// The path of a backup's request.
pub const BACKUP: &str = "/admin/backup";
/// The same for a backup that an admin has asked for: its act is in the log.
pub const BACKUP_ASKED: &str = "/admin/backup?asked=true";

/// The response of a server.
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

pub enum Control {
    /// A server holds DATA_DIR. Each request has its own connection.
    Server { socket: PathBuf },
    /// No server holds DATA_DIR: this process holds it while the value lives.
    Here(Box<Here>),
}

/// What a command needs if no server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// An existing database.
    Database,
    /// An existing database, and the secret that goes into password hashes.
    PasswordSecret,
    /// Missing folders, keys and database are created.
    MayCreate,
}

impl Control {
    pub fn reach(config: &Config, needs: Needs) -> Result<Control, Failure> {
        let data_dir = match needs {
            Needs::MayCreate => DataDir::open(&config.data_dir, &config.uploads),
            _ if !store::exists(&store_options(config)) => return Err(no_server(config).into()),
            _ => DataDir::open_existing(&config.data_dir),
        };
        match data_dir {
            Ok(data_dir) => Ok(Control::Here(Box::new(Here::open(config, data_dir, needs)?))),
            Err(DataDirFault::Locked { .. }) => Control::server(control_socket(&config.data_dir)),
            Err(fault) => Err(fault.to_string().into()),
        }
    }

    /// The server that listens there, if it answers.
    pub fn server(socket: PathBuf) -> Result<Control, Failure> {
        exchange(&socket, &request("GET", "/healthz", ""), Some(ALIVE_WAIT)).map_err(|error| {
            unreachable(
                &socket,
                &error,
                "it is stopped, or too busy to answer: look at its process and its log",
            )
        })?;
        Ok(Control::Server { socket })
    }

    pub fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<Reply, Failure> {
        let request = request(method, path, body);
        let bytes = match self {
            Control::Server { socket } => exchange(socket, &request, wait(path)).map_err(|error| {
                unreachable(socket, &error, "it may still do what it was asked: look before you try again")
            })?,
            Control::Here(here) => here.ask(&request),
        };
        if bytes.is_empty() {
            return Err(Failure::unreachable("the server ended before it answered".to_owned()));
        }
        let mut reader = ResponseReader::new();
        let response = reader.receive(&bytes).and_then(|_| reader.finish());
        let invalid = |_| "the server's answer is not a valid HTTP response".to_owned();
        let response = response.map_err(invalid)?;
        Ok(Reply { status: response.status, body: response.body })
    }

    /// Refuses what prints a link, where it would lead nowhere: the port that the next start gets is not known here.
    pub fn check_links(&self, config: &Config) -> Result<(), Failure> {
        let is_unknown = config.port == 0 && config.public_url.is_none();
        match self {
            Control::Here(_) if is_unknown => Err(Failure::usage(
                "no server runs, and PORT=0 says nothing of the address that the next one gets: start it first, or set \
                 PORT or PUBLIC_URL"
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Closes the database if this process opened it.
    pub fn close(self) -> Result<(), String> {
        match self {
            Control::Server { .. } => Ok(()),
            Control::Here(here) => {
                let Here { store, reader, .. } = *here;
                drop(reader);
                store.close().map_err(|fault| fault.to_string())
            }
        }
    }
}

/// How long an answer may take. A backup has no limit, because its time grows with the database.
fn wait(path: &str) -> Option<Duration> {
    (![BACKUP, BACKUP_ASKED].contains(&path)).then_some(ACT_WAIT)
}

/// `late` says what follows if the time is over.
fn unreachable(socket: &Path, error: &io::Error, late: &str) -> Failure {
    let socket = socket.display();
    Failure::unreachable(match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("the server at {socket} has not answered in time: {late}")
        }
        _ => format!("the server can't be reached at {socket}: {error}"),
    })
}

fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: control\r\nConnection: close\r\n");
    if !body.is_empty() {
        text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    format!("{text}\r\n{body}").into_bytes()
}

fn exchange(socket: &Path, request: &[u8], wait: Option<Duration>) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(wait)?;
    stream.set_write_timeout(Some(ALIVE_WAIT))?;
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    stream.take(CONTROL_ANSWER_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A complete server in this process, which handles one request per call.
pub struct Here {
    runtime: InMemory,
    store: Store,
    reader: Reader,
    hasher: PasswordHasher,
    next: u64,
    /// Held for its lock.
    _data_dir: DataDir,
}

/// The bytes that the server sends on the one connection.
#[derive(Default)]
struct Sent(Vec<u8>);

impl Environment for Sent {
    fn flush(&mut self, _conn: ConnId, queue: &mut SendQueue) -> u64 {
        let bytes = queue.take_bytes();
        self.0.extend_from_slice(&bytes);
        bytes.len() as u64
    }
}

impl Here {
    fn open(config: &Config, data_dir: DataDir, needs: Needs) -> Result<Here, String> {
        let mut entropy = SystemEntropy::new();
        let (secrets, hashes) = match needs {
            Needs::MayCreate => (keys::load_or_make(config, &mut entropy)?.0, true),
            Needs::PasswordSecret => (keys::load(config, &mut entropy, true)?.0, true),
            Needs::Database => (keys::load(config, &mut entropy, false)?.0, false),
        };
        let now = clock();
        let password_tag = hashes.then(|| keys::tag(&secrets.password));
        let options = StoreOptions { password_tag, free_bytes: Some(free_bytes), ..store_options(config) };
        let text = |error: crate::store::OpenFault| error.to_string();
        let (store, begin) = Store::open(&options, &mut entropy, now.unix_ms).map_err(text)?;
        let reader = Reader::open(&options).map_err(text)?;
        let hasher = PasswordHasher::new(password_options(config, &secrets))
            .map_err(|_| "ARGON2: these costs can't be used".to_owned())?;
        let settings = settings(config, &secrets, config.port, None);
        let runtime = InMemory::new(Server::new(settings, begin, Box::new(entropy), now), now);
        Ok(Here { runtime, store, reader, hasher, next: 0, _data_dir: data_dir })
    }

    /// Handles one request on its own connection. Returns the bytes that the server sends to it.
    fn ask(&mut self, request: &[u8]) -> Vec<u8> {
        let conn = ConnId(1 << 32 | self.next);
        self.next += 1;
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut sent = Sent::default();
        self.handle(Input::Accepted { conn, peer, listener_kind: ListenerKind::Control });
        self.handle(Input::Received { conn, bytes: request });
        loop {
            self.runtime.perform(&mut sent);
            self.runtime.now = clock();
            if let Some((ticket, job)) = self.runtime.jobs.pop_front() {
                // Mails and geolocations wait for the next start of a server: they are stored in the database.
                let done = match job {
                    Job::HashPassword { .. } | Job::VerifyPassword(_) => self.hasher.run(job),
                    _ => Done::Busy,
                };
                self.handle(Input::Finished { ticket, done });
            } else if !self.runtime.execute(&mut self.store, &mut self.reader) {
                break;
            }
        }
        self.handle(Input::Failed { conn });
        sent.0
    }

    fn handle(&mut self, input: Input<'_>) {
        self.runtime.now = clock();
        self.runtime.handle(input);
    }
}
