//! Functions that move elements of one array: views, permutations, diagonals, triangles.
//!
//! Input: bound calls. Output: views where NumPy makes views, arrays otherwise.

use super::call::Call;
use super::emit::show;
use super::evaluate::Evaluator;
use super::operand::Operand;
use super::value::{Arg, Array, Eval, Poisoned, Value};
use crate::integer::affine::Affine;
use crate::program::expr::{NodeId, Op, SectionAxis, Span, constants};
use crate::value::dtype::{DType, Literal};
use rustpython_ruff_python_ast::Operator;

impl Evaluator<'_> {
    /// The array that is an argument of a call.
    pub(super) fn argument(&mut self, call: &Call, name: &str) -> Eval<Array> {
        self.array(call.required(name)?, call.function.name)
    }

    /// A view of `array`'s memory.
    pub(super) fn view(&mut self, node: NodeId, array: &Array) -> Value {
        // An array made of a NumPy scalar has memory of its own.
        let viewed = if array.storage.is_some() || self.shape(node).is_empty() {
            Array { node, ..array.clone() }
        } else {
            self.fresh(node)
        };
        Value::Array(viewed)
    }

    fn read_only_view(&mut self, node: NodeId, array: &Array) -> Value {
        match self.view(node, array) {
            Value::Array(view) => Value::Array(Array { writable: false, ..view }),
            other => other,
        }
    }

    /// A copy, which is an array of rank 0 where `array` is one, and a NumPy scalar where that is one.
    fn copy_of(&mut self, node: NodeId, array: &Array) -> Eval {
        let copy = if array.storage.is_some() { self.fresh_array(node) } else { self.fresh(node) };
        Ok(Value::Array(copy))
    }

    pub(super) fn copied(&mut self, node: NodeId) -> Eval {
        Ok(Value::Array(self.fresh(node)))
    }
}

/// `astype`.
pub(super) fn astype(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "a")?;
    let dtype = evaluator.dtype_of(call.required("dtype")?)?;
    let node = evaluator.cast(array.node, dtype, call.span)?;
    evaluator.copy_of(node, &array)
}

/// `np.copy`: in memory as its argument.
pub(super) fn copy(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "a")?;
    evaluator.copy_of(array.node, &array)
}

/// `A.copy`: row-major.
pub(super) fn copy_method(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "a")?;
    let node = evaluator.row_major_copy(array.node);
    evaluator.copy_of(node, &array)
}

/// `np.shape(a)`.
pub(super) fn shape_of(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "a")?;
    let extents = evaluator.extents(array.node);
    Ok(Value::Tuple(extents.into_iter().map(|extent| evaluator.form_value(extent)).collect()))
}

/// `np.ndim(a)`.
pub(super) fn ndim(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "a")?;
    Ok(Value::int(evaluator.shape(array.node).len()))
}

/// `np.size(a)`.
pub(super) fn size(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "a")?;
    evaluator.size_of(array.node, call.span)
}

/// `np.broadcast_to`.
pub(super) fn broadcast_to(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "a")?;
    let shape = evaluator.shape_argument(call.required("shape")?)?;
    let own = evaluator.shape(array.node).to_vec();
    let fits = own.len() <= shape.len()
        && own.iter().rev().zip(shape.iter().rev()).all(|(&extent, &target)| extent == 1 || extent == target);
    if !fits {
        let message = format!("an array of shape {} does not broadcast to {}", show(&own), show(&shape));
        return Err(evaluator.error(call.span, message, None));
    }
    evaluator.fixed_shape(array.node, "broadcast_to", call.span)?;
    let node = evaluator.broadcast(array.node, &constants(&shape), call.span)?;
    Ok(evaluator.read_only_view(node, &array))
}

/// `np.transpose(a, axes)`, `a.transpose(*axes)`, `np.permute_dims`.
pub(super) fn transpose(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "a")?;
    let rank = evaluator.shape(array.node).len();
    let axes = match (call.optional("axes"), call.rest.as_slice()) {
        (Some(arg), _) => Some(evaluator.axes(arg, rank)?),
        (None, []) => None,
        (None, [arg]) if matches!(arg.value, Value::None) => None,
        (None, [arg]) => Some(evaluator.axes(arg, rank)?),
        (None, rest) => {
            let items = rest.iter().map(|arg| arg.value.clone()).collect();
            Some(evaluator.axes(&Arg { value: Value::Tuple(items), span: call.span }, rank)?)
        }
    };
    let axes = axes.unwrap_or_else(|| (0..rank).rev().collect());
    if axes.len() != rank {
        let message = format!("{} axes are given for an array of rank {rank}", axes.len());
        return Err(evaluator.error(call.span, message, None));
    }
    let node = evaluator.transpose(array.node, axes, call.span)?;
    Ok(evaluator.view(node, &array))
}

