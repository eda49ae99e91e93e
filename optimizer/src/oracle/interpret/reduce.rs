//! Reductions over some axes of an array.
//!
//! The source is walked in row-major order and accumulated into the result, so that in `exact`
//! numerics each element is the left-to-right fold from the operator's identity; sums of floats are NumPy's, in the order
//! that the program says, and so is their error bound.

use super::bounds::{Model, count, spread, to_float, wrapped_bound};
use super::value::{Numbers, Row, Store, Value, for_strided_rows, row_major};
use super::views::transpose;
use crate::program::expr::SumOrder;
use crate::value::dtype::DType;
use crate::value::numerics::Numerics;
use crate::value::pairwise;
use crate::value::scalar::FoldOp;
use crate::value::scalar_eval::{maximum, minimum, round, wrap};

/// Reduces `axes` of `a` away; sums of floats in `order`.
pub(super) fn reduce(op: FoldOp, a: &Value, axes: &[usize], order: &SumOrder, numerics: Numerics) -> Value {
    let mut plan = Plan::new(a, axes);
    if let Some(depth) = order.depth(&a.shape, axes) {
        plan.depth = depth;
    }
    plan.order = Some(order).filter(|order| !order.is_ascending()).cloned();
    match &a.store.numbers {
        Numbers::Int(all) => reduce_ints(op, a, all, &plan),
        Numbers::Float(all) => match op {
            FoldOp::Sum => finish_sum(a, sum_parts(a, all, &plan, numerics, true), &plan, numerics),
            FoldOp::Prod => product(a, all, &plan, numerics),
            FoldOp::Max | FoldOp::Any => extremum(a, all, &plan, true),
            FoldOp::Min | FoldOp::All => extremum(a, all, &plan, false),
        },
    }
}

/// Σ over `axes`, with Σ|terms| and the summed bounds of the operand but without the error of the
/// additions: for a caller that counts them itself.
pub(super) fn raw_sum(a: &Value, axes: &[usize], numerics: Numerics) -> Value {
    let plan = Plan::new(a, axes);
    match &a.store.numbers {
        Numbers::Int(all) => reduce_ints(FoldOp::Sum, a, all, &plan),
        Numbers::Float(all) => {
            let (sums, magnitudes, bounds) = sum_parts(a, all, &plan, numerics, false);
            let store = Store::of_sums(Numbers::Float(sums), bounds, magnitudes);
            Value { contraction: true, ..Value::new(a.dtype, &plan.shape, store) }
        }
    }
}

/// Where the elements of each row go.
struct Plan {
    /// The result's shape.
    shape: Vec<usize>,
    /// For each axis of the operand the result's stride; 0 for the reduced ones.
    strides: Vec<isize>,
    /// Number of terms of each fold.
    terms: usize,
    /// Additions on the longest way through a sum.
    depth: usize,
    /// The order of a sum, where it is another than along ascending axes.
    order: Option<SumOrder>,
}

impl Plan {
    fn new(a: &Value, axes: &[usize]) -> Plan {
        let kept: Vec<usize> = (0..a.shape.len()).filter(|axis| !axes.contains(axis)).collect();
        let shape: Vec<usize> = kept.iter().map(|&axis| a.shape[axis]).collect();
        let mut strides = vec![0; a.shape.len()];
        for (&axis, stride) in kept.iter().zip(row_major(&shape)) {
            strides[axis] = stride;
        }
        let terms: usize = axes.iter().map(|&axis| a.shape[axis]).product();
        Plan { shape, strides, terms, depth: terms.saturating_sub(1), order: None }
    }

    fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// `out[j] = step(out[j], all[i])` for every element i of `a` and the j it folds into, in order.
    fn fold<T: Copy, S: Copy>(&self, a: &Value, all: &[T], out: &mut [S], mut step: impl FnMut(S, T) -> S) {
        let operands = [(a.offset, a.strides.as_slice()), (0, self.strides.as_slice())];
        let mut scratch = Vec::new();
        for_strided_rows(&a.shape, operands, |length, [row, to]: [Row; 2]| {
            let x = row.read(all, length, &mut scratch);
            let start = to.start.cast_unsigned();
            match to.stride {
                0 => out[start] = x.iter().fold(out[start], |state, x| step(state, *x)),
                1 => {
                    for (state, x) in out[start..start + length].iter_mut().zip(x) {
                        *state = step(*state, *x);
                    }
                }
                stride => {
                    for (i, x) in (0isize..).zip(x) {
                        let at = (to.start + i * stride).cast_unsigned();
                        out[at] = step(out[at], *x);
                    }
                }
            }
        });
    }
}

