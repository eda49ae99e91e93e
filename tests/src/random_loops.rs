//! Random NumPy programs with loops: nested loops whose slices shrink, in-place updates, carried numbers and arrays,
//! views, slices with steps, conditions on loop variables, scans, calls, gathers, scatters, and sweeps: time loops over several arrays of
//! one to three dimensions, each element from its neighbours, whole or row by row, forwards or backwards.
//!
//! No view is assigned as it is: NumPy copies a 1-d part of an array onto another part of the same array in an order that
//! is wrong where their strides differ (`p[2] = p[1:6, 2]`).
//!
//! They are texts, so that the frontend is tested with the rest. Every one is well-defined: an index or slice is written
//! only where it is proven to be in bounds, what is read was written, and int arrays are given ints.

use moat_optimizer::integer::affine::Affine;
use moat_optimizer::integer::affine_domain::{Domain, LoopRange};
use moat_optimizer::oracle::inputs::SplitMix64;
use std::fmt::Write as _;

/// A file with one annotated function, `f`, and helpers of it; about `size` statements.
pub fn random_source(seed: u64, size: usize) -> String {
    let mut draft = Draft {
        random: SplitMix64::new(seed.wrapping_mul(0xA076_1D64_78BD_642F)),
        text: String::new(),
        arrays: Vec::new(),
        indices: Vec::new(),
        picks: true,
        numbers: Vec::new(),
        domain: Domain::default(),
        loops: Vec::new(),
        names: 0,
        budget: size,
    };
    let mut params = Vec::new();
    for _ in 0..2 + draft.below(2) {
        let rank = draft.choose(&[1, 1, 2, 2, 2, 3]);
        let sizes: &[i64] = if rank == 3 { &[2, 3, 4] } else { &[3, 4, 5, 6, 6] };
        let shape: Vec<i64> = (0..rank).map(|_| draft.choose(sizes)).collect();
        let dtype = draft.choose(&["f64", "f64", "f64", "f32", "i64"]);
        let name = draft.name("p");
        params.push(format!("{name}: {dtype}{shape:?}"));
        draft.arrays.push(Array { name, shape, is_int: dtype == "i64", rebound: false });
    }
    let least = draft.arrays.iter().flat_map(|array| array.shape.clone()).min().unwrap_or(1);
    for _ in 0..draft.below(3) {
        let (name, length) = (draft.name("q"), draft.choose(&[2, 3, 4]));
        let dtype = draft.choose(&["i64", "i32"]);
        params.push(format!("{name}: Annotated[{dtype}[{length}], Range(-{least}, {least})]"));
        draft.indices.push((name, length));
    }
    draft.preamble();
    while draft.budget > 0 {
        draft.statement(1);
    }
    let results: Vec<String> = draft
        .arrays
        .iter()
        .map(|array| array.name.clone())
        .chain(draft.numbers.iter().map(|number| number.name.clone()))
        .collect();
    let body = &draft.text;
    format!(
        "from __future__ import annotations\nimport numpy as np\n\ndef blend(x, y):\n    z = x * 0.5\n    z += y * 0.25\n    \
         return z\n\ndef damp(x, c):\n    x *= c\n\ndef f({}):\n{body}    return {},\n",
        params.join(", "),
        results.join(", ")
    )
}

/// An array of fixed shape that the text may read and write.
#[derive(Clone)]
struct Array {
    name: String,
    shape: Vec<i64>,
    is_int: bool,
    /// Loops bind its name to new arrays; its elements are never written to.
    rebound: bool,
}

/// A number that the text may read and assign.
#[derive(Clone)]
struct Number {
    name: String,
    /// What makes a value one of its type.
    convert: &'static str,
    is_int: bool,
}

struct Draft {
    random: SplitMix64,
    text: String,
    arrays: Vec<Array>,
    /// Arrays of indices into any axis of any array, and their lengths. Nothing writes to them.
    indices: Vec<(String, i64)>,
    /// Integers from arrays of indices may stand in subscripts.
    picks: bool,
    numbers: Vec<Number>,
    /// The open loops, by the numbers of their names in `loops`, and conditions.
    domain: Domain,
    loops: Vec<String>,
    names: usize,
    budget: usize,
}

