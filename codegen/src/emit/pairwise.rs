//! Sums of which no term goes through more additions than it may ([`moat_optimizer::value::pairwise`]).
//!
//! The accumulators of a register tile run over a block of terms, are emptied onto a stack, and begin anew; sums of equally
//! many blocks are added to each other. So a term waits for those before it in its block, and then for one addition in each
//! level of a balanced tree. How long a block may be follows from the depth: long for long sums, where blocks cost nothing.
//! A few blocks of a known number are written out one after the other, without a stack in memory.
//!
//! Input: a tile whose fold has a depth, and numerics that permit another order than NumPy's. Output: the sum of each point.

use super::cx::{Cx, Emit, Value};
use super::facts::{Bounds, Facts};
use super::frame::Frame;
use super::plan::{Axis, OPERATION_LIMIT, Plan};
use super::ragged::Alone;
use super::tile::{Folding, Reg};
use inkwell::IntPredicate;
use inkwell::types::BasicType;
use inkwell::values::{InstructionOpcode, PointerValue};
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::integer::range::Range;
use moat_optimizer::nest::TileFold;
use moat_optimizer::value::pairwise::{depth, levels};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// So many blocks are written out one after the other.
const UNROLLED: i64 = 16;
/// Lengths of a sum that only a run knows are looked at up to this one: beyond, halves are as deep as these.
const LENGTHS: i64 = 4096;

/// How a sum is cut: `axis`, counted among all axes of the tile, in blocks of `tiles` register tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Blocks {
    axis: usize,
    tiles: i64,
    /// The blocks of the whole sum, at most.
    count: usize,
}

/// What a sum does along one of its axes.
#[derive(Clone, Copy, Debug)]
struct Sweep {
    unroll: i64,
    lanes: i64,
    /// What is shorter than a vector is a masked one.
    masked: bool,
    /// The length, at most.
    length: i64,
    /// It is always the same.
    known: bool,
}

impl Sweep {
    /// Terms that one accumulator takes in a sweep over `length`, at most.
    fn steps(&self, length: i64) -> i64 {
        let (whole, rest) = (length / (self.unroll * self.lanes), length % (self.unroll * self.lanes));
        if self.known {
            // The rest is one register tile.
            let vectors = if self.masked || self.lanes == 1 { rest } else { rest / self.lanes * self.lanes };
            return whole + i64::from(vectors > 0);
        }
        whole + rest / self.lanes + i64::from(self.masked && rest % self.lanes > 0)
    }

    /// Terms that the accumulator of single terms takes.
    fn singles(&self, length: i64) -> i64 {
        if self.masked || self.lanes == 1 { 0 } else { length % self.lanes }
    }

    /// Accumulators in use.
    fn partials(&self, length: i64) -> i64 {
        let tile = self.unroll * self.lanes;
        match length / tile {
            0 if self.known => (length / self.lanes + i64::from(length % self.lanes > 0)).max(1),
            0 => 1,
            _ => self.unroll,
        }
    }
}

