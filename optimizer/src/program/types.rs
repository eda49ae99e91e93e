//! The shape and dtype rule of every operator, once: what [`crate::program::verify`] and through it the interpreter demand
//! of a node, so that a malformed one is an error and not a panic.
//!
//! Extents are affine forms in the variables of the loops around the node; those of a node outside of loops are
//! constants. Equal forms agree, and nothing else does but an extent of 1 that stretches. Whether forms are in bounds is
//! the verifier's business. Shares no code with the stages that make nodes.

use crate::integer::affine::Affine;
use crate::program::expr::{Node, Op, SectionAxis, constants};
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::{BinaryOp, FoldOp};
use crate::value::scalar_eval::{binary_defined, unary_defined};
use std::collections::BTreeMap;

/// A shape and an element type.
pub type ArrayType = (Vec<usize>, DType);

/// An element type and extents that may depend on loops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveType {
    /// One form for each axis.
    pub extents: Vec<Affine>,
    /// The element type.
    pub dtype: DType,
}

impl LiveType {
    /// What a node declares itself to be.
    pub fn of(node: &Node) -> LiveType {
        LiveType { extents: node.extents(), dtype: node.dtype }
    }

    /// The shape, where no extent depends on a loop.
    fn fixed(&self) -> Result<Vec<usize>, String> {
        let extent = |form: &Affine| form.is_constant().then(|| usize::try_from(form.constant).ok()).flatten();
        let shape: Option<Vec<usize>> = self.extents.iter().map(extent).collect();
        shape.ok_or_else(|| format!("extents {} that change in a loop are not supported here", show(&self.extents)))
    }
}

impl From<&ArrayType> for LiveType {
    fn from((shape, dtype): &ArrayType) -> LiveType {
        LiveType { extents: constants(shape), dtype: *dtype }
    }
}

fn show(extents: &[Affine]) -> String {
    let forms: Vec<String> = extents.iter().map(|form| form.display(|var| format!("v{var}"))).collect();
    format!("[{}]", forms.join(", "))
}

/// The type of `op` on arguments of types `args`, outside of loops. `declared` is the node's own type, which decides
/// where the operator leaves it open (constants, `Cast`, `Broadcast`, `Reshape`, …).
///
/// # Errors
/// What is wrong with the arguments, as a clause.
pub fn result_type(op: &Op, args: &[ArrayType], declared: &ArrayType) -> Result<ArrayType, String> {
    let args: Vec<LiveType> = args.iter().map(LiveType::from).collect();
    let found = live_result_type(op, &args.iter().collect::<Vec<_>>(), &LiveType::from(declared))?;
    Ok((found.fixed()?, found.dtype))
}

/// [`result_type`] in loops.
///
/// # Errors
/// What is wrong with the arguments, as a clause.
pub fn live_result_type(op: &Op, args: &[&LiveType], declared: &LiveType) -> Result<LiveType, String> {
    check_arity(op, args.len())?;
    ensure(DType::SUPPORTED.contains(&declared.dtype), || format!("the dtype {} is not supported", declared.dtype))?;
    let (extents, dtype) = match args {
        [] => (nullary(op, declared)?, declared.dtype),
        [a] => unary(op, a, declared)?,
        [a, b] => binary(op, a, b)?,
        args => variadic(op, args)?,
    };
    Ok(LiveType { extents, dtype })
}

/// What holds of a node, or why it does not.
type Check = Result<(), String>;

/// The result of a rule.
type Type = (Vec<Affine>, DType);

fn ensure(holds: bool, reason: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(reason()) }
}

