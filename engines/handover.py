"""Two engines, or two levels of one, during a change: run both, cross-fade, drop one.

The newcomer first runs unheard on the live frames, so that its state has something to stand on, then the frames are
blended with a raised-cosine ramp. Blending frames of the same input cannot click.
"""

from __future__ import annotations

import math

import numpy as np

from pse_stream.dsp.spec import ENGINE_BINS, Complex64s
from pse_stream.engines.contract import Engine

WARM_HOPS = 4  # 32 ms unheard
FADE_HOPS = 8  # 64 ms blended; with the warm-up a change is complete within 100 ms


class Handover:
    """Play one engine; change to another while frames flow."""

    def __init__(self, engine: Engine, level: int) -> None:
        self.engine, self.level = engine, level  # the newest wish
        self._old: Engine | None = None
        self._old_level = level
        self._hops = 0  # since the change began
        self._fading = np.zeros(ENGINE_BINS, np.complex64)  # (257,) scratch: the old engine's frame
        self._input = np.zeros(ENGINE_BINS, np.complex64)  # (257,) scratch: the noisy frame, kept for the second run

    @property
    def switching(self) -> bool:
        """True until the old engine is no longer heard."""
        return self._old is not None

    def to_engine(self, engine: Engine, level: int) -> None:
        """Begin to change; during a change the newest wish wins and what is heard fades out from where it is."""
        heard = self._old if self._old is not None and self._hops <= WARM_HOPS + FADE_HOPS // 2 else self.engine
        heard_level = self._old_level if heard is self._old else self.level
        self._old, self._old_level, self._hops = heard, heard_level, 0
        self.engine, self.level = engine, level

    def to_level(self, level: int) -> None:
        """Change level; an engine's own levels warm up inside it (see the contract)."""
        self.level = level

    def step(self, frame: Complex64s, out: Complex64s) -> None:
        """One frame through whatever is heard; (257,) complex64, `out` may be `frame`."""
        if self._old is None:
            self.engine.step(frame, out, self.level)
            return
        self._input[:] = frame
        self._old.step(self._input, self._fading, self._old_level)
        self.engine.step(self._input, out, self.level)
        self._hops += 1
        share = _ramp(self._hops - WARM_HOPS)
        out *= np.float32(share)
        self._fading *= np.float32(1.0 - share)
        out += self._fading
        if self._hops >= WARM_HOPS + FADE_HOPS:
            self._old = None

    def reset(self) -> None:
        """Forget the past; a change under way is complete."""
        self._old = None
        self.engine.reset()


def _ramp(hop: int) -> float:
    """0 before the fade, 1 after it."""
    return 0.5 - 0.5 * math.cos(math.pi * min(max(hop / FADE_HOPS, 0.0), 1.0))
