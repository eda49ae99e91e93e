//! Time loops in skewed tiles.
//!
//! A loop over updates sweeps its states once in every iteration; where they do not fit in a cache, each sweep reads
//! memory again. A tile runs a block of iterations on a band of the states that stays in the cache. A later iteration
//! needs its neighbours of an earlier one, so the band moves against the sweep by `skew` for each statement executed:
//! statement p of iteration t computes the elements whose coordinate c along the dimension lies in
//! `[band − skew·τ, band − skew·τ + height)` with τ = (statements)·(t − first of the block) + p.
//!
//! With a skew of 0, a band runs all its iterations before the next one begins: a factorization by rows.
//!
//! Legal: every dependence from (t, p, c) to (t′, p′, c′) has `c + skew·τ ≤ c′ + skew·τ′`, so that its source lies in the
//! same band or an earlier one; inside a band the order is the source's. Integer elimination decides, exactly.
//!
//! Source: Wonnacott, *Using time skewing to eliminate idle time due to memory bandwidth* (IPPS 2000).

use crate::affine::Affine;
use crate::dependence::{Answer, IntegerSet};
use crate::normal_form::{
    Access, Context, Def, DefId, NormalForm, Piece, Range, ScalarOp, Source, Step, contexts, loop_of, loop_variable,
};
use crate::schedule::TimeTile;

/// The greatest skew that is tried.
const MAX_SKEW: usize = 4;

/// For each loop that can be tiled so, and each dimension: the least skew that is legal.
pub fn tilable(form: &NormalForm) -> Vec<(usize, usize, usize)> {
    let mut found = Vec::new();
    for (var, body) in loops(&form.steps) {
        let Some(defs) = updates(form, body) else { continue };
        let rank = |id: &DefId| form.defs[*id].update.as_ref().map_or(0, |update| update.index.len());
        for dim in 0..defs.iter().map(rank).min().unwrap_or(0) {
            // Bands that hold one element each are no bands.
            let wide = |id: &DefId| coordinate(&form.defs[*id], dim).is_some_and(|(_, axis)| axis.is_some());
            if !defs.iter().any(wide) {
                continue;
            }
            let skew = (0..=MAX_SKEW).find(|&skew| is_legal(form, &TimeTile { var, dim, skew, time: 1, height: 1 }));
            found.extend(skew.map(|skew| (var, dim, skew)));
        }
    }
    found
}

/// The iterations of a loop; `None` if they depend on another loop.
pub fn trips(form: &NormalForm, var: usize) -> Option<usize> {
    let range = range_of(&form.steps, var)?;
    let ([lo], [hi]) = (range.lo.as_slice(), range.hi.as_slice()) else { return None };
    let length = hi.minus(lo);
    usize::try_from(length.constant).ok().filter(|_| length.is_constant())
}

/// Every loop with its body.
fn loops(steps: &[Step]) -> Vec<(usize, &[Step])> {
    let mut found = Vec::new();
    for step in steps {
        match step {
            Step::Def(_) => {}
            Step::Loop { var, body, .. } => {
                found.push((*var, body.as_slice()));
                found.extend(loops(body));
            }
            Step::If { body, .. } => found.extend(loops(body)),
        }
    }
    found
}

/// The definitions of a body that consists of updates alone, in order; each moves with the dimension by single steps.
fn updates(form: &NormalForm, body: &[Step]) -> Option<Vec<DefId>> {
    body.iter()
        .map(|step| match step {
            Step::Def(id) => form.defs[*id].update.is_some().then_some(*id),
            Step::Loop { .. } | Step::If { .. } => None,
        })
        .collect()
}

/// The coordinate of an update along a dimension, and its axis, if it has one.
fn coordinate(def: &Def, dim: usize) -> Option<(Affine, Option<usize>)> {
    let form = def.update.as_ref()?.index.get(dim)?.clone();
    let axes: Vec<(usize, i64)> = form.terms.iter().copied().filter(|term| loop_of(term.0).is_none()).collect();
    match axes.as_slice() {
        [] => Some((form, None)),
        [(axis, 1)] => Some((form, Some(*axis))),
        _ => None,
    }
}

