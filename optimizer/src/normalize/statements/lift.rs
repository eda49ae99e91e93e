//! One statement of a loop body as an array program of its own.
//!
//! Input: a value inside loops. Output: a [`Program`] without loops whose result has one leading axis for each
//! loop: its element at (v₀ …, x …) is the element x of the value in the iteration v. So the laws of arrays hold
//! for it as they stand. What the value reads from memory becomes a parameter; a section by forms in loop
//! variables becomes a view of it. Since a slice that shrinks is a box here, the view may leave the array beyond
//! the slice's live extent; so a parameter has margins on every axis, which are taken off again with the loops'
//! axes. A fold over a live extent folds the whole box, masked by the identity beyond.

use crate::form::scalar_tree::Source;
use crate::integer::affine::Affine;
use crate::normalize::NormalizeError;
use crate::program::expr::{InputHint, Node, NodeId, Op, Param, Program, SectionAxis, SliceAxis, Span, SumOrder};
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::{BinaryOp, FoldOp};
use std::collections::BTreeMap;

/// A loop around a statement, and the least and greatest value of its variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Around {
    pub(super) var: usize,
    pub(super) min: i64,
    pub(super) max: i64,
}

impl Around {
    fn extent(&self) -> usize {
        usize::try_from(self.max - self.min + 1).unwrap_or(0)
    }
}

/// What a parameter of a lifted program stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) source: Source,
    /// Index x of the array is index x + margin of the parameter, on each axis.
    pub(super) margins: Vec<i64>,
    /// The array's shape.
    pub(super) shape: Vec<usize>,
}

/// A statement's value without its loops.
pub(super) struct Lifted {
    pub(super) program: Program,
    /// One for each parameter.
    pub(super) leaves: Vec<Leaf>,
}

/// Lifts `values`, all evaluated inside the loops `around`.
///
/// # Errors
/// Where a node is not one that the frontend makes.
pub(super) fn lift(program: &Program, values: &[NodeId], around: &[Around]) -> Result<Lifted, NormalizeError> {
    let mut lift = Lift {
        program,
        around,
        out: Program { name: program.name.clone(), ..Program::default() },
        leaves: Vec::new(),
        lifted: vec![None; program.nodes.len()],
    };
    lift.margins(values)?;
    let mut roots = Vec::new();
    for &value in values {
        let done = lift.node(value)?;
        let rank = program.nodes[value].shape.len();
        roots.push(lift.over_loops(done, rank)?);
    }
    lift.out.roots = roots;
    Ok(Lifted { program: lift.out, leaves: lift.leaves })
}

/// A node of the lifted program, and whether the loops' axes lead its own.
#[derive(Clone, Copy)]
struct Done {
    node: NodeId,
    over: bool,
}

struct Lift<'a> {
    program: &'a Program,
    around: &'a [Around],
    out: Program,
    leaves: Vec<Leaf>,
    lifted: Vec<Option<Done>>,
}

/// An array that is read: shape, type, name, and how far views reach beyond each axis, before and after it.
type Reach = (Vec<usize>, DType, String, Vec<(i64, i64)>);

fn malformed<T>(node: NodeId, problem: &str) -> Result<T, NormalizeError> {
    Err(NormalizeError::Malformed { node, problem: problem.to_owned() })
}

