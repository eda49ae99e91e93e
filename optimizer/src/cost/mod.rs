//! An analytic estimate of a schedule's running time, and a lower bound over all schedules.
//!
//! Input: a [`NormalForm`], a [`Schedule`], a [`Target`]. Output: nanoseconds, good for an order of
//! candidates before any was measured. The estimate is the larger of the time in the vector units and
//! the time to move data through each level of cache, plus a share of the others: register-tile fit,
//! load ports, latency of the accumulators, gathers, tails, packing, reuse at each loop level, aliasing
//! of rows in a cache's sets. It decides nothing about legality and measures nothing.
//!
//! Sources: Williams, Waterman, Patterson, *Roofline* (CACM 2009); Low et al., *Analytical modeling is
//! enough for high-performance BLIS* (TOMS 2016).

mod affinity;
pub mod footprint;
mod sweep;

use crate::cost::footprint::{LoadModel, StageModel, model, models};
use crate::form::context::contexts;
use crate::form::normal_form::{Def, NormalForm};
use crate::form::scalar_tree::Source;
use crate::nest::target::Target;
use crate::schedule::{Pack, Place, Schedule, StageSchedule};
use crate::value::numerics::Numerics;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use sweep::{Sharing, Sweep};

/// Rates of a machine in nanoseconds, from what was measured where it was measured.
#[derive(Clone, Debug, PartialEq)]
struct Rates {
    /// One vector multiply-add when they are issued as fast as possible.
    slot: f64,
    /// Bytes of each cache.
    caches: Vec<f64>,
    /// Per byte that is moved into the cache of that level from the next one.
    per_byte: Vec<f64>,
    line: usize,
    registers: f64,
    threads: f64,
    vector_bytes: usize,
}

/// Multiply-adds per cycle of the cores in question.
const ISSUE: f64 = 2.0;
/// Cycles of a multiply-add's latency.
const LATENCY: f64 = 4.0;
/// Runs of lines, each on another page, that are begun at no cost, and nanoseconds for each where there are more: no
/// prefetcher foresees it.
const FREE_RUNS: f64 = 64.0;
const NEW_RUN: f64 = 5.0;
/// Bytes of a page.
const PAGE: usize = 4096;
/// Nanoseconds to start the threads of a parallel loop and wait for them: 0.8 µs back to back, up to 2 µs after some time
/// in which one has worked alone.
const FORK: f64 = 2000.0;

impl Rates {
    fn new(target: &Target, threads: usize) -> Rates {
        let lanes = (target.vector_bytes as f64 / 4.0).max(1.0);
        let slot = match target.peak_gflops_f32 {
            Some(gflops) if gflops > 0.0 => 2.0 * lanes / gflops,
            _ => 0.125,
        };
        let cycle = slot * ISSUE;
        let caches: Vec<f64> = target.cache_bytes.iter().map(|&bytes| bytes as f64).collect();
        let memory = 1.0 / target.bandwidth_gb_s.filter(|&gb| gb > 0.0).unwrap_or(20.0);
        let levels = caches.len();
        let per_byte = (0..levels)
            .map(|level| match level {
                _ if level + 1 == levels => memory,
                0 => cycle / 32.0,
                _ => cycle / 14.0,
            })
            .collect();
        Rates {
            slot,
            caches,
            per_byte,
            line: target.line_bytes.max(1),
            registers: target.vector_registers.max(1) as f64,
            threads: threads.max(1) as f64,
            vector_bytes: target.vector_bytes,
        }
    }
}

