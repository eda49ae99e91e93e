"""floyd-warshall: lengths of the shortest paths between all pairs of vertices. After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

from typing import Annotated

import numpy as np

N = 2800


def floyd_warshall(lengths: Annotated[i32[N, N], Range(1, 1000)]):
    paths = lengths.copy()
    for k in range(N):
        paths[:, :] = np.minimum(paths, paths[:, k, None] + paths[None, k, :])
    return paths
