//! Random programs under random schedules: every dependence in order, and the results of the interpreter.
//!
//! Input: a [`Case`]. Output: a [`Verdict`]. One case is one program of [`random_source`], its normal forms, and some
//! schedules of each that the space offers: samples, mutations, neighbours, and skewed tiles of every small size. Every
//! nest is checked by brute force ([`crate::source_order`], [`crate::scheduled_order`]) and evaluated; a share of the
//! cases is compiled, too.

use crate::kernels::call;
use crate::pipeline::in_other_orders;
use crate::python::to_python;
use crate::random_loops::random_source;
use crate::random_program::random_program;
use crate::scheduled_order::{self, Order};
use crate::seeded::Seeded;
use crate::source_order::SourceOrder;
use moat_codegen::host_target;
use moat_codegen::{CompileOptions, CompiledNest};
use moat_optimizer::apply::apply;
use moat_optimizer::form::normal_form::NormalForm;
use moat_optimizer::frontend::{ParseOptions, parse};
use moat_optimizer::integer::range::loop_of;
use moat_optimizer::nest::target::Target;
use moat_optimizer::nest::{LoopNest, evaluate as evaluate_nest};
use moat_optimizer::normalize::{Form, NormalizeConfig, Prepared, normalize_prepared, prepare};
use moat_optimizer::oracle::inputs;
use moat_optimizer::oracle::interpret::{Reference, interpret};
use moat_optimizer::orders::fold_parts::Cut;
use moat_optimizer::orders::scan_parts as scan;
use moat_optimizer::program::expr::Program;
use moat_optimizer::schedule::time::{Tilable, statements};
use moat_optimizer::schedule::{Band, LoopSpec, Panel, Place, Schedule, TimeTile};
use moat_optimizer::space::{Choose, ScheduleSpace};
use moat_optimizer::storage::{Schedulable, settle};
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::Tensor;
use moat_rules::RuleBase;
use moat_rules::schedule_rules::ScheduleRules;
use std::collections::BTreeSet;

/// Terms that a form may execute: beyond, brute force is too slow.
const MOST_TERMS: usize = 40_000;
/// Parts of scans of a few elements.
const SHORT: Cut = Cut { parts: 2, fewest: 2 };
/// Wild changes of each schedule that are tried.
const WILD: usize = 4;

/// One random program and how it is tested.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Decides everything.
    pub seed: u64,
    /// About how many statements the program has.
    pub size: usize,
    /// Schedules of each form, besides the default.
    pub samples: usize,
    /// Normal forms.
    pub forms: usize,
    /// Whether the nests are compiled and run as well.
    pub compile: bool,
    /// An expression of [`random_program`] instead of a program with loops.
    pub expression: bool,
}

/// What came of a case.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// All agree.
    Agrees(Counts),
    /// The program is not supported, or has too many terms.
    Refused(String),
    /// Something differs; how to reproduce it, and what.
    Differs(String),
}

/// What was tested.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Forms in another order of the program's loops and folds.
    pub orders: usize,
    /// Nests that ran.
    pub nests: usize,
    /// Kernels that ran.
    pub kernels: usize,
    /// Nests with a time loop in skewed tiles.
    pub tiled: usize,
    /// Nests with a parallel loop.
    pub parallel: usize,
    /// Pairs of instances with a dependence through a state, checked in every nest.
    pub dependences: usize,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.orders += other.orders;
        self.nests += other.nests;
        self.kernels += other.kernels;
        self.tiled += other.tiled;
        self.parallel += other.parallel;
        self.dependences += other.dependences;
    }
}

/// What all cases share: rules, loaded once.
pub struct Fuzzer {
    rules: RuleBase,
    schedule_rules: ScheduleRules,
    exact: Prepared,
    free: Prepared,
    target: Target,
}