/// Sums, sums of magnitudes, sums of bounds.
type SumParts = (Vec<f64>, Vec<f64>, Option<Vec<f64>>);

/// `with_earlier`: the sums of statements before go on; otherwise each is a term.
fn sum_parts(a: &Value, all: &[f64], plan: &Plan, numerics: Numerics, with_earlier: bool) -> SumParts {
    let mut sums = vec![0.0; plan.size()];
    let dtype = a.dtype;
    if let Some(order) = &plan.order {
        if numerics == Numerics::Exact {
            pairwise_sums(a, all, order, &mut sums, &|s, x| round(dtype, s + x));
        } else {
            // In double precision the reference rounds as the kernel does: no more often than that may.
            pairwise_sums(a, all, order, &mut sums, &|s, x| s + x);
        }
    } else if numerics == Numerics::Exact {
        plan.fold(a, all, &mut sums, |s, x| round(dtype, s + x));
    } else {
        plan.fold(a, all, &mut sums, |s, x| s + x);
    }
    let mut magnitudes = vec![0.0; plan.size()];
    match a.store.magnitude.as_ref().filter(|_| with_earlier || a.is_own_sum()) {
        Some(magnitude) => plan.fold(a, magnitude, &mut magnitudes, |s: f64, x| s + x),
        None => plan.fold(a, all, &mut magnitudes, |s, x| s + x.abs()),
    }
    let bounds = a.store.bound.as_ref().map(|bound| {
        let mut bounds = vec![0.0; plan.size()];
        plan.fold(a, bound, &mut bounds, |s: f64, b| s + b);
        bounds
    });
    (sums, magnitudes, bounds)
}

/// Each sum in `order`.
fn pairwise_sums(a: &Value, all: &[f64], order: &SumOrder, sums: &mut [f64], add: &impl Fn(f64, f64) -> f64) {
    let SumOrder { in_order, pairwise } = order;
    let folded = |axis: &usize| in_order.contains(axis) || pairwise.contains(axis);
    let kept = (0..a.shape.len()).filter(|axis| !folded(axis));
    let axes: Vec<usize> = kept.chain(in_order.iter().chain(pairwise).copied()).collect();
    let view = transpose(a, &axes);
    let gathered;
    let terms = if view.is_contiguous() {
        let start = view.offset.cast_unsigned();
        &all[start..start + view.size()]
    } else {
        gathered = view.gather(all);
        &gathered
    };
    let run = pairwise.iter().map(|&axis| a.shape[axis]).product::<usize>();
    let runs = in_order.iter().map(|&axis| a.shape[axis]).product::<usize>();
    if run * runs > 0 {
        for (sum, terms) in sums.iter_mut().zip(terms.chunks(run * runs)) {
            *sum = terms.chunks(run).fold(0.0, |sum, terms| pairwise::sum(terms, sum, add));
        }
    }
}

