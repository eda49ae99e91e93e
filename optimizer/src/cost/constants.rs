//! Every number of the cost model that is not a fact about the machine at hand.
//!
//! Holds constants only: takes nothing, gives each number a name, a unit and what it stands for. Where nothing is said of
//! how a number was found, it was set by hand and not fitted to measured times. A *slot* is the time of one vector
//! multiply-add when they are issued as fast as possible.

// ---- rates of the machine

/// Multiply-adds per cycle of the cores in question. Set by hand.
pub(super) const ISSUE: f64 = 2.0;
/// Cycles of a multiply-add's latency. Set by hand.
pub(super) const LATENCY: f64 = 4.0;
/// Bytes of an f32, whose measured peak gives the time of a slot.
pub(super) const F32_BYTES: f64 = 4.0;
/// Operations of a multiply-add in a lane, as a peak in GFLOP/s counts them.
pub(super) const FLOPS_OF_A_LANE: f64 = 2.0;
/// Nanoseconds of a slot where no peak was measured. Set by hand.
pub(super) const UNMEASURED_SLOT: f64 = 0.125;
/// GB/s from memory where no bandwidth was measured. Set by hand.
pub(super) const UNMEASURED_BANDWIDTH: f64 = 20.0;
/// Bytes per cycle from the second cache into the first. Set by hand.
pub(super) const FIRST_CACHE_BYTES: f64 = 32.0;
/// Bytes per cycle into each cache between the first and the last. Set by hand.
pub(super) const MIDDLE_CACHE_BYTES: f64 = 14.0;

// ---- the register tile

/// Slots of a vector load from descending addresses, in those of one from ascending ones: the lanes are reversed. Set by
/// hand.
pub(super) const REVERSED_LOAD: f64 = 2.0;
/// Slots of each lane of a vector whose elements are apart. Set by hand.
pub(super) const GATHERED_LANE: f64 = 1.5;
/// Registers at most that operands loaded once for all terms of a fold take. Set by hand.
pub(super) const HELD_OPERANDS: f64 = 4.0;
/// Slots of each register that there is not, in every step of a fold: stored, and loaded again. Set by hand.
pub(super) const SPILL: f64 = 3.0;
/// Slots of one store. Set by hand.
pub(super) const STORE: f64 = 2.0;
/// The share of the sum of operations and loads that a step takes at least: they overlap in part. Set by hand.
pub(super) const LOAD_OVERLAP: f64 = 0.6;
/// Slots of a step of a fold beside its operations and loads: the loop. Set by hand.
pub(super) const FOLD_STEP: f64 = 0.6;
/// The share of the sum of operations, loads and stores that a step without a fold takes at least. Set by hand.
pub(super) const STORE_OVERLAP: f64 = 0.55;
/// Slots of a step without a fold beside its operations, loads and stores: the loop. Set by hand.
pub(super) const MAP_STEP: f64 = 2.0;
/// Scalar nodes of a register tile's code that the micro-op cache holds. Set by hand.
pub(super) const MICRO_OP_CACHE: f64 = 600.0;
/// How much slower a step is where its code is e times as large as the micro-op cache. Set by hand.
pub(super) const MICRO_OP_MISS: f64 = 0.2;

// ---- how often

/// The part of a whole tile's time that the tile at the end of an axis takes however few vectors it has, and the part
/// that grows with them. Set by hand.
pub(super) const TAIL_FIXED: f64 = 0.35;
/// See [`TAIL_FIXED`].
pub(super) const TAIL_GROWING: f64 = 0.65;
/// Slots to fold the lanes of an accumulator into one element. Set by hand.
pub(super) const LANES_FOLD: f64 = 4.0;
/// Slots of each halving of its lanes. Set by hand.
pub(super) const LANES_HALVING: f64 = 4.0;
/// Slots of each halving of the partial accumulators of a point. Set by hand.
pub(super) const PARTIALS_HALVING: f64 = 2.0;
/// Slots to begin and end the fold of a register tile. Set by hand.
pub(super) const FOLD_VISIT: f64 = 10.0;
/// Slots to enter the loops of a block. Set by hand.
pub(super) const BLOCK_ENTRY: f64 = 30.0;

// ---- packing

