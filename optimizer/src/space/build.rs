//! How a schedule space is made: facts of the form, proposals of the rules, the default schedule.
//!
//! Takes a form, a target and the rules in force; gives a [`ScheduleSpace`]. A long form is decided about by windows.

use super::choices::StageChoices;
use super::facts;
use super::schedule_space::ScheduleSpace;
use super::time_loop::time_loops;
use super::windows;
use crate::cost::footprint::{StageModel, model};
use crate::form::normal_form::NormalForm;
use crate::form::scalar_tree::DefId;
use crate::nest::target::Target;
use crate::schedule::Schedule;
use crate::schedule::legality::{FormFacts, LegalityRules};
use crate::schedule::plain::plain_schedule;
use crate::schedule::time::tilable;
use crate::storage::Schedulable;
use crate::value::numerics::Numerics;
use moat_rules::schedule_rules::{Proposals, ScheduleRules, ScheduleRulesError};
use std::collections::BTreeMap;
use thiserror::Error;

/// Why there is no space.
#[derive(Debug, Error)]
pub enum SpaceError {
    /// The schedule rules failed.
    #[error(transparent)]
    Rules(#[from] ScheduleRulesError),
}

/// What a space is made under.
#[derive(Clone, Copy)]
struct Setting<'a> {
    target: &'a Target,
    rules: &'a ScheduleRules,
    legality: &'a LegalityRules,
    numerics: Numerics,
    threads: usize,
}

/// What is decided about a form by windows.
struct Decided {
    proposals: Proposals,
    choices: Vec<StageChoices>,
    schedule: Schedule,
}

/// The heuristic schedule of a form on `target` with `threads` threads: the one that is run without tuning.
///
/// # Errors
/// If the schedule rules do not run.
pub fn default_schedule(
    form: &Schedulable,
    target: &Target,
    numerics: Numerics,
    threads: usize,
) -> Result<Schedule, SpaceError> {
    Ok(ScheduleSpace::new(form, target, &ScheduleRules::standard(), numerics, threads)?.default())
}

impl ScheduleSpace {
    /// The space of `form` on `target` with `threads` threads.
    ///
    /// # Errors
    /// If the schedule rules do not run.
    pub fn new(
        form: &Schedulable,
        target: &Target,
        rules: &ScheduleRules,
        numerics: Numerics,
        threads: usize,
    ) -> Result<ScheduleSpace, SpaceError> {
        ScheduleSpace::with_legality(form, target, rules, &LegalityRules::standard(), numerics, threads)
    }

    /// The same under a chosen set of legality rules.
    ///
    /// # Errors
    /// If the schedule rules do not run.
    pub fn with_legality(
        form: &Schedulable,
        target: &Target,
        rules: &ScheduleRules,
        legality: &LegalityRules,
        numerics: Numerics,
        threads: usize,
    ) -> Result<ScheduleSpace, SpaceError> {
        ScheduleSpace::of_part(form, Setting { target, rules, legality, numerics, threads })
    }

    /// The space of a form, or of a window of one.
    fn of_part(form: &NormalForm, setting: Setting<'_>) -> Result<ScheduleSpace, SpaceError> {
        let Setting { target, rules, legality, numerics, threads } = setting;
        let facts = FormFacts::new(form, numerics);
        let models: Vec<StageModel> = (0..form.defs.len()).map(|def| model(form, def, &|_| false)).collect();
        let tilable = tilable(form);
        let windows = windows::windows(form);
        let decided = match windows.len() {
            1 => None,
            _ => Some(ScheduleSpace::by_windows(form, &windows, setting)?),
        };
        let (proposals, choices, default) = match decided {
            Some(Decided { proposals, choices, schedule }) => (proposals, choices, Some(schedule)),
            None => {
                let question = facts::question(form, &models, &facts.derive(), target, threads, &tilable);
                let proposals = rules.propose(&question)?;
                let choices = |stage| StageChoices::new(stage, form, &models, &proposals);
                let choices = (0..form.defs.len()).map(choices).collect();
                (proposals, choices, None)
            }
        };
        let time_loops = time_loops(form, &tilable, &proposals);
        let mut space = ScheduleSpace {
            form: form.clone(),
            target: target.clone(),
            numerics,
            threads,
            legality: legality.clone(),
            facts,
            proposals,
            models,
            choices,
            time_loops,
            default: plain_schedule(form),
        };
        space.default = match default {
            None => space.heuristic(),
            Some(schedule) if space.is_legal(&schedule) => schedule,
            Some(_) => space.plain(),
        };
        Ok(space)
    }

    /// What is decided about a long form: about each window by itself, and once about equal ones.
    fn by_windows(form: &NormalForm, windows: &[Vec<DefId>], setting: Setting<'_>) -> Result<Decided, SpaceError> {
        let outside = windows::read_outside(form, windows);
        let mut known: BTreeMap<String, ScheduleSpace> = BTreeMap::new();
        let mut decided = Decided {
            proposals: Proposals::default(),
            choices: Vec::with_capacity(form.defs.len()),
            schedule: plain_schedule(form),
        };
        let mut choices: BTreeMap<DefId, StageChoices> = BTreeMap::new();
        for ids in windows {
            let part = windows::window_form(form, ids, &outside);
            let key = format!("{part:?}");
            if !known.contains_key(&key) {
                let space = Self::of_part(&part, setting)?;
                known.insert(key.clone(), space);
            }
            let Some(space) = known.get(&key) else { continue };
            windows::place(ids, &space.default, &mut decided.schedule);
            windows::propose(ids, &space.proposals, &mut decided.proposals);
            choices.extend(ids.iter().zip(&space.choices).map(|(&id, of)| (id, of.moved(ids))));
        }
        decided.choices.extend(choices.into_values());
        Ok(decided)
    }
}
