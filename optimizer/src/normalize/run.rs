//! Loading a rule base into an e-graph and saturating it in stages, within limits.

use super::budget::Budget;
use super::primitives::{self, GUARD};
use super::{Limit, NormalizeError, Stats};
use crate::value::scalar::{BinaryOp, FoldOp, UnaryOp};
use egglog::ast::{Command, Expr, GenericCommand, GenericFact};
use egglog::{EGraph, span};
use moat_rules::{Numerics, RuleBase};
use std::collections::BTreeMap;

/// What bounds a run. Matches come first: they alone make a run end at the same point every time.
#[derive(Clone, Copy)]
pub(super) struct Limits<'a> {
    pub(super) matches: usize,
    pub(super) tuples: usize,
    pub(super) deadline: Option<&'a dyn Fn() -> bool>,
}

impl Limits<'_> {
    /// Whether time is up.
    pub(super) fn is_over(&self) -> bool {
        self.deadline.is_some_and(|passed| passed())
    }
}

/// An e-graph with the rules of a rule base.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) egraph: EGraph,
    budget: Budget,
    /// For each ruleset, the rules in it.
    rules: BTreeMap<String, Vec<String>>,
    /// For each ruleset, what egglog calls the rules of it that are to run.
    selected: BTreeMap<String, String>,
    pub(super) stats: Stats,
    /// The names of the rules that matched, with the iteration of their first match.
    pub(super) fired: BTreeMap<String, usize>,
}

/// The rulesets that make the source form, and no algebra.
pub(super) const SOURCE_RULESETS: [&str; 3] = ["definitions", "psi", "shapes"];

impl Session {
    /// Loads the rules that hold at `numerics`.
    ///
    /// # Errors
    /// A rule file that egglog does not accept.
    pub(super) fn load(rules: &RuleBase, numerics: Numerics) -> Result<Session, NormalizeError> {
        let budget = Budget::new(usize::MAX);
        let mut egraph = EGraph::default().with_num_threads(1);
        let mut grouped: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let setup = |error: String| NormalizeError::Rules { file: "primitives".to_owned(), message: error };
        primitives::install_sorts(&mut egraph).map_err(|e| setup(e.to_string()))?;
        primitives::install(&mut egraph, &budget, false).map_err(|e| setup(e.to_string()))?;
        for (at, file) in rules.files_at(numerics).enumerate() {
            let broken = |e: egglog::Error| NormalizeError::Rules { file: file.name.clone(), message: e.to_string() };
            let text = expand_names(&file.text);
            let mut commands = egraph.parse_program(Some(file.name.clone()), &text).map_err(broken)?;
            let mut own = Vec::new();
            for command in &mut commands {
                add_guard(command);
                if let Some((ruleset, name)) = take_ruleset(command) {
                    own.push(GenericCommand::AddRuleset(span!(), name.clone()));
                    grouped.entry(ruleset).or_default().push(name);
                }
            }
            egraph.run_program(own).map_err(broken)?;
            egraph.run_program(commands).map_err(broken)?;
            if at == 0 {
                primitives::install(&mut egraph, &budget, true).map_err(|e| setup(e.to_string()))?;
            }
        }
        let session = Session {
            egraph,
            budget,
            rules: grouped,
            selected: BTreeMap::new(),
            stats: Stats::default(),
            fired: BTreeMap::new(),
        };
        session.select("every", |_| true)
    }

    /// A copy in which only the rules that `keep` names run. `label` tells selections apart.
    ///
    /// # Errors
    /// If egglog refuses the selection.
    pub(super) fn select(&self, label: &str, keep: impl Fn(&str) -> bool) -> Result<Session, NormalizeError> {
        let mut session = self.clone();
        for (ruleset, rules) in &self.rules {
            let name = format!("{label} {ruleset}");
            let kept = rules.iter().filter(|rule| keep(rule)).cloned().collect();
            session
                .egraph
                .run_program(vec![GenericCommand::UnstableCombinedRuleset(span!(), name.clone(), kept)])
                .map_err(|e| NormalizeError::Rules { file: ruleset.clone(), message: e.to_string() })?;
            session.selected.insert(ruleset.clone(), name);
        }
        Ok(session)
    }

