"""Values of a table between its points: four gathers by computed indices, as in resampling an image."""

from __future__ import annotations

import numpy as np

N, H, W = 1 << 20, 1024, 1024


def lookup(table: f32[H, W], y: Annotated[f32[N], Range(0, 20)], x: Annotated[f32[N], Range(0, 30)]):
    i, j = np.floor(y).astype(np.int32), np.floor(x).astype(np.int32)
    dy, dx = y - np.floor(y), x - np.floor(x)
    top = table[i, j] * (1 - dx) + table[i, j + 1] * dx
    bottom = table[i + 1, j] * (1 - dx) + table[i + 1, j + 1] * dx
    return top * (1 - dy) + bottom * dy
