//! The pipeline from a program to what a schedule can be made for: normalize, orders of loops, storage.
//!
//! Takes a program and rules; gives equal forms, each with its derivation, the source form
//! first. What a limit left out and what was dropped is counted. Nothing else puts these stages
//! together.

use crate::form::verify::FormError;
use crate::normalize::{
    Derivation, Form, Limit, NormalizeConfig, NormalizeError, Stats, bytes_moved, flops, normalize,
};
use crate::orders::{ORDERS, Order};
use crate::program::expr::Program;
use crate::storage::{Schedulable, settle};
use crate::value::numerics::Numerics;
use moat_rules::RuleBase;

/// What bounds the search for forms.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// The most forms to return, the source form included; at least 1.
    pub forms: usize,
    /// Answers whether time is up. The source form is found in any case; what ends is the search for others.
    pub is_over: &'a dyn Fn() -> bool,
}

impl Limits<'_> {
    /// At most so many forms, however long they take.
    pub fn at_most(forms: usize) -> Limits<'static> {
        Limits { forms, is_over: &|| false }
    }
}

impl Default for Limits<'_> {
    /// Eight forms, however long they take.
    fn default() -> Self {
        Limits::at_most(8)
    }
}

/// A form of a program that a schedule can be made for.
#[derive(Clone, Debug, PartialEq)]
pub struct DerivedForm {
    /// The form.
    pub form: Schedulable,
    /// The laws that make it.
    pub derivation: Derivation,
    /// Its scalar operations, as [`flops`] counts them.
    pub flops: u64,
    /// The bytes it moves, as [`bytes_moved`] counts them.
    pub bytes: u64,
}

/// The forms of a program.
#[derive(Clone, Debug)]
pub struct Forms {
    /// The source form first.
    pub forms: Vec<DerivedForm>,
    /// Time was up before all were found.
    pub cut: bool,
    /// Changes of order, a form and an [`Order`] each, that were not tried, since there were as many forms as the limit.
    pub untried: usize,
    /// Forms in other orders of loops that broke an invariant and were dropped: each is a bug of moat.
    pub broken: Vec<Broken>,
    /// What other limits left out, for a person: a line each.
    pub limits: Vec<String>,
}

/// A form that was dropped, since it broke an invariant.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// The laws that made it.
    pub laws: &'static [&'static str],
    /// The number of the form that they were applied to.
    pub form: usize,
    /// What it breaks.
    pub error: FormError,
}

/// A program without usable normal forms.
#[derive(Debug, thiserror::Error)]
pub enum FormsError {
    /// Normalizing failed.
    #[error(transparent)]
    Normalize(#[from] NormalizeError),
    /// Normalizing gave a form that is none.
    #[error("a normal form breaks its invariants, which is a bug of moat")]
    Broken(#[from] FormError),
}

/// The forms of `program` that schedules can be made for, the source form first.
///
/// # Errors
/// If the program has no normal form.
pub fn forms(
    program: &Program,
    rules: &RuleBase,
    numerics: Numerics,
    limits: &Limits<'_>,
) -> Result<Forms, FormsError> {
    let config =
        NormalizeConfig { numerics, max_forms: limits.forms, deadline: Some(limits.is_over), ..Default::default() };
    let normalized = normalize(program, rules, &config)?;
    let mut found = Forms {
        forms: normalized.forms.iter().map(settled).collect::<Result<_, FormError>>()?,
        cut: false,
        untried: 0,
        broken: Vec::new(),
        limits: left_out(&normalized.stats),
    };
    for (number, form) in normalized.forms.iter().enumerate() {
        for order in &ORDERS {
            if found.forms.len() + found.broken.len() >= limits.forms {
                found.untried += 1;
            } else if !(limits.is_over)() {
                found.add_in_order(number, form, order, numerics);
            }
        }
    }
    found.cut = (limits.is_over)();
    found.limits.extend(found.dropped());
    Ok(found)
}

impl Forms {
    /// Adds `form` in another order of its loops, if it has one.
    fn add_in_order(&mut self, number: usize, form: &Form, order: &Order, numerics: Numerics) {
        let Some(reordered) = reordered(form, order, numerics) else { return };
        match settled(&reordered) {
            Ok(candidate) => self.forms.push(candidate),
            Err(error) => self.broken.push(Broken { laws: order.laws, form: number, error }),
        }
    }

    /// What was left out of the orders of loops, for a person.
    fn dropped(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.untried > 0 {
            let (count, untried) = (self.forms.len(), self.untried);
            lines.push(format!("at the limit of {count} forms {untried} changes of the order of loops were not tried"));
        }
        for Broken { laws, form, error } in &self.broken {
            let laws = laws.join(", ");
            lines.push(format!("form {form} under {laws} was dropped, which is a bug of moat: {error}"));
        }
        lines
    }
}

/// A form in another order of its loops, and its derivation.
pub fn reordered(form: &Form, order: &Order, numerics: Numerics) -> Option<Form> {
    let normal_form = order.of(&form.normal_form, numerics)?;
    let mut derivation = form.derivation.clone();
    derivation.rules.extend(order.laws.iter().map(|&law| law.to_owned()));
    let (flops, bytes) = (flops(&normal_form), bytes_moved(&normal_form));
    Some(Form { normal_form, derivation, flops, bytes })
}

fn settled(form: &Form) -> Result<DerivedForm, FormError> {
    let Form { normal_form, derivation, flops, bytes } = form;
    Ok(DerivedForm { form: settle(normal_form)?, derivation: derivation.clone(), flops: *flops, bytes: *bytes })
}

/// What limits left out of the search for forms by rules, for a person.
fn left_out(stats: &Stats) -> Vec<String> {
    let mut lines = Vec::new();
    if stats.sections > 0 {
        let sections = stats.sections;
        lines.push(format!("long expressions are taken in {sections} sections: no rule is applied across two of them"));
    }
    let reached = match stats.stopped_by {
        Some(Limit::Matches) => Some(format!("{} matches", stats.matches)),
        Some(Limit::Tuples) => Some(format!("{} rows", stats.tuples)),
        Some(Limit::Time) | None => None,
    };
    if let Some(reached) = reached {
        lines.push(format!("the rules ran to their limit, {reached} in all: forms beyond are not searched"));
    }
    if stats.unreduced > 0 {
        lines.push(format!("of {} expressions, only the form that their definitions make is offered", stats.unreduced));
    }
    lines
}
