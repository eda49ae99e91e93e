//! Thin helpers over LLVM's builder that treat scalars and vectors alike.
//!
//! A value of dtype `d` with `n` lanes is `d` if `n` is 1 and `<n x d>` otherwise; bools are `i1`
//! in registers and `i8` in memory.

use super::options::CompileOptions;
use crate::address::element_at;
use crate::error::CodegenError;
use crate::workspace::WorkspacePlan;
use inkwell::basic_block::BasicBlock;
use inkwell::builder::Builder;
use inkwell::context::Context;
use inkwell::intrinsics::Intrinsic;
use inkwell::module::Module;
use inkwell::types::{BasicType, BasicTypeEnum, VectorType};
use inkwell::values::{
    BasicMetadataValueEnum, BasicValue, BasicValueEnum, CallSiteValue, FastMathFlags, FunctionValue, InstructionOpcode,
    IntValue, PointerValue, VectorValue,
};
use inkwell::{FloatPredicate, IntPredicate};
use moat_optimizer::nest::LoopNest;
use moat_optimizer::value::dtype::{DType, Literal};

pub(crate) type Value<'c> = BasicValueEnum<'c>;
pub(crate) type Emit<T> = Result<T, CodegenError>;

/// What every part of the emission needs.
pub(crate) struct Cx<'c, 'n> {
    pub(crate) context: &'c Context,
    pub(crate) module: Module<'c>,
    pub(crate) builder: Builder<'c>,
    pub(crate) nest: &'n LoopNest,
    pub(crate) options: &'n CompileOptions,
    /// FMA and reordered folds are allowed.
    pub(crate) relaxed: bool,
    /// Where scratch buffers lie.
    pub(crate) workspace: WorkspacePlan,
    /// The target has NaN-propagating minimum and maximum instructions.
    pub(crate) native_minmax: bool,
}

/// Lanes of a value.
pub(crate) fn lanes_of(value: Value<'_>) -> u32 {
    match value {
        BasicValueEnum::VectorValue(vector) => vector.get_type().get_size(),
        BasicValueEnum::ArrayValue(_)
        | BasicValueEnum::IntValue(_)
        | BasicValueEnum::FloatValue(_)
        | BasicValueEnum::PointerValue(_)
        | BasicValueEnum::StructValue(_)
        | BasicValueEnum::ScalableVectorValue(_) => 1,
    }
}

