//! Pseudo-random inputs that obey a parameter's [`InputHint`]: a pure function of parameter and
//! seed, so that a recorded seed reproduces a run.
//!
//! The generator is SplitMix64 in counter form: element i of the stream is a mix of
//! `seed + (i + 1)·γ`. (G. Steele, D. Lea, C. Flood, *Fast splittable pseudorandom number
//! generators*, OOPSLA 2014.)

use crate::program::expr::{InputHint, Param};
use crate::value::dtype::{DType, Literal};
use crate::value::tensor::{Data, Tensor};
use thiserror::Error;

/// Why no input can be drawn.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum InputError {
    /// `SPD` on something that is no floating-point matrix with as many rows as columns.
    #[error("parameter `{name}`: SPD needs a float array whose last two extents agree, found {dtype}{shape:?}")]
    NotSquare {
        /// The parameter.
        name: String,
        /// Its type.
        dtype: DType,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A range without a member of the type.
    #[error("parameter `{name}`: no {dtype} lies in [{low}, {high})")]
    EmptyRange {
        /// The parameter.
        name: String,
        /// Its type.
        dtype: DType,
        /// Inclusive lower bound.
        low: f64,
        /// Exclusive upper bound.
        high: f64,
    },
}

/// The counter-based generator.
#[derive(Clone, Copy, Debug)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A stream; equal seeds give equal streams.
    pub const fn new(seed: u64) -> SplitMix64 {
        SplitMix64 { state: seed }
    }

    /// The next 64 bits.
    pub const fn next_bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    pub const fn next_unit(&mut self) -> f64 {
        (self.next_bits() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Uniform in `0 .. n` up to a bias of n/2⁶⁴; 0 if `n` is 0.
    pub const fn next_below(&mut self, n: u64) -> u64 {
        ((self.next_bits() as u128 * n as u128) >> 64) as u64
    }
}

/// Random elements for `param`. `Any` draws floats from [0, 1), integers from −8 ..= 8 (0 ..= 8 if
/// unsigned), bools as a fair coin; `Spd` is A·Aᵀ/n + I with A uniform in [0, 1).
///
/// # Errors
/// If the hint does not fit the parameter's type or shape.
pub fn random(param: &Param, seed: u64) -> Result<Tensor, InputError> {
    let mut stream = SplitMix64::new(seed ^ name_hash(&param.name));
    let (dtype, shape) = (param.dtype, param.shape.as_slice());
    match param.hint {
        InputHint::Any if dtype.is_float() => Ok(floats(dtype, shape, || stream.next_unit())),
        InputHint::Any => Ok(match dtype {
            DType::Bool => Tensor::from_fn(dtype, shape, |_| Literal::Bool(stream.next_bits() >> 63 == 1)),
            DType::U8 => integers(dtype, shape, || stream.next_below(9).cast_signed()),
            DType::I8 | DType::I16 | DType::I32 | DType::I64 | DType::F16 | DType::BF16 | DType::F32 | DType::F64 => {
                integers(dtype, shape, || stream.next_below(17).cast_signed() - 8)
            }
        }),
        InputHint::Range(low, high) => range(param, low, high, &mut stream),
        InputHint::Index(n) if dtype.is_float() || n == 0 => {
            Err(empty_range(param, 0.0, Literal::Int(n.cast_signed()).as_f64()))
        }
        InputHint::Index(n) => Ok(integers(dtype, shape, || stream.next_below(n).cast_signed())),
        InputHint::Spd => spd(param, &mut stream),
    }
}

/// How many elements are special ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Density {
    /// One in a hundred, a dozen at most: what is special spreads, and the rest is to be seen, too.
    Few,
    /// Every third.
    Many,
}

/// [`random`] elements, and special ones of the hint's domain at random places among them: NaN, infinities, zeros of
/// both signs, subnormal, least and largest numbers of a float; the ends of a range; the extremes of an integer type.
/// With [`Density::Few`] an array of fewer than eight elements is as [`random`] makes it.
///
/// # Errors
/// As [`random`].
pub fn special(param: &Param, seed: u64, density: Density) -> Result<Tensor, InputError> {
    /// An array of fewer elements is wholly lost to one that is not finite.
    const SMALL: usize = 8;
    let mut tensor = random(param, seed)?;
    let values = specials(param);
    let len = tensor.len();
    let count = match density {
        Density::Few if len < SMALL => 0,
        Density::Few => len.div_ceil(100).min(values.len()),
        Density::Many => len.div_ceil(3),
    };
    if values.is_empty() || len == 0 {
        return Ok(tensor);
    }
    let mut stream = SplitMix64::new(seed ^ name_hash(&param.name) ^ SPECIAL);
    let first = stream.next_below(values.len() as u64);
    for at in 0..count {
        let place = stream.next_below(len as u64);
        let value = (first + at as u64) % values.len() as u64;
        if let (Ok(place), Ok(value)) = (usize::try_from(place), usize::try_from(value)) {
            tensor.set(place, values[value]);
        }
    }
    Ok(tensor)
}

