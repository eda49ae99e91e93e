//! Where the pieces of a tile's vector axis begin: at aligned addresses, found when the kernel runs.
//!
//! An array begins at any multiple of its element. NumPy's large ones begin 16 bytes past a cache line, so that every
//! vector as wide as a line crosses into the next one. One stream of accesses of a tile is chosen here, before any code
//! is written ([`Cx::dominant`]): the store, or without a contiguous one the loads that weigh most. Its vectors are
//! aligned in every range of the axis that is long enough to pay for the points that this costs.
//!
//! Where points may be computed twice, the first and the last vector of a range overlap their neighbours, so that every
//! piece is whole vectors. Elsewhere masked vectors, or single points, lead up to the first aligned address and on from the
//! last. Axes of folds are left as they are, for the order of their terms, and so the last bits of a result, must not
//! depend on where an array lies.

use super::cx::{Cx, Emit, Value};
use super::facts::{Bounds, Facts};
use super::frame::Frame;
use super::plan::{Axis, Plan};
use super::tile::{Body, Reg, anywhere};
use inkwell::IntPredicate;
use inkwell::values::{IntValue, PointerValue};
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
/// and of fewer register tiles.
const FEWEST_TILES: i64 = 2;

/// The accesses that the pieces of a vector axis are aligned for.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    buffer: usize,
    /// Of the first element of a vector.
    offset: Affine,
    /// It is what the tile writes to, which a value may move.
    written: bool,
    /// Elements from one aligned address to the next.
    unit: i64,
    /// Vectors of the shortest range in which alignment pays.
    vectors: i64,
}

/// A range of a tile's axis, in code and as far as it is known.
#[derive(Clone, Copy)]
pub(super) struct Span<'b, 'c> {
    pub(super) bounds: &'b Bounds,
    pub(super) lo: IntValue<'c>,
    pub(super) hi: IntValue<'c>,
    /// Of the axis' variable on the grid of its register tiles.
    pub(super) facts: Facts,
}

