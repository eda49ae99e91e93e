//! The worker process: reads requests, answers them, and dies with its candidates or its parent.
//!
//! Its correctness gate: every input set in fresh memory, inputs read-only, outputs and workspace poisoned, each buffer
//! end-aligned to an inaccessible page. Only then is anything timed ([`super::timing`]).
#![expect(unsafe_code, reason = "calls compiled code")]

use super::code::{Code, CodeOptions};
use super::guard::{Align, Guarded};
use super::protocol::{Argument, Place, Reply, Request, Setup, Source, TRIAL_OFFSET, Wrong, receive, send};
use super::timing::Timing;
use crate::npz;
use moat_codegen::jit::RawEntry;
use moat_codegen::{CompileOptions, CompiledNest};
use moat_optimizer::oracle::interpret::{Mismatch, Reference};
use moat_optimizer::value::tensor::Tensor;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::time::Instant;

/// Workspaces are aligned to this many bytes.
const WORKSPACE_ALIGN: usize = 64;

/// Elements that are compared at once.
const CHUNK: usize = 1 << 16;

/// Fills outputs before a call: NaN for floats, unlikely for integers, no bool; one for each parity of the input set.
pub(super) const POISON: [u8; 2] = [0xff, 0xa5];

/// Serves requests until the stream ends.
///
/// # Errors
/// If a stream breaks or the first request is not `Prepare`.
pub fn serve(requests: &mut impl Read, replies: &mut impl Write) -> io::Result<()> {
    // A parent that dies must not leave a worker in an endless loop; where this cannot be had, the stream's end does
    // for every candidate that returns.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
    let setup = match receive::<Request>(requests)? {
        Some(Request::Prepare(setup)) => *setup,
        None => return Ok(()),
        Some(Request::Compile { .. } | Request::Check { .. } | Request::Time { .. })
        | Some(Request::Compare { .. } | Request::Drop { .. }) => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the first request must be Prepare"));
        }
    };
    let mut worker = match Worker::prepare(setup) {
        Ok(worker) => worker,
        Err(error) => return send(replies, &Reply::Failed { message: error.to_string() }),
    };
    send(replies, &Reply::Ready)?;
    while let Some(request) = receive::<Request>(requests)? {
        let reply = worker.answer(request, replies);
        let reply = match reply {
            Ok(reply) => reply,
            Err(Fault::Wrong(wrong)) => Reply::Wrong(wrong),
            Err(Fault::Io(error)) => Reply::Failed { message: error.to_string() },
        };
        send(replies, &reply)?;
    }
    Ok(())
}

pub(super) struct Kernel {
    entry: RawEntry,
    workspace_bytes: usize,
    pub(super) threads: usize,
    /// What the entry is valid as long as.
    _code: Loaded,
}

