//! From an array program to ranked normal forms, through an e-graph.
//!
//! Input: a [`Program`] and a [`RuleBase`]. Output: [`Normalized`]: normal forms, each with the
//! names of the rules that derive it. The first is the *source form*, made by definitions and
//! ψ-reduction alone; the others are equal to it by the algebra that the numerics permit, best
//! first by [`ExtractionCost`].
//!
//! Index variables are never terms: a view is an affine [`crate::integer::index_map::IndexMap`]. This
//! module reads no clock; the caller may pass a deadline, which bounds a run in time but makes its
//! result depend on the machine.

mod budget;
pub mod contraction;
pub mod cost;
mod decisions;
mod derivation;
pub mod domain;
mod encode;
mod extract;
mod form;
pub mod law;
mod primitives;
mod run;
mod scalars;
mod sections;
mod statements;
mod term;

pub use cost::{ExtractionCost, Roofline, bytes_moved, flops};
use derivation::Effort;
pub use derivation::{Derivation, replay};

use crate::form::normal_form::NormalForm;
use crate::program::expr::Program;
use crate::value::numerics::Numerics;
use egglog::ast::Expr;
use egglog::span;
use moat_rules::RuleBase;
use run::{Limits, Session};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use term::Snapshot;
use thiserror::Error;

/// Limits and choices of a normalisation.
#[derive(Clone, Copy)]
pub struct NormalizeConfig<'a> {
    /// Which rules may be used.
    pub numerics: Numerics,
    /// The most forms to return, the source form included; at least 1.
    pub max_forms: usize,
    /// The most rule matches in each stage: the limit that is met first, and the same on every
    /// machine.
    pub match_limit: usize,
    /// The most rows in the e-graph.
    pub tuple_limit: usize,
    /// Answers whether time is up; asked between rounds. `None` is without a limit in time. The source form is found and
    /// replayed in any case; what ends is the search for others, and for the smallest set of rules.
    pub deadline: Option<&'a dyn Fn() -> bool>,
    /// How forms are ranked.
    pub cost: &'a dyn ExtractionCost,
    /// Whether masks become ranges and symmetric folds are computed in one half.
    pub restrict: bool,
    /// Whether each form is replayed from the smallest set of rules found. Without, a derivation names every rule that
    /// fired and was not replayed: for tests of later stages, which need many forms and compare what they compute.
    pub replay: bool,
}

impl Default for NormalizeConfig<'_> {
    fn default() -> Self {
        NormalizeConfig {
            numerics: Numerics::default(),
            max_forms: 8,
            match_limit: 20_000,
            tuple_limit: 50_000,
            deadline: None,
            cost: &Roofline { byte: 0.5 },
            restrict: true,
            replay: true,
        }
    }
}

/// A rule base that is loaded once for many programs.
#[derive(Clone)]
pub struct Prepared {
    session: Session,
    numerics: Numerics,
    /// The rules for programs in which a discontinuous function reads what is computed: loaded by the first of them.
    ordered: OnceCell<Session>,
}

impl Prepared {
    /// The rules that `program` may be rewritten by; `rules` is the rule base that this was made of.
    ///
    /// # Errors
    /// A rule file that egglog refuses.
    fn session(&self, program: &Program, rules: &RuleBase) -> Result<&Session, NormalizeError> {
        if self.numerics != Numerics::Reassociate || !decisions::reads_computed(program) {
            return Ok(&self.session);
        }
        if let Some(known) = self.ordered.get() {
            return Ok(known);
        }
        let loaded = Session::load(rules, moat_rules::Numerics::Reorder)?;
        Ok(self.ordered.get_or_init(|| loaded))
    }
}

/// Loads the rules that hold at `numerics`.
///
/// # Errors
/// A rule file that egglog refuses.
pub fn prepare(rules: &RuleBase, numerics: Numerics) -> Result<Prepared, NormalizeError> {
    Ok(Prepared { session: Session::load(rules, rule_numerics(numerics))?, numerics, ordered: OnceCell::new() })
}

