//! The loops' axes taken off again: from the form of a lifted statement to definitions inside the loops.
//!
//! An axis that every reader indexes by one form in loop variables alone is that iteration's: it goes, and the form
//! takes its place. What a reader needs of the others bounds their ranges, so that nothing beyond the live extent of
//! a slice is computed or read.

use super::lift::{Around, Leaf};
use crate::form::normal_form::{Def, NormalForm, Piece};
use crate::form::scalar_tree::{Access, Gather, Scalar, ScalarNode, ScalarOp, Source};
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_variable, row_major};
use crate::normalize::NormalizeError;
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::BinaryOp;

/// What the lifted form of one statement is inside its loops.
pub(super) struct Stripped {
    /// Definitions in order; the results last, in the order of the form's outputs.
    pub(super) defs: Vec<Def>,
    /// For each output, its definition.
    pub(super) outputs: Vec<usize>,
    /// For each axis of the (only) result inside loops, its index over the result definition's axes.
    pub(super) result: Vec<Affine>,
    /// The statement is executed where all of these are ≥ 0.
    pub(super) conditions: Vec<Affine>,
}

/// How a definition is read.
struct Use {
    /// Index of each axis; `None` for a read by the flat offset.
    index: Option<Vec<Affine>>,
    /// The reader's domain.
    domain: Vec<Range>,
}

/// Strips `form`. `live`: for each axis of the result how many indices exist, over loops' numbers; empty if all do.
///
/// # Errors
/// Where a loop's axis was torn apart by a reshape.
pub(super) fn strip(
    form: &NormalForm,
    leaves: &[Leaf],
    around: &[Around],
    live: &[Affine],
) -> Result<Stripped, NormalizeError> {
    let prepared;
    let form = if around.is_empty() {
        form
    } else {
        prepared = with_whole_results(with_masks_at_readers(form), around.len());
        &prepared
    };
    let mut strip = Strip { form, leaves, around, uses: Vec::new(), done: vec![None; form.defs.len()] };
    strip.uses.resize_with(form.defs.len(), Vec::new);
    let mut conditions = Vec::new();
    let mut result = Vec::new();
    for id in (0..form.defs.len()).rev() {
        if form.outputs.contains(&id) && !around.is_empty() {
            strip.output(id, live, &mut conditions, &mut result)?;
        } else if around.is_empty() {
            strip.whole(id)?;
        } else {
            strip.internal(id)?;
        }
    }
    let defs =
        strip.done.into_iter().enumerate().map(|(id, def)| def.ok_or(unbuildable(id))).collect::<Result<_, _>>()?;
    Ok(Stripped { defs, outputs: form.outputs.clone(), result, conditions })
}

fn unbuildable(class: usize) -> NormalizeError {
    NormalizeError::Unbuildable { class }
}

/// A form over loops' numbers as one over their variables.
pub(super) fn over_loops(form: &Affine) -> Affine {
    form.substitute(|v| Affine::variable(loop_variable(v)))
}

struct Strip<'a> {
    form: &'a NormalForm,
    leaves: &'a [Leaf],
    around: &'a [Around],
    uses: Vec<Vec<Use>>,
    done: Vec<Option<Def>>,
}

