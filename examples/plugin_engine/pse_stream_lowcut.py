"""A complete engine in a plug-in: takes away what lies below the voice.

Importing this file must be quick, because listing the engines imports it; a heavy library belongs into `__init__`
of the engine, and a missing one is told with `raise ImportError("…; `pip install …` adds it.")`.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from pse_stream.dsp.spec import ENGINE_BINS, Complex64s, Float32s
from pse_stream.engines.contract import EngineInfo, Level, silence_if_broken

BIN_HZ = 31.25
CUTS_HZ = (60.0, 100.0)  # per level
SLOPE_DB_PER_OCTAVE = 24.0
GLIDE = 0.2  # share of the way to another level's gains per hop: a change is over within 100 ms, without a click


class LowCutEngine:
    """One stream."""

    info = EngineInfo(
        id="lowcut",
        title="Low cut",
        levels=tuple(Level(name=f"{cut:g} Hz", macs_per_second=125.0 * ENGINE_BINS) for cut in CUTS_HZ),
        licence="MIT",
        card="Takes away rumble below 60 or 100 Hz. Does nothing else.",
    )

    def __init__(self) -> None:
        self.bad_frames = 0
        self._wanted = tuple(_gains(cut) for cut in CUTS_HZ)
        self._gains = np.zeros(ENGINE_BINS, np.float32)  # (257,) those of the last frame
        self._step = np.zeros(ENGINE_BINS, np.float32)  # (257,) scratch
        self._fresh = True

    def reset(self) -> None:
        """Forget the past; the next frame is the first."""
        self._fresh = True

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        """Enhance one frame; `out` may be `frame`."""
        if self._fresh:
            self._gains[:] = self._wanted[level]
            self._fresh = False
        np.subtract(self._wanted[level], self._gains, out=self._step)
        self._step *= np.float32(GLIDE)
        self._gains += self._step
        self.bad_frames += silence_if_broken(frame, out)
        out *= self._gains

    def fork(self) -> Self:
        """Another stream, fresh."""
        return type(self)()


def _gains(cut_hz: float) -> Float32s:
    """Linear gains, (257,): a straight slope below the cut."""
    hz = np.maximum(np.arange(ENGINE_BINS) * BIN_HZ, 1.0)
    octaves_below = np.maximum(np.log2(cut_hz / hz), 0.0)
    return np.asarray(10.0 ** (-SLOPE_DB_PER_OCTAVE * octaves_below / 20.0), np.float32)
