//! Random well-typed array programs, and what helps to read a failure: pruning and prefixes.
//!
//! Programs are valid by construction: an operator is proposed with arguments brought to fitting
//! types and shapes, and kept if the interpreter's own shape rule accepts it. Kept out are only
//! what NumPy leaves to the platform or refuses: floats out of range cast to integers, negative
//! integer exponents, empty maxima.

use moat_optimizer::oracle::inputs::SplitMix64;
use moat_optimizer::oracle::interpret::{ArrayType, result_type};
use moat_optimizer::program::expr::{InputHint, Node, NodeId, Op, Param, Program, SliceAxis, Span, SumOrder};
use moat_optimizer::value::dtype::{DType, Literal};
use moat_optimizer::value::scalar::{BinaryOp, FoldOp, UnaryOp};
use moat_optimizer::value::scalar_eval::{binary_defined, unary_defined};
use std::collections::BTreeMap;

/// No array of a random program has more elements.
const LARGEST: usize = 3000;
/// Extents to draw from: small, odd and 1.
const EXTENTS: [usize; 6] = [1, 2, 3, 4, 5, 7];

/// A program of about `size` operations.
pub fn random_program(seed: u64, size: usize) -> Program {
    let mut draft = Draft {
        program: Program { name: format!("random_{seed}"), ..Program::default() },
        random: SplitMix64::new(seed.wrapping_mul(0xD1B5_4A32_D192_ED03)),
    };
    for _ in 0..1 + draft.below(3) {
        let (shape, dtype) = (draft.shape(), draft.dtype(|_| true));
        draft.param(&shape, dtype);
    }
    let mut attempts = 0;
    let inputs = draft.program.nodes.len();
    while draft.program.nodes.len() < inputs + size && attempts < 50 * size {
        attempts += 1;
        let before = draft.program.nodes.len();
        if draft.step().is_none() {
            draft.program.nodes.truncate(before);
            let used = |program: &Program, index: usize| program.nodes.iter().any(|node| node.op == Op::Input(index));
            while draft.program.params.len() > 1 && !used(&draft.program, draft.program.params.len() - 1) {
                draft.program.params.pop();
            }
        }
    }
    let last = draft.program.nodes.len() - 1;
    draft.program.roots = vec![last];
    if draft.below(4) == 0 {
        let other = draft.below(last + 1);
        if other != last {
            draft.program.roots.push(other);
        }
    }
    draft.program.returns_tuple = draft.program.roots.len() > 1;
    prune(&draft.program)
}

/// The program without the nodes and parameters that no result needs.
pub fn prune(program: &Program) -> Program {
    let mut needed = vec![false; program.nodes.len()];
    program.roots.iter().for_each(|&root| needed[root] = true);
    for id in (0..program.nodes.len()).rev() {
        if needed[id] {
            program.nodes[id].args.iter().for_each(|&arg| needed[arg] = true);
        }
    }
    let mut pruned = Program { params: Vec::new(), nodes: Vec::new(), ..program.clone() };
    let (mut nodes, mut params): (BTreeMap<NodeId, NodeId>, BTreeMap<usize, usize>) = Default::default();
    for (id, node) in program.nodes.iter().enumerate().filter(|(id, _)| needed[*id]) {
        let mut node = Node { args: node.args.iter().map(|arg| nodes[arg]).collect(), ..node.clone() };
        if let Op::Input(index) = node.op {
            let new = *params.entry(index).or_insert_with(|| {
                pruned.params.push(program.params[index].clone());
                pruned.params.len() - 1
            });
            node.op = Op::Input(new);
        }
        nodes.insert(id, pruned.nodes.len());
        pruned.nodes.push(node);
    }
    pruned.roots = program.roots.iter().map(|root| nodes[root]).collect();
    pruned
}

/// For each node in order, the program that has it as its only result: the first of them that
/// fails a property is the smallest explanation of a failure.
pub fn prefixes(program: &Program) -> Vec<Program> {
    let single = |root| Program { roots: vec![root], returns_tuple: false, ..program.clone() };
    (0..program.nodes.len()).map(|root| prune(&single(root))).collect()
}

/// A program while it grows.
struct Draft {
    program: Program,
    random: SplitMix64,
}

