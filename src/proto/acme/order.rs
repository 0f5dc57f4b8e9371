//! One order of a certificate (RFC 8555 §7.4), from the directory to the chain.
//!
//! The caller does what [`Order::next`] says, and gives each response to [`Order::answered`]:
//!
//! ```text
//! Directory → Account → NewOrder → Authorizations → Publish → Respond → Poll → Finalize → AwaitOrder → Download → Ended
//!                 ↑ the authority does not know the account       └ already valid ──────↗
//! ```
//!
//! Before a signed request a nonce is fetched, unless the last response had one. Owns the order of requests, the repeats after a
//! refused nonce or a broken connection, and all waits. Leaves to `schedule` when another order may begin.
//! Invariant: an order ends after [`ORDER_TIME_MAX`] or [`EXCHANGES_MAX`], whatever the authority does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::message::{self, Directory, Offer, OrderState, Problem, Status, Unexpected};
use super::{Challenge, Method, certificate, jws};
use crate::base::crypto::base64url;
use crate::base::crypto::p256::SigningKey;
use crate::base::json;
use crate::base::time::{Now, UnixS};
use crate::proto::http::client::Response;

/// From the begin of an order to its end. An authority that looks from several places and signs by hand takes some minutes.
const ORDER_TIME_MAX: Duration = Duration::from_secs(1_800);
/// Requests of an order: some for each domain, and polls until its time is over.
const EXCHANGES_MAX: u32 = 2_000;
/// Times that one request is repeated because its nonce was refused (RFC 8555 §6.5): each refusal has a fresh one.
const NONCE_RETRIES_MAX: u32 = 10;
/// Times that one request is repeated because the connection failed or the authority had an error of its own.
const INTERRUPTIONS_MAX: u32 = 3;
/// The wait before such a repeat; doubled each time.
const INTERRUPTED_WAIT: Duration = Duration::from_secs(2);
/// Between two polls: the first wait, which grows by itself, and the bounds of what the authority asks for.
const POLL_FIRST: Duration = Duration::from_secs(1);
const POLL_GROWN: Duration = Duration::from_secs(8);
const POLL_MAX: Duration = Duration::from_secs(120);
const _: () = assert!(POLL_MAX.as_secs() < ORDER_TIME_MAX.as_secs());

/// What is ordered, and by whom.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub directory: String,
    pub domains: Vec<String>,
    /// An e-mail address.
    pub contact: Option<String>,
    /// The account's contact is not this one yet.
    pub updates_contact: bool,
    /// What the server can do, the preferred one first.
    pub methods: Vec<Method>,
    /// The certificate that this one replaces, by its name of RFC 9773.
    pub replaces: Option<String>,
    /// The URL of the account, if there is one.
    pub account: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub url: String,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Get,
    Head,
    /// A body of [`jws::CONTENT_TYPE`].
    Post(Vec<u8>),
}

/// What the caller does next.
#[derive(Debug)]
pub enum Action {
    /// Sends it, and gives the response to [`Order::answered`].
    Request(Request),
    /// Calls again at this time.
    Wait(Instant),
    /// Shows these and nothing else, and then calls [`Order::published`].
    Publish(Vec<Challenge>),
    /// Uses this chain in PEM with the key of [`Order::key`]. The order has ended.
    Issued(Vec<u8>),
    /// The order has ended.
    Failed(Failure),
}

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For the log.
    pub reason: String,
    /// Unix seconds: the authority wants no order before this.
    pub not_before: Option<UnixS>,
    /// The authority looked, and did not find what it should.
    pub of_validation: bool,
}

/// One domain that the authority looks at.
#[derive(Debug)]
struct Pending {
    authorization: String,
    domain: String,
    offer: Offer,
}

