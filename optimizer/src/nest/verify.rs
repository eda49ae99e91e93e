//! The verifier of loop nests: what the code generator relies on.
//!
//! Checked statically: buffers in order and of unique names; every variable bound once, before its
//! use; bounds, steps and tile factors sound; types agree; accesses inside their buffers (by
//! elimination of variables, innermost first, which is exact where bounds are constant); parallel
//! loops not nested; at most one vector axis; parameters never written. That every output element
//! is written, and none read too soon, is found by running [`crate::nest::evaluate`].

use crate::form::scalar_tree::{Gather, ScalarOp};
use crate::form::verify::{ENUMERATED, verify_node};
use crate::integer::affine::Affine;
use crate::integer::bounds::{lower_bound, upper_bound};
use crate::integer::range::{Range, interval};
use crate::nest::{Buffer, BufferRole, LoopKind, LoopNest, Node, Tile, TileAxis, TileFold, TileScalar};
use crate::value::dtype::DType;
use crate::value::scalar::FoldOp;
use std::collections::BTreeSet;
use thiserror::Error;

/// What is wrong with a nest.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum NestError {
    /// A buffer out of order or with another's name.
    #[error("buffer {index} (`{name}`): {reason}")]
    Buffer {
        /// Its index.
        index: usize,
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A loop or a tile axis.
    #[error("the loop over `{var}`: {reason}")]
    Loop {
        /// Its variable.
        var: String,
        /// What is wrong.
        reason: String,
    },
    /// A tile.
    #[error("the tile of `{origin}`: {reason}")]
    Tile {
        /// What it computes.
        origin: String,
        /// What is wrong.
        reason: String,
    },
}

/// Checks the invariants of a loop nest.
///
/// # Errors
/// The first violation found.
pub fn verify_nest(nest: &LoopNest) -> Result<(), NestError> {
    verify_buffers(nest)?;
    let mut state = State { nest, bound: BTreeSet::new() };
    state.nodes(&nest.body, &mut Vec::new(), false)
}

fn verify_buffers(nest: &LoopNest) -> Result<(), NestError> {
    let mut names = BTreeSet::new();
    let (mut params, mut outputs, mut scratch) = (0, 0, false);
    for (index, buffer) in nest.buffers.iter().enumerate() {
        let in_order = match buffer.role {
            BufferRole::Param(p) => {
                params += 1;
                p + 1 == params && outputs == 0 && !scratch
            }
            BufferRole::Output(o) => {
                outputs += 1;
                o + 1 == outputs && !scratch
            }
            BufferRole::Check(..) => {
                scratch = true;
                buffer.len == 1 && buffer.dtype == DType::Bool
            }
            BufferRole::Shared | BufferRole::Private => {
                scratch = true;
                true
            }
        };
        let unique = names.insert(buffer.name.as_str());
        if !in_order || !unique {
            let reason = if unique { "stands out of order" } else { "has another buffer's name" };
            return Err(NestError::Buffer { index, name: buffer.name.clone(), reason: reason.into() });
        }
    }
    Ok(())
}

struct State<'a> {
    nest: &'a LoopNest,
    bound: BTreeSet<usize>,
}

