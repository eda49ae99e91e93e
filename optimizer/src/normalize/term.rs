//! A read-out of an e-graph's core terms, in Rust.

use super::NormalizeError;
use super::contraction::Spec;
use super::primitives::{Dims, Lit};
use crate::integer::index_map::IndexMap;
use crate::value::dtype::DType;
use crate::value::scalar::{BinaryOp, UnaryOp};
use egglog::sort::{S, VecContainer};
use egglog::{EGraph, Enode, Value};
use std::collections::BTreeMap;

/// A class of equal terms, numbered in the read-out.
pub(super) type Class = usize;

/// A core form whose arguments are classes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Term {
    Input(usize),
    Const(LitKey),
    Iota(usize),
    Table(usize),
    Map1(UnaryOp, Class),
    Map2(BinaryOp, Class, Class),
    Select(Class, Class, Class),
    Cast(Class),
    View(IndexMap, Class),
    Cat { axis: usize, parts: Vec<usize>, args: Vec<Class> },
    Reshape(Class),
    Contract(Spec, Vec<Class>),
    Pick(Class, Class),
}

/// A literal with its dtype, ordered.
pub(super) type LitKey = (DType, crate::value::dtype::Literal);

impl Term {
    /// The classes it reads.
    pub(super) fn args(&self) -> Vec<Class> {
        match self {
            Term::Input(_) | Term::Const(_) | Term::Iota(_) | Term::Table(_) => Vec::new(),
            Term::Map1(_, a) | Term::Cast(a) | Term::View(_, a) | Term::Reshape(a) => vec![*a],
            Term::Map2(_, a, b) | Term::Pick(a, b) => vec![*a, *b],
            Term::Select(c, a, b) => vec![*c, *a, *b],
            Term::Cat { args, .. } | Term::Contract(_, args) => args.clone(),
        }
    }
}

/// What is known of a class, and its core terms.
#[derive(Clone, Debug, Default)]
pub(super) struct ClassData {
    pub(super) shape: Option<Vec<usize>>,
    pub(super) dtype: Option<DType>,
    pub(super) terms: Vec<Term>,
}

/// All core terms of an e-graph. Classes are numbered in the order in which the e-graph made them.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) classes: Vec<ClassData>,
    number: BTreeMap<Value, Class>,
}

impl Snapshot {
    /// The class of an e-graph's value.
    pub(super) fn class(&self, value: Value) -> Option<Class> {
        self.number.get(&value).copied()
    }

    /// Reads an e-graph out.
    ///
    /// # Errors
    /// A schema other than this crate's.
    pub(super) fn read(egraph: &EGraph) -> Result<Snapshot, NormalizeError> {
        let broken = |e: egglog::Error| NormalizeError::Rules { file: "schema.egg".to_owned(), message: e.to_string() };
        let mut shapes: BTreeMap<Value, Vec<usize>> = BTreeMap::new();
        let mut dtypes: BTreeMap<Value, DType> = BTreeMap::new();
        egraph
            .function_entries("shape", |entry| {
                if let Some(shape) = egraph.value_to_base::<Dims>(entry.output).extents() {
                    shapes.insert(entry.inputs[0], shape);
                }
            })
            .map_err(broken)?;
        egraph
            .function_entries("dtype", |entry| {
                if let Some(dtype) = DType::from_name(&egraph.value_to_base::<S>(entry.output).0) {
                    dtypes.insert(entry.inputs[0], dtype);
                }
            })
            .map_err(broken)?;
        let mut found: BTreeMap<Value, Vec<RawTerm>> = BTreeMap::new();
        for &(name, decode) in DECODERS {
            egraph
                .constructor_enodes(name, |node: Enode<'_>| {
                    if let Some(term) = decode(egraph, node.children) {
                        found.entry(node.eclass).or_default().push(term);
                    }
                })
                .map_err(broken)?;
        }
        let number: BTreeMap<Value, Class> = found.keys().copied().zip(0..).collect();
        let mut classes = Vec::with_capacity(found.len());
        for (value, raw) in found {
            let mut terms: Vec<Term> = raw
                .into_iter()
                .filter_map(|(shell, args)| {
                    let args = args.iter().map(|a| number.get(a).copied()).collect::<Option<Vec<Class>>>()?;
                    Some(shell.with(args))
                })
                .collect();
            terms.sort_unstable();
            terms.dedup();
            classes.push(ClassData { shape: shapes.get(&value).cloned(), dtype: dtypes.get(&value).copied(), terms });
        }
        Ok(Snapshot { classes, number })
    }
}

