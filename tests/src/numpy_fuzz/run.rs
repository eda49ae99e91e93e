//! Slices of seeds: programs one after the other in a process of its own, what came of them, and what fails cut down.
//!
//! The process that runs the cases ([`serve`]) may crash or hang: that is a failure of its seed, and the next case has a
//! new one. Deterministic by seed, but for what computes for longer than the deadline.

use super::generate::{generate, has_loops};
use super::inputs::{Values, values};
use super::kernel::{Bench, Case, Plant, Verdict, without_numbers};
use super::program::Generated;
use super::shrink::shrink;
use moat_optimizer::oracle::inputs::SplitMix64;
use moat_optimizer::value::numerics::Numerics;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A program that computes for longer hangs.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// How often is looked for that.
const LOOK: Duration = Duration::from_millis(200);
/// A failure is cut down for so long.
const SHRINKING: Duration = Duration::from_secs(120);
/// The argument of the executable that makes it [`serve`].
pub const SERVE: &str = "--serve";

/// What is run.
#[derive(Clone, Debug)]
pub struct Slice {
    /// The first seed.
    pub seed: u64,
    /// How many programs.
    pub programs: u64,
    /// The numerics, where they are not drawn by seed.
    pub numerics: Option<Numerics>,
    /// What inputs look like, where that is not drawn by seed.
    pub values: Option<Values>,
    /// A fault on purpose, in all of them.
    pub plant: Option<Plant>,
    /// Failures of each class that are cut down.
    pub shrunk: usize,
    /// Time that one program may compute.
    pub deadline: Duration,
}

impl Slice {
    /// `programs` programs from `seed` on.
    pub fn new(seed: u64, programs: u64) -> Slice {
        Slice { seed, programs, numerics: None, values: None, plant: None, shrunk: 1, deadline: DEADLINE }
    }
}

/// A program that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// The class of what is wrong.
    pub class: String,
    /// What is wrong, the smallest program found that fails in the same way, its inputs, and how to run it again.
    pub report: String,
    /// The smallest program's text; empty where it was not cut down.
    pub source: String,
}

/// What came of a slice.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Programs.
    pub programs: u64,
    /// Those with loops.
    pub loops: u64,
    /// Those that agree with NumPy.
    pub agree: u64,
    /// Of these, those where both raise an error.
    pub raised: u64,
    /// Those that NumPy refuses as well as the frontend.
    pub invalid: BTreeMap<String, u64>,
    /// Those whose result NumPy leaves to the platform.
    pub undefined: u64,
    /// Elements compared.
    pub elements: u64,
    /// Elements that hang on a decision.
    pub undecided: u64,
    /// Refusals by reason, and the first seed of each.
    pub refused: BTreeMap<String, (u64, u64)>,
    /// Agreeing programs that use each construct.
    pub constructs: BTreeMap<&'static str, u64>,
    /// Agreeing programs of each numerics.
    pub numerics: BTreeMap<&'static str, u64>,
    /// What failed.
    pub failures: Vec<Failure>,
    /// Programs that computed for longer than 2 s.
    pub slow: Vec<(u64, Duration)>,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.programs += other.programs;
        self.loops += other.loops;
        self.agree += other.agree;
        self.raised += other.raised;
        self.undefined += other.undefined;
        self.elements += other.elements;
        self.undecided += other.undecided;
        other.invalid.into_iter().for_each(|(why, count)| *self.invalid.entry(why).or_default() += count);
        for (why, (count, seed)) in other.refused {
            self.refused.entry(why).or_insert((0, seed)).0 += count;
        }
        other.constructs.into_iter().for_each(|(name, count)| *self.constructs.entry(name).or_default() += count);
        other.numerics.into_iter().for_each(|(name, count)| *self.numerics.entry(name).or_default() += count);
        self.failures.extend(other.failures);
        self.slow.extend(other.slow);
    }
}

