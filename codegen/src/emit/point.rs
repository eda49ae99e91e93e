//! The scalar expression of a tile at the points of one register tile.
//!
//! A node is computed once for every choice of registers on the axes it depends on, and stays a
//! scalar where it does not depend on the axis with lanes: a load that several points share is
//! one load.

use super::cx::{Cx, Emit, Value, lanes_of};
use super::frame::Frame;
use super::tile::{Count, Mask, Plan, Reg};
use inkwell::attributes::AttributeLoc;
use inkwell::types::BasicTypeEnum;
use inkwell::values::{InstructionOpcode, IntValue, PointerValue, VectorValue};
use moat_optimizer::affine::Affine;
use moat_optimizer::dtype::DType;
use moat_optimizer::nest::TileScalar;
use moat_optimizer::normal_form::ScalarOp;
use std::collections::BTreeMap;

/// Strides up to this are read by whole vectors and shuffles.
const SHUFFLED_STRIDE: i64 = 4;

/// Evaluates a tile's expression at the insertion point; valid for one straight piece of code.
pub(crate) struct Evaluator<'e, 'c, 'n, 't> {
    cx: &'e Cx<'c, 'n>,
    frame: &'e Frame<'c>,
    plan: &'e Plan<'t>,
    regs: &'e [Vec<Reg<'c>>],
    values: BTreeMap<(usize, Vec<usize>), Value<'c>>,
    bases: BTreeMap<(usize, Vec<(usize, i64)>), PointerValue<'c>>,
}

/// Where one register lies in a buffer.
struct Place<'c> {
    dtype: DType,
    pointer: PointerValue<'c>,
    stride: i64,
    width: u32,
    mask: Option<Mask<'c>>,
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
            TileScalar::Load { buffer, offset } => {
                let place = self.place(*buffer, offset, combo)?;
                let value = cx.load_at(&place)?;
                return cx.from_memory(dtype, value);
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
                cx.binary_op(*op, plan.dtypes[*x], a, b)
            }
            ScalarOp::Where(c, x, y) => {
                cx.select(self.value(*c, combo)?, self.value(*x, combo)?, self.value(*y, combo)?)
            }
            ScalarOp::Cast(x) => cx.convert(plan.dtypes[*x], dtype, self.value(*x, combo)?),
        }
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
        let cx = self.cx;
        let (Some(description), Some(&start)) = (cx.nest.buffers.get(buffer), self.frame.buffers.get(&buffer)) else {
            return Err(cx.malformed(&self.plan.tile.origin, format!("no buffer {buffer}")));
        };
        let dtype = description.dtype;
        let element = cx.memory_type(dtype);
        let key = (buffer, offset.terms.clone());
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
        let mut place = self.place(plan.tile.target, &plan.tile.offset, combo)?;
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
        let value = self.cx.from_memory(place.dtype, value)?;
        self.cx.splat(value, place.width)
    }

    /// Writes the tile's element.
    pub(crate) fn store(&mut self, combo: &[usize], value: Value<'c>) -> Emit<()> {
        let place = self.target(combo)?;
        let value = self.cx.splat(value, place.width)?;
        let value = self.cx.to_memory(place.dtype, value)?;
        self.cx.store_at(&place, value)
    }
}

fn reversed(lanes: u32) -> Vec<u32> {
    (0..lanes).rev().collect()
}

