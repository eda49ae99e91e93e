//! Loops and conditions of generated programs, and what only stands in loops: slices that a loop's variable bounds.

use super::expressions::numpy_name;
use super::generate::{Draft, LoopVar, not_a_view};
use super::program::{Dim, Expr, Stmt, Type};
use moat_optimizer::value::dtype::DType;

/// A condition, and what it says of a loop's variable: its number, least and greatest value.
pub(super) struct Condition {
    pub(super) text: String,
    what: &'static str,
    known: Option<(usize, i64, i64)>,
}

impl Draft {
    pub(super) fn block_of_loop(&mut self) -> Vec<Stmt> {
        let name = ["i", "j", "k", "m"][self.loops.len().min(3)].to_owned();
        let var = self.array(|var| var.of.shape[0].size > 0);
        let most = (96 / self.iterations).clamp(1, 16) as i64;
        let extent = var.as_ref().map_or(3, |var| var.of.shape[0].size as i64).min(most.max(2));
        let outer = self.loops.last().cloned();
        let (range, low, high) = match (self.below(10), &outer, &var) {
            (0, _, _) => (format!("range({}, {extent})", 1.min(extent)), 1.min(extent), extent - 1),
            (1, _, _) => (format!("range({} - 1, -1, -1)", extent), 0, extent - 1),
            (2, _, _) => (format!("range({}, 0, -1)", extent - 1), 1, extent - 1),
            (3, _, _) => {
                let last = (extent - 1) / 2 * 2;
                (format!("range(0, {extent}, 2)"), 0, last.max(0))
            }
            (4, Some(outer), _) if outer.low >= 0 && outer.high < extent => {
                (format!("range({} + 1, {extent})", outer.name), outer.low + 1, extent - 1)
            }
            (5, Some(outer), _) if outer.low >= 0 => (format!("range({})", outer.name), 0, outer.high - 1),
            (6, Some(outer), _) if outer.low >= 0 && outer.high < extent => {
                (format!("range({}, {extent})", outer.name), outer.low, extent - 1)
            }
            (7, _, Some(var)) if var.of.shape[0].size as i64 == extent => {
                let text = if self.below(2) == 0 {
                    format!("range({}.shape[0])", var.name)
                } else {
                    format!("range(len({}))", var.name)
                };
                (text, 0, extent - 1)
            }
            (8, _, _) if extent > 2 => (format!("range(1, {extent} - 1)"), 1, extent - 2),
            (9, _, _) => {
                let times = self.below(4) as i64;
                (format!("range({times})"), 0, times - 1)
            }
            _ => (format!("range({extent})"), 0, extent - 1),
        };
        let first = range_start(&range);
        let (lives, iterations) = (self.open(), self.iterations);
        self.iterations *= usize::try_from((high - low + 1).max(1)).unwrap_or(1);
        self.loops.push(LoopVar { name: name.clone(), low, high: high.max(low) });
        let mut body = Vec::new();
        for _ in 0..1 + self.below(3) {
            body.extend(self.statement());
        }
        self.loops.pop();
        self.close(lives);
        self.iterations = iterations;
        vec![Stmt::Block {
            head: format!("for {name} in {range}:"),
            first: Some(format!("{name} = {first}")),
            body,
            otherwise: vec![],
            what: "for",
        }]
    }

    /// Opens a block; the answer goes to [`Draft::close`].
    pub(super) fn open(&mut self) -> usize {
        self.open += 1;
        self.lives.len()
    }

    /// Forgets the names and the live slices that a block has made.
    pub(super) fn close(&mut self, lives: usize) {
        self.open -= 1;
        let open = self.open;
        self.vars.retain(|var| var.scope <= open);
        self.lives.truncate(lives);
    }

    pub(super) fn conditional(&mut self) -> Option<Vec<Stmt>> {
        let condition = self.condition(true)?;
        let saved = self.loops.clone();
        if let Some((at, low, high)) = condition.known {
            (self.loops[at].low, self.loops[at].high) = (low, high);
        }
        let lives = self.open();
        let mut body = Vec::new();
        for _ in 0..1 + self.below(2) {
            body.extend(self.statement());
        }
        self.close(lives);
        self.loops = saved;
        let mut otherwise = Vec::new();
        if self.below(3) == 0 {
            let lives = self.open();
            otherwise = self.statement();
            self.close(lives);
        }
        let head = format!("if {}:", condition.text);
        Some(vec![Stmt::Block { head, first: None, body, otherwise, what: condition.what }])
    }

