//! Scalar expressions as conditions on index forms.
//!
//! Input: the nodes of a scalar expression. Output: for each truth value the [`Condition`] under
//! which it is true, and for each value one that is sufficient for it to be zero.

use crate::form::scalar_tree::{Access, ScalarNode, ScalarOp, Source};
use crate::integer::affine::Affine;
use crate::integer::region::{Region, opposite};
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::{BinaryOp, FoldOp, UnaryOp};

/// A condition on the axes of a piece.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    Known(bool),
    /// The form is ≥ 0.
    Positive(Affine),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    /// It depends on data, or is too large.
    Unknown,
}

/// A condition with more parts is not followed.
const MAX_PARTS: usize = 48;

impl Condition {
    pub(super) fn not(&self) -> Condition {
        match self {
            Condition::Known(truth) => Condition::Known(!truth),
            Condition::Positive(form) => Condition::Positive(opposite(form)),
            Condition::All(parts) => any(parts.iter().map(Condition::not).collect()),
            Condition::Any(parts) => all(parts.iter().map(Condition::not).collect()),
            Condition::Unknown => Condition::Unknown,
        }
    }

    fn parts(&self) -> usize {
        match self {
            Condition::Known(_) | Condition::Positive(_) | Condition::Unknown => 1,
            Condition::All(parts) | Condition::Any(parts) => parts.iter().map(Condition::parts).sum(),
        }
    }

    /// The same condition on `region`, without what is certain there.
    pub(super) fn on(&self, region: &Region) -> Condition {
        match self {
            Condition::Known(_) | Condition::Unknown => self.clone(),
            Condition::Positive(form) if region.holds(form) => Condition::Known(true),
            Condition::Positive(form) if region.fails(form) => Condition::Known(false),
            Condition::Positive(_) => self.clone(),
            Condition::All(parts) => {
                let whole = all(parts.iter().map(|part| part.on(region)).collect());
                match &whole {
                    Condition::All(parts) if region.is_empty_with(&forms(parts, false)) => Condition::Known(false),
                    Condition::All(_)
                    | Condition::Known(_)
                    | Condition::Positive(_)
                    | Condition::Any(_)
                    | Condition::Unknown => whole,
                }
            }
            Condition::Any(parts) => {
                let whole = any(parts.iter().map(|part| part.on(region)).collect());
                match &whole {
                    // Certain if the opposites of some parts exclude each other.
                    Condition::Any(parts) if region.is_empty_with(&forms(parts, true)) => Condition::Known(true),
                    Condition::Any(_)
                    | Condition::Known(_)
                    | Condition::Positive(_)
                    | Condition::All(_)
                    | Condition::Unknown => whole,
                }
            }
        }
    }

    /// Forms that are ≥ 0 wherever the condition is true.
    pub(super) fn necessary(&self) -> Vec<Affine> {
        match self {
            Condition::Positive(form) => vec![form.clone()],
            Condition::All(parts) => parts.iter().flat_map(Condition::necessary).collect(),
            Condition::Known(_) | Condition::Any(_) | Condition::Unknown => Vec::new(),
        }
    }

    /// Every form of the condition.
    pub(super) fn forms(&self) -> Vec<Affine> {
        match self {
            Condition::Positive(form) => vec![form.clone()],
            Condition::All(parts) | Condition::Any(parts) => parts.iter().flat_map(Condition::forms).collect(),
            Condition::Known(_) | Condition::Unknown => Vec::new(),
        }
    }
}

/// The forms among the parts of a conjunction; their opposites, if `opposites`.
fn forms(parts: &[Condition], opposites: bool) -> Vec<Affine> {
    let form = |part: &Condition| match part {
        Condition::Positive(form) if opposites => Some(opposite(form)),
        Condition::Positive(form) => Some(form.clone()),
        Condition::Known(_) | Condition::All(_) | Condition::Any(_) | Condition::Unknown => None,
    };
    parts.iter().filter_map(form).collect()
}

/// True where all of `parts` are.
pub(super) fn all(parts: Vec<Condition>) -> Condition {
    let mut kept: Vec<Condition> = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Condition::Known(true) => {}
            Condition::Known(false) => return Condition::Known(false),
            Condition::All(inner) => kept.extend(inner),
            Condition::Positive(_) | Condition::Any(_) | Condition::Unknown if kept.contains(&part) => {}
            Condition::Positive(_) | Condition::Any(_) | Condition::Unknown => kept.push(part),
        }
    }
    bounded(kept, Condition::All, true)
}

