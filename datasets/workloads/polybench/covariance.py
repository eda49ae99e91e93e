"""covariance: of the columns of N samples, unbiased. After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

M, N = 1200, 1400


def covariance(D: f64[N, M]):
    X = D - D.mean(0)
    return X.T @ X / (N - 1.0)
