"""atax: a matrix's transpose times the matrix times a vector, Aᵀ A x. After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

M, N = 1900, 2100


def atax(A: f64[M, N], x: f64[N]):
    return A.T @ (A @ x)
