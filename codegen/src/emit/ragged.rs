//! Ranges that depend on an unrolled axis: the registers of that axis have ranges of their own.
//!
//! With `lo` the greatest lower bound of all registers and `hi` the least upper bound, the axis runs
//! over `lo .. hi` for all of them together, at the full width of the register tile; what lies before
//! `lo` or after `hi` runs for each register alone, in steps of one vector. A triangle of rows in
//! tiles of R so has full tiles but for R²/2 points on the diagonal. The terms of one fold keep
//! their order: before, together, after.

use super::cx::{Cx, Emit};
use super::facts::Facts;
use super::frame::Frame;
use super::tile::{Axis, Plan, Reg};
use moat_optimizer::affine::Affine;
use moat_optimizer::normal_form::Range;

/// The ranges of one axis for the registers of the axes before it.
pub(super) struct Spread {
    /// The range that all registers have in common.
    common: Range,
    /// The range of each combination of registers that has one of its own: `(axis, register)`.
    each: Vec<(Vec<(usize, usize)>, Range)>,
    /// The axes that several of these registers belong to, and how many do.
    axes: Vec<(usize, usize)>,
    /// Whether their lower bounds differ.
    lower: bool,
    /// Whether their upper bounds differ.
    upper: bool,
}

type Alone<'b, 'c> = &'b mut dyn FnMut(&mut Frame<'c>, &[Reg<'c>], &[(usize, usize)]) -> Emit<()>;

impl<'c> Cx<'c, '_> {
    /// The ranges of axis `at` where the axes before it have the registers `chosen`, of those in
    /// `only` just the one named.
    pub(super) fn spread(
        &self,
        plan: &Plan<'_>,
        at: usize,
        chosen: &[Vec<Reg<'c>>],
        only: &[(usize, usize)],
    ) -> Spread {
        let range = &plan.axes[at].axis.range;
        let depends = |forms: &[Affine], var: usize| forms.iter().any(|form| form.coefficient(var) != 0);
        let (mut lower, mut upper) = (false, false);
        // Axis, variable, and the registers with their offsets.
        let mut axes: Vec<(usize, usize, Vec<(usize, i64)>)> = Vec::new();
        for (axis, regs) in chosen.iter().enumerate() {
            let var = plan.axes[axis].axis.var;
            let (low, high) = (depends(&range.lo, var), depends(&range.hi, var));
            if !low && !high {
                continue;
            }
            let single = only.iter().find(|(other, _)| *other == axis).map(|(_, register)| *register);
            let offsets: Vec<(usize, i64)> = regs
                .iter()
                .enumerate()
                .filter(|(register, _)| single.is_none_or(|only| only == *register))
                .map(|(register, reg)| (register, reg.offset))
                .collect();
            if offsets.len() > 1 {
                (lower, upper) = (lower || low, upper || high);
            }
            axes.push((axis, var, offsets));
        }
        // A bound at the offset that makes it greatest or least.
        let extreme = |form: &Affine, greatest: bool| {
            let shift: i64 = axes
                .iter()
                .map(|(_, var, offsets)| {
                    let all = offsets.iter().map(|(_, offset)| form.coefficient(*var) * offset);
                    if greatest { all.max().unwrap_or(0) } else { all.min().unwrap_or(0) }
                })
                .sum();
            form.offset(shift)
        };
        let common = Range {
            lo: range.lo.iter().map(|form| extreme(form, true)).collect(),
            hi: range.hi.iter().map(|form| extreme(form, false)).collect(),
        };
        let mut each = Vec::new();
        if lower || upper {
            let mut combinations: Vec<(Vec<(usize, usize)>, Range)> = vec![(Vec::new(), range.clone())];
            for (axis, var, offsets) in &axes {
                combinations = combinations
                    .iter()
                    .flat_map(|(registers, range)| {
                        offsets.iter().map(move |&(register, offset)| {
                            let moved = |form: &Affine| form.offset(form.coefficient(*var) * offset);
                            let registers = [registers.as_slice(), &[(*axis, register)]].concat();
                            let lo = range.lo.iter().map(moved).collect();
                            (registers, Range { lo, hi: range.hi.iter().map(moved).collect() })
                        })
                    })
                    .collect();
            }
            each = combinations;
        }
        let several = axes.iter().filter(|(_, _, offsets)| offsets.len() > 1);
        let axes = several.map(|(axis, _, offsets)| (*axis, offsets.len())).collect();
        Spread { common, each, axes, lower, upper }
    }

    /// The code of axis `at` over all its ranges; `body` gets the axis' registers, and the registers
    /// of other axes that run alone (none: all of them).
    pub(super) fn ranges(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        at: usize,
        spread: &Spread,
        body: Alone<'_, 'c>,
    ) -> Emit<()> {
        let axis = &plan.axes[at];
        if spread.each.is_empty() {
            return self.split(frame, plan, axis, &spread.common, &mut |frame, regs| body(frame, regs, &[]));
        }
        // Where the common range begins and ends, as variables: begin ≤ end.
        let first_free = self.nest.vars.len() + 2 * at;
        let (begin, end) = (first_free, first_free + 1);
        let unbound = || self.malformed(&plan.tile.origin, "bounds are not in scope");
        let facts = |forms: &[Affine]| -> Option<Vec<Facts>> {
            forms.iter().map(|form| Facts::of(form, &|v| frame.facts(v))).collect()
        };
        let lows = facts(&spread.common.lo).ok_or_else(unbound)?;
        let highs = facts(&spread.common.hi).ok_or_else(unbound)?;
        let low = (lows.iter().map(|f| f.min).max(), lows.iter().map(|f| f.max).max());
        let high = (highs.iter().map(|f| f.min).min(), highs.iter().map(|f| f.max).min());
        let (Some(low_min), Some(low_max), Some(high_min), Some(high_max)) = (low.0, low.1, high.0, high.1) else {
            return Err(unbound());
        };
        let anywhere = |min: i64, max: i64| Facts { min, max: max.max(min), modulus: 1, residue: 0 };
        let from = self.extreme(frame, &spread.common.lo, true)?;
        frame.bind(begin, from, anywhere(low_min, low_max));
        let to = self.extreme(frame, &spread.common.hi, false)?;
        let ends_later = self.icmp(inkwell::IntPredicate::SGT, to.into(), from.into())?;
        let to = self.choose(ends_later, to, from)?;
        frame.bind(end, to, anywhere(high_min.max(low_min), high_max.max(low_max)));
        let narrow = Axis { unroll: 1, ..axis.clone() };
        let (begin_form, end_form) = (Affine::variable(begin), Affine::variable(end));
        if spread.lower {
            self.alone(frame, plan, &narrow, spread, &|range| range.hi.push(begin_form.clone()), body)?;
        }
        self.split(frame, plan, axis, &spread.common, &mut |frame, regs| body(frame, regs, &[]))?;
        if spread.upper {
            self.alone(frame, plan, &narrow, spread, &|range| range.lo.push(end_form.clone()), body)?;
        }
        frame.unbind(begin);
        frame.unbind(end);
        Ok(())
    }

    /// What each register has beyond the common range. Points of one register each are a loop over the
    /// registers; the accumulators of a fold are registers by number, so that their code is repeated.
    fn alone(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        axis: &Axis<'_>,
        spread: &Spread,
        rest: &dyn Fn(&mut Range),
        body: Alone<'_, 'c>,
    ) -> Emit<()> {
        if axis.fold {
            for (alone, range) in &spread.each {
                let mut range = range.clone();
                rest(&mut range);
                self.split(frame, plan, axis, &range, &mut |frame, regs| body(frame, regs, alone))?;
            }
            return Ok(());
        }
        let mut range = axis.axis.range.clone();
        rest(&mut range);
        let alone: Vec<(usize, usize)> = spread.axes.iter().map(|&(axis, _)| (axis, 0)).collect();
        self.each_register(frame, plan, &spread.axes, &mut |frame| {
            self.split(frame, plan, axis, &range, &mut |frame, regs| body(frame, regs, &alone))
        })
    }

    /// A loop over the registers of each axis, their variable at one after the other.
    fn each_register(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        axes: &[(usize, usize)],
        body: &mut dyn FnMut(&mut Frame<'c>) -> Emit<()>,
    ) -> Emit<()> {
        let Some((&(axis, registers), rest)) = axes.split_first() else { return body(frame) };
        let axis = &plan.axes[axis];
        let var = axis.axis.var;
        let Some(first) = frame.bound(var) else {
            return Err(self.malformed(&plan.tile.origin, "an axis is not in scope"));
        };
        let more = i64::try_from(registers).unwrap_or(i64::MAX) - 1;
        let last = self.index_add(first.value, self.i64(more), "last")?;
        let facts = Facts { modulus: 1, residue: 0, max: first.facts.max.saturating_add(more), ..first.facts };
        self.counted(first.value, last, 1, &axis.name, &mut |x| {
            frame.bind(var, x, facts);
            self.each_register(frame, plan, rest, body)
        })?;
        frame.bind(var, first.value, first.facts);
        Ok(())
    }
}
