//! What the numerics leave open of a result beside the size of rounding errors: whether there is a number at all.
//!
//! Input: an operator, its arguments, its value. Output: the value with a bound of NaN where nothing can be claimed:
//! where products that may be regrouped overflow on the way, where a sum of finite terms overflows in the source's order
//! (and may not in another), where regrouping may turn an infinity into NaN, and where a kernel may skip the terms that a
//! mask has made zero, whatever their other factor is.

use super::bounds::Model;
use super::traits::Traits;
use super::value::{Numbers, Value};
use crate::program::expr::Op;
use crate::value::dtype::DType;
use crate::value::numerics::Numerics;
use crate::value::scalar::{BinaryOp, FoldOp};
use std::sync::Arc;

/// What an operator does with floats, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A product, or a quotient.
    Product,
    /// A sum of products.
    Contraction,
    /// A sum.
    Sum,
    /// A choice between an array and zeros.
    Mask,
    /// Elements in other places, or each by a function of its own.
    Elements,
    /// Several elements become one, and are no product any more.
    Other,
}

fn kind(op: &Op) -> Kind {
    match op {
        Op::Binary(BinaryOp::Mul | BinaryOp::Div) | Op::Outer(BinaryOp::Mul | BinaryOp::Div) => Kind::Product,
        Op::MatMul | Op::Dot | Op::Inner | Op::Einsum { .. } => Kind::Contraction,
        Op::Reduce { op: FoldOp::Sum, .. } | Op::Trace { .. } => Kind::Sum,
        Op::Where | Op::Tril { .. } | Op::Triu { .. } | Op::Pad { .. } | Op::Concat { .. } => Kind::Mask,
        Op::Unary(_)
        | Op::Cast
        | Op::Broadcast
        | Op::Transpose(_)
        | Op::Reshape
        | Op::Slice(_)
        | Op::Section(_)
        | Op::Index { .. }
        | Op::Diagonal { .. }
        | Op::Flip(_)
        | Op::Roll { .. }
        | Op::Window { .. }
        | Op::Gather { .. } => Kind::Elements,
        Op::Binary(_) | Op::Outer(_) => Kind::Elements,
        Op::Input(_)
        | Op::State(_)
        | Op::LoopIndex(_)
        | Op::Const(_)
        | Op::Array(_)
        | Op::Arange { .. }
        | Op::Eye { .. }
        | Op::Reduce { .. } => Kind::Other,
    }
}

/// What is known before an operator is applied.
pub(super) struct Doubts {
    traits: Traits,
    kind: Kind,
    /// The value is a product of products, or of a sum that it may be distributed over.
    regrouped: bool,
    /// Terms may be skipped whose other factor is no number.
    skips: bool,
    /// The arguments of a sum, to look for terms that are no numbers.
    terms: Vec<Value>,
}

impl Doubts {
    /// Of an operator and its arguments.
    pub(super) fn of(op: &Op, args: &[Value], dtype: DType, numerics: Numerics) -> Doubts {
        let kind = kind(op);
        let any = |of: fn(&Traits) -> bool| args.iter().any(|arg| of(&arg.traits));
        let mut traits = Traits { hangs: any(|traits| traits.hangs), ..Traits::default() };
        let relaxed = numerics != Numerics::Exact && dtype.is_float();
        if !relaxed {
            return Doubts { traits, kind: Kind::Other, regrouped: false, skips: false, terms: Vec::new() };
        }
        let folds = matches!(kind, Kind::Contraction | Kind::Sum | Kind::Other);
        traits.masked = kind == Kind::Mask || !folds && any(|traits| traits.masked);
        let product = kind == Kind::Product && traits.masked;
        traits.masked_product = product || !folds && any(|traits| traits.masked_product);
        let of_products = args.iter().any(|arg| arg.contraction || arg.traits.partial > 0.0);
        let several = matches!(op, Op::Einsum { inputs, .. } if inputs.len() > 2);
        let regrouped = of_products && matches!(kind, Kind::Product | Kind::Contraction) || several;
        if kind == Kind::Product || kind == Kind::Contraction {
            traits.partial = args.iter().map(partial).product();
        } else if kind == Kind::Sum || kind == Kind::Elements && args.len() == 1 {
            traits.partial = args.iter().map(|arg| arg.traits.partial).fold(0.0, f64::max);
        }
        let skips = any(|traits| traits.masked_product) || kind == Kind::Contraction && any(|traits| traits.masked);
        let skips = skips && matches!(kind, Kind::Contraction | Kind::Sum);
        let sums = matches!(kind, Kind::Contraction | Kind::Sum);
        Doubts { traits, kind, regrouped, skips, terms: if sums { args.to_vec() } else { Vec::new() } }
    }

    /// The operator's value with these doubts.
    pub(super) fn about(self, mut value: Value) -> Value {
        value.traits = self.traits.joined(value.traits);
        let Numbers::Float(all) = &value.store.numbers else { return value };
        let folds = matches!(self.kind, Kind::Contraction | Kind::Sum);
        if !self.regrouped && !folds {
            return value;
        }
        let most = if folds { self.traits.partial * count(&self.terms, &value) } else { self.traits.partial };
        let overflows = self.regrouped && most >= Model::new(value.dtype, Numerics::Reassociate).largest;
        let none = all.iter().all(|x| x.is_finite());
        let finite_terms = || self.terms.iter().all(|term| finite(term).0);
        let lost = !none && (self.regrouped || self.skips || folds && finite_terms());
        if !overflows && !lost {
            return value;
        }
        let doubtful: Vec<bool> = all.iter().map(|x| if x.is_finite() { overflows } else { lost }).collect();
        if let Some(store) = Arc::get_mut(&mut value.store) {
            let bounds = store.bound.get_or_insert_with(|| vec![0.0; doubtful.len()]);
            for (bound, doubtful) in bounds.iter_mut().zip(doubtful) {
                *bound = if doubtful { f64::NAN } else { *bound };
            }
        }
        value
    }
}

/// How many elements of the arguments go into one of the value.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn count(terms: &[Value], value: &Value) -> f64 {
    let most = terms.iter().map(Value::size).max().unwrap_or(1);
    (most as f64 / value.size().max(1) as f64).max(1.0)
}

/// The most that a product of some factors of an array's elements may be.
fn partial(value: &Value) -> f64 {
    value.traits.partial.max(finite(value).1).max(1.0)
}

/// Whether all elements are finite, and the largest magnitude of those that are.
fn finite(value: &Value) -> (bool, f64) {
    let Numbers::Float(all) = &value.store.numbers else { return (true, 1.0) };
    // All of the array that it is a part of: no less.
    let whole = |(finite, most): (bool, f64), x: &f64| {
        (finite & x.is_finite(), if x.is_finite() { most.max(x.abs()) } else { most })
    };
    if all.len() <= 2 * value.size() {
        return all.iter().fold((true, 0.0), whole);
    }
    value.gather(all).iter().fold((true, 0.0), whole)
}
