//! What this machine is and what it can do at best.
//!
//! The code generator says what the machine is ([`host_target`]); [`measure`] times fused multiply-adds in registers and a
//! triad in memory, with modules written for the vector width found. [`describe`] does both and keeps the figures in a
//! directory, by CPU model. Nothing here decides anything.
#![expect(unsafe_code, reason = "runs the two kernels that it writes itself")]

use crate::promotion::quantile;
use crate::worker::code::{Code, CodeOptions};
use moat_codegen::{host, host_target};
use moat_optimizer::nest::target::Target;
use moat_rules::hexadecimal;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ffi::c_void;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::ptr;
use std::time::Instant;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// One of the measuring kernels.
    #[error("cannot measure this machine's {what}: {reason}")]
    Kernel {
        /// Which figure.
        what: &'static str,
        /// LLVM's message.
        reason: String,
    },
    /// The file with earlier figures.
    #[error("cannot write {}: {reason}", path.display())]
    Cache {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
}

/// Measured figures of one core.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peaks {
    /// Fused multiply-adds on f32, in GFLOP/s.
    pub gflops_f32: f64,
    /// Fused multiply-adds on f64, in GFLOP/s.
    pub gflops_f64: f64,
    /// Triad from and to memory, in GB/s.
    pub bandwidth_gb_s: f64,
    /// What a vector costs more that is stored 16 bytes past a cache line, in multiply-adds of a vector.
    #[serde(default)]
    pub crossing_store: Option<f64>,
}

/// What is done about figures that are kept already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// They stand.
    Use,
    /// Measured once more, briefly: a peak is the best that was ever seen, and a machine under load shows less.
    Improve,
    /// They are replaced.
    Replace,
}

/// The machine with its figures: those kept in `directory` for this CPU, or measured now and kept.
///
/// # Errors
/// If a measuring kernel does not compile, or the figures cannot be kept.
pub fn describe(directory: &Path, kept: Kept) -> Result<Target, MachineError> {
    let mut target = host_target();
    let path = directory.join("machine").join(format!("{}.json", key(&target)));
    let known = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Peaks>(&bytes).ok());
    let peaks = match (known, kept) {
        (Some(peaks), Kept::Use) => peaks,
        (Some(peaks), Kept::Improve) => peaks.best_of(&measure(&target, BRIEF)?),
        (Some(_), Kept::Replace) | (None, _) => measure(&target, THOROUGH)?,
    };
    if known != Some(peaks) {
        keep(&path, &peaks).map_err(|reason| MachineError::Cache { path, reason })?;
    }
    target.peak_gflops_f32 = Some(peaks.gflops_f32);
    target.peak_gflops_f64 = Some(peaks.gflops_f64);
    target.bandwidth_gb_s = Some(peaks.bandwidth_gb_s);
    target.crossing_store = peaks.crossing_store;
    Ok(target)
}

impl Peaks {
    fn best_of(&self, other: &Peaks) -> Peaks {
        Peaks {
            gflops_f32: self.gflops_f32.max(other.gflops_f32),
            gflops_f64: self.gflops_f64.max(other.gflops_f64),
            bandwidth_gb_s: self.bandwidth_gb_s.max(other.bandwidth_gb_s),
            // A difference has no best: the one that was found first stands, for code depends on it.
            crossing_store: self.crossing_store.or(other.crossing_store),
        }
    }
}

fn keep(path: &Path, peaks: &Peaks) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    // Two processes may measure at once: each file appears whole.
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    std::fs::write(&draft, serde_json::to_vec_pretty(peaks)?)?;
    std::fs::rename(draft, path)
}

fn key(target: &Target) -> String {
    let text = format!("{}\n{}\n{}\n{}", target.triple, target.cpu, target.features, target.model);
    hexadecimal(&Sha256::digest(text.as_bytes())[..8])
}

/// The `threads` cores that a worker is pinned to: the last ones, since the first has most of the interrupts.
pub fn worker_cores(threads: usize) -> Vec<usize> {
    let cores = host::cores();
    cores[cores.len().saturating_sub(threads.max(1))..].to_vec()
}

/// Physical memory in bytes, where the system tells.
pub fn memory_bytes() -> Option<u64> {
    use nix::unistd::{SysconfVar, sysconf};
    let pages = sysconf(SysconfVar::_PHYS_PAGES).ok().flatten()?;
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten()?;
    u64::try_from(pages).ok()?.checked_mul(u64::try_from(page).ok()?)
}

/// Independent accumulators: more than latency times ports of any core known, fewer than there are registers.
const ACCUMULATORS: usize = 14;

/// Repetitions of each kernel that find the peak of a quiet machine.
pub const THOROUGH: usize = 30;
/// Repetitions that find it if it was missed before.
const BRIEF: usize = 8;

