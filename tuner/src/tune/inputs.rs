//! The sets of inputs that candidates run on, with their references.
//!
//! Input: the program and its source form, real inputs if there are any. Output: data for the workers. References are
//! computed on a thread of their own.

use super::config::TuneConfig;
use super::error::TuneError;
use super::observer::Reporter;
use crate::measure::{InputData, InputSet};
use crate::preflight::another_set_fits;
use crate::reference::references;
use moat_optimizer::forms::DerivedForm;
use moat_optimizer::oracle::inputs::{self, Density};
use moat_optimizer::program::expr::Program;
use moat_optimizer::storage::Schedulable;
use moat_optimizer::value::tensor::Tensor;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The set with special values.
const SPECIAL_SET: u64 = 2;

/// A reference that takes longer than this is computed for one set of inputs.
const LONG_REFERENCE: Duration = Duration::from_secs(20);

/// Sets of inputs with their references: real ones first, if there are any, then random ones, and some with special values
/// among them, for checking alone. Where a program has an error of its own on special values, there are none.
pub(super) fn input_data(
    program: &Program,
    forms: &[DerivedForm],
    config: &TuneConfig,
    reporter: &mut Reporter<'_>,
) -> Result<InputData, TuneError> {
    let mut data = InputData::new().map_err(|reason| TuneError::Data { reason })?;
    // Without parameters, every set is the same.
    let sets = if program.params.is_empty() { 1 } else { 3 };
    let started = Instant::now();
    for set in 0..sets {
        if set > 0 && started.elapsed() > LONG_REFERENCE {
            break;
        }
        if set > 0 && !another_set_fits(program, config.numerics) {
            reporter.note("memory is short: candidates are checked on fewer sets of inputs than three");
            break;
        }
        let seed = config.seed.wrapping_add(set);
        let draw = |param| {
            if set == SPECIAL_SET { inputs::special(param, seed, Density::Few) } else { inputs::random(param, seed) }
        };
        let inputs = match &config.inputs {
            Some(inputs) if set == 0 => inputs.clone(),
            Some(_) | None => program.params.iter().map(draw).collect::<Result<Vec<_>, _>>()?,
        };
        let Some(source) = forms.first() else { break };
        let found = match in_background(program, &source.form, inputs, config, reporter) {
            Err(TuneError::Interpret(_)) if set == SPECIAL_SET => break,
            found => found?,
        };
        data.push(found).map_err(|reason| TuneError::Data { reason })?;
    }
    Ok(data)
}

/// Inputs with their references, which a thread of its own computes: a person who interrupts does not wait for it.
fn in_background(
    program: &Program,
    source: &Schedulable,
    inputs: Vec<Tensor>,
    config: &TuneConfig,
    reporter: &mut Reporter<'_>,
) -> Result<InputSet, TuneError> {
    /// How long nothing is said.
    const SILENCE: Duration = Duration::from_secs(10);
    let (sender, receiver) = mpsc::channel();
    let (program, source, target) = (program.clone(), source.clone(), config.target.clone());
    let numerics = config.numerics;
    std::thread::spawn(move || {
        let found = references(&program, &source, &inputs, numerics, &target);
        // Nobody listens any more after an interrupt.
        let _ = sender.send(found.map(|references| InputSet { inputs, references }));
    });
    let started = Instant::now();
    let mut said = 0;
    loop {
        match receiver.recv_timeout(Duration::from_millis(50)) {
            Ok(found) => return Ok(found?),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(TuneError::Data { reason: std::io::Error::other("the reference was not computed") });
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if reporter.interrupts.stopped() {
            return Err(TuneError::Interrupted { why: reporter.interrupts.reason() });
        }
        let silent = started.elapsed().as_secs() / SILENCE.as_secs();
        if silent > said {
            said = silent;
            reporter.observer.phase(&format!("computing references ({} s)", started.elapsed().as_secs()));
        }
    }
}
