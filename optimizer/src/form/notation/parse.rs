//! Parsing.

use super::print::variable;
use super::{MAX_DEPTH, binary_sign, canonical, check_word, fold_sign};
use crate::form::context::scopes;
use crate::form::normal_form::{Def, NormalForm, Piece, State, Update};
use crate::form::scalar_tree::{Access, Gather, Scalar, ScalarNode, ScalarOp, Source};
use crate::form::steps::Step;
use crate::integer::affine::Affine;
use crate::integer::range::{Range, loop_variable};
use crate::program::expr::{InputHint, Param, Requirement, Shift};
use crate::value::dtype::{DType, Literal};
use crate::value::scalar::{BinaryOp, FoldOp, UnaryOp};
use std::collections::BTreeMap;
use thiserror::Error;

/// What is wrong with a text.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}, column {column}: expected {expected}")]
pub struct NotationError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What should stand there.
    pub expected: String,
}

/// Reads what [`super::print()`] writes.
///
/// # Errors
/// The place of the first thing that is not notation.
pub fn parse(text: &str) -> Result<NormalForm, NotationError> {
    let mut form = NormalForm::default();
    for (number, line) in text.lines().enumerate() {
        let mut cursor = Cursor { line, rest: line, number: number + 1, depth: 0 };
        cursor.space();
        if cursor.rest.is_empty() {
            continue;
        }
        if cursor.word("param") {
            let param = cursor.param()?;
            form.params.push(param);
        } else if cursor.word("state") {
            let Param { name, dtype, shape, .. } = cursor.param()?;
            form.states.push(State { name, dtype, shape });
        } else if cursor.word("steps") {
            form.steps = cursor.steps(&form)?;
        } else if cursor.word("def") {
            let def = cursor.def(&form)?;
            form.defs.push(def);
        } else if cursor.rest.starts_with("result ") || cursor.rest.starts_with("check") {
            let check = Requirement::ALL.into_iter().find(|of| cursor.word(check_word(*of)));
            if check.is_none() {
                cursor.need("result")?;
                cursor.space();
            }
            while !cursor.rest.is_empty() {
                match cursor.source(&form)? {
                    Source::Def(id) => {
                        form.outputs.push(id);
                        form.checks.extend(check);
                    }
                    Source::Param(_) | Source::State(_) => return Err(cursor.expected("the name of a definition")),
                }
                cursor.space();
            }
        } else {
            let piece = cursor.piece(&form)?;
            match form.defs.last_mut() {
                Some(def) => def.pieces.push(piece),
                None => return Err(cursor.expected("a `def` line before its pieces")),
            }
        }
        cursor.space();
        if !cursor.rest.is_empty() {
            return Err(cursor.expected("the end of the line"));
        }
    }
    let scopes = scopes(&form);
    for (def, scope) in form.defs.iter_mut().zip(scopes) {
        def.scope = scope;
    }
    Ok(form)
}

/// An expression before its nodes are put in order.
type Nodes = Vec<ScalarNode>;

struct Cursor<'a> {
    line: &'a str,
    rest: &'a str,
    number: usize,
    depth: usize,
}

impl<'a> Cursor<'a> {
    fn expected(&self, what: &str) -> NotationError {
        let read = &self.line[..self.line.len() - self.rest.len()];
        NotationError { line: self.number, column: read.chars().count() + 1, expected: what.to_owned() }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn need(&mut self, text: &str) -> Result<(), NotationError> {
        self.space();
        if self.take(text) { Ok(()) } else { Err(self.expected(&format!("`{text}`"))) }
    }

    /// A word followed by a space.
    fn word(&mut self, word: &str) -> bool {
        match self.rest.strip_prefix(word) {
            Some(rest) if rest.starts_with(' ') => {
                self.rest = rest.trim_start();
                true
            }
            Some(_) | None => false,
        }
    }

    fn up_to(&mut self, end: &str) -> Result<&'a str, NotationError> {
        let at = self.rest.find(end).ok_or_else(|| self.expected(&format!("`{end}`")))?;
        let found = &self.rest[..at];
        self.rest = &self.rest[at + end.len()..];
        Ok(found)
    }

