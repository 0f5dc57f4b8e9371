//! The load tool: `scripts/load`.
//!
//! One program, one thread for all clients. It starts a server on loopback or aims at one that the user names, prepares people and messages,
//! loads the server in steps, verifies what it measured, and writes a table, a JSON file and a picture.
//!
//! ```text
//! options ─> place (the server) ─> scenarios (people, requests) ─> engine (time) ─> report, curve
//!                                        └─ conn ─ line              └─ ledger, rooms: what was stored and delivered
//! ```
//! Owns the order of the steps. Invariant: a run that verified less than it promised ends with status 1.

#[path = "../support/bare.rs"]
#[allow(dead_code, reason = "other benches use the text of a message")]
mod bare;
mod compare;
pub mod conn;
mod curve;
pub mod engine;
pub mod histogram;
mod http;
pub mod ledger;
pub mod line;
pub mod options;
pub mod place;
mod post;
pub mod ratios;
pub mod report;
mod rooms;
pub mod scenario;
pub mod scenarios;
#[path = "../../tests/process/shims.rs"]
pub mod shims;
mod timer;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use self::engine::{Bounds, Engine, Pace, Step};
use self::options::Options;
use self::place::Place;
use self::report::Report;
use self::scenario::{Check, Prepared};
use self::scenarios::Name;

/// The open loops of a curve, as parts of what the closed loop reached.
const CURVE: [f64; 7] = [0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 1.0];
/// Requests a second while all are idle: the first one, and no second one within any step.
const ALMOST_NONE: f64 = 1e-6;
/// A load that makes caches and connections warm, before a step is measured.
const WARM_UP: Duration = Duration::from_millis(500);
/// The wait for notifications after a load: they are sent five seconds after the first message that they are about.
#[cfg(feature = "tls")]
const PUSHED_AFTER: Duration = Duration::from_secs(6);

pub fn main(words: &[String]) -> ExitCode {
    let options = match Options::parse(words) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}; see scripts/load --help");
            return ExitCode::from(2);
        }
    };
    let result = match &options.compare {
        Some(both) => compare::binaries(&options, both),
        None if options.is_against_bare => compare::bare(&options),
        None => run(&options).and_then(|report| {
            report.print();
            report.write(&options.out)?;
            Ok(report.is_good())
        }),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the load could not be made: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One scenario from its beginning to its end.
pub fn run(options: &Options) -> io::Result<Report> {
    let mut place = match &options.url {
        Some(url) => Place::named(url, options.ca.as_deref())?,
        None => {
            let env = options.env();
            let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
            Place::start(None, &env)?
        }
    };
    let mut report = Report {
        scenario: options.scenario.text(),
        url: options.url.clone(),
        clients: options.clients(),
        steps: Vec::new(),
        checks: Vec::new(),
        facts: Vec::new(),
    };
    if !options.is_quiet {
        eprintln!("{} with {} clients: the people come", report.scenario, report.clients);
    }
    // The accounts of a named server are deleted also after a failure.
    let result = load(&mut place, options, &mut report);
    let is_named = !place.is_local();
    let left = place.end(options.keeps_accounts);
    if is_named && left > 0 {
        report.facts.push(("accounts that stay at the server".to_owned(), left as f64));
    }
    result.map(|()| report)
}

fn load(place: &mut Place, options: &Options, report: &mut Report) -> io::Result<()> {
    match options.scenario {
        Name::Storm => storm(place, options, report),
        Name::Idle => idle(place, options, report),
        Name::Push => push(place, options, report),
        _ => {
            let prepared = scenarios::prepare(place, options)?;
            steps(place, options, prepared, report).map(drop)
        }
    }
}

/// The steps of a load, and their judgement.
fn steps(place: &Place, options: &Options, prepared: Prepared, report: &mut Report) -> io::Result<Engine> {
    let mut engine = Engine::new(prepared)?;
    (engine.shows_progress, engine.patience) = (!options.is_quiet, options.patience);
    let is_curve = options.window.is_none() && options.rates.is_empty();
    let warm_up = Bounds { time: WARM_UP.min(options.time), count: options.count() };
    let warm = engine.run(Pace::Closed(1), warm_up)?;
    if warm.answered() == 0 {
        return Err(io::Error::other(format!("the first requests got no answer: {:?}", warm.refused)));
    }
    if options.rates.is_empty() {
        step(place, options, &mut engine, Pace::Closed(options.usual_window()), report)?;
    }
    let reached = report.steps.last().map_or(0.0, Step::per_second);
    let rates = if is_curve { CURVE.map(|part| reached * part).to_vec() } else { options.rates.clone() };
    for rate in rates.into_iter().filter(|rate| *rate > 0.0) {
        let step = step(place, options, &mut engine, Pace::Open(rate), report)?;
        if step.is_overrun {
            break; // a higher rate only waits longer
        }
    }
    let discarded = engine.discarded();
    report.checks.extend(engine.scenario().verify(discarded));
    let (unanswered, wrong) = report
        .steps
        .iter()
        .chain([&warm])
        .fold((0, 0), |(unanswered, wrong), it| (unanswered + it.unanswered, wrong + it.wrong));
    report.checks.push(Check::new(
        unanswered + wrong == 0,
        format!("{unanswered} requests without an answer, {wrong} answers that were wrong"),
    ));
    let (open, all) = (engine.open_connections(), engine.connections());
    report.checks.push(Check::new(open == all, format!("{open} of {all} connections are open at the end")));
    if let Some(kib) = place.memory_kib() {
        report.facts.push(("memory of the server after the load, KiB".to_owned(), kib as f64));
    }
    Ok(engine)
}

fn step<'a>(
    place: &Place,
    options: &Options,
    engine: &mut Engine,
    pace: Pace,
    report: &'a mut Report,
) -> io::Result<&'a Step> {
    place.wait_until_idle();
    if !options.is_quiet {
        eprintln!("{pace:?} for {} s", options.time.as_secs_f64());
    }
    let before = place.cpu_time();
    let mut step = engine.run(pace, Bounds { time: options.time, count: options.count() })?;
    step.server_cpu = place.cpu_time().zip(before).map(|(after, before)| after.saturating_sub(before));
    report.steps.push(step);
    Ok(&report.steps[report.steps.len() - 1])
}