impl Draft {
    fn below(&mut self, n: usize) -> usize {
        self.random.next_below(n as u64) as usize
    }

    fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    fn line(&mut self, depth: usize, line: &str) {
        let _ = writeln!(self.text, "{}{line}", "    ".repeat(depth));
    }

    fn form(&self, form: &Affine) -> String {
        form.display(|var| self.loops[var].clone())
    }

    /// Local arrays and numbers before the first loop.
    fn preamble(&mut self) {
        for _ in 0..1 + self.below(2) {
            let source = self.any_array(|_| true);
            let name = self.name("a");
            let array = Array { name: name.clone(), rebound: self.below(3) == 0 && !source.is_int, ..source.clone() };
            let of = &source.name;
            let line = match self.below(4) {
                _ if array.rebound => format!("{name} = {of} * 0.5"),
                0 => format!("{name} = np.zeros_like({of})"),
                1 => format!("{name} = np.empty_like({of})\n    {name}[...] = {of}"),
                2 => format!("{name} = {of}.copy()"),
                _ => format!("{name} = {of} + {of}"),
            };
            self.line(1, &line);
            self.arrays.push(array);
        }
        // Python's numbers, which are weak in promotion, and NumPy's.
        for (value, convert) in [("0.5", "float"), ("1", "int"), ("0.25", "np.float64"), ("2", "np.int64")] {
            if self.below(2) == 0 {
                let name = self.name("s");
                self.line(1, &format!("{name} = {convert}({value})"));
                self.numbers.push(Number { name, convert, is_int: convert.contains("int") });
            }
        }
    }

    fn any_array(&mut self, fits: impl Fn(&Array) -> bool) -> Array {
        let fitting: Vec<usize> = (0..self.arrays.len()).filter(|&at| fits(&self.arrays[at])).collect();
        let at = if fitting.is_empty() { 0 } else { self.choose(&fitting) };
        self.arrays[at].clone()
    }

    fn statement(&mut self, depth: usize) {
        self.budget = self.budget.saturating_sub(1);
        let in_loop = !self.domain.loops.is_empty();
        match self.below(16) {
            15 if self.domain.loops.len() < 2 => self.elimination(depth),
            14 if !self.indices.is_empty() => self.scatter(depth),
            12 if self.domain.loops.len() < 2 => self.sweep(depth),
            13 if self.domain.loops.len() < 2 => self.recurrence(depth),
            0..=3 if depth < 5 && self.domain.loops.len() < 3 => self.loop_over(depth),
            4 if in_loop && depth < 5 => self.condition(depth),
            5 if !self.numbers.is_empty() => {
                let at = self.below(self.numbers.len());
                let Number { name, convert, is_int } = self.numbers[at].clone();
                let value = format!("{convert}({})", self.expression(&[], is_int, 2));
                let value =
                    if is_int { format!("({name} + {value}) % 1000") } else { format!("{name} * 0.5 + {value}") };
                self.line(depth, &format!("{name} = {value}"));
            }
            6 => self.temporary(depth),
            7 => self.view(depth),
            8 if self.arrays.iter().any(|array| array.rebound) => {
                let array = self.any_array(|array| array.rebound);
                let shape: Vec<Affine> = array.shape.iter().map(|&extent| Affine::constant(extent)).collect();
                let value = self.expression(&shape, array.is_int, 1);
                // The dtype stays that of the name.
                let name = &array.name;
                self.line(depth, &format!("{name} = {name} + np.asarray({value}).astype({name}.dtype)"));
            }
            9 => {
                let (from, to) = (self.any_array(|_| true), self.any_array(|array| !array.rebound));
                let axis = self.below(from.shape.len());
                if from.shape == to.shape && (!from.is_int || to.is_int) && !to.rebound {
                    let scan = self.choose(&["np.cumsum", "np.add.accumulate", "np.maximum.accumulate"]);
                    self.line(
                        depth,
                        &format!("{}[...] = 0.25 * {scan}({}, axis={axis})", to.name, from.name)
                            .replace("0.25 * ", if to.is_int { "" } else { "0.25 * " }),
                    );
                } else {
                    self.assignment(depth);
                }
            }
            _ => self.assignment(depth),
        }
    }

