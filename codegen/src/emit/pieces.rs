//! Pieces of a range along one axis of a register tile: whole registers, vectors one by one, and what is shorter.
//!
//! Input: where a piece begins and ends, and the code of its registers. Which pieces a range has is decided in [`super::split`]
//! and [`super::align`].

use super::cx::{Cx, Emit};
use super::facts::{Bounds, Facts};
use super::frame::Frame;
use super::plan::Axis;
use super::register::{Count, Mask, Reg};
use inkwell::IntPredicate;
use inkwell::types::VectorType;
use inkwell::values::IntValue;
use moat_optimizer::value::dtype::DType;

/// The code of one piece, given its registers.
pub(super) type Body<'b, 'c> = &'b mut dyn FnMut(&mut Frame<'c>, &[Reg<'c>]) -> Emit<()>;

/// A range of a tile's axis, in code and as far as it is known.
#[derive(Clone, Copy)]
pub(super) struct Span<'b, 'c> {
    pub(super) bounds: &'b Bounds,
    pub(super) lo: IntValue<'c>,
    pub(super) hi: IntValue<'c>,
    /// Of the axis' variable on the grid of its register tiles.
    pub(super) facts: Facts,
}

/// A part of a range, in code.
#[derive(Clone, Copy)]
pub(super) struct Part<'c> {
    /// The first point.
    pub(super) from: IntValue<'c>,
    /// The end.
    pub(super) hi: IntValue<'c>,
    /// Of the axis' variable on the grid of its register tiles.
    pub(super) facts: Facts,
}

impl<'c> Cx<'c, '_> {
    /// One whole register.
    pub(super) fn whole(&self, axis: &Axis<'_>, register: usize) -> Reg<'c> {
        let offset = i64::try_from(register).unwrap_or(0) * i64::from(axis.lanes);
        Reg { offset, width: axis.lanes, mask: None, partial: register, aligned: false }
    }

    /// Registers of a remainder of `rest` points.
    pub(super) fn partial(&self, axis: &Axis<'_>, rest: i64) -> Vec<Reg<'c>> {
        let lanes = i64::from(axis.lanes);
        let whole = usize::try_from(rest / lanes).unwrap_or(0);
        let mut regs: Vec<Reg<'c>> = (0..whole).map(|register| self.whole(axis, register)).collect();
        let mut offset = rest / lanes * lanes;
        let mut left = u32::try_from(rest % lanes).unwrap_or(0);
        if left == 0 {
            return regs;
        }
        if axis.fold && !axis.masked {
            let partial = axis.scalar_partial;
            regs.extend((offset..rest).map(|offset| Reg { offset, width: 1, mask: None, partial, aligned: false }));
            return regs;
        }
        if axis.masked && (axis.fold || !left.is_power_of_two()) {
            let bits: Vec<IntValue<'c>> =
                (0..axis.lanes).map(|lane| self.context.bool_type().const_int(u64::from(lane < left), false)).collect();
            let mask = Mask { lanes: VectorType::const_vector(&bits), count: Count::Static(left) };
            regs.push(Reg { offset, width: axis.lanes, mask: Some(mask), partial: whole, aligned: false });
            return regs;
        }
        while left > 0 {
            let width = 1 << left.ilog2();
            regs.push(Reg { offset, width, mask: None, partial: 0, aligned: false });
            offset += i64::from(width);
            left -= width;
        }
        regs
    }

    /// Vectors one by one; the first point after them.
    pub(super) fn vectors(
        &self,
        frame: &mut Frame<'c>,
        axis: &Axis<'_>,
        Part { from, hi, facts }: Part<'c>,
        one: &[Reg<'c>],
        body: Body<'_, 'c>,
    ) -> Emit<IntValue<'c>> {
        let lanes = i64::from(axis.lanes);
        let last = self.index_add(hi, self.i64(-lanes), "last")?;
        self.counted(from, last, lanes, &format!("{}.vectors", axis.name), &mut |x| {
            frame.bind(axis.axis.var, x, anywhere(axis, facts));
            body(frame, one)
        })
    }

    /// An interval shorter than a vector: a masked one, or single points.
    pub(super) fn tail(
        &self,
        frame: &mut Frame<'c>,
        axis: &Axis<'_>,
        Part { from, hi, facts }: Part<'c>,
        body: Body<'_, 'c>,
    ) -> Emit<()> {
        let var = axis.axis.var;
        let anywhere = anywhere(axis, facts);
        if axis.lanes > 1 && axis.masked {
            let left = self.builder.build_int_nsw_sub(hi, from, "left")?;
            let some = self.icmp(IntPredicate::SGT, left.into(), self.i64(0).into())?;
            self.when(some, &format!("{}.masked", axis.name), &mut || {
                let count = self.builder.build_int_truncate(left, self.context.i32_type(), "count")?;
                let inside = self.icmp(IntPredicate::ULT, self.iota(DType::I32, axis.lanes), count.into())?;
                let mask = Mask { lanes: self.vector(inside)?, count: Count::Dynamic(left) };
                frame.bind(var, from, anywhere);
                body(frame, &[Reg { offset: 0, width: axis.lanes, mask: Some(mask), partial: 0, aligned: false }])
            })?;
            return Ok(());
        }
        let last = self.index_add(hi, self.i64(-1), "last")?;
        let one = [Reg { offset: 0, width: 1, mask: None, partial: axis.scalar_partial, aligned: false }];
        self.counted(from, last, 1, &format!("{}.rest", axis.name), &mut |x| {
            frame.bind(var, x, anywhere);
            body(frame, &one)
        })?;
        Ok(())
    }
}

/// Facts of an axis' variable off the grid of its register tile: it may take any value of the interval.
pub(super) fn anywhere(axis: &Axis<'_>, facts: Facts) -> Facts {
    Facts { modulus: 1, residue: 0, max: facts.max.saturating_add(axis.register_tile() - 1), ..facts }
}
