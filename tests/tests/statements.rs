//! Programs with loops and mutable arrays: normal forms, nests and kernels against loops written by hand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use moat_codegen::host_target;
use moat_codegen::{CompileOptions, CompiledNest, Workspace};
use moat_optimizer::apply::apply;
use moat_optimizer::form::verify::verify_form;
use moat_optimizer::form::{evaluate as evaluate_form, notation};
use moat_optimizer::integer::affine::Affine;
use moat_optimizer::nest::evaluate as evaluate_nest;
use moat_optimizer::normalize::{NormalizeConfig, normalize, replay};
use moat_optimizer::program::expr::{
    InputHint, Node, NodeId, Op, Param, Program, SectionAxis, Span, State, Statement, SumOrder,
};
use moat_optimizer::schedule::plain::plain_schedule;
use moat_optimizer::schedule::time::{is_legal, skewed, tilable};
use moat_optimizer::schedule::{Band, Schedule, TimeTile};
use moat_optimizer::space::ScheduleSpace;
use moat_optimizer::storage::settle;
use moat_optimizer::value::dtype::DType;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::scalar::{BinaryOp, FoldOp};
use moat_optimizer::value::tensor::{Data, Tensor};
use moat_rules::RuleBase;
use moat_rules::schedule_rules::ScheduleRules;

const F: DType = DType::F64;

struct Build(Program);

impl Build {
    fn new(name: &str, params: &[(&str, &[usize])]) -> Build {
        let mut program = Program { name: name.to_owned(), ..Program::default() };
        for (name, shape) in params {
            let param = Param { name: (*name).to_owned(), dtype: F, shape: shape.to_vec(), hint: InputHint::Any };
            program.params.push(param);
        }
        Build(program)
    }

    fn push(&mut self, op: Op, args: &[NodeId], shape: &[usize], live: &[Affine]) -> NodeId {
        self.0.nodes.push(Node {
            op,
            args: args.to_vec(),
            shape: shape.to_vec(),
            live: live.to_vec(),
            dtype: F,
            span: Span::default(),
        });
        self.0.nodes.len() - 1
    }

    fn state(&mut self, name: &str, shape: &[usize]) -> usize {
        self.0.states.push(State { name: name.to_owned(), dtype: F, shape: shape.to_vec() });
        self.0.states.len() - 1
    }

    fn read(&mut self, state: usize) -> NodeId {
        let shape = self.0.states[state].shape.clone();
        self.push(Op::State(state), &[], &shape, &[])
    }

    /// `state[axes]`, with the extents of its slices: the largest, and how many there are.
    fn section(&mut self, state: usize, axes: &[SectionAxis], extents: &[(usize, Affine)]) -> NodeId {
        let from = self.read(state);
        let shape: Vec<usize> = extents.iter().map(|extent| extent.0).collect();
        let live: Vec<Affine> = extents.iter().map(|extent| extent.1.clone()).collect();
        self.push(Op::Section(axes.to_vec()), &[from], &shape, &live)
    }

    fn binary(&mut self, op: BinaryOp, a: NodeId, b: NodeId) -> NodeId {
        let (shape, live) = (self.0.nodes[a].shape.clone(), self.0.nodes[a].live.clone());
        self.push(Op::Binary(op), &[a, b], &shape, &live)
    }

    /// A scalar over the shape of `like`.
    fn spread(&mut self, scalar: NodeId, like: NodeId) -> NodeId {
        let (shape, live) = (self.0.nodes[like].shape.clone(), self.0.nodes[like].live.clone());
        self.push(Op::Broadcast, &[scalar], &shape, &live)
    }

    /// `state = parameter`, all of it.
    fn copy(&mut self, state: usize, param: usize) -> Statement {
        let shape = self.0.params[param].shape.clone();
        let value = self.push(Op::Input(param), &[], &shape, &[]);
        update(state, shape.iter().map(|_| from(0)).collect(), value)
    }

    fn done(mut self, body: Vec<Statement>, results: &[usize]) -> Program {
        self.0.body = body;
        let roots: Vec<NodeId> = results.iter().map(|&state| self.read(state)).collect();
        self.0.roots = roots;
        self.0
    }
}

fn v(var: usize) -> Affine {
    Affine::variable(var)
}

