"""Min-plus product, one step of all-pairs shortest paths."""

from __future__ import annotations

import numpy as np

N = 256


def minplus(A: f32[N, N], B: f32[N, N]):
    return (A[:, :, None] + B[None]).min(1)