impl Draft {
    fn below(&mut self, n: usize) -> usize {
        self.random.next_below(n as u64) as usize
    }

    fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn shape(&mut self) -> Vec<usize> {
        let rank = self.choose(&[0, 1, 1, 2, 2, 2, 3, 3, 4]);
        (0..rank).map(|_| self.choose(&EXTENTS)).collect()
    }

    fn dtype(&mut self, fits: impl Fn(DType) -> bool) -> DType {
        let fitting: Vec<DType> = DType::SUPPORTED.into_iter().filter(|dtype| fits(*dtype)).collect();
        self.choose(&fitting)
    }

    fn node(&self, id: NodeId) -> &Node {
        &self.program.nodes[id]
    }

    fn type_of(&self, id: NodeId) -> ArrayType {
        (self.node(id).shape.clone(), self.node(id).dtype)
    }

    /// Appends a node if its operator accepts the arguments; `declared` where that leaves the type
    /// open.
    fn add(&mut self, op: Op, args: &[NodeId], declared: Option<ArrayType>) -> Option<NodeId> {
        let types: Vec<ArrayType> = args.iter().map(|&arg| self.type_of(arg)).collect();
        let declared = declared.or_else(|| types.first().cloned())?;
        let (shape, dtype) = result_type(&op, &types, &declared).ok()?;
        if shape.iter().product::<usize>() > LARGEST || shape.len() > 6 {
            return None;
        }
        self.program.nodes.push(Node { op, args: args.to_vec(), shape, live: vec![], dtype, span: Span::default() });
        Some(self.program.nodes.len() - 1)
    }

    fn param(&mut self, shape: &[usize], dtype: DType) -> NodeId {
        let index = self.program.params.len();
        let hint = match self.below(3) {
            0 if dtype.is_float() => InputHint::Range(-2.0, 3.0),
            0 if dtype.is_int() => InputHint::Range(-100.0, 100.0),
            _ => InputHint::Any,
        };
        self.program.params.push(Param { name: format!("p{index}"), dtype, shape: shape.to_vec(), hint });
        let node = Node {
            op: Op::Input(index),
            args: vec![],
            shape: shape.to_vec(),
            live: vec![],
            dtype,
            span: Span::default(),
        };
        self.program.nodes.push(node);
        self.program.nodes.len() - 1
    }

    /// An array of this type: a new parameter while there are few, else counted up.
    fn leaf(&mut self, shape: &[usize], dtype: DType) -> Option<NodeId> {
        if self.program.params.len() < 4 {
            return Some(self.param(shape, dtype));
        }
        let counted = if dtype == DType::Bool { DType::I32 } else { dtype };
        let (start, step) = (Literal::Int(-2).at(counted), Literal::Int(1).at(counted));
        let row = self.add(Op::Arange { start, step }, &[], Some((vec![shape.iter().product()], counted)))?;
        let array = self.add(Op::Reshape, &[row], Some((shape.to_vec(), counted)))?;
        self.cast(array, dtype)
    }

    /// A constant stretched to a shape.
    fn constant(&mut self, value: f64, shape: &[usize], dtype: DType) -> Option<NodeId> {
        let literal =
            if dtype.is_float() { Literal::float(value).at(dtype) } else { Literal::Int(value as i64).at(dtype) };
        let scalar = self.add(Op::Const(literal), &[], Some((vec![], dtype)))?;
        self.add(Op::Broadcast, &[scalar], Some((shape.to_vec(), dtype)))
    }

    /// Any node, later ones more often.
    fn pick(&mut self) -> NodeId {
        let count = self.program.nodes.len();
        self.below(count).max(self.below(count))
    }

    /// A node at another type; a float on the way to an integer is first put in range.
    fn cast(&mut self, id: NodeId, dtype: DType) -> Option<NodeId> {
        let (shape, from) = self.type_of(id);
        if from == dtype {
            return Some(id);
        }
        let mut id = id;
        if from.is_float() && dtype.is_int() {
            let number = self.add(Op::Binary(BinaryOp::Eq), &[id, id], None)?;
            let zero = self.constant(0.0, &shape, from)?;
            id = self.add(Op::Where, &[number, id, zero], Some((shape.clone(), from)))?;
            let (low, high) = (self.constant(-1000.0, &shape, from)?, self.constant(1000.0, &shape, from)?);
            id = self.add(Op::Binary(BinaryOp::Maximum), &[id, low], None)?;
            id = self.add(Op::Binary(BinaryOp::Minimum), &[id, high], None)?;
        }
        self.add(Op::Cast, &[id], Some((shape, dtype)))
    }

