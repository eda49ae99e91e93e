//! Which candidate to try next: a small budget of trials spent on few, well-chosen schedules.
//!
//! Input: the schedule spaces of the forms on offer and the times measured so far. Output: candidates,
//! never the same twice. Deterministic by its seed. It measures nothing and reads no file; what the
//! database knows comes in as a list of schedules.
//!
//! The order of trials: the default; neighbours from the database; the best of some thousand samples
//! by the draft cost, made diverse; rounds in which the draft, corrected by what was measured, chooses
//! among offspring of the best and fresh samples; coordinate descent around the best three.

mod candidate;
mod diverse;
mod predict;

pub use candidate::Candidate;

use moat_optimizer::space::{Choose, ScheduleSpace};
use predict::Predictor;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeSet, VecDeque};

/// The schedules of one of the normal forms on offer; form 0 is the source form.
#[derive(Clone, Debug)]
pub struct FormSpace {
    /// The form's number.
    pub form: usize,
    /// Its schedules.
    pub space: ScheduleSpace,
}

/// A candidate that did well on a neighbouring workload.
#[derive(Clone, Debug)]
pub struct Neighbour {
    /// The candidate.
    pub candidate: Candidate,
    /// The threads that it was measured on; on others its work is divided anew.
    pub threads: usize,
}

/// How a search spends its trials.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchConfig {
    /// Trials in all.
    pub budget: usize,
    /// Samples that the draft ranks before the first round.
    pub samples: usize,
    /// Candidates of the first round.
    pub first_round: usize,
    /// Candidates of each further round.
    pub round: usize,
    /// Percent of the later rounds' candidates that are drawn at random.
    pub random_percent: usize,
    /// Candidates of the coordinate descent at the end.
    pub descent: usize,
}

impl SearchConfig {
    /// The proportions of a budget of 64 (1 + 7 + 16 + 4·8 + 8), for any budget.
    pub fn for_budget(budget: usize) -> SearchConfig {
        SearchConfig {
            budget,
            samples: 2000.min(40 * budget.max(8)),
            first_round: (budget / 4).max(1),
            round: (budget / 8).clamp(1, 8),
            random_percent: 15,
            descent: budget / 8,
        }
    }
}

/// The state of a search.
#[derive(Debug)]
pub struct Searcher {
    spaces: Vec<FormSpace>,
    config: SearchConfig,
    rng: Seeded,
    queue: VecDeque<Candidate>,
    proposed: BTreeSet<Candidate>,
    /// Measured: with times in nanoseconds; `None` failed.
    observed: Vec<(Candidate, Option<f64>)>,
    predictor: Predictor,
    stage: Stage,
}

/// What fills the queue when it is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    First,
    Rounds,
    Descent,
    Done,
}

#[derive(Debug)]
struct Seeded(StdRng);

impl Choose for Seeded {
    fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { self.0.random_range(0..n) }
    }
}

/// Rounds that may bring nothing new before the search ends.
const IDLE_ROUNDS: usize = 6;

impl Searcher {
    /// A search over `spaces`; trial 0 is the default schedule of the first.
    pub fn new(spaces: Vec<FormSpace>, seed: u64, budget: usize) -> Searcher {
        Searcher::with_config(spaces, seed, SearchConfig::for_budget(budget))
    }

    /// The same with every proportion given.
    pub fn with_config(spaces: Vec<FormSpace>, seed: u64, config: SearchConfig) -> Searcher {
        let mut searcher = Searcher {
            spaces,
            config,
            rng: Seeded(StdRng::seed_from_u64(seed)),
            queue: VecDeque::new(),
            proposed: BTreeSet::new(),
            observed: Vec::new(),
            predictor: Predictor::default(),
            stage: Stage::First,
        };
        if let Some(first) = searcher.spaces.first() {
            let candidate = Candidate { form: first.form, schedule: first.space.default() };
            searcher.enqueue(candidate);
        }
        searcher
    }

    /// What a form's space would begin with.
    fn defaults(&self, at: usize) -> Vec<Candidate> {
        let FormSpace { form, space } = &self.spaces[at];
        space.defaults().into_iter().map(|schedule| Candidate { form: *form, schedule }).collect()
    }

