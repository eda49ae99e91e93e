//! The loop in tiles: a rewrite of the tree of loops, so that nothing after it knows of it.
//!
//! Serial: `for block: for band₁: … for bandₙ: for t in block: statements in the bands`.
//!
//! Parallel: `for block: parallel for band₁: …`, where the bands are independent.
//!
//! Parallel, on a wavefront: tile (block, band₁) needs tiles (block, < band₁), and of the block before it those up to
//! `band₁ + k` with k = ⌈skew·time / height⌉, because the bands of a block begin where the iteration is the block's
//! first. So with K = k + 1 the tiles of one wave `K·block + band₁` are independent, and a wave needs only earlier ones.
//! Waves are counted by digits, wave = K·w₁ + w₀, so that every bound has the coefficient 1:
//! `for w₁: for w₀ in 0..K: parallel for block: band₁ = K·(w₁ − block) + w₀: …`.

use super::{coordinate, loops, range_of, signed, updates};
use crate::affine::Affine;
use crate::normal_form::{DefId, NormalForm, Range, Step, loop_variable};
use crate::schedule::TimeTile;

/// A form with a loop in tiles.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiled {
    /// The form.
    pub form: NormalForm,
    /// The loop whose iterations threads may share.
    pub parallel: Option<usize>,
}

/// The form with a loop in tiles. `None` where the loop or its body is not of the kind that [`super::tilable`] finds.
#[must_use]
pub fn skewed(form: &NormalForm, tile: &TimeTile) -> Option<Tiled> {
    let all = loops(&form.steps);
    let (_, body) = all.iter().find(|(var, _)| *var == tile.var)?;
    let defs = updates(form, body)?;
    let next = 1 + all.iter().map(|(var, _)| *var).max().unwrap_or(0);
    let mut tiled = form.clone();
    let time = signed(tile.time);
    let range = range_of(&form.steps, tile.var)?;
    let ([lo], [hi]) = (range.lo.as_slice(), range.hi.as_slice()) else { return None };
    let (lo, hi) = (lo.clone(), hi.clone());
    let blocks = ceil_div(Some(hi.minus(&lo)).filter(Affine::is_constant)?.constant, time)?;
    let outer = next..next + 3;
    let block = Affine::variable(loop_variable(next));
    let t = Affine::variable(loop_variable(tile.var));
    let first = lo.plus(&block.times(time));
    let around = Loops::new(form, tile, &defs, outer, blocks)?;
    for (at, band) in tile.bands.iter().enumerate() {
        for (number, &id) in defs.iter().enumerate() {
            let def = &mut tiled.defs[id];
            let (form, axis) = coordinate(def, band.dim)?;
            let phase = t.minus(&first).times(signed(band.skew)).offset(signed(*band.shifts.get(number)?));
            let height = signed(band.height);
            let low = around.bands[at].times(height).minus(&phase);
            match axis {
                Some(axis) => {
                    // The axis is the coordinate less a constant.
                    let rest = form.minus(&Affine::variable(axis));
                    for piece in &mut def.pieces {
                        piece.domain[axis].lo.push(low.minus(&rest));
                        piece.domain[axis].hi.push(low.minus(&rest).offset(height));
                    }
                }
                None => {
                    let inside = vec![form.minus(&low), low.offset(height - 1).minus(&form)];
                    guard(&mut tiled.steps, id, &inside);
                }
            }
        }
    }
    let inner = Range { lo: vec![first.clone()], hi: vec![hi, first.offset(time)] };
    tiled.steps = rebuild(&tiled.steps, tile.var, &inner, &around.loops);
    let scopes = crate::normal_form::scopes(&tiled);
    for (def, scope) in tiled.defs.iter_mut().zip(scopes) {
        def.scope = scope;
    }
    Some(Tiled { form: tiled, parallel: tile.parallel.then_some(around.shared) })
}

