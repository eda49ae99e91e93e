//! The draft cost corrected by what was measured in this run.
//!
//! The correction is a factor for each form, and a local one from measured candidates with shared
//! traits: a kernel-weighted mean of log(time / draft). Without measurements it is the draft itself.

use super::candidate::Candidate;
use super::diverse::{Trait, likeness, traits};
use std::collections::BTreeSet;

/// Sharpness of the local mean: a candidate at likeness 1 counts e^8 times one at likeness 0.
const SHARPNESS: f64 = 8.0;
/// Weight of the form's mean against the local one, in measurements at likeness 1/2.
const PRIOR: f64 = 1.0;

#[derive(Clone, Debug, Default)]
pub(super) struct Predictor {
    /// Form, traits, log(time / draft).
    known: Vec<(usize, BTreeSet<Trait>, f64)>,
}

impl Predictor {
    /// Takes note of a measurement.
    pub(super) fn learn(&mut self, candidate: &Candidate, draft_ns: f64, time_ns: f64) {
        if draft_ns > 0.0 && time_ns > 0.0 && (time_ns / draft_ns).is_finite() {
            self.known.push((candidate.form, traits(&candidate.schedule), (time_ns / draft_ns).ln()));
        }
    }

    /// The time expected, in nanoseconds.
    pub(super) fn predict(&self, candidate: &Candidate, draft_ns: f64) -> f64 {
        let of_form: Vec<&(usize, BTreeSet<Trait>, f64)> =
            self.known.iter().filter(|known| known.0 == candidate.form).collect();
        let all: f64 = self.known.iter().map(|known| known.2).sum::<f64>();
        let overall = if self.known.is_empty() { 0.0 } else { all / self.known.len() as f64 };
        let sum: f64 = of_form.iter().map(|known| known.2).sum::<f64>();
        let mean = (sum + overall) / (of_form.len() as f64 + 1.0);
        let own = traits(&candidate.schedule);
        let (mut weighted, mut weights) = (mean * PRIOR, PRIOR);
        for known in of_form {
            let weight = ((likeness(&known.1, &own) - 0.5) * SHARPNESS).exp();
            weighted += weight * known.2;
            weights += weight;
        }
        draft_ns * (weighted / weights).exp()
    }
}
