//! The term of packing: what copies of operands take in the vector units.
//!
//! Takes an [`Execution`]; gives slots for each load that is packed.

use super::constants::{PACK_ELEMENT, PACK_ENTRY, PACK_VECTOR};
use super::execution::Execution;
use super::placement::block;
use super::register_tile::TileLoad;
use crate::schedule::Pack;

/// Slots of each copy, in the order of the loads.
pub(super) fn slots(execution: &Execution<'_>) -> impl Iterator<Item = f64> {
    execution.tile.loads.iter().filter_map(|of| Some(copy(execution, of, of.pack?)))
}

fn copy(execution: &Execution<'_>, of: &TileLoad<'_>, pack: &Pack) -> f64 {
    let (packed, times) = block(execution.stage, execution.extents, pack.depth);
    let elements: f64 =
        (0..packed.len()).filter(|&a| of.load.strides[a] != 0).map(|a| packed[a].max(1) as f64).product();
    let last = pack.layout.last().map_or(0, |digit| digit.axis);
    let vectors = (execution.rates.vector_bytes as f64 / of.load.bytes as f64).max(1.0);
    let per_element = if of.load.strides.get(last) == Some(&1) { PACK_VECTOR / vectors } else { PACK_ELEMENT };
    times * (elements * per_element + PACK_ENTRY)
}

#[cfg(test)]
mod tests {
    use super::slots;
    use crate::cost::samples::{execution, pack, product, rates, vectors};
    use crate::schedule::LoopSpec;

    #[test]
    fn a_copy_inside_a_loop_is_made_in_every_trip() {
        let rates = rates();
        let model = product(64, 64, 64);
        let mut stage = vectors(&model, 1);
        stage.loops = vec![LoopSpec { axis: 0, step: 16 }];
        let mut of = |depth| {
            stage.packs = vec![pack(1, depth, &[2, 1])];
            slots(&execution(&rates, &model, &stage)).collect::<Vec<f64>>()
        };
        let (outside, inside) = (of(0), of(1));
        assert_eq!((outside.len(), inside.len()), (1, 1));
        assert_eq!(inside[0], 4.0 * outside[0]);
    }

    #[test]
    fn elements_that_are_apart_are_copied_one_by_one() {
        let rates = rates();
        let model = product(64, 64, 64);
        let of = |axes: &[usize]| {
            let mut stage = vectors(&model, 1);
            stage.packs = vec![pack(1, 0, axes)];
            slots(&execution(&rates, &model, &stage)).sum::<f64>()
        };
        assert!(of(&[1, 2]) > 4.0 * of(&[2, 1]));
    }

    #[test]
    fn without_a_pack_nothing_is_copied() {
        let rates = rates();
        let model = product(64, 64, 64);
        assert_eq!(slots(&execution(&rates, &model, &vectors(&model, 1))).count(), 0);
    }
}
