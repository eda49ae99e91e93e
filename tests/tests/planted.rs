//! Planted illegal schedules of programs with loops: each is refused, the refusal names the dependence, and brute force
//! over the instances of a nest made of it finds that dependence reversed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use moat_codegen::host_target;
use moat_optimizer::apply::apply;
use moat_optimizer::frontend::{ParseOptions, parse};
use moat_optimizer::schedule::time::Tilable;
use moat_optimizer::schedule::{Band, LoopSpec, Panel, Place, Schedule, TimeTile};
use moat_optimizer::space::ScheduleSpace;
use moat_optimizer::storage::Schedulable;
use moat_optimizer::value::numerics::Numerics;
use moat_rules::RuleBase;
use moat_rules::schedule_rules::ScheduleRules;
use moat_tests::pipeline::forms;
use moat_tests::scheduled_order::{self, Order};
use moat_tests::source_order::SourceOrder;
use std::collections::BTreeSet;

const JACOBI: &str = "
def f(A: f64[12], B: f64[12]):
    for t in range(6):
        B[1:-1] = A[:-2] + A[1:-1] + A[2:]
        A[1:-1] = B[:-2] + B[1:-1] + B[2:]
    return A, B
";

const PLANE: &str = "
def f(A: f64[7, 8], B: f64[7, 8]):
    for t in range(4):
        B[1:-1, 1:-1] = A[:-2, 1:-1] + A[2:, 1:-1] + A[1:-1, :-2] + A[1:-1, 2:]
        A[1:-1, 1:-1] = B[1:-1, 1:-1] * 0.25
    return A
";

const REVERSED: &str = "
def f(A: f64[80], B: f64[80]):
    for t in range(6):
        B[:] = A[::-1] * 0.5
        A[:] = B + 1.0
    return A
";

const FACTORS: &str = "
def f(A: Annotated[f64[9, 9], SPD]):
    for k in range(9):
        A[k + 1:, k] /= A[k, k]
        A[k + 1:, k + 1:] -= np.outer(A[k + 1:, k], A[k, k + 1:])
    return A
";

const SWEEPS: &str = "
def f(A: f64[7, 8]):
    for t in range(4):
        for i in range(1, 6):
            for j in range(1, 7):
                A[i, j] = (A[i - 1, j + 1] + A[i, j - 1] + A[i, j] + A[i + 1, j]) * 0.25
    return A
";

const STEPS: &str = "
def f(A: f64[9], B: f64[9]):
    for k in range(0, 7, 3):
        for t in range(3):
            for i in range(1, 8):
                B[i] += np.minimum(A[i] + B[i], 100.0)
        A[k:] = np.maximum(B[k:], A[k:]) * 0.5
    return A, B
";

const SUMS: &str = "
def f(A: f64[8, 8], x: f64[8]):
    s = np.zeros_like(x)
    for t in range(3):
        s[:] = A @ x
        x[:] = s * 0.125
    return x
";

const INTO: &str = "
def f(A: f64[8, 8], x: f64[8]):
    for t in range(3):
        x[:] = A @ x
    return x
";

fn form(source: &str, numerics: Numerics) -> Schedulable {
    let header = "from __future__ import annotations\nfrom typing import Annotated\nimport numpy as np\n";
    let text = format!("{header}{source}");
    let workload = parse("planted.py", &text, &ParseOptions::default()).unwrap();
    forms(&workload.program, &RuleBase::standard().unwrap(), numerics, 1).unwrap().remove(0).form
}

fn space(form: &Schedulable, numerics: Numerics) -> ScheduleSpace {
    ScheduleSpace::new(form, &host_target(), &ScheduleRules::standard(), numerics, 2).unwrap()
}

/// The messages of a refusal.
fn refusal(space: &ScheduleSpace, schedule: &Schedule) -> String {
    let illegal = space.check(schedule).expect_err("a planted schedule is legal");
    illegal.iter().map(|illegal| format!("{} {illegal}", illegal.rule)).collect::<Vec<_>>().join("\n")
}

/// What brute force finds, in either order.
fn reversed(form: &Schedulable, schedule: &Schedule) -> Option<String> {
    let source = SourceOrder::of(form, 100_000).unwrap();
    let nest = apply(&source.marked, schedule).unwrap();
    let inlined: BTreeSet<usize> =
        (0..form.defs.len()).filter(|&id| schedule.stages[id].place == Place::Inline).collect();
    [Order::Written, Order::Together]
        .into_iter()
        .find_map(|order| scheduled_order::check(&source, &nest, &inlined, order).err())
}

/// The legal tile of the only loop, with bands of `height` along `dims`.
fn tile(space: &ScheduleSpace, dims: &[usize], time: usize, height: usize) -> TimeTile {
    let known = space.time_loops();
    let bands = dims.iter().map(|&dim| {
        let known = known.iter().find(|known| known.dim == dim).unwrap();
        let Tilable { skew, shifts, independent, panel, .. } = known.clone();
        Band { dim, skew, shifts, independent, panel, height }
    });
    TimeTile { var: known[0].var, time, bands: bands.collect(), parallel: false }
}

