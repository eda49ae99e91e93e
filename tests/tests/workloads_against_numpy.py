"""usage: workloads_against_numpy.py KERNELS FILE.py:N=3,M=4 ...

Calls each tuned kernel through its own loader and the workload's function under NumPy in double precision, on the
same inputs; prints every difference beyond rounding and exits with 1 if there is one.
"""

import importlib.util
import json
import pathlib
import sys

import numpy as np


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def random(rng, param):
    dtype = {"f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64, "bool": np.bool_}[param["dtype"]]
    if isinstance(param["hint"], dict) and "Index" in param["hint"]:
        return rng.integers(0, param["hint"]["Index"], param["shape"]).astype(dtype)
    low, high = param["hint"]["Range"] if isinstance(param["hint"], dict) and "Range" in param["hint"] else (0, 1)
    if np.issubdtype(dtype, np.floating):
        return (low + (high - low) * rng.random(param["shape"])).astype(dtype)
    return rng.integers(-8, 9, param["shape"]).astype(dtype)


def wide(array):
    return array.astype(np.float64) if array.dtype == np.float32 else array


kernels, failures = pathlib.Path(sys.argv[1]), 0
for argument in sys.argv[2:]:
    file, lets = argument.rsplit(":", 1)
    source = load(pathlib.Path(file))
    for let in filter(None, lets.split(",")):
        name, value = let.split("=")
        setattr(source, name, int(value))
    stem = pathlib.Path(file).stem
    record = json.loads((kernels / stem / "kernel.json").read_text())
    kernel = getattr(load(kernels / stem / f"{stem}.py"), record["function"])
    rng = np.random.default_rng(7)
    inputs = [random(rng, param) for param in record["normal_form"]["params"]]
    got = kernel(*inputs)
    narrow = getattr(source, record["function"])(*inputs)
    exact = getattr(source, record["function"])(*map(wide, inputs))
    assert got.shape == np.shape(narrow) and got.dtype == narrow.dtype, (stem, got.shape, got.dtype)
    again = kernel(*inputs, out=np.full_like(got, 77))
    assert np.array_equal(got, again), f"{stem}: `out` gives another result"
    if np.issubdtype(got.dtype, np.floating):
        allowed = 64 * np.finfo(got.dtype).eps * max(1.0, float(np.abs(exact).max()))
        error = float(np.abs(got - exact).max())
    else:
        allowed, error = 0.0, float(np.abs(got.astype(np.int64) - narrow.astype(np.int64)).max())
    if not error <= allowed:
        failures += 1
        print(f"{stem}: off by {error:g}, allowed {allowed:g}")
sys.exit(1 if failures else 0)
