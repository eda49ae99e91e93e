"""3mm: a product of four matrices, (A B) (C D). After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

NI, NJ, NK, NL, NM = 800, 900, 1000, 1100, 1200


def three_mm(A: f64[NI, NK], B: f64[NK, NJ], C: f64[NJ, NM], D: f64[NM, NL]):
    return (A @ B) @ (C @ D)
