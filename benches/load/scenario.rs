//! What a scenario is: connections, and the requests that they send.
//!
//! Owns the contract between the engine, which knows time, and the scenarios, which know meaning.

use std::time::Instant;

use super::conn::Conn;
use super::histogram::Histogram;

/// The next request of a connection.
pub struct Request {
    /// Its kind, an index of [`Scenario::kinds`].
    pub kind: usize,
    /// What the scenario knows it by.
    pub tag: u32,
}

pub trait Scenario {
    /// The kinds of requests, each with latencies of its own.
    fn kinds(&self) -> &'static [&'static str];

    /// Writes the next request of a connection: a text of the WebSocket, or a whole request of HTTP. `number` is its `id`.
    fn ask(&mut self, conn: usize, number: u64, due: Instant, out: &mut Vec<u8>) -> Request;

    /// A request was answered. Returns whether the answer is right as far as it can be seen.
    fn answered(&mut self, conn: usize, request: &Request, is_good: bool, body: &[u8]) -> bool;

    /// An event came. Records when a delivery was due.
    fn heard(&mut self, _conn: usize, _event: &[u8], _now: Instant, _deliveries: &mut Histogram) {}

    /// Whether all that had to be delivered was.
    fn is_settled(&self) -> bool {
        true
    }

    /// Judges what the load left, at its end. `discarded` is how many bytes of long bodies came, which nobody keeps.
    fn verify(&mut self, discarded: u64) -> Vec<Check>;
}

/// A promise and whether it was kept.
#[derive(Clone, Debug)]
pub struct Check {
    pub is_kept: bool,
    pub what: String,
}

impl Check {
    pub fn new(is_kept: bool, what: String) -> Check {
        Check { is_kept, what }
    }
}

/// A scenario that is prepared.
pub struct Prepared {
    pub scenario: Box<dyn Scenario>,
    pub conns: Vec<Conn>,
    /// The first so many of them send requests.
    pub askers: usize,
    /// The wire is the WebSocket, so that several requests of one connection may be under way.
    pub is_socket: bool,
}