impl<'c> Cx<'c, '_> {
    pub(crate) fn malformed(&self, place: &str, what: impl Into<String>) -> CodegenError {
        CodegenError::Malformed { place: place.to_string(), what: what.into() }
    }

    fn internal(&self, what: &str) -> CodegenError {
        CodegenError::Verify { message: format!("code generator: {what}") }
    }

    /// The type in registers.
    pub(crate) fn scalar_type(&self, dtype: DType) -> BasicTypeEnum<'c> {
        match dtype {
            DType::Bool => self.context.bool_type().into(),
            DType::I8 | DType::U8 => self.context.i8_type().into(),
            DType::I16 => self.context.i16_type().into(),
            DType::I32 => self.context.i32_type().into(),
            DType::I64 => self.context.i64_type().into(),
            DType::F16 => self.context.f16_type().into(),
            DType::BF16 => self.context.bf16_type().into(),
            DType::F32 => self.context.f32_type().into(),
            DType::F64 => self.context.f64_type().into(),
        }
    }

    /// The type in memory.
    pub(crate) fn memory_type(&self, dtype: DType) -> BasicTypeEnum<'c> {
        if dtype == DType::Bool { self.context.i8_type().into() } else { self.scalar_type(dtype) }
    }

    pub(crate) fn widen(&self, scalar: BasicTypeEnum<'c>, lanes: u32) -> BasicTypeEnum<'c> {
        if lanes <= 1 {
            return scalar;
        }
        match scalar {
            BasicTypeEnum::IntType(t) => t.vec_type(lanes).into(),
            BasicTypeEnum::FloatType(t) => t.vec_type(lanes).into(),
            BasicTypeEnum::PointerType(t) => t.vec_type(lanes).into(),
            BasicTypeEnum::ArrayType(_)
            | BasicTypeEnum::StructType(_)
            | BasicTypeEnum::VectorType(_)
            | BasicTypeEnum::ScalableVectorType(_) => scalar,
        }
    }

    pub(crate) fn value_type(&self, dtype: DType, lanes: u32) -> BasicTypeEnum<'c> {
        self.widen(self.scalar_type(dtype), lanes)
    }

    pub(crate) fn i64(&self, value: i64) -> IntValue<'c> {
        self.context.i64_type().const_int(value.cast_unsigned(), true)
    }

    pub(crate) fn i32(&self, value: u32) -> IntValue<'c> {
        self.context.i32_type().const_int(u64::from(value), false)
    }

    /// A constant in all lanes.
    pub(crate) fn literal(&self, literal: Literal, dtype: DType, lanes: u32) -> Value<'c> {
        let scalar: Value<'c> = match self.scalar_type(dtype) {
            BasicTypeEnum::FloatType(t) => t.const_float(literal.as_f64()).into(),
            BasicTypeEnum::IntType(t) => {
                let bits = match literal {
                    Literal::Bool(b) => i64::from(b),
                    Literal::Int(i) => i,
                    #[expect(clippy::cast_possible_truncation, reason = "a float literal at an integer type is cast")]
                    Literal::Float(bits) => f64::from_bits(bits) as i64,
                };
                let bits = if dtype == DType::Bool { i64::from(bits != 0) } else { bits };
                t.const_int(bits.cast_unsigned(), true).into()
            }
            // No element type is an aggregate.
            aggregate @ (BasicTypeEnum::ArrayType(_)
            | BasicTypeEnum::PointerType(_)
            | BasicTypeEnum::StructType(_)
            | BasicTypeEnum::VectorType(_)
            | BasicTypeEnum::ScalableVectorType(_)) => aggregate.const_zero(),
        };
        self.splat_constant(scalar, lanes)
    }

    pub(crate) fn int(&self, value: i64, dtype: DType, lanes: u32) -> Value<'c> {
        self.literal(Literal::Int(value), dtype, lanes)
    }

    pub(crate) fn float(&self, value: f64, dtype: DType, lanes: u32) -> Value<'c> {
        self.literal(Literal::float(value), dtype, lanes)
    }

    fn splat_constant(&self, scalar: Value<'c>, lanes: u32) -> Value<'c> {
        if lanes <= 1 {
            return scalar;
        }
        VectorType::const_vector(&vec![scalar; lanes as usize]).into()
    }

    /// A scalar in all of `lanes` lanes; a vector stays as it is.
    pub(crate) fn splat(&self, value: Value<'c>, lanes: u32) -> Emit<Value<'c>> {
        if lanes <= 1 || lanes_of(value) > 1 {
            return Ok(value);
        }
        if value.is_const() {
            return Ok(self.splat_constant(value, lanes));
        }
        let BasicTypeEnum::VectorType(vector) = self.widen(value.get_type(), lanes) else {
            return Err(self.internal("splat of an aggregate"));
        };
        let one = self.builder.build_insert_element(vector.get_poison(), value, self.i32(0), "lane0")?;
        Ok(self.shuffle(one, one, &vec![0; lanes as usize])?.into())
    }

    pub(crate) fn shuffle(&self, a: VectorValue<'c>, b: VectorValue<'c>, picks: &[u32]) -> Emit<VectorValue<'c>> {
        let mask: Vec<IntValue<'c>> = picks.iter().map(|&pick| self.i32(pick)).collect();
        Ok(self.builder.build_shuffle_vector(a, b, VectorType::const_vector(&mask), "shuffled")?)
    }

    pub(crate) fn vector(&self, value: Value<'c>) -> Emit<VectorValue<'c>> {
        if let BasicValueEnum::VectorValue(vector) = value {
            return Ok(vector);
        }
        Err(self.internal(&format!("expected a vector, found {value}")))
    }

    pub(crate) fn scalar_int(&self, value: Value<'c>) -> Emit<IntValue<'c>> {
        if let BasicValueEnum::IntValue(int) = value {
            return Ok(int);
        }
        Err(self.internal(&format!("expected an integer, found {value}")))
    }

    pub(crate) fn pointer(&self, value: Value<'c>) -> Emit<PointerValue<'c>> {
        if let BasicValueEnum::PointerValue(pointer) = value {
            return Ok(pointer);
        }
        Err(self.internal(&format!("expected a pointer, found {value}")))
    }

    /// `<0, 1, …>` of a type.
    pub(crate) fn iota(&self, dtype: DType, lanes: u32) -> Value<'c> {
        let values: Vec<Value<'c>> = (0..lanes).map(|lane| self.int(i64::from(lane), dtype, 1)).collect();
        if lanes <= 1 { values[0] } else { VectorType::const_vector(&values).into() }
    }

    pub(crate) fn binary(&self, op: InstructionOpcode, a: Value<'c>, b: Value<'c>, name: &str) -> Emit<Value<'c>> {
        let lanes = lanes_of(a).max(lanes_of(b));
        Ok(self.builder.build_binop(op, self.splat(a, lanes)?, self.splat(b, lanes)?, name)?)
    }

    /// A float operation, which may be contracted into an FMA where numerics permit it.
    pub(crate) fn float_binary(
        &self,
        op: InstructionOpcode,
        a: Value<'c>,
        b: Value<'c>,
        name: &str,
    ) -> Emit<Value<'c>> {
        let value = self.binary(op, a, b, name)?;
        if self.relaxed
            && let Some(instruction) = value.as_instruction_value()
        {
            // An instruction that takes no such flags (a folded one) keeps none: nothing is lost.
            let _ = instruction.set_fast_math_flags(FastMathFlags::AllowContract);
        }
        Ok(value)
    }

    /// A float operation is not contracted after all.
    pub(crate) fn uncontracted(&self, value: Value<'c>) {
        if let Some(instruction) = value.as_instruction_value() {
            let _ = instruction.set_fast_math_flags(FastMathFlags::empty());
        }
    }

    pub(crate) fn cast(&self, op: InstructionOpcode, value: Value<'c>, dtype: DType, name: &str) -> Emit<Value<'c>> {
        Ok(self.builder.build_cast(op, value, self.value_type(dtype, lanes_of(value)), name)?)
    }

    pub(crate) fn icmp(&self, predicate: IntPredicate, a: Value<'c>, b: Value<'c>) -> Emit<Value<'c>> {
        let lanes = lanes_of(a).max(lanes_of(b));
        match (self.splat(a, lanes)?, self.splat(b, lanes)?) {
            (BasicValueEnum::IntValue(a), BasicValueEnum::IntValue(b)) => {
                Ok(self.builder.build_int_compare(predicate, a, b, "cmp")?.into())
            }
            (BasicValueEnum::VectorValue(a), BasicValueEnum::VectorValue(b)) => {
                Ok(self.builder.build_int_compare(predicate, a, b, "cmp")?.into())
            }
            (a, _) => Err(self.internal(&format!("integer comparison of {a}"))),
        }
    }

    pub(crate) fn fcmp(&self, predicate: FloatPredicate, a: Value<'c>, b: Value<'c>) -> Emit<Value<'c>> {
        let lanes = lanes_of(a).max(lanes_of(b));
        match (self.splat(a, lanes)?, self.splat(b, lanes)?) {
            (BasicValueEnum::FloatValue(a), BasicValueEnum::FloatValue(b)) => {
                Ok(self.builder.build_float_compare(predicate, a, b, "cmp")?.into())
            }
            (BasicValueEnum::VectorValue(a), BasicValueEnum::VectorValue(b)) => {
                Ok(self.builder.build_float_compare(predicate, a, b, "cmp")?.into())
            }
            (a, _) => Err(self.internal(&format!("float comparison of {a}"))),
        }
    }

    /// `condition ? then : otherwise`, lane by lane; a scalar condition chooses whole vectors.
    pub(crate) fn select(&self, condition: Value<'c>, then: Value<'c>, otherwise: Value<'c>) -> Emit<Value<'c>> {
        let lanes = lanes_of(condition).max(lanes_of(then)).max(lanes_of(otherwise));
        let (then, otherwise) = (self.splat(then, lanes)?, self.splat(otherwise, lanes)?);
        if let BasicValueEnum::IntValue(c) = condition {
            return Ok(self.builder.build_select(c, then, otherwise, "choice")?);
        }
        Ok(self.builder.build_select(self.vector(condition)?, then, otherwise, "choice")?)
    }

    /// Calls an intrinsic overloaded on `types`.
    pub(crate) fn intrinsic(&self, name: &str, types: &[BasicTypeEnum<'c>], args: &[Value<'c>]) -> Emit<Value<'c>> {
        match self.intrinsic_call(name, types, args)?.try_as_basic_value().basic() {
            Some(value) => Ok(value),
            None => Err(self.internal(&format!("{name} has no value"))),
        }
    }

    pub(crate) fn intrinsic_call(
        &self,
        name: &str,
        types: &[BasicTypeEnum<'c>],
        args: &[Value<'c>],
    ) -> Emit<CallSiteValue<'c>> {
        let function: FunctionValue<'c> = Intrinsic::find(name)
            .and_then(|intrinsic| intrinsic.get_declaration(&self.module, types))
            .ok_or_else(|| self.internal(&format!("no intrinsic {name}")))?;
        let args: Vec<BasicMetadataValueEnum<'c>> = args.iter().map(|&arg| arg.into()).collect();
        Ok(self.builder.build_call(function, &args, "call")?)
    }

    /// `pointer + index` elements of type `element`.
    pub(crate) fn element(
        &self,
        element: BasicTypeEnum<'c>,
        pointer: PointerValue<'c>,
        index: IntValue<'c>,
        name: &str,
    ) -> Emit<PointerValue<'c>> {
        element_at(&self.builder, element, pointer, index, name)
    }

    pub(crate) fn block(&self, name: &str) -> Emit<BasicBlock<'c>> {
        let function = self.function()?;
        Ok(self.context.append_basic_block(function, name))
    }

    pub(crate) fn here(&self) -> Emit<BasicBlock<'c>> {
        self.builder.get_insert_block().ok_or_else(|| self.internal("no insertion point"))
    }

    pub(crate) fn function(&self) -> Emit<FunctionValue<'c>> {
        self.here()?.get_parent().ok_or_else(|| self.internal("no function"))
    }

    pub(crate) fn load(
        &self,
        ty: impl BasicType<'c>,
        pointer: PointerValue<'c>,
        align: usize,
        name: &str,
    ) -> Emit<Value<'c>> {
        let value = self.builder.build_load(ty, pointer, name)?;
        self.align(value.as_instruction_value(), align);
        Ok(value)
    }

    pub(crate) fn store(&self, value: Value<'c>, pointer: PointerValue<'c>, align: usize) -> Emit<()> {
        let instruction = self.builder.build_store(pointer, value)?;
        self.align(Some(instruction), align);
        Ok(())
    }

    /// A store of a whole vector past the caches; the address must be a multiple of its size.
    pub(crate) fn store_past_caches(
        &self,
        value: VectorValue<'c>,
        pointer: PointerValue<'c>,
        bytes: usize,
    ) -> Emit<()> {
        let instruction = self.builder.build_store(pointer, value)?;
        self.align(Some(instruction), bytes);
        let one = self.context.metadata_node(&[self.i32(1).into()]);
        let kind = self.context.get_kind_id("nontemporal");
        instruction.set_metadata(one, kind).map_err(|message| self.internal(&message.to_string()))
    }

    /// Makes what was stored past the caches visible to other threads before what follows.
    pub(crate) fn drain(&self) -> Emit<()> {
        let streams = moat_optimizer::nest::tiles(&self.nest.body).any(|tile| tile.stream);
        if streams && self.options.target.triple.starts_with("x86_64") {
            self.intrinsic_call("llvm.x86.sse.sfence", &[], &[])?;
        }
        Ok(())
    }

    fn align(&self, instruction: Option<inkwell::values::InstructionValue<'c>>, align: usize) {
        if let (Some(instruction), Ok(align)) = (instruction, u32::try_from(align)) {
            // Only loads, stores and allocas come here, and they all take an alignment.
            let _ = instruction.set_alignment(align);
        }
    }

    /// A stack slot in the function's entry block, which becomes a register.
    pub(crate) fn slot(&self, ty: BasicTypeEnum<'c>, name: &str) -> Emit<PointerValue<'c>> {
        let here = self.here()?;
        let entry = self
            .function()?
            .get_first_basic_block()
            .ok_or_else(|| self.internal("a function without an entry block"))?;
        match entry.get_first_instruction() {
            Some(first) => self.builder.position_before(&first),
            None => self.builder.position_at_end(entry),
        }
        let slot = self.builder.build_alloca(ty, name)?;
        self.builder.position_at_end(here);
        Ok(slot)
    }
}
