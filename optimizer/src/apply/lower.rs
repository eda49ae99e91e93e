//! Normal form → loop nest, with nothing decided yet.
//!
//! [`lower`] writes the plain nest: every definition stored whole, loops in axis order, no vectors.

use super::error::ApplyError;
use super::steps::apply;
use crate::nest::LoopNest;
use crate::schedule::plain::plain_schedule;
use crate::storage::Schedulable;

/// The loop nest of `form` with every loop plain.
///
/// # Errors
/// Never on a form that [`settle`](crate::storage::settle) gives.
pub fn lower(form: &Schedulable) -> Result<LoopNest, ApplyError> {
    apply(form, &plain_schedule(form))
}
