//! The servers of a cluster, in the order in which they are tried, and the pauses between attempts.
//!
//! Leaves the attempts and the clock to the caller.
//! Invariant: after a failure another server is next, if there is one; each is tried once before any is waited for; and no pause
//! is longer than [`PAUSE_MAX`].

use std::time::Duration;

/// Servers that may be listed: a stream has at most five replicas.
const SERVERS_MAX: usize = 16;
/// The first pause, after all servers have failed. It doubles with each further round.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
    /// `tls://`: TLS is demanded.
    pub tls: bool,
}

#[derive(Clone, Debug)]
pub struct Servers {
    list: Vec<Server>,
    at: usize,
    /// Failures since the last success.
    failures: usize,
}

impl Servers {
    /// `None` if the list is empty or too long.
    pub fn new(list: Vec<Server>) -> Option<Servers> {
        (1..=SERVERS_MAX).contains(&list.len()).then_some(Servers { list, at: 0, failures: 0 })
    }

    pub fn current(&self) -> &Server {
        &self.list[self.at]
    }

    /// The current server failed: the next one is current. Returns the pause before it is tried.
    pub fn failed(&mut self) -> Duration {
        self.at = (self.at + 1) % self.list.len();
        self.failures = self.failures.saturating_add(1);
        match self.failures / self.list.len() {
            0 => Duration::ZERO,
            // A list of one server pauses after its first failure; a longer one once a round.
            _ if !self.failures.is_multiple_of(self.list.len()) => Duration::ZERO,
            rounds => PAUSE_MAX.min(PAUSE_MIN * (1 << rounds.min(8)) / 2),
        }
    }

    /// Whether each server has failed since one has served.
    pub fn have_all_failed(&self) -> bool {
        self.failures >= self.list.len()
    }

    /// The current server serves.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(hosts: &[&str]) -> Option<Servers> {
        Servers::new(
            hosts.iter().map(|host| Server { host: (*host).to_owned(), port: 4_222, tls: false }).collect(),
        )
    }

    #[test]
    fn servers_are_tried_in_their_order_and_pauses_are_bounded() {
        let mut all = servers(&["a", "b", "c"]).expect("a list");
        let mut tried = Vec::new();
        let mut waited = Vec::new();
        for _ in 0..24 {
            tried.push(all.current().host.clone());
            waited.push(all.failed().as_millis());
        }
        assert_eq!(tried[..7], ["a", "b", "c", "a", "b", "c", "a"]);
        assert_eq!(waited[..9], [0, 0, 100, 0, 0, 200, 0, 0, 400]);
        assert_eq!(waited[23], PAUSE_MAX.as_millis());
        assert!(all.have_all_failed());
        all.succeeded();
        assert_eq!(all.failed(), Duration::ZERO);
        assert!(!all.have_all_failed());
        let mut one = servers(&["a"]).expect("a list");
        assert_eq!([one.failed(), one.failed()], [PAUSE_MIN, PAUSE_MIN * 2]);
        assert!(servers(&[]).is_none() && servers(&["a"; SERVERS_MAX + 1]).is_none());
    }
}
