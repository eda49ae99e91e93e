//! Choosing core terms: a guided tree cost first, then a search over single changes judged by the
//! cost of the forms they build.

use super::NormalizeError;
use super::cost::{ExtractionCost, weight_of};
use super::form::{self, Choice};
use super::term::{Class, Snapshot, Term};
use crate::form::normal_form::NormalForm;
use crate::program::expr::Program;
use std::collections::{BTreeMap, BTreeSet};

/// A form with the terms it was built from.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) form: NormalForm,
    pub(super) choice: Choice,
    pub(super) cost: f64,
}

/// How many forms one extraction may build.
const MAX_BUILDS: usize = 160;

/// How many choices it may try: most of them were built already, and cost only their own search.
const MAX_TRIALS: usize = 4000;

/// How much work all of it may be: the nodes of the forms that it builds, and of the e-graph for every so many choices.
const MAX_WORK: usize = 40_000;
const CHOICES: usize = 64;

/// The best forms, best first, all different; at most `count`.
///
/// # Errors
/// If the roots have no form.
pub(super) fn extract(
    program: &Program,
    snapshot: &Snapshot,
    roots: &[Class],
    count: usize,
    cost: &dyn ExtractionCost,
) -> Result<Vec<Candidate>, NormalizeError> {
    let graph = Graph::new(snapshot);
    let (found, seen) = (Vec::new(), BTreeSet::new());
    let mut search = Search { program, snapshot, graph, roots, cost, found, seen, builds: 0, trials: 0, work: 0 };
    let mut fixed: BTreeMap<Class, usize> = BTreeMap::new();
    if let Some(first) = search.graph.choose(snapshot, roots, &fixed) {
        search.consider(&fixed)?;
        let shared = shared_views(snapshot, &first);
        search.consider(&shared)?;
        if search.found.first().is_some_and(|best| best.choice != first) {
            fixed = shared;
        }
    }
    // Hill climbing: from the best form so far, try every other term of every class it uses.
    while let Some(best) = search.found.first().cloned() {
        let mut better = None;
        for (&class, term) in &best.choice {
            let terms = &snapshot.classes[class].terms;
            if terms.len() < 2 {
                continue;
            }
            for (at, other) in terms.iter().enumerate() {
                if other == term || search.is_spent() {
                    continue;
                }
                let mut trial = fixed.clone();
                trial.insert(class, at);
                search.consider(&trial)?;
                if search.found[0].cost < best.cost && search.found[0].choice.get(&class) == Some(other) {
                    better = Some(trial);
                }
            }
            if better.is_some() {
                break;
            }
        }
        match better {
            Some(trial) if !search.is_spent() => fixed = trial,
            _ => break,
        }
    }
    if search.found.is_empty() {
        return Err(NormalizeError::Unbuildable { class: roots.first().copied().unwrap_or(0) });
    }
    search.found.truncate(count);
    Ok(search.found)
}

struct Search<'a> {
    program: &'a Program,
    snapshot: &'a Snapshot,
    graph: Graph,
    roots: &'a [Class],
    cost: &'a dyn ExtractionCost,
    found: Vec<Candidate>,
    seen: BTreeSet<Vec<(Class, Term)>>,
    builds: usize,
    trials: usize,
    work: usize,
}

impl Search<'_> {
    fn is_spent(&self) -> bool {
        self.builds >= MAX_BUILDS || self.trials >= MAX_TRIALS || self.work >= MAX_WORK
    }

    /// Builds the cheapest choice with the terms in `fixed`, if it is new.
    fn consider(&mut self, fixed: &BTreeMap<Class, usize>) -> Result<(), NormalizeError> {
        self.trials += 1;
        self.work += 1 + self.graph.size / CHOICES;
        let Some(choice) = self.graph.choose(self.snapshot, self.roots, fixed) else { return Ok(()) };
        if !self.seen.insert(choice.iter().map(|(class, term)| (*class, term.clone())).collect()) {
            return Ok(());
        }
        self.builds += 1;
        let built = form::build(self.program, self.snapshot, &choice, self.roots);
        let form = match built {
            Ok(form) => form,
            Err(error) if self.found.is_empty() => return Err(error),
            Err(_) => return Ok(()),
        };
        let nodes = form.defs.iter().flat_map(|def| &def.pieces).map(|piece| piece.value.nodes.len()).sum::<usize>();
        self.work += choice.len() + nodes;
        if self.found.iter().any(|candidate| candidate.form == form) {
            return Ok(());
        }
        let cost = self.cost.cost(&form);
        let at = self.found.partition_point(|candidate| candidate.cost <= cost);
        self.found.insert(at, Candidate { form, choice, cost });
        Ok(())
    }
}

/// The views of `choice` that may share their array: a tree's cost counts an array once for each
/// view of it, and so prefers computing each view by itself, even where two views overlap. Fixes
/// the view where it has most of an array that is chosen or viewed elsewhere too.
fn shared_views(snapshot: &Snapshot, choice: &Choice) -> BTreeMap<Class, usize> {
    let size = |class: Class| snapshot.classes[class].shape.as_ref().map_or(0.0, |shape| elements(shape));
    let mut views: BTreeMap<Class, Vec<(Class, usize)>> = BTreeMap::new();
    for &class in choice.keys() {
        for (at, term) in snapshot.classes[class].terms.iter().enumerate() {
            if let Term::View(_, viewed) = term
                && size(class) >= 0.5 * size(*viewed)
                && size(class) <= size(*viewed)
                && *viewed != class
            {
                views.entry(*viewed).or_default().push((class, at));
            }
        }
    }
    let mut fixed = BTreeMap::new();
    for (viewed, by) in views {
        if by.len() > 1 || choice.contains_key(&viewed) {
            for (class, at) in by {
                fixed.entry(class).or_insert(at);
            }
        }
    }
    fixed
}

