"""gemm with alpha and beta; after PolyBench gemm, LARGE."""

from __future__ import annotations

import numpy as np

N, M, K = 1000, 1100, 1200


def gemm(alpha: f32, beta: f32, C: f32[N, M], A: f32[N, K], B: f32[K, M]):
    return alpha * (A @ B) + beta * C
