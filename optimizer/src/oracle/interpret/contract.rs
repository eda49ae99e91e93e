//! Sums of products: `einsum` and what is written as one (`@`, `dot`, `inner`).
//!
//! Operands are contracted pairwise from the left as packed matrices. Alongside the value goes the
//! product of the magnitudes, Σ|a|·|b|, which bounds the rounding errors of any order of the sum.

use super::bounds::{Model, count, to_float, wrapped_bound};
use super::elementwise;
use super::matrices::{accumulate_exactly, accumulate_ints, accumulate_product};
use super::reduce::{raw_sum, reduce};
use super::value::{Numbers, Store, Value};
use crate::program::expr::SumOrder;
use crate::value::dtype::DType;
use crate::value::numerics::Numerics;
use crate::value::scalar::{BinaryOp, FoldOp};
use crate::value::scalar_eval::wrap;
use std::collections::BTreeMap;

/// An operand with a label for each axis.
type Labelled = (Value, Vec<usize>);

/// `np.einsum` over labelled operands. Extents of a label agree, or are 1 and stretch.
pub(super) fn einsum(operands: Vec<Labelled>, output: &[usize], numerics: Numerics) -> Option<Value> {
    let mut extents: BTreeMap<usize, usize> = BTreeMap::new();
    for (value, labels) in &operands {
        for (&label, &extent) in labels.iter().zip(&value.shape) {
            let known = extents.entry(label).or_insert(extent);
            *known = if *known == 1 { extent } else { *known };
        }
    }
    let mut order: Vec<usize> = Vec::new();
    for label in operands.iter().flat_map(|operand| &operand.1) {
        if !order.contains(label) {
            order.push(*label);
        }
    }
    let operands: Vec<Labelled> = operands.into_iter().map(|operand| one_axis_per_label(operand, &extents)).collect();
    let summed: Vec<usize> = order.iter().copied().filter(|label| !output.contains(label)).collect();
    let terms: usize = summed.iter().map(|label| extents[label]).product();
    let factors = operands.len();
    let errors = Errors::of(&operands);
    let dtype = operands.first()?.0.dtype;
    let alone = |label: &usize| operands.iter().filter(|(_, labels)| labels.contains(label)).count() == 1;
    if let [(value, labels)] = operands.as_slice() {
        let axes: Vec<usize> = (0..labels.len()).filter(|&axis| !output.contains(&labels[axis])).collect();
        let reduced = reduce(FoldOp::Sum, value, &axes, &SumOrder::default(), numerics);
        let kept: Vec<usize> = labels.iter().copied().filter(|label| output.contains(label)).collect();
        return Some(permute(&reduced, &kept, output));
    }
    if numerics == Numerics::Exact && dtype.is_float() && (factors > 2 || summed.iter().any(alone)) {
        return Some(exact_sum(&operands, output, &summed, &extents, numerics));
    }
    let mut rest = operands.into_iter();
    let (mut value, mut labels) = rest.next()?;
    let rest: Vec<Labelled> = rest.collect();
    for (at, (next, next_labels)) in rest.iter().enumerate() {
        let later = |label: &usize| output.contains(label) || rest[at + 1..].iter().any(|(_, l)| l.contains(label));
        let (a, a_labels) = drop_alone((value, labels), next_labels, later, numerics);
        let (b, b_labels) = drop_alone((next.clone(), next_labels.clone()), &a_labels, later, numerics);
        (value, labels) = contract((&a, &a_labels), (&b, &b_labels), later, &order, numerics);
    }
    let result = permute(&value, &labels, output);
    Some(finish(&result, terms, factors, errors, numerics))
}

/// What is known of the errors of a contraction's operands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Errors {
    /// There are none.
    None,
    /// All bounds are finite.
    Finite,
    /// Of some element no distance is known.
    Unknown,
}

impl Errors {
    fn of(operands: &[Labelled]) -> Errors {
        let mut bounds = operands.iter().filter_map(|(value, _)| value.store.bound.as_ref()).peekable();
        if bounds.peek().is_none() {
            return Errors::None;
        }
        let finite = bounds.all(|all| all.iter().all(|bound| bound.is_finite()));
        if finite { Errors::Finite } else { Errors::Unknown }
    }
}

