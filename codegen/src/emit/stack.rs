//! Sums of blocks of terms, which wait for others of equally many blocks, like the digits of a binary counter.
//!
//! Input: accumulators that hold the sum of a block. Output: at the end, accumulators that hold the sum of all blocks. A few
//! blocks of a known number are values of the code generator; others wait in memory.

use super::accumulators::Folding;
use super::cx::{Cx, Emit, Value};
use super::plan::Plan;
use inkwell::IntPredicate;
use inkwell::types::BasicType;
use inkwell::values::{InstructionOpcode, IntValue, PointerValue};
use moat_optimizer::value::pairwise::levels;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// How a sum is cut: `axis`, counted among all axes of the tile, in blocks of `tiles` register tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    pub(super) axis: usize,
    pub(super) tiles: i64,
    /// The blocks of the whole sum, at most.
    pub(super) count: usize,
}

/// Sums of blocks that wait for others of as many blocks.
pub(super) struct Stack<'c> {
    /// The axis that is cut, counted among all axes of the tile.
    pub(super) axis: usize,
    /// Terms of a block along it.
    pub(super) length: i64,
    kept: Kept<'c>,
}

impl Stack<'_> {
    /// Whether the blocks are written out one after the other, so that their number must be known.
    pub(super) fn is_written_out(&self) -> bool {
        match self.kept {
            Kept::Values(_) => true,
            Kept::Memory { .. } => false,
        }
    }

    /// Blocks of `terms` terms along the axis.
    pub(super) fn blocks(&self, terms: i64) -> i64 {
        terms / self.length + i64::from(terms % self.length != 0)
    }
}

/// By point and width of a register.
type Sums<T> = BTreeMap<(usize, u32), T>;