/// `np.matrix_transpose`, `a.mT`.
pub(super) fn matrix_transpose(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "a")?;
    evaluator.matrix_transposed(&array, call.span)
}

impl Evaluator<'_> {
    /// The number of elements of an array.
    pub(super) fn size_of(&mut self, node: NodeId, span: Span) -> Eval {
        let extents = self.extents(node);
        self.product_of_extents(&extents, span)
    }

    /// The product of extents as a Python int.
    pub(super) fn product_of_extents(&mut self, extents: &[Affine], span: Span) -> Eval {
        let mut product = Arg { value: Value::int(1), span };
        for extent in extents {
            let extent = Arg { value: self.form_value(extent.clone()), span };
            product.value = self.binary_operator(Operator::Mult, &product, &extent, span)?;
        }
        Ok(product.value)
    }

    /// The node read backwards along axes, which are sorted.
    fn reversed(&mut self, node: NodeId, axes: Vec<usize>, span: Span) -> Eval<NodeId> {
        let extents = self.extents(node);
        if !self.in_memory(node) && self.graph[node].live.is_empty() {
            let dtype = self.dtype(node);
            return self.emit_live(Op::Flip(axes), vec![node], extents, dtype, span);
        }
        let mut subscripts = self.whole_section(node);
        for axis in axes {
            subscripts[axis] = SectionAxis::Slice { start: extents[axis].offset(-1), step: -1 };
        }
        self.section(node, subscripts, extents, span)
    }

    pub(super) fn matrix_transposed(&mut self, array: &Array, span: Span) -> Eval {
        let rank = self.shape(array.node).len();
        if rank < 2 {
            return Err(self.error(span, "a matrix transpose needs rank 2 or more", None));
        }
        let mut axes: Vec<usize> = (0..rank).collect();
        axes.swap(rank - 1, rank - 2);
        let node = self.transpose(array.node, axes, span)?;
        Ok(self.view(node, array))
    }
}

/// `swapaxes`.
pub(super) fn swapaxes(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "a")?;
    let rank = evaluator.shape(array.node).len();
    let axis1 = evaluator.axis(call.required("axis1")?, rank)?;
    let axis2 = evaluator.axis(call.required("axis2")?, rank)?;
    let mut axes: Vec<usize> = (0..rank).collect();
    axes.swap(axis1, axis2);
    let node = evaluator.transpose(array.node, axes, call.span)?;
    Ok(evaluator.view(node, &array))
}

/// `np.moveaxis`.
pub(super) fn moveaxis(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "a")?;
    let rank = evaluator.shape(array.node).len();
    let from = evaluator.axes(call.required("source")?, rank)?;
    let to = evaluator.axes(call.required("destination")?, rank)?;
    if from.len() != to.len() {
        return Err(evaluator.error(call.span, "source and destination differ in length", None));
    }
    let mut axes: Vec<usize> = (0..rank).filter(|axis| !from.contains(axis)).collect();
    let mut moves: Vec<(usize, usize)> = to.into_iter().zip(from).collect();
    moves.sort_unstable();
    for (to, from) in moves {
        axes.insert(to, from);
    }
    let node = evaluator.transpose(array.node, axes, call.span)?;
    Ok(evaluator.view(node, &array))
}

