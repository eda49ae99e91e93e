//! One axis of a stage: the interval that the loops around have left of it.

use crate::integer::affine::Affine;
use crate::integer::intervals::Interval;
use crate::integer::range::Range;
use crate::nest::VarId;

/// One axis of a stage while its loops are built.
#[derive(Clone, Debug)]
pub(super) struct AxisState {
    /// The readable name for its variables.
    pub(super) name: String,
    /// The piece's own bounds, over axes.
    pub(super) domain: Range,
    /// Bounds that enclosing loops and regions set, over variables.
    pub(super) lo: Vec<Affine>,
    /// The same of upper bounds.
    pub(super) hi: Vec<Affine>,
    /// A box around the current interval.
    pub(super) hull: Interval,
    /// Variables of the loops over this axis, outermost first, with their steps.
    pub(super) loops: Vec<(VarId, i64)>,
    /// The start of the axis before the first loop.
    pub(super) start: Affine,
    /// The variable of the tile's axis, once it exists.
    pub(super) var: Option<VarId>,
}

/// `i j k l m n` and then `a7 a8 …`.
pub(super) fn axis_name(axis: usize) -> String {
    ["i", "j", "k", "l", "m", "n"].get(axis).map_or_else(|| format!("a{axis}_"), |name| (*name).to_owned())
}
