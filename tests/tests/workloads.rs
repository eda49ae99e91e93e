//! Every workload of the repository, at reduced extents: tuned with a few trials, loaded into Python, and compared
//! with NumPy running the same file.

use moat_tests::python::numpy_python;
use std::path::Path;
use std::process::Command;

/// Small odd extents for the constants that the workloads are written with. A name that a file does not define is an
/// error of `moat tune`, so only those it defines are passed.
const EXTENTS: [(&str, u32); 12] = [
    ("NODES", 17),
    ("EDGES", 53),
    ("N", 37),
    ("M", 29),
    ("K", 23),
    ("D", 19),
    ("H", 21),
    ("W", 35),
    ("P", 7),
    ("C", 5),
    ("O", 6),
    ("B", 2),
];

#[test]
fn every_workload_equals_numpy() {
    let scratch = tempfile::tempdir().unwrap();
    let mut arguments = Vec::new();
    for file in &moat_tests::workloads::bundled().unwrap() {
        let source = std::fs::read_to_string(file).unwrap();
        let defined = |name: &str| {
            source.lines().any(|line| {
                let names = line.split_once(" = ").map_or("", |(names, _)| names);
                names.split(", ").any(|word| word == name)
            })
        };
        let lets: Vec<String> =
            EXTENTS.iter().filter(|(name, _)| defined(name)).map(|(name, n)| format!("{name}={n}")).collect();
        let mut tune = Command::new(env!("CARGO_BIN_EXE_moat-under-test"));
        tune.current_dir(scratch.path()).arg("tune").arg(file);
        tune.args(["--trials", "6", "--seed", "3", "--db", "db", "--out", "kernels", "--json"]);
        for constant in &lets {
            tune.args(["--let", constant]);
        }
        let output = tune.output().unwrap();
        assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(result["outcomes"]["wrong_result"], 0, "{result}");
        arguments.push(format!("{}:{}", file.display(), lets.join(",")));
    }
    assert!(arguments.len() >= 20, "{} workloads", arguments.len());
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/workloads_against_numpy.py");
    let python = numpy_python().expect("no Python with NumPy: `make test` makes one");
    let output = Command::new(python).arg(check).arg(scratch.path().join("kernels")).args(&arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
