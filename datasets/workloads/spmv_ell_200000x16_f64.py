"""A sparse matrix times a vector, in ELLPACK format: K entries in each row, with the column of each."""

from __future__ import annotations

import numpy as np

N, M, K = 200000, 100000, 16


def spmv(values: f64[N, K], columns: Annotated[i32[N, K], Index(M)], x: f64[M]):
    return np.sum(values * x[columns], axis=1)
