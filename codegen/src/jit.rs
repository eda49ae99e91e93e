//! Kernels in this process: compiled, loaded, and called with checked arguments.
//!
//! This is the one module that runs compiled code. Input: a nest and options, then pointers or
//! slices; output: filled outputs.

use crate::abi::Status;
use crate::emit::{CompileOptions, emit};
use crate::error::CodegenError;
use crate::passes;
use crate::workspace::WorkspacePlan;
use inkwell::OptimizationLevel;
use inkwell::context::Context;
use inkwell::execution_engine::ExecutionEngine;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use moat_optimizer::nest::{Buffer, BufferRole, LoopNest};
use moat_optimizer::value::tensor::Tensor;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::c_void;
use std::ptr::NonNull;

/// `i32 <function>_raw(const void *const *inputs, void *const *outputs, void *workspace)`.
pub type RawEntry = unsafe extern "C" fn(*const *const c_void, *const *mut c_void, *mut c_void) -> i32;

/// Scratch memory for kernels: grows to the largest plan asked for, and is reused.
#[derive(Debug)]
pub struct Workspace {
    block: Option<(NonNull<u8>, Layout)>,
}

// SAFETY: the block is owned plain memory, reachable only through `&mut self`.
#[expect(unsafe_code, reason = "owned memory may move between threads")]
unsafe impl Send for Workspace {}

impl Workspace {
    /// No memory yet.
    pub fn new() -> Workspace {
        Workspace { block: None }
    }

    /// A block that fits `plan`.
    #[expect(unsafe_code, reason = "allocation with an alignment of its own")]
    pub fn pointer(&mut self, plan: &WorkspacePlan) -> Result<*mut u8, CodegenError> {
        if plan.bytes == 0 {
            return Ok(std::ptr::null_mut());
        }
        if let Some((block, layout)) = self.block
            && layout.size() >= plan.bytes
            && layout.align() >= plan.align
        {
            return Ok(block.as_ptr());
        }
        self.release();
        let failure = |message: String| CodegenError::Llvm { stage: "workspace", message };
        // Whole pages of their own keep a kernel's figures independent of what lies next to it.
        let layout = Layout::from_size_align(plan.bytes, plan.align.max(4096)).map_err(|e| failure(e.to_string()))?;
        // SAFETY: the size is not 0.
        let block = NonNull::new(unsafe { alloc_zeroed(layout) })
            .ok_or_else(|| failure(format!("no memory for {} bytes", plan.bytes)))?;
        self.block = Some((block, layout));
        Ok(block.as_ptr())
    }

    #[expect(unsafe_code, reason = "allocation with an alignment of its own")]
    fn release(&mut self) {
        if let Some((block, layout)) = self.block.take() {
            // SAFETY: allocated by `pointer` with this layout, and freed once.
            unsafe { dealloc(block.as_ptr(), layout) };
        }
    }
}

impl Default for Workspace {
    fn default() -> Workspace {
        Workspace::new()
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        self.release();
    }
}

/// A kernel loaded into this process.
pub struct CompiledNest {
    // Declared, and so dropped, before the context it refers to.
    _engine: ExecutionEngine<'static>,
    _context: OwnedContext,
    entry: RawEntry,
    function: String,
    inputs: Vec<Option<Buffer>>,
    outputs: Vec<Option<Buffer>>,
    plan: WorkspacePlan,
}

/// A context with a stable address, freed after everything that refers to it.
struct OwnedContext(NonNull<Context>);

