//! Where the pieces of a tile's vector axis begin: at aligned addresses, found when the kernel runs.
//!
//! An array begins at any multiple of its element. NumPy's large ones begin 16 bytes past a cache line, so that every
//! vector as wide as a line crosses into the next one. One stream of accesses of a tile is chosen before any code is written
//! ([`super::stream`]). Its vectors are aligned in every range of the axis that is long enough to pay for the points that
//! this costs.
//!
//! Where points may be computed twice, the first and the last vector of a range overlap their neighbours, so that every
//! piece is whole vectors. Elsewhere masked vectors, or single points, lead up to the first aligned address and on from the
//! last. Axes of folds are left as they are, for the order of their terms, and so the last bits of a result, must not
//! depend on where an array lies.

use super::cx::{Cx, Emit, Value};
use super::facts::{Bounds, Facts};
use super::frame::Frame;
use super::pieces::{Body, Part, Span, anywhere};
use super::plan::{Axis, Plan, Stream};
use super::register::Reg;
use inkwell::IntPredicate;
use inkwell::values::{IntValue, PointerValue};
use moat_optimizer::integer::affine::Affine;

impl<'c> Cx<'c, '_> {
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
        self.tail(frame, axis, Part { from: span.lo, hi: start, facts: span.facts }, body)?;
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
            self.tail(frame, axis, Part { from: span.lo, hi: start, facts: span.facts }, body)?;
            return self.tiles_from(frame, axis, start, span, true, body);
        }
        // The lines at both ends are stored in parts, and so must be fetched, which all later stores would wait for: they are
        // asked for a row ahead, and written last.
        self.fetch_ends(plan, &stream, first, span)?;
        self.tiles_from(frame, axis, start, span, true, body)?;
        self.tail(frame, axis, Part { from: span.lo, hi: start, facts: span.facts }, body)?;
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
            from = self.vectors(frame, axis, Part { from, hi, facts }, &full[..1], body)?;
        }
        self.tail(frame, axis, Part { from, hi, facts }, body)?;
        frame.unbind(axis.axis.var);
        Ok(())
    }
}
