//! Whether a schedule is legal for a normal form: facts for the ascent program of
//! [`moat_rules::legality`], and its verdict in words.
//!
//! Input: a [`NormalForm`], a [`Schedule`], the [`Numerics`] granted. Output: nothing, or every way in
//! which the schedule is illegal. No cost is considered here: a foolish schedule is legal.

use crate::dependence::access::touches;
use crate::dependence::between::{Dependence, reads, self_dependences};
use crate::dependence::movable::{Fixed, fixed};
use crate::form::access::{axes_of, indices, loads, stays_within};
use crate::form::context::{Context, bounding_box, contexts, extremes};
use crate::form::normal_form::{Def, NormalForm, Piece};
use crate::form::scalar_tree::{Access, Source};
use crate::integer::range::loop_of;
use crate::schedule::{Place, Schedule};
use crate::value::numerics::Numerics;
use moat_rules::dependence::{Derived, Direction};
pub use moat_rules::legality::LegalityRules;
use moat_rules::legality::{self as rules, Facts, RULES};
use thiserror::Error;

/// One way in which a schedule is illegal.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Illegal {
    /// The stage.
    pub stage: usize,
    /// The rule that refuses it, e.g. `together/carried`.
    pub rule: &'static str,
    /// What is wrong, with names.
    pub message: String,
}

/// The facts about a form that hold under every schedule, computed once.
#[derive(Clone, Debug)]
pub struct FormFacts {
    facts: Facts,
    names: Vec<String>,
    /// For each stage the dependences through states that fix its place, in words.
    fixed: Vec<Vec<String>>,
}

impl FormFacts {
    /// The facts of `form` when `numerics` is granted.
    pub fn new(form: &NormalForm, numerics: Numerics) -> FormFacts {
        let mut facts = Facts::default();
        let contexts = contexts(form);
        for (stage, def) in form.defs.iter().enumerate() {
            let points = def.axes.len();
            facts.axes.extend((0..axes_of(def)).map(|axis| (stage, axis, axis >= points)));
            let carried = self_dependences(def);
            let uncarried = uncarried_folds(def, &carried);
            for (number, dependence) in carried.into_iter().chain(uncarried).enumerate() {
                let relaxed =
                    dependence.fold.is_some_and(|fold| numerics != Numerics::Exact || fold.reorders_exactly(def.dtype));
                facts.dependences.push((stage, number, relaxed));
                let directions = dependence.directions.into_iter().enumerate();
                facts.directions.extend(directions.map(|(axis, direction)| (stage, number, axis, direction)));
            }
            for piece in &def.pieces {
                for (axis, range) in piece.domain.iter().enumerate() {
                    for bound in range.lo.iter().chain(&range.hi) {
                        let axes = bound.terms.iter().filter(|term| loop_of(term.0).is_none());
                        facts.bounds.extend(axes.map(|&(other, _)| (stage, axis, other)));
                    }
                }
                if piece.fold.is_some() {
                    facts.folds.push((stage,));
                }
            }
            if def.pieces.len() > 1 {
                facts.pieced.push((stage,));
            }
            if let Some(piece) = def.pieces.first() {
                load_facts(form, (stage, &contexts[stage]), piece, &mut facts);
            }
        }
        for read in reads(form) {
            facts.reads.push((read.consumer, read.producer));
            if read.flat {
                facts.flat_reads.push((read.consumer, read.producer));
            }
        }
        let fixed = fixed(form);
        let stored = fixed.iter().enumerate().filter(|(_, why)| why.is_some());
        facts.results = stored.map(|(def, _)| (def,)).collect();
        facts.bounds.sort_unstable();
        facts.bounds.dedup();
        facts.folds.dedup();
        let fixed = fixed.into_iter().enumerate().map(|(stage, why)| reasons(form, stage, why)).collect();
        FormFacts { facts, names: form.defs.iter().map(|def| def.name.clone()).collect(), fixed }
    }

    /// What the dependences alone allow.
    pub fn derive(&self) -> Derived {
        rules::derive(&self.facts)
    }

