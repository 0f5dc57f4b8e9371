//! The loop that drives a load: one thread, all connections.
//!
//! Closed loop: each connection keeps a number of requests unanswered. Open loop: requests are due at a fixed rate, whatever the server
//! does, and latency counts from the time when a request was due, so that a server that stops for a moment is charged for all requests that
//! were due then (the correction for coordinated omission).
//! Owns time. Leaves meaning to the scenario. Invariant: a step ends, at the latest `patience` after its last request.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::conn::{Conn, Input, Pending};
use super::histogram::Histogram;
use super::line::Buffers;
use super::scenario::{Prepared, Request, Scenario};
use super::timer::Timer;

/// How long all WebSockets may take to catch up; the default of `patience`.
pub const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Requests that are due and not answered. Above it an open loop ends: the server does not keep up.
const UNANSWERED_MAX: usize = 200_000;
/// Requests of one connection that are under way in an open loop, on a WebSocket.
const DEPTH_MAX: usize = 4_096;
/// Kinds of refusals and errors that are told apart.
const REASONS_MAX: usize = 16;
const EVENTS: usize = 1_024;
const TICK: Duration = Duration::from_millis(100);
const PROGRESS: Duration = Duration::from_secs(1);
/// A wait below this needs the exact timer.
const EXACT_BELOW: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many unanswered requests of each connection.
    Closed(usize),
    /// So many requests a second of all together.
    Open(f64),
}

/// When a step ends.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub time: Duration,
    pub count: u64,
}

/// What was measured of one kind of requests.
#[derive(Clone, Default)]
pub struct Kind {
    pub name: &'static str,
    /// From when a request was due until its answer.
    pub latency: Histogram,
    /// From when it was sent: what a tool without the correction would show.
    pub service: Histogram,
}

/// What a step has shown.
#[derive(Clone)]
pub struct Step {
    pub pace: Pace,
    /// Until the last answer, not longer than it was asked for unless the server was behind.
    pub time: Duration,
    /// Requests that were sent.
    pub sent: u64,
    /// Answers that came within the time of the step.
    pub in_time: u64,
    pub kinds: Vec<Kind>,
    pub deliveries: Histogram,
    /// How late this client sent what was due.
    pub late: Histogram,
    pub refused: BTreeMap<String, u64>,
    /// Answers of success that were wrong.
    pub wrong: u64,
    pub unanswered: u64,
    /// The server fell so far behind that the step was ended.
    pub is_overrun: bool,
    /// CPU time of the server, where it is known, and of this client.
    pub server_cpu: Option<Duration>,
    pub client_cpu: Duration,
}

impl Step {
    pub fn per_second(&self) -> f64 {
        self.in_time as f64 / self.time.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    pub fn answered(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.latency.count()).sum()
    }

    pub fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }
}

pub struct Engine {
    poll: Poll,
    timer: Timer,
    conns: Vec<Conn>,
    askers: usize,
    is_socket: bool,
    scenario: Box<dyn Scenario>,
    buffers: Buffers,
    text: Vec<u8>,
    random: u64,
    pub shows_progress: bool,
    /// How long answers and deliveries may take after the last request.
    pub patience: Duration,
}

/// The changing state of one step.
struct Run {
    began: Instant,
    until: Instant,
    step: Step,
    /// Open loop: when the requests were due that no connection could take.
    queue: VecDeque<Instant>,
    /// Open loop: connections that can take one.
    free: VecDeque<usize>,
    is_free: Vec<bool>,
    depth: usize,
    due: u64,
    count: u64,
    /// Connections that are open.
    open: usize,
}

impl Run {
    /// Requests that were due, and are not answered.
    fn waiting(&self) -> usize {
        let gone = self.step.answered() + self.step.unanswered;
        self.queue.len() + self.step.sent.saturating_sub(gone) as usize
    }
}

impl Engine {
    /// Registers the connections and waits until each WebSocket has caught up.
    pub fn new(prepared: Prepared) -> io::Result<Engine> {
        let Prepared { scenario, mut conns, askers, is_socket } = prepared;
        let poll = Poll::new()?;
        for (index, conn) in conns.iter_mut().enumerate() {
            conn.register(poll.registry(), Token(index))?;
        }
        let timer = Timer::new(poll.registry(), Token(usize::MAX - 1))?;
        let mut engine = Engine {
            poll,
            timer,
            conns,
            askers,
            is_socket,
            scenario,
            buffers: Buffers::new(),
            text: Vec::new(),
            random: 7,
            shows_progress: false,
            patience: ANSWER_MAX,
        };
        if is_socket {
            engine.catch_up()?;
        }
        Ok(engine)
    }

    pub fn scenario(&mut self) -> &mut dyn Scenario {
        &mut *self.scenario
    }

    pub fn askers(&self) -> usize {
        self.askers
    }

    /// Only the first so many connections send requests from now on.
    pub fn set_askers(&mut self, count: usize) {
        self.askers = count;
    }

