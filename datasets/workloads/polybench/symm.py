"""symm: alpha S B + beta C, where the symmetric S is given by A's lower triangle. After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

M, N = 1000, 1200


def symm(alpha: f64, beta: f64, A: f64[M, M], B: f64[M, N], C: f64[M, N]):
    S = np.tril(A) + np.tril(A, -1).T
    return alpha * (S @ B) + beta * C
