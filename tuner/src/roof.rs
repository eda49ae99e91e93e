//! What a machine could do at best with some work: rates and fractions for people, nothing that decides.

use moat_optimizer::form::normal_form::NormalForm;
use moat_optimizer::nest::target::Target;
use moat_optimizer::nest::work::Work;
use moat_optimizer::value::dtype::DType;

/// The measured limits that apply to a workload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roof {
    gflops: Option<f64>,
    gb_s: Option<f64>,
    cache_bytes: usize,
}

/// A rate with its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// The number.
    pub value: f64,
    /// `GFLOP/s` or `GB/s`.
    pub unit: &'static str,
}

impl Roof {
    /// The roof over `form` with `threads` cores.
    pub fn new(target: &Target, form: &NormalForm, threads: usize) -> Roof {
        let cores = threads.clamp(1, target.cores.max(1)) as f64;
        let wide = form.defs.iter().any(|def| matches!(def.dtype, DType::F64 | DType::I64));
        let gflops = if wide { target.peak_gflops_f64 } else { target.peak_gflops_f32 };
        Roof {
            gflops: gflops.map(|peak| peak * cores),
            gb_s: target.bandwidth_gb_s.map(|bandwidth| bandwidth * cores),
            // The whole last level: alone, a core may use its siblings' share.
            cache_bytes: target.cache_bytes.last().copied().unwrap_or(0) * target.cores.max(1),
        }
    }

    /// The least time for `work`, in nanoseconds. Memory counts only where the arrays do not fit into the caches.
    pub fn least_ns(&self, work: Work) -> Option<f64> {
        let arithmetic = work.flops as f64 / self.gflops?;
        Some(self.memory_ns(work).map_or(arithmetic, |memory| arithmetic.max(memory)))
    }

    /// How near `ns` comes to the least time; 1 is at the roof.
    pub fn fraction(&self, work: Work, ns: f64) -> Option<f64> {
        self.least_ns(work).map(|least| least / ns).filter(|fraction| fraction.is_finite())
    }

    /// Operations per time, or bytes per time where memory is the limit.
    pub fn rate(&self, work: Work, ns: f64) -> Rate {
        let arithmetic = self.gflops.map(|peak| work.flops as f64 / peak);
        let memory_bound = work.flops == 0
            || matches!((arithmetic, self.memory_ns(work)), (Some(arithmetic), Some(memory)) if memory > arithmetic);
        if memory_bound {
            Rate { value: work.bytes as f64 / ns, unit: "GB/s" }
        } else {
            Rate { value: work.flops as f64 / ns, unit: "GFLOP/s" }
        }
    }

    fn memory_ns(&self, work: Work) -> Option<f64> {
        let beyond_caches = work.bytes > self.cache_bytes as u64;
        self.gb_s.filter(|_| beyond_caches).map(|bandwidth| work.bytes as f64 / bandwidth)
    }
}
