//! Every PolyBench program, at small extents: it reads, its program is well-formed, and the interpreter's results are
//! those of NumPy running the same file.

use moat_optimizer::frontend::{ParseOptions, listing, parse};
use moat_optimizer::oracle::inputs::random;
use moat_optimizer::oracle::interpret::interpret;
use moat_optimizer::program::verify::verify;
use moat_optimizer::value::dtype::Literal;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::Tensor;
use moat_tests::python::{SourceCase, run_numpy, run_sources};
use std::collections::BTreeMap;
use std::path::Path;

/// Small extents for the constants that the programs are written with.
const EXTENTS: [(&str, i64); 14] = [
    ("TSTEPS", 3),
    ("TMAX", 4),
    ("N", 9),
    ("M", 11),
    ("NI", 5),
    ("NJ", 6),
    ("NK", 7),
    ("NL", 8),
    ("NM", 4),
    ("NX", 7),
    ("NY", 10),
    ("NQ", 4),
    ("NR", 5),
    ("NP", 6),
];

fn files() -> Vec<(String, String)> {
    let paths = moat_tests::workloads::polybench().expect("datasets/workloads/polybench is readable");
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned).expect("a UTF-8 name");
    paths.iter().map(|path| (name(path), std::fs::read_to_string(path).expect("a readable file"))).collect()
}

/// The constants that a file defines, and their small values.
fn lets(source: &str) -> Vec<(&'static str, i64)> {
    let defined = |name: &str| {
        source
            .lines()
            .any(|line| line.split_once(" = ").is_some_and(|(names, _)| names.split(", ").any(|word| word == name)))
    };
    let wide = [("W", 12), ("H", 8)];
    EXTENTS.into_iter().chain(wide).filter(|(name, _)| defined(name)).collect()
}

#[test]
fn programs_agree_with_numpy() {
    let files = files();
    assert_eq!(files.len(), 30);
    let mut programs = Vec::new();
    for (name, source) in &files {
        let lets: BTreeMap<String, Literal> =
            lets(source).into_iter().map(|(name, value)| (name.to_owned(), Literal::Int(value))).collect();
        let options = ParseOptions { function: None, lets };
        let workload = parse(name, source, &options).unwrap_or_else(|errors| panic!("{errors}"));
        let program = workload.program;
        verify(&program).unwrap_or_else(|error| panic!("{name}: {error}\n{}", listing(&program)));
        let inputs: Vec<Tensor> =
            program.params.iter().map(|param| random(param, 5).expect("a fitting hint")).collect();
        programs.push((program, inputs));
    }
    let cases: Vec<SourceCase<'_>> = files
        .iter()
        .zip(&programs)
        .map(|((_, source), (program, inputs))| SourceCase { source, lets: lets(source), program, inputs })
        .collect();
    let as_written = run_sources(&cases);
    let as_read = run_numpy(&programs);
    let mut failures = Vec::new();
    for (at, (program, inputs)) in programs.iter().enumerate() {
        let expected = interpret(program, inputs, Numerics::Reassociate).expect("a verified program");
        for (who, outcome) in [("the source", &as_written[at]), ("the program", &as_read[at])] {
            let problem = match outcome {
                Err(error) => Some(error.clone()),
                Ok(found) if found.len() != expected.len() => Some(format!("{} results", found.len())),
                Ok(found) => expected.iter().zip(found).find_map(|(expected, found)| {
                    let vague = expected.bound.iter().any(|bound| !bound.is_finite());
                    let mismatch = expected.check(found).err().map(|mismatch| mismatch.to_string());
                    mismatch.or_else(|| vague.then(|| "an infinite bound".to_owned()))
                }),
            };
            if let Some(problem) = problem {
                failures.push(format!("{}: {who}: {problem}\n{}", program.name, listing(program)));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// As they are in the file, with the large extents: read and verified only.
#[test]
fn programs_read_at_full_size() {
    let mut text = String::new();
    for (name, source) in files() {
        let workload = parse(&name, &source, &ParseOptions::default()).unwrap_or_else(|errors| panic!("{errors}"));
        verify(&workload.program).unwrap_or_else(|error| panic!("{name}: {error}"));
        text += &format!("{name}\n{}\n", listing(&workload.program));
    }
    insta::assert_snapshot!(text);
}
