//! A schedule space as it is asked: what it is a space of, which schedules are legal, what they cost.

use super::choices::StageChoices;
use super::time_loop::TimeLoop;
use crate::cost::footprint::StageModel;
use crate::form::normal_form::NormalForm;
use crate::nest::target::Target;
use crate::schedule::Schedule;
use crate::schedule::legality::{FormFacts, Illegal, LegalityRules};
use crate::schedule::plain::plain_schedule;
use crate::schedule::time::Tilable;
use crate::value::numerics::Numerics;
use moat_rules::schedule_rules::Proposals;

/// The share of a schedule's draft cost that another one's must be below to be taken instead: the draft is not exact
/// enough for less.
pub(super) const BETTER: f64 = 0.99;

/// All schedules of one normal form on one machine.
#[derive(Clone, Debug)]
pub struct ScheduleSpace {
    pub(super) form: NormalForm,
    pub(super) target: Target,
    pub(super) numerics: Numerics,
    pub(super) threads: usize,
    pub(super) legality: LegalityRules,
    pub(super) facts: FormFacts,
    pub(super) proposals: Proposals,
    pub(super) models: Vec<StageModel>,
    pub(super) choices: Vec<StageChoices>,
    /// Loops that may run in skewed tiles.
    pub(super) time_loops: Vec<TimeLoop>,
    pub(super) default: Schedule,
}

impl ScheduleSpace {
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
    pub(super) fn draft_parts(&self, schedule: &Schedule) -> (f64, f64) {
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
