//! The loops of a stage, with what is placed and packed inside of them.

use super::axis::AxisState;
use super::error::ApplyError;
use super::pack::{Operand, pack as pack_load};
use super::stage::{Stage, step_loops};
use super::state::{Apply, Storage};
use crate::form::normal_form::Def;
use crate::form::scalar_tree::{Access, DefId, ScalarOp};
use crate::integer::affine::Affine;
use crate::integer::intervals::Interval;
use crate::integer::range::{Range, row_major};
use crate::nest::{Loop, LoopKind, Node, VarId};

impl<'a> Apply<'a> {
    /// All the statements that compute definition `id` over `region`.
    pub(super) fn stage(&mut self, id: DefId, region: &[Interval]) -> Result<Vec<Node>, ApplyError> {
        let schedule = self.schedule;
        let spec = &schedule.stages[id];
        let mut nodes = Vec::new();
        for piece in 0..self.pieces[id].len() {
            let axes = self.axis_states(id, piece, region);
            if axes[..region.len()].iter().any(|axis| axis.hull.extent <= 0) {
                continue;
            }
            let mut stage = Stage { id, piece, spec, loops: step_loops(spec), axes, packs: Vec::new() };
            self.check_shape(&stage)?;
            nodes.extend(self.loops(&mut stage, 0)?);
        }
        Ok(nodes)
    }

    /// The loops from `depth` on, with what is placed inside them.
    fn loops(&mut self, stage: &mut Stage<'a>, depth: usize) -> Result<Vec<Node>, ApplyError> {
        let mut nodes = Vec::new();
        if depth > 0 {
            nodes.extend(self.placed(stage, depth)?);
        }
        nodes.extend(self.packs(stage, depth)?);
        let Some(spec) = stage.loops.get(depth).copied() else {
            nodes.push(Node::Tile(self.tile(stage)?));
            return Ok(nodes);
        };
        let points = self.form.defs[stage.id].axes.len();
        let axis = spec.axis;
        let step = i64::try_from(spec.step).unwrap_or(i64::MAX);
        if axis >= points && stage.axes[axis].hull.extent <= 0 {
            // Nothing to fold: the tile alone stores the identity.
            nodes.extend(self.loops(stage, depth + 1)?);
            return Ok(nodes);
        }
        let saved = stage.axes[axis].clone();
        let mut range = self.limits(&stage.axes[axis], &stage.axes);
        if axis >= points {
            let outermost = stage.axes[axis].loops.is_empty();
            range = self.fold_range(range, &stage.axes[axis].hull, outermost);
            if let ([start], true) = (range.lo.as_slice(), outermost) {
                stage.axes[axis].start = start.clone();
            }
        }
        let var = self.builder.variable(&stage.axes[axis].name, &range);
        self.builder.tighten(var, &range, step);
        enter(&mut stage.axes[axis], var, step);
        let shared = depth == stage.spec.serial && stage.spec.parallel && !self.builder.in_parallel;
        let kind = if shared { LoopKind::Parallel } else { LoopKind::Serial };
        let outer_parallel = self.builder.in_parallel;
        self.builder.in_parallel |= kind == LoopKind::Parallel;
        let packs_outside = stage.packs.len();
        let body = self.loops(stage, depth + 1)?;
        stage.packs.truncate(packs_outside);
        self.builder.in_parallel = outer_parallel;
        stage.axes[axis] = saved;
        nodes.push(Node::Loop(Loop { var, range, step: spec.step, kind, body }));
        Ok(nodes)
    }

