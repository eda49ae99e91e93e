//! Which memory may be one in NumPy though it is two here, and what follows from it.
//!
//! A name that a loop rebinds is carried in a state of its own ([`super::carry`]): what it is bound to is copied there.
//! That is NumPy's meaning as long as nobody writes to memory of which there are two copies. [`Twins`] says of which
//! there are, at each point of a reading. Where such memory is written to, the loops are to be unrolled instead
//! ([`super::unroll`]), where each name stands for memory as in NumPy; if they cannot be, the write is refused.

use super::carry::Slot;
use super::evaluate::{Eval, Evaluator, FrameId};
use super::place::INSTANCES;
use super::value::{Array, Storage, Value};
use crate::integer::affine::Affine;
use crate::program::expr::{NodeId, Op, SectionAxis, Span, Statement};
use crate::value::dtype::DType;
use std::collections::{BTreeMap, BTreeSet};

/// Pairs of memory that may be one in NumPy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Twins {
    /// Each pair in both orders, with the loops that, read copy by copy, would not make them two.
    pairs: BTreeMap<(Storage, Storage), Loops>,
}

/// Numbers of loops; an outer one has a lower number.
type Loops = BTreeSet<usize>;

impl Twins {
    fn add(&mut self, a: Storage, b: Storage, loops: &Loops) {
        if a != b {
            self.pairs.entry((a, b)).or_default().extend(loops);
            self.pairs.entry((b, a)).or_default().extend(loops);
        }
    }

    /// The memory that may be the same as a piece.
    fn of(&self, storage: Storage) -> Vec<(Storage, Loops)> {
        let pairs = self.pairs.range((storage, 0)..=(storage, Storage::MAX));
        pairs.map(|(pair, loops)| (pair.1, loops.clone())).collect()
    }

    /// The piece is another one from here on.
    pub(super) fn forget(&mut self, storage: Storage) {
        self.pairs.retain(|pair, _| pair.0 != storage && pair.1 != storage);
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// All that may be, in this or the other case.
    pub(super) fn join(&mut self, other: &Twins) {
        for (&pair, loops) in &other.pairs {
            self.pairs.entry(pair).or_default().extend(loops);
        }
    }
}

/// An open loop or condition.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) number: usize,
    pub(super) frame: FrameId,
    pub(super) is_loop: bool,
    /// It is a loop that is read copy by copy.
    pub(super) unrolled: bool,
    /// Where it stands, as liveness knows it.
    pub(super) place: usize,
    /// The names that it assigns somewhere.
    pub(super) names: BTreeSet<String>,
    /// How many pieces of memory had been made when its body began.
    pub(super) began: usize,
    /// The twins when it began.
    pub(super) before: Twins,
    /// The twins at the ends of its branches.
    pub(super) after: Twins,
}

/// The first instance of a piece of memory.
fn first_instance(storage: Storage) -> Storage {
    storage >> INSTANCES << INSTANCES
}

