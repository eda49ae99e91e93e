//! Long straight-line programs: no stage takes more than a square of the number of lines, values that are read twice are
//! computed once, and what comes out is right.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use moat_optimizer::apply::apply;
use moat_optimizer::apply::lower::lower;
use moat_optimizer::form::normal_form::NormalForm;
use moat_optimizer::form::notation::{parse, print};
use moat_optimizer::nest::print;
use moat_optimizer::normalize::{NormalizeConfig, Normalized, normalize, replay};
use moat_optimizer::program::expr::Program;
use moat_optimizer::space::{Choose, ScheduleSpace};
use moat_optimizer::storage::settle;
use moat_optimizer::value::numerics::Numerics;
use moat_rules::RuleBase;
use moat_rules::schedule_rules::ScheduleRules;
use moat_tests::kernels::{arguments, equal_the_interpreter, program};
use moat_tests::nests::host_target;
use moat_tests::seeded::Seeded;

/// A kind of program: its name, and its text with so many lines.
type Family = (&'static str, fn(usize) -> String);

const FAMILIES: [Family; 13] = [
    ("chain", |n| function("x: f64[7]", &"x = x * 0.75 + 0.5\n".repeat(n), "x")),
    ("a line that reads its result twice", |n| function("x: f64[7]", &"x = x * x * 0.25 + x * 0.5\n".repeat(n), "x")),
    ("a line that reads its result three times", |n| {
        let line = "E = E - (E - e * np.sin(E) - M) / (2 - e * np.cos(E))\n";
        function("E: f64[7], M: f64[7], e: Annotated[f64, Range(0.1, 0.5)]", &line.repeat(n), "E")
    }),
    ("diamond", |n| function("x: f64[7]", &"a = x + 1.5\nb = x * 0.5\nx = (a - b) * 0.5\n".repeat(n.div_ceil(3)), "x")),
    ("ladder", |n| {
        function("x: f64[7], y: f64[7]", &"x = x + 0.25 * y\ny = y - 0.25 * x\n".repeat(n.div_ceil(2)), "x, y")
    }),
    ("reversed", |n| function("x: f64[7]", &"x = np.sin(x) * 0.5 + x[::-1] * 0.25\n".repeat(n), "x")),
    ("random", |n| random(n, 1)),
    ("products", |n| function("x: f64[5, 5], w: f64[5, 5]", &"x = np.tanh(x @ w) * 0.5 + x * 0.25\n".repeat(n), "x")),
    ("normalized rows", |n| {
        let line = "x = x - x.mean(axis=1)[:, None]\nx = x / np.sqrt((x * x).mean(axis=1)[:, None] + 1.0)\n";
        function("x: f64[5, 6]", &line.repeat(n.div_ceil(2)), "x")
    }),
    ("stencil", |n| {
        let line = "x = 0.25 * (np.roll(x, 1, 0) + np.roll(x, -1, 0) + np.roll(x, 1, 1) + np.roll(x, -1, 1))\n";
        function("x: f64[6, 6]", &line.repeat(n), "x")
    }),
    ("hash", |n| {
        let lines = "a = (a + b) & 0xFFFFFFFF\nb = a ^ (((b << 13) | (b >> 19)) & 0xFFFFFFFF)\n";
        function("a: i64[7], b: i64[7]", &lines.repeat(n.div_ceil(2)), "a, b")
    }),
    ("updates", |n| {
        let lines: String = (0..n).map(|k| format!("x[{}] = x[{}] * 0.5 + {k}.0\n", k % 9, (k + 4) % 9)).collect();
        function("x: f64[9]", &lines, "x")
    }),
    ("results", |n| {
        let lines: String = (0..n).map(|k| format!("s{k} = np.sum(x * {k}.0 + y)\n")).collect();
        let names: Vec<String> = (0..n).map(|k| format!("s{k}")).collect();
        function("x: f64[7], y: f64[7]", &lines, &names.join(", "))
    }),
];

fn function(parameters: &str, lines: &str, result: &str) -> String {
    let body: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "from __future__ import annotations\nfrom typing import Annotated\nimport numpy as np\n\n\
         def f({parameters}):\n{body}    return {result}\n"
    )
}

