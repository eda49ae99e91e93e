//! Sums whose terms are not ready at the same time.
//!
//! In a loop that carries a recurrence an iteration waits for what the one before it stored. Input: a nest. Output: the
//! same nest, where such terms are added last, the latest at the very end, so that everything else is done meanwhile and
//! the chain from one iteration to the next is as short as it can be. Sums of floats are reordered, so this is for
//! numerics that permit it.

use moat_optimizer::form::scalar_tree::{ScalarNode, ScalarOp};
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::nest::{Loop, LoopNest, Node, Tile, TileScalar};
use moat_optimizer::value::scalar::{BinaryClass, BinaryOp};

/// The nest with the late terms of its sums last.
pub(super) fn add_last(nest: &LoopNest) -> LoopNest {
    let mut nest = nest.clone();
    walk(&mut nest.body, None);
    nest
}

/// Whether a loop below `node` carries scalars from one iteration to the next, several of them side by side.
///
/// LLVM would pack such chains into vectors, whose loads wait for the scalar stores that they overlap.
pub(super) fn carries_scalars(node: &Node) -> bool {
    let Node::Loop(around) = node else { return false };
    let here = Around::of(around);
    around.body.iter().any(|node| match node {
        Node::Loop(_) => carries_scalars(node),
        Node::Tile(tile) => {
            let scalar = tile.points.iter().chain(&tile.folds).all(|axis| axis.lanes <= 1);
            let several = tile.points.iter().any(|axis| axis.unroll > 1);
            scalar
                && several
                && tile.value.iter().any(|scalar| match scalar {
                    TileScalar::Load { buffer, offset } => distance(&(*buffer, offset.clone()), &here).is_some(),
                    TileScalar::Gather { .. } | TileScalar::Compute(_) => false,
                })
        }
    })
}

/// What a statement of a loop's body stores: the buffer and the offset, over the loop's variable.
type Store = (usize, Affine);

/// A loop around statements: its variable, its step, and what is stored inside.
struct Around {
    var: usize,
    step: i64,
    stores: Vec<Store>,
}

impl Around {
    fn of(inner: &Loop) -> Around {
        let stores = inner.body.iter().filter_map(|node| match node {
            // What a value moves is a distance that nobody knows.
            Node::Tile(tile) => tile.shift.is_none().then(|| (tile.target, tile.offset.clone())),
            Node::Loop(_) => None,
        });
        let step = i64::try_from(inner.step).unwrap_or(i64::MAX);
        Around { var: inner.var, step, stores: stores.collect() }
    }
}

fn walk(nodes: &mut [Node], around: Option<&Around>) {
    for node in nodes {
        match node {
            Node::Loop(inner) => {
                let around = Around::of(inner);
                walk(&mut inner.body, Some(&around));
            }
            Node::Tile(tile) => {
                if let Some(around) = around {
                    reorder(tile, around);
                }
            }
        }
    }
}

/// How many iterations before this one a load's element is stored, the fewest if several do; `None` if none does.
fn distance(load: &Store, around: &Around) -> Option<i64> {
    let stored = around.stores.iter().filter(|store| store.0 == load.0).filter_map(|(_, offset)| {
        let apart = offset.minus(&load.1);
        let per_iteration = offset.coefficient(around.var).checked_mul(around.step)?;
        match (apart.is_constant(), per_iteration) {
            (false, _) => None,
            (true, 0) => (apart.constant == 0).then_some(1),
            (true, _) => {
                let exact = apart.constant % per_iteration == 0;
                (exact && apart.constant / per_iteration > 0).then_some(apart.constant / per_iteration)
            }
        }
    });
    stored.min()
}

fn reorder(tile: &mut Tile, around: &Around) {
    let mut late: Vec<Option<i64>> = Vec::with_capacity(tile.value.len());
    let mut uses = vec![0_usize; tile.value.len()];
    for scalar in &tile.value {
        late.push(match scalar {
            TileScalar::Load { buffer, offset } => distance(&(*buffer, offset.clone()), around),
            TileScalar::Gather { .. } | TileScalar::Compute(_) => {
                scalar.operands().into_iter().filter_map(|x| late.get(x).copied()?).min()
            }
        });
        scalar.operands().into_iter().for_each(|x| uses[x] += 1);
    }
    let Some(root) = tile.value.len().checked_sub(1) else { return };
    if late[root].is_none() {
        return;
    }
    let mut rebuilt = Rebuilt { old: &tile.value, late, uses, new: Vec::new(), moved: vec![None; root + 1] };
    rebuilt.node(root);
    let new = rebuilt.new;
    tile.value = new;
}

