//! Functions beside the program: pure ones, and those that write to an argument or return one.

use super::generate::Draft;
use super::program::{Helper, Stmt, Type};
use moat_optimizer::value::dtype::DType;

impl Draft {
    /// A function that gives an array of the type it is given: its name, the construct, and holes for its arguments.
    pub(super) fn helper(&mut self, of: &Type) -> Option<(String, &'static str, &'static str)> {
        let float = of.dtype.is_float();
        let long = of.shape.first().is_some_and(|dim| dim.size > 2 && dim.live == 0);
        let (what, text, holes): (&'static str, &str, &'static str) = match self.below(9) {
            0 if float => ("def", "def NAME(x, y):\n    z = x * 0.5\n    z = z + y * 0.25\n    return z\n", "{}, {}"),
            1 => ("default argument", "def NAME(x, c=2):\n    return x * c + 1\n", "{}"),
            2 => ("keyword argument", "def NAME(x, y, c=1):\n    return x - c * y\n", "{}, {}, c=3"),
            3 => ("lambda", "NAME = lambda x, c=3: x + c\n", "{}"),
            4 => ("def that returns its argument", "def NAME(x):\n    return x\n", "{}"),
            5 => (
                "def with if",
                "def NAME(x, w=None):\n    if w is None:\n        return x + 1\n    return x * w\n",
                "{}",
            ),
            6 => (
                "def that calls",
                "def NAME_in(x):\n    return x + x\n\n\ndef NAME(x, y):\n    return NAME_in(y) - NAME_in(x)\n",
                "{}, {}",
            ),
            7 if float && long => (
                "def with loop",
                "def NAME(x, n=2):\n    y = x.copy()\n    for t in range(n):\n        y[1:-1] = (y[:-2] + y[2:]) * 0.5\n    return y\n",
                "{}",
            ),
            8 if !of.shape.is_empty() => (
                "def with in-place",
                "def NAME(x, y):\n    z = x + y\n    z += x\n    z[...] = z * 2\n    return z\n",
                "{}, {}",
            ),
            _ => return None,
        };
        let name = self.name("h");
        self.helpers.push(Helper { name: name.clone(), text: text.replace("NAME", &name) });
        Some((name, what, holes))
    }

    /// A call for its effect, or one whose result shares memory with its argument.
    pub(super) fn helper_statement(&mut self) -> Option<Vec<Stmt>> {
        let var = self.array(|var| var.of.dtype != DType::Bool)?;
        let (helper, source) = (self.name("h"), var.name.clone());
        let own = var.of.extents()?;
        let (what, text, line): (&'static str, &str, String) = match self.below(6) {
            0 => ("def that writes", "def NAME(x, c):\n    x *= c\n", format!("{helper}({source}, 2)")),
            1 if own[0] > 1 => {
                ("def that writes", "def NAME(x):\n    x[1:] = x[:-1] + 1\n", format!("{helper}({source})"))
            }
            2 => {
                let other = self.array(|other| other.of == var.of)?.name;
                let (a, b) = (self.name("v"), self.name("v"));
                self.bind(a.clone(), var.of.clone());
                self.bind(b.clone(), var.of.clone());
                let line = format!("{a}, {b} = {helper}({source}, {other})");
                ("def that swaps", "def NAME(x, y):\n    return y, x\n", line)
            }
            3 => {
                let name = self.name("b");
                self.bind(name.clone(), var.of.clone());
                (
                    "def that returns a view",
                    "def NAME(x):\n    return x[::-1]\n",
                    format!("{name} = {helper}({source})"),
                )
            }
            4 => {
                let name = self.name("b");
                self.bind(name.clone(), var.of.clone());
                (
                    "def that returns its argument",
                    "def NAME(x):\n    return x\n",
                    format!("{name} = {helper}({source})"),
                )
            }
            _ => {
                let other = self.array(|other| other.of == var.of)?.name;
                let line = format!("{source} = {helper}({source}, {other})");
                ("def that returns its argument", "def NAME(x, y):\n    y[...] = y + x\n    return y\n", line)
            }
        };
        self.helpers.push(Helper { name: helper.clone(), text: text.replace("NAME", &helper) });
        Some(vec![Stmt::line(what, line, vec![])])
    }
}