/// A term before its arguments are numbered.
type RawTerm = (Term, Vec<Value>);

impl Term {
    fn with(self, args: Vec<Class>) -> Term {
        match self {
            Term::Input(_) | Term::Const(_) | Term::Iota(_) | Term::Table(_) => self,
            Term::Map1(op, _) => Term::Map1(op, args[0]),
            Term::Cast(_) => Term::Cast(args[0]),
            Term::View(map, _) => Term::View(map, args[0]),
            Term::Reshape(_) => Term::Reshape(args[0]),
            Term::Map2(op, ..) => Term::Map2(op, args[0], args[1]),
            Term::Pick(..) => Term::Pick(args[0], args[1]),
            Term::Select(..) => Term::Select(args[0], args[1], args[2]),
            Term::Cat { axis, parts, .. } => Term::Cat { axis, parts, args },
            Term::Contract(spec, _) => Term::Contract(spec, args),
        }
    }
}

type Decoder = fn(&EGraph, &[Value]) -> Option<RawTerm>;

fn natural(egraph: &EGraph, value: Value) -> Option<usize> {
    usize::try_from(egraph.value_to_base::<i64>(value)).ok()
}

fn text(egraph: &EGraph, value: Value) -> String {
    egraph.value_to_base::<S>(value).0
}

fn vector(egraph: &EGraph, value: Value) -> Option<Vec<Value>> {
    egraph.value_to_container::<VecContainer>(value).map(|vector| vector.data.clone())
}

const DECODERS: &[(&str, Decoder)] = &[
    ("Input", |e, c| Some((Term::Input(natural(e, c[0])?), Vec::new()))),
    ("Const", |e, c| {
        let lit = e.value_to_base::<Lit>(c[0]);
        Some((Term::Const((lit.dtype, lit.value)), Vec::new()))
    }),
    ("Iota", |e, c| Some((Term::Iota(natural(e, c[0])?), Vec::new()))),
    ("Table", |e, c| Some((Term::Table(natural(e, c[0])?), Vec::new()))),
    ("Map1", |e, c| Some((Term::Map1(UnaryOp::from_name(&text(e, c[0]))?, 0), vec![c[1]]))),
    ("Map2", |e, c| Some((Term::Map2(BinaryOp::from_name(&text(e, c[0]))?, 0, 0), vec![c[1], c[2]]))),
    ("Select", |_, c| Some((Term::Select(0, 0, 0), vec![c[0], c[1], c[2]]))),
    ("Cast", |_, c| Some((Term::Cast(0), vec![c[1]]))),
    ("View", |e, c| Some((Term::View(e.value_to_base(c[0]), 0), vec![c[1]]))),
    ("Cat", |e, c| {
        let parts = e.value_to_base::<Dims>(c[2]).extents()?;
        let args = vector(e, c[3])?;
        (parts.len() == args.len()).then_some((Term::Cat { axis: natural(e, c[0])?, parts, args: Vec::new() }, args))
    }),
    ("Pick", |_, c| Some((Term::Pick(0, 0), vec![c[0], c[1]]))),
    ("Reshape", |_, c| Some((Term::Reshape(0), vec![c[1]]))),
    ("Contract", |e, c| {
        let spec = e.value_to_base::<Spec>(c[0]);
        let args = vector(e, c[1])?;
        (spec.maps.len() == args.len()).then_some((Term::Contract(spec, Vec::new()), args))
    }),
];