impl Lift<'_> {
    fn source(&self, node: NodeId) -> Option<Source> {
        let op = &self.program.nodes.get(node)?.op;
        if let Op::Input(at) = op {
            return Some(Source::Param(*at));
        }
        if let Op::State(at) = op { Some(Source::State(*at)) } else { None }
    }

    /// Finds every array that is read, and how far its views reach beyond it.
    fn margins(&mut self, values: &[NodeId]) -> Result<(), NormalizeError> {
        let mut seen = vec![false; self.program.nodes.len()];
        let mut open: Vec<NodeId> = values.to_vec();
        let mut reach: BTreeMap<Source, Reach> = BTreeMap::new();
        while let Some(id) = open.pop() {
            let Some(node) = self.program.nodes.get(id) else { return malformed(id, "no such node") };
            if std::mem::replace(&mut seen[id], true) {
                continue;
            }
            open.extend(&node.args);
            if let Some(source) = self.source(id) {
                let name = match source {
                    Source::Param(at) => self.program.params.get(at).map(|param| param.name.clone()),
                    Source::State(at) => self.program.states.get(at).map(|state| state.name.clone()),
                    Source::Def(_) => None,
                };
                let Some(name) = name else { return malformed(id, "an array that does not exist") };
                let none = vec![(0, 0); node.shape.len()];
                reach.entry(source).or_insert((node.shape.clone(), node.dtype, name, none));
            }
            if let Op::Section(axes) = &node.op
                && let Some(&arg) = node.args.first()
                && let Some(source) = self.source(arg)
            {
                let array = &self.program.nodes[arg];
                if axes.len() != array.shape.len() {
                    return malformed(id, "a section with another number of axes than its argument");
                }
                let none = vec![(0, 0); axes.len()];
                let name = match source {
                    Source::Param(at) => self.program.params.get(at).map(|param| param.name.clone()),
                    Source::State(at) => self.program.states.get(at).map(|state| state.name.clone()),
                    Source::Def(_) => None,
                }
                .unwrap_or_default();
                let known = reach.entry(source).or_insert((array.shape.clone(), array.dtype, name, none));
                for (axis, (low, high)) in self.indices(axes, &node.shape).into_iter().enumerate() {
                    let extent = to_i64(known.0[axis]);
                    known.3[axis].0 = known.3[axis].0.max(-low);
                    known.3[axis].1 = known.3[axis].1.max(high + 1 - extent);
                }
            }
        }
        for (source, (own, dtype, name, margins)) in reach {
            let shape: Vec<usize> = own
                .iter()
                .zip(&margins)
                .map(|(&n, &(before, after))| n + usize::try_from(before + after).unwrap_or(0))
                .collect();
            let at = self.leaves.len();
            self.leaves.push(Leaf { source, margins: margins.iter().map(|m| m.0).collect(), shape: own });
            self.out.params.push(Param { name, dtype, shape: shape.clone(), hint: InputHint::Any });
            self.push(Op::Input(at), Vec::new(), shape, dtype);
        }
        Ok(())
    }

    fn bounds(&self, form: &Affine) -> (i64, i64) {
        form.bounds(|v| self.around.iter().find(|a| a.var == v).map_or((0, 0), |a| (a.min, a.max)))
    }

    fn push(&mut self, op: Op, args: Vec<NodeId>, shape: Vec<usize>, dtype: DType) -> NodeId {
        let same = |n: &Node| n.op == op && n.args == args && n.shape == shape && n.dtype == dtype;
        if let Some(at) = self.out.nodes.iter().position(same) {
            return at;
        }
        self.out.nodes.push(Node { op, args, shape, live: Vec::new(), dtype, span: Span::default() });
        self.out.nodes.len() - 1
    }

    fn lead(&self) -> Vec<usize> {
        self.around.iter().map(Around::extent).collect()
    }

    fn shape_of(&self, node: NodeId) -> Vec<usize> {
        self.out.nodes[node].shape.clone()
    }

    /// The node with the loops' axes before its own `rank`.
    fn over_loops(&mut self, done: Done, rank: usize) -> Result<NodeId, NormalizeError> {
        if done.over || self.around.is_empty() {
            return Ok(done.node);
        }
        let dtype = self.out.nodes[done.node].dtype;
        let own = self.shape_of(done.node);
        debug_assert_eq!(own.len(), rank, "a node that is not over the loops has only its own axes");
        let shape = [self.lead(), own].concat();
        Ok(self.push(Op::Broadcast, vec![done.node], shape, dtype))
    }

    /// A form in loop variables, and in axes of the result numbered from `AXES`, as an array of `shape`.
    fn form(&mut self, form: &Affine, shape: &[usize]) -> NodeId {
        let i64s = DType::I64;
        let constant = self.push(Op::Const(Literal::Int(form.constant)), Vec::new(), Vec::new(), i64s);
        let mut sum = self.push(Op::Broadcast, vec![constant], shape.to_vec(), i64s);
        for &(variable, coefficient) in &form.terms {
            let axis = match variable.checked_sub(AXES) {
                Some(axis) => axis,
                None => match self.around.iter().position(|a| a.var == variable) {
                    Some(axis) => axis,
                    None => continue,
                },
            };
            let first = if variable < AXES { self.around[axis].min } else { 0 };
            let arange = Op::Arange { start: Literal::Int(first), step: Literal::Int(1) };
            let values = self.push(arange, Vec::new(), vec![shape[axis]], i64s);
            let along = Op::Section(vec![SectionAxis::At(Affine::variable(axis))]);
            let values = self.push(along, vec![values], shape.to_vec(), i64s);
            let factor = self.push(Op::Const(Literal::Int(coefficient)), Vec::new(), Vec::new(), i64s);
            let factor = self.push(Op::Broadcast, vec![factor], shape.to_vec(), i64s);
            let term = self.push(Op::Binary(BinaryOp::Mul), vec![factor, values], shape.to_vec(), i64s);
            sum = self.push(Op::Binary(BinaryOp::Add), vec![sum, term], shape.to_vec(), i64s);
        }
        sum
    }

    fn node(&mut self, id: NodeId) -> Result<Done, NormalizeError> {
        // Arguments first, with an explicit stack: values may be deep.
        let mut stack = vec![id];
        while let Some(&top) = stack.last() {
            if self.lifted[top].is_some() {
                stack.pop();
                continue;
            }
            let node = &self.program.nodes[top];
            if node.args.iter().any(|&arg| arg >= top) {
                return malformed(top, "an argument that is not an earlier node");
            }
            let open: Vec<NodeId> = node.args.iter().copied().filter(|&arg| self.lifted[arg].is_none()).collect();
            if !open.is_empty() {
                stack.extend(open);
                continue;
            }
            let done = self.one(top)?;
            self.lifted[top] = Some(done);
            stack.pop();
        }
        match self.lifted[id] {
            Some(done) => Ok(done),
            None => malformed(id, "no value"),
        }
    }

    /// Lifts a node whose arguments are.
    fn one(&mut self, id: NodeId) -> Result<Done, NormalizeError> {
        let program = self.program;
        let node = &program.nodes[id];
        let (dtype, loops) = (node.dtype, self.around.len());
        if let Some(source) = self.source(id) {
            return self.whole_leaf(id, source);
        }
        let args: Vec<Done> = node.args.iter().filter_map(|&arg| self.lifted[arg]).collect();
        if let Op::Section(axes) = &node.op {
            return self.section(id, axes, &args);
        }
        if let Op::LoopIndex(form) = &node.op {
            let shape = self.lead();
            let value = self.form(form, &shape);
            let value = if dtype == DType::I64 { value } else { self.push(Op::Cast, vec![value], shape, dtype) };
            return Ok(Done { node: value, over: true });
        }
        let over = args.iter().any(|arg| arg.over);
        if !over && !node.args.iter().any(|&arg| !program.nodes[arg].live.is_empty()) {
            let args = args.iter().map(|arg| arg.node).collect();
            let value = self.push(node.op.clone(), args, node.shape.clone(), dtype);
            return Ok(Done { node: value, over: false });
        }
        let mut inputs = Vec::with_capacity(args.len());
        for (&arg, &done) in node.args.iter().zip(&args) {
            inputs.push(self.over_loops(done, program.nodes[arg].shape.len())?);
        }
        let shape = [self.lead(), node.shape.clone()].concat();
        let identity = |extents: &[usize]| -> Vec<SliceAxis> {
            extents.iter().map(|&len| SliceAxis { start: 0, step: 1, len }).collect()
        };
        let op = match &node.op {
            op @ (Op::Unary(_) | Op::Binary(_) | Op::Where | Op::Cast | Op::Reshape) => op.clone(),
            Op::Tril { k } => Op::Tril { k: *k },
            Op::Triu { k } => Op::Triu { k: *k },
            Op::Broadcast => {
                let own = program.nodes[node.args[0]].shape.clone();
                let missing = node.shape.len().saturating_sub(own.len());
                if missing > 0 {
                    let spread = [self.lead(), vec![1; missing], own].concat();
                    inputs[0] = self.push(Op::Reshape, vec![inputs[0]], spread, dtype);
                }
                Op::Broadcast
            }
            Op::Transpose(axes) => Op::Transpose((0..loops).chain(axes.iter().map(|axis| axis + loops)).collect()),
            Op::Slice(slices) => Op::Slice([identity(&self.lead()), slices.clone()].concat()),
            Op::Index { axis, at } => Op::Index { axis: axis + loops, at: *at },
            Op::Diagonal { offset, axis1, axis2 } => {
                Op::Diagonal { offset: *offset, axis1: axis1 + loops, axis2: axis2 + loops }
            }
            Op::Flip(axes) => Op::Flip(axes.iter().map(|axis| axis + loops).collect()),
            Op::Roll { shift, axis } => Op::Roll { shift: *shift, axis: axis + loops },
            Op::Pad { widths, value } => {
                Op::Pad { widths: [vec![(0, 0); loops], widths.clone()].concat(), value: *value }
            }
            Op::Concat { axis } => Op::Concat { axis: axis + loops },
            Op::Window { windows } => {
                Op::Window { windows: windows.iter().map(|&(axis, extent)| (axis + loops, extent)).collect() }
            }
            Op::Trace { offset } => {
                let of = &program.nodes[node.args[0]].shape;
                let rows = to_i64(of[0]) - (-offset).max(0);
                let columns = to_i64(of[1]) - (*offset).max(0);
                let length = usize::try_from(rows.min(columns).max(0)).unwrap_or(0);
                let along = Op::Diagonal { offset: *offset, axis1: loops, axis2: loops + 1 };
                let diagonal = self.push(along, inputs, [shape.clone(), vec![length]].concat(), dtype);
                inputs = vec![diagonal];
                let order = SumOrder { in_order: Vec::new(), pairwise: vec![shape.len()] };
                // Of more axes, the others are innermost.
                let order = if of.len() == 2 { order } else { SumOrder::default() };
                Op::Reduce { op: FoldOp::Sum, axes: vec![shape.len()], order }
            }
            Op::Reduce { op, axes, order } => {
                let live = &program.nodes[node.args[0]].live;
                for &axis in axes {
                    inputs[0] = self.masked(inputs[0], live.get(axis), axis + loops, *op, order)?;
                }
                Op::Reduce {
                    op: *op,
                    axes: axes.iter().map(|axis| axis + loops).collect(),
                    order: order.shifted(loops),
                }
            }
            Op::MatMul | Op::Dot | Op::Inner | Op::Einsum { .. } => {
                let rank = |at: usize| program.nodes[node.args[at]].shape.len();
                let labels = if let Op::Einsum { inputs, output } = &node.op {
                    Some((inputs.clone(), output.clone()))
                } else {
                    product_labels(&node.op, rank(0), rank(1))
                };
                let Some((labels, output)) = labels else { return malformed(id, "arguments that are scalars") };
                if let Some(sum) = self.live_product(node, &inputs, (&labels, &output))? {
                    return Ok(Done { node: sum, over: true });
                }
                let fresh = labels.iter().flatten().chain(&output).max().map_or(0, |&label| label + 1);
                let lead: Vec<usize> = (fresh..fresh + loops).collect();
                for (at, own) in labels.iter().enumerate() {
                    let live = &program.nodes[node.args[at]].live;
                    for (axis, label) in own.iter().enumerate() {
                        if !output.contains(label) {
                            inputs[at] = self.masked(
                                inputs[at],
                                live.get(axis),
                                axis + loops,
                                FoldOp::Sum,
                                &SumOrder::default(),
                            )?;
                        }
                    }
                }
                // Batch axes of extent 1 that the other argument stretches.
                for (at, own) in labels.iter().enumerate() {
                    let mut wide = self.shape_of(inputs[at]);
                    for (axis, label) in own.iter().enumerate() {
                        if let Some(position) = output.iter().position(|other| other == label) {
                            wide[loops + axis] = wide[loops + axis].max(node.shape[position]);
                        }
                    }
                    if wide != self.shape_of(inputs[at]) {
                        inputs[at] = self.push(Op::Broadcast, vec![inputs[at]], wide, dtype);
                    }
                }
                Op::Einsum {
                    inputs: labels.iter().map(|own| [lead.clone(), own.clone()].concat()).collect(),
                    output: [lead.clone(), output].concat(),
                }
            }
            Op::Gather { batch } if args.first().is_some_and(|array| !array.over) => {
                // One array for all iterations.
                inputs[0] = args[0].node;
                debug_assert_eq!(*batch, 0, "only lifting aligns axes");
                Op::Gather { batch: 0 }
            }
            Op::Gather { batch } => Op::Gather { batch: batch + loops },
            Op::Outer(op) => {
                let (left, right) = (&program.nodes[node.args[0]].shape, &program.nodes[node.args[1]].shape);
                let stretched = [self.lead(), left.clone(), vec![1; right.len()]].concat();
                let argument = self.out.nodes[inputs[0]].dtype;
                let a = self.push(Op::Reshape, vec![inputs[0]], stretched, argument);
                let a = self.push(Op::Broadcast, vec![a], shape.clone(), argument);
                let stretched = [self.lead(), vec![1; left.len()], right.clone()].concat();
                let b = self.push(Op::Reshape, vec![inputs[1]], stretched, argument);
                let b = self.push(Op::Broadcast, vec![b], shape.clone(), argument);
                inputs = vec![a, b];
                Op::Binary(*op)
            }
            Op::Input(_)
            | Op::State(_)
            | Op::LoopIndex(_)
            | Op::Section(_)
            | Op::Const(_)
            | Op::Array(_)
            | Op::Arange { .. }
            | Op::Eye { .. } => return malformed(id, "arguments that it does not take"),
        };
        Ok(Done { node: self.push(op, inputs, shape, dtype), over: true })
    }

    /// An array read whole.
    fn whole_leaf(&mut self, id: NodeId, source: Source) -> Result<Done, NormalizeError> {
        let shape = &self.program.nodes[id].shape;
        let Some(at) = self.leaves.iter().position(|leaf| leaf.source == source) else {
            return malformed(id, "an array that was not seen");
        };
        let (leaf, dtype) = (self.out.params[at].shape.clone(), self.out.params[at].dtype);
        let input = self.push(Op::Input(at), Vec::new(), leaf.clone(), dtype);
        if leaf == *shape {
            return Ok(Done { node: input, over: false });
        }
        let slices =
            self.leaves[at].margins.iter().zip(shape).map(|(&start, &len)| SliceAxis { start, step: 1, len }).collect();
        Ok(Done { node: self.push(Op::Slice(slices), vec![input], shape.clone(), dtype), over: false })
    }

    fn section(&mut self, id: NodeId, axes: &[SectionAxis], args: &[Done]) -> Result<Done, NormalizeError> {
        let node = &self.program.nodes[id];
        let (Some(&arg), Some(&done)) = (node.args.first(), args.first()) else {
            return malformed(id, "no argument");
        };
        let loops = self.around.len();
        let leaf = self.source(arg).and_then(|s| self.leaves.iter().position(|leaf| leaf.source == s));
        let (from, margins) = match leaf {
            Some(at) => {
                let (shape, dtype) = (self.out.params[at].shape.clone(), self.out.params[at].dtype);
                (self.push(Op::Input(at), Vec::new(), shape, dtype), self.leaves[at].margins.clone())
            }
            None => self.with_room(done, axes, &node.shape, arg)?,
        };
        let place = |form: &Affine| {
            form.substitute(|v| match self.around.iter().position(|a| a.var == v) {
                Some(axis) => Affine::variable(axis).offset(self.around[axis].min),
                None => Affine::constant(0),
            })
        };
        let mut result = loops;
        let own = axes.iter().zip(&margins).map(|(axis, &margin)| match axis {
            SectionAxis::At(at) => SectionAxis::At(place(at).offset(margin)),
            SectionAxis::Slice { start, step } => {
                result += 1;
                SectionAxis::At(place(start).offset(margin).plus(&Affine::new(0, [(result - 1, *step)])))
            }
        });
        // A value that the loops change has their axes first, and each iteration reads its own.
        let first = if leaf.is_none() && done.over { loops } else { 0 };
        let rows: Vec<SectionAxis> =
            (0..first).map(|axis| SectionAxis::At(Affine::variable(axis))).chain(own).collect();
        let shape = [self.lead(), node.shape.clone()].concat();
        Ok(Done { node: self.push(Op::Section(rows), vec![from], shape, node.dtype), over: true })
    }

    /// The least and the greatest index that a section of this shape has on each axis of its argument, wherever the loops
    /// are in their box.
    fn indices(&self, axes: &[SectionAxis], shape: &[usize]) -> Vec<(i64, i64)> {
        let mut lengths = shape.iter();
        let of = |axis: &SectionAxis| match axis {
            SectionAxis::At(at) => self.bounds(at),
            SectionAxis::Slice { start, step } => {
                let (low, high) = self.bounds(start);
                let last = step * (to_i64(lengths.next().copied().unwrap_or(1).max(1)) - 1);
                (low + last.min(0), high + last.max(0))
            }
        };
        axes.iter().map(of).collect()
    }

    /// A computed array with room around it for what a section reads in iterations that do not happen, or beyond its live
    /// extents: zeros, which nobody needs. Its margins before each axis.
    fn with_room(
        &mut self,
        done: Done,
        axes: &[SectionAxis],
        shape: &[usize],
        arg: NodeId,
    ) -> Result<(NodeId, Vec<i64>), NormalizeError> {
        let own = &self.program.nodes[arg];
        if axes.len() != own.shape.len() {
            return malformed(arg, "another number of axes than its section");
        }
        let room = |(&(low, high), &extent): (&(i64, i64), &usize)| ((-low).max(0), (high + 1 - to_i64(extent)).max(0));
        let margins: Vec<(i64, i64)> = self.indices(axes, shape).iter().zip(&own.shape).map(room).collect();
        let before = margins.iter().map(|margin| margin.0).collect();
        if margins.iter().all(|&margin| margin == (0, 0)) {
            return Ok((done.node, before));
        }
        let dtype = own.dtype;
        let lead = if done.over { self.lead() } else { Vec::new() };
        let size = |n: i64| usize::try_from(n).unwrap_or(0);
        let widths: Vec<(usize, usize)> = margins.iter().map(|&(before, after)| (size(before), size(after))).collect();
        let padded = own.shape.iter().zip(&widths).map(|(extent, (before, after))| extent + before + after);
        let padded = lead.iter().copied().chain(padded).collect();
        let widths = [vec![(0, 0); lead.len()], widths].concat();
        let pad = Op::Pad { widths, value: Literal::Int(0).at(dtype) };
        Ok((self.push(pad, vec![done.node], padded, dtype), before))
    }

    /// A contraction over axes that are as long as an iteration of the loops makes them: the sum of the products that there
    /// are. With a mask on each factor instead, a factor would have elements that no array has. `None` where all contracted
    /// axes have fixed extents, where an argument has an axis twice, and of truth values, which no product joins.
    fn live_product(
        &mut self,
        node: &Node,
        inputs: &[NodeId],
        (labels, output): (&[Vec<usize>], &[usize]),
    ) -> Result<Option<NodeId>, NormalizeError> {
        let program = self.program;
        let mut order = output.to_vec();
        let mut masks: Vec<(usize, Affine)> = Vec::new();
        for (own, &arg) in labels.iter().zip(&node.args) {
            for (axis, label) in own.iter().enumerate() {
                if own[..axis].contains(label) {
                    return Ok(None);
                }
                if !order.contains(label) {
                    order.push(*label);
                }
                let live = program.nodes[arg].live.get(axis).filter(|live| !live.is_constant());
                let mask = live.filter(|_| !output.contains(label)).map(|live| (*label, live.clone()));
                masks.extend(mask.filter(|mask| !masks.contains(mask)));
            }
        }
        if masks.is_empty() || node.dtype == DType::Bool {
            return Ok(None);
        }
        let (loops, lead) = (self.around.len(), self.lead());
        let extent = |label: &usize| {
            let of = |(own, &arg): (&Vec<usize>, &NodeId)| {
                own.iter().position(|other| other == label).map(|axis| program.nodes[arg].shape[axis])
            };
            labels.iter().zip(&node.args).filter_map(of).max().unwrap_or(1)
        };
        let whole = [lead.clone(), order.iter().map(extent).collect()].concat();
        let mut product: Option<NodeId> = None;
        for ((own, &arg), &input) in labels.iter().zip(&node.args).zip(inputs) {
            let dtype = self.out.nodes[input].dtype;
            let shape = &program.nodes[arg].shape;
            let axes: Vec<usize> =
                order.iter().filter_map(|label| own.iter().position(|other| other == label)).collect();
            let in_order = [lead.clone(), axes.iter().map(|&axis| shape[axis]).collect()].concat();
            let transposed = Op::Transpose((0..loops).chain(axes.iter().map(|axis| axis + loops)).collect());
            let factor = self.push(transposed, vec![input], in_order, dtype);
            let own_extent = |label: &usize| own.iter().position(|other| other == label).map_or(1, |axis| shape[axis]);
            let spread = [lead.clone(), order.iter().map(own_extent).collect()].concat();
            let factor = self.push(Op::Reshape, vec![factor], spread, dtype);
            let factor = self.push(Op::Broadcast, vec![factor], whole.clone(), dtype);
            product = Some(match product {
                None => factor,
                Some(known) => self.push(Op::Binary(BinaryOp::Mul), vec![known, factor], whole.clone(), node.dtype),
            });
        }
        let Some(mut product) = product else { return Ok(None) };
        for (label, live) in &masks {
            let at = order.iter().position(|other| other == label).unwrap_or(0);
            product = self.masked(product, Some(live), at + loops, FoldOp::Sum, &SumOrder::default())?;
        }
        let axes = (output.len()..order.len()).map(|axis| axis + loops).collect();
        let shape = [lead, node.shape.clone()].concat();
        let sum = Op::Reduce { op: FoldOp::Sum, axes, order: SumOrder::default() };
        Ok(Some(self.push(sum, vec![product], shape, node.dtype)))
    }

    /// `value` where axis `axis` is below `live`, the identity of `fold` beyond.
    fn masked(
        &mut self,
        value: NodeId,
        live: Option<&Affine>,
        axis: usize,
        fold: FoldOp,
        order: &SumOrder,
    ) -> Result<NodeId, NormalizeError> {
        let shape = self.shape_of(value);
        let Some(live) = live.filter(|live| !live.is_constant() || live.constant != to_i64(shape[axis])) else {
            return Ok(value);
        };
        let dtype = self.out.nodes[value].dtype;
        let rest = self.form(&live.minus(&Affine::variable(AXES + axis)), &shape);
        let zero = self.push(Op::Const(Literal::Int(0)), Vec::new(), Vec::new(), DType::I64);
        let zero = self.push(Op::Broadcast, vec![zero], shape.clone(), DType::I64);
        let inside = self.push(Op::Binary(BinaryOp::Gt), vec![rest, zero], shape.clone(), DType::Bool);
        // −0 changes no sum. It also says that what is masked is no term at all, where a 0 of the program's own is one.
        let is_pairwise = dtype.is_float() && !order.pairwise.is_empty();
        let identity = if is_pairwise { Literal::float(-0.0) } else { fold.identity(dtype) };
        let identity = self.push(Op::Const(identity), Vec::new(), Vec::new(), dtype);
        let identity = self.push(Op::Broadcast, vec![identity], shape.clone(), dtype);
        Ok(self.push(Op::Where, vec![inside, value, identity], shape, dtype))
    }
}