/// Sockets that only exist, and one request of each at the end, which all must answer.
fn idle(place: &mut Place, options: &Options, report: &mut Report) -> io::Result<()> {
    let members = place.members(options.clients())?;
    let count = members.len();
    place.wait_until_idle();
    let before = place.memory_kib();
    let prepared = scenarios::pages::idle(place, members)?;
    let mut engine = Engine::new(prepared)?;
    engine.shows_progress = !options.is_quiet;
    place.wait_until_idle();
    if let (Some(before), Some(now)) = (before, place.memory_kib()) {
        report.facts.push(("memory of the server, KiB".to_owned(), now as f64));
        let each = now.saturating_sub(before) as f64 * 1_024.0 / count as f64;
        report.facts.push(("memory of a socket, each of its own account, bytes".to_owned(), each));
    }
    let cpu = place.cpu_time();
    engine.run(Pace::Open(ALMOST_NONE), Bounds { time: options.time, count: 2 })?;
    if let (Some(before), Some(after)) = (cpu, place.cpu_time()) {
        let part = after.saturating_sub(before).as_secs_f64() / options.time.as_secs_f64();
        report.facts.push(("CPU of the server while all are idle, % of a core".to_owned(), part * 100.0));
    }
    step(place, options, &mut engine, Pace::Closed(1), report)?;
    let open = engine.open_connections();
    report.checks.push(Check::new(open == count, format!("{open} of {count} sockets are open at the end")));
    report.checks.extend(engine.scenario().verify(0));
    Ok(())
}

fn storm(place: &mut Place, options: &Options, report: &mut Report) -> io::Result<()> {
    let outcome = scenarios::storm::run(place, options.clients(), options.missed)?;
    let (back, all) = (outcome.step.in_time, outcome.step.sent);
    if let Some(away) = outcome.away {
        let ms = away.as_secs_f64() * 1e3;
        report.facts.push(("from kill -9 until the server listens again, ms".to_owned(), ms));
    }
    report.facts.push(("tries that were refused".to_owned(), outcome.retries as f64));
    report.checks.push(Check::new(back == all, format!("{back} of {all} clients are back")));
    report.checks.extend(outcome.checks);
    report.steps.push(outcome.step);
    Ok(())
}

#[cfg(feature = "tls")]
fn push(place: &mut Place, options: &Options, report: &mut Report) -> io::Result<()> {
    let (prepared, devices) = scenarios::push::prepare(place, options.clients(), options.devices, true)?;
    steps(place, options, prepared, report)?;
    // The last notifications are due some seconds after the last post.
    std::thread::sleep(PUSHED_AFTER);
    place.wait_until_idle();
    report.checks.push(devices.verify(place)?);
    Ok(())
}

#[cfg(not(feature = "tls"))]
fn push(_: &mut Place, _: &Options, _: &mut Report) -> io::Result<()> {
    Err(io::Error::other("this build is without the feature tls"))
}
