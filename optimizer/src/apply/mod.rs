//! A schedule applied: normal form → loop nest.
//!
//! Input: a normal form and a schedule that [`crate::schedule`] describes. Output: a loop tree in
//! which every definition stands where its schedule places it, with bounds inferred and scratch
//! allocated. It assumes legality of *order* (the legality relations decide that) but checks every
//! structural condition, so that a schedule that cannot be carried out is an error and never a
//! wrong program.

mod address;
pub mod lower;
pub mod pack;

use crate::apply::pack::PackedLoad;
use crate::dependence::inline::{InlineError, InlinedPiece, check_inlined, inline};
use crate::form::normal_form::{Def, NormalForm};
use crate::form::scalar_tree::{Access, DefId, ScalarNode, ScalarOp, Source};
use crate::form::steps::Step;
use crate::integer::affine::Affine;
use crate::integer::intervals::{Interval, hull, image, prune_lower, prune_upper};
use crate::integer::range::{Range, loop_of, loop_variable, row_major};
use crate::nest::{
    Buffer, BufferId, BufferRole, Loop, LoopKind, LoopNest, Node, Tile, TileAxis, TileFold, TileScalar, TileShift,
    VarId,
};
use crate::program::expr::Shift;
use crate::schedule::time::{Tiled, skewed};
use crate::schedule::{LoopSpec, Place, Schedule, StageSchedule};
use crate::storage::Schedulable;
pub(crate) use address::Address;
use address::dot;
use std::collections::{BTreeMap, BTreeSet};

/// Why a schedule does not fit a normal form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The schedule has the wrong number of stages, an axis is missing, or the like.
    #[error("schedule of `{stage}`: {message}")]
    Malformed {
        /// The definition.
        stage: String,
        /// What is wrong.
        message: String,
    },
    /// A definition cannot be inlined.
    #[error(transparent)]
    Inline(#[from] InlineError),
}

/// Makes the loop nest of `form` under `schedule`.
///
/// # Errors
/// Where the schedule does not describe this form, or a place or a pack cannot be carried out.
pub fn apply(form: &Schedulable, schedule: &Schedule) -> Result<LoopNest, ApplyError> {
    if schedule.stages.len() != form.defs.len() {
        return Err(ApplyError::Malformed {
            stage: "*".into(),
            message: format!("{} stages for {} definitions", schedule.stages.len(), form.defs.len()),
        });
    }
    let inlined = |id: DefId| schedule.stages[id].place == Place::Inline;
    // Tiles put definitions under conditions of their own: what may move is seen in the form itself.
    check_inlined(form, inlined)?;
    let mut tiled = NormalForm::clone(form);
    let mut parallel = BTreeSet::new();
    for tile in &schedule.time_tiles {
        let Tiled { form, parallel: shared } = skewed(&tiled, tile).ok_or_else(|| ApplyError::Malformed {
            stage: "*".into(),
            message: format!("loop {} cannot run in skewed tiles", tile.var),
        })?;
        parallel.extend(shared);
        tiled = form;
    }
    let form = &tiled;
    let pieces = inline(form, inlined)?;
    let mut apply = Apply {
        form,
        schedule,
        pieces,
        nest: LoopNest { buffers: Vec::new(), vars: Vec::new(), body: Vec::new() },
        ranges: Vec::new(),
        storage: vec![None; form.defs.len()],
        states: Vec::new(),
        loops: BTreeMap::new(),
        parallel,
        in_parallel: false,
    };
    apply.allocate_whole();
    let body = if form.steps.is_empty() {
        let mut nodes = Vec::new();
        for id in 0..form.defs.len() {
            nodes.extend(apply.root(id)?);
        }
        nodes
    } else {
        apply.steps(&form.steps)?
    };
    apply.nest.body = body;
    Ok(apply.nest)
}

