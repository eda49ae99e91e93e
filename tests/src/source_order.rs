//! Every dependence of a form by brute force: all instances of its statements in source order, with what each touches.
//!
//! Input: a form of small extents, as schedules refer to it. Output: a [`SourceOrder`]: for each term of each instance
//! the instances whose values it reads (the last writers), and for each element of a state the instances that touch it,
//! in order. It enumerates, and shares no code with the dependence tests or the transformations.
//!
//! An *instance* is a point of a definition at values of the loops around it; a fold has one *term* for each of its
//! indices. Both are numbered. [`SourceOrder::marked`] is the same form, in which every value carries its number as an
//! index expression, so that a scheduled nest says itself which instance it executes.

use moat_optimizer::form::context::scopes;
use moat_optimizer::form::normal_form::{Def, NormalForm, Piece, Scope};
use moat_optimizer::form::scalar_tree::{Access, DefId, Scalar, ScalarNode, ScalarOp, Source};
use moat_optimizer::form::steps::Step;
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::integer::range::{Range, loop_of, loop_variable};
use moat_optimizer::storage::{Schedulable, accept};
use moat_optimizer::value::dtype::{DType, Literal};
use moat_optimizer::value::scalar::BinaryOp;
use std::collections::{BTreeMap, BTreeSet};

/// Which instance wrote a value: its number; or an element of a parameter; or nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Writer {
    /// Nobody: the value is undefined.
    Nobody,
    /// An element of a parameter.
    Param(usize, usize),
    /// An instance.
    Instance(i64),
}

/// What executes in source order.
#[derive(Debug)]
pub struct SourceOrder {
    /// The form with the number of its instance in every value that is not a mere copy of a result.
    pub marked: Schedulable,
    /// For each term the writers of what it reads, sorted, without repetition.
    reads: BTreeMap<i64, Vec<Writer>>,
    /// For each element of a state the instances that touch it, in order, and whether they write it.
    touches: BTreeMap<(usize, usize), Vec<(i64, bool)>>,
    /// For each result the writers of its elements.
    pub outputs: Vec<Vec<Writer>>,
    numbering: Vec<Numbering>,
}

/// The numbers of the instances of one piece of a definition.
#[derive(Clone, Debug)]
struct Numbering {
    def: DefId,
    name: String,
    /// The first number, and the first beyond.
    base: i64,
    end: i64,
    /// Variable, least value and count of each digit, most significant first; points before folds.
    digits: Vec<(usize, i64, i64)>,
}

impl Numbering {
    /// Numbers of the terms as forms: of the instance, and what a term adds.
    fn forms(&self, points: usize) -> (Affine, Affine) {
        let (mut instance, mut term) = (Affine::constant(self.base), Affine::constant(0));
        let mut weight = self.end - self.base;
        for &(variable, least, count) in &self.digits {
            weight /= count;
            let digit = Affine::variable(variable).offset(-least).times(weight);
            if loop_of(variable).is_none() && variable >= points {
                term = term.plus(&digit);
            } else {
                instance = instance.plus(&digit);
            }
        }
        (instance, term)
    }

    /// The first number of those that one execution of the definition computes: the loops' digits lead.
    fn execution(&self, number: i64) -> i64 {
        let axes = self.digits.iter().filter(|digit| loop_of(digit.0).is_none());
        let weight = axes.map(|digit| digit.2).product::<i64>().max(1);
        self.base + (number - self.base) / weight * weight
    }
}

impl SourceOrder {
    /// Enumerates what `form` executes. `None` if that is more than `most` terms.
    ///
    /// # Panics
    /// If marks make an update unsafe in place.
    pub fn of(form: &Schedulable, most: usize) -> Option<SourceOrder> {
        let mut numbering: Vec<Numbering> = Vec::new();
        let mut marked = NormalForm::clone(form);
        let mut forms: Vec<Vec<(Affine, Affine)>> = Vec::new();
        let scopes = scopes(form);
        for (id, def) in form.defs.iter().enumerate() {
            let mut of_def = Vec::new();
            for (at, piece) in def.pieces.iter().enumerate() {
                let base = numbering.last().map_or(0, |last| last.end);
                let numbers = number(id, def, piece, &scopes[id], base);
                let (instance, term) = numbers.forms(def.axes.len());
                if !is_copied_result(form, id) {
                    mark(&mut marked.defs[id].pieces[at].value, &instance, &term);
                }
                of_def.push((instance, term));
                numbering.push(numbers);
            }
            forms.push(of_def);
        }
        let mut walk = Walk {
            form,
            forms,
            numbering: &numbering,
            most,
            loops: BTreeMap::new(),
            defs: form.defs.iter().map(|def| vec![Writer::Nobody; def.axes.iter().product()]).collect(),
            states: form.states.iter().map(|state| vec![Writer::Nobody; state.shape.iter().product()]).collect(),
            reads: BTreeMap::new(),
            touches: BTreeMap::new(),
        };
        if form.steps.is_empty() {
            for id in 0..form.defs.len() {
                walk.compute(id)?;
            }
        }
        walk.steps(&form.steps)?;
        let outputs = form.outputs.iter().map(|&id| walk.defs[id].clone()).collect();
        let (reads, touches) = (walk.reads, walk.touches);
        // Numbers beside the values change nothing of what is read and stored.
        let marked = accept(marked).unwrap_or_else(|error| panic!("the marked form: {error}"));
        Some(SourceOrder { marked, reads, touches, outputs, numbering })
    }

