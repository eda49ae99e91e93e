//! Which loops can run in skewed tiles, and with which skew and shifts.
//!
//! Input: a form. Output: for each loop over updates and each dimension of its states the least skew with the least
//! shifts of its statements under which no dependence leads to an earlier band; and a verdict on given ones. A
//! dependence from statement p to statement q is a difference constraint on their shifts:
//! `shift(q) − shift(p) ≥ −(least c′ − c) − (skew, if it is carried by the loop)`; the least solution is a longest path
//! (Bellman, Ford). Each least distance is found by integer elimination; one that it cannot bound is a refusal.

use super::{Coordinate, coordinate, coordinates, loops, readers, signed, statements, trips};
use crate::dependence::access::{Touch, known_touches};
use crate::form::context::{Context, contexts};
use crate::form::normal_form::NormalForm;
use crate::form::scalar_tree::{DefId, ScalarOp, Source};
use crate::integer::affine::Affine;
use crate::integer::range::{loop_of, loop_variable};
use crate::integer::set::{Answer, IntegerSet};
use crate::schedule::{Panel, TimeTile};

/// The greatest skew that is tried.
const MAX_SKEW: usize = 32;
/// Distances beyond this are not told apart.
const FAR: i64 = 64;
/// Elements that a panel's first coordinate is a multiple of, counted from the iteration.
const LINE: i64 = 8;

/// A loop that can run in bands along a dimension of its states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tilable {
    /// The loop's number.
    pub var: usize,
    /// The dimension.
    pub dim: usize,
    /// The least legal skew.
    pub skew: usize,
    /// The least legal shift of each statement of its body under it.
    pub shifts: Vec<usize>,
    /// No dependence leads from one band to another.
    pub independent: bool,
    /// The coordinates that others need, where they are few in every iteration and no band moves.
    pub panel: Option<Panel>,
}

/// Each loop and dimension that can be tiled so.
pub fn tilable(form: &NormalForm) -> Vec<Tilable> {
    let mut found = Vec::new();
    let contexts = contexts(form);
    for (var, _) in loops(&form.steps) {
        let Some(defs) = statements(form, var).filter(|defs| !defs.is_empty()) else { continue };
        if trips(form, var).is_none() {
            continue;
        }
        let rank = |id: &DefId| Some(form.defs[*id].update.as_ref()?.index().len());
        for dim in 0..defs.iter().filter_map(rank).min().unwrap_or(0) {
            // Bands that hold one element each are no bands.
            let inside =
                |id: &DefId| contexts[*id].loops.iter().skip_while(|known| known.0 != loop_variable(var)).skip(1);
            let wide = |id: &DefId| {
                coordinate(form, *id, dim).is_some_and(|Coordinate { form, axis, .. }| {
                    axis.is_some() || inside(id).any(|known| form.coefficient(known.0) != 0)
                })
            };
            if !defs.iter().any(wide) {
                continue;
            }
            let Some(body) = Body::new(form, &contexts, var, dim, &defs) else { continue };
            let Some(constraints) = body.constraints() else { continue };
            let least = (0..=MAX_SKEW).find_map(|skew| Some((skew, least_shifts(&constraints, defs.len(), skew)?)));
            if let Some((skew, shifts)) = least
                && body.keeps(skew, &shifts, Side::Forward)
                && body.keeps_values(&shifts)
            {
                let independent = body.keeps(skew, &shifts, Side::Here);
                let panel = if independent || skew > 0 { None } else { body.panel(&shifts) };
                found.push(Tilable { var, dim, skew, shifts, independent, panel });
            }
        }
    }
    found
}

/// Whether no dependence leads from a tile to an earlier one.
pub fn is_legal(form: &NormalForm, tile: &TimeTile) -> bool {
    let Some(defs) = statements(form, tile.var) else { return false };
    let contexts = contexts(form);
    let mut dims: Vec<usize> = tile.bands.iter().map(|band| band.dim).collect();
    dims.sort_unstable();
    dims.dedup();
    trips(form, tile.var).is_some()
        && !defs.is_empty()
        && tile.time > 0
        && dims.len() == tile.bands.len()
        && !dims.is_empty()
        && tile.bands.iter().all(|band| {
            band.height > 0
                && band.shifts.len() == defs.len()
                && Body::new(form, &contexts, tile.var, band.dim, &defs).is_some_and(|body| {
                    body.keeps(band.skew, &band.shifts, Side::Forward)
                        && body.keeps_values(&band.shifts)
                        && (!band.independent || body.keeps(band.skew, &band.shifts, Side::Here))
                        && band.panel.is_none_or(|panel| band.skew == 0 && body.panel(&band.shifts) == Some(panel))
                })
        })
}

