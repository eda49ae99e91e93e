//! The final comparison: the best few and the default in interleaved rounds, which decide what ships.
//!
//! Input: what the trials measured. Output: a [`Verdict`], and a row for each kernel that was compared.

use super::error::TuneError;
use super::summary::Figure;
use super::trials::{Measured, Measurement, Run};
use crate::interrupt::Interrupts;
use crate::measure::{Bench, Trial};
use crate::promotion::{Promotion, faster_beyond_noise, interquartile_range, median, promote, quantile};
use crate::row::{Row, Stage};
use crate::worker::disturbance::Disturbance;
use crate::worker::protocol::{Comparison, Sampling, Source};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Rounds of the final comparison, the same number at each offset of the arguments.
const ROUNDS: usize = 24;
/// Fewer where they would take longer than this, but not fewer than that.
const COMPARISON_NS: f64 = 4e10;
const FEWEST_ROUNDS: usize = 5;
/// A comparison that other work disturbed is made again so often,
const COMPARISONS: usize = 3;
/// unless it takes longer than this.
const LONG_COMPARISON: Duration = Duration::from_secs(10);
/// Candidates in it, beside the default.
const FINALISTS: usize = 5;

/// What ships.
pub(super) struct Verdict {
    /// Index among the measured.
    pub(super) winner: usize,
    pub(super) default: Option<Figure>,
    pub(super) shipped: Figure,
    pub(super) interval: Option<(f64, f64)>,
    pub(super) disturbance: Disturbance,
}

