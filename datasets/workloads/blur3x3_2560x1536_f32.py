"""Separable 3 x 3 box blur, the introductory example of Halide (Ragan-Kelley et al. 2013)."""

from __future__ import annotations

import numpy as np

H, W = 1536, 2560


def blur(A: f32[H + 2, W + 2]):
    h = (A[:, :-2] + A[:, 1:-1] + A[:, 2:]) / 3
    return (h[:-2] + h[1:-1] + h[2:]) / 3