    /// How many terms there are.
    pub fn terms(&self) -> usize {
        self.reads.len()
    }

    /// The writers of what a term reads, where the definitions `inlined` are computed by their readers. `None` if there
    /// is no such term.
    pub fn reads(&self, term: i64, inlined: &BTreeSet<DefId>) -> Option<Vec<Writer>> {
        let own = self.reads.get(&term)?;
        if inlined.is_empty() {
            return Some(own.clone());
        }
        let mut all = Vec::new();
        for &writer in own {
            match writer {
                Writer::Instance(number) if self.def_of(number).is_some_and(|def| inlined.contains(&def)) => {
                    all.extend(self.reads(number, inlined)?);
                }
                Writer::Instance(_) | Writer::Param(..) | Writer::Nobody => all.push(writer),
            }
        }
        all.sort_unstable();
        all.dedup();
        Some(all)
    }

    /// The pairs of instances between which an element of a state carries a dependence: a write and the accesses
    /// around it. All others follow by transitivity.
    pub fn dependences(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.touches.values().flat_map(|touches| {
            let mut pairs = Vec::new();
            let mut last_write: Option<i64> = None;
            let mut since: Vec<i64> = Vec::new();
            for &(instance, writes) in touches {
                if writes {
                    pairs.extend(since.drain(..).chain(last_write).map(|source| (source, instance)));
                    last_write = Some(instance);
                } else {
                    pairs.extend(last_write.map(|source| (source, instance)));
                    since.push(instance);
                }
            }
            pairs.retain(|(source, sink)| source != sink);
            pairs
        })
    }

    /// Whether an instance stores no element of a state.
    pub fn is_value(&self, number: i64) -> bool {
        self.def_of(number).is_some_and(|id| self.marked.defs[id].update.is_none())
    }

    /// The number that stands for all that one execution of an update stores where a value moves it: any of its points
    /// may store any element.
    pub fn execution(&self, number: i64) -> i64 {
        self.numbers(number).map_or(number, |numbers| numbers.execution(number))
    }

    fn numbers(&self, number: i64) -> Option<&Numbering> {
        self.numbering.iter().find(|numbers| (numbers.base..numbers.end).contains(&number))
    }

    fn def_of(&self, number: i64) -> Option<DefId> {
        self.numbers(number).map(|numbers| numbers.def)
    }

    /// An instance in words: its definition and where it is, loops first.
    pub fn describe(&self, writer: Writer) -> String {
        let number = match writer {
            Writer::Nobody => return "nobody".to_owned(),
            Writer::Param(param, at) => return format!("parameter {param} at {at}"),
            Writer::Instance(number) => number,
        };
        let Some(numbers) = self.numbers(number) else { return format!("instance {number}") };
        let mut rest = number - numbers.base;
        let mut weight = numbers.end - numbers.base;
        let mut values = Vec::new();
        for &(variable, least, count) in &numbers.digits {
            weight /= count;
            let value = least + rest / weight;
            rest %= weight;
            values.push(match loop_of(variable) {
                Some(var) => format!("loop {var} = {value}"),
                None => format!("{value}"),
            });
        }
        format!("{}[{}]", numbers.name, values.join(", "))
    }
}

/// A result that is a copy of a state: it may be the state's own memory, so it stays as it is.
fn is_copied_result(form: &NormalForm, id: DefId) -> bool {
    let copies = |piece: &Piece| {
        matches!(piece.value.nodes.as_slice(), [ScalarNode { op: ScalarOp::Load(Source::State(_), _), .. }])
    };
    form.outputs.contains(&id) && form.defs[id].pieces.iter().all(copies)
}

