"""ludcmp: solves A x = b by A = L U without pivots, then L y = b, then U x = y. After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

from typing import Annotated

import numpy as np

N = 2000


def ludcmp(A: Annotated[f64[N, N], SPD], b: f64[N]):
    A = A.copy()
    for k in range(N):
        A[k + 1 :, k] /= A[k, k]
        A[k + 1 :, k + 1 :] -= np.outer(A[k + 1 :, k], A[k, k + 1 :])
    y = np.empty_like(b)
    for i in range(N):
        y[i] = b[i] - A[i, :i] @ y[:i]
    x = np.empty_like(b)
    for i in range(N - 1, -1, -1):
        x[i] = (y[i] - A[i, i + 1 :] @ x[i + 1 :]) / A[i, i]
    return x
