//! Loops whose names stand for different memory from iteration to iteration, as two names that are swapped do.
//!
//! What each name stands for when an iteration begins follows from what it stood for one iteration before. Memory that
//! an iteration makes is taken from what earlier iterations made and nobody holds any more, the first such piece. So
//! there are finitely many possibilities, and after some iterations (those that are peeled) they repeat with a period. The loop
//! is read iteration by iteration until they do; the next reading puts the peeled iterations before the loop, unrolls
//! the loop by the period, and puts what remains behind it. In each copy a name stands for one piece of memory, as in NumPy,
//! and nothing is copied: a swap is an exchange of buffers.

use super::carry::Kind;
use super::evaluate::Evaluator;
use super::facts::{Growth, MOST_PEELED, Plan};
use super::frames::Slot;
use super::open::Open;
use super::place::Here;
use super::twins::Twins;
use super::value::{Array, Eval, Value, is_memory, same};
use crate::integer::affine::Affine;
use crate::program::expr::{NodeId, Op, SectionAxis, Span, Statement};
use rustpython_ruff_python_ast as ast;
use std::collections::{BTreeMap, BTreeSet};

/// What names stand for repeats within so many iterations, or the loop is not unrolled.
const MOST_COPIES: usize = 24;

/// All unrolled loops together have at most so many copies of bodies, loops inside of others included.
const MOST_BODIES: usize = 400;

/// So often a plan may turn out not to hold, because more is known by then.
const MOST_PLANS: usize = 6;

/// A loop that counts up, and what it assigns.
pub(super) struct Counted<'s> {
    pub(super) block: &'s ast::StmtFor,
    pub(super) name: String,
    pub(super) place: Span,
    /// Its number.
    pub(super) here: Here,
    /// The first value of its own variable, and one past the last.
    pub(super) range: (Affine, Affine),
    /// Its own variable.
    pub(super) own: usize,
    /// The Python variable in terms of its own.
    pub(super) value: Affine,
    /// The names that it assigns, its variable excepted.
    pub(super) names: BTreeSet<String>,
}

/// What names hold that are read later.
type Names = BTreeMap<String, Value>;

impl<'s> Evaluator<'s> {
    /// Reads a loop copy by copy; false if it is to be read as one that carries its names, and nothing was read.
    pub(super) fn unrolled_loop(&mut self, counted: &Counted<'s>) -> bool {
        let number = counted.here.copy;
        let Some(known) = self.learned.facts.unrolled.get(&number).cloned() else { return false };
        if matches!(known.plan, Some(Err(_))) {
            return false;
        }
        // Names of memory are bound as NumPy binds them: no loop around them carries them meanwhile.
        let aside = self.names.set_arrays_aside();
        self.control.enter_unrolled();
        self.control.push_open(Open {
            number,
            frame: self.names.frame(),
            is_loop: true,
            unrolled: true,
            place: counted.place.start,
            names: counted.names.clone(),
            began: self.store.clock(),
            before: Twins::default(),
            after: Twins::default(),
        });
        if let Some(Ok(plan)) = known.plan {
            self.copies(counted, plan, &known.growth);
        } else {
            // What is read meanwhile does not count.
            self.learned.unsettled = Some(counted.place);
            self.control.enter_block();
            let before = self.learned.facts.clone();
            let found = self.explore(counted, known.least);
            self.control.leave_block();
            // If more turned out to be known of what is in it, the next reading looks again.
            let found = self.learned.facts.same_bindings(&before, number).then_some(found);
            let entry = self.learned.facts.unrolled.entry(number).or_default();
            (entry.plan, entry.growth) = match found {
                Some(Ok((plan, growth))) => (Some(Ok(plan)), growth),
                Some(Err(reason)) => (Some(Err(reason)), Growth::new()),
                None => (None, Growth::new()),
            };
        }
        self.control.pop_open();
        self.control.leave_unrolled();
        self.names.lose(&counted.name);
        let moved = |(name, slot): (&String, &Slot)| {
            let now = self.names.value(name)?;
            let moved = counted.names.contains(name) && !same(now, &slot.value) && self.fits(&slot.carried, now);
            moved.then(|| (name.clone(), now.clone()))
        };
        let moved = aside.iter().filter_map(moved).collect();
        self.names.take_back(aside);
        self.stored_together(moved, counted.place);
        true
    }

