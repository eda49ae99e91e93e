//! Element-wise expressions of a type: arithmetic, functions, comparisons and logic, casts, choices, and calls of helpers.

use super::expressions::numpy_name;
use super::generate::Draft;
use super::program::{Expr, Type};
use moat_optimizer::value::dtype::DType;

impl Draft {
    pub(super) fn binary(&mut self, of: &Type, depth: usize) -> Option<Expr> {
        if of.dtype == DType::Bool {
            return self.test(of, depth);
        }
        let float = of.dtype.is_float();
        let (what, text, function): (&'static str, &str, &str) = if float {
            self.choose(&[
                ("add", "+", "np.add"),
                ("add", "+", "np.add"),
                ("subtract", "-", "np.subtract"),
                ("subtract", "-", "np.subtract"),
                ("multiply", "*", "np.multiply"),
                ("multiply", "*", "np.multiply"),
                ("multiply", "*", "np.multiply"),
                ("divide", "/", "np.divide"),
                ("divide", "/", "np.true_divide"),
                ("floor_divide", "//", "np.floor_divide"),
                ("remainder", "%", "np.remainder"),
                ("maximum", "", "np.maximum"),
                ("minimum", "", "np.minimum"),
                ("power", "**", "np.power"),
            ])
        } else {
            self.choose(&[
                ("add", "+", "np.add"),
                ("add", "+", "np.add"),
                ("subtract", "-", "np.subtract"),
                ("multiply", "*", "np.multiply"),
                ("multiply", "*", "np.multiply"),
                ("floor_divide", "//", "np.floor_divide"),
                ("remainder", "%", "np.mod"),
                ("maximum", "", "np.maximum"),
                ("minimum", "", "np.minimum"),
                ("power", "**", "np.power"),
                ("shift", "<<", "np.left_shift"),
                ("shift", ">>", "np.right_shift"),
                ("bitwise", "&", "np.bitwise_and"),
                ("bitwise", "|", "np.bitwise_or"),
                ("bitwise", "^", "np.bitwise_xor"),
            ])
        };
        let mut left = self.value(of, depth);
        let right = match what {
            "power" => {
                let text = if float {
                    self.choose(&["2", "3", "0.5", "2.0", "1"])
                } else {
                    self.choose(&["2", "3", "0", "1"])
                };
                if text == "0.5" {
                    left = Expr::new("abs", "np.abs({})", vec![left], of.clone());
                }
                Expr::bare("number", text)
            }
            "shift" => {
                if self.below(2) == 0 {
                    Expr::bare("number", self.choose(&["1", "2", "5"]))
                } else {
                    let by = self.value(of, depth.min(1));
                    Expr::new("bitwise", "({} & 7)", vec![by], of.clone())
                }
            }
            "divide" if of.dtype == DType::F64 && self.below(6) == 0 => {
                // Integers divide to f64.
                let dtype = self.choose(&[DType::I64, DType::I32]);
                left = self.value(&of.at(dtype), depth);
                self.value(&of.at(dtype), depth)
            }
            "divide" | "floor_divide" | "remainder" if float && self.below(3) > 0 => {
                if self.below(2) == 0 {
                    Expr::bare("number", self.choose(&["2.0", "3.0", "0.1", "49.0", "-0.5"]))
                } else {
                    let by = self.value(of, depth.min(1));
                    Expr::new("add", "(np.abs({}) + 0.5)", vec![by], of.clone())
                }
            }
            _ => self.operand(of, depth),
        };
        // Two arguments of bool have no difference in NumPy, and there is none here: the left is of the type.
        let swapped = !matches!(what, "power" | "shift") && !matches!(right.what, "abs") && self.below(3) == 0;
        let parts = if swapped { vec![right, left] } else { vec![left, right] };
        let text = if text.is_empty() || self.below(5) == 0 {
            format!("{function}({{}}, {{}})")
        } else {
            format!("({{}} {text} {{}})")
        };
        Some(Expr::new(what, text, parts, of.clone()))
    }

    /// Comparisons and logic.
    pub(super) fn test(&mut self, of: &Type, depth: usize) -> Option<Expr> {
        let dtype = self.choose(&[DType::F64, DType::F64, DType::F32, DType::I64, DType::I32, DType::Bool]);
        match self.below(7) {
            0 => {
                let (a, b) = (self.value(of, depth), self.value(of, depth));
                let text = self.choose(&["({} & {})", "({} | {})", "({} ^ {})"]);
                Some(Expr::new("bitwise", text, vec![a, b], of.clone()))
            }
            1 => {
                let (a, b) = (self.value(&of.at(dtype), depth), self.value(of, depth));
                let text = self.choose(&["np.logical_and({}, {})", "np.logical_or({}, {})", "np.logical_xor({}, {})"]);
                Some(Expr::new("logical", text, vec![a, b], of.clone()))
            }
            _ => {
                let a = self.value(&of.at(dtype), depth);
                let b = self.operand(&of.at(dtype), depth);
                let text = self.choose(&[
                    "({} < {})",
                    "({} <= {})",
                    "({} > {})",
                    "({} >= {})",
                    "({} == {})",
                    "({} != {})",
                    "np.greater({}, {})",
                    "np.less_equal({}, {})",
                    "np.equal({}, {})",
                ]);
                let parts = if self.below(3) == 0 { vec![b, a] } else { vec![a, b] };
                Some(Expr::new("compare", text, parts, of.clone()))
            }
        }
    }

