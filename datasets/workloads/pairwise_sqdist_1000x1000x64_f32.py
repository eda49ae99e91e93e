"""Squared Euclidean distances of all pairs, computed directly, without cancellation."""

from __future__ import annotations

import numpy as np

N, M, D = 1000, 1000, 64


def pairwise_sqdist(X: f32[N, D], Y: f32[M, D]):
    return ((X[:, None] - Y[None]) ** 2).sum(-1)