    /// The iterations before the loop, the loop, and those after it.
    fn copies(&mut self, counted: &Counted<'s>, plan: Plan, growth: &Growth) {
        let Plan { peeled, period } = plan;
        let (lo, hi) = &counted.range;
        let rest = hi.minus(lo).offset(-number(peeled));
        let Some((rounds, behind)) = self.feasible(&rest, plan) else {
            self.learned.unsettled = Some(counted.place);
            if !self.peel_more_around(counted.here.copy) {
                self.misread(counted);
            }
            return;
        };
        for copy in 0..peeled {
            self.copy(counted, copy, &Affine::constant(number(copy)));
        }
        let mut next = peeled;
        if rounds.is_constant() && rounds.constant <= 1 {
            for copy in 0..usize::try_from(rounds.constant).unwrap_or(0) * period {
                self.copy(counted, peeled + copy, &Affine::constant(number(peeled + copy)));
                next += 1;
            }
        } else {
            self.rounds(counted, plan, &rounds, growth);
            next += period;
        }
        for copy in 0..behind {
            self.copy(counted, next + copy, &rounds.times(number(period)).offset(number(peeled + copy)));
        }
    }

    /// The loop itself, whose body is as many iterations as the period.
    fn rounds(&mut self, counted: &Counted<'s>, plan: Plan, rounds: &Affine, growth: &Growth) {
        let Plan { peeled, period } = plan;
        let always = self.control.domain().proves(&rounds.offset(-1));
        let join = self.open_join(counted.names.clone(), counted.place, counted.here, Kind::Unrolled);
        let own = Affine::variable(self.control.next_variable());
        let (lo, hi) = &counted.range;
        let plain = period == 1 && counted.value == Affine::variable(counted.own);
        let shown = if plain { counted.name.clone() } else { format!("{}'", counted.name) };
        // The rounds are counted from 0, where a round is one iteration like the loop itself.
        let (range, round) = if period == 1 {
            ((lo.offset(number(peeled)), hi.clone()), own.minus(lo).offset(-number(peeled)))
        } else {
            ((Affine::constant(0), rounds.clone()), own)
        };
        let var = self.control.enter_loop(shown, range.0.clone(), range.1.clone());
        let first = self.live(counted);
        let grown = |names: &Names, evaluator: &mut Self, round: &Affine| -> Eval<Names> {
            let grow = |(name, value): (&String, &Value)| {
                let steps = growth.get(name).cloned().unwrap_or_default();
                let mut steps = steps.into_iter().chain(std::iter::repeat(0));
                let value =
                    evaluator.with_views(value, &mut |form| form.plus(&round.times(steps.next().unwrap_or(0))))?;
                Ok((name.clone(), value))
            };
            names.iter().map(grow).collect()
        };
        for (name, value) in grown(&first, self, &round).unwrap_or_default() {
            self.bind(&name, value);
        }
        for copy in 0..period {
            let at = round.times(number(period)).offset(number(peeled + copy));
            self.copy(counted, peeled + copy, &at);
        }
        let last = self.live(counted);
        let expected = grown(&first, self, &round.offset(1));
        let holds = expected.is_ok_and(|expected| {
            expected.iter().all(|(name, value)| last.get(name).is_some_and(|last| same_memory(value, last)))
        });
        self.close_branch(&join, always);
        let body = self.control.leave_loop();
        self.close_join(join, always);
        let (lo, hi) = range;
        let (end, name) = (hi.offset(-1), counted.name.clone());
        if !body.is_empty() {
            self.control.append(Statement::Loop { var, name, lo, hi, body });
        }
        if !holds {
            self.misread(counted);
        }
        // Behind the loop, views are those of its last iteration.
        for name in &counted.names {
            let Some(value) = self.names.value(name).filter(|value| is_memory(value)).cloned() else {
                continue;
            };
            let value = self.with_views(&value, &mut |form| {
                form.substitute(|other| if other == var { end.clone() } else { Affine::variable(other) })
            });
            self.bind(name, value.unwrap_or(Value::Poison));
        }
    }

    /// A plan does not hold: the next reading looks for another one, unless this one did not know all of what is in it.
    fn misread(&mut self, counted: &Counted<'s>) {
        let number = counted.here.copy;
        self.learned.unsettled = Some(counted.place);
        if !self.learned.knew_bindings(number) {
            return;
        }
        let known = self.learned.facts.unrolled.entry(number).or_default();
        known.failures += 1;
        // The first iterations may have repeated by chance.
        if let Some(Ok(plan)) = known.plan.filter(|_| known.failures > 1) {
            known.least = known.least.max(plan.peeled + 1).min(MOST_PEELED);
        }
        known.plan = if known.failures < MOST_PLANS {
            None
        } else {
            Some(Err("what its names stand for does not repeat from iteration to iteration"))
        };
    }

