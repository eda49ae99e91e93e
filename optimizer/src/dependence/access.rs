//! What definitions read and write of states: the one question that everything about dependences begins with.
//!
//! Input: a definition. Output: its accesses to states, each with the domain that its index is over.

use crate::form::normal_form::Def;
use crate::form::scalar_tree::{Access, ScalarOp, Source};
use crate::integer::affine::Affine;
use crate::integer::range::Range;

/// An access of a definition to a state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touch<'f> {
    /// The state.
    pub(crate) state: usize,
    /// Ranges of the axes that `index` is over: the points where it writes, the folds' axes, too, where it reads.
    pub(crate) domain: &'f [Range],
    /// The index of each axis; empty if it is not known. Indices are compared as far as both are there, so that an
    /// unknown one meets every element.
    pub(crate) index: &'f [Affine],
    /// Whether the index is known: where it is not, it may be any element.
    pub(crate) known: bool,
    /// Whether it writes.
    pub(crate) writes: bool,
}

/// All accesses of a definition to states.
pub(crate) fn touches(def: &Def) -> Vec<Touch<'_>> {
    let mut all = Vec::new();
    for piece in &def.pieces {
        if let Some(update) = &def.update {
            let domain = &piece.domain[..def.axes.len()];
            let known = update.shift.is_none();
            all.push(Touch { state: update.state, domain, index: update.index(), known, writes: true });
            if let Some(shift) = &update.shift {
                all.push(Touch { state: shift.by, domain, index: &[], known: true, writes: false });
            }
        }
        for node in &piece.value.nodes {
            if let ScalarOp::Load(Source::State(state), access) = &node.op {
                let (index, known): (&[Affine], bool) = match access {
                    Access::Axes(index) => (index, true),
                    Access::Flat(_) | Access::Gather(_) => (&[], false),
                };
                all.push(Touch { state: *state, domain: &piece.domain, index, known, writes: false });
            }
        }
    }
    all
}

/// All accesses of a definition to states; `None` if one of them may be to any element.
pub(crate) fn known_touches(def: &Def) -> Option<Vec<Touch<'_>>> {
    let all = touches(def);
    all.iter().all(|touch| touch.known).then_some(all)
}
