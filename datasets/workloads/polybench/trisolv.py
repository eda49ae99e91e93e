"""trisolv: solves L x = b by forward substitution, L being the lower triangle of the matrix given.
After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

from typing import Annotated

import numpy as np

N = 2000


def trisolv(L: Annotated[f64[N, N], SPD], b: f64[N]):
    x = np.empty_like(b)
    for i in range(N):
        x[i] = (b[i] - L[i, :i] @ x[:i]) / L[i, i]
    return x
