//! Compares a batch of posts with bare SQLite: rows a second for batches of 1, 8, 64 and 1,024.
//!
//! Both use the same disk in the same run, in turns; the results are medians of the rounds. Bare is `support/bare.rs`;
//! `Store::commit` adds the look-up of the client_id (a second index), the read marks, the answers and the events. Both include
//! checkpoints.
//!
//! `cargo bench --bench commit_batch`; the data is in the target folder, or in `BENCH_DIR`. On a busy machine the CPU time of a
//! row is more reliable than the clock.

#[path = "support/bare.rs"]
mod bare;
#[path = "../tests/support/seed.rs"]
mod seed;
#[path = "../tests/store_kit/mod.rs"]
mod store_kit;

use std::path::Path;
use std::time::{Duration, Instant};

use bare::{BODY, Bare};
use natter::base::crypto::Entropy;
use natter::base::id::Id;
use natter::model::id::ProfileId;
use natter::model::message::{Destination, Message, PostMessage};
use natter::model::operation::{Lane, Write};
use natter::store::{Store, StoreOptions};
use store_kit::{Kit, NOW_MS, Seeded};

const PAIRS: usize = 32;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(500);

struct Ours {
    store: Store,
    pairs: Vec<(ProfileId, ProfileId)>,
    count: usize,
    seed: Seeded,
    batch: Vec<(Lane, Write)>,
}

impl Ours {
    /// The time until the writer is ready for the next batch; who receives the outcomes drops them elsewhere.
    fn batch(&mut self, size: usize) -> Spent {
        for _ in 0..size {
            self.count += 1;
            let (a, b) = self.pairs[self.count % PAIRS];
            let (sender, to) = if (self.count / PAIRS).is_multiple_of(2) { (a, b) } else { (b, a) };
            // One row of each pair per round, one millisecond later in each round: client_ids rise, as with correct clocks.
            let at = NOW_MS.after((self.count / PAIRS) as u64);
            let draft = Message {
                client_id: (&mut self.seed as &mut dyn Entropy).id(at),
                sender: Some(sender),
                body: Some(BODY.to_owned()),
                created_at: at,
                ..Message::default()
            };
            self.batch.push((
                Lane(self.count as u64 % 64),
                Write::PostMessage(PostMessage {
                    draft: draft.into(),
                    destination: Destination::To(to),
                    attachments: [].into(),
                    conversation_if_new: Id::from_u128(self.count as u128),
                    random: self.seed.u64() as u16,
                }),
            ));
        }
        let clock = Clock::start();
        let committed = self.store.commit(&mut self.batch);
        self.store.maintain(std::time::Instant::now()).expect("the WAL is kept short");
        let spent = clock.spent();
        assert!(committed.outcomes.iter().all(|outcome| outcome.result.is_ok()), "every post is stored");
        spent
    }
}

/// Time by the clock and on the CPU.
struct Clock {
    began: Instant,
    cpu: Duration,
}

struct Spent {
    time: Duration,
    cpu: Duration,
}

impl Clock {
    fn start() -> Clock {
        Clock { cpu: cpu(), began: Instant::now() }
    }

    fn spent(self) -> Spent {
        Spent { time: self.began.elapsed(), cpu: cpu().saturating_sub(self.cpu) }
    }
}

/// The CPU time of this thread; zero if the kernel does not report it.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}

struct Rate {
    rows: usize,
    time: Duration,
    cpu: Duration,
    /// The time of each batch, in µs, sorted.
    times: Vec<f64>,
}

impl Rate {
    /// A second.
    fn rows(&self) -> f64 {
        self.rows as f64 / self.time.as_secs_f64()
    }

    /// µs a batch.
    fn p50(&self) -> f64 {
        self.times[self.times.len() / 2]
    }

    /// µs a batch.
    fn p99(&self) -> f64 {
        self.times[(self.times.len() - 1) * 99 / 100]
    }

    /// µs a row.
    fn cpu(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.rows as f64
    }
}

/// Repeats a batch for a round.
fn measure(size: usize, mut batch: impl FnMut() -> Spent) -> Rate {
    let began = Instant::now();
    let (mut time, mut cpu, mut times) = (Duration::ZERO, Duration::ZERO, Vec::new());
    while began.elapsed() < ROUND {
        let spent = batch();
        time += spent.time;
        cpu += spent.cpu;
        times.push(spent.time.as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Rate { rows: size * times.len(), time, cpu, times }
}

fn median(rates: &[Rate], of: fn(&Rate) -> f64) -> f64 {
    let mut values: Vec<f64> = rates.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let dir = std::env::var_os("BENCH_DIR")
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-commit"), Into::into);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a folder for the bench");

    let options = StoreOptions::new(dir.join("natter.db"));
    let mut kit = Kit::with(options.clone());
    let people: Vec<ProfileId> = (0..2 * PAIRS).map(|i| kit.person(&format!("p{i}")).profile).collect();
    kit.close();
    let (store, _) = Store::open(&options, &mut Seeded(3), NOW_MS).expect("the store opens");
    let pairs = people.chunks(2).map(|pair| (pair[0], pair[1])).collect();
    let mut ours = Ours { store, pairs, count: 0, seed: Seeded(4), batch: Vec::new() };
    let mut bare = Bare::create(&dir.join("bare.db")).expect("a bare database");

    println!(
        "        bare                                   store                                  store of bare"
    );
    println!(
        "batch   rows/s   p50 µs   p99 µs  cpu µs/row   rows/s   p50 µs   p99 µs  cpu µs/row   clock   cpu"
    );
    for size in [1, 8, 64, 1024] {
        let (mut theirs, mut mine) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            theirs.push(measure(size, || {
                let clock = Clock::start();
                bare.batch(size).expect("a bare batch");
                clock.spent()
            }));
            mine.push(measure(size, || ours.batch(size)));
        }
        print!("{size:>5}");
        for rates in [&theirs, &mine] {
            let [rows, p50, p99, cpu] =
                [Rate::rows, Rate::p50, Rate::p99, Rate::cpu].map(|of| median(rates, of));
            print!("{rows:>9.0}{p50:>9.0}{p99:>9.0}{cpu:>12.2}");
        }
        let clock = median(&mine, Rate::rows) / median(&theirs, Rate::rows);
        let cpu = median(&theirs, Rate::cpu) / median(&mine, Rate::cpu);
        println!("{:>7.0}%{:>5.0}%", 100.0 * clock, 100.0 * cpu);
    }
    ours.store.close().expect("the store closes");
    drop(kit);
    let _ = std::fs::remove_dir_all(&dir);
}
