//! The whole form: its steps in order, each definition that is stored whole as its stage.

use super::allocation::returned_state;
use super::builder::NestBuilder;
use super::error::ApplyError;
use super::state::Apply;
use crate::dependence::inline::{check_inlined, inline};
use crate::form::normal_form::NormalForm;
use crate::form::scalar_tree::DefId;
use crate::form::steps::Step;
use crate::integer::affine::Affine;
use crate::integer::intervals::Interval;
use crate::integer::range::{Range, loop_variable};
use crate::nest::{Loop, LoopKind, LoopNest, Node};
use crate::schedule::time::{Tiled, skewed};
use crate::schedule::{Place, Schedule};
use crate::storage::Schedulable;
use std::collections::{BTreeMap, BTreeSet};

/// Makes the loop nest of `form` under `schedule`.
///
/// # Errors
/// Where the schedule does not describe this form, or a place or a pack cannot be carried out.
pub fn apply(form: &Schedulable, schedule: &Schedule) -> Result<LoopNest, ApplyError> {
    if schedule.stages.len() != form.defs.len() {
        return Err(ApplyError::Malformed {
            stage: "*".into(),
            message: format!("{} stages for {} definitions", schedule.stages.len(), form.defs.len()),
        });
    }
    let inlined = |id: DefId| schedule.stages[id].place == Place::Inline;
    // Tiles put definitions under conditions of their own: what may move is seen in the form itself.
    check_inlined(form, inlined)?;
    let mut tiled = NormalForm::clone(form);
    let mut parallel = BTreeSet::new();
    for tile in &schedule.time_tiles {
        let Tiled { form, parallel: shared } = skewed(&tiled, tile).ok_or_else(|| ApplyError::Malformed {
            stage: "*".into(),
            message: format!("loop {} cannot run in skewed tiles", tile.var),
        })?;
        parallel.extend(shared);
        tiled = form;
    }
    let form = &tiled;
    let pieces = inline(form, inlined)?;
    let mut apply = Apply {
        form,
        schedule,
        pieces,
        builder: NestBuilder::new(),
        storage: vec![None; form.defs.len()],
        states: Vec::new(),
        loops: BTreeMap::new(),
        parallel,
    };
    apply.allocate_whole();
    let body = if form.steps.is_empty() {
        let mut nodes = Vec::new();
        for id in 0..form.defs.len() {
            nodes.extend(apply.root(id)?);
        }
        nodes
    } else {
        apply.steps(&form.steps)?
    };
    let mut nest = apply.builder.nest;
    nest.body = body;
    Ok(nest)
}

impl Apply<'_> {
    /// The statements of a definition that is stored whole.
    fn root(&mut self, id: DefId) -> Result<Vec<Node>, ApplyError> {
        let copied = returned_state(self.form, id)
            .is_some_and(|state| self.storage[id].as_ref().is_some_and(|storage| storage.buffer == self.states[state]));
        if self.schedule.stages[id].place != Place::Root || copied {
            return Ok(Vec::new());
        }
        let whole: Vec<Interval> = self.form.defs[id].axes.iter().map(|&n| Interval::whole(n)).collect();
        self.stage(id, &whole)
    }

    /// Steps in order.
    fn steps(&mut self, steps: &[Step]) -> Result<Vec<Node>, ApplyError> {
        let mut nodes = Vec::new();
        for step in steps {
            match step {
                Step::Def(id) => nodes.extend(self.root(*id)?),
                Step::Loop { var, name, range, body } => {
                    let range = Range { lo: self.over_variables(&range.lo), hi: self.over_variables(&range.hi) };
                    let inner = self.builder.variable(name, &range);
                    self.loops.insert(loop_variable(*var), inner);
                    let shared = !self.builder.in_parallel && self.parallel.contains(var);
                    let kind = if shared { LoopKind::Parallel } else { LoopKind::Serial };
                    self.builder.in_parallel |= shared;
                    let body = self.steps(body)?;
                    self.builder.in_parallel &= !shared;
                    self.loops.remove(&loop_variable(*var));
                    if !body.is_empty() {
                        nodes.push(Node::Loop(Loop { var: inner, range, step: 1, kind, body }));
                    }
                }
                Step::If { conditions, body } => {
                    // A loop that runs once where the condition holds, and never elsewhere.
                    let conditions = self.over_variables(conditions);
                    let mut around = Vec::new();
                    for condition in conditions {
                        let range =
                            Range { lo: vec![Affine::constant(0)], hi: vec![Affine::constant(1), condition.offset(1)] };
                        around.push((self.builder.variable("if", &range), range));
                    }
                    let body = self.steps(body)?;
                    if !body.is_empty() {
                        nodes.extend(around.into_iter().rev().fold(body, |body, (var, range)| {
                            vec![Node::Loop(Loop { var, range, step: 1, kind: LoopKind::Serial, body })]
                        }));
                    }
                }
            }
        }
        Ok(nodes)
    }
}
