//! A certificate in a cluster: what the rows say is used on every node, and the node with the duty writes them.
//!
//! ```text
//! without the duty: rows ──► certificate and challenges in use
//! with it:          rows ──► the order goes on ──► changes ──written──► rows ──► …
//! ```
//! Owns what a row means here, and when an order may go on. Leaves the seal to `sharing`.
//! Invariant: an authority is asked to look at a challenge only after all nodes had time to show it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Renewal;
use super::storage::{ACCOUNT_KEY, CERTIFICATE, CHALLENGES, STATE, State};
use crate::base::crypto::pem;
use crate::base::time::{Now, UnixS, rfc3339};
use crate::model::certificate::SharedCertificate;
use crate::model::job::CertificateReport;
use crate::proto::acme::{Challenge, Method};
use crate::proto::tls::server::Acceptor;

/// From the moment when this node has applied the rows of a challenge until it may be looked at: the others apply them within some
/// milliseconds, and an authority may ask any of them. A node that is further behind makes the order fail, which is tried again.
const SPREAD: Duration = Duration::from_secs(3);

impl Renewal {
    /// Uses what the rows say. Returns whether this server may order, or go on with an order, now. Alone it always may.
    pub(super) fn may_order(
        &mut self,
        shared: Option<&SharedCertificate>,
        now: Now,
        report: &mut CertificateReport,
    ) -> bool {
        let Some(sharing) = &mut self.sharing else { return true };
        let Some(SharedCertificate { has_duty, rows }) = shared else { return false };
        let news = sharing.receive(rows, *has_duty);
        let is_first = *has_duty && sharing.is_empty();
        if is_first {
            self.adopt();
        }
        let is_over = self.order.is_some() && (!has_duty || !news.written.is_empty());
        if is_over {
            log::info!(target: "natter::acme", "another node orders the certificate now");
            self.order = None;
        }
        let is_stale = *has_duty && self.order.is_none() && !self.challenges.is_empty();
        for (name, content) in &news.written {
            self.use_row(name, content);
        }
        if is_stale {
            // Of an order that ended with its node.
            self.challenges = Vec::new();
            self.share_challenges();
        }
        if !news.written.is_empty() || is_stale || is_first {
            match self.show(&self.challenges) {
                Ok(acceptor) => report.acceptor = Some(acceptor),
                Err(reason) => {
                    log::error!(target: "natter::acme", "what the rows of the certificate say can't be shown: {reason}");
                    self.problem = Some(reason);
                }
            }
        }
        if news.kept.contains(&CHALLENGES) && self.order.is_some() {
            self.spread_at = Some(now.instant + SPREAD);
        }
        *has_duty && !self.is_waiting(now.instant, report)
    }

    /// For a row that is not written yet, or for other nodes.
    fn is_waiting(&mut self, now: Instant, report: &mut CertificateReport) -> bool {
        if self.sharing.as_ref().is_some_and(|sharing| sharing.has_pending()) {
            return true;
        }
        let left = self.spread_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        if left.is_zero() {
            self.spread_at = None;
        } else {
            report.next_in = Some(left);
        }
        !left.is_zero()
    }

    /// The first node with the duty begins with what it had as a natter alone, or with a new account.
    fn adopt(&mut self) {
        for name in [ACCOUNT_KEY, STATE, CERTIFICATE] {
            match self.storage.read(name) {
                Ok(Some(content)) => {
                    if self.use_row(name, &content) && name == CERTIFICATE {
                        self.put(name, &content);
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    let path = self.storage.path(name);
                    log::warn!(target: "natter::acme", "{} can't be read, and is made anew: {error}", path.display());
                }
            }
        }
        let account_key = pem::write_private_key(self.account_key.pkcs8().expose());
        self.put(ACCOUNT_KEY, account_key.expose());
        self.put(STATE, &self.state.to_text());
    }

    /// Has all nodes keep it. Returns whether there are others.
    fn put(&mut self, name: &'static str, content: &str) -> bool {
        let Some(sharing) = &mut self.sharing else { return false };
        sharing.put(name, content);
        true
    }

    /// Returns `false`, with a line in the log, if it can't be used.
    fn use_row(&mut self, name: &str, content: &str) -> bool {
        let is_used = match name {
            ACCOUNT_KEY => super::signing_key(content, &self.options.curve)
                .map(|key| self.account_key = Arc::new(key))
                .is_some(),
            STATE => State::read(content).map(|state| self.use_state(state)).is_some(),
            CERTIFICATE => self.use_certificate(content),
            CHALLENGES => read_challenges(content).map(|challenges| self.challenges = challenges).is_some(),
            // A newer natter may have more of them.
            _ => true,
        };
        if !is_used {
            log::error!(target: "natter::acme", "the row {name} of the certificate can't be used: this node keeps what it has");
        }
        is_used
    }

    fn use_certificate(&mut self, pem: &str) -> bool {
        let Ok(acceptor) = Acceptor::new(pem.as_bytes(), pem.as_bytes(), &self.tickets) else { return false };
        let not_after = acceptor.facts().map_or(UnixS(0), |facts| facts.not_after);
        log::info!(target: "natter::acme", "the certificate of the cluster is in use; it ends at {}", rfc3339(not_after.ms()));
        self.acceptor = acceptor;
        (self.suggestion, self.problem) = (None, None);
        true
    }

    /// Stores one of the files, or the row that a cluster has in its place.
    pub(super) fn keep(&mut self, name: &'static str, content: &str) -> io::Result<()> {
        if self.put(name, content) { Ok(()) } else { self.storage.write(name, content) }
    }

    /// Has all nodes show what this one shows. Returns whether there are others.
    pub(super) fn share_challenges(&mut self) -> bool {
        let line =
            |it: &Challenge| [it.method.name(), &it.domain, &it.token, &it.key_authorization].join(" ");
        let lines: Vec<String> = self.challenges.iter().map(line).collect();
        self.put(CHALLENGES, &lines.join("\n"))
    }
}

/// What [`Renewal::share_challenges`] has written. Neither a domain nor a token has a blank.
fn read_challenges(text: &str) -> Option<Vec<Challenge>> {
    let read = |line: &str| {
        let mut words = line.split(' ');
        let mut word = || words.next().map(str::to_owned);
        let (method, domain, token, key_authorization) = (word()?, word()?, word()?, word()?);
        Some(Challenge { domain, method: Method::of(&method)?, token, key_authorization })
    };
    text.lines().map(read).collect()
}
