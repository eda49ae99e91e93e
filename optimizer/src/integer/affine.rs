//! Affine forms over numbered variables, with exact integer coefficients.

use serde::{Deserialize, Serialize};
use std::fmt;

/// `constant + Σ coefficient · variable`. Terms are sorted by variable and none is zero, so
/// equal forms compare equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Affine {
    /// The constant term.
    pub constant: i64,
    /// `(variable, coefficient)`, sorted by variable, coefficients non-zero.
    pub terms: Vec<(usize, i64)>,
}

impl Affine {
    /// The constant form.
    pub fn constant(constant: i64) -> Affine {
        Affine { constant, terms: Vec::new() }
    }

    /// The form that is one variable.
    pub fn variable(variable: usize) -> Affine {
        Affine { constant: 0, terms: vec![(variable, 1)] }
    }

    /// `constant + Σ`, from terms in any order, repeated variables allowed.
    pub fn new(constant: i64, terms: impl IntoIterator<Item = (usize, i64)>) -> Affine {
        let mut sorted: Vec<(usize, i64)> = terms.into_iter().collect();
        sorted.sort_unstable();
        let mut merged: Vec<(usize, i64)> = Vec::with_capacity(sorted.len());
        for (variable, coefficient) in sorted {
            match merged.last_mut() {
                Some(last) if last.0 == variable => last.1 += coefficient,
                _ => merged.push((variable, coefficient)),
            }
        }
        merged.retain(|term| term.1 != 0);
        Affine { constant, terms: merged }
    }

    /// The coefficient of `variable`, 0 if it does not occur.
    pub fn coefficient(&self, variable: usize) -> i64 {
        self.terms.binary_search_by_key(&variable, |term| term.0).map_or(0, |at| self.terms[at].1)
    }

    /// True if no variable occurs.
    pub fn is_constant(&self) -> bool {
        self.terms.is_empty()
    }

    /// The sum.
    #[must_use]
    pub fn plus(&self, other: &Affine) -> Affine {
        Affine::new(self.constant + other.constant, self.terms.iter().chain(&other.terms).copied())
    }

    /// The difference.
    #[must_use]
    pub fn minus(&self, other: &Affine) -> Affine {
        self.plus(&other.times(-1))
    }

    /// The form plus a constant.
    #[must_use]
    pub fn offset(&self, by: i64) -> Affine {
        Affine { constant: self.constant + by, terms: self.terms.clone() }
    }

    /// The multiple.
    #[must_use]
    pub fn times(&self, factor: i64) -> Affine {
        Affine::new(self.constant * factor, self.terms.iter().map(|&(v, c)| (v, c * factor)))
    }

    /// Each variable replaced by a form.
    #[must_use]
    pub fn substitute(&self, mut by: impl FnMut(usize) -> Affine) -> Affine {
        let mut sum = Affine::constant(self.constant);
        for &(variable, coefficient) in &self.terms {
            sum = sum.plus(&by(variable).times(coefficient));
        }
        sum
    }

    /// The value where variable `v` has `values(v)`.
    pub fn evaluate(&self, mut values: impl FnMut(usize) -> i64) -> i64 {
        self.terms.iter().fold(self.constant, |sum, &(v, c)| sum + c * values(v))
    }

    /// The least and greatest value where variable `v` lies in `range(v)`, inclusive at both
    /// ends.
    pub fn bounds(&self, mut range: impl FnMut(usize) -> (i64, i64)) -> (i64, i64) {
        self.terms.iter().fold((self.constant, self.constant), |(low, high), &(v, c)| {
            let (from, to) = range(v);
            if c > 0 { (low + c * from, high + c * to) } else { (low + c * to, high + c * from) }
        })
    }
}

impl fmt::Display for Affine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.display(|v| format!("x{v}")).fmt(f)
    }
}

impl Affine {
    /// The form as text, with names for its variables: `2*i + j - 1`.
    pub fn display(&self, mut name: impl FnMut(usize) -> String) -> String {
        let mut text = String::new();
        for &(variable, coefficient) in &self.terms {
            let magnitude = coefficient.unsigned_abs();
            text.push_str(match (text.is_empty(), coefficient < 0) {
                (true, false) => "",
                (true, true) => "-",
                (false, false) => " + ",
                (false, true) => " - ",
            });
            if magnitude != 1 {
                text.push_str(&format!("{magnitude}*"));
            }
            text.push_str(&name(variable));
        }
        if text.is_empty() {
            return self.constant.to_string();
        }
        match self.constant {
            0 => {}
            c if c > 0 => text.push_str(&format!(" + {c}")),
            c => text.push_str(&format!(" - {}", c.unsigned_abs())),
        }
        text
    }
}
