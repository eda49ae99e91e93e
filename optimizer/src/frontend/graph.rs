//! The graph of nodes that a reading makes.
//!
//! Input: nodes. Output: their numbers; equal nodes share one. For each node it knows whether a state's contents or a
//! loop's variable make a difference, and how NumPy lays it out in memory.

use super::numpy_order::Layouts;
use crate::integer::affine::Affine;
use crate::program::expr::{Node, NodeId, Op, SectionAxis, SumOrder};
use crate::value::dtype::DType;
use std::collections::HashMap;
use std::ops::Index;

/// What tells an array with an order of its own in memory apart: operator, arguments, shape, and the array it lies like.
type OwnKey = (Op, Vec<NodeId>, Vec<usize>, Option<NodeId>);

/// Identity of a node, for sharing.
type NodeKey = (Op, Vec<NodeId>, Vec<usize>, Vec<Affine>, DType);

/// The nodes made so far.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    /// How NumPy lays out each node, as far as a sum has asked.
    layouts: Layouts,
    /// For each node whether a state's contents make a difference.
    reads_state: Vec<bool>,
    /// For each node whether a loop's variable makes a difference.
    in_loop: Vec<bool>,
    shared: HashMap<NodeKey, NodeId>,
    /// Arrays with an order of their own in memory.
    owned: HashMap<OwnKey, NodeId>,
}

impl Index<NodeId> for Graph {
    type Output = Node;

    fn index(&self, node: NodeId) -> &Node {
        &self.nodes[node]
    }
}

impl Graph {
    /// The number of a node, made unless an equal one exists; where in the source it stands makes no difference.
    pub(super) fn node(&mut self, new: Node) -> NodeId {
        let key = (new.op.clone(), new.args.clone(), new.shape.clone(), new.live.clone(), new.dtype);
        if let Some(&node) = self.shared.get(&key) {
            return node;
        }
        let node = self.push(new);
        self.shared.insert(key, node);
        node
    }

    /// The node of an array with an order of its own in memory, which no array without one is.
    pub(super) fn own_memory(&mut self, array: Node, like: Option<NodeId>) -> NodeId {
        let known = (array.op.clone(), array.args.clone(), array.shape.clone(), like);
        if let Some(&node) = self.owned.get(&known) {
            return node;
        }
        let node = self.push(array);
        self.layouts.owns(node, like);
        self.owned.insert(known, node);
        node
    }

    fn push(&mut self, new: Node) -> NodeId {
        let (Node { op, args, live, .. }, node) = (&new, self.nodes.len());
        self.reads_state.push(matches!(op, Op::State(_)) || args.iter().any(|&arg| self.reads_state[arg]));
        let own = match op {
            Op::LoopIndex(form) => !form.is_constant(),
            Op::Section(axes) => axes.iter().any(|axis| match axis {
                SectionAxis::At(form) | SectionAxis::Slice { start: form, .. } => !form.is_constant(),
            }),
            _ => false,
        };
        self.in_loop.push(own || !live.is_empty() || args.iter().any(|&arg| self.in_loop[arg]));
        self.nodes.push(new);
        node
    }

    /// Whether a state's contents make a difference to a node.
    pub(super) fn reads_state(&self, node: NodeId) -> bool {
        self.reads_state[node]
    }

    /// Whether a loop's variable makes a difference to a node.
    pub(super) fn in_loop(&self, node: NodeId) -> bool {
        self.in_loop[node]
    }

    /// Whether an array lies in memory in the order of its axes.
    pub(super) fn is_row_major(&mut self, node: NodeId) -> bool {
        self.layouts.is_row_major(&self.nodes, node)
    }

    /// Whether NumPy reshapes an array without a copy.
    pub(super) fn reshape_is_view(&mut self, node: NodeId, shape: &[usize]) -> bool {
        self.layouts.reshape_is_view(&self.nodes, node, shape)
    }

    /// In which order NumPy adds what a reduction over `axes` sums.
    pub(super) fn sum_order(&mut self, node: NodeId, axes: &[usize]) -> SumOrder {
        self.layouts.order(&self.nodes, node, axes)
    }

    /// Gives the nodes away.
    pub(super) fn take_nodes(&mut self) -> Vec<Node> {
        std::mem::take(&mut self.nodes)
    }
}
