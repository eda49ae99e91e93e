//! The scalar operations of a program as it is written: what `work_reduction` compares the executed nest with.
//!
//! Each operator on whole arrays counts what its definition says, by the conventions of `moat_optimizer::nest::work`: one for
//! each arithmetic operator, function and fold step, none for views, conversions, selections and comparisons. In loops
//! it counts every time that a statement computes it, on the elements that exist then.

use moat_optimizer::integer::affine::Affine;
use moat_optimizer::program::expr::{Node, NodeId, Op, Program, Statement};
use moat_optimizer::value::dtype::DType;
use std::collections::{BTreeMap, BTreeSet};

/// A loop whose iterations differ is counted at this many of its values, evenly spaced, where it has more.
const SAMPLES: u64 = 1024;

/// Scalar operations of a whole run. What depends on no state and no loop variable is computed once and in full.
pub fn flops(program: &Program) -> u64 {
    let fixed = fixed(program);
    let mut once = BTreeSet::new();
    let whole = |node: &Node| node.shape.iter().map(|&extent| extent as u64).collect();
    let mut at_end: Vec<NodeId> = reachable(program, &program.roots).into_iter().collect();
    at_end.retain(|&node| {
        let keep = !fixed[node];
        if !keep {
            once.insert(node);
        }
        keep
    });
    let statements: Vec<Counted<'_>> =
        program.body.iter().map(|body| counted(program, body, &fixed, &mut once)).collect();
    let mut run = Run { program, variables: Vec::new() };
    let in_loops: f64 = statements.iter().map(|statement| run.statement(statement)).sum();
    let outside = once.iter().chain(&at_end).map(|&node| node_flops(program, &program.nodes[node], &whole));
    outside.sum::<u64>().saturating_add(rounded(in_loops))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, saturated at the largest")]
fn rounded(count: f64) -> u64 {
    count.round() as u64
}

/// Whether each node has one value for the whole run.
fn fixed(program: &Program) -> Vec<bool> {
    let mut fixed = Vec::with_capacity(program.nodes.len());
    for node in &program.nodes {
        fixed.push(node.op.is_fixed() && node.live.is_empty() && node.args.iter().all(|&arg| fixed[arg]));
    }
    fixed
}

fn reachable(program: &Program, results: &[NodeId]) -> BTreeSet<NodeId> {
    let (mut found, mut open) = (BTreeSet::new(), results.to_vec());
    while let Some(node) = open.pop() {
        if found.insert(node) {
            open.extend(&program.nodes[node].args);
        }
    }
    found
}

/// A statement with what its count hangs on.
struct Counted<'p> {
    kind: Kind<'p>,
    /// Loop variables that its count depends on.
    depends: BTreeSet<usize>,
}

enum Kind<'p> {
    Update(Vec<NodeId>),
    Loop { var: usize, lo: &'p Affine, hi: &'p Affine, body: Vec<Counted<'p>> },
    If { conditions: &'p [Affine], body: Vec<Counted<'p>> },
}

fn counted<'p>(
    program: &'p Program,
    statement: &'p Statement,
    fixed: &[bool],
    once: &mut BTreeSet<NodeId>,
) -> Counted<'p> {
    let variables = |form: &Affine| form.terms.iter().map(|term| term.0).collect::<Vec<_>>();
    match statement {
        Statement::Update { value, .. } => {
            let (same, changing): (BTreeSet<NodeId>, BTreeSet<NodeId>) =
                reachable(program, &[*value]).into_iter().partition(|&node| fixed[node]);
            once.extend(same);
            let nodes: Vec<NodeId> =
                changing.into_iter().filter(|&node| node_flops(program, &program.nodes[node], &ones) > 0).collect();
            let shapes = nodes.iter().flat_map(|&node| program.nodes[node].args.iter().copied().chain([node]));
            let depends = shapes.flat_map(|node| &program.nodes[node].live).flat_map(variables).collect();
            Counted { kind: Kind::Update(nodes), depends }
        }
        Statement::Loop { var, lo, hi, body, .. } => {
            let body: Vec<Counted<'p>> = body.iter().map(|inner| counted(program, inner, fixed, once)).collect();
            let mut depends: BTreeSet<usize> = body.iter().flat_map(|inner| inner.depends.clone()).collect();
            depends.extend(variables(lo).into_iter().chain(variables(hi)));
            Counted { kind: Kind::Loop { var: *var, lo, hi, body }, depends }
        }
        Statement::If { conditions, body } => {
            let body: Vec<Counted<'p>> = body.iter().map(|inner| counted(program, inner, fixed, once)).collect();
            let mut depends: BTreeSet<usize> = body.iter().flat_map(|inner| inner.depends.clone()).collect();
            depends.extend(conditions.iter().flat_map(variables));
            Counted { kind: Kind::If { conditions, body }, depends }
        }
    }
}