impl Counts {
    /// Programs that are refused.
    pub fn refusals(&self) -> u64 {
        self.refused.values().map(|(count, _)| count).sum()
    }

    /// The counts in a few lines: one with everything, and the refusals by reason.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        let mut reasons: Vec<(&String, &(u64, u64))> = self.refused.iter().collect();
        reasons.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        for (why, (count, seed)) in reasons {
            let _ = writeln!(text, "refused {count}: {why} (seed {seed})");
        }
        for (why, count) in &self.invalid {
            let _ = writeln!(text, "invalid {count}: {why}");
        }
        for (seed, time) in &self.slow {
            let _ = writeln!(text, "seed {seed} takes {:.1} s", time.as_secs_f64());
        }
        let mut classes: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for failure in &self.failures {
            classes.entry(&failure.class).or_default().push(failure.seed);
        }
        for (class, seeds) in classes {
            let shown: Vec<String> = seeds.iter().take(6).map(u64::to_string).collect();
            let _ = writeln!(text, "failed {}: {class} (seeds {})", seeds.len(), shown.join(", "));
        }
        let by: Vec<String> = self.numerics.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let _ = write!(
            text,
            "{} programs, {} with loops: {} agree ({}; {} by raising), {} fail, {} refused, {} invalid, {} left to the platform; \
             {} elements, {} undecided",
            self.programs,
            self.loops,
            self.agree,
            by.join(", "),
            self.raised,
            self.failures.len(),
            self.refusals(),
            self.invalid.values().sum::<u64>(),
            self.undefined,
            self.elements,
            self.undecided
        );
        text
    }
}

/// Answers cases, a line each, until there are no more: the process that may crash.
///
/// # Errors
/// If the rules do not load, or there is no Python.
pub fn serve() -> Result<(), String> {
    let mut bench = Bench::new()?;
    let mut answers = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let case: Case = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        let verdict = bench.verdict(&case);
        let mut answer = serde_json::to_string(&verdict).map_err(|error| error.to_string())?;
        answer.push('\n');
        answers.write_all(answer.as_bytes()).and_then(|()| answers.flush()).map_err(|error| error.to_string())?;
    }
    let times = bench.times;
    let seconds = |time: Duration| time.as_secs_f64();
    let mut told = std::io::stderr().lock();
    let _ = writeln!(
        told,
        "NumPy {:.1} s, normal forms {:.1} s, schedules {:.1} s, LLVM {:.1} s, tolerances {:.1} s",
        seconds(times.numpy),
        seconds(times.normalize),
        seconds(times.schedule),
        seconds(times.compile),
        seconds(times.judge)
    );
    Ok(())
}

/// A process that [`serve`]s.
struct Server {
    executable: PathBuf,
    running: Option<(Child, ChildStdin, Receiver<String>)>,
}