fn from(start: i64) -> SectionAxis {
    SectionAxis::Slice { start: Affine::constant(start), step: 1 }
}

fn after(var: usize) -> SectionAxis {
    SectionAxis::Slice { start: v(var).offset(1), step: 1 }
}

fn at(form: Affine) -> SectionAxis {
    SectionAxis::At(form)
}

fn update(state: usize, region: Vec<SectionAxis>, value: NodeId) -> Statement {
    Statement::Update { state, region, shift: None, value, span: Span::default() }
}

fn repeat(var: usize, lo: Affine, hi: Affine, body: Vec<Statement>) -> Statement {
    Statement::Loop { var, name: format!("v{var}"), lo, hi, body }
}

fn c(value: i64) -> Affine {
    Affine::constant(value)
}

/// `for k: A[k+1:, k] /= A[k, k]; A[k+1:, k+1:] -= outer(A[k+1:, k], A[k, k+1:])`
fn lu(n: usize) -> Program {
    let mut b = Build::new("lu", &[("A", &[n, n])]);
    let a = b.state("LU", &[n, n]);
    let start = b.copy(a, 0);
    let rest = (n - 1, c(n as i64 - 1).minus(&v(0)));
    let column = b.section(a, &[after(0), at(v(0))], std::slice::from_ref(&rest));
    let pivot = b.section(a, &[at(v(0)), at(v(0))], &[]);
    let pivot = b.spread(pivot, column);
    let scaled = b.binary(BinaryOp::Div, column, pivot);
    let row = b.section(a, &[at(v(0)), after(0)], std::slice::from_ref(&rest));
    let block = b.section(a, &[after(0), after(0)], &[rest.clone(), rest.clone()]);
    let outer = b.push(Op::Outer(BinaryOp::Mul), &[column, row], &[n - 1, n - 1], &[rest.1.clone(), rest.1.clone()]);
    let reduced = b.binary(BinaryOp::Sub, block, outer);
    let body = vec![update(a, vec![after(0), at(v(0))], scaled), update(a, vec![after(0), after(0)], reduced)];
    b.done(vec![start, repeat(0, c(0), c(n as i64), body)], &[a])
}

fn lu_by_hand(n: usize, a: &[f64]) -> Vec<f64> {
    let mut a = a.to_vec();
    for k in 0..n {
        for i in k + 1..n {
            a[i * n + k] /= a[k * n + k];
        }
        for i in k + 1..n {
            for j in k + 1..n {
                a[i * n + j] -= a[i * n + k] * a[k * n + j];
            }
        }
    }
    a
}

/// `for i: x[i] = (b[i] - L[i, :i] @ x[:i]) / L[i, i]`
fn trisolv(n: usize) -> Program {
    let mut b = Build::new("trisolv", &[("L", &[n, n]), ("b", &[n])]);
    let x = b.state("x", &[n]);
    let matrix = b.push(Op::Input(0), &[], &[n, n], &[]);
    let right = b.push(Op::Input(1), &[], &[n], &[]);
    let before = (n - 1, v(0));
    let row = b.push(Op::Section(vec![at(v(0)), from(0)]), &[matrix], &[n - 1], &[v(0)]);
    let known = b.section(x, &[from(0)], &[before]);
    let sum = b.push(Op::MatMul, &[row, known], &[], &[]);
    let b_i = b.push(Op::Section(vec![at(v(0))]), &[right], &[], &[]);
    let rest = b.binary(BinaryOp::Sub, b_i, sum);
    let pivot = b.push(Op::Section(vec![at(v(0)), at(v(0))]), &[matrix], &[], &[]);
    let value = b.binary(BinaryOp::Div, rest, pivot);
    b.done(vec![repeat(0, c(0), c(n as i64), vec![update(x, vec![at(v(0))], value)])], &[x])
}

fn trisolv_by_hand(n: usize, l: &[f64], b: &[f64]) -> Vec<f64> {
    let mut x = vec![0.0; n];
    for i in 0..n {
        let sum: f64 = (0..i).map(|j| l[i * n + j] * x[j]).sum();
        x[i] = (b[i] - sum) / l[i * n + i];
    }
    x
}

