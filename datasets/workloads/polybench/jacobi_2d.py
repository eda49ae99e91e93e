"""jacobi-2d: five-point averages, from A to B and back, in every time step. After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

TSTEPS, N = 500, 1300


def jacobi_2d(A: f64[N, N], B: f64[N, N]):
    A = A.copy()
    B = B.copy()
    for t in range(TSTEPS):
        B[1:-1, 1:-1] = 0.2 * (A[1:-1, 1:-1] + A[1:-1, :-2] + A[1:-1, 2:] + A[2:, 1:-1] + A[:-2, 1:-1])
        A[1:-1, 1:-1] = 0.2 * (B[1:-1, 1:-1] + B[1:-1, :-2] + B[1:-1, 2:] + B[2:, 1:-1] + B[:-2, 1:-1])
    return A
