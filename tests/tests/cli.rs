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
    for expected in ["bad.py has 2 errors", "bad.py:3:", "np.fft", "bad.py:4:", "[3]", "[4]", "help:"] {
        assert!(err.contains(expected), "{expected}: {err}");
    }
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