#[derive(Debug)]
enum Step {
    Directory,
    Account,
    /// Tells the authority the contact of an account that exists.
    Contact,
    NewOrder,
    /// Reads these authorizations.
    Authorizations(VecDeque<String>),
    Publish,
    /// Asks the authority to look at this one of `pending`.
    Respond(usize),
    /// Asks what it saw.
    Poll(usize),
    Finalize,
    AwaitOrder,
    Download(String),
    Issued(Vec<u8>),
    Failed(Failure),
}

#[derive(Debug)]
pub struct Order {
    wanted: Wanted,
    account_key: Arc<SigningKey>,
    key: SigningKey,
    step: Step,
    directory: Option<Directory>,
    nonce: Option<String>,
    /// The request in progress is one for a nonce.
    asks_nonce: bool,
    url: String,
    finalize: String,
    pending: Vec<Pending>,
    wait_until: Option<Instant>,
    poll_wait: Duration,
    refused_nonces: u32,
    interruptions: u32,
    exchanges: u32,
    ends_at: Instant,
}

impl Order {
    /// `key` is the key of the certificate, and of no other.
    pub fn new(wanted: Wanted, account_key: Arc<SigningKey>, key: SigningKey, now: Now) -> Order {
        Order {
            wanted,
            account_key,
            key,
            step: Step::Directory,
            directory: None,
            nonce: None,
            asks_nonce: false,
            url: String::new(),
            finalize: String::new(),
            pending: Vec::new(),
            wait_until: None,
            poll_wait: POLL_FIRST,
            refused_nonces: 0,
            interruptions: 0,
            exchanges: 0,
            ends_at: now.instant + ORDER_TIME_MAX,
        }
    }

    /// The key of the certificate.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The URL of the account, once it is known.
    pub fn account(&self) -> Option<&str> {
        self.wanted.account.as_deref()
    }

    pub fn next(&mut self, now: Now) -> Action {
        match &self.step {
            Step::Issued(chain) => return Action::Issued(chain.clone()),
            Step::Failed(failure) => return Action::Failed(failure.clone()),
            _ => {}
        }
        if now.instant >= self.ends_at || self.exchanges >= EXCHANGES_MAX {
            return self.fail(format!("the authority took too long to {}", self.doing()));
        }
        if let Some(at) = self.wait_until.filter(|at| *at > now.instant) {
            return Action::Wait(at.min(self.ends_at));
        }
        self.wait_until = None;
        if let Step::Publish = self.step {
            return Action::Publish(self.pending.iter().map(|pending| self.challenge(pending)).collect());
        }
        self.exchanges += 1;
        let Some(directory) = self.directory.as_ref().filter(|_| !matches!(self.step, Step::Directory))
        else {
            let url = self.wanted.directory.clone();
            return Action::Request(Request { url, what: What::Get });
        };
        let Some(nonce) = self.nonce.take() else {
            self.asks_nonce = true;
            return Action::Request(Request { url: directory.new_nonce.clone(), what: What::Head });
        };
        let (url, payload) = match self.signed(directory) {
            Ok(signed) => signed,
            Err(reason) => return self.fail(reason),
        };
        // Only a request for an account shows the key itself (RFC 8555 §6.2).
        let account = self.wanted.account.as_deref().filter(|_| !matches!(self.step, Step::Account));
        let body = jws::sign(&self.account_key, account, &nonce, &url, payload.as_deref());
        Action::Request(Request { url, what: What::Post(body) })
    }

    /// What the challenges are was done.
    pub fn published(&mut self) {
        if let Step::Publish = self.step {
            self.step = Step::Respond(0);
        }
    }

