//! The few vector operations that the functions of [`super`] are written in.
//!
//! Input: a builder positioned in a function, an element width and a lane count. Output: LLVM
//! values. Every value is a vector (a scalar is a vector of one lane), no instruction carries a
//! fast-math flag, and multiply-adds that must not round twice are `llvm.fma`. Nothing here knows
//! a mathematical function.

use super::attributes::copy_target_attributes;
use super::error::{Emit, VectorMathError};
use inkwell::attributes::AttributeLoc;
use inkwell::builder::Builder;
use inkwell::context::Context;
use inkwell::intrinsics::Intrinsic;
use inkwell::memory_buffer::MemoryBuffer;
use inkwell::module::{Linkage, Module};
use inkwell::types::{BasicType, BasicTypeEnum, FloatType, IntType, VectorType};
use inkwell::values::{BasicMetadataValueEnum, BasicValueEnum, FunctionValue, IntValue, VectorValue};
use inkwell::{FloatPredicate, IntPredicate};

/// A vector of floats, integers or truth values.
pub(super) type Vector<'c> = VectorValue<'c>;

/// An IEEE binary format that the functions exist for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Width {
    /// binary32.
    F32,
    /// binary64.
    F64,
}

impl Width {
    /// Bits of an element.
    pub(super) const fn bits(self) -> u32 {
        match self {
            Width::F32 => 32,
            Width::F64 => 64,
        }
    }

    /// Bits of the stored significand.
    pub(super) const fn fraction_bits(self) -> u64 {
        match self {
            Width::F32 => 23,
            Width::F64 => 52,
        }
    }

    /// The exponent bias.
    pub(super) const fn bias(self) -> u64 {
        match self {
            Width::F32 => 127,
            Width::F64 => 1023,
        }
    }

    /// `1.5 · 2^fraction_bits`: adding it rounds to an integer, which is then in the low bits.
    pub(super) const fn magic(self) -> f64 {
        match self {
            Width::F32 => 12_582_912.0,
            Width::F64 => 6_755_399_441_055_744.0,
        }
    }

    /// The bits of +∞.
    pub(super) const fn infinity_bits(self) -> u64 {
        match self {
            Width::F32 => 0x7f80_0000,
            Width::F64 => 0x7ff0_0000_0000_0000,
        }
    }

    /// The bit of the sign.
    pub(super) const fn sign_bit(self) -> u64 {
        1 << (self.bits() - 1)
    }

    /// LLVM's name of the type in intrinsic names and in ours.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Width::F32 => "f32",
            Width::F64 => "f64",
        }
    }
}

/// A rounding of a real number to an integer by the magic-number addition.
#[derive(Clone, Copy)]
pub(super) struct Rounded<'c> {
    /// The integer as a float.
    pub(super) value: Vector<'c>,
    /// The bits of `magic + integer`: the integer modulo 2^22 (or 2^51) in the low bits.
    pub(super) bits: Vector<'c>,
}

/// An instruction builder for vectors of one float format and lane count.
#[derive(Clone, Copy)]
pub(super) struct Lanes<'a, 'c> {
    context: &'c Context,
    module: &'a Module<'c>,
    builder: &'a Builder<'c>,
    /// The element format.
    pub(super) width: Width,
    /// The number of lanes, ≥ 1.
    pub(super) lanes: u32,
}

impl<'a, 'c> Lanes<'a, 'c> {
    /// A builder of vectors of `lanes` elements of `width`.
    pub(super) fn new(
        context: &'c Context,
        module: &'a Module<'c>,
        builder: &'a Builder<'c>,
        width: Width,
        lanes: u32,
    ) -> Lanes<'a, 'c> {
        Lanes { context, module, builder, width, lanes }
    }

    /// The same lanes at another format.
    pub(super) fn at(self, width: Width) -> Lanes<'a, 'c> {
        Lanes { width, ..self }
    }

    /// The LLVM module under construction.
    pub(super) fn module(&self) -> &'a Module<'c> {
        self.module
    }

