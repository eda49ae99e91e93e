//! Normal forms: each is well-formed, computes what the source computes, and replays.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod programs;

use moat_optimizer::form::evaluate::evaluate;
use moat_optimizer::form::notation::print;
use moat_optimizer::form::scalar_tree::ScalarOp;
use moat_optimizer::form::verify::verify_form;
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::integer::index_map::IndexMap;
use moat_optimizer::normalize::contraction::Spec;
use moat_optimizer::normalize::{Form, Limit, NormalizeConfig, Normalized, normalize, replay};
use moat_optimizer::oracle::inputs;
use moat_optimizer::oracle::interpret::interpret;
use moat_optimizer::program::expr::Program;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::scalar::{BinaryOp, FoldOp};
use moat_optimizer::value::tensor::Tensor;
use moat_rules::RuleBase;

fn forms_at(program: &Program, numerics: Numerics) -> Normalized {
    let config = NormalizeConfig { numerics, ..NormalizeConfig::default() };
    normalize(program, &RuleBase::standard().unwrap(), &config).unwrap_or_else(|e| panic!("{}: {e}", program.name))
}

fn forms(program: &Program) -> Vec<Form> {
    forms_at(program, Numerics::Reassociate).forms
}

/// Every form computes what the interpreter does, within the bound of the numerics.
fn check(program: &Program, numerics: Numerics) {
    let forms = forms_at(program, numerics).forms;
    for seed in 1..3 {
        let tensors: Vec<Tensor> = program.params.iter().map(|p| inputs::random(p, seed).unwrap()).collect();
        let reference = interpret(program, &tensors, numerics).unwrap();
        for form in &forms {
            let text = print(&form.normal_form);
            verify_form(&form.normal_form).unwrap_or_else(|e| panic!("{}: {e:?}\n{text}", program.name));
            let got = evaluate(&form.normal_form, &tensors).unwrap_or_else(|e| panic!("{}: {e}\n{text}", program.name));
            for (reference, got) in reference.iter().zip(&got) {
                if let Err(error) = reference.check(got) {
                    panic!("{} ({numerics}): {error}\n{:?}\n{text}", program.name, form.derivation.rules);
                }
            }
        }
    }
}

#[test]
fn every_form_computes_what_the_source_computes() {
    for program in programs::all() {
        for numerics in [Numerics::Exact, Numerics::Reassociate, Numerics::Algebraic] {
            check(&program, numerics);
        }
    }
}

#[test]
fn every_derivation_replays_and_names_its_rules() {
    let rules = RuleBase::standard().unwrap();
    let config = NormalizeConfig::default();
    for program in [programs::chain(), programs::trace(), programs::softmax(), programs::mixed()] {
        for form in normalize(&program, &rules, &config).unwrap().forms {
            replay(&program, &rules, &form, &config).unwrap_or_else(|e| panic!("{}: {e}", program.name));
        }
    }
}

#[test]
fn a_derivation_of_too_few_rules_does_not_replay() {
    let rules = RuleBase::standard().unwrap();
    let config = NormalizeConfig::default();
    let program = programs::chain();
    let mut form = normalize(&program, &rules, &config).unwrap().forms[1].clone();
    assert!(form.derivation.rules.contains(&"reduce/fuse".to_owned()), "{:?}", form.derivation.rules);
    form.derivation.rules.retain(|rule| rule != "reduce/fuse");
    assert!(replay(&program, &rules, &form, &config).is_err());
}

#[test]
fn the_chain_becomes_two_matrix_vector_products() {
    let found = forms(&programs::chain());
    assert_eq!(found[0].flops, 2 * 30 * 40 * 50 + 2 * 30 * 50);
    assert_eq!(found[1].flops, 2 * 40 * 50 + 2 * 30 * 40);
}

#[test]
fn a_longer_chain_is_as_cheap_as_dynamic_programming_finds() {
    let n = [5usize, 30, 3, 20, 2, 40, 7];
    let matrices = n.len() - 1;
    let mut best = vec![vec![0u64; matrices]; matrices];
    for length in 1..matrices {
        for i in 0..matrices - length {
            let j = i + length;
            best[i][j] =
                (i..j).map(|k| best[i][k] + best[k + 1][j] + (2 * n[i] * n[k + 1] * n[j + 1]) as u64).min().unwrap();
        }
    }
    let flops = forms(&programs::long_chain()).iter().map(|form| form.flops).min().unwrap();
    assert_eq!(flops, best[0][matrices - 1]);
}

#[test]
fn the_trace_of_a_product_is_a_sum_of_products() {
    let found = forms(&programs::trace());
    let best = found.iter().min_by_key(|form| form.flops).unwrap();
    assert_eq!(best.normal_form.defs.len(), 1);
    assert_eq!(best.flops, 2 * 30 * 40);
}

#[test]
fn a_row_of_a_transposed_sum_reads_only_that_row() {
    let found = forms(&programs::transposed_row());
    assert_eq!(found[0].normal_form.defs.len(), 1);
    assert_eq!(found[0].flops, 64);
}

#[test]
fn exact_numerics_leave_the_order_of_float_sums() {
    let found = forms_at(&programs::chain(), Numerics::Exact).forms;
    assert!(found.iter().all(|form| form.flops >= 123_000), "{found:?}");
}

#[test]
fn kronecker_needs_no_division() {
    let form = &forms(&programs::kron())[0].normal_form;
    assert_eq!(form.defs.len(), 1);
    assert_eq!(form.defs[0].axes, [3, 5, 4, 2]);
    assert!(form.defs[0].pieces[0].value.nodes.iter().all(|node| !matches!(node.op, ScalarOp::Index(_))));
}

#[test]
fn limits_hold_and_a_form_is_found_all_the_same() {
    let rules = RuleBase::standard().unwrap();
    let config = NormalizeConfig { match_limit: 60, ..NormalizeConfig::default() };
    let found = normalize(&programs::long_chain(), &rules, &config).unwrap();
    assert_eq!(found.stats.stopped_by, Some(Limit::Matches));
    assert!(found.stats.matches <= 120, "{:?}", found.stats);
    let config = NormalizeConfig { deadline: Some(&|| true), ..NormalizeConfig::default() };
    let found = normalize(&programs::gemm(), &rules, &config).unwrap();
    assert_eq!(found.forms.len(), 1, "the source form, which nothing else replaces");
    replay(&programs::gemm(), &rules, &found.forms[0], &NormalizeConfig::default()).unwrap();
}

#[test]
fn the_same_program_gives_the_same_forms() {
    for program in [programs::long_chain(), programs::softmax(), programs::blur()] {
        assert_eq!(forms(&program), forms(&program), "{}", program.name);
    }
}

/// The number of a sum's terms that no operand tells apart was multiplied without a check: valid programs panicked.
#[test]
fn a_count_of_unused_terms_that_no_integer_holds_is_no_match() {
    let spec = |unused: usize| {
        let domain = [vec![3], vec![1 << 22; unused]].concat();
        let axes = domain.iter().map(|&extent| vec![extent]).collect();
        let map = IndexMap::new(axes, vec![3], vec![Affine::variable(0)]).unwrap();
        Spec::new(FoldOp::Sum, BinaryOp::Mul, 1, domain, vec![map]).unwrap()
    };
    assert_eq!(spec(2).unused().map(|(times, _)| times), Some(1 << 44));
    assert_eq!(spec(3).unused().map(|(times, _)| times), None);
}
