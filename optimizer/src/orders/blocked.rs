//! Left-looking by blocks: what a block of iterations folds over the iterations before the block, for all of it at once.
//!
//! `for j: { x[j] = ⊕ f(j, k) over k < j; rest }`, where f reads what iteration k stored, is
//! `for J: { y[j] = ⊕ f(j, k) over k < J for all j of the block from J; for j of it: { x[j] = y[j] ⊕ (⊕ f(j, k) over J ≤ k < j);
//! rest } }`. What an iteration alone is a matrix times a vector is a product of matrices for a block, which has all that
//! makes those fast: register tiles, packed panels, threads.
//!
//! Input: a form. Output: an equal form, if there is one. Legal where no statement of the loop writes what a term reads
//! between its supplier's end and the fold, and where the fold may be taken in any order of its terms' groups. Integer
//! elimination decides, exactly.
//!
//! Source: J. Demmel, N. Higham, R. Schreiber, *Stability of block LU factorization* (1995): the blocked algorithms of
//! LAPACK.

use crate::form::access::{indices, loads, stays_within};
use crate::form::context::{Context, bounding_box, contexts, scopes};
use crate::form::normal_form::{Def, NormalForm, Piece};
use crate::form::scalar_tree::{Access, DefId, Scalar, ScalarNode, ScalarOp, Source};
use crate::form::steps::{Step, replaced};
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_of, loop_variable};
use crate::integer::region::pruned;
use crate::orders::block_sizes::Strips;
use crate::orders::loop_state::Fold;
use crate::value::numerics::Numerics;

/// The name of the law in derivations.
pub const RULE: &str = "loop/blocks";
/// An axis so many times as long as the block is little longer with another block's share of it.
const LITTLE: usize = 4;

/// The form with every loop in blocks in which a fold can be taken apart so; `None` if there is none.
#[must_use]
pub fn blocked(form: &NormalForm, numerics: Numerics) -> Option<NormalForm> {
    let mut done = Vec::new();
    form.one_by_one(|current, id| {
        let folds = Fold::all(current, id, &|_| true);
        let new = |fold: &&Fold<'_>| !done.contains(&fold.var);
        let (var, next) =
            folds.iter().filter(new).find_map(|fold| Some((fold.var, taken_apart(current, fold, numerics)?)))?;
        done.push(var);
        // The two parts stand before it.
        Some((next, 2))
    })
}

/// The form with one fold taken apart, and its loop in blocks.
fn taken_apart(form: &NormalForm, fold: &Fold<'_>, numerics: Numerics) -> Option<NormalForm> {
    let op = fold.piece.fold.filter(|_| fold.piece.depth.is_none())?;
    let op = Some(op).filter(|op| numerics != Numerics::Exact || op.reorders_exactly(fold.def.dtype))?;
    let scope = scopes(form).swap_remove(fold.id);
    let strips = Strips::new(&scope, &fold.range, form.unused_loop())?;
    if !fold.keeps_its_terms(form) {
        return None;
    }
    let cut = Cut::new(fold, strips);

    let mut next = form.clone();
    let name = |part: &str| form.unused_name(&format!("{}_{part}", fold.def.name));
    let ahead = cut.ahead(name("ahead"));
    let late = cut.late(name("late"));
    let whole = cut.whole(op.combine(), fold.id);
    next.insert_before(fold.id, ahead);
    next.insert_before(fold.id + 1, late);
    next.defs[fold.id + 2] = whole;
    next.steps = replaced(&next.steps, fold.var, &|step| cut.in_blocks(step, fold.id));
    next.update_scopes();
    // Of the bounds that came together some imply others.
    let contexts = contexts(&next);
    for id in [fold.id, fold.id + 1] {
        let known = contexts[id].non_negative();
        for piece in &mut next.defs[id].pieces {
            piece.domain = pruned(&piece.domain, &known);
        }
    }
    if let Some(straight) = straightened(&next, fold.id, &contexts[fold.id]) {
        next.defs[fold.id].pieces = vec![straight];
    }
    Some(next)
}