fn number(id: DefId, def: &Def, piece: &Piece, scope: &[Scope], base: i64) -> Numbering {
    let mut digits: Vec<(usize, i64, i64)> =
        scope.iter().map(|scope| (scope.variable, scope.min, (scope.max - scope.min + 1).max(1))).collect();
    for (axis, range) in piece.domain.iter().enumerate() {
        let known = |v: usize| digits.iter().find(|digit| digit.0 == v).map_or((0, 0), |d| (d.1, d.1 + d.2 - 1));
        let least = range.lo.iter().map(|form| form.bounds(known).0).max().unwrap_or(0);
        let end = range.hi.iter().map(|form| form.bounds(known).1).min().unwrap_or(0);
        digits.push((axis, least, (end - least).max(1)));
    }
    let size: i64 = digits.iter().map(|digit| digit.2).product();
    Numbering { def: id, name: def.name.clone(), base, end: base + size, digits }
}

/// `value` becomes `true ? value : (instance + term)`.
fn mark(value: &mut Scalar, instance: &Affine, term: &Affine) {
    let root = value.nodes.len() - 1;
    let dtype = value.nodes[root].dtype;
    let first = value.nodes.len();
    let node = |op, dtype| ScalarNode { op, dtype };
    value.nodes.extend([
        node(ScalarOp::Const(Literal::Bool(true)), DType::Bool),
        node(ScalarOp::Index(instance.clone()), DType::I64),
        node(ScalarOp::Index(term.clone()), DType::I64),
        node(ScalarOp::Binary(BinaryOp::Add, first + 1, first + 2), DType::I64),
        node(ScalarOp::Cast(first + 3), dtype),
        node(ScalarOp::Where(first, root, first + 4), dtype),
    ]);
}

struct Walk<'f> {
    form: &'f NormalForm,
    /// For each piece of each definition the numbers of its instances and terms.
    forms: Vec<Vec<(Affine, Affine)>>,
    numbering: &'f [Numbering],
    most: usize,
    loops: BTreeMap<usize, i64>,
    defs: Vec<Vec<Writer>>,
    states: Vec<Vec<Writer>>,
    reads: BTreeMap<i64, Vec<Writer>>,
    touches: BTreeMap<(usize, usize), Vec<(i64, bool)>>,
}

