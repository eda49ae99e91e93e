//! A program that fails, cut down while it still fails: greedy delta debugging on its tree.
//!
//! Input: a program and a test that says whether another one fails in the same way. Output: a program from which nothing
//! can be taken, by these steps: a run of statements, a result, a block around its statements, an expression for a part of
//! it or for a constant, a smaller extent.

use super::expressions::{numpy_name, tuple};
use super::program::{Expr, Generated, Stmt, Type, needed_in};

/// Programs that are tried.
const MOST: usize = 600;

/// The smallest program found that fails as `program` does.
pub fn shrink(program: &Generated, fails: &mut dyn FnMut(&Generated) -> bool) -> Generated {
    let mut best = program.clone();
    let mut tried = 0;
    loop {
        let before = measure(&best);
        let mut changed = false;
        let steps: [fn(&Generated) -> Vec<Generated>; 5] =
            [fewer_statements, fewer_results, blocks_apart, smaller_expressions, smaller_extents];
        for step in steps {
            // After each success the step begins anew with what is left.
            'again: loop {
                for candidate in step(&best) {
                    if measure(&candidate) >= measure(&best) {
                        continue;
                    }
                    tried += 1;
                    if tried > MOST {
                        return best;
                    }
                    let candidate = candidate.pruned();
                    if fails(&candidate) {
                        best = candidate;
                        changed = true;
                        continue 'again;
                    }
                }
                break;
            }
        }
        if !changed || measure(&best) >= before {
            return best;
        }
    }
}

/// What gets smaller: operations and statements, elements, letters.
fn measure(program: &Generated) -> (usize, usize, usize) {
    let mut count = 0;
    program.body.iter().for_each(|statement| statement.constructs(&mut |_| count += 1));
    program.returns.iter().for_each(|value| value.visit(&mut |_| count += 1));
    let elements = program.params.iter().map(|param| param.shape.iter().product::<usize>() + param.shape.len()).sum();
    (count, elements, program.print().len())
}

fn statements(body: &[Stmt]) -> usize {
    body.iter()
        .map(|statement| match statement {
            Stmt::Line { .. } => 1,
            Stmt::Block { body, otherwise, .. } => 1 + statements(body) + statements(otherwise),
        })
        .sum()
}

/// `body` with what `change` makes of each statement, which are counted in order.
fn rebuilt(body: &[Stmt], at: &mut usize, change: &dyn Fn(usize, &Stmt) -> Option<Vec<Stmt>>) -> Vec<Stmt> {
    let mut all = Vec::new();
    for statement in body {
        let number = *at;
        *at += 1;
        if let Some(others) = change(number, statement) {
            if let Stmt::Block { body, otherwise, .. } = statement {
                *at += statements(body) + statements(otherwise);
            }
            all.extend(others);
            continue;
        }
        all.push(match statement {
            Stmt::Line { .. } => statement.clone(),
            Stmt::Block { head, first, body, otherwise, what } => Stmt::Block {
                head: head.clone(),
                first: first.clone(),
                body: rebuilt(body, at, change),
                otherwise: rebuilt(otherwise, at, change),
                what,
            },
        });
    }
    all
}

/// Without runs of statements: half of them, a quarter, …, each.
fn fewer_statements(program: &Generated) -> Vec<Generated> {
    let count = statements(&program.body);
    let mut all = Vec::new();
    let mut length = count.div_ceil(2);
    while length > 0 {
        for from in (0..count).step_by(length) {
            let gone = |number: usize, _: &Stmt| (from..from + length).contains(&number).then(Vec::new);
            all.push(Generated { body: rebuilt(&program.body, &mut 0, &gone), ..program.clone() });
        }
        length /= 2;
    }
    all
}

fn fewer_results(program: &Generated) -> Vec<Generated> {
    let count = program.returns.len();
    let without = |at: usize| {
        let mut returns = program.returns.clone();
        returns.remove(at);
        Generated { returns, ..program.clone() }
    };
    (0..count).map(without).collect()
}

/// With the statements of a block in its place.
fn blocks_apart(program: &Generated) -> Vec<Generated> {
    let mut all = Vec::new();
    for at in 0..statements(&program.body) {
        for second in [false, true] {
            let apart = |number: usize, statement: &Stmt| match statement {
                Stmt::Block { first, body, otherwise, what, .. } if number == at => {
                    let mut lines: Vec<Stmt> =
                        first.iter().map(|text| Stmt::line(what, text.clone(), vec![])).collect();
                    lines.extend(if second { otherwise.clone() } else { body.clone() });
                    Some(lines)
                }
                Stmt::Block { .. } | Stmt::Line { .. } => None,
            };
            let body = rebuilt(&program.body, &mut 0, &apart);
            if body != program.body {
                all.push(Generated { body, ..program.clone() });
            }
        }
    }
    all
}

