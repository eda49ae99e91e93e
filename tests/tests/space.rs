//! The schedule space: what it offers is legal, complete where it must be, and comes from the rules.

#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

use moat_optimizer::apply::apply;
use moat_optimizer::form::evaluate as evaluate_form;
use moat_optimizer::nest::evaluate as evaluate_nest;
use moat_optimizer::nest::verify::verify_nest;
use moat_optimizer::oracle::inputs::random;
use moat_optimizer::schedule::{Place, Schedule, StageSchedule};
use moat_optimizer::space::ScheduleSpace;
use moat_optimizer::storage::Schedulable;
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::Tensor;
use moat_rules::schedule_rules::ScheduleRules;
use moat_tests::forms;
use moat_tests::machine::target;
use moat_tests::seeded::Seeded;
use std::collections::BTreeSet;

fn space_with(form: &Schedulable, rules: &ScheduleRules, numerics: Numerics, threads: usize) -> ScheduleSpace {
    ScheduleSpace::new(form, &target(), rules, numerics, threads).unwrap()
}

fn space(form: &Schedulable) -> ScheduleSpace {
    space_with(form, &ScheduleRules::standard(), Numerics::Reassociate, 1)
}

/// One line for a stage: its place, its loops, its tile, its packs.
fn show(stage: &StageSchedule) -> String {
    let place = match stage.place {
        Place::Inline => "inline".to_string(),
        Place::Root => "root".to_string(),
        Place::At { consumer, depth } => format!("at {consumer}.{depth}"),
    };
    let loops: Vec<String> = stage.loops.iter().map(|l| format!("{}/{}", l.axis, l.step)).collect();
    let tile: Vec<String> = stage.tile.iter().map(|t| format!("{}:{}x{}", t.axis, t.unroll, t.lanes)).collect();
    let pack = |p: &moat_optimizer::schedule::Pack| {
        let digits: Vec<String> = p.layout.iter().map(|l| format!("{}/{}", l.axis, l.step)).collect();
        format!(" pack {}@{} [{}]", p.load, p.depth, digits.join(" "))
    };
    let parallel = if stage.parallel { " parallel" } else { "" };
    let packs: String = stage.packs.iter().map(pack).collect();
    format!("{place}{parallel} loops [{}] tile [{}]{packs}", loops.join(" "), tile.join(" "))
}

fn show_all(schedule: &Schedule) -> String {
    schedule.stages.iter().map(show).collect::<Vec<_>>().join("\n")
}

#[test]
fn everything_offered_is_legal() {
    for numerics in [Numerics::Exact, Numerics::Reassociate] {
        for threads in [1, 2] {
            for (name, form) in forms::samples(DType::F32) {
                let space = space_with(&form, &ScheduleRules::standard(), numerics, threads);
                space.check(&space.plain()).unwrap();
                space.check(&space.default()).unwrap();
                let mut rng = Seeded::new(1);
                let mut distinct = BTreeSet::new();
                let mut last = space.default();
                for _ in 0..60 {
                    let sample = space.sample(&mut rng);
                    space.check(&sample).unwrap();
                    let mutant = space.mutate(&sample, &mut rng);
                    space.check(&mutant).unwrap();
                    let child = space.crossover(&mutant, &last, &mut rng);
                    space.check(&child).unwrap();
                    assert!(space.draft(&sample).is_finite() && space.draft(&sample) > 0.0, "{name}");
                    last = sample.clone();
                    distinct.insert(sample);
                }
                // Two fold axes of a float sum, in exact order, leave nothing to decide.
                let fixed = name == "frobenius" && numerics == Numerics::Exact;
                assert!(fixed || distinct.len() > 8, "{name} {numerics}: only {} distinct samples", distinct.len());
            }
        }
    }
}

