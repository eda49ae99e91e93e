//! Printing.

use super::{NAMED_DEPTH, binary_sign, canonical, check_word, fold_sign};
use crate::form::normal_form::{Def, NormalForm, Piece};
use crate::form::scalar_tree::{Access, Gather, Scalar, ScalarOp, Source};
use crate::form::steps::Step;
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_of};
use crate::program::expr::InputHint;
use crate::value::dtype::{DType, Literal};

/// The form in MoA notation.
#[must_use]
pub fn print(form: &NormalForm) -> String {
    let mut text = String::new();
    for param in &form.params {
        let hint = match param.hint {
            InputHint::Any => String::new(),
            InputHint::Range(low, high) => format!(" in Range({low:?}, {high:?})"),
            InputHint::Spd => " in SPD".to_owned(),
            InputHint::Index(n) => format!(" in Index({n})"),
        };
        text.push_str(&format!("param {} : {}{}{hint}\n", param.name, param.dtype, numbers(&param.shape)));
    }
    for state in &form.states {
        text.push_str(&format!("state {} : {}{}\n", state.name, state.dtype, numbers(&state.shape)));
    }
    for def in &form.defs {
        let digits = if def.axes == def.shape { String::new() } else { format!(" as {}", numbers(&def.axes)) };
        let into = def.update.as_ref().map_or_else(String::new, |update| {
            let rows: Vec<String> = update.base.iter().map(|row| affine(row, def.axes.len())).collect();
            let moved = update.shift.as_ref().map_or_else(String::new, |shift| {
                format!(" by {} within ⟨{}⟩", reference(form, Source::State(shift.by)), shift.last.saturating_add(1))
            });
            format!(" into ⟨{}⟩ψ{}{moved}", rows.join(" "), reference(form, Source::State(update.state)))
        });
        text.push_str(&format!("def {} : {}{}{digits}{into}\n", def.name, def.dtype, numbers(&def.shape)));
        for piece in &def.pieces {
            text.push_str(&format!("  {}\n", print_piece(form, def, piece)));
        }
    }
    if !form.steps.is_empty() {
        text.push_str("steps");
        steps(form, &form.steps, &mut text);
        text.push('\n');
    }
    let outputs: Vec<String> = form.outputs.iter().map(|&id| reference(form, Source::Def(id))).collect();
    let (results, checks) = outputs.split_at(outputs.len() - form.checks.len().min(outputs.len()));
    text.push_str(&format!("result {}\n", results.join(" ")));
    let mut rest = checks;
    for run in form.checks.chunk_by(|a, b| a == b) {
        let (names, after) = rest.split_at(run.len().min(rest.len()));
        text.push_str(&format!("{} {}\n", check_word(run[0]), names.join(" ")));
        rest = after;
    }
    text
}

fn steps(form: &NormalForm, all: &[Step], text: &mut String) {
    for step in all {
        match step {
            Step::Def(id) => text.push_str(&format!(" {}", reference(form, Source::Def(*id)))),
            Step::Loop { var, name, range, body } => {
                let (lo, hi) = (bound(&range.lo, "max", 0), bound(&range.hi, "min", 0));
                text.push_str(&format!(" for {name} ⟨{lo}≤v{var}<{hi}⟩ ("));
                steps(form, body, text);
                text.push_str(" )");
            }
            Step::If { conditions, body } => {
                let conditions: Vec<String> = conditions.iter().map(|form| affine(form, 0)).collect();
                text.push_str(&format!(" if ⟨{}⟩ (", conditions.join(" ")));
                steps(form, body, text);
                text.push_str(" )");
            }
        }
    }
}

/// A bound: one form, or the extreme of several.
fn bound(forms: &[Affine], function: &str, points: usize) -> String {
    match forms {
        [form] => affine(form, points),
        _ => {
            let forms: Vec<String> = forms.iter().map(|form| affine(form, points)).collect();
            format!("{function}({})", forms.join(","))
        }
    }
}

fn numbers(list: &[usize]) -> String {
    format!("⟨{}⟩", list.iter().map(usize::to_string).collect::<Vec<_>>().join(" "))
}

/// A source's name; where several have it, with its number.
pub(super) fn reference(form: &NormalForm, source: Source) -> String {
    let count = |name: &str| {
        form.params.iter().filter(|param| param.name == name).count()
            + form.defs.iter().filter(|def| def.name == name).count()
            + form.states.iter().filter(|state| state.name == name).count()
    };
    match (form.source_name(source), source) {
        (Some(name), _) if count(name) == 1 => name.to_owned(),
        (_, Source::Param(at)) => format!("#p{at}"),
        (_, Source::Def(at)) => format!("#d{at}"),
        (_, Source::State(at)) => format!("#s{at}"),
    }
}

/// The name of variable `at` of a piece with `points` point axes.
pub(super) fn variable(at: usize, points: usize) -> String {
    if let Some(var) = loop_of(at) {
        return format!("v{var}");
    }
    const POINTS: [&str; 5] = ["i", "j", "l", "m", "n"];
    const FOLDS: [&str; 5] = ["k", "p", "q", "r", "s"];
    let (names, at, letter) = if at < points { (POINTS, at, "i") } else { (FOLDS, at - points, "k") };
    names.get(at).map_or_else(|| format!("{letter}{at}"), |name| (*name).to_owned())
}

