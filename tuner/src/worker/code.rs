//! A module in LLVM IR, compiled into this process and callable with an array of pointers.
//!
//! Input: IR text. Output: [`Code`]. An LLVM that aborts takes this process down: only the worker, and the
//! measurements of the machine with their fixed modules, come here.
#![expect(unsafe_code, reason = "calls compiled code")]

use inkwell::AddressSpace;
use inkwell::OptimizationLevel;
use inkwell::attributes::AttributeLoc;
use inkwell::context::Context;
use inkwell::execution_engine::ExecutionEngine;
use inkwell::memory_buffer::MemoryBuffer;
use inkwell::module::Module;
use inkwell::passes::PassBuilderOptions;
use inkwell::targets::{CodeModel, InitializationConfig, RelocMode, Target, TargetTriple};

/// Name of the function that unpacks the pointers.
const TRAMPOLINE: &str = "moat.call";

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
    function: unsafe extern "C" fn(*const *mut u8),
    pointers: usize,
}

impl Code {
    /// Compiles the module `text`, whose entry has type `void (ptr, …)`.
    ///
    /// # Errors
    /// With LLVM's message, or what is wrong with the entry.
    pub fn compile(text: &str, options: &CodeOptions<'_>) -> Result<Code, String> {
        // A context is small and has to outlive its code; a worker compiles a bounded number of modules.
        let context: &'static Context = Box::leak(Box::new(Context::create()));
        let buffer = MemoryBuffer::create_from_memory_range_copy(text.as_bytes(), "module");
        let module = context.create_module_from_ir(buffer).map_err(|error| error.to_string())?;
        let pointers = add_trampoline(context, &module, options.entry)?;
        set_target(context, &module, options)?;
        let engine =
            module.create_jit_execution_engine(OptimizationLevel::Aggressive).map_err(|error| error.to_string())?;
        let address = engine.get_function_address(TRAMPOLINE).map_err(|error| error.to_string())?;
        // SAFETY: the address is that of the function `TRAMPOLINE`, which `add_trampoline` gave this very type, and
        // the engine that owns its code is kept beside it.
        let function = unsafe { std::mem::transmute::<usize, unsafe extern "C" fn(*const *mut u8)>(address) };
        Ok(Code { _engine: engine, function, pointers })
    }

    /// Number of pointers that the entry takes.
    pub fn pointers(&self) -> usize {
        self.pointers
    }

    /// Calls the entry.
    ///
    /// # Safety
    /// Every pointer must be valid for what the module does with it; that cannot be known of a candidate, which is
    /// why it runs in a process that may die.
    ///
    /// # Panics
    /// If the number of pointers is not the entry's.
    pub unsafe fn call(&self, pointers: &[*mut u8]) {
        assert_eq!(pointers.len(), self.pointers, "arguments of the entry");
        // SAFETY: the function reads `self.pointers` pointers from the array; the rest is the caller's promise.
        unsafe { (self.function)(pointers.as_ptr()) }
    }
}

/// Adds `void moat.call(ptr pointers)`, which calls the entry with its pointers one by one.
fn add_trampoline(context: &'static Context, module: &Module<'static>, entry: &str) -> Result<usize, String> {
    let entry = module.get_function(entry).ok_or_else(|| format!("the module has no function `{entry}`"))?;
    let count = entry.count_params() as usize;
    let pointer = context.ptr_type(AddressSpace::default());
    if entry.get_type().get_return_type().is_some() || entry.get_param_iter().any(|param| !param.is_pointer_value()) {
        return Err("the entry's type is not `void (ptr, …)`".to_owned());
    }
    let function = module.add_function(TRAMPOLINE, context.void_type().fn_type(&[pointer.into()], false), None);
    let builder = context.create_builder();
    builder.position_at_end(context.append_basic_block(function, "entry"));
    let array = function.get_first_param().ok_or("no parameter")?.into_pointer_value();
    let mut arguments = Vec::with_capacity(count);
    for at in 0..count {
        let index = context.i64_type().const_int(at as u64, false);
        // SAFETY: `Code::call` passes an array of `count` pointers, and `at < count`.
        let slot = unsafe { builder.build_gep(pointer, array, &[index], "slot") }.map_err(|error| error.to_string())?;
        arguments.push(builder.build_load(pointer, slot, "argument").map_err(|error| error.to_string())?.into());
    }
    builder.build_call(entry, &arguments, "").map_err(|error| error.to_string())?;
    builder.build_return(None).map_err(|error| error.to_string())?;
    module.verify().map_err(|error| error.to_string())?;
    Ok(count)
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
