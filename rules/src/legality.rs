//! Whether a requested schedule is legal: an ascent program from facts about stages, dependences
//! and the request to violations.
//!
//! Input: [`Facts`]. Output: one [`Violation`] for each way in which the request is illegal; none
//! means legal. It knows no IR. Every rule is guarded by its name being enabled, so that a test can
//! switch one off and see what it alone refused; [`RULES`] has all the names.

use crate::dependence::{self, Direction};
use ascent::ascent;
use std::collections::BTreeSet;

/// The name of each rule with what it refuses.
pub const RULES: &[(&str, &str)] = &[
    ("axis/unknown", "a loop, tile or packed axis that the stage does not have"),
    ("tile/missing", "an axis that the tile lacks"),
    ("tile/repeated", "an axis that the tile has twice"),
    ("tile/folds-last", "a fold axis before a point axis in the tile"),
    ("tile/bounds", "an axis in the tile before one that its bounds depend on"),
    ("tile/ragged", "lanes along a fold axis that the bounds of another axis depend on"),
    ("tile/empty", "an unroll factor or a lane count of 0"),
    ("loop/step", "a loop that advances by 0"),
    ("loop/nested", "steps of one axis that do not decrease, each a multiple of the next"),
    ("loop/register-tile", "a step that is not a multiple of the register tile"),
    ("vector/one-axis", "more than one axis with lanes"),
    ("order/reversed", "a dependence whose sink would run before its source"),
    ("together/carried", "points computed together although one depends on another"),
    ("parallel/carried", "a parallel loop that carries a dependence"),
    ("parallel/place", "a parallel loop in a stage that is not stored whole"),
    ("parallel/loop", "a parallel loop that the stage does not have"),
    ("inline/fold", "an inlined fold"),
    ("inline/pieces", "an inlined definition of several pieces"),
    ("inline/result", "an inlined definition that must be stored where it stands"),
    ("inline/flat", "an inlined definition that is read by its flat offset"),
    ("at/result", "a definition that must be stored where it stands, and is not"),
    ("at/flat", "a definition computed in its consumer that is read by its flat offset"),
    ("at/consumer", "a definition placed in one that is inlined, or that is not a later one"),
    ("at/depth", "a depth of 0, or more than the consumer's loops"),
    ("at/outside", "a reader outside the loop that holds the definition"),
    ("pack/load", "a pack of a load that does not exist"),
    ("pack/pieces", "a pack in a stage of several pieces"),
    ("pack/repeated", "two packs of one load"),
    ("pack/depth", "a pack deeper than the stage's loops"),
    ("pack/source", "a pack of an operand that is not in memory at that depth"),
    ("pack/axes", "a packed layout whose axes are not those of the load"),
    ("pack/digits", "blocks of one axis that do not decrease to 1, each a multiple of the next"),
    ("pack/loop", "a packed layout in blocks by which neither a loop nor the tile steps"),
    ("pack/bounds", "a pack whose box of points reads outside the operand"),
];

/// Facts about the stages and the schedule requested for them. Stages, axes, loads and positions are
/// numbered from 0.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `(stage, axis, is a fold axis)`.
    pub axes: Vec<(usize, usize, bool)>,
    /// `(stage, dependence, relaxed)`, as in [`dependence::Facts`].
    pub dependences: Vec<(usize, usize, bool)>,
    /// `(stage, dependence, axis, direction)`.
    pub directions: Vec<(usize, usize, usize, Direction)>,
    /// `(stage, axis, other)`: the axis's bounds depend on the other axis.
    pub bounds: Vec<(usize, usize, usize)>,
    /// `(stage, read)`: the stage reads the definition.
    pub reads: Vec<(usize, usize)>,
    /// `(stage, read)`: the stage reads the definition by its flat offset.
    pub flat_reads: Vec<(usize, usize)>,
    /// Stages that must be stored whole where they stand: results, updates, values whose operands change too soon.
    pub results: Vec<(usize,)>,
    /// Stages with a fold.
    pub folds: Vec<(usize,)>,
    /// Stages with more than one piece.
    pub pieced: Vec<(usize,)>,
    /// `(stage, load)` for each load of a stage.
    pub loads: Vec<(usize, usize)>,
    /// `(stage, load, definition)` for each load of a definition.
    pub load_sources: Vec<(usize, usize, usize)>,
    /// `(stage, load, axis)`: the load depends on the axis.
    pub load_axes: Vec<(usize, usize, usize)>,
    /// `(stage, load)`: over the smallest box that holds the domain, the load stays in its source.
    pub load_boxed: Vec<(usize, usize)>,
    /// Requested: `(stage, position, axis, step)`, positions from the outermost.
    pub loops: Vec<(usize, usize, usize, usize)>,
    /// Requested: `(stage, number of loops)`, for every stage.
    pub loop_counts: Vec<(usize, usize)>,
    /// Requested: `(stage, position, axis, unroll, lanes)`; positions go on after the loops.
    pub tiles: Vec<(usize, usize, usize, usize, usize)>,
    /// Requested: stages with a parallel loop, and its number.
    pub parallel: Vec<(usize, usize)>,
    /// Requested: stages stored whole.
    pub root: Vec<(usize,)>,
    /// Requested: inlined stages.
    pub inline: Vec<(usize,)>,
    /// Requested: `(stage, consumer, depth)`.
    pub at: Vec<(usize, usize, usize)>,
    /// Requested: `(stage, pack, load, depth)`.
    pub packs: Vec<(usize, usize, usize, usize)>,
    /// Requested: `(stage, pack, position, axis, block)`.
    pub digits: Vec<(usize, usize, usize, usize, usize)>,
}

