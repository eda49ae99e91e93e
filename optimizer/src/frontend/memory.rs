//! NumPy's memory: arrays that are written to are states, views of them are sections.
//!
//! A node is evaluated by the statement that uses it. So a name that is assigned what an operation computed from states
//! gets a state of its own, filled there and then; a name that is assigned a view keeps the view's node, which reads the
//! state anew each time, as NumPy's view does.

use super::emit::show;
use super::evaluate::Evaluator;
use super::operand::Operand;
use super::value::{Arg, Array, Eval, Poisoned, Storage, Value, may_be_number};
use crate::integer::affine::Affine;
use crate::program::expr::{NodeId, Op, SectionAxis, Shift, Span, State, Statement, constants};
use crate::value::dtype::DType;

/// A part of a state that an array is a view of.
pub(super) struct Region {
    pub(super) state: usize,
    /// One entry for each axis of the state.
    pub(super) axes: Vec<SectionAxis>,
    /// For each axis of the view the axis of the state; `None` of an axis that a `None` index made.
    pub(super) order: Vec<Option<usize>>,
}

impl Evaluator<'_> {
    /// What a state holds.
    pub(super) fn state_node(&mut self, state: usize, span: Span) -> Eval<NodeId> {
        let State { dtype, shape, .. } = self.store.state(state).clone();
        self.emit(Op::State(state), Vec::new(), shape, dtype, span)
    }

    /// A state that holds `node` from here on, as the memory `storage`.
    pub(super) fn stored(&mut self, node: NodeId, storage: Storage) -> Eval<Array> {
        let array = self.reserved(node, storage)?;
        let state = self.store.state_of(storage).ok_or(Poisoned)?;
        self.update_whole(state, node, self.graph[node].span)?;
        Ok(array)
    }

    /// A state of the type of `node`, as the memory `storage`, that holds nothing yet.
    pub(super) fn reserved(&mut self, node: NodeId, storage: Storage) -> Eval<Array> {
        let span = self.graph[node].span;
        let (dtype, shape) = (self.dtype(node), self.shape(node).to_vec());
        let reusable = self.store.reusable(storage).filter(|&state| {
            let state = self.store.state(state);
            state.dtype == dtype && state.shape == shape
        });
        let state = reusable.unwrap_or_else(|| self.store.new_state(None, dtype, shape));
        if self.control.is_unrolled() {
            self.store.reuse(storage, state);
        }
        self.store.set_state(storage, state);
        let whole = self.state_node(state, span)?;
        let extents = self.extents(node);
        let axes = self.whole_section(whole);
        let node = self.section(whole, axes, extents, span)?;
        Ok(Array { node, storage: Some(storage), writable: true, number: false })
    }

    /// `state[…] = node`, from the first index on every axis.
    pub(super) fn update_whole(&mut self, state: usize, node: NodeId, span: Span) -> Eval<()> {
        let region =
            vec![SectionAxis::Slice { start: Affine::constant(0), step: 1 }; self.store.state(state).shape.len()];
        self.update(state, region, node, span)
    }

    /// Appends an update.
    pub(super) fn update(&mut self, state: usize, region: Vec<SectionAxis>, value: NodeId, span: Span) -> Eval<()> {
        self.update_moved(state, region, None, value, span)
    }

    /// Appends an update of a region that a value moves.
    fn update_moved(
        &mut self,
        state: usize,
        region: Vec<SectionAxis>,
        shift: Option<Shift>,
        value: NodeId,
        span: Span,
    ) -> Eval<()> {
        if self.inner_calls.iter().any(|&outer| state < outer) {
            let message = "a function changes an array in the middle of an expression";
            let help = "call it in a statement of its own, as in y = f(x)";
            return Err(self.error(span, message, Some(help)));
        }
        self.control.append(Statement::Update { state, region, shift, value, span });
        Ok(())
    }

    /// The subscripts that select all of a node.
    pub(super) fn whole_section(&self, node: NodeId) -> Vec<SectionAxis> {
        vec![SectionAxis::Slice { start: Affine::constant(0), step: 1 }; self.shape(node).len()]
    }

    /// Whether a node is a state or a section: those of a section become one.
    pub(super) fn in_memory(&self, node: NodeId) -> bool {
        matches!(self.graph[node].op, Op::State(_) | Op::Section(_))
    }

    /// `node[axes]`, of the extents given.
    pub(super) fn section(
        &mut self,
        node: NodeId,
        axes: Vec<SectionAxis>,
        extents: Vec<Affine>,
        span: Span,
    ) -> Eval<NodeId> {
        if axes == self.whole_section(node) && extents == self.extents(node) {
            return Ok(node);
        }
        let dtype = self.dtype(node);
        if let Op::Section(inner) = &self.graph[node].op {
            let axes = compose(inner, &axes);
            let base = self.graph[node].args[0];
            return self.section(base, axes, extents, span);
        }
        self.emit_live(Op::Section(axes), vec![node], extents, dtype, span)
    }

    /// The part of a state that a node is a view of; `None` if it is none, or not expressible as subscripts.
    fn region_of(&self, node: NodeId) -> Option<Region> {
        let this = &self.graph[node];
        if let Op::State(state) = this.op {
            return Some(Region {
                state,
                axes: self.whole_section(node),
                order: (0..this.shape.len()).map(Some).collect(),
            });
        }
        let inner = match &this.op {
            Op::Section(_) | Op::Slice(_) | Op::Index { .. } | Op::Transpose(_) | Op::Reshape | Op::Flip(_) => {
                self.region_of(*this.args.first()?)?
            }
            _ => return None,
        };
        let own = self.graph[this.args[0]].extents();
        let constant = |value: usize| i64::try_from(value).ok().map(Affine::constant);
        match &this.op {
            Op::Section(axes) => inner.subscript(axes),
            Op::Slice(slices) => {
                let slice = |slice: &crate::program::expr::SliceAxis| SectionAxis::Slice {
                    start: Affine::constant(slice.start),
                    step: slice.step,
                };
                inner.subscript(&slices.iter().map(slice).collect::<Vec<_>>())
            }
            Op::Index { axis, at } => {
                let mut axes = vec![SectionAxis::Slice { start: Affine::constant(0), step: 1 }; own.len()];
                axes[*axis] = SectionAxis::At(constant(*at)?);
                inner.subscript(&axes)
            }
            Op::Flip(flipped) => {
                let axis = |(at, extent): (usize, &Affine)| {
                    if flipped.contains(&at) {
                        SectionAxis::Slice { start: extent.offset(-1), step: -1 }
                    } else {
                        SectionAxis::Slice { start: Affine::constant(0), step: 1 }
                    }
                };
                inner.subscript(&own.iter().enumerate().map(axis).collect::<Vec<_>>())
            }
            Op::Transpose(axes) => {
                let order = axes.iter().map(|&axis| inner.order[axis]).collect();
                Some(Region { order, ..inner })
            }
            // Axes of extent 1 that came or went; anything else is no part of the state.
            Op::Reshape => {
                let one = Affine::constant(1);
                let kept = |(axis, extent): (usize, &Affine)| (*extent != one).then_some(inner.order[axis]);
                let mut rest = own.iter().enumerate().filter_map(kept);
                let target = this.extents();
                let agrees =
                    own.iter().filter(|extent| **extent != one).eq(target.iter().filter(|extent| **extent != one));
                let pick = |extent: &Affine| if *extent == one { None } else { rest.next().flatten() };
                let order = target.iter().map(pick).collect();
                // An axis of the state that has one index and was dropped is that index.
                let dropped: Vec<usize> =
                    (0..own.len()).filter(|&axis| own[axis] == one).filter_map(|axis| inner.order[axis]).collect();
                let at = |(axis, subscript): (usize, SectionAxis)| match subscript {
                    SectionAxis::Slice { start, .. } if dropped.contains(&axis) => SectionAxis::At(start),
                    other => other,
                };
                let axes = inner.axes.into_iter().enumerate().map(at).collect();
                agrees.then_some(Region { state: inner.state, axes, order })
            }
            _ => None,
        }
    }

    /// `array[…] = value`: all elements of a view are overwritten.
    pub(super) fn write(&mut self, array: &Array, value: &Arg, span: Span) -> Eval<()> {
        let dtype = self.dtype(array.node);
        let operand = self.operand(value, "an assignment")?;
        let node = self.at_dtype(&operand, dtype, value.span)?;
        let is_list = matches!(value.value, Value::List(_) | Value::Tuple(_));
        if is_list && self.shape(node).len() > self.shape(array.node).len() {
            let message = "the list is nested deeper than the array has axes";
            return Err(self.error(value.span, message, Some("take away the outer brackets")));
        }
        let node = self.spread(node, array.node, span)?;
        let Some(region) = self.region_to_write(array, array.node, span)? else { return Ok(()) };
        self.put(region, node, None, span)
    }

    /// The part of a state that `node`, a view of `array`, is, to be written to. `None` in a reading that did not know
    /// yet that the array is written to.
    pub(super) fn region_to_write(&mut self, array: &Array, node: NodeId, span: Span) -> Eval<Option<Region>> {
        let Some(storage) = array.storage else {
            return Err(self.error(span, "a number cannot be assigned to by index", None));
        };
        if !array.writable {
            let help = "make a copy with .copy() and write to that";
            return Err(self.error(span, "the array is a read-only view", Some(help)));
        }
        if self.store.is_loose(storage) {
            let message = "this view is at an index that is only known when the program runs";
            let help = "write to the array itself, as in A[i, 1] = x, or make a copy with .copy() and write to that";
            return Err(self.error(span, message, Some(help)));
        }
        if self.is_of_module(storage) {
            let help = "make a copy with .copy() and write to that";
            return Err(self.error(span, "a module's constant would be changed", Some(help)));
        }
        let Some(region) = self.region_of(node) else {
            if self.store.is_state(storage) {
                let message = "the elements of this view are not written to as a part of its array";
                let help = "write to the array itself by index; transposes and slices of it can be written to, reshapes \
                            cannot";
                return Err(self.error(span, message, Some(help)));
            }
            // The next reading knows.
            self.learned.facts.written.insert(storage);
            return Ok(None);
        };
        self.written_to(storage, span)?;
        Ok(Some(region))
    }

    /// Stores a value of the extents of a region there, moved by a value.
    pub(super) fn put(&mut self, region: Region, node: NodeId, shift: Option<Shift>, span: Span) -> Eval<()> {
        let mut axes: Vec<(usize, usize)> =
            region.order.iter().enumerate().filter_map(|(axis, of)| of.map(|of| (of, axis))).collect();
        axes.sort_unstable();
        let units: Vec<usize> = (0..region.order.len()).filter(|&axis| region.order[axis].is_none()).collect();
        let mut extents = self.extents(node);
        for &axis in &units {
            if !extents[axis].is_constant() {
                let message = "an axis that the array does not have is cut to a length that depends on a loop";
                return Err(self.error(span, message, Some("write to the array itself, without np.newaxis")));
            }
            if extents[axis].constant == 0 {
                return Ok(());
            }
        }
        units.iter().rev().for_each(|&axis| drop(extents.remove(axis)));
        let node = self.reshape_live(node, extents, span)?;
        let before = |axis: usize| axis - units.iter().filter(|&&unit| unit < axis).count();
        let node = self.transpose(node, axes.iter().map(|&(_, axis)| before(axis)).collect(), span)?;
        self.update_moved(region.state, region.axes, shift, node, span)
    }

    /// A value stretched to the extents of the array that it is assigned to.
    fn spread(&mut self, node: NodeId, target: NodeId, span: Span) -> Eval<NodeId> {
        let (mut own, wanted) = (self.extents(node), self.extents(target));
        let one = Affine::constant(1);
        // Leading axes of extent 1 are dropped.
        let surplus = own.len().saturating_sub(wanted.len());
        let droppable = own[..surplus].iter().all(|extent| *extent == one);
        let fits = droppable && own.iter().rev().zip(wanted.iter().rev()).all(|(own, to)| own == to || *own == one);
        if !fits {
            let message = format!(
                "a value of shape {} cannot be assigned to elements of shape {}",
                self.show_extents(&own),
                self.show_extents(&wanted)
            );
            return Err(self.error(
                span,
                message,
                Some("trailing axes must have equal extents, or the value extent 1"),
            ));
        }
        let node = if surplus > 0 {
            own.drain(..surplus);
            self.reshape_live(node, own, span)?
        } else {
            node
        };
        self.broadcast(node, &wanted, span)
    }

    /// A value as a name (or, without one, a place in a tuple) keeps it: what was computed from states is stored.
    pub(super) fn settled(&mut self, name: Option<&str>, value: Value, span: Span) -> Value {
        match value {
            Value::Array(array) => self.settled_array(name, array, span).map_or(Value::Poison, Value::Array),
            Value::Weak(node) if self.graph.reads_state(node) && !self.is_kept(node) => {
                let state = self.store.new_state(name, self.dtype(node), Vec::new());
                let stored = self.update_whole(state, node, span).and_then(|()| self.state_node(state, span));
                stored.map_or(Value::Poison, Value::Weak)
            }
            Value::Tuple(items) => Value::Tuple(items.into_iter().map(|item| self.settled(None, item, span)).collect()),
            Value::List(items) => Value::List(items.into_iter().map(|item| self.settled(None, item, span)).collect()),
            other => other,
        }
    }

    /// Whether a node is a number that was stored for a name, which nothing else is ever stored over.
    fn is_kept(&self, node: NodeId) -> bool {
        match self.graph[node].op {
            Op::State(state) => !self.store.is_written_later(state),
            _ => false,
        }
    }

    fn settled_array(&mut self, name: Option<&str>, array: Array, span: Span) -> Eval<Array> {
        if self.graph.reads_state(array.node) && array.storage.is_some_and(|storage| self.store.is_loose(storage)) {
            let message = "a view of an array that is written to, at an index that is only known when the program runs";
            let help = "make a copy, as in row = A[i].copy(), or use A[i] where it is needed";
            return Err(self.error(span, message, Some(help)));
        }
        if !self.graph.reads_state(array.node)
            && let (Some(name), Some(storage)) = (name, array.storage)
            && self.is_of_unrolled(name, storage)
        {
            // What the name stands for is different memory in each iteration.
            self.learned.facts.written.insert(storage);
        }
        if !self.graph.reads_state(array.node) || self.is_kept(array.node) && array.storage.is_none() {
            return Ok(array);
        }
        if let Some(storage) = array.storage
            && let Some(state) = self.store.state_of(storage)
        {
            let Some(carried) = self.store.slot_of(state) else {
                if name.is_some() && !self.store.is_named(state) {
                    self.store.name_state(state, name);
                }
                return Ok(array);
            };
            // The state goes on to hold what another name is rebound to.
            let copy = self.fresh_array(array.node);
            if let Some(own) = copy.storage {
                self.twin(own, carried);
            }
            return self.kept(name, copy, span);
        }
        self.kept(name, array, span)
    }

    /// An array in a state of its own.
    pub(super) fn kept(&mut self, name: Option<&str>, array: Array, span: Span) -> Eval<Array> {
        if let Some(storage) = array.storage
            && !self.store.is_state(storage)
        {
            let Array { node, .. } = self.stored(array.node, storage)?;
            if let Some(state) = self.store.state_of(storage) {
                self.store.name_state(state, name);
            }
            return Ok(Array { node, ..array });
        }
        if array.storage.is_some() {
            return Ok(array);
        }
        // A NumPy scalar.
        let state = self.store.new_state(name, self.dtype(array.node), self.shape(array.node).to_vec());
        self.update_whole(state, array.node, span)?;
        let node = self.state_node(state, span)?;
        Ok(Array { node, ..array })
    }

    /// Binds a name of the current function.
    pub(super) fn assign_name(&mut self, name: &str, value: &Arg) {
        if let Some(slot) = self.names.slot(name).cloned()
            && self.fits(&slot.carried, &value.value)
        {
            self.rebound(&slot, &value.value);
            let stored = self.at_slot(&slot.carried, value).and_then(|node| {
                let itself = self.graph[node].op == Op::State(slot.state);
                if itself { Ok(()) } else { self.update_whole(slot.state, node, value.span) }
            });
            let kept = match (slot.value, stored) {
                (_, Err(_)) => Value::Poison,
                (Value::Array(array), Ok(())) => Value::Array(Array { number: may_be_number(&value.value), ..array }),
                (other, Ok(())) => other,
            };
            self.bind(name, kept);
            return;
        }
        let value = self.settled(Some(name), value.value.clone(), value.span);
        self.bind(name, value);
    }

    /// Whether memory was made by the module's own statements.
    fn is_of_module(&self, storage: Storage) -> bool {
        let mut found = false;
        let here = !self.names.is_in_module();
        for (_, value) in self.names.of_module().filter(|_| here) {
            value.arrays(&mut |array| found |= array.storage == Some(storage));
        }
        found
    }

    /// An array whose elements are undefined: `np.empty`.
    pub(super) fn undefined(&mut self, shape: &[usize], dtype: DType, span: Span) -> Eval<Array> {
        let zero = self.at_dtype(&Operand::Scalar(super::number::Number::Int(0)), dtype, span)?;
        let node = self.broadcast(zero, &constants(shape), span)?;
        let storage = self.new_memory(dtype, shape);
        if self.learned.facts.written.contains(&storage) {
            return self.reserved(node, storage);
        }
        Ok(Array { node, storage: Some(storage), writable: true, number: false })
    }

    /// A shape as NumPy prints it, for messages about nodes.
    pub(super) fn show_node(&self, node: NodeId) -> String {
        if self.graph[node].live.is_empty() { show(self.shape(node)) } else { self.show_extents(&self.extents(node)) }
    }
}

