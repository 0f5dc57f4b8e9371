//! Token buckets, kept as one instant each (the generic cell rate algorithm: the theoretical arrival time of the next
//! request). Owns who has spent what; refuses to know why it is asked.
//! Invariant: bounded in keys; a key that has refilled wholly costs no memory after the next sweep.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::base::id::Id;
use crate::limits::{RATE_KEYS_MAX, Rate};

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// Credential routes of an address.
    Credentials(AddressKey),
    /// Unauthenticated and failed requests of an address.
    Address(AddressKey),
    /// Authenticated requests of a member.
    Account(Id),
    /// Writes of a member.
    Writes(Id),
    /// Groups a member creates.
    Groups(Id),
    /// Members that a member adds to groups.
    Members(Id),
    /// Everyone who came when the table was full: they share one budget rather than have none.
    Overflow,
}

/// An address as it is counted: IPv4 whole, IPv6 by its /64, since one subscriber has them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressKey(u128);

impl AddressKey {
    pub fn of(address: IpAddr) -> AddressKey {
        match address.to_canonical() {
            IpAddr::V4(v4) => AddressKey(v4.to_ipv6_mapped().to_bits()),
            IpAddr::V6(v6) => AddressKey(v6.to_bits() & !u128::from(u64::MAX)),
        }
    }
}

/// What a bucket said, for the `RateLimit` fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub policy: &'static str,
    pub rate: Rate,
    pub remaining: u32,
    /// Until the bucket is full again.
    pub reset: Duration,
    /// `Some` when refused: after this long one request passes.
    pub retry_after: Option<Duration>,
}

#[derive(Default)]
pub struct RateLimiter {
    arrivals: BTreeMap<Bucket, Instant>,
}

impl RateLimiter {
    /// Spends one request of `bucket`, unless it has none left.
    pub fn take(&mut self, bucket: Bucket, rate: Rate, now: Instant) -> Verdict {
        let bucket = self.place(bucket, now);
        let step = Duration::from_secs(1) / rate.per_second.max(1);
        let size = step * rate.burst.max(1);
        let due = self.arrivals.get(&bucket).copied().unwrap_or(now).max(now);
        let after = due + step;
        let policy = bucket.policy();
        if after > now + size {
            let retry_after = Some(after - size - now);
            return Verdict { policy, rate, remaining: 0, reset: due - now, retry_after };
        }
        self.arrivals.insert(bucket, after);
        let left = size - (after - now);
        let remaining = (left.as_nanos() / step.as_nanos().max(1)) as u32;
        Verdict { policy, rate, remaining, reset: after - now, retry_after: None }
    }

    /// Takes more from a bucket that has let something pass, since that cost as much as so many. It may owe the difference,
    /// one whole burst at most: what follows waits until that is paid.
    pub fn charge(&mut self, bucket: Bucket, rate: Rate, more: u32, now: Instant) {
        let bucket = self.place(bucket, now);
        let step = Duration::from_secs(1) / rate.per_second.max(1);
        let due = self.arrivals.get(&bucket).copied().unwrap_or(now).max(now);
        self.arrivals.insert(bucket, due + step * more.min(rate.burst));
    }

    /// Spends `count` of what a bucket gives an hour; `Err` with the time after which so many pass. A bucket that is full
    /// lets any number pass, so that what is allowed at once is not refused for ever.
    pub fn take_hourly(
        &mut self,
        bucket: Bucket,
        an_hour: u32,
        count: u32,
        now: Instant,
    ) -> Result<(), Duration> {
        const HOUR: Duration = Duration::from_secs(3_600);
        let bucket = self.place(bucket, now);
        let cost = (HOUR / an_hour.max(1) * count).min(HOUR);
        let due = self.arrivals.get(&bucket).copied().unwrap_or(now).max(now);
        let after = due + cost;
        if after > now + HOUR {
            return Err(after - HOUR - now);
        }
        self.arrivals.insert(bucket, after);
        Ok(())
    }

    /// Makes room for a new key: refilled buckets are forgotten; with none to forget the key shares the overflow.
    fn place(&mut self, bucket: Bucket, now: Instant) -> Bucket {
        if self.arrivals.len() < RATE_KEYS_MAX || self.arrivals.contains_key(&bucket) {
            return bucket;
        }
        self.sweep(now);
        if self.arrivals.len() < RATE_KEYS_MAX { bucket } else { Bucket::Overflow }
    }

    /// Forgets the buckets that are full again.
    pub fn sweep(&mut self, now: Instant) {
        self.arrivals.retain(|_, due| *due > now);
    }
}

