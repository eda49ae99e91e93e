//! Normal form → loop nest, with nothing decided yet.
//!
//! [`merge_axes`] does what the ONF does to adjacent loops: two become one where every access and
//! the result step through them alike (stride of the outer = stride of the inner · its length;
//! Mullin & Jenkins 1996). [`lower`] writes the plain nest: every definition stored whole, loops in
//! axis order, no vectors.

use crate::apply::{ApplyError, apply};
use crate::form::normal_form::NormalForm;
use crate::nest::LoopNest;
use crate::schedule::plain::plain_schedule;

/// The loop nest of `form` with every loop plain.
///
/// # Errors
/// Never on a form that `verify_form` accepts.
pub fn lower(form: &NormalForm) -> Result<LoopNest, ApplyError> {
    apply(form, &plain_schedule(form))
}
