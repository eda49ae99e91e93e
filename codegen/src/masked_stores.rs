//! Masked stores that LLVM 22's back end would write too much for.
//!
//! Where the mask is constant and takes one lane, and the value is a truncation, the back end for AVX-512 stores the whole
//! element from before the truncation: four bytes for one, over what lies behind (llvm-project's issue 179489). Here such a
//! store becomes one of a scalar, which is what the back end means to make of it.
//!
//! Input: an optimised module, whose masks are as constant as they will be. Output: the same without such stores.

use crate::address::element_at;
use crate::error::CodegenError;
use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::builder::Builder;
use inkwell::module::Module;
use inkwell::values::{BasicValueEnum, CallSiteValue, InstructionOpcode, InstructionValue, PointerValue, VectorValue};

/// Replaces the masked stores of one lane in all functions of a module.
pub(crate) fn store_single_lanes(module: &Module<'_>) -> Result<(), CodegenError> {
    let builder = module.get_context().create_builder();
    for function in module.get_functions() {
        for block in function.get_basic_block_iter() {
            let stores: Vec<_> = block.get_instructions().filter_map(single_lane).collect();
            for store in stores {
                replace(&builder, &store)?;
            }
        }
    }
    Ok(())
}

/// A masked store of one lane.
struct Store<'c> {
    call: InstructionValue<'c>,
    value: VectorValue<'c>,
    pointer: PointerValue<'c>,
    lane: u32,
    /// The alignment of lane 0, in bytes.
    align: u32,
}

fn single_lane(call: InstructionValue<'_>) -> Option<Store<'_>> {
    if call.get_opcode() != InstructionOpcode::Call {
        return None;
    }
    let site = CallSiteValue::try_from(call).ok()?;
    if !site.get_called_fn_value()?.get_name().to_bytes().starts_with(b"llvm.masked.store.") {
        return None;
    }
    let operand = |at: u32| call.get_operand(at)?.value();
    let (BasicValueEnum::VectorValue(value), BasicValueEnum::PointerValue(pointer), BasicValueEnum::VectorValue(mask)) =
        (operand(0)?, operand(1)?, operand(2)?)
    else {
        return None;
    };
    if !mask.is_const() {
        return None;
    }
    let index = mask.get_type().get_context().i32_type();
    let taken = |lane: &u32| {
        let element = mask.const_extract_element(index.const_int((*lane).into(), false));
        !matches!(element, BasicValueEnum::IntValue(bit) if bit.get_zero_extended_constant() == Some(0))
    };
    let mut lanes = (0..mask.get_type().get_size()).filter(taken);
    let (Some(lane), None) = (lanes.next(), lanes.next()) else { return None };
    let kind = Attribute::get_named_enum_kind_id("align");
    let align = site.get_enum_attribute(AttributeLoc::Param(1), kind).map_or(1, |attribute| attribute.get_enum_value());
    Some(Store { call, value, pointer, lane, align: u32::try_from(align).unwrap_or(1).max(1) })
}

fn replace<'c>(builder: &Builder<'c>, store: &Store<'c>) -> Result<(), CodegenError> {
    let of = store.value.get_type();
    let (element, lane) = (of.get_element_type(), of.get_context().i64_type().const_int(store.lane.into(), false));
    builder.position_before(&store.call);
    let value = builder.build_extract_element(store.value, lane, "lane")?;
    let place = element_at(builder, element, store.pointer, lane, "place")?;
    // What is stored has the bits that it has in memory: bools are bytes there.
    let bits = match (element.is_int_type(), element.is_float_type()) {
        (true, _) => element.into_int_type().get_bit_width(),
        (_, true) => element.into_float_type().get_bit_width(),
        (false, false) => 8,
    };
    let align =
        if store.lane == 0 { store.align } else { store.align.min(1 << (store.lane * bits / 8).trailing_zeros()) };
    let scalar = builder.build_store(place, value)?;
    // A power of two.
    let _ = scalar.set_alignment(align);
    store.call.erase_from_basic_block();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::store_single_lanes;
    use inkwell::context::Context;
    use inkwell::memory_buffer::MemoryBuffer;

    fn after(mask: &str) -> String {
        let text = format!(
            "define void @f(ptr %p, <4 x i32> %v) {{
               %t = trunc <4 x i32> %v to <4 x i8>
               call void @llvm.masked.store.v4i8.p0(<4 x i8> %t, ptr align 4 %p, <4 x i1> <{mask}>)
               ret void
             }}
             declare void @llvm.masked.store.v4i8.p0(<4 x i8>, ptr, <4 x i1>)"
        );
        let context = Context::create();
        let buffer = MemoryBuffer::create_from_memory_range_copy(text.as_bytes(), "stores");
        let module = context.create_module_from_ir(buffer).unwrap();
        store_single_lanes(&module).unwrap();
        module.verify().unwrap();
        module.print_to_string().to_string()
    }

    #[test]
    fn one_lane_is_stored_as_a_scalar() {
        let first = after("i1 true, i1 false, i1 false, i1 false");
        assert!(first.contains("store i8 %lane, ptr %p, align 4") && !first.contains("call void"), "{first}");
        let third = after("i1 false, i1 false, i1 true, i1 false");
        assert!(third.contains("i64 2") && third.contains("store i8 %lane, ptr %place, align 2"), "{third}");
        assert!(!third.contains("call void"), "{third}");
    }

    #[test]
    fn other_masks_stay() {
        for mask in ["i1 true, i1 true, i1 false, i1 false", "i1 false, i1 false, i1 false, i1 false"] {
            assert!(after(mask).contains("call void"), "{mask}");
        }
    }
}