/// Slots to copy a vector of elements that are neighbours on both sides. Set by hand.
pub(super) const PACK_VECTOR: f64 = 4.0;
/// Slots to copy one element that has no neighbour beside it. Set by hand.
pub(super) const PACK_ELEMENT: f64 = 2.0;
/// Slots to begin a copy. Set by hand.
pub(super) const PACK_ENTRY: f64 = 40.0;

// ---- movement through the caches

/// The share of the times that are not the longest which they add to it: computing and moving overlap, not entirely. Set
/// by hand.
pub(super) const HIDDEN: f64 = 0.15;
/// The share of a cache that a block may occupy and stay. Set by hand.
pub(super) const CAPACITY: f64 = 0.8;
/// Ways of a cache. Set by hand.
pub(super) const WAYS: f64 = 12.0;
/// Bytes of a way at least, and of a page: rows closer to each other do not meet in the same sets. Set by hand.
pub(super) const SMALLEST_WAY: f64 = 4096.0;
/// Rows in the same sets that any cache holds. Set by hand.
pub(super) const ROWS_HELD: f64 = 8.0;
/// How often a line that is written passes between caches: it comes in, and goes out again.
pub(super) const IN_AND_OUT: f64 = 2.0;
/// Bytes of a run that is too short for the prefetchers. Set by hand.
pub(super) const SHORT_RUN: f64 = 256.0;
/// What a byte of a short run takes from memory, in those of a long one. Set by hand.
pub(super) const SHORT_RUN_FACTOR: f64 = 1.5;
/// Runs of lines, each on another page, that are begun at no cost. Set by hand.
pub(super) const FREE_RUNS: f64 = 64.0;
/// Nanoseconds of each run where there are more: no prefetcher foresees it. Set by hand.
pub(super) const NEW_RUN: f64 = 5.0;
/// Bytes of a page.
pub(super) const PAGE: usize = 4096;

// ---- threads

/// Nanoseconds to start the threads of a parallel loop and wait for them: 0.8 µs back to back, up to 2 µs after some time
/// in which one has worked alone. Nothing is known of the machine on which that was seen.
pub(super) const FORK: f64 = 2000.0;
/// Shares of the most blocks that a loop with a varying number of them has, each as often as the others: the middles of
/// four equal parts. Set by hand.
pub(super) const VARYING_SHARES: [f64; 4] = [0.125, 0.375, 0.625, 0.875];
/// Nanoseconds to fetch a byte that another core has written, in those of a byte from memory: what two cores without a
/// cache in common take. Nothing is known of the machine on which that was seen.
pub(super) const FETCH: f64 = 3.0;
/// [`FETCH`] once more, where each line is far from the one before: no prefetcher asks for it in advance. Set by hand.
pub(super) const SCATTERED_FETCH: f64 = 5.0;
/// Elements of a dimension that are asked for their threads. Set by hand.
pub(super) const FETCH_SAMPLES: usize = 1000;

// ---- time tiles

/// Nanoseconds to begin a loop that a tile bounds: its bounds, and a branch that is not foreseen. Set by hand.
pub(super) const TILE_ENTRY: f64 = 6.0;
/// Nanoseconds to see whether an execution lies in a tile. Set by hand.
pub(super) const TILE_GUARD: f64 = 1.5;
/// The share of a cache up to which it loses nothing. Beyond it sets overflow, the more the fuller it is: pages lie
/// anywhere, and a cache that cores share has other things to hold. Set by hand.
pub(super) const ROOMY: f64 = 0.5;

// ---- the lower bound

/// GFLOP/s of a core where no peak was measured: more than any has. Set by hand.
pub(super) const BOUND_GFLOPS: f64 = 2000.0;
/// The peak of f32 in that of f64. Set by hand.
pub(super) const F64_SHARE: f64 = 2.0;
/// The peak of elements of one or two bytes, in that of f32. Set by hand.
pub(super) const NARROW_FACTOR: f64 = 4.0;
/// GB/s of a core where no bandwidth was measured: more than any has. Set by hand.
pub(super) const BOUND_BANDWIDTH: f64 = 100.0;
/// How much faster than measured memory may be. Set by hand.
pub(super) const BANDWIDTH_MARGIN: f64 = 1.5;

// ---- inlined definitions

/// Scalar nodes of a stage at most: inlining multiplies, and beyond them a stage gets the worst cost. Set by hand.
pub(super) const MAX_NODES: usize = 4000;
/// Definitions inlined into each other at most. Set by hand.
pub(super) const MAX_INLINE_DEPTH: usize = 64;
