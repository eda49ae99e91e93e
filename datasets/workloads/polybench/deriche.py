"""deriche: a recursive smoothing filter of second order (Deriche 1990), forth and back along the rows, then along
the columns. After PolyBench/C 4.2, LARGE, with its coefficients."""

from __future__ import annotations

from typing import Annotated

import numpy as np

W, H = 4096, 2160


def deriche(alpha: Annotated[f64, Range(0.2, 0.4)], image: f64[W, H]):
    k = (1.0 - np.exp(-alpha)) ** 2 / (1.0 + 2.0 * alpha * np.exp(-alpha) - np.exp(2.0 * alpha))
    a1 = k
    a2 = k * np.exp(-alpha) * (alpha - 1.0)
    a3 = k * np.exp(-alpha) * (alpha + 1.0)
    a4 = -k * np.exp(-2.0 * alpha)
    b1 = 2.0 ** (-alpha)
    b2 = -np.exp(-2.0 * alpha)

    forth = np.empty_like(image)
    forth[:, 0] = a1 * image[:, 0]
    forth[:, 1] = a1 * image[:, 1] + a2 * image[:, 0] + b1 * forth[:, 0]
    for j in range(2, H):
        forth[:, j] = a1 * image[:, j] + a2 * image[:, j - 1] + b1 * forth[:, j - 1] + b2 * forth[:, j - 2]
    back = np.empty_like(image)
    back[:, H - 1] = 0.0
    back[:, H - 2] = a3 * image[:, H - 1]
    for j in range(H - 3, -1, -1):
        back[:, j] = a3 * image[:, j + 1] + a4 * image[:, j + 2] + b1 * back[:, j + 1] + b2 * back[:, j + 2]
    rows = forth + back

    down = np.empty_like(image)
    down[0, :] = a1 * rows[0, :]
    down[1, :] = a1 * rows[1, :] + a2 * rows[0, :] + b1 * down[0, :]
    for i in range(2, W):
        down[i, :] = a1 * rows[i, :] + a2 * rows[i - 1, :] + b1 * down[i - 1, :] + b2 * down[i - 2, :]
    up = np.empty_like(image)
    up[W - 1, :] = 0.0
    up[W - 2, :] = a3 * rows[W - 1, :]
    for i in range(W - 3, -1, -1):
        up[i, :] = a3 * rows[i + 1, :] + a4 * rows[i + 2, :] + b1 * up[i + 1, :] + b2 * up[i + 2, :]
    return down + up
