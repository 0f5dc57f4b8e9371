//! The bytes of an uploaded file on several nodes of a cluster: a node gives a new file to another one, and fetches one that it does not
//! have.
//!
//! [`Copies`] asks other nodes, [`Answerer`] answers them, [`KnownNodes`] says where they listen. Owns connections, their limits and the
//! temporary files of what is received. Leaves the questions to `proto::copies`, the encryption to `base::channel`, the place of a file to
//! [`Publisher`], and which files have a row to the server.
//! Invariant: a file that was received is stored only if its length and its SHA-256 are those that were expected, and it is on disk before
//! that is answered.

mod answer;
mod keep;
mod link;
mod nodes;
mod receive;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use self::answer::Answerer;
use self::link::Link;
pub use self::nodes::{Address, KnownNodes};
use self::receive::receive;
use super::files::Publisher;
use super::wire::WireFault;
use crate::base::channel::{FRAME_TEXT_MAX, Hello};
use crate::base::id::Id;
use crate::base::seal::SealKey;
use crate::model::id::UploadId;
use crate::proto::copies::{Refused, Reply, Request};

/// Nodes that are asked for one file, or to take one. Further ones would keep the asker waiting.
const ASKED_MAX: usize = 4;
/// How long one waits for another one that fetches the same file.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// Fails as on a full disk if so many bytes more would leave too little room: DISK_FREE_MIN.
pub type Room = Arc<dyn Fn(u64) -> io::Result<()> + Send + Sync>;

/// What a node needs to ask others and to answer them.
#[derive(Clone)]
pub struct CopyOptions {
    /// The key of the cluster.
    pub key: SealKey,
    /// Drawn at each start: no other process has it.
    pub life: u128,
    /// Where the others listen.
    pub nodes: KnownNodes,
    pub room: Room,
    /// An upload is refused unless a second node takes its file.
    pub is_needed: bool,
}

struct Shared {
    options: CopyOptions,
    publisher: Publisher,
    /// Connections and temporary files of this process so far: each has a number of its own.
    numbers: AtomicU64,
    /// Files that are being fetched, one for each thread at most.
    under_way: Mutex<Vec<UploadId>>,
    ended: Condvar,
}

/// Gives files to other nodes, and fetches those that they have.
#[derive(Clone)]
pub struct Copies(Arc<Shared>);

/// No other node has taken the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotCopied;

/// Why a file did not pass between this node and another one.
#[derive(Debug)]
enum CopyFault {
    /// The connection, or who is at its other end.
    Wire(WireFault),
    /// The disk of this node.
    Disk(io::Error),
    /// The other node does not do it.
    Refused(Refused),
    /// The other node has or sends another length or other bytes than were said.
    OtherBytes,
    /// The other node says what is not said here.
    Unexpected,
}

impl fmt::Display for CopyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CopyFault::Wire(fault) => fault.reason(),
            CopyFault::Disk(error) => return write!(f, "the disk of this node: {error}"),
            CopyFault::Refused(Refused::NoFile) => "it does not have the file",
            CopyFault::Refused(Refused::Full) => "its disk is full",
            CopyFault::Refused(Refused::OtherBytes) => "other bytes came to it",
            CopyFault::Refused(Refused::Failed) => "its disk has failed",
            CopyFault::OtherBytes => "its bytes are not those of the file",
            CopyFault::Unexpected => "it says what this version does not know",
        })
    }
}

impl From<WireFault> for CopyFault {
    fn from(fault: WireFault) -> CopyFault {
        CopyFault::Wire(fault)
    }
}

impl From<io::Error> for CopyFault {
    fn from(error: io::Error) -> CopyFault {
        CopyFault::Disk(error)
    }
}

impl Copies {
    /// `publisher` puts the files that come into their place.
    pub fn new(options: CopyOptions, publisher: Publisher) -> Copies {
        Copies(Arc::new(Shared {
            options,
            publisher,
            numbers: AtomicU64::new(0),
            under_way: Mutex::default(),
            ended: Condvar::new(),
        }))
    }

    /// Gives a published file to one other node, which has it on disk afterwards. Returns how many bytes it took.
    pub fn give(&self, file: UploadId, sha256: [u8; 32]) -> Result<u64, NotCopied> {
        let alive = self.0.options.nodes.alive(file.low());
        for (node, address) in alive.iter().take(ASKED_MAX) {
            match self.give_to(address, file, sha256) {
                Ok(bytes) => return Ok(bytes),
                Err(fault) => {
                    log::warn!(target: "natter::cluster", node:%; "node {node} did not take an upload: {fault}");
                }
            }
        }
        if !self.0.options.is_needed {
            return Ok(0);
        }
        log::warn!(
            target: "natter::cluster",
            "an upload was refused: none of the {} other nodes that are heard has taken its file", alive.len()
        );
        Err(NotCopied)
    }

