//! The names of calls, and the functions that a workload defines.
//!
//! Input: bindings. Output: what a name stands for where the reading is, and who holds a piece of memory.

use super::facts::Carried;
use super::liveness::Liveness;
use super::value::{Storage, Value};
use rustpython_ruff_python_ast::{Expr, Parameters, Stmt};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Index of a frame.
pub(super) type FrameId = usize;

/// The names of one call.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// The frame in which the function was defined.
    pub(super) parent: Option<FrameId>,
    /// Names that the function's body assigns somewhere.
    pub(super) locals: BTreeSet<String>,
    /// The values of those assigned so far.
    pub(super) names: BTreeMap<String, Value>,
    /// Names that are one state through all iterations of an open loop, or in all branches of an open condition.
    pub(super) carried: BTreeMap<String, Slot>,
    /// Names that a loop or a branch assigned and that have no one value after it.
    pub(super) lost: BTreeSet<String>,
    /// Which names are read after each statement of the body.
    pub(super) liveness: Rc<Liveness>,
}

/// A carried name while its loop or condition is open.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// The state.
    pub(super) state: usize,
    pub(super) carried: Carried,
    /// What the name is bound to.
    pub(super) value: Value,
    /// Its memory, if it is an array.
    pub(super) storage: Option<Storage>,
}

/// The code of a function or lambda, and where it was defined.
#[derive(Clone, Debug)]
pub(super) struct Closure<'s> {
    pub(super) name: &'s str,
    pub(super) parameters: Option<&'s Parameters>,
    pub(super) body: Body<'s>,
    pub(super) frame: FrameId,
    /// Values of the parameters' defaults, by name.
    pub(super) defaults: BTreeMap<&'s str, Value>,
}

/// What a call runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'s> {
    /// A `def`'s statements.
    Statements(&'s [Stmt]),
    /// A lambda's expression.
    Expression(&'s Expr),
}

/// What the names of all calls stand for.
#[derive(Debug)]
pub(super) struct Names<'s> {
    frames: Vec<Frame>,
    /// The frame of the call that is being read.
    current: FrameId,
    closures: Vec<Closure<'s>>,
    /// Memory of values that no name holds yet.
    pending: Vec<Storage>,
}

impl Default for Names<'_> {
    fn default() -> Self {
        Names { frames: vec![Frame::default()], current: 0, closures: Vec::new(), pending: Vec::new() }
    }
}

/// What a name is where the reading is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<'a> {
    /// It stands for a value.
    Bound(&'a Value),
    /// A loop or a branch assigned it, and it has no one value after that.
    Lost,
    /// It is local, and not yet assigned.
    Unassigned,
    /// No statement of the workload assigns it.
    Unknown,
}

impl<'s> Names<'s> {
    /// The frame of the call that is being read.
    pub(super) fn frame(&self) -> FrameId {
        self.current
    }

    /// Whether the module's own statements are being read.
    pub(super) fn is_in_module(&self) -> bool {
        self.current == 0
    }

    /// Begins a call in a frame of its own; returns the frame of the caller.
    pub(super) fn enter(&mut self, frame: Frame) -> FrameId {
        self.frames.push(frame);
        std::mem::replace(&mut self.current, self.frames.len() - 1)
    }

    /// Goes back to the frame of the caller.
    pub(super) fn leave(&mut self, caller: FrameId) {
        self.current = caller;
    }

    /// Drops what the names of a call stand for, unless a function defined in it may read them.
    pub(super) fn clear(&mut self, frame: FrameId) {
        if !self.closures.iter().any(|closure| closure.frame == frame) {
            self.frames[frame].names.clear();
        }
    }

