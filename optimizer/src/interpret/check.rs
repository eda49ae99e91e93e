//! The shape and dtype rule of every operator: what the interpreter demands of a program before it
//! evaluates it, so that a malformed one is an error and not a panic.

use crate::dtype::DType;
use crate::expr::{Op, Program};
use crate::scalar::FoldOp;
use crate::scalar_eval::{binary_defined, unary_defined};
use std::collections::BTreeMap;

/// A shape and an element type.
pub type ArrayType = (Vec<usize>, DType);

/// The type of `op` applied to arguments of types `args`. `declared` is the node's own type, which
/// decides where the operator leaves it open (constants, `Cast`, `Broadcast`, `Reshape`, …).
///
/// # Errors
/// What is wrong with the arguments, as a clause: `` `sqrt` is not defined on i32 ``.
pub fn result_type(op: &Op, args: &[ArrayType], declared: &ArrayType) -> Result<ArrayType, String> {
    let arity = match op {
        Op::Input(_)
        | Op::State(_)
        | Op::LoopIndex(_)
        | Op::Const(_)
        | Op::Array(_)
        | Op::Arange { .. }
        | Op::Eye { .. } => Some(0),
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
        | Op::Reduce { .. } => Some(1),
        Op::Binary(_) | Op::MatMul | Op::Dot | Op::Inner | Op::Outer(_) => Some(2),
        Op::Where => Some(3),
        Op::Concat { .. } => None,
        Op::Einsum { inputs, .. } => Some(inputs.len()),
    };
    if arity.is_some_and(|arity| arity != args.len()) || args.is_empty() && arity != Some(0) {
        return Err(format!("takes {} arguments, found {}", arity.unwrap_or(1), args.len()));
    }
    // Arguments that must agree in type, from the given one on.
    let same_dtype = |from: usize| match args[from..].iter().find(|arg| arg.1 != args[from].1) {
        Some(other) => Err(format!("arguments of types {} and {}", args[from].1, other.1)),
        None => Ok(args[from].1),
    };
    let (shape, dtype) = args.first().map_or((&[][..], declared.1), |arg| (arg.0.as_slice(), arg.1));
    let rank = shape.len();
    let on_axis = |axis: usize| if axis < rank { Ok(axis) } else { Err(format!("axis {axis} of rank {rank}")) };
    let without = |axes: &[usize]| -> Vec<usize> {
        (0..rank).filter(|axis| !axes.contains(axis)).map(|axis| shape[axis]).collect()
    };
    match op {
        Op::Input(_) | Op::Const(_) => Ok(declared.clone()),
        Op::State(_) | Op::LoopIndex(_) | Op::Section(_) => Err("stands outside a loop".to_owned()),
        Op::Array(elements) if elements.len() == declared.0.iter().product::<usize>() => Ok(declared.clone()),
        Op::Array(elements) => Err(format!("{} elements for shape {:?}", elements.len(), declared.0)),
        Op::Arange { .. } => expect_rank(declared, 1),
        Op::Eye { .. } => expect_rank(declared, 2),
        Op::Unary(op) if !unary_defined(*op, dtype) => Err(format!("`{}` is not defined on {dtype}", op.name())),
        Op::Unary(_) => Ok(args[0].clone()),
        Op::Binary(op) => {
            let dtype = same_dtype(0)?;
            if !binary_defined(*op, dtype) {
                return Err(format!("`{}` is not defined on {dtype}", op.name()));
            }
            if args[1].0 != shape {
                return Err(format!("arguments of shapes {shape:?} and {:?}", args[1].0));
            }
            Ok((shape.to_vec(), if op.is_comparison() { DType::Bool } else { dtype }))
        }
        Op::Where => {
            let result = same_dtype(1)?;
            if dtype != DType::Bool || args.iter().any(|arg| arg.0 != shape) {
                return Err(format!("a {dtype} condition, shapes {shape:?}, {:?}, {:?}", args[1].0, args[2].0));
            }
            Ok((shape.to_vec(), result))
        }
        Op::Cast => Ok((shape.to_vec(), declared.1)),
        Op::Broadcast => {
            let stretches = declared.0.len() >= rank
                && shape.iter().rev().zip(declared.0.iter().rev()).all(|(from, to)| from == to || *from == 1);
            if stretches {
                Ok((declared.0.clone(), dtype))
            } else {
                Err(format!("{shape:?} does not stretch to {:?}", declared.0))
            }
        }
        Op::Transpose(axes) => {
            let mut sorted = axes.clone();
            sorted.sort_unstable();
            if sorted.into_iter().eq(0..rank) {
                Ok((axes.iter().map(|&axis| shape[axis]).collect(), dtype))
            } else {
                Err(format!("{axes:?} is no permutation of {rank} axes"))
            }
        }
        Op::Reshape if shape.iter().product::<usize>() == declared.0.iter().product::<usize>() => {
            Ok((declared.0.clone(), dtype))
        }
        Op::Reshape => Err(format!("{shape:?} cannot be reshaped to {:?}", declared.0)),
        Op::Slice(slices) => {
            if slices.len() != rank {
                return Err(format!("{} slices for rank {rank}", slices.len()));
            }
            for (slice, &extent) in slices.iter().zip(shape) {
                let last = slice.start.checked_add((slice.len.max(1) - 1).cast_signed() as i64 * slice.step);
                let inside = |at: i64| at >= 0 && at.cast_unsigned() < extent as u64;
                if slice.len > 0 && !(inside(slice.start) && last.is_some_and(inside)) {
                    return Err(format!("{slice:?} leaves an axis of {extent}"));
                }
            }
            Ok((slices.iter().map(|slice| slice.len).collect(), dtype))
        }
        Op::Index { axis, at } => {
            let extent = shape[on_axis(*axis)?];
            if *at < extent {
                Ok((without(&[*axis]), dtype))
            } else {
                Err(format!("index {at} of an axis of {extent}"))
            }
        }
        Op::Diagonal { offset, axis1, axis2 } => {
            let (rows, columns) = (shape[on_axis(*axis1)?], shape[on_axis(*axis2)?]);
            if axis1 == axis2 {
                return Err(format!("axis {axis1} twice"));
            }
            let mut result = without(&[*axis1, *axis2]);
            result.push(diagonal_length(rows, columns, *offset));
            Ok((result, dtype))
        }
        Op::Flip(axes) => axes.iter().try_for_each(|axis| on_axis(*axis).map(|_| ())).map(|()| args[0].clone()),
        Op::Roll { shift, axis } => {
            let extent = shape[on_axis(*axis)?];
            if *shift < extent.max(1) {
                Ok(args[0].clone())
            } else {
                Err(format!("shift {shift} of an axis of {extent}"))
            }
        }
        Op::Pad { widths, .. } if widths.len() == rank => {
            Ok((shape.iter().zip(widths).map(|(extent, (before, after))| before + extent + after).collect(), dtype))
        }
        Op::Pad { widths, .. } => Err(format!("{} widths for rank {rank}", widths.len())),
        Op::Concat { axis } => {
            let (axis, dtype) = (on_axis(*axis)?, same_dtype(0)?);
            let mut result = shape.to_vec();
            result[axis] = 0;
            for (other, _) in args {
                if other.len() != rank || (0..rank).any(|at| at != axis && other[at] != shape[at]) {
                    return Err(format!("arguments of shapes {shape:?} and {other:?}"));
                }
                result[axis] += other[axis];
            }
            Ok((result, dtype))
        }
        Op::Window { windows } => {
            let mut result = shape.to_vec();
            for &(axis, extent) in windows {
                let left = &mut result[on_axis(axis)?];
                if extent == 0 || extent > *left {
                    return Err(format!("a window of {extent} on an axis of {left}"));
                }
                *left = *left + 1 - extent;
            }
            result.extend(windows.iter().map(|window| window.1));
            Ok((result, dtype))
        }
        Op::Tril { .. } | Op::Triu { .. } if rank >= 2 => Ok(args[0].clone()),
        Op::Trace { .. } if rank >= 2 => Ok((shape[2..].to_vec(), dtype)),
        Op::Tril { .. } | Op::Triu { .. } | Op::Trace { .. } => Err(format!("needs rank 2 or more, found {rank}")),
        Op::MatMul | Op::Dot | Op::Inner => {
            let (dtype, labels) = (same_dtype(0)?, product_labels(op, rank, args[1].0.len())?);
            let (inputs, output) = labels;
            einsum_shape(args, &inputs, &output, matches!(op, Op::MatMul)).map(|shape| (shape, dtype))
        }
        Op::Outer(op) => {
            let dtype = same_dtype(0)?;
            if !binary_defined(*op, dtype) {
                return Err(format!("`{}` is not defined on {dtype}", op.name()));
            }
            Ok(([shape, &args[1].0].concat(), if op.is_comparison() { DType::Bool } else { dtype }))
        }
        Op::Einsum { inputs, output } => {
            let dtype = same_dtype(0)?;
            einsum_shape(args, inputs, output, true).map(|shape| (shape, dtype))
        }
        Op::Reduce { op, axes } => {
            let increasing = axes.windows(2).all(|pair| pair[0] < pair[1]);
            if !increasing || axes.iter().any(|axis| *axis >= rank) {
                return Err(format!("axes {axes:?} of rank {rank}"));
            }
            if matches!(op, FoldOp::All | FoldOp::Any) && dtype != DType::Bool {
                return Err(format!("`{}` is not defined on {dtype}", op.name()));
            }
            Ok((without(axes), dtype))
        }
    }
}