/// Sets the stream of places apart from that of elements.
const SPECIAL: u64 = 0x5350_4543_4941_4C53;

/// The special values of a parameter's domain; none of an SPD matrix.
fn specials(param: &Param) -> Vec<Literal> {
    let float = |values: &[f64]| values.iter().map(|&x| Literal::float(x)).collect::<Vec<_>>();
    let (least, subnormal, largest, epsilon) = match param.dtype {
        DType::F32 => {
            let (least, largest) = (f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX));
            (least, least / 64.0, largest, f64::from(f32::EPSILON))
        }
        DType::F16 => ((-14f64).exp2(), (-20f64).exp2(), 65504.0, (-10f64).exp2()),
        DType::BF16 => (
            f64::from(f32::MIN_POSITIVE),
            f64::from(f32::MIN_POSITIVE) / 4.0,
            3.389_531_389_251_535_5e38,
            2f64.powi(-7),
        ),
        DType::F64 | DType::Bool | DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::I64 => {
            (f64::MIN_POSITIVE, f64::MIN_POSITIVE / 64.0, f64::MAX, f64::EPSILON)
        }
    };
    let (lowest, highest) = match param.dtype {
        DType::I8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
        DType::U8 => (0, i64::from(u8::MAX)),
        DType::I16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        DType::I32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        DType::I64 | DType::Bool | DType::F16 | DType::BF16 | DType::F32 | DType::F64 => (i64::MIN, i64::MAX),
    };
    match param.hint {
        InputHint::Spd => Vec::new(),
        InputHint::Any if param.dtype == DType::Bool => Vec::new(),
        InputHint::Any if param.dtype.is_float() => float(&[
            f64::NAN,
            f64::INFINITY,
            -0.0,
            subnormal,
            largest,
            f64::NEG_INFINITY,
            0.0,
            -subnormal,
            least,
            -largest,
            1.0,
            -1.0,
        ]),
        InputHint::Any => [lowest, highest, 0, -1, 1].map(Literal::Int).to_vec(),
        InputHint::Index(n) => [0, n.saturating_sub(1)].map(|at| Literal::Int(at.cast_signed())).to_vec(),
        InputHint::Range(low, high) if param.dtype.is_float() => {
            let below = high - (high.abs() * epsilon).max(subnormal);
            let zeros = [0.0, -0.0, subnormal, -subnormal, least];
            let inside = |x: &f64| low <= *x && *x < high;
            let within = zeros.into_iter().chain([low, below]).filter(inside);
            // What rounds to a type's number outside of the range is left out.
            within.filter(|&x| inside(&crate::value::scalar_eval::round(param.dtype, x))).map(Literal::float).collect()
        }
        #[expect(clippy::cast_possible_truncation, reason = "a range that random() has drawn from")]
        InputHint::Range(low, high) => [low.ceil() as i64, high.ceil() as i64 - 1].map(Literal::Int).to_vec(),
    }
}

/// `Range(low, high)` at the parameter's type.
fn range(param: &Param, low: f64, high: f64, stream: &mut SplitMix64) -> Result<Tensor, InputError> {
    if param.dtype.is_float() {
        // Rounding to f32 can reach `high`; such a draw is moved to the middle of the interval.
        let draw = |unit: f64| low + (high - low) * unit;
        #[expect(clippy::cast_possible_truncation, reason = "rounding is the meaning")]
        let stored = |x: f64| if param.dtype == DType::F64 { x } else { f64::from(x as f32) };
        let usable = low.is_finite() && high.is_finite() && low < high;
        if !usable {
            return Err(empty_range(param, low, high));
        }
        return Ok(floats(param.dtype, &param.shape, || {
            let x = draw(stream.next_unit());
            if stored(x) < high { x } else { low + (high - low) * 0.5 }
        }));
    }
    let (first, last) = (low.ceil(), high.ceil() - 1.0);
    if !(first <= last && first >= -9.2e18 && last <= 9.2e18) {
        return Err(empty_range(param, low, high));
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
    let (first, last) = (first as i64, last as i64);
    let count = last.wrapping_sub(first).cast_unsigned().wrapping_add(1);
    Ok(integers(param.dtype, &param.shape, || first.wrapping_add(stream.next_below(count).cast_signed())))
}

fn empty_range(param: &Param, low: f64, high: f64) -> InputError {
    InputError::EmptyRange { name: param.name.clone(), dtype: param.dtype, low, high }
}

/// A·Aᵀ/n + I for each matrix of the last two axes.
#[expect(clippy::cast_precision_loss, reason = "an extent is far below 2⁵³")]
fn spd(param: &Param, stream: &mut SplitMix64) -> Result<Tensor, InputError> {
    let n = match param.shape.as_slice() {
        [.., rows, columns] if rows == columns && param.dtype.is_float() => *rows,
        _ => {
            return Err(InputError::NotSquare {
                name: param.name.clone(),
                dtype: param.dtype,
                shape: param.shape.clone(),
            });
        }
    };
    let count: usize = param.shape[..param.shape.len() - 2].iter().product();
    let mut elements = Vec::with_capacity(count * n * n);
    for _ in 0..count {
        let a: Vec<f64> = (0..n * n).map(|_| stream.next_unit()).collect();
        let mut transposed = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                transposed[j * n + i] = a[i * n + j];
            }
        }
        let mut product = vec![0.0; n * n];
        crate::oracle::interpret::accumulate_product(&a, &transposed, &mut product, [n, n, n]);
        for i in 0..n {
            for j in 0..n {
                // The lower triangle is mirrored so that symmetry is exact.
                let (row, column) = (i.max(j), i.min(j));
                elements.push(product[row * n + column] / n as f64 + if i == j { 1.0 } else { 0.0 });
            }
        }
    }
    let mut next = elements.into_iter();
    Ok(floats(param.dtype, &param.shape, || next.next().unwrap_or(0.0)))
}