/// Who reads what in a snapshot, with the terms' own costs.
struct Graph {
    /// For each class the terms that read it, by class and number, once for each time.
    readers: Vec<Vec<(Class, usize)>>,
    /// For each term of each class its arguments and its cost without theirs.
    terms: Vec<Vec<(Vec<Class>, f64)>>,
    /// The number of all terms.
    size: usize,
}

impl Graph {
    fn new(snapshot: &Snapshot) -> Graph {
        let mut readers = vec![Vec::new(); snapshot.classes.len()];
        let mut terms = Vec::with_capacity(snapshot.classes.len());
        for (class, data) in snapshot.classes.iter().enumerate() {
            for (at, term) in data.terms.iter().enumerate() {
                term.args().into_iter().for_each(|arg| readers[arg].push((class, at)));
            }
            terms.push(data.terms.iter().map(|term| (term.args(), own_cost(snapshot, class, term))).collect());
        }
        let size = terms.iter().map(Vec::len).sum();
        Graph { readers, terms, size }
    }

    /// The cheapest term of every class by the sum over its tree, those in `fixed` given; the part
    /// that the roots need. Costs are positive, so that no choice has a cycle.
    ///
    /// A term costs more than each of its arguments, so classes are final in the order of their costs, each once
    /// (Knuth, *A generalization of Dijkstra's algorithm*, 1977). Repeating until nothing changes takes exponentially
    /// many steps where the order is unlucky. A term is priced once, when the last of its arguments is final.
    fn choose(&self, snapshot: &Snapshot, roots: &[Class], fixed: &BTreeMap<Class, usize>) -> Option<Choice> {
        let count = self.terms.len();
        let mut costs = vec![f64::INFINITY; count];
        let mut offered = vec![f64::INFINITY; count];
        let mut best: Vec<Option<usize>> = vec![None; count];
        let mut missing: Vec<Vec<usize>> =
            self.terms.iter().map(|terms| terms.iter().map(|(args, _)| args.len()).collect()).collect();
        // Bits of floats that are not negative are in their order.
        let mut open: BTreeSet<(u64, Class)> = BTreeSet::new();
        let mut offer = |costs: &[f64], open: &mut BTreeSet<(u64, Class)>, class: Class, at: usize| {
            let (args, own) = &self.terms[class][at];
            let below: f64 = args.iter().map(|&arg| costs[arg]).sum();
            let cost = own + below + 1e-3;
            let allowed = fixed.get(&class).is_none_or(|&only| only == at);
            if allowed && cost < offered[class] {
                open.remove(&(offered[class].to_bits(), class));
                offered[class] = cost;
                best[class] = Some(at);
                open.insert((cost.to_bits(), class));
            }
        };
        for (class, terms) in self.terms.iter().enumerate() {
            for at in (0..terms.len()).filter(|&at| terms[at].0.is_empty()) {
                offer(&costs, &mut open, class, at);
            }
        }
        while let Some((bits, class)) = open.pop_first() {
            costs[class] = f64::from_bits(bits);
            for &(reader, at) in &self.readers[class] {
                missing[reader][at] -= 1;
                if missing[reader][at] == 0 && costs[reader].is_infinite() {
                    offer(&costs, &mut open, reader, at);
                }
            }
        }
        let mut choice = Choice::new();
        let mut stack: Vec<Class> = roots.to_vec();
        while let Some(class) = stack.pop() {
            if choice.contains_key(&class) {
                continue;
            }
            let term = snapshot.classes[class].terms[best[class]?].clone();
            stack.extend(term.args());
            choice.insert(class, term);
        }
        Some(choice)
    }
}

/// The number of points of a box. A law may meet boxes that no program could store: no integer need hold it.
pub(super) fn elements(extents: &[usize]) -> f64 {
    extents.iter().map(|&extent| extent as f64).product()
}

/// The cost of a term without its arguments.
fn own_cost(snapshot: &Snapshot, class: Class, term: &Term) -> f64 {
    let data = &snapshot.classes[class];
    let (Some(shape), Some(dtype)) = (&data.shape, data.dtype) else { return f64::INFINITY };
    let size = elements(shape);
    match term {
        Term::Input(_) | Term::Const(_) | Term::Iota(_) => 1e-3,
        Term::Table(_) => size,
        Term::Map1(..) | Term::Map2(..) | Term::Select(..) | Term::Cast(_) | Term::Pick(..) => {
            size * weight_of(term, dtype)
        }
        Term::View(..) => 1e-2,
        Term::Cat { .. } | Term::Reshape(_) => 2.0 * size + 1e-3,
        Term::Contract(spec, args) => {
            let steps = if spec.points < spec.domain.len() { 1.0 } else { 0.0 };
            let products = (args.len() - 1) as f64;
            elements(&spec.domain) * (steps + products).max(1.0) + 2.0 * size
        }
    }
}