    /// A loop with a body of one to three statements.
    fn loop_over(&mut self, depth: usize) {
        let name = self.name("k");
        let extent = self.choose(&[2, 3, 4, 5]);
        let (mut lo, mut hi) = (Affine::constant(self.below(2) as i64), Affine::constant(extent));
        let outer = self.domain.loops.last().map(|range| Affine::variable(range.var));
        let mut step = self.choose(&[1, 1, 1, -1]);
        match (outer, self.below(4)) {
            (Some(outer), 0) => lo = outer.offset(self.below(2) as i64),
            (Some(outer), 1) => hi = outer.offset(self.below(3) as i64),
            (None, 0) => step = self.choose(&[2, -2, 3]),
            _ => {}
        }
        let last = hi.offset(-1);
        let range = match step {
            1 if lo == Affine::constant(0) => format!("range({})", self.form(&hi)),
            1 => format!("range({}, {})", self.form(&lo), self.form(&hi)),
            -1 => format!("range({}, {}, -1)", self.form(&last), self.form(&lo.offset(-1))),
            step if step > 0 => format!("range({}, {}, {step})", self.form(&lo), self.form(&hi)),
            step => format!("range({}, {}, {step})", self.form(&last), self.form(&lo.offset(-1))),
        };
        self.line(depth, &format!("for {name} in {range}:"));
        self.domain.loops.push(LoopRange { var: self.loops.len(), lo, hi });
        self.loops.push(name);
        self.block(depth + 1);
        self.domain.loops.pop();
    }

    /// A time loop over arrays of one shape: every statement makes an array from neighbours in the others and itself.
    fn sweep(&mut self, depth: usize) {
        let first = self.any_array(|array| !array.rebound && array.shape.iter().all(|&extent| extent > 2));
        if first.rebound || first.shape.iter().any(|&extent| extent < 3) {
            return self.assignment(depth);
        }
        // The others are its contemporaries: new, or of the same shape and type.
        let mut swept = vec![first.clone()];
        for _ in 0..self.below(3) {
            let other =
                self.any_array(|array| array.shape == first.shape && array.is_int == first.is_int && !array.rebound);
            if swept.iter().all(|known| known.name != other.name) && other.shape == first.shape {
                swept.push(other);
            }
        }
        let (time, trips) = (self.name("t"), self.choose(&[2, 3, 4, 5]));
        self.line(depth, &format!("for {time} in range({trips}):"));
        let rank = first.shape.len();
        let statements = 1 + self.below(3);
        // Row by row: all statements in one loop, or each in its own.
        let rows = self.below(4);
        let row = self.name("r");
        let last = first.shape[0] - 1;
        let header = if self.below(3) == 0 {
            format!("for {row} in range({}, 0, -1):", last - 1)
        } else {
            format!("for {row} in range(1, {last}):")
        };
        if rows == 0 {
            self.line(depth + 1, &header);
        }
        for number in 0..statements {
            let own_rows = rows == 0 || rows == 1 && self.below(2) == 0;
            let inside = match (rows, own_rows) {
                (0, _) => depth + 2,
                (_, true) => {
                    self.line(depth + 1, &header);
                    depth + 2
                }
                (_, false) => depth + 1,
            };
            let target = swept[number % swept.len()].clone();
            // Margins that neighbours may reach into.
            let margins: Vec<(i64, i64)> = (0..rank).map(|_| (self.below(2) as i64, self.below(2) as i64)).collect();
            let part = |draft: &mut Self, array: &Array, reach: bool| {
                let mut subscripts = Vec::new();
                for (axis, (&(low, high), &extent)) in margins.iter().zip(&array.shape).enumerate() {
                    let by_row = axis == 0 && own_rows;
                    let (low, high) = if by_row { (1, 1) } else { (low, high) };
                    let shift = if reach { draft.below((low + high + 1) as usize) as i64 - low } else { 0 };
                    subscripts.push(match shift {
                        0 if by_row => row.clone(),
                        shift if by_row => format!("{row} {} {}", if shift < 0 { "-" } else { "+" }, shift.abs()),
                        shift => format!("{}:{}", low + shift, extent - high + shift),
                    });
                }
                format!("{}[{}]", array.name, subscripts.join(", "))
            };
            let mut terms = Vec::new();
            for _ in 0..1 + self.below(3) {
                let from = swept[self.below(swept.len())].clone();
                let same = from.name == target.name && self.below(3) > 0;
                terms.push(part(self, &from, !same));
            }
            let sum = terms.join(" + ");
            let value = if first.is_int { format!("np.minimum({sum}, 1000) - 1") } else { format!("({sum}) * 0.25") };
            let text = part(self, &target, false);
            let op = self.choose(&["=", "=", "+=", "-="]);
            self.line(inside, &format!("{text} {op} {value}"));
        }
    }