    pub(super) fn unary(&mut self, of: &Type, depth: usize) -> Option<Expr> {
        let (what, text): (&'static str, &str) = match of.dtype {
            DType::F32 | DType::F64 => self.choose(&[
                ("negative", "(-{})"),
                ("abs", "np.abs({})"),
                ("abs", "abs({})"),
                ("sqrt", "np.sqrt(np.abs({}))"),
                ("sqrt", "np.sqrt({})"),
                ("exp", "np.exp(np.minimum({}, 3.0))"),
                ("exp", "np.exp({})"),
                ("log", "np.log(np.abs({}) + 0.5)"),
                ("log", "np.log({})"),
                ("sin", "np.sin({})"),
                ("cos", "np.cos({})"),
                ("tanh", "np.tanh({})"),
                ("erf", "erf({})"),
                ("floor", "np.floor({} * 3.0)"),
                ("floor", "np.ceil({})"),
                ("sign", "np.sign({})"),
                ("square", "np.square({})"),
                ("reciprocal", "np.reciprocal(np.abs({}) + 1.0)"),
                ("positive", "(+{})"),
            ]),
            DType::Bool => {
                let dtype = self.choose(&[DType::Bool, DType::F64, DType::F32, DType::I64]);
                let (what, text) = if dtype == DType::Bool {
                    self.choose(&[("invert", "(~{})"), ("logical", "np.logical_not({})")])
                } else if dtype.is_float() {
                    self.choose(&[
                        ("isnan", "np.isnan({})"),
                        ("isnan", "np.isinf({})"),
                        ("isnan", "np.isfinite({})"),
                        ("logical", "np.logical_not({})"),
                    ])
                } else {
                    ("logical", "np.logical_not({})")
                };
                let part = self.value(&of.at(dtype), depth);
                return Some(Expr::new(what, text, vec![part], of.clone()));
            }
            DType::I8 | DType::U8 | DType::I16 | DType::I32 | DType::I64 | DType::F16 | DType::BF16 => self.choose(&[
                ("negative", "(-{})"),
                ("abs", "np.abs({})"),
                ("invert", "(~{})"),
                ("sign", "np.sign({})"),
                ("square", "np.square({})"),
                ("positive", "np.positive({})"),
            ]),
        };
        let part = self.value(of, depth);
        Some(Expr::new(what, text, vec![part], of.clone()))
    }

    pub(super) fn select(&mut self, of: &Type, depth: usize) -> Option<Expr> {
        let condition = self.value(&of.at(DType::Bool), depth);
        let a = self.value(of, depth);
        let b = self.operand(of, depth);
        let parts = if self.below(2) == 0 { vec![condition, a, b] } else { vec![condition, b, a] };
        Some(Expr::new("where", "np.where({}, {}, {})", parts, of.clone()))
    }

    pub(super) fn cast(&mut self, of: &Type, depth: usize) -> Option<Expr> {
        let from = self.choose(&[DType::F32, DType::F64, DType::I32, DType::I64, DType::Bool]);
        let part = self.value(&of.at(from), depth);
        let dtype = numpy_name(of.dtype);
        // A scalar in Python has no method in front of its sign.
        if from.is_float() && of.dtype.is_int() {
            let text = format!("np.clip(np.where({{}} == {{}}, {{}}, 0.0), -1000.0, 1000.0).astype({dtype})");
            return Some(Expr::new("cast", text, vec![part.clone(), part.clone(), part], of.clone()));
        }
        let text = if of.shape.is_empty() && self.below(2) == 0 {
            format!("{dtype}({{}})")
        } else {
            format!("({{}}).astype({dtype})")
        };
        Some(Expr::new("cast", text, vec![part], of.clone()))
    }

    /// A call of a function beside the program.
    pub(super) fn helped(&mut self, of: &Type, depth: usize) -> Option<Expr> {
        if of.dtype == DType::Bool {
            return None;
        }
        let (name, what, holes) = self.helper(of)?;
        let parts: Vec<Expr> = (0..holes.matches("{}").count()).map(|_| self.value(of, depth)).collect();
        Some(Expr::new(what, format!("{name}({holes})"), parts, of.clone()))
    }

    pub(super) fn clipped(&mut self, of: &Type, depth: usize) -> Option<Expr> {
        if of.dtype == DType::Bool {
            return None;
        }
        let part = self.value(of, depth);
        let (low, high) = if of.dtype.is_float() { ("-0.5", "1.25") } else { ("-2", "3") };
        let text = match self.below(3) {
            0 => format!("({{}}).clip({low}, {high})"),
            _ => format!("np.clip({{}}, {low}, {high})"),
        };
        Some(Expr::new("clip", text, vec![part], of.clone()))
    }

    /// A conditional expression.
    pub(super) fn chosen(&mut self, of: &Type, depth: usize) -> Option<Expr> {
        let condition = self.condition(false)?.text;
        let (a, b) = (self.value(of, depth), self.value(of, depth));
        Some(Expr::new("conditional expression", format!("({{}} if {condition} else {{}})"), vec![a, b], of.clone()))
    }
}
