"""Calls the Python module of `bumped(A, B)`, which writes A + B into A and returns nothing."""

import importlib.util
import sys

import numpy as np

spec = importlib.util.spec_from_file_location("kernel", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
bumped = module.bumped


def refused(kind, words, *args):
    try:
        bumped(*args)
    except kind as error:
        assert words in str(error), f"{error!s} does not say {words!r}"
        return
    raise AssertionError(f"not refused: {words}")


B = np.arange(6).reshape(2, 3)
A = np.full((2, 3), 10)
for times in (1, 2):
    assert bumped(A, B) is None
    assert np.array_equal(A, 10 + times * B)
assert np.array_equal(B, np.arange(6).reshape(2, 3))

# Through views of any strides, and into nothing else.
wide = np.zeros((4, 6), dtype=np.int64)
bumped(wide[::2, ::-2], B)
expected = np.zeros((4, 6), dtype=np.int64)
expected[::2, ::-2] = B
assert np.array_equal(wide, expected)
whole = np.zeros((2, 6), dtype=np.int64)
whole[:, 1::2] = B
bumped(whole[:, ::2], whole[:, 1::2])
assert np.array_equal(whole[:, ::2], B) and np.array_equal(whole[:, 1::2], B)

frozen = np.zeros((2, 3), dtype=np.int64)
frozen.flags.writeable = False
refused(ValueError, "read-only", frozen, B)
refused(ValueError, "shares memory with 'B'", B, B)
# A mask would be lost, and a matrix has other operators.
for masked in (np.ma.masked_array(B, mask=B > 2), np.ma.masked_array(B)):
    refused(TypeError, "masked array", A, masked)
    refused(TypeError, "masked array", masked, B.copy())
refused(TypeError, "is a matrix", A, B.view(np.matrix))
refused(ValueError, "shares memory with 'B'", whole[:, 1:4], whole[:, :3])
refused(TypeError, "must be a NumPy array", [[0, 0, 0], [0, 0, 0]], B)
refused(TypeError, "must be int64", np.zeros((2, 3)), B)
refused(ValueError, "must have shape (2, 3)", np.zeros((3, 2), dtype=np.int64), B)
print("good")
