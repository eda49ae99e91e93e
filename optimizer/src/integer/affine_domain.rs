//! What is known of loop variables at a place in a program, and what follows from it.
//!
//! A [`Domain`] is the integer points that the loops and conditions around a place allow. It answers whether an affine
//! form is nowhere negative there, by eliminating variables from the opposite (J. Fourier, T. Motzkin; coefficients are
//! divided by their greatest common divisor and constants rounded, which is exact for integers one constraint at a
//! time). "No" means "not proven".

use crate::integer::affine::Affine;

/// An elimination that would keep more constraints than this proves nothing.
const MAX_CONSTRAINTS: usize = 400;

/// A loop around a place: `lo ≤ var < hi`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopRange {
    /// The variable.
    pub var: usize,
    /// The first value, affine in the variables of earlier ranges.
    pub lo: Affine,
    /// One past the last value, affine in the variables of earlier ranges.
    pub hi: Affine,
}

/// The points that some loops, outermost first, and conditions on their variables allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domain {
    /// The loops, outermost first.
    pub loops: Vec<LoopRange>,
    /// Forms that are ≥ 0.
    pub conditions: Vec<Affine>,
}

impl Domain {
    /// True if every variable of the form is that of a loop here.
    pub fn binds(&self, form: &Affine) -> bool {
        form.terms.iter().all(|term| self.loops.iter().any(|range| range.var == term.0))
    }

    /// The greatest value of a form, from above: each variable at its bound, innermost first. `None` beyond 62 bits,
    /// or where a variable is of no loop here.
    pub fn greatest(&self, form: &Affine) -> Option<i64> {
        self.extreme(form, true)
    }

    /// The least value of a form, from below; `None` as in [`Domain::greatest`].
    pub fn least(&self, form: &Affine) -> Option<i64> {
        self.extreme(form, false)
    }

    fn extreme(&self, form: &Affine, greatest: bool) -> Option<i64> {
        let mut form = Wide::of(form);
        for range in self.loops.iter().rev() {
            let coefficient = form.coefficient(range.var);
            if coefficient == 0 {
                continue;
            }
            let at_end = (coefficient > 0) == greatest;
            let mut bound = Wide::of(if at_end { &range.hi } else { &range.lo });
            if at_end {
                bound.constant -= 1;
            }
            form = form.without(range.var).plus(&bound, coefficient)?;
        }
        if form.terms.is_empty() {
            i64::try_from(form.constant).ok().filter(|value| value.abs() < 1 << 62)
        } else {
            None
        }
    }

    /// True if `form ≥ 0` is proven for every point.
    pub fn proves(&self, form: &Affine) -> bool {
        if form.is_constant() && form.constant >= 0 {
            return true;
        }
        if self.least(form).is_some_and(|least| least >= 0) {
            return true;
        }
        // No point with form ≤ −1.
        let difference = |a: &Affine, b: &Affine, less: i128| {
            let sum = Wide::of(a).plus(&Wide::of(b), -1)?;
            Some(Wide { constant: sum.constant - less, ..sum })
        };
        let ranges = self.loops.iter().flat_map(|range| {
            let var = Affine::variable(range.var);
            [difference(&var, &range.lo, 0), difference(&range.hi, &var, 1)]
        });
        let conditions = self.conditions.iter().map(|condition| Some(Wide::of(condition)));
        let opposite = difference(&Affine::default(), form, 1);
        let constraints: Option<Vec<Wide>> = ranges.chain(conditions).chain([opposite]).collect();
        constraints.is_some_and(infeasible)
    }

    /// True if no point exists, as far as that is proven.
    pub fn is_empty(&self) -> bool {
        self.proves(&Affine::constant(-1))
    }

    /// The domain with one more condition.
    #[must_use]
    pub fn and(&self, condition: Affine) -> Domain {
        let mut narrower = self.clone();
        narrower.conditions.push(condition);
        narrower
    }
}

/// An affine form whose coefficients may grow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wide {
    terms: Vec<(usize, i128)>,
    constant: i128,
}

impl Wide {
    fn of(form: &Affine) -> Wide {
        let terms = form.terms.iter().map(|&(var, coefficient)| (var, i128::from(coefficient))).collect();
        Wide { terms, constant: i128::from(form.constant) }
    }

    fn coefficient(&self, var: usize) -> i128 {
        self.terms.iter().find(|term| term.0 == var).map_or(0, |term| term.1)
    }

    fn without(&self, var: usize) -> Wide {
        let terms = self.terms.iter().copied().filter(|term| term.0 != var).collect();
        Wide { terms, constant: self.constant }
    }

