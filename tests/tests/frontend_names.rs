//! Names are storage, as in Python: what a name stands for may change with the iteration. All ways to rebind two and three
//! names in a loop, each with several ways to write to their arrays, from several beginnings: the results, and what
//! every argument holds after the call, are NumPy's.

use moat_optimizer::frontend::{ParseOptions, listing, parse};
use moat_optimizer::oracle::interpret::interpret;
use moat_optimizer::program::expr::{Node, Op, Program, Statement};
use moat_optimizer::program::verify::verify;
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::tensor::{Data, Tensor};
use moat_tests::kernels::{arguments, equal_the_interpreter, program};
use moat_tests::python::{SourceCase, run_sources};

const HEADER: &str = "from __future__ import annotations\nimport numpy as np\n\n";

/// What a loop's body does besides rebinding names: `A`, `B` and `C` are the first, second and last name.
const WRITES: [&[&str]; 11] = [
    &[],
    &["B[1:] = A[:-1] * 0.5 + 1.0"],
    &["B[:] = A + 1.0"],
    &["A += 0.5", "B *= 2.0"],
    &["A = A * 0.5 + B"],
    &["A = A * 0.5 + B", "A -= 1.0"],
    &["A -= 1.0", "A = A * 0.5 + B"],
    &["C[1] = A[2] + n"],
    &["C = np.zeros(4)", "C[:] = A + B"],
    &["A = B[::-1]", "B[0] += n + 1.0"],
    &["B = A.copy()", "B[0] = n + 7.0"],
];

/// What the names stand for at first: the parameters, and one value for each name.
const BEGINNINGS: [(&[&str], [&str; 3]); 6] = [
    (&["p", "q", "r"], ["p", "q", "r"]),
    (&["p"], ["p", "p", "p"]),
    (&["p"], ["p", "p.copy()", "p * 2.0"]),
    (&["p"], ["p + 1.0", "np.zeros(4)", "p.copy()"]),
    (&["p"], ["p", "p[::-1]", "p[:]"]),
    (&["p"], ["p * 2.0", "A", "A"]),
];

/// How often loops run: those inside of each other, outermost first.
const TRIPS: [&[usize]; 8] = [&[0], &[1], &[2], &[3], &[5], &[2, 3], &[3, 1], &[4, 2]];

/// All programs with so many names: one for each map of names to names, writes, beginning and trips. Where in the body the
/// names are rebound takes turns.
fn programs(names: usize) -> Vec<String> {
    let mut sources = Vec::new();
    let letters = ["u", "v", "w"];
    let named = |text: &str| text.replace('A', "u").replace('B', "v").replace('C', letters[names - 1]);
    for map in 0..names.pow(names as u32) {
        let targets: Vec<&str> = (0..names).map(|at| letters[map / names.pow(at as u32) % names]).collect();
        let rebinding = format!("{} = {}", letters[..names].join(", "), targets.join(", "));
        for (at, writes) in WRITES.iter().enumerate() {
            for (from, (params, values)) in BEGINNINGS.iter().enumerate() {
                for (trip, trips) in TRIPS.iter().enumerate() {
                    let mut body: Vec<String> = writes.iter().map(|line| named(line)).collect();
                    body.insert((map + at + from + trip) % (body.len() + 1), rebinding.clone());
                    let params: Vec<&str> = params.iter().take(names).copied().collect();
                    let declared: Vec<String> = params.iter().map(|name| format!("{name}: f64[4]")).collect();
                    let mut text = format!("{HEADER}def f({}):\n", declared.join(", "));
                    for (name, value) in letters.iter().zip(values).take(names) {
                        text += &format!("    {name} = {}\n", named(value));
                    }
                    for (depth, (trips, variable)) in trips.iter().zip(["n", "m"]).enumerate() {
                        text += &format!("{}for {variable} in range({trips}):\n", "    ".repeat(depth + 1));
                    }
                    for line in body {
                        text += &format!("{}{line}\n", "    ".repeat(trips.len() + 1));
                    }
                    if trips.len() > 1 {
                        text += "        u[3] += n\n";
                    }
                    let results: Vec<String> = letters[..names].iter().map(|name| format!("{name} * 1.0")).collect();
                    sources.push(format!("{text}    return {}\n", results.join(", ")));
                }
            }
        }
    }
    sources
}

