//! The searcher against a made-up machine: deterministic, never twice the same, better than random.

#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

use moat_optimizer::schedule::Schedule;
use moat_optimizer::space::ScheduleSpace;
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::numerics::Numerics;
use moat_rules::schedule_rules::ScheduleRules;
use moat_tests::forms;
use moat_tests::machine::target;
use moat_tuner::search::{Candidate, FormSpace, Neighbour, Searcher};
use std::collections::BTreeSet;

fn spaces() -> Vec<FormSpace> {
    let space = |form: &moat_optimizer::storage::Schedulable| {
        ScheduleSpace::new(form, &target(), &ScheduleRules::standard(), Numerics::Reassociate, 1).unwrap()
    };
    vec![
        FormSpace { form: 0, space: space(&forms::matmul(256, 256, 256, DType::F32)) },
        FormSpace { form: 1, space: space(&forms::gemm(256, 256, 256, DType::F32)) },
    ]
}

/// The draft, distorted by a factor that depends on the register tile: what a model must learn.
fn time(spaces: &[FormSpace], candidate: &Candidate) -> Option<f64> {
    let space = &spaces.iter().find(|space| space.form == candidate.form)?.space;
    let tile = &candidate.schedule.stages[0].tile;
    let registers: usize = tile.iter().map(|spec| spec.unroll).product();
    let lanes: usize = tile.iter().map(|spec| spec.lanes).product();
    if registers == 13 {
        return None;
    }
    let distortion = if registers == 18 { 0.5 } else { 1.0 + (registers % 5) as f64 * 0.2 };
    Some(space.draft(&candidate.schedule) * distortion * if lanes == 16 { 3.0 } else { 9.0 })
}

fn run(seed: u64, budget: usize) -> (Vec<Candidate>, f64) {
    let spaces = spaces();
    let mut searcher = Searcher::new(spaces.clone(), seed, budget);
    let mut order = Vec::new();
    while let Some(candidate) = searcher.next() {
        searcher.observe(&candidate, time(&spaces, &candidate));
        order.push(candidate);
    }
    let best = searcher.best().unwrap().1;
    (order, best)
}

#[test]
fn a_search_spends_its_budget_on_distinct_legal_candidates_in_a_reproducible_order() {
    let (order, best) = run(3, 64);
    assert_eq!(order.len(), 64);
    assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 64);
    let spaces = spaces();
    assert_eq!(order[0], Candidate { form: 0, schedule: spaces[0].space.default() });
    for candidate in &order {
        spaces[candidate.form].space.check(&candidate.schedule).unwrap();
    }
    assert_eq!(order, run(3, 64).0);
    assert_ne!(order, run(4, 64).0);
    let first = time(&spaces, &order[0]).unwrap();
    assert!(best <= first, "best {best}, default {first}");
}

#[test]
fn most_searches_find_what_the_draft_does_not_know() {
    // The made-up optimum is a register tile of 18; nothing leads to it but trials.
    let registers =
        |candidate: &Candidate| candidate.schedule.stages[0].tile.iter().map(|t| t.unroll).product::<usize>();
    let found = |seed: &u64| run(*seed, 64).0.iter().filter(|candidate| registers(candidate) == 18).count() > 3;
    let of_eight = (1..9).filter(found).count();
    assert!(of_eight >= 5, "{of_eight} of 8");
}

#[test]
fn a_search_without_success_still_ends() {
    let mut searcher = Searcher::new(spaces(), 1, 20);
    let mut count = 0;
    while let Some(candidate) = searcher.next() {
        searcher.observe(&candidate, None);
        count += 1;
    }
    assert_eq!(count, 20);
    assert!(searcher.best().is_none());
}

#[test]
fn a_warm_start_comes_second_and_drops_what_is_illegal() {
    let spaces = spaces();
    let known: Schedule = spaces[0].space.plain();
    let mut illegal = known.clone();
    illegal.stages[0].tile.pop();
    let mut searcher = Searcher::new(spaces, 1, 20);
    let all = [(0, illegal), (7, known.clone()), (0, known.clone())];
    searcher.warm_start(all.map(|(form, schedule)| Neighbour { candidate: Candidate { form, schedule }, threads: 1 }));
    searcher.next().unwrap();
    assert_eq!(searcher.next().unwrap(), Candidate { form: 0, schedule: known });
}

#[test]
fn a_tiny_space_is_exhausted_without_an_endless_loop() {
    let form = forms::axpby(3, DType::F64);
    let space = ScheduleSpace::new(&form, &target(), &ScheduleRules::standard(), Numerics::Exact, 1).unwrap();
    let mut searcher = Searcher::new(vec![FormSpace { form: 0, space }], 1, 500);
    let mut count = 0;
    while let Some(candidate) = searcher.next() {
        searcher.observe(&candidate, Some(1.0));
        count += 1;
    }
    assert!(count < 500);
}
