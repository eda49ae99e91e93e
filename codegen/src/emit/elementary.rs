//! Elementary functions, by `crate::vector_math`, and integer powers.

use super::cx::{Cx, Emit, Value, lanes_of};
use crate::error::CodegenError;
use crate::vector_math;
use inkwell::IntPredicate;
use inkwell::module::Linkage;
use inkwell::types::{BasicType, BasicTypeEnum};
use inkwell::values::{BasicMetadataValueEnum, FunctionValue, InstructionOpcode};
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::scalar::UnaryOp;

impl<'c> Cx<'c, '_> {
    /// exp, log, sin, cos, tanh, erf.
    pub(crate) fn elementary(&self, op: UnaryOp, dtype: DType, x: Value<'c>) -> Emit<Value<'c>> {
        self.at_a_supported_width(dtype, &[x], |args| {
            Ok(vector_math::emit_unary(self.context, &self.module, &self.builder, op, args[0])?)
        })
    }

    /// xʸ on floats.
    pub(crate) fn float_power(&self, dtype: DType, x: Value<'c>, y: Value<'c>) -> Emit<Value<'c>> {
        let lanes = lanes_of(x).max(lanes_of(y));
        self.at_a_supported_width(dtype, &[self.splat(x, lanes)?, self.splat(y, lanes)?], |args| {
            Ok(vector_math::emit_pow(self.context, &self.module, &self.builder, args[0], args[1])?)
        })
    }

    /// Half-width floats compute in f32.
    fn at_a_supported_width(
        &self,
        dtype: DType,
        args: &[Value<'c>],
        emit: impl Fn(&[Value<'c>]) -> Emit<Value<'c>>,
    ) -> Emit<Value<'c>> {
        match dtype {
            DType::F32 | DType::F64 => emit(args),
            DType::F16 | DType::BF16 => {
                let wide: Vec<Value<'c>> =
                    args.iter().map(|&arg| self.convert(dtype, DType::F32, arg)).collect::<Emit<_>>()?;
                self.convert(DType::F32, dtype, emit(&wide)?)
            }
            DType::Bool | DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::I64 => {
                Err(CodegenError::Unsupported { operation: "an elementary function", dtype })
            }
        }
    }

    /// xʸ on integers, by repeated squaring, wrapping; a negative exponent gives the real value
    /// truncated, and 0 for x = 0.
    pub(crate) fn int_power(&self, dtype: DType, x: Value<'c>, y: Value<'c>) -> Emit<Value<'c>> {
        let function = self.int_power_function(dtype)?;
        self.by_lane(function, dtype, &[x, y])
    }

    /// A scalar function applied lane by lane.
    fn by_lane(&self, function: FunctionValue<'c>, dtype: DType, args: &[Value<'c>]) -> Emit<Value<'c>> {
        let lanes = args.iter().map(|&arg| lanes_of(arg)).max().unwrap_or(1);
        let call = |args: &[Value<'c>]| -> Emit<Value<'c>> {
            let args: Vec<BasicMetadataValueEnum<'c>> = args.iter().map(|&arg| arg.into()).collect();
            let site = self.builder.build_call(function, &args, "lane")?;
            site.try_as_basic_value()
                .basic()
                .ok_or(CodegenError::Unsupported { operation: "a function without a value", dtype })
        };
        if lanes <= 1 {
            return call(args);
        }
        let BasicTypeEnum::VectorType(vector) = self.value_type(dtype, lanes) else {
            return Err(CodegenError::Unsupported { operation: "a vector", dtype });
        };
        let mut result = vector.get_poison();
        for lane in 0..lanes {
            let mut scalars = Vec::with_capacity(args.len());
            for &arg in args {
                scalars.push(if lanes_of(arg) > 1 {
                    self.builder.build_extract_element(self.vector(arg)?, self.i32(lane), "arg")?
                } else {
                    arg
                });
            }
            result = self.builder.build_insert_element(result, call(&scalars)?, self.i32(lane), "lanes")?;
        }
        Ok(result.into())
    }

    fn int_power_function(&self, dtype: DType) -> Emit<FunctionValue<'c>> {
        let name = format!("moat_power_{}", dtype.name());
        if let Some(function) = self.module.get_function(&name) {
            return Ok(function);
        }
        let ty = self.scalar_type(dtype);
        let function =
            self.module.add_function(&name, ty.fn_type(&[ty.into(), ty.into()], false), Some(Linkage::Internal));
        self.attribute(function);
        let (Some(base0), Some(exponent0)) = (function.get_nth_param(0), function.get_nth_param(1)) else {
            return Err(CodegenError::Unsupported { operation: "power", dtype });
        };
        let here = self.here()?;
        let int = |value: i64| self.int(value, dtype, 1);
        let entry = self.context.append_basic_block(function, "entry");
        let (head, body, done) = (
            self.context.append_basic_block(function, "head"),
            self.context.append_basic_block(function, "body"),
            self.context.append_basic_block(function, "done"),
        );
        self.builder.position_at_end(entry);
        // Of x⁻ⁿ only ±1 survive truncation: 1 for x = 1, and ±1 by the parity of n for x = −1.
        let negative = if dtype == DType::U8 {
            self.int(0, DType::Bool, 1)
        } else {
            self.icmp(IntPredicate::SLT, exponent0, int(0))?
        };
        let is_one = self.icmp(IntPredicate::EQ, base0, int(1))?;
        let is_minus = self.icmp(IntPredicate::EQ, base0, int(-1))?;
        let is_unit = self.binary(InstructionOpcode::Or, is_one, is_minus, "unit")?;
        let base_start = {
            let truncated = self.select(is_unit, base0, int(0))?;
            self.select(negative, truncated, base0)?
        };
        let exponent_start = {
            let parity = self.binary(InstructionOpcode::And, exponent0, int(1), "parity")?;
            let units = self.select(is_unit, parity, int(1))?;
            self.select(negative, units, exponent0)?
        };
        self.builder.build_unconditional_branch(head)?;
        self.builder.position_at_end(head);
        let result = self.builder.build_phi(ty, "result")?;
        let base = self.builder.build_phi(ty, "base")?;
        let exponent = self.builder.build_phi(ty, "exponent")?;
        let more = self.icmp(IntPredicate::NE, exponent.as_basic_value(), int(0))?;
        self.builder.build_conditional_branch(self.scalar_int(more)?, body, done)?;
        self.builder.position_at_end(body);
        let odd = self.binary(InstructionOpcode::And, exponent.as_basic_value(), int(1), "odd")?;
        let odd = self.icmp(IntPredicate::NE, odd, int(0))?;
        let multiplied =
            self.binary(InstructionOpcode::Mul, result.as_basic_value(), base.as_basic_value(), "multiplied")?;
        let next_result = self.select(odd, multiplied, result.as_basic_value())?;
        let next_base = self.binary(InstructionOpcode::Mul, base.as_basic_value(), base.as_basic_value(), "squared")?;
        let next_exponent = self.binary(InstructionOpcode::LShr, exponent.as_basic_value(), int(1), "halved")?;
        self.builder.build_unconditional_branch(head)?;
        result.add_incoming(&[(&int(1), entry), (&next_result, body)]);
        base.add_incoming(&[(&base_start, entry), (&next_base, body)]);
        exponent.add_incoming(&[(&exponent_start, entry), (&next_exponent, body)]);
        self.builder.position_at_end(done);
        self.builder.build_return(Some(&result.as_basic_value()))?;
        self.builder.position_at_end(here);
        Ok(function)
    }
}