impl Bucket {
    /// The policy's name in the `RateLimit` fields.
    fn policy(self) -> &'static str {
        match self {
            Bucket::Credentials(_) => "credentials",
            Bucket::Address(_) | Bucket::Overflow => "address",
            Bucket::Account(_) => "account",
            Bucket::Writes(_) => "writes",
            Bucket::Groups(_) => "groups",
            Bucket::Members(_) => "members",
        }
    }
}

impl Verdict {
    /// `"account";q=100;w=2` and `"account";r=57;t=1` (draft-ietf-httpapi-ratelimit-headers).
    pub fn fields(&self) -> (String, String) {
        let window = self.rate.burst.div_ceil(self.rate.per_second.max(1)).max(1);
        let policy = format!("\"{}\";q={};w={window}", self.policy, self.rate.burst);
        let reset = self.reset.as_millis().div_ceil(1_000);
        (policy, format!("\"{}\";r={};t={reset}", self.policy, self.remaining))
    }

    /// The one that says less is left: what a client should heed.
    pub fn tighter(self, other: Verdict) -> Verdict {
        if other.remaining < self.remaining { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 5, burst: 10 };

    #[test]
    fn a_burst_passes_then_the_rate() {
        let mut limiter = RateLimiter::default();
        let start = Instant::now();
        let bucket = Bucket::Address(AddressKey(1));
        let passed = (0..20).filter(|_| limiter.take(bucket, RATE, start).retry_after.is_none()).count();
        assert_eq!(passed, 10);
        let verdict = limiter.take(bucket, RATE, start);
        assert_eq!(verdict.retry_after, Some(Duration::from_millis(200)));
        let later = start + Duration::from_millis(200);
        assert_eq!(limiter.take(bucket, RATE, later).retry_after, None);
        assert!(limiter.take(bucket, RATE, later).retry_after.is_some());
        assert_eq!(limiter.take(Bucket::Address(AddressKey(2)), RATE, later).remaining, 9);
        limiter.sweep(start + Duration::from_secs(10));
        assert!(limiter.arrivals.is_empty());
    }

    #[test]
    fn what_costs_more_is_owed_and_paid_later() {
        let mut limiter = RateLimiter::default();
        let now = Instant::now();
        let bucket = Bucket::Writes(Id(1));
        assert_eq!(limiter.take(bucket, RATE, now).retry_after, None);
        limiter.charge(bucket, RATE, 1_000, now);
        // One taken and ten owed: a step and a little until the next passes.
        let wait = limiter.take(bucket, RATE, now).retry_after.expect("it owes");
        assert_eq!(wait, Duration::from_millis(400));
        assert!(limiter.take(bucket, RATE, now + wait - Duration::from_millis(1)).retry_after.is_some());
        assert_eq!(limiter.take(bucket, RATE, now + wait).retry_after, None);
    }

    #[test]
    fn an_hour_has_its_number() {
        let mut limiter = RateLimiter::default();
        let now = Instant::now();
        let bucket = Bucket::Members(Id(1));
        assert_eq!(limiter.take_hourly(bucket, 3_600, 3_000, now), Ok(()));
        assert_eq!(limiter.take_hourly(bucket, 3_600, 1_000, now), Err(Duration::from_secs(400)));
        assert_eq!(limiter.take_hourly(bucket, 3_600, 600, now), Ok(()));
        assert_eq!(limiter.take_hourly(bucket, 3_600, 1, now), Err(Duration::from_secs(1)));
        assert_eq!(limiter.take_hourly(Bucket::Members(Id(2)), 3_600, 9_999, now), Ok(()));
        limiter.sweep(now + Duration::from_secs(3_600));
        assert!(limiter.arrivals.is_empty());
    }

    #[test]
    fn a_full_table_shares_one_budget() {
        let mut limiter = RateLimiter::default();
        let now = Instant::now();
        for i in 0..RATE_KEYS_MAX as u128 {
            limiter.take(Bucket::Address(AddressKey(i)), RATE, now);
        }
        let refused = (0..100u128)
            .filter(|i| {
                limiter.take(Bucket::Address(AddressKey(1 << 100 | i)), RATE, now).retry_after.is_some()
            })
            .count();
        assert_eq!(refused, 90);
        assert!(limiter.arrivals.len() <= RATE_KEYS_MAX + 1);
    }

    #[test]
    fn addresses_count_by_subscriber() {
        let key = |text: &str| AddressKey::of(text.parse().expect("address"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
        assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
    }
}
