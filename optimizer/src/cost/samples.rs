//! Small stages for the tests of the terms.
//!
//! Gives models of a product of matrices and of a map, schedules for them, and rates that are written down.

use super::execution::{Execution, Residence};
use super::rates::Rates;
use crate::cost::footprint::{LoadModel, StageModel};
use crate::form::scalar_tree::Source;
use crate::integer::affine::Affine;
use crate::schedule::plain::plain_stage;
use crate::schedule::{LoopSpec, Pack, StageSchedule};
use crate::value::scalar::FoldOp;

/// A machine with a slot of 1 ns, vectors of 64 bytes and three caches.
pub(super) fn rates() -> Rates {
    Rates {
        slot: 1.0,
        caches: vec![32e3, 1e6, 16e6],
        per_byte: vec![0.01, 0.02, 0.05],
        line: 64,
        registers: 32.0,
        threads: 1.0,
        vector_bytes: 64,
    }
}

/// The load of an f32 array of `extents` at one axis of the stage for each of its own.
fn load(own: usize, extents: &[usize], index: &[usize], axes: usize) -> LoadModel {
    let mut strides = vec![0; axes];
    let mut stride = 1;
    for (&axis, &extent) in index.iter().zip(extents).rev() {
        strides[axis] = stride;
        stride *= extent as i64;
    }
    LoadModel {
        source: Source::Param(own),
        own: Some(own),
        bytes: 4,
        extents: extents.to_vec(),
        index: index.iter().map(|&axis| Affine::variable(axis)).collect(),
        strides,
    }
}

fn model(extents: Vec<usize>, points: usize, loads: Vec<LoadModel>) -> StageModel {
    let mut store_strides = vec![0; extents.len()];
    let mut stride = 1;
    for axis in (0..points).rev() {
        store_strides[axis] = stride;
        stride *= extents[axis] as i64;
    }
    StageModel {
        extents,
        points,
        bytes: 4,
        store_strides,
        loads,
        cost: 1.0,
        operations: 1.0,
        nodes: 3,
        fold: None,
        fused: false,
        blocks: false,
        scale: 1.0,
        widest: 4,
    }
}

/// `c[i, j] = sum over k of a[i, k] * b[k, j]`, of f32.
pub(super) fn product(rows: usize, columns: usize, terms: usize) -> StageModel {
    let loads = vec![load(0, &[rows, terms], &[0, 2], 3), load(1, &[terms, columns], &[2, 1], 3)];
    StageModel { fold: Some(FoldOp::Sum), fused: true, ..model(vec![rows, columns, terms], 2, loads) }
}

/// `b[i, j] = f(a[i, j])`, of f32.
pub(super) fn map(rows: usize, columns: usize) -> StageModel {
    model(vec![rows, columns], 2, vec![load(0, &[rows, columns], &[0, 1], 2)])
}

/// `b[i, j] = f(a[j, i])`, of f32.
pub(super) fn transposed(rows: usize, columns: usize) -> StageModel {
    model(vec![rows, columns], 2, vec![load(0, &[columns, rows], &[1, 0], 2)])
}

/// The plain schedule of a stage, with 16 lanes along `vector`.
pub(super) fn vectors(model: &StageModel, vector: usize) -> StageSchedule {
    let mut stage = plain_stage(model.extents.len());
    stage.tile[vector].lanes = 16;
    stage
}

/// A copy of a load, with the digits of each axis single elements, in the order of `axes`.
pub(super) fn pack(load: usize, depth: usize, axes: &[usize]) -> Pack {
    Pack { load, depth, layout: axes.iter().map(|&axis| LoopSpec { axis, step: 1 }).collect() }
}

/// One execution of the whole stage, with nothing in the caches before.
pub(super) fn execution<'a>(rates: &'a Rates, model: &'a StageModel, stage: &'a StageSchedule) -> Execution<'a> {
    let cold = Residence { level: rates.caches.len(), lost: 0.0 };
    Execution::new(rates, model, stage, &model.extents, cold, &[])
}
