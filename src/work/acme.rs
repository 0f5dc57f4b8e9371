//! Looks after a certificate from an authority: orders it, stores it, and orders the next one in time.
//!
//! One job does what can be done now: requests until something has to be published or waited for. So no wait holds a thread, and
//! the server publishes before the authority looks. Owns the requests and DATA_DIR/acme; `proto::acme` decides what and when.
//!
//! In a cluster the node with the duty does this for all. Instead of files there are rows ([`sharing`]), which each node has: it uses the
//! certificate and shows the challenges that they say, whoever has written them. What the node with the duty changes is written before
//! it goes on.
//! Invariant: the certificate in use is replaced only by one that can be used.

mod cluster;
#[cfg(not(feature = "cluster"))]
#[path = "acme/no_sharing.rs"]
mod sharing;
#[cfg(feature = "cluster")]
mod sharing;
mod storage;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use self::sharing::RowSeal;
use self::sharing::Sharing;
use self::storage::{ACCOUNT_KEY, CERTIFICATE, STATE, State, Storage};
use super::exchange::exchange;
use super::wire::Trust;
use crate::base::crypto::p256::{P256, SigningKey};
use crate::base::crypto::pem;
use crate::base::time::{Now, UnixS, rfc3339};
use crate::model::job::{CertificateReport, Done, HttpChallenge, Job};
use crate::proto::acme::certificate;
use crate::proto::acme::order::{Action, Failure, Order, Request, Wanted, What};
use crate::proto::acme::renewal_info::{self, Suggestion};
use crate::proto::acme::schedule::{Record, Schedule};
use crate::proto::acme::{Challenge, Method, jws, message};
use crate::proto::http::client::{Ask, Endpoint, Response, ResponseReader};
use crate::proto::tls::server::{Acceptor, ChallengeCertificate, Tickets};

/// Time limit of one request to the authority, connection included.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// Seconds between two orders that the authority's suggestion makes earlier: a suggestion that is wrong for every certificate must
/// not order one after the other.
const HASTEN_EVERY: u64 = 86_400;
/// The fields of a response that ACME reads.
const FIELDS: &[&str] = &["location", "replay-nonce", "retry-after"];

#[derive(Clone)]
pub struct RenewerOptions {
    /// DATA_DIR/acme.
    pub folder: PathBuf,
    pub directory: String,
    pub domains: Vec<String>,
    pub email: Option<String>,
    /// Whether there is a port of plain requests.
    pub answers_http: bool,
    pub trust: Trust,
    /// For keys.
    pub curve: P256,
    /// In a cluster.
    pub seal: Option<RowSeal>,
}

/// The worker. A thread that takes over after a panic goes on with what is known.
#[derive(Clone)]
pub struct Renewer(Arc<Mutex<Renewal>>);

struct Renewal {
    options: RenewerOptions,
    storage: Storage,
    /// In a cluster, instead of files.
    sharing: Option<Sharing>,
    /// What is shown is on its way to the other nodes until then.
    spread_at: Option<Instant>,
    state: State,
    account_key: Arc<SigningKey>,
    tickets: Tickets,
    /// With the certificate in use, and no challenge.
    acceptor: Acceptor,
    schedule: Schedule,
    order: Option<Order>,
    /// What is published for the order.
    challenges: Vec<Challenge>,
    /// By which methods the next order proves the domains.
    methods: Vec<Method>,
    suggestion: Option<Suggestion>,
    /// Until then no suggestion makes an order earlier.
    hasten_again_at: UnixS,
    problem: Option<String>,
}

impl fmt::Debug for Renewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewer(..)")
    }
}

impl Renewer {
    /// Reads what is stored, and makes the key of the account if there is none. Returns what connections are accepted with until
    /// there is a newer certificate.
    pub fn open(options: RenewerOptions) -> Result<(Renewer, Acceptor), String> {
        let tickets = Tickets::new().map_err(|error| error.to_string())?;
        let mut methods = vec![Method::TlsAlpn01];
        if options.answers_http {
            methods.push(Method::Http01);
        }
        let mut renewal = Renewal {
            schedule: Schedule::new(Record::default()),
            storage: Storage::of(options.folder.clone()),
            sharing: options.seal.clone().map(Sharing::new),
            spread_at: None,
            state: State { directory: options.directory.clone(), ..State::default() },
            account_key: Arc::new(options.curve.new_signing_key()),
            acceptor: Acceptor::without_certificate(&tickets),
            tickets,
            options,
            order: None,
            challenges: Vec::new(),
            methods,
            suggestion: None,
            hasten_again_at: UnixS(0),
            problem: None,
        };
        // A node of a cluster has rows, which come with the first job.
        if renewal.sharing.is_none() {
            renewal.read_files()?;
        }
        let acceptor = renewal.acceptor.clone();
        Ok((Renewer(Arc::new(Mutex::new(renewal))), acceptor))
    }

