//! Exact integer reasoning about accesses: emptiness of integer sets, and the direction vectors of
//! dependences.
//!
//! Input: domains and accesses of a normal form. Output: [`Answer`]s and [`Direction`] vectors.
//! Method: the Omega test (equalities by unimodular substitution, inequalities by Fourier–Motzkin
//! elimination with gcd tightening, exact where a unit coefficient allows, otherwise between the real
//! and the dark shadow, with a bounded number of splinters). Where it cannot decide, or a number leaves
//! 128 bits, the answer is `Maybe`, and `Maybe` is a dependence. Nothing here knows a schedule.
//!
//! Source: W. Pugh, *The Omega test* (CACM 1992).

use crate::affine::Affine;
use crate::normal_form::{Access, Def, NormalForm, Range, ScalarOp, Scope, Source, loop_of};
use crate::value::scalar::FoldOp;
pub use moat_rules::dependence::Direction;

/// Whether an integer set has a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Certainly none.
    Empty,
    /// Certainly some.
    Inhabited,
    /// Not decided.
    Maybe,
}

/// `constant + Σ coefficient · variable`, one coefficient for each variable.
type Row = (Vec<i128>, i128);

/// The integer points of equalities and inequalities over numbered variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntegerSet {
    variables: usize,
    /// Each is 0.
    equalities: Vec<Row>,
    /// Each is ≥ 0.
    inequalities: Vec<Row>,
    /// A number did not fit: nothing is known.
    overflow: bool,
}

/// More inequalities than this are not eliminated further.
const MAX_INEQUALITIES: usize = 400;
/// Between the shadows, so many planes are searched.
const MAX_SPLINTERS: usize = 64;

impl IntegerSet {
    /// All points of `variables` dimensions.
    pub fn all(variables: usize) -> IntegerSet {
        IntegerSet { variables, ..IntegerSet::default() }
    }

    /// Requires `form = 0`; variable `v` of the form is the set's `place(v)`.
    pub fn require_zero(&mut self, form: &Affine, place: impl Fn(usize) -> usize) {
        let row = self.row(form, place);
        self.equalities.push(row);
    }

    /// Requires `form ≥ 0`.
    pub fn require_non_negative(&mut self, form: &Affine, place: impl Fn(usize) -> usize) {
        let row = self.row(form, place);
        self.inequalities.push(row);
    }

    /// Requires the variables to lie in `domain`, variable `v` standing at `place(v)`.
    pub fn require_domain(&mut self, domain: &[Range], place: impl Fn(usize) -> usize) {
        for (axis, range) in domain.iter().enumerate() {
            for low in &range.lo {
                self.require_non_negative(&Affine::variable(axis).minus(low), &place);
            }
            for high in &range.hi {
                self.require_non_negative(&high.minus(&Affine::variable(axis)).offset(-1), &place);
            }
        }
    }

    fn row(&mut self, form: &Affine, place: impl Fn(usize) -> usize) -> Row {
        let mut coefficients = vec![0; self.variables];
        for &(variable, coefficient) in &form.terms {
            match coefficients.get_mut(place(variable)) {
                Some(slot) => *slot += i128::from(coefficient),
                None => self.overflow = true,
            }
        }
        (coefficients, i128::from(form.constant))
    }

    /// Whether the set has a point.
    pub fn answer(&self) -> Answer {
        if self.overflow {
            return Answer::Maybe;
        }
        let mut splinters = MAX_SPLINTERS;
        decide(self.equalities.clone(), self.inequalities.clone(), self.variables, &mut splinters)
            .unwrap_or(Answer::Maybe)
    }
}

/// What remains of a row after division by the gcd of its coefficients.
enum Tightened {
    True,
    False,
    Row(Row),
}

fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i128::try_from(a).unwrap_or(1)
}

fn tighten_equality((mut coefficients, constant): Row) -> Tightened {
    let divisor = coefficients.iter().fold(0, |sum, &c| gcd(sum, c));
    if divisor == 0 {
        return if constant == 0 { Tightened::True } else { Tightened::False };
    }
    if constant % divisor != 0 {
        return Tightened::False;
    }
    for c in &mut coefficients {
        *c /= divisor;
    }
    Tightened::Row((coefficients, constant / divisor))
}

