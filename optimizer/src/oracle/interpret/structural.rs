//! Operators that move elements and compute none: views, and copies into a larger array.

use super::arange_float;
use super::value::{Numbers, Row, Store, Value, for_strided_rows, row_major};
use crate::integer::affine::Affine;
use crate::program::expr::{Op, SectionAxis, SliceAxis};
use crate::program::types::diagonal_length;
use crate::value::dtype::{DType, Literal};
use crate::value::numerics::Numerics;

/// An array of literals, `element(i)` at row-major offset i.
pub(super) fn filled(dtype: DType, shape: &[usize], element: impl Fn(usize) -> Literal) -> Value {
    let size = shape.iter().product();
    let literals = (0..size).map(|i| element(i).at(dtype));
    if dtype.is_float() {
        Value::floats(dtype, shape, literals.map(Literal::as_f64).collect())
    } else {
        Value::ints(dtype, shape, literals.map(|literal| literal.as_i64().unwrap_or(0)).collect())
    }
}

/// `start + step·i`.
pub(super) fn arange(dtype: DType, extent: usize, start: Literal, step: Literal, numerics: Numerics) -> Value {
    if !dtype.is_float() {
        let (start, step) = (start.as_i64().unwrap_or(0), step.as_i64().unwrap_or(0));
        let element =
            |i: usize| crate::value::scalar_eval::wrap(dtype, start.wrapping_add(step.wrapping_mul(i as i64)));
        return Value::ints(dtype, &[extent], (0..extent).map(element).collect());
    }
    let element = |i| arange_float(dtype, super::reduce::count(i), start.as_f64(), step.as_f64(), numerics);
    let (floats, bound): (Vec<f64>, Vec<f64>) = (0..extent).map(element).unzip();
    let bound = bound.iter().any(|b| *b > 0.0).then_some(bound);
    Value::new(dtype, &[extent], Store::new(Numbers::Float(floats), bound))
}

/// 1 where `column = row + k`.
pub(super) fn eye(dtype: DType, shape: &[usize], k: i64) -> Value {
    let columns = shape[1].max(1);
    let one = |i: usize| Literal::Int(i64::from((i % columns) as i64 == (i / columns) as i64 + k));
    filled(dtype, shape, one)
}

/// Trailing axes aligned, extents of 1 stretched.
pub(super) fn broadcast(a: &Value, shape: &[usize]) -> Value {
    let new = shape.len() - a.shape.len();
    let stride = |axis: usize| {
        if axis < new || a.shape[axis - new] != shape[axis] { 0 } else { a.strides[axis - new] }
    };
    a.view(shape.to_vec(), (0..shape.len()).map(stride).collect(), a.offset)
}

/// Result axis j is `a`'s axis `axes[j]`.
pub(super) fn transpose(a: &Value, axes: &[usize]) -> Value {
    let shape = axes.iter().map(|&axis| a.shape[axis]).collect();
    a.view(shape, axes.iter().map(|&axis| a.strides[axis]).collect(), a.offset)
}

/// Indices `start + step·i` on every axis.
pub(super) fn slice(a: &Value, slices: &[SliceAxis]) -> Value {
    let steps = slices.iter().zip(&a.strides);
    let empty = slices.iter().any(|slice| slice.len == 0);
    let offset: isize = steps.clone().map(|(slice, stride)| slice.start as isize * stride).sum();
    let shape = slices.iter().map(|slice| slice.len).collect();
    let strides = steps.map(|(slice, stride)| slice.step as isize * stride).collect();
    a.view(shape, strides, if empty { a.offset } else { a.offset + offset })
}

/// Indices `at(start) + step·i` of the axes that stay, as many as `shape` says, and one of the others.
pub(super) fn section(a: &Value, axes: &[SectionAxis], shape: &[usize], at: impl Fn(&Affine) -> i64) -> Value {
    let mut strides = Vec::with_capacity(shape.len());
    let mut offset = 0_isize;
    for (axis, stride) in axes.iter().zip(&a.strides) {
        let first = match axis {
            SectionAxis::At(form) => form,
            SectionAxis::Slice { start, step } => {
                strides.push(*step as isize * stride);
                start
            }
        };
        offset += at(first) as isize * stride;
    }
    let empty = shape.contains(&0);
    a.view(shape.to_vec(), strides, if empty { a.offset } else { a.offset + offset })
}

