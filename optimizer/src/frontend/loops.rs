//! Loops over `range`, and conditions on their variables.
//!
//! A loop's body is read once, with its variable as an affine form. What it rebinds is the business of
//! [`super::carry`].

use super::carry::{Join, Kind};
use super::evaluate::Evaluator;
use super::statement::Flow;
use super::syntax::{assigned, first_line, has_return, span_of, targets};
use super::truth::Truth;
use super::unroll::Counted;
use super::value::{Arg, Condition, Eval, Poisoned, Range, Value};
use crate::integer::affine::Affine;
use crate::program::expr::{Span, Statement};
use rustpython_ruff_python_ast::{self as ast, ElifElseClause, Expr, Stmt};
use std::collections::BTreeSet;

/// Loops and conditions on loop variables nest at most this deep.
const MAX_NESTING: usize = 16;

/// A workload has at most this many loops and conditions, the inlined ones included.
const MAX_JOINS: usize = 2_000;

impl<'s> Evaluator<'s> {
    /// `for name in range(…)`.
    pub(super) fn for_loop(&mut self, block: &'s ast::StmtFor) -> Flow {
        let place = first_line(self.diagnostics.source(), span_of(block));
        if self.names.is_in_module() {
            let help = "write it in a function";
            self.unsupported(place, "a loop outside of a function", help);
            self.poison_body(&block.body);
            return Flow::Next;
        }
        let begun = self.begin(block, place);
        let Ok((name, range)) = begun else {
            self.poison_body(&block.body);
            let mut names = BTreeSet::new();
            targets(&block.target, &mut names);
            names.iter().for_each(|name| self.bind(name, Value::Poison));
            return self.block(&block.orelse);
        };
        if has_return(&block.body) {
            let help = "assign the result to a name in the loop, and return that after it";
            self.unsupported(place, "'return' in a loop", help);
            self.poison_body(&block.body);
            return Flow::Next;
        }
        let Some((lo, hi, value)) = self.counted(&name, &range, place) else {
            self.poison_body(&block.body);
            return Flow::Next;
        };
        // A loop that surely has no iteration assigns nothing.
        if !self.control.domain().proves(&lo.minus(&hi)) {
            self.run_loop(block, &name, (lo, hi), value, place);
        }
        self.block(&block.orelse)
    }

    /// The name and the range of a loop.
    fn begin(&mut self, block: &'s ast::StmtFor, place: Span) -> Result<(String, Range), Poisoned> {
        let iter = self.arg(&block.iter);
        if self.control.depth() >= MAX_NESTING || self.control.joins() >= MAX_JOINS {
            let help = "at most 16 loops and conditions in one another, 2000 in all";
            return Err(self.error(place, "there are too many loops", Some(help)));
        }
        let Expr::Name(name) = &*block.target else {
            let help = "write: for k in range(n)";
            return Err(self.unsupported(span_of(&*block.target), "this target of a loop", help));
        };
        match iter.value {
            Value::Range(range) => Ok((name.id.as_str().to_owned(), range)),
            Value::Poison => Err(Poisoned),
            other => {
                let construct = format!("a loop over {}", self.describe(&other));
                let help = "loops run over range(…): for k in range(n), with x[k] in the body";
                Err(self.unsupported(iter.span, &construct, help))
            }
        }
    }

    /// The bounds of a loop that counts up by 1, and the Python variable in terms of its own, which comes next.
    fn counted(&mut self, name: &str, range: &Range, span: Span) -> Option<(Affine, Affine, Affine)> {
        let own = Affine::variable(self.control.next_variable());
        let Range { start, stop, step } = range;
        if *step == 1 {
            return Some((start.clone(), stop.clone(), own));
        }
        let distance = if *step > 0 { stop.minus(start) } else { start.minus(stop) };
        let count = i64::try_from(step.unsigned_abs()).ok().and_then(|step| Evaluator::quotient(&distance, step));
        let small = step.unsigned_abs() < 1 << 20;
        let Some(count) = count.filter(|_| small) else {
            let message = format!("the number of iterations of the loop over '{name}' is no affine form");
            let help =
                "with a step other than 1 or -1, let start and stop differ by a constant or a multiple of the step";
            self.error(span, message, Some(help));
            return None;
        };
        Some((Affine::constant(0), count, start.plus(&own.times(*step))))
    }

    /// What `body` appends, in a loop that counts from `lo` to below `hi`; its variable is what `body` is given.
    pub(super) fn counted_loop(
        &mut self,
        name: &str,
        (lo, hi): (Affine, Affine),
        body: impl FnOnce(&mut Self, usize) -> Eval<()>,
    ) -> Eval<()> {
        let var = self.control.enter_loop(name.to_owned(), lo.clone(), hi.clone());
        let done = body(self, var);
        let body = self.control.leave_loop();
        if !body.is_empty() {
            self.control.append(Statement::Loop { var, name: name.to_owned(), lo, hi, body });
        }
        done
    }