impl<'c> Cx<'c, '_> {
    fn at(&self, place: &Place<'c>, elements: i64) -> Emit<PointerValue<'c>> {
        self.element(self.memory_type(place.dtype), place.pointer, self.i64(elements), "at")
    }

    /// One register from memory, in memory's representation.
    fn load_at(&self, place: &Place<'c>) -> Emit<Value<'c>> {
        let align = place.dtype.bytes();
        let element = self.memory_type(place.dtype);
        if place.width <= 1 || place.stride == 0 {
            return self.load(element, place.pointer, align, "element");
        }
        let lanes = place.width;
        let backwards = place.stride < 0;
        let distance = place.stride.abs();
        match &place.mask {
            _ if distance == 1 => {
                let pointer = if backwards { self.at(place, 1 - i64::from(lanes))? } else { place.pointer };
                let value = match &place.mask {
                    None => self.load(self.memory_vector(place.dtype, lanes), pointer, align, "elements")?,
                    Some(mask) => self.masked_load(place, pointer, mask, backwards)?,
                };
                if !backwards {
                    return Ok(value);
                }
                let vector = self.vector(value)?;
                Ok(self.shuffle(vector, vector, &reversed(lanes))?.into())
            }
            None if distance <= SHUFFLED_STRIDE => self.load_shuffled(place, distance, backwards),
            _ => self.load_by_lane(place, element),
        }
    }

    /// Lane `l` from element `l · stride`, each by itself. Under a mask the lanes that do not
    /// count repeat the last one that does, so nothing outside the range is read.
    fn load_by_lane(&self, place: &Place<'c>, element: BasicTypeEnum<'c>) -> Emit<Value<'c>> {
        let BasicTypeEnum::VectorType(vector) = self.memory_vector(place.dtype, place.width) else {
            return Err(self.malformed("gather", "no vector type"));
        };
        let mut value = vector.const_zero();
        for lane in 0..place.width {
            let pointer = match place.mask.as_ref().map(|mask| mask.count) {
                Some(Count::Static(count)) if lane >= count => continue,
                None | Some(Count::Static(_)) => self.at(place, i64::from(lane) * place.stride)?,
                Some(Count::Dynamic(count)) => {
                    let lane = self.i64(i64::from(lane));
                    let last = self.builder.build_int_nsw_sub(count, self.i64(1), "last")?;
                    let inside = self.icmp(inkwell::IntPredicate::SLT, lane.into(), count.into())?;
                    let lane = self.choose(inside, lane, last)?;
                    let index: IntValue<'c> = self.builder.build_int_nsw_mul(lane, self.i64(place.stride), "index")?;
                    self.element(element, place.pointer, index, "at")?
                }
            };
            let one = self.load(element, pointer, place.dtype.bytes(), "element")?;
            value = self.builder.build_insert_element(value, one, self.i32(lane), "gathered")?;
        }
        Ok(value.into())
    }

    /// Every `distance`-th element, from `distance` whole vectors. The last vector ends with the
    /// last element wanted, so nothing beyond it is read.
    fn load_shuffled(&self, place: &Place<'c>, distance: i64, backwards: bool) -> Emit<Value<'c>> {
        let lanes = i64::from(place.width);
        let span = distance * (lanes - 1) + 1;
        let first = if backwards { 1 - span } else { 0 };
        let ty = self.memory_vector(place.dtype, place.width);
        let mut gathered: Option<VectorValue<'c>> = None;
        for part in 0..distance {
            let start = if part == distance - 1 { span - lanes } else { part * lanes };
            let pointer = self.at(place, first + start)?;
            let value = self.vector(self.load(ty, pointer, place.dtype.bytes(), "elements")?)?;
            let so_far = gathered.unwrap_or(value);
            // Lanes whose element lies in this part come from it, the others stay.
            let picks: Vec<u32> = (0..lanes)
                .map(|lane| {
                    let element = lane * distance;
                    let inside = element >= part * lanes && element < (part + 1) * lanes;
                    u32::try_from(if inside { lanes + element - start } else { lane }).unwrap_or(0)
                })
                .collect();
            gathered = Some(self.shuffle(so_far, value, &picks)?);
        }
        let Some(vector) = gathered else { return Err(self.malformed("load", "no part")) };
        if backwards { Ok(self.shuffle(vector, vector, &reversed(place.width))?.into()) } else { Ok(vector.into()) }
    }

    fn mask_lanes(&self, mask: &Mask<'c>, backwards: bool) -> Emit<VectorValue<'c>> {
        if !backwards {
            return Ok(mask.lanes);
        }
        self.shuffle(mask.lanes, mask.lanes, &reversed(mask.lanes.get_type().get_size()))
    }

    fn masked_load(
        &self,
        place: &Place<'c>,
        pointer: PointerValue<'c>,
        mask: &Mask<'c>,
        backwards: bool,
    ) -> Emit<Value<'c>> {
        let ty = self.memory_vector(place.dtype, place.width);
        let lanes = self.mask_lanes(mask, backwards)?;
        let types = [ty, pointer.get_type().into()];
        let call = self.intrinsic_call("llvm.masked.load", &types, &[pointer.into(), lanes.into(), ty.const_zero()])?;
        call.set_alignment_attribute(AttributeLoc::Param(0), u32::try_from(place.dtype.bytes()).unwrap_or(1));
        call.try_as_basic_value().basic().ok_or_else(|| self.malformed("load", "a masked load without a value"))
    }

    /// One register to memory, from memory's representation.
    fn store_at(&self, place: &Place<'c>, value: Value<'c>) -> Emit<()> {
        let align = place.dtype.bytes();
        if lanes_of(value) <= 1 {
            return self.store(value, place.pointer, align);
        }
        let lanes = place.width;
        let vector = self.vector(value)?;
        let backwards = place.stride < 0;
        if place.stride.abs() == 1 {
            let pointer = if backwards { self.at(place, 1 - i64::from(lanes))? } else { place.pointer };
            let vector = if backwards { self.shuffle(vector, vector, &reversed(lanes))? } else { vector };
            return match &place.mask {
                None => self.store(vector.into(), pointer, align),
                Some(mask) => {
                    let types = [vector.get_type().into(), pointer.get_type().into()];
                    let active = self.mask_lanes(mask, backwards)?;
                    let args = [vector.into(), pointer.into(), active.into()];
                    let call = self.intrinsic_call("llvm.masked.store", &types, &args)?;
                    call.set_alignment_attribute(AttributeLoc::Param(1), u32::try_from(align).unwrap_or(1));
                    Ok(())
                }
            };
        }
        let count = match place.mask.as_ref().map(|mask| mask.count) {
            None => lanes,
            Some(Count::Static(count)) => count,
            Some(Count::Dynamic(count)) => {
                let last = self.builder.build_int_nsw_sub(count, self.i64(1), "last")?;
                let element = self.memory_type(place.dtype);
                self.counted(self.i64(0), last, 1, "lane", &mut |lane| {
                    let index = self.builder.build_int_nsw_mul(lane, self.i64(place.stride), "index")?;
                    let pointer = self.element(element, place.pointer, index, "at")?;
                    let one = self.builder.build_extract_element(vector, lane, "element")?;
                    self.store(one, pointer, align)
                })?;
                return Ok(());
            }
        };
        for lane in 0..count {
            let one = self.builder.build_extract_element(vector, self.i32(lane), "element")?;
            self.store(one, self.at(place, i64::from(lane) * place.stride)?, align)?;
        }
        Ok(())
    }
}
