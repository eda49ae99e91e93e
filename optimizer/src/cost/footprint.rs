//! What a stage reads and computes once the inlined definitions are substituted: loads with their
//! strides, operation costs, and the boxes of memory that a block of iterations touches.
//!
//! Input: a [`NormalForm`] and the places of a schedule. Output: [`StageModel`]s, for the draft cost
//! and for the heuristics of the schedule space. Estimates only: nothing here decides legality.

use super::constants::{MAX_INLINE_DEPTH, MAX_NODES};
use crate::form::access::{axes_of, indices};
use crate::form::context::{Context, bounding_box, contexts, extremes};
use crate::form::normal_form::{NormalForm, Piece, Scope};
use crate::form::scalar_tree::{Access, DefId, ScalarOp, Source};
use crate::integer::affine::Affine;
use crate::integer::range::Range;
use crate::schedule::{Place, Schedule};
use crate::value::scalar::{BinaryClass, BinaryOp, FoldOp, UnaryOp};

/// One load of a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadModel {
    /// What is read.
    pub source: Source,
    /// Its number among the loads of the stage's own expression; `None` if it came by inlining.
    pub own: Option<usize>,
    /// Bytes of an element.
    pub bytes: usize,
    /// Extents of the source's axes (one for a flat read).
    pub extents: Vec<usize>,
    /// One form over the stage's axes for each.
    pub index: Vec<Affine>,
    /// Elements between neighbours along each axis of the stage, 0 where it does not depend on it.
    pub strides: Vec<i64>,
}

impl LoadModel {
    /// Number of elements of the source.
    pub fn elements(&self) -> usize {
        self.extents.iter().product()
    }

    /// The box of the source that a block of `extents` iterations (from 0) touches: least and greatest
    /// index of each source axis.
    pub fn region(&self, extents: &[usize]) -> Vec<(i64, i64)> {
        let last = |axis: usize| extents.get(axis).map_or(0, |&extent| extent.max(1) as i64 - 1);
        self.index.iter().map(|form| form.bounds(|axis| (0, last(axis)))).collect()
    }

    /// Whether a block of `extents` iterations reads about what it reads by another load: the same source a few elements
    /// away, along axes that it covers as far, or along the axis `sliding`, on which the next block follows.
    pub fn overlaps(&self, other: &LoadModel, extents: &[usize], sliding: Option<usize>) -> bool {
        let near = |(one, two): (&Affine, &Affine)| {
            let apart = one.minus(two);
            let covered = |&(axis, _): &(usize, i64)| {
                let extent = extents.get(axis).copied().unwrap_or(1);
                sliding == Some(axis) || (extent as u64) > apart.constant.unsigned_abs()
            };
            apart.is_constant() && (apart.constant == 0 || one.terms.iter().any(covered))
        };
        self.source == other.source
            && self.index.len() == other.index.len()
            && self.index.iter().zip(&other.index).all(near)
    }

    /// Bytes of cache that a block of `extents` iterations occupies, whole lines of `line` bytes, and
    /// the length of a contiguous run.
    pub fn footprint(&self, extents: &[usize], line: usize) -> Footprint {
        let mut rows = 1.0;
        let (mut run, mut lines) = (1.0, 1.0);
        let per_line = line as f64 / self.bytes.max(1) as f64;
        let last = self.index.len().wrapping_sub(1);
        let mut row_stride = 0;
        for (dimension, form) in self.index.iter().enumerate() {
            let extent = self.extents[dimension].max(1);
            let mut values = 1.0_f64;
            let mut range = 1.0_f64;
            for &(axis, coefficient) in &form.terms {
                let trips = extents.get(axis).copied().unwrap_or(1).max(1) as f64;
                values *= trips;
                range += coefficient.unsigned_abs() as f64 * (trips - 1.0);
            }
            let range = range.min(extent as f64);
            if dimension == last {
                run = range;
                lines = lines_along(form, extents, per_line).min((range / per_line).ceil());
            } else {
                let count = values.min(range);
                if count > 1.0 {
                    row_stride = self.extents[dimension + 1..].iter().product::<usize>() * self.bytes;
                }
                rows *= count;
            }
        }
        let run_bytes = run * self.bytes as f64;
        Footprint { bytes: rows * lines * line as f64, rows, run_bytes, row_stride }
    }
}

/// Lines of `per_line` elements that a block of `extents` iterations touches along one dimension: terms that continue each
/// other make runs, all others more of them.
fn lines_along(form: &Affine, extents: &[usize], per_line: f64) -> f64 {
    let trips = |axis: usize| extents.get(axis).copied().unwrap_or(1).max(1) as f64;
    let mut terms: Vec<(f64, f64)> = form.terms.iter().map(|&(v, c)| (c.unsigned_abs() as f64, trips(v))).collect();
    terms.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut run, mut runs) = (1.0_f64, 1.0_f64);
    for (stride, trips) in terms {
        if stride <= run.max(per_line) && runs == 1.0 {
            run += stride * (trips - 1.0);
        } else {
            runs *= trips;
        }
    }
    runs * (run / per_line).ceil()
}

