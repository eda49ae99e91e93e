//! Updates in place, where no element is read after it was overwritten.
//!
//! Input: a form in which an update computes all of its elements before any is stored. Output: an equal form in which
//! every update may store each element as soon as it is computed, in any order: one whose reads of its own state may
//! meet another point's writes is computed into an array of its own first.

use crate::form::context::{Context, contexts};
use crate::form::normal_form::{Def, NormalForm, Piece, Update};
use crate::form::scalar_tree::{Access, Scalar, ScalarNode, ScalarOp, Source};
use crate::form::steps::Step;
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_of};
use crate::integer::set::{Answer, IntegerSet};
use std::collections::BTreeSet;

/// The form with those updates buffered that need it: what they read of themselves is copied first where that is less
/// than what they write, the new elements are computed into an array of their own otherwise.
#[must_use]
pub(super) fn buffer_updates(form: &NormalForm) -> NormalForm {
    let contexts = contexts(form);
    let mut names: BTreeSet<String> = form.defs.iter().map(|def| def.name.clone()).collect();
    names.extend(form.states.iter().map(|state| state.name.clone()));
    names.extend(form.params.iter().map(|param| param.name.clone()));
    let mut unique = |stem: &str, suffix: &str| {
        let name = (1..).map(|n| format!("{stem}_{suffix}{n}")).find(|name| !names.contains(name)).unwrap_or_default();
        names.insert(name.clone());
        name
    };
    let mut place = Vec::with_capacity(form.defs.len());
    let mut before = Vec::with_capacity(form.defs.len());
    let mut defs: Vec<Def> = Vec::new();
    for (def, context) in form.defs.iter().zip(&contexts) {
        let first = defs.len();
        let mut own = def.clone();
        for node in own.pieces.iter_mut().flat_map(|piece| &mut piece.value.nodes) {
            if let ScalarOp::Load(Source::Def(read), _) = &mut node.op {
                *read = place[*read];
            }
        }
        let unsafe_loads = unsafe_loads(def, context);
        if unsafe_loads.is_empty() {
            defs.push(own);
        } else if let Some(copies) = snapshots(def, &unsafe_loads) {
            let [piece] = own.pieces.as_mut_slice() else { continue };
            for (node, (mut copy, access)) in unsafe_loads.iter().map(|load| load.1).zip(copies) {
                copy.name = unique(&def.name, "old");
                piece.value.nodes[node].op = ScalarOp::Load(Source::Def(defs.len()), access);
                defs.push(copy);
            }
            defs.push(own);
        } else {
            let name = unique(&def.name, "next");
            defs.push(Def { name, update: None, shape: def.axes.clone(), ..own });
            defs.push(copy_of(def, defs.len() - 1));
        }
        before.push(defs.len() - 1 - first);
        place.push(defs.len() - 1);
    }
    NormalForm {
        defs,
        outputs: form.outputs.iter().map(|&id| place[id]).collect(),
        steps: renumbered(&form.steps, &place, &before),
        ..form.clone()
    }
}

/// A definition that [`buffer_updates`] would change.
pub(super) fn first_unsafe(form: &NormalForm) -> Option<&Def> {
    let contexts = contexts(form);
    let mut updates = form.defs.iter().zip(&contexts);
    updates.find(|(def, context)| !unsafe_loads(def, context).is_empty()).map(|(def, _)| def)
}

/// For each load, by piece and node, a definition that copies what it reads, and where it is read there. `None` if the
/// copies are not smaller than what the update writes, or a range depends on an axis that a load does not.
fn snapshots(def: &Def, loads: &[(usize, usize)]) -> Option<Vec<(Def, Access)>> {
    let [piece] = def.pieces.as_slice() else { return None };
    let mut found = Vec::with_capacity(loads.len());
    let mut size = 0;
    for &(_, node) in loads {
        let ScalarNode { op: ScalarOp::Load(source, Access::Axes(index)), dtype } = &piece.value.nodes[node] else {
            return None;
        };
        let axes: Vec<usize> =
            (0..piece.domain.len()).filter(|&axis| index.iter().any(|form| form.coefficient(axis) != 0)).collect();
        let place = |form: &Affine| -> Option<Affine> {
            let mut moved = Affine::constant(form.constant);
            for &(v, c) in &form.terms {
                let v = if loop_of(v).is_some() { v } else { axes.iter().position(|&axis| axis == v)? };
                moved = moved.plus(&Affine::new(0, [(v, c)]));
            }
            Some(moved)
        };
        let mut domain = Vec::new();
        let mut extents = Vec::new();
        for &axis in &axes {
            let range = &piece.domain[axis];
            let lo = range.lo.iter().map(place).collect::<Option<Vec<_>>>()?;
            let hi = range.hi.iter().map(place).collect::<Option<Vec<_>>>()?;
            let most = hi.iter().filter(|form| form.is_constant()).map(|form| form.constant).min()?;
            extents.push(usize::try_from(most).ok()?);
            domain.push(Range { lo, hi });
        }
        size += extents.iter().product::<usize>();
        let load = ScalarOp::Load(*source, Access::Axes(index.iter().map(place).collect::<Option<Vec<_>>>()?));
        let value = Scalar { nodes: vec![ScalarNode { op: load, dtype: *dtype }] };
        let copy = Def {
            name: String::new(),
            dtype: *dtype,
            shape: extents.clone(),
            axes: extents,
            pieces: vec![Piece { domain, fold: None, depth: None, value }],
            update: None,
            scope: def.scope.clone(),
        };
        found.push((copy, Access::Axes(axes.iter().map(|&axis| Affine::variable(axis)).collect())));
    }
    (2 * size < def.axes.iter().product()).then_some(found)
}