/// The program with what every parameter holds at the end as a result, also of those that it does not change.
fn with_all_arguments(mut program: Program) -> Program {
    let returned = program.results().len() - program.mutated.len();
    let checks = program.roots.split_off(program.results().len());
    let mutated = program.roots.split_off(returned);
    for (at, param) in program.params.iter().enumerate() {
        let root = program.mutated.iter().position(|&changed| changed == at).map(|changed| mutated[changed]);
        program.roots.push(root.unwrap_or(program.nodes.len()));
        if root.is_none() {
            let (op, shape, dtype) = (Op::Input(at), param.shape.clone(), param.dtype);
            program.nodes.push(Node { op, args: vec![], shape, live: vec![], dtype, span: Default::default() });
        }
    }
    program.roots.extend(checks);
    program.mutated = (0..program.params.len()).collect();
    program
}

/// Exact inputs, different for each parameter.
fn inputs(program: &Program) -> Vec<Tensor> {
    let input = |(at, shape): (usize, &Vec<usize>)| {
        let size: usize = shape.iter().product();
        let data = (0..size).map(|element| element as f64 + 10.0 * at as f64).collect();
        Tensor::new(shape, Data::F64(data)).expect("an input")
    };
    program.params.iter().map(|param| &param.shape).enumerate().map(input).collect()
}

/// Holds the programs that are read against NumPy; gives what was refused, with the reason.
fn against_numpy(sources: &[String]) -> Vec<(String, String)> {
    let mut refused = Vec::new();
    let mut read = Vec::new();
    for source in sources {
        match parse("case.py", source, &ParseOptions::default()) {
            Ok(workload) => {
                verify(&workload.program).unwrap_or_else(|error| panic!("{source}\n{error}"));
                read.push((source, with_all_arguments(workload.program)));
            }
            Err(errors) => refused.push((source.clone(), errors.to_string())),
        }
    }
    let inputs: Vec<Vec<Tensor>> = read.iter().map(|(_, program)| inputs(program)).collect();
    let cases: Vec<SourceCase<'_>> = read
        .iter()
        .zip(&inputs)
        .map(|((source, program), inputs)| SourceCase { source, lets: vec![], program, inputs })
        .collect();
    for cases in cases.chunks(2000) {
        for (case, outcome) in cases.iter().zip(run_sources(cases)) {
            let source = case.source;
            let found = outcome.unwrap_or_else(|error| panic!("{error}\n{source}"));
            let expected = interpret(case.program, case.inputs, Numerics::Reassociate).expect("a verified program");
            assert_eq!(expected.len(), found.len(), "{source}");
            for (reference, found) in expected.iter().zip(&found) {
                let agrees = reference.check(found);
                agrees.unwrap_or_else(|error| panic!("{error}\n{source}\n{}", listing(case.program)));
            }
        }
    }
    refused
}

#[test]
fn every_way_to_rebind_two_names() {
    let refused = against_numpy(&programs(2));
    assert!(refused.is_empty(), "{} refused, as {}{}", refused.len(), refused[0].0, refused[0].1);
}

#[test]
fn every_way_to_rebind_three_names() {
    let refused = against_numpy(&programs(3));
    assert!(refused.is_empty(), "{} refused, as {}{}", refused.len(), refused[0].0, refused[0].1);
}

