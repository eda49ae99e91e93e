//! Ranges that depend on an axis of the register tile: its registers and lanes have ranges of their
//! own.
//!
//! With `lo` the greatest lower bound of all of them and `hi` the least upper bound, the axis runs
//! over `lo .. hi` for all together, at the full width of the register tile. What lies before `lo`
//! or after `hi` runs apart: of points, for one index after the other; of terms of a fold, for each
//! register alone, where the lanes that have not begun, or have ended, keep their accumulators. A
//! triangle in tiles of R rows so is full tiles but for the diagonal. The terms of one fold keep
//! their order: before, together, after.

use super::cx::{Cx, Emit, Value};
use super::facts::Facts;
use super::frame::Frame;
use super::plan::{Axis, Plan};
use super::register::{Count, Mask, Reg};
use inkwell::IntPredicate;
use inkwell::values::{InstructionOpcode, IntValue, VectorValue};
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::integer::range::Range;
use moat_optimizer::value::dtype::DType;

/// A register that runs apart from the others of its axis.
#[derive(Clone)]
pub(super) struct Alone<'c> {
    /// The axis.
    pub(super) axis: usize,
    /// Its number on the axis.
    pub(super) register: usize,
    /// The lanes that take part; all, if none.
    pub(super) mask: Option<Mask<'c>>,
}

/// The ranges of one axis for the registers of the axes before it.
pub(super) struct Spread<'c> {
    /// The range that all have in common.
    common: Range,
    /// The axes before it that its range depends on.
    axes: Vec<Source<'c>>,
    /// Whether lower bounds differ.
    lower: bool,
    /// Whether upper bounds differ.
    upper: bool,
}

impl<'c> Spread<'c> {
    /// Whether the registers run apart from each other beyond what they have in common.
    pub(super) fn is_apart(&self) -> bool {
        self.lower || self.upper
    }

    /// The range that all have in common.
    pub(super) fn common(&self) -> &Range {
        &self.common
    }

    /// The least range that holds those of all registers, of an axis with the range `own`.
    pub(super) fn hull(&self, own: &Range) -> Range {
        let extreme = |form: &Affine, greatest: bool| {
            form.offset(self.axes.iter().map(|source| source.extreme(form, None, greatest)).sum())
        };
        Range {
            lo: own.lo.iter().map(|form| extreme(form, false)).collect(),
            hi: own.hi.iter().map(|form| extreme(form, true)).collect(),
        }
    }
}

/// An axis that the range of another one depends on.
struct Source<'c> {
    axis: usize,
    var: usize,
    /// Its registers with their numbers.
    regs: Vec<(usize, Reg<'c>)>,
}

impl Source<'_> {
    /// The extreme value of `form`'s term in this axis over the lanes of `regs`.
    fn extreme(&self, form: &Affine, only: Option<usize>, greatest: bool) -> i64 {
        let coefficient = form.coefficient(self.var);
        let ends = self
            .regs
            .iter()
            .filter(|(register, _)| only.is_none_or(|only| only == *register))
            .flat_map(|(_, reg)| [reg.offset, reg.offset + i64::from(reg.width) - 1])
            .map(|offset| coefficient * offset);
        let end = if greatest { ends.max() } else { ends.min() };
        end.unwrap_or(0)
    }
}

/// The code of one range; given the axis' registers, and those of other axes that run alone (none:
/// all of them).
type Body<'b, 'c> = &'b mut dyn FnMut(&mut Frame<'c>, &[Reg<'c>], &[Alone<'c>]) -> Emit<()>;

/// Adds the bound that makes a range what lies before, or after, the common one.
type Beyond<'b> = &'b dyn Fn(&mut Range);

