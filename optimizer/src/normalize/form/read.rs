//! The scalar expression of one piece: what each class is at a point, down to what is stored.
//!
//! Input: the decisions of a [`Builder`] and a point, as a map from the piece's domain. Output: nodes over leaves, whose
//! digits are not fixed yet. What cannot be written as an expression stops the building with the class to store.

use super::{Builder, Leaf, LeafSource, Stop, ravel, to_i64};
use crate::integer::index_map::IndexMap;
use crate::normalize::contraction::Spec;
use crate::normalize::scalars::ScalarBuilder;
use crate::normalize::term::{Class, Term};
use crate::program::expr::Op;
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::BinaryOp;
use std::collections::HashMap;

/// Writes the scalar expression of one piece.
pub(super) struct Reader<'b, 'a> {
    builder: &'b Builder<'a>,
    pub(super) value: ScalarBuilder,
    pub(super) leaves: Vec<Leaf>,
    /// The node of each class at each point: a class that several others read is written once.
    known: HashMap<(Class, IndexMap), usize>,
    leaf_at: HashMap<Leaf, usize>,
}

impl<'b, 'a> Reader<'b, 'a> {
    pub(super) fn new(builder: &'b Builder<'a>) -> Reader<'b, 'a> {
        Reader {
            builder,
            value: ScalarBuilder::default(),
            leaves: Vec::new(),
            known: HashMap::new(),
            leaf_at: HashMap::new(),
        }
    }

    fn leaf(&mut self, leaf: Leaf, dtype: DType) -> usize {
        let at = *self.leaf_at.entry(leaf).or_insert_with_key(|leaf| {
            self.leaves.push(leaf.clone());
            self.leaves.len() - 1
        });
        self.value.leaf(at, dtype)
    }

    /// The element of `class` at `map`: loaded if the class is stored, computed otherwise.
    pub(super) fn read(&mut self, class: Class, map: &IndexMap, via: Option<Class>) -> Result<usize, Stop> {
        if self.builder.stored.contains(&class) {
            if let Term::Table(node) = self.builder.term(class)?
                && let Some(value) = self.table_element(*node, map)
            {
                return Ok(self.value.constant(value, self.builder.dtype(class)?));
            }
            let source = LeafSource::Class(class);
            let leaf = Leaf::Load { source, map: map.clone(), flat: false, pick: None, via };
            return Ok(self.leaf(leaf, self.builder.dtype(class)?));
        }
        let point = (class, map.clone());
        if let Some(&node) = self.known.get(&point) {
            return Ok(node);
        }
        let node = self.compute(class, map, via)?;
        self.known.insert(point, node);
        Ok(node)
    }

    fn table_element(&self, node: usize, map: &IndexMap) -> Option<Literal> {
        let node = self.builder.program.nodes.get(node)?;
        let Op::Array(values) = &node.op else { return None };
        let at = map.rows().iter().zip(&node.shape).try_fold(0usize, |offset, (row, &extent)| {
            let index = usize::try_from(row.constant).ok()?;
            (row.is_constant() && index < extent).then_some(offset * extent + index)
        })?;
        values.get(at).map(|value| value.at(node.dtype))
    }

    pub(super) fn compute(&mut self, class: Class, map: &IndexMap, via: Option<Class>) -> Result<usize, Stop> {
        let dtype = self.builder.dtype(class)?;
        match self.builder.term(class)? {
            Term::Input(param) => {
                let source = LeafSource::Param(*param);
                let leaf = Leaf::Load { source, map: map.clone(), flat: false, pick: None, via };
                Ok(self.leaf(leaf, dtype))
            }
            Term::Const((dtype, value)) => Ok(self.value.constant(*value, *dtype)),
            Term::Iota(_) => Ok(self.leaf(Leaf::Index { map: map.clone(), via }, DType::I64)),
            Term::Map1(op, a) => {
                let a = self.read(*a, map, via)?;
                Ok(self.value.unary(*op, a, dtype))
            }
            Term::Map2(op, a, b) => {
                let a = self.read(*a, map, via)?;
                let b = self.read(*b, map, via)?;
                Ok(self.value.binary(*op, a, b, dtype))
            }
            Term::Select(c, a, b) => {
                let c = self.read(*c, map, via)?;
                let a = self.read(*a, map, via)?;
                let b = self.read(*b, map, via)?;
                Ok(self.value.select(c, a, b, dtype))
            }
            Term::Cast(a) => {
                let a = self.read(*a, map, via)?;
                Ok(self.value.cast(a, dtype))
            }
            Term::View(view, a) => {
                let map = map.compose(view).ok_or(Stop::Store(class))?;
                self.read(*a, &map, via.or(Some(class)))
            }
            Term::Reshape(a) => {
                let shape = self.builder.shape(class)?;
                let flat_map = ravel(shape).and_then(|ravel| map.compose(&ravel)).ok_or(Stop::Store(class))?;
                let source = match self.builder.term(*a)? {
                    Term::Input(param) => LeafSource::Param(*param),
                    Term::Const((dtype, value)) => return Ok(self.value.constant(*value, *dtype)),
                    Term::Iota(_)
                    | Term::Table(_)
                    | Term::Map1(..)
                    | Term::Map2(..)
                    | Term::Select(..)
                    | Term::Cast(_)
                    | Term::View(..)
                    | Term::Cat { .. }
                    | Term::Reshape(_)
                    | Term::Pick(..)
                    | Term::Contract(..) => LeafSource::Class(*a),
                };
                let via = via.or(Some(class));
                Ok(self.leaf(Leaf::Load { source, map: flat_map, flat: true, pick: None, via }, dtype))
            }
            Term::Pick(a, x) => self.picked(*a, *x, map),
            Term::Contract(spec, args) if spec.points == spec.domain.len() => {
                self.product(class, spec, args, Some((map, via)))
            }
            Term::Table(_) | Term::Cat { .. } | Term::Contract(..) => Err(Stop::Store(class)),
        }
    }