/// `for t: A[1:-1] = A[:-2] + A[1:-1] + A[2:]`, in place: the right side is evaluated first.
fn shifted(n: usize, steps: usize) -> Program {
    let mut b = Build::new("shifted", &[("A", &[n])]);
    let a = b.state("B", &[n]);
    let start = b.copy(a, 0);
    let inner = (n - 2, c(n as i64 - 2));
    let parts: Vec<NodeId> = (0..3).map(|s| b.section(a, &[from(s)], std::slice::from_ref(&inner))).collect();
    let sum = b.binary(BinaryOp::Add, parts[0], parts[1]);
    let sum = b.binary(BinaryOp::Add, sum, parts[2]);
    let body = vec![update(a, vec![from(1)], sum)];
    b.done(vec![start, repeat(0, c(0), c(steps as i64), body)], &[a])
}

fn shifted_by_hand(steps: usize, a: &[f64]) -> Vec<f64> {
    let mut a = a.to_vec();
    for _ in 0..steps {
        let old = a.clone();
        for i in 1..a.len() - 1 {
            a[i] = old[i - 1] + old[i] + old[i + 1];
        }
    }
    a
}

/// `for k: P[:] = minimum(P, P[:, k, None] + P[None, k, :])`: row and column k are overwritten while they are read.
fn shortest(n: usize) -> Program {
    let mut b = Build::new("shortest", &[("A", &[n, n])]);
    let p = b.state("P", &[n, n]);
    let start = b.copy(p, 0);
    let whole = (n, c(n as i64));
    let old = b.read(p);
    let column = b.section(p, &[from(0), at(v(0))], std::slice::from_ref(&whole));
    let row = b.section(p, &[at(v(0)), from(0)], std::slice::from_ref(&whole));
    let detour = b.push(Op::Outer(BinaryOp::Add), &[column, row], &[n, n], &[]);
    let least = b.push(Op::Binary(BinaryOp::Minimum), &[old, detour], &[n, n], &[]);
    b.done(vec![start, repeat(0, c(0), c(n as i64), vec![update(p, vec![from(0), from(0)], least)])], &[p])
}

fn shortest_by_hand(n: usize, a: &[f64]) -> Vec<f64> {
    let mut p = a.to_vec();
    for k in 0..n {
        let old = p.clone();
        for i in 0..n {
            for j in 0..n {
                p[i * n + j] = old[i * n + j].min(old[i * n + k] + old[k * n + j]);
            }
        }
    }
    p
}

/// `for t: B[1:-1] = A[:-2] + A[1:-1] + A[2:]; A[2:-2] = B[1:-3] + B[4:]`: the second reaches further.
fn two_sweeps(n: usize, steps: usize) -> Program {
    let mut b = Build::new("two_sweeps", &[("A", &[n])]);
    let (a, other) = (b.state("A_", &[n]), b.state("B_", &[n]));
    let start = [b.copy(a, 0), b.copy(other, 0)];
    let inner = (n - 2, c(n as i64 - 2));
    let parts: Vec<NodeId> = (0..3).map(|s| b.section(a, &[from(s)], std::slice::from_ref(&inner))).collect();
    let sum = b.binary(BinaryOp::Add, parts[0], parts[1]);
    let sum = b.binary(BinaryOp::Add, sum, parts[2]);
    let inner = (n - 4, c(n as i64 - 4));
    let parts: Vec<NodeId> = [1, 4].map(|s| b.section(other, &[from(s)], std::slice::from_ref(&inner))).to_vec();
    let second = b.binary(BinaryOp::Add, parts[0], parts[1]);
    let body = vec![update(other, vec![from(1)], sum), update(a, vec![from(2)], second)];
    let [first, copy] = start;
    b.done(vec![first, copy, repeat(0, c(0), c(steps as i64), body)], &[a])
}

fn two_sweeps_by_hand(steps: usize, a: &[f64]) -> Vec<f64> {
    let (mut a, mut b) = (a.to_vec(), a.to_vec());
    let n = a.len();
    for _ in 0..steps {
        (1..n - 1).for_each(|i| b[i] = a[i - 1] + a[i] + a[i + 1]);
        (2..n - 2).for_each(|i| a[i] = b[i - 1] + b[i + 2]);
    }
    a
}

