//! Integer sets: conjunctions of affine constraints, and the test for whether one has a point.
//!
//! Method: the Omega test (equalities by unimodular substitution, inequalities by Fourier–Motzkin
//! elimination with gcd tightening, exact where a unit coefficient allows, otherwise between the real
//! and the dark shadow, with a bounded number of splinters). Where it cannot decide, or a number leaves
//! 128 bits, the answer is `Maybe`.
//!
//! Source: W. Pugh, *The Omega test* (CACM 1992).

use crate::integer::affine::Affine;
use crate::integer::range::Range;

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
