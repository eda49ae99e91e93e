"""One Jacobi step of the five-point stencil, interior only; after PolyBench jacobi-2d."""

from __future__ import annotations

import numpy as np

N = 2048


def jacobi2d(A: f64[N, N]):
    return 0.2 * (A[1:-1, 1:-1] + A[1:-1, :-2] + A[1:-1, 2:] + A[2:, 1:-1] + A[:-2, 1:-1])
