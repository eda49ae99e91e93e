//! Affine index maps over mixed-radix digits: what a view is.
//!
//! A view `V` of `A` is a map from the indices of `V` to those of `A` (`iψV = (map i)ψA`). Each
//! axis of `V` is written in mixed radix, most significant digit first, and each axis of `A` is an
//! affine form over those digits. So a reshape refines digits instead of adding `div` and `mod`;
//! where the radices do not agree there is no map, and the reshape is a point where the array is
//! materialised.
//!
//! Input: shapes and the arguments of NumPy's views. Output: canonical maps: equal functions that
//! were built in different ways compare equal in the common cases. This module knows no e-graph
//! and no array; every function is total (`None` where there is no such map).

use crate::integer::affine::Affine;
use std::fmt;

/// A map from the points of a box to the indices of an array.
///
/// Variables of the rows number the digits of all axes, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexMap {
    axes: Vec<Vec<usize>>,
    source: Vec<usize>,
    rows: Vec<Affine>,
}

/// How many times one composition may refine its digits; each refinement makes one digit shorter,
/// so that this is never reached by extents that fit in an `i64`.
const REFINEMENTS: usize = 256;

impl IndexMap {
    /// The map with these digits and rows, made canonical. `None` if the rows do not fit the
    /// source, or if an index would be out of bounds.
    pub fn new(axes: Vec<Vec<usize>>, source: Vec<usize>, rows: Vec<Affine>) -> Option<IndexMap> {
        if rows.len() != source.len() {
            return None;
        }
        let map = IndexMap { axes, source, rows }.canonical();
        if map.is_empty() {
            return Some(map);
        }
        let digits = map.digits();
        let in_bounds = map.rows.iter().zip(&map.source).all(|(row, &extent)| {
            let (low, high) = bounds(row, &digits);
            low >= 0 && high < to_i64(extent)
        });
        in_bounds.then_some(map)
    }

    /// The map whose axes have one digit each; the variables of `rows` are the axes.
    pub fn over(shape: &[usize], source: &[usize], rows: Vec<Affine>) -> Option<IndexMap> {
        IndexMap::new(shape.iter().map(|&extent| vec![extent]).collect(), source.to_vec(), rows)
    }

    /// `i ↦ i`.
    pub fn identity(shape: &[usize]) -> IndexMap {
        let rows = (0..shape.len()).map(Affine::variable).collect();
        IndexMap { axes: shape.iter().map(|&n| vec![n]).collect(), source: shape.to_vec(), rows }.canonical()
    }

    /// The shape of the view.
    pub fn shape(&self) -> Vec<usize> {
        self.axes.iter().map(|digits| digits.iter().product()).collect()
    }

    /// The shape of the array that is viewed.
    pub fn source(&self) -> &[usize] {
        &self.source
    }

    /// The digits of each axis, most significant first; none for an extent of 1.
    pub fn axes(&self) -> &[Vec<usize>] {
        &self.axes
    }

    /// The index of each source axis, over the digits of all axes in order.
    pub fn rows(&self) -> &[Affine] {
        &self.rows
    }

    /// The extents of all digits in order.
    pub fn digits(&self) -> Vec<usize> {
        self.axes.iter().flatten().copied().collect()
    }

    /// Whether the view has no element.
    pub fn is_empty(&self) -> bool {
        self.axes.iter().flatten().any(|&extent| extent == 0)
    }

    /// Whether the view is the array.
    pub fn is_identity(&self) -> bool {
        *self == IndexMap::identity(&self.source)
    }

    /// Whether different points read different elements; `false` also where that is not seen.
    pub fn is_injective(&self) -> bool {
        let digits = self.digits();
        let mut known = vec![false; digits.len()];
        loop {
            let before = known.iter().filter(|&&k| k).count();
            for row in &self.rows {
                let mut open: Vec<(i64, usize)> =
                    row.terms.iter().filter(|(v, _)| !known[*v]).map(|&(v, c)| (c.abs(), v)).collect();
                open.sort_unstable();
                let mut reach = 0;
                let separated = open.iter().all(|&(coefficient, v)| {
                    let apart = coefficient > reach;
                    reach += coefficient * (to_i64(digits[v]) - 1);
                    apart
                });
                if separated {
                    open.iter().for_each(|&(_, v)| known[v] = true);
                }
            }
            let after = known.iter().filter(|&&k| k).count();
            if after == digits.len() {
                return true;
            }
            if after == before {
                return false;
            }
        }
    }

