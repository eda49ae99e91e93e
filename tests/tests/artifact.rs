//! A kernel's files, used as their users do: from C through the header and the object, from Python
//! through the module.

#![expect(clippy::unwrap_used, reason = "a test: a failure panics")]

use moat_codegen::CompileOptions;
use moat_codegen::abi::{Argument, Interface, Status};
use moat_codegen::artifact::{ArtifactError, ArtifactPaths, Compiled, compile, write};
use moat_optimizer::nest::{BufferRole, LoopKind, LoopNest};
use moat_optimizer::program::expr::Signature;
use moat_optimizer::value::dtype::{DType, Literal};
use moat_optimizer::value::numerics::Numerics;
use moat_optimizer::value::scalar::{BinaryOp, FoldOp};
use moat_tests::nests::*;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The stem of `row_sums`: no identifier, and not without a blank.
const STEM: &str = "row sums-1.v2";

fn argument(name: &str, dtype: DType, shape: &[usize]) -> Argument {
    Argument { name: name.to_owned(), dtype, shape: shape.to_vec() }
}

/// `row_sums(alpha, A) = (alpha·A summed over rows, their sum)`, the product kept in scratch.
fn row_sums() -> (LoopNest, Interface) {
    let mut b = NestBuilder::new();
    let alpha = b.param("alpha", DType::F32, 1);
    let a = b.param("A", DType::F32, 35);
    let sums = b.output("sums", DType::F32, 5);
    let total = b.output("total", DType::F32, 1);
    let scaled = b.scratch("scaled", DType::F32, 35, BufferRole::Shared);
    let (p, i, j, k) = (b.var("p"), b.var("i"), b.var("j"), b.var("k"));
    let zero = moat_optimizer::integer::affine::Affine::constant(0);
    let value = vec![load(alpha, zero.clone()), load(a, var(p)), binary(BinaryOp::Mul, 0, 1, DType::F32)];
    b.push(map_tile(vec![axis(p, 0, 35, 1, 8)], value, scaled, var(p)));
    let at = var(i).times(7).plus(&var(j));
    let (points, folds) = (vec![axis(i, 0, 5, 1, 1)], vec![axis(j, 0, 7, 1, 1)]);
    b.push(fold_tile(points, folds, FoldOp::Sum, vec![], vec![load(scaled, at)], sums, var(i)));
    let folds = vec![axis(k, 0, 5, 1, 1)];
    b.push(fold_tile(vec![], folds, FoldOp::Sum, vec![], vec![load(sums, var(k))], total, zero));
    let interface = Interface {
        function: "row_sums".to_owned(),
        inputs: vec![argument("alpha", DType::F32, &[]), argument("A", DType::F32, &[5, 7])],
        signature: Signature::default(),
        outputs: vec![argument("result0", DType::F32, &[5]), argument("result1", DType::F32, &[])],
        mutated: Vec::new(),
        returns_tuple: true,
        workspace_bytes: 0,
    };
    (b.nest, interface)
}

/// `sum(out) = 2·out`, in a parallel loop: names that C, Python and the loader use themselves.
fn doubled() -> (LoopNest, Interface) {
    let mut b = NestBuilder::new();
    let x = b.param("out", DType::I64, 6);
    let y = b.output("y", DType::I64, 6);
    let (block, i) = (b.var("block"), b.var("i"));
    let value = vec![load(x, var(i)), constant(Literal::Int(2), DType::I64), binary(BinaryOp::Mul, 0, 1, DType::I64)];
    let range = moat_optimizer::integer::range::Range { lo: vec![var(block)], hi: vec![var(block).offset(3)] };
    let tile = map_tile(vec![axis_in(i, range, 1, 1)], value, y, var(i));
    b.push(loop_node(block, 0, 6, 3, LoopKind::Parallel, vec![tile]));
    let interface = Interface {
        function: "sum".to_owned(),
        inputs: vec![argument("out", DType::I64, &[6])],
        signature: Signature::default(),
        outputs: vec![argument("result0", DType::I64, &[6])],
        mutated: Vec::new(),
        returns_tuple: false,
        workspace_bytes: 0,
    };
    (b.nest, interface)
}

