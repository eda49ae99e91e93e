//! The verifier of normal forms: what every stage after `normalize` relies on.
//!
//! Checked: definitions read only earlier ones; types agree; digits refine shapes; ranges refer to
//! outer axes; pieces are disjoint and cover the box, those of a definition that is no result at
//! least what is read of it (exactly for constant boxes, by enumeration up to [`ENUMERATED`] points
//! and by integer elimination otherwise); accesses stay inside their sources.

use crate::form::context::{Context, contexts};
use crate::form::cover::{overlap, uncovered};
use crate::form::normal_form::{Def, NormalForm, Piece, Update};
use crate::form::scalar_tree::{Access, Scalar, ScalarOp, Source};
use crate::form::steps::Step;
use crate::integer::affine::Affine;
use crate::integer::bounds::{lower_bound, upper_bound};
use crate::integer::range::{Range, enumerate, loop_of, offset};
use crate::integer::set::{Answer, IntegerSet};
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::FoldOp;
use crate::value::scalar_eval::{binary_defined, unary_defined};
use std::collections::BTreeSet;
use thiserror::Error;

/// Domains with more points than this are not enumerated.
pub const ENUMERATED: usize = 100_000;

/// What is wrong with a form.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum FormError {
    /// A result that is no definition, or two that are one.
    #[error("result {index} is definition {def}, which does not exist or is another result")]
    Output {
        /// Which result.
        index: usize,
        /// What it names.
        def: usize,
    },
    /// Two definitions of one name.
    #[error("two definitions are called `{name}`")]
    Name {
        /// The name.
        name: String,
    },
    /// Axes that do not refine the shape.
    #[error("`{def}`: the axes {axes:?} do not refine the shape {shape:?}")]
    Digits {
        /// The definition.
        def: String,
        /// Its axes.
        axes: Vec<usize>,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A piece whose domain or fold is malformed.
    #[error("`{def}`, piece {piece}: {reason}")]
    Piece {
        /// The definition.
        def: String,
        /// The piece's index.
        piece: usize,
        /// What is wrong.
        reason: String,
    },
    /// Pieces that overlap, leave the box or do not cover it.
    #[error("`{def}`: {reason}")]
    Cover {
        /// The definition.
        def: String,
        /// What is wrong.
        reason: String,
    },
    /// Steps that are not the definitions, each once.
    #[error("the steps of the form are malformed: {reason}")]
    Steps {
        /// What is wrong.
        reason: String,
    },
    /// An update that does not fit its state.
    #[error("`{def}`: {reason}")]
    Update {
        /// The definition.
        def: String,
        /// What is wrong.
        reason: String,
    },
    /// A scalar node of the wrong type or with impossible operands.
    #[error("`{def}`, piece {piece}, node {node}: {reason}")]
    Node {
        /// The definition.
        def: String,
        /// The piece's index.
        piece: usize,
        /// The node's index.
        node: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Checks the invariants of a normal form.
///
/// # Errors
/// The first violation found.
pub fn verify_form(form: &NormalForm) -> Result<(), FormError> {
    let mut names = BTreeSet::new();
    verify_steps(form)?;
    let contexts = contexts(form);
    let mut complete: Vec<bool> = Vec::with_capacity(form.defs.len());
    for (id, def) in form.defs.iter().enumerate() {
        if !names.insert(def.name.as_str()) {
            return Err(FormError::Name { name: def.name.clone() });
        }
        if !refines(&def.axes, &def.shape) {
            return Err(FormError::Digits { def: def.name.clone(), axes: def.axes.clone(), shape: def.shape.clone() });
        }
        for (index, piece) in def.pieces.iter().enumerate() {
            let reason = |reason: String| FormError::Piece { def: def.name.clone(), piece: index, reason };
            verify_domain(def, piece, &contexts[id]).map_err(reason)?;
            verify_scalar(form, &contexts[id], id, index, piece, &complete)?;
        }
        // In a loop, what no iteration reads need not be there; an update stores what its pieces cover.
        let plain = def.update.is_none() && contexts[id].loops.is_empty();
        complete.push(!plain || verify_cover(def, !form.outputs.contains(&id))?);
        if let Some(update) = &def.update {
            verify_update(form, def, update, &contexts[id])?;
        }
    }
    let mut outputs = BTreeSet::new();
    for (index, &def) in form.outputs.iter().enumerate() {
        if def >= form.defs.len() || !outputs.insert(def) {
            return Err(FormError::Output { index, def });
        }
    }
    Ok(())
}

/// True if each extent of `shape` is the product of consecutive `axes` (extents of 1 anywhere).
fn refines(axes: &[usize], shape: &[usize]) -> bool {
    if axes.contains(&0) || shape.contains(&0) {
        return axes.contains(&0) && shape.contains(&0);
    }
    let mut digits = axes.iter().filter(|digit| **digit != 1);
    shape.iter().all(|&extent| {
        let mut product = 1;
        while product < extent {
            match digits.next() {
                Some(digit) => product *= digit,
                None => return false,
            }
        }
        product == extent
    }) && digits.next().is_none()
}

/// Every definition is a step once, and what it reads is computed before it, in its own loops or around them.
fn verify_steps(form: &NormalForm) -> Result<(), FormError> {
    if form.states.is_empty() && form.steps.is_empty() {
        return Ok(());
    }
    let mut seen = vec![0usize; form.defs.len()];
    let mut loops = BTreeSet::new();
    let mut open: Vec<&[Step]> = vec![&form.steps];
    let wrong = |reason: String| FormError::Steps { reason };
    while let Some(steps) = open.pop() {
        for step in steps {
            match step {
                Step::Def(id) => match seen.get_mut(*id) {
                    Some(count) => *count += 1,
                    None => return Err(wrong(format!("definition {id} does not exist"))),
                },
                Step::Loop { var, range, body, .. } => {
                    if !loops.insert(*var) || range.lo.is_empty() || range.hi.is_empty() {
                        return Err(wrong(format!("loop {var} is there twice, or lacks a bound")));
                    }
                    open.push(body);
                }
                Step::If { body, .. } => open.push(body),
            }
        }
    }
    match seen.iter().position(|&count| count != 1) {
        Some(id) => Err(wrong(format!("definition {id} is computed in {} places", seen[id]))),
        None => Ok(()),
    }
}

/// The elements stored lie in the state, and no two points store the same.
fn verify_update(form: &NormalForm, def: &Def, update: &Update, context: &Context) -> Result<(), FormError> {
    let wrong = |reason: String| FormError::Update { def: def.name.clone(), reason };
    let state = form.states.get(update.state).ok_or_else(|| wrong("its state does not exist".to_owned()))?;
    if state.dtype != def.dtype || state.shape.len() != update.base.len() {
        return Err(wrong(format!("it does not fit the state `{}`", state.name)));
    }
    for piece in &def.pieces {
        for (form, &extent) in update.base.iter().zip(&state.shape) {
            if !inside(context, &piece.domain[..def.axes.len()], form, extent) {
                return Err(wrong(format!("index {form} may leave the state's extent of {extent}")));
            }
        }
    }
    if let Some(shift) = &update.shift {
        let by = form.states.get(shift.by).ok_or_else(|| wrong("what it is moved by does not exist".to_owned()))?;
        if by.dtype != DType::I64 || !by.shape.is_empty() || shift.by == update.state {
            return Err(wrong(format!("it cannot be moved by `{}`", by.name)));
        }
        let still: Vec<bool> = update.base.iter().map(|form| *form == Affine::constant(0)).collect();
        if !shift.fits(&state.shape, &still) {
            return Err(wrong(format!("moved by {} it may leave the state", shift.last)));
        }
    }
    let mut free: BTreeSet<usize> = (0..def.axes.len()).filter(|&axis| def.axes[axis] > 1).collect();
    // One axis of the state for each point axis, or several that are one number's digits.
    for form in &update.base {
        let mut terms: Vec<(i64, usize)> =
            form.terms.iter().filter(|term| loop_of(term.0).is_none()).map(|&(v, c)| (c.abs(), v)).collect();
        terms.sort_unstable();
        let mut reach = 0;
        for (coefficient, axis) in terms {
            if coefficient > reach {
                free.remove(&axis);
            }
            reach += coefficient * (i64::try_from(def.axes.get(axis).copied().unwrap_or(1)).unwrap_or(i64::MAX) - 1);
        }
    }
    if free.is_empty() { Ok(()) } else { Err(wrong(format!("axes {free:?} do not tell its elements apart"))) }
}

/// Whether `0 ≤ form < extent` wherever the definition is computed.
fn inside(context: &Context, domain: &[Range], form: &Affine, extent: usize) -> bool {
    let loops = context.loops.len();
    let place = |v: usize| match loop_of(v) {
        Some(_) => context.loops.iter().position(|(variable, _)| *variable == v).unwrap_or(usize::MAX),
        None => v + loops,
    };
    [form.times(-1).offset(-1), form.offset(-i64::try_from(extent).unwrap_or(i64::MAX))].iter().all(|beyond| {
        let mut set = IntegerSet::all(loops + domain.len());
        context.require(&mut set, place);
        set.require_domain(domain, place);
        set.require_non_negative(beyond, place);
        set.answer() == Answer::Empty
    })
}

fn verify_domain(def: &Def, piece: &Piece, context: &Context) -> Result<(), String> {
    let points = def.axes.len();
    if piece.domain.len() < points {
        return Err(format!("{} ranges for {points} axes", piece.domain.len()));
    }
    if piece.fold.is_some() != (piece.domain.len() > points) {
        return Err("fold axes without a fold, or a fold without axes".into());
    }
    if matches!(piece.fold, Some(FoldOp::All | FoldOp::Any)) && def.dtype != DType::Bool {
        return Err(format!("a logical fold of {}", def.dtype));
    }
    if piece.depth.is_some() && (piece.fold != Some(FoldOp::Sum) || !def.dtype.is_float()) {
        return Err("a depth of what is no sum of floats".into());
    }
    for (axis, range) in piece.domain.iter().enumerate() {
        if range.lo.is_empty() || range.hi.is_empty() {
            return Err(format!("axis {axis} lacks a bound"));
        }
        let forms = || range.lo.iter().chain(&range.hi);
        let known = |v: usize| v < axis || context.loops.iter().any(|(variable, _)| *variable == v);
        if forms().any(|form| form.terms.iter().any(|term| !known(term.0))) {
            return Err(format!("a bound of axis {axis} refers to an axis that is not outside it"));
        }
    }
    Ok(())
}

/// Whether the pieces cover the box; an error if they overlap, or leave out points and are not `partial`.
fn verify_cover(def: &Def, partial: bool) -> Result<bool, FormError> {
    let wrong = |reason: String| Err(FormError::Cover { def: def.name.clone(), reason });
    let points = def.axes.len();
    let size: usize = def.axes.iter().product();
    let boxes: Option<Vec<Vec<(i64, i64)>>> =
        def.pieces.iter().map(|piece| piece.domain[..points].iter().map(Range::as_constant).collect()).collect();
    if let Some(boxes) = boxes {
        let volume = |b: &[(i64, i64)]| -> i128 { b.iter().map(|(lo, hi)| i128::from((hi - lo).max(0))).product() };
        let full: Vec<&Vec<(i64, i64)>> = boxes.iter().filter(|b| volume(b) > 0).collect();
        for (at, one) in full.iter().enumerate() {
            let outside = |(range, &extent): (&(i64, i64), &usize)| range.0 < 0 || range.1 > extent as i64;
            if one.iter().zip(&def.axes).any(outside) {
                return wrong(format!("the piece {one:?} leaves the box {:?}", def.axes)).map(|()| false);
            }
            for other in &full[at + 1..] {
                let common: Vec<(i64, i64)> =
                    one.iter().zip(other.iter()).map(|(a, b)| (a.0.max(b.0), a.1.min(b.1))).collect();
                if volume(&common) > 0 {
                    return wrong(format!("the pieces {one:?} and {other:?} overlap")).map(|()| false);
                }
            }
        }
        let covered: i128 = full.iter().map(|b| volume(b)).sum();
        if covered != size as i128 && !partial {
            return wrong(format!("the pieces cover {covered} of {size} points")).map(|()| false);
        }
        return Ok(covered == size as i128);
    }
    if size > ENUMERATED {
        return cover_large(def, partial).or_else(|reason| wrong(reason).map(|()| false));
    }
    let mut covered = vec![false; size];
    for piece in &def.pieces {
        enumerate(&piece.domain, 0, points, &mut Vec::new(), &mut |point| match offset(point, &def.axes) {
            None => Err(format!("a piece contains {point:?}, outside the box {:?}", def.axes)),
            Some(at) if covered[at] => Err(format!("two pieces contain {point:?}")),
            Some(at) => {
                covered[at] = true;
                Ok(())
            }
        })
        .or_else(wrong)?;
    }
    match covered.iter().position(|covered| !covered) {
        Some(at) if !partial => wrong(format!("no piece contains the point at offset {at}")).map(|()| false),
        hole => Ok(hole.is_none()),
    }
}

/// The same for a box of any size.
fn cover_large(def: &Def, partial: bool) -> Result<bool, String> {
    let points = def.axes.len();
    let whole: Vec<Range> =
        def.axes.iter().map(|&extent| Range::constant(0, i64::try_from(extent).unwrap_or(i64::MAX))).collect();
    for (at, piece) in def.pieces.iter().enumerate() {
        for (other, later) in def.pieces.iter().enumerate().skip(at + 1) {
            if overlap(&piece.domain[..points], &later.domain[..points]) == Answer::Inhabited {
                return Err(format!("the pieces {at} and {other} overlap"));
            }
        }
    }
    let identity: Vec<Affine> = (0..points).map(Affine::variable).collect();
    let complete = uncovered(&whole, &identity, &def.pieces);
    if complete == Answer::Inhabited && !partial {
        return Err("the pieces do not cover the box".into());
    }
    Ok(complete == Answer::Empty)
}

fn verify_scalar(
    form: &NormalForm,
    context: &Context,
    id: usize,
    index: usize,
    piece: &Piece,
    complete: &[bool],
) -> Result<(), FormError> {
    let def = &form.defs[id];
    let wrong = |node: usize, reason: String| FormError::Node { def: def.name.clone(), piece: index, node, reason };
    let Scalar { nodes } = &piece.value;
    for (at, node) in nodes.iter().enumerate() {
        let operands: Option<Vec<DType>> =
            node.op.operands().into_iter().map(|x| (x < at).then(|| nodes[x].dtype)).collect();
        let operands = operands.ok_or_else(|| wrong(at, "an operand does not come before it".into()))?;
        verify_node(&node.op, node.dtype, &operands).map_err(|reason| wrong(at, reason))?;
        let forms: Vec<&Affine> = match &node.op {
            ScalarOp::Load(_, Access::Axes(indices)) => indices.iter().collect(),
            ScalarOp::Load(_, Access::Flat(form)) | ScalarOp::Index(form) => vec![form],
            ScalarOp::Load(_, Access::Gather(gather)) => vec![&gather.offset],
            ScalarOp::Const(_)
            | ScalarOp::Unary(..)
            | ScalarOp::Binary(..)
            | ScalarOp::Where(..)
            | ScalarOp::Cast(_) => Vec::new(),
        };
        let known = |v: usize| v < piece.domain.len() || context.loops.iter().any(|(variable, _)| *variable == v);
        if forms.iter().any(|form| form.terms.iter().any(|term| !known(term.0))) {
            return Err(wrong(at, "an index refers to an axis that does not exist".into()));
        }
        if let ScalarOp::Load(source, access) = &node.op {
            let reached = match access {
                Access::Axes(_) | Access::Flat(_) => vec![access.clone()],
                Access::Gather(gather) => {
                    let known = |n: usize| nodes[..at].get(n);
                    let Some((low, high)) = gather.bounds(known) else {
                        return Err(wrong(at, "a gather by an index without bounds".into()));
                    };
                    [low, high].map(|index| Access::Flat(gather.offset.offset(gather.stride * index))).to_vec()
                }
            };
            for access in &reached {
                verify_load(form, context, id, piece, *source, access, node.dtype)
                    .map_err(|reason| wrong(at, reason))?;
            }
            verify_computed(form, piece, *source, access, complete).map_err(|reason| wrong(at, reason))?;
        }
    }
    match nodes.last() {
        Some(last) if last.dtype == def.dtype => Ok(()),
        Some(last) => Err(wrong(nodes.len() - 1, format!("is the value, a {} in a {}", last.dtype, def.dtype))),
        None => Err(wrong(0, "the expression is empty".into())),
    }
}

/// Checks that what is read of a definition with holes is computed.
fn verify_computed(
    form: &NormalForm,
    piece: &Piece,
    source: Source,
    access: &Access,
    complete: &[bool],
) -> Result<(), String> {
    let Source::Def(read) = source else { return Ok(()) };
    if complete.get(read) == Some(&true) {
        return Ok(());
    }
    let missing = match access {
        Access::Axes(index) => uncovered(&piece.domain, index, &form.defs[read].pieces),
        Access::Flat(_) | Access::Gather(_) => Answer::Inhabited,
    };
    match missing {
        Answer::Empty => Ok(()),
        Answer::Inhabited | Answer::Maybe => {
            Err(format!("elements of `{}` that no piece computes", form.defs[read].name))
        }
    }
}

/// The typing rule of a scalar operation (a load's is its source's).
pub(crate) fn verify_node(op: &ScalarOp, dtype: DType, operands: &[DType]) -> Result<(), String> {
    let sound = match op {
        ScalarOp::Load(..) => true,
        ScalarOp::Const(literal) => match literal {
            Literal::Bool(_) => dtype == DType::Bool,
            Literal::Int(_) => dtype.is_int(),
            Literal::Float(_) => dtype.is_float(),
        },
        ScalarOp::Index(_) => dtype.is_int(),
        ScalarOp::Cast(_) => true,
        ScalarOp::Unary(op, _) => operands[0] == dtype && unary_defined(*op, dtype),
        ScalarOp::Binary(op, ..) => {
            operands[0] == operands[1] && binary_defined(*op, operands[0]) && op.result(operands[0]) == dtype
        }
        ScalarOp::Where(..) => operands[0] == DType::Bool && operands[1] == dtype && operands[2] == dtype,
    };
    if sound { Ok(()) } else { Err(format!("{op:?} of {operands:?} is no {dtype}")) }
}

fn verify_load(
    form: &NormalForm,
    context: &Context,
    id: usize,
    piece: &Piece,
    source: Source,
    access: &Access,
    dtype: DType,
) -> Result<(), String> {
    if let Source::Def(d) = source
        && d >= id
    {
        return Err(format!("definition {d} does not come before"));
    }
    let (Some(found), Some(extents)) = (form.source_dtype(source), form.source_extents(source)) else {
        return Err(format!("{source:?} does not exist"));
    };
    if found != dtype {
        return Err(format!("a load of {found} as {dtype}"));
    }
    if !context.loops.is_empty() {
        let size: usize = extents.iter().product();
        let fits = match access {
            Access::Axes(indices) => {
                indices.len() == extents.len()
                    && indices.iter().zip(extents).all(|(form, &extent)| inside(context, &piece.domain, form, extent))
            }
            Access::Flat(form) => inside(context, &piece.domain, form, size),
            Access::Gather(_) => false,
        };
        return if fits { Ok(()) } else { Err(format!("{access:?} may leave {extents:?}")) };
    }
    let scope: Vec<(usize, &Range)> = piece.domain.iter().enumerate().collect();
    let inside = |form: &Affine, extent: usize| {
        lower_bound(form, &scope).is_some_and(|low| low >= 0)
            && upper_bound(form, &scope).is_some_and(|high| high < extent as i128)
    };
    let size: usize = extents.iter().product();
    let proven = match access {
        Access::Axes(indices) if indices.len() != extents.len() => {
            return Err(format!("{} indices for an array of rank {}", indices.len(), extents.len()));
        }
        Access::Axes(indices) => indices.iter().zip(extents).all(|(form, &extent)| inside(form, extent)),
        Access::Flat(form) => inside(form, size),
        Access::Gather(_) => false,
    };
    if proven {
        return Ok(());
    }
    // Bounds by elimination are not tight on every domain: look at the points themselves.
    let mut budget = ENUMERATED;
    enumerate(&piece.domain, 0, piece.domain.len(), &mut Vec::new(), &mut |point| {
        budget = budget.checked_sub(1).ok_or_else(|| format!("{access:?} may leave {extents:?}"))?;
        let at = |form: &Affine| form.evaluate(|v| point[v]);
        let fits = match access {
            Access::Axes(indices) => offset(&indices.iter().map(at).collect::<Vec<i64>>(), extents).is_some(),
            Access::Flat(form) => usize::try_from(at(form)).is_ok_and(|flat| flat < size),
            Access::Gather(_) => false,
        };
        if fits { Ok(()) } else { Err(format!("{access:?} leaves {extents:?} at {point:?}")) }
    })
}
