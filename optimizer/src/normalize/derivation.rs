//! How a form is derived: the rules by name, and the replay that checks them.
//!
//! A derivation is the form's core term and a set of rules. To replay it, a fresh e-graph gets the
//! source program, the term, the shape rules and the rules named, and no other; the derivation
//! holds if these rules make the two equal, and if the term alone builds the form. A form whose
//! derivation does not replay is not offered.
//!
//! The set is small: rules are left out, in groups and then one by one, as long as the rest still
//! replays.

use super::extract::Candidate;
use super::form::{self, Choice};
use super::run::{Limits, SOURCE_RULESETS, Session};
use super::term::{Class, Snapshot, Term};
use super::{Form, NormalizeConfig, NormalizeError, domain, encode, rule_numerics, sections};
use crate::form::normal_form::NormalForm;
use crate::program::expr::Program;
use crate::value::numerics::Numerics;
use egglog::ast::Expr;
use egglog::{Value, span};
use moat_rules::{RuleBase, hexadecimal};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

/// Which rules make a form from its source, and what they make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Derivation {
    /// SHA-256 of the source program, in hexadecimal.
    pub source_hash: String,
    /// The hash of the rule base.
    pub rules_hash: String,
    /// The numerics under which the rules were chosen.
    pub numerics: Numerics,
    /// The rules, in the order of their first use; no shape rules. Those of [`domain::RULES`] come
    /// last: they turn the form that the term builds into the form derived.
    pub rules: Vec<String>,
    /// The form's core term: egglog `let`s of `$f0`, `$f1`, …, one result after the other last.
    pub term: String,
    /// The names of the results' `let`s.
    pub results: Vec<String>,
    /// For a program with statements: the derivation of each value that a statement stores, and of the results. The
    /// rules of the whole are theirs; it has no term of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Derivation>,
}

/// The derivation of a form that is put together from `parts`.
pub(super) fn of_parts<'a>(
    parts: impl Iterator<Item = &'a Derivation>,
    rules: &RuleBase,
    numerics: Numerics,
) -> Derivation {
    let parts: Vec<Derivation> = parts.cloned().collect();
    let mut hash = Sha256::new();
    let mut names: Vec<String> = Vec::new();
    for part in &parts {
        hash.update(&part.source_hash);
        names.extend(part.rules.iter().cloned());
    }
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Derivation {
        source_hash: hexadecimal(&hash.finalize()),
        rules_hash: rules.hash().to_owned(),
        numerics,
        rules: names,
        term: String::new(),
        results: Vec::new(),
        parts,
    }
}

/// How many replays the search for a small set of rules may make for one form.
const MAX_REPLAYS: usize = 40;
/// What a replay costs beside its matches, as matches.
const REPLAY_COST: usize = 300;
/// A replay may make this many times the matches of one stage: it runs both stages' rules at once.
const REPLAY_STAGES: usize = 2;
/// While rules are left out, a replay may make this many times the matches of the whole run, and
/// [`SUBSET_BASE`] more.
const SUBSET_SHARE: usize = 2;
const SUBSET_BASE: usize = 200;

/// What the derivations of one expression's forms share.
pub(super) struct Effort {
    /// The matches that the search for small sets may still make.
    left: Cell<usize>,
    /// What that search has cost so far, as matches, and what all other replays have.
    searched: Cell<usize>,
    spent: Cell<usize>,
    /// The sets found so far: another form may need no more.
    sets: RefCell<Vec<Vec<String>>>,
    /// The program in an e-graph, before any rule ran.
    loaded: Session,
}

impl Effort {
    /// An effort of at most `matches` in the search for small sets; `base` has the rules.
    ///
    /// # Errors
    /// A malformed program.
    pub(super) fn new(program: &Program, base: &Session, matches: usize) -> Result<Effort, NormalizeError> {
        let mut loaded = base.clone();
        run(&mut loaded, "program", &encode::encode(program)?)?;
        let (left, searched, spent) = (Cell::new(matches), Cell::new(0), Cell::new(0));
        Ok(Effort { left, searched, spent, sets: RefCell::new(Vec::new()), loaded })
    }

    /// The program in an e-graph, before any rule ran.
    pub(super) fn loaded(&self) -> &Session {
        &self.loaded
    }

    /// What the search for small sets has cost so far, as matches.
    pub(super) fn searched(&self) -> usize {
        self.searched.get()
    }

    /// What the replays have cost that no form does without, as matches.
    pub(super) fn spent(&self) -> usize {
        self.spent.get()
    }
}

