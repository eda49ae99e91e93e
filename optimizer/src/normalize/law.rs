//! What a rule's example shows: that the rule fires on it, that both sides are proven equal, and
//! the form of each side, so that a test can compute both.

use super::cost::Roofline;
use super::run::{Limits, Session};
use super::term::{Snapshot, Term};
use super::{NormalizeError, check_results, extract};
use crate::form::normal_form::NormalForm;
use crate::program::expr::{InputHint, Node, Op, Param, Program, Span};
use crate::value::dtype::{DType, Literal};
use egglog::ast::Expr;
use egglog::span;
use moat_rules::{Rule, RuleBase};

/// An example, worked out.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Whether the rule fired.
    pub fired: bool,
    /// Whether the rules of its numerics prove both sides equal.
    pub proven: bool,
    /// The left side as a form, made by definitions alone and without the rule.
    pub before: NormalForm,
    /// The right side.
    pub after: NormalForm,
}

const LIMITS: Limits<'static> = Limits { matches: 20_000, tuples: 50_000, deadline: None };

/// Works out the example of a rule, `before => after`.
///
/// # Errors
/// An example that is no pair of terms, or a term without a form.
pub fn example(rules: &RuleBase, rule: &Rule) -> Result<Example, NormalizeError> {
    let broken = |message: String| NormalizeError::Rules { file: format!("the example of {}", rule.name), message };
    let (before, after) = rule.example.split_once(" => ").ok_or_else(|| broken("no ` => `".to_owned()))?;
    let numerics = rules
        .files()
        .iter()
        .find(|file| file.rules.iter().any(|other| other.name == rule.name))
        .map(|file| file.numerics)
        .ok_or_else(|| broken("no such rule".to_owned()))?;
    let base = Session::load(rules, numerics)?;

    let mut session = base.clone();
    let rulesets: Vec<String> = session.rulesets();
    let text = super::run::expand_names(&format!("(let $before {before})\n(let $after {after})\n"));
    session.egraph.parse_and_run_program(None, &text).map_err(|e| broken(e.to_string()))?;
    let proven = session.saturate_until(&rulesets, &LIMITS, |session| {
        let mut values = Vec::new();
        for name in ["$before", "$after"] {
            let value = session.egraph.eval_expr(&Expr::Var(span!(), name.to_owned()));
            values.push(value.map_err(|e| broken(e.to_string()))?.1);
        }
        Ok(values[0] == values[1] && session.fired.contains_key(&rule.name))
    })?;
    let fired = session.fired.contains_key(&rule.name);
    Ok(Example { fired, proven, before: side(&base, rule, before)?, after: side(&base, rule, after)? })
}

/// The form of one side, by shapes and definitions.
fn side(base: &Session, rule: &Rule, text: &str) -> Result<NormalForm, NormalizeError> {
    let broken = |message: String| NormalizeError::Rules { file: format!("the example of {}", rule.name), message };
    let is_definition = |name: &str| name.starts_with("definitions/") || name.starts_with("shape/");
    let mut session = base.select("side", is_definition)?;
    let text = super::run::expand_names(&format!("(let $side {text})\n"));
    session.egraph.parse_and_run_program(None, &text).map_err(|e| broken(e.to_string()))?;
    session.saturate(&["definitions".to_owned()], &LIMITS)?;
    let (_, value) =
        session.egraph.eval_expr(&Expr::Var(span!(), "$side".to_owned())).map_err(|e| broken(e.to_string()))?;
    let snapshot = Snapshot::read(&session.egraph)?;
    let root = snapshot.class(value).ok_or_else(|| broken(format!("`{text}` has no core form")))?;
    let program = program_of(&snapshot, root);
    let best = extract::extract(&program, &snapshot, &[root], 1, &Roofline::default())?;
    let best = best.into_iter().next().ok_or_else(|| broken("no form".to_owned()))?;
    check_results(&program, &best.form)?;
    Ok(best.form)
}

/// A program with the parameters that the terms read.
fn program_of(snapshot: &Snapshot, root: usize) -> Program {
    let mut program = Program { name: "example".to_owned(), ..Program::default() };
    let count = snapshot
        .classes
        .iter()
        .flat_map(|data| &data.terms)
        .filter_map(|term| if let Term::Input(at) = term { Some(at + 1) } else { None })
        .max()
        .unwrap_or(0);
    for at in 0..count {
        let class = snapshot.classes.iter().find(|data| data.terms.contains(&Term::Input(at)));
        let shape = class.and_then(|data| data.shape.clone()).unwrap_or_default();
        let dtype = class.and_then(|data| data.dtype).unwrap_or(DType::F32);
        program.params.push(Param { name: format!("x{at}"), dtype, shape, hint: InputHint::Any });
    }
    // Tables of an example name node 0.
    for data in &snapshot.classes {
        if let (Some(shape), Some(dtype), true) = (&data.shape, data.dtype, data.terms.contains(&Term::Table(0))) {
            let values = (0..shape.iter().product::<usize>()).map(|at| Literal::Int(i64::try_from(at).unwrap_or(0)));
            program.nodes.push(Node {
                op: Op::Array(values.map(|value| value.at(dtype)).collect()),
                args: Vec::new(),
                shape: shape.clone(),
                live: Vec::new(),
                dtype,
                span: Span::default(),
            });
        }
    }
    let data = &snapshot.classes[root];
    let (shape, dtype) = (data.shape.clone().unwrap_or_default(), data.dtype.unwrap_or(DType::F32));
    program.nodes.push(Node {
        op: Op::Input(0),
        args: Vec::new(),
        shape,
        live: Vec::new(),
        dtype,
        span: Span::default(),
    });
    program.roots = vec![program.nodes.len() - 1];
    program
}
