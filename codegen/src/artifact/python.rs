//! The Python module of a kernel.
//!
//! The text is a fixed template around what differs: one check per parameter, inlined, since a
//! loop over descriptions costs more than small kernels take. Every name of the module's own
//! begins with `_moat`, for a parameter or the function may have any other.

use super::compiled::Compiled;
use super::text::{fill, signature_text};
use crate::abi::{Argument, Status, checked_features};
use crate::workspace::ALIGN;
use moat_optimizer::value::dtype::DType;
use std::fmt::Write;

const TEMPLATE: &str = include_str!("kernel.py.template");

/// Results begin at a multiple of this: a cache line.
const LINE_BYTES: usize = 64;
/// Smaller results lie where NumPy puts them: their few lines are not worth the time to place them.
const ALIGNED_FROM_BYTES: usize = 1024;

/// The module's text.
pub(super) fn text(stem: &str, compiled: &Compiled) -> String {
    let interface = &compiled.interface;
    let names: Vec<&str> = interface.inputs.iter().map(|input| input.name.as_str()).collect();
    // A parameter may be named `out` itself.
    let mut out = "out".to_owned();
    while names.contains(&out.as_str()) {
        out.push('_');
    }
    let listed_names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut list = interface.signature.python(&listed_names);
    if interface.signature.keyword_only == 0 {
        list.push("*".to_owned());
    }
    let parameters: String = list.iter().map(|parameter| format!("{parameter}, ")).collect();
    let addresses: Vec<String> = (0..names.len()).map(|at| format!("_moat_in{at}")).collect();
    let address_lines: String =
        names.iter().enumerate().map(|(at, name)| format!("    _moat_in{at} = _moat_address({name})\n")).collect();
    let results: Vec<String> = (0..interface.outputs.len()).map(|at| format!("_moat_out{at}")).collect();
    let listed = |of: &[String]| of.iter().map(|name| format!("{name}, ")).collect::<String>();
    let output_data: String = results.iter().map(|name| format!("_moat_address({name}), ")).collect();
    let returned = interface.returned().len();
    let result = match (&results[..returned], interface.returns_tuple) {
        ([], _) => "None".to_owned(),
        ([one], false) => one.clone(),
        (several, _) => format!("({},)", several.join(", ")),
    };
    let mutated = || interface.mutated.iter().zip(&results[returned..]);
    let everything: String = names.iter().map(|name| format!("{name}, ")).collect();
    let targets: String =
        mutated().map(|(at, _)| format!("    _moat_to{at} = _moat_target({at}, ({everything}))\n")).collect();
    let write_back: String = mutated().map(|(at, new)| format!("    _moat_copyto(_moat_to{at}, {new})\n")).collect();
    fill(
        TEMPLATE,
        &[
            ("SIGNATURE", signature_text(interface)),
            ("LIBRARY", python_string(&format!("lib{stem}.so"))),
            ("FEATURES", python_string(&checked_features(&compiled.features).join(", "))),
            ("WORKSPACE_BYTES", interface.workspace_bytes.to_string()),
            ("WORKSPACE_ALIGN", ALIGN.to_string()),
            ("LINE_BYTES", LINE_BYTES.to_string()),
            ("ALIGNED_FROM_BYTES", ALIGNED_FROM_BYTES.to_string()),
            ("INPUTS", descriptions(&interface.inputs)),
            ("OUTPUTS", descriptions(&interface.outputs)),
            ("INDEX_OUT_OF_RANGE", Status::IndexOutOfRange.code().to_string()),
            ("NEGATIVE_POWER", Status::NegativePower.code().to_string()),
            ("DIVISION_BY_ZERO", Status::DivisionByZero.code().to_string()),
            ("NEGATIVE_SHIFT", Status::NegativeShift.code().to_string()),
            ("OUTSIDE_DOMAIN", Status::OutsideDomain.code().to_string()),
            ("TUPLE", if interface.returns_tuple { "True" } else { "False" }.to_owned()),
            ("PARAMETERS", parameters),
            ("INPUT_CHECKS", input_checks(&interface.inputs)),
            ("INPUT_ADDRESSES", address_lines),
            ("ADDRESSES", listed(&addresses)),
            ("RETURNED", returned.to_string()),
            ("TARGETS", targets),
            ("MAKE_MUTATED", make_outputs(&interface.outputs, returned..results.len(), "    ")),
            ("WRITE_BACK", write_back),
            ("MAKE_OUTPUTS", make_outputs(&interface.outputs, 0..returned, "        ")),
            ("UNPACK", listed(&results[..returned])),
            ("OUTPUT_DATA", output_data),
            ("RESULT", result),
            ("OUT", out),
            ("FUNCTION", interface.function.clone()),
        ],
    )
}

/// A Python string literal.
fn python_string(text: &str) -> String {
    let mut literal = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => literal.extend(['\\', character]),
            other if other.is_control() => {
                let _ = write!(literal, "\\U{:08x}", u32::from(other));
            }
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}

/// `("A", "float32", (3, 4)),` for each.
fn descriptions(arguments: &[Argument]) -> String {
    let mut text = String::new();
    for argument in arguments {
        let extents: String = argument.shape.iter().map(|extent| format!("{extent}, ")).collect();
        let _ = write!(
            text,
            "\n    ({}, _moat_dtype({}), ({})),",
            python_string(&argument.name),
            python_string(numpy_name(argument.dtype)),
            extents.trim_end()
        );
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn numpy_name(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "bool",
        DType::I8 => "int8",
        DType::U8 => "uint8",
        DType::I16 => "int16",
        DType::I32 => "int32",
        DType::I64 => "int64",
        DType::F16 => "float16",
        // NumPy has no bfloat16; its bits travel as they are.
        DType::BF16 => "uint16",
        DType::F32 => "float32",
        DType::F64 => "float64",
    }
}

/// One `if` per input: what it asks is true of every array that needs nothing done to it. 0x101 is
/// C-contiguous and aligned.
fn input_checks(inputs: &[Argument]) -> String {
    let mut text = String::new();
    for (at, input) in inputs.iter().enumerate() {
        let name = &input.name;
        let _ = writeln!(
            text,
            "    if _moat_type({name}) is not _moat_ndarray or {name}.dtype is not _moat_dtype{at} \
             or {name}.shape != _moat_shape{at} or {name}.flags.num & 0x101 != 0x101:\n        \
             {name} = _moat_input({name}, {at})"
        );
    }
    text
}

fn make_outputs(outputs: &[Argument], made: std::ops::Range<usize>, indent: &str) -> String {
    let mut text = String::new();
    for at in made {
        let bytes = outputs[at].elements() * outputs[at].dtype.bytes();
        let _ =
            writeln!(text, "{indent}_moat_out{at} = _moat_empty(_moat_out_shape{at}, _moat_out_dtype{at}, {bytes})");
    }
    text
}