/// Checks that the rules of a form's derivation make its term from the program, and that the term
/// is the form.
///
/// # Errors
/// [`NormalizeError::DoesNotReplay`] says which part does not hold.
pub fn replay(
    program: &Program,
    rules: &RuleBase,
    form: &Form,
    config: &NormalizeConfig<'_>,
) -> Result<(), NormalizeError> {
    if !program.body.is_empty() {
        return super::statements::replay(program, rules, form, config);
    }
    if replay_term(program, rules, &form.derivation, config)? == form.normal_form {
        Ok(())
    } else {
        Err(NormalizeError::DoesNotReplay { problem: "its term is not the form".to_owned() })
    }
}

/// Checks that a derivation's rules make its term from the program; the form that the term is.
pub(super) fn replay_term(
    program: &Program,
    rules: &RuleBase,
    derivation: &Derivation,
    config: &NormalizeConfig<'_>,
) -> Result<NormalForm, NormalizeError> {
    let fails = |problem: &str| NormalizeError::DoesNotReplay { problem: problem.to_owned() };
    if let Some(sections) = sections::cut(program) {
        if derivation.parts.len() != sections.len() {
            return Err(fails("it is of another program"));
        }
        let parts = sections.iter().zip(&derivation.parts);
        let forms = parts
            .map(|(section, part)| replay_term(&section.program, rules, part, config))
            .collect::<Result<Vec<NormalForm>, NormalizeError>>()?;
        return sections::join(program, &sections, &forms.iter().collect::<Vec<_>>());
    }
    if derivation.source_hash != source_hash(program)? {
        return Err(fails("it is of another program"));
    }
    if derivation.rules_hash != rules.hash() {
        return Err(fails("it is of another rule base"));
    }
    let (restricting, names): (BTreeSet<&str>, BTreeSet<&str>) =
        derivation.rules.iter().map(String::as_str).partition(|name| domain::is_rule(name));
    if let Some(unknown) = names.iter().find(|name| rules.rule(name).is_none()) {
        return Err(fails(&format!("there is no rule `{unknown}`")));
    }
    let base = &Session::load(rules, rule_numerics(derivation.numerics))?;
    let built = rebuild(program, base, derivation)?;
    let restricted = domain::restrict(&built, derivation.numerics, &|rule| restricting.contains(rule));
    let mirrored = restricting.contains(domain::SYMMETRY).then(|| domain::symmetric(&restricted.form)).flatten();
    let form = mirrored.unwrap_or(restricted.form);
    let limit = config.match_limit.saturating_mul(REPLAY_STAGES);
    let mut loaded = base.clone();
    run(&mut loaded, "program", &encode::encode(program)?)?;
    run(&mut loaded, "derivation", &derivation.term)?;
    if derives(program, &loaded, derivation, &names, limit, config)?.0 {
        Ok(form)
    } else {
        Err(fails("its rules do not make the term"))
    }
}