fn expect_rank(declared: &ArrayType, rank: usize) -> Result<ArrayType, String> {
    if declared.0.len() == rank {
        Ok(declared.clone())
    } else {
        Err(format!("has rank {rank}, declared {:?}", declared.0))
    }
}

/// Number of elements on a diagonal.
pub(super) fn diagonal_length(rows: usize, columns: usize, offset: i64) -> usize {
    let cut = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
    if offset >= 0 { rows.min(columns.saturating_sub(cut)) } else { columns.min(rows.saturating_sub(cut)) }
}

/// Einsum labels of `matmul`, `dot` or `inner` on arrays of these ranks: inputs and output. 0 is the
/// summed label.
pub(super) fn product_labels(op: &Op, left: usize, right: usize) -> Result<(Vec<Vec<usize>>, Vec<usize>), String> {
    if left == 0 || right == 0 {
        return Err(format!("needs arrays of rank 1 or more, found {left} and {right}"));
    }
    if matches!(op, Op::MatMul) {
        // Batch axes are counted from the right, so that they align.
        let batch = |rank: usize| (3..rank.saturating_sub(2) + 3).rev().collect::<Vec<usize>>();
        let (a, b) = (batch(left), batch(right));
        let rows: &[usize] = if left > 1 { &[1] } else { &[] };
        let columns: &[usize] = if right > 1 { &[2] } else { &[] };
        let longer = if a.len() > b.len() { &a } else { &b };
        let output = [longer.as_slice(), rows, columns].concat();
        return Ok((vec![[a.as_slice(), rows, &[0]].concat(), [b.as_slice(), &[0], columns].concat()], output));
    }
    let (a, b): (Vec<usize>, Vec<usize>) = ((1..left).collect(), (left..left + right - 1).collect());
    let mut second = b.clone();
    second.insert(if matches!(op, Op::Dot) { right.saturating_sub(2) } else { right - 1 }, 0);
    Ok((vec![[a.as_slice(), &[0]].concat(), second], [a, b].concat()))
}

