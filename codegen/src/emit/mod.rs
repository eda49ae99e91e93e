//! `LoopNest` to LLVM IR.
//!
//! Input: a nest (every loop, tile and copy decided) and [`CompileOptions`]. Output: a module with
//! the raw entry `i32 <function>_raw(const void *const *inputs, void *const *outputs, void
//! *workspace)`. Every top-level node is a function of its own, whose buffers are `noalias`
//! arguments. Nothing is decided here that a schedule could decide.

mod align;
mod cx;
mod domain_edge;
mod elementary;
mod facts;
mod frame;
mod late;
mod loops;
mod memory;
mod numpy_sum;
mod pairwise;
mod plan;
mod point;
mod ragged;
mod reciprocal;
mod scalar;
mod share;
mod tile;

pub use plan::OPERATION_LIMIT;

use crate::abi::Status;
use crate::error::CodegenError;
use crate::passes;
use crate::workspace::{self, WorkspacePlan, buffers_of};
pub(crate) use cx::element_at;
use cx::{Cx, Emit};
use frame::Frame;
use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::context::Context;
use inkwell::module::{Linkage, Module};
use inkwell::targets::TargetMachine;
use inkwell::types::{BasicMetadataTypeEnum, BasicTypeEnum, FunctionType};
use inkwell::values::{BasicMetadataValueEnum, FunctionValue, IntValue, PointerValue};
use inkwell::{AddressSpace, IntPredicate};
use moat_optimizer::nest::target::Target;
use moat_optimizer::nest::{Buffer, BufferRole, LoopNest, Node};
use moat_optimizer::value::numerics::Numerics;

/// What a kernel is compiled for.
#[derive(Clone, Debug, PartialEq)]
pub struct CompileOptions {
    /// The machine.
    pub target: Target,
    /// How far floating-point results may differ from the source program's.
    pub numerics: Numerics,
    /// Threads that parallel loops are divided among; with 1 there is no run-time library.
    pub threads: usize,
    /// The kernel's name; the raw entry is `<function>_raw`.
    pub function: String,
}

impl CompileOptions {
    /// The raw entry's symbol.
    pub fn raw_symbol(&self) -> String {
        format!("{}_raw", self.function)
    }
}

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

/// The attributes that pin a function to a target; for code that others add to the module.
pub fn target_attributes(context: &Context, target: &Target) -> Vec<Attribute> {
    let width = (target.vector_bytes * 8).max(128).to_string();
    vec![
        context.create_string_attribute("target-cpu", &target.cpu),
        context.create_string_attribute("target-features", &target.features),
        context.create_string_attribute("prefer-vector-width", &width),
        context.create_string_attribute("no-trapping-math", "true"),
        context.create_enum_attribute(Attribute::get_named_enum_kind_id("nounwind"), 0),
    ]
}