fn check_arity(op: &Op, found: usize) -> Check {
    let expected = match op {
        Op::Input(_)
        | Op::State(_)
        | Op::LoopIndex(_)
        | Op::Const(_)
        | Op::Array(_)
        | Op::Arange { .. }
        | Op::Eye { .. } => 0,
        Op::Binary(_) | Op::MatMul | Op::Dot | Op::Inner | Op::Outer(_) | Op::Gather { .. } => 2,
        Op::Where => 3,
        Op::Concat { .. } => return ensure(found > 0, || "it has no arguments".to_owned()),
        Op::Einsum { inputs, .. } => inputs.len(),
        Op::Unary(_)
        | Op::Cast
        | Op::Broadcast
        | Op::Transpose(_)
        | Op::Reshape
        | Op::Slice(_)
        | Op::Section(_)
        | Op::Index { .. }
        | Op::Diagonal { .. }
        | Op::Flip(_)
        | Op::Roll { .. }
        | Op::Pad { .. }
        | Op::Window { .. }
        | Op::Tril { .. }
        | Op::Triu { .. }
        | Op::Trace { .. }
        | Op::Reduce { .. } => 1,
    };
    ensure(found == expected, || format!("it has {found} arguments, not {expected}"))
}

/// Operators without arguments: the result's extents.
fn nullary(op: &Op, declared: &LiveType) -> Result<Vec<Affine>, String> {
    let dtype = declared.dtype;
    match op {
        // What it names is looked up by the verifier.
        Op::Input(_) | Op::State(_) => Ok(declared.extents.clone()),
        Op::LoopIndex(_) => {
            ensure(dtype.is_int(), || format!("a loop index of dtype {dtype}"))?;
            Ok(Vec::new())
        }
        Op::Const(value) => {
            literal(*value, dtype)?;
            Ok(Vec::new())
        }
        Op::Array(values) => {
            values.iter().try_for_each(|value| literal(*value, dtype))?;
            let shape = declared.fixed()?;
            let size = shape.iter().try_fold(1_usize, |size, &extent| size.checked_mul(extent));
            ensure(size == Some(values.len()), || format!("{} literals fill {shape:?}", values.len()))?;
            Ok(declared.extents.clone())
        }
        Op::Arange { start, step } => {
            literal(*start, dtype)?;
            literal(*step, dtype)?;
            ensure(declared.extents.len() == 1, || "arange has rank 1".to_owned())?;
            ensure(dtype != DType::Bool, || "arange has no bools".to_owned())?;
            Ok(declared.extents.clone())
        }
        Op::Eye { .. } => {
            ensure(declared.fixed()?.len() == 2, || "eye has rank 2".to_owned())?;
            Ok(declared.extents.clone())
        }
        Op::Einsum { .. } => Err("einsum has no arguments".to_owned()),
        Op::Unary(_)
        | Op::Binary(_)
        | Op::Where
        | Op::Cast
        | Op::Broadcast
        | Op::Transpose(_)
        | Op::Reshape
        | Op::Slice(_)
        | Op::Section(_)
        | Op::Index { .. }
        | Op::Diagonal { .. }
        | Op::Flip(_)
        | Op::Roll { .. }
        | Op::Pad { .. }
        | Op::Concat { .. }
        | Op::Window { .. }
        | Op::Tril { .. }
        | Op::Triu { .. }
        | Op::Trace { .. }
        | Op::MatMul
        | Op::Dot
        | Op::Inner
        | Op::Outer(_)
        | Op::Gather { .. }
        | Op::Reduce { .. } => Err("it has no arguments".to_owned()),
    }
}

/// A literal is of the dtype's kind, and in its range.
fn literal(value: Literal, dtype: DType) -> Check {
    let fits = match value {
        Literal::Bool(_) => dtype == DType::Bool,
        Literal::Float(_) => dtype.is_float() && value.at(dtype) == value,
        Literal::Int(i) => match dtype {
            DType::I8 => i8::try_from(i).is_ok(),
            DType::U8 => u8::try_from(i).is_ok(),
            DType::I16 => i16::try_from(i).is_ok(),
            DType::I32 => i32::try_from(i).is_ok(),
            DType::I64 => true,
            DType::Bool | DType::F16 | DType::BF16 | DType::F32 | DType::F64 => false,
        },
    };
    // Rounding a NaN may change its payload, which carries no meaning.
    let nan = dtype.is_float() && value.as_f64().is_nan();
    ensure(fits || nan, || format!("the literal {value} is not a {dtype}"))
}