    /// A loop whose iterations fold over those before them, and maybe change what is folded.
    fn recurrence(&mut self, depth: usize) {
        let target = self.any_array(|array| !array.rebound && !array.is_int);
        if target.rebound || target.is_int {
            return self.assignment(depth);
        }
        let (x, w, r) = (self.name("x"), self.name("w"), self.name("r"));
        let (length, late) = (self.choose(&[5, 6, 7, 9]), self.below(2));
        let by_columns = self.below(3) == 0;
        let start = if by_columns { format!("np.zeros(({length}, {length}))") } else { format!("np.zeros({length})") };
        self.line(depth, &format!("{w} = 0.25 * (np.arange({length}) % 3)"));
        self.line(depth, &format!("{x} = {start} + {w}"));
        let first = if by_columns { self.below(2) } else { 1 + late };
        let header = match self.below(4) {
            0 => format!("for {r} in range({}, {}, -1):", length - 1, first - usize::from(first > 0)),
            _ => format!("for {r} in range({first}, {length}):"),
        };
        self.line(depth, &header);
        let before = if late > 0 { format!(":{r} - 1") } else { format!(":{r}") };
        let fold = if by_columns {
            let rows = self.choose(&["0:", ":"]).replace('0', &r);
            format!("{x}[{rows}, {r}] = {w}[{rows}] - 0.1 * ({x}[{rows}, :{r}] @ {x}[{r}, :{r}])")
        } else {
            let term = match self.below(4) {
                0 => format!("{x}[{before}] * {w}[{before}]"),
                1 => format!("{x}[{before}] + {w}[{r}]"),
                2 => format!("{x}[{before}] - {w}[{before}]"),
                _ => format!("{x}[{before}]"),
            };
            let op = self.choose(&["np.sum", "np.sum", "np.max", "np.min"]);
            format!("{x}[{r}] = 0.2 * {op}({term})")
        };
        self.line(depth + 1, &fold);
        let at = if by_columns { format!("{x}[{r}, {r}]") } else { format!("{x}[{r}]") };
        for _ in 0..self.below(3) {
            let other = match self.below(6) {
                0 => format!("{at} = 0.5 * {at} + {w}[{r}]"),
                1 => format!("{w}[{r}] = 0.5 * {at}"),
                2 if first > 0 => format!("{w}[{r} - 1] += 0.5 * {at}"),
                3 => format!("{x}[0] = 0.5 * {at}"),
                4 if first > 0 => format!("{x}[{r} - 1] *= 0.5"),
                _ => format!("{w}[:{r}] *= 0.5"),
            };
            self.line(depth + 1, &other);
        }
        self.line(depth, &format!("{}[...] = 0.5 * {} + np.sum({x}) + {w}[1]", target.name, target.name));
    }

