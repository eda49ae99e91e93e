//! Checks an array program: every node's arguments, shape and dtype against its operator's definition, and every
//! statement and section against the arrays and the loops around it.
//!
//! Input: a [`Program`]. Output: nothing, or the first thing that is not well-formed. The definitions are in
//! [`crate::program::types`]; no code is shared with the stages that make programs. That a form in loop variables is in
//! bounds must be proven ([`crate::integer::affine_domain`]); what is not proven is refused.

use crate::integer::affine::Affine;
use crate::integer::affine_domain::{Domain, LoopRange};
use crate::program::expr::{Node, NodeId, Op, Program, SectionAxis, Shift, Statement};
use crate::program::types::{LiveType, live_result_type};
use crate::value::dtype::DType;
use crate::value::scalar::FoldOp;
use std::collections::BTreeSet;

/// Statements nest at most this deep.
const MAX_NESTING: usize = 100;

/// Coefficients, constants and steps are below this, so that arithmetic on them cannot overflow.
const MAX_COEFFICIENT: u64 = 1 << 41;

/// What is wrong with a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A node contradicts its operator's definition, or its use.
    #[error("node {node} ({op}): {reason}")]
    Node {
        /// The node.
        node: NodeId,
        /// Its operator.
        op: String,
        /// What does not hold.
        reason: String,
    },
    /// A root is not a node, or there is none, or a changed parameter has none.
    #[error("the program's roots {roots:?} are not nodes of it")]
    Roots {
        /// The roots.
        roots: Vec<NodeId>,
    },
    /// A state, a parameter said to be changed, or a statement is not well-formed.
    #[error("{what}: {reason}")]
    Statement {
        /// Which one.
        what: String,
        /// What does not hold.
        reason: String,
    },
}

/// Checks that `program` is well-formed.
///
/// # Errors
/// The first node, state, statement or root, in this order, that is not.
pub fn verify(program: &Program) -> Result<(), VerifyError> {
    for (id, node) in program.nodes.iter().enumerate() {
        check_node(program, id, node).map_err(|reason| bad_node(program, id, reason))?;
    }
    check_states(program)?;
    let mut walk =
        Walk { program, domain: Domain::default(), loops: 0, visited: vec![0; program.nodes.len()], round: 0 };
    walk.block(&program.body, 0)?;
    let returned = program.roots.len().checked_sub(program.mutated.len() + program.checks.len());
    let roots_exist = program.roots.iter().all(|&root| root < program.nodes.len());
    let as_returned = returned.is_some_and(|returned| returned == 1 || program.returns_tuple == (returned > 0));
    let checks = &program.roots[program.roots.len().saturating_sub(program.checks.len())..];
    let is_check =
        |root: &NodeId| program.nodes.get(*root).is_some_and(|node| node.dtype == DType::Bool && node.shape.is_empty());
    if !checks.iter().all(is_check) || program.roots.len() == checks.len() {
        return Err(VerifyError::Roots { roots: program.roots.clone() });
    }
    if program.roots.is_empty() || !roots_exist || !as_returned {
        return Err(VerifyError::Roots { roots: program.roots.clone() });
    }
    program.roots.iter().try_for_each(|&root| walk.uses(root))
}

/// What holds, or why it does not.
type Check = Result<(), String>;

fn ensure(holds: bool, reason: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(reason()) }
}

fn bad_node(program: &Program, node: NodeId, reason: String) -> VerifyError {
    VerifyError::Node { node, op: format!("{:?}", program.nodes[node].op), reason }
}

/// What holds of a node wherever it is used.
fn check_node(program: &Program, id: NodeId, node: &Node) -> Check {
    ensure(node.args.iter().all(|&arg| arg < id), || format!("its arguments {:?} do not all come before", node.args))?;
    let args: Vec<LiveType> = node.args.iter().map(|&arg| LiveType::of(&program.nodes[arg])).collect();
    ensure(DType::SUPPORTED.contains(&node.dtype), || format!("the dtype {} is not supported", node.dtype))?;
    ensure(node.live.is_empty() || node.live.len() == node.shape.len(), || {
        format!("{} live extents for the shape {:?}", node.live.len(), node.shape)
    })?;
    node.live.iter().try_for_each(small)?;
    if let Op::LoopIndex(form) = &node.op {
        small(form)?;
    }
    if let Op::Section(axes) = &node.op {
        check_section(axes)?;
    }
    let stored = if let Op::Input(at) = &node.op {
        let param = program.params.get(*at).ok_or_else(|| format!("there is no parameter {at}"))?;
        Some((&param.shape, param.dtype))
    } else if let Op::State(at) = &node.op {
        let state = program.states.get(*at).ok_or_else(|| format!("there is no state {at}"))?;
        Some((&state.shape, state.dtype))
    } else {
        None
    };
    if let Some((shape, dtype)) = stored {
        ensure(*shape == node.shape && node.live.is_empty(), || {
            format!("the shape is {shape:?}, not {:?}", node.shape)
        })?;
        ensure(dtype == node.dtype, || format!("the dtype is {dtype}, not {}", node.dtype))?;
    }
    let declared = LiveType::of(node);
    let found = live_result_type(&node.op, &args.iter().collect::<Vec<_>>(), &declared)?;
    ensure(found.extents == declared.extents, || {
        format!("the shape is {}, not {}", show(&found.extents), show(&declared.extents))
    })?;
    ensure(found.dtype == node.dtype, || format!("the dtype is {}, not {}", found.dtype, node.dtype))
}