impl Strip<'_> {
    /// The axes of each dimension of a definition's shape; digits of extent 1 belong to none.
    fn digits(def: &Def) -> Option<Vec<Vec<usize>>> {
        let mut digits = def.axes.iter().enumerate().filter(|(_, extent)| **extent != 1);
        let mut groups = Vec::new();
        for &extent in &def.shape {
            let (mut group, mut product) = (Vec::new(), 1);
            while product < extent {
                let (axis, digit) = digits.next()?;
                group.push(axis);
                product *= digit;
            }
            groups.push(group);
        }
        Some(groups)
    }

    /// The result of a statement inside loops: its shape is the loops' extents and its own.
    fn output(
        &mut self,
        id: usize,
        live: &[Affine],
        conditions: &mut Vec<Affine>,
        result: &mut Vec<Affine>,
    ) -> Result<(), NormalizeError> {
        let def = &self.form.defs[id];
        if def.axes.contains(&0) {
            // Nothing is ever computed.
            let empty = Def { update: None, scope: Vec::new(), ..def.clone() };
            conditions.push(Affine::constant(-1));
            result.extend(def.shape.iter().skip(self.around.len()).map(|_| Affine::constant(0)));
            self.done[id] = Some(empty);
            return Ok(());
        }
        let groups = Strip::digits(def).ok_or(unbuildable(id))?;
        let mut by: Vec<Option<Affine>> = vec![None; def.axes.len()];
        for (axis, _) in def.axes.iter().enumerate().filter(|(_, extent)| **extent == 1) {
            by[axis] = Some(Affine::constant(0));
        }
        for (group, around) in groups.iter().zip(self.around) {
            match group.as_slice() {
                [] => {}
                [axis] => by[*axis] = Some(Affine::variable(loop_variable(around.var)).offset(-around.min)),
                _ => return Err(unbuildable(id)),
            }
        }
        let kept: Vec<usize> = (0..def.axes.len()).filter(|&axis| by[axis].is_none()).collect();
        let position = |axis: usize| kept.iter().position(|&k| k == axis);
        let mut bounds: Vec<(Vec<Affine>, Vec<Affine>)> = vec![(Vec::new(), Vec::new()); kept.len()];
        for (at, group) in groups.iter().skip(self.around.len()).enumerate() {
            let mut index = Affine::constant(0);
            let mut weight = 1;
            for &axis in group.iter().rev() {
                index = index.plus(&Affine::new(0, [(position(axis).ok_or(unbuildable(id))?, weight)]));
                weight *= to_i64(def.axes[axis]);
            }
            let extent = def.shape.get(self.around.len() + at).copied().unwrap_or(1);
            if let Some(live) = live.get(at)
                && *live != Affine::constant(to_i64(extent))
            {
                match group.as_slice() {
                    [] => conditions.push(over_loops(live).offset(-1)),
                    [axis] => bounds[position(*axis).ok_or(unbuildable(id))?].1.push(over_loops(live)),
                    _ => return Err(unbuildable(id)),
                }
            }
            result.push(index);
        }
        self.rewrite(id, &by, &bounds)
    }

    /// A definition of a statement outside all loops.
    fn whole(&mut self, id: usize) -> Result<(), NormalizeError> {
        let axes = self.form.defs[id].axes.len();
        self.rewrite(id, &vec![None; axes], &vec![(Vec::new(), Vec::new()); axes])
    }

    /// A definition that only others read.
    fn internal(&mut self, id: usize) -> Result<(), NormalizeError> {
        let def = &self.form.defs[id];
        let mut by: Vec<Option<Affine>> = vec![None; def.axes.len()];
        // Without elements, all indices are 0, and say nothing of an axis. Where an iteration decides which piece it reads,
        // the axis stays, and its ranges are narrowed to that iteration.
        let goes = |axis: usize| !def.axes.contains(&0) && is_whole_along(def, axis);
        for (axis, slot) in by.iter_mut().enumerate().filter(|(axis, _)| goes(*axis)) {
            let mut forms = self.uses[id].iter().map(|read| read.index.as_ref().and_then(|index| index.get(axis)));
            if let Some(Some(first)) = forms.next()
                && first.terms.iter().all(|term| crate::integer::range::loop_of(term.0).is_some())
                && forms.all(|form| form == Some(first))
            {
                *slot = Some(first.clone());
            }
        }
        let kept: Vec<usize> = (0..def.axes.len()).filter(|&axis| by[axis].is_none()).collect();
        let bounds = kept.iter().map(|&axis| self.needed(id, axis)).collect::<Vec<_>>();
        self.rewrite(id, &by, &bounds)
    }

    /// Bounds of the indices along `axis` that readers need, over loop variables; none where they are not affine.
    fn needed(&self, id: usize, axis: usize) -> (Vec<Affine>, Vec<Affine>) {
        let mut found: Option<(Vec<Affine>, Vec<Affine>)> = None;
        for read in &self.uses[id] {
            let Some(form) = read.index.as_ref().and_then(|index| index.get(axis)) else {
                return (Vec::new(), Vec::new());
            };
            let high: Vec<Affine> = extreme(form, &read.domain, true).into_iter().map(|form| form.offset(1)).collect();
            let low = extreme(form, &read.domain, false);
            found = Some(match found {
                None => (low, high),
                Some((lows, highs)) => (union(lows, low, false), union(highs, high, true)),
            });
        }
        found.unwrap_or_default()
    }

    /// The definition with `by` for some axes and further bounds for the others.
    fn rewrite(
        &mut self,
        id: usize,
        by: &[Option<Affine>],
        bounds: &[(Vec<Affine>, Vec<Affine>)],
    ) -> Result<(), NormalizeError> {
        let def = &self.form.defs[id];
        let points = def.axes.len();
        let mut next = 0;
        let place: Vec<Affine> = by
            .iter()
            .map(|form| {
                form.clone().unwrap_or_else(|| {
                    next += 1;
                    Affine::variable(next - 1)
                })
            })
            .collect();
        let kept: Vec<usize> = (0..points).filter(|&axis| by[axis].is_none()).collect();
        let rename = |form: &Affine| {
            form.substitute(|v| match place.get(v) {
                Some(form) => form.clone(),
                None => Affine::variable(v - points + kept.len()),
            })
        };
        let mut pieces = Vec::with_capacity(def.pieces.len());
        for piece in &def.pieces {
            let mut domain = Vec::new();
            for (axis, range) in piece.domain.iter().enumerate() {
                if axis < points && by[axis].is_some() {
                    // Pieces are not told apart by an iteration.
                    if range.as_constant() != Some((0, to_i64(def.axes[axis]))) {
                        return Err(unbuildable(id));
                    }
                    continue;
                }
                let mut range =
                    Range { lo: range.lo.iter().map(rename).collect(), hi: range.hi.iter().map(rename).collect() };
                if let Some((lo, hi)) = kept.iter().position(|&k| k == axis).and_then(|at| bounds.get(at)) {
                    for (list, more) in [(&mut range.lo, lo), (&mut range.hi, hi)] {
                        list.extend(more.iter().filter(|form| !form.is_constant()).cloned());
                        list.dedup();
                    }
                }
                domain.push(range);
            }
            let mut nodes = Vec::with_capacity(piece.value.nodes.len());
            for node in &piece.value.nodes {
                let op = match &node.op {
                    ScalarOp::Load(source, access) => self.load(id, piece, (*source, access), &rename)?,
                    ScalarOp::Index(form) => ScalarOp::Index(rename(form)),
                    op @ (ScalarOp::Const(_)
                    | ScalarOp::Unary(..)
                    | ScalarOp::Binary(..)
                    | ScalarOp::Where(..)
                    | ScalarOp::Cast(_)) => op.clone(),
                };
                if let (ScalarOp::Load(Source::Param(at), _), ScalarOp::Load(_, Access::Axes(index))) = (&node.op, &op)
                {
                    self.keep_inside(*at, index, &mut domain[..kept.len()]);
                }
                nodes.push(ScalarNode { op, dtype: node.dtype });
            }
            let piece =
                unmask(Piece { domain, fold: piece.fold, depth: piece.depth, value: Scalar { nodes } }, kept.len());
            for node in &piece.value.nodes {
                if let ScalarOp::Load(Source::Def(read), access) = &node.op {
                    let index = match access {
                        Access::Axes(index) => Some(index.clone()),
                        Access::Flat(_) | Access::Gather(_) => None,
                    };
                    self.uses[*read].push(Use { index, domain: piece.domain.clone() });
                }
            }
            pieces.push(piece);
        }
        let axes: Vec<usize> = kept.iter().map(|&axis| def.axes[axis]).collect();
        let shape = if self.around.is_empty() { def.shape.clone() } else { axes.clone() };
        // Readers index what is left.
        let name = def.name.clone();
        self.forget_axes(id, by);
        self.done[id] = Some(Def { name, dtype: def.dtype, shape, axes, pieces, update: None, scope: Vec::new() });
        Ok(())
    }

    /// Bounds a domain by the arrays it reads: beyond them lie only the parameters' margins, which nobody needs.
    fn keep_inside(&self, at: usize, index: &[Affine], domain: &mut [Range]) {
        let Some(leaf) = self.leaves.get(at) else { return };
        for (dimension, form) in index.iter().enumerate() {
            let extent = leaf.shape[dimension];
            if self.form.params[at].shape[dimension] == extent {
                continue;
            }
            let axes: Vec<(usize, i64)> =
                form.terms.iter().copied().filter(|term| crate::integer::range::loop_of(term.0).is_none()).collect();
            if let [(axis, 1)] = axes.as_slice()
                && let Some(range) = domain.get_mut(*axis)
            {
                let rest = form.minus(&Affine::variable(*axis));
                let (low, high) = (rest.times(-1), rest.times(-1).offset(to_i64(extent)));
                if !range.lo.contains(&low) {
                    range.lo.push(low);
                }
                if !range.hi.contains(&high) {
                    range.hi.push(high);
                }
            }
        }
    }

    /// Takes the axes that went out of the readers' indices.
    fn forget_axes(&mut self, id: usize, by: &[Option<Affine>]) {
        for def in self.done.iter_mut().flatten() {
            for node in def.pieces.iter_mut().flat_map(|piece| &mut piece.value.nodes) {
                if let ScalarOp::Load(Source::Def(read), Access::Axes(index)) = &mut node.op
                    && *read == id
                {
                    let mut axis = 0;
                    index.retain(|_| {
                        axis += 1;
                        by[axis - 1].is_none()
                    });
                }
            }
        }
    }

    /// Whether a parameter has no margins on either side.
    fn is_whole(&self, at: usize, leaf: &Leaf) -> bool {
        self.form.params.get(at).is_some_and(|param| param.shape == leaf.shape)
    }

    fn load(
        &self,
        id: usize,
        piece: &Piece,
        (source, access): (Source, &Access),
        rename: &dyn Fn(&Affine) -> Affine,
    ) -> Result<ScalarOp, NormalizeError> {
        let Source::Param(at) = source else {
            let rank = self.form.source_extents(source).map_or(0, <[usize]>::len);
            let access = match access {
                Access::Axes(index) => Access::Axes(index.iter().map(rename).collect()),
                // The offset into an array of one axis is the index.
                Access::Flat(offset) if rank == 1 => Access::Axes(vec![rename(offset)]),
                Access::Flat(offset) => Access::Flat(rename(offset)),
                Access::Gather(gather) => Access::Gather(Gather { offset: rename(&gather.offset), ..gather.clone() }),
            };
            return Ok(ScalarOp::Load(source, access));
        };
        let leaf = self.leaves.get(at).ok_or(unbuildable(id))?;
        let access = match access {
            Access::Axes(index) => Access::Axes(
                index.iter().zip(&leaf.margins).map(|(form, margin)| rename(form).offset(-margin)).collect(),
            ),
            Access::Flat(offset) if self.is_whole(at, leaf) => Access::Flat(rename(offset)),
            Access::Gather(gather) if self.is_whole(at, leaf) => {
                Access::Gather(Gather { offset: rename(&gather.offset), ..gather.clone() })
            }
            Access::Gather(gather) => {
                let with_margins = self.form.params.get(at).ok_or(unbuildable(id))?;
                let gather = without_margins(gather, piece, &with_margins.shape, leaf).ok_or(unbuildable(id))?;
                Access::Gather(Gather { offset: rename(&gather.offset), ..gather })
            }
            Access::Flat(_) => return Err(unbuildable(id)),
        };
        Ok(ScalarOp::Load(leaf.source, access))
    }
}