    fn run_loop(
        &mut self,
        block: &'s ast::StmtFor,
        name: &str,
        (lo, hi): (Affine, Affine),
        value: Affine,
        place: Span,
    ) {
        let mut names = BTreeSet::new();
        assigned(&block.body, &mut names);
        names.remove(name);
        let here = self.position.next(place.start);
        let own = self.control.next_variable();
        let range = (lo.clone(), hi.clone());
        let counted = Counted { block, name: name.to_owned(), place, here, range, own, value, names };
        if self.unrolled_loop(&counted) {
            return;
        }
        let Counted { value, names, .. } = counted;
        let always = self.control.domain().proves(&hi.minus(&lo).offset(-1));
        let join = self.open_join(names, place, here, Kind::Loop);
        let var = self.control.next_variable();
        let plain = value == Affine::variable(var);
        let shown = if plain { name.to_owned() } else { format!("{name}'") };
        self.control.enter_loop(shown, lo.clone(), hi.clone());
        let value = self.form_value(value);
        self.bind(name, value);
        let outer = self.position.enter_copy(0);
        self.block(&block.body);
        self.position.leave(outer);
        self.close_branch(&join, always);
        let body = self.control.leave_loop();
        self.close_join(join, always);
        self.names.lose(name);
        if !body.is_empty() {
            self.control.append(Statement::Loop { var, name: name.to_owned(), lo, hi, body });
        }
    }

    /// `if` on a condition that depends on loop variables, with the clauses that follow.
    pub(super) fn conditional_in_loop(
        &mut self,
        conditional: &'s ast::StmtIf,
        body: &'s [Stmt],
        condition: &Condition,
        clauses: &'s [ElifElseClause],
    ) -> Flow {
        let place = first_line(self.diagnostics.source(), span_of(conditional));
        let mut names = BTreeSet::new();
        assigned(body, &mut names);
        let returns = has_return(body) || clauses.iter().any(|clause| has_return(&clause.body));
        clauses.iter().for_each(|clause| assigned(&clause.body, &mut names));
        let nested = self.control.depth() >= MAX_NESTING || self.control.joins() >= MAX_JOINS;
        if returns || nested {
            let help = "assign the result to a name, and return that after the loop";
            if returns {
                self.unsupported(place, "'return' under a condition on a loop's variable", help);
            } else {
                self.error(place, "there are too many loops and conditions", Some("at most 16 in one another"));
            }
            names.iter().for_each(|name| self.bind(name, Value::Poison));
            return Flow::Next;
        }
        let here = self.position.next(place.start);
        let join = self.open_join(names, place, here, Kind::Condition);
        for case in &condition.cases {
            self.branch(case, &join, |evaluator| drop(evaluator.block(body)));
        }
        if let Ok(otherwise) = self.negation(&condition.cases, place) {
            for case in &otherwise {
                self.branch(case, &join, |evaluator| drop(evaluator.clauses(conditional, clauses)));
            }
        }
        self.close_join(join, false);
        Flow::Next
    }

    /// Reads statements under conditions.
    fn branch(&mut self, case: &[Affine], join: &Join, read: impl FnOnce(&mut Self)) {
        let case = self.without_implied(case);
        self.next_branch(join);
        let outer = self.control.assume(case.iter().cloned());
        self.control.enter_block();
        read(self);
        self.close_branch(join, false);
        let body = self.control.leave_block();
        self.control.forget(outer);
        if !body.is_empty() {
            self.control.append(Statement::If { conditions: case, body });
        }
    }

    /// The forms of a case that do not follow from the others and from what is known here.
    fn without_implied(&self, case: &[Affine]) -> Vec<Affine> {
        let mut kept = case.to_vec();
        for form in case {
            let Some(at) = kept.iter().position(|other| other == form) else { continue };
            let mut domain = self.control.domain().clone();
            let others = kept.iter().enumerate().filter(|(other, _)| *other != at);
            domain.conditions.extend(others.map(|(_, form)| form.clone()));
            if domain.proves(form) {
                kept.remove(at);
            }
        }
        kept
    }

    /// The `elif` and `else` clauses of a condition.
    pub(super) fn clauses(&mut self, conditional: &'s ast::StmtIf, clauses: &'s [ElifElseClause]) -> Flow {
        let Some((clause, rest)) = clauses.split_first() else { return Flow::Next };
        let Some(test) = &clause.test else { return self.block(&clause.body) };
        let test = self.arg(test);
        self.decide(conditional, &test, &clause.body, rest)
    }

    /// Runs a body if a condition holds, the clauses after it otherwise.
    pub(super) fn decide(
        &mut self,
        conditional: &'s ast::StmtIf,
        test: &Arg,
        body: &'s [Stmt],
        clauses: &'s [ElifElseClause],
    ) -> Flow {
        match self.truth_of(&test.value, test.span) {
            Ok(Truth::Known(true)) => self.block(body),
            Ok(Truth::Known(false)) => self.clauses(conditional, clauses),
            Ok(Truth::Condition(condition)) => self.conditional_in_loop(conditional, body, &condition, clauses),
            Ok(Truth::Runtime(_)) => {
                self.undecided_truth(&test.value, test.span);
                self.undecided(conditional)
            }
            Err(Poisoned) => self.undecided(conditional),
        }
    }

    fn poison_body(&mut self, body: &'s [Stmt]) {
        let mut names = BTreeSet::new();
        assigned(body, &mut names);
        names.iter().for_each(|name| self.bind(name, Value::Poison));
    }
}
