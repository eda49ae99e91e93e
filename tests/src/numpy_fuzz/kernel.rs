//! One program through frontend, normal forms, schedule and code generator, and its kernel against NumPy.
//!
//! Input: a [`Case`], output: a [`Verdict`]; both are lines of JSON between the processes of a run. A panic is a verdict;
//! a crash or a hang is for the process that waits to see.

use super::inputs::{Values, draw};
use super::oracle::{Judged, Oracle, Outcome, Wrong, unchanged};
use super::program::Param;
use crate::kernels;
use crate::pipeline::in_other_orders;
use crate::seeded::Seeded;
use moat_codegen::host_target;
use moat_codegen::{CodegenError, CompileOptions, CompiledNest};
use moat_optimizer::apply::apply;
use moat_optimizer::frontend::{FrontendErrors, ParseOptions, parse};
use moat_optimizer::nest::target::Target;
use moat_optimizer::normalize::{NormalizeConfig, Prepared, normalize_prepared, prepare};
use moat_optimizer::program::expr::Program;
use moat_optimizer::program::verify::verify;
use moat_optimizer::space::{Choose, ScheduleSpace};
use moat_optimizer::storage::settle;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::{Data, Tensor};
use moat_rules::RuleBase;
use moat_rules::schedule_rules::ScheduleRules;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// One program and how it is compiled.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// Decides inputs and schedule.
    pub seed: u64,
    /// The file's text.
    pub source: String,
    /// The parameters of its function `f`.
    pub params: Vec<Param>,
    /// What its inputs look like.
    pub values: Values,
    /// The promise.
    pub numerics: Numerics,
    /// Which of what the space offers: 0 is the default of the source form.
    pub schedule: u64,
    /// Whether the derivation is replayed.
    pub replay: bool,
    /// What is done to the kernel's results, to see that it is noticed.
    pub plant: Option<Plant>,
}

/// A fault on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plant {
    /// The last float is off by a thousandth.
    Off,
    /// The last NaN or infinity is 0.
    LoseNan,
    /// An integer or bool is another one.
    OtherInteger,
    /// What is written to an argument is not.
    KeepArgument,
    /// An exception is none.
    NoError,
    /// The kernel does not come back.
    Hang,
    /// The process ends.
    Crash,
}

/// What came of a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Verdict {
    /// NumPy and the kernel agree.
    Agrees {
        /// Elements that hang on a decision.
        undecided: usize,
        /// Elements.
        elements: usize,
        /// Both raise an error.
        raised: bool,
    },
    /// The frontend refuses the program.
    Refused {
        /// The first message.
        reason: String,
    },
    /// The frontend refuses what NumPy does, too.
    Invalid {
        /// NumPy's exception.
        reason: String,
    },
    /// NumPy leaves the result to the platform.
    Undefined,
    /// They differ.
    Wrong {
        /// The class, which shrinking keeps.
        class: String,
        /// The words.
        what: String,
    },
}

/// What all cases share: rules, loaded once, and Python.
pub struct Bench {
    rules: RuleBase,
    schedule_rules: ScheduleRules,
    prepared: Vec<(Numerics, Prepared)>,
    target: Target,
    oracle: Oracle,
    /// Time in each stage.
    pub times: Times,
}

/// Time of this thread in each stage, and time waited for Python.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// NumPy.
    pub numpy: Duration,
    /// Frontend and normal forms.
    pub normalize: Duration,
    /// The space of schedules, and the nest.
    pub schedule: Duration,
    /// LLVM.
    pub compile: Duration,
    /// Tolerances.
    pub judge: Duration,
}

/// Where the last panic was, and its words.
static PANIC: Mutex<String> = Mutex::new(String::new());

impl Bench {
    /// Loads the rules and starts Python; panics no longer print, but are verdicts.
    ///
    /// # Errors
    /// If either fails.
    pub fn new() -> Result<Bench, String> {
        std::panic::set_hook(Box::new(|info| {
            if let Ok(mut last) = PANIC.lock() {
                // The first functions of this project on the stack say more than the place, which may be in a library.
                let stack = std::backtrace::Backtrace::force_capture().to_string();
                let own = stack.lines().filter(|line| line.contains(" moat_") && !line.contains("moat_tests"));
                let own: Vec<&str> =
                    own.filter_map(|line| line.split_once(": ").map(|(_, name)| name)).take(3).collect();
                *last = format!("{}: {info}", own.join(" < "));
            }
        }));
        let rules = RuleBase::standard().map_err(|error| error.to_string())?;
        let mut prepared = Vec::new();
        for numerics in [Numerics::Exact, Numerics::Reassociate, Numerics::Algebraic] {
            prepared.push((numerics, prepare(&rules, numerics).map_err(|error| error.to_string())?));
        }
        Ok(Bench {
            rules,
            schedule_rules: ScheduleRules::standard(),
            prepared,
            target: host_target(),
            oracle: Oracle::start()?,
            times: Times::default(),
        })
    }