/// Estimated time of the whole form in nanoseconds, in two summands: as if no thread ever needed what another has in its
/// cache, and what they lose because they do.
pub fn parts(
    form: &NormalForm,
    schedule: &Schedule,
    target: &Target,
    numerics: Numerics,
    threads: usize,
) -> (f64, f64) {
    let rates = Rates::new(target, threads);
    let models = models(form, schedule);
    let placements = placements(form, schedule, &models);
    let contexts = contexts(form);
    let fetching = affinity::fetching(form, &contexts, schedule, &models, &placements, &rates);
    let mut own = vec![0.0; models.len()];
    let mut total = vec![0.0; models.len()];
    for (id, model) in models.iter().enumerate() {
        let (Some(model), Some(stage), Some(placement)) = (model, schedule.stages.get(id), &placements[id]) else {
            continue;
        };
        let sweep = Sweep::new(form, &contexts, schedule, &rates, (id, model.scale));
        let extents = sweep.extents(&placement.extents);
        let cost = stage_cost(&rates, model, stage, (&extents, &sweep), numerics, &placements) + sweep.cold;
        own[id] = (cost * sweep.tiles * placement.executions * model.scale + sweep.entering) / sweep.threads;
        total[placement.root] += own[id];
    }
    let starts = |tile| Sharing::new(form, &contexts, tile, threads).starts;
    let mut sum: f64 = schedule.time_tiles.iter().map(|tile| starts(tile) * FORK).sum();
    for (id, time) in total.into_iter().enumerate() {
        let stage = &schedule.stages[id];
        sum += match (stage.shared_loop(), &models[id]) {
            (Some(first), Some(model)) if rates.threads > 1.0 => {
                let (outside, times) = block(stage, &model.extents, stage.serial);
                let trips = ceil(outside.get(first.axis).copied().unwrap_or(1), first.step) as f64;
                let packs = stage.packs.iter().filter(|pack| pack.depth <= stage.serial);
                let starts: f64 = packs.map(|pack| block(stage, &model.extents, pack.depth).1).sum::<f64>() + times;
                let share = longest_share(&form.defs[id], first.axis, trips, rates.threads);
                time * share.min(1.0) + FORK * starts * contexts[id].executions().max(1.0)
            }
            _ => time,
        };
    }
    (sum, fetching)
}

/// The share of a stage's work that the thread with most of it does, where the blocks of an axis are divided.
fn longest_share(def: &Def, axis: usize, trips: f64, threads: f64) -> f64 {
    let rounds = (trips / threads).ceil();
    if def.ragged().contains(&axis) {
        // Blocks of a triangle: the thread that gets the last gets the largest of every round.
        return rounds * (2.0 * trips - 1.0 - threads * (rounds - 1.0)) / (trips * trips);
    }
    if !def.varies(axis) {
        return rounds / trips;
    }
    // Fewer blocks in some iterations than in others: as if each number of them came as often.
    let (mut longest, mut all) = (0.0, 0.0);
    for part in [0.125, 0.375, 0.625, 0.875] {
        let some = (trips * part).ceil();
        longest += part * (some / threads).ceil() / some;
        all += part;
    }
    longest / all
}

/// Where a definition runs, how often, and on how much.
#[derive(Clone, Debug, PartialEq)]
struct Placement {
    /// The stage stored whole whose loops hold it in the end.
    root: usize,
    executions: f64,
    /// Of one execution.
    extents: Vec<usize>,
}

fn ceil(extent: usize, step: usize) -> usize {
    extent.div_ceil(step.max(1)).max(1)
}

/// Extents of one block inside the first `depth` loops, and how many blocks there are.
fn block(stage: &StageSchedule, extents: &[usize], depth: usize) -> (Vec<usize>, f64) {
    let mut block = extents.to_vec();
    let mut trips = 1.0;
    for step in stage.loops.iter().take(depth) {
        if let Some(extent) = block.get_mut(step.axis) {
            trips *= (*extent as f64 / step.step.max(1) as f64).max(1.0);
            *extent = (*extent).min(step.step.max(1));
        }
    }
    (block, trips)
}