    /// One iteration, the one of a number counted from 0.
    fn copy(&mut self, counted: &Counted<'s>, copy: usize, at: &Affine) {
        let live = self.live(counted);
        for name in counted.names.iter().filter(|name| !live.contains_key(*name)) {
            let dead = self.names.value(name).is_some_and(is_memory);
            if dead && !self.is_live(counted, name) {
                self.names.unbind(name);
            }
        }
        let at = counted.range.0.plus(at);
        let own = counted.own;
        let value = counted.value.substitute(|var| if var == own { at.clone() } else { Affine::variable(var) });
        let outer = self.position.enter_copy(copy);
        let value = self.form_value(value);
        self.bind(&counted.name, value);
        self.control.count_copy();
        self.block(&counted.block.body);
        self.position.leave(outer);
    }

    /// Whether what a name is when an iteration begins is read in it or later.
    fn is_live(&self, counted: &Counted<'s>, name: &str) -> bool {
        let liveness = self.names.liveness();
        let (lo, hi) = &counted.range;
        let place = counted.place.start;
        let always = self.control.domain().proves(&hi.minus(lo).offset(-1));
        liveness.is_exposed(place, name)
            || liveness.is_read_after(place, name) && !(always && liveness.is_assigned_by(place, name))
    }

    /// The memory that live names hold.
    fn live(&self, counted: &Counted<'s>) -> Names {
        let live = |name: &&String| self.is_live(counted, name);
        let held = |name: &String| Some((name.clone(), self.names.value(name)?.clone()));
        counted.names.iter().filter(live).filter_map(held).filter(|(_, value)| is_memory(value)).collect()
    }

