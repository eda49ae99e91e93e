//! From chosen core terms to a [`NormalForm`]: which arrays are definitions of their own, and what
//! each reads.
//!
//! A contraction, a catenation, a table and a result are definitions. An element-wise array is one
//! where computing it once and reading it back costs less than computing it at every point that
//! reads it; otherwise it is inlined. Views are always inlined, except where the radices of two
//! views of one definition disagree: there the array viewed is read at a flat offset.

mod read;

use super::NormalizeError;
use super::contraction::Spec;
use super::cost::weight_of;
use super::extract::elements;
use super::scalars::{ScalarBuilder, folds_binary, folds_unary};
use super::term::{Class, Snapshot, Term};
use crate::form::normal_form::{Def, NormalForm, Piece};
use crate::form::scalar_tree::{Access, DefId, Gather, Source};
use crate::integer::affine::Affine;
use crate::integer::index_map::{IndexMap, common_refinement};
use crate::integer::range::Range;
use crate::program::expr::{Op, Program};
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::FoldOp;
use read::Reader;
use std::collections::{BTreeMap, BTreeSet};

/// One core term for each class that the roots need.
pub(super) type Choice = BTreeMap<Class, Term>;

/// What storing one element and reading it back costs, in additions.
pub(super) const STORE_COST: f64 = 2.0;
/// An element-wise array that is read in more ways than this is a definition.
pub(super) const MAX_CONTEXTS: usize = 64;
/// No program stores or walks a box of more points than this; laws may make one on the way, of copies of a constant.
const MOST_POINTS: f64 = (1u64 << 62) as f64;

/// Builds the form of `choice`.
///
/// # Errors
/// A choice that lacks a class or a fact, which is a bug of the rules.
pub(super) fn build(
    program: &Program,
    snapshot: &Snapshot,
    choice: &Choice,
    roots: &[Class],
) -> Result<NormalForm, NormalizeError> {
    let mut forced = BTreeSet::new();
    // Each attempt stores one more array.
    loop {
        match Builder::new(program, snapshot, choice, roots, &forced).and_then(Builder::run) {
            Ok(form) => return Ok(form),
            Err(Stop::Store(class)) if forced.insert(class) => {}
            Err(Stop::Store(class) | Stop::Missing(class)) => return Err(NormalizeError::Unbuildable { class }),
        }
    }
}

/// What the definition of result `at` is called.
pub(super) fn output_name(program: &Program, at: usize) -> String {
    let results = program.results().len();
    if at >= results {
        return "in_range".to_owned();
    }
    if results == 1 { "out".to_owned() } else { format!("out{at}") }
}

/// Why a building ends early.
enum Stop {
    /// This class has to be stored.
    Store(Class),
    /// This class has no term, shape or dtype.
    Missing(Class),
}

/// A point from which a class is read: a piece of a definition, and the map from its domain.
type Context = (Class, usize, IndexMap);

/// A leaf of a piece: what is loaded, and where over the piece's own domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Leaf {
    /// Loaded at the map's index, or at the offset that it gives if `flat`; with `pick`, at a
    /// further stride times the value of a node.
    Load {
        source: LeafSource,
        map: IndexMap,
        flat: bool,
        pick: Option<(i64, usize)>,
        via: Option<Class>,
    },
    Index {
        map: IndexMap,
        via: Option<Class>,
    },
}

/// What a leaf loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum LeafSource {
    Param(usize),
    Class(Class),
}

/// A piece before its digits are fixed.
struct Draft {
    /// Extents of the piece's own box, then of its fold axes.
    domain: Vec<usize>,
    /// Where the box begins in the definition; `None` where it is as long as the definition.
    cuts: Vec<Option<usize>>,
    fold: Option<FoldOp>,
    depth: Option<usize>,
    value: ScalarBuilder,
    leaves: Vec<Leaf>,
}

