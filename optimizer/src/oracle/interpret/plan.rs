//! What to evaluate for each statement, decided once: the order of its nodes, where each is used last, what is
//! the same at all times, and what is computed by blocks of rows. Nothing is evaluated here.

use crate::integer::affine::Affine;
use crate::program::expr::{Node, NodeId, Op, Program, SectionAxis, Shift, Statement};
use crate::value::scalar::{BinaryOp, FoldOp, UnaryOp};
use std::collections::{BTreeMap, BTreeSet};

/// The nodes that values are made of.
pub(super) struct Plan {
    /// The values; they stay.
    pub(super) results: Vec<NodeId>,
    /// Nodes to evaluate, arguments first, each with the nodes whose values nobody needs after it.
    pub(super) order: Vec<(NodeId, Vec<NodeId>)>,
    /// Nodes evaluated once for the whole run: arguments of those in `order`, or the value.
    pub(super) kept: Vec<NodeId>,
    /// The part of `order` that may be computed by blocks of rows.
    pub(super) blocked: Vec<NodeId>,
}

/// A statement with what it evaluates.
pub(super) enum Step<'p> {
    Update { state: usize, region: &'p [SectionAxis], shift: Option<Shift>, plan: Plan },
    Loop { var: usize, lo: &'p Affine, hi: &'p Affine, body: Vec<Step<'p>> },
    If { conditions: &'p [Affine], body: Vec<Step<'p>> },
}

/// Plans for a program: its nodes and which of them never change.
pub(super) struct Planner<'p> {
    program: &'p Program,
    /// For each node whether it has one value for the whole run.
    fixed: Vec<bool>,
}