/// Row maxima of what is above the diagonal, kept where a condition on the loop holds:
/// `for i: if i >= 2: m[i] = max(A[:i, i])`, `m` being A's first row at the start.
fn conditional(n: usize) -> Program {
    let mut b = Build::new("conditional", &[("A", &[n, n])]);
    let m = b.state("m", &[n]);
    let matrix = b.push(Op::Input(0), &[], &[n, n], &[]);
    let first = b.push(Op::Index { axis: 0, at: 0 }, &[matrix], &[n], &[]);
    let column = b.push(Op::Section(vec![from(0), at(v(0))]), &[matrix], &[n - 1], &[v(0)]);
    let most = b.push(Op::Reduce { op: FoldOp::Max, axes: vec![0], order: SumOrder::default() }, &[column], &[], &[]);
    let inner = Statement::If { conditions: vec![v(0).offset(-2)], body: vec![update(m, vec![at(v(0))], most)] };
    b.done(vec![update(m, vec![from(0)], first), repeat(0, c(0), c(n as i64), vec![inner])], &[m])
}

fn conditional_by_hand(n: usize, a: &[f64]) -> Vec<f64> {
    (0..n).map(|i| if i < 2 { a[i] } else { (0..i).map(|k| a[k * n + i]).fold(f64::MIN, f64::max) }).collect()
}

fn tensor(shape: &[usize], values: Vec<f64>) -> Tensor {
    Tensor { dtype: F, shape: shape.to_vec(), data: Data::F64(values) }
}

fn matrix(n: usize) -> Vec<f64> {
    (0..n * n).map(|at| if at % (n + 1) == 0 { 4.0 + n as f64 } else { ((at * 37) % 19) as f64 / 19.0 }).collect()
}

fn close(name: &str, found: &Tensor, expected: &[f64]) {
    for (at, &expected) in expected.iter().enumerate() {
        let found = found.get_f64(at);
        assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{name} at {at}: {found}, not {expected}");
    }
}

/// Forms, plain and default nests and their kernels, against `expected`.
fn agrees(program: &Program, inputs: &[Tensor], expected: &[f64]) {
    let rules = RuleBase::standard().unwrap();
    let config = NormalizeConfig { numerics: Numerics::Reassociate, ..NormalizeConfig::default() };
    let forms = normalize(program, &rules, &config).unwrap().forms;
    for form in &forms {
        let name = &program.name;
        replay(program, &rules, form, &config).unwrap();
        verify_form(&form.normal_form).unwrap_or_else(|e| {
            let terms: Vec<&str> = form.derivation.parts.iter().map(|part| part.term.as_str()).collect();
            panic!("{name}: {e}\n{}", terms.join("\n"))
        });
        close(name, &evaluate_form::evaluate(&form.normal_form, inputs).unwrap()[0], expected);
        let text = notation::print(&form.normal_form);
        let read = notation::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(notation::print(&read), text);
        close(name, &evaluate_form::evaluate(&read, inputs).unwrap()[0], expected);
        let form = settle(&form.normal_form).unwrap();
        close(name, &evaluate_form::evaluate(&form, inputs).unwrap()[0], expected);
        let target = host_target();
        let rules = ScheduleRules::standard();
        let space = ScheduleSpace::new(&form, &target, &rules, Numerics::Reassociate, 1).unwrap();
        for schedule in [space.plain(), space.default()] {
            let nest = apply(&form, &schedule).unwrap();
            let options = CompileOptions {
                target: target.clone(),
                numerics: Numerics::Reassociate,
                threads: 1,
                function: name.clone(),
            };
            let kernel = CompiledNest::load(&nest, &options).unwrap();
            let mut results = vec![Tensor::poison(F, &program.nodes[program.roots[0]].shape)];
            kernel.call(&inputs.iter().collect::<Vec<_>>(), &mut results, &mut Workspace::new()).unwrap();
            close(name, &results[0], expected);
        }
    }
}

#[test]
fn a_factorization_shrinks_its_domain() {
    for n in [2, 3, 17, 40] {
        let a = matrix(n);
        agrees(&lu(n), &[tensor(&[n, n], a.clone())], &lu_by_hand(n, &a));
    }
}

