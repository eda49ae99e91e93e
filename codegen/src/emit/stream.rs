//! The accesses of a tile that its pieces are best aligned for, chosen before any code is written.
//!
//! The store, or without a contiguous one the loads that weigh most. Input: a tile and what its emission needs to know.
//! Output: a [`Stream`], or none where alignment would not pay.

use super::cx::Cx;
use super::plan::{Axis, Plan, Stream};
use moat_optimizer::cost::footprint::{binary_cost, unary_cost};
use moat_optimizer::form::scalar_tree::ScalarOp;
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::integer::range::Range;
use moat_optimizer::nest::{BufferRole, TileScalar};
use std::collections::BTreeMap;

/// What a vector loses that is stored across two lines, in slots of a multiply-add, where it was not measured.
const CROSSING_STORE: f64 = 4.0;
/// The same of one that is loaded.
const CROSSING_LOAD: f64 = 0.5;
/// A load, in such slots.
const LOAD: f64 = 0.5;
/// What alignment saves in a range is at least so many times what it may cost there: two vectors.
const MARGIN: f64 = 2.0;
/// Ranges of fewer vectors stay as they are,
const FEWEST_VECTORS: f64 = 16.0;

impl Cx<'_, '_> {
    /// The stream of a tile whose alignment counts most, if there is one that all its register tiles share.
    pub(super) fn dominant(&self, plan: &Plan<'_>) -> Option<Stream> {
        let at = plan.vector.filter(|&at| at < plan.points)?;
        let lanes = i64::from(plan.axes[at].lanes);
        let trips = plan.axes[plan.points..].iter().map(|axis| trips(&axis.axis.range)).product::<f64>();
        // A term's node is computed once for every register that it depends on.
        let share = |depends: &[bool]| -> f64 {
            let shared = plan.axes.iter().zip(depends).filter(|(_, on)| !**on);
            1.0 / shared.map(|(axis, _)| axis.unroll as f64).product::<f64>()
        };
        let mut work = if plan.tile.fold.is_some() { trips } else { 0.0 };
        let mut gains: BTreeMap<(usize, Affine, bool), f64> = BTreeMap::new();
        let mut offer = |buffer: usize, offset: &Affine, written: bool, gain: f64| {
            if let Some((first, fraction)) = self.registers_aligned(plan, at, buffer, offset) {
                let unit = self.unit(buffer, lanes);
                let constant = (offset.constant + first).rem_euclid(unit);
                *gains.entry((buffer, Affine { constant, ..offset.clone() }, written)).or_default() += gain * fraction;
            }
        };
        let crossing_store = self.options.target.crossing_store.unwrap_or(CROSSING_STORE);
        offer(plan.tile.target, &plan.tile.offset, true, crossing_store);
        // Accesses of scratch memory that are aligned where they are: what others gain, they lose.
        let stored_in_scratch = self.aligned_in_scratch(plan, at, plan.tile.target, &plan.tile.offset);
        let mut lost = if stored_in_scratch { crossing_store } else { 0.0 };
        for &node in &plan.needed {
            let shared = share(&plan.depends[node]);
            let repeated = plan.depends[node][plan.points..].iter().any(|on| *on);
            let times = if repeated || plan.tile.fold.is_none() { trips } else { 1.0 };
            work += times * shared * node_cost(&plan.tile.value[node], lanes as f64);
            if let TileScalar::Load { buffer, offset } = &plan.tile.value[node] {
                offer(*buffer, offset, false, CROSSING_LOAD * shared * times);
                if self.aligned_in_scratch(plan, at, *buffer, offset) {
                    lost += CROSSING_LOAD * shared * times;
                }
            }
        }
        gains.iter_mut().filter(|((buffer, ..), _)| !self.is_scratch(*buffer)).for_each(|(_, gain)| *gain -= lost);
        let ((buffer, offset, written), gain) = gains.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        if gain <= 0.0 {
            return None;
        }
        // Single points and masked vectors cost about as much again.
        let twice = if plan.again { 1.0 } else { 2.0 };
        let vectors = (2.0 * MARGIN * twice * work / gain).ceil().max(FEWEST_VECTORS);
        #[expect(clippy::cast_possible_truncation, reason = "bounded before")]
        let vectors = (vectors < 1e6).then_some(vectors as i64)?;
        Some(Stream { buffer, offset, written, unit: self.unit(buffer, lanes), vectors })
    }

