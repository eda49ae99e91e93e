//! Products of arrays: `@`, `dot`, `inner`, `outer`, `einsum`, `tensordot`.

use super::call::Call;
use super::evaluate::Evaluator;
use super::function::{Function, Kind};
use super::promote;
use super::value::{Arg, Array, Eval, Poisoned, Value};
use crate::integer::affine::Affine;
use crate::program::expr::{NodeId, Op, Span};
use crate::value::dtype::DType;
use crate::value::scalar::BinaryOp;
use std::collections::BTreeMap;

impl Evaluator<'_> {
    /// Two arguments as arrays of their common dtype.
    fn pair(&mut self, a: &Arg, b: &Arg, what: &str, span: Span) -> Eval<(NodeId, NodeId, DType)> {
        let (a, b) = (self.array(a, what)?.node, self.array(b, what)?.node);
        let dtype = promote::promote(self.dtype(a), self.dtype(b));
        Ok((self.cast(a, dtype, span)?, self.cast(b, dtype, span)?, dtype))
    }

    /// An array as one row of all its elements.
    fn flattened(&mut self, node: NodeId, span: Span) -> Eval<NodeId> {
        if self.shape(node).len() == 1 {
            return Ok(node);
        }
        let size = self.shape(node).iter().product();
        self.reshape(node, vec![size], span)
    }

    /// `a @ b`.
    pub(super) fn matrix_product(&mut self, a: &Arg, b: &Arg, span: Span) -> Eval {
        let (a, b, dtype) = self.pair(a, b, "matmul", span)?;
        let (left, right) = (self.extents(a), self.extents(b));
        let ([.., inner], Some((last, front))) = (left.as_slice(), right.split_last()) else {
            let help = "write * for a product with a scalar";
            return Err(self.error(span, "matmul needs arrays of rank 1 or more", Some(help)));
        };
        let contracted = front.last().unwrap_or(last);
        if inner != contracted {
            return Err(self.inner_extents_differ("matmul", [&left, &right], [inner, contracted], span));
        }
        let rows = &left[..left.len() - 1];
        let (batch_a, row) = rows.split_last().map_or((&[][..], None), |(row, batch)| (batch, Some(row)));
        let (batch_b, column) = front.split_last().map_or((&[][..], None), |(_, batch)| (batch, Some(last)));
        let Some(mut extents) = broadcast_batches(batch_a, batch_b) else {
            let (left, right) = (self.show_extents(&left), self.show_extents(&right));
            let message = format!("matmul: the batches of {left} and {right} do not broadcast");
            return Err(self.error(span, message, None));
        };
        extents.extend(row.cloned());
        extents.extend(column.cloned());
        let node = self.emit_live(Op::MatMul, vec![a, b], extents, dtype, span)?;
        Ok(Value::Array(self.fresh(node)))
    }

    fn inner_extents_differ(
        &mut self,
        what: &str,
        [left, right]: [&[Affine]; 2],
        [inner, contracted]: [&Affine; 2],
        span: Span,
    ) -> Poisoned {
        let (left, right) = (self.show_extents(left), self.show_extents(right));
        let (inner, contracted) = (self.show_form(inner), self.show_form(contracted));
        let message = format!("{what}: the inner extents of {left} and {right} differ: {inner} and {contracted}");
        self.error(span, message, None)
    }

    /// A contraction by labels; extents of 1 stretch.
    fn contraction(
        &mut self,
        mut nodes: Vec<NodeId>,
        mut inputs: Vec<Vec<usize>>,
        output: Vec<usize>,
        what: &str,
        span: Span,
    ) -> Eval<NodeId> {
        let one = Affine::constant(1);
        let mut extents: BTreeMap<usize, Affine> = BTreeMap::new();
        for (node, labels) in nodes.iter().zip(&inputs) {
            for (extent, &label) in self.extents(*node).iter().zip(labels) {
                let common = extents.entry(label).or_insert_with(|| extent.clone());
                if *common == one {
                    common.clone_from(extent);
                } else if *extent != one && extent != common {
                    let (common, extent) = (self.show_form(common), self.show_form(extent));
                    let message = format!("{what}: one label has the extents {common} and {extent}");
                    return Err(self.error(span, message, None));
                }
            }
        }
        for (node, labels) in nodes.iter_mut().zip(&mut inputs) {
            for axis in (0..labels.len()).rev() {
                let stretched = self.extents(*node)[axis] == one && extents.get(&labels[axis]) != Some(&one);
                if stretched && labels.iter().filter(|&&label| label == labels[axis]).count() > 1 {
                    return Err(self.error(span, format!("{what}: a diagonal of unequal extents"), None));
                }
                if stretched {
                    *node = self.index(*node, axis, 0, span)?;
                    labels.remove(axis);
                }
            }
        }
        let dtype = promote::common(nodes.iter().map(|&node| promote::Kind::Strong(self.dtype(node))));
        for node in &mut nodes {
            *node = self.cast(*node, dtype, span)?;
        }
        let extents = output.iter().map(|label| extents.get(label).unwrap_or(&one).clone()).collect();
        self.emit_live(Op::Einsum { inputs, output }, nodes, extents, dtype, span)
    }
}