    /// The rulesets that are loaded.
    pub(super) fn rulesets(&self) -> Vec<String> {
        self.rules.keys().cloned().collect()
    }

    /// The rulesets that are loaded and are not those of the source form.
    pub(super) fn algebra(&self) -> Vec<String> {
        self.rules.keys().filter(|name| !SOURCE_RULESETS.contains(&name.as_str())).cloned().collect()
    }

    /// Gives every operator its core form, which takes as many matches as the program is long: without limits.
    ///
    /// # Errors
    /// Rules that equate arrays of different shape or dtype.
    pub(super) fn define(&mut self) -> Result<(), NormalizeError> {
        let limits = Limits { matches: usize::MAX, tuples: usize::MAX, deadline: None };
        self.saturate(&["definitions".to_owned()], &limits)
    }

    /// Runs the rulesets, each once in a round and `shape` to its fixpoint before each, until
    /// nothing changes or a limit is met.
    ///
    /// # Errors
    /// Rules that equate arrays of different shape or dtype.
    pub(super) fn saturate(&mut self, rulesets: &[String], limits: &Limits<'_>) -> Result<(), NormalizeError> {
        self.saturate_until(rulesets, limits, |_| Ok(false)).map(|_| ())
    }

    /// [`Session::saturate`], ended early by `done`, which is asked after each round; its last
    /// answer.
    ///
    /// # Errors
    /// Rules that equate arrays of different shape or dtype.
    pub(super) fn saturate_until(
        &mut self,
        rulesets: &[String],
        limits: &Limits<'_>,
        mut done: impl FnMut(&mut Session) -> Result<bool, NormalizeError>,
    ) -> Result<bool, NormalizeError> {
        self.budget.refill(limits.matches);
        let before = self.stats.matches;
        loop {
            let mut changed = self.shapes()?;
            for ruleset in rulesets {
                if ruleset == "shapes" {
                    continue;
                }
                changed |= self.step(ruleset)?;
                changed |= self.shapes()?;
                self.stats.matches = before + (limits.matches - self.budget.left());
                self.stats.tuples = self.egraph.num_tuples();
                let limit = if self.budget.left() == 0 {
                    Some(Limit::Matches)
                } else if self.stats.tuples > limits.tuples {
                    Some(Limit::Tuples)
                } else if limits.is_over() {
                    Some(Limit::Time)
                } else {
                    None
                };
                if limit.is_some() {
                    self.stats.stopped_by = limit;
                    // Terms made by the last matches need their facts all the same.
                    self.budget.refill(usize::MAX);
                    self.shapes()?;
                    return done(self);
                }
            }
            if done(self)? {
                return Ok(true);
            }
            if !changed {
                return Ok(false);
            }
        }
    }

    /// The rule after whose match arrays of different shape or dtype are equal: the run again, with
    /// each rule in a round of its own.
    ///
    /// # Errors
    /// A program that egglog refuses.
    pub(super) fn culprit(&self, program: &str, limits: &Limits<'_>) -> Result<Option<String>, NormalizeError> {
        let mut session = self.clone();
        session
            .egraph
            .parse_and_run_program(None, program)
            .map_err(|e| NormalizeError::Rules { file: "program".to_owned(), message: e.to_string() })?;
        session.budget.refill(limits.matches);
        if session.shapes().is_err() {
            return Ok(None);
        }
        // What the program means comes first: a wrong law is the one that contradicts it.
        let of = |source: bool| -> Vec<String> {
            let wanted = |ruleset: &str| SOURCE_RULESETS.contains(&ruleset) == source && ruleset != "shapes";
            self.rules.iter().filter(|(ruleset, _)| wanted(ruleset)).flat_map(|(_, rules)| rules.clone()).collect()
        };
        let (source, algebra) = (of(true), of(false));
        let everything = [source.clone(), algebra].concat();
        for rules in [source, everything] {
            loop {
                let mut changed = false;
                for rule in &rules {
                    let stepped = session.egraph.step_rules(rule).map(|report| report.updated);
                    match stepped.map_err(|_| ()).and_then(|updated| Ok(updated | session.shapes().map_err(|_| ())?)) {
                        Ok(updated) => changed |= updated,
                        Err(()) => return Ok(Some(rule.clone())),
                    }
                }
                if !changed || session.budget.left() == 0 || session.egraph.num_tuples() > limits.tuples {
                    break;
                }
            }
        }
        Ok(None)
    }

