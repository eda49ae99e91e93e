//! Planted illegal schedules: each is refused, by the rule that is there for it, and gets through
//! when that rule is switched off.

#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

use moat_optimizer::form::normal_form::NormalForm;
use moat_optimizer::integer::range::Range;
use moat_optimizer::schedule::legality::{LegalityRules, check};
use moat_optimizer::schedule::plain::plain_schedule as plain;
use moat_optimizer::schedule::{LoopSpec, Pack, Place, Schedule};
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::numerics::Numerics;
use moat_rules::legality::RULES;
use moat_tests::forms;
use std::collections::BTreeSet;

struct Planted {
    rule: &'static str,
    form: NormalForm,
    numerics: Numerics,
    schedule: Schedule,
}

fn l(axis: usize, step: usize) -> LoopSpec {
    LoopSpec { axis, step }
}

fn planted() -> Vec<Planted> {
    let f = DType::F32;
    let mut all = Vec::new();
    let mut plant = |rule, form: NormalForm, numerics, change: &dyn Fn(&mut Schedule)| {
        let mut schedule = plain(&form);
        check(&form, &schedule, numerics, &LegalityRules::standard()).unwrap();
        change(&mut schedule);
        all.push(Planted { rule, form, numerics, schedule });
    };
    let free = Numerics::Reassociate;
    let exact = Numerics::Exact;
    let matmul = || forms::matmul(64, 64, 64, f).into_form();

    plant("together/carried", forms::rowsum(8, 64, f).into_form(), exact, &|s| s.stages[0].tile[1].lanes = 16);
    plant("together/carried", forms::rowsum(8, 64, f).into_form(), exact, &|s| s.stages[0].tile[1].unroll = 4);
    // One term an element carries nothing, but partial sums begin with 0, and 0 + −0 is another number.
    let mut single = forms::rowsum(8, 64, f).into_form();
    single.defs[0].pieces[0].domain[1] = Range::constant(63, 64);
    plant("together/carried", single, exact, &|s| s.stages[0].tile[1].lanes = 16);
    plant("order/reversed", forms::frobenius(8, 8, f).into_form(), exact, &|s| s.stages[0].tile.swap(0, 1));
    plant("order/reversed", forms::frobenius(8, 8, f).into_form(), exact, &|s| s.stages[0].loops = vec![l(1, 4)]);
    plant("parallel/carried", matmul(), free, &|s| {
        s.stages[0].loops = vec![l(2, 16)];
        s.stages[0].parallel = true;
    });
    plant("parallel/carried", matmul(), free, &|s| {
        s.stages[0].loops = vec![l(0, 16), l(2, 16)];
        (s.stages[0].parallel, s.stages[0].serial) = (true, 1);
    });
    plant("parallel/loop", matmul(), free, &|s| s.stages[0].parallel = true);
    plant("parallel/loop", matmul(), free, &|s| {
        s.stages[0].loops = vec![l(0, 16)];
        (s.stages[0].parallel, s.stages[0].serial) = (true, 1);
    });
    plant("parallel/place", forms::softmax(8, 64, f).into_form(), free, &|s| {
        s.stages[3].loops = vec![l(0, 2)];
        for stage in 0..3 {
            s.stages[stage].place = Place::At { consumer: 3, depth: 1 };
        }
        s.stages[0].loops = vec![l(0, 1)];
        s.stages[0].parallel = true;
    });
    plant("inline/fold", forms::gemm(8, 8, 8, f).into_form(), free, &|s| s.stages[0].place = Place::Inline);
    plant("inline/result", forms::axpby(8, f).into_form(), free, &|s| s.stages[0].place = Place::Inline);
    plant("inline/flat", forms::flat(8, f).into_form(), free, &|s| s.stages[0].place = Place::Inline);
    let mut two = forms::jacobi(8, f).into_form();
    let mut copy = forms::blur(8, 8, f).into_form().defs.remove(1);
    copy.pieces[0].value.nodes.truncate(1);
    copy.shape = vec![6, 8];
    copy.axes = vec![6, 8];
    copy.pieces[0].domain = forms::boxed(&[6, 8]);
    copy.name = "copy".to_string();
    two.defs.push(copy);
    two.outputs = vec![1];
    plant("inline/pieces", two, free, &|s| s.stages[0].place = Place::Inline);

    plant("at/outside", forms::softmax(8, 64, f).into_form(), free, &|s| {
        s.stages[3].loops = vec![l(0, 2)];
        s.stages[1].place = Place::At { consumer: 3, depth: 1 };
    });
    plant("at/flat", forms::flat(8, f).into_form(), free, &|s| {
        s.stages[1].loops = vec![l(0, 4)];
        s.stages[0].place = Place::At { consumer: 1, depth: 1 };
    });
    plant("at/depth", forms::blur(8, 20, f).into_form(), free, &|s| {
        s.stages[1].loops = vec![l(0, 2)];
        s.stages[0].place = Place::At { consumer: 1, depth: 2 };
    });
    plant("at/consumer", forms::blur(8, 20, f).into_form(), free, &|s| {
        s.stages[0].place = Place::At { consumer: 0, depth: 1 };
        s.stages[0].loops = vec![l(0, 2)];
    });
    plant(
        "at/result",
        {
            let mut form = forms::blur(8, 20, f).into_form();
            form.outputs = vec![0, 1];
            form
        },
        free,
        &|s| {
            s.stages[1].loops = vec![l(0, 2)];
            s.stages[0].place = Place::At { consumer: 1, depth: 1 };
        },
    );

    plant("axis/unknown", forms::axpby(64, f).into_form(), free, &|s| s.stages[0].loops = vec![l(1, 8)]);
    plant("tile/missing", matmul(), free, &|s| {
        s.stages[0].tile.pop();
    });
    plant("tile/repeated", matmul(), free, &|s| s.stages[0].tile[1] = s.stages[0].tile[0]);
    plant("tile/folds-last", matmul(), free, &|s| s.stages[0].tile.swap(0, 2));
    plant("tile/bounds", forms::triangular(16, 16, f).into_form(), free, &|s| s.stages[0].tile.swap(0, 2));
    let ragged_folds = || {
        let mut form = forms::frobenius(16, 16, f).into_form();
        form.defs[0].pieces[0].domain[1].hi = vec![forms::axis(0).offset(1)];
        form
    };
    plant("tile/ragged", ragged_folds(), free, &|s| s.stages[0].tile[0].lanes = 2);
    plant("tile/empty", matmul(), free, &|s| s.stages[0].tile[0].unroll = 0);
    plant("loop/step", matmul(), free, &|s| s.stages[0].loops = vec![l(0, 0)]);
    plant("loop/nested", matmul(), free, &|s| s.stages[0].loops = vec![l(0, 32), l(0, 12)]);
    plant("loop/nested", matmul(), free, &|s| s.stages[0].loops = vec![l(0, 8), l(0, 32)]);
    plant("loop/register-tile", matmul(), free, &|s| {
        s.stages[0].loops = vec![l(0, 32)];
        s.stages[0].tile[0].unroll = 6;
    });
    plant("vector/one-axis", matmul(), free, &|s| {
        s.stages[0].tile[0].lanes = 4;
        s.stages[0].tile[1].lanes = 4;
    });

    let pack = |load, depth, layout: &[LoopSpec]| Pack { load, depth, layout: layout.to_vec() };
    let b = [l(2, 1), l(1, 1)];
    plant("pack/loop", matmul(), free, &|s| s.stages[0].packs = vec![pack(1, 0, &[l(1, 16), l(2, 1), l(1, 1)])]);
    plant("pack/load", matmul(), free, &|s| s.stages[0].packs = vec![pack(2, 0, &b)]);
    plant("pack/depth", matmul(), free, &|s| s.stages[0].packs = vec![pack(1, 1, &b)]);
    plant("pack/repeated", matmul(), free, &|s| s.stages[0].packs = vec![pack(1, 0, &b), pack(1, 0, &b)]);
    plant("pack/axes", matmul(), free, &|s| s.stages[0].packs = vec![pack(0, 0, &b)]);
    plant("pack/digits", matmul(), free, &|s| {
        s.stages[0].loops = vec![l(1, 16)];
        s.stages[0].packs = vec![pack(1, 0, &[l(1, 16), l(2, 1)])];
    });
    plant("pack/pieces", forms::jacobi(8, f).into_form(), free, &|s| {
        s.stages[0].packs = vec![pack(0, 0, &[l(0, 1), l(1, 1)])];
    });
    plant("pack/source", forms::blur(8, 20, f).into_form(), free, &|s| {
        s.stages[0].place = Place::Inline;
        s.stages[1].packs = vec![pack(0, 0, &[l(0, 1), l(1, 1)])];
    });
    let mut short = forms::triangular(16, 16, f).into_form();
    short.params[1].shape = vec![16, 16];
    short.defs[0].pieces[0].domain[2].hi.push(moat_optimizer::integer::affine::Affine::constant(12));
    short.defs[0].pieces[0].domain[2].lo = vec![forms::axis(0).offset(-20)];
    short.defs[0].pieces[0].domain[2].lo.push(forms::axis(0).offset(-15));
    plant("pack/bounds", short, free, &|s| {
        s.stages[0].packs = vec![pack(1, 0, &[l(2, 1), l(1, 1)])];
    });
    all
}

