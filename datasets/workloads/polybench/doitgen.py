"""doitgen: a three-way array times a matrix along its last axis, of the MADNESS kernel.
After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

NQ, NR, NP = 140, 150, 160


def doitgen(A: f64[NR, NQ, NP], C4: f64[NP, NP]):
    return A @ C4
