//! Operand packing: a load's tile copied into contiguous scratch.
//!
//! Input: a load, the intervals of its stage's axes at the depth of the pack, and a layout of
//! digits. Output: the copy as a statement, and the packed buffer's address for the readers. A
//! blocked digit is the variable of one of the stage's loops, so no division is left.

use super::address::Address;
use super::axis::AxisState;
use super::builder::NestBuilder;
use crate::integer::affine::Affine;
use crate::integer::intervals::Interval;
use crate::integer::range::Range;
use crate::nest::{BufferId, Loop, LoopKind, Node, Tile, TileAxis, TileScalar, VarId};
use crate::schedule::{LoopSpec, Pack};
use crate::value::dtype::DType;

/// A load that is packed.
pub(super) struct Operand<'a> {
    /// The load's node in the stage's scalar expression.
    pub(super) node: usize,
    /// The buffer that it reads.
    pub(super) buffer: BufferId,
    /// Where, over axes.
    pub(super) address: &'a Address,
}

/// A load that reads its packed copy.
pub(super) struct PackedLoad {
    /// The load's node in the stage's scalar expression.
    pub(super) node: usize,
    /// The scratch buffer.
    pub(super) buffer: BufferId,
    digits: Vec<Digit>,
    /// For each axis, its interval where the pack is placed.
    starts: Vec<(usize, Interval)>,
}

/// Scalar moves that are written out in a copy that no vector load can make.
const SCALAR_MOVES: usize = 8;

/// One digit of the layout.
#[derive(Clone, Copy)]
struct Digit {
    axis: usize,
    block: i64,
    /// Distance in the buffer between neighbours of this digit.
    stride: i64,
}

impl PackedLoad {
    /// The offset in the packed buffer while every axis has its tile variable.
    pub(super) fn address(&self, axes: &[AxisState]) -> Affine {
        let mut sum = Affine::constant(0);
        for (axis, start) in &self.starts {
            let mut before = start.base.clone();
            for digit in self.digits.iter().filter(|digit| digit.axis == *axis) {
                let here = if digit.block == 1 {
                    axes[*axis].var.map_or_else(|| before.clone(), Affine::variable)
                } else {
                    let var = axes[*axis].loops.iter().find(|&&(_, step)| step == digit.block).map(|&(var, _)| var);
                    var.map_or_else(|| before.clone(), Affine::variable)
                };
                sum = sum.plus(&scaled(&here.minus(&before), digit));
                before = here;
            }
        }
        sum
    }
}

/// `(difference of starts) / block · stride`: exact, because a slower digit's stride holds the
/// block of the faster digits of its axis.
fn scaled(difference: &Affine, digit: &Digit) -> Affine {
    difference.times(digit.stride / digit.block)
}

/// Builds the copy of `operand`.
///
/// # Errors
/// A message where the layout does not fit the stage.
pub(super) fn pack(
    builder: &mut NestBuilder,
    spec: &Pack,
    operand: &Operand<'_>,
    axes: &[AxisState],
    limits: &[Range],
    lanes: usize,
) -> Result<(PackedLoad, Node), String> {
    let &Operand { node, buffer: from, address } = operand;
    let mut used: Vec<usize> = address.axes.terms.iter().map(|&(axis, _)| axis).collect();
    used.sort_unstable();
    let mut digits = digits(&spec.layout, &used)?;
    let mut starts = Vec::with_capacity(used.len());
    for &axis in &used {
        if digits.iter().rfind(|digit| digit.axis == axis).is_none_or(|digit| digit.block != 1) {
            return Err(format!("the pack's layout must end axis {axis} with block 1"));
        }
        starts.push((axis, axes[axis].hull.clone()));
    }
    let size = lay_out(&mut digits, axes);
    let dtype: DType = builder.nest.buffers[from].dtype;
    let name = format!("{}_packed", builder.nest.buffers[from].name);
    let role = builder.workspace();
    let buffer = builder.buffer(&name, dtype, usize::try_from(size).unwrap_or(usize::MAX), role);
    let CopyLoops { local, loops, mut points } = copy_loops(builder, &digits, axes, limits);
    let mut offset = Affine::constant(0);
    for (axis, start) in &starts {
        let mut before = start.base.clone();
        for (digit, &var) in digits.iter().filter(|digit| digit.axis == *axis).zip(&local[*axis]) {
            let here = Affine::variable(var);
            offset = offset.plus(&scaled(&here.minus(&before), digit));
            before = here;
        }
    }
    let point = |axis: usize| Affine::variable(local[axis].last().copied().unwrap_or(0));
    if let Some(fastest) = points.last_mut() {
        widen(fastest, &digits, axes, address, lanes);
    }
    let tile = Tile {
        points,
        folds: Vec::new(),
        fold: None,
        value: vec![TileScalar::Load { buffer: from, offset: address.over(point) }],
        target: buffer,
        offset,
        shift: None,
        stream: false,
        origin: name,
    };
    let around = |body, (var, range, step): (VarId, Range, i64)| {
        let step = usize::try_from(step).unwrap_or(1);
        Node::Loop(Loop { var, range, step, kind: LoopKind::Serial, body: vec![body] })
    };
    let copy = loops.into_iter().rev().fold(Node::Tile(tile), around);
    Ok((PackedLoad { node, buffer, digits, starts }, copy))
}

