//! The scalar expression of a tile at the points of one register tile.
//!
//! A node is computed once for every choice of registers on the axes it depends on, and stays a
//! scalar where it does not depend on the axis with lanes: a load that several points share is
//! one load.

use super::cx::{Cx, Emit, Value};
use super::frame::Frame;
use super::memory::{Place, SHUFFLED_STRIDE};
use super::plan::Plan;
use super::register::{Mask, Reg};
use inkwell::values::{InstructionOpcode, PointerValue};
use moat_optimizer::form::scalar_tree::ScalarOp;
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::nest::TileScalar;
use moat_optimizer::value::dtype::DType;
use std::collections::BTreeMap;

/// A buffer, whether as what a moved tile writes to, and the terms of an offset into it.
type Base = (usize, bool, Vec<(usize, i64)>);

/// Evaluates a tile's expression at the insertion point; valid for one straight piece of code.
pub(crate) struct Evaluator<'e, 'c, 'n, 't> {
    cx: &'e Cx<'c, 'n>,
    frame: &'e Frame<'c>,
    plan: &'e Plan<'t>,
    regs: &'e [Vec<Reg<'c>>],
    values: BTreeMap<(usize, Vec<usize>), Value<'c>>,
    /// Addresses by buffer and terms, apart for where the tile writes to.
    bases: BTreeMap<Base, PointerValue<'c>>,
}

