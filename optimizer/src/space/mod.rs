//! The schedules of a normal form on a machine: proposals from the Datalog relations, legality from
//! ascent, and the ways to walk among them.
//!
//! Input: a [`NormalForm`], a [`Target`], the [`ScheduleRules`] and [`LegalityRules`] in force. Output:
//! legal [`Schedule`]s: a heuristic default, samples, mutations, crossovers, neighbours. Every one that
//! leaves this module has passed the legality check, and holds nothing that no rule proposed. There is
//! no source of randomness here: the caller brings a [`Choose`].

mod choices;
pub mod choose;
mod facts;
mod heuristic;
mod share;
mod time;
mod vary;
mod windows;

use crate::cost::footprint::{StageModel, model};
use crate::form::normal_form::NormalForm;
use crate::form::scalar_tree::DefId;
use crate::nest::target::Target;
use crate::schedule::Schedule;
use crate::schedule::legality::{FormFacts, Illegal, LegalityRules};
use crate::schedule::plain::{plain_schedule, plain_stage};
use crate::schedule::time::{Tilable, tilable};
use crate::storage::Schedulable;
use crate::value::numerics::Numerics;
use choices::StageChoices;
use moat_rules::schedule_rules::{Proposals, ScheduleRules, ScheduleRulesError};
use std::collections::BTreeMap;
use thiserror::Error;
use time::TimeLoop;

/// A source of choices; implemented by the tuner for its seeded generator.
pub trait Choose {
    /// A number below `n`; 0 if `n` is 0.
    fn below(&mut self, n: usize) -> usize;
}

/// Why there is no space.
#[derive(Debug, Error)]
pub enum SpaceError {
    /// The schedule rules failed.
    #[error(transparent)]
    Rules(#[from] ScheduleRulesError),
}

/// What is decided about a form by windows.
struct Decided {
    proposals: Proposals,
    choices: Vec<StageChoices>,
    schedule: Schedule,
}

/// All schedules of one normal form on one machine.
#[derive(Clone, Debug)]
pub struct ScheduleSpace {
    form: NormalForm,
    target: Target,
    numerics: Numerics,
    threads: usize,
    legality: LegalityRules,
    facts: FormFacts,
    proposals: Proposals,
    models: Vec<StageModel>,
    choices: Vec<StageChoices>,
    /// Loops that may run in skewed tiles.
    time_loops: Vec<TimeLoop>,
    default: Schedule,
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
        ScheduleSpace::of_part(form, target, rules, legality, numerics, threads)
    }

    /// The space of a form, or of a window of one.
    fn of_part(
        form: &NormalForm,
        target: &Target,
        rules: &ScheduleRules,
        legality: &LegalityRules,
        numerics: Numerics,
        threads: usize,
    ) -> Result<ScheduleSpace, SpaceError> {
        let facts = FormFacts::new(form, numerics);
        let models: Vec<StageModel> = (0..form.defs.len()).map(|def| model(form, def, &|_| false)).collect();
        let tilable = tilable(form);
        let windows = windows::windows(form);
        let decided = match windows.len() {
            1 => None,
            _ => Some(ScheduleSpace::by_windows(form, &windows, (target, rules, legality), numerics, threads)?),
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
        let time_loops = time::time_loops(form, &tilable, &proposals);
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
    fn by_windows(
        form: &NormalForm,
        windows: &[Vec<DefId>],
        (target, rules, legality): (&Target, &ScheduleRules, &LegalityRules),
        numerics: Numerics,
        threads: usize,
    ) -> Result<Decided, SpaceError> {
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
                let space = Self::of_part(&part, target, rules, legality, numerics, threads)?;
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

    /// The form.
    pub fn form(&self) -> &NormalForm {
        &self.form
    }

    /// The machine.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Threads that a parallel loop is divided among.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// What the rules propose, for `explain`.
    pub fn proposals(&self) -> &Proposals {
        &self.proposals
    }

    /// Loops that may run in skewed tiles, and along which dimensions.
    pub fn time_loops(&self) -> Vec<Tilable> {
        self.time_loops.iter().flat_map(TimeLoop::tilable).collect()
    }

    /// The heuristic schedule; always legal.
    pub fn default(&self) -> Schedule {
        self.default.clone()
    }

    /// Checks a schedule under this space's rules.
    ///
    /// # Errors
    /// Every way in which it is illegal.
    pub fn check(&self, schedule: &Schedule) -> Result<(), Vec<Illegal>> {
        self.check_time_tiles(schedule).map_err(|illegal| vec![illegal])?;
        self.facts.check(schedule, &self.legality)
    }

    /// True if the schedule is legal.
    pub fn is_legal(&self, schedule: &Schedule) -> bool {
        self.check(schedule).is_ok()
    }

    /// The draft cost in nanoseconds.
    pub fn draft(&self, schedule: &Schedule) -> f64 {
        let (alone, fetching) = self.draft_parts(schedule);
        alone + fetching
    }

    /// The draft cost as if no thread ever needed what another has in its cache, and what they lose because they do.
    fn draft_parts(&self, schedule: &Schedule) -> (f64, f64) {
        crate::cost::parts(&self.form, schedule, &self.target, self.numerics, self.threads)
    }

    /// A lower bound over all schedules, in nanoseconds.
    pub fn lower_bound(&self) -> f64 {
        crate::cost::roofline_lower_bound(&self.form, &self.target, self.threads)
    }

    /// The schedule without any decision: always legal.
    pub fn plain(&self) -> Schedule {
        plain_schedule(&self.form)
    }
}
