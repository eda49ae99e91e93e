//! Addresses of elements: the one instruction of LLVM's builder that its interface calls unsafe.
//!
//! Input: a pointer and an index. Output: the address of that element. It knows nothing of nests or buffers.

use crate::error::CodegenError;
use inkwell::builder::Builder;
use inkwell::types::BasicTypeEnum;
use inkwell::values::{IntValue, PointerValue};

/// `pointer + index` elements of type `element`.
#[expect(unsafe_code, reason = "LLVM's C interface checks no index list; one index on a scalar type always fits")]
pub(crate) fn element_at<'c>(
    builder: &Builder<'c>,
    element: BasicTypeEnum<'c>,
    pointer: PointerValue<'c>,
    index: IntValue<'c>,
    name: &str,
) -> Result<PointerValue<'c>, CodegenError> {
    if index.is_const() && index.get_zero_extended_constant() == Some(0) {
        return Ok(pointer);
    }
    // SAFETY: a single index into a pointer to a sized scalar type is a valid `getelementptr`.
    Ok(unsafe { builder.build_gep(element, pointer, &[index], name)? })
}
