//! Orders of loops: equal forms whose loops run otherwise.
//!
//! Takes a form; gives forms in which updates are distributed, deferred, blocked, skewed into
//! wavefronts, or whose folds and scans are split into parts. Each law says what it needs of the
//! dependences. It knows nothing of schedules, and does not know `normalize`.

pub mod accumulation;
pub mod block_sizes;
pub mod blocked;
pub mod deferred;
pub mod distribution;
pub mod fold_parts;
pub mod loop_state;
pub mod right_looking;
pub mod scan_parts;
pub mod wavefront;

use crate::form::normal_form::NormalForm;
use crate::value::numerics::Numerics;

/// One order of loops: the laws that make it, and the form that they make, if they apply.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// The names of its laws, as a derivation lists them.
    pub laws: &'static [&'static str],
    apply: fn(&NormalForm, Numerics) -> Option<NormalForm>,
}

impl Order {
    /// The form in this order; `None` if a law does not apply or `numerics` does not grant it.
    pub fn of(&self, form: &NormalForm, numerics: Numerics) -> Option<NormalForm> {
        (self.apply)(form, numerics)
    }
}

/// Every order of loops that is tried, in the order in which they are offered.
pub const ORDERS: [Order; 8] = [
    Order { laws: &[right_looking::RULE], apply: |form, _| right_looking::right_looking(form) },
    Order { laws: &[wavefront::RULE], apply: |form, _| wavefront::wavefront(form) },
    Order { laws: &[blocked::RULE], apply: blocked::blocked },
    Order { laws: &[deferred::RULE], apply: deferred::deferred },
    Order { laws: &[deferred::RULE, distribution::RULE], apply: deferred::deferred_apart },
    Order { laws: &[fold_parts::RULE], apply: fold_parts::parted },
    Order { laws: &[scan_parts::RULE], apply: scan_parts::in_parts },
    Order { laws: &[distribution::RULE], apply: |form, _| distribution::distributed(form) },
];