fn placements(form: &NormalForm, schedule: &Schedule, models: &[Option<StageModel>]) -> Vec<Option<Placement>> {
    let mut found: Vec<Option<Placement>> = vec![None; models.len()];
    for id in (0..models.len()).rev() {
        let (Some(model), Some(stage)) = (&models[id], schedule.stages.get(id)) else { continue };
        let whole = Placement { root: id, executions: 1.0, extents: model.extents.clone() };
        let Place::At { consumer, depth } = stage.place else {
            found[id] = Some(whole);
            continue;
        };
        let (Some(holder), Some(outer)) = (schedule.stages.get(consumer), found.get(consumer).cloned().flatten())
        else {
            found[id] = Some(whole);
            continue;
        };
        let (inner, trips) = block(holder, &outer.extents, depth);
        // The hull of what every reader inside needs.
        let mut hull: Option<Vec<(i64, i64)>> = None;
        for (reader, reading) in models.iter().enumerate() {
            let Some(reading) = reading else { continue };
            let extents = match &found[reader] {
                _ if reader == consumer => &inner,
                Some(placement) => &placement.extents,
                None => continue,
            };
            for load in reading.loads.iter().filter(|load| load.source == Source::Def(id)) {
                let region = load.region(extents);
                hull = Some(match hull {
                    Some(hull) if hull.len() == region.len() => {
                        hull.iter().zip(&region).map(|(a, b)| (a.0.min(b.0), a.1.max(b.1))).collect()
                    }
                    Some(_) | None => region,
                });
            }
        }
        let mut extents = model.extents.clone();
        if let Some(hull) = hull.filter(|hull| hull.len() == form.defs[id].axes.len()) {
            for (extent, (low, high)) in extents.iter_mut().zip(hull) {
                *extent = (*extent).min(usize::try_from(high - low + 1).unwrap_or(1).max(1));
            }
        }
        found[id] = Some(Placement { root: outer.root, executions: outer.executions * trips, extents });
    }
    found
}

/// The share of a definition's elements computed again when it is placed so: 1 for none.
pub fn recompute(form: &NormalForm, schedule: &Schedule, id: usize) -> Option<(f64, f64)> {
    let models = models(form, schedule);
    let placement = placements(form, schedule, &models).into_iter().nth(id).flatten()?;
    let model = models[id].as_ref()?;
    let region: f64 = placement.extents.iter().take(model.points).map(|&e| e as f64).product();
    let whole: f64 = model.extents.iter().take(model.points).map(|&e| e as f64).product();
    Some((region * placement.executions / whole.max(1.0), region * model.bytes as f64))
}

/// How one load behaves in the register tile.
struct Shape<'a> {
    load: &'a LoadModel,
    pack: Option<&'a Pack>,
    /// Stride along the vector axis where the load is taken from.
    stride: i64,
    /// Vectors or broadcasts per register tile.
    count: f64,
}

/// Elements between neighbours along `axis` in a packed layout.
fn packed_stride(pack: &Pack, axis: usize, extents: &[usize]) -> i64 {
    let mut stride: i64 = 1;
    for (at, digit) in pack.layout.iter().enumerate().rev() {
        if digit.axis == axis && digit.step == 1 {
            return stride;
        }
        let outer = pack.layout[..at].iter().rev().find(|other| other.axis == digit.axis).map(|other| other.step);
        let extent = outer.unwrap_or_else(|| extents.get(digit.axis).copied().unwrap_or(1));
        stride = stride.saturating_mul(ceil(extent, digit.step) as i64);
    }
    stride
}