    /// Runs one case.
    pub fn verdict(&mut self, case: &Case) -> Verdict {
        match catch_unwind(AssertUnwindSafe(|| self.run(case))) {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(Wrong { class, what })) => Verdict::Wrong { class, what },
            Err(_) => {
                let what = PANIC.lock().map(|last| last.clone()).unwrap_or_default();
                Verdict::Wrong { class: format!("panic: {}", without_numbers(&what)), what }
            }
        }
    }

    fn run(&mut self, case: &Case) -> Result<Verdict, Wrong> {
        let inputs: Vec<Tensor> = case.params.iter().map(|param| draw(param, case.seed, case.values)).collect();
        let begun = Instant::now();
        let outcome = self.oracle.run(&case.source, &inputs);
        self.times.numpy += begun.elapsed();
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(what) => {
                self.oracle = Oracle::start().map_err(|what| Wrong::new("oracle", what))?;
                return Err(Wrong::new("oracle", what));
            }
        };
        match case.plant {
            Some(Plant::Hang) => loop {
                std::hint::spin_loop();
            },
            Some(Plant::Crash) => std::process::abort(),
            Some(Plant::Off | Plant::LoseNan | Plant::OtherInteger | Plant::KeepArgument | Plant::NoError) | None => {}
        }
        let begun = busy();
        let options = ParseOptions { function: Some("f".to_owned()), ..ParseOptions::default() };
        let program = match (parse("f.py", &case.source, &options), &outcome) {
            (Ok(workload), _) => workload.program,
            (Err(_), Outcome::Raised(reason)) => return Ok(Verdict::Invalid { reason: reason.clone() }),
            (Err(errors), _) => return Ok(Verdict::Refused { reason: reason(&errors) }),
        };
        verify(&program).map_err(|error| Wrong::new("internal: program", error.to_string()))?;
        if let Outcome::Ran { undefined: true, .. } = outcome {
            return Ok(Verdict::Undefined);
        }
        let kernel = self.compile(case, &program, begun)?;
        let found = kernels::call(&kernel, &program, &inputs);
        let planted = case.plant;
        let (results, arguments) = match (outcome, &found) {
            (Outcome::Ran { results, arguments, .. }, Ok(_)) => (results, arguments),
            (Outcome::Ran { .. }, Err(error)) => {
                return Err(Wrong::new("error where NumPy has none", error.to_string()));
            }
            (Outcome::Raised(_), Err(CodegenError::Status { .. })) if planted != Some(Plant::NoError) => {
                return Ok(Verdict::Agrees { undecided: 0, elements: 0, raised: true });
            }
            (Outcome::Raised(reason), _) => {
                return Err(Wrong::new(format!("no error: {}", without_numbers(&reason)), reason));
            }
            (Outcome::Foreign(dtype), _) => {
                return Err(Wrong::new("type", format!("NumPy gives an array of {dtype}")));
            }
        };
        let mut found = found.map_err(|error| Wrong::new("internal: call", error.to_string()))?;
        let returned = program.results().len() - program.mutated.len();
        if returned != results.len() {
            let what = format!("NumPy returns {} arrays, the kernel {returned}", results.len());
            return Err(Wrong::new("number of results", what));
        }
        plant(planted, &mut found, returned);
        for (at, (before, after)) in inputs.iter().zip(&arguments).enumerate() {
            if !program.mutated.contains(&at) && !unchanged(before, after) {
                let what = format!("NumPy writes to the argument `{}`, the kernel does not", case.params[at].name);
                return Err(Wrong::new("argument: not written", what));
            }
        }
        // What the arguments hold, by argument.
        let kept: Vec<Option<&Tensor>> = (0..inputs.len())
            .map(|at| {
                let place = program.mutated.iter().position(|&param| param == at)?;
                if planted == Some(Plant::KeepArgument) { Some(&inputs[at]) } else { found.get(returned + place) }
            })
            .collect();
        let found: Vec<Option<&Tensor>> = found[..returned].iter().map(Some).chain(kept).collect();
        let expected: Vec<Tensor> = results.into_iter().chain(arguments).collect();
        let elements = expected.iter().map(Tensor::len).sum();
        let begun = Instant::now();
        let judged = Judged {
            source: &case.source,
            inputs: &inputs,
            numerics: case.numerics,
            expected: &expected,
            returned,
            found: &found,
        };
        let undecided = self.oracle.judge(&judged);
        self.times.judge += begun.elapsed();
        Ok(Verdict::Agrees { undecided: undecided?, elements, raised: false })
    }

    /// A form and a schedule, by the case's numbers, as a loaded kernel.
    fn compile(&mut self, case: &Case, program: &Program, begun: Duration) -> Result<CompiledNest, Wrong> {
        let internal =
            |stage: &str, error: String| Wrong::new(format!("internal: {stage}: {}", without_numbers(&error)), error);
        let mut choose = Seeded::new(case.schedule);
        let Some((_, prepared)) = self.prepared.iter().find(|(numerics, _)| *numerics == case.numerics) else {
            return Err(Wrong::new("internal: numerics", ""));
        };
        let max_forms = if case.schedule == 0 { 1 } else { 3 };
        let config = NormalizeConfig { max_forms, replay: case.replay, ..NormalizeConfig::default() };
        let forms = normalize_prepared(program, &self.rules, prepared, &config)
            .map_err(|error| internal("normal forms", error.to_string()))?
            .forms;
        let mut forms: Vec<_> = if case.schedule == 0 {
            forms
        } else {
            let orders: Vec<_> = forms.iter().flat_map(|form| in_other_orders(form, case.numerics)).collect();
            forms.into_iter().chain(orders).collect()
        };
        if forms.is_empty() {
            return Err(Wrong::new("internal: no form", ""));
        }
        let at = if case.schedule == 0 { 0 } else { choose.below(forms.len()) };
        let form = settle(&forms.swap_remove(at).normal_form)
            .map_err(|error| internal("a form breaks its invariants", error.to_string()))?;
        self.times.normalize += busy().saturating_sub(begun);
        let begun = busy();
        let threads = if case.schedule % 5 == 4 { 2 } else { 1 };
        let space = ScheduleSpace::new(&form, &self.target, &self.schedule_rules, case.numerics, threads)
            .map_err(|error| internal("schedules", error.to_string()))?;
        let schedule = if case.schedule.is_multiple_of(2) { space.default() } else { space.sample(&mut choose) };
        let nest = apply(&form, &schedule).map_err(|error| internal("apply", error.to_string()))?;
        self.times.schedule += busy().saturating_sub(begun);
        let begun = busy();
        let options =
            CompileOptions { target: self.target.clone(), numerics: case.numerics, threads, function: "f".to_owned() };
        let kernel = CompiledNest::load(&nest, &options).map_err(|error| internal("code", error.to_string()));
        self.times.compile += busy().saturating_sub(begun);
        kernel
    }
}

