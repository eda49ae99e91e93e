"""A product chain that ends in a vector: (A B) v costs n**3, A (B v) costs n**2."""

from __future__ import annotations

import numpy as np

N = 1024


def chain(A: f32[N, N], B: f32[N, N], v: f32[N]):
    return A @ B @ v
