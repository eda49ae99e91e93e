//! Scans in parts: of `for i: y[i] = y[i − 1] ⊕ f(i)` the parts' totals, then what is before each part, then all parts.
//!
//! With parts of B elements, `t[p] = ⊕ f(p·B + j) over j < B`, `for p: c[p] = c[p − 1] ⊕ t[p − 1]`, and
//! `for j: y[p·B + j] = y[p·B + j − 1] ⊕ f(p·B + j) for all p`, where c[p] stands for `y[p·B − 1]`. The loop that waited for
//! itself in every iteration is one over parts that do not wait for each other: threads share them.
//!
//! Input: a form. Output: an equal form, if it has such a loop, and each of its iterations has too few points to be shared. The
//! scan's state is stored by parts then. Where the state is more than the scan, or others store into it, or the parts are not
//! all alike, the parts have a state of their own, from which the scan's is copied, and the elements that are left follow in
//! the loop as it was. Legal where no term reads what the loop has stored before, and where an element's terms may be taken
//! together.
//!
//! Source: G. Blelloch, *Prefix sums and their applications* (1990): scans by blocks.

use crate::form::access::loads;
use crate::form::normal_form::{Def, NormalForm, Piece, State, Update};
use crate::form::scalar_tree::{Access, DefId, Scalar, ScalarNode, ScalarOp, Source};
use crate::form::steps::{Step, replaced};
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_of, loop_variable};
use crate::orders::accumulation::joined;
use crate::orders::fold_parts::Cut;
use crate::orders::loop_state::{InLoop, is_local};
use crate::value::numerics::Numerics;
use crate::value::scalar::{BinaryOp, FoldOp};

/// The name of the law in derivations.
pub const RULE: &str = "scan/parts";
/// A few parts for each thread, whose sums it makes side by side: one waits for itself as long as an addition takes.
const CUT: Cut = Cut { parts: 8, fewest: 64 };
/// Lines that are a multiple of so many bytes apart share a set of the nearest cache, which holds eight as a rule. A part needs
/// two, for its terms and its sums, so there are half as many parts where those would be so far apart.
const WAY: i64 = 4096;

/// The form with every scan in parts that can be; `None` if there is none.
#[must_use]
pub fn in_parts(form: &NormalForm, numerics: Numerics) -> Option<NormalForm> {
    cut(form, numerics, CUT)
}

/// The same with other parts.
#[must_use]
pub fn cut(form: &NormalForm, numerics: Numerics, cut: Cut) -> Option<NormalForm> {
    form.one_by_one(|current, id| {
        let scan = Scan::of(current, id, numerics, cut)?;
        Some(scan.in_place(current).unwrap_or_else(|| scan.beside(current)))
    })
}

/// The only statement of a loop, an update that joins a term to the element before each of its own.
struct Scan<'f> {
    id: DefId,
    def: &'f Def,
    piece: &'f Piece,
    update: &'f Update,
    /// The loop, its first iteration, and the one after its last.
    var: usize,
    first: i64,
    end: i64,
    /// The axis of the state along which the loop runs, and the element there before the first that it stores.
    axis: usize,
    start: i64,
    /// How a term joins the element, and how terms join each other.
    joins: BinaryOp,
    among: FoldOp,
    term: Scalar,
    /// Parts of the elements from `start` on, and elements of each; less than a part may be left.
    parts: i64,
    size: i64,
}