/// Additions on the longest way through a sum over `sweeps`, the outermost first, that is cut into blocks of `tiles` along
/// sweep `at`.
fn longest(sweeps: &[Sweep], (at, tiles): (usize, i64)) -> usize {
    let count = |n: i64| usize::try_from(n.max(1)).unwrap_or(usize::MAX);
    let product = |sweeps: &[Sweep], of: &dyn Fn(&Sweep) -> i64| {
        sweeps.iter().fold(1i64, |all, sweep| all.saturating_mul(of(sweep).max(1)))
    };
    let steps = |sweep: &Sweep| sweep.steps(sweep.length);
    let inner = product(&sweeps[at + 1..], &steps);
    let own = steps(&sweeps[at]);
    let blocks = product(&sweeps[..at], &steps).saturating_mul(own.max(1).div_ceil_by(tiles));
    let chain = inner.saturating_mul(own.min(tiles).max(1));
    let partials = product(sweeps, &|sweep| sweep.partials(sweep.length));
    let lanes = product(sweeps, &|sweep| sweep.lanes.min(sweep.length));
    let merged = levels(count(blocks));
    let of_vectors = count(chain) - 1 + levels(count(partials)) + levels(count(lanes)) + merged;
    let single = |(at_single, sweep): (usize, &Sweep)| {
        let singles = sweep.singles(sweep.length);
        let around = if at_single > at {
            own.min(tiles).max(1).saturating_mul(product(&sweeps[at + 1..at_single], &steps))
        } else {
            1
        };
        (singles > 0).then(|| singles.saturating_mul(around).saturating_mul(product(&sweeps[at_single + 1..], &steps)))
    };
    let of_singles = sweeps.iter().enumerate().filter_map(single).max();
    let vectors = sweeps.iter().all(|sweep| sweep.length >= sweep.lanes);
    match of_singles {
        None => of_vectors,
        Some(singles) if vectors => of_vectors.max(count(singles) - 1 + merged) + 1,
        Some(singles) => count(singles) - 1 + merged,
    }
}

/// Division of lengths, rounded up.
trait DivCeilBy {
    fn div_ceil_by(self, by: i64) -> i64;
}

impl DivCeilBy for i64 {
    fn div_ceil_by(self, by: i64) -> i64 {
        self / by + i64::from(self % by != 0)
    }
}

/// Whether no term of a sum that is cut into blocks so goes through more than `most` additions.
fn fits(sweeps: &[Sweep], at: (usize, i64), most: usize) -> bool {
    let short = match sweeps {
        // Of one axis of a length that only a run knows, each length has a depth of its own.
        [sweep] if !sweep.known => (1..=sweep.length.min(LENGTHS)).all(|length| {
            let sweep = Sweep { length, ..*sweep };
            longest(&[sweep], at) <= depth(usize::try_from(length).unwrap_or(usize::MAX))
        }),
        _ => true,
    };
    short && longest(sweeps, at) <= most
}

/// How to cut a sum so that no term goes through more than `most` additions, in as few blocks as can be; `None` if it need
/// not be cut. Where nothing is enough, as many blocks as can be.
fn cut(sweeps: &[Sweep], most: usize) -> Option<Blocks> {
    let steps = |at: usize| sweeps[at].steps(sweeps[at].length).max(1);
    if sweeps.is_empty() || fits(sweeps, (0, steps(0)), most) {
        return None;
    }
    let few = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1);
    let mut all = (0..sweeps.len()).flat_map(|at| (1..=steps(at).min(few)).rev().map(move |tiles| (at, tiles)));
    let (at, tiles) = all.find(|&at| fits(sweeps, at, most)).unwrap_or((sweeps.len() - 1, 1));
    let outer = (0..at).fold(1i64, |all, at| all.saturating_mul(steps(at)));
    let count = usize::try_from(outer.saturating_mul(steps(at).div_ceil_by(tiles) + 1)).unwrap_or(usize::MAX);
    Some(Blocks { axis: at, tiles, count })
}

/// Whether no cut is enough: registers side by side are one addition more for a short sum, and its length is not known.
fn too_wide(sweeps: &[Sweep], most: usize) -> bool {
    cut(sweeps, most).is_some_and(|Blocks { axis, tiles, .. }| !fits(sweeps, (axis, tiles), most))
}

/// The same plan with one register after the other along the fold's axes.
fn one_register<'t>(plan: &Plan<'t>) -> Plan<'t> {
    let mut plan = plan.clone();
    for axis in &mut plan.axes[plan.points..] {
        (axis.unroll, axis.scalar_partial) = (1, usize::from(axis.lanes > 1));
    }
    plan
}