/// `np.reshape(a, shape)`, `a.reshape(*shape)`.
pub(super) fn reshape(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    evaluator.row_major(call)?;
    let array = evaluator.argument(call, "a")?;
    evaluator.fixed_shape(array.node, "reshape", call.span)?;
    let extents = match (call.given("shape"), call.rest.as_slice()) {
        (Some(arg), _) | (None, [arg]) => evaluator.items(arg),
        (None, rest) => rest.to_vec(),
    };
    let size: usize = evaluator.shape(array.node).iter().product();
    let mut shape = Vec::with_capacity(extents.len());
    let mut unknown = None;
    for (axis, arg) in extents.iter().enumerate() {
        let extent = evaluator.integer(arg, "an extent")?;
        if extent == -1 && unknown.is_none() {
            unknown = Some(axis);
            shape.push(1);
        } else if extent < 0 {
            return Err(evaluator.error(arg.span, "only one extent may be -1", None));
        } else {
            shape.push(usize::try_from(extent).map_err(|_| Poisoned)?);
        }
    }
    evaluator.check_size(&shape, call.span)?;
    let known: usize = shape.iter().product();
    if let Some(axis) = unknown.filter(|_| known > 0) {
        shape[axis] = size / known;
    }
    if shape.iter().product::<usize>() != size {
        let own = show(evaluator.shape(array.node));
        let wanted: Vec<String> = extents
            .iter()
            .map(|arg| evaluator.known_int(&arg.value).map_or_else(String::new, |extent| extent.to_string()))
            .collect();
        let message = format!("an array of shape {own} ({size} elements) has no reshape to ({})", wanted.join(", "));
        return Err(evaluator.error(call.span, message, None));
    }
    reshaped(evaluator, &array, shape, call.span)
}

/// `ravel`.
pub(super) fn ravel(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    evaluator.row_major(call)?;
    let array = evaluator.argument(call, "a")?;
    let size = evaluator.fixed_shape(array.node, "ravel", call.span)?.iter().product();
    reshaped(evaluator, &array, vec![size], call.span)
}

/// A reshape: a view where the elements stand in order, a copy otherwise.
fn reshaped(evaluator: &mut Evaluator<'_>, array: &Array, shape: Vec<usize>, span: Span) -> Eval {
    let is_view = evaluator.graph.reshape_is_view(array.node, &shape);
    let node = evaluator.reshape(array.node, shape, span)?;
    if is_view {
        return Ok(evaluator.view(node, array));
    }
    // Where the elements of a read-only view stand is not known: it may be a view as well.
    let copy = evaluator.fresh(node);
    Ok(Value::Array(Array { writable: array.writable, ..copy }))
}

/// `flatten`: a copy.
pub(super) fn flatten(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    match ravel(evaluator, call)? {
        Value::Array(array) => evaluator.copied(array.node),
        _ => Err(Poisoned),
    }
}

/// `np.expand_dims`.
pub(super) fn expand_dims(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "a")?;
    let arg = call.required("axis")?;
    let rank = evaluator.shape(array.node).len() + evaluator.items(arg).len();
    let mut axes = evaluator.axes(arg, rank)?;
    axes.sort_unstable();
    let node = evaluator.unit_axes(array.node, &axes, call.span)?;
    Ok(evaluator.view(node, &array))
}

/// `squeeze`.
pub(super) fn squeeze(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "a")?;
    let own = evaluator.fixed_shape(array.node, "squeeze", call.span)?;
    let axes = match call.optional("axis") {
        Some(arg) => evaluator.axes(arg, own.len())?,
        None => (0..own.len()).filter(|&axis| own[axis] == 1).collect(),
    };
    if let Some(&axis) = axes.iter().find(|&&axis| own[axis] != 1) {
        let message = format!("axis {axis} has extent {} and cannot be squeezed", own[axis]);
        return Err(evaluator.error(call.span, message, None));
    }
    let extents = evaluator.extents(array.node).into_iter().enumerate();
    let kept = extents.filter(|(axis, _)| !axes.contains(axis)).map(|(_, extent)| extent).collect();
    let node = evaluator.reshape_live(array.node, kept, call.span)?;
    Ok(evaluator.view(node, &array))
}

/// `np.flip`.
pub(super) fn flip(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "m")?;
    let rank = evaluator.shape(array.node).len();
    let axes = match call.optional("axis") {
        Some(arg) => evaluator.axes(arg, rank)?,
        None => (0..rank).collect(),
    };
    flipped(evaluator, &array, axes, call)
}

/// `np.fliplr`.
pub(super) fn fliplr(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "m")?;
    evaluator.normal_axis(1, evaluator.shape(array.node).len(), call.span)?;
    flipped(evaluator, &array, vec![1], call)
}

/// `np.flipud`.
pub(super) fn flipud(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "m")?;
    evaluator.normal_axis(0, evaluator.shape(array.node).len(), call.span)?;
    flipped(evaluator, &array, vec![0], call)
}