/// Adds the error of the additions: u·Σ|xᵢ| for each on the longest way, which is n − 1 in any order; nothing for the exact
/// order.
fn finish_sum(a: &Value, (sums, magnitudes, bounds): SumParts, plan: &Plan, numerics: Numerics) -> Value {
    let model = Model::new(a.dtype, numerics);
    if model.is_exact() && bounds.is_none() {
        return Value::floats(a.dtype, &plan.shape, sums);
    }
    let terms = count(plan.depth) + a.terms;
    let weight = if numerics == Numerics::Algebraic { 4.0 } else { 1.0 };
    let roundings = weight * model.roundoff * (terms - 1.0).max(0.0);
    // Of the sums that statements before have made only one goes on; the others are terms.
    let additions = a.store.additions.as_ref().map(|additions| {
        let mut most = vec![0.0; plan.size()];
        plan.fold(a, additions, &mut most, f64::max);
        most
    });
    let before = |i: usize| additions.as_ref().map_or(0.0, |most| weight * model.roundoff * most[i]);
    let carried = |i: usize| bounds.as_ref().map_or(0.0, |b| b[i]);
    let (numbers, bound): (Vec<f64>, Vec<f64>) = (0..sums.len())
        .map(|i| {
            let b = carried(i);
            if !sums[i].is_finite() {
                return (sums[i], b * if b.is_finite() { 0.0 } else { 1.0 });
            }
            let (z, bound) = model.settle(sums[i], b + (roundings + before(i)) * magnitudes[i], b == f64::INFINITY);
            // Some order of finite terms may overflow on the way.
            let may_overflow = z.is_finite() && magnitudes[i] >= model.largest && plan.terms > 1;
            (z, if may_overflow { f64::NAN } else { bound })
        })
        .unzip();
    let store = Store { additions, ..Store::of_sums(Numbers::Float(numbers), Some(bound), magnitudes) };
    Value { terms: terms.max(1.0), contraction: true, ..Value::new(a.dtype, &plan.shape, store) }
}

fn product(a: &Value, all: &[f64], plan: &Plan, numerics: Numerics) -> Value {
    let model = Model::new(a.dtype, numerics);
    let mut products = vec![1.0; plan.size()];
    let dtype = a.dtype;
    if model.is_exact() {
        plan.fold(a, all, &mut products, |p, x| round(dtype, p * x));
    } else {
        plan.fold(a, all, &mut products, |p, x| p * x);
    }
    if model.is_exact() && a.store.bound.is_none() {
        return Value::floats(a.dtype, &plan.shape, products);
    }
    // The largest and the least magnitude that a partial product can have, in any order.
    let mut extremes = vec![(1.0f64, 1.0f64); plan.size()];
    plan.fold(a, all, &mut extremes, |(high, low), x| {
        let x = x.abs();
        (if x > 1.0 { high * x } else { high }, if x < 1.0 && x > 0.0 { low * x } else { low })
    });
    // Π(|x| + b) − Π|x|
    let mut inflated = vec![1.0; plan.size()];
    if let Some(bound) = &a.store.bound {
        let mut magnitudes = vec![(0.0, 0.0); a.size()];
        for (pair, (x, b)) in magnitudes.iter_mut().zip(a.gather(all).into_iter().zip(a.gather(bound))) {
            *pair = (x, b);
        }
        let pairs = Value::new(a.dtype, &a.shape, Store::new(Numbers::Int(Vec::new()), None));
        plan.fold(&pairs, &magnitudes, &mut inflated, |p: f64, (x, b)| p * (x.abs() + b));
    } else {
        plan.fold(a, all, &mut inflated, |p: f64, x| p * x.abs());
    }
    let roundings = 2.0 * model.roundoff * count(plan.terms);
    let (numbers, bound): (Vec<f64>, Vec<f64>) = (0..products.len())
        .map(|i| {
            let z = products[i];
            let doubt = if a.store.bound.is_some() { f64::INFINITY } else { 0.0 };
            let carried = match inflated[i] {
                most if most.is_nan() => f64::NAN,
                _ if !z.is_finite() => doubt,
                most => (most - z.abs()).max(0.0),
            };
            let doubtful = carried == f64::INFINITY;
            let local = if z.is_finite() { roundings * z.abs() } else { 0.0 };
            let (z, bound) = model.settle(z, carried + local, doubtful);
            let (high, low) = extremes[i];
            // Some order overflows on the way, or loses a factor; an infinity times what has become 0 is NaN.
            let unsafe_order =
                if z.is_finite() { high > model.largest || z != 0.0 && low < model.tiny } else { low < model.tiny };
            (z, if plan.terms > 1 && unsafe_order { f64::NAN } else { bound })
        })
        .unzip();
    Value::new(a.dtype, &plan.shape, Store::new(Numbers::Float(numbers), Some(bound)))
}

