//! Loops in other orders, as forms of their own: where each is found, where it must not be, and that every nest and
//! kernel of it equals the interpreter.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use moat_codegen::host_target;
use moat_codegen::{CompileOptions, CompiledNest, Workspace};
use moat_optimizer::apply::apply;
use moat_optimizer::form::steps::Step;
use moat_optimizer::forms::DerivedForm;
use moat_optimizer::frontend::{ParseOptions, parse};
use moat_optimizer::nest::{LoopNest, evaluate as evaluate_nest};
use moat_optimizer::oracle::inputs;
use moat_optimizer::oracle::interpret::interpret;
use moat_optimizer::orders::{
    blocked, deferred, distribution, fold_parts as parts, right_looking, scan_parts as scan, wavefront,
};
use moat_optimizer::program::expr::Program;
use moat_optimizer::schedule::plain::plain_schedule;
use moat_optimizer::schedule::time::Tilable;
use moat_optimizer::schedule::{Band, Schedule, TimeTile};
use moat_optimizer::space::ScheduleSpace;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::Tensor;
use moat_rules::RuleBase;
use moat_rules::schedule_rules::ScheduleRules;
use moat_tests::pipeline::forms;
use moat_tests::seeded::Seeded;

const MAX_FORMS: usize = 8;

fn program(source: &str) -> Program {
    let options = ParseOptions { function: Some("f".to_owned()), ..ParseOptions::default() };
    parse("order.py", &format!("import numpy as np\n{source}"), &options).unwrap().program
}

fn all_forms(program: &Program) -> Vec<DerivedForm> {
    forms(program, &RuleBase::standard().unwrap(), Numerics::Reassociate, MAX_FORMS).unwrap()
}

/// The forms in the order that a rule makes.
fn found(source: &str, rule: &str) -> usize {
    all_forms(&program(source)).iter().filter(|form| form.derivation.rules.iter().any(|name| name == rule)).count()
}

/// Whether a rule makes a form of it under exact numerics.
fn found_exactly(source: &str, rule: &str) -> bool {
    let forms = forms(&program(source), &RuleBase::standard().unwrap(), Numerics::Exact, MAX_FORMS).unwrap();
    forms.iter().any(|form| form.derivation.rules.iter().any(|name| name == rule))
}

fn compiled(program: &Program, nest: &LoopNest, arguments: &[Tensor], numerics: Numerics) -> Vec<Tensor> {
    let options = CompileOptions { target: host_target(), numerics, threads: 1, function: "order".to_owned() };
    let wanted = program.results().iter().map(|&result| &program.nodes[result]);
    let mut results: Vec<Tensor> = wanted.map(|node| Tensor::poison(node.dtype, &node.shape)).collect();
    let kernel = CompiledNest::load(nest, &options).unwrap();
    kernel.call(&arguments.iter().collect::<Vec<_>>(), &mut results, &mut Workspace::new()).unwrap();
    results
}

/// Every form under some schedules, as a nest and as a kernel.
fn agrees(source: &str) {
    let program = program(source);
    let numerics = Numerics::Reassociate;
    let arguments: Vec<Tensor> =
        program.params.iter().zip(0..).map(|(param, seed)| inputs::random(param, seed).unwrap()).collect();
    let references = interpret(&program, &arguments, numerics).unwrap();
    let mut choose = Seeded::new(7);
    for form in all_forms(&program) {
        let space = ScheduleSpace::new(&form.form, &host_target(), &ScheduleRules::standard(), numerics, 1).unwrap();
        let sampled: Vec<_> = (0..4).map(|_| space.sample(&mut choose)).collect();
        for schedule in [plain_schedule(&form.form), space.default()].into_iter().chain(sampled) {
            let nest = apply(&form.form, &schedule).unwrap();
            let by_steps = evaluate_nest::evaluate(&nest, &arguments).unwrap();
            for results in [by_steps, compiled(&program, &nest, &arguments, numerics)] {
                for (at, (reference, result)) in references.iter().zip(&results).enumerate() {
                    let shape = &program.nodes[program.roots[at]].shape;
                    let result = Tensor { shape: shape.clone(), ..result.clone() };
                    if let Err(mismatch) = reference.check(&result) {
                        panic!("result {at}: {mismatch}: {:?} {schedule:?}\n{source}", form.derivation.rules);
                    }
                }
            }
        }
    }
}