    /// Some node brought to this type, or a new one.
    fn of_type(&mut self, shape: &[usize], dtype: DType) -> Option<NodeId> {
        let id = self.pick();
        let size: usize = shape.iter().product();
        let fitted = self.add(Op::Broadcast, &[id], Some((shape.to_vec(), self.node(id).dtype))).or_else(|| {
            let same = self.node(id).size() == size;
            if same { self.add(Op::Reshape, &[id], Some((shape.to_vec(), self.node(id).dtype))) } else { None }
        });
        match fitted {
            Some(id) => self.cast(id, dtype),
            None if self.below(2) == 0 => self.leaf(shape, dtype),
            None => {
                let value = self.choose(&[-1.5, 0.0, 0.5, 1.0, 2.0, 3.0, -7.0]);
                self.constant(value, shape, dtype)
            }
        }
    }

    /// Proposes one operation on existing nodes.
    fn step(&mut self) -> Option<NodeId> {
        let a = self.pick();
        let (shape, dtype) = self.type_of(a);
        let rank = shape.len();
        let axis = if rank > 0 { self.below(rank) } else { 0 };
        let offset = self.below(5) as i64 - 2;
        match self.below(34) {
            0..=3 => self.unary(a),
            4..=9 => self.binary(a),
            10 => {
                let condition = self.cast(a, DType::Bool)?;
                let dtype = self.dtype(|_| true);
                let (x, y) = (self.of_type(&shape, dtype)?, self.of_type(&shape, dtype)?);
                self.add(Op::Where, &[condition, x, y], None)
            }
            11 => {
                let to = self.dtype(|to| to != dtype);
                self.cast(a, to)
            }
            12 => {
                let mut stretched: Vec<usize> = shape.clone();
                for extent in stretched.iter_mut().filter(|extent| **extent == 1) {
                    *extent = self.choose(&EXTENTS);
                }
                (0..self.below(2)).for_each(|_| stretched.insert(0, self.choose(&EXTENTS)));
                self.add(Op::Broadcast, &[a], Some((stretched, dtype)))
            }
            13 => {
                let axes = self.permutation(rank);
                self.add(Op::Transpose(axes), &[a], None)
            }
            14 | 15 => {
                let shape = self.reshaped(&shape);
                self.add(Op::Reshape, &[a], Some((shape, dtype)))
            }
            16 | 17 => {
                let slices = shape.iter().map(|&extent| self.slice(extent)).collect();
                self.add(Op::Slice(slices), &[a], None)
            }
            18 if rank > 0 => {
                let at = self.below(shape[axis]);
                self.add(Op::Index { axis, at }, &[a], None)
            }
            19 if rank > 1 => {
                let (axis1, axis2) = self.two_axes(rank);
                let result = self.add(Op::Diagonal { offset, axis1, axis2 }, &[a], None)?;
                (self.node(result).size() > 0).then_some(result)
            }
            20 => {
                let axes = (0..rank).filter(|_| self.below(2) == 0).collect();
                self.add(Op::Flip(axes), &[a], None)
            }
            21 if rank > 0 => {
                let shift = self.below(shape[axis]);
                self.add(Op::Roll { shift, axis }, &[a], None)
            }
            22 if rank > 0 => {
                let widths = (0..rank).map(|_| (self.below(3), self.below(3))).collect();
                let value = Literal::Int(self.below(3) as i64).at(dtype);
                self.add(Op::Pad { widths, value }, &[a], None)
            }
            23 if rank > 0 => {
                let mut other = shape.clone();
                other[axis] = self.choose(&EXTENTS);
                let (b, c) = (self.of_type(&other, dtype)?, self.of_type(&shape, dtype)?);
                let args: &[NodeId] = if self.below(2) == 0 { &[a, b] } else { &[b, c, a] };
                self.add(Op::Concat { axis }, args, None)
            }
            24 if rank > 0 => {
                let second = self.below(rank);
                let mut windows = vec![(axis, 1 + self.below(shape[axis]))];
                if second != axis {
                    windows.push((second, 1 + self.below(shape[second])));
                }
                self.add(Op::Window { windows }, &[a], None)
            }
            25 => {
                let op = if self.below(2) == 0 { Op::Tril { k: offset } } else { Op::Triu { k: offset } };
                self.add(op, &[a], None)
            }
            26 => self.add(Op::Trace { offset }, &[a], None),
            27 | 28 if rank > 0 => self.product(a),
            29 => {
                let ops: Vec<BinaryOp> = BinaryOp::ALL.into_iter().filter(|op| outer_op(*op, dtype)).collect();
                let op = self.choose(&ops);
                let b = self.pick();
                let b = self.cast(b, dtype)?;
                self.add(Op::Outer(op), &[a, b], None)
            }
            30 => self.einsum(a),
            31 | 32 => {
                let axes: Vec<usize> = (0..rank).filter(|_| self.below(2) == 0).collect();
                let ops: &[FoldOp] = if dtype == DType::Bool { &FoldOp::ALL } else { &FoldOp::ALL[..4] };
                let op = self.choose(ops);
                self.add(Op::Reduce { op, axes, order: SumOrder::default() }, &[a], None)
            }
            _ => self.fresh(),
        }
    }

