//! The environment of handler tests: a fixed clock, seeded randomness and test keys.
//!
//! A handler runs step by step. The test itself takes the role of storage and workers: it reads each question and answers it.

#![allow(missing_docs, reason = "only tests use it")]

use std::time::{Duration, Instant};

use super::attempts::Attempts;
use super::handler::{Actor, Body, Client, Ctx, FollowUp, Handler, Reply, Request, Step};
use super::job::{Done, Job};
use super::operation::{Answer, Command, Refusal};
use super::params::Params;
use super::problem::Problem;
use super::session::TokenPair;
use super::settings::Settings;
use crate::base::crypto::{HmacKey, sha256};
use crate::base::id::Id;
use crate::base::json;
use crate::base::testing::Seeded;
use crate::base::time::{Now, UnixMs};
use crate::proto::http::language::Language;

pub fn settings() -> Settings {
    Settings::with_defaults(|name| HmacKey::new(name.as_bytes()))
}

/// 2026-11-22T13:03:54.120Z.
pub const UNIX_MS: UnixMs = UnixMs(1_795_352_634_120);

pub struct Stage {
    pub now: Now,
    pub entropy: Seeded,
    pub settings: Settings,
    pub attempts: Attempts,
    pub client: Client,
    pub actor: Actor,
    pub epoch: String,
    pub follow_ups: Vec<FollowUp>,
}

pub type Played = Result<Step, Problem>;

impl Stage {
    pub fn new() -> Stage {
        Stage {
            now: Now { instant: Instant::now(), unix_ms: UNIX_MS },
            entropy: Seeded(1),
            settings: settings(),
            attempts: Attempts::default(),
            client: Client {
                address: "192.0.2.7".parse().expect("an address"),
                user_agent: "test".to_owned(),
                unique_id: None,
                language: Language::En,
            },
            actor: Actor {
                member: Id::from_u128(11),
                profile: Id::from_u128(12),
                session: Id::from_u128(13),
                expires: UNIX_MS.s().after(900),
            },
            epoch: "k3".to_owned(),
            follow_ups: Vec::new(),
        }
    }

    pub fn wait(&mut self, seconds: u64) {
        self.now = self.now.later(Duration::from_secs(seconds));
    }

    /// Runs `with` in this environment.
    pub fn act<T>(&mut self, with: impl FnOnce(&mut Ctx<'_>) -> T) -> T {
        with(&mut Ctx {
            now: self.now,
            entropy: &mut self.entropy,
            settings: &self.settings,
            attempts: &mut self.attempts,
            epoch: &self.epoch,
            head: 0,
            proven: true,
            last_published: None,
            follow_ups: &mut self.follow_ups,
        })
    }

    /// The first step of a handler, asked with a JSON body.
    pub fn ask(&mut self, handler: Handler, body: &str) -> Played {
        self.ask_at(handler, &[], "", body)
    }

    /// The first step of a handler, with path captures, a plain `a=b&c=d` query and a JSON body (or none).
    pub fn ask_at(
        &mut self,
        handler: Handler,
        path: &[(&'static str, String)],
        query: &str,
        body: &str,
    ) -> Played {
        let (client, actor) = (self.client.clone(), self.actor);
        let query: Vec<(String, String)> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let value =
            json::parse(if body.is_empty() { b"{}" } else { body.as_bytes() }).expect("a test's JSON");
        let params = Params::new(path, &query, value.as_object());
        let request = Request { params, client: &client, method: None, headers: None, file: None, body: &[] };
        self.act(|ctx| match handler {
            Handler::Public(run) => run(ctx, &request),
            Handler::Member(run) => run(ctx, actor, &request),
            Handler::Either(run) => run(ctx, Some(actor), &request),
        })
    }

    /// Lets storage answer the step: `judge` sees the question.
    pub fn answer(&mut self, step: Played, judge: impl FnOnce(Command) -> Answer) -> Played {
        let Ok(Step::Store(command, then)) = step else { panic!("expected a storage step: {}", show(&step)) };
        let answer = judge(command);
        self.act(|ctx| then(ctx, Ok(answer)))
    }

    /// Lets storage refuse the step.
    pub fn refuse(&mut self, step: Played, refusal: Refusal) -> Played {
        let Ok(Step::Store(_, then)) = step else { panic!("expected a storage step: {}", show(&step)) };
        self.act(|ctx| then(ctx, Err(refusal)))
    }

    /// Lets a worker finish the step: `work` sees the job.
    pub fn finish(&mut self, step: Played, work: impl FnOnce(Job) -> Done) -> Played {
        let Ok(Step::Work(job, then)) = step else { panic!("expected a job: {}", show(&step)) };
        let done = work(job);
        self.act(|ctx| then(ctx, done))
    }
}

/// The reply of a finished play.
pub fn reply(step: Played) -> Reply {
    match step {
        Ok(Step::Reply(reply)) => reply,
        other => panic!("expected a reply: {}", show(&other)),
    }
}

/// Status and text of a finished play: `{"data":…}` as HTTP would send it.
pub fn text(step: Played) -> (u16, String) {
    let reply = reply(step);
    let text = match reply.body {
        Body::Empty => String::new(),
        Body::Data { data, beside } => {
            format!("{{\"data\":{}{}}}", String::from_utf8_lossy(&data), String::from_utf8_lossy(&beside))
        }
        Body::Raw { .. } => panic!("a raw body has no JSON"),
    };
    (reply.status, text)
}

/// Status and stable code of a refusal.
pub fn problem(step: Played) -> (u16, String) {
    match step {
        Err(problem) => (problem.status(), problem.code_text()),
        other => panic!("expected a problem: {}", show(&other)),
    }
}

fn show(step: &Played) -> String {
    match step {
        Err(problem) => format!("{problem:?}"),
        Ok(Step::Reply(reply)) => format!("{reply:?}"),
        Ok(Step::Store(command, _)) => format!("{command:?}"),
        Ok(Step::Work(job, _)) => format!("{job:?}"),
        Ok(Step::Stream(stream)) => format!("{stream:?}"),
        Ok(Step::Receive { room }) => format!("Receive {room}"),
    }
}

/// The tokens of the [`Stage`]'s actor, of a session bound to `device`.
pub fn pair(device: Option<&str>) -> TokenPair {
    let issued = UNIX_MS.s();
    TokenPair {
        session: Id::from_u128(13),
        member: Id::from_u128(11),
        profile: Id::from_u128(12),
        access_uuid: Id::from_u128(14),
        refresh_uuid: Id::from_u128(15),
        device: device.map(|id| sha256(id.as_bytes())),
        issued,
        access_expire: issued.after(900),
        refresh_expire: issued.after(2_592_000),
    }
}