/// The loops around a tile.
struct Loops {
    /// Number, what it is called after the time loop's name, and range; outermost first.
    loops: Vec<(usize, &'static str, Range)>,
    /// The number of each band over the loops' variables.
    bands: Vec<Affine>,
    /// The loop that threads may share.
    shared: usize,
}

impl Loops {
    /// `outer`: numbers for the block and, on a wavefront, the digits of the wave.
    fn new(
        form: &NormalForm,
        tile: &TimeTile,
        defs: &[DefId],
        outer: std::ops::Range<usize>,
        blocks: i64,
    ) -> Option<Loops> {
        let (block, high, low) = (outer.start, outer.start + 1, outer.start + 2);
        let [first, rest @ ..] = tile.bands.as_slice() else { return None };
        let count = |band: &crate::schedule::Band| -> Option<i64> {
            // Coordinates of all statements lie in the states' extents.
            let extent = defs.iter().filter_map(|&id| {
                let update = form.defs[id].update.as_ref()?;
                form.states.get(update.state)?.shape.get(band.dim).copied()
            });
            let shift = band.shifts.iter().copied().max().unwrap_or(0);
            ceil_div(
                signed(extent.max()?) + signed(band.skew) * signed(tile.time - 1) + signed(shift),
                signed(band.height),
            )
        };
        let mut loops = Vec::new();
        let mut bands = Vec::new();
        let wavefront = tile.parallel && !first.independent;
        if wavefront {
            let waves = 1 + ceil_div(signed(first.skew) * signed(tile.time), signed(first.height))?;
            let length = ceil_div(count(first)?, waves)?;
            loops.push((high, "wave", Range::constant(0, blocks + length - 1)));
            loops.push((low, "wave_digit", Range::constant(0, waves)));
            let wave = Affine::variable(loop_variable(high));
            let range = Range {
                lo: vec![Affine::constant(0), wave.offset(1 - length)],
                hi: vec![Affine::constant(blocks), wave.offset(1)],
            };
            loops.push((block, "block", range));
            let behind = wave.minus(&Affine::variable(loop_variable(block)));
            bands.push(behind.times(waves).plus(&Affine::variable(loop_variable(low))));
        } else {
            loops.push((block, "block", Range::constant(0, blocks)));
            loops.push((high, "band", Range::constant(0, count(first)?)));
            bands.push(Affine::variable(loop_variable(high)));
        }
        for (number, band) in (outer.end..).zip(rest) {
            loops.push((number, "band", Range::constant(0, count(band)?)));
            bands.push(Affine::variable(loop_variable(number)));
        }
        Some(Loops { loops, bands, shared: if wavefront { block } else { high } })
    }
}

fn ceil_div(length: i64, step: i64) -> Option<i64> {
    (step > 0).then(|| length.div_euclid(step) + i64::from(length.rem_euclid(step) != 0))
}

/// Puts a definition under conditions.
fn guard(steps: &mut [Step], id: DefId, conditions: &[Affine]) {
    for step in steps {
        match step {
            Step::Def(found) if *found == id => {
                *step = Step::If { conditions: conditions.to_vec(), body: vec![Step::Def(id)] };
                return;
            }
            Step::Def(_) => {}
            Step::Loop { body, .. } | Step::If { body, .. } => guard(body, id, conditions),
        }
    }
}

/// The steps with the loop `wanted` over the range `inner`, inside of the loops of `around`.
fn rebuild(steps: &[Step], wanted: usize, inner: &Range, around: &[(usize, &'static str, Range)]) -> Vec<Step> {
    steps
        .iter()
        .map(|step| match step {
            Step::Def(id) => Step::Def(*id),
            Step::Loop { var, name, body, .. } if *var == wanted => {
                let time = Step::Loop { var: *var, name: name.clone(), range: inner.clone(), body: body.clone() };
                around.iter().rev().fold(time, |body, (var, suffix, range)| Step::Loop {
                    var: *var,
                    name: format!("{name}_{suffix}"),
                    range: range.clone(),
                    body: vec![body],
                })
            }
            Step::Loop { var, name, range, body } => Step::Loop {
                var: *var,
                name: name.clone(),
                range: range.clone(),
                body: rebuild(body, wanted, inner, around),
            },
            Step::If { conditions, body } => {
                Step::If { conditions: conditions.clone(), body: rebuild(body, wanted, inner, around) }
            }
        })
        .collect()
}
