//! The search over the candidates of a program.

use crate::search::{FormSpace, SearchConfig, Searcher};
use moat_optimizer::forms::DerivedForm;
use moat_optimizer::nest::target::Target;
use moat_optimizer::space::{ScheduleSpace, SpaceError};
use moat_optimizer::value::numerics::Numerics;
use moat_rules::schedule_rules::ScheduleRules;

/// The most candidates of the search's first round.
const MAX_FIRST_ROUND: usize = 64;

/// The search over all forms; its first candidate is the default: the source form under the heuristic schedule.
///
/// # Errors
/// If the schedule rules do not run.
pub fn search(
    forms: &[DerivedForm],
    target: &Target,
    numerics: Numerics,
    threads: usize,
    seed: u64,
    trials: usize,
) -> Result<Searcher, SpaceError> {
    let spaces = forms.iter().enumerate().map(|(form, of)| {
        let space = ScheduleSpace::new(&of.form, target, &ScheduleRules::standard(), numerics, threads)?;
        Ok(FormSpace { form, space })
    });
    let config = SearchConfig::for_budget(trials);
    // With thousands of trials, choosing a first round of hundreds would take longer than measuring them.
    let config = SearchConfig { first_round: config.first_round.min(MAX_FIRST_ROUND), ..config };
    Ok(Searcher::with_config(spaces.collect::<Result<_, SpaceError>>()?, seed, config))
}
