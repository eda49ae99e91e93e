//! A slow, literal evaluator of loop nests, for tests of `lower` and `apply`.
//!
//! Input: a [`LoopNest`] and its inputs. Output: the contents of its output buffers. Loops and
//! tiles run one element at a time in their written order, every operation rounded at its type. It
//! finds what a compiled kernel would only show by chance: an access out of bounds, a read of what
//! was never written (a private buffer is forgotten at every iteration of a parallel loop), and two
//! iterations of a parallel loop that touch one element.

use crate::form::evaluate::compute;
use crate::integer::affine::Affine;
use crate::integer::range::interval;
use crate::nest::{BufferRole, Loop, LoopKind, LoopNest, Node, Tile, TileScalar, VarId};
use crate::program::expr::Requirement;
use crate::value::dtype::{DType, Literal};
use crate::value::scalar_eval;
use crate::value::scalar_eval::ScalarError;
use crate::value::tensor::{Data, Tensor};
use thiserror::Error;

/// What goes wrong when a nest runs.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum NestRunError {
    /// Inputs that do not fit the parameter buffers.
    #[error("input {index} does not fit its buffer (or is missing)")]
    Input {
        /// Its index.
        index: usize,
    },
    /// An access out of bounds, or to no buffer.
    #[error("`{origin}` accesses `{buffer}` at {offset}, of {len}")]
    OutOfBounds {
        /// The tile.
        origin: String,
        /// The buffer.
        buffer: String,
        /// Where.
        offset: i64,
        /// The buffer's length.
        len: usize,
    },
    /// A read of an element that was never written.
    #[error("`{origin}` reads `{buffer}` at {offset} before it is written")]
    Uninitialised {
        /// The tile.
        origin: String,
        /// The buffer.
        buffer: String,
        /// Where.
        offset: usize,
    },
    /// Two iterations of a parallel loop touch one element, and one of them writes it.
    #[error("`{origin}` touches `{buffer}` at {offset}, which another iteration of its parallel loop writes")]
    Race {
        /// The tile.
        origin: String,
        /// The buffer.
        buffer: String,
        /// Where.
        offset: usize,
    },
    /// A write to a parameter.
    #[error("`{origin}` writes the parameter `{buffer}`")]
    WrittenParam {
        /// The tile.
        origin: String,
        /// The buffer.
        buffer: String,
    },
    /// An output element that no tile wrote.
    #[error("`{buffer}` at {offset} is never written")]
    Unwritten {
        /// The buffer.
        buffer: String,
        /// Where.
        offset: usize,
    },
    /// A node that refers to what does not exist, or a loop that does not advance.
    #[error("`{origin}` is malformed")]
    Malformed {
        /// The tile, or the loop's variable.
        origin: String,
    },
    /// A check fails.
    #[error("check {check} fails: {}", requirement.failure())]
    Check {
        /// Its number.
        check: usize,
        /// What it asks for.
        requirement: Requirement,
    },
    /// An operator at a type it is not defined on.
    #[error(transparent)]
    Scalar(#[from] ScalarError),
}

/// Evaluates a nest: the output buffers as flat tensors of shape `[len]`, in the order of their
/// index.
///
/// # Errors
/// The first thing that goes wrong.
pub fn evaluate(nest: &LoopNest, inputs: &[Tensor]) -> Result<Vec<Tensor>, NestRunError> {
    let mut run = Run { nest, vars: vec![0; nest.vars.len()], memory: Vec::new(), region: 0, iteration: None };
    for buffer in &nest.buffers {
        let memory = match buffer.role {
            BufferRole::Param(index) => {
                let fits = |input: &&Tensor| input.dtype == buffer.dtype && input.len() == buffer.len;
                let input = inputs.get(index).filter(fits).ok_or(NestRunError::Input { index })?;
                Memory::new((0..buffer.len).map(|at| Some(input.get(at))).collect())
            }
            BufferRole::Output(_) | BufferRole::Check(..) | BufferRole::Shared | BufferRole::Private => {
                Memory::new(vec![None; buffer.len])
            }
        };
        run.memory.push(memory);
    }
    run.nodes(&nest.body)?;
    let mut outputs: Vec<(usize, Tensor)> = Vec::new();
    for (buffer, memory) in nest.buffers.iter().zip(&run.memory) {
        if let BufferRole::Check(check, requirement) = buffer.role
            && memory.elements.first().copied().flatten().and_then(|value| value.as_i64()) != Some(1)
        {
            return Err(NestRunError::Check { check, requirement });
        }
        if let BufferRole::Output(index) = buffer.role {
            if let Some(offset) = memory.elements.iter().position(Option::is_none) {
                return Err(NestRunError::Unwritten { buffer: buffer.name.clone(), offset });
            }
            let mut tensor =
                Tensor { dtype: buffer.dtype, shape: vec![buffer.len], data: Data::zeros(buffer.dtype, buffer.len) };
            for (at, element) in memory.elements.iter().enumerate() {
                tensor.set(at, element.unwrap_or(Literal::Int(0)));
            }
            outputs.push((index, tensor));
        }
    }
    outputs.sort_by_key(|output| output.0);
    Ok(outputs.into_iter().map(|output| output.1).collect())
}