    /// Whether axis `axis` of the view appears in an index.
    pub fn uses_axis(&self, axis: usize) -> bool {
        let first: usize = self.axes[..axis].iter().map(Vec::len).sum();
        let range = first..first + self.axes[axis].len();
        self.rows.iter().any(|row| row.terms.iter().any(|(v, _)| range.contains(v)))
    }

    /// The least and greatest index along `axis` of the source.
    pub fn range(&self, axis: usize) -> (i64, i64) {
        bounds(&self.rows[axis], &self.digits())
    }

    /// `self ∘ inner`: a view `self` of a view `inner` of an array, as one view of the array.
    /// `None` where the radices do not agree.
    pub fn compose(&self, inner: &IndexMap) -> Option<IndexMap> {
        if self.source != inner.shape() {
            return None;
        }
        if self.is_empty() {
            return Some(IndexMap {
                axes: self.axes.clone(),
                source: inner.source.clone(),
                rows: vec![Affine::constant(0); inner.source.len()],
            });
        }
        let mut outer = self.clone();
        for _ in 0..REFINEMENTS {
            match outer.decompose(&inner.axes) {
                Ok(values) => {
                    let rows = inner.rows.iter().map(|row| row.substitute(|v| values[v].clone())).collect();
                    return Some(IndexMap { axes: outer.axes, source: inner.source.clone(), rows }.canonical());
                }
                Err(Some((digit, low))) => outer = outer.split_digit(digit, low),
                Err(None) => return None,
            }
        }
        None
    }

    /// Each digit of the source's axes as an affine form. `Err(Some((digit, low)))` asks for a
    /// digit of this map to be split with `low` as its lower part.
    fn decompose(&self, axes: &[Vec<usize>]) -> Result<Vec<Affine>, Option<(usize, usize)>> {
        let digits = self.digits();
        let mut values = Vec::new();
        for (row, radices) in self.rows.iter().zip(axes) {
            let mut rest = row.clone();
            for (at, _) in radices.iter().enumerate() {
                let below: usize = radices[at + 1..].iter().product();
                if below == 1 {
                    values.push(rest.clone());
                    break;
                }
                let (quotient, remainder) = divide(&rest, to_i64(below), &digits)?;
                values.push(quotient);
                rest = remainder;
            }
        }
        Ok(values)
    }

    /// Digit `digit` of extent n written as two, n/low and low.
    fn split_digit(&self, digit: usize, low: usize) -> IndexMap {
        let mut axes = self.axes.clone();
        let mut at = digit;
        for digits in &mut axes {
            if at < digits.len() {
                digits[at] /= low;
                digits.insert(at + 1, low);
                break;
            }
            at -= digits.len();
        }
        let rows = self
            .rows
            .iter()
            .map(|row| {
                row.substitute(|v| match v.cmp(&digit) {
                    std::cmp::Ordering::Less => Affine::variable(v),
                    std::cmp::Ordering::Equal => Affine::new(0, [(digit, to_i64(low)), (digit + 1, 1)]),
                    std::cmp::Ordering::Greater => Affine::variable(v + 1),
                })
            })
            .collect();
        IndexMap { axes, source: self.source.clone(), rows }
    }

    /// The same map over finer digits; `None` if `axes` does not refine this map's digits.
    pub fn refine(&self, axes: &[Vec<usize>]) -> Option<Vec<Affine>> {
        let identity: Vec<Affine> = {
            let mut forms = Vec::new();
            let mut first = 0;
            for digits in axes {
                let mut sum = Affine::constant(0);
                let mut weight = 1;
                for (at, &extent) in digits.iter().enumerate().rev() {
                    sum = sum.plus(&Affine::new(0, [(first + at, weight)]));
                    weight *= to_i64(extent);
                }
                forms.push(sum);
                first += digits.len();
            }
            forms
        };
        let fine = IndexMap { axes: axes.to_vec(), source: self.shape(), rows: identity };
        let values = fine.decompose(&self.axes).ok()?;
        Some(self.rows.iter().map(|row| row.substitute(|v| values[v].clone())).collect())
    }

