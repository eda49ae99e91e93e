"""gesummv: a sum of two matrix-vector products, alpha A x + beta B x. After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

N = 1300


def gesummv(alpha: f64, beta: f64, A: f64[N, N], B: f64[N, N], x: f64[N]):
    return alpha * (A @ x) + beta * (B @ x)
