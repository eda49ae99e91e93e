//! A table of the loop nests of the bundled workloads, one hash each: whatever is moved or renamed, they stay the same.
//!
//! A line is a workload, the numerics, a form, a schedule, and the SHA-256 of the nest's text. The
//! schedules are the default and three by seed, for one machine that is written down here.

use crate::machine::target;
use crate::pipeline::forms;
use crate::seeded::Seeded;
use crate::workloads;
use moat_optimizer::apply::apply;
use moat_optimizer::form::normal_form::NormalForm;
use moat_optimizer::frontend::{ParseOptions, parse};
use moat_optimizer::nest::print::display;
use moat_optimizer::space::ScheduleSpace;
use moat_optimizer::storage::accept;
use moat_optimizer::value::numerics::Numerics;
use moat_rules::schedule_rules::ScheduleRules;
use moat_rules::{RuleBase, hexadecimal};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Schedules of a form besides the default.
const SEEDS: u64 = 3;

/// The name of a workload in the table: that of its file below the folder of the workloads.
fn name(file: &Path) -> Option<String> {
    let own = file.file_name()?.to_str()?;
    let is_polybench = file.parent()?.ends_with("polybench");
    Some(if is_polybench { format!("polybench/{own}") } else { own.to_owned() })
}

/// The lines of one workload.
///
/// # Errors
/// If the workload has no nest: a message for a person.
pub fn of(file: &Path, rules: &RuleBase) -> Result<String, String> {
    let name = name(file).ok_or("a workload without a name")?;
    let source = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let program = parse(&name, &source, &ParseOptions::default()).map_err(|errors| errors.to_string())?.program;
    let mut lines = String::new();
    for numerics in [Numerics::Exact, Numerics::Reassociate, Numerics::Algebraic] {
        let forms = forms(&program, rules, numerics, 8).map_err(|error| error.to_string())?;
        for (number, form) in forms.iter().enumerate() {
            let form = &form.form;
            accept(NormalForm::clone(form)).map_err(|error| format!("{name}: a settled form: {error}"))?;
            let space = ScheduleSpace::new(form, &target(), &ScheduleRules::standard(), numerics, 1);
            let space = space.map_err(|error| error.to_string())?;
            let by_seed = (0..SEEDS).map(|seed| (format!("seed {seed}"), space.sample(&mut Seeded::new(seed))));
            for (schedule_name, schedule) in std::iter::once(("default".to_owned(), space.default())).chain(by_seed) {
                let nest = apply(form, &schedule).map_err(|error| error.to_string())?;
                let hash = hexadecimal(&Sha256::digest(display(&nest)));
                let _ = writeln!(lines, "{name} {numerics} form {number} {schedule_name}: {hash}");
            }
        }
    }
    Ok(lines)
}

/// Where the table lies.
pub fn place() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("nest_hashes.txt")
}

/// The table as it is now.
///
/// # Errors
/// If a workload has no nest: its name and a message for a person.
pub fn table() -> Result<String, String> {
    let folders = [workloads::bundled(), workloads::polybench()];
    let mut files = folders.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?.concat();
    files.sort();
    let rules = RuleBase::standard().map_err(|error| error.to_string())?;
    let next = AtomicUsize::new(0);
    let found = Mutex::new(BTreeMap::new());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let lines = of(file, &rules).map_err(|message| format!("{}: {message}", file.display()));
                    found.lock().unwrap_or_else(PoisonError::into_inner).insert(file, lines);
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// What stands in one table and not in the other: lines that begin with `-` for the old one and with `+` for the new one.
pub fn difference(old: &str, new: &str) -> String {
    let (before, after): (BTreeSet<&str>, BTreeSet<&str>) = (old.lines().collect(), new.lines().collect());
    let gone = before.difference(&after).map(|line| format!("-{line}\n"));
    let come = after.difference(&before).map(|line| format!("+{line}\n"));
    gone.chain(come).collect()
}