/// True where any of `parts` is.
pub(super) fn any(parts: Vec<Condition>) -> Condition {
    let mut kept: Vec<Condition> = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Condition::Known(false) => {}
            Condition::Known(true) => return Condition::Known(true),
            Condition::Any(inner) => kept.extend(inner),
            Condition::Positive(_) | Condition::All(_) | Condition::Unknown if kept.contains(&part) => {}
            Condition::Positive(_) | Condition::All(_) | Condition::Unknown => kept.push(part),
        }
    }
    bounded(kept, Condition::Any, false)
}

fn bounded(mut parts: Vec<Condition>, make: fn(Vec<Condition>) -> Condition, empty: bool) -> Condition {
    match parts.len() {
        0 => Condition::Known(empty),
        1 => parts.swap_remove(0),
        _ if parts.iter().map(Condition::parts).sum::<usize>() > MAX_PARTS => Condition::Unknown,
        _ => make(parts),
    }
}

/// `(c ∧ x) ∨ (¬c ∧ y)`.
fn either(c: &Condition, x: &Condition, y: &Condition) -> Condition {
    if x == y {
        return x.clone();
    }
    any(vec![all(vec![c.clone(), x.clone()]), all(vec![c.not(), y.clone()])])
}

/// For each node of type `Bool` when it is true; `Unknown` for the others.
pub(super) fn truths(nodes: &[ScalarNode], region: &Region) -> Vec<Condition> {
    let indices = index_forms(nodes, region);
    let mut truths: Vec<Condition> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let truth = match &node.op {
            _ if node.dtype != DType::Bool => Condition::Unknown,
            ScalarOp::Const(value) => match value.at(DType::Bool) {
                Literal::Bool(truth) => Condition::Known(truth),
                Literal::Int(_) | Literal::Float(_) => Condition::Unknown,
            },
            ScalarOp::Unary(UnaryOp::Not, x) => truths[*x].not(),
            ScalarOp::Binary(op, x, y) if op.is_comparison() && nodes[*x].dtype.is_int() => {
                match (&indices[*x], &indices[*y]) {
                    (Some(x), Some(y)) => compare(*op, &x.minus(y)),
                    (None, _) | (_, None) => Condition::Unknown,
                }
            }
            ScalarOp::Binary(op, x, y) if nodes[*x].dtype == DType::Bool => logical(*op, &truths[*x], &truths[*y]),
            ScalarOp::Where(c, x, y) => either(&truths[*c], &truths[*x], &truths[*y]),
            ScalarOp::Cast(x) => match &indices[*x] {
                Some(form) => compare(BinaryOp::Ne, form),
                None => truths[*x].clone(),
            },
            ScalarOp::Load(..) | ScalarOp::Index(_) | ScalarOp::Unary(..) | ScalarOp::Binary(..) => Condition::Unknown,
        };
        truths.push(truth);
    }
    truths
}

/// `form op 0`.
fn compare(op: BinaryOp, form: &Affine) -> Condition {
    let positive = |form: Affine| Condition::Positive(form);
    match op {
        BinaryOp::Ge => positive(form.clone()),
        BinaryOp::Gt => positive(form.offset(-1)),
        BinaryOp::Le => positive(form.times(-1)),
        BinaryOp::Lt => positive(opposite(form)),
        BinaryOp::Eq => all(vec![positive(form.clone()), positive(form.times(-1))]),
        BinaryOp::Ne => any(vec![positive(form.offset(-1)), positive(opposite(form))]),
        BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Mul
        | BinaryOp::Div
        | BinaryOp::FloorDiv
        | BinaryOp::Mod
        | BinaryOp::Pow
        | BinaryOp::Minimum
        | BinaryOp::Maximum
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::Shl
        | BinaryOp::Shr => Condition::Unknown,
    }
}

/// Operators on truth values; false is less than true.
fn logical(op: BinaryOp, x: &Condition, y: &Condition) -> Condition {
    let differ = |x: &Condition, y: &Condition| either(x, &y.not(), y);
    match op {
        BinaryOp::And | BinaryOp::Mul | BinaryOp::Minimum => all(vec![x.clone(), y.clone()]),
        BinaryOp::Or | BinaryOp::Add | BinaryOp::Maximum => any(vec![x.clone(), y.clone()]),
        BinaryOp::Xor | BinaryOp::Ne => differ(x, y),
        BinaryOp::Eq => differ(x, y).not(),
        BinaryOp::Lt => all(vec![x.not(), y.clone()]),
        BinaryOp::Le => any(vec![x.not(), y.clone()]),
        BinaryOp::Gt => all(vec![x.clone(), y.not()]),
        BinaryOp::Ge => any(vec![x.clone(), y.not()]),
        BinaryOp::Sub | BinaryOp::Div | BinaryOp::FloorDiv | BinaryOp::Mod => Condition::Unknown,
        BinaryOp::Pow | BinaryOp::Shl | BinaryOp::Shr => Condition::Unknown,
    }
}

/// Larger constants and coefficients are not followed: sums of them might wrap.
const LARGEST: i64 = 1 << 40;