fn flipped(evaluator: &mut Evaluator<'_>, array: &Array, mut axes: Vec<usize>, call: &Call) -> Eval {
    axes.sort_unstable();
    let node = if axes.is_empty() { array.node } else { evaluator.reversed(array.node, axes, call.span)? };
    Ok(evaluator.view(node, array))
}

/// `np.roll`.
pub(super) fn roll(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "a")?;
    let own = evaluator.shape(array.node).to_vec();
    let shifts = evaluator.items(call.required("shift")?);
    let Some(axis) = call.optional("axis") else {
        let mut total = 0_i64;
        for shift in &shifts {
            total = total.wrapping_add(evaluator.integer(shift, "the shift")?);
        }
        let flat = evaluator.reshape(array.node, vec![own.iter().product()], call.span)?;
        let rolled = rolled(evaluator, flat, total, 0, call.span)?;
        let node = evaluator.reshape(rolled, own, call.span)?;
        return evaluator.copied(node);
    };
    let axes = evaluator.items(axis);
    let paired = shifts.len() == axes.len() || shifts.len() == 1 || axes.len() == 1;
    if !paired || shifts.is_empty() || axes.is_empty() {
        return Err(evaluator.error(call.span, "shift and axis differ in length", None));
    }
    let mut node = array.node;
    for at in 0..shifts.len().max(axes.len()) {
        let shift = evaluator.integer(&shifts[at.min(shifts.len() - 1)], "the shift")?;
        let axis = evaluator.axis(&axes[at.min(axes.len() - 1)], own.len())?;
        node = rolled(evaluator, node, shift, axis, call.span)?;
    }
    evaluator.copied(node)
}

fn rolled(evaluator: &mut Evaluator<'_>, node: NodeId, shift: i64, axis: usize, span: Span) -> Eval<NodeId> {
    let (shape, dtype) = (evaluator.shape(node).to_vec(), evaluator.dtype(node));
    let extent = i64::try_from(shape[axis]).map_err(|_| Poisoned)?;
    let shift = usize::try_from(shift.checked_rem_euclid(extent).unwrap_or(0)).map_err(|_| Poisoned)?;
    if shift == 0 {
        return Ok(node);
    }
    evaluator.emit(Op::Roll { shift, axis }, vec![node], shape, dtype, span)
}

/// `np.diagonal`.
pub(super) fn diagonal(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "a")?;
    let (offset, axis1, axis2) = evaluator.diagonal_arguments(array.node, call)?;
    let node = diagonal_of(evaluator, array.node, offset, axis1, axis2, call.span)?;
    Ok(evaluator.read_only_view(node, &array))
}

fn diagonal_of(
    evaluator: &mut Evaluator<'_>,
    node: NodeId,
    offset: i64,
    axis1: usize,
    axis2: usize,
    span: Span,
) -> Eval<NodeId> {
    let (own, dtype) = (evaluator.shape(node).to_vec(), evaluator.dtype(node));
    let lost = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
    let (rows, columns) = if offset < 0 {
        (own[axis1].saturating_sub(lost), own[axis2])
    } else {
        (own[axis1], own[axis2].saturating_sub(lost))
    };
    let mut shape: Vec<usize> =
        (0..own.len()).filter(|&axis| axis != axis1 && axis != axis2).map(|axis| own[axis]).collect();
    shape.push(rows.min(columns));
    evaluator.emit(Op::Diagonal { offset, axis1, axis2 }, vec![node], shape, dtype, span)
}

