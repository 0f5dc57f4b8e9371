//! Rate limits: token buckets, each kept as one instant.
//!
//! That instant is the theoretical arrival time of the next request (the generic cell rate algorithm). Owns how much each key
//! has spent; leaves to its callers what a key is and what a refusal means.
//! Invariant: bounded in keys; a key that has refilled completely costs no memory after the next sweep.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::base::id::Id;
use crate::base::network::Prefix;
use crate::limits::Rate;

/// Keys of the rate limiter. Beyond: full buckets are forgotten first, then newcomers share one bucket.
/// An IPv6 address has three, so that this is some 16,000 busy ones, of about 60 bytes a key.
const RATE_KEYS_MAX: usize = 49_152;

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// Credential routes of a prefix.
    Credentials(Prefix),
    /// Unauthenticated and failed requests of a prefix.
    Address(Prefix),
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

/// How many times a subscriber's rate a prefix around it has, by [`Prefix::width`]: a /56, then a /48 or the /24 of IPv4. So
/// many neighbours may be busy at once; a client that rents 256 of them gets no more than that either.
const WIDER: [u32; 3] = [1, 4, 16];

impl Rate {
    /// The rate of a prefix, when this is a subscriber's.
    fn of(self, prefix: Prefix) -> Rate {
        let times = WIDER[prefix.width()];
        Rate { per_second: self.per_second.saturating_mul(times), burst: self.burst.saturating_mul(times) }
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
    /// Spends one request of an address: of its own bucket and of each around it, unless one of them has none left. The widest
    /// is asked first, so that a flood out of a large network leaves no key for each of its addresses.
    pub fn take_nested(
        &mut self,
        address: IpAddr,
        bucket: fn(Prefix) -> Bucket,
        rate: Rate,
        now: Instant,
    ) -> Verdict {
        let refused = Prefix::around(address)
            .rev()
            .map(|prefix| self.judge(bucket(prefix), rate.of(prefix), now))
            .find(|verdict| verdict.retry_after.is_some());
        if let Some(refused) = refused {
            return refused;
        }
        let own = Prefix::innermost(address);
        Prefix::around(address).skip(1).fold(self.take(bucket(own), rate, now), |tightest, prefix| {
            tightest.tighter(self.take(bucket(prefix), rate.of(prefix), now))
        })
    }

    /// What [`RateLimiter::take`] would say. A key that is not there has spent nothing.
    fn judge(&self, bucket: Bucket, rate: Rate, now: Instant) -> Verdict {
        let step = Duration::from_secs(1) / rate.per_second.max(1);
        let size = step * rate.burst.max(1);
        let due = self.arrivals.get(&bucket).copied().unwrap_or(now).max(now);
        let after = due + step;
        let policy = bucket.policy();
        if after > now + size {
            let retry_after = Some(after - size - now);
            return Verdict { policy, rate, remaining: 0, reset: due - now, retry_after };
        }
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

    /// Spends one request of `bucket`, unless it has none left.
    pub fn take(&mut self, bucket: Bucket, rate: Rate, now: Instant) -> Verdict {
        let bucket = self.place(bucket, now);
        let verdict = self.judge(bucket, rate, now);
        if verdict.retry_after.is_none() {
            self.arrivals.insert(bucket, now + verdict.reset);
        }
        verdict
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

    fn prefix(number: u128) -> Prefix {
        Prefix::innermost(std::net::Ipv6Addr::from(number << 64).into())
    }

    #[test]
    fn a_burst_passes_then_the_rate() {
        let mut limiter = RateLimiter::default();
        let start = Instant::now();
        let bucket = Bucket::Address(prefix(1));
        let passed = (0..20).filter(|_| limiter.take(bucket, RATE, start).retry_after.is_none()).count();
        assert_eq!(passed, 10);
        let verdict = limiter.take(bucket, RATE, start);
        assert_eq!(verdict.retry_after, Some(Duration::from_millis(200)));
        let later = start + Duration::from_millis(200);
        assert_eq!(limiter.take(bucket, RATE, later).retry_after, None);
        assert!(limiter.take(bucket, RATE, later).retry_after.is_some());
        assert_eq!(limiter.take(Bucket::Address(prefix(2)), RATE, later).remaining, 9);
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
            limiter.take(Bucket::Address(prefix(i)), RATE, now);
        }
        let refused = (0..100u128)
            .filter(|i| limiter.take(Bucket::Address(prefix(1 << 20 | *i)), RATE, now).retry_after.is_some())
            .count();
        assert_eq!(refused, 90);
        assert!(limiter.arrivals.len() <= RATE_KEYS_MAX + 1);
    }

    #[test]
    fn a_network_has_a_few_times_the_rate_of_a_subscriber() {
        let passed = |addresses: &mut dyn Iterator<Item = String>| {
            let mut limiter = RateLimiter::default();
            let now = Instant::now();
            let passes = |address: &String| {
                let address = address.parse().expect("an address");
                limiter.take_nested(address, Bucket::Credentials, RATE, now).retry_after.is_none()
            };
            (addresses.filter(passes).count(), limiter.arrivals.len())
        };
        let times = |count: usize, address: fn(usize) -> String| passed(&mut (0..count).map(address));
        assert_eq!(times(100, |_| "2001:db8::1".to_owned()), (10, 3));
        assert_eq!(times(1_000, |i| format!("2001:db8:0:{:x}::1", i % 256)), (40, 42), "a /56");
        assert_eq!(times(10_000, |i| format!("2001:db8:0:{i:x}::1")).0, 160, "a /48");
        assert_eq!(times(10_000, |i| format!("2001:db8:{i:x}::1")).0, 10_000, "as many sites");
        assert_eq!(times(100, |_| "192.0.2.1".to_owned()), (10, 2));
        assert_eq!(times(1_000, |i| format!("192.0.2.{}", i % 256)), (160, 161), "a /24");
        // Who is refused for the neighbours' sake spends nothing of anybody's.
        let mut limiter = RateLimiter::default();
        let now = Instant::now();
        let mut take = |address: &str, now| {
            limiter.take_nested(address.parse().expect("an address"), Bucket::Credentials, RATE, now)
        };
        for number in 0..160 {
            take(&format!("192.0.2.{}", number / 10), now);
        }
        let refused = take("192.0.2.99", now);
        assert_eq!((refused.rate.burst, refused.retry_after), (160, Some(Duration::from_micros(12_500))));
        let later = take("192.0.2.99", now + Duration::from_millis(20));
        assert_eq!((later.retry_after, later.remaining, later.rate.burst), (None, 0, 160));
    }
}
