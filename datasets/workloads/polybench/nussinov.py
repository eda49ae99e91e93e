"""nussinov: T[i, j] is the most base pairs of an RNA's section i ..= j (Nussinov 1978): the best split of the section, or
the pair of its ends, unless they are neighbours, around the best of what is between.
After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

from typing import Annotated

import numpy as np

N = 2500


def nussinov(bases: Annotated[i32[N], Index(4)]):
    T = np.zeros((N, N), dtype=np.int32)
    for i in range(N - 2, -1, -1):
        for j in range(i + 1, N):
            T[i, j] = np.max(T[i, i:j] + T[i + 1 : j + 1, j])
            if i + 1 < j:
                T[i, j] = np.maximum(T[i, j], T[i + 1, j - 1] + (bases[i] + bases[j] == 3))
    return T
