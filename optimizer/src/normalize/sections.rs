//! A long program in sections: each is normalised by itself, and their forms are put together again.
//!
//! Saturation takes more than linear time, so a program beyond [`MAX_NODES`] nodes is cut where few elements cross: what
//! crosses is a result of the section that computes it and a parameter of those that read it. Input of [`cut`]: a
//! [`Program`] without loops. Output: [`Sections`], in order, each reading only parameters and earlier ones. Input of
//! [`join`]: a form for each. Output: one form, in which what crosses is computed where it is read, if that is less work
//! than storing it.
//!
//! No law is applied across a cut, which [`super::Stats::sections`] tells. Both functions are deterministic, so that a
//! derivation of the sections replays as one of the whole.

use super::NormalizeError;
use super::cost::{piece_weight, volume};
use super::form::{MAX_CONTEXTS, STORE_COST, output_name};
use crate::dependence::inline::{check_inlined, inline};
use crate::form::normal_form::{Def, NormalForm, Piece};
use crate::form::scalar_tree::{Access, DefId, Scalar, ScalarNode, ScalarOp, Source};
use crate::integer::affine::Affine;
use crate::integer::range::Range;
use crate::program::expr::{InputHint, Node, NodeId, Op, Param, Program};
use std::collections::{BTreeMap, BTreeSet};

/// A program of no more nodes is one section.
pub(super) const MAX_NODES: usize = 160;
/// A section is cut in its last part: where the least crosses, after so many nodes or more.
const MIN_NODES: usize = 80;
/// A view of views of … is computed by every section that reads it, up to this depth; a deeper one is stored.
const MAX_VIEWS: usize = 12;
/// Numbers made of nothing but indices and constants are computed by every section that reads them, up to this many nodes.
const MAX_INDICES: usize = 16;
/// What crosses is no longer computed where it is read if that makes an expression of more nodes.
const MAX_EXPRESSION: usize = 400;

/// A part of a program, as a program.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// The part. Its names are its own.
    pub(super) program: Program,
    /// What each parameter stands for.
    reads: Vec<Read>,
    /// The node of the whole program that each root is.
    gives: Vec<NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Read {
    Param(usize),
    Value(NodeId),
}

/// What a node is to the cuts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Parameters, constants, and views: every section has its own.
    Free,
    /// Computed by one section.
    Work,
}

/// The sections of a program; `None` if it is short enough for one.
pub(super) fn cut(program: &Program) -> Option<Vec<Section>> {
    let live = live(program);
    if live.iter().filter(|&&live| live).count() <= MAX_NODES {
        return None;
    }
    let kinds = kinds(program);
    // What is computed last among what a free node reads: it crosses where the node is read.
    let work: Vec<NodeId> = (0..program.nodes.len()).filter(|&id| live[id] && kinds[id] == Kind::Work).collect();
    let mut last_read: Vec<usize> = vec![0; program.nodes.len()];
    for (place, &id) in work.iter().enumerate() {
        for arg in values_read(program, &kinds, id) {
            last_read[arg] = place;
        }
    }
    for &root in &program.roots {
        last_read[root] = usize::MAX;
        if kinds[root] == Kind::Free {
            values_read(program, &kinds, root).into_iter().for_each(|value| last_read[value] = usize::MAX);
        }
    }
    let mut sections = Vec::new();
    let mut first = 0;
    while first < work.len() {
        let end = end(program, &kinds, &work, &last_read, first);
        let own = &work[first..end];
        let crossing = own.iter().copied().filter(|&id| last_read[id] >= end).collect();
        sections.push(section(program, &kinds, own, crossing));
        first = end;
    }
    // Results that are free: views and constants.
    let free: BTreeSet<NodeId> = program.roots.iter().copied().filter(|&root| kinds[root] == Kind::Free).collect();
    if !free.is_empty() {
        sections.push(section(program, &kinds, &[], free.into_iter().collect()));
    }
    (sections.len() > 1).then_some(sections)
}