/// Whether no dependence leads from a band to an earlier one.
pub fn is_legal(form: &NormalForm, tile: &TimeTile) -> bool {
    let all = loops(&form.steps);
    let Some((_, body)) = all.iter().find(|(var, _)| *var == tile.var) else { return false };
    let Some(defs) = updates(form, body) else { return false };
    let contexts = contexts(form);
    let fits = |id: &DefId| coordinate(&form.defs[*id], tile.dim).is_some();
    if trips(form, tile.var).is_none()
        || defs.is_empty()
        || tile.time == 0
        || tile.height == 0
        || !defs.iter().all(fits)
    {
        return false;
    }
    (0..defs.len()).all(|p| (0..defs.len()).all(|q| forward(form, &contexts[defs[p]], tile, &defs, p, q)))
}

/// In a piece, an element of a state, and whether it is written.
type Touch<'d> = (&'d Piece, usize, Vec<Affine>, bool);

/// What an iteration touches.
fn accesses(def: &Def) -> Option<Vec<Touch<'_>>> {
    let update = def.update.as_ref()?;
    let mut all = Vec::new();
    for piece in &def.pieces {
        all.push((piece, update.state, update.index.clone(), true));
        for node in &piece.value.nodes {
            if let ScalarOp::Load(Source::State(state), access) = &node.op {
                let Access::Axes(index) = access else { return None };
                all.push((piece, *state, index.clone(), false));
            }
        }
    }
    Some(all)
}

/// Whether every dependence from statement `p` to statement `q` keeps to its band or goes to a later one.
fn forward(form: &NormalForm, context: &Context, tile: &TimeTile, defs: &[DefId], p: usize, q: usize) -> bool {
    let (one, other) = (&form.defs[defs[p]], &form.defs[defs[q]]);
    let (Some(first), Some(second)) = (accesses(one), accesses(other)) else { return false };
    let (Some((from, _)), Some((to, _))) = (coordinate(one, tile.dim), coordinate(other, tile.dim)) else {
        return false;
    };
    let time = loop_variable(tile.var);
    let count = i64::try_from(defs.len()).unwrap_or(i64::MAX);
    let skew = i64::try_from(tile.skew).unwrap_or(i64::MAX);
    let at = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    first.iter().all(|(source, state, written, writes)| {
        second.iter().filter(|other| other.1 == *state && (*writes || other.3)).all(|(sink, _, read, _)| {
            // Variables: the loops around (the time loop once for each end), then the axes of both.
            let loops = context.loops.len();
            let source_axes = loops + 1;
            let sink_axes = source_axes + source.domain.len();
            let symbol = |v: usize| context.loops.iter().position(|(known, _)| *known == v).unwrap_or(usize::MAX);
            let early = |v: usize| if loop_of(v).is_some() { symbol(v) } else { v + source_axes };
            let late = |v: usize| match loop_of(v) {
                Some(_) if v == time => loops,
                Some(_) => symbol(v),
                None => v + sink_axes,
            };
            let mut set = IntegerSet::all(sink_axes + sink.domain.len());
            context.require(&mut set, symbol);
            let again = Context { loops: context.loops.clone(), conditions: context.conditions.clone() };
            again.require(&mut set, late);
            set.require_domain(&source.domain, early);
            set.require_domain(&sink.domain, late);
            let place = |form: &Affine, of: &dyn Fn(usize) -> usize| form.substitute(|v| Affine::variable(of(v)));
            for (a, b) in written.iter().zip(read) {
                set.require_zero(&place(a, &early).minus(&place(b, &late)), |v| v);
            }
            let (t, later) = (Affine::variable(symbol(time)), Affine::variable(loops));
            let shifted = |c: Affine, t: &Affine, number: usize| c.plus(&t.times(count).offset(at(number)).times(skew));
            let backward =
                shifted(place(&from, &early), &t, p).minus(&shifted(place(&to, &late), &later, q)).offset(-1);
            set.require_non_negative(&backward, |v| v);
            let mut next = set.clone();
            next.require_non_negative(&later.minus(&t).offset(-1), |v| v);
            let mut same = set;
            same.require_zero(&later.minus(&t), |v| v);
            next.answer() == Answer::Empty && (p >= q || same.answer() == Answer::Empty)
        })
    })
}