fn tighten_inequality((mut coefficients, constant): Row) -> Tightened {
    let divisor = coefficients.iter().fold(0, |sum, &c| gcd(sum, c));
    if divisor == 0 {
        return if constant >= 0 { Tightened::True } else { Tightened::False };
    }
    for c in &mut coefficients {
        *c /= divisor;
    }
    Tightened::Row((coefficients, constant.div_euclid(divisor)))
}

/// `left · a + right · b`; `None` on overflow.
fn combine(left: &Row, a: i128, right: &Row, b: i128) -> Option<Row> {
    let sum = |x: i128, y: i128| x.checked_mul(a)?.checked_add(y.checked_mul(b)?);
    let mut coefficients = Vec::with_capacity(left.0.len());
    for (&x, &y) in left.0.iter().zip(&right.0) {
        coefficients.push(sum(x, y)?);
    }
    Some((coefficients, sum(left.1, right.1)?))
}

/// Removes `variable` from `row` by means of `by`, in which its coefficient is ±1.
fn substitute(row: &Row, by: &Row, variable: usize) -> Option<Row> {
    let factor = row.0[variable].checked_mul(by.0[variable])?.checked_neg()?;
    combine(row, 1, by, factor)
}

/// `a - m·⌊a/m + 1/2⌋`, in `[-m/2, m/2)`.
fn symmetric_modulo(a: i128, m: i128) -> i128 {
    let r = a.rem_euclid(m);
    if 2 * r >= m { r - m } else { r }
}

/// `None` on overflow or when the work limit is reached.
fn decide(
    mut equalities: Vec<Row>,
    mut inequalities: Vec<Row>,
    mut variables: usize,
    splinters: &mut usize,
) -> Option<Answer> {
    // Each round either removes a variable or shrinks the coefficients of one equality.
    let mut rounds = 0;
    while let Some(equality) = equalities.pop() {
        rounds += 1;
        if rounds > 200 {
            return None;
        }
        let equality = match tighten_equality(equality) {
            Tightened::True => continue,
            Tightened::False => return Some(Answer::Empty),
            Tightened::Row(row) => row,
        };
        if let Some(variable) = equality.0.iter().position(|c| c.abs() == 1) {
            for row in equalities.iter_mut().chain(&mut inequalities) {
                *row = substitute(row, &equality, variable)?;
            }
            continue;
        }
        // Pugh: with m = |least coefficient| + 1, a new variable whose equation has a unit.
        let (variable, least) =
            equality.0.iter().copied().enumerate().filter(|(_, c)| *c != 0).min_by_key(|(_, c)| c.unsigned_abs())?;
        let modulus = least.checked_abs()?.checked_add(1)?;
        for row in equalities.iter_mut().chain(&mut inequalities) {
            row.0.push(0);
        }
        let mut grown = equality;
        grown.0.push(0);
        variables += 1;
        let mut fresh: Row =
            (grown.0.iter().map(|&c| symmetric_modulo(c, modulus)).collect(), symmetric_modulo(grown.1, modulus));
        let last = fresh.0.len() - 1;
        fresh.0[last] = -modulus;
        debug_assert_eq!(fresh.0[variable].abs(), 1);
        for row in equalities.iter_mut().chain(&mut inequalities) {
            *row = substitute(row, &fresh, variable)?;
        }
        equalities.push(substitute(&grown, &fresh, variable)?);
    }
    eliminate(inequalities, variables, splinters)
}

