//! A kernel's interface to other languages: the checked entry and the small functions beside it.
//!
//! Input: a module with the raw entry, and the kernel's [`Interface`]. Output: the same module with
//! four more external functions (`<f>` is the workload's function):
//!
//! ```c
//! int32_t     <f>_checked(const DLTensor *const *inputs, const DLTensor *const *outputs,
//!                         void *workspace, size_t workspace_bytes);
//! size_t      <f>_workspace_bytes(void);
//! int32_t     <f>_cpu_supported(void);            // 1 or 0
//! const char *<f>_status_message(int32_t status);
//! ```
//!
//! beside the raw `int32_t <f>_raw(const void *const *inputs, void *const *outputs, void
//! *workspace)`. The suffixes keep a workload named `exp` or `double` from taking a name of C's.
//!
//! The checked entry answers a [`Status`]: its code in the low 8 bits and, where one argument is to
//! blame, that argument's position plus one above them (inputs first, then outputs). It reads every
//! descriptor before the kernel runs, holds no state, and may run in several threads at once. A
//! null workspace is allocated and freed inside. These functions are compiled for the baseline of
//! the architecture, so that they can answer [`Status::CpuUnsupported`] on a machine that could not
//! execute the kernel. Nothing here looks at a loop nest.

mod checked_entry;
mod cpu;
mod interface;
mod messages;
mod status;
mod tensor;

pub use cpu::checked_features;
pub use interface::{Argument, Interface};
pub use status::Status;

use inkwell::context::Context;
use inkwell::memory_buffer::MemoryBuffer;
use inkwell::module::Module;
use std::fmt::Write;

/// Why the checked entry could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AbiError {
    /// The function's name cannot begin a C name.
    #[error("`{function}` is not an identifier")]
    InvalidName {
        /// The name.
        function: String,
    },
    /// The module has no raw entry.
    #[error("the module has no function `{symbol}`")]
    NoRawEntry {
        /// The symbol looked for.
        symbol: String,
    },
    /// The module has the name already.
    #[error("the module has a function `{symbol}` already")]
    SymbolTaken {
        /// The symbol.
        symbol: String,
    },
    /// LLVM refused the text or the link: a defect of this module.
    #[error("the checked entry does not {stage}: {message}")]
    Llvm {
        /// `parse` or `link`.
        stage: &'static str,
        /// LLVM's words.
        message: String,
    },
}

/// Adds the checked entry and its companions to a module that has the raw entry. `triple` and
/// `features` are the target's, as in `Target`.
///
/// # Errors
/// A name that is no identifier, a missing raw entry, a symbol that is taken.
pub fn add_checked_entry<'c>(
    context: &'c Context,
    module: &Module<'c>,
    interface: &Interface,
    triple: &str,
    features: &str,
) -> Result<(), AbiError> {
    let function = &interface.function;
    let mut characters = function.chars();
    let first_fits = characters.next().is_some_and(|first| first == '_' || first.is_alphabetic());
    if !first_fits || !characters.all(|other| other == '_' || other.is_alphanumeric()) {
        return Err(AbiError::InvalidName { function: function.clone() });
    }
    if module.get_function(&interface.raw_symbol()).is_none() {
        return Err(AbiError::NoRawEntry { symbol: interface.raw_symbol() });
    }
    for symbol in [
        interface.checked_symbol(),
        interface.workspace_bytes_symbol(),
        interface.status_message_symbol(),
        interface.cpu_supported_symbol(),
    ] {
        if module.get_function(&symbol).is_some() {
            return Err(AbiError::SymbolTaken { symbol });
        }
    }
    let text = entry_text(interface, triple, features);
    let buffer = MemoryBuffer::create_from_memory_range_copy(text.as_bytes(), "checked entry");
    let entry = context
        .create_module_from_ir(buffer)
        .map_err(|message| AbiError::Llvm { stage: "parse", message: message.to_string() })?;
    entry.set_triple(&module.get_triple());
    entry.set_data_layout(&module.get_data_layout());
    module.link_in_module(entry).map_err(|message| AbiError::Llvm { stage: "link", message: message.to_string() })
}

/// The whole module as LLVM IR.
fn entry_text(interface: &Interface, triple: &str, features: &str) -> String {
    let is_x86 = triple.starts_with("x86_64");
    let mut text = String::new();
    tensor::write_checks(&mut text);
    checked_entry::write_shapes(&mut text, interface);
    messages::write_messages(&mut text, interface);
    let _ = writeln!(
        text,
        "define i64 @\"{}\"() #0 {{\n  ret i64 {}\n}}\n",
        interface.workspace_bytes_symbol(),
        interface.workspace_bytes
    );
    if is_x86 {
        cpu::write_check(&mut text, interface, features);
    } else {
        cpu::write_always(&mut text, interface);
    }
    checked_entry::write_entry(&mut text, interface);
    // Baseline code whatever the target: it must run in order to say that the rest cannot.
    text.push_str(if is_x86 {
        "attributes #0 = { nounwind \"target-cpu\"=\"x86-64\" \"target-features\"=\"+cx8,+fxsr,+mmx,+sse,+sse2,+x87\" }\n"
    } else {
        "attributes #0 = { nounwind }\n"
    });
    text
}