    /// Checks one schedule.
    ///
    /// # Errors
    /// Every violation, in order of stages.
    pub fn check(&self, schedule: &Schedule, legality: &LegalityRules) -> Result<(), Vec<Illegal>> {
        if schedule.stages.len() != self.names.len() {
            let (found, expected) = (schedule.stages.len(), self.names.len());
            let message = format!("the schedule has {found} stages, the form {expected} definitions");
            return Err(vec![Illegal { stage: 0, rule: "schedule/stages", message }]);
        }
        let violations = rules::check(self.request(schedule), legality);
        if violations.is_empty() {
            return Ok(());
        }
        let describe = |rule: &str| RULES.iter().find(|known| known.0 == rule).map_or("illegal", |known| known.1);
        Err(violations
            .into_iter()
            .map(|violation| Illegal {
                stage: violation.stage,
                rule: violation.rule,
                message: format!(
                    "{}: {} ({} {}){}",
                    self.names[violation.stage],
                    describe(violation.rule),
                    subject(violation.rule),
                    violation.subject,
                    self.dependence(violation.stage, violation.rule, violation.subject)
                ),
            })
            .collect())
    }

    /// The dependence that a refused order or place would break, in words; empty for the other rules.
    fn dependence(&self, stage: usize, rule: &str, subject: usize) -> String {
        let name = |stage: usize| self.names.get(stage).map_or("", String::as_str);
        match rule {
            "order/reversed" | "together/carried" | "parallel/carried" => {
                let of_stage = |number: usize| {
                    let rows = self.facts.directions.iter().filter(|row| row.0 == stage && row.1 == number);
                    rows.map(|row| (row.2, row.3)).collect::<Vec<_>>()
                };
                let carried = |directions: &[(usize, Direction)]| {
                    directions.iter().any(|(axis, direction)| *axis == subject && direction.may_differ())
                };
                let numbers = self.facts.dependences.iter().filter(|row| row.0 == stage).map(|row| row.1);
                let Some(directions) = numbers.map(of_stage).find(|directions| carried(directions)) else {
                    return String::new();
                };
                let symbols: Vec<String> = directions.iter().map(|row| row.1.symbol().to_string()).collect();
                format!(": the fold of `{0}` depends on itself, `{0}` → `{0}` ({1})", name(stage), symbols.join(", "))
            }
            "at/outside" | "at/consumer" | "at/flat" | "inline/flat" | "at/result" | "inline/result" => {
                let readers = self.facts.reads.iter().filter(|read| read.1 == stage);
                let mut all: Vec<String> = readers
                    .map(|read| format!("flow dependence from `{}` to `{}`", name(stage), name(read.0)))
                    .collect();
                all.extend(self.fixed[stage].iter().cloned());
                if all.is_empty() { String::new() } else { format!(": {}", all.join(", ")) }
            }
            _ => String::new(),
        }
    }

    fn request(&self, schedule: &Schedule) -> Facts {
        let mut facts = self.facts.clone();
        for (stage, decisions) in schedule.stages.iter().enumerate() {
            let loops = decisions.loops.len();
            facts.loop_counts.push((stage, loops));
            let steps = decisions.loops.iter().enumerate();
            facts.loops.extend(steps.map(|(position, step)| (stage, position, step.axis, step.step)));
            let tiles = decisions.tile.iter().enumerate();
            facts.tiles.extend(tiles.map(|(at, tile)| (stage, loops + at, tile.axis, tile.unroll, tile.lanes)));
            if decisions.parallel {
                facts.parallel.push((stage, decisions.serial));
            }
            match decisions.place {
                Place::Root => facts.root.push((stage,)),
                Place::Inline => facts.inline.push((stage,)),
                Place::At { consumer, depth } => facts.at.push((stage, consumer, depth)),
            }
            for (number, pack) in decisions.packs.iter().enumerate() {
                facts.packs.push((stage, number, pack.load, pack.depth));
                let digits = pack.layout.iter().enumerate();
                facts.digits.extend(digits.map(|(at, digit)| (stage, number, at, digit.axis, digit.step)));
            }
        }
        facts
    }
}

