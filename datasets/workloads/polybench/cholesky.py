"""cholesky: the lower triangular L with L Lᵀ = A. After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

from typing import Annotated

import numpy as np

N = 2000


def cholesky(A: Annotated[f64[N, N], SPD]):
    L = np.zeros_like(A)
    for k in range(N):
        L[k:, k] = A[k:, k] - L[k:, :k] @ L[k, :k]
        L[k, k] = np.sqrt(L[k, k])
        L[k + 1 :, k] /= L[k, k]
    return L
