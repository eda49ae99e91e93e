//! Gathers: what the frontend reads, the interpreter, every form and kernels of drawn schedules against NumPy's own
//! rules; an index out of range is an error of all of them and reads nothing.

use moat_optimizer::value::tensor::Data;
use moat_tests::kernels::{all_out_of_range, arguments, equal_numpy, equal_the_interpreter, program};

/// Expressions over `A: f64[5, 6, 7]`, `i, j: i32[4]`, `k: i64[3, 1]`, `n: i32`, whose values are in −5 .. 5.
const EXPRESSIONS: [&str; 26] = [
    "np.take(A, i)",
    "np.take(A, i, axis=0)",
    "np.take(A, k, axis=1)",
    "np.take(A, n, axis=-1)",
    "np.take(A, i + 9, axis=2, mode='clip')",
    "np.take(A, i - 30, axis=1, mode='wrap')",
    "A[i]",
    "A[:, i]",
    "A[i, j]",
    "A[i, :, j]",
    "A[:, i, j]",
    "A[..., i]",
    "A[i, ..., j]",
    "A[k, j]",
    "A[i, j, k]",
    "A[1, :, i]",
    "A[:, 2, i]",
    "A[i, 1:5:2, None]",
    "A[None, i, :, None, 1]",
    "A[:, None, i, ::-1]",
    "A[n]",
    "A[n, i]",
    "np.sum(A[:, :, i] * 2.0, axis=1)",
    "(A + 1.0)[i, j] @ A[0, 0]",
    "np.exp(A).T[i, j].T",
    "A[i][:, j]",
];

/// Loops that read slices at their variables, one axis at an index that is loaded; over the same parameters. The first
/// never executes what reads beyond A, which in the lifted statement has a margin.
const LOOPS: [&str; 3] = [
    "B = A[0].copy()
    for v in range(0, 3, 2):
        for w in range(v, 6):
            if w <= 1:
                B[w, :5] += A[:, 3 * v, n]
    return B",
    "B = A[0].copy()
    for v in range(1, 4):
        B[v, :] = A[n, 2 * v - 1, :] + A[v, 5 - v, j[0]]
    return B",
    "B = A[0].copy()
    for v in range(5, 1, -1):
        for w in range(6 - v):
            if v + w > 4:
                B[w, ::-1] -= A[4 - w, n, :] * A[v - 1, 5 - w, i[w]]
    return B",
];

fn source(expression: &str) -> String {
    body(&format!("return {expression}"))
}

fn body(body: &str) -> String {
    format!(
        "from __future__ import annotations\nimport numpy as np\n\ndef f(A: f64[5, 6, 7], i: Annotated[i32[4], Range(-5, 5)], \
         j: Annotated[i32[4], Range(-5, 5)], k: Annotated[i64[3, 1], Range(-5, 5)], \
         n: Annotated[i32, Range(-5, 5)]):\n    {body}\n"
    )
}

#[test]
fn kernels_and_forms_equal_the_interpreter() {
    for (seed, expression) in (1..).zip(EXPRESSIONS) {
        let program = program(&source(expression));
        equal_the_interpreter(&program, &arguments(&program, seed), 1, expression);
    }
    for (seed, text) in (1..).zip(LOOPS) {
        let program = program(&body(text));
        equal_the_interpreter(&program, &arguments(&program, seed), 1, text);
    }
}

/// NumPy itself runs the source, since how subscripts are read is what is in question.
#[test]
fn the_interpreter_equals_numpy() {
    equal_numpy(&EXPRESSIONS.map(source));
    equal_numpy(&LOOPS.map(body));
}

#[test]
fn an_index_out_of_range_is_an_error_everywhere() {
    let program = program(&source("A[i, j] + np.take(A, k, axis=2)[0, 0, :1]"));
    for (parameter, bad) in [(1, 5), (1, -6), (2, 6), (2, -7), (3, 7), (3, i64::MAX), (3, i64::MIN)] {
        let mut inputs = arguments(&program, 1);
        if let Data::I32(all) = &mut inputs[parameter].data {
            all[2] = i32::try_from(bad).unwrap();
        } else if let Data::I64(all) = &mut inputs[parameter].data {
            all[2] = bad;
        } else {
            panic!("parameter {parameter} is no array of indices");
        }
        all_out_of_range(&program, &inputs, &format!("{bad} for parameter {parameter}"));
    }
}
