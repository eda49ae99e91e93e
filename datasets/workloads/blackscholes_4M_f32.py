"""European call prices by the Black-Scholes formula (Black, Scholes 1973); the Parsec benchmark."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from scipy.special import erf

N = 1 << 22
RATE, VOLATILITY = np.float32(0.02), np.float32(0.3)


def normal_cdf(d):
    return 0.5 * (1 + erf(d * np.float32(0.70710678)))


def blackscholes(
    S: Annotated[f32[N], Range(5, 105)],
    X: Annotated[f32[N], Range(5, 105)],
    t: Annotated[f32[N], Range(0.1, 2.1)],
):
    d1 = (np.log(S / X) + (RATE + VOLATILITY * VOLATILITY / 2) * t) / (VOLATILITY * np.sqrt(t))
    d2 = d1 - VOLATILITY * np.sqrt(t)
    return S * normal_cdf(d1) - X * np.exp(-RATE * t) * normal_cdf(d2)