    /// A loop whose iterations add to what only later ones need, or some before them.
    fn elimination(&mut self, depth: usize) {
        let target = self.any_array(|array| !array.rebound && !array.is_int);
        if target.rebound || target.is_int {
            return self.assignment(depth);
        }
        let (m, w, r) = (self.name("m"), self.name("w"), self.name("r"));
        let length = self.choose(&[5, 6, 7, 9]);
        self.line(depth, &format!("{w} = 0.25 * (np.arange({length}) % 3)"));
        self.line(depth, &format!("{m} = np.zeros(({length}, {length})) + {w}"));
        let (upwards, early) = (self.below(4) > 0, self.below(2));
        let header = if upwards {
            format!("for {r} in range({}, {}):", self.below(2), length - early)
        } else {
            format!("for {r} in range({}, -1, -1):", length - 2)
        };
        self.line(depth, &header);
        let others = |draft: &mut Self| {
            for _ in 0..draft.below(3) {
                let other = match draft.below(9) {
                    0 if upwards => format!("{m}[{r} + 1:, {r}] *= 0.5"),
                    5 => format!("{m}[{r}:, {r}:] = 0.2 * ({m}[{r}:, {r}:] @ {m}[{r}:, {r}:])"),
                    6 => format!("{m}[:, :] += 0.1 * ({m}[:, {r}:] @ {m}[{r}:, :])"),
                    7 => {
                        format!("{w}[{r}] = 0.1 * np.sum({w} + np.where({r} - np.arange({length}) > 0, {m}[{r}], 0.0))")
                    }
                    1 => format!("{m}[{r}, {r}] = 0.5 * {m}[{r}, {r}] + {w}[{r}]"),
                    2 => format!("{w}[{r}] = {m}[{r}, 0]"),
                    3 => format!("{m}[{r}, :] *= 0.5"),
                    4 => format!("{w}[0] += 0.1 * {m}[{length} - 1, {r}]"),
                    _ => format!("{m}[0, {length} - 1] += 0.1 * {w}[{r}]"),
                };
                draft.line(depth + 1, &other);
            }
        };
        others(self);
        let after = |draft: &mut Self| match draft.below(5) {
            0 => format!("{r}:"),
            1 if early > 0 || !upwards => format!("{r} + 2:"),
            _ => format!("{r} + 1:"),
        };
        let (rows, columns) = match self.below(6) {
            0 => (":".to_owned(), ":".to_owned()),
            1 => (after(self), ":".to_owned()),
            2 => (format!(":{r}"), format!(":{r}")),
            3 => (format!(":{r}"), after(self)),
            _ => (after(self), after(self)),
        };
        let term = match self.below(5) {
            0 => format!("np.outer({w}[{rows}], {w}[{columns}]) * {w}[{r}]"),
            1 => format!("np.outer({m}[{rows}, {r}], {w}[{columns}])"),
            2 => format!("({m}[{rows}, {r}][:, None] + {m}[{r}, {columns}])"),
            _ => format!("np.outer({m}[{rows}, {r}], {m}[{r}, {columns}])"),
        };
        let own = format!("{m}[{rows}, {columns}]");
        let update = match self.below(4) {
            0 => format!("{own} = np.maximum({own}, 0.5 * {term})"),
            1 => format!("{own} += 0.1 * {term}"),
            _ => format!("{own} -= 0.1 * {term}"),
        };
        self.line(depth + 1, &update);
        others(self);
        self.line(depth, &format!("{}[...] = 0.5 * {} + np.sum({m}) + {w}[1]", target.name, target.name));
    }

    fn block(&mut self, depth: usize) {
        let arrays = self.arrays.len();
        for _ in 0..1 + self.below(3) {
            self.statement(depth);
        }
        // Names of temporaries and views hold no longer than their block.
        self.arrays.truncate(arrays);
    }

    fn condition(&mut self, depth: usize) {
        let var = |draft: &mut Self| {
            let at = draft.below(draft.domain.loops.len());
            Affine::variable(draft.domain.loops[at].var)
        };
        let (left, right) = (var(self), Affine::constant(self.below(4) as i64));
        let right = if self.below(3) == 0 { var(self) } else { right };
        let difference = left.minus(&right);
        let (symbol, holds) = match self.below(4) {
            0 => ("<", vec![difference.times(-1).offset(-1)]),
            1 => (">=", vec![difference.clone()]),
            2 => ("==", vec![difference.clone(), difference.times(-1)]),
            _ => (">", vec![difference.offset(-1)]),
        };
        let otherwise = if holds.len() == 1 { vec![holds[0].times(-1).offset(-1)] } else { Vec::new() };
        let test = format!("{} {symbol} {}", self.form(&left), self.form(&right));
        self.line(depth, &format!("if {test}:"));
        let outer = self.domain.conditions.len();
        self.domain.conditions.extend(holds);
        self.block(depth + 1);
        self.domain.conditions.truncate(outer);
        if self.below(2) == 0 {
            self.line(depth, "else:");
            self.domain.conditions.extend(otherwise);
            self.block(depth + 1);
            self.domain.conditions.truncate(outer);
        }
    }