const SPLITS: &str = "
def f(bases: i32[13]):
    T = np.zeros((13, 13), dtype=np.int32)
    for i in range(11, -1, -1):
        for j in range(i + 1, 13):
            T[i, j] = np.max(T[i, i:j] + T[i + 1 : j + 1, j])
            if i + 1 < j:
                T[i, j] = np.maximum(T[i, j], T[i + 1, j - 1] + (bases[i] + bases[j] == 3))
    return T
";

const SUBSTITUTION: &str = "
def f(L: f64[11, 11], b: f64[11]):
    x = b.copy()
    for i in range(1, 11):
        x[i] = L[i, :i] @ x[:i]
    return x
";

const ROWS: &str = "
def f(L: f64[9, 9], B: f64[9, 7]):
    X = B.copy()
    for i in range(2, 9):
        X[i, :] = np.sum(L[i, :i, None] * X[:i, :], axis=0)
    return X
";

#[test]
fn folds_over_earlier_iterations_have_a_right_looking_form() {
    for source in [SPLITS, SUBSTITUTION, ROWS] {
        assert!(found(source, right_looking::RULE) > 0, "{source}");
        agrees(source);
    }
}

#[test]
fn a_fold_whose_terms_change_meanwhile_stays() {
    // x[0] is another one at every iteration: a term may not be taken before the last of them.
    let changed = "
def f(b: f64[9]):
    x = b.copy()
    for i in range(1, 9):
        x[i] = b[:i] @ x[:i]
        x[0] = 0.5 * x[i]
    return x
";
    // The next element is read while it still has its old value.
    let read = "
def f(b: f64[9]):
    x = b.copy()
    y = np.zeros(9)
    for i in range(1, 8):
        x[i] = b[:i] @ x[:i]
        y[i] = x[i + 1]
    return x, y
";
    // Terms that later iterations store are there already.
    let ahead = "
def f(b: f64[9]):
    x = b.copy()
    for i in range(1, 8):
        x[i] = b[i + 1 :] @ x[i + 1 :]
    return x
";
    for source in [changed, read, ahead] {
        assert_eq!(found(source, right_looking::RULE), 0, "{source}");
        agrees(source);
    }
}

#[test]
fn folds_over_what_a_term_alone_needs_have_a_form_in_parts() {
    // 240 terms in parts alike, 131 in parts that are not; a fold over two axes; the largest of integers.
    let alike = "
def f(A: f64[240, 9], x: f64[9]):
    return A.T @ (A @ x)
";
    let rest = "
def f(A: f32[131, 7], x: f32[7]):
    return (A @ x) @ A
";
    let both = "
def f(A: f64[160, 5, 3], x: f64[3]):
    y = np.sum(A, axis=2)
    return np.einsum('iab,ia->b', A, y) + 0.0 * x
";
    let largest = "
def f(A: i32[144, 6]):
    return np.max(A + np.sum(A, axis=1)[:, None], axis=0)
";
    for source in [alike, rest, largest] {
        assert!(found(source, parts::RULE) > 0, "{source}");
        agrees(source);
    }
    // Terms that need two axes of it stay together.
    assert_eq!(found(both, parts::RULE), 0, "{both}");
    // Sums of floats in parts are other ones, the largest of integers is not.
    let exactly = |source: &str| found_exactly(source, parts::RULE);
    assert!(!exactly(alike));
    assert!(exactly(largest));
}