    pub fn run(&mut self, job: Job) -> Done {
        let Job::RenewCertificate { always, at, shared } = job else { return Done::Failed };
        let begun = Instant::now();
        let now = move || at.later(begun.elapsed());
        let mut renewal = self.0.lock().unwrap_or_else(|poisoned| {
            // A panic has ended its order.
            self.0.clear_poison();
            let mut renewal = PoisonError::into_inner(poisoned);
            renewal.order = None;
            renewal
        });
        if always {
            renewal.schedule.hurry();
            renewal.suggestion = None;
        }
        let mut report = CertificateReport::default();
        if renewal.may_order(shared.as_deref(), now(), &mut report)
            && (renewal.order.is_some() || renewal.begin(now()))
        {
            renewal.go_on(&now, &mut report);
        }
        report.challenges = renewal.http_challenges();
        report.rows = renewal.sharing.as_mut().map(Sharing::pending).unwrap_or_default();
        report.problem.clone_from(&renewal.problem);
        Done::Certificate(Box::new(report))
    }
}

/// What would keep [`Renewer::open`] from using this folder, found without a change.
pub fn check(folder: PathBuf, curve: &P256) -> Result<(), String> {
    account_key(&Storage::of(folder), curve).map(drop)
}

/// The key of the account, if one is stored.
fn account_key(storage: &Storage, curve: &P256) -> Result<Option<SigningKey>, String> {
    let path = storage.path(ACCOUNT_KEY);
    let text =
        storage.read(ACCOUNT_KEY).map_err(|error| format!("{} can't be used: {error}", path.display()))?;
    let key = text.map(|text| {
        signing_key(&text, curve).ok_or_else(|| {
            format!("{} holds no key: remove it, and the next start registers a new account", path.display())
        })
    });
    key.transpose()
}

fn signing_key(pem: &str, curve: &P256) -> Option<SigningKey> {
    pem::read_private_key(pem).and_then(|key| curve.signing_key(key.expose()))
}

impl Renewal {
    /// What a natter alone has stored.
    fn read_files(&mut self) -> Result<(), String> {
        let folder = self.options.folder.clone();
        let cannot = |error| format!("{} can't be used: {error}", folder.display());
        self.storage = Storage::open(folder.clone()).map_err(cannot)?;
        match account_key(&self.storage, &self.options.curve)? {
            Some(key) => self.account_key = Arc::new(key),
            None => {
                let text = pem::write_private_key(self.account_key.pkcs8().expose());
                self.storage.write(ACCOUNT_KEY, text.expose()).map_err(cannot)?;
            }
        }
        if let Some(pem) = self.storage.read(CERTIFICATE).map_err(cannot)? {
            match Acceptor::new(pem.as_bytes(), pem.as_bytes(), &self.tickets) {
                Ok(acceptor) => self.acceptor = acceptor,
                Err(_) => {
                    let path = self.storage.path(CERTIFICATE);
                    log::warn!(target: "natter::acme", "{} can't be used, and is ordered anew", path.display());
                }
            }
        }
        let state = self.storage.state();
        self.use_state(state);
        Ok(())
    }

    fn use_state(&mut self, mut state: State) {
        if state.directory != self.options.directory {
            // Another authority knows no account of ours, and has limits of its own.
            let issued_by = state.issued_by.take();
            state = State { directory: self.options.directory.clone(), issued_by, ..State::default() };
        }
        self.schedule = Schedule::new(state.record.clone());
        self.state = state;
    }

    /// Begins an order if one is due and may begin.
    fn begin(&mut self, now: Now) -> bool {
        self.ask_when(now);
        let due = self.due();
        let at = self.schedule.next(now.unix_s(), due);
        if at > now.unix_s() {
            return false;
        }
        let facts = self.acceptor.facts();
        let is_renewal = self.state.issued_by.as_ref() == Some(&self.options.directory);
        let wanted = Wanted {
            directory: self.options.directory.clone(),
            domains: self.options.domains.clone(),
            contact: self.options.email.clone(),
            updates_contact: self.state.contact != self.options.email,
            methods: self.methods.clone(),
            // Only an authority that knows renewals takes it.
            replaces: facts
                .filter(|_| is_renewal && self.suggestion.is_some_and(|it| it.renew_at > UnixS(0)))
                .and_then(renewal_info::name),
            account: self.state.account.clone(),
        };
        if facts.is_some_and(|facts| is_renewal && now.unix_s() < Schedule::renew_at(facts, None)) {
            self.hasten_again_at = now.unix_s().after(HASTEN_EVERY);
        }
        log::info!(target: "natter::acme", "ordering a certificate for {}", self.options.domains.join(", "));
        self.schedule.began(now.unix_s());
        let key = self.options.curve.new_signing_key();
        self.order = Some(Order::new(wanted, Arc::clone(&self.account_key), key, now));
        self.store_state();
        true
    }