/// A gather from an array with margins, as one from the array itself. `None` where the index on each axis cannot be told
/// from the offset: it can where all stay inside the margins, as the digits of a number can, and one axis is gathered.
fn without_margins(gather: &Gather, piece: &Piece, padded: &[usize], leaf: &Leaf) -> Option<Gather> {
    let ranges = piece.domain.iter().map(Range::as_constant).collect::<Option<Vec<_>>>()?;
    // Without a point nothing is read, wherever it is.
    if ranges.iter().any(|(lo, hi)| lo >= hi) {
        return Some(Gather { offset: Affine::constant(0), stride: 0, at: gather.at });
    }
    // An array without elements has no offsets.
    if padded.contains(&0) {
        return None;
    }
    let value = gather.bounds(|at| piece.value.nodes.get(at))?;
    let strides = |shape: &[usize]| row_major(&shape.iter().map(|&n| to_i64(n)).collect::<Vec<_>>());
    let (outer, inner) = (strides(padded), strides(&leaf.shape));
    // Where everything is least, the offset is a number whose digits are the indices.
    let least = |variable: usize| ranges.get(variable).map_or(0, |range| range.0);
    let mut rest = gather.offset.evaluate(least) + gather.stride * value.0;
    let first: Vec<i64> = outer
        .iter()
        .map(|&stride| {
            let digit = rest.div_euclid(stride);
            rest -= digit * stride;
            digit
        })
        .collect();
    let width = |variable: usize| ranges.get(variable).map_or(0, |range| range.1 - 1 - range.0);
    let mut choices = vec![steps(gather.stride, value.1 - value.0, &outer, padded)];
    choices[0].retain(|picked| picked.iter().filter(|&&step| step != 0).count() == 1);
    choices.extend(gather.offset.terms.iter().map(|&(v, coefficient)| steps(coefficient, width(v), &outer, padded)));
    let placed = |chosen: &[Vec<i64>]| {
        let (picked, chosen) = chosen.split_first()?;
        let mut offset = Affine::constant(0);
        for axis in 0..padded.len() {
            let mut index = Affine::constant(first[axis]);
            for (&(variable, _), steps) in gather.offset.terms.iter().zip(chosen) {
                let step = steps[axis];
                index = index.plus(&Affine::new(-step * least(variable), [(variable, step)]));
            }
            index = index.offset(-picked[axis] * value.0);
            let range = |variable: usize| ranges.get(variable).map_or((0, 0), |range| (range.0, range.1 - 1));
            let (low, high) = index.bounds(range);
            let moved = [picked[axis] * value.0, picked[axis] * value.1];
            let (low, high) = (low + moved[0].min(moved[1]), high + moved[0].max(moved[1]));
            if low < 0 || high >= to_i64(padded[axis]) {
                return None;
            }
            offset = offset.plus(&index.offset(-leaf.margins[axis]).times(inner[axis]));
        }
        let along = picked.iter().position(|&step| step != 0)?;
        Some(Gather { offset, stride: picked[along] * inner[along], at: gather.at })
    };
    // Digits inside their extents are the number's only ones: whatever fits is right.
    products(&choices).iter().find_map(|chosen| placed(chosen))
}

