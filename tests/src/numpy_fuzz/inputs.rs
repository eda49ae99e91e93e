//! Inputs of generated programs: ordinary numbers, or among them what arithmetic treats specially.

use super::program::Param;
use moat_optimizer::oracle::inputs::SplitMix64;
use moat_optimizer::value::dtype::{DType, Literal};
use moat_optimizer::value::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// What inputs look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Values {
    /// Small integers only.
    Small,
    /// Floats of a few binary orders of magnitude, integers of one digit or two.
    Ordinary,
    /// NaN, infinities, zeros of both signs, subnormal and extreme numbers among them.
    Special,
    /// Indices out of range and negative exponents among them.
    Wrong,
}

/// The inputs that a seed has.
pub fn values(seed: u64) -> Values {
    match SplitMix64::new(seed ^ 0xA5A5).next_below(100) {
        0..20 => Values::Special,
        20..23 => Values::Wrong,
        _ => Values::Ordinary,
    }
}

/// The input for a parameter. Does not depend on the other parameters.
pub fn draw(param: &Param, seed: u64, values: Values) -> Tensor {
    let name = param.name.bytes().fold(0u64, |hash, byte| hash.wrapping_mul(131) ^ u64::from(byte));
    let mut random =
        SplitMix64::new(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ name.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    Tensor::from_fn(param.dtype, &param.shape, |_| element(param, values, &mut random))
}

fn element(param: &Param, values: Values, random: &mut SplitMix64) -> Literal {
    let drawn = random.next_below(12);
    if let Some(bound) = param.index {
        let bound = i64::try_from(bound).unwrap_or(1);
        if values == Values::Wrong && drawn == 0 {
            return Literal::Int(if random.next_below(2) == 0 { bound } else { -bound - 1 });
        }
        // A few count from the end.
        let at = random.next_below(bound.cast_unsigned()).cast_signed();
        return Literal::Int(if drawn < 3 { at - bound } else { at });
    }
    match param.dtype {
        DType::Bool => Literal::Bool(drawn < 6),
        DType::F32 | DType::F64 => {
            let wide = param.dtype == DType::F64;
            let special = [
                f64::NAN,
                f64::INFINITY,
                f64::NEG_INFINITY,
                0.0,
                -0.0,
                if wide { 5e-324 } else { 1e-45 },
                if wide { -1e-310 } else { -1e-40 },
                if wide { f64::MIN_POSITIVE } else { f64::from(f32::MIN_POSITIVE) },
                if wide { 1e300 } else { 1e35 },
                if wide { -1.7e308 } else { -3e38 },
                1.0,
                -2.5,
            ];
            let value = match values {
                Values::Special if drawn < 4 => {
                    special[usize::try_from(random.next_below(special.len() as u64)).unwrap_or_default()]
                }
                Values::Small => random.next_below(7) as f64 - 3.0,
                // Exact ones now and then: decisions hang on them.
                Values::Ordinary | Values::Special | Values::Wrong => match drawn {
                    9 => random.next_below(100) as f64 - 50.0,
                    10 => (random.next_below(9) as f64 - 4.0) * 0.5,
                    11 => random.next_unit() * 20.0 - 10.0,
                    _ => random.next_unit() * 3.0 - 1.0,
                },
            };
            Literal::float(value).at(param.dtype)
        }
        DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::I64 | DType::F16 | DType::BF16 => {
            let extreme = if param.dtype == DType::I32 { i64::from(i32::MAX) } else { i64::MAX };
            Literal::Int(match (values, drawn) {
                (Values::Special, 0) => extreme - random.next_below(2).cast_signed(),
                (Values::Special, 1) => -extreme - 1 + random.next_below(2).cast_signed(),
                (_, 2) => random.next_below(2000).cast_signed() - 1000,
                _ => random.next_below(17).cast_signed() - 6,
            })
        }
    }
}
