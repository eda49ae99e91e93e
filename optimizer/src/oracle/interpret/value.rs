//! Whole arrays during interpretation: a strided view of shared elements with their error bounds.
//!
//! Views (transpose, slice, broadcast, window, diagonal, …) change shape and strides only; what
//! computes reads its operands in rows through [`for_rows`] and writes a fresh contiguous array.

use super::traits::Traits;
use crate::value::dtype::DType;
use crate::value::tensor::{Data, Tensor};
use std::sync::Arc;

/// Longest row handed to a loop body: small enough for its scratch to stay in the L1 cache.
const ROW: usize = 512;

/// Elements: bools and integers as `i64`, floats as `f64` (high precision for an `f32` program).
#[derive(Debug)]
pub(crate) enum Numbers {
    Int(Vec<i64>),
    Float(Vec<f64>),
}

impl Numbers {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Numbers::Int(all) => all.len(),
            Numbers::Float(all) => all.len(),
        }
    }
}

/// Elements with what is known about their error, all at the same offsets.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) numbers: Numbers,
    /// Bound of the absolute error a kernel may have made so far; `None`: no error.
    pub(crate) bound: Option<Vec<f64>>,
    /// Magnitude: Σ|terms| of the sum that the element is the value of; `None`: the absolute value.
    pub(crate) magnitude: Option<Vec<f64>>,
    /// The longest chain of additions behind that sum that happened in statements before this one; `None`: none. Never
    /// without `magnitude`.
    pub(crate) additions: Option<Vec<f64>>,
}

impl Store {
    /// Elements that are no sums.
    pub(crate) fn new(numbers: Numbers, bound: Option<Vec<f64>>) -> Store {
        Store { numbers, bound, magnitude: None, additions: None }
    }

    /// Sums of one statement.
    pub(crate) fn of_sums(numbers: Numbers, bound: Option<Vec<f64>>, magnitude: Vec<f64>) -> Store {
        Store { numbers, bound, magnitude: Some(magnitude), additions: None }
    }
}

/// An array.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<isize>,
    pub(crate) offset: isize,
    pub(crate) store: Arc<Store>,
    /// Number of terms of the sum that each element is in this statement; 1 where it is no sum.
    pub(crate) terms: f64,
    /// The sum is a contraction or reduction, which may be reassociated with the next one.
    pub(crate) contraction: bool,
    /// What is known of it as a whole.
    pub(super) traits: Traits,
}

impl Value {
    /// A contiguous array.
    pub(crate) fn new(dtype: DType, shape: &[usize], store: Store) -> Value {
        Value {
            dtype,
            shape: shape.to_vec(),
            strides: row_major(shape),
            offset: 0,
            store: Arc::new(store),
            terms: 1.0,
            contraction: false,
            traits: Traits::default(),
        }
    }

    /// Integers or bools without error.
    pub(crate) fn ints(dtype: DType, shape: &[usize], ints: Vec<i64>) -> Value {
        Value::new(dtype, shape, Store::new(Numbers::Int(ints), None))
    }

    /// Floats without error.
    pub(crate) fn floats(dtype: DType, shape: &[usize], floats: Vec<f64>) -> Value {
        Value::new(dtype, shape, Store::new(Numbers::Float(floats), None))
    }

    /// An input as a value.
    pub(crate) fn of_tensor(tensor: &Tensor) -> Value {
        let ints = |ints: Vec<i64>| Value::ints(tensor.dtype, &tensor.shape, ints);
        match &tensor.data {
            Data::Bool(v) => ints(v.iter().map(|x| i64::from(*x != 0)).collect()),
            Data::I8(v) => ints(v.iter().map(|x| i64::from(*x)).collect()),
            Data::U8(v) => ints(v.iter().map(|x| i64::from(*x)).collect()),
            Data::I16(v) => ints(v.iter().map(|x| i64::from(*x)).collect()),
            Data::I32(v) => ints(v.iter().map(|x| i64::from(*x)).collect()),
            Data::I64(v) => ints(v.clone()),
            Data::F32(v) => Value::floats(tensor.dtype, &tensor.shape, v.iter().map(|x| f64::from(*x)).collect()),
            Data::F64(v) => Value::floats(tensor.dtype, &tensor.shape, v.clone()),
            Data::F16(_) | Data::BF16(_) => {
                Value::floats(tensor.dtype, &tensor.shape, (0..tensor.len()).map(|i| tensor.get_f64(i)).collect())
            }
        }
    }

    /// Number of elements.
    pub(crate) fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// The same elements under another shape and strides.
    pub(crate) fn view(&self, shape: Vec<usize>, strides: Vec<isize>, offset: isize) -> Value {
        Value { shape, strides, offset, ..self.clone() }
    }

    /// True if the elements stand in row-major order without gaps.
    pub(crate) fn is_contiguous(&self) -> bool {
        let natural = row_major(&self.shape);
        (0..self.shape.len()).all(|axis| self.shape[axis] == 1 || self.strides[axis] == natural[axis])
    }

    /// True if it is all of its store's elements in row-major order.
    pub(crate) fn is_dense(&self) -> bool {
        self.offset == 0 && self.store.numbers.len() == self.size() && self.is_contiguous()
    }

    /// The same elements in row-major order, as a reshape needs them.
    pub(crate) fn contiguous(&self) -> Value {
        if self.is_contiguous() {
            return self.clone();
        }
        let copy = Value::new(self.dtype, &self.shape, self.gathered_store());
        Value { terms: self.terms, contraction: self.contraction, traits: self.traits, ..copy }
    }

    /// True if elements are sums, of this statement or of those before.
    pub(crate) fn is_sum(&self) -> bool {
        self.terms > 1.0 || self.store.additions.is_some()
    }

