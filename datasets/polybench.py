#!/usr/bin/env python3
"""Time moat's kernels of the PolyBench programs against C loops that clang builds, with and without Polly.

The programs are workloads/polybench/*.py; each has its loops in polybench/*.c. Every run starts from fresh copies of the
same inputs in the same buffers, with the outputs poisoned; both happen outside of the timed call, and so does waking the
threads of a parallel kernel, as in a program that has just run another parallel loop. All contestants of a kernel are timed in interleaved
rounds in this process, which pass over all kernels several times if asked to. Before a contestant is timed its results are compared with those
of the plain clang build, at small sizes with NumPy's. Exit code: 0, 1 if a result differs, 2 on an error.

needs: pip install numpy; clang-22 with Polly
"""

from __future__ import annotations

import argparse, ast, ctypes, datetime, hashlib, json, math, os, pathlib, platform, subprocess, sys
import tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS, LOOPS = HERE / "workloads" / "polybench", HERE / "polybench"

INDEPENDENT = "2mm 3mm atax bicg correlation covariance doitgen gemm gemver gesummv mvt symm syr2k syrk trmm".split()
CARRIED = (
    "adi cholesky deriche durbin fdtd_2d floyd_warshall gramschmidt heat_3d jacobi_1d jacobi_2d lu ludcmp nussinov "
    "seidel_2d trisolv"
).split()
# Those of the second group that tiling of the time loop should speed up.
TIME_TILED = "jacobi_2d heat_3d fdtd_2d".split()

# What `--size small` makes of the programs' constants. No two extents of a kernel agree, so that a transposed access shows;
# gramschmidt needs N <= M.
SMALL = dict(
    NI=23, NJ=29, NK=31, NL=37, NM=26, NQ=21, NR=22, NP=24, NX=27, NY=33, W=34, H=28, M=35, N=30, TSTEPS=5, TMAX=6
)

COMPILER = "clang-22"
FLAGS = ["-O3", "-march=native", "-ffast-math"]
POLLY = ["-mllvm", "-polly"]


class Failure(Exception):
    """Something without which there is nothing to time: a missing file, a compiler that fails."""


# Programs


class Element:
    """`f64`, or `f64[N, M]`, of an annotation."""

    def __init__(self, dtype, shape=()):
        self.dtype, self.shape = dtype, shape

    def __getitem__(self, shape):
        return Element(self.dtype, shape if isinstance(shape, tuple) else (shape,))


class Annotated:
    """`Annotated[f64[N], hint]` as the pair of its element and its hint."""

    def __class_getitem__(cls, pair):
        return pair


class Program:
    """A NumPy program at given sizes."""

    def __init__(self, name, size):
        path = PROGRAMS / f"{name}.py"
        if not path.exists():
            raise Failure(f"there is no program '{name}'; the programs: {', '.join(INDEPENDENT + CARRIED)}")
        self.name, self.namespace = name, {"__name__": name}
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        exec(compile(tree, str(path), "exec"), self.namespace)
        self.constants = {key: value for key, value in self.namespace.items() if isinstance(value, int) and key.isupper()}
        if size == "small":
            self.constants = {key: SMALL[key] for key in self.constants}
            self.namespace.update(self.constants)
        [definition] = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        self.function = self.namespace[definition.name]

    def parameters(self):
        """(dtype, shape, hint) of every parameter; a hint is None or its name and arguments."""
        names = {
            "f64": Element(np.float64), "i32": Element(np.int32), "Annotated": Annotated, "SPD": ("SPD",),
            "Range": lambda low, high: ("Range", low, high), "Index": lambda bound: ("Index", bound),
        }
        for annotation in self.function.__annotations__.values():
            value = eval(annotation, {**names, **self.constants})
            element, hint = value if isinstance(value, tuple) else (value, None)
            yield element.dtype, element.shape, hint

    def inputs(self, seed):
        """Random arguments that obey the hints, distributed as in optimizer/src/inputs.rs."""
        rng = np.random.default_rng(seed)
        drawn = []
        for dtype, shape, hint in self.parameters():
            match hint:
                case None if dtype is np.float64:
                    values = rng.random(shape)
                case None:
                    values = rng.integers(-8, 9, shape)
                case ("Range", low, high) if dtype is np.float64:
                    values = low + (high - low) * rng.random(shape)
                case ("Range", low, high):
                    values = rng.integers(low, high, shape)
                case ("Index", bound):
                    values = rng.integers(0, bound, shape)
                case ("SPD",):
                    half = rng.random(shape)
                    values = half @ half.T / shape[0] + np.eye(shape[0])
            drawn.append(np.asarray(values, dtype))
        return drawn


