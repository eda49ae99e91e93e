//! Random NumPy programs that use every construct of the language: [`generate`] draws one by its seed.
//!
//! Output: a [`Generated`] that NumPy runs, but for errors at run time that are meant. It reads nothing that was not
//! written, and casts no float to an integer that has no value there. A view alone is no right side of a slice assignment:
//! NumPy copies a part of an array onto another part of the same array in an order that is wrong where their strides differ.

use super::program::{Expr, Generated, Helper, Param, Stmt, Type};
use moat_optimizer::oracle::inputs::SplitMix64;
use moat_optimizer::value::dtype::DType;

/// Programs of even seeds have loops.
pub fn has_loops(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

/// The program of a seed.
pub fn generate(seed: u64) -> Generated {
    let mut draft = Draft {
        random: SplitMix64::new(seed.wrapping_mul(0x9E6C_63D0_876A_68DE) ^ 0x5851_F42D_4C95_7F2D),
        vars: Vec::new(),
        params: Vec::new(),
        helpers: Vec::new(),
        loops: Vec::new(),
        lives: Vec::new(),
        palette: Vec::new(),
        names: 0,
        open: 0,
        budget: 0,
        iterations: 1,
    };
    draft.budget = 6 + draft.below(20);
    let extents = [0, 1, 1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 11, 13, 16];
    draft.palette = (0..3).map(|_| draft.choose(&extents)).collect();
    // An extent of 0 or 1 in three of ten programs or so.
    if has_loops(seed) && draft.palette.iter().all(|&extent| extent < 2) {
        draft.palette[0] = 4;
    }
    for _ in 0..1 + draft.below(2) {
        let (shape, dtype) = (draft.shape(), draft.dtype());
        draft.parameter(&shape, dtype);
    }
    let mut body = Vec::new();
    if has_loops(seed) {
        for _ in 0..draft.below(3) {
            body.extend(draft.preparation());
        }
        body.extend(draft.block_of_loop());
        for _ in 0..draft.below(3) {
            body.extend(draft.statement());
        }
    } else {
        for _ in 0..1 + draft.below(5) {
            body.extend(draft.statement());
        }
    }
    let mut returns = Vec::new();
    for _ in 0..1 + draft.below(3) {
        draft.budget = draft.budget.max(2);
        let kept: Vec<usize> = (0..draft.vars.len()).filter(|&at| draft.vars[at].kind == Kind::Array).collect();
        if kept.is_empty() || draft.below(3) == 0 {
            let (shape, dtype) = (draft.shape(), draft.dtype());
            returns.push(draft.value(&Type::fixed(&shape, dtype), 3));
        } else {
            // What was assigned last, more often.
            let at = kept[draft.below(kept.len()).max(draft.below(kept.len()))];
            let var = draft.vars[at].clone();
            returns.push(Expr::new("name", var.name, vec![], var.of));
        }
    }
    Generated { params: draft.params, helpers: draft.helpers, body, returns }.pruned()
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An array, or a scalar, that may be read and written.
    Array,
    /// Integers below this number, which nothing writes to.
    Index(usize),
}

/// A name of the program.
#[derive(Clone, Debug)]
pub(super) struct Var {
    pub(super) name: String,
    pub(super) of: Type,
    pub(super) kind: Kind,
    /// The blocks that were open where it was made; parameters are everywhere.
    pub(super) scope: usize,
}

/// A loop that is open, and the values of its variable.
#[derive(Clone, Debug)]
pub(super) struct LoopVar {
    pub(super) name: String,
    pub(super) low: i64,
    pub(super) high: i64,
}

/// A program while it grows.
pub(super) struct Draft {
    random: SplitMix64,
    pub(super) vars: Vec<Var>,
    pub(super) params: Vec<Param>,
    pub(super) helpers: Vec<Helper>,
    pub(super) loops: Vec<LoopVar>,
    /// The texts of slices that loop variables bound, while their loops are open.
    pub(super) lives: Vec<String>,
    /// Extents that shapes are made of.
    palette: Vec<usize>,
    pub(super) names: usize,
    /// Blocks that are open.
    pub(super) open: usize,
    /// Operations that may still be drawn.
    budget: usize,
    /// Iterations of the open loops, all in all.
    pub(super) iterations: usize,
}

impl Draft {
    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.random.next_below(n as u64)).unwrap_or_default()
    }

    pub(super) fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(super) fn spend(&mut self) -> bool {
        let some = self.budget > 0;
        self.budget = self.budget.saturating_sub(1);
        some
    }

    pub(super) fn extent(&mut self) -> usize {
        let at = self.below(self.palette.len());
        self.palette[at]
    }

    pub(super) fn shape(&mut self) -> Vec<usize> {
        let rank = self.choose(&[0, 1, 1, 1, 2, 2, 2, 3]);
        let mut shape: Vec<usize> = (0..rank).map(|_| self.extent()).collect();
        // Three long axes are many elements.
        if shape.iter().product::<usize>() > 300 {
            shape.pop();
        }
        shape
    }

    pub(super) fn dtype(&mut self) -> DType {
        self.choose(&[
            DType::F64,
            DType::F64,
            DType::F64,
            DType::F32,
            DType::F32,
            DType::I64,
            DType::I64,
            DType::I32,
            DType::Bool,
        ])
    }

    pub(super) fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    /// A new parameter.
    pub(super) fn parameter(&mut self, shape: &[usize], dtype: DType) -> Expr {
        let name = self.name("p");
        let of = Type::fixed(shape, dtype);
        self.params.push(Param { name: name.clone(), dtype, shape: shape.to_vec(), index: None });
        self.vars.insert(0, Var { name: name.clone(), of: of.clone(), kind: Kind::Array, scope: 0 });
        Expr::new("name", name, vec![], of)
    }

    /// A new parameter of indices.
    pub(super) fn index_parameter(&mut self, shape: &[usize], extent: usize) -> Expr {
        let name = self.name("q");
        let dtype = self.choose(&[DType::I64, DType::I32]);
        let of = Type::fixed(shape, dtype);
        self.params.push(Param { name: name.clone(), dtype, shape: shape.to_vec(), index: Some(extent) });
        self.vars.insert(0, Var { name: name.clone(), of: of.clone(), kind: Kind::Index(extent), scope: 0 });
        Expr { text: name, parts: vec![], of: Some(of), what: "indices" }
    }

    pub(super) fn bind(&mut self, name: String, of: Type) {
        self.vars.push(Var { name, of, kind: Kind::Array, scope: self.open });
    }

    /// A variable with axes.
    pub(super) fn array(&mut self, fits: impl Fn(&Var) -> bool) -> Option<Var> {
        let fitting: Vec<usize> = (0..self.vars.len())
            .filter(|&at| {
                let var = &self.vars[at];
                var.kind == Kind::Array && !var.of.shape.is_empty() && fits(var)
            })
            .collect();
        if fitting.is_empty() {
            return None;
        }
        let at = fitting[self.below(fitting.len()).max(self.below(fitting.len()))];
        Some(self.vars[at].clone())
    }

    /// Statements that make arrays which a loop may work on.
    fn preparation(&mut self) -> Vec<Stmt> {
        let Some(var) = self.array(|_| true) else { return self.new_name() };
        let name = self.name("a");
        let source = var.name.clone();
        let whole = Expr::new("name", source.clone(), vec![], var.of.clone());
        let lines = match self.below(7) {
            0 => vec![Stmt::line("zeros_like", format!("{name} = np.zeros_like({source})"), vec![])],
            1 => {
                let value = self.value(&var.of, 1);
                // One line, so that no shrinking leaves it without a value.
                let text = format!("{name} = np.empty_like({source}); {name}[...] = {{}}");
                vec![Stmt::line("empty_like", text, vec![not_a_view(value)])]
            }
            2 => vec![Stmt::line("copy", format!("{name} = {source}.copy()"), vec![])],
            3 => vec![Stmt::line("copy", format!("{name} = np.array({{}})"), vec![whole])],
            4 => {
                let value = self.value(&var.of, 2);
                vec![Stmt::line("assign", format!("{name} = {{}}"), vec![not_a_view(value)])]
            }
            5 => {
                let number = self.number(var.of.dtype);
                vec![Stmt::line("full_like", format!("{name} = np.full_like({source}, {number})"), vec![])]
            }
            _ => {
                let of = Type::fixed(&[], if var.of.dtype.is_float() { DType::F64 } else { DType::I64 });
                let text = if of.dtype == DType::F64 { "0.0" } else { "0" };
                self.bind(name.clone(), of);
                return vec![Stmt::line("number", format!("{name} = {text}"), vec![])];
            }
        };
        self.bind(name, var.of);
        lines
    }

    fn new_name(&mut self) -> Vec<Stmt> {
        let (shape, dtype) = (self.shape(), self.dtype());
        let of = Type::fixed(&shape, dtype);
        let value = self.value(&of, 3);
        let name = self.name("v");
        self.bind(name.clone(), of);
        vec![Stmt::line("assign", format!("{name} = {{}}"), vec![value])]
    }

    /// One statement, or a few that belong together.
    pub(super) fn statement(&mut self) -> Vec<Stmt> {
        let in_loop = !self.loops.is_empty();
        self.budget = self.budget.max(2);
        let found = match self.below(30) {
            0..=2 if !in_loop || self.below(2) == 0 => Some(self.new_name()),
            3 => self.alias(),
            4..=9 => self.write(),
            10..=12 => self.augmented(),
            13 => self.augmented_name(),
            14 | 15 => self.scatter(),
            16 => self.rebind(),
            17 => self.swap(),
            18 if self.below(3) == 0 => self.exchanged(),
            18 => self.unpacked(),
            19 => self.helper_statement(),
            20 | 21 if self.open < 4 => self.conditional(),
            22..=24 if self.open < 4 && self.loops.len() < 3 => Some(self.block_of_loop()),
            25 | 26 if in_loop => self.live(),
            27 if in_loop => self.accumulated(),
            28 => self.row(),
            _ => self.write(),
        };
        found.or_else(|| self.write()).unwrap_or_else(|| self.new_name())
    }

    /// `b = a`, and views.
    fn alias(&mut self) -> Option<Vec<Stmt>> {
        let var = self.array(|_| true)?;
        let shape = var.of.extents()?;
        let source = var.name;
        let name = self.name("b");
        let (text, shape): (String, Vec<usize>) = match self.below(5) {
            0 | 1 => (source, shape),
            2 => (format!("{source}.T"), shape.into_iter().rev().collect()),
            3 => (format!("{source}.reshape(-1)"), vec![shape.iter().product()]),
            _ => {
                let smaller: Vec<usize> = shape.iter().map(|&extent| extent - self.below(extent.min(2) + 1)).collect();
                (format!("{source}[{}]", self.subscript(&shape, &smaller)?), smaller)
            }
        };
        self.bind(name.clone(), Type::fixed(&shape, var.of.dtype));
        Some(vec![Stmt::line("alias", format!("{name} = {text}"), vec![])])
    }

    /// A subscript of part of an array, and the part's type.
    fn part(&mut self, var: &Var) -> Option<(String, Type)> {
        let own = var.of.extents()?;
        let mut shape = Vec::new();
        for &extent in &own {
            match self.below(if self.loops.is_empty() { 4 } else { 6 }) {
                0 | 1 => shape.push(extent),
                2 => shape.push(extent - self.below(extent.min(3) + 1)),
                _ if extent > 0 => {}
                _ => shape.push(extent),
            }
        }
        // Which axes an index takes is drawn again.
        let subscript = self.subscript(&own, &shape)?;
        Some((subscript, Type::fixed(&shape, var.of.dtype)))
    }

    fn write(&mut self) -> Option<Vec<Stmt>> {
        let var = self.array(|_| true)?;
        let (subscript, of) = self.part(&var)?;
        let depth = 1 + self.below(3);
        let value = if self.below(4) == 0 { self.operand(&of, depth) } else { self.value(&of, depth) };
        let what = if of.shape.is_empty() { "element assignment" } else { "slice assignment" };
        Some(vec![Stmt::line(what, format!("{}[{subscript}] = {{}}", var.name), vec![not_a_view(value)])])
    }

    fn operator(&mut self, dtype: DType) -> (&'static str, Option<Expr>) {
        match dtype {
            DType::F32 | DType::F64 => match self.below(6) {
                0 | 1 => ("+", None),
                2 => ("-", None),
                3 => ("*", Some(Expr::bare("number", self.choose(&["0.5", "-0.25", "1.5"])))),
                4 => ("/", Some(Expr::bare("number", self.choose(&["2.0", "3.0", "49.0"])))),
                _ => ("*", None),
            },
            DType::Bool => (self.choose(&["&", "|", "^"]), None),
            DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::I64 | DType::F16 | DType::BF16 => {
                match self.below(7) {
                    0 | 1 => ("+", None),
                    2 => ("-", None),
                    3 => ("*", None),
                    4 => (self.choose(&["//", "%"]), Some(Expr::bare("number", self.choose(&["3", "7", "-2"])))),
                    5 => (self.choose(&["&", "|", "^"]), None),
                    _ => (self.choose(&["<<", ">>"]), Some(Expr::bare("number", self.choose(&["1", "2"])))),
                }
            }
        }
    }

    fn augmented(&mut self) -> Option<Vec<Stmt>> {
        let var = self.array(|_| true)?;
        let (subscript, of) = self.part(&var)?;
        let (operator, right) = self.operator(of.dtype);
        let depth = 1 + self.below(2);
        let right = right.unwrap_or_else(|| self.operand(&of, depth));
        Some(vec![Stmt::line("augmented slice", format!("{}[{subscript}] {operator}= {{}}", var.name), vec![right])])
    }

    fn augmented_name(&mut self) -> Option<Vec<Stmt>> {
        let var = self.array(|_| true)?;
        let (operator, right) = self.operator(var.of.dtype);
        let right = right.unwrap_or_else(|| self.operand(&var.of, 2));
        Some(vec![Stmt::line("augmented name", format!("{} {operator}= {{}}", var.name), vec![right])])
    }

    /// `a[i] = x`, `a[i] += x`, `np.add.at(a, i, x)`.
    fn scatter(&mut self) -> Option<Vec<Stmt>> {
        let var = self.array(|var| var.of.shape[0].size > 0)?;
        let own = var.of.extents()?;
        let count = self.extent();
        let single = !self.loops.is_empty() && self.below(3) == 0;
        let mut shape: Vec<usize> = if single { vec![] } else { vec![count] };
        let index = self.indices(&shape, own[0], 1);
        shape.extend(&own[1..]);
        if shape.iter().product::<usize>() > 300 {
            return None;
        }
        let of = Type::fixed(&shape, var.of.dtype);
        let value = if self.below(3) == 0 { self.operand(&of, 2) } else { self.value(&of, 2) };
        let value = not_a_view(value);
        let name = &var.name;
        let (what, text) = if of.dtype == DType::Bool || self.below(3) == 0 {
            ("scatter", format!("{name}[{{}}] = {{}}"))
        } else if self.below(2) == 0 {
            ("scatter", format!("{name}[{{}}] {}= {{}}", self.choose(&["+", "-", "*"])))
        } else {
            let ufunc = self.choose(&["add", "subtract", "multiply", "maximum", "minimum"]);
            ("ufunc.at", format!("np.{ufunc}.at({name}, {{}}, {{}})"))
        };
        Some(vec![Stmt::line(what, text, vec![index, value])])
    }

    /// A name that there is stands for something else of its type.
    fn rebind(&mut self) -> Option<Vec<Stmt>> {
        let at = self.below(self.vars.len());
        let var = self.vars[at].clone();
        if var.kind != Kind::Array {
            return None;
        }
        let value = self.value(&var.of, 2);
        Some(vec![Stmt::line("rebind", format!("{} = {{}}", var.name), vec![value])])
    }

    /// Two or three names of one type take each other's places.
    fn swap(&mut self) -> Option<Vec<Stmt>> {
        let var = self.array(|_| true)?;
        let mut same: Vec<String> = self
            .vars
            .iter()
            .filter(|other| other.of == var.of && other.name != var.name && other.kind == Kind::Array)
            .map(|other| other.name.clone())
            .collect();
        if same.is_empty() {
            return None;
        }
        let at = self.below(same.len());
        let (a, b) = (var.name.clone(), same.remove(at));
        Some(match self.below(4) {
            0 => vec![Stmt::line("swap", format!("{a}, {b} = {b}, {a}"), vec![])],
            1 | 2 if !same.is_empty() => {
                let c = same.swap_remove(0);
                vec![Stmt::line("rotation", format!("{a}, {b}, {c} = {b}, {c}, {a}"), vec![])]
            }
            1 | 2 => vec![Stmt::line("swap", format!("{a}, {b} = {b}, {a}"), vec![])],
            _ => {
                let t = self.name("t");
                vec![
                    Stmt::line("swap by a third name", format!("{t} = {a}"), vec![]),
                    Stmt::line("swap by a third name", format!("{a} = {b}"), vec![]),
                    Stmt::line("swap by a third name", format!("{b} = {t}"), vec![]),
                ]
            }
        })
    }

    /// Two elements, or two rows made anew, take each other's places.
    fn exchanged(&mut self) -> Option<Vec<Stmt>> {
        let var = self.array(|var| var.of.size() > 0)?;
        let own = var.of.extents()?;
        let name = var.name;
        let mut place = || {
            let index: Vec<String> = own.iter().map(|&extent| self.index(extent)).collect();
            format!("{name}[{}]", index.join(", "))
        };
        let (a, b) = (place(), place());
        Some(vec![Stmt::line("swap of elements", format!("{a}, {b} = {b}, {a}"), vec![])])
    }

    /// Several names at once.
    fn unpacked(&mut self) -> Option<Vec<Stmt>> {
        let (a, b) = (self.name("v"), self.name("v"));
        let var = self.array(|_| true)?;
        let first = self.value(&var.of, 2);
        let (shape, dtype) = (self.shape(), self.dtype());
        let other = Type::fixed(&shape, dtype);
        let second = self.value(&other, 2);
        self.bind(a.clone(), var.of);
        self.bind(b.clone(), other);
        Some(vec![Stmt::line("tuple assignment", format!("{a}, {b} = {{}}, {{}}"), vec![first, second])])
    }

    /// A scalar that grows by what a loop reads.
    fn accumulated(&mut self) -> Option<Vec<Stmt>> {
        let fitting: Vec<usize> = (0..self.vars.len())
            .filter(|&at| {
                let var = &self.vars[at];
                var.of.shape.is_empty() && var.kind == Kind::Array && matches!(var.of.dtype, DType::F64 | DType::I64)
            })
            .collect();
        if fitting.is_empty() {
            return None;
        }
        let at = self.choose(&fitting);
        let var = self.vars[at].clone();
        let value = self.value(&var.of, 2);
        let text =
            if self.below(3) == 0 { format!("{0} = {0} + {{}}", var.name) } else { format!("{} += {{}}", var.name) };
        Some(vec![Stmt::line("accumulation", text, vec![value])])
    }

    /// A row of an array under a name of its own, and something that writes to it.
    fn row(&mut self) -> Option<Vec<Stmt>> {
        let var = self.array(|var| var.of.shape.len() > 1 && var.of.shape[0].size > 0)?;
        let own = var.of.extents()?;
        let name = self.name("r");
        let at = self.index(own[0]);
        let of = Type::fixed(&own[1..], var.of.dtype);
        let row = Stmt::line("row", format!("{name} = {}[{at}]", var.name), vec![]);
        let value = self.value(&of, 2);
        let write = Stmt::line("slice assignment", format!("{name}[:] = {{}}"), vec![not_a_view(value)]);
        Some(vec![row, write])
    }
}

/// The value as a new array, where it may be a part of one.
pub(super) fn not_a_view(value: Expr) -> Expr {
    let Some(of) = value.of.clone() else { return value };
    let views = [
        "name",
        "slice",
        "live slice",
        "transpose",
        "reshape",
        "diagonal",
        "window",
        "broadcast_to",
        "newaxis",
        "flip",
        "element",
        "conditional expression",
        "def that returns its argument",
        "indices",
        "positive",
    ];
    if !views.contains(&value.what) {
        return value;
    }
    let text = if of.dtype == DType::Bool { "({} | False)" } else { "({} + 0)" };
    Expr::new("new array", text, vec![value], of)
}