#[test]
fn planted_schedules_are_refused_by_the_rule_that_is_there_for_them() {
    for planted in planted() {
        let found = check(&planted.form, &planted.schedule, planted.numerics, &LegalityRules::standard())
            .expect_err(planted.rule);
        let rules: BTreeSet<&str> = found.iter().map(|illegal| illegal.rule).collect();
        assert!(rules.contains(planted.rule), "{}: refused only by {rules:?}", planted.rule);
    }
}

#[test]
fn with_its_rule_removed_a_planted_schedule_gets_through() {
    let mut alone = BTreeSet::new();
    for planted in planted() {
        let rules = LegalityRules::standard().without(planted.rule);
        match check(&planted.form, &planted.schedule, planted.numerics, &rules) {
            Ok(()) => {
                alone.insert(planted.rule);
            }
            Err(others) => {
                // Another rule refuses it too; without both it gets through.
                let mut rules = rules;
                for other in &others {
                    assert_ne!(other.rule, planted.rule);
                    rules = rules.without(other.rule);
                }
                check(&planted.form, &planted.schedule, planted.numerics, &rules).unwrap();
            }
        }
    }
    for rule in ["together/carried", "order/reversed", "parallel/carried", "inline/fold", "at/outside", "pack/axes"] {
        assert!(alone.contains(rule), "{rule} is not what alone refuses its planted schedule: {alone:?}");
    }
}

