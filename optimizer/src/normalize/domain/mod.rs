//! Restricted domains: no work on what is zero, mirrored or unused.
//!
//! Input: a normal form. Output: an equal one whose pieces and folds run only where something is
//! to be computed. Conditions on indices (`where(column <= row, …)`) become ranges; the form has
//! never more terms than before; [`symmetric`] is apart because its mirror image costs a pass
//! over the result. The rules are named in [`RULES`], each a law that the tests hold
//! against random arrays; the README of the rules says what each means.
//!
//! Definitions of a form that are no results may leave points undefined that nobody reads.

mod condition;
mod demand;
mod piece;
mod producer;
mod simplify;
mod symmetry;

use super::cost::{ExtractionCost, Roofline};
use crate::form::context::Context;
use crate::form::normal_form::{NormalForm, Piece};
use crate::integer::affine::Affine;
use crate::value::dtype::DType;
use crate::value::numerics::Numerics;
pub(super) use demand::drop_unread;
use producer::Producers;
pub use symmetry::symmetric;

/// The name of each rule and its law.
pub const RULES: [(&str, &str); 11] = [
    ("domain/decide", "where(c, x, y) = x on a domain where c holds, y where it does not"),
    ("domain/one", "x × 1 = x"),
    ("domain/inline", "an element of a definition = its expression there, where that is a load or has none"),
    ("domain/identity", "red f over D = red f over the part of D where the term is not the identity of f"),
    (
        "domain/annihilate",
        "0 × x = 0 of integers; of floats a term of a sum that a mask has made zero, not under `exact`",
    ),
    ("domain/split", "a definition = its parts where a condition on its points holds, and where it does not"),
    ("domain/producer", "an element of a constant piece = that constant"),
    ("domain/forward", "where(c, red f, identity of f) = red f on c, and no terms elsewhere"),
    ("domain/unused", "a definition that is no result = its part that is read"),
    ("domain/transpose", "a fold = another one with two axes exchanged, read at the exchanged index"),
    (SYMMETRY, "a fold that is itself with two axes exchanged = one half, and its mirror image"),
];

/// The rule that [`symmetric`] stands for; [`restrict`] does not use it.
pub const SYMMETRY: &str = "domain/symmetry";

/// True of the names in [`RULES`].
pub fn is_rule(name: &str) -> bool {
    RULES.iter().any(|rule| rule.0 == name)
}

/// A form and the rules that made it.
#[derive(Clone, Debug, PartialEq)]
pub struct Restricted {
    /// The form.
    pub form: NormalForm,
    /// Names from [`RULES`], in the order of their first use; empty if the form is unchanged.
    pub rules: Vec<&'static str>,
}

/// How often the rules run over the whole form.
const ROUNDS: usize = 4;

/// `form` over restricted domains, by those of [`RULES`] that are `allowed`.
pub fn restrict(form: &NormalForm, numerics: Numerics, allowed: &dyn Fn(&str) -> bool) -> Restricted {
    let plain = settle(form.clone(), Used { allowed, numerics, names: Vec::new() });
    // A stored mask hides what it means, but seen through it is computed again at every point: that
    // is worth it only where it then goes away.
    let mut used = Used { allowed, numerics, names: Vec::new() };
    let mut open = form.clone();
    if !demand::inline_masks(&mut open, &mut used) {
        return plain;
    }
    let open = settle(open, used);
    let cost = |restricted: &Restricted| Roofline::default().cost(&restricted.form);
    if cost(&open) < cost(&plain) { open } else { plain }
}

/// The values of one statement, on restricted domains: `form` has their definitions and no steps, `around` is what is
/// known of the loops around them, each ≥ 0. They must be of one statement: only of such it is certain that nothing is
/// stored before the last of them is computed. Points are not split: what an iteration needs, one definition computes.
pub(super) fn restrict_within(
    form: &NormalForm,
    around: &[Affine],
    numerics: Numerics,
    allowed: &dyn Fn(&str) -> bool,
) -> Restricted {
    let mut used = Used { allowed, numerics, names: Vec::new() };
    let mut form = form.clone();
    for _ in 0..ROUNDS {
        let before = form.clone();
        for id in 0..form.defs.len() {
            form.defs[id] = piece::restrict(&form.defs[id], false, around, &Producers::new(&form), &mut used);
        }
        demand::inline_copies(&mut form, &mut used);
        if form == before {
            break;
        }
    }
    Restricted { form, rules: used.names }
}

fn settle(mut form: NormalForm, mut used: Used<'_>) -> Restricted {
    for _ in 0..ROUNDS {
        let before = form.clone();
        round(&mut form, &mut used);
        if form == before {
            break;
        }
    }
    Restricted { form, rules: used.names }
}