/// Memory touched by a block of iterations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Footprint {
    /// Bytes, in whole lines.
    pub bytes: f64,
    /// Contiguous runs.
    pub rows: f64,
    /// Bytes of one.
    pub run_bytes: f64,
    /// Bytes between the starts of neighbouring runs; 0 if there is one run.
    pub row_stride: usize,
}

/// One stored definition as the machine sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct StageModel {
    /// Extents of the points, then of the folds, of the piece with the most iterations.
    pub extents: Vec<usize>,
    /// How many of them are points.
    pub points: usize,
    /// Bytes of an element of the result.
    pub bytes: usize,
    /// Elements between neighbours of the result along each axis; 0 for folds.
    pub store_strides: Vec<i64>,
    /// Everything read at each iteration.
    pub loads: Vec<LoadModel>,
    /// Cost of the operations at each iteration, in multiply-add slots of a vector.
    pub cost: f64,
    /// Arithmetic operations at each iteration.
    pub operations: f64,
    /// Scalar nodes, the size of the code for one point.
    pub nodes: usize,
    /// The fold.
    pub fold: Option<FoldOp>,
    /// The folded term is a product, and so a multiply-add.
    pub fused: bool,
    /// Sums of blocks of terms wait for each other beside the accumulators.
    pub blocks: bool,
    /// Iterations over all pieces divided by iterations of this one; 1 for a rectangular piece alone.
    pub scale: f64,
    /// Bytes of the widest element that the stage handles.
    pub widest: usize,
}

impl StageModel {
    /// Iterations of the box of `extents`.
    pub fn iterations(&self) -> f64 {
        self.extents.iter().map(|&extent| extent as f64).product()
    }
}

/// Cost of one operation on a vector, in multiply-add slots. Set by hand.
pub fn unary_cost(op: UnaryOp) -> f64 {
    match op {
        UnaryOp::Neg | UnaryOp::Not | UnaryOp::Abs => 0.7,
        UnaryOp::Sign => 3.0,
        UnaryOp::Floor => 1.0,
        UnaryOp::Sqrt => 16.0,
        UnaryOp::Exp => 16.0,
        UnaryOp::Log => 22.0,
        UnaryOp::Sin | UnaryOp::Cos => 26.0,
        UnaryOp::Tanh => 28.0,
        UnaryOp::Erf => 30.0,
    }
}

/// The same of an operation of two arguments. Set by hand.
pub fn binary_cost(op: BinaryOp, float: bool) -> f64 {
    match op.class() {
        BinaryClass::Quotient if float => 12.0,
        BinaryClass::Quotient | BinaryClass::Division => 40.0,
        BinaryClass::Power => 60.0,
        BinaryClass::Extremum => 2.0,
        BinaryClass::Sum | BinaryClass::Product | BinaryClass::Bitwise | BinaryClass::Comparison => 1.0,
    }
}

/// Bounding extents of each axis of a piece.
fn extents(piece: &Piece, scope: &[Scope]) -> Vec<usize> {
    match bounding_box(&piece.domain, scope) {
        Some(bounds) => bounds.iter().map(|&(low, high)| usize::try_from(high - low + 1).unwrap_or(0)).collect(),
        None => vec![0; piece.domain.len()],
    }
}

/// The share of its bounding box that a domain fills: 1/2 for a triangle.
fn fill(domain: &[Range], scope: &[Scope]) -> f64 {
    let mut share = 1.0;
    let Some(bounds) = bounding_box(domain, scope) else { return 0.0 };
    for (range, &(low, high)) in domain.iter().zip(&bounds) {
        if range.as_constant().is_none() {
            let middle = |form: &Affine| {
                let (a, b) = form.bounds(|axis| bounds.get(axis).copied().unwrap_or_else(|| extremes(scope, axis)));
                (a as f64 + b as f64) / 2.0
            };
            let from = range.lo.iter().map(middle).fold(low as f64, f64::max);
            let to = range.hi.iter().map(middle).fold(high as f64 + 1.0, f64::min);
            share *= ((to - from) / (high - low + 1) as f64).clamp(0.0, 1.0);
        }
    }
    share
}

/// The models of all definitions that are not inlined.
pub fn models(form: &NormalForm, schedule: &Schedule) -> Vec<Option<StageModel>> {
    let inlined = |def: DefId| schedule.stages.get(def).is_some_and(|stage| stage.place == Place::Inline);
    (0..form.defs.len()).map(|def| (!inlined(def)).then(|| model(form, def, &inlined))).collect()
}