impl<'c> Cx<'c, '_> {
    /// The ranges of axis `at` where the axes before it have the registers `chosen`, of those in
    /// `only` just the one named.
    pub(super) fn spread(&self, plan: &Plan<'_>, at: usize, chosen: &[Vec<Reg<'c>>], only: &[Alone<'c>]) -> Spread<'c> {
        let range = &plan.axes[at].axis.range;
        let depends = |forms: &[Affine], var: usize| forms.iter().any(|form| form.coefficient(var) != 0);
        let (mut lower, mut upper) = (false, false);
        let mut axes: Vec<Source<'c>> = Vec::new();
        for (axis, regs) in chosen.iter().enumerate() {
            let var = plan.axes[axis].axis.var;
            let (low, high) = (depends(&range.lo, var), depends(&range.hi, var));
            if !low && !high {
                continue;
            }
            let single = only.iter().find(|alone| alone.axis == axis).map(|alone| alone.register);
            let regs: Vec<(usize, Reg<'c>)> =
                regs.iter().cloned().enumerate().filter(|(at, _)| single.is_none_or(|only| only == *at)).collect();
            if regs.len() > 1 || regs.iter().any(|(_, reg)| reg.width > 1) {
                (lower, upper) = (lower || low, upper || high);
            }
            axes.push(Source { axis, var, regs });
        }
        let extreme = |form: &Affine, greatest: bool| {
            form.offset(axes.iter().map(|source| source.extreme(form, None, greatest)).sum())
        };
        let common = Range {
            lo: range.lo.iter().map(|form| extreme(form, true)).collect(),
            hi: range.hi.iter().map(|form| extreme(form, false)).collect(),
        };
        Spread { common, axes, lower, upper }
    }

    /// The code of axis `at` over all its ranges.
    pub(super) fn ranges(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        at: usize,
        spread: &Spread<'c>,
        body: Body<'_, 'c>,
    ) -> Emit<()> {
        let axis = &plan.axes[at];
        if !spread.lower && !spread.upper {
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
        let ends_later = self.icmp(IntPredicate::SGT, to.into(), from.into())?;
        let to = self.choose(ends_later, to, from)?;
        frame.bind(end, to, anywhere(high_min.max(low_min), high_max.max(low_max)));
        if spread.lower {
            let before = |range: &mut Range| range.hi.push(Affine::variable(begin));
            self.apart(frame, plan, axis, spread, &before, body)?;
        }
        self.split(frame, plan, axis, &spread.common, &mut |frame, regs| body(frame, regs, &[]))?;
        if spread.upper {
            let after = |range: &mut Range| range.lo.push(Affine::variable(end));
            self.apart(frame, plan, axis, spread, &after, body)?;
        }
        frame.unbind(begin);
        frame.unbind(end);
        Ok(())
    }

    /// What lies beyond the common range. Points are a loop over the indices of the other axes; the
    /// accumulators of a fold are registers by number, so that their code is repeated.
    fn apart(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        axis: &Axis<'_>,
        spread: &Spread<'c>,
        beyond: Beyond<'_>,
        body: Body<'_, 'c>,
    ) -> Emit<()> {
        let narrow = Axis { unroll: 1, ..axis.clone() };
        if axis.fold {
            return self.each_register(frame, plan, &narrow, spread, beyond, &mut Vec::new(), body);
        }
        let mut range = axis.axis.range.clone();
        beyond(&mut range);
        let alone: Vec<Alone<'c>> =
            spread.axes.iter().map(|source| Alone { axis: source.axis, register: 0, mask: None }).collect();
        self.each_index(frame, plan, &spread.axes, &mut |frame| {
            self.split(frame, plan, &narrow, &range, &mut |frame, regs| body(frame, regs, &alone))
        })
    }

    /// A loop over the indices that each axis has in this tile, its variable at one after the other.
    fn each_index(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        axes: &[Source<'c>],
        body: &mut dyn FnMut(&mut Frame<'c>) -> Emit<()>,
    ) -> Emit<()> {
        let Some((source, rest)) = axes.split_first() else { return body(frame) };
        let unbound = || self.malformed(&plan.tile.origin, "an axis is not in scope");
        let first = frame.bound(source.var).ok_or_else(unbound)?;
        let (_, reg) = source.regs.last().ok_or_else(unbound)?;
        let greatest = reg.offset + i64::from(reg.width) - 1;
        let last = match reg.mask.as_ref().map(|mask| mask.count) {
            None | Some(Count::Scattered(_)) => self.i64(greatest),
            Some(Count::Static(count)) => self.i64(reg.offset + i64::from(count) - 1),
            Some(Count::Dynamic(count)) => self.index_add(count, self.i64(reg.offset - 1), "last")?,
        };
        let last = self.index_add(first.value, last, "last")?;
        let facts = Facts { modulus: 1, residue: 0, max: first.facts.max.saturating_add(greatest), ..first.facts };
        let start =
            self.index_add(first.value, self.i64(source.regs.first().map_or(0, |(_, reg)| reg.offset)), "first")?;
        self.counted(start, last, 1, &plan.axes[source.axis].name, &mut |x| {
            frame.bind(source.var, x, facts);
            self.each_index(frame, plan, rest, body)
        })?;
        frame.bind(source.var, first.value, first.facts);
        Ok(())
    }

    /// The terms of a fold beyond the common ones, for each register of the axes that they depend on.
    #[expect(clippy::too_many_arguments, reason = "a recursion over axes, with the code around and inside it")]
    fn each_register(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        axis: &Axis<'_>,
        spread: &Spread<'c>,
        beyond: Beyond<'_>,
        registers: &mut Vec<usize>,
        body: Body<'_, 'c>,
    ) -> Emit<()> {
        if let Some(source) = spread.axes.get(registers.len()) {
            for &(register, _) in &source.regs {
                registers.push(register);
                self.each_register(frame, plan, axis, spread, beyond, registers, body)?;
                registers.pop();
            }
            return Ok(());
        }
        let extreme = |form: &Affine, greatest: bool| {
            let shifts = spread.axes.iter().zip(&*registers);
            form.offset(shifts.map(|(source, &register)| source.extreme(form, Some(register), greatest)).sum())
        };
        // The least range that holds the ranges of all lanes.
        let own = &axis.axis.range;
        let mut range = Range {
            lo: own.lo.iter().map(|form| extreme(form, false)).collect(),
            hi: own.hi.iter().map(|form| extreme(form, true)).collect(),
        };
        beyond(&mut range);
        let mut alone: Vec<Alone<'c>> = spread
            .axes
            .iter()
            .zip(&*registers)
            .map(|(source, &register)| Alone { axis: source.axis, register, mask: None })
            .collect();
        self.split(frame, plan, axis, &range, &mut |frame, regs| {
            let Some((at, lanes)) = self.lanes_inside(frame, axis, spread, registers)? else {
                return body(frame, regs, &alone);
            };
            let width = std::num::NonZero::new(lanes.get_type().get_size());
            let malformed = |what: &str| self.malformed(&plan.tile.origin, what);
            let width = width.ok_or_else(|| malformed("an axis without lanes"))?;
            let bits = self.context.custom_width_int_type(width).map_err(malformed)?;
            let bits = self.builder.build_bit_cast(lanes, bits, "bits")?;
            let bits = self.scalar_int(bits)?;
            let some = self.icmp(IntPredicate::NE, bits.into(), bits.get_type().const_zero().into())?;
            self.when(some, &format!("{}.lanes", axis.name), &mut || {
                let args: [Value<'c>; 2] = [bits.into(), self.context.bool_type().const_int(1, false).into()];
                let first = self.scalar_int(self.intrinsic("llvm.cttz", &[bits.get_type().into()], &args)?)?;
                let first = self.builder.build_int_z_extend_or_bit_cast(first, self.context.i64_type(), "first")?;
                alone[at].mask = Some(Mask { lanes, count: Count::Scattered(first) });
                body(frame, regs, &alone)
            })?;
            Ok(())
        })
    }

    /// The lanes whose range holds the axis' variable, of the axis with lanes among those that the
    /// range depends on: its position in `spread`, and the mask. `None` if there is no such axis.
    fn lanes_inside(
        &self,
        frame: &Frame<'c>,
        axis: &Axis<'_>,
        spread: &Spread<'c>,
        registers: &[usize],
    ) -> Emit<Option<(usize, VectorValue<'c>)>> {
        let of = |at: usize| spread.axes[at].regs.iter().find(|(register, _)| *register == registers[at]);
        let Some((at, reg)) =
            (0..spread.axes.len()).find_map(|at| Some((at, &of(at)?.1)).filter(|(_, reg)| reg.width > 1))
        else {
            return Ok(None);
        };
        let vector = spread.axes[at].var;
        let mut lanes: Option<Value<'c>> = reg.mask.as_ref().map(|mask| mask.lanes.into());
        let Some(x) = frame.bound(axis.axis.var) else {
            return Err(self.malformed(&axis.name, "an axis is not in scope"));
        };
        let mut compare = |form: &Affine, predicate: IntPredicate| -> Emit<()> {
            let stride = form.coefficient(vector);
            if stride == 0 {
                return Ok(());
            }
            // Lane l is inside where x − (form at lane 0) `predicate` stride · l.
            let shift: i64 = (0..spread.axes.len())
                .filter_map(|at| Some(form.coefficient(spread.axes[at].var) * of(at)?.1.offset))
                .sum();
            let bound: IntValue<'c> = self.affine(frame, &form.offset(shift))?;
            let distance = self.builder.build_int_nsw_sub(x.value, bound, "distance")?;
            let distance = self.splat(distance.into(), reg.width)?;
            let steps = self.binary(
                InstructionOpcode::Mul,
                self.iota(DType::I64, reg.width),
                self.int(stride, DType::I64, reg.width),
                "steps",
            )?;
            let inside = self.icmp(predicate, distance, steps)?;
            lanes = Some(match lanes {
                None => inside,
                Some(so_far) => self.binary(InstructionOpcode::And, so_far, inside, "inside")?,
            });
            Ok(())
        };
        for low in &axis.axis.range.lo {
            compare(low, IntPredicate::SGE)?;
        }
        for high in &axis.axis.range.hi {
            compare(high, IntPredicate::SLT)?;
        }
        match lanes {
            Some(lanes) => Ok(Some((at, self.vector(lanes)?))),
            None => Ok(None),
        }
    }
}
