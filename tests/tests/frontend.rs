//! The frontend on small programs: what they become, by snapshot; and that what they become is well-formed.
//!
//! The expectations were compared with NumPy 2 when they were written: each program below was evaluated operator by
//! operator with NumPy and gave the bits that the Python function gives.

use moat_optimizer::frontend::{ParseOptions, Workload, listing, parse};
use moat_optimizer::program::verify::verify;
use moat_optimizer::value::dtype::Literal;
use std::collections::BTreeMap;

const HEADER: &str = "from __future__ import annotations
import math
import numpy as np
from scipy.special import erf
from numpy.lib.stride_tricks import sliding_window_view
PAD = 3
def f(A: f32[3, 4], B: f32[4, 3], C: f64[3, 4], i: i32[4], j: i64[3, 4], b: bool[3, 4], v: f32[4], s: f32, T: f32[2, 3, 4]):
";

fn read(source: &str, options: &ParseOptions) -> Workload {
    let workload = parse("case.py", source, options).unwrap_or_else(|errors| panic!("{source}\n{errors}"));
    verify(&workload.program).unwrap_or_else(|error| panic!("{source}\n{error}"));
    workload
}

/// The listing of each body under [`HEADER`]; a body without `return` is an expression.
fn check(bodies: &[&str]) -> String {
    let mut text = String::new();
    for body in bodies {
        let lines = if body.contains("return") { (*body).to_owned() } else { format!("return {body}") };
        let indented: String = lines.lines().map(|line| format!("    {line}\n")).collect();
        let workload = read(&format!("{HEADER}{indented}"), &ParseOptions::default());
        let listing = listing(&workload.program);
        let nodes = listing.split_once('\n').map_or("", |(_, nodes)| nodes);
        text += &format!("{body}\n{nodes}\n");
    }
    text
}