    /// Drops digits of extent 1 and joins neighbours that every row reads as one.
    fn canonical(self) -> IndexMap {
        if self.axes.iter().flatten().any(|&extent| extent == 0) {
            let axes = self
                .axes
                .iter()
                .map(|digits| match digits.iter().product::<usize>() {
                    1 => Vec::new(),
                    extent => vec![extent],
                })
                .collect();
            let rows = vec![Affine::constant(0); self.source.len()];
            return IndexMap { axes, source: self.source, rows };
        }
        let mut axes: Vec<Vec<usize>> = Vec::with_capacity(self.axes.len());
        // For each old digit, its part in the new digits: (new digit, weight), or nothing.
        let mut place: Vec<Option<(usize, i64)>> = Vec::new();
        let (mut first_new, mut first_old) = (0, 0);
        for digits in &self.axes {
            let mut merged: Vec<usize> = Vec::new();
            // The last digit of the group that is being built, from the least significant end.
            let mut groups: Vec<Vec<usize>> = Vec::new();
            for at in (0..digits.len()).rev() {
                let old = first_old + at;
                if digits[at] == 1 {
                    continue;
                }
                let joins = groups.last().is_some_and(|group: &Vec<usize>| {
                    let lower = group[0];
                    let extent: usize = group.iter().map(|&g| digits[g - first_old]).product();
                    self.rows.iter().all(|row| row.coefficient(old) == row.coefficient(lower) * to_i64(extent))
                });
                match groups.last_mut() {
                    Some(group) if joins => group.push(old),
                    _ => groups.push(vec![old]),
                }
            }
            groups.reverse();
            place.resize(first_old + digits.len(), None);
            for (at, group) in groups.iter().enumerate() {
                merged.push(group.iter().map(|&g| digits[g - first_old]).product());
                // Every row reads the group as its lowest digit's coefficient times the whole.
                place[group[0]] = Some((first_new + at, 1));
            }
            first_new += merged.len();
            first_old += digits.len();
            axes.push(merged);
        }
        let rows = self
            .rows
            .iter()
            .map(|row| {
                let terms = row.terms.iter().filter_map(|&(v, c)| place[v].map(|(new, weight)| (new, c * weight)));
                Affine::new(row.constant, terms)
            })
            .collect();
        IndexMap { axes, source: self.source, rows }
    }

    // NumPy's views.

    /// `np.transpose(a, axes)`.
    pub fn transpose(shape: &[usize], axes: &[usize]) -> Option<IndexMap> {
        let mut place = vec![None; shape.len()];
        for (result, &axis) in axes.iter().enumerate() {
            let slot: &mut Option<usize> = place.get_mut(axis)?;
            if slot.replace(result).is_some() {
                return None;
            }
        }
        let rows = place.into_iter().map(|at| at.map(Affine::variable)).collect::<Option<Vec<_>>>()?;
        let result: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
        IndexMap::over(&result, shape, rows)
    }

