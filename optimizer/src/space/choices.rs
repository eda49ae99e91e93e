//! The proposals for one stage, sorted by decision, and the repair that makes a wish consistent.

use crate::cost::footprint::StageModel;
use crate::form::access::axes_of;
use crate::form::normal_form::NormalForm;
use crate::form::scalar_tree::DefId;
use crate::schedule::plain::plain_stage;
use crate::schedule::{LoopSpec, Pack, Place, StageSchedule, TileSpec};
use moat_rules::schedule_rules::{Proposals, ProposedPlace};
use std::collections::{BTreeMap, BTreeSet};

/// A place in a part of a form, in the whole.
pub(super) fn moved(place: ProposedPlace, ids: &[DefId]) -> ProposedPlace {
    match place {
        ProposedPlace::At { consumer, depth } => ProposedPlace::At { consumer: ids[consumer], depth },
        ProposedPlace::Root | ProposedPlace::Inline => place,
    }
}

/// A run of stores past the caches is at least so many vectors long.
const SHORTEST_STREAM: usize = 64;

/// What may be decided about one stage.
#[derive(Clone, Debug)]
pub(super) struct StageChoices {
    /// Extents of all axes.
    pub(super) extents: Vec<usize>,
    /// How many are points.
    pub(super) points: usize,
    /// `(axis, lanes)`.
    pub(super) vectors: Vec<(usize, usize)>,
    /// Ascending, for each axis.
    pub(super) unrolls: Vec<Vec<usize>>,
    /// `(rows, vectors)`.
    pub(super) register_tiles: Vec<(usize, usize)>,
    /// Block sizes, ascending, for each axis.
    pub(super) blocks: Vec<Vec<usize>>,
    /// `(outer, inner)`.
    pub(super) orders: BTreeSet<(usize, usize)>,
    /// Axes whose loop threads may share.
    pub(super) parallels: Vec<usize>,
    /// Whether its stores may go past the caches.
    pub(super) stream: bool,
    /// Axes inside whose loops a load may be packed.
    pub(super) packs: BTreeMap<usize, Vec<usize>>,
    /// Axes that each load depends on.
    pub(super) load_axes: BTreeMap<usize, Vec<usize>>,
    /// Places.
    pub(super) places: Vec<ProposedPlace>,
    /// Axes that the bounds of others depend on: of folds, they have no lanes.
    pub(super) ragged: BTreeSet<usize>,
    /// Axes that loops around bound.
    pub(super) varying: BTreeSet<usize>,
}

impl StageChoices {
    pub(super) fn new(stage: usize, form: &NormalForm, models: &[StageModel], proposals: &Proposals) -> StageChoices {
        let def = &form.defs[stage];
        let axes = axes_of(def);
        let model = &models[stage];
        let mut unrolls = vec![Vec::new(); axes];
        // All proposals begin with the stage.
        let (first, next) = ((stage, 0, 0), (stage + 1, 0, 0));
        for &(_, axis, count) in proposals.unrolls.range(first..next) {
            if axis < axes {
                unrolls[axis].push(count);
            }
        }
        let mut blocks: Vec<Vec<usize>> = vec![Vec::new(); axes];
        for &(_, axis, size, _) in proposals.tiles.range((stage, 0, 0, 0)..(stage + 1, 0, 0, 0)) {
            if axis < axes {
                blocks[axis].push(size);
            }
        }
        // What is resumed goes through as many additions as there are blocks.
        if def.pieces.iter().any(|piece| piece.depth.is_some()) {
            blocks[model.points..].iter_mut().for_each(Vec::clear);
        }
        for sizes in &mut blocks {
            sizes.sort_unstable();
            sizes.dedup();
        }
        let mut load_axes = BTreeMap::new();
        for load in &model.loads {
            if let Some(own) = load.own {
                let depends = |axis: &usize| load.index.iter().any(|form| form.coefficient(*axis) != 0);
                load_axes.insert(own, (0..axes).filter(depends).collect());
            }
        }
        let mut packs: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &(_, load, axis) in proposals.packs.range(first..next) {
            if def.pieces.len() == 1 {
                packs.entry(load).or_default().push(axis);
            }
        }
        let least = ProposedPlace::Root;
        let places = proposals.places.range((stage, least)..(stage + 1, least));
        StageChoices {
            extents: model.extents.clone(),
            points: model.points,
            vectors: proposals.vectors.range(first..next).map(|v| (v.1, v.2)).collect(),
            unrolls,
            register_tiles: proposals.register_tiles.range(first..next).map(|t| (t.1, t.2)).collect(),
            blocks,
            orders: proposals.orders.range(first..next).map(|o| (o.1, o.2)).collect(),
            parallels: proposals.parallels.range((stage, 0)..(stage + 1, 0)).map(|p| p.1).collect(),
            stream: proposals.streams.contains(&stage),
            packs,
            load_axes,
            places: places.map(|p| p.1).collect(),
            ragged: def.ragged(),
            varying: (0..def.axes.len()).filter(|&axis| def.varies(axis)).collect(),
        }
    }

