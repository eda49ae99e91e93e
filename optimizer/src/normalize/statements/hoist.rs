//! Values that loops only read.
//!
//! A section by loop variables must be a view of memory. Where its argument is computed, and neither a loop nor a
//! state changes it, it is stored once before everything else.

use crate::integer::affine::Affine;
use crate::program::expr::{Node, NodeId, Op, Program, SectionAxis, State, Statement};
use std::collections::BTreeMap;

/// The program with such arguments as states of their own.
pub(super) fn hoist(program: &Program) -> Program {
    let mut varies = vec![false; program.nodes.len()];
    let mut stored: BTreeMap<NodeId, usize> = BTreeMap::new();
    for (id, node) in program.nodes.iter().enumerate() {
        let own = !node.op.is_fixed();
        varies[id] = own || !node.live.is_empty() || node.args.iter().any(|&arg| varies.get(arg) == Some(&true));
        if let (Op::Section(_), Some(&arg)) = (&node.op, node.args.first())
            && varies.get(arg) == Some(&false)
            && !matches!(program.nodes[arg].op, Op::Input(_))
        {
            let next = program.states.len() + stored.len();
            stored.entry(arg).or_insert(next);
        }
    }
    if stored.is_empty() {
        return program.clone();
    }
    let mut states: Vec<(usize, State)> = Vec::new();
    for (&node, &state) in &stored {
        let of = &program.nodes[node];
        let taken = |name: &str| {
            program.params.iter().any(|param| param.name == name)
                || program.states.iter().any(|state| state.name == name)
                || states.iter().any(|(_, state)| state.name == name)
        };
        let name = (0..).map(|n| format!("t{n}")).find(|name| !taken(name)).unwrap_or_default();
        states.push((state, State { name, dtype: of.dtype, shape: of.shape.clone() }));
    }
    states.sort_by_key(|(at, _)| *at);
    // Sections read the state; everybody else still computes the value.
    let mut place: Vec<NodeId> = Vec::with_capacity(program.nodes.len());
    let mut memory: BTreeMap<NodeId, NodeId> = BTreeMap::new();
    let mut nodes: Vec<Node> = Vec::new();
    for (id, node) in program.nodes.iter().enumerate() {
        let is_section = matches!(node.op, Op::Section(_));
        let argument = |arg: &NodeId| memory.get(arg).copied().filter(|_| is_section).unwrap_or(place[*arg]);
        nodes.push(Node { args: node.args.iter().map(argument).collect(), ..node.clone() });
        place.push(nodes.len() - 1);
        if let Some(&state) = stored.get(&id) {
            nodes.push(Node { op: Op::State(state), args: Vec::new(), ..node.clone() });
            memory.insert(id, nodes.len() - 1);
        }
    }
    let mut body: Vec<Statement> = stored
        .iter()
        .map(|(&node, &state)| {
            let of = &program.nodes[node];
            let region = of.shape.iter().map(|_| SectionAxis::Slice { start: Affine::constant(0), step: 1 }).collect();
            Statement::Update { state, region, shift: None, value: place[node], span: of.span }
        })
        .collect();
    body.extend(program.body.iter().map(|statement| moved(statement, &place)));
    let mut all = program.states.clone();
    all.extend(states.into_iter().map(|(_, state)| state));
    Program {
        nodes,
        states: all,
        body,
        roots: program.roots.iter().map(|&root| place[root]).collect(),
        ..program.clone()
    }
}

/// The statement with its values' nodes renumbered.
fn moved(statement: &Statement, place: &[NodeId]) -> Statement {
    let all = |body: &[Statement]| body.iter().map(|inner| moved(inner, place)).collect();
    match statement {
        Statement::Update { state, region, shift, value, span } => Statement::Update {
            state: *state,
            region: region.clone(),
            shift: *shift,
            value: place[*value],
            span: *span,
        },
        Statement::Loop { var, name, lo, hi, body } => {
            Statement::Loop { var: *var, name: name.clone(), lo: lo.clone(), hi: hi.clone(), body: all(body) }
        }
        Statement::If { conditions, body } => Statement::If { conditions: conditions.clone(), body: all(body) },
    }
}
