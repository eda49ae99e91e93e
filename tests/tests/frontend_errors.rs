//! What the frontend says about programs that are outside the language or wrong.

use moat_optimizer::frontend::{ParseOptions, parse};
use moat_optimizer::value::dtype::Literal;
use std::collections::BTreeMap;

const HEADER: &str = "from __future__ import annotations
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
def f(A: f32[3, 4], B: f32[4, 3], i: i32[4], b: bool[3, 4], v: f32[4], s: f32):
";

fn errors(source: &str, options: &ParseOptions) -> String {
    match parse("case.py", source, options) {
        Ok(_) => panic!("no error in\n{source}"),
        Err(errors) => {
            for error in &errors.errors {
                assert!(error.span.start <= error.span.end && error.span.end <= source.len(), "{error:?}");
            }
            errors.to_string()
        }
    }
}

/// The errors of each body under [`HEADER`]; a body without `return` is an expression. The names of all the functions
/// are cut from the help.
fn check(bodies: &[&str]) -> String {
    let mut text = String::new();
    for body in bodies {
        let lines = if body.contains("return") { (*body).to_owned() } else { format!("return {body}") };
        let indented: String = lines.lines().map(|line| format!("    {line}\n")).collect();
        let found = errors(&format!("{HEADER}{indented}"), &ParseOptions::default());
        let short: Vec<String> = found.lines().map(|line| line.chars().take(160).collect()).collect();
        text += &format!("{body}\n{}\n\n", short.join("\n"));
    }
    text
}

/// The errors of whole files.
fn check_files(sources: &[&str]) -> String {
    sources.iter().map(|source| format!("{source}\n{}\n\n", errors(source, &ParseOptions::default()))).collect()
}