/// Which nodes the roots need.
fn live(program: &Program) -> Vec<bool> {
    let mut live = vec![false; program.nodes.len()];
    let mut open = program.roots.clone();
    while let Some(id) = open.pop() {
        if let Some(slot @ false) = live.get_mut(id) {
            *slot = true;
            open.extend(&program.nodes[id].args);
        }
    }
    live
}

fn kinds(program: &Program) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::with_capacity(program.nodes.len());
    let mut views = vec![0usize; program.nodes.len()];
    // How many nodes a value takes that is made of indices and constants.
    let mut indices: Vec<Option<usize>> = Vec::with_capacity(program.nodes.len());
    for (id, node) in program.nodes.iter().enumerate() {
        let memory = matches!(node.op, Op::Input(_) | Op::State(_) | Op::Array(_) | Op::LoopIndex(_));
        let below = node.args.iter().map(|&arg| indices.get(arg).copied().flatten()).sum::<Option<usize>>();
        indices.push(below.map(|below| below + 1).filter(|&count| !memory && count <= MAX_INDICES));
        let kind = match &node.op {
            Op::Input(_) | Op::Const(_) | Op::Arange { .. } | Op::Eye { .. } => Kind::Free,
            Op::Broadcast
            | Op::Transpose(_)
            | Op::Reshape
            | Op::Slice(_)
            | Op::Section(_)
            | Op::Index { .. }
            | Op::Diagonal { .. }
            | Op::Flip(_)
            | Op::Window { .. } => {
                let below = node.args.iter().map(|&arg| views.get(arg).copied().unwrap_or(0)).max().unwrap_or(0);
                if below < MAX_VIEWS {
                    views[id] = below + 1;
                    Kind::Free
                } else {
                    Kind::Work
                }
            }
            Op::Unary(_) | Op::Binary(_) | Op::Where | Op::Cast if indices[id].is_some() => Kind::Free,
            Op::State(_)
            | Op::LoopIndex(_)
            | Op::Array(_)
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Where
            | Op::Cast
            | Op::Roll { .. }
            | Op::Pad { .. }
            | Op::Concat { .. }
            | Op::Tril { .. }
            | Op::Triu { .. }
            | Op::Trace { .. }
            | Op::MatMul
            | Op::Dot
            | Op::Inner
            | Op::Outer(_)
            | Op::Einsum { .. }
            | Op::Gather { .. }
            | Op::Reduce { .. } => Kind::Work,
        };
        kinds.push(kind);
    }
    kinds
}

/// The computed nodes that a node reads, through what is free.
fn values_read(program: &Program, kinds: &[Kind], id: NodeId) -> BTreeSet<NodeId> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut open = program.nodes[id].args.clone();
    while let Some(arg) = open.pop() {
        if kinds[arg] == Kind::Work {
            found.insert(arg);
        } else if seen.insert(arg) {
            open.extend(&program.nodes[arg].args);
        }
    }
    found
}

/// Where the section that begins at `first` ends, as a place in `work`.
fn end(program: &Program, kinds: &[Kind], work: &[NodeId], last_read: &[usize], first: usize) -> usize {
    let mut nodes = BTreeSet::new();
    let mut best: Option<(f64, usize)> = None;
    for place in first..work.len() {
        // The node and what is free below it; what other sections compute is a parameter.
        let mut open = vec![work[place]];
        while let Some(id) = open.pop() {
            let own = id == work[place] || kinds[id] == Kind::Free;
            if nodes.insert(id) && own {
                open.extend(&program.nodes[id].args);
            }
        }
        if nodes.len() > MAX_NODES && place > first {
            return best.map_or(place, |(_, end)| end);
        }
        if nodes.len() >= MIN_NODES {
            let crossing = work[first..=place].iter().filter(|&&id| last_read[id] > place);
            let cost: f64 = crossing.map(|&id| crossing_cost(&program.nodes[id])).sum();
            if best.is_none_or(|(least, _)| cost <= least) {
                best = Some((cost, place + 1));
            }
        }
    }
    work.len()
}