/// One position of one axis.
pub(super) fn index(a: &Value, axis: usize, at: usize) -> Value {
    let (mut shape, mut strides) = (a.shape.clone(), a.strides.clone());
    shape.remove(axis);
    let stride = strides.remove(axis);
    a.view(shape, strides, a.offset + at.cast_signed() * stride)
}

/// The diagonal of two axes, which go; it comes last.
pub(super) fn diagonal(a: &Value, offset: i64, axis1: usize, axis2: usize) -> Value {
    let length = diagonal_length(a.shape[axis1], a.shape[axis2], offset);
    let kept: Vec<usize> = (0..a.shape.len()).filter(|&axis| axis != axis1 && axis != axis2).collect();
    let mut shape: Vec<usize> = kept.iter().map(|&axis| a.shape[axis]).collect();
    let mut strides: Vec<isize> = kept.iter().map(|&axis| a.strides[axis]).collect();
    shape.push(length);
    strides.push(a.strides[axis1] + a.strides[axis2]);
    let first = offset as isize * if offset >= 0 { a.strides[axis2] } else { -a.strides[axis1] };
    a.view(shape, strides, if length == 0 { a.offset } else { a.offset + first })
}

/// Axes read backwards.
pub(super) fn flip(a: &Value, axes: &[usize]) -> Value {
    let mut flipped = a.clone();
    for &axis in axes.iter().filter(|&&axis| a.shape[axis] > 0) {
        flipped.offset += (a.shape[axis] - 1).cast_signed() * flipped.strides[axis];
        flipped.strides[axis] = -flipped.strides[axis];
    }
    flipped
}

/// Window dimensions appended to the shortened axes.
pub(super) fn window(a: &Value, windows: &[(usize, usize)]) -> Value {
    let (mut shape, mut strides) = (a.shape.clone(), a.strides.clone());
    for &(axis, extent) in windows {
        shape[axis] = shape[axis] + 1 - extent;
        shape.push(extent);
        strides.push(a.strides[axis]);
    }
    a.view(shape, strides, a.offset)
}

/// `a` of shape b ⧺ ⟨n⟩ ⧺ c indexed by integers of shape b ⧺ k, each taken to the nearest in `0 .. n`. `None` if they
/// are no integers.
pub(super) fn gather(a: &Value, indices: &Value, batch: usize) -> Option<Value> {
    let (a, indices) = (a.contiguous(), indices.contiguous());
    let Numbers::Int(all) = &indices.store.numbers else { return None };
    let extent = a.shape[batch];
    let inner: usize = a.shape[batch + 1..].iter().product();
    let outer: usize = a.shape[..batch].iter().product();
    let each = indices.size() / outer.max(1);
    let last = i64::try_from(extent).unwrap_or(i64::MAX) - 1;
    let first = indices.offset.cast_unsigned();
    let mut offsets = Vec::with_capacity(indices.size() * inner);
    for (at, &index) in all[first..first + indices.size()].iter().enumerate() {
        let row = usize::try_from(index.min(last).max(0)).ok()?;
        let start = a.offset.cast_unsigned() + (at / each.max(1) * extent + row) * inner;
        offsets.extend(start..start + inner);
    }
    let pick = |all: &[f64]| offsets.iter().map(|&at| all[at]).collect::<Vec<f64>>();
    let numbers = match &a.store.numbers {
        Numbers::Int(all) => Numbers::Int(offsets.iter().map(|&at| all[at]).collect()),
        Numbers::Float(all) => Numbers::Float(pick(all)),
    };
    let (bound, magnitude) = (a.store.bound.as_deref().map(pick), a.store.magnitude.as_deref().map(pick));
    let additions = a.store.additions.as_deref().map(pick);
    let shape: Vec<usize> = indices.shape.iter().chain(&a.shape[batch + 1..]).copied().collect();
    let picked = Value::new(a.dtype, &shape, Store { numbers, bound, magnitude, additions });
    Some(Value { terms: a.terms, contraction: a.contraction, ..picked })
}

