//! How far a rewrite may change floating-point results.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The degrees, each containing the one before it. Recorded in every row of the cost database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Numerics {
    /// Bit for bit the source program's operations, in its order; no FMA. Functions within a bound of ulps.
    Exact,
    /// FMA, any order and grouping of sums and products, and multiplication by the reciprocal of a constant for a division
    /// by it: backward stable. What a discontinuous function reads differs by FMA and the order of sums and products alone.
    #[default]
    Reassociate,
    /// Also laws of the reals that are not backward stable. No NaN takes the place of a number.
    Algebraic,
}

impl Numerics {
    /// The word used on the command line, in rule headers and in records.
    pub const fn name(self) -> &'static str {
        match self {
            Numerics::Exact => "exact",
            Numerics::Reassociate => "reassociate",
            Numerics::Algebraic => "algebraic",
        }
    }
}

impl fmt::Display for Numerics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
