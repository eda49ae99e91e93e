//! The command line as a person meets it: results, messages, exit codes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use npyz::npz::NpzArchive;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const GEMM: &str = "\
from __future__ import annotations
import numpy as np

N, M, K = 6, 5, 4

def gemm(alpha: f32, A: f32[N, K], B: f32[K, M], C: f32[N, M]):
    return alpha * (A @ B) + C
";

/// Runs `moat` in `directory`.
fn moat(directory: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_moat-under-test")).current_dir(directory).args(args).output().unwrap()
}

fn file(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Exit code, stdout and stderr, the latter with all white space alike: it is wrapped for reading.
fn check(directory: &Path, args: &[&str]) -> (i32, String, String) {
    let output = moat(directory, args);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let err = text(&output.stderr).replace(['│', '╰', '─', '▶'], " ");
    (output.status.code().unwrap(), text(&output.stdout), err.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn help_and_version_are_results() {
    let directory = tempfile::tempdir().unwrap();
    for args in [&["--help"][..], &["tune", "--help"], &["run", "-h"], &["db", "list", "--help"], &["--version"]] {
        let (code, out, err) = check(directory.path(), args);
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        assert!(out.contains("moat"), "{args:?}: {out}");
    }
    let (_, help, _) = check(directory.path(), &["--help"]);
    assert!(help.contains("Examples:") && help.contains("Exit codes:") && !help.contains("worker"), "{help}");
}

#[test]
fn misuse_is_an_error_that_says_what_is_expected() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    file(path, "gemm.py", GEMM);
    file(path, "junk.npz", "not a zip file");
    for (args, expected) in [
        (&["tune"][..], "<FILE[:FUNCTION]>"),
        (&["tune", "nothere.py"], "cannot read nothere.py"),
        (&["tune", "gemm.py", "--trials", "0"], "--trials"),
        (&["tune", "gemm.py", "--time", "soon"], "expected a number of seconds"),
        (&["tune", "gemm.py", "--let", "N"], "expected NAME=VALUE"),
        (&["tune", "gemm.py", "--numerics", "fast"], "reassociate"),
        (&["run", "gemm.py"], "--inputs"),
        (&["run", "gemm.py", "--inputs", "nothere.npz"], "cannot read nothere.npz"),
        (&["run", "gemm.py", "--inputs", "junk.npz"], "cannot read junk.npz"),
        (&["explain", "gemm.py:nothere"], "nothere"),
        (&["frobnicate"], "frobnicate"),
    ] {
        let (code, out, err) = check(path, args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}: {err}");
        assert!(err.contains(expected), "{args:?}: {err}");
    }
}

#[test]
fn all_errors_of_a_file_are_shown_with_their_places() {
    let directory = tempfile::tempdir().unwrap();
    let source = "import numpy as np\ndef f(a: f32[3], b: f32[4]):\n    x = np.fft(a)\n    return a @ b\n";
    file(directory.path(), "bad.py", source);
    let (code, out, err) = check(directory.path(), &["tune", "bad.py"]);
    assert_eq!((code, out.as_str()), (2, ""));
    for expected in ["bad.py has 2 errors", "bad.py:3:", "numpy.fft", "bad.py:4:", "(3,)", "(4,)", "help:"] {
        assert!(err.contains(expected), "{expected}: {err}");
    }
}

/// Other programs read `file:line:column:` lines, and JSON where they asked for it; stdout was empty, stderr full of boxes.
#[test]
fn a_refusal_is_lines_and_json() {
    let directory = tempfile::tempdir().unwrap();
    file(directory.path(), "bad.py", "def f(a: f32[3]):\n    return a @ a[:2]\n");
    let output = moat(directory.path(), &["tune", "bad.py", "--json"]);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(err.lines().any(|line| line.starts_with("bad.py:2:12: error: ")), "{err}");
    assert!(err.is_ascii(), "{err}");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let error = &json["errors"][0];
    assert_eq!(
        (error["file"].as_str(), error["line"].as_u64(), error["column"].as_u64()),
        (Some("bad.py"), Some(2), Some(12))
    );
    assert!(error["message"].as_str().is_some_and(|message| message.contains("(3,)")), "{out}");
    let output = moat(directory.path(), &["tune", "nothere.py", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json["errors"][0]["message"].as_str().is_some_and(|message| message.contains("nothere.py")), "{json}");
}

#[test]
fn run_computes_what_numpy_would() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    file(path, "gemm.py", GEMM);
    let (code, out, err) = check(path, &["run", "gemm.py", "--random", "--check", "--output", "y.npz"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("result: f32[6, 5]") && out.contains("result: right"), "{out}");
    let mut archive = NpzArchive::open(path.join("y.npz")).unwrap();
    let result = archive.by_name("result").unwrap().expect("an array named `result`");
    assert_eq!(result.shape(), [6, 5]);
    assert_eq!(result.into_vec::<f32>().unwrap().len(), 30);
    // A result is no input: names and shapes are compared.
    let (code, _, err) = check(path, &["run", "gemm.py", "--inputs", "y.npz"]);
    assert_eq!(code, 2);
    assert!(err.contains("no array `alpha` (it has result)"), "{err}");
}

#[test]
fn run_takes_arrays_by_name_and_says_what_does_not_fit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    file(path, "twice.py", "def twice(x: f64[3]):\n    return x + x, x\n");
    let write = |name: &str, values: &[f64]| {
        use npyz::WriterBuilder;
        let mut archive = npyz::npz::NpzWriter::create(path.join("x.npz")).unwrap();
        let array = archive.array(name, Default::default()).unwrap().default_dtype();
        let mut array = array.shape(&[values.len() as u64]).begin_nd().unwrap();
        array.extend(values).unwrap();
        array.finish().unwrap();
    };
    for name in ["x", "arr_0"] {
        write(name, &[1.0, 2.5, -3.0]);
        let (code, _, err) = check(path, &["run", "twice.py", "--inputs", "x.npz", "--output", "y.npz"]);
        assert_eq!((code, err.as_str()), (0, ""));
        let mut archive = NpzArchive::open(path.join("y.npz")).unwrap();
        let read =
            |archive: &mut NpzArchive<_>, name| archive.by_name(name).unwrap().unwrap().into_vec::<f64>().unwrap();
        assert_eq!(read(&mut archive, "result0"), [2.0, 5.0, -6.0]);
        assert_eq!(read(&mut archive, "result1"), [1.0, 2.5, -3.0]);
    }
    write("x", &[1.0, 2.0]);
    let (code, _, err) = check(path, &["run", "twice.py", "--inputs", "x.npz"]);
    assert_eq!(code, 2);
    assert!(err.contains("expected f64[3]") && err.contains("[2]"), "{err}");
}

/// What a function wrote to an argument was stored as a second `result`, which np.load did not find.
#[test]
fn results_and_written_arguments_have_names_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    for (source, expected) in [
        ("def f(x: f64[3]):\n    x[0] = 7.0\n    return x * 2.0\n", &["result", "x"][..]),
        (
            "def f(x: f64[3], y: f64[3]):\n    y[:] = x\n    x[1] = 0.5\n    return x + y, y\n",
            &["result0", "result1", "x", "y"],
        ),
        ("def f(result: f64[3]):\n    result[0] = 7.0\n    return result * 2.0\n", &["result", "result_"]),
        ("def f(x: f64[3]):\n    x[0] = 7.0\n", &["x"]),
    ] {
        file(path, "f.py", source);
        let (code, out, err) = check(path, &["run", "f.py", "--random", "--check", "--output", "y.npz"]);
        assert_eq!((code, err.as_str()), (0, ""), "{source}");
        let archive = NpzArchive::open(path.join("y.npz")).unwrap();
        let mut names: Vec<&str> = archive.array_names().collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{source}");
        assert!(expected.iter().all(|name| out.contains(&format!("{name}: right"))), "{out}");
    }
}

/// Defaults and marks of parameters were dropped without a word.
#[test]
fn defaults_and_marks_of_parameters_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let source = "TWO = 2\ndef f(x: f64[3], /, k: i64 = TWO + 1, *, alpha: f64 = 2.0, deep: bool = False):\n    \
                  return x * alpha + k, deep\n";
    file(path, "f.py", source);
    let (code, _, err) = check(path, &["tune", "f.py", "--trials", "1", "--out", "kernels", "--db", "db"]);
    assert_eq!(code, 0, "{err}");
    let script = "
import sys
sys.path.insert(0, 'kernels/f')
import inspect
import numpy as np
from f import f
x = np.array([1.0, 2.0, 3.0])
def same(found, expected):
    assert np.array_equal(found[0], expected), found
same(f(x), x * 2.0 + 3)
same(f(x, 5), x * 2.0 + 5)
same(f(x, k=5, alpha=0.5, deep=True), x * 0.5 + 5)
assert f(x, deep=True)[1] and not f(x)[1]
for call in (lambda: f(x=x), lambda: f(x, 5, 0.5)):
    try:
        call()
    except TypeError:
        continue
    raise AssertionError('accepted')
np.savez('x.npz', x=x)
print(inspect.signature(f))
";
    let python = moat_tests::python::numpy_python().unwrap();
    let run = Command::new(python).args(["-c", script]).current_dir(path).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(run.stdout, b"(x, /, k=3, *, alpha=2.0, deep=False, out=None)\n");
    let (code, _, err) = check(path, &["run", "f.py", "--inputs", "x.npz", "--output", "y.npz"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let mut archive = NpzArchive::open(path.join("y.npz")).unwrap();
    let result = archive.by_name("result0").unwrap().unwrap();
    assert_eq!(result.into_vec::<f64>().unwrap(), [5.0, 7.0, 9.0]);
    for (source, expected) in [
        ("def f(x: f64[3], k: i64 = 2.5):\n    return x * k\n", "bad.py:1:27"),
        ("def f(x: f64[3], b: bool = 1):\n    return x * b\n", "bad.py:1:28"),
        ("def f(x: f64[3] = 1.0):\n    return x\n", "array parameter 'x' has a default"),
        ("def f(x: f64[3], y: f64 = None):\n    return x\n", "None, not a number of f64"),
    ] {
        file(path, "bad.py", source);
        let (code, _, err) = check(path, &["explain", "bad.py"]);
        assert_eq!(code, 2, "{source}");
        assert!(err.contains(expected), "{source}: {err}");
    }
}

#[test]
fn explain_shows_every_stage() {
    let directory = tempfile::tempdir().unwrap();
    file(directory.path(), "gemm.py", GEMM);
    let (code, out, err) = check(directory.path(), &["explain", "gemm.py"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for expected in [
        "# Program",
        "f32[6, 5] = matmul",
        "# Normal form 0",
        "ψA",
        "# Loops before",
        "# Default schedule",
        "# Loops under",
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
}

#[test]
fn target_measures_once_and_answers_in_json() {
    let directory = tempfile::tempdir().unwrap();
    let (code, text, _) = check(directory.path(), &["target", "--db", "db"]);
    assert_eq!(code, 0);
    assert!(text.contains("FMA peak f32") && text.contains("GB/s"), "{text}");
    let json = |args: &[&str]| -> serde_json::Value { serde_json::from_str(&check(directory.path(), args).1).unwrap() };
    let first = json(&["target", "--db", "db", "--json"]);
    assert_eq!(first, json(&["target", "--db", "db", "--json"]), "the figures are kept");
    assert!(first["peak_gflops_f32"].as_f64().unwrap() > 1.0);
}

#[test]
fn an_empty_database_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(check(directory.path(), &["db", "list", "--db", "db"]).1, "no runs on record\n");
    assert_eq!(check(directory.path(), &["db", "list", "--db", "db", "--json"]).1, "");
    assert_eq!(check(directory.path(), &["db", "path", "--db", "some/where"]).1, "some/where\n");
    assert_eq!(check(directory.path(), &["db", "show", "--db", "db"]).0, 1);
}

#[test]
fn a_closed_pipe_is_no_crash() {
    let directory = tempfile::tempdir().unwrap();
    file(directory.path(), "gemm.py", GEMM);
    let mut child = Command::new(env!("CARGO_BIN_EXE_moat-under-test"))
        .current_dir(directory.path())
        .args(["explain", "gemm.py"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
