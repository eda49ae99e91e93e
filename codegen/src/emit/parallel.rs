//! Parallel loops.
//!
//! A parallel loop becomes a call of `GOMP_parallel` (libgomp's entry, which libomp has too) on an
//! outlined function, which takes its thread's share of the iterations, one contiguous block or
//! its turns, and calls the loop as a function of that block.

use super::cx::{Cx, Emit, Value};
use super::facts::Facts;
use super::frame::{Bound, Frame};
use super::share::is_uneven;
use crate::workspace::buffers_of;
use inkwell::module::Linkage;
use inkwell::types::{BasicMetadataTypeEnum, BasicTypeEnum, StructType};
use inkwell::values::{BasicMetadataValueEnum, FunctionValue, InstructionOpcode, IntValue, PointerValue};
use inkwell::{AddressSpace, IntPredicate};
use moat_optimizer::nest::{BufferRole, Loop, Node};

/// What the threads of a loop need: its buffers, the variables around it, and its bounds, one field each in this order.
struct Shared<'c> {
    buffers: Vec<usize>,
    vars: Vec<(usize, Bound<'c>)>,
    fields: Vec<BasicTypeEnum<'c>>,
    /// A structure of the fields.
    data: StructType<'c>,
}

/// A thread's share of a loop, in the function that the thread runs.
struct Share<'c> {
    /// The loop as a function of the fields, of which the last two are the bounds of a block.
    function: FunctionValue<'c>,
    fields: Vec<Value<'c>>,
    lo: IntValue<'c>,
    hi: IntValue<'c>,
    /// The thread's number,
    thread: IntValue<'c>,
    /// of so many.
    threads: IntValue<'c>,
    step: i64,
}

