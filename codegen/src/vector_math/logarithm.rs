//! log and pow.
//!
//! x = 2ᵉ·m with m in [√½, √2); the logarithm of m by a polynomial in f = m − 1 (f32) or in
//! s = f / (2 + f) (f64, after fdlibm's `e_log.c`). pow at f32 computes in f64; at f64 it carries
//! the logarithm as an unevaluated sum of two numbers, since an error of ε in it is one of
//! ε·y·ln x in the result.

use super::error::Emit;
use super::exponential::exp_reduced;
use super::lanes::{Lanes, Vector, Width};
use inkwell::FloatPredicate;

/// (ln(1 + f) − f) / f², relative error of the logarithm 2^-27.7.
const LOG_F32: [f64; 9] = [
    -0.49999988079071045,
    0.33333325386047363,
    -0.2500159740447998,
    0.20001915097236633,
    -0.16608993709087372,
    0.14183804392814636,
    -0.1324470341205597,
    0.128886878490448,
    -0.07596885412931442,
];

/// (ln((1 + s)/(1 − s)) − 2s) / s³ in s², from fdlibm.
const LOG_F64: [f64; 7] = [
    0.6666666666666735,
    0.3999999999940942,
    0.2857142874366239,
    0.22222198432149784,
    0.1818357216161805,
    0.15313837699209373,
    0.14798198605116586,
];

/// ln 2 with a high part of 42 bits, so that its product with an exponent is exact.
const LN_2_HIGH: f64 = 0.6931471805598903;
const LN_2_LOW: f64 = 5.497923018708371e-14;

/// ln 2 to f32, and what is missing.
const LN_2_F32: (f64, f64) = (0.693_147_182_464_599_6, -1.904_654_212_125_933_6e-9);

/// log₂((1 + s)/(1 − s)) / s in s², relative error 2^-37.7.
const LOG2_POW_F32: [f64; 5] =
    [2.8853900817907294, 0.9617966724910731, 0.5770837566634199, 0.4116619069835982, 0.34093870831300355];

/// 2ʳ for |r| ≤ ½, relative error 2^-28.5.
const EXP2_POW_F32: [f64; 7] = [
    1.0,
    0.6931472154028827,
    0.24022652810777512,
    0.05550309708752821,
    0.009617689102694744,
    0.0013406949783732395,
    0.00015595538204735634,
];

/// (ln((1 + s)/(1 − s)) − 2s − ⅔s³) / s⁵ in s², error relative to the logarithm 2^-73.
const LOG_POW_F64: [f64; 8] = [
    0.39999999999999974,
    0.28571428571447044,
    0.22222222217071005,
    0.18181818926438167,
    0.15384553137179982,
    0.13336456693069876,
    0.11672087637614313,
    0.12010939364180392,
];

/// ⅔ in two parts.
const TWO_THIRDS: (f64, f64) = (0.6666666666666666, 3.700743415417188e-17);

/// x = 2^exponent · fraction for a positive finite x.
struct Split<'c> {
    exponent: Vector<'c>,
    fraction: Vector<'c>,
}

/// `subnormal`: x may be below the normal numbers.
fn split<'c>(m: &Lanes<'_, 'c>, x: Vector<'c>, subnormal: bool) -> Emit<Split<'c>> {
    let (least_normal, up, digits, root_half) = match m.width {
        Width::F32 => (f64::from(f32::MIN_POSITIVE), 16_777_216.0, 24.0, 0x3f35_04f3),
        Width::F64 => (f64::MIN_POSITIVE, 18_014_398_509_481_984.0, 54.0, 0x3fe6_a09e_667f_3bcd),
    };
    let fraction_bits = m.width.fraction_bits();
    let one = m.width.bias() << fraction_bits;
    // What is subtracted from the exponent field: the bias, and for f64 the 2⁵² that turns the
    // field into a float without a conversion that only AVX-512 has.
    let (field_as_float, bias): (u64, f64) = match m.width {
        Width::F32 => (0, 127.0),
        Width::F64 => (0x4330_0000_0000_0000, 4_503_599_627_370_496.0 + 1023.0),
    };
    let (x, bias) = if subnormal {
        let small = m.compare(FloatPredicate::OLT, x, m.float(least_normal))?;
        let raised = m.mul(x, m.float(up))?;
        (m.select(small, raised, x)?, m.select(small, m.float(bias + digits), m.float(bias))?)
    } else {
        (x, m.float(bias))
    };
    let shifted = m.int_add(m.bits_of(x)?, m.int(one - root_half))?;
    let field = m.shift_right(shifted, fraction_bits)?;
    let field = match m.width {
        Width::F32 => m.int_to_float(field)?,
        Width::F64 => m.float_of(m.or(field, m.int(field_as_float))?)?,
    };
    let fraction = m.and(shifted, m.int((1 << fraction_bits) - 1))?;
    let fraction = m.float_of(m.int_add(fraction, m.int(root_half))?)?;
    Ok(Split { exponent: m.sub(field, bias)?, fraction })
}

