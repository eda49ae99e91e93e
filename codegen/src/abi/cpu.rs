//! Whether this CPU can run the kernel: the instruction sets that are looked for, and the function that looks.
//!
//! Input: the target's feature string. Output: the text of `<f>_cpu_supported`, for the baseline of the architecture.

use super::interface::Interface;
use std::collections::BTreeMap;
use std::fmt::Write;

/// An instruction set, and where `cpuid` says whether there is one.
struct Feature {
    /// LLVM's name.
    name: &'static str,
    leaf: u32,
    subleaf: u32,
    /// Number of the register that holds the answer.
    register: usize,
    bit: u32,
    /// Bits of XCR0 by which the operating system says that it saves the registers.
    state: u32,
}

/// Registers by number, as `cpuid` fills them.
const EAX: usize = 0;
const EBX: usize = 1;
const ECX: usize = 2;
const EDX: usize = 3;

/// Registers that the operating system saves: none beyond the baseline's, those of 32 bytes, and those of 64.
const NONE: u32 = 0;
const AVX: u32 = 6;
const AVX512: u32 = 0xe6;

/// The first of the extended leaves.
const EXTENDED: u32 = 0x8000_0000;
/// The one of them that is looked at.
const EXTENDED_FEATURES: u32 = EXTENDED + 1;
/// Without this bit of leaf 1's ECX `xgetbv` is an invalid instruction.
const OSXSAVE: u32 = 27;

const fn feature(name: &'static str, leaf: u32, subleaf: u32, register: usize, bit: u32, state: u32) -> Feature {
    Feature { name, leaf, subleaf, register, bit, state }
}

/// Everything that LLVM's code for loops of arithmetic may use beyond x86-64's baseline.
const X86_FEATURES: [Feature; 34] = [
    feature("sse3", 1, 0, ECX, 0, NONE),
    feature("ssse3", 1, 0, ECX, 9, NONE),
    feature("fma", 1, 0, ECX, 12, AVX),
    feature("sse4.1", 1, 0, ECX, 19, NONE),
    feature("sse4.2", 1, 0, ECX, 20, NONE),
    feature("movbe", 1, 0, ECX, 22, NONE),
    feature("popcnt", 1, 0, ECX, 23, NONE),
    feature("avx", 1, 0, ECX, 28, AVX),
    feature("f16c", 1, 0, ECX, 29, AVX),
    feature("bmi", 7, 0, EBX, 3, NONE),
    feature("avx2", 7, 0, EBX, 5, AVX),
    feature("bmi2", 7, 0, EBX, 8, NONE),
    feature("avx512f", 7, 0, EBX, 16, AVX512),
    feature("avx512dq", 7, 0, EBX, 17, AVX512),
    feature("adx", 7, 0, EBX, 19, NONE),
    feature("avx512ifma", 7, 0, EBX, 21, AVX512),
    feature("avx512cd", 7, 0, EBX, 28, AVX512),
    feature("avx512bw", 7, 0, EBX, 30, AVX512),
    feature("avx512vl", 7, 0, EBX, 31, AVX512),
    feature("avx512vbmi", 7, 0, ECX, 1, AVX512),
    feature("avx512vbmi2", 7, 0, ECX, 6, AVX512),
    feature("gfni", 7, 0, ECX, 8, NONE),
    feature("avx512vnni", 7, 0, ECX, 11, AVX512),
    feature("avx512bitalg", 7, 0, ECX, 12, AVX512),
    feature("avx512vpopcntdq", 7, 0, ECX, 14, AVX512),
    feature("avx512vp2intersect", 7, 0, EDX, 8, AVX512),
    feature("avx512fp16", 7, 0, EDX, 23, AVX512),
    feature("avxvnni", 7, 1, EAX, 4, AVX),
    feature("avx512bf16", 7, 1, EAX, 5, AVX512),
    feature("avxifma", 7, 1, EAX, 23, AVX),
    feature("avxvnniint8", 7, 1, EDX, 4, AVX),
    feature("avxneconvert", 7, 1, EDX, 5, AVX),
    feature("lzcnt", EXTENDED_FEATURES, 0, ECX, 5, NONE),
    feature("fma4", EXTENDED_FEATURES, 0, ECX, 16, AVX),
];

/// The features of an LLVM feature string that a machine is checked for, in the string's order.
pub fn checked_features(features: &str) -> Vec<&'static str> {
    let named = features.split(',').filter_map(|entry| entry.trim().strip_prefix('+'));
    named.filter_map(|name| X86_FEATURES.iter().find(|known| known.name == name).map(|known| known.name)).collect()
}

/// Writes `<f>_cpu_supported` for x86-64: `cpuid` once, for it traps to the host under a hypervisor, then a cached
/// answer. Two threads may both ask; they find the same.
pub(super) fn write_check(text: &mut String, interface: &Interface, features: &str) {
    let needs = Needs::of(features);
    if needs.leaves.is_empty() {
        return write_always(text, interface);
    }
    let _ = writeln!(text, "@moat.cpu = internal global i32 0");
    write_detection(text, &needs);
    let _ = writeln!(
        text,
        r#"define i32 @"{}"() #0 {{
entry:
  %known = load atomic i32, ptr @moat.cpu monotonic, align 4
  %asked = icmp ne i32 %known, 0
  br i1 %asked, label %answer, label %ask
ask:
  %supported = call i1 @moat.detect_cpu()
  %found = select i1 %supported, i32 1, i32 2
  store atomic i32 %found, ptr @moat.cpu monotonic, align 4
  br label %answer
answer:
  %state = phi i32 [ %known, %entry ], [ %found, %ask ]
  %good = icmp eq i32 %state, 1
  %result = zext i1 %good to i32
  ret i32 %result
}}
"#,
        interface.cpu_supported_symbol()
    );
}

