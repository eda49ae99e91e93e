//! Arrays joined out of several: `concatenate`, `stack` and their like, and `pad`.
//!
//! Input: bound calls. Output: new arrays.

use super::call::Call;
use super::emit::show;
use super::evaluate::Evaluator;
use super::promote::{self, Kind};
use super::value::{Arg, Eval, Value};
use crate::program::expr::{NodeId, Op, Span};
use crate::value::dtype::{DType, Literal};

/// `np.pad` with a constant.
pub(super) fn pad(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "array")?;
    if let Some(arg) = call.given("mode")
        && !matches!(&arg.value, Value::Str(mode) if mode == "constant")
    {
        let construct = format!("np.pad with mode {}", evaluator.describe(&arg.value));
        return Err(evaluator.unsupported(arg.span, &construct, "supported: mode='constant', constant_values=number"));
    }
    let (own, dtype) = (evaluator.shape(array.node).to_vec(), evaluator.dtype(array.node));
    let widths = pad_widths(evaluator, call.required("pad_width")?, own.len())?;
    let value = match call.optional("constant_values") {
        None => Literal::Int(0).at(dtype),
        Some(Arg { value: Value::Number(number), span }) => {
            promote::literal(*number, dtype).map_err(|message| evaluator.error(*span, message, None))?
        }
        Some(arg) => {
            let fill = evaluator.array(arg, "pad")?.node;
            let fill = evaluator.cast(fill, dtype, arg.span)?;
            match evaluator.known_literal(fill) {
                Some(literal) => literal,
                None => {
                    let help = "supported: one compile-time number";
                    return Err(evaluator.unsupported(arg.span, "this constant_values", help));
                }
            }
        }
    };
    if widths.iter().all(|&width| width == (0, 0)) {
        return evaluator.copied(array.node);
    }
    let shape = own.iter().zip(&widths).map(|(&extent, &(before, after))| before + extent + after).collect();
    let node = evaluator.emit(Op::Pad { widths, value }, vec![array.node], shape, dtype, call.span)?;
    evaluator.copied(node)
}

/// `n`, `(before, after)`, `((before, after),)` or one pair for each axis.
fn pad_widths(evaluator: &mut Evaluator<'_>, arg: &Arg, rank: usize) -> Eval<Vec<(usize, usize)>> {
    let items = evaluator.items(arg);
    let nested = items.iter().any(|item| matches!(item.value, Value::Tuple(_) | Value::List(_)));
    let mut pairs = Vec::new();
    for item in if nested { items } else { vec![arg.clone()] } {
        let mut widths = Vec::new();
        for width in evaluator.items(&item) {
            let width = evaluator.extent(&width, "a pad width")?;
            evaluator.check_size(&[width], arg.span)?;
            widths.push(width);
        }
        match widths.as_slice() {
            [both] => pairs.push((*both, *both)),
            [before, after] => pairs.push((*before, *after)),
            _ => return Err(evaluator.error(arg.span, "a pad width is a number or a pair (before, after)", None)),
        }
    }
    match pairs.as_slice() {
        [pair] => Ok(vec![*pair; rank]),
        _ if pairs.len() == rank => Ok(pairs),
        _ => {
            let message = format!("{} pad widths are given for an array of rank {rank}", pairs.len());
            Err(evaluator.error(arg.span, message, None))
        }
    }
}

