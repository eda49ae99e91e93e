//! Bounds of affine forms over ranges that depend on one another, by elimination from the inside.

use crate::integer::affine::Affine;
use crate::integer::range::Range;

/// The greatest value of `form` over a scope of variables with their ranges, outermost first, or an
/// upper bound of it: each variable is replaced by its bounds, innermost first. `None` if a
/// variable is not in scope.
pub(crate) fn upper_bound(form: &Affine, scope: &[(usize, &Range)]) -> Option<i128> {
    if form.is_constant() {
        return Some(i128::from(form.constant));
    }
    let innermost = scope.iter().rposition(|(variable, _)| form.coefficient(*variable) != 0)?;
    let (variable, range) = scope[innermost];
    let bounds: Vec<Affine> = if form.coefficient(variable) > 0 {
        range.hi.iter().map(|high| high.offset(-1)).collect()
    } else {
        range.lo.clone()
    };
    let replaced =
        |bound: &Affine| form.substitute(|v| if v == variable { bound.clone() } else { Affine::variable(v) });
    bounds.iter().map(|bound| upper_bound(&replaced(bound), &scope[..innermost])).min().flatten()
}

/// The least value, likewise.
pub(crate) fn lower_bound(form: &Affine, scope: &[(usize, &Range)]) -> Option<i128> {
    upper_bound(&form.times(-1), scope).map(|bound| -bound)
}
