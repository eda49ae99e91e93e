//! Loop distribution: a loop whose statements do not all wait for each other, as loops one after the other.
//!
//! `for k: { A; B }` is `for k: A; for k: B` where no iteration of A waits for an earlier one of B. The loops that come of
//! it are of fewer statements, each with its own dependences: one may have time tiles, threads or bands where the loop that
//! they were had none.
//!
//! Input: a form. Output: an equal form, if a loop falls apart, with every loop in its parts: the strongly connected
//! components of its body's steps under "waits for", in an order that none waits for a later one. An `if` is one step.
//! Legal by that alone. Integer elimination decides which steps wait, exactly; a value that an iteration computes for itself
//! stays with its readers.
//!
//! Source: J. Allen, K. Kennedy, *Automatic translation of FORTRAN programs to vector form* (TOPLAS 1987).

use crate::dependence::access::{Touch, touches};
use crate::dependence::loops::meetings;
use crate::form::context::{Context, contexts};
use crate::form::normal_form::{Def, NormalForm};
use crate::form::scalar_tree::{DefId, ScalarOp, Source};
use crate::form::steps::{Step, replaced};
use crate::integer::affine::Affine;
use crate::integer::range::loop_variable;
use crate::integer::set::Answer;
use crate::orders::loop_state::{body_of, defs_in};

/// The name of the law in derivations.
pub const RULE: &str = "loop/distribution";

/// The form with every loop distributed that can be; `None` if there is none.
#[must_use]
pub fn distributed(form: &NormalForm) -> Option<NormalForm> {
    let mut found: Option<NormalForm> = None;
    // What an inner loop falls into are steps of the outer one.
    for var in innermost_first(&form.steps) {
        if let Some(next) = distributed_loop(found.as_ref().unwrap_or(form), var) {
            found = Some(next);
        }
    }
    found
}

/// The form with one loop distributed, if it falls apart. The first part keeps the loop's number.
pub(crate) fn distributed_loop(form: &NormalForm, var: usize) -> Option<NormalForm> {
    let body = body_of(&form.steps, var)?;
    let parts = parts(&waits(form, body, var));
    if parts.len() < 2 {
        return None;
    }
    let first = form.unused_loop();
    let numbers: Vec<usize> = (0..parts.len()).map(|part| if part == 0 { var } else { first + part - 1 }).collect();
    let mut next = form.clone();
    for (part, &number) in parts.iter().zip(&numbers) {
        let steps = part.iter().map(|&at| &body[at]);
        for id in steps.flat_map(Step::definitions) {
            next.defs[id].move_forms(|form| in_loop(form, var, number));
        }
    }
    next.steps = replaced(&form.steps, var, &|step| {
        let Step::Loop { name, range, body, .. } = step else { return vec![step.clone()] };
        let with = |(part, &number): (&Vec<usize>, &usize)| Step::Loop {
            var: number,
            name: name.clone(),
            range: range.clone(),
            body: part.iter().map(|&at| body[at].with_forms(&|form| in_loop(form, var, number))).collect(),
        };
        parts.iter().zip(&numbers).map(with).collect()
    });
    next.update_scopes();
    Some(next)
}

/// The numbers of all loops, each after those inside of it.
fn innermost_first(steps: &[Step]) -> Vec<usize> {
    let of = |step: &Step| match step {
        Step::Def(_) => Vec::new(),
        Step::Loop { var, body, .. } => innermost_first(body).into_iter().chain([*var]).collect(),
        Step::If { body, .. } => innermost_first(body),
    };
    steps.iter().flat_map(of).collect()
}

/// Which steps of a loop's body wait for which, in the same iteration of the loops around: `[a][b]` if b waits for a.
fn waits(form: &NormalForm, body: &[Step], var: usize) -> Vec<Vec<bool>> {
    let inside = defs_in(body);
    let step_of = |id: DefId| inside.iter().find(|(known, _)| *known == id).map(|(_, at)| *at);
    let mut waits = vec![vec![false; body.len()]; body.len()];
    // An iteration's own values have no other iteration's place to stand in.
    for &(id, at) in &inside {
        for node in form.defs[id].pieces.iter().flat_map(|piece| &piece.value.nodes) {
            if let ScalarOp::Load(Source::Def(read), _) = &node.op
                && let Some(from) = step_of(*read)
            {
                (waits[from][at], waits[at][from]) = (true, true);
            }
        }
    }
    let contexts = contexts(form);
    for &(early, source) in &inside {
        for &(late, sink) in &inside {
            if source != sink && !waits[source][sink] {
                let ends = [early, late].map(|id| (&form.defs[id], &contexts[id]));
                waits[source][sink] = depends(ends, var, source < sink);
            }
        }
    }
    waits
}

/// Whether the second of two definitions in a loop touches what the first has touched in an earlier iteration of it, or in
/// the same one if that `counts`, and one of both writes. What a loop around it carries is in order whatever it does.
fn depends([early, late]: [(&Def, &Context); 2], var: usize, counts: bool) -> bool {
    let Some(level) = early.1.loops.iter().position(|known| known.0 == loop_variable(var)) else { return true };
    let later = touches(late.0);
    touches(early.0).iter().any(|first| {
        let meets = |second: &&Touch<'_>| first.state == second.state && (first.writes || second.writes);
        later.iter().filter(meets).any(|second| {
            let (mut set, of_late) = meetings((early.1, first), (late.1, second), level);
            let apart = Affine::variable(of_late + level).minus(&Affine::variable(level));
            set.require_non_negative(&apart.offset(-i64::from(!counts)), |v| v);
            set.answer() != Answer::Empty
        })
    })
}

/// The strongly connected components, none before one that it waits for, otherwise as they stand.
fn parts(waits: &[Vec<bool>]) -> Vec<Vec<usize>> {
    let steps = waits.len();
    let mut reaches = waits.to_vec();
    for through in 0..steps {
        for from in 0..steps {
            for to in 0..steps {
                reaches[from][to] |= reaches[from][through] && reaches[through][to];
            }
        }
    }
    let mut left: Vec<usize> = (0..steps).collect();
    let mut parts = Vec::new();
    while !left.is_empty() {
        let together = |a: usize, b: usize| a == b || reaches[a][b] && reaches[b][a];
        let ready = |at: usize| left.iter().all(|&other| !reaches[other][at] || together(other, at));
        let Some(first) = left.iter().copied().find(|&at| ready(at)) else { return vec![(0..steps).collect()] };
        let (part, rest) = left.iter().partition(|&&at| together(first, at));
        left = rest;
        parts.push(part);
    }
    parts
}

fn in_loop(form: &Affine, old: usize, new: usize) -> Affine {
    form.substitute(|v| Affine::variable(if v == loop_variable(old) { loop_variable(new) } else { v }))
}
