//! The term of movement: the time to bring data into each cache, and to write them back.
//!
//! Takes an [`Execution`]; gives nanoseconds for each cache, the innermost first.
//!
//! Source: Low et al., *Analytical modeling is enough for high-performance BLIS* (TOMS 2016).

use super::constants::{CAPACITY, IN_AND_OUT, ROWS_HELD, SHORT_RUN, SHORT_RUN_FACTOR, SMALLEST_WAY, WAYS};
use super::execution::Execution;
use super::levels::{Level, Levels};
use super::register_tile::TileLoad;
use crate::form::scalar_tree::Source;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Nanoseconds spent to move data into each cache level.
pub(super) fn times(execution: &Execution<'_>) -> Vec<f64> {
    let rates = execution.rates;
    let levels = Levels::new(execution);
    let of_cache = |(level, (&bytes, &per_byte)): (usize, (&f64, &f64))| {
        let last = level + 1 == rates.caches.len();
        Movement { execution, levels: &levels, level, last, bytes, per_byte }.time()
    };
    rates.caches.iter().zip(&rates.per_byte).enumerate().map(of_cache).collect()
}

/// What a block touches by one load.
struct Touched {
    /// Bytes, in whole lines.
    bytes: f64,
    /// Bytes of cache that it keeps from others, more than that where rows share few sets.
    occupied: f64,
}

/// The movement into one cache.
struct Movement<'a> {
    execution: &'a Execution<'a>,
    levels: &'a Levels,
    /// The number of the cache, 0 the innermost.
    level: usize,
    /// Data come from memory.
    last: bool,
    /// Bytes of the cache.
    bytes: f64,
    /// Nanoseconds to move a byte into it.
    per_byte: f64,
}

impl Movement<'_> {
    fn time(&self) -> f64 {
        // Stores go past the caches.
        let past = self.execution.stage.stream && self.last;
        if self.fits(&self.levels.whole) {
            return self.time_of_whole(past);
        }
        // The largest block that stays.
        let (boundary, level) = self.levels.largest(|level| self.fits(level));
        let sliding = level.around.map(|around| around.axis);
        let mut bytes = 0.0;
        for (at, of) in self.execution.tile.loads.iter().enumerate() {
            if !self.is_first(at, &level.block, sliding) {
                continue;
            }
            let moved = self.moved(of, boundary, level);
            let run_bytes = || of.load.footprint(&level.block, self.execution.rates.line).run_bytes;
            let short = self.last && of.pack.is_none() && run_bytes() < SHORT_RUN;
            bytes += if short { moved * SHORT_RUN_FACTOR } else { moved };
        }
        (bytes + self.written(past, boundary, level)) * self.per_byte
    }

    /// The time where all that the execution touches stays in the cache.
    fn time_of_whole(&self, past: bool) -> f64 {
        let whole = &self.levels.whole;
        let stored = stored_bytes(self.execution, &whole.block);
        // What several loads read of one array comes once.
        let mut loads: BTreeMap<Source, f64> = BTreeMap::new();
        for of in &self.execution.tile.loads {
            let bytes = loads.entry(of.load.source).or_default();
            *bytes = bytes.max(self.touched(of, whole).bytes);
        }
        let brought = loads.values().sum::<f64>() + IN_AND_OUT * stored;
        if past {
            return stored * self.per_byte;
        }
        let residence = self.execution.residence;
        match self.level.cmp(&residence.level) {
            Ordering::Less => brought * self.per_byte,
            Ordering::Equal => residence.lost * brought * self.per_byte,
            Ordering::Greater => 0.0,
        }
    }

    /// Bytes that come by one load, where the block `level` is the largest that stays.
    fn moved(&self, of: &TileLoad<'_>, boundary: usize, level: &Level) -> f64 {
        let own = self.touched(of, level).bytes;
        let mut moved = own;
        let varies = |axis: usize| of.load.strides[axis] != 0;
        if let Some(around) = level.around.filter(|around| varies(around.axis)) {
            // What the next loop does not index stays while the rest streams by. Of what it does index, a line of which
            // the next iteration reads another part is still there.
            let next = self.levels.get(boundary + 1).map_or(f64::INFINITY, |next| self.touched(of, next).bytes);
            moved = next.max(moved).min(moved * around.trips);
        }
        for around in self.levels.around(boundary + 1) {
            moved *= around.trips;
        }
        // Overlapping windows: a sliding axis brings only what is new.
        let largest = of.load.footprint(self.execution.extents, self.execution.rates.line).bytes;
        let outer = self.levels.around(boundary + 1).filter(|around| !varies(around.axis));
        let invariant: f64 = outer.map(|around| around.trips).product();
        let indexed = self.levels.around(boundary).filter(|around| varies(around.axis));
        let spatial: f64 = indexed.map(|around| around.trips).product();
        moved.min((own * spatial).max(largest) * invariant.max(1.0))
    }

    /// Bytes that are written, where the block `level` is the largest that stays.
    fn written(&self, past: bool, boundary: usize, level: &Level) -> f64 {
        let mut written = stored_bytes(self.execution, &level.block) * if past { 1.0 } else { IN_AND_OUT };
        for around in self.levels.around(boundary) {
            // Inside of a register tile's fold nothing is stored; a loop around it stores what it has.
            if around.axis < self.execution.model.points || !around.in_tile {
                written *= around.trips;
            }
        }
        written
    }

    /// Whether all that a block touches stays in the cache.
    fn fits(&self, level: &Level) -> bool {
        let loads = self.execution.tile.loads.iter().enumerate();
        let alone = loads.filter(|(at, _)| self.is_first(*at, &level.block, None));
        let occupied: f64 = alone.map(|(_, of)| self.touched(of, level).occupied).sum();
        occupied + stored_bytes(self.execution, &level.block) <= self.bytes * CAPACITY
    }

    /// Whether no load before that at `at` brings the same in the same block, or has brought it in the one before.
    fn is_first(&self, at: usize, block: &[usize], sliding: Option<usize>) -> bool {
        let loads = &self.execution.tile.loads;
        let brought =
            |other: &TileLoad<'_>| other.pack.is_none() && other.load.overlaps(loads[at].load, block, sliding);
        loads[at].pack.is_some() || !loads[..at].iter().any(brought)
    }

    fn touched(&self, of: &TileLoad<'_>, level: &Level) -> Touched {
        let line = self.execution.rates.line;
        if of.pack.is_some_and(|pack| pack.depth <= level.depth) {
            let extents = level.block.iter().zip(&of.load.strides);
            let elements: f64 =
                extents.filter(|&(_, &stride)| stride != 0).map(|(&extent, _)| extent.max(1) as f64).product();
            let bytes = elements * of.load.bytes as f64;
            return Touched { bytes, occupied: bytes };
        }
        let mut footprint = of.load.footprint(&level.block, line);
        if let Source::Def(def) = of.load.source
            && let Some(Some(placement)) = self.execution.placements.get(def)
        {
            let held: f64 = placement.extents.iter().take(of.load.extents.len()).map(|&e| e as f64).product::<f64>()
                * of.load.bytes as f64;
            footprint.bytes = footprint.bytes.min(held.max(line as f64));
        }
        // Rows whose distance is a multiple of the way size share few sets.
        let way = (self.bytes / WAYS).max(SMALLEST_WAY).log2().floor().exp2();
        let mut occupied = footprint.bytes;
        if footprint.rows > ROWS_HELD && footprint.row_stride > 0 {
            let shared = gcd(footprint.row_stride as u64, way as u64) as f64;
            let aliased = footprint.rows * shared.min(SMALLEST_WAY);
            if shared > footprint.run_bytes {
                occupied = occupied.max(aliased);
            }
        }
        Touched { bytes: footprint.bytes, occupied }
    }
}

