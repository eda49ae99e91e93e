//! What a program's comparisons, truths, `and`, `or`, `not`, `in` and `is` answer: as NumPy and Python run it, or refused.
//!
//! Every operator is tried on every pair of a table of operands, of all kinds that the language has: numbers known and
//! not, loop variables, elements, sequences, strings, dtypes, functions, arrays. What the frontend accepts is interpreted
//! and must be what Python gives; where Python raises, it must be refused. How much is accepted has a floor.

use moat_optimizer::frontend::{ParseOptions, parse};
use moat_optimizer::oracle::interpret::interpret;
use moat_optimizer::value::dtype::{DType, Literal};
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::Tensor;
use moat_tests::python::numpy_python;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;

/// What every case has: the text before its body.
const HEADER: &str = "from __future__ import annotations
import math
import numpy as np
N = 3
def helper(v):
    return v
def f(x: f64[4], e: f32[3], n: i64, t: f64, b: bool[2], i: i32[3]):
";

/// Inputs of the cases, in Python and here.
const INPUTS: &str = "np.array([0.0, 1.0, np.nan, 2.5]), np.array([1.0, 0.1, np.nan], np.float32), np.int64(1), \
                      np.float64(2.5), np.array([True, False]), np.array([0, 1, 2], np.int32)";

fn inputs() -> Vec<Tensor> {
    let floats = |dtype: DType, values: &[f64]| {
        Tensor::from_fn(dtype, &[values.len()], |at| Literal::float(values[at]).at(dtype))
    };
    vec![
        floats(DType::F64, &[0.0, 1.0, f64::NAN, 2.5]),
        floats(DType::F32, &[1.0, 0.1, f64::NAN]),
        Tensor::from_fn(DType::I64, &[], |_| Literal::Int(1)),
        Tensor::from_fn(DType::F64, &[], |_| Literal::float(2.5)),
        Tensor::from_fn(DType::Bool, &[2], |at| Literal::Bool(at == 0)),
        Tensor::from_fn(DType::I32, &[3], |at| Literal::Int(at as i64)),
    ]
}

/// Numbers that are known, of each type.
const KNOWN: &[&str] = &[
    "True",
    "False",
    "0",
    "1",
    "-1",
    "2**53 + 1",
    "10**19",
    "1.0",
    "-0.0",
    "2.5",
    "2.0**53",
    "float('nan')",
    "float('inf')",
    "np.float32(0.1)",
    "np.int64(1)",
    "np.bool_(True)",
];

/// Numbers that depend on loop variables or that only a run knows.
const UNKNOWN: &[&str] = &[
    "k",
    "k - 1",
    "k + j",
    "2 * j",
    "k * j",
    "(k > 0)",
    "(k == j)",
    "float(k)",
    "int(t)",
    "float(t)",
    "bool(n)",
    "n",
    "t",
    "x[k]",
    "e[k]",
    "i[k]",
    "b[j]",
    "(x[k] > 0.5)",
];

/// Values that are no numbers.
const OTHERS: &[&str] = &[
    "None",
    "...",
    "'f4'",
    "'float32'",
    "''",
    "(0, 1)",
    "(k, 1)",
    "(k, j)",
    "(1,)",
    "()",
    "[0, 1]",
    "[k, j]",
    "[1]",
    "(0, N - 1)",
    "(1, 2.5)",
    "('a', k)",
    "range(3)",
    "range(0, k, 2)",
    "range(5, -1, -2)",
    "x.dtype",
    "e.dtype",
    "e.dtype.type",
    "np.float32",
    "np.float64",
    "float",
    "bool",
    "np.add",
    "np.abs",
    "np.absolute",
    "abs",
    "helper",
    "np",
];

/// Arrays.
const ARRAYS: &[&str] =
    &["x", "e", "i", "b", "x[:1]", "x[1:1]", "np.array([1, 2, 3])", "np.zeros((1, 1))", "np.array(1.0)"];

const COMPARISONS: &[&str] = &["==", "!=", "<", "<=", ">", ">=", "is", "is not", "in", "not in"];

/// The body of a case in which an expression is used: what stands in the two loops.
fn in_loops(statement: &str) -> String {
    format!(
        "    out = np.zeros((3, 2))\n    for k in range(3):\n        for j in range(2):\n{}    return out\n",
        statement.lines().map(|line| format!("            {line}\n")).collect::<String>()
    )
}

/// As a number, and as what steers an `if`.
fn selected(expression: &str) -> String {
    in_loops(&format!("out[k, j] = np.where({expression}, 1.0, 2.0)"))
}

fn steering(expression: &str) -> String {
    in_loops(&format!("if {expression}:\n    out[k, j] = 1.0\nelse:\n    out[k, j] = 2.0"))
}

fn stored(expression: &str) -> String {
    in_loops(&format!("out[k, j] = {expression}"))
}

fn returned(expression: &str) -> String {
    format!("    return {expression}\n")
}

/// Elements with their dtype, or why there are none.
type Answer = Result<(String, Vec<f64>), String>;