/// A piece whose other axes have the same range in every iteration of the block, axis 0: a rectangle instead of one with a
/// slanted side, if that is little more and lies in the arrays that it reads. Nobody reads what is computed besides.
fn straightened(form: &NormalForm, id: DefId, context: &Context) -> Option<Piece> {
    let def = &form.defs[id];
    let [piece] = def.pieces.as_slice() else { return None };
    let last = i64::try_from(*def.axes.first()?).ok()? - 1;
    let mut straight = piece.clone();
    for (axis, range) in straight.domain.iter_mut().enumerate().skip(1) {
        let slanted = |form: &Affine| form.coefficient(0) != 0;
        if range.lo.iter().chain(&range.hi).any(slanted)
            && def.axes.get(axis).is_none_or(|&extent| extent < LITTLE * def.axes[0])
        {
            return None;
        }
        let at = |form: &Affine, most: bool| {
            let end = if (form.coefficient(0) > 0) == most { last } else { 0 };
            form.substitute(|v| if v == 0 { Affine::constant(end) } else { Affine::variable(v) })
        };
        range.lo = range.lo.iter().map(|form| at(form, false)).collect();
        range.hi = range.hi.iter().map(|form| at(form, true)).collect();
        // The last block may have fewer iterations than this supposes; the definition is no larger for it.
        if let Some(&extent) = def.axes.get(axis) {
            range.lo.push(Affine::constant(0));
            range.hi.push(Affine::constant(i64::try_from(extent).ok()?));
        }
    }
    straight.domain = pruned(&straight.domain, &context.non_negative());
    if straight == *piece {
        return None;
    }
    let bounds = bounding_box(&straight.domain, &def.scope)?;
    let inside = loads(&straight).all(|(source, access)| {
        let extents = form.source_extents(source).unwrap_or_default();
        matches!(access, Access::Axes(_)) && stays_within(&straight, &bounds, context, (indices(access), extents))
    });
    inside.then_some(straight)
}

/// A fold that is cut where the block of its iteration begins.
struct Cut<'f> {
    fold: &'f Fold<'f>,
    strips: Strips,
    /// The first term that the block supplies.
    first: Affine,
    /// Point axes that only ever stand beside the loop's variable, both with the same factor: `i + v`. In the part ahead
    /// that sum is the axis, so that a product reads rows and not diagonals.
    sheared: Vec<bool>,
}