/// Element-wise lines that read any two of the last values.
fn random(lines: usize, seed: u64) -> String {
    let mut choose = Seeded::new(seed);
    let mut names = vec!["x".to_owned(), "y".to_owned()];
    let mut text = String::new();
    for line in 0..lines {
        let [a, b] = [6, 12].map(|reach| names[names.len() - 1 - choose.below(reach.min(names.len()))].clone());
        let value = match choose.below(6) {
            0 => format!("({a} + {b}) * 0.5"),
            1 => format!("{a} * 0.5 - {b} * 0.25"),
            2 => format!("np.minimum({a}, {b})"),
            3 => format!("np.tanh({a}) * {b}"),
            4 => format!("np.sin({a}) - 0.25 * {b}"),
            _ => format!("np.where({a} > 0, {b}, 0.5)"),
        };
        text.push_str(&format!("t{line} = {value}\n"));
        names.push(format!("t{line}"));
    }
    function("x: f64[7], y: f64[7]", &text, &format!("{}, {}", names[names.len() - 1], names[names.len() - 2]))
}

fn normal_forms(program: &Program) -> Normalized {
    let rules = RuleBase::standard().unwrap();
    normalize(program, &rules, &NormalizeConfig { numerics: Numerics::Reassociate, ..Default::default() }).unwrap()
}

fn nodes(form: &NormalForm) -> usize {
    form.defs.iter().flat_map(|def| &def.pieces).map(|piece| piece.value.nodes.len()).sum()
}

/// What the stages of a program make, by name: matches and rows of the e-graphs, nodes of the forms, text.
fn amounts(program: &Program) -> Vec<(&'static str, usize)> {
    let normalized = normal_forms(program);
    let forms = || normalized.forms.iter().map(|form| &form.normal_form);
    let target = host_target();
    let mut loops = 0;
    for form in forms().take(2) {
        let form = settle(form).unwrap();
        let space = ScheduleSpace::new(&form, &target, &ScheduleRules::standard(), Numerics::Reassociate, 2).unwrap();
        for nest in [lower(&form).unwrap(), apply(&form, &space.default()).unwrap()] {
            loops += print::display(&nest).len();
        }
    }
    vec![
        ("matches", normalized.stats.matches),
        ("rows", normalized.stats.tuples),
        ("definitions", forms().take(2).map(|form| form.defs.len()).sum()),
        ("nodes", forms().take(2).map(nodes).sum()),
        ("notation", forms().take(2).map(|form| print(form).len()).sum()),
        ("loops", loops),
    ]
}

#[test]
fn no_stage_takes_more_than_a_square_of_the_lines() {
    for (name, text) in FAMILIES {
        let [few, some, many] = [10, 20, 40].map(|lines| amounts(&program(&text(lines))));
        for ((few, some), many) in few.into_iter().zip(some).zip(many) {
            let square = |of: usize| 6 * of + 2000;
            assert!(some.1 <= square(few.1) && many.1 <= square(some.1), "{name}: {few:?} {some:?} {many:?}");
        }
    }
}

#[test]
fn what_is_read_twice_is_computed_once_and_in_one_pass() {
    for lines in [10, 40] {
        let twice = normal_forms(&program(&FAMILIES[1].1(lines)));
        let form = &twice.forms[0].normal_form;
        assert_eq!(form.defs.len(), 1, "{}", print(form));
        // Four operators, their constants, and what is loaded.
        assert!(nodes(form) <= 5 * lines + 4, "{}", print(form));
    }
}