    /// `self + factor · other`; `None` beyond 127 bits.
    fn plus(&self, other: &Wide, factor: i128) -> Option<Wide> {
        let constant = self.constant.checked_add(other.constant.checked_mul(factor)?)?;
        let mut terms = self.terms.clone();
        for &(var, coefficient) in &other.terms {
            let more = coefficient.checked_mul(factor)?;
            match terms.binary_search_by_key(&var, |term| term.0) {
                Ok(at) => terms[at].1 = terms[at].1.checked_add(more)?,
                Err(at) => terms.insert(at, (var, more)),
            }
        }
        terms.retain(|term| term.1 != 0);
        Some(Wide { terms, constant })
    }

    /// The same constraint with coprime coefficients and the constant rounded down: no integer point is lost.
    fn tightened(mut self) -> Wide {
        let divisor = self.terms.iter().fold(0_i128, |divisor, term| gcd(divisor, term.1.abs()));
        if divisor > 1 {
            self.terms.iter_mut().for_each(|term| term.1 /= divisor);
            self.constant = self.constant.div_euclid(divisor);
        }
        self
    }
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// True if it is proven that no point satisfies all of `form ≥ 0`.
fn infeasible(constraints: Vec<Wide>) -> bool {
    let mut constraints: Vec<Wide> = constraints.into_iter().map(Wide::tightened).collect();
    loop {
        constraints.sort();
        // Of constraints that differ in the constant only, the first is the strongest.
        constraints.dedup_by(|later, first| later.terms == first.terms);
        if constraints.iter().any(|form| form.terms.is_empty() && form.constant < 0) {
            return true;
        }
        constraints.retain(|form| !form.terms.is_empty());
        // The variable that makes the fewest new constraints.
        let sides = |var: usize| {
            let count = |positive: bool| {
                let of = |form: &&Wide| form.coefficient(var) != 0 && (form.coefficient(var) > 0) == positive;
                constraints.iter().filter(of).count()
            };
            count(true) * count(false)
        };
        let vars = constraints.iter().flat_map(|form| form.terms.iter().map(|term| term.0));
        let Some(var) = vars.min_by_key(|&var| sides(var)) else { return false };
        let (with, mut rest): (Vec<Wide>, Vec<Wide>) =
            constraints.into_iter().partition(|form| form.coefficient(var) != 0);
        let (lower, upper): (Vec<Wide>, Vec<Wide>) = with.into_iter().partition(|form| form.coefficient(var) > 0);
        if rest.len() + lower.len() * upper.len() > MAX_CONSTRAINTS {
            return false;
        }
        for low in &lower {
            for high in &upper {
                let (a, b) = (low.coefficient(var), -high.coefficient(var));
                let zero = Wide { terms: Vec::new(), constant: 0 };
                let Some(sum) = zero.plus(low, b).and_then(|sum| sum.plus(high, a)) else { return false };
                rest.push(sum.tightened());
            }
        }
        constraints = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::{Domain, LoopRange};
    use crate::integer::affine::Affine;

    fn range(var: usize, lo: Affine, hi: Affine) -> LoopRange {
        LoopRange { var, lo, hi }
    }

    #[test]
    fn bounds_of_outer_variables_are_used() {
        let (k, i) = (Affine::variable(0), Affine::variable(1));
        let triangle = Domain {
            loops: vec![
                range(0, Affine::constant(0), Affine::constant(10)),
                range(1, k.offset(1), Affine::constant(10)),
            ],
            conditions: vec![],
        };
        assert!(triangle.proves(&i.minus(&k).offset(-1)));
        assert!(triangle.proves(&i.offset(-1)));
        assert!(!triangle.proves(&k.offset(-1)));
        assert!(triangle.proves(&Affine::constant(8).minus(&k)), "an iteration of i leaves k below 9");
        assert_eq!(triangle.greatest(&Affine::constant(10).minus(&i)), Some(9));
        assert!(triangle.and(k.offset(-3)).proves(&i.offset(-4)));
        assert!(!triangle.is_empty());
        assert!(triangle.and(k.minus(&i)).is_empty());
    }

    /// Rationals would allow i = 1/2.
    #[test]
    fn constants_are_rounded() {
        let i = Affine::variable(0);
        let two = i.times(2);
        let domain = Domain {
            loops: vec![range(0, Affine::constant(-5), Affine::constant(5))],
            conditions: vec![two.offset(-1), Affine::constant(1).minus(&two)],
        };
        assert!(domain.is_empty());
    }
}