impl<'p> Planner<'p> {
    pub(super) fn new(program: &'p Program) -> Planner<'p> {
        let mut fixed = Vec::with_capacity(program.nodes.len());
        for node in &program.nodes {
            let own = node.op.is_fixed();
            let whole = node.live.iter().all(Affine::is_constant);
            fixed.push(own && whole && node.args.iter().all(|&arg| fixed[arg]));
        }
        Planner { program, fixed }
    }

    /// The statements with their plans.
    pub(super) fn steps(&self, statements: &'p [Statement]) -> Vec<Step<'p>> {
        let step = |statement: &'p Statement| match statement {
            Statement::Update { state, region, shift, value, .. } => {
                Step::Update { state: *state, region, shift: *shift, plan: self.changing(*value) }
            }
            Statement::Loop { var, lo, hi, body, .. } => Step::Loop { var: *var, lo, hi, body: self.steps(body) },
            Statement::If { conditions, body } => Step::If { conditions, body: self.steps(body) },
        };
        statements.iter().map(step).collect()
    }

    /// The plan for a statement's value: fixed nodes are kept.
    pub(super) fn changing(&self, result: NodeId) -> Plan {
        let mut plan = self.plan(&[result], |node| self.fixed[node]);
        plan.blocked = blocked(self.program, &plan);
        plan
    }

    /// The plan for nodes from the beginning, except for what is kept.
    pub(super) fn plan(&self, results: &[NodeId], is_kept: impl Fn(NodeId) -> bool) -> Plan {
        let (mut nodes, mut kept) = (BTreeSet::new(), BTreeSet::new());
        let mut open = results.to_vec();
        while let Some(node) = open.pop() {
            if is_kept(node) {
                kept.insert(node);
            } else if nodes.insert(node) {
                open.extend(&self.program.nodes[node].args);
            }
        }
        let mut last_use = BTreeMap::new();
        for &node in &nodes {
            let args = self.program.nodes[node].args.iter().filter(|arg| nodes.contains(arg) && !results.contains(arg));
            last_use.extend(args.map(|&arg| (arg, node)));
        }
        let mut done: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
        for (arg, user) in last_use {
            done.entry(user).or_default().push(arg);
        }
        let order = nodes.into_iter().map(|node| (node, done.remove(&node).unwrap_or_default())).collect();
        Plan { results: results.to_vec(), order, kept: kept.into_iter().collect(), blocked: Vec::new() }
    }
}

/// For each node and for each state whether a later sum may ask for its Σ|terms|; the others do not compute it.
pub(super) fn feeds_a_sum(program: &Program) -> (Vec<bool>, Vec<bool>) {
    let (mut feeds, mut summed) = (vec![false; program.nodes.len()], vec![false; program.states.len()]);
    let updates = updates(&program.body);
    loop {
        mark_terms(program, &mut feeds);
        let read = |state: usize| {
            program
                .nodes
                .iter()
                .zip(&feeds)
                .any(|(node, feeds)| *feeds && matches!(node.op, Op::State(at) if at == state))
        };
        let more: Vec<usize> = (0..summed.len()).filter(|&state| !summed[state] && read(state)).collect();
        if more.is_empty() {
            return (feeds, summed);
        }
        for state in more {
            summed[state] = true;
            updates.iter().filter(|update| update.0 == state).for_each(|update| feeds[update.1] = true);
        }
    }
}

/// The state and the value of each update.
fn updates(statements: &[Statement]) -> Vec<(usize, NodeId)> {
    let of = |statement: &Statement| match statement {
        Statement::Update { state, value, .. } => vec![(*state, *value)],
        Statement::Loop { body, .. } | Statement::If { body, .. } => updates(body),
    };
    statements.iter().flat_map(of).collect()
}

/// Marks what feeds a sum of its own statement, or a node that is marked.
fn mark_terms(program: &Program, feeds: &mut [bool]) {
    for (id, node) in program.nodes.iter().enumerate().rev() {
        let asks = match &node.op {
            Op::Binary(op) | Op::Outer(op) => {
                matches!(op, BinaryOp::Add | BinaryOp::Sub) || matches!(op, BinaryOp::Mul | BinaryOp::Div) && feeds[id]
            }
            Op::MatMul | Op::Dot | Op::Inner | Op::Einsum { .. } | Op::Trace { .. } => true,
            Op::Reduce { op, .. } => *op == FoldOp::Sum,
            Op::Unary(UnaryOp::Neg)
            | Op::Broadcast
            | Op::Transpose(_)
            | Op::Reshape
            | Op::Slice(_)
            | Op::Section(_)
            | Op::Index { .. }
            | Op::Diagonal { .. }
            | Op::Flip(_)
            | Op::Window { .. } => feeds[id],
            Op::Input(_)
            | Op::State(_)
            | Op::LoopIndex(_)
            | Op::Const(_)
            | Op::Array(_)
            | Op::Arange { .. }
            | Op::Eye { .. }
            | Op::Unary(_)
            | Op::Where
            | Op::Cast
            | Op::Roll { .. }
            | Op::Pad { .. }
            | Op::Concat { .. }
            | Op::Tril { .. }
            | Op::Triu { .. }
            | Op::Gather { .. } => false,
        };
        if asks {
            node.args.iter().for_each(|&arg| feeds[arg] = true);
        }
    }
}

/// The nodes of a plan that are computed by blocks: element-wise operators of the result's shape, the result among them,
/// whose values nothing else uses. Empty if the result is none.
pub(super) fn blocked(program: &Program, plan: &Plan) -> Vec<NodeId> {
    let [result] = plan.results.as_slice() else { return Vec::new() };
    let (shape, live) = (&program.nodes[*result].shape, &program.nodes[*result].live);
    let fits = |node: &Node| {
        let elementwise =
            matches!(node.op, Op::Unary(_) | Op::Binary(_) | Op::Outer(_) | Op::Where | Op::Cast) && !shape.is_empty();
        elementwise && node.shape == *shape && node.live == *live
    };
    let mut chosen = BTreeSet::new();
    for &(id, _) in plan.order.iter().rev() {
        let mut users = plan.order.iter().filter(|(user, _)| program.nodes[*user].args.contains(&id)).peekable();
        let wanted = id == *result || users.peek().is_some();
        if wanted && fits(&program.nodes[id]) && users.all(|(user, _)| chosen.contains(user)) {
            chosen.insert(id);
        }
    }
    if chosen.contains(result) { chosen.into_iter().collect() } else { Vec::new() }
}

/// A value of more elements is computed by blocks where that is possible.
pub(super) const LARGE: usize = 1 << 14;

/// The part of the results' plan that is computed by blocks: where a single result is element-wise.
pub(super) fn by_blocks_at_end(program: &Program, plan: &Plan) -> Vec<NodeId> {
    let large = |&node: &NodeId| program.nodes[node].shape.iter().product::<usize>() >= LARGE;
    match plan.results.as_slice() {
        [result] if large(result) && plan.order.iter().any(|(node, _)| node == result) => blocked(program, plan),
        _ => Vec::new(),
    }
}
