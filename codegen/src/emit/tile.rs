//! Register tiles: step loops over full tiles, remainders, accumulators, stores.
//!
//! An axis of register tile `R = unroll · lanes` runs as one loop over full tiles (no test inside)
//! and then its remainder: one register tile of the static rest where the rest is known, else
//! single steps and a masked vector. Every piece is the same code on another list of [`Reg`]s.

use super::align::Span;
use super::cx::{Cx, Emit, Value, lanes_of};
use super::facts::{Bounds, Facts};
use super::frame::Frame;
use super::memory::Place;
use super::pairwise::Stack;
use super::plan::{Axis, Plan};
use super::point::Evaluator;
use super::ragged::Alone;
use inkwell::IntPredicate;
use inkwell::types::VectorType;
use inkwell::values::{IntValue, PointerValue, VectorValue};
use moat_optimizer::integer::range::Range;
use moat_optimizer::nest::{Tile, TileFold, TileShift};
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::scalar::{BinaryOp, FoldOp};
use std::collections::BTreeMap;

/// One register (vector or scalar) along one axis of a register tile.
#[derive(Clone)]
pub(crate) struct Reg<'c> {
    /// First point, relative to the axis' variable.
    pub(crate) offset: i64,
    /// Points, which are lanes if more than one.
    pub(crate) width: u32,
    /// Set where the last lanes lie outside the range.
    pub(crate) mask: Option<Mask<'c>>,
    /// On a fold axis: the accumulator it adds to.
    pub(super) partial: usize,
    /// Where the stores go past the caches: its elements lie at a multiple of the vector's size.
    pub(super) aligned: bool,
}

/// The lanes that count.
#[derive(Clone)]
pub(crate) struct Mask<'c> {
    pub(crate) lanes: VectorValue<'c>,
    pub(crate) count: Count<'c>,
}

