//! The term of threads: what starting them costs, and how evenly a stage's work falls on them.
//!
//! Takes a stage's decisions and the time of its work on one thread; gives nanoseconds with the threads that share it.

use super::constants::{FORK, VARYING_SHARES};
use super::placement::{block, ceil};
use crate::form::normal_form::Def;
use crate::schedule::{LoopSpec, StageSchedule};

/// Nanoseconds to start threads so many times.
pub(super) fn starting(starts: f64) -> f64 {
    starts * FORK
}

/// Nanoseconds of a stage stored whole that takes `time` on one thread and whose loop `first` the threads share, over all
/// `executions` of it.
pub(super) fn shared(
    def: &Def,
    stage: &StageSchedule,
    extents: &[usize],
    first: LoopSpec,
    time: f64,
    executions: f64,
    threads: f64,
) -> f64 {
    let (outside, times) = block(stage, extents, stage.serial);
    let trips = ceil(outside.get(first.axis).copied().unwrap_or(1), first.step) as f64;
    let packs = stage.packs.iter().filter(|pack| pack.depth <= stage.serial);
    let starts: f64 = packs.map(|pack| block(stage, extents, pack.depth).1).sum::<f64>() + times;
    let share = longest_share(def, first.axis, trips, threads);
    time * share.min(1.0) + FORK * starts * executions
}

/// The share of a stage's work that the thread with most of it does, where the blocks of an axis are divided.
fn longest_share(def: &Def, axis: usize, trips: f64, threads: f64) -> f64 {
    let rounds = (trips / threads).ceil();
    if def.ragged().contains(&axis) {
        // Blocks of a triangle: the thread that gets the last gets the largest of every round.
        return rounds * (2.0 * trips - 1.0 - threads * (rounds - 1.0)) / (trips * trips);
    }
    if !def.varies(axis) {
        return rounds / trips;
    }
    // Fewer blocks in some iterations than in others: as if each number of them came as often.
    let (mut longest, mut all) = (0.0, 0.0);
    for part in VARYING_SHARES {
        let some = (trips * part).ceil();
        longest += part * (some / threads).ceil() / some;
        all += part;
    }
    longest / all
}

#[cfg(test)]
mod tests {
    use super::{longest_share, shared, starting};
    use crate::cost::constants::FORK;
    use crate::cost::samples::{map, vectors};
    use crate::form::normal_form::Def;
    use crate::schedule::LoopSpec;
    use crate::value::dtype::DType;

    fn square() -> Def {
        Def {
            name: "b".to_owned(),
            shape: vec![64, 64],
            axes: vec![64, 64],
            dtype: DType::F32,
            scope: Vec::new(),
            pieces: Vec::new(),
            update: None,
        }
    }

    #[test]
    fn threads_divide_the_work_and_each_start_costs() {
        let model = map(64, 64);
        let mut stage = vectors(&model, 1);
        let first = LoopSpec { axis: 0, step: 16 };
        (stage.loops, stage.parallel) = (vec![first], true);
        let of =
            |time, executions, threads| shared(&square(), &stage, &model.extents, first, time, executions, threads);
        assert_eq!(of(8e6, 1.0, 2.0), 4e6 + FORK);
        assert_eq!(of(8e6, 1.0, 4.0), 2e6 + FORK);
        assert_eq!(of(8e6, 3.0, 4.0), 2e6 + 3.0 * FORK);
        assert_eq!(starting(3.0), 3.0 * starting(1.0));
    }

    #[test]
    fn a_thread_with_one_block_more_takes_longer() {
        assert_eq!(longest_share(&square(), 0, 4.0, 3.0), 0.5);
        assert_eq!(longest_share(&square(), 0, 6.0, 3.0), 1.0 / 3.0);
    }
}