/// A shape; forms where it depends on loops.
fn show(extents: &[Affine]) -> String {
    let forms: Vec<String> = extents.iter().map(name).collect();
    format!("[{}]", forms.join(", "))
}

fn name(form: &Affine) -> String {
    form.display(|var| format!("v{var}"))
}

fn small(form: &Affine) -> Check {
    let fits = form.constant.unsigned_abs() < MAX_COEFFICIENT
        && form.terms.len() <= MAX_NESTING
        && form.terms.iter().all(|term| term.1.unsigned_abs() < MAX_COEFFICIENT && term.1 != 0)
        && form.terms.windows(2).all(|pair| pair[0].0 < pair[1].0);
    ensure(fits, || format!("the form {form:?} is not in order or too large"))
}

fn check_section(axes: &[SectionAxis]) -> Check {
    axes.iter().try_for_each(|axis| match axis {
        SectionAxis::Slice { start, step } => {
            ensure(step.unsigned_abs() < 1 << 20, || format!("the step {step} is too large"))?;
            small(start)
        }
        SectionAxis::At(at) => small(at),
    })
}

fn check_states(program: &Program) -> Result<(), VerifyError> {
    let mut names = BTreeSet::new();
    for state in &program.states {
        let size = state.shape.iter().try_fold(1_usize, |size, &extent| size.checked_mul(extent.max(1)));
        let reason = if !names.insert(&state.name) {
            "another state has its name".to_owned()
        } else if !DType::SUPPORTED.contains(&state.dtype) {
            format!("the dtype {} is not supported", state.dtype)
        } else if size.is_none_or(|size| size as u64 >= MAX_COEFFICIENT) {
            format!("the shape {:?} is too large", state.shape)
        } else {
            continue;
        };
        return Err(VerifyError::Statement { what: format!("state {}", state.name), reason });
    }
    let mut seen = BTreeSet::new();
    for &param in &program.mutated {
        if param >= program.params.len() || !seen.insert(param) {
            let reason = "it is no parameter, or occurs twice".to_owned();
            return Err(VerifyError::Statement { what: format!("the changed parameter {param}"), reason });
        }
    }
    Ok(())
}

/// The statements in order, with what is known of the loop variables.
struct Walk<'p> {
    program: &'p Program,
    domain: Domain,
    /// The number of loops so far.
    loops: usize,
    /// For each node the last round in which it was checked.
    visited: Vec<usize>,
    round: usize,
}

