//! Array programs as runnable Python, and NumPy as their judge.
//!
//! Everything is written with functions (`np.add`, not `+`) on arrays, so that NumPy's separate
//! arithmetic for Python scalars does not come into it.

use moat_optimizer::integer::affine::Affine;
use moat_optimizer::program::expr::{Node, NodeId, Op, Program, SectionAxis, Shift, Statement};
use moat_optimizer::value::dtype::{DType, Literal};
use moat_optimizer::value::scalar::{BinaryOp, FoldOp, UnaryOp};
use moat_optimizer::value::tensor::{Data, Tensor};
use npyz::WriterBuilder;
use npyz::npz::{NpzArchive, NpzWriter};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// The program as a Python module text that defines a function of its name on NumPy arrays; it
/// returns a tuple of arrays, one for each result.
pub fn to_python(program: &Program) -> String {
    let mut text = String::from("import numpy as np\nfrom scipy.special import erf\n\n");
    text.push_str(&function(program, &program.name));
    text
}

/// The function alone, under a name. What is not a parameter has a name that begins with `_`.
fn function(program: &Program, name: &str) -> String {
    let params: Vec<&str> = program.params.iter().map(|param| param.name.as_str()).collect();
    let mut text = format!("def {name}({}):\n", params.join(", "));
    for (at, state) in program.states.iter().enumerate() {
        // What the interpreter says of elements that nothing was stored to.
        let fill = if state.dtype.is_float() { "np.nan" } else { "0" };
        let _ = writeln!(text, "    _s{at} = np.full({}, {fill}, {})", tuple(&state.shape), dtype(state.dtype));
    }
    statements(program, &program.body, 1, &mut text);
    nodes(program, &program.roots, 1, &mut text);
    let roots: Vec<String> = program.roots.iter().map(|root| format!("_v{root}")).collect();
    let _ = writeln!(text, "    return ({},)", roots.join(", "));
    text
}

/// Assignments to the nodes that some are computed from.
fn nodes(program: &Program, results: &[NodeId], depth: usize, text: &mut String) {
    let mut needed = vec![false; program.nodes.len()];
    results.iter().for_each(|&result| needed[result] = true);
    for id in (0..program.nodes.len()).rev() {
        if needed[id] {
            program.nodes[id].args.iter().for_each(|&arg| needed[arg] = true);
        }
    }
    let indent = "    ".repeat(depth);
    for (id, node) in program.nodes.iter().enumerate().filter(|(id, _)| needed[*id]) {
        let _ = writeln!(text, "{indent}_v{id} = {}", expression(program, node));
    }
}

fn statements(program: &Program, body: &[Statement], depth: usize, text: &mut String) {
    let indent = "    ".repeat(depth);
    for statement in body {
        match statement {
            Statement::Update { state, region, shift, value, .. } => {
                nodes(program, &[*value], depth, text);
                let region = section(&program.nodes[*value], region);
                let _ = match shift {
                    None => writeln!(text, "{indent}_s{state}[{region}] = _v{value}"),
                    Some(Shift { by, last }) => writeln!(
                        text,
                        "{indent}_s{state}.reshape(-1)[np.arange(_s{state}.size).reshape(_s{state}.shape)[{region}] + \
                         np.clip(_s{by}, 0, {last})] = _v{value}"
                    ),
                };
            }
            Statement::Loop { var, lo, hi, body, .. } => {
                let _ = writeln!(text, "{indent}for _k{var} in range({}, {}):", form(lo), form(hi));
                statements(program, body, depth + 1, text);
                let _ = writeln!(text, "{indent}    pass");
            }
            Statement::If { conditions, body } => {
                let conditions: Vec<String> = conditions.iter().map(|c| format!("{} >= 0", form(c))).collect();
                let _ = writeln!(text, "{indent}if {}:", conditions.join(" and "));
                statements(program, body, depth + 1, text);
                let _ = writeln!(text, "{indent}    pass");
            }
        }
    }
}

fn form(form: &Affine) -> String {
    form.display(|var| format!("_k{var}"))
}

/// The shape of a node where it is evaluated.
fn shape(node: &Node) -> String {
    let extents: String = node.extents().iter().map(|extent| format!("{}, ", form(extent))).collect();
    format!("({extents})").replace(", )", ",)")
}