/// A float tensor from draws in row-major order.
#[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is the meaning")]
fn floats(dtype: DType, shape: &[usize], mut draw: impl FnMut() -> f64) -> Tensor {
    let len: usize = shape.iter().product();
    let data = match dtype {
        // Truncated to 24 bits, so that rounding cannot reach 1.
        DType::F32 => Data::F32((0..len).map(|_| truncate(draw())).collect()),
        DType::F64 => Data::F64((0..len).map(|_| draw()).collect()),
        DType::Bool | DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::I64 | DType::F16 | DType::BF16 => {
            return Tensor::from_fn(dtype, shape, |_| Literal::float(draw()));
        }
    };
    return Tensor { dtype, shape: shape.to_vec(), data };

    fn truncate(x: f64) -> f32 {
        let rounded = x as f32;
        if rounded >= 1.0 && x < 1.0 { 1.0 - f32::EPSILON / 2.0 } else { rounded }
    }
}

/// An integer tensor from draws in row-major order.
fn integers(dtype: DType, shape: &[usize], mut draw: impl FnMut() -> i64) -> Tensor {
    Tensor::from_fn(dtype, shape, |_| Literal::Int(draw()))
}

/// FNV-1a: parameters of one seed get independent streams.
fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use crate::oracle::inputs::*;

    fn draw(dtype: DType, shape: &[usize], hint: InputHint) -> Tensor {
        random(&Param { name: "a".into(), dtype, shape: shape.to_vec(), hint }, 7).expect("fits")
    }

    #[test]
    fn hints_are_obeyed() {
        let range = draw(DType::F32, &[1000], InputHint::Range(5.0, 105.0));
        assert!((0..1000).all(|i| (5.0..105.0).contains(&range.get_f64(i))));
        let index = draw(DType::I32, &[1000], InputHint::Index(3));
        assert!((0..3).all(|v| (0..1000).any(|i| index.get_i64(i) == Some(v))));
        assert!((0..1000).all(|i| index.get_i64(i).is_some_and(|v| (0..3).contains(&v))));
        let spd = draw(DType::F64, &[5, 5], InputHint::Spd);
        assert!((0..5).all(|i| (0..5).all(|j| spd.get_f64(i * 5 + j) == spd.get_f64(j * 5 + i))));
        assert!((0..5).all(|i| spd.get_f64(i * 6) >= 1.0));
        let ints = draw(DType::I64, &[1000], InputHint::Any);
        assert!((-8..=8).all(|v| (0..1000).any(|i| ints.get_i64(i) == Some(v))));
        for density in [Density::Few, Density::Many] {
            let special = |dtype, hint| {
                let param = Param { name: "a".into(), dtype, shape: vec![1000], hint };
                special(&param, 7, density).expect("fits")
            };
            for dtype in [DType::F32, DType::F64] {
                let range = special(dtype, InputHint::Range(-1.0, 0.3));
                assert!((0..1000).all(|i| (-1.0..0.3).contains(&range.get_f64(i))));
                assert!((0..1000).any(|i| range.get_f64(i) == 0.0 && range.get_f64(i).is_sign_negative()));
                let any = special(dtype, InputHint::Any);
                let finite = (0..1000).filter(|&i| any.get_f64(i).is_finite()).count();
                let (least, most) = if density == Density::Few { (990, 999) } else { (600, 990) };
                assert!((least..=most).contains(&finite), "{finite}");
            }
            let index = special(DType::I64, InputHint::Index(3));
            assert!((0..1000).all(|i| index.get_i64(i).is_some_and(|v| (0..3).contains(&v))));
        }
        let param = Param { name: "a".into(), dtype: DType::F32, shape: vec![2, 3], hint: InputHint::Spd };
        assert!(matches!(random(&param, 0), Err(InputError::NotSquare { .. })));
    }
}