fn extremum(a: &Value, all: &[f64], plan: &Plan, largest: bool) -> Value {
    let (start, choose): (f64, fn(f64, f64) -> f64) =
        if largest { (f64::NEG_INFINITY, maximum) } else { (f64::INFINITY, minimum) };
    let mut out = vec![start; plan.size()];
    if largest {
        plan.fold(a, all, &mut out, maximum);
    } else {
        plan.fold(a, all, &mut out, minimum);
    }
    let bound = a.store.bound.as_ref().map(|bound| {
        let (values, bounds) = (a.gather(all), a.gather(bound));
        let shifted = |sign: f64| {
            let ends: Vec<f64> = values.iter().zip(&bounds).map(|(x, b)| x + sign * b).collect();
            let ends = Value::floats(a.dtype, &a.shape, ends);
            let mut result = vec![start; plan.size()];
            if let Numbers::Float(ends_all) = &ends.store.numbers {
                plan.fold(&ends, ends_all, &mut result, choose);
            }
            result
        };
        let (low, high) = (shifted(-1.0), shifted(1.0));
        // Where an element has no value, or may have none, the ends say nothing.
        let mut unknown = vec![0.0; plan.size()];
        plan.fold(a, bound, &mut unknown, |most: f64, b: f64| if b.is_finite() || most.is_nan() { most } else { b });
        let known = |i: usize| if out[i].is_nan() { 0.0 } else { spread(out[i], low[i], high[i]) };
        (0..out.len()).map(|i| if unknown[i] == 0.0 { known(i) } else { unknown[i] }).collect()
    });
    Value::new(a.dtype, &plan.shape, Store::new(Numbers::Float(out), bound))
}

fn reduce_ints(op: FoldOp, a: &Value, all: &[i64], plan: &Plan) -> Value {
    let dtype = a.dtype;
    // On bools a sum is an or, a product an and.
    let op = match (op, dtype) {
        (FoldOp::Sum | FoldOp::Any, DType::Bool) => FoldOp::Max,
        (FoldOp::Prod | FoldOp::All, DType::Bool) => FoldOp::Min,
        (FoldOp::Sum | FoldOp::Prod | FoldOp::Max | FoldOp::Min | FoldOp::All | FoldOp::Any, _) => op,
    };
    let mut out = vec![op.identity(dtype).as_i64().unwrap_or(0); plan.size()];
    match op {
        FoldOp::Sum => plan.fold(a, all, &mut out, i64::wrapping_add),
        FoldOp::Prod => plan.fold(a, all, &mut out, i64::wrapping_mul),
        FoldOp::Max | FoldOp::Any => plan.fold(a, all, &mut out, i64::max),
        FoldOp::Min | FoldOp::All => plan.fold(a, all, &mut out, i64::min),
    }
    out.iter_mut().for_each(|x| *x = wrap(dtype, *x));
    let bound = a.store.bound.as_ref().map(|bound| {
        let mut spans = vec![0.0; plan.size()];
        match op {
            FoldOp::Sum => plan.fold(a, bound, &mut spans, |s: f64, b| s + b),
            FoldOp::Prod => plan.fold(a, bound, &mut spans, |s: f64, b| if b > 0.0 { f64::INFINITY } else { s }),
            FoldOp::Max | FoldOp::Any | FoldOp::Min | FoldOp::All => {
                let ends =
                    a.gather(all).into_iter().zip(a.gather(bound)).map(|(x, b)| (to_float(x) - b, to_float(x) + b));
                let ends: Vec<(f64, f64)> =
                    ends.map(|(l, h)| if dtype == DType::Bool { (l.max(0.0), h.min(1.0)) } else { (l, h) }).collect();
                let pairs = Value::ints(dtype, &a.shape, Vec::new());
                let largest = op == FoldOp::Max || op == FoldOp::Any;
                let start = if largest { f64::NEG_INFINITY } else { f64::INFINITY };
                let mut folded = vec![(start, start); plan.size()];
                plan.fold(&pairs, &ends, &mut folded, |(low, high), (l, h)| {
                    if largest { (low.max(l), high.max(h)) } else { (low.min(l), high.min(h)) }
                });
                for (span, ((low, high), x)) in spans.iter_mut().zip(folded.into_iter().zip(&out)) {
                    *span = if plan.terms == 0 { 0.0 } else { spread(to_float(*x), low, high) };
                }
            }
        }
        spans.iter().zip(&out).map(|(b, x)| wrapped_bound(dtype, to_float(*x), *b)).collect()
    });
    Value::new(dtype, &plan.shape, Store::new(Numbers::Int(out), bound))
}
