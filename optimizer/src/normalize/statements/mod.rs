//! Programs with statements: every value that a statement stores is normalised like a program of its own.
//!
//! Input: a [`Program`] with states. Output: forms whose definitions stand in a tree of loops. A value inside loops
//! is *lifted* ([`lift`]): the loops' variables become leading axes, so that one law serves whole programs and loop
//! bodies alike; afterwards these axes are *stripped* ([`strip`]). Here the pieces are put together: which values
//! there are, in which loops, and what is stored where.

mod hoist;
mod lift;
mod strip;

use super::domain::restrict_within;
use super::run::Session;
use super::{
    Form, NormalizeConfig, NormalizeError, Normalized, Run, Stats, bytes_moved, derivation, flops, normalize_from,
};
use crate::form::normal_form::{Def, NormalForm, Scope, State, Update};
use crate::form::scalar_tree::Source;
use crate::form::steps::Step;
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_variable};
use crate::program::expr::{NodeId, Program, SectionAxis, Shift, Statement};
use crate::value::numerics::Numerics;
use lift::{Around, Lifted, lift};
use moat_rules::RuleBase;
use std::collections::BTreeSet;
use strip::{Stripped, over_loops, strip};

/// A value, or the results, with the loops around.
struct Block {
    values: Vec<NodeId>,
    around: Vec<Around>,
    /// The state and the region that it is stored to, and what moves it; `None` for the results.
    update: Option<(usize, Vec<SectionAxis>, Option<Shift>)>,
}

/// A statement with its blocks by number.
enum Skeleton {
    Block(usize),
    Loop { var: usize, name: String, lo: Affine, hi: Affine, body: Vec<Skeleton> },
    If { conditions: Vec<Affine>, body: Vec<Skeleton> },
}

/// A program taken apart.
struct Parts {
    program: Program,
    blocks: Vec<Block>,
    skeleton: Vec<Skeleton>,
    lifted: Vec<Lifted>,
}

/// An axis of one element is none in a normal form. One of which a loop's iteration says whether there is that element has
/// room for two here, so that it stays an axis, whose range says when.
fn widened(mut program: Program) -> Program {
    for node in &mut program.nodes {
        for (extent, form) in node.shape.iter_mut().zip(&node.live) {
            if *extent == 1 && !form.is_constant() {
                *extent = 2;
            }
        }
    }
    program
}

fn take_apart(program: &Program) -> Result<Parts, NormalizeError> {
    let program = widened(hoist::hoist(program));
    let mut blocks = Vec::new();
    let mut skeleton = walk(&program.body, &[], &mut blocks);
    skeleton.push(Skeleton::Block(blocks.len()));
    blocks.push(Block { values: program.roots.clone(), around: Vec::new(), update: None });
    let lifted = blocks.iter().map(|block| lift(&program, &block.values, &block.around)).collect::<Result<_, _>>()?;
    Ok(Parts { program, blocks, skeleton, lifted })
}

fn walk(body: &[Statement], around: &[Around], blocks: &mut Vec<Block>) -> Vec<Skeleton> {
    let mut steps = Vec::new();
    for statement in body {
        match statement {
            Statement::Update { state, region, shift, value, .. } => {
                steps.push(Skeleton::Block(blocks.len()));
                let update = Some((*state, region.clone(), *shift));
                blocks.push(Block { values: vec![*value], around: around.to_vec(), update });
            }
            Statement::Loop { var, name, lo, hi, body } => {
                // Inside, the loops around take the values with which it has an iteration.
                let Some(mut within) = tightened(around, &[hi.minus(lo).offset(-1)]) else { continue };
                let extremes = |form: &Affine| {
                    form.bounds(|v| within.iter().find(|a| a.var == v).map_or((0, 0), |a| (a.min, a.max)))
                };
                let (min, max) = (extremes(lo).0, extremes(hi).1 - 1);
                if min > max {
                    continue;
                }
                within.push(Around { var: *var, min, max });
                let body = walk(body, &within, blocks);
                steps.push(Skeleton::Loop { var: *var, name: name.clone(), lo: lo.clone(), hi: hi.clone(), body });
            }
            Statement::If { conditions, body } => {
                // Inside, the loops take the values that the conditions leave them.
                let Some(within) = tightened(around, conditions) else { continue };
                let body = walk(body, &within, blocks);
                steps.push(Skeleton::If { conditions: conditions.clone(), body });
            }
        }
    }
    steps
}