/// Times the kernels on one core, so often each.
///
/// # Errors
/// If one of them does not compile.
pub fn measure(target: &Target, repetitions: usize) -> Result<Peaks, MachineError> {
    pinned(|| {
        let gflops_f64 = fma_gflops(target, "double", 8, repetitions)?;
        Ok(Peaks {
            gflops_f32: fma_gflops(target, "float", 4, repetitions)?,
            gflops_f64,
            bandwidth_gb_s: triad_gb_s(target, repetitions)?,
            crossing_store: Some(crossing_store(target, gflops_f64, repetitions)?),
        })
    })
}

/// Runs `body` on the core that workers use, then anywhere again.
fn pinned<T>(body: impl FnOnce() -> T) -> T {
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this);
    let mut one = CpuSet::new();
    for core in worker_cores(1) {
        // A figure from an unpinned thread is less steady, not wrong.
        let _ = one.set(core);
    }
    let _ = sched_setaffinity(this, &one);
    let result = body();
    if let Ok(before) = before {
        let _ = sched_setaffinity(this, &before);
    }
    result
}

fn fma_gflops(target: &Target, element: &str, bytes: usize, repetitions: usize) -> Result<f64, MachineError> {
    let lanes = target.lanes(bytes);
    let iterations = 200_000_usize;
    let code = compile(target, &fma_module(element, lanes, iterations), "fma peak")?;
    let mut data = vec![0_u8; (ACCUMULATORS + 2) * lanes * bytes + 64];
    let operations = 2.0 * (iterations * ACCUMULATORS * lanes) as f64;
    let rate = |code: &Code, data: &mut Vec<u8>| {
        let start = Instant::now();
        // SAFETY: the module reads and writes `ACCUMULATORS + 2` vectors from the workspace, unaligned, and `data`
        // has that many.
        unsafe { code.entry()(ptr::null(), ptr::null(), data.as_mut_ptr().cast()) };
        operations / start.elapsed().as_secs_f64() / 1e9
    };
    Ok(best_rate(repetitions, || rate(&code, &mut data)))
}

/// The rate that a core reaches when nothing disturbs it: the upper decile, so that one odd clock reading does not
/// decide.
fn best_rate(repetitions: usize, mut run: impl FnMut() -> f64) -> f64 {
    for _ in 0..2 {
        run();
    }
    let rates: Vec<f64> = (0..repetitions).map(|_| run()).collect();
    quantile(&rates, 0.9)
}

/// `iterations` times: each of the accumulators multiplied by one vector and added to another.
fn fma_module(element: &str, lanes: usize, iterations: usize) -> String {
    let vector = format!("<{lanes} x {element}>");
    let suffix = if element == "float" { "f32" } else { "f64" };
    let intrinsic = format!("@llvm.fma.v{lanes}{suffix}");
    let mut text = format!("declare {vector} {intrinsic}({vector}, {vector}, {vector})\n");
    text.push_str("define i32 @kernel(ptr %inputs, ptr %outputs, ptr %data) {\nentry:\n");
    let slot = |text: &mut String, name: &str, at: usize| {
        let _ = writeln!(text, "  %p.{name} = getelementptr {vector}, ptr %data, i64 {at}");
        let _ = writeln!(text, "  %{name} = load {vector}, ptr %p.{name}, align 1");
    };
    slot(&mut text, "x", 0);
    slot(&mut text, "y", 1);
    for at in 0..ACCUMULATORS {
        slot(&mut text, &format!("a{at}"), at + 2);
    }
    text.push_str("  br label %loop\nloop:\n  %i = phi i64 [ 0, %entry ], [ %i.next, %loop ]\n");
    for at in 0..ACCUMULATORS {
        let _ = writeln!(text, "  %s{at} = phi {vector} [ %a{at}, %entry ], [ %n{at}, %loop ]");
    }
    for at in 0..ACCUMULATORS {
        let _ = writeln!(text, "  %n{at} = call {vector} {intrinsic}({vector} %x, {vector} %s{at}, {vector} %y)");
    }
    let _ = writeln!(text, "  %i.next = add i64 %i, 1\n  %more = icmp ult i64 %i.next, {iterations}");
    text.push_str("  br i1 %more, label %loop, label %exit\nexit:\n");
    for at in 0..ACCUMULATORS {
        let _ = writeln!(text, "  store {vector} %n{at}, ptr %p.a{at}, align 1");
    }
    text.push_str("  ret i32 0\n}\n");
    text
}

fn triad_gb_s(target: &Target, repetitions: usize) -> Result<f64, MachineError> {
    // Larger than any cache that the core can use, its siblings' shares included.
    let last_level = target.cache_bytes.last().copied().unwrap_or(4 << 20) * target.cores.max(1);
    let elements = (4 * last_level / 8).clamp(4 << 20, 64 << 20);
    let lanes = target.lanes(8);
    let code = compile(target, &triad_module(lanes, elements / lanes), "memory bandwidth")?;
    let mut arrays = [vec![0.0_f64; elements], vec![1.0; elements], vec![2.0; elements]];
    let [written, read @ ..] = &mut arrays;
    let inputs = read.each_ref().map(|array| array.as_ptr().cast::<c_void>());
    let outputs = [written.as_mut_ptr().cast::<c_void>()];
    let bytes = 3.0 * 8.0 * elements as f64;
    Ok(best_rate(repetitions, || {
        let start = Instant::now();
        // SAFETY: the module writes the output and reads the inputs, `elements` elements of each at most.
        unsafe { code.entry()(inputs.as_ptr(), outputs.as_ptr(), ptr::null_mut()) };
        bytes / start.elapsed().as_secs_f64() / 1e9
    }))
}

