//! The running error bound: how much a kernel's element may differ from the exact one, to first
//! order, for one scalar operation.
//!
//! Input: operand values with the bounds of their absolute errors. Output: the value in `f64` (at
//! the source type, in `exact` numerics) and its bound. An infinite bound says that no distance can
//! be claimed, because a divisor may be 0 or a logarithm's argument; a bound of NaN that nothing can
//! be, because some order of the operations overflows. Sources: N. Higham, *Accuracy and stability of numerical algorithms*, 2nd ed., §3.3
//! (running error analysis) and §4.2 (sums).

use crate::value::dtype::DType;
use crate::value::numerics::Numerics;
use crate::value::scalar::{BinaryOp, UnaryOp};
use crate::value::scalar_eval::{binary_float, binary_float_at, compare, round, unary_float};

/// Unit roundoffs that a kernel may spend on one application of `op`: ½ ulp is 1. The vector
/// functions of the code generator are held to 4 ulp; NumPy's are within that, too.
pub(crate) const fn unary_roundings(op: UnaryOp) -> f64 {
    match op {
        UnaryOp::Neg | UnaryOp::Not | UnaryOp::Abs | UnaryOp::Sign | UnaryOp::Floor => 0.0,
        UnaryOp::Sqrt => 1.0,
        UnaryOp::Exp | UnaryOp::Log | UnaryOp::Sin | UnaryOp::Cos | UnaryOp::Tanh | UnaryOp::Erf => 8.0,
    }
}

/// The same for two arguments.
pub(crate) const fn binary_roundings(op: BinaryOp) -> f64 {
    match op {
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod => 1.0,
        BinaryOp::FloorDiv => 2.0,
        BinaryOp::Pow => 8.0,
        BinaryOp::Minimum | BinaryOp::Maximum | BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => 0.0,
        BinaryOp::Shl | BinaryOp::Shr => 0.0,
        BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => 0.0,
    }
}

/// Those of a quotient where it may be the product with the divisor's reciprocal: both round.
pub(crate) const RECIPROCAL_ROUNDINGS: f64 = 2.0;

/// How a float type rounds, and what the numerics let a kernel do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    pub(crate) dtype: DType,
    /// Unit roundoff; doubled for `F64`, where the reference itself rounds as the kernel does.
    pub(crate) roundoff: f64,
    /// Smallest normal number.
    pub(crate) tiny: f64,
    /// Largest finite number.
    pub(crate) largest: f64,
    pub(crate) numerics: Numerics,
}