    /// Bytes of bodies that were received and not kept.
    pub fn discarded(&self) -> u64 {
        self.conns.iter().map(|conn| conn.discarded).sum()
    }

    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    pub fn open_connections(&self) -> usize {
        self.conns.iter().filter(|conn| conn.is_open).count()
    }

    fn catch_up(&mut self) -> io::Result<()> {
        let give_up = Instant::now() + ANSWER_MAX;
        let mut waiting = self.conns.len();
        let mut events = Events::with_capacity(EVENTS);
        while waiting > 0 {
            if Instant::now() > give_up {
                return Err(io::Error::other(format!("{waiting} WebSockets did not catch up")));
            }
            self.poll.poll(&mut events, Some(TICK))?;
            for event in &events {
                let Some(conn) = self.conns.get_mut(event.token().0) else { continue };
                conn.read(&mut self.buffers, &mut |input| {
                    let is_there =
                        matches!(input, Input::Event(text) if text.starts_with(b"{\"event\":\"caught_up\""));
                    waiting -= usize::from(is_there);
                })?;
                conn.flush()?;
            }
        }
        Ok(())
    }

    /// One step of a load.
    pub fn run(&mut self, pace: Pace, bounds: Bounds) -> io::Result<Step> {
        let mut run = self.begin(pace, bounds);
        let mut events = Events::with_capacity(EVENTS);
        let cpu = own_cpu_time();
        let mut next_progress = run.began + PROGRESS;
        loop {
            let now = Instant::now();
            self.offer(&mut run, now)?;
            let waiting = run.waiting();
            let is_over = run.due >= run.count || now >= run.until;
            if is_over && waiting == 0 && (self.scenario.is_settled() || run.step.unanswered > 0)
                || now > run.until + self.patience
                || run.open == 0
            {
                run.step.unanswered += waiting as u64;
                break;
            }
            if now >= next_progress {
                next_progress += PROGRESS;
                self.show(&run, waiting);
            }
            let wait = self.wait(&run, now);
            if wait < EXACT_BELOW && !wait.is_zero() {
                self.timer.set(wait);
            }
            let wait = if wait.is_zero() { wait } else { wait.max(Duration::from_millis(1)) };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                self.hear(&mut run, event.token().0);
            }
        }
        run.step.time = run.step.time.max(Duration::from_millis(1));
        run.step.client_cpu = own_cpu_time().saturating_sub(cpu);
        Ok(run.step)
    }

    fn begin(&self, pace: Pace, bounds: Bounds) -> Run {
        let began = Instant::now();
        let kinds = self.scenario.kinds().iter().map(|name| Kind { name, ..Kind::default() }).collect();
        let step = Step {
            pace,
            time: bounds.time,
            sent: 0,
            in_time: 0,
            kinds,
            deliveries: Histogram::default(),
            late: Histogram::default(),
            refused: BTreeMap::new(),
            wrong: 0,
            unanswered: 0,
            is_overrun: false,
            server_cpu: None,
            client_cpu: Duration::ZERO,
        };
        let open = (0..self.askers).filter(|index| self.conns[*index].is_open);
        let free: VecDeque<usize> = open.collect();
        let mut is_free = vec![false; self.conns.len()];
        free.iter().for_each(|index| is_free[*index] = true);
        let depth = match pace {
            Pace::Closed(window) => window,
            Pace::Open(_) if self.is_socket => DEPTH_MAX,
            Pace::Open(_) => 1,
        };
        Run {
            began,
            until: began + bounds.time,
            step,
            queue: VecDeque::new(),
            free,
            is_free,
            depth,
            due: 0,
            count: bounds.count,
            open: self.open_connections(),
        }
    }

    /// Sends what is due.
    fn offer(&mut self, run: &mut Run, now: Instant) -> io::Result<()> {
        match run.step.pace {
            // The first requests; each answer is followed by the next one.
            Pace::Closed(_) => {
                while let Some(index) = run.free.pop_front() {
                    self.refill(run, index, now);
                }
            }
            Pace::Open(rate) => {
                let until = now.min(run.until);
                loop {
                    let due = run.began + Duration::from_secs_f64(run.due as f64 / rate);
                    if due > until || run.due >= run.count || due >= run.until {
                        break;
                    }
                    if run.waiting() >= UNANSWERED_MAX {
                        (run.step.is_overrun, run.count) = (true, run.due);
                        break;
                    }
                    run.queue.push_back(due);
                    run.due += 1;
                }
                while let Some(due) = run.queue.front().copied() {
                    let Some(index) = run.free.pop_front() else { break };
                    run.queue.pop_front();
                    run.is_free[index] = false;
                    if !self.conns[index].is_open {
                        run.queue.push_front(due);
                        continue;
                    }
                    run.step.late.record(now.saturating_duration_since(due));
                    self.send(run, index, due);
                    self.flush(run, index);
                    self.release(run, index);
                }
            }
        }
        Ok(())
    }

    /// Closed loop: as many requests as may be under way.
    fn refill(&mut self, run: &mut Run, index: usize, now: Instant) {
        let is_asker = index < self.askers && matches!(run.step.pace, Pace::Closed(_));
        while is_asker
            && self.conns[index].is_open
            && self.conns[index].waiting() < run.depth
            && now < run.until
            && run.due < run.count
        {
            run.due += 1;
            self.send(run, index, now);
        }
        self.flush(run, index);
    }

    /// Open loop: a connection that has room can take the next request.
    fn release(&self, run: &mut Run, index: usize) {
        let has_room = index < self.askers && self.conns[index].waiting() < run.depth;
        if has_room && !run.is_free[index] {
            run.is_free[index] = true;
            run.free.push_back(index);
        }
    }

    fn send(&mut self, run: &mut Run, index: usize, due: Instant) {
        let conn = &mut self.conns[index];
        self.text.clear();
        let Request { kind, tag } = self.scenario.ask(index, conn.next_number(), due, &mut self.text);
        let pending = Pending { due, sent: Instant::now(), kind, tag };
        if self.is_socket {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            conn.say(&self.text, (self.random >> 32) as u32, pending);
        } else {
            conn.send(&self.text, pending);
        }
        run.step.sent += 1;
    }

    fn flush(&mut self, run: &mut Run, index: usize) {
        if let Err(error) = self.conns[index].flush() {
            self.end(run, index, &error);
        }
    }

    /// A connection ended. Its requests stay unanswered.
    fn end(&mut self, run: &mut Run, index: usize, error: &io::Error) {
        let conn = &mut self.conns[index];
        if conn.is_open {
            conn.is_open = false;
            run.open -= 1;
            run.step.unanswered += conn.give_up() as u64;
            count(&mut run.step.refused, &format!("a connection ended: {error}"));
        }
    }

    fn hear(&mut self, run: &mut Run, index: usize) {
        let Some(conn) = self.conns.get_mut(index).filter(|conn| conn.is_open) else { return };
        let (scenario, step) = (&mut self.scenario, &mut run.step);
        let until = run.until;
        let mut now = None;
        let result = conn.read(&mut self.buffers, &mut |input| {
            // All that came in one read came at one time.
            let now = *now.get_or_insert_with(Instant::now);
            match input {
                Input::Answer(pending, is_good, body) => {
                    let Pending { due, sent, kind, tag } = pending;
                    step.in_time += u64::from(now <= until);
                    step.kinds[kind].latency.record(now.saturating_duration_since(due));
                    step.kinds[kind].service.record(now.saturating_duration_since(sent));
                    if !is_good {
                        count(&mut step.refused, reason(body));
                    }
                    let is_right = scenario.answered(index, &Request { kind, tag }, is_good, body);
                    step.wrong += u64::from(is_good && !is_right);
                }
                Input::Event(event) => scenario.heard(index, event, now, &mut step.deliveries),
            }
        });
        if let Err(error) = result {
            self.end(run, index, &error);
            return;
        }
        self.refill(run, index, now.unwrap_or_else(Instant::now));
        if matches!(run.step.pace, Pace::Open(_)) {
            self.release(run, index);
        }
    }

    /// How long nothing is due.
    fn wait(&self, run: &Run, now: Instant) -> Duration {
        let Pace::Open(rate) = run.step.pace else { return TICK };
        if run.due >= run.count {
            return TICK;
        }
        let next = run.began + Duration::from_secs_f64(run.due as f64 / rate);
        next.saturating_duration_since(now).min(TICK)
    }

    fn show(&self, run: &Run, waiting: usize) {
        if !self.shows_progress {
            return;
        }
        let seconds = run.began.elapsed().as_secs_f64();
        let answered = run.step.answered();
        let worst = run.step.kinds.iter().map(|kind| kind.latency.quantile_ms(0.99)).fold(0.0, f64::max);
        eprintln!(
            "  {seconds:>4.0} s  {answered:>9} answered, {:>8.0} a second, {waiting} under way, p99 {worst:.2} ms",
            answered as f64 / seconds
        );
    }
}

fn count(reasons: &mut BTreeMap<String, u64>, reason: &str) {
    let is_known = reasons.contains_key(reason) || reasons.len() < REASONS_MAX;
    *reasons.entry(if is_known { reason } else { "others" }.to_owned()).or_default() += 1;
}

/// The code of a problem.
fn reason(body: &[u8]) -> &str {
    const CODE: &[u8] = b"\"code\":\"";
    let code = memchr::memmem::find(body, CODE).map(|at| &body[at + CODE.len()..]);
    let code = code.and_then(|rest| rest.split(|byte| *byte == b'"').next());
    code.and_then(|code| std::str::from_utf8(code).ok()).unwrap_or("without a code")
}

/// CPU time of this process; zero if there is no `/proc`.
pub fn own_cpu_time() -> Duration {
    super::place::cpu_time("self")
}
