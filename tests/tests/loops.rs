//! NumPy programs with loops and mutable arrays: what the interpreter makes of them, against NumPy running the source.

use moat_optimizer::frontend::{ParseOptions, Workload, listing, parse};
use moat_optimizer::oracle::inputs::random;
use moat_optimizer::oracle::interpret::interpret;
use moat_optimizer::program::verify::verify;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::Tensor;
use moat_tests::python::{SourceCase, run_numpy, run_sources};
use moat_tests::random_loops::random_source;

const HEADER: &str =
    "from __future__ import annotations\nfrom typing import Annotated\nimport math\nimport numpy as np\n\n";

/// Functions, one of each name, whose results must be NumPy's.
const HANDWRITTEN: &[&str] = &[
    include_str!("loops/factorizations.py"),
    include_str!("loops/stencils.py"),
    include_str!("loops/recurrences.py"),
    include_str!("loops/views.py"),
    include_str!("loops/numbers.py"),
    include_str!("loops/conditions.py"),
    include_str!("loops/calls.py"),
];

/// The functions of the texts, each as a file of its own.
fn functions() -> Vec<String> {
    let mut files = Vec::new();
    for text in HANDWRITTEN {
        let mut current = String::new();
        for line in text.lines() {
            if line.starts_with("# ---") {
                files.push(std::mem::take(&mut current));
            } else {
                current += &format!("{line}\n");
            }
        }
        files.push(current);
    }
    files.retain(|file| !file.trim().is_empty());
    files.iter().map(|file| format!("{HEADER}{file}")).collect()
}

fn read(source: &str) -> Workload {
    let workload =
        parse("case.py", source, &ParseOptions::default()).unwrap_or_else(|errors| panic!("{source}\n{errors}"));
    verify(&workload.program).unwrap_or_else(|error| panic!("{source}\n{}\n{error}", listing(&workload.program)));
    workload
}

#[test]
fn sources_agree_with_numpy() {
    let sources = functions();
    assert!(sources.len() >= 40, "{} programs", sources.len());
    agree(&sources);
}

/// How many random programs are run.
const PROGRAMS: u64 = 400;

#[test]
fn random_programs_agree_with_numpy() {
    let sources: Vec<String> = (0..PROGRAMS).map(|seed| random_source(seed, 10)).collect();
    agree(&sources);
}

/// Holds the interpreter's results against NumPy's: of the sources themselves, and of what was read from them.
fn agree(sources: &[String]) {
    let workloads: Vec<Workload> = sources.iter().map(|source| read(source)).collect();
    let inputs: Vec<Vec<Tensor>> = workloads
        .iter()
        .map(|workload| workload.program.params.iter().map(|param| random(param, 7).expect("a fitting hint")).collect())
        .collect();
    let cases: Vec<SourceCase<'_>> = sources
        .iter()
        .zip(&workloads)
        .zip(&inputs)
        .map(|((source, workload), inputs)| SourceCase { source, lets: vec![], program: &workload.program, inputs })
        .collect();
    let as_written = run_sources(&cases);
    let programs: Vec<_> =
        workloads.iter().zip(&inputs).map(|(workload, inputs)| (workload.program.clone(), inputs.clone())).collect();
    let as_read = run_numpy(&programs);
    let mut failures = Vec::new();
    for (at, (program, inputs)) in programs.iter().enumerate() {
        for numerics in [Numerics::Exact, Numerics::Reassociate] {
            let expected = interpret(program, inputs, numerics).expect("a verified program");
            for (who, outcome) in [("the source", &as_written[at]), ("the program", &as_read[at])] {
                // NumPy sums and multiplies in an order of its own.
                let exact = numerics == Numerics::Exact;
                let problem = match outcome {
                    Err(error) => Some(error.clone()),
                    Ok(found) if found.len() != expected.len() => Some(format!("{} results", found.len())),
                    Ok(_) if exact => None,
                    Ok(found) => expected
                        .iter()
                        .zip(found)
                        .find_map(|(expected, found)| expected.check(found).err().map(|mismatch| mismatch.to_string())),
                };
                if let Some(problem) = problem {
                    let source = &sources[at];
                    failures.push(format!("case {at}: {who}: {problem}\n{source}\n{}", listing(program)));
                }
            }
        }
    }
    let heads: Vec<&str> = failures.iter().filter_map(|failure| failure.lines().next()).collect();
    assert!(failures.is_empty(), "{}\n{}", failures[0], heads.join("\n"));
}