fn without<T: Clone>(shape: &[T], axes: &[usize]) -> Vec<T> {
    shape.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, extent)| extent.clone()).collect()
}

fn is_axis(axis: usize, rank: usize) -> Check {
    ensure(axis < rank, || format!("axis {axis} of rank {rank}"))
}

fn distinct_axes(axes: &[usize], rank: usize) -> Check {
    axes.iter().enumerate().try_for_each(|(at, &axis)| {
        is_axis(axis, rank)?;
        ensure(!axes[..at].contains(&axis), || format!("axis {axis} occurs twice"))
    })
}

fn sorted_axes(axes: &[usize], rank: usize) -> Check {
    distinct_axes(axes, rank)?;
    ensure(axes.is_sorted(), || format!("the axes {axes:?} are not sorted"))
}

/// Extent of a diagonal of a `rows` × `columns` matrix.
pub(crate) fn diagonal_length(rows: usize, columns: usize, offset: i64) -> usize {
    let cut = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
    if offset >= 0 { rows.min(columns.saturating_sub(cut)) } else { columns.min(rows.saturating_sub(cut)) }
}

fn is_one(extent: &Affine) -> bool {
    extent.is_constant() && extent.constant == 1
}

/// Operators of one argument.
fn unary(op: &Op, a: &LiveType, declared: &LiveType) -> Result<Type, String> {
    let (s, dtype, rank) = (a.extents.as_slice(), a.dtype, a.extents.len());
    let same = || (s.to_vec(), dtype);
    let forms = |shape: Vec<usize>| (constants(&shape), dtype);
    match op {
        Op::Unary(op) => {
            ensure(unary_defined(*op, dtype), || format!("{} is not defined on {dtype}", op.name()))?;
            Ok(same())
        }
        Op::Cast => Ok((s.to_vec(), declared.dtype)),
        Op::Broadcast => {
            let target = &declared.extents;
            let lead = target.len().checked_sub(rank).ok_or("a broadcast loses axes")?;
            let fits = s.iter().zip(&target[lead..]).all(|(own, target)| own == target || is_one(own));
            ensure(fits, || format!("{} does not broadcast to {}", show(s), show(target)))?;
            Ok((target.clone(), dtype))
        }
        Op::Reshape => {
            // Axes of extent 1 come and go in any array.
            let kept = |extents: &[Affine]| -> Vec<Affine> {
                extents.iter().filter(|extent| !is_one(extent)).cloned().collect()
            };
            if kept(s) != kept(&declared.extents) {
                let size = |shape: Vec<usize>| shape.iter().try_fold(1_usize, |size, &extent| size.checked_mul(extent));
                let (from, to) = (size(a.fixed()?), size(declared.fixed()?));
                ensure(from == to && from.is_some(), || {
                    format!("{} has no reshape to {}", show(s), show(&declared.extents))
                })?;
            }
            Ok((declared.extents.clone(), dtype))
        }
        Op::Transpose(axes) => {
            distinct_axes(axes, rank)?;
            ensure(axes.len() == rank, || format!("{axes:?} does not permute {}", show(s)))?;
            Ok((axes.iter().map(|&axis| s[axis].clone()).collect(), dtype))
        }
        Op::Slice(slices) => {
            let s = a.fixed()?;
            ensure(slices.len() == rank, || format!("{} slices of {s:?}", slices.len()))?;
            for (slice, &extent) in slices.iter().zip(&s) {
                ensure(slice.step != 0, || "a step is zero".to_owned())?;
                let Some(steps) = slice.len.checked_sub(1) else { continue };
                let last = i128::from(slice.start) + i128::from(slice.step) * steps as i128;
                let inside = |at: i128| (0..extent as i128).contains(&at);
                ensure(inside(i128::from(slice.start)) && inside(last), || format!("{slice:?} leaves 0..{extent}"))?;
            }
            Ok(forms(slices.iter().map(|slice| slice.len).collect()))
        }
        Op::Section(axes) => {
            ensure(axes.len() == rank, || format!("{} subscripts of {}", axes.len(), show(s)))?;
            let mut slices = 0;
            for axis in axes {
                match axis {
                    SectionAxis::Slice { step, .. } => {
                        ensure(*step != 0, || "a step is zero".to_owned())?;
                        slices += 1;
                    }
                    SectionAxis::At(_) => {}
                }
            }
            ensure(slices == declared.extents.len(), || {
                format!("{slices} slices make an array of rank {}", declared.extents.len())
            })?;
            Ok((declared.extents.clone(), dtype))
        }
        Op::Index { axis, at } => {
            is_axis(*axis, rank)?;
            let s = a.fixed()?;
            ensure(*at < s[*axis], || format!("index {at} of extent {}", s[*axis]))?;
            Ok(forms(without(&s, &[*axis])))
        }
        Op::Diagonal { offset, axis1, axis2 } => {
            distinct_axes(&[*axis1, *axis2], rank)?;
            let s = a.fixed()?;
            let mut shape = without(&s, &[*axis1, *axis2]);
            shape.push(diagonal_length(s[*axis1], s[*axis2], *offset));
            Ok(forms(shape))
        }
        Op::Flip(axes) => {
            distinct_axes(axes, rank)?;
            a.fixed()?;
            Ok(same())
        }
        Op::Roll { shift, axis } => {
            is_axis(*axis, rank)?;
            let s = a.fixed()?;
            ensure(*shift < s[*axis].max(1), || format!("shift {shift} of extent {}", s[*axis]))?;
            Ok(same())
        }
        Op::Pad { widths, value } => {
            literal(*value, dtype)?;
            ensure(widths.len() == rank, || format!("{} widths of {}", widths.len(), show(s)))?;
            let padded = |(&extent, &(before, after)): (&usize, &(usize, usize))| {
                extent.checked_add(before).and_then(|extent| extent.checked_add(after))
            };
            let shape: Option<Vec<usize>> = a.fixed()?.iter().zip(widths).map(padded).collect();
            Ok(forms(shape.ok_or("a width is too large")?))
        }
        Op::Window { windows } => {
            let axes: Vec<usize> = windows.iter().map(|window| window.0).collect();
            distinct_axes(&axes, rank)?;
            let s = a.fixed()?;
            let mut shape = s.clone();
            for &(axis, extent) in windows {
                ensure(extent >= 1 && extent <= s[axis], || format!("window {extent} of extent {}", s[axis]))?;
                shape[axis] = s[axis] + 1 - extent;
            }
            shape.extend(windows.iter().map(|window| window.1));
            Ok(forms(shape))
        }
        Op::Tril { .. } | Op::Triu { .. } => {
            ensure(rank >= 2, || format!("a triangle of rank {rank}"))?;
            a.fixed()?;
            Ok(same())
        }
        Op::Trace { .. } => {
            ensure(rank >= 2, || format!("a trace of rank {rank}"))?;
            a.fixed()?;
            Ok((s[2..].to_vec(), dtype))
        }
        Op::Reduce { op, axes, order } => {
            sorted_axes(axes, rank)?;
            let (outer, inner) = order.along(axes);
            let mut walked = [outer, inner].concat();
            walked.sort_unstable();
            ensure(walked == *axes, || "an order over other axes".to_owned())?;
            let defined = match op {
                FoldOp::All | FoldOp::Any => dtype == DType::Bool,
                FoldOp::Sum | FoldOp::Prod | FoldOp::Max | FoldOp::Min => true,
            };
            ensure(defined, || format!("{} is not defined on {dtype}", op.name()))?;
            let extreme = matches!(op, FoldOp::Max | FoldOp::Min);
            let empty = axes.iter().any(|&axis| s[axis] == Affine::constant(0));
            ensure(!(extreme && empty), || format!("{} of an empty axis", op.name()))?;
            Ok((without(s, axes), dtype))
        }
        Op::Concat { .. } | Op::Einsum { .. } => variadic(op, &[a]),
        Op::Input(_)
        | Op::State(_)
        | Op::LoopIndex(_)
        | Op::Const(_)
        | Op::Array(_)
        | Op::Arange { .. }
        | Op::Eye { .. }
        | Op::Binary(_)
        | Op::Where
        | Op::MatMul
        | Op::Dot
        | Op::Inner
        | Op::Outer(_)
        | Op::Gather { .. } => Err("it does not take one argument".to_owned()),
    }
}

