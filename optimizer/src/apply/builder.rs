//! The loop nest while it is written: buffers with names of their own, variables with their ranges.
//!
//! Takes the buffers and variables one by one; gives the [`LoopNest`] that holds them. It knows neither forms nor
//! schedules.

use crate::integer::affine::Affine;
use crate::integer::range::Range;
use crate::nest::{Buffer, BufferId, BufferRole, LoopNest, VarId};
use crate::value::dtype::DType;

/// A loop nest that is being written.
pub(super) struct NestBuilder {
    /// What is written so far.
    pub(super) nest: LoopNest,
    /// Inclusive range of each variable, for dropping redundant bounds.
    ranges: Vec<(i64, i64)>,
    /// What is being written is inside of a parallel loop.
    pub(super) in_parallel: bool,
}

impl NestBuilder {
    /// A nest without anything.
    pub(super) fn new() -> NestBuilder {
        let nest = LoopNest { buffers: Vec::new(), vars: Vec::new(), body: Vec::new() };
        NestBuilder { nest, ranges: Vec::new(), in_parallel: false }
    }

    /// The inclusive range of each variable.
    pub(super) fn ranges(&self) -> &[(i64, i64)] {
        &self.ranges
    }

    /// The least and the greatest value of a form over variables.
    pub(super) fn bounds(&self, form: &Affine) -> (i64, i64) {
        form.bounds(|v| self.ranges[v])
    }

    /// A new buffer, named `name` or like it.
    pub(super) fn buffer(&mut self, name: &str, dtype: DType, len: usize, role: BufferRole) -> BufferId {
        let mut unique = name.to_owned();
        let mut suffix = 1;
        while self.nest.buffers.iter().any(|b| b.name == unique) {
            suffix += 1;
            unique = format!("{name}_{suffix}");
        }
        self.nest.buffers.push(Buffer { name: unique, dtype, len, role });
        self.nest.buffers.len() - 1
    }

    /// Workspace of what is being written: each thread has its own inside of a parallel loop.
    pub(super) fn workspace(&self) -> BufferRole {
        if self.in_parallel { BufferRole::Private } else { BufferRole::Shared }
    }

    /// A new variable within `range`; remembers its extreme values.
    pub(super) fn variable(&mut self, name: &str, range: &Range) -> VarId {
        let least = range.lo.iter().map(|form| self.bounds(form).0).max().unwrap_or(0);
        let greatest = range.hi.iter().map(|form| self.bounds(form).1).min().unwrap_or(0) - 1;
        self.nest.vars.push(format!("{name}{}", self.nest.vars.len()));
        self.ranges.push((least, greatest.max(least)));
        self.nest.vars.len() - 1
    }

    /// Remembers the last value of a loop variable with constant bounds, which is known exactly.
    pub(super) fn tighten(&mut self, var: VarId, range: &Range, step: i64) {
        if let Some((lo, hi)) = range.as_constant()
            && hi > lo
        {
            self.ranges[var] = (lo, lo + (hi - 1 - lo) / step * step);
        }
    }
}