impl<'f> Scan<'f> {
    fn of(form: &'f NormalForm, id: DefId, numerics: Numerics, cut: Cut) -> Option<Scan<'f>> {
        let def = &form.defs[id];
        let update = def.update.as_ref().filter(|update| update.shift.is_none())?;
        let [piece] = def.pieces.as_slice() else { return None };
        let InLoop { var, range, body, .. } = InLoop::of(form, id).filter(|_| piece.fold.is_none())?;
        let (first, end) = range.as_constant().filter(|_| body.len() == 1)?;
        if def.axes.iter().map(|&extent| signed(extent)).product::<i64>() >= cut.parts {
            return None;
        }
        let moves = |form: &Affine| form.coefficient(loop_variable(var)) != 0;
        let axis = update.base.iter().position(moves)?;
        let start = update.base[axis].minus(&Affine::variable(loop_variable(var))).offset(first - 1);
        let bounds = piece.domain.iter().flat_map(|range| range.lo.iter().chain(&range.hi));
        if !start.is_constant() || update.base[axis + 1..].iter().chain(bounds).any(moves) {
            return None;
        }
        let mut before = update.base.clone();
        before[axis] = before[axis].offset(-1);
        let (joins, among, term) = joined(&piece.value, update.state, &before)?;
        let term = piece.value.rooted(term);
        let fits = |node: &ScalarNode| node.dtype == def.dtype;
        if numerics == Numerics::Exact && !among.reorders_exactly(def.dtype)
            || !term.nodes.last().is_some_and(fits)
            || is_local(&term, body)
        {
            return None;
        }
        let length = end - first + 1;
        let behind = form.states[update.state].shape[axis + 1..].iter().map(|&extent| signed(extent)).product::<i64>();
        let line_up = |size: &i64| (size * behind * signed(def.dtype.bytes())).rem_euclid(WAY) == 0;
        let fewer = Cut { parts: cut.parts / 2, ..cut };
        let size = cut.size(length).filter(|size| !line_up(size)).or_else(|| fewer.size(length))?;
        let (parts, start) = (length.div_euclid(size), start.constant);
        let scan = Scan { id, def, piece, update, var, first, end, axis, start, joins, among, term, parts, size };
        (parts > 1 && scan.reads_ahead()).then_some(scan)
    }

    /// Whether terms read elements that the loop does not store, or not yet.
    fn reads_ahead(&self) -> bool {
        let ahead = |access: &Access| match access {
            Access::Axes(index) => {
                let apart = index[self.axis].minus(&self.update.base[self.axis]);
                let before = index[self.axis].is_constant() && index[self.axis].constant <= self.start;
                before || apart.is_constant() && apart.constant >= 0
            }
            Access::Flat(_) | Access::Gather(_) => false,
        };
        self.reads_of_itself().all(ahead)
    }

    /// What terms read of the state.
    fn reads_of_itself(&self) -> impl Iterator<Item = &Access> {
        self.term.nodes.iter().filter_map(|node| match &node.op {
            ScalarOp::Load(Source::State(state), access) if *state == self.update.state => Some(access),
            ScalarOp::Load(..) | ScalarOp::Const(_) | ScalarOp::Index(_) | ScalarOp::Unary(..) => None,
            ScalarOp::Binary(..) | ScalarOp::Where(..) | ScalarOp::Cast(_) => None,
        })
    }

    /// The form with the scan's state stored by parts, see `rewritten`; `None` if the parts are not the whole state, or
    /// somebody else's access to it cannot follow.
    fn in_place(&self, form: &NormalForm) -> Option<(NormalForm, usize)> {
        let state = self.update.state;
        let extent = signed(form.states[state].shape[self.axis]);
        let whole = self.start == 0 && self.end - self.first + 1 == extent && self.parts * self.size == extent;
        if !whole || self.reads_of_itself().next().is_some() {
            return None;
        }
        let mut next = form.clone();
        let stored = ByParts { state, axis: self.axis, shape: &form.states[state].shape, size: self.size };
        for (id, def) in next.defs.iter_mut().enumerate().filter(|(id, _)| *id != self.id) {
            let reads = |other: &Def| other.pieces.iter().flat_map(loads).any(|(source, _)| source == Source::Def(id));
            stored.rewrite(def, form.outputs.contains(&id) && !form.defs.iter().any(reads))?;
        }
        next.states[state].shape = self.shape(form);
        let zero = Affine::constant(0);
        let element = ScalarOp::Load(Source::State(state), Access::Axes(self.index(&zero, &zero, 0)));
        Some(self.rewritten(next, state, element, None, Vec::new()))
    }

    /// The form with the parts in a state of their own, see `rewritten`.
    fn beside(&self, form: &NormalForm) -> (NormalForm, usize) {
        let mut next = form.clone();
        let own = next.states.len();
        let name = next.unused_name(&format!("{}_parts", form.states[self.update.state].name));
        next.states.push(State { name, dtype: self.def.dtype, shape: self.shape(form) });

        let mut index = self.update.base.clone();
        index[self.axis] = Affine::constant(self.start);
        let element = ScalarOp::Load(Source::State(self.update.state), Access::Axes(index));
        let zero = Affine::constant(0);
        let name = |what: &str| next.unused_name(&format!("{}_{what}", self.def.name));
        let update = Update { state: own, base: self.index(&zero, &zero, 0), shift: None };
        let begins = self.computes(name("begins"), &[], vec![self.node(element.clone())], update);

        // The elements of the parts, one after the other.
        let [part, at] = [0, 1].map(Affine::variable);
        let mut base = self.update.base.clone();
        base.iter_mut().for_each(|form| *form = self.moved(form, 2, &zero));
        base[self.axis] = part.times(self.size).plus(&at).offset(self.start);
        let load = ScalarOp::Load(Source::State(own), Access::Axes(self.index(&part, &at, 2)));
        let ranges = [Range::constant(0, self.parts), Range::constant(0, self.size)];
        let update = Update { state: self.update.state, base, shift: None };
        let whole = self.computes(name("whole"), &ranges, vec![self.node(load)], update);
        let mut rest = Def { name: name("rest"), ..self.def.clone() };
        let var = next.unused_loop() + 1;
        rest.move_forms(|form| self.moved(form, 0, &Affine::variable(loop_variable(var))));

        let left = self.first - 1 + self.parts * self.size;
        let mut after = vec![Stage { in_loop: None, def: whole }];
        if left < self.end {
            after.push(Stage { in_loop: Some((var, Range::constant(left, self.end))), def: rest });
        }
        self.rewritten(next, own, element, Some(begins), after)
    }

    /// The form with the scan by parts in `state`, and how many definitions it puts before the last of its own. `element` is
    /// the one before the first; `begins` is computed first, `after` at the end.
    fn rewritten(
        &self,
        mut next: NormalForm,
        state: usize,
        element: ScalarOp,
        begins: Option<Def>,
        after: Vec<Stage>,
    ) -> (NormalForm, usize) {
        let points = self.def.axes.len();
        let carried = next.states.len();
        let name = next.unused_name(&format!("{}_carried", self.def.name));
        let shape = [unsigned(self.parts)].into_iter().chain(self.def.axes.iter().copied()).collect();
        next.states.push(State { name, dtype: self.def.dtype, shape });
        let name = |what: &str| next.unused_name(&format!("{}_{what}", self.def.name));
        // A part's place in what has one element for each part and point.
        let of = |part: &Affine, by: usize| -> Vec<Affine> {
            [part.clone()].into_iter().chain((by..by + points).map(Affine::variable)).collect()
        };
        let into = |state: usize, base: Vec<Affine>| Update { state, base, shift: None };
        let load = |source: Source, index: Vec<Affine>| ScalarOp::Load(source, Access::Axes(index));
        let (zero, part) = (Affine::constant(0), Affine::variable(0));
        let term = |at: &Affine| self.term_at(1, &part.times(self.size).plus(at).offset(self.first - 1));

        // What each part adds, but for the last, which nothing follows. The first element of all is no term.
        let following = [Range::constant(0, self.parts - 1)];
        let term_of = term(&Affine::variable(points + 1));
        let mut totals = self.computes(name("totals"), &following, term_of, into(state, Vec::new()));
        totals.update = None;
        totals.pieces[0].fold = Some(self.among);
        let lo = vec![zero.clone(), Affine::constant(1).minus(&part)];
        totals.pieces[0].domain.push(Range { lo, hi: vec![Affine::constant(self.size)] });

        let starts = self.computes(name("starts"), &[], vec![self.node(element)], into(carried, of(&zero, 0)));
        let (carry, total) = (next.unused_loop(), self.id + usize::from(begins.is_some()));
        let number = Affine::variable(loop_variable(carry));
        let last = of(&number.offset(-1), 0);
        let value = vec![self.node(load(Source::Def(total), last.clone()))];
        let value = self.joined(value, load(Source::State(carried), last));
        let carries = self.computes(name("carries"), &[], value, into(carried, of(&number, 0)));

        let value = self.joined(term(&zero), load(Source::State(carried), of(&part, 1)));
        let others = [Range::constant(1, self.parts)];
        let heads = self.computes(name("heads"), &others, value, into(state, self.index(&part, &zero, 1)));
        let at = Affine::variable(loop_variable(self.var));
        let value = self.joined(term(&at), load(Source::State(state), self.index(&part, &at.offset(-1), 1)));
        let all = [Range::constant(0, self.parts)];
        let scans = self.computes(self.def.name.clone(), &all, value, into(state, self.index(&part, &at, 1)));

        let mut stages: Vec<Stage> = begins.into_iter().chain([totals, starts]).map(Stage::alone).collect();
        stages.push(Stage { in_loop: Some((carry, Range::constant(1, self.parts))), def: carries });
        stages.push(Stage::alone(heads));
        stages.push(Stage { in_loop: Some((self.var, Range::constant(1, self.size))), def: scans });
        stages.extend(after);
        let before = stages.len() - 1;
        let steps: Vec<(usize, Option<(usize, Range)>)> =
            (self.id..).zip(&stages).map(|(id, stage)| (id, stage.in_loop.clone())).collect();
        for (id, stage) in (self.id..).zip(stages) {
            if id < self.id + before {
                next.insert_before(id, stage.def);
            } else {
                next.defs[id] = stage.def;
            }
        }
        next.steps = replaced(&next.steps, self.var, &|step| {
            let Step::Loop { name, .. } = step else { return vec![step.clone()] };
            let of = |(id, in_loop): &(DefId, Option<(usize, Range)>)| match in_loop {
                None => Step::Def(*id),
                Some((var, range)) => {
                    Step::Loop { var: *var, name: name.clone(), range: range.clone(), body: vec![Step::Def(*id)] }
                }
            };
            steps.iter().map(of).collect()
        });
        next.update_scopes();
        (next, before)
    }

    /// The shape of the scan's state by parts.
    fn shape(&self, form: &NormalForm) -> Vec<usize> {
        let mut shape = form.states[self.update.state].shape.clone();
        shape.splice(self.axis..=self.axis, [self.parts, self.size].map(unsigned));
        shape
    }

    /// Where element `at` of a part stands in a state of that shape, over points behind `by` other axes.
    fn index(&self, part: &Affine, at: &Affine, by: usize) -> Vec<Affine> {
        let mut index: Vec<Affine> =
            self.update.base.iter().map(|form| self.moved(form, by, &Affine::default())).collect();
        index.splice(self.axis..=self.axis, [part.clone(), at.clone()]);
        index
    }

    /// A form over the points and the loop, over points behind `by` other axes, in an iteration.
    fn moved(&self, form: &Affine, by: usize, iteration: &Affine) -> Affine {
        form.substitute(|v| match v {
            v if v == loop_variable(self.var) => iteration.clone(),
            v if loop_of(v).is_some() => Affine::variable(v),
            v => Affine::variable(v + by),
        })
    }

    /// The term of an iteration, over points behind `by` other axes.
    fn term_at(&self, by: usize, iteration: &Affine) -> Vec<ScalarNode> {
        let node = |node: &ScalarNode| ScalarNode {
            op: node.op.with_forms(|form| self.moved(form, by, iteration)),
            dtype: node.dtype,
        };
        self.term.nodes.iter().map(node).collect()
    }

    /// What comes of joining a term to an element.
    fn joined(&self, term: Vec<ScalarNode>, element: ScalarOp) -> Vec<ScalarNode> {
        let behind = |node: ScalarNode| ScalarNode { op: node.op.renumbered(|at| at + 1), ..node };
        let joins = ScalarOp::Binary(self.joins, 0, term.len());
        [self.node(element)].into_iter().chain(term.into_iter().map(behind)).chain([self.node(joins)]).collect()
    }

    fn node(&self, op: ScalarOp) -> ScalarNode {
        ScalarNode { op, dtype: self.def.dtype }
    }

    /// A definition of the scan's points behind other axes.
    fn computes(&self, name: String, ranges: &[Range], nodes: Vec<ScalarNode>, update: Update) -> Def {
        let by = ranges.len();
        let extent = |range: &Range| range.as_constant().map_or(0, |(_, end)| unsigned(end));
        let axes: Vec<usize> = ranges.iter().map(extent).chain(self.def.axes.iter().copied()).collect();
        let moved = |forms: &[Affine]| forms.iter().map(|form| self.moved(form, by, &Affine::default())).collect();
        let points = self.piece.domain.iter().map(|range| Range { lo: moved(&range.lo), hi: moved(&range.hi) });
        let domain = ranges.iter().cloned().chain(points).collect();
        Def {
            name,
            dtype: self.def.dtype,
            shape: axes.clone(),
            axes,
            pieces: vec![Piece { domain, fold: None, depth: None, value: Scalar { nodes } }],
            update: Some(update),
            scope: Vec::new(),
        }
    }
}

/// A definition, and the loop that it stands in alone, if any.
struct Stage {
    in_loop: Option<(usize, Range)>,
    def: Def,
}

impl Stage {
    fn alone(def: Def) -> Stage {
        Stage { in_loop: None, def }
    }
}

/// A state whose elements along an axis are stored by parts: `[…, p, j, …]` for `[…, p·size + j, …]`. Its ravel is the same.
struct ByParts<'f> {
    state: usize,
    axis: usize,
    /// As it was.
    shape: &'f [usize],
    size: i64,
}

