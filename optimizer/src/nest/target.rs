//! The machine a kernel is made for: facts only, no measurement here.

use serde::{Deserialize, Serialize};

/// What the schedule space and the code generator need to know about a machine. Detected and
/// measured by `tuner::machine`; written into every record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// LLVM triple, e.g. `x86_64-unknown-linux-gnu`.
    pub triple: String,
    /// LLVM's name of the CPU, e.g. `znver4`.
    pub cpu: String,
    /// LLVM feature string, e.g. `+avx2,+fma`.
    pub features: String,
    /// The maker's name of the CPU model.
    pub model: String,
    /// Cores that may be used.
    pub cores: usize,
    /// Width of a vector register in bytes (64 with AVX-512).
    pub vector_bytes: usize,
    /// Number of vector registers.
    pub vector_registers: usize,
    /// A masked load or store is one instruction (AVX-512, SVE).
    pub masks: bool,
    /// Data caches from L1 on: bytes that one core may count on at each level.
    pub cache_bytes: Vec<usize>,
    /// Bytes of a cache line.
    pub line_bytes: usize,
    /// Measured peak of fused multiply-adds on one core, in GFLOP/s, for f32; `None` before it was
    /// measured.
    pub peak_gflops_f32: Option<f64>,
    /// The same for f64.
    pub peak_gflops_f64: Option<f64>,
    /// Measured memory bandwidth of one core, triad, in GB/s.
    pub bandwidth_gb_s: Option<f64>,
    /// What a vector costs more that is stored 16 bytes past a cache line than one on it, in multiply-adds of a vector:
    /// measured, from next to nothing to some twenty.
    #[serde(default)]
    pub crossing_store: Option<f64>,
}

impl Target {
    /// Lanes of a vector of elements of `bytes` bytes, at least 1.
    pub fn lanes(&self, bytes: usize) -> usize {
        (self.vector_bytes / bytes).max(1)
    }
}