    /// NumPy's broadcasting of `shape` to `result`.
    pub fn broadcast(shape: &[usize], result: &[usize]) -> Option<IndexMap> {
        let lead = result.len().checked_sub(shape.len())?;
        let rows = shape
            .iter()
            .enumerate()
            .map(|(axis, &extent)| match (extent, result[lead + axis]) {
                (n, m) if n == m => Some(Affine::variable(lead + axis)),
                (1, _) => Some(Affine::constant(0)),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()?;
        IndexMap::over(result, shape, rows)
    }

    /// Row-major reshape; `None` where the radices do not agree.
    pub fn reshape(shape: &[usize], result: &[usize]) -> Option<IndexMap> {
        if shape.iter().product::<usize>() != result.iter().product::<usize>() {
            return None;
        }
        if result.contains(&0) {
            return IndexMap::new(
                result.iter().map(|&n| vec![n]).collect(),
                shape.to_vec(),
                vec![Affine::constant(0); shape.len()],
            );
        }
        // The ravel of the source over one flat axis, read through the ravel of the result.
        let flat: usize = shape.iter().product();
        let ravel = |of: &[usize]| {
            let mut weight = 1;
            let mut row = Affine::constant(0);
            for (axis, &extent) in of.iter().enumerate().rev() {
                row = row.plus(&Affine::new(0, [(axis, weight)]));
                weight *= to_i64(extent);
            }
            row
        };
        let outer = IndexMap::over(result, &[flat], vec![ravel(result)])?;
        let inner =
            IndexMap::new(vec![shape.to_vec()], shape.to_vec(), (0..shape.len()).map(Affine::variable).collect())?;
        outer.compose(&inner)
    }

    /// Basic slicing: result axis j reads `starts[j] + steps[j]·i`.
    pub fn slice(shape: &[usize], starts: &[i64], steps: &[i64], lens: &[usize]) -> Option<IndexMap> {
        if [starts.len(), steps.len(), lens.len()] != [shape.len(); 3] {
            return None;
        }
        let rows = (0..shape.len())
            .map(|axis| Affine::new(if lens[axis] == 0 { 0 } else { starts[axis] }, [(axis, steps[axis])]))
            .collect();
        IndexMap::over(lens, shape, rows)
    }

    /// Integer indexing of one axis, which disappears.
    pub fn index(shape: &[usize], axis: usize, at: usize) -> Option<IndexMap> {
        if axis >= shape.len() || at >= shape[axis] {
            return None;
        }
        let mut result = shape.to_vec();
        result.remove(axis);
        let rows = (0..shape.len())
            .map(|a| match a.cmp(&axis) {
                std::cmp::Ordering::Less => Affine::variable(a),
                std::cmp::Ordering::Equal => Affine::constant(to_i64(at)),
                std::cmp::Ordering::Greater => Affine::variable(a - 1),
            })
            .collect();
        IndexMap::over(&result, shape, rows)
    }

    /// `np.diagonal`: the two axes go, the diagonal comes last.
    pub fn diagonal(shape: &[usize], offset: i64, axis1: usize, axis2: usize) -> Option<IndexMap> {
        if axis1 == axis2 || axis1.max(axis2) >= shape.len() {
            return None;
        }
        let (row, column) = ((-offset).max(0), offset.max(0));
        let len = (to_i64(shape[axis1]) - row).min(to_i64(shape[axis2]) - column).max(0);
        let mut result: Vec<usize> =
            (0..shape.len()).filter(|a| *a != axis1 && *a != axis2).map(|a| shape[a]).collect();
        let last = result.len();
        result.push(usize::try_from(len).ok()?);
        let mut kept = 0;
        let rows = (0..shape.len())
            .map(|a| {
                if a == axis1 {
                    Affine::new(row, [(last, 1)])
                } else if a == axis2 {
                    Affine::new(column, [(last, 1)])
                } else {
                    kept += 1;
                    Affine::variable(kept - 1)
                }
            })
            .collect();
        IndexMap::over(&result, shape, rows)
    }

    /// `np.flip(a, axes)`.
    pub fn flip(shape: &[usize], axes: &[usize]) -> Option<IndexMap> {
        let rows = (0..shape.len())
            .map(|a| match axes.contains(&a) {
                true => Affine::new(to_i64(shape[a]) - 1, [(a, -1)]),
                false => Affine::variable(a),
            })
            .collect();
        IndexMap::over(shape, shape, rows)
    }

    /// `sliding_window_view`: window k reads along `axes[k]`, with extent `extents[k]`.
    pub fn window(shape: &[usize], axes: &[usize], extents: &[usize]) -> Option<IndexMap> {
        if axes.len() != extents.len() {
            return None;
        }
        let mut result = shape.to_vec();
        let mut rows: Vec<Affine> = (0..shape.len()).map(Affine::variable).collect();
        for (k, (&axis, &extent)) in axes.iter().zip(extents).enumerate() {
            let left = result.get(axis)?.checked_sub(extent.checked_sub(1)?)?;
            result[axis] = left;
            rows[axis] = rows[axis].plus(&Affine::variable(shape.len() + k));
        }
        result.extend(extents);
        IndexMap::over(&result, shape, rows)
    }

    /// The part of this map that reads `offset ≤ index < offset + extent` along `axis` of its
    /// source, if all of it does: the map into that part.
    pub fn within(&self, axis: usize, offset: usize, extent: usize) -> Option<IndexMap> {
        if axis >= self.source.len() {
            return None;
        }
        let mut rows = self.rows.clone();
        rows[axis] = rows[axis].offset(-to_i64(offset));
        let mut source = self.source.clone();
        source[axis] = extent;
        IndexMap::new(self.axes.clone(), source, rows)
    }

    /// This map's axes followed by the axes `extra`, which are copied to as many new source axes.
    pub fn extended(&self, extra: &[usize]) -> IndexMap {
        let first: usize = self.axes.iter().map(Vec::len).sum();
        let mut axes = self.axes.clone();
        axes.extend(extra.iter().map(|&n| vec![n]));
        let mut source = self.source.clone();
        source.extend(extra);
        let mut rows = self.rows.clone();
        rows.extend((0..extra.len()).map(|k| Affine::variable(first + k)));
        IndexMap { axes, source, rows }.canonical()
    }

    /// A new first axis of extent `extra`, which is copied to a new first source axis.
    pub fn lifted(&self, extra: usize) -> IndexMap {
        let digits = usize::from(extra != 1);
        let shifted = |row: &Affine| row.substitute(|digit| Affine::variable(digit + digits));
        let mut axes = vec![if extra == 1 { Vec::new() } else { vec![extra] }];
        axes.extend(self.axes.iter().cloned());
        let mut source = vec![extra];
        source.extend(&self.source);
        let first = if extra == 1 { Affine::constant(0) } else { Affine::variable(0) };
        let rows = std::iter::once(first).chain(self.rows.iter().map(shifted)).collect();
        IndexMap { axes, source, rows }.canonical()
    }

    /// The coefficient of the first axis in the only row, and the map at 0 of it over the others; `None`
    /// if there are several rows, or that axis has several digits.
    pub fn without_first(&self) -> Option<(i64, IndexMap)> {
        let ([row], [first, rest @ ..]) = (self.rows.as_slice(), self.axes.as_slice()) else { return None };
        let digits = first.len();
        if digits > 1 {
            return None;
        }
        let stride = if digits == 1 { row.coefficient(0) } else { 0 };
        let others = row.terms.iter().filter(|term| term.0 >= digits).map(|&(v, c)| (v - digits, c));
        let row = Affine::new(row.constant, others);
        Some((stride, IndexMap::new(rest.to_vec(), self.source.clone(), vec![row])?))
    }

    /// For an array of shape b ⧺ ⟨n⟩ ⧺ c that is indexed by one of b ⧺ k: the view of the first of
    /// shape ⟨n⟩ ⧺ b ⧺ k ⧺ c, and that of the second of b ⧺ k ⧺ c.
    pub fn gather(shape: &[usize], indices: &[usize], batch: usize) -> Option<(IndexMap, IndexMap)> {
        if batch >= shape.len() || shape.get(..batch) != indices.get(..batch) {
            return None;
        }
        let result: Vec<usize> = indices.iter().chain(&shape[batch + 1..]).copied().collect();
        let whole: Vec<usize> = std::iter::once(shape[batch]).chain(result.iter().copied()).collect();
        let rows = (0..shape.len())
            .map(|axis| match axis.cmp(&batch) {
                std::cmp::Ordering::Less => Affine::variable(axis + 1),
                std::cmp::Ordering::Equal => Affine::variable(0),
                std::cmp::Ordering::Greater => Affine::variable(indices.len() + axis - batch),
            })
            .collect();
        let index = (0..indices.len()).map(Affine::variable).collect();
        Some((IndexMap::over(&whole, shape, rows)?, IndexMap::over(&result, indices, index)?))
    }

    /// The map over the axes listed, in that order; `None` if a row uses another axis, or if the map had no points only for
    /// one that is not listed: of an array without elements, nothing can be read.
    pub fn select_axes(&self, keep: &[usize]) -> Option<IndexMap> {
        let first: Vec<usize> = self
            .axes
            .iter()
            .scan(0, |sum, digits| {
                let at = *sum;
                *sum += digits.len();
                Some(at)
            })
            .collect();
        let mut renumber = vec![None; self.digits().len()];
        let mut next = 0;
        for &axis in keep {
            for digit in 0..self.axes.get(axis)?.len() {
                renumber[first[axis] + digit] = Some(next);
                next += 1;
            }
        }
        let rows = self
            .rows
            .iter()
            .map(|row| {
                let terms = row.terms.iter().map(|&(v, c)| renumber[v].map(|new| (new, c)));
                Some(Affine::new(row.constant, terms.collect::<Option<Vec<_>>>()?))
            })
            .collect::<Option<Vec<_>>>()?;
        let axes = keep.iter().map(|&axis| self.axes[axis].clone()).collect();
        IndexMap::new(axes, self.source.clone(), rows)
    }
}

impl fmt::Display for IndexMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axes: Vec<String> = self.axes.iter().map(|digits| join(digits, "*")).collect();
        let rows: Vec<String> = self.rows.iter().map(Affine::to_string).collect();
        write!(f, "<{}> -> <{}> of <{}>", axes.join(" "), rows.join(" "), join(&self.source, " "))
    }
}

