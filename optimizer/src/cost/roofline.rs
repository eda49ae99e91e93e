//! A lower bound on the time of every schedule of a form.
//!
//! Takes a form, a target and a number of threads; gives nanoseconds.
//!
//! Source: Williams, Waterman, Patterson, *Roofline* (CACM 2009).

use super::constants::{BANDWIDTH_MARGIN, BOUND_BANDWIDTH, BOUND_GFLOPS, F64_SHARE, NARROW_FACTOR};
use crate::cost::footprint::model;
use crate::form::normal_form::NormalForm;
use crate::form::scalar_tree::Source;
use crate::nest::target::Target;

/// No schedule of `form` is faster than this on `target`, in nanoseconds: every definition's operations
/// at the peak of all threads, and every result and needed operand once through memory where they
/// exceed the caches.
pub fn roofline_lower_bound(form: &NormalForm, target: &Target, threads: usize) -> f64 {
    let threads = threads.max(1) as f64;
    let mut operations = 0.0;
    let mut seen = vec![0.0_f64; form.params.len()];
    let mut bytes = 0.0;
    for (id, def) in form.defs.iter().enumerate() {
        let stage = model(form, id, &|_| false);
        let iterations = stage.iterations() * stage.scale;
        let peak = match def.dtype.bytes() {
            8 => target.peak_gflops_f64.or(target.peak_gflops_f32.map(|peak| peak / F64_SHARE)),
            4 => target.peak_gflops_f32,
            _ => target.peak_gflops_f32.map(|peak| peak * NARROW_FACTOR),
        };
        // Each operation at the rate of half a multiply-add: never slower than it can be.
        operations += iterations * stage.operations / (peak.unwrap_or(BOUND_GFLOPS) * threads);
        for load in &stage.loads {
            if let Source::Param(param) = load.source {
                let touched = iterations.min(load.elements() as f64) * load.bytes as f64;
                seen[param] = seen[param].max(if iterations >= load.elements() as f64 {
                    load.footprint(&stage.extents, 1).bytes.min(touched)
                } else {
                    touched
                });
            }
        }
        if form.outputs.contains(&id) {
            bytes += def.size() as f64 * stage.bytes as f64;
        }
    }
    bytes += seen.iter().sum::<f64>();
    let largest = target.cache_bytes.iter().copied().max().unwrap_or(0) as f64;
    let memory =
        (bytes - largest).max(0.0) / (target.bandwidth_gb_s.unwrap_or(BOUND_BANDWIDTH) * threads * BANDWIDTH_MARGIN);
    operations.max(memory)
}