impl Fuzzer {
    /// Loads the rules.
    ///
    /// # Errors
    /// If they do not load.
    pub fn new() -> Result<Fuzzer, String> {
        let rules = RuleBase::standard().map_err(|error| error.to_string())?;
        let prepared = |numerics| prepare(&rules, numerics).map_err(|error| error.to_string());
        let (exact, free) = (prepared(Numerics::Exact)?, prepared(Numerics::Reassociate)?);
        Ok(Fuzzer { rules, schedule_rules: ScheduleRules::standard(), exact, free, target: host_target() })
    }

    /// Runs one case.
    pub fn run(&self, case: Case) -> Verdict {
        if case.expression {
            let program = random_program(case.seed, case.size);
            return match self.verdict(case, &program) {
                Verdict::Differs(what) => Verdict::Differs(format!("{case:?}: {what}\n{}", to_python(&program))),
                other @ (Verdict::Agrees(_) | Verdict::Refused(_)) => other,
            };
        }
        let source = random_source(case.seed, case.size);
        let options = ParseOptions { function: Some("f".to_owned()), ..ParseOptions::default() };
        let program = match parse("random.py", &source, &options) {
            Ok(workload) => workload.program,
            Err(errors) => return Verdict::Refused(errors.to_string()),
        };
        match self.verdict(case, &program) {
            Verdict::Differs(what) => Verdict::Differs(format!("{case:?}: {what}\n{source}")),
            other @ (Verdict::Agrees(_) | Verdict::Refused(_)) => other,
        }
    }

    fn verdict(&self, case: Case, program: &Program) -> Verdict {
        let arguments: Result<Vec<Tensor>, _> = program
            .params
            .iter()
            .zip(0..)
            .map(|(param, at)| inputs::random(param, case.seed.wrapping_mul(31) + at))
            .collect();
        let Ok(arguments) = arguments else { return Verdict::Refused("there are no inputs".to_owned()) };
        let numerics = if case.seed.is_multiple_of(4) { Numerics::Exact } else { Numerics::Reassociate };
        let threads = if case.seed.is_multiple_of(3) { 2 } else { 1 };
        let references = match interpret(program, &arguments, numerics) {
            Ok(references) => references,
            Err(error) => return Verdict::Differs(error.to_string()),
        };
        let prepared = if numerics == Numerics::Exact { &self.exact } else { &self.free };
        let config = NormalizeConfig { max_forms: case.forms, replay: case.expression, ..NormalizeConfig::default() };
        let forms = match normalize_prepared(program, &self.rules, prepared, &config) {
            Ok(normalized) => normalized.forms,
            Err(error) => return Verdict::Refused(error.to_string()),
        };
        let mut orders: Vec<Form> = forms.iter().flat_map(|form| in_other_orders(form, numerics)).collect();
        // The programs are too small for a scan's usual parts.
        let scans =
            forms.iter().filter_map(|form| scan::cut(&form.normal_form, numerics, SHORT).map(|cut| (form, cut)));
        orders.extend(scans.map(|(form, normal_form)| Form { normal_form, ..form.clone() }).collect::<Vec<Form>>());
        let mut counts = Counts { orders: orders.len(), ..Counts::default() };
        for form in forms.into_iter().chain(orders) {
            let form = match settle(&form.normal_form) {
                Ok(form) => form,
                // `tune` refuses such a program, too.
                Err(error) => return Verdict::Refused(format!("a form breaks its invariants: {error}")),
            };
            let Some(source) = SourceOrder::of(&form, MOST_TERMS) else {
                return Verdict::Refused("it executes too many terms".to_owned());
            };
            let space = match ScheduleSpace::new(&form, &self.target, &self.schedule_rules, numerics, threads) {
                Ok(space) => space,
                Err(error) => return Verdict::Differs(error.to_string()),
            };
            let mut choose = Seeded::new(case.seed);
            let run = One { form: &form, source: &source, program, arguments: &arguments, references: &references };
            let mut all = Vec::new();
            for schedule in schedules(&space, &mut choose, case.samples) {
                if let Err(illegal) = space.check(&schedule) {
                    return Verdict::Differs(format!("the space offers what it refuses: {illegal:?}: {schedule:?}"));
                }
                // What no rule proposes may be legal as well, if it can be carried out.
                let wild = (0..WILD).map(|_| wild(&form, &schedule, &mut choose));
                let wild = wild.filter(|wild| space.is_legal(wild) && apply(&form, wild).is_ok()).collect::<Vec<_>>();
                all.push(schedule);
                all.extend(wild);
            }
            all.dedup();
            for schedule in all {
                match run.schedule(&schedule, &mut counts) {
                    Ok(nest) if case.compile => {
                        let options = CompileOptions {
                            target: self.target.clone(),
                            numerics,
                            threads,
                            function: "differential".to_owned(),
                        };
                        if let Err(what) = run.kernel(&nest, &options) {
                            return Verdict::Differs(format!("kernel: {what}: {schedule:?}"));
                        }
                        counts.kernels += 1;
                    }
                    Ok(_) => {}
                    Err(what) => return Verdict::Differs(format!("{what}: {schedule:?}")),
                }
            }
        }
        Verdict::Agrees(counts)
    }
}

