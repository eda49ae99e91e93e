//! Scatters, and gathers of what changes: what the frontend reads, the interpreter, every form and kernels of drawn
//! schedules against NumPy itself; an index out of range is an error of all of them and writes nothing outside.

use moat_optimizer::oracle::interpret::interpret;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::Data;
use moat_tests::kernels::{all_out_of_range, arguments, equal_numpy, equal_the_interpreter, kernels, program};

/// Bodies over `A: f64[5, 6, 7]`, `i, j: i32[4]`, `k: i64[3, 1]`, `n: i32`, whose values are in −5 .. 5, `v: f64[4]` and
/// `w: f64[4, 7]`; they return A, or what they say.
const BODIES: [&str; 38] = [
    "A[i] = 1.5",
    "A[i, j] = v[:, None]",
    "A[i, :, j] = v[:, None]",
    "A[:, i] += 1.0",
    "A[k, j] -= v[:, None]",
    "A[i, 1:5:2] = A[j, 0:4:2]",
    "A[i] = A[j] + A[i]",
    "A[n] = 0.5",
    "A[n, i] = w",
    "A[i, None, 2] = w[:, None]",
    "A[::-1, i, 1] = v",
    "A.T[i, j] = 2.0",
    "A[i] = A[::-1][0:4]",
    "A[...][:, 1:][i, j] *= 2.0",
    "np.add.at(A, i, w[:, None])",
    "np.add.at(A, (i, j), w)",
    "np.multiply.at(A, (i, 2, j), v)",
    "np.maximum.at(A, n, 0.25)",
    "np.negative.at(A, (i, j, k))",
    "np.add.at(A, 2, 1.0)",
    "np.subtract.at(A[1:4], (k % 3, j), v[:, None])",
    "np.add.at(A, (k, j), A[0, 0, 0])",
    "np.add.at(A, i, A[j])",
    "for t in range(4):\n        A[i[t], j[t]] += w[t]",
    "for t in range(4):\n        A[t, i[t], 1:5] = A[t, j[t], 2:6] * 2.0",
    "for t in range(3):\n        np.subtract.at(A[t], (i, j), v[t])",
    "for t in range(3):\n        A[t][i] = A[t + 1, j]",
    "for t in range(4):\n        for s in range(t):\n            A[i[t], s] += A[j[s], t] * 0.5",
    "for t in range(4):\n        if t > 1:\n            A[i[t]] = v[t]",
    "for t in range(6):\n        if t < 3:\n            A[0, t, t] += A[n, 4 - t, t + 2]",
    "for t in range(5):\n        for s in range(t - 1, 0, -1):\n            A[0, s, 2] = A[n, -s + 4, s + 3] + A[i[s], s - 1, 1:4].sum()",
    "x = 0.0\n    for t in range(4):\n        x = x * 0.5 + A[i[t], j[t], t]\n    return x",
    "row = A[n].copy()\n    A[0] = A[n] + row\n    A[1] = row",
    "x = A[n, 1, i[0]]\n    A[...] = 0.0\n    A[0] = x",
    "c = np.zeros(5, dtype=np.int64)\n    for t in range(4):\n        c[i[t]] += 1\n    return c",
    "c = i * 0\n    for t in range(4):\n        c[t] = j[t]\n    A[c] = 0.5\n    A[c, c] += 1.0",
    "h = np.zeros(11)\n    np.add.at(h, i + 5, 1)\n    for t in range(3):\n        h[i + t] += np.take(h, j, mode='wrap')\n    return h",
    "B = A[i]\n    for t in range(4):\n        B[t] += A[k[:, 0], t].sum(axis=0)\n    return B",
];

fn source(body: &str) -> String {
    let result = if body.contains("return") { "" } else { "    return A\n" };
    format!(
        "from __future__ import annotations\nimport numpy as np\n\ndef f(A: f64[5, 6, 7], \
         i: Annotated[i32[4], Range(-5, 5)], j: Annotated[i32[4], Range(-5, 5)], \
         k: Annotated[i64[3, 1], Range(-5, 5)], n: Annotated[i32, Range(-5, 5)], v: f64[4], w: f64[4, 7]):\n    \
         {body}\n{result}"
    )
}

#[test]
fn kernels_and_forms_equal_the_interpreter() {
    for (seed, body) in (1..).zip(BODIES) {
        let program = program(&source(body));
        let threads = 1 + usize::try_from(seed % 2).unwrap();
        equal_the_interpreter(&program, &arguments(&program, seed), threads, body);
    }
}

/// NumPy itself runs the source.
#[test]
fn the_interpreter_equals_numpy() {
    equal_numpy(&BODIES.map(source));
}

#[test]
fn an_index_out_of_range_is_an_error_everywhere() {
    let bodies = [
        "np.add.at(A, (i, j), w)",
        "A[i, j] = 1.0",
        "for t in range(4):\n        A[i[t], j[t]] += w[t]",
        "for t in range(2):\n        A[t] += A[i[t + 1], j[t + 1]]",
    ];
    let bad = [(2, i32::MAX), (1, -6), (1, 5), (2, 6), (2, -7), (1, i32::MIN)];
    for (number, body) in bodies.into_iter().enumerate() {
        let program = program(&source(body));
        for (parameter, bad) in bad.into_iter().take(if number == 0 { bad.len() } else { 2 }) {
            let mut inputs = arguments(&program, 1);
            let Data::I32(all) = &mut inputs[parameter].data else { panic!("no array of indices") };
            all[2] = bad;
            all_out_of_range(&program, &inputs, &format!("{body}, {bad} for parameter {parameter}"));
        }
    }
}

/// Where the loop never comes to a bad index, there is no error.
#[test]
fn an_index_that_is_not_used_is_not_checked() {
    let program = program(&source("for t in range(4):\n        if t > 1:\n            A[i[t]] = v[t]"));
    let mut inputs = arguments(&program, 1);
    let Data::I32(all) = &mut inputs[1].data else { panic!("no array of indices") };
    all[0] = 100;
    let expected = interpret(&program, &inputs, Numerics::Reassociate).unwrap();
    kernels(&program, &inputs, 1, &mut |found| {
        expected[0].check(&found.unwrap()[0]).unwrap();
    });
}

#[test]
fn what_cannot_be_scattered_is_refused() {
    let refused = [
        ("np.add.at(A, i, w)", "cannot be assigned to elements of shape"),
        ("c = np.zeros(5, dtype=np.int64)\n    np.add.at(c, i, 0.5)\n    return c", "cannot store"),
        ("np.add.at(A, i)", "operands"),
        ("np.negative.at(A, i, 1.0)", "operands"),
        ("np.add.at(1.0, i, 1.0)", "changes an array"),
        ("np.sum.at(A, i, 1.0)", "not supported"),
        ("np.broadcast_to(A, (2, 5, 6, 7))[i] = 1.0", "read-only"),
        ("B = np.zeros((0, 3))\n    B[i] = 1.0\n    return B", "nothing to index"),
        ("A[n][0] = 1.0", "only known when the program runs"),
        ("row = A[n]\n    A[0] = 1.0\n    return row", "only known when the program runs"),
        ("A[0], A[1] = A[n], A[i[0]]", "only known when the program runs"),
    ];
    for (body, message) in refused {
        let errors = moat_optimizer::frontend::parse("case.py", &source(body), &Default::default());
        let text = errors.expect_err(body).to_string();
        assert!(text.contains(message), "{body}: {text}");
    }
}
