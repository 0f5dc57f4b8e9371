//! The ratio of two servers that took the same load in turns.
//!
//! Owns how such a ratio is judged. It knows neither servers nor loads.
//! Invariant: a verdict is the median of the ratios of neighbouring rounds, so that a machine that changes its speed changes both.

/// How many pairs of rounds give an interval of the median.
pub const PAIRS: usize = 20;
/// The ratios on each side of that interval: with 20 pairs it reaches from the 6th to the 15th, with a probability of 95 %.
const OUTSIDE: usize = 5;

/// Prints the median of `ratios`, with its interval if there are [`PAIRS`] of them. Returns whether the median is in `required`.
pub fn judge(what: &str, mut ratios: Vec<f64>, required: impl std::ops::RangeBounds<f64>) -> bool {
    ratios.sort_by(f64::total_cmp);
    let middle = ratios[ratios.len() / 2];
    let is_met = required.contains(&middle);
    let verdict = if is_met { "reached:" } else { "MISSED: " };
    if ratios.len() == PAIRS {
        let (low, high) = (ratios[OUTSIDE], ratios[PAIRS - 1 - OUTSIDE]);
        println!("  {verdict} {what} {middle:.3} ({low:.3} to {high:.3})");
    } else {
        println!("  {verdict} {what} {middle:.3}");
    }
    is_met
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
