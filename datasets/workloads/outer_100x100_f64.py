"""Outer product of two matrices, of rank 4 (Mullin 1988)."""

from __future__ import annotations

import numpy as np

N = 100


def outer(A: f64[N, N], B: f64[N, N]):
    return np.multiply.outer(A, B)
