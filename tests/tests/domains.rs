//! Restricted domains: no work on what is zero, mirrored or unused; the same numbers all the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use moat_codegen::host_target;
use moat_codegen::{CompileOptions, CompiledNest, Workspace};
use moat_optimizer::apply::apply;
use moat_optimizer::apply::lower::lower;
use moat_optimizer::form::evaluate::evaluate;
use moat_optimizer::form::notation::{parse as read, print};
use moat_optimizer::form::verify::verify_form;
use moat_optimizer::frontend::{ParseOptions, parse};
use moat_optimizer::nest::verify::verify_nest;
use moat_optimizer::nest::work::work;
use moat_optimizer::normalize::domain::{RULES, SYMMETRY};
use moat_optimizer::normalize::{Form, NormalizeConfig, normalize, replay};
use moat_optimizer::oracle::inputs;
use moat_optimizer::oracle::interpret::interpret;
use moat_optimizer::program::expr::Program;
use moat_optimizer::space::ScheduleSpace;
use moat_optimizer::storage::settle;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::Tensor;
use moat_rules::RuleBase;
use moat_rules::schedule_rules::ScheduleRules;
use moat_tests::seeded::Seeded;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The program of a function `f` with the given parameters and statements.
fn program(parameters: &str, body: &str) -> Program {
    let body: String = body.lines().map(|line| format!("    {}\n", line.trim())).collect();
    let source = format!("import numpy as np\n\n\ndef f({parameters}):\n{body}");
    parse("test.py", &source, &ParseOptions::default()).unwrap_or_else(|errors| panic!("{errors}\n{source}")).program
}

fn forms(program: &Program, numerics: Numerics) -> Vec<Form> {
    let config = NormalizeConfig { numerics, max_forms: 4, ..NormalizeConfig::default() };
    normalize(program, &RuleBase::standard().unwrap(), &config).unwrap().forms
}

/// The source form; after checks that every form is well-formed, computes the program's results and
/// replays.
fn check(parameters: &str, body: &str, numerics: Numerics) -> Form {
    let program = program(parameters, body);
    let config = NormalizeConfig { numerics, ..NormalizeConfig::default() };
    let rules = RuleBase::standard().unwrap();
    let forms = forms(&program, numerics);
    let tensors: Vec<Tensor> =
        program.params.iter().zip(7..).map(|(param, seed)| inputs::random(param, seed).unwrap()).collect();
    let references = interpret(&program, &tensors, numerics).unwrap();
    for form in &forms {
        let text = print(&form.normal_form);
        verify_form(&form.normal_form).unwrap_or_else(|error| panic!("{body}: {error}\n{text}"));
        assert_eq!(read(&text).unwrap(), form.normal_form, "{text}");
        let results = evaluate(&form.normal_form, &tensors).unwrap_or_else(|error| panic!("{body}: {error}\n{text}"));
        for (reference, result) in references.iter().zip(&results) {
            reference.check(result).unwrap_or_else(|error| panic!("{body} ({numerics}): {error}\n{text}"));
        }
        replay(&program, &rules, form, &config).unwrap_or_else(|error| panic!("{body}: {error}\n{text}"));
    }
    forms.into_iter().next().unwrap()
}

/// The source form as text, with the domain rules that made it.
fn shown(parameters: &str, body: &str) -> String {
    let form = check(parameters, body, Numerics::Reassociate);
    let rules: Vec<&str> =
        form.derivation.rules.iter().map(String::as_str).filter(|rule| rule.starts_with("domain/")).collect();
    format!("{body}\n{}\n{}", rules.join(", "), print(&form.normal_form))
}

const SQUARE: &str = "A: f64[6, 6], B: f64[6, 6]";

