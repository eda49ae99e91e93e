//! Results that are their own mirror image, or another's: computed once.
//!
//! Two expressions are compared as trees in which the operands of commutative operators have no
//! order. Sums and products of two floats commute exactly, and a fold keeps the order of its
//! terms, so what is mirrored is the same bit for bit.

use super::Used;
use super::demand::drop_unread;
use super::producer::{at, folds_nothing};
use crate::form::normal_form::{Def, NormalForm, Piece};
use crate::form::scalar_tree::{Access, DefId, Gather, Scalar, ScalarNode, ScalarOp, Source};
use crate::integer::affine::Affine;
use crate::integer::range::Range;
use crate::integer::region::{Region, opposite};
use crate::value::dtype::DType;
use crate::value::scalar::{BinaryOp, UnaryOp};

/// Reads a fold that is another one mirrored from that one.
pub(super) fn join_transposed(form: &mut NormalForm, used: &mut Used<'_>) {
    if !form.steps.is_empty() || !used.may("domain/transpose") {
        return;
    }
    for later in 1..form.defs.len() {
        let flat = form
            .defs
            .iter()
            .flat_map(|def| &def.pieces)
            .flat_map(|piece| &piece.value.nodes)
            .any(|node| matches!(&node.op, ScalarOp::Load(Source::Def(read), Access::Flat(_) | Access::Gather(_)) if *read == later));
        if flat || form.outputs.contains(&later) {
            continue;
        }
        let found = (0..later).find_map(|earlier| {
            let (one, other) = (&form.defs[earlier], &form.defs[later]);
            pairs(other).find(|&exchange| mirrored(one, other, exchange)).map(|exchange| (earlier, exchange))
        });
        if let Some((earlier, exchange)) = found {
            redirect(form, later, earlier, exchange);
            used.by("domain/transpose");
        }
    }
    drop_unread(form);
}

/// The form with every symmetric fold computed in one half; `None` if there is none.
pub fn symmetric(form: &NormalForm) -> Option<NormalForm> {
    if !form.steps.is_empty() {
        return None;
    }
    let mut form = form.clone();
    let mut changed = false;
    let mut id = 0;
    while id < form.defs.len() {
        let def = &form.defs[id];
        let exchange = pairs(def).find(|&exchange| mirrored(def, def, exchange));
        if let Some(exchange) = exchange {
            id = halve(&mut form, id, exchange);
            changed = true;
        }
        id += 1;
    }
    changed.then_some(form)
}

/// Pairs of axes of one extent of a definition that is one fold over a whole box of points.
fn pairs(def: &Def) -> impl Iterator<Item = (usize, usize)> + '_ {
    let points = def.axes.len();
    let whole = |piece: &Piece| {
        let full = |(range, &extent): (&Range, &usize)| {
            range.as_constant().is_some_and(|(lo, hi)| lo == 0 && usize::try_from(hi) == Ok(extent))
        };
        piece.fold.is_some() && !folds_nothing(piece, points) && piece.domain.iter().zip(&def.axes).all(full)
    };
    let one = matches!(def.pieces.as_slice(), [piece] if whole(piece)) && def.update.is_none();
    let axes = if one { points } else { 0 };
    (0..axes)
        .flat_map(move |p| (p + 1..axes).map(move |q| (p, q)))
        .filter(|&(p, q)| def.axes[p] == def.axes[q] && def.axes[p] > 1)
}

/// True if `other` is `one` with two axes exchanged.
fn mirrored(one: &Def, other: &Def, (p, q): (usize, usize)) -> bool {
    let ([a], [b]) = (one.pieces.as_slice(), other.pieces.as_slice()) else { return false };
    let swap = |axis: usize| {
        if axis == p {
            q
        } else if axis == q {
            p
        } else {
            axis
        }
    };
    let axes = a.domain.len();
    let exchange: Vec<Affine> = (0..axes).map(|axis| Affine::variable(swap(axis))).collect();
    let same = |x: &[Affine], y: &[Affine]| {
        let mut moved: Vec<Affine> = x.iter().map(|form| at(form, &exchange)).collect();
        let mut y = y.to_vec();
        moved.sort();
        y.sort();
        moved == y
    };
    let domains = one.axes == other.axes
        && axes == b.domain.len()
        && (0..axes).all(|axis| {
            let (x, y) = (&a.domain[axis], &b.domain[swap(axis)]);
            same(&x.lo, &y.lo) && same(&x.hi, &y.hi)
        });
    let folds = (a.fold, a.depth) == (b.fold, b.depth);
    if !domains || !folds || one.dtype != other.dtype || one.update.is_some() || other.update.is_some() {
        return false;
    }
    let mut trees = Trees::default();
    let identity: Vec<Affine> = (0..axes).map(Affine::variable).collect();
    trees.add(&a.value, &exchange) == trees.add(&b.value, &identity)
}