/// The arguments of a scalar operator agree in dtype, and it is defined there.
fn scalar_operator(op: BinaryOp, a: &LiveType, b: &LiveType) -> Check {
    ensure(a.dtype == b.dtype, || format!("the arguments' dtypes {} and {} differ", a.dtype, b.dtype))?;
    ensure(binary_defined(op, a.dtype), || format!("{} is not defined on {}", op.name(), a.dtype))
}

/// Operators of two arguments.
fn binary(op: &Op, a: &LiveType, b: &LiveType) -> Result<Type, String> {
    let (s, t) = (a.extents.as_slice(), b.extents.as_slice());
    match op {
        Op::Binary(op) => {
            scalar_operator(*op, a, b)?;
            ensure(s == t, || format!("the arguments' shapes {} and {} differ", show(s), show(t)))?;
            Ok((s.to_vec(), op.result(a.dtype)))
        }
        Op::Outer(op) => {
            scalar_operator(*op, a, b)?;
            Ok(([s, t].concat(), op.result(a.dtype)))
        }
        Op::MatMul | Op::Dot | Op::Inner => {
            ensure(a.dtype == b.dtype, || format!("the arguments' dtypes {} and {} differ", a.dtype, b.dtype))?;
            product(op, s, t).map(|shape| (shape, a.dtype))
        }
        Op::Gather { batch } => {
            ensure(b.dtype == DType::I64, || format!("the indices are {}", b.dtype))?;
            let aligned = *batch < s.len() && t.len() >= *batch && s[..*batch] == t[..*batch];
            ensure(aligned, || format!("{} is indexed by {} in {batch} batch axes", show(s), show(t)))?;
            let some = s[*batch].is_constant() && s[*batch].constant > 0;
            ensure(some, || format!("the axis of {} that is indexed may be empty", show(s)))?;
            Ok(([t, &s[*batch + 1..]].concat(), a.dtype))
        }
        Op::Concat { .. } | Op::Einsum { .. } => variadic(op, &[a, b]),
        Op::Input(_)
        | Op::State(_)
        | Op::LoopIndex(_)
        | Op::Const(_)
        | Op::Array(_)
        | Op::Arange { .. }
        | Op::Eye { .. }
        | Op::Unary(_)
        | Op::Where
        | Op::Cast
        | Op::Broadcast
        | Op::Transpose(_)
        | Op::Reshape
        | Op::Slice(_)
        | Op::Section(_)
        | Op::Index { .. }
        | Op::Diagonal { .. }
        | Op::Flip(_)
        | Op::Roll { .. }
        | Op::Pad { .. }
        | Op::Window { .. }
        | Op::Tril { .. }
        | Op::Triu { .. }
        | Op::Trace { .. }
        | Op::Reduce { .. } => Err("it does not take two arguments".to_owned()),
    }
}