impl IndexMap {
    /// The map as one word, as in egglog terms: `axes|source|rows`; the inverse of
    /// [`IndexMap::from_text`].
    pub fn to_text(&self) -> String {
        let axes = list_text(self.axes.iter().map(|digits| join(digits, "*")));
        let source = list_text(self.source.iter().map(usize::to_string));
        let rows = list_text(self.rows.iter().map(|row| {
            let terms: Vec<String> = row.terms.iter().map(|(v, c)| format!(":{v}={c}")).collect();
            format!("{}{}", row.constant, terms.concat())
        }));
        format!("{axes}|{source}|{rows}")
    }

    /// Reads [`IndexMap::to_text`]; `None` if `text` is not a map.
    pub fn from_text(text: &str) -> Option<IndexMap> {
        let mut parts = text.split('|');
        let (axes, source, rows) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let axes = list_items(axes)
            .map(|item| item.split('*').map(|n| n.parse().ok()).collect())
            .collect::<Option<Vec<Vec<usize>>>>()?;
        let source = list_items(source).map(|n| n.parse().ok()).collect::<Option<Vec<usize>>>()?;
        let digits: usize = axes.iter().map(Vec::len).sum();
        // Digits of extent 1 are written out where an axis has no other; their variables are not.
        let mut renumber = Vec::new();
        let mut at = 0;
        for axis in &axes {
            for &extent in axis {
                if axis.len() > 1 || extent != 1 {
                    renumber.push(at);
                }
                at += 1;
            }
        }
        let rows = list_items(rows)
            .map(|item| {
                let mut parts = item.split(':');
                let constant = parts.next()?.parse().ok()?;
                let terms = parts
                    .map(|term| {
                        let (v, c) = term.split_once('=')?;
                        let v: usize = v.parse().ok()?;
                        Some((*renumber.get(v)?, c.parse().ok()?))
                    })
                    .collect::<Option<Vec<(usize, i64)>>>()?;
                Some(Affine::new(constant, terms))
            })
            .collect::<Option<Vec<_>>>()?;
        (renumber.len() <= digits).then(|| IndexMap::new(axes, source, rows))?
    }
}

