//! A slow, literal evaluator of normal forms, for tests of `normalize` and `lower`.
//!
//! Input: a [`NormalForm`] and its inputs. Output: its results, every operation rounded at its own
//! type and every fold taken from the identity in ascending order of the fold axes. It trusts
//! nothing: every access is bounds-checked, every element must be computed exactly once.

use crate::form::normal_form::{Def, NormalForm, Piece};
use crate::form::scalar_tree::{Access, DefId, ScalarOp, Source};
use crate::form::steps::Step;
use crate::integer::affine::Affine;
use crate::integer::range::{Range, enumerate, interval, loop_variable, offset};
use crate::program::expr::Requirement;
use crate::value::dtype::{DType, Literal};
use crate::value::scalar_eval;
use crate::value::scalar_eval::ScalarError;
use crate::value::tensor::Tensor;
use std::collections::BTreeMap;
use thiserror::Error;

/// Why a form cannot be evaluated.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum EvaluateError {
    /// Inputs that do not fit the parameters.
    #[error("input {index} does not fit its parameter (or is missing)")]
    Input {
        /// Its index.
        index: usize,
    },
    /// An access outside its source, or to something that does not exist.
    #[error("`{def}` at {point:?} reads {source_kind:?} at {position:?}, out of bounds")]
    OutOfBounds {
        /// The reading definition.
        def: String,
        /// The point and fold indices.
        point: Vec<i64>,
        /// What is read.
        source_kind: Source,
        /// The indices, or the flat offset.
        position: Vec<i64>,
    },
    /// A point outside the definition's box.
    #[error("a piece of `{def}` contains {point:?}, which is outside its box {axes:?}")]
    OutsideBox {
        /// The definition.
        def: String,
        /// The point.
        point: Vec<i64>,
        /// The box.
        axes: Vec<usize>,
    },
    /// Two pieces contain one point.
    #[error("two pieces of `{def}` contain {point:?}")]
    Overlap {
        /// The definition.
        def: String,
        /// The point.
        point: Vec<i64>,
    },
    /// No piece contains some point, of a result or of what is read of another definition.
    #[error("no piece of `{def}` contains the point at offset {offset}")]
    Uncovered {
        /// The definition.
        def: String,
        /// Its row-major offset over the definition's axes.
        offset: usize,
    },
    /// A scalar expression that refers to what it cannot.
    #[error("`{def}`: a scalar expression is malformed")]
    Malformed {
        /// The definition.
        def: String,
    },
    /// A check fails.
    #[error("check {check} fails: {}", requirement.failure())]
    Check {
        /// Its number.
        check: usize,
        /// What it asks for.
        requirement: Requirement,
    },
    /// An operator at a type it is not defined on.
    #[error(transparent)]
    Scalar(#[from] ScalarError),
}

/// Evaluates `form` on `inputs`: one tensor for each output, in its logical shape.
///
/// # Errors
/// If an input does not fit, or the form is not well formed at some point it visits.
pub fn evaluate(form: &NormalForm, inputs: &[Tensor]) -> Result<Vec<Tensor>, EvaluateError> {
    for (index, param) in form.params.iter().enumerate() {
        let fits = |input: &Tensor| input.dtype == param.dtype && input.shape == param.shape;
        if !inputs.get(index).is_some_and(fits) {
            return Err(EvaluateError::Input { index });
        }
    }
    let mut memory = Memory {
        form,
        inputs,
        done: form.defs.iter().map(|_| None).collect(),
        states: form.states.iter().map(|state| Tensor::poison(state.dtype, &state.shape)).collect(),
        loops: BTreeMap::new(),
    };
    if form.steps.is_empty() {
        for id in 0..form.defs.len() {
            memory.compute(id)?;
        }
    }
    memory.steps(&form.steps)?;
    let malformed = || EvaluateError::Malformed { def: "outputs".into() };
    let result = |&id: &DefId| memory.done.get(id).and_then(Option::as_ref).map(|value| value.tensor.clone());
    let mut results: Vec<Tensor> =
        form.outputs.iter().map(|id| result(id).ok_or_else(malformed)).collect::<Result<_, _>>()?;
    let checks = results.split_off(results.len().saturating_sub(form.checks.len()));
    let fails = |(check, _): &(&Tensor, &Requirement)| check.get(0).as_i64() != Some(1);
    match checks.iter().zip(&form.checks).enumerate().find(|(_, check)| fails(check)) {
        Some((check, (_, &requirement))) => Err(EvaluateError::Check { check, requirement }),
        None => Ok(results),
    }
}