/// With one expression replaced, by a part of its type or a constant.
fn smaller_expressions(program: &Generated) -> Vec<Generated> {
    let mut all = Vec::new();
    let mut places = Vec::new();
    edit(program, &mut |expr| {
        places.push(replacements(expr));
        None
    });
    for (place, others) in places.into_iter().enumerate() {
        for other in others {
            let mut at = 0;
            all.push(edit(program, &mut |_| {
                at += 1;
                (at == place + 1).then(|| other.clone())
            }));
        }
    }
    all
}

/// What may stand for an expression: larger cuts first.
fn replacements(expr: &Expr) -> Vec<Expr> {
    let Some(of) = &expr.of else { return vec![] };
    let mut all = Vec::new();
    if !expr.parts.is_empty() || matches!(expr.what, "slice" | "element") {
        all.extend(constant(of));
    }
    let mut inside = Vec::new();
    expr.parts.iter().for_each(|part| {
        part.visit(&mut |inner| {
            if inner.of.as_ref() == Some(of) {
                inside.push(inner.clone());
            }
        });
    });
    inside.reverse();
    all.extend(inside);
    all
}

fn constant(of: &Type) -> Option<Expr> {
    let dtype = numpy_name(of.dtype);
    let shape = of.extents()?;
    let text =
        if shape.is_empty() { format!("{dtype}(1)") } else { format!("np.ones({}, dtype={dtype})", tuple(&shape)) };
    Some(Expr::new("ones", text, vec![], of.clone()))
}

/// The program with what `change` makes of each expression; the parts of one that is replaced are not visited.
fn edit(program: &Generated, change: &mut dyn FnMut(&Expr) -> Option<Expr>) -> Generated {
    fn expression(expr: &Expr, change: &mut dyn FnMut(&Expr) -> Option<Expr>) -> Expr {
        match change(expr) {
            Some(other) => other,
            None => Expr { parts: expr.parts.iter().map(|part| expression(part, change)).collect(), ..expr.clone() },
        }
    }
    fn block(body: &[Stmt], change: &mut dyn FnMut(&Expr) -> Option<Expr>) -> Vec<Stmt> {
        body.iter()
            .map(|statement| match statement {
                Stmt::Line { text, parts, what } => Stmt::Line {
                    text: text.clone(),
                    parts: parts.iter().map(|part| expression(part, change)).collect(),
                    what,
                },
                Stmt::Block { head, first, body, otherwise, what } => Stmt::Block {
                    head: head.clone(),
                    first: first.clone(),
                    body: block(body, change),
                    otherwise: block(otherwise, change),
                    what,
                },
            })
            .collect()
    }
    Generated {
        body: block(&program.body, change),
        returns: program.returns.iter().map(|value| expression(value, change)).collect(),
        ..program.clone()
    }
}

/// With every number that is some extent replaced by a smaller one.
fn smaller_extents(program: &Generated) -> Vec<Generated> {
    let mut extents: Vec<usize> = program.params.iter().flat_map(|param| param.shape.clone()).collect();
    extents.sort_unstable();
    extents.dedup();
    let mut all = Vec::new();
    for &from in extents.iter().rev() {
        for to in [1, 2, 3, from / 2, from.saturating_sub(1)] {
            if to < from {
                all.push(with_extent(program, from, to));
            }
        }
    }
    all
}

/// The program with an extent replaced in its texts and its types.
fn with_extent(program: &Generated, from: usize, to: usize) -> Generated {
    fn expression(value: &mut Expr, from: usize, to: usize) {
        value.text = replaced(&value.text, from, to);
        if let Some(of) = &mut value.of {
            of.shape.iter_mut().filter(|dim| dim.size == from).for_each(|dim| dim.size = to);
        }
        value.parts.iter_mut().for_each(|part| expression(part, from, to));
    }
    fn block(body: &mut [Stmt], from: usize, to: usize) {
        for statement in body {
            match statement {
                Stmt::Line { text, parts, .. } => {
                    *text = replaced(text, from, to);
                    parts.iter_mut().for_each(|part| expression(part, from, to));
                }
                Stmt::Block { head, first, body, otherwise, .. } => {
                    *head = replaced(head, from, to);
                    *first = first.as_ref().map(|first| replaced(first, from, to));
                    block(body, from, to);
                    block(otherwise, from, to);
                }
            }
        }
    }
    let mut other = program.clone();
    for param in &mut other.params {
        param.shape.iter_mut().filter(|extent| **extent == from).for_each(|extent| *extent = to);
        param.index = param.index.map(|bound| if bound == from { to } else { bound });
    }
    block(&mut other.body, from, to);
    other.returns.iter_mut().for_each(|value| expression(value, from, to));
    other
}

/// The text with one number in the place of another.
fn replaced(text: &str, from: usize, to: usize) -> String {
    let (from, to) = (from.to_string(), to.to_string());
    if !needed_in(&from, text) {
        return text.to_owned();
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(&from) {
        let before = rest[..at].chars().next_back().or_else(|| result.chars().next_back());
        let after = rest[at + from.len()..].chars().next();
        result.push_str(&rest[..at]);
        result.push_str(if before.is_some_and(is_word) || after.is_some_and(is_word) { &from } else { &to });
        rest = &rest[at + from.len()..];
    }
    result.push_str(rest);
    result
}