def as_tuple(results):
    return results if isinstance(results, tuple) else (results,)


# C


def clang(arguments):
    try:
        done = subprocess.run([COMPILER, *map(str, arguments)], capture_output=True, text=True)
    except FileNotFoundError as error:
        raise Failure(f"{COMPILER} is not installed") from error
    if done.returncode:
        raise Failure(f"{COMPILER} {' '.join(map(str, arguments))}\n{done.stderr}")
    return done.stdout


def build(program, extra):
    """The shared library of a kernel, from the cache if these sources, sizes and flags were built before."""
    source = LOOPS / f"{program.name}.c"
    flags = [*FLAGS, *extra, "-Wall", "-shared", "-fPIC", *(f"-D{key}={n}" for key, n in program.constants.items())]
    content = [source.read_bytes(), (LOOPS / "polybench.h").read_bytes(), " ".join(flags).encode(), VERSION.encode()]
    cache = pathlib.Path(tempfile.gettempdir()) / f"moat-polybench-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    if cache.stat().st_uid != os.getuid():
        raise Failure(f"{cache} belongs to somebody else")
    library = cache / f"{program.name}-{hashlib.sha256(b'|'.join(content)).hexdigest()[:16]}.so"
    if not library.exists():
        fresh = library.with_suffix(f".{os.getpid()}")
        clang([*flags, source, "-o", fresh, "-lm"])
        fresh.replace(library)
    return library


def require_polly():
    """Polly is built into clang or it is not; a clang without it refuses the option, or would ignore it."""
    sizes = [f"-D{name}=1000" for name in ("NI", "NJ", "NK")]
    plain, polly = (clang([*FLAGS, *extra, *sizes, "-S", LOOPS / "gemm.c", "-o", "-"]) for extra in ([], POLLY))
    if plain == polly:
        raise Failure(f"{COMPILER} {' '.join(POLLY)} does not change gemm: Polly is not loaded")


def sizes_of(library, symbol):
    """The entries of a size_t array that ends with 0."""
    address = ctypes.addressof(ctypes.c_size_t.in_dll(library, symbol))
    entries = []
    while size := ctypes.c_size_t.from_address(address + len(entries) * ctypes.sizeof(ctypes.c_size_t)).value:
        entries.append(size)
    return entries


# Runs


def buffer(nbytes):
    """Bytes that start on a cache line; NumPy asks for huge pages where they are many."""
    raw = np.empty(nbytes + 64, np.uint8)
    raw.fill(0)
    start = -raw.ctypes.data % 64
    return raw[start : start + nbytes]


def waker(threads):
    """Runs nothing on all threads of the pool that parallel kernels use, so that the next loop finds them awake."""
    if threads < 2:
        return lambda: None
    try:
        start = ctypes.CDLL("libgomp.so.1").GOMP_parallel
    except OSError as error:
        raise Failure("libgomp.so.1 is not installed, which parallel kernels need") from error
    start.argtypes, start.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    nothing = ctypes.cast(ctypes.CDLL(None).abs, ctypes.c_void_p)
    return lambda: start(nothing, None, threads, 0)


def pointers(arrays):
    return (ctypes.c_void_p * max(1, len(arrays)))(*(array.ctypes.data for array in arrays))


