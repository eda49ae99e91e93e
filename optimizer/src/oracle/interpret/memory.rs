//! How much memory an interpretation takes, from the shapes alone.
//!
//! Input: a program. Output: the most bytes that [`super::interpret`] holds at once besides its inputs, with the node
//! that makes the most of them. Nothing is allocated. The count follows the interpreter: views share their argument's
//! elements, a value goes after its last use, a float has a value and a bound, and Σ|terms| where a sum asks for it.

use super::labels::product_labels;
use super::plan::{LARGE, Plan, Planner, Step, by_blocks_at_end, feeds_a_sum};
use crate::program::expr::{NodeId, Op, Program};
use crate::value::dtype::DType;
use crate::value::numerics::Numerics;
use std::collections::{BTreeMap, BTreeSet};

/// Memory for an interpretation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peak {
    /// The most bytes at once.
    pub bytes: u64,
    /// The node whose value is the largest array of the program, if there is one.
    pub largest: Option<NodeId>,
}

/// The memory that `program` takes besides its inputs as tensors, the results' references included.
pub fn peak(program: &Program, numerics: Numerics) -> Peak {
    let planner = Planner::new(program);
    let (sums, summed) = feeds_a_sum(program);
    let mut estimate = Estimate { program, numerics, sums, kept: BTreeSet::new(), base: 0, peak: 0 };
    for (state, &summed) in program.states.iter().zip(&summed) {
        let sums = if summed && numerics != Numerics::Exact { 2 } else { 0 };
        estimate.base += elements(&state.shape) * (value_bytes(state.dtype, false) + 8 * sums);
    }
    estimate.peak = estimate.base;
    estimate.steps(&planner, &planner.steps(&program.body));
    let kept = estimate.kept.clone();
    let plan = planner.plan(&program.roots, |node| kept.contains(&node));
    let blocked = by_blocks_at_end(program, &plan);
    estimate.plan(&Plan { blocked, ..plan });
    let results: u64 = program.roots.iter().map(|&root| estimate.fresh(root) + own_bytes(program, root)).sum();
    let bytes = estimate.peak.max(estimate.base + results);
    let size = |&node: &NodeId| elements(&program.nodes[node].shape);
    let largest = (0..program.nodes.len()).max_by_key(|node| (size(node), std::cmp::Reverse(*node)));
    Peak { bytes, largest }
}

/// The bytes of a node's elements at its own type.
fn own_bytes(program: &Program, node: NodeId) -> u64 {
    let node = &program.nodes[node];
    elements(&node.shape) * node.dtype.bytes() as u64
}

fn elements(shape: &[usize]) -> u64 {
    shape.iter().fold(1, |product: u64, &extent| product.saturating_mul(extent as u64))
}

/// Of an element while it is computed with.
fn value_bytes(dtype: DType, magnitude: bool) -> u64 {
    match (dtype.is_float(), magnitude) {
        (false, _) => 8,
        (true, false) => 16,
        (true, true) => 24,
    }
}

struct Estimate<'p> {
    program: &'p Program,
    numerics: Numerics,
    sums: Vec<bool>,
    kept: BTreeSet<NodeId>,
    /// What stays: states, kept values.
    base: u64,
    peak: u64,
}

