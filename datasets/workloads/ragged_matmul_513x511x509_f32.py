"""Matrix product whose extents no tile divides."""

from __future__ import annotations

import numpy as np

N, M, K = 513, 511, 509


def ragged_matmul(A: f32[N, K], B: f32[K, M]):
    return A @ B