    /// The choices of a stage whose form is a part of another, in which its stages are `ids`.
    pub(super) fn moved(&self, ids: &[DefId]) -> StageChoices {
        let places = self.places.iter().map(|place| moved(*place, ids)).collect();
        StageChoices { places, ..self.clone() }
    }

    /// The largest proposed unrolling of `axis` that is at most `wish`, 1 if there is none.
    pub(super) fn unroll(&self, axis: usize, wish: usize) -> usize {
        self.unrolls[axis].iter().copied().filter(|&count| count <= wish).max().unwrap_or(1)
    }

    /// The lanes proposed along `axis`, the most first.
    pub(super) fn lanes(&self, axis: usize) -> usize {
        self.vectors.iter().filter(|vector| vector.0 == axis).map(|vector| vector.1).max().unwrap_or(1)
    }

    /// True if the rules let the loop of `outer` stand around the loop of `inner`.
    pub(super) fn ordered(&self, outer: usize, inner: usize) -> bool {
        outer == inner || self.orders.contains(&(outer, inner))
    }

    /// Makes a wish consistent: the tile complete and in order, unrolling and lanes as proposed, steps
    /// nested multiples, loops that do nothing gone, packs within reach and laid out for the tile.
    pub(super) fn repair(&self, wish: &mut StageSchedule) {
        if wish.place == Place::Inline {
            *wish = StageSchedule { place: Place::Inline, ..plain_stage(self.extents.len()) };
            return;
        }
        self.repair_tile(wish);
        self.repair_loops(wish);
        let may_be = |at: usize| wish.loops.get(at).is_some_and(|step| self.parallels.contains(&step.axis));
        if wish.place != Place::Root || !wish.parallel {
            (wish.parallel, wish.serial) = (false, 0);
        } else if !may_be(wish.serial) {
            (wish.parallel, wish.serial) = (may_be(0), 0);
        }
        // An element that is resumed is read again soon.
        let resumed = wish.loops.iter().any(|step| step.axis >= self.points);
        let vector = wish.tile.iter().find(|spec| spec.lanes > 1).copied();
        // Every block begins with the points up to an aligned address.
        let short = |vector: TileSpec| {
            wish.loops.iter().any(|step| step.axis == vector.axis && step.step < SHORTEST_STREAM * vector.lanes)
        };
        // What is placed in a loop is read there, while the caches still hold it.
        wish.stream &= self.stream && wish.place == Place::Root;
        wish.stream &= !resumed && vector.is_some_and(|vector| !short(vector));
        let loops = wish.loops.len();
        let mut seen = BTreeSet::new();
        let mut packs = std::mem::take(&mut wish.packs);
        packs.retain_mut(|pack| {
            pack.depth = pack.depth.min(loops);
            self.packs.contains_key(&pack.load) && seen.insert(pack.load)
        });
        for pack in &mut packs {
            pack.layout = self.layout(pack.load, &wish.tile);
        }
        packs.retain(|pack| !pack.layout.is_empty());
        packs.sort();
        wish.packs = packs;
    }

