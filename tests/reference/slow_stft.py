"""The transform by its definition: one sum per bin and sample, double precision. For tests only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def windows(hop: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Analysis (4 hops: rise 24 ms, fall 8 ms) and synthesis (2 hops: Hann 16 ms over analysis)."""
    analysis = np.empty(4 * hop)
    for n in range(4 * hop):
        analysis[n] = (
            np.sqrt(0.5 - 0.5 * np.cos(np.pi * (n + 0.5) / (3 * hop)))
            if n < 3 * hop
            else np.sqrt(0.5 + 0.5 * np.cos(np.pi * (n - 3 * hop + 0.5) / hop))
        )
    hann = np.array([0.5 - 0.5 * np.cos(2 * np.pi * (n + 0.5) / (2 * hop)) for n in range(2 * hop)])
    return analysis, hann / analysis[2 * hop :]


def frame(samples: NDArray[np.float32], hop: int, t: int) -> NDArray[np.complex128]:
    """The frame that ends with hop `t`, scaled to what 16 kHz would give."""
    n_fft = 4 * hop
    padded = np.concatenate([np.zeros(3 * hop), samples.astype(np.float64)])
    windowed = padded[t * hop : t * hop + n_fft] * windows(hop)[0]
    bins, times = np.arange(n_fft // 2 + 1), np.arange(n_fft)
    return np.exp(-2j * np.pi * np.outer(bins, times) / n_fft) @ windowed * (512 / n_fft)