/// The form with a loop in tiles. `None` where the loop or its body is not of the kind that [`tilable`] finds.
#[must_use]
pub fn skewed(form: &NormalForm, tile: &TimeTile) -> Option<NormalForm> {
    let all = loops(&form.steps);
    let (_, body) = all.iter().find(|(var, _)| *var == tile.var)?;
    let defs = updates(form, body)?;
    let next = 1 + all.iter().map(|(var, _)| *var).max().unwrap_or(0);
    let (block, band) = (next, next + 1);
    let mut tiled = form.clone();
    let (time, height) = (i64::try_from(tile.time).ok()?, i64::try_from(tile.height).ok()?);
    let (skew, count) = (i64::try_from(tile.skew).ok()?, i64::try_from(defs.len()).ok()?);
    let range = range_of(&form.steps, tile.var)?;
    let (lo, hi) = match (range.lo.as_slice(), range.hi.as_slice()) {
        ([lo], [hi]) => (lo.clone(), hi.clone()),
        _ => return None,
    };
    // Coordinates of all statements lie in the states' extents.
    let extent = defs.iter().filter_map(|&id| {
        let update = form.defs[id].update.as_ref()?;
        form.states.get(update.state)?.shape.get(tile.dim).copied()
    });
    let extent = i64::try_from(extent.max()?).ok()?;
    let (b, c, t) = (
        Affine::variable(loop_variable(block)),
        Affine::variable(loop_variable(band)),
        Affine::variable(loop_variable(tile.var)),
    );
    let first = lo.plus(&b.times(time));
    for (number, &id) in defs.iter().enumerate() {
        let def = &mut tiled.defs[id];
        let (form, axis) = coordinate(def, tile.dim)?;
        let tau = t.minus(&first).times(count).offset(i64::try_from(number).ok()?);
        let low = c.times(height).minus(&tau.times(skew));
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
    let reach = extent + skew * count * time;
    let bands = reach.div_euclid(height) + i64::from(reach % height != 0);
    let blocks = blocks(&hi.minus(&lo), time)?;
    let inner = Range { lo: vec![first.clone()], hi: vec![hi, first.offset(time)] };
    tiled.steps = rebuild(&tiled.steps, tile.var, &inner, (block, blocks), (band, bands))?;
    let scopes = crate::normal_form::scopes(&tiled);
    for (def, scope) in tiled.defs.iter_mut().zip(scopes) {
        def.scope = scope;
    }
    Some(tiled)
}

/// Blocks of `time` iterations that `length` iterations need: one too many may be there, and be empty.
fn blocks(length: &Affine, time: i64) -> Option<i64> {
    length.is_constant().then(|| length.constant.div_euclid(time) + i64::from(length.constant % time != 0))
}

fn range_of(steps: &[Step], wanted: usize) -> Option<Range> {
    steps.iter().find_map(|step| match step {
        Step::Def(_) => None,
        Step::Loop { var, range, .. } if *var == wanted => Some(range.clone()),
        Step::Loop { body, .. } | Step::If { body, .. } => range_of(body, wanted),
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

fn rebuild(
    steps: &[Step],
    wanted: usize,
    inner: &Range,
    (block, blocks): (usize, i64),
    (band, bands): (usize, i64),
) -> Option<Vec<Step>> {
    let mut all = Vec::with_capacity(steps.len());
    for step in steps {
        all.push(match step {
            Step::Def(id) => Step::Def(*id),
            Step::Loop { var, name, body, .. } if *var == wanted => {
                let time = Step::Loop { var: *var, name: name.clone(), range: inner.clone(), body: body.clone() };
                let within = Step::Loop {
                    var: band,
                    name: format!("{name}_band"),
                    range: Range::constant(0, bands),
                    body: vec![time],
                };
                Step::Loop {
                    var: block,
                    name: format!("{name}_block"),
                    range: Range::constant(0, blocks),
                    body: vec![within],
                }
            }
            Step::Loop { var, name, range, body } => Step::Loop {
                var: *var,
                name: name.clone(),
                range: range.clone(),
                body: rebuild(body, wanted, inner, (block, blocks), (band, bands))?,
            },
            Step::If { conditions, body } => Step::If {
                conditions: conditions.clone(),
                body: rebuild(body, wanted, inner, (block, blocks), (band, bands))?,
            },
        });
    }
    Some(all)
}