#[test]
fn a_scan_in_parts() {
    let whole = "
def f(x: f64[1200]):
    return np.cumsum(x)
";
    // No number of parts divides the first; the state of the others is more than the scan, or is written by others.
    let beside = [
        "
def f(x: f64[1031]):
    return np.cumsum(x) + x
",
        "
def f(x: f64[1000], y: f64[1200]):
    for i in range(7, 903):
        y[i] = y[i - 1] - np.exp(x[i + 3] * 0.01) * y[2]
    return y
",
        "
def f(x: f64[1024]):
    for i in range(1, 1024):
        x[i] = x[i - 1] + x[i]
    return x
",
        "
def f(x: f32[700]):
    y = np.zeros_like(x)
    for t in range(3):
        for i in range(1, 700):
            y[i] = x[i] * x[i - 1] + y[i - 1]
        x[:] = 0.5 * x + y[5]
    return x
",
    ];
    let several = "
def f(x: f64[900, 3], y: f64[2, 800]):
    return np.cumsum(x, axis=0)[:, ::-1], np.add.accumulate(y, axis=1) * 2.0, np.cumprod(1.0 + 0.01 * y[0])
";
    let greatest = "
def f(x: i64[1000], b: bool[640]):
    return np.maximum.accumulate(x)[::-1], np.cumsum(x), np.logical_or.accumulate(b)
";
    for source in [whole, several, greatest].iter().chain(&beside) {
        assert!(found(source, scan::RULE) > 0, "{source}");
        agrees(source);
    }
    assert!(!found_exactly(whole, scan::RULE));
    assert!(found_exactly(greatest, scan::RULE));
}

#[test]
fn what_is_no_scan_stays() {
    let own_terms = "
def f(y: f64[1000]):
    for i in range(2, 1000):
        y[i] = y[i - 1] + 0.1 * y[i - 2]
    return y
";
    let one_of_them = "
def f(x: f64[1000], y: f64[1000]):
    for i in range(1, 1000):
        y[i] = y[i - 1] + x[i] * y[30]
    return y
";
    let scaled = "
def f(x: f64[1000], y: f64[1000]):
    for i in range(1, 1000):
        y[i] = 0.5 * y[i - 1] + x[i]
    return y
";
    let two = "
def f(x: f64[1000], y: f64[1000], z: f64[1000]):
    for i in range(1, 1000):
        y[i] = y[i - 1] + x[i] * z[i - 1]
        z[i] = y[i] * 0.5
    return y, z
";
    let points = "
def f(x: f64[1000, 50]):
    return np.cumsum(x, axis=0)
";
    let short = "
def f(x: f64[100]):
    return np.cumsum(x)
";
    for source in [own_terms, one_of_them, scaled, two, points, short] {
        assert_eq!(found(source, scan::RULE), 0, "{source}");
    }
}

const FACTOR: &str = "
def f(A: f64[21, 21]):
    A = A @ A.T + 9.0 * np.eye(21)
    L = np.zeros_like(A)
    for k in range(21):
        L[k:, k] = A[k:, k] - L[k:, :k] @ L[k, :k]
        L[k, k] = np.sqrt(L[k, k])
        L[k + 1 :, k] /= L[k, k]
    return L
";

/// The loop begins at another iteration in every row, and no number of iterations is a multiple of a block's.
const TRIANGLE: &str = "
def f(A: f64[23, 23]):
    T = np.zeros((23, 23))
    for i in range(23):
        for j in range(i, 23):
            T[i, j] = A[i, j] + 0.1 * (T[i, i:j] @ A[i:j, j])
    return T
";

/// The rows of B are far enough apart to be packed, and the last blocks of most rows of T have no iteration.
const COLUMNS: &str = "
def f(A: f64[40, 40], B: f64[40, 40]):
    T = np.zeros((40, 40))
    for i in range(40):
        for j in range(i, 40):
            T[i, j] = A[i, j] + 0.1 * (T[i, i:j] @ B[i:j, i])
    return T
";

/// The last block is shorter than the others, and the points of its part ahead end with it.
const GROWING: &str = "
def f(A: f64[64, 64], b: f64[42]):
    x = b.copy()
    Y = np.zeros((42, 42))
    for j in range(1, 42):
        Y[j, :j] = A[:j, :j] @ x[:j]
        x[j] = 0.1 * Y[j, 0]
    return Y
";

/// Every iteration needs those up to the one before the last.
const LATE: &str = "
def f(A: f64[27, 27], b: f64[27]):
    x = b.copy()
    for i in range(2, 27):
        x[i] = np.max(A[i, : i - 1] - x[: i - 1])
    return x
";

