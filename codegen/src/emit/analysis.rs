//! What the emission of a register tile needs to know, found before any code is written.
//!
//! Input: a tile of the nest. Output: its [`Plan`], or what is wrong with the tile.

use super::cx::{Cx, Emit};
use super::domain_edge;
use super::plan::{Axis, OPERATION_LIMIT, Plan};
use crate::error::CodegenError;
use moat_optimizer::form::scalar_tree::ScalarOp;
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::nest::{Tile, TileAxis, TileScalar};
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::scalar::{BinaryOp, FoldOp};

impl Cx<'_, '_> {
    /// What the emission of `tile` needs to know.
    ///
    /// # Errors
    /// A tile that is not well formed, whose terms may not be taken in its order, or that unrolls to too much code.
    pub(super) fn plan<'t>(&self, tile: &'t Tile) -> Emit<Plan<'t>> {
        let malformed = |what: &str| Err(self.malformed(&tile.origin, what));
        if tile.fold.is_none() && !tile.folds.is_empty() {
            return malformed("fold axes without a fold");
        }
        if tile.value.is_empty() {
            return malformed("no value");
        }
        let axes = self.axes(tile)?;
        let vector = axes.iter().position(|axis| axis.lanes > 1);
        let (dtypes, depends) = self.value_facts(tile, &axes)?;
        let fused = self.fused_product(tile);
        let needed = needed(tile, fused);
        if let Some(fold) = &tile.fold
            && !self.relaxed
            && !fold.op.reorders_exactly(dtypes[tile.value.len() - 1])
            && axes.iter().any(|axis| axis.fold && axis.register_tile() > 1)
        {
            return Err(CodegenError::NotReorderable { origin: tile.origin.clone() });
        }
        let operations = operations(&axes, &depends, &needed);
        if operations > OPERATION_LIMIT {
            return Err(CodegenError::TooLarge { origin: tile.origin.clone(), operations, limit: OPERATION_LIMIT });
        }
        let stream = tile.stream && vector.is_some_and(|vector| streams(tile, &axes, vector));
        let resumes = tile.fold.as_ref().is_some_and(|fold| !fold.first.is_empty());
        let reads = tile.reads().any(|buffer| buffer == tile.target);
        let plan = Plan {
            tile,
            points: tile.points.len(),
            axes,
            vector,
            dtypes,
            depends,
            needed,
            fused,
            rounded: domain_edge::sums(&tile.value),
            stream,
            aligned: None,
            operations,
            again: !resumes && !reads,
        };
        Ok(Plan { aligned: self.dominant(&plan), ..plan })
    }

    /// The axes of a tile, points first, as wide as they can be emitted.
    fn axes<'t>(&self, tile: &'t Tile) -> Emit<Vec<Axis<'t>>> {
        let malformed = |what: &str| Err(self.malformed(&tile.origin, what));
        let all: Vec<&TileAxis> = tile.points.iter().chain(&tile.folds).collect();
        if all.iter().filter(|axis| axis.lanes > 1).count() > 1 {
            return malformed("more than one axis with lanes");
        }
        let mut axes = Vec::with_capacity(all.len());
        for (at, &axis) in all.iter().enumerate() {
            // Where a later axis' range depends on a fold axis, its terms differ: no lanes.
            let uniform = all[at + 1..].iter().all(|later| {
                later.range.lo.iter().chain(&later.range.hi).all(|bound| bound.coefficient(axis.var) == 0)
            });
            let (mut unroll, mut lanes) =
                (axis.unroll.max(1), if uniform || at < tile.points.len() { axis.lanes.max(1) } else { 1 });
            // NumPy's order is another one for each length.
            let ordered = !self.relaxed && tile.fold.as_ref().is_some_and(|fold| fold.depth.is_some());
            if ordered && !uniform {
                (unroll, lanes) = (1, 1);
            }
            let name = self.nest.vars.get(axis.var).cloned().unwrap_or_else(|| format!("x{}", axis.var));
            let Ok(lanes) = u32::try_from(lanes) else { return malformed("too many lanes") };
            let scalar_partial = if lanes > 1 { unroll } else { 0 };
            let fold = at >= tile.points.len();
            let masked = self.options.target.masks || fold && self.masked_loads(tile, axis.var);
            axes.push(Axis { axis, unroll, lanes, fold, name, scalar_partial, masked });
        }
        Ok(axes)
    }

    /// The factors of the value, where it is a product that a fused multiply-add may take into its sum.
    fn fused_product(&self, tile: &Tile) -> Option<(usize, usize)> {
        match (&tile.fold, tile.value.last()?) {
            (Some(fold), TileScalar::Compute(node))
                if fold.op == FoldOp::Sum && node.dtype.is_float() && self.relaxed =>
            {
                match node.op {
                    ScalarOp::Binary(BinaryOp::Mul, x, y) => Some((x, y)),
                    ScalarOp::Binary(..)
                    | ScalarOp::Load(..)
                    | ScalarOp::Const(_)
                    | ScalarOp::Index(_)
                    | ScalarOp::Unary(..)
                    | ScalarOp::Where(..)
                    | ScalarOp::Cast(_) => None,
                }
            }
            _ => None,
        }
    }

    /// Whether masked loads are cheap, though masked stores are not, and all loads along a variable are such: of whole
    /// vectors of 4 or 8 bytes an element.
    fn masked_loads(&self, tile: &Tile, var: usize) -> bool {
        let avx2 = self.options.target.triple.starts_with("x86_64")
            && self.options.target.features.split(',').any(|feature| feature == "+avx2");
        avx2 && tile.value.iter().all(|scalar| match scalar {
            TileScalar::Load { buffer, offset } => match offset.coefficient(var).abs() {
                0 => true,
                1 => self.nest.buffers.get(*buffer).is_some_and(|of| of.dtype.bytes() == 4 || of.dtype.bytes() == 8),
                _ => false,
            },
            // Element by element, each in bounds.
            TileScalar::Gather { .. } | TileScalar::Compute(_) => true,
        })
    }

    /// Dtype and axis dependence of every node; checks operands, buffers and types on the way.
    fn value_facts(&self, tile: &Tile, axes: &[Axis<'_>]) -> Emit<(Vec<DType>, Vec<Vec<bool>>)> {
        let mut dtypes: Vec<DType> = Vec::with_capacity(tile.value.len());
        let mut depends: Vec<Vec<bool>> = Vec::with_capacity(tile.value.len());
        let on =
            |form: &Affine| -> Vec<bool> { axes.iter().map(|axis| form.coefficient(axis.axis.var) != 0).collect() };
        for (at, scalar) in tile.value.iter().enumerate() {
            if scalar.operands().iter().any(|&operand| operand >= at) {
                return Err(self.malformed(&tile.origin, format!("node {at} uses a later node")));
            }
            let (dtype, depend) = match scalar {
                TileScalar::Load { buffer, offset } => match self.nest.buffers.get(*buffer) {
                    Some(description) => (description.dtype, on(offset)),
                    None => return Err(self.malformed(&tile.origin, format!("no buffer {buffer}"))),
                },
                TileScalar::Gather { buffer, offset, at: index, .. } => match self.nest.buffers.get(*buffer) {
                    Some(description) => {
                        let mut depend = on(offset);
                        depend.iter_mut().zip(&depends[*index]).for_each(|(mine, theirs)| *mine |= theirs);
                        (description.dtype, depend)
                    }
                    None => return Err(self.malformed(&tile.origin, format!("no buffer {buffer}"))),
                },
                TileScalar::Compute(node) => match &node.op {
                    ScalarOp::Index(form) => (node.dtype, on(form)),
                    ScalarOp::Load(..) => return Err(self.malformed(&tile.origin, "a load of the normal form")),
                    ScalarOp::Const(_)
                    | ScalarOp::Unary(..)
                    | ScalarOp::Binary(..)
                    | ScalarOp::Where(..)
                    | ScalarOp::Cast(_) => {
                        let mut depend = vec![false; axes.len()];
                        for operand in scalar.operands() {
                            depend.iter_mut().zip(&depends[operand]).for_each(|(mine, theirs)| *mine |= theirs);
                        }
                        (node.dtype, depend)
                    }
                },
            };
            dtypes.push(dtype);
            depends.push(depend);
        }
        match self.nest.buffers.get(tile.target) {
            Some(target) if Some(&target.dtype) == dtypes.last() => Ok((dtypes, depends)),
            Some(target) => {
                let what = format!("a value of {:?} stored into a buffer of {}", dtypes.last(), target.dtype);
                Err(self.malformed(&tile.origin, what))
            }
            None => Err(self.malformed(&tile.origin, format!("no buffer {}", tile.target))),
        }
    }
}

