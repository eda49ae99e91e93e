//! The range of one axis of a register tile, cut into pieces.
//!
//! An axis of register tile `R = unroll · lanes` runs as one loop over full tiles (no test inside)
//! and then its remainder: one register tile of the static rest where the rest is known, else
//! single steps and a masked vector. Every piece is the same code on another list of [`Reg`]s.

use super::cx::{Cx, Emit};
use super::facts::Bounds;
use super::frame::Frame;
use super::pieces::{Body, Part, Span, anywhere};
use super::plan::{Axis, Plan};
use super::register::Reg;
use inkwell::IntPredicate;
use inkwell::values::{InstructionOpcode, IntValue};
use moat_optimizer::integer::range::Range;

impl<'c> Cx<'c, '_> {
    /// The pieces of one axis over `range`: full tiles, then what is left.
    pub(super) fn split(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        axis: &Axis<'_>,
        range: &Range,
        body: Body<'_, 'c>,
    ) -> Emit<()> {
        let tile = axis.register_tile();
        let unbound = || self.malformed(&plan.tile.origin, format!("bounds of axis {} are not in scope", axis.name));
        let bounds = Bounds::new(range, &|v| frame.facts(v)).ok_or_else(unbound)?;
        if bounds.extent.1 <= 0 {
            return Ok(());
        }
        let Some(facts) = bounds.variable(tile, &|v| frame.facts(v)) else { return Ok(()) };
        let (lo, hi) = self.interval(frame, &bounds)?;
        let span = Span { bounds: &bounds, lo, hi, facts };
        if plan.stream && axis.lanes > 1 {
            return self.split_past_caches(frame, plan, axis, span, body);
        }
        let Some(stream) = self.worth_aligning(frame, plan, axis, &bounds) else {
            return self.split_from(frame, plan, axis, span, body);
        };
        let least = stream.least(axis);
        if bounds.extent.0 >= least {
            return self.split_aligned(frame, plan, axis, stream, span, body);
        }
        let points = self.builder.build_int_nsw_sub(hi, lo, "points")?;
        let long = self.icmp(IntPredicate::SGE, points.into(), self.i64(least).into())?;
        self.when(long, &format!("{}.long", axis.name), &mut || {
            self.split_aligned(frame, plan, axis, stream, span, body)
        })?;
        let short = self.icmp(IntPredicate::SLT, points.into(), self.i64(least).into())?;
        self.when(short, &format!("{}.short", axis.name), &mut || self.split_from(frame, plan, axis, span, body))?;
        Ok(())
    }

    /// The same without alignment: every piece where the range's first point puts it.
    fn split_from(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        axis: &Axis<'_>,
        span: Span<'_, 'c>,
        body: Body<'_, 'c>,
    ) -> Emit<()> {
        let Span { bounds, lo, hi, facts } = span;
        let var = axis.axis.var;
        let tile = axis.register_tile();
        let full: Vec<Reg<'c>> = (0..axis.unroll).map(|register| self.whole(axis, register)).collect();
        let mut from = lo;
        if bounds.extent.1 >= tile {
            let next = self.index_add(lo, self.i64(tile), "next")?;
            if bounds.extent.1 >= 2 * tile {
                let last = self.index_add(hi, self.i64(-tile), "last")?;
                from = self.counted(lo, last, tile, &axis.name, &mut |x| {
                    frame.bind(var, x, facts);
                    body(frame, &full)
                })?;
            } else if bounds.extent.0 >= tile {
                frame.bind(var, lo, facts);
                body(frame, &full)?;
                from = next;
            } else {
                let fits = self.icmp(IntPredicate::SLE, next.into(), hi.into())?;
                self.when(fits, &axis.name, &mut || {
                    frame.bind(var, lo, facts);
                    body(frame, &full)
                })?;
                from = self.choose(fits, next, lo)?;
            }
        }
        if tile > 1 {
            self.remainder(frame, plan, axis, span, from, body)?;
        }
        frame.unbind(var);
        Ok(())
    }

    /// What is left of a range after its register tiles, from `from` on.
    fn remainder(
        &self,
        frame: &mut Frame<'c>,
        plan: &Plan<'_>,
        axis: &Axis<'_>,
        span: Span<'_, 'c>,
        from: IntValue<'c>,
        body: Body<'_, 'c>,
    ) -> Emit<()> {
        let Span { bounds, hi, facts, .. } = span;
        let var = axis.axis.var;
        let tile = axis.register_tile();
        if let Some(rests) = bounds.remainders(tile, &|v| frame.facts(v)) {
            let certain = rests.len() == 1 && bounds.extent.0 >= 1;
            let possible: Vec<i64> = rests.into_iter().filter(|&rest| rest != 0).collect();
            if possible.len() <= 2 {
                for rest in possible {
                    let regs = self.partial(axis, rest);
                    if certain {
                        frame.bind(var, from, facts);
                        body(frame, &regs)?;
                    } else {
                        let left = self.builder.build_int_nsw_sub(hi, from, "left")?;
                        let this = self.icmp(IntPredicate::EQ, left.into(), self.i64(rest).into())?;
                        self.when(this, &format!("{}.rest", axis.name), &mut || {
                            frame.bind(var, from, facts);
                            body(frame, &regs)
                        })?;
                    }
                }
                return Ok(());
            }
        }
        let from = if axis.lanes > 1 && axis.unroll > 1 {
            let one = [self.whole(axis, 0)];
            self.vectors(frame, axis, Part { from, hi, facts }, &one, body)?
        } else {
            from
        };
        let overlaps = plan.again && axis.lanes > 1 && !axis.fold && !axis.masked;
        let from = if overlaps && bounds.extent.1 >= i64::from(axis.lanes) {
            self.overlapping(frame, axis, span, from, body)?
        } else {
            from
        };
        self.tail(frame, axis, Part { from, hi, facts }, body)
    }

    /// An interval shorter than a vector as one that begins before it, if the axis has room for it; the first point that
    /// is not done.
    fn overlapping(
        &self,
        frame: &mut Frame<'c>,
        axis: &Axis<'_>,
        Span { lo, hi, facts, .. }: Span<'_, 'c>,
        from: IntValue<'c>,
        body: Body<'_, 'c>,
    ) -> Emit<IntValue<'c>> {
        let begin = self.index_add(hi, self.i64(-i64::from(axis.lanes)), "begin")?;
        let some = self.icmp(IntPredicate::SLT, from.into(), hi.into())?;
        let room = self.icmp(IntPredicate::SGE, begin.into(), lo.into())?;
        let both = self.binary(InstructionOpcode::And, some, room, "overlaps")?;
        let one = [self.whole(axis, 0)];
        self.when(both, &format!("{}.overlapping", axis.name), &mut || {
            frame.bind(axis.axis.var, begin, anywhere(axis, facts));
            body(frame, &one)
        })?;
        self.choose(both, hi, from)
    }
}
