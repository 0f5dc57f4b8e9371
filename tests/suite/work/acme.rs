//! The worker that orders certificates, against an authority on a real socket. The time is the test's: no wait is waited for.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use natter::base::crypto::SystemEntropy;
use natter::base::crypto::p256::P256;
use natter::base::time::{Now, UnixS};
use natter::model::job::{CertificateReport, Done, Job};
use natter::work::Trust;
use natter::work::acme::{Renewer, RenewerOptions};

use crate::support::TestDir;
use crate::support::authority::{Authority, Conduct, Look, ca_file};
use crate::support::tls::NAME;

const DAY: u64 = 86_400;
const HOUR: Duration = Duration::from_secs(3_600);
/// In Unix seconds.
const START: u64 = 1_800_000_000;

fn conduct() -> Conduct {
    Conduct {
        look: Look::Trust,
        offers: vec!["dns-01", "http-01", "tls-alpn-01"],
        refused_nonces: 0,
        limited_s: None,
        slow_polls: 0,
        forgets_orders: false,
        validity: (START, START + 90 * DAY),
        window: None,
    }
}

/// A worker, its authority, and a clock that is set by hand.
struct Stage {
    dir: TestDir,
    authority: Authority,
    renewer: Renewer,
    now: Now,
}

fn open(dir: &TestDir, authority: &Authority, domains: &[&str]) -> Renewer {
    Renewer::open(options(dir, authority, domains)).expect("a folder").0
}

fn options(dir: &TestDir, authority: &Authority, domains: &[&str]) -> RenewerOptions {
    let pem = std::fs::read(ca_file()).expect("a file");
    RenewerOptions {
        folder: dir.path().join("acme"),
        directory: authority.directory.clone(),
        domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        email: Some("me@example.org".to_owned()),
        answers_http: true,
        trust: Trust::new(Some(&pem)).expect("an authority"),
        curve: P256::new(&SystemEntropy::new()),
        seal: None,
    }
}

impl Stage {
    fn new(conduct: Conduct) -> Stage {
        let (dir, authority) = (TestDir::new(), Authority::start(conduct));
        let renewer = open(&dir, &authority, &[NAME]);
        let now = Now { instant: Instant::now(), unix_ms: UnixS(START).ms() };
        Stage { dir, authority, renewer, now }
    }

    fn run(&mut self, always: bool) -> CertificateReport {
        match self.renewer.run(Job::RenewCertificate { always, at: self.now, shared: None }) {
            Done::Certificate(report) => *report,
            done => panic!("{done:?}"),
        }
    }

    /// Runs and waits as the server does, until there is nothing to do soon.
    fn settle(&mut self) -> CertificateReport {
        for _ in 0..2_000 {
            let report = self.run(false);
            let Some(wait) = report.next_in else { return report };
            // The worker's own time counts, too, which this clock does not show.
            self.now = self.now.later(wait + Duration::from_millis(20));
        }
        panic!("there is always more to do");
    }

    fn later(&mut self, by: Duration) -> &mut Stage {
        self.now = self.now.later(by);
        self
    }

    /// A restart of the server.
    fn restart(&mut self) -> &mut Stage {
        self.renewer = open(&self.dir, &self.authority, &[NAME]);
        self
    }

    fn orders(&self) -> usize {
        self.authority.asked("POST /new-order")
    }
}

/// Whether the worker has ordered and got a certificate; its end in days after the start.
#[track_caller]
fn end_of(report: &CertificateReport) -> u64 {
    assert!(report.issued && !report.failed && report.problem.is_none(), "{report:?}");
    let facts = report.acceptor.as_ref().and_then(|acceptor| acceptor.facts()).expect("a certificate");
    facts.not_after.since(UnixS(START)) / DAY
}

