//! The dependence that forbids a tile, with names.
//!
//! Input: a form and a tile of one of its loops. Output: the first dependence that leads from a tile to an earlier one,
//! for the message of a refusal. Legality itself is decided in [`super::legal`].

use super::legal::{Body, Leaving, Side};
use super::statements;
use crate::dependence::loops::Kind;
use crate::form::context::contexts;
use crate::form::normal_form::NormalForm;
use crate::schedule::Band;
use std::fmt;

/// A dependence that leads back along a dimension of the states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offending {
    /// What its ends do.
    pub kind: Kind,
    /// The state's name.
    pub state: String,
    /// The definition that runs first.
    pub source: String,
    /// The definition that runs later.
    pub sink: String,
    /// The sink is in a later iteration of the loop.
    pub carried: bool,
    /// The dimension.
    pub dim: usize,
    /// The least index of the sink along it less that of the source; `None` where it has no bound that is known.
    pub distance: Option<i64>,
}

/// The dependence that a band of the loop `var` would reverse.
#[must_use]
pub fn offending(form: &NormalForm, var: usize, band: &Band) -> Option<Offending> {
    let defs = statements(form, var)?;
    if band.shifts.len() != defs.len() {
        return None;
    }
    let contexts = contexts(form);
    let body = Body::new(form, &contexts, var, band.dim, &defs)?;
    let side = if band.independent { Side::Here } else { Side::Forward };
    let behind_panel = || body.beyond(&band.shifts, band.panel?);
    let Leaving { source, sink, carried, state, ends, distance } =
        body.leaving(band.skew, &band.shifts, side).or_else(behind_panel)?;
    let kind = match ends {
        (true, true) => Kind::Output,
        (true, false) => Kind::Flow,
        (false, _) => Kind::Anti,
    };
    let name = |number: usize| form.defs[defs[number]].name.clone();
    let value = |state: usize| form.defs.get(state - form.states.len()).map(|def| def.name.clone());
    let state = form.states.get(state).map(|state| state.name.clone()).or_else(|| value(state)).unwrap_or_default();
    Some(Offending { kind, state, source: name(source), sink: name(sink), carried, dim: band.dim, distance })
}

impl fmt::Display for Offending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Offending { kind, state, source, sink, carried, dim, distance } = self;
        let when = if *carried { "a later iteration" } else { "the same iteration" };
        write!(f, "{kind} dependence through `{state}` from `{source}` to `{sink}` in {when}, ")?;
        match distance {
            Some(distance) => write!(f, "by {distance} along dimension {dim}"),
            None => write!(f, "any distance back along dimension {dim}"),
        }
    }
}
