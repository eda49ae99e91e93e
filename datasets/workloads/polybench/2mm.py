"""2mm: a product of three matrices, scaled, plus a scaled matrix: alpha A B C + beta D.
After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

NI, NJ, NK, NL = 800, 900, 1100, 1200


def two_mm(alpha: f64, beta: f64, A: f64[NI, NK], B: f64[NK, NJ], C: f64[NJ, NL], D: f64[NI, NL]):
    return alpha * (A @ B) @ C + beta * D
