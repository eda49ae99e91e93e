"""Calls a kernel's Python module every way that must work and every way that must be refused.

argv[1] is the module of `row_sums(alpha, A) -> (f32[5], f32)`, argv[2] that of
`sum(out) -> i64[6]`, which doubles.
"""

import importlib.util
import sys
import threading

import numpy as np


def load(path):
    spec = importlib.util.spec_from_file_location("kernel", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def refused(kind, words, call):
    try:
        call()
    except kind as error:
        assert words in str(error), f"{error!s} does not say {words!r}"
        return
    raise AssertionError(f"not refused: {words}")


module = load(sys.argv[1])
row_sums = module.row_sums
assert module.__all__ == ["row_sums"]
A = np.arange(35, dtype=np.float32).reshape(5, 7)
expected = 2 * A.sum(axis=1)

for alpha in (2, 2.0, np.float32(2), np.array(2, np.float32)):
    result = row_sums(alpha, A)
    assert type(result) is tuple and len(result) == 2
    sums, total = result
    assert type(sums) is np.ndarray and sums.dtype == np.float32 and np.array_equal(sums, expected)
    assert type(total) is np.ndarray and total.shape == () and total == expected.sum()
assert np.array_equal(row_sums(alpha=2.0, A=A)[0], expected)

# Any layout, read-only or not.
for view in (np.asfortranarray(A), np.repeat(A, 2, axis=1)[:, ::2], A[::-1][::-1], A.view()):
    view.flags.writeable = False
    assert np.array_equal(row_sums(2, view)[0], expected)
unaligned = np.frombuffer(b"x" + A.tobytes(), np.float32, offset=1).reshape(5, 7)
assert not unaligned.flags.aligned and np.array_equal(row_sums(2, unaligned)[0], expected)

# out= takes what was returned.
again = row_sums(1.0, A)
assert row_sums(2.0, A, out=again) is again and np.array_equal(again[0], expected) and again[1] == expected.sum()
strided = np.zeros(10, np.float32)[::2]
row_sums(2, A, out=(strided, again[1]))
assert np.array_equal(strided, expected)
overlapping = A.copy()
row_sums(2, overlapping, out=(overlapping[0, :5], np.empty((), np.float32)))
assert np.array_equal(overlapping[0, :5], expected)

refused(TypeError, "row_sums(): argument 'A' must be float32, not float64", lambda: row_sums(2, A.astype(float)))
refused(TypeError, "must be float32, not >f4", lambda: row_sums(2, A.astype(">f4")))
refused(ValueError, "'A' must have shape (5, 7), not (7, 5)", lambda: row_sums(2, A.T))
refused(ValueError, "'A' must have shape (5, 7), not (35,)", lambda: row_sums(2, A.ravel()))
refused(TypeError, "'A' must be a NumPy array of float32 and shape (5, 7), not list", lambda: row_sums(2, A.tolist()))
refused(TypeError, "'alpha' must be float32, not float64", lambda: row_sums(np.float64(2), A))
refused(TypeError, "'alpha' must be float32, not bool", lambda: row_sums(True, A))
refused(TypeError, "'alpha' must be", lambda: row_sums("2", A))
refused(TypeError, "missing 1 required positional argument", lambda: row_sums(2))
refused(TypeError, "'out' must be a tuple of 2 arrays, not ndarray", lambda: row_sums(2, A, out=again[0]))
refused(ValueError, "'out' must have 2 arrays, not 1", lambda: row_sums(2, A, out=(again[0],)))
refused(TypeError, "'out[0]' must be float32, not float64", lambda: row_sums(2, A, out=(np.empty(5), again[1])))
refused(ValueError, "'out[0]' must have shape (5,), not (4,)", lambda: row_sums(2, A, out=(again[0][:4], again[1])))
refused(TypeError, "'out[1]' must be a NumPy array, not float32", lambda: row_sums(2, A, out=(again[0], np.float32(0))))
again[0].flags.writeable = False
refused(ValueError, "'out[0]' is read-only", lambda: row_sums(2, A, out=again))

# Reentrant: every thread has its own workspace.
failures = []


def work(alpha):
    for _ in range(300):
        sums, total = row_sums(alpha, A)
        if not np.array_equal(sums, alpha * A.sum(axis=1)) or total != sums.sum():
            failures.append(alpha)


threads = [threading.Thread(target=work, args=(float(alpha),)) for alpha in range(1, 9)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failures

# A function named as a builtin, a parameter named `out`, one result that is no tuple, two threads.
doubled = load(sys.argv[2]).sum
x = np.arange(6, dtype=np.int64)
result = doubled(x)
assert type(result) is np.ndarray and result.dtype == np.int64 and np.array_equal(result, 2 * x)
assert doubled(out=x, out_=result) is result
refused(TypeError, "sum(): argument 'out' must be int64, not int32", lambda: doubled(x.astype(np.int32)))
refused(ValueError, "'out_' must have shape (6,), not (5,)", lambda: doubled(x, out_=result[:5]))
refused(TypeError, "'out_' must be a NumPy array, not tuple", lambda: doubled(x, out_=(result,)))
print("good")