fn broadcast_batches(a: &[Affine], b: &[Affine]) -> Option<Vec<Affine>> {
    let (rank, one) = (a.len().max(b.len()), Affine::constant(1));
    let extent = |shape: &[Affine], axis: usize| {
        (axis + shape.len()).checked_sub(rank).map_or_else(|| one.clone(), |own| shape[own].clone())
    };
    (0..rank)
        .map(|axis| match (extent(a, axis), extent(b, axis)) {
            (x, y) if x == y || y == one => Some(x),
            (x, y) if x == one => Some(y),
            _ => None,
        })
        .collect()
}

/// `np.matmul`.
pub(super) fn matmul(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    evaluator.matrix_product(call.required("x1")?, call.required("x2")?, call.span)
}

/// `np.dot`, `a.dot`.
pub(super) fn dot(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let (a, b, dtype) = evaluator.pair(call.required("a")?, call.required("b")?, "dot", call.span)?;
    let (left, right) = (evaluator.extents(a), evaluator.extents(b));
    let node = match (left.split_last(), right.split_last()) {
        (Some((inner, rows)), Some((last, front))) => {
            let (kept, contracted) = match front.split_last() {
                Some((contracted, batch)) => ([batch, std::slice::from_ref(last)].concat(), contracted),
                None => (Vec::new(), last),
            };
            if inner != contracted {
                return Err(evaluator.inner_extents_differ("dot", [&left, &right], [inner, contracted], call.span));
            }
            let extents = [rows, kept.as_slice()].concat();
            evaluator.emit_live(Op::Dot, vec![a, b], extents, dtype, call.span)?
        }
        (None, _) | (_, None) => evaluator.binary(BinaryOp::Mul, a, b, call.span)?,
    };
    Ok(Value::Array(evaluator.fresh(node)))
}

/// `np.inner`.
pub(super) fn inner(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let (a, b, _) = evaluator.pair(call.required("a")?, call.required("b")?, "inner", call.span)?;
    let node = inner_product(evaluator, a, b, call.span)?;
    Ok(Value::Array(evaluator.fresh(node)))
}

fn inner_product(evaluator: &mut Evaluator<'_>, a: NodeId, b: NodeId, span: Span) -> Eval<NodeId> {
    let (left, right, dtype) = (evaluator.extents(a), evaluator.extents(b), evaluator.dtype(a));
    let (Some((x, rows)), Some((y, columns))) = (left.split_last(), right.split_last()) else {
        return evaluator.binary(BinaryOp::Mul, a, b, span);
    };
    if x != y {
        let (left, right) = (evaluator.show_extents(&left), evaluator.show_extents(&right));
        let message = format!("inner: the last extents of {left} and {right} differ");
        return Err(evaluator.error(span, message, None));
    }
    evaluator.emit_live(Op::Inner, vec![a, b], [rows, columns].concat(), dtype, span)
}

/// `np.vdot`.
pub(super) fn vdot(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let (mut a, mut b, _) = evaluator.pair(call.required("a")?, call.required("b")?, "vdot", call.span)?;
    for node in [&mut a, &mut b] {
        *node = evaluator.flattened(*node, call.span)?;
    }
    let node = inner_product(evaluator, a, b, call.span)?;
    Ok(Value::Array(evaluator.fresh(node)))
}

/// `np.outer`: the outer product of the raveled arguments.
pub(super) fn outer(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let (mut a, mut b, dtype) = evaluator.pair(call.required("a")?, call.required("b")?, "outer", call.span)?;
    for node in [&mut a, &mut b] {
        *node = evaluator.flattened(*node, call.span)?;
    }
    let extents = [evaluator.extents(a), evaluator.extents(b)].concat();
    let node = evaluator.emit_live(Op::Outer(BinaryOp::Mul), vec![a, b], extents, dtype, call.span)?;
    Ok(Value::Array(evaluator.fresh(node)))
}