/// The digits of a layout, their strides not known yet.
fn digits(layout: &[LoopSpec], used: &[usize]) -> Result<Vec<Digit>, String> {
    let mut digits: Vec<Digit> = Vec::with_capacity(layout.len());
    for entry in layout {
        let block = i64::try_from(entry.step).unwrap_or(i64::MAX);
        if !used.contains(&entry.axis) {
            return Err(format!("the pack's layout names axis {}, which the load does not use", entry.axis));
        }
        if let Some(last) = digits.iter().rev().find(|digit| digit.axis == entry.axis)
            && (block >= last.block || last.block % block != 0)
        {
            return Err(format!("blocks {} and {block} of axis {} do not nest", last.block, entry.axis));
        }
        digits.push(Digit { axis: entry.axis, block, stride: 0 });
    }
    Ok(digits)
}

/// Gives each digit its stride, the fastest first; the result is the size of the buffer.
fn lay_out(digits: &mut [Digit], axes: &[AxisState]) -> i64 {
    let mut stride = 1;
    for at in (0..digits.len()).rev() {
        let Digit { axis, block, .. } = digits[at];
        let outer = digits[..at].iter().rev().find(|digit| digit.axis == axis).map(|digit| digit.block);
        let span = outer.unwrap_or(axes[axis].hull.extent.max(1));
        digits[at].stride = stride;
        stride *= span.div_euclid(block) + i64::from(span % block != 0);
    }
    stride
}

/// The loops of a copy: one for every blocked digit, a tile axis for the others, in layout order.
struct CopyLoops {
    /// The variables of each axis, outermost first.
    local: Vec<Vec<VarId>>,
    /// Variable, range and step of the loops, outermost first.
    loops: Vec<(VarId, Range, i64)>,
    points: Vec<TileAxis>,
}

fn copy_loops(builder: &mut NestBuilder, digits: &[Digit], axes: &[AxisState], limits: &[Range]) -> CopyLoops {
    let mut copy = CopyLoops { local: vec![Vec::new(); axes.len()], loops: Vec::new(), points: Vec::new() };
    // What the loops so far have left of each axis.
    let mut ranges = limits.to_vec();
    for digit in digits {
        let range = ranges[digit.axis].clone();
        let var = builder.variable("p", &range);
        copy.local[digit.axis].push(var);
        if digit.block == 1 {
            copy.points.push(TileAxis { var, range, unroll: 1, lanes: 1 });
        } else {
            // Blocks of a block never reach past it: its own end says nothing new.
            let hull = &axes[digit.axis].hull;
            let end = hull.base.offset(hull.extent);
            let nested = hull.extent % digit.block == 0;
            let outer = range.hi.iter().filter(|&bound| !nested || *bound != end).cloned();
            ranges[digit.axis] = Range {
                lo: vec![Affine::variable(var)],
                hi: outer.chain([Affine::variable(var).offset(digit.block)]).collect(),
            };
            copy.loops.push((var, range, digit.block));
        }
    }
    copy
}

/// Gives the fastest axis of a copy its register tile. Contiguous on both sides: vectors. Otherwise a gather would cost
/// more than scalar moves.
fn widen(fastest: &mut TileAxis, digits: &[Digit], axes: &[AxisState], address: &Address, lanes: usize) {
    let Some(digit) = digits.iter().rev().find(|digit| digit.block == 1) else { return };
    let outer = digits.iter().rev().find(|outer| outer.axis == digit.axis && outer.block > 1);
    let longest = outer.map_or(axes[digit.axis].hull.extent, |outer| outer.block);
    let (size, limit) = if address.axes.coefficient(digit.axis) == 1 {
        (&mut fastest.lanes, lanes)
    } else {
        (&mut fastest.unroll, SCALAR_MOVES)
    };
    while i64::try_from(*size).unwrap_or(i64::MAX) * 2 <= longest && *size * 2 <= limit {
        *size *= 2;
    }
}