/// ln x.
pub(super) fn log<'c>(m: &Lanes<'_, 'c>, x: Vector<'c>) -> Emit<Vector<'c>> {
    let Split { exponent: e, fraction } = split(m, x, true)?;
    let f = m.sub(fraction, m.float(1.0))?;
    let value = match m.width {
        Width::F32 => {
            let square = m.mul(f, f)?;
            let tail = m.fma(m.polynomial(f, &LOG_F32)?, square, m.mul(e, m.float(LN_2_F32.1))?)?;
            m.fma(e, m.float(LN_2_F32.0), m.add(f, tail)?)?
        }
        Width::F64 => {
            let s = m.div(f, m.add(f, m.float(2.0))?)?;
            let z = m.mul(s, s)?;
            let half_square = m.mul(m.mul(f, f)?, m.float(0.5))?;
            let r = m.fma(m.polynomial(z, &LOG_F64)?, z, half_square)?;
            let tail = m.fma(s, r, m.mul(e, m.float(LN_2_LOW))?)?;
            m.fma(e, m.float(LN_2_HIGH), m.sub(f, m.sub(half_square, tail)?)?)?
        }
    };
    let zero = m.float(0.0);
    // NaN and +∞ are their own logarithms.
    let finite = m.compare(FloatPredicate::OLT, x, m.float(f64::INFINITY))?;
    let value = m.select(finite, value, x)?;
    let negative = m.compare(FloatPredicate::OLT, x, zero)?;
    let value = m.select(negative, m.float(f64::NAN), value)?;
    let is_zero = m.compare(FloatPredicate::OEQ, x, zero)?;
    m.select(is_zero, m.float(f64::NEG_INFINITY), value)
}

/// xʸ, with the special cases of C's Annex F, which are NumPy's.
pub(super) fn pow<'c>(m: &Lanes<'_, 'c>, x: Vector<'c>, y: Vector<'c>) -> Emit<Vector<'c>> {
    let size = m.abs(x)?;
    let value = match m.width {
        Width::F32 => {
            let wide = m.at(Width::F64);
            m.truncate(pow_f32(&wide, m.extend(size)?, m.extend(y)?)?)?
        }
        Width::F64 => pow_f64(m, size, y)?,
    };
    pow_special(m, x, size, y, value)
}

/// x^y for finite positive x, all of it in f64, rounded to f32 by the caller.
fn pow_f32<'c>(m: &Lanes<'_, 'c>, x: Vector<'c>, y: Vector<'c>) -> Emit<Vector<'c>> {
    let Split { exponent, fraction } = split(m, x, false)?;
    let one = m.float(1.0);
    let s = m.div(m.sub(fraction, one)?, m.add(fraction, one)?)?;
    let z = m.mul(s, s)?;
    let log2 = m.fma(m.polynomial(z, &LOG2_POW_F32)?, s, exponent)?;
    let product = m.mul(y, log2)?;
    let product = m.at_least(m.at_most(product, 200.0)?, -200.0)?;
    let n = m.round_scaled(product, 1.0)?;
    let p = m.polynomial(m.sub(product, n.value)?, &EXP2_POW_F32)?;
    m.scale_normal(p, n)
}

/// high + low, |low| ≤ ½ ulp(high).
#[derive(Clone, Copy)]
struct Double<'c> {
    high: Vector<'c>,
    low: Vector<'c>,
}

/// x + y where |x| ≥ |y| or x is 0 (Dekker).
fn fast_two_sum<'c>(m: &Lanes<'_, 'c>, x: Vector<'c>, y: Vector<'c>) -> Emit<Double<'c>> {
    let high = m.add(x, y)?;
    let low = m.sub(y, m.sub(high, x)?)?;
    Ok(Double { high, low })
}

/// x · y without the product of the low parts.
fn double_product<'c>(m: &Lanes<'_, 'c>, x: Double<'c>, y: Double<'c>) -> Emit<Double<'c>> {
    let high = m.mul(x.high, y.high)?;
    let low = m.fma(x.high, y.high, m.neg(high)?)?;
    let low = m.fma(x.high, y.low, low)?;
    let low = m.fma(x.low, y.high, low)?;
    Ok(Double { high, low })
}