#[test]
fn folds_over_earlier_iterations_have_a_form_in_blocks() {
    let substitution = SUBSTITUTION.replace("11", "37");
    let rows = ROWS.replace("9", "21");
    for source in [FACTOR, TRIANGLE, COLUMNS, GROWING, LATE, substitution.as_str(), rows.as_str()] {
        assert!(found(source, blocked::RULE) > 0, "{source}");
        agrees(source);
    }
    // Sums of floats in two parts are other ones, the largest is not.
    let exactly = |source: &str| found_exactly(source, blocked::RULE);
    assert!(!exactly(FACTOR));
    assert!(exactly(&LATE.replace("f64", "i64")));
}

#[test]
fn a_fold_whose_terms_change_within_a_block_has_no_blocks() {
    let changed = "
def f(b: f64[29]):
    x = b.copy()
    for i in range(1, 29):
        x[i] = b[:i] @ x[:i]
        x[0] = 0.5 * x[i]
    return x
";
    // Too few iterations for blocks.
    let few = SUBSTITUTION.replace("11", "4");
    for source in [changed, few.as_str()] {
        assert_eq!(found(source, blocked::RULE), 0, "{source}");
        agrees(source);
    }
}

/// 29 iterations are no whole number of strips.
const ELIMINATION: &str = "
def f(A: f64[29, 29]):
    A = A + 40.0 * np.eye(29)
    for k in range(29):
        A[k + 1 :, k] /= A[k, k]
        A[k + 1 :, k + 1 :] -= np.outer(A[k + 1 :, k], A[k, k + 1 :])
    return A
";

/// Nothing of an iteration is needed by another.
const OUTER: &str = "
def f(A: f64[21, 6], B: f64[21, 7]):
    C = np.ones((6, 7))
    for k in range(21):
        C += np.outer(A[k], B[k])
    return C
";

/// Domains that end with the iteration.
const BACKWARDS: &str = "
def f(A: f64[17, 17], L: f64[17, 17]):
    A = A.copy()
    for k in range(16, 1, -1):
        A[:k, :k] -= 0.1 * np.outer(L[:k, k], A[k, :k])
    return A
";

/// Terms of one half alone.
const TRIANGLE_OF_PRODUCTS: &str = "
def f(L: f64[26, 26]):
    A = np.ones((26, 26))
    for k in range(26):
        A -= np.tril(np.outer(L[:, k], L[k, :]))
    return A
";

const COLUMN: &str = "
def f(L: f64[23, 23], b: f64[23]):
    x = b.copy()
    for k in range(22):
        x[k + 1 :] -= L[k + 1 :, k] * x[k]
    return x
";

/// The third loop is as good as the first.
const THREE: &str = "
def f(A: f64[21, 6], B: f64[21, 7]):
    C, D, E = np.ones((6, 7)), np.ones((6, 7)), np.ones((6, 7))
    for k in range(21):
        C += np.outer(A[k], B[k])
    for k in range(20):
        D -= np.outer(A[k], B[k])
    for k in range(19):
        E *= np.outer(A[k], B[k])
    return C, D, E
";

const LARGEST: &str = "
def f(A: i64[19, 19]):
    A = A.copy()
    for k in range(19):
        A[k + 1 :, k + 1 :] = np.maximum(A[k + 1 :, k + 1 :], A[k + 1 :, k][:, None] + A[k, k + 1 :])
    return A
";

#[test]
fn updates_of_what_later_iterations_need_have_a_form_that_defers_them() {
    for source in [ELIMINATION, OUTER, BACKWARDS, TRIANGLE_OF_PRODUCTS, COLUMN, LARGEST, THREE] {
        assert!(found(source, deferred::RULE) > 0, "{source}");
        agrees(source);
    }
    let all_of_three =
        |form: &DerivedForm| form.form.defs.iter().filter(|def| def.name.ends_with("_terms")).count() == 3;
    assert!(all_forms(&program(THREE)).iter().any(all_of_three));
    assert!(!found_exactly(ELIMINATION, deferred::RULE));
    assert!(found_exactly(LARGEST, deferred::RULE));
}