impl Run<'_> {
    /// Measures the best few and the default again, interleaved, and decides. `None` if nothing was measured.
    pub(super) fn compare(
        &mut self,
        bench: &mut Bench,
        measured: &[Measured],
        interrupts: &Interrupts,
    ) -> Result<Option<Verdict>, TuneError> {
        let mut order: Vec<usize> = (0..measured.len()).collect();
        order.sort_by(|&a, &b| measured[a].median_ns().total_cmp(&measured[b].median_ns()));
        let Some(&fastest) = order.first() else { return Ok(None) };
        let default = measured.iter().position(|kernel| kernel.trial == 0);
        // Without a measured default there is nothing to be better than.
        let reference = default.unwrap_or(fastest);
        let mut entries = vec![reference];
        let time_ns = comparison_ns(interrupts);
        if order.len() == 1 && measured[reference].median_ns() * FEWEST_ROUNDS as f64 > time_ns {
            // Nothing to compare with, and no time to measure it again.
            let figure = figure(&measured[reference], &measured[reference].end.samples_ns);
            let default = default.map(|_| figure.clone());
            let disturbance = measured[reference].end.disturbance;
            return Ok(Some(Verdict { winner: reference, default, shipped: figure, interval: None, disturbance }));
        }
        // One at least, and no more than there is time for.
        let mut round = measured[reference].median_ns();
        for at in order.into_iter().filter(|&at| at != reference).take(FINALISTS) {
            round += measured[at].median_ns();
            if entries.len() > 1 && round * FEWEST_ROUNDS as f64 > time_ns {
                break;
            }
            entries.push(at);
        }
        let (entries, compared) = self.comparison(bench, measured, entries, interrupts);
        let Some(compared) = compared else {
            // Interrupted, or the default fails beside others: what the trials saw must do.
            return Ok(Some(self.without_rounds(measured, default, reference, fastest, interrupts)));
        };
        let Promotion { winner, intervals } = promote(&compared.rounds, self.config.seed);
        let mut figures = Vec::with_capacity(entries.len());
        for (at, &entry) in entries.iter().enumerate() {
            let kernel = &measured[entry];
            let figure = figure_of(kernel, &compared, at);
            let end = Trial {
                samples_ns: compared.rounds[at].clone(),
                disturbance: compared.disturbance,
                ..kernel.end.clone()
            };
            let row = Row {
                shipped: at == winner,
                offset_ns: figure.offset_ns.values().copied().collect(),
                cold_ns: figure.cold_ns,
                ..self.row(&Measurement {
                    trial: kernel.trial,
                    stage: Stage::Final,
                    form: kernel.form,
                    schedule: &kernel.schedule,
                    nest: Some(&kernel.nest),
                    work: Some(kernel.work),
                    end: &end,
                })
            };
            self.unrecorded += usize::from(self.recording.append(&row).is_err());
            figures.push(figure);
        }
        Ok(Some(Verdict {
            winner: entries[winner],
            default: default.map(|_| figures[0].clone()),
            shipped: figures.swap_remove(winner),
            interval: winner.checked_sub(1).map(|at| intervals[at]),
            disturbance: compared.disturbance,
        }))
    }

    /// What ships where there are no rounds. After an interrupt the fastest does, if its trial and the default's differ
    /// beyond noise and its files are there soon.
    fn without_rounds(
        &self,
        measured: &[Measured],
        default: Option<usize>,
        reference: usize,
        fastest: usize,
        interrupts: &Interrupts,
    ) -> Verdict {
        let (base, best) = (&measured[reference], &measured[fastest]);
        let interval = faster_beyond_noise(&base.end.samples_ns, &best.end.samples_ns, self.config.seed)
            .filter(|_| interrupts.abandon.load(Ordering::Relaxed) && fastest != reference)
            .filter(|_| self.ready.is_soon(best.trial, best.end.compile_ns));
        let winner = if interval.is_some() { fastest } else { reference };
        Verdict {
            winner,
            default: default.map(|at| figure(&measured[at], &measured[at].end.samples_ns)),
            shipped: figure(&measured[winner], &measured[winner].end.samples_ns),
            interval,
            disturbance: measured[winner].end.disturbance,
        }
    }

    /// Interleaved rounds, again where other work disturbed them: of several, the least disturbed. A candidate that fails
    /// now is left out; nothing if the first one does.
    fn comparison(
        &self,
        bench: &mut Bench,
        measured: &[Measured],
        mut entries: Vec<usize>,
        interrupts: &Interrupts,
    ) -> (Vec<usize>, Option<Comparison>) {
        let batch_ns = Sampling::default().batch_ns;
        let mut compare = |entries: &[usize]| {
            let sources: Vec<Source> = entries.iter().map(|&at| self.source(&measured[at].nest)).collect();
            let slowest = entries.iter().map(|&at| measured[at].median_ns()).fold(0.0, f64::max);
            let round: f64 = entries.iter().map(|&at| measured[at].median_ns().max(batch_ns)).sum();
            let rounds = ((comparison_ns(interrupts) / round) as usize).clamp(FEWEST_ROUNDS, ROUNDS);
            bench.compare(&sources, rounds, batch_ns, slowest, &interrupts.abandon)
        };
        let begin = Instant::now();
        match compare(&entries) {
            Ok(Some(mut best)) => {
                let took = begin.elapsed();
                for _ in 1..COMPARISONS {
                    let no_time = took > LONG_COMPARISON || interrupts.left().is_some_and(|left| left < took);
                    if no_time || !best.disturbance.matters() || interrupts.stopped() {
                        break;
                    }
                    match compare(&entries) {
                        Ok(Some(again)) if again.disturbance.is_less_than(&best.disturbance) => best = again,
                        Ok(Some(_)) => {}
                        Ok(None) | Err(_) => break,
                    }
                }
                return (entries, Some(best));
            }
            Ok(None) => return (entries, None),
            Err(_) if entries.len() > 1 => {}
            Err(_) => return (entries, None),
        }
        // One of them fails beside others, though it did not alone: find those that do not.
        let reference = entries[0];
        let mut sound = vec![reference];
        for candidate in entries.split_off(1) {
            match compare(&[reference, candidate]) {
                Ok(Some(_)) => sound.push(candidate),
                Ok(None) => return (sound, None),
                Err(_) => {}
            }
        }
        let compared = compare(&sound).ok().flatten();
        (sound, compared)
    }
}

/// Figures of one kernel of a comparison.
fn figure_of(kernel: &Measured, compared: &Comparison, at: usize) -> Figure {
    let mut by_offset: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (&offset, &sample) in compared.offsets.iter().zip(&compared.rounds[at]) {
        by_offset.entry(offset).or_default().push(sample);
    }
    let cold = compared.cold_ns.get(at).filter(|times| !times.is_empty());
    Figure {
        offset_ns: by_offset.into_iter().map(|(offset, samples)| (offset, median(&samples))).collect(),
        cold_ns: cold.map(|times| median(times)),
        ..figure(kernel, &compared.rounds[at])
    }
}

/// What the final comparison may take.
fn comparison_ns(interrupts: &Interrupts) -> f64 {
    interrupts.left().map_or(COMPARISON_NS, |left| COMPARISON_NS.min(left.as_secs_f64() * 1e9))
}

fn figure(kernel: &Measured, samples: &[f64]) -> Figure {
    Figure {
        trial: kernel.trial,
        median_ns: median(samples),
        iqr_ns: interquartile_range(samples),
        quartiles_ns: (quantile(samples, 0.25), quantile(samples, 0.75)),
        samples: samples.len(),
        offset_ns: BTreeMap::new(),
        cold_ns: None,
    }
}
