"""A scaled sum of two vectors, after BLAS level 1 axpy: bound by memory."""

from __future__ import annotations

import numpy as np

N = 1 << 24


def axpy_like(a: f32[N], b: f32[N]):
    return 2 * a + 3 * b
