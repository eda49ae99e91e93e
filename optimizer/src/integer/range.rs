//! The range of an axis between affine bounds, and the points of a domain made of such ranges.

use crate::integer::affine::Affine;
use serde::{Deserialize, Serialize};

/// The variable of a program's loop in the [`Affine`]s of a form: far above every axis.
pub const fn loop_variable(var: usize) -> usize {
    LOOPS + var
}

/// The loop that a variable belongs to; `None` for an axis.
pub const fn loop_of(variable: usize) -> Option<usize> {
    variable.checked_sub(LOOPS)
}

const LOOPS: usize = 1 << 16;

/// `max(lo) ≤ x < min(hi)`: an interval whose bounds are affine in the axes before it. At least
/// one of each.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Range {
    /// Lower bounds, inclusive.
    pub lo: Vec<Affine>,
    /// Upper bounds, exclusive.
    pub hi: Vec<Affine>,
}

impl Range {
    /// `lo ≤ x < hi` with constant bounds.
    pub fn constant(lo: i64, hi: i64) -> Range {
        Range { lo: vec![Affine::constant(lo)], hi: vec![Affine::constant(hi)] }
    }

    /// The constant bounds, if each side is one constant.
    pub fn as_constant(&self) -> Option<(i64, i64)> {
        match (self.lo.as_slice(), self.hi.as_slice()) {
            ([lo], [hi]) if lo.is_constant() && hi.is_constant() => Some((lo.constant, hi.constant)),
            _ => None,
        }
    }
}

/// Calls `visit` with every assignment of the axes `from .. to`, in ascending order, that lies in
/// `domain`, after the indices already given.
pub(crate) fn enumerate<E>(
    domain: &[Range],
    from: usize,
    to: usize,
    indices: &mut Vec<i64>,
    visit: &mut impl FnMut(&[i64]) -> Result<(), E>,
) -> Result<(), E> {
    if from >= to || from >= domain.len() {
        return visit(indices);
    }
    let (low, high) = interval(&domain[from], |v| indices.get(v).copied().unwrap_or(0));
    for x in low..high {
        indices.push(x);
        enumerate(domain, from + 1, to, indices, visit)?;
        indices.pop();
    }
    Ok(())
}

/// `max(lo) .. min(hi)` for known outer variables; empty if a side has no bound.
pub(crate) fn interval(range: &Range, value: impl Fn(usize) -> i64) -> (i64, i64) {
    let low = range.lo.iter().map(|form| form.evaluate(&value)).max();
    let high = range.hi.iter().map(|form| form.evaluate(&value)).min();
    low.zip(high).unwrap_or((0, 0))
}

/// The row-major offset, if the indices are in the box.
pub(crate) fn offset(indices: &[i64], extents: &[usize]) -> Option<usize> {
    if indices.len() != extents.len() {
        return None;
    }
    indices.iter().zip(extents).try_fold(0usize, |sum, (&index, &extent)| {
        let index = usize::try_from(index).ok().filter(|index| *index < extent)?;
        Some(sum * extent + index)
    })
}

/// Row-major strides.
pub(crate) fn row_major(extents: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; extents.len()];
    for axis in (1..extents.len()).rev() {
        strides[axis - 1] = strides[axis] * extents[axis];
    }
    strides
}