impl Estimate<'_> {
    fn steps(&mut self, planner: &Planner<'_>, steps: &[Step<'_>]) {
        for step in steps {
            match step {
                Step::Update { plan, .. } => {
                    for &node in &plan.kept {
                        if !self.kept.contains(&node) {
                            let kept = self.kept.clone();
                            self.plan(&planner.plan(&[node], |node| kept.contains(&node)));
                            self.kept.insert(node);
                            self.base += self.fresh(node);
                        }
                    }
                    self.plan(plan);
                }
                Step::Loop { body, .. } | Step::If { body, .. } => self.steps(planner, body),
            }
        }
    }

    /// The values of a plan come and go.
    fn plan(&mut self, plan: &Plan) {
        let large = plan.results.first().is_some_and(|&node| elements(&self.program.nodes[node].shape) >= LARGE as u64);
        let blocked: &[NodeId] = if large { &plan.blocked } else { &[] };
        // For each value the nodes whose elements it holds: its own, or those of what it is a view of.
        let mut holds: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
        let mut users: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut live = self.base;
        for (id, done) in &plan.order {
            let node = &self.program.nodes[*id];
            if blocked.contains(id) && plan.results.first() != Some(id) {
                continue;
            }
            let shares = self.is_view(*id);
            if !shares {
                live += self.fresh(*id);
                self.peak = self.peak.max(live.saturating_add(self.scratch(*id)));
            }
            let own = if shares {
                node.args.iter().filter_map(|arg| holds.get(arg)).flatten().copied().collect()
            } else {
                vec![*id]
            };
            for &store in &own {
                *users.entry(store).or_default() += 1;
            }
            holds.insert(*id, own);
            let gone: &[NodeId] = if blocked.contains(id) { &[] } else { done };
            for store in gone.iter().filter_map(|node| holds.remove(node)).flatten() {
                let left = users.get_mut(&store).map_or(0, |count| {
                    *count -= 1;
                    *count
                });
                if left == 0 {
                    live = live.saturating_sub(self.fresh(store));
                }
            }
        }
    }

    /// Whether a node's value is a view of its argument's, or is there already.
    fn is_view(&self, node: NodeId) -> bool {
        match &self.program.nodes[node].op {
            Op::Broadcast
            | Op::Transpose(_)
            | Op::Slice(_)
            | Op::Section(_)
            | Op::Index { .. }
            | Op::Diagonal { .. }
            | Op::Flip(_)
            | Op::Window { .. }
            | Op::State(_) => true,
            Op::Input(_)
            | Op::LoopIndex(_)
            | Op::Const(_)
            | Op::Array(_)
            | Op::Arange { .. }
            | Op::Eye { .. }
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Outer(_)
            | Op::Where
            | Op::Cast
            | Op::Reshape
            | Op::Roll { .. }
            | Op::Pad { .. }
            | Op::Concat { .. }
            | Op::Tril { .. }
            | Op::Triu { .. }
            | Op::Trace { .. }
            | Op::MatMul
            | Op::Dot
            | Op::Inner
            | Op::Einsum { .. }
            | Op::Reduce { .. }
            | Op::Gather { .. } => false,
        }
    }

    /// What a node's value takes that is no view.
    fn fresh(&self, id: NodeId) -> u64 {
        let node = &self.program.nodes[id];
        let contraction = self.labels(id).is_some();
        let magnitude = contraction || self.sums[id] && self.numerics != Numerics::Exact;
        let known = matches!(node.op, Op::Input(_) | Op::Const(_) | Op::Array(_) | Op::Eye { .. });
        // What is given has no bound.
        let each = if known { 8 } else { value_bytes(node.dtype, magnitude) };
        elements(&node.shape).saturating_mul(each)
    }

    /// What computing a node takes besides its value: the packed operands and the products of contractions.
    fn scratch(&self, id: NodeId) -> u64 {
        let Some((inputs, output)) = self.labels(id) else { return 0 };
        let node = &self.program.nodes[id];
        let mut extents: BTreeMap<usize, u64> = BTreeMap::new();
        for (labels, &arg) in inputs.iter().zip(&node.args) {
            for (&label, &extent) in labels.iter().zip(&self.program.nodes[arg].shape) {
                let known = extents.entry(label).or_insert(extent as u64);
                *known = (*known).max(extent as u64);
            }
        }
        let size = |labels: &BTreeSet<usize>| -> u64 {
            labels.iter().fold(1, |product, label| extents.get(label).map_or(product, |&e| e.saturating_mul(product)))
        };
        let each = value_bytes(node.dtype, true);
        let (mut most, mut held): (u64, BTreeSet<usize>) = (0, BTreeSet::new());
        for (at, labels) in inputs.iter().enumerate() {
            let next: BTreeSet<usize> = labels.iter().copied().collect();
            let later = |label: &usize| output.contains(label) || inputs[at + 1..].iter().any(|of| of.contains(label));
            let both: BTreeSet<usize> = held.union(&next).copied().filter(later).collect();
            if at > 0 {
                // Both operands packed, the product, and what it becomes with its errors.
                let sizes = size(&held).saturating_add(size(&next)).saturating_add(size(&both).saturating_mul(2));
                most = most.max(sizes.saturating_mul(each));
            }
            held = if at == 0 { next } else { both };
        }
        most
    }

    /// The labels of a contraction's operands and result.
    fn labels(&self, id: NodeId) -> Option<(Vec<Vec<usize>>, Vec<usize>)> {
        let node = &self.program.nodes[id];
        let rank = |at: usize| node.args.get(at).map_or(0, |&arg| self.program.nodes[arg].shape.len());
        if let Op::Einsum { inputs, output } = &node.op {
            return Some((inputs.clone(), output.clone()));
        }
        let product = matches!(node.op, Op::MatMul | Op::Dot | Op::Inner);
        if product { product_labels(&node.op, rank(0), rank(1)).ok() } else { None }
    }
}
