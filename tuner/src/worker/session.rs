//! What a worker holds between requests, and the memory that it calls kernels on.
//!
//! Input: the setup, which names the file of inputs and references; sources, by number. Output: kernels, buffers with the
//! inputs of a set, and how far outputs are from the references. Nothing is called or timed here.

use super::call::{Call, Fault, Kernel, Loaded, nanoseconds};
use super::code::{Code, CodeOptions};
use super::guard::{Align, Guarded};
use super::protocol::{Argument, Place, Reply, Setup, Source, Wrong};
use crate::npz;
use moat_codegen::{CompileOptions, CompiledNest};
use moat_optimizer::oracle::interpret::{Mismatch, Reference};
use moat_optimizer::value::tensor::Tensor;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;

/// Elements that are compared at once.
const CHUNK: usize = 1 << 16;

/// Fills outputs before a call: NaN for floats, unlikely for integers, no bool; one for each parity of the input set.
pub(super) const POISON: [u8; 2] = [0xff, 0xa5];

/// What a worker holds: its setup, the file of inputs and references, and the kernels that it has compiled.
pub(super) struct Session {
    pub(super) setup: Setup,
    data: File,
    kernels: BTreeMap<u64, Kernel>,
}

impl Session {
    /// Reads the setup: pins and limits this process, and opens the data.
    pub(super) fn prepare(setup: Setup) -> io::Result<Session> {
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
        Ok(Session { setup, data, kernels: BTreeMap::new() })
    }

    /// Compiles a kernel and keeps it under a number.
    pub(super) fn compile(&mut self, id: u64, source: &Source) -> Reply {
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

    /// Forgets a kernel.
    pub(super) fn drop_kernel(&mut self, id: u64) {
        self.kernels.remove(&id);
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

    /// The kernel of a number.
    pub(super) fn kernel(&self, id: u64) -> io::Result<&Kernel> {
        self.kernels.get(&id).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no kernel {id}")))
    }

    /// Fresh buffers that end at a guard page, with the inputs of a set; outputs poisoned, differently in each set.
    pub(super) fn guarded_buffers(&self, set: usize) -> io::Result<Vec<Guarded>> {
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

fn read_bytes(data: &File, len: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    data.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

fn read_floats(data: &File, len: usize, offset: u64) -> io::Result<Vec<f64>> {
    let bytes = read_bytes(data, len * 8, offset)?;
    Ok(bytes.as_chunks::<8>().0.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect())
}