impl Model {
    /// The model of a float type; bools and integers behave as `F64` where it matters at all.
    pub(crate) fn new(dtype: DType, numerics: Numerics) -> Model {
        let (roundoff, tiny, largest) = match dtype {
            DType::F16 => ((-11f64).exp2(), (-14f64).exp2(), 65504.0),
            DType::BF16 => ((-8f64).exp2(), f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX)),
            DType::F32 => ((-24f64).exp2(), f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX)),
            DType::Bool | DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::I64 | DType::F64 => {
                (f64::EPSILON, f64::MIN_POSITIVE, f64::MAX)
            }
        };
        Model { dtype, roundoff, tiny, largest, numerics }
    }

    /// True if results are computed at the source type, operation by operation.
    pub(crate) fn is_exact(&self) -> bool {
        self.numerics == Numerics::Exact
    }

    /// The error of `roundings` roundings of `z`, subnormal results included.
    #[inline]
    fn rounding(&self, z: f64, roundings: f64) -> f64 {
        if roundings == 0.0 || z == 0.0 && roundings <= 1.0 {
            0.0
        } else {
            roundings * self.roundoff * z.abs().max(self.tiny)
        }
    }

    /// Puts a result in order: overflow at the type, NaN, and infinities. `doubtful`: an operand's
    /// bound is infinite. Where the result may overflow or not, the bound is NaN.
    #[inline]
    pub(crate) fn settle(&self, z: f64, bound: f64, doubtful: bool) -> (f64, f64) {
        if z.abs() + bound < self.largest {
            return (z, bound);
        }
        if doubtful || bound == f64::INFINITY {
            (z, f64::INFINITY)
        } else if bound.is_nan() {
            (z, f64::NAN)
        } else if z.is_nan() || z.is_infinite() {
            (z, 0.0)
        } else if z.abs() - bound > self.largest * (1.0 + self.roundoff) {
            (f64::INFINITY.copysign(z), 0.0)
        } else if z.abs() <= self.largest && bound == 0.0 {
            (z, 0.0)
        } else {
            (z, f64::NAN)
        }
    }

    /// `op x` for an `x` known within `bx`.
    #[inline]
    pub(crate) fn unary(&self, op: UnaryOp, x: f64, bx: f64) -> (f64, f64) {
        let z = if self.is_exact() { round(self.dtype, unary_float(op, x)) } else { unary_float(op, x) };
        if bx.is_nan() {
            return (z, f64::NAN);
        }
        let z = if root_hangs(op, x, bx) { x.max(0.0).sqrt() } else { z };
        let carried = if bx == 0.0 { 0.0 } else { unary_carried(op, x, bx, z) };
        if !z.is_finite() && bx < f64::INFINITY {
            // Only where it overflows may a rounding decide.
            let near = z.is_infinite() && op == UnaryOp::Exp && unary_float(op, x - bx - x.abs() * 1e-9).is_finite();
            return (
                z,
                if near {
                    f64::NAN
                } else if carried.is_finite() {
                    0.0
                } else {
                    carried
                },
            );
        }
        let exact = self.is_exact() && bx == 0.0 && op == UnaryOp::Sqrt;
        let local = if exact { 0.0 } else { self.rounding(z, unary_roundings(op)) };
        self.settle(z, carried + local, bx == f64::INFINITY)
    }

    /// `x op y` for anything but comparisons.
    #[inline]
    pub(crate) fn binary(&self, op: BinaryOp, x: f64, bx: f64, y: f64, by: f64) -> (f64, f64) {
        let z = if self.is_exact() { binary_float_at(op, self.dtype, x, y) } else { binary_float(op, x, y) };
        if bx.is_nan() || by.is_nan() {
            return (z, f64::NAN);
        }
        let (certain_x, certain_y) = (bx == 0.0, by == 0.0);
        let certain = certain_x && certain_y;
        let carried = if certain { 0.0 } else { self.binary_carried(op, x, bx, y, by, z) };
        if !z.is_finite() && bx < f64::INFINITY && by < f64::INFINITY {
            return (z, no_number(op, x, bx, y, by));
        }
        let local = if certain && self.is_exact() && op != BinaryOp::Pow {
            0.0
        } else {
            match op {
                // A power of two only moves the exponent, in whatever order factors are taken; a factor that has an error of
                // its own is none, nor 0.
                BinaryOp::Mul
                    if (certain_x && is_power_of_two(x) || certain_y && is_power_of_two(y)) && z.abs() >= self.tiny =>
                {
                    0.0
                }
                BinaryOp::Div if certain_y && is_power_of_two(y) && z.abs() >= self.tiny => 0.0,
                BinaryOp::Mul if certain_x && x == 0.0 || certain_y && y == 0.0 => 0.0,
                BinaryOp::Div if certain_x && x == 0.0 => 0.0,
                // The sum was exact.
                BinaryOp::Add if certain && round(self.dtype, z) == z && sum_error(x, y, z) == 0.0 => 0.0,
                BinaryOp::Sub if certain && round(self.dtype, z) == z && sum_error(x, -y, z) == 0.0 => 0.0,
                // Below 1/(4u) the correction by one in NumPy's definition makes the quotient exact.
                BinaryOp::FloorDiv if z.abs() * self.roundoff < 0.125 => 0.0,
                // Without the addition of the divisor the remainder is exact.
                BinaryOp::Mod if certain && z == x % y => 0.0,
                BinaryOp::Add | BinaryOp::Sub => self.roundoff * z.abs(),
                BinaryOp::Mod => self.roundoff * y.abs(),
                BinaryOp::Mul | BinaryOp::Div if z == 0.0 => self.roundoff * self.tiny,
                BinaryOp::Div if !self.is_exact() => self.rounding(z, RECIPROCAL_ROUNDINGS),
                BinaryOp::Mul
                | BinaryOp::Div
                | BinaryOp::FloorDiv
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
                | BinaryOp::Ge => self.rounding(z, binary_roundings(op)),
            }
        };
        self.settle(z, carried + local, bx == f64::INFINITY || by == f64::INFINITY)
    }

    /// What the operands' errors do to `z = x op y`.
    fn binary_carried(&self, op: BinaryOp, x: f64, bx: f64, y: f64, by: f64, z: f64) -> f64 {
        match op {
            BinaryOp::Add | BinaryOp::Sub => bx + by,
            BinaryOp::Mul => x.abs() * by + y.abs() * bx + bx * by,
            BinaryOp::Div => quotient_carried(x, bx, y, by),
            BinaryOp::FloorDiv => {
                let quotient = x / y;
                let bound = quotient_carried(x, bx, y, by) + self.roundoff * quotient.abs();
                spread(z, (quotient - bound).floor(), (quotient + bound).floor())
            }
            BinaryOp::Mod => {
                let quotient = x / y;
                let bound = quotient_carried(x, bx, y, by) + self.roundoff * quotient.abs();
                let (low, high) = ((quotient - bound).floor(), (quotient + bound).floor());
                // Past a multiple of the divisor the remainder jumps by the divisor.
                bx + low.abs().max(high.abs()) * by + if low == high { 0.0 } else { (high - low) * (y.abs() + by) }
            }
            BinaryOp::Pow => power_carried(x, bx, y, by, z),
            BinaryOp::Minimum => spread(z, (x - bx).min(y - by), (x + bx).min(y + by)),
            BinaryOp::Maximum => spread(z, (x - bx).max(y - by), (x + bx).max(y + by)),
            BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr => f64::INFINITY,
            BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => 1.0,
        }
    }
}