    /// What a name is: local, enclosing, or global.
    pub(super) fn find(&self, name: &str) -> Found<'_> {
        let mut frame = Some(self.current);
        while let Some(id) = frame {
            let this = &self.frames[id];
            if let Some(value) = this.names.get(name) {
                return Found::Bound(value);
            }
            if this.lost.contains(name) {
                return Found::Lost;
            }
            if id != 0 && this.locals.contains(name) {
                return Found::Unassigned;
            }
            frame = this.parent;
        }
        Found::Unknown
    }

    /// The names that have values here, in the order of the alphabet.
    pub(super) fn visible(&self) -> BTreeSet<&str> {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        let mut frame = Some(self.current);
        while let Some(id) = frame {
            names.extend(self.frames[id].names.keys().map(String::as_str));
            frame = self.frames[id].parent;
        }
        names
    }

    /// What the names of the module stand for.
    pub(super) fn of_module(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.frames[0].names.iter()
    }

    /// What the names of the current call stand for.
    pub(super) fn bound(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.frames[self.current].names.iter()
    }

    /// What a name of the current call stands for.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.frames[self.current].names.get(name)
    }

    /// Binds a name of the current call.
    pub(super) fn bind(&mut self, name: &str, value: Value) {
        let frame = &mut self.frames[self.current];
        frame.lost.remove(name);
        frame.names.insert(name.to_owned(), value);
    }

    /// Binds a name of the current call again as it was before, or makes it have no value again.
    pub(super) fn restore(&mut self, name: &str, value: Option<&Value>) {
        let frame = &mut self.frames[self.current];
        match value {
            Some(value) => drop(frame.names.insert(name.to_owned(), value.clone())),
            None => drop(frame.names.remove(name)),
        }
    }

    /// A name of the current call stands for nothing from here on.
    pub(super) fn unbind(&mut self, name: &str) {
        self.frames[self.current].names.remove(name);
    }

    /// A name of the current call has no one value from here on.
    pub(super) fn lose(&mut self, name: &str) {
        let frame = &mut self.frames[self.current];
        frame.names.remove(name);
        frame.lost.insert(name.to_owned());
    }

    /// Which names of the current call are read later.
    pub(super) fn liveness(&self) -> &Rc<Liveness> {
        &self.frames[self.current].liveness
    }

    /// The state that a name of the current call is.
    pub(super) fn slot(&self, name: &str) -> Option<&Slot> {
        self.frames[self.current].carried.get(name)
    }

    /// Makes a name of the current call a state; returns the state that it was.
    pub(super) fn carry(&mut self, name: String, slot: Slot) -> Option<Slot> {
        self.frames[self.current].carried.insert(name, slot)
    }

    /// A name of the current call is no state from here on; returns the one that it was.
    pub(super) fn drop_slot(&mut self, name: &str) -> Option<Slot> {
        self.frames[self.current].carried.remove(name)
    }

    /// Takes the states away that names of arrays are in the current call.
    pub(super) fn set_arrays_aside(&mut self) -> BTreeMap<String, Slot> {
        let carried = std::mem::take(&mut self.frames[self.current].carried);
        let (aside, kept) = carried.into_iter().partition(|(_, slot)| slot.storage.is_some());
        self.frames[self.current].carried = kept;
        aside
    }

    /// Makes names of the current call the states again that they were.
    pub(super) fn take_back(&mut self, aside: BTreeMap<String, Slot>) {
        self.frames[self.current].carried.extend(aside);
    }

    /// A new function of the workload; returns its number.
    pub(super) fn define(&mut self, closure: Closure<'s>) -> usize {
        self.closures.push(closure);
        self.closures.len() - 1
    }

    /// A function of the workload.
    pub(super) fn closure(&self, id: usize) -> &Closure<'s> {
        &self.closures[id]
    }

    /// The number of the function with a body.
    pub(super) fn closure_of(&self, wanted: &[Stmt]) -> Option<usize> {
        self.closures.iter().position(|closure| match closure.body {
            Body::Statements(body) => std::ptr::eq(body, wanted),
            Body::Expression(_) => false,
        })
    }

    /// How many names, and values on their way to one, hold a piece of memory.
    pub(super) fn holders(&self, storage: Storage) -> usize {
        let holds = |value: &&Value| {
            let mut found = false;
            value.arrays(&mut |held| found |= held.storage == Some(storage));
            found
        };
        let names = self.frames.iter().flat_map(|frame| frame.names.values());
        let defaults = self.closures.iter().flat_map(|closure| closure.defaults.values());
        let pending = self.pending.iter().filter(|held| **held == storage).count();
        names.chain(defaults).filter(holds).count() + pending
    }

    /// How many pieces of memory are on their way to a name.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Notes the memory of a value that no name holds yet.
    pub(super) fn hold(&mut self, value: &Value) {
        value.arrays(&mut |array| self.pending.extend(array.storage));
    }

    /// A value reaches its name; `others` pieces of memory were pending before the values of its statement.
    pub(super) fn release(&mut self, value: &Value, others: usize) {
        value.arrays(&mut |array| {
            let own = self.pending[others..].iter().position(|&storage| array.storage == Some(storage));
            if let Some(own) = own {
                self.pending.remove(others + own);
            }
        });
    }

    /// All values of a statement have reached their names.
    pub(super) fn release_all(&mut self, others: usize) {
        self.pending.truncate(others);
    }
}