/// For each node the index form that it equals, where it certainly equals one.
fn index_forms(nodes: &[ScalarNode], region: &Region) -> Vec<Option<Affine>> {
    let mut forms: Vec<Option<Affine>> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let form = match &node.op {
            _ if !node.dtype.is_int() => None,
            ScalarOp::Index(form) => Some(form.clone()),
            ScalarOp::Const(value) => value.as_i64().map(Affine::constant),
            ScalarOp::Cast(x) => forms[*x].clone(),
            ScalarOp::Unary(UnaryOp::Neg, x) => forms[*x].as_ref().map(|form| form.times(-1)),
            ScalarOp::Binary(op, x, y) => match (op, &forms[*x], &forms[*y]) {
                (BinaryOp::Add, Some(x), Some(y)) => Some(x.plus(y)),
                (BinaryOp::Sub, Some(x), Some(y)) => Some(x.minus(y)),
                (BinaryOp::Mul, Some(x), Some(y)) if y.is_constant() => scaled(x, y.constant),
                (BinaryOp::Mul, Some(x), Some(y)) if x.is_constant() => scaled(y, x.constant),
                (_, _, _) => None,
            },
            ScalarOp::Load(..) | ScalarOp::Unary(..) | ScalarOp::Where(..) => None,
        };
        forms.push(form.filter(|form| small(form) && fits(form, node.dtype, region)));
    }
    forms
}

fn small(form: &Affine) -> bool {
    let small = |n: i64| (-LARGEST..=LARGEST).contains(&n);
    small(form.constant) && form.terms.iter().all(|term| small(term.1))
}

fn scaled(form: &Affine, by: i64) -> Option<Affine> {
    const LIMIT: i64 = 1 << 20;
    let small = |n: i64| (-LIMIT..=LIMIT).contains(&n);
    (small(by) && small(form.constant) && form.terms.iter().all(|term| small(term.1))).then(|| form.times(by))
}

/// Whether the form's values are in the range of an integer type; extents are far below 2⁴⁰.
fn fits(form: &Affine, dtype: DType, region: &Region) -> bool {
    let (least, greatest) = match dtype {
        DType::I8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
        DType::U8 => (0, i64::from(u8::MAX)),
        DType::I16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        DType::I32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        DType::I64 => return true,
        DType::Bool | DType::F16 | DType::BF16 | DType::F32 | DType::F64 => return false,
    };
    if form.is_constant() {
        return (least..=greatest).contains(&form.constant);
    }
    region.holds(&form.offset(-least)) && region.holds(&form.times(-1).offset(greatest))
}

/// For each node a condition that is sufficient for it to be the identity of a fold, given when a
/// load is zero. `masked`: the same as [`masks`] gives; then a product with such a zero is zero.
pub(super) fn vanishing(
    nodes: &[ScalarNode],
    truths: &[Condition],
    fold: FoldOp,
    masked: Option<&[Condition]>,
    zero_load: &dyn Fn(Source, &Access) -> Condition,
) -> Vec<Condition> {
    let never = Condition::Known(false);
    let dtype = nodes.last().map_or(DType::Bool, |node| node.dtype);
    // The sum's identity of truth values is false, the product's true.
    let zero = match fold {
        FoldOp::Sum | FoldOp::Any => true,
        FoldOp::Prod | FoldOp::All => false,
        FoldOp::Max | FoldOp::Min => false,
    };
    let mut found: Vec<Condition> = Vec::with_capacity(nodes.len());
    for (node, truth) in nodes.iter().zip(truths) {
        let both = |x: usize, y: usize| all(vec![found[x].clone(), found[y].clone()]);
        let one = |x: usize, y: usize| any(vec![found[x].clone(), found[y].clone()]);
        // A product that a mask makes zero, or one of zeros, or of a zero and a finite constant.
        let product = |x: usize, y: usize| {
            let scaled =
                |zero: usize, by: usize| if finite_constant(&nodes[by]) { found[zero].clone() } else { never.clone() };
            let mut parts = vec![both(x, y), scaled(x, y), scaled(y, x)];
            parts.extend(masked.iter().flat_map(|masked| [masked[x].clone(), masked[y].clone()]));
            any(parts)
        };
        let logical = node.dtype == DType::Bool && *truth != Condition::Unknown;
        let condition = match &node.op {
            _ if logical && zero => truth.not(),
            _ if logical && dtype == DType::Bool && (fold == FoldOp::All || fold == FoldOp::Prod) => truth.clone(),
            ScalarOp::Const(value) if zero => Condition::Known(value.as_f64() == 0.0),
            ScalarOp::Const(value) => Condition::Known(node.dtype == dtype && value.at(dtype) == fold.identity(dtype)),
            ScalarOp::Where(c, x, y) => either(&truths[*c], &found[*x], &found[*y]),
            ScalarOp::Load(source, access) if zero => zero_load(*source, access),
            ScalarOp::Binary(op, x, y) if zero => match op {
                BinaryOp::Add | BinaryOp::Sub | BinaryOp::Or | BinaryOp::Xor => both(*x, *y),
                BinaryOp::Minimum | BinaryOp::Maximum => both(*x, *y),
                BinaryOp::Mul | BinaryOp::And if !node.dtype.is_float() => one(*x, *y),
                BinaryOp::Mul | BinaryOp::And => product(*x, *y),
                BinaryOp::Shl | BinaryOp::Shr => found[*x].clone(),
                BinaryOp::Div | BinaryOp::FloorDiv | BinaryOp::Mod | BinaryOp::Pow => never.clone(),
                BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {
                    never.clone()
                }
            },
            ScalarOp::Binary(op, x, y) if *op == fold.combine() => both(*x, *y),
            ScalarOp::Cast(x) if zero => found[*x].clone(),
            ScalarOp::Unary(op, x) if zero => match op {
                UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Sign | UnaryOp::Sqrt | UnaryOp::Floor => found[*x].clone(),
                UnaryOp::Sin | UnaryOp::Tanh | UnaryOp::Erf => found[*x].clone(),
                UnaryOp::Not | UnaryOp::Exp | UnaryOp::Log | UnaryOp::Cos => never.clone(),
            },
            ScalarOp::Load(..)
            | ScalarOp::Index(_)
            | ScalarOp::Unary(..)
            | ScalarOp::Binary(..)
            | ScalarOp::Cast(_) => never.clone(),
        };
        found.push(condition);
    }
    found
}