/// Where a dependence may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// To its band or a later one.
    Forward,
    /// To no other band, however high they are.
    Here,
}

/// The statements of a loop with what they touch, along one dimension.
pub(super) struct Body<'f> {
    time: usize,
    statements: Vec<Statement<'f>>,
}

struct Statement<'f> {
    /// What reads it of the statements, if it is no update.
    readers: Vec<usize>,
    context: &'f Context,
    coordinate: Affine,
    touches: Vec<Touch<'f>>,
    /// Variables of the loops around the time loop, and of those between it and the statement.
    outer: Vec<usize>,
    inner: Vec<usize>,
}

/// When the sink of a dependence runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// In a later iteration of the time loop.
    Later,
    /// In the same one, but in a later iteration of the loop of this number of those around both.
    LaterInside(usize),
    /// In the same iteration of all loops around both: it stands later.
    Below,
}

/// `shift(sink) − shift(source) ≥ −distance`, less the skew if another iteration is the sink.
struct Constraint {
    source: usize,
    sink: usize,
    when: When,
    /// The least coordinate of a sink less that of its source.
    distance: i64,
}

impl<'f> Body<'f> {
    pub(super) fn new(
        form: &'f NormalForm,
        contexts: &'f [Context],
        var: usize,
        dim: usize,
        defs: &[DefId],
    ) -> Option<Body<'f>> {
        let statements = defs
            .iter()
            .map(|&id| {
                let context = &contexts[id];
                let Coordinate { form: coordinate, spread, .. } = coordinate(form, id, dim)?;
                let place = |reader: DefId| defs.iter().position(|known| *known == reader);
                let readers = match &form.defs[id].update {
                    Some(_) => Vec::new(),
                    None => readers(form, id).map(place).collect::<Option<_>>()?,
                };
                let loops: Vec<usize> = context.loops.iter().map(|known| known.0).collect();
                let at = loops.iter().position(|known| *known == loop_variable(var))?;
                // A value's readers may stand in loops that it is outside of.
                let known = |&(v, _): &(usize, i64)| loop_of(v).is_none() || loops.contains(&v);
                if !coordinate.terms.iter().all(known) {
                    return None;
                }
                let (outer, inner) = (loops[..at].to_vec(), loops[at + 1..].to_vec());
                let touches = touched(form, id)?;
                let statement = Statement { readers, context, coordinate, touches, outer, inner };
                // What is no index need not be inside of what bands cover.
                (!spread || statement.stays_below(coordinates(form, id, dim)?)).then_some(statement)
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Body { time: loop_variable(var), statements })
    }

    /// One for each dependence; `None` where a distance has no bound that is known.
    fn constraints(&self) -> Option<Vec<Constraint>> {
        let mut all = Vec::new();
        for Dependence { source, sink, when, set, distance, .. } in self.dependences() {
            if set.answer() != Answer::Empty {
                all.push(Constraint { source, sink, when, distance: least_value(&set, &distance)? });
            }
        }
        Some(all)
    }

