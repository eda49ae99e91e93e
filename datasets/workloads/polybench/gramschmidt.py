"""gramschmidt: A = Q R by the modified Gram-Schmidt process. After PolyBench/C 4.2, LARGE, but with more
rows than columns: of 1200 columns in 1000 dimensions the last 200 would be rounding errors, scaled to length 1."""

from __future__ import annotations

from typing import Annotated

import numpy as np

M, N = 1200, 1000


def gramschmidt(A: Annotated[f64[M, N], Range(-1, 1)]):
    A = A.copy()
    Q = np.empty_like(A)
    R = np.zeros((N, N))
    for k in range(N):
        R[k, k] = np.sqrt(np.sum(A[:, k] ** 2))
        Q[:, k] = A[:, k] / R[k, k]
        R[k, k + 1 :] = Q[:, k] @ A[:, k + 1 :]
        A[:, k + 1 :] -= np.outer(Q[:, k], R[k, k + 1 :])
    return Q, R
