//! Many random programs under random schedules: `cargo run -p moat-tests --bin fuzz -- --programs 10000`.
//!
//! `--seed` is the first seed, `--size` about how many statements a program has, `--samples` the schedules of each form,
//! `--compile-every` how often a program's nests are compiled, too, `--forms-every` how often a program has several
//! normal forms; `--expressions 1` draws programs without loops and replays their derivations. A failure prints the case
//! and its source; `--seed S --programs 1` with the same options is that case alone. Ends with 1 if anything differs.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for people")]

use moat_tests::fuzz::{Case, Counts, Fuzzer, Verdict};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

/// A program that takes longer is named.
const SLOW: f64 = 10.0;

struct Options {
    programs: u64,
    seed: u64,
    size: u64,
    samples: u64,
    compile_every: u64,
    forms_every: u64,
    expressions: u64,
}

fn options() -> Option<Options> {
    let mut options =
        Options { programs: 1000, seed: 0, size: 4, samples: 4, compile_every: 25, forms_every: 10, expressions: 0 };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let slot = match name.as_str() {
            "--programs" => &mut options.programs,
            "--seed" => &mut options.seed,
            "--size" => &mut options.size,
            "--samples" => &mut options.samples,
            "--compile-every" => &mut options.compile_every,
            "--forms-every" => &mut options.forms_every,
            "--expressions" => &mut options.expressions,
            _ => return None,
        };
        *slot = arguments.next()?.parse().ok()?;
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!(
            "usage: fuzz [--programs N] [--seed N] [--size N] [--samples N] [--compile-every N] [--forms-every N] \
             [--expressions 1]"
        );
        return ExitCode::from(2);
    };
    let fuzzer = match Fuzzer::new() {
        Ok(fuzzer) => fuzzer,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    let (mut agree, mut differ) = (0, 0);
    let mut counts = Counts::default();
    let mut refused: BTreeMap<String, u64> = BTreeMap::new();
    for seed in options.seed..options.seed + options.programs {
        let one = |every: u64| every > 0 && seed % every == 0;
        let case = Case {
            seed,
            size: options.size as usize,
            samples: options.samples as usize,
            forms: if one(options.forms_every) { 2 } else { 1 },
            compile: one(options.compile_every),
            expression: options.expressions > 0,
        };
        let start = Instant::now();
        match fuzzer.run(case) {
            Verdict::Agrees(found) => {
                agree += 1;
                counts += found;
            }
            Verdict::Refused(why) => {
                // Without names and numbers, so that the same reason counts once.
                if options.programs == 1 {
                    println!("{why}\n{}", moat_tests::random_loops::random_source(seed, case.size));
                }
                let why = why.lines().next().unwrap_or_default().replace(|c: char| c.is_ascii_digit(), "");
                if !refused.contains_key(&why) {
                    println!("seed {seed} is refused: {why}");
                }
                *refused.entry(why).or_default() += 1;
            }
            Verdict::Differs(what) => {
                differ += 1;
                println!("DIFFERS {what}\n");
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        if seconds > SLOW {
            println!("seed {seed} takes {seconds:.0} s");
        }
        if (seed + 1 - options.seed) % 500 == 0 {
            let minutes = begun.elapsed().as_secs_f64() / 60.0;
            println!("{} programs, {differ} differ, {minutes:.1} min", seed + 1 - options.seed);
        }
    }
    for (why, count) in &refused {
        println!("refused {count}: {why}");
    }
    println!(
        "{} programs from seed {}: {agree} agree, {differ} differ, {} refused; {} other orders; {} nests ({} with time tiles, {} parallel), \
         {} dependences in order, {} kernels; {:.0} s",
        options.programs,
        options.seed,
        refused.values().sum::<u64>(),
        counts.orders,
        counts.nests,
        counts.tiled,
        counts.parallel,
        counts.dependences,
        counts.kernels,
        begun.elapsed().as_secs_f64()
    );
    ExitCode::from(u8::from(differ > 0))
}