/// Expressions as numbers: two are equal if one is the other up to the order of operands of
/// commutative operators.
#[derive(Default)]
struct Trees {
    known: Vec<(ScalarOp, DType)>,
}

impl Trees {
    /// The number of `value` with its axes replaced.
    fn add(&mut self, value: &Scalar, index: &[Affine]) -> Option<usize> {
        let mut numbers: Vec<usize> = Vec::with_capacity(value.nodes.len());
        for node in &value.nodes {
            let op = match &node.op {
                ScalarOp::Load(source, Access::Axes(forms)) => {
                    ScalarOp::Load(*source, Access::Axes(forms.iter().map(|form| at(form, index)).collect()))
                }
                ScalarOp::Load(source, Access::Flat(form)) => ScalarOp::Load(*source, Access::Flat(at(form, index))),
                ScalarOp::Load(source, Access::Gather(gather)) => {
                    let (offset, stride) = (at(&gather.offset, index), gather.stride);
                    ScalarOp::Load(*source, Access::Gather(Gather { offset, stride, at: numbers[gather.at] }))
                }
                ScalarOp::Index(form) => ScalarOp::Index(at(form, index)),
                ScalarOp::Const(value) => ScalarOp::Const(*value),
                ScalarOp::Unary(UnaryOp::Abs, x) => ScalarOp::Unary(UnaryOp::Abs, self.unsigned(numbers[*x])),
                ScalarOp::Unary(op, x) => ScalarOp::Unary(*op, numbers[*x]),
                ScalarOp::Cast(x) => ScalarOp::Cast(numbers[*x]),
                ScalarOp::Where(c, x, y) => ScalarOp::Where(numbers[*c], numbers[*x], numbers[*y]),
                ScalarOp::Binary(op, x, y) => {
                    let (x, y) = (numbers[*x], numbers[*y]);
                    let (x, y) =
                        if *op == BinaryOp::Mul && x == y { (self.unsigned(x), self.unsigned(x)) } else { (x, y) };
                    if commutes(*op) { ScalarOp::Binary(*op, x.min(y), x.max(y)) } else { ScalarOp::Binary(*op, x, y) }
                }
            };
            let number = self.number((op, node.dtype));
            numbers.push(number);
        }
        numbers.last().copied()
    }
}

impl Trees {
    fn number(&mut self, node: (ScalarOp, DType)) -> usize {
        self.known.iter().position(|known| *known == node).unwrap_or_else(|| {
            self.known.push(node);
            self.known.len() - 1
        })
    }

    /// A difference whatever its sign: what |x − y| and (x − y)² depend on.
    fn unsigned(&mut self, x: usize) -> usize {
        match self.known[x].clone() {
            (ScalarOp::Binary(BinaryOp::Sub, a, b), dtype) => {
                self.number((ScalarOp::Binary(BinaryOp::Sub, a.min(b), a.max(b)), dtype))
            }
            (
                ScalarOp::Binary(..)
                | ScalarOp::Load(..)
                | ScalarOp::Const(_)
                | ScalarOp::Index(_)
                | ScalarOp::Unary(..)
                | ScalarOp::Where(..)
                | ScalarOp::Cast(_),
                _,
            ) => x,
        }
    }
}

/// Whether the operands may be exchanged without changing a bit; of `minimum` and `maximum` the
/// sign of a zero might.
fn commutes(op: BinaryOp) -> bool {
    match op {
        BinaryOp::Add | BinaryOp::Mul | BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => true,
        BinaryOp::Eq | BinaryOp::Ne => true,
        BinaryOp::Sub
        | BinaryOp::Div
        | BinaryOp::FloorDiv
        | BinaryOp::Mod
        | BinaryOp::Pow
        | BinaryOp::Minimum
        | BinaryOp::Maximum
        | BinaryOp::Shl
        | BinaryOp::Shr
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge => false,
    }
}

/// The index with two of its entries exchanged.
fn exchanged(index: &[Affine], (p, q): (usize, usize)) -> Vec<Affine> {
    let mut index = index.to_vec();
    index.swap(p, q);
    index
}

/// Makes every reader of `from` read `to` at the exchanged index; flat reads stay.
fn redirect(form: &mut NormalForm, from: DefId, to: DefId, exchange: (usize, usize)) {
    for node in form.defs.iter_mut().flat_map(|def| &mut def.pieces).flat_map(|piece| &mut piece.value.nodes) {
        if let ScalarOp::Load(source @ Source::Def(_), Access::Axes(index)) = &mut node.op
            && *source == Source::Def(from)
        {
            *source = Source::Def(to);
            *index = exchanged(index, exchange);
        }
    }
}

