"""Matrix product; BLAS level 3, gemm without scaling."""

from __future__ import annotations

import numpy as np

N, M, K = 1024, 1024, 1024


def matmul(A: f32[N, K], B: f32[K, M]):
    return A @ B