    fn unary(&mut self, a: NodeId) -> Option<NodeId> {
        let op = self.choose(&UnaryOp::ALL);
        let dtype = self.node(a).dtype;
        let to = if unary_defined(op, dtype) { dtype } else { self.dtype(|dtype| unary_defined(op, dtype)) };
        let mut a = self.cast(a, to)?;
        if matches!(op, UnaryOp::Sqrt | UnaryOp::Log) && self.below(8) > 0 {
            a = self.add(Op::Unary(UnaryOp::Abs), &[a], None)?;
        }
        self.add(Op::Unary(op), &[a], None)
    }

    fn binary(&mut self, a: NodeId) -> Option<NodeId> {
        let op = self.choose(&BinaryOp::ALL);
        let (shape, dtype) = self.type_of(a);
        let to = if binary_defined(op, dtype) { dtype } else { self.dtype(|dtype| binary_defined(op, dtype)) };
        let a = self.cast(a, to)?;
        let mut b = self.of_type(&shape, to)?;
        if op == BinaryOp::Pow && to.is_int() {
            let four = self.constant(4.0, &shape, to)?;
            b = self.add(Op::Binary(BinaryOp::Mod), &[b, four], None)?;
        }
        self.add(Op::Binary(op), &[a, b], None)
    }

    fn product(&mut self, a: NodeId) -> Option<NodeId> {
        let (shape, dtype) = self.type_of(a);
        let rank = shape.len();
        let inner = shape[rank - 1];
        let columns = self.choose(&EXTENTS);
        match self.below(5) {
            0 => {
                let b = self.of_type(&[inner], dtype)?;
                self.add(Op::MatMul, &[a, b], None)
            }
            1 | 2 => {
                // Batch axes of one operand may be fewer, or 1.
                let mut other: Vec<usize> = shape[self.below(rank)..rank - 1].to_vec();
                other.iter_mut().for_each(|extent| *extent = if self.below(3) == 0 { 1 } else { *extent });
                other.pop();
                other.extend([inner, columns]);
                let b = self.of_type(&other, dtype)?;
                self.add(Op::MatMul, &[a, b], None)
            }
            3 => {
                let from = self.below(2);
                let b = self.of_type(&[columns, inner, 2][from..], dtype)?;
                self.add(Op::Dot, &[a, b], None).or_else(|| self.add(Op::Dot, &[b, a], None))
            }
            _ => {
                let b = self.of_type(&[columns, inner], dtype)?;
                self.add(Op::Inner, &[a, b], None)
            }
        }
    }