enum Loaded {
    Ir(#[expect(dead_code, reason = "kept for its code")] Code),
    Nest(#[expect(dead_code, reason = "kept for its code")] Box<CompiledNest>),
}

pub(super) struct Worker {
    pub(super) setup: Setup,
    data: File,
    kernels: BTreeMap<u64, Kernel>,
    /// Where kernels are timed, with the first input set; made at the first use.
    timing: Option<Timing>,
}

impl Worker {
    fn prepare(setup: Setup) -> io::Result<Worker> {
        if !setup.cores.is_empty() {
            let mut set = CpuSet::new();
            for &core in &setup.cores {
                set.set(core)?;
            }
            sched_setaffinity(Pid::from_raw(0), &set)?;
        }
        if let Some(bytes) = setup.memory_bytes {
            setrlimit(Resource::RLIMIT_AS, bytes, bytes)?;
        }
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        let data = File::open(&setup.data)?;
        if setup.sets.iter().any(|set| set.len() != setup.arguments.len()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an input set of the wrong length"));
        }
        Ok(Worker { setup, data, kernels: BTreeMap::new(), timing: None })
    }

    fn answer(&mut self, request: Request, replies: &mut impl Write) -> Result<Reply, Fault> {
        match request {
            Request::Prepare(_) => Ok(Reply::Failed { message: "prepared twice".to_owned() }),
            Request::Compile { id, source } => Ok(self.compile(id, &source)),
            Request::Check { id } => self.check(id, replies),
            Request::Time { id, sampling } => {
                let mut timing = self.timing_buffers()?;
                let reply = self.time(id, &sampling, &mut timing, replies);
                self.timing = Some(timing);
                reply
            }
            Request::Compare { ids, rounds, batch_ns } => {
                let mut timing = self.timing_buffers()?;
                let reply = self.compare(&ids, rounds, batch_ns, &mut timing, replies);
                self.timing = Some(timing);
                reply
            }
            Request::Drop { id } => {
                self.kernels.remove(&id);
                Ok(Reply::Ready)
            }
        }
    }

    fn compile(&mut self, id: u64, source: &Source) -> Reply {
        let start = Instant::now();
        let target = &self.setup.target;
        let compiled = match source {
            Source::Ir { text, entry, workspace_bytes } => {
                let options = CodeOptions {
                    entry,
                    triple: &target.triple,
                    cpu: &target.cpu,
                    features: &target.features,
                    passes: "",
                };
                Code::compile(text, &options).map(|code| Kernel {
                    entry: code.entry(),
                    workspace_bytes: *workspace_bytes,
                    threads: 1,
                    _code: Loaded::Ir(code),
                })
            }
            Source::Nest { nest, numerics, threads } => {
                let options = CompileOptions {
                    target: target.clone(),
                    numerics: *numerics,
                    threads: *threads,
                    function: "candidate".to_owned(),
                };
                CompiledNest::load(nest, &options).map_err(|error| error.to_string()).map(|code| Kernel {
                    entry: code.raw(),
                    workspace_bytes: code.workspace_plan().bytes,
                    threads: *threads,
                    _code: Loaded::Nest(Box::new(code)),
                })
            }
        };
        match compiled {
            Ok(kernel) => {
                let workspace_bytes = kernel.workspace_bytes;
                self.kernels.insert(id, kernel);
                Reply::Compiled { compile_ns: nanoseconds(start), workspace_bytes }
            }
            Err(message) => Reply::Refused { message },
        }
    }

    fn check(&self, id: u64, replies: &mut impl Write) -> Result<Reply, Fault> {
        let kernel = self.kernel(id)?;
        let mut worst = 0.0_f64;
        for set in 0..self.setup.sets.len() {
            let buffers = self.guarded_buffers(set)?;
            let call = self.call(id, kernel, &buffers, Align::End(WORKSPACE_ALIGN))?;
            send(replies, &Reply::Calling { expected_ns: 0.0 })?;
            run(&call, 1)?;
            send(replies, &Reply::Called)?;
            worst = worst.max(self.compare_outputs(id, set, &buffers)?);
            let named = self.setup.arguments.iter().map(|argument| argument.name.as_str()).chain(["workspace"]);
            for (name, buffer) in named.zip(buffers.iter().chain([&call.workspace])) {
                if !buffer.slack_is_intact() {
                    return Err(Wrong::Stray { id, buffer: name.to_owned(), set }.into());
                }
            }
        }
        Ok(Reply::Correct { error_fraction: worst })
    }

    /// A kernel on these buffers, with a fresh poisoned workspace.
    pub(super) fn call<'k>(
        &self,
        id: u64,
        kernel: &'k Kernel,
        buffers: &[Guarded],
        align: Align,
    ) -> io::Result<Call<'k>> {
        let mut workspace = Guarded::new(kernel.workspace_bytes, align)?;
        workspace.bytes_mut().fill(POISON[0]);
        let pointers = |output: bool| {
            let arguments = self.setup.arguments.iter().zip(buffers);
            arguments.filter(move |(argument, _)| argument.output == output).map(|(_, buffer)| buffer.pointer())
        };
        Ok(Call {
            id,
            kernel,
            inputs: pointers(false).map(|pointer| pointer.cast_const().cast()).collect(),
            outputs: pointers(true).map(<*mut u8>::cast).collect(),
            workspace,
        })
    }

    pub(super) fn kernel(&self, id: u64) -> io::Result<&Kernel> {
        self.kernels.get(&id).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no kernel {id}")))
    }