impl Server {
    fn verdict(&mut self, case: &Case, deadline: Duration) -> Result<Verdict, String> {
        if self.running.is_none() {
            let mut child = Command::new(&self.executable)
                .arg(SERVE)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                // Ctrl-C is for the process that counts.
                .process_group(0)
                .spawn()
                .map_err(|error| format!("{}: {error}", self.executable.display()))?;
            let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
                return Err("the process has no pipes".to_owned());
            };
            let (sender, receiver) = channel();
            std::thread::spawn(move || {
                for line in BufReader::new(answers).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
            self.running = Some((child, requests, receiver));
        }
        let Some((child, requests, answers)) = &mut self.running else { return Err("no process".to_owned()) };
        let mut line = serde_json::to_string(case).map_err(|error| error.to_string())?;
        line.push('\n');
        // A process that has ended is told below.
        let _ = requests.write_all(line.as_bytes()).and_then(|()| requests.flush());
        let before = busy(child.id());
        let verdict = loop {
            match answers.recv_timeout(LOOK) {
                Ok(line) => return serde_json::from_str(&line).map_err(|error| error.to_string()),
                Err(RecvTimeoutError::Timeout) if busy(child.id()).saturating_sub(before) < deadline => {}
                Err(RecvTimeoutError::Timeout) => {
                    let what = format!("it computes for more than {} s", deadline.as_secs());
                    break Verdict::Wrong { class: "hang".to_owned(), what };
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let ended = child.wait().map(|status| status.to_string()).unwrap_or_default();
                    break Verdict::Wrong { class: format!("crash: {ended}"), what: ended };
                }
            }
        };
        self.end();
        Ok(verdict)
    }

    fn busy(&self) -> Duration {
        self.running.as_ref().map_or(Duration::ZERO, |(child, _, _)| busy(child.id()))
    }

    fn end(&mut self) {
        if let Some((mut child, requests, _)) = self.running.take() {
            drop(requests);
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Lets the process end by itself, so that it says how long the stages took.
    fn close(&mut self) {
        if let Some((mut child, requests, _)) = self.running.take() {
            drop(requests);
            let _ = child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// The time that a process has computed, so that a busy machine is no hang.
fn busy(process: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // After the name in brackets: the fields from the third on; the 14th and 15th are ticks of a hundredth.
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ').skip(11).take(2);
    Duration::from_millis(fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
}

/// The case of a seed.
pub fn case(seed: u64, program: &Generated, slice: &Slice) -> Case {
    let mut random = SplitMix64::new(seed ^ 0x6A09_E667);
    let drawn = match random.next_below(10) {
        0..4 => Numerics::Exact,
        4..8 => Numerics::Reassociate,
        _ => Numerics::Algebraic,
    };
    let schedule = if random.next_below(3) == 0 { 0 } else { 1 + random.next_below(1 << 20) };
    Case {
        seed,
        source: program.print(),
        params: program.params.clone(),
        values: slice.values.unwrap_or_else(|| values(seed)),
        numerics: slice.numerics.unwrap_or(drawn),
        schedule,
        replay: random.next_below(16) == 0,
        plant: slice.plant,
    }
}

/// What comes of cases, by processes of `executable`.
///
/// # Errors
/// As [`run`].
pub fn verdicts(cases: &[Case], executable: &Path) -> Result<Vec<Verdict>, String> {
    let mut server = Server { executable: executable.to_owned(), running: None };
    cases.iter().map(|case| server.verdict(case, DEADLINE)).collect()
}

/// Runs a slice by processes of `executable`, until `stop` says so; `tell` hears of each failure at once.
///
/// # Errors
/// If the process does not start, or there is no Python.
pub fn run(
    slice: &Slice,
    executable: &Path,
    stop: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(&Failure),
) -> Result<Counts, String> {
    let mut server = Server { executable: executable.to_owned(), running: None };
    let mut counts = Counts::default();
    for seed in slice.seed..slice.seed + slice.programs {
        if stop() {
            break;
        }
        let program = generate(seed);
        let own = case(seed, &program, slice);
        let begun = server.busy();
        let verdict = server.verdict(&own, slice.deadline)?;
        counts.programs += 1;
        counts.loops += u64::from(has_loops(seed));
        let took = server.busy().saturating_sub(begun);
        if took > Duration::from_secs(2) {
            counts.slow.push((seed, took));
        }
        match verdict {
            Verdict::Agrees { undecided, elements, raised } => {
                counts.agree += 1;
                counts.raised += u64::from(raised);
                counts.elements += elements as u64;
                counts.undecided += undecided as u64;
                *counts.numerics.entry(own.numerics.name()).or_default() += 1;
                for construct in program.constructs() {
                    *counts.constructs.entry(construct).or_default() += 1;
                }
            }
            Verdict::Refused { reason } => {
                counts.refused.entry(without_numbers(&reason)).or_insert((0, seed)).0 += 1;
            }
            Verdict::Invalid { reason } => *counts.invalid.entry(without_numbers(&reason)).or_default() += 1,
            Verdict::Undefined => counts.undefined += 1,
            Verdict::Wrong { class, what } => {
                let known = counts.failures.iter().filter(|failure| failure.class == class).count();
                let (source, report) = if known < slice.shrunk {
                    cut_down(&mut server, slice, &own, program, &class)?
                } else {
                    (String::new(), format!("{what}\n{}", again(&own, slice)))
                };
                let failure = Failure { seed, class, report, source };
                tell(&failure);
                counts.failures.push(failure);
            }
        }
    }
    server.close();
    Ok(counts)
}

/// The smallest program that fails in the same class, and its report.
fn cut_down(
    server: &mut Server,
    slice: &Slice,
    own: &Case,
    program: Generated,
    class: &str,
) -> Result<(String, String), String> {
    let mut simple = own.clone();
    let mut words = String::new();
    let mut failed: Option<String> = None;
    let begun = Instant::now();
    let mut fails =
        |server: &mut Server, case: &Case| match server.verdict(case, slice.deadline.min(Duration::from_secs(5))) {
            Ok(Verdict::Wrong { class: found, what }) if found == class => {
                words = what;
                true
            }
            Ok(_) => false,
            Err(error) => {
                failed = Some(error);
                false
            }
        };
    // The plainest of everything first.
    for plainer in [
        Case { schedule: 0, ..simple.clone() },
        Case { values: Values::Ordinary, ..simple.clone() },
        Case { values: Values::Small, ..simple.clone() },
        Case { schedule: 0, values: Values::Small, ..simple.clone() },
        Case { replay: false, ..simple.clone() },
    ] {
        let plainer = Case {
            schedule: plainer.schedule.min(simple.schedule),
            values: if plainer.values == own.values { simple.values } else { plainer.values },
            replay: plainer.replay && simple.replay,
            ..plainer
        };
        if fails(server, &plainer) {
            simple = plainer;
        }
    }
    let of = |program: &Generated| Case { source: program.print(), params: program.params.clone(), ..simple.clone() };
    let smallest = shrink(&program, &mut |program| begun.elapsed() < SHRINKING && fails(server, &of(program)));
    let last = of(&smallest);
    fails(server, &last);
    if let Some(error) = failed {
        return Err(error);
    }
    let inputs: Vec<String> = last
        .params
        .iter()
        .map(|param| format!("{} = {}", param.name, shown(&super::inputs::draw(param, last.seed, last.values))))
        .collect();
    let report = format!(
        "{class}\n{words}\n{}\n{}\nnumerics {}, schedule {}, values {:?}; {}",
        last.source,
        inputs.join("\n"),
        last.numerics,
        last.schedule,
        last.values,
        again(own, slice)
    );
    Ok((last.source, report))
}

/// An input as Python writes it, if it is short.
fn shown(tensor: &moat_optimizer::value::tensor::Tensor) -> String {
    let values: Vec<String> = (0..tensor.len().min(40))
        .map(|at| match tensor.get(at) {
            moat_optimizer::value::dtype::Literal::Bool(value) => if value { "True" } else { "False" }.to_owned(),
            moat_optimizer::value::dtype::Literal::Int(value) => value.to_string(),
            moat_optimizer::value::dtype::Literal::Float(bits) => format!("{:?}", f64::from_bits(bits)),
        })
        .collect();
    let more = if tensor.len() > 40 { ", …" } else { "" };
    format!("{}{:?} [{}{more}]", tensor.dtype, tensor.shape, values.join(", "))
}

fn again(case: &Case, slice: &Slice) -> String {
    let numerics = slice.numerics.map(|numerics| format!(" --numerics {numerics}")).unwrap_or_default();
    format!("again: cargo run -p moat-tests --bin fuzz_numpy -- --seed {} --programs 1{numerics}", case.seed)
}
