//! The certificate of https: a worker reads it again when its files change or orders the next one, and the runtime uses it.
//!
//! Owns what is known of the certificate in use, which warnings follow, and what plain requests of an authority are answered. Leaves
//! to the worker when there is something to do. Invariant: a certificate that can't be used replaces none, so the server keeps the
//! one that it has.

use std::sync::Arc;
use std::time::Duration;

use crate::base::time::UnixS;
use crate::model::certificate::{CertificateRow, CertificateRows, KeepCertificate, SharedCertificate};
use crate::model::job::{CertificateReport, Done, HttpChallenge, Job};
use crate::model::metrics::ErrorKind;
use crate::model::operation::{Answer, Operation, Refusal};
use crate::model::settings::{Https, Validity};
use crate::proto::tls::server::Acceptor;
use crate::server::background::tasks;
use crate::server::calls::{Call, Caller, Next, Periodic, Task};
use crate::server::contract::Effect;
use crate::server::core::Core;

/// Days before the end of a certificate from which `/readyz` warns: an operator who renews it by hand has two weeks.
const WARNED_DAYS: u64 = 14;
/// The part of its life from which it warns, if that is less: some authorities give certificates of six days.
const WARNED_PART: u64 = 4;
const DAY_S: u64 = 86_400;
/// The wait after rows could not be written: the log is down, or the duty is another node's.
const WRITE_AGAIN: Duration = Duration::from_secs(2);
/// Where an authority looks (RFC 8555 §8.3).
const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

/// What is known of the certificate.
#[derive(Debug, Default)]
pub struct Certificate {
    /// There is https.
    wanted: bool,
    /// Of the certificate in use; `None` before the first order is done.
    validity: Option<Validity>,
    /// An operator has asked for it.
    always: bool,
    /// Why there is none, or no newer one.
    problem: Option<String>,
    challenges: Vec<HttpChallenge>,
    /// Orders that failed, and those that gave a certificate.
    orders: [u64; 2],
    /// What the nodes of a cluster share.
    rows: CertificateRows,
    /// Changed ones are being written.
    is_writing: bool,
}

impl Certificate {
    pub fn new(https: Option<&Https>, rows: CertificateRows) -> Certificate {
        let validity = https.and_then(|https| https.validity);
        Certificate { wanted: https.is_some(), validity, rows, ..Certificate::default() }
    }

    /// Unix seconds; 0 without a certificate.
    pub fn not_after(&self) -> UnixS {
        self.validity.map(|validity| validity.not_after).unwrap_or_default()
    }

    /// Orders that failed, and those that gave a certificate.
    pub fn orders(&self) -> [u64; 2] {
        self.orders
    }

    /// What an authority that asks for this path is answered.
    pub fn challenge(&self, path: &str) -> Option<&HttpChallenge> {
        let token = path.strip_prefix(CHALLENGE_PATH)?;
        self.challenges.iter().find(|challenge| challenge.token == token)
    }

    /// Why no client can connect yet; `None` if there is a certificate.
    pub fn missing(&self) -> Option<&str> {
        let under_way = "the certificate of this server is being ordered";
        (self.wanted && self.validity.is_none()).then(|| self.problem.as_deref().unwrap_or(under_way))
    }

    /// What an operator should know of it.
    pub fn warnings(&self, now: UnixS) -> Vec<String> {
        let mut warnings: Vec<String> = self.problem.iter().cloned().collect();
        if let Some(Validity { not_before, not_after }) = self.validity {
            let warned = (WARNED_DAYS * DAY_S).min(not_after.since(not_before) / WARNED_PART);
            match not_after.0.checked_sub(now.0) {
                None => warnings.push("the certificate has expired: clients refuse to connect".to_owned()),
                Some(left) if left < warned => {
                    warnings.push(format!("the certificate expires in {} days", left / DAY_S));
                }
                Some(_) => {}
            }
        } else if self.problem.is_none() {
            warnings.extend(self.missing().map(str::to_owned));
        }
        warnings
    }
}

/// An operator asks for it to be read again, or ordered now.
pub fn reload(core: &mut Core) {
    if core.background.certificate.wanted {
        core.background.certificate.always = true;
        tasks::wake(core, Periodic::Certificate);
    }
}

pub fn run(core: &mut Core) -> bool {
    if !core.background.certificate.wanted || core.is_draining() {
        return false;
    }
    let always = std::mem::take(&mut core.background.certificate.always);
    let next = Next::Task(Task::Run(Periodic::Certificate));
    let ticket = core.calls.insert(Call { caller: Caller::Server, next });
    let shared = core.is_in_cluster().then(|| {
        let rows = Arc::clone(&core.background.certificate.rows);
        Box::new(SharedCertificate { has_duty: core.has_duty(), rows })
    });
    core.effects
        .push_back(Effect::Work { ticket, job: Job::RenewCertificate { always, at: core.now, shared } });
    true
}

