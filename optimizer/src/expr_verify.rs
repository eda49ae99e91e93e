//! Checks an array program: every node's arguments, shape and dtype against its operator's definition.
//!
//! Input: a [`Program`]. Output: nothing, or the first node that is not well-formed. Shapes and dtypes are computed
//! here from the definitions in [`crate::expr`] alone, sharing no code with the stages that made them.

use crate::dtype::{DType, Literal};
use crate::expr::{Node, NodeId, Op, Program};
use crate::scalar::{BinaryOp, FoldOp, UnaryOp};
use std::collections::BTreeMap;

/// What is wrong with a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A node contradicts its operator's definition.
    #[error("node {node} ({op}): {reason}")]
    Node {
        /// The node.
        node: NodeId,
        /// Its operator.
        op: String,
        /// What does not hold.
        reason: String,
    },
    /// A root is not a node, or there is none.
    #[error("the program's roots {roots:?} are not nodes of it")]
    Roots {
        /// The roots.
        roots: Vec<NodeId>,
    },
}

/// Checks that `program` is well-formed.
///
/// # Errors
/// The first node, in order, that is not.
pub fn verify(program: &Program) -> Result<(), VerifyError> {
    for (id, node) in program.nodes.iter().enumerate() {
        check_node(program, id, node).map_err(|reason| VerifyError::Node {
            node: id,
            op: format!("{:?}", node.op),
            reason,
        })?;
    }
    let roots_exist = program.roots.iter().all(|&root| root < program.nodes.len());
    if program.roots.is_empty() || !roots_exist || (program.roots.len() > 1 && !program.returns_tuple) {
        return Err(VerifyError::Roots { roots: program.roots.clone() });
    }
    Ok(())
}

/// What holds of a node, or why it does not.
type Check = Result<(), String>;

fn ensure(holds: bool, reason: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(reason()) }
}