/// `items` separated by commas, `-` for none: the inverse of [`list_items`].
pub(crate) fn list_text(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    if items.is_empty() { "-".to_owned() } else { items.join(",") }
}

/// The items of a list as [`list_text`] writes it.
pub(crate) fn list_items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(move |_| text != "-")
}

/// The coarsest digits that refine each of the given digits of one axis; `None` if there are none.
pub fn common_refinement<'a>(digits: impl IntoIterator<Item = &'a [usize]>) -> Option<Vec<usize>> {
    let mut products: Vec<usize> = vec![1];
    for list in digits {
        let mut product: usize = 1;
        for &extent in list.iter().rev() {
            if extent == 0 {
                return Some(vec![0]);
            }
            product *= extent;
            products.push(product);
        }
    }
    products.sort_unstable();
    products.dedup();
    let mut result = products
        .windows(2)
        .map(|pair| (pair[1] % pair[0] == 0).then(|| pair[1] / pair[0]))
        .collect::<Option<Vec<usize>>>()?;
    result.reverse();
    Some(result)
}

/// `form = quotient · by + remainder` with `0 ≤ remainder < by` everywhere, or which digit to
/// split, if that would help.
fn divide(form: &Affine, by: i64, digits: &[usize]) -> Result<(Affine, Affine), Option<(usize, usize)>> {
    let multiple = |c: i64| c % by == 0;
    let quotient = Affine::new(
        form.constant.div_euclid(by),
        form.terms.iter().filter(|(_, c)| multiple(*c)).map(|&(v, c)| (v, c / by)),
    );
    let remainder =
        Affine::new(form.constant.rem_euclid(by), form.terms.iter().filter(|(_, c)| !multiple(*c)).copied());
    let (low, high) = bounds(&remainder, digits);
    if low >= 0 && high < by {
        return Ok((quotient, remainder));
    }
    let split = remainder.terms.iter().find_map(|&(v, c)| {
        let low = usize::try_from(by / c.abs()).ok()?;
        (by % c.abs() == 0 && low > 1 && low < digits[v] && digits[v].is_multiple_of(low)).then_some((v, low))
    });
    Err(split)
}

fn bounds(form: &Affine, digits: &[usize]) -> (i64, i64) {
    form.bounds(|v| (0, (to_i64(digits[v]) - 1).max(0)))
}

fn to_i64(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn join(numbers: &[usize], by: &str) -> String {
    if numbers.is_empty() {
        return "1".to_owned();
    }
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(by)
}