/// Sums of blocks that wait for others of as many blocks.
pub(super) struct Stack<'c> {
    /// The axis that is cut, counted among all axes of the tile.
    pub(super) axis: usize,
    /// Terms of a block along it.
    length: i64,
    kept: Kept<'c>,
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
    /// The sums of a register tile, in the order of its points, where no term goes through more than `most` additions.
    pub(super) fn bounded_sums(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        (fold, most): (&TileFold, usize),
        regs: &[Vec<Reg<'c>>],
    ) -> Emit<Vec<Value<'c>>> {
        let wide = self.sweeps(frame, plan)?.is_some_and(|sweeps| too_wide(&sweeps, most));
        let narrow = wide.then(|| one_register(plan));
        let plan = narrow.as_ref().unwrap_or(plan);
        let mut folding = self.accumulators(frame, plan, fold, regs)?;
        if let Some((blocks, known)) = self.cut(frame, plan, most)? {
            folding.stack = Some(self.stack(plan, &folding, blocks, known)?);
        }
        self.folds(frame, plan, &folding, regs, &[])?;
        if let Some(stack) = &folding.stack {
            self.unstack(&folding, stack)?;
        }
        (0..folding.combos.len()).map(|point| self.finish(&folding, point)).collect()
    }

    /// What the sum of a tile does along its axes, the outermost first; `None` where nothing is known of their bounds.
    fn sweeps(&self, frame: &Frame<'c>, plan: &Plan<'_>) -> Emit<Option<Vec<Sweep>>> {
        let mut known: BTreeMap<usize, Facts> = BTreeMap::new();
        let mut sweeps = Vec::new();
        for axis in &plan.axes[plan.points..] {
            let facts = |v: usize| known.get(&v).copied().or_else(|| frame.facts(v));
            let unbound =
                || self.malformed(&plan.tile.origin, format!("bounds of axis {} are not in scope", axis.name));
            let bounds = Bounds::new(&axis.axis.range, &facts).ok_or_else(unbound)?;
            let Some(own) = bounds.variable(1, &facts) else { return Ok(None) };
            let length = bounds.extent.1.max(0);
            let fixed = bounds.extent.0 == bounds.extent.1 && bounds.los.len() == 1 && !depends(plan, axis);
            let (unroll, lanes) = (i64::try_from(axis.unroll).unwrap_or(1), i64::from(axis.lanes));
            sweeps.push(Sweep { unroll, lanes, masked: axis.masked, length, known: fixed });
            known.insert(axis.axis.var, Facts { modulus: 1, residue: 0, ..own });
        }
        Ok(Some(sweeps))
    }

    /// How the sum of a tile is cut, and whether the number of its blocks is known.
    fn cut(&self, frame: &Frame<'c>, plan: &Plan<'_>, most: usize) -> Emit<Option<(Blocks, bool)>> {
        let Some(sweeps) = self.sweeps(frame, plan)? else { return Ok(None) };
        let Some(mut blocks) = cut(&sweeps, most) else { return Ok(None) };
        let sweep = &sweeps[blocks.axis];
        let count = sweep.length.div_ceil_by(blocks.tiles * sweep.unroll * sweep.lanes);
        let operations = plan.operations.saturating_mul(usize::try_from(count).unwrap_or(usize::MAX));
        let known = blocks.axis == 0 && sweep.known && count <= UNROLLED && operations <= OPERATION_LIMIT / 4;
        blocks.axis += plan.points;
        Ok(Some((blocks, known)))
    }

    fn stack(&self, plan: &Plan<'_>, folding: &Folding<'c>, blocks: Blocks, known: bool) -> Emit<Stack<'c>> {
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

    /// The terms along the axis that is cut, block by block.
    pub(super) fn in_blocks(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        (folding, stack): (&Folding<'c>, &Stack<'c>),
        chosen: &[Vec<Reg<'c>>],
        only: &[Alone<'c>],
    ) -> Emit<()> {
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
        if let Kept::Values(_) = &stack.kept {
            if !fixed {
                return Err(self.malformed(&plan.tile.origin, "blocks whose number is not known"));
            }
            let count = extent.div_ceil_by(length);
            for number in 0..count {
                let start = bounds.los[0].offset(number * length);
                let range = if number + 1 == count { rest(&start) } else { block(&start) };
                self.fold_range(frame, plan, folding, chosen, only, Some(&range))?;
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
                self.fold_range(frame, &narrowed, folding, chosen, only, None)?;
                self.push(folding, stack)
            })?;
            frame.unbind(begin);
            return Ok(());
        }
        let last = self.index_add(hi, self.i64(-length), "last")?;
        let from = self.counted(lo, last, length, &name, &mut |x| {
            frame.bind(begin, x, if fixed { facts } else { anywhere });
            self.fold_range(frame, plan, folding, chosen, only, Some(&block(&start)))?;
            self.push(folding, stack)
        })?;
        if fixed {
            if extent % length != 0 {
                let start = bounds.los[0].offset(extent / length * length);
                self.fold_range(frame, plan, folding, chosen, only, Some(&rest(&start)))?;
                self.push(folding, stack)?;
            }
        } else {
            frame.bind(begin, from, anywhere);
            let mut range = rest(&start);
            range.hi.push(start.offset(length));
            self.fold_range(frame, plan, folding, chosen, only, Some(&range))?;
            self.push(folding, stack)?;
        }
        frame.unbind(begin);
        Ok(())
    }

    /// Takes what the accumulators hold as the sum of one more block; they begin anew.
    fn push(&self, folding: &Folding<'c>, stack: &Stack<'c>) -> Emit<()> {
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
        level: inkwell::values::IntValue<'c>,
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
    fn unstack(&self, folding: &Folding<'c>, stack: &Stack<'c>) -> Emit<()> {
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

/// Whether the range of an axis depends on another axis of the tile.
fn depends(plan: &Plan<'_>, axis: &Axis<'_>) -> bool {
    let range = &axis.axis.range;
    let terms = range.lo.iter().chain(&range.hi).flat_map(|form| &form.terms);
    terms.into_iter().any(|term| plan.axes.iter().any(|other| other.axis.var == term.0))
}

#[cfg(test)]
mod tests {
    use super::{Blocks, Sweep, cut, longest, too_wide};
    use moat_optimizer::value::pairwise::depth;

    /// Every register tile over every length, known or not, is as deep as NumPy's sum at most, and cut into no more blocks
    /// than one for each few terms.
    #[test]
    fn no_sum_is_deeper_than_numpys() {
        let lengths =
            (1..300).chain([511, 512, 513, 1000, 1024, 1025, 1400, 4096, 4099, 1 << 16, (1 << 20) + 7, 1 << 25]);
        for length in lengths {
            let most = depth(usize::try_from(length).unwrap());
            for (unroll, lanes, masked) in
                [(1, 1, false), (1, 8, true), (1, 8, false), (4, 8, true), (1, 4, false), (4, 4, true), (4, 16, true)]
            {
                for known in [true, false] {
                    let mut sweep = Sweep { unroll, lanes, masked, length, known };
                    if too_wide(&[sweep], most) {
                        sweep.unroll = 1;
                    }
                    let (at, tiles) = match cut(&[sweep], most) {
                        None => (0, sweep.steps(length).max(1)),
                        Some(Blocks { axis, tiles, .. }) => (axis, tiles),
                    };
                    let found = longest(&[sweep], (at, tiles));
                    assert!(
                        found <= most,
                        "{length} terms, {unroll} × {lanes}: {found} additions, of {most}, in {tiles}"
                    );
                }
            }
        }
    }

    /// Long sums are cut into long blocks: what is added between them costs little.
    #[test]
    fn blocks_of_long_sums_are_long() {
        let sweep = Sweep { unroll: 4, lanes: 8, masked: true, length: 1 << 25, known: true };
        assert_eq!(cut(&[sweep], depth(1 << 25)).map(|blocks| blocks.tiles), Some(16));
        let short = Sweep { length: 64, ..sweep };
        assert_eq!(cut(&[short], depth(64)), None);
    }
}