    /// Statements, and when the sink runs, in which there may be a dependence.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize, When)> {
        let count = self.statements.len();
        let ordered = (0..count).flat_map(move |p| (0..count).map(move |q| (p, q)));
        ordered.flat_map(|(p, q)| {
            let common = common(&self.statements[p], &self.statements[q]);
            let below = (p < q).then_some(When::Below);
            let inside = (0..common).map(When::LaterInside);
            below.into_iter().chain(inside).chain([When::Later]).map(move |when| (p, q, when))
        })
    }

    /// Every two touches of one element, of which one writes.
    fn dependences(&self) -> impl Iterator<Item = Dependence> + '_ {
        self.pairs().flat_map(move |(source, sink, when)| {
            let (one, other) = (&self.statements[source], &self.statements[sink]);
            let ends =
                one.touches.iter().flat_map(move |first| other.touches.iter().map(move |second| (first, second)));
            ends.filter(|(first, second)| meets(first, second)).map(move |(first, second)| {
                let (set, places) = self.meeting(one, first, other, second, when);
                let from = places.early(&one.coordinate);
                Dependence {
                    source,
                    sink,
                    when,
                    state: first.state,
                    ends: (first.writes, second.writes),
                    set,
                    distance: places.late(&other.coordinate).minus(&from),
                    behind: Affine::variable(places.again()).minus(&from),
                    between: places.between(),
                }
            })
        })
    }

    /// The pairs of instances that touch one element. Variables: the loops around, the time loop, once for each end, the
    /// loops inside of it of both, the axes of both.
    fn meeting(
        &self,
        one: &Statement<'_>,
        first: &Touch<'_>,
        other: &Statement<'_>,
        second: &Touch<'_>,
        when: When,
    ) -> (IntegerSet, Places) {
        let source_axes = one.outer.len() + 2 + one.inner.len() + other.inner.len();
        let places = Places {
            outer: one.outer.clone(),
            source_inner: one.inner.clone(),
            sink_inner: other.inner.clone(),
            source_axes,
            sink_axes: source_axes + first.domain.len(),
            time: self.time,
        };
        let mut set = IntegerSet::all(places.sink_axes + second.domain.len());
        one.context.require(&mut set, |v| places.source(v));
        other.context.require(&mut set, |v| places.sink(v));
        set.require_domain(first.domain, |v| places.source(v));
        set.require_domain(second.domain, |v| places.sink(v));
        for (a, b) in first.index.iter().zip(second.index) {
            set.require_zero(&places.early(a).minus(&places.late(b)), |v| v);
        }
        let between = places.between();
        let apart = |level: usize| {
            let variable = one.inner[level];
            Affine::variable(places.sink(variable)).minus(&Affine::variable(places.source(variable)))
        };
        let together = match when {
            When::Later => {
                set.require_non_negative(&between.offset(-1), |v| v);
                return (set, places);
            }
            When::LaterInside(level) => {
                set.require_non_negative(&apart(level).offset(-1), |v| v);
                level
            }
            When::Below => common(one, other),
        };
        set.require_zero(&between, |v| v);
        for level in 0..together {
            set.require_zero(&apart(level), |v| v);
        }
        (set, places)
    }

    /// The dependences that lead to another band where none moves, each with how far its source, shifted, is behind the
    /// sink's iteration.
    fn crossing(&self, shifts: &[usize]) -> impl Iterator<Item = (Dependence, Affine)> {
        self.dependences().filter_map(|mut dependence| {
            let from = signed(shifts[dependence.source]);
            let shift = signed(shifts[dependence.sink]) - from;
            dependence.set.require_non_negative(&dependence.distance.offset(shift - 1), |v| v);
            let behind = dependence.behind.offset(-from);
            (dependence.set.answer() != Answer::Empty).then_some((dependence, behind))
        })
    }

    /// A dependence that leads to another band from behind a panel.
    pub(super) fn beyond(&self, shifts: &[usize], panel: Panel) -> Option<Leaving> {
        let late = |behind: &Affine| behind.times(-1).offset(-panel.ends);
        let mut crossing = self.crossing(shifts);
        crossing.find(|(dependence, behind)| reaches(&dependence.set, &late(behind))).map(|found| found.0.leaving())
    }

    /// The least panel of bands that do not move; `None` where it has no bound that is known.
    fn panel(&self, shifts: &[usize]) -> Option<Panel> {
        let mut begins: Option<i64> = None;
        for (statement, &shift) in self.statements.iter().zip(shifts) {
            for (set, ahead) in statement.instances(&statement.coordinate.minus(&Affine::variable(self.time))) {
                if set.answer() != Answer::Empty {
                    let least = least_value(&set, &ahead)? + signed(shift);
                    begins = Some(begins.map_or(least, |known| known.min(least)));
                }
            }
        }
        let mut last: Option<i64> = None;
        for (Dependence { set, .. }, behind) in self.crossing(shifts) {
            let most = -least_value(&set, &behind)?;
            last = Some(last.map_or(most, |known| known.max(most)));
        }
        // It may begin earlier: at a line of elements, if the block of iterations does.
        Some(Panel { begins: begins?.div_euclid(LINE) * LINE, ends: last? + 1 })
    }

    /// Whether what is no update is in the band of all that reads it.
    fn keeps_values(&self, shifts: &[usize]) -> bool {
        let same = |(statement, shift): (&Statement<'_>, &usize)| {
            statement.readers.iter().all(|&reader| shifts.get(reader) == Some(shift))
        };
        self.statements.iter().zip(shifts).all(same)
    }

    /// Whether every dependence keeps to its side.
    fn keeps(&self, skew: usize, shifts: &[usize], side: Side) -> bool {
        self.leaving(skew, shifts, side).is_none()
    }

    /// A dependence that leads elsewhere.
    pub(super) fn leaving(&self, skew: usize, shifts: &[usize], side: Side) -> Option<Leaving> {
        let elsewhere = |Dependence { source, sink, set, distance, between, .. }: &Dependence| {
            let shift = signed(shifts[*sink]) - signed(shifts[*source]);
            let forward = distance.plus(&between.times(signed(skew))).offset(shift);
            reaches(set, &forward.times(-1).offset(-1)) || side == Side::Here && reaches(set, &forward.offset(-1))
        };
        self.dependences().find(elsewhere).map(|found| found.leaving())
    }
}