/// What Python answers.
fn python(bodies: &[String]) -> Vec<Answer> {
    let mut script = String::from(
        "import numpy as np, warnings\nwarnings.simplefilter('ignore')\nnp.seterr(all='ignore')\n\
         def run(source):\n    names = {}\n    try:\n        exec(compile(source, 'case.py', 'exec'), names)\n        \
         result = np.asarray(names['f'](*INPUTS()))\n        bits = np.asarray(result, np.float64).view(np.int64).ravel()\n        \
         print(result.dtype, *bits)\n    except Exception as error:\n        print('!', type(error).__name__, str(error).replace('\\n', ' '))\n",
    );
    let _ = writeln!(script, "INPUTS = lambda: ({INPUTS})");
    for body in bodies {
        let _ = writeln!(script, "run({:?})", format!("{HEADER}{body}"));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("cases.py"), script).expect("cases.py");
    let run = Command::new(numpy_python().expect("a Python with NumPy: run `make test` once"))
        .arg("cases.py")
        .current_dir(folder.path())
        .output()
        .expect("Python starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    let answer = |line: &str| match line.split_once(' ') {
        Some(("!", error)) => Err(error.to_owned()),
        Some((dtype, bits)) => {
            let element = |bits: &str| f64::from_bits(bits.parse::<i64>().expect("bits").cast_unsigned());
            Ok((dtype.to_owned(), bits.split_whitespace().map(element).collect()))
        }
        None => Ok((line.to_owned(), Vec::new())),
    };
    let answers: Vec<Answer> = text.lines().map(answer).collect();
    assert_eq!(answers.len(), bodies.len());
    answers
}

/// What moat answers: `Err` where it refuses, at compile time or by the kernel's status.
fn moat(body: &str, inputs: &[Tensor]) -> Answer {
    let source = format!("{HEADER}{body}");
    let workload = parse("case.py", &source, &ParseOptions::default()).map_err(|errors| errors.to_string())?;
    let results = interpret(&workload.program, inputs, Numerics::Exact).map_err(|error| error.to_string())?;
    let value = &results[0].value;
    let elements = (0..value.len()).map(|at| value.get(at).as_f64()).collect();
    Ok((value.dtype.name().to_owned(), elements))
}

fn numpy_name(name: &str) -> &str {
    match name {
        "f32" => "float32",
        "f64" => "float64",
        "i32" => "int32",
        "i64" => "int64",
        other => other,
    }
}

/// One case of so many is tried. 1 tries all of them, which takes minutes; a prime keeps every operator and operand.
const EVERY: usize = 11;

