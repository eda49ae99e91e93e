//! The sorts and primitives that `rules/*.egg` use: shapes, literals, index maps, contractions.
//!
//! Every primitive is pure and total: it answers `None` (the rule does not fire) where there is no
//! result. `install_sorts` comes before `schema.egg`, `install` after it.

use super::budget::Budget;
use super::contraction::Spec;
use crate::integer::index_map::{IndexMap, list_items, list_text};
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::{BinaryOp, FoldOp, UnaryOp};
use egglog::ast::Span;
use egglog::constraint::{AllEqualTypeConstraint, SimpleTypeConstraint, TypeConstraint};
use egglog::prelude::{BaseSort, add_base_sort};
use egglog::sort::{BaseValues, S, VecContainer};
use egglog::{
    ArcSort, BaseValue, Core, EGraph, Error, Primitive, PurePrim, PureState, TermDag, TermId, TypeError, Value, span,
};

/// A vector of integers: a shape, axes, starts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Dims(pub(super) Vec<i64>);

/// A constant with its dtype.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lit {
    pub(super) dtype: DType,
    pub(super) value: Literal,
}

impl BaseValue for Dims {}
impl BaseValue for Lit {}
impl BaseValue for IndexMap {}
impl BaseValue for Spec {}

impl Dims {
    pub(super) fn of(shape: &[usize]) -> Dims {
        Dims(shape.iter().map(|&n| i64::try_from(n).unwrap_or(i64::MAX)).collect())
    }

    /// The numbers as extents; `None` if one is negative.
    pub(super) fn extents(&self) -> Option<Vec<usize>> {
        self.0.iter().map(|&n| usize::try_from(n).ok()).collect()
    }

    fn to_text(&self) -> String {
        list_text(self.0.iter().map(i64::to_string))
    }

    fn from_text(text: &str) -> Option<Dims> {
        list_items(text).map(|n| n.parse().ok()).collect::<Option<Vec<i64>>>().map(Dims)
    }
}

impl Lit {
    /// The literal `value` at `dtype`.
    pub(super) fn new(dtype: DType, value: Literal) -> Lit {
        Lit { dtype, value: value.at(dtype) }
    }

    /// The integer `n` at `dtype`; `None` where it does not fit.
    fn integer(dtype: DType, n: i64) -> Option<Lit> {
        let fits = match dtype {
            DType::Bool => (0..=1).contains(&n),
            DType::I8 => i8::try_from(n).is_ok(),
            DType::U8 => u8::try_from(n).is_ok(),
            DType::I16 => i16::try_from(n).is_ok(),
            DType::I32 => i32::try_from(n).is_ok(),
            DType::I64 => true,
            DType::F16 | DType::BF16 => n.unsigned_abs() <= 1 << 8,
            DType::F32 => n.unsigned_abs() <= 1 << 24,
            DType::F64 => n.unsigned_abs() <= 1 << 53,
        };
        fits.then(|| Lit::new(dtype, Literal::Int(n)))
    }

    /// 1/x, where x is a power of two and both are normal numbers, so that dividing by x and
    /// multiplying by 1/x round alike.
    fn exact_reciprocal(&self) -> Option<Lit> {
        let Literal::Float(bits) = self.value else { return None };
        let value = f64::from_bits(bits);
        let limit = match self.dtype {
            DType::F32 => 120,
            DType::F64 => 1000,
            DType::Bool | DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::I64 | DType::F16 | DType::BF16 => {
                return None;
            }
        };
        let power_of_two =
            value.is_normal() && bits.trailing_zeros() >= 52 && value.abs().log2().abs() <= f64::from(limit);
        power_of_two.then(|| Lit::new(self.dtype, Literal::float(1.0 / value)))
    }

    /// `dtype:b1`, `dtype:i-3` or `dtype:f<bits>`.
    pub(super) fn to_text(&self) -> String {
        let value = match self.value {
            Literal::Bool(b) => format!("b{}", u8::from(b)),
            Literal::Int(i) => format!("i{i}"),
            Literal::Float(bits) => format!("f{bits}"),
        };
        format!("{}:{value}", self.dtype)
    }