#[test]
fn an_update_that_an_iteration_of_its_block_needs_is_not_deferred() {
    // Its own terms, in the row and the column of the iteration.
    let closure = "
def f(D: f64[12, 12]):
    D = D.copy()
    for k in range(12):
        D[:, :] = np.minimum(D, D[:, k][:, None] + D[k, :])
    return D
";
    // Another statement, at one element of the last row.
    let read = "
def f(A: f64[12, 12]):
    A = A.copy()
    s = np.zeros(12)
    for k in range(11):
        s[k] = A[11, 11]
        A[k + 1 :, k + 1 :] -= 0.1 * np.outer(A[k + 1 :, k], A[k, k + 1 :])
    return A, s
";
    // What a term reads has another value at the end of the block.
    let changed = "
def f(A: f64[12, 12], w: f64[12]):
    A, w = A.copy(), w.copy()
    for k in range(12):
        w[:] = 0.5 * w + A[k, 0]
        A[:, 1:] -= 0.1 * w[1:]
    return A
";
    // An iteration's own value.
    let local = "
def f(A: f64[12, 12]):
    B = np.zeros((12, 12))
    for k in range(12):
        s = np.sum(A[k] ** 2)
        B += s * A
    return B
";
    // Bits of integers: no fold takes those together.
    let bits = "
def f(A: i64[12, 12], w: i64[12, 12]):
    A = A.copy()
    for k in range(12):
        A[:, :] |= w[k]
    return A
";
    for source in [closure, read, changed, local, bits] {
        assert_eq!(found(source, deferred::RULE), 0, "{source}");
        agrees(source);
    }
}

/// The numbers of loops in the forms in which some are distributed, the most of one form.
fn loops_when_distributed(source: &str) -> usize {
    fn loops(steps: &[Step]) -> usize {
        let of = |step: &Step| match step {
            Step::Def(_) => 0,
            Step::Loop { body, .. } => 1 + loops(body),
            Step::If { body, .. } => loops(body),
        };
        steps.iter().map(of).sum()
    }
    let apart = |form: &&DerivedForm| form.derivation.rules.iter().any(|name| name == distribution::RULE);
    all_forms(&program(source)).iter().filter(apart).map(|form| loops(&form.form.steps)).max().unwrap_or(0)
}

#[test]
fn loops_whose_statements_do_not_wait_for_each_other_have_a_form_that_distributes_them() {
    // Two recurrences, the second over what the first has stored.
    let chain = "
def f(a: f64[12]):
    x, y = a.copy(), a.copy()
    for k in range(1, 12):
        x[k] = 0.5 * x[k - 1] + a[k]
        y[k] = 0.25 * y[k - 1] + x[k]
    return x, y
";
    // The later statement supplies the earlier one, an iteration later: its loop comes first.
    let swapped = "
def f(a: f64[12]):
    x, y = a.copy(), a.copy()
    for k in range(1, 12):
        x[k] = 0.5 * x[k - 1] + y[k - 1]
        y[k] = 0.25 * y[k] + a[k]
    return x, y
";
    // What the first statement reads is overwritten an iteration later: it keeps its place.
    let overwritten = "
def f(a: f64[12]):
    x, y = a.copy(), a.copy()
    for k in range(11):
        x[k] = 0.5 * x[k] + y[k + 1]
        y[k] = 2.0 * a[k]
    return x, y
";
    // Only the loop around carries what leads back.
    let inner = "
def f(a: f64[7, 12]):
    x, y = a.copy(), a.copy()
    for t in range(1, 7):
        for k in range(1, 12):
            x[t, k] = 0.5 * x[t, k - 1] + y[t - 1, k]
            y[t, k] = 0.25 * y[t, k - 1] + x[t, k]
    return x, y
";
    for (source, loops) in [(chain, 2), (swapped, 2), (overwritten, 2), (inner, 3)] {
        assert_eq!(loops_when_distributed(source), loops, "{source}");
        agrees(source);
    }
}

