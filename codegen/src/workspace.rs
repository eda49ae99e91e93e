//! The layout of a nest's scratch memory: one block, with offsets fixed at compile time.
//!
//! Input: a nest and the number of threads. Output: where each `Shared` and `Private` buffer lies.
//! A buffer lives from the first to the last top-level node that mentions it; buffers whose lives
//! do not meet may share their bytes. (The code generator makes one function of every top-level
//! node, so two buffers that meet in no node never meet in a `noalias` argument list either.)

use moat_optimizer::nest::{BufferRole, LoopNest, Node};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Every offset is a multiple of this, and so must be the block's address.
pub const ALIGN: usize = 64;

/// Where scratch buffers lie in a kernel's workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspacePlan {
    /// Size of the block.
    pub bytes: usize,
    /// Alignment of the block.
    pub align: usize,
    /// Offset of each scratch buffer, by its index in the nest; for `Private` ones the copy of
    /// thread 0.
    pub offsets: BTreeMap<usize, usize>,
    /// Distance from one thread's private copies to the next thread's.
    pub private_stride: usize,
}

/// The first and last top-level node that mentions each buffer.
pub fn lifetimes(nest: &LoopNest) -> Vec<Option<(usize, usize)>> {
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; nest.buffers.len()];
    for (at, node) in nest.body.iter().enumerate() {
        for buffer in buffers_of(node) {
            if let Some(life) = lives.get_mut(buffer) {
                let first = life.map_or(at, |(first, _)| first);
                *life = Some((first, at));
            }
        }
    }
    lives
}

/// The buffers that a node mentions, sorted, each once.
pub fn buffers_of(node: &Node) -> Vec<usize> {
    let mut found = Vec::new();
    collect(node, &mut found);
    found.sort_unstable();
    found.dedup();
    found
}

fn collect(node: &Node, found: &mut Vec<usize>) {
    match node {
        Node::Loop(inner) => inner.body.iter().for_each(|node| collect(node, found)),
        Node::Tile(tile) => {
            found.push(tile.target);
            found.extend(tile.reads());
        }
    }
}

/// Lays out the scratch buffers of `nest` for `threads` threads.
pub fn plan(nest: &LoopNest, threads: usize) -> WorkspacePlan {
    let lives = lifetimes(nest);
    let mut shared = Vec::new();
    let mut private = Vec::new();
    for (buffer, (description, life)) in nest.buffers.iter().zip(&lives).enumerate() {
        let Some(life) = *life else { continue };
        let bytes = (description.len * description.dtype.bytes()).max(1).next_multiple_of(ALIGN);
        match description.role {
            BufferRole::Param(_) | BufferRole::Output(_) => {}
            // Read when everything else is done.
            BufferRole::Check(..) => shared.push(Item { buffer, bytes, life: (life.0, nest.body.len()) }),
            BufferRole::Shared => shared.push(Item { buffer, bytes, life }),
            BufferRole::Private => private.push(Item { buffer, bytes, life }),
        }
    }
    let mut offsets = BTreeMap::new();
    let shared_bytes = place(&mut shared, 0, &mut offsets);
    let private_stride = place(&mut private, shared_bytes, &mut offsets);
    WorkspacePlan { bytes: shared_bytes + threads.max(1) * private_stride, align: ALIGN, offsets, private_stride }
}

struct Item {
    buffer: usize,
    bytes: usize,
    life: (usize, usize),
}

/// First fit, the largest first; returns the extent used from `start` on.
fn place(items: &mut [Item], start: usize, offsets: &mut BTreeMap<usize, usize>) -> usize {
    items.sort_by_key(|item| (std::cmp::Reverse(item.bytes), item.buffer));
    let mut placed: Vec<(usize, usize, (usize, usize))> = Vec::new();
    let mut extent = 0;
    for item in items.iter() {
        let mut at = 0;
        placed.sort_by_key(|&(offset, bytes, _)| (offset, bytes));
        for &(offset, bytes, life) in &placed {
            let meet = life.0 <= item.life.1 && item.life.0 <= life.1;
            if meet && at + item.bytes > offset {
                at = at.max(offset + bytes);
            }
        }
        placed.push((at, item.bytes, item.life));
        offsets.insert(item.buffer, start + at);
        extent = extent.max(at + item.bytes);
    }
    extent
}