/// The shape of an einsum. `stretch`: extents of 1 broadcast (not on the label 0 of a product).
fn einsum_shape(
    args: &[ArrayType],
    inputs: &[Vec<usize>],
    output: &[usize],
    stretch: bool,
) -> Result<Vec<usize>, String> {
    let mut extents: BTreeMap<usize, usize> = BTreeMap::new();
    for ((shape, _), labels) in args.iter().zip(inputs) {
        if shape.len() != labels.len() {
            return Err(format!("{} labels for shape {shape:?}", labels.len()));
        }
        for (&label, &extent) in labels.iter().zip(shape) {
            let known = extents.entry(label).or_insert(extent);
            if *known != extent && !(stretch && (*known == 1 || extent == 1)) {
                return Err(format!("extents {known} and {extent} meet"));
            }
            *known = if *known == 1 { extent } else { *known };
        }
    }
    let mut seen = Vec::new();
    let mut shape = Vec::new();
    for label in output {
        let extent = extents.get(label).ok_or_else(|| format!("label {label} of the result occurs in no argument"))?;
        if seen.contains(label) {
            return Err(format!("label {label} of the result occurs twice"));
        }
        seen.push(*label);
        shape.push(*extent);
    }
    Ok(shape)
}

/// Checks every node of a program: argument order, parameters, shapes, dtypes.
///
/// # Errors
/// The first offending node and what is wrong with it.
pub fn check_program(program: &Program) -> Result<(), (usize, String)> {
    for (id, node) in program.nodes.iter().enumerate() {
        if node.args.iter().any(|arg| *arg >= id) {
            return Err((id, "an argument does not come before its user".into()));
        }
        let args: Vec<ArrayType> =
            node.args.iter().map(|&arg| (program.nodes[arg].shape.clone(), program.nodes[arg].dtype)).collect();
        let declared = (node.shape.clone(), node.dtype);
        if let Op::Input(index) = node.op {
            let param = program.params.get(index).ok_or((id, format!("no parameter {index}")))?;
            if param.shape != node.shape || param.dtype != node.dtype {
                return Err((id, format!("parameter `{}` is {}{:?}", param.name, param.dtype, param.shape)));
            }
        }
        let found = result_type(&node.op, &args, &declared).map_err(|reason| (id, reason))?;
        if found != declared {
            return Err((id, format!("is {}{:?}, declared {}{:?}", found.1, found.0, declared.1, declared.0)));
        }
        if !DType::SUPPORTED.contains(&node.dtype) {
            return Err((id, format!("type {} is not supported yet", node.dtype)));
        }
    }
    match program.roots.iter().find(|root| **root >= program.nodes.len()) {
        Some(root) => Err((*root, "is a result but no node".into())),
        None => Ok(()),
    }
}