/// For each node a condition that is sufficient for a mask to have made it zero, given when a load is such a zero: where a
/// choice between data and zeros takes the zeros. Constants are no masks: what the program has written as a zero, or as an
/// array of zeros and ones, is multiplied like any other number.
pub(super) fn masks(
    nodes: &[ScalarNode],
    truths: &[Condition],
    masked_load: &dyn Fn(Source, &Access) -> Condition,
) -> Vec<Condition> {
    let never = Condition::Known(false);
    let data = reads_data(nodes);
    let mut found: Vec<Condition> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let either_of = |x: usize, y: usize| any(vec![found[x].clone(), found[y].clone()]);
        let both = |x: usize, y: usize| all(vec![found[x].clone(), found[y].clone()]);
        let condition = match &node.op {
            ScalarOp::Where(c, x, y) if data[*x] || data[*y] => {
                let branch = |at: usize| match &nodes[at].op {
                    ScalarOp::Const(value) => Condition::Known(value.as_f64() == 0.0),
                    ScalarOp::Load(..)
                    | ScalarOp::Index(_)
                    | ScalarOp::Unary(..)
                    | ScalarOp::Binary(..)
                    | ScalarOp::Where(..)
                    | ScalarOp::Cast(_) => found[at].clone(),
                };
                either(&truths[*c], &branch(*x), &branch(*y))
            }
            ScalarOp::Load(source, access) => masked_load(*source, access),
            ScalarOp::Binary(BinaryOp::Mul, x, y) => either_of(*x, *y),
            ScalarOp::Binary(BinaryOp::Add | BinaryOp::Sub | BinaryOp::Minimum | BinaryOp::Maximum, x, y) => {
                both(*x, *y)
            }
            ScalarOp::Unary(UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Sign | UnaryOp::Sqrt | UnaryOp::Floor, x) => {
                found[*x].clone()
            }
            ScalarOp::Cast(x) if nodes[*x].dtype != DType::Bool => found[*x].clone(),
            ScalarOp::Where(..)
            | ScalarOp::Const(_)
            | ScalarOp::Index(_)
            | ScalarOp::Unary(..)
            | ScalarOp::Binary(..)
            | ScalarOp::Cast(_) => never.clone(),
        };
        found.push(if node.dtype == DType::Bool { never.clone() } else { condition });
    }
    found
}

/// For each node whether its value depends on what is loaded.
fn reads_data(nodes: &[ScalarNode]) -> Vec<bool> {
    let mut data: Vec<bool> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let reads = matches!(node.op, ScalarOp::Load(..)) || node.op.operands().iter().any(|&x| data[x]);
        data.push(reads);
    }
    data
}

fn finite_constant(node: &ScalarNode) -> bool {
    match &node.op {
        ScalarOp::Const(value) => value.at(node.dtype).as_f64().is_finite(),
        ScalarOp::Load(..)
        | ScalarOp::Index(_)
        | ScalarOp::Unary(..)
        | ScalarOp::Binary(..)
        | ScalarOp::Where(..)
        | ScalarOp::Cast(_) => false,
    }
}
