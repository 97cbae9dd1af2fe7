"""The engine that changes nothing: the reference for delay, clicks and cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pse_stream.dsp.spec import ENGINE_BINS, Complex64s
from pse_stream.engines.contract import EngineInfo, silence_if_broken


class BypassEngine:
    """Give back the frame that came in.

    Parameters
    ----------
    delay_hops : int
        So much later: in place of an engine that looks ahead, the delay stays what it was.
    """

    info = EngineInfo(id="bypass", title="Bypass", card="Passes the microphone through unchanged.")

    def __init__(self, delay_hops: int = 0) -> None:
        self.bad_frames = 0
        if delay_hops:
            self.info = replace(type(self).info, lookahead_hops=delay_hops)
        self._kept = np.zeros((delay_hops + 1, ENGINE_BINS), np.complex64)  # ring of the last frames
        self._at = 0

    def reset(self) -> None:
        """Forget the frames that are on their way."""
        self._kept.fill(0.0)

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        """Copy; a frame with NaN or Inf becomes silence."""
        if len(self._kept) == 1:
            self.bad_frames += silence_if_broken(frame, out)
            return
        self.bad_frames += silence_if_broken(frame, self._kept[self._at])
        self._at = (self._at + 1) % len(self._kept)
        out[:] = self._kept[self._at]

    def fork(self) -> BypassEngine:
        """Another stream."""
        return BypassEngine(len(self._kept) - 1)
