//! A program as text, one node a line: for snapshots and for people.

use crate::integer::affine::Affine;
use crate::program::expr::{InputHint, Node, Op, Program, SectionAxis, SliceAxis, Statement};
use std::fmt::Write;

/// The program as text: the parameters, then each node as `%id: dtype[shape] = operator(arguments)`, then the roots.
pub fn listing(program: &Program) -> String {
    let mut text = format!("{}(", program.name);
    for (at, param) in program.params.iter().enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        let hint = match param.hint {
            InputHint::Any => String::new(),
            InputHint::Range(low, high) => format!(" in {low:?}..{high:?}"),
            InputHint::Spd => " SPD".to_owned(),
            InputHint::Index(bound) => format!(" below {bound}"),
        };
        let _ = write!(text, "{comma}{}: {}{}{hint}", param.name, param.dtype, extents(&param.shape));
    }
    text.push_str(")\n");
    for state in &program.states {
        let _ = writeln!(text, "  state {}: {}{}", state.name, state.dtype, extents(&state.shape));
    }
    for (id, node) in program.nodes.iter().enumerate() {
        let args: Vec<String> = node.args.iter().map(|arg| format!("%{arg}")).collect();
        let args = if args.is_empty() { String::new() } else { format!("({})", args.join(", ")) };
        let shape = if node.live.is_empty() { extents(&node.shape) } else { live(node) };
        let _ = writeln!(text, "  %{id}: {}{shape} = {}{args}", node.dtype, named_operator(program, &node.op));
    }
    statements(program, &program.body, 1, &mut text);
    if !program.mutated.is_empty() {
        let names: Vec<&str> = program.mutated.iter().map(|&param| program.params[param].name.as_str()).collect();
        let _ = writeln!(text, "  changes {}", names.join(", "));
    }
    let roots: Vec<String> = program.roots.iter().map(|root| format!("%{root}")).collect();
    let tuple = if program.returns_tuple { "tuple " } else { "" };
    let _ = writeln!(text, "  return {tuple}{}", roots.join(", "));
    text
}

/// Statements, one a line, indented by their depth.
fn statements(program: &Program, body: &[Statement], depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    for statement in body {
        match statement {
            Statement::Update { state, region, shift, value, .. } => {
                let node = &program.nodes[*value];
                let mut lengths = node.extents().into_iter();
                let axis = |axis: &SectionAxis| match axis {
                    SectionAxis::At(at) => affine(at),
                    SectionAxis::Slice { start, step } => {
                        let length = lengths.next().map_or_else(String::new, |length| affine(&length));
                        let step = if *step == 1 { String::new() } else { format!(":{step}") };
                        format!("{}:+{length}{step}", affine(start))
                    }
                };
                let region: Vec<String> = region.iter().map(axis).collect();
                let name = &program.states[*state].name;
                let moved = shift.as_ref().map_or_else(String::new, |shift| {
                    format!(" by {} <= {}", program.states[shift.by].name, shift.last)
                });
                let _ = writeln!(text, "{indent}{name}[{}]{moved} = %{value}", region.join(", "));
            }
            Statement::Loop { var, name, lo, hi, body } => {
                let _ = writeln!(text, "{indent}for v{var} in {}..{}: # {name}", affine(lo), affine(hi));
                statements(program, body, depth + 1, text);
            }
            Statement::If { conditions, body } => {
                let conditions: Vec<String> =
                    conditions.iter().map(|condition| format!("{} >= 0", affine(condition))).collect();
                let _ = writeln!(text, "{indent}if {}:", conditions.join(" and "));
                statements(program, body, depth + 1, text);
            }
        }
    }
}

/// Extents that change in a loop, with the largest: `[k <= 9, 4]`.
fn live(node: &Node) -> String {
    let extent = |(form, largest): (&Affine, &usize)| {
        if form.is_constant() { affine(form) } else { format!("{} <= {largest}", affine(form)) }
    };
    format!("[{}]", node.live.iter().zip(&node.shape).map(extent).collect::<Vec<_>>().join(", "))
}