impl Statement<'_> {
    /// Its instances, by what they touch, each with a form over loops and axes as one over the set's variables.
    fn instances(&self, form: &Affine) -> Vec<(IntegerSet, Affine)> {
        let loops: Vec<usize> = self.context.loops.iter().map(|known| known.0).collect();
        let symbol = |v: usize| match loop_of(v) {
            Some(_) => loops.iter().position(|known| *known == v).unwrap_or(usize::MAX),
            None => v + loops.len(),
        };
        let of = |touch: &Touch<'_>| {
            let mut set = IntegerSet::all(loops.len() + touch.domain.len());
            self.context.require(&mut set, symbol);
            set.require_domain(touch.domain, symbol);
            (set, form.substitute(|v| Affine::variable(symbol(v))))
        };
        self.touches.iter().map(of).collect()
    }

    /// Whether its coordinate is always in `0 .. extent`.
    fn stays_below(&self, extent: usize) -> bool {
        self.instances(&self.coordinate).into_iter().all(|(set, coordinate)| {
            let outside = [coordinate.times(-1).offset(-1), coordinate.offset(-signed(extent))];
            !outside.iter().any(|outside| reaches(&set, outside))
        })
    }
}

/// How many of the loops inside of the time loop stand around both.
fn common(one: &Statement<'_>, other: &Statement<'_>) -> usize {
    one.inner.iter().zip(&other.inner).take_while(|(a, b)| a == b).count()
}

/// A dependence between two statements of a body, by their numbers in it.
pub(super) struct Leaving {
    pub(super) source: usize,
    pub(super) sink: usize,
    /// The sink is in a later iteration.
    pub(super) carried: bool,
    pub(super) state: usize,
    /// Whether source and sink write.
    pub(super) ends: (bool, bool),
    /// The least coordinate of a sink less that of its source, if it is known.
    pub(super) distance: Option<i64>,
}

/// Instances of two statements that touch one element, the source's before the sink's.
struct Dependence {
    source: usize,
    sink: usize,
    when: When,
    state: usize,
    /// Whether source and sink write.
    ends: (bool, bool),
    /// The pairs.
    set: IntegerSet,
    /// Over the set's variables: the coordinate of the sink less that of the source, the sink's iteration less the
    /// source's coordinate, and the iterations between them.
    distance: Affine,
    behind: Affine,
    between: Affine,
}

impl Dependence {
    fn leaving(&self) -> Leaving {
        Leaving {
            source: self.source,
            sink: self.sink,
            carried: self.when == When::Later,
            state: self.state,
            ends: self.ends,
            distance: least_value(&self.set, &self.distance),
        }
    }
}

