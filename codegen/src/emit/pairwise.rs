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
use super::register::Reg;
use super::stack::Blocks;
use super::terms::Terms;
use moat_optimizer::nest::TileFold;
use moat_optimizer::value::pairwise::{depth, levels};
use std::collections::BTreeMap;

/// So many blocks are written out one after the other.
const UNROLLED: i64 = 16;
/// Lengths of a sum that only a run knows are looked at up to this one: beyond, halves are as deep as these.
const LENGTHS: i64 = 4096;

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
        let folding = self.accumulators(frame, plan, fold, regs)?;
        let stack = match self.cut(frame, plan, most)? {
            Some((blocks, known)) => Some(self.stack(plan, &folding, blocks, known)?),
            None => None,
        };
        self.folds(frame, Terms { plan, folding: &folding, stack: stack.as_ref() }, regs, &[])?;
        if let Some(stack) = &stack {
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