/// What has been computed so far.
struct Memory<'a> {
    form: &'a NormalForm,
    inputs: &'a [Tensor],
    done: Vec<Option<Computed>>,
    states: Vec<Tensor>,
    /// Values of the loops' variables.
    loops: BTreeMap<usize, i64>,
}

impl Memory<'_> {
    fn value(&self, variable: usize, point: &[i64]) -> i64 {
        point.get(variable).or_else(|| self.loops.get(&variable)).copied().unwrap_or(0)
    }

    fn steps(&mut self, steps: &[Step]) -> Result<(), EvaluateError> {
        for step in steps {
            match step {
                Step::Def(id) => self.compute(*id)?,
                Step::Loop { var, range, body, .. } => {
                    let (low, high) = interval(range, |v| self.value(v, &[]));
                    for x in low..high {
                        self.loops.insert(loop_variable(*var), x);
                        self.steps(body)?;
                    }
                    self.loops.remove(&loop_variable(*var));
                }
                Step::If { conditions, body } => {
                    if conditions.iter().all(|form| form.evaluate(|v| self.value(v, &[])) >= 0) {
                        self.steps(body)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn compute(&mut self, id: DefId) -> Result<(), EvaluateError> {
        let malformed = || EvaluateError::Malformed { def: format!("{id}") };
        let def = self.form.defs.get(id).ok_or_else(malformed)?;
        let Some(update) = &def.update else {
            let value = evaluate_def(self, def)?;
            let missing = value.written.iter().position(|written| !written);
            if let Some(offset) = missing.filter(|_| self.form.outputs.contains(&id)) {
                return Err(EvaluateError::Uncovered { def: def.name.clone(), offset });
            }
            self.done[id] = Some(value);
            return Ok(());
        };
        let mut stored: Vec<(usize, Literal)> = Vec::new();
        let extents = &self.form.states.get(update.state).ok_or_else(malformed)?.shape;
        let moved = match &update.shift {
            Some(shift) => {
                let held = self.states.get(shift.by).filter(|by| !by.is_empty()).ok_or_else(malformed)?.get(0);
                usize::try_from(shift.distance(held.as_i64().ok_or_else(malformed)?)).map_err(|_| malformed())?
            }
            None => 0,
        };
        let size: usize = extents.iter().product();
        for piece in &def.pieces {
            visit(self, def, piece, &mut |point, value| {
                let index: Vec<i64> = update.base.iter().map(|form| form.evaluate(|v| self.value(v, point))).collect();
                let at = offset(&index, extents).map(|at| at + moved).filter(|at| *at < size);
                let at = at.ok_or_else(|| EvaluateError::OutsideBox {
                    def: def.name.clone(),
                    point: index,
                    axes: extents.clone(),
                })?;
                stored.push((at, value));
                Ok(())
            })?;
        }
        for (at, value) in stored {
            self.states[update.state].set(at, value);
        }
        Ok(())
    }
}

/// A definition's elements; those that are not written were in none of its pieces.
struct Computed {
    tensor: Tensor,
    written: Vec<bool>,
}

fn evaluate_def(memory: &Memory<'_>, def: &Def) -> Result<Computed, EvaluateError> {
    let mut result = Tensor::poison(def.dtype, &def.shape);
    let mut written = vec![false; result.len()];
    for piece in &def.pieces {
        visit(memory, def, piece, &mut |point, value| {
            let at = offset(point, &def.axes).filter(|at| *at < written.len());
            let at = at.ok_or_else(|| EvaluateError::OutsideBox {
                def: def.name.clone(),
                point: point.to_vec(),
                axes: def.axes.clone(),
            })?;
            if std::mem::replace(&mut written[at], true) {
                return Err(EvaluateError::Overlap { def: def.name.clone(), point: point.to_vec() });
            }
            result.set(at, value);
            Ok(())
        })?;
    }
    Ok(Computed { tensor: result, written })
}

/// Takes a point and its element.
type Found<'f> = &'f mut dyn FnMut(&[i64], Literal) -> Result<(), EvaluateError>;

/// Calls `found` with every point of a piece and its element.
fn visit(memory: &Memory<'_>, def: &Def, piece: &Piece, found: Found<'_>) -> Result<(), EvaluateError> {
    let points = def.axes.len();
    let domain = memory.fixed(&piece.domain);
    enumerate(&domain, 0, points, &mut Vec::new(), &mut |point: &[i64]| {
        let value = match piece.fold {
            None => element(memory, def, piece, point)?,
            Some(op) => {
                let mut terms = Vec::new();
                let mut indices = point.to_vec();
                enumerate(&domain, points, domain.len(), &mut indices, &mut |indices| {
                    terms.push(element(memory, def, piece, indices)?);
                    Ok::<(), EvaluateError>(())
                })?;
                scalar_eval::fold(op, def.dtype, piece.depth.is_some(), op.identity(def.dtype), &terms)?
            }
        };
        found(point, value)
    })
}

impl Memory<'_> {
    /// A domain with the loops' variables replaced by their values.
    fn fixed(&self, domain: &[Range]) -> Vec<Range> {
        let fix = |form: &Affine| {
            form.substitute(|v| match self.loops.get(&v) {
                Some(&value) => Affine::constant(value),
                None => Affine::variable(v),
            })
        };
        let fixed =
            |range: &Range| Range { lo: range.lo.iter().map(fix).collect(), hi: range.hi.iter().map(fix).collect() };
        domain.iter().map(fixed).collect()
    }
}

/// The value of a piece's expression at a point of its domain.
fn element(memory: &Memory<'_>, def: &Def, piece: &Piece, point: &[i64]) -> Result<Literal, EvaluateError> {
    let malformed = || EvaluateError::Malformed { def: def.name.clone() };
    let at = |affine: &Affine| affine.evaluate(|v| memory.value(v, point));
    let mut values: Vec<(Literal, DType)> = Vec::with_capacity(piece.value.nodes.len());
    for node in &piece.value.nodes {
        let value = if let ScalarOp::Load(source, access) = &node.op {
            let tensor = match *source {
                Source::Param(p) => memory.inputs.get(p),
                Source::Def(d) => memory.done.get(d).and_then(Option::as_ref).map(|value| &value.tensor),
                Source::State(s) => memory.states.get(s),
            };
            let (tensor, extents) = tensor.zip(memory.form.source_extents(*source)).ok_or_else(malformed)?;
            let (position, flat) = match access {
                Access::Axes(indices) => {
                    let position: Vec<i64> = indices.iter().map(at).collect();
                    let flat = offset(&position, extents);
                    (position, flat)
                }
                Access::Flat(affine) => (vec![at(affine)], usize::try_from(at(affine)).ok()),
                Access::Gather(gather) => {
                    let index = values.get(gather.at).and_then(|value| value.0.as_i64()).ok_or_else(malformed)?;
                    let offset = at(&gather.offset) + gather.stride * index;
                    (vec![offset], usize::try_from(offset).ok())
                }
            };
            let flat = flat.filter(|flat| *flat < tensor.len());
            let flat = flat.ok_or_else(|| EvaluateError::OutOfBounds {
                def: def.name.clone(),
                point: point.to_vec(),
                source_kind: *source,
                position,
            })?;
            if let Source::Def(d) = *source
                && memory.done.get(d).and_then(Option::as_ref).and_then(|value| value.written.get(flat)) == Some(&false)
            {
                return Err(EvaluateError::Uncovered { def: memory.form.defs[d].name.clone(), offset: flat });
            }
            tensor.get(flat)
        } else {
            compute(&node.op, node.dtype, &values, at)?.ok_or_else(malformed)?
        };
        values.push((value, node.dtype));
    }
    values.last().map(|value| value.0).ok_or_else(malformed)
}

/// Any scalar operation but a load, on earlier values and their types. `None` if an operand does
/// not exist.
pub(crate) fn compute(
    op: &ScalarOp,
    dtype: DType,
    values: &[(Literal, DType)],
    at: impl Fn(&Affine) -> i64,
) -> Result<Option<Literal>, ScalarError> {
    if op.operands().iter().any(|operand| *operand >= values.len()) {
        return Ok(None);
    }
    Ok(match op {
        ScalarOp::Load(..) => None,
        ScalarOp::Const(literal) => Some(literal.at(dtype)),
        ScalarOp::Index(affine) => Some(scalar_eval::cast(dtype, Literal::Int(at(affine)))),
        ScalarOp::Unary(op, x) => Some(scalar_eval::unary(*op, values[*x].1, values[*x].0)?),
        ScalarOp::Binary(op, x, y) => Some(scalar_eval::binary(*op, values[*x].1, values[*x].0, values[*y].0)?),
        ScalarOp::Where(c, x, y) => Some(if values[*c].0.as_i64() == Some(0) { values[*y].0 } else { values[*x].0 }),
        ScalarOp::Cast(x) => Some(scalar_eval::cast(dtype, values[*x].0)),
    })
}
