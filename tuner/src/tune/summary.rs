//! How a run ended: its figures.

use crate::outcome::Outcome;
use crate::roof::Roof;
use crate::worker::disturbance::Disturbance;
use moat_optimizer::forms::DerivedForm;
use moat_optimizer::nest::work::Work;
use moat_optimizer::schedule::Schedule;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A kernel's final figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Trial in which it was measured first.
    pub trial: usize,
    /// Median of the final comparison, or of its trial if there was none.
    pub median_ns: f64,
    /// Interquartile range of the same samples.
    pub iqr_ns: f64,
    /// Their quartiles.
    pub quartiles_ns: (f64, f64),
    /// How many there were.
    pub samples: usize,
    /// Medians with the arguments so many bytes past a cache line, if they were moved.
    pub offset_ns: BTreeMap<usize, f64>,
    /// Median of calls after other work, which leaves nothing of the arguments in the caches, if there were any.
    pub cold_ns: Option<f64>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Trials made.
    pub trials: usize,
    /// How many ended how.
    pub outcomes: BTreeMap<Outcome, usize>,
    /// From the beginning of the run.
    pub seconds: f64,
    /// The default's figures, if it was measured.
    pub default: Option<Figure>,
    /// Those of what ships.
    pub shipped: Figure,
    /// The interval of the shipped kernel's time ratio to the default, if that was measured.
    pub interval: Option<(f64, f64)>,
    /// What other work did while it was compared with the default.
    pub disturbance: Disturbance,
    /// The form of what ships.
    pub form: DerivedForm,
    /// Its rank.
    pub form_index: usize,
    /// Its schedule.
    pub schedule: Schedule,
    /// Work of the executed nest.
    pub work: Work,
    /// Scalar operations of the program as written.
    pub source_flops: u64,
    /// The shipped kernel's roof.
    pub roof: Roof,
    /// The largest error of an element, as a fraction of its bound.
    pub error_fraction: f64,
    /// The folder with the kernel.
    pub kernel_dir: PathBuf,
    /// The run in the database.
    pub run_id: String,
    /// A person ended it.
    pub interrupted: bool,
    /// What a person should know: what was cut short, what was not recorded.
    pub notes: Vec<String>,
}
