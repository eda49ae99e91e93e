//! Random programs with loops under random schedules: every dependence in order, by brute force, and nests and compiled
//! kernels equal to the interpreter. `cargo run -p moat-tests --bin fuzz -- --programs 10000` runs many more.

use moat_tests::fuzz::{Case, Counts, Fuzzer, Verdict};

/// Runs cases that differ in their seed; what was tested.
fn all_agree(cases: impl Iterator<Item = Case>) -> Counts {
    let fuzzer = Fuzzer::new().unwrap_or_else(|error| panic!("{error}"));
    let mut counts = Counts::default();
    let (mut programs, mut refused, mut differ) = (0, Vec::new(), Vec::new());
    for case in cases {
        programs += 1;
        match fuzzer.run(case) {
            Verdict::Agrees(found) => counts += found,
            Verdict::Refused(why) => refused.push(why),
            Verdict::Differs(what) => differ.push(what),
        }
    }
    let some: Vec<&str> = differ.iter().take(4).map(String::as_str).collect();
    assert!(differ.is_empty(), "{} programs differ\n{}", differ.len(), some.join("\n\n"));
    // A generator whose programs are refused tests nothing.
    assert!(20 * refused.len() <= programs, "{} programs are refused: {refused:?}", refused.len());
    counts
}

#[test]
fn kernels_of_random_loops_equal_the_interpreter() {
    let case = |seed| Case { seed, size: 5, samples: 2, forms: 2, compile: true, expression: false };
    let counts = all_agree((0..20).map(case));
    assert!(counts.kernels > 50, "{counts:?}");
}

#[test]
fn random_schedules_keep_every_dependence_in_order() {
    let case = |seed| Case { seed, size: 4, samples: 3, forms: 1, compile: false, expression: false };
    let counts = all_agree((1000..1200).map(case));
    assert!(counts.nests > 700 && counts.tiled > 100 && counts.parallel > 50, "{counts:?}");
}