    /// `array[…] = …`, or in place.
    fn assignment(&mut self, depth: usize) {
        let array = self.any_array(|array| !array.rebound);
        if array.rebound {
            return self.line(depth, "pass");
        }
        let (target, lengths) = self.target(&array);
        let value = self.expression(&lengths, array.is_int, 2);
        let op = self.choose(&["=", "=", "+=", "-=", "*="]);
        let value = if op == "*=" { self.choose(&["2", "-1", "3"]).to_owned() } else { format!("{value} + 0") };
        // In place, NumPy stores what can be cast within its kind only.
        self.line(depth, &format!("{target} {op} {value}"));
    }

    /// A scatter over the first axis of an array: by a ufunc, or by assignment.
    fn scatter(&mut self, depth: usize) {
        let array = self.any_array(|array| !array.rebound);
        if array.rebound {
            return self.line(depth, "pass");
        }
        let at = self.below(self.indices.len());
        let (index, name) = (self.indices[at].0.clone(), &array.name);
        let rest: Vec<Affine> = array.shape[1..].iter().map(|&extent| Affine::constant(extent)).collect();
        let value = self.expression(&rest, array.is_int, 2);
        let line = match self.below(5) {
            0 => format!("{name}[{index}] = {value}"),
            1 => format!("{name}[{index}] -= {value}"),
            2 => format!("np.maximum.at({name}, {index}, {value})"),
            3 if array.shape.len() > 1 => format!("np.add.at({name}, ({index}, {}), 1)", self.below(2)),
            _ => format!("np.add.at({name}, {index}, {value})"),
        };
        self.line(depth, &line);
    }

    /// The text of an index of an axis: a form, or an integer from an array of indices.
    fn subscript(&mut self, extent: i64) -> String {
        if self.picks && !self.indices.is_empty() && self.below(8) == 0 {
            let at = self.below(self.indices.len());
            let (name, length) = self.indices[at].clone();
            let at = self.index(length);
            return format!("{name}[{}]", self.form(&at));
        }
        let at = self.index(extent);
        self.form(&at)
    }

    /// A temporary of a live shape, and a use of it.
    fn temporary(&mut self, depth: usize) {
        let array = self.any_array(|array| !array.rebound);
        if array.rebound {
            return self.line(depth, "pass");
        }
        let (target, lengths) = self.target(&array);
        let name = self.name("t");
        let value = self.expression(&lengths, array.is_int, 2);
        let value = if array.is_int { format!("{target} + {value}") } else { format!("{target} * 0.5 + {value}") };
        // What is at an integer that only a run knows has no name.
        if self.below(3) == 0 && !array.is_int && !target.contains('q') {
            self.line(depth, &format!("{name} = blend({target}, {value})"));
        } else {
            self.line(depth, &format!("{name} = {value}"));
        }
        let again = self.expression(&lengths, array.is_int, 1);
        self.line(depth, &format!("{target} = {name} - {again}"));
        self.line(depth, &format!("{target} += {name}"));
    }

    /// A view under a name, and a write through it.
    fn view(&mut self, depth: usize) {
        let array = self.any_array(|array| !array.rebound);
        if array.rebound {
            return self.line(depth, "pass");
        }
        // At an integer that only a run knows there is no view.
        self.picks = false;
        let (target, lengths) = self.target(&array);
        self.picks = true;
        if lengths.is_empty() {
            return self.assignment(depth);
        }
        let name = self.name("v");
        let value = self.expression(&lengths, array.is_int, 1);
        let turned = self.choose(&["", "[::-1]", ".T"]);
        let line = format!("{name} = {target}{turned}");
        self.line(depth, &line);
        match self.below(3) {
            0 => self.line(depth, &format!("{name} *= 2")),
            1 if !array.is_int => self.line(depth, &format!("damp({name}, 0.5)")),
            1 => self.line(depth, &format!("damp({name}, 2)")),
            _ if turned == ".T" => self.line(depth, &format!("{name}[...] = {name} + 1")),
            _ => self.line(depth, &format!("{name}[...] = {value} + 0")),
        }
    }

    /// A part of an array that is surely there, with the lengths of its axes.
    fn target(&mut self, array: &Array) -> (String, Vec<Affine>) {
        let found = self.target_once(array);
        // What arrays of indices pick from has a fixed shape.
        if found.1.iter().all(Affine::is_constant) || !self.picks {
            return found;
        }
        self.picks = false;
        let found = self.target_once(array);
        self.picks = true;
        found
    }

