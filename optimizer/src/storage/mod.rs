//! Storage: makes a form ready for a schedule.
//!
//! Takes a form in some order of loops; gives a [`Schedulable`], an equal form whose updates in place
//! are safe, whose states lie in the order in which they are walked, and whose adjacent axes are
//! merged. The space of schedules and `apply` take nothing else. It knows nothing of schedules.

pub mod in_place;
pub mod merge_axes;
pub mod state_order;

use crate::form::normal_form::NormalForm;
use crate::form::verify::{FormError, verify_form};
use serde::{Deserialize, Serialize};
use std::ops::Deref;
use thiserror::Error;

/// A normal form that a schedule can be made for: every update may store each of its elements as soon as it is computed,
/// in any order. Made by [`settle`] and [`accept`] alone; read as the [`NormalForm`] that it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "NormalForm")]
pub struct Schedulable(NormalForm);

impl Schedulable {
    /// The form without the promise.
    #[must_use]
    pub fn into_form(self) -> NormalForm {
        self.0
    }
}

impl Deref for Schedulable {
    type Target = NormalForm;

    fn deref(&self) -> &NormalForm {
        &self.0
    }
}

impl TryFrom<NormalForm> for Schedulable {
    type Error = UnsafeUpdate;

    fn try_from(form: NormalForm) -> Result<Schedulable, UnsafeUpdate> {
        accept(form)
    }
}

/// An update that may overwrite an element before it is read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("update `{def}` may read an element of its state after it was overwritten")]
pub struct UnsafeUpdate {
    /// The name of the definition.
    pub def: String,
}

/// The form that schedules of `form` refer to.
///
/// # Errors
/// If the form breaks its invariants.
pub fn settle(form: &NormalForm) -> Result<Schedulable, FormError> {
    // Merged axes no longer refine the shape's: the form is checked before.
    verify_form(form)?;
    Ok(Schedulable(merge_axes::merge_axes(&state_order::order_states(&in_place::buffer_updates(form)))))
}

/// The form as it stands, with its own axes and the states in their own order: for forms that were settled before, and for
/// schedules written for axes that [`settle`] would merge. Only what makes updates safe is looked at, not the form's other
/// invariants.
///
/// # Errors
/// An update that is not safe in place.
pub fn accept(form: NormalForm) -> Result<Schedulable, UnsafeUpdate> {
    match in_place::first_unsafe(&form) {
        Some(def) => Err(UnsafeUpdate { def: def.name.clone() }),
        None => Ok(Schedulable(form)),
    }
}