    fn from_text(text: &str) -> Option<Lit> {
        let (dtype, value) = text.split_once(':')?;
        let dtype = DType::from_name(dtype)?;
        let value = match value.split_at_checked(1)? {
            ("b", bit) => Literal::Bool(bit == "1"),
            ("i", n) => Literal::Int(n.parse().ok()?),
            ("f", bits) => Literal::Float(bits.parse().ok()?),
            _ => return None,
        };
        Some(Lit { dtype, value })
    }

    /// Whether this is the number `n`, and for floats +0 when `n` is 0.
    fn is(&self, n: i64) -> bool {
        self.value == Literal::Int(n).at(self.dtype)
    }
}

macro_rules! text_sort {
    ($sort:ident, $base:ty, $name:literal, $primitive:literal) => {
        #[derive(Debug)]
        struct $sort;
        impl BaseSort for $sort {
            type Base = $base;
            fn name(&self) -> &str {
                $name
            }
            fn reconstruct_termdag(&self, values: &BaseValues, value: Value, terms: &mut TermDag) -> TermId {
                let text = values.unwrap::<$base>(value).to_text();
                let text = terms.lit(egglog::ast::Literal::String(text));
                terms.app($primitive.to_owned(), vec![text])
            }
        }
    };
}

text_sort!(DimsSort, Dims, "Dims", "dims-text");
text_sort!(LitSort, Lit, "Lit", "lit");
text_sort!(IndexMapSort, IndexMap, "IndexMap", "index-map");
text_sort!(SpecSort, Spec, "Spec", "spec");

/// Registers the sorts `Dims`, `Lit`, `IndexMap` and `Spec`.
pub(super) fn install_sorts(egraph: &mut EGraph) -> Result<(), TypeError> {
    add_base_sort(egraph, DimsSort, span!())?;
    add_base_sort(egraph, LitSort, span!())?;
    add_base_sort(egraph, IndexMapSort, span!())?;
    add_base_sort(egraph, SpecSort, span!())
}

type Body = fn(&mut PureState<'_, '_>, &[Value]) -> Option<Value>;

#[derive(Clone)]
struct Pure {
    name: &'static str,
    /// Sorts of the arguments, then of the result.
    sorts: Vec<ArcSort>,
    body: Body,
}

impl Primitive for Pure {
    fn name(&self) -> &str {
        self.name
    }
    fn get_type_constraints(&self, span: &Span) -> Box<dyn TypeConstraint> {
        SimpleTypeConstraint::new(self.name, self.sorts.clone(), span.clone()).into_box()
    }
}

impl PurePrim for Pure {
    fn apply<'a, 'db>(&self, mut state: PureState<'a, 'db>, args: &[Value]) -> Option<Value> {
        (self.body)(&mut state, args)
    }
}

/// `(dims 2 3 …)`.
#[derive(Clone)]
struct MakeDims {
    integer: ArcSort,
    dims: ArcSort,
}

impl Primitive for MakeDims {
    fn name(&self) -> &str {
        "dims"
    }
    fn get_type_constraints(&self, span: &Span) -> Box<dyn TypeConstraint> {
        AllEqualTypeConstraint::new("dims", span.clone())
            .with_all_arguments_sort(self.integer.clone())
            .with_output_sort(self.dims.clone())
            .into_box()
    }
}

impl PurePrim for MakeDims {
    fn apply<'a, 'db>(&self, state: PureState<'a, 'db>, args: &[Value]) -> Option<Value> {
        let numbers = args.iter().map(|&n| state.value_to_base::<i64>(n)).collect();
        Some(state.base_to_value(Dims(numbers)))
    }
}

/// `(within-budget)`, the last condition of every rule: counts the match, and stops the run once
/// too many were counted.
#[derive(Clone)]
struct Guard {
    unit: ArcSort,
    budget: Budget,
}