    fn target_once(&mut self, array: &Array) -> (String, Vec<Affine>) {
        let (mut subscripts, mut lengths) = (Vec::new(), Vec::new());
        for &extent in &array.shape {
            if self.below(2) == 0 {
                let at = self.subscript(extent);
                subscripts.push(at);
            } else if self.below(6) == 0 {
                let (start, step) = (self.below(2) as i64, self.choose(&[2_i64, 3, -2]));
                lengths.push(Affine::constant((extent - start + step.abs() - 1) / step.abs()));
                subscripts.push(if step > 0 {
                    format!("{start}::{step}")
                } else {
                    format!("{}::{step}", extent - 1 - start)
                });
            } else {
                let (start, stop) = self.slice(extent);
                lengths.push(stop.minus(&start));
                subscripts.push(self.bounds(&start, &stop, extent));
            }
        }
        (format!("{}[{}]", array.name, subscripts.join(", ")), lengths)
    }

    fn within(&self, form: &Affine, extent: i64) -> bool {
        self.domain.proves(form) && self.domain.proves(&form.times(-1).offset(extent))
    }

    /// A form near a loop's variable, or a constant.
    fn near(&mut self, extent: i64) -> Affine {
        let constant = Affine::constant(self.below(extent as usize + 1) as i64);
        if self.domain.loops.is_empty() || self.below(4) == 0 {
            return constant;
        }
        let at = self.below(self.domain.loops.len());
        let var = Affine::variable(self.domain.loops[at].var);
        match self.below(6) {
            0 => constant.minus(&var),
            1 => var.times(2),
            _ => var.offset(self.below(4) as i64 - 1),
        }
    }

    fn index(&mut self, extent: i64) -> Affine {
        for _ in 0..5 {
            let form = self.near(extent);
            if self.within(&form, extent - 1) {
                return form;
            }
        }
        Affine::constant(self.below(extent as usize) as i64)
    }

    fn slice(&mut self, extent: i64) -> (Affine, Affine) {
        for _ in 0..5 {
            let start = if self.below(2) == 0 { Affine::constant(0) } else { self.near(extent) };
            let stop = if self.below(2) == 0 { Affine::constant(extent) } else { self.near(extent) };
            let ordered = self.domain.proves(&stop.minus(&start));
            if ordered && self.within(&start, extent) && self.within(&stop, extent) {
                return (start, stop);
            }
        }
        (Affine::constant(0), Affine::constant(extent))
    }

    /// A slice as text: ends are left out, or counted from the end, where that is the same.
    fn bounds(&mut self, start: &Affine, stop: &Affine, extent: i64) -> String {
        let first = if *start == Affine::constant(0) { String::new() } else { self.form(start) };
        let from_end = stop.offset(-extent);
        let last = if from_end == Affine::constant(0) {
            String::new()
        } else if from_end.is_constant() && stop.constant > 0 && self.below(2) == 0 {
            self.form(&from_end)
        } else {
            self.form(stop)
        };
        format!("{first}:{last}")
    }

    /// A part of an array of the given lengths; `None` if no try fits.
    fn part(&mut self, lengths: &[Affine], is_int: bool) -> Option<String> {
        // What arrays of indices pick from has a fixed shape.
        let picks = self.picks;
        self.picks = picks && lengths.iter().all(Affine::is_constant);
        let part = self.part_of(lengths, is_int);
        self.picks = picks;
        part
    }