/// Bodies over `p, q: f64[4]` and `A: f64[4, 4]` that return what they end with.
const BODIES: &[&str] = &[
    // What a name stands for at first is written to in the first iteration only.
    "for n in range(3):\n    p /= 2.0\n    p = A @ p\nreturn p",
    "for n in range(3):\n    p = A @ p\n    p /= p[0] + 1.0\nreturn p",
    "for n in range(0):\n    p /= 2.0\n    p = A @ p\nreturn p * 1.0",
    "u = p\nfor n in range(4):\n    p[n] += u[0]\n    u = u * 2.0\nreturn u",
    // Three buffers, none of which comes back to the same name before the third iteration.
    "r = np.zeros(4)\nfor n in range(7):\n    r[1:-1] = 2.0 * q[1:-1] - p[1:-1] + 0.5 * (q[2:] + q[:-2])\n    p, q, r = q, r, p\nreturn p * 1.0, q * 1.0",
    "t = p\np = q\nq = t\np[0] = 5.0\nreturn q",
    "for n in range(5):\n    t = p\n    p = q\n    q = t\n    p[0] += q[1] + n\nreturn p",
    "p[:], q[:] = q, p\nreturn p, q",
    "p[1:], p[:-1] = p[:-1], p[1:]\nreturn p",
    "b = p\nb += 1.0\nreturn b, p",
    // A buffer that each iteration makes anew, and one that it keeps.
    "for n in range(4):\n    q = np.zeros(4)\n    q[1:] = p[:-1] * 0.5\n    p = q\n    p[0] = n\nreturn p",
    "old = p\nfor n in range(4):\n    new = old * 0.5 + q\n    new[0] = old[3]\n    q = old\n    old = new\nreturn old, q * 1.0",
    "history = (p, q)\nfor n in range(5):\n    history = (history[1], history[0])\n    history[0][0] += 1.0\nreturn history[0]",
    // Views that are kept for the next iteration, and behind the loop.
    "row = A[3]\nfor n in range(4):\n    A[n] = row + 1.0\n    row = A[n]\n    row[0] += 0.5\nreturn row * 1.0",
    "row = A[0]\nfor n in range(1, 4):\n    row[n] = 7.0\n    A[n] += row\n    row = A[n]\nrow[0] = 9.0\nreturn A",
    "for n in range(4):\n    row = A[n]\n    row += p\nrow[1] = 3.0\nreturn row * 1.0",
    "column = A[:, 0]\nfor n in range(3):\n    column[n] = n + 10.0\n    column = A[:, n + 1]\nreturn column * 1.0",
    "u = p\nfor n in range(5):\n    u = u[::-1]\n    u[0] += 1.0\nreturn u * 1.0",
    // Conditions on the loop's variable.
    "u = p\nfor n in range(6):\n    if n == 0:\n        u = q\n    u[1] += n\nreturn u * 1.0",
    "u = p\nfor n in range(6):\n    if n > 2:\n        u = q\n    u[1] += n\nreturn u * 1.0",
    "u = p\nfor n in range(40):\n    if n >= 3:\n        u = q\n    else:\n        u = A[n]\n    u[1] += n\nreturn u * 1.0",
    "s = 0.0\nfor n in range(8):\n    if n > 5:\n        s += 1\n    s += p[0]\nreturn s",
    "s = p[0]\nfor n in range(4):\n    if n > 1:\n        p, q = q, p\n    p[0] += s\n    s = s + q[1]\nreturn s",
    // Loops in loops, whose swaps add up.
    "for n in range(3):\n    for m in range(2 * n):\n        p[1:] = q[:-1] * 0.5\n        p, q = q, p\n    p[0] += n\nreturn p * 1.0",
    "for n in range(4):\n    for m in range(n, n + 3):\n        p[1:] = q[:-1] * 0.5 + m\n        p, q = q, p\n    p[0] += n\nreturn p * 1.0",
    "for n in range(3):\n    q[:] = p + 1.0\n    p, q = q, p\n    for m in range(2):\n        q[m] = p[m] * 2.0\nreturn q * 1.0",
    // A step other than 1.
    "for n in range(10, 0, -2):\n    q[:] = p + n\n    p, q = q, p\nreturn p * 1.0",
    // Types and shapes that change at first.
    "y = 0.0\nfor n in range(3):\n    y = y + p\n    y[0] = n\nreturn y",
    "y = p\nfor n in range(3):\n    y = y[1:]\n    y[0] += 1.0\nreturn y * 1.0",
];

/// Bodies that may be refused: a loop in a loop that runs as often as a variable says.
const EITHER: &[&str] = &[
    "for n in range(40):\n    for m in range(n):\n        q[:] = p * 0.5 + 1.0\n        p, q = q, p\n    p[0] += n\nreturn p * 1.0",
];

/// Helper functions that return what they are given, or views of it.
const HELPERS: &str = "def second(x, y):\n    return y\n\ndef turned(x):\n    return x[::-1]\n\ndef swapped(x, y):\n    \
                       return y, x\n\ndef bumped(x):\n    x += 1.0\n    return x\n\ndef stepped(x, y):\n    \
                       y[1:-1] = 0.5 * (x[:-2] + x[2:])\n    return y, x\n\ndef settled(x, y):\n    for m in range(3):\n        \
                       x, y = stepped(x, y)\n    return x\n\ndef often(x, y, n):\n    \
                       for m in range(n):\n        x, y = stepped(x, y)\n    return x\n\n";