/// What a step of a variable may be on each axis, so that its coefficient is Σ step·stride and `width` steps stay inside
/// the extents: each digit of the coefficient rounded down or up, the rest on the axes after it.
fn steps(coefficient: i64, width: i64, strides: &[i64], extents: &[usize]) -> Vec<Vec<i64>> {
    let ([stride, strides @ ..], [extent, extents @ ..]) = (strides, extents) else {
        return if coefficient == 0 { vec![Vec::new()] } else { Vec::new() };
    };
    let down = coefficient.div_euclid(*stride);
    let exact = coefficient.rem_euclid(*stride) == 0;
    let digits = if exact { vec![down] } else { vec![down, down + 1] };
    let mut all = Vec::new();
    for digit in digits.into_iter().filter(|digit| digit.abs() * width < to_i64(*extent)) {
        let rest = steps(coefficient - digit * stride, width, strides, extents);
        all.extend(rest.into_iter().map(|rest| [vec![digit], rest].concat()));
    }
    all
}

/// The ways to choose one of each list, the first few thousand.
fn products<T: Clone>(lists: &[Vec<T>]) -> Vec<Vec<T>> {
    const MOST: usize = 4096;
    lists.iter().fold(vec![Vec::new()], |chosen: Vec<Vec<T>>, list| {
        let with = |one: &Vec<T>| {
            list.iter().map(|next| [one.as_slice(), std::slice::from_ref(next)].concat()).collect::<Vec<_>>()
        };
        chosen.iter().flat_map(with).take(MOST).collect()
    })
}

