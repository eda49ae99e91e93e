//! Dense row-major arrays of one element type: what the oracle reads and answers, and what kernels
//! are called on.
//!
//! A tensor only stores: arithmetic is the business of [`crate::value::scalar_eval`] and
//! [`crate::oracle::interpret`]. Elements of every type are reached as [`Literal`]s, or as slices through
//! [`Data`].

use crate::value::dtype::{DType, Literal};

/// An array of known shape and type.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Element type; agrees with `data`.
    pub dtype: DType,
    /// Shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements, row-major.
    pub data: Data,
}

/// The elements of a [`Tensor`]. A bool is a byte, 0 or 1; the 16-bit floats are kept as bits.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Of [`DType::Bool`].
    Bool(Vec<u8>),
    /// Of [`DType::I8`].
    I8(Vec<i8>),
    /// Of [`DType::U8`].
    U8(Vec<u8>),
    /// Of [`DType::I16`].
    I16(Vec<i16>),
    /// Of [`DType::I32`].
    I32(Vec<i32>),
    /// Of [`DType::I64`].
    I64(Vec<i64>),
    /// Of [`DType::F16`], as bits.
    F16(Vec<u16>),
    /// Of [`DType::BF16`], as bits.
    BF16(Vec<u16>),
    /// Of [`DType::F32`].
    F32(Vec<f32>),
    /// Of [`DType::F64`].
    F64(Vec<f64>),
}

/// Applies one expression to the vector of whichever variant `$data` is.
macro_rules! each {
    ($data:expr, $vector:ident => $body:expr) => {
        match $data {
            Data::Bool($vector) => $body,
            Data::I8($vector) => $body,
            Data::U8($vector) => $body,
            Data::I16($vector) => $body,
            Data::I32($vector) => $body,
            Data::I64($vector) => $body,
            Data::F16($vector) => $body,
            Data::BF16($vector) => $body,
            Data::F32($vector) => $body,
            Data::F64($vector) => $body,
        }
    };
}

impl Data {
    /// `len` zeros.
    pub fn zeros(dtype: DType, len: usize) -> Data {
        match dtype {
            DType::Bool => Data::Bool(vec![0; len]),
            DType::I8 => Data::I8(vec![0; len]),
            DType::U8 => Data::U8(vec![0; len]),
            DType::I16 => Data::I16(vec![0; len]),
            DType::I32 => Data::I32(vec![0; len]),
            DType::I64 => Data::I64(vec![0; len]),
            DType::F16 => Data::F16(vec![0; len]),
            DType::BF16 => Data::BF16(vec![0; len]),
            DType::F32 => Data::F32(vec![0.0; len]),
            DType::F64 => Data::F64(vec![0.0; len]),
        }
    }

    /// `len` elements that no correct kernel leaves behind: NaN with a payload for floats, a bit
    /// pattern far from small numbers for integers, and a byte that is no bool.
    pub fn poison(dtype: DType, len: usize) -> Data {
        match dtype {
            DType::Bool => Data::Bool(vec![0xA5; len]),
            DType::I8 => Data::I8(vec![-0x5B; len]),
            DType::U8 => Data::U8(vec![0xA5; len]),
            DType::I16 => Data::I16(vec![-0x5A5B; len]),
            DType::I32 => Data::I32(vec![-0x5A5A_5A5B; len]),
            DType::I64 => Data::I64(vec![-0x5A5A_5A5A_5A5A_5A5B; len]),
            DType::F16 => Data::F16(vec![0x7EA5; len]),
            DType::BF16 => Data::BF16(vec![0x7FE5; len]),
            DType::F32 => Data::F32(vec![f32::from_bits(0x7FE5_A5A5); len]),
            DType::F64 => Data::F64(vec![f64::from_bits(0x7FFD_A5A5_A5A5_A5A5); len]),
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        each!(self, vector => vector.len())
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        match self {
            Data::Bool(_) => DType::Bool,
            Data::I8(_) => DType::I8,
            Data::U8(_) => DType::U8,
            Data::I16(_) => DType::I16,
            Data::I32(_) => DType::I32,
            Data::I64(_) => DType::I64,
            Data::F16(_) => DType::F16,
            Data::BF16(_) => DType::BF16,
            Data::F32(_) => DType::F32,
            Data::F64(_) => DType::F64,
        }
    }
}

impl Tensor {
    /// All elements 0.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Tensor {
        Tensor { dtype, shape: shape.to_vec(), data: Data::zeros(dtype, shape.iter().product()) }
    }