#[test]
fn statements_that_wait_for_each_other_stay_in_one_loop() {
    let cycle = "
def f(a: f64[12]):
    x, y = a.copy(), a.copy()
    for k in range(1, 12):
        x[k] = 0.5 * y[k - 1] + a[k]
        y[k] = 0.25 * x[k] + a[k]
    return x, y
";
    // The element that is read is the next iteration's to write, and the one written its to read.
    let both = "
def f(a: f64[12]):
    x, y = a.copy(), a.copy()
    for k in range(1, 11):
        x[k] = 0.5 * y[k + 1] + a[k]
        y[k] = 0.25 * x[k + 1] + a[k]
    return x, y
";
    // Of one value of the iteration, and a state that they both store to.
    let local = "
def f(A: f64[12, 5]):
    x = np.zeros((12, 5))
    for k in range(11):
        s = np.sum(x[k] * A[k])
        x[k + 1] = A[k] * s
        x[k, 0] = s
    return x
";
    for source in [cycle, both, local] {
        assert_eq!(loops_when_distributed(source), 0, "{source}");
        agrees(source);
    }
}

#[test]
fn what_a_blocks_iterations_keep_is_cut_so_that_their_loop_falls_apart() {
    // Columns are scaled, or rows.
    let rows = ELIMINATION.replace("A[k + 1 :, k] /= A[k, k]", "A[k, k + 1 :] /= A[k, k]");
    assert_ne!(rows, ELIMINATION);
    for source in [ELIMINATION, &rows] {
        // Of blocks, and in them one for the panel and one for the rest.
        assert_eq!(loops_when_distributed(source), 3, "{source}");
        agrees(source);
    }
}

#[test]
fn folds_over_rows_that_the_loop_stores_have_a_form_in_parts() {
    let columns = "
def f(A: f64[160, 7]):
    A = A.copy()
    R = np.zeros((7, 7))
    for k in range(7):
        R[k, k] = np.sqrt(np.sum(A[:, k] ** 2))
        A[:, k] = A[:, k] / R[k, k]
        R[k, k + 1 :] = A[:, k] @ A[:, k + 1 :]
        A[:, k + 1 :] -= np.outer(A[:, k], R[k, k + 1 :])
    return A, R
";
    assert!(found(columns, parts::RULE) > 0);
    agrees(columns);
    // Nothing stores what is folded.
    let read = "
def f(A: f64[160, 7]):
    s = np.zeros(7)
    for t in range(3):
        s[:] = 0.5 * s + np.sum(A, axis=0)
    return s
";
    assert_eq!(found(read, parts::RULE), 0);
    agrees(read);
}

/// 19 iterations are two blocks and a rest; 3 rows are fewer than a block's wavefronts need.
const SWEEPS: &str = "
def f(A: f64[24, 9]):
    A = A.copy()
    for t in range(19):
        for i in range(1, 23):
            for j in range(1, 8):
                A[i, j] = (A[i - 1, j - 1] + A[i - 1, j] + A[i, j - 1] + A[i, j] + A[i, j + 1] + A[i + 1, j + 1]) / 6.0
    return A
";

const FEW_ROWS: &str = "
def f(A: f64[5, 9]):
    A = A.copy()
    for t in range(8):
        for i in range(1, 4):
            for j in range(1, 8):
                A[i, j] = 0.25 * A[i - 1, j] + 0.25 * A[i, j - 1] + 0.5 * A[i + 1, j + 1]
    return A
";

const LINE: &str = "
def f(x: f64[40]):
    x = x.copy()
    for t in range(1, 12):
        for i in range(1, 39):
            x[i] = (x[i - 1] + x[i] + x[i + 1]) / 3.0 + t
    return x
";

#[test]
fn sweeps_that_read_their_own_neighbours_have_wavefronts() {
    for source in [SWEEPS, LINE] {
        assert!(found(source, wavefront::RULE) > 0, "{source}");
        agrees(source);
    }
}

#[test]
fn sweeps_that_read_far_ahead_or_are_short_have_none() {
    // The last element of one sweep is the neighbour of the first of the next.
    let periodic = "
def f(x: f64[40]):
    x = x.copy()
    for t in range(12):
        for i in range(1, 40):
            x[i] = 0.5 * x[i - 1] + 0.25 * x[39 - i]
    return x
";
    let few = SWEEPS.replace("range(19)", "range(7)");
    for source in [periodic, few.as_str(), FEW_ROWS] {
        assert_eq!(found(source, wavefront::RULE), 0, "{source}");
        agrees(source);
    }
}