/// The least or greatest value of `form` over a domain, as forms over loop variables of which the greatest (for the
/// least value) or least (for the greatest value) counts.
fn extreme(form: &Affine, domain: &[Range], greatest: bool) -> Vec<Affine> {
    const MOST: usize = 8;
    let innermost = (0..domain.len()).rev().find(|&axis| form.coefficient(axis) != 0);
    let Some(axis) = innermost else { return vec![form.clone()] };
    let range = &domain[axis];
    let upper = (form.coefficient(axis) > 0) == greatest;
    let ends: Vec<Affine> =
        if upper { range.hi.iter().map(|form| form.offset(-1)).collect() } else { range.lo.clone() };
    let mut all = Vec::new();
    for end in ends {
        let replaced = form.substitute(|v| if v == axis { end.clone() } else { Affine::variable(v) });
        for bound in extreme(&replaced, &domain[..axis], greatest) {
            if !all.contains(&bound) && all.len() < MOST {
                all.push(bound);
            }
        }
    }
    all
}

/// Bounds of a union: what bounds both. Only forms whose distance is constant compare.
fn union(a: Vec<Affine>, b: Vec<Affine>, upper: bool) -> Vec<Affine> {
    let mut both = Vec::new();
    for one in &a {
        for other in &b {
            let distance = other.minus(one);
            if distance.is_constant() {
                let further = if (distance.constant > 0) == upper { other } else { one };
                if !both.contains(further) {
                    both.push(further.clone());
                }
            }
        }
    }
    both
}

