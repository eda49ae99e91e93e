"""Matrix product in double precision; BLAS level 3, gemm without scaling."""

from __future__ import annotations

import numpy as np

N, M, K = 1024, 1024, 1024


def matmul(A: f64[N, K], B: f64[K, M]):
    return A @ B
