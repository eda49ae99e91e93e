//! Runs a program: its statements on the states, then its results.
//!
//! Input: a verified program, its inputs. Output: the values of its roots. A statement's value is computed whole, with
//! everything else that holds a state's elements gone, before they are overwritten in place.

use super::blocks::by_blocks;
use super::bounds::Model;
use super::operators::evaluate;
use super::plan::{LARGE, Plan, Planner, Step, by_blocks_at_end, feeds_a_sum};
use super::value::{Numbers, Row, Store, Value, for_strided_rows, row_major};
use super::views::section;
use crate::integer::affine::Affine;
use crate::program::expr::{NodeId, Op, Program, SectionAxis, Shift};
use crate::value::dtype::DType;
use crate::value::numerics::Numerics;
use crate::value::tensor::Tensor;
use std::sync::Arc;

/// A node that lacks an argument.
type Lacking = NodeId;

/// The values of the program's roots.
pub(super) fn run(program: &Program, inputs: &[Tensor], numerics: Numerics) -> Result<Vec<Value>, Lacking> {
    let planner = Planner::new(program);
    let (sums, summed) = feeds_a_sum(program);
    let mut machine = Machine {
        program,
        numerics,
        sums,
        summed,
        inputs,
        loaded: vec![None; inputs.len()],
        states: program.states.iter().map(|state| undefined(state.dtype, &state.shape)).collect(),
        variables: Vec::new(),
        values: vec![None; program.nodes.len()],
        kept: vec![None; program.nodes.len()],
    };
    let steps = planner.steps(&program.body);
    machine.steps(&planner, &steps)?;
    drop(steps);
    machine.roots(&planner)
}

/// An array that nothing was stored to.
fn undefined(dtype: DType, shape: &[usize]) -> Value {
    let size = shape.iter().product();
    if dtype.is_float() {
        Value::floats(dtype, shape, vec![f64::NAN; size])
    } else {
        Value::ints(dtype, shape, vec![0; size])
    }
}

struct Machine<'p> {
    program: &'p Program,
    inputs: &'p [Tensor],
    /// Inputs as values, where several plans may read them.
    loaded: Vec<Option<Value>>,
    numerics: Numerics,
    /// For each node whether a sum asks for its Σ|terms|.
    sums: Vec<bool>,
    /// The same for each state.
    summed: Vec<bool>,
    states: Vec<Value>,
    /// The loop variables by number.
    variables: Vec<i64>,
    /// The values of the plan that is being evaluated.
    values: Vec<Option<Value>>,
    /// The values of nodes that never change.
    kept: Vec<Option<Value>>,
}