    /// What did well on neighbouring workloads, nearest first, tried right after the default.
    /// What is illegal here, unknown or known already is passed over.
    pub fn warm_start(&mut self, neighbours: impl IntoIterator<Item = Neighbour>) {
        let most = (self.config.budget / 9).max(1);
        let mut taken = 0;
        for Neighbour { mut candidate, threads } in neighbours {
            if taken == most {
                break;
            }
            let Some(space) = self.space(candidate.form) else { continue };
            if !space.is_legal(&candidate.schedule) {
                continue;
            }
            if threads != space.threads() {
                candidate.schedule = space.shared(&candidate.schedule);
            }
            if self.enqueue(candidate) {
                taken += 1;
            }
        }
    }

    /// Tells the median time of a candidate, in nanoseconds, or that it failed.
    pub fn observe(&mut self, candidate: &Candidate, median_ns: Option<f64>) {
        if let (Some(time), Some(space)) = (median_ns, self.space(candidate.form)) {
            let draft = space.draft(&candidate.schedule);
            self.predictor.learn(candidate, draft, time);
        }
        self.observed.push((candidate.clone(), median_ns));
    }

    /// The fastest candidate so far and its time.
    pub fn best(&self) -> Option<(&Candidate, f64)> {
        self.ranked().first().map(|&(candidate, time)| (candidate, time))
    }

    fn space(&self, form: usize) -> Option<&ScheduleSpace> {
        self.spaces.iter().find(|space| space.form == form).map(|space| &space.space)
    }

    fn enqueue(&mut self, candidate: Candidate) -> bool {
        let new = self.proposed.insert(candidate.clone());
        if new {
            self.queue.push_back(candidate);
        }
        new
    }

