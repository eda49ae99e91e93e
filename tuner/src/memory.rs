//! How much memory a run takes, and how much there is: asked before anything is allocated.
//!
//! Input: a program's shapes; what the system says of itself. Output: bytes. Nothing is allocated here.

use moat_optimizer::oracle::interpret::peak;
use moat_optimizer::program::expr::{InputHint, NodeId, Program};
use moat_optimizer::value::numerics::Numerics;
use std::path::Path;

/// What a process of this kind takes besides arrays: code, LLVM, rules, forms.
const PROGRAM_BYTES: u64 = 256 << 20;

/// What a program's arrays take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// One set of inputs, and the results.
    pub arguments: u64,
    /// The largest of them.
    pub largest_argument: u64,
    /// The interpreter, at most, with one set of inputs.
    pub interpreter: u64,
    /// One set of inputs with its references, as workers read it.
    pub set: u64,
    /// The node with the largest array.
    pub largest: Option<NodeId>,
}

impl Need {
    /// From the shapes alone.
    pub fn of(program: &Program, numerics: Numerics) -> Need {
        let elements = |shape: &[usize]| shape.iter().fold(1_u64, |all, &extent| all.saturating_mul(extent as u64));
        let (mut inputs, mut making, mut largest) = (0_u64, 0_u64, 0_u64);
        for param in &program.params {
            let own = elements(&param.shape).saturating_mul(param.dtype.bytes() as u64);
            (inputs, largest) = (inputs.saturating_add(own), largest.max(own));
            // A product of matrices in f64 is behind each that is positive definite.
            if param.hint == InputHint::Spd {
                making = making.max(elements(&param.shape).saturating_mul(32));
            }
        }
        let (mut results, mut references) = (0_u64, 0_u64);
        for &root in program.results() {
            let node = &program.nodes[root];
            let (size, own) = (elements(&node.shape), node.dtype.bytes() as u64);
            results = results.saturating_add(size.saturating_mul(own));
            largest = largest.max(size.saturating_mul(own));
            references = references.saturating_add(size.saturating_mul(own + 16));
        }
        let peak = peak(program, numerics);
        // The plain kernel of a program with loops runs on two sets.
        let plain = if program.body.is_empty() { 0 } else { inputs.saturating_add(results.saturating_mul(2)) };
        Need {
            arguments: inputs.saturating_add(results),
            largest_argument: largest,
            interpreter: inputs.saturating_add(making.max(peak.bytes).saturating_add(plain)),
            set: inputs.saturating_add(references),
            largest: peak.largest,
        }
    }

    /// At once, while the references of the last of so many sets are computed, or kernels are measured: in guarded buffers
    /// and in those for timing.
    pub fn to_tune(&self, sets: u64) -> u64 {
        let before = self.set.saturating_mul(sets.saturating_sub(1)).saturating_add(self.interpreter.max(self.set));
        let measuring = self.set.saturating_mul(sets).saturating_add(self.arguments.saturating_mul(2));
        before.max(measuring).saturating_add(PROGRAM_BYTES)
    }

    /// At once, while a kernel runs on arrays and copies of them, or is compared with the interpreter.
    pub fn to_run(&self, check: bool) -> u64 {
        let calling = self.arguments.saturating_mul(2).saturating_add(self.largest_argument);
        let interpreter = if check { self.interpreter } else { 0 };
        calling.max(self.arguments.saturating_add(interpreter)).saturating_add(PROGRAM_BYTES)
    }
}

/// Bytes that this process and its children may still take: what the machine has, this process's control group, and its
/// own limit allow. `None` if nothing says so.
pub fn available() -> Option<u64> {
    [machine(), control_group(), address_space()].into_iter().flatten().min()
}

/// What can be had without taking it from somebody, swap included.
fn machine() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let field = |name: &str| kilobytes(&text, name);
    Some(field("MemAvailable:")?.saturating_add(field("SwapFree:").unwrap_or(0)))
}

/// The tightest limit of the groups around this process.
fn control_group() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let number = |path: &Path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let mut least: Option<u64> = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(kinds), Some(own)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (root, limit, used) = match kinds {
            "" => ("/sys/fs/cgroup", "memory.max", "memory.current"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
            _ => continue,
        };
        for group in Path::new(own).ancestors() {
            let place = Path::new(root).join(group.strip_prefix("/").unwrap_or(group));
            if let (Some(limit), Some(used)) = (number(&place.join(limit)), number(&place.join(used))) {
                // Pages of files that nobody uses go first.
                let statistics = std::fs::read_to_string(place.join("memory.stat")).unwrap_or_default();
                let files = statistics.lines().find_map(|line| line.strip_prefix("inactive_file ")?.parse().ok());
                let left = limit.saturating_sub(used.saturating_sub(files.unwrap_or(0)));
                least = Some(least.map_or(left, |least| least.min(left)));
            }
        }
    }
    least
}

fn address_space() -> Option<u64> {
    use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
    let (limit, _) = getrlimit(Resource::RLIMIT_AS).ok()?;
    if limit == RLIM_INFINITY {
        return None;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    Some(limit.saturating_sub(kilobytes(&status, "VmSize:").unwrap_or(0)))
}

/// A field `Name:   123 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// `4.00 GiB`, `12 MiB`.
pub fn in_words(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        0..0x10_0000 => format!("{:.0} KiB", (value / 1024.0).ceil()),
        0x10_0000..0x4000_0000 => format!("{:.0} MiB", value / f64::from(1 << 20)),
        0x4000_0000.. => format!("{:.1} GiB", value / f64::from(1 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Need, available, in_words};
    use moat_optimizer::frontend::{ParseOptions, parse};
    use moat_optimizer::value::numerics::Numerics;

    #[test]
    fn a_need_grows_with_the_shapes_and_never_overflows() {
        let need = |n: u64| {
            let source = format!("def f(x: f32[{n}]):\n    return x + 1\n");
            Need::of(&parse("f.py", &source, &ParseOptions::default()).unwrap().program, Numerics::Reassociate)
        };
        let (small, large) = (need(1 << 20), need(1 << 30));
        assert_eq!(small.arguments, 8 << 20);
        assert_eq!(small.set, (4 + 4 + 16) << 20);
        assert!(large.to_tune(2) - small.to_tune(2) > 1000 * small.set && large.to_run(true) > large.to_run(false));
        assert!(need(1 << 40).to_tune(u64::MAX) == u64::MAX, "saturated");
        assert!(available().is_none_or(|bytes| bytes > 0));
        assert_eq!([in_words(1), in_words(3 << 20), in_words(5 << 29)], ["1 KiB", "3 MiB", "2.5 GiB"]);
    }
}
