//! A queue that is served in turn by nested address prefixes, so that one network never delays another.
//!
//! Owns the order only; who puts an item in bounds their number.
//! Invariant: between two items of one prefix, each other prefix at its width has its turn, if it waits.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use super::network::Prefix;

#[derive(Debug)]
pub struct Turns<T>(Node<T>);

/// Those of one prefix, or of all: its items where it is a subscriber's, else the prefixes in it, the next one first.
#[derive(Debug)]
struct Node<T> {
    items: VecDeque<T>,
    inner: BTreeMap<Prefix, Node<T>>,
    turns: VecDeque<Prefix>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Node { items: VecDeque::new(), inner: BTreeMap::new(), turns: VecDeque::new() }
    }
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Turns(Node::default())
    }
}

impl<T> Turns<T> {
    pub fn push(&mut self, address: IpAddr, item: T) {
        let mut node = &mut self.0;
        for prefix in Prefix::around(address).rev() {
            if !node.inner.contains_key(&prefix) {
                node.turns.push_back(prefix);
            }
            node = node.inner.entry(prefix).or_default();
        }
        node.items.push_back(item);
    }

    /// The oldest item of the prefix whose turn it is. That prefix then waits for all others.
    pub fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    /// Removes the first item of an address that matches.
    pub fn remove(&mut self, address: IpAddr, matches: impl Fn(&T) -> bool) -> Option<T> {
        let path: Vec<Prefix> = Prefix::around(address).rev().collect();
        self.0.remove(&path, &matches)
    }
}

impl<T> Node<T> {
    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.inner.is_empty()
    }

    fn pop(&mut self) -> Option<T> {
        let Some(prefix) = self.turns.pop_front() else { return self.items.pop_front() };
        let node = self.inner.get_mut(&prefix)?;
        let item = node.pop();
        if node.is_empty() {
            self.inner.remove(&prefix);
        } else {
            self.turns.push_back(prefix);
        }
        item
    }

    fn remove(&mut self, path: &[Prefix], matches: &impl Fn(&T) -> bool) -> Option<T> {
        let Some((prefix, rest)) = path.split_first() else {
            let at = self.items.iter().position(matches)?;
            return self.items.remove(at);
        };
        let node = self.inner.get_mut(prefix)?;
        let item = node.remove(rest, matches);
        if node.is_empty() {
            self.inner.remove(prefix);
            self.turns.retain(|turn| turn != prefix);
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(addresses: &[&str]) -> Turns<String> {
        let mut turns = Turns::default();
        for address in addresses {
            turns.push(address.parse().expect("an address"), (*address).to_owned());
        }
        turns
    }

    #[test]
    fn prefixes_are_served_in_turn_at_each_width() {
        let mut turns = turns(&[
            "2001:db8::1",
            "2001:db8::2",
            "2001:db8:0:1::1",
            "2001:db8:0:100::1",
            "2001:db8:1::1",
            "192.0.2.1",
            "192.0.2.1",
            "192.0.2.2",
        ]);
        let expect = [
            "2001:db8::1",
            "2001:db8:1::1",
            "192.0.2.1",
            "2001:db8:0:100::1",
            "192.0.2.2",
            "2001:db8:0:1::1",
            "192.0.2.1",
            "2001:db8::2",
        ];
        let seen: Vec<String> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(seen, expect);
        assert!(turns.0.is_empty() && turns.0.turns.is_empty());
    }

    #[test]
    fn what_is_removed_leaves_no_turn() {
        let mut turns = turns(&["192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1"]);
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(turns.remove(address("2001:db8::1"), |_| true).as_deref(), Some("2001:db8::1"));
        assert_eq!(turns.remove(address("2001:db8::1"), |_| true), None);
        assert_eq!(turns.remove(address("192.0.2.1"), |_| false), None);
        assert!(turns.remove(address("192.0.2.1"), |_| true).is_some());
        let rest: Vec<String> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(rest, ["192.0.2.1", "192.0.2.2"]);
        assert!(turns.0.is_empty());
    }
}
