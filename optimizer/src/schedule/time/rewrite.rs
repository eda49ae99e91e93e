//! The loop in tiles: a rewrite of the tree of loops, so that nothing after it knows of it.
//!
//! Serial: `for block: for band₁: … for bandₙ: for t in block: statements in the bands`.
//!
//! Parallel: `for block: parallel for band₁: …`, where the bands are independent.
//!
//! Parallel, panel first: `for block: for phase in 0..2: parallel for part: for band₁: …`. In phase 0, one part runs the
//! bands of the panel, one after the other; in phase 1, each part is one band after it. What a band needs of others lies in
//! the panel ([`crate::schedule::Panel`]), so the parts are independent.
//!
//! Parallel, on a wavefront: tile (block, band₁) needs tiles (block, < band₁), and of the block before it those up to
//! `band₁ + k` with k = ⌈skew·time / height⌉, because the bands of a block begin where the iteration is the block's
//! first. So with K = k + 1 the tiles of one wave `K·block + band₁` are independent, and a wave needs only earlier ones.
//! Waves are counted by digits, wave = K·w₁ + w₀, so that every bound has the coefficient 1:
//! `for w₁: for w₀ in 0..K: parallel for block: band₁ = K·(w₁ − block) + w₀: …`.

use super::{Coordinate, coordinate, coordinates, definitions, loops, range_of, signed, trips};
use crate::form::context::scopes;
use crate::form::normal_form::NormalForm;
use crate::form::scalar_tree::DefId;
use crate::form::steps::{Step, replaced};
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_variable};
use crate::schedule::{Band, Panel, TimeTile};

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
    let defs = definitions(body);
    let next = 1 + all.iter().map(|(var, _)| *var).max().unwrap_or(0);
    let mut tiled = form.clone();
    let time = signed(tile.time);
    let range = range_of(&form.steps, tile.var)?;
    let [lo] = range.lo.as_slice() else { return None };
    let count = ceil_div(signed(trips(form, tile.var)?), time)?;
    let block = Affine::variable(loop_variable(next));
    let t = Affine::variable(loop_variable(tile.var));
    let first = lo.plus(&block.times(time));
    let loops_around = scopes(form);
    let begins = loops_around.iter().flatten().find(|scope| scope.variable == loop_variable(tile.var))?.min;
    let around = Loops::new(form, tile, &defs, next, Blocks { begins, first: &first, count })?;
    for (at, band) in tile.bands.iter().enumerate() {
        for (number, &id) in defs.iter().enumerate() {
            let Coordinate { form, axis, .. } = coordinate(form, id, band.dim)?;
            let phase = t.minus(&first).times(signed(band.skew)).offset(signed(*band.shifts.get(number)?));
            let Span { low, end } = &around.spans[at];
            let low = low.minus(&phase);
            let ends: Vec<Affine> = std::iter::once(low.offset(signed(band.height)))
                .chain(end.iter().map(|end| end.minus(&phase)))
                .collect();
            match axis {
                Some(axis) => {
                    // The axis is the coordinate less a constant.
                    let rest = form.minus(&Affine::variable(axis));
                    for piece in &mut tiled.defs[id].pieces {
                        piece.domain[axis].lo.push(low.minus(&rest));
                        piece.domain[axis].hi.extend(ends.iter().map(|end| end.minus(&rest)));
                    }
                }
                None => {
                    let before = ends.iter().map(|end| end.offset(-1).minus(&form));
                    let inside: Vec<Affine> = std::iter::once(form.minus(&low)).chain(before).collect();
                    restrict(&mut tiled.steps, id, tile.var, &inside);
                }
            }
        }
    }
    let mut inner = Range { lo: vec![first.clone()], hi: range.hi.clone() };
    if count > 1 {
        inner.hi.push(first.offset(time));
    }
    tiled.steps = rebuild(&tiled.steps, tile.var, &inner, &around.loops);
    for (var, _, range) in &around.loops {
        if *var != around.shared && range.as_constant() == Some((0, 1)) {
            run_once(&mut tiled, *var);
        }
    }
    tiled.update_scopes();
    Some(Tiled { form: tiled, parallel: tile.parallel.then_some(around.shared) })
}

/// Blocks of iterations.
struct Blocks<'a> {
    /// The least that the loop's first iteration is.
    begins: i64,
    /// A block's first iteration.
    first: &'a Affine,
    count: i64,
}

