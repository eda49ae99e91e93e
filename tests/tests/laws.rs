//! The rules: each is documented, fires on its example, and its law holds of random arrays.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use moat_optimizer::form::evaluate::evaluate;
use moat_optimizer::form::notation::print;
use moat_optimizer::normalize::law::example;
use moat_optimizer::normalize::{NormalizeConfig, NormalizeError, normalize};
use moat_optimizer::oracle::inputs;
use moat_optimizer::oracle::inputs::Density;
use moat_optimizer::program::expr::{InputHint, Param};
use moat_optimizer::value::dtype::Literal;
use moat_optimizer::value::tensor::Tensor;
use moat_rules::{Numerics, Rule, RuleBase, RuleError};

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

/// The rule with its example at other types: its law does not know of which one it is.
fn instances(rule: &Rule) -> Vec<Rule> {
    let other = |from: &str, to: &str| Rule { example: rule.example.replace(from, to), ..rule.clone() };
    let mut instances = vec![rule.clone()];
    for (from, to) in [("f32", "f64"), ("i32", "i64"), ("i32", "i8")] {
        let instance = other(from, to);
        if instance.example != rule.example {
            instances.push(instance);
        }
    }
    instances
}

/// Elements for a parameter: ordinary ones, or special ones among them, as far as the law is for such.
fn elements(param: &Param, seed: u64, numerics: Numerics) -> Tensor {
    let low = if numerics == Numerics::Algebraic { 0.25 } else { -4.0 };
    let hint = if param.dtype.is_float() { InputHint::Range(low, 4.0) } else { InputHint::Any };
    let ordinary = inputs::random(&Param { hint, ..param.clone() }, seed).unwrap();
    if seed.is_multiple_of(3) {
        return ordinary;
    }
    let mut special = inputs::special(param, seed, Density::Many).unwrap();
    for at in 0..special.len() {
        let x = special.get_f64(at);
        // Sums and products in another order may overflow on the way.
        let kept = numerics == Numerics::Exact || !param.dtype.is_float() || x.abs() < 1e30 || !x.is_finite();
        if !kept || (0.0..1.0).contains(&x) && x > 1e-30 {
            special.set(at, Literal::float(ordinary.get_f64(at)));
        }
    }
    special
}

/// Whether minima and maxima stand in a rule: the sign of a zero out of them is not promised.
fn has_extremes(rule: &Rule) -> bool {
    ["min", "Min", "max", "Max", "associates p", "may-reorder f"].iter().any(|word| rule.text.contains(word))
}

/// Whether `y` may stand for `x` by the law of a rule.
fn stands_for(x: f64, y: f64, numerics: Numerics, rule: &Rule) -> bool {
    let zeros = has_extremes(rule) && x == 0.0 && y == 0.0;
    // A function, whose value is within an ulp.
    let power = rule.text.contains("\"pow\"") && (x - y).abs() <= f64::EPSILON * x.abs();
    if power || x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan() || zeros {
        return true;
    }
    match numerics {
        Numerics::Exact => false,
        // Which of NaN and the infinities is not promised.
        Numerics::Reorder | Numerics::Reassociate if !x.is_finite() => !y.is_finite(),
        Numerics::Algebraic if !x.is_finite() => true,
        Numerics::Reorder | Numerics::Reassociate | Numerics::Algebraic => (x - y).abs() <= 1e-4 * (1.0 + x.abs()),
    }
}

/// A law was held to numbers from −4 to 4 alone, and −0 passed for 0: now to every special value of its types, zeros with
/// their signs where it claims to hold bit for bit.
#[test]
fn every_law_holds_of_random_arrays() {
    let rules = RuleBase::standard().unwrap();
    let mut problems = Vec::new();
    for rule in rules.files().iter().flat_map(|file| &file.rules) {
        let numerics = numerics_of(&rules, &rule.name);
        let mut usable = 0;
        'instances: for instance in instances(rule) {
            let Ok(example) = example(&rules, &instance) else { continue };
            usable += 1;
            for seed in 1..25 {
                let side = |form: &moat_optimizer::form::normal_form::NormalForm| {
                    let tensors: Vec<Tensor> =
                        form.params.iter().map(|param| elements(param, seed, numerics)).collect();
                    evaluate(form, &tensors).unwrap().remove(0)
                };
                let (before, after) = (side(&example.before), side(&example.after));
                let same = before.shape == after.shape
                    && before.dtype == after.dtype
                    && (0..before.len()).all(|at| stands_for(before.get_f64(at), after.get_f64(at), numerics, rule));
                if !same {
                    problems.push(format!(
                        "{} (seed {seed}): {before:?} against {after:?}\n{}{}",
                        rule.name,
                        print(&example.before),
                        print(&example.after)
                    ));
                    break 'instances;
                }
            }
        }
        assert!(usable > 0, "{} has no example", rule.name);
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
    let config = NormalizeConfig { numerics: moat_optimizer::value::numerics::Numerics::Exact, ..Default::default() };
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
    let NormalizeError::Clash { suspects, .. } = &error else { panic!("{error}") };
    assert!(suspects.contains(&"user/wrong".to_owned()), "{suspects:?}");
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
        let error = RuleBase::with_user_files(vec![user_file(text)]).unwrap_err();
        let RuleError::ForbiddenCommand { command: found, .. } = &error else { panic!("{text}: {error}") };
        assert_eq!(found, command);
    }
    let deep = format!("(rule {}{} )", "(".repeat(10_000), ")".repeat(10_000));
    assert!(matches!(RuleBase::with_user_files(vec![user_file(&deep)]), Err(RuleError::Malformed { .. })));
    assert!(matches!(RuleBase::with_user_files(vec![user_file("(rule")]), Err(RuleError::Malformed { .. })));
}

#[test]
fn a_rule_without_its_notes_is_refused() {
    let (name, text) = user_file("(rule ((= e (Iota n))) ((union e e)) :ruleset algebra :name \"user/none\")");
    let bare = text.replace(";; where:   always\n", "");
    let error = RuleBase::with_user_files(vec![(name, bare)]).unwrap_err();
    let RuleError::MissingNote { field, rule, .. } = &error else { panic!("{error}") };
    assert_eq!((*field, rule.as_str()), ("where", "user/none"));
}