/// The forms of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalized {
    /// The source form, then the others, best first; all different.
    pub forms: Vec<Form>,
    /// What the run did.
    pub stats: Stats,
}

/// A normal form and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    /// The form.
    pub normal_form: NormalForm,
    /// The rules that make it.
    pub derivation: Derivation,
    /// Its scalar operations, as [`flops`] counts them.
    pub flops: u64,
    /// The bytes it moves, as [`bytes_moved`] counts them.
    pub bytes: u64,
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Rounds of one ruleset.
    pub iterations: usize,
    /// Rule matches.
    pub matches: usize,
    /// Rows in the e-graph at the end.
    pub tuples: usize,
    /// The limit that ended the run, if it did not saturate.
    pub stopped_by: Option<Limit>,
    /// The sections that long expressions were cut into: no law is applied across a cut. 0 without a cut.
    pub sections: usize,
    /// Expressions whose source form is made by definitions alone, or for which the algebra made no other: the terms that
    /// it made were no form, as a limit left some of them out.
    pub unreduced: usize,
}

impl Stats {
    fn add(&mut self, other: &Stats) {
        self.iterations += other.iterations;
        self.matches += other.matches;
        self.tuples += other.tuples;
        self.stopped_by = self.stopped_by.or(other.stopped_by);
        self.sections += other.sections;
        self.unreduced += other.unreduced;
    }
}

/// What ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Rule matches.
    Matches,
    /// Rows in the e-graph.
    Tuples,
    /// The deadline.
    Time,
}

/// Why a program has no normal form.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NormalizeError {
    /// The program breaks its own rules.
    #[error("node {node} of the program has {problem}")]
    Malformed {
        /// The node.
        node: usize,
        /// What is wrong.
        problem: String,
    },
    /// egglog refuses a rule file.
    #[error("{file}: {message}")]
    Rules {
        /// The file.
        file: String,
        /// egglog's message.
        message: String,
    },
    /// A rule equated arrays of different shape or dtype.
    #[error(
        "rules equate arrays of different shape or dtype; the last to fire before that: {}; egglog says: {message}",
        suspects.join(", ")
    )]
    Clash {
        /// The ruleset that ran.
        ruleset: String,
        /// egglog's message.
        message: String,
        /// The rule that did it; where that cannot be said, all that had fired by then.
        suspects: Vec<String>,
    },
    /// No rule gives this node a core form.
    #[error("node {node} of the program has no core form: its shapes do not fit its operator")]
    NoForm {
        /// The node.
        node: usize,
    },
    /// The rules made a term that is no form. A bug of the rules.
    #[error("the terms of class {class} make no normal form")]
    Unbuildable {
        /// The class.
        class: usize,
    },
    /// A derivation does not make its form.
    #[error("the derivation does not replay: {problem}")]
    DoesNotReplay {
        /// What does not hold.
        problem: String,
    },
    /// The rules changed a shape or dtype of a result. A bug of the rules.
    #[error("result {result} of the program is of shape {expected}, but its normal form is of shape {found}")]
    WrongShape {
        /// The result's number.
        result: usize,
        /// As the program says.
        expected: String,
        /// As the form says.
        found: String,
    },
}

/// The normal forms of `program`.
///
/// # Errors
/// A malformed program, a rule file that egglog refuses, or rules that contradict each other.
pub fn normalize(
    program: &Program,
    rules: &RuleBase,
    config: &NormalizeConfig<'_>,
) -> Result<Normalized, NormalizeError> {
    normalize_prepared(program, rules, &prepare(rules, config.numerics)?, config)
}

