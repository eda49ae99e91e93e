//! Whole rows of `+ − · /` with their error bounds, for the case that nothing overflows and no divisor may be 0: the
//! formulas of [`super::bounds`] without a branch, so that they are computed several elements at a time.

use super::bounds::{Model, RECIPROCAL_ROUNDINGS};
use crate::value::dtype::DType;
use crate::value::scalar::BinaryOp;

/// Operands of a row: elements and bounds of both sides, all of one length.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    pub(super) x: &'a [f64],
    pub(super) bx: &'a [f64],
    pub(super) y: &'a [f64],
    pub(super) by: &'a [f64],
}

/// Appends `x op y` and its bounds, as [`Model::binary`] gives them. False, and nothing is appended, where the operator
/// or an element needs more care.
pub(super) fn binary_row(
    model: &Model,
    op: BinaryOp,
    operands: Operands<'_>,
    out: &mut Vec<f64>,
    bounds: &mut Vec<f64>,
) -> bool {
    if model.is_exact() {
        return false;
    }
    let single = match model.dtype {
        DType::F32 => true,
        DType::F64 => false,
        DType::Bool | DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::I64 | DType::F16 | DType::BF16 => {
            return false;
        }
    };
    let (start, length) = (out.len(), operands.x.len());
    out.resize(start + length, 0.0);
    bounds.resize(start + length, 0.0);
    let results = (&mut out[start..], &mut bounds[start..]);
    let done = match (op, single) {
        (BinaryOp::Add, true) => row(operands, results, model.largest, |x, bx, y, by| sum::<true>(model, x, bx, y, by)),
        (BinaryOp::Add, false) => {
            row(operands, results, model.largest, |x, bx, y, by| sum::<false>(model, x, bx, y, by))
        }
        (BinaryOp::Sub, true) => {
            row(operands, results, model.largest, |x, bx, y, by| sum::<true>(model, x, bx, -y, by))
        }
        (BinaryOp::Sub, false) => {
            row(operands, results, model.largest, |x, bx, y, by| sum::<false>(model, x, bx, -y, by))
        }
        (BinaryOp::Mul, _) => row(operands, results, model.largest, |x, bx, y, by| product(model, x, bx, y, by)),
        (BinaryOp::Div, _) => row(operands, results, model.largest, |x, bx, y, by| quotient(model, x, bx, y, by)),
        (
            BinaryOp::FloorDiv
            | BinaryOp::Mod
            | BinaryOp::Pow
            | BinaryOp::Minimum
            | BinaryOp::Maximum
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor
            | BinaryOp::Shl
            | BinaryOp::Shr
            | BinaryOp::Eq
            | BinaryOp::Ne
            | BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::Gt
            | BinaryOp::Ge,
            _,
        ) => false,
    };
    if !done {
        out.truncate(start);
        bounds.truncate(start);
    }
    done
}

/// One formula for every element; false if a result is not surely below the largest number.
#[inline(always)]
fn row(
    Operands { x, bx, y, by }: Operands<'_>,
    (out, bounds): (&mut [f64], &mut [f64]),
    largest: f64,
    formula: impl Fn(f64, f64, f64, f64) -> (f64, f64),
) -> bool {
    let mut settled = true;
    let operands = x.iter().zip(bx).zip(y.iter().zip(by));
    for ((out, bound), ((x, bx), (y, by))) in out.iter_mut().zip(bounds).zip(operands) {
        (*out, *bound) = formula(*x, *bx, *y, *by);
        settled &= out.abs() + *bound < largest;
    }
    settled
}

/// `x + y`: half an ulp unless both are certain and the sum is exact (D. Knuth's TwoSum).
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "rounding is the question")]
fn sum<const SINGLE: bool>(model: &Model, x: f64, bx: f64, y: f64, by: f64) -> (f64, f64) {
    let z = x + y;
    let other = z - x;
    let error = (x - (z - other)) + (y - other);
    let stored = !SINGLE || f64::from(z as f32) == z;
    let carried = bx + by;
    let exact = (carried == 0.0) & stored & (error == 0.0);
    (z, carried + if exact { 0.0 } else { model.roundoff * z.abs() })
}

/// `x · y`: exact where a factor is surely 0, or surely a power of two and the product is normal.
#[inline(always)]
fn product(model: &Model, x: f64, bx: f64, y: f64, by: f64) -> (f64, f64) {
    let z = x * y;
    let exact = (bx == 0.0) & scales_exactly(model, x, z) | (by == 0.0) & scales_exactly(model, y, z);
    let local = if exact { 0.0 } else { model.roundoff * z.abs().max(model.tiny) };
    (z, x.abs() * by + y.abs() * bx + bx * by + local)
}