/// Fourier–Motzkin with the exactness test.
fn eliminate(rows: Vec<Row>, variables: usize, splinters: &mut usize) -> Option<Answer> {
    let mut inequalities: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        match tighten_inequality(row) {
            Tightened::True => {}
            Tightened::False => return Some(Answer::Empty),
            // Of parallel rows only the strongest counts.
            Tightened::Row(row) => match inequalities.iter_mut().find(|other| other.0 == row.0) {
                Some(other) => other.1 = other.1.min(row.1),
                None => inequalities.push(row),
            },
        }
    }
    if inequalities.is_empty() {
        return Some(Answer::Inhabited);
    }
    if inequalities.len() > MAX_INEQUALITIES {
        return None;
    }
    // An exact elimination with the fewest new rows; an unbounded variable removes rows for free.
    let mut best: Option<(bool, usize, usize)> = None;
    for variable in 0..variables {
        let (mut lower, mut upper, mut unit_lower, mut unit_upper) = (0, 0, true, true);
        for row in &inequalities {
            let c = row.0[variable];
            if c > 0 {
                lower += 1;
                unit_lower &= c == 1;
            } else if c < 0 {
                upper += 1;
                unit_upper &= c == -1;
            }
        }
        if lower + upper == 0 {
            continue;
        }
        let inexact = !(unit_lower || unit_upper || lower == 0 || upper == 0);
        let key = (inexact, lower * upper, variable);
        if best.is_none_or(|other| key < other) {
            best = Some(key);
        }
    }
    let Some((inexact, _, variable)) = best else { return Some(Answer::Inhabited) };
    let all = inequalities.clone();
    let (mut kept, mut lowers, mut uppers) = (Vec::new(), Vec::new(), Vec::new());
    for row in inequalities {
        match row.0[variable].signum() {
            1 => lowers.push(row),
            -1 => uppers.push(row),
            _ => kept.push(row),
        }
    }
    let mut real = kept.clone();
    let mut dark = kept;
    for lower in &lowers {
        for upper in &uppers {
            let (a, b) = (lower.0[variable], upper.0[variable].checked_neg()?);
            let mut shadow = combine(lower, b, upper, a)?;
            shadow.0[variable] = 0;
            if inexact {
                let slack = (a - 1).checked_mul(b - 1)?;
                dark.push((shadow.0.clone(), shadow.1.checked_sub(slack)?));
            }
            real.push(shadow);
        }
    }
    let outer = eliminate(real, variables, splinters)?;
    if !inexact || outer == Answer::Empty {
        return Some(outer);
    }
    match eliminate(dark, variables, splinters)? {
        Answer::Inhabited => return Some(Answer::Inhabited),
        Answer::Maybe => return Some(Answer::Maybe),
        Answer::Empty => {}
    }
    // What is outside the dark shadow lies close above a lower bound: search those planes.
    let steepest = uppers.iter().map(|row| row.0[variable].unsigned_abs()).max()?;
    let steepest = i128::try_from(steepest).ok()?;
    for lower in &lowers {
        let a = lower.0[variable];
        let planes = a.checked_mul(steepest)?.checked_sub(a)?.checked_sub(steepest)?.div_euclid(steepest);
        for plane in 0..=planes {
            *splinters = splinters.checked_sub(1)?;
            let equality = (lower.0.clone(), lower.1.checked_sub(plane)?);
            match decide(vec![equality], all.clone(), variables, splinters)? {
                Answer::Empty => {}
                Answer::Inhabited => return Some(Answer::Inhabited),
                Answer::Maybe => return Some(Answer::Maybe),
            }
        }
    }
    Some(Answer::Empty)
}

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

/// The number of axes of a definition's schedule: its points, and the folds of the piece that has
/// most of them.
pub fn axes_of(def: &Def) -> usize {
    def.pieces.iter().map(|piece| piece.domain.len()).max().unwrap_or(def.axes.len()).max(def.axes.len())
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

/// The least and greatest value of a loop's variable.
pub fn extremes(scope: &[Scope], variable: usize) -> (i64, i64) {
    scope.iter().find(|around| around.variable == variable).map_or((0, 0), |around| (around.min, around.max))
}

/// The least and greatest index of each axis of a domain, inclusive at both ends, by intervals: a
/// box that holds the domain. `None` if the box is empty.
pub fn bounding_box(domain: &[Range], scope: &[Scope]) -> Option<Vec<(i64, i64)>> {
    let mut bounds: Vec<(i64, i64)> = Vec::with_capacity(domain.len());
    for range in domain {
        let at = |v: usize| bounds.get(v).copied().unwrap_or_else(|| extremes(scope, v));
        let low = range.lo.iter().map(|form| form.bounds(at).0).max().unwrap_or(0);
        let high = range.hi.iter().map(|form| form.bounds(at).1).min().unwrap_or(0);
        if low >= high {
            return None;
        }
        bounds.push((low, high - 1));
    }
    Some(bounds)
}
