//! The rates of a machine that the terms of the cost model share.
//!
//! Takes a [`Target`] and a number of threads; gives [`Rates`], in nanoseconds, from what was measured where it was
//! measured.

use super::constants::{
    F32_BYTES, FIRST_CACHE_BYTES, FLOPS_OF_A_LANE, ISSUE, MIDDLE_CACHE_BYTES, UNMEASURED_BANDWIDTH, UNMEASURED_SLOT,
};
use crate::nest::target::Target;

/// Rates of a machine in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rates {
    /// One vector multiply-add when they are issued as fast as possible.
    pub(super) slot: f64,
    /// Bytes of each cache.
    pub(super) caches: Vec<f64>,
    /// Per byte that is moved into the cache of that level from the next one.
    pub(super) per_byte: Vec<f64>,
    /// Bytes of a cache line.
    pub(super) line: usize,
    /// Vector registers.
    pub(super) registers: f64,
    /// Threads that a parallel loop is divided among.
    pub(super) threads: f64,
    /// Bytes of a vector register.
    pub(super) vector_bytes: usize,
}

impl Rates {
    /// The rates of `target` with `threads` threads.
    pub(super) fn new(target: &Target, threads: usize) -> Rates {
        let lanes = (target.vector_bytes as f64 / F32_BYTES).max(1.0);
        let slot = match target.peak_gflops_f32 {
            Some(gflops) if gflops > 0.0 => FLOPS_OF_A_LANE * lanes / gflops,
            _ => UNMEASURED_SLOT,
        };
        let cycle = slot * ISSUE;
        let caches: Vec<f64> = target.cache_bytes.iter().map(|&bytes| bytes as f64).collect();
        let memory = 1.0 / target.bandwidth_gb_s.filter(|&gb| gb > 0.0).unwrap_or(UNMEASURED_BANDWIDTH);
        let levels = caches.len();
        let per_byte = (0..levels)
            .map(|level| match level {
                _ if level + 1 == levels => memory,
                0 => cycle / FIRST_CACHE_BYTES,
                _ => cycle / MIDDLE_CACHE_BYTES,
            })
            .collect();
        Rates {
            slot,
            caches,
            per_byte,
            line: target.line_bytes.max(1),
            registers: target.vector_registers.max(1) as f64,
            threads: threads.max(1) as f64,
            vector_bytes: target.vector_bytes,
        }
    }
}
