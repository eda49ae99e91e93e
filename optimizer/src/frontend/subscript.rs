//! Indexing: integers, slices, `None` and `...`.

use super::emit::show;
use super::evaluate::{Eval, Evaluator, Poisoned};
use super::number::Number;
use super::value::{Arg, Array, Value};
use crate::expr::{SliceAxis, Span};
use rustpython_ruff_python_ast::{Expr, ExprSlice};

/// One entry of a subscript.
enum Entry<'s> {
    Slice(&'s ExprSlice),
    Value(Arg),
}

impl<'s> Evaluator<'s> {
    /// `base[subscript]`.
    pub(super) fn subscript(&mut self, base: &Arg, subscript: &'s Expr, span: Span) -> Eval {
        match &base.value {
            Value::Poison => Err(Poisoned),
            Value::Array(array) => {
                let array = array.clone();
                self.array_subscript(&array, subscript, span)
            }
            Value::Tuple(items) | Value::List(items) => {
                let is_tuple = matches!(base.value, Value::Tuple(_));
                self.sequence_subscript(items, is_tuple, subscript, span)
            }
            other => {
                let message = format!("{} cannot be indexed", other.describe());
                Err(self.error(base.span, message, Some("arrays, tuples and lists can")))
            }
        }
    }

    fn sequence_subscript(&mut self, items: &[Value], is_tuple: bool, subscript: &'s Expr, span: Span) -> Eval {
        if let Expr::Slice(slice) = subscript {
            let axis = self.slice_axis(slice, items.len())?;
            let mut picked = Vec::with_capacity(axis.len);
            let mut at = axis.start;
            for _ in 0..axis.len {
                picked.push(usize::try_from(at).ok().and_then(|at| items.get(at)).cloned().ok_or(Poisoned)?);
                at += axis.step;
            }
            return Ok(if is_tuple { Value::Tuple(picked) } else { Value::List(picked) });
        }
        let index = self.arg(subscript);
        let at = self.integer(&index, "the index")?;
        match position(at, items.len()) {
            Some(at) => items.get(at).cloned().ok_or(Poisoned),
            None => {
                let message = format!("index {at} is out of range for a sequence of {}", items.len());
                Err(self.error(span, message, None))
            }
        }
    }

