//! The forms of a program, for tests: what the pipeline drops is a failure here.

use moat_optimizer::forms::{self, DerivedForm, FormsError, Limits, reordered};
use moat_optimizer::normalize::Form;
use moat_optimizer::orders::ORDERS;
use moat_optimizer::program::expr::Program;
use moat_optimizer::value::numerics::Numerics;
use moat_rules::RuleBase;

/// At most `most` forms of `program` that schedules can be made for, the source form first.
///
/// # Errors
/// As [`moat_optimizer::forms::forms`].
///
/// # Panics
/// If a form in another order of loops breaks an invariant.
pub fn forms(
    program: &Program,
    rules: &RuleBase,
    numerics: Numerics,
    most: usize,
) -> Result<Vec<DerivedForm>, FormsError> {
    let found = forms::forms(program, rules, numerics, &Limits::at_most(most))?;
    assert!(found.broken.is_empty(), "{}: {:?}", program.name, found.broken);
    Ok(found.forms)
}

/// A form in every other order of its loops.
pub fn in_other_orders(form: &Form, numerics: Numerics) -> Vec<Form> {
    ORDERS.iter().filter_map(|order| reordered(form, order, numerics)).collect()
}
