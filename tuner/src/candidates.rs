//! From a program to what is tried: its normal forms, their schedule spaces, and the search over them.

use crate::search::{FormSpace, SearchConfig, Searcher};
use moat_optimizer::form::normal_form::NormalForm;
use moat_optimizer::form::verify::{FormError, verify_form};
use moat_optimizer::nest::target::Target;
use moat_optimizer::normalize::{Form, Limit, NormalizeConfig, NormalizeError, Stats, bytes_moved, flops, normalize};
use moat_optimizer::orders::{
    blocked, deferred, distribution, fold_parts as parts, right_looking, scan_parts as scan, wavefront,
};
use moat_optimizer::program::expr::Program;
use moat_optimizer::schedule::Schedule;
use moat_optimizer::space::{ScheduleSpace, SpaceError};
use moat_optimizer::storage::in_place::buffer_updates;
use moat_optimizer::storage::merge_axes::merge_axes;
use moat_optimizer::storage::state_order::order_states;
use moat_optimizer::value::numerics::Numerics;
use moat_rules::RuleBase;
use moat_rules::schedule_rules::ScheduleRules;

/// The most normal forms of a program, the source form included.
pub const MAX_FORMS: usize = 8;

/// The most candidates of the search's first round.
const MAX_FIRST_ROUND: usize = 64;

/// A program without usable normal forms.
#[derive(Debug, thiserror::Error)]
pub enum FormsError {
    /// Normalizing failed.
    #[error(transparent)]
    Normalize(#[from] NormalizeError),
    /// Normalizing gave a form that is none.
    #[error("a normal form breaks its invariants, which is a bug of moat")]
    Broken(#[from] FormError),
}

/// The normal forms of a program.
#[derive(Clone, Debug)]
pub struct Forms {
    /// The source form first.
    pub forms: Vec<Form>,
    /// Time was up before all were found.
    pub cut: bool,
    /// What other limits left out, for a person: a line each.
    pub limits: Vec<String>,
}

/// What limits left out of the search for forms.
fn limits(stats: &Stats) -> Vec<String> {
    let mut lines = Vec::new();
    if stats.sections > 0 {
        let sections = stats.sections;
        lines.push(format!("long expressions are taken in {sections} sections: no rule is applied across two of them"));
    }
    let reached = match stats.stopped_by {
        Some(Limit::Matches) => Some(format!("{} matches", stats.matches)),
        Some(Limit::Tuples) => Some(format!("{} rows", stats.tuples)),
        Some(Limit::Time) | None => None,
    };
    if let Some(reached) = reached {
        lines.push(format!("the rules ran to their limit, {reached} in all: forms beyond are not searched"));
    }
    if stats.unreduced > 0 {
        lines.push(format!("of {} expressions, only the form that their definitions make is offered", stats.unreduced));
    }
    lines
}

/// The normal forms of `program`, the source form first, with axes merged where the operational normal form allows:
/// what schedules refer to.
///
/// # Errors
/// If the program has no normal form.
pub fn forms(
    program: &Program,
    rules: &RuleBase,
    numerics: Numerics,
    max_forms: usize,
) -> Result<Vec<Form>, FormsError> {
    Ok(forms_within(program, rules, numerics, max_forms, &|| false)?.forms)
}

/// [`forms`], as many as there are before time is up: the source form is always among them.
///
/// # Errors
/// As [`forms`].
pub fn forms_within(
    program: &Program,
    rules: &RuleBase,
    numerics: Numerics,
    max_forms: usize,
    is_over: &dyn Fn() -> bool,
) -> Result<Forms, FormsError> {
    let config = NormalizeConfig { numerics, max_forms, deadline: Some(is_over), ..Default::default() };
    let normalized = normalize(program, rules, &config)?;
    let mut forms = normalized.forms;
    let orders: Vec<Form> = forms
        .iter()
        .flat_map(|form| in_another_order(form, numerics, is_over))
        .take(max_forms.saturating_sub(forms.len()))
        // One that breaks its invariants is a bug of moat, which fuzzing finds, but no reason to refuse the program.
        .filter_map(|form| Some(Form { normal_form: schedulable(&form.normal_form).ok()?, ..form }))
        .collect();
    for form in &mut forms {
        form.normal_form = schedulable(&form.normal_form)?;
    }
    forms.extend(orders);
    Ok(Forms { forms, cut: is_over(), limits: limits(&normalized.stats) })
}

/// The same values in other orders of the program's loops and folds, until time is up.
pub fn in_another_order(form: &Form, numerics: Numerics, is_over: &dyn Fn() -> bool) -> Vec<Form> {
    type Order = fn(&NormalForm, Numerics) -> Option<NormalForm>;
    let of = &form.normal_form;
    let orders: [(&[&str], Order); 8] = [
        (&[right_looking::RULE], |of, _| right_looking::right_looking(of)),
        (&[wavefront::RULE], |of, _| wavefront::wavefront(of)),
        (&[blocked::RULE], blocked::blocked),
        (&[deferred::RULE], deferred::deferred),
        (&[deferred::RULE, distribution::RULE], deferred::deferred_apart),
        (&[parts::RULE], parts::parted),
        (&[scan::RULE], scan::in_parts),
        (&[distribution::RULE], |of, _| distribution::distributed(of)),
    ];
    let with = |(rules, order): (&[&str], Order)| {
        let normal_form = if is_over() { None } else { order(of, numerics) }?;
        let mut derivation = form.derivation.clone();
        derivation.rules.extend(rules.iter().map(|&rule| rule.to_owned()));
        let (flops, bytes) = (flops(&normal_form), bytes_moved(&normal_form));
        Some(Form { normal_form, derivation, flops, bytes })
    };
    orders.into_iter().filter_map(with).collect()
}

/// What the schedules of a form refer to: the form with its updates in place or buffered, its states in the order of
/// their use, and axes merged.
///
/// # Errors
/// If the form breaks its invariants.
pub fn schedulable(form: &NormalForm) -> Result<NormalForm, FormError> {
    // Merged axes no longer refine the shape's: the form is checked before.
    verify_form(form)?;
    Ok(merge_axes(&order_states(&buffer_updates(form))))
}

/// The search over all forms; its first candidate is the default: the source form under the heuristic schedule.
///
/// # Errors
/// If the schedule rules do not run.
pub fn search(
    forms: &[Form],
    target: &Target,
    numerics: Numerics,
    threads: usize,
    seed: u64,
    trials: usize,
) -> Result<Searcher, SpaceError> {
    let spaces = forms.iter().enumerate().map(|(form, of)| {
        let space = space(&of.normal_form, target, numerics, threads)?;
        Ok(FormSpace { form, space })
    });
    let config = SearchConfig::for_budget(trials);
    // With thousands of trials, choosing a first round of hundreds would take longer than measuring them.
    let config = SearchConfig { first_round: config.first_round.min(MAX_FIRST_ROUND), ..config };
    Ok(Searcher::with_config(spaces.collect::<Result<_, SpaceError>>()?, seed, config))
}

/// The heuristic schedule of one form.
///
/// # Errors
/// If the schedule rules do not run.
pub fn default_schedule(
    form: &NormalForm,
    target: &Target,
    numerics: Numerics,
    threads: usize,
) -> Result<Schedule, SpaceError> {
    Ok(space(form, target, numerics, threads)?.default())
}

fn space(form: &NormalForm, target: &Target, numerics: Numerics, threads: usize) -> Result<ScheduleSpace, SpaceError> {
    ScheduleSpace::new(form, target, &ScheduleRules::standard(), numerics, threads)
}
