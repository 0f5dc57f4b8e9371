//! The ratio of two servers that took the same load in turns.
//!
//! Owns how such a ratio is summed up and printed. It knows neither servers nor loads.
//! Invariant: the result is the median of the ratios of neighbouring rounds, so that a machine that changes its speed changes both.

#![allow(dead_code, reason = "each bench uses its part")]

use std::fmt::{self, Display, Formatter};
use std::ops::RangeBounds;

/// How many pairs of rounds give an interval of the median.
pub const PAIRS: usize = 20;
/// The ratios on each side of that interval: with 20 pairs it reaches from the 6th to the 15th, with a probability of 95 %.
const OUTSIDE: usize = 5;

pub struct Ratio {
    pub median: f64,
    /// Where there were [`PAIRS`] pairs.
    pub interval: Option<(f64, f64)>,
}

impl Ratio {
    pub fn of(over: impl Iterator<Item = f64>, under: impl Iterator<Item = f64>) -> Ratio {
        let mut ratios: Vec<f64> = over.zip(under).map(|(over, under)| over / under).collect();
        ratios.sort_by(f64::total_cmp);
        let interval = (ratios.len() == PAIRS).then(|| (ratios[OUTSIDE], ratios[PAIRS - 1 - OUTSIDE]));
        Ratio { median: ratios[ratios.len() / 2], interval }
    }

    /// Prints whether the median is in `required`, and returns it.
    pub fn judge(&self, what: &str, required: impl RangeBounds<f64>) -> bool {
        let is_met = required.contains(&self.median);
        println!("  {} {what} {self}", if is_met { "reached:" } else { "MISSED: " });
        is_met
    }

    /// Whether the interval excludes that both are equal.
    pub fn is_difference(&self) -> bool {
        self.interval.is_some_and(|(low, high)| !(low..=high).contains(&1.0))
    }
}

impl Display for Ratio {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.median)?;
        self.interval.map_or(Ok(()), |(low, high)| write!(f, " ({low:.3} to {high:.3})"))
    }
}

pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
