//! The ends of a run: what a log must never do. The node that meets it stops with its message, and changes nothing.
//!
//! Owns these faults of the log and the messages. Leaves the messages' words to `runtime::replica`.
//! Invariant: they come after everything was compared, and a node that stopped has the rows that it had.

use std::time::Duration;

use natter::base::seal::SealKey;

use super::node::Node;
use super::{NODES, Run};
use crate::sim::mirror::compare_databases;

/// How often a fault is repeated: more often than a node reads anew.
const REPEATED: usize = 8;

type Ending = (&'static str, fn(&mut Run, usize));

const ENDINGS: [Ending; 7] = [
    ("skipped", skipped),
    ("damaged", damaged),
    ("forgotten", forgotten),
    ("anew", anew),
    ("two stories", two_stories),
    ("another key", another_key),
    ("too late", too_late),
];

impl Run {
    /// The ending of this seed, to one of the nodes.
    pub fn end(&mut self, seed: u64) {
        let (name, ending) = ENDINGS[seed as usize % ENDINGS.len()];
        self.trace(|| format!("the ending: {name}"));
        *self.stats.endings.entry(name).or_default() += 1;
        let alive: Vec<usize> =
            (0..self.nodes.len()).filter(|at| self.nodes[*at].stopped.is_none()).collect();
        let at = alive[self.shared.rng.below(NODES)];
        ending(self, at);
    }

    /// The others write some entries, which this node does not get.
    fn falls_behind(&mut self, at: usize) {
        let number = self.nodes[at].number;
        self.shared.broker.down(number);
        // Each renews or asks for the duty.
        for _ in 0..120 {
            self.rounds(true);
            self.pass(Duration::from_millis(250));
            if self.shared.broker.undelivered(number) >= 3 {
                return;
            }
        }
        panic!("the others write nothing");
    }

    /// This node has stopped, because of this, and has the rows that it had.
    fn has_stopped(&self, at: usize, why: &str, before: &std::path::Path) {
        let message = self.nodes[at].stopped.as_ref();
        assert!(message.is_some_and(|message| message.contains(why)), "{message:?} instead of {why:?}");
        compare_databases(before, &self.nodes[at].database());
    }

    /// The nodes that still run have the same rows.
    fn rest_is_equal(&mut self) {
        self.settle("the rest");
        let rest: Vec<&Node> = self.nodes.iter().filter(|node| node.stopped.is_none()).collect();
        for node in &rest {
            compare_databases(&rest[0].database(), &node.database());
        }
    }
}

fn skipped(run: &mut Run, at: usize) {
    run.falls_behind(at);
    let (number, before) = (run.nodes[at].number, run.nodes[at].copy());
    run.shared.broker.up(number);
    for _ in 0..REPEATED {
        run.shared.broker.skip(number);
        run.shared.broker.deliver(number, 1);
        run.nodes[at].turn(&mut run.shared);
    }
    run.has_stopped(at, "the log does not deliver entry", &before.database());
    run.rest_is_equal();
}

fn damaged(run: &mut Run, at: usize) {
    run.falls_behind(at);
    let (number, before) = (run.nodes[at].number, run.nodes[at].copy());
    run.shared.broker.up(number);
    for _ in 0..REPEATED {
        run.shared.broker.damage(number);
        run.nodes[at].turn(&mut run.shared);
    }
    run.has_stopped(at, "may have lost or changed an entry", &before.database());
    run.rest_is_equal();
}

fn forgotten(run: &mut Run, at: usize) {
    let before = run.nodes[at].copy();
    run.shared.broker.forget_tail(1 + run.shared.rng.below(3));
    run.shared.broker.up(run.nodes[at].number);
    run.nodes[at].turn(&mut run.shared);
    run.has_stopped(at, "the log has forgotten entries", &before.database());
}

fn anew(run: &mut Run, at: usize) {
    let before = run.nodes[at].copy();
    run.shared.broker.begin_anew("another log");
    run.shared.broker.up(run.nodes[at].number);
    run.nodes[at].turn(&mut run.shared);
    run.has_stopped(at, "but this node has followed", &before.database());
}

/// Entries are forgotten that one node has not read, and others come in their places.
fn two_stories(run: &mut Run, at: usize) {
    run.falls_behind(at);
    let number = run.nodes[at].number;
    // What the nodes make of the same position differs from here on.
    run.shared.record.is_blind = true;
    run.shared.broker.forget_tail(run.shared.broker.undelivered(number) as usize);
    run.shared.broker.up(number);
    for _ in 0..200 {
        run.round(true);
        run.pass(Duration::from_millis(100));
        let stopped = run.nodes.iter().filter_map(|node| node.stopped.as_ref());
        if stopped.clone().any(|message| message.contains("the log has told two stories")) {
            return;
        }
    }
    let all: Vec<&Option<String>> = run.nodes.iter().map(|node| &node.stopped).collect();
    panic!("two stories were not noticed: {all:?}");
}

fn another_key(run: &mut Run, at: usize) {
    let number = run.nodes[at].number;
    run.crash(at);
    let mut other = Node::new(&run.shared, run.nodes[at].name.clone(), number, SealKey::new(&[8; 32]), 0);
    other.take_over(run.nodes[at].copy());
    run.falls_behind(at);
    let before = other.copy();
    other.start(&mut run.shared);
    run.nodes[at] = other;
    run.shared.broker.up(number);
    for _ in 0..REPEATED {
        run.shared.broker.deliver(number, 1);
        run.nodes[at].turn(&mut run.shared);
    }
    run.has_stopped(at, "key is that of another cluster", &before.database());
}

fn too_late(run: &mut Run, at: usize) {
    run.falls_behind(at);
    let (number, before) = (run.nodes[at].number, run.nodes[at].copy());
    run.shared.broker.keep_from(run.shared.broker.head());
    run.shared.broker.up(number);
    run.nodes[at].turn(&mut run.shared);
    run.has_stopped(at, "it is older than what the log keeps", &before.database());
}
