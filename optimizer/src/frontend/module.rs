//! A workload's file: imports, constants, the function to read and its annotations.

use super::dtype_name::dtype_name;
use super::evaluate::Evaluator;
use super::frames::Frame;
use super::liveness::Liveness;
use super::number::Number;
use super::prune::prune;
use super::statement::Flow;
use super::syntax::{assigned, span_of, span_of_range};
use super::value::{Arg, Array, Eval, Poisoned, Value};
use super::workload::ParseOptions;
use crate::program::expr::{InputHint, Op, Param, Program, Signature, Span};
use crate::value::dtype::{DType, Literal};
use rustpython_ruff_python_ast::{self as ast, Expr, Stmt};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

const MODULES: [&str; 8] =
    ["numpy", "numpy.lib", "numpy.lib.stride_tricks", "numpy.typing", "scipy", "scipy.special", "math", "typing"];

const IMPORTS: &str = "supported: numpy, numpy.lib.stride_tricks, scipy.special, math, typing, __future__";

impl<'s> Evaluator<'s> {
    /// Runs a file's top level, then the function chosen.
    pub(super) fn file(&mut self, body: &'s [Stmt], options: &ParseOptions) -> Eval<Program> {
        let overridden = self.top_level(body, options);
        for name in options.lets.keys().filter(|name| !overridden.contains(*name)) {
            let constants: Vec<String> = self.constants().into_keys().collect();
            let help = format!("the file's constants: {}", constants.join(", "));
            self.error(Span::default(), format!("there is no module constant '{name}' to override"), Some(&help));
        }
        let def = self.choose(body, options)?;
        self.workload(def)
    }

    /// The module's numbers by name.
    pub(super) fn constants(&self) -> BTreeMap<String, Literal> {
        let literal = |value: &Value| match value {
            Value::Number(Number::Bool(value)) => Some(Literal::Bool(*value)),
            Value::Number(Number::Int(value)) => i64::try_from(*value).ok().map(Literal::Int),
            Value::Number(Number::Float(value)) => Some(Literal::float(*value)),
            _ => None,
        };
        let names = self.names.of_module();
        names.filter_map(|(name, value)| Some((name.clone(), literal(value)?))).collect()
    }

    /// Runs the module's statements; returns the constants that options replaced.
    fn top_level(&mut self, body: &'s [Stmt], options: &ParseOptions) -> BTreeSet<String> {
        let mut overridden = BTreeSet::new();
        for statement in body {
            if let Some(rest) = main_guard(statement) {
                for statement in rest {
                    self.statement(statement);
                }
                continue;
            }
            if let Flow::Return(_) = self.statement(statement) {
                self.error(span_of(statement), "'return' outside a function", None);
            }
            let mut names = BTreeSet::new();
            if matches!(statement, Stmt::Assign(_) | Stmt::AnnAssign(_)) {
                assigned(std::slice::from_ref(statement), &mut names);
            }
            for name in names {
                if let Some(literal) = options.lets.get(&name) {
                    let number = match literal {
                        Literal::Bool(value) => Number::Bool(*value),
                        Literal::Int(value) => Number::Int(i128::from(*value)),
                        Literal::Float(bits) => Number::Float(f64::from_bits(*bits)),
                    };
                    self.bind(&name, Value::Number(number));
                    overridden.insert(name);
                }
            }
        }
        overridden
    }

