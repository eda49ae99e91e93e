"""trmm: alpha Lᵀ B, where L is A's lower triangle with a diagonal of ones. After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

M, N = 1000, 1200


def trmm(alpha: f64, A: f64[M, M], B: f64[M, N]):
    return alpha * (B + np.tril(A, -1).T @ B)