#[test]
fn defaults() {
    let f = DType::F32;
    let default = |form: &Schedulable| show_all(&space(form).default());
    let all = [
        ("matmul 1024", default(&forms::matmul(1024, 1024, 1024, f))),
        ("matmul 127x131x257", default(&forms::matmul(127, 131, 257, f))),
        ("matmul f64 512", default(&forms::matmul(512, 512, 512, DType::F64))),
        ("gemm 512", default(&forms::gemm(512, 512, 512, f))),
        ("softmax 4096x1024", default(&forms::softmax(4096, 1024, f))),
        ("blur 2560x1536", default(&forms::blur(2560, 1536, f))),
        ("rowsum 4096x1024", default(&forms::rowsum(4096, 1024, f))),
        ("colsum 4096x1024", default(&forms::colsum(4096, 1024, f))),
        ("transpose 2048", default(&forms::transpose(2048, 2048, f))),
        ("jacobi 2048", default(&forms::jacobi(2048, DType::F64))),
        ("axpby 16M", default(&forms::axpby(1 << 24, f))),
        ("matvec 4096", default(&forms::matvec(4096, 4096, f))),
        ("frobenius 1024", default(&forms::frobenius(1024, 1024, f))),
        ("conv 64x64x56x3", default(&forms::conv(64, 64, 58, 3, f))),
        ("triangular 512", default(&forms::triangular(512, 512, f))),
        ("flat 4096", default(&forms::flat(4096, f))),
    ];
    let text: Vec<String> = all.iter().map(|(name, schedule)| format!("# {name}\n{schedule}")).collect();
    insta::assert_snapshot!(text.join("\n"));
}

/// Every sample becomes a nest that computes what the form says, without a race or a stray access.
#[test]
fn every_sample_can_be_applied_and_computes_the_form() {
    for (dtype, numerics, threads, seed) in
        [(DType::I64, Numerics::Exact, 2, 3), (DType::I32, Numerics::Reassociate, 1, 4)]
    {
        for (name, form) in forms::samples(dtype) {
            if name == "softmax" || name == "blur" || name == "jacobi" {
                // Exp and true division are for floats.
                continue;
            }
            applied_equals(name, &form, numerics, threads, seed, 25);
        }
    }
    for (name, form) in forms::samples(DType::F64) {
        applied_equals(name, &form, Numerics::Exact, 2, 5, 25);
    }
}

fn applied_equals(name: &str, form: &Schedulable, numerics: Numerics, threads: usize, seed: u64, count: usize) {
    let inputs: Vec<Tensor> =
        form.params.iter().enumerate().map(|(at, param)| random(param, seed + at as u64).unwrap()).collect();
    let expected = evaluate_form::evaluate(form, &inputs).unwrap();
    let space = space_with(form, &ScheduleRules::standard(), numerics, threads);
    let mut rng = Seeded::new(seed);
    let mut schedules = vec![space.default()];
    schedules.extend((0..count).map(|_| space.sample(&mut rng)));
    schedules.extend(space.neighbours(&space.default()).into_iter().step_by(7));
    for schedule in schedules {
        let nest = apply(form, &schedule).unwrap_or_else(|error| panic!("{name}: {error}\n{}", show_all(&schedule)));
        verify_nest(&nest).unwrap_or_else(|error| panic!("{name}: {error}\n{}", show_all(&schedule)));
        let found = evaluate_nest::evaluate(&nest, &inputs)
            .unwrap_or_else(|error| panic!("{name}: {error}\n{}", show_all(&schedule)));
        assert!(
            found.iter().zip(&expected).all(|(a, b)| (0..b.len()).all(|at| a.get(at) == b.get(at))),
            "{name} {numerics} differs under\n{}",
            show_all(&schedule)
        );
    }
}

/// What was found on one thread is a start for two, and what was found on two for one.
#[test]
fn a_schedule_for_other_threads_is_divided_anew() {
    let rules = ScheduleRules::standard();
    let spaces = |form: &Schedulable| [1, 2].map(|threads| space_with(form, &rules, Numerics::Reassociate, threads));
    for (name, form) in forms::samples(DType::F64) {
        let [one, two] = spaces(&form);
        let mut rng = Seeded::new(6);
        let mut schedules = vec![one.default()];
        schedules.extend((0..20).map(|_| one.sample(&mut rng)));
        for schedule in schedules {
            let divided = two.shared(&schedule);
            two.check(&divided).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            let nest = apply(&form, &divided).unwrap_or_else(|error| panic!("{name}: {error}"));
            verify_nest(&nest).unwrap_or_else(|error| panic!("{name}: {error}"));
            let united = one.shared(&divided);
            one.check(&united).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert!(united.stages.iter().all(|stage| !stage.parallel), "{name}");
        }
    }
    let [one, two] = spaces(&forms::matmul(512, 512, 512, DType::F32));
    let divided = two.shared(&one.default());
    assert!(divided.stages[0].parallel);
    assert_eq!(divided.stages[0].tile, one.default().stages[0].tile);
}

