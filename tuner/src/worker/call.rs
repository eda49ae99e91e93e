//! A call of a compiled kernel, and what can come of it.
//!
//! Input: a kernel and the addresses that it is called on. Output: the mean time of a call, or a [`Fault`]. What the
//! memory holds before and after is nothing to this file.
#![expect(unsafe_code, reason = "calls compiled code")]

use super::code::Code;
use super::guard::Guarded;
use super::protocol::Wrong;
use moat_codegen::CompiledNest;
use moat_codegen::abi::Status;
use moat_codegen::jit::RawEntry;
use std::ffi::c_void;
use std::io;
use std::time::Instant;

/// A kernel that can be called.
pub(super) struct Kernel {
    pub(super) entry: RawEntry,
    pub(super) workspace_bytes: usize,
    pub(super) threads: usize,
    /// What the entry is valid as long as.
    pub(super) _code: Loaded,
}

/// What holds a kernel's machine code.
pub(super) enum Loaded {
    Ir(#[expect(dead_code, reason = "kept for its code")] Code),
    Nest(#[expect(dead_code, reason = "kept for its code")] Box<CompiledNest>),
}

/// Calls a kernel `calls` times; the mean time of one, in nanoseconds.
pub(super) fn run(call: &Call<'_>, calls: u32) -> Result<f64, Wrong> {
    let entry = call.kernel.entry;
    let (inputs, outputs, workspace) = (call.inputs.as_ptr(), call.outputs.as_ptr(), call.workspace.pointer());
    let mut status = 0;
    let start = Instant::now();
    for _ in 0..calls {
        // SAFETY: the pointers are those of buffers of the sizes that the kernel was made for. Whether it keeps to
        // them is what this process, which may die of it, finds out.
        status |= unsafe { entry(inputs, outputs, workspace.cast()) };
    }
    let elapsed = nanoseconds(start);
    if status == i32::from(Status::Ok.code()) {
        Ok(elapsed / f64::from(calls))
    } else {
        Err(Wrong::Status { id: call.id, status })
    }
}

/// A kernel with the addresses that it is called on.
pub(super) struct Call<'k> {
    pub(super) id: u64,
    pub(super) kernel: &'k Kernel,
    pub(super) inputs: Vec<*const c_void>,
    pub(super) outputs: Vec<*mut c_void>,
    pub(super) workspace: Guarded,
}

/// Why a request about a kernel has no result.
pub(super) enum Fault {
    Wrong(Wrong),
    Io(io::Error),
}

impl From<Wrong> for Fault {
    fn from(wrong: Wrong) -> Fault {
        Fault::Wrong(wrong)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Io(error)
    }
}

/// The time since `start`.
pub(super) fn nanoseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e9
}
