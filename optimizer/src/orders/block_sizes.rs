//! A loop in strips: blocks of a constant number of its iterations, one after the other.
//!
//! Input: a loop whose first iteration is one form. Output: the loop of strips with the loop of a strip's iterations inside,
//! and what is to be done before and after those.
//!
//! Source: M. Wolfe, *More iteration space tiling* (Supercomputing 1989): strip mining.

use crate::form::context::extremes;
use crate::form::normal_form::Scope;
use crate::form::steps::Step;
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_of, loop_variable};

/// Iterations of a strip: the most of which there are enough strips. Register tiles of 3, 4, 6 or 8 rows leave no rest of
/// the large ones.
const SIZES: [i64; 6] = [96, 48, 24, 8, 4, 2];
/// Strips are at least so many.
const STRIPS: i64 = 2;

/// A loop in strips.
pub(crate) struct Strips {
    /// The loop, and that of strips.
    var: usize,
    outer: usize,
    /// Iterations of a strip.
    pub(crate) size: i64,
    count: i64,
    /// The loop's range.
    range: Range,
    /// The first iteration of the strip, over the loop of strips.
    pub(crate) start: Affine,
}

impl Strips {
    /// The innermost loop of `scope`, which has this range, in strips that the loop `outer` numbers. `None` if it has too few
    /// iterations.
    pub(crate) fn new(scope: &[Scope], range: &Range, outer: usize) -> Option<Strips> {
        let own = scope.last()?;
        let [low] = range.lo.as_slice() else { return None };
        let value = |v: usize| extremes(scope, v);
        let longest = range.hi.iter().map(|high| high.minus(low).bounds(value).1).min()?;
        let trips = longest.min(own.max - own.min + 1);
        let size = SIZES.into_iter().find(|size| size * STRIPS <= trips)?;
        Some(Strips {
            var: loop_of(own.variable)?,
            outer,
            size,
            count: trips.div_euclid(size) + i64::from(trips.rem_euclid(size) != 0),
            range: range.clone(),
            start: low.plus(&Affine::variable(loop_variable(outer)).times(size)),
        })
    }

    /// How many iterations of the loop are left at the strip's first, each form that bounds them.
    pub(crate) fn left(&self) -> impl Iterator<Item = Affine> {
        self.range.hi.iter().map(|high| high.minus(&self.start))
    }

    /// Where a strip has an iteration: each form is ≥ 0. None where all have, as in a loop of constant length.
    fn not_after_the_last(&self) -> Vec<Affine> {
        let outer = loop_variable(self.outer);
        let certain = |form: &Affine| {
            form.terms.iter().all(|term| term.0 == outer) && form.bounds(|_| (0, self.count - 1)).0 >= 0
        };
        self.left().map(|left| left.offset(-1)).filter(|form| !certain(form)).collect()
    }

    /// The loop of strips with the loop of `body` inside, between what comes before and after it.
    pub(crate) fn around(&self, name: &str, before: Vec<Step>, body: Vec<Step>, after: Vec<Step>) -> Step {
        let mut range = Range { lo: vec![self.start.clone()], hi: self.range.hi.clone() };
        range.hi.push(self.start.offset(self.size));
        let of_strip = Step::Loop { var: self.var, name: name.to_owned(), range, body };
        let empty = matches!(&of_strip, Step::Loop { body, .. } if body.is_empty());
        let mut body = before;
        body.extend((!empty).then_some(of_strip));
        body.extend(after);
        let conditions = self.not_after_the_last();
        if !conditions.is_empty() {
            body = vec![Step::If { conditions, body }];
        }
        Step::Loop { var: self.outer, name: format!("{name}_block"), range: Range::constant(0, self.count), body }
    }
}