/// An expression while its sums are put in order.
struct Rebuilt<'t> {
    old: &'t [TileScalar],
    late: Vec<Option<i64>>,
    uses: Vec<usize>,
    new: Vec<TileScalar>,
    moved: Vec<Option<usize>>,
}

impl Rebuilt<'_> {
    fn push(&mut self, scalar: TileScalar) -> usize {
        self.new.push(scalar);
        self.new.len() - 1
    }

    /// The new number of an old node.
    fn node(&mut self, at: usize) -> usize {
        if let Some(moved) = self.moved[at] {
            return moved;
        }
        let moved = match &self.old[at] {
            load @ TileScalar::Load { .. } => self.push(load.clone()),
            TileScalar::Gather { buffer, offset, stride, at } => {
                let at = self.node(*at);
                self.push(TileScalar::Gather { buffer: *buffer, offset: offset.clone(), stride: *stride, at })
            }
            TileScalar::Compute(node) => match self.in_order(at) {
                Some(terms) => self.sum(&terms, node),
                None => {
                    let operands: Vec<usize> = node.op.operands();
                    let new: Vec<usize> = operands.iter().map(|&x| self.node(x)).collect();
                    let of = |x: usize| operands.iter().position(|&old| old == x).map_or(0, |at| new[at]);
                    self.push(TileScalar::Compute(ScalarNode { op: node.op.renumbered(of), dtype: node.dtype }))
                }
            },
        };
        self.moved[at] = Some(moved);
        moved
    }

    /// The terms of the sum at a node, by lateness, each with whether it is subtracted; `None` if it is no sum, or one
    /// whose order is right.
    fn in_order(&self, at: usize) -> Option<Vec<(usize, bool)>> {
        let mut terms = Vec::new();
        self.terms(at, false, true, &mut terms);
        let key = |&(term, _): &(usize, bool)| self.late[term].map_or(0, |distance| i64::MAX - distance);
        let mut sorted = terms.clone();
        sorted.sort_by_key(key);
        // The first one is not subtracted.
        let first = sorted.iter().position(|term| !term.1)?;
        if key(&sorted[first]) != key(&sorted[0]) {
            return None;
        }
        sorted[..=first].rotate_right(1);
        (terms.len() > 2 && sorted != terms).then_some(sorted)
    }

    fn terms(&self, at: usize, negative: bool, root: bool, terms: &mut Vec<(usize, bool)>) {
        if let TileScalar::Compute(ScalarNode { op: ScalarOp::Binary(op, x, y), dtype }) = &self.old[at]
            && (dtype.is_float() || dtype.is_int())
            && (root || self.uses[at] == 1)
            && op.class() == BinaryClass::Sum
        {
            self.terms(*x, negative, false, terms);
            self.terms(*y, negative != (*op == BinaryOp::Sub), false, terms);
            return;
        }
        terms.push((at, negative));
    }

    /// Neighbours in memory are added first: other points, which have the same ones, share their sum.
    fn sum(&mut self, terms: &[(usize, bool)], like: &ScalarNode) -> usize {
        let mut sum: Option<usize> = None;
        let runs: Vec<&[(usize, bool)]> = terms.chunk_by(|one, next| self.neighbours(*one, *next)).collect();
        for run in runs {
            let mut group: Option<usize> = None;
            for &(term, _) in run {
                let term = self.node(term);
                group = Some(self.add(group, term, false, like));
            }
            if let (Some(group), Some(&(_, negative))) = (group, run.first()) {
                sum = Some(self.add(sum, group, negative, like));
            }
        }
        sum.unwrap_or(0)
    }

    fn add(&mut self, sum: Option<usize>, term: usize, negative: bool, like: &ScalarNode) -> usize {
        let Some(sum) = sum else { return term };
        let op = ScalarOp::Binary(if negative { BinaryOp::Sub } else { BinaryOp::Add }, sum, term);
        self.push(TileScalar::Compute(ScalarNode { op, dtype: like.dtype }))
    }

    /// Whether two terms, of one sign and both there in time, are elements one beside the other.
    fn neighbours(&self, (one, one_negative): (usize, bool), (next, next_negative): (usize, bool)) -> bool {
        let (TileScalar::Load { buffer: a, offset: from }, TileScalar::Load { buffer: b, offset: to }) =
            (&self.old[one], &self.old[next])
        else {
            return false;
        };
        let apart = to.minus(from);
        let ready = self.late[one].is_none() && self.late[next].is_none();
        ready && one_negative == next_negative && a == b && apart.is_constant() && apart.constant.abs() == 1
    }
}