fn round(form: &mut NormalForm, used: &mut Used<'_>) {
    let contexts = contexts(form);
    for (id, context) in contexts.iter().enumerate() {
        let def = &form.defs[id];
        if def.axes.contains(&0) {
            continue;
        }
        // A definition of one piece without a fold may yet be inlined, and several pieces may not.
        let folds = def.pieces.iter().any(|piece| piece.fold.is_some());
        let split = form.outputs.contains(&id) || folds || def.pieces.len() > 1 || def.update.is_some();
        let restricted = piece::restrict(def, split, context, &Producers::new(form), used);
        form.defs[id] = restricted;
    }
    demand::inline_copies(form, used);
    symmetry::join_transposed(form, used);
    demand::forward(form, used);
    demand::drop_unused(form, used);
}

/// What may be used, and what was.
struct Used<'a> {
    allowed: &'a dyn Fn(&str) -> bool,
    numerics: Numerics,
    names: Vec<&'static str>,
}

impl Used<'_> {
    fn may(&self, rule: &str) -> bool {
        (self.allowed)(rule)
    }

    /// Whether zero times anything of this type is zero.
    fn may_annihilate(&self, dtype: DType) -> bool {
        self.may("domain/annihilate") && !dtype.is_float()
    }

    /// Whether a sum of this type may leave out the products with zeros of a mask.
    fn may_skip(&self, dtype: DType) -> bool {
        self.may("domain/annihilate") && (self.numerics != Numerics::Exact || !dtype.is_float())
    }

    /// Whether a fold may leave out terms that change nothing: without them a pairwise sum adds the others in another order.
    fn may_leave_out(&self, piece: &Piece) -> bool {
        piece.depth.is_none() || self.numerics != Numerics::Exact
    }

    fn by(&mut self, rule: &'static str) {
        if !self.names.contains(&rule) {
            self.names.push(rule);
        }
    }
}

/// What is known of the loops around each definition: forms that are ≥ 0.
pub(crate) fn contexts(form: &NormalForm) -> Vec<Vec<Affine>> {
    crate::form::context::contexts(form).iter().map(Context::non_negative).collect()
}

#[cfg(test)]
mod tests {
    use super::restrict;
    use crate::form::normal_form::{Def, NormalForm, Piece};
    use crate::form::scalar_tree::{Access, Scalar, ScalarNode, ScalarOp, Source};
    use crate::form::steps::Step;
    use crate::integer::affine::Affine;
    use crate::integer::range::{Range, loop_variable};
    use crate::value::dtype::{DType, Literal};
    use crate::value::numerics::Numerics;
    use crate::value::scalar::{BinaryOp, FoldOp};

    fn node(op: ScalarOp, dtype: DType) -> ScalarNode {
        ScalarNode { op, dtype }
    }

    /// `out[i] = Σ_k where(k < t, A[i, k], 0) · where(k < t, x[k], 0)` in a loop over t.
    fn masked_by_a_loop() -> NormalForm {
        let variable = Affine::variable;
        let load = |source, index| node(ScalarOp::Load(source, Access::Axes(index)), DType::F64);
        let zero = node(ScalarOp::Const(Literal::float(0.0)), DType::F64);
        let nodes = vec![
            node(ScalarOp::Index(variable(1)), DType::I64),
            node(ScalarOp::Index(variable(loop_variable(0))), DType::I64),
            node(ScalarOp::Binary(BinaryOp::Lt, 0, 1), DType::Bool),
            load(Source::State(0), vec![variable(0), variable(1)]),
            zero,
            node(ScalarOp::Where(2, 3, 4), DType::F64),
            load(Source::State(1), vec![variable(1)]),
            node(ScalarOp::Where(2, 6, 4), DType::F64),
            node(ScalarOp::Binary(BinaryOp::Mul, 5, 7), DType::F64),
        ];
        let piece = Piece {
            domain: vec![Range::constant(0, 9), Range::constant(0, 9)],
            fold: Some(FoldOp::Sum),
            depth: None,
            value: Scalar { nodes },
        };
        let def = Def {
            name: "sum".to_owned(),
            dtype: DType::F64,
            shape: vec![9],
            axes: vec![9],
            pieces: vec![piece],
            update: None,
            scope: Vec::new(),
        };
        let step = Step::Loop { var: 0, name: "t".to_owned(), range: Range::constant(0, 9), body: vec![Step::Def(0)] };
        NormalForm { defs: vec![def], outputs: vec![0], steps: vec![step], ..NormalForm::default() }
    }

    #[test]
    fn a_mask_by_a_loops_variable_on_all_factors_is_a_bound_also_of_exact_sums() {
        let restricted = restrict(&masked_by_a_loop(), Numerics::Exact, &|_| true);
        let piece = &restricted.form.defs[0].pieces[0];
        assert_eq!(piece.domain[1].hi, vec![Affine::variable(loop_variable(0))]);
        assert!(piece.value.nodes.iter().all(|node| !matches!(node.op, ScalarOp::Where(..))), "{piece:?}");
        assert_eq!(restricted.rules, ["domain/identity", "domain/decide"]);
    }

    #[test]
    fn a_rule_that_is_not_allowed_is_not_used() {
        let form = masked_by_a_loop();
        let restricted = restrict(&form, Numerics::Exact, &|rule| rule != "domain/identity");
        assert_eq!(restricted.form, form);
    }
}
