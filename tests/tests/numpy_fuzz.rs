//! Generated programs against NumPy: the generator uses every construct of the language, the oracle notices planted faults,
//! the shrinker leaves a few lines of them, and a slice of programs agrees. `cargo run -p moat-tests --bin fuzz_numpy` runs
//! many more.

use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::numerics::Numerics;
use moat_tests::numpy_fuzz::inputs::Values;
use moat_tests::numpy_fuzz::kernel::{Case, Plant, Verdict};
use moat_tests::numpy_fuzz::program::{Generated, Param, Stmt};
use moat_tests::numpy_fuzz::run::{Counts, Slice, case, run, verdicts};
use moat_tests::numpy_fuzz::shrink::shrink;
use moat_tests::numpy_fuzz::{generate, has_loops};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

fn counts(slice: &Slice) -> Counts {
    let executable = Path::new(env!("CARGO_BIN_EXE_fuzz_numpy"));
    run(slice, executable, &|| false, &mut |_| {}).unwrap_or_else(|error| panic!("{error}"))
}

/// The first seed and the number of programs of the slice: the longest that agrees when this is written.
const SLICE: (u64, u64) = (40_101, 100);

/// Programs that once failed, each of a kind; in all numerics they are what NumPy says.
const MENDED: &[(&str, &str, DType, &[usize])] = &[
    (
        "an index array that is reshaped is stored before it is read",
        "return np.arange(14).reshape(2, 7)",
        DType::F32,
        &[0, 7],
    ),
    (
        "copies of a constant made boxes that no integer counts",
        "return np.all(np.all(np.full((2, 2, 13), 10, dtype=np.int64), axis=1), axis=0)",
        DType::F64,
        &[2],
    ),
];

#[test]
fn what_once_failed_agrees() {
    let mut cases = Vec::new();
    for &(_, line, dtype, shape) in MENDED {
        let param = Param { name: "p1".to_owned(), dtype, shape: shape.to_vec(), index: None };
        let statement = |text: &str| Stmt::line("", text, vec![]);
        let program = Generated { params: vec![param], body: vec![statement(line)], ..Generated::default() };
        for numerics in [Numerics::Exact, Numerics::Reassociate, Numerics::Algebraic] {
            let slice = Slice { numerics: Some(numerics), values: Some(Values::Ordinary), ..Slice::new(0, 1) };
            cases.push(Case { schedule: 0, replay: true, ..case(1, &program, &slice) });
        }
    }
    let executable = Path::new(env!("CARGO_BIN_EXE_fuzz_numpy"));
    let verdicts = verdicts(&cases, executable).unwrap_or_else(|error| panic!("{error}"));
    for ((verdict, case), (why, ..)) in verdicts.iter().zip(&cases).zip(MENDED.iter().flat_map(|case| [case; 3])) {
        assert!(matches!(verdict, Verdict::Agrees { .. }), "{why}: {verdict:?}\n{}", case.source);
    }
}

/// A slice of programs agrees with NumPy, and few of them are refused.
#[test]
fn a_slice_of_programs_agrees_with_numpy() {
    let counts = counts(&Slice::new(SLICE.0, SLICE.1));
    let reports: Vec<&str> = counts.failures.iter().map(|failure| failure.report.as_str()).collect();
    assert!(reports.is_empty(), "{}\n{}", reports.join("\n\n"), counts.summary());
    // A generator whose programs are refused tests nothing.
    assert!(100 * counts.refusals() <= 15 * counts.programs, "{}", counts.summary());
    assert!(2 * counts.loops >= counts.programs && counts.numerics.len() == 3, "{}", counts.summary());
}