/// `bumped(A, B)` writes `A + B` into `A` and returns nothing.
fn bumped() -> (LoopNest, Interface) {
    let mut b = NestBuilder::new();
    let (a, x) = (b.param("A", DType::I64, 6), b.param("B", DType::I64, 6));
    let y = b.output("y", DType::I64, 6);
    let i = b.var("i");
    let value = vec![load(a, var(i)), load(x, var(i)), binary(BinaryOp::Add, 0, 1, DType::I64)];
    b.push(map_tile(vec![axis(i, 0, 6, 1, 1)], value, y, var(i)));
    let interface = Interface {
        function: "bumped".to_owned(),
        inputs: vec![argument("A", DType::I64, &[2, 3]), argument("B", DType::I64, &[2, 3])],
        signature: Signature::default(),
        outputs: vec![argument("A", DType::I64, &[2, 3])],
        mutated: vec![0],
        returns_tuple: false,
        workspace_bytes: 0,
    };
    (b.nest, interface)
}

fn compiled(nest: &LoopNest, interface: &Interface, threads: usize) -> Compiled {
    let options = CompileOptions {
        target: host_target(),
        numerics: Numerics::Reassociate,
        threads,
        function: interface.function.clone(),
    };
    compile(nest, interface, &options).unwrap()
}

fn written(dir: &Path) -> ArtifactPaths {
    let (nest, interface) = row_sums();
    write(dir, STEM, &compiled(&nest, &interface, 1), &json!({"schedule": "by hand"})).unwrap()
}

fn succeeded(output: &Output) -> String {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}{stderr}", output.status);
    stdout.into_owned()
}

