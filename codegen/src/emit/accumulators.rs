//! The accumulators of a fold over a register tile: made, given their first values, and combined at the end.
//!
//! Every point of the tile has several, so that no addition waits for the one before it. What is added to them is no
//! business of this file.

use super::cx::{Cx, Emit, Value, lanes_of};
use super::facts::Facts;
use super::frame::Frame;
use super::plan::Plan;
use super::point::Evaluator;
use super::register::{Reg, combinations};
use inkwell::IntPredicate;
use inkwell::values::{InstructionOpcode, PointerValue};
use moat_optimizer::nest::TileFold;
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::scalar::FoldOp;
use std::collections::BTreeMap;

/// The accumulators of one register tile: `(point, partial of each fold axis)` to slot and width.
pub(super) struct Folding<'c> {
    pub(super) op: FoldOp,
    pub(super) dtype: DType,
    pub(super) slots: BTreeMap<(usize, Vec<usize>), (PointerValue<'c>, u32)>,
    partials: Vec<Vec<usize>>,
    pub(super) combos: Vec<Vec<usize>>,
    /// The lanes of an accumulator belong to one point.
    across: bool,
}

impl<'c> Cx<'c, '_> {
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
        let folding = Folding { op: fold.op, dtype, slots, partials, combos, across };
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
                Some(so_far) => self.binary(InstructionOpcode::And, so_far, zero, "first")?,
            });
        }
        Ok(condition.map_or(First::Always, First::If))
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

/// Whether a fold begins anew in this tile, or goes on from what is stored.
enum First<'c> {
    Always,
    Never,
    If(Value<'c>),
}