    fn name(&mut self) -> Result<&'a str, NotationError> {
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '#')).unwrap_or(self.rest.len());
        // ψ, ι and the like are letters, but no part of a name.
        let end = self.rest[..end].find(['ψ', 'ι']).unwrap_or(end);
        if end == 0 {
            return Err(self.expected("a name"));
        }
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(name)
    }

    fn dtype(&mut self) -> Result<DType, NotationError> {
        self.space();
        let before = self.rest;
        DType::from_name(self.name()?).ok_or_else(|| {
            self.rest = before;
            self.expected("a dtype")
        })
    }

    fn natural(&mut self) -> Result<usize, NotationError> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let number = self.rest[..end].parse().map_err(|_| self.expected("a number"))?;
        self.rest = &self.rest[end..];
        Ok(number)
    }

    fn numbers(&mut self) -> Result<Vec<usize>, NotationError> {
        self.need("⟨")?;
        let list = self.up_to("⟩")?;
        list.split_whitespace().map(|n| n.parse().map_err(|_| self.expected("numbers in ⟨ ⟩"))).collect()
    }

    fn param(&mut self) -> Result<Param, NotationError> {
        let name = self.name()?.to_owned();
        self.need(":")?;
        let dtype = self.dtype()?;
        let shape = self.numbers()?;
        self.space();
        let hint = if !self.word("in") {
            InputHint::Any
        } else if self.take("SPD") {
            InputHint::Spd
        } else if self.take("Range(") {
            let low = self.up_to(", ")?.parse().map_err(|_| self.expected("a number"))?;
            let high = self.up_to(")")?.parse().map_err(|_| self.expected("a number"))?;
            InputHint::Range(low, high)
        } else if self.take("Index(") {
            InputHint::Index(self.up_to(")")?.parse().map_err(|_| self.expected("a number"))?)
        } else {
            return Err(self.expected("`SPD`, `Range(…)` or `Index(…)`"));
        };
        Ok(Param { name, dtype, shape, hint })
    }

    /// Names of definitions, loops and conditions, up to the end or a closing bracket.
    fn steps(&mut self, form: &NormalForm) -> Result<Vec<Step>, NotationError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.expected("fewer brackets"));
        }
        let mut steps = Vec::new();
        self.space();
        while !self.rest.is_empty() && !self.rest.starts_with(')') {
            if self.word("for") {
                let name = self.name()?.to_owned();
                self.need("⟨")?;
                let list = self.up_to("⟩")?;
                let bad = || self.expected("`from≤variable<bound`");
                let (from, rest) = list.split_once('≤').ok_or_else(bad)?;
                let (variable, to) = rest.split_once('<').ok_or_else(bad)?;
                let var = variable.strip_prefix('v').and_then(|v| v.parse().ok()).ok_or_else(bad)?;
                let range = Range { lo: self.bound(from, "max", &[])?, hi: self.bound(to, "min", &[])? };
                let body = self.bracketed(form)?;
                steps.push(Step::Loop { var, name, range, body });
            } else if self.word("if") {
                self.need("⟨")?;
                let list = self.up_to("⟩")?;
                let conditions =
                    list.split_whitespace().map(|form| self.affine(form, &[])).collect::<Result<_, _>>()?;
                steps.push(Step::If { conditions, body: self.bracketed(form)? });
            } else {
                match self.source(form)? {
                    Source::Def(id) => steps.push(Step::Def(id)),
                    Source::Param(_) | Source::State(_) => return Err(self.expected("the name of a definition")),
                }
            }
            self.space();
        }
        self.depth -= 1;
        Ok(steps)
    }

    fn bracketed(&mut self, form: &NormalForm) -> Result<Vec<Step>, NotationError> {
        self.need("(")?;
        let body = self.steps(form)?;
        self.need(")")?;
        Ok(body)
    }

    /// One form, or `function` of several.
    fn bound(&self, text: &str, function: &str, variables: &[String]) -> Result<Vec<Affine>, NotationError> {
        let inner = text.strip_prefix(function).and_then(|t| t.strip_prefix('(')?.strip_suffix(')'));
        inner.unwrap_or(text).split(',').map(|form| self.affine(form, variables)).collect()
    }

    fn def(&mut self, form: &NormalForm) -> Result<Def, NotationError> {
        let name = self.name()?.to_owned();
        self.need(":")?;
        let dtype = self.dtype()?;
        let shape = self.numbers()?;
        self.space();
        let axes = if self.word("as") { self.numbers()? } else { shape.clone() };
        self.space();
        let mut update = None;
        if self.word("into") {
            self.need("⟨")?;
            let points: Vec<String> = (0..axes.len()).map(|axis| variable(axis, axes.len())).collect();
            let list = self.up_to("⟩")?;
            let base = list.split_whitespace().map(|row| self.affine(row, &points)).collect::<Result<_, _>>()?;
            self.need("ψ")?;
            let state = self.state(form)?;
            self.space();
            let shift = if self.word("by") { Some(self.shift(form)?) } else { None };
            update = Some(Update { state, base, shift });
        }
        Ok(Def { name, dtype, shape, axes, pieces: Vec::new(), update, scope: Vec::new() })
    }

    /// What moves an update: `state within ⟨bound⟩`.
    fn shift(&mut self, form: &NormalForm) -> Result<Shift, NotationError> {
        let by = self.state(form)?;
        self.space();
        if !self.word("within") {
            return Err(self.expected("`within ⟨bound⟩`"));
        }
        match self.numbers()?.as_slice() {
            [bound] if *bound > 0 => Ok(Shift { by, last: i64::try_from(*bound - 1).unwrap_or(i64::MAX) }),
            _ => Err(self.expected("one bound above 0")),
        }
    }

    fn state(&mut self, form: &NormalForm) -> Result<usize, NotationError> {
        match self.source(form)? {
            Source::State(state) => Ok(state),
            Source::Param(_) | Source::Def(_) => Err(self.expected("the name of a state")),
        }
    }

    fn source(&mut self, form: &NormalForm) -> Result<Source, NotationError> {
        let before = self.rest;
        let name = self.name()?;
        let numbered = |letter: &str| name.strip_prefix('#')?.strip_prefix(letter)?.parse::<usize>().ok();
        let found = numbered("p")
            .filter(|&at| at < form.params.len())
            .map(Source::Param)
            .or_else(|| numbered("d").filter(|&at| at < form.defs.len()).map(Source::Def))
            .or_else(|| numbered("s").filter(|&at| at < form.states.len()).map(Source::State))
            .or_else(|| form.defs.iter().position(|def| def.name == name).map(Source::Def))
            .or_else(|| form.states.iter().position(|state| state.name == name).map(Source::State))
            .or_else(|| form.params.iter().position(|param| param.name == name).map(Source::Param));
        found.ok_or_else(|| {
            self.rest = before;
            self.expected("the name of a parameter or of an earlier definition")
        })
    }

    fn affine(&self, text: &str, variables: &[String]) -> Result<Affine, NotationError> {
        let bad = || self.expected(&format!("an index form instead of `{text}`"));
        let mut constant = 0;
        let mut terms = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let sign = if rest.starts_with('-') { -1 } else { 1 };
            rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
            let end = rest.find(['+', '-']).unwrap_or(rest.len());
            let term = &rest[..end];
            rest = &rest[end..];
            let (factor, name) = match term.split_once('*') {
                Some((factor, name)) => (factor.parse::<i64>().map_err(|_| bad())?, name),
                None => match term.parse::<i64>() {
                    Ok(number) => {
                        constant += sign * number;
                        continue;
                    }
                    Err(_) => (1, term),
                },
            };
            let of_loop = || name.strip_prefix('v')?.parse().ok().map(loop_variable);
            let variable = variables.iter().position(|v| v == name).or_else(of_loop).ok_or_else(bad)?;
            terms.push((variable, sign * factor));
        }
        if text.is_empty() { Err(bad()) } else { Ok(Affine::new(constant, terms)) }
    }

    /// `⟨from≤i<to …⟩`; the variables are added as they come, so that later bounds may use them.
    fn ranges(&mut self, variables: &mut Vec<String>) -> Result<Vec<Range>, NotationError> {
        self.need("⟨")?;
        let list = self.up_to("⟩")?;
        let mut ranges = Vec::new();
        for item in list.split_whitespace() {
            let (from, rest) = match item.split_once('≤') {
                Some((from, rest)) => (Some(from), rest),
                None => (None, item),
            };
            let (name, to) = rest.split_once('<').ok_or_else(|| self.expected("`variable<bound`"))?;
            let lo = match from {
                Some(from) => self.bound(from, "max", variables)?,
                None => vec![Affine::constant(0)],
            };
            let hi = self.bound(to, "min", variables)?;
            variables.push(name.to_owned());
            ranges.push(Range { lo, hi });
        }
        Ok(ranges)
    }

    fn piece(&mut self, form: &NormalForm) -> Result<Piece, NotationError> {
        let mut variables = Vec::new();
        let mut domain = self.ranges(&mut variables)?;
        self.need("ψ")?;
        self.name()?;
        self.need("=")?;
        self.space();
        let (mut fold, mut depth) = (None, None);
        for op in FoldOp::ALL {
            let before = self.rest;
            if self.take(fold_sign(op)) {
                depth = match self.take("[") {
                    true => Some(self.natural()?),
                    false => None,
                };
                if (depth.is_none() || self.take("]")) && self.word(" red") {
                    fold = Some(op);
                    break;
                }
            }
            self.rest = before;
        }
        if fold.is_some() || self.word("over") {
            domain.extend(self.ranges(&mut variables)?);
            self.need(":")?;
            self.space();
        }
        let ordered = self.word("seq");
        let mut nodes = Nodes::new();
        let mut lets: BTreeMap<&str, usize> = BTreeMap::new();
        while self.word("let") {
            let name = self.name()?;
            self.space();
            let dtype = if self.take(":") { Some(self.dtype()?) } else { None };
            self.need("=")?;
            let value = self.expression(form, &variables, &lets, &mut nodes)?;
            if let Some(dtype) = dtype {
                nodes[value].dtype = dtype;
            }
            lets.insert(name, value);
            self.need(";")?;
            self.space();
        }
        let value = self.expression(form, &variables, &lets, &mut nodes)?;
        let value = if ordered { Scalar { nodes } } else { canonical(&rooted(nodes, value)) };
        Ok(Piece { domain, fold, depth, value })
    }

    fn expression(
        &mut self,
        form: &NormalForm,
        variables: &[String],
        lets: &BTreeMap<&str, usize>,
        nodes: &mut Nodes,
    ) -> Result<usize, NotationError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.expected("fewer brackets"));
        }
        let result = self.expression_inside(form, variables, lets, nodes);
        self.depth -= 1;
        result
    }

    fn expression_inside(
        &mut self,
        form: &NormalForm,
        variables: &[String],
        lets: &BTreeMap<&str, usize>,
        nodes: &mut Nodes,
    ) -> Result<usize, NotationError> {
        self.space();
        let mut add = |op: ScalarOp, dtype: DType| {
            nodes.push(ScalarNode { op, dtype });
            nodes.len() - 1
        };
        let dtype_of = |source: Source| form.source_dtype(source).unwrap_or(DType::F64);
        if self.take("⟨") {
            let list = self.up_to("⟩")?;
            let rows = list.split_whitespace().map(|row| self.affine(row, variables)).collect::<Result<Vec<_>, _>>()?;
            self.need("ψ")?;
            let source = self.source(form)?;
            return Ok(add(ScalarOp::Load(source, Access::Axes(rows)), dtype_of(source)));
        }
        if self.take("(rav ") {
            let source = self.source(form)?;
            self.space();
            let mut picked = None;
            if self.word("by") {
                let stride = self.up_to(" at ")?;
                let stride = stride.trim().parse().map_err(|_| self.expected("a stride"))?;
                picked = Some((stride, self.expression(form, variables, lets, nodes)?));
            }
            self.need(")")?;
            self.need("[")?;
            let row = self.up_to("]")?;
            let row = self.affine(row, variables)?;
            let mut add = |op: ScalarOp, dtype: DType| {
                nodes.push(ScalarNode { op, dtype });
                nodes.len() - 1
            };
            if let Some((stride, at)) = picked {
                let access = Access::Gather(Gather { offset: row, stride, at });
                return Ok(add(ScalarOp::Load(source, access), dtype_of(source)));
            }
            return Ok(add(ScalarOp::Load(source, Access::Flat(row)), dtype_of(source)));
        }
        if self.take("ι") {
            let dtype = if self.take(":") { self.dtype()? } else { DType::I64 };
            self.need("(")?;
            let row = self.up_to(")")?;
            let row = self.affine(row, variables)?;
            return Ok(add(ScalarOp::Index(row), dtype));
        }
        if self.take("(") {
            let x = self.expression(form, variables, lets, nodes)?;
            self.space();
            if self.take("?") {
                let then = self.expression(form, variables, lets, nodes)?;
                self.need(":")?;
                let otherwise = self.expression(form, variables, lets, nodes)?;
                self.need(")")?;
                let dtype = nodes[then].dtype;
                nodes.push(ScalarNode { op: ScalarOp::Where(x, then, otherwise), dtype });
                return Ok(nodes.len() - 1);
            }
            let sign = self.up_to(" ")?;
            let op = BinaryOp::ALL
                .into_iter()
                .find(|op| binary_sign(*op) == sign)
                .ok_or_else(|| self.expected("the sign of an operator before this"))?;
            let y = self.expression(form, variables, lets, nodes)?;
            self.need(")")?;
            let dtype = op.result(nodes[x].dtype);
            nodes.push(ScalarNode { op: ScalarOp::Binary(op, x, y), dtype });
            return Ok(nodes.len() - 1);
        }
        if let Some((value, dtype)) = self.constant() {
            return Ok(add(ScalarOp::Const(value), dtype));
        }
        let before = self.rest;
        let name = self.name()?;
        if self.take("(") {
            let x = self.expression(form, variables, lets, nodes)?;
            self.need(")")?;
            let (op, dtype) = match (UnaryOp::from_name(name), DType::from_name(name)) {
                (Some(op), _) => (ScalarOp::Unary(op, x), nodes[x].dtype),
                (None, Some(dtype)) => (ScalarOp::Cast(x), dtype),
                (None, None) => {
                    self.rest = before;
                    return Err(self.expected("the name of a function or of a dtype"));
                }
            };
            nodes.push(ScalarNode { op, dtype });
            return Ok(nodes.len() - 1);
        }
        match lets.get(name) {
            Some(&node) => Ok(node),
            None => {
                self.rest = before;
                Err(self.expected("an expression"))
            }
        }
    }

    /// `value:dtype`.
    fn constant(&mut self) -> Option<(Literal, DType)> {
        let end = self.rest.find(':')?;
        let value = &self.rest[..end];
        let literal = if let Some(bits) = value.strip_prefix("nan#") {
            Literal::Float(u64::from_str_radix(bits, 16).ok()?)
        } else if value == "true" || value == "false" {
            Literal::Bool(value == "true")
        } else if let Ok(number) = value.parse::<i64>() {
            Literal::Int(number)
        } else {
            Literal::float(value.parse::<f64>().ok()?)
        };
        let before = self.rest;
        self.rest = &self.rest[end + 1..];
        match self.dtype() {
            Ok(dtype) => Some((literal, dtype)),
            Err(_) => {
                self.rest = before;
                None
            }
        }
    }
}

/// The nodes up to `value`, so that it is the last; others that follow it are of no use to it.
fn rooted(mut nodes: Nodes, value: usize) -> Scalar {
    nodes.truncate(value + 1);
    Scalar { nodes }
}