impl<'a> State<'a> {
    /// `scope`: the enclosing variables with their ranges and steps, outermost first.
    fn nodes(
        &mut self,
        nodes: &'a [Node],
        scope: &mut Vec<(usize, &'a Range, usize)>,
        parallel: bool,
    ) -> Result<(), NestError> {
        for node in nodes {
            match node {
                Node::Loop(inner) => {
                    let wrong = |reason: &str| NestError::Loop { var: self.name(inner.var), reason: reason.into() };
                    if inner.step == 0 {
                        return Err(wrong("does not advance"));
                    }
                    if inner.kind == LoopKind::Parallel && parallel {
                        return Err(wrong("is parallel inside a parallel loop"));
                    }
                    self.bind(inner.var, &inner.range, inner.step, scope)?;
                    self.nodes(&inner.body, scope, parallel || inner.kind == LoopKind::Parallel)?;
                    scope.pop();
                }
                Node::Tile(tile) => self.tile(tile, scope)?,
            }
        }
        Ok(())
    }

    fn name(&self, var: usize) -> String {
        self.nest.vars.get(var).cloned().unwrap_or_else(|| format!("#{var}"))
    }

    fn bind(
        &mut self,
        var: usize,
        range: &'a Range,
        step: usize,
        scope: &mut Vec<(usize, &'a Range, usize)>,
    ) -> Result<(), NestError> {
        let name = self.name(var);
        let wrong = |reason: &str| Err(NestError::Loop { var: name.clone(), reason: reason.into() });
        if var >= self.nest.vars.len() {
            return wrong("has no name");
        }
        if range.lo.is_empty() || range.hi.is_empty() {
            return wrong("lacks a bound");
        }
        if range.lo.iter().chain(&range.hi).any(|form| !in_scope(form, scope)) {
            return wrong("has a bound that refers to a variable not around it");
        }
        if !self.bound.insert(var) {
            return wrong("binds a variable that is bound elsewhere");
        }
        scope.push((var, range, step));
        Ok(())
    }

    fn tile(&mut self, tile: &'a Tile, scope: &mut Vec<(usize, &'a Range, usize)>) -> Result<(), NestError> {
        let error = |reason: String| NestError::Tile { origin: tile.origin.clone(), reason };
        let wrong = |reason: String| Err(error(reason));
        let depth = scope.len();
        if let Some(reason) = malformed(tile) {
            return wrong(reason.into());
        }
        let Some(target) = self.nest.buffers.get(tile.target) else {
            return wrong(format!("writes buffer {}, which does not exist", tile.target));
        };
        if matches!(target.role, BufferRole::Param(_)) {
            return wrong(format!("writes the parameter `{}`", target.name));
        }
        if let Some(fold) = &tile.fold {
            verify_fold(fold, target, scope).or_else(|reason| wrong(reason.into()))?;
        }
        self.bind_axes(&tile.points, scope)?;
        self.inside(&tile.offset, target.len, scope)
            .or_else(|reason| wrong(format!("writes `{}`: {reason}", target.name)))?;
        if let Some(shift) = &tile.shift {
            let by = self.nest.buffers.get(shift.by).filter(|by| by.dtype == DType::I64 && by.len > 0);
            let Some(by) = by.filter(|_| shift.by != tile.target && shift.last >= 0) else {
                return wrong(format!("is moved by buffer {}, which holds no distance", shift.by));
            };
            self.inside(&tile.offset.offset(shift.last), target.len, scope)
                .or_else(|reason| wrong(format!("writes `{}`, moved by `{}`: {reason}", target.name, by.name)))?;
        }
        self.bind_axes(&tile.folds, scope)?;
        let dtype = self.value(&tile.value, scope).map_err(error)?;
        scope.truncate(depth);
        match dtype {
            Some(dtype) if dtype == target.dtype => Ok(()),
            Some(dtype) => wrong(format!("stores {dtype} in `{}`, a buffer of {}", target.name, target.dtype)),
            None => wrong("computes nothing".into()),
        }
    }

    /// Checks a scalar expression; its element type, if it has a node.
    fn value(&self, value: &[TileScalar], scope: &[(usize, &Range, usize)]) -> Result<Option<DType>, String> {
        let mut dtypes: Vec<DType> = Vec::with_capacity(value.len());
        for (at, scalar) in value.iter().enumerate() {
            match scalar {
                TileScalar::Gather { buffer, offset, stride, at: index } => {
                    let Some(source) = self.nest.buffers.get(*buffer) else {
                        return Err(format!("node {at} reads buffer {buffer}, which does not exist"));
                    };
                    let gather = Gather { offset: offset.clone(), stride: *stride, at: *index };
                    let known = |n: usize| value[..at].get(n)?.computed();
                    let Some((low, high)) = gather.bounds(known) else {
                        return Err(format!("node {at} reads `{}` at an index without bounds", source.name));
                    };
                    for index in [low, high] {
                        self.inside(&offset.offset(stride * index), source.len, scope)
                            .map_err(|reason| format!("node {at} reads `{}`: {reason}", source.name))?;
                    }
                    dtypes.push(source.dtype);
                }
                TileScalar::Load { buffer, offset } => {
                    let Some(source) = self.nest.buffers.get(*buffer) else {
                        return Err(format!("node {at} reads buffer {buffer}, which does not exist"));
                    };
                    self.inside(offset, source.len, scope)
                        .map_err(|reason| format!("node {at} reads `{}`: {reason}", source.name))?;
                    dtypes.push(source.dtype);
                }
                TileScalar::Compute(node) => {
                    let operands: Option<Vec<DType>> =
                        node.op.operands().into_iter().map(|x| dtypes.get(x).copied()).collect();
                    let Some(operands) = operands else {
                        return Err(format!("node {at} has an operand that does not come before it"));
                    };
                    if let ScalarOp::Load(..) = node.op {
                        return Err(format!("node {at} is a load of the normal form"));
                    }
                    if let ScalarOp::Index(form) = &node.op
                        && !in_scope(form, scope)
                    {
                        return Err(format!("node {at} refers to a variable not around it"));
                    }
                    verify_node(&node.op, node.dtype, &operands).map_err(|reason| format!("node {at}: {reason}"))?;
                    dtypes.push(node.dtype);
                }
            }
        }
        Ok(dtypes.last().copied())
    }

    fn bind_axes(&mut self, axes: &'a [TileAxis], scope: &mut Vec<(usize, &'a Range, usize)>) -> Result<(), NestError> {
        axes.iter().try_for_each(|axis| self.bind(axis.var, &axis.range, 1, scope))
    }

