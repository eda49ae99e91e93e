//! Arithmetic of floats over whole arrays: values and error bounds in one pass over rows.
//!
//! Sums of several terms carry their number of terms and Σ|terms| along, because reassociation lets
//! a kernel add them in any order: the n-term bound (n − 1)·u·Σ|xᵢ| replaces the running one from
//! the third term on. Terms that statements before have added count as well: each element of a state
//! has its own number of them.

use super::bounds::Model;
use super::for_operator::for_operator;
use super::rows::{Operands, binary_row, sum_row};
use super::value::{Numbers, Row, Store, Value, bound_or_none, for_rows};
use crate::value::numerics::Numerics;
use crate::value::scalar::BinaryOp;

/// `a op b` for anything but comparisons, of two arrays with their floats. `magnitude`: a later sum will ask for Σ|terms|.
pub(super) fn binary_floats(
    op: BinaryOp,
    (a, xs): (&Value, &[f64]),
    (b, ys): (&Value, &[f64]),
    numerics: Numerics,
    magnitude: bool,
) -> Value {
    let model = Model::new(a.dtype, numerics);
    let terms = Terms::new(op, &model, [a, b], magnitude);
    let selects = matches!(op, BinaryOp::Minimum | BinaryOp::Maximum);
    let track =
        !model.is_exact() && !selects || op == BinaryOp::Pow || a.store.bound.is_some() || b.store.bound.is_some();
    let mut scratch: [Vec<f64>; 8] = Default::default();
    let [s0, s1, s2, s3, s4, s5, s6, s7] = &mut scratch;
    let (mut out, mut bounds) = (Vec::with_capacity(a.size()), Vec::new());
    let (mut magnitudes, mut additions) = (Vec::new(), Vec::new());
    if track {
        bounds.reserve(a.size());
    }
    for_rows(&a.shape, [a, b], |length, [ra, rb]| {
        let (x, y) = (ra.read(xs, length, s0), rb.read(ys, length, s1));
        if !track {
            plain_row(&model, op, x, y, &mut out);
            return;
        }
        let bx = ra.read_or_zeros(a.store.bound.as_ref(), length, s2);
        let by = rb.read_or_zeros(b.store.bound.as_ref(), length, s3);
        let operands = Operands { x, bx, y, by };
        bounded_row(&model, op, operands, &mut out, &mut bounds);
        if terms.kept == Kept::Nothing {
            return;
        }
        let start = bounds.len() - length;
        let mx = terms.magnitudes(0, a, ra, x, s4);
        let my = terms.magnitudes(1, b, rb, y, s5);
        append_magnitudes(op, mx, my, y, &mut magnitudes);
        let (out, bounds) = (&out[start..], &mut bounds[start..]);
        if terms.continued {
            let hx = ra.read_or_zeros(a.store.additions.as_ref(), length, s6);
            let hy = rb.read_or_zeros(b.store.additions.as_ref(), length, s7);
            additions.extend(hx.iter().zip(hy).map(|(x, y)| x.max(*y)));
            sum_row(&model, operands, (mx, my), |i| terms.weights(hx[i], hy[i]), out, bounds);
        } else if terms.is_sum && terms.count > 2.0 {
            let weights = terms.weights(0.0, 0.0);
            sum_row(&model, operands, (mx, my), |_| weights, out, bounds);
        }
        if numerics == Numerics::Algebraic {
            widen(&model, out, &magnitudes[start..], bounds);
        }
    });
    let store = Store {
        numbers: Numbers::Float(out),
        bound: bound_or_none(bounds),
        magnitude: (terms.kept != Kept::Nothing).then_some(magnitudes),
        additions: terms.continued.then_some(additions),
    };
    let result = Value::new(a.dtype, &a.shape, store);
    match terms.kept {
        Kept::Sum => Value { terms: terms.count, ..result },
        Kept::Product => Value { contraction: true, ..result },
        Kept::Nothing => result,
    }
}

/// Appends `x op y` for operands without errors, of which none is made.
fn plain_row(model: &Model, op: BinaryOp, x: &[f64], y: &[f64], out: &mut Vec<f64>) {
    for_operator!(op, OP => out.extend(x.iter().zip(y).map(|(x, y)| model.binary(OP, *x, 0.0, *y, 0.0).0)));
}

/// Appends `x op y` and its bounds.
fn bounded_row(model: &Model, op: BinaryOp, operands: Operands<'_>, out: &mut Vec<f64>, bounds: &mut Vec<f64>) {
    if binary_row(model, op, operands, out, bounds) {
        return;
    }
    let Operands { x, bx, y, by } = operands;
    for_operator!(op, OP => for i in 0..x.len() {
        let (z, bound) = model.binary(OP, x[i], bx[i], y[i], by[i]);
        out.push(z);
        bounds.push(bound);
    });
}

