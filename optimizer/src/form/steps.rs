//! The order in which definitions are computed: steps, with the loops and conditions around them.

use crate::form::scalar_tree::DefId;
use crate::integer::affine::Affine;
use crate::integer::range::Range;
use serde::{Deserialize, Serialize};

/// A part of what a form with states executes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Step {
    /// Computes a definition.
    Def(DefId),
    /// The fold of its body over the states, one value of the variable after the other.
    Loop {
        /// The loop's number: its variable is [`loop_variable`] of it.
        var: usize,
        /// A readable name.
        name: String,
        /// The values; bounds affine in variables of the loops around it.
        range: Range,
        /// Executed for each value.
        body: Vec<Step>,
    },
    /// Executed where every form is ≥ 0.
    If {
        /// Affine in variables of the loops around it.
        conditions: Vec<Affine>,
        /// Executed then.
        body: Vec<Step>,
    },
}

impl Step {
    /// The step with the bounds and conditions of its loops changed.
    pub(crate) fn with_forms(&self, moved: &dyn Fn(&Affine) -> Affine) -> Step {
        let all = |forms: &[Affine]| forms.iter().map(moved).collect();
        let steps = |body: &[Step]| body.iter().map(|step| step.with_forms(moved)).collect();
        match self {
            Step::Def(id) => Step::Def(*id),
            Step::Loop { var, name, range, body } => Step::Loop {
                var: *var,
                name: name.clone(),
                range: Range { lo: all(&range.lo), hi: all(&range.hi) },
                body: steps(body),
            },
            Step::If { conditions, body } => Step::If { conditions: all(conditions), body: steps(body) },
        }
    }

    /// The definitions that it computes, in order.
    pub fn definitions(&self) -> Vec<DefId> {
        match self {
            Step::Def(id) => vec![*id],
            Step::Loop { body, .. } | Step::If { body, .. } => body.iter().flat_map(Step::definitions).collect(),
        }
    }
}

/// The steps with others in the place of a loop, which they are made from.
pub(crate) fn replaced(steps: &[Step], wanted: usize, by: &dyn Fn(&Step) -> Vec<Step>) -> Vec<Step> {
    let mut all = Vec::with_capacity(steps.len());
    for step in steps {
        match step {
            Step::Def(id) => all.push(Step::Def(*id)),
            Step::Loop { var, .. } if *var == wanted => all.extend(by(step)),
            Step::Loop { var, name, range, body } => all.push(Step::Loop {
                var: *var,
                name: name.clone(),
                range: range.clone(),
                body: replaced(body, wanted, by),
            }),
            Step::If { conditions, body } => {
                all.push(Step::If { conditions: conditions.clone(), body: replaced(body, wanted, by) });
            }
        }
    }
    all
}
