"""A weighted histogram: samples scattered into bins."""

from __future__ import annotations

import numpy as np

N, K = 1048576, 1024


def histogram(x: f64[N], weights: f64[N]):
    bins = np.zeros(K)
    np.add.at(bins, (x * K).astype(np.int64), weights)
    return bins