    fn give_to(&self, address: &Address, file: UploadId, sha256: [u8; 32]) -> Result<u64, CopyFault> {
        let mut bytes = File::open(self.0.publisher.path(file))?;
        let size = bytes.metadata()?.len();
        let mut link = self.connect(address, size)?;
        let id = Id::from_u128(file.to_u128());
        link.send(&Request::Store { file: id, size, sha256 }.to_bytes())?;
        match answer_of(&mut link)? {
            Reply::Send => send_bytes(&mut link, &mut bytes, size)?,
            _ => return Err(CopyFault::Unexpected),
        }
        match answer_of(&mut link)? {
            Reply::Stored { sha256: stored } if stored == sha256 => Ok(size),
            Reply::Stored { .. } => Err(CopyFault::OtherBytes),
            _ => Err(CopyFault::Unexpected),
        }
    }

    /// Fetches a file that this node does not have, once for all who ask at the same time. Returns how many bytes came.
    pub fn fetch(&self, file: UploadId, size: u64, sha256: [u8; 32]) -> Result<u64, NotCopied> {
        let _turn = self.wait_for_turn(file)?;
        if self.0.publisher.path(file).exists() {
            return Ok(0);
        }
        let known = self.0.options.nodes.known(file.low());
        for (node, address) in known.iter().take(ASKED_MAX) {
            match self.fetch_from(address, file, size, sha256) {
                Ok(()) => return Ok(size),
                Err(fault @ CopyFault::Refused(Refused::NoFile)) => {
                    log::debug!(target: "natter::cluster", node:%; "a file was not fetched from node {node}: {fault}");
                }
                Err(fault) => {
                    log::warn!(target: "natter::cluster", node:%; "a file was not fetched from node {node}: {fault}");
                }
            }
        }
        Err(NotCopied)
    }

    fn fetch_from(
        &self,
        address: &Address,
        file: UploadId,
        size: u64,
        sha256: [u8; 32],
    ) -> Result<(), CopyFault> {
        let mut link = self.connect(address, size)?;
        let id = Id::from_u128(file.to_u128());
        link.send(&Request::Fetch { file: id }.to_bytes())?;
        match answer_of(&mut link)? {
            Reply::Bytes { size: its } if its == size => {}
            Reply::Bytes { .. } => return Err(CopyFault::OtherBytes),
            _ => return Err(CopyFault::Unexpected),
        }
        receive(&self.0, &mut link, file, size, sha256)?;
        Ok(())
    }

    fn connect(&self, address: &Address, size: u64) -> Result<Link, WireFault> {
        Link::connect(address, &self.0.options.key, self.0.hello(), size)
    }

    /// Waits until nobody else fetches this file.
    fn wait_for_turn(&self, file: UploadId) -> Result<Turn<'_>, NotCopied> {
        let until = Instant::now() + WAIT_MAX;
        let mut under_way = self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        while under_way.contains(&file) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NotCopied);
            }
            let waited = self.0.ended.wait_timeout(under_way, left);
            under_way = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        under_way.push(file);
        Ok(Turn { shared: &self.0, file })
    }
}

/// The right to fetch a file.
struct Turn<'a> {
    shared: &'a Shared,
    file: UploadId,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut under_way = self.shared.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.retain(|file| *file != self.file);
        self.shared.ended.notify_all();
    }
}

impl Shared {
    fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn hello(&self) -> Hello {
        Hello::new(self.options.life, self.next_number())
    }
}

fn answer_of(link: &mut Link) -> Result<Reply, CopyFault> {
    match Reply::parse(&link.receive()?) {
        Some(Reply::Refused(why)) => Err(CopyFault::Refused(why)),
        Some(reply) => Ok(reply),
        None => Err(CopyFault::Unexpected),
    }
}

/// Sends so many bytes of an open file.
fn send_bytes(link: &mut Link, file: &mut File, size: u64) -> Result<(), CopyFault> {
    let mut buffer = vec![0; FRAME_TEXT_MAX];
    let mut left = size;
    while left > 0 {
        let part = FRAME_TEXT_MAX.min(usize::try_from(left).unwrap_or(FRAME_TEXT_MAX));
        file.read_exact(&mut buffer[..part])?;
        link.send(&buffer[..part])?;
        left -= part as u64;
    }
    Ok(())
}

/// Removes a file that nobody needs, if it is there.
fn remove_quietly(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::warn!(target: "natter::cluster", "a temporary file could not be removed; the next start tries again: {error}");
        }
        _ => {}
    }
}
