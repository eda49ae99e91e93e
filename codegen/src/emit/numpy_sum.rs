//! Sums in NumPy's very order ([`moat_optimizer::value::pairwise`]), for exact numerics.
//!
//! A block of at most 128 terms is added with eight accumulators, which are the lanes of a vector where the points of the
//! tile have none, and then each other's neighbours. Longer sums are a walk through the tree of halves: what is left to be
//! added, and the sums of first halves, wait on a stack. Several axes are walked through as one, by their ravel.
//!
//! Input: a tile whose fold has a depth, without a register tile along its fold axes. Output: the sum of each point.

use super::cx::{Cx, Emit, Value, lanes_of};
use super::facts::{Bounds, Facts};
use super::frame::Frame;
use super::plan::{Axis, Plan};
use super::point::Evaluator;
use super::register::{Reg, combinations};
use inkwell::IntPredicate;
use inkwell::types::BasicType;
use inkwell::values::{InstructionOpcode, IntValue, PointerValue};
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::pairwise::{ACCUMULATORS, BLOCK};
use moat_optimizer::value::scalar::FoldOp;

/// Halves of halves: more than any length has.
const LEVELS: u32 = 64;
/// The accumulators as lanes.
const LANES: u32 = ACCUMULATORS as u32;
const STEP: i64 = ACCUMULATORS as i64;
const MOST: i64 = BLOCK as i64;

/// One fold axis: its first index, and how many there are.
struct Extent<'c> {
    first: IntValue<'c>,
    length: IntValue<'c>,
    facts: Facts,
}

/// A sum being emitted.
struct Sum<'s, 'c, 't> {
    plan: &'s Plan<'t>,
    /// With the accumulators as lanes along the fold axis, where that can be.
    across: Option<Plan<'t>>,
    regs: &'s [Vec<Reg<'c>>],
    combos: Vec<Vec<usize>>,
    extents: Vec<Extent<'c>>,
    dtype: DType,
    /// Of each point, the sum of a block, and then of more.
    sums: Vec<PointerValue<'c>>,
}