/// Every construct stands in at least one of four hundred programs, and half of the programs have loops.
#[test]
fn generated_programs_use_every_construct() {
    let programs = 4000;
    let mut found: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut dtypes = BTreeSet::new();
    let mut extents = BTreeSet::new();
    let mut ranks = BTreeSet::new();
    let mut looped = 0;
    for seed in 0..programs {
        let program = generate(seed);
        assert_eq!(program, generate(seed), "seed {seed} gives two programs");
        looped += u64::from(has_loops(seed) && program.print().contains("for "));
        program.constructs().into_iter().for_each(|construct| *found.entry(construct).or_default() += 1);
        for param in &program.params {
            dtypes.insert(param.dtype);
            ranks.insert(param.shape.len());
            extents.extend(param.shape.iter().copied());
        }
    }
    assert!(2 * looped >= programs, "{looped} programs have loops");
    assert_eq!(dtypes.len(), 5);
    assert_eq!(ranks, BTreeSet::from([0, 1, 2, 3]));
    assert!((0..=16).all(|extent| extents.contains(&extent)), "{extents:?}");
    let wanted = [
        "name number element slice newaxis|parts",
        "add subtract multiply divide floor_divide remainder power shift bitwise maximum minimum|arithmetic",
        "negative abs sqrt exp log sin cos tanh erf floor sign square reciprocal positive invert isnan|functions",
        "compare logical where cast clip|decisions",
        "sum mean max any scan argmax ufunc.reduce|reductions",
        "matmul einsum tensordot outer ufunc.outer inner vdot trace|products",
        "transpose reshape concatenate stack flip roll pad tri diagonal window broadcast_to|structure",
        "zeros ones full eye arange array scalar zeros_like empty_like full_like copy|creation",
        "gather indices scatter ufunc.at|indices",
        "assign alias rebind swap rotation row|names",
        "for if|control flow",
        "lambda def|helpers",
    ];
    for line in wanted {
        let names = line.split('|').next().unwrap_or_default();
        for name in names.split(' ') {
            let count: u64 = found.iter().filter(|(what, _)| what.starts_with(name)).map(|(_, count)| count).sum();
            assert!(count >= 10, "`{name}` stands in {count} of {programs} programs: {found:?}");
        }
    }
    let more = [
        "slice assignment",
        "element assignment",
        "augmented slice",
        "augmented name",
        "live slice assignment",
        "live product",
        "computed indices",
        "loop variable",
        "conditional expression",
        "tuple assignment",
        "swap of elements",
        "keepdims",
        "swap by a third name",
        "accumulation",
        "if in",
        "if tuple",
        "if chained",
        "if and",
        "if or",
        "if not",
        "if truth",
        "if two variables",
        "if affine",
        "if on a shape",
        "if on a dtype",
        "default argument",
        "keyword argument",
        "def that writes",
        "def that swaps",
        "def that returns a view",
        "def that returns its argument",
        "def with loop",
        "def with in-place",
        "def that calls",
    ];
    for name in more {
        let count = found.get(name).copied().unwrap_or_default();
        assert!(count >= 5, "`{name}` stands in {count} of {programs} programs");
    }
}

/// What a program fails by is kept, and nothing else: here, that a word stands in it.
#[test]
fn shrinking_leaves_what_fails() {
    for word in ["np.tanh(", "for i in", "np.add.at(", ".astype(np.int32)"] {
        let large = (0..2000)
            .map(generate)
            .find(|program| program.print().contains(word) && program.print().lines().count() > 12);
        let large: Generated = large.unwrap_or_else(|| panic!("no program has {word}"));
        let small = shrink(&large, &mut |program| program.print().contains(word));
        let text = small.print();
        assert!(text.contains(word), "{text}");
        let body = text.split_once("\ndef f(").map_or(0, |(_, body)| body.lines().count());
        assert!(body <= 4, "{word}: {text}");
        assert!(small.params.len() <= 3, "{word}: {text}");
    }
}

/// Wrong kernels are noticed, each by its class, and what is printed of them is a few lines: a value off by a thousandth,
/// a NaN that is lost, another integer, an argument that is not written, an error that is none, a hang and a crash.
#[test]
fn planted_faults_are_noticed_and_cut_down() {
    let cases: [(Plant, Values, u64, &str); 5] = [
        (Plant::Off, Values::Ordinary, 8, "off"),
        (Plant::OtherInteger, Values::Ordinary, 12, "integer or bool"),
        (Plant::KeepArgument, Values::Ordinary, 12, "argument: "),
        (Plant::LoseNan, Values::Special, 16, "finite"),
        (Plant::NoError, Values::Wrong, 40, "no error"),
    ];
    for (plant, values, programs, class) in cases {
        let counts = counts(&Slice {
            plant: Some(plant),
            values: Some(values),
            numerics: Some(Numerics::Reassociate),
            ..Slice::new(5000, programs)
        });
        let found: Vec<_> = counts.failures.iter().filter(|failure| failure.class.starts_with(class)).collect();
        assert!(!found.is_empty(), "{plant:?} is not noticed: {}", counts.summary());
        let Some(cut) = found.iter().find(|failure| !failure.source.is_empty()) else { panic!("{plant:?}: {found:?}") };
        let body = cut.source.split_once("\ndef f(").map_or(usize::MAX, |(_, body)| body.lines().count());
        assert!(body <= 8, "{plant:?}: {}", cut.report);
        assert!(cut.report.contains("again: cargo run"), "{}", cut.report);
    }
    let slice = Slice { plant: Some(Plant::Crash), shrunk: 0, ..Slice::new(5000, 3) };
    let crashed = counts(&slice);
    assert!(crashed.failures.len() == 3 && crashed.failures[0].class.starts_with("crash"), "{}", crashed.summary());
    let slice = Slice { plant: Some(Plant::Hang), shrunk: 0, deadline: Duration::from_secs(2), ..Slice::new(5000, 2) };
    let hung = counts(&slice);
    assert!(hung.failures.iter().any(|failure| failure.class == "hang"), "{}", hung.summary());
}