#[test]
fn promotion() {
    let text = check(&[
        "A + 1",
        "A + 1.5",
        "A + C",
        "i + 1.5",
        "i / 2",
        "i + A[0]",
        "i + j",
        "b + 1",
        "b + 1.5",
        "b + b",
        "b / b",
        "True + i",
        "np.float32(2) * i",
        "np.float64(2) * A",
        "np.sqrt(2) * A",
        "np.sqrt(i)",
        "erf(i)",
        "i < 2**40",
        "2**40 < i",
        "i == -2**40",
        "np.where(b, i, 2.5)",
        "np.where(A, 1, 2)",
        "np.clip(i, 0, 2.5)",
        "np.concatenate([A, j])",
        "np.logical_and(i, v)",
        "i.sum(), b.sum(), i.mean(), A.sum(dtype=np.float64)",
        "np.add(i, 1, dtype=np.float64)",
        "s + 1, s * C",
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn operators() {
    let text = check(&[
        "A**2, A**0.5, A**-1, A**0, A**3",
        "i**3, i**2.0",
        "-A // 2 % 3",
        "~b ^ (A > 0) | True",
        "i << 2 >> 1 & 3",
        "np.minimum(b, True), np.maximum(i, 2)",
        "np.reciprocal(A), np.square(A), np.ceil(A), np.floor(i), np.isfinite(A)",
        "np.tanh(A) * erf(A) - np.sign(A)",
        "-7 // 2 * A, -7 % 3 * A, 2**-1 * A, 7.5 // -2 * A",
        "A.shape[0] * A + len(A) + A.ndim + A.size",
        "math.sqrt(2) * np.pi * A",
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn slicing() {
    let text = check(&[
        "A[0], A[-1], A[0, 1], A[:, 1]",
        "A[1:], A[:-1], A[::2], A[::-1], A[-2:, 1:100], A[-100:2]",
        "A[2:-5:-1], A[::-5], A[:0:-1], A[3:0:-2]",
        "A[5:], A[2:1], A[1:2]",
        "A[..., 0], A[0, ...], A[()], A[...]",
        "A[None], A[:, None], A[..., None], A[None, :, None, 1]",
        "T[1, :, 2], T[..., 1:, 0], T[0][1][2]",
        "np.array([[1, 2], [3, 4]])[1, 0] * A",
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn products() {
    let text = check(&[
        "A @ B, A @ v, v @ B, v @ v, T @ B, i @ v",
        "np.dot(s, A), np.dot(T, v), np.inner(T, A), np.outer(v, i), np.vdot(A, A)",
        "np.einsum('ij,jk', A, B), np.einsum('ij->ji', A), np.einsum('...j,jk->...k', T, B)",
        "np.einsum('ij,ij->ij', A[:1], A)",
        "np.tensordot(T, A, axes=([2, 1], [1, 0])), np.tensordot(A, A)",
        "np.add.outer(v, i), np.less.outer(v, v), np.power.outer(v, 2)",
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn reductions() {
    let text = check(&[
        "A.sum(), A.sum(-1), T.sum((2, 0)), A.sum(1, keepdims=True), A.sum(())",
        "A.max(0), A.min((0, 1), keepdims=True), b.max(), i.prod()",
        "A.mean(0), np.mean(i), A.var(1, ddof=1), A.std()",
        "A.any(), b.all(0)",
        "np.trace(A, 1), np.trace(i[:, None]), np.trace(T, axis1=2, axis2=0)",
        "A[:0].sum(), A[:0].max(1)",
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn structure() {
    let text = check(&[
        "A.T, A.T.T, T.transpose(1, 2, 0), np.swapaxes(T, 0, -1), np.moveaxis(T, 0, -1)",
        "A.reshape(2, -1), A.ravel(), A.T.reshape(-1), A.reshape(4, 3).reshape(3, 4)",
        "np.concatenate([A, A], 1), np.stack([v, v], -1), np.vstack([A, v]), np.hstack([v, v])",
        "np.flip(A), np.flip(A, -1), np.roll(A, -1, 0), np.roll(A, 5), np.roll(v, 4)",
        "np.pad(A, 1), np.pad(v, (PAD, 0), constant_values=-1.5)",
        "np.diagonal(A, 1), np.diag(v, -1), np.tril(A), np.triu(T, 1)",
        "np.broadcast_to(v, (2, 4)), np.expand_dims(A, (0, -1)), np.squeeze(A[:1])",
        "sliding_window_view(A, (2, 3)), sliding_window_view(T, (2, 2), axis=(2, 1))",
        "np.arange(5), np.arange(5, 0, -2), np.arange(0, 1, 0.25), np.arange(3, dtype=np.float32)",
        "np.zeros((2, 3)), np.ones_like(i), np.full(2, 2.5, dtype=np.float32), np.eye(3, k=1), np.tri(2)",
        "np.array([1, 2.5, True]), np.array([[1, 2]], dtype=np.float32), np.array([s, 1])",
        "A.astype(np.int32), i.astype('f8'), np.float32(C)",
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn statements() {
    let text = check(&[
        "x = A + 1\nx += C\nreturn x",
        "x = A.sum()\nx += 1\nreturn x",
        "s += 1\nreturn s * v",
        "def g(x):\n    x += 1\n    return x\nreturn g(A * 2)",
        "def h(x, k=2):\n    return x * k\nreturn h(A) + h(A, 3) + h(k=4, x=A)",
        "h = lambda x, y=1: x + y\nreturn h(A), h(A, C)",
        "if A.shape[0] > 2:\n    y = A\nelse:\n    y = B\nreturn y",
        "(a, c), d = (A, C), s\nx, y = v[:2]\nreturn a + c * d + x * y",
        "assert A.shape == (3, 4) and A.dtype == np.float32\ny = A if A.ndim == 2 else B\nreturn y",
        "return (A,)",
        "return 3, 2.5, True",
    ]);
    insta::assert_snapshot!(text);
}

/// Equal expressions are one node, and what no result needs is gone; parameters stay.
#[test]
fn sharing() {
    let text = check(&["unused = np.exp(C)\nx = A * 2\ny = A * 2\nreturn (x + y) @ (y + x).T"]);
    insta::assert_snapshot!(text);
}

const SEVERAL: &str = "
import numpy as np
from typing import Annotated
N, M = 4, 5
K = N * M + 1
SCALE = 0.5
def helper(x):
    return x * SCALE
def g(A: Annotated[f32[K], Range(-1, N)], S: Annotated[f64[N, N], SPD], k: Annotated[i32[2, M], Index(K)]):
    return helper(A), S.T, k
def f(A: f32[2 * N - 1, K]):
    return helper(A)
";

#[test]
fn functions_constants_and_hints() {
    let several = |function: &str, lets: BTreeMap<String, Literal>| {
        let workload = read(SEVERAL, &ParseOptions { function: Some(function.to_owned()), lets });
        format!("{}{:?}\n{:?}\n", listing(&workload.program), workload.program.params, workload.constants)
    };
    let lets = BTreeMap::from([("N".to_owned(), Literal::Int(10)), ("SCALE".to_owned(), Literal::Int(2))]);
    let text = [several("g", BTreeMap::new()), several("f", BTreeMap::new()), several("f", lets)].join("\n");
    insta::assert_snapshot!(text);
}

const MODULE: &str = r#"
"""A docstring."""
from __future__ import annotations
import numpy
from numpy import exp as e, float32
from typing import TYPE_CHECKING, Annotated
import scipy.special
if TYPE_CHECKING:
    from moat import f32
WEIGHTS = numpy.array([0.25, 0.5, 0.25], dtype=float32)
RADIUS = len(WEIGHTS) // 2
N = 8 if RADIUS == 1 else 16
def twice(x):
    """Local helpers need no annotations."""
    return smooth(smooth(x))
def smooth(x):
    return WEIGHTS[0] * x[:-2] + WEIGHTS[1] * x[RADIUS:-RADIUS] + WEIGHTS[-1] * x[2:]
def f(x: f32[N]) -> f32[N - 4]:
    """A docstring."""
    def local(y):
        return y * scale + RADIUS
    scale = float32(3)
    return scipy.special.erf(local(twice(e(x))))
if __name__ == "__main__":
    print(f(numpy.ones(N)))
"#;

#[test]
fn modules() {
    let text = listing(&read(MODULE, &ParseOptions::default()).program);
    insta::assert_snapshot!(text);
}
