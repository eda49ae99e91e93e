//! A module in LLVM IR, compiled into this process and callable as kernels are.
//!
//! Input: IR text. Output: [`Code`]. An LLVM that aborts takes this process down: only the worker, and the
//! measurements of the machine with their fixed modules, come here.
#![expect(unsafe_code, reason = "calls compiled code")]

use inkwell::attributes::AttributeLoc;
use inkwell::context::Context;
use inkwell::execution_engine::ExecutionEngine;
use inkwell::memory_buffer::MemoryBuffer;
use inkwell::module::Module;
use inkwell::passes::PassBuilderOptions;
use inkwell::targets::{CodeModel, InitializationConfig, RelocMode, Target, TargetTriple};
use inkwell::{AddressSpace, OptimizationLevel};
use moat_codegen::jit::RawEntry;

/// How a module is compiled.
#[derive(Clone, Copy, Debug)]
pub struct CodeOptions<'a> {
    /// The entry's name.
    pub entry: &'a str,
    /// LLVM triple.
    pub triple: &'a str,
    /// LLVM's name of the CPU.
    pub cpu: &'a str,
    /// LLVM feature string.
    pub features: &'a str,
    /// A pass pipeline as `opt -passes` takes it; empty: none.
    pub passes: &'a str,
}

/// Compiled code, alive as long as this.
#[derive(Debug)]
pub struct Code {
    _engine: ExecutionEngine<'static>,
    entry: RawEntry,
}

impl Code {
    /// Compiles the module `text`, whose entry has type `i32 (ptr, ptr, ptr)`.
    ///
    /// # Errors
    /// With LLVM's message, or what is wrong with the entry.
    pub fn compile(text: &str, options: &CodeOptions<'_>) -> Result<Code, String> {
        // A context is small and has to outlive its code; a worker compiles a bounded number of modules.
        let context: &'static Context = Box::leak(Box::new(Context::create()));
        let buffer = MemoryBuffer::create_from_memory_range_copy(text.as_bytes(), "module");
        let module = context.create_module_from_ir(buffer).map_err(|error| error.to_string())?;
        check_entry(context, &module, options.entry)?;
        set_target(context, &module, options)?;
        let engine =
            module.create_jit_execution_engine(OptimizationLevel::Aggressive).map_err(|error| error.to_string())?;
        let address = engine.get_function_address(options.entry).map_err(|error| error.to_string())?;
        // SAFETY: `check_entry` found the function to be of this very type, and the engine that owns its code is kept
        // beside it.
        let entry = unsafe { std::mem::transmute::<usize, RawEntry>(address) };
        Ok(Code { _engine: engine, entry })
    }

    /// The entry; valid while `self` lives.
    pub fn entry(&self) -> RawEntry {
        self.entry
    }
}

fn check_entry(context: &'static Context, module: &Module<'static>, entry: &str) -> Result<(), String> {
    let function = module.get_function(entry).ok_or_else(|| format!("the module has no function `{entry}`"))?;
    let pointer = context.ptr_type(AddressSpace::default()).into();
    if function.get_type() != context.i32_type().fn_type(&[pointer; 3], false) {
        return Err("the entry's type is not `i32 (ptr, ptr, ptr)`".to_owned());
    }
    module.verify().map_err(|error| error.to_string())
}

/// Gives every function the CPU and its features, and runs the passes.
fn set_target(context: &'static Context, module: &Module<'static>, options: &CodeOptions<'_>) -> Result<(), String> {
    Target::initialize_native(&InitializationConfig::default())?;
    let triple = TargetTriple::create(options.triple);
    let machine = Target::from_triple(&triple)
        .map_err(|error| error.to_string())?
        .create_target_machine(
            &triple,
            options.cpu,
            options.features,
            OptimizationLevel::Aggressive,
            RelocMode::Default,
            CodeModel::JITDefault,
        )
        .ok_or_else(|| format!("LLVM has no target machine for {}", options.triple))?;
    module.set_triple(&triple);
    module.set_data_layout(&machine.get_target_data().get_data_layout());
    for function in module.get_functions().filter(|function| function.count_basic_blocks() > 0) {
        for (key, value) in [("target-cpu", options.cpu), ("target-features", options.features)] {
            if function.get_string_attribute(AttributeLoc::Function, key).is_none() {
                function.add_attribute(AttributeLoc::Function, context.create_string_attribute(key, value));
            }
        }
    }
    if !options.passes.is_empty() {
        module.run_passes(options.passes, &machine, PassBuilderOptions::create()).map_err(|error| error.to_string())?;
    }
    Ok(())
}