/// The derivation of a candidate, from the rules that fired; `None` if it does not replay.
#[expect(clippy::too_many_arguments, reason = "a run's state and its inputs, each used once and kept apart")]
pub(super) fn derive(
    program: &Program,
    rules: &RuleBase,
    base: &Session,
    session: &Session,
    snapshot: &Snapshot,
    roots: &[Class],
    candidate: &Candidate,
    config: &NormalizeConfig<'_>,
    effort: &Effort,
) -> Result<Option<Derivation>, NormalizeError> {
    let mut fired: Vec<(&String, &usize)> =
        session.fired.iter().filter(|(name, _)| rules.rule(name).is_some() && !is_shape(name)).collect();
    fired.sort_by_key(|(name, first)| (**first, (*name).clone()));
    let (term, results) = write_term(snapshot, roots, &candidate.choice)?;
    let mut derivation = Derivation {
        source_hash: source_hash(program)?,
        rules_hash: rules.hash().to_owned(),
        numerics: config.numerics,
        rules: fired.into_iter().map(|(name, _)| name.clone()).collect(),
        term,
        results,
        parts: Vec::new(),
    };
    if !config.replay {
        return Ok(Some(derivation));
    }
    if rebuild(program, base, &derivation)? != candidate.form {
        return Ok(None);
    }
    let mut kept: Vec<String> = derivation.rules.clone();
    // A subset of the rules may diverge where all of them do not: it gets little more than they took.
    let limit = session
        .stats
        .matches
        .saturating_mul(SUBSET_SHARE)
        .saturating_add(SUBSET_BASE)
        .min(config.match_limit.saturating_mul(REPLAY_STAGES));
    let mut loaded = effort.loaded.clone();
    run(&mut loaded, "derivation", &derivation.term)?;
    // All bounds but the deadline are counts, so that the set found is the same on every machine.
    let (replays, searching) = (Cell::new(0), Cell::new(false));
    let is_over = || config.deadline.is_some_and(|passed| passed());
    let exhausted = || replays.get() >= MAX_REPLAYS || effort.left.get() == 0 || is_over();
    let holds = |kept: &[String]| {
        let names: BTreeSet<&str> = kept.iter().map(String::as_str).collect();
        let (holds, spent) = derives(program, &loaded, &derivation, &names, limit, config)?;
        replays.set(replays.get() + 1);
        let cost = spent + REPLAY_COST;
        if searching.get() {
            effort.left.set(effort.left.get().saturating_sub(cost));
            effort.searched.set(effort.searched.get() + cost);
        } else {
            effort.spent.set(effort.spent.get() + cost);
        }
        Ok::<bool, NormalizeError>(holds)
    };
    // What made another form often makes this one, and is small already.
    let mut found = false;
    for known in effort.sets.borrow().iter().rev() {
        if !exhausted() && known.iter().all(|rule| derivation.rules.contains(rule)) && holds(known)? {
            kept.retain(|rule| known.contains(rule));
            found = true;
            break;
        }
    }
    if !found && !holds(&kept)? {
        return Ok(None);
    }
    searching.set(true);
    // Whole rulesets first, then halves, then single rules.
    let rulesets: BTreeSet<String> = kept.iter().filter_map(|name| Some(name.split_once('/')?.0.to_owned())).collect();
    for ruleset in rulesets.into_iter().filter(|_| !found) {
        let rest: Vec<String> =
            kept.iter().filter(|name| name.split_once('/').is_none_or(|(r, _)| r != ruleset)).cloned().collect();
        if rest.len() < kept.len() && !exhausted() && holds(&rest)? {
            kept = rest;
        }
    }
    let mut chunk = if found { 1 } else { kept.len().div_ceil(2) };
    while chunk > 0 && !exhausted() {
        let mut at = 0;
        let mut removed = false;
        while at < kept.len() && !exhausted() {
            let mut rest = kept.clone();
            rest.drain(at..(at + chunk).min(kept.len()));
            if holds(&rest)? {
                kept = rest;
                removed = true;
            } else {
                at += chunk;
            }
        }
        if chunk == 1 && !removed {
            break;
        }
        chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2) };
    }
    if !effort.sets.borrow().contains(&kept) {
        effort.sets.borrow_mut().push(kept.clone());
    }
    derivation.rules = kept;
    Ok(Some(derivation))
}

fn is_shape(name: &str) -> bool {
    name.starts_with("shape/")
}

pub(super) fn source_hash(program: &Program) -> Result<String, NormalizeError> {
    let mut hash = Sha256::new();
    hash.update(encode::encode(program)?);
    for (id, node) in program.nodes.iter().enumerate() {
        if let crate::program::expr::Op::Array(values) = &node.op {
            hash.update(format!("{id}:{values:?}"));
        }
    }
    hash.update(format!("{:?}", program.roots));
    Ok(hexadecimal(&hash.finalize()))
}