/// The ranges of loops' variables where all of some forms are ≥ 0, as far as one bounds one variable; `None` where
/// they cannot all be.
fn tightened(around: &[Around], conditions: &[Affine]) -> Option<Vec<Around>> {
    let mut within = around.to_vec();
    // One condition may bound another's variables: as often as there are conditions.
    for condition in conditions.iter().cycle().take(conditions.len() * conditions.len()) {
        for &(var, coefficient) in &condition.terms {
            let rest = condition.minus(&Affine::new(0, [(var, coefficient)]));
            let most = rest.bounds(|v| within.iter().find(|a| a.var == v).map_or((0, 0), |a| (a.min, a.max))).1;
            let Some(own) = within.iter_mut().find(|a| a.var == var) else { continue };
            // coefficient · var ≥ −most
            if coefficient > 0 {
                own.min =
                    own.min.max((-most).div_euclid(coefficient) + i64::from((-most).rem_euclid(coefficient) != 0));
            } else {
                own.max = own.max.min(most.div_euclid(-coefficient));
            }
            if own.min > own.max {
                return None;
            }
        }
        if condition.is_constant() && condition.constant < 0 {
            return None;
        }
    }
    Some(within)
}

/// The normal forms of a program with statements: all values in their source forms, then all in their best ones.
///
/// # Errors
/// As [`super::normalize`].
pub(super) fn normalize(
    program: &Program,
    rules: &RuleBase,
    base: &Session,
    config: &NormalizeConfig<'_>,
    run: &mut Run,
) -> Result<Normalized, NormalizeError> {
    let parts = take_apart(program)?;
    let each = NormalizeConfig { max_forms: config.max_forms.min(2), ..*config };
    let mut stats = Stats::default();
    let mut found = Vec::new();
    run.expressions = parts.blocks.len();
    run.least_effort = super::STATEMENT_EFFORT;
    for (block, lifted) in parts.blocks.iter().zip(&parts.lifted) {
        // The axes of loops must stay whole, so that they can be stripped.
        let each = NormalizeConfig { restrict: block.around.is_empty(), ..each };
        let normalized = normalize_from(&lifted.program, rules, base, &each, run)?;
        stats.add(&normalized.stats);
        found.push(normalized.forms);
    }
    let mut forms: Vec<Form> = Vec::new();
    for best in [false, true].into_iter().take(config.max_forms) {
        let chosen: Vec<&Form> =
            found.iter().filter_map(|all| if best { all.get(1).or(all.first()) } else { all.first() }).collect();
        let values: Vec<&NormalForm> = chosen.iter().map(|form| &form.normal_form).collect();
        let (normal_form, domain_rules) = match assemble(&parts, &values, config.numerics, &|_| true) {
            Ok(assembled) => assembled,
            // What the algebra made of a value may not fit into its loops; the source form must.
            Err(_) if best => continue,
            Err(error) => return Err(error),
        };
        if forms.iter().any(|known| known.normal_form == normal_form) {
            continue;
        }
        let mut derivation = derivation::of_parts(chosen.iter().map(|form| &form.derivation), rules, config.numerics);
        let known = derivation.rules.clone();
        derivation.rules.extend(domain_rules.into_iter().map(str::to_owned).filter(|rule| !known.contains(rule)));
        let (flops, bytes) = (flops(&normal_form), bytes_moved(&normal_form));
        forms.push(Form { normal_form, derivation, flops, bytes });
    }
    Ok(Normalized { forms, stats })
}

/// Checks the derivation of a form of a program with statements.
///
/// # Errors
/// [`NormalizeError::DoesNotReplay`] says which part does not hold.
pub(super) fn replay(
    program: &Program,
    rules: &RuleBase,
    form: &Form,
    config: &NormalizeConfig<'_>,
) -> Result<(), NormalizeError> {
    let parts = take_apart(program)?;
    if form.derivation.parts.len() != parts.lifted.len() {
        return Err(NormalizeError::DoesNotReplay { problem: "it is of another program".to_owned() });
    }
    let mut values = Vec::new();
    for (lifted, part) in parts.lifted.iter().zip(&form.derivation.parts) {
        values.push(derivation::replay_term(&lifted.program, rules, part, config)?);
    }
    let named = |rule: &str| form.derivation.rules.iter().any(|known| known == rule);
    let (assembled, _) = assemble(&parts, &values.iter().collect::<Vec<_>>(), form.derivation.numerics, &named)?;
    if assembled != form.normal_form {
        return Err(NormalizeError::DoesNotReplay { problem: "its terms are not the form".to_owned() });
    }
    Ok(())
}