/// [`normalize`] with `rules` loaded before; their numerics count, not those of `config`.
///
/// # Errors
/// As [`normalize`].
pub fn normalize_prepared(
    program: &Program,
    rules: &RuleBase,
    prepared: &Prepared,
    config: &NormalizeConfig<'_>,
) -> Result<Normalized, NormalizeError> {
    let config = &NormalizeConfig { numerics: prepared.numerics, ..*config };
    let base = prepared.session(program, rules)?;
    let mut run = Run::new(config);
    if !program.body.is_empty() {
        return statements::normalize(program, rules, base, config, &mut run);
    }
    match normalize_from(program, rules, base, config, &mut run) {
        Err(NormalizeError::Clash { ruleset, message, suspects }) => {
            let limits = Limits { matches: config.match_limit, tuples: config.tuple_limit, deadline: config.deadline };
            let culprit = base.culprit(&encode::encode(program)?, &limits)?;
            let suspects = culprit.map_or(suspects, |culprit| vec![culprit]);
            Err(NormalizeError::Clash { ruleset, message, suspects })
        }
        result => result,
    }
}

/// What the expressions of one program share.
struct Run {
    /// What was normalised before: equal expressions, in unrolled loops above all, have equal forms.
    known: BTreeMap<(String, Vec<String>, bool), Normalized>,
    /// Matches for the expressions that are left.
    matches: usize,
    /// Expressions that are left.
    expressions: usize,
    /// Matches that the search for small sets of rules may still make, and of these for one expression at least.
    effort: usize,
    least_effort: usize,
}

/// All expressions of a program together may make so many times the matches of one stage.
const ALL_STAGES: usize = 3;
/// What every expression may make, however many there are.
const LEAST_MATCHES: usize = 1000;
/// The search for small sets of rules may make so many times the matches of one stage.
const EFFORT_STAGES: usize = 10;
/// What that takes for a statement of ordinary length.
const STATEMENT_EFFORT: usize = 6000;

impl Run {
    fn new(config: &NormalizeConfig<'_>) -> Run {
        Run {
            known: BTreeMap::new(),
            matches: config.match_limit.saturating_mul(ALL_STAGES),
            expressions: 1,
            effort: config.match_limit.saturating_mul(EFFORT_STAGES),
            least_effort: 0,
        }
    }

    /// The matches that the next expression may make, so that something is left for those after it.
    fn share(&self) -> usize {
        (self.matches / self.expressions.max(1)).max(LEAST_MATCHES)
    }

    /// The next expression has made so many.
    fn done(&mut self, matches: usize) {
        self.matches = self.matches.saturating_sub(matches);
        self.expressions = self.expressions.saturating_sub(1);
    }
}

/// The forms of a program without statements, in sections where it is long.
fn normalize_from(
    program: &Program,
    rules: &RuleBase,
    base: &Session,
    config: &NormalizeConfig<'_>,
    run: &mut Run,
) -> Result<Normalized, NormalizeError> {
    let Some(sections) = sections::cut(program) else {
        return normalize_known(program, rules, base, config, run);
    };
    let each = NormalizeConfig { max_forms: config.max_forms.min(2), ..*config };
    let mut stats = Stats { sections: sections.len(), ..Stats::default() };
    run.expressions += sections.len() - 1;
    let mut found = Vec::new();
    for section in &sections {
        let normalized = normalize_known(&section.program, rules, base, &each, run)?;
        stats.add(&normalized.stats);
        found.push(normalized.forms);
    }
    let mut forms: Vec<Form> = Vec::new();
    for best in [false, true].into_iter().take(config.max_forms) {
        let chosen: Vec<&Form> =
            found.iter().filter_map(|all| if best { all.get(1).or(all.first()) } else { all.first() }).collect();
        let parts: Vec<&NormalForm> = chosen.iter().map(|form| &form.normal_form).collect();
        let normal_form = sections::join(program, &sections, &parts)?;
        check_results(program, &normal_form)?;
        if forms.iter().all(|known| known.normal_form != normal_form) {
            let parts = chosen.iter().map(|form| &form.derivation);
            forms.push(of(normal_form, derivation::of_parts(parts, rules, config.numerics)));
        }
    }
    Ok(Normalized { forms, stats })
}