/// Time of one execution over `extents` on data that lie where the time tiles of `sweep` hold them.
fn stage_cost(
    rates: &Rates,
    model: &StageModel,
    stage: &StageSchedule,
    (extents, sweep): (&[usize], &Sweep),
    numerics: Numerics,
    placements: &[Option<Placement>],
) -> f64 {
    let axes = extents.len();
    let mut unroll = vec![1usize; axes];
    let mut lanes = vec![1usize; axes];
    for tile in &stage.tile {
        if tile.axis < axes {
            unroll[tile.axis] = tile.unroll.max(1);
            lanes[tile.axis] = tile.lanes.max(1);
        }
    }
    let vector = lanes.iter().position(|&n| n > 1);
    let width = lanes.iter().product::<usize>() as f64;
    let (inner, _) = block(stage, extents, stage.loops.len());
    let is_fold = |axis: usize| axis >= model.points;
    let registers_of = |wanted: &dyn Fn(usize) -> bool| -> f64 {
        (0..axes).filter(|&axis| wanted(axis)).map(|axis| unroll[axis].min(extents[axis].max(1)) as f64).product()
    };

    // ---- the register tile
    let parts = ((width * model.widest as f64) / rates.vector_bytes as f64).ceil().max(1.0);
    let tile = registers_of(&|_| true);
    let accumulators = tile * parts;
    let shapes: Vec<Shape<'_>> = model
        .loads
        .iter()
        .map(|load| {
            let pack = load.own.and_then(|own| stage.packs.iter().find(|pack| pack.load == own));
            let stride = vector.map_or(0, |axis| match pack {
                Some(pack) if load.strides[axis] != 0 => packed_stride(pack, axis, &inner),
                Some(_) | None => load.strides[axis],
            });
            let count = registers_of(&|axis| load.strides[axis] != 0);
            Shape { load, pack, stride, count }
        })
        .collect();
    let mut loading = 0.0;
    let mut hoisted = 0.0;
    let mut operands: f64 = 0.0;
    for shape in &shapes {
        let issue = match shape.stride {
            _ if width == 1.0 => shape.count,
            0 => shape.count,
            1 => shape.count * parts,
            -1 => shape.count * parts * 2.0,
            _ => shape.count * width * 1.5,
        };
        let varies = (0..axes).any(|axis| is_fold(axis) && shape.load.strides[axis] != 0);
        if model.fold.is_some() && !varies {
            hoisted += issue;
            operands += shape.count.min(4.0);
        } else {
            loading += issue;
            operands += if shape.stride == 0 || shape.count >= tile { 1.0 } else { shape.count * parts };
        }
    }
    let mut operating = model.cost * accumulators;
    if model.fused && numerics == Numerics::Exact {
        operating += accumulators;
    }
    let spilled = if model.fold.is_some() { (accumulators + operands - rates.registers).max(0.0) } else { 0.0 };
    loading += 3.0 * spilled;
    let latency = if model.fold.is_some() { LATENCY * ISSUE } else { 0.0 };
    let storing_per_tile = {
        let points = registers_of(&|axis| !is_fold(axis));
        match vector {
            Some(axis) if !is_fold(axis) => match model.store_strides[axis] {
                1 => points * parts * 2.0,
                _ => points * width * 2.0,
            },
            Some(_) | None => points * 2.0,
        }
    };
    let mut step = operating.max(loading).max((operating + loading) * 0.6).max(latency);
    if model.fold.is_none() {
        step = step.max(storing_per_tile).max((operating + loading + storing_per_tile) * 0.55) + 2.0;
    } else {
        step += 0.6;
    }
    // Code that leaves the micro-op cache.
    if tile * model.nodes as f64 > 600.0 {
        step *= 1.0 + 0.2 * (tile * model.nodes as f64 / 600.0).ln();
    }

    // ---- how often
    let mut tiles = 1.0;
    let mut fold_steps = 1.0;
    let mut blocked_fold = 1.0;
    let mut calls = 1.0;
    for axis in 0..axes {
        let extent = extents[axis].max(1);
        let inner_extent = inner[axis].max(1);
        let count = |length: usize| {
            let vectors = length.div_ceil(lanes[axis]) as f64;
            let whole = (vectors / unroll[axis] as f64).floor();
            let rest = vectors - whole * unroll[axis] as f64;
            whole + if rest > 0.0 { 0.35 + 0.65 * rest / unroll[axis] as f64 } else { 0.0 }
        };
        let blocks = extent / inner_extent;
        let rest = extent % inner_extent;
        let steps = blocks as f64 * count(inner_extent) + if rest > 0 { count(rest) } else { 0.0 };
        let all_blocks = blocks as f64 + f64::from(u8::from(rest > 0));
        calls *= all_blocks;
        if is_fold(axis) {
            fold_steps *= steps;
            blocked_fold *= all_blocks;
        } else {
            tiles *= steps;
        }
    }
    let mut compute = tiles * fold_steps * step;
    if model.fold.is_some() {
        let visits = tiles * blocked_fold;
        let reloads = if blocked_fold > 1.0 { storing_per_tile } else { 0.0 };
        let partial = match vector {
            Some(axis) if is_fold(axis) => registers_of(&|a| !is_fold(a)) * (4.0 + 4.0 * width.log2()),
            Some(_) | None => 0.0,
        };
        let partials = registers_of(&is_fold).log2() * 2.0 * registers_of(&|a| !is_fold(a));
        compute += visits * (storing_per_tile + reloads + hoisted + partial + partials + 10.0);
    } else {
        compute += tiles * hoisted;
    }
    compute += calls * 30.0;

    // ---- packing
    for shape in &shapes {
        let Some(pack) = shape.pack else { continue };
        let (packed, times) = block(stage, extents, pack.depth);
        let elements: f64 =
            (0..axes).filter(|&a| shape.load.strides[a] != 0).map(|a| packed[a].max(1) as f64).product();
        let last = pack.layout.last().map_or(0, |digit| digit.axis);
        let vectors = (rates.vector_bytes as f64 / shape.load.bytes as f64).max(1.0);
        let per_element = if shape.load.strides.get(last) == Some(&1) { 4.0 / vectors } else { 2.0 };
        compute += times * (elements * per_element + 40.0);
    }

    // ---- moving data
    let moving = traffic(rates, model, stage, (extents, sweep), &inner, &unroll, &lanes, &shapes, placements);
    let compute = compute * rates.slot;
    let longest = moving.iter().fold(compute, |longest, &time| longest.max(time));
    let sum = moving.iter().sum::<f64>() + compute;
    longest + 0.15 * (sum - longest) + runs(rates, model, extents)
}

