//! Whether the pieces of a definition are disjoint and hold all that is needed of it: proofs by
//! integer elimination, for domains of any size.

use crate::form::normal_form::Piece;
use crate::integer::affine::Affine;
use crate::integer::range::Range;
use crate::integer::set::{Answer, IntegerSet};

/// The integer points of a list of conditions.
#[derive(Clone)]
struct Conditions {
    variables: usize,
    forms: Vec<Affine>,
}

impl Conditions {
    fn answer(&self) -> Answer {
        let mut set = IntegerSet::all(self.variables);
        for form in &self.forms {
            set.require_non_negative(form, |variable| variable);
        }
        set.answer()
    }

    fn and(&self, form: Affine) -> Conditions {
        let mut more = self.clone();
        more.forms.push(form);
        more
    }
}

/// The conditions of a domain; `at` replaces its axes.
fn conditions(domain: &[Range], at: &impl Fn(usize) -> Affine) -> Vec<Affine> {
    let mut forms = Vec::new();
    for (axis, range) in domain.iter().enumerate() {
        forms.extend(range.lo.iter().map(|low| at(axis).minus(&low.substitute(at))));
        forms.extend(range.hi.iter().map(|high| high.substitute(at).minus(&at(axis)).offset(-1)));
    }
    forms
}

/// Whether two domains have a common point.
pub fn overlap(one: &[Range], other: &[Range]) -> Answer {
    let mut forms = conditions(one, &Affine::variable);
    forms.extend(conditions(other, &Affine::variable));
    Conditions { variables: one.len().max(other.len()), forms }.answer()
}

/// Whether `index`, affine over the axes of `domain`, leaves the pieces of a definition with
/// `index.len()` points somewhere.
pub fn uncovered(domain: &[Range], index: &[Affine], pieces: &[Piece]) -> Answer {
    let all = Conditions { variables: domain.len(), forms: conditions(domain, &Affine::variable) };
    let at = |axis: usize| index.get(axis).cloned().unwrap_or_default();
    let parts: Vec<Vec<Affine>> = pieces.iter().map(|piece| conditions(&piece.domain[..index.len()], &at)).collect();
    outside(all, &parts)
}

/// Whether a set has a point in none of the parts.
fn outside(set: Conditions, parts: &[Vec<Affine>]) -> Answer {
    let own = set.answer();
    let Some((part, rest)) = parts.split_first() else { return own };
    if own == Answer::Empty {
        return own;
    }
    // What is outside the part fails its first condition, or holds it and fails the second, …
    let mut inside = set;
    let mut found = Answer::Empty;
    for condition in part {
        let fails = inside.and(condition.times(-1).offset(-1));
        match outside(fails, rest) {
            Answer::Inhabited => return Answer::Inhabited,
            Answer::Maybe => found = Answer::Maybe,
            Answer::Empty => {}
        }
        inside = inside.and(condition.clone());
    }
    found
}
