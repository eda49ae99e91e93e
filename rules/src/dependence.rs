//! Dependences as relations: which axis carries one, which axes may run in parallel, in vectors, in
//! another order.
//!
//! Input: direction vectors over the axes of one stage, from exact integer reasoning in
//! `optimizer::dependence`. Output: [`Derived`]. An ascent program; it knows no IR, no extents and no
//! schedule, and it never guesses: what it is not told is not there, so its caller must give a
//! dependence that it could not disprove as one with [`Direction::Any`].

use ascent::ascent;
use std::collections::BTreeSet;

/// How the sink's index on one axis compares with the source's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// The sink is at a later index (`<`).
    Less,
    /// Both are at one index (`=`).
    Equal,
    /// The sink is at an earlier index (`>`).
    Greater,
    /// Not known (`*`).
    Any,
}

impl Direction {
    /// The sign that the literature writes.
    pub const fn symbol(self) -> char {
        match self {
            Direction::Less => '<',
            Direction::Equal => '=',
            Direction::Greater => '>',
            Direction::Any => '*',
        }
    }

    /// True unless both ends are surely at one index.
    pub const fn may_differ(self) -> bool {
        !matches!(self, Direction::Equal)
    }

    /// True if the sink may be at an earlier index.
    pub const fn may_be_greater(self) -> bool {
        matches!(self, Direction::Greater | Direction::Any)
    }
}

/// The dependences of stages.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `(stage, axis)`: an axis of the stage, numbered from the outermost in source order.
    pub axes: Vec<(usize, usize)>,
    /// `(stage, dependence, relaxed)`: a dependence of the stage on itself. Relaxed: the accumulator
    /// of a fold whose partial results may be combined in any order.
    pub dependences: Vec<(usize, usize, bool)>,
    /// `(stage, dependence, axis, direction)`: one for each axis.
    pub directions: Vec<(usize, usize, usize, Direction)>,
}

/// What follows from the dependences alone, before any schedule is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Derived {
    /// `(stage, dependence, axis)`: in source order, this axis is the outermost that may differ.
    pub carried_by: BTreeSet<(usize, usize, usize)>,
    /// `(stage, axis)`: as the outermost loop, its iterations are independent.
    pub parallel: BTreeSet<(usize, usize)>,
    /// `(stage, axis)`: several indices may be computed together.
    pub vector: BTreeSet<(usize, usize)>,
    /// `(stage, a, b)`: whatever the order of these two axes, no dependence is reversed.
    pub permutable: BTreeSet<(usize, usize, usize)>,
    /// `(stage, axis)`: may be blocked together with every other axis.
    pub tilable: BTreeSet<(usize, usize)>,
}

mod program {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "code that ascent generates")]
    use super::{Direction, ascent};

    ascent! {
        pub struct Dependences;
        relation axis(usize, usize);
        relation dependence(usize, usize, bool);
        relation direction(usize, usize, usize, Direction);

        // An axis outside `a`, on which the ends may differ, already orders them.
        relation differs_outside(usize, usize, usize);
        differs_outside(s, d, a) <--
            axis(s, a), direction(s, d, b, x), if b < a && x.may_differ();

        relation carried_by(usize, usize, usize);
        carried_by(s, d, a) <--
            direction(s, d, a, x), if x.may_differ(), !differs_outside(s, d, a);

        relation serial(usize, usize);
        serial(s, a) <-- direction(s, _, a, x), if x.may_differ();
        relation parallel(usize, usize);
        parallel(s, a) <-- axis(s, a), !serial(s, a);

        relation scalar(usize, usize);
        scalar(s, a) <-- dependence(s, d, false), direction(s, d, a, x), if x.may_differ();
        relation vector(usize, usize);
        vector(s, a) <-- axis(s, a), !scalar(s, a);

        // Exchanging a and b reverses (…, <, …, >, …).
        relation ordered(usize, usize, usize);
        ordered(s, a, b) <--
            dependence(s, d, false), direction(s, d, a, x), direction(s, d, b, y),
            if a != b && x.may_differ() && (y.may_be_greater() || x.may_be_greater() && y.may_differ());
        relation permutable(usize, usize, usize);
        permutable(s, a, b) <-- axis(s, a), axis(s, b), if a != b, !ordered(s, a, b), !ordered(s, b, a);

        relation untilable(usize, usize);
        untilable(s, a) <-- ordered(s, a, _);
        untilable(s, b) <-- ordered(s, _, b);
        relation tilable(usize, usize);
        tilable(s, a) <-- axis(s, a), !untilable(s, a);
    }
}

/// Derives everything that the facts imply.
pub fn derive(facts: Facts) -> Derived {
    let mut dependences = program::Dependences::default();
    dependences.axis = facts.axes;
    dependences.dependence = facts.dependences;
    dependences.direction = facts.directions;
    dependences.run();
    Derived {
        carried_by: dependences.carried_by.into_iter().collect(),
        parallel: dependences.parallel.into_iter().collect(),
        vector: dependences.vector.into_iter().collect(),
        permutable: dependences.permutable.into_iter().collect(),
        tilable: dependences.tilable.into_iter().collect(),
    }
}
