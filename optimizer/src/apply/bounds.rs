//! The bounds of loops, inferred: the interval of each axis over the variables of the nest.

use super::axis::{AxisState, axis_name};
use super::state::Apply;
use crate::form::scalar_tree::DefId;
use crate::integer::affine::Affine;
use crate::integer::intervals::{Interval, prune_lower, prune_upper};
use crate::integer::range::Range;

impl Apply<'_> {
    /// The axes of a piece before any loop, over `region`.
    pub(super) fn axis_states(&self, id: DefId, piece: usize, region: &[Interval]) -> Vec<AxisState> {
        let domain = &self.pieces[id][piece].piece.domain;
        let mut axes: Vec<AxisState> = Vec::with_capacity(domain.len());
        for (axis, range) in domain.iter().enumerate() {
            let bounds = region.get(axis);
            let mut state = AxisState {
                name: axis_name(axis),
                domain: range.clone(),
                lo: bounds.map(|b| b.base.clone()).into_iter().collect(),
                hi: bounds.map(|b| b.base.offset(b.extent)).into_iter().collect(),
                hull: Interval::whole(0),
                loops: Vec::new(),
                start: Affine::constant(0),
                var: None,
            };
            let limits = self.limits(&state, &axes);
            state.hull = self.hull_of(&limits, bounds);
            state.start = match limits.lo.as_slice() {
                [lo] => lo.clone(),
                _ => state.hull.base.clone(),
            };
            axes.push(state);
        }
        axes
    }

    /// The interval of an axis as affine bounds over variables: exact where the axes it depends on
    /// have their tile variable, relaxed to their hulls otherwise.
    pub(super) fn limits(&self, state: &AxisState, axes: &[AxisState]) -> Range {
        let place = |form: &Affine, lower: bool| {
            let mut sums = vec![Affine::constant(form.constant)];
            for &(axis, coefficient) in &form.terms {
                if let Some(outer) = self.loop_of_nest(axis) {
                    sums = sums.iter().map(|sum| sum.plus(&outer.times(coefficient))).collect();
                    continue;
                }
                let ends = match axes[axis].var {
                    Some(var) => vec![Affine::variable(var)],
                    None => self.ends(&axes[axis], axes, (coefficient > 0) == lower),
                };
                sums = sums.iter().flat_map(|sum| ends.iter().map(|end| sum.plus(&end.times(coefficient)))).collect();
            }
            sums
        };
        let mut lo = state.lo.clone();
        lo.extend(state.domain.lo.iter().flat_map(|form| place(form, true)));
        let mut hi = state.hi.clone();
        hi.extend(state.domain.hi.iter().flat_map(|form| place(form, false)));
        Range { lo: prune_lower(lo, self.builder.ranges()), hi: prune_upper(hi, self.builder.ranges()) }
    }

    /// Values that an axis without a tile variable is never below, or never above if not `low`. The
    /// last block of an axis may end after the axis: its own end counts too.
    fn ends(&self, state: &AxisState, axes: &[AxisState], low: bool) -> Vec<Affine> {
        let limits = self.limits(state, axes);
        if low {
            [state.hull.base.clone()].into_iter().chain(limits.lo).collect()
        } else {
            [state.hull.last()].into_iter().chain(limits.hi.iter().map(|end| end.offset(-1))).collect()
        }
    }

    /// A box around `limits`, at most as long as `region`.
    fn hull_of(&self, limits: &Range, region: Option<&Interval>) -> Interval {
        let mut best = region.cloned();
        for lo in &limits.lo {
            for hi in &limits.hi {
                let length = hi.minus(lo);
                if length.is_constant() && best.as_ref().is_none_or(|b| length.constant < b.extent) {
                    best = Some(Interval { base: lo.clone(), extent: length.constant.max(0) });
                }
            }
        }
        best.unwrap_or_else(|| {
            let low = limits.lo.iter().map(|form| self.builder.bounds(form).0).max().unwrap_or(0);
            let high = limits.hi.iter().map(|form| self.builder.bounds(form).1).min().unwrap_or(0);
            Interval { base: Affine::constant(low), extent: (high - low).max(0) }
        })
    }

    /// The range of a loop over a fold axis. The first iteration gives the accumulators their first
    /// values: it must exist, and be at one known value, inside other loops over the axis at theirs.
    /// Where that is not certain, the loop runs over the whole `hull`.
    pub(super) fn fold_range(&self, range: Range, hull: &Interval, outermost: bool) -> Range {
        let whole = Range { lo: vec![hull.base.clone()], hi: vec![hull.base.offset(hull.extent)] };
        let least = |length: &Affine| self.builder.bounds(length).0;
        let lo = if range.lo.len() == 1 && outermost { range.lo } else { whole.lo.clone() };
        let some = range.hi.iter().all(|hi| lo.iter().all(|lo| least(&hi.minus(lo)) > 0));
        if some { Range { lo, hi: range.hi } } else { whole }
    }
}