#[test]
fn a_certificate_is_ordered_once_stored_and_renewed_in_time() {
    let mut stage = Stage::new(conduct());
    let report = stage.settle();
    assert_eq!(end_of(&report), 90);
    assert_eq!(report.challenges, [], "nothing is published any more");
    assert_eq!(stage.authority.chosen(), ["tls-alpn-01"]);
    let folder = stage.dir.path().join("acme");
    let mode = |name: &str| folder.join(name).metadata().expect("a file").permissions().mode() & 0o777;
    for file in ["account.pem", "certificate.pem", "state.json"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    // It is not due, now and after a restart.
    for _ in 0..2 {
        let report = stage.restart().settle();
        assert!(report.acceptor.is_none() && report.problem.is_none() && stage.orders() == 1);
        stage.later(HOUR * 24 * 29);
    }
    stage.authority.conduct(|it| it.validity = (START + 60 * DAY, START + 150 * DAY));
    assert_eq!(end_of(&stage.later(HOUR * 24 * 2).settle()), 150);
    assert_eq!((stage.orders(), stage.authority.accounts()), (2, 1));
    assert_eq!(stage.authority.asked("POST /new-account"), 1, "an account is registered once");
    stage.authority.judge();
}

#[test]
fn another_name_is_another_certificate() {
    let mut stage = Stage::new(conduct());
    end_of(&stage.settle());
    stage.renewer = open(&stage.dir, &stage.authority, &[NAME, "b.example.org"]);
    end_of(&stage.settle());
    assert_eq!(stage.authority.chosen().len(), 3);
    stage.renewer = open(&stage.dir, &stage.authority, &["b.example.org"]);
    assert!(stage.settle().acceptor.is_none(), "the certificate is for more, which is enough");
    stage.authority.judge();
}

#[test]
fn refused_nonces_and_slow_orders_take_longer() {
    let mut stage = Stage::new(Conduct { refused_nonces: 5, slow_polls: 40, ..conduct() });
    let before = stage.now;
    assert_eq!(end_of(&stage.settle()), 90);
    assert!(stage.now.instant - before.instant >= Duration::from_secs(40));
    stage.authority.judge();
}

#[test]
fn a_rate_limit_holds_over_haste_and_restarts() {
    let mut stage = Stage::new(Conduct { limited_s: Some(7_200), ..conduct() });
    let report = stage.settle();
    let problem = report.problem.expect("a problem");
    assert!(report.failed && problem.contains("too many orders"), "{problem}");
    assert!(problem.contains("2027-01-15T10:00:"), "{problem}");
    assert_eq!(stage.orders(), 1);
    stage.authority.conduct(|it| it.limited_s = None);
    for _ in 0..3 {
        stage.restart().later(Duration::from_secs(2_000)).run(true);
        assert_eq!(stage.orders(), 1);
    }
    assert_eq!(end_of(&stage.later(Duration::from_secs(1_300)).settle()), 90);
    stage.authority.judge();
}

#[test]
fn failing_looks_are_few_take_turns_and_end_well() {
    let mut stage = Stage::new(Conduct { look: Look::Fail("timeout during connect"), ..conduct() });
    let report = stage.settle();
    let problem = report.problem.expect("a problem");
    assert!(
        problem.contains("chat.example.org: the authority's look by tls-alpn-01 failed: timeout"),
        "{problem}"
    );
    // As often as the server asks in an hour, and an operator who is impatient: still four orders.
    for _ in 0..170 {
        stage.later(Duration::from_secs(20)).restart().run(true);
        stage.settle();
    }
    assert_eq!(stage.orders(), 4);
    stage.authority.conduct(|it| it.look = Look::Trust);
    stage.later(HOUR);
    assert_eq!(end_of(&stage.settle()), 90);
    assert!(stage.run(false).problem.is_none());
    stage.authority.judge();
}

#[test]
fn the_other_method_is_tried_after_a_failed_look() {
    let mut stage = Stage::new(Conduct { look: Look::Fail("no"), ..conduct() });
    stage.settle();
    // What is published for HTTP-01 while the authority has not looked.
    stage.authority.conduct(|it| it.look = Look::Later);
    stage.later(Duration::from_secs(61));
    let report = stage.run(false);
    let [challenge] = &report.challenges[..] else { panic!("one challenge: {report:?}") };
    assert!(challenge.content.starts_with(&format!("{}.", challenge.token)));
    assert!(report.acceptor.is_some() && report.next_in == Some(Duration::ZERO));
    stage.authority.conduct(|it| it.look = Look::Trust);
    end_of(&stage.settle());
    assert_eq!(stage.authority.chosen(), ["tls-alpn-01", "http-01"]);
    stage.authority.judge();
}

#[test]
fn an_order_that_the_authority_forgot_is_made_again() {
    let mut stage = Stage::new(Conduct { forgets_orders: true, slow_polls: 5, ..conduct() });
    let report = stage.settle();
    assert!(report.failed && report.problem.is_some_and(|it| it.contains("the order has expired")));
    stage.authority.conduct(|it| it.forgets_orders = false);
    assert_eq!(end_of(&stage.later(Duration::from_secs(60)).settle()), 90);
    assert_eq!(stage.orders(), 2);
    stage.authority.judge();
}

#[test]
fn the_authority_says_when_to_renew() {
    let far = (START + 80 * DAY, START + 81 * DAY);
    let mut stage = Stage::new(Conduct { window: Some(far), ..conduct() });
    end_of(&stage.settle());
    assert!(stage.settle().acceptor.is_none() && stage.orders() == 1);
    let asked = || stage.authority.asked("GET /dir");
    let before = asked();
    assert!(stage.authority.replaced() == [None]);
    // Revoked: the window is over. It is found out at the next question, which an operator can ask for.
    stage.authority.conduct(|it| it.window = Some((START - DAY, START - 1)));
    stage.later(HOUR);
    assert!(stage.settle().acceptor.is_none(), "not asked again yet");
    assert_eq!(stage.authority.asked("GET /dir"), before);
    stage.later(HOUR * 6);
    assert_eq!(end_of(&stage.settle()), 90);
    let replaced = stage.authority.replaced();
    let first = natter::proto::x509::facts(&stage.authority.issued()[0]).expect("a certificate");
    assert_eq!(replaced[1], natter::proto::acme::renewal_info::name(&first));
    // The window of the new one is over, too: a suggestion hastens one order a day.
    for _ in 0..100 {
        stage.later(Duration::from_secs(800)).settle();
    }
    assert_eq!(stage.orders(), 2);
    stage.later(Duration::from_secs(7_000)).settle();
    assert_eq!(stage.orders(), 3);
    stage.authority.judge();
}

#[test]
fn an_authority_that_is_not_trusted_or_not_there_is_a_problem_and_no_more() {
    let authority = Authority::start(conduct());
    for (directory, expect) in
        [(authority.directory.as_str(), "TLS: "), ("https://127.0.0.1:1/dir", "127.0.0.1: ")]
    {
        let dir = TestDir::new();
        let options = RenewerOptions {
            folder: dir.path().join("acme"),
            directory: directory.to_owned(),
            domains: vec![NAME.to_owned()],
            email: None,
            answers_http: false,
            trust: Trust::new(None).expect("the built-in roots"),
            curve: P256::new(&SystemEntropy::new()),
            seal: None,
        };
        let (mut renewer, acceptor) = Renewer::open(options).expect("a folder");
        assert!(acceptor.facts().is_none());
        let mut now = Now { instant: Instant::now(), unix_ms: UnixS(START).ms() };
        let problem = loop {
            let Done::Certificate(report) =
                renewer.run(Job::RenewCertificate { always: false, at: now, shared: None })
            else {
                panic!("a report")
            };
            let Some(wait) = report.next_in else { break report.problem.expect("a problem") };
            now = now.later(wait);
        };
        assert!(problem.contains(expect), "{problem}");
    }
}

/// Nodes of a cluster, and the rows that all of them have.
#[cfg(feature = "cluster")]
mod cluster {
    use std::collections::BTreeMap;

    use natter::base::seal::SealKey;
    use natter::model::certificate::{CertificateRow, SharedCertificate};
    use natter::model::node::NodeName;
    use natter::work::acme::RowSeal;

    use super::*;

    struct Nodes {
        dirs: [TestDir; 2],
        authority: Authority,
        renewers: Vec<Renewer>,
        rows: BTreeMap<String, CertificateRow>,
        /// The node that orders.
        duty: usize,
        /// Whether the log takes what is written.
        is_up: bool,
        now: Now,
    }

    impl Nodes {
        fn new(conduct: Conduct) -> Nodes {
            let dirs = [TestDir::new(), TestDir::new()];
            let authority = Authority::start(conduct);
            let now = Now { instant: Instant::now(), unix_ms: UnixS(START).ms() };
            let mut nodes = Nodes {
                dirs,
                authority,
                renewers: Vec::new(),
                rows: BTreeMap::new(),
                duty: 0,
                is_up: true,
                now,
            };
            nodes.renewers = (0..2).map(|node| nodes.open(node, 1)).collect();
            nodes
        }

        fn open(&self, node: usize, life: u128) -> Renewer {
            let name = NodeName::parse(["a", "b"][node]).expect("a name");
            let seal = Some(RowSeal { key: SealKey::new(&[7; 32]), node: name, life });
            let options = RenewerOptions { seal, ..options(&self.dirs[node], &self.authority, &[NAME]) };
            let (renewer, acceptor) = Renewer::open(options).expect("a worker");
            assert!(acceptor.facts().is_none(), "it comes with the rows");
            renewer
        }

        /// One job of a node. What it has changed is written, as far as the log takes it.
        fn run(&mut self, node: usize) -> CertificateReport {
            let rows: Vec<CertificateRow> = self.rows.values().cloned().collect();
            let shared = Some(Box::new(SharedCertificate { has_duty: node == self.duty, rows: rows.into() }));
            let job = Job::RenewCertificate { always: false, at: self.now, shared };
            let Done::Certificate(report) = self.renewers[node].run(job) else { panic!("a report") };
            if self.is_up && node == self.duty {
                for row in &report.rows {
                    self.rows.insert(row.name.clone(), row.clone());
                }
            }
            *report
        }

        /// The node with the duty goes on until there is nothing to do soon, and the time passes. `None` if `until` was true before.
        fn go_on(&mut self, mut until: impl FnMut(&mut Nodes) -> bool) -> Option<CertificateReport> {
            for _ in 0..2_000 {
                if until(self) {
                    return None;
                }
                let report = self.run(self.duty);
                match report.next_in {
                    Some(wait) => self.now = self.now.later(wait + Duration::from_millis(20)),
                    None if report.rows.is_empty() => return Some(report),
                    None => {}
                }
                if report.issued {
                    return Some(report);
                }
            }
            panic!("there is always more to do");
        }
    }

    fn end(report: &CertificateReport) -> Option<UnixS> {
        report.acceptor.as_ref()?.facts().map(|facts| facts.not_after)
    }

    #[test]
    fn one_node_orders_and_all_show_and_use_it() {
        let mut nodes = Nodes::new(Conduct { look: Look::Later, offers: vec!["http-01"], ..conduct() });
        // Who has not the duty asks nobody for anything.
        let idle = nodes.run(1);
        assert!(idle.next_in.is_none() && idle.rows.is_empty() && idle.challenges.is_empty());
        assert_eq!(nodes.authority.asked("GET /directory"), 0);
        // All show the challenge before the authority is told to look.
        assert!(nodes.go_on(|nodes| nodes.rows.contains_key("challenges")).is_none());
        let (shown, other) = (nodes.run(0).challenges, nodes.run(1));
        assert_eq!((shown.len(), &other.challenges), (1, &shown));
        assert!(nodes.authority.chosen().is_empty(), "the others need time to show it");
        let secret = &shown[0].content;
        assert!(nodes.rows.values().all(|row| !row.sealed.contains(secret)));
        assert!(nodes.go_on(|nodes| nodes.authority.chosen() == ["http-01"]).is_none());
        nodes.authority.conduct(|it| it.look = Look::Trust);
        let issued = nodes.go_on(|_| false).expect("a report");
        assert_eq!(end_of(&issued), 90);
        nodes.run(0);
        let used = nodes.run(1);
        assert_eq!((end(&used), used.challenges.len(), used.problem), (end(&issued), 0, None));
        // A node that starts has it at once.
        nodes.renewers[1] = nodes.open(1, 2);
        assert_eq!(end(&nodes.run(1)), end(&issued));
        assert!(nodes.run(1).acceptor.is_none(), "nothing is new");

        // The next one is ordered by the other node, with the same account.
        nodes.duty = 1;
        nodes.now = nodes.now.later(Duration::from_secs(61 * DAY));
        nodes.authority.conduct(|it| it.validity = (START + 60 * DAY, START + 150 * DAY));
        let next = nodes.go_on(|_| false).expect("a report");
        assert_eq!(end_of(&next), 150);
        nodes.run(1);
        assert_eq!(end(&nodes.run(0)), end(&next));
        assert_eq!(
            (nodes.authority.asked("POST /new-order"), nodes.authority.asked("POST /new-account")),
            (2, 1)
        );
        assert!(nodes.dirs.iter().all(|dir| !dir.path().join("acme").exists()), "no file");
        nodes.authority.judge();
    }

    #[test]
    fn an_order_ends_with_the_duty_and_waits_for_the_log() {
        let mut nodes = Nodes::new(Conduct { look: Look::Later, offers: vec!["http-01"], ..conduct() });
        // While nothing can be written, nobody is asked for an order.
        nodes.is_up = false;
        for _ in 0..3 {
            let report = nodes.run(0);
            assert!(!report.rows.is_empty() && report.next_in.is_none());
        }
        assert_eq!(nodes.authority.asked("GET /directory"), 0);
        nodes.is_up = true;
        assert!(nodes.go_on(|nodes| nodes.authority.chosen() == ["http-01"]).is_none());
        let shown = nodes.run(0).challenges;
        // The other one orders anew, and shows only its own.
        nodes.duty = 1;
        assert!(nodes.run(0).rows.is_empty(), "it has given up");
        nodes.authority.conduct(|it| it.look = Look::Trust);
        let issued = nodes.go_on(|_| false).expect("a report");
        nodes.run(1);
        let used = nodes.run(0);
        assert_eq!((end(&used), used.challenges.len()), (end(&issued), 0));
        assert_eq!(shown.len(), 1);
        assert_eq!(nodes.authority.asked("POST /new-account"), 1);
    }

    #[test]
    fn the_certificate_of_a_natter_alone_goes_on_in_a_cluster() {
        let mut nodes = Nodes::new(conduct());
        let mut alone = open(&nodes.dirs[0], &nodes.authority, &[NAME]);
        let issued = loop {
            let job = Job::RenewCertificate { always: false, at: nodes.now, shared: None };
            let Done::Certificate(report) = alone.run(job) else { panic!("a report") };
            match report.next_in {
                Some(wait) => nodes.now = nodes.now.later(wait + Duration::from_millis(20)),
                None => break report,
            }
        };
        let first = nodes.run(0);
        assert_eq!(end(&first), end(&issued));
        nodes.go_on(|_| false);
        assert_eq!(end(&nodes.run(1)), end(&issued));
        assert_eq!(nodes.authority.asked("POST /new-order"), 1);
    }
}