#[test]
fn every_rule_has_a_planted_schedule() {
    let planted: BTreeSet<&str> = planted().iter().map(|planted| planted.rule).collect();
    let missing: Vec<&str> = RULES.iter().map(|rule| rule.0).filter(|rule| !planted.contains(rule)).collect();
    assert!(missing.is_empty(), "no planted schedule for {missing:?}");
}

#[test]
fn what_is_legal_is_not_refused() {
    let legal = LegalityRules::standard();
    // Blocking one fold axis keeps the order of the sum.
    let form = forms::matmul(64, 64, 64, DType::F32).into_form();
    let mut schedule = plain(&form);
    schedule.stages[0].loops = vec![l(2, 16), l(0, 32), l(1, 32)];
    schedule.stages[0].tile[1].lanes = 16;
    schedule.stages[0].tile[0].unroll = 4;
    check(&form, &schedule, Numerics::Exact, &legal).unwrap();
    // Integer sums and float maxima reorder exactly.
    let form = forms::rowsum(8, 64, DType::I32).into_form();
    let mut schedule = plain(&form);
    schedule.stages[0].tile[1].lanes = 16;
    check(&form, &schedule, Numerics::Exact, &legal).unwrap();
    let form = forms::softmax(8, 64, DType::F32).into_form();
    let mut schedule = plain(&form);
    schedule.stages[0].tile[1].lanes = 16;
    schedule.stages[3].loops = vec![l(0, 2)];
    for stage in 0..3 {
        schedule.stages[stage].place = Place::At { consumer: 3, depth: 1 };
    }
    check(&form, &schedule, Numerics::Exact, &legal).unwrap();
    // Read through an inlined definition.
    schedule.stages[1].place = Place::Inline;
    check(&form, &schedule, Numerics::Exact, &legal).unwrap();
}
