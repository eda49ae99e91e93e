"""gemver: B = A + u1 v1ᵀ + u2 v2ᵀ, x = beta Bᵀ y + z, w = alpha B x, of the updated BLAS.
After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

N = 2000


def gemver(
    alpha: f64,
    beta: f64,
    A: f64[N, N],
    u1: f64[N],
    v1: f64[N],
    u2: f64[N],
    v2: f64[N],
    y: f64[N],
    z: f64[N],
):
    B = A + np.outer(u1, v1) + np.outer(u2, v2)
    x = beta * (B.T @ y) + z
    return B, x, alpha * (B @ x)