    /// All successes, fastest first.
    fn ranked(&self) -> Vec<(&Candidate, f64)> {
        let mut all: Vec<(&Candidate, f64)> =
            self.observed.iter().filter_map(|(candidate, time)| time.map(|time| (candidate, time))).collect();
        all.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(b.0)));
        all
    }

    /// Forms that may still beat the incumbent.
    fn open_forms(&self) -> Vec<usize> {
        let incumbent = self.best().map_or(f64::INFINITY, |best| best.1);
        let mut open: Vec<usize> =
            (0..self.spaces.len()).filter(|&at| self.spaces[at].space.lower_bound() < incumbent).collect();
        if open.is_empty() {
            open.extend((0..self.spaces.len()).take(1));
        }
        open
    }

    /// The next candidate, as [`Searcher::next`] gives it; none once `is_over` says so, which is asked between drafts.
    pub fn next_unless(&mut self, is_over: &dyn Fn() -> bool) -> Option<Candidate> {
        let given = self.proposed.len() - self.queue.len();
        if given >= self.config.budget {
            return None;
        }
        let mut idle = 0;
        while self.queue.is_empty() && self.stage != Stage::Done && idle < IDLE_ROUNDS && !is_over() {
            self.refill(given, is_over);
            idle += 1;
        }
        self.queue.pop_front()
    }

    fn refill(&mut self, given: usize, is_over: &dyn Fn() -> bool) {
        let left = self.config.budget - given;
        match self.stage {
            Stage::First => {
                self.stage = Stage::Rounds;
                let count = self.config.first_round.min(left);
                self.first_round(count, is_over);
            }
            Stage::Rounds if left > self.config.descent => {
                let count = self.config.round.min(left - self.config.descent);
                self.round(count, is_over);
            }
            Stage::Rounds => {
                self.stage = Stage::Descent;
            }
            Stage::Descent => self.descend(left, is_over),
            Stage::Done => {}
        }
    }

    /// Defaults of the other forms and the best samples by the draft, made diverse.
    fn first_round(&mut self, count: usize, is_over: &dyn Fn() -> bool) {
        let open = self.open_forms();
        // The draft compares schedules of one form better than forms: every form's default has its trial first.
        let defaults: Vec<Vec<Candidate>> = open.iter().map(|&at| self.defaults(at)).collect();
        let most = defaults.iter().map(Vec::len).max().unwrap_or(0);
        let in_turns = (0..most).flat_map(|number| defaults.iter().filter_map(move |of_form| of_form.get(number)));
        for candidate in in_turns.cloned() {
            if self.queue.len() < count.div_ceil(2) {
                self.enqueue(candidate);
            }
        }
        let count = count.saturating_sub(self.queue.len());
        let mut pool: Vec<(f64, Candidate)> = Vec::new();
        let share = (self.config.samples / open.len().max(1)).max(1);
        for at in open {
            let FormSpace { form, space } = &self.spaces[at];
            let mut seen = BTreeSet::new();
            for number in 0..share {
                if is_over() {
                    return;
                }
                let schedule = if number == 0 { space.default() } else { space.sample(&mut self.rng) };
                let candidate = Candidate { form: *form, schedule };
                if !self.proposed.contains(&candidate) && seen.insert(candidate.clone()) {
                    pool.push((space.draft(&candidate.schedule), candidate));
                }
            }
        }
        for candidate in diverse::select(pool, count) {
            self.enqueue(candidate);
        }
    }

    /// Offspring of the best and fresh samples, ranked by the corrected draft.
    fn round(&mut self, count: usize, is_over: &dyn Fn() -> bool) {
        let parents: Vec<(Candidate, f64)> =
            self.ranked().into_iter().take(8).map(|(candidate, time)| (candidate.clone(), time)).collect();
        let open = self.open_forms();
        let mut pool: Vec<(f64, Candidate)> = Vec::new();
        let mut seen = BTreeSet::new();
        let wanted = 40 * count;
        for number in 0..wanted {
            if is_over() {
                return;
            }
            let candidate = if parents.is_empty() || number % 5 == 4 {
                let Some(&at) = open.get(self.rng.below(open.len())) else { return };
                let FormSpace { form, space } = &self.spaces[at];
                Candidate { form: *form, schedule: space.sample(&mut self.rng) }
            } else {
                // The better parents have more offspring.
                let one = self.rng.below(parents.len()).min(self.rng.below(parents.len()));
                let other = self.rng.below(parents.len());
                let parent = &parents[one].0;
                let Some(space) = self.spaces.iter().find(|space| space.form == parent.form).map(|f| &f.space) else {
                    continue;
                };
                let schedule = if number % 5 == 3 && parents[other].0.form == parent.form && other != one {
                    space.crossover(&parent.schedule, &parents[other].0.schedule, &mut self.rng)
                } else {
                    space.mutate(&parent.schedule, &mut self.rng)
                };
                Candidate { form: parent.form, schedule }
            };
            if self.proposed.contains(&candidate) || !seen.insert(candidate.clone()) {
                continue;
            }
            if let Some(space) = self.space(candidate.form) {
                let draft = space.draft(&candidate.schedule);
                pool.push((self.predictor.predict(&candidate, draft), candidate));
            }
        }
        let random = (0..count).filter(|_| self.rng.below(100) < self.config.random_percent).count();
        for _ in 0..random {
            if !pool.is_empty() {
                let at = self.rng.below(pool.len());
                let (_, candidate) = pool.swap_remove(at);
                self.enqueue(candidate);
            }
        }
        for candidate in diverse::select(pool, count - random) {
            self.enqueue(candidate);
        }
    }

    /// The untried neighbour of the best three that the corrected draft likes most, one at a time, so
    /// that each success moves the centre.
    fn descend(&mut self, left: usize, is_over: &dyn Fn() -> bool) {
        if left == 0 {
            self.stage = Stage::Done;
            return;
        }
        let centres: Vec<Candidate> =
            self.ranked().into_iter().take(3).map(|(candidate, _)| candidate.clone()).collect();
        for centre in centres {
            let Some(space) = self.space(centre.form) else { continue };
            let neighbours = space
                .neighbours(&centre.schedule)
                .into_iter()
                .map(|schedule| Candidate { form: centre.form, schedule })
                .filter(|candidate| !self.proposed.contains(candidate))
                .take_while(|_| !is_over())
                .map(|candidate| {
                    let draft = space.draft(&candidate.schedule);
                    (self.predictor.predict(&candidate, draft), candidate)
                });
            let best = neighbours.min_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
            if let Some((_, candidate)) = best {
                self.enqueue(candidate);
                return;
            }
        }
        // Every neighbour is known: go on drawing.
        self.round(1, is_over);
    }
}

/// The candidates in the order of their trials. Ends when the budget is spent or nothing new is found;
/// each candidate should be observed before the next is asked for.
impl Iterator for Searcher {
    type Item = Candidate;

    fn next(&mut self) -> Option<Candidate> {
        self.next_unless(&|| false)
    }
}
