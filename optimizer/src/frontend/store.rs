//! The memory of a program: its states, and what is known of each piece of NumPy's memory.
//!
//! Input: what a reading does with memory. Output: which state a piece is, when it was made, whom it belongs to.

use super::twins::Twins;
use super::value::Storage;
use crate::program::expr::State;
use crate::value::dtype::DType;
use std::collections::{BTreeMap, BTreeSet};

/// States, and pieces of memory.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// The arrays that statements change.
    states: Vec<State>,
    /// States that are called by a name of the source.
    named: BTreeSet<usize>,
    /// Memory that is a state.
    memory: BTreeMap<Storage, usize>,
    /// States of carried names, each with its memory.
    slots: BTreeMap<usize, Storage>,
    /// States of memory that was made in an unrolled loop, to be used again.
    reusable: BTreeMap<Storage, usize>,
    /// Memory that NumPy would share with an array of which it is the part at integers that only a run knows.
    loose: BTreeSet<Storage>,
    /// Memory that belongs to the caller of the workload, with the parameter.
    parameters: BTreeMap<Storage, usize>,
    /// When each piece of memory was made: how many had been made then.
    made: BTreeMap<Storage, usize>,
    /// How many pieces of memory were made.
    clock: usize,
    /// For each state's memory of a carried name the loops whose iterations it merges.
    merged: BTreeMap<Storage, Vec<usize>>,
    /// Pairs of memory here that may be one in NumPy.
    twins: Twins,
}

impl Store {
    /// A new state, called by a name of the source or, until it gets one, by a number.
    pub(super) fn new_state(&mut self, name: Option<&str>, dtype: DType, shape: Vec<usize>) -> usize {
        let state = self.states.len();
        self.states.push(State { name: String::new(), dtype, shape });
        self.name_state(state, name);
        state
    }

    /// Calls a state by a name of the source, or by its number.
    pub(super) fn name_state(&mut self, state: usize, name: Option<&str>) {
        let wanted = name.map_or_else(|| format!("array_{state}"), str::to_owned);
        let taken = |name: &str, states: &[State]| {
            states.iter().enumerate().any(|(at, other)| at != state && other.name == *name)
        };
        let mut unique = wanted.clone();
        let mut count = 1;
        while taken(&unique, &self.states) {
            count += 1;
            unique = format!("{wanted}_{count}");
        }
        self.states[state].name = unique;
        if name.is_some() {
            self.named.insert(state);
        }
    }

    /// Whether a state is called by a name of the source.
    pub(super) fn is_named(&self, state: usize) -> bool {
        self.named.contains(&state)
    }

    /// A state.
    pub(super) fn state(&self, state: usize) -> &State {
        &self.states[state]
    }

    /// How many states there are.
    pub(super) fn state_count(&self) -> usize {
        self.states.len()
    }

    /// Gives the states away.
    pub(super) fn take_states(&mut self) -> Vec<State> {
        std::mem::take(&mut self.states)
    }

    /// The state that a piece of memory is.
    pub(super) fn state_of(&self, storage: Storage) -> Option<usize> {
        self.memory.get(&storage).copied()
    }

    /// Whether a piece of memory is a state.
    pub(super) fn is_state(&self, storage: Storage) -> bool {
        self.memory.contains_key(&storage)
    }

    /// Makes a piece of memory a state.
    pub(super) fn set_state(&mut self, storage: Storage, state: usize) {
        self.memory.insert(storage, state);
    }

    /// A piece of memory is no state from here on.
    pub(super) fn unset_state(&mut self, storage: Storage) {
        self.memory.remove(&storage);
    }

    /// Whether a state is memory, or was and may be again, or a carried name.
    pub(super) fn is_written_later(&self, state: usize) -> bool {
        let mut memory = self.memory.values().chain(self.reusable.values());
        self.slots.contains_key(&state) || memory.any(|&other| other == state)
    }

    /// The memory of the carried name that a state is.
    pub(super) fn slot_of(&self, state: usize) -> Option<Storage> {
        self.slots.get(&state).copied()
    }

    /// Makes a state that of a carried name.
    pub(super) fn open_slot(&mut self, state: usize, storage: Storage) {
        self.slots.insert(state, storage);
    }

    /// A state is no longer that of a carried name.
    pub(super) fn close_slot(&mut self, state: usize) {
        self.slots.remove(&state);
    }

    /// The state that a piece of memory was when an unrolled loop made it before.
    pub(super) fn reusable(&self, storage: Storage) -> Option<usize> {
        self.reusable.get(&storage).copied()
    }

    /// Lets the next copy of an unrolled loop's body use a state again.
    pub(super) fn reuse(&mut self, storage: Storage, state: usize) {
        self.reusable.insert(storage, state);
    }

    /// Whether NumPy would share a piece of memory with an array, and it is a copy here.
    pub(super) fn is_loose(&self, storage: Storage) -> bool {
        self.loose.contains(&storage)
    }

    /// Notes that NumPy would share a piece of memory with an array.
    pub(super) fn set_loose(&mut self, storage: Option<Storage>) {
        self.loose.extend(storage);
    }

    /// Whether a piece of memory belongs to the caller of the workload.
    pub(super) fn is_parameter(&self, storage: Storage) -> bool {
        self.parameters.contains_key(&storage)
    }

    /// Notes that a piece of memory is a parameter of the workload.
    pub(super) fn set_parameter(&mut self, storage: Storage, parameter: usize) {
        self.parameters.insert(storage, parameter);
    }

    /// The parameters that are written to, each with its state, in order.
    pub(super) fn mutated(&self) -> Vec<(usize, usize)> {
        let written = self.parameters.iter().filter_map(|(storage, param)| Some((*param, *self.memory.get(storage)?)));
        let mut written: Vec<(usize, usize)> = written.collect();
        written.sort_unstable();
        written
    }

    /// Notes that a piece of memory is new.
    pub(super) fn made_now(&mut self, storage: Storage) {
        self.twins.forget(storage);
        self.clock += 1;
        self.made.insert(storage, self.clock);
    }

    /// When a piece of memory was made; 0 if that is not known.
    pub(super) fn made(&self, storage: Storage) -> usize {
        self.made.get(&storage).copied().unwrap_or(0)
    }

    /// How many pieces of memory were made.
    pub(super) fn clock(&self) -> usize {
        self.clock
    }

    /// The loops whose iterations the memory of a carried name merges.
    pub(super) fn merged(&self, storage: Storage) -> &[usize] {
        self.merged.get(&storage).map_or(&[], Vec::as_slice)
    }

    /// Notes the loops whose iterations the memory of a carried name merges.
    pub(super) fn set_merged(&mut self, storage: Storage, loops: Vec<usize>) {
        self.merged.insert(storage, loops);
    }

    /// Pairs of memory that may be one in NumPy.
    pub(super) fn twins(&self) -> &Twins {
        &self.twins
    }

    /// The same, to be changed.
    pub(super) fn twins_mut(&mut self) -> &mut Twins {
        &mut self.twins
    }
}
