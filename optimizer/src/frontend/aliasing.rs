//! Which memory may be one in NumPy though it is two here, and what follows from it.
//!
//! A name that a loop rebinds is carried in a state of its own ([`super::carry`]): what it is bound to is copied there.
//! That is NumPy's meaning as long as nobody writes to memory of which there are two copies. [`super::twins::Twins`] says
//! of which there are, at each point of a reading. Where such memory is written to, the loops are to be unrolled instead
//! ([`super::unroll`]), where each name stands for memory as in NumPy; if they cannot be, the write is refused.

use super::evaluate::Evaluator;
use super::frames::Slot;
use super::place::INSTANCES;
use super::twins::Loops;
use super::value::{Array, Eval, Storage, Value};
use crate::integer::affine::Affine;
use crate::program::expr::{NodeId, Op, SectionAxis, Span, Statement};
use crate::value::dtype::DType;

/// The first instance of a piece of memory.
fn first_instance(storage: Storage) -> Storage {
    storage >> INSTANCES << INSTANCES
}

impl Evaluator<'_> {
    /// A new piece of memory. In an unrolled loop it may be one that was made there before and that nobody holds.
    pub(super) fn new_memory(&mut self, dtype: DType, shape: &[usize]) -> Storage {
        let first = self.position.next_storage();
        let storage = self.free_instance(first, dtype, shape, None);
        self.store.unset_state(storage);
        self.store.made_now(storage);
        storage
    }

    /// The first instance of a piece that no name holds, but for a holder that lets it go.
    pub(super) fn free_instance(
        &mut self,
        first: Storage,
        dtype: DType,
        shape: &[usize],
        let_go: Option<Storage>,
    ) -> Storage {
        let mut instances = first..first + (1 << INSTANCES);
        if !self.control.is_unrolled() {
            return first;
        }
        let free = instances.find(|storage| {
            let fits = self.store.reusable(*storage).is_none_or(|state| {
                let state = self.store.state(state);
                state.dtype == dtype && state.shape == shape
            });
            fits && self.holders_of(*storage) <= usize::from(let_go == Some(*storage))
        });
        free.unwrap_or_else(|| {
            let help = "let the names of the loop stand for fewer arrays";
            self.error(Span::default(), "a loop makes more than 4096 arrays that are held at once", Some(help));
            first
        })
    }

    /// Notes that a state holds a copy of what `of` is in NumPy from here on: the same as its twins, too.
    pub(super) fn twin(&mut self, storage: Storage, of: Storage) {
        let own = [storage, of].into_iter().flat_map(|one| self.store.merged(one));
        let mut loops: Loops = own.copied().collect();
        if loops.is_empty() {
            loops = self.control.open().iter().filter(|open| open.is_loop).map(|open| open.number).collect();
        }
        for (other, mut others) in self.store.twins().of(of) {
            others.extend(&loops);
            self.store.twins_mut().add(storage, other, &others);
        }
        self.store.twins_mut().add(storage, of, &loops);
    }

    /// Notes what a carried name is bound to: the carried memory is no longer what it was.
    pub(super) fn rebound(&mut self, slot: &Slot, value: &Value) {
        let Value::Array(array) = value else { return };
        let (Some(storage), Some(own)) = (array.storage, slot.storage) else { return };
        if storage == own {
            return;
        }
        let held = self.is_held(storage);
        // That of a value that no name holds is gone, but not what it was copied from.
        let others = self.store.twins().of(storage);
        self.store.twins_mut().forget(own);
        others.into_iter().for_each(|(other, loops)| self.store.twins_mut().add(own, other, &loops));
        if held {
            self.twin(own, storage);
            self.exchange(slot, array, storage);
        }
    }

    /// Whether the caller or a name holds a piece of memory.
    pub(super) fn is_held(&self, storage: Storage) -> bool {
        self.store.is_parameter(storage) || self.holders_of(storage) > 0
    }

    /// A carried name is bound to all of an array that was there before the iteration: NumPy copies nothing, so the loop
    /// had better be unrolled.
    fn exchange(&mut self, slot: &Slot, array: &Array, storage: Storage) {
        let whole = matches!(self.graph[array.node].op, Op::State(_) | Op::Input(_));
        let innermost = self.control.open().iter().rev().find(|open| open.is_loop && open.frame == self.names.frame());
        let began = innermost.map_or(0, |open| open.began);
        let made = self.store.made(storage);
        if whole && made <= began {
            let loops = slot.storage.map_or(Vec::new(), |own| self.store.merged(own).to_vec());
            self.learned.unroll(&loops.into_iter().collect(), false);
        }
    }

    /// Lets more iterations come before the unrolled loop around the loop of a number: in them, how often that runs may
    /// be known.
    pub(super) fn peel_more_around(&mut self, number: usize) -> bool {
        let around: Vec<usize> = self
            .control
            .open()
            .iter()
            .rev()
            .filter(|open| open.unrolled && open.number != number)
            .map(|open| open.number)
            .collect();
        around.into_iter().any(|around| self.learned.peel_more(around))
    }

    /// Memory is written to: refused where it is two here, and the loops that made it two cannot be unrolled.
    pub(super) fn written_to(&mut self, storage: Storage, span: Span) -> Eval<()> {
        let twins = self.store.twins().of(storage);
        if twins.is_empty() {
            return Ok(());
        }
        let loops: Loops = twins.into_iter().flat_map(|(_, loops)| loops).collect();
        if self.learned.unroll(&loops, true) {
            return Ok(());
        }
        let reason = loops.iter().find_map(|number| match self.learned.facts.unrolled.get(number)?.plan {
            Some(Err(reason)) => Some(reason),
            Some(Ok(_)) => Some("a condition rebinds it in some iterations and not in others"),
            None => None,
        });
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        let message = format!("the array is rebound in a loop, and another name may share its memory{reason}");
        let help = "bind a copy, as in y = x.copy(), or overwrite the elements, as in x[...] = y";
        Err(self.error(span, message, Some(help)))
    }

    /// Whether a name's memory, made in an unrolled loop, is still read in another iteration or after the loop.
    pub(super) fn is_of_unrolled(&self, name: &str, storage: Storage) -> bool {
        let made = self.store.made(storage);
        let liveness = self.names.liveness();
        self.control.open().iter().any(|open| {
            open.unrolled
                && open.frame == self.names.frame()
                && open.began < made
                && !self.store.is_state(storage)
                && open.names.contains(name)
                && liveness.is_read_after(open.place, name)
        })
    }

    /// A copy of an array, in memory of its own; it says what it is a copy of.
    pub(super) fn copied_array(&mut self, array: &Array, span: Span) -> Eval<Array> {
        let copy = self.fresh_array(array.node);
        if let (Some(own), Some(storage)) = (copy.storage, array.storage) {
            self.twin(own, storage);
        }
        self.kept(None, copy, span)
    }

    /// The loops of the current function whose iterations a carried name merges.
    pub(super) fn loops_around(&self, name: &str) -> Vec<usize> {
        let own = self
            .control
            .open()
            .iter()
            .filter(|open| open.frame == self.names.frame() && open.is_loop && open.names.contains(name));
        own.map(|open| open.number).collect()
    }

    /// The value of an assignment to one name, made in the memory that the name lets go of where that is of the same
    /// place in an unrolled loop.
    pub(super) fn in_place_of(&mut self, name: &str, value: Value) -> Value {
        let (Value::Array(array), Some(Value::Array(old))) = (&value, self.names.value(name)) else { return value };
        let (Some(storage), Some(own)) = (array.storage, old.storage) else { return value };
        let Some(state) = self.store.state_of(own) else { return value };
        let usable = self.control.is_unrolled()
            && self.names.slot(name).is_none()
            && storage != own
            && first_instance(storage) == first_instance(own)
            && self.holders_of(own) == 1
            && self.holders_of(storage) == 0
            && self.graph[array.node].live.is_empty()
            && self.store.state(state).dtype == self.dtype(array.node)
            && self.store.state(state).shape == self.shape(array.node);
        if !usable {
            return value;
        }
        let span = self.graph[array.node].span;
        let Some(stored) = self.store.state_of(storage) else {
            if self.graph.reads_state(array.node) {
                self.store.unset_state(own);
                self.store.made_now(own);
                return Value::Array(Array { storage: Some(own), ..array.clone() });
            }
            return value;
        };
        let (node, writable) = (array.node, array.writable);
        if self.graph[node].op != Op::State(stored) {
            return value;
        }
        let Ok(kept) = self.state_node(state, span) else { return value };
        if !self.stored_elsewhere(stored, state, kept) {
            return value;
        }
        self.store.unset_state(storage);
        self.store.made_now(own);
        Value::Array(Array { node: kept, storage: Some(own), writable, number: false })
    }

    /// Lets the last statement, if it stores all of a state, store all of another one.
    fn stored_elsewhere(&mut self, from: usize, to: usize, to_node: NodeId) -> bool {
        let start = SectionAxis::Slice { start: Affine::constant(0), step: 1 };
        let Some(block) = self.control.innermost_block() else { return false };
        let Some(Statement::Update { state, region, shift: None, value, .. }) = block.last_mut() else { return false };
        if *state != from
            || region.iter().any(|axis| *axis != start)
            || self.graph[*value].shape != self.store.state(to).shape
        {
            return false;
        }
        if *value == to_node {
            block.pop();
        } else {
            *state = to;
        }
        true
    }
}