/// Writes `<f>_cpu_supported` for a kernel that any machine of the architecture can run.
pub(super) fn write_always(text: &mut String, interface: &Interface) {
    let _ = writeln!(text, "define i32 @\"{}\"() #0 {{\n  ret i32 1\n}}\n", interface.cpu_supported_symbol());
}

/// What a kernel needs of a CPU.
struct Needs {
    /// By leaf and subleaf: the bits of each register that have to be set.
    leaves: BTreeMap<(u32, u32), [u32; 4]>,
    /// The bits of XCR0.
    saved: u32,
}

impl Needs {
    fn of(features: &str) -> Needs {
        let names = checked_features(features);
        let mut needs = Needs { leaves: BTreeMap::new(), saved: NONE };
        for known in X86_FEATURES.iter().filter(|known| names.contains(&known.name)) {
            needs.leaves.entry((known.leaf, known.subleaf)).or_default()[known.register] |= 1 << known.bit;
            needs.saved |= known.state;
        }
        if needs.saved != NONE {
            needs.leaves.entry((1, 0)).or_default()[ECX] |= 1 << OSXSAVE;
        }
        needs
    }
}

/// The text of a function that goes on from one condition to the next, as long as they hold.
struct Steps<'t> {
    text: &'t mut String,
    count: usize,
}

impl Steps<'_> {
    /// A line of code.
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "  {line}");
    }

    /// Asks `cpuid` and names its answer.
    fn ask(&mut self, name: &str, leaf: u32, subleaf: u32) {
        self.line(&format!(
            "%{name} = call {{ i32, i32, i32, i32 }} asm sideeffect \"cpuid\", \
             \"={{ax}},={{bx}},={{cx}},={{dx}},{{ax}},{{cx}},~{{dirflag}},~{{fpsr}},~{{flags}}\"\
             (i32 {leaf}, i32 {subleaf})"
        ));
    }

    /// Goes on if `condition` holds, and ends with false otherwise.
    fn require(&mut self, condition: &str) {
        let step = self.count;
        let _ = writeln!(self.text, "  br i1 %{condition}, label %step{step}, label %missing\nstep{step}:");
        self.count += 1;
    }

    /// Requires that `cpuid` knows leaves up to `least`: the answer of leaf `leaf`, subleaf 0, says up to which.
    fn require_leaf(&mut self, suffix: &str, leaf: u32, least: u32) {
        self.ask(&format!("limit{suffix}"), leaf, 0);
        self.line(&format!("%highest{suffix} = extractvalue {{ i32, i32, i32, i32 }} %limit{suffix}, 0"));
        self.line(&format!("%enough{suffix} = icmp uge i32 %highest{suffix}, {least}"));
        self.require(&format!("enough{suffix}"));
    }

    /// Requires the bits `masks` of the registers that `cpuid` answers.
    fn require_bits(&mut self, leaf: u32, subleaf: u32, masks: &[u32; 4]) {
        let name = format!("leaf{leaf:x}.{subleaf}");
        self.ask(&name, leaf, subleaf);
        for (register, &mask) in masks.iter().enumerate().filter(|(_, mask)| **mask != 0) {
            self.line(&format!("%{name}.r{register} = extractvalue {{ i32, i32, i32, i32 }} %{name}, {register}"));
            self.line(&format!("%{name}.m{register} = and i32 %{name}.r{register}, {mask}"));
            self.line(&format!("%{name}.c{register} = icmp eq i32 %{name}.m{register}, {mask}"));
            self.require(&format!("{name}.c{register}"));
        }
    }

    /// Requires that the operating system saves registers.
    fn require_saved(&mut self, saved: u32) {
        self.line(
            "%xcr0 = call { i32, i32 } asm sideeffect \"xgetbv\", \
             \"={ax},={dx},{cx},~{dirflag},~{fpsr},~{flags}\"(i32 0)",
        );
        self.line("%xcr0.low = extractvalue { i32, i32 } %xcr0, 0");
        self.line(&format!("%saved = and i32 %xcr0.low, {saved}"));
        self.line(&format!("%all_saved = icmp eq i32 %saved, {saved}"));
        self.require("all_saved");
    }
}

/// Writes `moat.detect_cpu`, which asks the CPU.
fn write_detection(text: &mut String, needs: &Needs) {
    let leaves = || needs.leaves.keys().map(|&(leaf, _)| leaf);
    text.push_str("define internal i1 @moat.detect_cpu() #0 {\nentry:\n");
    let mut steps = Steps { text, count: 0 };
    steps.require_leaf("", 0, leaves().filter(|&leaf| leaf < EXTENDED).max().unwrap_or(0));
    if leaves().any(|leaf| leaf >= EXTENDED) {
        steps.require_leaf("_extended", EXTENDED, EXTENDED_FEATURES);
    }
    if needs.leaves.contains_key(&(7, 1)) {
        steps.require_leaf("_seven", 7, 1);
    }
    for (&(leaf, subleaf), masks) in &needs.leaves {
        steps.require_bits(leaf, subleaf, masks);
    }
    if needs.saved != NONE {
        steps.require_saved(needs.saved);
    }
    text.push_str("  ret i1 true\nmissing:\n  ret i1 false\n}\n\n");
}
