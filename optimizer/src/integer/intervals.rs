//! Boxes and bounds inference: which part of an array an access touches.
//!
//! Input: for each axis of a reader an interval whose start is affine in loop variables and whose
//! length is constant. Output: the same for each axis of the array read (Halide's bounds
//! inference, on affine accesses). An answer may be too large, never too small.

use crate::integer::affine::Affine;

/// `base ≤ x < base + extent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    /// First index, affine in loop variables.
    pub base: Affine,
    /// Number of indices, ≥ 0.
    pub extent: i64,
}

impl Interval {
    /// `0 ≤ x < extent`.
    pub fn whole(extent: usize) -> Interval {
        Interval { base: Affine::constant(0), extent: i64::try_from(extent).unwrap_or(i64::MAX) }
    }

    /// The last index, where there is one.
    pub fn last(&self) -> Affine {
        self.base.offset(self.extent - 1)
    }
}

/// The interval that the affine form `index` over axes covers while each axis covers `axes`.
pub fn image(index: &Affine, axes: &[Interval]) -> Interval {
    let mut base = Affine::constant(index.constant);
    let mut extent = 1;
    for &(axis, coefficient) in &index.terms {
        let end = if coefficient > 0 { axes[axis].base.clone() } else { axes[axis].last() };
        base = base.plus(&end.times(coefficient));
        extent += coefficient.abs() * (axes[axis].extent - 1).max(0);
    }
    Interval { base, extent }
}

/// The smallest interval that holds both, or `None` where their distance is not constant.
pub fn hull(a: &Interval, b: &Interval) -> Option<Interval> {
    let distance = b.base.minus(&a.base);
    if !distance.is_constant() {
        return None;
    }
    let low = distance.constant.min(0);
    let high = a.extent.max(distance.constant + b.extent);
    Some(Interval { base: a.base.offset(low), extent: high - low })
}

/// Lower bounds without those that another one implies, given inclusive ranges of the variables.
pub fn prune_lower(bounds: Vec<Affine>, ranges: &[(i64, i64)]) -> Vec<Affine> {
    prune(bounds, |kept, other| kept.minus(other).bounds(|v| ranges[v]).0 >= 0)
}

/// Upper bounds without those that another one implies, given inclusive ranges of the variables.
pub fn prune_upper(bounds: Vec<Affine>, ranges: &[(i64, i64)]) -> Vec<Affine> {
    prune(bounds, |kept, other| kept.minus(other).bounds(|v| ranges[v]).1 <= 0)
}

/// Keeps a bound unless some other kept bound implies it.
fn prune(bounds: Vec<Affine>, implies: impl Fn(&Affine, &Affine) -> bool) -> Vec<Affine> {
    let mut kept: Vec<Affine> = Vec::with_capacity(bounds.len());
    for bound in bounds {
        if kept.iter().any(|k| implies(k, &bound)) {
            continue;
        }
        kept.retain(|k| !implies(&bound, k));
        kept.push(bound);
    }
    kept
}
