"""seidel-2d: Gauss-Seidel sweeps of nine-point averages; every element sees its new neighbours above and to the left.
After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

TSTEPS, N = 500, 2000


def seidel_2d(A: f64[N, N]):
    A = A.copy()
    for t in range(TSTEPS):
        for i in range(1, N - 1):
            for j in range(1, N - 1):
                A[i, j] = (
                    A[i - 1, j - 1]
                    + A[i - 1, j]
                    + A[i - 1, j + 1]
                    + A[i, j - 1]
                    + A[i, j]
                    + A[i, j + 1]
                    + A[i + 1, j - 1]
                    + A[i + 1, j]
                    + A[i + 1, j + 1]
                ) / 9.0
    return A
