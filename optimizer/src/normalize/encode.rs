//! From an array program to egglog terms: one `let` for each node, surface operators by name.

use super::NormalizeError;
use super::contraction::Spec;
use super::primitives::Lit;
use crate::integer::index_map::IndexMap;
use crate::program::expr::{Node, NodeId, Op, Program, SectionAxis, SumOrder};
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::{BinaryOp, FoldOp};

/// The name of the `let` of a node.
pub(super) fn name(node: NodeId) -> String {
    global("n", node)
}

/// A global's name. It must not end with a digit: egglog appends numbers to make names of its own, and those made of
/// `$n5` are then those made of `$n51`, which equates one node with another.
pub(super) fn global(stem: &str, number: usize) -> String {
    format!("${stem}{number}_")
}

/// The program as egglog commands.
///
/// # Errors
/// A node whose arguments are missing, come later, or do not fit its operator.
pub(super) fn encode(program: &Program) -> Result<String, NormalizeError> {
    let mut text = String::new();
    for (id, node) in program.nodes.iter().enumerate() {
        if let Some(&argument) = node.args.iter().find(|&&argument| argument >= id) {
            return Err(NormalizeError::Malformed {
                node: id,
                problem: format!("its argument {argument} is not an earlier node"),
            });
        }
        let term = term(program, id, node)?;
        text.push_str(&format!("(let {} {term})\n", name(id)));
    }
    match program.roots.iter().find(|&&root| root >= program.nodes.len()) {
        Some(&root) => Err(NormalizeError::Malformed { node: root, problem: "a root that does not exist".to_owned() }),
        None => Ok(text),
    }
}

pub(super) fn dims<'a, N: ToString + 'a>(numbers: impl IntoIterator<Item = &'a N>) -> String {
    let numbers: Vec<String> = numbers.into_iter().map(N::to_string).collect();
    if numbers.is_empty() { "(dims)".to_owned() } else { format!("(dims {})", numbers.join(" ")) }
}

pub(super) fn lit(dtype: DType, value: Literal) -> String {
    format!("(lit \"{}\")", Lit::new(dtype, value).to_text())
}

/// The first node with the same table, so that equal tables are one term.
fn table(program: &Program, id: NodeId) -> NodeId {
    let node = &program.nodes[id];
    program.nodes[..id]
        .iter()
        .position(|other| other.op == node.op && other.dtype == node.dtype && other.shape == node.shape)
        .unwrap_or(id)
}

