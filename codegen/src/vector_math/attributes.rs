//! Attributes of the functions that are made here, so that LLVM may inline them into their caller.

use super::error::{Emit, VectorMathError};
use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::context::Context;
use inkwell::values::FunctionValue;

/// The same CPU and features as `from`, without which LLVM refuses to inline.
pub(super) fn copy_target_attributes(from: FunctionValue<'_>, to: FunctionValue<'_>) {
    for key in ["target-cpu", "target-features", "tune-cpu", "prefer-vector-width", "min-legal-vector-width"] {
        if let Some(attribute) = from.get_string_attribute(AttributeLoc::Function, key) {
            to.add_attribute(AttributeLoc::Function, attribute);
        }
    }
}

/// An attribute without a value.
pub(super) fn enum_attribute(context: &Context, name: &'static str) -> Emit<Attribute> {
    match Attribute::get_named_enum_kind_id(name) {
        0 => Err(VectorMathError::Internal { what: "an attribute that this LLVM does not know" }),
        kind => Ok(context.create_enum_attribute(kind, 0)),
    }
}
