//! Operators that give other shapes and strides to the same elements: nothing is copied or computed.

use super::value::Value;
use crate::integer::affine::Affine;
use crate::program::expr::{SectionAxis, SliceAxis};
use crate::program::types::diagonal_length;

/// Trailing axes aligned, extents of 1 stretched.
pub(super) fn broadcast(a: &Value, shape: &[usize]) -> Value {
    let new = shape.len() - a.shape.len();
    let stride = |axis: usize| {
        if axis < new || a.shape[axis - new] != shape[axis] { 0 } else { a.strides[axis - new] }
    };
    a.view(shape.to_vec(), (0..shape.len()).map(stride).collect(), a.offset)
}

/// Result axis j is `a`'s axis `axes[j]`.
pub(super) fn transpose(a: &Value, axes: &[usize]) -> Value {
    let shape = axes.iter().map(|&axis| a.shape[axis]).collect();
    a.view(shape, axes.iter().map(|&axis| a.strides[axis]).collect(), a.offset)
}

/// Indices `start + step·i` on every axis.
pub(super) fn slice(a: &Value, slices: &[SliceAxis]) -> Value {
    let steps = slices.iter().zip(&a.strides);
    let empty = slices.iter().any(|slice| slice.len == 0);
    let offset: isize = steps.clone().map(|(slice, stride)| slice.start as isize * stride).sum();
    let shape = slices.iter().map(|slice| slice.len).collect();
    let strides = steps.map(|(slice, stride)| slice.step as isize * stride).collect();
    a.view(shape, strides, if empty { a.offset } else { a.offset + offset })
}

/// Indices `at(start) + step·i` of the axes that stay, as many as `shape` says, and one of the others.
pub(super) fn section(a: &Value, axes: &[SectionAxis], shape: &[usize], at: impl Fn(&Affine) -> i64) -> Value {
    let mut strides = Vec::with_capacity(shape.len());
    let mut offset = 0_isize;
    for (axis, stride) in axes.iter().zip(&a.strides) {
        let first = match axis {
            SectionAxis::At(form) => form,
            SectionAxis::Slice { start, step } => {
                strides.push(*step as isize * stride);
                start
            }
        };
        offset += at(first) as isize * stride;
    }
    let empty = shape.contains(&0);
    a.view(shape.to_vec(), strides, if empty { a.offset } else { a.offset + offset })
}

/// One position of one axis.
pub(super) fn index(a: &Value, axis: usize, at: usize) -> Value {
    let (mut shape, mut strides) = (a.shape.clone(), a.strides.clone());
    shape.remove(axis);
    let stride = strides.remove(axis);
    a.view(shape, strides, a.offset + at.cast_signed() * stride)
}

/// The diagonal of two axes, which go; it comes last.
pub(super) fn diagonal(a: &Value, offset: i64, axis1: usize, axis2: usize) -> Value {
    let length = diagonal_length(a.shape[axis1], a.shape[axis2], offset);
    let kept: Vec<usize> = (0..a.shape.len()).filter(|&axis| axis != axis1 && axis != axis2).collect();
    let mut shape: Vec<usize> = kept.iter().map(|&axis| a.shape[axis]).collect();
    let mut strides: Vec<isize> = kept.iter().map(|&axis| a.strides[axis]).collect();
    shape.push(length);
    strides.push(a.strides[axis1] + a.strides[axis2]);
    let first = offset as isize * if offset >= 0 { a.strides[axis2] } else { -a.strides[axis1] };
    a.view(shape, strides, if length == 0 { a.offset } else { a.offset + first })
}

/// Axes read backwards.
pub(super) fn flip(a: &Value, axes: &[usize]) -> Value {
    let mut flipped = a.clone();
    for &axis in axes.iter().filter(|&&axis| a.shape[axis] > 0) {
        flipped.offset += (a.shape[axis] - 1).cast_signed() * flipped.strides[axis];
        flipped.strides[axis] = -flipped.strides[axis];
    }
    flipped
}

/// Window dimensions appended to the shortened axes.
pub(super) fn window(a: &Value, windows: &[(usize, usize)]) -> Value {
    let (mut shape, mut strides) = (a.shape.clone(), a.strides.clone());
    for &(axis, extent) in windows {
        shape[axis] = shape[axis] + 1 - extent;
        shape.push(extent);
        strides.push(a.strides[axis]);
    }
    a.view(shape, strides, a.offset)
}
