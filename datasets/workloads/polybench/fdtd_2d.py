"""fdtd-2d: Yee's leapfrog of an electric (ex, ey) and a magnetic field (hz), driven at ey's first row.
After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

TMAX, NX, NY = 500, 1000, 1200


def fdtd_2d(ex: f64[NX, NY], ey: f64[NX, NY], hz: f64[NX, NY], source: f64[TMAX]):
    ex = ex.copy()
    ey = ey.copy()
    hz = hz.copy()
    for t in range(TMAX):
        ey[0, :] = source[t]
        ey[1:, :] -= 0.5 * (hz[1:, :] - hz[:-1, :])
        ex[:, 1:] -= 0.5 * (hz[:, 1:] - hz[:, :-1])
        hz[:-1, :-1] -= 0.7 * (ex[:-1, 1:] - ex[:-1, :-1] + ey[1:, :-1] - ey[:-1, :-1])
    return ex, ey, hz