impl Primitive for Guard {
    fn name(&self) -> &str {
        GUARD
    }
    fn get_type_constraints(&self, span: &Span) -> Box<dyn TypeConstraint> {
        SimpleTypeConstraint::new(GUARD, vec![self.unit.clone()], span.clone()).into_box()
    }
}

impl PurePrim for Guard {
    fn apply<'a, 'db>(&self, state: PureState<'a, 'db>, _: &[Value]) -> Option<Value> {
        if self.budget.spend() {
            return Some(state.base_to_value(()));
        }
        state.trigger_early_stop();
        None
    }
}

/// The name of the guard primitive.
pub(super) const GUARD: &str = "within-budget";

fn dims(state: &PureState<'_, '_>, value: Value) -> Dims {
    state.value_to_base(value)
}

fn extents(state: &PureState<'_, '_>, value: Value) -> Option<Vec<usize>> {
    dims(state, value).extents()
}

fn map(state: &PureState<'_, '_>, value: Value) -> IndexMap {
    state.value_to_base(value)
}

fn spec(state: &PureState<'_, '_>, value: Value) -> Spec {
    state.value_to_base(value)
}

fn lit(state: &PureState<'_, '_>, value: Value) -> Lit {
    state.value_to_base(value)
}

fn int(state: &PureState<'_, '_>, value: Value) -> i64 {
    state.value_to_base(value)
}

fn natural(state: &PureState<'_, '_>, value: Value) -> Option<usize> {
    usize::try_from(int(state, value)).ok()
}

fn text(state: &PureState<'_, '_>, value: Value) -> String {
    state.value_to_base::<S>(value).0
}

fn dtype(state: &PureState<'_, '_>, value: Value) -> Option<DType> {
    DType::from_name(&text(state, value))
}

fn vector(state: &PureState<'_, '_>, value: Value) -> Option<VecContainer> {
    state.value_to_container::<VecContainer>(value).map(|vector| vector.clone())
}

fn yes(state: &PureState<'_, '_>, holds: bool) -> Option<Value> {
    holds.then(|| state.base_to_value(()))
}

fn usizes_to_value(state: &PureState<'_, '_>, shape: &[usize]) -> Value {
    state.base_to_value(Dims::of(shape))
}

