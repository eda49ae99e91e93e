//! Arrays of 0, 1 and 2 elements along each axis: every operator has forms that are well-formed and right, under all
//! numerics, alone and in a loop.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use moat_optimizer::form::evaluate::evaluate;
use moat_optimizer::frontend::{ParseOptions, parse};
use moat_optimizer::oracle::interpret::interpret;
use moat_optimizer::program::verify::verify;
use moat_optimizer::value::numerics::Numerics;
use moat_rules::RuleBase;
use moat_tests::kernels::arguments;
use moat_tests::pipeline::forms;

/// Expressions of x: f64[n], y: f64[n], A: f64[m, n], B: f64[n, m], k: i64[n].
const EXPRESSIONS: [&str; 58] = [
    "x + y * 2.0",
    "np.exp(x) / (y + 3.0)",
    "np.where(x > y, x, -y)",
    "x * 0.0 + y",
    "x ** 2 - y ** 0.5",
    "k // 3 + k % 3",
    "(k << 2) ^ (k >> 1)",
    "k.astype(np.float64) * x",
    "x.sum()",
    "A.sum(axis=0)",
    "A.sum(axis=1)",
    "A.mean(axis=0)",
    "A.prod(axis=1)",
    "A.max(axis=0)",
    "A.min(axis=1)",
    "(A > 0).any(axis=0)",
    "(A > 0).all(axis=1)",
    "A.argmax(axis=1)",
    "A.std(axis=1)",
    "A @ x",
    "y @ B",
    "A @ B",
    "B @ A",
    "x @ y",
    "(A @ B) @ (A @ B)",
    "B @ (A @ x)",
    "(x @ B) @ A",
    "np.outer(x, y)",
    "np.einsum('ij,jk->ik', A, B)",
    "np.einsum('ij,ji->', A, B)",
    "np.einsum('ij->j', A)",
    "np.trace(A @ B)",
    "np.diagonal(A)",
    "A.T + B",
    "A.reshape(-1)",
    "np.arange(x.size) * x",
    "np.arange(2 * x.size).reshape(2, x.size) + A[:1]",
    "np.arange(12).reshape(3, 4)",
    "np.eye(x.size) @ x",
    "np.tril(B @ A)",
    "np.triu(B @ A, 1) @ x",
    "np.concatenate([x, y])",
    "np.concatenate([A, A], axis=0)",
    "np.stack([x, y], axis=1)",
    "np.pad(x, 1)",
    "np.pad(A, ((1, 0), (0, 2)))",
    "np.roll(x, 1)",
    "np.flip(A, 0)",
    "x[::-1] - y",
    "x[1:] - x[:-1]",
    "A[:, ::2]",
    "x[k]",
    "A[:, k]",
    "np.cumsum(x)",
    "np.full((x.size, 2), 0.5) + 1.0",
    "np.amax(np.full((2, 2, 2), 0.0), axis=(1, 2))",
    "np.ones(x.size) + np.zeros((2, x.size))",
    "(np.ones((2, x.size)) * 0.5).sum(axis=1)",
];

/// Statements that change x, in a loop over t.
const STATEMENTS: [&str; 21] = [
    "x += y",
    "x[:] = x * 0.5 + y[::-1]",
    "x = x + (A @ x) @ A",
    "x = x + (x @ B) @ A",
    "x[1:] = x[:-1] + 1.0",
    "x[:t] = y[:t]",
    "x[t:] += y[t:].sum()",
    "x += A.sum(axis=0)",
    "x += np.where(y > 0, np.arange(x.size), 1.0)",
    "x += np.ones(x.size)",
    "x = x - x.sum() * y",
    "x[:] = x[::-1]",
    // An iteration decides which part of a joined array it reads.
    "x[0:1] = np.concatenate([x, y])[t]",
    "x[0:1] = np.hstack([x[:1], y])[t] + 1.0",
    "x[0:1] = (B @ np.concatenate([A, A[:, ::-1]], axis=1))[0, t]",
    "x[:] = np.concatenate([A, A + 1.0], axis=0)[t]",
    // A section of what is computed that is beyond it in iterations that do not happen, or past its live extents.
    "B.T[:t + 1, t] += A[:t + 1, t]",
    "x[t:] = (x + y)[t:] * (A @ y).sum()",
    "x[0:1] = (x + y)[t:t + 3].sum() * np.ones(3)[t]",
    // Nothing is stored, or nothing is summed.
    "x += (np.ones(A.shape[0]) @ np.concatenate([A, A[:, ::-1]], axis=1))[: x.size]",
    "A[:, 1:0] = A @ np.concatenate([B, B], axis=1)[:, 1:0]",
];

/// What is wrong with a program's forms; `None` if the frontend refuses it.
fn faults(body: &str, m: usize, n: usize, numerics: Numerics, rules: &RuleBase) -> Option<Vec<String>> {
    let source = format!(
        "from __future__ import annotations\nfrom typing import Annotated\nimport numpy as np\n\n\
         def f(x: f64[{n}], y: f64[{n}], A: f64[{m}, {n}], B: f64[{n}, {m}], k: Annotated[i64[{n}], Index({})]):\n{body}",
        n.max(1)
    );
    let program = parse("case.py", &source, &ParseOptions::default()).ok()?.program;
    verify(&program).unwrap_or_else(|error| panic!("{error}\n{source}"));
    let inputs = arguments(&program, 5);
    let expected = interpret(&program, &inputs, numerics).unwrap_or_else(|error| panic!("{error}\n{source}"));
    let found = match forms(&program, rules, numerics, 4) {
        Ok(found) => found,
        Err(error) => return Some(vec![format!("{numerics}: {error:?}\n{source}")]),
    };
    let mut faults = Vec::new();
    for form in found {
        // That they are well-formed was checked when they were made: merged axes no longer refine the shapes.
        match evaluate(&form.form, &inputs) {
            // The mean of nothing is no number: laws of the reals say nothing of it.
            Ok(_) if numerics == Numerics::Algebraic && m * n == 0 => {}
            Ok(found) => {
                let pairs = expected.iter().zip(&found);
                faults.extend(pairs.filter_map(|(expected, found)| {
                    expected.check(found).err().map(|error| format!("{numerics}: {error}\n{source}"))
                }));
            }
            Err(error) => faults.push(format!("{numerics}: {error}\n{source}")),
        }
    }
    Some(faults)
}

fn all_are_right(bodies: &[String], least: usize) {
    let rules = RuleBase::standard().unwrap();
    let (mut faulty, mut taken) = (Vec::new(), 0);
    for body in bodies {
        for (m, n) in [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (1, 1), (1, 2), (2, 1), (2, 2)] {
            for numerics in [Numerics::Exact, Numerics::Reassociate, Numerics::Algebraic] {
                if let Some(found) = faults(body, m, n, numerics, &rules) {
                    taken += 1;
                    faulty.extend(found);
                }
            }
        }
    }
    assert!(faulty.is_empty(), "{} of {taken}\n{}", faulty.len(), faulty.join("\n"));
    assert!(taken >= least, "only {taken} programs are taken");
}

#[test]
fn every_operator_on_small_arrays_has_right_forms() {
    let bodies: Vec<String> = EXPRESSIONS.iter().map(|expression| format!("    return {expression}\n")).collect();
    all_are_right(&bodies, 1100);
}

#[test]
fn every_statement_on_small_arrays_has_right_forms() {
    let body = |statement: &&str| format!("    for t in range(2):\n        {statement}\n    return x\n");
    all_are_right(&STATEMENTS.iter().map(body).collect::<Vec<_>>(), 200);
}