/// One way in which a requested schedule is illegal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Violation {
    /// The stage.
    pub stage: usize,
    /// The rule, one of [`RULES`].
    pub rule: &'static str,
    /// The axis, stage, load or depth that the rule speaks of.
    pub subject: usize,
}

/// The rules in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegalityRules {
    enabled: BTreeSet<&'static str>,
}

impl LegalityRules {
    /// All of [`RULES`].
    pub fn standard() -> LegalityRules {
        LegalityRules { enabled: RULES.iter().map(|rule| rule.0).collect() }
    }

    /// All but one: for tests of what that one refuses. An unknown name changes nothing.
    #[must_use]
    pub fn without(&self, name: &str) -> LegalityRules {
        LegalityRules { enabled: self.enabled.iter().copied().filter(|rule| *rule != name).collect() }
    }

    /// The names in force, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.enabled.iter().copied()
    }
}

impl Default for LegalityRules {
    fn default() -> LegalityRules {
        LegalityRules::standard()
    }
}

mod program {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "code that ascent generates")]
    use super::{Direction, ascent};

    ascent! {
        pub struct Legality;
        relation enabled(&'static str);
        relation axis(usize, usize, bool);
        relation dependence(usize, usize, bool);
        relation direction(usize, usize, usize, Direction);
        relation bound(usize, usize, usize);
        relation reads(usize, usize);
        relation flat_reads(usize, usize);
        relation result(usize);
        relation fold(usize);
        relation pieced(usize);
        relation load(usize, usize);
        relation load_source(usize, usize, usize);
        relation load_axis(usize, usize, usize);
        relation load_boxed(usize, usize);
        relation step_loop(usize, usize, usize, usize);
        relation loop_count(usize, usize);
        relation tile(usize, usize, usize, usize, usize);
        relation parallel(usize, usize);
        relation root(usize);
        relation inline(usize);
        relation at(usize, usize, usize);
        relation pack(usize, usize, usize, usize);
        relation digit(usize, usize, usize, usize, usize);

        relation illegal(usize, &'static str, usize);

        // ---- the shape of the request
        relation known(usize, usize);
        known(s, a) <-- axis(s, a, _);
        illegal(s, "axis/unknown", a) <-- enabled("axis/unknown"), step_loop(s, _, a, _), !known(s, a);
        illegal(s, "axis/unknown", a) <-- enabled("axis/unknown"), tile(s, _, a, _, _), !known(s, a);
        illegal(s, "axis/unknown", a) <-- enabled("axis/unknown"), digit(s, _, _, a, _), !known(s, a);

        relation tiled(usize, usize);
        tiled(s, a) <-- tile(s, _, a, _, _);
        illegal(s, "tile/missing", a) <-- enabled("tile/missing"), axis(s, a, _), !tiled(s, a);
        illegal(s, "tile/repeated", a) <--
            enabled("tile/repeated"), tile(s, p, a, _, _), tile(s, q, a, _, _), if p < q;
        illegal(s, "tile/folds-last", a) <--
            enabled("tile/folds-last"), axis(s, a, true), tile(s, p, a, _, _), axis(s, b, false),
            tile(s, q, b, _, _), if p < q;
        illegal(s, "tile/bounds", a) <--
            enabled("tile/bounds"), bound(s, a, b), tile(s, p, a, _, _), tile(s, q, b, _, _), if p < q;
        illegal(s, "tile/ragged", b) <--
            enabled("tile/ragged"), bound(s, _, b), axis(s, b, true), tile(s, _, b, _, lanes), if *lanes > 1;
        illegal(s, "tile/empty", a) <--
            enabled("tile/empty"), tile(s, _, a, unroll, lanes), if unroll * lanes == 0;
        illegal(s, "vector/one-axis", b) <--
            enabled("vector/one-axis"), tile(s, p, _, _, m), if *m > 1, tile(s, q, b, _, n), if p < q && *n > 1;

        illegal(s, "loop/step", a) <-- enabled("loop/step"), step_loop(s, _, a, 0);
        illegal(s, "loop/nested", a) <--
            enabled("loop/nested"), step_loop(s, p, a, outer), step_loop(s, q, a, inner), if p < q,
            if outer <= inner || outer % inner.max(&1) != 0;
        illegal(s, "loop/register-tile", a) <--
            enabled("loop/register-tile"), step_loop(s, _, a, step), tile(s, _, a, unroll, lanes),
            if step % (unroll * lanes).max(1) != 0;

        // ---- dependences
        // Where the axis's last occurrence (its tile) stands, and whether it advances one by one.
        relation last(usize, usize, usize);
        last(s, a, p) <-- tile(s, p, a, _, _);
        relation single(usize, usize);
        single(s, a) <-- tile(s, _, a, 1, 1);
        relation position(usize, usize, usize);
        position(s, a, p) <-- step_loop(s, p, a, _);
        position(s, a, p) <-- tile(s, p, a, _, _);
        // The dependence is surely carried before position p: an axis with `<` is complete there. A
        // block loop of such an axis does not do: source and sink may share the block.
        relation carried_before(usize, usize, usize);
        carried_before(s, d, p) <--
            direction(s, d, a, Direction::Less), single(s, a), last(s, a, q), position(s, _, p), if q < p;
        carried_before(s, d, p) <--
            direction(s, d, a, Direction::Less), step_loop(s, q, a, 1), position(s, _, p), if q < p;
        illegal(s, "order/reversed", a) <--
            enabled("order/reversed"), dependence(s, d, false), direction(s, d, a, x), if x.may_be_greater(),
            position(s, a, p), !carried_before(s, d, p);
        illegal(s, "together/carried", a) <--
            enabled("together/carried"), dependence(s, d, false), direction(s, d, a, x), if x.may_differ(),
            tile(s, p, a, unroll, lanes), if unroll * lanes > 1, !carried_before(s, d, p);
        illegal(s, "parallel/carried", a) <--
            enabled("parallel/carried"), parallel(s, p), step_loop(s, p, a, _), direction(s, _, a, x),
            if x.may_differ();
        illegal(s, "parallel/place", 0) <-- enabled("parallel/place"), parallel(s, _), !root(s);
        illegal(s, "parallel/loop", 0) <-- enabled("parallel/loop"), parallel(s, p), loop_count(s, n), if p >= n;

        // ---- places
        illegal(s, "inline/fold", s) <-- enabled("inline/fold"), inline(s), fold(s);
        illegal(s, "inline/pieces", s) <-- enabled("inline/pieces"), inline(s), pieced(s);
        illegal(s, "inline/result", s) <-- enabled("inline/result"), inline(s), result(s);
        illegal(s, "inline/flat", u) <-- enabled("inline/flat"), inline(s), flat_reads(u, s);
        illegal(s, "at/result", s) <-- enabled("at/result"), at(s, _, _), result(s);
        illegal(s, "at/flat", u) <-- enabled("at/flat"), at(s, _, _), flat_reads(u, s);
        illegal(s, "at/consumer", c) <-- enabled("at/consumer"), at(s, c, _), inline(c);
        illegal(s, "at/consumer", c) <-- enabled("at/consumer"), at(s, c, _), if c <= s;
        relation stage(usize);
        stage(s) <-- loop_count(s, _);
        illegal(s, "at/consumer", c) <-- enabled("at/consumer"), at(s, c, _), !stage(c);
        illegal(s, "at/depth", d) <-- enabled("at/depth"), at(s, c, d), loop_count(c, n), if *d == 0 || d > n;

        // Who reads a stage when the inlined ones are substituted away.
        relation reader(usize, usize);
        reader(u, s) <-- reads(u, s), !inline(u);
        reader(u, s) <-- reads(v, s), inline(v), reader(u, v);
        // u runs inside c's first d loops.
        relation inside(usize, usize, usize);
        inside(c, c, d) <-- at(_, c, d);
        inside(u, c, d) <-- at(u, c, e), at(_, c, d), if e >= d;
        inside(u, c, d) <-- at(u, w, _), inside(w, c, d), if w != c;
        illegal(s, "at/outside", u) <-- enabled("at/outside"), at(s, c, d), reader(u, s), !inside(u, c, d);

        // ---- packs
        illegal(s, "pack/load", l) <-- enabled("pack/load"), pack(s, _, l, _), !load(s, l);
        illegal(s, "pack/pieces", l) <-- enabled("pack/pieces"), pack(s, _, l, _), pieced(s);
        illegal(s, "pack/repeated", l) <--
            enabled("pack/repeated"), pack(s, i, l, _), pack(s, j, l, _), if i < j;
        illegal(s, "pack/depth", d) <-- enabled("pack/depth"), pack(s, _, _, d), loop_count(s, n), if d > n;
        illegal(s, "pack/source", l) <-- enabled("pack/source"), pack(s, _, l, _), inline(s);
        illegal(s, "pack/source", l) <--
            enabled("pack/source"), pack(s, _, l, _), load_source(s, l, r), inline(r);
        illegal(s, "pack/source", l) <--
            enabled("pack/source"), pack(s, _, l, d), load_source(s, l, r), at(r, s, e), if e > d;

        relation packed(usize, usize, usize);
        packed(s, i, a) <-- digit(s, i, _, a, _);
        illegal(s, "pack/axes", a) <--
            enabled("pack/axes"), pack(s, i, l, _), load_axis(s, l, a), !packed(s, i, a);
        illegal(s, "pack/axes", a) <--
            enabled("pack/axes"), pack(s, i, l, _), packed(s, i, a), !load_axis(s, l, a);
        relation packs_something(usize, usize);
        packs_something(s, l) <-- load_axis(s, l, _);
        illegal(s, "pack/axes", l) <-- enabled("pack/axes"), pack(s, _, l, _), !packs_something(s, l);
        relation complete(usize, usize, usize);
        complete(s, i, a) <-- digit(s, i, _, a, 1);
        illegal(s, "pack/digits", a) <-- enabled("pack/digits"), packed(s, i, a), !complete(s, i, a);
        illegal(s, "pack/digits", a) <-- enabled("pack/digits"), digit(s, _, _, a, 0);
        illegal(s, "pack/digits", a) <--
            enabled("pack/digits"), digit(s, i, p, a, outer), digit(s, i, q, a, inner), if p < q,
            if outer <= inner || outer % inner.max(&1) != 0;
        relation stepped(usize, usize, usize);
        stepped(s, a, step) <-- step_loop(s, _, a, step);
        stepped(s, a, unroll * lanes) <-- tile(s, _, a, unroll, lanes);
        illegal(s, "pack/loop", a) <--
            enabled("pack/loop"), digit(s, _, _, a, block), if *block > 1, !stepped(s, a, block);
        illegal(s, "pack/bounds", l) <--
            enabled("pack/bounds"), pack(s, _, l, _), load(s, l), !load_boxed(s, l);
    }
}

/// Every violation, in order; none if the request is legal.
pub fn check(facts: Facts, rules: &LegalityRules) -> BTreeSet<Violation> {
    let mut legality = program::Legality::default();
    legality.enabled = rules.names().map(|name| (name,)).collect();
    legality.axis = facts.axes;
    legality.dependence = facts.dependences;
    legality.direction = facts.directions;
    legality.bound = facts.bounds;
    legality.reads = facts.reads;
    legality.flat_reads = facts.flat_reads;
    legality.result = facts.results;
    legality.fold = facts.folds;
    legality.pieced = facts.pieced;
    legality.load = facts.loads;
    legality.load_source = facts.load_sources;
    legality.load_axis = facts.load_axes;
    legality.load_boxed = facts.load_boxed;
    legality.step_loop = facts.loops;
    legality.loop_count = facts.loop_counts;
    legality.tile = facts.tiles;
    legality.parallel = facts.parallel;
    legality.root = facts.root;
    legality.inline = facts.inline;
    legality.at = facts.at;
    legality.pack = facts.packs;
    legality.digit = facts.digits;
    legality.run();
    legality.illegal.into_iter().map(|(stage, rule, subject)| Violation { stage, rule, subject }).collect()
}

/// What follows from the dependences in `facts` alone.
pub fn derive(facts: &Facts) -> dependence::Derived {
    dependence::derive(dependence::Facts {
        axes: facts.axes.iter().map(|&(stage, axis, _)| (stage, axis)).collect(),
        dependences: facts.dependences.clone(),
        directions: facts.directions.clone(),
    })
}
