//! The certificate of https: a worker reads it again when its files change or an operator asks, and the runtime uses it.
//!
//! Owns what is known of the certificate in use, and which warnings follow. Invariant: a certificate that can't be used replaces
//! none, so the server keeps the one that it has.

use crate::model::job::{Done, Job};
use crate::model::metrics::ErrorKind;
use crate::model::settings::Https;
use crate::server::background::tasks;
use crate::server::calls::{Call, Caller, Next, Periodic, Task};
use crate::server::contract::Effect;
use crate::server::core::Core;

/// Days before the end of a certificate from which `/readyz` warns: an operator who renews it by hand has two weeks.
const WARNED_DAYS: u64 = 14;
const DAY_S: u64 = 86_400;

/// The certificate in use.
#[derive(Debug, Default)]
pub struct Certificate {
    /// Unix seconds; `None` without https.
    not_after: Option<u64>,
    /// The next run reads the files in any case.
    always: bool,
    /// Why the files on disk are not in use.
    problem: Option<String>,
}

impl Certificate {
    pub fn new(https: Option<&Https>) -> Certificate {
        Certificate { not_after: https.map(|https| https.not_after), ..Certificate::default() }
    }

    /// Unix seconds; 0 without https.
    pub fn not_after(&self) -> u64 {
        self.not_after.unwrap_or_default()
    }

    /// What an operator should know of it.
    pub fn warnings(&self, now_s: u64) -> Vec<String> {
        let mut warnings: Vec<String> = self.problem.iter().cloned().collect();
        if let Some(not_after) = self.not_after {
            match not_after.checked_sub(now_s) {
                None => warnings.push("the certificate has expired: clients refuse to connect".to_owned()),
                Some(left) if left < WARNED_DAYS * DAY_S => {
                    warnings.push(format!("the certificate expires in {} days", left / DAY_S));
                }
                Some(_) => {}
            }
        }
        warnings
    }
}

/// An operator asks for it to be read again.
pub fn reload(core: &mut Core) {
    if core.certificate.not_after.is_some() {
        core.certificate.always = true;
        tasks::wake(core, Periodic::Certificate);
    }
}

pub fn run(core: &mut Core) -> bool {
    if core.certificate.not_after.is_none() || core.draining {
        return false;
    }
    let always = std::mem::take(&mut core.certificate.always);
    let next = Next::Task(Task::Run(Periodic::Certificate));
    let ticket = core.calls.insert(Call { caller: Caller::Server, next });
    core.effects.push_back(Effect::Work { ticket, job: Job::LoadCertificate { always } });
    true
}

/// The worker has looked at the files.
pub fn loaded(core: &mut Core, done: Done) {
    match done {
        Done::CertificateLoaded(acceptor) => {
            core.certificate.not_after = Some(acceptor.facts().not_after);
            core.certificate.problem = None;
            core.effects.push_back(Effect::UseCertificate(acceptor));
        }
        Done::CertificateRefused(problem) => {
            core.metrics.trouble(ErrorKind::Certificate);
            core.certificate.problem = Some(problem);
        }
        // The files of the certificate in use came back.
        Done::CertificateUnchanged => core.certificate.problem = None,
        _ => {}
    }
    tasks::ended(core, Periodic::Certificate, None);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_comes_near_is_told() {
        let certificate = |not_after, problem: Option<&str>| Certificate {
            not_after,
            always: false,
            problem: problem.map(str::to_owned),
        };
        let now = 1_000 * DAY_S;
        assert!(certificate(None, None).warnings(now).is_empty());
        assert!(certificate(Some(now + 14 * DAY_S), None).warnings(now).is_empty());
        assert_eq!(
            certificate(Some(now + 14 * DAY_S - 1), Some("why")).warnings(now),
            ["why", "the certificate expires in 13 days"]
        );
        assert!(certificate(Some(now - 1), None).warnings(now)[0].contains("has expired"));
    }
}
