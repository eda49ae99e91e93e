//! Registers to and from memory: contiguous, reversed, strided, transposed, masked.
//!
//! Input: a [`Place`], that is where one register's lanes lie. Output: the loads, stores and
//! shuffles that move it, in memory's representation (a bool is a byte). Nothing is read or written
//! outside the lanes that count.

use super::cx::{Cx, Emit, Value, lanes_of};
use super::register::{Count, Mask};
use inkwell::attributes::AttributeLoc;
use inkwell::types::BasicTypeEnum;
use inkwell::values::{IntValue, PointerValue, VectorValue};
use moat_optimizer::value::dtype::DType;

/// Strides up to this are read by whole vectors and shuffles.
pub(crate) const SHUFFLED_STRIDE: i64 = 4;

/// Where one register lies in a buffer.
pub(crate) struct Place<'c> {
    pub(crate) dtype: DType,
    pub(crate) pointer: PointerValue<'c>,
    pub(crate) stride: i64,
    pub(crate) width: u32,
    pub(crate) mask: Option<Mask<'c>>,
}

fn reversed(lanes: u32) -> Vec<u32> {
    (0..lanes).rev().collect()
}

impl<'c> Cx<'c, '_> {
    fn at(&self, place: &Place<'c>, elements: i64) -> Emit<PointerValue<'c>> {
        self.element(self.memory_type(place.dtype), place.pointer, self.i64(elements), "at")
    }

    /// One register from memory, in memory's representation.
    pub(crate) fn load_at(&self, place: &Place<'c>) -> Emit<Value<'c>> {
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

    /// Whether a lane counts, of a place with a mask.
    fn lane_counts(&self, place: &Place<'c>, lane: u32) -> Emit<Value<'c>> {
        match &place.mask {
            Some(mask) => Ok(self.builder.build_extract_element(mask.lanes, self.i32(lane), "counts")?),
            None => Err(self.malformed("gather", "no mask")),
        }
    }

    /// Lane `l` from element `l · stride`, each by itself. Under a mask the lanes that do not
    /// count repeat one that does, so nothing outside the range is read.
    fn load_by_lane(&self, place: &Place<'c>, element: BasicTypeEnum<'c>) -> Emit<Value<'c>> {
        let BasicTypeEnum::VectorType(vector) = self.memory_vector(place.dtype, place.width) else {
            return Err(self.malformed("gather", "no vector type"));
        };
        let mut value = vector.const_zero();
        for lane in 0..place.width {
            let pointer = match place.mask.as_ref().map(|mask| mask.count) {
                Some(Count::Static(count)) if lane >= count => continue,
                None | Some(Count::Static(_)) => self.at(place, i64::from(lane) * place.stride)?,
                Some(Count::Scattered(some)) => {
                    let counts = self.lane_counts(place, lane)?;
                    let lane = self.choose(counts, self.i64(i64::from(lane)), some)?;
                    let index: IntValue<'c> = self.builder.build_int_nsw_mul(lane, self.i64(place.stride), "index")?;
                    self.element(element, place.pointer, index, "at")?
                }
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

    /// The element at `place`'s and `factor · index` further, lane by lane. Every index is in bounds, also
    /// in lanes that do not count; where the place has lanes, those repeat one that does.
    pub(crate) fn gather(
        &self,
        place: &Place<'c>,
        index: Value<'c>,
        factor: i64,
        mask: Option<Mask<'c>>,
    ) -> Emit<Value<'c>> {
        let element = self.memory_type(place.dtype);
        let lanes = lanes_of(index);
        if lanes <= 1 {
            let further = self.builder.build_int_nsw_mul(index.into_int_value(), self.i64(factor), "further")?;
            let pointer = self.element(element, place.pointer, further, "picked")?;
            let Place { dtype, stride, width, mask, .. } = place;
            let place = Place { dtype: *dtype, pointer, stride: *stride, width: *width, mask: mask.clone() };
            return self.load_at(&place);
        }
        let BasicTypeEnum::VectorType(vector) = self.memory_vector(place.dtype, lanes) else {
            return Err(self.malformed("gather", "no vector type"));
        };
        let indices = self.vector(index)?;
        let strided = place.width > 1;
        let mut value = vector.const_zero();
        for number in 0..lanes {
            let own = self.i64(i64::from(number));
            let lane = match mask.as_ref().map(|mask| (mask, mask.count)) {
                Some((_, Count::Static(count))) if number >= count => continue,
                Some((mask, Count::Scattered(some))) if strided => {
                    let counts = self.builder.build_extract_element(mask.lanes, self.i32(number), "counts")?;
                    self.choose(counts, own, some)?
                }
                Some((_, Count::Dynamic(count))) if strided => {
                    let last = self.builder.build_int_nsw_sub(count, self.i64(1), "last")?;
                    let inside = self.icmp(inkwell::IntPredicate::SLT, own.into(), count.into())?;
                    self.choose(inside, own, last)?
                }
                Some((_, Count::Static(_) | Count::Scattered(_) | Count::Dynamic(_))) | None => own,
            };
            let picked = self.builder.build_extract_element(indices, lane, "index")?.into_int_value();
            let mut further = self.builder.build_int_nsw_mul(picked, self.i64(factor), "further")?;
            if strided {
                let along = self.builder.build_int_nsw_mul(lane, self.i64(place.stride), "along")?;
                further = self.builder.build_int_nsw_add(further, along, "further")?;
            }
            let pointer = self.element(element, place.pointer, further, "picked")?;
            let one = self.load(element, pointer, place.dtype.bytes(), "element")?;
            value = self.builder.build_insert_element(value, one, self.i32(number), "gathered")?;
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

    /// The columns of a block of memory: column `u` holds in lane `l` the element at
    /// `l · stride + u`, for `u < columns`. Both numbers of the block are powers of two.
    ///
    /// Row-major over (lane, column) the element's number is `l · columns + u`; one perfect shuffle
    /// of all elements rotates the bits of these numbers by one, and after log₂ (lanes) of them the
    /// order is (column, lane). A perfect shuffle interleaves register r of the first half with
    /// register r of the second.
    pub(crate) fn load_transposed(&self, place: &Place<'c>, columns: u32) -> Emit<Vec<Value<'c>>> {
        let lanes = place.width;
        let (wide, align) = (lanes.min(columns), place.dtype.bytes());
        let ty = self.memory_vector(place.dtype, wide);
        let part = |number: u32| -> Emit<VectorValue<'c>> {
            let (row, column) = (number * wide / columns, number * wide % columns);
            let pointer = self.at(place, i64::from(row) * place.stride + i64::from(column))?;
            self.vector(self.load(ty, pointer, align, "row")?)
        };
        let mut parts: Vec<VectorValue<'c>> = (0..lanes * columns / wide).map(part).collect::<Emit<_>>()?;
        // Rows shorter than a register are joined until they fill one.
        let mut width = wide;
        while width < lanes {
            let all: Vec<u32> = (0..2 * width).collect();
            parts =
                parts.chunks(2).map(|pair| self.shuffle(pair[0], pair[pair.len() - 1], &all)).collect::<Emit<_>>()?;
            width *= 2;
        }
        let interleaved = |half: u32| -> Vec<u32> {
            (0..lanes).map(|lane| (lane % 2) * lanes + half * lanes / 2 + lane / 2).collect()
        };
        let (low, high) = (interleaved(0), interleaved(1));
        for _ in 0..lanes.ilog2() {
            let (first, second) = parts.split_at(parts.len() / 2);
            let mut next = Vec::with_capacity(parts.len());
            for (&a, &b) in first.iter().zip(second) {
                next.push(self.shuffle(a, b, &low)?);
                next.push(self.shuffle(a, b, &high)?);
            }
            parts = next;
        }
        Ok(parts.into_iter().map(Value::from).collect())
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
    pub(crate) fn store_at(&self, place: &Place<'c>, value: Value<'c>) -> Emit<()> {
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
            Some(Count::Scattered(_)) => {
                for lane in 0..lanes {
                    let counts = self.lane_counts(place, lane)?;
                    self.when(counts, "lane", &mut || {
                        let one = self.builder.build_extract_element(vector, self.i32(lane), "element")?;
                        self.store(one, self.at(place, i64::from(lane) * place.stride)?, align)
                    })?;
                }
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
