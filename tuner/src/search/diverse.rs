//! A choice of good candidates that differ from each other: the draft is wrong in the same way for
//! candidates that are alike, and measuring both teaches little.

use super::candidate::Candidate;
use moat_optimizer::schedule::{Place, Schedule};
use std::collections::BTreeSet;

/// Estimates are multiplied by this for each candidate already chosen that shares the traits.
const CROWDING: f64 = 1.12;

/// The `count` best of a pool of `(estimate, candidate)`, discounting what is alike.
pub(super) fn select(mut pool: Vec<(f64, Candidate)>, count: usize) -> Vec<Candidate> {
    pool.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    pool.truncate(50 * count.max(4));
    let mut pool: Vec<(f64, Candidate, BTreeSet<Trait>)> = pool
        .into_iter()
        .map(|(estimate, candidate)| {
            let traits = traits(&candidate.schedule);
            (estimate, candidate, traits)
        })
        .collect();
    let mut chosen: Vec<Candidate> = Vec::new();
    let mut known: Vec<(usize, BTreeSet<Trait>)> = Vec::new();
    while chosen.len() < count && !pool.is_empty() {
        let crowded = |entry: &(f64, Candidate, BTreeSet<Trait>)| {
            let likeness: f64 = known
                .iter()
                .filter(|(form, _)| *form == entry.1.form)
                .map(|(_, traits)| likeness(traits, &entry.2))
                .sum();
            entry.0 * CROWDING.powf(likeness)
        };
        let best = (0..pool.len()).min_by(|&a, &b| crowded(&pool[a]).total_cmp(&crowded(&pool[b])));
        let Some(best) = best else { break };
        let (_, candidate, traits) = pool.remove(best);
        known.push((candidate.form, traits));
        chosen.push(candidate);
    }
    chosen
}

/// A coarse property of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trait {
    /// Stage, kind of place.
    Place(usize, u8),
    /// Stage, axis, unroll, lanes.
    Tile(usize, usize, usize, usize),
    /// Stage, axis, power of two of the step.
    Loop(usize, usize, u32),
    /// Stage, axis of the first loop.
    Outer(usize, usize),
    /// Stage, load.
    Pack(usize, usize),
    /// Stage.
    Parallel(usize),
}

/// The coarse properties of a schedule.
pub(super) fn traits(schedule: &Schedule) -> BTreeSet<Trait> {
    let mut all = BTreeSet::new();
    for (number, stage) in schedule.stages.iter().enumerate() {
        let place = match stage.place {
            Place::Inline => 0,
            Place::Root => 1,
            Place::At { .. } => 2,
        };
        all.insert(Trait::Place(number, place));
        all.extend(
            stage
                .tile
                .iter()
                .filter(|tile| tile.unroll * tile.lanes > 1)
                .map(|tile| Trait::Tile(number, tile.axis, tile.unroll, tile.lanes)),
        );
        all.extend(stage.loops.iter().map(|step| Trait::Loop(number, step.axis, step.step.max(1).ilog2())));
        all.extend(stage.loops.first().map(|step| Trait::Outer(number, step.axis)));
        all.extend(stage.packs.iter().map(|pack| Trait::Pack(number, pack.load)));
        if stage.parallel {
            all.insert(Trait::Parallel(number));
        }
    }
    all
}

/// From 0, nothing shared, to 1, all traits.
pub(super) fn likeness(a: &BTreeSet<Trait>, b: &BTreeSet<Trait>) -> f64 {
    let shared = a.intersection(b).count() as f64;
    shared / (a.len() + b.len()) as f64 * 2.0
}
