//! Operators whose elements are given, or copied from their arguments, without arithmetic: constants, and arrays put
//! together in other places. What copies nothing stands in `views`.

use super::bounds::{Model, count};
use super::value::{Numbers, Row, Store, Value, for_strided_rows, row_major};
use super::views::slice;
use crate::program::expr::SliceAxis;
use crate::value::dtype::{DType, Literal};
use crate::value::numerics::Numerics;
use crate::value::scalar_eval::{round, wrap};

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
        let element = |i: usize| wrap(dtype, start.wrapping_add(step.wrapping_mul(i as i64)));
        return Value::ints(dtype, &[extent], (0..extent).map(element).collect());
    }
    let element = |i| arange_float(dtype, count(i), start.as_f64(), step.as_f64(), numerics);
    let (floats, bound): (Vec<f64>, Vec<f64>) = (0..extent).map(element).unzip();
    let bound = bound.iter().any(|b| *b > 0.0).then_some(bound);
    Value::new(dtype, &[extent], Store::new(Numbers::Float(floats), bound))
}

/// The element `start + step·i` of `np.arange` at a float type, and its error bound.
fn arange_float(dtype: DType, i: f64, start: f64, step: f64, numerics: Numerics) -> (f64, f64) {
    let product = step * i;
    let rounded = round(dtype, round(dtype, product) + start);
    if numerics == Numerics::Exact || round(dtype, product) == product && rounded == product + start {
        return (rounded, 0.0);
    }
    let model = Model::new(dtype, numerics);
    let z = product + start;
    (z, model.roundoff * (product.abs() + z.abs()))
}

/// 1 where `column = row + k`.
pub(super) fn eye(dtype: DType, shape: &[usize], k: i64) -> Value {
    let columns = shape[1].max(1);
    let one = |i: usize| Literal::Int(i64::from((i % columns) as i64 == (i / columns) as i64 + k));
    filled(dtype, shape, one)
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