/// Bytes that a block stores, in whole lines.
fn stored_bytes(execution: &Execution<'_>, block: &[usize]) -> f64 {
    let (model, line) = (execution.model, execution.rates.line as f64);
    let run = (0..block.len()).filter(|&a| model.store_strides[a] == 1).map(|a| block[a]).product::<usize>().max(1);
    let rows: f64 =
        (0..model.points).filter(|&a| model.store_strides[a] != 1).map(|a| block[a].max(1) as f64).product();
    rows * ((run * model.bytes) as f64 / line).ceil() * line
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::times;
    use crate::cost::execution::Residence;
    use crate::cost::samples::{execution, map, pack, product, rates, transposed, vectors};
    use crate::schedule::LoopSpec;

    #[test]
    fn twice_the_rows_move_twice_as_much() {
        let rates = rates();
        let of = |rows| {
            let model = map(rows, 4096);
            times(&execution(&rates, &model, &vectors(&model, 1)))
        };
        let twice: Vec<f64> = of(4096).iter().map(|time| 2.0 * time).collect();
        assert_eq!(of(8192), twice);
    }

    #[test]
    fn a_stream_moves_each_line_of_the_result_once_and_not_twice() {
        let rates = rates();
        let model = map(4096, 4096);
        let mut stage = vectors(&model, 1);
        let bytes = 4.0 * 4096.0 * 4096.0;
        assert_eq!(times(&execution(&rates, &model, &stage))[2], 3.0 * bytes * rates.per_byte[2]);
        stage.stream = true;
        assert_eq!(times(&execution(&rates, &model, &stage))[2], 2.0 * bytes * rates.per_byte[2]);
    }

    #[test]
    fn what_lies_in_a_cache_moves_only_into_those_inside_of_it() {
        let rates = rates();
        let model = map(16, 16);
        let stage = vectors(&model, 1);
        let mut execution = execution(&rates, &model, &stage);
        execution.residence = Residence { level: 1, lost: 0.0 };
        assert_eq!(times(&execution), vec![3.0 * 1024.0 * rates.per_byte[0], 0.0, 0.0]);
        execution.residence = Residence { level: 1, lost: 0.5 };
        assert_eq!(times(&execution)[1], 0.5 * 3.0 * 1024.0 * rates.per_byte[1]);
    }

    #[test]
    fn a_packed_load_moves_no_more_than_the_same_load_from_where_it_lies() {
        let rates = rates();
        let model = transposed(1024, 1024);
        let mut stage = vectors(&model, 1);
        let apart = times(&execution(&rates, &model, &stage));
        stage.packs = vec![pack(0, 0, &[0, 1])];
        let packed = times(&execution(&rates, &model, &stage));
        assert!(packed.iter().zip(&apart).all(|(packed, apart)| packed <= apart), "{packed:?} {apart:?}");
        assert!(packed[0] < apart[0]);
    }

    #[test]
    fn blocks_that_a_cache_holds_move_less() {
        let rates = rates();
        let model = product(2016, 2016, 2016);
        let mut stage = vectors(&model, 1);
        let plain = times(&execution(&rates, &model, &stage));
        stage.loops = vec![LoopSpec { axis: 1, step: 288 }, LoopSpec { axis: 2, step: 288 }];
        let blocked = times(&execution(&rates, &model, &stage));
        assert!(blocked[1] < plain[1] && blocked[2] < plain[2], "{blocked:?} {plain:?}");
    }
}
