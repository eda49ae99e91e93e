//! The folder of what ships: a kernel's files, with the record of how they came about.

use super::comparison::Verdict;
use super::config::TuneConfig;
use super::error::TuneError;
use super::identity::{derivation, workload_hash};
use super::summary::Figure;
use super::trials::Measured;
use moat_codegen::artifact::Linked;
use moat_optimizer::forms::DerivedForm;
use moat_optimizer::frontend::Workload;
use moat_rules::RuleBase;
use serde_json::json;
use std::path::PathBuf;

/// Writes the folder of what ships.
pub(super) fn write_kernel(
    workload: &Workload,
    config: &TuneConfig,
    winner: &Measured,
    form: &DerivedForm,
    verdict: &Verdict,
    rules: &RuleBase,
    linked: &Linked,
) -> Result<PathBuf, TuneError> {
    let time = |figure: &Figure| {
        json!({
            "median_ns": figure.median_ns,
            "iqr_ns": figure.iqr_ns,
            "quartiles_ns": figure.quartiles_ns,
            "samples": figure.samples,
            "offset_ns": figure.offset_ns,
            "cold_ns": figure.cold_ns,
        })
    };
    let metadata = json!({
        "function": workload.program.name,
        "workload": config.stem,
        "workload_hash": workload_hash(&workload.program),
        "rule_base_hash": rules.hash(),
        "numerics": config.numerics,
        "derivation": derivation(form),
        "form_index": winner.form,
        "normal_form": form.form,
        "schedule": winner.schedule,
        "target": config.target,
        "flops": winner.work.flops,
        "bytes": winner.work.bytes,
        "error_fraction": winner.end.error_fraction,
        "times": { "default": verdict.default.as_ref().map(time), "best": time(&verdict.shipped) },
        "disturbance": verdict.disturbance,
        "moat_version": env!("CARGO_PKG_VERSION"),
        "codegen_version": env!("MOAT_CODEGEN_VERSION"),
    });
    Ok(linked.write(&config.out, &metadata)?.folder)
}