/// Puts the definitions of all values into the loops, each on the domain that its iterations leave it by those of the
/// domain rules that are `allowed`; and the rules that were used.
fn assemble(
    parts: &Parts,
    values: &[&NormalForm],
    numerics: Numerics,
    allowed: &dyn Fn(&str) -> bool,
) -> Result<(NormalForm, Vec<&'static str>), NormalizeError> {
    let program = &parts.program;
    let mut assembly = Assembly {
        parts,
        form: NormalForm {
            params: program.params.clone(),
            checks: program.requirements(),
            states: program
                .states
                .iter()
                .map(|state| State { name: state.name.clone(), dtype: state.dtype, shape: state.shape.clone() })
                .collect(),
            ..NormalForm::default()
        },
        names: program.params.iter().map(|param| param.name.clone()).collect(),
        stripped: Vec::new(),
        around: Vec::new(),
        numerics,
        allowed,
        used: Vec::new(),
    };
    // A parameter that is copied and changed gives the state its name.
    for at in 0..assembly.form.states.len() {
        let name = assembly.form.states[at].name.clone();
        let name = if assembly.names.contains(&name) { format!("{name}_now") } else { name };
        assembly.form.states[at].name = assembly.unique(&name);
    }
    for (at, (block, lifted)) in parts.blocks.iter().zip(&parts.lifted).enumerate() {
        let value = values.get(at).ok_or(NormalizeError::Unbuildable { class: at })?;
        let live = block.values.first().map(|&value| program.nodes[value].live.clone()).unwrap_or_default();
        assembly.stripped.push(Some(strip(value, &lifted.leaves, &block.around, &live)?));
    }
    let steps = assembly.steps(&parts.skeleton, &mut Vec::new())?;
    assembly.form.steps = steps;
    Ok((assembly.form, assembly.used))
}

struct Assembly<'a> {
    parts: &'a Parts,
    form: NormalForm,
    names: BTreeSet<String>,
    stripped: Vec<Option<Stripped>>,
    /// What is known of the loops around, each ≥ 0.
    around: Vec<Affine>,
    numerics: Numerics,
    /// Domain rules that may be used, and those that were.
    allowed: &'a dyn Fn(&str) -> bool,
    used: Vec<&'static str>,
}

