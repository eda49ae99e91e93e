"""durbin: the Yule-Walker equations T y = -r by Levinson and Durbin's recursion, T being the symmetric Toeplitz matrix
with first row (1, r[0], ..., r[N - 2]). The range of r makes T diagonally dominant. After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

from typing import Annotated

import numpy as np

N = 2000


def durbin(r: Annotated[f64[N], Range(-0.5 / N, 0.5 / N)]):
    y = np.empty_like(r)
    y[0] = -r[0]
    alpha = -r[0]
    beta = 1.0
    for k in range(1, N):
        beta = (1.0 - alpha * alpha) * beta
        alpha = -(r[k] + r[k - 1 :: -1] @ y[:k]) / beta
        y[:k] += alpha * y[k - 1 :: -1]
        y[k] = alpha
    return y