/// What storing a node costs: next to nothing where it would be stored anyway.
fn crossing_cost(node: &Node) -> f64 {
    let folds =
        matches!(node.op, Op::MatMul | Op::Dot | Op::Inner | Op::Einsum { .. } | Op::Reduce { .. } | Op::Trace { .. });
    let each = if folds { 0.01 } else { 1.0 };
    1.0 + each * node.shape.iter().map(|&extent| extent as f64).product::<f64>()
}

fn section(program: &Program, kinds: &[Kind], own: &[NodeId], gives: Vec<NodeId>) -> Section {
    let own: BTreeSet<NodeId> = own.iter().copied().collect();
    let inside = |id: NodeId| kinds[id] == Kind::Free || own.contains(&id);
    let mut needed = BTreeSet::new();
    let mut open: Vec<NodeId> = gives.clone();
    while let Some(id) = open.pop() {
        if needed.insert(id) && inside(id) {
            open.extend(&program.nodes[id].args);
        }
    }
    let mut out = Program { name: program.name.clone(), ..Program::default() };
    let mut reads: Vec<Read> = Vec::new();
    let mut place: BTreeMap<NodeId, NodeId> = BTreeMap::new();
    for id in needed {
        let node = &program.nodes[id];
        let read = if let Op::Input(param) = node.op {
            Some(Read::Param(param))
        } else {
            (!inside(id)).then_some(Read::Value(id))
        };
        let node = match read {
            Some(read) => {
                let at = reads.iter().position(|known| *known == read).unwrap_or_else(|| {
                    reads.push(read);
                    let hint = InputHint::Any;
                    let name = format!("p{}", reads.len() - 1);
                    out.params.push(Param { name, dtype: node.dtype, shape: node.shape.clone(), hint });
                    reads.len() - 1
                });
                Node { op: Op::Input(at), args: Vec::new(), ..node.clone() }
            }
            None => Node { args: node.args.iter().map(|arg| place[arg]).collect(), ..node.clone() },
        };
        place.insert(id, out.nodes.len());
        out.nodes.push(node);
    }
    out.roots = gives.iter().map(|id| place[id]).collect();
    Section { program: out, reads, gives }
}

/// One form of `program` from a form of each of its sections.
///
/// # Errors
/// A form that is not its section's, which is a bug.
pub(super) fn join(
    program: &Program,
    sections: &[Section],
    forms: &[&NormalForm],
) -> Result<NormalForm, NormalizeError> {
    let unbuildable = |class: usize| NormalizeError::Unbuildable { class };
    let (params, checks) = (program.params.clone(), program.requirements());
    let mut whole = NormalForm { params, checks, ..NormalForm::default() };
    let mut given: BTreeMap<NodeId, DefId> = BTreeMap::new();
    for (section, form) in sections.iter().zip(forms) {
        let first = whole.defs.len();
        for def in &form.defs {
            let mut def = def.clone();
            for node in def.pieces.iter_mut().flat_map(|piece| &mut piece.value.nodes) {
                node.op = placed(&node.op, section, first, &whole.defs, &given).ok_or(unbuildable(first))?;
            }
            whole.defs.push(def);
        }
        for (&id, &output) in section.gives.iter().zip(&form.outputs) {
            given.insert(id, first + output);
        }
    }
    for (at, root) in program.roots.iter().enumerate() {
        let id = *given.get(root).ok_or(unbuildable(*root))?;
        let id = if whole.outputs.contains(&id) {
            // A result that is there twice is stored twice.
            whole.defs.push(copy(&whole, id));
            whole.defs.len() - 1
        } else {
            id
        };
        whole.defs[id].name = output_name(program, at);
        whole.outputs.push(id);
    }
    fuse(&mut whole);
    name(program, &mut whole);
    Ok(whole)
}

/// A definition of the same elements as another.
fn copy(form: &NormalForm, id: DefId) -> Def {
    let def = &form.defs[id];
    let index = (0..def.axes.len()).map(Affine::variable).collect();
    let load = ScalarOp::Load(Source::Def(id), Access::Axes(index));
    let whole = |&extent: &usize| Range::constant(0, i64::try_from(extent).unwrap_or(i64::MAX));
    let value = Scalar { nodes: vec![ScalarNode { op: load, dtype: def.dtype }] };
    let piece = Piece { domain: def.axes.iter().map(whole).collect(), fold: None, depth: None, value };
    Def { pieces: vec![piece], update: None, ..def.clone() }
}