    /// The URL and the payload of the signed request of this step.
    fn signed(&self, directory: &Directory) -> Result<(String, Option<Vec<u8>>), String> {
        #[derive(Serialize)]
        struct NewAccount<'a> {
            #[serde(rename = "termsOfServiceAgreed")]
            agreed: bool,
            contact: &'a [String],
        }
        #[derive(Serialize)]
        struct Contact<'a> {
            contact: &'a [String],
        }
        #[derive(Serialize)]
        struct Identifier<'a> {
            #[serde(rename = "type")]
            kind: &'static str,
            value: &'a str,
        }
        #[derive(Serialize)]
        struct NewOrder<'a> {
            identifiers: Vec<Identifier<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            replaces: Option<&'a str>,
        }
        #[derive(Serialize)]
        struct Finalize {
            csr: String,
        }
        let contact: Vec<String> =
            self.wanted.contact.iter().map(|address| format!("mailto:{address}")).collect();
        Ok(match &self.step {
            Step::Account => {
                let payload = NewAccount { agreed: true, contact: &contact };
                (directory.new_account.clone(), Some(json::to_vec(&payload)))
            }
            Step::Contact => {
                let url = self.wanted.account.clone().unwrap_or_default();
                (url, Some(json::to_vec(&Contact { contact: &contact })))
            }
            Step::NewOrder => {
                let identifiers = self.wanted.domains.iter();
                let payload = NewOrder {
                    identifiers: identifiers.map(|value| Identifier { kind: "dns", value }).collect(),
                    replaces: self.wanted.replaces.as_deref(),
                };
                (directory.new_order.clone(), Some(json::to_vec(&payload)))
            }
            Step::Authorizations(left) => (left.front().cloned().unwrap_or_default(), None),
            Step::Respond(index) => (self.pending[*index].offer.url.clone(), Some(b"{}".to_vec())),
            Step::Poll(index) => (self.pending[*index].authorization.clone(), None),
            Step::Finalize => {
                let request = certificate::request(&self.wanted.domains, &self.key)
                    .map_err(|_| "the domains can't be in a certificate".to_owned())?;
                (self.finalize.clone(), Some(json::to_vec(&Finalize { csr: base64url(&request) })))
            }
            Step::AwaitOrder => (self.url.clone(), None),
            Step::Download(url) => (url.clone(), None),
            Step::Directory | Step::Publish | Step::Issued(_) | Step::Failed(_) => {
                return Err("a step without a request".to_owned());
            }
        })
    }

    /// The response to the last request, or why there is none.
    pub fn answered(&mut self, now: Now, result: Result<Response, String>) {
        let asked_nonce = std::mem::take(&mut self.asks_nonce);
        let response = match result {
            Ok(response) => response,
            Err(reason) => return self.interrupted(now, reason, None),
        };
        if let Some(nonce) = message::nonce(&response) {
            self.nonce = Some(nonce.to_owned());
        }
        if response.status >= 300 {
            return self.refused(now, &response);
        }
        if asked_nonce {
            if self.nonce.is_none() {
                self.fail("the authority gives no nonce".to_owned());
            }
            return;
        }
        (self.refused_nonces, self.interruptions) = (0, 0);
        if let Err(Unexpected(what)) = self.go_on(now, &response) {
            self.fail(format!("the authority's response is not {what}"));
        }
    }

    /// The response to the request of this step is a good one.
    fn go_on(&mut self, now: Now, response: &Response) -> Result<(), Unexpected> {
        match &mut self.step {
            Step::Directory => {
                let directory = message::directory(&response.body)?;
                if directory.needs_binding && self.wanted.account.is_none() {
                    self.fail(
                        "the authority gives accounts only to its customers (external account binding), which natter does not support"
                            .to_owned(),
                    );
                    return Ok(());
                }
                self.directory = Some(directory);
                self.step = match &self.wanted.account {
                    None => Step::Account,
                    Some(_) if self.wanted.updates_contact => Step::Contact,
                    Some(_) => Step::NewOrder,
                };
            }
            Step::Account => {
                let url = message::location(response).ok_or(Unexpected("an account with its URL"))?;
                self.wanted.account = Some(url.to_owned());
                self.step = Step::NewOrder;
            }
            Step::Contact => self.step = Step::NewOrder,
            Step::NewOrder => {
                self.url = message::location(response).ok_or(Unexpected("an order with its URL"))?.to_owned();
                let order = message::order(&response.body)?;
                self.finalize.clone_from(&order.finalize);
                self.step = match order.status {
                    Status::Pending => Step::Authorizations(order.authorizations.into()),
                    _ => return self.order_state(now, response, order),
                };
            }
            Step::Authorizations(left) => {
                let url = left.pop_front().unwrap_or_default();
                let is_last = left.is_empty();
                self.add(url, &response.body)?;
                if is_last && let Step::Authorizations(_) = self.step {
                    self.step = if self.pending.is_empty() { Step::Finalize } else { Step::Publish };
                }
            }
            Step::Respond(index) => {
                let next = *index + 1;
                let step = if next < self.pending.len() { Step::Respond(next) } else { Step::Poll(0) };
                self.step = step;
                if let Step::Poll(_) = self.step {
                    self.wait(now, response);
                }
            }
            Step::Poll(_) => self.polled(now, response)?,
            Step::Finalize | Step::AwaitOrder => {
                let order = message::order(&response.body)?;
                self.order_state(now, response, order)?;
            }
            Step::Download(_) => self.step = Step::Issued(response.body.clone()),
            Step::Publish | Step::Issued(_) | Step::Failed(_) => {}
        }
        Ok(())
    }

    /// An authorization was read: chooses how its domain is proven, unless it is.
    fn add(&mut self, url: String, body: &[u8]) -> Result<(), Unexpected> {
        let authorization = message::authorization(body)?;
        let domain = authorization.domain;
        if !self.wanted.domains.contains(&domain) {
            return Err(Unexpected("an authorization of a domain that was ordered"));
        }
        match authorization.status {
            Status::Valid => return Ok(()),
            Status::Pending => {}
            _ => {
                self.fail(format!("{domain}: the authority offers an authorization that has ended"));
                return Ok(());
            }
        }
        let offers = authorization.challenges;
        let chosen =
            self.wanted.methods.iter().find_map(|method| offers.iter().find(|it| it.method == *method));
        match chosen {
            Some(offer) => self.pending.push(Pending { authorization: url, domain, offer: offer.clone() }),
            None => {
                let possible: Vec<&str> = self.wanted.methods.iter().map(|method| method.name()).collect();
                self.fail(format!("{domain}: the authority offers none of {}", possible.join(", ")));
            }
        }
        Ok(())
    }

    fn polled(&mut self, now: Now, response: &Response) -> Result<(), Unexpected> {
        let Step::Poll(index) = self.step else { return Ok(()) };
        let authorization = message::authorization(&response.body)?;
        match authorization.status {
            Status::Valid => {
                self.poll_wait = POLL_FIRST;
                self.step =
                    if index + 1 < self.pending.len() { Step::Poll(index + 1) } else { Step::Finalize };
            }
            Status::Pending | Status::Processing | Status::Ready => self.wait(now, response),
            Status::Ended => {
                let error = authorization.challenges.into_iter().find_map(|offer| offer.error);
                let Pending { domain, offer, .. } = &self.pending[index];
                let why = error.map_or_else(|| "the authorization has ended".to_owned(), |it| it.detail);
                let reason =
                    format!("{domain}: the authority's look by {} failed: {why}", offer.method.name());
                self.step = Step::Failed(Failure { reason, not_before: None, of_validation: true });
            }
        }
        Ok(())
    }

    /// The order was read, before or after its certificate was asked for.
    fn order_state(&mut self, now: Now, response: &Response, order: OrderState) -> Result<(), Unexpected> {
        match order.status {
            Status::Valid => {
                let url = order.certificate.ok_or(Unexpected("an order with a certificate"))?;
                // Each order has a new key: a certificate of an earlier order is for another one.
                if let Step::NewOrder = self.step {
                    return Err(Unexpected("a new order"));
                }
                self.step = Step::Download(url);
            }
            Status::Ready => {
                let is_early = matches!(self.step, Step::Finalize);
                self.step = Step::Finalize;
                if is_early {
                    self.wait(now, response);
                }
            }
            Status::Pending | Status::Processing => {
                self.step = Step::AwaitOrder;
                self.wait(now, response);
            }
            Status::Ended => {
                let why = order.error.map_or_else(|| "it has ended".to_owned(), |error| error.detail);
                self.fail(format!("the order failed: {why}"));
            }
        }
        Ok(())
    }

    /// The response is an error.
    fn refused(&mut self, now: Now, response: &Response) {
        let Problem { kind, detail } = message::problem(response);
        let not_before = message::retry_after(response, now.unix_s());
        match kind.as_str() {
            "badNonce" if self.refused_nonces < NONCE_RETRIES_MAX => {
                self.refused_nonces += 1;
                return;
            }
            "accountDoesNotExist" if !matches!(self.step, Step::Account) => {
                self.wanted.account = None;
                self.step = Step::Account;
                return;
            }
            // The answer to an earlier try was lost.
            "orderNotReady" if matches!(self.step, Step::Finalize) => {
                self.step = Step::AwaitOrder;
                return self.wait(now, response);
            }
            _ => {}
        }
        let is_limit = kind == "rateLimited" || response.status == 429;
        if is_limit || response.status < 500 {
            // What is replaced is a hint (RFC 9773 §5): an order is not lost because the authority does not take it.
            if !is_limit && matches!(self.step, Step::NewOrder) && self.wanted.replaces.take().is_some() {
                return;
            }
            let reason = format!("the authority refused to {}: {detail}", self.doing());
            self.step = Step::Failed(Failure { reason, not_before, of_validation: false });
            return;
        }
        self.interrupted(now, detail, not_before);
    }

    /// The request is repeated later: the connection failed, or the authority did.
    fn interrupted(&mut self, now: Now, reason: String, not_before: Option<UnixS>) {
        let asked_wait = not_before.map(|at| Duration::from_secs(at.since(now.unix_s())));
        if self.interruptions >= INTERRUPTIONS_MAX || asked_wait.is_some_and(|wait| wait > POLL_MAX) {
            let reason = format!("the authority can't be asked to {}: {reason}", self.doing());
            self.step = Step::Failed(Failure { reason, not_before, of_validation: false });
            return;
        }
        let wait = INTERRUPTED_WAIT * 2_u32.pow(self.interruptions);
        self.interruptions += 1;
        // A nonce of before may have been used.
        self.nonce = None;
        self.wait_until = Some(now.instant + asked_wait.unwrap_or(wait).max(wait));
    }

    /// Polls later: when the authority says, else soon and then less often.
    fn wait(&mut self, now: Now, response: &Response) {
        let asked = message::retry_after(response, now.unix_s())
            .map(|at| Duration::from_secs(at.since(now.unix_s())));
        let wait = asked.unwrap_or(self.poll_wait).clamp(POLL_FIRST, POLL_MAX);
        self.poll_wait = (self.poll_wait * 2).min(POLL_GROWN);
        self.wait_until = Some(now.instant + wait);
    }

    fn fail(&mut self, reason: String) -> Action {
        let failure = Failure { reason, not_before: None, of_validation: false };
        self.step = Step::Failed(failure.clone());
        Action::Failed(failure)
    }

    fn challenge(&self, pending: &Pending) -> Challenge {
        Challenge {
            domain: pending.domain.clone(),
            method: pending.offer.method,
            token: pending.offer.token.clone(),
            key_authorization: jws::key_authorization(&self.account_key, &pending.offer.token),
        }
    }

    /// What the step is for, after "to".
    fn doing(&self) -> &'static str {
        match self.step {
            Step::Directory => "show its directory",
            Step::Account | Step::Contact => "register an account",
            Step::NewOrder => "take an order",
            Step::Authorizations(_) => "say how a domain is proven",
            Step::Publish | Step::Respond(_) | Step::Poll(_) => "look at a domain",
            Step::Finalize | Step::AwaitOrder => "sign the certificate",
            Step::Download(_) => "give the certificate",
            Step::Issued(_) | Step::Failed(_) => "end",
        }
    }
}

#[cfg(test)]
mod tests;
