//! An integer to a negative power, which NumPy refuses, was 0: it is an error of the interpreter, of every form and of
//! every kernel, in whatever way the power is written; exponents that are not negative give NumPy's powers.

use moat_optimizer::program::expr::Requirement;
use moat_optimizer::value::tensor::{Data, Tensor};
use moat_tests::kernels::{all_refuse, arguments, equal_numpy, equal_the_interpreter, program};

/// Over `x, y: i64[6]`, `i, j: i32[6]`, `n: i64`, all of whose values are in 0 .. 4, and `a: f64[6]`.
const BODIES: [&str; 12] = [
    "return x ** y",
    "return i ** j",
    "return i ** y + x ** j",
    "return np.power(x, n)",
    "return 3 ** y",
    "return (x > 1) ** y",
    "return np.power.outer(x, y)",
    "x **= y\n    return x",
    "z = np.zeros(6)\n    for k in range(6):\n        z[k] = x[k] ** y[5 - k]\n    return z",
    "for k in range(1, 6):\n        if k > 2:\n            x[k] = x[k - 1] ** y[k]\n    return x",
    "s = np.int64(2)\n    for k in range(6):\n        s = (s % 5) ** y[k]\n    return s",
    "return a ** y.astype(np.float64), np.power.accumulate(y[:3])",
];

fn source(body: &str) -> String {
    format!(
        "from __future__ import annotations\nimport numpy as np\n\ndef f(x: Annotated[i64[6], Range(0, 4)], \
         y: Annotated[i64[6], Range(0, 4)], i: Annotated[i32[6], Range(0, 4)], j: Annotated[i32[6], Range(0, 4)], \
         n: Annotated[i64, Range(0, 4)], a: f64[6]):\n    {body}\n"
    )
}

/// `x, y, i, j, n` with one element negative.
fn negative(inputs: &[Tensor], parameter: usize) -> Vec<Tensor> {
    let mut inputs = inputs.to_vec();
    let (tensor, last) = (&mut inputs[parameter], |length: usize| length - 1);
    if let Data::I64(all) = &mut tensor.data {
        let at = last(all.len()).min(3);
        all[at] = -1;
    } else if let Data::I32(all) = &mut tensor.data {
        all[3] = -1;
    }
    inputs
}

#[test]
fn exponents_that_are_not_negative_give_numpys_powers() {
    equal_numpy(&BODIES.map(source));
    for (seed, body) in (1..).zip(BODIES) {
        let program = program(&source(body));
        equal_the_interpreter(&program, &arguments(&program, seed), 1, body);
    }
}

#[test]
fn a_negative_exponent_is_an_error_everywhere() {
    let mut refused = 0;
    for (seed, body) in (1..).zip(&BODIES[..11]) {
        let program = program(&source(body));
        for (parameter, name) in ["x", "y", "i", "j", "n"].into_iter().enumerate() {
            let exponent = body.split("**").skip(1).any(|text| text.trim_start_matches(['=', ' ']).starts_with(name))
                || body.contains(&format!(", {name})"));
            if exponent {
                let inputs = negative(&arguments(&program, seed), parameter);
                all_refuse(&program, &inputs, Requirement::Exponent, body);
                refused += 1;
            }
        }
    }
    assert!(refused >= 11, "{refused}");
}

/// What is known not to be negative needs no test at run time.
#[test]
fn no_test_where_the_exponent_is_known() {
    for body in ["return x ** 3", "return 2 ** np.arange(6)", "return x ** (y > 1)", "return x ** (y & 7)"] {
        assert!(program(&source(body)).checks.is_empty(), "{body}");
    }
}