/// A buffer's contents.
struct Memory {
    elements: Vec<Option<Literal>>,
    /// Which parallel loop's which iteration wrote an element last, and which read it last.
    writer: Vec<Option<(u64, i64)>>,
    reader: Vec<Option<(u64, i64)>>,
}

impl Memory {
    fn new(elements: Vec<Option<Literal>>) -> Memory {
        let touched = vec![None; elements.len()];
        Memory { elements, writer: touched.clone(), reader: touched }
    }
}

struct Run<'a> {
    nest: &'a LoopNest,
    vars: Vec<i64>,
    memory: Vec<Memory>,
    /// Counts the executions of parallel loops.
    region: u64,
    /// The iteration of the parallel loop that is running.
    iteration: Option<i64>,
}

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node]) -> Result<(), NestRunError> {
        nodes.iter().try_for_each(|node| match node {
            Node::Loop(inner) => self.run_loop(inner),
            Node::Tile(tile) => self.tile(tile),
        })
    }

    fn run_loop(&mut self, inner: &Loop) -> Result<(), NestRunError> {
        let name = self.nest.vars.get(inner.var).cloned().unwrap_or_default();
        if inner.step == 0 || inner.var >= self.vars.len() {
            return Err(NestRunError::Malformed { origin: name });
        }
        let parallel = inner.kind == LoopKind::Parallel;
        if parallel && self.iteration.is_some() {
            return Err(NestRunError::Malformed { origin: name });
        }
        self.region += u64::from(parallel);
        let (low, high) = interval(&inner.range, |v| self.vars.get(v).copied().unwrap_or(0));
        for x in (low..high).step_by(inner.step) {
            self.vars[inner.var] = x;
            if parallel {
                self.iteration = Some(x);
                for (memory, buffer) in self.memory.iter_mut().zip(&self.nest.buffers) {
                    if buffer.role == BufferRole::Private {
                        memory.elements.fill(None);
                    }
                }
            }
            self.nodes(&inner.body)?;
        }
        if parallel {
            self.iteration = None;
        }
        Ok(())
    }

    fn tile(&mut self, tile: &Tile) -> Result<(), NestRunError> {
        self.points(tile, 0)
    }

    /// Runs the point axes from the given one on.
    fn points(&mut self, tile: &Tile, axis: usize) -> Result<(), NestRunError> {
        if let Some(next) = tile.points.get(axis) {
            return self.each(tile, next.var, &next.range, |run| run.points(tile, axis + 1));
        }
        let at = self.at(&tile.offset)
            + match &tile.shift {
                Some(shift) => {
                    let held = self.read(tile, shift.by, 0)?.as_i64().ok_or_else(|| malformed(tile))?;
                    held.max(0).min(shift.last)
                }
                None => 0,
            };
        let dtype = self.nest.buffers.get(tile.target).map(|buffer| buffer.dtype).ok_or_else(|| malformed(tile))?;
        let value = match &tile.fold {
            None => self.value(tile)?,
            Some(fold) => {
                let fresh = fold.first.iter().all(|form| self.at(form) == 0);
                let state = if fresh { fold.op.identity(dtype) } else { self.read(tile, tile.target, at)? };
                let mut terms = Vec::new();
                self.terms(tile, 0, &mut terms)?;
                scalar_eval::fold(fold.op, dtype, fold.depth.is_some(), state, &terms)?
            }
        };
        self.write(tile, at, value)
    }

    /// Runs the fold axes from the given one on.
    fn terms(&mut self, tile: &Tile, axis: usize, terms: &mut Vec<Literal>) -> Result<(), NestRunError> {
        if let Some(next) = tile.folds.get(axis) {
            return self.each(tile, next.var, &next.range, |run| run.terms(tile, axis + 1, terms));
        }
        terms.push(self.value(tile)?);
        Ok(())
    }

    fn each(
        &mut self,
        tile: &Tile,
        var: VarId,
        range: &crate::integer::range::Range,
        mut body: impl FnMut(&mut Self) -> Result<(), NestRunError>,
    ) -> Result<(), NestRunError> {
        let (low, high) = interval(range, |v| self.vars.get(v).copied().unwrap_or(0));
        for x in low..high {
            *self.vars.get_mut(var).ok_or_else(|| malformed(tile))? = x;
            body(self)?;
        }
        Ok(())
    }

    fn at(&self, form: &Affine) -> i64 {
        form.evaluate(|v| self.vars.get(v).copied().unwrap_or(0))
    }

    fn value(&mut self, tile: &Tile) -> Result<Literal, NestRunError> {
        let mut values: Vec<(Literal, DType)> = Vec::with_capacity(tile.value.len());
        for scalar in &tile.value {
            values.push(match scalar {
                TileScalar::Gather { buffer, offset, stride, at } => {
                    let known = self.at(offset);
                    let index = values.get(*at).and_then(|value| value.0.as_i64());
                    let index = index.ok_or_else(|| malformed(tile))?;
                    let value = self.read(tile, *buffer, known + stride * index)?;
                    (value, self.nest.buffers[*buffer].dtype)
                }
                TileScalar::Load { buffer, offset } => {
                    let at = self.at(offset);
                    let value = self.read(tile, *buffer, at)?;
                    (value, self.nest.buffers[*buffer].dtype)
                }
                TileScalar::Compute(node) => {
                    let value = compute(&node.op, node.dtype, &values, |form| self.at(form))?;
                    (value.ok_or_else(|| malformed(tile))?, node.dtype)
                }
            });
        }
        values.last().map(|value| value.0).ok_or_else(|| malformed(tile))
    }

    fn element(&self, tile: &Tile, buffer: usize, offset: i64) -> Result<usize, NestRunError> {
        let declared = self.nest.buffers.get(buffer).ok_or_else(|| malformed(tile))?;
        let at = usize::try_from(offset).ok().filter(|at| *at < declared.len);
        at.ok_or_else(|| NestRunError::OutOfBounds {
            origin: tile.origin.clone(),
            buffer: declared.name.clone(),
            offset,
            len: declared.len,
        })
    }

    fn read(&mut self, tile: &Tile, buffer: usize, offset: i64) -> Result<Literal, NestRunError> {
        let at = self.element(tile, buffer, offset)?;
        let place = || (tile.origin.clone(), self.nest.buffers[buffer].name.clone());
        let memory = &mut self.memory[buffer];
        if let Some(iteration) = self.iteration {
            let foreign = memory.writer[at].is_some_and(|(region, by)| region == self.region && by != iteration);
            if foreign && self.nest.buffers[buffer].role != BufferRole::Private {
                let (origin, buffer) = place();
                return Err(NestRunError::Race { origin, buffer, offset: at });
            }
            memory.reader[at] = Some((self.region, iteration));
        }
        memory.elements[at].ok_or_else(|| {
            let (origin, buffer) = place();
            NestRunError::Uninitialised { origin, buffer, offset: at }
        })
    }

    fn write(&mut self, tile: &Tile, offset: i64, value: Literal) -> Result<(), NestRunError> {
        let at = self.element(tile, tile.target, offset)?;
        let declared = &self.nest.buffers[tile.target];
        let memory = &mut self.memory[tile.target];
        match declared.role {
            BufferRole::Param(_) => {
                return Err(NestRunError::WrittenParam { origin: tile.origin.clone(), buffer: declared.name.clone() });
            }
            BufferRole::Private => {}
            BufferRole::Output(_) | BufferRole::Check(..) | BufferRole::Shared => {
                if let Some(iteration) = self.iteration {
                    let foreign = |touch: Option<(u64, i64)>| {
                        touch.is_some_and(|(region, by)| region == self.region && by != iteration)
                    };
                    if foreign(memory.writer[at]) || foreign(memory.reader[at]) {
                        let (origin, buffer) = (tile.origin.clone(), declared.name.clone());
                        return Err(NestRunError::Race { origin, buffer, offset: at });
                    }
                    memory.writer[at] = Some((self.region, iteration));
                }
            }
        }
        memory.elements[at] = Some(scalar_eval::cast(declared.dtype, value));
        Ok(())
    }
}

fn malformed(tile: &Tile) -> NestRunError {
    NestRunError::Malformed { origin: tile.origin.clone() }
}