fn renumbered(steps: &[Step], place: &[usize], before: &[usize]) -> Vec<Step> {
    let mut all = Vec::new();
    for step in steps {
        match step {
            Step::Def(id) => {
                all.extend((place[*id] - before[*id]..=place[*id]).map(Step::Def));
            }
            Step::Loop { var, name, range, body } => all.push(Step::Loop {
                var: *var,
                name: name.clone(),
                range: range.clone(),
                body: renumbered(body, place, before),
            }),
            Step::If { conditions, body } => {
                all.push(Step::If { conditions: conditions.clone(), body: renumbered(body, place, before) });
            }
        }
    }
    all
}

/// The update `def` as a copy of definition `from`, which holds its value.
fn copy_of(def: &Def, from: usize) -> Def {
    let points = def.axes.len();
    let load = ScalarOp::Load(Source::Def(from), Access::Axes((0..points).map(Affine::variable).collect()));
    let pieces = def
        .pieces
        .iter()
        .map(|piece| Piece {
            domain: piece.domain[..points].to_vec(),
            fold: None,
            depth: None,
            value: Scalar { nodes: vec![ScalarNode { op: load.clone(), dtype: def.dtype }] },
        })
        .collect();
    Def { pieces, ..def.clone() }
}

/// The loads, by piece and node, that may read an element after it was overwritten, if each is stored as soon as it
/// is computed.
fn unsafe_loads(def: &Def, context: &Context) -> Vec<(usize, usize)> {
    let Some(update) = &def.update else { return Vec::new() };
    let mut found = Vec::new();
    for (number, reader) in def.pieces.iter().enumerate() {
        for (at, node) in reader.value.nodes.iter().enumerate() {
            let ScalarOp::Load(Source::State(state), access) = &node.op else { continue };
            let safe = *state != update.state || {
                // An offset into the ravel is compared with no index: it may be any element.
                let index: &[Affine] = match access {
                    Access::Axes(index) => index,
                    Access::Flat(_) | Access::Gather(_) => &[],
                };
                def.pieces.iter().all(|writer| apart(def, update, context, reader, index, writer))
            };
            if !safe {
                found.push((number, at));
            }
        }
    }
    found
}

/// Whether no point of `writer` stores what another point of `reader` loads by `index`; nor the same point, if it
/// folds: its element may be stored before the fold is over.
fn apart(def: &Def, update: &Update, context: &Context, reader: &Piece, index: &[Affine], writer: &Piece) -> bool {
    let points = def.axes.len();
    let loops = context.loops.len();
    let (first, second) = (loops, loops + reader.domain.len());
    let mut set = IntegerSet::all(second + points);
    let symbol = |v: usize| context.loops.iter().position(|(variable, _)| *variable == v).unwrap_or(usize::MAX);
    let reading = |v: usize| if loop_of(v).is_some() { symbol(v) } else { v + first };
    let writing = |v: usize| if loop_of(v).is_some() { symbol(v) } else { v + second };
    context.require(&mut set, symbol);
    set.require_domain(&reader.domain, reading);
    set.require_domain(&writer.domain[..points], writing);
    for (read, written) in index.iter().zip(update.index()) {
        // Over the set's own variables.
        let read = read.substitute(|v| Affine::variable(reading(v)));
        let written = written.substitute(|v| Affine::variable(writing(v)));
        set.require_zero(&read.minus(&written), |v| v);
    }
    if reader.fold.is_some() {
        return set.answer() == Answer::Empty;
    }
    (0..points).all(|axis| {
        let distance = Affine::variable(first + axis).minus(&Affine::variable(second + axis));
        [distance.offset(-1), distance.times(-1).offset(-1)].into_iter().all(|apart| {
            let mut other = set.clone();
            other.require_non_negative(&apart, |v| v);
            other.answer() == Answer::Empty
        })
    })
}