    /// The element of `array`, of shape ⟨n⟩ ⧺ ρ`index`, at the value of `index` at `map` and there.
    fn picked(&mut self, array: Class, index: Class, point: &IndexMap) -> Result<usize, Stop> {
        let extent = *self.builder.shape(array)?.first().ok_or(Stop::Missing(array))?;
        let dtype = self.builder.dtype(array)?;
        // Down to the memory, with the indexed axis as the first of the map.
        let (mut class, mut map, mut flat) = (array, point.lifted(extent), false);
        let source = loop {
            if self.builder.stored.contains(&class) && !matches!(self.builder.term(class)?, Term::Input(_)) {
                break LeafSource::Class(class);
            }
            match self.builder.term(class)? {
                Term::Input(param) => break LeafSource::Param(*param),
                Term::Const((dtype, value)) => return Ok(self.value.constant(*value, *dtype)),
                Term::View(view, a) if !flat => {
                    map = map.compose(view).ok_or(Stop::Store(array))?;
                    class = *a;
                }
                Term::Reshape(a) if !flat => {
                    let ravel = ravel(self.builder.shape(class)?).ok_or(Stop::Store(array))?;
                    map = map.compose(&ravel).ok_or(Stop::Store(array))?;
                    flat = true;
                    class = *a;
                }
                Term::View(..)
                | Term::Reshape(_)
                | Term::Iota(_)
                | Term::Table(_)
                | Term::Map1(..)
                | Term::Map2(..)
                | Term::Select(..)
                | Term::Cast(_)
                | Term::Cat { .. }
                | Term::Pick(..)
                | Term::Contract(..) => return Err(Stop::Store(class)),
            }
        };
        if !flat {
            let ravel = ravel(map.source()).ok_or(Stop::Store(array))?;
            map = map.compose(&ravel).ok_or(Stop::Store(array))?;
        }
        let (stride, map) = map.without_first().ok_or(Stop::Store(array))?;
        let at = self.read(index, point, None)?;
        let at = self.bounded(at, extent);
        Ok(self.leaf(Leaf::Load { source, map, flat: true, pick: Some((stride, at)), via: Some(array) }, dtype))
    }

    /// `(at ⌈ 0) ⌊ (extent − 1)`.
    fn bounded(&mut self, at: usize, extent: usize) -> usize {
        let i64s = DType::I64;
        let zero = self.value.constant(Literal::Int(0), i64s);
        let last = self.value.constant(Literal::Int(to_i64(extent) - 1), i64s);
        let low = self.value.binary(BinaryOp::Maximum, at, zero, i64s);
        self.value.binary(BinaryOp::Minimum, low, last, i64s)
    }

    /// The product of a contraction's operands, at a point of its domain or of `at`'s.
    pub(super) fn product(
        &mut self,
        class: Class,
        spec: &Spec,
        args: &[Class],
        at: Option<(&IndexMap, Option<Class>)>,
    ) -> Result<usize, Stop> {
        let dtype = self.builder.dtype(class)?;
        let mut product = None;
        for (map, &arg) in spec.maps.iter().zip(args) {
            let operand = match at {
                Some((at, via)) => {
                    let map = at.compose(map).ok_or(Stop::Store(class))?;
                    self.read(arg, &map, via.or(Some(class)))?
                }
                // The operand's map is a view that has no class of its own: the operand is stored
                // where its radices disagree with another's.
                None => self.read(arg, map, Some(arg))?,
            };
            product = Some(match product {
                None => operand,
                Some(left) => self.value.binary(spec.product, left, operand, dtype),
            });
        }
        product.ok_or(Stop::Missing(class))
    }
}
