//! The innermost band of a stage: its register tile, with the scalar expression over buffers.

use super::address::dot;
use super::error::ApplyError;
use super::stage::Stage;
use super::state::Apply;
use crate::form::normal_form::Def;
use crate::form::scalar_tree::{Access, ScalarOp};
use crate::integer::affine::Affine;
use crate::integer::intervals::Interval;
use crate::integer::range::{loop_of, row_major};
use crate::nest::{BufferId, Tile, TileAxis, TileFold, TileScalar, TileShift};
use crate::program::expr::Shift;

impl<'a> Apply<'a> {
    /// The innermost band.
    pub(super) fn tile(&mut self, stage: &mut Stage<'a>) -> Result<Tile, ApplyError> {
        let form = self.form;
        let def: &Def = &form.defs[stage.id];
        let points = def.axes.len();
        let saved = stage.axes.clone();
        let mut tile_axes = self.tile_axes(stage)?;
        let folds = tile_axes.split_off(points);
        let value = self.tile_value(stage)?;
        let (target, offset) = self.tile_target(stage)?;
        let shift = match def.update.as_ref().and_then(|update| update.shift) {
            Some(Shift { by, last }) => match self.states.get(by) {
                Some(&by) => Some(TileShift { by, last }),
                None => return self.malformed(stage.id, "the state that it is moved by does not exist"),
            },
            None => None,
        };
        let first: Vec<Affine> = stage.axes[points..]
            .iter()
            .filter_map(|axis| axis.loops.last().map(|&(var, _)| Affine::variable(var).minus(&axis.start)))
            .collect();
        stage.axes = saved;
        let piece = &self.pieces[stage.id][stage.piece].piece;
        Ok(Tile {
            points: tile_axes,
            folds,
            fold: piece.fold.map(|op| TileFold { op, depth: piece.depth, first }),
            value,
            target,
            offset,
            shift,
            stream: stage.spec.stream,
            origin: def.name.clone(),
        })
    }

    /// The axes of the tile in its order, each with a variable of its own from here on.
    fn tile_axes(&mut self, stage: &mut Stage<'a>) -> Result<Vec<TileAxis>, ApplyError> {
        let mut tile_axes: Vec<TileAxis> = Vec::with_capacity(stage.axes.len());
        for spec in &stage.spec.tile {
            let range = self.limits(&stage.axes[spec.axis], &stage.axes);
            for form in stage.axes[spec.axis].domain.lo.iter().chain(&stage.axes[spec.axis].domain.hi) {
                let open = |axis: usize| loop_of(axis).is_none() && stage.axes[axis].var.is_none();
                if form.terms.iter().any(|&(axis, _)| open(axis)) {
                    return self
                        .malformed(stage.id, format!("axis {} stands before one its bounds depend on", spec.axis));
                }
            }
            let var = self.builder.variable(&stage.axes[spec.axis].name, &range);
            stage.axes[spec.axis].var = Some(var);
            tile_axes.push(TileAxis { var, range, unroll: spec.unroll, lanes: spec.lanes });
        }
        Ok(tile_axes)
    }

    /// The nest's variable of an axis of the tile, or of a loop of the form.
    fn of_axis(&self, stage: &Stage<'_>, axis: usize) -> Affine {
        let own = || stage.axes.get(axis).and_then(|axis| axis.var).unwrap_or(0);
        Affine::variable(self.loops.get(&axis).copied().unwrap_or_else(own))
    }

    /// The scalar expression, with loads from buffers.
    fn tile_value(&self, stage: &Stage<'a>) -> Result<Vec<TileScalar>, ApplyError> {
        let nodes = &self.pieces[stage.id][stage.piece].piece.value.nodes;
        let of_axis = |axis: usize| self.of_axis(stage, axis);
        let mut value = Vec::with_capacity(nodes.len());
        for (at, node) in nodes.iter().enumerate() {
            value.push(match &node.op {
                ScalarOp::Load(source, access) => {
                    if let Some(packed) = stage.packs.iter().rev().find(|packed| packed.node == at) {
                        TileScalar::Load { buffer: packed.buffer, offset: packed.address(&stage.axes) }
                    } else {
                        let (buffer, address) = self.address(stage.id, *source, access)?;
                        let offset = address.over(of_axis);
                        match access {
                            Access::Gather(gather) => {
                                TileScalar::Gather { buffer, offset, stride: gather.stride, at: gather.at }
                            }
                            Access::Axes(_) | Access::Flat(_) => TileScalar::Load { buffer, offset },
                        }
                    }
                }
                ScalarOp::Index(form) => {
                    let mut node = node.clone();
                    node.op = ScalarOp::Index(form.substitute(of_axis));
                    TileScalar::Compute(node)
                }
                ScalarOp::Const(_)
                | ScalarOp::Unary(..)
                | ScalarOp::Binary(..)
                | ScalarOp::Where(..)
                | ScalarOp::Cast(_) => TileScalar::Compute(node.clone()),
            });
        }
        Ok(value)
    }

    /// The buffer that the tile writes, and where.
    fn tile_target(&self, stage: &Stage<'a>) -> Result<(BufferId, Affine), ApplyError> {
        let def: &Def = &self.form.defs[stage.id];
        let of_axis = |axis: usize| self.of_axis(stage, axis);
        if let Some(update) = &def.update {
            let Some(&buffer) = self.states.get(update.state) else {
                return self.malformed(stage.id, "its state does not exist");
            };
            let shape = &self.form.states[update.state].shape;
            let extents: Vec<i64> = shape.iter().map(|&n| Interval::whole(n).extent).collect();
            return Ok((buffer, dot(&update.base, &row_major(&extents)).substitute(of_axis)));
        }
        let Some(storage) = &self.storage[stage.id] else {
            return self.malformed(stage.id, "it has no storage");
        };
        let index: Vec<Affine> = (0..def.axes.len()).map(of_axis).collect();
        let offset = dot(&index, &storage.strides).minus(&dot(&storage.bases, &storage.strides));
        Ok((storage.buffer, offset))
    }
}
