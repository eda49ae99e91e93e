//! What is known of loop variables at compile time: an interval and a congruence.
//!
//! With them most bounds fold: which of several upper bounds can be the smallest, whether a loop
//! runs at all or at most once, and which remainders a register tile can leave. Pure arithmetic;
//! no LLVM here.

use moat_optimizer::integer::affine::Affine;
use moat_optimizer::integer::range::Range;

/// `min ≤ x ≤ max` and `x ≡ residue (mod modulus)`; modulus 0 means `x = residue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) min: i64,
    pub(crate) max: i64,
    pub(crate) modulus: i64,
    pub(crate) residue: i64,
}

fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).unwrap_or(1)
}

impl Facts {
    /// Exactly one value.
    pub(crate) fn exact(value: i64) -> Facts {
        Facts { min: value, max: value, modulus: 0, residue: value }
    }

    /// Of an affine form, from those of its variables.
    pub(crate) fn of(form: &Affine, vars: &dyn Fn(usize) -> Option<Facts>) -> Option<Facts> {
        let mut sum = Facts::exact(form.constant);
        for &(var, coefficient) in &form.terms {
            let x = vars(var)?;
            let (a, b) = (coefficient.checked_mul(x.min)?, coefficient.checked_mul(x.max)?);
            sum = Facts {
                min: sum.min.checked_add(a.min(b))?,
                max: sum.max.checked_add(a.max(b))?,
                modulus: gcd(sum.modulus, coefficient.checked_mul(x.modulus)?),
                residue: sum.residue.checked_add(coefficient.checked_mul(x.residue)?)?,
            };
        }
        if sum.modulus != 0 {
            sum.residue = sum.residue.rem_euclid(sum.modulus);
        }
        Some(sum)
    }

    /// The value mod `by`, where it is known.
    pub(crate) fn modulo(self, by: i64) -> Option<i64> {
        (self.modulus % by == 0).then(|| self.residue.rem_euclid(by))
    }
}

/// An interval whose superfluous bounds are gone.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) los: Vec<Affine>,
    pub(crate) his: Vec<Affine>,
    /// Least and greatest possible `min(hi) − max(lo)`.
    pub(crate) extent: (i64, i64),
}

impl Bounds {
    /// `None` if a bound has no known interval (an unbound variable) or there is no bound.
    pub(crate) fn new(range: &Range, vars: &dyn Fn(usize) -> Option<Facts>) -> Option<Bounds> {
        // `a` is superfluous as an upper bound if some other `b` is never above it.
        let prune = |forms: &[Affine], upper: bool| -> Option<Vec<Affine>> {
            let mut kept: Vec<Affine> = forms.to_vec();
            let mut at = 0;
            while at < kept.len() {
                let mut superfluous = false;
                for (other, form) in kept.iter().enumerate() {
                    if other != at {
                        let gap = if upper { kept[at].minus(form) } else { form.minus(&kept[at]) };
                        superfluous |= Facts::of(&gap, vars)?.min >= 0;
                    }
                }
                if superfluous {
                    kept.remove(at);
                } else {
                    at += 1;
                }
            }
            Some(kept)
        };
        let (los, his) = (prune(&range.lo, false)?, prune(&range.hi, true)?);
        if los.is_empty() || his.is_empty() {
            return None;
        }
        let mut extent = (i64::MAX, i64::MAX);
        for lo in &los {
            for hi in &his {
                let facts = Facts::of(&hi.minus(lo), vars)?;
                extent = (extent.0.min(facts.min), extent.1.min(facts.max));
            }
        }
        Some(Bounds { los, his, extent })
    }

    /// Facts of a variable that runs over the interval by `step`; `None` if it never runs.
    pub(crate) fn variable(&self, step: i64, vars: &dyn Fn(usize) -> Option<Facts>) -> Option<Facts> {
        let los: Vec<Facts> = self.los.iter().map(|lo| Facts::of(lo, vars)).collect::<Option<_>>()?;
        let his: Vec<Facts> = self.his.iter().map(|hi| Facts::of(hi, vars)).collect::<Option<_>>()?;
        let mut min = los.iter().map(|lo| lo.min).max()?;
        let mut max = his.iter().map(|hi| hi.max).min()?.checked_sub(1)?;
        let mut modulus = if self.extent.1 <= step { 0 } else { step };
        let residue = los[0].residue;
        for lo in &los {
            modulus = gcd(gcd(modulus, lo.modulus), lo.residue - residue);
        }
        if modulus == 0 {
            (min, max) = (residue, residue);
        } else {
            min += (residue - min).rem_euclid(modulus);
            max -= (max - residue).rem_euclid(modulus);
        }
        let residue = if modulus == 0 { residue } else { residue.rem_euclid(modulus) };
        (min <= max).then_some(Facts { min, max, modulus, residue })
    }

    /// The remainders that register tiles of `by` points can leave, sorted; `None` if unknown.
    pub(crate) fn remainders(&self, by: i64, vars: &dyn Fn(usize) -> Option<Facts>) -> Option<Vec<i64>> {
        let mut found = Vec::new();
        for lo in &self.los {
            for hi in &self.his {
                found.push(Facts::of(&hi.minus(lo), vars)?.modulo(by)?);
            }
        }
        found.sort_unstable();
        found.dedup();
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use crate::emit::facts::*;

    #[test]
    fn a_block_of_a_constant_extent_leaves_one_remainder() {
        // v in range(0, 1000, 504); p in [v, min(v + 504, 1000)) by 14.
        let none = |_| None;
        let outer = Range::constant(0, 1000);
        let v = Bounds::new(&outer, &none).expect("known bounds").variable(504, &none).expect("known bounds");
        assert_eq!(v, Facts { min: 0, max: 504, modulus: 504, residue: 0 });
        let vars = move |var| (var == 0).then_some(v);
        let range =
            Range { lo: vec![Affine::variable(0)], hi: vec![Affine::variable(0).offset(504), Affine::constant(1000)] };
        let bounds = Bounds::new(&range, &vars).expect("known bounds");
        assert_eq!(bounds.remainders(14, &vars), Some(vec![0, 6]));
        assert_eq!(bounds.extent, (496, 504));
    }

    #[test]
    fn a_bound_that_is_never_the_least_is_dropped() {
        let none = |_| None;
        let v = Bounds::new(&Range::constant(0, 512), &none)
            .expect("known bounds")
            .variable(64, &none)
            .expect("known bounds");
        let vars = move |var| (var == 0).then_some(v);
        let range =
            Range { lo: vec![Affine::variable(0)], hi: vec![Affine::variable(0).offset(64), Affine::constant(512)] };
        let bounds = Bounds::new(&range, &vars).expect("known bounds");
        assert_eq!(bounds.his, vec![Affine::variable(0).offset(64)]);
        assert_eq!(bounds.extent, (64, 64));
    }
}