    /// Definitions computed inside `depth` loops of this stage.
    fn placed(&mut self, stage: &Stage<'a>, depth: usize) -> Result<Vec<Node>, ApplyError> {
        let inside = self.inside(stage.id, depth);
        if !inside.iter().any(|&(_, at)| at == Some(depth)) {
            return Ok(Vec::new());
        }
        let own: Vec<Interval> = stage.axes.iter().map(|axis| axis.hull.clone()).collect();
        let regions = self.regions(stage, &own, &inside)?;
        let mut nodes = Vec::new();
        for &(id, at) in &inside {
            if at != Some(depth) {
                continue;
            }
            let Some(region) = regions.get(&id) else { continue };
            let def: &Def = &self.form.defs[id];
            let extents: Vec<i64> = region.iter().map(|interval| interval.extent).collect();
            let len = usize::try_from(extents.iter().product::<i64>()).unwrap_or(0);
            let role = self.builder.workspace();
            let buffer = self.builder.buffer(&def.name, def.dtype, len, role);
            self.storage[id] = Some(Storage {
                buffer,
                bases: region.iter().map(|interval| interval.base.clone()).collect(),
                strides: row_major(&extents),
                whole: false,
            });
            nodes.extend(self.stage(id, region)?);
        }
        Ok(nodes)
    }

    /// The packs placed inside `depth` loops.
    fn packs(&mut self, stage: &mut Stage<'a>, depth: usize) -> Result<Vec<Node>, ApplyError> {
        let mut nodes = Vec::new();
        for pack in stage.spec.packs.iter().filter(|pack| pack.depth == depth) {
            let inlined = &self.pieces[stage.id][stage.piece];
            let node = match inlined.loads.get(pack.load) {
                Some(Some(node)) => *node,
                Some(None) => {
                    return self.malformed(stage.id, format!("load {} was inlined; it cannot be packed", pack.load));
                }
                None if inlined.loads.is_empty() && self.pieces[stage.id].len() > 1 => continue,
                None => return self.malformed(stage.id, format!("there is no load {} to pack", pack.load)),
            };
            let scalar = inlined.piece.value.nodes[node].clone();
            let ScalarOp::Load(source, access) = &scalar.op else { continue };
            if let Access::Gather(_) = access {
                return self.malformed(stage.id, format!("load {} is a gather; it cannot be packed", pack.load));
            }
            let (buffer, offset) = self.address(stage.id, *source, access)?;
            let lanes = stage.spec.tile.iter().map(|tile| tile.lanes).max().unwrap_or(1);
            if let Some(entry) = pack.layout.iter().find(|entry| entry.step > 1 && !stage.loops.contains(entry)) {
                return self.malformed(
                    stage.id,
                    format!("a pack has blocks of {} along axis {}, which no loop has", entry.step, entry.axis),
                );
            }
            let limits: Vec<Range> = stage.axes.iter().map(|axis| self.limits(axis, &stage.axes)).collect();
            let operand = Operand { node, buffer, address: &offset };
            let built = pack_load(&mut self.builder, pack, &operand, &stage.axes, &limits, lanes);
            let (packed, mut copy) = match built {
                Ok(built) => built,
                Err(message) => return self.malformed(stage.id, message),
            };
            // Outside of the parallel loop, the threads share the copy: its blocks are apart.
            if let Node::Loop(blocks) = &mut copy
                && stage.spec.parallel
                && !self.builder.in_parallel
            {
                blocks.kind = LoopKind::Parallel;
            }
            nodes.push(copy);
            stage.packs.push(packed);
        }
        Ok(nodes)
    }
}

/// The axis inside of a loop over it whose variable is the first index of a block of `step`.
fn enter(state: &mut AxisState, var: VarId, step: i64) {
    if let Some(&(outer, outer_step)) = state.loops.last()
        && outer_step % step == 0
    {
        // Blocks of a block never reach past it: its own end says nothing new.
        let end = Affine::variable(outer).offset(outer_step);
        state.hi.retain(|bound| *bound != end);
    }
    state.lo = vec![Affine::variable(var)];
    state.hi.push(Affine::variable(var).offset(step));
    state.hull = Interval { base: Affine::variable(var), extent: step.min(state.hull.extent) };
    state.loops.push((var, step));
}
