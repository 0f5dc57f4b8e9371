//! A queue that is served in turn by nested shares, such as address prefixes: one network or account never delays another.
//!
//! Owns the order, and how much of each share waits; who puts an item in bounds it.
//! Invariant: between two items of one share, each other share at its depth has its turn, if it waits.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use super::network::Prefix;

/// Shares of kind `K` and items of kind `T`. A path names the shares of an item, the outermost first.
#[derive(Debug)]
pub struct Turns<K, T>(Node<K, T>);

/// One share, or all: its items if it is an innermost one, else the shares in it, the next one first.
#[derive(Debug)]
struct Node<K, T> {
    items: VecDeque<T>,
    inner: BTreeMap<K, Node<K, T>>,
    turns: VecDeque<K>,
    len: usize,
}

/// The path of an address: its prefixes.
pub fn prefixes(address: IpAddr) -> Vec<Prefix> {
    Prefix::around(address).rev().collect()
}

impl<K, T> Default for Node<K, T> {
    fn default() -> Self {
        Node { items: VecDeque::new(), inner: BTreeMap::new(), turns: VecDeque::new(), len: 0 }
    }
}

impl<K, T> Default for Turns<K, T> {
    fn default() -> Self {
        Turns(Node::default())
    }
}

impl<K: Copy + Ord, T> Turns<K, T> {
    pub fn len(&self) -> usize {
        self.0.len
    }

    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    pub fn push(&mut self, path: &[K], item: T) {
        self.0.push(path, item);
    }

    /// The oldest item of the share whose turn it is. That share then waits for all others.
    pub fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    /// As [`Turns::pop`], of the outermost shares that may have a turn now. The others keep theirs.
    pub fn pop_if(&mut self, may: impl Fn(K) -> bool) -> Option<T> {
        let at = self.0.turns.iter().position(|share| may(*share))?;
        let share = self.0.turns.remove(at)?;
        self.0.turns.push_front(share);
        self.0.pop()
    }

    /// Removes the first item that matches of the share that a path names; an empty path names all.
    pub fn remove(&mut self, path: &[K], matches: impl Fn(&T) -> bool) -> Option<T> {
        self.0.remove(path, &matches)
    }

    /// Whether one of these nested shares has as many items as it may.
    pub fn is_full(&self, path: &[K], items_max: impl Fn(K) -> usize) -> bool {
        let mut node = &self.0;
        path.iter().any(|share| match node.inner.get(share) {
            Some(inner) => {
                node = inner;
                node.len >= items_max(*share)
            }
            None => false,
        })
    }

    /// How many items an outermost share has.
    pub fn len_of(&self, share: K) -> usize {
        self.0.inner.get(&share).map_or(0, |node| node.len)
    }

    /// The outermost share with the most items, and how many.
    pub fn longest(&self) -> Option<(K, usize)> {
        self.0.longest()
    }

    /// Removes the newest item of the share that has the most at each depth.
    pub fn drop_newest(&mut self) -> Option<T> {
        self.0.drop_newest()
    }
}

impl<K: Copy + Ord, T> Node<K, T> {
    fn push(&mut self, path: &[K], item: T) {
        self.len += 1;
        let Some((first, rest)) = path.split_first() else { return self.items.push_back(item) };
        let node = self.inner.entry(*first).or_default();
        if node.len == 0 {
            self.turns.push_back(*first);
        }
        node.push(rest, item);
    }

    fn pop(&mut self) -> Option<T> {
        let item = match self.turns.pop_front() {
            None => self.items.pop_front(),
            Some(share) => {
                let node = self.inner.get_mut(&share)?;
                let item = node.pop();
                if node.len == 0 {
                    self.inner.remove(&share);
                } else {
                    self.turns.push_back(share);
                }
                item
            }
        };
        self.len -= usize::from(item.is_some());
        item
    }

    fn remove(&mut self, path: &[K], matches: &impl Fn(&T) -> bool) -> Option<T> {
        let found = match path.split_first() {
            Some((share, rest)) => {
                let item = self.inner.get_mut(share)?.remove(rest, matches)?;
                Some((*share, item))
            }
            None => {
                if let Some(at) = self.items.iter().position(matches) {
                    self.len -= 1;
                    return self.items.remove(at);
                }
                self.inner.iter_mut().find_map(|(share, node)| Some((*share, node.remove(&[], matches)?)))
            }
        };
        let (share, item) = found?;
        self.len -= 1;
        self.forget_empty(share);
        Some(item)
    }

    fn longest(&self) -> Option<(K, usize)> {
        self.inner.iter().map(|(share, node)| (*share, node.len)).max_by_key(|(_, len)| *len)
    }

    fn drop_newest(&mut self) -> Option<T> {
        let dropped = match self.longest() {
            None => self.items.pop_back(),
            Some((share, _)) => {
                let dropped = self.inner.get_mut(&share)?.drop_newest();
                self.forget_empty(share);
                dropped
            }
        };
        self.len -= usize::from(dropped.is_some());
        dropped
    }

    fn forget_empty(&mut self, share: K) {
        if self.inner.get(&share).is_some_and(|node| node.len == 0) {
            self.inner.remove(&share);
            self.turns.retain(|turn| *turn != share);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(addresses: &[&str]) -> Turns<Prefix, String> {
        let mut turns = Turns::default();
        for address in addresses {
            turns.push(&prefixes(address.parse().expect("an address")), (*address).to_owned());
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
        assert!(turns.is_empty() && turns.0.turns.is_empty() && turns.0.inner.is_empty());
    }

    #[test]
    fn a_share_that_may_have_no_turn_keeps_it() {
        let mut turns = Turns::default();
        [(1, "a"), (1, "b"), (2, "c"), (3, "d")]
            .into_iter()
            .for_each(|(share, item)| turns.push(&[share], item));
        assert_eq!(turns.pop_if(|share| share > 1), Some("c"));
        assert_eq!(turns.pop_if(|share| share > 3), None);
        let rest: Vec<&str> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(rest, ["a", "d", "b"]);
    }

    #[test]
    fn what_is_removed_leaves_no_turn() {
        let mut turns = turns(&["192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1"]);
        let path = |text: &str| prefixes(text.parse().expect("an address"));
        let it = |text: &'static str| move |item: &String| item == text;
        assert_eq!(turns.remove(&path("2001:db8::1"), it("2001:db8::1")).as_deref(), Some("2001:db8::1"));
        assert_eq!(turns.remove(&path("2001:db8::1"), it("2001:db8::1")), None);
        assert_eq!(turns.remove(&path("192.0.2.2"), it("192.0.2.1")), None, "of another address");
        assert!(turns.remove(&[], it("192.0.2.1")).is_some());
        assert_eq!(turns.len(), 2);
        let rest: Vec<String> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(rest, ["192.0.2.1", "192.0.2.2"]);
        assert!(turns.is_empty() && turns.0.inner.is_empty());
    }
}