#[test]
fn tiles_that_move_too_little_are_refused_with_the_dependence() {
    let mut text = String::new();
    for (name, source, dims) in [("jacobi", JACOBI, 1), ("plane", PLANE, 2)] {
        let form = form(source, Numerics::Reassociate);
        let space = space(&form, Numerics::Reassociate);
        for dim in 0..dims {
            let mut schedule = space.plain();
            let legal = tile(&space, &[dim], 3, 2);
            schedule.time_tiles = vec![legal.clone()];
            space.check(&schedule).unwrap();
            assert_eq!(reversed(&form, &schedule), None, "{name}: a legal tile");
            let mut planted: Vec<(&str, TimeTile)> = Vec::new();
            let mut plant = |what, change: &dyn Fn(&mut Band)| {
                let mut tile = legal.clone();
                change(&mut tile.bands[0]);
                planted.push((what, tile));
            };
            plant("less skew", &|band| band.skew -= 1);
            plant("no skew", &|band| band.skew = 0);
            if legal.bands[0].shifts.iter().any(|&shift| shift > 0) {
                plant("no shift", &|band| band.shifts.iter_mut().for_each(|shift| *shift = 0));
            }
            for (what, tile) in planted {
                schedule.time_tiles = vec![tile];
                let found = reversed(&form, &schedule);
                let refused = refusal(&space, &schedule);
                assert!(refused.contains("dependence through `"), "{name}, {what}: {refused}");
                text += &format!("{name}, dimension {dim}, {what}\n  {refused}\n");
                assert!(found.is_some(), "{name}, {what}: brute force finds no dependence reversed");
            }
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_loop_without_a_legal_band_is_not_tiled() {
    let form = form(REVERSED, Numerics::Reassociate);
    let space = space(&form, Numerics::Reassociate);
    assert!(space.time_loops().is_empty(), "{:?}", space.time_loops());
    let mut schedule = space.plain();
    for skew in [0, 1, 4] {
        let bands = vec![Band { dim: 0, skew, shifts: vec![0, 0], independent: false, panel: None, height: 3 }];
        schedule.time_tiles = vec![TimeTile { var: 0, time: 3, bands, parallel: false }];
        let refused = refusal(&space, &schedule);
        assert!(refused.contains("dependence through `"), "{refused}");
        assert!(reversed(&form, &schedule).is_some(), "skew {skew}: brute force finds no dependence reversed");
    }
    insta::assert_snapshot!(refusal(&space, &schedule));
}

#[test]
fn what_runs_after_a_panel_that_is_too_small_is_refused_with_the_dependence() {
    let form = form(FACTORS, Numerics::Reassociate);
    let space = space(&form, Numerics::Reassociate);
    let mut text = String::new();
    for dim in 0..2 {
        for (time, height) in [(3, 1), (2, 2), (4, 3)] {
            let mut legal = tile(&space, &[dim], time, height);
            legal.parallel = true;
            let mut schedule = space.plain();
            schedule.time_tiles = vec![legal.clone()];
            space.check(&schedule).unwrap();
            assert_eq!(reversed(&form, &schedule), None, "a legal panel");
            let panel = legal.bands[0].panel.unwrap();
            let mut smaller = legal.clone();
            smaller.bands[0].panel = Some(Panel { ends: panel.ends - 1, ..panel });
            schedule.time_tiles = vec![smaller];
            let refused = refusal(&space, &schedule);
            assert!(refused.contains("dependence through `"), "{refused}");
            assert!(reversed(&form, &schedule).is_some(), "{time} by {height}: brute force finds none reversed");
            text += &format!("dimension {dim}, {time} iterations by {height}\n  {refused}\n");
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn whatever_tile_is_legal_keeps_every_dependence() {
    let mut count = 0;
    for source in [JACOBI, PLANE, FACTORS, SWEEPS, STEPS] {
        let form = form(source, Numerics::Reassociate);
        let space = space(&form, Numerics::Reassociate);
        for Tilable { var, dim, skew, shifts, independent, panel } in space.time_loops() {
            for (time, height) in [(1, 1), (2, 1), (3, 2), (4, 5)] {
                for parallel in [false, true] {
                    let (shifts, panel) = (shifts.clone(), panel.filter(|_| height != 2));
                    let bands = vec![Band { dim, skew, shifts, independent, panel, height }];
                    let mut schedule = space.plain();
                    schedule.time_tiles = vec![TimeTile { var, time, bands, parallel }];
                    space.check(&schedule).unwrap();
                    assert_eq!(reversed(&form, &schedule), None, "{source}{schedule:?}");
                    count += 1;
                }
            }
        }
    }
    assert!(count >= 60, "{count}");
}

#[test]
fn tiles_of_a_loop_around_loops_move_as_far_as_their_sweeps_need() {
    let form = form(SWEEPS, Numerics::Reassociate);
    let space = space(&form, Numerics::Reassociate);
    let mut schedule = space.plain();
    let known = space.time_loops();
    let var = known.iter().map(|known| known.var).min().unwrap();
    let Tilable { dim, skew, shifts, .. } = known.into_iter().find(|known| known.var == var).unwrap();
    assert_eq!((dim, skew), (0, 1));
    let mut text = String::new();
    for (parallel, skew) in [(false, skew), (true, skew), (false, 0), (true, 0)] {
        let band = Band { dim, skew, shifts: shifts.clone(), independent: false, panel: None, height: 2 };
        schedule.time_tiles = vec![TimeTile { var, time: 3, bands: vec![band], parallel }];
        let found = reversed(&form, &schedule);
        if skew == 1 {
            space.check(&schedule).unwrap();
            assert_eq!(found, None);
        } else {
            let refused = refusal(&space, &schedule);
            assert!(refused.contains("dependence through `"), "{refused}");
            assert!(found.is_some(), "brute force finds no dependence reversed");
            text += &format!("{refused}\n");
        }
    }
    let inner = TimeTile { var: var + 1, ..schedule.time_tiles[0].clone() };
    schedule.time_tiles.push(inner);
    text += &refusal(&space, &schedule);
    insta::assert_snapshot!(text);
}

#[test]
fn tiles_that_are_no_tiles_are_refused() {
    let form = form(PLANE, Numerics::Reassociate);
    let space = space(&form, Numerics::Reassociate);
    let legal = tile(&space, &[0, 1], 2, 3);
    let refused = |tiles: Vec<TimeTile>| {
        let schedule = Schedule { time_tiles: tiles, ..space.plain() };
        refusal(&space, &schedule)
    };
    let changed = |change: &dyn Fn(&mut TimeTile)| {
        let mut tile = legal.clone();
        change(&mut tile);
        refused(vec![tile])
    };
    let all = [
        changed(&|tile| tile.time = 0),
        changed(&|tile| tile.bands[1].height = 0),
        changed(&|tile| tile.bands.clear()),
        changed(&|tile| tile.bands[1] = tile.bands[0].clone()),
        changed(&|tile| tile.bands[0].dim = 7),
        changed(&|tile| tile.var = 9),
        refused(vec![legal.clone(), legal.clone()]),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn stages_that_break_a_dependence_are_refused_with_it() {
    let numerics = Numerics::Exact;
    let form = form(SUMS, numerics);
    let space = space(&form, numerics);
    let plain = space.plain();
    let folding =
        (0..form.defs.len()).find(|&id| form.defs[id].pieces.iter().any(|piece| piece.fold.is_some())).unwrap();
    let reader = (folding + 1..form.defs.len()).find(|&id| form.defs[id].update.is_some()).unwrap();
    let name = form.defs[folding].name.clone();
    let mut text = String::new();
    let mut plant = |what: &str, named: &str, change: &dyn Fn(&mut Schedule)| {
        let mut schedule = plain.clone();
        change(&mut schedule);
        let refused = refusal(&space, &schedule);
        assert!(refused.contains(named), "{what}: {refused}");
        text += &format!("{what}\n  {}\n", refused.replace('\n', "\n  "));
    };
    let own = format!("`{name}` → `{name}`");
    plant("lanes along the fold", &own, &|schedule| schedule.stages[folding].tile[1].lanes = 4);
    plant("registers along the fold", &own, &|schedule| schedule.stages[folding].tile[1].unroll = 2);
    plant("threads along the fold", &own, &|schedule| {
        schedule.stages[folding].loops = vec![LoopSpec { axis: 1, step: 2 }];
        schedule.stages[folding].parallel = true;
    });
    plant("an update that is inlined", "dependence", &|schedule| schedule.stages[reader].place = Place::Inline);
    insta::assert_snapshot!(text);
}

/// A fold that reads a state, computed in the loop of the update that reads it: in `SUMS` that stores another state than
/// the fold reads, in `INTO` the same one.
#[test]
fn a_fold_moves_into_its_reader_unless_that_stores_what_it_reads() {
    for (source, moves) in [(SUMS, true), (INTO, false)] {
        let form = form(source, Numerics::Exact);
        let space = space(&form, Numerics::Exact);
        let folding =
            (0..form.defs.len()).find(|&id| form.defs[id].pieces.iter().any(|piece| piece.fold.is_some())).unwrap();
        let reader = (folding + 1..form.defs.len()).find(|&id| form.defs[id].update.is_some()).unwrap();
        let mut schedule = space.plain();
        schedule.stages[reader].loops = vec![LoopSpec { axis: 0, step: 2 }];
        schedule.stages[folding].place = Place::At { consumer: reader, depth: 1 };
        let found = reversed(&form, &schedule);
        if moves {
            space.check(&schedule).unwrap();
            assert_eq!(found, None);
        } else {
            assert!(found.is_some(), "brute force finds no dependence reversed");
            insta::assert_snapshot!(refusal(&space, &schedule));
        }
    }
}