/// Bodies that call them.
const CALLS: &[&str] = &[
    "for n in range(5):\n    p, q = swapped(p, q)\n    p[0] += n\nreturn p",
    "for n in range(5):\n    p, q = stepped(p, q)\nreturn p",
    "for n in range(3):\n    p = second(p, q)\n    p[n] += 1.0\nreturn p",
    "for n in range(3):\n    p = turned(p)\n    p[n] += 1.0\nreturn p * 1.0",
    "u = bumped(p)\nu[0] = 4.0\nreturn u, p",
    "for n in range(3):\n    q = bumped(p)\n    p = q\nreturn q",
    "u = settled(p, q)\nu[0] = 4.0\nreturn u * 1.0",
    "for n in range(2):\n    q = settled(p, q)\n    q[0] += 1.0\nreturn q * 1.0",
    "u = second(p, p)\nfor n in range(3):\n    u[n] = 1.0\n    u = bumped(u)\n    u = u * 1.0\nreturn u",
];

fn with_header(bodies: &[&str]) -> Vec<String> {
    let source = |body: &&str| {
        let body = body.replace('\n', "\n    ");
        format!("{HEADER}{HELPERS}def f(p: f64[4], q: f64[4], A: f64[4, 4]):\n    {body}\n")
    };
    bodies.iter().map(source).collect()
}

#[test]
fn what_names_stand_for_is_what_it_is_in_numpy() {
    let refused = against_numpy(&with_header(&[BODIES, CALLS].concat()));
    against_numpy(&with_header(EITHER));
    assert!(refused.is_empty(), "{} refused, as {}{}", refused.len(), refused[0].0, refused[0].1);
}

/// The updates in loops that store all of a state as it is.
fn copies(program: &Program, body: &[Statement], in_loop: bool) -> usize {
    let count = |statement: &Statement| match statement {
        Statement::Update { value, .. } => {
            usize::from(in_loop && matches!(program.nodes[*value].op, Op::State(_) | Op::Input(_)))
        }
        Statement::Loop { body, .. } => copies(program, body, true),
        Statement::If { body, .. } => copies(program, body, in_loop),
    };
    body.iter().map(count).sum()
}

/// Loops of many iterations whose names go round.
const ROUNDS: &[&str] = &[
    "for n in range(100):\n    q[1:-1] = 0.25 * (p[2:] + p[:-2])\n    p, q = q, p\nreturn p",
    "u = p.copy()\nv = u.copy()\nfor n in range(101):\n    v[1:-1] = 0.25 * (u[2:] + u[:-2])\n    u, v = v, u\nreturn u",
    "r = p.copy()\nfor n in range(100):\n    r[1:-1] = q[2:] - p[:-2]\n    p, q, r = q, r, p\nreturn p",
    "for n in range(100):\n    t = p\n    p = q\n    q = t\n    p[0] += q[1]\nreturn p",
    "for n in range(100):\n    p, q = stepped(p, q)\nreturn p",
    "for n in range(100):\n    for m in range(3):\n        q[:] = p * 0.5\n        p, q = q, p\n    p[0] = n\nreturn p",
];

#[test]
fn an_exchange_of_names_copies_nothing() {
    for source in with_header(ROUNDS) {
        let program = program(&source);
        assert_eq!(copies(&program, &program.body, false), 0, "{source}\n{}", listing(&program));
    }
    assert!(against_numpy(&with_header(ROUNDS)).is_empty());
}

#[test]
fn kernels_of_loops_whose_names_go_round() {
    for (at, source) in with_header(&[ROUNDS, &BODIES[4..6]].concat()).iter().enumerate() {
        let program = with_all_arguments(program(source));
        equal_the_interpreter(&program, &arguments(&program, at as u64 + 1), 1, source);
    }
}

/// Loops of which it is not known how often they run, so that names are not known to stand for one array after them.
#[test]
fn names_that_are_not_known_to_stand_for_one_array_are_refused() {
    let bodies = [
        "for n in range(60):\n    u = often(p, q, n)\n    u[0] += n\nreturn p",
        "for n in range(60):\n    if n > 30:\n        p = q\n    p[0] += n\nreturn p * 1.0",
    ];
    for source in with_header(&bodies) {
        let errors = parse("case.py", &source, &ParseOptions::default()).expect_err(&source).to_string();
        assert!(errors.contains("the array is rebound in a loop, and another name may share its memory: "), "{errors}");
        assert!(errors.contains("x.copy()"), "{errors}");
    }
}
