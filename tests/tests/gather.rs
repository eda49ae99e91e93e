//! Gathers: what the frontend reads, the interpreter, every form and kernels of drawn schedules against NumPy's own
//! rules; an index out of range is an error of all of them and reads nothing.

use moat_codegen::CodegenError;
use moat_codegen::abi::Status;
use moat_optimizer::dtype::DType;
use moat_optimizer::evaluate_form::{EvaluateError, evaluate};
use moat_optimizer::expr::Program;
use moat_optimizer::interpret::{InterpretError, interpret};
use moat_optimizer::numerics::Numerics;
use moat_optimizer::tensor::{Data, Tensor};
use moat_rules::RuleBase;
use moat_tests::kernels::{arguments, kernels, program};
use moat_tests::python::numpy_python;
use moat_tuner::candidates::forms;

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

fn source(expression: &str) -> String {
    format!(
        "import numpy as np\ndef f(A: f64[5, 6, 7], i: Annotated[i32[4], Range(-5, 5)], \
         j: Annotated[i32[4], Range(-5, 5)], k: Annotated[i64[3, 1], Range(-5, 5)], \
         n: Annotated[i32, Range(-5, 5)]):\n    return {expression}\n"
    )
}

fn case(expression: &str) -> Program {
    program(&source(expression))
}

#[test]
fn kernels_and_forms_equal_the_interpreter() {
    for (seed, expression) in (1..).zip(EXPRESSIONS) {
        let program = case(expression);
        let inputs = arguments(&program, seed);
        let expected = interpret(&program, &inputs, Numerics::Reassociate).unwrap();
        let check = |found: Vec<Tensor>| {
            assert_eq!(found.len(), expected.len(), "{expression}");
            for (reference, found) in expected.iter().zip(&found) {
                reference.check(found).unwrap_or_else(|mismatch| panic!("{expression}: {mismatch}"));
            }
        };
        for form in forms(&program, &RuleBase::standard().unwrap(), Numerics::Reassociate, 3).unwrap() {
            check(evaluate(&form.normal_form, &inputs).unwrap_or_else(|error| panic!("{expression}: {error}")));
        }
        kernels(&program, &inputs, 1, &mut |found| check(found.unwrap()));
    }
}

/// NumPy itself runs the source, since how subscripts are read is what is in question.
#[test]
fn the_interpreter_equals_numpy() {
    let mut script = String::from("import json, numpy as np\nout = []\n");
    for (seed, expression) in (1..).zip(EXPRESSIONS) {
        let program = case(expression);
        for (param, input) in program.params.iter().zip(arguments(&program, seed)) {
            let numbers: Vec<f64> = (0..input.len()).map(|at| input.get_f64(at)).collect();
            let kind = if param.dtype == DType::F64 {
                "float64".to_owned()
            } else {
                param.dtype.to_string().replace('i', "int")
            };
            let shape: Vec<String> = param.shape.iter().map(|n| format!("{n},")).collect();
            script += &format!(
                "{} = np.array({numbers:?}, dtype=np.float64).astype(np.{kind}).reshape(({}))\n",
                param.name,
                shape.concat()
            );
        }
        script +=
            &format!("r = np.asarray({expression}, dtype=float)\nout.append([list(r.shape), r.ravel().tolist()])\n");
    }
    script += "print(json.dumps(out))\n";
    let run = std::process::Command::new(numpy_python().unwrap()).arg("-c").arg(&script).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let found: Vec<(Vec<usize>, Vec<f64>)> = serde_json::from_slice(&run.stdout).unwrap();
    for ((seed, expression), (shape, numbers)) in (1..).zip(EXPRESSIONS).zip(found) {
        let program = case(expression);
        let expected = interpret(&program, &arguments(&program, seed), Numerics::Reassociate).unwrap();
        let tensor = Tensor { dtype: DType::F64, shape, data: Data::F64(numbers) };
        expected[0].check(&tensor).unwrap_or_else(|mismatch| panic!("{expression}: {mismatch}"));
    }
}

#[test]
fn an_index_out_of_range_is_an_error_everywhere() {
    let program = case("A[i, j] + np.take(A, k, axis=2)[0, 0, :1]");
    for (parameter, bad) in [(1, 5), (1, -6), (2, 6), (2, -7), (3, 7), (3, i64::MAX), (3, i64::MIN)] {
        let mut inputs = arguments(&program, 1);
        if let Data::I32(all) = &mut inputs[parameter].data {
            all[2] = i32::try_from(bad).unwrap();
        } else if let Data::I64(all) = &mut inputs[parameter].data {
            all[2] = bad;
        } else {
            panic!("parameter {parameter} is no array of indices");
        }
        let error = interpret(&program, &inputs, Numerics::Reassociate).unwrap_err();
        assert!(matches!(error, InterpretError::IndexOutOfRange { .. }), "{error}");
        for form in forms(&program, &RuleBase::standard().unwrap(), Numerics::Reassociate, 3).unwrap() {
            let error = evaluate(&form.normal_form, &inputs).unwrap_err();
            assert!(matches!(error, EvaluateError::IndexOutOfRange { .. }), "{error}");
        }
        kernels(&program, &inputs, 1, &mut |found| match found {
            Err(CodegenError::Status { status, .. }) => {
                assert_eq!(Status::of(status), Some(Status::IndexOutOfRange));
            }
            other => panic!("{bad} for parameter {parameter}: {other:?}"),
        });
    }
}