    /// Whether `form` stays in `0 .. len`.
    fn inside(&self, form: &Affine, len: usize, scope: &[(usize, &Range, usize)]) -> Result<(), String> {
        if !in_scope(form, scope) {
            return Err("the offset refers to a variable not around it".into());
        }
        let ranges: Vec<(usize, &Range)> = scope.iter().map(|(var, range, _)| (*var, *range)).collect();
        let proven = lower_bound(form, &ranges).is_some_and(|low| low >= 0)
            && upper_bound(form, &ranges).is_some_and(|high| high < len as i128);
        if proven {
            return Ok(());
        }
        // The bounds ignore steps and are not tight on every domain: look at the points themselves.
        let mut values = vec![0i64; self.nest.vars.len()];
        let mut budget = ENUMERATED;
        visit(scope, &mut values, &mut |values| {
            budget = budget.checked_sub(1).ok_or_else(|| format!("{form} may leave 0 .. {len}"))?;
            let at = form.evaluate(|v| values[v]);
            if usize::try_from(at).is_ok_and(|at| at < len) { Ok(()) } else { Err(format!("offset {at} of {len}")) }
        })
    }
}

/// What is wrong with the axes of a tile.
fn malformed(tile: &Tile) -> Option<&'static str> {
    let axes = || tile.points.iter().chain(&tile.folds);
    if axes().any(|axis| axis.unroll == 0 || axis.lanes == 0) {
        return Some("an axis has no register tile");
    }
    if axes().filter(|axis| axis.lanes > 1).count() > 1 {
        return Some("two axes have vector lanes");
    }
    if tile.fold.is_none() && !tile.folds.is_empty() {
        return Some("fold axes without a fold");
    }
    None
}

/// Checks how a tile folds into `target`.
fn verify_fold(fold: &TileFold, target: &Buffer, scope: &[(usize, &Range, usize)]) -> Result<(), &'static str> {
    if fold.depth.is_some() && !(fold.first.is_empty() && fold.op == FoldOp::Sum && target.dtype.is_float()) {
        return Err("a depth of what is no sum of floats from the beginning");
    }
    if fold.first.iter().any(|form| !in_scope(form, scope)) {
        return Err("the fold's beginning refers to a variable not around the tile");
    }
    Ok(())
}

fn in_scope(form: &Affine, scope: &[(usize, &Range, usize)]) -> bool {
    form.terms.iter().all(|(variable, _)| scope.iter().any(|entry| entry.0 == *variable))
}

/// Calls `body` for every assignment of the variables in scope.
fn visit(
    scope: &[(usize, &Range, usize)],
    values: &mut Vec<i64>,
    body: &mut impl FnMut(&[i64]) -> Result<(), String>,
) -> Result<(), String> {
    let Some(((var, range, step), rest)) = scope.split_first() else { return body(values) };
    let (low, high) = interval(range, |v| values.get(v).copied().unwrap_or(0));
    for x in (low..high).step_by(*step) {
        values[*var] = x;
        visit(rest, values, body)?;
    }
    Ok(())
}