enum Kept<'c> {
    /// Blocks are written out: sums with the binary logarithm of their blocks.
    Values(RefCell<Vec<(u32, Sums<Value<'c>>)>>),
    /// In memory: for each level a sum, what is being added, and the number of blocks.
    Memory { stacks: Sums<PointerValue<'c>>, carried: Sums<PointerValue<'c>>, blocks: PointerValue<'c> },
}

impl<'c> Cx<'c, '_> {
    /// An empty stack for the sums of `blocks`, whose number may be known.
    pub(super) fn stack(&self, plan: &Plan<'_>, folding: &Folding<'c>, blocks: Blocks, known: bool) -> Emit<Stack<'c>> {
        let length = blocks.tiles * plan.axes[blocks.axis].register_tile();
        if known {
            return Ok(Stack { axis: blocks.axis, length, kept: Kept::Values(RefCell::default()) });
        }
        let most = u32::try_from(levels(blocks.count) + 1).unwrap_or(64);
        let (mut stacks, mut carried) = (BTreeMap::new(), BTreeMap::new());
        for (point, width) in keys(folding) {
            let ty = self.value_type(folding.dtype, width);
            stacks.insert((point, width), self.slot(ty.array_type(most).into(), "stack")?);
            carried.insert((point, width), self.slot(ty, "carried")?);
        }
        let counter = self.slot(self.context.i64_type().into(), "blocks")?;
        self.builder.build_store(counter, self.i64(0))?;
        Ok(Stack { axis: blocks.axis, length, kept: Kept::Memory { stacks, carried, blocks: counter } })
    }

    /// Takes what the accumulators hold as the sum of one more block; they begin anew.
    pub(super) fn push(&self, folding: &Folding<'c>, stack: &Stack<'c>) -> Emit<()> {
        let mut sums = BTreeMap::new();
        for point in 0..folding.combos.len() {
            for (width, value) in self.by_width(folding, point)? {
                sums.insert((point, width), value);
            }
        }
        self.begin_anew(folding)?;
        match &stack.kept {
            Kept::Values(kept) => {
                let mut kept = kept.borrow_mut();
                let mut level = 0;
                while let Some((_, before)) = kept.pop_if(|(other, _)| *other == level) {
                    sums = self.added(folding, &before, &sums)?;
                    level += 1;
                }
                kept.push((level, sums));
            }
            Kept::Memory { stacks, carried, blocks } => {
                for (key, value) in sums {
                    self.builder.build_store(carried[&key], value)?;
                }
                let int = self.context.i64_type();
                let count = self.scalar_int(self.builder.build_load(int, *blocks, "blocks")?)?;
                let next = self.index_add(count, self.i64(1), "blocks")?;
                self.builder.build_store(*blocks, next)?;
                // As many levels are full as the number of blocks before has ones at its end.
                let flag = self.context.bool_type().const_int(1, false);
                let full = self.intrinsic("llvm.cttz", &[int.into()], &[next.into(), flag.into()])?;
                let full = self.scalar_int(full)?;
                let last = self.index_add(full, self.i64(-1), "last")?;
                self.counted(self.i64(0), last, 1, "merge", &mut |level| {
                    self.merge(folding, (stacks, carried), level)
                })?;
                for (key, &slot) in carried {
                    let ty = self.value_type(folding.dtype, key.1);
                    let value = self.builder.build_load(ty, slot, "sum")?;
                    let place = self.element(ty, stacks[key], full, "place")?;
                    self.builder.build_store(place, value)?;
                }
            }
        }
        Ok(())
    }

    /// Adds what is kept at `level` to what is carried.
    fn merge(
        &self,
        folding: &Folding<'c>,
        (stacks, carried): (&Sums<PointerValue<'c>>, &Sums<PointerValue<'c>>),
        level: IntValue<'c>,
    ) -> Emit<()> {
        for (key, &slot) in carried {
            let ty = self.value_type(folding.dtype, key.1);
            let place = self.element(ty, stacks[key], level, "place")?;
            let before = self.builder.build_load(ty, place, "before")?;
            let value = self.builder.build_load(ty, slot, "sum")?;
            self.builder.build_store(slot, self.combine(folding.op, folding.dtype, before, value)?)?;
        }
        Ok(())
    }

    /// The sum of all blocks, as what the accumulators hold.
    pub(super) fn unstack(&self, folding: &Folding<'c>, stack: &Stack<'c>) -> Emit<()> {
        let sums = match &stack.kept {
            Kept::Values(kept) => {
                let mut kept = kept.borrow_mut();
                let Some((_, mut sums)) = kept.pop() else { return Ok(()) };
                while let Some((_, before)) = kept.pop() {
                    sums = self.added(folding, &before, &sums)?;
                }
                sums
            }
            Kept::Memory { stacks, carried, blocks } => {
                for ((_, width), &slot) in carried {
                    let zero = self.literal(folding.op.identity(folding.dtype), folding.dtype, *width);
                    self.builder.build_store(slot, zero)?;
                }
                let int = self.context.i64_type();
                let count = self.scalar_int(self.builder.build_load(int, *blocks, "blocks")?)?;
                let flag = self.context.bool_type().const_zero();
                let unused = self.intrinsic("llvm.ctlz", &[int.into()], &[count.into(), flag.into()])?;
                let last = self.builder.build_int_nsw_sub(self.i64(63), self.scalar_int(unused)?, "last")?;
                self.counted(self.i64(0), last, 1, "level", &mut |level| {
                    let rest = self.binary(InstructionOpcode::LShr, count.into(), level.into(), "rest")?;
                    let bit = self.binary(InstructionOpcode::And, rest, self.i64(1).into(), "bit")?;
                    let some = self.icmp(IntPredicate::NE, bit, self.i64(0).into())?;
                    self.when(some, "level.kept", &mut || self.merge(folding, (stacks, carried), level))?;
                    Ok(())
                })?;
                let mut sums = BTreeMap::new();
                for (&key, &slot) in carried {
                    let value = self.builder.build_load(self.value_type(folding.dtype, key.1), slot, "sum")?;
                    sums.insert(key, value);
                }
                sums
            }
        };
        for ((point, width), value) in sums {
            let own = folding.slots.iter().find(|((at, _), slot)| *at == point && slot.1 == width);
            if let Some((_, &(slot, _))) = own {
                self.builder.build_store(slot, value)?;
            }
        }
        Ok(())
    }

    fn added(&self, folding: &Folding<'c>, before: &Sums<Value<'c>>, after: &Sums<Value<'c>>) -> Emit<Sums<Value<'c>>> {
        let mut sums = BTreeMap::new();
        for (&key, &value) in after {
            let value = match before.get(&key) {
                Some(&before) => self.combine(folding.op, folding.dtype, before, value)?,
                None => value,
            };
            sums.insert(key, value);
        }
        Ok(sums)
    }
}

/// The points and widths of the accumulators.
fn keys(folding: &Folding<'_>) -> Vec<(usize, u32)> {
    let mut keys: Vec<(usize, u32)> = folding.slots.iter().map(|((point, _), (_, width))| (*point, *width)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