/// Counts the rounding errors: n·u·Σ|terms|, one for each product and each addition.
fn finish(a: &Value, terms: usize, factors: usize, errors: Errors, numerics: Numerics) -> Value {
    let (Numbers::Float(all), Some(magnitude)) = (&a.store.numbers, &a.store.magnitude) else { return a.clone() };
    let model = Model::new(a.dtype, numerics);
    if model.is_exact() && errors == Errors::None {
        return Value::floats(a.dtype, &a.shape, a.gather(all));
    }
    let weight = if numerics == Numerics::Algebraic { 4.0 } else { 1.0 };
    let roundings = weight * model.roundoff * (count(terms) + count(factors) - 2.0);
    let underflow = model.roundoff * model.tiny * count(terms);
    let magnitudes = a.gather(magnitude);
    let carried = a.store.bound.as_ref().map(|bound| a.gather(bound));
    let (numbers, bound): (Vec<f64>, Vec<f64>) = a
        .gather(all)
        .into_iter()
        .enumerate()
        .map(|(i, z)| {
            let b = carried.as_ref().map_or(0.0, |b| b[i]);
            let local = if magnitudes[i] == 0.0 { 0.0 } else { roundings * magnitudes[i] + underflow };
            if !z.is_finite() {
                return (z, if errors == Errors::Unknown { f64::NAN } else { 0.0 });
            }
            let (z, bound) = model.settle(z, b + local, b == f64::INFINITY);
            let may_overflow = z.is_finite() && magnitudes[i] >= model.largest;
            (z, if may_overflow { f64::NAN } else { bound })
        })
        .unzip();
    let store = Store::of_sums(Numbers::Float(numbers), Some(bound), magnitudes);
    Value { terms: count(terms), contraction: true, ..Value::new(a.dtype, &a.shape, store) }
}

/// A label that occurs twice in one operand takes its diagonal; extents of 1 stretch.
fn one_axis_per_label((value, labels): Labelled, extents: &BTreeMap<usize, usize>) -> Labelled {
    let mut axes: Vec<(usize, isize)> = Vec::new();
    for (axis, &label) in labels.iter().enumerate() {
        let stride = if value.shape[axis] == extents[&label] { value.strides[axis] } else { 0 };
        match axes.iter_mut().find(|(known, _)| *known == label) {
            Some(known) => known.1 += stride,
            None => axes.push((label, stride)),
        }
    }
    let shape = axes.iter().map(|(label, _)| extents[label]).collect();
    let strides = axes.iter().map(|(_, stride)| *stride).collect();
    (value.view(shape, strides, value.offset), axes.into_iter().map(|(label, _)| label).collect())
}

/// The axes named `labels` in the order of `output`.
fn permute(value: &Value, labels: &[usize], output: &[usize]) -> Value {
    let axes: Vec<usize> = output.iter().filter_map(|label| labels.iter().position(|l| l == label)).collect();
    let shape = axes.iter().map(|&axis| value.shape[axis]).collect();
    let strides = axes.iter().map(|&axis| value.strides[axis]).collect();
    value.view(shape, strides, value.offset)
}

/// Sums over the labels that neither the other operand nor anything later has.
fn drop_alone(
    (value, labels): Labelled,
    other: &[usize],
    later: impl Fn(&usize) -> bool,
    numerics: Numerics,
) -> Labelled {
    let gone = |label: &usize| !other.contains(label) && !later(label);
    let axes: Vec<usize> = (0..labels.len()).filter(|&axis| gone(&labels[axis])).collect();
    if axes.is_empty() {
        return (value, labels);
    }
    let kept = labels.iter().copied().filter(|label| !gone(label)).collect();
    (raw_sum(&value, &axes, numerics), kept)
}

/// The magnitudes that a contraction uses: Σ|terms| of an operand that is a contraction itself.
fn magnitudes(value: &Value, floats: &[f64], numerics: Numerics) -> Vec<f64> {
    match &value.store.magnitude {
        Some(all) if value.contraction || numerics == Numerics::Algebraic && value.is_own_sum() => value.gather(all),
        Some(_) | None => floats.iter().map(|x| x.abs()).collect(),
    }
}

