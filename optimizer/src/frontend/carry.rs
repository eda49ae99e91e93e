//! What a loop carries from one iteration to the next, and what a condition's branches agree on.
//!
//! A function is read several times. A name that a loop's body rebinds, and that is read later, must be one state for
//! all iterations, whose type is known when the body was read: the next reading makes it one. The same holds of memory
//! that is written to after it was made. [`super::facts::Facts`] is what one reading tells the next; when it tells nothing new, the
//! reading counts.

use super::emit::{fixed, show};
use super::evaluate::Evaluator;
use super::facts::Carried;
use super::frames::Slot;
use super::number::Number;
use super::open::Open;
use super::place::{Here, INSTANCES};
use super::twins::Twins;
use super::value::{Arg, Array, Eval, Storage, Value, is_memory, same};
use crate::program::expr::{NodeId, Span};
use crate::value::dtype::DType;
use std::collections::{BTreeMap, BTreeSet};

/// The memory of carried names is numbered from here.
const CARRIED: Storage = 1 << 62;

/// What branches come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Those of a condition.
    Condition,
    /// The iterations of a loop, whose names are carried.
    Loop,
    /// Those of a loop that is read copy by copy, so that only numbers are carried.
    Unrolled,
}

/// An open loop or condition: the names that it may rebind.
pub(super) struct Join {
    pub(super) number: usize,
    /// The same for its memory.
    site: usize,
    /// It is a loop that is read copy by copy: its arrays are not carried.
    unrolled: bool,
    /// Where it stands, as liveness knows it.
    place: Span,
    /// Names that it assigns somewhere.
    names: BTreeSet<String>,
    /// What they were before, or the states they became.
    before: BTreeMap<String, Value>,
    /// Names that became states here, with what they were in an enclosing one.
    opened: Vec<(String, Option<Slot>)>,
}

