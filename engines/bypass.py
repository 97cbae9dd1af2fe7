"""The engine that changes nothing: the reference for delay, clicks and cost."""

from __future__ import annotations

from pse_stream.dsp.spec import Complex64s
from pse_stream.engines.contract import EngineInfo, silence_if_broken


class BypassEngine:
    """Give back the frame that came in."""

    info = EngineInfo(id="bypass", title="Bypass", card="Passes the microphone through unchanged.")

    def __init__(self) -> None:
        self.bad_frames = 0

    def reset(self) -> None:
        """There is no past."""

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        """Copy; a frame with NaN or Inf becomes silence."""
        self.bad_frames += silence_if_broken(frame, out)

    def fork(self) -> BypassEngine:
        """Another stream."""
        return BypassEngine()