/// Holds moat's answers against Python's. Of each group's cases that Python answers, at least so many percent are accepted.
fn check(cases: Vec<(&'static str, String)>, floors: &[(&str, usize)]) {
    let cases: Vec<(&'static str, String)> = cases.into_iter().step_by(EVERY).collect();
    let inputs = inputs();
    let bodies: Vec<String> = cases.iter().map(|case| case.1.clone()).collect();
    let mut wrong = Vec::new();
    let mut counts: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for ((group, body), expected) in cases.iter().zip(python(&bodies)) {
        let found = moat(body, &inputs);
        let count = counts.entry(group).or_default();
        count[1] += usize::from(expected.is_ok());
        let Ok((dtype, found)) = found else { continue };
        count[0] += 1;
        let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        let agrees = expected.as_ref().is_ok_and(|(expected_dtype, expected)| {
            expected_dtype == numpy_name(&dtype)
                && expected.len() == found.len()
                && expected.iter().zip(&found).all(same)
        });
        if !agrees {
            wrong.push(format!("{body}  moat:   {dtype} {found:?}\n  Python: {expected:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} are wrong\n{}",
        wrong.len(),
        cases.len(),
        wrong[..wrong.len().min(25)].join("\n")
    );
    for (group, floor) in floors {
        let [accepted, answered] = counts[group];
        assert!(100 * accepted >= floor * answered, "{group}: {accepted} of {answered} are accepted\n{counts:?}");
    }
    assert_eq!(counts.len(), floors.len(), "{counts:?}");
}

/// `k in (0, N - 1)`, `(di, dj) != (0, 0)` and all others were False where the frontend did not know.
#[test]
fn comparisons_of_numbers() {
    let mut cases = Vec::new();
    let numbers = || KNOWN.iter().chain(UNKNOWN);
    for a in numbers() {
        for b in numbers() {
            for op in &COMPARISONS[..8] {
                let known = KNOWN.contains(a) && KNOWN.contains(b);
                let identity = op.starts_with("is");
                let group = if identity {
                    "identity"
                } else if known {
                    "known"
                } else {
                    "unknown"
                };
                cases.push((group, selected(&format!("{a} {op} {b}"))));
                if !known {
                    cases.push(("steering", steering(&format!("{a} {op} {b}"))));
                }
            }
        }
    }
    check(cases, &[("identity", 40), ("known", 95), ("unknown", 95), ("steering", 20)]);
}

/// Sequences compare element by element, and an element that depends on a loop makes a condition.
#[test]
fn comparisons_of_other_values() {
    let mut cases = Vec::new();
    let all = || KNOWN.iter().step_by(3).chain(UNKNOWN).chain(OTHERS);
    for (at, a) in all().enumerate() {
        for (place, b) in all().enumerate() {
            if !OTHERS.contains(a) && !OTHERS.contains(b) {
                continue;
            }
            for (which, op) in COMPARISONS.iter().enumerate() {
                let group = if which < 6 {
                    "order"
                } else if which < 8 {
                    "identity"
                } else {
                    "membership"
                };
                cases.push((group, selected(&format!("{a} {op} {b}"))));
                // Half of them steer, too.
                if (at + place + which) % 2 == 0 {
                    cases.push(("steering", steering(&format!("{a} {op} {b}"))));
                }
            }
        }
    }
    check(cases, &[("order", 80), ("identity", 90), ("membership", 80), ("steering", 80)]);
}

/// Arrays compare element by element, and are in no sequence.
#[test]
fn comparisons_of_arrays() {
    let mut cases = Vec::new();
    let numbers = ["True", "1", "10**19", "2.5", "float('nan')", "n", "t", "b[0]", "int(t)", "float(n)", "x[0]"];
    let others = numbers.iter().chain(OTHERS).filter(|other| !other.contains('k') && !other.contains('j'));
    for array in ARRAYS {
        for other in others.clone().chain(ARRAYS) {
            for op in COMPARISONS {
                cases.push(("right", returned(&format!("{array} {op} {other}"))));
                cases.push(("left", returned(&format!("{other} {op} {array}"))));
            }
        }
    }
    check(cases, &[("right", 50), ("left", 50)]);
}

/// `and` and `or` give the operand that decides, not its truth: `(k > 3) and 2.0` was True.
#[test]
fn values_of_and_or_not() {
    let mut cases = Vec::new();
    let all = || KNOWN.iter().chain(UNKNOWN).chain(OTHERS.iter().step_by(3)).chain(ARRAYS);
    for a in all() {
        cases.push(("not", selected(&format!("not {a}"))));
        cases.push(("not", stored(&format!("not {a}"))));
        cases.push(("bool", stored(&format!("bool({a})"))));
        cases.push(("truth", steering(a)));
        cases.push(("conditional", stored(&format!("2.0 if {a} else 3.0"))));
        for b in all() {
            for op in ["and", "or"] {
                cases.push(("value", stored(&format!("{a} {op} {b}"))));
                cases.push(("selecting", selected(&format!("{a} {op} {b}"))));
                cases.push(("nested", stored(&format!("not ({a} {op} {b}) or k > j"))));
            }
        }
    }
    let floors = [
        ("not", 90),
        ("bool", 90),
        ("truth", 50),
        ("conditional", 50),
        ("value", 40),
        ("selecting", 40),
        ("nested", 40),
    ];
    check(cases, &floors);
}

/// `a < b < c` evaluates `b` once, and `c` only if the first holds.
#[test]
fn chained_comparisons() {
    let mut cases = Vec::new();
    let operands = ["0", "k", "j", "1.5", "n", "x[k]", "b[j]", "(k, j)", "(0, 1)", "None", "x", "int(t)", "(k > 0)"];
    for a in operands {
        for b in operands {
            for c in operands {
                for ops in [["<", "<="], ["==", "!="], ["!=", "in"], ["is not", "=="]] {
                    let expression = format!("{a} {} {b} {} {c}", ops[0], ops[1]);
                    cases.push(("selecting", selected(&expression)));
                    cases.push(("steering", steering(&expression)));
                }
            }
        }
    }
    check(cases, &[("selecting", 60), ("steering", 40)]);
}

/// Arithmetic of Python's numbers, known and not: floors and signs, shifts, powers, bools that count.
#[test]
fn arithmetic_of_python_numbers() {
    let numbers = [
        "True",
        "False",
        "0",
        "1",
        "-1",
        "7",
        "-7",
        "2",
        "2**53 + 1",
        "2.0",
        "-2.5",
        "0.5",
        "-0.0",
        "7.0",
        "-7.0",
        "float('inf')",
        "float('nan')",
        "k",
        "j - 1",
        "(k - 2)",
        "(k > j)",
        "int(t)",
        "float(n)",
        "-float(t)",
        "(k * j)",
    ];
    let mut cases = Vec::new();
    for a in numbers {
        for op in ["-", "+", "~"] {
            cases.push(("unary", stored(&format!("{op}{a}"))));
            cases.push(("unary", stored(&format!("abs({op}{a})"))));
        }
        for b in numbers {
            for op in ["+", "-", "*", "/", "//", "%", "**", "<<", ">>", "&", "|", "^"] {
                // Python would take its time for the digits.
                if b.contains("53") && ["**", "<<"].contains(&op) {
                    continue;
                }
                let known = !a.contains(['k', 'j', 't', 'n']) && !b.contains(['k', 'j', 't', 'n']);
                cases.push((if known { "known" } else { "unknown" }, stored(&format!("{a} {op} {b}"))));
            }
            cases.push(("known", stored(&format!("max({a}, {b}) - min({b}, {a})"))));
        }
    }
    check(cases, &[("unary", 90), ("known", 50), ("unknown", 70)]);
}
