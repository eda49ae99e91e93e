//! An analytic estimate of a schedule's running time, and a lower bound over all schedules.
//!
//! Input: a [`NormalForm`](crate::form::normal_form::NormalForm), a [`Schedule`](crate::schedule::Schedule), a
//! [`Target`](crate::nest::target::Target). Output: nanoseconds, good for an order of candidates before any was measured.
//! It decides nothing about legality and measures nothing.
//!
//! The estimate of one execution of a stage (`stage`) is the longest of several times, and a share of the others. Each
//! is a term in a file of its own: the steps of the register tile (`compute`), the copies of operands (`packing`), the
//! movement into each cache (`traffic`), far runs of lines (`runs`). `estimate` adds up the stages, with the start
//! of threads (`threads`), time tiles (`sweep`) and what threads lose to each other (`affinity`). Every number is in
//! `constants`.
//!
//! Sources: Williams, Waterman, Patterson, *Roofline* (CACM 2009); Low et al., *Analytical modeling is enough for
//! high-performance BLIS* (TOMS 2016).

mod affinity;
mod compute;
mod constants;
mod estimate;
mod execution;
pub mod footprint;
mod levels;
mod packing;
mod placement;
mod rates;
mod register_tile;
mod roofline;
mod runs;
#[cfg(test)]
mod samples;
mod stage;
mod sweep;
mod threads;
mod traffic;

pub use estimate::parts;
pub use placement::recompute;
pub use roofline::roofline_lower_bound;
