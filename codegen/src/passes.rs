//! LLVM's optimiser and back end: from a module to a better module, an object, or text.
//!
//! The loop and SLP vectorizers stay off: vectors, unrolling and accumulators are in the IR
//! already, chosen by a schedule.

use crate::error::CodegenError;
use crate::masked_stores::store_single_lanes;
use inkwell::OptimizationLevel;
use inkwell::module::Module;
use inkwell::passes::PassBuilderOptions;
use inkwell::targets::{
    CodeModel, FileType, InitializationConfig, RelocMode, Target as LlvmTarget, TargetMachine, TargetTriple,
};
use moat_optimizer::nest::target::Target;

/// LLVM's description of `target`.
pub fn target_machine(target: &Target) -> Result<TargetMachine, CodegenError> {
    LlvmTarget::initialize_x86(&InitializationConfig::default());
    LlvmTarget::initialize_aarch64(&InitializationConfig::default());
    let triple = TargetTriple::create(&target.triple);
    let failure =
        |reason: String| CodegenError::Target { triple: target.triple.clone(), cpu: target.cpu.clone(), reason };
    LlvmTarget::from_triple(&triple)
        .map_err(|reason| failure(reason.to_string()))?
        .create_target_machine(
            &triple,
            &target.cpu,
            &target.features,
            OptimizationLevel::Aggressive,
            RelocMode::PIC,
            CodeModel::Default,
        )
        .ok_or_else(|| failure("no target machine".to_string()))
}

/// The triple, CPU and feature string of the machine this runs on, in LLVM's terms.
pub fn host() -> (String, String, String) {
    (
        TargetMachine::get_default_triple().as_str().to_string_lossy().into_owned(),
        TargetMachine::get_host_cpu_name().to_string(),
        TargetMachine::get_host_cpu_features().to_string(),
    )
}

/// Verifies the module, runs `default<O3>`, takes out what the back end would do wrong, and verifies again.
pub fn optimise(module: &Module<'_>, machine: &TargetMachine) -> Result<(), CodegenError> {
    verify(module)?;
    let options = PassBuilderOptions::create();
    options.set_loop_vectorization(false);
    options.set_loop_slp_vectorization(false);
    options.set_loop_interleaving(false);
    options.set_loop_unrolling(true);
    options.set_merge_functions(false);
    module
        .run_passes("default<O3>", machine, options)
        .map_err(|message| CodegenError::Llvm { stage: "optimiser", message: message.to_string() })?;
    store_single_lanes(module)?;
    verify(module)
}

/// LLVM's verifier.
pub fn verify(module: &Module<'_>) -> Result<(), CodegenError> {
    module.verify().map_err(|message| CodegenError::Verify { message: message.to_string() })
}

/// The module as a relocatable object file (position independent).
pub fn object(module: &Module<'_>, machine: &TargetMachine) -> Result<Vec<u8>, CodegenError> {
    write(module, machine, FileType::Object)
}

/// The module as assembly text.
pub fn assembly(module: &Module<'_>, machine: &TargetMachine) -> Result<String, CodegenError> {
    Ok(String::from_utf8_lossy(&write(module, machine, FileType::Assembly)?).into_owned())
}

/// The module as LLVM IR text.
pub fn ir_text(module: &Module<'_>) -> String {
    module.print_to_string().to_string()
}

fn write(module: &Module<'_>, machine: &TargetMachine, kind: FileType) -> Result<Vec<u8>, CodegenError> {
    machine
        .write_to_memory_buffer(module, kind)
        .map(|buffer| buffer.as_slice().to_vec())
        .map_err(|message| CodegenError::Llvm { stage: "back end", message: message.to_string() })
}