/// `np.diag`: the diagonal of a matrix, or a matrix from its diagonal.
pub(super) fn diag(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "v")?;
    let k = evaluator.integer_or(call, "k", 0)?;
    let (own, dtype) = (evaluator.shape(array.node).to_vec(), evaluator.dtype(array.node));
    match own.as_slice() {
        [_, _] => {
            let node = diagonal_of(evaluator, array.node, k, 0, 1, call.span)?;
            Ok(evaluator.read_only_view(node, &array))
        }
        [extent] => {
            let lead = usize::try_from(k.unsigned_abs()).unwrap_or(usize::MAX);
            evaluator.check_size(&[lead], call.span)?;
            let side = extent + lead;
            let shape = vec![side, side];
            evaluator.check_size(&shape, call.span)?;
            // Row r holds the element r (or r − |k| below the diagonal) in column r + k.
            let widths = if k < 0 { (lead, 0) } else { (0, lead) };
            let zero = Literal::Int(0).at(dtype);
            let padded = if lead == 0 {
                array.node
            } else {
                let op = Op::Pad { widths: vec![widths], value: zero };
                evaluator.emit(op, vec![array.node], vec![side], dtype, call.span)?
            };
            let column = evaluator.reshape(padded, vec![side, 1], call.span)?;
            let values = evaluator.broadcast(column, &constants(&shape), call.span)?;
            let mask = evaluator.emit(Op::Eye { k }, Vec::new(), shape.clone(), DType::Bool, call.span)?;
            let zero = evaluator.constant(zero, dtype, call.span)?;
            let zeros = evaluator.broadcast(zero, &constants(&shape), call.span)?;
            let node = evaluator.emit(Op::Where, vec![mask, values, zeros], shape, dtype, call.span)?;
            evaluator.copied(node)
        }
        _ => Err(evaluator.error(call.span, format!("diag needs rank 1 or 2, not {}", own.len()), None)),
    }
}

/// `np.tril`.
pub(super) fn tril(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    triangle(evaluator, call, |k| Op::Tril { k })
}

/// `np.triu`.
pub(super) fn triu(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    triangle(evaluator, call, |k| Op::Triu { k })
}

fn triangle(evaluator: &mut Evaluator<'_>, call: &Call, op: impl Fn(i64) -> Op) -> Eval {
    let array = evaluator.argument(call, "m")?;
    let k = evaluator.integer_or(call, "k", 0)?;
    let (mut shape, dtype) = (evaluator.shape(array.node).to_vec(), evaluator.dtype(array.node));
    let mut node = array.node;
    match shape.as_slice() {
        [] => {
            let message = format!("{} needs an array of rank 1 or more", call.function.name);
            return Err(evaluator.error(call.span, message, None));
        }
        [extent] => {
            shape = vec![*extent, *extent];
            evaluator.fixed_shape(node, call.function.name, call.span)?;
            node = evaluator.broadcast(node, &constants(&shape), call.span)?;
        }
        _ => {}
    }
    let node = evaluator.emit(op(k), vec![node], shape, dtype, call.span)?;
    evaluator.copied(node)
}

/// `np.lib.stride_tricks.sliding_window_view`.
pub(super) fn sliding_window_view(evaluator: &mut Evaluator<'_>, call: &Call) -> Eval {
    let array = evaluator.argument(call, "x")?;
    let own = evaluator.shape(array.node).to_vec();
    let extents = evaluator.shape_argument(call.required("window_shape")?)?;
    let axes = match call.optional("axis") {
        None => (0..own.len()).collect(),
        Some(arg) => evaluator.axes(arg, own.len())?,
    };
    if axes.len() != extents.len() {
        let message = format!("{} window extents are given for {} axes", extents.len(), axes.len());
        return Err(evaluator.error(call.span, message, Some("give axis=(…) to select the axes")));
    }
    let mut shape = own.clone();
    for (&axis, &extent) in axes.iter().zip(&extents) {
        if extent == 0 || shape[axis] < extent {
            let message = format!("a window of extent {extent} does not fit axis {axis} of extent {}", own[axis]);
            return Err(evaluator.error(call.span, message, None));
        }
        shape[axis] = shape[axis] + 1 - extent;
    }
    shape.extend(&extents);
    let windows = axes.into_iter().zip(extents).collect();
    let dtype = evaluator.dtype(array.node);
    let node = evaluator.emit(Op::Window { windows }, vec![array.node], shape, dtype, call.span)?;
    Ok(evaluator.read_only_view(node, &array))
}

/// `A.astype` for a dtype that is called: `np.float32(x)`.
pub(super) fn convert(evaluator: &mut Evaluator<'_>, arg: &Arg, dtype: DType, span: Span) -> Eval {
    let operand = evaluator.operand(arg, dtype.name())?;
    let node = match operand {
        Operand::Scalar(_) => evaluator.at_dtype(&operand, dtype, span)?,
        Operand::Node(node) | Operand::Weak(node) => evaluator.cast(node, dtype, span)?,
    };
    evaluator.copied(node)
}
