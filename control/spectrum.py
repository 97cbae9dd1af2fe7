"""What a display shows of the sound: 64 mel bands of the noisy and the clean frame, in whole dB.

Computed in the server's thread, from copies, only while somebody looks; the worker does nothing for it.
Numbers for the eye: nobody can make speech out of ten such columns a second.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pse_stream.dsp.spec import ENGINE_BINS, Float32s, STFTSpec

BANDS = 64
FLOOR_DB = -110
_FULL_SCALE = float(STFTSpec(16_000).analysis_window.sum()) / 2.0  # magnitude of a full-scale sine in its bin


class Tap(Protocol):
    """Gives the magnitudes of the newest frames, copied on request: two (257,) float32, noisy and clean."""

    def __call__(self) -> tuple[Float32s, Float32s] | None:
        """None while no sound flows."""
        ...


def band_edges(bands: int = BANDS, n_bins: int = ENGINE_BINS) -> NDArray[np.intp]:
    """(bands,) first bin of each band, evenly spaced on the mel scale 0 to 8 kHz, at least one bin each."""
    top_mel = 2595.0 * np.log10(1.0 + 8000.0 / 700.0)
    hz = 700.0 * (10.0 ** (np.linspace(0.0, top_mel, bands + 1) / 2595.0) - 1.0)
    edges = np.round(hz / 8000.0 * (n_bins - 1)).astype(np.intp)
    for i in range(1, bands):
        edges[i] = max(edges[i], edges[i - 1] + 1)
    return edges[:-1]


_EDGES = band_edges()


def bands_db(magnitudes: Float32s) -> list[int]:
    """The loudest bin of each band in dB below a full-scale sine, low band first.

    Parameters
    ----------
    magnitudes : (257,) float32
        Of one frame, as `dsp.stft.Analysis` scales it.
    """
    loudest = np.maximum.reduceat(np.nan_to_num(magnitudes), _EDGES)
    levels = 20.0 * np.log10(np.maximum(loudest / _FULL_SCALE, 1e-9))
    whole: list[int] = np.clip(np.round(levels), FLOOR_DB, 20).astype(int).tolist()
    return whole