impl Walk<'_> {
    fn at(&self, form: &Affine, point: &[i64]) -> i64 {
        form.evaluate(|v| point.get(v).or_else(|| self.loops.get(&v)).copied().unwrap_or(0))
    }

    fn range(&self, range: &Range, point: &[i64]) -> std::ops::Range<i64> {
        let low = range.lo.iter().map(|form| self.at(form, point)).max().unwrap_or(0);
        let high = range.hi.iter().map(|form| self.at(form, point)).min().unwrap_or(0);
        low..high
    }

    fn steps(&mut self, steps: &[Step]) -> Option<()> {
        for step in steps {
            match step {
                Step::Def(id) => self.compute(*id)?,
                Step::Loop { var, range, body, .. } => {
                    for x in self.range(range, &[]) {
                        self.loops.insert(loop_variable(*var), x);
                        self.steps(body)?;
                    }
                    self.loops.remove(&loop_variable(*var));
                }
                Step::If { conditions, body } => {
                    if conditions.iter().all(|form| self.at(form, &[]) >= 0) {
                        self.steps(body)?;
                    }
                }
            }
        }
        Some(())
    }

    /// Every point within the first `until` axes of a domain, after those given.
    fn points(&self, domain: &[Range], until: usize, from: &[i64]) -> Vec<Vec<i64>> {
        let mut all = vec![from.to_vec()];
        for range in &domain[from.len()..until] {
            all = all
                .iter()
                .flat_map(|point| self.range(range, point).map(|x| [point.as_slice(), &[x]].concat()))
                .collect();
        }
        all
    }

    /// A definition at the loops' values: all its elements are computed before any is written.
    fn compute(&mut self, id: DefId) -> Option<()> {
        let form = self.form;
        let def = &form.defs[id];
        let mut written = Vec::new();
        for (piece, (instance, term)) in def.pieces.iter().zip(self.forms[id].clone()) {
            let loads = reachable_loads(&piece.value);
            let copied = is_copied_result(form, id);
            for point in self.points(&piece.domain, def.axes.len(), &[]) {
                let own = self.at(&instance, &point);
                let terms = if copied { Vec::new() } else { self.points(&piece.domain, piece.domain.len(), &point) };
                for indices in terms {
                    let mut read: Vec<Writer> = loads
                        .iter()
                        .flat_map(|(source, access)| self.load(*source, access, &piece.value, &indices, Some(own)))
                        .collect();
                    if let Some(shift) = def.update.as_ref().and_then(|update| update.shift) {
                        let by = (Source::State(shift.by), Access::Axes(Vec::new()));
                        read.extend(self.load(by.0, &by.1, &piece.value, &indices, Some(own)));
                    }
                    read.sort_unstable();
                    read.dedup();
                    self.reads.insert(own + self.at(&term, &indices), read);
                    if self.reads.len() > self.most {
                        return None;
                    }
                }
                let writer = if copied {
                    let first = loads.first();
                    first
                        .and_then(|(source, access)| self.load(*source, access, &piece.value, &point, None).pop())
                        .unwrap_or(Writer::Nobody)
                } else {
                    Writer::Instance(own)
                };
                let (index, extents): (Vec<i64>, _) = match &def.update {
                    Some(update) => {
                        let index = update.base.iter().map(|form| self.at(form, &point)).collect();
                        (index, &form.states[update.state].shape)
                    }
                    None => (point, &def.axes),
                };
                written.push((offset(&index, extents), writer, own));
            }
        }
        for (at, writer, own) in written {
            match &def.update {
                Some(update) => {
                    // A value moves it: every element that it can name.
                    let last = update.shift.map_or(0, |shift| usize::try_from(shift.last).unwrap_or(0));
                    let mut all = self.numbering.iter().filter(|numbers| (numbers.base..numbers.end).contains(&own));
                    let (own, writer) = match (update.shift, all.next()) {
                        (Some(_), Some(numbers)) => {
                            let execution = numbers.execution(own);
                            (execution, Writer::Instance(execution))
                        }
                        (Some(_), None) | (None, _) => (own, writer),
                    };
                    for at in at..=at + last {
                        self.states[update.state][at] = writer;
                        self.touches.entry((update.state, at)).or_default().push((own, true));
                    }
                }
                None => self.defs[id][at] = writer,
            }
        }
        Some(())
    }

    /// Who wrote what a load reads: a gather reads every element that its index can name. `own` is the instance
    /// that reads it.
    fn load(
        &mut self,
        source: Source,
        access: &Access,
        value: &Scalar,
        point: &[i64],
        own: Option<i64>,
    ) -> Vec<Writer> {
        let extents = self.form.source_extents(source).unwrap_or_default();
        let natural = |at: i64| usize::try_from(at).unwrap_or(0);
        let elements: Vec<usize> = match access {
            Access::Axes(index) => {
                let index: Vec<i64> = index.iter().map(|form| self.at(form, point)).collect();
                vec![offset(&index, extents)]
            }
            Access::Flat(form) => vec![natural(self.at(form, point))],
            Access::Gather(gather) => {
                let known = self.at(&gather.offset, point);
                let (low, high) = gather.bounds(|at| value.nodes.get(at)).unwrap_or((0, -1));
                (low..=high).map(|index| natural(known + gather.stride * index)).collect()
            }
        };
        let writer = |at: usize| match source {
            Source::Param(param) => Writer::Param(param, at),
            Source::Def(def) => self.defs[def][at],
            Source::State(state) => {
                if let Some(own) = own {
                    self.touches.entry((state, at)).or_default().push((own, false));
                }
                self.states[state][at]
            }
        };
        elements.into_iter().map(writer).collect()
    }
}

/// The loads that the value depends on.
fn reachable_loads(value: &Scalar) -> Vec<(Source, Access)> {
    let mut live = vec![false; value.nodes.len()];
    let mut work = vec![value.nodes.len() - 1];
    while let Some(at) = work.pop() {
        if !std::mem::replace(&mut live[at], true) {
            work.extend(value.nodes[at].op.operands());
        }
    }
    let mut all = Vec::new();
    for (node, _) in value.nodes.iter().zip(live).filter(|(_, live)| *live) {
        if let ScalarOp::Load(source, access) = &node.op {
            all.push((*source, access.clone()));
        }
    }
    all
}

/// Row-major; an index out of bounds is a fault of the form, and panics.
fn offset(index: &[i64], extents: &[usize]) -> usize {
    index.iter().zip(extents).fold(0, |sum, (&index, &extent)| {
        let index = usize::try_from(index).ok().filter(|&index| index < extent);
        assert!(index.is_some(), "an access is out of the bounds {extents:?}");
        sum * extent + index.unwrap_or(0)
    })
}