/// Which lanes count.
#[derive(Clone, Copy)]
pub(crate) enum Count<'c> {
    /// The first so many.
    Static(u32),
    /// The first so many.
    Dynamic(IntValue<'c>),
    /// Those of the mask; this one is among them.
    Scattered(IntValue<'c>),
}

pub(super) type Body<'b, 'c> = &'b mut dyn FnMut(&mut Frame<'c>, &[Reg<'c>]) -> Emit<()>;

impl<'c, 'n> Cx<'c, 'n> {
    /// Emits a tile at the insertion point.
    pub(crate) fn tile(&self, frame: &mut Frame<'c>, tile: &Tile) -> Emit<()> {
        let plan = self.plan(tile)?;
        frame.moved = tile.shift.map(|shift| self.moved(frame, tile, shift)).transpose()?;
        self.points(frame, &plan, &mut Vec::new())?;
        frame.moved = None;
        Ok(())
    }

    /// Where the buffer that a tile writes to begins for it, moved by a value.
    fn moved(&self, frame: &Frame<'c>, tile: &Tile, shift: TileShift) -> Emit<PointerValue<'c>> {
        let malformed = || self.malformed(&tile.origin, "it is moved by, or writes to, a buffer that does not exist");
        let (target, by) = (frame.buffers.get(&tile.target), frame.buffers.get(&shift.by));
        let (&target, &by) = target.zip(by).ok_or_else(malformed)?;
        let dtype = self.nest.buffers.get(tile.target).ok_or_else(malformed)?.dtype;
        let place = Place { dtype: DType::I64, pointer: by, stride: 0, width: 1, mask: None };
        let held = self.load_at(&place)?;
        let bounded = self.binary_op(BinaryOp::Maximum, DType::I64, held, self.i64(0).into())?;
        let bounded = self.binary_op(BinaryOp::Minimum, DType::I64, bounded, self.i64(shift.last).into())?;
        self.element(self.memory_type(dtype), target, self.scalar_int(bounded)?, "moved")
    }

    fn points(&self, frame: &mut Frame<'c>, plan: &Plan<'_>, chosen: &mut Vec<Vec<Reg<'c>>>) -> Emit<()> {
        let at = chosen.len();
        if at == plan.points {
            return self.register_tile(frame, plan, chosen);
        }
        let spread = self.spread(plan, at, chosen, &[]);
        self.ranges(frame, plan, at, &spread, &mut |frame, regs, alone| {
            let mut chosen = chosen.clone();
            for alone in alone {
                chosen[alone.axis] = vec![Reg { offset: 0, width: 1, mask: None, partial: 0, aligned: false }];
            }
            chosen.push(regs.to_vec());
            self.points(frame, plan, &mut chosen)
        })
    }

    /// The pieces of one axis over `range`: full tiles, then what is left.
    pub(super) fn split(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        axis: &Axis<'_>,
        range: &Range,
        body: Body<'_, 'c>,
    ) -> Emit<()> {
        let tile = axis.register_tile();
        let unbound = || self.malformed(&plan.tile.origin, format!("bounds of axis {} are not in scope", axis.name));
        let bounds = Bounds::new(range, &|v| frame.facts(v)).ok_or_else(unbound)?;
        if bounds.extent.1 <= 0 {
            return Ok(());
        }
        let Some(facts) = bounds.variable(tile, &|v| frame.facts(v)) else { return Ok(()) };
        let (lo, hi) = self.interval(frame, &bounds)?;
        let span = Span { bounds: &bounds, lo, hi, facts };
        if plan.stream && axis.lanes > 1 {
            return self.split_past_caches(frame, plan, axis, span, body);
        }
        let Some(stream) = self.worth_aligning(frame, plan, axis, &bounds) else {
            return self.split_from(frame, plan, axis, span, body);
        };
        let least = stream.least(axis);
        if bounds.extent.0 >= least {
            return self.split_aligned(frame, plan, axis, stream, span, body);
        }
        let points = self.builder.build_int_nsw_sub(hi, lo, "points")?;
        let long = self.icmp(IntPredicate::SGE, points.into(), self.i64(least).into())?;
        self.when(long, &format!("{}.long", axis.name), &mut || {
            self.split_aligned(frame, plan, axis, stream, span, body)
        })?;
        let short = self.icmp(IntPredicate::SLT, points.into(), self.i64(least).into())?;
        self.when(short, &format!("{}.short", axis.name), &mut || self.split_from(frame, plan, axis, span, body))?;
        Ok(())
    }

    /// The same with every piece where the range's first point puts it.
    fn split_from(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        axis: &Axis<'_>,
        span: Span<'_, 'c>,
        body: Body<'_, 'c>,
    ) -> Emit<()> {
        let Span { bounds, lo, hi, facts } = span;
        let var = axis.axis.var;
        let tile = axis.register_tile();
        let full: Vec<Reg<'c>> = (0..axis.unroll).map(|register| self.whole(axis, register)).collect();
        let mut from = lo;
        if bounds.extent.1 >= tile {
            let next = self.index_add(lo, self.i64(tile), "next")?;
            if bounds.extent.1 >= 2 * tile {
                let last = self.index_add(hi, self.i64(-tile), "last")?;
                from = self.counted(lo, last, tile, &axis.name, &mut |x| {
                    frame.bind(var, x, facts);
                    body(frame, &full)
                })?;
            } else if bounds.extent.0 >= tile {
                frame.bind(var, lo, facts);
                body(frame, &full)?;
                from = next;
            } else {
                let fits = self.icmp(IntPredicate::SLE, next.into(), hi.into())?;
                self.when(fits, &axis.name, &mut || {
                    frame.bind(var, lo, facts);
                    body(frame, &full)
                })?;
                from = self.choose(fits, next, lo)?;
            }
        }
        if tile > 1 {
            self.remainder(frame, plan, axis, (bounds, lo), (from, hi), facts, body)?;
        }
        frame.unbind(var);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "an interval with what is known of it")]
    fn remainder(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        axis: &Axis<'_>,
        (bounds, lo): (&Bounds, IntValue<'c>),
        (from, hi): (IntValue<'c>, IntValue<'c>),
        facts: Facts,
        body: Body<'_, 'c>,
    ) -> Emit<()> {
        let var = axis.axis.var;
        let tile = axis.register_tile();
        if let Some(rests) = bounds.remainders(tile, &|v| frame.facts(v)) {
            let certain = rests.len() == 1 && bounds.extent.0 >= 1;
            let possible: Vec<i64> = rests.into_iter().filter(|&rest| rest != 0).collect();
            if possible.len() <= 2 {
                for rest in possible {
                    let regs = self.partial(axis, rest);
                    if certain {
                        frame.bind(var, from, facts);
                        body(frame, &regs)?;
                    } else {
                        let left = self.builder.build_int_nsw_sub(hi, from, "left")?;
                        let this = self.icmp(IntPredicate::EQ, left.into(), self.i64(rest).into())?;
                        self.when(this, &format!("{}.rest", axis.name), &mut || {
                            frame.bind(var, from, facts);
                            body(frame, &regs)
                        })?;
                    }
                }
                return Ok(());
            }
        }
        let from = if axis.lanes > 1 && axis.unroll > 1 {
            let one = [self.whole(axis, 0)];
            self.vectors(frame, axis, (from, hi), facts, &one, body)?
        } else {
            from
        };
        let overlaps = plan.again && axis.lanes > 1 && !axis.fold && !axis.masked;
        let from = if overlaps && bounds.extent.1 >= i64::from(axis.lanes) {
            self.overlapping(frame, axis, lo, (from, hi), facts, body)?
        } else {
            from
        };
        self.tail(frame, axis, (from, hi), facts, body)
    }

    /// An interval shorter than a vector as one that begins before it, if the axis has room for it; the first point that
    /// is not done.
    fn overlapping(
        &self,
        frame: &mut Frame<'c>,
        axis: &Axis<'_>,
        lo: IntValue<'c>,
        (from, hi): (IntValue<'c>, IntValue<'c>),
        facts: Facts,
        body: Body<'_, 'c>,
    ) -> Emit<IntValue<'c>> {
        let begin = self.index_add(hi, self.i64(-i64::from(axis.lanes)), "begin")?;
        let some = self.icmp(IntPredicate::SLT, from.into(), hi.into())?;
        let room = self.icmp(IntPredicate::SGE, begin.into(), lo.into())?;
        let both = self.binary(inkwell::values::InstructionOpcode::And, some, room, "overlaps")?;
        let one = [self.whole(axis, 0)];
        self.when(both, &format!("{}.overlapping", axis.name), &mut || {
            frame.bind(axis.axis.var, begin, anywhere(axis, facts));
            body(frame, &one)
        })?;
        self.choose(both, hi, from)
    }

    /// Vectors one by one; the first point after them.
    pub(super) fn vectors(
        &self,
        frame: &mut Frame<'c>,
        axis: &Axis<'_>,
        (from, hi): (IntValue<'c>, IntValue<'c>),
        facts: Facts,
        one: &[Reg<'c>],
        body: Body<'_, 'c>,
    ) -> Emit<IntValue<'c>> {
        let lanes = i64::from(axis.lanes);
        let last = self.index_add(hi, self.i64(-lanes), "last")?;
        self.counted(from, last, lanes, &format!("{}.vectors", axis.name), &mut |x| {
            frame.bind(axis.axis.var, x, anywhere(axis, facts));
            body(frame, one)
        })
    }

    /// An interval shorter than a vector: a masked one, or single points.
    pub(super) fn tail(
        &self,
        frame: &mut Frame<'c>,
        axis: &Axis<'_>,
        (from, hi): (IntValue<'c>, IntValue<'c>),
        facts: Facts,
        body: Body<'_, 'c>,
    ) -> Emit<()> {
        let var = axis.axis.var;
        let anywhere = anywhere(axis, facts);
        if axis.lanes > 1 && axis.masked {
            let left = self.builder.build_int_nsw_sub(hi, from, "left")?;
            let some = self.icmp(IntPredicate::SGT, left.into(), self.i64(0).into())?;
            self.when(some, &format!("{}.masked", axis.name), &mut || {
                let count = self.builder.build_int_truncate(left, self.context.i32_type(), "count")?;
                let inside = self.icmp(IntPredicate::ULT, self.iota(DType::I32, axis.lanes), count.into())?;
                let mask = Mask { lanes: self.vector(inside)?, count: Count::Dynamic(left) };
                frame.bind(var, from, anywhere);
                body(frame, &[Reg { offset: 0, width: axis.lanes, mask: Some(mask), partial: 0, aligned: false }])
            })?;
            return Ok(());
        }
        let last = self.index_add(hi, self.i64(-1), "last")?;
        let one = [Reg { offset: 0, width: 1, mask: None, partial: axis.scalar_partial, aligned: false }];
        self.counted(from, last, 1, &format!("{}.rest", axis.name), &mut |x| {
            frame.bind(var, x, anywhere);
            body(frame, &one)
        })?;
        Ok(())
    }

    pub(super) fn whole(&self, axis: &Axis<'_>, register: usize) -> Reg<'c> {
        let offset = i64::try_from(register).unwrap_or(0) * i64::from(axis.lanes);
        Reg { offset, width: axis.lanes, mask: None, partial: register, aligned: false }
    }

    /// Registers of a remainder of `rest` points.
    fn partial(&self, axis: &Axis<'_>, rest: i64) -> Vec<Reg<'c>> {
        let lanes = i64::from(axis.lanes);
        let whole = usize::try_from(rest / lanes).unwrap_or(0);
        let mut regs: Vec<Reg<'c>> = (0..whole).map(|register| self.whole(axis, register)).collect();
        let mut offset = rest / lanes * lanes;
        let mut left = u32::try_from(rest % lanes).unwrap_or(0);
        if left == 0 {
            return regs;
        }
        if axis.fold && !axis.masked {
            let partial = axis.scalar_partial;
            regs.extend((offset..rest).map(|offset| Reg { offset, width: 1, mask: None, partial, aligned: false }));
            return regs;
        }
        if axis.masked && (axis.fold || !left.is_power_of_two()) {
            let bits: Vec<IntValue<'c>> =
                (0..axis.lanes).map(|lane| self.context.bool_type().const_int(u64::from(lane < left), false)).collect();
            let mask = Mask { lanes: VectorType::const_vector(&bits), count: Count::Static(left) };
            regs.push(Reg { offset, width: axis.lanes, mask: Some(mask), partial: whole, aligned: false });
            return regs;
        }
        while left > 0 {
            let width = 1 << left.ilog2();
            regs.push(Reg { offset, width, mask: None, partial: 0, aligned: false });
            offset += i64::from(width);
            left -= width;
        }
        regs
    }

    fn register_tile(&self, frame: &mut Frame<'c>, plan: &Plan<'_>, regs: &[Vec<Reg<'c>>]) -> Emit<()> {
        let combos = combinations(regs);
        let Some(fold) = &plan.tile.fold else {
            let mut evaluator = Evaluator::new(self, frame, plan, regs);
            let mut values = Vec::with_capacity(combos.len());
            for combo in &combos {
                evaluator.evaluate(combo)?;
                values.push(evaluator.value(plan.tile.value.len() - 1, combo)?);
            }
            for (combo, value) in combos.iter().zip(values) {
                evaluator.store(combo, value)?;
            }
            return Ok(());
        };
        let results = match fold.depth {
            Some(_) if !self.relaxed => self.numpy_sums(frame, plan, regs)?,
            Some(most) => self.bounded_sums(frame, plan, (fold, most), regs)?,
            None => {
                let folding = self.accumulators(frame, plan, fold, regs)?;
                self.folds(frame, plan, &folding, regs, &[])?;
                (0..combos.len()).map(|point| self.finish(&folding, point)).collect::<Emit<Vec<_>>>()?
            }
        };
        let mut evaluator = Evaluator::new(self, frame, plan, regs);
        for (combo, value) in combos.iter().zip(results) {
            evaluator.store(combo, value)?;
        }
        Ok(())
    }

    /// Makes the accumulators and gives them their first values.
    pub(super) fn accumulators(
        &self,
        frame: &Frame<'c>,
        plan: &Plan<'_>,
        fold: &TileFold,
        regs: &[Vec<Reg<'c>>],
    ) -> Emit<Folding<'c>> {
        let dtype = plan.dtypes[plan.tile.value.len() - 1];
        let combos = combinations(regs);
        let mut partials = vec![Vec::new()];
        for axis in &plan.axes[plan.points..] {
            let tail = usize::from(axis.lanes > 1 && !axis.masked);
            partials = partials
                .iter()
                .flat_map(|prefix| (0..axis.unroll + tail).map(move |partial| [prefix.as_slice(), &[partial]].concat()))
                .collect();
        }
        let mut slots = BTreeMap::new();
        for (point, combo) in combos.iter().enumerate() {
            for partial in &partials {
                let width = match plan.vector {
                    Some(axis) if axis < plan.points => regs[axis][combo[axis]].width,
                    Some(axis) if partial[axis - plan.points] < plan.axes[axis].unroll => plan.axes[axis].lanes,
                    Some(_) | None => 1,
                };
                let slot = self.slot(self.value_type(dtype, width), "accumulator")?;
                slots.insert((point, partial.clone()), (slot, width));
            }
        }
        let across = plan.vector.is_some_and(|axis| axis >= plan.points);
        let folding = Folding { op: fold.op, dtype, slots, partials, combos, across, stack: None };
        let go_on = |folding: &Folding<'c>| -> Emit<()> {
            let mut evaluator = Evaluator::new(self, frame, plan, regs);
            for ((point, partial), &(slot, width)) in &folding.slots {
                let mut value = self.literal(fold.op.identity(dtype), dtype, width);
                if partial.iter().all(|&register| register == 0) {
                    let stored = evaluator.stored(&folding.combos[*point])?;
                    value = if lanes_of(stored) == width {
                        stored
                    } else {
                        let vector = self.vector(value)?;
                        self.builder.build_insert_element(vector, stored, self.i32(0), "resumed")?.into()
                    };
                }
                self.builder.build_store(slot, value)?;
            }
            Ok(())
        };
        match self.is_first(frame, fold)? {
            First::Always => self.begin_anew(&folding)?,
            First::Never => go_on(&folding)?,
            First::If(first) => {
                let anew = self.block("first")?;
                let on = self.block("resume")?;
                let after = self.block("accumulate")?;
                self.builder.build_conditional_branch(self.scalar_int(first)?, anew, on)?;
                self.builder.position_at_end(anew);
                self.begin_anew(&folding)?;
                self.builder.build_unconditional_branch(after)?;
                self.builder.position_at_end(on);
                go_on(&folding)?;
                self.builder.build_unconditional_branch(after)?;
                self.builder.position_at_end(after);
            }
        }
        Ok(folding)
    }

    /// Gives all accumulators of a fold their first value.
    pub(super) fn begin_anew(&self, folding: &Folding<'c>) -> Emit<()> {
        for &(slot, width) in folding.slots.values() {
            let identity = folding.op.identity(folding.dtype);
            self.builder.build_store(slot, self.literal(identity, folding.dtype, width))?;
        }
        Ok(())
    }

    fn is_first(&self, frame: &Frame<'c>, fold: &TileFold) -> Emit<First<'c>> {
        let mut condition: Option<Value<'c>> = None;
        for form in &fold.first {
            if let Some(facts) = Facts::of(form, &|v| frame.facts(v)) {
                if (facts.min, facts.max) == (0, 0) {
                    continue;
                }
                if facts.min > 0 || facts.max < 0 {
                    return Ok(First::Never);
                }
            }
            let zero = self.icmp(IntPredicate::EQ, self.affine(frame, form)?.into(), self.i64(0).into())?;
            condition = Some(match condition {
                None => zero,
                Some(so_far) => self.binary(inkwell::values::InstructionOpcode::And, so_far, zero, "first")?,
            });
        }
        Ok(condition.map_or(First::Always, First::If))
    }

    /// The fold's terms from the axis after `chosen` on, for the points with the registers `only`.
    pub(super) fn folds(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        folding: &Folding<'c>,
        chosen: &[Vec<Reg<'c>>],
        only: &[Alone<'c>],
    ) -> Emit<()> {
        match &folding.stack {
            Some(stack) if stack.axis == chosen.len() => self.in_blocks(frame, plan, (folding, stack), chosen, only),
            Some(_) | None => self.fold_range(frame, plan, folding, chosen, only, None),
        }
    }

    /// The same over `range` only, which no register of the axes before has for itself.
    pub(super) fn fold_range(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        folding: &Folding<'c>,
        chosen: &[Vec<Reg<'c>>],
        only: &[Alone<'c>],
        range: Option<&Range>,
    ) -> Emit<()> {
        let at = chosen.len();
        if at < plan.axes.len() {
            let mut terms = |frame: &mut Frame<'c>, regs: &[Reg<'c>], alone: &[Alone<'c>]| {
                let mut chosen = chosen.to_vec();
                let mut only = only.to_vec();
                for alone in alone {
                    if let Some(mask) = &alone.mask {
                        chosen[alone.axis][alone.register].mask = Some(mask.clone());
                    }
                    if alone.axis < plan.points {
                        only.push(alone.clone());
                    } else {
                        chosen[alone.axis] = vec![chosen[alone.axis][alone.register].clone()];
                    }
                }
                chosen.push(regs.to_vec());
                self.folds(frame, plan, folding, &chosen, &only)
            };
            if let Some(range) = range {
                return self.split(frame, plan, &plan.axes[at], range, &mut |frame, regs| terms(frame, regs, &[]));
            }
            let spread = self.spread(plan, at, chosen, only);
            return self.ranges(frame, plan, at, &spread, &mut terms);
        }
        // The last mask holds the ones before it.
        let lanes = only.iter().rev().find_map(|alone| alone.mask.as_ref());
        let terms = combinations(&chosen[plan.points..]);
        let mut evaluator = Evaluator::new(self, frame, plan, chosen);
        let points = few_operands(&folding.combos, &chosen[..plan.points]);
        for term in &terms {
            let partial: Vec<usize> =
                term.iter().zip(&chosen[plan.points..]).map(|(&register, regs)| regs[register].partial).collect();
            let mask =
                term.iter().zip(&chosen[plan.points..]).find_map(|(&register, regs)| regs[register].mask.clone());
            for (point, combo) in &points {
                if only.iter().any(|alone| combo[alone.axis] != alone.register) {
                    continue;
                }
                let combo = [combo, term.as_slice()].concat();
                evaluator.evaluate(&combo)?;
                let Some(&(slot, width)) = folding.slots.get(&(*point, partial.clone())) else {
                    return Err(self.malformed(&plan.tile.origin, "a term without an accumulator"));
                };
                let old = self.builder.build_load(self.value_type(folding.dtype, width), slot, "old")?;
                let new = match plan.fused {
                    Some((x, y)) => {
                        let (x, y) = (evaluator.value(x, &combo)?, evaluator.value(y, &combo)?);
                        self.fused(folding.dtype, x, y, old)?
                    }
                    None => {
                        let value = evaluator.value(plan.tile.value.len() - 1, &combo)?;
                        self.combine(folding.op, folding.dtype, old, value)?
                    }
                };
                let new = match mask.as_ref().or(lanes) {
                    Some(mask) => self.select(mask.lanes.into(), new, old)?,
                    None => new,
                };
                self.builder.build_store(slot, new)?;
            }
        }
        Ok(())
    }

    /// The partial accumulators of one point combined, those of each width.
    pub(super) fn by_width(&self, folding: &Folding<'c>, point: usize) -> Emit<BTreeMap<u32, Value<'c>>> {
        let mut by_width: BTreeMap<u32, Vec<Value<'c>>> = BTreeMap::new();
        for partial in &folding.partials {
            if let Some(&(slot, width)) = folding.slots.get(&(point, partial.clone())) {
                let value = self.builder.build_load(self.value_type(folding.dtype, width), slot, "partial")?;
                by_width.entry(width).or_default().push(value);
            }
        }
        let mut combined = BTreeMap::new();
        for (width, mut values) in by_width {
            while values.len() > 1 {
                let mut halves = Vec::with_capacity(values.len().div_ceil(2));
                for pair in values.chunks(2) {
                    halves.push(match pair {
                        [a, b] => self.combine(folding.op, folding.dtype, *a, *b)?,
                        rest => rest[0],
                    });
                }
                values = halves;
            }
            combined.insert(width, values[0]);
        }
        Ok(combined)
    }

    /// The partial accumulators of one point combined: vectors first, then across lanes, then the
    /// single points.
    pub(super) fn finish(&self, folding: &Folding<'c>, point: usize) -> Emit<Value<'c>> {
        let mut result: Option<Value<'c>> = None;
        for (width, mut value) in self.by_width(folding, point)?.into_iter().rev() {
            if folding.across && width > 1 {
                value = self.horizontal(folding.op, folding.dtype, value)?;
            }
            result = Some(match result {
                None => value,
                Some(so_far) => self.combine(folding.op, folding.dtype, so_far, value)?,
            });
        }
        result.ok_or_else(|| self.malformed("fold", "no accumulator"))
    }
}

/// Facts of an axis' variable off the grid of its register tile: it may take any value of the interval.
pub(super) fn anywhere(axis: &Axis<'_>, facts: Facts) -> Facts {
    Facts { modulus: 1, residue: 0, max: facts.max.saturating_add(axis.register_tile() - 1), ..facts }
}

enum First<'c> {
    Always,
    Never,
    If(Value<'c>),
}

/// The accumulators of one register tile: `(point, partial of each fold axis)` to slot and width.
pub(super) struct Folding<'c> {
    pub(super) op: FoldOp,
    pub(super) dtype: DType,
    pub(super) slots: BTreeMap<(usize, Vec<usize>), (PointerValue<'c>, u32)>,
    partials: Vec<Vec<usize>>,
    pub(super) combos: Vec<Vec<usize>>,
    /// The lanes of an accumulator belong to one point.
    across: bool,
    /// Where sums of blocks wait, if the terms are taken in blocks.
    pub(super) stack: Option<Stack<'c>>,
}

/// The points of a register tile, each with its number, so that few operands wait at a time for those that follow: the axis
/// with the most registers outermost. What one of its registers needs is then needed no more after it, and of the other
/// axes, which have fewer, the operands stay.
fn few_operands<'p>(combos: &'p [Vec<usize>], regs: &[Vec<Reg<'_>>]) -> Vec<(usize, &'p [usize])> {
    let mut axes: Vec<usize> = (0..regs.len()).collect();
    axes.sort_by_key(|&axis| std::cmp::Reverse(regs[axis].len()));
    let mut points: Vec<(usize, &[usize])> = combos.iter().map(Vec::as_slice).enumerate().collect();
    points.sort_by_key(|(_, combo)| axes.iter().map(|&axis| combo[axis]).collect::<Vec<usize>>());
    points
}

/// Every choice of one register per axis, the last axis fastest.
pub(super) fn combinations(regs: &[Vec<Reg<'_>>]) -> Vec<Vec<usize>> {
    regs.iter().fold(vec![Vec::new()], |combos, regs| {
        combos.iter().flat_map(|prefix| (0..regs.len()).map(move |at| [prefix.as_slice(), &[at]].concat())).collect()
    })
}
