//! Loops and mutable arrays in the frontend: what programs become, by snapshot, and what is refused, with its remedy.
//! That the programs compute what NumPy computes is tested in `loops.rs`.

use moat_optimizer::frontend::{ParseOptions, listing, parse};
use moat_optimizer::program::verify::verify;

const HEADER: &str = "from __future__ import annotations
import numpy as np
W = np.array([1.0, 2.0])
def f(A: f64[5, 6], B: f32[5, 6], x: f64[8], i: i32[8], s: f64):
";

fn source(body: &str) -> String {
    let indented: String = body.lines().map(|line| format!("    {line}\n")).collect();
    format!("{HEADER}{indented}")
}

/// The listings of bodies.
fn programs(bodies: &[&str]) -> String {
    let mut text = String::new();
    for body in bodies {
        let source = source(body);
        let workload =
            parse("case.py", &source, &ParseOptions::default()).unwrap_or_else(|errors| panic!("{source}\n{errors}"));
        let listing = listing(&workload.program);
        verify(&workload.program).unwrap_or_else(|error| panic!("{source}\n{listing}{error}"));
        text += &format!("{body}\n{}\n", listing.split_once('\n').map_or("", |(_, nodes)| nodes));
    }
    text
}

/// The errors of bodies.
fn refusals(bodies: &[&str]) -> String {
    let mut text = String::new();
    for body in bodies {
        let source = source(body);
        let errors = match parse("case.py", &source, &ParseOptions::default()) {
            Ok(workload) => panic!("no error in\n{source}\n{}", listing(&workload.program)),
            Err(errors) => errors.to_string(),
        };
        text += &format!("{body}\n{errors}\n\n");
    }
    text
}

#[test]
fn loops() {
    insta::assert_snapshot!(programs(&[
        "for k in range(8):\n    x[k] = k\n",
        "for k in range(6, 0, -1):\n    x[k] = x[k - 1] + x[k + 1]\nreturn x",
        "for k in range(1, 8, 3):\n    x[k:] += x[k]\nreturn x",
        "for i in range(5):\n    for j in range(i, 6):\n        A[i, j] -= A[i, :i].sum()\nreturn A[0]",
        "for k in range(4):\n    if 0 < k != 2:\n        x[k] = 1\n    else:\n        x[k] = 2\nreturn x",
        "for k in range(5, 5):\n    x[k] = missing\nreturn x",
    ]));
}

#[test]
fn names_that_loops_rebind() {
    insta::assert_snapshot!(programs(&[
        "t = 0.0\nfor k in range(8):\n    t = t + x[k]\nreturn t",
        "t = 0.0\nfor k in range(5):\n    t = t + B[k, 0]\nreturn t",
        "t = 1.0\nfor k in range(8):\n    t = t / 2\n    x[k] = t\nreturn x",
        "for k in range(8):\n    t = x[k] * 2\n    x[k] = t + t\nreturn x",
        "y = x\nfor k in range(3):\n    y = y * 2 + x\nreturn y",
        "p, q = 0.0, 1.0\nfor k in range(8):\n    p, q = q, p + q\nreturn p",
        "for k in range(8):\n    n = x.shape[0]\n    x[k] = n\nreturn x[:n]",
    ]));
}

#[test]
fn memory() {
    insta::assert_snapshot!(programs(&[
        "y = x.copy()\ny[0] = 1\nreturn y",
        "y = x[2:]\ny[1:3] = 1\nreturn y * 2",
        "A.T[1:, 0] = x[:5]\nreturn A.T",
        "y = np.empty(3)\ny[1:] = s\nunused = np.zeros(4)\nunused[0] = y[0]\nreturn y",
        "first = x[0]\nx[:] = x[::-1]\nx[0] = first\nreturn x",
        "A += 1\nx *= 2\nreturn A.sum()",
        "y = x + 1\ny += x\nreturn y",
    ]));
}

#[test]
fn functions() {
    insta::assert_snapshot!(programs(&["return np.cumsum(x)", "return A.argmax(1)", "return np.maximum.reduce(i)"]));
}