/// The model of one definition, with those for which `inlined` holds substituted.
pub fn model(form: &NormalForm, id: DefId, inlined: &impl Fn(DefId) -> bool) -> StageModel {
    let def = &form.defs[id];
    let points = def.axes.len();
    let scope = &def.scope;
    let volume =
        |piece: &Piece| extents(piece, scope).iter().map(|&e| e as f64).product::<f64>() * fill(&piece.domain, scope);
    let total: f64 = def.pieces.iter().map(volume).sum();
    let mut store_strides = vec![0; axes_of(def)];
    match &def.update {
        Some(update) => {
            let mut stride = 1;
            let extents = form.states.get(update.state).map_or(&[][..], |state| &state.shape);
            for (index, &extent) in update.base.iter().zip(extents).rev() {
                for &(axis, coefficient) in index.terms.iter().filter(|term| term.0 < points) {
                    store_strides[axis] += coefficient * stride;
                }
                stride *= extent.max(1) as i64;
            }
        }
        None => {
            let mut stride = 1;
            for axis in (0..points).rev() {
                store_strides[axis] = stride;
                stride *= def.axes[axis].max(1) as i64;
            }
        }
    }
    let mut stage = StageModel {
        extents: def.axes.clone(),
        points,
        bytes: def.dtype.bytes(),
        store_strides,
        loads: Vec::new(),
        cost: 0.0,
        operations: 0.0,
        nodes: 0,
        fold: None,
        fused: false,
        blocks: false,
        scale: 1.0,
        widest: def.dtype.bytes(),
    };
    let Some(piece) = def.pieces.iter().max_by(|a, b| volume(a).total_cmp(&volume(b))) else { return stage };
    stage.extents = extents(piece, scope);
    stage.extents.resize(axes_of(def), 1);
    stage.fold = piece.fold;
    let terms = stage.extents[def.axes.len()..].iter().fold(1, |terms: usize, &extent| terms.saturating_mul(extent));
    stage.blocks = piece.depth.is_some_and(|depth| depth + 1 < terms);
    let iterations: f64 = stage.extents.iter().map(|&e| e as f64).product();
    let executions = if scope.is_empty() { 1.0 } else { contexts(form).get(id).map_or(1.0, Context::executions) };
    stage.scale = if iterations > 0.0 { executions * total / iterations } else { 0.0 };
    let identity: Vec<Affine> = (0..stage.extents.len()).map(Affine::variable).collect();
    let mut depth = 0;
    add_piece(form, piece, &identity, inlined, &mut stage, &mut depth, true);
    if let (Some(FoldOp::Sum), Some(last)) = (piece.fold, piece.value.nodes.last()) {
        stage.fused = def.dtype.is_float() && matches!(last.op, ScalarOp::Binary(BinaryOp::Mul, ..));
    }
    if piece.fold.is_some() {
        stage.operations += 1.0;
        stage.cost += if stage.fused { 0.0 } else { 1.0 };
    }
    stage
}

fn add_piece(
    form: &NormalForm,
    piece: &Piece,
    axes: &[Affine],
    inlined: &impl Fn(DefId) -> bool,
    stage: &mut StageModel,
    depth: &mut usize,
    own: bool,
) {
    let mut number = 0;
    for node in &piece.value.nodes {
        stage.nodes += 1;
        if stage.nodes > MAX_NODES {
            return;
        }
        stage.widest = stage.widest.max(node.dtype.bytes());
        let (cost, operations) = match &node.op {
            ScalarOp::Load(source, access) => {
                let replaced = |f: &Affine| f.substitute(|axis| axes.get(axis).cloned().unwrap_or_default());
                let index: Vec<Affine> = indices(access).iter().map(replaced).collect();
                match (source, access) {
                    (Source::Def(read), Access::Axes(_)) if inlined(*read) && *depth < MAX_INLINE_DEPTH => {
                        *depth += 1;
                        if let Some(piece) = form.defs[*read].pieces.first() {
                            add_piece(form, piece, &index, inlined, stage, depth, false);
                        }
                        *depth -= 1;
                    }
                    _ => add_load(form, *source, access, index, own.then_some(number), stage),
                }
                number += 1;
                (0.0, 0.0)
            }
            ScalarOp::Const(_) => (0.0, 0.0),
            ScalarOp::Index(_) => (1.0, 0.0),
            ScalarOp::Unary(op, _) => (unary_cost(*op), 1.0),
            ScalarOp::Binary(op, ..) => (binary_cost(*op, node.dtype.is_float()), 1.0),
            ScalarOp::Where(..) => (1.0, 0.0),
            ScalarOp::Cast(_) => (1.0, 0.0),
        };
        stage.cost += cost;
        stage.operations += operations;
    }
}

fn add_load(
    form: &NormalForm,
    source: Source,
    access: &Access,
    index: Vec<Affine>,
    own: Option<usize>,
    stage: &mut StageModel,
) {
    let (Some(dtype), Some(axes)) = (form.source_dtype(source), form.source_extents(source)) else { return };
    let own = own.filter(|_| !matches!(access, Access::Gather(_)));
    let extents = match access {
        Access::Axes(_) => axes.to_vec(),
        Access::Flat(_) | Access::Gather(_) => vec![axes.iter().product()],
    };
    let mut strides = vec![0; stage.extents.len()];
    let mut weight = 1;
    for (form, &extent) in index.iter().zip(&extents).rev() {
        for &(axis, coefficient) in &form.terms {
            if let Some(stride) = strides.get_mut(axis) {
                *stride += coefficient * weight;
            }
        }
        weight *= extent.max(1) as i64;
    }
    stage.widest = stage.widest.max(dtype.bytes());
    stage.loads.push(LoadModel { source, own, bytes: dtype.bytes(), extents, index, strides });
}