class Bench:
    """One kernel: its buffers, and its contestants by name, each a function of no arguments."""

    def __init__(self, program, seed, peers, threads):
        self.program, self.pristine, self.wake = program, program.inputs(seed), waker(threads)
        self.inputs = [buffer(x.nbytes).view(x.dtype).reshape(x.shape) for x in self.pristine]
        self.contestants, self.outputs, self.keep = {}, [], []
        dtype = self.pristine[-1].dtype
        for name, flags in (("clang", []), ("polly", POLLY)):
            library = ctypes.CDLL(str(build(program, flags)))
            if not self.outputs:
                self.outputs = [buffer(size).view(dtype) for size in sizes_of(library, "output_bytes")]
            if name not in peers:
                continue
            temporaries = [buffer(size) for size in sizes_of(library, "temporary_bytes")]
            arguments = pointers(self.inputs), pointers(self.outputs), pointers(temporaries)
            library.kernel.restype = None
            self.keep.append((library, temporaries))
            self.contestants[name] = lambda kernel=library.kernel, arguments=arguments: kernel(*arguments)

    def add_moat(self, contestant, folder):
        """The tuned kernel by its raw C entry, called as the C loops are; nothing if it was not tuned."""
        name = self.program.name
        path = pathlib.Path(folder) / name / "kernel.json"
        if not path.exists():
            return
        record = json.loads(path.read_text(encoding="utf-8"))
        interface, symbols = record["interface"], record["symbols"]
        shapes = [tuple(tensor["shape"]) for tensor in interface["inputs"]]
        sizes = [math.prod(tensor["shape"]) for tensor in interface["outputs"]]
        if shapes != [x.shape for x in self.inputs] or sizes != [output.size for output in self.outputs]:
            raise ValueError(f"moat's kernel was tuned for other extents: its arguments are {shapes}")
        library = ctypes.CDLL(str(path.parent / record["files"]["library"]))
        if not library[symbols["cpu_supported"]]():
            raise ValueError("moat's kernel was tuned for another CPU")
        workspace = buffer(interface["workspace_bytes"])
        raw, arguments = library[symbols["raw"]], (pointers(self.inputs), pointers(self.outputs), pointers([workspace])[0])
        raw.argtypes, raw.restype = [ctypes.c_void_p] * 3, ctypes.c_int32
        self.keep.append((library, workspace))

        def run():
            if status := raw(*arguments):
                raise ValueError(f"moat's kernel returned the status {status}")

        self.contestants[contestant] = run

    def refresh(self):
        for work, source in zip(self.inputs, self.pristine):
            np.copyto(work, source)
        for output in self.outputs:
            output.fill(np.nan if output.dtype == np.float64 else np.iinfo(output.dtype).min // 3)

    def time(self, contestant):
        """Seconds of one call on fresh data."""
        self.refresh()
        run = self.contestants[contestant]
        if contestant == "moat":
            self.wake()
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    def results(self, contestant):
        """Copies of what a contestant computes, and the seconds that it took."""
        seconds = self.time(contestant)
        for at, (work, source) in enumerate(zip(self.inputs, self.pristine)):
            if not np.array_equal(work, source):
                raise ValueError(f"{self.program.name}: {contestant} changed argument {at}")
        return [output.copy() for output in self.outputs], seconds

    def first(self):
        """The contestant that the others' results are compared with, where NumPy would take too long."""
        return "clang" if "clang" in self.contestants else "serial"

    def check(self, rtol, against_numpy):
        """Largest error of each contestant by name, in units of what is allowed, against NumPy's result or the first's."""
        found = {name: self.results(name)[0] for name in self.contestants}
        if against_numpy:
            self.refresh()
            reference = [np.ravel(result) for result in as_tuple(self.program.function(*self.inputs))]
        else:
            reference = found.pop(self.first())
        return {name: difference(results, reference, rtol) for name, results in found.items()}

    def rounds(self, least, budget):
        """Interleaved rounds over the contestants, at least `least` and as many as fit `budget` seconds, at most 200."""
        samples = {name: [] for name in self.contestants}
        end = time.perf_counter() + budget
        first = samples[self.first()]
        while len(first) < least or (time.perf_counter() < end and len(first) < 200):
            for name in self.contestants:
                samples[name].append(self.time(name))
        return samples


def difference(results, reference, rtol):
    """Largest error of an element. Integers must agree; a float may be off by rtol times the larger of its own and the root
    mean square magnitude of its array."""
    worst = 0.0
    for got, want in zip(results, reference, strict=True):
        if got.dtype != want.dtype or got.shape != want.shape:
            return math.inf
        if got.dtype != np.float64:
            worst = max(worst, 0.0 if np.array_equal(got, want) else math.inf)
            continue
        scale = np.sqrt(np.mean(want * want))
        with np.errstate(divide="ignore", invalid="ignore"):
            # An element that is exactly right is, also where nothing is allowed.
            error = float(np.max(np.where(got == want, 0.0, np.abs(got - want) / (rtol * np.maximum(np.abs(want), scale)))))
        worst = max(worst, error) if math.isfinite(error) else math.inf
    return worst


# Report


def ratio(samples, above, below):
    """Median over the rounds of above's time over below's."""
    return float(np.median(np.divide(samples[above], samples[below])))


def summarize(samples):
    """Medians, spreads and ratios of the contestants; *best* is the faster of the two builds of the C loops."""
    row = {"rounds": max(map(len, samples.values()))}
    for contestant, seconds in samples.items():
        low, middle, high = np.quantile(seconds, (0.25, 0.5, 0.75))
        row[contestant] = {"median_ns": round(middle * 1e9), "iqr_ns": round((high - low) * 1e9)}
    best = min((who for who in ("clang", "polly") if who in samples), key=lambda who: row[who]["median_ns"], default="")
    pairs = {
        "polly_ratio": ("clang", "polly"),
        "clang_ratio": ("clang", "moat"),
        "best_ratio": (best, "moat"),
        "threads_ratio": ("serial", "moat"),
    }
    for key, (above, below) in pairs.items():
        if above in samples and below in samples:
            row[key] = ratio(samples, above, below)
    return row


HEADER = ["kernel"]
HEADER += [title for system in ("clang", "Polly", "moat") for title in (f"{system} ms", "IQR")]
HEADER += ["clang/Polly", "clang/moat", "best/moat"]
# With kernels of one thread beside those of several.
SERIAL_HEADER = ["1 thread ms", "IQR", "1 thread/moat"]


def cells(row, with_serial):
    def milliseconds(contestant):
        if contestant not in row:
            return ["wrong" if contestant in row["wrong"] else "-", "-"]
        return [f"{row[contestant][key] * 1e-6:.3f}" for key in ("median_ns", "iqr_ns")]

    def ratios(*keys):
        return [f"{row[key]:.2f}" if key in row else "-" for key in keys]

    line = [row["kernel"], *milliseconds("clang"), *milliseconds("polly"), *milliseconds("moat")]
    line += ratios("polly_ratio", "clang_ratio", "best_ratio")
    return line + ([*milliseconds("serial"), *ratios("threads_ratio")] if with_serial else [])


def header_of(args):
    return HEADER + (SERIAL_HEADER if args.serial else [])


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def summary(rows):
    """Lines of geometric means and extremes over the kernels that moat has, each with the goal."""
    timed = {row["kernel"]: row for row in rows if "best_ratio" in row}
    lines = []
    threads = [row["threads_ratio"] for row in rows if "threads_ratio" in row]
    if threads:
        mean_of = geometric_mean(threads)
        lines.append(f"One thread over these threads, geometric mean of {len(threads)}: {mean_of:.2f} (goal 1.6)")

    def mean(title, names, key, goal):
        values = [timed[name][key] for name in names if name in timed]
        if values:
            lines.append(f"{title}, {len(values)} of {len(names)}: {geometric_mean(values):.2f} (goal {goal})")

    mean("Without a loop-carried dependence, geometric mean of clang/moat", INDEPENDENT, "clang_ratio", 3)
    mean("Without a loop-carried dependence, geometric mean of best/moat", INDEPENDENT, "best_ratio", 2)
    mean("With one, geometric mean of best/moat", CARRIED, "best_ratio", 1.3)
    if timed:
        tiled = ", ".join(f"{name} {timed[name]['best_ratio']:.2f}" for name in TIME_TILED if name in timed)
        if tiled:
            lines.append(f"Time loops to tile, best/moat: {tiled} (goal 1.5 each)")
        worst = min(timed.values(), key=lambda row: row["best_ratio"])
        lines.append(f"Least best/moat: {worst['best_ratio']:.2f}, {worst['kernel']} (goal 0.95)")
    return lines


def cpu_model():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def commit():
    done = subprocess.run(["git", "-C", HERE, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def environment(args):
    return (
        f"{cpu_model()}, {args.threads} thread{'s' if args.threads > 1 else ''}; moat {commit()}; {VERSION}, "
        f"{' '.join(FLAGS)}, Polly: {' '.join(POLLY)}; NumPy {np.__version__}; {args.size.upper()} sizes; seed {args.seed}; "
        f"{datetime.date.today()}"
    )


def markdown(rows, args):
    command = f"datasets/polybench.py --moat {args.moat} --write {args.write}"
    tune = f"for file in datasets/workloads/polybench/*.py; do moat tune --out {args.moat} $file; done"
    if args.threads > 1:
        command, tune = f"{command} --threads {args.threads}", tune.replace("tune", f"tune --threads {args.threads}")
    if args.serial:
        command = f"{command} --serial {args.serial}" + (" --no-peers" if args.no_peers else "")
        tune = f"{tune}\nfor file in datasets/workloads/polybench/*.py; do moat tune --out {args.serial} $file; done"
    command += f" --passes {args.passes}" if args.passes > 1 else ""
    header = header_of(args)
    rule = ["---", *["---:"] * (len(header) - 1)]
    groups = []
    for title, names in (("Without a loop-carried dependence", INDEPENDENT), ("With one", CARRIED)):
        chosen = [cells(row, args.serial) for row in rows if row["kernel"] in names]
        if chosen:
            table = "\n".join("| " + " | ".join(line) + " |" for line in [header, rule, *chosen])
            groups.append(f"## {title}\n\n{table}\n")
    means = "".join(f"- {line}\n" for line in summary(rows))
    return (
        "# PolyBench/C 4.2\n\n"
        "Milliseconds of one call: median and interquartile range over interleaved rounds in one process. A ratio is the "
        "median over the\nrounds; above 1 the system named second is faster. *best* is the faster of clang and Polly.\n\n"
        f"{environment(args)}.\n\nMade by:\n\n```sh\n{tune}\n{command}\n```\n\n"
        + "\n".join(groups)
        + (f"\n{means}" if means else "")
    )


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernels", nargs="*", metavar="KERNEL", help="the kernels, by file stem; default: all 30")
    parser.add_argument("--moat", metavar="DIR", help="folder of tuned kernels: DIR/<kernel>/<kernel>.py")
    parser.add_argument("--serial", metavar="DIR", help="folder of kernels tuned for one thread, to compare with")
    parser.add_argument("--no-peers", action="store_true", help="without the C loops: moat's kernels among themselves")
    parser.add_argument("--size", choices=["large", "small"], default="large", help="default: large")
    parser.add_argument("--check", action="store_true", help="compare results only, without timing")
    parser.add_argument("--lets", action="store_true", help="print what `moat tune` needs for this size, and stop")
    parser.add_argument("--write", metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--json", action="store_true", help="one JSON object a kernel and pass on standard output")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="least number of rounds; default: 5")
    parser.add_argument("--budget", type=float, default=5.0, metavar="S", help="seconds of rounds a kernel; default: 5")
    parser.add_argument("--passes", type=int, default=1, metavar="N", help="passes over all kernels; default: 1")
    parser.add_argument("--rtol", type=float, default=1e-9, metavar="R", help="relative tolerance of floats; default: 1e-9")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="CPUs of this process; default: 1")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the inputs; default: 0")
    args = parser.parse_args()
    if args.no_peers and not args.serial:
        parser.error("--no-peers compares kernels with those of --serial")
    if min(args.rounds, args.threads, args.passes) < 1:
        parser.error("--rounds, --threads and --passes are at least 1")
    return args


def bench(name, args, samples, known_wrong=()):
    """Checks a kernel and times those contestants that are right, if asked to; its row, or None if there is no reference.
    `samples` are those of earlier passes, to which these are added; who was wrong in one of them stays so."""
    kernel = Bench(Program(name, args.size), args.seed, () if args.no_peers else ("clang", "polly"), args.threads)
    for contestant, folder in (("moat", args.moat), ("serial", args.serial)):
        if folder:
            kernel.add_moat(contestant, folder)
    reference = "NumPy" if args.size == "small" else kernel.first()
    if not kernel.contestants:
        raise ValueError("there is nothing to time: it was not tuned")
    errors = {who: error * args.rtol for who, error in kernel.check(args.rtol, reference == "NumPy").items()}
    wrong = [who for who, error in errors.items() if error > args.rtol or who in known_wrong]
    for who in wrong:
        print(f"{name}: {who} differs from {reference} by {errors[who]:.1e} (allowed {args.rtol:g})", file=sys.stderr)
        del kernel.contestants[who]
        samples.pop(who, None)
    if not args.no_peers and "clang" in wrong:
        return None
    row = {"kernel": name, "wrong": wrong, "relative_error": errors}
    if args.check:
        return row
    for contestant, seconds in kernel.rounds(args.rounds, args.budget).items():
        samples.setdefault(contestant, []).extend(seconds)
    return row | summarize(samples)


def main(args):
    names = args.kernels or INDEPENDENT + CARRIED
    if args.lets:
        for name in names:
            print(name, *(f"--let {key}={value}" for key, value in Program(name, args.size).constants.items()))
        return 0
    require_polly()
    print(environment(args), file=sys.stderr)
    if not args.json and not args.check:
        print(" ".join(f"{title:>11}" if at else f"{title:15}" for at, title in enumerate(header_of(args))))
    found, failures, samples = {}, set(), {name: {} for name in names}
    for name in names * args.passes:
        try:
            row = bench(name, args, samples[name], found[name]["wrong"] if name in found else ())
        except (ValueError, TypeError, ImportError, RuntimeError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            row = None
        if row is None or row["wrong"]:
            failures.add(name)
        found.pop(name, None)
        if row is None:
            continue
        found[name] = row
        if args.json:
            print(json.dumps(row), flush=True)
        elif args.check:
            text = ", ".join(f"{who} {error:.1e}" for who, error in row["relative_error"].items())
            print(f"{name:15} {'differs' if row['wrong'] else 'equal'}; largest relative error: {text}", flush=True)
        else:
            print(" ".join(f"{cell:>11}" if at else f"{cell:15}" for at, cell in enumerate(cells(row, args.serial))), flush=True)
    rows, failed = list(found.values()), len(failures)
    if not args.check:
        for line in summary(rows):
            print(line, file=sys.stderr if args.json else sys.stdout)
        if args.write:
            pathlib.Path(args.write).write_text(markdown(rows, args), encoding="utf-8")
    print(f"{len(names)} kernels, {failed} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    ARGS = arguments()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(ARGS.threads)
    # Before NumPy is loaded, whose BLAS starts its threads at once.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: ARGS.threads])
    import numpy as np

    try:
        VERSION = clang(["--version"]).splitlines()[0]
        sys.exit(main(ARGS))
    except Failure as error:
        print(error, file=sys.stderr)
        sys.exit(2)