/// The default, samples and what is one step away from them, most with skewed tiles of whatever size, which the rules
/// would find too small.
fn schedules(space: &ScheduleSpace, choose: &mut Seeded, count: usize) -> Vec<Schedule> {
    let mut all = vec![space.default()];
    for number in 0..count {
        let mut schedule = space.sample(choose);
        if number % 3 == 1 {
            schedule = space.mutate(&schedule, choose);
        }
        if choose.below(4) > 0 {
            schedule.time_tiles.clear();
            for Tilable { var, dim, skew, shifts, independent, panel } in space.time_loops() {
                let more = choose.below(2);
                let independent = independent && more == 0;
                let panel = panel.filter(|_| more == 0 && choose.below(4) > 0);
                let band = Band { dim, skew: skew + more, shifts, independent, panel, height: 1 + choose.below(5) };
                match schedule.time_tiles.iter_mut().find(|tile| tile.var == var) {
                    Some(tile) if choose.below(2) > 0 => tile.bands.push(band),
                    Some(_) => {}
                    None if choose.below(4) > 0 => {
                        let (time, parallel) = (1 + choose.below(5), choose.below(2) > 0);
                        schedule.time_tiles.push(TimeTile { var, time, bands: vec![band], parallel });
                    }
                    None => {}
                }
            }
            if !space.is_legal(&schedule) {
                schedule.time_tiles.iter_mut().for_each(|tile| tile.parallel = false);
            }
            // Of a loop and one inside of it, one is tiled.
            while !space.is_legal(&schedule) && schedule.time_tiles.len() > 1 {
                schedule.time_tiles.remove(choose.below(schedule.time_tiles.len()));
            }
        }
        all.push(schedule);
    }
    all
}