/// A scalar operation of a section's form in the whole one.
fn placed(
    op: &ScalarOp,
    section: &Section,
    first: usize,
    defs: &[Def],
    given: &BTreeMap<NodeId, DefId>,
) -> Option<ScalarOp> {
    let ScalarOp::Load(source, access) = op else { return Some(op.clone()) };
    match source {
        Source::Def(id) => Some(ScalarOp::Load(Source::Def(first + id), access.clone())),
        Source::State(_) => None,
        Source::Param(param) => match section.reads.get(*param)? {
            Read::Param(param) => Some(ScalarOp::Load(Source::Param(*param), access.clone())),
            Read::Value(value) => {
                let id = *given.get(value)?;
                let access = match access {
                    Access::Axes(rows) => over_digits(&defs[id], rows)?,
                    Access::Flat(_) | Access::Gather(_) => access.clone(),
                };
                Some(ScalarOp::Load(Source::Def(id), access))
            }
        },
    }
}

/// An index of a definition's shape as one of its digits, or as an offset.
fn over_digits(def: &Def, rows: &[Affine]) -> Option<Access> {
    if def.axes == def.shape {
        return Some(Access::Axes(rows.to_vec()));
    }
    let long = |extent: &usize| *extent != 1;
    if def.axes.iter().copied().filter(long).eq(def.shape.iter().copied().filter(long)) {
        let mut whole = rows.iter().zip(&def.shape).filter(|(_, extent)| long(extent)).map(|(row, _)| row.clone());
        let index = def.axes.iter().map(|extent| if long(extent) { whole.next() } else { Some(Affine::constant(0)) });
        return index.collect::<Option<Vec<Affine>>>().map(Access::Axes);
    }
    let mut offset = Affine::constant(0);
    let mut weight = 1;
    for (row, &extent) in rows.iter().zip(&def.shape).rev() {
        offset = offset.plus(&row.times(weight));
        weight = weight.checked_mul(i64::try_from(extent).ok()?)?;
    }
    (rows.len() == def.shape.len()).then_some(Access::Flat(offset))
}

/// Where a definition is read from: the reader, its piece, and the index.
type Context = (DefId, usize, Vec<Affine>);

/// Computes what is read where it is read, as far as that is no more work than to store it.
fn fuse(form: &mut NormalForm) {
    let inlined = to_inline(form);
    let chosen = |id: DefId| inlined.contains(&id);
    if inlined.is_empty() || check_inlined(form, chosen).is_err() {
        return;
    }
    let Ok(pieces) = inline(form, chosen) else { return };
    for (def, pieces) in form.defs.iter_mut().zip(pieces) {
        def.pieces = pieces.into_iter().map(|part| part.piece).collect();
    }
    super::domain::drop_unread(form);
}

