//! Contractions: a fold of a product of views over one box.
//!
//! `Contract(spec, args)` at a point p is the fold over k of `⊗ argᵢ[mapᵢ(p ⧺ k)]`: every
//! reduction, inner product, trace and einsum is one. This module is the integer side of their
//! laws: what happens to the maps. Whether a law holds for the dtype is the rules' business; a
//! function here answers `None` where there is no such contraction.

use crate::integer::affine::Affine;
use crate::integer::index_map::{IndexMap, list_items, list_text};
use crate::value::dtype::DType;
use crate::value::pairwise;
use crate::value::scalar::{BinaryOp, FoldOp};
use std::fmt;

/// The integer data of a contraction. All maps share one domain: the axes of the result, then the
/// axes that are folded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spec {
    /// The operator that folds.
    pub fold: FoldOp,
    /// The operator between the operands; of no matter if there is one.
    pub product: BinaryOp,
    /// Number of axes of the result.
    pub points: usize,
    /// Extents of the domain.
    pub domain: Vec<usize>,
    /// For each operand, the map from the domain to its indices.
    pub maps: Vec<IndexMap>,
    /// Of a sum of floats that stands for a reduction: no term goes through more additions, see [`crate::value::pairwise`]. None:
    /// the terms may be added one after the other.
    pub depth: Option<usize>,
}

/// The most operands a fused contraction may have. Rotations of three reach every order of a
/// longer chain; five leaves room for scalar factors.
const MAX_OPERANDS: usize = 5;

impl Spec {
    /// Checks that the maps share the domain.
    pub fn new(
        fold: FoldOp,
        product: BinaryOp,
        points: usize,
        domain: Vec<usize>,
        maps: Vec<IndexMap>,
    ) -> Option<Spec> {
        let fits = points <= domain.len() && !maps.is_empty() && maps.iter().all(|map| map.shape() == domain);
        fits.then_some(Spec { fold, product, points, domain, maps, depth: None })
    }

    /// A reduction of an array of shape `shape` over `axes`.
    pub fn reduce(fold: FoldOp, shape: &[usize], axes: &[usize]) -> Option<Spec> {
        if axes.iter().any(|&axis| axis >= shape.len()) {
            return None;
        }
        let kept: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect();
        let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
        let map = IndexMap::transpose(shape, &order)?;
        Spec::new(fold, BinaryOp::Mul, kept.len(), map.shape(), vec![map])
    }

    /// The sum along the last axis of the diagonal of an array of `shape`: of a matrix of floats pairwise, as in NumPy. Of more
    /// axes, others lie innermost.
    pub fn trace(shape: &[usize], offset: i64, dtype: DType) -> Option<Spec> {
        let &[rows, columns, ref rest @ ..] = shape else { return None };
        let after =
            |extent: usize, skipped: i64| extent.saturating_sub(usize::try_from(skipped.max(0)).unwrap_or(usize::MAX));
        let length = after(rows, offset.saturating_neg()).min(after(columns, offset));
        let sum = Spec::reduce(FoldOp::Sum, &[rest, &[length]].concat(), &[rest.len()])?;
        let pairwise = rest.is_empty() && dtype.is_float();
        Some(sum.within(pairwise.then_some(usize::MAX)))
    }

    /// The same, where no term goes through more additions than `depth`, nor than through a pairwise sum of as many terms.
    #[must_use]
    pub fn within(self, depth: Option<usize>) -> Spec {
        let depth = depth.map(|depth| depth.min(pairwise::depth(self.terms())));
        Spec { depth, ..self }
    }

    /// Terms of each element.
    fn terms(&self) -> usize {
        self.domain[self.points..].iter().fold(1, |terms: usize, &extent| terms.saturating_mul(extent))
    }

