"""adi: the heat equation on the unit square by alternating directions (Peaceman, Rachford 1955). A time step solves
tridiagonal systems along the columns, then along the rows, each by elimination (p, q) and back substitution.
After PolyBench/C 4.2, LARGE."""

from __future__ import annotations

import numpy as np

TSTEPS, N = 500, 1000


def adi(u: f64[N, N]):
    # Steps of 1/N in space and 1/TSTEPS in time; the diffusion is 2 along the columns and 1 along the rows.
    a = -(2.0 / TSTEPS) * (N * N) / 2.0
    b = 1.0 - 2.0 * a
    d = -(1.0 / TSTEPS) * (N * N) / 2.0
    e = 1.0 - 2.0 * d
    u = u.copy()
    v = np.empty_like(u)
    p = np.empty_like(u)
    q = np.empty_like(u)
    for t in range(TSTEPS):
        v[0, 1:-1] = 1.0
        p[1:-1, 0] = 0.0
        q[1:-1, 0] = v[0, 1:-1]
        for j in range(1, N - 1):
            p[1:-1, j] = -a / (a * p[1:-1, j - 1] + b)
            q[1:-1, j] = (
                -d * u[j, :-2] + (1.0 + 2.0 * d) * u[j, 1:-1] - d * u[j, 2:] - a * q[1:-1, j - 1]
            ) / (a * p[1:-1, j - 1] + b)
        v[N - 1, 1:-1] = 1.0
        for j in range(N - 2, 0, -1):
            v[j, 1:-1] = p[1:-1, j] * v[j + 1, 1:-1] + q[1:-1, j]
        u[1:-1, 0] = 1.0
        p[1:-1, 0] = 0.0
        q[1:-1, 0] = u[1:-1, 0]
        for j in range(1, N - 1):
            p[1:-1, j] = -d / (d * p[1:-1, j - 1] + e)
            q[1:-1, j] = (
                -a * v[:-2, j] + (1.0 + 2.0 * a) * v[1:-1, j] - a * v[2:, j] - d * q[1:-1, j - 1]
            ) / (d * p[1:-1, j - 1] + e)
        u[1:-1, N - 1] = 1.0
        for j in range(N - 2, 0, -1):
            u[1:-1, j] = p[1:-1, j] * u[1:-1, j + 1] + q[1:-1, j]
    return u
