//! `moat explain`: every stage of a workload on its way to a kernel, in words and notation.

use super::args::ExplainArgs;
use super::error::CliError;
use super::goal::Goal;
use super::progress::Busy;
use super::text::schedule_in_words;
use super::workload::{Loaded, load};
use crate::tune::derivation;
use moat_codegen::host_target;
use moat_optimizer::apply::apply;
use moat_optimizer::apply::lower::lower;
use moat_optimizer::dependence::loops::carried_dependences;
use moat_optimizer::form::normal_form::NormalForm;
use moat_optimizer::form::notation;
use moat_optimizer::forms::{DerivedForm, Forms, Limits, forms};
use moat_optimizer::frontend::listing;
use moat_optimizer::nest::print;
use moat_optimizer::schedule::Panel;
use moat_optimizer::schedule::time::{Tilable, tilable};
use moat_optimizer::space::default_schedule;
use moat_rules::RuleBase;
use std::io::Write;

pub(super) fn run(args: &ExplainArgs, out: &mut impl Write) -> Result<Goal, CliError> {
    let Loaded { workload, .. } = load(&args.workload)?;
    let numerics = args.workload.numerics.numerics();
    heading(out, "Program: every node with its shape")?;
    write!(out, "{}", listing(&workload.program))?;

    let rules = RuleBase::standard()?;
    let busy = Busy::with("deriving normal forms");
    let found = forms(&workload.program, &rules, numerics, &Limits::default())?;
    let Forms { forms: all, limits, .. } = found;
    drop(busy);
    if !limits.is_empty() {
        heading(out, "Limits of the search for forms")?;
        for limit in limits {
            writeln!(out, "{limit}")?;
        }
    }
    let target = host_target();
    for (rank, form) in all.iter().enumerate() {
        // The second is the best that the rules found.
        if rank > 1 && !args.all {
            writeln!(out, "\n{} more forms: --all shows them", all.len() - rank)?;
            break;
        }
        explain_form(rank, form, &all[0], out)?;
        let normal_form = &form.form;
        explain_loops(normal_form, out)?;
        heading(out, "Loops before scheduling")?;
        write!(out, "{}", print::display(&lower(normal_form)?))?;
        let schedule = default_schedule(normal_form, &target, numerics, usize::from(args.threads))?;
        heading(out, "Default schedule")?;
        for line in schedule_in_words(normal_form, &schedule) {
            writeln!(out, "{line}")?;
        }
        heading(out, "Loops under it")?;
        write!(out, "{}", print::display(&apply(normal_form, &schedule)?))?;
    }
    Ok(Goal::Met)
}

fn explain_form(rank: usize, form: &DerivedForm, source: &DerivedForm, out: &mut impl Write) -> Result<(), CliError> {
    match rank {
        0 => heading(out, "Normal form 0: the source form")?,
        _ => heading(out, &format!("Normal form {rank}: equal by the rules below"))?,
    }
    for rule in derivation(form) {
        writeln!(out, "rule {rule}")?;
    }
    write!(out, "{}", notation::print(&form.form))?;
    write!(out, "{} scalar operations, {} bytes", form.flops, form.bytes)?;
    if rank > 0 && form.flops > 0 {
        write!(out, "; the source form has {:.3} times the operations", source.flops as f64 / form.flops as f64)?;
    }
    writeln!(out)?;
    Ok(())
}

/// The dependences that order the iterations of the loops, and what follows for tiling them.
fn explain_loops(form: &NormalForm, out: &mut impl Write) -> Result<(), CliError> {
    let carried = carried_dependences(form);
    if carried.is_empty() {
        return Ok(());
    }
    heading(out, "Dependences over the loops, outermost first: source -> sink (distance, or < = > *)")?;
    for found in carried {
        let vector: Vec<String> = found
            .directions
            .iter()
            .zip(&found.distances)
            .map(|(direction, distance)| distance.map_or_else(|| direction.symbol().to_string(), |d| d.to_string()))
            .collect();
        let (source, sink) = (&form.defs[found.source].name, &form.defs[found.sink].name);
        let state = &form.states[found.state].name;
        writeln!(out, "{}: {source} -> {sink} through {state} ({})", found.kind, vector.join(", "))?;
    }
    for Tilable { var, dim, skew, shifts, independent, panel } in tilable(form) {
        let shifts: Vec<String> = shifts.iter().map(ToString::to_string).collect();
        writeln!(
            out,
            "loop {var} may run in {}bands along dimension {dim} of its states, skewed by {skew} or more, \
             statements shifted by {}{}",
            if independent { "independent " } else { "" },
            shifts.join(" "),
            match panel {
                Some(Panel { begins, ends }) =>
                    format!("; others need coordinates from v{var}{begins:+} to below v{var}{ends:+} only"),
                None => String::new(),
            }
        )?;
    }
    Ok(())
}

fn heading(out: &mut impl Write, text: &str) -> Result<(), CliError> {
    writeln!(out, "\n# {text}")?;
    Ok(())
}