    fn shapes(&mut self) -> Result<bool, NormalizeError> {
        let mut changed = false;
        while self.step("shapes")? {
            changed = true;
        }
        Ok(changed)
    }

    /// One round of one ruleset; whether it changed anything.
    fn step(&mut self, ruleset: &str) -> Result<bool, NormalizeError> {
        let Some(selected) = self.selected.get(ruleset) else { return Ok(false) };
        let report = self.egraph.step_rules(selected).map_err(|e| NormalizeError::Clash {
            ruleset: ruleset.to_owned(),
            message: e.to_string(),
            suspects: self.fired.keys().filter(|name| !name.starts_with("shape/")).cloned().collect(),
        })?;
        self.stats.iterations += 1;
        for (rule, matches) in report.num_matches_per_rule.iter().map(|(rule, n)| (rule.to_string(), *n)) {
            if matches > 0 {
                self.fired.entry(rule).or_insert(self.stats.iterations);
            }
        }
        Ok(report.updated)
    }
}

/// Moves a rule into a ruleset of its own, so that rules can be run in any selection; its old
/// ruleset and its name.
fn take_ruleset(command: &mut Command) -> Option<(String, String)> {
    if let GenericCommand::Rule { rule } = command {
        let name = rule.name.clone();
        Some((std::mem::replace(&mut rule.ruleset, name.clone()), name))
    } else if let GenericCommand::Rewrite(ruleset, rewrite, _) | GenericCommand::BiRewrite(ruleset, rewrite) = command {
        let name = rewrite.name.clone();
        Some((std::mem::replace(ruleset, name.clone()), name))
    } else {
        None
    }
}

/// Appends the guard to the conditions of a rule.
fn add_guard(command: &mut Command) {
    let guard = || GenericFact::Fact(Expr::Call(span!(), GUARD.to_owned(), Vec::new()));
    if let GenericCommand::Rule { rule } = command {
        rule.body.push(guard());
    } else if let GenericCommand::Rewrite(_, rewrite, _) | GenericCommand::BiRewrite(_, rewrite) = command {
        rewrite.conditions.push(guard());
    }
}

/// `(Add …` for `(Map2 "add" …`, and so on for every element-wise operator and every fold.
pub(super) fn expand_names(text: &str) -> String {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let title = |name: &str| match name {
        "floordiv" => "FloorDiv".to_owned(),
        _ => name[..1].to_uppercase() + &name[1..],
    };
    for op in UnaryOp::ALL {
        names.insert(title(op.name()), format!("Map1 \"{}\"", op.name()));
    }
    for op in BinaryOp::ALL {
        names.insert(title(op.name()), format!("Map2 \"{}\"", op.name()));
    }
    for op in FoldOp::ALL {
        names.insert(title(op.name()), format!("Reduce \"{}\"", op.name()));
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('(') {
        let (before, after) = rest.split_at(at + 1);
        result.push_str(before);
        let end = after.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(after.len());
        let word = &after[..end];
        let is_head = after[end..].starts_with(char::is_whitespace);
        result.push_str(names.get(word).filter(|_| is_head).map_or(word, String::as_str));
        rest = &after[end..];
    }
    result.push_str(rest);
    result
}