/// The bound of a result that is no finite number, of operands whose bounds are finite: 0 where it is surely that one,
/// infinite where a divisor may be 0, NaN where roundings decide.
fn no_number(op: BinaryOp, x: f64, bx: f64, y: f64, by: f64) -> f64 {
    if bx == 0.0 && by == 0.0 {
        return 0.0;
    }
    let nonzero = |v: f64, b: f64| if v.abs() > b || b == 0.0 { 0.0 } else { f64::NAN };
    match op {
        BinaryOp::Div if x.is_finite() && y.abs() <= by => quotient_carried(x, bx, y, by),
        BinaryOp::Add | BinaryOp::Sub if !x.is_finite() || !y.is_finite() => 0.0,
        BinaryOp::Minimum | BinaryOp::Maximum if x.is_nan() || y.is_nan() => 0.0,
        BinaryOp::Mul if !x.is_finite() => nonzero(y, by),
        BinaryOp::Mul if !y.is_finite() => nonzero(x, bx),
        BinaryOp::Div if !x.is_finite() => nonzero(y, by),
        BinaryOp::Div if y.is_nan() => 0.0,
        BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Mul
        | BinaryOp::Div
        | BinaryOp::FloorDiv
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
        | BinaryOp::Ge => f64::NAN,
    }
}

/// A comparison and whether its outcome may be the other one: 0 or 1.
#[inline]
pub(crate) fn comparison(op: BinaryOp, x: f64, bx: f64, y: f64, by: f64) -> (bool, f64) {
    let truth = compare(op, x.partial_cmp(&y)) == Some(true);
    let certain = if x.is_nan() || y.is_nan() {
        bx < f64::INFINITY && by < f64::INFINITY
    } else {
        bx == 0.0 && by == 0.0 || (x - y).abs() > bx + by
    };
    (truth, if certain { 0.0 } else { 1.0 })
}

/// Whether roundings decide if a root has a value at all. Its value is then the one of the nearest argument that has one.
#[inline]
pub(crate) fn root_hangs(op: UnaryOp, x: f64, bx: f64) -> bool {
    op == UnaryOp::Sqrt && bx > 0.0 && bx < f64::INFINITY && x >= -bx && x < bx
}

/// The farther of an interval's ends from `z`.
#[inline]
pub(crate) fn spread(z: f64, low: f64, high: f64) -> f64 {
    // The subtraction of equal infinities is no distance.
    let distance = |a: f64, b: f64| if a == b { 0.0 } else { a - b };
    distance(high, z).max(distance(z, low))
}

fn is_power_of_two(x: f64) -> bool {
    x.is_normal() && x.to_bits() & ((1 << 52) - 1) == 0
}

/// The rounding error of `z = x + y` (D. Knuth's TwoSum).
fn sum_error(x: f64, y: f64, z: f64) -> f64 {
    let other = z - x;
    (x - (z - other)) + (y - other)
}

/// What an error of `bx` in the argument does to `z = op x`.
#[inline]
fn unary_carried(op: UnaryOp, x: f64, bx: f64, z: f64) -> f64 {
    match op {
        UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Not => bx,
        UnaryOp::Sign => {
            if x.abs() > bx {
                0.0
            } else {
                1.0 + z.abs()
            }
        }
        UnaryOp::Floor => spread(z, (x - bx).floor(), (x + bx).floor()),
        UnaryOp::Sqrt if bx == f64::INFINITY => f64::INFINITY,
        // Surely negative.
        UnaryOp::Sqrt if x < -bx => 0.0,
        // The argument may be negative, the result NaN: this is the bound if it is not.
        UnaryOp::Sqrt if x < bx => (x + bx).sqrt(),
        UnaryOp::Sqrt => bx / (z + (x - bx).sqrt()),
        UnaryOp::Exp => z * growth(bx),
        UnaryOp::Log => relative(x, bx),
        UnaryOp::Sin | UnaryOp::Cos => bx.min(2.0),
        // The slope is steepest at the end nearer to 0; its own slope is below 1.
        UnaryOp::Tanh => (bx * (1.0 - z * z + bx).min(1.0)).min(2.0),
        UnaryOp::Erf => {
            let nearest = (x.abs() - bx).max(0.0);
            (bx * std::f64::consts::FRAC_2_SQRT_PI * (-nearest * nearest).exp()).min(2.0)
        }
    }
}

