//! Loops around tiles, serial and parallel.
//!
//! A parallel loop becomes a call of `GOMP_parallel` (libgomp's entry, which libomp has too) on an
//! outlined function, which takes its thread's share of the iterations, one contiguous block, and
//! calls the loop as a function of that block.

use super::cx::{Cx, Emit};
use super::facts::Bounds;
use super::frame::Frame;
use super::share::is_uneven;
use crate::workspace::buffers_of;
use inkwell::IntPredicate;
use inkwell::module::Linkage;
use inkwell::types::{BasicMetadataTypeEnum, BasicTypeEnum};
use inkwell::values::{BasicMetadataValueEnum, BasicValue, FunctionValue, InstructionOpcode, IntValue, PointerValue};
use moat_optimizer::nest::{BufferRole, Loop, LoopKind, Node};

impl<'c> Cx<'c, '_> {
    /// Emits statements in order.
    pub(crate) fn nodes(&self, frame: &mut Frame<'c>, nodes: &[Node]) -> Emit<()> {
        for node in nodes {
            match node {
                Node::Loop(inner) => self.any_loop(frame, inner)?,
                Node::Tile(tile) => self.tile(frame, tile)?,
            }
        }
        Ok(())
    }

    fn var_name(&self, var: usize) -> String {
        self.nest.vars.get(var).cloned().unwrap_or_else(|| format!("x{var}"))
    }

    fn any_loop(&self, frame: &mut Frame<'c>, node: &Loop) -> Emit<()> {
        let name = self.var_name(node.var);
        let Some(step) = i64::try_from(node.step).ok().filter(|&step| step > 0) else {
            return Err(self.malformed(&name, format!("step {}", node.step)));
        };
        let Some(bounds) = Bounds::new(&node.range, &|v| frame.facts(v)) else {
            return Err(self.malformed(&name, "bounds are not in scope"));
        };
        let Some(facts) = bounds.variable(step, &|v| frame.facts(v)) else { return Ok(()) };
        if bounds.extent.1 <= 0 {
            return Ok(());
        }
        let (lo, hi) = self.interval(frame, &bounds)?;
        let parallel = match node.kind {
            LoopKind::Serial => false,
            LoopKind::Parallel => self.options.threads > 1 && !frame.parallel && bounds.extent.1 > step,
        };
        if parallel {
            return self.parallel(frame, node, &bounds, (lo, hi));
        }
        if bounds.extent.1 <= step {
            // At most one iteration.
            frame.bind(node.var, lo, facts);
            if bounds.extent.0 > 0 {
                self.nodes(frame, &node.body)?;
            } else {
                let runs = self.icmp(IntPredicate::SLT, lo.into(), hi.into())?;
                self.when(runs, &name, &mut || self.nodes(frame, &node.body))?;
            }
        } else {
            let last = self.index_add(hi, self.i64(-1), "last")?;
            self.counted(lo, last, step, &name, &mut |x| {
                frame.bind(node.var, x, facts);
                self.nodes(frame, &node.body)
            })?;
        }
        frame.unbind(node.var);
        Ok(())
    }

    fn parallel(
        &self,
        frame: &mut Frame<'c>,
        node: &Loop,
        bounds: &Bounds,
        (lo, hi): (IntValue<'c>, IntValue<'c>),
    ) -> Emit<()> {
        let name = self.var_name(node.var);
        let step = i64::try_from(node.step).unwrap_or(1);
        let Some(facts) = bounds.variable(step, &|v| frame.facts(v)) else { return Ok(()) };
        let buffers = buffers_of(&Node::Loop(node.clone()));
        let vars: Vec<_> = frame.vars().collect();
        let pointer: BasicTypeEnum<'c> = self.context.ptr_type(inkwell::AddressSpace::default()).into();
        let int: BasicTypeEnum<'c> = self.context.i64_type().into();

        // What the threads need, in a structure on this thread's stack.
        let fields: Vec<BasicTypeEnum<'c>> =
            buffers.iter().map(|_| pointer).chain(vars.iter().map(|_| int)).chain([int, int]).collect();
        let data_type = self.context.struct_type(&fields, false);
        let data = self.slot(data_type.into(), "shared")?;
        let mut values: Vec<inkwell::values::BasicValueEnum<'c>> = Vec::with_capacity(fields.len());
        for &buffer in &buffers {
            values.push(self.buffer(frame, buffer)?.into());
        }
        values.extend(vars.iter().map(|(_, bound)| inkwell::values::BasicValueEnum::from(bound.value)));
        values.extend([lo.as_basic_value_enum(), hi.as_basic_value_enum()]);
        for (at, value) in (0u32..).zip(&values) {
            let field = self.builder.build_struct_gep(data_type, data, at, "field")?;
            self.builder.build_store(field, *value)?;
        }
        let here = self.here()?;

        // The share of one thread as a function of its block, so that the buffers are `noalias`.
        let params: Vec<BasicMetadataTypeEnum<'c>> = fields.iter().map(|&ty| ty.into()).collect();
        let share = self.new_function(
            &format!("{}.{name}.share", self.options.function),
            self.context.void_type().fn_type(&params, false),
            &buffers,
        );
        let entry = self.context.append_basic_block(share, "entry");
        self.builder.position_at_end(entry);
        let argument = |at: usize| {
            u32::try_from(at)
                .ok()
                .and_then(|at| share.get_nth_param(at))
                .ok_or_else(|| self.malformed(&name, "a missing parameter"))
        };
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

        let turns = is_uneven(node);
        let outlined = self.outline(&name, share, (data_type, &buffers, vars.len()), step, turns)?;
        self.builder.position_at_end(here);
        let i32 = self.context.i32_type();
        let gomp = self.module.get_function("GOMP_parallel").unwrap_or_else(|| {
            let params = [pointer.into(), pointer.into(), i32.into(), i32.into()];
            self.module.add_function("GOMP_parallel", self.context.void_type().fn_type(&params, false), None)
        });
        let threads = u32::try_from(self.options.threads).unwrap_or(u32::MAX);
        let args: [BasicMetadataValueEnum<'c>; 4] = [
            outlined.as_global_value().as_pointer_value().into(),
            data.into(),
            self.i32(threads).into(),
            self.i32(0).into(),
        ];
        self.builder.build_call(gomp, &args, "")?;
        Ok(())
    }

    /// `void f(void *data)`: unpacks `data`, takes this thread's block of the iterations, or its turns, and its
    /// private buffers, and calls `share`.
    fn outline(
        &self,
        name: &str,
        share: FunctionValue<'c>,
        (data_type, buffers, vars): (inkwell::types::StructType<'c>, &[usize], usize),
        step: i64,
        turns: bool,
    ) -> Emit<FunctionValue<'c>> {
        let pointer = self.context.ptr_type(inkwell::AddressSpace::default());
        let outlined = self.module.add_function(
            &format!("{}.{name}.thread", self.options.function),
            self.context.void_type().fn_type(&[pointer.into()], false),
            Some(Linkage::Internal),
        );
        self.attribute(outlined);
        let entry = self.context.append_basic_block(outlined, "entry");
        self.builder.position_at_end(entry);
        let missing = || self.malformed(name, "a missing field");
        let data: PointerValue<'c> = self.pointer(outlined.get_nth_param(0).ok_or_else(missing)?)?;
        let mut fields = Vec::new();
        for at in 0..data_type.count_fields() {
            let field = self.builder.build_struct_gep(data_type, data, at, "field")?;
            let ty = data_type.get_field_type_at_index(at).ok_or_else(missing)?;
            fields.push(self.builder.build_load(ty, field, "shared")?);
        }
        let thread = self.openmp_number("omp_get_thread_num")?;
        let threads = self.openmp_number("omp_get_num_threads")?;
        for (at, &buffer) in buffers.iter().enumerate() {
            match self.nest.buffers[buffer].role {
                BufferRole::Private => {
                    let stride = self.i64(i64::try_from(self.workspace.private_stride).unwrap_or(i64::MAX));
                    let offset = self.builder.build_int_nsw_mul(thread, stride, "offset")?;
                    let byte: BasicTypeEnum<'c> = self.context.i8_type().into();
                    fields[at] = self.element(byte, self.pointer(fields[at])?, offset, "mine")?.into();
                }
                BufferRole::Param(_) | BufferRole::Output(_) | BufferRole::Check(..) | BufferRole::Shared => {}
            }
        }
        let (from, to) = (buffers.len() + vars, buffers.len() + vars + 1);
        let (lo, hi) = (self.scalar_int(fields[from])?, self.scalar_int(fields[to])?);
        if turns {
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
                let inside = self.icmp(IntPredicate::SLT, end.into(), hi.into())?;
                fields[from] = x.into();
                fields[to] = self.choose(inside, end, hi)?.into();
                let args: Vec<BasicMetadataValueEnum<'c>> = fields.iter().map(|&field| field.into()).collect();
                self.builder.build_call(share, &args, "")?;
                Ok(())
            })?;
            self.drain()?;
            self.builder.build_return(None)?;
            return Ok(outlined);
        }
        // Iteration counts differ by at most one between threads.
        let step = self.i64(step);
        let span = self.builder.build_int_nsw_sub(hi, lo, "span")?;
        let span = self.index_add(span, self.builder.build_int_nsw_sub(step, self.i64(1), "round")?, "span")?;
        let count = self.builder.build_int_signed_div(span, step, "count")?;
        let share_of = self.builder.build_int_signed_div(count, threads, "share")?;
        let extra = self.builder.build_int_signed_rem(count, threads, "extra")?;
        let gets_more = self.icmp(IntPredicate::SLT, thread.into(), extra.into())?;
        let before = self.choose(gets_more, thread, extra)?;
        let mine = self.builder.build_int_nsw_mul(thread, share_of, "first")?;
        let first = self.index_add(mine, before, "first")?;
        let more = self.choose(gets_more, self.i64(1), self.i64(0))?;
        let end = self.index_add(self.index_add(first, share_of, "end")?, more, "end")?;
        let scale = |at: IntValue<'c>| -> Emit<IntValue<'c>> {
            self.index_add(lo, self.builder.build_int_nsw_mul(at, step, "scaled")?, "bound")
        };
        let (begin, end) = (scale(first)?, scale(end)?);
        let inside = self.icmp(IntPredicate::SLT, end.into(), hi.into())?;
        fields[from] = begin.into();
        fields[to] = self.choose(inside, end, hi)?.into();
        let args: Vec<BasicMetadataValueEnum<'c>> = fields.iter().map(|&field| field.into()).collect();
        self.builder.build_call(share, &args, "")?;
        self.drain()?;
        self.builder.build_return(None)?;
        Ok(outlined)
    }

    fn openmp_number(&self, function: &str) -> Emit<IntValue<'c>> {
        let declared = self
            .module
            .get_function(function)
            .unwrap_or_else(|| self.module.add_function(function, self.context.i32_type().fn_type(&[], false), None));
        let call = self.builder.build_call(declared, &[], "number")?;
        let value = call.try_as_basic_value().basic().ok_or_else(|| self.malformed(function, "no value"))?;
        self.scalar_int(self.builder.build_cast(InstructionOpcode::SExt, value, self.context.i64_type(), "number")?)
    }

    pub(crate) fn buffer(&self, frame: &Frame<'c>, buffer: usize) -> Emit<PointerValue<'c>> {
        frame.buffers.get(&buffer).copied().ok_or_else(|| self.malformed("buffers", format!("no buffer {buffer}")))
    }
}
