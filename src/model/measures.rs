//! What all threads measure for `/metrics`: durations and counts in fixed buckets, and the last value of sizes.
//!
//! Owns the table of measures and the way to count one. Leaves to `server/request/metrics` what they look like, and to
//! each caller the clock. Invariant: an observation allocates nothing, takes no lock and reads no clock, and the set of
//! measures is fixed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The greatest values of the buckets of a duration, in microseconds. One more bucket has the rest.
const DURATIONS: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000,
];
/// The same of a number of writes. A batch has at most 512.
const WRITES: [u64; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
/// Buckets of a histogram, the one of the rest included.
const BUCKETS: usize = DURATIONS.len() + 1;

const _: () = assert!(WRITES.len() < BUCKETS);

/// A metric in buckets.
pub struct Family {
    /// Its name.
    pub metric: &'static str,
    /// What it measures.
    pub help: &'static str,
    /// How many units of an observation are one of the metric.
    pub per_unit: u64,
    /// The greatest values of the buckets.
    pub bounds: &'static [u64],
}

const fn seconds(metric: &'static str, help: &'static str) -> Family {
    Family { metric, help, per_unit: 1_000_000, bounds: &DURATIONS }
}

static REQUEST: Family = seconds("natter_request_seconds", "From a request to its answer.");
static COMMIT: Family = seconds("natter_commit_seconds", "Transactions of writes, with their sync.");
static BATCH: Family = Family {
    metric: "natter_commit_writes",
    help: "Writes of one transaction; in a cluster, entries of the log.",
    per_unit: 1,
    bounds: &WRITES,
};
static QUEUE: Family =
    seconds("natter_queue_wait_seconds", "Time in a queue, until a thread takes the work.");
static HASH: Family = seconds("natter_password_hash_seconds", "Password hashes.");
static HANDSHAKE: Family = seconds(
    "natter_tls_handshake_seconds",
    "TLS handshakes that were completed, from the accepted connection on.",
);
static PUSH: Family = seconds("natter_push_seconds", "Tries to push a notification.");
static HOOK: Family = seconds("natter_hook_seconds", "Calls of outgoing hooks.");
static MAIL: Family = seconds("natter_mail_seconds", "Tries to send a mail.");
static TURN: Family = seconds("natter_loop_turn_seconds", "Turns of the event loop, without their sleep.");

/// One row of the table of histograms.
pub struct Row {
    /// Its metric. Rows of the same one follow each other.
    pub family: &'static Family,
    /// What makes it different from the others of its metric; empty for the only one.
    pub label: &'static str,
}

macro_rules! measures {
    ($($(#[$doc:meta])* $measure:ident = $family:ident $label:literal;)*) => {
        /// What is measured in buckets.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Measure {
            $($(#[$doc])* $measure,)*
        }

        impl Measure {
            /// Every measure.
            pub const ALL: &[Measure] = &[$(Measure::$measure),*];
        }

        /// The rows of all measures, in their order.
        pub static ROWS: [Row; MEASURES] = [$(Row { family: &$family, label: $label }),*];

        const MEASURES: usize = Measure::ALL.len();
    };
}

measures! {
    /// A post, over HTTP or a WebSocket.
    RequestPost = REQUEST "class=\"post\"";
    /// Any other change.
    RequestWrite = REQUEST "class=\"write\"";
    /// A list, a history, a profile.
    RequestRead = REQUEST "class=\"read\"";
    /// A search for messages.
    RequestSearch = REQUEST "class=\"search\"";
    /// A request with a password, a code or a refresh token.
    RequestCredential = REQUEST "class=\"credential\"";
    /// A request that brings a file: with the time that the client takes to send it.
    RequestUpload = REQUEST "class=\"upload\"";
    /// A file of an upload, until the head of the answer.
    RequestFile = REQUEST "class=\"file\"";
    /// A stream, until it is open.
    RequestStream = REQUEST "class=\"stream\"";
    /// The web client, reports, an operator's requests, and what no row of the table of routes knows.
    RequestOther = REQUEST "class=\"other\"";
    /// One transaction with its sync.
    Commit = COMMIT "";
    /// The writes of one transaction.
    Batch = BATCH "";
    /// The oldest write of a batch, until the writer takes it.
    WaitWrite = QUEUE "queue=\"writes\"";
    /// A read.
    WaitRead = QUEUE "queue=\"reads\"";
    /// A search.
    WaitSearch = QUEUE "queue=\"searches\"";
    /// A password.
    WaitPassword = QUEUE "queue=\"passwords\"";
    /// A password hash.
    PasswordHash = HASH "";
    /// A TLS handshake that was completed.
    TlsHandshake = HANDSHAKE "";
    /// A try to push a notification.
    Push = PUSH "";
    /// A call of an outgoing hook.
    Hook = HOOK "";
    /// A try to send a mail.
    Mail = MAIL "";
    /// A turn of the event loop, without its sleep: nothing else is answered meanwhile.
    LoopTurn = TURN "";
}

/// No gauge reaches it.
const NO_VALUE: u64 = u64::MAX;

macro_rules! gauges {
    ($($(#[$doc:meta])* $gauge:ident = $metric:literal $help:literal;)*) => {
        /// What has a last value. 0 is none.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Gauge {
            $($(#[$doc])* $gauge,)*
        }

        impl Gauge {
            /// Every one, with the name of its metric and what it is.
            pub const ALL: &[(Gauge, &'static str, &'static str)] = &[$((Gauge::$gauge, $metric, $help)),*];
        }

        const GAUGES: usize = Gauge::ALL.len();
    };
}

gauges! {
    /// Of the file natter.db.
    DatabaseBytes = "natter_database_bytes" "Size of natter.db.";
    /// Of the file natter.db-wal.
    WalBytes = "natter_wal_bytes" "Size of the write-ahead log, natter.db-wal.";
    /// Of the file search.db and its WAL.
    IndexBytes = "natter_search_index_bytes" "Size of the search index, search.db, with its write-ahead log.";
    /// Of the disk of DATA_DIR.
    FreeBytes = "natter_disk_free_bytes" "Space of the disk of DATA_DIR that natter may use.";
    /// The resident memory.
    ResidentBytes = "process_resident_memory_bytes" "Resident memory size in bytes.";
    /// Open descriptors.
    OpenFiles = "process_open_fds" "Number of open file descriptors.";
    /// How many there may be.
    OpenFilesMax = "process_max_fds" "Maximum number of open file descriptors.";
    /// BACKUP_EVERY.
    BackupEvery = "natter_backup_interval_seconds" "Time between two backups, BACKUP_EVERY.";
    /// 1 while one is made or asked for.
    BackupRuns = "natter_backup_running" "1 while a backup is made, else 0.";
    /// When the newest good backup was begun.
    BackupAt = "natter_backup_last_success_timestamp_seconds" "When the newest good backup was begun, in Unix seconds.";
    /// Its length.
    BackupBytes = "natter_backup_last_bytes" "Size of the newest good backup.";
    /// How long it took, with its verification.
    BackupSeconds = "natter_backup_last_duration_seconds" "How long the newest backup that this process made and its verification took.";
    /// Whether the newest try failed.
    BackupFailed = "natter_backup_failed" "1 if the newest try to make a backup failed, else 0.";
    /// When a try last failed.
    BackupFailedAt = "natter_backup_last_failure_timestamp_seconds" "When a backup last failed, in Unix seconds.";
}

/// The measures of a process. All threads share one.
#[derive(Debug)]
pub struct Measures {
    histograms: [Histogram; MEASURES],
    gauges: [AtomicU64; GAUGES],
}

/// How many observations are in each bucket, and the sum of all.
#[derive(Debug)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl Default for Measures {
    fn default() -> Self {
        let histogram =
            || Histogram { buckets: [const { AtomicU64::new(0) }; BUCKETS], sum: AtomicU64::new(0) };
        Measures {
            histograms: std::array::from_fn(|_| histogram()),
            gauges: [const { AtomicU64::new(NO_VALUE) }; GAUGES],
        }
    }
}

impl Measures {
    /// Something took so long. From any thread.
    pub fn took(&self, measure: Measure, time: Duration) {
        self.observe(measure, micros(time));
    }

    /// There were so many. From any thread.
    pub fn observe(&self, measure: Measure, value: u64) {
        let (bucket, sum) = self.place(measure, value);
        bucket.fetch_add(1, Relaxed);
        sum.fetch_add(value, Relaxed);
    }

    /// As [`Measures::took`], for a measure of which only one thread makes observations: without the price of an atomic
    /// addition.
    pub fn took_here(&self, measure: Measure, time: Duration) {
        let value = micros(time);
        let (bucket, sum) = self.place(measure, value);
        bucket.store(bucket.load(Relaxed) + 1, Relaxed);
        sum.store(sum.load(Relaxed).wrapping_add(value), Relaxed);
    }

    fn place(&self, measure: Measure, value: u64) -> (&AtomicU64, &AtomicU64) {
        let Histogram { buckets, sum } = &self.histograms[measure as usize];
        (&buckets[ROWS[measure as usize].family.bounds.partition_point(|bound| *bound < value)], sum)
    }

    /// Sets the last value.
    pub fn set(&self, gauge: Gauge, value: u64) {
        self.gauges[gauge as usize].store(value, Relaxed);
    }

    /// The last value; `None` before the first. 0 is a value: a full disk has 0 bytes free.
    pub fn get(&self, gauge: Gauge) -> Option<u64> {
        Some(self.gauges[gauge as usize].load(Relaxed)).filter(|value| *value != NO_VALUE)
    }

    /// What was observed until now.
    pub fn observed(&self, measure: Measure) -> Observed {
        let Histogram { buckets, sum } = &self.histograms[measure as usize];
        let bounds = ROWS[measure as usize].family.bounds;
        let counts = std::array::from_fn(|at| buckets[at].load(Relaxed));
        Observed { counts, sum: sum.load(Relaxed), bounds }
    }
}

fn micros(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(time.subsec_micros()))
}

/// What one measure has observed.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    counts: [u64; BUCKETS],
    /// The sum of all observations.
    pub sum: u64,
    bounds: &'static [u64],
}

impl Observed {
    /// The observations of all buckets.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// For each bucket the greatest value and how many observations are not above it. The last one has no greatest
    /// value.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(&self.counts).scan(0, |below, (bound, count)| {
            *below += count;
            Some((bound, *below))
        })
    }

    /// The value that this share of the observations does not exceed, as far as the buckets tell: within its bucket the
    /// values are taken as spread evenly, as Prometheus does. Above the last bound: that bound. `None` without an
    /// observation.
    pub fn quantile(&self, per_mille: u64) -> Option<u64> {
        let rank = (self.count() * per_mille).div_ceil(1_000).max(1);
        let (mut lower, mut below) = (0, 0);
        for (bound, up_to) in self.cumulative() {
            let Some(bound) = bound else { return (up_to > 0).then_some(lower) };
            if up_to >= rank {
                return Some(lower + (bound - lower) * (rank - below) / (up_to - below));
            }
            (lower, below) = (bound, up_to);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_is_in_the_bucket_of_its_value() {
        let measures = Measures::default();
        for (micros, bucket) in
            [(0, 0), (100, 0), (101, 1), (250, 1), (1_000, 3), (10_000_000, 14), (10_000_001, 15)]
        {
            let before = measures.observed(Measure::Commit);
            measures.took(Measure::Commit, Duration::from_micros(micros));
            let after = measures.observed(Measure::Commit);
            let changed: Vec<usize> =
                (0..BUCKETS).filter(|at| after.counts[*at] != before.counts[*at]).collect();
            assert_eq!((changed, after.sum - before.sum), (vec![bucket], micros), "{micros}");
        }
        measures.took_here(Measure::RequestPost, Duration::MAX);
        measures.took_here(Measure::RequestPost, Duration::from_nanos(999));
        let posts = measures.observed(Measure::RequestPost);
        assert_eq!((posts.count(), posts.counts[BUCKETS - 1], posts.counts[0]), (2, 1, 1));
        (1..=600).for_each(|writes| measures.observe(Measure::Batch, writes));
        let batches: Vec<_> = measures.observed(Measure::Batch).cumulative().collect();
        assert_eq!(batches[..3], [(Some(1), 1), (Some(2), 2), (Some(4), 4)]);
        assert_eq!(batches[9..], [(Some(512), 512), (None, 600)]);
    }

    #[test]
    fn a_quantile_is_within_its_bucket() {
        let measures = Measures::default();
        let quantile = |per_mille| measures.observed(Measure::Commit).quantile(per_mille);
        assert_eq!(quantile(500), None);
        for micros in [50, 150, 600, 700] {
            measures.took(Measure::Commit, Duration::from_micros(micros));
        }
        assert_eq!((quantile(250), quantile(500), quantile(1_000)), (Some(100), Some(250), Some(1_000)));
        assert_eq!(quantile(750), Some(750), "half of the bucket from 500 to 1,000");
        (0..100).for_each(|_| measures.took(Measure::Commit, Duration::from_secs(60)));
        assert_eq!(quantile(990), Some(10_000_000), "nothing is known above it");
    }

    #[test]
    fn rows_of_one_metric_follow_each_other_and_differ() {
        let mut names: Vec<&str> = ROWS.iter().map(|row| row.family.metric).collect();
        names.dedup();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a metric that is left does not come again");
        for (at, row) in ROWS.iter().enumerate() {
            let bounds = row.family.bounds;
            assert!(bounds.is_sorted_by(|a, b| a < b) && bounds.len() < BUCKETS);
            let mut others = ROWS[at + 1..].iter().filter(|other| other.family.metric == row.family.metric);
            assert!(others.all(|other| other.label != row.label), "{}", row.family.metric);
        }
    }
}