    /// When the next certificate is due; 0 if the one in use is not what is configured.
    fn due(&self) -> UnixS {
        let is_right = self.state.issued_by.as_ref() == Some(&self.options.directory)
            && self.options.domains.iter().all(|domain| self.acceptor.covers(domain));
        let suggested = self.suggestion.map(|suggestion| suggestion.renew_at).filter(|at| *at > UnixS(0));
        let suggested = suggested.map(|at| at.max(self.hasten_again_at));
        self.acceptor
            .facts()
            .filter(|_| is_right)
            .map_or(UnixS(0), |facts| Schedule::renew_at(facts, suggested))
    }

    /// Asks the authority when it wants the certificate to be renewed, if it is time to ask.
    fn ask_when(&mut self, now: Now) {
        let now = now.unix_s();
        if self.due() == UnixS(0) || self.suggestion.is_some_and(|it| it.ask_at > now) {
            return;
        }
        let before = self.suggestion.map_or(UnixS(0), |suggestion| suggestion.renew_at);
        let asked = self.suggested(now);
        if let Err(reason) = &asked {
            log::warn!(target: "natter::acme", "the authority does not say when to renew: {reason}");
        }
        // An authority that does not answer, or knows no renewals, is asked again later.
        let unknown = Suggestion { renew_at: before, ask_at: now.after(renewal_info::ASK_AFTER) };
        self.suggestion = Some(asked.ok().flatten().unwrap_or(unknown));
    }

    fn suggested(&self, now: UnixS) -> Result<Option<Suggestion>, String> {
        let get = |url: String| {
            let response = self.request(&Request { url, what: What::Get })?;
            if response.status == 200 { Ok(response) } else { Err(message::problem(&response).detail) }
        };
        let Some(name) = self.acceptor.facts().and_then(renewal_info::name) else { return Ok(None) };
        let directory = get(self.options.directory.clone())?;
        let directory = message::directory(&directory.body).map_err(|_| "it has no directory".to_owned())?;
        let Some(url) = directory.renewal_info else { return Ok(None) };
        let response = get(renewal_info::url(&url, &name))?;
        let suggestion = renewal_info::read(&response, now, &name);
        suggestion.map(Some).map_err(|_| "it suggests no window".to_owned())
    }

    /// Goes on with the order, as far as that is possible now.
    fn go_on(&mut self, now: &impl Fn() -> Now, report: &mut CertificateReport) {
        while let Some(order) = &mut self.order {
            match order.next(now()) {
                Action::Request(request) => {
                    let result = self.request(&request);
                    let Some(order) = &mut self.order else { return };
                    order.answered(now(), result);
                    self.note_account();
                }
                Action::Wait(at) => {
                    report.next_in = Some(at.saturating_duration_since(now().instant));
                    return;
                }
                Action::Publish(challenges) => {
                    order.published();
                    match self.show(&challenges) {
                        Ok(acceptor) => report.acceptor = Some(acceptor),
                        Err(reason) => return self.fail(now(), failure(reason), report),
                    }
                    self.challenges = challenges;
                    if !self.share_challenges() {
                        report.next_in = Some(Duration::ZERO);
                    }
                    return;
                }
                Action::Issued(chain) => {
                    let key = pem::write_private_key(order.key().pkcs8().expose());
                    return match self.install(&chain, key.expose()) {
                        Ok(()) => {
                            self.end_order(report);
                            self.schedule.issued();
                            report.issued = true;
                            self.store_state();
                        }
                        Err(reason) => self.fail(now(), failure(reason), report),
                    };
                }
                Action::Failed(failure) => return self.fail(now(), failure, report),
            }
        }
    }

    fn request(&self, request: &Request) -> Result<Response, String> {
        let endpoint = Endpoint::resource(&request.url).map_err(|_| "its URL can't be used".to_owned())?;
        let ask = match &request.what {
            What::Get => Ask::Get,
            What::Head => Ask::Head,
            What::Post(body) => Ask::Post { content_type: jws::CONTENT_TYPE, body },
        };
        let reader = ResponseReader::keeping(FIELDS, ask);
        exchange(&endpoint, &endpoint.request(ask), reader, &self.options.trust, REQUEST_DEADLINE)
            .map_err(|fault| format!("{}: {}", endpoint.authority.host, fault.reason()))
    }

