"""correlation: Pearson's, of the columns of N samples; a deviation of at most 0.1 counts as 1.
After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

M, N = 1200, 1400


def correlation(D: f64[N, M]):
    deviation = D.std(0)
    X = (D - D.mean(0)) / (np.sqrt(N) * np.where(deviation <= 0.1, 1.0, deviation))
    return X.T @ X
