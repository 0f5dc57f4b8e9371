//! What the nodes of a cluster share of a certificate: rows that all of them have, which the node with the duty writes.
//!
//! Owns the seal of the rows, which of them are new here, and what this node has changed and is not written yet. Leaves to the module
//! above what a row means, and to the server how rows are written and heard of.
//! Invariant: what leaves this module is sealed with a key that is made of that of the cluster; a number of a life is used once.

use std::collections::BTreeMap;
use std::fmt;

use crate::base::crypto::{base64url, base64url_decode};
use crate::base::seal::{SealKey, SealPurpose, SealedBy};
use crate::model::certificate::CertificateRow;
use crate::model::node::NodeName;

/// Seals the rows of this node.
#[derive(Clone)]
pub struct RowSeal {
    pub key: SealKey,
    pub node: NodeName,
    /// Of this process: no other one has or had it.
    pub life: u128,
}

/// Shows no key.
impl fmt::Debug for RowSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowSeal(..)")
    }
}

pub(super) struct Sharing {
    seal: RowSeal,
    /// The number of the last row that was sealed.
    n: u64,
    /// The rows, as they were seen last.
    rows: BTreeMap<String, String>,
    /// What this node has changed, and the rows do not say yet.
    pending: BTreeMap<&'static str, String>,
}

/// What has changed since the rows were seen last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// What another node has written: name and content.
    pub(super) written: Vec<(String, String)>,
    /// Names of what this node has written, which all nodes have or will have now.
    pub(super) kept: Vec<&'static str>,
}

impl Sharing {
    pub(super) fn new(seal: RowSeal) -> Sharing {
        Sharing { seal, n: 0, rows: BTreeMap::new(), pending: BTreeMap::new() }
    }

    /// Looks at the rows. What this node has changed wins over them while it has the duty. Without the duty it is forgotten, and all rows
    /// are new.
    pub(super) fn receive(&mut self, rows: &[CertificateRow], has_duty: bool) -> News {
        let is_over = !has_duty && !self.pending.is_empty();
        if is_over {
            self.pending.clear();
            self.rows.clear();
        }
        let mut news = News::default();
        for row in rows {
            if self.rows.get(&row.name) == Some(&row.sealed) {
                continue;
            }
            self.rows.insert(row.name.clone(), row.sealed.clone());
            let Some(content) = self.open(row) else {
                log::error!(
                    target: "natter::acme",
                    "the row {} of the certificate is sealed with another key than cluster_key: this node does not use it", row.name
                );
                continue;
            };
            match self.pending.get_key_value(row.name.as_str()) {
                None => news.written.push((row.name.clone(), content)),
                Some((name, own)) if *own == content => news.kept.push(name),
                // An earlier one. What this node has changed comes behind it.
                Some(_) => {}
            }
        }
        news.kept.iter().for_each(|name| drop(self.pending.remove(name)));
        news
    }

    /// Whether no node has ever written a row, nor will this one.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.pending.is_empty()
    }

    pub(super) fn put(&mut self, name: &'static str, content: &str) {
        self.pending.insert(name, content.to_owned());
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// What is to be written.
    pub(super) fn pending(&mut self) -> Vec<CertificateRow> {
        let Sharing { seal: RowSeal { key, node, life }, n, pending, .. } = self;
        let row = |(name, content): (&&'static str, &String)| {
            *n += 1;
            let by = SealedBy { node: node.as_str(), life: *life, n: *n };
            // The name is sealed too, so that no row takes the place of another one.
            let text = [name.as_bytes(), &[0], content.as_bytes()].concat();
            let sealed = base64url(&key.seal(SealPurpose::Certificate, by, &text));
            CertificateRow { name: (*name).to_owned(), sealed }
        };
        pending.iter().map(row).collect()
    }

    fn open(&self, row: &CertificateRow) -> Option<String> {
        let sealed = base64url_decode(&row.sealed)?;
        let (_, text) = self.seal.key.open(SealPurpose::Certificate, &sealed).ok()?;
        let text = String::from_utf8(text).ok()?;
        let (name, content) = text.split_once('\0')?;
        (name == row.name).then(|| content.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sharing(node: &str, key: u8) -> Sharing {
        let node = NodeName::parse(node).expect("a name");
        Sharing::new(RowSeal { key: SealKey::new(&[key; 32]), node, life: 5 })
    }

    #[test]
    fn rows_reach_the_others_and_are_kept_once() {
        let (mut a, mut b) = (sharing("a", 7), sharing("b", 7));
        assert!(a.is_empty() && !a.has_pending());
        a.put("state", "one");
        a.put("certificate.pem", "two");
        let rows = a.pending();
        assert!(a.has_pending() && rows.iter().all(|row| !row.sealed.contains("one")));
        let kept = News { kept: vec!["certificate.pem", "state"], ..News::default() };
        let written = [("certificate.pem", "two"), ("state", "one")];
        let written = written.map(|(name, content)| (name.to_owned(), content.to_owned())).to_vec();
        assert_eq!((a.receive(&rows, true), a.has_pending()), (kept, false));
        assert_eq!(b.receive(&rows, false), News { written, ..News::default() });
        assert_eq!((a.receive(&rows, true), b.receive(&rows, false)), (News::default(), News::default()));
        // The same text again has another nonce.
        a.put("state", "one");
        assert_ne!(a.pending()[0].sealed, rows[1].sealed);
    }

    #[test]
    fn what_is_not_written_ends_with_the_duty() {
        let (mut a, mut b) = (sharing("a", 7), sharing("b", 7));
        a.put("state", "of a");
        b.put("state", "of b");
        let rows = b.pending();
        // While a has the duty, its own comes behind that of b.
        assert_eq!((a.receive(&rows, true), a.has_pending()), (News::default(), true));
        let news = a.receive(&rows, false);
        assert_eq!(news.written, [("state".to_owned(), "of b".to_owned())]);
        assert!(!a.has_pending());
    }

    #[test]
    fn a_row_of_another_key_or_place_is_not_used() {
        let (mut a, mut other) = (sharing("a", 7), sharing("b", 8));
        a.put("state", "one");
        let rows = a.pending();
        assert_eq!(other.receive(&rows, false), News::default());
        let moved = CertificateRow { name: "account.pem".to_owned(), ..rows[0].clone() };
        let no_seal = CertificateRow { name: "challenges".to_owned(), sealed: "AAAA".to_owned() };
        assert_eq!(sharing("b", 7).receive(&[moved, no_seal], false), News::default());
    }
}
