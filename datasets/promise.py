#!/usr/bin/env python3
"""Ask tuned kernels for the time that their summaries promise.

usage: promise.py [--kernels FOLDER] [--processes N] [--rounds N] [--seconds S] [--json] [kernel ...]

Each kernel of the folder is loaded in processes of its own, for which pages a process gets changes the time of large arrays by
a tenth; what is shown is the one with the median ratio. There it is called on arrays that begin 16 bytes past a cache line, as
NumPy's large ones do, through its raw entry, in batches of at least 1 ms that C code counts: nothing of Python is in the
time. Its median is compared with `times.best.median_ns` of kernel.json. In the same rounds the kernel is timed on arrays that
begin on a line: `aligned` is the ratio of the two. The goal is a ratio of 0.9 to 1.1 where the data exceed L2, of 0.8 to 1.2
elsewhere. Exit code: 0, 1 if a kernel misses its goal, 2 on an error. Needs NumPy and a C compiler.
"""

from __future__ import annotations

import argparse, ast, ctypes, json, math, os, pathlib, subprocess, sys, tempfile, time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
LINE, PAST = 64, 16
BATCH_NS = 1e6

BATCHES = r"""
#include <time.h>
/* Nanoseconds of one call, in a batch of `calls`; below 0 if a call fails. */
double batch(int (*raw)(const void *const *, void *const *, void *), const void *const *inputs, void *const *outputs,
             void *workspace, long calls) {
    struct timespec start, end;
    int status = 0;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (long at = 0; at < calls; at++)
        status |= raw(inputs, outputs, workspace);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double elapsed = (end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec);
    return status ? -1.0 : elapsed / calls;
}
"""


def compile_batches(folder):
    """A library whose `batch` calls a kernel many times."""
    source, library = folder / "batch.c", folder / "batch.so"
    source.write_text(BATCHES, encoding="utf-8")
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", source, "-o", library], check=True)
    return library


def hints(stem):
    """The hint of each parameter of a bundled workload, `(name, arguments)` or None; empty if there is no such file."""
    paths = list((HERE / "workloads").rglob(f"{stem}.py"))
    if not paths:
        return {}
    tree = ast.parse(paths[0].read_text(encoding="utf-8"))
    assignments = [node for node in tree.body if isinstance(node, ast.Assign)]
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    constants = {}
    exec(compile(ast.Module(assignments, []), str(paths[0]), "exec"), {"np": np}, constants)
    found = {}
    for argument in functions[-1].args.args:
        note = argument.annotation
        found[argument.arg] = None
        if isinstance(note, ast.Subscript) and isinstance(note.value, ast.Name) and note.value.id == "Annotated":
            hint = note.slice.elts[1]
            if isinstance(hint, ast.Name):
                found[argument.arg] = (hint.id, ())
            elif isinstance(hint, ast.Call):
                values = [eval(compile(ast.Expression(value), "hint", "eval"), {}, constants) for value in hint.args]
                found[argument.arg] = (hint.func.id, tuple(values))
    return found


def drawn(rng, tensor, hint):
    """Random elements, distributed as in optimizer/src/inputs.rs."""
    dtype, shape = numpy_dtype(tensor["dtype"]), tuple(tensor["shape"])
    floating = dtype.kind == "f"
    match hint:
        case ("SPD", _):
            half = rng.random(shape)
            values = half @ np.swapaxes(half, -1, -2) / shape[-1] + np.eye(shape[-1])
        case ("Range", (low, high)):
            values = low + (high - low) * rng.random(shape) if floating else rng.integers(math.ceil(low), math.ceil(high), shape)
        case ("Index", (bound,)):
            values = rng.integers(0, bound, shape)
        case _ if floating:
            values = rng.random(shape)
        case _ if dtype.kind == "b":
            values = rng.integers(0, 2, shape)
        case _:
            values = rng.integers(0 if dtype.kind == "u" else -8, 9, shape)
    return np.asarray(values).astype(dtype)


def numpy_dtype(name):
    names = {"bool": "bool", "bf16": "uint16", "u8": "uint8"}
    kinds = {"i": "int", "u": "uint", "f": "float"}
    return np.dtype(names.get(name) or kinds[name[0]] + name[1:])


class Place:
    """NumPy's own memory for an array, at any distance from a cache line: the same memory, so that nothing but the distance
    differs."""

    def __init__(self, array):
        self.array, self.block = array, np.empty(array.nbytes + 2 * LINE, np.uint8)

    def at(self, past):
        """The address of a copy that begins `past` bytes after a line."""
        begin = -self.block.ctypes.data % LINE + past
        copy = self.block[begin : begin + self.array.nbytes].view(self.array.dtype).reshape(self.array.shape)
        copy[...] = self.array
        return copy.ctypes.data