impl<'e, 'c, 'n, 't> Evaluator<'e, 'c, 'n, 't> {
    pub(crate) fn new(
        cx: &'e Cx<'c, 'n>,
        frame: &'e Frame<'c>,
        plan: &'e Plan<'t>,
        regs: &'e [Vec<Reg<'c>>],
    ) -> Evaluator<'e, 'c, 'n, 't> {
        Evaluator { cx, frame, plan, regs, values: BTreeMap::new(), bases: BTreeMap::new() }
    }

    fn key(&self, node: usize, combo: &[usize]) -> (usize, Vec<usize>) {
        let depends = &self.plan.depends[node];
        (node, combo.iter().zip(depends).filter(|(_, on)| **on).map(|(&register, _)| register).collect())
    }

    /// The value of a node that [`Evaluator::evaluate`] has computed.
    pub(crate) fn value(&self, node: usize, combo: &[usize]) -> Emit<Value<'c>> {
        self.values
            .get(&self.key(node, combo))
            .copied()
            .ok_or_else(|| self.cx.malformed(&self.plan.tile.origin, format!("node {node} has no value")))
    }

    /// Computes every needed node at one choice of registers.
    pub(crate) fn evaluate(&mut self, combo: &[usize]) -> Emit<()> {
        let plan = self.plan;
        for &node in &plan.needed {
            let key = self.key(node, combo);
            if !self.values.contains_key(&key) {
                let value = self.compute(node, combo)?;
                self.values.insert(key, value);
            }
        }
        Ok(())
    }

    fn compute(&mut self, node: usize, combo: &[usize]) -> Emit<Value<'c>> {
        let cx = self.cx;
        let dtype = self.plan.dtypes[node];
        let plan = self.plan;
        let compute = match &plan.tile.value[node] {
            TileScalar::Gather { buffer, offset, stride, at } => {
                let place = self.place(*buffer, offset, combo)?;
                let index = self.value(*at, combo)?;
                let value = cx.gather(&place, index, *stride, self.lane_mask(combo))?;
                return cx.register(dtype, value);
            }
            TileScalar::Load { buffer, offset } => {
                if let Some(axis) = self.transposable(offset, combo) {
                    return self.load_transposed(node, *buffer, offset, axis, combo);
                }
                let place = self.place(*buffer, offset, combo)?;
                let value = cx.load_at(&place)?;
                return cx.register(dtype, value);
            }
            TileScalar::Compute(compute) => compute,
        };
        match &compute.op {
            ScalarOp::Load(..) => Err(cx.malformed(&plan.tile.origin, "a load of the normal form")),
            ScalarOp::Const(literal) => Ok(cx.literal(literal.at(dtype), dtype, 1)),
            ScalarOp::Index(form) => self.index(form, dtype, combo),
            ScalarOp::Unary(op, x) => cx.unary(*op, dtype, self.value(*x, combo)?),
            ScalarOp::Binary(op, x, y) => {
                let (a, b) = (self.value(*x, combo)?, self.value(*y, combo)?);
                let value = cx.binary_op(*op, plan.dtypes[*x], a, b)?;
                if plan.rounded[node] {
                    cx.uncontracted(value);
                }
                Ok(value)
            }
            ScalarOp::Where(c, x, y) => {
                cx.select(self.value(*c, combo)?, self.value(*x, combo)?, self.value(*y, combo)?)
            }
            ScalarOp::Cast(x) => cx.convert(plan.dtypes[*x], dtype, self.value(*x, combo)?),
        }
    }

    /// The axis along which a load that strides along the lanes is contiguous, if its registers
    /// form a block: then whole rows are loaded and transposed in registers.
    fn transposable(&self, offset: &Affine, combo: &[usize]) -> Option<usize> {
        let vector = self.plan.vector.filter(|&axis| axis < combo.len())?;
        let lanes = &self.regs[vector][combo[vector]];
        let stride = offset.coefficient(self.plan.axes[vector].axis.var);
        if stride.abs() <= SHUFFLED_STRIDE || lanes.width < 4 || !lanes.width.is_power_of_two() || lanes.mask.is_some()
        {
            return None;
        }
        (0..combo.len()).find(|&axis| {
            let regs = &self.regs[axis];
            axis != vector
                && offset.coefficient(self.plan.axes[axis].axis.var) == 1
                && regs.len() >= 4
                && regs.len().is_power_of_two()
                && (0i64..).zip(regs).all(|(at, reg)| reg.width == 1 && reg.offset == at)
        })
    }

    /// Loads the values of a node for every register of `axis` at once.
    fn load_transposed(
        &mut self,
        node: usize,
        buffer: usize,
        offset: &Affine,
        axis: usize,
        combo: &[usize],
    ) -> Emit<Value<'c>> {
        let mut at = combo.to_vec();
        at[axis] = 0;
        let place = self.place(buffer, offset, &at)?;
        let columns = self.cx.load_transposed(&place, u32::try_from(self.regs[axis].len()).unwrap_or(1))?;
        for (register, column) in columns.into_iter().enumerate() {
            at[axis] = register;
            let value = self.cx.register(place.dtype, column)?;
            self.values.insert(self.key(node, &at), value);
        }
        self.value(node, combo)
    }

    /// The constant part of a form at one choice of registers, its stride along the lanes, and
    /// the register's width and mask.
    fn split(&self, form: &Affine, combo: &[usize]) -> (i64, i64, u32, Option<Mask<'c>>) {
        let mut constant = form.constant;
        let (mut stride, mut width, mut mask) = (0, 1, None);
        for (at, axis) in self.plan.axes.iter().enumerate().take(combo.len()) {
            let coefficient = form.coefficient(axis.axis.var);
            let reg = &self.regs[at][combo[at]];
            constant += coefficient * reg.offset;
            if self.plan.vector == Some(at) && coefficient != 0 {
                (stride, width, mask) = (coefficient, reg.width, reg.mask.clone());
            }
        }
        (constant, stride, width, mask)
    }

    /// The mask of the register along the axis with lanes.
    fn lane_mask(&self, combo: &[usize]) -> Option<Mask<'c>> {
        let axis = self.plan.vector.filter(|&axis| axis < combo.len())?;
        self.regs[axis][combo[axis]].mask.clone()
    }

    fn index(&mut self, form: &Affine, dtype: DType, combo: &[usize]) -> Emit<Value<'c>> {
        let cx = self.cx;
        let (constant, stride, width, _) = self.split(form, combo);
        let base = Affine { constant, terms: form.terms.clone() };
        let base: Value<'c> = cx.affine(self.frame, &base)?.into();
        let value = if width > 1 {
            let steps = cx.binary(
                InstructionOpcode::Mul,
                cx.iota(DType::I64, width),
                cx.int(stride, DType::I64, width),
                "steps",
            )?;
            cx.binary(InstructionOpcode::Add, base, steps, "index")?
        } else {
            base
        };
        cx.convert(DType::I64, dtype, value)
    }

    fn place(&mut self, buffer: usize, offset: &Affine, combo: &[usize]) -> Emit<Place<'c>> {
        let start = self.frame.buffers.get(&buffer).copied();
        self.place_from(start, buffer, offset, combo, false)
    }

    fn place_from(
        &mut self,
        start: Option<PointerValue<'c>>,
        buffer: usize,
        offset: &Affine,
        combo: &[usize],
        writes: bool,
    ) -> Emit<Place<'c>> {
        let cx = self.cx;
        let (Some(description), Some(start)) = (cx.nest.buffers.get(buffer), start) else {
            return Err(cx.malformed(&self.plan.tile.origin, format!("no buffer {buffer}")));
        };
        let dtype = description.dtype;
        let element = cx.memory_type(dtype);
        let moved = writes && self.frame.moved.is_some();
        let key = (buffer, moved, offset.terms.clone());
        let base = match self.bases.get(&key) {
            Some(&base) => base,
            None => {
                let base = match cx.affine_terms(self.frame, offset)? {
                    Some(index) => cx.element(element, start, index, &description.name)?,
                    None => start,
                };
                self.bases.insert(key, base);
                base
            }
        };
        let (constant, stride, width, mask) = self.split(offset, combo);
        let pointer = cx.element(element, base, cx.i64(constant), &description.name)?;
        Ok(Place { dtype, pointer, stride, width, mask })
    }

    fn target(&mut self, combo: &[usize]) -> Emit<Place<'c>> {
        let plan = self.plan;
        let start = self.frame.moved.or_else(|| self.frame.buffers.get(&plan.tile.target).copied());
        let mut place = self.place_from(start, plan.tile.target, &plan.tile.offset, combo, true)?;
        // Where the lanes all lie on one element the last one that counts is stored.
        if let Some(axis) = plan.vector.filter(|&axis| axis < combo.len()) {
            let reg = &self.regs[axis][combo[axis]];
            (place.width, place.mask) = (reg.width, reg.mask.clone());
        }
        Ok(place)
    }

    /// What the tile's element holds before it is written.
    pub(crate) fn stored(&mut self, combo: &[usize]) -> Emit<Value<'c>> {
        let place = self.target(combo)?;
        let value = self.cx.load_at(&place)?;
        let value = self.cx.register(place.dtype, value)?;
        self.cx.splat(value, place.width)
    }

    /// Writes the tile's element.
    pub(crate) fn store(&mut self, combo: &[usize], value: Value<'c>) -> Emit<()> {
        let place = self.target(combo)?;
        let value = self.cx.splat(value, place.width)?;
        let value = self.cx.to_memory(place.dtype, value)?;
        if self.plan.past_caches(self.regs, combo) {
            let bytes = place.dtype.bytes() * usize::try_from(place.width).unwrap_or(1);
            return self.cx.store_past_caches(self.cx.vector(value)?, place.pointer, bytes);
        }
        self.cx.store_at(&place, value)
    }
}