/// The time that this thread has computed.
fn busy() -> Duration {
    getrusage(UsageWho::RUSAGE_THREAD)
        .map(|usage| usage.user_time() + usage.system_time())
        .map_or(Duration::ZERO, |time| Duration::from_micros(time.num_microseconds().cast_unsigned()))
}

/// Does to results what is to be noticed.
fn plant(fault: Option<Plant>, results: &mut [Tensor], returned: usize) {
    let Some(fault) = fault else { return };
    for result in &mut results[..returned] {
        match (&mut result.data, fault) {
            (Data::F64(v), Plant::Off) => v.iter_mut().rev().take(1).for_each(|x| *x *= 1.001),
            (Data::F32(v), Plant::Off) => v.iter_mut().rev().take(1).for_each(|x| *x *= 1.001),
            (Data::F64(v), Plant::LoseNan) => {
                v.iter_mut().rev().filter(|x| !x.is_finite()).take(1).for_each(|x| *x = 0.0);
            }
            (Data::F32(v), Plant::LoseNan) => {
                v.iter_mut().rev().filter(|x| !x.is_finite()).take(1).for_each(|x| *x = 0.0);
            }
            (Data::I64(v), Plant::OtherInteger) => v.iter_mut().take(1).for_each(|x| *x ^= 1),
            (Data::I32(v), Plant::OtherInteger) => v.iter_mut().take(1).for_each(|x| *x ^= 1),
            (Data::Bool(v), Plant::OtherInteger) => v.iter_mut().take(1).for_each(|x| *x ^= 1),
            (_, _) => {}
        }
    }
}

/// The first message of a refusal, which is counted by [`without_numbers`].
fn reason(errors: &FrontendErrors) -> String {
    errors.errors.first().map(|error| error.message.clone()).unwrap_or_default()
}

/// A message without what names this program's things: digits, and what stands in quotes.
pub fn without_numbers(text: &str) -> String {
    let mut plain = String::new();
    let mut quoted: Option<char> = None;
    for c in text.lines().next().unwrap_or_default().chars() {
        match quoted {
            Some(quote) if c == quote => quoted = None,
            Some(_) => {}
            None if c == '\'' || c == '`' => {
                quoted = Some(c);
                plain.push('…');
            }
            None if c.is_ascii_digit() => {
                if !plain.ends_with('#') {
                    plain.push('#');
                }
            }
            None => plain.push(c),
        }
    }
    plain
}
