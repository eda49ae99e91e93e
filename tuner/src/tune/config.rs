//! What a run of the tuner is asked to do.

use moat_optimizer::nest::target::Target;
use moat_optimizer::value::dtype::Literal;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::Tensor;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What to do.
#[derive(Clone, Debug)]
pub struct TuneConfig {
    /// Name of the kernel's folder and files.
    pub stem: String,
    /// The most trials, the default included.
    pub trials: usize,
    /// Threads of the kernel.
    pub threads: usize,
    /// How far floating-point results may differ from the source program's.
    pub numerics: Numerics,
    /// Overridden module constants, for the record.
    pub lets: BTreeMap<String, Literal>,
    /// Real inputs: one of the input sets; the others are random.
    pub inputs: Option<Vec<Tensor>>,
    /// Of random inputs and of the search.
    pub seed: u64,
    /// Directory of the kernels' folders.
    pub out: PathBuf,
    /// The program and its arguments that make it a worker.
    pub worker: Vec<PathBuf>,
    /// The machine.
    pub target: Target,
}