/// A schedule changed at random in one to three places, mostly against some rule.
fn wild(form: &NormalForm, from: &Schedule, choose: &mut Seeded) -> Schedule {
    let mut schedule = from.clone();
    for _ in 0..1 + choose.below(3) {
        let at = choose.below(schedule.stages.len());
        let count = schedule.stages.len();
        let tiles = schedule.time_tiles.len();
        let stage = &mut schedule.stages[at];
        let axes = stage.tile.len();
        match choose.below(9) {
            0 if stage.loops.len() > 1 => {
                let one = choose.below(stage.loops.len() - 1);
                stage.loops.swap(one, one + 1);
            }
            1 if axes > 1 => stage.tile.swap(choose.below(axes), 0),
            2 if axes > 0 => stage.tile[choose.below(axes)].lanes = [1, 2, 4][choose.below(3)],
            3 if axes > 0 => stage.tile[choose.below(axes)].unroll = 1 + choose.below(3),
            4 if axes > 0 => {
                let spec = LoopSpec { axis: choose.below(axes), step: 1 + choose.below(4) };
                stage.loops.insert(choose.below(stage.loops.len() + 1), spec);
            }
            5 => (stage.parallel, stage.serial) = (!stage.parallel, choose.below(2)),
            6 => {
                stage.place = match choose.below(3) {
                    0 => Place::Inline,
                    1 => Place::Root,
                    _ => Place::At { consumer: choose.below(count), depth: 1 + choose.below(2) },
                };
            }
            7 if tiles > 0 => {
                let tile = &mut schedule.time_tiles[choose.below(tiles)];
                let bands = tile.bands.len();
                let band = &mut tile.bands[choose.below(bands)];
                match choose.below(5) {
                    0 => band.skew = choose.below(3),
                    3 => band.independent = !band.independent,
                    4 => {
                        let (begins, ends) = (choose.below(4), choose.below(4));
                        band.panel = Some(Panel { begins: begins as i64 - 2, ends: ends as i64 - 1 });
                    }
                    1 => band.shifts.iter_mut().for_each(|shift| *shift = choose.below(3)),
                    _ => tile.parallel = !tile.parallel,
                }
            }
            _ => {
                if let Some(var) = form.defs[at].scope.last().and_then(|scope| loop_of(scope.variable)) {
                    let shifts = vec![0; statements(form, var).map_or(0, |all| all.len())];
                    let (dim, skew, height) = (choose.below(2), choose.below(3), 1 + choose.below(4));
                    let independent = choose.below(3) == 0;
                    let band = Band { dim, skew, shifts, independent, panel: None, height };
                    let tile = TimeTile { var, time: 1 + choose.below(4), bands: vec![band], parallel: false };
                    schedule.time_tiles.push(tile);
                }
            }
        }
    }
    schedule
}

/// A form with what its nests must compute.
struct One<'a> {
    form: &'a Schedulable,
    source: &'a SourceOrder,
    program: &'a Program,
    arguments: &'a [Tensor],
    references: &'a [Reference],
}

impl One<'_> {
    fn schedule(&self, schedule: &Schedule, counts: &mut Counts) -> Result<LoopNest, String> {
        let nest = apply(self.form, schedule).map_err(|error| error.to_string())?;
        let marked = apply(&self.source.marked, schedule).map_err(|error| format!("marked: {error}"))?;
        let inlined: BTreeSet<usize> =
            (0..self.form.defs.len()).filter(|&id| schedule.stages[id].place == Place::Inline).collect();
        for order in [Order::Written, Order::Together] {
            scheduled_order::check(self.source, &marked, &inlined, order)
                .map_err(|what| format!("order {order:?}: {what}"))?;
        }
        let results = evaluate_nest::evaluate(&nest, self.arguments).map_err(|error| error.to_string())?;
        self.compare(&results)?;
        counts.nests += 1;
        counts.dependences += self.source.dependences().count();
        counts.tiled += usize::from(!schedule.time_tiles.is_empty());
        let shared = schedule.stages.iter().any(|stage| stage.parallel);
        counts.parallel += usize::from(shared || schedule.time_tiles.iter().any(|tile| tile.parallel));
        Ok(nest)
    }

    fn kernel(&self, nest: &LoopNest, options: &CompileOptions) -> Result<(), String> {
        let kernel = CompiledNest::load(nest, options).map_err(|error| error.to_string())?;
        let results = call(&kernel, self.program, self.arguments).map_err(|error| error.to_string())?;
        self.compare(&results)
    }

    fn compare(&self, results: &[Tensor]) -> Result<(), String> {
        for (at, (reference, result)) in self.references.iter().zip(results).enumerate() {
            let shape = self.program.nodes[self.program.results()[at]].shape.clone();
            let result = Tensor { shape, ..result.clone() };
            reference.check(&result).map_err(|mismatch| format!("result {at}: {mismatch}"))?;
        }
        Ok(())
    }
}
