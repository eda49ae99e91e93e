//! Whether a candidate ships: statistics of interleaved rounds, nothing else.
//!
//! Input: for the default and each candidate, one time per round. Output: the candidate whose paired confidence
//! interval excludes the default and whose median is lowest, if there is one. Pure: the seed is an argument.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The chance that any candidate is promoted that is not faster, over all candidates of one decision.
const FALSE_PROMOTION: f64 = 0.05;
/// Bootstrap resamples.
const RESAMPLES: usize = 2000;

/// A decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Promotion {
    /// Index of what ships; 0 is the default.
    pub winner: usize,
    /// For each candidate after the default, the interval of its median time ratio to the default.
    pub intervals: Vec<(f64, f64)>,
}

/// Decides from `rounds[kernel][round]`, kernel 0 being the default.
pub fn promote(rounds: &[Vec<f64>], seed: u64) -> Promotion {
    let Some((default, candidates)) = rounds.split_first() else {
        return Promotion { winner: 0, intervals: Vec::new() };
    };
    let tail = FALSE_PROMOTION / candidates.len().max(1) as f64 / 2.0;
    let mut random = StdRng::seed_from_u64(seed);
    let mut winner = (0, median(default));
    let mut intervals = Vec::with_capacity(candidates.len());
    for (index, times) in candidates.iter().enumerate() {
        let ratios: Vec<f64> = default.iter().zip(times).map(|(base, time)| time / base).collect();
        let interval = median_interval(&ratios, tail, &mut random);
        let typical = median(times);
        if interval.1 < 1.0 && typical < winner.1 {
            winner = (index + 1, typical);
        }
        intervals.push(interval);
    }
    Promotion { winner: winner.0, intervals }
}

/// The interval of `times`' median over that of `base`, from samples that were not taken in turns; `None` unless it
/// excludes 1 and the times are shorter.
pub fn faster_beyond_noise(base: &[f64], times: &[f64], seed: u64) -> Option<(f64, f64)> {
    if base.is_empty() || times.is_empty() {
        return None;
    }
    let mut random = StdRng::seed_from_u64(seed);
    let mut draw = |of: &[f64]| {
        let sample: Vec<f64> = of.iter().map(|_| of[random.random_range(0..of.len())]).collect();
        median(&sample)
    };
    let mut ratios: Vec<f64> = (0..RESAMPLES).map(|_| draw(times) / draw(base)).collect();
    ratios.sort_by(f64::total_cmp);
    let interval = percentiles(&ratios, FALSE_PROMOTION / 2.0);
    (interval.1 < 1.0).then_some(interval)
}

/// A bootstrap percentile interval of the median, `tail` left out at each end.
fn median_interval(values: &[f64], tail: f64, random: &mut StdRng) -> (f64, f64) {
    if values.is_empty() {
        return (f64::NEG_INFINITY, f64::INFINITY);
    }
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let sample: Vec<f64> = values.iter().map(|_| values[random.random_range(0..values.len())]).collect();
            median(&sample)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    percentiles(&medians, tail)
}

/// The values that leave `tail` of sorted resamples out at each end.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank below the number of resamples")]
fn percentiles(sorted: &[f64], tail: f64) -> (f64, f64) {
    let rank = ((sorted.len() as f64 * tail) as usize).min(sorted.len() / 2);
    (sorted[rank], sorted[sorted.len() - 1 - rank])
}

/// The middle value (the mean of the two middle ones); NaN if there is none.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The distance between the quartiles.
pub fn interquartile_range(values: &[f64]) -> f64 {
    quantile(values, 0.75) - quantile(values, 0.25)
}

/// The `fraction` quantile, linear between ranks.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank below the length")]
pub fn quantile(values: &[f64], fraction: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let rank = fraction.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (rank.floor() as usize, rank.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (rank - rank.floor())
}

#[cfg(test)]
mod tests {
    use super::{faster_beyond_noise, median, promote, quantile};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    fn noisy(center: f64, seed: u64) -> Vec<f64> {
        let mut random = StdRng::seed_from_u64(seed);
        (0..24).map(|_| center * (1.0 + 0.05 * random.random::<f64>())).collect()
    }

    #[test]
    fn quantiles() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(quantile(&[0.0, 10.0], 0.25), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_clear_winner_is_promoted_and_noise_is_not() {
        let default = noisy(1.0, 1);
        let decision = promote(&[default.clone(), noisy(0.8, 2), noisy(0.7, 3)], 7);
        assert_eq!(decision.winner, 2);
        let decision = promote(&[default.clone(), noisy(1.0, 4), noisy(1.2, 5)], 7);
        assert_eq!(decision.winner, 0, "{:?}", decision.intervals);
        assert_eq!(promote(&[default], 7).winner, 0);
    }

    #[test]
    fn samples_not_taken_in_turns_decide_only_what_is_clear() {
        assert!(faster_beyond_noise(&noisy(1.0, 1), &noisy(0.7, 3)[..7], 7).is_some());
        assert_eq!(faster_beyond_noise(&noisy(1.0, 1), &noisy(1.0, 4), 7), None);
        assert_eq!(faster_beyond_noise(&noisy(1.0, 1), &noisy(1.2, 5), 7), None);
        assert_eq!(faster_beyond_noise(&[], &noisy(1.0, 5), 7), None);
    }

    #[test]
    fn equal_kernels_are_rarely_promoted() {
        let promoted = (0..100)
            .filter(|&seed| promote(&[noisy(1.0, 1000 + seed), noisy(1.0, 2000 + seed)], seed).winner != 0)
            .count();
        assert!(promoted <= 10, "{promoted} of 100");
    }
}