impl Evaluator<'_> {
    /// Begins a loop or condition that assigns `names`, of the number that `here` is.
    pub(super) fn open_join(&mut self, names: BTreeSet<String>, place: Span, here: Here, kind: Kind) -> Join {
        let number = here.copy;
        self.control.count_join();
        let (is_loop, unrolled) = (kind != Kind::Condition, kind == Kind::Unrolled);
        self.control.push_open(Open {
            number,
            frame: self.names.frame(),
            is_loop,
            unrolled,
            place: place.start,
            names: names.clone(),
            began: 0,
            before: Twins::default(),
            after: Twins::default(),
        });
        let before = BTreeMap::new();
        let mut join = Join { number, site: here.site, unrolled, place, names, before, opened: Vec::new() };
        for name in join.names.clone() {
            let fact = self.learned.facts.carried.get(&(number, name.clone())).cloned();
            let held = self.names.value(&name);
            let is_memory = |carried: &Carried| !carried.shape.is_empty() || held.is_some_and(is_memory);
            let fact = fact.filter(|carried| !(unrolled && is_memory(carried)));
            let fact = fact.map(|carried| self.as_held(number, &name, carried));
            // One state of an enclosing loop serves here too.
            let outer = self.names.slot(&name).map(|slot| slot.carried.clone());
            if let Some(carried) = fact.filter(|carried| outer.as_ref() != Some(carried))
                && let Ok(slot) = self.open_slot(&join, &name, carried)
            {
                self.bind(&name, slot.value.clone());
                let outer = self.names.carry(name.clone(), slot);
                join.opened.push((name.clone(), outer));
            }
            if let Some(value) = self.names.value(&name) {
                join.before.insert(name, value.clone());
            }
        }
        if let Some(known) = self.learned.facts.twins.get(&(number, unrolled)).filter(|_| is_loop) {
            self.store.twins_mut().join(known);
        }
        let (began, before) = (self.store.clock(), self.store.twins().clone());
        if let Some(open) = self.control.innermost_mut() {
            (open.began, open.before) = (began, before);
        }
        join
    }

    /// The type of a carried name that what it holds fits, where there is one: earlier readings may not have known all
    /// that it holds.
    fn as_held(&mut self, number: usize, name: &str, carried: Carried) -> Carried {
        let held = self.names.value(name);
        let held = held.filter(|held| !self.fits(&carried, held)).and_then(|held| self.type_of(held));
        match held.and_then(|held| merge(&held, &carried)) {
            Some(merged) => {
                self.learned.facts.carried.insert((number, name.to_owned()), merged.clone());
                merged
            }
            None => carried,
        }
    }

    /// Makes a name a state that holds what the name was.
    fn open_slot(&mut self, join: &Join, name: &str, carried: Carried) -> Eval<Slot> {
        let span = join.place;
        let before = self.names.value(name).cloned();
        let held = match &before {
            Some(Value::Array(array)) => array.storage,
            Some(_) | None => None,
        };
        // The same in every reading, whatever became a state before.
        let index = join.names.iter().position(|other| other == name).unwrap_or(0);
        let first = CARRIED + (join.site << 24) + (index << INSTANCES);
        let storage = self.free_instance(first, carried.dtype, &carried.shape, held);
        let reused = self.store.reusable(storage);
        let state = reused.unwrap_or_else(|| self.store.new_state(Some(name), carried.dtype, carried.shape.clone()));
        if self.control.is_unrolled() {
            self.store.reuse(storage, state);
        }
        let node = self.state_node(state, span)?;
        self.store.set_state(storage, state);
        self.store.open_slot(state, storage);
        self.store.set_merged(storage, self.loops_around(name));
        let is_array = !carried.shape.is_empty();
        let value = if carried.weak {
            Value::Weak(node)
        } else {
            Value::Array(Array {
                node,
                storage: is_array.then_some(storage),
                writable: !carried.read_only,
                number: carried.number,
            })
        };
        let slot = Slot { state, carried, value, storage: is_array.then_some(storage) };
        match before {
            None | Some(Value::Poison) => self.store.made_now(storage),
            Some(before) => {
                if held != Some(storage) {
                    self.store.made_now(storage);
                    self.opened_with(storage, &before);
                }
                let arg = Arg { value: before, span };
                if !self.fits(&slot.carried, &arg.value) {
                    let (held, kept) = (self.describe_type(&arg.value), show_carried(&slot.carried));
                    let message = format!("'{name}' holds {held} before the loop or condition and {kept} after it");
                    let help = "give it one shape and dtype from the beginning, as in s = np.float32(0) or \
                                s = np.zeros(N), or use another name";
                    return Err(self.error(span, message, Some(help)));
                }
                let value = self.at_slot(&slot.carried, &arg)?;
                if value != node {
                    self.update_whole(slot.state, value, span)?;
                }
            }
        }
        Ok(slot)
    }

    /// Carried memory begins as a copy of a value that a name holds.
    fn opened_with(&mut self, storage: Storage, before: &Value) {
        let Value::Array(array) = before else { return };
        let Some(memory) = array.storage else { return };
        let shared = self.store.is_parameter(memory) || self.holders(array) > 1;
        self.twin(storage, memory);
        if !shared {
            self.store.twins_mut().forget(memory);
        }
    }

    /// Whether a value can be stored in a carried name as it is.
    pub(super) fn fits(&self, carried: &Carried, value: &Value) -> bool {
        match (self.type_of(value), carried.weak) {
            (None, _) => false,
            (Some(found), true) => found.weak && rank(found.dtype) <= rank(carried.dtype),
            (Some(found), false) if found.weak => {
                carried.number && carried.shape.is_empty() && kind_fits(found.dtype, carried.dtype)
            }
            (Some(found), false) => {
                (&found.shape, found.dtype) == (&carried.shape, carried.dtype)
                    && (carried.read_only || !found.read_only)
                    && (carried.number || !found.number)
            }
        }
    }

    /// A value that fits, as a node of the carried type.
    pub(super) fn at_slot(&mut self, carried: &Carried, arg: &Arg) -> Eval<NodeId> {
        let operand = self.operand(arg, "an assignment")?;
        self.at_dtype(&operand, carried.dtype, arg.span)
    }

    /// The type that a name with this value would be carried as; `None` of anything but fixed arrays and numbers.
    fn type_of(&self, value: &Value) -> Option<Carried> {
        let weak =
            |dtype: DType| Some(Carried { dtype, shape: Vec::new(), weak: true, read_only: false, number: false });
        match value {
            Value::Number(Number::Bool(_)) | Value::Condition(_) => weak(DType::Bool),
            Value::Number(Number::Int(_)) | Value::Affine(_) => weak(DType::I64),
            Value::Number(Number::Float(_)) => weak(DType::F64),
            Value::Weak(node) => weak(self.dtype(*node)),
            Value::Array(array) => {
                let shape = fixed(&self.extents(array.node))?;
                let (dtype, read_only) = (self.dtype(array.node), !array.writable);
                Some(Carried { dtype, shape, weak: false, read_only, number: array.number })
            }
            _ => None,
        }
    }

    fn describe_type(&self, value: &Value) -> String {
        match (self.type_of(value), value) {
            (Some(found), _) => show_carried(&found),
            (None, Value::Array(array)) => {
                format!("{}{}", self.dtype(array.node), self.show_extents(&self.extents(array.node)))
            }
            (None, other) => self.describe(other),
        }
    }

    /// Ends an iteration or a branch: what names became is told to the next reading. `always`: the body was surely run.
    pub(super) fn close_branch(&mut self, join: &Join, always: bool) {
        let mut moved = Vec::new();
        for name in &join.names {
            let (before, after) = (join.before.get(name), self.names.value(name).cloned());
            let Some(after) = after else { continue };
            if matches!(after, Value::Poison) || before.is_some_and(|before| same(before, &after)) {
                continue;
            }
            if join.unrolled && is_memory(&after) {
                continue;
            }
            let liveness = self.names.liveness().clone();
            if !liveness.is_read_after(join.place.start, name) {
                continue;
            }
            if always && !liveness.is_exposed(join.place.start, name) && self.is_unchanging(&after) {
                continue;
            }
            // It is another state that holds what fits: that of a condition in the loop.
            if let Some(slot) = self.names.slot(name).cloned()
                && self.fits(&slot.carried, &after)
            {
                moved.push((name.clone(), after));
                continue;
            }
            let before = before.cloned();
            self.carry(join, name, before.as_ref(), &after);
        }
        self.stored_together(moved, join.place);
        let twins = self.store.twins().clone();
        if let Some(open) = self.control.innermost_mut() {
            open.after.join(&twins);
        }
    }

    /// Assigns names that are states; all the values are there before the first is stored.
    pub(super) fn stored_together(&mut self, mut moved: Vec<(String, Value)>, span: Span) {
        for (_, value) in moved.iter_mut().skip(1) {
            if let Value::Array(array) = value {
                *value = self.copied_array(array, span).map_or(Value::Poison, Value::Array);
            }
        }
        for (name, value) in moved {
            self.assign_name(&name, &Arg { value, span });
        }
    }

    /// Notes that a name must be carried.
    fn carry(&mut self, join: &Join, name: &str, before: Option<&Value>, after: &Value) {
        let help = "give it one shape and dtype in all iterations and branches, or use another name";
        // Where a name holds another type after some iterations, those can come before the loop.
        let loops = self.loops_around(name).into_iter().collect();
        let Some(found) = self.type_of(after) else {
            if is_memory(after) && self.learned.unroll(&loops, true) {
                return;
            }
            let what = self.describe_type(after);
            let message = format!("'{name}' is rebound to {what} in a loop or condition and read later");
            self.error(join.place, message, Some(help));
            self.bind(name, Value::Poison);
            return;
        };
        let key = (join.number, name.to_owned());
        let type_before = before.and_then(|before| self.type_of(before));
        let known = self.learned.facts.carried.get(&key).cloned();
        let merged = match (&known, &type_before) {
            (Some(other), _) | (None, Some(other)) => merge(other, &found),
            (None, None) => Some(found.clone()),
        };
        match merged {
            Some(merged) if known.as_ref() != Some(&merged) => drop(self.learned.facts.carried.insert(key, merged)),
            _ if self.learned.unroll(&loops, true) => {}
            _ => {
                let held = known.or(type_before).map_or_else(String::new, |held| show_carried(&held));
                let what = show_carried(&found);
                let message = format!("'{name}' holds {held} before the loop or condition and {what} after it");
                self.error(join.place, message, Some(help));
                self.bind(name, Value::Poison);
            }
        }
    }

    /// Whether a value is the same in every iteration and at all times.
    fn is_unchanging(&self, value: &Value) -> bool {
        match value {
            Value::Array(array) | Value::Method(array, _) => {
                !self.graph.reads_state(array.node) && !self.graph.in_loop(array.node)
            }
            Value::Weak(node) => !self.graph.reads_state(*node) && !self.graph.in_loop(*node),
            Value::Affine(_) | Value::Condition(_) | Value::Range(_) | Value::Poison => false,
            Value::Tuple(items) | Value::List(items) => items.iter().all(|item| self.is_unchanging(item)),
            Value::None
            | Value::Ellipsis
            | Value::Number(_)
            | Value::Str(_)
            | Value::DType(_)
            | Value::ScalarType(_)
            | Value::Module(_)
            | Value::Function(_)
            | Value::Ufunc(..)
            | Value::Closure(_)
            | Value::Builtin(_)
            | Value::Annotation => true,
        }
    }

    /// Restores the names as they were before, for the next branch.
    pub(super) fn next_branch(&mut self, join: &Join) {
        if let Some(open) = self.control.open().last() {
            *self.store.twins_mut() = open.before.clone();
        }
        for name in &join.names {
            self.names.restore(name, join.before.get(name));
        }
    }

    /// Ends a loop or condition: names that it changed and that are not carried have no value after it. `always`: the
    /// body was surely run.
    pub(super) fn close_join(&mut self, join: Join, always: bool) {
        let liveness = self.names.liveness().clone();
        if let Some(open) = self.control.pop_open() {
            *self.store.twins_mut() = open.before;
            self.store.twins_mut().join(&open.after);
            if open.is_loop && !open.after.is_empty() {
                self.learned.facts.twins.entry((join.number, join.unrolled)).or_default().join(&open.after);
            }
        }
        for name in &join.names {
            let (before, after) = (join.before.get(name), self.names.value(name));
            if join.unrolled && after.is_some_and(is_memory) {
                continue;
            }
            let unchanged = match (before, after) {
                (Some(before), Some(after)) => same(before, after),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            let in_error = after.is_some_and(|after| matches!(after, Value::Poison));
            let settled = always
                && after.is_some_and(|after| self.is_unchanging(after))
                && !liveness.is_exposed(join.place.start, name);
            let stays = unchanged || in_error || settled;
            if !stays {
                self.names.lose(name);
            }
        }
        for (name, outer) in join.opened.into_iter().rev() {
            let closed = self.names.drop_slot(&name);
            if let Some(slot) = closed {
                self.store.close_slot(slot.state);
                // Where the body may not have run, the name may hold what it held before.
                let held = self.names.value(&name);
                if !always && held.is_some_and(|held| same(held, &slot.value)) {
                    self.bind(&name, slot.value);
                }
            }
            if let Some(outer) = outer {
                self.names.carry(name, outer);
            }
        }
    }
}

