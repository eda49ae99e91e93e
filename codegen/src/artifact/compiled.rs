//! A kernel in memory: its object, its texts and its interface.
//!
//! Input: a loop nest, the interface that it must fit, and options. Output: [`Compiled`].

use super::error::ArtifactError;
use crate::abi::{self, Interface};
use crate::emit::{CompileOptions, emit};
use crate::passes;
use inkwell::context::Context;
use moat_optimizer::nest::target::Target;
use moat_optimizer::nest::{BufferRole, LoopNest};

/// What the back end made of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The object file's bytes, with the entries of [`crate::abi`].
    pub object: Vec<u8>,
    /// The optimised module as LLVM IR.
    pub ir: String,
    /// The assembly.
    pub assembly: String,
    /// The kernel's interface.
    pub interface: Interface,
    /// LLVM's feature string of the target.
    pub features: String,
    /// Threads that the kernel divides its work among; above 1 it needs libgomp.
    pub threads: usize,
}

/// Compiles `nest` with its checked entry. The interface names the function and the shapes; its
/// workspace is filled in.
///
/// # Errors
/// A nest that cannot be compiled, or whose parameters and results are not the interface's.
pub fn compile(nest: &LoopNest, interface: &Interface, options: &CompileOptions) -> Result<Compiled, ArtifactError> {
    compare(nest, interface)?;
    let options = CompileOptions { function: interface.function.clone(), ..options.clone() };
    let context = Context::create();
    let emitted = emit(&context, nest, &options)?;
    let interface = Interface { workspace_bytes: emitted.workspace.bytes, ..interface.clone() };
    let Target { triple, features, .. } = &options.target;
    abi::add_checked_entry(&context, &emitted.module, &interface, triple, features)?;
    passes::optimise(&emitted.module, &emitted.machine)?;
    Ok(Compiled {
        object: passes::object(&emitted.module, &emitted.machine)?,
        ir: passes::ir_text(&emitted.module),
        assembly: passes::assembly(&emitted.module, &emitted.machine)?,
        interface,
        features: features.clone(),
        threads: options.threads,
    })
}

/// The nest's parameters and results are those of the interface, in number, type and size.
fn compare(nest: &LoopNest, interface: &Interface) -> Result<(), ArtifactError> {
    let (mut inputs, mut outputs) = (0, 0);
    for buffer in &nest.buffers {
        let argument = match buffer.role {
            BufferRole::Param(at) => {
                inputs += 1;
                interface.inputs.get(at)
            }
            BufferRole::Output(at) => {
                outputs += 1;
                interface.outputs.get(at)
            }
            BufferRole::Check(..) | BufferRole::Shared | BufferRole::Private => continue,
        };
        if argument.is_none_or(|argument| argument.dtype != buffer.dtype || argument.elements() != buffer.len) {
            return Err(ArtifactError::WrongInterface { buffer: buffer.name.clone() });
        }
    }
    if (inputs, outputs) != (interface.inputs.len(), interface.outputs.len()) {
        return Err(ArtifactError::WrongInterface { buffer: interface.function.clone() });
    }
    Ok(())
}
