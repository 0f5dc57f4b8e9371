//! One connection between two nodes: the first messages, then frames, in blocking code.
//!
//! Owns the time limits. Invariant: a connection holds one frame at most in each direction, and ends at its limit, whatever the other side
//! does: who does not know the key of the cluster has [`HELLO_MAX`].

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::nodes::Address;
use crate::base::channel::{BadFrame, Channel, HELLO_BYTES, Hello};
use crate::base::seal::SealKey;
use crate::work::wire::{Wire, WireFault};

/// How long a node may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// From the connection to the first question, of which a node knows that it comes from the cluster.
const HELLO_MAX: Duration = Duration::from_secs(5);
/// Between two frames. The other side may have to sync a file meanwhile.
const STEP_MAX: Duration = Duration::from_secs(15);
/// A transfer as a whole: so long, and its size at so many bytes a second.
const TRANSFER_MAX: Duration = Duration::from_secs(20);
const BYTES_PER_S: u64 = 1_048_576;

pub struct Link {
    wire: Wire,
    channel: Channel,
    /// What came and was not opened yet: less than a frame and one read of the socket.
    received: Vec<u8>,
    end: Instant,
}

impl Link {
    /// Connects to a node, for a transfer of so many bytes.
    pub fn connect(address: &Address, key: &SealKey, own: Hello, size: u64) -> Result<Link, WireFault> {
        let mut wire = Wire::connect(&address.host, address.port, CONNECT_MAX)?;
        wire.limit(HELLO_MAX);
        wire.send(&own.to_bytes())?;
        let mut received = Vec::new();
        let other = hello_of(&mut wire, &mut received)?;
        let channel = Channel::of_asker(key, &own, &other);
        let mut link = Link { wire, channel, received, end: Instant::now() };
        link.allow(size);
        Ok(link)
    }

    /// Answers a connection. Before [`Link::allow`] the other side has [`HELLO_MAX`].
    pub fn accept(socket: TcpStream, key: &SealKey, own: Hello) -> Result<Link, WireFault> {
        let end = Instant::now() + HELLO_MAX;
        let mut wire = Wire::accepted(socket, HELLO_MAX)?;
        let mut received = Vec::new();
        let other = hello_of(&mut wire, &mut received)?;
        wire.send(&own.to_bytes())?;
        Ok(Link { wire, channel: Channel::of_answerer(key, &own, &other), received, end })
    }

    /// The other side is a node of the cluster, and so many bytes follow.
    pub fn allow(&mut self, size: u64) {
        self.end = Instant::now() + TRANSFER_MAX + Duration::from_secs(size / BYTES_PER_S);
    }

    /// Sends one frame.
    pub fn send(&mut self, text: &[u8]) -> Result<(), WireFault> {
        let frame = self.channel.seal(text);
        self.begin_step()?;
        self.wire.send(&frame)
    }

    /// The text of the next frame.
    pub fn receive(&mut self) -> Result<Vec<u8>, WireFault> {
        self.begin_step()?;
        loop {
            match self.channel.take(&mut self.received) {
                Ok(Some(text)) => return Ok(text),
                Ok(None) => receive_more(&mut self.wire, &mut self.received)?,
                Err(BadFrame::Length) => return Err(WireFault::failed("it does not speak as a node")),
                Err(BadFrame::Text) => {
                    let why = "it has another key of the cluster, or its bytes were changed on the way";
                    return Err(WireFault::failed(why));
                }
            }
        }
    }

    fn begin_step(&mut self) -> Result<(), WireFault> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(WireFault::failed("it took too long"));
        }
        self.wire.limit(left.min(STEP_MAX));
        Ok(())
    }
}

fn hello_of(wire: &mut Wire, received: &mut Vec<u8>) -> Result<Hello, WireFault> {
    while received.len() < HELLO_BYTES {
        receive_more(wire, received)?;
    }
    let rest = received.split_off(HELLO_BYTES);
    let hello = std::mem::replace(received, rest);
    let hello = <[u8; HELLO_BYTES]>::try_from(hello).ok().and_then(Hello::parse);
    hello.ok_or_else(|| WireFault::failed("it does not speak as a node, or it is of another version"))
}

fn receive_more(wire: &mut Wire, received: &mut Vec<u8>) -> Result<(), WireFault> {
    if wire.receive(received)? { Ok(()) } else { Err(WireFault::failed("the connection was closed")) }
}