#[test]
fn masks_become_ranges() {
    let bodies = [
        "return np.tril(A) @ B",
        "return A @ np.triu(B, 1)",
        "return np.tril(A @ B)",
        "return np.tril(A @ A.T)",
        "return np.triu(A).T @ np.tril(B)",
        "L = np.tril(A)\nreturn L @ B + L",
        "L = np.tril(A)\nreturn L @ B, L",
        "i = np.arange(6)[:, None]\nj = np.arange(6)\nreturn np.where(i >= j, A, B)",
        "i = np.arange(6)[:, None]\nj = np.arange(6)\nreturn np.where((i - j <= 1) & (j - i <= 1), A, 0.0) @ B",
        "i = np.arange(6)\nreturn np.where(i != 3, A, 0.0).sum(axis=0)",
        "i = np.arange(6)\nreturn np.where(i < 4, A, -np.inf).max(axis=1)",
        "i = np.arange(6)\nreturn (A * (i[:, None] > i)) @ B",
        "return np.tril(2.0 * (A @ B) + A)",
        "return np.tril(A, 9) + np.triu(B, -9)",
        "return np.tril(A, -9) @ B",
        "i = np.arange(6)\nreturn np.where(2 * i[:, None] >= i, A, 0.0) @ B",
        "i = np.arange(6)\nreturn np.where(i == 2, A, B)",
    ];
    let text: Vec<String> = bodies.iter().map(|body| shown(SQUARE, body)).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn masks_in_loops_are_decided_by_their_iterations() {
    // Of the slices that shrink, no iteration has what is beyond them, so neither mask nor copy is left.
    let body = "L = np.zeros_like(A)
                for k in range(9): L[k:, k] = A[k:, k] - L[k:, :k] @ L[k, :k]
                return L";
    for numerics in [Numerics::Exact, Numerics::Reassociate] {
        let form = check("A: f64[9, 9]", body, numerics);
        let text = print(&form.normal_form);
        assert!(!text.contains("where"), "{text}");
        let names: Vec<&str> = form.normal_form.defs.iter().map(|def| def.name.as_str()).collect();
        assert_eq!(names, ["L_1", "sum", "L_2", "out"], "{text}");
    }
}

#[test]
fn exact_numerics_keep_the_products_with_zero() {
    // Zero times infinity is not zero: one masked factor alone restricts nothing.
    let form = check(SQUARE, "return np.tril(A) @ B", Numerics::Exact);
    assert!(!form.derivation.rules.iter().any(|rule| rule == "domain/annihilate"));
    assert_eq!(work(&lower(&settle(&form.normal_form).unwrap()).unwrap()).flops, 2 * 6 * 6 * 6);
    // Masked on both sides by the same condition, the term is zero whatever the data.
    let body = "i = np.arange(6)\nm = i[:, None] >= i\nreturn np.einsum('ijk->ij', np.where(m, A, 0.0)[:, None, :] * np.where(m[:, None, :], B, 0.0))";
    let form = check(SQUARE, body, Numerics::Exact);
    assert!(form.derivation.rules.iter().any(|rule| rule == "domain/identity"), "{:?}", form.derivation.rules);
    assert_eq!(work(&lower(&settle(&form.normal_form).unwrap()).unwrap()).flops, 2 * 6 * 21);
}

#[test]
fn a_triangle_times_a_matrix_is_half_of_the_multiplications() {
    let n: u64 = 40;
    let form = check("A: f64[40, 40], B: f64[40, 40]", "return np.tril(A) @ B", Numerics::Reassociate);
    let terms = n * n * (n + 1) / 2;
    assert_eq!(work(&lower(&settle(&form.normal_form).unwrap()).unwrap()).flops, 2 * terms);
    assert_eq!(form.flops, 2 * terms);
}

#[test]
fn symmetric_results_are_computed_in_one_half() {
    let programs = [
        ("A: f64[40, 50]", "return A @ A.T"),
        ("A: f64[50, 40]", "return A.T @ A"),
        ("A: f64[3, 40, 50]", "return A @ A.transpose(0, 2, 1)"),
        ("D: f64[50, 40]", "X = D - D.mean(0)\nreturn X.T @ X / 49.0"),
        ("A: f64[40, 50], B: f64[40, 50], C: f64[40, 40]", "return A @ B.T + B @ A.T + C"),
        ("A: f64[40, 50], x: f64[40]", "return (A @ A.T) @ x"),
        ("A: f64[40, 50]", "return np.abs(A[:, None, :] - A[None, :, :]).max(axis=2)"),
    ];
    let mut text = Vec::new();
    for (parameters, body) in programs {
        check(parameters, body, Numerics::Reassociate);
        for form in forms(&program(parameters, body), Numerics::Reassociate) {
            let rules = form.derivation.rules.iter().map(String::as_str).filter(|rule| rule.starts_with("domain/"));
            let rules: Vec<&str> = rules.collect();
            text.push(format!("{body}\n{}\n{}", rules.join(", "), print(&form.normal_form)));
        }
    }
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn a_matrix_times_its_transpose_is_half_of_the_multiplications() {
    let (n, k): (u64, u64) = (40, 50);
    for numerics in [Numerics::Exact, Numerics::Reassociate] {
        let forms = forms(&program("A: f64[50, 40]", "return A.T @ A"), numerics);
        let least =
            forms.iter().map(|form| work(&lower(&settle(&form.normal_form).unwrap()).unwrap()).flops).min().unwrap();
        assert_eq!(least, 2 * k * n * (n + 1) / 2);
        assert_eq!(work(&lower(&settle(&forms[0].normal_form).unwrap()).unwrap()).flops, 2 * k * n * n);
    }
}

#[test]
fn every_domain_rule_is_used_by_some_program() {
    let bodies = [
        ("A: f64[6, 6], B: f64[6, 6]", "return np.tril(A) @ B"),
        ("A: f64[6, 6], B: f64[6, 6]", "return np.tril(A @ B)"),
        ("A: f64[6, 6], B: f64[6, 6]", "return np.tril(2.0 * (A @ B) + A)"),
        ("A: f64[6, 6]", "i = np.arange(6)\nreturn np.where(i < 4, A, 0.0).sum(axis=1)"),
        ("A: f64[6, 6], B: f64[6, 6]", "return np.tril(A, -9) @ B"),
        ("A: f64[6, 6], B: f64[6, 6]", "return A @ B.T + B @ A.T"),
        ("A: f64[6, 6]", "i = np.arange(6)\nreturn np.where(i < 4, 1.0, 2.0) * A"),
    ];
    let mut used: Vec<String> =
        bodies.iter().flat_map(|(p, body)| check(p, body, Numerics::Reassociate).derivation.rules).collect();
    used.sort();
    let unused: Vec<&str> = RULES
        .iter()
        .map(|rule| rule.0)
        .filter(|rule| *rule != SYMMETRY)
        .filter(|rule| used.binary_search(&(*rule).to_owned()).is_err())
        .collect();
    assert!(unused.is_empty(), "{unused:?}");
}

/// A random affine condition on the indices of an array of `rank` axes, as NumPy.
fn condition(random: &mut StdRng, rank: usize, extent: i64) -> String {
    let axis =
        |axis: usize| format!("np.arange({extent}){}", if axis + 1 == rank { "" } else { NEW_AXES[rank - axis - 2] });
    let form = |random: &mut StdRng| {
        let mut text = random.random_range(-extent / 2..extent).to_string();
        for at in 0..rank {
            match random.random_range(-2..4i64) {
                0 => {}
                3 => text.push_str(&format!(" + {}", axis(at))),
                factor => text.push_str(&format!(" + {factor} * {}", axis(at))),
            }
        }
        text
    };
    let sign = ["<", "<=", ">", ">=", "==", "!="][random.random_range(0..6)];
    let one = format!("({} {sign} {})", form(random), form(random));
    match random.random_range(0..5) {
        0 => format!("({one} & {})", condition(random, rank, extent)),
        1 => format!("({one} | {})", condition(random, rank, extent)),
        2 => format!("(~{one})"),
        _ => one,
    }
}

const NEW_AXES: [&str; 2] = ["[:, None]", "[:, None, None]"];

/// A random program with masks over two or three axes, on points and under folds.
fn masked(seed: u64, extent: i64) -> String {
    let random = &mut StdRng::seed_from_u64(seed);
    match random.random_range(0..7) {
        0 => format!("return np.where({}, A, B)", condition(random, 2, extent)),
        1 => format!("return np.where({}, A, 0.0) @ B", condition(random, 2, extent)),
        2 => format!("return A @ np.where({}, B, 0.0)", condition(random, 2, extent)),
        3 => format!("return np.where({}, A @ B, 0.0)", condition(random, 2, extent)),
        4 => format!(
            "return np.where({}, A, -np.inf).max(axis={})",
            condition(random, 2, extent),
            random.random_range(0..2)
        ),
        5 => format!(
            "return np.where({}, A[:, :, None] * B[None, :, :], 0.0).sum(axis={})",
            condition(random, 3, extent),
            random.random_range(0..3)
        ),
        _ => format!(
            "return np.where({}, A, 0.0).T @ np.where({}, B, 0.0) + np.where({}, A, B)",
            condition(random, 2, extent),
            condition(random, 2, extent),
            condition(random, 2, extent)
        ),
    }
}

#[test]
fn random_masks_compute_what_the_source_computes() {
    for seed in 0..100 {
        let numerics = [Numerics::Exact, Numerics::Reassociate][usize::try_from(seed % 2).unwrap()];
        check("A: f64[7, 7], B: f64[7, 7]", &masked(seed, 7), numerics);
    }
}

/// Compiles every form of a program under its default schedule and some samples; each kernel
/// computes what the interpreter does.
fn check_kernels(parameters: &str, body: &str, seed: u64, samples: usize) {
    let (program, numerics) = (program(parameters, body), Numerics::Reassociate);
    let arguments: Vec<Tensor> =
        program.params.iter().zip(seed..).map(|(param, seed)| inputs::random(param, seed).unwrap()).collect();
    let references = interpret(&program, &arguments, numerics).unwrap();
    let target = host_target();
    let mut choose = Seeded::new(seed);
    for form in moat_tests::pipeline::forms(&program, &RuleBase::standard().unwrap(), numerics, 3).unwrap() {
        let space = ScheduleSpace::new(&form.form, &target, &ScheduleRules::standard(), numerics, 1).unwrap();
        let sampled = (0..samples).map(|_| space.sample(&mut choose)).collect::<Vec<_>>();
        for schedule in std::iter::once(space.default()).chain(sampled) {
            let shown = || format!("{body}\n{}{schedule:?}", print(&form.form));
            let nest = apply(&form.form, &schedule).unwrap_or_else(|error| panic!("{error}\n{}", shown()));
            verify_nest(&nest).unwrap_or_else(|error| panic!("{error}\n{}", shown()));
            let options = CompileOptions { target: target.clone(), numerics, threads: 1, function: "f".to_owned() };
            let kernel = CompiledNest::load(&nest, &options).unwrap_or_else(|error| panic!("{error}\n{}", shown()));
            let poison = |&root: &usize| Tensor::poison(program.nodes[root].dtype, &program.nodes[root].shape);
            let mut results: Vec<Tensor> = program.roots.iter().map(poison).collect();
            kernel.call(&arguments.iter().collect::<Vec<_>>(), &mut results, &mut Workspace::new()).unwrap();
            for (reference, result) in references.iter().zip(&results) {
                reference.check(result).unwrap_or_else(|error| panic!("{error}\n{}", shown()));
            }
        }
    }
}

#[test]
fn kernels_of_random_masks_equal_the_interpreter() {
    for seed in 0..40 {
        check_kernels("A: f64[37, 37], B: f64[37, 37]", &masked(seed, 37), seed, 2);
    }
}

#[test]
fn kernels_of_triangles_equal_the_interpreter() {
    let square = "A: f32[43, 43], B: f32[43, 43]";
    let bodies = [
        "return np.tril(A) @ B",
        "return A @ np.tril(B, 3)",
        "return np.tril(A).T @ np.triu(B)",
        "i = np.arange(43)\nreturn A @ np.where((2 * i[:, None] >= i) & (i[:, None] < 2 * i + 3), B, 0.0)",
        "i = np.arange(43)\nm = i[:, None, None] + i[:, None] >= i\nreturn np.where(m, A[:, :, None] * B[None, :, :], 0.0).sum(axis=2)",
        "i = np.arange(43)\nm = i[:, None, None] + 2 * i[:, None] >= i + 9\nreturn np.where(m, A[:, None, :] * B.T, 0.0).sum(axis=2)",
        "return np.triu(A, -2) @ B",
        "return np.tril(A @ B)",
        "return np.triu(A).T @ np.tril(B)",
        "return A.T @ A",
        "return np.tril(A @ B.T + B @ A.T)",
        "i = np.arange(43)\nreturn np.where(abs(i[:, None] - i) < 5, A, 0.0) @ B",
        "i = np.arange(43)\nd = i[:, None] - i\nreturn np.where((d < 5) & (d > -9), A, 0.0) @ np.tril(B)",
    ];
    for (body, seed) in bodies.iter().zip(0..) {
        check_kernels(square, body, seed, 6);
    }
}