#[test]
fn long_forms_read_back_from_their_notation() {
    for (name, text) in FAMILIES {
        for form in normal_forms(&program(&text(150))).forms {
            let printed = print(&form.normal_form);
            let read = parse(&printed).unwrap_or_else(|error| panic!("{name}: {error}\n{printed}"));
            assert_eq!(print(&read), printed, "{name}");
        }
    }
}

#[test]
fn equal_sections_are_normalised_once() {
    for (name, text) in FAMILIES.into_iter().filter(|(name, _)| !["random", "updates", "results"].contains(name)) {
        let [some, many] = [400, 800].map(|lines| normal_forms(&program(&text(lines))).stats);
        assert!(some.sections > 1 && many.sections > some.sections, "{name}: {some:?} {many:?}");
        assert!(many.matches <= some.matches + some.matches / 4, "{name}: {some:?} {many:?}");
    }
}

#[test]
fn derivations_of_sections_replay() {
    let rules = RuleBase::standard().unwrap();
    let config = NormalizeConfig { numerics: Numerics::Reassociate, ..Default::default() };
    for (name, text) in FAMILIES {
        let program = program(&text(60));
        for form in normalize(&program, &rules, &config).unwrap().forms {
            replay(&program, &rules, &form, &config).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[test]
fn kernels_of_long_programs_equal_the_interpreter() {
    for (name, text) in FAMILIES {
        for lines in [3, 12, 50] {
            let program = program(&text(lines));
            equal_the_interpreter(&program, &arguments(&program, 3), 1, &format!("{name}, {lines} lines"));
        }
    }
    for seed in 2..8 {
        let program = program(&random(30, seed));
        equal_the_interpreter(&program, &arguments(&program, seed), 1, &format!("random, seed {seed}"));
    }
}

/// egglog makes names by appending numbers: of `$f5`, read often enough, the name of `$f51`. One of the two stood for the
/// other then: the form of this program was `(x > 0 ? 0.5 : 0.5) + 1`, and its derivation did not replay.
#[test]
fn names_of_terms_do_not_run_into_those_that_egglog_makes() {
    let lines = "t0 = x + x\n\
     t2 = np.tanh(x) * x\n\
     t3 = t0 * 0.5 - t2\n\
     t4 = np.tanh(y) * x\n\
     t5 = t3 - 0.25 * t4\n\
     t13 = np.where(x > 0, x, 0.5)\n\
     t14 = np.where(x > 0, x, 0.5)\n\
     t15 = t13 * 0.5 - x\n\
     t16 = x + t5\n\
     t17 = x * 0.5 - x\n\
     t18 = np.tanh(t14) * x\n\
     t19 = np.tanh(t18) * x\n\
     t20 = x - 0.25 * x\n\
     t21 = t17 - 0.25 * t17\n\
     t22 = t19 * 0.5 - t19\n\
     t24 = np.where(t20 > 0, t21, 0.5)\n\
     t25 = np.where(t24 > 0, t15, 0.5)\n\
     t26 = t22 - 0.25 * t22\n\
     t27 = np.where(t25 > 0, t16, 0.5)\n\
     t28 = np.where(t27 > 0, x, 0.5)\n\
     t31 = t26 + 1.0\n\
     t34 = t31 + t28\n\
     t38 = t34 * 0.5 - t34\n\
     t44 = t38 + 1.0\n\
     t48 = x + t44\n\
     t50 = np.where(x > 0, t48, 0.5)\n\
     t51 = t50 + 1.0\n";
    let program = program(&function("x: f64[7], y: f64[7]", lines, "t51"));
    assert_eq!(normal_forms(&program).stats.unreduced, 0);
    equal_the_interpreter(&program, &arguments(&program, 3), 1, "names");
}

#[test]
fn random_programs_of_a_hundred_lines_have_reduced_forms() {
    for seed in 0..50 {
        let found = normal_forms(&program(&random(100, seed)));
        assert_eq!((found.stats.unreduced, found.stats.stopped_by), (0, None), "seed {seed}: {:?}", found.stats);
    }
}