/// Nanoseconds spent because what one execution reads lies in many runs of lines far from each other.
fn runs(rates: &Rates, model: &StageModel, extents: &[usize]) -> f64 {
    let mut of_source: BTreeMap<Source, f64> = BTreeMap::new();
    for load in &model.loads {
        let footprint = load.footprint(extents, rates.line);
        // What stays in the first cache is there again in the next iteration.
        let stays = rates.caches.first().is_some_and(|&cache| footprint.bytes <= cache);
        if footprint.row_stride >= PAGE && !stays {
            let count = of_source.entry(load.source).or_default();
            *count = count.max(footprint.rows);
        }
    }
    let all: f64 = of_source.values().sum();
    if all > FREE_RUNS { all * NEW_RUN } else { 0.0 }
}

/// Nanoseconds spent to move data into each cache level.
#[expect(clippy::too_many_arguments, reason = "the parts of one estimate, named where they are computed")]
fn traffic(
    rates: &Rates,
    model: &StageModel,
    stage: &StageSchedule,
    (extents, sweep): (&[usize], &Sweep),
    inner: &[usize],
    unroll: &[usize],
    lanes: &[usize],
    shapes: &[Shape<'_>],
    placements: &[Option<Placement>],
) -> Vec<f64> {
    let axes = extents.len();
    // Levels from the inside out: the extents of a block, the axis of the loop around it, its trips,
    // and how many step loops are outside it.
    let mut levels: Vec<(Vec<usize>, Option<usize>, f64, usize)> = Vec::new();
    let mut current: Vec<usize> =
        (0..axes).map(|axis| (unroll[axis] * lanes[axis]).min(extents[axis].max(1))).collect();
    for tile in stage.tile.iter().rev().filter(|tile| tile.axis < axes) {
        let trips = inner[tile.axis] as f64 / current[tile.axis].max(1) as f64;
        levels.push((current.clone(), Some(tile.axis), trips.max(1.0), stage.loops.len()));
        current[tile.axis] = inner[tile.axis];
    }
    let in_tile = levels.len();
    for (at, step) in stage.loops.iter().enumerate().rev().filter(|(_, step)| step.axis < axes) {
        let (outer, _) = block(stage, extents, at);
        let trips = outer[step.axis] as f64 / current[step.axis].max(1) as f64;
        levels.push((current.clone(), Some(step.axis), trips.max(1.0), at + 1));
        current[step.axis] = outer[step.axis];
    }
    levels.push((current, None, 1.0, 0));

    let of_load = |shape: &Shape<'_>, block: &[usize], depth: usize, cache: f64| -> (f64, f64) {
        if let Some(pack) = shape.pack.filter(|pack| pack.depth <= depth) {
            let elements: f64 =
                (0..axes).filter(|&a| shape.load.strides[a] != 0).map(|a| block[a].max(1) as f64).product();
            let whole = elements * shape.load.bytes as f64;
            let _ = pack;
            return (whole, whole);
        }
        let mut footprint = shape.load.footprint(block, rates.line);
        if let Source::Def(def) = shape.load.source
            && let Some(Some(placement)) = placements.get(def)
        {
            let held: f64 = placement.extents.iter().take(shape.load.extents.len()).map(|&e| e as f64).product::<f64>()
                * shape.load.bytes as f64;
            footprint.bytes = footprint.bytes.min(held.max(rates.line as f64));
        }
        // Rows whose distance is a multiple of the way size share few sets.
        let way = (cache / 12.0).max(4096.0).log2().floor().exp2();
        let mut occupied = footprint.bytes;
        if footprint.rows > 8.0 && footprint.row_stride > 0 {
            let shared = gcd(footprint.row_stride as u64, way as u64) as f64;
            let aliased = footprint.rows * shared.min(4096.0);
            if shared > footprint.run_bytes {
                occupied = occupied.max(aliased);
            }
        }
        (footprint.bytes, occupied)
    };
    let of_store = |block: &[usize]| -> f64 {
        let run = (0..axes).filter(|&a| model.store_strides[a] == 1).map(|a| block[a]).product::<usize>().max(1);
        let rows: f64 =
            (0..model.points).filter(|&a| model.store_strides[a] != 1).map(|a| block[a].max(1) as f64).product();
        rows * ((run * model.bytes) as f64 / rates.line as f64).ceil() * rates.line as f64
    };

    let mut times = Vec::with_capacity(rates.caches.len());
    for (level, (&cache, &per_byte)) in rates.caches.iter().zip(&rates.per_byte).enumerate() {
        let capacity = cache * 0.8;
        // What another load brings in the same block, or has brought in the one before, is there.
        let first_of = |at: usize, block: &[usize], sliding: Option<usize>| {
            let brought =
                |other: &&Shape<'_>| other.pack.is_none() && other.load.overlaps(shapes[at].load, block, sliding);
            shapes[at].pack.is_some() || !shapes[..at].iter().any(|other| brought(&other))
        };
        let fits = |block: &[usize], depth: usize| {
            let alone = shapes.iter().enumerate().filter(|(at, _)| first_of(*at, block, None));
            let loads: f64 = alone.map(|(_, shape)| of_load(shape, block, depth, cache).1).sum();
            loads + of_store(block) <= capacity
        };
        let whole = levels.last().map(|last| fits(&last.0, last.3));
        let past = stage.stream && level + 1 == rates.caches.len();
        if whole == Some(true) {
            let all = levels.last().map_or(0.0, |last| of_store(&last.0));
            // What several loads read of one array comes once.
            let mut loads: BTreeMap<Source, f64> = BTreeMap::new();
            for (shape, last) in shapes.iter().zip(levels.last().into_iter().cycle()) {
                let bytes = loads.entry(shape.load.source).or_default();
                *bytes = bytes.max(of_load(shape, &last.0, last.3, cache).0);
            }
            let brought = loads.values().sum::<f64>() + 2.0 * all;
            times.push(if past {
                all * per_byte
            } else {
                match level.cmp(&sweep.resident) {
                    Ordering::Less => brought * per_byte,
                    Ordering::Equal => sweep.lost * brought * per_byte,
                    Ordering::Greater => 0.0,
                }
            });
            continue;
        }
        // The largest block that stays.
        let boundary = levels.iter().rposition(|(block, _, _, depth)| fits(block, *depth)).unwrap_or(0);
        let mut bytes = 0.0;
        let (block, axis, _, depth) = &levels[boundary];
        for (_, shape) in shapes.iter().enumerate().filter(|(at, _)| first_of(*at, block, *axis)) {
            let (mut moved, _) = of_load(shape, block, *depth, cache);
            let short = shape.pack.is_none() && shape.load.footprint(block, rates.line).run_bytes < 256.0;
            for (position, (_, around, trips, _)) in levels.iter().enumerate().skip(boundary) {
                let Some(around) = around else { continue };
                // What the next loop does not index stays while the rest streams by.
                let invariant = shape.load.strides[*around] == 0;
                if position > boundary {
                    moved *= trips;
                } else if !invariant {
                    // A line of which the next iteration reads another part is still there.
                    let next =
                        levels.get(boundary + 1).map_or(f64::INFINITY, |next| of_load(shape, &next.0, next.3, cache).0);
                    moved = next.max(moved).min(moved * trips);
                }
            }
            // Overlapping windows: a sliding axis brings only what is new.
            let largest = shape.load.footprint(extents, rates.line).bytes;
            let invariant_trips: f64 = levels
                .iter()
                .skip(boundary + 1)
                .filter_map(|(_, around, trips, _)| around.filter(|&a| shape.load.strides[a] == 0).map(|_| *trips))
                .product();
            let spatial: f64 = levels
                .iter()
                .skip(boundary)
                .filter_map(|(_, around, trips, _)| around.filter(|&a| shape.load.strides[a] != 0).map(|_| *trips))
                .product();
            let (own, _) = of_load(shape, block, *depth, cache);
            moved = moved.min((own * spatial).max(largest) * invariant_trips.max(1.0));
            bytes += if short && level + 1 == rates.caches.len() { moved * 1.5 } else { moved };
        }
        let (block, ..) = &levels[boundary];
        let mut written = of_store(block) * if past { 1.0 } else { 2.0 };
        for (at, (_, around, trips, _)) in levels.iter().enumerate().skip(boundary) {
            // Inside of a register tile's fold nothing is stored; a loop around it stores what it has.
            if let Some(around) = around
                && (*around < model.points || at >= in_tile)
            {
                written *= trips;
            }
        }
        times.push((bytes + written) * per_byte);
    }
    times
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

/// No schedule of `form` is faster than this on `target`, in nanoseconds: every definition's operations
/// at the peak of all threads, and every result and needed operand once through memory where they
/// exceed the caches.
pub fn roofline_lower_bound(form: &NormalForm, target: &Target, threads: usize) -> f64 {
    let threads = threads.max(1) as f64;
    let mut operations = 0.0;
    let mut seen = vec![0.0_f64; form.params.len()];
    let mut bytes = 0.0;
    for (id, def) in form.defs.iter().enumerate() {
        let stage = model(form, id, &|_| false);
        let iterations = stage.iterations() * stage.scale;
        let peak = match def.dtype.bytes() {
            8 => target.peak_gflops_f64.or(target.peak_gflops_f32.map(|peak| peak / 2.0)),
            4 => target.peak_gflops_f32,
            _ => target.peak_gflops_f32.map(|peak| peak * 4.0),
        };
        // Each operation at the rate of half a multiply-add: never slower than it can be.
        operations += iterations * stage.operations / (peak.unwrap_or(2000.0) * threads);
        for load in &stage.loads {
            if let Source::Param(param) = load.source {
                let touched = iterations.min(load.elements() as f64) * load.bytes as f64;
                seen[param] = seen[param].max(if iterations >= load.elements() as f64 {
                    load.footprint(&stage.extents, 1).bytes.min(touched)
                } else {
                    touched
                });
            }
        }
        if form.outputs.contains(&id) {
            bytes += def.size() as f64 * stage.bytes as f64;
        }
    }
    bytes += seen.iter().sum::<f64>();
    let largest = target.cache_bytes.iter().copied().max().unwrap_or(0) as f64;
    let memory = (bytes - largest).max(0.0) / (target.bandwidth_gb_s.unwrap_or(100.0) * threads * 1.5);
    operations.max(memory)
}