/// Result index i reads `(i − shift) mod extent`.
pub(super) fn roll(a: &Value, shift: usize, axis: usize) -> Option<Value> {
    let extent = a.shape[axis];
    let part = |from: usize, len: usize| {
        let whole = a.shape.iter().map(|&len| SliceAxis { start: 0, step: 1, len });
        let mut slices: Vec<SliceAxis> = whole.collect();
        slices[axis] = SliceAxis { start: from as i64, step: 1, len };
        slice(a, &slices)
    };
    concatenate(&[part(extent - shift, shift), part(0, extent - shift)], &a.shape, axis)
}

/// `a` within a border of `value`.
pub(super) fn pad(a: &Value, widths: &[(usize, usize)], value: Literal) -> Value {
    let shape: Vec<usize> =
        a.shape.iter().zip(widths).map(|(extent, (before, after))| before + extent + after).collect();
    let start = widths.iter().map(|width| width.0).collect();
    place(a.dtype, &shape, value, &[(a, start)])
}

/// Arrays one after the other along an axis.
pub(super) fn concatenate(args: &[Value], shape: &[usize], axis: usize) -> Option<Value> {
    let mut position = 0;
    let mut parts = Vec::with_capacity(args.len());
    for arg in args {
        let mut start = vec![0; shape.len()];
        start[axis] = position;
        position += arg.shape[axis];
        parts.push((arg, start));
    }
    Some(place(args.first()?.dtype, shape, Literal::Int(0), &parts))
}

/// Arrays copied into a new one at the given positions; `fill` elsewhere.
fn place(dtype: DType, shape: &[usize], fill: Literal, parts: &[(&Value, Vec<usize>)]) -> Value {
    let size: usize = shape.iter().product();
    let strides = row_major(shape);
    let fill = fill.at(dtype);
    let bounded = parts.iter().any(|(part, _)| part.store.bound.is_some());
    let mut bound = if bounded { vec![0.0; size] } else { Vec::new() };
    let (mut ints, mut floats) = (Vec::new(), Vec::new());
    if dtype.is_float() {
        floats = vec![fill.as_f64(); size];
    } else {
        ints = vec![fill.as_i64().unwrap_or(0); size];
    }
    for (part, start) in parts {
        let start = start.iter().zip(&strides).map(|(at, stride)| at.cast_signed() * stride).sum();
        match &part.store.numbers {
            Numbers::Int(all) => copy(part, all, &mut ints, start, &strides),
            Numbers::Float(all) => copy(part, all, &mut floats, start, &strides),
        }
        if let Some(all) = &part.store.bound {
            copy(part, all, &mut bound, start, &strides);
        }
    }
    let numbers = if dtype.is_float() { Numbers::Float(floats) } else { Numbers::Int(ints) };
    Value::new(dtype, shape, Store::new(numbers, bounded.then_some(bound)))
}

/// One of a part's arrays into `to`.
fn copy<T: Copy>(part: &Value, all: &[T], to: &mut [T], start: isize, strides: &[isize]) {
    let mut scratch = Vec::new();
    let operands = [(part.offset, part.strides.as_slice()), (start, strides)];
    for_strided_rows(&part.shape, operands, |length, [from, into]: [Row; 2]| {
        for (i, x) in (0isize..).zip(from.read(all, length, &mut scratch)) {
            to[(into.start + i * into.stride).cast_unsigned()] = *x;
        }
    });
}

/// Zero where `keep(row, column)` of the last two axes does not hold.
pub(super) fn triangle(a: &Value, keep: impl Fn(i64, i64) -> bool) -> Value {
    let rank = a.shape.len();
    let (rows, columns) = (a.shape[rank - 2].max(1), a.shape[rank - 1].max(1));
    let kept = |i: usize| keep(((i / columns) % rows) as i64, (i % columns) as i64);
    fn mask<T: Copy>(mut elements: Vec<T>, zero: T, kept: impl Fn(usize) -> bool) -> Vec<T> {
        elements.iter_mut().enumerate().filter(|(i, _)| !kept(*i)).for_each(|(_, x)| *x = zero);
        elements
    }
    let numbers = match &a.store.numbers {
        Numbers::Int(all) => Numbers::Int(mask(a.gather(all), 0, kept)),
        Numbers::Float(all) => Numbers::Float(mask(a.gather(all), 0.0, kept)),
    };
    let bound = a.store.bound.as_ref().map(|all| mask(a.gather(all), 0.0, kept));
    Value::new(a.dtype, &a.shape, Store::new(numbers, bound))
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