fn expression(program: &Program, node: &Node) -> String {
    let args: Vec<String> = node.args.iter().map(|arg| format!("_v{arg}")).collect();
    let a = args.first().cloned().unwrap_or_default();
    let b = args.get(1).cloned().unwrap_or_default();
    let all = args.join(", ");
    let dtype = dtype(node.dtype);
    let shape = shape(node);
    match &node.op {
        Op::Input(index) => program.params[*index].name.clone(),
        Op::State(at) => format!("_s{at}"),
        Op::LoopIndex(index) => format!("np.array({}, {dtype})", form(index)),
        Op::Section(axes) => format!("{a}[{}]", section(node, axes)),
        Op::Const(value) => format!("np.array({}, {dtype})", literal(*value)),
        Op::Array(values) => {
            let values: Vec<String> = values.iter().map(|value| literal(*value)).collect();
            format!("np.array([{}], {dtype}).reshape({shape})", values.join(", "))
        }
        Op::Arange { start, step } => {
            let number = |value: Literal| format!("np.array({}, {dtype})", literal(value));
            let count = format!("np.arange({}).astype({dtype})", form(&node.extents()[0]));
            format!("np.add({}, np.multiply({}, {count}))", number(*start), number(*step))
        }
        Op::Eye { k } => format!("np.eye({}, {}, {k}, dtype={dtype})", node.shape[0], node.shape[1]),
        Op::Unary(op) => format!("{}({a})", unary(*op)),
        Op::Binary(op) => format!("np.{}({all})", binary(*op)),
        Op::Where => format!("np.where({all})"),
        Op::Cast => format!("np.asarray({a}).astype({dtype})"),
        Op::Broadcast => format!("np.broadcast_to({a}, {shape})"),
        Op::Transpose(axes) => format!("np.transpose({a}, {})", tuple(axes)),
        Op::Reshape => format!("np.reshape({a}, {shape})"),
        Op::Slice(slices) => {
            let slices: Vec<String> = slices
                .iter()
                .map(|slice| {
                    let end = slice.start + slice.step * slice.len as i64;
                    let end = if end < 0 { String::new() } else { end.to_string() };
                    if slice.len == 0 { "0:0".to_string() } else { format!("{}:{end}:{}", slice.start, slice.step) }
                })
                .collect();
            format!("np.asarray({a})[{}]", if slices.is_empty() { "()".into() } else { slices.join(", ") })
        }
        Op::Index { axis, at } => format!("np.take({a}, {at}, axis={axis})"),
        Op::Diagonal { offset, axis1, axis2 } => format!("np.diagonal({a}, {offset}, {axis1}, {axis2})"),
        Op::Flip(axes) => format!("np.flip({a}, {})", tuple(axes)),
        Op::Gather { batch } => {
            let count: usize = program.nodes[node.args[0]].shape[..*batch].iter().product();
            format!(
                "np.array([np.take(p, q, axis=0, mode='clip') for p, q in zip({a}.reshape(({count},) + \
                 {a}.shape[{batch}:]), {b}.reshape(({count},) + {b}.shape[{batch}:]))]).reshape({b}.shape + \
                 {a}.shape[{batch} + 1:])"
            )
        }
        Op::Roll { shift, axis } => format!("np.roll({a}, {shift}, {axis})"),
        Op::Pad { widths, value } => {
            let widths: Vec<String> = widths.iter().map(|(before, after)| format!("({before}, {after})")).collect();
            format!("np.pad({a}, [{}], constant_values={})", widths.join(", "), literal(*value))
        }
        Op::Concat { axis } => format!("np.concatenate([{all}], {axis})"),
        Op::Window { windows } => {
            let (axes, extents): (Vec<usize>, Vec<usize>) = windows.iter().copied().unzip();
            let (axes, extents) = (tuple(&axes), tuple(&extents));
            format!("np.lib.stride_tricks.sliding_window_view({a}, {extents}, {axes})")
        }
        Op::Tril { k } => format!("np.tril({a}, {k})"),
        Op::Triu { k } => format!("np.triu({a}, {k})"),
        Op::Trace { offset } if node.dtype == DType::Bool => format!("np.any(np.diagonal({a}, {offset}), axis=-1)"),
        Op::Trace { offset } => format!("np.trace({a}, {offset}, dtype={dtype})"),
        Op::MatMul => format!("np.matmul({all})"),
        Op::Dot => format!("np.dot({all})"),
        Op::Inner => format!("np.inner({all})"),
        Op::Outer(op) => format!("np.{}.outer({all})", binary(*op)),
        Op::Einsum { inputs, output } => {
            let letters = |labels: &Vec<usize>| -> String {
                labels.iter().filter_map(|&label| char::from_digit(label as u32 + 10, 36)).collect()
            };
            let inputs: Vec<String> = inputs.iter().map(letters).collect();
            format!("np.einsum('{}->{}', {all})", inputs.join(","), letters(output))
        }
        Op::Reduce { op, axes, .. } => {
            let axes = tuple(axes);
            match (op, node.dtype) {
                (FoldOp::Sum | FoldOp::Any, DType::Bool) => format!("np.any({a}, axis={axes})"),
                (FoldOp::Prod | FoldOp::All, DType::Bool) => format!("np.all({a}, axis={axes})"),
                (FoldOp::Sum | FoldOp::Prod, _) => format!("np.{}({a}, axis={axes}, dtype={dtype})", op.name()),
                (FoldOp::Max | FoldOp::Min | FoldOp::All | FoldOp::Any, _) => {
                    format!("np.{}({a}, axis={axes})", op.name())
                }
            }
        }
    }
}