/// Whether a form may be ≥ 0 in a set.
fn reaches(set: &IntegerSet, form: &Affine) -> bool {
    let mut part = set.clone();
    part.require_non_negative(form, |v| v);
    part.answer() != Answer::Empty
}

/// Where variables stand in the set of pairs.
struct Places {
    outer: Vec<usize>,
    time: usize,
    source_inner: Vec<usize>,
    sink_inner: Vec<usize>,
    source_axes: usize,
    sink_axes: usize,
}

impl Places {
    /// The time loop of the source.
    fn once(&self) -> usize {
        self.outer.len()
    }

    /// The time loop of the sink.
    fn again(&self) -> usize {
        self.outer.len() + 1
    }

    fn symbol(&self, v: usize, time: usize, (inner, first): (&[usize], usize)) -> usize {
        let position = |among: &[usize]| among.iter().position(|known| *known == v);
        match position(&self.outer) {
            Some(at) => at,
            None if v == self.time => time,
            None => position(inner).map_or(usize::MAX, |at| first + at),
        }
    }

    fn source(&self, v: usize) -> usize {
        match loop_of(v) {
            Some(_) => self.symbol(v, self.once(), (&self.source_inner, self.outer.len() + 2)),
            None => v + self.source_axes,
        }
    }

    fn sink(&self, v: usize) -> usize {
        let first = self.outer.len() + 2 + self.source_inner.len();
        match loop_of(v) {
            Some(_) => self.symbol(v, self.again(), (&self.sink_inner, first)),
            None => v + self.sink_axes,
        }
    }

    fn early(&self, form: &Affine) -> Affine {
        form.substitute(|v| Affine::variable(self.source(v)))
    }

    fn late(&self, form: &Affine) -> Affine {
        form.substitute(|v| Affine::variable(self.sink(v)))
    }

    /// Iterations from the source to the sink.
    fn between(&self) -> Affine {
        Affine::variable(self.again()).minus(&Affine::variable(self.once()))
    }
}

/// Whether one of two touches of a state writes.
fn meets(first: &Touch<'_>, second: &Touch<'_>) -> bool {
    first.state == second.state && (first.writes || second.writes)
}

/// What an iteration of a statement touches; `None` where that is not known by axes. Definitions that are no updates
/// count as states of one element, with numbers after those of the states.
fn touched(form: &NormalForm, id: DefId) -> Option<Vec<Touch<'_>>> {
    let def = &form.defs[id];
    let mut all = known_touches(def)?;
    let value =
        |id: DefId, domain, writes| Touch { state: form.states.len() + id, domain, index: &[], known: true, writes };
    for piece in &def.pieces {
        if def.update.is_none() {
            all.push(value(id, &piece.domain[..def.axes.len()], true));
        }
        for node in &piece.value.nodes {
            if let ScalarOp::Load(Source::Def(read), _) = node.op {
                all.push(value(read, &piece.domain, false));
            }
        }
    }
    Some(all)
}

/// The least value of a form in a set, at most [`FAR`]; `None` if it may be below −[`FAR`].
fn least_value(set: &IntegerSet, form: &Affine) -> Option<i64> {
    let never_below = |value: i64| !reaches(set, &form.times(-1).offset(value - 1));
    if !never_below(-FAR) {
        return None;
    }
    let (mut low, mut high) = (-FAR, FAR);
    while low < high {
        let middle = low + (high - low + 1) / 2;
        if never_below(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Some(low)
}

/// The least shifts that are not negative under a skew; `None` if there are none.
fn least_shifts(constraints: &[Constraint], count: usize, skew: usize) -> Option<Vec<usize>> {
    let mut shifts = vec![0_i64; count];
    for _ in 0..=count {
        let mut changed = false;
        for constraint in constraints {
            let slack = constraint.distance + if constraint.when == When::Later { signed(skew) } else { 0 };
            let least = shifts[constraint.source] - slack;
            if shifts[constraint.sink] < least {
                shifts[constraint.sink] = least;
                changed = true;
            }
        }
        if !changed {
            return shifts.into_iter().map(|shift| usize::try_from(shift).ok()).collect();
        }
    }
    None
}
