//! Rate limits: token buckets, each kept as one instant.
//!
//! That instant is the theoretical arrival time of the next request (the generic cell rate algorithm). Owns how much each key
//! has spent; leaves to its callers what a key is and what a refusal means.
//! Invariant: the keys are bounded; a key that has refilled completely costs no memory after the next [`RateLimiter::expire`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::base::network::Prefix;
use crate::limits::Rate;
use crate::model::id::MemberId;

/// Keys of the rate limiter. Above: full buckets are forgotten first, then new keys share one bucket.
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
    Account(MemberId),
    /// Writes of a member.
    Writes(MemberId),
    /// Groups a member creates.
    Groups(MemberId),
    /// Group members that a member adds.
    Members(MemberId),
    /// Prompt refusals of a prefix.
    Refusals(Prefix),
    /// All keys that came when the table was full: they share one budget, so that none is without a limit.
    Overflow,
}

/// How many times a subscriber's rate a prefix around it has, by [`Prefix::width`]: a /56, then a /48 or the /24 of IPv4. This
/// many neighbours may be busy at once; a client that rents 256 of them gets no more than that either.
const WIDER: [u32; 3] = [1, 4, 16];

impl Rate {
    /// The rate of a prefix; `self` is a subscriber's.
    fn of(self, prefix: Prefix) -> Rate {
        let times = WIDER[prefix.width()];
        Rate { per_second: self.per_second.saturating_mul(times), burst: self.burst.saturating_mul(times) }
    }
}

/// What a bucket decided, for the `RateLimit` fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub policy: &'static str,
    pub rate: Rate,
    pub remaining: u32,
    /// How long until the bucket is full again.
    pub reset: Duration,
    /// `Some` if refused: after this time one request passes.
    pub retry_after: Option<Duration>,
}

#[derive(Default)]
pub struct RateLimiter {
    arrivals: BTreeMap<Bucket, Instant>,
}

impl RateLimiter {
    /// Spends one request of an address: of its own bucket and of each around it, unless one of them has none left. The widest
    /// is asked first, so that a flood from a large network leaves no key for each of its addresses.
    pub fn take_nested(
        &mut self,
        address: IpAddr,
        bucket: fn(Prefix) -> Bucket,
        rate: Rate,
        now: Instant,
    ) -> Verdict {
        let refused = Prefix::around(address)
            .rev()
            .map(|prefix| self.verdict(bucket(prefix), rate.of(prefix), now))
            .find(|verdict| verdict.retry_after.is_some());
        if let Some(refused) = refused {
            return refused;
        }
        let own = Prefix::innermost(address);
        Prefix::around(address).skip(1).fold(self.take(bucket(own), rate, now), |tightest, prefix| {
            tightest.tighter(self.take(bucket(prefix), rate.of(prefix), now))
        })
    }

    /// What [`RateLimiter::take`] would decide. A key that is not in the table has spent nothing.
    fn verdict(&self, bucket: Bucket, rate: Rate, now: Instant) -> Verdict {
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

    /// Takes `more` from a bucket that has let a request pass, if that request costs more than one. The bucket may go into debt
    /// by at most one burst: the next requests wait until the debt has refilled.
    pub fn charge(&mut self, bucket: Bucket, rate: Rate, more: u32, now: Instant) {
        let bucket = self.find_room(bucket, now);
        let step = Duration::from_secs(1) / rate.per_second.max(1);
        let due = self.arrivals.get(&bucket).copied().unwrap_or(now).max(now);
        self.arrivals.insert(bucket, due + step * more.min(rate.burst));
    }

    /// Spends `count` of a bucket that refills within an hour; `Err` with the time after which this many pass. A full bucket lets
    /// any number pass, so that no request is refused however long it waits.
    pub fn take_hourly(
        &mut self,
        bucket: Bucket,
        an_hour: u32,
        count: u32,
        now: Instant,
    ) -> Result<(), Duration> {
        const HOUR: Duration = Duration::from_secs(3_600);
        let bucket = self.find_room(bucket, now);
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
        let bucket = self.find_room(bucket, now);
        let verdict = self.verdict(bucket, rate, now);
        if verdict.retry_after.is_none() {
            self.arrivals.insert(bucket, now + verdict.reset);
        }
        verdict
    }

    /// Makes room for a new key: full buckets are forgotten; if there is none, the key uses the overflow bucket.
    fn find_room(&mut self, bucket: Bucket, now: Instant) -> Bucket {
        if self.arrivals.len() < RATE_KEYS_MAX || self.arrivals.contains_key(&bucket) {
            return bucket;
        }
        self.expire(now);
        if self.arrivals.len() < RATE_KEYS_MAX { bucket } else { Bucket::Overflow }
    }

    /// Forgets the buckets that are full again.
    pub fn expire(&mut self, now: Instant) {
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
            Bucket::Refusals(_) => "refusals",
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

    /// The one with less left, which is the one that a client should obey.
    pub fn tighter(self, other: Verdict) -> Verdict {
        if other.remaining < self.remaining { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;

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
        limiter.expire(start + Duration::from_secs(10));
        assert!(limiter.arrivals.is_empty());
    }

    #[test]
    fn a_request_that_costs_more_delays_the_next_ones() {
        let mut limiter = RateLimiter::default();
        let now = Instant::now();
        let bucket = Bucket::Writes(Id::from_u128(1));
        assert_eq!(limiter.take(bucket, RATE, now).retry_after, None);
        limiter.charge(bucket, RATE, 1_000, now);
        // One taken and ten in debt: a step and a little until the next passes.
        let wait = limiter.take(bucket, RATE, now).retry_after.expect("it owes");
        assert_eq!(wait, Duration::from_millis(400));
        assert!(limiter.take(bucket, RATE, now + wait - Duration::from_millis(1)).retry_after.is_some());
        assert_eq!(limiter.take(bucket, RATE, now + wait).retry_after, None);
    }

    #[test]
    fn an_hour_has_its_number() {
        let mut limiter = RateLimiter::default();
        let now = Instant::now();
        let bucket = Bucket::Members(Id::from_u128(1));
        assert_eq!(limiter.take_hourly(bucket, 3_600, 3_000, now), Ok(()));
        assert_eq!(limiter.take_hourly(bucket, 3_600, 1_000, now), Err(Duration::from_secs(400)));
        assert_eq!(limiter.take_hourly(bucket, 3_600, 600, now), Ok(()));
        assert_eq!(limiter.take_hourly(bucket, 3_600, 1, now), Err(Duration::from_secs(1)));
        assert_eq!(limiter.take_hourly(Bucket::Members(Id::from_u128(2)), 3_600, 9_999, now), Ok(()));
        limiter.expire(now + Duration::from_secs(3_600));
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
        // A request that is refused because of its neighbours spends nothing of any bucket.
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