/// One pairwise contraction: labels of both that nothing later has are summed.
fn contract(
    (a, a_labels): (&Value, &[usize]),
    (b, b_labels): (&Value, &[usize]),
    later: impl Fn(&usize) -> bool,
    order: &[usize],
    numerics: Numerics,
) -> Labelled {
    let pick =
        |wanted: &dyn Fn(&usize) -> bool| -> Vec<usize> { order.iter().copied().filter(|l| wanted(l)).collect() };
    let batch = pick(&|l| a_labels.contains(l) && b_labels.contains(l) && later(l));
    let rows = pick(&|l| a_labels.contains(l) && !b_labels.contains(l));
    let columns = pick(&|l| b_labels.contains(l) && !a_labels.contains(l));
    let inner = pick(&|l| a_labels.contains(l) && b_labels.contains(l) && !later(l));
    let extent = |label: &usize| -> usize {
        let of = |value: &Value, labels: &[usize]| labels.iter().position(|l| l == label).map(|axis| value.shape[axis]);
        of(a, a_labels).or_else(|| of(b, b_labels)).unwrap_or(1)
    };
    let size = |labels: &[usize]| -> usize { labels.iter().map(&extent).product() };
    let (batches, rows_columns_inner) = (size(&batch), [size(&rows), size(&columns), size(&inner)]);
    let a = permute(a, a_labels, &[batch.as_slice(), &rows, &inner].concat());
    let b = permute(b, b_labels, &[batch.as_slice(), &inner, &columns].concat());
    let labels = [batch.as_slice(), &rows, &columns].concat();
    let shape: Vec<usize> = labels.iter().map(&extent).collect();
    let packed = Packed { shape, batches, extents: rows_columns_inner };
    let value = match (&a.store.numbers, &b.store.numbers) {
        (Numbers::Float(x), Numbers::Float(y)) => packed.floats((&a, &a.gather(x)), (&b, &b.gather(y)), numerics),
        (Numbers::Int(x), Numbers::Int(y)) => packed.ints((&a, &a.gather(x)), (&b, &b.gather(y))),
        (Numbers::Int(_), Numbers::Float(_)) | (Numbers::Float(_), Numbers::Int(_)) => a.clone(),
    };
    (value, labels)
}

/// A contraction as products of packed matrices, one for each index of the labels that both operands keep.
struct Packed {
    /// The result's shape.
    shape: Vec<usize>,
    /// Number of products.
    batches: usize,
    /// The result's rows and columns, and the terms of each element.
    extents: [usize; 3],
}

impl Packed {
    /// `accumulate` on each pair of matrices.
    fn products<T>(&self, x: &[T], y: &[T], zero: T, accumulate: impl Fn(&[T], &[T], &mut [T], [usize; 3])) -> Vec<T>
    where
        T: Copy,
    {
        let [m, n, k] = self.extents;
        let mut out = vec![zero; self.batches * m * n];
        for batch in 0..self.batches {
            let (x, y) = (&x[batch * m * k..][..m * k], &y[batch * k * n..][..k * n]);
            accumulate(x, y, &mut out[batch * m * n..][..m * n], self.extents);
        }
        out
    }

    /// The product in `f64`.
    fn product(&self, x: &[f64], y: &[f64]) -> Vec<f64> {
        self.products(x, y, 0.0, accumulate_product)
    }

    /// The value of floats, with Σ|terms| and what the operands' bounds become.
    fn floats(&self, (a, x): (&Value, &[f64]), (b, y): (&Value, &[f64]), numerics: Numerics) -> Value {
        let (ba, bb) = (bounds_in_order(a), bounds_in_order(b));
        let exact = numerics == Numerics::Exact;
        let numbers = if exact {
            self.products(x, y, 0.0, |x, y, out, extents| accumulate_exactly(a.dtype, x, y, out, extents))
        } else {
            self.product(x, y)
        };
        if exact && ba.is_none() && bb.is_none() {
            return Value::floats(a.dtype, &self.shape, numbers);
        }
        let (mx, my) = (magnitudes(a, x, numerics), magnitudes(b, y, numerics));
        // Where nothing is negative the sum is its own magnitude.
        let same = |x: &[f64], mx: &[f64]| x.iter().zip(mx).all(|(x, m)| x == m);
        let magnitude = if same(x, &mx) && same(y, &my) { numbers.clone() } else { self.product(&mx, &my) };
        let bound = self.carried_bound((ba.as_deref(), &mx), (bb.as_deref(), &my));
        let store = Store::of_sums(Numbers::Float(numbers), bound, magnitude);
        Value { contraction: true, ..Value::new(a.dtype, &self.shape, store) }
    }

