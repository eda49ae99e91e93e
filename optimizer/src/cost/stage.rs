//! The time of one execution of a stage, put together from the terms of the cost model.
//!
//! Takes an [`Execution`]; gives nanoseconds: the longest of the time to compute and the times to move data into each
//! cache, a share of the others, and what far runs of lines cost.

use super::compute;
use super::constants::HIDDEN;
use super::execution::Execution;
use super::packing;
use super::runs;
use super::traffic;
use crate::value::numerics::Numerics;

/// Nanoseconds of one execution.
pub(super) fn time(execution: &Execution<'_>, numerics: Numerics) -> f64 {
    let mut slots = compute::slots(execution, numerics);
    for copying in packing::slots(execution) {
        slots += copying;
    }
    let compute = slots * execution.rates.slot;
    let moving = traffic::times(execution);
    let longest = moving.iter().fold(compute, |longest, &time| longest.max(time));
    let sum = moving.iter().sum::<f64>() + compute;
    longest + HIDDEN * (sum - longest) + runs::time(execution)
}