/// An operator without its parameters, for messages.
pub(super) fn operator_name(op: &Op) -> String {
    operator(op).split(' ').next().unwrap_or_default().to_owned()
}

fn named_operator(program: &Program, op: &Op) -> String {
    match op {
        Op::State(at) => program.states.get(*at).map_or_else(|| operator(op), |state| format!("state {}", state.name)),
        _ => operator(op),
    }
}

fn extents(shape: &[usize]) -> String {
    if shape.is_empty() {
        return String::new();
    }
    format!("[{}]", shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", "))
}

fn operator(op: &Op) -> String {
    match op {
        Op::Input(at) => format!("input {at}"),
        Op::State(at) => format!("state {at}"),
        Op::LoopIndex(form) => format!("index {}", affine(form)),
        Op::Section(axes) => format!("section [{}]", axes.iter().map(section).collect::<Vec<_>>().join(", ")),
        Op::Const(value) => format!("const {value}"),
        Op::Array(values) => format!("array {values:?}"),
        Op::Arange { start, step } => format!("arange {start} step {step}"),
        Op::Eye { k } => format!("eye k={k}"),
        Op::Unary(op) => op.name().to_owned(),
        Op::Binary(op) => op.name().to_owned(),
        Op::Where => "where".to_owned(),
        Op::Cast => "cast".to_owned(),
        Op::Broadcast => "broadcast".to_owned(),
        Op::Transpose(axes) => format!("transpose {axes:?}"),
        Op::Reshape => "reshape".to_owned(),
        Op::Slice(slices) => format!("slice [{}]", slices.iter().map(slice).collect::<Vec<_>>().join(", ")),
        Op::Index { axis, at } => format!("index axis={axis} at={at}"),
        Op::Diagonal { offset, axis1, axis2 } => format!("diagonal {offset} axes=({axis1}, {axis2})"),
        Op::Flip(axes) => format!("flip {axes:?}"),
        Op::Roll { shift, axis } => format!("roll {shift} axis={axis}"),
        Op::Pad { widths, value } => format!("pad {widths:?} value={value}"),
        Op::Concat { axis } => format!("concat axis={axis}"),
        Op::Window { windows } => format!("window {windows:?}"),
        Op::Tril { k } => format!("tril k={k}"),
        Op::Triu { k } => format!("triu k={k}"),
        Op::Trace { offset } => format!("trace {offset}"),
        Op::MatMul => "matmul".to_owned(),
        Op::Dot => "dot".to_owned(),
        Op::Inner => "inner".to_owned(),
        Op::Outer(op) => format!("outer {}", op.name()),
        Op::Gather { batch: 0 } => "gather".to_owned(),
        Op::Gather { batch } => format!("gather batch={batch}"),
        Op::Einsum { inputs, output } => {
            let terms: Vec<String> = inputs.iter().map(|labels| letters(labels)).collect();
            format!("einsum {}->{}", terms.join(","), letters(output))
        }
        Op::Reduce { op, axes, .. } => format!("{} {axes:?}", op.name()),
    }
}

fn affine(form: &Affine) -> String {
    form.display(|var| format!("v{var}"))
}

fn section(axis: &SectionAxis) -> String {
    match axis {
        SectionAxis::Slice { start, step: 1 } => format!("{}:", affine(start)),
        SectionAxis::Slice { start, step } => format!("{}::{step}", affine(start)),
        SectionAxis::At(at) => affine(at),
    }
}

/// `start:+len:step`.
fn slice(slice: &SliceAxis) -> String {
    if slice.step == 1 {
        format!("{}:+{}", slice.start, slice.len)
    } else {
        format!("{}:+{}:{}", slice.start, slice.len, slice.step)
    }
}

fn letters(labels: &[usize]) -> String {
    let letter = |&label: &usize| u8::try_from(label).ok().filter(|&label| label < 26).map(|at| char::from(b'a' + at));
    labels.iter().map(|label| letter(label).map_or_else(|| format!("<{label}>"), String::from)).collect()
}