    /// The function that the options name, or the only one that is annotated.
    fn choose(&mut self, body: &'s [Stmt], options: &ParseOptions) -> Eval<&'s ast::StmtFunctionDef> {
        let defs: Vec<&'s ast::StmtFunctionDef> = body
            .iter()
            .filter_map(|statement| if let Stmt::FunctionDef(def) = statement { Some(def) } else { None })
            .collect();
        let names = |defs: &[&ast::StmtFunctionDef]| {
            defs.iter().map(|def| def.name.as_str().to_owned()).collect::<Vec<_>>().join(", ")
        };
        if let Some(wanted) = &options.function {
            return match defs.iter().rev().find(|def| def.name.as_str() == wanted) {
                Some(def) => Ok(def),
                None => {
                    let help = format!("the file's functions: {}", names(&defs));
                    Err(self.error(Span::default(), format!("there is no function '{wanted}'"), Some(&help)))
                }
            };
        }
        let annotated: Vec<&'s ast::StmtFunctionDef> = defs
            .iter()
            .copied()
            .filter(|def| {
                let mut parameters = def.parameters.iter_non_variadic_params().peekable();
                parameters.peek().is_some() && parameters.all(|parameter| parameter.parameter.annotation.is_some())
            })
            .collect();
        match annotated.as_slice() {
            [def] => Ok(def),
            [] => {
                let help = "annotate every parameter of one function: def f(A: f32[N, K], x: f32[K])";
                let place = defs.first().map_or(Span::default(), |def| span_of(&def.name));
                Err(self.error(place, "the file has no function whose parameters are all annotated", Some(help)))
            }
            several => {
                let help = format!("choose one as FILE:FUNCTION from: {}", names(several));
                let place = span_of(&several[1].name);
                Err(self.error(place, "the file has several annotated functions", Some(&help)))
            }
        }
    }

    /// Reads the chosen function as a program.
    fn workload(&mut self, def: &'s ast::StmtFunctionDef) -> Eval<Program> {
        let (params, names) = self.parameters(def)?;
        let signature = self.signature(def, &params)?;
        let Some(closure) = self.names.closure_of(def.body.as_slice()) else {
            return Err(Poisoned);
        };
        let mut locals: BTreeSet<String> = names.keys().cloned().collect();
        assigned(&def.body, &mut locals);
        let liveness = Rc::new(Liveness::of(&def.body));
        self.names.enter(Frame { parent: Some(0), locals, names, liveness, ..Frame::default() });
        self.diagnostics.enter_call(closure, def.name.as_str(), span_of(&def.name));
        let flow = self.block(&def.body);
        let mutated = self.store.mutated();
        let (result, place) = match flow {
            Flow::Return(Arg { value, span }) => (value, span),
            Flow::Next => (Value::None, span_of(&def.name)),
        };
        let (items, returns_tuple) = match result {
            Value::Poison => return Err(Poisoned),
            Value::Tuple(items) => (items, true),
            Value::None if !mutated.is_empty() => (Vec::new(), false),
            // Another error may hide what it writes to.
            Value::None if self.diagnostics.count() > 0 => return Err(Poisoned),
            Value::None => {
                let help = "end the function with 'return' and one array or a tuple of arrays";
                return Err(self.error(place, "the function returns nothing and changes no argument", Some(help)));
            }
            value => (vec![value], false),
        };
        let mut roots = Vec::with_capacity(items.len());
        let returned = items.len();
        for value in items {
            match value {
                Value::Array(_) | Value::Number(_) | Value::Weak(_) => {
                    roots.push(self.array(&Arg { value, span: place }, "return")?.node);
                }
                Value::Poison => return Err(Poisoned),
                other => {
                    let message = format!("the function returns {}", self.describe(&other));
                    let help = "supported results: an array, a number, a tuple of arrays";
                    return Err(self.error(place, message, Some(help)));
                }
            }
        }
        if returned == 0 && returns_tuple {
            return Err(self.error(place, "the function returns an empty tuple", None));
        }
        for &(_, state) in &mutated {
            roots.push(self.state_node(state, place)?);
        }
        let checks = self.control.take_checks();
        roots.extend(checks.iter().map(|check| check.0));
        let program = Program {
            name: def.name.as_str().to_owned(),
            params,
            signature,
            nodes: self.graph.take_nodes(),
            states: self.store.take_states(),
            body: self.control.leave_block(),
            mutated: mutated.into_iter().map(|(param, _)| param).collect(),
            roots,
            checks: checks.into_iter().map(|(_, check)| check).collect(),
            returns_tuple,
        };
        Ok(prune(program))
    }

    /// The inputs that a function's annotations declare.
    fn parameters(&mut self, def: &'s ast::StmtFunctionDef) -> Eval<(Vec<Param>, BTreeMap<String, Value>)> {
        let parameters = &def.parameters;
        let mut failed = false;
        if let Some(variadic) = parameters.vararg.as_deref().or(parameters.kwarg.as_deref()) {
            self.unsupported(span_of(variadic), "a '*' parameter", "write the parameters out");
            failed = true;
        }
        let mut params = Vec::new();
        let mut names = BTreeMap::new();
        for parameter in parameters.iter_non_variadic_params() {
            let name = parameter.parameter.name.as_str();
            let span = span_of_range(parameter.parameter.range);
            let Some(annotation) = parameter.parameter.annotation.as_deref() else {
                let help = format!("write {name}: f32[N, K], or {name}: f32 for a scalar");
                self.error(span, format!("the parameter '{name}' has no annotation"), Some(&help));
                failed = true;
                continue;
            };
            let before = self.diagnostics.count();
            match self.annotation(annotation) {
                Ok((dtype, shape, hint)) => {
                    failed |= self.diagnostics.count() > before;
                    let node = self.emit(Op::Input(params.len()), Vec::new(), shape.clone(), dtype, span)?;
                    let array: Array = self.fresh(node);
                    if let Some(storage) = array.storage {
                        self.store.set_parameter(storage, params.len());
                    }
                    if let Some(state) = array.storage.and_then(|storage| self.store.state_of(storage)) {
                        self.store.name_state(state, Some(name));
                    }
                    names.insert(name.to_owned(), Value::Array(array));
                    params.push(Param { name: name.to_owned(), dtype, shape, hint });
                }
                Err(Poisoned) => {
                    // The body is still read, so that its own errors are reported too.
                    names.insert(name.to_owned(), Value::Poison);
                    failed = true;
                }
            }
        }
        if failed {
            self.read_in_vain(def, names);
            return Err(Poisoned);
        }
        Ok((params, names))
    }

    /// The marks and defaults of the parameters.
    fn signature(&mut self, def: &'s ast::StmtFunctionDef, params: &[Param]) -> Eval<Signature> {
        let parameters = &def.parameters;
        let mut signature = Signature {
            positional_only: parameters.posonlyargs.len(),
            keyword_only: parameters.kwonlyargs.len(),
            ..Signature::default()
        };
        let mut failed = false;
        for (at, (parameter, param)) in parameters.iter_non_variadic_params().zip(params).enumerate() {
            let Some(default) = parameter.default.as_deref() else { continue };
            let arg = self.arg(default);
            match self.default_value(&arg, param) {
                Ok(literal) => drop(signature.defaults.insert(at, literal)),
                Err(Poisoned) => failed = true,
            }
        }
        if failed { Err(Poisoned) } else { Ok(signature) }
    }

    /// A default as a number of its parameter's dtype, where Python's weak promotion takes it.
    fn default_value(&mut self, arg: &Arg, param: &Param) -> Eval<Literal> {
        let (name, dtype) = (&param.name, param.dtype);
        if arg.value.is_poisoned() {
            return Err(Poisoned);
        }
        if !param.shape.is_empty() {
            let message = format!("the array parameter '{name}' has a default");
            return Err(self.error(arg.span, message, Some("defaults are numbers, of scalar parameters")));
        }
        let literal = match &arg.value {
            Value::Number(number) => Some(*number),
            Value::Array(array) if self.dtype(array.node) == dtype => {
                self.known_literal(array.node).map(|literal| match literal {
                    Literal::Bool(value) => Number::Bool(value),
                    Literal::Int(value) => Number::Int(i128::from(value)),
                    Literal::Float(bits) => Number::Float(f64::from_bits(bits)),
                })
            }
            _ => None,
        };
        let fits = literal.filter(|number| match number {
            Number::Bool(_) => dtype == DType::Bool,
            Number::Int(_) => dtype != DType::Bool,
            Number::Float(_) => dtype.is_float(),
        });
        let Some(number) = fits else {
            let message = format!("the default of '{name}' is {}, not a number of {dtype}", self.describe(&arg.value));
            let help = "write a number that is known at compile time";
            return Err(self.error(arg.span, message, Some(help)));
        };
        super::promote::literal(number, dtype).map_err(|message| self.error(arg.span, message, None))
    }

    /// Reads a body whose parameters are partly in error, for the errors of its own.
    fn read_in_vain(&mut self, def: &'s ast::StmtFunctionDef, names: BTreeMap<String, Value>) {
        let mut locals: BTreeSet<String> = names.keys().cloned().collect();
        for parameter in def.parameters.iter_non_variadic_params() {
            locals.insert(parameter.parameter.name.as_str().to_owned());
        }
        let mut names = names;
        for name in &locals {
            names.entry(name.clone()).or_insert(Value::Poison);
        }
        assigned(&def.body, &mut locals);
        let liveness = Rc::new(Liveness::of(&def.body));
        let caller = self.names.enter(Frame { parent: Some(0), locals, names, liveness, ..Frame::default() });
        self.block(&def.body);
        self.names.leave(caller);
    }

    /// Dtype, shape and hint of `f32[N, K]` or `Annotated[f32[N], Range(0, 1)]`.
    fn annotation(&mut self, annotation: &'s Expr) -> Eval<(DType, Vec<usize>, InputHint)> {
        if let Expr::Subscript(subscript) = annotation
            && last_name(&subscript.value) == Some("Annotated")
        {
            let (first, hints) = match &*subscript.slice {
                Expr::Tuple(tuple) => match tuple.elts.split_first() {
                    Some((first, hints)) => (first, hints),
                    None => return Err(self.annotation_error(annotation)),
                },
                other => (other, &[][..]),
            };
            let array = self.array_annotation(first);
            let mut hint = InputHint::Any;
            let mut failed = false;
            for (at, expr) in hints.iter().enumerate() {
                if at > 0 {
                    self.error(span_of(expr), "a parameter has one hint", None);
                    failed = true;
                } else {
                    match self.hint(expr, array.as_ref().ok()) {
                        Ok(found) => hint = found,
                        Err(Poisoned) => failed = true,
                    }
                }
            }
            let (dtype, shape) = array?;
            return if failed { Err(Poisoned) } else { Ok((dtype, shape, hint)) };
        }
        let (dtype, shape) = self.array_annotation(annotation)?;
        Ok((dtype, shape, InputHint::Any))
    }

    fn annotation_error(&mut self, annotation: &Expr) -> Poisoned {
        let text =
            self.diagnostics.source().get(span_of(annotation).start..span_of(annotation).end).unwrap_or("").to_owned();
        let help = "supported: f32, f64, i32, i64, bool for scalars; f32[N, K] for arrays; \
                    Annotated[f32[N], Range(0, 1)], Annotated[f64[N, N], SPD], Annotated[i32[N], Index(M)]";
        self.error(span_of(annotation), format!("the annotation '{text}' is not a shape and dtype"), Some(help))
    }

    fn array_annotation(&mut self, annotation: &'s Expr) -> Eval<(DType, Vec<usize>)> {
        let (element, extents): (&Expr, &'s [Expr]) = match annotation {
            Expr::Subscript(subscript) => match &*subscript.slice {
                Expr::Tuple(tuple) => (&subscript.value, &tuple.elts),
                other => (&subscript.value, std::slice::from_ref(other)),
            },
            other => (other, &[]),
        };
        let Expr::Name(name) = element else { return Err(self.annotation_error(annotation)) };
        let name = name.id.as_str();
        let dtype = match DType::from_name(name) {
            Some(dtype) if DType::SUPPORTED.contains(&dtype) => Ok(dtype),
            Some(_) => Ok(self.stand_in(name, span_of(element))),
            None if matches!(dtype_name(name), Some(Err(_)))
                || matches!(name, "u16" | "u32" | "u64" | "c64" | "c128") =>
            {
                Ok(self.stand_in(name, span_of(element)))
            }
            None => Err(self.annotation_error(annotation)),
        };
        let mut shape = Vec::with_capacity(extents.len());
        let mut failed = false;
        for extent in extents {
            let arg = self.arg(extent);
            match self.extent(&arg, "an extent") {
                Ok(extent) => shape.push(extent),
                Err(Poisoned) => failed = true,
            }
        }
        let dtype = dtype?;
        if failed {
            return Err(Poisoned);
        }
        self.check_size(&shape, span_of(annotation))?;
        Ok((dtype, shape))
    }

    /// Refuses a dtype; the body is read with one of its kind, so that it hides no other error.
    fn stand_in(&mut self, name: &str, span: Span) -> DType {
        self.unsupported(span, &format!("the dtype {name}"), "supported: f32, f64, i32, i64, bool");
        if name.starts_with(['i', 'u']) { DType::I64 } else { DType::F64 }
    }

    /// `Range(low, high)`, `SPD`, `Index(n)`.
    fn hint(&mut self, hint: &'s Expr, array: Option<&(DType, Vec<usize>)>) -> Eval<InputHint> {
        let span = span_of(hint);
        let (name, args): (Option<&str>, &'s [Expr]) = match hint {
            Expr::Call(call) => (last_name(&call.func), &call.arguments.args),
            other => (last_name(other), &[]),
        };
        let mut numbers = Vec::with_capacity(args.len());
        for arg in args {
            let arg = self.arg(arg);
            match arg.value {
                Value::Number(number) => numbers.push(number),
                Value::Poison => return Err(Poisoned),
                _ => return Err(self.error(arg.span, "a hint's arguments are compile-time numbers", None)),
            }
        }
        match (name, numbers.as_slice()) {
            (Some("Range"), [low, high]) if low.as_f64() < high.as_f64() => match array {
                Some((DType::Bool, _)) => Err(self.error(span, "Range does not apply to bools", None)),
                Some(_) | None => Ok(InputHint::Range(low.as_f64(), high.as_f64())),
            },
            (Some("Range"), [low, high]) => {
                Err(self.error(span, format!("the range from {low} to {high} is empty"), None))
            }
            (Some("SPD"), []) => match array {
                Some((dtype, shape)) if !dtype.is_float() || shape.len() != 2 || shape[0] != shape[1] => {
                    let message = "SPD describes a square matrix of floats";
                    Err(self.error(span, message, Some("write Annotated[f64[N, N], SPD]")))
                }
                Some(_) | None => Ok(InputHint::Spd),
            },
            (Some("Index"), [bound]) => match (bound.as_int().and_then(|bound| u64::try_from(bound).ok()), array) {
                (_, Some((dtype, _))) if !dtype.is_int() => {
                    Err(self.error(span, "Index describes integers", Some("write Annotated[i32[N], Index(M)]")))
                }
                (Some(bound), _) if bound > 0 => Ok(InputHint::Index(bound)),
                (_, _) => Err(self.error(span, format!("Index({bound}) allows no integer"), None)),
            },
            _ => {
                let help = "supported: Range(low, high), SPD, Index(n)";
                Err(self.unsupported(span, "this hint", help))
            }
        }
    }

    /// `import a.b as c`.
    pub(super) fn import(&mut self, import: &'s ast::StmtImport) {
        for alias in &import.names {
            let path = alias.name.as_str();
            if !MODULES.contains(&path) {
                self.unsupported(span_of(alias), &format!("the module '{path}'"), IMPORTS);
                let bound = alias.asname.as_ref().map_or(path.split('.').next().unwrap_or(path), |name| name.as_str());
                self.bind(bound, Value::Poison);
                continue;
            }
            match &alias.asname {
                Some(name) => self.bind(name.as_str(), Value::Module(path.to_owned())),
                None => {
                    let root = path.split('.').next().unwrap_or(path);
                    self.bind(root, Value::Module(root.to_owned()));
                }
            }
        }
    }

    /// `from a.b import c as d`.
    pub(super) fn import_from(&mut self, import: &'s ast::StmtImportFrom) {
        let path = import.module.as_ref().map_or("", |module| module.as_str());
        if path == "__future__" {
            return;
        }
        let known = import.level == 0 && MODULES.contains(&path);
        if !known {
            self.unsupported(span_of(import), &format!("the module '{path}'"), IMPORTS);
        }
        for alias in &import.names {
            let name = alias.name.as_str();
            if name == "*" {
                self.unsupported(span_of(alias), "'import *'", "import the names, or 'import numpy as np'");
                continue;
            }
            let bound = alias.asname.as_ref().map_or(name, |name| name.as_str());
            let value = if known {
                self.module_attribute(path, name, span_of(alias)).unwrap_or(Value::Poison)
            } else {
                Value::Poison
            };
            self.bind(bound, value);
        }
    }
}

/// Of `if __name__ == "__main__":`, which does not hold where a workload is read, what runs instead.
fn main_guard(statement: &Stmt) -> Option<&[Stmt]> {
    let Stmt::If(conditional) = statement else { return None };
    let Expr::Compare(comparison) = &*conditional.test else { return None };
    let names = [&*comparison.left].into_iter().chain(&comparison.comparators);
    let guards = |part: &Expr| match part {
        Expr::Name(name) => name.id.as_str() == "__name__",
        Expr::StringLiteral(text) => text.value.to_str() == "__main__",
        _ => false,
    };
    let main = names.filter(|part| guards(part)).count() == 2 && matches!(*comparison.ops, [ast::CmpOp::Eq]);
    match conditional.elif_else_clauses.as_slice() {
        [] if main => Some(&[]),
        [clause] if main && clause.test.is_none() => Some(&clause.body),
        _ => None,
    }
}

/// The name, or the last attribute, of an expression such as `typing.Annotated`.
fn last_name(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Name(name) => Some(name.id.as_str()),
        Expr::Attribute(attribute) => Some(attribute.attr.as_str()),
        _ => None,
    }
}