    fn timing_buffers(&mut self) -> io::Result<Timing> {
        if let Some(timing) = self.timing.take() {
            return Ok(timing);
        }
        self.placed(TRIAL_OFFSET)
    }

    /// Fresh buffers that end at a guard page, with the inputs of a set; outputs poisoned, differently in each set.
    fn guarded_buffers(&self, set: usize) -> io::Result<Vec<Guarded>> {
        let arguments = self.setup.arguments.iter();
        let buffers = arguments.map(|argument| Guarded::new(argument.bytes(), Align::End(argument.dtype.bytes())));
        let mut buffers = buffers.collect::<io::Result<Vec<_>>>()?;
        self.fill(set, &mut buffers)?;
        Ok(buffers)
    }

    /// Writes the inputs of a set, and poison into the outputs.
    pub(super) fn fill(&self, set: usize, buffers: &mut [Guarded]) -> io::Result<()> {
        for (buffer, place) in buffers.iter_mut().zip(&self.setup.sets[set]) {
            match *place {
                Place::Input(offset) => {
                    self.data.read_exact_at(buffer.bytes_mut(), offset)?;
                    buffer.make_read_only()?;
                }
                Place::Reference { .. } => buffer.bytes_mut().fill(POISON[set % POISON.len()]),
            }
        }
        Ok(())
    }

    /// The largest error of an element as a fraction of its bound.
    pub(super) fn compare_outputs(&self, id: u64, set: usize, buffers: &[Guarded]) -> Result<f64, Fault> {
        let mut worst = 0.0_f64;
        for ((argument, buffer), place) in self.setup.arguments.iter().zip(buffers).zip(&self.setup.sets[set]) {
            match *place {
                Place::Input(_) => {}
                Place::Reference { value, wide, bound } => {
                    let mut at = 0;
                    // In pieces: references may be several times as large as the arrays.
                    for bytes in buffer.bytes().chunks(CHUNK * argument.dtype.bytes()) {
                        let len = bytes.len() / argument.dtype.bytes();
                        let floats = |begin: Option<u64>| match begin {
                            Some(begin) => read_floats(&self.data, len, begin + 8 * at),
                            None => Ok(Vec::new()),
                        };
                        let begin = value + at * argument.dtype.bytes() as u64;
                        let value = tensor(argument, len, &read_bytes(&self.data, bytes.len(), begin)?)?;
                        let reference = Reference { value, wide: floats(wide)?, bound: floats(bound)? };
                        let fraction = reference.check(&tensor(argument, len, bytes)?);
                        worst = worst.max(fraction.map_err(|mismatch| Wrong::Element {
                            id,
                            output: argument.name.clone(),
                            set,
                            mismatch: describe(&mismatch, at),
                        })?);
                        at += len as u64;
                    }
                }
            }
        }
        Ok(worst)
    }
}

/// The mismatch with the element's offset in the whole array, `begin` being its piece's.
fn describe(mismatch: &Mismatch, begin: u64) -> String {
    match mismatch {
        Mismatch::Element { index, got, expected, bound } => {
            format!("element {} is {got}, expected {expected} within {bound:e}", begin + *index as u64)
        }
        Mismatch::Type { .. } => mismatch.to_string(),
    }
}

/// `len` elements of an argument, as a vector.
fn tensor(argument: &Argument, len: usize, bytes: &[u8]) -> io::Result<Tensor> {
    npz::from_bytes(argument.dtype, &[len], bytes)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an array of the wrong size"))
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
    if status == 0 { Ok(elapsed / f64::from(calls)) } else { Err(Wrong::Status { id: call.id, status }) }
}

/// A kernel with the addresses that it is called on.
pub(super) struct Call<'k> {
    pub(super) id: u64,
    pub(super) kernel: &'k Kernel,
    inputs: Vec<*const c_void>,
    outputs: Vec<*mut c_void>,
    workspace: Guarded,
}

fn nanoseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e9
}

fn read_bytes(data: &File, len: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    data.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

fn read_floats(data: &File, len: usize, offset: u64) -> io::Result<Vec<f64>> {
    let bytes = read_bytes(data, len * 8, offset)?;
    Ok(bytes.as_chunks::<8>().0.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect())
}