    /// True if what is known of elements as sums comes from this statement: only over those is a product distributed.
    pub(crate) fn is_own_sum(&self) -> bool {
        self.terms > 1.0 || self.store.additions.is_none()
    }

    /// The numbers in this view's order.
    pub(crate) fn gathered_numbers(&self) -> Numbers {
        match &self.store.numbers {
            Numbers::Int(all) => Numbers::Int(self.gather(all)),
            Numbers::Float(all) => Numbers::Float(self.gather(all)),
        }
    }

    /// All of the store's arrays in this view's order.
    pub(crate) fn gathered_store(&self) -> Store {
        let gathered = |all: &Option<Vec<f64>>| all.as_ref().map(|all| self.gather(all));
        Store {
            numbers: self.gathered_numbers(),
            bound: gathered(&self.store.bound),
            magnitude: gathered(&self.store.magnitude),
            additions: gathered(&self.store.additions),
        }
    }

    /// One of the store's arrays in this view's order.
    pub(crate) fn gather<T: Copy>(&self, all: &[T]) -> Vec<T> {
        let mut gathered = Vec::with_capacity(self.size());
        for_rows(&self.shape, [self], |length, [row]| row.extend(all, length, &mut gathered));
        gathered
    }
}

/// Drops bounds that are all zero.
pub(crate) fn bound_or_none(bound: Vec<f64>) -> Option<Vec<f64>> {
    bound.iter().any(|b| *b != 0.0).then_some(bound)
}

/// Strides of a contiguous array.
pub(crate) fn row_major(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![0; shape.len()];
    let mut stride = 1isize;
    for axis in (0..shape.len()).rev() {
        strides[axis] = stride;
        stride *= shape[axis].max(1).cast_signed();
    }
    strides
}

/// Where a row of an operand lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Offset of the first element.
    pub(crate) start: isize,
    /// Distance between elements.
    pub(crate) stride: isize,
}

impl Row {
    /// The row's elements, borrowed where they are adjacent, copied to `scratch` otherwise.
    #[inline]
    pub(crate) fn read<'a, T: Copy>(self, all: &'a [T], length: usize, scratch: &'a mut Vec<T>) -> &'a [T] {
        if self.stride == 1 {
            let start = self.start.cast_unsigned();
            return &all[start..start + length];
        }
        scratch.clear();
        self.extend(all, length, scratch);
        scratch
    }

    /// The same of bounds, which are zeros where there are none.
    pub(crate) fn read_or_zeros<'a>(
        self,
        all: Option<&'a Vec<f64>>,
        length: usize,
        scratch: &'a mut Vec<f64>,
    ) -> &'a [f64] {
        match all {
            Some(all) => self.read(all, length, scratch),
            None => {
                scratch.clear();
                scratch.resize(length, 0.0);
                scratch
            }
        }
    }

    /// The row's elements appended to `to`.
    #[inline]
    pub(crate) fn extend<T: Copy>(self, all: &[T], length: usize, to: &mut Vec<T>) {
        let start = self.start.cast_unsigned();
        match self.stride {
            0 => to.resize(to.len() + length, all[start]),
            1 => to.extend_from_slice(&all[start..start + length]),
            stride => to.extend((0..length.cast_signed()).map(|i| all[(self.start + i * stride).cast_unsigned()])),
        }
    }
}

/// Calls `body(length, rows)` for consecutive rows that cover the box `shape` in row-major order,
/// with the row of each operand, whose shapes are all `shape`.
pub(crate) fn for_rows<const N: usize>(shape: &[usize], operands: [&Value; N], body: impl FnMut(usize, [Row; N])) {
    let layouts = operands.map(|operand| (operand.offset, operand.strides.as_slice()));
    for_strided_rows(shape, layouts, body);
}

/// [`for_rows`] with each operand given as an offset and strides.
pub(crate) fn for_strided_rows<const N: usize>(
    shape: &[usize],
    operands: [(isize, &[isize]); N],
    mut body: impl FnMut(usize, [Row; N]),
) {
    if shape.contains(&0) {
        return;
    }
    // Adjacent axes merge where every operand's outer stride is its inner stride times the inner
    // extent; axes of extent 1 vanish.
    let mut axes: Vec<(usize, [isize; N])> = Vec::with_capacity(shape.len());
    for (axis, &extent) in shape.iter().enumerate().filter(|(_, extent)| **extent != 1) {
        let strides = operands.map(|(_, strides)| strides[axis]);
        match axes.last_mut() {
            Some((outer, outer_strides)) if (0..N).all(|k| outer_strides[k] == strides[k] * extent.cast_signed()) => {
                *outer *= extent;
                *outer_strides = strides;
            }
            Some(_) | None => axes.push((extent, strides)),
        }
    }
    let (inner, inner_strides) = axes.pop().unwrap_or((1, [0; N]));
    let mut position = vec![0usize; axes.len()];
    let mut starts = operands.map(|(offset, _)| offset);
    loop {
        let mut done = 0;
        while done < inner {
            let length = ROW.min(inner - done);
            let rows = std::array::from_fn(|k| Row {
                start: starts[k] + done.cast_signed() * inner_strides[k],
                stride: inner_strides[k],
            });
            body(length, rows);
            done += length;
        }
        let mut axis = axes.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            let (extent, strides) = axes[axis];
            position[axis] += 1;
            for k in 0..N {
                starts[k] += strides[k];
            }
            if position[axis] < extent {
                break;
            }
            position[axis] = 0;
            for k in 0..N {
                starts[k] -= strides[k] * extent.cast_signed();
            }
        }
    }
}