    /// The value of integers or bools and its bound.
    fn ints(&self, (a, x): (&Value, &[i64]), (b, y): (&Value, &[i64])) -> Value {
        let (ba, bb) = (bounds_in_order(a), bounds_in_order(b));
        let mut out = self.products(x, y, 0, accumulate_ints);
        out.iter_mut().for_each(|z| *z = wrap(a.dtype, *z));
        let bound = (ba.is_some() || bb.is_some()).then(|| {
            if a.dtype == DType::Bool {
                return self.bound_of_bools((x, ba.as_deref()), (y, bb.as_deref()));
            }
            let sizes = |v: &[i64]| -> Vec<f64> { v.iter().map(|v| to_float(*v).abs()).collect() };
            let carried = self.carried_bound((ba.as_deref(), &sizes(x)), (bb.as_deref(), &sizes(y)));
            let carried = carried.unwrap_or_else(|| vec![0.0; out.len()]);
            carried.iter().zip(&out).map(|(b, z)| wrapped_bound(a.dtype, to_float(*z), *b)).collect::<Vec<f64>>()
        });
        Value::new(a.dtype, &self.shape, Store::new(Numbers::Int(out), bound))
    }

    /// 1 where bools within their bounds may give the one or the other.
    fn bound_of_bools(&self, (x, ba): (&[i64], Option<&[f64]>), (y, bb): (&[i64], Option<&[f64]>)) -> Vec<f64> {
        let ends = |v: &[i64], b: Option<&[f64]>, sign: f64| -> Vec<f64> {
            let end = |(i, v): (usize, &i64)| (to_float(*v) + sign * b.map_or(0.0, |b| b[i])).clamp(0.0, 1.0);
            v.iter().enumerate().map(end).collect()
        };
        let end = |sign| self.product(&ends(x, ba, sign), &ends(y, bb, sign));
        let differs = |(low, high): (f64, f64)| if (low > 0.0) == (high > 0.0) { 0.0 } else { 1.0 };
        end(-1.0).into_iter().zip(end(1.0)).map(differs).collect()
    }

    /// Σ |a|·b_b + b_a·(|b| + b_b), for bounds that may be absent, each beside the magnitudes of its operand. An
    /// undefined sum (∞·0) is infinite; NaN if one of the bounds is.
    fn carried_bound(
        &self,
        (ba, mx): (Option<&[f64]>, &[f64]),
        (bb, my): (Option<&[f64]>, &[f64]),
    ) -> Option<Vec<f64>> {
        let first = bb.map(|bb| self.product(mx, bb));
        let second = ba.map(|ba| match bb {
            None => self.product(ba, my),
            Some(bb) => self.product(ba, &my.iter().zip(bb).map(|(m, b)| m + b).collect::<Vec<f64>>()),
        });
        let unknown = |b: Option<&[f64]>| b.is_some_and(|b| b.iter().any(|b| b.is_nan()));
        let lost = if unknown(ba) || unknown(bb) { f64::NAN } else { f64::INFINITY };
        let defined = |b: f64| if b.is_nan() { lost } else { b };
        match (first, second) {
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => Some(one.into_iter().map(defined).collect()),
            (Some(one), Some(two)) => Some(one.into_iter().zip(two).map(|(a, b)| defined(a + b)).collect()),
        }
    }
}

/// An operand's bounds in row-major order.
fn bounds_in_order(value: &Value) -> Option<Vec<f64>> {
    value.store.bound.as_ref().map(|bound| value.gather(bound))
}

/// `exact` numerics in general: products from the left, summed over the labels in order of their
/// first appearance.
fn exact_sum(
    operands: &[Labelled],
    output: &[usize],
    summed: &[usize],
    extents: &BTreeMap<usize, usize>,
    numerics: Numerics,
) -> Value {
    let all: Vec<usize> = output.iter().chain(summed).copied().collect();
    let shape: Vec<usize> = all.iter().map(|label| extents[label]).collect();
    // Every operand over the whole iteration space, multiplied element by element, then folded.
    let mut spread = operands.iter().map(|(value, labels)| {
        let stride = |label: &usize| labels.iter().position(|l| l == label).map_or(0, |axis| value.strides[axis]);
        value.view(shape.clone(), all.iter().map(stride).collect(), value.offset)
    });
    let first = spread.next().unwrap_or_else(|| Value::floats(DType::F64, &[], vec![1.0]));
    let product =
        spread.fold(first, |product, factor| elementwise::binary(BinaryOp::Mul, &product, &factor, numerics, false));
    let axes: Vec<usize> = (output.len()..all.len()).collect();
    reduce(FoldOp::Sum, &product, &axes, &SumOrder::default(), numerics)
}