/// eᵇ − 1, from above.
#[inline]
fn growth(b: f64) -> f64 {
    if b < 1e-3 { b * (1.0 + b) } else { b.exp_m1() }
}

/// The greatest change of ln |x| under a change of x by at most `bx`.
#[inline]
fn relative(x: f64, bx: f64) -> f64 {
    let ratio = bx / x.abs();
    if bx == 0.0 {
        0.0
    } else if ratio < 1e-3 {
        ratio * (1.0 + ratio)
    } else if ratio < 1.0 {
        -(-ratio).ln_1p()
    } else {
        f64::INFINITY
    }
}

fn quotient_carried(x: f64, bx: f64, y: f64, by: f64) -> f64 {
    if by >= y.abs() && by > 0.0 {
        // The divisor may be 0.
        return f64::INFINITY;
    }
    if y == 0.0 {
        // The infinity's sign, or NaN, may depend on the dividend's.
        return if x.abs() > bx { 0.0 } else { f64::INFINITY };
    }
    (bx + (x / y).abs() * by) / (y.abs() - by)
}

fn power_carried(x: f64, bx: f64, y: f64, by: f64, z: f64) -> f64 {
    if by == 0.0 && y == y.floor() && y >= 1.0 {
        // (|x| + b)ʸ − |x|ʸ
        return if x == 0.0 { bx.powf(y) } else { z.abs() * growth(y * (bx / x.abs()).ln_1p()) };
    }
    let change = relative(x, bx);
    if by == 0.0 && y == 0.0 {
        0.0
    } else if change == f64::INFINITY || x < 0.0 && by > 0.0 || x == 0.0 {
        f64::INFINITY
    } else {
        z.abs() * growth(y.abs() * change + by * (x.abs().ln().abs() + change))
    }
}

/// The bound, or infinity where the interval leaves the type's range and so wraps.
pub(super) fn wrapped_bound(dtype: DType, z: f64, bound: f64) -> f64 {
    let half = match dtype {
        DType::Bool => return bound.min(1.0),
        DType::U8 => return if z - bound < 0.0 || z + bound > 255.0 { f64::INFINITY } else { bound },
        DType::I8 => 7.0,
        DType::I16 => 15.0,
        DType::I32 => 31.0,
        DType::I64 | DType::F16 | DType::BF16 | DType::F32 | DType::F64 => 63.0,
    };
    if bound > 0.0 && z.abs() + bound >= f64::exp2(half) { f64::INFINITY } else { bound }
}

/// An integer for the arithmetic of bounds.
#[expect(clippy::cast_precision_loss, reason = "bounds need no more than 53 bits")]
pub(super) fn to_float(x: i64) -> f64 {
    x as f64
}

/// A number of terms for the arithmetic of bounds.
#[expect(clippy::cast_precision_loss, reason = "bounds need no more than 53 bits")]
pub(super) fn count(terms: usize) -> f64 {
    terms as f64
}

#[cfg(test)]
mod tests {
    use super::Model;
    use crate::value::dtype::DType;
    use crate::value::numerics::Numerics;
    use crate::value::scalar::BinaryOp;

    /// What looks like a power of two within its error is another number, whose product rounds.
    #[test]
    fn a_factor_with_an_error_of_its_own_is_no_power_of_two() {
        let model = Model::new(DType::F64, Numerics::Reassociate);
        let bound = |op, x, bx, y, by| model.binary(op, x, bx, y, by).1;
        assert_eq!(bound(BinaryOp::Mul, 2.0, 0.0, 3.0, 1e-9), 2e-9);
        assert!(bound(BinaryOp::Mul, 2.0, 1e-9, 3.0, 0.0) > 3e-9);
        assert_eq!(bound(BinaryOp::Div, 3.0, 1e-9, 2.0, 0.0), 5e-10);
        assert!(bound(BinaryOp::Div, 3.0, 0.0, 2.0, 1e-9) > 1.5e-9 / (2.0 - 1e-9));
    }
}