    /// Reads iteration by iteration until the memory that names stand for repeats. The names are left as they are after
    /// the loop.
    fn explore(&mut self, counted: &Counted<'s>, least: usize) -> Result<(Plan, Growth), &'static str> {
        let (lo, hi) = &counted.range;
        let trips = hi.minus(lo);
        let known = trips.is_constant().then(|| usize::try_from(trips.constant).unwrap_or(0));
        let conditions = self.control.assume([]);
        let mut heads: Vec<Names> = Vec::new();
        let mut ends: Vec<BTreeMap<String, Value>> = Vec::new();
        let mut found = Err("its names do not stand for the same memory again within 24 iterations");
        for copy in 0..=MOST_COPIES {
            let head = self.live(counted);
            let all = self.names.bound().filter(|(name, _)| counted.names.contains(*name));
            ends.push(all.map(|(name, value)| (name.clone(), value.clone())).collect());
            if known == Some(copy) {
                found = Ok((Plan { peeled: copy, period: 1 }, Growth::new()));
                break;
            }
            let before = (least..copy).rev().find_map(|at| Some((at, self.growth(heads.get(at)?, &head)?)));
            if let Some((peeled, growth)) = before {
                found = Ok((Plan { peeled, period: copy - peeled }, growth));
                break;
            }
            heads.push(head);
            if self.control.copies() > MOST_BODIES {
                found = Err("the copies of the bodies of such loops are more than 400");
                break;
            }
            if known.is_none() {
                self.control.assume([trips.offset(-number(copy) - 1)]);
            }
            self.copy(counted, copy, &Affine::constant(number(copy)));
        }
        self.control.forget(conditions);
        let (plan, growth) = found?;
        let rest = trips.offset(-number(plan.peeled));
        let Some((_, behind)) = self.feasible(&rest, plan) else {
            self.peel_more_around(counted.here.copy);
            return Err("how often it runs is not known, and so not what its names stand for after it");
        };
        // The names after the loop are those after an iteration that is as many periods earlier.
        let after = plan.peeled + behind + if behind == 0 && !matches!(known, Some(0)) { plan.period } else { 0 };
        if let Some(names) = ends.get(after.min(ends.len() - 1)).cloned() {
            for (name, value) in names {
                self.bind(&name, value);
            }
        }
        Ok((plan, growth))
    }

    /// How many whole rounds there are in the iterations behind the peeled ones, and how many iterations are behind those.
    fn feasible(&self, rest: &Affine, plan: Plan) -> Option<(Affine, usize)> {
        let (rounds, behind) = whole_rounds(rest, plan.period)?;
        (plan.peeled + behind == 0 || self.control.domain().proves(&rounds)).then_some((rounds, behind))
    }

    /// How much the subscripts of views grow, if names hold the same memory but for that.
    fn growth(&mut self, before: &Names, after: &Names) -> Option<Growth> {
        if !before.keys().eq(after.keys()) {
            return None;
        }
        let mut growth = Growth::new();
        for ((name, before), after) in before.iter().zip(after.values()) {
            if same_memory(before, after) {
                continue;
            }
            let (mut old, mut new) = (Vec::new(), Vec::new());
            let copied = |forms: &mut Vec<Affine>, form: &Affine| {
                forms.push(form.clone());
                form.clone()
            };
            self.with_views(before, &mut |form| copied(&mut old, form)).ok()?;
            self.with_views(after, &mut |form| copied(&mut new, form)).ok()?;
            let steps: Option<Vec<i64>> = old
                .iter()
                .zip(&new)
                .map(|(old, new)| {
                    let step = new.minus(old);
                    step.is_constant().then_some(step.constant)
                })
                .collect();
            let mut next = new.iter();
            let moved = self.with_views(before, &mut |form| next.next().unwrap_or(form).clone()).ok()?;
            if old.len() != new.len() || !same_memory(&moved, after) {
                return None;
            }
            growth.insert(name.clone(), steps?);
        }
        Some(growth)
    }

    /// A value whose arrays have other subscripts.
    fn with_views(&mut self, value: &Value, change: &mut impl FnMut(&Affine) -> Affine) -> Eval {
        Ok(match value {
            Value::Array(array) => {
                Value::Array(Array { node: self.with_subscripts(array.node, change)?, ..array.clone() })
            }
            Value::Tuple(items) => {
                Value::Tuple(items.iter().map(|item| self.with_views(item, change)).collect::<Eval<_>>()?)
            }
            Value::List(items) => {
                Value::List(items.iter().map(|item| self.with_views(item, change)).collect::<Eval<_>>()?)
            }
            other => other.clone(),
        })
    }

    /// A node in which every form in loop variables is another one.
    fn with_subscripts(&mut self, node: NodeId, change: &mut impl FnMut(&Affine) -> Affine) -> Eval<NodeId> {
        let this = self.graph[node].clone();
        if !self.graph.reads_state(node) && !self.graph.in_loop(node) {
            return Ok(node);
        }
        let args = this.args.iter().map(|&arg| self.with_subscripts(arg, change)).collect::<Eval<Vec<_>>>()?;
        let axis = |axis: &SectionAxis, change: &mut dyn FnMut(&Affine) -> Affine| match axis {
            SectionAxis::At(form) => SectionAxis::At(change(form)),
            SectionAxis::Slice { start, step } => SectionAxis::Slice { start: change(start), step: *step },
        };
        let op = match &this.op {
            Op::Section(axes) => Op::Section(axes.iter().map(|one| axis(one, change)).collect()),
            Op::LoopIndex(form) => Op::LoopIndex(change(form)),
            other => other.clone(),
        };
        let extents = if this.live.is_empty() { this.extents() } else { this.live.iter().map(change).collect() };
        if op == this.op && args == this.args && extents == this.extents() {
            return Ok(node);
        }
        self.emit_live(op, args, extents, this.dtype, this.span)
    }
}

/// Whether two values hold the same memory; what else they hold is not compared.
fn same_memory(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Tuple(x), Value::Tuple(y)) | (Value::List(x), Value::List(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same_memory(x, y))
        }
        (Value::Array(_), _) | (_, Value::Array(_)) => same(a, b),
        _ => is_memory(a) == is_memory(b) && (!is_memory(a) || same(a, b)),
    }
}

/// How many whole rounds of a period are in a number of iterations, and how many iterations are left.
fn whole_rounds(trips: &Affine, period: usize) -> Option<(Affine, usize)> {
    let period = number(period);
    if trips.terms.iter().any(|term| term.1 % period != 0) || trips.is_constant() && trips.constant < 0 {
        return None;
    }
    let terms = trips.terms.iter().map(|&(var, coefficient)| (var, coefficient / period));
    let left = usize::try_from(trips.constant.rem_euclid(period)).ok()?;
    Some((Affine::new(trips.constant.div_euclid(period), terms), left))
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