impl<'c> Cx<'c, '_> {
    /// A loop over `lo .. hi` whose iterations the threads share, with what is known of its variable.
    pub(super) fn parallel(
        &self,
        frame: &Frame<'c>,
        node: &Loop,
        facts: Facts,
        lo: IntValue<'c>,
        hi: IntValue<'c>,
    ) -> Emit<()> {
        let pointer: BasicTypeEnum<'c> = self.context.ptr_type(AddressSpace::default()).into();
        let int: BasicTypeEnum<'c> = self.context.i64_type().into();
        let buffers = buffers_of(&Node::Loop(node.clone()));
        let vars: Vec<_> = frame.vars().collect();
        let fields: Vec<BasicTypeEnum<'c>> =
            buffers.iter().map(|_| pointer).chain(vars.iter().map(|_| int)).chain([int, int]).collect();
        let data = self.context.struct_type(&fields, false);
        let shared = Shared { buffers, vars, fields, data };
        let given = self.pack(frame, &shared, lo, hi)?;
        let here = self.here()?;
        let block = self.block_function(node, facts, &shared)?;
        let outlined = self.thread_function(node, block, &shared)?;
        self.builder.position_at_end(here);
        self.fork(outlined, given)
    }

    /// What the threads need, in a structure on this thread's stack.
    fn pack(
        &self,
        frame: &Frame<'c>,
        shared: &Shared<'c>,
        lo: IntValue<'c>,
        hi: IntValue<'c>,
    ) -> Emit<PointerValue<'c>> {
        let data = self.slot(shared.data.into(), "shared")?;
        let mut values: Vec<Value<'c>> = Vec::with_capacity(shared.fields.len());
        for &buffer in &shared.buffers {
            values.push(self.buffer(frame, buffer)?.into());
        }
        values.extend(shared.vars.iter().map(|(_, bound)| Value::from(bound.value)));
        values.extend([Value::from(lo), Value::from(hi)]);
        for (at, value) in (0u32..).zip(&values) {
            let field = self.builder.build_struct_gep(shared.data, data, at, "field")?;
            self.builder.build_store(field, *value)?;
        }
        Ok(data)
    }

    /// The loop over one block of its iterations as a function of its own, so that the buffers are `noalias`.
    fn block_function(&self, node: &Loop, facts: Facts, shared: &Shared<'c>) -> Emit<FunctionValue<'c>> {
        let Shared { buffers, vars, fields, .. } = shared;
        let name = self.var_name(node.var);
        let step = i64::try_from(node.step).unwrap_or(1);
        let params: Vec<BasicMetadataTypeEnum<'c>> = fields.iter().map(|&ty| ty.into()).collect();
        let function = self.new_function(
            &format!("{}.{name}.share", self.options.function),
            self.context.void_type().fn_type(&params, false),
            buffers,
        );
        let entry = self.context.append_basic_block(function, "entry");
        self.builder.position_at_end(entry);
        let missing = || self.malformed(&name, "a missing parameter");
        let argument = |at: usize| u32::try_from(at).ok().and_then(|at| function.get_nth_param(at)).ok_or_else(missing);
        let mut inner = Frame::default();
        inner.parallel = true;
        for (at, &buffer) in buffers.iter().enumerate() {
            inner.buffers.insert(buffer, self.pointer(argument(at)?)?);
        }
        for (at, (var, bound)) in vars.iter().enumerate() {
            inner.bind(*var, self.scalar_int(argument(buffers.len() + at)?)?, bound.facts);
        }
        let from = self.scalar_int(argument(buffers.len() + vars.len())?)?;
        let to = self.scalar_int(argument(buffers.len() + vars.len() + 1)?)?;
        let last = self.index_add(to, self.i64(-1), "last")?;
        self.counted(from, last, step, &name, &mut |x| {
            inner.bind(node.var, x, facts);
            self.nodes(&mut inner, &node.body)
        })?;
        self.builder.build_return(None)?;
        Ok(function)
    }

    /// `void f(void *data)`: unpacks `data`, takes this thread's block of the iterations, or its turns, and its
    /// private buffers, and calls `block`.
    fn thread_function(&self, node: &Loop, block: FunctionValue<'c>, shared: &Shared<'c>) -> Emit<FunctionValue<'c>> {
        let name = self.var_name(node.var);
        let pointer = self.context.ptr_type(AddressSpace::default());
        let outlined = self.module.add_function(
            &format!("{}.{name}.thread", self.options.function),
            self.context.void_type().fn_type(&[pointer.into()], false),
            Some(Linkage::Internal),
        );
        self.attribute(outlined);
        let entry = self.context.append_basic_block(outlined, "entry");
        self.builder.position_at_end(entry);
        let missing = || self.malformed(&name, "a missing field");
        let data: PointerValue<'c> = self.pointer(outlined.get_nth_param(0).ok_or_else(missing)?)?;
        let mut fields = Vec::with_capacity(shared.fields.len());
        for (at, &ty) in (0u32..).zip(&shared.fields) {
            let field = self.builder.build_struct_gep(shared.data, data, at, "field")?;
            fields.push(self.builder.build_load(ty, field, "shared")?);
        }
        let thread = self.openmp_number("omp_get_thread_num")?;
        let threads = self.openmp_number("omp_get_num_threads")?;
        for (field, &buffer) in fields.iter_mut().zip(&shared.buffers) {
            match self.nest.buffers[buffer].role {
                BufferRole::Private => *field = self.own_copy(*field, thread)?,
                BufferRole::Param(_) | BufferRole::Output(_) | BufferRole::Check(..) | BufferRole::Shared => {}
            }
        }
        let from = shared.buffers.len() + shared.vars.len();
        let (lo, hi) = (self.scalar_int(fields[from])?, self.scalar_int(fields[from + 1])?);
        let step = i64::try_from(node.step).unwrap_or(1);
        let share = Share { function: block, fields, lo, hi, thread, threads, step };
        if is_uneven(node) {
            self.turns(&name, &share)?;
        } else {
            self.one_block(&share)?;
        }
        self.drain()?;
        self.builder.build_return(None)?;
        Ok(outlined)
    }

    /// A thread's own copy of a private buffer.
    fn own_copy(&self, first: Value<'c>, thread: IntValue<'c>) -> Emit<Value<'c>> {
        let stride = self.i64(i64::try_from(self.workspace.private_stride).unwrap_or(i64::MAX));
        let offset = self.builder.build_int_nsw_mul(thread, stride, "offset")?;
        let byte: BasicTypeEnum<'c> = self.context.i8_type().into();
        Ok(self.element(byte, self.pointer(first)?, offset, "mine")?.into())
    }

    /// The iterations of a thread one by one: every so many-th.
    fn turns(&self, name: &str, share: &Share<'c>) -> Emit<()> {
        let &Share { lo, hi, thread, threads, step, .. } = share;
        // Where iterations are counted one by one, a thread's own are the same however far the range has moved.
        let first = if step == 1 {
            let ahead = self.builder.build_int_nsw_sub(thread, lo, "ahead")?;
            let rest = self.builder.build_int_signed_rem(ahead, threads, "rest")?;
            let wrapped = self.index_add(rest, threads, "wrapped")?;
            let negative = self.icmp(IntPredicate::SLT, rest.into(), self.i64(0).into())?;
            self.choose(negative, wrapped, rest)?
        } else {
            self.builder.build_int_nsw_mul(thread, self.i64(step), "first")?
        };
        let stride = self.builder.build_int_nsw_mul(threads, self.i64(step), "stride")?;
        let first = self.index_add(lo, first, "first")?;
        let last = self.index_add(hi, self.i64(-1), "last")?;
        self.strided(first, last, stride, name, &mut |x| {
            let end = self.index_add(x, self.i64(step), "end")?;
            self.call_block(share, x, end)
        })?;
        Ok(())
    }

    /// The iterations of a thread as one block. Their numbers differ by at most one between threads.
    fn one_block(&self, share: &Share<'c>) -> Emit<()> {
        let &Share { lo, hi, thread, threads, step, .. } = share;
        let step = self.i64(step);
        let span = self.builder.build_int_nsw_sub(hi, lo, "span")?;
        let span = self.index_add(span, self.builder.build_int_nsw_sub(step, self.i64(1), "round")?, "span")?;
        let count = self.builder.build_int_signed_div(span, step, "count")?;
        let each = self.builder.build_int_signed_div(count, threads, "share")?;
        let extra = self.builder.build_int_signed_rem(count, threads, "extra")?;
        let gets_more = self.icmp(IntPredicate::SLT, thread.into(), extra.into())?;
        let before = self.choose(gets_more, thread, extra)?;
        let mine = self.builder.build_int_nsw_mul(thread, each, "first")?;
        let first = self.index_add(mine, before, "first")?;
        let more = self.choose(gets_more, self.i64(1), self.i64(0))?;
        let end = self.index_add(self.index_add(first, each, "end")?, more, "end")?;
        let scale = |at: IntValue<'c>| -> Emit<IntValue<'c>> {
            self.index_add(lo, self.builder.build_int_nsw_mul(at, step, "scaled")?, "bound")
        };
        let (begin, end) = (scale(first)?, scale(end)?);
        self.call_block(share, begin, end)
    }

    /// Runs the iterations from `begin` up to `end`, or up to the end of the loop.
    fn call_block(&self, share: &Share<'c>, begin: IntValue<'c>, end: IntValue<'c>) -> Emit<()> {
        let inside = self.icmp(IntPredicate::SLT, end.into(), share.hi.into())?;
        let end = self.choose(inside, end, share.hi)?;
        let around = &share.fields[..share.fields.len() - 2];
        let args: Vec<BasicMetadataValueEnum<'c>> =
            around.iter().copied().chain([begin.into(), end.into()]).map(BasicMetadataValueEnum::from).collect();
        self.builder.build_call(share.function, &args, "")?;
        Ok(())
    }

    /// Has all threads run `outlined` on what is `given` to them.
    fn fork(&self, outlined: FunctionValue<'c>, given: PointerValue<'c>) -> Emit<()> {
        let pointer: BasicTypeEnum<'c> = self.context.ptr_type(AddressSpace::default()).into();
        let i32 = self.context.i32_type();
        let gomp = self.module.get_function("GOMP_parallel").unwrap_or_else(|| {
            let params = [pointer.into(), pointer.into(), i32.into(), i32.into()];
            self.module.add_function("GOMP_parallel", self.context.void_type().fn_type(&params, false), None)
        });
        let threads = u32::try_from(self.options.threads).unwrap_or(u32::MAX);
        let args: [BasicMetadataValueEnum<'c>; 4] = [
            outlined.as_global_value().as_pointer_value().into(),
            given.into(),
            self.i32(threads).into(),
            self.i32(0).into(),
        ];
        self.builder.build_call(gomp, &args, "")?;
        Ok(())
    }

    /// What a function of OpenMP's answers, as an index.
    fn openmp_number(&self, function: &str) -> Emit<IntValue<'c>> {
        let declared = self
            .module
            .get_function(function)
            .unwrap_or_else(|| self.module.add_function(function, self.context.i32_type().fn_type(&[], false), None));
        let call = self.builder.build_call(declared, &[], "number")?;
        let value = call.try_as_basic_value().basic().ok_or_else(|| self.malformed(function, "no value"))?;
        self.scalar_int(self.builder.build_cast(InstructionOpcode::SExt, value, self.context.i64_type(), "number")?)
    }
}