/// `ufunc.outer(a, b)`.
pub(super) fn ufunc_outer(
    evaluator: &mut Evaluator<'_>,
    function: &'static Function,
    args: &[Arg],
    span: Span,
) -> Eval {
    let Kind::Binary(binary) = function.kind else {
        let message = format!("{}.outer", function.name);
        return Err(evaluator.unsupported(span, &message, "outer needs a function of two arguments, as np.add"));
    };
    let [a, b] = args else {
        return Err(evaluator.error(span, format!("{}.outer() takes two arguments", function.name), None));
    };
    // NumPy makes arrays of both first, so Python numbers are not weak here.
    let (a, b) = (evaluator.array(a, function.name)?.node, evaluator.array(b, function.name)?.node);
    let kinds = [a, b].map(|node| promote::Kind::Strong(evaluator.dtype(node)));
    let (op, dtype) = evaluator.binary_dtype(binary, function.name, kinds, span)?;
    let (a, b) = (evaluator.cast(a, dtype, span)?, evaluator.cast(b, dtype, span)?);
    if evaluator.shape(a).is_empty() || evaluator.shape(b).is_empty() {
        let node = evaluator.binary(op, a, b, span)?;
        return Ok(Value::Array(evaluator.fresh(node)));
    }
    if op == BinaryOp::Pow && dtype.is_int() {
        evaluator.require_exponent(b, span)?;
    }
    let extents = [evaluator.extents(a), evaluator.extents(b)].concat();
    let node = evaluator.emit_live(Op::Outer(op), vec![a, b], extents, op.result(dtype), span)?;
    Ok(Value::Array(evaluator.fresh(node)))
}

/// `np.tensordot`.
pub(super) fn tensordot(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let (a, b, _) = evaluator.pair(call.required("a")?, call.required("b")?, "tensordot", call.span)?;
    let (left, right) = (evaluator.extents(a), evaluator.extents(b));
    let (from_a, from_b) = match call.optional("axes") {
        Some(arg) if matches!(arg.value, Value::Tuple(_) | Value::List(_)) => {
            let items = evaluator.items(arg);
            let [x, y] = items.as_slice() else {
                return Err(evaluator.error(arg.span, "axes is a number or a pair of axis lists", None));
            };
            (evaluator.axes(x, left.len())?, evaluator.axes(y, right.len())?)
        }
        other => {
            let count = match other {
                Some(arg) => evaluator.extent(arg, "axes")?,
                None => 2,
            };
            if count > left.len() || count > right.len() {
                let (left, right) = (evaluator.show_extents(&left), evaluator.show_extents(&right));
                let message = format!("tensordot over {count} axes of shapes {left} and {right}");
                return Err(evaluator.error(call.span, message, None));
            }
            ((left.len() - count..left.len()).collect(), (0..count).collect())
        }
    };
    let agrees = from_a.len() == from_b.len() && from_a.iter().zip(&from_b).all(|(&x, &y)| left[x] == right[y]);
    if !agrees {
        let (left, right) = (evaluator.show_extents(&left), evaluator.show_extents(&right));
        let message = format!("tensordot: the contracted extents of {left} and {right} differ");
        return Err(evaluator.error(call.span, message, None));
    }
    // The labels of `a` are its axes; those of `b` follow, except where it is contracted.
    let labels_a: Vec<usize> = (0..left.len()).collect();
    let labels_b: Vec<usize> = (0..right.len())
        .map(|axis| from_b.iter().position(|&at| at == axis).map_or(left.len() + axis, |at| from_a[at]))
        .collect();
    let kept_a = labels_a.iter().copied().filter(|axis| !from_a.contains(axis));
    let kept_b = labels_b.iter().copied().filter(|&label| label >= left.len());
    let output = kept_a.chain(kept_b).collect();
    let node = evaluator.contraction(vec![a, b], vec![labels_a, labels_b], output, "tensordot", call.span)?;
    Ok(Value::Array(evaluator.fresh(node)))
}