/// The forms of one section, or of an expression that is none.
fn normalize_known(
    program: &Program,
    rules: &RuleBase,
    base: &Session,
    config: &NormalizeConfig<'_>,
    run: &mut Run,
) -> Result<Normalized, NormalizeError> {
    let names = program.params.iter().map(|param| param.name.clone()).collect();
    let key = (derivation::source_hash(program)?, names, config.restrict);
    if let Some(before) = run.known.get(&key) {
        let mut found = before.clone();
        run.done(0);
        // The work was done before; hints of parameters are no part of the key.
        found.stats = Stats { stopped_by: found.stats.stopped_by, ..Stats::default() };
        for form in &mut found.forms {
            form.normal_form.params.clone_from(&program.params);
            form.normal_form.checks = program.requirements();
        }
        return Ok(found);
    }
    let share = run.share();
    // A replay or two find nothing: of many sections, the rules that fired are named.
    let effort = Some(share / 4).filter(|&effort| effort >= LEAST_MATCHES).unwrap_or(0);
    let effort = Effort::new(program, base, effort.max(run.least_effort).min(run.effort))?;
    let (found, spent) = normalize_alone(program, rules, base, config, share, &effort)?;
    run.done(spent);
    run.effort = run.effort.saturating_sub(effort.searched());
    run.known.insert(key, found.clone());
    Ok(found)
}

/// The forms of one expression, and the matches made; about `share` of them.
fn normalize_alone(
    program: &Program,
    rules: &RuleBase,
    base: &Session,
    config: &NormalizeConfig<'_>,
    share: usize,
    effort: &Effort,
) -> Result<(Normalized, usize), NormalizeError> {
    let mut session = effort.loaded().clone();
    let stage = |spent: usize| config.match_limit.min((share.saturating_sub(spent) / 2).max(LEAST_MATCHES));
    let limits = |matches: usize| Limits { matches, tuples: config.tuple_limit, deadline: config.deadline };
    let unhurried = |matches: usize| Limits { deadline: None, ..limits(matches) };
    let mut rulesets = run::SOURCE_RULESETS.map(str::to_owned).to_vec();
    session.define()?;
    session.saturate(&rulesets, &unhurried(stage(0)))?;
    let mut forms = Vec::new();
    let expression = Expression { program, rules, base, effort, share };
    let reduced = expression.offer(&mut session, config, 1, &mut forms);
    if forms.is_empty() {
        // Definitions alone make a form, and make it again: whatever a limit or a rule did to the reduced one.
        let mut session = effort.loaded().clone();
        session.define()?;
        let offered = expression.offer(&mut session, config, 1, &mut forms);
        if forms.is_empty() {
            reduced.and(offered)?;
            return Err(NormalizeError::DoesNotReplay { problem: "the source form has none".to_owned() });
        }
        let spent = session.stats.matches + effort.spent();
        let stats = Stats { unreduced: 1, ..session.stats };
        return Ok((Normalized { forms, stats }, spent));
    }
    if config.max_forms > 1 && !limits(0).is_over() {
        rulesets.extend(session.algebra());
        session.saturate(&rulesets, &limits(stage(session.stats.matches + effort.spent())))?;
        match expression.offer(&mut session, config, config.max_forms, &mut forms) {
            // The source form stands.
            Err(NormalizeError::Unbuildable { .. } | NormalizeError::DoesNotReplay { .. }) => {
                session.stats.unreduced += 1;
            }
            offered => offered?,
        }
    }
    let spent = session.stats.matches + effort.spent();
    Ok((Normalized { forms, stats: session.stats }, spent))
}

/// What the stages of one expression need.
struct Expression<'a> {
    program: &'a Program,
    rules: &'a RuleBase,
    base: &'a Session,
    effort: &'a Effort,
    share: usize,
}

