"""syrk: alpha A Aᵀ + beta C in the lower triangle; C's strict upper triangle is kept.
After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

M, N = 1000, 1200


def syrk(alpha: f64, beta: f64, A: f64[N, M], C: f64[N, N]):
    return np.tril(alpha * (A @ A.T) + beta * C) + np.triu(C, 1)