/// The Python with NumPy that the build makes beside its results.
fn python() -> PathBuf {
    moat_tests::python::numpy_python().expect("no Python with NumPy: `make test` makes one")
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_c_program_calls_the_kernel_through_header_and_object() {
    let dir = tempfile::tempdir().unwrap();
    let paths = written(dir.path());
    let program = dir.path().join("caller");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/artifact_support/caller.c");
    let compile = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsanitize=undefined"])
        .arg(format!("-DHEADER=\"{}\"", paths.header.display()))
        .arg(source)
        .arg(&paths.object)
        .arg("-lm")
        .arg("-o")
        .arg(&program)
        .output()
        .unwrap();
    succeeded(&compile);
    let text = succeeded(&Command::new(program).output().unwrap());
    assert_eq!(text, include_str!("artifact_support/caller.txt"));
}

#[test]
fn the_header_is_c_plus_plus_too() {
    let dir = tempfile::tempdir().unwrap();
    let paths = written(dir.path());
    let check = Command::new("cc")
        .args(["-x", "c++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"])
        .arg(&paths.header)
        .output()
        .unwrap();
    succeeded(&check);
}

#[test]
fn the_python_module_is_the_function() {
    let dir = tempfile::tempdir().unwrap();
    let paths = written(dir.path());
    let (nest, interface) = doubled();
    let other = write(dir.path(), "sum", &compiled(&nest, &interface, 2), &json!({})).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/artifact_support/caller.py");
    let run = Command::new(python()).arg("-W").arg("error").arg(script).args([&paths.python, &other.python]).output();
    assert_eq!(succeeded(&run.unwrap()), "good\n");
}

#[test]
fn large_results_begin_on_a_cache_line_and_are_arrays_like_any() {
    // NumPy's begin 16 bytes past one, where every full vector that is stored crosses into the next line.
    let dir = tempfile::tempdir().unwrap();
    let n = 1000;
    let mut b = NestBuilder::new();
    let (x, y, i) = (b.param("x", DType::I64, n), b.output("y", DType::I64, n), b.var("i"));
    b.push(map_tile(
        vec![axis(i, 0, n, 1, 8)],
        vec![load(x, var(i)), binary(BinaryOp::Add, 0, 0, DType::I64)],
        y,
        var(i),
    ));
    let interface = Interface {
        function: "twice".to_owned(),
        inputs: vec![argument("x", DType::I64, &[10, 100])],
        signature: Signature::default(),
        outputs: vec![argument("result0", DType::I64, &[10, 100])],
        mutated: Vec::new(),
        returns_tuple: false,
        workspace_bytes: 0,
    };
    let paths = write(dir.path(), "twice", &compiled(&b.nest, &interface, 1), &json!({})).unwrap();
    let script = "import numpy as np, runpy, sys\n\
         twice = runpy.run_path(sys.argv[1])['twice']\n\
         x = np.arange(1000).reshape(10, 100)\n\
         kept = [twice(x) for _ in range(50)]\n\
         for y in kept:\n\
         \x20   assert y.ctypes.data % 64 == 0 and type(y) is np.ndarray and np.array_equal(y, 2 * x)\n\
         \x20   assert y.flags.c_contiguous and y.flags.aligned and y.flags.writeable\n\
         for first in range(0, 64, 8):\n\
         \x20   block = np.zeros(8064, np.uint8)\n\
         \x20   out = block[first : first + 8000].view(np.int64).reshape(10, 100)\n\
         \x20   assert twice(x, out=out) is out and np.array_equal(out, 2 * x)\n\
         \x20   assert not block[:first].any() and not block[first + 8000 :].any()\n\
         print('good')\n";
    let run = Command::new(python()).args(["-W", "error", "-c", script]).arg(&paths.python).output();
    assert_eq!(succeeded(&run.unwrap()), "good\n");
}

#[test]
fn an_argument_that_is_written_to_holds_the_new_values() {
    let dir = tempfile::tempdir().unwrap();
    let (nest, interface) = bumped();
    let paths = write(dir.path(), "bumped", &compiled(&nest, &interface, 1), &json!({})).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/artifact_support/in_out.py");
    let run = Command::new(python()).arg("-W").arg("error").arg(script).arg(&paths.python).output();
    assert_eq!(succeeded(&run.unwrap()), "good\n");
    let header = std::fs::read_to_string(&paths.header).unwrap();
    assert!(header.contains("what inputs[0] holds after the call"), "{header}");
}

#[test]
fn the_folder_holds_every_file_and_nothing_is_left_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let paths = written(dir.path());
        assert_eq!(names_in(dir.path()), [STEM]);
        let expected = ["kernel.json", "librow sums-1.v2.so", "row sums-1.v2.h", "row sums-1.v2.ll", "row sums-1.v2.o"];
        let mut expected: Vec<String> = expected.map(str::to_owned).to_vec();
        expected.extend(["row sums-1.v2.py".to_owned(), "row sums-1.v2.s".to_owned()]);
        assert_eq!(names_in(&paths.folder), expected);
        let record: serde_json::Value = serde_json::from_slice(&std::fs::read(&paths.metadata).unwrap()).unwrap();
        assert_eq!(record["schedule"], "by hand");
        assert_eq!(record["function"], "row_sums");
        assert_eq!(record["interface"]["inputs"][1]["shape"], json!([5, 7]));
        assert_eq!(record["interface"]["workspace_bytes"], 192);
        assert_eq!(record["files"]["python"], "row sums-1.v2.py");
        let ir = std::fs::read_to_string(&paths.ir).unwrap();
        assert!(ir.contains("@row_sums_raw("), "{ir}");
        assert!(std::fs::read_to_string(&paths.assembly).unwrap().contains("row_sums_checked"));
    }
}

#[test]
fn a_write_that_fails_leaves_the_old_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let paths = written(dir.path());
    let before = std::fs::read(&paths.library).unwrap();
    let (nest, interface) = row_sums();
    let broken = Compiled { object: b"no object".to_vec(), ..compiled(&nest, &interface, 1) };
    let error = write(dir.path(), STEM, &broken, &json!({})).unwrap_err();
    assert!(matches!(error, ArtifactError::Link { .. }), "{error}");
    assert_eq!(names_in(dir.path()), [STEM]);
    assert_eq!(std::fs::read(&paths.library).unwrap(), before);
}