impl<'c> Cx<'c, '_> {
    /// The sums of a register tile, in the order of its points.
    pub(super) fn numpy_sums(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        regs: &[Vec<Reg<'c>>],
    ) -> Emit<Vec<Value<'c>>> {
        let dtype = plan.dtypes[plan.tile.value.len() - 1];
        let mut extents: Vec<Extent<'c>> = Vec::new();
        let (mut all, mut most, mut least) = (self.i64(1), 1i64, 1i64);
        for axis in &plan.axes[plan.points..] {
            let unbound = || {
                self.malformed(
                    &plan.tile.origin,
                    format!("NumPy's order over a range of axis {} that others bound", axis.name),
                )
            };
            let bounds = Bounds::new(&axis.axis.range, &|v| frame.facts(v)).ok_or_else(unbound)?;
            let facts = bounds.variable(1, &|v| frame.facts(v));
            let facts = facts.unwrap_or(Facts { min: 0, max: 0, modulus: 1, residue: 0 });
            let (low, high) = self.interval(frame, &bounds)?;
            let length = if bounds.extent.0 == bounds.extent.1 {
                self.i64(bounds.extent.0.max(0))
            } else {
                let length = self.builder.build_int_nsw_sub(high, low, "length")?;
                let args: [Value<'c>; 2] = [length.into(), self.i64(0).into()];
                self.scalar_int(self.intrinsic("llvm.smax", &[self.context.i64_type().into()], &args)?)?
            };
            (least, most) = (least.saturating_mul(bounds.extent.0.max(0)), most.saturating_mul(bounds.extent.1.max(0)));
            all = self.builder.build_int_nsw_mul(all, length, "terms")?;
            extents.push(Extent { first: low, length, facts });
        }
        let combos = combinations(regs);
        let width =
            |combo: &[usize]| plan.vector.map_or(1, |axis| regs.get(axis).map_or(1, |of| of[combo[axis]].width));
        let mut sums = Vec::with_capacity(combos.len());
        for combo in &combos {
            let slot = self.slot(self.value_type(dtype, width(combo)), "sum")?;
            self.builder.build_store(slot, self.literal(FoldOp::Sum.identity(dtype), dtype, width(combo)))?;
            sums.push(slot);
        }
        let along = plan.points;
        let across = (plan.vector.is_none() && plan.axes.len() == along + 1).then(|| {
            let mut wide = plan.clone();
            wide.axes[along].lanes = LANES;
            wide.vector = Some(along);
            wide
        });
        let sum = Sum { plan, across, regs, combos, extents, dtype, sums };
        if most > 0 {
            let mut whole = || {
                if most <= MOST {
                    self.block_sum(frame, &sum, (self.i64(0), all), (least, most))
                } else {
                    self.tree_sum(frame, &sum, all, least)
                }
            };
            if least > 0 {
                whole()?;
            } else {
                let some = self.icmp(IntPredicate::SGT, all.into(), self.i64(0).into())?;
                self.when(some, "terms", &mut whole)?;
            }
        }
        for axis in &plan.axes[plan.points..] {
            frame.unbind(axis.axis.var);
        }
        // NumPy begins with +0.
        let begun = |combo: &Vec<usize>, slot: &PointerValue<'c>| {
            let ty = self.value_type(dtype, width(combo));
            let value = self.builder.build_load(ty, *slot, "sum")?;
            let zero = self.literal(FoldOp::Sum.identity(dtype), dtype, width(combo));
            self.combine(FoldOp::Sum, dtype, zero, value)
        };
        sum.combos.iter().zip(&sum.sums).map(|(combo, slot)| begun(combo, slot)).collect()
    }

    /// The sum of at least `least` terms, maybe more than a block: a walk through the tree of halves, the first halves first.
    fn tree_sum(&self, frame: &mut Frame<'c>, sum: &Sum<'_, 'c, '_>, all: IntValue<'c>, least: i64) -> Emit<()> {
        let int = self.context.i64_type();
        let levels = int.array_type(LEVELS);
        // The length of the second half of each open sum, 0 once it is being added.
        let seconds = self.slot(levels.into(), "seconds")?;
        let mut firsts = Vec::new();
        for &slot in &sum.sums {
            let ty = self.type_of(sum, slot)?;
            firsts.push((slot, ty, self.slot(ty.array_type(LEVELS).into(), "firsts")?));
        }
        let [depth, begin, length] =
            [self.slot(int.into(), "depth")?, self.slot(int.into(), "begin")?, self.slot(int.into(), "length")?];
        self.builder.build_store(depth, self.i64(0))?;
        self.builder.build_store(begin, self.i64(0))?;
        self.builder.build_store(length, all)?;
        let get = |slot: PointerValue<'c>| self.scalar_int(self.builder.build_load(int, slot, "now")?);
        let set = |slot: PointerValue<'c>, value: IntValue<'c>| -> Emit<()> {
            self.builder.build_store(slot, value)?;
            Ok(())
        };
        let at = |level: IntValue<'c>| self.element(int.into(), seconds, level, "second");
        let [down, halve, leaf, up, joined, turn, done] =
            ["down", "halve", "leaf", "up", "joined", "turn", "done"].map(|name| self.block(name));
        let (down, halve, leaf, up, joined, turn, done) = (down?, halve?, leaf?, up?, joined?, turn?, done?);
        self.builder.build_unconditional_branch(down)?;

        self.builder.position_at_end(down);
        let now = get(length)?;
        let long = self.icmp(IntPredicate::SGT, now.into(), self.i64(MOST).into())?;
        self.builder.build_conditional_branch(self.scalar_int(long)?, halve, leaf)?;

        self.builder.position_at_end(halve);
        let half = self.binary(InstructionOpcode::LShr, now.into(), self.i64(1).into(), "half")?;
        let first = self.scalar_int(self.binary(InstructionOpcode::And, half, self.i64(-STEP).into(), "first")?)?;
        let level = get(depth)?;
        set(at(level)?, self.builder.build_int_nsw_sub(now, first, "rest")?)?;
        set(depth, self.index_add(level, self.i64(1), "deeper")?)?;
        set(length, first)?;
        self.builder.build_unconditional_branch(down)?;

        self.builder.position_at_end(leaf);
        let (from, terms) = (get(begin)?, get(length)?);
        // Of a sum of more than a block, the halves have more than a quarter of a block.
        self.block_sum(frame, sum, (from, terms), (if least > MOST { STEP } else { 1 }, MOST))?;
        set(begin, self.index_add(from, terms, "next")?)?;
        self.builder.build_unconditional_branch(up)?;

        self.builder.position_at_end(up);
        let level = get(depth)?;
        let open = self.icmp(IntPredicate::SGT, level.into(), self.i64(0).into())?;
        let above = self.index_add(level, self.i64(-1), "above")?;
        let test = self.block("test")?;
        self.builder.build_conditional_branch(self.scalar_int(open)?, test, done)?;
        self.builder.position_at_end(test);
        let second = get(at(above)?)?;
        let added = self.icmp(IntPredicate::EQ, second.into(), self.i64(0).into())?;
        self.builder.build_conditional_branch(self.scalar_int(added)?, joined, turn)?;

        self.builder.position_at_end(joined);
        for &(slot, ty, stack) in &firsts {
            let before = self.builder.build_load(ty, self.element(ty, stack, above, "first")?, "first")?;
            let value = self.builder.build_load(ty, slot, "second")?;
            self.builder.build_store(slot, self.combine(FoldOp::Sum, sum.dtype, before, value)?)?;
        }
        set(depth, above)?;
        self.builder.build_unconditional_branch(up)?;

        self.builder.position_at_end(turn);
        for &(slot, ty, stack) in &firsts {
            let value = self.builder.build_load(ty, slot, "first")?;
            self.builder.build_store(self.element(ty, stack, above, "first")?, value)?;
        }
        set(length, second)?;
        set(at(above)?, self.i64(0))?;
        self.builder.build_unconditional_branch(down)?;

        self.builder.position_at_end(done);
        Ok(())
    }

    fn type_of(&self, sum: &Sum<'_, 'c, '_>, slot: PointerValue<'c>) -> Emit<inkwell::types::BasicTypeEnum<'c>> {
        let at = sum.sums.iter().position(|&own| own == slot);
        let combo = at.map(|at| &sum.combos[at]).ok_or_else(|| self.malformed(&sum.plan.tile.origin, "a lost sum"))?;
        let width = sum.plan.vector.map_or(1, |axis| sum.regs.get(axis).map_or(1, |of| of[combo[axis]].width));
        Ok(self.value_type(sum.dtype, width))
    }

    /// The sum of `terms` from the term `from` on, at least `least` and at most `most`, one or more.
    fn block_sum(
        &self,
        frame: &mut Frame<'c>,
        sum: &Sum<'_, 'c, '_>,
        (from, terms): (IntValue<'c>, IntValue<'c>),
        (least, most): (i64, i64),
    ) -> Emit<()> {
        let end = self.index_add(from, terms, "end")?;
        let one_by_one = |frame: &mut Frame<'c>, first: IntValue<'c>| -> Emit<()> {
            let last = self.index_add(end, self.i64(-1), "last")?;
            self.counted(first, last, 1, "term", &mut |at| {
                let values = self.terms(frame, sum, at, false)?;
                self.join(sum, &values)
            })?;
            Ok(())
        };
        let short = |frame: &mut Frame<'c>| -> Emit<()> {
            let values = self.terms(frame, sum, from, false)?;
            for (&slot, value) in sum.sums.iter().zip(values) {
                self.builder.build_store(slot, value)?;
            }
            one_by_one(frame, self.index_add(from, self.i64(1), "second")?)
        };
        let long = |frame: &mut Frame<'c>| -> Emit<()> {
            let whole =
                self.scalar_int(self.binary(InstructionOpcode::And, terms.into(), self.i64(-STEP).into(), "whole")?)?;
            let rest = self.index_add(from, whole, "rest")?;
            self.rows(frame, sum, from, rest)?;
            one_by_one(frame, rest)
        };
        if most < STEP {
            return short(frame);
        }
        if least >= STEP {
            return long(frame);
        }
        let few = self.icmp(IntPredicate::SLT, terms.into(), self.i64(STEP).into())?;
        let [then, other, after] = [self.block("few")?, self.block("many")?, self.block("added")?];
        self.builder.build_conditional_branch(self.scalar_int(few)?, then, other)?;
        self.builder.position_at_end(then);
        short(frame)?;
        self.builder.build_unconditional_branch(after)?;
        self.builder.position_at_end(other);
        long(frame)?;
        self.builder.build_unconditional_branch(after)?;
        self.builder.position_at_end(after);
        Ok(())
    }

    /// Rows of eight terms, one for each accumulator, and the accumulators added: neighbours first.
    fn rows(&self, frame: &mut Frame<'c>, sum: &Sum<'_, 'c, '_>, from: IntValue<'c>, end: IntValue<'c>) -> Emit<()> {
        let second = self.index_add(from, self.i64(STEP), "second")?;
        let last = self.index_add(end, self.i64(-STEP), "last")?;
        if sum.across.is_some() {
            let mut rows = Vec::new();
            for value in self.terms(frame, sum, from, true)? {
                let row = self.splat(value, LANES)?;
                let slot = self.slot(row.get_type(), "accumulators")?;
                self.builder.build_store(slot, row)?;
                rows.push(slot);
            }
            let ty = self.value_type(sum.dtype, LANES);
            self.counted(second, last, STEP, "row", &mut |at| {
                for (&slot, value) in rows.iter().zip(self.terms(frame, sum, at, true)?) {
                    let old = self.builder.build_load(ty, slot, "old")?;
                    let value = self.splat(value, LANES)?;
                    self.builder.build_store(slot, self.combine(FoldOp::Sum, sum.dtype, old, value)?)?;
                }
                Ok(())
            })?;
            for (&slot, row) in sum.sums.iter().zip(rows) {
                let mut value = self.builder.build_load(ty, row, "row")?;
                while lanes_of(value) > 1 {
                    let (vector, half) = (self.vector(value)?, lanes_of(value) / 2);
                    let pick = |odd: u32| (0..half).map(|lane| 2 * lane + odd).collect::<Vec<u32>>();
                    let even: Value<'c> = self.shuffle(vector, vector, &pick(0))?.into();
                    let odd: Value<'c> = self.shuffle(vector, vector, &pick(1))?.into();
                    let pairs = self.combine(FoldOp::Sum, sum.dtype, even, odd)?;
                    value = if half == 1 {
                        self.builder.build_extract_element(self.vector(pairs)?, self.i32(0), "sum")?
                    } else {
                        pairs
                    };
                }
                self.builder.build_store(slot, value)?;
            }
            return Ok(());
        }
        let mut accumulators: Vec<Vec<PointerValue<'c>>> = Vec::new();
        for lane in 0..STEP {
            let at = self.index_add(from, self.i64(lane), "lane")?;
            let mut slots = Vec::new();
            for (&own, value) in sum.sums.iter().zip(self.terms(frame, sum, at, false)?) {
                let slot = self.slot(self.type_of(sum, own)?, "accumulator")?;
                self.builder.build_store(slot, value)?;
                slots.push(slot);
            }
            accumulators.push(slots);
        }
        self.counted(second, last, STEP, "row", &mut |row| {
            for (lane, slots) in (0i64..).zip(&accumulators) {
                let at = self.index_add(row, self.i64(lane), "lane")?;
                let values = self.terms(frame, sum, at, false)?;
                for ((&own, &slot), value) in sum.sums.iter().zip(slots).zip(values) {
                    let old = self.builder.build_load(self.type_of(sum, own)?, slot, "old")?;
                    self.builder.build_store(slot, self.combine(FoldOp::Sum, sum.dtype, old, value)?)?;
                }
            }
            Ok(())
        })?;
        for (point, &own) in sum.sums.iter().enumerate() {
            let ty = self.type_of(sum, own)?;
            let mut values = Vec::new();
            for slots in &accumulators {
                values.push(self.builder.build_load(ty, slots[point], "partial")?);
            }
            while values.len() > 1 {
                let pairs = values.chunks(2).map(|pair| self.combine(FoldOp::Sum, sum.dtype, pair[0], pair[1]));
                values = pairs.collect::<Emit<_>>()?;
            }
            self.builder.build_store(own, values[0])?;
        }
        Ok(())
    }

    /// Adds a term to each sum.
    fn join(&self, sum: &Sum<'_, 'c, '_>, values: &[Value<'c>]) -> Emit<()> {
        for (&slot, &value) in sum.sums.iter().zip(values) {
            let old = self.builder.build_load(self.type_of(sum, slot)?, slot, "old")?;
            self.builder.build_store(slot, self.combine(FoldOp::Sum, sum.dtype, old, value)?)?;
        }
        Ok(())
    }

    /// The term number `at` of each point; as a row of eight, if `row`.
    fn terms(&self, frame: &mut Frame<'c>, sum: &Sum<'_, 'c, '_>, at: IntValue<'c>, row: bool) -> Emit<Vec<Value<'c>>> {
        let plan = sum.across.as_ref().filter(|_| row).unwrap_or(sum.plan);
        let axes: &[Axis<'_>] = &plan.axes[plan.points..];
        let mut rest = at;
        for (number, (axis, extent)) in axes.iter().zip(&sum.extents).enumerate().rev() {
            let own = if number == 0 {
                rest
            } else {
                let own = self.builder.build_int_unsigned_rem(rest, extent.length, "digit")?;
                rest = self.builder.build_int_unsigned_div(rest, extent.length, "rest")?;
                own
            };
            let index = self.index_add(extent.first, own, &axis.name)?;
            frame.bind(axis.axis.var, index, Facts { modulus: 1, residue: 0, ..extent.facts });
        }
        let width = if row { LANES } else { 1 };
        let term = Reg { offset: 0, width, mask: None, partial: 0, aligned: false };
        let mut regs = sum.regs.to_vec();
        regs.extend(axes.iter().map(|_| vec![term.clone()]));
        let mut evaluator = Evaluator::new(self, frame, plan, &regs);
        let mut values = Vec::with_capacity(sum.combos.len());
        for (combo, &slot) in sum.combos.iter().zip(&sum.sums) {
            let combo = [combo.as_slice(), &vec![0; axes.len()]].concat();
            evaluator.evaluate(&combo)?;
            let value = evaluator.value(plan.tile.value.len() - 1, &combo)?;
            // A term that is the same for all points of a register is a scalar.
            let lanes = match self.type_of(sum, slot)? {
                inkwell::types::BasicTypeEnum::VectorType(vector) => vector.get_size(),
                inkwell::types::BasicTypeEnum::ArrayType(_)
                | inkwell::types::BasicTypeEnum::FloatType(_)
                | inkwell::types::BasicTypeEnum::IntType(_)
                | inkwell::types::BasicTypeEnum::PointerType(_)
                | inkwell::types::BasicTypeEnum::StructType(_)
                | inkwell::types::BasicTypeEnum::ScalableVectorType(_) => 1,
            };
            values.push(self.splat(value, lanes)?);
        }
        Ok(values)
    }
}
