//! How threads share the iterations of a parallel loop.
//!
//! Where all iterations are the same work, each thread gets a block of them, so that it finds its own data in its caches
//! again. Where they are not (a triangle, blocks that the loops around cut away), threads take turns.

use moat_optimizer::integer::affine::Affine;
use moat_optimizer::integer::range::Range;
use moat_optimizer::nest::{Loop, Node};
use std::collections::BTreeSet;

/// Whether iterations of a loop may differ in how much they do.
pub(super) fn is_uneven(node: &Loop) -> bool {
    below(&node.body, &mut BTreeSet::from([node.var]))
}

/// `moving` are the variables whose values depend on the iteration.
fn below(nodes: &[Node], moving: &mut BTreeSet<usize>) -> bool {
    nodes.iter().any(|node| match node {
        Node::Loop(inner) => {
            let uneven = differs(&inner.range, moving);
            if depends(&inner.range, moving) {
                moving.insert(inner.var);
            }
            uneven || below(&inner.body, moving)
        }
        Node::Tile(tile) => tile.points.iter().chain(&tile.folds).any(|axis| {
            let uneven = differs(&axis.range, moving);
            if depends(&axis.range, moving) {
                moving.insert(axis.var);
            }
            uneven
        }),
    })
}

fn mentions(form: &Affine, moving: &BTreeSet<usize>) -> bool {
    form.terms.iter().any(|term| moving.contains(&term.0))
}

fn depends(range: &Range, moving: &BTreeSet<usize>) -> bool {
    range.lo.iter().chain(&range.hi).any(|form| mentions(form, moving))
}

/// Whether the length of a range may depend on the iteration: where only one end moves, both move differently, or
/// something else that is no constant cuts it.
fn differs(range: &Range, moving: &BTreeSet<usize>) -> bool {
    let ends = || range.lo.iter().chain(&range.hi);
    let mut moves = ends().filter(|form| mentions(form, moving)).map(|form| &form.terms);
    let Some(first) = moves.next() else { return false };
    let both = [&range.lo, &range.hi].iter().all(|side| side.iter().any(|form| mentions(form, moving)));
    !both || moves.any(|terms| terms != first) || ends().any(|form| !mentions(form, moving) && !form.is_constant())
}

#[cfg(test)]
mod tests {
    use crate::emit::share::*;
    use moat_optimizer::nest::{LoopKind, Tile, TileAxis};

    fn axis(var: usize, lo: Vec<Affine>, hi: Vec<Affine>) -> TileAxis {
        TileAxis { var, range: Range { lo, hi }, unroll: 1, lanes: 1 }
    }

    /// A parallel loop over blocks of 8 of variable 1 around a tile over the rows of a block and columns.
    fn nest(rows: TileAxis, columns: TileAxis) -> Loop {
        let tile = Tile {
            points: vec![rows, columns],
            folds: Vec::new(),
            fold: None,
            value: Vec::new(),
            target: 0,
            offset: Affine::constant(0),
            shift: None,
            stream: false,
            origin: String::new(),
        };
        let range = Range::constant(0, 100);
        Loop { var: 1, range, step: 8, kind: LoopKind::Parallel, body: vec![Node::Tile(tile)] }
    }

    #[test]
    fn blocks_of_a_box_are_even_and_those_of_a_triangle_are_not() {
        let var = Affine::variable;
        let constant = Affine::constant;
        let block = || axis(2, vec![var(1)], vec![var(1).offset(8), constant(100)]);
        assert!(!is_uneven(&nest(block(), axis(3, vec![constant(0)], vec![constant(50)]))));
        assert!(is_uneven(&nest(block(), axis(3, vec![constant(0)], vec![var(2).offset(1)]))));
        assert!(is_uneven(&nest(block(), axis(3, vec![var(2)], vec![constant(100)]))));
        // A band around the diagonal is even; what a loop outside cuts is not.
        assert!(!is_uneven(&nest(block(), axis(3, vec![var(2)], vec![var(2).offset(4)]))));
        let cut = axis(2, vec![var(1), var(0).offset(1)], vec![var(1).offset(8)]);
        assert!(is_uneven(&nest(cut, axis(3, vec![constant(0)], vec![constant(50)]))));
    }
}
