//! Registers of a register tile: one vector or scalar along each axis, and the choices of one per axis.
//!
//! Everything that emits a tile speaks of its points by these; nothing here emits code.

use inkwell::values::{IntValue, VectorValue};

/// One register (vector or scalar) along one axis of a register tile.
#[derive(Clone)]
pub(crate) struct Reg<'c> {
    /// First point, relative to the axis' variable.
    pub(crate) offset: i64,
    /// Points, which are lanes if more than one.
    pub(crate) width: u32,
    /// Set where the last lanes lie outside the range.
    pub(crate) mask: Option<Mask<'c>>,
    /// On a fold axis: the accumulator it adds to.
    pub(super) partial: usize,
    /// Where the stores go past the caches: its elements lie at a multiple of the vector's size.
    pub(super) aligned: bool,
}

/// The lanes that count.
#[derive(Clone)]
pub(crate) struct Mask<'c> {
    pub(crate) lanes: VectorValue<'c>,
    pub(crate) count: Count<'c>,
}

/// Which lanes count.
#[derive(Clone, Copy)]
pub(crate) enum Count<'c> {
    /// The first so many.
    Static(u32),
    /// The first so many.
    Dynamic(IntValue<'c>),
    /// Those of the mask; this one is among them.
    Scattered(IntValue<'c>),
}

/// Every choice of one register per axis, the last axis fastest.
pub(super) fn combinations(regs: &[Vec<Reg<'_>>]) -> Vec<Vec<usize>> {
    regs.iter().fold(vec![Vec::new()], |combos, regs| {
        combos.iter().flat_map(|prefix| (0..regs.len()).map(move |at| [prefix.as_slice(), &[at]].concat())).collect()
    })
}

/// The points of a register tile, each with its number, so that few operands wait at a time for those that follow: the axis
/// with the most registers outermost. What one of its registers needs is then needed no more after it, and of the other
/// axes, which have fewer, the operands stay.
pub(super) fn few_operands<'p>(combos: &'p [Vec<usize>], regs: &[Vec<Reg<'_>>]) -> Vec<(usize, &'p [usize])> {
    let mut axes: Vec<usize> = (0..regs.len()).collect();
    axes.sort_by_key(|&axis| std::cmp::Reverse(regs[axis].len()));
    let mut points: Vec<(usize, &[usize])> = combos.iter().map(Vec::as_slice).enumerate().collect();
    points.sort_by_key(|(_, combo)| axes.iter().map(|&axis| combo[axis]).collect::<Vec<usize>>());
    points
}