impl ByParts<'_> {
    /// Rewrites what a definition stores and reads. One that may be `refined` gets the parts as axes where it reads along
    /// the state's; `None` where it stores what cannot be told by parts.
    fn rewrite(&self, def: &mut Def, refined: bool) -> Option<()> {
        if let Some(update) = def.update.as_mut().filter(|update| update.state == self.state) {
            let parts =
                Some(&update.base[self.axis]).filter(|_| update.shift.is_none()).and_then(|form| self.parts(form))?;
            update.base.splice(self.axis..=self.axis, parts);
        }
        if refined && let Some(axis) = self.along(def) {
            self.refine(def, axis);
        }
        for node in def.pieces.iter_mut().flat_map(|piece| &mut piece.value.nodes) {
            if let ScalarOp::Load(Source::State(state), access) = &mut node.op
                && *state == self.state
                && let Access::Axes(index) = access
            {
                match self.parts(&index[self.axis]) {
                    Some(parts) => drop(index.splice(self.axis..=self.axis, parts)),
                    None => *access = Access::Flat(self.offset(index)),
                }
            }
        }
        Some(())
    }

    /// The part, and the place in it, of an index that tells them.
    fn parts(&self, form: &Affine) -> Option<[Affine; 2]> {
        match form.terms.as_slice() {
            [] => {
                Some([form.constant.div_euclid(self.size), form.constant.rem_euclid(self.size)].map(Affine::constant))
            }
            // As `refine` makes it.
            &[(part, factor), (at, 1)] if factor == self.size && at == part + 1 && form.constant == 0 => {
                Some([part, at].map(Affine::variable))
            }
            _ => None,
        }
    }

    fn offset(&self, index: &[Affine]) -> Affine {
        let strides =
            (0..index.len()).map(|axis| self.shape[axis + 1..].iter().map(|&extent| signed(extent)).product::<i64>());
        index.iter().zip(strides).fold(Affine::default(), |sum, (form, stride)| sum.plus(&form.times(stride)))
    }

    /// The axis of a definition whose points are all elements along the state's axis, in order.
    fn along(&self, def: &Def) -> Option<usize> {
        let extent = self.shape[self.axis];
        let read = |axis: usize| {
            let along = |(source, access): (Source, &Access)| match access {
                Access::Axes(index) => {
                    source == Source::State(self.state) && index[self.axis] == Affine::variable(axis)
                }
                Access::Flat(_) | Access::Gather(_) => false,
            };
            def.pieces.iter().flat_map(loads).any(along)
        };
        let whole = |axis: usize| {
            let constant = |piece: &Piece| piece.domain[axis].as_constant() == Some((0, signed(extent)));
            def.axes[axis] == extent && def.pieces.iter().all(constant)
        };
        (0..def.axes.len()).find(|&axis| read(axis) && whole(axis))
    }

    /// Takes an axis of a definition apart.
    fn refine(&self, def: &mut Def, axis: usize) {
        def.move_forms(|form| {
            form.substitute(|v| match v {
                v if v < axis || loop_of(v).is_some() => Affine::variable(v),
                v if v == axis => Affine::variable(axis).times(self.size).plus(&Affine::variable(axis + 1)),
                v => Affine::variable(v + 1),
            })
        });
        let parts = signed(def.axes[axis]).div_euclid(self.size);
        def.axes.splice(axis..=axis, [parts, self.size].map(unsigned));
        for piece in &mut def.pieces {
            piece.domain.splice(axis..=axis, [parts, self.size].map(|extent| Range::constant(0, extent)));
        }
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}
