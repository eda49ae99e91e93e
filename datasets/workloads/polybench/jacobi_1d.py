"""jacobi-1d: three-point averages, from A to B and back, in every time step. After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

TSTEPS, N = 500, 2000


def jacobi_1d(A: f64[N], B: f64[N]):
    A = A.copy()
    B = B.copy()
    for t in range(TSTEPS):
        B[1:-1] = 0.33333 * (A[:-2] + A[1:-1] + A[2:])
        A[1:-1] = 0.33333 * (B[:-2] + B[1:-1] + B[2:])
    return A