    fn einsum(&mut self, a: NodeId) -> Option<NodeId> {
        let (shape, dtype) = self.type_of(a);
        let mut extents: BTreeMap<usize, usize> = BTreeMap::new();
        let mut first = Vec::new();
        for &extent in &shape {
            // Sometimes an earlier label of the same extent: a diagonal.
            let same: Vec<usize> = extents.iter().filter(|(_, e)| **e == extent).map(|(label, _)| *label).collect();
            let label = if !same.is_empty() && self.below(4) == 0 { self.choose(&same) } else { extents.len() };
            extents.insert(label, extent);
            first.push(label);
        }
        let mut inputs = vec![first];
        let mut args = vec![a];
        for _ in 0..self.below(3) {
            let mut labels: Vec<usize> = extents.keys().copied().filter(|_| self.below(2) == 0).collect();
            if self.below(2) == 0 {
                labels.push(extents.len());
                let extent = self.choose(&EXTENTS);
                extents.insert(extents.len(), extent);
            }
            let shape: Vec<usize> = labels.iter().map(|label| extents[label]).collect();
            args.push(self.of_type(&shape, dtype)?);
            inputs.push(labels);
        }
        let points: usize = extents.values().product();
        let labels: Vec<usize> = extents.keys().copied().collect();
        let order = self.permutation(labels.len());
        let output = order.into_iter().map(|at| labels[at]).filter(|_| self.below(2) == 0).collect();
        if points > 20_000 { None } else { self.add(Op::Einsum { inputs, output }, &args, None) }
    }

    fn fresh(&mut self) -> Option<NodeId> {
        let dtype = self.dtype(|dtype| dtype != DType::Bool);
        let n = self.choose(&EXTENTS);
        match self.below(4) {
            0 => {
                let (start, step) = (Literal::Int(self.below(5) as i64 - 2), Literal::Int(self.below(4) as i64 - 1));
                self.add(Op::Arange { start: start.at(dtype), step: step.at(dtype) }, &[], Some((vec![n], dtype)))
            }
            1 => {
                let m = self.choose(&EXTENTS);
                let k = self.below(3) as i64 - 1;
                self.add(Op::Eye { k }, &[], Some((vec![n, m], dtype)))
            }
            2 => {
                let elements = (0..n).map(|_| Literal::Int(self.below(9) as i64 - 4).at(dtype)).collect();
                self.add(Op::Array(elements), &[], Some((vec![n], dtype)))
            }
            _ => self.constant(2.5, &[n], dtype),
        }
    }

    fn two_axes(&mut self, rank: usize) -> (usize, usize) {
        let first = self.below(rank);
        (first, (first + 1 + self.below(rank - 1)) % rank)
    }

    fn permutation(&mut self, rank: usize) -> Vec<usize> {
        let mut axes: Vec<usize> = (0..rank).collect();
        for at in (1..rank).rev() {
            let other = self.below(at + 1);
            axes.swap(at, other);
        }
        axes
    }

    /// Another shape of as many elements: flat, axes of 1 put in, axes merged or split.
    fn reshaped(&mut self, shape: &[usize]) -> Vec<usize> {
        let size: usize = shape.iter().product();
        let mut result = shape.to_vec();
        match self.below(4) {
            0 => vec![size],
            1 => {
                let at = self.below(shape.len() + 1);
                result.insert(at, 1);
                result
            }
            2 if shape.len() >= 2 => {
                let at = self.below(shape.len() - 1);
                let merged = result.remove(at);
                result[at] *= merged;
                result
            }
            _ => {
                let factors: Vec<usize> = (1..=size).filter(|factor| size.is_multiple_of(*factor)).collect();
                let rows = self.choose(&factors);
                vec![rows, size / rows]
            }
        }
    }

    fn slice(&mut self, extent: usize) -> SliceAxis {
        let step = self.choose(&[1, 1, 1, 2, 3, -1, -2]);
        let start = self.below(extent) as i64;
        let room = if step > 0 { extent as i64 - 1 - start } else { start };
        let len = 1 + self.below((room / i64::abs(step)) as usize + 1);
        SliceAxis { start, step, len }
    }
}

/// Operators whose outer product needs no care.
fn outer_op(op: BinaryOp, dtype: DType) -> bool {
    binary_defined(op, dtype) && !(op == BinaryOp::Pow && dtype.is_int())
}
