//! The loops and conditions under which a definition is computed, and bounds of their variables.

use crate::form::normal_form::{NormalForm, Scope};
use crate::form::steps::Step;
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_variable};

/// The loops and conditions under which a definition is computed, outermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Variables, see [`loop_variable`], with their ranges over those before them.
    pub loops: Vec<(usize, Range)>,
    /// Each is ≥ 0.
    pub conditions: Vec<Affine>,
}

/// The context of every definition.
pub fn contexts(form: &NormalForm) -> Vec<Context> {
    fn walk(steps: &[Step], context: &mut Context, found: &mut [Context]) {
        for step in steps {
            match step {
                Step::Def(id) => {
                    if let Some(slot) = found.get_mut(*id) {
                        *slot = context.clone();
                    }
                }
                Step::Loop { var, range, body, .. } => {
                    context.loops.push((loop_variable(*var), range.clone()));
                    walk(body, context, found);
                    context.loops.pop();
                }
                Step::If { conditions, body } => {
                    let before = context.conditions.len();
                    context.conditions.extend(conditions.iter().cloned());
                    walk(body, context, found);
                    context.conditions.truncate(before);
                }
            }
        }
    }
    let mut found = vec![Context::default(); form.defs.len()];
    walk(&form.steps, &mut Context::default(), &mut found);
    found
}

/// The loops around every definition, with the extreme values of their variables: its [`Def::scope`].
pub fn scopes(form: &NormalForm) -> Vec<Vec<Scope>> {
    let scope = |context: &Context| {
        let mut scope: Vec<Scope> = Vec::new();
        for (variable, range) in &context.loops {
            let known = |v: usize| scope.iter().find(|s| s.variable == v).map_or((0, 0), |s| (s.min, s.max));
            let min = range.lo.iter().map(|form| form.bounds(known).0).max().unwrap_or(0);
            let max = range.hi.iter().map(|form| form.bounds(known).1).min().unwrap_or(0) - 1;
            scope.push(Scope { variable: *variable, min, max });
        }
        scope
    };
    contexts(form).iter().map(scope).collect()
}

impl NormalForm {
    /// Gives every definition the scope that its steps put it in.
    pub(crate) fn update_scopes(&mut self) {
        let scopes = scopes(self);
        for (def, scope) in self.defs.iter_mut().zip(scopes) {
            def.scope = scope;
        }
    }
}

impl Context {
    /// What is known of the loops' variables: forms that are ≥ 0.
    pub(crate) fn non_negative(&self) -> Vec<Affine> {
        let of = |(variable, range): &(usize, Range)| {
            let variable = Affine::variable(*variable);
            let low = range.lo.iter().map(|low| variable.minus(low));
            let high = range.hi.iter().map(|high| high.minus(&variable).offset(-1));
            low.chain(high).collect::<Vec<Affine>>()
        };
        self.loops.iter().flat_map(of).chain(self.conditions.iter().cloned()).collect()
    }

    /// Requires the loops' variables, which stand at `place` in the set, to take values that they have.
    pub fn require(&self, set: &mut crate::integer::set::IntegerSet, place: impl Fn(usize) -> usize) {
        for (variable, range) in &self.loops {
            for low in &range.lo {
                set.require_non_negative(&Affine::variable(*variable).minus(low), &place);
            }
            for high in &range.hi {
                set.require_non_negative(&high.minus(&Affine::variable(*variable)).offset(-1), &place);
            }
        }
        for condition in &self.conditions {
            set.require_non_negative(condition, &place);
        }
    }

    /// How often the definition is computed, estimated by the middles of the ranges.
    pub fn executions(&self) -> f64 {
        self.middles().0
    }

    /// A domain in the middle of the ranges of the loops around it.
    pub fn typical(&self, domain: &[Range]) -> Vec<Range> {
        let middles = self.middles().1;
        let fix = |form: &Affine| {
            form.substitute(|v| match middles.iter().find(|middle| middle.0 == v) {
                Some(&(_, middle)) => Affine::constant(middle.round() as i64),
                None => Affine::variable(v),
            })
        };
        let all = |forms: &[Affine]| forms.iter().map(fix).collect();
        domain.iter().map(|range| Range { lo: all(&range.lo), hi: all(&range.hi) }).collect()
    }

    fn middles(&self) -> (f64, Vec<(usize, f64)>) {
        let mut middles: Vec<(usize, f64)> = Vec::new();
        let mut trips = 1.0;
        for (variable, range) in &self.loops {
            let value = |form: &Affine| {
                form.terms.iter().fold(form.constant as f64, |sum, &(v, c)| {
                    sum + c as f64 * middles.iter().find(|m| m.0 == v).map_or(0.0, |m| m.1)
                })
            };
            let low = range.lo.iter().map(value).fold(f64::NEG_INFINITY, f64::max);
            let high = range.hi.iter().map(value).fold(f64::INFINITY, f64::min);
            trips *= (high - low).max(0.0);
            middles.push((*variable, f64::midpoint(low, high - 1.0)));
        }
        (trips, middles)
    }
}

/// The least and greatest value of a loop's variable.
pub fn extremes(scope: &[Scope], variable: usize) -> (i64, i64) {
    scope.iter().find(|around| around.variable == variable).map_or((0, 0), |around| (around.min, around.max))
}

/// The least and greatest index of each axis of a domain, inclusive at both ends, by intervals: a
/// box that holds the domain. `None` if the box is empty.
pub fn bounding_box(domain: &[Range], scope: &[Scope]) -> Option<Vec<(i64, i64)>> {
    let mut bounds: Vec<(i64, i64)> = Vec::with_capacity(domain.len());
    for range in domain {
        let at = |v: usize| bounds.get(v).copied().unwrap_or_else(|| extremes(scope, v));
        let low = range.lo.iter().map(|form| form.bounds(at).0).max().unwrap_or(0);
        let high = range.hi.iter().map(|form| form.bounds(at).1).min().unwrap_or(0);
        if low >= high {
            return None;
        }
        bounds.push((low, high - 1));
    }
    Some(bounds)
}