    /// Stores the URL of the account as soon as it is known: an account is registered once.
    fn note_account(&mut self) {
        let account = self.order.as_ref().and_then(Order::account);
        if account != self.state.account.as_deref() {
            self.state.account = account.map(str::to_owned);
            self.state.contact.clone_from(&self.options.email);
            self.store_state();
        }
    }

    /// What shows the challenges of TLS-ALPN-01.
    fn show(&self, challenges: &[Challenge]) -> Result<Acceptor, String> {
        let tls = challenges.iter().filter(|challenge| challenge.method == Method::TlsAlpn01);
        let made = tls.map(|challenge| {
            let key = self.options.curve.new_signing_key();
            let certificate = certificate::challenge(&challenge.domain, &challenge.key_authorization, &key);
            certificate.map(|certificate| (challenge.domain.as_str(), certificate, key))
        });
        let made: Vec<(&str, Vec<u8>, SigningKey)> =
            made.collect::<Result<_, _>>().map_err(|_| "a domain can't be in a certificate".to_owned())?;
        let shown = made.iter().map(|(domain, certificate, key)| ChallengeCertificate {
            domain,
            certificate,
            pkcs8: key.pkcs8().expose(),
        });
        let shown: Vec<ChallengeCertificate<'_>> = shown.collect();
        self.acceptor.with_challenges(&shown).map_err(|fault| fault.to_string())
    }

    fn http_challenges(&self) -> Vec<HttpChallenge> {
        let http = self.challenges.iter().filter(|challenge| challenge.method == Method::Http01);
        http.map(|challenge| HttpChallenge {
            token: challenge.token.clone(),
            content: challenge.key_authorization.clone(),
        })
        .collect()
    }

    /// Uses a new certificate, and stores it.
    fn install(&mut self, chain: &[u8], key: &str) -> Result<(), String> {
        let chain = std::str::from_utf8(chain).map_err(|_| "its certificate is not PEM".to_owned())?;
        let acceptor = Acceptor::new(chain.as_bytes(), key.as_bytes(), &self.tickets)
            .map_err(|_| "its certificate is not one for the key that was sent".to_owned())?;
        if let Some(domain) = self.options.domains.iter().find(|domain| !acceptor.covers(domain)) {
            return Err(format!("its certificate is not for {domain}"));
        }
        self.acceptor = acceptor;
        self.suggestion = None;
        self.state.issued_by = Some(self.options.directory.clone());
        // An order of an account with another contact has told it before.
        self.state.contact.clone_from(&self.options.email);
        let not_after = self.acceptor.facts().map_or(UnixS(0), |facts| facts.not_after);
        log::info!(target: "natter::acme", "the new certificate is in use; it ends at {}", rfc3339(not_after.ms()));
        self.problem = None;
        // It is used in any case. After a restart another one is ordered.
        if let Err(error) = self.keep(CERTIFICATE, &format!("{key}{chain}")) {
            let problem = format!("{} can't be written: {error}", self.storage.path(CERTIFICATE).display());
            log::error!(target: "natter::acme", "{problem}");
            self.problem = Some(problem);
        }
        Ok(())
    }

    fn end_order(&mut self, report: &mut CertificateReport) {
        self.order = None;
        if !std::mem::take(&mut self.challenges).is_empty() {
            self.share_challenges();
        }
        report.acceptor = Some(self.acceptor.clone());
    }

    fn fail(&mut self, now: Now, failure: Failure, report: &mut CertificateReport) {
        self.end_order(report);
        report.failed = true;
        let not_after = self.acceptor.facts().map(|facts| facts.not_after);
        self.schedule.failed(now.unix_s(), &failure, not_after);
        if failure.of_validation {
            // Whatever stands between the authority and this server may let the other method pass.
            self.methods.rotate_left(1);
        }
        self.store_state();
        let retry_at = self.schedule.next(now.unix_s(), self.due());
        let what = match not_after {
            Some(_) => "the certificate can't be renewed",
            None => "no certificate can be had",
        };
        let problem = format!("{what}: {}; the next try is at {}", failure.reason, rfc3339(retry_at.ms()));
        log::error!(target: "natter::acme", "{problem}");
        self.problem = Some(problem);
    }

    fn store_state(&mut self) {
        self.state.record = self.schedule.record.clone();
        if let Err(error) = self.keep(STATE, &self.state.to_text()) {
            log::error!(target: "natter::acme", "{} can't be written: {error}", self.options.folder.display());
        }
    }
}

fn failure(reason: String) -> Failure {
    Failure { reason, not_before: None, of_validation: false }
}