/// What a band covers of its dimension, before the bands move: from `low`, as many coordinates as it is high.
struct Span {
    low: Affine,
    /// Not beyond this.
    end: Option<Affine>,
}

/// The loops around a tile.
struct Loops {
    /// Number, what it is called after the time loop's name, and range; outermost first.
    loops: Vec<(usize, &'static str, Range)>,
    /// Of each band over the loops' variables.
    spans: Vec<Span>,
    /// The loop that threads may share.
    shared: usize,
}

impl Loops {
    /// `next`: the first number that no loop has; the block of iterations has it.
    fn new(form: &NormalForm, tile: &TimeTile, defs: &[DefId], next: usize, blocks: Blocks<'_>) -> Option<Loops> {
        let [first, rest @ ..] = tile.bands.as_slice() else { return None };
        let extent = |band: &Band| -> Option<i64> {
            let extent = defs.iter().filter_map(|&id| coordinates(form, id, band.dim));
            Some(signed(extent.max()?) + signed(band.shifts.iter().copied().max().unwrap_or(0)))
        };
        let count = |band: &Band| -> Option<i64> {
            ceil_div(extent(band)? + signed(band.skew) * signed(tile.time - 1), signed(band.height))
        };
        let mut around = match (tile.parallel && !first.independent, first.panel) {
            (true, Some(panel)) => Loops::panel(tile, first, panel, extent(first)?, next, &blocks)?,
            (true, None) => Loops::wavefront(tile, first, count(first)?, next, &blocks)?,
            (false, _) => {
                let (block, band) = (next, next + 1);
                let loops = vec![
                    (block, "block", Range::constant(0, blocks.count)),
                    (band, "band", numbers(tile, first, &blocks, next, count(first)?)),
                ];
                let low = Affine::variable(loop_variable(band)).times(signed(first.height));
                Loops { loops, spans: vec![Span { low, end: None }], shared: band }
            }
        };
        for (number, band) in (next + 4..).zip(rest) {
            around.loops.push((number, "band", numbers(tile, band, &blocks, next, count(band)?)));
            let low = Affine::variable(loop_variable(number)).times(signed(band.height));
            around.spans.push(Span { low, end: None });
        }
        Some(around)
    }

    fn wavefront(tile: &TimeTile, band: &Band, count: i64, next: usize, blocks: &Blocks<'_>) -> Option<Loops> {
        let (block, high, low) = (next, next + 1, next + 2);
        let waves = 1 + ceil_div(signed(band.skew) * signed(tile.time), signed(band.height))?;
        let length = ceil_div(count, waves)?;
        let wave = Affine::variable(loop_variable(high));
        let range = Range {
            lo: vec![Affine::constant(0), wave.offset(1 - length)],
            hi: vec![Affine::constant(blocks.count), wave.offset(1)],
        };
        let loops = vec![
            (high, "wave", Range::constant(0, blocks.count + length - 1)),
            (low, "wave_digit", Range::constant(0, waves)),
            (block, "block", range),
        ];
        let behind = wave.minus(&Affine::variable(loop_variable(block)));
        let number = behind.times(waves).plus(&Affine::variable(loop_variable(low)));
        let spans = vec![Span { low: number.times(signed(band.height)), end: None }];
        Some(Loops { loops, spans, shared: block })
    }