struct Builder<'a> {
    program: &'a Program,
    snapshot: &'a Snapshot,
    choice: &'a Choice,
    roots: &'a [Class],
    /// Classes that the roots need, users before their arguments.
    order: Vec<Class>,
    stored: BTreeSet<Class>,
    forced: &'a BTreeSet<Class>,
    defs: Vec<Def>,
    def_of: BTreeMap<Class, DefId>,
    names: BTreeSet<String>,
}

impl<'a> Builder<'a> {
    fn new(
        program: &'a Program,
        snapshot: &'a Snapshot,
        choice: &'a Choice,
        roots: &'a [Class],
        forced: &'a BTreeSet<Class>,
    ) -> Result<Builder<'a>, Stop> {
        let mut builder = Builder {
            program,
            snapshot,
            choice,
            roots,
            order: Vec::new(),
            stored: BTreeSet::new(),
            forced,
            defs: Vec::new(),
            def_of: BTreeMap::new(),
            names: program.params.iter().map(|param| param.name.clone()).collect(),
        };
        builder.order = builder.users_first()?;
        builder.countable()?;
        builder.decide()?;
        Ok(builder)
    }

    fn term(&self, class: Class) -> Result<&'a Term, Stop> {
        self.choice.get(&class).ok_or(Stop::Missing(class))
    }

    fn shape(&self, class: Class) -> Result<&'a [usize], Stop> {
        self.snapshot.classes.get(class).and_then(|data| data.shape.as_deref()).ok_or(Stop::Missing(class))
    }

    fn dtype(&self, class: Class) -> Result<DType, Stop> {
        self.snapshot.classes.get(class).and_then(|data| data.dtype).ok_or(Stop::Missing(class))
    }

    fn size(&self, class: Class) -> Result<f64, Stop> {
        Ok(elements(self.shape(class)?))
    }

    /// Sees to it that integers count the points of every box.
    fn countable(&self) -> Result<(), Stop> {
        for &class in &self.order {
            let points = match self.term(class)? {
                Term::Contract(spec, _) => elements(&spec.domain),
                Term::Input(_)
                | Term::Const(_)
                | Term::Iota(_)
                | Term::Table(_)
                | Term::Map1(..)
                | Term::Map2(..)
                | Term::Select(..)
                | Term::Cast(_)
                | Term::View(..)
                | Term::Reshape(_)
                | Term::Cat { .. }
                | Term::Pick(..) => 0.0,
            };
            if points.max(self.size(class)?) > MOST_POINTS {
                return Err(Stop::Missing(class));
            }
        }
        Ok(())
    }

    fn users_first(&self) -> Result<Vec<Class>, Stop> {
        // Depth-first with an explicit stack: programs may be deep.
        let mut done = BTreeSet::new();
        let mut order = Vec::new();
        let mut stack: Vec<(Class, bool)> = self.roots.iter().rev().map(|&root| (root, false)).collect();
        while let Some((class, expanded)) = stack.pop() {
            if expanded {
                order.push(class);
                continue;
            }
            if !done.insert(class) {
                continue;
            }
            stack.push((class, true));
            stack.extend(self.term(class)?.args().into_iter().rev().map(|arg| (arg, false)));
        }
        order.reverse();
        Ok(order)
    }

    /// Sees to it that an array whose elements are picked is in memory, but for views of it.
    fn whole(&self, mut class: Class) -> Result<(), Stop> {
        while !self.forced.contains(&class) {
            match self.term(class)? {
                Term::View(_, a) | Term::Reshape(a) => class = *a,
                Term::Input(_) | Term::Const(_) | Term::Table(_) => break,
                Term::Iota(_)
                | Term::Map1(..)
                | Term::Map2(..)
                | Term::Select(..)
                | Term::Cast(_)
                | Term::Cat { .. }
                | Term::Pick(..)
                | Term::Contract(..) => return Err(Stop::Store(class)),
            }
        }
        Ok(())
    }

    /// Decides which classes are definitions, users first, from the points they are read at.
    fn decide(&mut self) -> Result<(), Stop> {
        let weights = self.inline_weights()?;
        let mut contexts: BTreeMap<Class, BTreeSet<Context>> = BTreeMap::new();
        // Catenations that are read by nothing but one catenation: its parts are theirs.
        let mut nested: BTreeMap<Class, Vec<(Class, usize)>> = BTreeMap::new();
        let mut pieces = 0;
        for at in 0..self.order.len() {
            let class = self.order[at];
            let term = self.term(class)?;
            let readers = contexts.remove(&class).unwrap_or_default();
            let owners = nested.remove(&class).unwrap_or_default();
            let is_root = self.roots.contains(&class);
            let always = match term {
                Term::Input(_) | Term::Const(_) | Term::Iota(_) => false,
                Term::Table(_) => true,
                Term::Contract(spec, _) => spec.points < spec.domain.len() || is_root,
                Term::Cat { .. } => is_root || !readers.is_empty() || owners.len() != 1,
                Term::View(..) | Term::Reshape(_) => is_root,
                Term::Map1(..) | Term::Map2(..) | Term::Select(..) | Term::Cast(_) | Term::Pick(..) => {
                    is_root || readers.len() > MAX_CONTEXTS || {
                        let volume = |(_, _, map): &Context| elements(&map.shape());
                        let evaluations: f64 = readers.iter().map(volume).sum();
                        let size = self.size(class)?;
                        let weight = weights.get(&class).copied().unwrap_or(0.0);
                        size * (weight + STORE_COST) < evaluations * weight
                    }
                }
            };
            let leaf = matches!(term, Term::Input(_) | Term::Const(_) | Term::Iota(_));
            // Parameters are in memory, and a constant is the same at every offset; indices must be stored to be reshaped.
            let held = matches!(term, Term::Input(_) | Term::Const(_));
            let stored = always || (self.forced.contains(&class) && !held);
            if stored {
                self.stored.insert(class);
            }
            let flattened = matches!(term, Term::Cat { .. }) && !stored;
            let own: BTreeSet<Context> = if stored || (is_root && leaf) {
                pieces += 1;
                BTreeSet::from([(class, pieces, IndexMap::identity(self.shape(class)?))])
            } else {
                readers
            };
            match term {
                Term::Input(_) | Term::Const(_) | Term::Iota(_) | Term::Table(_) => {}
                Term::Map1(_, a) | Term::Cast(a) => contexts.entry(*a).or_default().extend(own),
                Term::Map2(_, a, b) => {
                    contexts.entry(*a).or_default().extend(own.iter().cloned());
                    contexts.entry(*b).or_default().extend(own);
                }
                Term::Pick(a, x) => {
                    contexts.entry(*x).or_default().extend(own);
                    self.whole(*a)?;
                }
                Term::Select(c, a, b) => {
                    contexts.entry(*c).or_default().extend(own.iter().cloned());
                    contexts.entry(*a).or_default().extend(own.iter().cloned());
                    contexts.entry(*b).or_default().extend(own);
                }
                Term::View(view, a) => {
                    for (def, piece, map) in own {
                        let map = map.compose(view).ok_or(Stop::Store(class))?;
                        contexts.entry(*a).or_default().insert((def, piece, map));
                    }
                }
                Term::Reshape(a) => {
                    if !matches!(self.term(*a)?, Term::Input(_) | Term::Const(_)) && !self.forced.contains(a) {
                        return Err(Stop::Store(*a));
                    }
                }
                Term::Contract(spec, args) => {
                    for (map, arg) in spec.maps.iter().zip(args) {
                        let whole = spec.points == spec.domain.len();
                        for (def, piece, reader) in &own {
                            let map = if whole { reader.compose(map).ok_or(Stop::Store(class))? } else { map.clone() };
                            contexts.entry(*arg).or_default().insert((*def, *piece, map));
                        }
                    }
                }
                Term::Cat { args, .. } => {
                    for &arg in args {
                        pieces += 1;
                        if matches!(self.term(arg)?, Term::Cat { .. }) {
                            nested.entry(arg).or_default().push((class, pieces));
                        } else {
                            let owner = if flattened { owners[0].0 } else { class };
                            let map = IndexMap::identity(self.shape(arg)?);
                            contexts.entry(arg).or_default().insert((owner, pieces, map));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// What one element of each element-wise class costs where everything below is inlined.
    fn inline_weights(&self) -> Result<BTreeMap<Class, f64>, Stop> {
        let mut weights: BTreeMap<Class, f64> = BTreeMap::new();
        // Integer arithmetic on ι and constants, which becomes an index form.
        let mut indices: BTreeSet<Class> = BTreeSet::new();
        // What becomes a constant.
        let mut constants: BTreeSet<Class> = BTreeSet::new();
        for &class in self.order.iter().rev() {
            let term = self.term(class)?;
            let is_index = match term {
                Term::Iota(_) | Term::Const(_) => true,
                Term::Map2(..) | Term::Cast(_) | Term::View(..) => {
                    self.dtype(class)?.is_int() && term.args().iter().all(|arg| indices.contains(arg))
                }
                Term::Input(_)
                | Term::Table(_)
                | Term::Map1(..)
                | Term::Select(..)
                | Term::Cat { .. }
                | Term::Reshape(_)
                | Term::Pick(..)
                | Term::Contract(..) => false,
            };
            if is_index {
                indices.insert(class);
            }
            let folds = match term {
                Term::Const(_) => true,
                Term::Map1(op, _) => folds_unary(*op),
                Term::Map2(op, ..) => folds_binary(*op),
                Term::Cast(_) | Term::View(..) => true,
                Term::Input(_)
                | Term::Iota(_)
                | Term::Table(_)
                | Term::Select(..)
                | Term::Cat { .. }
                | Term::Reshape(_)
                | Term::Pick(..)
                | Term::Contract(..) => false,
            };
            let is_constant = folds && term.args().iter().all(|arg| constants.contains(arg));
            if is_constant {
                constants.insert(class);
            }
            let below = |weights: &BTreeMap<Class, f64>, args: &[Class]| -> f64 {
                args.iter().map(|arg| weights.get(arg).copied().unwrap_or(0.0)).sum()
            };
            let weight = match term {
                Term::Map2(..) | Term::Cast(_) if is_index => 0.0,
                Term::Map1(..) | Term::Map2(..) | Term::Cast(_) if is_constant => 0.0,
                Term::Map1(..) | Term::Map2(..) | Term::Select(..) | Term::Cast(_) => {
                    weight_of(term, self.dtype(class)?) + below(&weights, &term.args())
                }
                Term::Pick(_, x) => weight_of(term, self.dtype(class)?) + below(&weights, &[*x]),
                Term::View(_, a) => below(&weights, &[*a]),
                Term::Contract(spec, args) if spec.points == spec.domain.len() => {
                    weight_of(term, self.dtype(class)?) + below(&weights, args)
                }
                Term::Input(_)
                | Term::Const(_)
                | Term::Iota(_)
                | Term::Table(_)
                | Term::Cat { .. }
                | Term::Reshape(_)
                | Term::Contract(..) => 0.0,
            };
            weights.insert(class, weight.min(1e6));
        }
        Ok(weights)
    }

    fn run(mut self) -> Result<NormalForm, Stop> {
        let order: Vec<Class> = self.order.iter().rev().copied().collect();
        for class in order {
            if self.stored.contains(&class) {
                let hint = match self.roots.iter().position(|&root| root == class) {
                    Some(at) => output_name(self.program, at),
                    None => self.hint(class)?,
                };
                let def = self.define(class, false, &hint)?;
                self.def_of.insert(class, self.defs.len());
                self.defs.push(def);
            }
        }
        let mut outputs = Vec::new();
        for (at, &root) in self.roots.iter().enumerate() {
            let id = match self.def_of.get(&root) {
                Some(id) if !outputs.contains(id) => *id,
                _ => {
                    let hint = output_name(self.program, at);
                    let def = self.define(root, true, &hint)?;
                    self.defs.push(def);
                    self.defs.len() - 1
                }
            };
            outputs.push(id);
        }
        let (params, checks) = (self.program.params.clone(), self.program.requirements());
        Ok(NormalForm { params, defs: self.defs, outputs, checks, ..NormalForm::default() })
    }

    fn hint(&self, class: Class) -> Result<String, Stop> {
        Ok(match self.term(class)? {
            Term::Map1(op, _) => op.name().to_owned(),
            Term::Map2(op, ..) => op.name().to_owned(),
            Term::Select(..) => "select".to_owned(),
            Term::Cast(_) => "cast".to_owned(),
            Term::View(..) | Term::Reshape(_) => "view".to_owned(),
            Term::Cat { .. } => "cat".to_owned(),
            Term::Contract(spec, _) => spec.fold.name().to_owned(),
            Term::Pick(..) => "gather".to_owned(),
            Term::Table(_) => "table".to_owned(),
            Term::Input(_) | Term::Const(_) | Term::Iota(_) => "copy".to_owned(),
        })
    }

    fn unique(&mut self, hint: &str) -> String {
        let taken = &mut self.names;
        let name = std::iter::once(hint.to_owned())
            .chain((1..).map(|n| format!("{hint}_{n}")))
            .find(|name| !taken.contains(name))
            .unwrap_or_default();
        taken.insert(name.clone());
        name
    }

    /// The definition of a class; as a copy of what it already is, if `copy`.
    fn define(&mut self, class: Class, copy: bool, hint: &str) -> Result<Def, Stop> {
        let shape = self.shape(class)?.to_vec();
        let dtype = self.dtype(class)?;
        let mut drafts = Vec::new();
        match self.term(class)? {
            Term::Cat { .. } if !copy => {
                let cuts = vec![None; shape.len()];
                self.parts(class, &shape, cuts, &mut drafts)?;
            }
            Term::Table(node) if !copy => self.table(*node, &shape, &mut drafts)?,
            Term::Contract(spec, args) if !copy => {
                drafts.push(self.contraction(class, spec, args, vec![None; shape.len()])?);
            }
            Term::Input(_)
            | Term::Const(_)
            | Term::Iota(_)
            | Term::Table(_)
            | Term::Map1(..)
            | Term::Map2(..)
            | Term::Select(..)
            | Term::Cast(_)
            | Term::View(..)
            | Term::Cat { .. }
            | Term::Reshape(_)
            | Term::Pick(..)
            | Term::Contract(..) => drafts.push(self.plain(class, copy, vec![None; shape.len()])?),
        }
        let (axes, pieces) = self.settle(class, &shape, drafts)?;
        let name = self.unique(hint);
        // What only definitions read needs no shape but its digits: forms that differ in no more
        // than that are the same.
        let shape = if self.roots.contains(&class) { shape } else { axes.clone() };
        Ok(Def { name, dtype, shape, axes, pieces, update: None, scope: Vec::new() })
    }

    /// An element-wise piece over the class's own shape.
    fn plain(&self, class: Class, copy: bool, cuts: Vec<Option<usize>>) -> Result<Draft, Stop> {
        let shape = self.shape(class)?;
        let mut reader = Reader::new(self);
        let map = IndexMap::identity(shape);
        let value = if copy { reader.read(class, &map, None)? } else { reader.compute(class, &map, None)? };
        reader.value.finish(value);
        Ok(Draft { domain: shape.to_vec(), cuts, fold: None, depth: None, value: reader.value, leaves: reader.leaves })
    }

    fn contraction(&self, class: Class, spec: &Spec, args: &[Class], cuts: Vec<Option<usize>>) -> Result<Draft, Stop> {
        let mut reader = Reader::new(self);
        let value = reader.product(class, spec, args, None)?;
        reader.value.finish(value);
        let fold = (spec.domain[spec.points..].iter().any(|&n| n != 1)).then_some(spec.fold);
        let depth = spec.depth.filter(|_| fold == Some(FoldOp::Sum) && self.dtype(class).is_ok_and(DType::is_float));
        Ok(Draft { domain: spec.domain.clone(), cuts, fold, depth, value: reader.value, leaves: reader.leaves })
    }

    /// The parts of a catenation, those of catenations inside it included.
    fn parts(
        &self,
        class: Class,
        whole: &[usize],
        cuts: Vec<Option<usize>>,
        drafts: &mut Vec<Draft>,
    ) -> Result<(), Stop> {
        let Term::Cat { axis, parts, args } = self.term(class)? else { return Err(Stop::Missing(class)) };
        let mut offset = cuts[*axis].unwrap_or(0);
        for (&extent, &arg) in parts.iter().zip(args) {
            let mut cuts = cuts.clone();
            if extent != whole[*axis] {
                cuts[*axis] = Some(offset);
            }
            offset += extent;
            if extent == 0 && whole[*axis] != 0 {
                continue;
            }
            if self.stored.contains(&arg) {
                drafts.push(self.plain(arg, true, cuts)?);
            } else if let Term::Cat { .. } = self.term(arg)? {
                self.parts(arg, whole, cuts, drafts)?;
            } else {
                drafts.push(self.plain(arg, false, cuts)?);
            }
        }
        Ok(())
    }

    /// A table: one piece for each run of equal literals along the last axis.
    fn table(&self, node: usize, shape: &[usize], drafts: &mut Vec<Draft>) -> Result<(), Stop> {
        let node = self.program.nodes.get(node).ok_or(Stop::Missing(node))?;
        let Op::Array(values) = &node.op else { return Err(Stop::Missing(0)) };
        let last = shape.last().copied().unwrap_or(1);
        let mut at = 0;
        while at < values.len() {
            let in_row = at % last;
            let mut run = 1;
            while in_row + run < last && values[at + run] == values[at] {
                run += 1;
            }
            let mut cuts = vec![None; shape.len()];
            let mut domain = vec![1; shape.len()];
            let mut rest = at / last;
            for axis in (0..shape.len().saturating_sub(1)).rev() {
                cuts[axis] = (shape[axis] != 1).then_some(rest % shape[axis]);
                rest /= shape[axis];
            }
            if let Some(extent) = domain.last_mut() {
                *extent = run;
                cuts[shape.len() - 1] = (run != last).then_some(in_row);
            }
            let mut value = ScalarBuilder::default();
            let constant = value.constant(values[at].at(node.dtype), node.dtype);
            value.finish(constant);
            drafts.push(Draft { domain, cuts, fold: None, depth: None, value, leaves: Vec::new() });
            at += run;
        }
        if values.is_empty() {
            let mut value = ScalarBuilder::default();
            let constant = value.constant(Literal::Int(0).at(node.dtype), node.dtype);
            value.finish(constant);
            drafts.push(Draft {
                domain: shape.to_vec(),
                cuts: vec![None; shape.len()],
                fold: None,
                depth: None,
                value,
                leaves: Vec::new(),
            });
        }
        Ok(())
    }

    /// Fixes the digits of a definition and writes its pieces over them.
    fn settle(&self, class: Class, shape: &[usize], mut drafts: Vec<Draft>) -> Result<(Vec<usize>, Vec<Piece>), Stop> {
        let cut: Vec<bool> =
            (0..shape.len()).map(|axis| drafts.iter().any(|draft| draft.cuts[axis].is_some())).collect();
        for draft in &mut drafts {
            for leaf in &mut draft.leaves {
                self.resolve(leaf);
            }
        }
        let points = self.agree(class, shape, &cut, &mut drafts)?;
        let axes: Vec<usize> = points.iter().flatten().copied().collect();
        let mut pieces = Vec::new();
        for draft in drafts {
            let folds = self.agree_folds(class, shape.len(), &draft)?;
            pieces.push(self.piece(shape.len(), &points, folds, draft)?);
        }
        if pieces.is_empty() {
            return Err(Stop::Missing(class));
        }
        Ok((axes, pieces))
    }

    /// Turns a read of a definition's logical axes into one of its digits, or of its flat offset.
    fn resolve(&self, leaf: &mut Leaf) {
        let Leaf::Load { source: LeafSource::Class(class), map, flat, .. } = leaf else { return };
        if *flat {
            return;
        }
        let Some(def) = self.def_of.get(class).map(|&id| &self.defs[id]) else { return };
        let Ok(shape) = self.shape(*class) else { return };
        match IndexMap::reshape(&def.axes, shape).and_then(|digits| map.compose(&digits)) {
            Some(onto_digits) => *map = onto_digits,
            None => flatten(leaf),
        }
    }

    /// Digits of the point axes that suit every leaf of every piece.
    fn agree(
        &self,
        class: Class,
        shape: &[usize],
        cut: &[bool],
        drafts: &mut [Draft],
    ) -> Result<Vec<Vec<usize>>, Stop> {
        let mut points = Vec::new();
        for axis in 0..shape.len() {
            if cut[axis] {
                for draft in drafts.iter_mut() {
                    for leaf in draft.leaves.iter_mut() {
                        if leaf.map().axes()[axis].len() > 1 {
                            flatten(leaf);
                        }
                        if leaf.map().axes()[axis].len() > 1 {
                            return Err(Stop::Store(leaf.via().unwrap_or(class)));
                        }
                    }
                }
                points.push(if shape[axis] == 1 { Vec::new() } else { vec![shape[axis]] });
                continue;
            }
            let mut digits: Vec<usize> = if shape[axis] == 1 { Vec::new() } else { vec![shape[axis]] };
            for draft in drafts.iter_mut() {
                for leaf in draft.leaves.iter_mut() {
                    digits = self.join(class, axis, &digits, leaf)?;
                }
            }
            points.push(digits);
        }
        // A leaf that was flattened on the way may have other digits on an axis settled before.
        for draft in drafts.iter() {
            for leaf in &draft.leaves {
                for (axis, digits) in points.iter_mut().enumerate().filter(|(axis, _)| !cut[*axis]) {
                    let joined = common_refinement([digits.as_slice(), leaf.map().axes()[axis].as_slice()]);
                    *digits = joined.ok_or(Stop::Store(leaf.via().unwrap_or(class)))?;
                }
            }
        }
        Ok(points)
    }

    fn agree_folds(&self, class: Class, points: usize, draft: &Draft) -> Result<Vec<Vec<usize>>, Stop> {
        (points..draft.domain.len())
            .map(|axis| {
                let mut digits: Vec<usize> =
                    if draft.domain[axis] == 1 { Vec::new() } else { vec![draft.domain[axis]] };
                for leaf in &draft.leaves {
                    let joined = common_refinement([digits.as_slice(), leaf.map().axes()[axis].as_slice()]);
                    digits = joined.ok_or(Stop::Store(leaf.via().unwrap_or(class)))?;
                }
                Ok(digits)
            })
            .collect()
    }

    fn join(&self, class: Class, axis: usize, digits: &[usize], leaf: &mut Leaf) -> Result<Vec<usize>, Stop> {
        if let Some(joined) = common_refinement([digits, leaf.map().axes()[axis].as_slice()]) {
            return Ok(joined);
        }
        flatten(leaf);
        common_refinement([digits, leaf.map().axes()[axis].as_slice()]).ok_or(Stop::Store(leaf.via().unwrap_or(class)))
    }

    fn piece(&self, rank: usize, points: &[Vec<usize>], folds: Vec<Vec<usize>>, draft: Draft) -> Result<Piece, Stop> {
        let mut domain = Vec::new();
        // For each digit of the definition, the shift from its variable to the piece's own.
        let mut shifts: Vec<i64> = Vec::new();
        let mut own_axes: Vec<Vec<usize>> = Vec::new();
        // The definition's variable of each of the piece's own digits.
        let mut own_variables: Vec<usize> = Vec::new();
        for (axis, digits) in points.iter().enumerate() {
            match draft.cuts[axis] {
                Some(from) => {
                    let (from, extent) = (to_i64(from), to_i64(draft.domain[axis]));
                    domain.push(Range::constant(from, from + extent));
                    if draft.domain[axis] == 1 {
                        own_axes.push(Vec::new());
                    } else {
                        own_axes.push(vec![draft.domain[axis]]);
                        own_variables.push(shifts.len());
                    }
                    shifts.push(from);
                }
                None => {
                    own_axes.push(digits.clone());
                    for &extent in digits {
                        domain.push(Range::constant(0, to_i64(extent)));
                        own_variables.push(shifts.len());
                        shifts.push(0);
                    }
                }
            }
        }
        for digits in folds {
            for &extent in &digits {
                domain.push(Range::constant(0, to_i64(extent)));
                own_variables.push(shifts.len());
                shifts.push(0);
            }
            own_axes.push(digits);
        }
        debug_assert_eq!(own_axes.len(), draft.domain.len(), "a rank of {rank}");
        let globalize =
            |row: &Affine| row.substitute(|v| Affine::new(-shifts[own_variables[v]], [(own_variables[v], 1)]));
        let mut loads = Vec::new();
        for leaf in &draft.leaves {
            let rows = leaf.map().refine(&own_axes).ok_or(Stop::Store(leaf.via().unwrap_or(0)))?;
            loads.push((leaf.clone(), rows.iter().map(globalize).collect::<Vec<Affine>>()));
        }
        let value = draft.value.emit(&domain, |leaf, place| {
            let (leaf, rows) = &loads[leaf];
            match leaf {
                Leaf::Load { source, flat, pick, .. } => {
                    let source = match source {
                        LeafSource::Param(param) => Source::Param(*param),
                        LeafSource::Class(class) => Source::Def(self.def_of.get(class).copied().unwrap_or(usize::MAX)),
                    };
                    let access = match pick {
                        Some((stride, at)) => {
                            Access::Gather(Gather { offset: rows[0].clone(), stride: *stride, at: place(*at) })
                        }
                        None if *flat => Access::Flat(rows[0].clone()),
                        None => Access::Axes(rows.clone()),
                    };
                    crate::form::scalar_tree::ScalarOp::Load(source, access)
                }
                Leaf::Index { .. } => crate::form::scalar_tree::ScalarOp::Index(rows[0].clone()),
            }
        });
        Ok(Piece { domain, fold: draft.fold, depth: draft.depth, value })
    }
}

impl Leaf {
    fn map(&self) -> &IndexMap {
        match self {
            Leaf::Load { map, .. } | Leaf::Index { map, .. } => map,
        }
    }

    fn via(&self) -> Option<Class> {
        match self {
            Leaf::Load { via, .. } | Leaf::Index { via, .. } => *via,
        }
    }
}

/// Reads a source at its row-major offset instead of at its axes.
fn flatten(leaf: &mut Leaf) {
    if let Leaf::Load { map, flat, .. } = leaf
        && !*flat
        && let Some(offset) = ravel(map.source()).and_then(|ravel| map.compose(&ravel))
    {
        *map = offset;
        *flat = true;
    }
}

/// The view of a flat array of `shape`'s size as an array of `shape`.
pub(super) fn ravel(shape: &[usize]) -> Option<IndexMap> {
    let mut row = Affine::constant(0);
    let mut weight = 1;
    for (axis, &extent) in shape.iter().enumerate().rev() {
        row = row.plus(&Affine::new(0, [(axis, weight)]));
        weight *= to_i64(extent);
    }
    IndexMap::over(shape, &[shape.iter().product()], vec![row])
}

fn to_i64(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