/// The subscripts of a section of the extents of `node`: a slice stops `step` after its last index.
fn section(node: &Node, axes: &[SectionAxis]) -> String {
    let mut extents = node.extents().into_iter();
    let subscripts: Vec<String> = axes
        .iter()
        .map(|axis| match axis {
            SectionAxis::At(at) => form(at),
            SectionAxis::Slice { start, step } => {
                let length = extents.next().unwrap_or_default();
                let stop = form(&start.plus(&length.times(*step)));
                let slice = format!("slice({}, ({stop}) if ({stop}) >= 0 else None, {step})", form(start));
                // The first index of an empty one may be outside of the axis.
                if length.is_constant() && length.constant > 0 {
                    slice
                } else {
                    format!("{slice} if ({}) > 0 else slice(0, 0)", form(&length))
                }
            }
        })
        .collect();
    if subscripts.is_empty() { "()".to_owned() } else { subscripts.join(", ") }
}

fn dtype(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "np.bool_",
        DType::I8 => "np.int8",
        DType::U8 => "np.uint8",
        DType::I16 => "np.int16",
        DType::I32 => "np.int32",
        DType::I64 => "np.int64",
        DType::F16 => "np.float16",
        // NumPy has no bfloat16; no program uses it yet.
        DType::BF16 | DType::F32 => "np.float32",
        DType::F64 => "np.float64",
    }
}

fn literal(value: Literal) -> String {
    match value {
        Literal::Bool(true) => "True".into(),
        Literal::Bool(false) => "False".into(),
        Literal::Int(i) => i.to_string(),
        Literal::Float(bits) if f64::from_bits(bits).is_finite() => format!("{:?}", f64::from_bits(bits)),
        Literal::Float(bits) => format!("float('{}')", f64::from_bits(bits)),
    }
}

fn tuple(items: &[usize]) -> String {
    let items: String = items.iter().map(|item| format!("{item}, ")).collect();
    format!("({items})").replace(", )", ",)")
}

fn unary(op: UnaryOp) -> &'static str {
    match op {
        UnaryOp::Neg => "np.negative",
        UnaryOp::Not => "np.invert",
        UnaryOp::Abs => "np.abs",
        UnaryOp::Sign => "np.sign",
        UnaryOp::Sqrt => "np.sqrt",
        UnaryOp::Exp => "np.exp",
        UnaryOp::Log => "np.log",
        UnaryOp::Sin => "np.sin",
        UnaryOp::Cos => "np.cos",
        UnaryOp::Tanh => "np.tanh",
        UnaryOp::Erf => "erf",
        UnaryOp::Floor => "np.floor",
    }
}

