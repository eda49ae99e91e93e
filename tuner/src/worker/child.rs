//! The worker process: reads requests, answers them, and dies with its candidates or its parent.
//!
//! Its correctness gate: every input set in fresh memory, inputs read-only, outputs and workspace poisoned, each buffer
//! end-aligned to an inaccessible page. Only then, on buffers laid out as an allocator would, is anything timed.
#![expect(unsafe_code, reason = "calls compiled code")]

use super::code::{Code, CodeOptions};
use super::guard::{Align, Guarded};
use super::protocol::{Argument, Place, Reply, Request, Sampling, Setup, Source, Wrong, receive, send};
use moat_optimizer::dtype::DType;
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

/// Fills outputs before a call: NaN for floats, unlikely for integers, no bool; one for each parity of the input set.
const POISON: [u8; 2] = [0xff, 0xa5];

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

struct Kernel {
    code: Code,
    workspace_bytes: usize,
}

struct Worker {
    setup: Setup,
    data: File,
    kernels: BTreeMap<u64, Kernel>,
    /// Buffers for timing, with the first input set; made at the first use.
    timing: Option<Vec<Guarded>>,
    expected: BTreeMap<(usize, usize), Expected>,
}

/// An output's reference.
enum Expected {
    Exact(Vec<u8>),
    Bounded { values: Vec<f64>, bounds: Vec<f64> },
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
        let mut expected = BTreeMap::new();
        for (at, set) in setup.sets.iter().enumerate() {
            if set.len() != setup.arguments.len() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "an input set of the wrong length"));
            }
            for (index, (argument, place)) in setup.arguments.iter().zip(set).enumerate() {
                let floats = |offset| read_floats(&data, argument.len, offset);
                let reference = match *place {
                    Place::Input(_) => continue,
                    Place::Exact(offset) => Expected::Exact(read_bytes(&data, argument.bytes(), offset)?),
                    Place::Bounded { values, bounds } => {
                        Expected::Bounded { values: floats(values)?, bounds: floats(bounds)? }
                    }
                };
                expected.insert((at, index), reference);
            }
        }
        Ok(Worker { setup, data, kernels: BTreeMap::new(), timing: None, expected })
    }

    fn answer(&mut self, request: Request, replies: &mut impl Write) -> Result<Reply, Fault> {
        match request {
            Request::Prepare(_) => Ok(Reply::Failed { message: "prepared twice".to_owned() }),
            Request::Compile { id, source } => Ok(self.compile(id, &source)),
            Request::Check { id } => self.check(id, replies),
            Request::Time { id, sampling } => {
                let mut buffers = self.timing_buffers()?;
                let reply = self.time(id, &sampling, &mut buffers, replies);
                self.timing = Some(buffers);
                reply
            }
            Request::Compare { ids, rounds, batch_ns } => {
                let mut buffers = self.timing_buffers()?;
                let reply = self.compare(&ids, rounds, batch_ns, &mut buffers, replies);
                self.timing = Some(buffers);
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
        let compiled = match source {
            Source::Ir { text, entry, workspace_bytes } => {
                let target = &self.setup.target;
                let options = CodeOptions {
                    entry,
                    triple: &target.triple,
                    cpu: &target.cpu,
                    features: &target.features,
                    passes: "",
                };
                Code::compile(text, &options).map(|code| Kernel { code, workspace_bytes: *workspace_bytes })
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
        let mut call_ns = f64::INFINITY;
        for set in 0..self.setup.sets.len() {
            let buffers = self.buffers(set, true)?;
            let call = self.call(id, kernel, &buffers, Align::End(WORKSPACE_ALIGN))?;
            send(replies, &Reply::Calling { expected_ns: 0.0 })?;
            call_ns = call_ns.min(run(&call, 1)?);
            send(replies, &Reply::Called)?;
            worst = worst.max(self.compare_outputs(id, set, &buffers)?);
            let named = self.setup.arguments.iter().map(|argument| argument.name.as_str()).chain(["workspace"]);
            for (name, buffer) in named.zip(buffers.iter().chain([&call.workspace])) {
                if !buffer.slack_is_intact() {
                    return Err(Wrong::Stray { id, buffer: name.to_owned(), set }.into());
                }
            }
        }
        Ok(Reply::Correct { error_fraction: worst, call_ns })
    }

    fn time(
        &self,
        id: u64,
        sampling: &Sampling,
        buffers: &mut [Guarded],
        replies: &mut impl Write,
    ) -> Result<Reply, Fault> {
        let call = self.call(id, self.kernel(id)?, buffers, Align::Start)?;
        let estimate = self.warm_up(&call, buffers, sampling.batch_ns, replies)?;
        let calls = batch(estimate, sampling.batch_ns);
        let mut samples = Vec::new();
        let mut spent = 0.0;
        while samples.len() < sampling.max_samples
            && (samples.len() < sampling.min_samples || spent < sampling.budget_ns)
        {
            send(replies, &Reply::Calling { expected_ns: estimate * f64::from(calls) })?;
            let sample = run(&call, calls)?;
            samples.push(sample);
            spent += sample * f64::from(calls);
            let hopeless = sampling.hopeless_ns.is_some_and(|limit| samples.iter().all(|&sample| sample > limit));
            if hopeless && samples.len() >= 3 {
                break;
            }
        }
        send(replies, &Reply::Called)?;
        Ok(Reply::Samples(samples))
    }

    /// Calls until caches and predictors have settled, checks what was computed into poisoned outputs, and estimates
    /// one call's time.
    fn warm_up(
        &self,
        call: &Call<'_>,
        buffers: &mut [Guarded],
        batch_ns: f64,
        replies: &mut impl Write,
    ) -> Result<f64, Fault> {
        for (argument, buffer) in self.setup.arguments.iter().zip(buffers.iter_mut()) {
            if argument.output {
                buffer.bytes_mut().fill(POISON[0]);
            }
        }
        let mut estimate = f64::INFINITY;
        let mut spent = 0.0;
        let mut calls = 0;
        while calls < 2 || (spent < batch_ns && calls < 1000) {
            let expected_ns = if estimate.is_finite() { estimate } else { 0.0 };
            send(replies, &Reply::Calling { expected_ns })?;
            let sample = run(call, 1)?;
            estimate = estimate.min(sample);
            spent += sample;
            calls += 1;
        }
        send(replies, &Reply::Called)?;
        self.compare_outputs(call.id, 0, buffers)?;
        Ok(estimate)
    }

    fn compare(
        &self,
        ids: &[u64],
        rounds: usize,
        batch_ns: f64,
        buffers: &mut [Guarded],
        replies: &mut impl Write,
    ) -> Result<Reply, Fault> {
        let mut entries = Vec::with_capacity(ids.len());
        for &id in ids {
            let call = self.call(id, self.kernel(id)?, buffers, Align::Start)?;
            let estimate = self.warm_up(&call, buffers, batch_ns, replies)?;
            entries.push((call, estimate));
        }
        let mut samples = vec![Vec::with_capacity(rounds); ids.len()];
        for round in 0..rounds {
            for turn in 0..entries.len() {
                let at = (round + turn) % entries.len();
                let (call, estimate) = &entries[at];
                let calls = batch(*estimate, batch_ns);
                send(replies, &Reply::Calling { expected_ns: estimate * f64::from(calls + 1) })?;
                // The predecessor left its own data in the caches: one call is not counted.
                run(call, 1)?;
                samples[at].push(run(call, calls)?);
            }
        }
        send(replies, &Reply::Called)?;
        Ok(Reply::Rounds(samples))
    }

    /// A kernel on these buffers, with a fresh poisoned workspace.
    fn call<'k>(&self, id: u64, kernel: &'k Kernel, buffers: &[Guarded], align: Align) -> io::Result<Call<'k>> {
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

    fn kernel(&self, id: u64) -> io::Result<&Kernel> {
        self.kernels.get(&id).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no kernel {id}")))
    }

    fn timing_buffers(&mut self) -> io::Result<Vec<Guarded>> {
        match self.timing.take() {
            Some(buffers) => Ok(buffers),
            None => self.buffers(0, false),
        }
    }

    /// Fresh buffers with the inputs of a set; outputs poisoned, differently in each set.
    fn buffers(&self, set: usize, checked: bool) -> io::Result<Vec<Guarded>> {
        let poison = POISON[set % POISON.len()];
        let mut buffers = Vec::with_capacity(self.setup.arguments.len());
        for (argument, place) in self.setup.arguments.iter().zip(&self.setup.sets[set]) {
            let align = if checked { Align::End(argument.dtype.bytes()) } else { Align::Start };
            let mut buffer = Guarded::new(argument.bytes(), align)?;
            match *place {
                Place::Input(offset) => {
                    self.data.read_exact_at(buffer.bytes_mut(), offset)?;
                    buffer.make_read_only()?;
                }
                Place::Exact(_) | Place::Bounded { .. } => buffer.bytes_mut().fill(poison),
            }
            buffers.push(buffer);
        }
        Ok(buffers)
    }

    /// The largest error of an element as a fraction of its bound.
    fn compare_outputs(&self, id: u64, set: usize, buffers: &[Guarded]) -> Result<f64, Wrong> {
        let mut worst = 0.0_f64;
        for (index, (argument, buffer)) in self.setup.arguments.iter().zip(buffers).enumerate() {
            let Some(expected) = self.expected.get(&(set, index)) else { continue };
            worst = worst.max(compare_output(id, set, argument, buffer.bytes(), expected)?);
        }
        Ok(worst)
    }
}

/// Why a request about a kernel has no result.
enum Fault {
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

/// Calls so often that a sample takes `batch_ns`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 1 ..= 1e6")]
fn batch(estimate_ns: f64, batch_ns: f64) -> u32 {
    (batch_ns / estimate_ns.max(1.0)).ceil().clamp(1.0, 1e6) as u32
}

/// Calls a kernel `calls` times; the mean time of one, in nanoseconds.
fn run(call: &Call<'_>, calls: u32) -> Result<f64, Wrong> {
    let entry = call.kernel.code.entry();
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
struct Call<'k> {
    id: u64,
    kernel: &'k Kernel,
    inputs: Vec<*const c_void>,
    outputs: Vec<*mut c_void>,
    workspace: Guarded,
}

fn nanoseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e9
}

fn compare_output(id: u64, set: usize, argument: &Argument, bytes: &[u8], expected: &Expected) -> Result<f64, Wrong> {
    let wrong = |index: usize, expected: f64, bound: f64| Wrong::Element {
        id,
        output: argument.name.clone(),
        set,
        index,
        got: format!("{:e}", element(argument.dtype, bytes, index)),
        expected: format!("{expected:e}"),
        bound: format!("{bound:e}"),
    };
    match expected {
        Expected::Exact(reference) => {
            let size = argument.dtype.bytes();
            let differs = (0..argument.len).find(|&at| {
                let (got, want) = (&bytes[at * size..(at + 1) * size], &reference[at * size..(at + 1) * size]);
                // Any NaN answers a NaN.
                got != want
                    && !(element(argument.dtype, bytes, at).is_nan() && element(argument.dtype, reference, at).is_nan())
            });
            match differs {
                Some(at) => Err(wrong(at, element(argument.dtype, reference, at), 0.0)),
                None => Ok(0.0),
            }
        }
        Expected::Bounded { values, bounds } => {
            let mut worst = 0.0_f64;
            let mut worst_at = 0;
            for (at, (&value, &bound)) in values.iter().zip(bounds).enumerate() {
                let fraction = error_fraction(element(argument.dtype, bytes, at), value, bound);
                if fraction > worst {
                    (worst, worst_at) = (fraction, at);
                }
            }
            if worst > 1.0 { Err(wrong(worst_at, values[worst_at], bounds[worst_at])) } else { Ok(worst) }
        }
    }
}

/// How far `got` is from `value`, in units of `bound`; at most 1 is right. NaN answers NaN only, an infinity itself
/// only, unless the bound is itself infinite.
fn error_fraction(got: f64, value: f64, bound: f64) -> f64 {
    if value.is_nan() || got.is_nan() {
        return if value.is_nan() && got.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if got.to_bits() == value.to_bits() || got == value || bound == f64::INFINITY {
        return 0.0;
    }
    let fraction = (got - value).abs() / bound;
    if fraction.is_nan() { f64::INFINITY } else { fraction }
}

/// Element `at` as f64 (rounded, for large i64: used in messages and for floats only).
#[expect(clippy::cast_precision_loss, reason = "an i64 is only shown")]
fn element(dtype: DType, bytes: &[u8], at: usize) -> f64 {
    let size = dtype.bytes();
    let mut wide = [0_u8; 8];
    wide[..size].copy_from_slice(&bytes[at * size..(at + 1) * size]);
    let bits = u64::from_le_bytes(wide);
    let [a, b, c, d, ..] = wide;
    match dtype {
        DType::Bool | DType::U8 => f64::from(a),
        DType::I8 => f64::from(i8::from_le_bytes([a])),
        DType::I16 => f64::from(i16::from_le_bytes([a, b])),
        DType::I32 => f64::from(i32::from_le_bytes([a, b, c, d])),
        DType::I64 => i64::from_le_bytes(wide) as f64,
        DType::F16 => half(u16::from_le_bytes([a, b])),
        DType::BF16 => f64::from(f32::from_bits(u32::from(u16::from_le_bytes([a, b])) << 16)),
        DType::F32 => f64::from(f32::from_bits(u32::from_le_bytes([a, b, c, d]))),
        DType::F64 => f64::from_bits(bits),
    }
}

/// IEEE binary16 as f64.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f64::from(bits & 0x3ff) / 1024.0;
    sign * match exponent {
        0 => fraction * 2_f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction) * 2_f64.powi(exponent - 15),
    }
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

#[cfg(test)]
mod tests {
    use super::error_fraction;

    #[test]
    fn a_wrong_special_value_is_never_within_bounds() {
        assert_eq!(error_fraction(f64::NAN, 1.0, 10.0), f64::INFINITY);
        assert_eq!(error_fraction(1.0, f64::NAN, 10.0), f64::INFINITY);
        assert_eq!(error_fraction(f64::NAN, f64::NAN, 0.0), 0.0);
        assert_eq!(error_fraction(f64::INFINITY, f64::NEG_INFINITY, 1.0), f64::INFINITY);
        assert_eq!(error_fraction(1.0, 1.0, 0.0), 0.0);
        assert_eq!(error_fraction(1.5, 1.0, 1.0), 0.5);
        assert_eq!(error_fraction(1.5, 1.0, 0.0), f64::INFINITY);
        assert_eq!(error_fraction(1.5, f64::INFINITY, 1.0), f64::INFINITY);
    }
}