/// Every fixed-arity primitive: its name, the sorts of its arguments and of its result, its body.
#[rustfmt::skip]
const PRIMITIVES: &[(&str, &[&str], &str, Body)] = &[
    // Texts, as terms are printed.
    ("dims-text", &["String"], "Dims", |s, a| Dims::from_text(&text(s, a[0])).map(|x| s.base_to_value(x))),
    ("lit", &["String"], "Lit", |s, a| Lit::from_text(&text(s, a[0])).map(|x| s.base_to_value(x))),
    ("index-map", &["String"], "IndexMap", |s, a| IndexMap::from_text(&text(s, a[0])).map(|x| s.base_to_value(x))),
    ("spec", &["String"], "Spec", |s, a| Spec::from_text(&text(s, a[0])).map(|x| s.base_to_value(x))),

    // Shapes.
    ("rank", &["Dims"], "i64", |s, a| Some(s.base_to_value(i64::try_from(dims(s, a[0]).0.len()).ok()?))),
    ("dim", &["Dims", "i64"], "i64", |s, a| dims(s, a[0]).0.get(natural(s, a[1])?).map(|&n| s.base_to_value(n))),
    ("dims-set", &["Dims", "i64", "i64"], "Dims", |s, a| {
        let mut dims = dims(s, a[0]);
        *dims.0.get_mut(natural(s, a[1])?)? = int(s, a[2]);
        Some(s.base_to_value(dims))
    }),
    ("total", &["Dims"], "i64", |s, a| Some(s.base_to_value(dims(s, a[0]).0.iter().sum::<i64>()))),
    ("is-empty", &["Dims"], "Unit", |s, a| yes(s, dims(s, a[0]).0.is_empty())),
    ("all-zero", &["Dims", "Dims"], "Unit", |s, a| {
        yes(s, dims(s, a[0]).0.iter().chain(&dims(s, a[1]).0).all(|&n| n == 0))
    }),
    ("first-nonzero", &["Dims", "Dims"], "i64", |s, a| {
        let (before, after) = (dims(s, a[0]), dims(s, a[1]));
        let at = before.0.iter().zip(&after.0).position(|(&b, &e)| b != 0 || e != 0)?;
        Some(s.base_to_value(i64::try_from(at).ok()?))
    }),

    // Literals and dtypes.
    ("lit-dtype", &["Lit"], "String", |s, a| Some(s.base_to_value(S::new(lit(s, a[0]).dtype.name().to_owned())))),
    ("lit-int", &["String", "i64"], "Lit", |s, a| {
        Lit::integer(dtype(s, a[0])?, int(s, a[1])).map(|x| s.base_to_value(x))
    }),
    ("lit-is", &["Lit", "i64"], "Unit", |s, a| yes(s, lit(s, a[0]).is(int(s, a[1])))),
    ("lit-float-is", &["Lit", "f64"], "Unit", |s, a| {
        let value: egglog::sort::F = s.value_to_base(a[1]);
        let lit = lit(s, a[0]);
        yes(s, lit.dtype.is_float() && lit.value == Literal::float(value.0.0))
    }),
    ("lit-exact-reciprocal", &["Lit"], "Lit", |s, a| lit(s, a[0]).exact_reciprocal().map(|x| s.base_to_value(x))),
    ("is-float", &["String"], "Unit", |s, a| yes(s, dtype(s, a[0])?.is_float())),
    ("is-int", &["String"], "Unit", |s, a| yes(s, dtype(s, a[0])?.is_int())),
    ("binary-dtype", &["String", "String"], "String", |s, a| {
        let result = BinaryOp::from_name(&text(s, a[0]))?.result(dtype(s, a[1])?);
        Some(s.base_to_value(S::new(result.name().to_owned())))
    }),
    ("unary-op", &["String"], "Unit", |s, a| yes(s, UnaryOp::from_name(&text(s, a[0])).is_some())),

    // Index maps.
    ("map-shape", &["IndexMap"], "Dims", |s, a| Some(usizes_to_value(s, &map(s, a[0]).shape()))),
    ("map-source", &["IndexMap"], "Dims", |s, a| Some(usizes_to_value(s, map(s, a[0]).source()))),
    ("compose", &["IndexMap", "IndexMap"], "IndexMap", |s, a| {
        map(s, a[0]).compose(&map(s, a[1])).map(|x| s.base_to_value(x))
    }),
    ("is-identity", &["IndexMap"], "Unit", |s, a| yes(s, map(s, a[0]).is_identity())),
    ("is-injective", &["IndexMap"], "Unit", |s, a| yes(s, map(s, a[0]).is_injective())),
    ("is-broadcast", &["IndexMap"], "Unit", |s, a| {
        let map = map(s, a[0]);
        let (view, source): (usize, usize) = (map.shape().iter().product(), map.source().iter().product());
        yes(s, view > source && source > 0)
    }),
    ("transpose-map", &["Dims", "Dims"], "IndexMap", |s, a| {
        IndexMap::transpose(&extents(s, a[0])?, &extents(s, a[1])?).map(|x| s.base_to_value(x))
    }),
    ("broadcast-map", &["Dims", "Dims"], "IndexMap", |s, a| {
        IndexMap::broadcast(&extents(s, a[0])?, &extents(s, a[1])?).map(|x| s.base_to_value(x))
    }),
    ("reshape-map", &["Dims", "Dims"], "IndexMap", |s, a| {
        IndexMap::reshape(&extents(s, a[0])?, &extents(s, a[1])?).map(|x| s.base_to_value(x))
    }),
    ("slice-map", &["Dims", "Dims", "Dims", "Dims"], "IndexMap", |s, a| {
        IndexMap::slice(&extents(s, a[0])?, &dims(s, a[1]).0, &dims(s, a[2]).0, &extents(s, a[3])?)
            .map(|x| s.base_to_value(x))
    }),
    ("part-map", &["Dims", "i64", "i64", "i64"], "IndexMap", |s, a| {
        let (shape, axis) = (extents(s, a[0])?, natural(s, a[1])?);
        let mut starts = vec![0; shape.len()];
        let mut lens = shape.clone();
        *starts.get_mut(axis)? = int(s, a[2]);
        *lens.get_mut(axis)? = natural(s, a[3])?;
        IndexMap::slice(&shape, &starts, &vec![1; shape.len()], &lens).map(|x| s.base_to_value(x))
    }),
    ("at-map", &["Dims", "i64", "i64"], "IndexMap", |s, a| {
        IndexMap::index(&extents(s, a[0])?, natural(s, a[1])?, natural(s, a[2])?).map(|x| s.base_to_value(x))
    }),
    ("diagonal-map", &["Dims", "i64", "i64", "i64"], "IndexMap", |s, a| {
        IndexMap::diagonal(&extents(s, a[0])?, int(s, a[1]), natural(s, a[2])?, natural(s, a[3])?)
            .map(|x| s.base_to_value(x))
    }),
    ("flip-map", &["Dims", "Dims"], "IndexMap", |s, a| {
        IndexMap::flip(&extents(s, a[0])?, &extents(s, a[1])?).map(|x| s.base_to_value(x))
    }),
    ("window-map", &["Dims", "Dims", "Dims"], "IndexMap", |s, a| {
        IndexMap::window(&extents(s, a[0])?, &extents(s, a[1])?, &extents(s, a[2])?).map(|x| s.base_to_value(x))
    }),
    ("axis-map", &["Dims", "i64"], "IndexMap", |s, a| {
        let (shape, axis) = (extents(s, a[0])?, natural(s, a[1])?);
        let extent = *shape.get(axis)?;
        IndexMap::over(&shape, &[extent], vec![crate::integer::affine::Affine::variable(axis)]).map(|x| s.base_to_value(x))
    }),
    ("outer-left-map", &["Dims", "Dims"], "IndexMap", |s, a| outer_map(s, a, true)),
    ("outer-right-map", &["Dims", "Dims"], "IndexMap", |s, a| outer_map(s, a, false)),
    ("gather-map", &["Dims", "Dims", "i64"], "IndexMap", |s, a| {
        IndexMap::gather(&extents(s, a[0])?, &extents(s, a[1])?, natural(s, a[2])?).map(|(x, _)| s.base_to_value(x))
    }),
    ("gather-index-map", &["Dims", "Dims", "i64"], "IndexMap", |s, a| {
        IndexMap::gather(&extents(s, a[0])?, &extents(s, a[1])?, natural(s, a[2])?).map(|(_, x)| s.base_to_value(x))
    }),
    ("lift-map", &["IndexMap", "Dims"], "IndexMap", |s, a| {
        let extent = *extents(s, a[1])?.first()?;
        Some(s.base_to_value(map(s, a[0]).lifted(extent)))
    }),
    ("is-picked", &["Dims", "Dims"], "Unit", |s, a| {
        let (whole, index) = (extents(s, a[0])?, extents(s, a[1])?);
        yes(s, whole.first().is_some_and(|&n| n > 0) && whole.get(1..) == Some(index.as_slice()))
    }),
    ("within-map", &["IndexMap", "i64", "Dims", "i64"], "IndexMap", |s, a| {
        let (parts, at) = (extents(s, a[2])?, natural(s, a[3])?);
        let extent = *parts.get(at)?;
        map(s, a[0]).within(natural(s, a[1])?, parts[..at].iter().sum(), extent).map(|x| s.base_to_value(x))
    }),

    // Contractions.
    ("spec-shape", &["Spec"], "Dims", |s, a| Some(usizes_to_value(s, spec(s, a[0]).shape()))),
    ("spec-fold", &["Spec"], "String", |s, a| {
        Some(s.base_to_value(S::new(spec(s, a[0]).fold.name().to_owned())))
    }),
    ("spec-product", &["Spec"], "String", |s, a| {
        Some(s.base_to_value(S::new(spec(s, a[0]).product.name().to_owned())))
    }),
    ("spec-count", &["Spec"], "i64", |s, a| Some(s.base_to_value(i64::try_from(spec(s, a[0]).maps.len()).ok()?))),
    ("reduce-spec", &["String", "Dims", "Dims"], "Spec", |s, a| {
        Spec::reduce(FoldOp::from_name(&text(s, a[0]))?, &extents(s, a[1])?, &extents(s, a[2])?)
            .map(|x| s.base_to_value(x))
    }),
    ("trace-spec", &["Dims", "i64", "String"], "Spec", |s, a| {
        Spec::trace(&extents(s, a[0])?, int(s, a[1]), dtype(s, a[2])?).map(|x| s.base_to_value(x))
    }),
    ("matmul-spec", &["Dims", "Dims"], "Spec", |s, a| {
        Spec::matmul(&extents(s, a[0])?, &extents(s, a[1])?).map(|x| s.base_to_value(x))
    }),
    ("dot-spec", &["Dims", "Dims"], "Spec", |s, a| {
        Spec::dot(&extents(s, a[0])?, &extents(s, a[1])?).map(|x| s.base_to_value(x))
    }),
    ("inner-spec", &["Dims", "Dims"], "Spec", |s, a| {
        Spec::inner(&extents(s, a[0])?, &extents(s, a[1])?).map(|x| s.base_to_value(x))
    }),
    ("spec-view", &["IndexMap", "Spec"], "Spec", |s, a| {
        spec(s, a[1]).view(&map(s, a[0])).map(|x| s.base_to_value(x))
    }),
    ("spec-absorb", &["Spec", "i64", "IndexMap"], "Spec", |s, a| {
        spec(s, a[0]).absorb(natural(s, a[1])?, &map(s, a[2])).map(|x| s.base_to_value(x))
    }),
    ("spec-split", &["Spec", "i64"], "Spec", |s, a| {
        spec(s, a[0]).split(natural(s, a[1])?).map(|x| s.base_to_value(x))
    }),
    ("spec-with-product", &["Spec", "String"], "Spec", |s, a| {
        let (mut spec, product) = (spec(s, a[0]), BinaryOp::from_name(&text(s, a[1]))?);
        let fits = spec.maps.len() == 1 || spec.product == product;
        spec.product = product;
        fits.then(|| s.base_to_value(spec))
    }),
    ("spec-fuse", &["Spec", "i64", "Spec"], "Spec", |s, a| {
        spec(s, a[0]).fuse(natural(s, a[1])?, &spec(s, a[2])).map(|x| s.base_to_value(x))
    }),
    ("spec-outer", &["Spec", "i64"], "Spec", |s, a| {
        spec(s, a[0]).factor(natural(s, a[1])?).map(|(outer, _)| s.base_to_value(outer))
    }),
    ("spec-inner", &["Spec", "i64"], "Spec", |s, a| {
        spec(s, a[0]).factor(natural(s, a[1])?).map(|(_, inner)| s.base_to_value(inner))
    }),
    ("spec-unused-count", &["Spec"], "i64", |s, a| {
        spec(s, a[0]).unused().and_then(|(times, _)| i64::try_from(times).ok()).map(|times| s.base_to_value(times))
    }),
    ("spec-unused-rest", &["Spec"], "Spec", |s, a| spec(s, a[0]).unused().map(|(_, rest)| s.base_to_value(rest))),
    ("spec-hoisted", &["Spec"], "Spec", |s, a| spec(s, a[0]).hoist().map(|(inner, _)| s.base_to_value(inner))),
    ("spec-hoist-map", &["Spec"], "IndexMap", |s, a| spec(s, a[0]).hoist().map(|(_, view)| s.base_to_value(view))),
    ("spec-same-maps", &["Spec", "i64", "i64"], "Unit", |s, a| {
        let spec = spec(s, a[0]);
        let (x, y) = (spec.maps.get(natural(s, a[1])?)?, spec.maps.get(natural(s, a[2])?)?);
        yes(s, x == y)
    }),
    ("spec-as-view", &["Spec"], "IndexMap", |s, a| spec(s, a[0]).as_view().map(|x| s.base_to_value(x))),
    ("spec-without", &["Spec", "i64"], "Spec", |s, a| {
        spec(s, a[0]).without(natural(s, a[1])?).map(|x| s.base_to_value(x))
    }),

    // Vectors of arrays. `mask` numbers a subset by its bits.
    ("vec-splice", &["Arrays", "i64", "Arrays"], "Arrays", |s, a| {
        let (mut whole, at, part) = (vector(s, a[0])?, natural(s, a[1])?, vector(s, a[2])?);
        if at >= whole.data.len() {
            return None;
        }
        whole.data.splice(at..=at, part.data);
        Some(s.register_container(whole))
    }),
    ("vec-inside", &["Arrays", "i64"], "Arrays", |s, a| {
        let (mut whole, mask) = (vector(s, a[0])?, natural(s, a[1])?);
        let mut at = 0;
        whole.data.retain(|_| {
            at += 1;
            mask >> (at - 1) & 1 == 1
        });
        Some(s.register_container(whole))
    }),
    ("vec-outside", &["Arrays", "i64", "Array"], "Arrays", |s, a| {
        let (whole, mask) = (vector(s, a[0])?, natural(s, a[1])?);
        let first = mask.trailing_zeros();
        let data = whole.data.iter().zip(0u32..).filter_map(|(&x, at)| {
            if at == first { Some(a[2]) } else { (mask >> at & 1 == 0).then_some(x) }
        });
        let rest = VecContainer { do_rebuild: whole.do_rebuild, data: data.collect() };
        Some(s.register_container(rest))
    }),
];