fn binary(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "add",
        BinaryOp::Sub => "subtract",
        BinaryOp::Mul => "multiply",
        BinaryOp::Div => "divide",
        BinaryOp::FloorDiv => "floor_divide",
        BinaryOp::Mod => "remainder",
        BinaryOp::Pow => "power",
        BinaryOp::Minimum => "minimum",
        BinaryOp::Maximum => "maximum",
        BinaryOp::And => "bitwise_and",
        BinaryOp::Or => "bitwise_or",
        BinaryOp::Xor => "bitwise_xor",
        BinaryOp::Shl => "left_shift",
        BinaryOp::Shr => "right_shift",
        BinaryOp::Eq => "equal",
        BinaryOp::Ne => "not_equal",
        BinaryOp::Lt => "less",
        BinaryOp::Le => "less_equal",
        BinaryOp::Gt => "greater",
        BinaryOp::Ge => "greater_equal",
    }
}

/// The Python of the virtual environment that `make test` creates beside the build products:
/// `target/venv/bin/python`, found from the running test executable.
pub fn numpy_python() -> Option<PathBuf> {
    let executable = std::env::current_exe().ok()?;
    executable.ancestors().map(|folder| folder.join("venv/bin/python")).find(|python| python.exists())
}

/// What one program gave in NumPy: its results, or the exception's text.
pub type Outcome = Result<Vec<Tensor>, String>;

/// Runs many programs, each on its inputs, in one Python process: as written by [`to_python`].
///
/// # Panics
/// If there is no Python with NumPy, or it fails as a whole; the message says what to do.
pub fn run_numpy(cases: &[(Program, Vec<Tensor>)]) -> Vec<Outcome> {
    let mut script = String::new();
    for (case, (program, inputs)) in cases.iter().enumerate() {
        script.push_str(&function(program, &format!("case_{case}")));
        let _ = writeln!(script, "run({case}, case_{case}, {}, [])\n", inputs.len());
    }
    run_script(&script, &cases.iter().map(|(program, inputs)| (program, inputs.as_slice())).collect::<Vec<_>>())
}

/// A NumPy program as its author wrote it, what was read from it, and inputs.
pub struct SourceCase<'a> {
    /// The text of its file.
    pub source: &'a str,
    /// Replacements of module constants, by name.
    pub lets: Vec<(&'a str, i64)>,
    /// What the frontend read.
    pub program: &'a Program,
    /// One input for each parameter.
    pub inputs: &'a [Tensor],
}