/// Masks of terms as bounds: `fold over k of (f − k > 0 ? x : identity)` is the fold over k < f of x.
fn unmask(mut piece: Piece, points: usize) -> Piece {
    let Some(fold) = piece.fold else { return piece };
    loop {
        let found = Mask::of(&piece.value).and_then(|mask| {
            let axis = (points..piece.domain.len()).rev().find(|&axis| mask.form.coefficient(axis) != 0)?;
            let identity = match piece.depth {
                // A 0 of the program's own is a term of a pairwise sum.
                Some(_) => Literal::float(-0.0),
                None => fold.identity(mask.otherwise.dtype),
            };
            let masks = is_constant(&mask.otherwise, identity);
            (masks && mask.form.coefficient(axis) == -1).then_some((mask, axis))
        });
        let Some((mask, axis)) = found else { return piece };
        let bound = mask.form.plus(&Affine::variable(axis));
        if !piece.domain[axis].hi.contains(&bound) {
            piece.domain[axis].hi.push(bound);
        }
        piece.value = mask.taken_off(&piece.value);
    }
}

/// `f > 0 ? x : otherwise`, the last node of an expression.
struct Mask {
    form: Affine,
    then: usize,
    otherwise: ScalarNode,
}

impl Mask {
    fn of(value: &Scalar) -> Option<Mask> {
        let nodes = &value.nodes;
        let ScalarOp::Where(condition, then, otherwise) = nodes.last()?.op else { return None };
        let ScalarOp::Binary(BinaryOp::Gt, form, zero) = nodes[condition].op else { return None };
        let ScalarOp::Index(form) = &nodes[form].op else { return None };
        let constant = matches!(nodes[otherwise].op, ScalarOp::Const(_));
        (constant && is_constant(&nodes[zero], Literal::Int(0))).then(|| Mask {
            form: form.clone(),
            then,
            otherwise: nodes[otherwise].clone(),
        })
    }

    /// The expression that it masks alone.
    fn taken_off(&self, value: &Scalar) -> Scalar {
        without(value, value.nodes.len() - 1, self.then)
    }

    /// An expression that masks what it reads of a definition itself.
    fn around_loads(&self, value: &Scalar, id: usize) -> Scalar {
        let mut place = Vec::with_capacity(value.nodes.len());
        let mut nodes: Vec<ScalarNode> = Vec::new();
        for node in &value.nodes {
            let load = nodes.len();
            nodes.push(ScalarNode { op: node.op.renumbered(|operand| place[operand]), dtype: node.dtype });
            if let ScalarOp::Load(Source::Def(read), Access::Axes(index)) = &node.op
                && *read == id
            {
                let form = self.form.substitute(|v| index[v].clone());
                let (index, zero) = (ScalarOp::Index(form), ScalarOp::Const(Literal::Int(0)));
                nodes.push(ScalarNode { op: index, dtype: DType::I64 });
                nodes.push(ScalarNode { op: zero, dtype: DType::I64 });
                nodes.push(ScalarNode { op: ScalarOp::Binary(BinaryOp::Gt, load + 1, load + 2), dtype: DType::Bool });
                nodes.push(self.otherwise.clone());
                nodes.push(ScalarNode { op: ScalarOp::Where(load + 3, load, load + 4), dtype: node.dtype });
            }
            place.push(nodes.len() - 1);
        }
        Scalar { nodes }
    }
}

