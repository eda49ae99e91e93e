//! `LoopNest` to LLVM IR.
//!
//! Input: a nest (every loop, tile and copy decided) and [`CompileOptions`]. Output: a module with
//! the raw entry `i32 <function>_raw(const void *const *inputs, void *const *outputs, void
//! *workspace)`. Every top-level node is a function of its own, whose buffers are `noalias`
//! arguments. Nothing is decided here that a schedule could decide.

mod accumulators;
mod align;
mod analysis;
mod cx;
mod domain_edge;
mod elementary;
mod entry;
mod facts;
mod frame;
mod function;
mod late;
mod loops;
mod memory;
mod numpy_sum;
mod options;
mod pairwise;
mod parallel;
mod pieces;
mod plan;
mod point;
mod ragged;
mod reciprocal;
mod register;
mod scalar;
mod share;
mod split;
mod stack;
mod stream;
mod terms;
mod tile;

pub use options::CompileOptions;
pub use plan::OPERATION_LIMIT;

use crate::error::CodegenError;
use crate::passes;
use crate::workspace::{self, WorkspacePlan};
use cx::Cx;
use inkwell::context::Context;
use inkwell::module::Module;
use inkwell::targets::TargetMachine;
use inkwell::values::FunctionValue;
use moat_optimizer::nest::LoopNest;
use moat_optimizer::value::numerics::Numerics;

/// A module with a kernel's raw entry, not yet optimised.
pub struct Emitted<'c> {
    /// The module; more may be added to it.
    pub module: Module<'c>,
    /// The raw entry.
    pub raw: FunctionValue<'c>,
    /// The layout of the workspace the raw entry takes.
    pub workspace: WorkspacePlan,
    /// LLVM's description of the target.
    pub machine: TargetMachine,
}

/// Emits `nest` as IR in `context`.
pub fn emit<'c>(context: &'c Context, nest: &LoopNest, options: &CompileOptions) -> Result<Emitted<'c>, CodegenError> {
    let machine = passes::target_machine(&options.target)?;
    let module = context.create_module(&options.function);
    module.set_triple(&machine.get_triple());
    module.set_data_layout(&machine.get_target_data().get_data_layout());
    let relaxed = match options.numerics {
        Numerics::Exact => false,
        Numerics::Reassociate | Numerics::Algebraic => true,
    };
    let ordered;
    let nest = if relaxed {
        ordered = reciprocal::multiplied(&late::add_last(nest));
        &ordered
    } else {
        nest
    };
    let cx = Cx {
        context,
        module,
        builder: context.create_builder(),
        nest,
        options,
        relaxed,
        native_minmax: options.target.triple.starts_with("aarch64"),
        workspace: workspace::plan(nest, options.threads),
    };
    let raw = cx.raw_entry()?;
    Ok(Emitted { module: cx.module, raw, workspace: cx.workspace, machine })
}