/// `x / y` for a divisor that is surely not 0; a bound of NaN otherwise.
#[inline(always)]
fn quotient(model: &Model, x: f64, bx: f64, y: f64, by: f64) -> (f64, f64) {
    let z = x / y;
    let exact = (by == 0.0) & is_power_of_two(y) & (z.abs() >= model.tiny) | (bx == 0.0) & (x == 0.0);
    let local = if exact { 0.0 } else { RECIPROCAL_ROUNDINGS * model.roundoff * z.abs().max(model.tiny) };
    let carried = (bx + z.abs() * by) / (y.abs() - by);
    (z, if by < y.abs() { carried + local } else { f64::NAN })
}

/// Whether the product `z` with `factor` needs no rounding, whatever the other factor is.
#[inline(always)]
fn scales_exactly(model: &Model, factor: f64, z: f64) -> bool {
    is_power_of_two(factor) & (z.abs() >= model.tiny) | (factor == 0.0)
}

#[inline(always)]
fn is_power_of_two(x: f64) -> bool {
    let normal = (x.abs() >= f64::MIN_POSITIVE) & (x.abs() < f64::INFINITY);
    normal & (x.to_bits() & ((1 << 52) - 1) == 0)
}

/// What a sum of several terms adds to the bounds of its last addition, in any order of the terms: `bound` becomes at
/// least `carried + (terms − 1)·u·Σ|terms|` less what the operands' bounds have of that already. `weights` gives for each
/// element the unit roundoffs per magnitude of the whole sum and those that the bounds of `x` and `y` have.
pub(super) fn sum_row(
    model: &Model,
    operands: Operands<'_>,
    (mx, my): (&[f64], &[f64]),
    weights: impl Fn(usize) -> [f64; 3],
    out: &[f64],
    bounds: &mut [f64],
) {
    let wider = |i: usize| {
        let [all, spent_x, spent_y] = weights(i);
        let local = all * (mx[i] + my[i]) - spent_x * mx[i] - spent_y * my[i];
        operands.bx[i] + operands.by[i] + local.max(0.0)
    };
    let length = bounds.len();
    let settled =
        (0..length).fold(true, |settled, i| settled & (out[i].abs() + wider(i).max(bounds[i]) < model.largest));
    if settled {
        for (i, bound) in bounds.iter_mut().enumerate() {
            *bound = bound.max(wider(i));
        }
        return;
    }
    for i in (0..length).filter(|&i| out[i].is_finite()) {
        let settled = model.settle(out[i], wider(i), bounds[i] == f64::INFINITY).1;
        bounds[i] = if bounds[i].is_nan() || settled.is_nan() { f64::NAN } else { bounds[i].max(settled) };
    }
}

#[cfg(test)]
mod tests {
    use super::{Operands, binary_row};
    use crate::oracle::inputs::SplitMix64;
    use crate::oracle::interpret::bounds::Model;
    use crate::value::dtype::DType;
    use crate::value::numerics::Numerics;
    use crate::value::scalar::BinaryOp;

    /// Numbers of all sizes, with special ones among them.
    fn draw(random: &mut SplitMix64) -> f64 {
        match random.next_below(8) {
            0 => 0.0,
            1 => f64::exp2(f64::from(u32::try_from(random.next_below(60)).expect("small")) - 30.0),
            2 => f64::from(u32::try_from(random.next_below(1000)).expect("small")),
            3 => (random.next_unit() - 0.5) * 1e-310,
            _ => (random.next_unit() - 0.5) * 100.0,
        }
    }

    #[test]
    fn rows_agree_with_single_elements() {
        let mut random = SplitMix64::new(5);
        let mut rows = 0;
        for round in 0..4000 {
            let dtype = if round % 2 == 0 { DType::F32 } else { DType::F64 };
            let model = Model::new(dtype, Numerics::Reassociate);
            let numbers = |random: &mut SplitMix64| -> Vec<f64> { (0..5).map(|_| draw(random)).collect() };
            let bounds = |random: &mut SplitMix64| -> Vec<f64> {
                let scale = if random.next_below(2) == 0 { 0.0 } else { 1e-9 };
                (0..5).map(|_| random.next_unit() * scale).collect()
            };
            let (x, y) = (numbers(&mut random), numbers(&mut random));
            let (bx, by) = (bounds(&mut random), bounds(&mut random));
            for op in [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Div] {
                let operands = Operands { x: &x, bx: &bx, y: &y, by: &by };
                let (mut out, mut bounds) = (vec![], vec![]);
                if !binary_row(&model, op, operands, &mut out, &mut bounds) {
                    assert!(out.is_empty() && bounds.is_empty());
                    continue;
                }
                rows += 1;
                for i in 0..5 {
                    let (z, bound) = model.binary(op, x[i], bx[i], y[i], by[i]);
                    assert_eq!(z.to_bits(), out[i].to_bits(), "{} {op:?} {}", x[i], y[i]);
                    let close = (bound - bounds[i]).abs() <= 1e-12 * bound;
                    assert!(close, "{} {op:?} {} within {} and {}: {bound} {}", x[i], y[i], bx[i], by[i], bounds[i]);
                }
            }
        }
        assert!(rows > 4000, "{rows} rows");
    }
}