    fn repair_tile(&self, wish: &mut StageSchedule) {
        let axes = self.extents.len();
        let mut tile: Vec<TileSpec> = Vec::with_capacity(axes);
        for spec in &wish.tile {
            if spec.axis < axes && tile.iter().all(|other| other.axis != spec.axis) {
                tile.push(*spec);
            }
        }
        for axis in 0..axes {
            if tile.iter().all(|spec| spec.axis != axis) {
                tile.push(TileSpec { axis, unroll: 1, lanes: 1 });
            }
        }
        // Stable: keeps the order wished for among the points and among the folds.
        tile.sort_by_key(|spec| spec.axis >= self.points);
        let disordered = tile.iter().enumerate().any(|(at, outer)| {
            tile[at + 1..].iter().any(|inner| outer.axis > inner.axis && !self.ordered(outer.axis, inner.axis))
        });
        if disordered || !self.ragged.is_empty() {
            tile.sort_by_key(|spec| spec.axis);
        }
        let mut vector = false;
        for spec in &mut tile {
            let allowed = (spec.axis < self.points || !self.ragged.contains(&spec.axis)) && !vector;
            if spec.lanes <= 1 || !allowed || !self.vectors.contains(&(spec.axis, spec.lanes)) {
                spec.lanes = 1;
            }
            vector |= spec.lanes > 1;
            let most = self.extents[spec.axis].div_ceil(spec.lanes).max(1);
            spec.unroll = self.unroll(spec.axis, spec.unroll.clamp(1, most));
        }
        wish.tile = tile;
    }

    fn repair_loops(&self, wish: &mut StageSchedule) {
        let axes = self.extents.len();
        let mut inner: Vec<usize> = vec![0; axes];
        let mut base = vec![1; axes];
        for spec in &wish.tile {
            base[spec.axis] = spec.unroll * spec.lanes;
        }
        let mut loops: Vec<LoopSpec> = Vec::with_capacity(wish.loops.len());
        for step in wish.loops.iter().rev() {
            let axis = step.axis;
            if axis >= axes || self.blocks[axis].is_empty() {
                continue;
            }
            let unit = if inner[axis] == 0 { base[axis] } else { inner[axis] };
            let rounded = step.step.max(1).div_ceil(unit) * unit;
            if rounded >= self.extents[axis] || rounded == inner[axis] {
                continue;
            }
            inner[axis] = rounded;
            loops.push(LoopSpec { axis, step: rounded });
        }
        loops.reverse();
        let disordered = loops
            .iter()
            .enumerate()
            .any(|(at, outer)| loops[at + 1..].iter().any(|inner| !self.ordered(outer.axis, inner.axis)));
        if disordered {
            // The source order of the blocks; legality decides what remains.
            loops.sort_by_key(|step| step.axis);
        }
        wish.loops = loops;
    }

    /// The tile entry whose blocks a pack of `load` is laid out in: of the points that the load depends
    /// on, the one with the most computed together.
    fn panel(&self, load: usize, tile: &[TileSpec]) -> Option<TileSpec> {
        let axes = self.load_axes.get(&load)?;
        tile.iter()
            .filter(|spec| axes.contains(&spec.axis) && spec.unroll * spec.lanes > 1 && spec.axis < self.points)
            .max_by_key(|spec| (spec.lanes, spec.unroll))
            .copied()
    }

    /// A packed layout in the order of use: the axis of the register tile that the load depends on comes
    /// in blocks of one tile around its folds.
    fn layout(&self, load: usize, tile: &[TileSpec]) -> Vec<LoopSpec> {
        let Some(axes) = self.load_axes.get(&load) else { return Vec::new() };
        let panel = self.panel(load, tile).map(|spec| LoopSpec { axis: spec.axis, step: spec.unroll * spec.lanes });
        let others = |points: bool| {
            tile.iter()
                .filter(move |spec| axes.contains(&spec.axis) && (spec.axis < self.points) == points)
                .filter(move |spec| Some(spec.axis) != panel.map(|panel| panel.axis))
                .map(|spec| LoopSpec { axis: spec.axis, step: 1 })
        };
        let last = panel.map(|panel| LoopSpec { axis: panel.axis, step: 1 });
        match last {
            Some(last) => others(true).chain(panel).chain(others(false)).chain([last]).collect(),
            // Without a panel: the points last, contiguous as the lanes want them.
            None => others(false).chain(others(true)).collect(),
        }
    }

    /// A pack of `load` inside `depth` loops.
    pub(super) fn pack(&self, load: usize, depth: usize) -> Pack {
        Pack { load, depth, layout: Vec::new() }
    }
}
