//! Random values of every type that has a form in bytes: the macros write them from the same lists.
//!
//! It is compiled for tests only. Invariant: each variant and each length of a length is drawn often.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::base::crypto::Entropy;
use crate::base::id::Id;
use crate::base::secret::Secret;
use crate::base::time::{UnixMs, UnixS};

/// A type with random values.
pub(crate) trait Sample {
    fn sample(entropy: &mut dyn Entropy) -> Self;
}

impl Sample for bool {
    fn sample(entropy: &mut dyn Entropy) -> bool {
        entropy.below(2) == 1
    }
}

/// Any number of bits as often as any other.
impl Sample for u64 {
    fn sample(entropy: &mut dyn Entropy) -> u64 {
        let bits = entropy.below(65) as u32;
        entropy.u64().checked_shr(64 - bits).unwrap_or(0)
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Sample for $number {
            fn sample(entropy: &mut dyn Entropy) -> $number {
                u64::sample(entropy) as $number
            }
        }
    )*};
}
numbers! { u16 u32 usize }

impl Sample for IpAddr {
    fn sample(entropy: &mut dyn Entropy) -> IpAddr {
        let number = entropy.u64();
        if entropy.below(2) == 1 {
            Ipv4Addr::from_bits(number as u32).into()
        } else {
            Ipv6Addr::from_bits(number.into()).into()
        }
    }
}

impl Sample for UnixMs {
    fn sample(entropy: &mut dyn Entropy) -> UnixMs {
        UnixMs(u64::sample(entropy))
    }
}

impl Sample for UnixS {
    fn sample(entropy: &mut dyn Entropy) -> UnixS {
        UnixS(u64::sample(entropy))
    }
}

impl<K> Sample for Id<K> {
    fn sample(entropy: &mut dyn Entropy) -> Id<K> {
        Id::from_halves(entropy.u64(), entropy.u64())
    }
}

/// Mostly short, sometimes so long that a length has two or three bytes.
impl Sample for String {
    fn sample(entropy: &mut dyn Entropy) -> String {
        const LETTERS: [char; 5] = ['a', '\0', 'é', 'ع', '🦜'];
        let len = match entropy.below(40) {
            0 => 20_000,
            1..=5 => 120 + entropy.below(16),
            _ => entropy.below(12),
        };
        (0..len).map(|_| LETTERS[entropy.below(LETTERS.len() as u64) as usize]).collect()
    }
}

impl Sample for Cow<'static, str> {
    fn sample(entropy: &mut dyn Entropy) -> Cow<'static, str> {
        Cow::Owned(String::sample(entropy))
    }
}

impl<const N: usize> Sample for [u8; N] {
    fn sample(entropy: &mut dyn Entropy) -> [u8; N] {
        let mut bytes = [0; N];
        entropy.fill(&mut bytes);
        bytes
    }
}

impl<K, const N: usize> Sample for [Id<K>; N] {
    fn sample(entropy: &mut dyn Entropy) -> [Id<K>; N] {
        std::array::from_fn(|_| Id::sample(entropy))
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(entropy: &mut dyn Entropy) -> Option<T> {
        bool::sample(entropy).then(|| T::sample(entropy))
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(entropy: &mut dyn Entropy) -> Vec<T> {
        (0..entropy.below(4)).map(|_| T::sample(entropy)).collect()
    }
}

impl<T: Sample> Sample for Box<[T]> {
    fn sample(entropy: &mut dyn Entropy) -> Box<[T]> {
        Vec::sample(entropy).into()
    }
}

impl<A: Sample, B: Sample> Sample for (A, B) {
    fn sample(entropy: &mut dyn Entropy) -> (A, B) {
        (A::sample(entropy), B::sample(entropy))
    }
}

impl<T: Sample> Sample for Box<T> {
    fn sample(entropy: &mut dyn Entropy) -> Box<T> {
        Box::new(T::sample(entropy))
    }
}

impl<T: Sample> Sample for Arc<T> {
    fn sample(entropy: &mut dyn Entropy) -> Arc<T> {
        Arc::new(T::sample(entropy))
    }
}

impl<T: Sample> Sample for Secret<T> {
    fn sample(entropy: &mut dyn Entropy) -> Secret<T> {
        Secret::new(T::sample(entropy))
    }
}