impl Walk<'_> {
    fn block(&mut self, statements: &[Statement], depth: usize) -> Result<(), VerifyError> {
        statements.iter().try_for_each(|statement| self.statement(statement, depth))
    }

    fn statement(&mut self, statement: &Statement, depth: usize) -> Result<(), VerifyError> {
        match statement {
            Statement::Update { state, region, shift, value, .. } => {
                let target = self.program.states.get(*state).map(|state| state.name.clone());
                let what = || format!("the update of {}", target.clone().unwrap_or_else(|| format!("state {state}")));
                self.update(*state, region, *value)
                    .and_then(|()| shift.as_ref().map_or(Ok(()), |shift| self.shift(*state, region, shift)))
                    .map_err(|reason| VerifyError::Statement { what: what(), reason })?;
                self.uses(*value)
            }
            Statement::Loop { var, name: python, lo, hi, body } => {
                self.bounds(*var, lo, hi, depth)
                    .map_err(|reason| VerifyError::Statement { what: format!("the loop over {python}"), reason })?;
                self.domain.loops.push(LoopRange { var: *var, lo: lo.clone(), hi: hi.clone() });
                self.block(body, depth + 1)?;
                self.domain.loops.pop();
                Ok(())
            }
            Statement::If { conditions, body } => {
                let checked = conditions.iter().try_for_each(|condition| self.bound(condition));
                checked
                    .and_then(|()| ensure(depth < MAX_NESTING, || "it is nested too deeply".to_owned()))
                    .map_err(|reason| VerifyError::Statement { what: "a condition".to_owned(), reason })?;
                let outer = self.domain.conditions.len();
                self.domain.conditions.extend(conditions.iter().cloned());
                self.block(body, depth + 1)?;
                self.domain.conditions.truncate(outer);
                Ok(())
            }
        }
    }

    fn bounds(&mut self, var: usize, lo: &Affine, hi: &Affine, depth: usize) -> Check {
        ensure(depth < MAX_NESTING, || "it is nested too deeply".to_owned())?;
        ensure(var == self.loops, || format!("its variable is {var}, not {}", self.loops))?;
        self.loops += 1;
        self.bound(lo)?;
        self.bound(hi)
    }

    /// A form's variables are those of loops around.
    fn bound(&self, form: &Affine) -> Check {
        small(form)?;
        ensure(self.domain.binds(form), || format!("{} is outside of its loops", name(form)))
    }

    fn update(&self, state: usize, region: &[SectionAxis], value: NodeId) -> Check {
        let state = self.program.states.get(state).ok_or("there is no such state")?;
        let value = self.program.nodes.get(value).ok_or_else(|| format!("the value {value} is no node"))?;
        check_section(region)?;
        ensure(value.dtype == state.dtype, || format!("{} is stored in {}", value.dtype, state.dtype))?;
        ensure(region.len() == state.shape.len(), || {
            format!("{} subscripts of the shape {:?}", region.len(), state.shape)
        })?;
        self.inside(region, &crate::program::expr::constants(&state.shape), &value.extents())
    }

    fn shift(&self, state: usize, region: &[SectionAxis], shift: &Shift) -> Check {
        let by = self.program.states.get(shift.by).ok_or("there is no state that it is moved by")?;
        let shape = &self.program.states.get(state).ok_or("there is no such state")?.shape;
        ensure(by.dtype == DType::I64 && by.shape.is_empty() && shift.by != state, || {
            format!("it cannot be moved by {}", by.name)
        })?;
        let still: Vec<bool> = region.iter().map(|axis| *axis == SectionAxis::At(Affine::constant(0))).collect();
        ensure(shift.fits(shape, &still), || format!("moved by {} it may leave the shape {shape:?}", shift.last))
    }

    /// Checks all nodes that a value is computed from, at this place.
    fn uses(&mut self, value: NodeId) -> Result<(), VerifyError> {
        if self.domain.is_empty() {
            return Ok(());
        }
        self.round += 1;
        let mut open = vec![value];
        while let Some(id) = open.pop() {
            if std::mem::replace(&mut self.visited[id], self.round) == self.round {
                continue;
            }
            let node = &self.program.nodes[id];
            self.used(node).map_err(|reason| bad_node(self.program, id, reason))?;
            open.extend(&node.args);
        }
        Ok(())
    }

    /// What holds of a node where it is used.
    fn used(&self, node: &Node) -> Check {
        for (live, &extent) in node.live.iter().zip(&node.shape) {
            self.bound(live)?;
            let extent = Affine::constant(i64::try_from(extent).map_err(|_| "an extent is too large")?);
            ensure(self.domain.proves(live), || format!("the extent {} may be negative", name(live)))?;
            ensure(self.domain.proves(&extent.minus(live)), || {
                format!("the extent {} may be above {}", name(live), extent.constant)
            })?;
        }
        let argument = || node.args.first().map(|&arg| self.program.nodes[arg].extents()).unwrap_or_default();
        if let Op::LoopIndex(form) = &node.op {
            return self.bound(form);
        }
        if let Op::Section(axes) = &node.op {
            return self.inside(axes, &argument(), &node.extents());
        }
        if let Op::Reduce { op: FoldOp::Max | FoldOp::Min, axes, .. } = &node.op {
            let extents = argument();
            axes.iter().try_for_each(|&axis| {
                let filled = extents[axis].offset(-1);
                ensure(self.domain.proves(&filled), || format!("the axis {axis} may be empty"))
            })?;
        }
        Ok(())
    }

    /// The subscripts select elements of an array of `extents`, as many as `live` says, wherever there are any.
    fn inside(&self, axes: &[SectionAxis], extents: &[Affine], live: &[Affine]) -> Check {
        let slices = axes.iter().filter(|axis| matches!(axis, SectionAxis::Slice { .. })).count();
        ensure(slices == live.len(), || format!("{slices} slices for an array of rank {}", live.len()))?;
        // Where one axis is empty nothing is selected on the others.
        let filled = live.iter().fold(self.domain.clone(), |domain, extent| {
            if extent.is_constant() && extent.constant > 0 { domain } else { domain.and(extent.offset(-1)) }
        });
        let mut lengths = live.iter();
        for (axis, extent) in axes.iter().zip(extents) {
            let (first, last) = match axis {
                SectionAxis::At(at) => (at.clone(), at.clone()),
                SectionAxis::Slice { start, step } => {
                    ensure(*step != 0, || "a step is zero".to_owned())?;
                    let steps = lengths.next().map_or_else(Affine::default, |length| length.offset(-1));
                    (start.clone(), start.plus(&steps.times(*step)))
                }
            };
            for at in [&first, &last] {
                self.bound(at)?;
                let inside = filled.proves(at) && filled.proves(&extent.minus(at).offset(-1));
                ensure(inside, || format!("the index {} may leave 0..{}", name(at), name(extent)))?;
            }
        }
        Ok(())
    }
}