#[test]
fn a_fold_over_what_is_known_so_far() {
    for n in [2, 3, 33] {
        let (l, b) = (matrix(n), (0..n).map(|i| i as f64 + 0.5).collect::<Vec<_>>());
        let expected = trisolv_by_hand(n, &l, &b);
        agrees(&trisolv(n), &[tensor(&[n, n], l), tensor(&[n], b)], &expected);
    }
}

#[test]
fn an_update_that_reads_its_neighbours_is_computed_first() {
    for n in [3, 4, 50] {
        let a: Vec<f64> = (0..n).map(|i| (i % 7) as f64).collect();
        agrees(&shifted(n, 5), &[tensor(&[n], a.clone())], &shifted_by_hand(5, &a));
    }
}

#[test]
fn a_condition_on_a_loop() {
    let n = 20;
    let a = matrix(n);
    agrees(&conditional(n), &[tensor(&[n, n], a.clone())], &conditional_by_hand(n, &a));
}

#[test]
fn time_loops_run_in_skewed_tiles() {
    let (n, steps) = (61, 13);
    let a: Vec<f64> = (0..n).map(|i| (i % 5) as f64).collect();
    let program = two_sweeps(n, steps);
    let (inputs, expected) = ([tensor(&[n], a.clone())], two_sweeps_by_hand(steps, &a));
    agrees(&program, &inputs, &expected);
    let rules = RuleBase::standard().unwrap();
    let form = normalize(&program, &rules, &NormalizeConfig::default()).unwrap().forms.remove(0).normal_form;
    let form = settle(&form).unwrap();
    let [known] = tilable(&form).try_into().unwrap();
    // A[i] reads B[i + 2] of the same iteration: the second statement is two behind the first.
    assert_eq!((known.var, known.dim, known.skew, known.shifts.as_slice()), (0, 0, 3, [0, 2].as_slice()));
    let tile = |skew, time, height| TimeTile {
        var: 0,
        time,
        bands: vec![Band { dim: 0, skew, shifts: known.shifts.clone(), independent: false, panel: None, height }],
        parallel: false,
    };
    let least = known.skew;
    assert!(is_legal(&form, &tile(least, 4, 8)) && !is_legal(&form, &tile(least - 1, 4, 8)));
    for (skew, time, height) in [(0, 1, 1), (0, 4, 8), (1, 5, 7), (0, 13, 100), (0, 32, 16)] {
        let skew = least + skew;
        let tiled = skewed(&form, &tile(skew, time, height)).unwrap().form;
        verify_form(&tiled).unwrap();
        // All iterations in one block need no loop over blocks.
        assert_eq!(notation::print(&tiled).contains("_block"), time < steps);
        close("tiled", &evaluate_form::evaluate(&tiled, &inputs).unwrap()[0], &expected);
        let schedule = Schedule { time_tiles: vec![tile(skew, time, height)], ..plain_schedule(&form) };
        close(
            "tiled nest",
            &evaluate_nest::evaluate(&apply(&form, &schedule).unwrap(), &inputs).unwrap()[0],
            &expected,
        );
    }
    // A planted illegal tile computes something else.
    let wrong = skewed(&form, &tile(least - 1, 8, 4)).unwrap().form;
    let found = evaluate_form::evaluate(&wrong, &inputs).unwrap();
    assert!((0..n).any(|at| (found[0].get_f64(at) - expected[at]).abs() > 1e-9));
}

#[test]
fn what_is_overwritten_while_it_is_read_is_copied_first() {
    let n = 23;
    // Negative weights: with them, row and column k change.
    let a: Vec<f64> = (0..n * n).map(|at| ((at * 7) % 23) as f64 - 3.0).collect();
    let program = shortest(n);
    agrees(&program, &[tensor(&[n, n], a.clone())], &shortest_by_hand(n, &a));
    let rules = RuleBase::standard().unwrap();
    let form = normalize(&program, &rules, &NormalizeConfig::default()).unwrap().forms.remove(0).normal_form;
    let sizes: Vec<usize> =
        settle(&form).unwrap().defs.iter().map(moat_optimizer::form::normal_form::Def::size).collect();
    assert_eq!(sizes, vec![n * n, n, n, n * n, n * n], "a row and a column are copied");
}