/// Variables of a form from here on are axes of the array that it becomes.
const AXES: usize = 1 << 20;

/// Labels of the axes of both arguments and of the result of `@`, `dot` or `inner`; `None` for scalars.
fn product_labels(op: &Op, left: usize, right: usize) -> Option<(Vec<Vec<usize>>, Vec<usize>)> {
    if left == 0 || right == 0 {
        return None;
    }
    let folded = left + right;
    let mut a: Vec<usize> = (0..left).collect();
    a[left - 1] = folded;
    let mut b: Vec<usize> = (left..left + right).collect();
    let over = if *op == Op::Inner { right - 1 } else { right.saturating_sub(2) };
    b[over] = folded;
    if *op != Op::MatMul {
        let output = a.iter().chain(&b).copied().filter(|&label| label != folded).collect();
        return Some((vec![a, b], output));
    }
    // Batch axes are aligned from the right.
    let (batch_a, batch_b) = (left.saturating_sub(2), right.saturating_sub(2));
    for (offset, label) in b[..batch_b].iter_mut().rev().enumerate() {
        if offset < batch_a {
            *label = a[batch_a - 1 - offset];
        }
    }
    let batch = if batch_a >= batch_b { &a[..batch_a] } else { &b[..batch_b] };
    let mut output = batch.to_vec();
    output.extend((left > 1).then(|| a[left - 2]));
    output.extend((right > 1).then(|| b[right - 1]));
    Some((vec![a, b], output))
}

fn to_i64(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