    /// All elements [`Data::poison`].
    pub fn poison(dtype: DType, shape: &[usize]) -> Tensor {
        Tensor { dtype, shape: shape.to_vec(), data: Data::poison(dtype, shape.iter().product()) }
    }

    /// The array of `shape` with these elements, or `None` if their number does not fit it.
    pub fn new(shape: &[usize], data: Data) -> Option<Tensor> {
        (shape.iter().product::<usize>() == data.len()).then(|| Tensor {
            dtype: data.dtype(),
            shape: shape.to_vec(),
            data,
        })
    }

    /// The array of `shape` with `element(i)` at row-major offset i; a literal of another kind than
    /// `dtype`'s is converted as [`Literal::at`] says.
    pub fn from_fn(dtype: DType, shape: &[usize], mut element: impl FnMut(usize) -> Literal) -> Tensor {
        let mut tensor = Tensor::zeros(dtype, shape);
        for at in 0..tensor.len() {
            tensor.set(at, element(at));
        }
        tensor
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// True if there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first element's address, for a compiled kernel; valid while the tensor lives.
    pub fn as_ptr(&self) -> *const u8 {
        each!(&self.data, vector => vector.as_ptr().cast())
    }

    /// The first element's address, for a compiled kernel to write through.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        each!(&mut self.data, vector => vector.as_mut_ptr().cast())
    }

