"""Kronecker product as outer product, transpose and reshape (Mullin 1988)."""

from __future__ import annotations

import numpy as np

M, P = 64, 32


def kronecker(A: f32[M, M], B: f32[P, P]):
    return np.multiply.outer(A, B).transpose(0, 2, 1, 3).reshape(M * P, M * P)
