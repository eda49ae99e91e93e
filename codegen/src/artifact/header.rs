//! The C header of a kernel.

use super::compiled::Compiled;
use super::text::{fill, signature_text, type_text};
use crate::abi::{Status, checked_features};
use crate::workspace::ALIGN;
use moat_optimizer::value::dtype::DType;
use std::fmt::Write;

const TEMPLATE: &str = include_str!("kernel.h.template");

/// The header's text.
pub(super) fn text(stem: &str, compiled: &Compiled) -> String {
    let interface = &compiled.interface;
    let mut statuses = String::new();
    for status in Status::ALL {
        let _ = writeln!(statuses, "  MOAT_{} = {}, /* {} */", status.name(), status.code(), status.message());
    }
    let mut arguments = String::new();
    for (what, list) in [("inputs", &interface.inputs), ("outputs", &interface.outputs)] {
        for (at, argument) in list.iter().enumerate() {
            let own = (what == "outputs").then(|| at.checked_sub(interface.returned().len())).flatten();
            let note = own.and_then(|at| interface.mutated.get(at)).map_or_else(String::new, |input| {
                format!("; what inputs[{input}] holds after the call: copy it there")
            });
            let _ = writeln!(
                arguments,
                " *   {what}[{at}]  {}: {}  ({}, {} bytes){note}",
                argument.name,
                type_text(argument),
                c_type(argument.dtype),
                argument.bytes()
            );
        }
    }
    let needs = checked_features(&compiled.features).join(", ");
    let libraries = if compiled.threads > 1 { "-lgomp -lm" } else { "-lm" };
    let needs = if needs.is_empty() { "the baseline".to_owned() } else { needs };
    fill(
        TEMPLATE,
        &[
            ("GUARD", guard(stem)),
            ("SIGNATURE", signature_text(interface)),
            ("ARGUMENTS", arguments.trim_end().to_owned()),
            ("STATUSES", statuses.trim_end().to_owned()),
            ("FEATURES", needs),
            ("LIBRARIES", libraries.to_owned()),
            ("WORKSPACE_BYTES", interface.workspace_bytes.to_string()),
            ("WORKSPACE_ALIGN", ALIGN.to_string()),
            ("THREADS", compiled.threads.to_string()),
            ("FUNCTION", interface.function.clone()),
        ],
    )
}

/// An include guard that differs for stems that differ, whatever they are made of.
fn guard(stem: &str) -> String {
    let mut guard = String::from("MOAT_KERNEL_");
    for byte in stem.bytes() {
        if byte.is_ascii_alphanumeric() {
            guard.push(char::from(byte));
        } else {
            let _ = write!(guard, "_{byte:02x}");
        }
    }
    guard.push_str("_H");
    guard
}

fn c_type(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "uint8_t, 0 or 1",
        DType::I8 => "int8_t",
        DType::U8 => "uint8_t",
        DType::I16 => "int16_t",
        DType::I32 => "int32_t",
        DType::I64 => "int64_t",
        DType::F16 => "binary16 bits in uint16_t",
        DType::BF16 => "bfloat16 bits in uint16_t",
        DType::F32 => "float",
        DType::F64 => "double",
    }
}