/// Computes definition `id` only where its index along `q` is at most that along `p`; returns the
/// definition that stands for the whole. Readers that are element-wise read the half that exists;
/// for others, and for a result, the whole is written from the half.
fn halve(form: &mut NormalForm, id: DefId, exchange: (usize, usize)) -> DefId {
    let (p, q) = exchange;
    let lower = Affine::variable(p).minus(&Affine::variable(q));
    let whole = form.defs[id].clone();
    let region = Region::new(&whole.pieces[0].domain, &[]);
    let Some(half) = region.narrowed(&lower) else { return id };
    if !form.outputs.contains(&id)
        && let Some(readers) = split_readers(form, id, exchange)
    {
        form.defs[id].pieces[0].domain = half.domain;
        for (reader, pieces) in readers {
            form.defs[reader].pieces = pieces;
        }
        return id;
    }
    // A definition of its own for the half, before the one that copies and mirrors it.
    let name = (1..)
        .map(|n| if n == 1 { format!("{}_half", whole.name) } else { format!("{}_half{n}", whole.name) })
        .find(|name| form.defs.iter().all(|def| def.name != *name) && form.params.iter().all(|p| p.name != *name))
        .unwrap_or_default();
    let points = whole.axes.len();
    let mut computed = Def { name, shape: whole.axes.clone(), ..whole.clone() };
    computed.pieces[0].domain = half.domain;
    let identity: Vec<Affine> = (0..points).map(Affine::variable).collect();
    let copy = |condition: &Affine, index: Vec<Affine>| {
        let region = Region::new(&whole.pieces[0].domain[..points], &[]).narrowed(condition)?;
        let op = ScalarOp::Load(Source::Def(id), Access::Axes(index));
        let value = Scalar { nodes: vec![ScalarNode { op, dtype: whole.dtype }] };
        Some(Piece { domain: region.domain, fold: None, depth: None, value })
    };
    let pieces = [copy(&lower, identity.clone()), copy(&opposite(&lower), exchanged(&identity, exchange))];
    form.insert_before(id, computed);
    form.defs[id + 1].pieces = pieces.into_iter().flatten().collect();
    id + 1
}

/// The pieces of all readers of `id`, split so that each reads the lower half; `None` if a reader
/// is a fold or reads across the halves.
fn split_readers(form: &NormalForm, id: DefId, exchange: (usize, usize)) -> Option<Vec<(DefId, Vec<Piece>)>> {
    let mut readers = Vec::new();
    for (reader, def) in form.defs.iter().enumerate() {
        let reads = |piece: &Piece| piece.value.nodes.iter().any(|node| reads_def(node, id));
        if !def.pieces.iter().any(reads) {
            continue;
        }
        let mut pieces = Vec::new();
        for piece in &def.pieces {
            split_reader(piece, id, exchange, &mut pieces)?;
        }
        // Pieces cannot be inlined: a reader that could be is better left alone.
        if pieces.len() > MAX_READER_PIECES || !form.outputs.contains(&reader) {
            return None;
        }
        readers.push((reader, pieces));
    }
    Some(readers)
}

/// A reader is not split into more pieces.
const MAX_READER_PIECES: usize = 8;

fn reads_def(node: &ScalarNode, id: DefId) -> bool {
    matches!(&node.op, ScalarOp::Load(Source::Def(read), _) if *read == id)
}

fn split_reader(piece: &Piece, id: DefId, exchange: (usize, usize), pieces: &mut Vec<Piece>) -> Option<()> {
    let region = Region::new(&piece.domain, &[]);
    let mut value = piece.value.clone();
    for node in &mut value.nodes {
        if !reads_def(node, id) {
            continue;
        }
        let ScalarOp::Load(_, Access::Axes(index)) = &mut node.op else { return None };
        let lower = index[exchange.0].minus(&index[exchange.1]);
        if region.holds(&lower) {
            continue;
        }
        if region.fails(&lower) || region.holds(&lower.times(-1)) {
            *index = exchanged(index, exchange);
            continue;
        }
        if piece.fold.is_some() || pieces.len() > MAX_READER_PIECES {
            return None;
        }
        for condition in [lower.clone(), opposite(&lower)] {
            let part = Piece { domain: region.narrowed(&condition)?.domain, ..piece.clone() };
            split_reader(&part, id, exchange, pieces)?;
        }
        return Some(());
    }
    pieces.push(Piece { value, ..piece.clone() });
    Some(())
}