impl Expression<'_> {
    /// Adds the best forms of the e-graph to `forms` until there are `count`.
    fn offer(
        &self,
        session: &mut Session,
        config: &NormalizeConfig<'_>,
        count: usize,
        forms: &mut Vec<Form>,
    ) -> Result<(), NormalizeError> {
        let Expression { program, rules, base, effort, share } = *self;
        let before = forms.len();
        let (snapshot, roots) = read(program, session)?;
        for candidate in extract::extract(program, &snapshot, &roots, count, config.cost)? {
            let restricted = if config.restrict {
                restricted(&candidate.form, config.numerics)
            } else {
                domain::Restricted { form: candidate.form.clone(), rules: Vec::new() }
            };
            let known = |form: &NormalForm, forms: &[Form]| forms.iter().any(|known| known.normal_form == *form);
            if forms.len() >= count || known(&restricted.form, forms) {
                continue;
            }
            // Where replays are long, the first forms are enough.
            if forms.len() > before && session.stats.matches + effort.spent() > share {
                break;
            }
            check_results(program, &restricted.form)?;
            let derivation =
                derivation::derive(program, rules, base, session, &snapshot, &roots, &candidate, config, effort)?;
            let Some(mut derivation) = derivation else { continue };
            derivation.rules.extend(restricted.rules.iter().map(|&rule| rule.to_owned()));
            // Half of the terms for a pass over the result: cheaper only for long folds, and measured.
            let mirrored = domain::symmetric(&restricted.form)
                .filter(|_| config.restrict)
                .filter(|mirrored| config.cost.cost(mirrored) < config.cost.cost(&restricted.form));
            let mut mirrored_derivation = derivation.clone();
            mirrored_derivation.rules.push(domain::SYMMETRY.to_owned());
            forms.push(of(restricted.form, derivation));
            if let Some(mirrored) = mirrored.filter(|form| forms.len() < config.max_forms && !known(form, forms)) {
                forms.push(of(mirrored, mirrored_derivation));
            }
        }
        Ok(())
    }
}

/// The form over restricted domains; unchanged if the rules used do not make it by themselves.
fn restricted(form: &NormalForm, numerics: Numerics) -> domain::Restricted {
    let restricted = domain::restrict(form, numerics, &|_| true);
    if restricted.rules.is_empty()
        || domain::restrict(form, numerics, &|rule| restricted.rules.contains(&rule)).form == restricted.form
    {
        return restricted;
    }
    domain::Restricted { form: form.clone(), rules: Vec::new() }
}

fn of(normal_form: NormalForm, derivation: Derivation) -> Form {
    let (flops, bytes) = (flops(&normal_form), bytes_moved(&normal_form));
    Form { normal_form, derivation, flops, bytes }
}

fn rule_numerics(numerics: Numerics) -> moat_rules::Numerics {
    match numerics {
        Numerics::Exact => moat_rules::Numerics::Exact,
        Numerics::Reassociate => moat_rules::Numerics::Reassociate,
        Numerics::Algebraic => moat_rules::Numerics::Algebraic,
    }
}

/// The core terms, and the classes of the program's roots.
fn read(program: &Program, session: &mut Session) -> Result<(Snapshot, Vec<usize>), NormalizeError> {
    let values = program
        .roots
        .iter()
        .map(|&root| {
            let name = Expr::Var(span!(), encode::name(root));
            let value = session.egraph.eval_expr(&name);
            value
                .map(|(_, value)| value)
                .map_err(|e| NormalizeError::Rules { file: "program".to_owned(), message: e.to_string() })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let snapshot = Snapshot::read(&session.egraph)?;
    let classes = values
        .into_iter()
        .zip(&program.roots)
        .map(|(value, &node)| snapshot.class(value).ok_or(NormalizeError::NoForm { node }))
        .collect::<Result<Vec<_>, _>>()?;
    Ok((snapshot, classes))
}

/// Checks that each result has the shape and dtype that the program gives it.
fn check_results(program: &Program, form: &NormalForm) -> Result<(), NormalizeError> {
    for (result, (&node, &def)) in program.roots.iter().zip(&form.outputs).enumerate() {
        let (node, def) = (&program.nodes[node], &form.defs[def]);
        if node.shape != def.shape || node.dtype != def.dtype {
            return Err(NormalizeError::WrongShape {
                result,
                expected: format!("{}{:?}", node.dtype, node.shape),
                found: format!("{}{:?}", def.dtype, def.shape),
            });
        }
    }
    Ok(())
}