/// A shape without empty axes, for the question whether an operator counts at all.
fn ones(node: &Node) -> Vec<u64> {
    vec![1; node.shape.len()]
}

struct Run<'p> {
    program: &'p Program,
    variables: Vec<i64>,
}

impl Run<'_> {
    fn at(&self, form: &Affine) -> i64 {
        form.evaluate(|var| self.variables.get(var).copied().unwrap_or(0))
    }

    #[expect(clippy::cast_precision_loss, reason = "counts need no more than 53 bits")]
    fn statement(&mut self, statement: &Counted<'_>) -> f64 {
        match &statement.kind {
            Kind::Update(nodes) => {
                let shape = |node: &Node| -> Vec<u64> {
                    node.extents().iter().map(|extent| u64::try_from(self.at(extent)).unwrap_or(0)).collect()
                };
                let count = |&node: &NodeId| node_flops(self.program, &self.program.nodes[node], &shape);
                nodes.iter().map(count).sum::<u64>() as f64
            }
            Kind::Loop { var, lo, hi, body } => {
                let (lo, hi) = (self.at(lo), self.at(hi));
                let count = u64::try_from(hi.saturating_sub(lo)).unwrap_or(0);
                let differs = body.iter().any(|inner| inner.depends.contains(var));
                let samples = if differs { count.min(SAMPLES) } else { count.min(1) };
                if self.variables.len() <= *var {
                    self.variables.resize(*var + 1, 0);
                }
                let mut sum = 0.0;
                for sample in 0..samples {
                    // The middle of each of equal parts of the range.
                    let offset = u128::from(2 * sample + 1) * u128::from(count) / u128::from(2 * samples);
                    self.variables[*var] = lo.saturating_add(i64::try_from(offset).unwrap_or(0));
                    sum += body.iter().map(|inner| self.statement(inner)).sum::<f64>();
                }
                if samples == 0 { 0.0 } else { sum * (count as f64 / samples as f64) }
            }
            Kind::If { conditions, body } => {
                if conditions.iter().all(|condition| self.at(condition) >= 0) {
                    body.iter().map(|inner| self.statement(inner)).sum()
                } else {
                    0.0
                }
            }
        }
    }
}