fn check_node(program: &Program, id: NodeId, node: &Node) -> Check {
    ensure(node.args.iter().all(|&arg| arg < id), || format!("its arguments {:?} do not all come before", node.args))?;
    let args: Vec<&Node> = node.args.iter().map(|&arg| &program.nodes[arg]).collect();
    ensure(DType::SUPPORTED.contains(&node.dtype), || format!("the dtype {} is not supported", node.dtype))?;
    check_arity(&node.op, args.len())?;
    let (shape, dtype) = match (&node.op, args.as_slice()) {
        (Op::Input(at), _) => {
            let param = program.params.get(*at).ok_or_else(|| format!("there is no parameter {at}"))?;
            (param.shape.clone(), param.dtype)
        }
        (_, []) => nullary(node)?,
        (op, [a]) => unary(op, a, node)?,
        (op, [a, b]) => binary(op, a, b)?,
        (op, args) => variadic(op, args)?,
    };
    ensure(shape == node.shape, || format!("the shape is {:?}, not {:?}", shape, node.shape))?;
    ensure(dtype == node.dtype, || format!("the dtype is {dtype}, not {}", node.dtype))
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
        Op::Binary(_) | Op::MatMul | Op::Dot | Op::Inner | Op::Outer(_) => 2,
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

/// A shape and a dtype.
type Type = (Vec<usize>, DType);

fn nullary(node: &Node) -> Result<Type, String> {
    match &node.op {
        Op::State(_) | Op::LoopIndex(_) => Err("it stands outside a loop".to_owned()),
        Op::Const(value) => {
            literal(*value, node.dtype)?;
            Ok((Vec::new(), node.dtype))
        }
        Op::Array(values) => {
            values.iter().try_for_each(|value| literal(*value, node.dtype))?;
            ensure(values.len() == node.size(), || format!("{} literals fill {:?}", values.len(), node.shape))?;
            Ok((node.shape.clone(), node.dtype))
        }
        Op::Arange { start, step } => {
            literal(*start, node.dtype)?;
            literal(*step, node.dtype)?;
            ensure(node.shape.len() == 1, || "arange has rank 1".to_owned())?;
            ensure(node.dtype != DType::Bool, || "arange has no bools".to_owned())?;
            Ok((node.shape.clone(), node.dtype))
        }
        Op::Eye { .. } => {
            ensure(node.shape.len() == 2, || "eye has rank 2".to_owned())?;
            Ok((node.shape.clone(), node.dtype))
        }
        Op::Einsum { .. } => Err("einsum has no arguments".to_owned()),
        Op::Input(_)
        | Op::Unary(_)
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

fn without(shape: &[usize], axes: &[usize]) -> Vec<usize> {
    shape.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, &extent)| extent).collect()
}

fn is_axis(axis: usize, shape: &[usize]) -> Check {
    ensure(axis < shape.len(), || format!("axis {axis} of rank {}", shape.len()))
}

fn distinct_axes(axes: &[usize], shape: &[usize]) -> Check {
    axes.iter().enumerate().try_for_each(|(at, &axis)| {
        is_axis(axis, shape)?;
        ensure(!axes[..at].contains(&axis), || format!("axis {axis} occurs twice"))
    })
}

fn sorted_axes(axes: &[usize], shape: &[usize]) -> Check {
    distinct_axes(axes, shape)?;
    ensure(axes.is_sorted(), || format!("the axes {axes:?} are not sorted"))
}

/// Extent of a diagonal of a `rows` × `columns` matrix.
fn diagonal(rows: usize, columns: usize, offset: i64) -> usize {
    let (mut rows, mut columns) = (rows as i128, columns as i128);
    if offset < 0 {
        rows += i128::from(offset);
    } else {
        columns -= i128::from(offset);
    }
    usize::try_from(rows.min(columns).max(0)).unwrap_or(0)
}

/// Operators of one argument.
fn unary(op: &Op, a: &Node, node: &Node) -> Result<Type, String> {
    let (s, dtype) = (a.shape.as_slice(), a.dtype);
    let same = || (s.to_vec(), dtype);
    match op {
        Op::Unary(op) => {
            let defined = match op {
                UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Sign => dtype != DType::Bool,
                UnaryOp::Not => !dtype.is_float(),
                UnaryOp::Sqrt
                | UnaryOp::Exp
                | UnaryOp::Log
                | UnaryOp::Sin
                | UnaryOp::Cos
                | UnaryOp::Tanh
                | UnaryOp::Erf
                | UnaryOp::Floor => dtype.is_float(),
            };
            ensure(defined, || format!("{} is not defined on {dtype}", op.name()))?;
            Ok(same())
        }
        Op::Cast => Ok((s.to_vec(), node.dtype)),
        Op::Broadcast => {
            let lead = node.shape.len().checked_sub(s.len()).ok_or("a broadcast loses axes")?;
            let fits = s.iter().zip(&node.shape[lead..]).all(|(&own, &target)| own == target || own == 1);
            ensure(fits, || format!("{s:?} does not broadcast to {:?}", node.shape))?;
            Ok((node.shape.clone(), dtype))
        }
        Op::Reshape => {
            ensure(a.size() == node.size(), || format!("{s:?} has no reshape to {:?}", node.shape))?;
            Ok((node.shape.clone(), dtype))
        }
        Op::Transpose(axes) => {
            distinct_axes(axes, s)?;
            ensure(axes.len() == s.len(), || format!("{axes:?} does not permute {s:?}"))?;
            Ok((axes.iter().map(|&axis| s[axis]).collect(), dtype))
        }
        Op::Slice(slices) => {
            ensure(slices.len() == s.len(), || format!("{} slices of {s:?}", slices.len()))?;
            for (slice, &extent) in slices.iter().zip(s) {
                ensure(slice.step != 0, || "a step is zero".to_owned())?;
                let Some(steps) = slice.len.checked_sub(1) else { continue };
                let last = i128::from(slice.start) + i128::from(slice.step) * steps as i128;
                let inside = |at: i128| (0..extent as i128).contains(&at);
                ensure(inside(i128::from(slice.start)) && inside(last), || format!("{slice:?} leaves 0..{extent}"))?;
            }
            Ok((slices.iter().map(|slice| slice.len).collect(), dtype))
        }
        Op::Index { axis, at } => {
            is_axis(*axis, s)?;
            ensure(*at < s[*axis], || format!("index {at} of extent {}", s[*axis]))?;
            Ok((without(s, &[*axis]), dtype))
        }
        Op::Diagonal { offset, axis1, axis2 } => {
            distinct_axes(&[*axis1, *axis2], s)?;
            let mut shape = without(s, &[*axis1, *axis2]);
            shape.push(diagonal(s[*axis1], s[*axis2], *offset));
            Ok((shape, dtype))
        }
        Op::Flip(axes) => {
            distinct_axes(axes, s)?;
            Ok(same())
        }
        Op::Roll { shift, axis } => {
            is_axis(*axis, s)?;
            ensure(*shift < s[*axis], || format!("shift {shift} of extent {}", s[*axis]))?;
            Ok(same())
        }
        Op::Pad { widths, value } => {
            literal(*value, dtype)?;
            ensure(widths.len() == s.len(), || format!("{} widths of {s:?}", widths.len()))?;
            Ok((s.iter().zip(widths).map(|(&extent, &(before, after))| before + extent + after).collect(), dtype))
        }
        Op::Window { windows } => {
            let axes: Vec<usize> = windows.iter().map(|window| window.0).collect();
            distinct_axes(&axes, s)?;
            let mut shape = s.to_vec();
            for &(axis, extent) in windows {
                ensure(extent >= 1 && extent <= s[axis], || format!("window {extent} of extent {}", s[axis]))?;
                shape[axis] = s[axis] + 1 - extent;
            }
            shape.extend(windows.iter().map(|window| window.1));
            Ok((shape, dtype))
        }
        Op::Tril { .. } | Op::Triu { .. } => {
            ensure(s.len() >= 2, || format!("a triangle of rank {}", s.len()))?;
            Ok(same())
        }
        Op::Trace { .. } => {
            ensure(s.len() >= 2, || format!("a trace of rank {}", s.len()))?;
            Ok((s[2..].to_vec(), dtype))
        }
        Op::Reduce { op, axes } => {
            sorted_axes(axes, s)?;
            let defined = match op {
                FoldOp::All | FoldOp::Any => dtype == DType::Bool,
                FoldOp::Sum | FoldOp::Prod | FoldOp::Max | FoldOp::Min => true,
            };
            ensure(defined, || format!("{} is not defined on {dtype}", op.name()))?;
            let extreme = matches!(op, FoldOp::Max | FoldOp::Min);
            let empty = axes.iter().any(|&axis| s[axis] == 0);
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
        | Op::Section(_)
        | Op::Binary(_)
        | Op::Where
        | Op::MatMul
        | Op::Dot
        | Op::Inner
        | Op::Outer(_) => Err("it does not take one argument".to_owned()),
    }
}

/// The arguments of a scalar operator agree in dtype, and it is defined there.
fn scalar_operator(op: BinaryOp, a: &Node, b: &Node) -> Check {
    ensure(a.dtype == b.dtype, || format!("the arguments' dtypes {} and {} differ", a.dtype, b.dtype))?;
    let dtype = a.dtype;
    let defined = match op {
        BinaryOp::Add
        | BinaryOp::Mul
        | BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge => true,
        BinaryOp::Sub | BinaryOp::FloorDiv | BinaryOp::Mod | BinaryOp::Pow | BinaryOp::Minimum | BinaryOp::Maximum => {
            dtype != DType::Bool
        }
        BinaryOp::Div => dtype.is_float(),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => !dtype.is_float(),
        BinaryOp::Shl | BinaryOp::Shr => dtype.is_int(),
    };
    ensure(defined, || format!("{} is not defined on {dtype}", op.name()))
}

/// Operators of two arguments.
fn binary(op: &Op, a: &Node, b: &Node) -> Result<Type, String> {
    let (s, t) = (a.shape.as_slice(), b.shape.as_slice());
    match op {
        Op::Binary(op) => {
            scalar_operator(*op, a, b)?;
            ensure(s == t, || format!("the arguments' shapes {s:?} and {t:?} differ"))?;
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
fn product(op: &Op, s: &[usize], t: &[usize]) -> Result<Vec<usize>, String> {
    ensure(!s.is_empty() && !t.is_empty(), || "a product needs rank 1 or more".to_owned())?;
    let inner = s.len() - 1;
    let contracted = if matches!(op, Op::Inner) { t.len() - 1 } else { t.len().saturating_sub(2) };
    ensure(s[inner] == t[contracted], || format!("the inner extents of {s:?} and {t:?} differ"))?;
    let (left, right) = (&s[..inner], without(t, &[contracted]));
    if !matches!(op, Op::MatMul) {
        return Ok([left, right.as_slice()].concat());
    }
    let (batch_s, row) = left.split_at(left.len().saturating_sub(1));
    let (batch_t, column) = right.split_at(right.len().saturating_sub(1));
    let rank = batch_s.len().max(batch_t.len());
    let mut shape = vec![1; rank];
    for batch in [batch_s, batch_t] {
        for (common, &extent) in shape[rank - batch.len()..].iter_mut().zip(batch) {
            ensure(*common == 1 || extent == 1 || *common == extent, || {
                format!("the batches {batch_s:?} and {batch_t:?} do not broadcast")
            })?;
            if *common == 1 {
                *common = extent;
            }
        }
    }
    Ok([shape.as_slice(), row, column].concat())
}

/// Operators of any number of arguments.
fn variadic(op: &Op, args: &[&Node]) -> Result<Type, String> {
    let dtype = args[0].dtype;
    match op {
        Op::Where => {
            let (condition, a, b) = (args[0], args[1], args[2]);
            ensure(condition.dtype == DType::Bool, || format!("the condition is {}", condition.dtype))?;
            ensure(a.dtype == b.dtype, || format!("the arguments' dtypes {} and {} differ", a.dtype, b.dtype))?;
            ensure(condition.shape == a.shape && a.shape == b.shape, || "the arguments' shapes differ".to_owned())?;
            Ok((a.shape.clone(), a.dtype))
        }
        Op::Concat { axis } => {
            let mut shape = args[0].shape.clone();
            is_axis(*axis, &shape)?;
            ensure(args.iter().all(|arg| arg.dtype == dtype), || "the arguments' dtypes differ".to_owned())?;
            let agree = args.iter().all(|arg| {
                arg.shape.len() == shape.len() && without(&arg.shape, &[*axis]) == without(&shape, &[*axis])
            });
            ensure(agree, || "the arguments' shapes differ outside the axis".to_owned())?;
            shape[*axis] = args.iter().map(|arg| arg.shape[*axis]).sum();
            Ok((shape, dtype))
        }
        Op::Einsum { inputs, output } => {
            ensure(args.iter().all(|arg| arg.dtype == dtype), || "the arguments' dtypes differ".to_owned())?;
            let mut extents: BTreeMap<usize, usize> = BTreeMap::new();
            for (labels, arg) in inputs.iter().zip(args) {
                ensure(labels.len() == arg.shape.len(), || format!("{labels:?} label {:?}", arg.shape))?;
                for (&label, &extent) in labels.iter().zip(&arg.shape) {
                    let known = *extents.entry(label).or_insert(extent);
                    ensure(known == extent, || format!("label {label} has the extents {known} and {extent}"))?;
                }
            }
            let mut shape = Vec::with_capacity(output.len());
            for (at, label) in output.iter().enumerate() {
                ensure(!output[..at].contains(label), || format!("label {label} occurs twice in the result"))?;
                shape.push(*extents.get(label).ok_or_else(|| format!("label {label} has no extent"))?);
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
        | Op::Reduce { .. } => Err(format!("it does not take {} arguments", args.len())),
    }
}