fn show_carried(carried: &Carried) -> String {
    if carried.weak {
        return format!(
            "a Python {}",
            match carried.dtype {
                DType::Bool => "bool",
                dtype if dtype.is_int() => "int",
                _ => "float",
            }
        );
    }
    if carried.shape.is_empty() {
        carried.dtype.to_string()
    } else {
        format!("{}{}", carried.dtype, show(&carried.shape))
    }
}

/// The order of Python's numbers: bool, int, float.
fn rank(dtype: DType) -> u8 {
    if dtype.is_float() {
        2
    } else if dtype.is_int() {
        1
    } else {
        0
    }
}

/// Whether a Python number of a kind takes the dtype of a NumPy scalar beside it.
fn kind_fits(number: DType, strong: DType) -> bool {
    rank(number) <= rank(strong)
}

/// The type of a name that has one type before and another after an iteration.
fn merge(before: &Carried, after: &Carried) -> Option<Carried> {
    let read_only = before.read_only || after.read_only;
    let number = before.number || after.number;
    let begins_as_number = |scalar: &Carried| Some(Carried { number: true, ..scalar.clone() });
    match (before.weak, after.weak) {
        (false, false) if (&before.shape, before.dtype) == (&after.shape, after.dtype) => {
            Some(Carried { read_only, number, ..after.clone() })
        }
        (true, true) => Some(if rank(before.dtype) >= rank(after.dtype) { before.clone() } else { after.clone() }),
        // The second time round NumPy computes with the strong one.
        (true, false) if after.shape.is_empty() && kind_fits(before.dtype, after.dtype) => begins_as_number(after),
        (false, true) if before.shape.is_empty() && kind_fits(after.dtype, before.dtype) => begins_as_number(before),
        (true | false, true | false) => None,
    }
}
