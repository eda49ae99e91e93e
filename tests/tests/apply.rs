//! Loop nests that schedules make, as text. The numbers are checked elsewhere (differential
//! tests); here the structure is.

use moat_optimizer::apply::apply;
use moat_optimizer::nest::print::display;
use moat_optimizer::schedule::plain::plain_schedule;
use moat_optimizer::schedule::{LoopSpec, Pack, Place, Schedule, TileSpec};
use moat_optimizer::storage::Schedulable;
use moat_optimizer::value::dtype::DType;
use moat_tests::forms;

fn check(form: &Schedulable, edit: impl FnOnce(&mut Schedule)) -> String {
    let mut schedule = plain_schedule(form);
    edit(&mut schedule);
    match apply(form, &schedule) {
        Ok(nest) => display(&nest),
        Err(error) => format!("error: {error}"),
    }
}

fn spec(axis: usize, step: usize) -> LoopSpec {
    LoopSpec { axis, step }
}

fn tile(axis: usize, unroll: usize, lanes: usize) -> TileSpec {
    TileSpec { axis, unroll, lanes }
}

#[test]
fn plain_matmul() {
    insta::assert_snapshot!(check(&forms::matmul(5, 6, 7, DType::F32), |_| {}));
}

#[test]
fn blocked_and_packed_matmul() {
    insta::assert_snapshot!(check(&forms::matmul(100, 100, 70, DType::F32), |schedule| {
        let stage = &mut schedule.stages[0];
        stage.loops = vec![spec(1, 64), spec(2, 32), spec(0, 24), spec(1, 32), spec(0, 12)];
        stage.tile = vec![tile(0, 12, 1), tile(1, 2, 16), tile(2, 1, 1)];
        stage.packs = vec![
            Pack { load: 0, depth: 3, layout: vec![spec(0, 12), spec(2, 1), spec(0, 1)] },
            Pack { load: 1, depth: 2, layout: vec![spec(1, 32), spec(2, 1), spec(1, 1)] },
        ];
        stage.parallel = true;
    }));
}

#[test]
fn threads_share_what_is_packed_around_their_loop() {
    insta::assert_snapshot!(check(&forms::matmul(96, 64, 64, DType::F32), |schedule| {
        let stage = &mut schedule.stages[0];
        stage.loops = vec![spec(2, 32), spec(0, 24)];
        stage.tile = vec![tile(0, 6, 1), tile(1, 2, 8), tile(2, 1, 1)];
        stage.packs = vec![
            Pack { load: 0, depth: 2, layout: vec![spec(0, 6), spec(2, 1), spec(0, 1)] },
            Pack { load: 1, depth: 1, layout: vec![spec(1, 16), spec(2, 1), spec(1, 1)] },
        ];
        (stage.parallel, stage.serial) = (true, 1);
    }));
}

#[test]
fn softmax_by_rows() {
    insta::assert_snapshot!(check(&forms::softmax(10, 33, DType::F32), |schedule| {
        let last = schedule.stages.len() - 1;
        for stage in &mut schedule.stages[..last] {
            stage.place = Place::At { consumer: last, depth: 1 };
        }
        schedule.stages[last].loops = vec![spec(0, 2)];
        schedule.stages[last].parallel = true;
    }));
}

#[test]
fn blur_in_row_blocks() {
    insta::assert_snapshot!(check(&forms::blur(20, 30, DType::F32), |schedule| {
        let last = schedule.stages.len() - 1;
        schedule.stages[last].loops = vec![spec(0, 8)];
        schedule.stages[0].place = Place::At { consumer: last, depth: 1 };
    }));
}

#[test]
fn blur_inlined() {
    insta::assert_snapshot!(check(&forms::blur(4, 30, DType::F32), |schedule| {
        schedule.stages[0].place = Place::Inline;
    }));
}

#[test]
fn a_triangular_domain_is_exact_in_the_tile_and_relaxed_around_it() {
    insta::assert_snapshot!(check(&forms::triangular(10, 6, DType::F64), |schedule| {
        schedule.stages[0].loops = vec![spec(0, 4)];
    }));
}

#[test]
fn refusals() {
    let matmul = forms::matmul(5, 6, 7, DType::F32);
    let messages = [
        check(&matmul, |s| s.stages[0].tile.truncate(2)),
        check(&matmul, |s| s.stages[0].tile.swap(0, 2)),
        check(&matmul, |s| s.stages[0].place = Place::Inline),
        check(&matmul, |s| s.stages[0].loops = vec![spec(3, 2)]),
        check(&matmul, |s| s.stages[0].packs = vec![Pack { load: 0, depth: 0, layout: vec![spec(0, 4), spec(0, 1)] }]),
        check(&matmul, |s| s.stages[0].parallel = true),
    ];
    insta::assert_snapshot!(messages.join("\n"));
}
