"""One row of a transposed sum: psi-reduction leaves n additions of n**2 (Mullin 1988)."""

from __future__ import annotations

import numpy as np

N = 4096


def row_of_transposed_sum(A: f32[N, N], B: f32[N, N]):
    return (A + B).T[0]
