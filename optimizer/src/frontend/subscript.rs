//! Indexing: integers, slices, `None` and `...`.

use super::emit::{fixed, show};
use super::evaluate::Evaluator;
use super::expression::BEGIN_WITH_NUMPYS;
use super::number::Number;
use super::syntax::span_of;
use super::value::{Arg, Array, Eval, Poisoned, Value};
use crate::integer::affine::Affine;
use crate::program::expr::{NodeId, SectionAxis, SliceAxis, Span};
use rustpython_ruff_python_ast::{Expr, ExprSlice};

/// What a subscript selects.
pub(super) enum Selection {
    /// By integers and slices: a view.
    Basic(Value),
    /// By arrays of integers, too.
    Picked(Picked),
}

/// An array with axes that arrays of integers index.
pub(super) struct Picked {
    /// The array, everything else of the subscript applied.
    pub(super) node: NodeId,
    /// The axes that are indexed, in ascending order.
    pub(super) axes: Vec<usize>,
    /// What indexes each.
    pub(super) indices: Vec<(NodeId, Span)>,
    /// The place of the indices' own axes among those of the result.
    pub(super) first: usize,
}

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
            Value::Array(array) if array.number => {
                let message = "what is a Python number in one iteration and NumPy's in another cannot be indexed";
                Err(self.error(base.span, message, Some(BEGIN_WITH_NUMPYS)))
            }
            Value::Array(array) => {
                let array = array.clone();
                self.array_subscript(&array, subscript, span)
            }
            Value::Tuple(items) | Value::List(items) => {
                let is_tuple = matches!(base.value, Value::Tuple(_));
                self.sequence_subscript(items, is_tuple, subscript, span)
            }
            other => {
                let message = format!("{} cannot be indexed", self.describe(other));
                Err(self.error(base.span, message, Some("arrays, tuples and lists can")))
            }
        }
    }

    fn sequence_subscript(&mut self, items: &[Value], is_tuple: bool, subscript: &'s Expr, span: Span) -> Eval {
        if let Expr::Slice(slice) = subscript {
            let lower = self.slice_bound(slice.lower.as_deref());
            let upper = self.slice_bound(slice.upper.as_deref());
            let step = self.slice_bound(slice.step.as_deref());
            let axis = self.slice_axis(slice, [lower?, upper?], step?.unwrap_or(1), items.len())?;
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

    /// `array[subscript]`.
    fn array_subscript(&mut self, array: &Array, subscript: &'s Expr, span: Span) -> Eval {
        match self.selection(array, subscript, span)? {
            Selection::Basic(value) => Ok(value),
            Selection::Picked(picked) => self.gathered(&picked, span),
        }
    }

    /// The elements that are picked.
    pub(super) fn gathered(&mut self, picked: &Picked, span: Span) -> Eval {
        let before = self.shape(picked.node).len();
        let result = self.gather(picked.node, &picked.axes, &picked.indices, super::gather::Mode::Raise, span)?;
        let lead = self.shape(result).len() + picked.axes.len() - before;
        let result = self.placed(result, lead, picked.first, span)?;
        let array = self.fresh(result);
        // By integers alone NumPy makes a view, here it is a copy: nobody must see the difference.
        if picked.indices.iter().all(|index| self.shape(index.0).is_empty()) && !self.shape(result).is_empty() {
            self.store.set_loose(array.storage);
        }
        Ok(Value::Array(array))
    }

    /// What a value selects as a subscript: a tuple of indices, or one.
    pub(super) fn selected_by(&mut self, array: &Array, index: &Arg, span: Span) -> Eval<Selection> {
        self.selection_by(array, vec![Entry::Value(index.clone())], span)
    }

    /// What `array[subscript]` selects.
    pub(super) fn selection(&mut self, array: &Array, subscript: &'s Expr, span: Span) -> Eval<Selection> {
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
        self.selection_by(array, entries, span)
    }

    fn selection_by(&mut self, array: &Array, entries: Vec<Entry<'s>>, span: Span) -> Eval<Selection> {
        let mut entries = without_tuple(entries);
        let own = self.extents(array.node);
        let (used, ellipses) = counted_entries(&entries);
        if ellipses > 1 {
            return Err(self.error(span, "an index can have one '...' only", None));
        }
        if used > own.len() {
            let message = format!("{used} indices are given for an array of shape {}", self.show_node(array.node));
            return Err(self.error(span, message, None));
        }
        if ellipses == 0 {
            entries.push(Entry::Value(Arg { value: Value::Ellipsis, span }));
        }
        let mut axes: Vec<SectionAxis> = Vec::with_capacity(own.len());
        let mut extents = Vec::new();
        let mut units = Vec::new();
        let mut failed = false;
        // Axes of the array without its units that arrays of integers index; where integers and arrays stand.
        let mut picks: Vec<(usize, NodeId, Span)> = Vec::new();
        let mut indexed: Vec<(usize, usize)> = Vec::new();
        for (place, entry) in entries.iter().enumerate() {
            let axis = axes.len();
            if let Entry::Value(arg) = entry {
                let picked = self.index_array(arg);
                if picked.is_some() || !matches!(arg.value, Value::None | Value::Ellipsis) {
                    indexed.push((place, extents.len() + units.len()));
                }
                if let Some(node) = picked {
                    picks.push((extents.len(), node, arg.span));
                    axes.push(whole());
                    extents.push(own[axis].clone());
                    continue;
                }
            }
            match entry {
                Entry::Slice(slice) => match self.slice_forms(slice, &own[axis]) {
                    Ok((start, step, length)) => {
                        axes.push(SectionAxis::Slice { start, step });
                        extents.push(length);
                    }
                    Err(Poisoned) => {
                        failed = true;
                        axes.push(whole());
                    }
                },
                Entry::Value(arg) => match &arg.value {
                    Value::None => units.push(extents.len() + units.len()),
                    Value::Ellipsis => {
                        for extent in &own[axis..axis + own.len() - used] {
                            axes.push(whole());
                            extents.push(extent.clone());
                        }
                    }
                    _ => match self.array_index(arg, axis, &own[axis]) {
                        Ok(at) => axes.push(SectionAxis::At(at)),
                        Err(Poisoned) => {
                            failed = true;
                            axes.push(whole());
                        }
                    },
                },
            }
        }
        if failed {
            return Err(Poisoned);
        }
        let picked = axes.iter().filter(|axis| matches!(axis, SectionAxis::At(_))).count();
        let node = self.selected(array.node, axes, extents, span)?;
        if !picks.is_empty() {
            return self.picked(node, &picks, &indexed, &units, span).map(Selection::Picked);
        }
        let node = self.unit_axes(node, &units, span)?;
        let element = picked == own.len() && entries.len() == own.len() + usize::from(ellipses == 0);
        let fresh = element && ellipses == 0;
        Ok(Selection::Basic(if fresh { Value::Array(self.fresh(node)) } else { self.view(node, array) }))
    }

    /// An array of integers that is no number known here, as an index.
    fn index_array(&self, arg: &Arg) -> Option<NodeId> {
        match &arg.value {
            Value::Array(array) if self.known_int(&arg.value).is_none() && self.form_of(&arg.value).is_none() => {
                self.dtype(array.node).is_int().then_some(array.node)
            }
            _ => None,
        }
    }

    /// `node` indexed by arrays: `picks` has the axis of each. Where integers and arrays stand next to each other in
    /// the subscript, their axes come where the first of them is, else first. `units` are the places of new axes.
    fn picked(
        &mut self,
        node: NodeId,
        picks: &[(usize, NodeId, Span)],
        indexed: &[(usize, usize)],
        units: &[usize],
        span: Span,
    ) -> Eval<Picked> {
        // With the new axes in place, as slices of them stay.
        let mut place = Vec::new();
        let (mut unit, mut at) = (0, 0);
        let rank = self.shape(node).len();
        for axis in 0..rank {
            // A unit's place counts the axes that come before it, those that are indexed among them.
            while units.get(unit) == Some(&(at + unit)) {
                unit += 1;
            }
            place.push(at + unit);
            at += 1;
            debug_assert_eq!(at, axis + 1, "one place for each axis");
        }
        let node = self.unit_axes(node, units, span)?;
        let axes: Vec<usize> = picks.iter().map(|pick| place[pick.0]).collect();
        let indices: Vec<(NodeId, Span)> = picks.iter().map(|&(_, node, span)| (node, span)).collect();
        let together = indexed.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0);
        let first = if together { indexed.first().map_or(0, |first| first.1) } else { 0 };
        Ok(Picked { node, axes, indices, first })
    }

    /// `node[axes]`: slices and indices where nothing depends on a loop or a state, a section otherwise.
    fn selected(&mut self, node: NodeId, axes: Vec<SectionAxis>, extents: Vec<Affine>, span: Span) -> Eval<NodeId> {
        let constant = axes.iter().all(|axis| match axis {
            SectionAxis::At(form) | SectionAxis::Slice { start: form, .. } => form.is_constant(),
        });
        let (Some(shape), true) =
            (fixed(&extents), constant && !self.in_memory(node) && self.graph[node].live.is_empty())
        else {
            return self.section(node, axes, extents, span);
        };
        let own = self.shape(node).to_vec();
        let (mut slices, mut picked, mut lengths) = (Vec::new(), Vec::new(), shape.into_iter());
        for (at, axis) in axes.iter().enumerate() {
            match axis {
                SectionAxis::Slice { start, step } => {
                    slices.push(SliceAxis { start: start.constant, step: *step, len: lengths.next().unwrap_or(0) });
                }
                SectionAxis::At(form) => {
                    picked.push((at, usize::try_from(form.constant).map_err(|_| Poisoned)?));
                    slices.push(SliceAxis { start: 0, step: 1, len: own[at] });
                }
            }
        }
        let mut node = self.slice(node, slices, span)?;
        for &(axis, at) in picked.iter().rev() {
            node = self.index(node, axis, at, span)?;
        }
        Ok(node)
    }

    fn array_index(&mut self, arg: &Arg, axis: usize, extent: &Affine) -> Eval<Affine> {
        match &arg.value {
            Value::Poison => return Err(Poisoned),
            Value::Array(array) if self.known_int(&arg.value).is_none() => {
                let shape = show(self.shape(array.node));
                let is_mask = self.dtype(array.node) == crate::value::dtype::DType::Bool;
                let construct = if is_mask {
                    format!("indexing with a bool array of shape {shape}")
                } else {
                    format!("indexing with an array of shape {shape}")
                };
                let help = if is_mask {
                    "write x = np.where(mask, new, x) for x[mask] = new, and np.where(mask, x, 0).sum() for \
                     x[mask].sum(); mask.sum() counts"
                } else {
                    "supported: integers, arrays of integers, slices, None and '...'"
                };
                return Err(self.unsupported(arg.span, &construct, help));
            }
            Value::List(_) | Value::Number(Number::Bool(_)) => {
                let construct = format!("indexing with {}", self.describe(&arg.value));
                let help = "supported: integers, arrays of integers, slices, None and '...'; select with np.where";
                return Err(self.unsupported(arg.span, &construct, help));
            }
            _ => {}
        }
        let at = self.index_form(arg, "an index")?;
        if at.is_constant() && extent.is_constant() {
            let (at, extent) = (at.constant, extent.constant);
            let position = usize::try_from(extent).ok().and_then(|extent| position(at, extent));
            return position.and_then(|at| i64::try_from(at).ok()).map(Affine::constant).ok_or_else(|| {
                let message = format!("index {at} is out of bounds for axis {axis} of extent {extent}");
                self.error(arg.span, message, None)
            });
        }
        let at = self.counted_from_start(at, extent, "the index", arg.span)?;
        if self.control.domain().proves(&at) && self.control.domain().proves(&extent.minus(&at).offset(-1)) {
            return Ok(at);
        }
        let (shown, extent) = (self.show_form(&at), self.show_form(extent));
        let message = format!("the index {shown} may be out of bounds for axis {axis} of extent {extent}");
        let help = "let the loop's range end earlier, or write an 'if' around it";
        Err(self.error(arg.span, message, Some(help)))
    }

    /// An index or bound: a form in loop variables.
    fn index_form(&mut self, arg: &Arg, what: &str) -> Eval<Affine> {
        if arg.value.is_poisoned() {
            return Err(Poisoned);
        }
        match (&arg.value, self.form_of(&arg.value)) {
            (_, Some(form)) => Ok(form),
            (Value::Number(_) | Value::Array(_), None) => self.integer(arg, what).map(Affine::constant),
            (other, None) => {
                let message = format!("{what} is {}", self.describe(other));
                let help = "supported: sums of compile-time integers and multiples of loop variables";
                Err(self.error(arg.span, message, Some(help)))
            }
        }
    }

    /// An index or bound counted from the start, where its sign is the same in all iterations.
    fn counted_from_start(&mut self, form: Affine, extent: &Affine, what: &str, span: Span) -> Eval<Affine> {
        if self.control.domain().proves(&form) {
            return Ok(form);
        }
        if self.control.domain().proves(&form.times(-1).offset(-1)) {
            return Ok(form.plus(extent));
        }
        let shown = self.show_form(&form);
        let message = format!("{what} {shown} is negative in some iterations only, where it counts from the end");
        let help = "let the loop begin where it is not negative, or write an 'if' around it";
        Err(self.error(span, message, Some(help)))
    }

    /// Start, step and length of a slice of an axis.
    fn slice_forms(&mut self, slice: &'s ExprSlice, extent: &Affine) -> Eval<(Affine, i64, Affine)> {
        let lower = self.slice_form(slice.lower.as_deref());
        let upper = self.slice_form(slice.upper.as_deref());
        let step = self.slice_bound(slice.step.as_deref());
        let (lower, upper, step) = (lower?, upper?, step?.unwrap_or(1));
        let constant = |bound: &Option<Affine>| bound.as_ref().is_none_or(Affine::is_constant);
        if extent.is_constant() && constant(&lower) && constant(&upper) {
            let extent = usize::try_from(extent.constant).map_err(|_| Poisoned)?;
            let [lower, upper] = [lower, upper].map(|bound| bound.map(|bound| bound.constant));
            let axis = self.slice_axis(slice, [lower, upper], step, extent)?;
            let length = i64::try_from(axis.len).map_err(|_| Poisoned)?;
            return Ok((Affine::constant(axis.start), axis.step, Affine::constant(length)));
        }
        let span = span_of(slice);
        if step == 0 || step.unsigned_abs() >= 1 << 20 {
            return Err(self.error(span, "the step of a slice is zero or too large", None));
        }
        // With a negative step the range runs from high to low and −1 is the bound below index 0.
        let (least, greatest) =
            if step > 0 { (Affine::constant(0), extent.clone()) } else { (Affine::constant(-1), extent.offset(-1)) };
        let mut clamp = |bound: Affine| -> Eval<Affine> {
            let bound = self.counted_from_start(bound, extent, "the slice's bound", span)?;
            let bound = self.within(bound, &least, false, span)?;
            self.within(bound, &greatest, true, span)
        };
        let start = match lower {
            Some(bound) => clamp(bound)?,
            None if step > 0 => least.clone(),
            None => greatest.clone(),
        };
        let stop = match upper {
            Some(bound) => clamp(bound)?,
            None if step > 0 => greatest.clone(),
            None => least.clone(),
        };
        let distance = if step > 0 { stop.minus(&start) } else { start.minus(&stop) };
        if self.control.domain().proves(&distance.times(-1)) {
            return Ok((Affine::constant(0), 1, Affine::constant(0)));
        }
        if !self.control.domain().proves(&distance) {
            let (start, stop) = (self.show_form(&start), self.show_form(&stop));
            let message = format!("the slice from {start} to {stop} is empty in some iterations by crossing bounds");
            let help = "let the loop's range end where the bounds meet, or write an 'if' around it";
            return Err(self.error(span, message, Some(help)));
        }
        let by = i64::try_from(step.unsigned_abs()).map_err(|_| Poisoned)?;
        match Evaluator::quotient(&distance, by) {
            Some(length) => Ok((start, if length == Affine::constant(1) { 1 } else { step }, length)),
            None => {
                let message = format!("the number of elements of a slice by {step} is no affine form");
                let help = "let the bounds differ by a constant or a multiple of the step";
                Err(self.error(span, message, Some(help)))
            }
        }
    }

    /// A bound that is clipped to the axis, where that is the same in all iterations.
    fn within(&mut self, bound: Affine, limit: &Affine, above: bool, span: Span) -> Eval<Affine> {
        let room = if above { limit.minus(&bound) } else { bound.minus(limit) };
        if self.control.domain().proves(&room) {
            return Ok(bound);
        }
        if self.control.domain().proves(&room.times(-1)) {
            return Ok(limit.clone());
        }
        let (bound, limit) = (self.show_form(&bound), self.show_form(limit));
        let message = format!("the slice's bound {bound} passes the end {limit} of the axis in some iterations only");
        let help = "let the loop's range end earlier, or write an 'if' around it";
        Err(self.error(span, message, Some(help)))
    }

    fn slice_form(&mut self, bound: Option<&'s Expr>) -> Eval<Option<Affine>> {
        let Some(bound) = bound else { return Ok(None) };
        let arg = self.arg(bound);
        match arg.value {
            Value::None => Ok(None),
            _ => self.index_form(&arg, "a slice bound").map(Some),
        }
    }

    /// The indices that a slice selects of `extent`, clamped as Python clamps them.
    fn slice_axis(
        &mut self,
        slice: &'s ExprSlice,
        [lower, upper]: [Option<i64>; 2],
        step: i64,
        extent: usize,
    ) -> Eval<SliceAxis> {
        let extent = i64::try_from(extent).map_err(|_| Poisoned)?;
        if step == 0 {
            return Err(self.error(span_of(slice), "the step of a slice is zero", None));
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

/// The entries of an index; a name may hold a tuple of them.
fn without_tuple(entries: Vec<Entry<'_>>) -> Vec<Entry<'_>> {
    if let [Entry::Value(Arg { value: Value::Tuple(items), span })] = entries.as_slice() {
        let span = *span;
        return items.clone().into_iter().map(|value| Entry::Value(Arg { value, span })).collect();
    }
    entries
}

/// How many of the entries each index an axis, and how many are `...`.
fn counted_entries(entries: &[Entry<'_>]) -> (usize, usize) {
    let (mut used, mut ellipses) = (0, 0);
    for entry in entries {
        match entry {
            Entry::Slice(_) => used += 1,
            Entry::Value(arg) => match &arg.value {
                Value::None => {}
                Value::Ellipsis => ellipses += 1,
                _ => used += 1,
            },
        }
    }
    (used, ellipses)
}

fn whole() -> SectionAxis {
    SectionAxis::Slice { start: Affine::constant(0), step: 1 }
}

/// The position of index `at`, counted from the end if negative.
fn position(at: i64, extent: usize) -> Option<usize> {
    let extent = i64::try_from(extent).ok()?;
    let at = if at < 0 { at.checked_add(extent)? } else { at };
    if (0..extent).contains(&at) { usize::try_from(at).ok() } else { None }
}
