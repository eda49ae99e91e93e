"""Matrix times vector; BLAS level 2, gemv without scaling."""

from __future__ import annotations

import numpy as np

N, M = 4096, 4096


def matvec(A: f32[N, M], x: f32[M]):
    return A @ x