/// A node has changed rows, as every node knows now.
pub fn on_kept(core: &mut Core, kept: &CertificateRows) {
    if kept.is_empty() {
        return;
    }
    let certificate = &mut core.background.certificate;
    let is_kept = |row: &&CertificateRow| kept.iter().any(|other| other.name == row.name);
    let others = certificate.rows.iter().filter(|row| !is_kept(row));
    certificate.rows = others.chain(kept.iter()).cloned().collect();
    if certificate.wanted {
        tasks::wake(core, Periodic::Certificate);
    }
}

/// What this node has changed is written, or it could not be: then it is tried again.
pub fn written(core: &mut Core, result: &Result<Answer, Refusal>) {
    core.background.certificate.is_writing = false;
    let is_kept = matches!(result, Ok(Answer::KeepCertificate(kept)) if !kept.is_empty());
    if !is_kept {
        core.background.tasks.run_by(Periodic::Certificate, core.now.instant + WRITE_AGAIN);
    }
}

/// The worker has done what it can do now.
pub fn renewed(core: &mut Core, done: Done) {
    let mut wait = None;
    if let Done::Certificate(report) = done {
        let CertificateReport { acceptor, challenges, problem, failed, issued, next_in, rows } = *report;
        core.background.certificate.challenges = challenges;
        if failed {
            core.metrics.trouble(ErrorKind::Certificate, problem.as_deref().unwrap_or_default());
        }
        core.background.certificate.problem = problem;
        for (count, happened) in core.background.certificate.orders.iter_mut().zip([failed, issued]) {
            *count += u64::from(happened);
        }
        if let Some(acceptor) = acceptor {
            core.background.certificate.validity = validity(&acceptor);
            core.effects.push_back(Effect::UseCertificate(Box::new(acceptor)));
        }
        wait = next_in;
        write(core, rows);
    }
    tasks::ended(core, Periodic::Certificate, wait);
}

/// Has all nodes keep these rows. One write at a time: what changes meanwhile comes again with the next report.
fn write(core: &mut Core, rows: Vec<CertificateRow>) {
    let Some(cluster) = core.settings.cluster.as_ref().filter(|_| !rows.is_empty()) else { return };
    if !std::mem::replace(&mut core.background.certificate.is_writing, true) {
        let keep = KeepCertificate { node: cluster.node.clone(), rows };
        core.ask_store(Caller::Server, keep.into_command(), Next::Task(Task::KeepCertificate));
    }
}

fn validity(acceptor: &Acceptor) -> Option<Validity> {
    acceptor.facts().map(Validity::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_comes_near_is_told() {
        let now = UnixS(1_000 * DAY_S);
        let certificate = |days: i64, life: u64, problem: Option<&str>| {
            let not_after = now.0.saturating_add_signed(days * DAY_S as i64) - 1;
            Certificate {
                wanted: true,
                validity: Some(Validity {
                    not_before: UnixS(not_after - life * DAY_S),
                    not_after: UnixS(not_after),
                }),
                problem: problem.map(str::to_owned),
                ..Certificate::default()
            }
        };
        assert!(Certificate::default().warnings(now).is_empty());
        assert!(certificate(15, 90, None).warnings(now).is_empty());
        assert_eq!(
            certificate(14, 90, Some("why")).warnings(now),
            ["why", "the certificate expires in 13 days"]
        );
        assert!(certificate(0, 90, None).warnings(now)[0].contains("has expired"));
        // Of six days.
        assert!(certificate(2, 6, None).warnings(now).is_empty());
        assert_eq!(certificate(1, 6, None).warnings(now), ["the certificate expires in 0 days"]);
    }

    #[test]
    fn without_a_certificate_it_says_why() {
        let mut certificate = Certificate { wanted: true, ..Certificate::default() };
        assert_eq!(certificate.warnings(UnixS(0)), ["the certificate of this server is being ordered"]);
        certificate.problem = Some("why".to_owned());
        assert_eq!(
            (certificate.missing(), certificate.warnings(UnixS(0))),
            (Some("why"), vec!["why".to_owned()])
        );
        assert_eq!(Certificate::default().missing(), None);
    }

    #[test]
    fn a_challenge_is_found_by_its_path() {
        let challenge = HttpChallenge { token: "t0ken".to_owned(), content: "t0ken.thumb".to_owned() };
        let certificate = Certificate { challenges: vec![challenge.clone()], ..Certificate::default() };
        assert_eq!(certificate.challenge("/.well-known/acme-challenge/t0ken"), Some(&challenge));
        for other in ["/t0ken", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/t0ken/"] {
            assert_eq!(certificate.challenge(other), None);
        }
    }
}
