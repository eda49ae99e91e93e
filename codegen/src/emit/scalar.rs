//! Scalar operators as IR, on scalars and vectors alike: the table in `moat_optimizer::value::scalar`.
//!
//! Nothing here relies on LLVM's undefined or poison values: every operand that LLVM would give no
//! meaning to is replaced before the instruction and the defined result is selected after it.

use super::cx::{Cx, Emit, Value, lanes_of};
use crate::error::CodegenError;
use inkwell::types::BasicTypeEnum;
use inkwell::values::{BasicValueEnum, InstructionOpcode};
use inkwell::{FloatPredicate, IntPredicate};
use moat_optimizer::value::dtype::{DType, Literal};
use moat_optimizer::value::scalar::{BinaryOp, FoldOp, UnaryOp};

fn signed(dtype: DType) -> bool {
    match dtype {
        DType::Bool | DType::U8 => false,
        DType::I8 | DType::I16 | DType::I32 | DType::I64 => true,
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => true,
    }
}

fn lowest(dtype: DType) -> Literal {
    FoldOp::Max.identity(dtype)
}

impl<'c> Cx<'c, '_> {
    /// One operand.
    pub(crate) fn unary(&self, op: UnaryOp, dtype: DType, x: Value<'c>) -> Emit<Value<'c>> {
        let unsupported = || CodegenError::Unsupported { operation: op.name(), dtype };
        let lanes = lanes_of(x);
        let ty = self.value_type(dtype, lanes);
        let zero = self.int(0, dtype, lanes);
        if dtype.is_float() {
            return match op {
                UnaryOp::Neg => {
                    if let BasicValueEnum::FloatValue(x) = x {
                        return Ok(self.builder.build_float_neg(x, "neg")?.into());
                    }
                    Ok(self.builder.build_float_neg(self.vector(x)?, "neg")?.into())
                }
                UnaryOp::Not => Err(unsupported()),
                UnaryOp::Abs => self.intrinsic("llvm.fabs", &[ty], &[x]),
                UnaryOp::Floor => self.intrinsic("llvm.floor", &[ty], &[x]),
                UnaryOp::Sqrt => self.intrinsic("llvm.sqrt", &[ty], &[x]),
                UnaryOp::Sign => {
                    let positive = self.fcmp(FloatPredicate::OGT, x, zero)?;
                    let negative = self.fcmp(FloatPredicate::OLT, x, zero)?;
                    let unordered = self.fcmp(FloatPredicate::UNO, x, x)?;
                    let rest = self.select(unordered, x, zero)?;
                    let rest = self.select(negative, self.int(-1, dtype, lanes), rest)?;
                    self.select(positive, self.int(1, dtype, lanes), rest)
                }
                UnaryOp::Exp | UnaryOp::Log | UnaryOp::Sin | UnaryOp::Cos | UnaryOp::Tanh | UnaryOp::Erf => {
                    self.elementary(op, dtype, x)
                }
            };
        }
        match op {
            UnaryOp::Not => self.binary(InstructionOpcode::Xor, x, self.all_ones(dtype, lanes), "not"),
            UnaryOp::Neg if dtype.is_int() => self.binary(InstructionOpcode::Sub, zero, x, "neg"),
            UnaryOp::Abs if !signed(dtype) => Ok(x),
            UnaryOp::Abs => self.intrinsic("llvm.abs", &[ty], &[x, self.int(0, DType::Bool, 1)]),
            UnaryOp::Sign if dtype.is_int() => {
                let positive = if signed(dtype) { IntPredicate::SGT } else { IntPredicate::UGT };
                let positive = self.icmp(positive, x, zero)?;
                let one = self.int(1, dtype, lanes);
                if !signed(dtype) {
                    return self.select(positive, one, zero);
                }
                let negative = self.icmp(IntPredicate::SLT, x, zero)?;
                let rest = self.select(negative, self.int(-1, dtype, lanes), zero)?;
                self.select(positive, one, rest)
            }
            UnaryOp::Neg
            | UnaryOp::Sign
            | UnaryOp::Sqrt
            | UnaryOp::Exp
            | UnaryOp::Log
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Tanh
            | UnaryOp::Erf
            | UnaryOp::Floor => Err(unsupported()),
        }
    }

    fn all_ones(&self, dtype: DType, lanes: u32) -> Value<'c> {
        if dtype == DType::Bool { self.literal(Literal::Bool(true), dtype, lanes) } else { self.int(-1, dtype, lanes) }
    }

    /// Two operands of one dtype.
    pub(crate) fn binary_op(&self, op: BinaryOp, dtype: DType, a: Value<'c>, b: Value<'c>) -> Emit<Value<'c>> {
        if dtype.is_float() {
            self.binary_float(op, dtype, a, b)
        } else if dtype == DType::Bool {
            self.binary_bool(op, a, b)
        } else {
            self.binary_int(op, dtype, a, b)
        }
    }

    fn binary_bool(&self, op: BinaryOp, a: Value<'c>, b: Value<'c>) -> Emit<Value<'c>> {
        match op {
            BinaryOp::Add | BinaryOp::Or | BinaryOp::Maximum => self.binary(InstructionOpcode::Or, a, b, "or"),
            BinaryOp::Mul | BinaryOp::And | BinaryOp::Minimum => self.binary(InstructionOpcode::And, a, b, "and"),
            BinaryOp::Xor | BinaryOp::Ne => self.binary(InstructionOpcode::Xor, a, b, "xor"),
            BinaryOp::Eq => self.icmp(IntPredicate::EQ, a, b),
            BinaryOp::Lt => self.icmp(IntPredicate::ULT, a, b),
            BinaryOp::Le => self.icmp(IntPredicate::ULE, a, b),
            BinaryOp::Gt => self.icmp(IntPredicate::UGT, a, b),
            BinaryOp::Ge => self.icmp(IntPredicate::UGE, a, b),
            BinaryOp::Sub
            | BinaryOp::Div
            | BinaryOp::FloorDiv
            | BinaryOp::Mod
            | BinaryOp::Pow
            | BinaryOp::Shl
            | BinaryOp::Shr => Err(CodegenError::Unsupported { operation: op.name(), dtype: DType::Bool }),
        }
    }

    fn binary_int(&self, op: BinaryOp, dtype: DType, a: Value<'c>, b: Value<'c>) -> Emit<Value<'c>> {
        let compare =
            |yes: IntPredicate, unsigned: IntPredicate| self.icmp(if signed(dtype) { yes } else { unsigned }, a, b);
        match op {
            BinaryOp::Add => self.binary(InstructionOpcode::Add, a, b, "add"),
            BinaryOp::Sub => self.binary(InstructionOpcode::Sub, a, b, "sub"),
            BinaryOp::Mul => self.binary(InstructionOpcode::Mul, a, b, "mul"),
            BinaryOp::And => self.binary(InstructionOpcode::And, a, b, "and"),
            BinaryOp::Or => self.binary(InstructionOpcode::Or, a, b, "or"),
            BinaryOp::Xor => self.binary(InstructionOpcode::Xor, a, b, "xor"),
            BinaryOp::Eq => self.icmp(IntPredicate::EQ, a, b),
            BinaryOp::Ne => self.icmp(IntPredicate::NE, a, b),
            BinaryOp::Lt => compare(IntPredicate::SLT, IntPredicate::ULT),
            BinaryOp::Le => compare(IntPredicate::SLE, IntPredicate::ULE),
            BinaryOp::Gt => compare(IntPredicate::SGT, IntPredicate::UGT),
            BinaryOp::Ge => compare(IntPredicate::SGE, IntPredicate::UGE),
            BinaryOp::Minimum => {
                let less = compare(IntPredicate::SLT, IntPredicate::ULT)?;
                self.select(less, a, b)
            }
            BinaryOp::Maximum => {
                let greater = compare(IntPredicate::SGT, IntPredicate::UGT)?;
                self.select(greater, a, b)
            }
            BinaryOp::FloorDiv => self.int_floor_div(dtype, a, b, false),
            BinaryOp::Mod => self.int_floor_div(dtype, a, b, true),
            BinaryOp::Shl => self.int_shift(dtype, a, b, true),
            BinaryOp::Shr => self.int_shift(dtype, a, b, false),
            BinaryOp::Pow => self.int_power(dtype, a, b),
            BinaryOp::Div => Err(CodegenError::Unsupported { operation: op.name(), dtype }),
        }
    }

    /// Quotient towards −∞, or the remainder with the divisor's sign.
    fn int_floor_div(&self, dtype: DType, a: Value<'c>, b: Value<'c>, remainder: bool) -> Emit<Value<'c>> {
        let lanes = lanes_of(a).max(lanes_of(b));
        let (zero, one) = (self.int(0, dtype, lanes), self.int(1, dtype, lanes));
        let by_zero = self.icmp(IntPredicate::EQ, b, zero)?;
        if !signed(dtype) {
            let divisor = self.select(by_zero, one, b)?;
            let op = if remainder { InstructionOpcode::URem } else { InstructionOpcode::UDiv };
            let value = self.binary(op, a, divisor, "div")?;
            return self.select(by_zero, zero, value);
        }
        let by_minus_one = self.icmp(IntPredicate::EQ, b, self.int(-1, dtype, lanes))?;
        let special = self.binary(InstructionOpcode::Or, by_zero, by_minus_one, "special")?;
        let divisor = self.select(special, one, b)?;
        let quotient = self.binary(InstructionOpcode::SDiv, a, divisor, "quotient")?;
        let product = self.binary(InstructionOpcode::Mul, quotient, divisor, "product")?;
        let rest = self.binary(InstructionOpcode::Sub, a, product, "rest")?;
        let inexact = self.icmp(IntPredicate::NE, rest, zero)?;
        let signs = self.binary(InstructionOpcode::Xor, rest, divisor, "signs")?;
        let opposite = self.icmp(IntPredicate::SLT, signs, zero)?;
        let adjust = self.binary(InstructionOpcode::And, inexact, opposite, "adjust")?;
        if remainder {
            // With the divisor replaced by 1 the rest is 0, which is what both cases want.
            let shifted = self.binary(InstructionOpcode::Add, rest, divisor, "shifted")?;
            return self.select(adjust, shifted, rest);
        }
        let below = self.binary(InstructionOpcode::Sub, quotient, one, "below")?;
        let value = self.select(adjust, below, quotient)?;
        let negated = self.binary(InstructionOpcode::Sub, zero, a, "negated")?;
        let value = self.select(by_minus_one, negated, value)?;
        self.select(by_zero, zero, value)
    }

    fn int_shift(&self, dtype: DType, a: Value<'c>, b: Value<'c>, left: bool) -> Emit<Value<'c>> {
        let lanes = lanes_of(a).max(lanes_of(b));
        let width = i64::try_from(dtype.bytes() * 8).unwrap_or(64);
        let inside = self.icmp(IntPredicate::ULT, b, self.int(width, dtype, lanes))?;
        if left || !signed(dtype) {
            let amount = self.select(inside, b, self.int(0, dtype, lanes))?;
            let op = if left { InstructionOpcode::Shl } else { InstructionOpcode::LShr };
            let value = self.binary(op, a, amount, "shifted")?;
            self.select(inside, value, self.int(0, dtype, lanes))
        } else {
            let amount = self.select(inside, b, self.int(width - 1, dtype, lanes))?;
            self.binary(InstructionOpcode::AShr, a, amount, "shifted")
        }
    }

    fn binary_float(&self, op: BinaryOp, dtype: DType, a: Value<'c>, b: Value<'c>) -> Emit<Value<'c>> {
        match op {
            BinaryOp::Add => self.float_binary(InstructionOpcode::FAdd, a, b, "add"),
            BinaryOp::Sub => self.float_binary(InstructionOpcode::FSub, a, b, "sub"),
            BinaryOp::Mul => self.float_binary(InstructionOpcode::FMul, a, b, "mul"),
            BinaryOp::Div => self.float_binary(InstructionOpcode::FDiv, a, b, "div"),
            BinaryOp::FloorDiv => Ok(self.float_divmod(dtype, a, b)?.0),
            BinaryOp::Mod => Ok(self.float_divmod(dtype, a, b)?.1),
            BinaryOp::Pow => self.float_power(dtype, a, b),
            BinaryOp::Minimum => self.float_extreme(dtype, a, b, false),
            BinaryOp::Maximum => self.float_extreme(dtype, a, b, true),
            BinaryOp::Eq => self.fcmp(FloatPredicate::OEQ, a, b),
            BinaryOp::Ne => self.fcmp(FloatPredicate::UNE, a, b),
            BinaryOp::Lt => self.fcmp(FloatPredicate::OLT, a, b),
            BinaryOp::Le => self.fcmp(FloatPredicate::OLE, a, b),
            BinaryOp::Gt => self.fcmp(FloatPredicate::OGT, a, b),
            BinaryOp::Ge => self.fcmp(FloatPredicate::OGE, a, b),
            BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr => {
                Err(CodegenError::Unsupported { operation: op.name(), dtype })
            }
        }
    }

    /// Minimum or maximum; NaN if either is. On x86 `b > a ? b : a` is one instruction that keeps
    /// a NaN in `a`; a NaN in `b` is put back by one comparison and one blend.
    fn float_extreme(&self, dtype: DType, a: Value<'c>, b: Value<'c>, largest: bool) -> Emit<Value<'c>> {
        let lanes = lanes_of(a).max(lanes_of(b));
        let (a, b) = (self.splat(a, lanes)?, self.splat(b, lanes)?);
        if self.native_minmax {
            let name = if largest { "llvm.maximum" } else { "llvm.minimum" };
            return self.intrinsic(name, &[self.value_type(dtype, lanes)], &[a, b]);
        }
        let beats = self.fcmp(if largest { FloatPredicate::OGT } else { FloatPredicate::OLT }, b, a)?;
        let best = self.select(beats, b, a)?;
        let nan = self.fcmp(FloatPredicate::UNO, b, b)?;
        self.select(nan, b, best)
    }

    /// NumPy's `npy_divmod`: quotient and remainder. No contraction: every step rounds.
    fn float_divmod(&self, dtype: DType, a: Value<'c>, b: Value<'c>) -> Emit<(Value<'c>, Value<'c>)> {
        let lanes = lanes_of(a).max(lanes_of(b));
        let (a, b) = (self.splat(a, lanes)?, self.splat(b, lanes)?);
        let ty = self.value_type(dtype, lanes);
        let number = |value: f64| self.float(value, dtype, lanes);
        let rest = self.binary(InstructionOpcode::FRem, a, b, "rest")?;
        let plain = self.binary(InstructionOpcode::FDiv, a, b, "plain")?;
        let whole = self.binary(InstructionOpcode::FSub, a, rest, "whole")?;
        let div = self.binary(InstructionOpcode::FDiv, whole, b, "div")?;
        let inexact = self.fcmp(FloatPredicate::UNE, rest, number(0.0))?;
        let b_negative = self.fcmp(FloatPredicate::OLT, b, number(0.0))?;
        let rest_negative = self.fcmp(FloatPredicate::OLT, rest, number(0.0))?;
        let opposite = self.binary(InstructionOpcode::Xor, b_negative, rest_negative, "opposite")?;
        let adjust = self.binary(InstructionOpcode::And, inexact, opposite, "adjust")?;
        let shifted = self.binary(InstructionOpcode::FAdd, rest, b, "shifted")?;
        let modulus = self.select(adjust, shifted, rest)?;
        let signed_zero = self.intrinsic("llvm.copysign", &[ty], &[number(0.0), b])?;
        let modulus = self.select(inexact, modulus, signed_zero)?;
        let below = self.binary(InstructionOpcode::FSub, div, number(1.0), "below")?;
        let div = self.select(adjust, below, div)?;
        let floor = self.intrinsic("llvm.floor", &[ty], &[div])?;
        let lost = self.binary(InstructionOpcode::FSub, div, floor, "lost")?;
        let up = self.fcmp(FloatPredicate::OGT, lost, number(0.5))?;
        let next = self.binary(InstructionOpcode::FAdd, floor, number(1.0), "next")?;
        let floor = self.select(up, next, floor)?;
        let nonzero = self.fcmp(FloatPredicate::UNE, div, number(0.0))?;
        let signed_zero = self.intrinsic("llvm.copysign", &[ty], &[number(0.0), plain])?;
        let quotient = self.select(nonzero, floor, signed_zero)?;
        let by_zero = self.fcmp(FloatPredicate::OEQ, b, number(0.0))?;
        Ok((self.select(by_zero, plain, quotient)?, self.select(by_zero, rest, modulus)?))
    }

    /// Conversion between any two types.
    pub(crate) fn convert(&self, from: DType, to: DType, x: Value<'c>) -> Emit<Value<'c>> {
        let lanes = lanes_of(x);
        if from == to {
            return Ok(x);
        }
        if to == DType::Bool {
            let zero = self.int(0, from, lanes);
            return if from.is_float() {
                self.fcmp(FloatPredicate::UNE, x, zero)
            } else {
                self.icmp(IntPredicate::NE, x, zero)
            };
        }
        match (from.is_float(), to.is_float()) {
            (true, true) if from.bytes() > to.bytes() => self.cast(InstructionOpcode::FPTrunc, x, to, "cast"),
            (true, true) if from.bytes() < to.bytes() => self.cast(InstructionOpcode::FPExt, x, to, "cast"),
            (true, true) => {
                // Between f16 and bf16: neither contains the other.
                let wide = self.cast(InstructionOpcode::FPExt, x, DType::F32, "wide")?;
                self.cast(InstructionOpcode::FPTrunc, wide, to, "cast")
            }
            (true, false) => self.float_to_int(from, to, x),
            (false, true) if signed(from) => self.cast(InstructionOpcode::SIToFP, x, to, "cast"),
            (false, true) => self.cast(InstructionOpcode::UIToFP, x, to, "cast"),
            (false, false) if from == DType::Bool || (from.bytes() < to.bytes() && !signed(from)) => {
                self.cast(InstructionOpcode::ZExt, x, to, "cast")
            }
            (false, false) if from.bytes() < to.bytes() => self.cast(InstructionOpcode::SExt, x, to, "cast"),
            (false, false) if from.bytes() > to.bytes() => self.cast(InstructionOpcode::Trunc, x, to, "cast"),
            (false, false) => Ok(x),
        }
    }

    /// Truncation towards 0; the lowest value of the type for NaN and what is out of range.
    fn float_to_int(&self, from: DType, to: DType, x: Value<'c>) -> Emit<Value<'c>> {
        let lanes = lanes_of(x);
        let bits = i32::try_from(to.bytes() * 8).unwrap_or(64);
        let (low, high) =
            if signed(to) { (-(2f64.powi(bits - 1)), 2f64.powi(bits - 1)) } else { (0.0, 2f64.powi(bits)) };
        let zero = self.int(0, from, lanes);
        let above = if signed(to) {
            self.fcmp(FloatPredicate::OGE, x, self.float(low, from, lanes))?
        } else {
            self.fcmp(FloatPredicate::OGT, x, self.float(-1.0, from, lanes))?
        };
        let below = self.fcmp(FloatPredicate::OLT, x, self.float(high, from, lanes))?;
        let inside = self.binary(InstructionOpcode::And, above, below, "inside")?;
        let safe = self.select(inside, x, zero)?;
        let op = if signed(to) { InstructionOpcode::FPToSI } else { InstructionOpcode::FPToUI };
        let value = self.cast(op, safe, to, "cast")?;
        self.select(inside, value, self.literal(lowest(to), to, lanes))
    }

    /// One step of a fold.
    pub(crate) fn combine(&self, op: FoldOp, dtype: DType, accumulator: Value<'c>, term: Value<'c>) -> Emit<Value<'c>> {
        self.binary_op(op.combine(), dtype, accumulator, term)
    }

    /// `a · b + c`, rounded once where the target can.
    pub(crate) fn fused(&self, dtype: DType, a: Value<'c>, b: Value<'c>, c: Value<'c>) -> Emit<Value<'c>> {
        let lanes = lanes_of(a).max(lanes_of(b)).max(lanes_of(c));
        let args = [self.splat(a, lanes)?, self.splat(b, lanes)?, self.splat(c, lanes)?];
        self.intrinsic("llvm.fmuladd", &[self.value_type(dtype, lanes)], &args)
    }

    /// All lanes of `value` folded into one scalar, by halves.
    pub(crate) fn horizontal(&self, op: FoldOp, dtype: DType, value: Value<'c>) -> Emit<Value<'c>> {
        let mut value = value;
        loop {
            let lanes = lanes_of(value);
            if lanes <= 1 {
                return Ok(value);
            }
            let vector = self.vector(value)?;
            if lanes % 2 == 1 || lanes == 2 {
                let mut sum: Value<'c> = self.builder.build_extract_element(vector, self.i32(0), "lane")?;
                for lane in 1..lanes {
                    let next = self.builder.build_extract_element(vector, self.i32(lane), "lane")?;
                    sum = self.combine(op, dtype, sum, next)?;
                }
                return Ok(sum);
            }
            let half = lanes / 2;
            let low = self.shuffle(vector, vector, &(0..half).collect::<Vec<_>>())?;
            let high = self.shuffle(vector, vector, &(half..lanes).collect::<Vec<_>>())?;
            value = self.combine(op, dtype, low.into(), high.into())?;
        }
    }

    /// A value in memory's representation.
    pub(crate) fn to_memory(&self, dtype: DType, value: Value<'c>) -> Emit<Value<'c>> {
        if dtype == DType::Bool { self.cast(InstructionOpcode::ZExt, value, DType::U8, "byte") } else { Ok(value) }
    }

    /// A value in the registers' representation.
    pub(crate) fn register(&self, dtype: DType, value: Value<'c>) -> Emit<Value<'c>> {
        if dtype == DType::Bool {
            self.icmp(IntPredicate::NE, value, self.int(0, DType::U8, lanes_of(value)))
        } else {
            Ok(value)
        }
    }

    /// The scalar type of lanes `lanes` as an overload of an intrinsic on memory values.
    pub(crate) fn memory_vector(&self, dtype: DType, lanes: u32) -> BasicTypeEnum<'c> {
        self.widen(self.memory_type(dtype), lanes)
    }
}