#[test]
fn what_a_loop_leaves_empty_in_some_iterations_is_read_where_it_is_not() {
    // One element or none.
    let slices = "
def f(p: f64[5, 5], q: f64[5], a: f64[3]):
    a = a.copy()
    for k in range(2, 4):
        a[1] += p[k + 2 :, k + 1] @ q[1 : 4 - k]
        a[2] += np.sum(q[k + 2 :])
        a[1 : 4 - k] += q[k + 2 :]
    return a
";
    // With an inner loop that does not run where the outer one's variable is out of the array.
    let gathers = "
def f(p: f64[3, 4, 2], A: f64[6, 6], q: Annotated[i32[2], Range(-2, 2)]):
    A = A.copy()
    for k in range(4, -1, -1):
        for m in range(k):
            A[3:, 6 - k] += p[:, 4 - k, q[0]] + A[q[1], m]
    return A
";
    // Both factors end where the arrays do, beyond which the box of all iterations goes on.
    let products = "
def f(A: f64[5, 5], B: f64[5, 5]):
    B = B.copy()
    for i in range(4):
        B[i:, i:] = 0.5 * (B[i:, i:] @ A[i:, i:])
        B[:, :] += 0.25 * (A[:, i:] @ A[i:, :])
        B[0, 0] += np.einsum('ij,jk->', A[i:, i:], A[i:, :])
    return B
";
    // A value that two folds read, each as far as there is one.
    let shared = "
def f(A: f64[9, 7]):
    s = np.zeros((9, 7))
    for k in range(9):
        e = np.exp(A[k:]) * np.sin(A[k:])
        s[k] = np.sum(e, axis=0) * np.sum(e)
    return s
";
    // A mask of one term is none of the sum.
    let terms = "
def f(a: f64[7], b: f64[7]):
    s, t = np.zeros(7), np.zeros(7)
    for k in range(7):
        s[k] = np.sum(a + np.where(k - np.arange(7) > 0, b, 0.0))
        t[k] = np.sum(np.where(k - np.arange(7) > 0, b, 0.0))
    return s, t
";
    for source in [slices, gathers, products, shared, terms] {
        agrees(source);
    }
}

#[test]
fn time_tiles_cover_what_lies_after_a_panel_that_begins_before_the_array() {
    let triangles = "
def f(w: f64[5]):
    m = np.zeros((5, 5)) + w
    for r in range(5):
        m[:r, r + 1 :] -= 0.1 * (m[:r, r][:, None] + m[r, r + 1 :])
        m[r + 1 :, r] *= 0.5
    return m
";
    let mut before = 0;
    for source in [triangles, ELIMINATION] {
        let program = program(source);
        let numerics = Numerics::Reassociate;
        let arguments: Vec<Tensor> =
            program.params.iter().zip(0..).map(|(param, seed)| inputs::random(param, seed).unwrap()).collect();
        let references = interpret(&program, &arguments, numerics).unwrap();
        for form in all_forms(&program) {
            let form = form.form;
            let space = ScheduleSpace::new(&form, &host_target(), &ScheduleRules::standard(), numerics, 2).unwrap();
            for Tilable { var, dim, skew, shifts, independent, panel } in space.time_loops() {
                let Some(begins) = panel.map(|panel| panel.begins) else { continue };
                for (time, height) in [(1, 2), (1, 3), (2, 1), (2, 2), (3, 4)] {
                    let band = Band { dim, skew, shifts: shifts.clone(), independent, panel, height };
                    let tile = TimeTile { var, time, bands: vec![band], parallel: true };
                    let schedule = Schedule { time_tiles: vec![tile], ..plain_schedule(&form) };
                    if !space.is_legal(&schedule) {
                        continue;
                    }
                    before += usize::from(begins < 0);
                    let results = evaluate_nest::evaluate(&apply(&form, &schedule).unwrap(), &arguments).unwrap();
                    for (reference, result) in references.iter().zip(&results) {
                        let result = Tensor { shape: reference.value.shape.clone(), ..result.clone() };
                        if let Err(mismatch) = reference.check(&result) {
                            panic!("{mismatch}: {schedule:?}\n{source}");
                        }
                    }
                }
            }
        }
    }
    assert!(before > 0);
}
