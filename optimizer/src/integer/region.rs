//! Iteration domains as integer sets: what holds on all of one, and conditions as bounds.
//!
//! Answers are proofs: `true` is certain, `false` may be ignorance. Variables above the axes are
//! loops around the definition; they are known by the conditions of the context alone.

use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_of};
use crate::integer::set::{Answer, IntegerSet};

/// A domain and what is known of the loops around it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Region {
    pub(crate) domain: Vec<Range>,
    /// Each is ≥ 0; over variables of loops.
    context: Vec<Affine>,
}

impl Region {
    pub(crate) fn new(domain: &[Range], context: &[Affine]) -> Region {
        Region { domain: domain.to_vec(), context: context.to_vec() }
    }

    /// The box `0 ≤ x < extents`.
    pub(crate) fn whole(extents: &[usize]) -> Region {
        let range = |&extent: &usize| Range::constant(0, i64::try_from(extent).unwrap_or(i64::MAX));
        Region { domain: extents.iter().map(range).collect(), context: Vec::new() }
    }

    /// True if no point satisfies all of `forms ≥ 0`.
    pub(crate) fn is_empty_with(&self, forms: &[Affine]) -> bool {
        let axes = self.domain.len();
        let ranges = self.domain.iter().flat_map(|range| range.lo.iter().chain(&range.hi));
        let mut loops: Vec<usize> = ranges
            .chain(&self.context)
            .chain(forms)
            .flat_map(|form| form.terms.iter().map(|term| term.0))
            .filter(|&variable| variable >= axes)
            .collect();
        loops.sort_unstable();
        loops.dedup();
        let place = |variable: usize| {
            if variable < axes { variable } else { axes + loops.binary_search(&variable).unwrap_or(usize::MAX - axes) }
        };
        let mut set = IntegerSet::all(axes + loops.len());
        set.require_domain(&self.domain, place);
        for form in self.context.iter().chain(forms) {
            set.require_non_negative(form, place);
        }
        set.answer() == Answer::Empty
    }

    /// True if there is no point.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_empty_with(&[])
    }

    /// True if `form ≥ 0` everywhere.
    pub(crate) fn holds(&self, form: &Affine) -> bool {
        if form.is_constant() && form.constant >= 0 {
            return true;
        }
        self.is_empty_with(&[opposite(form)])
    }

    /// True if `form ≥ 0` nowhere.
    pub(crate) fn fails(&self, form: &Affine) -> bool {
        self.is_empty_with(std::slice::from_ref(form))
    }

    /// The innermost axis that `form` depends on.
    pub(crate) fn innermost(&self, form: &Affine) -> Option<usize> {
        form.terms.iter().rev().map(|term| term.0).find(|&variable| variable < self.domain.len())
    }

    /// The part where `form ≥ 0`, as a bound of the innermost axis of `form`; `None` if it is not
    /// one.
    pub(crate) fn narrowed(&self, form: &Affine) -> Option<Region> {
        let axis = self.innermost(form)?;
        let coefficient = form.coefficient(axis);
        let rest = form.minus(&Affine::new(0, [(axis, coefficient)]));
        let mut region = self.clone();
        let range = region.domain.get_mut(axis)?;
        match coefficient {
            1 => range.lo.push(rest.times(-1)),
            -1 => range.hi.push(rest.offset(1)),
            // c·x + r ≥ 0 ⟺ x ≥ ⌈−r/c⌉, and for c < 0: x ≤ ⌊r/−c⌋.
            _ if rest.is_constant() && coefficient > 0 => {
                range.lo.push(Affine::constant(-rest.constant.div_euclid(coefficient)));
            }
            _ if rest.is_constant() => {
                range.hi.push(Affine::constant(rest.constant.div_euclid(-coefficient) + 1));
            }
            _ => return None,
        }
        for axis in axis..region.domain.len() {
            region.prune(axis);
        }
        Some(region)
    }

    /// The domain without bounds that others imply.
    pub(crate) fn pruned(mut self) -> Vec<Range> {
        for axis in 0..self.domain.len() {
            self.prune(axis);
        }
        self.domain
    }

    /// Drops the bounds of an axis that others imply.
    fn prune(&mut self, axis: usize) {
        let outer = Region { domain: self.domain[..axis].to_vec(), context: self.context.clone() };
        let prune = |forms: &mut Vec<Affine>, lower: bool| {
            let mut at = 0;
            while at < forms.len() {
                let implied = forms.iter().enumerate().any(|(other, form)| {
                    let gap = if lower { form.minus(&forms[at]) } else { forms[at].minus(form) };
                    other != at && outer.holds(&gap)
                });
                if implied {
                    forms.remove(at);
                } else {
                    at += 1;
                }
            }
        };
        prune(&mut self.domain[axis].lo, true);
        prune(&mut self.domain[axis].hi, false);
    }

    /// The conditions of the domain: all forms are ≥ 0 at its points and nowhere else.
    pub(crate) fn conditions(domain: &[Range]) -> Vec<Affine> {
        let each = |(axis, range): (usize, &Range)| {
            let lows = range.lo.iter().map(move |low| Affine::variable(axis).minus(low)).collect::<Vec<_>>();
            let highs = range.hi.iter().map(move |high| high.minus(&Affine::variable(axis)).offset(-1));
            lows.into_iter().chain(highs).collect::<Vec<_>>()
        };
        domain.iter().enumerate().flat_map(each).collect()
    }
}

/// `form < 0` as a form that is ≥ 0.
pub(crate) fn opposite(form: &Affine) -> Affine {
    form.times(-1).offset(-1)
}

/// True if the form depends on a loop around the definition.
pub(crate) fn in_loop(form: &Affine) -> bool {
    form.terms.iter().any(|term| loop_of(term.0).is_some())
}

/// A domain without bounds that others imply, where each of `known` is ≥ 0.
pub(crate) fn pruned(domain: &[Range], known: &[Affine]) -> Vec<Range> {
    Region::new(domain, known).pruned()
}