    /// The LLVM context.
    pub(super) fn context(&self) -> &'c Context {
        self.context
    }

    /// The instruction builder.
    pub(super) fn builder(&self) -> &'a Builder<'c> {
        self.builder
    }

    /// The scalar float type.
    pub(super) fn element(&self) -> FloatType<'c> {
        match self.width {
            Width::F32 => self.context.f32_type(),
            Width::F64 => self.context.f64_type(),
        }
    }

    fn int_element(&self) -> IntType<'c> {
        match self.width {
            Width::F32 => self.context.i32_type(),
            Width::F64 => self.context.i64_type(),
        }
    }

    /// The vector type.
    pub(super) fn vector(&self) -> VectorType<'c> {
        self.element().vec_type(self.lanes)
    }

    fn int_vector(&self) -> VectorType<'c> {
        self.int_element().vec_type(self.lanes)
    }

    /// A constant in every lane; at f32 it is rounded once.
    pub(super) fn float(&self, value: f64) -> Vector<'c> {
        VectorType::const_vector(&vec![self.element().const_float(value); self.lanes as usize])
    }

    /// An integer of the element's size in every lane.
    pub(super) fn int(&self, value: u64) -> Vector<'c> {
        VectorType::const_vector(&vec![self.int_element().const_int(value, false); self.lanes as usize])
    }

    /// x + y.
    pub(super) fn add(&self, x: Vector<'c>, y: Vector<'c>) -> Emit<Vector<'c>> {
        Ok(self.builder.build_float_add(x, y, "")?)
    }

    /// x − y.
    pub(super) fn sub(&self, x: Vector<'c>, y: Vector<'c>) -> Emit<Vector<'c>> {
        Ok(self.builder.build_float_sub(x, y, "")?)
    }

    /// x · y.
    pub(super) fn mul(&self, x: Vector<'c>, y: Vector<'c>) -> Emit<Vector<'c>> {
        Ok(self.builder.build_float_mul(x, y, "")?)
    }

    /// x / y.
    pub(super) fn div(&self, x: Vector<'c>, y: Vector<'c>) -> Emit<Vector<'c>> {
        Ok(self.builder.build_float_div(x, y, "")?)
    }

    /// −x.
    pub(super) fn neg(&self, x: Vector<'c>) -> Emit<Vector<'c>> {
        Ok(self.builder.build_float_neg(x, "")?)
    }

    /// x · y + z, rounded once.
    pub(super) fn fma(&self, x: Vector<'c>, y: Vector<'c>, z: Vector<'c>) -> Emit<Vector<'c>> {
        self.intrinsic("llvm.fma", &[x, y, z])
    }

    /// |x|.
    pub(super) fn abs(&self, x: Vector<'c>) -> Emit<Vector<'c>> {
        self.intrinsic("llvm.fabs", &[x])
    }

    /// The magnitude of x with the sign of y.
    pub(super) fn copysign(&self, x: Vector<'c>, y: Vector<'c>) -> Emit<Vector<'c>> {
        self.intrinsic("llvm.copysign", &[x, y])
    }

    /// ⌊x⌋.
    pub(super) fn floor(&self, x: Vector<'c>) -> Emit<Vector<'c>> {
        self.intrinsic("llvm.floor", &[x])
    }

    /// Σ coefficients[i] · xⁱ by Horner's scheme; `coefficients` is not empty.
    pub(super) fn polynomial(&self, x: Vector<'c>, coefficients: &[f64]) -> Emit<Vector<'c>> {
        let mut terms = coefficients.iter().rev();
        let mut sum = self.float(terms.next().copied().unwrap_or(0.0));
        for &coefficient in terms {
            sum = self.fma(sum, x, self.float(coefficient))?;
        }
        Ok(sum)
    }

    /// x rounded to an integer after multiplication by `factor`, |x · factor| < 2^(fraction − 1).
    pub(super) fn round_scaled(&self, x: Vector<'c>, factor: f64) -> Emit<Rounded<'c>> {
        let magic = self.float(self.width.magic());
        let sum = self.fma(x, self.float(factor), magic)?;
        Ok(Rounded { value: self.sub(sum, magic)?, bits: self.bits_of(sum)? })
    }

    /// The larger of x and the constant; a NaN stays.
    pub(super) fn at_least(&self, x: Vector<'c>, bound: f64) -> Emit<Vector<'c>> {
        let below = self.compare(FloatPredicate::OLT, x, self.float(bound))?;
        self.select(below, self.float(bound), x)
    }

    /// The smaller of x and the constant; a NaN stays.
    pub(super) fn at_most(&self, x: Vector<'c>, bound: f64) -> Emit<Vector<'c>> {
        let above = self.compare(FloatPredicate::OGT, x, self.float(bound))?;
        self.select(above, self.float(bound), x)
    }

    /// A float comparison in every lane.
    pub(super) fn compare(&self, predicate: FloatPredicate, x: Vector<'c>, y: Vector<'c>) -> Emit<Vector<'c>> {
        Ok(self.builder.build_float_compare(predicate, x, y, "")?)
    }

    /// An integer comparison in every lane.
    pub(super) fn compare_int(&self, predicate: IntPredicate, x: Vector<'c>, y: Vector<'c>) -> Emit<Vector<'c>> {
        Ok(self.builder.build_int_compare(predicate, x, y, "")?)
    }

    /// `condition ? then : otherwise` in every lane.
    pub(super) fn select(&self, condition: Vector<'c>, then: Vector<'c>, otherwise: Vector<'c>) -> Emit<Vector<'c>> {
        self.expect_vector(self.builder.build_select(condition, then, otherwise, "")?)
    }

    /// The bits of a float vector.
    pub(super) fn bits_of(&self, x: Vector<'c>) -> Emit<Vector<'c>> {
        self.expect_vector(self.builder.build_bit_cast(x, self.int_vector(), "")?)
    }

    /// The floats with these bits.
    pub(super) fn float_of(&self, x: Vector<'c>) -> Emit<Vector<'c>> {
        self.expect_vector(self.builder.build_bit_cast(x, self.vector(), "")?)
    }

    /// Integer x + y, wrapping.
    pub(super) fn int_add(&self, x: Vector<'c>, y: Vector<'c>) -> Emit<Vector<'c>> {
        Ok(self.builder.build_int_add(x, y, "")?)
    }

    /// Integer x − y, wrapping.
    pub(super) fn int_sub(&self, x: Vector<'c>, y: Vector<'c>) -> Emit<Vector<'c>> {
        Ok(self.builder.build_int_sub(x, y, "")?)
    }

    /// Bitwise and (also of truth values).
    pub(super) fn and(&self, x: Vector<'c>, y: Vector<'c>) -> Emit<Vector<'c>> {
        Ok(self.builder.build_and(x, y, "")?)
    }

    /// Bitwise or (also of truth values).
    pub(super) fn or(&self, x: Vector<'c>, y: Vector<'c>) -> Emit<Vector<'c>> {
        Ok(self.builder.build_or(x, y, "")?)
    }

    /// Bitwise exclusive or.
    pub(super) fn xor(&self, x: Vector<'c>, y: Vector<'c>) -> Emit<Vector<'c>> {
        Ok(self.builder.build_xor(x, y, "")?)
    }

    /// x shifted left by a constant below the width.
    pub(super) fn shift_left(&self, x: Vector<'c>, by: u64) -> Emit<Vector<'c>> {
        Ok(self.builder.build_left_shift(x, self.int(by), "")?)
    }

    /// x shifted right by a constant below the width, zeros coming in.
    pub(super) fn shift_right(&self, x: Vector<'c>, by: u64) -> Emit<Vector<'c>> {
        Ok(self.builder.build_right_shift(x, self.int(by), false, "")?)
    }

    /// Signed integers as floats.
    pub(super) fn int_to_float(&self, x: Vector<'c>) -> Emit<Vector<'c>> {
        Ok(self.builder.build_signed_int_to_float(x, self.vector(), "")?)
    }

    /// f32 lanes as f64 lanes, exact.
    pub(super) fn extend(&self, x: Vector<'c>) -> Emit<Vector<'c>> {
        Ok(self.builder.build_float_ext(x, self.at(Width::F64).vector(), "")?)
    }

    /// f64 lanes as f32 lanes, rounded to nearest.
    pub(super) fn truncate(&self, x: Vector<'c>) -> Emit<Vector<'c>> {
        Ok(self.builder.build_float_trunc(x, self.at(Width::F32).vector(), "")?)
    }

    /// x · 2^n for a finite x in [½, 2] and −1080 < n < 1080 (±160 at f32), rounded once; NaN where
    /// x is.
    pub(super) fn scale(&self, x: Vector<'c>, n: Rounded<'c>) -> Emit<Vector<'c>> {
        match self.native_scale(x, n.value)? {
            Some(scaled) => Ok(scaled),
            // Two factors, for 2^n itself may be out of range: the first product is exact, the
            // second rounds. Products, not an addition to the exponent field, which would make a
            // number of a NaN. The low bits of the magic number's half are zero, so that it leaves
            // no trace after the shift.
            None => {
                let half = self.shift_right(n.bits, 1)?;
                let rest = self.int_sub(n.bits, half)?;
                let near = self.mul(x, self.scale_bits(self.float(1.0), half)?)?;
                let factor = self.scale_bits(self.float(1.0), rest)?;
                self.mul(near, factor)
            }
        }
    }

    /// x · 2^n where the result is known to be normal; anything where n is a NaN.
    pub(super) fn scale_normal(&self, x: Vector<'c>, n: Rounded<'c>) -> Emit<Vector<'c>> {
        self.scale_bits(x, n.bits)
    }

    fn scale_bits(&self, x: Vector<'c>, n: Vector<'c>) -> Emit<Vector<'c>> {
        let shifted = self.shift_left(n, self.width.fraction_bits())?;
        self.float_of(self.int_add(self.bits_of(x)?, shifted)?)
    }

    /// AVX-512's `vscalef`, where the function under construction may use it.
    fn native_scale(&self, x: Vector<'c>, n: Vector<'c>) -> Emit<Option<Vector<'c>>> {
        let widest = self.widest_register();
        let register = widest / self.width.bits();
        if register > 0 && self.lanes > register && self.lanes.is_multiple_of(register) {
            let mut parts = Vec::new();
            for part in 0..self.lanes / register {
                let of = Lanes { lanes: register, ..*self };
                let (x, n) = (self.slice(x, part * register, register)?, self.slice(n, part * register, register)?);
                match of.native_scale(x, n)? {
                    Some(scaled) => parts.push(scaled),
                    None => return Ok(None),
                }
            }
            return self.join(&parts).map(Some);
        }
        let bits = self.width.bits() * self.lanes;
        let supported = match bits {
            512 => widest == 512,
            128 | 256 => self.has_feature("avx512vl"),
            _ => false,
        };
        if !supported {
            return Ok(None);
        }
        let letter = match self.width {
            Width::F32 => "s",
            Width::F64 => "d",
        };
        let name = format!("llvm.x86.avx512.mask.scalef.p{letter}.{bits}");
        let mask = if self.lanes == 16 { self.context.i16_type() } else { self.context.i8_type() };
        let every_lane = mask.const_all_ones();
        let mut arguments: Vec<BasicMetadataValueEnum<'c>> =
            vec![x.into(), n.into(), self.vector().const_zero().into(), every_lane.into()];
        if bits == 512 {
            // 4: the current rounding direction.
            arguments.push(self.context.i32_type().const_int(4, false).into());
        }
        let Some(found) = Intrinsic::find(&name) else {
            return Ok(None);
        };
        let Some(declaration) = found.get_declaration(self.module, &[]) else {
            return Ok(None);
        };
        self.call(declaration, &arguments).map(Some)
    }

    /// Whether [`Lanes::lookup`] is one instruction for each register: f32 lanes of AVX-512.
    pub(super) fn has_lookup(&self) -> bool {
        self.width == Width::F32 && self.lanes.is_multiple_of(16) && self.widest_register() == 512
    }

    /// `table[index mod 16]` in every lane; only where [`Lanes::has_lookup`].
    pub(super) fn lookup(&self, table: &[f64; 16], index: Vector<'c>) -> Emit<Vector<'c>> {
        let entries: Vec<_> = table.iter().map(|&entry| self.element().const_float(entry)).collect();
        let entries = VectorType::const_vector(&entries);
        let permute = self.declaration("llvm.x86.avx512.permvar.sf.512", &[])?;
        if self.lanes == 16 {
            return self.call(permute, &[entries.into(), index.into()]);
        }
        let mut parts = Vec::new();
        for part in 0..self.lanes / 16 {
            parts.push(self.call(permute, &[entries.into(), self.slice(index, part * 16, 16)?.into()])?);
        }
        self.join(&parts)
    }

    fn slice(&self, x: Vector<'c>, from: u32, len: u32) -> Emit<Vector<'c>> {
        self.shuffle(x, x, from..from + len)
    }

    fn join(&self, parts: &[Vector<'c>]) -> Emit<Vector<'c>> {
        let (first, rest) = match parts.split_first() {
            Some(split) => split,
            None => return Err(VectorMathError::Internal { what: "no parts to join" }),
        };
        let register = self.lanes / u32::try_from(parts.len()).unwrap_or(1);
        let mut joined = *first;
        let mut len = register;
        for &part in rest {
            // A shuffle takes two vectors of one type: widen the part, then concatenate.
            let wide = self.shuffle(part, part, (0..len).map(|lane| lane.min(register - 1)))?;
            joined = self.shuffle(joined, wide, 0..len + register)?;
            len += register;
        }
        Ok(joined)
    }

    fn shuffle(&self, x: Vector<'c>, y: Vector<'c>, lanes: impl Iterator<Item = u32>) -> Emit<Vector<'c>> {
        let index = self.context.i32_type();
        let mask: Vec<_> = lanes.map(|lane| index.const_int(u64::from(lane), false)).collect();
        Ok(self.builder.build_shuffle_vector(x, y, VectorType::const_vector(&mask), "")?)
    }

    /// Bits of the widest register with AVX-512's instructions; 0 without them. An intrinsic on a
    /// wider type than LLVM holds for legal is an error that ends the process.
    fn widest_register(&self) -> u32 {
        let width = |key| self.attribute(key).and_then(|text| text.parse::<u32>().ok());
        let (vl, preferred) = (self.has_feature("avx512vl"), width("prefer-vector-width"));
        let required = width("min-legal-vector-width");
        // LLVM's rule: the function asks for them, or says nothing, or has no shorter ones.
        let has_512 = !vl || preferred.is_some_and(|bits| bits >= 512) || required.is_none_or(|bits| bits > 256);
        match (self.has_feature("avx512f"), has_512, vl) {
            (true, true, _) => 512,
            (true, false, true) => 256,
            (true, false, false) | (false, _, _) => 0,
        }
    }

    /// Whether the function under construction is compiled with a feature of the target.
    fn has_feature(&self, feature: &str) -> bool {
        self.attribute("target-features")
            .is_some_and(|features| features.split(',').any(|entry| entry.strip_prefix('+') == Some(feature)))
    }

    /// A string attribute of the function under construction.
    fn attribute(&self, key: &str) -> Option<String> {
        let function = self.builder.get_insert_block()?.get_parent()?;
        let attribute = function.get_string_attribute(AttributeLoc::Function, key)?;
        Some(attribute.get_string_value().to_string_lossy().into_owned())
    }

    /// Whether any lane of a truth vector holds, as one `i1`.
    pub(super) fn any(&self, x: Vector<'c>) -> Emit<IntValue<'c>> {
        let declaration = self.declaration("llvm.vector.reduce.or", &[x.get_type().into()])?;
        let call = self.builder.build_direct_call(declaration, &[x.into()], "")?;
        self.expect_int(call.try_as_basic_value().basic())
    }

    /// A call that returns a vector.
    pub(super) fn call(
        &self,
        function: FunctionValue<'c>,
        arguments: &[BasicMetadataValueEnum<'c>],
    ) -> Emit<Vector<'c>> {
        let call = self.builder.build_direct_call(function, arguments, "")?;
        match call.try_as_basic_value().basic() {
            Some(value) => self.expect_vector(value),
            None => Err(VectorMathError::Internal { what: "a call that gives no value" }),
        }
    }

    /// The declaration of an intrinsic in this module.
    pub(super) fn declaration(&self, name: &str, types: &[BasicTypeEnum<'c>]) -> Emit<FunctionValue<'c>> {
        Intrinsic::find(name)
            .and_then(|intrinsic| intrinsic.get_declaration(self.module, types))
            .ok_or_else(|| VectorMathError::MissingIntrinsic { name: name.to_owned() })
    }

    fn intrinsic(&self, name: &str, arguments: &[Vector<'c>]) -> Emit<Vector<'c>> {
        let declaration = self.declaration(name, &[self.vector().as_basic_type_enum()])?;
        let arguments: Vec<BasicMetadataValueEnum<'c>> = arguments.iter().map(|&x| x.into()).collect();
        self.call(declaration, &arguments)
    }

    /// The same value, its poison lanes pinned to some number. The builder has no such instruction,
    /// so it comes in as a function of IR text.
    pub(super) fn freeze(&self, x: Vector<'c>, like: FunctionValue<'c>) -> Emit<Vector<'c>> {
        let name = format!("moat.freeze.v{}{}", self.lanes, self.width.name());
        if let Some(found) = self.module.get_function(&name) {
            return self.call(found, &[x.into()]);
        }
        let element = match self.width {
            Width::F32 => "float",
            Width::F64 => "double",
        };
        let vector = format!("<{} x {element}>", self.lanes);
        let text = format!(
            "define {vector} @{name}({vector} %x) alwaysinline nounwind {{\n  %y = freeze {vector} %x\n  ret {vector} %y\n}}\n"
        );
        let buffer = MemoryBuffer::create_from_memory_range_copy(text.as_bytes(), &name);
        let source = self
            .context
            .create_module_from_ir(buffer)
            .map_err(|_| VectorMathError::Internal { what: "the text of a freeze does not parse" })?;
        source.set_triple(&self.module.get_triple());
        source.set_data_layout(&self.module.get_data_layout());
        self.module
            .link_in_module(source)
            .map_err(|_| VectorMathError::Internal { what: "the text of a freeze does not link" })?;
        let made = self
            .module
            .get_function(&name)
            .ok_or(VectorMathError::Internal { what: "the text of a freeze links to nothing" })?;
        made.set_linkage(Linkage::Internal);
        copy_target_attributes(like, made);
        self.call(made, &[x.into()])
    }

    /// The truth value, with the hint that it is false.
    pub(super) fn unlikely(&self, condition: IntValue<'c>) -> Emit<IntValue<'c>> {
        let truth = self.context.bool_type();
        let declaration = self.declaration("llvm.expect", &[truth.into()])?;
        let call = self.builder.build_direct_call(declaration, &[condition.into(), truth.const_zero().into()], "")?;
        self.expect_int(call.try_as_basic_value().basic())
    }

    /// A scalar as a vector of one lane; a vector as it is.
    pub(super) fn as_vector(&self, value: BasicValueEnum<'c>) -> Emit<Vector<'c>> {
        match value {
            BasicValueEnum::VectorValue(vector) => Ok(vector),
            BasicValueEnum::FloatValue(_)
            | BasicValueEnum::ArrayValue(_)
            | BasicValueEnum::IntValue(_)
            | BasicValueEnum::PointerValue(_)
            | BasicValueEnum::StructValue(_)
            | BasicValueEnum::ScalableVectorValue(_) => {
                let zero = self.context.i32_type().const_zero();
                Ok(self.builder.build_insert_element(self.vector().get_poison(), value, zero, "")?)
            }
        }
    }

    /// The first lane.
    pub(super) fn first(&self, x: Vector<'c>) -> Emit<BasicValueEnum<'c>> {
        Ok(self.builder.build_extract_element(x, self.context.i32_type().const_zero(), "")?)
    }

    fn expect_int(&self, value: Option<BasicValueEnum<'c>>) -> Emit<IntValue<'c>> {
        match value {
            Some(BasicValueEnum::IntValue(value)) => Ok(value),
            _ => Err(VectorMathError::Internal { what: "an integer operation that gives no integer" }),
        }
    }

    /// The value as a vector, which it must be.
    pub(super) fn expect_vector(&self, value: BasicValueEnum<'c>) -> Emit<Vector<'c>> {
        match value {
            BasicValueEnum::VectorValue(vector) => Ok(vector),
            BasicValueEnum::ArrayValue(_)
            | BasicValueEnum::IntValue(_)
            | BasicValueEnum::FloatValue(_)
            | BasicValueEnum::PointerValue(_)
            | BasicValueEnum::StructValue(_)
            | BasicValueEnum::ScalableVectorValue(_) => {
                Err(VectorMathError::Internal { what: "a vector operation that gives no vector" })
            }
        }
    }
}