fn node_flops(program: &Program, node: &Node, shape: &impl Fn(&Node) -> Vec<u64>) -> u64 {
    let size = || shape(node).iter().product::<u64>();
    let argument = |at: usize| node.args.get(at).map(|&arg| shape(&program.nodes[arg]));
    match &node.op {
        Op::Unary(_) | Op::Binary(_) | Op::Outer(_) => {
            if node.dtype == DType::Bool {
                0
            } else {
                size()
            }
        }
        Op::MatMul | Op::Dot | Op::Inner => {
            let terms = argument(0).and_then(|left| left.last().copied()).unwrap_or(1);
            2 * size() * terms
        }
        Op::Einsum { inputs, output } => {
            let mut extents: BTreeMap<usize, u64> = BTreeMap::new();
            for (labels, &arg) in inputs.iter().zip(&node.args) {
                for (&label, extent) in labels.iter().zip(shape(&program.nodes[arg])) {
                    let known = extents.entry(label).or_insert(extent);
                    *known = if *known == 1 { extent } else { *known };
                }
            }
            let folds = u64::from(extents.keys().any(|label| !output.contains(label)));
            extents.values().product::<u64>() * (inputs.len().saturating_sub(1) as u64 + folds)
        }
        Op::Reduce { .. } => argument(0).map_or(0, |of| of.iter().product()),
        Op::Trace { offset } => {
            let length = argument(0).map_or(0, |of| diagonal(&of, *offset));
            size() * length
        }
        Op::Input(_)
        | Op::State(_)
        | Op::LoopIndex(_)
        | Op::Section(_)
        | Op::Const(_)
        | Op::Array(_)
        | Op::Arange { .. }
        | Op::Eye { .. }
        | Op::Where
        | Op::Cast
        | Op::Broadcast
        | Op::Transpose(_)
        | Op::Reshape
        | Op::Slice(_)
        | Op::Index { .. }
        | Op::Diagonal { .. }
        | Op::Flip(_)
        | Op::Roll { .. }
        | Op::Pad { .. }
        | Op::Concat { .. }
        | Op::Window { .. }
        | Op::Tril { .. }
        | Op::Triu { .. }
        | Op::Gather { .. } => 0,
    }
}

/// Length of a diagonal of the first two axes.
fn diagonal(shape: &[u64], offset: i64) -> u64 {
    let (Some(&rows), Some(&columns)) = (shape.first(), shape.get(1)) else { return 0 };
    let cut = offset.unsigned_abs();
    if offset >= 0 { rows.min(columns.saturating_sub(cut)) } else { columns.min(rows.saturating_sub(cut)) }
}

#[cfg(test)]
mod tests {
    use super::flops;
    use moat_optimizer::frontend::{ParseOptions, parse};

    fn count(body: &str) -> u64 {
        let source = format!("import numpy as np\ndef f(A: f32[4, 6], B: f32[6, 4], v: f32[4]):\n    return {body}\n");
        flops(&parse("f.py", &source, &ParseOptions::default()).unwrap().program)
    }

    #[test]
    fn operators_count_what_their_definitions_say() {
        assert_eq!(count("A @ B"), 2 * 4 * 6 * 4);
        assert_eq!(count("A @ B @ v"), 2 * 4 * 6 * 4 + 2 * 4 * 4);
        assert_eq!(count("np.trace(A @ B)"), 2 * 4 * 6 * 4 + 4);
        assert_eq!(count("np.exp(A) + B.T"), 2 * 24);
        assert_eq!(count("A.sum(1)"), 24);
        assert_eq!(count("np.einsum('ij,ji->', A, B)"), 2 * 24);
        assert_eq!(count("A.T[::-1]"), 0);
        assert_eq!(count("A > 0"), 0);
    }
    fn count_loops(body: &str) -> u64 {
        let indented: String = body.lines().map(|line| format!("    {line}\n")).collect();
        let source = format!("import numpy as np\ndef f(A: f32[40, 60], x: f32[60]):\n{indented}");
        flops(&parse("f.py", &source, &ParseOptions::default()).unwrap().program)
    }

    #[test]
    fn loops_count_every_iteration_on_the_elements_that_exist() {
        let triangle: u64 = (0..40).sum();
        assert_eq!(count_loops("for k in range(40):\n    A[k, :k] += x[:k]\n"), triangle);
        assert_eq!(count_loops("for k in range(40):\n    x[k] = A[k, :k] @ A[k, :k]\nreturn x"), 2 * triangle);
        assert_eq!(
            count_loops(
                "for t in range(9):\n    for i in range(40):\n        for j in range(i, 60):\n            \
                                A[i, j] *= 2\n"
            ),
            9 * (0..40).map(|i| 60 - i).sum::<u64>()
        );
        assert_eq!(count_loops("for k in range(40):\n    if k > 29:\n        x[k] += 1\n"), 10);
        assert_eq!(count_loops("y = np.exp(x)\nfor k in range(40):\n    A[k] += y\nreturn A.sum()"), 60 + 2400 + 2400);
        assert_eq!(count_loops("return np.cumsum(x)"), 59);
    }
}