impl<'f> Cut<'f> {
    fn new(fold: &'f Fold<'f>, strips: Strips) -> Cut<'f> {
        let variable = loop_variable(fold.var);
        let points = fold.def.axes.len();
        let forms = fold.piece.value.nodes.iter().flat_map(|node| forms_of(&node.op)).collect::<Vec<&Affine>>();
        let beside = |axis: usize| {
            let mut with = forms.iter().filter(|form| form.coefficient(axis) != 0).peekable();
            with.peek().is_some() && with.all(|form| form.coefficient(axis) == form.coefficient(variable))
        };
        let sheared = (0..points).map(beside).collect();
        Cut { fold, first: strips.start.minus(&fold.shift), strips, sheared }
    }

    /// Terms before the block, for every iteration of it: points of the iterations, then those of the fold.
    fn ahead(&self, name: String) -> Def {
        let Fold { def, piece, var, .. } = self.fold;
        let Strips { start, size, .. } = &self.strips;
        let points = def.axes.len();
        let variable = loop_variable(*var);
        let iteration = start.plus(&Affine::variable(0));
        let moved = |form: &Affine| {
            form.substitute(|v| match v {
                v if v == variable => iteration.clone(),
                v if loop_of(v).is_some() => Affine::variable(v),
                v if self.sheared.get(v) == Some(&true) => Affine::variable(v + 1).minus(&Affine::variable(0)),
                v => Affine::variable(v + 1),
            })
        };
        let ranges = piece.domain.iter().enumerate().map(|(axis, range)| {
            let by = if self.sheared.get(axis) == Some(&true) { Affine::variable(0) } else { Affine::default() };
            let all = |forms: &[Affine]| forms.iter().map(|form| moved(form).plus(&by)).collect();
            Range { lo: all(&range.lo), hi: all(&range.hi) }
        });
        let mut first = Range::constant(0, *size);
        first.hi.extend(self.strips.left());
        let mut domain: Vec<Range> = std::iter::once(first).chain(ranges).collect();
        domain[points + 1].hi.push(self.first.clone());
        let nodes =
            piece.value.nodes.iter().map(|node| ScalarNode { op: node.op.with_forms(moved), dtype: node.dtype });
        let longest = |(&extent, &sheared): (&usize, &bool)| {
            extent + if sheared { usize::try_from(size - 1).unwrap_or(0) } else { 0 }
        };
        let mut axes = vec![usize::try_from(*size).unwrap_or(1)];
        axes.extend(def.axes.iter().zip(&self.sheared).map(longest));
        let value = Scalar { nodes: nodes.collect() };
        let pieces = vec![Piece { domain, fold: piece.fold, depth: None, value }];
        Def { name, shape: axes.clone(), axes, pieces, update: None, ..(*def).clone() }
    }

    /// Terms that the block supplies.
    fn late(&self, name: String) -> Def {
        let Fold { def, piece, .. } = self.fold;
        let mut piece = (*piece).clone();
        piece.domain[def.axes.len()].lo.push(self.first.clone());
        Def { name, shape: def.axes.clone(), pieces: vec![piece], update: None, ..(*def).clone() }
    }

    /// Both together; `ahead` is the number of the first, the second has the next.
    fn whole(&self, combine: crate::value::scalar::BinaryOp, ahead: DefId) -> Def {
        let Fold { def, piece, var, .. } = self.fold;
        let points = def.axes.len();
        let in_block = Affine::variable(loop_variable(*var)).minus(&self.strips.start);
        let moved = self.sheared.iter().enumerate().map(|(axis, &sheared)| match sheared {
            true => Affine::variable(axis).plus(&in_block),
            false => Affine::variable(axis),
        });
        let of_block = std::iter::once(in_block.clone()).chain(moved).collect();
        let own = (0..points).map(Affine::variable).collect();
        let ops = [
            ScalarOp::Load(Source::Def(ahead), Access::Axes(of_block)),
            ScalarOp::Load(Source::Def(ahead + 1), Access::Axes(own)),
            ScalarOp::Binary(combine, 0, 1),
        ];
        let nodes = ops.into_iter().map(|op| ScalarNode { op, dtype: def.dtype }).collect();
        let domain = piece.domain[..points].to_vec();
        Def { pieces: vec![Piece { domain, fold: None, depth: None, value: Scalar { nodes } }], ..(*def).clone() }
    }

    /// The loop in blocks, before each of which `ahead` is computed.
    fn in_blocks(&self, step: &Step, ahead: DefId) -> Vec<Step> {
        let Step::Loop { name, body, .. } = step else { return vec![step.clone()] };
        let rest = body.iter().filter(|step| !matches!(step, Step::Def(id) if *id == ahead)).cloned().collect();
        vec![self.strips.around(name, vec![Step::Def(ahead)], rest, Vec::new())]
    }
}

/// Index forms of an operation.
fn forms_of(op: &ScalarOp) -> &[Affine] {
    match op {
        ScalarOp::Load(_, Access::Axes(index)) => index,
        ScalarOp::Load(_, Access::Flat(form)) | ScalarOp::Index(form) => std::slice::from_ref(form),
        ScalarOp::Load(_, Access::Gather(gather)) => std::slice::from_ref(&gather.offset),
        ScalarOp::Const(_) | ScalarOp::Unary(..) | ScalarOp::Binary(..) | ScalarOp::Where(..) | ScalarOp::Cast(_) => {
            &[]
        }
    }
}
