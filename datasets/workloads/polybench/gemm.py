"""gemm: alpha A B + beta C. After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

NI, NJ, NK = 1000, 1100, 1200


def gemm(alpha: f64, beta: f64, A: f64[NI, NK], B: f64[NK, NJ], C: f64[NI, NJ]):
    return alpha * (A @ B) + beta * C