    fn part_of(&mut self, lengths: &[Affine], is_int: bool) -> Option<String> {
        let array = self.any_array(|array| array.is_int == is_int && array.shape.len() >= lengths.len());
        if array.is_int != is_int || array.shape.len() < lengths.len() {
            return None;
        }
        let (mut subscripts, mut rest) = (Vec::new(), lengths.iter());
        let mut spare = array.shape.len() - lengths.len();
        for (axis, &extent) in array.shape.iter().enumerate() {
            let left = array.shape.len() - axis;
            if spare > 0 && (spare == left || self.below(2) == 0) {
                spare -= 1;
                let at = self.subscript(extent);
                subscripts.push(at);
                continue;
            }
            let length = rest.next()?;
            if length.is_constant()
                && length.constant > 0
                && self.below(4) == 0
                && let Some(strided) = self.strided(length.constant, extent)
            {
                subscripts.push(strided);
                continue;
            }
            let mut found = None;
            for _ in 0..6 {
                let start = if self.below(3) == 0 { Affine::constant(0) } else { self.near(extent) };
                let stop = start.plus(length);
                if self.within(&start, extent) && self.within(&stop, extent) {
                    found = Some((start, stop));
                    break;
                }
            }
            let (start, stop) = found?;
            subscripts.push(self.bounds(&start, &stop, extent));
        }
        let reversed = if !lengths.is_empty() && self.below(6) == 0 { "[::-1]" } else { "" };
        Some(format!("{}[{}]{reversed}", array.name, subscripts.join(", ")))
    }

    /// A slice of `length` elements with a step, forwards or backwards; `None` if it does not fit.
    fn strided(&mut self, length: i64, extent: i64) -> Option<String> {
        let step = self.choose(&[2, 2, 3, 1]);
        let reach = (length - 1) * step;
        let free = extent - reach;
        let start = if free > 0 { self.below(free as usize) as i64 } else { return None };
        Some(if self.below(2) == 0 {
            format!("{start}:{}:{step}", start + reach + 1)
        } else if start == 0 {
            format!("{reach}::-{step}")
        } else {
            format!("{}:{}:-{step}", start + reach, start - 1)
        })
    }

    /// An expression that broadcasts to the lengths.
    fn expression(&mut self, lengths: &[Affine], is_int: bool, depth: usize) -> String {
        if depth == 0 || self.below(4) == 0 {
            return self.leaf(lengths, is_int);
        }
        let (a, b) = (self.expression(lengths, is_int, depth - 1), self.expression(lengths, is_int, depth - 1));
        match self.below(8) {
            0 | 1 => format!("({a} + {b})"),
            2 => format!("({a} - {b})"),
            3 if is_int => format!("({a} * {b})"),
            3 => format!("({a} * {b} * 0.125)"),
            4 => format!("np.minimum({a}, {b})"),
            5 => format!("np.maximum({a}, {b})"),
            6 => format!("np.where({a} > {b}, {b}, {a})"),
            _ => self.reduction(is_int).unwrap_or(a),
        }
    }

    fn leaf(&mut self, lengths: &[Affine], is_int: bool) -> String {
        // Trailing axes are enough.
        let skipped = if lengths.len() > 1 && self.below(4) == 0 { 1 } else { 0 };
        for _ in 0..3 {
            if self.below(5) > 0
                && let Some(part) = self.part(&lengths[skipped..], is_int)
            {
                return part;
            }
        }
        let numbers: Vec<usize> = (0..self.numbers.len()).filter(|&at| self.numbers[at].is_int == is_int).collect();
        match self.below(3) {
            0 if !numbers.is_empty() => {
                let at = self.choose(&numbers);
                self.numbers[at].name.clone()
            }
            1 if !self.domain.loops.is_empty() => {
                let at = self.below(self.domain.loops.len());
                let name = &self.loops[self.domain.loops[at].var];
                if is_int { format!("({name} + 1)") } else { format!("({name} * 0.25)") }
            }
            _ if is_int => self.choose(&["1", "2", "-3"]).to_owned(),
            _ => self.choose(&["0.5", "2.0", "-0.25", "1"]).to_owned(),
        }
    }

    /// A reduction of a part of an array to a number.
    fn reduction(&mut self, is_int: bool) -> Option<String> {
        let array = self.any_array(|array| array.is_int == is_int);
        let (target, lengths) = self.target(&array);
        if lengths.is_empty() || array.is_int != is_int {
            return None;
        }
        let filled = lengths.iter().all(|length| self.domain.proves(&length.offset(-1)));
        Some(match self.below(4) {
            0 if filled => format!("{target}.max()"),
            1 if filled => format!("np.min({target})"),
            2 if lengths.len() == 1 => {
                let other = self.part(&lengths, is_int)?;
                format!("({target} @ {other})")
            }
            _ => format!("{target}.sum()"),
        })
    }
}
