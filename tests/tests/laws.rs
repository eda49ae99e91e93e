//! The rules: each is documented, fires on its example, and its law holds of random arrays.

use moat_optimizer::evaluate_form::evaluate;
use moat_optimizer::expr::{InputHint, Param};
use moat_optimizer::inputs;
use moat_optimizer::normalize::law::example;
use moat_optimizer::normalize::{NormalizeConfig, NormalizeError, normalize};
use moat_optimizer::notation::print;
use moat_optimizer::tensor::Tensor;
use moat_rules::{Numerics, RuleBase, RuleError};

mod programs;

fn numerics_of(rules: &RuleBase, name: &str) -> Numerics {
    rules.files().iter().find(|file| file.rules.iter().any(|rule| rule.name == name)).unwrap().numerics
}

#[test]
fn every_rule_fires_on_its_example_and_proves_it() {
    let rules = RuleBase::standard().unwrap();
    let mut problems = Vec::new();
    for rule in rules.files().iter().flat_map(|file| &file.rules) {
        match example(&rules, rule) {
            Ok(example) if example.fired && example.proven => {}
            // The shape rules prove nothing: they only have to fire, and their sides to have forms.
            Ok(example) if example.fired && rule.name.starts_with("shape/") => {}
            Ok(example) => {
                problems.push(format!("{}: fired {}, proven {}", rule.name, example.fired, example.proven));
            }
            Err(error) => problems.push(format!("{}: {error}", rule.name)),
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_law_holds_of_random_arrays() {
    let rules = RuleBase::standard().unwrap();
    let mut problems = Vec::new();
    for rule in rules.files().iter().flat_map(|file| &file.rules) {
        if rule.name == "shape/select" {
            continue; // Its example states a form, not an equality.
        }
        let Ok(example) = example(&rules, rule) else { continue };
        let numerics = numerics_of(&rules, &rule.name);
        let params = if example.before.params.len() > example.after.params.len() {
            &example.before.params
        } else {
            &example.after.params
        };
        for seed in 1..6 {
            let tensors: Vec<Tensor> = params
                .iter()
                .map(|param| {
                    let low = if numerics == Numerics::Algebraic { 0.25 } else { -4.0 };
                    let hint = if param.dtype.is_float() { InputHint::Range(low, 4.0) } else { InputHint::Any };
                    inputs::random(&Param { hint, ..param.clone() }, seed).unwrap()
                })
                .collect();
            let side = |form: &moat_optimizer::normal_form::NormalForm| {
                evaluate(form, &tensors[..form.params.len()]).unwrap().remove(0)
            };
            let (before, after) = (side(&example.before), side(&example.after));
            let same = before.shape == after.shape
                && before.dtype == after.dtype
                && (0..before.len()).all(|at| {
                    let (x, y) = (before.get_f64(at), after.get_f64(at));
                    x.to_bits() == y.to_bits()
                        || x == y
                        || (numerics != Numerics::Exact && (x - y).abs() <= 1e-4 * (1.0 + x.abs()))
                });
            if !same {
                problems.push(format!(
                    "{} (seed {seed}): {before:?} against {after:?}\n{}{}",
                    rule.name,
                    print(&example.before),
                    print(&example.after)
                ));
                break;
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// A file of one rule, with the notes that every rule needs.
fn user_file(rule: &str) -> (String, String) {
    let text = format!(
        ";; theory:      a user's law\n;; ruleset:     algebra\n;; numerics:    exact\n;; termination: once\n\
         ;; sources:     the user\n\n;; law:     as below\n;; where:   always\n;; source:  the user\n\
         ;; example: (Iota 4) => (Iota 4)\n{rule}\n"
    );
    ("user.egg".to_owned(), text)
}

#[test]
fn a_users_law_by_operator_names_is_used() {
    let law = "(rule ((= e (Trace 0 (MatMul a b))))\n      ((union e (Sum (dims 0 1) (Mul a (Transpose (dims 1 0) b)))))\n      \
               :ruleset algebra :name \"user/trace\")";
    let rules = RuleBase::with_user_files(vec![user_file(law)]).unwrap();
    let config = NormalizeConfig { numerics: moat_optimizer::numerics::Numerics::Exact, ..Default::default() };
    let forms = normalize(&programs::trace(), &rules, &config).unwrap().forms;
    let best = forms.iter().min_by_key(|form| form.flops).unwrap();
    assert_eq!(best.flops, 2 * 30 * 40);
    assert!(best.derivation.rules.contains(&"user/trace".to_owned()), "{:?}", best.derivation.rules);
}

#[test]
fn a_law_that_changes_a_shape_is_caught() {
    let law = "(rule ((= e (Transpose p a)))\n      ((union e a))\n      :ruleset algebra :name \"user/wrong\")";
    let rules = RuleBase::with_user_files(vec![user_file(law)]).unwrap();
    let error = normalize(&programs::transposed_row(), &rules, &NormalizeConfig::default()).unwrap_err();
    match error {
        NormalizeError::Clash { suspects, .. } => assert!(suspects.contains(&"user/wrong".to_owned()), "{suspects:?}"),
        other => panic!("{other}"),
    }
}

#[test]
fn files_may_hold_nothing_but_rules() {
    for (text, command) in [
        ("(include \"x.egg\")", "include"),
        ("(input shape \"/etc/passwd\")", "input"),
        ("(output \"x\" (Iota 4))", "output"),
        ("(run 10)", "run"),
        ("(print-function shape 10)", "print-function"),
        ("(sort Other)", "sort"),
        ("(let x (Iota 3))", "let"),
    ] {
        match RuleBase::with_user_files(vec![user_file(text)]).unwrap_err() {
            RuleError::ForbiddenCommand { command: found, .. } => assert_eq!(found, command),
            other => panic!("{text}: {other}"),
        }
    }
    let deep = format!("(rule {}{} )", "(".repeat(10_000), ")".repeat(10_000));
    assert!(matches!(RuleBase::with_user_files(vec![user_file(&deep)]), Err(RuleError::Malformed { .. })));
    assert!(matches!(RuleBase::with_user_files(vec![user_file("(rule")]), Err(RuleError::Malformed { .. })));
}

#[test]
fn a_rule_without_its_notes_is_refused() {
    let (name, text) = user_file("(rule ((= e (Iota n))) ((union e e)) :ruleset algebra :name \"user/none\")");
    let bare = text.replace(";; where:   always\n", "");
    match RuleBase::with_user_files(vec![(name, bare)]).unwrap_err() {
        RuleError::MissingNote { field, rule, .. } => assert_eq!((field, rule.as_str()), ("where", "user/none")),
        other => panic!("{other}"),
    }
}