/// The time of a vector of the triad whose result lies 16 bytes past a line, less that of one on a line, in multiply-adds.
/// The result is twice as large as L2: what is stored line by line leaves it so, too.
fn crossing_store(target: &Target, gflops_f64: f64, repetitions: usize) -> Result<f64, MachineError> {
    let second_level = target.cache_bytes.get(1).or(target.cache_bytes.last()).copied().unwrap_or(1 << 20);
    let elements = (2 * second_level / 8).clamp(1 << 15, 1 << 20);
    let (lanes, line) = (target.lanes(8), target.line_bytes.max(8));
    let count = elements / lanes;
    let code = compile(target, &triad_module(lanes, count), "stores across lines")?;
    let mut arrays = [0.0, 1.0, 2.0].map(|value| vec![value; elements + line / 4]);
    let [written, read @ ..] = &mut arrays;
    // Elements up to the first line; there are as many more as two lines hold.
    let ahead = |array: &[f64]| array.as_ptr().addr().wrapping_neg() % line / 8;
    let inputs = read.each_ref().map(|array| array[ahead(array)..].as_ptr().cast::<c_void>());
    let begin = ahead(written);
    let mut vectors_per_ns = |past: usize| {
        let outputs = [written[begin + past / 8..].as_mut_ptr().cast::<c_void>()];
        let rate = || {
            let start = Instant::now();
            // SAFETY: the module writes the output and reads the inputs, `elements` elements of each at most, which begin
            // less than two lines after the arrays do.
            unsafe { code.entry()(inputs.as_ptr(), outputs.as_ptr(), ptr::null_mut()) };
            count as f64 / (start.elapsed().as_secs_f64() * 1e9)
        };
        best_rate(repetitions.max(BRIEF), rate)
    };
    let (on_a_line, past_it) = (vectors_per_ns(0), vectors_per_ns(16));
    let multiply_add_ns = 2.0 * lanes as f64 / gflops_f64;
    Ok(((1.0 / past_it - 1.0 / on_a_line) / multiply_add_ns).max(0.0))
}

/// `a[i] = b[i] + 3·c[i]` over `count` vectors.
fn triad_module(lanes: usize, count: usize) -> String {
    let vector = format!("<{lanes} x double>");
    let intrinsic = format!("@llvm.fma.v{lanes}f64");
    format!(
        "declare {vector} {intrinsic}({vector}, {vector}, {vector})
define i32 @kernel(ptr %inputs, ptr %outputs, ptr %workspace) {{
entry:
  %b = load ptr, ptr %inputs
  %c.slot = getelementptr ptr, ptr %inputs, i64 1
  %c = load ptr, ptr %c.slot
  %a = load ptr, ptr %outputs
  %one = insertelement {vector} poison, double 3.0, i64 0
  %three = shufflevector {vector} %one, {vector} poison, <{lanes} x i32> zeroinitializer
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i.next, %loop ]
  %pa = getelementptr {vector}, ptr %a, i64 %i
  %pb = getelementptr {vector}, ptr %b, i64 %i
  %pc = getelementptr {vector}, ptr %c, i64 %i
  %vb = load {vector}, ptr %pb, align 8
  %vc = load {vector}, ptr %pc, align 8
  %r = call {vector} {intrinsic}({vector} %three, {vector} %vc, {vector} %vb)
  store {vector} %r, ptr %pa, align 8
  %i.next = add i64 %i, 1
  %more = icmp ult i64 %i.next, {count}
  br i1 %more, label %loop, label %exit
exit:
  ret i32 0
}}
"
    )
}

fn compile(target: &Target, text: &str, what: &'static str) -> Result<Code, MachineError> {
    let options = CodeOptions {
        entry: "kernel",
        triple: &target.triple,
        cpu: &target.cpu,
        features: &target.features,
        passes: "",
    };
    Code::compile(text, &options).map_err(|reason| MachineError::Kernel { what, reason })
}

#[cfg(test)]
mod tests {
    use super::{THOROUGH, measure};
    use moat_codegen::host_target;

    #[test]
    fn the_peaks_are_those_of_vector_units() {
        let target = host_target();
        let peaks = measure(&target, THOROUGH).unwrap();
        // One core of any machine with vectors: well above what scalar code reaches, and f32 about twice f64.
        assert!(peaks.gflops_f32 > 8.0 && peaks.gflops_f32 < 2000.0, "{peaks:?}");
        assert!(peaks.gflops_f32 / peaks.gflops_f64 > 1.4, "{peaks:?}");
        assert!(peaks.bandwidth_gb_s > 1.0, "{peaks:?}");
        assert!(peaks.crossing_store.is_some_and(|slots| (0.0..200.0).contains(&slots)), "{peaks:?}");
    }
}
