"""Covariance of the columns; after PolyBench covariance, LARGE."""

from __future__ import annotations

import numpy as np

N, M = 1400, 1200


def covariance(D: f64[N, M]):
    X = D - D.mean(0)
    return X.T @ X / (N - 1.0)