    /// `extent`: coordinates of all statements are below.
    fn panel(
        tile: &TimeTile,
        band: &Band,
        panel: Panel,
        extent: i64,
        next: usize,
        blocks: &Blocks<'_>,
    ) -> Option<Loops> {
        let (block, phase, part, inner) = (next, next + 1, next + 2, next + 3);
        let (time, height) = (signed(tile.time), signed(band.height));
        // Coordinates of the panel, and its bands.
        let length = (time - 1 + panel.ends - panel.begins).max(0);
        let high = ceil_div(length, height)?;
        // Bands after the panel of the first block, and by how many fewer they are at least with each block.
        let after = ceil_div(extent - panel.begins - length - blocks.begins, height)?.max(1);
        let fewer = time / height;
        let variable = |number: usize| Affine::variable(loop_variable(number));
        let not_yet = Affine::constant(1).minus(&variable(phase));
        let parts = Range {
            lo: vec![Affine::constant(0)],
            hi: vec![
                variable(phase).times(after - 1).offset(1),
                Affine::constant(after)
                    .minus(&variable(block).times(fewer))
                    .plus(&not_yet.times(1 + blocks.count * fewer)),
            ],
        };
        let bands = Range {
            lo: vec![Affine::constant(0)],
            hi: vec![Affine::constant(high).minus(&variable(phase).times(high - 1))],
        };
        let loops = vec![
            (block, "block", Range::constant(0, blocks.count)),
            (phase, "phase", Range::constant(0, 2)),
            (part, "part", parts),
            (inner, "band", bands),
        ];
        let begin = blocks.first.offset(panel.begins);
        let low = begin.plus(&variable(phase).times(length)).plus(&variable(part).plus(&variable(inner)).times(height));
        // After the panel, nothing ends before the last coordinate, wherever the panel lies.
        let least = blocks.begins + panel.begins + length;
        let end = begin.offset(length).plus(&variable(phase).times(extent - least.min(0)));
        Some(Loops { loops, spans: vec![Span { low, end: Some(end) }], shared: part })
    }
}

/// The numbers of the bands along a dimension: with a panel, from the one where it begins.
fn numbers(tile: &TimeTile, band: &Band, blocks: &Blocks<'_>, block: usize, count: i64) -> Range {
    let mut range = Range::constant(0, count);
    if let Some(panel) = band.panel {
        let height = signed(band.height).max(1);
        let first = (blocks.begins + panel.begins).div_euclid(height);
        let more = Affine::variable(loop_variable(block)).times(signed(tile.time) / height);
        let from = more.offset(first);
        if !from.is_constant() || from.constant > 0 {
            range.lo.push(from);
        }
    }
    range
}

fn ceil_div(length: i64, step: i64) -> Option<i64> {
    (step > 0).then(|| length.div_euclid(step) + i64::from(length.rem_euclid(step) != 0))
}

/// Runs a definition only where all of some forms are not negative: the loop inside of the time loop with which they
/// grow or fall one by one is bounded by them, if the definition is alone in it; else it is put under conditions.
fn restrict(steps: &mut [Step], id: DefId, time: usize, inside: &[Affine]) {
    for step in steps {
        match step {
            Step::Def(_) => {}
            Step::Loop { var, body, .. } if *var == time => {
                if !bound(body, id, inside) {
                    guard(body, id, inside);
                }
            }
            Step::Loop { body, .. } | Step::If { body, .. } => restrict(body, id, time, inside),
        }
    }
}

/// Whether the definition is alone in a loop that these bound.
fn bound(steps: &mut [Step], id: DefId, inside: &[Affine]) -> bool {
    steps.iter_mut().any(|step| match step {
        Step::Def(_) => false,
        Step::If { body, .. } => bound(body, id, inside),
        Step::Loop { var, range, body, .. } => {
            let variable = loop_variable(*var);
            let deeper = loops(body);
            let bounds = |form: &Affine| {
                form.coefficient(variable).abs() == 1
                    && deeper.iter().all(|(var, _)| form.coefficient(loop_variable(*var)) == 0)
            };
            if definitions(body) != [id] || !inside.iter().all(bounds) {
                return bound(body, id, inside);
            }
            for form in inside {
                let coefficient = form.coefficient(variable);
                let rest = form.minus(&Affine::new(0, [(variable, coefficient)]));
                if coefficient > 0 {
                    range.lo.push(rest.times(-1));
                } else {
                    range.hi.push(rest.offset(1));
                }
            }
            true
        }
    })
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

/// Takes a loop away whose only iteration is 0: what depends on it is constant.
fn run_once(form: &mut NormalForm, wanted: usize) {
    let variable = loop_variable(wanted);
    let at_zero =
        |form: &Affine| form.substitute(|v| if v == variable { Affine::constant(0) } else { Affine::variable(v) });
    for def in &mut form.defs {
        def.move_forms(at_zero);
    }
    let steps = replaced(&form.steps, wanted, &|step| match step {
        Step::Loop { body, .. } => body.clone(),
        Step::Def(_) | Step::If { .. } => vec![step.clone()],
    });
    form.steps = steps.iter().map(|step| step.with_forms(&at_zero)).collect();
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