/// Runs the functions of source texts themselves, in one Python process: what they return, then the arguments that they
/// change.
///
/// # Panics
/// As [`run_numpy`].
pub fn run_sources(cases: &[SourceCase<'_>]) -> Vec<Outcome> {
    let mut script = String::new();
    for (at, case) in cases.iter().enumerate() {
        let mut source = case.source.to_owned();
        for (name, value) in &case.lets {
            // The assignment is followed by one of the replacement.
            let mut lines: Vec<String> = source.lines().map(str::to_owned).collect();
            let assigns = |line: &String| {
                let names = line.split_once(" = ").map_or("", |(names, _)| names);
                names.split(", ").any(|word| word == *name)
            };
            if let Some(line) = lines.iter().position(assigns) {
                lines.insert(line + 1, format!("{name} = {value}"));
            }
            source = lines.join("\n");
        }
        let _ = writeln!(script, "names_{at} = {{}}\nexec(compile({source:?}, 'case_{at}.py', 'exec'), names_{at})");
        let (name, params, mutated) = (&case.program.name, case.inputs.len(), &case.program.mutated);
        let _ = writeln!(script, "run({at}, names_{at}['{name}'], {params}, {mutated:?})\n");
    }
    run_script(&script, &cases.iter().map(|case| (case.program, case.inputs)).collect::<Vec<_>>())
}

fn run_script(runs: &str, cases: &[(&Program, &[Tensor])]) -> Vec<Outcome> {
    let python = numpy_python().expect(
        "no Python with NumPy beside the build products: run `make test` once, or `bash tests/setup.sh python <target>/venv`",
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut writer = NpzWriter::create(folder.path().join("inputs.npz")).expect("inputs.npz");
    for (case, (_, inputs)) in cases.iter().enumerate() {
        for (at, input) in inputs.iter().enumerate() {
            write_array(&mut writer, &format!("{case}_{at}"), input);
        }
    }
    writer.zip_writer().finish().expect("inputs.npz");
    let script = format!("{PRELUDE}{runs}np.savez('outputs.npz', **outputs)\n");
    std::fs::write(folder.path().join("cases.py"), script).expect("cases.py");
    let run = Command::new(&python).arg("cases.py").current_dir(folder.path()).output().expect("Python starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let mut archive = NpzArchive::open(folder.path().join("outputs.npz")).expect("outputs.npz");
    let mut outcomes = Vec::with_capacity(cases.len());
    for (case, (program, _)) in cases.iter().enumerate() {
        let failure = read_array(&mut archive, &format!("{case}_error"), DType::U8);
        outcomes.push(match failure {
            Some(Tensor { data: Data::U8(text), .. }) => Err(String::from_utf8_lossy(&text).into_owned()),
            _ => {
                let read = |(at, root): (usize, &usize)| {
                    read_array(&mut archive, &format!("{case}_{at}"), program.nodes[*root].dtype)
                        .ok_or_else(|| format!("result {at} is not a {}", program.nodes[*root].dtype))
                };
                program.results().iter().enumerate().map(read).collect()
            }
        });
    }
    outcomes
}

/// Defines `run`, which records results, or an exception's text as bytes.
const PRELUDE: &str = "\
import numpy as np
import warnings
from scipy.special import erf

warnings.simplefilter('ignore')
np.seterr(all='ignore')
inputs = np.load('inputs.npz')
outputs = {}

def run(case, function, count, changed):
    try:
        arguments = [inputs[f'{case}_{at}'][()].copy() for at in range(count)]
        results = function(*arguments)
        results = () if results is None else results if isinstance(results, tuple) else (results,)
        results = [*results, *(arguments[at] for at in changed)]
        for at, result in enumerate(results):
            outputs[f'{case}_{at}'] = np.array(result, order='C')
    except Exception as error:
        outputs[f'{case}_error'] = np.frombuffer(f'{type(error).__name__}: {error}'.encode(), np.uint8)

";

type Writer = NpzWriter<std::io::BufWriter<std::fs::File>>;

fn write_array(writer: &mut Writer, name: &str, tensor: &Tensor) {
    let shape: Vec<u64> = tensor.shape.iter().map(|&extent| extent as u64).collect();
    macro_rules! write {
        ($elements:expr) => {{
            let mut array = writer
                .array(name, Default::default())
                .expect("an array")
                .default_dtype()
                .shape(&shape)
                .begin_nd()
                .expect("an array");
            array.extend($elements).expect("elements");
            array.finish().expect("an array");
        }};
    }
    match &tensor.data {
        Data::Bool(v) => write!(v.iter().map(|x| *x != 0)),
        Data::I8(v) => write!(v.iter()),
        Data::U8(v) => write!(v.iter()),
        Data::I16(v) => write!(v.iter()),
        Data::I32(v) => write!(v.iter()),
        Data::I64(v) => write!(v.iter()),
        Data::F16(v) | Data::BF16(v) => write!(v.iter()),
        Data::F32(v) => write!(v.iter()),
        Data::F64(v) => write!(v.iter()),
    }
}

/// An array of exactly this type, or `None`.
fn read_array(archive: &mut NpzArchive<std::io::BufReader<std::fs::File>>, name: &str, dtype: DType) -> Option<Tensor> {
    let file = archive.by_name(name).expect("outputs.npz")?;
    let shape: Vec<usize> = file.shape().iter().map(|&extent| extent as usize).collect();
    let data = match dtype {
        DType::Bool => Data::Bool(file.into_vec::<bool>().ok()?.into_iter().map(u8::from).collect()),
        DType::I8 => Data::I8(file.into_vec().ok()?),
        DType::U8 => Data::U8(file.into_vec().ok()?),
        DType::I16 => Data::I16(file.into_vec().ok()?),
        DType::I32 => Data::I32(file.into_vec().ok()?),
        DType::I64 => Data::I64(file.into_vec().ok()?),
        DType::F16 | DType::BF16 => return None,
        DType::F32 => Data::F32(file.into_vec().ok()?),
        DType::F64 => Data::F64(file.into_vec().ok()?),
    };
    Tensor::new(&shape, data)
}