impl Evaluator<'_> {
    /// A new piece of memory. In an unrolled loop it may be one that was made there before and that nobody holds.
    pub(super) fn new_memory(&mut self, dtype: DType, shape: &[usize]) -> Storage {
        let first = self.next_storage();
        let storage = self.free_instance(first, dtype, shape, None);
        self.memory.remove(&storage);
        self.made_now(storage);
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
        if self.unrolled == 0 {
            return first;
        }
        let free = instances.find(|storage| {
            let fits = self.reusable.get(storage).is_none_or(|&state| {
                let state = &self.states[state];
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

    /// Notes that a piece of memory is new.
    pub(super) fn made_now(&mut self, storage: Storage) {
        self.twins.forget(storage);
        self.clock += 1;
        self.made.insert(storage, self.clock);
    }

    /// Notes that a state holds a copy of what `of` is in NumPy from here on: the same as its twins, too.
    pub(super) fn twin(&mut self, storage: Storage, of: Storage) {
        let own = [storage, of].into_iter().filter_map(|one| self.merged.get(&one)).flatten();
        let mut loops: Loops = own.copied().collect();
        if loops.is_empty() {
            loops = self.open.iter().filter(|open| open.is_loop).map(|open| open.number).collect();
        }
        for (other, mut others) in self.twins.of(of) {
            others.extend(&loops);
            self.twins.add(storage, other, &others);
        }
        self.twins.add(storage, of, &loops);
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
        let others = self.twins.of(storage);
        self.twins.forget(own);
        others.into_iter().for_each(|(other, loops)| self.twins.add(own, other, &loops));
        if held {
            self.twin(own, storage);
            self.exchange(slot, array, storage);
        }
    }

    /// Whether the caller or a name holds a piece of memory.
    pub(super) fn is_held(&self, storage: Storage) -> bool {
        self.parameters.contains_key(&storage) || self.holders_of(storage) > 0
    }

    /// A carried name is bound to all of an array that was there before the iteration: NumPy copies nothing, so the loop
    /// had better be unrolled.
    fn exchange(&mut self, slot: &Slot, array: &Array, storage: Storage) {
        let whole = matches!(self.nodes[array.node].op, Op::State(_) | Op::Input(_));
        let innermost = self.open.iter().rev().find(|open| open.is_loop && open.frame == self.frame);
        let began = innermost.map_or(0, |open| open.began);
        let made = self.made.get(&storage).copied().unwrap_or(0);
        if whole && made <= began {
            let loops = slot.storage.and_then(|own| self.merged.get(&own)).cloned().unwrap_or_default();
            self.unroll(&loops.into_iter().collect(), false);
        }
    }

    /// Demands that loops be unrolled in the next reading; false where that is known not to help.
    pub(super) fn unroll(&mut self, loops: &Loops, needed: bool) -> bool {
        let mut helps = false;
        for &number in loops.iter().rev() {
            let known = self.facts.unrolled.entry(number).or_default();
            known.needed |= needed;
            let (plan, exhausted) = (known.plan, known.exhausted);
            match plan {
                None => helps = true,
                // Nothing is to be gained around a loop that cannot be unrolled itself.
                Some(Err(_)) if !needed => break,
                Some(Err(_)) => {}
                Some(Ok(_)) if helps || exhausted && !needed => {}
                // A condition in it merges what it unrolls: after more iterations it may be decided.
                Some(Ok(_)) if self.peel_more(number) => helps = true,
                Some(Ok(_)) if needed => {}
                Some(Ok(_)) => {
                    let known = self.facts.unrolled.entry(number).or_default();
                    (known.exhausted, known.least, known.plan) = (true, 0, None);
                }
            }
        }
        helps
    }

    /// Lets more iterations come before an unrolled loop, in the next reading; false where there are no more, or enough.
    fn peel_more(&mut self, number: usize) -> bool {
        let Some(known) = self.facts.unrolled.get_mut(&number) else { return false };
        let Some(Ok(plan)) = known.plan else { return self.demanded.contains(&number) };
        if known.exhausted || plan.peeled < known.least || plan.peeled >= super::unroll::MOST_PEELED {
            return false;
        }
        known.least = (2 * known.least.max(plan.peeled)).clamp(1, super::unroll::MOST_PEELED);
        known.plan = None;
        self.demanded.insert(number);
        true
    }

    /// Lets more iterations come before the unrolled loop around the loop of a number: in them, how often that runs may
    /// be known.
    pub(super) fn peel_more_around(&mut self, number: usize) -> bool {
        let around: Vec<usize> = self
            .open
            .iter()
            .rev()
            .filter(|open| open.unrolled && open.number != number)
            .map(|open| open.number)
            .collect();
        around.into_iter().any(|around| self.peel_more(around))
    }

    /// Memory is written to: refused where it is two here, and the loops that made it two cannot be unrolled.
    pub(super) fn written_to(&mut self, storage: Storage, span: Span) -> Eval<()> {
        let twins = self.twins.of(storage);
        if twins.is_empty() {
            return Ok(());
        }
        let loops: Loops = twins.into_iter().flat_map(|(_, loops)| loops).collect();
        if self.unroll(&loops, true) {
            return Ok(());
        }
        let reason = loops.iter().find_map(|number| match self.facts.unrolled.get(number)?.plan {
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
        let made = self.made.get(&storage).copied().unwrap_or(0);
        let liveness = &self.frames[self.frame].liveness;
        self.open.iter().any(|open| {
            open.unrolled
                && open.frame == self.frame
                && open.began < made
                && !self.memory.contains_key(&storage)
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
        let own = self.open.iter().filter(|open| open.frame == self.frame && open.is_loop && open.names.contains(name));
        own.map(|open| open.number).collect()
    }

    /// The value of an assignment to one name, made in the memory that the name lets go of where that is of the same
    /// place in an unrolled loop.
    pub(super) fn in_place_of(&mut self, name: &str, value: Value) -> Value {
        let frame = &self.frames[self.frame];
        let (Value::Array(array), Some(Value::Array(old))) = (&value, frame.names.get(name)) else { return value };
        let (Some(storage), Some(own)) = (array.storage, old.storage) else { return value };
        let Some(&state) = self.memory.get(&own) else { return value };
        let usable = self.unrolled > 0
            && !frame.carried.contains_key(name)
            && storage != own
            && first_instance(storage) == first_instance(own)
            && self.holders_of(own) == 1
            && self.holders_of(storage) == 0
            && self.nodes[array.node].live.is_empty()
            && self.states[state].dtype == self.dtype(array.node)
            && self.states[state].shape == self.shape(array.node);
        if !usable {
            return value;
        }
        let span = self.nodes[array.node].span;
        let Some(&stored) = self.memory.get(&storage) else {
            if self.reads_state[array.node] {
                self.memory.remove(&own);
                self.made_now(own);
                return Value::Array(Array { storage: Some(own), ..array.clone() });
            }
            return value;
        };
        let (node, writable) = (array.node, array.writable);
        if self.nodes[node].op != Op::State(stored) {
            return value;
        }
        let Ok(kept) = self.state_node(state, span) else { return value };
        if !self.stored_elsewhere(stored, state, kept) {
            return value;
        }
        self.memory.remove(&storage);
        self.made_now(own);
        Value::Array(Array { node: kept, storage: Some(own), writable, number: false })
    }

    /// Lets the last statement, if it stores all of a state, store all of another one.
    fn stored_elsewhere(&mut self, from: usize, to: usize, to_node: NodeId) -> bool {
        let start = SectionAxis::Slice { start: Affine::constant(0), step: 1 };
        let Some(block) = self.blocks.last_mut() else { return false };
        let Some(Statement::Update { state, region, shift: None, value, .. }) = block.last_mut() else { return false };
        if *state != from
            || region.iter().any(|axis| *axis != start)
            || self.nodes[*value].shape != self.states[to].shape
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