    /// The elements as little-endian bytes (a fresh copy).
    pub fn to_bytes(&self) -> Vec<u8> {
        each!(&self.data, vector => vector.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    /// The element at row-major offset `at`.
    ///
    /// # Panics
    /// If `at` is out of range, as indexing does.
    pub fn get(&self, at: usize) -> Literal {
        match &self.data {
            Data::Bool(v) => Literal::Bool(v[at] != 0),
            Data::I8(v) => Literal::Int(i64::from(v[at])),
            Data::U8(v) => Literal::Int(i64::from(v[at])),
            Data::I16(v) => Literal::Int(i64::from(v[at])),
            Data::I32(v) => Literal::Int(i64::from(v[at])),
            Data::I64(v) => Literal::Int(v[at]),
            Data::F16(v) => Literal::float(f16_to_f64(v[at])),
            Data::BF16(v) => Literal::float(f64::from(f32::from_bits(u32::from(v[at]) << 16))),
            Data::F32(v) => Literal::float(f64::from(v[at])),
            Data::F64(v) => Literal::float(v[at]),
        }
    }

    /// The element at `at` as `f64`: exact but for 64-bit integers, which round.
    pub fn get_f64(&self, at: usize) -> f64 {
        match &self.data {
            Data::F32(v) => f64::from(v[at]),
            Data::F64(v) => v[at],
            Data::Bool(_)
            | Data::I8(_)
            | Data::U8(_)
            | Data::I16(_)
            | Data::I32(_)
            | Data::I64(_)
            | Data::F16(_)
            | Data::BF16(_) => self.get(at).as_f64(),
        }
    }

    /// The element at `at`, where the tensor is of bools or integers.
    pub fn get_i64(&self, at: usize) -> Option<i64> {
        self.get(at).as_i64()
    }

    /// Stores an element: an integer is wrapped to the type's width, a float rounded to nearest;
    /// a literal of another kind is first converted as [`Literal::at`] says (a float to an integer
    /// type by [`crate::value::scalar_eval::cast`]).
    ///
    /// # Panics
    /// If `at` is out of range, as indexing does.
    #[expect(clippy::cast_possible_truncation, reason = "wrapping and rounding are the meaning")]
    #[expect(clippy::cast_sign_loss, reason = "wrapping is the meaning")]
    pub fn set(&mut self, at: usize, value: Literal) {
        let value = match value {
            Literal::Float(_) if !self.dtype.is_float() => crate::value::scalar_eval::cast(self.dtype, value),
            Literal::Bool(_) | Literal::Int(_) | Literal::Float(_) => value.at(self.dtype),
        };
        let int = value.as_i64().unwrap_or(0);
        match &mut self.data {
            Data::Bool(v) => v[at] = u8::from(int != 0),
            Data::I8(v) => v[at] = int as i8,
            Data::U8(v) => v[at] = int as u8,
            Data::I16(v) => v[at] = int as i16,
            Data::I32(v) => v[at] = int as i32,
            Data::I64(v) => v[at] = int,
            Data::F16(v) => v[at] = f64_to_f16(value.as_f64()),
            Data::BF16(v) => v[at] = f64_to_bf16(value.as_f64()),
            Data::F32(v) => v[at] = value.as_f64() as f32,
            Data::F64(v) => v[at] = value.as_f64(),
        }
    }
}

/// The value of an IEEE binary16.
fn f16_to_f64(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f64::from(bits & 0x3FF);
    match (bits >> 10) & 0x1F {
        0 => sign * fraction * (-24f64).exp2(),
        0x1F if fraction == 0.0 => sign * f64::INFINITY,
        0x1F => f64::NAN,
        exponent => sign * (1024.0 + fraction) * (f64::from(exponent) - 25.0).exp2(),
    }
}

/// Round to nearest even, by way of the spacing of binary16 numbers around `value`.
#[expect(clippy::cast_possible_truncation, reason = "the values are in range by construction")]
#[expect(clippy::cast_sign_loss, reason = "the values are in range by construction")]
fn f64_to_f16(value: f64) -> u16 {
    let sign = u16::from(value.is_sign_negative()) << 15;
    let magnitude = value.abs();
    if magnitude.is_nan() {
        return sign | 0x7E00;
    }
    if magnitude >= 65520.0 {
        return sign | 0x7C00;
    }
    // 2^exponent is the binade; below the least normal number the spacing stays 2^-24.
    let exponent = if magnitude < (-14f64).exp2() { -14 } else { magnitude.log2().floor() as i32 };
    let units = (magnitude / f64::from(exponent - 10).exp2()).round_ties_even() as u16;
    // A carry out of the fraction moves on to the next exponent by itself.
    sign | if units < 1024 { units } else { (((exponent + 14) as u16) << 10) + units }
}

/// Round to nearest even on the upper half of the binary32 (double rounding from binary64 is below
/// what 8 bits can show but at exact ties).
fn f64_to_bf16(value: f64) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "rounding is the meaning")]
    let bits = (value as f32).to_bits();
    let rounded = if value.is_nan() { bits | 0x0040_0000 } else { bits + 0x7FFF + ((bits >> 16) & 1) };
    (rounded >> 16) as u16
}

#[cfg(test)]
mod tests {
    use crate::value::tensor::*;

    #[test]
    fn sixteen_bit_floats_round_trip() {
        for bits in 0..=u16::MAX {
            let value = f16_to_f64(bits);
            if value.is_nan() {
                assert!(f16_to_f64(f64_to_f16(value)).is_nan());
            } else {
                assert_eq!(f64_to_f16(value), bits, "{value}");
            }
            let brain = f32::from_bits(u32::from(bits) << 16);
            if !brain.is_nan() {
                assert_eq!(f64_to_bf16(f64::from(brain)), bits);
            }
        }
        assert_eq!(f64_to_f16(65519.0), 0x7BFF);
        assert_eq!(f64_to_f16(2047.5), f64_to_f16(2048.0));
    }

    #[test]
    fn elements_convert_as_stored() {
        let mut tensor = Tensor::poison(DType::I32, &[2, 2]);
        tensor.set(0, Literal::Int(1 << 33));
        tensor.set(1, Literal::float(-7.9));
        assert_eq!((tensor.get_i64(0), tensor.get_i64(1)), (Some(0), Some(-7)));
        assert_eq!(Tensor::new(&[3], Data::F32(vec![0.0; 2])), None);
    }
}
