//! The direction vectors of dependences between accesses of a normal form.
//!
//! Input: domains and accesses. Output: [`Direction`] vectors. An [`Answer`] that is `Maybe` is a
//! dependence. Nothing here knows a schedule.

use crate::form::access::axes_of;
use crate::form::normal_form::{Def, NormalForm};
use crate::form::scalar_tree::{Access, ScalarOp, Source};
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_of};
use crate::integer::set::{Answer, IntegerSet};
use crate::value::scalar::FoldOp;
pub use moat_rules::dependence::Direction;

/// One side of a possible dependence: all iterations of a domain, each touching one element.
#[derive(Clone, Copy, Debug)]
pub struct Reference<'a> {
    /// The iteration domain, outermost axis first.
    pub domain: &'a [Range],
    /// The element touched, affine over the domain's axes.
    pub access: &'a [Affine],
}

/// Above so many common axes, the remaining directions are not refined but `*`.
const MAX_REFINED: usize = 6;

/// The direction vectors, over the first `common` axes of both, of all pairs of iterations that touch
/// one element. No vector is missing; a vector may be spurious only where the test is inexact.
pub fn directions(source: &Reference<'_>, sink: &Reference<'_>, common: usize) -> Vec<Vec<Direction>> {
    let shift = source.domain.len();
    // Variables of loops around both have one value, whatever it is; they come last.
    let bounds = |domain: &[Range]| -> Vec<Affine> {
        domain.iter().flat_map(|range| range.lo.iter().chain(&range.hi)).cloned().collect()
    };
    let forms = [bounds(source.domain), bounds(sink.domain), source.access.to_vec(), sink.access.to_vec()].concat();
    let mut symbols: Vec<usize> = forms.iter().flat_map(|form| form.terms.iter().map(|term| term.0)).collect();
    symbols.retain(|&v| loop_of(v).is_some());
    symbols.sort_unstable();
    symbols.dedup();
    let axes = shift + sink.domain.len();
    let symbol = |v: usize| symbols.binary_search(&v).map_or(usize::MAX, |at| axes + at);
    let first = |v: usize| if loop_of(v).is_some() { symbol(v) } else { v };
    let second = |v: usize| if loop_of(v).is_some() { symbol(v) } else { v + shift };
    let mut set = IntegerSet::all(axes + symbols.len());
    set.require_domain(source.domain, first);
    set.require_domain(sink.domain, second);
    if source.access.len() != sink.access.len() {
        // Not comparable index by index (an axis-wise access against a flat one).
        return match set.answer() {
            Answer::Empty => Vec::new(),
            Answer::Inhabited | Answer::Maybe => vec![vec![Direction::Any; common]],
        };
    }
    for (from, to) in source.access.iter().zip(sink.access) {
        let from = from.substitute(|v| Affine::variable(first(v)));
        let shifted = to.substitute(|v| Affine::variable(second(v)));
        set.require_zero(&from.minus(&shifted), |v| v);
    }
    let mut vectors = Vec::new();
    refine(&set, shift, common, &mut Vec::new(), &mut vectors);
    vectors
}

/// Adds to `vectors` every direction vector over the first `common` variables, compared with those `shift` later, that
/// has a point in `set`.
pub(crate) fn refine(
    set: &IntegerSet,
    shift: usize,
    common: usize,
    prefix: &mut Vec<Direction>,
    vectors: &mut Vec<Vec<Direction>>,
) {
    if set.answer() == Answer::Empty {
        return;
    }
    let axis = prefix.len();
    if axis >= common || axis >= MAX_REFINED {
        let mut vector = prefix.clone();
        vector.resize(common, Direction::Any);
        vectors.push(vector);
        return;
    }
    let later = Affine::variable(axis + shift).minus(&Affine::variable(axis));
    for direction in [Direction::Less, Direction::Equal, Direction::Greater] {
        let mut part = set.clone();
        match direction {
            Direction::Less => part.require_non_negative(&later.offset(-1), |v| v),
            Direction::Equal => part.require_zero(&later, |v| v),
            Direction::Greater => part.require_non_negative(&later.times(-1).offset(-1), |v| v),
            Direction::Any => {}
        }
        prefix.push(direction);
        refine(&part, shift, common, prefix, vectors);
        prefix.pop();
    }
}

/// True if the sink may run after the source in source order: the first component that is not `=`
/// is not `>`.
pub fn may_be_forward(vector: &[Direction]) -> bool {
    match vector.iter().find(|direction| direction.may_differ()) {
        None | Some(Direction::Greater) => false,
        Some(Direction::Less | Direction::Any | Direction::Equal) => true,
    }
}

/// A dependence of a definition on itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependence {
    /// One direction for each axis: points, then the folds of the definition.
    pub directions: Vec<Direction>,
    /// The fold whose accumulator carries it.
    pub fold: Option<FoldOp>,
}

/// The dependences of a definition on itself. A functional definition has none over its points; a
/// fold's accumulator links all iterations that give one element.
pub fn self_dependences(def: &Def) -> Vec<Dependence> {
    let (points, axes) = (def.axes.len(), axes_of(def));
    let access: Vec<Affine> = (0..points).map(Affine::variable).collect();
    let mut found: Vec<Dependence> = Vec::new();
    for piece in &def.pieces {
        let Some(fold) = piece.fold else { continue };
        let reference = Reference { domain: &piece.domain, access: &access };
        for mut directions in directions(&reference, &reference, piece.domain.len()) {
            if may_be_forward(&directions) {
                directions.resize(axes, Direction::Equal);
                let dependence = Dependence { directions, fold: Some(fold) };
                if !found.contains(&dependence) {
                    found.push(dependence);
                }
            }
        }
    }
    found
}

/// A definition that reads another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    /// The reading definition.
    pub consumer: usize,
    /// The definition read.
    pub producer: usize,
    /// It is read by its flat offset, known or not.
    pub flat: bool,
}

/// All reads of definitions by definitions, without repetition.
pub fn reads(form: &NormalForm) -> Vec<Read> {
    let mut found = Vec::new();
    for (consumer, def) in form.defs.iter().enumerate() {
        for node in def.pieces.iter().flat_map(|piece| &piece.value.nodes) {
            if let ScalarOp::Load(Source::Def(producer), access) = &node.op {
                found.push(Read { consumer, producer: *producer, flat: !matches!(access, Access::Axes(_)) });
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}