fn outer_map(state: &PureState<'_, '_>, args: &[Value], left: bool) -> Option<Value> {
    let (a, b) = (extents(state, args[0])?, extents(state, args[1])?);
    let result: Vec<usize> = a.iter().chain(&b).copied().collect();
    let (source, first) = if left { (&a, 0) } else { (&b, a.len()) };
    let rows = (0..source.len()).map(|axis| crate::integer::affine::Affine::variable(first + axis)).collect();
    IndexMap::over(&result, source, rows).map(|x| state.base_to_value(x))
}

/// Registers every primitive that needs no sort of `schema.egg` (`containers` false), or those
/// that do (`containers` true).
pub(super) fn install(egraph: &mut EGraph, budget: &Budget, containers: bool) -> Result<(), Error> {
    let sort = |egraph: &EGraph, name: &str| {
        egraph
            .get_sort_by_name(name)
            .cloned()
            .ok_or_else(|| Error::TypeError(TypeError::UndefinedSort(name.to_owned(), span!())))
    };
    for &(name, arguments, result, body) in PRIMITIVES {
        let uses_containers = arguments.iter().chain([&result]).any(|sort| sort.starts_with("Array"));
        if uses_containers != containers {
            continue;
        }
        let sorts =
            arguments.iter().chain([&result]).map(|name| sort(egraph, name)).collect::<Result<Vec<_>, Error>>()?;
        egraph.add_pure_primitive(Pure { name, sorts, body }, None);
    }
    if !containers {
        let dims = MakeDims { integer: sort(egraph, "i64")?, dims: sort(egraph, "Dims")? };
        egraph.add_pure_primitive(dims, None);
        let guard = Guard { unit: sort(egraph, "Unit")?, budget: budget.clone() };
        egraph.add_pure_primitive(guard, None);
    }
    Ok(())
}