/// The nodes that are computed, in order: those that the value needs, or of a fused product its factors.
fn needed(tile: &Tile, fused: Option<(usize, usize)>) -> Vec<usize> {
    let mut needed = vec![false; tile.value.len()];
    match fused {
        Some((x, y)) => (needed[x], needed[y]) = (true, true),
        None => needed[tile.value.len() - 1] = true,
    }
    for node in (0..tile.value.len()).rev() {
        if needed[node] {
            tile.value[node].operands().into_iter().for_each(|operand| needed[operand] = true);
        }
    }
    (0..tile.value.len()).filter(|&node| needed[node]).collect()
}

/// Scalar or vector operations that one register tile unrolls to.
fn operations(axes: &[Axis<'_>], depends: &[Vec<bool>], needed: &[usize]) -> usize {
    let count = |depends: &[bool]| {
        axes.iter().zip(depends).filter(|(_, on)| **on).fold(1usize, |n, (axis, _)| n.saturating_mul(axis.unroll))
    };
    let all = needed.iter().map(|&node| count(&depends[node])).chain([count(&vec![true; axes.len()])]);
    all.fold(0usize, usize::saturating_add)
}

/// Whether the vectors of a tile's element along `vector` are all aligned once the first is: they follow each other in
/// memory, and what lies between the registers and inner steps of the other axes is a multiple of a vector.
fn streams(tile: &Tile, axes: &[Axis<'_>], vector: usize) -> bool {
    let stride = |axis: &Axis<'_>| tile.offset.coefficient(axis.axis.var);
    let lanes = i64::from(axes[vector].lanes);
    let points = axes.iter().enumerate().take(tile.points.len());
    let own = |var: usize| axes.iter().any(|axis| axis.axis.var == var);
    let bounds = axes.iter().flat_map(|axis| axis.axis.range.lo.iter().chain(&axis.axis.range.hi));
    // Where an axis bounds another, rows differ in where they begin.
    let ragged = bounds.flat_map(|form| &form.terms).any(|term| own(term.0));
    !ragged
        && vector < tile.points.len()
        && axes[vector].lanes.is_power_of_two()
        && stride(&axes[vector]) == 1
        && points
            .filter(|&(at, axis)| at > vector || at < vector && axis.unroll > 1)
            .all(|(_, axis)| stride(axis) % lanes == 0)
}