    /// Whether an access to scratch memory is contiguous and aligned wherever a range begins at a multiple of a vector.
    fn aligned_in_scratch(&self, plan: &Plan<'_>, at: usize, buffer: usize, offset: &Affine) -> bool {
        let unit = self.unit(buffer, i64::from(plan.axes[at].lanes));
        let along = plan.axes[at].axis.var;
        let whole = |&(var, coefficient): &(usize, i64)| var == along || coefficient % unit == 0;
        self.is_scratch(buffer)
            && offset.coefficient(along) == 1
            && offset.constant % unit == 0
            && offset.terms.iter().all(whole)
    }

    pub(super) fn is_scratch(&self, buffer: usize) -> bool {
        self.nest.buffers.get(buffer).is_some_and(|buffer| match buffer.role {
            BufferRole::Param(_) | BufferRole::Output(_) => false,
            BufferRole::Check(..) | BufferRole::Shared | BufferRole::Private => true,
        })
    }

    /// Elements of a buffer from one aligned address to the next: a vector, or a line where that is shorter.
    fn unit(&self, buffer: usize, lanes: i64) -> i64 {
        let bytes = self.nest.buffers.get(buffer).map_or(1, |buffer| buffer.dtype.bytes());
        lanes.min(i64::try_from(self.options.target.line_bytes / bytes.max(1)).unwrap_or(1)).max(1)
    }

    /// If an access is contiguous along the vector axis, and as aligned in every step of the axes inside of it: the
    /// distance of the registers most of which are aligned together, and their share of all registers.
    fn registers_aligned(&self, plan: &Plan<'_>, at: usize, buffer: usize, offset: &Affine) -> Option<(i64, f64)> {
        let stride = |axis: &Axis<'_>| offset.coefficient(axis.axis.var);
        let unit = self.unit(buffer, i64::from(plan.axes[at].lanes));
        let inner = plan.axes[at + 1..].iter().all(|axis| stride(axis) % unit == 0);
        if stride(&plan.axes[at]) != 1 || !inner || !u64::try_from(unit).is_ok_and(u64::is_power_of_two) || unit < 2 {
            return None;
        }
        let mut residues: BTreeMap<i64, usize> = BTreeMap::from([(0, 1)]);
        for axis in &plan.axes[..at] {
            let mut moved: BTreeMap<i64, usize> = BTreeMap::new();
            for (&residue, &count) in &residues {
                for register in 0..i64::try_from(axis.unroll).unwrap_or(1) {
                    *moved.entry((residue + register * stride(axis)).rem_euclid(unit)).or_default() += count;
                }
            }
            residues = moved;
        }
        let all: usize = residues.values().sum();
        let (&residue, &most) = residues.iter().max_by_key(|&(&residue, &count)| (count, -residue))?;
        // Rows of a register tile that begin anywhere are as well off as they are.
        (2 * most >= all).then_some((residue, most as f64 / all as f64))
    }
}

/// Iterations of a range whose bounds do not differ by constants: many.
const MANY_TRIPS: f64 = 100.0;

/// Iterations of a range, where its bounds differ by constants.
fn trips(range: &Range) -> f64 {
    let distances = range.lo.iter().flat_map(|lo| range.hi.iter().map(move |hi| hi.minus(lo)));
    let known = distances.filter(Affine::is_constant).map(|distance| distance.constant);
    known.min().map_or(MANY_TRIPS, |least| least.max(0) as f64)
}

/// What one node costs a vector, in slots of a multiply-add.
fn node_cost(node: &TileScalar, lanes: f64) -> f64 {
    match node {
        TileScalar::Load { .. } => LOAD,
        TileScalar::Gather { .. } => lanes,
        TileScalar::Compute(compute) => match &compute.op {
            ScalarOp::Unary(op, _) => unary_cost(*op),
            ScalarOp::Binary(op, ..) => binary_cost(*op, compute.dtype.is_float()),
            ScalarOp::Where(..) | ScalarOp::Cast(_) => 1.0,
            ScalarOp::Load(..) | ScalarOp::Const(_) | ScalarOp::Index(_) => 0.0,
        },
    }
}