impl Machine<'_> {
    fn steps(&mut self, planner: &Planner<'_>, steps: &[Step<'_>]) -> Result<(), Lacking> {
        for step in steps {
            match step {
                Step::Update { state, region, shift, plan } => {
                    let value = self.value(planner, plan)?;
                    let moved = shift.as_ref().map_or(0, |shift| self.moved(shift));
                    self.update(*state, region, moved, value);
                }
                Step::Loop { var, lo, hi, body } => {
                    if self.variables.len() <= *var {
                        self.variables.resize(*var + 1, 0);
                    }
                    for value in self.at(lo)..self.at(hi) {
                        self.variables[*var] = value;
                        self.steps(planner, body)?;
                    }
                }
                Step::If { conditions, body } => {
                    if conditions.iter().all(|condition| self.at(condition) >= 0) {
                        self.steps(planner, body)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A form at the loop variables as they are.
    fn at(&self, form: &Affine) -> i64 {
        form.evaluate(|var| self.variables.get(var).copied().unwrap_or(0))
    }

    /// The results, when all statements were executed.
    fn roots(&mut self, planner: &Planner<'_>) -> Result<Vec<Value>, Lacking> {
        let mut plan = planner.plan(&self.program.roots, |node| self.kept[node].is_some());
        plan.blocked = by_blocks_at_end(self.program, &plan);
        if !plan.blocked.is_empty() {
            plan.kept.clear();
            return Ok(vec![self.value(planner, &plan)?]);
        }
        self.compute(&plan, &[])?;
        let found = |&root: &NodeId| self.values[root].clone().or_else(|| self.kept[root].clone()).ok_or(root);
        self.program.roots.iter().map(found).collect()
    }

    /// The value of a statement's plan.
    fn value(&mut self, planner: &Planner<'_>, plan: &Plan) -> Result<Value, Lacking> {
        for &node in &plan.kept {
            if self.kept[node].is_none() {
                let plan = planner.plan(&[node], |node| self.kept[node].is_some());
                self.compute(&plan, &[])?;
                self.kept[node] = self.values[node].take();
            }
        }
        let result = plan.results.first().copied().unwrap_or(0);
        let shape = self.shape(result);
        if plan.blocked.is_empty() || shape.iter().product::<usize>() < LARGE {
            self.compute(plan, &[])?;
            return self.values[result].take().or_else(|| self.kept[result].clone()).ok_or(result);
        }
        self.compute(plan, &plan.blocked)?;
        let outside = |node: NodeId| self.values[node].clone().or_else(|| self.kept[node].clone());
        let value = by_blocks(self.program, &plan.blocked, &shape, self.numerics, &self.sums, outside);
        for (node, _) in &plan.order {
            self.values[*node] = None;
        }
        value.ok_or(result)
    }

    /// The shape of a node as the loop variables are.
    fn shape(&self, node: NodeId) -> Vec<usize> {
        let node = &self.program.nodes[node];
        if node.live.is_empty() {
            return node.shape.clone();
        }
        node.live.iter().map(|form| usize::try_from(self.at(form)).unwrap_or(0)).collect()
    }

    /// Evaluates a plan whose kept nodes are there, but for nodes that are computed elsewhere, in ascending order.
    fn compute(&mut self, plan: &Plan, except: &[NodeId]) -> Result<(), Lacking> {
        for (id, done) in &plan.order {
            if except.binary_search(id).is_ok() {
                continue;
            }
            let node = &self.program.nodes[*id];
            let value = |&arg: &NodeId| self.values[arg].clone().or_else(|| self.kept[arg].clone());
            let args: Vec<Value> = node.args.iter().filter_map(value).collect();
            for &node in done {
                self.values[node] = None;
            }
            let shape = &self.shape(*id);
            let value = if let Op::Input(at) = &node.op {
                self.input(*at)
            } else if let Op::State(at) = &node.op {
                self.states.get(*at).cloned()
            } else if let Op::LoopIndex(form) = &node.op {
                Some(Value::ints(node.dtype, &[], vec![self.at(form)]))
            } else if let Op::Section(axes) = &node.op {
                args.first().map(|a| section(a, axes, shape, |form| self.at(form)))
            } else {
                evaluate(&node.op, shape, node.dtype, args, self.numerics, self.sums[*id])
            };
            self.values[*id] = Some(value.ok_or(*id)?);
        }
        Ok(())
    }

    /// An input as a value. A program without statements has one plan, which reads each input once: it goes after that.
    fn input(&mut self, at: usize) -> Option<Value> {
        if let Some(value) = self.loaded.get(at)? {
            return Some(value.clone());
        }
        let value = Value::of_tensor(self.inputs.get(at)?);
        if !self.program.body.is_empty() {
            self.loaded[at] = Some(value.clone());
        }
        Some(value)
    }

    /// How far an update is moved as the states are.
    fn moved(&self, shift: &Shift) -> isize {
        let by = &self.states[shift.by];
        let held = match &by.store.numbers {
            Numbers::Int(all) => all.get(by.offset.cast_unsigned()).copied().unwrap_or(0),
            // The verifier holds the distance to an i64.
            Numbers::Float(_) => 0,
        };
        isize::try_from(shift.distance(held)).unwrap_or(0)
    }

    /// `state[region] = value`, the region moved by so many elements of the ravel: states are row-major.
    fn update(&mut self, state: usize, region: &[SectionAxis], moved: isize, value: Value) {
        let target = section(&self.states[state], region, &value.shape, |form| self.at(form));
        let (offset, strides) = (target.offset + moved, target.strides.clone());
        drop(target);
        let whole = value.shape == self.states[state].shape;
        let current = &mut self.states[state];
        let mut value = if Arc::ptr_eq(&value.store, &current.store) {
            let copy = copied(&value);
            drop(value);
            copy
        } else {
            value
        };
        cut(&mut value);
        let traits = value.traits;
        let wanted = self.summed[state] && self.numerics != Numerics::Exact;
        let sums = if wanted { sums(&value) } else { None };
        let fresh = Arc::strong_count(&value.store) == 1;
        if whole && fresh && offset == 0 && strides == current.strides && value.is_dense() {
            // Nobody else has it: it becomes the state.
            let Value { store, dtype, shape, .. } = value;
            let (magnitude, additions) = sums.unzip();
            match Arc::try_unwrap(store).map(|store| Store { magnitude, additions, ..store }) {
                Ok(store) => *current = Value { traits, ..Value::new(dtype, &shape, store) },
                Err(store) => current.store = store,
            }
            return;
        }
        if Arc::get_mut(&mut current.store).is_none() {
            *current = copied(current);
        }
        current.traits = current.traits.joined(traits);
        let Some(store) = Arc::get_mut(&mut current.store) else { return };
        match (&value.store.numbers, &mut store.numbers) {
            (Numbers::Float(from), Numbers::Float(to)) => overwrite(&value, from, to, offset, &strides),
            (Numbers::Int(from), Numbers::Int(to)) => overwrite(&value, from, to, offset, &strides),
            // The verifier holds updates to the state's dtype.
            (Numbers::Float(_), Numbers::Int(_)) | (Numbers::Int(_), Numbers::Float(_)) => {}
        }
        let size = store.numbers.len();
        let known = store.magnitude.is_some();
        if let (Numbers::Float(all), true) = (&store.numbers, wanted && (known || sums.is_some())) {
            let magnitude = store.magnitude.get_or_insert_with(|| all.iter().map(|x| x.abs()).collect());
            let additions = store.additions.get_or_insert_with(|| vec![0.0; size]);
            let (new, added) = sums.unwrap_or_else(|| (magnitudes(&value), vec![0.0; value.size()]));
            let dense = value.view(value.shape.clone(), row_major(&value.shape), 0);
            overwrite(&dense, &new, magnitude, offset, &strides);
            overwrite(&dense, &added, additions, offset, &strides);
        }
        match (&value.store.bound, &mut store.bound) {
            (Some(from), to) => {
                let to = to.get_or_insert_with(|| vec![0.0; size]);
                overwrite(&value, from, to, offset, &strides);
            }
            (None, Some(to)) => {
                let zero = value.view(value.shape.clone(), vec![0; value.shape.len()], 0);
                overwrite(&zero, &[0.0], to, offset, &strides);
            }
            (None, None) => {}
        }
    }
}

/// What later sums have to know of sums that a state holds, in row-major order: Σ|terms| and the additions behind each.
/// None if no element is a sum. A Σ|terms| ends at the largest number, and where arithmetic on it stays finite.
fn sums(value: &Value) -> Option<(Vec<f64>, Vec<f64>)> {
    let magnitude = value.store.magnitude.as_ref().filter(|_| value.is_sum())?;
    let limit = Model::new(value.dtype, Numerics::Reassociate).largest.min(f64::MAX.sqrt());
    let own = value.terms - 1.0;
    let additions = match &value.store.additions {
        Some(all) => value.gather(all).into_iter().map(|before| before + own).collect(),
        None => vec![own; value.size()],
    };
    Some((value.gather(magnitude).into_iter().map(|magnitude| magnitude.min(limit)).collect(), additions))
}

/// The magnitudes of elements that are no sums, in row-major order.
fn magnitudes(value: &Value) -> Vec<f64> {
    match &value.store.numbers {
        Numbers::Float(all) => value.gather(all).into_iter().map(f64::abs).collect(),
        Numbers::Int(_) => Vec::new(),
    }
}

/// Keeps the bounds of a fresh value where arithmetic on them stays finite: a recurrence may multiply them in every
/// step. Such a bound is far above the value; that it was cut is no claim that anybody could miss. Where the value itself
/// is as large nothing can be claimed.
fn cut(value: &mut Value) {
    let Some(Store { numbers, bound: Some(bounds), .. }) = Arc::get_mut(&mut value.store) else { return };
    let limit = cut_at(value.dtype);
    match numbers {
        Numbers::Float(numbers) => {
            for (bound, z) in bounds.iter_mut().zip(numbers) {
                if *bound > limit && *bound < f64::INFINITY {
                    *bound = match z.abs() {
                        z if z <= limit => limit,
                        z if *bound < z => *bound,
                        _ => f64::NAN,
                    };
                }
            }
        }
        Numbers::Int(_) => bounds.iter_mut().filter(|bound| bound.is_nan()).for_each(|bound| *bound = f64::INFINITY),
    }
}

/// Where the bound of an element that a state holds ends: the fourth root of the largest number of `dtype`.
pub fn cut_at(dtype: DType) -> f64 {
    Model::new(dtype, Numerics::Reassociate).largest.sqrt().sqrt()
}

/// The same elements in memory of their own. That they are sums of this statement is over.
fn copied(value: &Value) -> Value {
    Value { traits: value.traits, ..Value::new(value.dtype, &value.shape, value.gathered_store()) }
}

/// Copies the elements of a view into others.
fn overwrite<T: Copy>(from: &Value, all: &[T], to: &mut [T], offset: isize, strides: &[isize]) {
    let mut scratch = Vec::new();
    let operands = [(from.offset, from.strides.as_slice()), (offset, strides)];
    for_strided_rows(&from.shape, operands, |length, [from, into]: [Row; 2]| {
        let row = from.read(all, length, &mut scratch);
        if into.stride == 1 {
            let start = into.start.cast_unsigned();
            to[start..start + length].copy_from_slice(row);
            return;
        }
        for (i, from) in (0isize..).zip(row) {
            to[(into.start + i * into.stride).cast_unsigned()] = *from;
        }
    });
}