fn affine(form: &Affine, points: usize) -> String {
    form.display(|v| variable(v, points)).replace(' ', "")
}

fn ranges(domain: &[Range], first: usize, points: usize) -> String {
    let texts: Vec<String> = domain
        .iter()
        .enumerate()
        .map(|(at, range)| {
            let from = if range.lo == [Affine::constant(0)] {
                String::new()
            } else {
                format!("{}≤", bound(&range.lo, "max", points))
            };
            format!("{from}{}<{}", variable(first + at, points), bound(&range.hi, "min", points))
        })
        .collect();
    format!("⟨{}⟩", texts.join(" "))
}

fn print_piece(form: &NormalForm, def: &Def, piece: &Piece) -> String {
    let points = def.axes.len().min(piece.domain.len());
    let mut text = format!("{}ψ{} = ", ranges(&piece.domain[..points], 0, points), def.name);
    if let Some(fold) = piece.fold {
        let depth = piece.depth.map_or(String::new(), |depth| format!("[{depth}]"));
        text.push_str(&format!(
            "{}{depth} red {} : ",
            fold_sign(fold),
            ranges(&piece.domain[points..], points, points)
        ));
    } else if piece.domain.len() > points {
        text.push_str(&format!("over {} : ", ranges(&piece.domain[points..], points, points)));
    }
    text.push_str(&scalar(form, &piece.value, points));
    text
}

fn scalar(form: &NormalForm, value: &Scalar, points: usize) -> String {
    let derived = canonical(value) == *value && (0..value.nodes.len()).all(|at| dtype_is_derived(form, value, at));
    let mut uses = vec![0usize; value.nodes.len()];
    for operand in value.nodes.iter().flat_map(|node| node.op.operands()) {
        uses[operand] += 1;
    }
    let mut text = String::new();
    if !derived {
        text.push_str("seq ");
    }
    let mut texts: Vec<String> = Vec::new();
    // How deep the brackets in each text are.
    let mut depths: Vec<usize> = Vec::new();
    let last = value.nodes.len().saturating_sub(1);
    for (at, node) in value.nodes.iter().enumerate() {
        let expression = operation(form, &node.op, node.dtype, &texts, points);
        let operands = node.op.operands();
        let depth = operands.iter().map(|&operand| depths[operand] + 1).max().unwrap_or(0);
        let shared = uses[at] > 1 && !operands.is_empty();
        let named = at != last && (!derived || shared || depth >= NAMED_DEPTH);
        depths.push(if named { 0 } else { depth });
        if named || (!derived && at == last) {
            let dtype = if derived { String::new() } else { format!(" : {}", node.dtype) };
            text.push_str(&format!("let t{at}{dtype} = {expression}; "));
            texts.push(format!("t{at}"));
        } else {
            texts.push(expression);
        }
    }
    text.push_str(texts.last().map_or("", String::as_str));
    text
}

/// Whether the parser gives node `at` its dtype without being told.
fn dtype_is_derived(form: &NormalForm, value: &Scalar, at: usize) -> bool {
    let node = &value.nodes[at];
    let of = |x: usize| value.nodes[x].dtype;
    match &node.op {
        ScalarOp::Load(source, _) => form.source_dtype(*source) == Some(node.dtype),
        ScalarOp::Const(_) | ScalarOp::Index(_) | ScalarOp::Cast(_) => true,
        ScalarOp::Unary(_, x) => of(*x) == node.dtype,
        ScalarOp::Binary(op, x, _) => op.result(of(*x)) == node.dtype,
        ScalarOp::Where(_, x, _) => of(*x) == node.dtype,
    }
}

fn operation(form: &NormalForm, op: &ScalarOp, dtype: DType, texts: &[String], points: usize) -> String {
    match op {
        ScalarOp::Load(source, Access::Axes(rows)) => {
            let rows: Vec<String> = rows.iter().map(|row| affine(row, points)).collect();
            format!("⟨{}⟩ψ{}", rows.join(" "), reference(form, *source))
        }
        ScalarOp::Load(source, Access::Flat(row)) => {
            format!("(rav {})[{}]", reference(form, *source), affine(row, points))
        }
        ScalarOp::Load(source, Access::Gather(Gather { offset, stride, at })) => {
            let (array, offset) = (reference(form, *source), affine(offset, points));
            format!("(rav {array} by {stride} at {})[{offset}]", texts[*at])
        }
        ScalarOp::Const(value) => format!("{}:{dtype}", literal(*value)),
        ScalarOp::Index(row) if dtype == DType::I64 => format!("ι({})", affine(row, points)),
        ScalarOp::Index(row) => format!("ι:{dtype}({})", affine(row, points)),
        ScalarOp::Unary(op, x) => format!("{}({})", op.name(), texts[*x]),
        ScalarOp::Binary(op, x, y) => format!("({} {} {})", texts[*x], binary_sign(*op), texts[*y]),
        ScalarOp::Where(c, x, y) => format!("({} ? {} : {})", texts[*c], texts[*x], texts[*y]),
        ScalarOp::Cast(x) => format!("{dtype}({})", texts[*x]),
    }
}

fn literal(value: Literal) -> String {
    match value {
        Literal::Float(bits) if f64::from_bits(bits).is_nan() => format!("nan#{bits:x}"),
        Literal::Float(_) | Literal::Int(_) | Literal::Bool(_) => value.to_string(),
    }
}