/// Where a definition's elements are: element x at `Σ (x[a] − base[a]) · stride[a]`.
#[derive(Clone, Debug)]
struct Storage {
    buffer: BufferId,
    bases: Vec<Affine>,
    strides: Vec<i64>,
    whole: bool,
}

pub(crate) struct Apply<'a> {
    form: &'a NormalForm,
    schedule: &'a Schedule,
    pieces: Vec<Vec<InlinedPiece>>,
    pub(crate) nest: LoopNest,
    /// Inclusive range of each variable, for dropping redundant bounds.
    ranges: Vec<(i64, i64)>,
    storage: Vec<Option<Storage>>,
    /// The buffer of each state.
    states: Vec<BufferId>,
    /// The nest's variable of each loop of the form that is being written.
    loops: BTreeMap<usize, VarId>,
    /// Loops of the form whose iterations are divided among threads.
    parallel: BTreeSet<usize>,
    pub(crate) in_parallel: bool,
}

/// One axis of a stage while its loops are built.
#[derive(Clone, Debug)]
pub(crate) struct AxisState {
    /// The readable name for its variables.
    name: String,
    /// The piece's own bounds, over axes.
    domain: Range,
    /// Bounds that enclosing loops and regions set, over variables.
    lo: Vec<Affine>,
    hi: Vec<Affine>,
    /// A box around the current interval.
    pub(crate) hull: Interval,
    /// Variables of the loops over this axis, outermost first, with their steps.
    pub(crate) loops: Vec<(VarId, i64)>,
    /// The start of the axis before the first loop.
    pub(crate) start: Affine,
    /// The variable of the tile's axis, once it exists.
    pub(crate) var: Option<VarId>,
}

/// A stage while its loops are built.
struct Stage<'s> {
    id: DefId,
    piece: usize,
    spec: &'s StageSchedule,
    /// The schedule's loops, and the tile's own step loops that a pack names as blocks.
    loops: Vec<LoopSpec>,
    axes: Vec<AxisState>,
    packs: Vec<PackedLoad>,
}

impl<'a> Apply<'a> {
    fn malformed<T>(&self, id: DefId, message: impl Into<String>) -> Result<T, ApplyError> {
        Err(ApplyError::Malformed { stage: self.form.defs[id].name.clone(), message: message.into() })
    }

    /// The statements of a definition that is stored whole.
    fn root(&mut self, id: DefId) -> Result<Vec<Node>, ApplyError> {
        let copied = returned_state(self.form, id)
            .is_some_and(|state| self.storage[id].as_ref().is_some_and(|storage| storage.buffer == self.states[state]));
        if self.schedule.stages[id].place != Place::Root || copied {
            return Ok(Vec::new());
        }
        let whole: Vec<Interval> = self.form.defs[id].axes.iter().map(|&n| Interval::whole(n)).collect();
        self.stage(id, &whole)
    }

    /// Steps in order.
    fn steps(&mut self, steps: &[Step]) -> Result<Vec<Node>, ApplyError> {
        let mut nodes = Vec::new();
        for step in steps {
            match step {
                Step::Def(id) => nodes.extend(self.root(*id)?),
                Step::Loop { var, name, range, body } => {
                    let range = Range { lo: self.over_variables(&range.lo), hi: self.over_variables(&range.hi) };
                    let inner = self.variable(name, &range);
                    self.loops.insert(loop_variable(*var), inner);
                    let shared = !self.in_parallel && self.parallel.contains(var);
                    let kind = if shared { LoopKind::Parallel } else { LoopKind::Serial };
                    self.in_parallel |= shared;
                    let body = self.steps(body)?;
                    self.in_parallel &= !shared;
                    self.loops.remove(&loop_variable(*var));
                    if !body.is_empty() {
                        nodes.push(Node::Loop(Loop { var: inner, range, step: 1, kind, body }));
                    }
                }
                Step::If { conditions, body } => {
                    // A loop that runs once where the condition holds, and never elsewhere.
                    let conditions = self.over_variables(conditions);
                    let mut around = Vec::new();
                    for condition in conditions {
                        let range =
                            Range { lo: vec![Affine::constant(0)], hi: vec![Affine::constant(1), condition.offset(1)] };
                        around.push((self.variable("if", &range), range));
                    }
                    let body = self.steps(body)?;
                    if !body.is_empty() {
                        nodes.extend(around.into_iter().rev().fold(body, |body, (var, range)| {
                            vec![Node::Loop(Loop { var, range, step: 1, kind: LoopKind::Serial, body })]
                        }));
                    }
                }
            }
        }
        Ok(nodes)
    }