/// ln x for finite positive x, to about 2^-65 of itself.
fn log_double<'c>(m: &Lanes<'_, 'c>, x: Vector<'c>) -> Emit<Double<'c>> {
    let Split { exponent: e, fraction } = split(m, x, true)?;
    let one = m.float(1.0);
    // s = (fraction − 1) / (fraction + 1), the denominator in two parts.
    let numerator = m.sub(fraction, one)?;
    let denominator = fast_two_sum(m, one, fraction)?;
    let denominator = {
        // The fraction may exceed 1, by less than a factor of 2: the low part is exact either way.
        let low = m.sub(fraction, m.sub(denominator.high, one)?)?;
        Double { high: denominator.high, low }
    };
    let reciprocal = m.div(one, denominator.high)?;
    let high = m.mul(numerator, reciprocal)?;
    let negative = m.neg(high)?;
    let rest = m.fma(negative, denominator.high, numerator)?;
    let rest = m.fma(negative, denominator.low, rest)?;
    let s = Double { high, low: m.mul(rest, reciprocal)? };

    let square = double_product(m, s, s)?;
    let cube = double_product(m, square, s)?;
    let third = double_product(m, cube, Double { high: m.float(TWO_THIRDS.0), low: m.float(TWO_THIRDS.1) })?;
    let fifth = m.mul(m.mul(square.high, cube.high)?, m.polynomial(square.high, &LOG_POW_F64)?)?;

    let two = m.float(2.0);
    let sum = fast_two_sum(m, m.mul(e, m.float(LN_2_HIGH))?, m.mul(s.high, two)?)?;
    let total = fast_two_sum(m, sum.high, third.high)?;
    let low = m.add(m.fma(e, m.float(LN_2_LOW), sum.low)?, total.low)?;
    let low = m.add(m.fma(s.low, two, third.low)?, low)?;
    let low = m.add(fifth, low)?;
    fast_two_sum(m, total.high, low)
}

fn pow_f64<'c>(m: &Lanes<'_, 'c>, x: Vector<'c>, y: Vector<'c>) -> Emit<Vector<'c>> {
    let log = log_double(m, x)?;
    let high = m.mul(y, log.high)?;
    let low = m.fma(y, log.high, m.neg(high)?)?;
    let low = m.fma(y, log.low, low)?;
    // Where the product is out of range the error term may be a NaN (∞ − ∞).
    let in_range = m.compare(FloatPredicate::OLT, m.abs(high)?, m.float(800.0))?;
    let low = m.select(in_range, low, m.float(0.0))?;
    let high = m.at_least(m.at_most(high, 710.0)?, -746.0)?;
    let n = m.round_scaled(high, std::f64::consts::LOG2_E)?;
    let r = m.fma(n.value, m.float(-LN_2_HIGH), high)?;
    let r = m.fma(n.value, m.float(-LN_2_LOW), r)?;
    let p = exp_reduced(m, m.add(r, low)?)?;
    m.scale(p, n)
}

/// `value` = |x|^y is right for finite x ≠ 0 and finite y up to the sign.
fn pow_special<'c>(
    m: &Lanes<'_, 'c>,
    x: Vector<'c>,
    size: Vector<'c>,
    y: Vector<'c>,
    value: Vector<'c>,
) -> Emit<Vector<'c>> {
    use FloatPredicate::{OEQ, OLT, ONE, UNO};
    let (zero, one, infinity) = (m.float(0.0), m.float(1.0), m.float(f64::INFINITY));
    let whole = m.compare(OEQ, m.floor(y)?, y)?;
    let half = m.mul(y, m.float(0.5))?;
    let odd = m.and(whole, m.compare(ONE, m.floor(half)?, half)?)?;

    // Negative finite x: only whole exponents.
    let negative = m.compare(OLT, x, zero)?;
    let signed = m.select(odd, m.copysign(value, x)?, value)?;
    let of_negative = m.select(whole, signed, m.float(f64::NAN))?;
    let value = m.select(negative, of_negative, value)?;

    // y = ±∞.
    let y_infinite = m.compare(OEQ, m.abs(y)?, infinity)?;
    let growth = m.copysign(one, y)?;
    let growth = m.mul(m.sub(size, one)?, growth)?;
    let limit = m.select(m.compare(OLT, growth, zero)?, zero, infinity)?;
    let limit = m.select(m.compare(OEQ, size, one)?, one, limit)?;
    let value = m.select(y_infinite, limit, value)?;

    // x = ±0 or ±∞.
    let x_zero = m.compare(OEQ, x, zero)?;
    let x_extreme = m.or(x_zero, m.compare(OEQ, size, infinity)?)?;
    let direction = m.select(x_zero, m.neg(y)?, y)?;
    let limit = m.select(m.compare(OLT, direction, zero)?, zero, infinity)?;
    let limit = m.select(odd, m.copysign(limit, x)?, limit)?;
    let value = m.select(x_extreme, limit, value)?;

    let nan = m.compare(UNO, x, y)?;
    let value = m.select(nan, m.float(f64::NAN), value)?;
    let unit = m.or(m.compare(OEQ, x, one)?, m.compare(OEQ, y, zero)?)?;
    m.select(unit, one, value)
}