/// The shape of a product that contracts one axis of each argument.
fn product(op: &Op, s: &[Affine], t: &[Affine]) -> Result<Vec<Affine>, String> {
    ensure(!s.is_empty() && !t.is_empty(), || "a product needs rank 1 or more".to_owned())?;
    let inner = s.len() - 1;
    let contracted = if matches!(op, Op::Inner) { t.len() - 1 } else { t.len().saturating_sub(2) };
    ensure(s[inner] == t[contracted], || format!("the inner extents of {} and {} differ", show(s), show(t)))?;
    let (left, right) = (&s[..inner], without(t, &[contracted]));
    if !matches!(op, Op::MatMul) {
        return Ok([left, right.as_slice()].concat());
    }
    let (batch_s, row) = left.split_at(left.len().saturating_sub(1));
    let (batch_t, column) = right.split_at(right.len().saturating_sub(1));
    let rank = batch_s.len().max(batch_t.len());
    let mut shape = vec![Affine::constant(1); rank];
    for batch in [batch_s, batch_t] {
        for (common, extent) in shape[rank - batch.len()..].iter_mut().zip(batch) {
            ensure(is_one(common) || is_one(extent) || common == extent, || {
                format!("the batches {} and {} do not broadcast", show(batch_s), show(batch_t))
            })?;
            if is_one(common) {
                common.clone_from(extent);
            }
        }
    }
    Ok([shape.as_slice(), row, column].concat())
}

