//! Updates in place, where no element is read after it was overwritten.
//!
//! Input: a form in which an update computes all of its elements before any is stored. Output: an equal form in which
//! every update may store each element as soon as it is computed, in any order: one whose reads of its own state may
//! meet another point's writes is computed into an array of its own first.

use crate::affine::Affine;
use crate::dependence::{Answer, IntegerSet};
use crate::normal_form::{
    Access, Context, Def, NormalForm, Piece, Scalar, ScalarNode, ScalarOp, Source, Step, Update, contexts, loop_of,
};

/// The form with those updates buffered that need it.
#[must_use]
pub fn buffer_updates(form: &NormalForm) -> NormalForm {
    let contexts = contexts(form);
    let buffered: Vec<bool> =
        form.defs.iter().zip(&contexts).map(|(def, context)| !safe_in_place(def, context)).collect();
    if !buffered.contains(&true) {
        return form.clone();
    }
    let mut names: Vec<String> = form.defs.iter().map(|def| def.name.clone()).collect();
    names.extend(form.states.iter().map(|state| state.name.clone()));
    names.extend(form.params.iter().map(|param| param.name.clone()));
    let mut place = Vec::with_capacity(form.defs.len());
    let mut defs: Vec<Def> = Vec::new();
    for (def, &buffered) in form.defs.iter().zip(&buffered) {
        if buffered {
            let name = (1..).map(|n| format!("{}_next{n}", def.name)).find(|n| !names.contains(n)).unwrap_or_default();
            names.push(name.clone());
            defs.push(Def { name, update: None, shape: def.axes.clone(), ..def.clone() });
            defs.push(copy_of(def, defs.len() - 1));
        } else {
            defs.push(def.clone());
        }
        place.push(defs.len() - 1);
    }
    // Old numbers in what was there before; the copies already have new ones.
    for (at, def) in defs.iter_mut().enumerate() {
        let copy = place.iter().zip(&buffered).any(|(&new, &buffered)| buffered && new == at);
        if !copy {
            for node in def.pieces.iter_mut().flat_map(|piece| &mut piece.value.nodes) {
                if let ScalarOp::Load(Source::Def(read), _) = &mut node.op {
                    *read = place[*read];
                }
            }
        }
    }
    NormalForm {
        defs,
        outputs: form.outputs.iter().map(|&id| place[id]).collect(),
        steps: renumbered(&form.steps, &place, &buffered),
        ..form.clone()
    }
}

fn renumbered(steps: &[Step], place: &[usize], buffered: &[bool]) -> Vec<Step> {
    let mut all = Vec::new();
    for step in steps {
        match step {
            Step::Def(id) => {
                if buffered[*id] {
                    all.push(Step::Def(place[*id] - 1));
                }
                all.push(Step::Def(place[*id]));
            }
            Step::Loop { var, name, range, body } => all.push(Step::Loop {
                var: *var,
                name: name.clone(),
                range: range.clone(),
                body: renumbered(body, place, buffered),
            }),
            Step::If { conditions, body } => {
                all.push(Step::If { conditions: conditions.clone(), body: renumbered(body, place, buffered) });
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
            value: Scalar { nodes: vec![ScalarNode { op: load.clone(), dtype: def.dtype }] },
        })
        .collect();
    Def { pieces, ..def.clone() }
}

/// Whether every element may be stored as soon as it is computed.
fn safe_in_place(def: &Def, context: &Context) -> bool {
    let Some(update) = &def.update else { return true };
    def.pieces.iter().all(|reader| {
        reader.value.nodes.iter().all(|node| match &node.op {
            ScalarOp::Load(Source::State(state), access) if *state == update.state => {
                let Access::Axes(index) = access else { return false };
                def.pieces.iter().all(|writer| apart(def, update, context, reader, index, writer))
            }
            _ => true,
        })
    })
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
    for (read, written) in index.iter().zip(&update.index) {
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
