"""bicg: the two products of a BiCG step, A p and Aᵀ r. After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

M, N = 1900, 2100


def bicg(A: f64[N, M], p: f64[M], r: f64[N]):
    return A.T @ r, A @ p