fn is_constant(node: &ScalarNode, value: Literal) -> bool {
    matches!(&node.op, ScalarOp::Const(found) if found.at(node.dtype) == value.at(node.dtype))
}

/// Masks of stored values at their readers instead. What lies beyond a mask is then nobody's, and may lie beyond an array.
fn with_masks_at_readers(form: &NormalForm) -> NormalForm {
    let mut form = form.clone();
    for id in 0..form.defs.len() {
        let by_axes = |node: &ScalarNode| match &node.op {
            ScalarOp::Load(Source::Def(read), access) => *read != id || matches!(access, Access::Axes(_)),
            ScalarOp::Load(..) | ScalarOp::Const(_) | ScalarOp::Index(_) | ScalarOp::Unary(..) => true,
            ScalarOp::Binary(..) | ScalarOp::Where(..) | ScalarOp::Cast(_) => true,
        };
        let mut values = form.defs.iter().flat_map(|def| &def.pieces).map(|piece| &piece.value);
        if form.outputs.contains(&id) || !values.all(|value| value.nodes.iter().all(by_axes)) {
            continue;
        }
        while let [Piece { fold: None, value, .. }] = form.defs[id].pieces.as_slice()
            && let Some(mask) = Mask::of(value)
        {
            for piece in form.defs.iter_mut().flat_map(|def| &mut def.pieces) {
                piece.value = mask.around_loads(&piece.value, id);
            }
            let value = &mut form.defs[id].pieces[0].value;
            *value = mask.taken_off(value);
        }
    }
    form
}

/// Whether the pieces of a definition are not told apart by the index of an axis.
fn is_whole_along(def: &Def, axis: usize) -> bool {
    let whole = Some((0, to_i64(def.axes[axis])));
    def.pieces.iter().all(|piece| piece.domain.get(axis).is_some_and(|range| range.as_constant() == whole))
}

/// Results whose pieces an iteration of the loops tells apart, each read by a result of one piece: of a definition that
/// others read, an iteration may need some pieces only.
fn with_whole_results(mut form: NormalForm, loops: usize) -> NormalForm {
    for at in 0..form.outputs.len() {
        let def = &form.defs[form.outputs[at]];
        // The first digits, as many as have the iterations.
        let iterations: usize = def.shape.iter().take(loops).product();
        let reached = |count: usize| def.axes[..count].iter().product::<usize>() >= iterations;
        let leading = (0..def.axes.len()).find(|&count| reached(count)).unwrap_or(def.axes.len());
        if def.axes.contains(&0) || (0..leading).all(|axis| is_whole_along(def, axis)) {
            continue;
        }
        let index = (0..def.axes.len()).map(Affine::variable).collect();
        let load = ScalarOp::Load(Source::Def(form.outputs[at]), Access::Axes(index));
        let value = Scalar { nodes: vec![ScalarNode { op: load, dtype: def.dtype }] };
        let domain = def.axes.iter().map(|&extent| Range::constant(0, to_i64(extent))).collect();
        let pieces = vec![Piece { domain, fold: None, depth: None, value }];
        let whole = Def { pieces, update: None, scope: Vec::new(), ..def.clone() };
        form.outputs[at] = form.defs.len();
        form.defs.push(whole);
    }
    form
}

/// The expression with node `then` for node `at`, and without what is no longer needed.
fn without(value: &Scalar, at: usize, then: usize) -> Scalar {
    let last = value.nodes.len() - 1;
    let real = |node: usize| if node == at { then } else { node };
    let mut needed = vec![false; value.nodes.len()];
    needed[real(last)] = true;
    for node in (0..value.nodes.len()).rev() {
        if needed[node] {
            value.nodes[node].op.operands().into_iter().for_each(|operand| needed[real(operand)] = true);
        }
    }
    let mut place = vec![0; value.nodes.len()];
    let mut nodes = Vec::new();
    for (id, node) in value.nodes.iter().enumerate().filter(|(id, _)| needed[*id]) {
        place[id] = nodes.len();
        let op = node.op.renumbered(|operand| place[real(operand)]);
        nodes.push(ScalarNode { op, dtype: node.dtype });
    }
    Scalar { nodes }
}

fn to_i64(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