/// Whether the rules named, with the shape rules, make the term equal to the program's results, and
/// how many matches that took. `loaded` has the program and the term.
fn derives(
    program: &Program,
    loaded: &Session,
    derivation: &Derivation,
    names: &BTreeSet<&str>,
    match_limit: usize,
    config: &NormalizeConfig<'_>,
) -> Result<(bool, usize), NormalizeError> {
    let mut session = loaded.select("derivation", |rule| is_shape(rule) || names.contains(rule))?;
    let pairs: Vec<(String, String)> =
        program.roots.iter().map(|&root| encode::name(root)).zip(derivation.results.iter().cloned()).collect();
    let mut rulesets: Vec<String> = SOURCE_RULESETS.map(str::to_owned).to_vec();
    rulesets.extend(session.algebra());
    session.define()?;
    // It ends at a number of matches, whatever the time: an answer that came too early would be a wrong one.
    let limits = Limits { matches: match_limit, tuples: config.tuple_limit, deadline: None };
    let equal = session.saturate_until(&rulesets, &limits, |session| {
        for (source, result) in &pairs {
            if value(session, source)? != value(session, result)? {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    Ok((equal, session.stats.matches))
}

/// The form that the term alone builds.
fn rebuild(program: &Program, base: &Session, derivation: &Derivation) -> Result<NormalForm, NormalizeError> {
    let mut session = base.select("term", is_shape)?;
    run(&mut session, "derivation", &derivation.term)?;
    let limits = Limits { matches: usize::MAX, tuples: usize::MAX, deadline: None };
    session.saturate(&SOURCE_RULESETS.map(str::to_owned), &limits)?;
    let values = derivation.results.iter().map(|name| value(&mut session, name)).collect::<Result<Vec<_>, _>>()?;
    let snapshot = Snapshot::read(&session.egraph)?;
    let roots: Vec<Class> = values.into_iter().filter_map(|value| snapshot.class(value)).collect();
    if roots.len() != derivation.results.len() {
        return Err(NormalizeError::DoesNotReplay { problem: "its term has no class".to_owned() });
    }
    let choice: Choice = snapshot
        .classes
        .iter()
        .enumerate()
        .filter_map(|(class, data)| data.terms.first().map(|term| (class, term.clone())))
        .collect();
    form::build(program, &snapshot, &choice, &roots)
}

fn run(session: &mut Session, name: &str, text: &str) -> Result<(), NormalizeError> {
    session
        .egraph
        .parse_and_run_program(Some(name.to_owned()), text)
        .map(|_| ())
        .map_err(|e| NormalizeError::Rules { file: name.to_owned(), message: e.to_string() })
}

fn value(session: &mut Session, name: &str) -> Result<Value, NormalizeError> {
    session
        .egraph
        .eval_expr(&Expr::Var(span!(), name.to_owned()))
        .map(|(_, value)| value)
        .map_err(|e| NormalizeError::Rules { file: "derivation".to_owned(), message: e.to_string() })
}

/// The chosen terms as `let`s, arguments first, and the names of the roots.
fn write_term(snapshot: &Snapshot, roots: &[Class], choice: &Choice) -> Result<(String, Vec<String>), NormalizeError> {
    let mut text = String::new();
    let mut names: BTreeMap<Class, String> = BTreeMap::new();
    let mut stack: Vec<Class> = roots.iter().rev().copied().collect();
    while let Some(&class) = stack.last() {
        if names.contains_key(&class) {
            stack.pop();
            continue;
        }
        let missing = || NormalizeError::Unbuildable { class };
        let term = choice.get(&class).ok_or_else(missing)?;
        let open: Vec<Class> = term.args().into_iter().filter(|arg| !names.contains_key(arg)).collect();
        if !open.is_empty() {
            stack.extend(open.into_iter().rev());
            continue;
        }
        stack.pop();
        let data = &snapshot.classes[class];
        let shape = encode::dims(data.shape.as_ref().ok_or_else(missing)?);
        let dtype = data.dtype.ok_or_else(missing)?;
        let arg = |class: &Class| names[class].as_str();
        let args = |classes: &[Class]| classes.iter().map(arg).collect::<Vec<_>>().join(" ");
        let expression = match term {
            Term::Input(param) => format!("(Input {param} {shape} \"{dtype}\")"),
            Term::Const((dtype, value)) => format!("(Const {})", encode::lit(*dtype, *value)),
            Term::Iota(n) => format!("(Iota {n})"),
            Term::Table(node) => format!("(Table {node} {shape} \"{dtype}\")"),
            Term::Map1(op, a) => format!("(Map1 \"{}\" {})", op.name(), arg(a)),
            Term::Map2(op, a, b) => format!("(Map2 \"{}\" {} {})", op.name(), arg(a), arg(b)),
            Term::Select(c, a, b) => format!("(Select {} {} {})", arg(c), arg(a), arg(b)),
            Term::Cast(a) => format!("(Cast \"{dtype}\" {})", arg(a)),
            Term::View(map, a) => format!("(View (index-map \"{}\") {})", map.to_text(), arg(a)),
            Term::Cat { axis, parts, args: all } => {
                format!("(Cat {axis} {shape} {} (vec-of {}))", encode::dims(parts), args(all))
            }
            Term::Pick(a, x) => format!("(Pick {} {})", arg(a), arg(x)),
            Term::Reshape(a) => format!("(Reshape {shape} {})", arg(a)),
            Term::Contract(spec, all) => {
                format!("(Contract (spec \"{}\") (vec-of {}))", spec.to_text(), args(all))
            }
        };
        let name = encode::global("f", names.len());
        text.push_str(&format!("(let {name} {expression})\n"));
        names.insert(class, name);
    }
    let results = roots
        .iter()
        .map(|root| names.get(root).cloned().ok_or(NormalizeError::Unbuildable { class: *root }))
        .collect::<Result<Vec<_>, _>>()?;
    Ok((text, results))
}