impl Region {
    /// The part of this part that subscripts of the view select.
    fn subscript(self, axes: &[SectionAxis]) -> Option<Region> {
        let mut region = Region { order: Vec::with_capacity(axes.len()), ..self };
        for (axis, of) in axes.iter().zip(self.order) {
            match (axis, of) {
                (SectionAxis::Slice { .. }, None) => region.order.push(None),
                (SectionAxis::At(_), None) => {}
                (outer, Some(of)) => {
                    region.axes[of] = composed(region.axes.get(of)?, outer);
                    if matches!(outer, SectionAxis::Slice { .. }) {
                        region.order.push(Some(of));
                    }
                }
            }
        }
        Some(region)
    }
}

/// Subscripts of a section as subscripts of its argument.
fn compose(inner: &[SectionAxis], outer: &[SectionAxis]) -> Vec<SectionAxis> {
    let mut rest = outer.iter();
    inner
        .iter()
        .map(|axis| match axis {
            SectionAxis::At(_) => axis.clone(),
            SectionAxis::Slice { .. } => rest.next().map_or_else(|| axis.clone(), |outer| composed(axis, outer)),
        })
        .collect()
}

fn composed(inner: &SectionAxis, outer: &SectionAxis) -> SectionAxis {
    match (inner, outer) {
        (SectionAxis::At(at), _) => SectionAxis::At(at.clone()),
        (SectionAxis::Slice { start, step }, SectionAxis::At(at)) => SectionAxis::At(start.plus(&at.times(*step))),
        (SectionAxis::Slice { start, step }, SectionAxis::Slice { start: first, step: stride }) => {
            SectionAxis::Slice { start: start.plus(&first.times(*step)), step: step * stride }
        }
    }
}