    /// A condition on loop variables, or one that is known when the program is read.
    pub(super) fn condition(&mut self, statement: bool) -> Option<Condition> {
        let known = |what, text: String| Some(Condition { text, known: None, what });
        if self.loops.is_empty() || self.below(8) == 0 {
            let var = self.array(|_| true)?;
            let (name, rank, extent) = (var.name, var.of.shape.len(), var.of.shape[0].size);
            let number = self.below(4);
            return match self.below(6) {
                0 => known("if on a shape", format!("{name}.shape[0] > {number}")),
                1 => known("if on a shape", format!("{name}.ndim == {}", 1 + self.below(2))),
                2 => known("if on a shape", format!("len({name}) in ({number}, {extent})")),
                3 => known("if on a shape", format!("{name}.shape == ({extent}, {number})")),
                4 => known("if on a dtype", format!("{name}.dtype == {}", numpy_name(self.dtype()))),
                _ => known("if on a shape", format!("{rank} < {number} <= {extent}")),
            };
        }
        let at = self.below(self.loops.len());
        let LoopVar { name, low, high } = self.loops[at].clone();
        let middle = low + self.below(usize::try_from(high - low + 1).unwrap_or(1).max(1)) as i64;
        let beside = self.below(self.loops.len());
        let other = self.loops[beside].clone();
        let refined = |what, text: String, low: i64, high: i64| {
            Some(Condition { text, known: (low <= high && statement).then_some((at, low, high)), what })
        };
        match self.below(16) {
            0 => refined("if >", format!("{name} > {middle}"), middle + 1, high),
            1 => refined("if <", format!("{name} < {middle}"), low, middle - 1),
            2 => refined("if ==", format!("{name} == {middle}"), middle, middle),
            3 => known("if !=", format!("{name} != {middle}")),
            4 => refined("if chained", format!("{low} < {name} < {high}"), low + 1, high - 1),
            5 => known("if in", format!("{name} in ({low}, {high})")),
            6 => known("if in", format!("{name} not in ({middle}, {low})")),
            7 if other.name != name => {
                known("if tuple", format!("({name}, {}) != ({middle}, {})", other.name, other.low))
            }
            7 => known("if tuple", format!("({name}, {middle}) == ({middle}, {middle})")),
            8 if other.name != name => known("if two variables", format!("{name} < {}", other.name)),
            9 if other.name != name => known("if two variables", format!("{name} == {}", other.name)),
            10 => known("if and", format!("{name} > {low} and {name} != {high}")),
            11 => known("if or", format!("{name} == {low} or {name} >= {middle}")),
            12 => known("if not", format!("not {name} == {middle}")),
            13 => known("if truth", name),
            14 => known("if not", format!("not ({name} > {middle} and {} < {})", other.name, other.high)),
            15 => known("if affine", format!("{name} + {} >= {middle}", other.name)),
            _ => refined("if >=", format!("{name} >= {middle}"), middle, high),
        }
    }

    /// A statement on slices that a loop's variable bounds.
    pub(super) fn live(&mut self) -> Option<Vec<Stmt>> {
        let at = self.below(self.loops.len());
        let LoopVar { name, low, high } = self.loops[at].clone();
        let fits = |extent: usize| low >= 0 && high < extent as i64;
        let var = self.array(|var| {
            var.of.shape.iter().any(|dim| fits(dim.size)) && var.of.shape.iter().all(|dim| dim.size > 0)
        })?;
        let own = var.of.extents()?;
        let axes: Vec<usize> = (0..own.len()).filter(|&axis| fits(own[axis])).collect();
        let axis = self.choose(&axes);
        let cut = match self.below(5) {
            0 => format!("{name}:"),
            1 => format!(":{name}"),
            2 => format!("{name} + 1:"),
            3 => format!(":{name} + 1"),
            _ => format!("{name}::-1"),
        };
        self.lives.push(cut.clone());
        let dim = Dim { size: own[axis], live: self.lives.len() };
        let of = Type { shape: vec![dim], dtype: var.of.dtype };
        if self.below(3) == 0 && of.dtype != DType::Bool {
            // A number from what is before, or after.
            let scalar = Type::fixed(&[], of.dtype);
            let (a, b) = (self.value(&of, 1), self.value(&of, 1));
            let (parts, text) = match self.below(3) {
                0 if of.dtype != DType::I32 => (vec![a], "np.sum({})"),
                1 => (vec![a, b], "np.dot({}, {})"),
                _ => (vec![a, b], "({} @ {})"),
            };
            let value = Expr::new("live product", text, parts, scalar);
            let index: Vec<String> = own.iter().map(|&extent| self.index(extent)).collect();
            let operator = self.choose(&["", "+", "-"]);
            let text = format!("{}[{}] {operator}= {{}}", var.name, index.join(", "));
            return Some(vec![Stmt::line("element assignment", text, vec![value])]);
        }
        let parts: Vec<String> = own
            .iter()
            .enumerate()
            .map(|(at, &extent)| if at == axis { cut.clone() } else { self.index(extent) })
            .collect();
        let operator = if of.dtype == DType::Bool { "" } else { self.choose(&["", "", "+", "-", "*"]) };
        let value = if self.below(3) == 0 { self.operand(&of, 2) } else { self.value(&of, 2) };
        let text = format!("{}[{}] {operator}= {{}}", var.name, parts.join(", "));
        Some(vec![Stmt::line("live slice assignment", text, vec![not_a_view(value)])])
    }
}

/// The first value of a loop's variable, as the text of its range has it.
fn range_start(range: &str) -> String {
    let inside = range.trim_start_matches("range(").strip_suffix(')').unwrap_or_default();
    match inside.split_once(", ") {
        Some((start, _)) => start.to_owned(),
        None => "0".to_owned(),
    }
}