/// Why a stage must stay where it is, in words.
fn reasons(form: &NormalForm, stage: usize, why: Option<Fixed>) -> Vec<String> {
    let name = |id: usize| form.defs[id].name.as_str();
    let through = |state: usize| form.states[state].name.as_str();
    match why {
        None => Vec::new(),
        Some(Fixed::Apart { reader }) => vec![format!("`{}` reads it in another loop", name(reader))],
        Some(Fixed::Uncovered { reader }) => vec![format!("`{}` may read more than it computes", name(reader))],
        Some(Fixed::Overwritten { state, by }) => {
            let (reads, writes) = (name(stage), name(by));
            vec![format!("dependence through `{}`, `{reads}` reads, `{writes}` writes", through(state))]
        }
        Some(Fixed::Stored) => {
            let Some(update) = &form.defs[stage].update else { return Vec::new() };
            let reads =
                |id: &usize| touches(&form.defs[*id]).iter().any(|touch| !touch.writes && touch.state == update.state);
            let readers = (0..form.defs.len()).filter(|&id| id != stage).filter(reads);
            let through = through(update.state);
            readers
                .map(|id| format!("dependence through `{through}`, `{}` writes, `{}` reads", name(stage), name(id)))
                .collect()
        }
    }
}

fn subject(rule: &str) -> &'static str {
    match rule.split_once('/') {
        Some(("inline" | "at", "depth")) | Some(("pack", "depth")) => "depth",
        Some(("inline" | "at", _)) => "stage",
        Some(("pack", "axes" | "digits")) => "axis",
        Some(("pack", _)) => "load",
        Some(_) | None => "axis",
    }
}

/// Fold axes that no dependence links, since no element has two terms along them: partial accumulators would start from
/// the neutral element all the same, and a sum of floats with it is another one (−0 + 0).
fn uncarried_folds(def: &Def, carried: &[Dependence]) -> Vec<Dependence> {
    let mut found: Vec<Dependence> = Vec::new();
    for piece in &def.pieces {
        for axis in def.axes.len()..piece.domain.len() {
            let links = |dependence: &Dependence| dependence.directions.get(axis) != Some(&Direction::Equal);
            if !carried.iter().chain(&found).any(links) {
                let mut directions = vec![Direction::Equal; axes_of(def)];
                directions[axis] = Direction::Less;
                found.push(Dependence { directions, fold: piece.fold });
            }
        }
    }
    found
}

fn load_facts(form: &NormalForm, (stage, context): (usize, &Context), piece: &Piece, facts: &mut Facts) {
    let def = &form.defs[stage];
    let bounds = bounding_box(&piece.domain, &def.scope);
    for (load, (source, access)) in loads(piece).enumerate() {
        // What a gather reads is known to nobody: it is no block that could be packed.
        if !matches!(access, Access::Gather(_)) {
            facts.loads.push((stage, load));
        }
        if let Source::Def(read) = source {
            facts.load_sources.push((stage, load, read));
        }
        for axis in 0..piece.domain.len().max(def.axes.len()) {
            if indices(access).iter().any(|index| index.coefficient(axis) != 0) {
                facts.load_axes.push((stage, load, axis));
            }
        }
        let all = form.source_extents(source).unwrap_or_default();
        let extents: Vec<usize> = match access {
            Access::Axes(_) => all.to_vec(),
            Access::Flat(_) | Access::Gather(_) => vec![all.iter().product()],
        };
        let inside = |bounds: &[(i64, i64)]| {
            indices(access).iter().zip(&extents).all(|(index, &extent)| {
                let at = |v: usize| bounds.get(v).copied().unwrap_or_else(|| extremes(&def.scope, v));
                let (low, high) = index.bounds(at);
                low >= 0 && i64::try_from(extent).is_ok_and(|extent| high < extent)
            })
        };
        let within = |bounds: &[(i64, i64)]| stays_within(piece, bounds, context, (indices(access), &extents));
        if bounds.as_deref().is_none_or(|bounds| inside(bounds) || within(bounds)) {
            facts.load_boxed.push((stage, load));
        }
    }
}

/// Checks a schedule against a form.
///
/// # Errors
/// Every way in which it is illegal.
pub fn check(
    form: &NormalForm,
    schedule: &Schedule,
    numerics: Numerics,
    legality: &LegalityRules,
) -> Result<(), Vec<Illegal>> {
    FormFacts::new(form, numerics).check(schedule, legality)
}