impl Drop for OwnedContext {
    #[expect(unsafe_code, reason = "frees the box that `load` made")]
    fn drop(&mut self) {
        // SAFETY: the pointer came from `Box::into_raw` and nothing refers to it any more: the
        // engine, the only other holder, is dropped before this field.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl CompiledNest {
    /// Compiles and loads `nest`.
    #[expect(unsafe_code, reason = "a self-referential pair, and the address of compiled code as a function")]
    pub fn load(nest: &LoopNest, options: &CompileOptions) -> Result<CompiledNest, CodegenError> {
        if options.threads > 1 {
            load_openmp()?;
        }
        let owned = OwnedContext(NonNull::from(Box::leak(Box::new(Context::create()))));
        // SAFETY: the box lives until `owned` is dropped, after every use of this reference.
        let context: &'static Context = unsafe { owned.0.as_ref() };
        let emitted = emit(context, nest, options)?;
        passes::optimise(&emitted.module, &emitted.machine)?;
        let failure = |message: String| CodegenError::Llvm { stage: "loader", message };
        let engine = emitted
            .module
            .create_jit_execution_engine(OptimizationLevel::Aggressive)
            .map_err(|message| failure(message.to_string()))?;
        let address = engine.get_function_address(&options.raw_symbol()).map_err(|e| failure(e.to_string()))?;
        // SAFETY: the address is that of a function which `emit` gave this signature.
        let entry: RawEntry = unsafe { std::mem::transmute::<usize, RawEntry>(address) };
        Ok(CompiledNest {
            _engine: engine,
            _context: owned,
            entry,
            function: options.function.clone(),
            inputs: arguments(nest, |role| match role {
                BufferRole::Param(at) => Some(at),
                BufferRole::Output(_) | BufferRole::Check(..) | BufferRole::Shared | BufferRole::Private => None,
            }),
            outputs: arguments(nest, |role| match role {
                BufferRole::Output(at) => Some(at),
                BufferRole::Param(_) | BufferRole::Check(..) | BufferRole::Shared | BufferRole::Private => None,
            }),
            plan: emitted.workspace,
        })
    }

    /// The layout of the workspace.
    pub fn workspace_plan(&self) -> &WorkspacePlan {
        &self.plan
    }

    /// The raw entry. Valid while `self` lives.
    pub fn raw(&self) -> RawEntry {
        self.entry
    }

    /// Calls the kernel on bytes: each input and output is one buffer, in order, of exactly its
    /// size and aligned to its element.
    pub fn call_bytes(
        &self,
        inputs: &[&[u8]],
        outputs: &mut [&mut [u8]],
        workspace: &mut Workspace,
    ) -> Result<(), CodegenError> {
        self.check_count(inputs.len(), outputs.len())?;
        for (index, (input, buffer)) in inputs.iter().zip(&self.inputs).enumerate() {
            self.check(index, input.as_ptr(), input.len(), buffer.as_ref())?;
        }
        for (index, (output, buffer)) in outputs.iter().zip(&self.outputs).enumerate() {
            self.check(inputs.len() + index, output.as_ptr(), output.len(), buffer.as_ref())?;
        }
        let inputs: Vec<*const u8> = inputs.iter().map(|input| input.as_ptr()).collect();
        let outputs: Vec<*mut u8> = outputs.iter_mut().map(|output| output.as_mut_ptr()).collect();
        self.run_checked(&inputs, &outputs, workspace)
    }

    /// Calls the kernel on tensors: parameters, then results, in order, each of its buffer's type and
    /// number of elements.
    pub fn call(
        &self,
        inputs: &[&Tensor],
        outputs: &mut [Tensor],
        workspace: &mut Workspace,
    ) -> Result<(), CodegenError> {
        self.check_count(inputs.len(), outputs.len())?;
        for (index, (tensor, buffer)) in inputs.iter().zip(&self.inputs).enumerate() {
            self.check_tensor(index, tensor, buffer.as_ref())?;
        }
        for (index, (tensor, buffer)) in outputs.iter().zip(&self.outputs).enumerate() {
            self.check_tensor(inputs.len() + index, tensor, buffer.as_ref())?;
        }
        let inputs: Vec<*const u8> = inputs.iter().map(|tensor| tensor.as_ptr()).collect();
        let outputs: Vec<*mut u8> = outputs.iter_mut().map(Tensor::as_mut_ptr).collect();
        self.run_checked(&inputs, &outputs, workspace)
    }

    fn check_tensor(&self, index: usize, tensor: &Tensor, buffer: Option<&Buffer>) -> Result<(), CodegenError> {
        let Some(buffer) = buffer else { return Ok(()) };
        if tensor.data.dtype() != buffer.dtype {
            let what = format!("`{}` is of {}, not {}", buffer.name, tensor.data.dtype(), buffer.dtype);
            return Err(self.argument(index, what));
        }
        self.check(index, tensor.as_ptr(), tensor.len() * buffer.dtype.bytes(), Some(buffer))
    }

    /// Everything has been checked by the callers in this module: sizes, alignments, and that the
    /// outputs are distinct.
    #[expect(unsafe_code, reason = "calls compiled code")]
    fn run_checked(
        &self,
        inputs: &[*const u8],
        outputs: &[*mut u8],
        workspace: &mut Workspace,
    ) -> Result<(), CodegenError> {
        let scratch = workspace.pointer(&self.plan)?;
        // SAFETY: the caller checked each pointer against its buffer: size, alignment; the borrows
        // it holds rule out that an output overlaps anything; the workspace fits the plan.
        let status = unsafe { (self.entry)(inputs.as_ptr().cast(), outputs.as_ptr().cast(), scratch.cast()) };
        if status == i32::from(Status::Ok.code()) {
            Ok(())
        } else {
            Err(CodegenError::Status { function: self.function.clone(), status })
        }
    }

    fn argument(&self, index: usize, what: String) -> CodegenError {
        CodegenError::Argument { function: self.function.clone(), index, what }
    }

    fn check_count(&self, inputs: usize, outputs: usize) -> Result<(), CodegenError> {
        if (inputs, outputs) == (self.inputs.len(), self.outputs.len()) {
            return Ok(());
        }
        let expected = format!("expected {} inputs and {} outputs", self.inputs.len(), self.outputs.len());
        Err(self.argument(inputs.min(self.inputs.len()), format!("{expected}, got {inputs} and {outputs}")))
    }

    fn check(&self, index: usize, at: *const u8, bytes: usize, buffer: Option<&Buffer>) -> Result<(), CodegenError> {
        let Some(buffer) = buffer else { return Ok(()) };
        let expected = buffer.len * buffer.dtype.bytes();
        if bytes != expected {
            return Err(self.argument(index, format!("`{}` has {bytes} bytes, not {expected}", buffer.name)));
        }
        if bytes > 0 && !at.addr().is_multiple_of(buffer.dtype.bytes()) {
            return Err(self.argument(index, format!("`{}` is not aligned to its elements", buffer.name)));
        }
        Ok(())
    }
}

/// Buffers by argument position; a position without a buffer takes anything.
fn arguments(nest: &LoopNest, position: impl Fn(BufferRole) -> Option<usize>) -> Vec<Option<Buffer>> {
    let mut found: Vec<Option<Buffer>> = Vec::new();
    for buffer in &nest.buffers {
        if let Some(at) = position(buffer.role) {
            if found.len() <= at {
                found.resize(at + 1, None);
            }
            found[at] = Some(buffer.clone());
        }
    }
    found
}

/// Makes libgomp's entry points visible to the loader, for good: its threads wait in its code for the next kernel, and
/// libraries that LLVM loads it closes when the process ends.
#[expect(unsafe_code, reason = "loads compiled code")]
fn load_openmp() -> Result<(), CodegenError> {
    if inkwell::support::search_for_address_of_symbol("GOMP_parallel").is_some() {
        return Ok(());
    }
    for name in ["libgomp.so.1", "libomp.so.5", "libomp.so"] {
        // SAFETY: an OpenMP runtime's initializers set up its own state only.
        if let Ok(library) = unsafe { Library::open(Some(name), RTLD_NOW | RTLD_GLOBAL) } {
            std::mem::forget(library);
            return Ok(());
        }
    }
    Err(CodegenError::MissingLibrary { library: "libgomp", needed_for: "more than one thread" })
}