def measure(folder, batches, rounds, seconds):
    """One kernel in this process."""
    record = json.loads((folder / "kernel.json").read_text(encoding="utf-8"))
    if record["threads"] == 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    interface, symbols = record["interface"], record["symbols"]
    library = ctypes.CDLL(str(folder / record["files"]["library"]))
    if not library[symbols["cpu_supported"]]():
        raise ValueError("tuned for another CPU")
    raw = ctypes.cast(library[symbols["raw"]], ctypes.c_void_p)
    batch = ctypes.CDLL(str(batches)).batch
    batch.restype, batch.argtypes = ctypes.c_double, [ctypes.c_void_p] * 4 + [ctypes.c_long]
    rng, of = np.random.default_rng(0), hints(record["workload"])
    inputs = [drawn(rng, tensor, of.get(tensor["name"])) for tensor in interface["inputs"]]
    outputs = [np.zeros(tensor["shape"], numpy_dtype(tensor["dtype"])) for tensor in interface["outputs"]]
    places = [[Place(array) for array in arrays] for arrays in (inputs, outputs)]
    scratch = Place(np.zeros(max(1, interface["workspace_bytes"]), np.uint8))
    workspace = scratch.at(0)
    tables = [(ctypes.c_void_p * max(1, len(arrays)))() for arrays in places]
    samples = {PAST: [], 0: []}

    def call(count):
        if (elapsed := batch(raw, *map(ctypes.addressof, tables), workspace, count)) < 0:
            raise ValueError("the kernel fails on random inputs")
        return elapsed

    end = time.perf_counter() + seconds
    while len(samples[0]) < 5 or (len(samples[0]) < rounds and time.perf_counter() < end):
        for past, times in samples.items():
            for table, arrays in zip(tables, places):
                table[:] = [array.at(past) for array in arrays] or [None]
            # The first calls find the caches as the copies left them.
            count = max(1, math.ceil(BATCH_NS / max(1.0, min(call(1), call(1)))))
            times += [call(count) for _ in range(5)]
    median = {past: float(np.median(times)) for past, times in samples.items()}
    promised = record["times"]["best"]["median_ns"]
    data = sum(x.nbytes for x in inputs + outputs)
    caches = record["target"]["cache_bytes"]
    large = data > (caches[1] if len(caches) > 1 else caches[-1])
    low, high = np.quantile(samples[PAST], (0.25, 0.75))
    ratio, allowed = median[PAST] / promised, 0.1 if large else 0.2
    return {
        "kernel": folder.name, "threads": record["threads"], "promised_ns": promised, "median_ns": median[PAST],
        "quartiles_ns": [float(low), float(high)], "rounds": len(samples[PAST]), "data_bytes": data, "ratio": ratio,
        "allowed": allowed, "kept": bool(abs(ratio - 1) <= allowed), "aligned_ratio": median[PAST] / median[0],
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", type=pathlib.Path, default=pathlib.Path("kernels"), help="folder of tuned kernels")
    parser.add_argument("--processes", type=int, default=3, help="processes for each kernel, one after the other")
    parser.add_argument("--rounds", type=int, default=25, help="rounds in each process, at most")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for the rounds of a process; 5 rounds in any case")
    parser.add_argument("--json", action="store_true", help="a line of JSON per kernel")
    parser.add_argument("--one", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--batches", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", metavar="kernel")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.batches, args.rounds, args.seconds)))
        return 0
    folders = sorted(path.parent for path in args.kernels.glob("*/kernel.json"))
    folders = [folder for folder in folders if not args.names or folder.name in args.names]
    if not folders:
        print(f"no kernels in {args.kernels}", file=sys.stderr)
        return 2
    kept, failed = True, False
    with tempfile.TemporaryDirectory() as scratch:
        batches = compile_batches(pathlib.Path(scratch))
        if not args.json:
            print(f"{'kernel':36} {'promised':>12} {'measured':>12} {'half within':>25} {'ratio':>6} {'goal':>5} {'aligned':>8}")
        for folder in folders:
            options = ["--rounds", str(args.rounds), "--seconds", str(args.seconds)]
            command = [sys.executable, __file__, "--one", folder, "--batches", batches, *options]
            runs = [subprocess.run(command, capture_output=True, text=True) for _ in range(max(1, args.processes))]
            if bad := [run for run in runs if run.returncode]:
                print(f"{folder.name}: {bad[0].stderr.strip().splitlines()[-1]}", file=sys.stderr)
                failed = True
                continue
            rows = sorted((json.loads(run.stdout) for run in runs), key=lambda row: row["ratio"])
            row = rows[len(rows) // 2] | {"ratios": [row["ratio"] for row in rows]}
            kept &= row["kept"]
            if args.json:
                print(json.dumps(row), flush=True)
                continue
            ms = lambda ns: f"{ns / 1e6:.4g} ms"
            low, high = row["quartiles_ns"]
            print(
                f"{row['kernel']:36} {ms(row['promised_ns']):>12} {ms(row['median_ns']):>12} {ms(low) + ' to ' + ms(high):>25} "
                f"{row['ratio']:6.3f} {'yes' if row['kept'] else 'NO':>5} {row['aligned_ratio']:8.3f}",
                flush=True,
            )
    return 2 if failed else 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