impl<'c> Cx<'c, '_> {
    /// Target attributes on a function.
    pub(crate) fn attribute(&self, function: FunctionValue<'c>) {
        for attribute in target_attributes(self.context, &self.options.target) {
            function.add_attribute(AttributeLoc::Function, attribute);
        }
    }

    /// An internal function whose first parameters are `buffers`.
    pub(crate) fn new_function(&self, name: &str, ty: FunctionType<'c>, buffers: &[usize]) -> FunctionValue<'c> {
        let function = self.module.add_function(name, ty, Some(Linkage::Internal));
        self.attribute(function);
        let named =
            |kind: &str, value: u64| self.context.create_enum_attribute(Attribute::get_named_enum_kind_id(kind), value);
        function.add_attribute(AttributeLoc::Function, named("noinline", 0));
        for (at, &buffer) in (0u32..).zip(buffers) {
            let Buffer { name, dtype, len, role } = &self.nest.buffers[buffer];
            if let Some(param) = function.get_nth_param(at) {
                param.set_name(name);
            }
            let align = match role {
                BufferRole::Param(_) | BufferRole::Output(_) => dtype.bytes(),
                BufferRole::Check(..) | BufferRole::Shared | BufferRole::Private => workspace::ALIGN,
            };
            let bytes = len * dtype.bytes();
            for (kind, value) in [("noalias", 0), ("align", align), ("dereferenceable", bytes)] {
                if kind == "noalias" || value > 0 {
                    function.add_attribute(AttributeLoc::Param(at), named(kind, u64::try_from(value).unwrap_or(0)));
                }
            }
        }
        function
    }

    fn raw_entry(&self) -> Emit<FunctionValue<'c>> {
        let pointer: BasicTypeEnum<'c> = self.context.ptr_type(AddressSpace::default()).into();
        let params: [BasicMetadataTypeEnum<'c>; 3] = [pointer.into(); 3];
        let raw = self.module.add_function(
            &self.options.raw_symbol(),
            self.context.i32_type().fn_type(&params, false),
            Some(Linkage::External),
        );
        self.attribute(raw);
        let entry = self.context.append_basic_block(raw, "entry");
        self.builder.position_at_end(entry);
        let missing = || self.malformed(&self.options.function, "a missing parameter");
        let mut arguments = Vec::with_capacity(3);
        for (at, name) in (0u32..).zip(["inputs", "outputs", "workspace"]) {
            let argument = self.pointer(raw.get_nth_param(at).ok_or_else(missing)?)?;
            argument.set_name(name);
            arguments.push(argument);
        }
        let lives = workspace::lifetimes(self.nest);
        let mut frame = Frame::default();
        for (index, buffer) in self.nest.buffers.iter().enumerate() {
            if lives[index].is_some() {
                frame.buffers.insert(index, self.buffer_pointer(index, buffer, &arguments)?);
            }
        }
        for (at, node) in self.nest.body.iter().enumerate() {
            self.stage(&frame, at, node)?;
        }
        self.drain()?;
        let status = self.status(&frame)?;
        self.builder.build_return(Some(&status))?;
        Ok(raw)
    }

    /// What the raw entry returns: 0, or that a check fails.
    fn status(&self, frame: &Frame<'c>) -> Emit<IntValue<'c>> {
        let status = |status: Status| self.i32(u32::from(status.code()));
        let mut result = status(Status::Ok);
        // The first that fails is the one that is told.
        for (index, buffer) in self.nest.buffers.iter().enumerate().rev() {
            if let (BufferRole::Check(_, requirement), Some(&place)) = (buffer.role, frame.buffers.get(&index)) {
                let byte = self.context.i8_type();
                let holds = self.builder.build_load(byte, place, &buffer.name)?.into_int_value();
                let fails = self.builder.build_int_compare(IntPredicate::EQ, holds, byte.const_zero(), "fails")?;
                let failed = status(Status::unmet(requirement));
                result = self.builder.build_select(fails, failed, result, "status")?.into_int_value();
            }
        }
        Ok(result)
    }

    fn buffer_pointer(&self, index: usize, buffer: &Buffer, raw: &[PointerValue<'c>]) -> Emit<PointerValue<'c>> {
        let pointer: BasicTypeEnum<'c> = self.context.ptr_type(AddressSpace::default()).into();
        let (table, at) = match buffer.role {
            BufferRole::Param(at) => (raw[0], at),
            BufferRole::Output(at) => (raw[1], at),
            BufferRole::Check(..) | BufferRole::Shared | BufferRole::Private => {
                let offset = self.workspace.offsets.get(&index).copied().unwrap_or(0);
                let byte: BasicTypeEnum<'c> = self.context.i8_type().into();
                let offset = self.i64(i64::try_from(offset).unwrap_or(i64::MAX));
                return self.element(byte, raw[2], offset, &buffer.name);
            }
        };
        let slot = self.element(pointer, table, self.i64(i64::try_from(at).unwrap_or(i64::MAX)), "slot")?;
        self.pointer(self.builder.build_load(pointer, slot, &buffer.name)?)
    }

    /// One top-level node as a function, and the call of it.
    fn stage(&self, frame: &Frame<'c>, at: usize, node: &Node) -> Emit<()> {
        let here = self.here()?;
        let buffers = buffers_of(node);
        if buffers.iter().any(|&buffer| buffer >= self.nest.buffers.len()) {
            return Err(self.malformed(&self.options.function, "a buffer that does not exist"));
        }
        let pointer: BasicTypeEnum<'c> = self.context.ptr_type(AddressSpace::default()).into();
        let params: Vec<BasicMetadataTypeEnum<'c>> = buffers.iter().map(|_| pointer.into()).collect();
        let ty = self.context.void_type().fn_type(&params, false);
        let stage = self.new_function(&format!("{}.stage{at}", self.options.function), ty, &buffers);
        if late::carries_scalars(node) {
            let plain = Attribute::get_named_enum_kind_id("noimplicitfloat");
            stage.add_attribute(AttributeLoc::Function, self.context.create_enum_attribute(plain, 0));
        }
        let entry = self.context.append_basic_block(stage, "entry");
        let start = self.context.append_basic_block(stage, "start");
        self.builder.position_at_end(entry);
        self.builder.build_unconditional_branch(start)?;
        self.builder.position_at_end(start);
        let mut inner = Frame::default();
        let mut args: Vec<BasicMetadataValueEnum<'c>> = Vec::with_capacity(buffers.len());
        for (param, &buffer) in stage.get_param_iter().zip(&buffers) {
            inner.buffers.insert(buffer, self.pointer(param)?);
            args.push(self.buffer(frame, buffer)?.into());
        }
        self.nodes(&mut inner, std::slice::from_ref(node))?;
        self.builder.build_return(None)?;
        self.builder.position_at_end(here);
        self.builder.build_call(stage, &args, "")?;
        Ok(())
    }
}
