//! What the texts of a kernel have in common: types, the signature, and templates.

use crate::abi::{Argument, Interface};

/// `f32[4, 8]`; `f32` for a scalar.
pub(super) fn type_text(argument: &Argument) -> String {
    if argument.shape.is_empty() {
        return argument.dtype.name().to_owned();
    }
    let extents: Vec<String> = argument.shape.iter().map(ToString::to_string).collect();
    format!("{}[{}]", argument.dtype.name(), extents.join(", "))
}

/// `gemm(alpha: f32, A: f32[4, 8]) -> f32[4]`.
pub(super) fn signature_text(interface: &Interface) -> String {
    let inputs: Vec<String> =
        interface.inputs.iter().map(|input| format!("{}: {}", input.name, type_text(input))).collect();
    let outputs: Vec<String> = interface.returned().iter().map(type_text).collect();
    let result = match (outputs.as_slice(), interface.returns_tuple) {
        ([], _) => "None".to_owned(),
        ([one], false) => one.clone(),
        ([one], true) => format!("({one},)"),
        (several, _) => format!("({})", several.join(", ")),
    };
    let inputs = interface.signature.python(&inputs).join(", ").replace("_moat_builtins.", "");
    format!("{}({inputs}) -> {result}", interface.function)
}

/// A template with each `@KEY@` replaced, in one pass: what is put in is not searched again.
pub(super) fn fill(template: &str, values: &[(&str, String)]) -> String {
    let mut text = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('@') {
        text.push_str(before);
        let found = after
            .split_once('@')
            .and_then(|(key, tail)| values.iter().find(|(name, _)| *name == key).map(|(_, value)| (value, tail)));
        match found {
            Some((value, tail)) => {
                text.push_str(value);
                rest = tail;
            }
            None => {
                text.push('@');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}