#[test]
fn shapes_and_dtypes() {
    let text = check(&[
        "A + B",
        "A @ A",
        "s @ A",
        "np.concatenate([A, B])",
        "np.stack([A, B])",
        "A.reshape(5, -1)",
        "A.reshape(7)",
        "A[3]",
        "A[0, 0, 0]",
        "A[::0]",
        "A.sum(2)",
        "A.sum((0, -2))",
        "A[:0].max()",
        "np.squeeze(A, 0)",
        "np.full(3, A)",
        "np.einsum('ij,jk->iz', A, B)",
        "np.einsum('ij,ij', A, B)",
        "np.tensordot(A, A, 1)",
        "np.transpose(A, (0, 0))",
        "np.array([[1, 2], [3]])",
        "sliding_window_view(v, 5)",
        "np.zeros(2**50)",
        "np.zeros(-1)",
        "np.zeros(2.0)",
        "np.arange(0, 5, 0)",
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn promotion() {
    let text = check(&[
        "i + 2**40",
        "np.int32(2**40)",
        "i ** -1",
        "b - b",
        "-b",
        "b // b",
        "A & 1",
        "A << 1",
        "np.sqrt(b)",
        "np.add(A, 1, dtype=np.int32)",
        "A.astype(np.float16)",
        "A.astype('complex64')",
        "1 // 0 * A",
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn outside_the_language() {
    insta::assert_snapshot!(check(&[
        "np.linalg.norm(A)",
        "np.take(A, i, mode='nearest')",
        "np.take(A, v)",
        "np.subtract.reduce(A)",
        "np.exp.accumulate(A)",
        "np.add.accumulate(s)",
        "A.tolist()",
        "A[b]",
        "A[[0, 1]]",
        "np.put(A, i, s)",
        "np.pad(A, 1, mode='edge')",
        "np.reshape(A, (4, 3), order='F')",
        "np.clip(A, 0, 1, out=A)",
        "A.sum(axis=0, foo=1)",
        "A.sum(0, None, None, True, 1, 2, 3)",
        "np.where(b)",
        "np.einsum(A, [0, 1])",
        "np.stack([A[k] for k in (0, 1)])",
        "A and v",
        "1 < A < 2",
        "A if A.sum() > 0 else v",
        "{'a': A}",
        "f'{A}'",
        "1j * A",
        "sum(A)",
        "for k in (1, 2):\n    A = A + 1\nreturn A",
        "while True:\n    pass\nreturn A",
        "x = (A, A)\nx[0] = 2\nreturn A",
        "with A:\n    pass\nreturn A",
        "def g(x):\n    return g(x)\nreturn g(A)",
        "def g(x, *y):\n    return x\nreturn g(A)",
        "def g(x):\n    return x\nreturn g(A, 1)",
        "return [A, A]",
        "x = A  # no return",
        "return None",
        "A + 1\nreturn A",
    ]));
}

#[test]
fn mutation() {
    let text = check(&[
        "x = i + 0\nx += 1.5\nreturn x",
        "x = v + 1\nx += A\nreturn x",
        "x = np.broadcast_to(v + 1, (3, 4))\nx += 1\nreturn x",
        "np.diagonal(A)[0] = 1\nreturn A",
        "A.reshape(2, -1)[0] = 1\nA[0] = 2\nreturn A",
        "s[()] = 1\nreturn s",
        "A[0] = B\nreturn A",
        "A[0] = [[1, 2, 3, 4]]\nreturn A",
        "A[A > 0] = 0\nreturn A",
        "A[4] = 0\nreturn A",
        "i[0] = 2**40\nreturn i",
        "def g(x):\n    x[0] = 1\n    return x\nreturn A + g(A)",
    ]);
    insta::assert_snapshot!(text);
}

/// A value in error silences what depends on it, and nothing else.
#[test]
fn independent_errors() {
    let text = check(&[
        "x = A + B\ny = x @ missing\nz = np.sort(v)\nw = z + x\nreturn w.foo, A[7], y",
        "return np.foo(A + B, A[9]) + b.bar",
        "if nothing:\n    x = A\nelse:\n    x = v\nreturn x + A + B",
        "def g(x):\n    return x @ x\nreturn g(A) + g(A) + g(B)",
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn files() {
    let text = check_files(&[
        "def f(A: f32[3]:\n    return A\n\ndef g(:\n    pass\n",
        "import torch\nfrom os import path\nimport numpy as np\ndef f(A: f32[3]):\n    return torch.relu(A) + path\n",
        "def f(A: f32[3]):\n    return A\ndef g(A: f32[3]):\n    return A\n",
        "def f(A, B: f32[3]):\n    return A\n",
        "N = 3\n",
        "def f(A: f32[N, 2 * M], x: float, y: f16[3], z: complex64, w: f32[2.5], u: f32[-1]):\n    return A + undefined\n",
        "from typing import Annotated\ndef f(A: Annotated[f32[3], Range(5, 5)], B: Annotated[f32[3], SPD], C: Annotated[f32[3], Index(3)], D: Annotated[f32[3], Normal(0, 1)], E: Annotated[i32[3], Index(0)]):\n    return A\n",
        "class C:\n    pass\nfor x in (1, 2):\n    y = x\ndef f(A: f32[3]):\n    return A + y\n",
        "def f(A: f32[3], *rest):\n    return A\n",
        "def f(A: f32[3], A: f32[3]):\n    return A\n",
        "@decorated\ndef f(A: f32[3]):\n    return A\n",
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn options() {
    let source = "N = 3\ndef f(A: f32[N]):\n    return A\ndef g(A: f32[N]):\n    return A\n";
    let function = |name: &str| ParseOptions { function: Some(name.to_owned()), lets: BTreeMap::new() };
    let lets = ParseOptions {
        lets: BTreeMap::from([("M".to_owned(), Literal::Int(1)), ("N".to_owned(), Literal::float(2.5))]),
        ..function("f")
    };
    let found = [function("h"), lets].map(|options| errors(source, &options));
    let text = found.join("\n\n");
    insta::assert_snapshot!(text);
}

/// Hostile input is an error, never an abort: the parser and the tree recurse.
#[test]
fn hostile_input() {
    let nested = |open: &str, close: &str, times: usize| {
        format!("def f(A: f32[3]):\n    return {}A{}\n", open.repeat(times), close.repeat(times))
    };
    let sources = [
        nested("(", ")", 50_000),
        nested("-", "", 50_000),
        nested("not ", "", 50_000),
        nested("A ** ", "", 50_000),
        nested("lambda: ", "", 50_000),
        nested("A if A else ", "", 50_000),
        nested("", " + A", 50_000),
        nested("", ".T", 50_000),
        nested("", "[0]", 50_000),
        nested("np.exp(", ")", 99),
        (0..5_000).map(|depth| format!("{}if 1:\n", " ".repeat(depth))).collect(),
        "def f(A: f32[3]):\n    return \0\u{feff}\u{1F600}'''".to_owned(),
        String::new(),
    ];
    for source in sources {
        errors(&source, &ParseOptions::default());
    }
    // Doubling by calls: bounded work.
    let mut doubling = "def g0(x):\n    return x + 1\n".to_owned();
    for level in 1..40 {
        doubling += &format!("def g{level}(x):\n    return g{0}(x) + g{0}(x)\n", level - 1);
    }
    doubling += "def f(A: f32[3]):\n    return g39(A)\n";
    errors(&doubling, &ParseOptions::default());
}

/// Messages that misled: each says what is wrong and what helps, and not what is untrue.
#[test]
fn messages_do_not_mislead() {
    let file = |parameters: &str, body: &str| {
        let lines: String = body.lines().map(|line| format!("    {line}\n")).collect();
        format!("from __future__ import annotations\nimport numpy as np\ndef f({parameters}):\n{lines}")
    };
    for (parameters, body, expected, absent) in [
        ("x: f64[8]", "x[:] = np.foo(x)", "np.foo is not supported", "returns nothing"),
        ("x: f64", "if x > 0.5:\n    x = 1.0\nreturn x", "a NumPy bool that is not known", "an array"),
        (
            "x: f64, n: i64",
            "for k in range(n):\n    x = x + 1.0\nreturn x",
            "a NumPy i64 that is not known",
            "an array",
        ),
        ("s: f64", "return min(s, 2.0)", "write np.minimum(a, b)", "not an array"),
        ("s: f64", "return round(s)", "np.floor(x + 0.5)", "write np.round"),
        ("x: f64[8]", "return np.summ(x)", "supported names like it: sum", "einsum"),
        ("x: f64[8]", "return np.ndarray(8)", "np.empty(shape, dtype)", "absolute"),
        ("A: f64[8, 8]", "return np.linalg.solve(A, A)", "np.linalg.solve is not supported", "absolute"),
        ("x: u8[8]", "return np.foo(x)", "np.foo is not supported", "supported yet"),
        ("x: c128[8]", "return np.foo(x)", "the dtype c128 is not supported", "supported yet"),
        ("x: f64[8]", "return x[x > 0.5].mean()", "np.where(mask, x, 0).sum()", "arrays of integers"),
        ("x: f64[8]", "x.shape = 4, 2\nreturn x", "write y = y.reshape", "assign to names"),
        (
            "x: f64",
            "while x > 0.1:\n    x = x * 0.5\nreturn x",
            "a number of iterations that is known",
            "over range(…)",
        ),
        ("x: f64[8]", "return x.astype(np.float16)", "np.float16 is not supported", "supported yet"),
        // What NumPy does not write through stays so in the next iteration, through a reshape, and as a diagonal.
        (
            "x: f64[2, 1]",
            "a = x.copy()\nfor i in range(2):\n    a[i] = 1.0\n    a = np.broadcast_to(np.ones(1), (2, 1))\nreturn a",
            "read-only view",
            "not known",
        ),
        ("x: f64[1]", "v = np.reshape(np.broadcast_to(x[0], (4,)), (2, 2))\nv[0] = 1.0", "read-only view", "reshapes"),
        ("x: f64[3]", "v = np.einsum('ii->i', np.broadcast_to(x, (3, 3)))\nv += x", "read-only view", "reshapes"),
        // A reshape of a reshape is a view of the same memory.
        (
            "x: f64[2, 3]",
            "v = np.ravel(x.reshape(-1, 2))\nv *= 2.0\nreturn x",
            "this view are not written to",
            "unknown",
        ),
        // A Python number in the first iteration, a NumPy number in the second.
        (
            "x: f64[4]",
            "s = 0.0\nfor i in range(4):\n    x[i] = s / s\n    s = s + x[i]",
            "a Python number in one iteration",
            "division by zero",
        ),
        (
            "x: f64[4], y: f32[4]",
            "s = 1.0\nfor i in range(4):\n    y[:] = s * y\n    s = s * x[i]",
            "begin with a NumPy number",
            "give it one shape",
        ),
        (
            "x: i64[4]",
            "s = 0.0\nfor i in range(4):\n    x[s.astype(np.bool_) % 2] = 1\n    s = s + np.float64(1)",
            "'.astype' of what is a Python number in one iteration",
            "unknown",
        ),
        (
            "x: f64[4]",
            "s = 0.0\nfor i in range(4):\n    x[i] = s[...]\n    s = s + x[i]",
            "cannot be indexed",
            "unknown",
        ),
    ] {
        let found = errors(&file(parameters, body), &ParseOptions::default());
        assert!(found.contains(expected) && !found.contains(absent), "{body}\n{found}");
    }
}