#[test]
fn statements_that_are_refused() {
    insta::assert_snapshot!(refusals(&[
        "for k in x:\n    s = k\nreturn s",
        "for k, j in range(3):\n    x[k] = j\nreturn x",
        "for x[0] in range(3):\n    pass\nreturn x",
        "while s > 0:\n    s = s - 1\nreturn s",
        "for k in range(3):\n    return x\nreturn x",
        "for k in range(3):\n    if k == 1:\n        break\nreturn x",
        "for k in range(3):\n    if k == 1:\n        continue\n    x[k] = 1\nreturn x",
        "for k in range(3):\n    if k > 1:\n        return x\nreturn x",
        "for k in range(3):\n    if x[k] > 0:\n        x[k] = 0\nreturn x",
        "for k in range(3):\n    y = x if k > 1 else -x\nreturn x",
        "for k in range(3):\n    if k % 2 == 0:\n        x[k] = 0\nreturn x",
        "for k in range(i[0]):\n    x[k] = 1\nreturn x",
        "for k in range(3, 0, 0):\n    x[k] = 1\nreturn x",
        "for k in range(8):\n    for j in range(k, 8, 2):\n        x[j] = 1\nreturn x",
        "for k in range(3):\n    x[0] = 1\nreturn x[k]",
        "for k in range(3):\n    assert k < 2\nreturn x",
        "W[0] = 3\nreturn x",
    ]));
}

#[test]
fn subscripts_that_are_refused() {
    insta::assert_snapshot!(refusals(&[
        "for k in range(8):\n    x[k] = x[k - 1]\nreturn x",
        "for k in range(8):\n    x[k] = x[k + 1]\nreturn x",
        "for k in range(8):\n    x[k + 8] = 1\nreturn x",
        "for k in range(8):\n    x[k * k] = 1\nreturn x",
        "for k in range(8):\n    x[k / 2] = 1\nreturn x",
        "for k in range(8):\n    x[: k - 1] = 1\nreturn x",
        "for k in range(8):\n    x[: k + 5] = 1\nreturn x",
        "for k in range(8):\n    x[k : 7 - k] = 1\nreturn x",
        "for k in range(8):\n    x[k::2] = 1\nreturn x",
        "for k in range(8):\n    x[k::k] = 1\nreturn x",
    ]));
}

#[test]
fn live_extents_that_are_refused() {
    let one = |line: &str| format!("for k in range(1, 5):\n    {line}\nreturn A");
    let lines = [
        "A[:k, 0] = x[:k].reshape(-1, 1)",
        "A[k:, 0] += A[:k, 0]",
        "A[k:, 0] += x[:4]",
        "A[k:, 0] = np.roll(A[k:, 0], 1)",
        "A[k:, 0] = np.concatenate([A[k:, 0], x])",
        "A[k:, 0] = np.pad(A[k:, 0], 1)",
        "A[k:, 0] = np.cumsum(A[k:, 0])",
        "A[0, 0] = np.diagonal(A[k:, k:])[0]",
        "A[k:, k:] = np.tril(A[k:, k:])",
        "A[0, 0] = A[k + 1:, 0].max()",
        "A[0, 0] = A[:k] @ x",
        "A[0, 0] = np.zeros(k)[0]",
        "A[k:] = A[:, k:]",
    ];
    let bodies: Vec<String> = lines.into_iter().map(one).collect();
    insta::assert_snapshot!(refusals(&bodies.iter().map(String::as_str).collect::<Vec<_>>()));
}

#[test]
fn rebindings_that_are_refused() {
    insta::assert_snapshot!(refusals(&[
        "y = np.zeros(40)\nfor k in range(30):\n    y = y[1:]\nreturn y",
        "y = x\nfor k in range(30):\n    if k > 20:\n        y = y[1:]\nreturn y",
        "y = x\nfor k in range(30):\n    if k > 20:\n        y = x * 2\n    y[0] = 1\nreturn x",
        "y = (x, s)\nfor k in range(30):\n    if k > 20:\n        y = (y[0] * 2, s)\nreturn y[0]",
        "for k in range(3):\n    if k > 1:\n        y = x * 2\n    x[k] = 1\nreturn np.concatenate([y, i[:, None]])",
    ]));
}
