//! `moat db`: what the cost database holds.

use super::args::{DbArg, DbArgs, DbCommand};
use super::error::CliError;
use super::goal::Goal;
use super::text::time;
use crate::cost_db::{CostDb, default_directory};
use crate::outcome::Outcome;
use crate::row::{Row, Stage};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

pub(super) fn directory(arg: &DbArg) -> Result<PathBuf, CliError> {
    match &arg.db {
        Some(directory) => Ok(directory.clone()),
        None => Ok(default_directory()?),
    }
}

pub(super) fn run(args: &DbArgs, out: &mut impl Write) -> Result<Goal, CliError> {
    match &args.command {
        DbCommand::Path { db } => writeln!(out, "{}", directory(db)?.display())?,
        DbCommand::List { json, db } => list(&read(db)?, *json, out)?,
        DbCommand::Show { run, json, db } => return show(&read(db)?, run.as_deref(), *json, out),
    }
    Ok(Goal::Met)
}

fn read(db: &DbArg) -> Result<Vec<Row>, CliError> {
    let contents = CostDb::open(&directory(db)?)?.read()?;
    for warning in &contents.warnings {
        // A damaged file is worth a line, not the end of the list.
        let _ = writeln!(std::io::stderr(), "warning: {warning}");
    }
    Ok(contents.rows)
}

fn show(rows: &[Row], run: Option<&str>, json: bool, out: &mut impl Write) -> Result<Goal, CliError> {
    let run_id = match run {
        Some(prefix) => rows.iter().rev().find(|row| row.run_id.starts_with(prefix)),
        None => rows.last(),
    };
    let Some(run_id) = run_id.map(|row| row.run_id.as_str()) else {
        let _ = writeln!(std::io::stderr(), "no such run on record");
        return Ok(Goal::NotMet);
    };
    for row in rows.iter().filter(|row| row.run_id == run_id) {
        if json {
            writeln!(out, "{}", serde_json::to_string(row).map_err(std::io::Error::from)?)?;
            continue;
        }
        let time = row.median_ns.map_or_else(|| "-".to_owned(), time);
        let shipped = if row.shipped { "  shipped" } else { "" };
        writeln!(
            out,
            "{:<5} {:>4}  {:<14} {time:>10}  form {}{shipped}",
            row.stage, row.trial, row.outcome, row.form_index
        )?;
        if !row.detail.is_empty() {
            writeln!(out, "            {}", row.detail)?;
        }
    }
    Ok(Goal::Met)
}

/// What is said about one run.
struct Run<'a> {
    first: &'a Row,
    trials: usize,
    outcomes: BTreeMap<&'a str, usize>,
    default_ns: Option<f64>,
    best_ns: Option<f64>,
}

fn list(rows: &[Row], json: bool, out: &mut impl Write) -> Result<(), CliError> {
    let mut runs: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        runs.entry(&row.run_id).or_default().push(row);
    }
    if !json {
        if runs.is_empty() {
            writeln!(out, "no runs on record")?;
            return Ok(());
        }
        writeln!(
            out,
            "{:<16} {:<28} {:>6} {:>6} {:>12} {:>12} {:>8}  run",
            "recorded (UTC)", "workload:function", "trials", "failed", "default ms", "best ms", "threads"
        )?;
    }
    for rows in runs.into_values() {
        let Some(run) = summarise(&rows) else { continue };
        if json {
            writeln!(out, "{}", run.to_json())?;
        } else {
            let ms = |ns: Option<f64>| ns.map_or_else(|| "-".to_owned(), |ns| format!("{:.4}", ns / 1e6));
            let failed = run.trials - run.outcomes.get(Outcome::Measured.name()).copied().unwrap_or(0);
            writeln!(
                out,
                "{:<16} {:<28} {:>6} {:>6} {:>12} {:>12} {:>8}  {}",
                date(run.first.recorded_unix_ms),
                format!("{}:{}", run.first.workload, run.first.function),
                run.trials,
                failed,
                ms(run.default_ns),
                ms(run.best_ns),
                run.first.threads,
                run.first.run_id,
            )?;
        }
    }
    Ok(())
}

fn summarise<'a>(rows: &[&'a Row]) -> Option<Run<'a>> {
    let trials: Vec<&&Row> = rows.iter().filter(|row| row.stage == Stage::Trial.name()).collect();
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &trials {
        *outcomes.entry(row.outcome.as_str()).or_default() += 1;
    }
    // The re-measurement decides where there is one; a run that was killed has only its trials.
    let finals: Vec<&&Row> = rows.iter().filter(|row| row.stage == Stage::Final.name()).collect();
    let default_ns = finals
        .iter()
        .chain(&trials)
        .find(|row| row.trial == 0 && row.median_ns.is_some())
        .and_then(|row| row.median_ns);
    let shipped = finals.iter().find(|row| row.shipped).and_then(|row| row.median_ns);
    let fastest = trials.iter().filter_map(|row| row.median_ns).min_by(f64::total_cmp);
    Some(Run { first: rows.first()?, trials: trials.len(), outcomes, default_ns, best_ns: shipped.or(fastest) })
}

impl Run<'_> {
    fn to_json(&self) -> serde_json::Value {
        json!({
            "run_id": self.first.run_id,
            "recorded_unix_ms": self.first.recorded_unix_ms,
            "workload": self.first.workload,
            "function": self.first.function,
            "numerics": self.first.numerics,
            "threads": self.first.threads,
            "cpu_model": self.first.cpu_model,
            "trials": self.trials,
            "outcomes": self.outcomes,
            "default_ns": self.default_ns,
            "best_ns": self.best_ns,
        })
    }
}

/// `YYYY-MM-DD hh:mm` in UTC (proleptic Gregorian, from H. Hinnant's `civil_from_days`).
fn date(unix_ms: u64) -> String {
    let minutes = unix_ms / 60_000;
    let (days, minute) = (minutes / 1440, minutes % 1440);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01 00:00");
        assert_eq!(date(951_782_400_000), "2000-02-29 00:00");
        assert_eq!(date(1_767_225_540_000), "2025-12-31 23:59");
    }
}
