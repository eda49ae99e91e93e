//! The terms of a fold over a register tile: computed along the fold's axes, and added to the accumulators.
//!
//! Axis by axis, each over its own ranges; one of them in blocks, where the sums of blocks wait on a [`Stack`]. How long a
//! block is was decided before.

use super::accumulators::Folding;
use super::cx::{Cx, Emit};
use super::facts::{Bounds, Facts};
use super::frame::Frame;
use super::plan::Plan;
use super::point::Evaluator;
use super::ragged::Alone;
use super::register::{Reg, combinations, few_operands};
use super::stack::Stack;
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::integer::range::Range;

/// A fold whose terms are added.
#[derive(Clone, Copy)]
pub(super) struct Terms<'f, 'n, 'c> {
    pub(super) plan: &'f Plan<'n>,
    /// What they are added to.
    pub(super) folding: &'f Folding<'c>,
    /// Where sums of blocks wait, if the terms are taken in blocks.
    pub(super) stack: Option<&'f Stack<'c>>,
}

impl<'c> Cx<'c, '_> {
    /// The fold's terms from the axis after `chosen` on, for the points with the registers `only`.
    pub(super) fn folds(
        &self,
        frame: &mut Frame<'c>,
        terms: Terms<'_, '_, 'c>,
        chosen: &[Vec<Reg<'c>>],
        only: &[Alone<'c>],
    ) -> Emit<()> {
        match terms.stack {
            Some(stack) if stack.axis == chosen.len() => self.in_blocks(frame, terms, stack, chosen, only),
            Some(_) | None => self.fold_range(frame, terms, chosen, only, None),
        }
    }

    /// The same over `range` only, which no register of the axes before has for itself.
    fn fold_range(
        &self,
        frame: &mut Frame<'c>,
        terms: Terms<'_, '_, 'c>,
        chosen: &[Vec<Reg<'c>>],
        only: &[Alone<'c>],
        range: Option<&Range>,
    ) -> Emit<()> {
        let (plan, at) = (terms.plan, chosen.len());
        if at == plan.axes.len() {
            return self.add_terms(frame, terms, chosen, only);
        }
        let mut inner = |frame: &mut Frame<'c>, regs: &[Reg<'c>], alone: &[Alone<'c>]| {
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
            self.folds(frame, terms, &chosen, &only)
        };
        if let Some(range) = range {
            return self.split(frame, plan, &plan.axes[at], range, &mut |frame, regs| inner(frame, regs, &[]));
        }
        let spread = self.spread(plan, at, chosen, only);
        self.ranges(frame, plan, at, &spread, &mut inner)
    }

    /// The terms at one choice of registers along every axis of the fold.
    fn add_terms(
        &self,
        frame: &Frame<'c>,
        Terms { plan, folding, .. }: Terms<'_, '_, 'c>,
        chosen: &[Vec<Reg<'c>>],
        only: &[Alone<'c>],
    ) -> Emit<()> {
        // The last mask holds the ones before it.
        let lanes = only.iter().rev().find_map(|alone| alone.mask.as_ref());
        let combos = combinations(&chosen[plan.points..]);
        let mut evaluator = Evaluator::new(self, frame, plan, chosen);
        let points = few_operands(&folding.combos, &chosen[..plan.points]);
        for term in &combos {
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

    /// The terms along the axis that is cut, block by block.
    fn in_blocks(
        &self,
        frame: &mut Frame<'c>,
        terms: Terms<'_, '_, 'c>,
        stack: &Stack<'c>,
        chosen: &[Vec<Reg<'c>>],
        only: &[Alone<'c>],
    ) -> Emit<()> {
        let Terms { plan, folding, .. } = terms;
        let (at, length) = (chosen.len(), stack.length);
        let axis = &plan.axes[at];
        let spread = self.spread(plan, at, chosen, only);
        let apart = spread.is_apart();
        let hull = if apart { spread.hull(&axis.axis.range) } else { spread.common().clone() };
        let unbound = || self.malformed(&plan.tile.origin, format!("bounds of axis {} are not in scope", axis.name));
        let bounds = Bounds::new(&hull, &|v| frame.facts(v)).ok_or_else(unbound)?;
        if bounds.extent.1 <= 0 {
            return Ok(());
        }
        let fixed = bounds.extent.0 == bounds.extent.1 && bounds.los.len() == 1 && !apart;
        let extent = bounds.extent.1;
        let block = |start: &Affine| Range { lo: vec![start.clone()], hi: vec![start.offset(length)] };
        let rest = |start: &Affine| Range { lo: vec![start.clone()], hi: bounds.his.clone() };
        if stack.is_written_out() {
            if !fixed {
                return Err(self.malformed(&plan.tile.origin, "blocks whose number is not known"));
            }
            let count = stack.blocks(extent);
            for number in 0..count {
                let start = bounds.los[0].offset(number * length);
                let range = if number + 1 == count { rest(&start) } else { block(&start) };
                self.fold_range(frame, terms, chosen, only, Some(&range))?;
                self.push(folding, stack)?;
            }
            return Ok(());
        }
        // A variable that no range of the nest and no other axis uses.
        let begin = self.nest.vars.len() + 2 * plan.axes.len() + at;
        let Some(facts) = bounds.variable(length, &|v| frame.facts(v)) else { return Ok(()) };
        let anywhere = Facts { modulus: 1, residue: 0, min: facts.min, max: facts.max.saturating_add(length) };
        let start = Affine::variable(begin);
        let (lo, hi) = self.interval(frame, &bounds)?;
        let name = format!("{}.block", axis.name);
        if apart {
            let last = self.index_add(hi, self.i64(-1), "last")?;
            self.counted(lo, last, length, &name, &mut |x| {
                frame.bind(begin, x, anywhere);
                let mut own = axis.axis.clone();
                own.range.lo.push(start.clone());
                own.range.hi.push(start.offset(length));
                let mut narrowed = plan.clone();
                narrowed.axes[at].axis = &own;
                self.fold_range(frame, Terms { plan: &narrowed, folding, stack: terms.stack }, chosen, only, None)?;
                self.push(folding, stack)
            })?;
            frame.unbind(begin);
            return Ok(());
        }
        let last = self.index_add(hi, self.i64(-length), "last")?;
        let from = self.counted(lo, last, length, &name, &mut |x| {
            frame.bind(begin, x, if fixed { facts } else { anywhere });
            self.fold_range(frame, terms, chosen, only, Some(&block(&start)))?;
            self.push(folding, stack)
        })?;
        if fixed {
            if extent % length != 0 {
                let start = bounds.los[0].offset(extent / length * length);
                self.fold_range(frame, terms, chosen, only, Some(&rest(&start)))?;
                self.push(folding, stack)?;
            }
        } else {
            frame.bind(begin, from, anywhere);
            let mut range = rest(&start);
            range.hi.push(start.offset(length));
            self.fold_range(frame, terms, chosen, only, Some(&range))?;
            self.push(folding, stack)?;
        }
        frame.unbind(begin);
        Ok(())
    }
}
