//! The raw entry, and one function for every top-level node of the nest.
//!
//! The entry finds where each buffer begins, calls the functions one after the other, and returns the status of the
//! checks.

use super::cx::{Cx, Emit};
use super::frame::Frame;
use super::late;
use crate::abi::Status;
use crate::workspace::{self, buffers_of};
use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::module::Linkage;
use inkwell::types::{BasicMetadataTypeEnum, BasicTypeEnum};
use inkwell::values::{BasicMetadataValueEnum, FunctionValue, IntValue, PointerValue};
use inkwell::{AddressSpace, IntPredicate};
use moat_optimizer::nest::{Buffer, BufferRole, Node};

impl<'c> Cx<'c, '_> {
    /// Writes the raw entry, and a function for every top-level node, which it calls.
    pub(super) fn raw_entry(&self) -> Emit<FunctionValue<'c>> {
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