/// `np.einsum` with a subscripts string.
pub(super) fn einsum(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let Some((Arg { value: Value::Str(subscripts), span }, operands)) = call.rest.split_first() else {
        let help = "supported: np.einsum('ij,jk->ik', A, B)";
        return Err(evaluator.unsupported(call.span, "einsum without a subscripts string", help));
    };
    let mut arrays: Vec<Array> = Vec::with_capacity(operands.len());
    for operand in operands {
        arrays.push(evaluator.array(operand, "einsum")?);
    }
    let ranks: Vec<usize> = arrays.iter().map(|array| evaluator.shape(array.node).len()).collect();
    let (inputs, output) = match parse_subscripts(subscripts, &ranks) {
        Ok(labels) => labels,
        Err(message) => {
            let help = "supported: letters for axes, ',' between arguments, '->' before the result, '...'";
            return Err(evaluator.error(*span, format!("einsum('{subscripts}'): {message}"), Some(help)));
        }
    };
    if let ([labels], [array]) = (inputs.as_slice(), arrays.as_slice())
        && let Some(view) = permutation(labels, &output)
    {
        let node = evaluator.transpose(array.node, view, call.span)?;
        return Ok(evaluator.view(node, array));
    }
    let nodes = arrays.iter().map(|array| array.node).collect();
    // Of one argument without a sum, NumPy gives a view: a diagonal.
    let is_view = inputs.len() == 1 && inputs[0].iter().all(|label| output.contains(label));
    let node = evaluator.contraction(nodes, inputs, output, "einsum", call.span)?;
    Ok(if is_view { evaluator.view(node, &arrays[0]) } else { Value::Array(evaluator.fresh(node)) })
}

/// The axes of a transpose, where `output` is a permutation of the distinct `labels`.
fn permutation(labels: &[usize], output: &[usize]) -> Option<Vec<usize>> {
    let distinct = (0..labels.len()).all(|at| !labels[..at].contains(&labels[at]));
    if !distinct || labels.len() != output.len() {
        return None;
    }
    output.iter().map(|label| labels.iter().position(|own| own == label)).collect()
}

/// Labels of each argument, and of the result.
type Labels = (Vec<Vec<usize>>, Vec<usize>);

/// Labels of an einsum. Letters are numbered in order of first use; the axes of an ellipsis, aligned at the right,
/// have labels of their own.
fn parse_subscripts(subscripts: &str, ranks: &[usize]) -> Result<Labels, String> {
    let text: String = subscripts.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match text.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (text.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != ranks.len() {
        return Err(format!("{} terms for {} arguments", terms.len(), ranks.len()));
    }
    let letters = |term: &str| -> Result<Vec<char>, String> {
        let plain = term.replacen("...", "", 1);
        match plain.chars().find(|c| !c.is_ascii_alphabetic()) {
            Some(other) => Err(format!("'{other}' is not a label")),
            None => Ok(plain.chars().collect()),
        }
    };
    let mut widest = 0;
    for (term, &rank) in terms.iter().zip(ranks) {
        let named = letters(term)?.len();
        let fits = if term.contains("...") { named <= rank } else { named == rank };
        if !fits {
            return Err(format!("the term '{term}' does not fit an argument of rank {rank}"));
        }
        widest = widest.max(rank - named);
    }
    let mut numbers: BTreeMap<char, usize> = BTreeMap::new();
    for letter in left.chars().filter(char::is_ascii_alphabetic) {
        let next = widest + numbers.len();
        numbers.entry(letter).or_insert(next);
    }
    let labels = |term: &str, spread: usize| -> Result<Vec<usize>, String> {
        let number = |c: char| numbers.get(&c).copied().ok_or_else(|| format!("the label '{c}' has no axis"));
        let (before, after) = term.split_once("...").unwrap_or((term, ""));
        let mut found = before.chars().map(number).collect::<Result<Vec<_>, _>>()?;
        if term.contains("...") {
            found.extend(widest - spread..widest);
        }
        found.extend(after.chars().map(number).collect::<Result<Vec<_>, _>>()?);
        Ok(found)
    };
    let mut inputs = Vec::with_capacity(terms.len());
    for (term, &rank) in terms.iter().zip(ranks) {
        inputs.push(labels(term, rank - letters(term)?.len())?);
    }
    let output = match right {
        Some(right) => {
            letters(right)?;
            if widest > 0 && !right.contains("...") {
                return Err("the result leaves out the axes of '...'".to_owned());
            }
            let output = labels(right, widest)?;
            if (0..output.len()).any(|at| output[..at].contains(&output[at])) {
                return Err("a label occurs twice in the result".to_owned());
            }
            output
        }
        None => {
            // Implicit: the ellipsis, then the letters that occur once, in alphabetical order.
            let once = |letter: &char| left.chars().filter(|c| c == letter).count() == 1;
            let single = numbers.iter().filter(|entry| once(entry.0)).map(|entry| *entry.1);
            (0..widest).chain(single).collect()
        }
    };
    Ok((inputs, output))
}
