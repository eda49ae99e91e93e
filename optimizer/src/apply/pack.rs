//! Operand packing: a load's tile copied into contiguous scratch.
//!
//! Input: a load, the intervals of its stage's axes at the depth of the pack, and a layout of
//! digits. Output: the copy as a statement, and the packed buffer's address for the readers. A
//! blocked digit is the variable of one of the stage's loops, so no division is left.

use crate::apply::{Address, Apply, AxisState};
use crate::integer::affine::Affine;
use crate::integer::intervals::Interval;
use crate::integer::range::Range;
use crate::nest::{BufferId, BufferRole, Loop, LoopKind, Node, Tile, TileAxis, TileScalar};
use crate::schedule::Pack;
use crate::value::dtype::DType;

/// A load that reads its packed copy.
pub(crate) struct PackedLoad {
    /// The load's node in the stage's scalar expression.
    pub(crate) node: usize,
    /// The scratch buffer.
    pub(crate) buffer: BufferId,
    digits: Vec<Digit>,
    /// For each axis, its interval where the pack is placed.
    starts: Vec<(usize, Interval)>,
}

/// Scalar moves that are written out in a copy that no vector load can make.
const SCALAR_MOVES: usize = 8;

/// One digit of the layout.
struct Digit {
    axis: usize,
    block: i64,
    /// Distance in the buffer between neighbours of this digit.
    stride: i64,
}

impl PackedLoad {
    /// The offset in the packed buffer while every axis has its tile variable.
    pub(crate) fn address(&self, axes: &[AxisState]) -> Affine {
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

/// Builds the copy of the load at `node`, which reads `source` at an address over axes.
///
/// # Errors
/// A message where the layout does not fit the stage.
pub(crate) fn pack(
    apply: &mut Apply<'_>,
    spec: &Pack,
    node: usize,
    source: (BufferId, &Address),
    axes: &[AxisState],
    limits: &[Range],
    lanes: usize,
) -> Result<(PackedLoad, Node), String> {
    let (from, address) = source;
    let mut used: Vec<usize> = address.axes.terms.iter().map(|&(axis, _)| axis).collect();
    used.sort_unstable();
    let mut digits: Vec<Digit> = Vec::with_capacity(spec.layout.len());
    for entry in &spec.layout {
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
    let mut starts = Vec::with_capacity(used.len());
    for &axis in &used {
        let mine: Vec<&Digit> = digits.iter().filter(|digit| digit.axis == axis).collect();
        if mine.last().is_none_or(|digit| digit.block != 1) {
            return Err(format!("the pack's layout must end axis {axis} with block 1"));
        }
        starts.push((axis, axes[axis].hull.clone()));
    }
    // Extents and strides, fastest digit first.
    let mut stride = 1;
    for at in (0..digits.len()).rev() {
        let Digit { axis, block, .. } = digits[at];
        let outer = digits[..at].iter().rev().find(|digit| digit.axis == axis).map(|digit| digit.block);
        let span = outer.unwrap_or(axes[axis].hull.extent.max(1));
        digits[at].stride = stride;
        stride *= span.div_euclid(block) + i64::from(span % block != 0);
    }
    let dtype: DType = apply.nest.buffers[from].dtype;
    let name = format!("{}_packed", apply.nest.buffers[from].name);
    let role = if apply.in_parallel { BufferRole::Private } else { BufferRole::Shared };
    let buffer = apply.buffer(&name, dtype, usize::try_from(stride).unwrap_or(usize::MAX), role);

    // The copy: a loop for every blocked digit, a tile axis for the others, in layout order.
    let mut local: Vec<Vec<(i64, usize)>> = vec![Vec::new(); axes.len()];
    let mut ranges: Vec<Range> = used.iter().map(|&axis| limits[axis].clone()).collect();
    let mut loops: Vec<(usize, Range, i64)> = Vec::new();
    let mut points: Vec<TileAxis> = Vec::new();
    for digit in &digits {
        let at = used.iter().position(|&axis| axis == digit.axis).unwrap_or(0);
        let range = ranges[at].clone();
        let var = apply.variable("p", &range);
        local[digit.axis].push((digit.block, var));
        if digit.block == 1 {
            points.push(TileAxis { var, range, unroll: 1, lanes: 1 });
        } else {
            // Blocks of a block never reach past it: its own end says nothing new.
            let hull = &axes[digit.axis].hull;
            let end = hull.base.offset(hull.extent);
            let nested = hull.extent % digit.block == 0;
            let outer = range.hi.iter().filter(|&bound| !nested || *bound != end).cloned();
            ranges[at] = Range {
                lo: vec![Affine::variable(var)],
                hi: outer.chain([Affine::variable(var).offset(digit.block)]).collect(),
            };
            loops.push((var, range, digit.block));
        }
    }
    let mut offset = Affine::constant(0);
    for (axis, start) in &starts {
        let mut before = start.base.clone();
        for (digit, &(_, var)) in digits.iter().filter(|digit| digit.axis == *axis).zip(&local[*axis]) {
            let here = Affine::variable(var);
            offset = offset.plus(&scaled(&here.minus(&before), digit));
            before = here;
        }
    }
    let point = |axis: usize| Affine::variable(local[axis].last().map_or(0, |&(_, var)| var));
    if let (Some(fastest), Some(digit)) = (points.last_mut(), digits.iter().rev().find(|digit| digit.block == 1)) {
        let outer = digits.iter().rev().find(|outer| outer.axis == digit.axis && outer.block > 1);
        let longest = outer.map_or(axes[digit.axis].hull.extent, |outer| outer.block);
        // Contiguous on both sides: vectors. Otherwise a gather would cost more than scalar moves.
        let (size, limit) = if address.axes.coefficient(digit.axis) == 1 {
            (&mut fastest.lanes, lanes)
        } else {
            (&mut fastest.unroll, SCALAR_MOVES)
        };
        while i64::try_from(*size).unwrap_or(i64::MAX) * 2 <= longest && *size * 2 <= limit {
            *size *= 2;
        }
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
    let copy = loops.into_iter().rev().fold(Node::Tile(tile), |body, (var, range, step)| {
        Node::Loop(Loop {
            var,
            range,
            step: usize::try_from(step).unwrap_or(1),
            kind: LoopKind::Serial,
            body: vec![body],
        })
    });
    Ok((PackedLoad { node, buffer, digits, starts }, copy))
}