fn term(program: &Program, id: NodeId, node: &Node) -> Result<String, NormalizeError> {
    let malformed = |problem: &str| NormalizeError::Malformed { node: id, problem: problem.to_owned() };
    let arity = match &node.op {
        Op::Input(_)
        | Op::State(_)
        | Op::LoopIndex(_)
        | Op::Const(_)
        | Op::Array(_)
        | Op::Arange { .. }
        | Op::Eye { .. } => Some(0),
        Op::Unary(_)
        | Op::Cast
        | Op::Broadcast
        | Op::Transpose(_)
        | Op::Reshape
        | Op::Slice(_)
        | Op::Section(_)
        | Op::Index { .. }
        | Op::Diagonal { .. }
        | Op::Flip(_)
        | Op::Roll { .. }
        | Op::Pad { .. }
        | Op::Window { .. }
        | Op::Tril { .. }
        | Op::Triu { .. }
        | Op::Trace { .. }
        | Op::Reduce { .. } => Some(1),
        Op::Binary(_) | Op::MatMul | Op::Dot | Op::Inner | Op::Outer(_) | Op::Gather { .. } => Some(2),
        Op::Where => Some(3),
        Op::Concat { .. } | Op::Einsum { .. } => None,
    };
    if arity.is_some_and(|arity| arity != node.args.len()) || (arity.is_none() && node.args.is_empty()) {
        return Err(malformed("its number of arguments does not fit its operator"));
    }
    let args: Vec<String> = node.args.iter().map(|&a| name(a)).collect();
    let all = args.join(" ");
    let shape = dims(&node.shape);
    let dtype = node.dtype.name();
    Ok(match &node.op {
        Op::Input(param) => {
            let param_ = program.params.get(*param).ok_or_else(|| malformed("a parameter that does not exist"))?;
            if param_.shape != node.shape || param_.dtype != node.dtype {
                return Err(malformed("a shape or dtype other than its parameter's"));
            }
            format!("(Input {param} {shape} \"{dtype}\")")
        }
        Op::State(_) | Op::LoopIndex(_) => return Err(malformed("a loop around it")),
        // In a lifted program, where the loops' variables are axes of the result.
        Op::Section(axes) => {
            let source = node.args.first().map(|&a| program.nodes[a].shape.clone()).unwrap_or_default();
            let rows = axes
                .iter()
                .map(|axis| match axis {
                    SectionAxis::At(form) => Some(form.clone()),
                    SectionAxis::Slice { .. } => None,
                })
                .collect::<Option<Vec<_>>>();
            let map = rows.and_then(|rows| IndexMap::over(&node.shape, &source, rows));
            let map = map.ok_or_else(|| malformed("a section that leaves its argument, or has a loop around it"))?;
            format!("(View (index-map \"{}\") {all})", map.to_text())
        }
        Op::Const(value) => format!("(Const {})", lit(node.dtype, *value)),
        Op::Array(values) => {
            if values.len() != node.size() {
                return Err(malformed("a number of literals other than its size"));
            }
            format!("(Table {} {shape} \"{dtype}\")", table(program, id))
        }
        Op::Arange { start, step } => {
            format!("(Arange {} {} {})", lit(node.dtype, *start), lit(node.dtype, *step), node.size())
        }
        Op::Eye { k } => format!("(Eye {k} {shape} \"{dtype}\")"),
        Op::Unary(op) => format!("(Map1 \"{}\" {all})", op.name()),
        Op::Binary(op) => format!("(Map2 \"{}\" {all})", op.name()),
        Op::Where => format!("(Select {all})"),
        Op::Cast => format!("(Cast \"{dtype}\" {all})"),
        Op::Broadcast => format!("(Broadcast {shape} {all})"),
        Op::Transpose(axes) => format!("(Transpose {} {all})", dims(axes)),
        Op::Reshape => format!("(Reshape {shape} {all})"),
        Op::Slice(axes) => {
            let starts: Vec<i64> = axes.iter().map(|axis| axis.start).collect();
            let steps: Vec<i64> = axes.iter().map(|axis| axis.step).collect();
            let lens: Vec<usize> = axes.iter().map(|axis| axis.len).collect();
            format!("(Slice {} {} {} {all})", dims(&starts), dims(&steps), dims(&lens))
        }
        Op::Index { axis, at } => format!("(At {axis} {at} {all})"),
        Op::Diagonal { offset, axis1, axis2 } => format!("(Diagonal {offset} {axis1} {axis2} {all})"),
        Op::Flip(axes) => format!("(Flip {} {all})", dims(axes)),
        Op::Roll { shift, axis } => format!("(Roll {shift} {axis} {all})"),
        Op::Pad { widths, value } => {
            let before: Vec<usize> = widths.iter().map(|w| w.0).collect();
            let after: Vec<usize> = widths.iter().map(|w| w.1).collect();
            format!("(Pad {} {} {} {all})", dims(&before), dims(&after), lit(node.dtype, *value))
        }
        Op::Concat { axis } => {
            let parts = node
                .args
                .iter()
                .map(|&a| program.nodes[a].shape.get(*axis).copied())
                .collect::<Option<Vec<usize>>>()
                .ok_or_else(|| malformed("an axis that an argument does not have"))?;
            format!("(Concat {axis} {} (vec-of {all}))", dims(&parts))
        }
        Op::Window { windows } => {
            let axes: Vec<usize> = windows.iter().map(|w| w.0).collect();
            let extents: Vec<usize> = windows.iter().map(|w| w.1).collect();
            format!("(Window {} {} {all})", dims(&axes), dims(&extents))
        }
        Op::Tril { k } => format!("(Tril {k} {all})"),
        Op::Triu { k } => format!("(Triu {k} {all})"),
        Op::Trace { offset } => format!("(Trace {offset} {all})"),
        Op::MatMul => format!("(MatMul {all})"),
        Op::Dot => format!("(Dot {all})"),
        Op::Inner => format!("(Inner {all})"),
        Op::Gather { batch } => format!("(Gather {batch} {all})"),
        Op::Outer(op) => format!("(Outer \"{}\" {all})", op.name()),
        Op::Einsum { inputs, output } => {
            let labelled: Vec<Vec<(usize, usize)>> = inputs
                .iter()
                .zip(&node.args)
                .map(|(labels, &a)| labels.iter().copied().zip(program.nodes[a].shape.iter().copied()).collect())
                .collect();
            let spec = Spec::einsum(FoldOp::Sum, BinaryOp::Mul, &labelled, output)
                .filter(|spec| spec.maps.len() == node.args.len() && spec.shape() == node.shape)
                .ok_or_else(|| malformed("labels that do not fit its arguments"))?;
            format!("(Einsum (spec \"{}\") (vec-of {all}))", spec.to_text())
        }
        Op::Reduce { op: FoldOp::Sum, axes, order } if node.dtype.is_float() && !order.is_ascending() => {
            let source = node.args.first().map(|&a| program.nodes[a].shape.as_slice()).unwrap_or_default();
            numpy_sum(&all, source, axes, order).ok_or_else(|| malformed("axes that its argument does not have"))?
        }
        Op::Reduce { op, axes, .. } => format!("(Reduce \"{}\" {} {all})", op.name(), dims(axes)),
    })
}

/// The sum of `array` in NumPy's order: pairwise sums, and those one after the other.
fn numpy_sum(array: &str, shape: &[usize], axes: &[usize], order: &SumOrder) -> Option<String> {
    let (outer, inner) = order.along(axes);
    let sum = |array: &str, spec: &Spec| format!("(Einsum (spec \"{}\") (vec-of {array}))", spec.to_text());
    if inner.is_empty() {
        return Some(sum(array, &Spec::reduce(FoldOp::Sum, shape, outer)?));
    }
    let runs = Spec::reduce(FoldOp::Sum, shape, inner)?.within(Some(usize::MAX));
    let runs_alone = sum(array, &runs);
    if outer.is_empty() {
        return Some(runs_alone);
    }
    // The axes that are left.
    let left = |axis: usize| axis - inner.iter().filter(|&&gone| gone < axis).count();
    let outer: Vec<usize> = outer.iter().map(|&axis| left(axis)).collect();
    Some(sum(&runs_alone, &Spec::reduce(FoldOp::Sum, runs.shape(), &outer)?))
}
