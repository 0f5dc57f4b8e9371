//! Counts of latencies, in memory that does not grow.
//!
//! Owns the buckets: 64 of them for each power of two, so that a value is exact to 1.6 %. Invariant: every value is counted, and no
//! quantile is above the greatest value.

use std::time::Duration;

/// Buckets for each power of two, as a power of two.
const BITS: u32 = 6;
const STEPS: usize = 1 << BITS;
const BUCKETS: usize = STEPS * (64 - BITS as usize + 1);

#[derive(Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: vec![0; BUCKETS], count: 0, max_ns: 0 }
    }
}

impl Histogram {
    pub fn record(&mut self, value: Duration) {
        let ns = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(ns)] += 1;
        self.count += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The value that this part of all values does not exceed, in ms; zero without values.
    pub fn quantile_ms(&self, part: f64) -> f64 {
        let rank = ((self.count as f64 * part).ceil() as u64).max(1);
        let mut below = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            below += count;
            if below >= rank {
                return greatest(index).min(self.max_ns) as f64 / 1e6;
            }
        }
        0.0
    }

    pub fn max_ms(&self) -> f64 {
        self.max_ns as f64 / 1e6
    }

    /// How many values are at least this long, to the exactness of a bucket.
    #[allow(dead_code, reason = "the test of the correction counts them")]
    pub fn at_least(&self, value: Duration) -> u64 {
        let first = bucket(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX));
        self.buckets[first..].iter().sum()
    }
}

fn bucket(ns: u64) -> usize {
    if ns < STEPS as u64 {
        return ns as usize;
    }
    let power = ns.ilog2() - BITS;
    (power as usize + 1) * STEPS + ((ns >> power) as usize & (STEPS - 1))
}

/// The greatest value of a bucket.
fn greatest(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let power = bucket / STEPS - 1;
    let first = ((STEPS + bucket % STEPS) as u64) << power;
    first + ((1 << power) - 1)
}