/// Operators of any number of arguments.
fn variadic(op: &Op, args: &[&LiveType]) -> Result<Type, String> {
    let dtype = args[0].dtype;
    match op {
        Op::Where => {
            let (condition, a, b) = (args[0], args[1], args[2]);
            ensure(condition.dtype == DType::Bool, || format!("the condition is {}", condition.dtype))?;
            ensure(a.dtype == b.dtype, || format!("the arguments' dtypes {} and {} differ", a.dtype, b.dtype))?;
            let agree = condition.extents == a.extents && a.extents == b.extents;
            ensure(agree, || "the arguments' shapes differ".to_owned())?;
            Ok((a.extents.clone(), a.dtype))
        }
        Op::Concat { axis } => {
            let mut shape = args[0].fixed()?;
            is_axis(*axis, shape.len())?;
            ensure(args.iter().all(|arg| arg.dtype == dtype), || "the arguments' dtypes differ".to_owned())?;
            let mut extent = 0_usize;
            for arg in args {
                let own = arg.fixed()?;
                let agree = own.len() == shape.len() && without(&own, &[*axis]) == without(&shape, &[*axis]);
                ensure(agree, || "the arguments' shapes differ outside the axis".to_owned())?;
                extent = extent.checked_add(own[*axis]).ok_or("the axis is too long")?;
            }
            shape[*axis] = extent;
            Ok((constants(&shape), dtype))
        }
        Op::Einsum { inputs, output } => {
            ensure(args.iter().all(|arg| arg.dtype == dtype), || "the arguments' dtypes differ".to_owned())?;
            let mut extents: BTreeMap<usize, Affine> = BTreeMap::new();
            for (labels, arg) in inputs.iter().zip(args) {
                ensure(labels.len() == arg.extents.len(), || format!("{labels:?} label {}", show(&arg.extents)))?;
                for (&label, extent) in labels.iter().zip(&arg.extents) {
                    let known = extents.entry(label).or_insert_with(|| extent.clone());
                    ensure(known == extent || is_one(known) || is_one(extent), || {
                        format!(
                            "label {label} has the extents {} and {}",
                            show(std::slice::from_ref(known)),
                            show(std::slice::from_ref(extent))
                        )
                    })?;
                    if is_one(known) {
                        known.clone_from(extent);
                    }
                }
            }
            let mut shape = Vec::with_capacity(output.len());
            for (at, label) in output.iter().enumerate() {
                ensure(!output[..at].contains(label), || format!("label {label} occurs twice in the result"))?;
                shape.push(extents.get(label).ok_or_else(|| format!("label {label} has no extent"))?.clone());
            }
            Ok((shape, dtype))
        }
        Op::Input(_)
        | Op::State(_)
        | Op::LoopIndex(_)
        | Op::Const(_)
        | Op::Array(_)
        | Op::Arange { .. }
        | Op::Eye { .. }
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Cast
        | Op::Broadcast
        | Op::Transpose(_)
        | Op::Reshape
        | Op::Slice(_)
        | Op::Section(_)
        | Op::Index { .. }
        | Op::Diagonal { .. }
        | Op::Flip(_)
        | Op::Roll { .. }
        | Op::Pad { .. }
        | Op::Window { .. }
        | Op::Tril { .. }
        | Op::Triu { .. }
        | Op::Trace { .. }
        | Op::MatMul
        | Op::Dot
        | Op::Inner
        | Op::Outer(_)
        | Op::Gather { .. }
        | Op::Reduce { .. } => Err(format!("it does not take {} arguments", args.len())),
    }
}