impl<'c> Cx<'c, '_> {
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

    fn is_scratch(&self, buffer: usize) -> bool {
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

    /// The stream for which a range of an axis is to be aligned, if that may pay and is not so anyway.
    pub(super) fn worth_aligning<'p>(
        &self,
        frame: &Frame<'c>,
        plan: &'p Plan<'_>,
        axis: &Axis<'_>,
        bounds: &Bounds,
    ) -> Option<&'p Stream> {
        let stream = plan.aligned.as_ref().filter(|_| axis.lanes > 1 && !axis.fold)?;
        let aligned_already = || {
            let [lo] = bounds.los.as_slice() else { return None };
            let scratch = self.is_scratch(stream.buffer);
            let at = |var| if var == axis.axis.var { lo.clone() } else { Affine::variable(var) };
            let offset = self.in_scope(frame, &stream.offset, axis).substitute(at);
            let residue = Facts::of(&offset, &|var| frame.facts(var))?.modulo(stream.unit)?;
            Some(scratch && residue == 0 && !(stream.written && frame.moved.is_some()))
        };
        let long = bounds.extent.1 >= stream.least(axis);
        (long && aligned_already() != Some(true)).then_some(stream)
    }

    /// An offset without the terms of variables that are bound inside of the vector axis: multiples of a vector.
    fn in_scope(&self, frame: &Frame<'c>, offset: &Affine, axis: &Axis<'_>) -> Affine {
        let known = |var: usize| var == axis.axis.var || frame.facts(var).is_some();
        Affine::new(offset.constant, offset.terms.iter().copied().filter(|term| known(term.0)))
    }

    /// Where the first access of a stream lies. Leaves the axis' variable bound.
    fn first_element(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        axis: &Axis<'_>,
        stream: &Stream,
        span: Span<'_, 'c>,
    ) -> Emit<PointerValue<'c>> {
        let malformed = || self.malformed(&plan.tile.origin, "a stream of a buffer that does not exist");
        let buffer = self.nest.buffers.get(stream.buffer).ok_or_else(malformed)?;
        let moved = frame.moved.filter(|_| stream.written);
        let start = moved.or_else(|| frame.buffers.get(&stream.buffer).copied()).ok_or_else(malformed)?;
        let offset = self.in_scope(frame, &stream.offset, axis);
        frame.bind(axis.axis.var, span.lo, anywhere(axis, span.facts));
        self.element(self.memory_type(buffer.dtype), start, self.affine(frame, &offset)?, "first")
    }

    /// The first point at or after `lo` at which the accesses of a stream, which begin at `first`, are aligned.
    fn first_aligned(&self, stream: &Stream, first: PointerValue<'c>, span: Span<'_, 'c>) -> Emit<IntValue<'c>> {
        let bytes = i64::try_from(self.nest.buffers[stream.buffer].dtype.bytes()).unwrap_or(1);
        let address = self.builder.build_ptr_to_int(first, self.context.i64_type(), "address")?;
        let before = self.builder.build_int_sub(self.i64(0), address, "before")?;
        let before = self.builder.build_and(before, self.i64(bytes * stream.unit - 1), "before")?;
        let before = self.builder.build_int_unsigned_div(before, self.i64(bytes), "elements")?;
        self.index_add(span.lo, before, "aligned")
    }

    /// The pieces of a range of the vector axis, aligned for `stream`; the range has at least [`Stream::least`] points.
    pub(super) fn split_aligned(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        axis: &Axis<'_>,
        stream: &Stream,
        span: Span<'_, 'c>,
        body: Body<'_, 'c>,
    ) -> Emit<()> {
        let first = self.first_element(frame, plan, axis, stream, span)?;
        let start = self.first_aligned(stream, first, span)?;
        if plan.again {
            return self.overlapping_ends(frame, axis, start, span, body);
        }
        let start = self.at_most(start, span.hi)?;
        self.tail(frame, axis, (span.lo, start), span.facts, body)?;
        self.tiles_from(frame, axis, start, span, false, body)
    }

    /// Aligned register tiles and vectors, and at both ends a vector that overlaps its neighbour.
    fn overlapping_ends(
        &self,
        frame: &mut Frame<'c>,
        axis: &Axis<'_>,
        start: IntValue<'c>,
        span: Span<'_, 'c>,
        body: Body<'_, 'c>,
    ) -> Emit<()> {
        let Span { lo, hi, facts, .. } = span;
        let (var, facts) = (axis.axis.var, anywhere(axis, facts));
        let full: Vec<Reg<'c>> = (0..axis.unroll).map(|register| self.whole(axis, register)).collect();
        let head = self.icmp(IntPredicate::SLT, lo.into(), start.into())?;
        self.when(head, &format!("{}.head", axis.name), &mut || {
            frame.bind(var, lo, facts);
            body(frame, &full[..1])
        })?;
        let tile = axis.register_tile();
        let last = self.index_add(hi, self.i64(-tile), "last")?;
        let from = self.counted(start, last, tile, &axis.name, &mut |x| {
            frame.bind(var, x, facts);
            body(frame, &full)
        })?;
        let lanes = i64::from(axis.lanes);
        let last = self.index_add(hi, self.i64(-lanes), "last")?;
        let end = self.index_add(hi, self.i64(-1), "end")?;
        self.counted(from, end, lanes, &format!("{}.rest", axis.name), &mut |x| {
            let inside = self.icmp(IntPredicate::SLT, x.into(), last.into())?;
            frame.bind(var, self.choose(inside, x, last)?, facts);
            body(frame, &full[..1])
        })?;
        frame.unbind(var);
        Ok(())
    }

    /// The pieces of the vector axis of a tile whose stores go past the caches: every whole vector is aligned.
    pub(super) fn split_past_caches(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        axis: &Axis<'_>,
        span: Span<'_, 'c>,
        body: Body<'_, 'c>,
    ) -> Emit<()> {
        let (buffer, offset) = (plan.tile.target, plan.tile.offset.clone());
        let stream = Stream { buffer, offset, written: true, unit: i64::from(axis.lanes), vectors: 0 };
        let first = self.first_element(frame, plan, axis, &stream, span)?;
        let start = self.first_aligned(&stream, first, span)?;
        let start = self.at_most(start, span.hi)?;
        if !plan.again {
            self.tail(frame, axis, (span.lo, start), span.facts, body)?;
            return self.tiles_from(frame, axis, start, span, true, body);
        }
        // The lines at both ends are stored in parts, and so must be fetched, which all later stores would wait for: they are
        // asked for a row ahead, and written last.
        self.fetch_ends(plan, &stream, first, span)?;
        self.tiles_from(frame, axis, start, span, true, body)?;
        self.tail(frame, axis, (span.lo, start), span.facts, body)?;
        frame.unbind(axis.axis.var);
        Ok(())
    }

    /// Asks for the lines of the first and the last point of every row of the next register tile, to be written: those of
    /// this one were asked for before the one before it. Past the last row nothing is there, and nothing happens.
    fn fetch_ends(&self, plan: &Plan<'_>, stream: &Stream, first: PointerValue<'c>, span: Span<'_, 'c>) -> Emit<()> {
        let Some(vector) = plan.vector else { return Ok(()) };
        let along =
            |axis: &Axis<'_>| stream.offset.coefficient(axis.axis.var) * i64::try_from(axis.unroll).unwrap_or(1);
        let Some(next) = plan.axes[..vector].iter().rev().map(along).find(|&step| step != 0) else { return Ok(()) };
        let mut rows = vec![next];
        for axis in &plan.axes[..vector] {
            let (stride, unroll) = (stream.offset.coefficient(axis.axis.var), i64::try_from(axis.unroll).unwrap_or(1));
            rows = rows.iter().flat_map(|row| (0..unroll).map(move |register| row + register * stride)).collect();
        }
        let element = self.memory_type(self.nest.buffers[stream.buffer].dtype);
        let points = self.builder.build_int_nsw_sub(span.hi, span.lo, "points")?;
        let last = self.index_add(points, self.i64(-1), "last")?;
        let last = self.element(element, first, last, "last")?;
        for row in rows {
            for end in [first, last] {
                let end = self.element(element, end, self.i64(row), "end")?;
                // To be written, to all caches, of data.
                let args: [Value<'c>; 4] = [end.into(), self.i32(1).into(), self.i32(3).into(), self.i32(1).into()];
                self.intrinsic_call("llvm.prefetch", &[end.get_type().into()], &args)?;
            }
        }
        Ok(())
    }

    fn at_most(&self, point: IntValue<'c>, end: IntValue<'c>) -> Emit<IntValue<'c>> {
        let inside = self.icmp(IntPredicate::SLT, point.into(), end.into())?;
        self.choose(inside, point, end)
    }

    /// Whole register tiles from an aligned point on, and what is left after them.
    fn tiles_from(
        &self,
        frame: &mut Frame<'c>,
        axis: &Axis<'_>,
        start: IntValue<'c>,
        span: Span<'_, 'c>,
        past_caches: bool,
        body: Body<'_, 'c>,
    ) -> Emit<()> {
        let Span { hi, facts, .. } = span;
        let tile = axis.register_tile();
        let whole = |register: usize| Reg { aligned: past_caches, ..self.whole(axis, register) };
        let full: Vec<Reg<'c>> = (0..axis.unroll).map(whole).collect();
        let last = self.index_add(hi, self.i64(-tile), "last")?;
        let mut from = self.counted(start, last, tile, &axis.name, &mut |x| {
            frame.bind(axis.axis.var, x, anywhere(axis, facts));
            body(frame, &full)
        })?;
        if axis.unroll > 1 {
            from = self.vectors(frame, axis, (from, hi), facts, &full[..1], body)?;
        }
        self.tail(frame, axis, (from, hi), facts, body)?;
        frame.unbind(axis.axis.var);
        Ok(())
    }
}

impl Stream {
    /// Points of the shortest range in which alignment pays.
    pub(super) fn least(&self, axis: &Axis<'_>) -> i64 {
        let tiles = axis.register_tile().saturating_mul(FEWEST_TILES);
        self.vectors.saturating_mul(i64::from(axis.lanes)).max(tiles)
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
