"""One spectral grid for every sample rate.

Analysis 32 ms, hop 8 ms, synthesis 16 ms: bins lie 31.25 Hz apart whatever the rate, so bin k means the same
frequency at 16 and at 48 kHz, and an engine that sees the first 257 bins does not know the rate of the device.

The asymmetric window pair keeps the resolution of 32 ms at the delay of a 16 ms transform
(Mauler and Martin 2007, "A low delay, variable resolution, perfect reconstruction spectral analysis-synthesis
system for speech enhancement"): the analysis window rises as sqrt(Hann) over 24 ms and falls as sqrt(Hann) over 8 ms;
the synthesis window is Hann(16 ms) / analysis on the last 16 ms, so that their product is a plain 16 ms Hann window,
whose hops of 8 ms sum to one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pse_stream.errors import SpecError

Float32s = NDArray[np.float32]
Complex64s = NDArray[np.complex64]

ENGINE_BINS = 257  # 0 to 8 kHz in steps of 31.25 Hz: all that an engine ever sees
ENGINE_RATE = 16_000  # Hz; spectra are scaled to what this rate would give
HOP_MS = 8.0
HOPS_PER_SECOND = 125
GRID_RATES = (8_000, 16_000, 24_000, 32_000, 48_000)  # Hz; their hops are whole numbers of samples


@dataclass(frozen=True)
class STFTSpec:
    """The grid at one sample rate.

    Parameters
    ----------
    sample_rate : int
        Hz, one of `GRID_RATES`. Other rates go through `dsp.resample` first.
    """

    sample_rate: int

    def __post_init__(self) -> None:
        if self.sample_rate not in GRID_RATES:
            raise SpecError(
                f"sample rate {self.sample_rate} Hz has no place on the 8 ms grid; "
                f"expected one of {', '.join(map(str, GRID_RATES))}",
                hint="Resample first (dsp.resample).",
            )

    @property
    def hop(self) -> int:
        """Samples per hop (8 ms)."""
        return self.sample_rate // HOPS_PER_SECOND

    @property
    def n_fft(self) -> int:
        """Samples under the analysis window (32 ms)."""
        return 4 * self.hop

    @property
    def n_synthesis(self) -> int:
        """Samples under the synthesis window (16 ms)."""
        return 2 * self.hop

    @property
    def n_bins(self) -> int:
        """Bins of one frame, 0 Hz to half the sample rate."""
        return self.n_fft // 2 + 1

    @property
    def n_engine_bins(self) -> int:
        """How many of this grid's bins an engine can see (129 at 8 kHz, else 257)."""
        return min(self.n_bins, ENGINE_BINS)

    @property
    def scale(self) -> float:
        """Factor that makes a frame of this rate equal the same signal's frame at 16 kHz."""
        return 4 * ENGINE_RATE // HOPS_PER_SECOND / self.n_fft

    @property
    def overlap_samples(self) -> int:
        """Delay from a hop going in to the same hop coming out, in samples."""
        return self.hop

    @property
    def latency_samples(self) -> int:
        """Algorithmic latency (16 ms): one hop to fill, one hop of overlap."""
        return 2 * self.hop

    @cached_property
    def analysis_window(self) -> Float32s:
        """(n_fft,) float32."""
        return _analysis_window(self.hop).astype(np.float32)

    @cached_property
    def synthesis_window(self) -> Float32s:
        """(n_synthesis,) float32; stands at the end of the analysis window."""
        tail = _analysis_window(self.hop)[-self.n_synthesis :]
        wanted = 0.5 - 0.5 * np.cos(np.pi * (np.arange(self.n_synthesis) + 0.5) / self.hop)
        return (wanted / tail).astype(np.float32)


def _analysis_window(hop: int) -> NDArray[np.float64]:
    """sqrt(Hann) rising over three hops, falling over one; half-sample centred, so never zero."""
    rise = np.sin(0.5 * np.pi * (np.arange(3 * hop) + 0.5) / (3 * hop))
    fall = np.cos(0.5 * np.pi * (np.arange(hop) + 0.5) / hop)
    return np.concatenate([rise, fall])