impl Assembly<'_> {
    fn steps(&mut self, skeleton: &[Skeleton], scope: &mut Vec<Scope>) -> Result<Vec<Step>, NormalizeError> {
        let mut steps = Vec::new();
        for part in skeleton {
            match part {
                Skeleton::Block(at) => steps.extend(self.block(*at, scope)?),
                Skeleton::Loop { var, name, lo, hi, body } => {
                    let (lo, hi) = (over_loops(lo), over_loops(hi));
                    let known = |v: usize| scope.iter().find(|s| s.variable == v).map_or((0, 0), |s| (s.min, s.max));
                    let (min, max) = (lo.bounds(known).0, hi.bounds(known).1 - 1);
                    scope.push(Scope { variable: loop_variable(*var), min, max });
                    let variable = Affine::variable(loop_variable(*var));
                    let inside = [variable.minus(&lo), hi.minus(&variable).offset(-1)];
                    let body = self.within(&inside, body, scope)?;
                    scope.pop();
                    if !body.is_empty() {
                        let range = Range { lo: vec![lo], hi: vec![hi] };
                        steps.push(Step::Loop { var: *var, name: name.clone(), range, body });
                    }
                }
                Skeleton::If { conditions, body } => {
                    let conditions: Vec<Affine> = conditions.iter().map(over_loops).collect();
                    let body = self.within(&conditions, body, scope)?;
                    if !body.is_empty() {
                        steps.push(Step::If { conditions, body });
                    }
                }
            }
        }
        Ok(steps)
    }

    /// The steps of a body in which all of `inside` are ≥ 0.
    fn within(
        &mut self,
        inside: &[Affine],
        body: &[Skeleton],
        scope: &mut Vec<Scope>,
    ) -> Result<Vec<Step>, NormalizeError> {
        let before = self.around.len();
        self.around.extend(inside.iter().cloned());
        let steps = self.steps(body, scope);
        self.around.truncate(before);
        steps
    }

    /// The definitions of a statement inside of loops, on the domains that its iterations leave them.
    fn restricted(&mut self, stripped: Stripped) -> Stripped {
        let Stripped { defs, outputs, result, conditions } = stripped;
        let alone = NormalForm { defs, outputs, steps: Vec::new(), ..self.form.clone() };
        let around: Vec<Affine> = self.around.iter().chain(&conditions).cloned().collect();
        let restricted = restrict_within(&alone, &around, self.numerics, self.allowed);
        for rule in restricted.rules {
            if !self.used.contains(&rule) {
                self.used.push(rule);
            }
        }
        let NormalForm { defs, outputs, .. } = restricted.form;
        Stripped { defs, outputs, result, conditions }
    }

    fn block(&mut self, at: usize, scope: &[Scope]) -> Result<Vec<Step>, NormalizeError> {
        let block = &self.parts.blocks[at];
        let unbuildable = NormalizeError::Unbuildable { class: at };
        let Some(stripped) = self.stripped.get_mut(at).and_then(Option::take) else { return Err(unbuildable) };
        let empty = |id: &usize| stripped.defs[*id].axes.contains(&0);
        let stores_nothing = block.update.is_some() && stripped.outputs.iter().any(empty);
        if stores_nothing || stripped.conditions.iter().any(|form| form.is_constant() && form.constant < 0) {
            // Nothing is ever stored.
            return Ok(Vec::new());
        }
        let stripped = if scope.is_empty() { stripped } else { self.restricted(stripped) };
        let first = self.form.defs.len();
        let mut steps = Vec::new();
        for (id, mut def) in stripped.defs.into_iter().enumerate() {
            for node in def.pieces.iter_mut().flat_map(|piece| &mut piece.value.nodes) {
                if let crate::form::scalar_tree::ScalarOp::Load(Source::Def(read), _) = &mut node.op {
                    *read += first;
                }
            }
            def.scope = scope.to_vec();
            if let Some((state, region, shift)) = &block.update
                && stripped.outputs.first() == Some(&id)
            {
                let mut slices = stripped.result.iter();
                let whole = (0..def.shape.len()).map(Affine::variable).collect::<Vec<_>>();
                // Outside loops the result keeps its digits: its index is their weighted sum.
                let outside = if scope.is_empty() { digits_of(&def) } else { Some(whole) };
                let mut own = outside.unwrap_or_default().into_iter();
                let base = region
                    .iter()
                    .map(|axis| match axis {
                        SectionAxis::At(form) => over_loops(form),
                        SectionAxis::Slice { start, step } => {
                            let of = if scope.is_empty() { own.next() } else { slices.next().cloned() };
                            over_loops(start).plus(&of.unwrap_or_default().times(*step))
                        }
                    })
                    .collect();
                def.update = Some(Update { state: *state, base, shift: *shift });
                def.name = self.form.states.get(*state).map_or_else(String::new, |state| state.name.clone());
            }
            def.name = self.unique(&def.name);
            steps.push(Step::Def(self.form.defs.len()));
            self.form.defs.push(def);
        }
        if block.update.is_none() {
            self.form.outputs = stripped.outputs.iter().map(|id| id + first).collect();
        }
        if stripped.conditions.is_empty() {
            return Ok(steps);
        }
        Ok(vec![Step::If { conditions: stripped.conditions, body: steps }])
    }

    fn unique(&mut self, hint: &str) -> String {
        let name = std::iter::once(hint.to_owned())
            .chain((1..).map(|n| format!("{hint}_{n}")))
            .find(|name| !self.names.contains(name))
            .unwrap_or_default();
        self.names.insert(name.clone());
        name
    }
}

/// The index of each axis of a definition's shape over its digits.
fn digits_of(def: &Def) -> Option<Vec<Affine>> {
    let mut digits = def.axes.iter().enumerate().filter(|(_, extent)| **extent != 1);
    let mut found = Vec::new();
    for &extent in &def.shape {
        let (mut group, mut product) = (Vec::new(), 1);
        while product < extent {
            let (axis, digit) = digits.next()?;
            group.push((axis, *digit));
            product *= digit;
        }
        let mut index = Affine::constant(0);
        let mut weight = 1;
        for (axis, digit) in group.into_iter().rev() {
            index = index.plus(&Affine::new(0, [(axis, weight)]));
            weight *= i64::try_from(digit).unwrap_or(i64::MAX);
        }
        found.push(index);
    }
    Some(found)
}
