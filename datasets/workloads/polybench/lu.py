"""lu: A = L U without pivots; L, whose diagonal is 1, and U share one array. After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

from typing import Annotated

import numpy as np

N = 2000


def lu(A: Annotated[f64[N, N], SPD]):
    A = A.copy()
    for k in range(N):
        A[k + 1 :, k] /= A[k, k]
        A[k + 1 :, k + 1 :] -= np.outer(A[k + 1 :, k], A[k, k + 1 :])
    return A