/// The definitions that are better computed where they are read, readers first.
fn to_inline(form: &NormalForm) -> BTreeSet<DefId> {
    let mut readers: Vec<Vec<Context>> = vec![Vec::new(); form.defs.len()];
    let mut whole: BTreeSet<DefId> = form.outputs.iter().copied().collect();
    for (id, def) in form.defs.iter().enumerate() {
        for (at, piece) in def.pieces.iter().enumerate() {
            for node in &piece.value.nodes {
                match &node.op {
                    ScalarOp::Load(Source::Def(read), Access::Axes(index)) => {
                        readers[*read].push((id, at, index.clone()));
                    }
                    ScalarOp::Load(Source::Def(read), Access::Flat(_) | Access::Gather(_)) => {
                        whole.insert(*read);
                    }
                    ScalarOp::Load(Source::Param(_) | Source::State(_), _)
                    | ScalarOp::Const(_)
                    | ScalarOp::Index(_)
                    | ScalarOp::Unary(..)
                    | ScalarOp::Binary(..)
                    | ScalarOp::Where(..)
                    | ScalarOp::Cast(_) => {}
                }
            }
        }
    }
    // What each definition is computed at, as far as it is computed where it is read.
    let mut places: Vec<Vec<Context>> = vec![Vec::new(); form.defs.len()];
    // The nodes of each piece with what is computed in it.
    let mut lengths: Vec<Vec<usize>> =
        form.defs.iter().map(|def| def.pieces.iter().map(|piece| piece.value.nodes.len()).collect()).collect();
    let mut chosen = BTreeSet::new();
    for id in (0..form.defs.len()).rev() {
        let [piece] = form.defs[id].pieces.as_slice() else { continue };
        if piece.fold.is_some() || whole.contains(&id) || readers[id].is_empty() {
            continue;
        }
        let mut found: BTreeSet<Context> = BTreeSet::new();
        for (reader, at, index) in &readers[id] {
            if chosen.contains(reader) {
                for (outer, piece, outer_index) in &places[*reader] {
                    let through = |row: &Affine| row.substitute(|v| outer_index.get(v).cloned().unwrap_or_default());
                    found.insert((*outer, *piece, index.iter().map(through).collect()));
                }
            } else {
                found.insert((*reader, *at, index.clone()));
            }
            if found.len() > MAX_CONTEXTS {
                break;
            }
        }
        let evaluations: f64 = found.iter().map(|(def, at, _)| volume(&form.defs[*def].pieces[*at])).sum();
        let weight = piece_weight(piece);
        let mut longer: BTreeMap<(DefId, usize), usize> = BTreeMap::new();
        for (def, at, _) in &found {
            *longer.entry((*def, *at)).or_insert(lengths[*def][*at]) += piece.value.nodes.len();
        }
        let size = form.defs[id].size() as f64;
        if found.len() > MAX_CONTEXTS
            || size * (weight + STORE_COST) < evaluations * weight
            || longer.values().any(|&nodes| nodes > MAX_EXPRESSION)
        {
            continue;
        }
        for ((def, at), nodes) in longer {
            lengths[def][at] = nodes;
        }
        places[id] = found.into_iter().collect();
        chosen.insert(id);
    }
    chosen
}

/// Gives every definition a name of its own; results keep theirs.
fn name(program: &Program, form: &mut NormalForm) {
    let mut taken: BTreeSet<String> = program.params.iter().map(|param| param.name.clone()).collect();
    let mut next: BTreeMap<String, usize> = BTreeMap::new();
    let outputs = form.outputs.clone();
    let others = (0..form.defs.len()).filter(|id| !outputs.contains(id));
    for id in outputs.iter().copied().chain(others) {
        // A section's own result is called `out`: what it is says its last operation.
        let hint = if outputs.contains(&id) { form.defs[id].name.clone() } else { hint(&form.defs[id]) };
        let from = next.entry(hint.clone()).or_insert(0);
        let name = loop {
            let name = if *from == 0 { hint.clone() } else { format!("{hint}_{from}") };
            *from += 1;
            if taken.insert(name.clone()) {
                break name;
            }
        };
        form.defs[id].name = name;
    }
}

/// What a definition is called after.
fn hint(def: &Def) -> String {
    let stem = def.name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
    if stem != "out" {
        return stem.to_owned();
    }
    let Some(piece) = def.pieces.first() else { return "empty".to_owned() };
    if def.pieces.len() > 1 {
        return "cat".to_owned();
    }
    if let Some(fold) = piece.fold {
        return fold.name().to_owned();
    }
    match piece.value.nodes.last().map(|node| &node.op) {
        Some(ScalarOp::Unary(op, _)) => op.name().to_owned(),
        Some(ScalarOp::Binary(op, ..)) => op.name().to_owned(),
        Some(ScalarOp::Where(..)) => "select".to_owned(),
        Some(ScalarOp::Cast(_)) => "cast".to_owned(),
        Some(ScalarOp::Load(_, Access::Gather(_))) => "gather".to_owned(),
        Some(ScalarOp::Load(..) | ScalarOp::Const(_) | ScalarOp::Index(_)) | None => "copy".to_owned(),
    }
}
