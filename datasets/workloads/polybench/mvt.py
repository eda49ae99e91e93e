"""mvt: two matrix-vector products with one matrix, x1 + A y1 and x2 + Aᵀ y2. After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

N = 2000


def mvt(A: f64[N, N], x1: f64[N], x2: f64[N], y1: f64[N], y2: f64[N]):
    return x1 + A @ y1, x2 + A.T @ y2
