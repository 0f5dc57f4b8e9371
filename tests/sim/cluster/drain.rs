//! A node that stops in order while its clients write: each request that it has is answered, each stream is told to come back, and the
//! clients find all on the other nodes.
//!
//! Owns this part of a run and its checks. Leaves the steps of a process that stops to `node`.
//! Invariant: it begins and ends with nodes that have all entries.

use std::time::Duration;

use super::{Run, client};

/// Within this time a node has stopped, while the log is reached.
const STOP_MAX: Duration = Duration::from_secs(5);

impl Run {
    /// A node is told to stop while posts are under way through it.
    pub fn one_stops(&mut self) {
        self.heal();
        self.settle("before a stop");
        for d in 0..self.devices.len() {
            self.open_stream(d);
        }
        self.settle("streams before a stop");
        for d in 0..self.devices.len() {
            if self.devices[d].token.is_some() {
                self.compose(d);
                self.send_posts(d, 3);
            }
        }
        // The node has the requests, and none is in the log.
        self.rounds(false);
        let open: Vec<usize> = (0..self.nodes.len()).filter(|at| self.nodes[*at].accepts()).collect();
        let Some(at) = self.shared.rng.pick(&open).copied() else { return };
        self.trace(|| format!("node {at} stops in order"));
        self.stats.drains += 1;
        let before = self.cut_off();
        self.nodes[at].drain(&mut self.shared);
        let until = self.shared.time + STOP_MAX;
        while !self.nodes[at].is_down() {
            assert!(self.shared.time < until, "node {at} does not stop");
            self.rounds(true);
            self.pass(Duration::from_millis(100));
        }
        self.rounds(true);
        assert_eq!(self.cut_off(), before, "node {at} has left a client without a word");
        let is_there = |device: &client::Device| device.conns().iter().any(|(node, _)| *node == at);
        assert!(!self.devices.iter().any(is_there), "a client is still connected to node {at}");
        // The clients go elsewhere, and the posts that it took are there.
        for d in 0..self.devices.len() {
            self.open_stream(d);
        }
        self.rounds(true);
        self.start(at);
        self.heal();
        self.settle("after a stop");
    }

    /// A node that is stopping ends, whatever its clients do.
    pub fn ends(&mut self, at: usize) {
        for _ in 0..100 {
            if !self.nodes[at].is_draining() {
                return;
            }
            self.round(true);
            self.pass(Duration::from_millis(250));
        }
        panic!("node {at} never stops");
    }

    fn cut_off(&self) -> u64 {
        self.devices.iter().map(|device| device.cut_off).sum()
    }
}