    /// Forms over loops of the form as forms over variables of the nest.
    fn over_variables(&self, forms: &[Affine]) -> Vec<Affine> {
        forms.iter().map(|form| form.substitute(|v| self.loop_of_nest(v).unwrap_or_default())).collect()
    }

    /// The nest's variable of a loop of the form; `None` for an axis.
    fn loop_of_nest(&self, variable: usize) -> Option<Affine> {
        self.loops.get(&variable).map(|&var| Affine::variable(var))
    }

    /// Buffers of parameters, results, states and definitions stored whole.
    fn allocate_whole(&mut self) {
        for (at, param) in self.form.params.iter().enumerate() {
            self.nest.buffers.push(Buffer {
                name: param.name.clone(),
                dtype: param.dtype,
                len: param.shape.iter().product(),
                role: BufferRole::Param(at),
            });
        }
        let mut states: Vec<Option<BufferId>> = vec![None; self.form.states.len()];
        for (at, &id) in self.form.outputs.iter().enumerate() {
            let results = self.form.outputs.len() - self.form.checks.len().min(self.form.outputs.len());
            let check = at.checked_sub(results).and_then(|check| Some((check, *self.form.checks.get(check)?)));
            let role = check.map_or(BufferRole::Output(at), |(check, of)| BufferRole::Check(check, of));
            self.allocate_def(id, role);
            // A state that is returned lives where the result does.
            if let (Some(state), Some(storage)) = (returned_state(self.form, id), &self.storage[id])
                && let Some(slot @ None) = states.get_mut(state)
            {
                *slot = Some(storage.buffer);
            }
        }
        for (at, state) in states.into_iter().enumerate() {
            let of = &self.form.states[at];
            let len = of.shape.iter().product();
            let buffer = state.unwrap_or_else(|| self.buffer(&of.name, of.dtype, len, BufferRole::Shared));
            self.states.push(buffer);
        }
        for id in 0..self.form.defs.len() {
            let own = self.form.defs[id].update.is_none();
            if own && self.schedule.stages[id].place == Place::Root && self.storage[id].is_none() {
                self.allocate_def(id, BufferRole::Shared);
            }
        }
    }

    fn allocate_def(&mut self, id: DefId, role: BufferRole) {
        let def = &self.form.defs[id];
        let extents: Vec<i64> = def.axes.iter().map(|&n| Interval::whole(n).extent).collect();
        let buffer = self.buffer(&def.name, def.dtype, def.size(), role);
        let bases = vec![Affine::constant(0); extents.len()];
        self.storage[id] = Some(Storage { buffer, bases, strides: row_major(&extents), whole: true });
    }

    pub(crate) fn buffer(
        &mut self,
        name: &str,
        dtype: crate::value::dtype::DType,
        len: usize,
        role: BufferRole,
    ) -> BufferId {
        let mut unique = name.to_owned();
        let mut suffix = 1;
        while self.nest.buffers.iter().any(|b| b.name == unique) {
            suffix += 1;
            unique = format!("{name}_{suffix}");
        }
        self.nest.buffers.push(Buffer { name: unique, dtype, len, role });
        self.nest.buffers.len() - 1
    }