impl Evaluator<'_> {
    /// The arrays of a sequence, cast to their common dtype.
    fn joined(&mut self, call: &Call) -> Eval<(Vec<NodeId>, DType)> {
        let arg = call.required("arrays")?;
        let parts = match &arg.value {
            Value::Tuple(_) | Value::List(_) => self.items(arg),
            Value::Array(array) => {
                // Iterating over an array gives its rows.
                let rows = self.fixed_shape(array.node, call.function.name, arg.span)?.first().copied().unwrap_or(0);
                if rows > 1024 {
                    let construct = format!("{} over the {rows} rows of an array", call.function.name);
                    return Err(self.unsupported(arg.span, &construct, "give a list of arrays, or reshape"));
                }
                let mut parts = Vec::with_capacity(rows);
                for at in 0..rows {
                    let node = self.index(array.node, 0, at, arg.span)?;
                    parts.push(Arg { value: Value::Array(self.fresh(node)), span: arg.span });
                }
                parts
            }
            other => {
                let message =
                    format!("{} needs a sequence of arrays, not {}", call.function.name, self.describe(other));
                return Err(self.error(arg.span, message, None));
            }
        };
        let mut nodes = Vec::with_capacity(parts.len());
        for part in &parts {
            nodes.push(self.array(part, call.function.name)?.node);
        }
        if nodes.is_empty() {
            return Err(self.error(arg.span, format!("{} needs at least one array", call.function.name), None));
        }
        let dtype = match self.dtype_argument(call)? {
            Some(dtype) => dtype,
            None => promote::common(nodes.iter().map(|&node| Kind::Strong(self.dtype(node)))),
        };
        for node in &mut nodes {
            *node = self.cast(*node, dtype, call.span)?;
        }
        Ok((nodes, dtype))
    }

    fn concatenated(&mut self, nodes: Vec<NodeId>, dtype: DType, axis: usize, call: &Call) -> Eval {
        let mut shape = self.fixed_shape(nodes[0], call.function.name, call.span)?;
        let mut extent = 0;
        for &node in &nodes {
            let own = self.shape(node);
            let agrees = own.len() == shape.len() && (0..own.len()).all(|at| at == axis || own[at] == shape[at]);
            if !agrees || axis >= own.len() {
                let shapes: Vec<String> = nodes.iter().map(|&node| show(self.shape(node))).collect();
                let message = format!(
                    "{}: the shapes {} do not agree outside axis {axis}",
                    call.function.name,
                    shapes.join(", ")
                );
                return Err(self.error(call.span, message, None));
            }
            extent += own[axis];
        }
        shape[axis] = extent;
        let node = match nodes.as_slice() {
            [node] => *node,
            _ => self.emit(Op::Concat { axis }, nodes, shape, dtype, call.span)?,
        };
        self.copied(node)
    }

    /// Each node with at least `rank` axes, new ones in front.
    fn at_least(&mut self, nodes: &mut [NodeId], rank: usize, span: Span) -> Eval<()> {
        for node in nodes {
            let mut shape = self.shape(*node).to_vec();
            while shape.len() < rank {
                shape.insert(0, 1);
            }
            *node = self.reshape(*node, shape, span)?;
        }
        Ok(())
    }
}

/// `np.concatenate`.
pub(super) fn concatenate(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let (mut nodes, dtype) = evaluator.joined(call)?;
    let axis = match call.given("axis") {
        Some(arg) if matches!(arg.value, Value::None) => {
            for node in &mut nodes {
                let size = evaluator.shape(*node).iter().product();
                *node = evaluator.reshape(*node, vec![size], call.span)?;
            }
            0
        }
        Some(arg) => evaluator.axis(arg, evaluator.shape(nodes[0]).len())?,
        None => evaluator.normal_axis(0, evaluator.shape(nodes[0]).len(), call.span)?,
    };
    evaluator.concatenated(nodes, dtype, axis, call)
}

/// `np.stack`.
pub(super) fn stack(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let (mut nodes, dtype) = evaluator.joined(call)?;
    let first = evaluator.shape(nodes[0]).to_vec();
    let axis = match call.optional("axis") {
        Some(arg) => evaluator.axis(arg, first.len() + 1)?,
        None => 0,
    };
    for node in &mut nodes {
        if evaluator.shape(*node) != first {
            let message = format!("stack: the shapes {} and {} differ", show(&first), show(evaluator.shape(*node)));
            return Err(evaluator.error(call.span, message, None));
        }
        let mut shape = first.clone();
        shape.insert(axis, 1);
        *node = evaluator.reshape(*node, shape, call.span)?;
    }
    evaluator.concatenated(nodes, dtype, axis, call)
}

/// `np.vstack`.
pub(super) fn vstack(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let (mut nodes, dtype) = evaluator.joined(call)?;
    evaluator.at_least(&mut nodes, 2, call.span)?;
    evaluator.concatenated(nodes, dtype, 0, call)
}

/// `np.hstack`.
pub(super) fn hstack(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let (mut nodes, dtype) = evaluator.joined(call)?;
    evaluator.at_least(&mut nodes, 1, call.span)?;
    let axis = usize::from(evaluator.shape(nodes[0]).len() > 1);
    evaluator.concatenated(nodes, dtype, axis, call)
}
