//! Leaves out of a program what no result needs.

use crate::integer::affine::Affine;
use crate::program::expr::{NodeId, Op, Program, SectionAxis, Shift, Statement};

/// The program without nodes, states and statements that no root needs; loops are numbered anew.
pub(super) fn prune(mut program: Program) -> Program {
    let needed = needed_states(&program);
    program.body = kept(std::mem::take(&mut program.body), &needed);
    let states = numbered(&needed);
    let mut live = vec![false; program.nodes.len()];
    let mut open = program.roots.clone();
    values(&program.body, &mut open);
    reach(&program, open, &mut live);
    let nodes = numbered(&live);
    let mut loops = Vec::new();
    for_loops(&program.body, &mut |var| loops.push(var));
    let renamed = |form: &Affine| {
        form.substitute(|var| Affine::variable(loops.iter().position(|&known| known == var).unwrap_or(var)))
    };
    let subscripts = |axes: &mut Vec<SectionAxis>| {
        for axis in axes {
            match axis {
                SectionAxis::At(form) | SectionAxis::Slice { start: form, .. } => *form = renamed(form),
            }
        }
    };
    let all = std::mem::take(&mut program.nodes);
    for (_, mut node) in all.into_iter().enumerate().filter(|(id, _)| live[*id]) {
        node.args.iter_mut().for_each(|arg| *arg = nodes[*arg]);
        node.live.iter_mut().for_each(|form| *form = renamed(form));
        match &mut node.op {
            Op::State(state) => *state = states[*state],
            Op::LoopIndex(form) => *form = renamed(form),
            Op::Section(axes) => subscripts(axes),
            _ => {}
        }
        program.nodes.push(node);
    }
    rename(&mut program.body, &|statement| match statement {
        Statement::Update { state, region, shift, value, .. } => {
            *state = states[*state];
            shift.iter_mut().for_each(|shift| shift.by = states[shift.by]);
            *value = nodes[*value];
            subscripts(region);
        }
        Statement::Loop { var, lo, hi, .. } => {
            *var = loops.iter().position(|known| known == var).unwrap_or(*var);
            (*lo, *hi) = (renamed(lo), renamed(hi));
        }
        Statement::If { conditions, .. } => conditions.iter_mut().for_each(|form| *form = renamed(form)),
    });
    let mut at = 0..needed.len();
    program.states.retain(|_| at.next().is_some_and(|at| needed[at]));
    program.roots.iter_mut().for_each(|root| *root = nodes[*root]);
    program
}

/// The new number of each thing that is kept.
fn numbered(kept: &[bool]) -> Vec<usize> {
    let number = |next: &mut usize, kept: &bool| {
        let own = *next;
        *next += usize::from(*kept);
        Some(own)
    };
    kept.iter().scan(0, number).collect()
}

/// Marks all nodes that some are computed from.
fn reach(program: &Program, mut open: Vec<NodeId>, live: &mut [bool]) {
    while let Some(node) = open.pop() {
        if !std::mem::replace(&mut live[node], true) {
            open.extend(&program.nodes[node].args);
        }
    }
}

/// The states that the roots read, or the updates of states that are needed.
fn needed_states(program: &Program) -> Vec<bool> {
    let mut needed = vec![false; program.states.len()];
    let mut live = vec![false; program.nodes.len()];
    let mut open = program.roots.clone();
    loop {
        reach(program, open, &mut live);
        let before = needed.clone();
        for (node, _) in program.nodes.iter().zip(&live).filter(|(_, live)| **live) {
            if let Op::State(state) = node.op {
                needed[state] = true;
            }
        }
        let mut moved_by = Vec::new();
        updates(&program.body, &mut |state, shift, _| {
            if needed[state] {
                moved_by.extend(shift.map(|shift| shift.by));
            }
        });
        moved_by.into_iter().for_each(|state| needed[state] = true);
        if needed == before {
            return needed;
        }
        open = Vec::new();
        updates(&program.body, &mut |state, _, value| {
            if needed[state] {
                open.push(value);
            }
        });
    }
}

fn updates(body: &[Statement], visit: &mut impl FnMut(usize, Option<Shift>, NodeId)) {
    for statement in body {
        match statement {
            Statement::Update { state, shift, value, .. } => visit(*state, *shift, *value),
            Statement::Loop { body, .. } | Statement::If { body, .. } => updates(body, visit),
        }
    }
}

fn values(body: &[Statement], values: &mut Vec<NodeId>) {
    updates(body, &mut |_, _, value| values.push(value));
}

/// The statements that write to needed states, and the loops around them.
fn kept(body: Vec<Statement>, needed: &[bool]) -> Vec<Statement> {
    let keep = |statement| match statement {
        Statement::Update { state, .. } => needed[state].then_some(statement),
        Statement::Loop { var, name, lo, hi, body } => {
            let body = kept(body, needed);
            (!body.is_empty()).then_some(Statement::Loop { var, name, lo, hi, body })
        }
        Statement::If { conditions, body } => {
            let body = kept(body, needed);
            (!body.is_empty()).then_some(Statement::If { conditions, body })
        }
    };
    body.into_iter().filter_map(keep).collect()
}

/// The loops in order of appearance.
fn for_loops(body: &[Statement], visit: &mut impl FnMut(usize)) {
    for statement in body {
        match statement {
            Statement::Update { .. } => {}
            Statement::Loop { var, body, .. } => {
                visit(*var);
                for_loops(body, visit);
            }
            Statement::If { body, .. } => for_loops(body, visit),
        }
    }
}

fn rename(body: &mut [Statement], change: &impl Fn(&mut Statement)) {
    for statement in body {
        change(statement);
        match statement {
            Statement::Update { .. } => {}
            Statement::Loop { body, .. } | Statement::If { body, .. } => rename(body, change),
        }
    }
}
