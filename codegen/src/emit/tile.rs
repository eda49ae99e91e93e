//! Register tiles: the choices of registers along a tile's points, and the value at each of them.
//!
//! Input: a tile of the nest. Output: its code at the insertion point. How an axis is cut into pieces is [`super::split`]'s
//! business, how terms are added that of [`super::terms`], [`super::pairwise`] and [`super::numpy_sum`].

use super::cx::{Cx, Emit};
use super::frame::Frame;
use super::memory::Place;
use super::plan::Plan;
use super::point::Evaluator;
use super::register::{Reg, combinations};
use super::terms::Terms;
use inkwell::values::PointerValue;
use moat_optimizer::nest::{Tile, TileShift};
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::scalar::BinaryOp;

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

    /// The tile from the axis after `chosen` on.
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

    /// The tile at one choice of registers along every axis of points.
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
                self.folds(frame, Terms { plan, folding: &folding, stack: None }, regs, &[])?;
                (0..combos.len()).map(|point| self.finish(&folding, point)).collect::<Emit<Vec<_>>>()?
            }
        };
        let mut evaluator = Evaluator::new(self, frame, plan, regs);
        for (combo, value) in combos.iter().zip(results) {
            evaluator.store(combo, value)?;
        }
        Ok(())
    }
}
