//! Where candidates come from: the default first, then the search.

use crate::measure::Trial;
use crate::tune::TuneConfig;
use moat_optimizer::lower::plain_schedule;
use moat_optimizer::normal_form::NormalForm;
use moat_optimizer::normalize::Form;
use moat_optimizer::numerics::Numerics;
use moat_optimizer::schedule::Schedule;
use moat_optimizer::target::Target;

/// The search cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum SpaceError {}

/// The heuristic schedule of one form.
///
/// # Errors
/// If the form has no schedule space.
pub fn default_schedule(
    form: &NormalForm,
    _target: &Target,
    _numerics: Numerics,
    _threads: usize,
) -> Result<Schedule, SpaceError> {
    Ok(plain_schedule(form))
}

/// What to try.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Rank of the normal form.
    pub form: usize,
    /// What is decided about it.
    pub schedule: Schedule,
}

/// A stream of candidates.
#[derive(Debug)]
pub struct Candidates {
    pending: Vec<Candidate>,
}

impl Candidates {
    /// Over all forms.
    ///
    /// # Errors
    /// None yet.
    pub fn new(forms: &[Form], _config: &TuneConfig) -> Result<Candidates, SpaceError> {
        let mut pending: Vec<Candidate> = forms
            .iter()
            .enumerate()
            .map(|(form, of)| Candidate { form, schedule: plain_schedule(&of.normal_form) })
            .collect();
        pending.reverse();
        Ok(Candidates { pending })
    }

    /// The next one; the first is the default.
    pub fn next(&mut self) -> Option<Candidate> {
        self.pending.pop()
    }

    /// Tells the search how one ended.
    pub fn observe(&mut self, _candidate: &Candidate, _end: &Trial) {}
}