    /// A sum of products with labelled axes: `inputs[p][j]` is the label and extent of axis j of
    /// operand p. A label that is not in `output` is summed; one that is repeated in an operand
    /// takes the diagonal. Summed labels are ordered by their first use.
    pub fn einsum(fold: FoldOp, product: BinaryOp, inputs: &[Vec<(usize, usize)>], output: &[usize]) -> Option<Spec> {
        let mut labels: Vec<usize> = output.to_vec();
        for &(label, _) in inputs.iter().flatten() {
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        let extent_of = |label: usize| {
            let mut extents = inputs.iter().flatten().filter(|(l, _)| *l == label).map(|(_, extent)| *extent);
            let first = extents.next()?;
            extents.all(|extent| extent == first).then_some(first)
        };
        let domain = labels.iter().map(|&label| extent_of(label)).collect::<Option<Vec<_>>>()?;
        let maps = inputs
            .iter()
            .map(|axes| {
                let source: Vec<usize> = axes.iter().map(|(_, extent)| *extent).collect();
                let rows = axes
                    .iter()
                    .map(|(label, _)| Some(Affine::variable(labels.iter().position(|l| l == label)?)))
                    .collect::<Option<Vec<_>>>()?;
                IndexMap::over(&domain, &source, rows)
            })
            .collect::<Option<Vec<_>>>()?;
        Spec::new(fold, product, output.len(), domain, maps)
    }

    /// NumPy's `@`, with its rules for vectors and for batch axes.
    pub fn matmul(a: &[usize], b: &[usize]) -> Option<Spec> {
        if a.is_empty() || b.is_empty() {
            return None;
        }
        let batch_a = &a[..a.len().saturating_sub(2)];
        let batch_b = &b[..b.len().saturating_sub(2)];
        let batch = batch_a.len().max(batch_b.len());
        let extent = |of: &[usize], axis: usize| (axis + of.len()).checked_sub(batch).map(|at| of[at]);
        let mut domain: Vec<usize> = Vec::new();
        for axis in 0..batch {
            let (x, y) = (extent(batch_a, axis).unwrap_or(1), extent(batch_b, axis).unwrap_or(1));
            domain.push(if x == 1 { y } else { x });
        }
        let rows = (a.len() > 1).then(|| {
            domain.push(a[a.len() - 2]);
            domain.len() - 1
        });
        let columns = (b.len() > 1).then(|| {
            domain.push(b[b.len() - 1]);
            domain.len() - 1
        });
        let points = domain.len();
        domain.push(a[a.len() - 1]);
        let batch_rows = |of: &[usize]| -> Vec<Affine> {
            (0..batch)
                .filter_map(|axis| {
                    extent(of, axis)
                        .map(|n| if n == 1 && domain[axis] != 1 { Affine::constant(0) } else { Affine::variable(axis) })
                })
                .collect()
        };
        let mut left = batch_rows(batch_a);
        left.extend(rows.map(Affine::variable));
        left.push(Affine::variable(points));
        let mut right = batch_rows(batch_b);
        right.push(Affine::variable(points));
        right.extend(columns.map(Affine::variable));
        let maps = vec![IndexMap::over(&domain, a, left)?, IndexMap::over(&domain, b, right)?];
        Spec::new(FoldOp::Sum, BinaryOp::Mul, points, domain, maps)
    }

    /// `np.dot`: over the last axis of `a` and the last but one of `b`, or its only one.
    pub fn dot(a: &[usize], b: &[usize]) -> Option<Spec> {
        Spec::inner_over(a, b, b.len().saturating_sub(2))
    }

    /// `np.inner`: over the last axis of both.
    pub fn inner(a: &[usize], b: &[usize]) -> Option<Spec> {
        Spec::inner_over(a, b, b.len().checked_sub(1)?)
    }

    fn inner_over(a: &[usize], b: &[usize], axis: usize) -> Option<Spec> {
        if a.is_empty() || b.is_empty() {
            return None;
        }
        let folded = a.len() + b.len();
        let last = a.len() - 1;
        let left: Vec<(usize, usize)> =
            a.iter().enumerate().map(|(j, &n)| (if j == last { folded } else { j }, n)).collect();
        let right: Vec<(usize, usize)> =
            b.iter().enumerate().map(|(j, &n)| (if j == axis { folded } else { a.len() + j }, n)).collect();
        let output: Vec<usize> =
            left.iter().chain(&right).map(|(label, _)| *label).filter(|&label| label != folded).collect();
        Spec::einsum(FoldOp::Sum, BinaryOp::Mul, &[left, right], &output)
    }

    /// The shape of the result.
    pub fn shape(&self) -> &[usize] {
        &self.domain[..self.points]
    }

    /// Operand `at` is a view: the contraction reads what is viewed.
    pub fn absorb(&self, at: usize, view: &IndexMap) -> Option<Spec> {
        let mut maps = self.maps.clone();
        *maps.get_mut(at)? = self.maps.get(at)?.compose(view)?;
        Some(Spec::new(self.fold, self.product, self.points, self.domain.clone(), maps)?.within(self.depth))
    }

    /// Operand `at` is a product of two arrays of its shape: they become operands.
    pub fn split(&self, at: usize) -> Option<Spec> {
        if self.maps.len() >= MAX_OPERANDS {
            return None;
        }
        let mut maps = self.maps.clone();
        maps.insert(at, self.maps.get(at)?.clone());
        Some(Spec::new(self.fold, self.product, self.points, self.domain.clone(), maps)?.within(self.depth))
    }

    /// A view of the result: only an injective one, which computes no element twice.
    pub fn view(&self, view: &IndexMap) -> Option<Spec> {
        if view.source() != self.shape() || !view.is_injective() {
            return None;
        }
        let whole = view.extended(&self.domain[self.points..]);
        let maps = self.maps.iter().map(|map| whole.compose(map)).collect::<Option<Vec<_>>>()?;
        Some(Spec::new(self.fold, self.product, view.shape().len(), whole.shape(), maps)?.within(self.depth))
    }

    /// Operand `at` is itself a contraction with the same operators: one contraction over both
    /// folds. `None` where no operand varies along one of them: a constant is its own maximum over any
    /// axes, and would be fused with itself without an end.
    pub fn fuse(&self, at: usize, inner: &Spec) -> Option<Spec> {
        let single = self.maps.len() == 1;
        if self.maps.len() + inner.maps.len() > MAX_OPERANDS + 1 {
            return None;
        }
        let folds = self.domain.len() > self.points;
        let products_agree = inner.product == self.product || inner.maps.len() == 1 || single;
        if (folds && self.fold != inner.fold) || !products_agree {
            return None;
        }
        let product = if inner.maps.len() == 1 { self.product } else { inner.product };
        let extra = &inner.domain[inner.points..];
        let mut domain = self.domain.clone();
        domain.extend(extra);
        let onto_inner = self.maps.get(at)?.extended(extra);
        let mut maps = Vec::new();
        for (index, map) in self.maps.iter().enumerate() {
            if index == at {
                for part in &inner.maps {
                    maps.push(onto_inner.compose(part)?);
                }
            } else {
                let rest: Vec<usize> = (0..map.shape().len()).collect();
                maps.push(widen(map, &domain, &rest)?);
            }
        }
        // The longest way goes through both.
        let own = |spec: &Spec| spec.depth.unwrap_or(spec.terms().saturating_sub(1));
        let depth = (self.depth.is_some() || inner.depth.is_some()).then(|| own(self).saturating_add(own(inner)));
        let fused = Spec::new(inner.fold, product, self.points, domain, maps)?.within(depth).ordered()?;
        let varies = |axis: usize| fused.maps.iter().any(|map| map.uses_axis(axis));
        (fused.points..fused.domain.len()).all(|axis| fused.domain[axis] == 1 || varies(axis)).then_some(fused)
    }

    /// Folds the operands of `mask` alone over the axes that no other operand uses:
    /// the contraction over the rest (whose operand at the place of the first is the second
    /// result), and the inner one. `None` unless that takes at least one axis and leaves an
    /// operand out, and unless the operands inside hang together.
    pub fn factor(&self, mask: usize) -> Option<(Spec, Spec)> {
        let count = self.maps.len();
        let inside: Vec<usize> = (0..count).filter(|i| mask >> i & 1 == 1).collect();
        if mask >> count != 0 || inside.is_empty() || inside.len() == count {
            return None;
        }
        let used_by = |axis: usize, operands: &[usize]| operands.iter().any(|&i| self.maps[i].uses_axis(axis));
        let outside: Vec<usize> = (0..count).filter(|i| mask >> i & 1 == 0).collect();
        let folds = self.points..self.domain.len();
        let taken: Vec<usize> =
            folds.clone().filter(|&axis| used_by(axis, &inside) && !used_by(axis, &outside)).collect();
        if taken.is_empty() || !self.connected(&inside, &taken) {
            return None;
        }
        let kept: Vec<usize> =
            (0..self.domain.len()).filter(|&axis| !taken.contains(&axis) && used_by(axis, &inside)).collect();
        let inner_axes: Vec<usize> = kept.iter().chain(&taken).copied().collect();
        let inner_maps = inside.iter().map(|&i| self.maps[i].select_axes(&inner_axes)).collect::<Option<Vec<_>>>()?;
        let inner_domain: Vec<usize> = inner_axes.iter().map(|&axis| self.domain[axis]).collect();
        let inner = Spec::new(self.fold, self.product, kept.len(), inner_domain, inner_maps)?.ordered()?;
        let inner = match self.depth {
            Some(depth) => {
                // The outer fold needs some of it.
                let outer = self.terms().div_ceil(inner.terms().max(1));
                let left = depth.checked_sub(pairwise::levels(outer))?;
                (left >= pairwise::levels(inner.terms())).then(|| inner.within(Some(left)))?
            }
            None => inner,
        };
        let left = self.depth.zip(inner.depth).map(|(whole, inner)| whole - inner);

        let outer_axes: Vec<usize> = (0..self.domain.len()).filter(|axis| !taken.contains(axis)).collect();
        let outer_domain: Vec<usize> = outer_axes.iter().map(|&axis| self.domain[axis]).collect();
        let read_inner = IndexMap::over(
            &outer_domain,
            inner.shape(),
            kept.iter()
                .map(|axis| outer_axes.iter().position(|a| a == axis).map(Affine::variable))
                .collect::<Option<Vec<_>>>()?,
        )?;
        let mut outer_maps = Vec::new();
        for i in 0..count {
            if i == inside[0] {
                outer_maps.push(read_inner.clone());
            } else if mask >> i & 1 == 0 {
                outer_maps.push(self.maps[i].select_axes(&outer_axes)?);
            }
        }
        let outer =
            Spec::new(self.fold, self.product, self.points, outer_domain, outer_maps)?.within(left).ordered()?;
        Some((outer, inner))
    }

    /// Whether the operands hang together through the axes that are folded.
    fn connected(&self, operands: &[usize], folded: &[usize]) -> bool {
        let Some((&first, rest)) = operands.split_first() else { return false };
        let mut reached = vec![first];
        let mut open: Vec<usize> = rest.to_vec();
        while let Some(at) = open.iter().position(|&i| {
            folded
                .iter()
                .any(|&axis| self.maps[i].uses_axis(axis) && reached.iter().any(|&r| self.maps[r].uses_axis(axis)))
        }) {
            reached.push(open.remove(at));
        }
        open.is_empty()
    }

    /// The fold axes that no operand uses, as the number of their points, and the contraction
    /// without them; `None` where the number is too large.
    pub fn unused(&self) -> Option<(usize, Spec)> {
        let unused: Vec<usize> =
            (self.points..self.domain.len()).filter(|&axis| !self.maps.iter().any(|map| map.uses_axis(axis))).collect();
        let keep: Vec<usize> = (0..self.domain.len()).filter(|axis| !unused.contains(axis)).collect();
        let times = unused.iter().try_fold(1, |times: usize, &axis| times.checked_mul(self.domain[axis]))?;
        if unused.is_empty() || times == 0 {
            return None;
        }
        let domain = keep.iter().map(|&axis| self.domain[axis]).collect();
        let maps = self.maps.iter().map(|map| map.select_axes(&keep)).collect::<Option<Vec<_>>>()?;
        Some((times, Spec::new(self.fold, self.product, self.points, domain, maps)?.within(self.depth)))
    }

    /// The contraction over the result's axes that some operand uses, and the view that broadcasts
    /// it to the others; `None` if every axis is used.
    pub fn hoist(&self) -> Option<(Spec, IndexMap)> {
        let used: Vec<usize> =
            (0..self.points).filter(|&axis| self.maps.iter().any(|map| map.uses_axis(axis))).collect();
        if self.domain[..self.points].iter().zip(0..).all(|(&n, axis)| n == 1 || used.contains(&axis)) {
            return None;
        }
        let keep: Vec<usize> = used.iter().copied().chain(self.points..self.domain.len()).collect();
        let domain: Vec<usize> = keep.iter().map(|&axis| self.domain[axis]).collect();
        let maps = self.maps.iter().map(|map| map.select_axes(&keep)).collect::<Option<Vec<_>>>()?;
        let spec = Spec::new(self.fold, self.product, used.len(), domain, maps)?.within(self.depth);
        let rows = used.iter().map(|&axis| Affine::variable(axis)).collect();
        let view = IndexMap::over(self.shape(), spec.shape(), rows)?;
        Some((spec, view))
    }

    /// The map of the only operand of a contraction that folds nothing: it is a view.
    pub fn as_view(&self) -> Option<IndexMap> {
        match self.maps.as_slice() {
            [map] if self.domain.len() == self.points => Some(map.clone()),
            _ => None,
        }
    }

    /// The same contraction without operand `at`, if others remain.
    pub fn without(&self, at: usize) -> Option<Spec> {
        let mut maps = self.maps.clone();
        if at >= maps.len() || maps.len() < 2 {
            return None;
        }
        maps.remove(at);
        Some(Spec::new(self.fold, self.product, self.points, self.domain.clone(), maps)?.within(self.depth))
    }

    /// Fold axes in the order in which the operands' indices use them.
    fn ordered(self) -> Option<Spec> {
        let mut order: Vec<usize> = Vec::new();
        for map in &self.maps {
            let owner: Vec<usize> =
                map.axes().iter().enumerate().flat_map(|(axis, digits)| vec![axis; digits.len()]).collect();
            for row in map.rows() {
                for &(v, _) in &row.terms {
                    if owner[v] >= self.points && !order.contains(&owner[v]) {
                        order.push(owner[v]);
                    }
                }
            }
        }
        order.extend((self.points..self.domain.len()).filter(|axis| !order.contains(axis)).collect::<Vec<_>>());
        let axes: Vec<usize> = (0..self.points).chain(order).collect();
        let domain = axes.iter().map(|&axis| self.domain[axis]).collect();
        let maps = self.maps.iter().map(|map| map.select_axes(&axes)).collect::<Option<Vec<_>>>()?;
        Some(Spec::new(self.fold, self.product, self.points, domain, maps)?.within(self.depth))
    }

    /// The contraction as one word, as in egglog terms.
    pub fn to_text(&self) -> String {
        let maps: Vec<String> = self.maps.iter().map(IndexMap::to_text).collect();
        let depth = self.depth.map_or(String::new(), |depth| format!(":{depth}"));
        format!(
            "{}{depth}/{}/{}/{}/{}",
            self.fold.name(),
            self.product.name(),
            self.points,
            list_text(self.domain.iter().map(usize::to_string)),
            maps.join("/")
        )
    }

    /// The inverse of [`Spec::to_text`].
    pub fn from_text(text: &str) -> Option<Spec> {
        let mut parts = text.split('/');
        let fold = parts.next()?;
        let (fold, depth) = match fold.split_once(':') {
            Some((fold, depth)) => (fold, Some(depth.parse().ok()?)),
            None => (fold, None),
        };
        let fold = FoldOp::from_name(fold)?;
        let product = BinaryOp::from_name(parts.next()?)?;
        let points = parts.next()?.parse().ok()?;
        let domain = list_items(parts.next()?).map(|n| n.parse().ok()).collect::<Option<Vec<_>>>()?;
        let maps = parts.map(IndexMap::from_text).collect::<Option<Vec<_>>>()?;
        Some(Spec::new(fold, product, points, domain, maps)?.within(depth))
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

/// `map` over the first axes of a wider domain.
fn widen(map: &IndexMap, domain: &[usize], onto: &[usize]) -> Option<IndexMap> {
    let rows = onto.iter().map(|&axis| Affine::variable(axis)).collect();
    IndexMap::over(domain, &map.shape(), rows)?.compose(map)
}