    /// A new variable within `range`; remembers its extreme values.
    pub(crate) fn variable(&mut self, name: &str, range: &Range) -> VarId {
        let least = range.lo.iter().map(|form| form.bounds(|v| self.ranges[v]).0).max().unwrap_or(0);
        let greatest = range.hi.iter().map(|form| form.bounds(|v| self.ranges[v]).1).min().unwrap_or(0) - 1;
        self.nest.vars.push(format!("{name}{}", self.nest.vars.len()));
        self.ranges.push((least, greatest.max(least)));
        self.nest.vars.len() - 1
    }

    /// All the statements that compute definition `id` over `region`.
    fn stage(&mut self, id: DefId, region: &[Interval]) -> Result<Vec<Node>, ApplyError> {
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

    fn axis_states(&self, id: DefId, piece: usize, region: &[Interval]) -> Vec<AxisState> {
        let domain = &self.pieces[id][piece].piece.domain;
        let mut axes: Vec<AxisState> = Vec::with_capacity(domain.len());
        for (axis, range) in domain.iter().enumerate() {
            let bounds = region.get(axis);
            let mut state = AxisState {
                name: axis_name(axis),
                domain: range.clone(),
                lo: bounds.map(|b| b.base.clone()).into_iter().collect(),
                hi: bounds.map(|b| b.base.offset(b.extent)).into_iter().collect(),
                hull: Interval::whole(0),
                loops: Vec::new(),
                start: Affine::constant(0),
                var: None,
            };
            let limits = self.limits(&state, &axes);
            state.hull = self.hull_of(&limits, bounds);
            state.start = match limits.lo.as_slice() {
                [lo] => lo.clone(),
                _ => state.hull.base.clone(),
            };
            axes.push(state);
        }
        axes
    }

    /// The interval of an axis as affine bounds over variables: exact where the axes it depends on
    /// have their tile variable, relaxed to their hulls otherwise.
    fn limits(&self, state: &AxisState, axes: &[AxisState]) -> Range {
        let place = |form: &Affine, lower: bool| {
            let mut sums = vec![Affine::constant(form.constant)];
            for &(axis, coefficient) in &form.terms {
                if let Some(outer) = self.loop_of_nest(axis) {
                    sums = sums.iter().map(|sum| sum.plus(&outer.times(coefficient))).collect();
                    continue;
                }
                let ends = match axes[axis].var {
                    Some(var) => vec![Affine::variable(var)],
                    None => self.ends(&axes[axis], axes, (coefficient > 0) == lower),
                };
                sums = sums.iter().flat_map(|sum| ends.iter().map(|end| sum.plus(&end.times(coefficient)))).collect();
            }
            sums
        };
        let mut lo = state.lo.clone();
        lo.extend(state.domain.lo.iter().flat_map(|form| place(form, true)));
        let mut hi = state.hi.clone();
        hi.extend(state.domain.hi.iter().flat_map(|form| place(form, false)));
        Range { lo: prune_lower(lo, &self.ranges), hi: prune_upper(hi, &self.ranges) }
    }

    /// Values that an axis without a tile variable is never below, or never above if not `low`. The
    /// last block of an axis may end after the axis: its own end counts too.
    fn ends(&self, state: &AxisState, axes: &[AxisState], low: bool) -> Vec<Affine> {
        let limits = self.limits(state, axes);
        if low {
            [state.hull.base.clone()].into_iter().chain(limits.lo).collect()
        } else {
            [state.hull.last()].into_iter().chain(limits.hi.iter().map(|end| end.offset(-1))).collect()
        }
    }

    /// A box around `limits`, at most as long as `region`.
    fn hull_of(&self, limits: &Range, region: Option<&Interval>) -> Interval {
        let mut best = region.cloned();
        for lo in &limits.lo {
            for hi in &limits.hi {
                let length = hi.minus(lo);
                if length.is_constant() && best.as_ref().is_none_or(|b| length.constant < b.extent) {
                    best = Some(Interval { base: lo.clone(), extent: length.constant.max(0) });
                }
            }
        }
        best.unwrap_or_else(|| {
            let low = limits.lo.iter().map(|form| form.bounds(|v| self.ranges[v]).0).max().unwrap_or(0);
            let high = limits.hi.iter().map(|form| form.bounds(|v| self.ranges[v]).1).min().unwrap_or(0);
            Interval { base: Affine::constant(low), extent: (high - low).max(0) }
        })
    }

    fn check_shape(&self, stage: &Stage<'_>) -> Result<(), ApplyError> {
        let points = self.form.defs[stage.id].axes.len();
        let mut seen = vec![0; stage.axes.len()];
        let mut folds = false;
        for tile in &stage.spec.tile {
            if tile.axis >= stage.axes.len() {
                return self.malformed(stage.id, format!("the tile has axis {}, which does not exist", tile.axis));
            }
            if tile.unroll == 0 || tile.lanes == 0 {
                return self.malformed(stage.id, format!("a register tile of 0 along axis {}", tile.axis));
            }
            seen[tile.axis] += 1;
            folds |= tile.axis >= points;
            if folds && tile.axis < points {
                return self.malformed(stage.id, "a fold axis stands before a point axis in the tile");
            }
        }
        if seen.iter().any(|&count| count != 1) {
            return self.malformed(stage.id, "the tile must hold every axis exactly once");
        }
        for (at, spec) in stage.spec.loops.iter().enumerate() {
            if spec.axis >= stage.axes.len() || spec.step == 0 {
                return self.malformed(stage.id, format!("loop {at} is over axis {} by {}", spec.axis, spec.step));
            }
        }
        let bounded = self.pieces[stage.id][stage.piece].piece.depth.is_some();
        if bounded && stage.spec.loops.iter().any(|spec| spec.axis >= points) {
            return self.malformed(stage.id, "a loop over terms of a sum that is pairwise");
        }
        let depth = stage.spec.loops.len();
        if stage.spec.packs.iter().any(|pack| pack.depth > depth) {
            return self.malformed(stage.id, "a pack is placed deeper than the loops");
        }
        if stage.spec.parallel {
            if stage.spec.place != Place::Root {
                return self.malformed(stage.id, "only a definition stored whole has a parallel loop");
            }
            match stage.spec.shared_loop() {
                Some(shared) if shared.axis < points => {}
                _ => return self.malformed(stage.id, "the parallel loop must be over a point axis"),
            }
        }
        Ok(())
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
        let var = self.variable(&stage.axes[axis].name, &range);
        self.tighten(var, &range, step);
        {
            let state = &mut stage.axes[axis];
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
        let shared = depth == stage.spec.serial && stage.spec.parallel && !self.in_parallel;
        let kind = if shared { LoopKind::Parallel } else { LoopKind::Serial };
        let outer_parallel = self.in_parallel;
        self.in_parallel |= kind == LoopKind::Parallel;
        let packs_outside = stage.packs.len();
        let body = self.loops(stage, depth + 1)?;
        stage.packs.truncate(packs_outside);
        self.in_parallel = outer_parallel;
        stage.axes[axis] = saved;
        nodes.push(Node::Loop(Loop { var, range, step: spec.step, kind, body }));
        Ok(nodes)
    }

    /// The range of a loop over a fold axis. The first iteration gives the accumulators their first
    /// values: it must exist, and be at one known value, inside other loops over the axis at theirs.
    /// Where that is not certain, the loop runs over the whole `hull`.
    fn fold_range(&self, range: Range, hull: &Interval, outermost: bool) -> Range {
        let whole = Range { lo: vec![hull.base.clone()], hi: vec![hull.base.offset(hull.extent)] };
        let least = |length: &Affine| length.bounds(|v| self.ranges[v]).0;
        let lo = if range.lo.len() == 1 && outermost { range.lo } else { whole.lo.clone() };
        let some = range.hi.iter().all(|hi| lo.iter().all(|lo| least(&hi.minus(lo)) > 0));
        if some { Range { lo, hi: range.hi } } else { whole }
    }

    /// The last value of a loop variable with constant bounds is known exactly.
    fn tighten(&mut self, var: VarId, range: &Range, step: i64) {
        if let Some((lo, hi)) = range.as_constant()
            && hi > lo
        {
            self.ranges[var] = (lo, lo + (hi - 1 - lo) / step * step);
        }
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
            let role = if self.in_parallel { BufferRole::Private } else { BufferRole::Shared };
            let buffer = self.buffer(&def.name, def.dtype, len, role);
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

    /// Definitions placed inside at least `depth` loops of `consumer`, in order, each with its
    /// depth if it is placed there directly.
    fn inside(&self, consumer: DefId, depth: usize) -> Vec<(DefId, Option<usize>)> {
        let mut inside: Vec<(DefId, Option<usize>)> = Vec::new();
        for id in (0..consumer).rev() {
            let direct = match self.schedule.stages[id].place {
                Place::At { consumer: c, depth: d } if c == consumer && d >= depth => Some(Some(d)),
                Place::At { consumer: c, .. } if inside.iter().any(|&(other, _)| other == c) => Some(None),
                Place::At { .. } | Place::Inline | Place::Root => None,
            };
            if let Some(direct) = direct {
                inside.push((id, direct));
            }
        }
        inside.reverse();
        inside
    }

    /// What is needed of each definition in `inside` for the current intervals of `stage`.
    fn regions(
        &self,
        stage: &Stage<'_>,
        own: &[Interval],
        inside: &[(DefId, Option<usize>)],
    ) -> Result<BTreeMap<DefId, Vec<Interval>>, ApplyError> {
        let mut regions: BTreeMap<DefId, Vec<Interval>> = BTreeMap::new();
        self.demand(stage.id, stage.piece, own, inside, &mut regions)?;
        for &(id, _) in inside.iter().rev() {
            let Some(region) = regions.get(&id).cloned() else { continue };
            for piece in 0..self.pieces[id].len() {
                let axes = self.axis_states(id, piece, &region);
                let boxes: Vec<Interval> = axes.into_iter().map(|axis| axis.hull).collect();
                self.demand(id, piece, &boxes, inside, &mut regions)?;
            }
        }
        Ok(regions)
    }

    /// Adds what one reader needs.
    fn demand(
        &self,
        reader: DefId,
        piece: usize,
        boxes: &[Interval],
        inside: &[(DefId, Option<usize>)],
        regions: &mut BTreeMap<DefId, Vec<Interval>>,
    ) -> Result<(), ApplyError> {
        for node in &self.pieces[reader][piece].piece.value.nodes {
            let ScalarOp::Load(Source::Def(source), access) = &node.op else { continue };
            if !inside.iter().any(|&(id, _)| id == *source) {
                continue;
            }
            let extents = &self.form.defs[*source].axes;
            let Access::Axes(indices) = access else {
                return self.malformed(
                    *source,
                    format!("`{}` reads it through a reshape, so it must be stored whole", self.form.defs[reader].name),
                );
            };
            let touched: Vec<Interval> = indices
                .iter()
                .zip(extents)
                .map(|(index, &extent)| {
                    let (index, outer) = self.parted(index);
                    let Interval { base, extent: length } = image(&index, boxes);
                    clip(Interval { base: base.plus(&outer), extent: length }, extent)
                })
                .collect();
            match regions.get_mut(source) {
                None => {
                    regions.insert(*source, touched);
                }
                Some(region) => {
                    for ((known, new), &extent) in region.iter_mut().zip(&touched).zip(extents) {
                        *known = hull(known, new).map_or(Interval::whole(extent), |both| clip(both, extent));
                    }
                }
            }
        }
        Ok(())
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
            let (packed, mut copy) =
                crate::apply::pack::pack(self, pack, node, (buffer, &offset), &stage.axes, &limits, lanes).map_err(
                    |message| ApplyError::Malformed { stage: self.form.defs[stage.id].name.clone(), message },
                )?;
            // Outside of the parallel loop, the threads share the copy: its blocks are apart.
            if let Node::Loop(blocks) = &mut copy
                && stage.spec.parallel
                && !self.in_parallel
            {
                blocks.kind = LoopKind::Parallel;
            }
            nodes.push(copy);
            stage.packs.push(packed);
        }
        Ok(nodes)
    }

    /// The innermost band.
    fn tile(&mut self, stage: &mut Stage<'a>) -> Result<Tile, ApplyError> {
        let form = self.form;
        let def: &Def = &form.defs[stage.id];
        let points = def.axes.len();
        let saved = stage.axes.clone();
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
            let var = self.variable(&stage.axes[spec.axis].name.clone(), &range);
            stage.axes[spec.axis].var = Some(var);
            tile_axes.push(TileAxis { var, range, unroll: spec.unroll, lanes: spec.lanes });
        }
        let folds = tile_axes.split_off(points);
        let outer = self.loops.clone();
        let of_axis = |axis: usize| {
            let own = || stage.axes.get(axis).and_then(|axis| axis.var).unwrap_or(0);
            Affine::variable(outer.get(&axis).copied().unwrap_or_else(own))
        };
        let piece = self.pieces[stage.id][stage.piece].piece.clone();
        let mut value = Vec::with_capacity(piece.value.nodes.len());
        for (at, node) in piece.value.nodes.iter().enumerate() {
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
        let (target, offset) = match &def.update {
            Some(update) => {
                let Some(&buffer) = self.states.get(update.state) else {
                    return self.malformed(stage.id, "its state does not exist");
                };
                let extents: Vec<i64> =
                    form.states[update.state].shape.iter().map(|&n| Interval::whole(n).extent).collect();
                (buffer, dot(&update.base, &row_major(&extents)).substitute(of_axis))
            }
            None => {
                let Some(storage) = self.storage[stage.id].clone() else {
                    return self.malformed(stage.id, "it has no storage");
                };
                let index: Vec<Affine> = (0..points).map(of_axis).collect();
                let offset = dot(&index, &storage.strides).minus(&dot(&storage.bases, &storage.strides));
                (storage.buffer, offset)
            }
        };
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
}

/// The state that a definition is a copy of, element by element; such a result needs no copy.
fn returned_state(form: &NormalForm, id: DefId) -> Option<usize> {
    let def = form.defs.get(id)?;
    let [piece] = def.pieces.as_slice() else { return None };
    let [ScalarNode { op: ScalarOp::Load(Source::State(state), Access::Axes(index)), .. }] =
        piece.value.nodes.as_slice()
    else {
        return None;
    };
    let copies = form.outputs.contains(&id)
        && def.scope.is_empty()
        && def.axes == form.states.get(*state)?.shape
        && index.iter().enumerate().all(|(axis, form)| *form == Affine::variable(axis));
    copies.then_some(*state)
}

/// The loops of a stage, followed by those step loops of its tile whose steps are blocks of a pack
/// and that the schedule does not write out: a packed digit must be a loop's variable.
fn step_loops(spec: &StageSchedule) -> Vec<LoopSpec> {
    let mut loops = spec.loops.clone();
    for tile in &spec.tile {
        let step = LoopSpec { axis: tile.axis, step: tile.unroll * tile.lanes };
        if step.step > 1 && !loops.contains(&step) && spec.packs.iter().any(|pack| pack.layout.contains(&step)) {
            loops.push(step);
        }
    }
    loops
}

/// The interval, or the whole axis where it is no longer than that.
fn clip(interval: Interval, extent: usize) -> Interval {
    let whole = Interval::whole(extent);
    if interval.extent >= whole.extent { whole } else { interval }
}

/// `i j k l m n` and then `a7 a8 …`.
fn axis_name(axis: usize) -> String {
    ["i", "j", "k", "l", "m", "n"].get(axis).map_or_else(|| format!("a{axis}_"), |name| (*name).to_owned())
}
