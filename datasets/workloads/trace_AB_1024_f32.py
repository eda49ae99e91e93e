"""The trace of a product, which is a sum of n**2 products."""

from __future__ import annotations

import numpy as np

N = 1024


def trace_of_product(A: f32[N, N], B: f32[N, N]):
    return np.trace(A @ B)