    fn array_subscript(&mut self, array: &Array, subscript: &'s Expr, span: Span) -> Eval {
        let parts: Vec<&'s Expr> = match subscript {
            Expr::Tuple(tuple) => tuple.elts.iter().collect(),
            other => vec![other],
        };
        let mut entries = Vec::with_capacity(parts.len());
        for part in parts {
            entries.push(match part {
                Expr::Slice(slice) => Entry::Slice(slice),
                other => Entry::Value(self.arg(other)),
            });
        }
        // A name may hold a tuple of indices.
        if let [Entry::Value(Arg { value: Value::Tuple(items), span })] = entries.as_slice() {
            let span = *span;
            entries = items.clone().into_iter().map(|value| Entry::Value(Arg { value, span })).collect();
        }
        let own = self.shape(array.node).to_vec();
        let mut used = 0;
        let mut ellipses = 0;
        for entry in &entries {
            match entry {
                Entry::Slice(_) => used += 1,
                Entry::Value(arg) => match &arg.value {
                    Value::None => {}
                    Value::Ellipsis => ellipses += 1,
                    _ => used += 1,
                },
            }
        }
        if ellipses > 1 {
            return Err(self.error(span, "an index can have one '...' only", None));
        }
        if used > own.len() {
            let message = format!("{used} indices are given for an array of shape {}", show(&own));
            return Err(self.error(span, message, None));
        }
        if ellipses == 0 {
            entries.push(Entry::Value(Arg { value: Value::Ellipsis, span }));
        }
        let mut slices = Vec::with_capacity(own.len());
        let mut picked = Vec::new();
        let mut shape = Vec::new();
        let mut failed = false;
        for entry in &entries {
            let axis = slices.len();
            match entry {
                Entry::Slice(slice) => match self.slice_axis(slice, own[axis]) {
                    Ok(slice) => {
                        slices.push(slice);
                        shape.push(slice.len);
                    }
                    Err(Poisoned) => {
                        failed = true;
                        slices.push(whole(own[axis]));
                    }
                },
                Entry::Value(arg) => match &arg.value {
                    Value::None => shape.push(1),
                    Value::Ellipsis => {
                        for &extent in &own[axis..axis + own.len() - used] {
                            slices.push(whole(extent));
                            shape.push(extent);
                        }
                    }
                    _ => {
                        match self.array_index(arg, axis, own[axis]) {
                            Ok(at) => picked.push((axis, at)),
                            Err(Poisoned) => failed = true,
                        }
                        slices.push(whole(own[axis]));
                    }
                },
            }
        }
        if failed {
            return Err(Poisoned);
        }
        let mut node = self.slice(array.node, slices, span)?;
        for &(axis, at) in picked.iter().rev() {
            node = self.index(node, axis, at, span)?;
        }
        node = self.reshape(node, shape, span)?;
        let element = picked.len() == own.len() && entries.len() == own.len() + usize::from(ellipses == 0);
        if element && ellipses == 0 { Ok(Value::Array(self.fresh(node))) } else { Ok(self.view(node, array)) }
    }

    fn array_index(&mut self, arg: &Arg, axis: usize, extent: usize) -> Eval<usize> {
        match &arg.value {
            Value::Poison => return Err(Poisoned),
            Value::Array(array) if self.known_int(&arg.value).is_none() => {
                let shape = show(self.shape(array.node));
                let construct = if self.dtype(array.node) == crate::dtype::DType::Bool {
                    format!("indexing with a bool array of shape {shape}")
                } else {
                    format!("indexing with an array of shape {shape}")
                };
                let help = "supported: integers, slices, None and '...'; select with np.where";
                return Err(self.unsupported(arg.span, &construct, help));
            }
            Value::List(_) | Value::Number(Number::Bool(_)) => {
                let construct = format!("indexing with {}", arg.value.describe());
                let help = "supported: integers, slices, None and '...'; select with np.where";
                return Err(self.unsupported(arg.span, &construct, help));
            }
            _ => {}
        }
        let at = self.integer(arg, "an index")?;
        position(at, extent).ok_or_else(|| {
            let message = format!("index {at} is out of bounds for axis {axis} of extent {extent}");
            self.error(arg.span, message, None)
        })
    }

    /// The indices that a slice selects of `extent`, clamped as Python clamps them.
    fn slice_axis(&mut self, slice: &'s ExprSlice, extent: usize) -> Eval<SliceAxis> {
        let lower = self.slice_bound(slice.lower.as_deref());
        let upper = self.slice_bound(slice.upper.as_deref());
        let step = self.slice_bound(slice.step.as_deref());
        let (lower, upper, step) = (lower?, upper?, step?.unwrap_or(1));
        let extent = i64::try_from(extent).map_err(|_| Poisoned)?;
        if step == 0 {
            return Err(self.error(super::evaluate::span_of(slice), "the step of a slice is zero", None));
        }
        // With a negative step the range runs from high to low and −1 is the bound below index 0.
        let (least, greatest) = if step > 0 { (0, extent) } else { (-1, extent - 1) };
        let clamp = |bound: i64| {
            let bound = if bound < 0 { bound.saturating_add(extent) } else { bound };
            bound.clamp(least, greatest)
        };
        let start = lower.map_or(if step > 0 { 0 } else { greatest }, clamp);
        let stop = upper.map_or(if step > 0 { extent } else { -1 }, clamp);
        let distance = if step > 0 { stop - start } else { start - stop };
        let len = if distance > 0 { distance.unsigned_abs().div_ceil(step.unsigned_abs()) } else { 0 };
        let len = usize::try_from(len).map_err(|_| Poisoned)?;
        // One form for each selection, so that equal slices are one node.
        Ok(match len {
            0 => SliceAxis { start: 0, step: 1, len },
            1 => SliceAxis { start, step: 1, len },
            _ => SliceAxis { start, step, len },
        })
    }

    fn slice_bound(&mut self, bound: Option<&'s Expr>) -> Eval<Option<i64>> {
        let Some(bound) = bound else { return Ok(None) };
        let arg = self.arg(bound);
        match arg.value {
            Value::None => Ok(None),
            _ => self.integer(&arg, "a slice bound").map(Some),
        }
    }
}

fn whole(extent: usize) -> SliceAxis {
    SliceAxis { start: 0, step: 1, len: extent }
}

/// The position of index `at`, counted from the end if negative.
fn position(at: i64, extent: usize) -> Option<usize> {
    let extent = i64::try_from(extent).ok()?;
    let at = if at < 0 { at.checked_add(extent)? } else { at };
    if (0..extent).contains(&at) { usize::try_from(at).ok() } else { None }
}
