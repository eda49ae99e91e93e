//! What the caller of the code generator says.

use moat_optimizer::nest::target::Target;
use moat_optimizer::value::numerics::Numerics;

/// What a kernel is compiled for.
#[derive(Clone, Debug, PartialEq)]
pub struct CompileOptions {
    /// The machine.
    pub target: Target,
    /// How far floating-point results may differ from the source program's.
    pub numerics: Numerics,
    /// Threads that parallel loops are divided among; with 1 there is no run-time library.
    pub threads: usize,
    /// The kernel's name; the raw entry is `<function>_raw`.
    pub function: String,
}

impl CompileOptions {
    /// The raw entry's symbol.
    pub fn raw_symbol(&self) -> String {
        format!("{}_raw", self.function)
    }
}