/// What a rule file proposes is gone from the proposals and from every sample when the file is.
#[test]
fn a_rule_file_removed_takes_its_candidates_with_it() {
    let (small, large) = (forms::gemm(256, 256, 256, DType::F32), forms::gemm(8192, 8192, 16, DType::F32));
    type Uses = fn(&Schedule) -> bool;
    let uses: [(&str, Uses); 7] = [
        ("pack", |s| s.stages.iter().any(|stage| !stage.packs.is_empty())),
        ("tile", |s| s.stages.iter().any(|stage| !stage.loops.is_empty())),
        ("vectorize", |s| s.stages.iter().any(|stage| stage.tile.iter().any(|t| t.lanes > 1))),
        ("unroll", |s| s.stages.iter().any(|stage| stage.tile.iter().any(|t| t.unroll > 1))),
        ("place", |s| s.stages.iter().any(|stage| stage.place != Place::Root)),
        ("parallel", |s| s.stages.iter().any(|stage| stage.parallel)),
        ("stream", |s| s.stages.iter().any(|stage| stage.stream)),
    ];
    for (file, uses) in uses {
        let form = if file == "stream" { &large } else { &small };
        let count = |rules: &ScheduleRules| {
            let space = space_with(form, rules, Numerics::Reassociate, 2);
            let mut rng = Seeded::new(5);
            (0..80).filter(|_| uses(&space.sample(&mut rng))).count()
        };
        let (with, without) = (count(&ScheduleRules::standard()), count(&ScheduleRules::standard().without(file)));
        assert!(with > 10, "{file}: only {with} of 80 samples use it");
        assert_eq!(without, 0, "{file}: {without} of 80 samples use it although the file is gone");
    }
}

/// The shapes that the best kernels have must be among the samples' building blocks.
#[test]
fn the_shapes_of_fast_kernels_are_legal() {
    use moat_optimizer::schedule::{LoopSpec, Pack, TileSpec};
    let space = space(&forms::matmul(1024, 1024, 1024, DType::F32));
    for (rows, vectors) in [(14, 2), (12, 2), (8, 3), (6, 4)] {
        assert!(space.proposals().register_tiles.contains(&(0, rows, vectors)), "{rows}x{vectors}");
        let (mr, nr) = (rows, vectors * 16);
        let l = |axis, step| LoopSpec { axis, step };
        let stage = StageSchedule {
            place: Place::Root,
            loops: vec![l(1, nr * 12), l(2, 256), l(0, mr * 16)],
            tile: vec![
                TileSpec { axis: 1, unroll: vectors, lanes: 16 },
                TileSpec { axis: 0, unroll: rows, lanes: 1 },
                TileSpec { axis: 2, unroll: 1, lanes: 1 },
            ],
            parallel: false,
            serial: 0,
            stream: false,
            packs: vec![
                Pack { load: 0, depth: 3, layout: vec![l(0, mr), l(2, 1), l(0, 1)] },
                Pack { load: 1, depth: 2, layout: vec![l(1, nr), l(2, 1), l(1, 1)] },
            ],
        };
        space.check(&Schedule { stages: vec![stage], time_tiles: vec![] }).unwrap();
    }
}

/// The draft must order what is known: the better schedule of each pair is clearly better.
#[test]
fn the_draft_prefers_what_is_known_to_be_faster() {
    for (name, form) in [
        ("matmul", forms::matmul(1024, 1024, 1024, DType::F32)),
        ("softmax", forms::softmax(4096, 1024, DType::F32)),
        ("blur", forms::blur(2560, 1536, DType::F32)),
        ("colsum", forms::colsum(4096, 1024, DType::F32)),
        ("matvec", forms::matvec(4096, 4096, DType::F32)),
        ("axpby", forms::axpby(1 << 22, DType::F32)),
    ] {
        let space = space(&form);
        let (plain, default) = (space.draft(&space.plain()), space.draft(&space.default()));
        assert!(default < plain, "{name}: default {default} ns, plain {plain} ns");
        assert!(space.lower_bound() <= default, "{name}: bound {} ns, default {default} ns", space.lower_bound());
    }
}