/// Appends the Σ|terms| of a sum, product or quotient from those of its operands.
fn append_magnitudes(op: BinaryOp, mx: &[f64], my: &[f64], y: &[f64], magnitudes: &mut Vec<f64>) {
    if is_sum(op) {
        magnitudes.extend(mx.iter().zip(my).map(|(x, y)| x + y));
    } else if op == BinaryOp::Mul {
        magnitudes.extend(mx.iter().zip(my).map(|(x, y)| x * y));
    } else {
        magnitudes.extend(mx.iter().zip(y).map(|(x, y)| x / y.abs()));
    }
}

/// Adds to a row's bounds what the laws of `algebraic` may make of Σ|terms|.
fn widen(model: &Model, out: &[f64], magnitudes: &[f64], bounds: &mut [f64]) {
    for (i, bound) in bounds.iter_mut().enumerate() {
        let local = 4.0 * model.roundoff * magnitudes[i];
        *bound = model.settle(out[i], *bound + local, *bound == f64::INFINITY).1;
    }
}

fn is_sum(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Add | BinaryOp::Sub)
}

fn is_product(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Mul | BinaryOp::Div)
}

/// What a result hands on to a later sum.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Nothing,
    /// Its Σ|terms| and their number.
    Sum,
    /// Its Σ|terms|, as a factor of a contraction.
    Product,
}

/// What is known of an operator's two operands as sums, and of its result.
struct Terms {
    is_sum: bool,
    /// What the result hands on.
    kept: Kept,
    /// A sum that goes on with sums of statements before.
    continued: bool,
    /// Whether an operand counts with its Σ|terms|, or with its absolute value.
    summed: [bool; 2],
    /// Number of terms of a sum, in this statement.
    count: f64,
    /// The additions of each operand in this statement.
    own: [f64; 2],
    /// Whether an operand's bound counts its additions even where there is only one.
    contraction: [bool; 2],
    roundoff: f64,
}

impl Terms {
    /// `magnitude`: a later sum will ask for Σ|terms|.
    fn new(op: BinaryOp, model: &Model, operands: [&Value; 2], magnitude: bool) -> Terms {
        let (is_sum, is_product) = (is_sum(op), is_product(op));
        let algebraic = model.numerics == Numerics::Algebraic;
        let contraction = operands.map(|v| v.contraction);
        let count = operands[0].terms + operands[1].terms;
        let continued = is_sum && !model.is_exact() && operands.iter().any(|v| v.store.additions.is_some());
        let of_contraction = contraction.contains(&true);
        let kept = match (is_sum, is_product) {
            _ if model.is_exact() => Kept::Nothing,
            (true, _) if count > 2.0 || continued || magnitude || algebraic => Kept::Sum,
            (_, true) if of_contraction && magnitude || algebraic => Kept::Product,
            (true | false, true | false) => Kept::Nothing,
        };
        // A product with what statements before have summed is not distributed over that sum.
        let summed = operands
            .map(|v| if is_product { v.contraction || algebraic && v.is_own_sum() } else { algebraic || v.is_sum() });
        let own = operands.map(|v| if v.store.magnitude.is_some() { v.terms - 1.0 } else { 0.0 });
        Terms { is_sum, kept, continued, summed, count, own, contraction, roundoff: model.roundoff }
    }

    /// Unit roundoffs per magnitude: what the result's additions may spend, and what the bounds of the two operands
    /// have of it already. `before_a` and `before_b`: the additions of statements before. Only one of two sums that
    /// statements before have made goes on in a loop that takes its terms in another order; the other is a term.
    #[inline(always)]
    fn weights(&self, before_a: f64, before_b: f64) -> [f64; 3] {
        // A plain sum of two terms has the running bound u·|z|, which is less than 1·u·Σ|terms|: nothing is deducted.
        let spent = |at: usize, before: f64| {
            let additions = self.own[at] + before;
            if additions > 1.0 || self.contraction[at] { additions * self.roundoff } else { 0.0 }
        };
        let all = self.count - 1.0 + before_a.max(before_b);
        [if all > 1.0 { all * self.roundoff } else { 0.0 }, spent(0, before_a), spent(1, before_b)]
    }

    /// The magnitudes of a row `x` of the operand `v`, which is the first or the second one.
    fn magnitudes<'a>(&self, at: usize, v: &'a Value, row: Row, x: &[f64], scratch: &'a mut Vec<f64>) -> &'a [f64] {
        match &v.store.magnitude {
            Some(all) if self.summed[at] => row.read(all, x.len(), scratch),
            Some(_) | None => {
                scratch.clear();
                scratch.extend(x.iter().map(|x| x.abs()));
                scratch
            }
        }
    }
}