#[test]
fn what_is_no_kernel_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (nest, interface) = row_sums();
    let good = compiled(&nest, &interface, 1);
    for stem in ["", ".", "..", "a/b", ".hidden", "a\nb"] {
        let error = write(dir.path(), stem, &good, &json!({})).unwrap_err();
        assert!(matches!(error, ArtifactError::InvalidStem { .. }), "{stem}: {error}");
    }
    let error = write(dir.path(), "x", &good, &json!([1])).unwrap_err();
    assert_eq!(error.to_string(), "a kernel's records must be a JSON object");
    assert_eq!(names_in(dir.path()), Vec::<String>::new());

    let options = CompileOptions {
        target: host_target(),
        numerics: Numerics::Exact,
        threads: 1,
        function: "row_sums".to_owned(),
    };
    let mut other = interface.clone();
    other.inputs[1].shape = vec![7, 4];
    let error = compile(&nest, &other, &options).unwrap_err();
    assert_eq!(error.to_string(), "the interface does not describe the nest's `A`");
    let mut other = interface.clone();
    other.outputs.push(argument("result2", DType::F32, &[]));
    assert!(matches!(compile(&nest, &other, &options), Err(ArtifactError::WrongInterface { .. })));
    let named = Interface { function: "row sums".to_owned(), ..interface };
    assert_eq!(compile(&nest, &named, &options).unwrap_err().to_string(), "`row sums` is not an identifier");
}

#[test]
fn a_cpu_without_the_instruction_sets_is_told_so() {
    // A feature that is looked for and that this CPU has not: AMD dropped FMA4 with Zen, and no
    // other maker ever had it. The kernel itself is compiled without it.
    let (nest, interface) = row_sums();
    let good = compiled(&nest, &interface, 1);
    let context = inkwell::context::Context::create();
    let buffer = inkwell::memory_buffer::MemoryBuffer::create_from_memory_range_copy(RAW.as_bytes(), "raw");
    let module = context.create_module_from_ir(buffer).unwrap();
    let target = host_target();
    let machine = moat_codegen::passes::target_machine(&target).unwrap();
    module.set_triple(&machine.get_triple());
    module.set_data_layout(&machine.get_target_data().get_data_layout());
    moat_codegen::abi::add_checked_entry(&context, &module, &interface, &target.triple, "+sse3,+fma4").unwrap();
    moat_codegen::passes::optimise(&module, &machine).unwrap();
    let object = moat_codegen::passes::object(&module, &machine).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let kernel = Compiled { object, features: "+sse3,+fma4".to_owned(), ..good };
    let paths = write(dir.path(), "old", &kernel, &json!({})).unwrap();
    let call = "import ctypes, sys; l = ctypes.CDLL(sys.argv[1]); \
                print(l.row_sums_cpu_supported(), l.row_sums_checked(None, None, None, 0), l.row_sums_cpu_supported())";
    let run = Command::new(python()).arg("-c").arg(call).arg(&paths.library).output().unwrap();
    assert_eq!(succeeded(&run), format!("0 {} 0\n", Status::CpuUnsupported.code()));
    let run = Command::new(python()).arg(&paths.python).output().unwrap();
    let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(stderr.contains("ImportError: this CPU lacks an instruction set that the kernel row_sums"), "{stderr}");
    assert!(stderr.contains("sse3, fma4"), "{stderr}");
}

const RAW: &str = "define i32 @row_sums_raw(ptr %0, ptr %1, ptr %2) {\n  ret i32 0\n}\n";

#[test]
fn statuses_are_told_apart() {
    for status in Status::ALL {
        let returned = 3 << 8 | i32::from(status.code());
        assert_eq!(Status::of(returned), Some(status));
        assert_eq!(Status::argument_of(returned), Some(2));
        assert_eq!(Status::argument_of(i32::from(status.code())), None);
    }
    assert_eq!(Status::of(99), None);
}
